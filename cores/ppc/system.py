"""Moves to and from the special purpose registers and MSR that every model has (Book I, 3.3.17; Book III-E, 5.4).

What belongs to a model (its own SPRs, DCRs, TLB instructions) is not here.
"""

from __future__ import annotations

from typing import Any

from ..lang.trace import RegisterLocation, Val, const
from . import state as S
from .externs import mode_changed, privileged, time_base
from .fixed import CA, OV, SO
from .forms import Pattern, X, insn, table

Op = Any
MSR = RegisterLocation(S.MSR)


def spr(xo: int, number: int) -> Pattern:
    """XFX-form: the halves of the number are exchanged in the word."""
    return X(31, xo, rc=0).fixed(11, 10, (number & 31) << 5 | number >> 5)


MFSPR, MTSPR, MFTB = 339, 467, 371
_PLAIN = {"lr": (8, S.LR), "ctr": (9, S.CTR)}
_SAVED = {"srr0": (26, S.SRR0), "srr1": (27, S.SRR1), "csrr0": (58, S.CSRR0), "csrr1": (59, S.CSRR1),
          "mcsrr0": (570, S.MCSRR0), "mcsrr1": (571, S.MCSRR1)}  # fmt: skip


@table("mf{name} rt", {n: spr(MFSPR, k) for n, (k, _) in _PLAIN.items()}, see="3.3.17")
def mfspr(rt: Op, *, name: str) -> None:
    """Read LR or CTR."""
    rt.set(RegisterLocation(_PLAIN[name][1]).read())


@table("mt{name} rs", {n: spr(MTSPR, k) for n, (k, _) in _PLAIN.items()}, see="3.3.17")
def mtspr(rs: Op, *, name: str) -> None:
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


@table("mf{name} rt", {n: spr(MFSPR, k) for n, (k, _) in _SAVED.items()}, see="III-E 5.4.1")
def mf_saved(rt: Op, *, name: str) -> None:
    """Read a save/restore register of an interrupt class."""
    privileged()
    rt.set(RegisterLocation(_SAVED[name][1]).read())


@table("mt{name} rs", {n: spr(MTSPR, k) for n, (k, _) in _SAVED.items()}, see="III-E 5.4.1")
def mt_saved(rs: Op, *, name: str) -> None:
    """Write a save/restore register of an interrupt class."""
    privileged()
    RegisterLocation(_SAVED[name][1]).set(rs.read())


def _time_rows(half: int) -> dict[str, Pattern]:
    return {"tb": spr(MFTB, 268 + half), "spr": spr(MFSPR, 268 + half)}


@table("mftb rt", _time_rows(0), see="II 6.2", ends="block")
def mftb(rt: Op) -> None:
    """Read the lower half of the time base."""
    now: Val = time_base()
    rt.set(now.low(32))


@table("mftbu rt", _time_rows(1), see="II 6.2", ends="block")
def mftbu(rt: Op) -> None:
    """Read the upper half of the time base."""
    now: Val = time_base()
    rt.set(now.bits(32, 32))


@insn("mfmsr rt", X(31, 83, rc=0), see="III-E 5.4.1")
def mfmsr(rt: Op) -> None:
    """Read MSR."""
    privileged()
    rt.set(MSR.read())


@insn("mtmsr rs", X(31, 146, rc=0), see="III-E 5.4.1", ends="block")
def mtmsr(rs: Op) -> None:
    """Write MSR."""
    privileged()
    MSR.set(rs.read())
    mode_changed()


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


__all__ = ["MSR", "spr"]
