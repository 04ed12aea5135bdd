"""Branches, condition register logic, system call and return from interrupt (Book I, 2.4 to 2.6; Book III-E, 4.3)."""

from __future__ import annotations

from typing import Any

from ..lang.trace import RegisterLocation, Val, all_of, branch, const, fieldvalue, select, when
from . import state as S
from .debug import return_event
from .externs import hypervisor, illegal, privileged, raise_interrupt
from .forms import XL, B, I, Pattern, insn, opcode, table
from .msr import msr_write
from .registers import get, guest, has, put

Op = Any
LR = RegisterLocation(S.LR)
CTR = RegisterLocation(S.CTR)
ALIGNED = 0xFFFFFFFC


def next_address() -> Val:
    """The address behind this instruction (NIA, as long as nothing branches)."""
    return fieldvalue("next", 32)


def target_of(displacement: Val, aa: int) -> Val:
    """The target of a branch: absolute, or from its own address."""
    return displacement if aa else next_address() - 4 + displacement


@insn("b[l][a] li", I(18), see="2.4")
def b(li: Op, *, aa: int, lk: int) -> None:
    """Branch."""
    target = target_of(li.read(), aa)
    if lk:
        LR.set(next_address())
    branch(target)


# The kinds of condition in BO (Book I, figure 21): what CTR and the CR bit must be. The other bits are hints.
CONDITIONS = {
    "dnzf": (5, 0b00000, 0b11110),
    "dzf": (5, 0b00010, 0b11110),
    "f": (5, 0b00100, 0b11100),
    "dnzt": (5, 0b01000, 0b11110),
    "dzt": (5, 0b01010, 0b11110),
    "t": (5, 0b01100, 0b11100),
    "dnz": (5, 0b10000, 0b10110),
    "dz": (5, 0b10010, 0b10110),
    "always": (5, 0b10100, 0b10100),
}


def _rows(pattern: Pattern, names: tuple[str, ...] = tuple(CONDITIONS)) -> dict[str, Pattern]:
    rows = {}
    for name in names:
        count, bits, which = CONDITIONS[name]
        p = pattern
        for k in range(count):
            if which >> (count - 1 - k) & 1:
                p = p.fixed(6 + k, 1, bits >> (count - 1 - k) & 1)
        rows[name] = p
    return rows


def _holds(name: str, bi: Op) -> Val | None:
    """Decrement CTR where the kind says so; the condition, None for always."""
    parts: list[Val] = []
    if name.startswith("d"):
        count = CTR.read() - 1
        CTR.set(count)
        parts.append(count != 0 if name.startswith("dn") else count == 0)
    if name.endswith(("f", "t")):
        parts.append(bi.read() if name.endswith("t") else ~bi.read())
    return all_of(*parts) if parts else None


def _conditional(name: str, bi: Op, target: Val, lk: int) -> None:
    cond = _holds(name, bi)
    if lk:
        LR.set(next_address())
    if cond is None:
        branch(target)
    else:
        with when(cond):
            branch(target)


@table("bc[l][a] bo, bi, bd", _rows(B(16)), see="2.4")
def bc(bo: Op, bi: Op, bd: Op, *, name: str, aa: int, lk: int) -> None:
    """Branch Conditional."""
    _conditional(name, bi, target_of(bd.read(), aa), lk)


@table("bclr[l] bo, bi", _rows(XL(19, 16, lk=True)), see="2.4")
def bclr(bo: Op, bi: Op, *, name: str, lk: int) -> None:
    """Branch Conditional to Link Register; the target is LR as it was before."""
    _conditional(name, bi, LR.read() & ALIGNED, lk)


@table("bcctr[l] bo, bi", _rows(XL(19, 528, lk=True), ("f", "t", "always")), see="2.4")
def bcctr(bo: Op, bi: Op, *, name: str, lk: int) -> None:
    """Branch Conditional to Count Register; forms that would decrement it are invalid."""
    _conditional(name, bi, CTR.read() & ALIGNED, lk)


_LOGIC = {
    "crand": 257, "cror": 449, "crxor": 193, "crnand": 225, "crnor": 33, "creqv": 289, "crandc": 129, "crorc": 417,
}  # fmt: skip


@table("{name} bt, ba, bb", {name: XL(19, xo) for name, xo in _LOGIC.items()}, see="2.5.1")
def cr_logic(bt: Op, ba: Op, bb: Op, *, name: str) -> None:
    """Logic on two bits of CR."""
    x, y = ba.read(), bb.read()
    if name in ("crandc", "crorc"):
        y = ~y
    result = x & y if "and" in name else x ^ y if name in ("crxor", "creqv") else x | y
    bt.set(~result if name in ("crnand", "crnor", "creqv") else result)


@insn("mcrf bf, bfa", XL(19, 0), see="2.5.2")
def mcrf(bf: Op, bfa: Op) -> None:
    """Copy a field of CR."""
    bf.set(bfa.read())


@insn("sc lev", opcode(17).fixed(30, 1, 1), see="2.6", ends="block")
def sc(lev: Op) -> None:
    """System Call; its delivery saves the address of the next instruction. LEV 1 calls a hypervisor."""
    with when((lev.read() == 1) & has("e500mc"), likely=False):
        raise_interrupt(S.HYPERVISOR_CALL, const(0, 32))
    raise_interrupt(S.SYSTEM_CALL, const(0, 32))


def _return(address: Val, msr: Val) -> None:
    put(S.PC, address & ALIGNED)
    put(S.STEP_FAR, 1)
    msr_write(msr)


def _debugged() -> None:
    """Where return events are on, the return does not happen: its debug interrupt does."""
    with when(return_event(), likely=False):
        raise_interrupt(S.DEBUG, const(0, 32))


@insn("rfi", XL(19, 50), see="III-E 4.3.1", ends="far")
def rfi() -> None:
    """Return from Interrupt: MSR and the address come back, those of the guest in guest state."""
    privileged()
    _debugged()
    in_guest = guest()
    _return(select(in_guest, get(S.GSRR0), get(S.SRR0)), select(in_guest, get(S.GSRR1), get(S.SRR1)))


_RETURN = {
    "rfci": (51, S.CSRR0, S.CSRR1),
    "rfmci": (38, S.MCSRR0, S.MCSRR1),
}


@table("{name}", {name: XL(19, xo) for name, (xo, _, _) in _RETURN.items()}, see="III-E 4.3.1", ends="far")
def return_from_interrupt(*, name: str) -> None:
    """Return from a critical interrupt or a machine check; while MSR.DE is 0 that is no debug event."""
    hypervisor()
    if name == "rfmci":
        with when(~(has("440x5") | has("e500")), likely=False):
            illegal()
    with when(get(S.MSR).bit(S.MSR_DE) & has("440"), likely=False):
        _debugged()
    _, address, msr = _RETURN[name]
    _return(get(address), get(msr))


@table("{name}", {"rfdi": XL(19, 39), "rfgi": XL(19, 102)}, see="III-E 4.3.1", needs="e500mc", ends="far")
def return_mc(*, name: str) -> None:
    """Return from a debug interrupt, or into a guest."""
    hypervisor()
    if name == "rfdi":
        _return(get(S.DSRR0), get(S.DSRR1))
    else:
        _return(get(S.GSRR0), get(S.GSRR1))
