"""EMAC and ZMII without a PHY, as drivers and boot wrappers meet them."""

from __future__ import annotations

import logging

from devices.ppc4xx_emac import Emac, Zmii

MR0, MR1, TMR0, ISR, STACR = 0x00, 0x04, 0x08, 0x14, 0x5C
RXI, TXI, SRST, TXE, RXE = 0x8000_0000, 0x4000_0000, 0x2000_0000, 0x1000_0000, 0x0800_0000


def test_a_soft_reset_is_over_at_once():
    emac = Emac()
    emac.write(MR1, 4, 0x1234)
    emac.write(MR0, 4, SRST | TXE)
    assert emac.read(MR0, 4) == RXI | TXI
    assert emac.read(MR1, 4) == 0


def test_a_side_is_idle_as_soon_as_it_is_disabled():
    emac = Emac()
    emac.write(MR0, 4, TXE | RXE)
    assert emac.read(MR0, 4) == TXE | RXE
    emac.write(MR0, 4, RXE)
    assert emac.read(MR0, 4) == TXI | RXE


def test_no_phy_answers_at_any_address():
    emac = Emac()
    assert emac.read(STACR, 4) & 0x8000
    for phy in range(32):
        emac.write(STACR, 4, 0x1000 | phy << 5 | 2)
        assert emac.read(STACR, 4) == 0xFFFF_D002 | phy << 5
    emac.write(STACR, 4, 0x0400)
    assert emac.read(STACR, 4) == 0x8400


def test_asking_for_a_transmission_is_named(caplog):
    caplog.set_level(logging.INFO, "emu.unimp")
    emac = Emac()
    emac.write(TMR0, 4, 0x8000_0000)
    assert [record.getMessage() for record in caplog.records] == ["ppc440ep-emac: TMR0: GNP0 not modelled"]
    assert emac.read(TMR0, 4) == 0


def test_ones_clear_interrupt_status():
    emac = Emac()
    emac.isr = 0xF0
    emac.write(ISR, 4, 0x30)
    assert emac.read(ISR, 4) == 0xC0


def test_the_bridge_keeps_modes_and_speeds():
    zmii = Zmii()
    for offset in (0, 4, 8):
        zmii.write(offset, 4, 0x9900_0000)
    assert [zmii.read(offset, 4) for offset in (0, 4, 8)] == [0x9900_0000, 0x9900_0000, 0]
