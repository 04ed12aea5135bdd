"""The FPU against rows of dingusppc (GPL-3.0-or-later) and Valgrind (GPL-2.0-or-later), and its FPSCR rules."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from cores.ppc import float as F
from cores.ppc import state as S
from tests.cores.ppc_machine import SUITES, Interrupt, Machine

DINGUS = SUITES / "dingusppc" / "ppcfloattests.csv"
VALGRIND = SUITES / "valgrind-ppc32" / "jm-fp.stdout.exp-BE2"
ROUND = {"RTN": 0, "RTZ": 1, "RPI": 2, "RNI": 3, "VEN": 0x80}
NAMED = {
    "snan": 0x7FF4000000000000,
    "qnan": 0x7FF8000000000000,
    "DBL_MAX": 0x7FEFFFFFFFFFFFFF,
    "FLT_MAX": 0x47EFFFFFE0000000,
}
BASE = 0x4000
SNAN, QNAN, INF = 0x7FF0000000000001, 0x7FF8000000000123, 0x7FF0000000000000


def bits(x: float) -> int:
    return int(struct.unpack(">Q", struct.pack(">d", x))[0])


def operand(text: str) -> int:
    """The bits of a number as the rows of dingusppc have it."""
    name = text.lstrip("-")
    if name in NAMED:
        return NAMED[name] | (len(text) - len(name)) << 63
    return bits(float(text))


def value(v: int) -> float:
    return float(struct.unpack(">d", v.to_bytes(8, "big"))[0])


def lines(path: Path) -> list[str]:
    if not path.exists():
        pytest.skip(f"{path.name} is not there; set EMU_SHARED to the folder that holds suites/")
    return path.read_text().splitlines()


def test_every_float_row_of_dingusppc_holds() -> None:
    wrong = []
    rows = [line for line in lines(DINGUS) if line and line[0] != "#"]
    for line in rows:
        _, word, *rest = line.split(",")
        given = dict(item.split("=") for item in rest)
        m = Machine()
        m.s.fpscr = ROUND[given.get("round", "RTN")]
        for name, k in (("frA", 4), ("frB", 5), ("frC", 6)):
            if name in given:
                m.s.fpr[k] = operand(given[name])
        m.run(int(word, 16))
        got = {"frD": m.s.fpr[3], "FPSCR": m.s.fpscr, "CR": m.s.cr}
        if any(got[k] != int(given[k], 16) for k in got if k in given):
            wrong.append(f"{line}: { ({k: hex(v) for k, v in got.items()}) }")
    assert rows and not wrong, f"{len(wrong)} of {len(rows)}\n" + "\n".join(wrong[:30])


# What an estimate may be off by (Book I, 4.6.6), as a fraction of its value.
ESTIMATES = {"fres": 1 / 256, "frsqrte": 1 / 32}


def close(name: str, got: int, wanted: int) -> bool:
    """Whether an estimate is one that the manual allows, and the recorded one too: NaN for NaN, else near it."""
    a, b = value(got), value(wanted)
    if a != a or b != b:
        return (a != a) == (b != b) and got >> 63 == wanted >> 63
    return got == wanted or abs(a - b) <= 2 * ESTIMATES[name] * abs(a)


def same(name: str, got: int, wanted: int) -> bool:
    if name.rstrip(".") in ESTIMATES:
        return close(name.rstrip("."), got, wanted)
    return got == wanted or (wanted & 0xFF == 0 and got & ~0xFF == wanted)


def test_every_arithmetic_row_of_valgrind_holds() -> None:
    wrong, count = [], 0
    for line in lines(VALGRIND):
        found = re.match(r" +(f[a-z]+\.?) ([0-9a-f]{16}(?:, [0-9a-f]{16})*) => ([0-9a-f]{16})$", line)
        if not found:
            continue
        count += 1
        name, wanted = found[1], int(found[3], 16)
        operands = [int(v, 16) for v in found[2].split(", ")]
        m = Machine()
        if len(operands) == 1:
            m.s.fpr[5], fields = operands[0], {"frt": 3, "frb": 5}
        elif len(operands) == 3:
            m.s.fpr[4:7] = operands[0], operands[2], operands[1]
            fields = {"frt": 3, "fra": 4, "frb": 5, "frc": 6}
        else:
            m.s.fpr[4:7] = operands[0], operands[1], operands[1]
            fields = {"frt": 3, "fra": 4, "frc" if "mul" in name else "frb": 5 + ("mul" in name)}
        if name.startswith("fcmp"):
            del fields["frt"]
            m.s.fpr[3] = wanted  # nothing but CR and FPSCR, which the row does not show
            fields["bf"] = 2
        m.do(name, **fields)
        if not same(name, m.s.fpr[3], wanted):
            wrong.append(f"{line.strip()}: {m.s.fpr[3]:016x}")
    assert count > 700 and not wrong, f"{len(wrong)} of {count}\n" + "\n".join(wrong[:30])


def test_every_float_load_and_store_of_valgrind_holds() -> None:
    wrong, count = [], 0
    for line in lines(VALGRIND):
        found = re.match(r" +((?:lf|stf)[sd]u?x?) ([0-9a-f]{16}), +(-?\d+) => ([0-9a-f]{16}), +(-?\d+)$", line)
        if not found:
            continue
        count += 1
        name, datum, wanted = found[1], int(found[2], 16), int(found[4], 16)
        offset = int(found[3])
        offset -= 0x10000 if offset >= 0x8000 else 0
        m = Machine()
        m.s.gpr[14], m.s.gpr[15] = BASE, offset & 0xFFFFFFFF
        is_load = name.startswith("l")
        if is_load:
            m.put(BASE + offset, datum.to_bytes(8, "big"))
        m.s.fpr[3] = datum
        fields = {"frt" if is_load else "frs": 3, "ra": 14, **({"rb": 15} if name.endswith("x") else {"d": offset})}
        m.do(name, **fields)
        got = m.s.fpr[3] if is_load else int.from_bytes(m.get(BASE + offset, 8), "big")
        if (got, m.s.gpr[14] - BASE) != (wanted, int(found[5])):
            wrong.append(f"{line.strip()}: {got:016x}, {m.s.gpr[14] - BASE}")
    assert count > 200 and not wrong, f"{len(wrong)} of {count}\n" + "\n".join(wrong[:30])


def machine(fpscr: int = 0, msr: int = 0, **fpr: float | int) -> Machine:
    """Registers by name: an int is the bits, a float its value."""
    m = Machine()
    m.s.fpscr = fpscr
    m.s.msr |= msr
    for name, v in fpr.items():
        m.s.fpr[int(name[1:])] = v if isinstance(v, int) else bits(v)
    return m


def test_without_msr_fp_nothing_of_the_unit_is_available() -> None:
    m = machine()
    m.s.msr = 0
    for name in ("fadd", "lfd", "stfs", "mffs", "fmr", "fcmpu", "mtfsb0", "fsel"):
        with pytest.raises(Interrupt) as e:
            m.do(name)
        assert e.value.ivor == S.FP_UNAVAILABLE


def test_an_enabled_exception_interrupts_only_where_msr_says_so() -> None:
    m = machine(1 << F.ZE, f1=1.0, f2=0.0, f3=7.0)
    m.do("fdiv.", frt=3, fra=1, frb=2)
    assert (value(m.s.fpr[3]), m.s.cr) == (7.0, 0x0C000000)
    m = machine(1 << F.ZE, 1 << S.MSR_FE0, f1=1.0, f2=0.0, f3=7.0)
    with pytest.raises(Interrupt) as e:
        m.do("fdiv.", frt=3, fra=1, frb=2)
    assert (e.value.ivor, e.value.esr, value(m.s.fpr[3])) == (S.PROGRAM, S.ESR_FP, 7.0)
    assert m.s.fpscr >> F.ZX & 1 and m.s.fpscr >> F.FX & 1 and m.s.cr == 0x0C000000


def test_an_enabled_overflow_writes_the_wrapped_result_before_it_interrupts() -> None:
    m = machine(1 << F.OE, 1 << S.MSR_FE1, f1=2.0**1023, f2=4.0)
    with pytest.raises(Interrupt):
        m.do("fmul", frt=3, fra=1, frc=2)
    assert value(m.s.fpr[3]) == 2.0 ** (1025 - 1536)


def test_fx_is_set_only_by_a_change_of_an_exception_bit() -> None:
    m = machine(1 << F.ZX, f1=1.0, f2=0.0)
    m.do("fdiv", frt=3, fra=1, frb=2)
    assert not m.s.fpscr >> F.FX & 1
    m.do("fdiv", frt=3, fra=2, frb=2)
    assert m.s.fpscr >> F.FX & 1 and m.s.fpscr >> F.VXZDZ & 1 and m.s.fpscr >> F.VX & 1


@pytest.mark.parametrize(("rn", "up"), [(0, False), (1, False), (2, True), (3, False)])
def test_rounding_follows_rn_and_fr_tells_of_it(rn: int, up: bool) -> None:
    m = machine(rn, f1=1.0, f2=2.0**-60)
    m.do("fadd", frt=3, fra=1, frb=2)
    assert m.s.fpr[3] == bits(1.0) + up
    assert (m.s.fpscr >> F.FR & 1, m.s.fpscr >> F.FI & 1, m.s.fpscr >> F.XX & 1) == (up, 1, 1)


def test_the_first_nan_of_fra_frb_frc_is_the_result() -> None:
    m = machine(f1=1.0, f2=QNAN + 2, f3=QNAN + 3)
    m.do("fmadd", frt=4, fra=1, frc=3, frb=2)
    assert m.s.fpr[4] == QNAN + 2
    m.do("fnmsub", frt=4, fra=3, frc=1, frb=2)
    assert m.s.fpr[4] == QNAN + 3
    m = machine(f1=SNAN)
    m.do("fadd", frt=4, fra=1, frb=2)
    assert (m.s.fpr[4], m.s.fpscr >> F.VXSNAN & 1) == (SNAN | 1 << 51, 1)


def test_an_invalid_operation_makes_the_positive_nan_and_says_why() -> None:
    for name, fields, why in (
        ("fsub", {"fra": 1, "frb": 1}, F.VXISI),
        ("fdiv", {"fra": 1, "frb": 1}, F.VXIDI),
        ("fdiv", {"fra": 2, "frb": 2}, F.VXZDZ),
        ("fmul", {"fra": 1, "frc": 2}, F.VXIMZ),
        ("fsqrt", {"frb": 3}, F.VXSQRT),
        ("frsqrte", {"frb": 3}, F.VXSQRT),
    ):
        m = machine(f1=INF, f2=0.0, f3=-1.0)
        m.do(name, frt=4, **fields)
        assert m.s.fpr[4] == 0x7FF8000000000000, name
        assert m.s.fpscr == 1 << F.FX | 1 << F.VX | 1 << why | 0x11 << F.FPRF, name


def test_a_single_result_that_is_denormal_as_a_single_is_classed_so() -> None:
    m = machine(f1=2.0**-100, f2=-(2.0**-30))
    m.do("fmuls", frt=3, fra=1, frc=2)
    assert (value(m.s.fpr[3]), m.s.fpscr >> F.FPRF & 0x1F) == (-(2.0**-130), 0x18)


@pytest.mark.parametrize(("x", "nearest", "trunc"), [
    (2.5, 2, 2), (-1.5, 0xFFFFFFFE, 0xFFFFFFFF), (2.0**31, 0x7FFFFFFF, 0x7FFFFFFF),
    (-(2.0**31) - 1, 0x80000000, 0x80000000), (float("nan"), 0x80000000, 0x80000000),
])  # fmt: skip
def test_conversion_to_an_integer_rounds_and_saturates(x: float, nearest: int, trunc: int) -> None:
    m = machine(f1=x)
    m.do("fctiw", frt=2, frb=1)
    m.do("fctiwz", frt=3, frb=1)
    assert (m.s.fpr[2], m.s.fpr[3]) == (nearest, trunc)
    assert m.s.fpscr >> F.VXCVI & 1 == (nearest in (0x7FFFFFFF, 0x80000000))


def test_an_ordered_compare_of_a_signalling_nan_is_invalid_once_where_enabled() -> None:
    m = machine(f1=SNAN)
    m.do("fcmpo", bf=0, fra=1, frb=2)
    assert (m.s.cr, m.s.fpscr >> F.VXVC & 1, m.s.fpscr >> F.VXSNAN & 1) == (0x10000000, 1, 1)
    m = machine(1 << F.VE, f1=SNAN)
    m.do("fcmpo", bf=0, fra=1, frb=2)
    assert (m.s.fpscr >> F.VXVC & 1, m.s.fpscr >> F.VXSNAN & 1) == (0, 1)
    m = machine(f1=QNAN)
    m.do("fcmpu", bf=0, fra=1, frb=2)
    assert m.s.fpscr == 1 << F.FPRF


def test_fsel_takes_minus_zero_as_at_least_zero_and_a_nan_as_less() -> None:
    for a, chosen in ((-0.0, 1.0), (1.0, 1.0), (-1.0, 2.0), (float("nan"), 2.0)):
        m = machine(f1=a, f2=1.0, f3=2.0)
        m.do("fsel", frt=4, fra=1, frc=2, frb=3)
        assert value(m.s.fpr[4]) == chosen


def test_mtfsf_writes_chosen_fields_but_not_the_summary_bits() -> None:
    m = machine(0x3, f1=0x00000000_FFFFFFF8)
    m.do("mtfsf", flm=0x80, frb=1)
    assert m.s.fpscr == 0x9000_0003
    m.do("mtfsf", flm=0x40, frb=1)
    assert m.s.fpscr == 0x9F00_0003 | 1 << F.VX
    m.do("mtfsf", flm=0x02, frb=1)
    assert m.s.fpscr == 0x9F00_00F3 | 1 << F.VX | 1 << F.FEX


def test_mtfsb1_of_an_exception_bit_sets_fx_and_mtfsb0_clears_only_its_bit() -> None:
    m = machine()
    m.do("mtfsb1", fpbit=31 - F.XX)
    assert m.s.fpscr == 1 << F.XX | 1 << F.FX
    m.do("mtfsb0", fpbit=31 - F.XX)
    assert m.s.fpscr == 1 << F.FX
    m.do("mtfsb1", fpbit=31 - F.FEX)
    assert m.s.fpscr == 1 << F.FX
    m.do("mtfsfi.", fpf=7, u=2)
    assert (m.s.fpscr, m.s.cr) == (1 << F.FX | 2, 0x08000000)


def test_mcrfs_copies_a_field_and_clears_its_exceptions() -> None:
    m = machine(1 << F.FX | 1 << F.VX | 1 << F.VXCVI | 0x8000)
    m.do("mcrfs", bf=3, fpfa=5)
    assert (m.s.cr, m.s.fpscr) == (0x0001_0000, 1 << F.FX | 0x8000)
    m.do("mcrfs", bf=0, fpfa=4)
    assert (m.s.cr, m.s.fpscr) == (0x8001_0000, 1 << F.FX | 0x8000)


@pytest.mark.parametrize("single", [1, 0x80000001, 0x007FFFFF, 0x00400000, 0x00800000, 0x7F800001, 0xFF800000])
def test_a_single_loads_and_stores_without_change(single: int) -> None:
    m = machine()
    m.put(BASE, single.to_bytes(4, "big"))
    m.do("lfs", frt=1, ra=0, d=BASE)
    if single & 0x7F800000 != 0x7F800000:
        assert value(m.s.fpr[1]) == struct.unpack(">f", single.to_bytes(4, "big"))[0]
    m.do("stfs", frs=1, ra=0, d=BASE + 8)
    assert m.get(BASE + 8, 4) == single.to_bytes(4, "big")
    assert m.s.fpscr == 0


def test_stfiwx_stores_the_low_word() -> None:
    m = machine(f1=0x1122334455667788)
    m.s.gpr[4] = BASE
    m.do("stfiwx", frs=1, ra=0, rb=4)
    assert m.get(BASE, 8) == bytes.fromhex("5566778800000000")
