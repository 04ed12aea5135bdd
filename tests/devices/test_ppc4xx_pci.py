"""4xx PCI hosts: configuration cycles, windows as kernels program them, DMA, and a PCI Express port with no card."""

from __future__ import annotations

import pytest

from devices.pci import Bar, PciFunction
from devices.ppc4xx_pci import Pci440Ep, Pci460Ex, Pcie460Ex, window_size

COMMAND = 4


class Card(PciFunction):
    vendor = 0x1234
    product = 0x5678
    pin = 1


class Slot:
    """A card with a memory and an I/O range, and where the processor finds them."""

    def __init__(self, host):
        self.places = {}
        self.card = Card(
            (
                Bar(0, 0x1000, host.outbound.range(0x1000, lambda at: self.places.update(memory=at))),
                Bar(1, 0x100, host.outbound.range(0x100, lambda at: self.places.update(io=at), io=True), io=True),
            )
        )
        host.add(1, 0, self.card)

    def place(self, memory, io):
        self.card.config_write(0x10, 4, memory)
        self.card.config_write(0x14, 4, io)
        self.card.config_write(COMMAND, 2, 3)


def config(host, slot, register):
    host.write_config(0, 4, 0x8000_0000 | slot << 11 | register & 0xFC)
    return 4 + (register & 3)


@pytest.fixture(params=[Pci440Ep, Pci460Ex])
def host(request, memory):
    return request.param(memory=memory)


@pytest.fixture
def pci(memory):
    return Pci440Ep(memory=memory)


@pytest.fixture
def pcix(memory):
    return Pci460Ex(memory=memory)


def test_configuration_cycles_reach_the_function_in_any_width(host):
    Slot(host)
    assert host.read_config(config(host, 1, 0), 4) == 0x5678_1234
    assert host.read_config(config(host, 1, 2), 2) == 0x5678
    assert host.read_config(config(host, 1, 3), 1) == 0x56
    host.write_config(config(host, 1, 0x3C), 1, 0x1B)
    assert host.functions[8].get(0x3C, 1) == 0x1B
    assert host.read_config(0, 4) == 0x8000_083C
    assert host.read_config(3, 1) == 0x80


@pytest.mark.parametrize("address", [0x8000_1000, 0x8001_0800, 0x0000_0800])
def test_empty_slots_other_buses_and_a_disabled_address_read_all_ones(host, address):
    Slot(host)
    host.write_config(0, 4, address)
    host.write_config(4, 4, 0)
    assert host.read_config(4, 4) == 0xFFFF_FFFF


def test_an_interrupt_acknowledge_cycle_finds_nobody(host):
    host.write_cycle(0, 4, 0x1234_5678)
    assert host.read_cycle(0, 4) == 0xFFFF_FFFF


def test_the_bridge_is_function_0_of_slot_0(host):
    assert host.read_config(config(host, 0, 0), 4) == 0x027F_1014
    assert host.read_config(config(host, 0, 0x0E), 1) == 0


def pmm(pci, n, local, mask, address, high=0):
    for at, value in ((0, local), (8, address), (12, high), (4, mask)):
        pci.write(0x10 * n + at, 4, value)


def test_a_440ep_shows_pci_memory_where_a_window_says(pci):
    slot = Slot(pci)
    slot.place(0xB000_0000, 0x1000)
    assert slot.places == {"io": 0xE800_1000}
    pmm(pci, 0, 0xA000_0000, 0xE000_0003, 0xA000_0000)
    assert slot.places["memory"] == 0xB000_0000
    pmm(pci, 0, 0xA000_0000, 0xE000_0001, 0x8000_0000)
    assert slot.places["memory"] is None
    pmm(pci, 0, 0xC000_0000, 0xE000_0001, 0xA000_0000)
    assert slot.places["memory"] == 0xD000_0000
    pci.write(4, 4, 0)
    assert slot.places["memory"] is None


@pytest.mark.parametrize("local, high", [(0, 0), (0x6000_0000, 0), (0xE800_0000, 0), (0xA000_0000, 1)])
def test_a_window_over_ram_or_registers_or_beyond_4_gib_of_pci_shows_nothing(pci, local, high):
    slot = Slot(pci)
    slot.place(0xB000_0000, 0x1000)
    pmm(pci, 1, local, 0xF800_0001, 0xB000_0000, high)
    assert slot.places.get("memory") is None


def test_dma_of_a_440ep_goes_through_the_enabled_target_windows(pci, memory):
    memory.write(0x100, b"here")
    pci.write(0x34, 4, 0)
    pci.write(0x30, 4, 0x8000_0001)
    pci.write_config(config(pci, 0, 0x14), 4, 0x8000_0000)
    assert pci.inbound.read(0x8000_0100, 4) == b"\xff" * 4
    pci.write_config(config(pci, 0, COMMAND), 2, 6)
    assert pci.inbound.read(0x8000_0100, 4) == b"here"
    assert pci.inbound.read(0x100, 4) == b"\xff" * 4
    pci.bridge.reset()
    assert pci.inbound.windows == ()


def test_the_base_address_of_a_target_window_has_the_size_of_the_window(pci):
    bar = config(pci, 0, 0x14)
    pci.write_config(bar, 4, 0xFFFF_FFFF)
    assert pci.read_config(bar, 4) == 0
    pci.write(0x30, 4, 0xFC00_0001)
    assert pci.read_config(bar, 4) == 0xFC00_0008
    assert pci.read_config(bar + 3, 1) == 0xFC


