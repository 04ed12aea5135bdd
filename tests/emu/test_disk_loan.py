"""A virtio disk whose queue is lent to the compiled processor does what it does by itself, whatever the driver does.

EMU_FUZZ_VIRTIO=N compares N random rings.
"""

from __future__ import annotations

import itertools
import os
import random
import struct
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from devices.block.raw import RawDisk
from devices.virtio.blk import Blk
from devices.virtio.device import ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, VERSION_1
from devices.virtio.ring import RING_EVENT_IDX, RING_INDIRECT
from emu.memory import Dma, GuestRam
from tests.devices.conftest import FakeClock
from tests.devices.fake_queue import FakeQueue

engine = pytest.importorskip("emu.engine.x86", reason="the engine is not built")

ROUNDS = int(os.environ.get("EMU_FUZZ_VIRTIO", "600"))
BASE = 0x100000
DESC, AVAIL, USED, TABLE, DATA = BASE + 0x1000, BASE + 0x2000, BASE + 0x3000, BASE + 0x4000, BASE + 0x8000
SECTORS = 32
SIZE = 8


class Queue(FakeQueue):
    """A queue that can be lent, without the gate."""

    count = 0

    def __init__(self, disk: RawDisk, clock: FakeClock) -> None:
        super().__init__(disk, clock)  # type: ignore[no-untyped-call]
        self.sums = [[0, 0, 0], [0, 0, 0]]

    def lend(self, take_back: Any) -> dict[str, int]:
        fd, length, write_from = self.disk.plain()
        model = {"transfer_end": 0, "access": self.delay, "bytes_per_ns": 1 << 40}
        return {"fd": fd, "file_length": length, "write_from": write_from, **model}

    def moved(self, due: int | None) -> None:
        pass

    def returned(self, transfer_end: int, count: int, moved: Any) -> None:
        self.count += count
        for sums, more in zip(self.sums, moved, strict=True):
            sums[:] = [a + b for a, b in zip(sums, more, strict=True)]

    def adopt(self, due: int, offset: int, length: int, result: Any, done: Any) -> None:
        self._add(("adopted",), lambda: result, done, due)

    def discard(self, offset: int, length: int, done: Any, *, at: Any = None) -> Any:
        return self._add(("discard",), lambda: None, done, at)

    def write_zeroes(self, offset: int, length: int, unmap: bool, done: Any, *, at: Any = None) -> Any:
        return self._add(("zero",), lambda: self.disk.write(offset, bytes(length)), done, at)


class Transport:
    def __init__(self) -> None:
        self.interrupts = 0

    def queue_interrupt(self, index: int) -> None:
        self.interrupts += 1

    def config_interrupt(self) -> None:
        self.interrupts += 100

    def bell(self) -> tuple[int, int]:
        return 0xE0003000, 0x40


