"""Packed integer helpers against one lane at a time in plain Python."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from cores.lang.ir import mask, signed
from cores.lang.to_python import body_text, compile_text
from cores.lang.trace import Proc, return_
from cores.x86 import lanes as L

Lanes = list[int]


def run(fn: Callable[..., Any], count: int, width: int = 64, params: int = 64) -> Callable[..., int]:
    """A helper as a Python function of 64-bit integers."""

    def body(*args: Any) -> None:
        return_(fn(*args))

    proc = Proc(body, [params] * count, [width])
    proc.trace()
    space: dict[str, Any] = {}
    compile_text(body_text("f", proc.body, proc.args, proc), f"<lanes {id(proc)}>", space)
    return lambda *args: int(space["f"](None, None, *args))


def split(v: int, w: int, *, sign: bool = False) -> Lanes:
    parts = [v >> at & mask(w) for at in range(0, 64, w)]
    return [signed(x, w) for x in parts] if sign else parts


def pairs(a: int, b: int, w: int, *, sign: bool = False) -> list[tuple[int, int]]:
    return list(zip(split(a, w, sign=sign), split(b, w, sign=sign), strict=True))


def join(parts: Lanes, w: int) -> int:
    return sum((x & mask(w)) << (k * w) for k, x in enumerate(parts))


def samples(count: int = 200) -> list[tuple[int, int]]:
    rng = random.Random(1)
    edges = [0, 1, 0x7F, 0x80, 0x81, 0xFF]

    def one() -> int:
        if rng.random() < 0.5:
            return rng.getrandbits(64)
        return sum(rng.choice(edges) << at for at in range(0, 64, 8))

    return [(one(), one()) for _ in range(count)]


def clamp(x: int, low: int, high: int) -> int:
    return max(low, min(high, x))


def signed_limits(w: int) -> tuple[int, int]:
    return -(1 << (w - 1)), (1 << (w - 1)) - 1


PAIRWISE: list[tuple[str, bool, Callable[[int, int, int], int]]] = [
    ("add", False, lambda a, b, w: a + b),
    ("sub", False, lambda a, b, w: a - b),
    ("add_unsigned", False, lambda a, b, w: min(a + b, mask(w))),
    ("sub_unsigned", False, lambda a, b, w: max(a - b, 0)),
    ("add_signed", True, lambda a, b, w: clamp(a + b, *signed_limits(w))),
    ("sub_signed", True, lambda a, b, w: clamp(a - b, *signed_limits(w))),
    ("equal", False, lambda a, b, w: -(a == b)),
    ("greater_signed", True, lambda a, b, w: -(a > b)),
    ("less_unsigned", False, lambda a, b, w: -(a < b)),
    ("min_unsigned", False, lambda a, b, w: min(a, b)),
    ("max_unsigned", False, lambda a, b, w: max(a, b)),
    ("min_signed", True, lambda a, b, w: min(a, b)),
    ("max_signed", True, lambda a, b, w: max(a, b)),
    ("average", False, lambda a, b, w: (a + b + 1) >> 1),
]


@pytest.mark.parametrize("width", [8, 16, 32])
@pytest.mark.parametrize(("name", "sign", "model"), PAIRWISE, ids=[p[0] for p in PAIRWISE])
def test_each_lane_is_computed_alone(name: str, sign: bool, model: Callable[[int, int, int], int], width: int) -> None:
    got = run(lambda a, b: getattr(L, name)(a, b, width), 2)
    for a, b in samples():
        expected = join([model(x, y, width) for x, y in pairs(a, b, width, sign=sign)], width)
        assert got(a, b) == expected, (hex(a), hex(b))


@pytest.mark.parametrize("width", [16, 32, 64])
def test_shifts_by_the_lane_width_or_more_leave_zeros_or_signs(width: int) -> None:
    left = run(lambda v, n: L.shift_left(v, n, width), 2)
    right = run(lambda v, n: L.shift_right(v, n, width), 2)
    arith = run(lambda v, n: L.shift_right_signed(v, n, width), 2) if width < 64 else None
    for v, _ in samples(30):
        for n in [*range(70), 0x10000, 1 << 32, (1 << 32) + 1, 1 << 63]:
            k = min(n, 64)
            assert left(v, n) == join([x << k for x in split(v, width)], width)
            assert right(v, n) == join([x >> k for x in split(v, width)], width)
            if arith is not None:
                assert arith(v, n) == join([x >> k for x in split(v, width, sign=True)], width)


def test_products_of_words() -> None:
    low, high = run(L.mul_low, 2), run(L.mul_high_signed, 2)
    unsigned, total, even = run(L.mul_high_unsigned, 2), run(L.multiply_add, 2), run(L.mul_even, 2)
    for a, b in samples():
        s = [x * y for x, y in pairs(a, b, 16, sign=True)]
        u = [x * y for x, y in pairs(a, b, 16)]
        assert low(a, b) == join(s, 16)
        assert high(a, b) == join([x >> 16 for x in s], 16)
        assert unsigned(a, b) == join([x >> 16 for x in u], 16)
        assert total(a, b) == join([s[0] + s[1], s[2] + s[3]], 32)
        assert even(a, b) == (a & mask(32)) * (b & mask(32))


def test_four_products_of_the_most_negative_word_wrap_in_multiply_add() -> None:
    assert run(L.multiply_add, 2)(0x8000800080008000, 0x8000800080008000) == 0x8000000080000000


def test_packs_saturate_and_put_the_first_operand_low() -> None:
    words, dwords = run(lambda a, b: L.pack_signed(a, b, 16), 2), run(lambda a, b: L.pack_signed(a, b, 32), 2)
    unsigned = run(L.pack_unsigned, 2)
    for a, b in samples():
        w = split(a, 16, sign=True) + split(b, 16, sign=True)
        d = split(a, 32, sign=True) + split(b, 32, sign=True)
        assert words(a, b) == join([clamp(x, -128, 127) for x in w], 8)
        assert dwords(a, b) == join([clamp(x, -32768, 32767) for x in d], 16)
        assert unsigned(a, b) == join([clamp(x, 0, 255) for x in w], 8)


@pytest.mark.parametrize("width", [8, 16, 32])
def test_interleaving_takes_lanes_in_turn(width: int) -> None:
    low, high = run(lambda a, b: L.interleave_low(a, b, width), 2), run(lambda a, b: L.interleave_high(a, b, width), 2)
    half = 32 // width
    for a, b in samples(20):
        both = pairs(a, b, width)
        assert low(a, b) == join([x for p in both[:half] for x in p], width)
        assert high(a, b) == join([x for p in both[half:] for x in p], width)


def test_sum_of_differences_reaches_its_largest_value() -> None:
    got = run(L.sum_of_differences, 2)
    assert got(mask(64), 0) == 2040
    for a, b in samples():
        assert got(a, b) == sum(abs(x - y) for x, y in pairs(a, b, 8))


def test_words_are_shuffled_inserted_and_extracted_by_number() -> None:
    shuffle = run(lambda v, n: L.shuffle_words(v, n.low(8)), 2)
    insert = run(lambda v, n: L.insert_word(v, n.low(16), n.bits(16, 2).zext(64)), 2)
    extract = run(L.extract_word, 2, 16)
    v = 0x4444333322221111
    assert shuffle(v, 0x1B) == 0x1111222233334444
    assert shuffle(v, 0xE4) == v
    assert [insert(v, k << 16 | 0xABCD) for k in range(4)] == [
        0x444433332222ABCD, 0x44443333ABCD1111, 0x4444ABCD22221111, 0xABCD333322221111,
    ]  # fmt: skip
    assert [extract(v, k) for k in range(4)] == [0x1111, 0x2222, 0x3333, 0x4444]


def test_the_sign_mask_has_one_bit_for_each_byte() -> None:
    got = run(L.sign_mask, 1, 8)
    for a, _ in samples():
        assert got(a) == sum((x >> 7) << k for k, x in enumerate(split(a, 8)))
