"""8254: modes, reading back, port 0x61, the interrupt of counter 0."""

from __future__ import annotations

import pytest

from devices.pit8254 import FREQUENCY, Pit8254, to_ns, to_ticks


@pytest.fixture
def pit(clock, line):
    return Pit8254(clock=clock, irq=line)


def program(pit, counter, mode, count, access=3):
    pit.write(3, 1, counter << 6 | access << 4 | mode << 1)
    if access != 2:
        pit.write(counter, 1, count & 0xFF)
    if access != 1:
        pit.write(counter, 1, count >> 8)


def ticks(clock, n):
    """Move to the moment `n` ticks after the current one."""
    clock.advance(to_ns(to_ticks(clock.time) + n) - clock.time)


def count(pit, counter=0):
    pit.write(3, 1, counter << 6)
    return pit.read(counter, 1) | pit.read(counter, 1) << 8


def out(pit, counter=0):
    pit.write(3, 1, 0xE0 | 2 << counter)
    return pit.read(counter, 1) >> 7


def test_ticks_and_time_agree():
    for tick in (0, 1, 2, 65536, FREQUENCY, 10**12):
        assert to_ticks(to_ns(tick)) == tick
        assert tick == 0 or to_ticks(to_ns(tick) - 1) == tick - 1


def test_nothing_happens_before_programming(pit, clock, line):
    clock.advance(1_000_000_000)
    assert line.changes == []


def test_mode_2_interrupts_once_a_period(pit, clock, line):
    program(pit, 0, 2, 1193)
    line.changes.clear()
    clock.advance(1_000_000_000)
    assert line.edges == 1000
    assert line.level


def test_mode_3_interrupts_once_a_period(pit, clock, line):
    program(pit, 0, 3, 11932)
    line.changes.clear()
    clock.advance(1_000_000_000)
    assert line.edges == 99


def test_a_count_of_0_is_65536(pit, clock, line):
    program(pit, 0, 2, 0)
    line.changes.clear()
    clock.advance(1_000_000_000)
    assert line.edges == 18


def test_mode_0_raises_out_once_after_n_plus_1_ticks(pit, clock, line):
    program(pit, 0, 0, 100)
    assert not line.level
    ticks(clock, 100)
    assert not line.level
    assert not out(pit)
    ticks(clock, 1)
    assert line.level
    assert out(pit)
    clock.advance(1_000_000_000)
    assert line.edges == 1


def test_mode_0_counts_on_through_zero(pit, clock):
    program(pit, 0, 0, 10)
    ticks(clock, 12)
    assert count(pit) == 0xFFFF


def test_the_first_byte_of_a_new_count_stops_mode_0(pit, clock, line):
    program(pit, 0, 0, 100)
    ticks(clock, 50)
    pit.write(0, 1, 20)
    ticks(clock, 500)
    assert not line.level
    pit.write(0, 1, 0)
    ticks(clock, 21)
    assert line.level


def test_mode_2_counts_down_from_n_to_1(pit, clock):
    program(pit, 0, 2, 5)
    ticks(clock, 1)
    seen = []
    for _ in range(7):
        seen.append((count(pit), out(pit)))
        ticks(clock, 1)
    assert seen == [(5, 1), (4, 1), (3, 1), (2, 1), (1, 0), (5, 1), (4, 1)]


def test_mode_3_counts_by_two_and_is_high_for_the_longer_half(pit, clock):
    program(pit, 0, 3, 5)
    ticks(clock, 1)
    seen = []
    for _ in range(6):
        seen.append((count(pit), out(pit)))
        ticks(clock, 1)
    assert seen == [(4, 1), (2, 1), (0, 1), (4, 0), (2, 0), (4, 1)]


def test_mode_4_strobes_once(pit, clock, line):
    program(pit, 0, 4, 3)
    seen = []
    for _ in range(6):
        ticks(clock, 1)
        seen.append(out(pit))
    assert seen == [1, 1, 1, 0, 1, 1]
    assert line.changes == [True, False, True]


def test_mode_1_starts_at_each_rising_gate(pit, clock):
    program(pit, 2, 1, 4)
    assert out(pit, 2) == 1
    for _ in range(2):
        pit.write_port61(0, 1, 0)
        pit.write_port61(0, 1, 1)
        seen = []
        for _ in range(6):
            ticks(clock, 1)
            seen.append(out(pit, 2))
        assert seen == [0, 0, 0, 0, 1, 1]


def test_mode_5_strobes_after_a_rising_gate(pit, clock):
    program(pit, 2, 5, 2)
    ticks(clock, 10)
    assert out(pit, 2) == 1
    pit.write_port61(0, 1, 1)
    seen = []
    for _ in range(4):
        ticks(clock, 1)
        seen.append(out(pit, 2))
    assert seen == [1, 1, 0, 1]


def test_a_new_count_in_mode_2_waits_for_the_end_of_the_period(pit, clock, line):
    program(pit, 0, 2, 100)
    ticks(clock, 51)
    pit.write(0, 1, 10)
    pit.write(0, 1, 0)
    assert count(pit) == 50
    line.changes.clear()
    ticks(clock, 49)
    assert line.edges == 0
    ticks(clock, 1)
    assert line.edges == 1
    assert count(pit) == 10
    ticks(clock, 20)
    assert line.edges == 3


def test_a_new_count_in_mode_3_waits_for_the_end_of_the_half(pit, clock, line):
    program(pit, 0, 3, 100)
    ticks(clock, 21)
    pit.write(0, 1, 10)
    pit.write(0, 1, 0)
    line.changes.clear()
    ticks(clock, 30)
    assert (out(pit), count(pit), line.edges) == (0, 10, 0)
    ticks(clock, 5)
    assert (out(pit), line.edges) == (1, 1)
    ticks(clock, 10)
    assert line.edges == 2


