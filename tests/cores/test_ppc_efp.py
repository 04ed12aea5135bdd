"""Embedded floating-point of the e500 by numbers worked out by hand (SPE Programming Environments Manual, 4.2, 5.3)."""

from __future__ import annotations

import struct

import pytest

from cores.ppc import state as S
from tests.cores.ppc_machine import Interrupt, Machine

FG, FX, FINV, FDBZ, FUNF, FOVF = (1 << n for n in (13, 12, 11, 10, 9, 8))
FINXS, FINVS, FDBZS, FUNFS, FOVFS = (1 << n for n in (21, 20, 19, 18, 17))
FINXE, FINVE, FDBZE, FUNFE, FOVFE = (1 << n for n in (6, 5, 4, 3, 2))
MAX, MIN, INF, NAN, DENORMAL, MINUS = 0x7F7FFFFF, 0x00800000, 0x7F800000, 0x7FC00000, 1, 1 << 31


def f(v: float) -> int:
    return int.from_bytes(struct.pack(">f", v), "big")


def d(v: float) -> int:
    return int.from_bytes(struct.pack(">d", v), "big")


def machine(ra: int = 0, rb: int = 0, spefscr: int = 0) -> Machine:
    m = Machine("e500v2")
    m.s.msr = 1 << S.MSR_SPV
    m.s.gpr[3] = 0xAAAAAAAA_BBBBBBBB
    m.s.gpr[4], m.s.gpr[5], m.s.spefscr = ra, rb, spefscr
    return m


THIRD = 0x3EAAAAAA  # and two thirds of its last place


@pytest.mark.parametrize(("name", "ra", "rb", "mode", "result", "said"), [
    ("efsadd", f(1), f(2), 0, f(3), 0), ("efssub", f(1), f(2), 0, f(-1), 0), ("efsmul", f(1.5), f(-2), 0, f(-3), 0),
    ("efsdiv", f(1), f(3), 0, THIRD + 1, FG | FINXS), ("efsdiv", f(1), f(3), 1, THIRD, FX | FINXS),
    ("efsdiv", f(1), f(3), 2, THIRD + 1, FG | FINXS), ("efsdiv", f(1), f(3), 3, THIRD, FX | FINXS),
    ("efsdiv", f(-1), f(3), 3, MINUS | THIRD + 1, FG | FINXS),
    ("efsdiv", f(1), 0, 0, MAX, FDBZ | FDBZS), ("efsdiv", f(1), MINUS, 0, MINUS | MAX, FDBZ | FDBZS),
    ("efsmul", MAX, f(2), 0, MAX, FOVF | FOVFS | FINXS), ("efsmul", MAX, f(-2), 0, MINUS | MAX, FOVF | FOVFS | FINXS),
    ("efsmul", MIN, f(0.5), 0, 0, FUNF | FUNFS | FINXS), ("efsadd", DENORMAL, f(1), 0, f(1), FINV | FINVS),
    ("efsadd", INF, f(1), 0, MAX, FINV | FINVS), ("efsadd", NAN | MINUS, f(1), 0, MINUS | MAX, FINV | FINVS),
    ("efsmul", INF, 0, 0, 0, FINV | FINVS), ("efsdiv", f(1), INF, 0, 0, FINV | FINVS),
])  # fmt: skip
def test_single_arithmetic(name: str, ra: int, rb: int, mode: int, result: int, said: int) -> None:
    m = machine(ra, rb, FINVS | mode | FOVF | FX | FINV << 16)
    m.do(name, rt=3, ra=4, rb=5)
    assert hex(m.s.gpr[3]) == hex(0xAAAAAAAA << 32 | result)
    assert hex(m.s.spefscr) == hex(said | FINVS | mode)


@pytest.mark.parametrize(("name", "ra", "result"), [
    ("efsabs", f(-1.5), f(1.5)), ("efsnabs", f(1.5), f(-1.5)), ("efsneg", f(1.5), f(-1.5)),
    ("efsneg", NAN, NAN | MINUS),
])  # fmt: skip
def test_signs_change_nothing_else(name: str, ra: int, result: int) -> None:
    m = machine(ra)
    m.do(name, rt=3, ra=4)
    assert m.s.gpr[3] & 0xFFFFFFFF == result
    assert m.s.spefscr == (FINV | FINVS if ra == NAN else 0)


