"""MMX: what the rows of the suites do not show (SDM vol. 3, chapter 12; vol. 2 under each mnemonic)."""

from __future__ import annotations

import pytest

from cores.x86 import state as S
from tests.cores.fpu_machine import AT, Fpu
from tests.cores.sse_machine import Fault


def mmx(mm0: int = 0, mm1: int = 0) -> Fpu:
    m = Fpu()
    m.load(1.0, 2.0, 3.0)
    m.state.fpr_sig[0], m.state.fpr_sig[1] = mm0, mm1
    return m


def test_a_write_turns_the_unit_to_mmx_and_fills_the_exponent() -> None:
    m = mmx(1, 2)
    m.run("0FFEC1")  # paddd mm0, mm1
    s = m.state
    assert (s.fpr_sig[0], s.fpr_se[0], s.fpr_se[1]) == (3, 0xFFFF, 0)
    assert (m.top, s.ftag) == (0, 0xFF)


@pytest.mark.parametrize("code", ["0F7E05mem", "0F7F05mem", "0FE705mem", "0FD7C1", "0FC5C101", "0FF7C1"])
def test_an_instruction_that_only_reads_turns_the_unit_too(code: str) -> None:
    m = mmx()
    m.run(code)
    assert (m.top, m.state.ftag) == (0, 0xFF)
    assert m.state.fpr_se[0] == 0


def test_emms_empties_all_registers() -> None:
    m = mmx()
    m.run("0F77")
    assert (m.top, m.state.ftag) == (0, 0)


def test_mmx_0_is_the_significand_of_physical_register_0() -> None:
    m = mmx(0xC90FDAA22168C235)
    m.run("0F6FD0")  # movq mm2, mm0
    assert m.state.fpr_sig[2] == 0xC90FDAA22168C235


def test_a_store_that_faults_leaves_the_stack_alone() -> None:
    m = mmx()
    before = m.state.as_dict()
    with pytest.raises(Fault):
        m.run("0F7F0500200000")
    assert m.state.as_dict() == before


def test_maskmovq_stores_only_the_marked_bytes() -> None:
    m = mmx(0x8877665544332211, 0x80000000_FF007F80)
    m.state.gpr[S.EDI] = AT
    m.poke(bytes([0xEE] * 8))
    m.run("0FF7C1")
    assert m.peek(8).hex() == "11eeee44eeeeee88"


def test_punpckl_reads_only_four_bytes() -> None:
    m = mmx(0x44332211)
    m.state.seg_limit[S.DS] = AT + 3
    m.poke(bytes.fromhex("AABBCCDD"))
    m.run("0F6005mem")
    assert m.state.fpr_sig[0] == 0xDD44CC33BB22AA11


@pytest.mark.parametrize(
    ("code", "result"),
    [("0F71D010", 0), ("0F71E0FF", 0x0000FFFF00000000), ("0F72F020", 0), ("0F73F03F", 1 << 63), ("0F73D040", 0)],
)
def test_shifts_by_the_lane_width_or_more_leave_zeros_or_signs(code: str, result: int) -> None:
    m = mmx(0x0123_8567_0000_0001 if code != "0F71E0FF" else 0x0123_8567_0123_4567)
    m.run(code)
    assert m.state.fpr_sig[0] == result


def test_the_upper_half_of_a_doubleword_move_is_cleared() -> None:
    m = mmx((1 << 64) - 1)
    m.state.gpr[0] = 0x12345678
    m.run("0F6EC0")
    assert m.state.fpr_sig[0] == 0x12345678
    m.run("0F7EC1")
    assert m.state.gpr[1] == 0x12345678
