"""Multiply-accumulate of halfwords, and the search for a zero byte, as the 4xx cores have them (440 manual, 9)."""

from __future__ import annotations

from typing import Any

from ..lang.trace import RegisterLocation, Val, break_, const, loop, select, value, var, when
from . import state as S
from .fixed import SO, overflow, record, signed_overflow
from .forms import XO, CrField, Pattern, X, insn, opcode, table

Op = Any
# Which halves are multiplied: of RA, of RB (1: the upper).
_HALVES = {"c": (0, 1), "h": (1, 1), "l": (0, 0)}
_BASE = {"c": 172, "h": 44, "l": 428}


def _product(name: str, which: str, ra: Op, rb: Op) -> Val:
    upper_a, upper_b = _HALVES[which]
    a, b = ra.read().bits(16 * upper_a, 16), rb.read().bits(16 * upper_b, 16)
    if name.endswith("u"):
        return a.zext(32) * b.zext(32)  # type: ignore[no-any-return]
    return a.sext(32) * b.sext(32)  # type: ignore[no-any-return]


# s: saturate, u: unsigned, n: subtract.
_MAC: dict[str, Pattern] = {}
for _which, _xo in _BASE.items():
    for _tail, _more in (("hw", 0), ("hws", 64), ("hwsu", 32), ("hwu", -32)):
        _MAC[f"mac{_which}{_tail}"] = XO(4, _xo + _more)
    for _tail, _more in (("hw", 2), ("hws", 66)):
        _MAC[f"nmac{_which}{_tail}"] = XO(4, _xo + _more)


@table("{name}[o][.] rt, ra, rb", _MAC, see="440, 9", needs="440")
def multiply_accumulate(rt: Op, ra: Op, rb: Op, *, name: str, oe: int, rc: int) -> None:
    """Add a product of two halfwords to RT, or subtract it; at the limit of the word, or beyond it."""
    _, _, tail = name.partition("mac")
    old = rt.read()
    product = _product(name, tail[0], ra, rb)
    if name.startswith("n"):
        product = -product
    total = old + product
    unsigned = name.endswith("u")
    saturates = "s" in tail[3:]
    if oe or saturates:
        over = total < old if unsigned else signed_overflow(old, product, total)
    if saturates:
        limit = value(0xFFFFFFFF, 32) if unsigned else select(old.sign(), const(1 << 31, 32), const((1 << 31) - 1, 32))
        total = select(over, limit, total)
    rt.set(total)
    if oe:
        overflow(over)
    if rc:
        record(total)


_MUL = {
    f"mul{w}hw{u}": opcode(4).fixed(21, 10, base - 4 - (32 if u else 0)).static(rc=31)
    for w, base in _BASE.items()
    for u in ("", "u")
}


@table("{name}[.] rt, ra, rb", _MUL, see="440, 9", needs="440")
def multiply_halves(rt: Op, ra: Op, rb: Op, *, name: str, rc: int) -> None:
    """Multiply two halfwords."""
    result = _product(name, name[3], ra, rb)
    rt.set(result)
    if rc:
        record(result)


@insn("dlmzb[.] ra, rs, rb", X(31, 78), see="440, 9", needs="440")
def dlmzb(ra: Op, rs: Op, rb: Op, *, rc: int) -> None:
    """Count the bytes of RS and RB, from the left, up to the first zero byte; 8 without one. XER gets the count too."""
    rest = var(64, (rs.read().zext(64) << 32) | rb.read().zext(64), "rest")
    count = var(32, 1, "count")
    found = var(1, 1, "found") if rc else None
    with loop():
        with when((rest.read() >> 56) == 0):
            break_()
        with when(count.read() == 8):
            if found is not None:
                found.set(0)
            break_()
        rest.set(rest.read() << 8)
        count.set(count.read() + 1)
    n = count.read()
    ra.set(n)
    RegisterLocation(S.XER_COUNT).set(n.low(7))
    if found is not None:
        where = select(n > 4, const(8, 4), const(4, 4))
        CrField(0).set(select(found.read(), where, const(2, 4)) | SO.read().zext(4))
