"""Loads, stores, multiples, strings, reservations, cache operations and barriers (Book I, 3.3.2 to 3.3.7; Book II, 4).

A load or store that takes an interrupt leaves the registers that its effective address comes from as they were. Single
accesses are served at any alignment; reservations want words, multiples what the model says.
"""

from __future__ import annotations

from typing import Any

from ..lang.trace import Location, RegisterLocation, Val, break_, const, fieldvalue, loop, otherwise, var, when
from . import state as S
from .debug import debug_line
from .externs import (
    code_line,
    context_synchronize,
    load,
    mem_probe_r,
    mem_probe_w,
    physical,
    privileged,
    raise_alignment,
    still_holds,
    store,
    zero_line,
)
from .fixed import SO
from .forms import XL, CrField, D, X, insn, opcode, table
from .registers import has

Op = Any
UPDATE_LOAD = "RA 0 or RA = RT"
UPDATE_STORE = "RA 0"

# mnemonic: (width, sign-extend, D opcode, X extended opcode); the update form is one opcode, or 32 extended ones, on.
_LOADS = {
    "lbz": (8, False, 34, 87),
    "lhz": (16, False, 40, 279),
    "lha": (16, True, 42, 343),
    "lwz": (32, False, 32, 23),
}
_STORES = {"stb": (8, 38, 215), "sth": (16, 44, 407), "stw": (32, 36, 151)}


def _fetch(name: str, ea: Val) -> Val:
    width, is_signed, _, _ = _LOADS[name.rstrip("ux")]
    v = load(width, ea)
    return v.sext(32) if is_signed else v.zext(32)


def _put(name: str, ea: Val, rs: Op) -> None:
    width = _STORES[name.rstrip("ux")][0]
    store(width, ea, rs.read().low(width))


@table("{name} rt, d(ra0)", {name: D(row[2]) for name, row in _LOADS.items()}, see="3.3.2")
def load_d(rt: Op, d: Op, ra0: Op, *, name: str) -> None:
    """Load a byte, halfword or word, extended with zeros or (algebraic) its sign."""
    rt.set(_fetch(name, ra0.read() + d.read()))


@table(
    "{name} rt, d(ra)", {f"{name}u": D(row[2] + 1) for name, row in _LOADS.items()}, see="3.3.2", undefined=UPDATE_LOAD
)
def load_d_update(rt: Op, d: Op, ra: Op, *, name: str) -> None:
    """Load with Update: the address goes to RA."""
    ea = ra.read() + d.read()
    rt.set(_fetch(name, ea))
    ra.set(ea)


@table("{name} rt, ra0, rb", {f"{name}x": X(31, row[3], rc=0) for name, row in _LOADS.items()}, see="3.3.2")
def load_x(rt: Op, ra0: Op, rb: Op, *, name: str) -> None:
    """Load Indexed."""
    rt.set(_fetch(name, ra0.read() + rb.read()))


@table(
    "{name} rt, ra, rb",
    {f"{name}ux": X(31, row[3] + 32, rc=0) for name, row in _LOADS.items()},
    see="3.3.2",
    undefined=UPDATE_LOAD,
)
def load_x_update(rt: Op, ra: Op, rb: Op, *, name: str) -> None:
    """Load with Update Indexed."""
    ea = ra.read() + rb.read()
    rt.set(_fetch(name, ea))
    ra.set(ea)


@table("{name} rs, d(ra0)", {name: D(row[1]) for name, row in _STORES.items()}, see="3.3.3")
def store_d(rs: Op, d: Op, ra0: Op, *, name: str) -> None:
    """Store a byte, halfword or word."""
    _put(name, ra0.read() + d.read(), rs)


@table(
    "{name} rs, d(ra)",
    {f"{name}u": D(row[1] + 1) for name, row in _STORES.items()},
    see="3.3.3",
    undefined=UPDATE_STORE,
)
def store_d_update(rs: Op, d: Op, ra: Op, *, name: str) -> None:
    """Store with Update; where RA is RS, the old value is stored."""
    ea = ra.read() + d.read()
    _put(name, ea, rs)
    ra.set(ea)


@table("{name} rs, ra0, rb", {f"{name}x": X(31, row[2], rc=0) for name, row in _STORES.items()}, see="3.3.3")
def store_x(rs: Op, ra0: Op, rb: Op, *, name: str) -> None:
    """Store Indexed."""
    _put(name, ra0.read() + rb.read(), rs)


@table(
    "{name} rs, ra, rb",
    {f"{name}ux": X(31, row[2] + 32, rc=0) for name, row in _STORES.items()},
    see="3.3.3",
    undefined=UPDATE_STORE,
)
def store_x_update(rs: Op, ra: Op, rb: Op, *, name: str) -> None:
    """Store with Update Indexed."""
    ea = ra.read() + rb.read()
    _put(name, ea, rs)
    ra.set(ea)


