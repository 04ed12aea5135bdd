"""Interrupt and exception delivery, and the instructions around it (SDM vol. 3, chapters 6 and 20; vol. 2, INT, IRET).

The engine's run loop calls `deliver` for exceptions and for interrupts from outside; INT n, INT3 and INTO call it too.
A fault during delivery simply raises; whether that makes a double fault is for the run loop to say.
"""

from __future__ import annotations

from typing import Any

from ..lang.trace import Val, const, fieldvalue, otherwise, procedure, return_, select, value, var, when
from . import state as S
from .externs import LIN_R, debug_changed, interrupt_coming, interrupt_taken, mode_changed, unlikely
from .flags import EFLAGS, OF, read_eflags
from .forms import gpr, insn
from .registers import cpl, flag_mask, get, iopl, is_null, protected_enabled, put, refuse, selector_error, v86
from .segment import (
    INT16,
    INT32,
    TASK_GATE,
    TRAP16,
    TRAP32,
    Descriptor,
    fetch,
    install_code,
    install_segment,
    load_real_segment,
    make_unusable,
    mark_accessed,
)
from .stack import Frame, set_stack_pointer, stack_mask, stack_write
from .task import EVENT, available_tss, check_task_eip, switch_task
from .transfer import inner_stack, interrupt_return

# The `kind` argument of `deliver`.
EXCEPTION, SOFTWARE, EXTERNAL, DIRECT = range(4)  # DIRECT: NMI and INT1, which no gate privilege stops

# Exceptions that push an error code; those that are no faults and keep RF as it is.
WITH_ERROR = flag_mask(S.DF_, S.TS, S.NP, S.SS_, S.GP, S.PF_, S.AC)
NOT_FAULTS = flag_mask(S.DB, S.DF_, S.MC)
DR7_GD = 13


def _among(vector: Val, vectors: int) -> Val:
    return ((const(vectors, 64) >> vector.zext(64)) & 1).low(1)


@procedure(8, 32, 32, 32)
def enter_real(vector: Val, table: Val, flags: Val, return_eip: Val) -> None:
    """Through an 8086 vector table at a linear address: push FLAGS, CS and IP, and load CS:IP. EFLAGS stays."""
    entry: Val = LIN_R[32](table + (vector.zext(32) << 2), 0)
    mask = stack_mask()
    at = (gpr(S.ESP, 32).read() - 6) & mask
    stack_write(2, 2, flags)
    stack_write(2, 4, get(S.SEG_SEL, S.CS).zext(32))
    stack_write(2, 6, return_eip)
    offset = entry.low(16).zext(32)
    refuse(offset > get(S.SEG_LIMIT, S.CS), S.GP)
    load_real_segment(S.CS, entry.bits(16, 16))
    set_stack_pointer(at, mask)
    put(S.EIP, offset)


def _event_state(vector: Val, kind: Val) -> None:
    """What taking an event does to the CPU besides the transfer."""
    put(S.HALTED, 0)
    put(S.SHADOW, 0)
    with unlikely((kind == DIRECT) & (vector == S.NMI)):
        put(S.NMI_BLOCKED, 1)
    with unlikely((vector == S.DB) & ((kind == EXCEPTION) | (kind == DIRECT))):
        put(S.DR, get(S.DR, 7) & ~(1 << DR7_GD), 7)
        debug_changed()


@procedure(8, 32, 8, 32)
def deliver_real(vector: Val, error: Val, kind: Val, return_eip: Val) -> None:
    """Delivery in real mode."""
    past = (vector.zext(32) << 2) + 3 > get(S.IDTR_LIMIT).zext(32)
    refuse(past, S.GP, (vector.zext(32) << 3) + 2)
    flags = read_eflags()
    enter_real(vector, get(S.IDTR_BASE), flags, return_eip)
    interrupt_taken(vector, kind, error, return_eip)
    EFLAGS.set(EFLAGS.read() & ~flag_mask(S.FLAG_IF, S.FLAG_TF, S.FLAG_AC, S.FLAG_RF))
    _event_state(vector, kind)
    with when((flags & flag_mask(S.FLAG_TF, S.FLAG_AC)) != 0):
        mode_changed()