@pytest.mark.parametrize(("name", "rb", "result", "said"), [
    ("efscfsi", 0xFFFFFFFD, f(-3), 0), ("efscfui", 0x80000000, f(2.0**31), 0),
    ("efscfui", 0xFFFFFFFF, f(2.0**32), FG | FINXS), ("efscfsf", 0x40000000, f(0.5), 0),
    ("efscfsf", 0x80000000, f(-1), 0), ("efscfuf", 0x80000000, f(0.5), 0),
    ("efsctsi", f(-1.5), 0xFFFFFFFE, FG | FINXS), ("efsctsiz", f(-1.5), 0xFFFFFFFF, FX | FINXS),
    ("efsctui", f(2.5), 2, FX | FINXS), ("efsctuiz", f(2.75), 2, FX | FINXS), ("efsctui", f(-1), 0, FINV | FINVS),
    ("efsctui", f(2.0**32), 0xFFFFFFFF, FINV | FINVS), ("efsctsi", f(2.0**31), 0x7FFFFFFF, FINV | FINVS),
    ("efsctsi", f(-(2.0**31)), 0x80000000, 0), ("efsctsi", NAN, 0, FINV | FINVS),
    ("efsctsi", INF | MINUS, 0x80000000, FINV | FINVS), ("efsctsf", f(0.5), 0x40000000, 0),
    ("efsctsf", f(-1), 0x80000000, 0), ("efsctuf", f(0.5), 0x80000000, 0), ("efsctuf", f(1), 0xFFFFFFFF, FINV | FINVS),
    ("efsctsf", f(1), 0x7FFFFFFF, FINV | FINVS),
])  # fmt: skip
def test_single_conversions(name: str, rb: int, result: int, said: int) -> None:
    m = machine(0, rb)
    m.do(name, rt=3, rb=5)
    assert hex(m.s.gpr[3] & 0xFFFFFFFF) == hex(result)
    assert hex(m.s.spefscr) == hex(said)


@pytest.mark.parametrize(("name", "ra", "rb", "bit"), [
    ("cmpgt", f(2), f(1), 1), ("cmpgt", f(-2), f(1), 0), ("cmplt", f(-2), f(-1), 1), ("cmpeq", 0, MINUS, 1),
    ("tstgt", f(2), f(1), 1), ("tstlt", f(1), f(2), 1), ("tsteq", NAN, NAN, 1), ("tsteq", f(1), f(2), 0),
])  # fmt: skip
def test_a_comparison_sets_the_second_bit_of_its_field(name: str, ra: int, rb: int, bit: int) -> None:
    m = machine(ra, rb)
    m.s.cr = 0xFFFFFFFF
    m.do(f"efs{name}", bf=2, ra=4, rb=5)
    assert m.s.cr == 0xFF0FFFFF | bit << 22
    m.s.gpr[4] = m.s.gpr[4] | ra << 32
    m.s.gpr[5] = m.s.gpr[5] | (rb ^ MINUS if bit and "eq" not in name else rb) << 32
    m.do(f"evfs{name}", bf=1, ra=4, rb=5)
    high = {"gt": 1, "lt": 0, "eq": 1}[name[-2:]] & bit
    if name == "cmplt":
        high = 1
    assert m.s.cr >> 24 & 15 == high << 3 | bit << 2 | (high | bit) << 1 | high & bit
    assert m.s.spefscr == 0


@pytest.mark.parametrize(("enable", "ra", "rb", "name"), [
    (FINVE, NAN, f(1), "efsadd"), (FDBZE, f(1), 0, "efsdiv"), (FOVFE, MAX, MAX, "efsmul"), (FUNFE, MIN, MIN, "efsmul"),
])  # fmt: skip
def test_an_enabled_exception_leaves_the_result_alone(enable: int, ra: int, rb: int, name: str) -> None:
    m = machine(ra, rb, enable)
    with pytest.raises(Interrupt) as caught:
        m.do(name, rt=3, ra=4, rb=5)
    assert (caught.value.ivor, caught.value.esr) == (S.EFP_DATA, S.ESR_SPV)
    assert m.s.gpr[3] == 0xAAAAAAAA_BBBBBBBB
    assert m.s.spefscr & 0x1F00 & ~FX and not m.s.spefscr & FINXS


