"""Bus-master IDE, driven as libata drives it, and with tables and moments that no driver would choose."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.ata import AtaChannel, AtaDisk
from devices.atapi import AtapiCdrom
from devices.backends import MemoryDisk
from devices.pci_card import EmptySlot
from devices.piix_ide import BusMaster, PiixIdeCard, channels
from tests.devices.fake_queue import FakeQueue
from tests.devices.faulty import FaultyDisk

BSY, DRDY, DRQ, ERR = 0x80, 0x40, 0x08, 0x01
SECTORS = 6000
TABLE, DATA = 0x1000, 0x100000
RAM = 8 << 20


class Memory:
    """Guest RAM from 0."""

    def __init__(self):
        self.ram = bytearray(RAM)

    def reaches(self, addr, length, write):
        return addr >= 0 and addr + length <= RAM

    def read(self, addr, length):
        return bytes(self.ram[addr : addr + length]).ljust(length, b"\xff")

    def write(self, addr, data):
        if addr < RAM:
            part = data[: RAM - addr]
            self.ram[addr : addr + len(part)] = part


def pattern(sectors=SECTORS):
    return b"".join(n.to_bytes(4, "little") * 128 for n in range(sectors))


class Host:
    """A driver's view of the first channel and its bus master."""

    def __init__(self, clock, line, disk, *, cd=None):
        self.clock, self.line, self.disk = clock, line, disk
        self.memory = Memory()
        self.enabled = True
        self.queue = FakeQueue(disk, clock)
        self.cd_queue = None
        drives = [AtaDisk(disk, queue=self.queue), None]
        if cd is not None:
            self.cd_queue = FakeQueue(cd, clock)
            drives[1] = AtapiCdrom(cd, queued=lambda medium: self.cd_queue)
        self.master = BusMaster(primary=line, secondary=line, memory=self.memory, enabled=lambda: self.enabled)
        self.ch, self.second = channels(self.master, clock, drives)

    def alt(self):
        return self.ch.read_control(0, 1)

    def table(self, *regions, at=TABLE):
        """Regions are (address, count field); the last one is marked."""
        for index, (address, count) in enumerate(regions):
            last = 1 << 31 if index == len(regions) - 1 else 0
            self.memory.write(at + 8 * index, address.to_bytes(4, "little") + (count | last).to_bytes(4, "little"))

    def taskfile(self, lba, count, *, ext=False, drive=0):
        self.ch.write(6, 1, 0xE0 | drive << 4 | (0 if ext else lba >> 24 & 0x0F))
        if ext:
            for reg, value in ((2, count >> 8), (3, lba >> 24), (4, lba >> 32), (5, lba >> 40)):
                self.ch.write(reg, 1, value & 0xFF)
        for reg, value in ((2, count), (3, lba), (4, lba >> 8), (5, lba >> 16)):
            self.ch.write(reg, 1, value & 0xFF)

    def start(self, to_memory, *, at=TABLE):
        self.master.write(4, 4, at)
        self.master.write(0, 1, 0x08 if to_memory else 0)
        self.master.write(2, 1, 0x06)
        self.master.write(0, 1, (0x08 if to_memory else 0) | 0x01)

    def command(self, opcode, lba=0, count=1, *, ext=False, start=True):
        self.taskfile(lba, count, ext=ext)
        self.ch.write(7, 1, opcode)
        if start:
            self.start(opcode in (0xC8, 0xC9, 0x25))

    def wait(self, ns=3_000_000):
        for _ in range(ns // 1000):
            if self.line.level:
                return
            self.clock.advance(1000)

    def end(self):
        """What the interrupt handler sees: (bus-master status, status, error)."""
        self.wait()
        master = self.master.read(2, 1)
        self.master.write(0, 1, self.master.read(0, 1) & ~1)
        status = self.ch.read(7, 1)
        self.master.write(2, 1, 0x06)
        return master & 7, status, self.ch.read(1, 1)


@pytest.fixture
def host(clock, line):
    return Host(clock, line, FaultyDisk(pattern()), cd=FaultyDisk(pattern()))


def word(data, index):
    return int.from_bytes(data[2 * index : 2 * index + 2], "little")


def pages(count, base=DATA):
    """A driver's table: pages of 4 KiB that do not follow each other."""
    return [(base + 0x3000 * n, 0x1000) for n in range(count)]


@pytest.mark.parametrize("drive", [0, 1])
def test_identify_offers_multiword_and_ultra_modes_and_shows_the_chosen_one(host, drive):
    opcode = (0xEC, 0xA1)[drive]
    for mode, where in ((0x22, (63, 0x0407)), (0x41, (88, 0x0207)), (0x0C, (63, 0x0007))):
        host.taskfile(0, mode, drive=drive)
        host.ch.write(1, 1, 0x03)
        host.ch.write(7, 1, 0xEF)
        host.clock.advance(5000)
        assert not host.alt() & ERR
        host.ch.write(7, 1, opcode)
        host.clock.advance(5000)
        data = host.ch.read_data_block(512)
        assert word(data, 49) & 0x0100 and word(data, 53) & 4
        if mode != 0x0C:
            assert word(data, where[0]) == where[1]
    host.taskfile(0, 0x43, drive=drive)  # Ultra DMA 3 is more than the PIIX3 and PIIX4 have
    host.ch.write(1, 1, 0x03)
    host.ch.write(7, 1, 0xEF)
    host.clock.advance(5000)
    assert host.alt() & ERR


@pytest.mark.parametrize(("opcode", "ext"), [(0xC8, False), (0xC9, False), (0x25, True)])
def test_a_read_fills_the_regions_in_their_order_and_interrupts(host, opcode, ext):
    host.table(*pages(4))
    host.command(opcode, 100, 32, ext=ext)
    assert host.alt() & BSY and host.master.read(2, 1) & 7 == 1
    assert host.end() == (0x04, DRDY | 0x10, 0)
    got = b"".join(host.memory.read(address, size) for address, size in pages(4))
    assert got == pattern()[100 * 512 : 132 * 512]
    assert host.ch.read(2, 1) == 0


@pytest.mark.parametrize(
    ("opcode", "ext", "flushed"), [(0xCA, False, 0), (0xCB, False, 0), (0x35, True, 0), (0x3D, True, 1)]
)
def test_a_write_takes_the_regions_in_their_order(host, opcode, ext, flushed):
    for address, size in pages(4):
        host.memory.write(address, hashlib.sha256(str(address).encode()).digest() * (size // 32))
    host.table(*pages(4))
    host.command(opcode, 7, 32, ext=ext)
    assert host.end() == (0x04, DRDY | 0x10, 0)
    want = b"".join(host.memory.read(address, size) for address, size in pages(4))
    assert bytes(host.disk.data) == pattern()[: 7 * 512] + want + pattern()[39 * 512 :]
    assert host.queue.calls.count(("flush",)) == flushed


def test_the_bus_master_may_be_started_before_the_command_or_long_after(host):
    host.table((DATA, 512))
    host.start(True)
    host.command(0xC8, 5, 1, start=False)
    assert host.end()[0] == 0x04
    host.command(0xC8, 6, 1, start=False)
    host.clock.advance(10**6)
    assert host.alt() & BSY and not host.line.level
    host.start(True)
    assert host.end() == (0x04, DRDY | 0x10, 0)
    assert host.memory.read(DATA, 512) == pattern()[6 * 512 : 7 * 512]


def test_nothing_moves_while_the_function_may_not_master_the_bus_or_in_the_wrong_direction(host):
    host.table((DATA, 512))
    host.enabled = False
    host.command(0xC8, 5, 1)
    host.clock.advance(10**6)
    assert not host.line.level and host.memory.read(DATA, 512) == bytes(512)
    host.enabled = True
    host.master.enable()
    assert host.end()[0] == 0x04
    host.command(0xC8, 5, 1, start=False)
    host.start(False)
    host.clock.advance(10**6)
    assert not host.line.level and host.alt() & BSY


def test_long_transfers_go_in_pieces_and_cross_regions_of_64_kib(host):
    host.table(*((DATA + 0x10000 * n, 0) for n in range(40)))
    host.command(0x25, 3, 5000, ext=True)
    assert host.end()[:2] == (0x05, DRDY | 0x10), "more room than data: still active"
    assert host.memory.read(DATA, 5000 * 512) == pattern()[3 * 512 : 5003 * 512]
    assert len(host.queue.calls) == 3
    host.command(0x35, 1, 5000, ext=True)
    assert host.end()[:2] == (0x05, DRDY | 0x10)
    assert bytes(host.disk.data[512 : 5001 * 512]) == pattern()[3 * 512 : 5003 * 512]


@pytest.mark.parametrize("field", [0, 1, 2, 511, 512, 1024, 65534, 65535])
@pytest.mark.parametrize("sectors", [1, 2, 200])
@pytest.mark.parametrize("write", [False, True])
def test_tables_of_every_size_move_what_they_hold_and_no_more(host, field, sectors, write):
    room = (field & 0xFFFE) or 65536
    host.table((DATA, field))
    host.memory.write(DATA, b"\xa5" * 200 * 512)
    host.command(0xCA if write else 0xC8, 0, sectors)
    host.wait()
    size = sectors * 512
    status = host.master.read(2, 1) & 7
    if room >= size:
        assert (status, host.alt() & DRQ) == (0x04 if room == size else 0x05, 0)
    else:
        assert (status, host.line.level, host.alt()) == (0, False, DRDY | 0x10 | DRQ)
    if write:
        done = min(room, size) // 512 * 512
        assert bytes(host.disk.data[: 200 * 512]) == b"\xa5" * done + pattern()[done : 200 * 512]
        assert bytes(host.disk.data[200 * 512 :]) == pattern()[200 * 512 :]
    else:
        moved = min(room, size)
        assert host.memory.read(DATA, 200 * 512) == pattern()[:moved] + b"\xa5" * (200 * 512 - moved)
    host.ch.write_control(0, 1, 4)
    host.ch.write_control(0, 1, 0)
    host.master.write(0, 1, 0)
    host.clock.advance(10_000)
    host.table((DATA, 512))
    host.command(0xC8, 9, 1)
    assert host.end() == (0x04, DRDY | 0x10, 0), "the next command works"


@pytest.mark.parametrize(
    "regions", [[(RAM - 256, 512)], [(0xFFFFFFFE, 512)], [(DATA, 256), (RAM, 256)]], ids=["end", "far", "second"]
)
@pytest.mark.parametrize("write", [False, True])
def test_a_region_outside_of_memory_is_a_bus_error(host, regions, write):
    host.table(*regions)
    host.command(0xCA if write else 0xC8, 0, 1)
    host.clock.advance(10**6)
    assert host.master.read(2, 1) & 7 == 0x02 and not host.line.level
    assert bytes(host.disk.data) == pattern()


def test_a_table_outside_of_memory_is_a_bus_error(host):
    host.taskfile(0, 1)
    host.ch.write(7, 1, 0xC8)
    host.start(True, at=RAM - 4)
    host.clock.advance(10**6)
    assert host.master.read(2, 1) & 7 == 0x02


def test_a_host_read_error_moves_the_good_sectors_and_names_the_bad_one(host, caplog):
    host.disk.bad = {137}
    host.table((DATA, 0))
    host.command(0xC8, 100, 100)
    master, status, error = host.end()
    assert (master & 4, status & ERR, error) == (4, ERR, 0x40)
    assert [host.ch.read(reg, 1) for reg in (3, 4, 5)] == [137, 0, 0]
    assert host.memory.read(DATA, 37 * 512) == pattern()[100 * 512 : 137 * 512]
    assert len(caplog.records) == 1


def test_host_errors_of_writes_and_flushes_reach_the_guest(host):
    host.disk.bad = {8}
    host.table((DATA, 0x2000))
    host.command(0xCA, 5, 16)
    assert host.end()[1:] == (DRDY | 0x10 | ERR, 0x04)
    host.disk.bad_flush = True
    for opcode in (0xE7, 0xEA):
        host.command(opcode, start=False)
        assert host.alt() & BSY
        host.wait()
        assert host.alt() & ERR and host.ch.read(1, 1) == 0x04


def test_without_the_write_cache_a_write_ends_after_its_flush(host):
    host.taskfile(0, 0)
    host.ch.write(1, 1, 0x82)
    host.ch.write(7, 1, 0xEF)
    host.clock.advance(5000)
    host.table((DATA, 512))
    host.command(0xCA, 5, 1)
    assert host.end()[1] == DRDY | 0x10
    assert host.queue.calls[-2:] == [("write", 5 * 512, 512), ("flush",)]
    host.disk.bad_flush = True
    host.command(0xCA, 5, 1)
    assert host.end()[1] & ERR


@pytest.mark.parametrize("how", ["SRST", "reset"])
@pytest.mark.parametrize("moment", [0, 1000, 19_000, 21_000, 41_000, 61_000])
@pytest.mark.parametrize("opcode", [0xC8, 0xCA, 0x35, 0xE7])
def test_a_reset_with_dma_in_flight_touches_no_other_sector_and_brings_no_late_interrupt(host, how, moment, opcode):
    before = hashlib.sha256(pattern()[:512]).hexdigest()
    host.memory.write(DATA, b"\xee" * 0x20000)
    host.table(*((DATA, 0) for _ in range(40)))
    if opcode == 0x35:
        host.command(opcode, 2000, 3000, ext=True)
    else:
        host.command(opcode, 2000, 200, start=opcode != 0xE7)
    host.clock.advance(moment)
    if how == "SRST":
        host.ch.write_control(0, 1, 0x04)
        host.ch.write_control(0, 1, 0x00)
    else:
        host.ch.reset()
        host.master.reset()
    host.ch.read(7, 1)
    host.clock.advance(10**6)
    assert not host.line.level
    assert hashlib.sha256(host.disk.data[:512]).hexdigest() == before
    assert bytes(host.disk.data[: 2000 * 512]) == pattern()[: 2000 * 512]
    assert bytes(host.disk.data[5000 * 512 :]) == pattern()[5000 * 512 :]
    host.master.write(0, 1, 0)
    host.table((DATA, 512))
    host.command(0xC8, 1, 1)
    assert host.end() == (0x04, DRDY | 0x10, 0)
    assert host.memory.read(DATA, 512) == pattern()[512:1024]


def packet(host, cdb, *, features=1, direction=True):
    host.ch.write(6, 1, 0xB0)
    host.ch.write(1, 1, features)
    host.ch.write(4, 1, 0)
    host.ch.write(5, 1, 0)
    host.ch.write(7, 1, 0xA0)
    assert host.alt() & DRQ
    host.ch.write_data_block(bytes(cdb).ljust(12, b"\0"))
    host.start(direction)


def read_10(block, count):
    return bytes((0x28, 0)) + block.to_bytes(4, "big") + bytes((0,)) + count.to_bytes(2, "big")


def test_packets_move_the_medium_and_replies_by_dma(host):
    host.table(*((DATA + 0x10000 * n, 0) for n in range(30)))
    packet(host, read_10(3, 700))
    assert host.end()[1] == DRDY | 0x10
    assert host.memory.read(DATA, 700 * 2048) == pattern()[3 * 2048 : 703 * 2048]
    assert host.ch.read(2, 1) == 0x03
    packet(host, (0x12, 0, 0, 0, 96))
    assert host.end()[1] == DRDY | 0x10
    assert host.memory.read(DATA + 8, 3) == b"Emu"
    packet(host, (0x00,))
    assert host.end()[1] == DRDY | 0x10


def test_errors_of_a_packet_by_dma_are_sense_data(host):
    host.table((DATA, 0))
    host.cd_queue.disk.bad = {41}
    packet(host, read_10(10, 2))
    assert host.end()[1:] == (DRDY | 0x10 | ERR, 0x30)
    packet(host, read_10(5000, 1))
    assert host.end()[1:] == (DRDY | 0x10 | ERR, 0x54)
    host.cd_queue.disk.bad = set()
    packet(host, read_10(0, 100))
    host.clock.advance(10**6)
    assert host.alt() == DRDY | 0x10 | DRQ and not host.line.level, "less room than data"
    host.ch.write(7, 1, 0x08)
    host.clock.advance(10**6)
    host.master.write(0, 1, 0)
    packet(host, read_10(0, 1))
    assert host.end()[1] == DRDY | 0x10


@pytest.mark.parametrize("loaded", [False, True])
def test_every_command_and_every_packet_ends_on_an_empty_drive_and_on_a_loaded_one(clock, line, loaded):
    host = Host(clock, line, FaultyDisk(pattern(8)), cd=FaultyDisk(pattern(64)))
    if not loaded:
        host.ch.drives[1].change_medium(None)
    host.table((DATA, 0), (DATA, 0))

    def settle():
        host.clock.advance(200_000)
        assert not host.alt() & BSY
        host.ch.read(7, 1)
        host.master.write(0, 1, 0)

    for opcode in range(256):
        host.taskfile(0xFFFFFF, 0xFF, drive=1)
        host.ch.write(7, 1, opcode)
        if host.alt() & BSY:
            host.start(True)
        settle()
        host.ch.write(7, 1, 0x08)
        settle()
    for opcode in range(256):
        for body in (b"\0" * 11, b"\xff" * 11, b"\0\xff\xff\xff\xff\0\0\1\xf8\0\0"):
            for features in (0, 1):
                host.ch.write(6, 1, 0xB0)
                host.ch.write(1, 1, features)
                host.ch.write(7, 1, 0xA0)
                assert host.alt() & DRQ
                host.ch.write_data_block(bytes([opcode]) + body)
                if features:
                    host.start(True)
                settle()
                host.ch.write(7, 1, 0x08)
                settle()
    assert not host.cd_queue.waiting


def test_register_writes_before_a_packet_is_whole_do_not_disturb_it(host):
    host.table((DATA, 2048))
    host.ch.write(6, 1, 0xB0)
    host.ch.write(1, 1, 1)
    host.ch.write(7, 1, 0xA0)
    cdb = read_10(7, 1).ljust(12, b"\0")
    host.ch.write_data_block(cdb[:6])
    host.ch.write(2, 1, 0xFF)
    host.ch.write(4, 1, 0xFF)
    host.ch.write_data_block(cdb[6:])
    host.start(True)
    assert host.end()[1] == DRDY | 0x10
    assert host.memory.read(DATA, 2048) == pattern()[7 * 2048 : 8 * 2048]


def test_a_medium_that_is_changed_under_a_transfer_ends_it(host):
    host.table((DATA, 0))
    packet(host, read_10(0, 8))
    host.ch.drives[1].change_medium(None)
    assert host.end()[1:] == (DRDY | 0x10 | ERR, 0x20)
    host.clock.advance(10**6)
    assert host.memory.read(DATA, 512) == bytes(512)


@pytest.mark.parametrize("moment", [0, 10_000, 21_000, 60_000, 10**6])
@pytest.mark.parametrize("opcode", [0x25, 0x35, 0xE7])
def test_a_transfer_goes_on_after_it_was_saved_at_any_moment(host, clock, lines, moment, opcode):
    def begin(machine):
        machine.memory.write(DATA, b"\x5c" * 2_000_000)
        machine.table(*((DATA + 0x10000 * n, 0) for n in range(30)))
        machine.command(opcode, 50, 3000, ext=True, start=opcode != 0xE7)
        machine.clock.advance(moment)

    def outcome(machine, line, at):
        machine.clock.advance(at - machine.clock.time)
        return machine.ch.save(), machine.master.save(), bytes(machine.memory.ram), bytes(machine.disk.data), line.level

    begin(host)
    other_clock, other_line = type(clock)(), lines()
    other = Host(other_clock, other_line, FaultyDisk(bytes(host.disk.data)), cd=FaultyDisk(pattern()))
    other_clock.time = host.clock.time
    other.memory.ram[:] = host.memory.ram
    other.master.load(host.master.save())
    other.ch.load(host.ch.save())
    assert other.ch.save() == host.ch.save()
    for at in (30_000, 90_000, 3_000_000):
        at += moment
        assert outcome(other, other_line, at)[:4] == outcome(host, host.line, at)[:4]


def test_bus_master_marks_interrupts_and_clears_them_by_ones(lines, clock):
    primary, secondary = lines(), lines()
    master = BusMaster(primary=primary, secondary=secondary, memory=Memory())
    channel = AtaChannel(intr=master.lines[0], clock=clock, drives=[AtaDisk(MemoryDisk(bytes(512)))])
    channel.write(7, 1, 0xE7)
    clock.advance(10_000)
    assert primary.level and master.read(2, 1) == 0x04 and master.read(10, 1) == 0
    master.write(2, 1, 0x64)
    assert master.read(2, 1) == 0x60
    master.write(0, 1, 0x09)
    assert master.read(0, 4) == 0x00610009
    master.write(0, 1, 0)
    assert master.read(2, 1) == 0x60
    master.write(12, 4, 0x12345677)
    assert master.read(12, 4) == 0x12345674


OPERATIONS = st.one_of(
    st.tuples(st.just("w"), st.integers(1, 6), st.integers(0, 255)),
    st.tuples(
        st.just("w"),
        st.just(7),
        st.sampled_from([0x25, 0xC8, 0xCA, 0x35, 0x3D, 0xE7, 0xEA, 0xA0, 0xEC, 0x20, 0x30, 0x90, 0x08, 0xEF, 0xCE]),
    ),
    st.tuples(st.just("m"), st.sampled_from([0, 2]), st.integers(0, 255)),
    st.tuples(st.just("t"), st.just(0), st.sampled_from([0, 0x100, 0x2000, RAM - 8, 0xFFFFFFFC])),
    st.tuples(st.just("d"), st.integers(0, 600), st.integers(0, 255)),
    st.tuples(st.just("k"), st.just(0), st.integers(0, 255)),
    st.tuples(st.just("x"), st.just(0), st.sampled_from([100, 1000, 5000, 25_000, 200_000])),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ops=st.lists(OPERATIONS, max_size=60), bad=st.sets(st.integers(0, 63), max_size=4))
def test_no_sequence_of_accesses_raises_or_leaves_an_unsavable_state(clock, lines, ops, bad):
    clock, line = type(clock)(), lines()
    disk = FaultyDisk(pattern(64))
    disk.bad = bad
    host = Host(clock, line, disk, cd=FaultyDisk(pattern(64)))
    host.table((DATA, 0), (DATA, 513), (DATA, 2), at=0x100)
    for kind, where, value in ops:
        if kind == "w":
            host.ch.write(where, 1, value)
        elif kind == "m":
            host.master.write(where, 1, value)
        elif kind == "t":
            host.master.write(4, 4, value)
        elif kind == "d":
            host.ch.write_data_block(bytes([value]) * where)
            host.ch.read_data_block(where)
        elif kind == "k":
            host.ch.write_control(0, 1, value)
        else:
            clock.advance(value)
        assert host.alt() & (BSY | DRQ) != BSY | DRQ
    for device in (host.ch, host.master):
        saved = device.save()
        device.load(saved)
        assert device.save() == saved
    clock.advance(10**6)
    assert len(disk.data) == 64 * 512


class Slot(EmptySlot):
    """A slot that keeps the functions behind the ranges."""

    def __init__(self, memory):
        super().__init__(memory)
        self.functions = {}

    def range(self, size, read, write, *, io=False, max_width=4, name=""):
        self.functions[name] = (read, write, size, io)
        return super().range(size, read, write, io=io, max_width=max_width, name=name)


def test_the_card_has_both_channels_in_native_mode_on_one_pin(clock, line):
    memory = Memory()
    slot = Slot(memory)
    slot.line = line
    disks = [FaultyDisk(pattern()), None, FaultyDisk(pattern()), None]
    drives = [None if disk is None else AtaDisk(disk, queue=FakeQueue(disk, clock)) for disk in disks]
    card = PiixIdeCard(slot=slot, clock=clock, drives=drives)
    for device in (*card.channels, card.bus_master, card):
        device.reset()
    assert card.config_read(0x08, 4) == 0x01018500 and card.config_read(0, 4) == 0x70108086
    assert card.config_read(0x40, 4) == 0x80008000, "drivers look for enabled channels"
    for number, base in enumerate((0x1000, 0x1010, 0x1020, 0x1030, 0x1040)):
        card.config_write(0x10 + 4 * number, 4, base)
    card.config_write(4, 2, 0x05)
    assert slot.ranges == {
        "ide0": 0x1000,
        "ide0 control": 0x1010,
        "ide1": 0x1020,
        "ide1 control": 0x1030,
        "ide bus master": 0x1040,
    }
    memory.write(TABLE, DATA.to_bytes(4, "little") + (0x80000000 | 512).to_bytes(4, "little"))
    master = slot.functions["ide bus master"]
    for channel in range(2):
        read, write, _, _ = slot.functions[f"ide{channel}"]
        for reg, value in ((6, 0xE0), (2, 1), (3, 40 + channel), (4, 0), (5, 0), (7, 0xC8)):
            write(reg, 1, value)
        master[1](8 * channel + 4, 4, TABLE)
        master[1](8 * channel, 1, 9)
        clock.advance(100_000)
        control = slot.functions[f"ide{channel} control"][0]
        assert (control(2, 1), control(0, 1)) == (0x50, 0xFF)
        assert line.level and memory.read(DATA, 4) == bytes((40 + channel, 0, 0, 0))
        saved = card.save()
        assert read(7, 1) == 0x50 and not line.level
        card.load(saved)
        card.config_write(4, 2, 0x01)
        card.config_write(4, 2, 0x05)
        card.interrupt(False)