def test_a_low_gate_stops_mode_0_and_lets_it_go_on(pit, clock):
    pit.write_port61(0, 1, 1)
    program(pit, 2, 0, 100)
    ticks(clock, 31)
    pit.write_port61(0, 1, 0)
    ticks(clock, 1000)
    assert count(pit, 2) == 70
    pit.write_port61(0, 1, 1)
    ticks(clock, 69)
    assert not pit.read_port61(0, 1) & 0x20
    ticks(clock, 1)
    assert pit.read_port61(0, 1) & 0x20


def test_a_low_gate_takes_mode_3_high_and_a_rising_one_starts_anew(pit, clock):
    pit.write_port61(0, 1, 1)
    program(pit, 2, 3, 100)
    ticks(clock, 61)
    assert not pit.read_port61(0, 1) & 0x20
    pit.write_port61(0, 1, 0)
    assert pit.read_port61(0, 1) & 0x20
    pit.write_port61(0, 1, 1)
    ticks(clock, 1)
    assert count(pit, 2) == 100


def test_calibration_against_counter_2_takes_the_time_it_says(pit, clock):
    pit.write_port61(0, 1, (pit.read_port61(0, 1) & ~2) | 1)
    program(pit, 2, 0, FREQUENCY // 20)
    start = clock.time
    while not pit.read_port61(0, 1) & 0x20:
        clock.advance(1000)
    assert abs(clock.time - start - 50_000_000) < 3_000


def test_the_latch_holds_until_both_bytes_are_read(pit, clock):
    program(pit, 0, 2, 0x1234)
    ticks(clock, 1)
    pit.write(3, 1, 0x00)
    ticks(clock, 100)
    pit.write(3, 1, 0x00)
    assert pit.read(0, 1) == 0x34
    ticks(clock, 100)
    assert pit.read(0, 1) == 0x12
    assert pit.read(0, 1) | pit.read(0, 1) << 8 == 0x1234 - 200


def test_read_back_latches_status_then_count(pit, clock):
    program(pit, 0, 2, 0x1000)
    pit.write(3, 1, 0xC2)
    assert pit.read(0, 1) == 0x80 | 0x40 | 0x34
    assert pit.read(0, 1) | pit.read(0, 1) << 8 == 0x1000
    ticks(clock, 1)
    pit.write(3, 1, 0xE2)
    assert pit.read(0, 1) == 0xB4


def test_a_single_byte_counter_reads_one_byte(pit, clock):
    program(pit, 0, 2, 0x50, access=1)
    ticks(clock, 1)
    assert [pit.read(0, 1), pit.read(0, 1)] == [0x50, 0x50]
    program(pit, 0, 2, 0x5000, access=2)
    ticks(clock, 1)
    assert [pit.read(0, 1), pit.read(0, 1)] == [0x50, 0x50]


def test_a_bcd_counter_counts_in_decimal(pit, clock):
    pit.write(3, 1, 0x35)
    pit.write(0, 1, 0x00)
    pit.write(0, 1, 0x10)
    ticks(clock, 2)
    assert count(pit) == 0x0999


def test_mode_numbers_6_and_7_are_2_and_3(pit):
    for mode in (6, 7):
        pit.write(3, 1, 0x30 | mode << 1)
        pit.write(3, 1, 0xE2)
        assert pit.read(0, 1) >> 1 & 7 == mode - 4


def test_a_count_of_1_does_not_flood(pit, clock, line):
    program(pit, 0, 2, 1)
    clock.fired = 0
    clock.advance(1_000_000)
    assert 100 < clock.fired <= 1000


def test_the_control_port_reads_all_ones(pit):
    assert pit.read(3, 1) == 0xFF


def test_port_61_keeps_its_low_bits_and_toggles_refresh(pit, clock):
    pit.write_port61(0, 1, 0xFF)
    assert pit.read_port61(0, 1) & 0xCF == 0x0F
    seen = set()
    for _ in range(4):
        seen.add(pit.read_port61(0, 1) & 0x10)
        clock.advance(15_085)
    assert seen == {0, 0x10}


def test_reset_stops_the_interrupts(pit, clock, line):
    program(pit, 0, 2, 1000)
    pit.reset()
    line.changes.clear()
    clock.advance(1_000_000_000)
    assert line.changes == []


@pytest.mark.parametrize("mode", range(6))
@pytest.mark.parametrize("period", [1, 2, 3, 40, 1193])
def test_port_61_stays_as_long_as_it_says(pit, clock, mode, period):
    said = []
    pit.steady61 = lambda value, until: said.append((value, until))
    program(pit, 2, mode, period)
    pit.write_port61(0, 1, 1)
    for step in range(60):
        if step == 20:
            program(pit, 2, mode, period + 5)
        if step == 40:
            pit.write(2, 1, period + 9)
            pit.write(2, 1, 0)
        value = pit.read_port61(0, 1)
        steady, until = said[-1]
        assert steady == value
        assert until > clock.time
        clock.advance(until - 1 - clock.time)
        assert pit.read_port61(0, 1) == value
        clock.advance(until - clock.time)


def test_whatever_changes_port_61_takes_the_promise_back(pit):
    said = []
    pit.steady61 = lambda value, until: said.append(value)
    for change in (
        lambda: pit.write_port61(0, 1, 1), lambda: pit.write(3, 1, 0xB0), lambda: pit.write(2, 1, 1), pit.reset,
        lambda: pit.load(pit.save()),
    ):  # fmt: skip
        pit.read_port61(0, 1)
        assert said[-1] is not None
        change()
        assert said[-1] is None
