"""What PowerPC bodies may call that is not written in the spec: memory, interrupts, time, IEEE arithmetic.

C has them in `cores/ppc/mmu.c` and `emu/engine`, the reference in `cores/ppc/reference.py`.
"""

from __future__ import annotations

from typing import cast

from ..lang.softfloat import OPERATIONS
from ..lang.trace import Extern, Operand, RegisterLocation, Val, const, procedure, select, value, when
from . import state as S

E = Extern
# Effective address 32; big-endian values. Each may leave by a data interrupt; any alignment is served.
MEM_R = {w: E(f"mem_r{w}", (32,), (w,), faults=True) for w in (8, 16, 32, 64)}
MEM_W = {w: E(f"mem_w{w}", (32, w), (), faults=True) for w in (8, 16, 32, 64)}
# The rights of a load or store of one byte, without the access.
mem_probe_r = E("mem_probe_r", (32,), (), faults=True)
mem_probe_w = E("mem_probe_w", (32,), (), faults=True)
physical = E("physical", (32,), (64,), faults=True)  # of an effective address that may be read
# Whether the word there lies in this granule and still holds a value; a store's rights are enough.
still_holds = E("still_holds", (32, 64, 32), (1,), faults=True)
zero_line = E("zero_line", (32,), (), faults=True)  # dcbz: the line of the cache that the address is in
code_line = E("code_line", (32,), (), faults=True)  # icbi: code translated from this line is stale
# The same by external process ID: in the context of EPLC for loads, of EPSC for stores; sizes in bytes.
external_read = E("external_read", (32, 8), (64,), faults=True)
external_write = E("external_write", (32, 8, 64), (), faults=True)
external_probe = E("external_probe", (32,), (), faults=True)
external_zero = E("external_zero", (32,), (), faults=True)
context_synchronize = E("context_synchronize")  # isync: what is fetched from here on is fetched anew
raise_interrupt = E("raise_interrupt", (8, 32), raises=True)  # (IVOR number, ESR); DEAR is in FAULT_DEAR
mode_changed = E("mode_changed")  # after MSR, a PID, or what decides debug_mode changed
tlb_forget = E("tlb_forget", (32, 32))  # (address, mask): translations of address..address|mask are stale in all PIDs
time_base = E("time_base", (), (64,))  # raw ticks of virtual time since power-on
timers_changed = E("timers_changed")  # timers_next may give something else now
dcr_r = E("dcr_r", (32,), (32,))
dcr_w = E("dcr_w", (32, 32))
acknowledge = E("acknowledge", (), (32,))  # the vector that the interrupt controller gives
reset_request = E("reset_request", (8,))  # state.RESET_CORE and so on
unimplemented = E("unimplemented", (32, 32))  # (kind 2: SPR, 3: DCR; number): named once in the log

# IEEE arithmetic, one extern for each operation of cores/lang/softfloat.
FLOAT = {name: E(name, ins, outs, pure=True) for name, (ins, outs) in OPERATIONS.items()}

DBCR0_IDM, DBCR0_TRAP = 30, 24
DBSR_IDE, DBSR_TRAP = 31, 24


def msr_bit(n: int) -> Val:
    """A bit of MSR as it is now."""
    return RegisterLocation(S.MSR).read().bit(n)


@procedure()
def trap_interrupt() -> None:
    """A trap: a debug interrupt where trap events are enabled, else a program interrupt (Book III-E, 7.6.8, 10.4.4)."""
    dbcr0 = RegisterLocation(S.DBCR0).read()
    dbsr = RegisterLocation(S.DBSR)
    with when(dbcr0.bit(DBCR0_IDM) & dbcr0.bit(DBCR0_TRAP)):
        with when(msr_bit(S.MSR_DE)):
            dbsr.set(dbsr.read() | 1 << DBSR_TRAP)
            raise_interrupt(S.DEBUG, 0)
        dbsr.set(dbsr.read() | 1 << DBSR_TRAP | 1 << DBSR_IDE)
    raise_interrupt(S.PROGRAM, S.ESR_PTR)


def trap(cond: Operand) -> None:
    """Trap where `cond` holds."""
    with when(cond, likely=False):
        trap_interrupt()


def illegal() -> None:
    """A program interrupt of type illegal instruction."""
    raise_interrupt(S.PROGRAM, const(S.ESR_PIL, 32))


def privileged() -> None:
    """A program interrupt of type privileged instruction in user mode."""
    with when(msr_bit(S.MSR_PR), likely=False):
        raise_interrupt(S.PROGRAM, const(S.ESR_PPR, 32))


def hypervisor() -> None:
    """Only for the hypervisor: privileged, and an embedded hypervisor privilege interrupt in guest state."""
    privileged()
    with when(msr_bit(S.MSR_GS), likely=False):
        raise_interrupt(S.HYPERVISOR_PRIVILEGE, const(0, 32))


def raise_alignment(ea: Operand, is_store: Operand) -> None:
    """An alignment interrupt for an address."""
    RegisterLocation(S.FAULT_DEAR).set(ea)
    raise_interrupt(S.ALIGNMENT, select(is_store, value(S.ESR_ST, 32), value(0, 32)))


def load(w: int, ea: Operand) -> Val:
    """Load `w` bits."""
    return cast(Val, MEM_R[w](value(ea, 32)))


def store(w: int, ea: Operand, v: Operand) -> None:
    """Store `w` bits."""
    MEM_W[w](value(ea, 32), value(v, w))
