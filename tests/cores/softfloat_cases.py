"""Operands for the tests of the soft float: the corners of each format and numbers near them."""

from __future__ import annotations

from hypothesis import strategies as st

from cores.lang.softfloat import OPERATIONS

CORNERS = {
    "f32": [
        *(0, 1, 0x7FFFFF, 0x400000, 0x800000, 0x800001, 0x3F800000, 0x3F7FFFFF, 0x7F7FFFFF, 0x7F800000, 0x7FC00005),
        *(0x7F800001, 0x7FBFFFFF, 0x4F000000, 0x5F000000, 0x4EFFFFFF),
    ],
    "f64": [
        *(0, 1, (1 << 52) - 1, 1 << 51, 1 << 52, 0x3FF << 52, (0x3FF << 52) - 1, (0x7FF << 52) - 1, 0x7FF << 52),
        *((0x7FF << 52) + 1, 0xFFF << 51, (0xFFF << 51) + 5, 0x41E << 52, 0x43E << 52, 0x36A << 52, 0x381 << 52),
    ],
}
EXPONENTS_80 = [0, 1, 2, 0x3FFE, 0x3FFF, 0x4000, 0x403E, 0x403D, 0x401E, 0x400E, 0x7FFE, 0x7FFF, 0x3F81, 0x3C01, 0x3BCD]
SIGNIFICANDS_80 = [0, 1, 1 << 63, (1 << 63) + 1, (1 << 64) - 1, (1 << 63) - 1, 3 << 62, (3 << 62) + 1, 1 << 62, 5 << 61]
SIGNIFICANDS_80 += [(1 << 64) - (1 << 11), (1 << 64) - (1 << 40), (1 << 63) + (1 << 39), (1 << 63) + (1 << 10)]


def _ieee(name: str, bits: int, fraction: int, bias: int) -> st.SearchStrategy[int]:
    exponents, fractions = st.integers(-3 * fraction, 3 * fraction), st.integers(0, (1 << fraction) - 1)
    middle = st.builds(lambda e, f: (bias + e << fraction | f) & (1 << bits) - 1, exponents, fractions)
    values = st.one_of(st.sampled_from(CORNERS[name]), st.integers(0, (1 << bits) - 1), middle)
    return st.builds(lambda sign, v: sign ^ v, st.sampled_from([0, 1 << bits - 1]), values)


F32_OPERANDS = _ieee("f32", 32, 23, 127)
F64_OPERANDS = _ieee("f64", 64, 52, 1023)
F80_OPERANDS = st.tuples(
    st.one_of(st.sampled_from(SIGNIFICANDS_80), st.integers(1 << 63, (1 << 64) - 1), st.integers(0, (1 << 64) - 1)),
    st.builds(
        lambda s, e: s | e,
        st.sampled_from([0, 0x8000]),
        st.one_of(st.sampled_from(EXPONENTS_80), st.integers(0x3FFF - 70, 0x3FFF + 70), st.integers(0, 0x7FFF)),
    ),
)
CONTROLS = st.builds(
    lambda mode, rule, rare, unmasked: mode | rule << 7 | rare | unmasked << 16,
    st.integers(0, 15),
    st.integers(0, 2),
    st.sampled_from([0, 0, 0x10, 0x20, 0x40, 0x60, 0x70, 0x200, 0x210]),
    st.one_of(st.just(0), st.integers(0, 63)),
)


def rows(name: str) -> st.SearchStrategy[tuple[int, ...]]:
    """Operands of one flat operation, control word last."""
    widths = OPERATIONS[name][0][:-1]
    source = name.split("_")[1]
    if source in ("f80", "bcd"):
        parts: list[st.SearchStrategy[tuple[int, ...]]] = [F80_OPERANDS] * (len(widths) // 2)
    elif source in ("f32", "f64"):
        parts = [(F32_OPERANDS if source == "f32" else F64_OPERANDS).map(lambda v: (v,))] * len(widths)
    else:
        parts = [st.integers(0, (1 << w) - 1).map(lambda v: (v,)) for w in widths]
    return st.builds(lambda operands, ctl: (*(v for o in operands for v in o), ctl), st.tuples(*parts), CONTROLS)
