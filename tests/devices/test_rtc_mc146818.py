"""MC146818: the running time, setting it, interrupts, CMOS."""

from __future__ import annotations

import calendar

import pytest

from devices.rtc_mc146818 import RtcMc146818, civil_from_days, days_from_civil

SECOND = 1_000_000_000
BASE = calendar.timegm((2023, 12, 31, 23, 59, 58))


@pytest.fixture
def rtc(clock, line):
    return RtcMc146818(clock=clock, irq=line, base=BASE)


def get(rtc, index):
    rtc.write(0, 1, index)
    return rtc.read(1, 1)


def put(rtc, index, value):
    rtc.write(0, 1, index)
    rtc.write(1, 1, value)


def shown(rtc):
    return [f"{get(rtc, index):02x}" for index in (0x32, 9, 8, 7, 4, 2, 0)]


def test_the_calendar_agrees_with_the_standard_library():
    for days in range(-200_000, 200_000, 97):
        year, month, day = civil_from_days(days)
        assert days_from_civil(year, month, day) == days
        if 1 <= year <= 9999:
            assert calendar.timegm((year, month, day, 0, 0, 0)) == days * 86_400


def test_the_clock_shows_base_and_rolls_over_into_the_new_year(rtc, clock):
    assert shown(rtc) == ["20", "23", "12", "31", "23", "59", "58"]
    assert get(rtc, 6) == 1
    clock.advance(2 * SECOND)
    assert shown(rtc) == ["20", "24", "01", "01", "00", "00", "00"]
    assert get(rtc, 6) == 2


def test_binary_and_twelve_hour_modes(rtc):
    put(rtc, 11, 0x06)
    assert (get(rtc, 4), get(rtc, 2), get(rtc, 9)) == (23, 59, 23)
    put(rtc, 11, 0x00)
    assert get(rtc, 4) == 0x91


@pytest.mark.parametrize(("twelve", "hour"), [(0x12, 0x00), (0x01, 0x01), (0x92, 0x12), (0x91, 0x23)])
def test_twelve_hour_times_can_be_set(rtc, twelve, hour):
    put(rtc, 11, 0x80)
    put(rtc, 4, twelve)
    put(rtc, 11, 0x00)
    assert get(rtc, 4) == twelve
    put(rtc, 11, 0x02)
    assert get(rtc, 4) == hour


def test_a_time_set_under_set_stands_still_until_set_is_cleared(rtc, clock):
    put(rtc, 11, 0x82)
    for index, value in ((0x32, 0x19), (9, 0x99), (8, 0x02), (7, 0x28), (4, 0x12), (2, 0x34), (0, 0x56), (6, 4)):
        put(rtc, index, value)
    clock.advance(5 * SECOND)
    assert shown(rtc) == ["19", "99", "02", "28", "12", "34", "56"]
    put(rtc, 11, 0x02)
    clock.advance(SECOND)
    assert shown(rtc) == ["19", "99", "02", "28", "12", "34", "57"]
    assert get(rtc, 6) == 4