def test_a_rounded_result_is_written_before_its_interrupt() -> None:
    m = machine(f(1), f(3), FINXE)
    with pytest.raises(Interrupt) as caught:
        m.do("efsdiv", rt=3, ra=4, rb=5)
    assert caught.value.ivor == S.EFP_ROUND
    assert m.s.gpr[3] & 0xFFFFFFFF == THIRD + 1
    m.s.gpr[5] = f(2)
    m.do("efsdiv", rt=3, ra=4, rb=5)  # exact: no interrupt
    assert m.s.gpr[3] & 0xFFFFFFFF == f(0.5)


def test_each_word_of_a_vector_has_flags_of_its_own() -> None:
    m = machine(f(1) << 32 | MAX, f(3) << 32 | f(2))
    m.do("evfsmul", rt=3, ra=4, rb=5)
    assert (m.s.gpr[3], m.s.spefscr) == (f(3) << 32 | MAX, FOVF | FOVFS | FINXS)
    m.do("evfsdiv", rt=3, ra=4, rb=5)
    assert (m.s.gpr[3] >> 32, m.s.spefscr) == (THIRD + 1, FG << 16 | FOVFS | FINXS)
    m.do("evfsctsiz", rt=3, rb=4)
    assert (m.s.gpr[3], m.s.spefscr) == (1 << 32 | 0x7FFFFFFF, FINV | FINVS | FOVFS | FINXS)


@pytest.mark.parametrize(("name", "fields", "ra", "rb", "result", "said"), [
    ("efdadd", 2, d(1), d(2), d(3), 0), ("efdsub", 2, d(1), d(3), d(-2), 0), ("efdmul", 2, d(1.5), d(1.5), d(2.25), 0),
    ("efddiv", 2, d(1), d(0), 0x7FEFFFFFFFFFFFFF, FDBZ | FDBZS), ("efddiv", 2, d(1), d(3), d(1 / 3), FX | FINXS),
    ("efdcfs", 1, 0, f(1.5), d(1.5), 0), ("efdcfs", 1, 0, INF, 0x7FEFFFFFFFFFFFFF, FINV | FINVS),
    ("efdcfsi", 1, 0, 0xFFFFFFFD, d(-3), 0), ("efdcfuf", 1, 0, 0x80000000, d(0.5), 0),
    ("efdcfsf", 1, 0, 0x40000000, d(0.5), 0), ("efscfd", 1, 0, d(0.1), 0xAAAAAAAA << 32 | f(0.1), FG | FINXS),
    ("efscfd", 1, 0, d(1e300), 0xAAAAAAAA << 32 | MAX, FOVF | FOVFS | FINXS),
    ("efdctsi", 1, 0, d(-2.5), 0xAAAAAAAA_FFFFFFFE, FX | FINXS),
    ("efdctuiz", 1, 0, d(2.9), 0xAAAAAAAA_00000002, FX | FINXS),
    ("efdctsf", 1, 0, d(0.5), 0xAAAAAAAA_40000000, 0),
])  # fmt: skip
def test_doubles(name: str, fields: int, ra: int, rb: int, result: int, said: int) -> None:
    m = machine(ra, rb)
    m.do(name, rt=3, rb=5, **({"ra": 4} if fields == 2 else {}))
    assert hex(m.s.gpr[3]) == hex(result)
    assert hex(m.s.spefscr) == hex(said)


def test_only_single_scalars_work_without_msr_spv() -> None:
    m = machine(f(1), f(2))
    m.s.msr = 0
    m.do("efsadd", rt=3, ra=4, rb=5)
    assert m.s.gpr[3] & 0xFFFFFFFF == f(3)
    for name in ("evfsadd", "efdadd"):
        with pytest.raises(Interrupt) as caught:
            m.do(name, rt=3, ra=4, rb=5)
        assert caught.value.ivor == S.SPE_UNAVAILABLE
