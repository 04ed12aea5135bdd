"""What PowerPC bodies may call that is not written in the spec: memory by effective address, and interrupts."""

from __future__ import annotations

from ..lang.trace import Extern, Operand, value, when
from . import state as S

E = Extern
# Effective address 32; big-endian values. Each may leave by a data interrupt.
MEM_R = {w: E(f"mem_r{w}", (32,), (w,), faults=True) for w in (8, 16, 32, 64)}
MEM_W = {w: E(f"mem_w{w}", (32, w), (), faults=True) for w in (8, 16, 32, 64)}
raise_interrupt = E("raise_interrupt", (8, 32), raises=True)  # (IVOR number, ESR)


def trap(cond: Operand) -> None:
    """A program interrupt of type trap where `cond` holds."""
    with when(cond, likely=False):
        raise_interrupt(S.PROGRAM, S.ESR_PTR)


def data(w: int, ea: Operand) -> object:
    """Load `w` bits."""
    return MEM_R[w](value(ea, 32))
