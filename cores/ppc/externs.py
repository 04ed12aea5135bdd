"""What PowerPC bodies may call that is not written in the spec: memory, interrupts, time, IEEE arithmetic."""

from __future__ import annotations

from typing import cast

from ..lang.softfloat import OPERATIONS
from ..lang.trace import Extern, Operand, RegisterLocation, Val, const, value, when
from . import state as S

E = Extern
# Effective address 32; big-endian values. Each may leave by a data interrupt; any alignment is served.
MEM_R = {w: E(f"mem_r{w}", (32,), (w,), faults=True) for w in (8, 16, 32, 64)}
MEM_W = {w: E(f"mem_w{w}", (32, w), (), faults=True) for w in (8, 16, 32, 64)}
# The rights of a load or store of one byte, without the access.
mem_probe_r = E("mem_probe_r", (32,), (), faults=True)
mem_probe_w = E("mem_probe_w", (32,), (), faults=True)
# lmw and stmw off a word boundary: some models take an alignment interrupt. (address, is a store)
check_multiple = E("check_multiple", (32, 1), (), faults=True)
physical = E("physical", (32,), (64,), faults=True)  # of an effective address that may be read
zero_line = E("zero_line", (32,), (), faults=True)  # dcbz: the line of the cache that the address is in
code_line = E("code_line", (32,), (), faults=True)  # icbi: code translated from this line is stale
context_synchronize = E("context_synchronize")  # isync: what is fetched from here on is fetched anew
raise_interrupt = E("raise_interrupt", (8, 32), raises=True)  # (IVOR number, ESR)
raise_alignment = E("raise_alignment", (32, 1), raises=True)  # (address for DEAR, is a store)
mode_changed = E("mode_changed")  # after MSR changed
time_base = E("time_base", (), (64,))

# IEEE arithmetic, one extern for each operation of cores/lang/softfloat.
FLOAT = {name: E(name, ins, outs, pure=True) for name, (ins, outs) in OPERATIONS.items()}


def trap(cond: Operand) -> None:
    """A program interrupt of type trap where `cond` holds."""
    with when(cond, likely=False):
        raise_interrupt(S.PROGRAM, S.ESR_PTR)


def privileged() -> None:
    """A program interrupt of type privileged instruction in user mode."""
    with when(RegisterLocation(S.MSR).read().bit(S.MSR_PR), likely=False):
        raise_interrupt(S.PROGRAM, const(S.ESR_PPR, 32))


def load(w: int, ea: Operand) -> Val:
    """Load `w` bits."""
    return cast(Val, MEM_R[w](value(ea, 32)))


def store(w: int, ea: Operand, v: Operand) -> None:
    """Store `w` bits."""
    MEM_W[w](value(ea, 32), value(v, w))
