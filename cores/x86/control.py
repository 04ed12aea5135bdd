"""Near control transfer (SDM vol. 1, 7.3.8). Far transfers stand in `transfer.py`, interrupts in `interrupts.py`."""

from __future__ import annotations

from typing import Any

from ..lang.trace import RegisterLocation, Val, branch, const, fieldvalue, when
from . import state as S
from .externs import MEM_R, trap_if
from .flags import CONDITIONS, ZF, condition
from .forms import family, gpr, insn
from .stack import push, stack_mask

Op = Any


def _target(displacement: Val, osz: int) -> Val:
    target = fieldvalue("next", 32) + displacement
    return target & 0xFFFF if osz == 16 else target


def check_target(target: Val) -> None:
    """#GP(0) where a near target lies beyond the limit of CS."""
    trap_if(target > RegisterLocation(S.SEG_LIMIT, S.CS).read(), S.GP)


@family(name=["j" + c for c in CONDITIONS])
@insn("{name} {target}", ["[70+n] Jb", "0F [80+n] Jz"], see="vol. 2, Jcc")
def jcc(target: Op, *, n: int, osz: int) -> None:
    """Jump where the condition holds."""
    with when(condition(n)):
        to = _target(target.read(), osz)
        check_target(to)
        branch(to)


@insn("jmp {target}", ["EB Jb", "E9 Jz"], see="vol. 2, JMP")
def jmp(target: Op, *, osz: int) -> None:
    """Jump near, relative."""
    to = _target(target.read(), osz)
    check_target(to)
    branch(to)


@insn("jmp {target}", ["FF /4 Ev"], see="vol. 2, JMP")
def jmp_rm(target: Op) -> None:
    """Jump near to the address in a register or memory."""
    to = target.read().zext(32)
    check_target(to)
    branch(to)


@insn("call {target}", ["E8 Jz"], see="vol. 2, CALL")
def call(target: Op, *, osz: int) -> None:
    """Push the address of the next instruction and jump near, relative."""
    to = _target(target.read(), osz)
    check_target(to)
    push(fieldvalue("next", 32).low(osz))
    branch(to)


@insn("call {target}", ["FF /2 Ev"], see="vol. 2, CALL")
def call_rm(target: Op, *, osz: int) -> None:
    """Push the address of the next instruction and jump near to the address in a register or memory."""
    to = target.read().zext(32)
    check_target(to)
    push(fieldvalue("next", 32).low(osz))
    branch(to)


@insn("ret", ["C3"], see="vol. 2, RET")
def ret(*, osz: int) -> None:
    """Pop the return address."""
    _ret(osz, const(0, 32))


@insn("ret {bytes}", ["C2 Iw"], see="vol. 2, RET")
def ret_pop(bytes: Op, *, osz: int) -> None:
    """Pop the return address and release parameters."""
    _ret(osz, bytes.read().zext(32))


def _ret(osz: int, extra: Val) -> None:
    mask = stack_mask()
    esp = gpr(S.ESP, 32).read()
    to = MEM_R[osz](const(S.SS, 8), esp & mask).zext(32)
    check_target(to)
    gpr(S.ESP, 32).set((esp & ~mask) | ((esp + osz // 8 + extra) & mask))
    branch(to)


@family(name=("loopne", "loope", "loop"))
@insn("{name} {target}", ["[E0+n] Jb"], see="vol. 2, LOOP LOOPcc")
def loop_(target: Op, *, name: str, osz: int, asz: int) -> None:
    """Count rCX down and jump while it is not zero (and ZF is as the mnemonic says)."""
    counter = gpr(S.ECX, asz)
    left = counter.read() - 1
    again = left != 0
    if name != "loop":
        again = again & (ZF.read() if name == "loope" else ~ZF.read())
    to = _target(target.read(), osz)
    trap_if(again & (to > RegisterLocation(S.SEG_LIMIT, S.CS).read()), S.GP)
    counter.set(left)
    with when(again):
        branch(to)


@insn("jcxz {target}", ["E3 Jb"], see="vol. 2, JCXZ JECXZ")
def jcxz(target: Op, *, osz: int, asz: int) -> None:
    """Jump where rCX is zero."""
    with when(gpr(S.ECX, asz).read() == 0):
        to = _target(target.read(), osz)
        check_target(to)
        branch(to)
