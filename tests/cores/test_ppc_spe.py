"""The SPE by numbers worked out from the formulas of the SPE Programming Environments Manual, chapter 5."""

from __future__ import annotations

import pytest

from cores.ppc import state as S
from tests.cores.ppc_machine import Interrupt, Machine

SOVH, OVH, SOV, OV = 1 << 31, 1 << 30, 1 << 15, 1 << 14
HIGH, LOW = SOVH | OVH, SOV | OV


def machine(ra: int = 0, rb: int = 0, acc: int = 0) -> Machine:
    m = Machine("e500v2")
    m.s.msr = 1 << S.MSR_SPV
    m.s.gpr[4], m.s.gpr[5], m.s.spe_acc = ra, rb, acc
    m.s.spefscr = OVH | OV
    return m


def twice(high: int, low: int) -> int:
    return (high & 0xFFFFFFFF) << 32 | low & 0xFFFFFFFF


@pytest.mark.parametrize(("name", "ra", "rb", "result"), [
    ("evaddw", twice(1, -1), twice(2, 1), twice(3, 0)),
    ("evsubfw", twice(1, 2), twice(5, 1), twice(4, -1)),
    ("evandc", twice(0xFF, 0xF0), twice(0x0F, 0xFF), twice(0xF0, 0)),
    ("evorc", twice(1, 2), twice(-1, -2), twice(1, 3)),
    ("evnand", twice(3, -1), twice(1, -1), twice(-2, 0)),
    ("evsrws", 0x8000000080000000, twice(31, 32), twice(-1, -1)),
    ("evsrwu", 0x8000000080000000, twice(31, 32), twice(1, 0)),
    ("evslw", twice(1, 1), twice(31, 32), twice(0x80000000, 0)),
    ("evslw", twice(1, 1), twice(64, 33), twice(1, 0)),
    ("evrlw", twice(0x80000001, 1), twice(4, 0x24), twice(0x18, 0x10)),
    ("evmergehi", twice(1, 2), twice(3, 4), twice(1, 3)), ("evmergelo", twice(1, 2), twice(3, 4), twice(2, 4)),
    ("evmergehilo", twice(1, 2), twice(3, 4), twice(1, 4)), ("evmergelohi", twice(1, 2), twice(3, 4), twice(2, 3)),
    ("brinc", 0, 7, 4), ("brinc", 4, 7, 2), ("brinc", 2, 7, 6), ("brinc", 6, 7, 1), ("brinc", 7, 7, 0),
    ("evmhesmi", 0x0002_FFFF_FFFD_FFFF, 0x0003_FFFF_0005_FFFF, twice(6, -15)),
    ("evmhoumi", 0x0000_0002_0000_FFFF, 0x0000_0003_0000_FFFF, twice(6, 0xFFFE0001)),
    ("evmhesmf", 0x4000_0000_C000_0000, 0x4000_0000_4000_0000, twice(0x20000000, 0xE0000000)),
    ("evmwlumi", twice(0x10001, -1), twice(0x10001, 2), twice(0x20001, -2)),
    ("evmwhumi", twice(0x80000000, -1), twice(4, 2), twice(2, 1)),
    ("evmwhsmi", twice(0x80000000, -1), twice(4, 2), twice(-2, -1)),
    ("evmwhsmf", twice(0x40000000, 0), twice(0x40000000, 0), twice(0x20000000, 0)),
    ("evmwumi", twice(9, 0xFFFFFFFF), twice(9, 0xFFFFFFFF), 0xFFFFFFFE00000001),
    ("evmwsmi", twice(9, -3), twice(9, 5), (1 << 64) - 15),
    ("evmwsmf", twice(9, 0x40000000), twice(9, 0x40000000), 1 << 61),
])  # fmt: skip
def test_two_operands_make_a_vector(name: str, ra: int, rb: int, result: int) -> None:
    m = machine(ra, rb, acc=77)
    m.do(name, rt=3, ra=4, rb=5)
    assert hex(m.s.gpr[3]) == hex(result)
    assert (m.s.spe_acc, m.s.spefscr) == (77, OVH | OV)


