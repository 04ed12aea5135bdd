"""The CD-ROM drive, through its channel."""

from __future__ import annotations

import errno
import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.ata import AtaChannel
from devices.atapi import AtapiCdrom
from devices.backends import MemoryDisk

BSY, DRQ, ERR = 0x80, 0x08, 0x01
BLOCKS = 50


def medium(blocks=BLOCKS):
    return b"".join(n.to_bytes(4, "little") * 512 for n in range(blocks))


class FaultyDisk(MemoryDisk):
    def read(self, offset, length):
        raise OSError(errno.EIO, "injected")


class Host:
    def __init__(self, clock, line, disk):
        self.clock, self.line = clock, line
        self.cd = AtapiCdrom(disk)
        self.ch = AtaChannel(intr=line, clock=clock, drives=[self.cd])

    def wait(self):
        for _ in range(100):
            if not self.ch.read_control(0, 1) & BSY:
                return self.ch.read_control(0, 1)
            self.clock.advance(500)
        raise AssertionError("BSY stays")

    def command(self, opcode, *regs):
        for reg, value in regs:
            self.ch.write(reg, 1, value)
        self.ch.write(7, 1, opcode)

    def packet(self, *cdb, limit=0xFFFE):
        """Send a packet and take its reply. Gives (status, reply, sizes of the blocks)."""
        self.command(0xA0, (1, 0), (4, limit & 0xFF), (5, limit >> 8))
        assert self.ch.read_control(0, 1) & (BSY | DRQ) == DRQ
        assert self.ch.read(2, 1) & 3 == 1
        assert not self.line.level
        self.ch.write_data_block(bytes(cdb).ljust(12, b"\0"))
        data, sizes = b"", []
        while self.wait() & DRQ:
            assert self.line.level
            assert self.ch.read(2, 1) & 3 == 2
            self.ch.read(7, 1)
            size = self.ch.read(4, 1) | self.ch.read(5, 1) << 8
            sizes.append(size)
            data += self.ch.read_data_block(size + (size & 1))[:size]
        assert self.line.level
        assert self.ch.read(2, 1) & 3 == 3
        return self.ch.read(7, 1), data, sizes

    def good(self, *cdb, limit=0xFFFE):
        status, data, _ = self.packet(*cdb, limit=limit)
        assert not status & ERR
        return data

    def sense(self, *cdb):
        """Of a packet that fails: (key, code, qualifier), checked against the error register."""
        status, data, _ = self.packet(*cdb)
        assert status & ERR and not data
        key = self.ch.read(1, 1) >> 4
        reply = self.good(0x03, 0, 0, 0, 18)
        assert reply[2] == key
        return reply[2], reply[12], reply[13]


@pytest.fixture
def host(clock, line):
    return Host(clock, line, MemoryDisk(medium()))


@pytest.fixture
def empty(clock, line):
    return Host(clock, line, None)


def test_the_packet_signature_stands_after_reset_and_after_a_refused_identify(host):
    signature = [1, 1, 0x14, 0xEB]
    assert [host.ch.read(reg, 1) for reg in (2, 3, 4, 5)] == signature
    assert host.ch.read(7, 1) == 0
    host.command(0xEC, (4, 0), (5, 0))
    assert host.wait() & ERR
    assert host.ch.read(1, 1) == 4
    assert [host.ch.read(reg, 1) for reg in (2, 3, 4, 5)] == signature


def test_identify_packet_device_describes_a_cdrom_without_dma(host):
    host.command(0xA1)
    assert host.wait() & DRQ and host.line.level
    data = host.ch.read_data_block(512)
    assert data[0] | data[1] << 8 == 0x85C0
    assert data[99] & 1 == 0 and data[126:128] == data[176:178] == bytes(2)
    assert host.ch.read(7, 1) & DRQ == 0


def test_inquiry_names_a_removable_cdrom(host):
    data = host.good(0x12, 0, 0, 0, 36)
    assert len(data) == 36 and data[0] == 5 and data[1] & 0x80
    assert data[8:32] == b"Emu     Emu CD-ROM      "


def test_read_capacity_gives_the_last_block_and_the_block_size(host):
    assert host.good(0x25) == (BLOCKS - 1).to_bytes(4, "big") + (2048).to_bytes(4, "big")


@pytest.mark.parametrize(
    "cdb",
    [
        (0x28, 0, 0, 0, 0, 7, 0, 0, 3),
        (0xA8, 0, 0, 0, 0, 7, 0, 0, 0, 3),
        (0xBE, 0, 0, 0, 0, 7, 0, 0, 3, 0x10),
    ],
)
def test_reads_give_the_blocks_asked_for(host, cdb):
    assert host.good(*cdb) == medium()[7 * 2048 : 10 * 2048]


@pytest.mark.parametrize(
    "limit,sizes", [(2048, [2048] * 4), (5000, [5000, 3192]), (0xFFFF, [8192]), (4097, [4096] * 2)]
)
def test_the_byte_count_limit_divides_the_data(host, limit, sizes):
    _, data, got = host.packet(0x28, 0, 0, 0, 0, 1, 0, 0, 4, limit=limit)
    assert got == sizes
    assert data == medium()[2048 : 5 * 2048]


def test_a_medium_that_is_not_whole_blocks_ends_in_zeros(clock, line):
    host = Host(clock, line, MemoryDisk(b"x" * 2560))
    assert host.good(0x25)[:4] == bytes((0, 0, 0, 1))
    assert host.good(0x28, 0, 0, 0, 0, 0, 0, 0, 2) == b"x" * 2560 + bytes(1536)


