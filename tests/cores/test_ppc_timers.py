"""Time base, decrementer, fixed-interval timer and watchdog against ticks of virtual time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cores.ppc_machine import Machine

NEVER = (1 << 64) - 1
WIE, DIE, FIE, ARE = 1 << 27, 1 << 26, 1 << 23, 1 << 22
ENW, WIS, DIS, FIS = 1 << 31, 1 << 30, 1 << 27, 1 << 26


def machine(name: str = "440EP") -> Machine:
    return Machine(name)


def base(m: Machine) -> int:
    m.do("mftbu", rt=3)
    m.do("mftb", rt=4)
    return int(m.s.gpr[3] << 32 | m.s.gpr[4])


def test_the_time_base_counts_from_what_was_written() -> None:
    m = machine()
    m.ticks = 0x123456789
    assert base(m) == 0x123456789
    m.mtspr("tbl", 0)
    m.mtspr("tbu", 7)
    m.mtspr("tbl", 0xFFFFFFFF)
    m.ticks += 1
    assert base(m) == 0x8_00000000


def test_the_decrementer_stops_at_0_with_an_event() -> None:
    m = machine()
    m.mtspr("tcr", DIE)
    m.mtspr("dec", 100)
    assert m.call("timers_next") == 100
    m.ticks = 99
    assert m.mfspr("dec") == 1 and m.mfspr("tsr") == 0
    m.ticks = 100
    assert m.mfspr("dec") == 0 and m.mfspr("tsr") == DIS
    m.ticks = 1000
    assert m.mfspr("dec") == 0
    assert m.call("timers_next") == NEVER


def test_writing_0_stops_the_decrementer_without_an_event() -> None:
    m = machine()
    m.mtspr("dec", 5)
    m.mtspr("dec", 0)
    m.ticks = 50
    assert (m.mfspr("dec"), m.mfspr("tsr")) == (0, 0)


def test_the_decrementer_reloads_itself() -> None:
    m = machine()
    m.mtspr("decar", 10)
    m.mtspr("tcr", DIE | ARE)
    m.mtspr("dec", 3)
    m.ticks = 3
    assert (m.mfspr("dec"), m.mfspr("tsr")) == (10, DIS)
    m.mtspr("tsr", DIS)
    assert m.call("timers_next") == 10
    m.ticks = 3 + 10 * 1000 + 4
    assert (m.mfspr("dec"), m.mfspr("tsr") & DIS) == (6, DIS)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(0, 9), st.integers(0, 30))
def test_asking_often_or_once_makes_no_difference(steps: list[int], reload: int, first: int) -> None:
    def run(often: bool) -> tuple[int, int]:
        m = machine()
        m.mtspr("decar", reload)
        m.mtspr("tcr", ARE)
        m.mtspr("dec", first)
        for step in steps:
            m.ticks += step
            if often:
                m.call("timers_tick")
        return m.mfspr("dec"), m.mfspr("tsr")

    assert run(True) == run(False)


@given(st.integers(0, 1 << 40), st.integers(0, 3), st.integers(0, 3))
def test_timers_next_is_the_first_tick_that_changes_tsr(start: int, wp: int, fp: int) -> None:
    m = machine()
    m.ticks = start
    m.mtspr("tcr", WIE | FIE | wp << 30 | fp << 24)
    m.mtspr("tsr", 0xFFFFFFFF)
    left = m.call("timers_next")
    # Of the watchdog the first time-out sets ENW, which TSR shows too.
    m.ticks = start + left - 1
    assert m.mfspr("tsr") == 0
    m.ticks += 1
    assert m.mfspr("tsr") & (ENW | FIS)


@pytest.mark.parametrize(("fp", "period"), [(0, 1 << 13), (1, 1 << 17), (2, 1 << 21), (3, 1 << 25)])
def test_the_fixed_interval_of_the_440(fp: int, period: int) -> None:
    m = machine()
    m.mtspr("tcr", FIE | fp << 24)
    assert m.call("timers_next") == period // 2
    m.ticks = period // 2
    assert m.mfspr("tsr") & FIS
    m.mtspr("tsr", FIS)
    assert m.call("timers_next") == period


@pytest.mark.parametrize(("wp", "period"), [(0, 1 << 21), (1, 1 << 25), (2, 1 << 29), (3, 1 << 33)])
def test_the_watchdog_warns_interrupts_and_resets(wp: int, period: int) -> None:
    m = machine()
    m.mtspr("tcr", WIE | 2 << 28 | wp << 30)
    m.ticks = period // 2
    assert m.mfspr("tsr") & (ENW | WIS) == ENW
    m.ticks += period
    assert m.mfspr("tsr") & (ENW | WIS) == ENW | WIS
    assert m.resets == []
    assert m.call("timers_next") == period
    m.ticks += period
    m.call("timers_tick")
    assert m.resets == [2]
    assert m.s.tsr >> 28 & 3 == 2


def test_a_watchdog_that_is_fed_does_not_bite() -> None:
    m = machine()
    m.mtspr("tcr", 3 << 28)
    for _ in range(10):
        m.ticks += 1 << 20
        m.mtspr("tsr", ENW | WIS)
    assert m.resets == []


def test_the_watchdogs_reset_cannot_be_called_off() -> None:
    m = machine()
    m.mtspr("tcr", 1 << 28)
    m.mtspr("tcr", 0)
    assert m.mfspr("tcr") == 1 << 28


def test_an_e500_chooses_any_bit_of_the_time_base() -> None:
    m = machine("e500mc")
    # Bit 63 - 10 from the left: WPEXT and WP together say 53.
    m.mtspr("tcr", WIE | (53 >> 2) << 17 | (53 & 3) << 30)
    assert m.call("timers_next") == 1 << 10
    m.mtspr("tcr", FIE | (60 >> 2) << 13 | (60 & 3) << 24)
    m.mtspr("tsr", 0xFFFFFFFF)
    assert m.call("timers_next") == 1 << 3


def test_a_440_has_no_extended_periods() -> None:
    m = machine()
    m.mtspr("tcr", 0x003FFFFF)
    assert m.mfspr("tcr") == 0


def test_the_time_base_of_an_e500_stands_until_hid0_lets_it_run() -> None:
    m = machine("e500v2")
    m.mtspr("dec", 100)
    m.ticks = 1000
    assert base(m) == 0 and m.mfspr("dec") == 100
    assert m.call("timers_next") == NEVER
    m.mtspr("hid0", 1 << 14)
    m.ticks = 1030
    assert base(m) == 30 and m.mfspr("dec") == 70
    m.mtspr("hid0", 0)
    m.ticks = 5000
    assert base(m) == 30
    m.mtspr("hid0", 1 << 14)
    m.ticks = 5001
    assert base(m) == 31 and m.mfspr("dec") == 69


def test_setting_the_time_base_moves_no_decrementer_but_may_ring_the_interval() -> None:
    m = machine()
    m.mtspr("tcr", FIE)
    m.mtspr("dec", 100)
    m.ticks = 10
    m.mtspr("tbl", 0xFFF)
    assert m.mfspr("dec") == 90 and m.mfspr("tsr") & FIS == 0
    m.mtspr("tbl", 0x1000)
    assert m.mfspr("tsr") & FIS


def test_ones_clear_tsr_and_the_outside_is_told_of_every_write() -> None:
    m = machine()
    m.s.tsr = DIS | FIS | WIS
    m.mtspr("tsr", DIS)
    assert m.mfspr("tsr") == FIS | WIS
    for name in ("dec", "decar", "tcr", "tsr", "tbl", "tbu"):
        m.calls.clear()
        m.mtspr(name, 0)
        assert "timers_changed" in m.calls, name
