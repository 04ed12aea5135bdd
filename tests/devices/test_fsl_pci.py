"""MPC85xx PCI host: configuration cycles and their byte order, windows, messages."""

from __future__ import annotations

import pytest

from devices.fsl_pci import FslPci, fsl_pin
from devices.pci import Bar, PciFunction


class Sample(PciFunction):
    vendor = 0x1234
    product = 0x5678
    pin = 1


@pytest.fixture
def messages():
    return []


@pytest.fixture
def host(memory, messages):
    return FslPci(memory=memory, message=messages.append)


def config(host, slot, register):
    host.write(0, 4, 0x8000_0000 | slot << 11 | register & 0xFC)
    return 4 + (register & 3)


def test_configuration_data_is_little_endian_behind_a_big_endian_address(host):
    at = config(host, 0, 0)
    assert host.read(0, 4) == 0x8000_0000
    assert host.read(at, 4) == 0x5719_3000
    assert [host.read(at + lane, 2) for lane in (0, 2)] == [0x5719, 0x3000]
    assert [host.read(at + lane, 1) for lane in range(4)] == [0x57, 0x19, 0x30, 0x00]


def test_writes_reach_the_addressed_bytes(host):
    at = config(host, 0, 4)
    host.write(at, 2, 0x0600)
    host.write(config(host, 0, 0x0D), 1, 0x80)
    assert host.bridge.get(4, 2) == 0x0006
    assert host.bridge.get(0x0C, 2) == 0x8000


def test_the_bridge_is_a_host_without_capabilities(host):
    assert host.read(config(host, 0, 0x0E), 1) == 0
    assert host.read(config(host, 0, 0x09), 1) & 1 == 0
    assert host.read(config(host, 0, 0x06), 1) & 0x10 == 0
    assert host.read(0xBF8, 4) == 0


def test_nobody_answers_at_empty_slots_other_buses_or_without_the_enable_bit(host):
    host.add(3, 0, Sample())
    assert host.read(config(host, 3, 0), 4) == 0x3412_7856
    assert host.read(config(host, 4, 0), 4) == 0xFFFF_FFFF
    for address in (0x8001_1800, 0x0000_1800):
        host.write(0, 4, address)
        assert host.read(4, 4) == 0xFFFF_FFFF
        host.write(4, 4, 0)


def test_a_slot_can_be_taken_once(host):
    host.add(3, 0, Sample())
    with pytest.raises(ValueError, match="slot 3 function 0: taken"):
        host.add(3, 0, Sample())


def test_an_outbound_window_shows_a_function_to_the_processor(host):
    moves = []
    made = Sample((Bar(0, 0x1000, host.outbound.range(0x1000, moves.append)),))
    host.add(1, 0, made)
    for offset, value in ((0xC20, 0xE_0000), (0xC24, 0), (0xC28, 0xC0_0000), (0xC30, 0x8004_401C)):
        host.write(offset, 4, value)
    made.config_write(0x10, 4, 0xE012_3000)
    made.config_write(4, 2, 2)
    assert moves == [0xC_0012_3000]
    host.write(0xC30, 4, 0)
    assert moves == [0xC_0012_3000, None]
    host.load(host.save())
    host.open_window(2, 0xC000_0000, 0xE000_0000, 0x2000_0000)
    assert moves[-1] == 0xC012_3000
    host.reset()
    assert moves[-1] is None


def test_an_io_window_shows_ports(host):
    moves = []
    made = Sample((Bar(4, 16, host.outbound.range(16, moves.append, io=True), io=True),))
    host.open_window(2, 0xF_E100_0000, 0, 0x1_0000, io=True)
    assert host.read(0xC50, 4) == 0x8008_800F
    made.config_write(0x20, 4, 0xC000)
    made.config_write(4, 2, 1)
    assert moves == [0xF_E100_C000]


def test_a_window_that_is_no_power_of_two_is_refused(host):
    with pytest.raises(ValueError, match="outbound window 1"):
        host.open_window(1, 0, 0, 0x3000)


def test_inbound_windows_let_functions_reach_memory(host, memory):
    memory.ram[0x100:0x104] = b"emu!"
    assert host.inbound.read(0x100, 4) == b"\xff" * 4
    host.write(0xDF0, 4, 0xA0F5_500F)
    assert host.inbound.read(0x100, 4) == b"emu!"
    host.write(0xDE8, 4, 0x8_0000)
    assert host.inbound.read(0x8000_0100, 4) == b"emu!"


def test_the_register_window_is_one_mebibyte_and_takes_messages(host, messages):
    host.write(config(host, 0, 4), 2, 0x0600)
    at = config(host, 0, 0x10)
    host.write(at, 4, 0xFFFF_FFFF)
    assert host.read(at, 4) == 0x0000_F0FF
    host.write(at, 4, 0x0000_F0FF)
    host.inbound.write(0xFFF4_1740, b"\x25\0\0\0")
    host.inbound.write(0xFFF4_1744, b"\x25\0\0\0")
    assert messages == [b"\x25\0\0\0"]


def test_interrupt_pins_rotate_with_the_slot():
    assert [fsl_pin(slot, 1) + 1 for slot in (1, 2, 3, 4)] == [2, 3, 4, 1]
    assert [fsl_pin(17, pin) + 1 for pin in (1, 2, 3, 4)] == [2, 3, 4, 1]
