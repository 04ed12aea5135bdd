"""A virtio network card whose queues are lent to the compiled processor does what it does by itself, whatever comes.

EMU_FUZZ_VIRTIO=N compares N random rings.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Callable
from typing import Any

import pytest

from devices import ethernet
from devices.virtio import net
from devices.virtio.device import ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, VERSION_1
from devices.virtio.net import RX, TX, Net
from devices.virtio.ring import RING_EVENT_IDX, RING_INDIRECT
from emu.memory import Dma, GuestRam
from tests.devices.conftest import FakeClock
from tests.devices.virtio.test_net import MAC, frame, packet

engine = pytest.importorskip("emu.engine.x86", reason="the engine is not built")
slirp = pytest.importorskip("emu.engine.slirp", reason="the engine is not built")

ROUNDS = int(os.environ.get("EMU_FUZZ_VIRTIO", "120"))
BASE = 0x100000
SIZE = 8
PART = 0x10000
"""Bytes from the rings of one queue to those of the next."""
DATA = BASE + 0x20000
ALL = net.CSUM | net.GUEST_CSUM | net.GUEST_TSO4 | net.HOST_TSO4 | net.MERGE
VECTORS = {RX: 0x41, TX: 0x52}


def rings(queue: int) -> tuple[int, int, int, int]:
    """Descriptors, available and used ring and an indirect table of a queue."""
    at = BASE + PART * queue
    return at + 0x1000, at + 0x2000, at + 0x3000, at + 0x4000


class Transport:
    def __init__(self) -> None:
        self.told: set[int] = set()

    def queue_interrupt(self, index: int) -> None:
        self.told.add(VECTORS[index])

    def config_interrupt(self) -> None:
        self.told.add(0)

    def bell(self, index: int = 0) -> tuple[int, int]:
        return 0xE0003000 + 4 * index, VECTORS[index]


class Port:
    """A wire that can be lent: what the processor sends comes out of `out`."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.waiting: list[bytes] = []
        self.came: list[bytes] = []
        self.frames, self.out = slirp.Frames(), slirp.Frames()
        ffi, lib = slirp._host.ffi, slirp._host.lib
        put = int(ffi.cast("uintptr_t", ffi.addressof(lib, "wire_put")))
        lib.wire_connect(self.frames.wire, ffi.cast("void *", self.out.wire), put, 0, 0)

    def attach(self, receive: Callable[[bytes], bool]) -> None:
        self.receive = receive

    def allow_large(self, wanted: Callable[[], bool]) -> None:
        self.wanted = wanted

    def send(self, frame: bytes) -> None:
        self.sent.append(frame)

    def send_large(self, frame: bytes, mss: int) -> None:
        whole = ethernet.whole(frame)
        if whole is not None:
            self.sent.append(whole)

    def ready(self) -> None:
        while self.waiting and self.receive(self.waiting[0]):
            self.waiting.pop(0)

    def lends(self) -> bool:
        return not self.waiting

    def lend(self, home: Callable[[], None]) -> int:
        return int(self.frames.address)

    def brought(self, arrivals: list[tuple[int, int, bytes]]) -> None:
        self.came += [frame for _, _, frame in arrivals]
        while (one := self.out.take()) is not None:
            self.sent.append(one)

    def returned(self, arriving: int | None) -> None:
        while (one := self.frames.take()) is not None:
            self.waiting.append(one)


class World:
    """A card with its driver; `lent`: a processor serves it."""

    def __init__(self, features: int, *, lent: bool, promiscuous: bool = True) -> None:
        self.ram = GuestRam(2 << 20)
        self.clock = FakeClock()
        self.port = Port()
        self.net = Net(memory=Dma(self.ram), port=self.port, mac=MAC, clock=self.clock)
        self.transport = Transport()
        self.net.transport = self.transport
        self.cpu = engine.X86Cpu(None, self.ram) if lent else None
        self.idx = [0, 0]
        for status in (ACKNOWLEDGE | DRIVER, FEATURES_OK, DRIVER_OK):
            if status == FEATURES_OK:
                self.net.accept(VERSION_1 | features, False)
            if status == DRIVER_OK:
                for queue in (RX, TX):
                    q = self.net.queues[queue].state
                    q.desc, q.driver, q.device, _ = rings(queue)
                    q.size, q.ready = SIZE, True
            self.net.set_status(self.net.state.status | status)
        self.net.state.promiscuous = promiscuous

    def write(self, address: int, data: bytes) -> None:
        self.ram.view[address : address + len(data)] = data

    def desc(self, table: int, n: int, address: int, length: int, flags: int = 0, following: int = 0) -> None:
        self.write(table + 16 * n, struct.pack("<QIHH", address, length, flags, following))

    def offer(self, queue: int, heads: list[int], ahead: int = 0) -> None:
        available = rings(queue)[1]
        for head in heads:
            self.write(available + 4 + 2 * (self.idx[queue] % SIZE), struct.pack("<H", head))
            self.idx[queue] = self.idx[queue] + 1 & 0xFFFF
        self.write(available + 2, struct.pack("<H", self.idx[queue] + ahead & 0xFFFF))

    def step(self, rung: bool, frames: list[bytes]) -> bool:
        """The driver rings, frames come, and all that follows. True if the processor did it alone."""
        cpu, port, alone = self.cpu, self.port, False
        loan = self.net.lend(cpu._take_net) if cpu is not None else None
        if cpu is not None and loan is not None:
            cpu._give_net(loan)
            n, apic = cpu._c.net, cpu._c.apic
            apic.lent = 1
            if rung:
                n.sending = self.clock.now()
            for one in frames:
                port.frames.put(one)
            if frames:
                n.arriving = self.clock.now()
            alone = bool(engine.lib.emu_net_run(cpu._c, self.clock.now()))
            self.transport.told |= {v for v in VECTORS.values() if apic.irr[v >> 6] >> (v & 63) & 1}
            engine.ffi.buffer(apic.irr)[:] = bytes(32)
            apic.lent = 0
            self.net.home()
        else:
            if rung:
                self.net.notify(TX)
            # The processor sends first what is due when something comes.
            self.clock.advance(net.GATHER)
            port.came += frames
            port.waiting += frames
        left = list(port.waiting) if loan is not None else []
        port.came += left
        self.clock.advance(net.GATHER)
        port.ready()
        return alone

    def all(self) -> tuple[Any, ...]:
        """What a guest, the outside or a recording could see of it."""
        return self.net.save(), bytes(self.ram.view), self.port.sent, self.port.came, self.transport.told