@pytest.mark.parametrize(("name", "ra", "result"), [
    ("evabs", twice(-5, 5), twice(5, 5)), ("evneg", twice(-5, 5), twice(5, -5)),
    ("evextsb", twice(0x80, 0x7F), twice(-128, 127)), ("evextsh", twice(0x8000, 0x17FFF), twice(-32768, 32767)),
    ("evrndw", twice(0x8000, 0xFFFF7FFF), twice(0x10000, 0xFFFF0000)),
    ("evcntlzw", twice(0, 0x10000), twice(32, 15)), ("evcntlsw", twice(0xFFFF0000, 1), twice(16, 31)),
])  # fmt: skip
def test_one_operand_makes_a_vector(name: str, ra: int, result: int) -> None:
    m = machine(ra)
    m.do(name, rt=3, ra=4)
    assert hex(m.s.gpr[3]) == hex(result)


@pytest.mark.parametrize(("name", "fields", "result"), [
    ("evaddiw", {"rb": 5, "ra5": 31}, twice(32, 30)), ("evsubifw", {"rb": 5, "ra5": 2}, twice(-1, -3)),
    ("evsrwis", {"ra": 4, "sh": 4}, twice(0xF8000000, 1)), ("evsrwiu", {"ra": 4, "sh": 4}, twice(0x08000000, 1)),
    ("evslwi", {"ra": 4, "sh": 1}, twice(0, 0x20)), ("evrlwi", {"ra": 4, "sh": 1}, twice(1, 0x20)),
    ("evsplati", {"simm": -16}, twice(-16, -16)), ("evsplatfi", {"simm": -1}, twice(0xF8000000, 0xF8000000)),
])  # fmt: skip
def test_immediates_count_for_both_words(name: str, fields: dict[str, int], result: int) -> None:
    m = machine(twice(0x80000000, 0x10), twice(1, -1))
    m.do(name, rt=3, **fields)
    assert hex(m.s.gpr[3]) == hex(result)


@pytest.mark.parametrize(("name", "field"), [
    ("evcmpgtu", 0b1010), ("evcmpgts", 0b0110), ("evcmpltu", 0b0110), ("evcmplts", 0b1010), ("evcmpeq", 0),
])  # fmt: skip
def test_a_comparison_tells_high_low_either_and_both(name: str, field: int) -> None:
    m = machine(twice(-1, 1), twice(1, -1))
    m.do(name, bf=2, ra=4, rb=5)
    assert m.s.cr >> 20 & 15 == field
    m.s.gpr[4] = m.s.gpr[5]
    m.do("evcmpeq", bf=1, ra=4, rb=5)
    assert m.s.cr >> 24 & 15 == 0b1111


def test_evsel_takes_each_word_by_its_bit() -> None:
    m = machine(twice(1, 2), twice(3, 4))
    for cr, result in ((8, twice(1, 4)), (4, twice(3, 2)), (12, twice(1, 2)), (3, twice(3, 4))):
        m.s.cr = cr << 8
        m.do("evsel", rt=3, ra=4, rb=5, crs=5)
        assert m.s.gpr[3] == result


