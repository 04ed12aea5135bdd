"""Split and packed rings: what a driver may do, and what stops a queue (reliability.md D6, patterns 5 to 13)."""

from __future__ import annotations

import itertools
import os
import random
import struct

import pytest

from devices.virtio.ring import (
    INDIRECT,
    NEXT,
    RING_EVENT_IDX,
    RING_INDIRECT,
    RING_PACKED,
    WRITE,
    Queue,
    QueueState,
)

SIZE = 0x10000
DESC, AVAIL, USED, TABLE, DATA = 0x1000, 0x2000, 0x3000, 0x4000, 0x8000
RULES = int(os.environ.get("EMU_FUZZ_VIRTIO", "600"))


class Ram:
    """64 KiB, of which the pages from E000h on can only be read; remembers how much was asked of it."""

    def __init__(self) -> None:
        self.ram = bytearray(SIZE)
        self.reads = 0

    def read(self, addr: int, length: int) -> bytes:
        assert addr + length <= SIZE, "a read outside memory"
        self.reads += 1
        return bytes(self.ram[addr : addr + length])

    def write(self, addr: int, data: bytes) -> None:
        assert addr + len(data) <= 0xE000, "a write outside memory"
        self.ram[addr : addr + len(data)] = data

    def reaches(self, addr: int, length: int, write: bool) -> bool:
        return addr + length <= (0xE000 if write else SIZE)


class Side:
    """The driver's side of one queue."""

    def __init__(self, size: int = 8, features: int = RING_INDIRECT, *, big: bool = False) -> None:
        self.ram = Ram()
        self.interrupts: list[int] = []
        self.broken: list[str] = []
        self.order = ">" if big else "<"
        self.queue = Queue(0, 16, self.ram, self.interrupts.append, self.broken.append)
        self.queue.state.__dict__.update(QueueState(size, True, DESC, AVAIL, USED).__dict__)
        self.queue.start(features, big)
        self.idx = 0

    def desc(self, n: int, address: int, length: int, flags: int = 0, following: int = 0, table: int = DESC) -> None:
        entry = struct.pack(self.order + "QIHH", address, length, flags, following)
        self.ram.ram[table + 16 * n : table + 16 * n + 16] = entry

    def offer(self, *heads: int) -> None:
        for head in heads:
            at = AVAIL + 4 + 2 * (self.idx % self.queue.state.size)
            struct.pack_into(self.order + "H", self.ram.ram, at, head)
            self.idx = self.idx + 1 & 0xFFFF
        struct.pack_into(self.order + "H", self.ram.ram, AVAIL + 2, self.idx)

    def used(self) -> list[tuple[int, int]]:
        count = struct.unpack_from(self.order + "H", self.ram.ram, USED + 2)[0]
        return [struct.unpack_from(self.order + "II", self.ram.ram, USED + 4 + 8 * n) for n in range(count)]


@pytest.mark.parametrize("big", [False, True], ids=["little", "big"])
def test_a_chain_is_read_written_and_given_back_in_the_byte_order_of_the_ring(big: bool) -> None:
    side = Side(big=big)
    side.ram.ram[DATA : DATA + 4] = b"ping"
    side.desc(3, DATA, 4, NEXT, 5)
    side.desc(5, DATA + 0x100, 2, NEXT | WRITE, 1)
    side.desc(1, DATA + 0x200, 6, WRITE)
    side.offer(3)
    chain = side.queue.pop()
    assert chain is not None and (chain.total, chain.room, chain.read()) == (4, 8, b"ping")
    assert chain.read(1, 2) == b"in" and chain.read(4, 9) == b""
    assert chain.write(b"pong!") == 5 and chain.write(b"x", 7) == 1 and chain.write(b"yz", 7) == 1
    chain.complete(5)
    assert side.used() == [(3, 5)] and side.interrupts == [0] and not side.broken
    assert side.ram.ram[DATA + 0x100 : DATA + 0x102] + side.ram.ram[DATA + 0x200 : DATA + 0x206] == b"pong!\0\0y"
    assert side.queue.pop() is None and not side.queue.chains


def test_chains_may_come_back_in_another_order_and_only_once() -> None:
    side = Side()
    for n in range(3):
        side.desc(n, DATA, 8, WRITE)
    side.offer(0, 1, 2)
    first, second, third = (side.queue.pop() for _ in range(3))
    assert first is not None and second is not None and third is not None
    for chain in (third, first, third, second):
        chain.complete(1)
    assert [head for head, _ in side.used()] == [2, 0, 1]


