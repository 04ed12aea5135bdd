"""Clocks as a boot wrapper works them out, and the registers that PCI Express is set up with."""

from __future__ import annotations

import pytest

from devices.ppc4xx_cpr_sdr import Cpr440Ep, Sdr440Ep, Sdr460Ex


def get(dev, index):
    dev.write_dcr(0, index)
    return dev.read_dcr(1)


def put(dev, index, value):
    dev.write_dcr(0, index)
    dev.write_dcr(1, value)


def test_the_dividers_of_a_440ep_give_the_clocks_of_the_board():
    cpr = Cpr440Ep()
    pllc, plld = get(cpr, 0x40), get(cpr, 0x60)
    primary_a, primary_b, opb, per = (get(cpr, n) >> 24 & 7 for n in (0x80, 0xA0, 0xC0, 0xE0))
    assert pllc >> 30 & 1 == 1  # the PLL is engaged
    assert pllc >> 24 & 7 == 1  # feedback from the CPU clock
    forward_a, forward_b, feedback = plld >> 16 & 15, plld >> 8 & 7, plld >> 24 & 31
    vco = 100_000_000 / 3 * forward_a * primary_a * feedback
    assert 600e6 <= vco <= 1334e6
    plb = vco / forward_b / primary_b
    clocks = [vco / forward_a / primary_a, plb, plb / opb, plb / per]
    assert [round(clock / 1e6, 1) for clock in clocks] == [400.0, 133.3, 66.7, 66.7]


@pytest.mark.parametrize("make", [Sdr440Ep, Sdr460Ex])
def test_every_serial_clock_comes_from_outside(make):
    assert all(get(make(), 0x120 + n) & 0x0080_0000 for n in range(4))


def test_straps_cannot_be_written():
    sdr = Sdr460Ex()
    put(sdr, 0x20, 0)
    assert get(sdr, 0x20) == 0xB519


@pytest.mark.parametrize("base, ready", [(0x300, 0x310), (0x340, 0x365)])
def test_a_pci_express_port_leaves_reset_and_finds_nobody(base, ready):
    sdr = Sdr460Ex()
    put(sdr, base + 4, get(sdr, base + 4) | 0x0100_1000)
    assert get(sdr, ready) & 1
    put(sdr, base + 4, get(sdr, base + 4) & ~0x0101_0000)
    assert get(sdr, base + 5) & 1 << 20 == 0
    put(sdr, base + 3, 0xFFFF_FFFF)
    assert get(sdr, base + 3) & (1 << 28 | 1 << 12) == 0
