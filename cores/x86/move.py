"""Data transfer: MOV and its relatives, stack, exchange (SDM vol. 1, 7.3.1)."""

from __future__ import annotations

from typing import Any

from ..lang.trace import break_, const, fieldvalue, loop, select, var, when
from . import state as S
from .externs import MEM_R, MEM_W, mem_probe_w
from .flags import CF, CONDITIONS, DF, condition
from .forms import MemOperand, family, gpr, insn
from .stack import pop, push, stack_mask

Op = Any


@insn(
    "mov {dst}, {src}",
    [
        "88 /r Eb,Gb", "89 /r Ev,Gv", "8A /r Gb,Eb", "8B /r Gv,Ev", "A0 AL,Ob", "A1 eAX,Ov", "A2 Ob,AL", "A3 Ov,eAX",
        "B0+r Zb,Ib", "B8+r Zv,Iz", "C6 /0 Eb,Ib", "C7 /0 Ev,Iz",
    ],
    see="vol. 2, MOV",
)  # fmt: skip
def mov(dst: Op, src: Op) -> None:
    """Copy; no flags."""
    dst.set(src.read())


@family(name=("movzx", "movsx"))
@insn("{name} {dst}, {src}", ["0F [B6+8n] /r Gv,Eb", "0F [B7+8n] /r Gv,Ew"], see="vol. 2, MOVZX MOVSX")
def movx(dst: Op, src: Op, *, name: str) -> None:
    """Copy with zero or sign extension."""
    v = src.read()
    dst.set(v.zext(dst.width) if name == "movzx" else v.sext(dst.width))


@family(name=["cmov" + c for c in CONDITIONS])
@insn("{name} {dst}, {src}", ["0F [40+n] /r Gv,Ev"], see="vol. 2, CMOVcc", needs="cmov")
def cmov(dst: Op, src: Op, *, n: int) -> None:
    """Copy where the condition holds; the source is read either way."""
    v = src.read()
    with when(condition(n)):
        dst.set(v)


@insn("lea {dst}, {src}", ["8D /r Gv,M"], see="vol. 2, LEA")
def lea(dst: Op, src: Op) -> None:
    """The effective address itself."""
    dst.set(src.offset.low(dst.width))


@insn("xchg {dst}, {src}", ["86 /r Eb,Gb", "87 /r Ev,Gv", "90+r Zv,eAX"], see="vol. 2, XCHG", lock=True)
def xchg(dst: Op, src: Op) -> None:
    """Exchange two operands; with memory it is always locked."""
    a = dst.read()
    b = src.read()
    dst.set(b)
    src.set(a)


@insn("xlat", ["D7"], see="vol. 2, XLAT")
def xlat(*, asz: int) -> None:
    """AL = byte AL of the table at rBX."""
    offset = gpr(S.EBX, asz).read() + gpr(S.EAX, 8).read().zext(asz)
    gpr(S.EAX, 8).set(MEM_R[8](fieldvalue("seg", 8), offset.zext(32)))


@insn("push {src}", ["50+r Zv", "68 Iz", "6A Ibs", "FF /6 Ev"], see="vol. 2, PUSH")
def push_(src: Op) -> None:
    """Push; PUSH ESP stores the value before the push."""
    push(src.read())


@insn("pop {dst}", ["58+r Zv"], see="vol. 2, POP")
def pop_(dst: Op) -> None:
    """Pop; POP ESP keeps the popped value."""
    dst.set(pop(dst.width))