@pytest.mark.parametrize(
    "cdb", [(0x28, 0, 0, 0, 0, BLOCKS, 0, 0, 1), (0xA8, 0, 255, 255, 255, 255, 255, 255, 255, 255)]
)
def test_reads_past_the_end_are_illegal_requests(host, cdb):
    assert host.sense(*cdb) == (5, 0x21, 0)


def test_unknown_packets_and_pages_are_illegal_requests(host):
    assert host.sense(0x2A) == (5, 0x20, 0)
    assert host.sense(0x5A, 0, 0x1C, 0, 0, 0, 0, 0, 64) == (5, 0x24, 0)
    assert host.good(0x03, 0, 0, 0, 18)[2] == 0


def test_an_empty_drive_says_so(empty):
    for cdb in ((0x00,), (0x25,), (0x28, 0, 0, 0, 0, 0, 0, 0, 1), (0x43, 0, 0, 0, 0, 0, 0, 0, 12)):
        assert empty.sense(*cdb) == (2, 0x3A, 0)
    assert len(empty.good(0x12, 0, 0, 0, 36)) == 36


def test_a_new_medium_raises_one_unit_attention(empty):
    empty.cd.change_medium(MemoryDisk(medium()))
    assert empty.sense(0x00) == (6, 0x28, 0)
    assert empty.good(0x00) == b""
    assert empty.good(0x25)[:4] == (BLOCKS - 1).to_bytes(4, "big")


def test_the_tray_opens_unless_locked(host):
    host.good(0x1E, 0, 0, 0, 1)
    assert host.sense(0x1B, 0, 0, 0, 2) == (5, 0x53, 2)
    host.good(0x1E, 0, 0, 0, 0)
    host.good(0x1B, 0, 0, 0, 2)
    assert host.sense(0x00) == (2, 0x3A, 2)
    assert host.good(0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8)[5] == 1
    host.good(0x1B, 0, 0, 0, 3)
    assert host.good(0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8)[4:6] == bytes((2, 2))
    assert host.good(0x00) == b""


def test_the_table_of_contents_has_one_data_track_and_the_lead_out(host):
    toc = host.good(0x43, 0, 0, 0, 0, 0, 0, 0, 255)
    assert toc == bytes((0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0, 0, 0x16, 0xAA, 0, 0, 0, 0, BLOCKS))
    in_msf = host.good(0x43, 2, 0, 0, 0, 0, 0xAA, 0, 255)
    assert in_msf[8:12] == bytes((0, 0, 2, BLOCKS))
    assert host.good(0x43, 0, 0, 0, 0, 0, 0, 0, 4) == toc[:4]


def test_mode_sense_configuration_and_disc_information_have_consistent_lengths(host):
    mode = host.good(0x5A, 0, 0x2A, 0, 0, 0, 0, 0, 255)
    assert int.from_bytes(mode[:2], "big") == len(mode) - 2 and mode[8] == 0x2A and mode[9] == len(mode) - 10
    assert host.good(0x1A, 0, 0x3F, 0, 255)[0] == len(host.good(0x1A, 0, 0x3F, 0, 255)) - 1
    config = host.good(0x46, 0, 0, 0, 0, 0, 0, 1, 0)
    assert int.from_bytes(config[:4], "big") == len(config) - 4 and config[6:8] == bytes((0, 8))
    info = host.good(0x51, 0, 0, 0, 0, 0, 0, 0, 255)
    assert int.from_bytes(info[:2], "big") == len(info) - 2


def test_a_host_read_error_is_a_medium_error_and_one_line(clock, line, caplog):
    host = Host(clock, line, FaultyDisk(medium()))
    with caplog.at_level(logging.ERROR, "emu.disk"):
        for _ in range(3):
            assert host.sense(0x28, 0, 0, 0, 0, 1, 0, 0, 1) == (3, 0x11, 0)
    assert len(caplog.records) == 1


def test_packets_by_dma_are_aborted(host):
    host.command(0xA0, (1, 1))
    assert host.wait() & ERR and host.ch.read(1, 1) == 4


def test_device_reset_works_in_the_middle_of_a_command(host):
    host.command(0xA0, (1, 0), (4, 0), (5, 8))
    host.ch.write_data_block(bytes((0x28, 0, 0, 0, 0, 0, 0, 0, 1)).ljust(12, b"\0"))
    assert host.ch.read_control(0, 1) == BSY
    host.command(0x08)
    assert host.wait() == 0 and not host.line.level
    assert [host.ch.read(reg, 1) for reg in (1, 4, 5)] == [1, 0x14, 0xEB]
    assert host.good(0x00) == b""


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cdbs=st.lists(
        st.tuples(
            st.sampled_from(
                [0, 3, 0x12, 0x1A, 0x1B, 0x1E, 0x25, 0x28, 0x2B, 0x43, 0x46, 0x4A, 0x51, 0x5A, 0xA8, 0xBD, 0xBE]
            )
            | st.integers(0, 255),
            st.binary(min_size=11, max_size=11),
            st.integers(0, 65535),
            st.integers(0, 4000),
            st.sampled_from([0xA0, 0xA1, 0x08, 0xEC, 0x90, 0xEF, 0x00]),
        ),
        max_size=12,
    ),
    loaded=st.booleans(),
)
def test_no_packet_raises_or_leaves_an_unsavable_state(clock, lines, cdbs, loaded):
    clock = type(clock)()
    host = Host(clock, lines(), MemoryDisk(medium()) if loaded else None)
    for opcode, rest, limit, take, command in cdbs:
        host.command(command, (1, rest[0] & 3 if rest[1] & 1 else 0), (4, limit & 0xFF), (5, limit >> 8))
        host.ch.write_data_block(bytes((opcode,)) + rest)
        clock.advance(10_000)
        host.ch.read_data_block(take)
        clock.advance(10_000)
        saved = host.ch.save()
        host.ch.load(saved)
        assert host.ch.save() == saved