@pytest.mark.parametrize(("name", "ra", "rb", "acc", "result", "said"), [
    ("evmhessfa", 0x4000_0000_8000_0000, 0x4000_0000_8000_0000, 1, twice(0x20000000, 0x7FFFFFFF), LOW),
    ("evmwhssfa", twice(0x80000000, 0x40000000), twice(0x80000000, 0x40000000), 1, twice(0x7FFFFFFF, 0x20000000), HIGH),
    ("evmwssfa", 0x80000000, 0x80000000, 1, (1 << 63) - 1, LOW),
    ("evaddssiaaw", twice(1, 1), 0, twice(0x7FFFFFFF, 1), twice(0x7FFFFFFF, 2), HIGH),
    ("evaddusiaaw", twice(1, 1), 0, twice(1, 0xFFFFFFFF), twice(2, 0xFFFFFFFF), LOW),
    ("evsubfusiaaw", twice(2, 3), 0, twice(1, 5), twice(0, 2), HIGH),
    ("evsubfssiaaw", twice(1, 1), 0, twice(5, 0x80000000), twice(4, 0x80000000), LOW),
    ("evdivws", twice(7, 0x80000000), twice(-2, 0), 1, twice(-3, 0x80000000), LOW),
    ("evdivws", twice(0x80000000, 5), twice(-1, 0), 1, twice(0x7FFFFFFF, 0x7FFFFFFF), HIGH | LOW),
    ("evdivwu", twice(7, 0xFFFFFFFF), twice(0, 2), 1, twice(0xFFFFFFFF, 0x7FFFFFFF), HIGH),
    ("evmhousiaaw", 0x0000_0001_0000_FFFF, 0x0000_0001_0000_FFFF, twice(1, 0xFFFFFFFF), twice(2, 0xFFFFFFFF), LOW),
    ("evmheusianw", 0x0001_0000_0002_0000, 0x0001_0000_0002_0000, twice(0, 9), twice(0, 5), HIGH),
    ("evmhossiaaw", 0x0000_7FFF_0000_FFFF, 0x0000_7FFF_0000_0001, twice(0x7FFFFFFF, 0), twice(0x7FFFFFFF, -1), HIGH),
    ("evmhessfanw", 0x8000_0000_4000_0000, 0x8000_0000_4000_0000, 0, twice(0x80000001, 0xE0000000), HIGH),
    ("evmwlssiaaw", twice(2, 2), twice(3, 3), twice(0x7FFFFFFE, 1), twice(0x7FFFFFFF, 7), HIGH),
    ("evmwlusianw", twice(2, 2), twice(3, 3), twice(5, 7), twice(0, 1), HIGH),
])  # fmt: skip
def test_what_saturates_says_so(name: str, ra: int, rb: int, acc: int, result: int, said: int) -> None:
    m = machine(ra, rb, acc)
    m.do(name, rt=3, ra=4, **({} if name.endswith("iaaw") and name[:5] in ("evadd", "evsub") else {"rb": 5}))
    assert hex(m.s.gpr[3]) == hex(result)
    assert m.s.spe_acc == (acc if name.startswith("evdiv") else result)
    # OVH and OV tell of this instruction only, SOVH and SOV stay.
    assert hex(m.s.spefscr) == hex(said)
    m.s.gpr[4] = m.s.gpr[5] = m.s.spe_acc = twice(1, 1)
    m.do("evdivwu", rt=3, ra=4, rb=5)
    assert m.s.spefscr == said & (SOVH | SOV)


@pytest.mark.parametrize(("name", "ra", "rb", "acc", "result"), [
    ("evmra", twice(1, 2), None, 5, twice(1, 2)),
    ("evaddsmiaaw", twice(1, 1), None, twice(0x7FFFFFFF, -1), twice(0x80000000, 0)),
    ("evsubfumiaaw", twice(2, 3), None, twice(1, 5), twice(-1, 2)),
    ("evmheumiaaw", 0x0002_0000_0003_0000, 0x0005_0000_0007_0000, twice(1, 1), twice(11, 22)),
    ("evmhosmianw", 0x0000_FFFF_0000_0003, 0x0000_0005_0000_0007, twice(1, 1), twice(6, -20)),
    ("evmhegumiaa", 0xFFFF_0000_0002_0000, 0xFFFF_0000_0003_0000, 1, 7),
    ("evmhogsmian", 3, 4, 10, (1 << 64) - 2),
    ("evmhegsmfaa", 0x4000_0000, 0x4000_0000, 1, 0x20000001),
    ("evmwlumiaaw", twice(2, 3), twice(5, 7), twice(1, 1), twice(11, 22)),
    ("evmwumiaa", 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF00000000),
    ("evmwsmian", twice(9, -3), 5, 1, 16), ("evmwsmfaa", 0x40000000, 0x40000000, 1, (1 << 61) + 1),
])  # fmt: skip
def test_modulo_sums_go_to_the_accumulator_too(name: str, ra: int, rb: int | None, acc: int, result: int) -> None:
    m = machine(ra, rb or 0, acc)
    m.do(name, rt=3, ra=4, **({} if rb is None else {"rb": 5}))
    assert (hex(m.s.gpr[3]), m.s.spe_acc, m.s.spefscr) == (hex(result), result, OVH | OV)


