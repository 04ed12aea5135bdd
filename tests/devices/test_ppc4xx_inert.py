"""Units of 4xx chips that only have registers: MAL, DMA, arbiters, power management, AHB bridge."""

from __future__ import annotations

import logging

import pytest

from devices.ppc4xx_dma import Dma4xx
from devices.ppc4xx_mal import Mal
from devices.ppc4xx_plb import Ahb460Ex, Cpm4xx, Plb4xx

CFG, ESR, IER = 0, 1, 2


def test_a_reset_of_the_mal_is_over_at_once_and_clears_it():
    mal = Mal()
    mal.write_dcr(IER, 0x1F)
    mal.write_dcr(0x04, 0x8000_0000)
    mal.write_dcr(CFG, 0x8000_0000)
    assert [mal.read_dcr(n) for n in (CFG, IER, 0x04)] == [0, 0, 0]
    mal.write_dcr(CFG, 0x0000_8000)
    assert mal.read_dcr(CFG) == 0x8000


@pytest.mark.parametrize("activate", [0x04, 0x10])
def test_channels_are_activated_and_stopped_by_ones(activate):
    mal = Mal()
    mal.write_dcr(activate, 0xC000_0000)
    mal.write_dcr(activate, 0x1000_0000)
    mal.write_dcr(activate + 1, 0x4000_0000)
    assert mal.read_dcr(activate) == mal.read_dcr(activate + 1) == 0x9000_0000
    other = 0x14 - activate
    assert mal.read_dcr(other) == 0


@pytest.mark.parametrize("index", [ESR, 0x06, 0x07, 0x12, 0x13])
def test_ones_clear_status_of_the_mal(index):
    mal = Mal()
    name = Mal.regs.registers[4 * index].name
    mal.registers[name] = 0xF0
    mal.write_dcr(index, 0x90)
    assert mal.read_dcr(index) == 0x60


@pytest.mark.parametrize("index", [0x20, 0x3F, 0x40, 0x60, 0x61, 0x7F])
def test_table_pointers_and_buffer_sizes_are_kept(index):
    mal = Mal()
    mal.write_dcr(index, 0x0012_3400)
    assert mal.read_dcr(index) == 0x0012_3400


def test_enabling_a_dma_channel_is_named_and_status_stays_clear(caplog):
    caplog.set_level(logging.INFO, "emu.unimp")
    dma = Dma4xx()
    dma.write_dcr(0x09, 0x1000)
    dma.write_dcr(0x08, 0x8000_0000)
    dma.write_dcr(0x20, 0xFFFF_FFFF)
    assert [record.getMessage() for record in caplog.records] == ["ppc4xx-dma: CR1: CE1 not modelled"]
    assert [dma.read_dcr(n) for n in (0x08, 0x09, 0x20)] == [0x8000_0000, 0x1000, 0]


@pytest.mark.parametrize("make, index", [(Plb4xx, 0x07), (Plb4xx, 0x11), (Plb4xx, 0x19), (Cpm4xx, 0), (Cpm4xx, 1)])
def test_arbiters_and_power_management_keep_what_firmware_sets(make, index):
    dev = make()
    dev.write_dcr(index, 0xDF00_0000)
    assert dev.read_dcr(index) == 0xDF00_0000


def test_nothing_ever_sleeps():
    cpm = Cpm4xx()
    cpm.write_dcr(1, 0xFFFF_FFFF)
    cpm.write_dcr(2, 0xFFFF_FFFF)
    assert cpm.read_dcr(2) == 0


def test_the_ahb_range_is_kept():
    ahb = Ahb460Ex()
    ahb.write_dcr(0, 0x8000_004B)
    ahb.write_dcr(1, 0x8000_004B)
    assert (ahb.read_dcr(0), ahb.read_dcr(1)) == (0x8000_004B, 0x8000_004B)