def test_the_chain_taken_last_can_be_put_back() -> None:
    side = Side()
    side.desc(0, DATA, 8, WRITE)
    side.offer(0)
    chain = side.queue.pop()
    assert chain is not None
    side.queue.unpop(chain)
    with pytest.raises(ValueError, match="taken last"):
        side.queue.unpop(chain)
    chain.complete(1)
    assert side.used() == []
    again = side.queue.pop()
    assert again is not None and again.head == 0


def test_an_indirect_table_may_follow_direct_descriptors() -> None:
    side = Side()
    side.desc(0, DATA, 4, NEXT, 1)
    side.desc(1, TABLE, 32, INDIRECT)
    side.desc(0, DATA + 8, 4, NEXT, 1, table=TABLE)
    side.desc(1, DATA + 16, 9, WRITE, table=TABLE)
    side.offer(0)
    chain = side.queue.pop()
    assert chain is not None and (chain.total, chain.room) == (8, 9)


def lay(side: Side, what: str) -> None:
    """A chain at descriptor 0 that breaks one rule."""
    d = side.desc
    if what == "a loop":
        d(0, DATA, 1, NEXT, 1), d(1, DATA, 1, NEXT, 0)
    elif what == "a loop on itself":
        d(0, DATA, 1, NEXT, 0)
    elif what == "next beyond the table":
        d(0, DATA, 1, NEXT, 8)
    elif what == "an address beyond memory":
        d(0, SIZE, 1)
    elif what == "a length beyond memory":
        d(0, SIZE - 4, 5)
    elif what == "an address that wraps around":
        d(0, (1 << 64) - 4, 8)
    elif what == "a length of 4 GiB":
        d(0, DATA, 0xFFFFFFFF)
    elif what == "writing to what can only be read":
        d(0, 0xE000, 16, WRITE)
    elif what == "readable behind writable":
        d(0, DATA, 1, NEXT | WRITE, 1), d(1, DATA, 1)
    elif what == "indirect in indirect":
        d(0, TABLE, 16, INDIRECT), d(0, TABLE, 16, INDIRECT, table=TABLE)
    elif what == "indirect and next":
        d(0, TABLE, 16, INDIRECT | NEXT, 1), d(0, DATA, 1, table=TABLE)
    elif what.startswith("indirect of "):
        d(0, TABLE, int(what.split()[2]), INDIRECT)
    elif what == "indirect beyond memory":
        d(0, SIZE - 16, 32, INDIRECT)
    elif what == "a loop in an indirect table":
        d(0, TABLE, 32, INDIRECT), d(0, DATA, 1, NEXT, 1, table=TABLE), d(1, DATA, 1, NEXT, 0, table=TABLE)
    elif what == "next beyond an indirect table":
        d(0, TABLE, 16, INDIRECT), d(0, DATA, 1, NEXT, 1, table=TABLE)


BREAKS = (
    "a loop", "a loop on itself", "next beyond the table", "an address beyond memory", "a length beyond memory",
    "an address that wraps around", "a length of 4 GiB", "writing to what can only be read", "readable behind writable",
    "indirect in indirect", "indirect and next", "indirect of 0", "indirect of 1", "indirect of 15", "indirect of 17",
    "indirect of 4294967280", "indirect beyond memory", "a loop in an indirect table", "next beyond an indirect table",
)  # fmt: skip


@pytest.mark.parametrize("what", BREAKS)
def test_a_chain_that_breaks_a_rule_stops_the_queue_at_once(what: str) -> None:
    side = Side()
    lay(side, what)
    side.offer(0)
    assert side.queue.pop() is None
    assert len(side.broken) == 1 and not side.queue.running
    reads = side.ram.reads
    side.offer(1)
    assert side.queue.pop() is None and side.ram.reads == reads and side.used() == []


def test_an_indirect_descriptor_needs_the_feature() -> None:
    side = Side(features=0)
    lay(side, "indirect of 16")
    side.offer(0)
    assert side.queue.pop() is None and side.broken


def test_heads_beyond_the_ring_in_use_or_run_ahead_stop_the_queue() -> None:
    beyond, twice, ahead = Side(), Side(), Side()
    beyond.offer(8)
    assert beyond.queue.pop() is None and "none" in beyond.broken[0]
    twice.desc(0, DATA, 1, WRITE)
    twice.offer(0, 0)
    assert twice.queue.pop() is not None
    assert twice.queue.pop() is None and "in use" in twice.broken[0]
    ahead.desc(0, DATA, 1, WRITE)
    ahead.idx = 9
    ahead.offer()
    assert ahead.queue.pop() is None and "made available" in ahead.broken[0]


