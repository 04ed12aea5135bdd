"""Packed integers in 64-bit values, for MMX and the integer half of SSE2 (SDM vol. 1, chapters 9 to 11).

A 128-bit operation is two of these. Lane 0 is the lowest; `width` is that of a lane in bits. Where carries can be kept
inside their lanes with a mask, the whole value is computed at once; only products and packs go lane by lane.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..lang.trace import Operand, Val, concat, const, select, value

TOTAL = 64


def splat(x: int, width: int) -> int:
    """The constant `x` in every lane."""
    x &= (1 << width) - 1
    return sum(x << at for at in range(0, TOTAL, width))


def _top(width: int) -> int:
    return splat(1 << (width - 1), width)


def _rest(width: int) -> int:
    return splat((1 << (width - 1)) - 1, width)


def lane(v: Operand, width: int, k: int) -> Val:
    """Lane `k`, `width` bits wide."""
    return value(v, TOTAL).bits(k * width, width)


def lanes(v: Operand, width: int, first: int = 0, count: int = 0) -> list[Val]:
    """`count` lanes from `first` up (all of them for 0)."""
    v = value(v, TOTAL)
    return [lane(v, width, k) for k in range(first, first + (count or TOTAL // width))]


def join(parts: Sequence[Operand]) -> Val:
    """Lanes, the lowest first, as one value."""
    return concat(*reversed(parts))


def _fill(tops: Val, width: int) -> Val:
    """All ones in each lane whose top bit is set; `tops` has nothing but top bits."""
    return tops | (tops - (tops >> (width - 1)))


def _choose(where: Val, yes: Val, no: Val) -> Val:
    return no ^ ((no ^ yes) & where)


# --- addition and subtraction --------------------------------------------------------------------------------------


def add(a: Val, b: Val, width: int) -> Val:
    """Lane sums, wrapped."""
    if width == TOTAL:
        return a + b
    top, rest = _top(width), _rest(width)
    return ((a & rest) + (b & rest)) ^ ((a ^ b) & top)


def sub(a: Val, b: Val, width: int) -> Val:
    """Lane differences, wrapped."""
    if width == TOTAL:
        return a - b
    top, rest = _top(width), _rest(width)
    return ((a | top) - (b & rest)) ^ (~(a ^ b) & top)


def _borrow(a: Val, b: Val, difference: Val, width: int) -> Val:
    """Top bits of the lanes where a < b unsigned."""
    return ((~a & b) | (~(a ^ b) & difference)) & _top(width)


def add_unsigned(a: Val, b: Val, width: int) -> Val:
    """Lane sums, at most all ones."""
    total = add(a, b, width)
    return total | _fill(((a & b) | ((a | b) & ~total)) & _top(width), width)


def sub_unsigned(a: Val, b: Val, width: int) -> Val:
    """Lane differences, at least 0."""
    difference = sub(a, b, width)
    return difference & ~_fill(_borrow(a, b, difference, width), width)


def _saturate(a: Val, result: Val, overflow: Val, width: int) -> Val:
    limit = ((a >> (width - 1)) & splat(1, width)) + _rest(width)
    return _choose(_fill(overflow & _top(width), width), limit, result)


def add_signed(a: Val, b: Val, width: int) -> Val:
    """Lane sums with signed saturation."""
    total = add(a, b, width)
    return _saturate(a, total, (a ^ total) & (b ^ total), width)


def sub_signed(a: Val, b: Val, width: int) -> Val:
    """Lane differences with signed saturation."""
    difference = sub(a, b, width)
    return _saturate(a, difference, (a ^ b) & (a ^ difference), width)


# --- comparison and choice -----------------------------------------------------------------------------------------


def equal(a: Val, b: Val, width: int) -> Val:
    """All ones in the lanes that are equal."""
    x = a ^ b
    rest = _rest(width)
    return _fill(~(((x & rest) + rest) | x) & _top(width), width)


def greater_signed(a: Val, b: Val, width: int) -> Val:
    """All ones in the lanes where a > b, signed."""
    difference = sub(b, a, width)
    # Signed order is unsigned order with the top bits turned, which exchanges their roles in the borrow.
    return _fill(((b & ~a) | (~(a ^ b) & difference)) & _top(width), width)


def less_unsigned(a: Val, b: Val, width: int) -> Val:
    """All ones in the lanes where a < b, unsigned."""
    return _fill(_borrow(a, b, sub(a, b, width), width), width)


def min_unsigned(a: Val, b: Val, width: int) -> Val:
    """The smaller of each pair of lanes, unsigned."""
    return _choose(less_unsigned(a, b, width), a, b)


def max_unsigned(a: Val, b: Val, width: int) -> Val:
    """The larger of each pair of lanes, unsigned."""
    return _choose(less_unsigned(a, b, width), b, a)


def min_signed(a: Val, b: Val, width: int) -> Val:
    """The smaller of each pair of lanes, signed."""
    return _choose(greater_signed(a, b, width), b, a)


def max_signed(a: Val, b: Val, width: int) -> Val:
    """The larger of each pair of lanes, signed."""
    return _choose(greater_signed(a, b, width), a, b)


def average(a: Val, b: Val, width: int) -> Val:
    """(a + b + 1) / 2 of each pair of lanes, unsigned (PAVGB, PAVGW)."""
    return (a | b) - (((a ^ b) & splat(-2, width)) >> 1)


# --- shifts --------------------------------------------------------------------------------------------------------


def shift_left(v: Val, count: Val, width: int) -> Val:
    """Each lane left by the 64-bit `count`; zeros from a count of `width` on."""
    if width == TOTAL:
        return v << count
    return (v << count) & ((const(-1, width) << count.low(width)).zext(TOTAL) * splat(1, width))


def shift_right(v: Val, count: Val, width: int) -> Val:
    """Each lane right by the 64-bit `count`, zeros coming in."""
    if width == TOTAL:
        return v >> count
    return (v >> count) & ((const(-1, width) >> count.low(width)).zext(TOTAL) * splat(1, width))


def shift_right_signed(v: Val, count: Val, width: int) -> Val:
    """Each lane right by the 64-bit `count`, sign bits coming in."""
    n = select(count < width, count, width - 1).low(width)
    return join([x.ashr(n) for x in lanes(v, width)])


# --- products ------------------------------------------------------------------------------------------------------


def _words(a: Val, b: Val) -> Iterator[tuple[Val, Val]]:
    return zip(lanes(a, 16), lanes(b, 16), strict=True)


def mul_low(a: Val, b: Val) -> Val:
    """Low halves of the products of words (PMULLW)."""
    return join([x * y for x, y in _words(a, b)])


def mul_high_signed(a: Val, b: Val) -> Val:
    """High halves of the signed products of words (PMULHW)."""
    return join([(x.sext(32) * y.sext(32)).bits(16, 16) for x, y in _words(a, b)])


def mul_high_unsigned(a: Val, b: Val) -> Val:
    """High halves of the unsigned products of words (PMULHUW)."""
    return join([(x.zext(32) * y.zext(32)).bits(16, 16) for x, y in _words(a, b)])


def multiply_add(a: Val, b: Val) -> Val:
    """Sums of neighbouring signed products of words, as doublewords (PMADDWD)."""
    p = [x.sext(32) * y.sext(32) for x, y in _words(a, b)]
    return join([p[0] + p[1], p[2] + p[3]])


def mul_even(a: Val, b: Val) -> Val:
    """The 64-bit product of the low doublewords (PMULUDQ)."""
    return a.low(32).zext(64) * b.low(32).zext(64)


def sum_of_differences(a: Val, b: Val) -> Val:
    """The sum of the absolute differences of bytes, as a 64-bit value (PSADBW)."""
    d = sub(max_unsigned(a, b, 8), min_unsigned(a, b, 8), 8)
    pairs = (d & splat(0xFF, 16)) + ((d >> 8) & splat(0xFF, 16))
    return (pairs * splat(1, 16)) >> 48


# --- packing, unpacking, order -------------------------------------------------------------------------------------


def _clamp(x: Val, width: int, low: int, high: int) -> Val:
    w = x.width
    below = select(x.slt(const(low, w)), const(low, w), x)
    return select(const(high, w).slt(below), const(high, w), below).low(width)


def pack_signed(a: Val, b: Val, width: int) -> Val:
    """Lanes of a, then of b, halved from `width` with signed saturation (PACKSSWB, PACKSSDW)."""
    half = width // 2
    limit = 1 << (half - 1)
    return join([_clamp(x, half, -limit, limit - 1) for x in lanes(a, width) + lanes(b, width)])


def pack_unsigned(a: Val, b: Val) -> Val:
    """Signed words of a, then of b, as bytes from 0 to 255 (PACKUSWB)."""
    return join([_clamp(x, 8, 0, 255) for x in lanes(a, 16) + lanes(b, 16)])


def _spread(x: Val, width: int) -> Val:
    """The lanes of a 32-bit value, each with a zero lane above."""
    v = x.zext(TOTAL)
    at = 16
    while at >= width:
        v = (v | (v << at)) & splat((1 << at) - 1, 2 * at)
        at //= 2
    return v


def interleave_low(a: Val, b: Val, width: int) -> Val:
    """Lanes of the low halves in turn, a first (PUNPCKL)."""
    return _spread(a.low(32), width) | (_spread(b.low(32), width) << width)


def interleave_high(a: Val, b: Val, width: int) -> Val:
    """Lanes of the high halves in turn, a first (PUNPCKH)."""
    return _spread(a.bits(32, 32), width) | (_spread(b.bits(32, 32), width) << width)


def shuffle_words(v: Val, order: Val) -> Val:
    """Four words chosen by the four bit pairs of the 8-bit `order`, lowest first (PSHUFW, PSHUFLW, PSHUFHW)."""
    return join([(v >> (order.bits(2 * k, 2).zext(TOTAL) << 4)).low(16) for k in range(4)])


def insert_word(v: Val, word: Val, at: Val) -> Val:
    """Replace the word number `at` (64 bits, 0 to 3) (PINSRW)."""
    shift = at << 4
    return (v & ~(const(0xFFFF, TOTAL) << shift)) | (word.zext(TOTAL) << shift)


def extract_word(v: Val, at: Val) -> Val:
    """The word number `at` (64 bits, 0 to 3), 16 bits wide (PEXTRW)."""
    return (v >> (at << 4)).low(16)


def sign_mask(v: Val) -> Val:
    """The top bits of the eight bytes, 8 bits wide (PMOVMSKB)."""
    return (((v >> 7) & splat(1, 8)) * 0x0102040810204080).bits(56, 8)