def test_a_reset_closes_the_windows_and_forgets_the_address(pci):
    slot = Slot(pci)
    slot.place(0xB000_0000, 0x1000)
    pmm(pci, 0, 0xA000_0000, 0xE000_0001, 0xA000_0000)
    config(pci, 1, 0)
    pci.reset()
    assert slot.places["memory"] is None
    assert pci.read_config(0, 4) == 0


def test_the_registers_of_a_460ex_are_the_configuration_space_of_its_bridge(pcix):
    pcix.write(COMMAND, 2, 6)
    assert pcix.read_config(config(pcix, 0, COMMAND), 2) == 6
    assert pcix.read(0, 4) == 0x027F_1014


def pom(pcix, at, local, address, size):
    for step, value in enumerate((local & 0xFFFF_FFFF, local >> 32, size, address & 0xFFFF_FFFF, address >> 32)):
        pcix.write(at + 4 * step, 4, value)


def test_a_460ex_shows_pci_memory_in_its_36_bit_windows(pcix):
    slot = Slot(pcix)
    slot.place(0xB000_0000, 0x1000)
    assert slot.places == {"io": 0xC_0800_1000}
    pom(pcix, 0x68, 0xD_8000_0000, 0x8000_0000, 0x8000_0001)
    assert slot.places["memory"] == 0xD_B000_0000
    slot.place(0x0004_0000, 0x1000)
    pom(pcix, 0x7C, 0xC_0EE0_0000, 0, 0xFFF0_0001)
    assert slot.places["memory"] == 0xC_0EE4_0000
    pcix.bridge.reset()
    assert slot.places["memory"] is None


@pytest.mark.parametrize("high", [0, 0xFFFF_FFFF])
def test_dma_of_a_460ex_goes_through_its_inbound_windows(pcix, memory, high):
    memory.write(0x100, b"here")
    pcix.write(0xF8, 4, high)
    pcix.write(0x98, 4, 0x8000_0007)
    pcix.write(0x10, 4, 0x8000_0000)
    assert pcix.inbound.read(0x8000_0100, 4) == b"\xff" * 4
    pcix.write(COMMAND, 2, 6)
    assert pcix.inbound.read(0x8000_0100, 4) == b"here"
    assert pcix.inbound.read(0x100, 4) == b"\xff" * 4


def test_the_base_addresses_of_a_460ex_have_the_sizes_of_their_inbound_windows(pcix):
    for bar in (0x10, 0x14, 0x18):
        pcix.write(bar, 4, 0xFFFF_FFFF)
        assert pcix.read(bar, 4) == 0
    pcix.write(0x98, 4, 0xFC00_0001)
    pcix.write(0xF8, 4, 0xFFFF_FF00)
    pcix.write(0xA4, 4, 0x8000_0001)
    assert [pcix.read(bar, 4) for bar in (0x10, 0x14, 0x18)] == [0xFC00_000C, 0xFFFF_FF00, 0x8000_0008]
    assert pcix.read(0x13, 1) == 0xFC


def test_messages_are_behind_the_configuration_space(pcix):
    pcix.write(0x100, 4, 0x1234)
    pcix.write(0x1F8, 4, 0x5678)
    assert (pcix.read(0x100, 4), pcix.read(0x1F8, 4)) == (0x1234, 0x5678)


@pytest.mark.parametrize("mask, size", [(0xFFFF_F000, 0x1000), (0x8000_0000, 1 << 31), (0, 1 << 32)])
def test_the_lowest_one_of_a_mask_is_the_size_of_the_window(mask, size):
    assert window_size(mask) == size


def test_windows_follow_a_loaded_state(pci, memory):
    pmm(pci, 0, 0xA000_0000, 0xE000_0001, 0xA000_0000)
    pci.write(0x30, 4, 0x8000_0001)
    again = Pci440Ep(memory=memory)
    slot = Slot(again)
    slot.place(0xB000_0000, 0x1000)
    again.load(pci.save())
    assert slot.places["memory"] == 0xB000_0000


def test_the_root_port_is_what_software_makes_of_it():
    port = Pcie460Ex(port=1)
    port.write_config(0x200, 2, 0xAAA1)
    port.write_config(0x202, 2, 0xBED1)
    port.write_config(0x208, 4, 0x0604_0001)
    port.write_config(0, 4, 0)
    port.write_config(0x18, 1, 0x80)
    port.write_config(0x19, 1, 0x81)
    assert port.read_config(0, 4) == 0xBED1_AAA1
    assert port.read_config(8, 4) == 0x0604_0001
    assert port.read_config(0x0E, 1) == 1
    assert port.read_config(0x18, 4) == 0x0000_8180
    assert port.read_config(0x34, 1) == 0


def test_the_base_address_of_the_root_port_has_the_shape_it_was_given():
    port = Pcie460Ex(port=0)
    port.write_config(0x10, 4, 0xFFFF_FFFF)
    assert port.read_config(0x10, 4) == 0
    port.write_config(0x210, 4, 0x8000_0008)
    assert port.read_config(0x10, 4) == 0x8000_0008


def test_no_configuration_retry_is_ever_recorded_and_window_registers_are_kept():
    port = Pcie460Ex(port=0)
    port.write_utl(0xB0, 4, 0x0004_0000)
    assert port.read_utl(0xB0, 4) == 0
    port.write_utl(0xA0, 4, 0x8080_0066)
    assert port.read_utl(0xA0, 4) == 0x8080_0066
    port.write_dcr(0x09, 0x8000_0003)
    assert port.read_dcr(0x09) == 0x8000_0003
    port.esr = 6
    port.write_dcr(0x17, 2)
    assert port.read_dcr(0x17) == 4


def test_there_are_two_ports():
    with pytest.raises(ValueError, match="PCI Express port 2"):
        Pcie460Ex(port=2)
