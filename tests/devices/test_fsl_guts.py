"""Global utilities: identity, reset request, storage."""

from __future__ import annotations

import pytest

from devices.fsl_guts import FslGuts


@pytest.fixture
def guts(line):
    return FslGuts(reset_line=line, pvr=0x8021_0030, svr=0x803C_0111)


def test_the_versions_are_those_of_the_board(guts):
    assert (guts.read(0xA0, 4), guts.read(0xA4, 4)) == (0x8021_0030, 0x803C_0111)
    guts.write(0xA0, 4, 0)
    assert guts.read(0xA0, 4) == 0x8021_0030


def test_a_hard_reset_request_pulses_the_reset_line(guts, line):
    guts.write(0xB0, 4, 1)
    assert line.changes == []
    guts.write(0xB0, 4, 2)
    assert line.changes == [True, False]
    assert guts.read(0xB0, 4) == 0


def test_the_power_on_registers_give_a_platform_of_six_times_the_input_clock(guts):
    guts.write(0x00, 4, 0)
    word = guts.read(0x00, 4)
    assert (word >> 1 & 0x1F, word >> 16 & 0x3F) == (6, 2)


def test_device_disables_and_pin_multiplexing_are_kept(guts):
    guts.write(0x70, 4, 0x1234_5678)
    guts.write(0x62, 2, 0xABCD)
    assert (guts.read(0x70, 4), guts.read(0x60, 4), guts.read(0x73, 1)) == (0x1234_5678, 0xABCD, 0x78)
