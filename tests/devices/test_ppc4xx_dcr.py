"""DCR access: direct registers, indirect ones, and what no manual has."""

from __future__ import annotations

import logging

import pytest

from devices.ppc4xx_cpr_sdr import Cpr440Ep
from devices.ppc4xx_dcr import words
from devices.ppc4xx_l2c import L2Cache460Ex
from devices.registers import Bank


def test_the_data_register_is_the_one_that_the_address_register_names():
    cpr = Cpr440Ep()
    cpr.write_dcr(0, 0x140)
    cpr.write_dcr(1, 0x1234_5678)
    assert cpr.read_dcr(0) == 0x140
    assert cpr.read_dcr(1) == 0x1234_5678
    cpr.write_dcr(0, 0xC0)
    assert cpr.read_dcr(1) == 0x0200_0000


@pytest.mark.parametrize("index", [0x41, 0x142, 0xFFFF_FFFF])
def test_an_index_without_a_register_reads_zero_and_is_named_once(index, caplog):
    caplog.set_level(logging.INFO, "emu.unimp")
    cpr = Cpr440Ep()
    cpr.write_dcr(0, index)
    cpr.write_dcr(1, 0xFFFF_FFFF)
    assert (cpr.read_dcr(1), cpr.read_dcr(1)) == (0, 0)
    assert [record.getMessage() for record in caplog.records] == [
        f"ppc440ep-cpr: write to register {index:#x} not modelled",
        f"ppc440ep-cpr: read of register {index:#x} not modelled",
    ]


def test_a_hole_between_direct_registers_reads_zero():
    assert L2Cache460Ex().read_dcr(0x0F) == 0


def test_words_declares_registers_four_bytes_apart():
    bank = Bank(0x20, width=4)
    words(bank, (1, "A"), (3, "B", 7))
    assert {at: (reg.name, reg.reset) for at, reg in bank.registers.items()} == {4: ("A", 0), 12: ("B", 7)}
