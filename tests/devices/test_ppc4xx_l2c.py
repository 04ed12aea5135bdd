"""The registers of the level 2 cache, in the order in which a kernel enables it."""

from __future__ import annotations

import pytest

from devices.ppc4xx_l2c import L2Cache460Ex

CFG, CMD, ADDR, DATA, SR, SNP0 = 0x10, 0x11, 0x12, 0x13, 0x14, 0x16


@pytest.mark.parametrize("command", [0x0080_0000, 0x4000_0000, 0x1800_0000])
def test_every_command_is_complete_and_finds_no_error(command):
    l2c = L2Cache460Ex()
    l2c.write_dcr(DATA, 0x1234)
    l2c.write_dcr(ADDR, 0x4200_0000)
    l2c.write_dcr(CMD, command)
    assert l2c.read_dcr(SR) == 0x8000_0000
    assert l2c.read_dcr(DATA) == 0


def test_configuration_and_snoop_regions_are_kept_and_the_memory_can_be_taken_from_the_sram():
    l2c = L2Cache460Ex()
    for index, value in ((CFG, 0xE1A6_0088), (SNP0, 0x0000_F800), (0, l2c.read_dcr(0) & ~0x180)):
        l2c.write_dcr(index, value)
        assert l2c.read_dcr(index) == value
    l2c.write_dcr(SR, 0)
    assert l2c.read_dcr(SR) == 0x8000_0000
