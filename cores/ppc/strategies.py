"""Random instruction words and register contents, drawn from the spec: for tests and fuzzers.

Every word is one of a form of the model; what is drawn is only what its pattern leaves open.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from .decoder import allowed, field_names, forms
from .forms import FIELDS, Form, with_field

T = TypeVar("T")

INTERESTING = (
    0,
    1,
    2,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0x80000001,
    0xFFFFFFFE,
    0xFFFFFFFF,
)
SINGLES = (
    0,
    0x80000000,
    0x3F800000,
    0xBF800000,
    0x7F7FFFFF,
    0x00800000,
    0x7F800000,
    0x7FC00000,
    0x7F800001,
    1,
    0x4F000000,
)
DOUBLES = (
    0,
    1 << 63,
    0x3FF << 52,
    0xBFF << 52,
    0x7FEFFFFFFFFFFFFF,
    1 << 52,
    0x7FF << 52,
    0xFFF << 52,
    0x7FF8 << 48,
    0x7FF0 << 48 | 1,
    0x41E0 << 48,
    0xC1E0 << 48,
    0x47EFFFFFE0000000,
    1,
)


class Dice(Protocol):
    """What is asked of a `random.Random`."""

    def random(self) -> float: ...
    def getrandbits(self, k: int, /) -> int: ...
    def randrange(self, start: int, stop: int) -> int: ...
    def choice(self, seq: Sequence[T]) -> T: ...


def field_bits(form: Form) -> int:
    """The bits that the fields of a form take; what is neither these nor fixed is reserved."""
    bits = 0
    for name in field_names(form.ident):
        first, count, _, _ = FIELDS[name]
        bits |= ((1 << count) - 1) << (32 - first - count)
    return bits


def word(
    rng: Dice,
    form: Form,
    bases: Sequence[int] = (3, 4, 5, 6),
    indexes: Sequence[int] = (3, 4, 5, 6, 7),
    reserved: bool = True,
) -> int:
    """A word of a form. Branches stay near; base registers are mostly `bases`, which a test has addresses in.

    `reserved`: reserved bits are random too."""
    drawn = form.value | rng.getrandbits(32) & ~form.mask & (0xFFFFFFFF if reserved else field_bits(form))
    for name in ("bd", "li"):
        if name in form.params:
            drawn = with_field(drawn, name, rng.randrange(-8, 8) * 4)
    if ("ra0" in form.params or "ra" in form.params) and "d" in form.params:
        drawn = with_field(drawn, "d", rng.choice((0, 4, 2, -4, 8, 1)))
        drawn = with_field(drawn, "ra", rng.choice(bases))
    if form.zero:
        drawn = with_field(drawn, "ra", 0)
    elif "ra0" in form.params and not drawn >> 16 & 31:
        drawn = with_field(drawn, "ra", bases[0])
    if "rb" in form.params and rng.random() < 0.8:
        drawn = with_field(drawn, "rb", rng.choice(indexes))
    return drawn


def families(features: int) -> list[list[Form]]:
    """The forms of a model by the body they share, so that a draw is not mostly moves to special purpose registers."""
    found: dict[object, list[Form]] = {}
    for f in forms():
        if allowed(f, features):
            found.setdefault(f.entry.body, []).append(f)
    return list(found.values())


def integer(rng: Dice) -> int:
    """A 32-bit number, often at an edge."""
    return rng.choice(INTERESTING) if rng.random() < 0.3 else rng.getrandbits(32) >> rng.choice((0, 0, 8, 16, 24))


def single(rng: Dice) -> int:
    """The bits of a single: an edge, one of middling size, or any."""
    kind = rng.random()
    if kind < 0.15:
        return rng.choice(SINGLES)
    if kind < 0.85:
        return (
            rng.getrandbits(1) << 31
            | rng.randrange(100, 156) << 23
            | (rng.getrandbits(23) >> rng.choice((0, 0, 12)) << rng.choice((0, 11)) & 0x7FFFFF)
        )
    return rng.getrandbits(32)


def double(rng: Dice) -> int:
    """The bits of a double: an edge, one of middling size, one that a single holds, or any."""
    kind = rng.random()
    if kind < 0.15:
        return rng.choice(DOUBLES)
    if kind < 0.85:
        fraction = rng.getrandbits(52) >> rng.choice((0, 29, 48)) << rng.choice((0, 0, 29))
        return rng.getrandbits(1) << 63 | rng.randrange(0x380, 0x480) << 52 | fraction & (1 << 52) - 1
    return rng.getrandbits(64)