def test_after_the_divider_is_let_go_the_first_update_comes_half_a_second_later(rtc, clock):
    clock.advance(123_456_789)
    put(rtc, 10, 0x76)
    clock.advance(3 * SECOND)
    assert get(rtc, 0) == 0x58
    put(rtc, 10, 0x26)
    clock.advance(SECOND // 2 - 10)
    assert get(rtc, 0) == 0x58
    clock.advance(20)
    assert get(rtc, 0) == 0x59


def test_linux_sets_the_time_and_reads_it_back(rtc, clock):
    control = get(rtc, 11)
    put(rtc, 11, control | 0x80)
    rate = get(rtc, 10)
    put(rtc, 10, rate | 0x70)
    for index, value in ((9, 0x24), (8, 0x02), (7, 0x29), (4, 0x01), (2, 0x02), (0, 0x03), (0x32, 0x20)):
        put(rtc, index, value)
    put(rtc, 11, control)
    put(rtc, 10, rate)
    assert shown(rtc) == ["20", "24", "02", "29", "01", "02", "03"]


def test_update_in_progress_rises_before_each_second_and_falls_with_it(rtc, clock):
    clock.advance(SECOND - 3_000_000)
    assert not get(rtc, 10) & 0x80
    clock.advance(1_000_000)
    assert get(rtc, 10) & 0x80
    assert get(rtc, 0) == 0x58
    clock.advance(2_000_000)
    assert not get(rtc, 10) & 0x80
    assert get(rtc, 0) == 0x59


def test_the_update_interrupt_comes_with_each_second_and_is_cleared_by_register_c(rtc, clock, line):
    put(rtc, 11, 0x12)
    clock.advance(SECOND - 10)
    assert not line.level
    clock.advance(10)
    assert line.level
    assert get(rtc, 12) == 0xD0
    assert not line.level
    assert get(rtc, 12) == 0
    clock.advance(SECOND)
    assert line.level


def test_the_alarm_interrupts_at_its_time(rtc, clock, line):
    put(rtc, 1, 0x05)
    put(rtc, 3, 0x01)
    put(rtc, 5, 0x00)
    put(rtc, 11, 0x22)
    clock.advance(66 * SECOND)
    assert not line.level
    clock.advance(SECOND)
    assert line.level
    assert get(rtc, 12) & 0xA0 == 0xA0


def test_alarm_bytes_from_c0_match_everything(rtc, clock, line):
    put(rtc, 1, 0x00)
    put(rtc, 3, 0xC0)
    put(rtc, 5, 0xFF)
    put(rtc, 11, 0x22)
    clock.advance(2 * SECOND)
    assert get(rtc, 12) & 0x20
    clock.advance(59 * SECOND)
    assert not line.level
    clock.advance(SECOND)
    assert line.level


def test_an_impossible_alarm_never_comes(rtc, clock, line):
    put(rtc, 1, 0x75)
    put(rtc, 11, 0x22)
    clock.advance(200_000 * SECOND)
    assert line.changes == []


@pytest.mark.parametrize(("rate", "hertz"), [(6, 1024), (3, 8192), (1, 256), (15, 2)])
def test_the_periodic_interrupt_has_the_chosen_rate(rtc, clock, line, rate, hertz):
    put(rtc, 10, 0x20 | rate)
    put(rtc, 11, 0x42)
    served = 0
    for _ in range(hertz):
        clock.advance(SECOND // hertz + 1)
        if line.level:
            assert get(rtc, 12) & 0xC0 == 0xC0
            served += 1
    assert served == hertz


def test_unserved_periodic_interrupts_cost_nothing(rtc, clock):
    put(rtc, 10, 0x23)
    put(rtc, 11, 0x42)
    clock.fired = 0
    clock.advance(3600 * SECOND)
    assert clock.fired == 1


def test_flags_can_be_polled_without_interrupts(rtc, clock, line):
    assert get(rtc, 12) == 0
    clock.advance(SECOND)
    assert get(rtc, 12) == 0x50
    assert line.changes == []


def test_enabling_an_interrupt_whose_flag_is_up_raises_the_line(rtc, clock, line):
    clock.advance(SECOND)
    put(rtc, 11, 0x12)
    assert line.level


def test_at_the_end_of_time_the_clock_stops_and_so_do_its_interrupts(rtc, clock, line):
    put(rtc, 11, 0x86)
    for index in (0x32, 9, 8):
        put(rtc, index, 0xFF)
    put(rtc, 11, 0x16)
    clock.advance(10 * SECOND)
    get(rtc, 12)
    clock.fired = 0
    clock.advance(10 * SECOND)
    assert clock.fired == 0
    assert not line.level


def test_set_clears_the_update_interrupt_enable(rtc):
    put(rtc, 11, 0x12)
    put(rtc, 11, 0x92)
    assert get(rtc, 11) == 0x82


def test_register_d_says_the_battery_is_good_and_port_70_cannot_be_read(rtc):
    put(rtc, 13, 0)
    assert get(rtc, 13) == 0x80
    assert rtc.read(0, 1) == 0xFF


def test_bit_7_of_the_index_masks_nmi(rtc):
    rtc.write(0, 1, 0x8F)
    assert rtc.nmi_masked
    rtc.write(1, 1, 0x5A)
    rtc.write(0, 1, 0x0F)
    assert not rtc.nmi_masked
    assert rtc.read(1, 1) == 0x5A


def test_memory_sizes_are_stored_as_firmware_expects(rtc):
    rtc.set_memory(256 << 20)
    low = get(rtc, 0x15) | get(rtc, 0x16) << 8
    extended = get(rtc, 0x30) | get(rtc, 0x31) << 8
    high = get(rtc, 0x34) | get(rtc, 0x35) << 8
    assert (low, extended, high) == (640, 0xFFFF, 240 * 16)
    rtc.set_memory(4 << 20)
    assert get(rtc, 0x17) | get(rtc, 0x18) << 8 == 3072
    rtc.set_memory(5 << 30)
    assert get(rtc, 0x5B) | get(rtc, 0x5C) << 8 | get(rtc, 0x5D) << 16 == 1 << 14


def test_the_checksum_follows_the_configuration_bytes(rtc):
    for index in range(0x10, 0x2E):
        rtc.set_cmos(index, 0xFF)
    assert get(rtc, 0x2E) << 8 | get(rtc, 0x2F) == 30 * 0xFF


def test_only_ram_bytes_can_be_set_from_outside(rtc):
    with pytest.raises(ValueError, match="no CMOS byte 0xb"):
        rtc.set_cmos(11, 0)


def test_reset_disables_interrupts_and_keeps_time_and_ram(rtc, clock, line):
    put(rtc, 0x40, 0x77)
    put(rtc, 11, 0x72)
    clock.advance(2 * SECOND)
    rtc.reset()
    assert not line.level
    assert get(rtc, 11) == 0x02
    assert get(rtc, 0x40) == 0x77
    assert shown(rtc)[1] == "24"
