"""Traces compute on the units of the host what the interpreter computes on integers: values and exceptions."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from cores.lang.strategies import Choices, one_in, pick
from cores.x86 import strategies
from cores.x86.forms import Form
from cores.x86.generate import CONTROL
from tests.cores.tier_machine import CODE, DATA, Pair, World, world
from tests.cores.tiers import comparing

pytest.importorskip("emu.engine._x86")

EXPONENTS = (0, 1, 2, 0x3FFE, 0x3FFF, 0x4000, 0x401E, 0x403E, 0x403F, 0x7FFD, 0x7FFE, 0x7FFF)
# Around the ends of binary32 and binary64, where conversions become denormal or overflow.
EDGES = tuple(
    bias + d
    for bias in (16383 - 126, 16383 - 149, 16383 + 127, 16383 - 1022, 16383 - 1074, 16383 + 1023)
    for d in (-1, 0, 1)
)
PATTERNS = (
    0,
    1,
    1 << 63,
    1 << 62,
    (1 << 64) - 1,
    0xC000000000000001,
    0x8000000000000001,
    0xFFFFFFFFFFFFF800,
    0xFFFFFF0000000000,
)


def bits(rng: Choices, width: int) -> int:
    """A fraction: few bits, runs of ones, or any."""
    kind = rng.randrange(5)
    if kind == 0:
        return 0
    if kind == 1:
        return 1 << rng.randrange(width)
    if kind == 2:
        return ((1 << rng.randrange(width)) - 1) << rng.randrange(width) & (1 << width) - 1
    return rng.randrange(1 << width)


def extended(rng: Choices) -> tuple[int, int]:
    """Significand, sign and exponent; now and then a pattern that is no number."""
    kind = rng.randrange(8)
    exponent = pick(rng, EXPONENTS) if kind == 0 else pick(rng, EDGES) if kind == 1 else 0x3FFF - 40 + rng.randrange(80)
    sig = pick(rng, PATTERNS) if one_in(rng, 6) else 1 << 63 | bits(rng, 63)
    if exponent == 0 and not one_in(rng, 4):
        sig &= ~(1 << 63)
    if one_in(rng, 10):
        sig, exponent = 0, 0
    return sig, exponent | rng.randrange(2) << 15


def packed(rng: Choices, fraction: int, exponent: int) -> int:
    """A binary32 or binary64: edges, or numbers of like size."""
    most, half = (1 << exponent) - 1, (1 << exponent - 1) - 1
    e = pick(rng, (0, 0, 1, 2, most - 1, most, half, half + 31)) if one_in(rng, 3) else half - 20 + rng.randrange(40)
    f = bits(rng, fraction)
    return (0 if one_in(rng, 12) else f | e << fraction) | rng.randrange(2) << fraction + exponent


def vector(rng: Choices) -> int:
    """Half an xmm register: a double, two singles, or two integers."""
    kind = rng.randrange(5)
    if kind < 2:
        return packed(rng, 52, 11)
    if kind < 4:
        return packed(rng, 23, 8) | packed(rng, 23, 8) << 32
    return bits(rng, 64)


def fill(rng: Choices, w: World) -> None:
    """Numbers wherever the program looks, all exceptions masked, the stack full or half full."""
    pairs = [extended(rng) for _ in range(8)]
    w.state["fpr_sig"], w.state["fpr_se"] = [p[0] for p in pairs], [p[1] for p in pairs]
    w.state["fctrl"] = (
        0x7F | pick(rng, (0x300, 0x300, 0x200, 0, 0x100)) | (0 if rng.randrange(2) else rng.randrange(4) << 10)
    )
    top = rng.randrange(8)
    full = (1 << 8 - rng.randrange(6)) - 1
    w.state["ftag"] = (full << top | full << top >> 8) & 0xFF
    w.state["fstat"] = top << 11 | (0 if rng.randrange(2) else rng.randrange(64))
    w.state["mxcsr"] = 0x1F80 | (0 if rng.randrange(2) else rng.randrange(64) | rng.randrange(4) << 13)
    if one_in(rng, 4):
        w.state["mxcsr"] |= rng.randrange(2) << 15 | rng.randrange(2) << 6
    for name in ("xmm_lo", "xmm_hi"):
        w.state[name] = [vector(rng) for _ in range(8)] + [0] * 8
    out = bytearray()
    while len(out) < 0x1000:
        kind = rng.randrange(4)
        if kind == 0:
            sig, se = extended(rng)
            out += sig.to_bytes(8, "little") + se.to_bytes(2, "little")
        else:
            out += vector(rng).to_bytes(8, "little")
    w.memory[DATA] = bytes(out)
    w.state["cr0"] = w.state["cr0"] & ~0xC | 0x20
    w.state["cr4"] |= 0x600


def wanted(form: Form) -> bool:
    """The forms with numbers, without those whose block ends or that change what is in force."""
    if form.mnemonic in CONTROL and form.mnemonic not in ("fldcw", "ldmxcsr", "stmxcsr"):
        return False
    return form.entry.chapter in ("x87", "sse", "sse2", "sse3") and not form.entry.ends


def draw(seed: int) -> tuple[World, Any]:
    """A world of numbers with a program that computes on them."""
    rng = Random(seed)
    chapters = {c: [f for f in fs if wanted(f)] for c, fs in strategies.forms(wanted).items()}
    if rng.randrange(2):
        chapters = {"x87": chapters["x87"]}
    w = world(rng, pick(rng, ("flat32", "ring3", "flat32", "segments")), chapters, 40, skips=True)
    fill(rng, w)
    # Short blocks: where the interpreter has taken over, the next block is a trace again.
    image = b""
    for insn in w.program:
        image += insn
        if rng.randrange(3):
            image += b"\xeb\x00"
        elif rng.randrange(2):
            image += b"\x90" * (-len(image) % 16)
    w.memory[CODE] = image + (b"\xf4" if w.mode != "ring3" else b"\xcc") * 16
    return w, rng


def compare(first: int, last: int) -> int:
    """Run drawn programs on the JIT and on the interpreter; the number of instructions."""
    with comparing(("jit", "interp")):
        both = Pair("qemu32")
        for seed in range(first, last):
            w, rng = draw(seed)
            assert both.run(w, rng, 300) == "", f"seed {seed}"
    return both.executed


def test_traces_and_the_interpreter_compute_alike() -> None:
    assert compare(0, 60) > 1000


@pytest.mark.slow
def test_traces_and_the_interpreter_compute_alike_in_a_hundred_thousand_instructions() -> None:
    assert compare(1000, 4000) > 100_000
