"""Damaged files: bits flipped, words replaced by extremes, pieces cut out, doubled or cut off."""

from __future__ import annotations

from hypothesis import strategies as st

EXTREMES = (0, 1, 4, 0x7F, 0xFF, 0x100, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFC, 0xFFFFFFFF)


@st.composite
def mutated(draw: st.DrawFn, data: bytes, head: int = 256) -> bytes:
    """`data` after one to four mutations, half of them in its first `head` bytes."""
    made = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        if not made:
            break
        limit = min(len(made), head) if draw(st.booleans()) else len(made)
        at = draw(st.integers(0, limit - 1))
        how = draw(st.integers(0, 4))
        if how == 0:
            made[at] ^= 1 << draw(st.integers(0, 7))
        elif how == 1:
            at &= ~3
            value = draw(st.sampled_from(EXTREMES)) + draw(st.integers(-2, 2)) & 0xFFFFFFFF
            order = "big" if draw(st.booleans()) else "little"
            made[at : at + 4] = value.to_bytes(4, order)  # type: ignore[arg-type]
        elif how == 2:
            del made[at:]
        elif how == 3:
            del made[at : at + draw(st.integers(1, 16))]
        else:
            made[at:at] = made[at : at + draw(st.integers(1, 16))]
    return bytes(made)