def both(features: int, **more: bool) -> tuple[World, World]:
    return World(features, lent=False, **more), World(features, lent=True, **more)


def header(flags: int = 0, kind: int = 0, size: int = 0, start: int = 0, at: int = 0) -> bytes:
    return struct.pack("<BBHHHHH", flags, kind, 0, size, start, at, 0)


TCP = packet(bytes(range(256)) * 40)
SEGMENTS = ethernet.segments(TCP, 1460)


@pytest.mark.parametrize("ring", [0, RING_INDIRECT, RING_EVENT_IDX, RING_INDIRECT | RING_EVENT_IDX])
@pytest.mark.parametrize("features", [0, net.MERGE, ALL])
def test_frames_go_both_ways_without_python(features: int, ring: int) -> None:
    worlds = both(features | ring)
    large = bool(features & net.GUEST_TSO4)
    for w in worlds:
        for k in range(SIZE):
            w.desc(rings(RX)[0], k, DATA + 0x1000 * k, 0xE00, 2)
        w.offer(RX, list(range(SIZE)))
        head = header(1, 1, 1460, 34, 16) if large else header()
        whole = head + (TCP if large else SEGMENTS[0])
        w.write(DATA + 0x10000, whole)
        desc, _, _, table = rings(TX)
        if ring & RING_INDIRECT:
            w.desc(desc, 0, table, 32, 4)
        at = table if ring & RING_INDIRECT else desc
        w.desc(at, 0, DATA + 0x10000, 12, 1, 1)
        w.desc(at, 1, DATA + 0x1000C, len(whole) - 12)
        w.offer(TX, [0])
        w.port.frames.join(large)
    came = [SEGMENTS[0], frame(), packet(b"question", protocol=17), SEGMENTS[1]]
    assert [w.step(True, came) for w in worlds] == [False, True]
    assert worlds[0].all() == worlds[1].all()
    sent = worlds[1].port.sent
    assert len(sent) == 1 and net.transport_valid(sent[0])
    if large:
        (joined,) = [ethernet.whole(TCP)]
        as_joined = TCP[:16] + SEGMENTS[0][16:18] + TCP[18:]
        assert sent == [joined]
        assert [w.step(False, [as_joined]) for w in worlds] == [False, True]
        assert worlds[0].all() == worlds[1].all()


def test_what_is_out_of_the_ordinary_is_left_to_python() -> None:
    ping = bytearray(packet(b"x" * 40))
    ping[23] = 1
    tagged = packet(b"y" * 40, vlan=True)
    for head, sent in ((header(), bytes(ping)), (header(1, 4, 100, 54, 16), packet(b"z" * 600, v6=True)), (b"", b"")):
        worlds = both(ALL | net.HOST_TSO6)
        for w in worlds:
            w.write(DATA, head + sent)
            w.desc(rings(TX)[0], 0, DATA, len(head + sent))
            w.offer(TX, [0])
        assert [w.step(True, []) for w in worlds] == [False, False]
        assert worlds[0].all() == worlds[1].all()
    worlds = both(ALL)
    assert [w.step(False, [frame(), tagged, frame()]) for w in worlds] == [False, False]
    assert worlds[0].all() == worlds[1].all() and worlds[1].port.waiting == [frame(), tagged, frame()]
    assert worlds[1].net.lend(worlds[1].cpu._take_net) is None  # type: ignore[union-attr]


