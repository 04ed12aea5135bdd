"""The virtio disk: requests in all dialects, what it refuses, and what becomes of requests that are under way."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from devices.backends import MemoryDisk
from devices.virtio.blk import (
    CONFIG_WCE,
    DISCARD,
    DISCARD_SECTORS,
    FLUSH,
    FLUSH_CACHE,
    GET_ID,
    IN,
    MULTI_QUEUE,
    OUT,
    READ_ONLY,
    WRITE_ZEROES,
    WRITEBACK,
    ZERO_SECTORS,
    Blk,
)
from tests.devices.fake_queue import FakeQueue
from tests.devices.virtio.guest import DIALECTS, MODERN, NAMES, Dialect, Guest, Memory

SECTORS = 64


class Queue(FakeQueue):
    """With discard and write-zeroes, and a host that can fail."""

    fail = False

    def read(self, offset: int, length: int, done: Any, *, at: Any = None) -> Any:
        if self.fail:
            return self._add(("read", offset, length), self._broken, done, at)
        return super().read(offset, length, done, at=at)

    def _broken(self) -> None:
        raise OSError(5, "the host's disk is broken")

    def discard(self, offset: int, length: int, done: Any, *, at: Any = None) -> Any:
        return self._add(("discard", offset, length), lambda: None, done, at)

    def write_zeroes(self, offset: int, length: int, unmap: bool, done: Any, *, at: Any = None) -> Any:
        return self._add(("zero", offset, length, unmap), lambda: self.disk.write(offset, bytes(length)), done, at)


class Bench:
    def __init__(self, clock: Any, dialect: Dialect = MODERN, *, read_only: bool = False, **options: Any) -> None:
        self.clock = clock
        self.data = bytes(n // 512 for n in range(512 * SECTORS))
        self.disk = MemoryDisk(self.data, read_only)
        self.queue = Queue(self.disk, clock)
        self.memory = Memory()
        big = dialect.big_endian
        self.blk = Blk(memory=self.memory, disk=self.queue, serial="EMU 1", big_endian=big, **options)
        self.guest = Guest(self.blk, self.memory, dialect)

    def ask(self, kind: int, sector: int, *parts: bytes | int) -> tuple[int, bytes, int]:
        """A request from beginning to end: its status, the data in front of it, the length that the device says."""
        self.guest.put(0, self.guest.pack("IIQ", kind, 0, sector), *parts, 1)
        self.clock.advance(200_000)
        (used,) = self.guest.used(0)
        whole = sum(part for part in parts if isinstance(part, int)) + 1
        parts_at = self.memory.read(self.guest.room - whole, whole)
        return parts_at[-1], parts_at[:-1], used.length


@pytest.mark.parametrize("dialect", DIALECTS, ids=NAMES)
def test_sectors_are_read_and_written_in_every_dialect(clock: Any, dialect: Dialect) -> None:
    b = Bench(clock, dialect)
    assert b.ask(IN, 3, 512, 512) == (0, bytes([3]) * 512 + bytes([4]) * 512, 1025)
    assert b.ask(OUT, 7, b"a" * 512, b"b" * 512)[0] == 0
    assert b.disk.read(7 * 512, 1024) == b"a" * 512 + b"b" * 512
    assert b.ask(GET_ID, 0, 20) == (0, b"EMU 1".ljust(20, b"\0"), 21)
    assert b.ask(FLUSH_CACHE, 0)[0] == 0 and ("flush",) in b.queue.calls
    capacity = int.from_bytes(
        bytes(b.blk.read_config(n, 1) for n in range(8)), "big" if dialect.order == ">" else "little"
    )
    assert capacity == SECTORS


@pytest.mark.parametrize(
    ("kind", "sector", "parts", "status"),
    [
        (IN, SECTORS, (512,), 1),
        (IN, SECTORS - 1, (1024,), 1),
        (IN, 1 << 55, (512,), 1),
        (IN, (1 << 64) - 1, (512,), 1),
        (IN, 0, (511,), 1),
        (OUT, SECTORS - 1, (bytes(1024),), 1),
        (OUT, 0, (bytes(100),), 1),
        (GET_ID, 0, (19,), 1),
        (DISCARD_SECTORS, 0, (bytes(15),), 1),
        (DISCARD_SECTORS, 0, (struct.pack("<QII", 0, 8, 1),), 2),
        (DISCARD_SECTORS, 0, (struct.pack("<QII", SECTORS - 1, 2, 0),), 1),
        (DISCARD_SECTORS, 0, (struct.pack("<QII", (1 << 64) - 1, 2, 0),), 1),
        (ZERO_SECTORS, 0, (struct.pack("<QII", 0, 1 << 31, 0),), 1),
        (ZERO_SECTORS, 0, (struct.pack("<QII", 0, 1, 2),), 2),
        (ZERO_SECTORS, 0, (bytes(16 * 17),), 1),
        (2, 0, (), 2),
        (0xFFFFFFFF, 0, (512,), 2),
    ],
)
def test_what_cannot_be_done_is_an_error_and_changes_nothing(
    clock: Any, kind: int, sector: int, parts: Any, status: int
) -> None:
    b = Bench(clock)
    assert b.ask(kind, sector, *parts)[0] == status
    assert bytes(b.disk.data) == b.data and not b.queue.calls
    assert b.ask(IN, 0, 512)[0] == 0 and not b.guest.needs_reset


def test_a_request_without_header_or_status_makes_the_device_ask_for_a_reset(clock: Any) -> None:
    for parts in ((bytes(15), 513), (bytes(16),), (16,)):
        b = Bench(clock)
        b.guest.put(0, *parts)
        assert b.guest.needs_reset and b.guest.transport.configs == 1
        b.guest.start()
        assert b.ask(IN, 0, 512)[0] == 0 and not b.guest.needs_reset


def test_zeroes_and_discards_reach_the_disk_one_range_after_the_other(clock: Any) -> None:
    b = Bench(clock)
    two = struct.pack("<QIIQII", 1, 1, 1, 5, 2, 0)
    assert b.ask(ZERO_SECTORS, 0, two)[0] == 0
    assert b.queue.calls == [("zero", 512, 512, True), ("zero", 2560, 1024, False)]
    assert b.disk.read(512, 512) == bytes(512) and b.disk.read(2 * 512, 512) == bytes([2]) * 512
    assert b.ask(DISCARD_SECTORS, 0, struct.pack("<QII", 8, 8, 0))[0] == 0
    assert b.queue.calls[-1] == ("discard", 4096, 4096)


def test_an_error_of_the_host_is_one_of_the_device(clock: Any) -> None:
    b = Bench(clock)
    b.queue.fail = True
    assert b.ask(IN, 0, 512)[0::2] == (1, 1)
    b.queue.fail = False
    assert b.ask(IN, 0, 512)[0] == 0


def test_a_read_only_disk_offers_no_writes_and_refuses_them(clock: Any) -> None:
    b = Bench(clock, read_only=True)
    assert b.blk.features(False) & (READ_ONLY | DISCARD | WRITE_ZEROES | CONFIG_WCE) == READ_ONLY
    assert b.ask(OUT, 0, bytes(512))[0] == 1
    assert b.ask(ZERO_SECTORS, 0, struct.pack("<QII", 0, 1, 0))[0] == 1
    assert bytes(b.disk.data) == b.data and not b.queue.calls


def test_without_write_back_each_write_is_flushed_before_it_completes(clock: Any) -> None:
    b = Bench(clock)
    b.blk.write_config(WRITEBACK, 1, 0)
    assert b.blk.read_config(WRITEBACK, 1) == 0
    b.guest.put(0, struct.pack("<IIQ", OUT, 0, 0), bytes(512), 1)
    clock.advance(20_000)
    assert b.queue.calls[-1] == ("flush",) and b.guest.used(0) == []
    clock.advance(20_000)
    assert len(b.guest.used(0)) == 1
    ignorant = Bench(clock)
    ignorant.guest.start(0)  # a driver that knows of no flushes
    assert ignorant.ask(OUT, 0, bytes(512))[0] == 0 and ignorant.queue.calls[-1] == ("flush",)
    assert not ignorant.blk.state.features & FLUSH


def test_the_configuration_says_how_large_blocks_are_and_how_many_queues(clock: Any) -> None:
    b = Bench(clock, count=4, logical=512, physical=4096, smallest=4096, best=65536)
    config = b.blk.config()
    assert len(config) == 60 and b.blk.features(False) & MULTI_QUEUE
    assert struct.unpack_from("<IBBHI", config, 20) == (512, 3, 0, 8, 128)
    assert struct.unpack_from("<H", config, 34) == (4,)
    for sizes in ({"logical": 513}, {"logical": 4096}, {"physical": 65536}):
        with pytest.raises(ValueError, match="block size"):
            Bench(clock, **sizes)


@pytest.mark.parametrize("how", ["driver", "board"])
def test_a_reset_drops_requests_under_way(clock: Any, how: str) -> None:
    """Pattern 12: the completion of a request from before a reset reaches nobody."""
    b = Bench(clock)
    before = bytes(b.memory.ram)
    b.guest.put(0, struct.pack("<IIQ", IN, 0, 1), 512, 1)
    after = bytes(b.memory.ram)
    b.blk.set_status(0) if how == "driver" else b.blk.reset()
    clock.advance(1_000_000)
    assert bytes(b.memory.ram) == after != before and not b.queue.waiting
    assert b.guest.transport.queues == [] and b.blk.state.queues[0].inflight == []
    b.guest.start()
    assert b.ask(IN, 2, 512)[1] == bytes([2]) * 512


def test_a_saved_disk_goes_on_with_what_was_under_way_at_the_same_time(clock: Any) -> None:
    b = Bench(clock)
    for n in range(3):
        b.guest.put(0, struct.pack("<IIQ", IN, 0, n), 512, 1)
        clock.advance(3_000)
    saved = b.blk.save()
    assert saved["state"]["due"] == [20_000, 23_000, 26_000]  # type: ignore[index]
    other = Blk(memory=b.memory, disk=(queue := Queue(b.disk, clock)))
    other.load(saved)
    assert [due for due, _, _ in queue.waiting] == [20_000, 23_000, 26_000] and other.save() == saved
    b.queue.cancel()
    b.guest.device = other
    clock.advance(14_000)
    assert [used.head for used in b.guest.used(0)] == [0, 3]


@pytest.mark.parametrize("damage", [{"due": []}, {"inflight": [0, 0, 3]}, {"inflight": [0, 3, 400]}, {"size": 1024}])
def test_a_saved_disk_whose_parts_do_not_fit_is_refused(clock: Any, damage: dict[str, Any]) -> None:
    b = Bench(clock)
    for n in range(3):
        b.guest.put(0, struct.pack("<IIQ", IN, 0, n), 512, 1)
    saved: Any = b.blk.save()
    (saved["state"] if "due" in damage else saved["state"]["queues"][0]).update(damage)
    with pytest.raises(ValueError, match=r"due|queues"):
        b.blk.load(saved)
    clock.advance(30_000)
    assert len(b.guest.used(0)) == 3