@insn("pop {dst}", ["8F /0 Ev"], see="vol. 2, POP")
def pop_rm(dst: Op, *, osz: int) -> None:
    """Pop to a register or memory. An address that uses ESP uses its value after the pop."""
    if not isinstance(dst, MemOperand):
        dst.set(pop(osz))
        return
    esp = gpr(S.ESP, 32).read()
    mask = stack_mask()
    v = MEM_R[osz](const(S.SS, 8), esp & mask)
    moved = select(fieldvalue("base", 8) == S.ESP, const(osz // 8, 32), const(0, 32))
    dst.redirect(moved)
    dst.set(v)
    gpr(S.ESP, 32).set((esp & ~mask) | ((esp + osz // 8) & mask))


@insn("pusha|pushad", ["60"], see="vol. 2, PUSHA PUSHAD")
def pusha(*, osz: int) -> None:
    """Push all eight general registers; the stack is written only if all of it can be."""
    size = osz // 8
    esp = gpr(S.ESP, 32).read()
    mask = stack_mask()
    ss = const(S.SS, 8)
    for k in range(8):
        mem_probe_w(ss, (esp - size * (k + 1)) & mask, size)
    for k in range(8):
        v = esp.low(osz) if k == S.ESP else gpr(k, osz).read()
        MEM_W[osz](ss, (esp - size * (k + 1)) & mask, v)
    gpr(S.ESP, 32).set((esp & ~mask) | ((esp - size * 8) & mask))


@insn("popa|popad", ["61"], see="vol. 2, POPA POPAD")
def popa(*, osz: int) -> None:
    """Pop the general registers; the stored ESP is skipped."""
    size = osz // 8
    esp = gpr(S.ESP, 32).read()
    mask = stack_mask()
    order = [k for k in reversed(range(8)) if k != S.ESP]
    values = [MEM_R[osz](const(S.SS, 8), (esp + size * (7 - k)) & mask) for k in order]
    for k, v in zip(order, values, strict=True):
        gpr(k, osz).set(v)
    gpr(S.ESP, 32).set((esp & ~mask) | ((esp + size * 8) & mask))


@insn("enter {frame}, {level}", ["C8 Iw,Ib2"], see="vol. 2, ENTER")
def enter(frame: Op, level: Op, *, osz: int) -> None:
    """Make a stack frame with up to 31 nesting pointers. The last byte of the new frame is checked for writing."""
    size = osz // 8
    ss = const(S.SS, 8)
    mask = stack_mask()
    esp = gpr(S.ESP, 32).read()
    ebp = gpr(S.EBP, 32).read()
    depth = level.read().zext(32) & 31
    sp = var(32, esp - size, "sp")
    MEM_W[osz](ss, sp.read() & mask, ebp.low(osz))
    # ESP after the push, all of it: on a 16-bit stack its upper half stays out of the count.
    frame_pointer = (esp & ~mask) | ((esp - size) & mask)
    with when(depth != 0):
        k = var(32, 1, "k")
        bp = var(32, ebp, "bp")
        with loop():
            with when(k.read() >= depth):
                break_()
            bp.set(bp.read() - size)
            v = MEM_R[osz](ss, bp.read() & mask)
            sp.set(sp.read() - size)
            MEM_W[osz](ss, sp.read() & mask, v)
            k.set(k.read() + 1)
        sp.set(sp.read() - size)
        MEM_W[osz](ss, sp.read() & mask, frame_pointer.low(osz))
    final = sp.read() - frame.read().zext(32)
    mem_probe_w(ss, final & mask, size)
    gpr(S.EBP, osz).set(frame_pointer.low(osz))
    gpr(S.ESP, 32).set((esp & ~mask) | (final & mask))


@insn("leave", ["C9"], see="vol. 2, LEAVE")
def leave(*, osz: int) -> None:
    """Undo ENTER: the stack pointer returns to rBP, and rBP is popped."""
    mask = stack_mask()
    ebp = gpr(S.EBP, 32).read()
    esp = gpr(S.ESP, 32).read()
    v = MEM_R[osz](const(S.SS, 8), ebp & mask)
    gpr(S.ESP, 32).set((esp & ~mask) | ((ebp + osz // 8) & mask))
    gpr(S.EBP, osz).set(v)


@insn(
    "nop {src}",
    [*(f"0F {op:02X} /r Ev" for op in range(0x19, 0x20)), *(f"0F 18 /{k} Ev" for k in range(4, 8))],
    see="vol. 2, NOP; appendix A.3 (hint NOPs, among them ENDBR32)",
    needs="nopl",
)
def nop_rm(src: Op) -> None:
    """No operation; the operand is not accessed."""


@family(name=("clc", "stc"))
@insn("{name}", ["[F8+n]"], see="vol. 2, CLC STC")
def set_carry(*, n: int) -> None:
    """Clear or set CF."""
    CF.set(n)


@insn("cmc", ["F5"], see="vol. 2, CMC")
def cmc() -> None:
    """Complement CF."""
    CF.set(~CF.read())


@family(name=("cld", "std"))
@insn("{name}", ["[FC+n]"], see="vol. 2, CLD STD")
def set_direction(*, n: int) -> None:
    """Clear or set DF."""
    DF.set(n)


@insn("salc", ["D6"], see="vol. 2, undocumented SALC")
def salc() -> None:
    """AL = FF where CF, else 0."""
    gpr(S.EAX, 8).set(CF.read().sext(8))