@table("{name} rt, ra0, rb", {"lhbrx": X(31, 790, rc=0), "lwbrx": X(31, 534, rc=0)}, see="3.3.4")
def load_reversed(rt: Op, ra0: Op, rb: Op, *, name: str) -> None:
    """Load with the bytes reversed."""
    rt.set(load(16 if name == "lhbrx" else 32, ra0.read() + rb.read()).bswap().zext(32))


@table("{name} rs, ra0, rb", {"sthbrx": X(31, 918, rc=0), "stwbrx": X(31, 662, rc=0)}, see="3.3.4")
def store_reversed(rs: Op, ra0: Op, rb: Op, *, name: str) -> None:
    """Store with the bytes reversed."""
    width = 16 if name == "sthbrx" else 32
    store(width, ra0.read() + rb.read(), rs.read().low(width).bswap())


# --- multiples and strings -------------------------------------------------------------------------------------------


def _gpr(number: Location) -> RegisterLocation:
    return RegisterLocation(S.GPR, number.read(), width=32, how="part")


def check_multiple(ea: Val, is_store: int) -> None:
    """The e500 takes an alignment interrupt off a word boundary; the 440 does not care."""
    with when((ea & 3) != 0, likely=False), when(has("e500")):
        raise_alignment(ea, const(is_store, 1))


@insn("lmw rt, d(ra0)", D(46), see="3.3.5", undefined="RA among the registers loaded")
def lmw(rt: Op, d: Op, ra0: Op) -> None:
    """Load Multiple Word: RT up to r31."""
    base = ra0.read() + d.read()
    check_multiple(base, 0)
    ea = var(32, base, "ea")
    r = var(8, fieldvalue("rt", 8), "r")
    with loop():
        _gpr(r).set(load(32, ea.read()))
        with when(r.read() == 31):
            break_()
        r.set(r.read() + 1)
        ea.set(ea.read() + 4)


@insn("stmw rs, d(ra0)", D(47), see="3.3.5")
def stmw(rs: Op, d: Op, ra0: Op) -> None:
    """Store Multiple Word: RS up to r31."""
    base = ra0.read() + d.read()
    check_multiple(base, 1)
    ea = var(32, base, "ea")
    r = var(8, fieldvalue("rs", 8), "r")
    with loop():
        store(32, ea.read(), _gpr(r).read())
        with when(r.read() == 31):
            break_()
        r.set(r.read() + 1)
        ea.set(ea.read() + 4)


def _load_string(first: Val, base: Val, count: Val) -> None:
    """`count` bytes into registers from `first`, four each, on to r0 after r31; the rest of the last one is cleared."""
    ea = var(32, base, "ea")
    left = var(32, count, "left")
    r = var(8, first, "r")
    shift = var(32, 24, "shift")
    word = var(32, 0, "word")
    with loop():
        with when(left.read() == 0):
            break_()
        word.set(word.read() | (load(8, ea.read()).zext(32) << shift.read()))
        left.set(left.read() - 1)
        ea.set(ea.read() + 1)
        with when((shift.read() == 0) | (left.read() == 0)):
            _gpr(r).set(word.read())
            r.set((r.read() + 1) & 31)
            word.set(0)
            shift.set(24)
        with otherwise():
            shift.set(shift.read() - 8)


def _store_string(first: Val, base: Val, count: Val) -> None:
    ea = var(32, base, "ea")
    left = var(32, count, "left")
    r = var(8, first, "r")
    shift = var(32, 24, "shift")
    with loop():
        with when(left.read() == 0):
            break_()
        store(8, ea.read(), (_gpr(r).read() >> shift.read()).low(8))
        left.set(left.read() - 1)
        ea.set(ea.read() + 1)
        with when(shift.read() == 0):
            r.set((r.read() + 1) & 31)
            shift.set(24)
        with otherwise():
            shift.set(shift.read() - 8)


def _immediate_count(nb: Op) -> Val:
    n: Val = nb.read().zext(32)
    return ((n - 1) & 31) + 1


@insn("lswi rt, ra0, nb", X(31, 597, rc=0), see="3.3.6", needs="440", undefined="RA among the registers loaded")
def lswi(rt: Op, ra0: Op, nb: Op) -> None:
    """Load String Word Immediate: NB bytes, 32 for 0."""
    _load_string(fieldvalue("rt", 8), ra0.read(), _immediate_count(nb))


@insn("lswx rt, ra0, rb", X(31, 533, rc=0), see="3.3.6", needs="440", undefined="RA or RB among the registers loaded")
def lswx(rt: Op, ra0: Op, rb: Op) -> None:
    """Load String Word Indexed: as many bytes as XER says."""
    _load_string(fieldvalue("rt", 8), ra0.read() + rb.read(), RegisterLocation(S.XER_COUNT).read().zext(32))


@insn("stswi rs, ra0, nb", X(31, 725, rc=0), see="3.3.6", needs="440")
def stswi(rs: Op, ra0: Op, nb: Op) -> None:
    """Store String Word Immediate: NB bytes, 32 for 0."""
    _store_string(fieldvalue("rs", 8), ra0.read(), _immediate_count(nb))


