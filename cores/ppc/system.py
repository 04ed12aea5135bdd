"""User-level SPRs, MSR, device control registers, cache locks, doorbells and wait.

Book I, 3.3.17; Book II, 6; Book III-E, 5.4 and 11; 440 manual, 9 and 10; e500 RM, 3.8.
"""

from __future__ import annotations

from typing import Any

from ..lang.trace import RegisterLocation, Val, const, fieldvalue, select, value, when
from . import state as S
from .externs import dcr_r, dcr_w, hypervisor, mem_probe_r, mem_probe_w, mode_changed, privileged, raise_interrupt
from .fixed import CA, OV, SO
from .forms import Pattern, X, insn, opcode, swapped, table
from .msr import msr_write
from .registers import get, msr, put, set_bits
from .spr import MFSPR, MTSPR, spr
from .timers import base

Op = Any
MSR = RegisterLocation(S.MSR)
MFTB = 371
_PLAIN = {"lr": (8, S.LR), "ctr": (9, S.CTR)}


@table("mf{name} rt", {n: spr(MFSPR, k) for n, (k, _) in _PLAIN.items()}, see="3.3.17")
def mf_plain(rt: Op, *, name: str) -> None:
    """Read LR or CTR."""
    rt.set(RegisterLocation(_PLAIN[name][1]).read())


@table("mt{name} rs", {n: spr(MTSPR, k) for n, (k, _) in _PLAIN.items()}, see="3.3.17")
def mt_plain(rs: Op, *, name: str) -> None:
    """Write LR or CTR."""
    RegisterLocation(_PLAIN[name][1]).set(rs.read())


@insn("mfxer rt", spr(MFSPR, 1), see="3.3.17")
def mfxer(rt: Op) -> None:
    """Read XER: SO, OV, CA on top, the byte count of strings at the bottom."""
    flags = (SO.read().zext(32) << 31) | (OV.read().zext(32) << 30) | (CA.read().zext(32) << 29)
    rt.set(flags | RegisterLocation(S.XER_COUNT).read().zext(32))


@insn("mtxer rs", spr(MTSPR, 1), see="3.3.17")
def mtxer(rs: Op) -> None:
    """Write XER."""
    v = rs.read()
    SO.set(v.bit(31))
    OV.set(v.bit(30))
    CA.set(v.bit(29))
    RegisterLocation(S.XER_COUNT).set(v.low(7))


def _time_rows(half: int) -> dict[str, Pattern]:
    return {"tb": spr(MFTB, 268 + half), "spr": spr(MFSPR, 268 + half)}


@table("mftb rt", _time_rows(0), see="II 6.2", ends="block")
def mftb(rt: Op) -> None:
    """Read the lower half of the time base."""
    rt.set(base().low(32))


@table("mftbu rt", _time_rows(1), see="II 6.2", ends="block")
def mftbu(rt: Op) -> None:
    """Read the upper half of the time base."""
    rt.set(base().bits(32, 32))


@insn("mfmsr rt", X(31, 83, rc=0), see="III-E 5.4.1")
def mfmsr(rt: Op) -> None:
    """Read MSR."""
    privileged()
    rt.set(MSR.read())


@insn("mtmsr rs", X(31, 146, rc=0), see="III-E 5.4.1", ends="block")
def mtmsr(rs: Op) -> None:
    """Write MSR."""
    privileged()
    msr_write(rs.read())


def _set_ee(v: Val) -> None:
    privileged()
    bit = const(1 << S.MSR_EE, 32)
    MSR.set((MSR.read() & ~bit) | (v & bit))
    mode_changed()


@insn("wrtee rs", X(31, 131, rc=0), see="III-E 5.4.1", ends="block")
def wrtee(rs: Op) -> None:
    """Write MSR.EE from its place in a register."""
    _set_ee(rs.read())


@insn("wrteei e", X(31, 163, rc=0), see="III-E 5.4.1", ends="block")
def wrteei(e: Op) -> None:
    """Write MSR.EE with an immediate."""
    _set_ee(e.read().zext(32) << S.MSR_EE)


# --- device control registers (440 manual, 10; they lie outside the core) --------------------------------------------


def _number() -> Val:
    return swapped(fieldvalue("dcrn", 32))


@insn("mfdcr rt, dcrn", X(31, 323, rc=0), see="440, 9", needs="440", ends="block")
def mfdcr(rt: Op) -> None:
    """Read a device control register."""
    privileged()
    rt.set(dcr_r(_number()))


@insn("mtdcr dcrn, rs", X(31, 451, rc=0), see="440, 9", needs="440", ends="block")
def mtdcr(rs: Op) -> None:
    """Write a device control register."""
    privileged()
    dcr_w(_number(), rs.read())


@insn("mfdcrx rt, ra", X(31, 259, rc=0), see="III-E 5.4.1", needs="440x5", ends="block")
def mfdcrx(rt: Op, ra: Op) -> None:
    """Read the device control register whose number is in RA."""
    privileged()
    rt.set(dcr_r(ra.read()))