@procedure(16, 64, 32, 64, 32, 1, 32, 32)
def enter_handler(
    selector: Val, raw: Val, flags: Val, gate_raw: Val, return_eip: Val, with_error: Val, error: Val, ext: Val
) -> None:
    """Through an interrupt or trap gate whose code segment has been checked."""
    code, gate = Descriptor(raw), Descriptor(gate_raw)
    size = select(gate.is_wide, value(4, 8), value(2, 8))
    inwards = ~code.conforming & (code.dpl < cpl())
    level = select(inwards, code.dpl, cpl())
    from_v86 = flags.bit(S.FLAG_VM)
    ss = var(16, get(S.SEG_SEL, S.SS), "ss")
    base = var(32, get(S.SEG_BASE, S.SS), "base")
    limit = var(32, get(S.SEG_LIMIT, S.SS), "limit")
    attr = var(16, get(S.SEG_ATTR, S.SS), "attr")
    ss_raw = var(64, 0, "ss_raw")
    esp = var(32, gpr(S.ESP, 32).read(), "esp")
    ss_error = var(32, ext, "ss_error")
    with when(inwards):
        new_ss, new_esp, new_raw = inner_stack(level, ext)
        new = Descriptor(new_raw)
        ss.set(new_ss)
        ss_raw.set(new_raw)
        esp.set(new_esp)
        base.set(new.base)
        limit.set(new.limit)
        attr.set(new.attr)
        ss_error.set(selector_error(new_ss, ext))
    user = (level == 3) & ~inwards
    frame = Frame(base.read(), limit.read(), attr.read(), esp, size, ss_error.read(), user)
    with when(inwards):
        with when(from_v86):
            for n in (S.GS, S.FS, S.DS, S.ES):
                frame.push(get(S.SEG_SEL, n).zext(32))
        frame.push(get(S.SEG_SEL, S.SS).zext(32))
        frame.push(gpr(S.ESP, 32).read())
    frame.push(flags)
    frame.push(get(S.SEG_SEL, S.CS).zext(32))
    frame.push(return_eip)
    with when(with_error):
        frame.push(error)
    offset = gate.gate_offset
    refuse(offset > code.limit, S.GP, ext)
    mark_accessed(selector, raw)

    with when(inwards):
        with when(from_v86):
            for n in (S.GS, S.FS, S.DS, S.ES):
                make_unusable(n, 0)
        install_segment(S.SS, ss.read(), ss_raw.read())
    frame.commit()
    install_code(selector, code, level)
    put(S.CPL, level)
    is_trap = gate.raw.bit(40)
    clear = flag_mask(S.FLAG_TF, S.FLAG_NT, S.FLAG_RF, S.FLAG_VM)
    EFLAGS.set(EFLAGS.read() & ~(select(is_trap, value(0, 32), value(1 << S.FLAG_IF, 32)) | clear))
    put(S.EIP, offset)


@procedure(8, 32, 8, 32)
def deliver_protected(vector: Val, error: Val, kind: Val, return_eip: Val) -> None:
    """Delivery through the IDT in protected and virtual-8086 mode."""
    ext = (kind != SOFTWARE).zext(32)
    at = vector.zext(32) << 3
    gate_error = at | 2 | ext
    refuse(at + 7 > get(S.IDTR_LIMIT).zext(32), S.GP, gate_error)
    gate = Descriptor(LIN_R[64](get(S.IDTR_BASE) + at, 0))
    kinds = flag_mask(TASK_GATE, INT16, TRAP16, INT32, TRAP32)
    refuse(gate.is_segment | ~_among(gate.type, kinds), S.GP, gate_error)
    refuse((kind == SOFTWARE) & (gate.dpl < cpl()), S.GP, gate_error)
    refuse(~gate.present, S.NP, gate_error)
    is_exception = kind == EXCEPTION
    with_error = is_exception & _among(vector, WITH_ERROR)
    is_fault = is_exception & ~_among(vector, NOT_FAULTS)
    flags = read_eflags() | (is_fault.zext(32) << S.FLAG_RF)

    with unlikely(gate.type == TASK_GATE):
        tss = gate.gate_selector
        switch_task(tss, available_tss(tss, ext, 0), EVENT, return_eip, flags, ext)
        interrupt_taken(vector, kind, error, return_eip)
        _event_state(vector, kind)
        with when(with_error):
            size = select(get(S.SEG_ATTR, S.TR).bit(3), value(4, 8), value(2, 8))
            esp = var(32, gpr(S.ESP, 32).read(), "task_esp")
            stack = get(S.SEG_BASE, S.SS), get(S.SEG_LIMIT, S.SS), get(S.SEG_ATTR, S.SS)
            frame = Frame(*stack, esp, size, ext, cpl() == 3)
            frame.push(error)
            frame.commit()
        check_task_eip(ext)
        return_()

    selector = gate.gate_selector
    refuse(is_null(selector), S.GP, ext)
    code_error = selector_error(selector, ext)
    code = fetch(selector, S.GP, ext)
    refuse(~code.is_code | (code.dpl > cpl()), S.GP, code_error)
    refuse(~code.present, S.NP, code_error)
    # A handler for virtual-8086 mode must be nonconforming code of level 0.
    refuse(v86() & (code.conforming | (code.dpl != 0)), S.GP, code_error)
    enter_handler(selector, code.raw, flags, gate.raw, return_eip, with_error, error, ext)
    interrupt_taken(vector, kind, error, return_eip)
    _event_state(vector, kind)
    mode_changed()