@pytest.mark.parametrize("part", ["desc", "driver", "device"])
def test_a_ring_outside_memory_stops_the_queue(part: str) -> None:
    side = Side()
    side.desc(0, DATA, 8, WRITE)
    side.offer(0)
    setattr(side.queue.state, part, SIZE - 2)
    chain = side.queue.pop()
    if part == "device":
        assert chain is not None
        chain.complete(1)
    else:
        assert chain is None
    assert side.broken and not side.queue.running


def test_what_was_read_once_is_not_read_again() -> None:
    """Pattern 7: the driver changes descriptors after the device has looked at them."""
    side = Side()
    side.desc(0, DATA, 8, WRITE)
    side.offer(0)
    chain = side.queue.pop()
    assert chain is not None
    side.desc(0, SIZE - 1, 0xFFFFFFFF, WRITE)
    assert chain.write(b"12345678") == 8
    assert side.ram.ram[DATA : DATA + 8] == b"12345678"


def test_a_reset_kills_chains_that_are_out() -> None:
    side = Side()
    side.desc(0, DATA, 8, WRITE)
    side.offer(0)
    chain = side.queue.pop()
    side.queue.reset()
    assert chain is not None and not chain.live
    chain.complete(1)
    assert side.used() == [] and side.interrupts == [] and side.queue.state == QueueState(size=16)


def test_without_event_index_the_flag_of_the_driver_decides_about_interrupts() -> None:
    side = Side()
    for n in range(2):
        side.desc(n, DATA, 8, WRITE)
    side.offer(0, 1)
    side.ram.ram[AVAIL] = 1
    chains = [side.queue.pop(), side.queue.pop()]
    assert chains[0] is not None and chains[1] is not None
    chains[0].complete(1)
    assert side.interrupts == []
    side.ram.ram[AVAIL] = 0
    chains[1].complete(1)
    assert side.interrupts == [0]


def test_with_event_index_the_driver_hears_only_of_the_entry_it_asked_for() -> None:
    side = Side(features=RING_EVENT_IDX)
    heard = []
    for n in range(6):
        side.desc(n, DATA, 8, WRITE)
    struct.pack_into("<H", side.ram.ram, AVAIL + 4 + 2 * 8, 3)  # used_event: the fourth entry
    side.offer(*range(6))
    while (chain := side.queue.pop()) is not None:
        side.interrupts.clear()
        chain.complete(1)
        heard.append(bool(side.interrupts))
    assert heard == [True, False, False, True, False, False]  # the first always: nothing was signalled before
    assert struct.unpack_from("<H", side.ram.ram, USED + 4 + 8 * 8)[0] == 6  # avail_event: ring again at the next


def test_indices_wrap_around_at_64_ki() -> None:
    side = Side()
    side.desc(0, DATA, 8, WRITE)
    side.idx = side.queue.state.next = side.queue.state.used = 0xFFFF
    side.offer(0)
    chain = side.queue.pop()
    assert chain is not None
    chain.complete(1)
    assert (side.queue.state.next, side.queue.state.used) == (0, 0)
    assert side.queue.pop() is None and not side.broken


def test_chains_that_were_out_are_taken_anew_after_a_load() -> None:
    side = Side()
    for n in range(3):
        side.desc(n, DATA + 16 * n, 8, WRITE)
    side.offer(2, 0, 1)
    chains = [side.queue.pop() for _ in range(3)]
    assert chains[1] is not None
    chains[1].complete(1)
    assert side.queue.state.inflight == [2, 1]
    again = side.queue.restored()
    assert [chain.head for chain in again] == [2, 1] and side.queue.state.inflight == [2, 1]


def test_every_ring_of_two_descriptors_gives_chains_or_a_stop_with_bounded_work() -> None:
    """D6, the small model: all classes of address, length, flags and next, for both descriptors."""
    addresses = (DATA, SIZE - 8, SIZE, 0xE000)
    lengths = (0, 1, 16, 32, 0xFFFFFFFF)
    nexts = (0, 1, 2)
    classes = list(itertools.product(addresses, lengths, range(8), nexts))
    step = 1 if RULES > 10_000 else 97
    seen = set()
    for n, (first, second) in enumerate(itertools.product(classes, classes)):
        if n % step:
            continue
        side = Side(2)
        side.desc(0, *first)
        side.desc(1, *second)
        side.desc(0, *second, table=DATA)
        side.offer(0)
        chain = side.queue.pop()
        assert side.ram.reads < 12
        seen.add(side.broken[0].split(": ")[1][:12] if side.broken else "chain")
        assert (chain is None) == bool(side.broken)
    assert "chain" in seen and len(seen) > 6