class World:
    """A disk with its driver; `lent`: a processor serves it."""

    def __init__(self, path: Path, features: int, *, lent: bool) -> None:
        path.write_bytes(bytes(n // 512 for n in range(512 * SECTORS)))
        self.ram = GuestRam(2 << 20)
        self.clock = FakeClock()
        self.disk = RawDisk(str(path))
        self.queue = Queue(self.disk, self.clock)
        self.blk = Blk(memory=Dma(self.ram), disk=self.queue, size=SIZE)
        self.transport = Transport()
        self.blk.transport = self.transport
        self.cpu = engine.X86Cpu(None, self.ram) if lent else None
        self.idx = 0
        if self.cpu is not None:
            self.cpu.lend_disk(self.blk)
        for status in (ACKNOWLEDGE | DRIVER, FEATURES_OK, DRIVER_OK):
            if status == FEATURES_OK:
                self.blk.accept(VERSION_1 | features | self.blk.offered(), False)
            if status == DRIVER_OK:
                q = self.blk.queues[0].state
                q.size, q.desc, q.driver, q.device, q.ready = SIZE, DESC, AVAIL, USED, True
            self.blk.set_status(self.blk.state.status | status)

    def write(self, address: int, data: bytes) -> None:
        self.ram.view[address : address + len(data)] = data

    def desc(self, n: int, address: int, length: int, flags: int = 0, following: int = 0, table: int = DESC) -> None:
        self.write(table + 16 * n, struct.pack("<QIHH", address, length, flags, following))

    def offer(self, heads: list[int], ahead: int = 0) -> None:
        for head in heads:
            self.write(AVAIL + 4 + 2 * (self.idx % SIZE), struct.pack("<H", head))
            self.idx = self.idx + 1 & 0xFFFF
        self.write(AVAIL + 2, struct.pack("<H", self.idx + ahead & 0xFFFF))

    def ring(self) -> bool:
        """The bell, and all that follows from it. True if the processor did it alone."""
        cpu = self.cpu
        alone = False
        if cpu is not None:
            loan = self.blk.lend(partial(cpu._take_disk, 0))
            if loan is not None:
                cpu._give_disk(0, loan)
                alone = bool(engine.lib.emu_blk_ring(cpu._c, 0))
                while alone and cpu._c.blk[0].inflight:
                    self.transport.interrupts += engine.lib.emu_blk_complete(cpu._c, 0)
        if not alone:
            self.blk.notify(0)
        self.blk.home()
        self.clock.advance(1_000_000)
        return alone

    def all(self) -> tuple[Any, ...]:
        """What a guest, or the next run, could see of it."""
        saved: Any = self.blk.save()
        return saved, bytes(self.ram.view), self.disk.read(0, self.disk.size), self.transport.interrupts


def both(tmp_path: Path, features: int) -> tuple[World, World]:
    return World(tmp_path / "plain", features, lent=False), World(tmp_path / "lent", features, lent=True)


@pytest.mark.parametrize("features", [0, RING_INDIRECT, RING_EVENT_IDX, RING_INDIRECT | RING_EVENT_IDX])
def test_reads_and_writes_are_served_without_python(tmp_path: Path, features: int) -> None:
    worlds = both(tmp_path, features)
    for kind, sector in ((0, 3), (1, 5), (0, 5), (1, 31), (0, 30)):
        for w in worlds:
            table = TABLE if features & RING_INDIRECT else DESC
            w.write(DATA, struct.pack("<IIQ", kind, 0, sector) + bytes(range(256)) * 2)
            w.desc(0, DATA, 16, 1, 1, table=table)
            w.desc(1, DATA + 16, 512, 1 if kind else 3, 2, table=table)
            w.desc(2, DATA + 0x1000, 1, 2, table=table)
            if features & RING_INDIRECT:
                w.desc(0, TABLE, 48, 4)
            w.offer([0])
        assert [w.ring() for w in worlds] == [False, True]
        assert worlds[0].all() == worlds[1].all()
    assert worlds[1].queue.count == 5 and worlds[1].queue.calls == []
    assert worlds[1].queue.sums == [[3, 3 * 512, 60_000], [2, 2 * 512, 40_000]]


def test_what_is_out_of_the_ordinary_is_left_to_python(tmp_path: Path) -> None:
    for number, (kind, sector, length) in enumerate(
        ((4, 0, 512), (8, 0, 20), (11, 0, 16), (0, SECTORS, 512), (1, 0, 511), (0, 1 << 60, 512))
    ):
        (folder := tmp_path / str(number)).mkdir()
        worlds = both(folder, 0)
        for w in worlds:
            w.write(DATA, struct.pack("<IIQ", kind, 0, sector))
            w.desc(0, DATA, 16, 1, 1)
            w.desc(1, DATA + 16, length, 1 if kind in (1, 11) else 3, 2)
            w.desc(2, DATA + 0x1000, 1, 2)
            w.offer([0])
        assert [w.ring() for w in worlds] == [False, False]
        assert worlds[0].all() == worlds[1].all()


def test_a_loan_ends_with_requests_under_way_where_python_goes_on(tmp_path: Path) -> None:
    w = World(tmp_path / "disk", 0, lent=True)
    w.write(DATA, struct.pack("<IIQ", 0, 0, 7))
    w.desc(0, DATA, 16, 1, 1)
    w.desc(1, DATA + 0x1000, 513, 2)
    w.offer([0])
    loan = w.blk.lend(partial(w.cpu._take_disk, 0))  # type: ignore[union-attr]
    assert loan is not None and w.cpu is not None
    w.cpu._give_disk(0, loan)
    assert engine.lib.emu_blk_ring(w.cpu._c, 0)
    saved: Any = w.blk.save()
    assert saved["state"]["due"] == [20_000] and saved["state"]["queues"][0]["inflight"] == [0]
    assert w.blk.lend(partial(w.cpu._take_disk, 0)) is None
    w.clock.advance(20_000)
    assert bytes(w.ram.view[DATA + 0x1000 : DATA + 0x1201]) == bytes([7]) * 512 + b"\0" and w.transport.interrupts == 1


def test_a_reset_drops_what_the_processor_has_taken(tmp_path: Path) -> None:
    w = World(tmp_path / "disk", 0, lent=True)
    w.write(DATA, struct.pack("<IIQ", 0, 0, 7))
    w.desc(0, DATA, 16, 1, 1)
    w.desc(1, DATA + 0x1000, 513, 2)
    w.offer([0])
    loan = w.blk.lend(partial(w.cpu._take_disk, 0))  # type: ignore[union-attr]
    assert loan is not None and w.cpu is not None
    w.cpu._give_disk(0, loan)
    engine.lib.emu_blk_ring(w.cpu._c, 0)
    before = bytes(w.ram.view)
    w.blk.set_status(0)
    w.clock.advance(1_000_000)
    assert bytes(w.ram.view) == before and w.transport.interrupts == 0 and w.cpu._c.blk[0].inflight == 0


@pytest.mark.slow
def test_random_rings_do_the_same_with_and_without_the_processor(tmp_path: Path) -> None:
    """D6 in C: whatever is in the rings, nothing outside the guest's memory is touched, and both ways agree."""
    r = random.Random(int(os.environ.get("EMU_FUZZ_SEED", "3")))
    alone = 0
    worlds: tuple[World, World] | None = None
    for n in range(ROUNDS):
        if worlds is None or worlds[0].blk.queues[0].state.broken or not n % 50:
            worlds = both(tmp_path, r.choice((0, RING_INDIRECT, RING_EVENT_IDX, RING_INDIRECT | RING_EVENT_IDX)))
        plan: list[tuple[Any, ...]] = []
        wild = r.random() < 0.4
        for table, k in itertools.product((DESC, TABLE), range(SIZE)):
            if wild and r.random() < 0.3:
                address = r.choice(
                    (r.randrange(3 << 20), r.getrandbits(64), 0xA0000 + r.randrange(0x60000), (2 << 20) - 256)
                )
                length = r.choice((0, 1, 16, 48, 512, 513, r.getrandbits(32), r.randrange(5000)))
                plan.append(
                    (k, address, length, r.choice((0, 1, 2, 3, 4, 5, r.getrandbits(16))), r.randrange(10), table)
                )
            else:
                part = k % 4
                length = (16, r.choice((512, 512, 1024, 513)), 1, 512)[part]
                flags = (1, r.choice((1, 3, 3)), 2, 3)[part]
                plan.append((k, DATA + 0x1000 * (k + (8 if table == TABLE else 0)), length, flags, k + 1, table))
        if r.random() < 0.5:
            plan.append((0, TABLE, 16 * r.choice((3, 3, 3, 1, 8)), 4, 0, DESC))
        header = struct.pack(
            "<IIQ", r.choice((0, 0, 0, 1, 1, 4, 8, r.getrandbits(32))), 0, r.choice((1, 9, 31, 32, 1 << 63))
        )
        heads = [r.choice((0, 0, 4, r.randrange(10) if wild else 4)) for _ in range(r.randrange(4))]
        event, ahead = r.choice((0, 1, r.getrandbits(16))), r.choice((0, 0, 0, 0, 9, 40000)) if wild else 0
        for w in worlds:
            for entry in plan:
                w.desc(*entry[:5], table=entry[5])
            for k in range(16):
                w.write(DATA + 0x1000 * k, header)
            w.write(AVAIL, struct.pack("<H", event & 1))
            w.write(AVAIL + 4 + 2 * SIZE, struct.pack("<H", event))
            w.offer(heads, ahead)
        plain, lent = (w.ring() for w in worlds)
        alone += lent
        assert not plain and worlds[0].all() == worlds[1].all(), f"round {n}"
    assert alone > ROUNDS // 10


def test_a_new_medium_ends_the_loan_of_the_old_one(tmp_path: Path) -> None:
    """The file of the old one may be closed, and its number be another file's."""
    from emu.aio import DiskQueue, Workers
    from emu.clock import Clock
    from emu.inputs import Inputs
    from tests.emu.fake_cpu import FakeCpu

    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(bytes(512)), new.write_bytes(bytes(1024))
    clock: Any = Clock(FakeCpu())
    queue = DiskQueue(RawDisk(str(old)), name="d", inputs=Inputs(clock, lambda: 0), workers=Workers())
    ended: list[bool] = []

    def take_back() -> None:
        ended.append(True)
        queue.returned(0, 3)

    loan = queue.lend(take_back)
    assert loan is not None and loan["file_length"] == 512
    queue.change(RawDisk(str(new)))
    assert ended == [True] and queue.lend(take_back) == {**loan, "fd": queue.disk.plain()[0], "file_length": 1024}  # type: ignore[attr-defined]


@pytest.mark.parametrize("until, waits", [(0, False), (20_000, False), (90_000, True)])
def test_a_processor_waits_for_its_disk_by_itself_as_long_as_nobody_else_is_due(
    tmp_path: Path, until: int, waits: bool
) -> None:
    w = World(tmp_path / "disk", 0, lent=True)
    cpu = w.cpu
    assert cpu is not None
    w.write(DATA, struct.pack("<IIQ", 0, 0, 7))
    w.desc(0, DATA, 16, 1, 1)
    w.desc(1, DATA + 0x1000, 513, 2)
    w.offer([0])
    loan = w.blk.lend(partial(cpu._take_disk, 0))
    assert loan is not None
    cpu._give_disk(0, loan)
    assert engine.lib.emu_blk_ring(cpu._c, 0)
    cpu._c.apic.lent, cpu._c.apic.armed = 1, -1
    w.write(0x1000, bytes.fromhex("fbf4 ebfd"))  # sti; hlt; jmp to the hlt
    w.write(4 * 0x40, struct.pack("<HH", 0x2000, 0))
    w.write(0x2000, bytes.fromhex("ff060030 cf"))  # inc word [0x3000]; iret
    for name, value in (("cs", 0), ("eip", 0x1000), ("ss", 0), ("esp", 0x800), ("ds", 0)):
        cpu.set_reg(name, value)
    cpu.idle_until = until
    reason = cpu.run(10_000)
    assert reason.name == "HALT" and cpu.idle_until == 0
    assert w.ram.view[0x3000] == int(waits) and cpu._c.time_offset + 10 * cpu.icount > 20_000 * waits
    assert bytes(w.ram.view[DATA + 0x1000 : DATA + 0x1201]) == (bytes([7]) * 512 + b"\0" if waits else bytes(513))
