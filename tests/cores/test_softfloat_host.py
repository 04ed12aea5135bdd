"""The soft float against the floating-point units of the machine the tests run on.

Opt-in (EMU_HOST_FPU=1), for a real x86-64 processor: under an emulator the oracle would be that emulator. Everything
but the transcendentals has to give the same bits; those may be one unit in the last place away.
"""

from __future__ import annotations

import ctypes
import os
import platform
import random
from pathlib import Path

import pytest

from cores.lang.softfloat import INEXACT, NAN_X87, Control
from tests.cores import softfloat_build
from tests.cores.softfloat_build import Library, Row
from tests.cores.softfloat_cases import CORNERS, EXPONENTS_80, SIGNIFICANDS_80

pytestmark = pytest.mark.skipif(
    not os.environ.get("EMU_HOST_FPU") or platform.machine() != "x86_64",
    reason="compares with the host's floating-point units: set EMU_HOST_FPU=1 on a real x86-64 processor",
)

ROWS = 3000
X87 = ["add", "sub", "mul", "div", "sqrt", "round_int", "prem", "prem1", "scale", "compare", "compare_quiet"]
X87 += ["2xm1", "sin", "cos", "xtract", "ptan", "sincos", "yl2x", "yl2xp1", "patan"]
UNARY = {"sqrt", "round_int", "2xm1", "sin", "cos", "xtract", "ptan", "sincos"}
STORES = ["f32", "f64", "i16", "i32", "i64", "bcd", "i16_trunc", "i32_trunc", "i64_trunc"]
SSE = ["add", "sub", "mul", "div", "sqrt", "min", "max", "compare", "compare_quiet"]


class Host:
    """The functions of host_fpu.c, their results as tuples, status first."""

    def __init__(self, path: Path) -> None:
        self.library = ctypes.CDLL(str(path))

    def call(self, name: str, op: int, control: int, *operands: int) -> Row:
        out = (ctypes.c_uint64 * 4)()
        kinds = [ctypes.c_uint64 if name in ("load", "sse") or i % 2 == 0 else ctypes.c_uint32 for i in range(4)]
        values = [kind(v) for kind, v in zip(kinds, operands, strict=False)]
        status = getattr(self.library, "host_" + name)(op, ctypes.c_uint32(control), *values, out)
        return (status & 0xFFFFFFFF, *out)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    target = tmp_path_factory.mktemp("host") / "host_fpu.so"
    compiler = next(iter(softfloat_build.compilers()), None) or pytest.skip("no C compiler found (set CC)")
    source = Path(__file__).with_name("host_fpu.c")
    softfloat_build.run_compiler([compiler, "-O1", "-shared", "-fPIC", "-o", str(target), str(source)])
    return Host(target)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Library:
    options = ["-O2", "-shared", "-fPIC"]
    return Library(softfloat_build.build(tmp_path_factory.mktemp("softfloat"), "softfloat.so", options))


def f80(rng: random.Random) -> Row:
    sig = rng.choice([*SIGNIFICANDS_80, *(rng.getrandbits(64) for _ in range(4)), 1 << 63 | rng.getrandbits(63)])
    e = rng.choice([rng.choice(EXPONENTS_80), 0x3FFF + rng.randint(-70, 70), rng.getrandbits(15)])
    return sig, e | rng.getrandbits(1) << 15


def x87_control(rng: random.Random) -> tuple[int, int, int]:
    """(control word of the x87, ours, unmasked exceptions)."""
    rounding, precision, unmasked = rng.getrandbits(2), rng.choice([0, 2, 3, 3]), rng.choice([0, 0, rng.getrandbits(6)])
    ours = Control(rounding, {0: 24, 2: 53, 3: 64}[precision], nan_rule=NAN_X87, unmasked=unmasked)
    return 0x40 | 0x3F & ~unmasked | rounding << 10 | precision << 8, ours.pack(), unmasked


def beside(x: Row, y: Row) -> bool:
    """Equal, or neighbouring patterns."""
    return abs((x[1] << 63 | x[0] & (1 << 63) - 1) - (y[1] << 63 | y[0] & (1 << 63) - 1)) <= 1 or x == y


