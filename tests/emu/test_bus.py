from __future__ import annotations

import itertools
import logging

import pytest

from emu.bus import MASK, Bus
from emu.errors import DeviceError
from emu.memory import FOUR_GIB, GuestRam


class Recorder:
    """A device of eight ports that answers 0x10 + offset in each byte and notes every access."""

    def __init__(self) -> None:
        self.reads: list[tuple[int, int]] = []
        self.writes: list[tuple[int, int, int]] = []

    def read(self, offset: int, width: int) -> int:
        self.reads.append((offset, width))
        return int.from_bytes(bytes(0x10 + offset + i for i in range(width)), "little")

    def write(self, offset: int, width: int, value: int) -> None:
        self.writes.append((offset, width, value))


def test_an_access_that_fits_is_one_call() -> None:
    bus, device = Bus(), Recorder()
    bus.map_ports(0x1F0, 8, device.read, device.write, max_width=4, name="ata")
    assert bus.port_read(0x1F4, 4) == 0x17161514
    bus.port_write(0x1F0, 2, 0x12345)
    assert device.reads == [(4, 4)]
    assert device.writes == [(0, 2, 0x2345)]


def test_a_wide_access_is_split_little_endian_from_the_lowest_address() -> None:
    bus, device = Bus(), Recorder()
    bus.map_ports(0x60, 8, device.read, device.write, max_width=1)
    assert bus.port_read(0x60, 4) == 0x13121110
    bus.port_write(0x64, 2, 0xBBAA)
    assert device.reads == [(0, 1), (1, 1), (2, 1), (3, 1)]
    assert device.writes == [(4, 1, 0xAA), (5, 1, 0xBB)]


def test_a_misaligned_access_is_split_to_bytes() -> None:
    bus, device = Bus(), Recorder()
    bus.map_ports(0x100, 8, device.read, device.write, max_width=4)
    assert bus.port_read(0x101, 2) == 0x1211
    assert device.reads == [(1, 1), (2, 1)]


@pytest.mark.parametrize("what", ["port", "mmio"])
def test_every_width_alignment_and_edge_gives_the_bytes_of_their_owners(what: str) -> None:
    """D3: the value of an access is made of the bytes at its addresses, whoever owns them."""
    base = 0x3F8
    for max_width, width, at in itertools.product((1, 2, 4), (1, 2, 4), range(base - 5, base + 12)):
        bus, device = Bus(), Recorder()
        if what == "port":
            bus.map_ports(base, 8, device.read, device.write, max_width=max_width)
            read, write = bus.port_read, bus.port_write
        else:
            bus.map_mmio(base, 8, device.read, device.write, max_width=max_width)
            read, write = bus.mmio_read, bus.mmio_write
        wanted = bytes(0x10 + a - base if base <= a < base + 8 else 0xFF for a in range(at, at + width))
        assert read(at, width).to_bytes(4, "little")[:width] == wanted
        write(at, width, int.from_bytes(wanted, "little"))
        written = {o + i: v >> (8 * i) & 0xFF for o, w, v in device.writes for i in range(w)}
        assert written == {a - base: 0x10 + a - base for a in range(at, at + width) if base <= a < base + 8}
        for offset, w in device.reads + [(o, w) for o, w, _ in device.writes]:
            assert w <= max_width
            assert offset % w == 0
            assert offset + w <= 8


@pytest.mark.parametrize("width", [1, 2, 4])
def test_nobody_there_reads_all_ones_up_to_the_last_port(width: int) -> None:
    bus = Bus()
    assert bus.port_read(0x3FF, width) == MASK[width]
    assert bus.port_read(0xFFFF, width) == MASK[width]
    assert bus.mmio_read(FOUR_GIB - 1, width) == MASK[width]
    bus.port_write(0xFFFF, width, 0)
    bus.mmio_write(FOUR_GIB - 1, width, 0)


def test_a_hole_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    bus = Bus()
    logger = logging.getLogger("emu.unimp")
    logger.parent, logger.propagate = logging.getLogger(), True
    with caplog.at_level(logging.DEBUG, "emu.unimp"):
        bus.port_read(0x1234, 1)
        bus.port_read(0x1234, 1)
        bus.port_write(0x1234, 1, 0)
    assert [r.getMessage() for r in caplog.records] == ["ports 0x1234: nobody answers (first touched)"]


def test_an_overlap_is_refused_with_both_names() -> None:
    bus, device = Bus(), Recorder()
    bus.map_ports(0x60, 5, device.read, device.write, name="i8042")
    with pytest.raises(ValueError, match=r"port-b: ports 0x61\+0x1 overlaps i8042 at 0x60\+0x5"):
        bus.map_ports(0x61, 1, device.read, device.write, name="port-b")
    with pytest.raises(ValueError, match="outside the address space"):
        bus.map_ports(0xFFFF, 2, device.read, device.write)