@procedure(8, 32, 8, 32)
def deliver(vector: Val, error: Val, kind: Val, return_eip: Val) -> None:
    """Take an interrupt or exception: kind 0 exception, 1 INT n/INT3/INTO, 2 external interrupt, 3 NMI and INT1.

    `return_eip` is what the handler returns to: the instruction itself for a fault, the next one for the others."""
    interrupt_coming(vector, kind, error, return_eip)
    with when(protected_enabled()):
        deliver_protected(vector, error, kind, return_eip)
    with otherwise():
        deliver_real(vector, error, kind, return_eip)


@procedure(8, results=(1,))
def redirected(vector: Val) -> None:
    """Whether the TSS sends INT n of virtual-8086 mode to the 8086 program's own table (SDM vol. 3, 20.3.3)."""
    tr_limit = get(S.SEG_LIMIT, S.TR)
    attr = get(S.SEG_ATTR, S.TR)
    refuse(~attr.bit(3) | (tr_limit < 0x67), S.GP)
    base = get(S.SEG_BASE, S.TR)
    map_: Val = LIN_R[16](base + 0x66, 0).zext(32)
    at = map_ - 32 + (vector >> 3).zext(32)
    refuse((map_ < 32) | (at > tr_limit), S.GP)
    bits: Val = LIN_R[8](base + at, 0)
    return_(((bits >> (vector & 7)) & 1).low(1) == 0)


@procedure(8, 32)
def software_interrupt(vector: Val, return_eip: Val) -> None:
    """INT n: what virtual-8086 mode has to say about it, then delivery."""
    with unlikely(v86()):
        trusted = iopl() == 3
        with when(get(S.CR4).bit(S.CR4_VME)), when(redirected(vector)):
            flags = var(32, read_eflags(), "flags")
            with when(~trusted):
                virtual = flags.read().bit(S.FLAG_VIF).zext(32) << S.FLAG_IF
                flags.set((flags.read() & ~(1 << S.FLAG_IF)) | virtual | 3 << S.FLAG_IOPL)
            interrupt_coming(vector, SOFTWARE, 0, return_eip)
            enter_real(vector, 0, flags.read(), return_eip)
            interrupt_taken(vector, SOFTWARE, 0, return_eip)
            off = select(trusted, value(1 << S.FLAG_IF, 32), value(1 << S.FLAG_VIF, 32))
            EFLAGS.set(EFLAGS.read() & ~(off | 1 << S.FLAG_TF))
            mode_changed()
            return_()
        refuse(~trusted, S.GP)
    deliver(vector, 0, SOFTWARE, return_eip)


def _next() -> Val:
    return fieldvalue("next", 32)


@insn("int {vector}", "CD Ib", see="vol. 2, INT n", ends="far", helper=True)
def int_n(vector: Any) -> None:
    """Call the handler of an interrupt vector; virtual-8086 mode may forbid it or redirect it to the 8086 table."""
    software_interrupt(vector.read(), _next())


@insn("int3", "CC", see="vol. 2, INT3", ends="far", helper=True)
def int3() -> None:
    """Breakpoint: the handler of vector 3; IOPL does not matter."""
    deliver(S.BP, 0, SOFTWARE, _next())


@insn("into", "CE", see="vol. 2, INTO", ends="far", helper=True)
def into() -> None:
    """The handler of vector 4, if OF is set."""
    with when(OF):
        deliver(S.OF_, 0, SOFTWARE, _next())
    with otherwise():
        put(S.EIP, _next())


@insn("int1", "F1", see="vol. 2, INT1", ends="far", helper=True)
def int1() -> None:
    """Debug trap of an in-circuit emulator: the handler of vector 1, whatever the privilege of its gate."""
    # What MOV SS held back is reported by the same trap.
    put(S.DR, get(S.DR, 6) | get(S.DEBUG_PENDING), 6)
    put(S.DEBUG_PENDING, 0)
    deliver(S.DB, 0, DIRECT, _next())


@insn("iret", "CF", see="vol. 2, IRET/IRETD", ends="far", helper=True)
def iret(*, osz: int) -> None:
    """Return from an interrupt handler: to the same level, an outer one, virtual-8086 mode, or another task."""
    interrupt_return(osz // 8, _next())