@pytest.mark.parametrize(("name", "scale", "result"), [
    ("evldd", 8, 0x1234867801020304), ("evldw", 8, 0x1234867801020304), ("evldh", 8, 0x1234867801020304),
    ("evlhhesplat", 2, twice(0x12340000, 0x12340000)), ("evlhhousplat", 2, twice(0x1234, 0x1234)),
    ("evlhhossplat", 2, twice(0x1234, 0x1234)), ("evlwhe", 4, twice(0x12340000, 0x86780000)),
    ("evlwhou", 4, twice(0x1234, 0x8678)), ("evlwhos", 4, twice(0x1234, 0xFFFF8678)),
    ("evlwwsplat", 4, twice(0x12348678, 0x12348678)), ("evlwhsplat", 4, twice(0x12341234, 0x86788678)),
])  # fmt: skip
def test_loads_place_what_they_read(name: str, scale: int, result: int) -> None:
    m = machine(0x1000, 3 * scale)
    m.put(0x1000 + 3 * scale, bytes.fromhex("1234867801020304"))
    m.do(f"{name}x", rt=3, ra=4, rb=5)
    assert hex(m.s.gpr[3]) == hex(result)
    m.s.gpr[3] = 0
    m.do(name, rt=3, ra=4, **{f"d{scale}": 3 * scale})
    assert hex(m.s.gpr[3]) == hex(result)
    m.s.gpr[4] += 1
    with pytest.raises(Interrupt) as caught:
        m.do(name, rt=3, ra=4, **{f"d{scale}": 3 * scale})
    assert (caught.value.ivor, caught.value.esr, caught.value.dear) == (S.ALIGNMENT, 0, 0x1001 + 3 * scale)


@pytest.mark.parametrize(("name", "scale", "stored"), [
    ("evstdd", 8, "0102030405060708"), ("evstdw", 8, "0102030405060708"), ("evstdh", 8, "0102030405060708"),
    ("evstwhe", 4, "0102050600000000"), ("evstwho", 4, "0304070800000000"), ("evstwwe", 4, "0102030400000000"),
    ("evstwwo", 4, "0506070800000000"),
])  # fmt: skip
def test_stores_take_their_pieces(name: str, scale: int, stored: str) -> None:
    m = machine(0x1000, 3 * scale)
    m.s.gpr[3] = 0x0102030405060708
    m.do(f"{name}x", rs=3, ra=4, rb=5)
    m.do(name, rs=3, ra=4, **{f"d{scale}": 5 * scale})
    assert m.get(0x1000 + 3 * scale, scale).hex() == stored[: 2 * scale]
    assert m.get(0x1000 + 5 * scale, scale).hex() == stored[: 2 * scale]
    m.s.gpr[4] += 1
    with pytest.raises(Interrupt) as caught:
        m.do(f"{name}x", rs=3, ra=4, rb=5)
    assert (caught.value.ivor, caught.value.esr) == (S.ALIGNMENT, S.ESR_ST)


def test_without_msr_spv_vectors_interrupt_and_brinc_does_not() -> None:
    m = machine(0, 7)
    m.s.msr = 0
    m.do("brinc", rt=3, ra=4, rb=5)
    assert m.s.gpr[3] == 4
    for name in ("evaddw", "evlddx", "evmhessf"):
        with pytest.raises(Interrupt) as caught:
            m.do(name, rt=3, ra=4, rb=5)
        assert (caught.value.ivor, caught.value.esr) == (S.SPE_UNAVAILABLE, S.ESR_SPV)
