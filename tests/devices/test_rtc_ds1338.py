"""DS1338: reading and setting the time, its RAM, and halting."""

from __future__ import annotations

import pytest

from devices.rtc_ds1338 import Ds1338

BASE = 1_709_251_199
"""2024-02-29 23:59:59, a Thursday."""
SECOND = 1_000_000_000


@pytest.fixture
def rtc(clock):
    return Ds1338(clock=clock, base=BASE)


def get(rtc, register, count):
    assert rtc.start(False)
    assert rtc.write(register)
    assert rtc.start(True)
    data = [rtc.read() for _ in range(count)]
    rtc.stop()
    return data


def put(rtc, register, *data):
    rtc.start(False)
    rtc.write(register)
    assert all(rtc.write(byte) for byte in data)
    rtc.stop()


def test_the_time_runs_through_a_leap_day(rtc, clock):
    assert get(rtc, 0, 7) == [0x59, 0x59, 0x23, 5, 0x29, 0x02, 0x24]
    clock.advance(SECOND)
    assert get(rtc, 0, 7) == [0x00, 0x00, 0x00, 6, 0x01, 0x03, 0x24]


def test_a_time_that_is_set_goes_on_from_there(rtc, clock):
    put(rtc, 0, 0x58, 0x59, 0x23, 3, 0x31, 0x12, 0x30)
    clock.advance(2 * SECOND)
    assert get(rtc, 0, 7) == [0x00, 0x00, 0x00, 4, 0x01, 0x01, 0x31]


def test_the_twelve_hour_mode_has_an_afternoon(rtc, clock):
    put(rtc, 2, 0x40 | 0x20 | 0x12)
    assert get(rtc, 2, 1) == [0x72]
    clock.advance(3600 * SECOND)
    assert get(rtc, 2, 1) == [0x61]
    put(rtc, 2, 0x40 | 0x12)
    assert get(rtc, 2, 1) == [0x52]
    put(rtc, 2, 0x00)
    assert get(rtc, 2, 1) == [0x00]


def test_one_transfer_sees_one_time(rtc, clock):
    rtc.start(False)
    rtc.write(0)
    rtc.start(True)
    first = rtc.read()
    clock.advance(SECOND)
    assert [first, rtc.read(), rtc.read()] == [0x59, 0x59, 0x23]


def test_a_halted_clock_stands_still_until_it_is_started(rtc, clock):
    put(rtc, 0, 0x80 | 0x30)
    clock.advance(1000 * SECOND)
    assert get(rtc, 0, 1) == [0xB0]
    put(rtc, 0, 0x30)
    clock.advance(SECOND)
    assert get(rtc, 0, 1) == [0x31]


def test_ram_is_kept_and_the_register_number_wraps(rtc):
    put(rtc, 0x3E, 1, 2)
    put(rtc, 0x08, 3)
    assert get(rtc, 0x3E, 3) == [1, 2, 0x59]
    assert get(rtc, 0x08, 1) == [3]


def test_the_oscillator_flag_can_only_be_cleared(rtc):
    put(rtc, 7, 0xFF)
    assert get(rtc, 7, 1) == [0x93]


def test_digits_that_are_none_give_some_time(rtc):
    put(rtc, 0, 0x7F, 0xFF, 0x3F, 0xFF, 0xFF, 0xFF, 0xFF)
    assert get(rtc, 0, 3) == [0x59, 0x59, 0x23]
