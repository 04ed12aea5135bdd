"""The floppy controller as its drivers use it: reset, seeks, transfers by DMA and by FIFO, errors, new media."""

from __future__ import annotations

import random

import pytest

from devices.block.raw import MemoryDisk
from devices.dma8237 import Dma8237
from devices.fdc82077 import SECTOR, Fdc82077, FloppyDrive, Format
from tests.devices.faulty import FaultyDisk

FORMATS = {360: Format(40, 2, 9), 720: Format(80, 2, 9), 1200: Format(80, 2, 15), 1440: Format(80, 2, 18)}
FORMATS[2880] = Format(80, 2, 36)
RATES = {360: 2, 720: 2, 1200: 0, 1440: 0, 2880: 3}
READ, WRITE = 0x46, 0x45
MS = 1_000_000


def contents(kib: int) -> bytes:
    """Sectors that each say which one they are."""
    return b"".join(n.to_bytes(4, "little") * (SECTOR // 4) for n in range(kib * 2))


def measure(disk) -> Format:
    return FORMATS.get(disk.size >> 10, FORMATS[1440])


class Bench:
    """The controller with a DMA controller, and a driver that knows how to talk to both."""

    def __init__(self, clock, line, memory, *disks, ready=True) -> None:
        self.clock, self.line, self.memory = clock, line, memory
        self.dma = Dma8237(memory=memory)
        self.drives = [FloppyDrive(disk, measure) for disk in disks]
        self.dev = Fdc82077(clock=clock, irq=line, dma=self.dma, drives=self.drives)
        if ready:
            self.dev.write(2, 1, 0x1C)
            clock.advance(MS)
            for _ in range(4):
                self.ask(0x08, reply=2)
            self.rate(0)
            self.tell(0x03, 0xDF, 0x02)

    def rate(self, code: int) -> None:
        self.dev.write_control(0, 1, code)

    def status(self) -> int:
        return self.dev.read(4, 1)

    def tell(self, *command: int) -> None:
        for byte in command:
            assert self.status() & 0xC0 == 0x80, hex(self.status())
            self.dev.write(5, 1, byte)

    def reply(self) -> list[int]:
        out = []
        while self.status() & 0xD0 == 0xD0:
            out.append(self.dev.read(5, 1))
        return out

    def ask(self, *command: int, reply: int) -> list[int]:
        self.tell(*command)
        answer = self.reply()
        assert len(answer) == reply
        return answer

    def seek(self, drive: int, track: int, head: int = 0) -> list[int]:
        self.tell(0x0F, head << 2 | drive, track)
        self.clock.advance(50 * MS)
        assert self.line.level
        return self.ask(0x08, reply=2)

    def channel(self, address: int, length: int, to_memory: bool) -> None:
        """Program channel 2 as a driver does."""
        self.dma.write_low(0x0A, 1, 0x06)
        self.dma.write_low(0x0C, 1, 0)
        self.dma.write_low(0x0B, 1, 0x46 if to_memory else 0x4A)
        for port, value in ((4, address), (5, length - 1)):
            self.dma.write_low(port, 1, value & 0xFF)
            self.dma.write_low(port, 1, value >> 8 & 0xFF)
        self.dma.write_page(1, 1, address >> 16)
        self.dma.write_low(0x0A, 1, 0x02)

    def transfer(self, *command: int) -> list[int]:
        self.tell(*command)
        assert self.status() & 0xF0 == 0x10
        self.clock.advance(10 * MS)
        assert self.line.level
        answer = self.reply()
        assert not self.line.level
        assert len(answer) == 7
        return answer

    def read(self, c: int, h: int, r: int, count: int, *, last: int = 18, at: int = 0x1000, op: int = 0xC6):
        """Read by DMA: the result and the bytes."""
        self.channel(at, count * SECTOR, to_memory=True)
        result = self.transfer(op, h << 2, c, h, r, 2, last, 0x1B, 0xFF)
        return result, self.memory.read(at, count * SECTOR)

    def write(self, c: int, h: int, r: int, data: bytes, *, last: int = 18, op: int = 0xC5) -> list[int]:
        self.memory.write(0x2000, data)
        self.channel(0x2000, len(data), to_memory=False)
        return self.transfer(op, h << 2, c, h, r, 2, last, 0x1B, 0xFF)


@pytest.fixture
def bench(clock, line, memory):
    """Makes a bench; without disks it has one of 1440 KiB."""

    def make(*disks, ready=True) -> Bench:
        return Bench(clock, line, memory, *(disks or (MemoryDisk(contents(1440)),)), ready=ready)

    return make


def test_a_reset_ends_in_an_interrupt_that_names_all_four_drives(bench, clock, line):
    b = bench(ready=False)
    assert b.status() == 0
    b.dev.write(2, 1, 0x0C)
    assert b.status() == 0x80
    clock.advance(MS)
    assert line.level
    assert [b.ask(0x08, reply=2) for _ in range(4)] == [[0xC0 | n, 0] for n in range(4)]
    assert not line.level
    assert b.ask(0x08, reply=1) == [0x80]


def test_a_driver_that_polls_need_not_wait_for_the_resets_interrupt(bench):
    b = bench(ready=False)
    b.dev.write(2, 1, 0x0C)
    assert b.ask(0x08, reply=2) == [0xC0, 0]


def test_without_polling_a_reset_is_silent(bench, clock, line):
    b = bench()
    b.tell(0x13, 0, 0x10, 0)
    b.dev.write(4, 1, 0x80)
    assert clock.advance(MS) is None and line.level  # the reset itself switches polling on again
    b.dev.write(2, 1, 0x18)
    assert b.status() == 0 and not line.level


def test_the_controller_says_that_it_is_an_82077(bench):
    b = bench()
    assert b.ask(0x10, reply=1) == [0x90]
    assert b.ask(0x18, reply=1) == [0x80]  # the part number of later ones: invalid
    b.tell(0x13, 0, 0x57, 7)
    assert b.ask(0x94, reply=1) == [0x10]
    b.dev.write(4, 1, 0x80)
    registers = b.ask(0x0E, reply=10)
    assert registers[4:7] == [0xDF, 0x02, 0] and registers[7] == 0x80
    assert registers[8:] == [0x07, 7], "LOCK keeps the FIFO's settings over a reset, not implied seeks and polling"
    assert b.ask(0x14, reply=1) == [0]


def test_recalibrate_and_seek_report_where_the_head_is(bench, clock):
    b = bench()
    assert b.seek(0, 40, 1) == [0x20, 40]
    assert b.ask(0x04, 0x04, reply=1) == [0x2C]
    b.tell(0x07, 0)
    assert b.status() & 0x1F == 0x01, "the drive is busy, the controller is not"
    clock.advance(10 * MS)
    assert b.ask(0x08, reply=2) == [0x20, 0]
    assert b.ask(0x04, 0x00, reply=1) == [0x38]


def test_two_drives_seek_at_once(bench, clock, line):
    b = bench(MemoryDisk(contents(1440)), MemoryDisk(contents(720)))
    b.tell(0x0F, 0, 30)
    b.tell(0x0F, 1, 20)
    clock.advance(10 * MS)
    assert sorted([b.ask(0x08, reply=2), b.ask(0x08, reply=2)]) == [[0x20, 30], [0x21, 20]]
    assert not line.level


def test_a_drive_that_is_not_there_never_finds_track_0(bench, clock):
    b = bench()
    b.tell(0x07, 1)
    clock.advance(10 * MS)
    assert b.ask(0x08, reply=2) == [0x71, 0]


@pytest.mark.parametrize("kib", sorted(FORMATS))
def test_every_sector_of_a_floppy_of(kib, bench):
    form = FORMATS[kib]
    b = bench(MemoryDisk(contents(kib)))
    b.rate(RATES[kib])
    data = b""
    for track in (0, 1, form.cylinders - 1):
        b.seek(0, track)
        result, track_data = b.read(track, 0, 1, 2 * form.sectors, last=form.sectors)
        assert result == [0x04 if form.heads == 2 else 0, 0, 0, track + 1, 0, 1, 2] or result[0] & 0xC0 == 0
        data += track_data
    whole, size = contents(kib), 2 * form.sectors * SECTOR
    assert data == whole[: 2 * size] + whole[-size:]


@pytest.mark.parametrize("kib", sorted(FORMATS))
def test_a_medium_is_only_read_at_its_own_data_rate(kib, bench):
    b = bench(MemoryDisk(contents(kib)))
    fine = []
    for code in range(4):
        b.rate(code)
        b.tell(0x4A, 0)
        b.clock.advance(MS)
        if not b.reply()[0] & 0xC0:
            fine.append(code)
    assert fine == ([1, 2] if kib <= 720 else [RATES[kib]])


@pytest.mark.parametrize(
    ("head", "sector", "count", "op", "end"),
    [
        (0, 3, 2, 0xC6, [0, 0, 0, 5, 0, 5, 2]),
        (0, 17, 2, 0xC6, [0x04, 0, 0, 5, 1, 1, 2]),
        (1, 17, 2, 0xC6, [0x00, 0, 0, 6, 0, 1, 2]),
        (0, 17, 2, 0x46, [0x00, 0, 0, 6, 0, 1, 2]),
        (1, 17, 2, 0x46, [0x04, 0, 0, 6, 1, 1, 2]),
    ],
)
def test_the_result_names_the_sector_after_the_last(head, sector, count, op, end, bench):
    b = bench()
    b.seek(0, 5)
    result, data = b.read(5, head, sector, count, op=op)
    assert result == end
    first = (5 * 2 + head) * 18 + sector - 1
    assert data == contents(1440)[first * SECTOR : (first + count) * SECTOR]


def test_a_transfer_without_terminal_count_ends_at_the_end_of_the_cylinder(bench):
    b = bench()
    b.channel(0x1000, 0x8000, to_memory=True)
    assert b.transfer(READ, 0, 0, 0, 17, 2, 18, 0x1B, 0xFF) == [0x40, 0x80, 0, 1, 0, 1, 2]
    assert b.dma.remaining(2) == 0x8000 - 2 * SECTOR


def test_terminal_count_may_come_in_the_middle_of_a_sector(bench):
    b = bench()
    b.channel(0x1000, 100, to_memory=True)
    assert b.transfer(READ, 0, 0, 0, 2, 2, 18, 0x1B, 0xFF)[:3] == [0, 0, 0]
    assert b.memory.read(0x1000, 101) == contents(1440)[SECTOR : SECTOR + 100] + b"\0"
    b.memory.write(0x1000, b"short")
    b.channel(0x1000, 5, to_memory=False)
    assert b.transfer(WRITE, 0, 0, 0, 2, 2, 18, 0x1B, 0xFF)[:3] == [0, 0, 0]
    assert b.drives[0].disk.read(SECTOR, SECTOR) == b"short".ljust(SECTOR, b"\0")


def test_what_is_written_is_read_again(bench):
    b = bench()
    data = random.Random(1).randbytes(20 * SECTOR)
    b.seek(0, 79)
    assert b.write(79, 0, 9, data)[:3] == [0x04, 0, 0]
    assert b.read(79, 0, 9, 20)[1] == data
    assert b.drives[0].disk.read((79 * 36 + 8) * SECTOR, len(data)) == data


@pytest.mark.parametrize(
    ("what", "command", "end"),
    [
        ("a sector that the track has not", (READ, 0, 0, 0, 19, 2, 19, 0x1B, 0xFF), [0x40, 0x04, 0]),
        ("a sector 0", (READ, 0, 0, 0, 0, 2, 18, 0x1B, 0xFF), [0x40, 0x04, 0]),
        ("a cylinder that the head is not on", (READ, 0, 7, 0, 1, 2, 18, 0x1B, 0xFF), [0x40, 0x04, 0x10]),
        ("a head that is not selected", (READ, 0, 0, 1, 1, 2, 18, 0x1B, 0xFF), [0x40, 0x04, 0]),
        ("another sector size", (READ, 0, 0, 0, 1, 3, 18, 0x1B, 0xFF), [0x40, 0x04, 0]),
        ("single density", (0x06, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF), [0x40, 0x01, 0]),
        ("a drive that is not there", (READ, 3, 0, 0, 1, 2, 18, 0x1B, 0xFF), [0x43, 0x01, 0]),
        ("an empty drive", (READ, 1, 0, 0, 1, 2, 18, 0x1B, 0xFF), [0x41, 0x01, 0]),
        ("deleted data, skipping others", (0x6C, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF), [0x40, 0x04, 0]),
        ("deleted data", (0x4C, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF), [0, 0, 0x40]),
    ],
)
def test_the_answer_to(what, command, end, bench):
    b = bench(MemoryDisk(contents(1440)), None)
    b.channel(0x1000, SECTOR, to_memory=True)
    assert b.transfer(*command)[:3] == end


def test_a_protected_floppy_is_not_written(bench):
    b = bench(MemoryDisk(contents(1440), read_only=True))
    assert b.ask(0x04, 0, reply=1) == [0x78]
    assert b.write(0, 0, 1, b"no" * 256)[:3] == [0x40, 0x02, 0]
    b.channel(0x1000, 18 * 4, to_memory=False)
    assert b.transfer(0x4D, 0, 2, 18, 0x54, 0xF6)[:3] == [0x40, 0x02, 0]


def test_an_error_of_the_host_is_a_data_error(bench, caplog):
    disk = FaultyDisk(contents(1440))
    disk.bad = {0}
    b = bench(disk)
    assert b.read(0, 0, 1, 1)[0][:3] == [0x40, 0x20, 0x20]
    assert b.write(0, 0, 1, bytes(SECTOR))[:3] == [0x40, 0x20, 0x20]
    assert b.read(0, 0, 1, 1)[0][:3] == [0x40, 0x20, 0x20]
    assert len(caplog.records) == 1, "one line for an error that comes again and again"


def test_a_masked_channel_is_an_overrun(bench):
    b = bench()
    b.dma.write_low(0x0A, 1, 0x06)
    assert b.transfer(READ, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF)[:3] == [0x40, 0x10, 0]


def test_implied_seek_moves_the_head(bench):
    b = bench()
    b.tell(0x13, 0, 0x57, 0)
    result, data = b.read(33, 0, 1, 1)
    assert result[:4] == [0, 0, 0, 33]
    assert data == contents(1440)[33 * 36 * SECTOR :][:SECTOR]


def test_formatting_a_track_fills_its_sectors(bench):
    b = bench()
    b.seek(0, 3)
    identities = b"".join(bytes((3, 1, sector, 2)) for sector in range(1, 19))
    b.memory.write(0x2000, identities)
    b.channel(0x2000, len(identities), to_memory=False)
    assert b.transfer(0x4D, 0x04, 2, 18, 0x54, 0xF6)[:3] == [0x04, 0, 0]
    disk, track = b.drives[0].disk, 7 * 18 * SECTOR
    assert disk.read(track, 18 * SECTOR) == b"\xf6" * (18 * SECTOR)
    whole = contents(1440)
    assert disk.read(track - SECTOR, SECTOR) == whole[track - SECTOR : track]
    assert disk.read(track + 18 * SECTOR, SECTOR) == whole[track + 18 * SECTOR :][:SECTOR]


def test_verify_counts_sectors_and_moves_nothing(bench):
    b = bench()
    assert b.transfer(0xD6, 0x80, 0, 0, 1, 2, 18, 0x1B, 20)[:6] == [0x04, 0, 0, 0, 1, 3]
    assert b.transfer(0x56, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF)[:3] == [0, 0, 0]
    assert b.transfer(0x56, 0, 0, 0, 1, 2, 20, 0x1B, 0xFF)[:3] == [0x40, 0x04, 0]


@pytest.mark.parametrize(
    ("op", "byte", "end"),
    [(0x51, 3, 0x08), (0x51, 2, 0x04), (0x59, 4, 0), (0x59, 2, 0x04), (0x5D, 2, 0), (0x5D, 4, 0x04), (0x5D, 0xFF, 8)],
)
def test_scan_compares_sectors_with_memory(op, byte, end, bench):
    b = bench(MemoryDisk(b"\x03" * (1440 << 10)))
    b.memory.write(0x2000, bytes((byte,)) * SECTOR)
    b.channel(0x2000, SECTOR, to_memory=False)
    assert b.transfer(op, 0, 0, 0, 1, 2, 18, 0x1B, 1)[2] == end


def test_read_track_begins_with_the_first_sector(bench):
    b = bench()
    b.channel(0x1000, 2 * SECTOR, to_memory=True)
    assert b.transfer(0x42, 0, 0, 0, 9, 2, 18, 0x1B, 0xFF)[:3] == [0, 0, 0]
    assert b.memory.read(0x1000, 2 * SECTOR) == contents(1440)[: 2 * SECTOR]


def test_without_dma_bytes_go_through_the_fifo(bench, clock, line):
    b = bench()
    b.tell(0x03, 0xDF, 0x03)
    b.tell(READ, 0, 0, 0, 17, 2, 18, 0x1B, 0xFF)
    clock.advance(MS)
    data = bytearray()
    while b.status() & 0x20:
        assert b.status() == 0xF0 and line.level
        data.append(b.dev.read(5, 1))
    assert bytes(data) == contents(1440)[16 * SECTOR : 18 * SECTOR]
    clock.advance(MS)
    assert line.level and b.reply()[:3] == [0x40, 0x80, 0], "nothing can tell the chip that it was enough"
    b.tell(WRITE, 0, 0, 0, 18, 2, 18, 0x1B, 0xFF)
    clock.advance(MS)
    for n in range(SECTOR):
        assert b.status() == 0xB0
        b.dev.write(5, 1, n & 0xFF)
    clock.advance(MS)
    assert b.reply()[:3] == [0x40, 0x80, 0]
    assert b.drives[0].disk.read(17 * SECTOR, SECTOR) == bytes(range(256)) * 2


def test_without_dma_a_host_that_stops_is_an_overrun(bench, clock, line):
    b = bench()
    b.tell(0x03, 0xDF, 0x03)
    b.tell(READ, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF)
    clock.advance(MS // 2)
    for _ in range(2 * SECTOR):
        b.dev.read(5, 1)
        clock.advance(5_000)
    assert b.status() == 0xF0
    clock.advance(3 * MS)
    assert line.level
    assert b.reply() == [0x40, 0x10, 0, 0, 0, 3, 2]


def test_the_change_line_falls_with_the_first_step_onto_a_medium(bench, clock):
    b = bench(MemoryDisk(contents(1440)), None)
    b.dev.write(2, 1, 0x1C)
    assert b.dev.read_input(0, 1) == 0x80
    b.tell(0x07, 0)
    clock.advance(10 * MS)
    b.ask(0x08, reply=2)
    assert b.dev.read_input(0, 1) == 0x80, "the head was on track 0: it did not step"
    b.seek(0, 1)
    assert b.dev.read_input(0, 1) == 0
    b.drives[0].change_medium(MemoryDisk(contents(720)))
    assert b.dev.read_input(0, 1) == 0x80
    b.seek(0, 0)
    assert b.dev.read_input(0, 1) == 0
    b.rate(2)
    assert b.read(0, 0, 9, 1, last=9)[1] == contents(720)[8 * SECTOR : 9 * SECTOR]
    b.dev.write(2, 1, 0x2D)
    b.seek(1, 5)
    assert b.dev.read_input(0, 1) == 0x80, "no medium"


def test_an_image_shorter_than_its_format_reads_as_zeros_there_and_is_not_written(bench):
    b = bench(MemoryDisk(contents(1440)[: 20 * SECTOR]))
    result, data = b.read(0, 0, 18, 4)
    assert result[:3] == [0x04, 0, 0]
    assert data == contents(1440)[17 * SECTOR : 20 * SECTOR] + bytes(SECTOR)
    assert b.write(0, 1, 3, bytes(SECTOR))[:3] == [0x44, 0x04, 0]


def test_a_command_that_was_under_way_goes_on_in_a_loaded_machine(bench, clock, line):
    b = bench()
    b.channel(0x1000, SECTOR, to_memory=True)
    b.tell(READ, 0, 0, 0, 5, 2, 18, 0x1B, 0xFF)
    state, dma = b.dev.save(), b.dma.save()
    again = bench(ready=False)
    again.dev.load(state)
    again.dma.load(dma)
    clock.advance(MS)
    assert again.reply()[:3] == [0, 0, 0]
    assert again.memory.read(0x1000, SECTOR) == contents(1440)[4 * SECTOR : 5 * SECTOR]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("command", {"phase": "execute", "due": 5}),
        ("command", {"phase": "command", "command": b"\x18"}),
        ("command", {"phase": "command", "command": b"\x46" + bytes(8)}),
        ("result", {"phase": "result"}),
        ("due", {"phase": "execute"}),
        ("due", {"phase": "transfer", "command": b"\x46" + bytes(8), "room": 4}),
        ("buffer", {"phase": "transfer", "command": b"\x46" + bytes(8), "due": 5}),
        ("buffer", {"phase": "transfer", "command": b"\x45" + bytes(8), "room": 512, "buffer": b"1", "due": 5}),
    ],
)
def test_a_saved_state_that_no_command_leads_to_is_refused(name, change, bench):
    b = bench()
    saved = b.dev.save()
    saved["state"].update(change)
    with pytest.raises(ValueError, match=name):
        b.dev.load(saved)