def test_a_mapping_over_another_hides_it_until_it_is_removed() -> None:
    bus, below, above = Bus(), Recorder(), Recorder()
    cover = bus.map_ports(0x82, 1, above.read, above.write, name="debug", over=True)
    bus.map_ports(0x80, 8, below.read, below.write, name="pages")
    assert [bus.port_read(port, 1) for port in (0x81, 0x82, 0x83)] == [0x11, 0x10, 0x13]
    with pytest.raises(ValueError, match="overlaps debug"):
        bus.map_ports(0x82, 1, above.read, above.write, over=True)
    cover.remove()
    assert bus.port_read(0x82, 1) == 0x12


def test_a_removed_mapping_makes_room() -> None:
    bus, device = Bus(), Recorder()
    mapping = bus.map_mmio(0xFEC00000, 0x1000, device.read, device.write, name="ioapic")
    mapping.remove()
    mapping.remove()
    assert bus.mmio_read(0xFEC00000, 4) == 0xFFFFFFFF
    bus.map_mmio(0xFEC00800, 0x1000, device.read, device.write, name="moved")
    assert bus.mmio_read(0xFEC00804, 1) == 0x14


def test_ignored_ports_say_nothing_and_read_ones(caplog: pytest.LogCaptureFixture) -> None:
    bus = Bus()
    bus.ignore(range(0x80, 0x81), "POST code")
    with caplog.at_level(logging.DEBUG):
        assert bus.port_read(0x80, 1) == 0xFF
        bus.port_write(0x80, 1, 5)
    assert caplog.records == []
    assert bus.map_lines() == ["ports  0080-0080 POST code"]


def test_a_device_that_fails_is_named_and_never_read_as_zero() -> None:
    def fail(*args: int) -> int:
        raise IndexError("beyond the FIFO")

    def fail_write(*args: int) -> None:
        raise ZeroDivisionError("no divisor")

    bus = Bus()
    bus.map_ports(0x3F8, 8, fail, fail_write, name="uart0")
    with pytest.raises(DeviceError, match="uart0: read of 1 bytes at offset 0x5: IndexError: beyond the FIFO"):
        bus.port_read(0x3FD, 1)
    with pytest.raises(DeviceError, match="uart0: write of 1 bytes at offset 0x0: ZeroDivisionError"):
        bus.port_write(0x3F8, 1, 1)
    bus.acknowledge = fail
    with pytest.raises(DeviceError, match="interrupt acknowledge"):
        bus.interrupt_acknowledge()


def test_a_device_may_not_come_back_to_the_bus() -> None:
    bus = Bus()
    bus.map_ports(0x10, 1, lambda o, w: bus.port_read(0x10, 1), lambda o, w, v: None, name="loop")
    with pytest.raises(DeviceError, match="loop was read from inside loop"):
        bus.port_read(0x10, 1)
    assert bus.port_read(0x11, 1) == 0xFF


def test_physical_reads_and_writes_cross_from_ram_to_devices() -> None:
    ram, device = GuestRam(1 << 20), Recorder()
    bus = Bus(ram)
    bus.map_mmio(0xA0000, 8, device.read, device.write, max_width=1, name="vga")
    ram.load(0x9FFFE, b"xy")
    assert bus.phys_read(0x9FFFE, 4) == b"xy\x10\x11"
    bus.phys_write(0x9FFFF, b"AB")
    assert bytes(ram.view[0x9FFFF:0xA0000]) == b"A"
    assert device.writes == [(0, 1, 0x42)]
    bus.phys_write(0xF0000, b"no")
    assert bus.phys_read(0xF0000, 2) == b"\0\0"


def test_string_io_moves_whole_buffers_at_a_data_port_only() -> None:
    bus, device = Bus(), Recorder()
    mapping = bus.map_ports(0x1F0, 8, device.read, device.write, max_width=4, name="ata")
    assert bus.port_read_block(0x1F0, 2, 4) == b""
    assert bus.port_write_block(0x1F0, 2, b"abcd") == 0
    written: list[bytes] = []
    mapping.read_block, mapping.write_block = lambda n: bytes(range(n)), written.append
    assert bus.port_read_block(0x1F0, 2, 4) == bytes(range(8))
    assert bus.port_write_block(0x1F0, 2, b"abcd") == 2
    assert written == [b"abcd"]
    assert bus.port_read_block(0x1F2, 2, 4) == b""
    assert bus.port_read_block(0x1234, 2, 4) == b""


def test_string_io_goes_no_further_at_once_than_the_device_has_room() -> None:
    bus, device = Bus(), Recorder()
    mapping = bus.map_ports(0x1F0, 8, device.read, device.write, max_width=4, name="ata")
    assert bus.port_block_count(0x1F0, 2, 4) == 0
    mapping.room = lambda: 7
    assert [bus.port_block_count(0x1F0, 2, n) for n in (1, 3, 100)] == [1, 3, 3]
    assert bus.port_block_count(0x1F0, 4, 100) == 1
    assert bus.port_block_count(0x1F1, 2, 100) == 0