@pytest.mark.parametrize("name", X87)
def test_an_x87_instruction_gives_the_bits_of_the_silicon(name: str, host: Host, ours: Library) -> None:
    rng, op = random.Random(name), X87.index(name)
    for _ in range(ROWS):
        a, b = f80(rng), f80(rng)
        if rng.random() < 0.3:
            b = (b[0], max((a[1] & 0x7FFF) - rng.randint(-2, 140), 0))
        control, ctl, unmasked = x87_control(rng)
        if name == "yl2xp1" and 0x3FFD < a[1] & 0x7FFF < 0x7FFF:
            continue  # the manual leaves it open
        status, *values = host.call("x87", op, control, *a, *b)
        *got, flags = ours.run("fx_f80_" + name, [(*a, *(() if name in UNARY else b), ctl)])[0]
        stopped = status & unmasked & 7
        if name.startswith("compare"):
            expected = [status >> 8 & 0x45]
        elif name in ("xtract", "ptan", "sincos") and not stopped and not status & 0x400:
            expected = [*values[2:4], *values[:2]] if name != "xtract" else values
        else:
            expected, got = values[:2], got[:2]
        mask = 0x473F if "prem" in name else 0x23F if op < 11 or name == "xtract" else 0x43F
        assert flags & mask == status & mask, (a, b, hex(ctl))
        if name.startswith("compare"):
            assert stopped or got == expected, (a, b, hex(ctl))
        elif op < 11 or name == "xtract":
            assert stopped or got == expected, (a, b, hex(ctl))
            assert not stopped or got[:2] == list(a), (a, b, hex(ctl))
        else:
            halves = range(0, len(expected), 2)
            assert all(beside(tuple(got[i : i + 2]), tuple(expected[i : i + 2])) for i in halves), (a, b, hex(ctl))


@pytest.mark.parametrize("name", STORES)
def test_a_store_converts_as_the_silicon_does(name: str, host: Host, ours: Library) -> None:
    rng, op = random.Random(name), STORES.index(name)
    for _ in range(ROWS):
        a = f80(rng)
        control, ctl, unmasked = x87_control(rng)
        status, low, high, *_ = host.call("store", op, control, *a)
        *got, flags = ours.run("fx_f80_to_" + name, [(*a, ctl)])[0]
        if status & unmasked & ~INEXACT:
            assert flags & unmasked & 0x1F == status & unmasked & 0x1F, (a, hex(ctl))  # nothing is stored
            continue
        expected = [low, high & 0xFFFF] if name == "bcd" else [low]
        assert (got, flags & 0x23F) == (expected, status & 0x23F), (a, hex(ctl))


def test_packed_decimal_loads_as_the_silicon_does(host: Host, ours: Library) -> None:
    rng = random.Random(1)
    for _ in range(ROWS):
        digits = int(str(rng.randrange(10 ** rng.randint(1, 18))), 16) | rng.getrandbits(8) << 72
        low, high = digits & (1 << 64) - 1, digits >> 64
        _, sig, se, *_ = host.call("load", 2, 0x37F, low, high)
        assert ours.run("fx_bcd_to_f80", [(low, high, 0xC)]) == [(sig, se, 0)]


def ieee(name: str, rng: random.Random) -> int:
    bits, fraction, bias = (32, 23, 127) if name == "f32" else (64, 52, 1023)
    middle = bias + rng.randint(-fraction, fraction) << fraction | rng.getrandbits(fraction)
    value = rng.choice([rng.choice(CORNERS[name]), rng.getrandbits(bits), middle])
    return value ^ rng.getrandbits(1) << bits - 1


@pytest.mark.parametrize("form", ["f32", "f64"])
@pytest.mark.parametrize("name", SSE)
def test_an_sse_instruction_gives_the_bits_of_the_silicon(name: str, form: str, host: Host, ours: Library) -> None:
    rng, op = random.Random(name + form), 2 * SSE.index(name) + (form == "f64")
    for _ in range(ROWS):
        a, b = ieee(form, rng), ieee(form, rng)
        if name == "sqrt":
            b = a  # SQRTSS takes its operand from the source
        rounding, daz, ftz = rng.getrandbits(2), rng.getrandbits(1), rng.getrandbits(1)
        ctl = Control(rounding, daz=bool(daz), ftz=bool(ftz)).pack()
        flags, value, *_ = host.call("sse", op, 0x1F80 | rounding << 13 | daz << 6 | ftz << 15, a, b)
        value &= 0x45 if "compare" in name else 0xFFFFFFFF if form == "f32" else (1 << 64) - 1
        got, raised = ours.run(f"fx_{form}_{name}", [(a, ctl) if name == "sqrt" else (a, b, ctl)])[0]
        assert (got, raised & 0x3F) == (value, flags), (hex(a), hex(b), hex(ctl))


CONVERSIONS = ["f32_to_f64", "f64_to_f32", "f32_to_i32", "f64_to_i32", "f32_to_i32_trunc", "f64_to_i32_trunc"]
CONVERSIONS += ["f32_to_i64", "f64_to_i64"]


@pytest.mark.parametrize("name", CONVERSIONS)
def test_an_sse_conversion_gives_the_bits_of_the_silicon(name: str, host: Host, ours: Library) -> None:
    rng, op = random.Random(name), 18 + CONVERSIONS.index(name)
    for _ in range(ROWS):
        a = ieee(name[:3], rng)
        rounding, daz = rng.getrandbits(2), rng.getrandbits(1)
        ctl = Control(rounding, daz=bool(daz)).pack()
        flags, value, *_ = host.call("sse", op, 0x1F80 | rounding << 13 | daz << 6, a, 0)
        value &= (1 << 64) - 1 if name.endswith("64") else 0xFFFFFFFF
        got, raised = ours.run("fx_" + name, [(a, ctl)])[0]
        assert (got, raised & 0x3F) == (value, flags), (hex(a), hex(ctl))