@insn("mtdcrx ra, rs", X(31, 387, rc=0), see="III-E 5.4.1", needs="440x5", ends="block")
def mtdcrx(ra: Op, rs: Op) -> None:
    """Write the device control register whose number is in RA."""
    privileged()
    dcr_w(ra.read(), rs.read())


# --- e500 ------------------------------------------------------------------------------------------------------------


@insn("isel rt, ra0, rb, crb", opcode(31).fixed(26, 5, 15).fixed(31, 1, 0), see="3.3.8", needs="isel")
def isel(rt: Op, ra0: Op, rb: Op, crb: Op) -> None:
    """Integer Select: RA or RB, as a bit of CR says."""
    rt.set(select(crb.read(), ra0.read(), rb.read()))


def _kept_from_guest(bit: int) -> None:
    """What goes with an MSR bit that MSRP protects is the hypervisor's, when a guest's supervisor does it."""
    with when(get(S.MSRP).bit(bit) & msr(S.MSR_GS) & ~msr(S.MSR_PR), likely=False):
        raise_interrupt(S.HYPERVISOR_PRIVILEGE, const(0, 32))


ESR_DLK, ESR_ILK = 1 << 21, 1 << 20

_LOCKS = {"dcbtls": 166, "dcbtstls": 134, "dcblc": 390, "icbtls": 486, "icblc": 230}


@table("{name} ct, ra0, rb", {n: X(31, xo, rc=0) for n, xo in _LOCKS.items()}, see="e500 RM 3.8.3", needs="e500")
def cache_lock(ra0: Op, rb: Op, *, name: str) -> None:
    """Lock or unlock a line of a cache: only the rights are checked, and that users may do it (MSR.UCLE)."""
    ea = ra0.read() + rb.read()
    _kept_from_guest(S.MSR_UCLE)
    with when(msr(S.MSR_PR) & ~msr(S.MSR_UCLE), likely=False):
        put(S.FAULT_DEAR, ea)
        raise_interrupt(S.DATA_STORAGE, value(ESR_DLK if name.startswith("d") else ESR_ILK, 32))
    if name == "dcbtstls":
        mem_probe_w(ea)
    else:
        mem_probe_r(ea)


@table("{name} rt, pmrn", {"mfpmr": X(31, 334, rc=0)}, see="e500 RM 7.2", needs="e500")
def mfpmr(rt: Op, *, name: str) -> None:
    """Read a register of the performance monitor, which counts nothing."""
    _kept_from_guest(S.MSR_PMM)
    with when((swapped(fieldvalue("pmrn", 32)) & 16) != 0):
        privileged()
    rt.set(value(0, 32))


@table("{name} pmrn, rs", {"mtpmr": X(31, 462, rc=0)}, see="e500 RM 7.2", needs="e500")
def mtpmr(*, name: str) -> None:
    """Write a register of the performance monitor: without effect."""
    _kept_from_guest(S.MSR_PMM)
    with when((swapped(fieldvalue("pmrn", 32)) & 16) != 0):
        privileged()


# --- e500mc ----------------------------------------------------------------------------------------------------------


@insn("wait wc", X(31, 62, rc=0), see="II 4.4.4", needs="e500mc", ends="block")
def wait(wc: Op) -> None:
    """Wait for an interrupt; the other conditions of WC are taken to have happened."""
    with when(wc.read() == 0):
        put(S.HALTED, 1)
        mode_changed()


@insn("ehpriv oc", X(31, 270, rc=0), see="III-E 4.3.2", needs="e500mc", ends="block")
def ehpriv() -> None:
    """Call on the hypervisor by an embedded hypervisor privilege interrupt."""
    raise_interrupt(S.HYPERVISOR_PRIVILEGE, const(0, 32))


BROADCAST = 26
DOORBELL_KINDS = 5


def _bell(rb: Op) -> Val:
    """The doorbell that a message names, as a bit; 0 where it is for another processor or partition."""
    message = rb.read()
    kind = message >> 27
    to_guest = kind >= 2
    tag = message & 0x3FFF
    here = select(to_guest, get(S.GPIR), get(S.PIR)) & 0x3FFF
    partition = (message >> 14) & 0x3F
    mine = (message.bit(BROADCAST) | (tag == here)) & (~to_guest | (partition == 0) | (partition == get(S.LPID)))
    return select((kind < DOORBELL_KINDS) & mine, (const(1, 32) << kind).low(8), value(0, 8))


@insn("msgsnd rb", X(31, 206, rc=0), see="III-E 11.2", needs="e500mc", ends="block")
def msgsnd(rb: Op) -> None:
    """Ring a doorbell; there is one processor to hear it."""
    hypervisor()
    set_bits(S.DOORBELLS, _bell(rb))
    mode_changed()


@insn("msgclr rb", X(31, 238, rc=0), see="III-E 11.2", needs="e500mc", ends="block")
def msgclr(rb: Op) -> None:
    """Forget a doorbell that has not been answered yet."""
    hypervisor()
    put(S.DOORBELLS, get(S.DOORBELLS) & ~_bell(rb))


__all__ = ["MSR", "spr"]
