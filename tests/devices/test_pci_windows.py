"""Translating windows: who is told of which address when, and DMA that only goes through."""

from __future__ import annotations

import pytest

from devices.pci_windows import Inbound, Outbound, Window


class Place:
    """A board's side of a range: remembers every move; refuses addresses in `taken`."""

    def __init__(self, taken=()):
        self.moves = []
        self.taken = taken

    def __call__(self, place):
        if place in self.taken:
            raise ValueError("taken")
        self.moves.append(place)


@pytest.fixture
def refusals():
    return []


@pytest.fixture
def outbound(refusals):
    return Outbound(refusals.append)


def test_a_range_appears_where_its_window_shows_it(outbound):
    place = Place()
    moved = outbound.range(0x1000, place)
    outbound.set([Window(0xC_0000_0000, 0xE000_0000, 0x2000_0000)])
    moved(0xE010_0000)
    moved(0xE020_0000)
    moved(None)
    assert place.moves == [0xC_0010_0000, None, 0xC_0020_0000, None]


def test_a_range_follows_its_window(outbound):
    place = Place()
    outbound.range(0x1000, place)(0x8000_0000)
    assert place.moves == []
    outbound.set([Window(0x9000_0000, 0x8000_0000, 0x1000)])
    outbound.set([Window(0xA000_0000, 0x8000_0000, 0x1000)])
    outbound.set([Window(0xA000_0000, 0x8000_0000, 0x1000)])
    outbound.set([])
    assert place.moves == [0x9000_0000, None, 0xA000_0000, None]


def test_a_range_that_sticks_out_of_its_window_is_nowhere(outbound):
    place = Place()
    moved = outbound.range(0x2000, place)
    outbound.set([Window(0, 0x8000_0000, 0x2000)])
    moved(0x8000_1000)
    moved(0x7FFF_F000)
    assert place.moves == []
    moved(0x8000_0000)
    assert place.moves == [0]


def test_memory_and_io_windows_show_only_their_kind(outbound):
    memory, ports = Place(), Place()
    outbound.set([Window(0x1_0000, 0, 0x1_0000, io=True), Window(0x10_0000, 0, 0x1_0000)])
    outbound.range(0x100, memory)(0x400)
    outbound.range(0x10, ports, io=True)(0x400)
    assert (memory.moves, ports.moves) == ([0x10_0400], [0x1_0400])


def test_ranges_that_swap_places_all_leave_before_one_enters(outbound):
    order = []
    for name, at in (("a", 0x1000), ("b", 0x2000)):
        outbound.range(0x1000, lambda place, name=name: order.append((name, place)))(at)
    outbound.set([Window(0x10_1000, 0x1000, 0x1000), Window(0x10_2000, 0x2000, 0x1000)])
    del order[:]
    outbound.set([Window(0x10_2000, 0x1000, 0x1000), Window(0x10_1000, 0x2000, 0x1000)])
    assert order == [("a", None), ("b", None), ("a", 0x10_2000), ("b", 0x10_1000)]


def test_a_refused_place_is_named_and_tried_again_when_it_moves(outbound, refusals):
    place = Place(taken=(0xF000_0000,))
    moved = outbound.range(0x1000, place)
    outbound.set([Window(0xF000_0000, 0x8000_0000, 0x1000)])
    moved(0x8000_0000)
    assert (place.moves, refusals) == ([], ["PCI range at 0xf0000000 (taken)"])
    outbound.set([Window(0xE000_0000, 0x8000_0000, 0x1000)])
    assert place.moves == [0xE000_0000]


def test_dma_goes_through_the_windows_and_nowhere_else(memory):
    inbound = Inbound(memory)
    inbound.windows = (Window(0x2000, 0x8000, 0x10), Window(0x4000, 0x8020, 0x10))
    memory.ram[0x2000:0x2010] = bytes(range(16))
    memory.ram[0x4000:0x4010] = bytes(range(16, 32))
    expected = b"\xff\xff" + bytes(range(16)) + b"\xff" * 16 + bytes(range(16, 32)) + b"\xff"
    assert inbound.read(0x7FFE, len(expected)) == expected
    inbound.write(0x7FFE, bytes(range(100, 100 + len(expected))))
    assert memory.ram[0x2000:0x2010] == bytes(range(102, 118))
    assert memory.ram[0x4000:0x4010] == bytes(range(134, 150))
    assert memory.ram[0:0x2000] == bytes(0x2000)


def test_writes_to_the_registers_go_to_the_chip(memory):
    seen = []
    inbound = Inbound(memory, lambda offset, data: seen.append((offset, data)))
    inbound.windows = (Window(0, 0, 1 << 32),)
    inbound.registers_at, inbound.registers_size = 0x1000, 0x1000
    inbound.write(0x1010, b"abcd")
    inbound.write(0x1FFE, b"abcd")
    inbound.registers_at = None
    inbound.write(0x1010, b"efgh")
    assert seen == [(0x10, b"abcd")]
    assert memory.ram[0x1010:0x1014] == b"efgh"
    assert memory.ram[0x1FFE:0x2002] == b"abcd"