@insn("stswx rs, ra0, rb", X(31, 661, rc=0), see="3.3.6", needs="440")
def stswx(rs: Op, ra0: Op, rb: Op) -> None:
    """Store String Word Indexed: as many bytes as XER says."""
    _store_string(fieldvalue("rs", 8), ra0.read() + rb.read(), RegisterLocation(S.XER_COUNT).read().zext(32))


# --- reservations ----------------------------------------------------------------------------------------------------

RESERVE = RegisterLocation(S.RESERVE)
RESERVE_ADDR = RegisterLocation(S.RESERVE_ADDR)
RESERVE_VALUE = RegisterLocation(S.RESERVE_VALUE)
GRANULE = 32


@insn("lwarx rt, ra0, rb", opcode(31).fixed(21, 10, 20), see="II 4.4.2")
def lwarx(rt: Op, ra0: Op, rb: Op) -> None:
    """Load Word and Reserve; the last bit is a hint (EH)."""
    ea = ra0.read() + rb.read()
    with when((ea & 3) != 0, likely=False):
        raise_alignment(ea, const(0, 1))
    v = load(32, ea)
    RESERVE_ADDR.set(physical(ea) & ~const(GRANULE - 1, 64))
    RESERVE_VALUE.set(v)
    RESERVE.set(1)
    rt.set(v)


@insn("stwcx. rs, ra0, rb", X(31, 150, rc=1), see="II 4.4.2")
def stwcx(rs: Op, ra0: Op, rb: Op) -> None:
    """Store Word Conditional: it stores where a reservation is held for the granule and the word has not changed."""
    ea = ra0.read() + rb.read()
    with when((ea & 3) != 0, likely=False):
        raise_alignment(ea, const(1, 1))
    mem_probe_w(ea)
    done = var(1, 0, "done")
    with when(RESERVE.read()), when(still_holds(ea, RESERVE_ADDR.read(), RESERVE_VALUE.read())):
        store(32, ea, rs.read())
        done.set(1)
    RESERVE.set(0)
    CrField(0).set((done.read().zext(4) << 1) | SO.read().zext(4))


# --- caches and barriers ---------------------------------------------------------------------------------------------


@table("{name} ra0, rb", {"dcbf": X(31, 86, rc=0), "dcbst": X(31, 54, rc=0)}, see="II 4.3.2")
def cache_write_back(ra0: Op, rb: Op, *, name: str) -> None:
    """Write a line back. Memory is always current: the rights of a load are checked; to DAC it is a store."""
    ea = ra0.read() + rb.read()
    mem_probe_r(ea)
    debug_line(ea, 1)


@table(
    "{name} ct, ra0, rb",
    {"dcbt": X(31, 278, rc=0), "dcbtst": X(31, 246, rc=0), "icbt": X(31, 22, rc=0)},
    see="II 4.3.2",
)
def cache_touch(*, name: str) -> None:
    """A hint to bring a line into a cache; never an interrupt."""


@insn("dcba ra0, rb", X(31, 758, rc=0), see="II 4.3.2")
def dcba() -> None:
    """Data Cache Block Allocate; a hint, and so not carried out."""


@insn("dcbz ra0, rb", X(31, 1014, rc=0), see="II 4.3.2")
def dcbz(ra0: Op, rb: Op) -> None:
    """Data Cache Block set to Zero."""
    zero_line(ra0.read() + rb.read())


@insn("dcbi ra0, rb", X(31, 470, rc=0), see="III-E 6.11.1")
def dcbi(ra0: Op, rb: Op) -> None:
    """Data Cache Block Invalidate. Memory is always current, so nothing is lost."""
    privileged()
    ea = ra0.read() + rb.read()
    mem_probe_w(ea)
    debug_line(ea, 1)


@insn("icbi ra0, rb", X(31, 982, rc=0), see="II 4.3.1", ends="block")
def icbi(ra0: Op, rb: Op) -> None:
    """Instruction Cache Block Invalidate."""
    ea = ra0.read() + rb.read()
    code_line(ea)
    debug_line(ea, 0)


@table("{name} ct, ra0, rb", {"dccci": X(31, 454, rc=0), "iccci": X(31, 966, rc=0)}, see="440, 9", ends="block")
def cache_clear(*, name: str) -> None:
    """Invalidate a whole cache (4xx)."""
    privileged()
    if name == "iccci":
        context_synchronize()


@table("{name}", {"sync": X(31, 598, rc=0), "eieio": X(31, 854, rc=0)}, see="II 4.4.3")
def barrier(*, name: str) -> None:
    """Order storage accesses (msync and mbar are the names of Book E): they are in order already."""


@insn("isync", XL(19, 150), see="II 4.4.1", ends="block")
def isync() -> None:
    """What follows is fetched anew, in the context of now."""
    context_synchronize()
