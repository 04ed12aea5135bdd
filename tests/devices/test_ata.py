"""The IDE channel and the hard disk, driven as drivers drive them."""

from __future__ import annotations

import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.ata import AtaChannel, AtaDisk
from devices.backends import MemoryDisk
from tests.devices.faulty import FaultyDisk

BSY, DRDY, DRQ, ERR = 0x80, 0x40, 0x08, 0x01
SECTORS = 4000


def pattern(sectors=SECTORS):
    return b"".join((n.to_bytes(4, "little") * 128) for n in range(sectors))


class Host:
    """A driver's view of one channel."""

    def __init__(self, clock, line, *disks):
        self.clock, self.line = clock, line
        self.disks = disks
        drives = [None if disk is None else AtaDisk(disk) for disk in disks]
        self.ch = AtaChannel(intr=line, clock=clock, drives=drives)

    def out(self, reg, value):
        self.ch.write(reg, 1, value)

    def inb(self, reg):
        return self.ch.read(reg, 1)

    def alt(self):
        return self.ch.read_control(0, 1)

    def wait(self):
        """Until BSY ends; gives the status without acknowledging."""
        for _ in range(100):
            if not self.alt() & BSY:
                return self.alt()
            self.clock.advance(500)
        raise AssertionError("BSY stays")

    def command(self, opcode, lba=0, count=1, *, drive=0, features=0):
        self.out(6, 0xE0 | drive << 4 | lba >> 24 & 0x0F)
        self.out(1, features)
        self.out(2, count & 0xFF)
        for reg, shift in ((3, 0), (4, 8), (5, 16)):
            self.out(reg, lba >> shift & 0xFF)
        self.out(7, opcode)

    def command48(self, opcode, lba, count, *, drive=0):
        self.out(6, 0x40 | drive << 4)
        self.out(2, count >> 8 & 0xFF)
        for reg, shift in ((3, 24), (4, 32), (5, 40)):
            self.out(reg, lba >> shift & 0xFF)
        self.out(2, count & 0xFF)
        for reg, shift in ((3, 0), (4, 8), (5, 16)):
            self.out(reg, lba >> shift & 0xFF)
        self.out(7, opcode)

    def words(self, nbytes):
        return b"".join(self.ch.read(0, 2).to_bytes(2, "little") for _ in range(nbytes // 2))

    def pio_in(self, sectors, block=1):
        data = b""
        while sectors:
            assert self.wait() & (DRQ | ERR) == DRQ
            assert self.line.level
            self.inb(7)
            assert not self.line.level
            n = min(block, sectors)
            data += self.ch.read_data_block(512 * n)
            sectors -= n
        assert self.alt() & (BSY | DRQ) == 0
        return data

    def pio_out(self, data, block=1):
        first = True
        while data:
            assert self.wait() & (DRQ | ERR) == DRQ
            assert self.line.level is not first
            self.inb(7)
            self.ch.write_data_block(data[: 512 * block])
            data = data[512 * block :]
            first = False
        status = self.wait()
        assert self.line.level
        self.inb(7)
        return status

    def error(self):
        status = self.wait()
        assert status & ERR and not status & DRQ
        assert self.line.level
        self.inb(7)
        return self.inb(1)


@pytest.fixture
def host(clock, line):
    return Host(clock, line, FaultyDisk(pattern()))


def word(data, index, words=1):
    return int.from_bytes(data[2 * index : 2 * index + 2 * words], "little")


def test_identify_tells_size_and_pio_modes_and_no_dma(host):
    host.command(0xEC)
    data = host.pio_in(1)
    assert word(data, 60, 2) == word(data, 100, 4) == SECTORS
    assert word(data, 49) & 0x0100 == 0
    assert word(data, 63) == word(data, 88) == 0
    assert word(data, 59) == 0x0110
    assert data[54:94] == b"mE uahdrd si k".ljust(40)
    assert sum(data) & 0xFF == 0


def test_busy_holds_until_the_interrupt(host):
    host.command(0x20)
    assert host.alt() == BSY and not host.line.level
    host.clock.advance(10_000)
    assert host.alt() & (BSY | DRQ) == DRQ and host.line.level


def test_alternate_status_leaves_the_interrupt_and_status_clears_it(host):
    host.command(0xE7)
    host.clock.advance(10_000)
    host.alt()
    assert host.line.level
    host.inb(7)
    assert not host.line.level


@pytest.mark.parametrize("opcode", [0x20, 0x21])
def test_lba28_reads_the_sectors_asked_for(host, opcode):
    host.command(opcode, 1234, 3)
    assert host.pio_in(3) == pattern()[1234 * 512 : 1237 * 512]
    assert host.inb(3) == 1236 & 0xFF and host.inb(4) == 1236 >> 8 and host.inb(2) == 0


def test_a_count_of_zero_is_256_sectors(host):
    host.command(0x20, 100, 0)
    assert host.pio_in(256) == pattern()[100 * 512 : 356 * 512]


def test_chs_addresses_follow_the_set_geometry(host):
    host.out(6, 0xA0 | 4)  # five heads
    host.out(2, 10)
    host.out(7, 0x91)
    host.wait()
    host.inb(7)
    host.out(2, 1)
    host.out(3, 7)
    host.out(4, 2)
    host.out(5, 0)
    host.out(6, 0xA0 | 3)
    host.out(7, 0x20)
    lba = (2 * 5 + 3) * 10 + 6
    assert host.pio_in(1) == pattern()[lba * 512 : lba * 512 + 512]


@pytest.mark.parametrize("sector,head", [(0, 0), (64, 0)])
def test_a_chs_sector_outside_the_track_is_not_found(host, sector, head):
    host.out(6, 0xA0 | head)
    host.out(2, 1)
    host.out(3, sector)
    host.out(4, 0)
    host.out(5, 0)
    host.out(7, 0x20)
    assert host.error() == 0x10


def test_lba48_reads_and_shows_the_previous_bytes_through_hob(host):
    host.command48(0x24, 3000, 300)
    assert host.pio_in(300) == pattern()[3000 * 512 : 3300 * 512]
    host.command48(0x27, 0x123456789A, 0x0201)
    host.wait()
    assert host.inb(3) == (SECTORS - 1) & 0xFF
    host.ch.write_control(0, 1, 0x80)
    assert (host.inb(2), host.inb(3)) == (0x02, 0)
    host.out(1, 0)
    assert host.inb(2) == 0x01


def test_read_multiple_gives_sixteen_sectors_for_each_interrupt(host):
    edges = host.line.edges
    host.command(0xC4, 8, 40)
    assert host.pio_in(40, block=16) == pattern()[8 * 512 : 48 * 512]
    assert host.line.edges == edges + 3


def test_write_asks_for_its_first_block_at_once_and_interrupts_after_each(host):
    data = bytes(range(256)) * 6
    host.command(0x30, 50, 3)
    assert host.alt() == 0x58 and not host.line.level
    edges = host.line.edges
    assert host.pio_out(data) & (ERR | DRQ) == 0
    assert host.line.edges == edges + 3
    assert host.disks[0].read(50 * 512, 1536) == data
    assert host.disks[0].read(49 * 512, 512) == pattern()[49 * 512 : 50 * 512]
    assert host.disks[0].read(53 * 512, 512) == pattern()[53 * 512 : 54 * 512]


@pytest.mark.parametrize("opcode,block", [(0x34, 1), (0x39, 8)])
def test_extended_writes_store_their_data(host, opcode, block):
    host.command(0xC6, 0, 8)
    host.wait()
    data = b"1234567\n" * 64 * 20
    host.command48(opcode, 2000, 20)
    assert host.pio_out(data, block) & ERR == 0
    assert host.disks[0].read(2000 * 512, len(data)) == data


def test_words_and_double_words_may_be_mixed_at_the_data_port(host):
    host.command(0x20, 7)
    host.wait()
    got = host.words(4) + host.ch.read(0, 4).to_bytes(4, "little") + host.words(504)
    assert got == pattern()[7 * 512 : 8 * 512]
    host.command(0x30, 7)
    for _ in range(64):
        host.ch.write(0, 4, 0x44434241)
        host.ch.write(0, 2, 0x4645)
        host.ch.write(0, 2, 0x4847)
    host.wait()
    assert host.disks[0].read(7 * 512, 512) == b"ABCDEFGH" * 64


def test_block_transfers_equal_single_word_transfers(host):
    host.command(0x20, 5, 2)
    host.wait()
    assert host.ch.read_data_block(600) == pattern()[5 * 512 : 6 * 512] + bytes(88)
    host.wait()
    assert host.ch.read_data_block(100) == pattern()[6 * 512 : 6 * 512 + 100]
    assert host.words(412) == pattern()[6 * 512 + 100 : 7 * 512]
    assert host.ch.read_data_block(6) == bytes(6)


@pytest.mark.parametrize(
    "opcode,lba,count",
    [(0x20, SECTORS, 1), (0x20, SECTORS - 1, 2), (0xC4, SECTORS - 255, 0), (0x30, SECTORS, 1), (0x40, SECTORS, 1)],
)
def test_ranges_past_the_end_are_refused_before_anything_moves(host, opcode, lba, count):
    host.command(opcode, lba, count)
    assert host.error() == 0x10
    assert bytes(host.disks[0].data) == pattern()


@pytest.mark.parametrize("lba,count", [((1 << 48) - 1, 1), (SECTORS - 1, 2), (0, 0)])
def test_extended_ranges_past_the_end_are_refused(host, lba, count):
    for opcode in (0x24, 0x29, 0x34, 0x39, 0x42):
        host.command48(opcode, lba, count)
        assert host.error() == 0x10


def test_a_host_read_error_is_uncorrectable_at_its_sector_after_the_good_ones(host, caplog):
    host.disks[0].bad = {20}
    with caplog.at_level(logging.ERROR, "emu.disk"):
        for _ in range(3):
            host.command(0xC4, 10, 16)
            assert host.wait() & DRQ
            assert host.ch.read_data_block(512 * 10) == pattern()[10 * 512 : 20 * 512]
            assert host.error() == 0x40
            assert host.inb(3) == 20
    assert len(caplog.records) == 1


def test_a_host_write_error_aborts_at_its_sector(host):
    host.disks[0].bad = {31}
    host.command(0x30, 30, 3)
    host.ch.write_data_block(b"a" * 512)
    assert host.wait() & DRQ
    host.inb(7)
    host.ch.write_data_block(b"b" * 512)
    assert host.error() == 0x04
    assert host.inb(3) == 31


def test_verify_finds_the_unreadable_sector(host):
    host.command(0x40, 0, 200)
    assert host.wait() & ERR == 0
    host.disks[0].bad = {150}
    host.command(0x40, 0, 200)
    assert host.error() == 0x40
    assert host.inb(3) == 150


def test_a_write_to_a_read_only_disk_is_aborted_as_write_protected(clock, line):
    host = Host(clock, line, MemoryDisk(pattern(), read_only=True))
    for opcode in (0x30, 0xC5):
        host.command(opcode, 0, 1)
        assert host.error() == 0x44
    host.command48(0x34, 0, 1)
    assert host.error() == 0x44


@pytest.mark.parametrize("opcode", [0xE7, 0xEA])
def test_flush_cache_reaches_the_host_and_its_failure_the_guest(host, opcode):
    host.command(opcode)
    assert host.wait() & ERR == 0
    assert host.disks[0].flushes == 1
    host.disks[0].bad_flush = True
    host.command(opcode)
    assert host.error() == 0x04


def test_without_the_write_cache_each_write_is_flushed(host):
    host.command(0xEF, features=0x82)
    host.wait()
    before = host.disks[0].flushes
    host.command(0x30, 0, 2)
    host.pio_out(bytes(1024))
    assert host.disks[0].flushes == before + 1


def test_set_multiple_takes_powers_of_two_up_to_sixteen(host):
    for count, error in ((8, 0), (16, 0), (3, 4), (32, 4)):
        host.command(0xC6, 0, count)
        host.wait()
        assert host.inb(1) == error
    host.command(0xC6, 0, 0)
    host.wait()
    host.command(0xC4)
    assert host.error() == 0x04


@pytest.mark.parametrize("mode,error", [(0x00, 0), (0x0C, 0), (0x0D, 4), (0x22, 4), (0x45, 4)])
def test_only_pio_transfer_modes_can_be_set(host, mode, error):
    host.command(0xEF, 0, mode, features=3)
    host.wait()
    assert host.inb(1) == error


@pytest.mark.parametrize("opcode", [0x00, 0x08, 0xC8, 0xCA, 0x25, 0x35, 0xA0, 0xA1, 0xB0, 0xF9, 0xFF])
def test_commands_that_the_disk_does_not_have_are_aborted(host, opcode):
    host.command(opcode)
    assert host.error() == 0x04


@pytest.mark.parametrize("opcode", [0x10, 0x1F, 0x70, 0xE0, 0xE1, 0xE2, 0xE3, 0x94, 0x95, 0x96, 0x97])
def test_recalibrate_seek_idle_and_standby_succeed(host, opcode):
    host.command(opcode)
    assert host.wait() == 0x50


def test_check_power_mode_says_active(host):
    host.command(0xE5)
    host.wait()
    assert host.inb(2) == 0xFF


def test_soft_reset_shows_busy_and_then_the_signature_and_no_interrupt(host):
    host.command(0x20, 5, 5)
    host.wait()
    edges = host.line.edges
    host.ch.write_control(0, 1, 0x04)
    assert host.alt() == BSY and not host.line.level
    host.out(2, 0x77)
    host.clock.advance(1_000_000)
    assert host.alt() == BSY
    host.ch.write_control(0, 1, 0)
    assert host.wait() == 0x50
    assert [host.inb(reg) for reg in range(1, 7)] == [1, 1, 1, 0, 0, 0xA0]
    assert host.line.edges == edges


def test_device_diagnostic_passes_selects_drive_0_and_interrupts(host):
    host.command(0x90, 0x123456, 9, drive=1)
    assert host.wait() == 0x50
    assert host.line.level
    assert [host.inb(reg) for reg in range(1, 7)] == [1, 1, 1, 0, 0, 0xA0]


def test_nien_holds_the_interrupt_back_until_it_is_cleared(host):
    host.ch.write_control(0, 1, 0x02)
    host.command(0xE7)
    host.clock.advance(10_000)
    assert not host.line.level
    host.ch.write_control(0, 1, 0)
    assert host.line.level


def test_drive_0_answers_for_an_absent_drive_1_with_status_0(host):
    host.out(6, 0xF0)
    host.out(2, 0x55)
    host.out(3, 0xAA)
    assert (host.inb(2), host.inb(3)) == (0x55, 0xAA)
    assert host.inb(7) == host.alt() == 0
    host.out(7, 0xEC)
    host.clock.advance(100_000)
    assert host.inb(7) == 0 and host.ch.read(0, 2) == 0 and not host.line.level
    host.out(6, 0xE0)
    assert host.inb(7) == 0x50


def test_a_channel_without_drives_reads_zeros(clock, line):
    host = Host(clock, line)
    for drive in (0xA0, 0xB0):
        host.out(6, drive)
        host.out(2, 0x55)
        assert [host.inb(reg) for reg in range(1, 8)] == [0] * 7
    host.out(7, 0xEC)
    host.out(7, 0x90)
    host.clock.advance(100_000)
    assert not line.level


def test_both_drives_latch_the_registers_and_only_the_selected_one_executes(clock, line):
    host = Host(clock, line, MemoryDisk(pattern(64)), MemoryDisk(b"1" * 512 * 128))
    host.command(0x20, 1, 1, drive=1)
    assert host.pio_in(1) == b"1" * 512
    host.command(0xEC, drive=1)
    assert word(host.pio_in(1), 60, 2) == 128
    host.out(6, 0xE0)
    host.out(7, 0xEC)
    assert word(host.pio_in(1), 60, 2) == 64


def test_the_interrupt_of_a_drive_that_is_not_selected_waits(clock, line):
    host = Host(clock, line, MemoryDisk(pattern(64)), MemoryDisk(pattern(64)))
    host.command(0xE7, drive=0)
    host.clock.advance(10_000)
    host.out(6, 0xF0)
    assert not line.level
    host.out(6, 0xE0)
    assert line.level


def test_xv6_disk_driver_sequence_works(host):
    """xv6's idestart and ideintr: outsl directly after the command, no wait for DRQ."""
    assert host.inb(7) & 0xC0 == 0x40
    host.ch.write_control(0, 1, 0)
    host.command(0x30, 700, 1)
    host.ch.write_data_block(b"xv6!" * 128)
    host.clock.advance(10_000)
    assert host.line.level and host.inb(7) & 0xE1 == 0x40
    host.command(0x20, 700, 1)
    host.clock.advance(10_000)
    assert host.line.level and host.inb(7) & 0xE1 == 0x40
    assert host.ch.read_data_block(512) == b"xv6!" * 128


def test_a_saved_channel_continues_in_the_middle_of_a_transfer(host, clock, lines):
    host.command(0x20, 40, 2)
    host.wait()
    host.inb(7)
    start = host.ch.read_data_block(100)
    saved = host.ch.save()
    other = Host(clock, lines(), MemoryDisk(pattern()))
    other.ch.load(saved)
    assert start + other.ch.read_data_block(412) == pattern()[40 * 512 : 41 * 512]
    again = other.ch.save()
    third = Host(clock, lines(), MemoryDisk(pattern()))
    third.ch.load(again)
    clock.advance(10_000)
    assert third.line.level
    assert third.ch.read_data_block(512) == pattern()[41 * 512 : 42 * 512]


def test_a_saved_state_that_does_not_fit_is_refused_whole(host):
    host.command(0x30, 40, 2)
    saved = host.ch.save()
    before = host.ch.save()
    saved["state"]["drives"][0]["lba"] = SECTORS - 1
    with pytest.raises(ValueError, match="beyond the end of the disk"):
        host.ch.load(saved)
    assert host.ch.save() == before


def test_more_than_two_drives_or_one_drive_twice_are_refused(clock, line):
    drive = AtaDisk(MemoryDisk(bytes(512)))
    with pytest.raises(ValueError):
        AtaChannel(intr=line, clock=clock, drives=[None, None, None])
    AtaChannel(intr=line, clock=clock, drives=[drive])
    with pytest.raises(ValueError):
        AtaChannel(intr=line, clock=clock, drives=[drive])


OPERATIONS = st.one_of(
    st.tuples(st.just("w"), st.integers(0, 7), st.sampled_from([1, 2, 4]), st.integers(0, 0xFFFFFFFF)),
    st.tuples(st.just("c"), st.just(7), st.just(1), st.sampled_from([0x20, 0x24, 0x30, 0x34, 0xC4, 0xC5, 0xEC, 0x40])),
    st.tuples(st.just("r"), st.integers(0, 7), st.sampled_from([1, 2, 4]), st.just(0)),
    st.tuples(st.just("k"), st.just(0), st.just(1), st.integers(0, 255)),
    st.tuples(st.just("b"), st.just(0), st.just(1), st.integers(0, 20000)),
    st.tuples(st.just("o"), st.just(0), st.just(1), st.integers(0, 20000)),
    st.tuples(st.just("t"), st.just(0), st.just(1), st.integers(0, 5000)),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ops=st.lists(OPERATIONS, max_size=60), bad=st.sets(st.integers(0, 63), max_size=4), second=st.booleans())
def test_no_sequence_of_accesses_raises_or_leaves_an_unsavable_state(clock, lines, ops, bad, second):
    clock, line = type(clock)(), lines()
    disk = FaultyDisk(pattern(64))
    disk.bad = bad
    host = Host(clock, line, disk, MemoryDisk(pattern(8)) if second else None)
    for kind, offset, width, value in ops:
        if kind in "wc":
            host.ch.write(offset, width, value & (1 << (8 * width)) - 1)
        elif kind == "r":
            assert 0 <= host.ch.read(offset, width) < 1 << (8 * width)
        elif kind == "k":
            host.ch.write_control(0, 1, value)
            assert 0 <= host.ch.read_control(0, 1) < 256
        elif kind == "b":
            assert len(host.ch.read_data_block(value)) == value
        elif kind == "o":
            host.ch.write_data_block(bytes(value))
        else:
            clock.advance(value)
        status = host.alt()
        assert status & (BSY | DRQ) != BSY | DRQ
    saved = host.ch.save()
    host.ch.load(saved)
    assert host.ch.save() == saved
    assert len(disk.data) == 64 * 512
