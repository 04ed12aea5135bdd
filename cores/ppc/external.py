"""Loads and stores in the context of another process, by external process ID (Book III-E, 5.4.3; e500mc RM, 3.4.11).

Privilege, address space, guest state, partition and PID of a load come from EPLC, of a store from EPSC; an interrupt
has ESR.EPID. The externs read these registers themselves.
"""

from __future__ import annotations

from typing import Any

from ..lang.trace import Val, value
from .externs import external_probe, external_read, external_write, external_zero, privileged
from .float import available
from .forms import X, insn, table

Op = Any
SEE = "III-E 5.4.3"
MC = "e500mc"
_LOADS = {"lbepx": (1, 95), "lhepx": (2, 287), "lwepx": (4, 31)}
_STORES = {"stbepx": (1, 223), "sthepx": (2, 415), "stwepx": (4, 159)}


def _fetch(ea: Val, size: int) -> Val:
    v: Val = external_read(ea, value(size, 8))
    return v


@table("{name} rt, ra0, rb", {n: X(31, xo, rc=0) for n, (_, xo) in _LOADS.items()}, see=SEE, needs=MC, ends="block")
def load_external(rt: Op, ra0: Op, rb: Op, *, name: str) -> None:
    """Load a byte, halfword or word by external process ID, extended with zeros."""
    privileged()
    rt.set(_fetch(ra0.read() + rb.read(), _LOADS[name][0]).low(32))


@table("{name} rs, ra0, rb", {n: X(31, xo, rc=0) for n, (_, xo) in _STORES.items()}, see=SEE, needs=MC, ends="block")
def store_external(rs: Op, ra0: Op, rb: Op, *, name: str) -> None:
    """Store a byte, halfword or word by external process ID."""
    privileged()
    size = _STORES[name][0]
    external_write(ra0.read() + rb.read(), value(size, 8), rs.read().low(8 * size).zext(64))


@insn("lfdepx frt, ra0, rb", X(31, 607, rc=0), see=SEE, needs=MC, ends="block")
def lfdepx(frt: Op, ra0: Op, rb: Op) -> None:
    """Load a double by external process ID."""
    privileged()
    available()
    frt.set(_fetch(ra0.read() + rb.read(), 8))


@insn("stfdepx frs, ra0, rb", X(31, 735, rc=0), see=SEE, needs=MC, ends="block")
def stfdepx(frs: Op, ra0: Op, rb: Op) -> None:
    """Store a double by external process ID."""
    privileged()
    available()
    external_write(ra0.read() + rb.read(), value(8, 8), frs.read())


@table(
    "{name} ra0, rb",
    {"dcbstep": X(31, 63, rc=0), "dcbfep": X(31, 127, rc=0), "icbiep": X(31, 991, rc=0)},
    see=SEE,
    needs=MC,
    ends="block",
)
def cache_external(ra0: Op, rb: Op) -> None:
    """Write a line back, or drop it from the instruction cache: the rights of a load by external process ID."""
    privileged()
    external_probe(ra0.read() + rb.read())


@table("{name} ct, ra0, rb", {"dcbtep": X(31, 319, rc=0), "dcbtstep": X(31, 255, rc=0)}, see=SEE, needs=MC)
def touch_external() -> None:
    """A hint to bring a line into a cache; only its privilege is checked."""
    privileged()


@insn("dcbzep ra0, rb", X(31, 1023, rc=0), see=SEE, needs=MC, ends="block")
def dcbzep(ra0: Op, rb: Op) -> None:
    """Set a line to zero by external process ID."""
    privileged()
    external_zero(ra0.read() + rb.read())