def packed_desc(
    side: Side, n: int, address: int, length: int, flags: int, identity: int = 0, wrap: bool = True
) -> None:
    side.desc(n, address, length, identity, flags | (0x80 if wrap else 0x8000))


def test_a_packed_ring_goes_around_with_its_wrap_counters() -> None:
    side = Side(4, RING_PACKED)
    wrap, at, seen = True, 0, []
    for n in range(10):
        packed_desc(side, at, DATA, 4, NEXT, 7, wrap)
        second, second_wrap = (at + 1, wrap) if at + 1 < 4 else (0, not wrap)
        packed_desc(side, second, DATA + 64, 16, WRITE, n, second_wrap)
        chain = side.queue.pop()
        assert chain is not None and (chain.total, chain.room, chain.id, chain.count) == (4, 16, n, 2)
        chain.complete(3)
        length, identity, flags = struct.unpack_from("<IHH", side.ram.ram, DESC + 16 * at + 8)
        assert (length, identity) == (3, n) and bool(flags & 0x80) == bool(flags & 0x8000) == wrap
        seen.append(at)
        at, wrap = (second + 1, second_wrap) if second + 1 < 4 else (0, not second_wrap)
    assert seen == [0, 2] * 5 and not side.broken and len(side.interrupts) == 10


def test_a_packed_chain_can_be_put_back_over_the_end_of_the_ring() -> None:
    side = Side(4, RING_PACKED)
    side.queue.state.next = 3
    packed_desc(side, 3, DATA, 4, NEXT, 0, True)
    packed_desc(side, 0, DATA, 4, WRITE, 5, False)
    chain = side.queue.pop()
    assert chain is not None and side.queue.state.next == 1 and not side.queue.state.wrap
    side.queue.unpop(chain)
    assert side.queue.state.next == 3 and side.queue.state.wrap


@pytest.mark.parametrize("what", ["loop", "order", "half", "memory", "indirect"])
def test_a_packed_chain_that_breaks_a_rule_stops_the_queue(what: str) -> None:
    side = Side(4, RING_PACKED | RING_INDIRECT)
    for n in range(4):
        packed_desc(side, n, DATA, 4, NEXT)
    if what == "order":
        packed_desc(side, 0, DATA, 4, NEXT | WRITE)
    elif what == "half":
        side.ram.ram[DESC + 16 : DESC + 32] = bytes(16)
    elif what == "memory":
        packed_desc(side, 0, SIZE, 4, 0)
    elif what == "indirect":
        packed_desc(side, 1, TABLE, 16, INDIRECT)
    else:
        for n in range(4):
            packed_desc(side, n, DATA, 4, NEXT, wrap=True)
    if what == "loop":
        side.queue.state.size = 4
    chain = side.queue.pop()
    assert chain is None and side.broken


def test_random_rings_neither_raise_nor_leave_memory() -> None:
    """D6 at random; EMU_FUZZ_VIRTIO=N makes N rings of up to 16 chains, over both kinds and byte orders."""
    r = random.Random(11)
    chains = stops = 0
    for _ in range(RULES):
        packed = r.random() < 0.3
        features = r.choice((0, RING_INDIRECT, RING_EVENT_IDX, RING_INDIRECT | RING_EVENT_IDX))
        side = Side(
            r.choice((1, 2, 4, 16)), features | (RING_PACKED if packed else 0), big=not packed and r.random() < 0.5
        )
        for table, n in itertools.product((DESC, TABLE), range(16)):
            address = r.choice((DATA, TABLE, r.randrange(SIZE + 64), r.getrandbits(64)))
            length = r.choice((0, 1, 16, 64, 256, r.randrange(SIZE), r.getrandbits(32)))
            flags = r.choice((0, 1, 2, 3, 4, r.getrandbits(16))) | r.choice((0, 0x80, 0x80, 0x8000))
            side.desc(n, address, length, flags, r.randrange(20), table=table)
        side.offer(*(r.randrange(20) for _ in range(r.randrange(17))))
        while (chain := side.queue.pop()) is not None:
            chains += 1
            chain.read(r.randrange(64), 4096)
            chain.write(bytes(r.randrange(4096)), r.randrange(64))
            if r.random() < 0.8:
                chain.complete(r.getrandbits(r.randrange(40)))
        stops += bool(side.broken)
        assert len(side.broken) <= 1
    assert chains and stops