def test_a_card_that_has_stopped_or_been_reset_lends_nothing() -> None:
    w = World(ALL, lent=True)
    cpu: Any = w.cpu
    loan = w.net.lend(cpu._take_net)
    assert loan is not None
    cpu._give_net(loan)
    assert cpu._c.net.lent and w.net.state.link and not cpu._c.net.lent
    w.net.set_link(False)
    assert w.net.lend(cpu._take_net) is None
    w.net.set_link(True)
    w.net.set_status(0)
    assert w.net.lend(cpu._take_net) is None


def _frames(r: random.Random) -> list[bytes]:
    out = []
    for _ in range(r.randrange(4)):
        made = bytearray(
            r.choice((
                frame(size=r.randrange(14, 200)),
                frame(b"\xff" * 6),
                frame(bytes(6)),
                packet(r.randbytes(r.randrange(1400)), protocol=r.choice((6, 17)), good=r.random() < 0.7),
                packet(r.randbytes(r.randrange(600)), v6=True, good=r.random() < 0.7),
                packet(b"tag", vlan=True),
                TCP[:16] + (r.choice((552, 1500, 70, 40))).to_bytes(2, "big") + TCP[18:],
            ))
        )  # fmt: skip
        if r.random() < 0.2:
            made[r.randrange(len(made))] ^= 1 << r.randrange(8)
        out.append(bytes(made))
    return out


def test_random_rings_and_frames_do_the_same_with_and_without_the_processor() -> None:
    """D6 in C: whatever is in the rings, nothing outside the guest's memory is touched, and both ways agree."""
    r = random.Random(int(os.environ.get("EMU_FUZZ_SEED", "5")))
    alone = 0
    worlds: tuple[World, World] | None = None
    for n in range(ROUNDS):
        if worlds is None or not n % 25 or any(q.state.broken for q in worlds[0].net.queues[:2]):
            ring = r.choice((0, RING_INDIRECT, RING_EVENT_IDX, RING_INDIRECT | RING_EVENT_IDX))
            features = r.choice((ALL, ALL, ALL, net.MERGE, 0, net.CSUM | net.HOST_TSO4, r.getrandbits(64) & ALL))
            worlds = both(features | ring, promiscuous=r.random() < 0.5)
        plan: list[tuple[int, int, int, int, int, int]] = []
        wild = r.random() < 0.3
        kind, flags = r.choice((0, 0, 0, 1, 1, 4, r.getrandbits(8))), r.choice((0, 1, 1))
        content = r.choice(
            (TCP, TCP, SEGMENTS[0], packet(b"u", protocol=17), packet(r.randbytes(99), v6=True), frame())
        )
        whole = header(
            flags, kind, r.choice((1460, 100, 31, 0)), r.choice((34, 34, 34, 54, 9999)), r.choice((16, 6, 60))
        )
        whole += content
        for queue in (RX, TX):
            desc, _, _, table = rings(queue)
            for where in (desc, table):
                for k in range(SIZE):
                    length = r.choice((0xE00, 1526, 12, 300, 5)) if queue == RX else (12, len(content), 3)[k % 3]
                    address = DATA + 0x1000 * k if queue == RX else DATA + 0x10000 + (0, 12, 0)[k % 3]
                    mark = 2 if queue == RX else 0
                    more = r.random() < 0.2 if queue == RX else k % 3 == 0
                    following = k + 1
                    if wild and r.random() < 0.3:
                        address = r.choice((r.randrange(3 << 20), r.getrandbits(64), 0xA0000, (2 << 20) - 64))
                        length = r.choice((0, 1, 16, 48, 70000, r.getrandbits(32), r.randrange(5000)))
                        mark, following = r.choice((0, 1, 2, 3, 4, 5, r.getrandbits(16))), r.randrange(10)
                    plan.append((where, k, address, length, mark | more, following))
            if r.random() < 0.4:
                plan.append((desc, 0, table, 16 * r.choice((2, 2, 1, 8)), 4, 0))
        heads = {
            RX: [r.randrange(9 if wild else 8) for _ in range(r.randrange(6))],
            TX: [r.choice((0, 3, 3, r.randrange(9) if wild else 0)) for _ in range(r.randrange(4))],
        }
        event, ahead = r.choice((0, 1, r.getrandbits(16))), r.choice((0, 0, 0, 9, 40000)) if wild else 0
        frames, rung = _frames(r), r.random() < 0.7
        for w in worlds:
            w.write(DATA + 0x10000, whole)
            for entry in plan:
                w.desc(*entry)
            for queue in (RX, TX):
                available = rings(queue)[1]
                w.write(available, struct.pack("<H", event & 1))
                w.write(available + 4 + 2 * SIZE, struct.pack("<H", event))
                w.offer(queue, heads[queue], ahead)
            w.net.notify(RX)
        plain, lent = (w.step(rung, frames) for w in worlds)
        alone += lent
        assert not plain and worlds[0].all() == worlds[1].all(), f"round {n}"
    assert alone > ROUNDS // 10
