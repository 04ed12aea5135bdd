"""I/O APIC: redirection entries, edges, levels, remote IRR."""

from __future__ import annotations

import pytest

from devices.ioapic import IoApic

MASKED, LEVEL, REMOTE, LOGICAL = 0x10000, 0x8000, 0x4000, 0x800


class Bus:
    """Takes the messages, unless told not to."""

    def __init__(self):
        self.sent = []
        self.takes = True

    def __call__(self, *message):
        self.sent.append(message)
        return self.takes


@pytest.fixture
def bus():
    return Bus()


@pytest.fixture
def apic(bus):
    return IoApic(deliver=bus, identity=1)


def put(apic, index, value):
    apic.write(0x00, 4, index)
    apic.write(0x10, 4, value)


def get(apic, index):
    apic.write(0x00, 4, index)
    return apic.read(0x10, 4)


def entry(apic, pin, low, destination=0):
    put(apic, 0x11 + 2 * pin, destination << 24)
    put(apic, 0x10 + 2 * pin, low)


def test_identity_and_version(apic):
    assert get(apic, 0) == 1 << 24
    assert get(apic, 1) == 0x00170011
    put(apic, 0, 0xFF << 24)
    assert get(apic, 0) == 15 << 24
    assert apic.read(0, 4) == 0


def test_entries_start_masked_and_keep_their_writable_bits(apic):
    assert get(apic, 0x10) == MASKED
    entry(apic, 3, 0xFFFFFFFF, 0xAB)
    assert get(apic, 0x16) == 0x1AFFF
    assert get(apic, 0x17) == 0xAB << 24
    assert get(apic, 0x40) == 0xFFFFFFFF


def test_a_rising_edge_sends_one_message(apic, bus):
    entry(apic, 2, LOGICAL | 0x31, 1)
    apic.input(2).set(True)
    apic.input(2).set(True)
    assert bus.sent == [(1, True, 0, 0x31, False)]
    apic.input(2).set(False)
    apic.input(2).set(True)
    assert len(bus.sent) == 2


def test_an_edge_on_a_masked_pin_is_lost(apic, bus):
    apic.input(2).set(True)
    entry(apic, 2, 0x31)
    assert bus.sent == []


def test_a_level_is_sent_again_after_each_end_of_interrupt_while_it_lasts(apic, bus):
    entry(apic, 11, LEVEL | 0x51)
    line = apic.input(11)
    line.set(True)
    assert get(apic, 0x10 + 22) & REMOTE
    line.set(False)
    line.set(True)
    assert len(bus.sent) == 1
    apic.end_of_interrupt(0x51)
    assert len(bus.sent) == 2
    line.set(False)
    apic.end_of_interrupt(0x51)
    assert len(bus.sent) == 2
    assert not get(apic, 0x10 + 22) & REMOTE


def test_a_level_waits_for_the_mask_to_go(apic, bus):
    entry(apic, 11, MASKED | LEVEL | 0x51)
    apic.input(11).set(True)
    assert bus.sent == []
    entry(apic, 11, LEVEL | 0x51)
    assert bus.sent == [(0, False, 0, 0x51, True)]


def test_the_end_of_another_vector_changes_nothing(apic, bus):
    entry(apic, 11, LEVEL | 0x51)
    apic.input(11).set(True)
    apic.end_of_interrupt(0x52)
    assert len(bus.sent) == 1


def test_remote_irr_is_set_only_if_somebody_took_the_message(apic, bus):
    bus.takes = False
    entry(apic, 11, LEVEL | 0x51)
    apic.input(11).set(True)
    assert not get(apic, 0x10 + 22) & REMOTE


def test_switching_to_edge_clears_remote_irr(apic):
    entry(apic, 11, LEVEL | 0x51)
    apic.input(11).set(True)
    entry(apic, 11, MASKED | 0x51)
    assert not get(apic, 0x10 + 22) & REMOTE


def test_there_is_no_pin_24(apic):
    with pytest.raises(ValueError, match="ioapic: no pin 24"):
        apic.input(24)
