"""EBC: chip selects."""

from __future__ import annotations

import pytest

from devices.ppc4xx_ebc import USABLE, Ebc

FLASH = 0xFC0D_A000


def get(dev, index):
    dev.write_dcr(0, index)
    return dev.read_dcr(1)


def test_every_bank_without_something_behind_it_is_off():
    ebc = Ebc(banks=[FLASH])
    assert [get(ebc, n) & USABLE != 0 for n in range(8)] == [True] + 7 * [False]
    assert get(ebc, 0) == FLASH


def test_a_reset_restores_what_firmware_programmed():
    ebc = Ebc(banks=[FLASH])
    ebc.write_dcr(0, 0)
    ebc.write_dcr(1, 0)
    ebc.reset()
    assert get(ebc, 0) == FLASH


def test_timings_are_kept_and_errors_clear_by_ones():
    ebc = Ebc()
    ebc.write_dcr(0, 0x12)
    ebc.write_dcr(1, 0x9201_3E00)
    assert get(ebc, 0x12) == 0x9201_3E00
    ebc.besr0 = 0xF0
    ebc.write_dcr(0, 0x21)
    ebc.write_dcr(1, 0x30)
    assert get(ebc, 0x21) == 0xC0


def test_there_are_at_most_eight_banks():
    with pytest.raises(ValueError, match="EBC with 9 banks"):
        Ebc(banks=[0] * 9)
