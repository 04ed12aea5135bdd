"""Drivers that do what no driver may: random descriptors, rings, configuration, resets (reliability.md D6, D8, D13).

EMU_FUZZ_VIRTIO=N makes N rounds for each device and dialect; a round offers up to 16 random chains.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from devices.backends import MemoryConsole
from devices.p9 import Share
from devices.virtio.balloon import Balloon
from devices.virtio.console import Console, Port
from devices.virtio.device import VirtioDevice, VirtioState
from devices.virtio.input import KEYBOARD, Input
from devices.virtio.net import Net
from devices.virtio.p9 import P9
from devices.virtio.rng import Rng
from tests.devices.cards import Cable
from tests.devices.virtio.guest import DIALECTS, NAMES, SIZE, Dialect, Guest, Memory
from tests.devices.virtio.test_net import MAC, frame, packet

ROUNDS = int(os.environ.get("EMU_FUZZ_VIRTIO", "600"))
SEED = int(os.environ.get("EMU_FUZZ_SEED", "5"))

Poke = Callable[[random.Random], object]


def rng(memory: Memory, big: bool, tmp: Path) -> tuple[VirtioDevice, Poke]:
    return Rng(memory=memory, big_endian=big), lambda r: None


def balloon(memory: Memory, big: bool, tmp: Path) -> tuple[VirtioDevice, Poke]:
    def discard(address: int, length: int) -> None:
        assert address >= 0 and length > 0 and not (address | length) & 0xFFF

    made = Balloon(memory=memory, size=SIZE, discard=discard, big_endian=big, reporting=True)
    return made, lambda r: made.poll() if r.random() < 0.5 else made.set_size(r.getrandbits(r.randrange(64)))


def console(memory: Memory, big: bool, tmp: Path) -> tuple[VirtioDevice, Poke]:
    ends = [MemoryConsole(1000) for _ in range(3)]
    ports = {0: Port(ends[0]), 1: Port(ends[1], False, "name"), 4: Port(ends[2], False, "", False)}
    made = Console(memory=memory, ports=ports, most=6, big_endian=big, size=(80, 25))

    def poke(r: random.Random) -> None:
        made.receive(r.randrange(7), r.randbytes(r.randrange(200)))
        made.connect(4, r.random() < 0.5)
        made.resize(r.getrandbits(20), r.getrandbits(8))

    return made, poke


def net(memory: Memory, big: bool, tmp: Path) -> tuple[VirtioDevice, Poke]:
    wire = Cable()
    made = Net(memory=memory, port=wire, mac=MAC, big_endian=big)

    def poke(r: random.Random) -> None:
        wire.sent.clear()
        wire.large.clear()
        whole = r.choice((frame(), packet(r.randbytes(r.randrange(3000))), r.randbytes(r.randrange(2000))))
        wire.receive(whole[: r.randrange(len(whole) + 1)])
        if r.random() < 0.1:
            made.set_link(r.random() < 0.8)
            made.announce()

    return made, poke


def p9(memory: Memory, big: bool, tmp: Path) -> tuple[VirtioDevice, Poke]:
    return P9(memory=memory, server=Share(str(tmp)), tag=b"t", big_endian=big), lambda r: None


def keyboard(memory: Memory, big: bool, tmp: Path) -> tuple[VirtioDevice, Poke]:
    made = Input(memory=memory, model=KEYBOARD, big_endian=big)
    return made, lambda r: made.key_scancode(r.randbytes(r.randrange(9)))


DEVICES = (rng, balloon, console, net, p9, keyboard)


def a_descriptor(r: random.Random, order: str) -> bytes:
    address = r.choice(
        (r.randrange(SIZE), SIZE - r.randrange(32), r.getrandbits(64), 0, (1 << 64) - r.randrange(1, 99))
    )
    length = r.choice((0, 1, 2, r.randrange(64), r.randrange(5000), r.getrandbits(32), 1 << 20, 16 * r.randrange(9)))
    flags = r.choice((0, 1, 2, 3, 3, 1, 4, 5, 6, r.getrandbits(16)))
    return struct.pack(
        order + "QIHH", address & (1 << 64) - 1, length, flags, r.choice((r.randrange(16), r.getrandbits(16)))
    )


def shake(g: Guest, r: random.Random) -> None:
    """One round: rewrite some of a queue's rings, and ring the bell."""
    index = r.randrange(len(g.device.queues))
    state = g.device.queues[index].state
    order = g.dialect.order
    # Most chains are such that the device gets to look into them.
    if r.random() < 0.7:
        parts: list[bytes | int] = [r.randbytes(r.choice((1, 2, 4, 8, 10, 12, 40, 200))) for _ in range(r.randrange(3))]
        parts += [r.choice((0, 1, 8, 12, 100, 2000)) for _ in range(r.randrange(3))]
        if parts:
            g.put(index, *parts)
        return
    for _ in range(r.randrange(16)):
        g.memory.write(0x1000 + 0x800 * index + 16 * r.randrange(16), a_descriptor(r, order))
    for n in range(16):
        g.memory.write(0x1000 + 0x800 * index + 0x204 + 2 * n, struct.pack(order + "H", r.randrange(17)))
    ahead = r.choice((1, 2, 16, 17, r.getrandbits(16)))
    g.memory.write(0x1000 + 0x800 * index + 0x202, struct.pack(order + "H", state.next + ahead & 0xFFFF))
    g.device.notify(r.choice((index, index, r.getrandbits(16))))


@pytest.mark.parametrize("dialect", DIALECTS, ids=NAMES)
@pytest.mark.parametrize("make", DEVICES, ids=lambda f: f.__name__)
def test_no_driver_makes_a_device_fail_or_write_outside_its_buffers(
    make: Callable[[Memory, bool, Path], tuple[VirtioDevice, Poke]], dialect: Dialect, tmp_path: Path
) -> None:
    r = random.Random(f"{SEED} {make.__name__} {dialect}")
    memory = Memory()
    (tmp_path / "shared").mkdir()
    device, poke = make(memory, dialect.big_endian, tmp_path / "shared")
    g = Guest(device, memory, dialect)
    restarts = 0
    for _ in range(ROUNDS):
        shake(g, r)
        what = r.random()
        if what < 0.3:
            poke(r)
        elif what < 0.4:
            width = r.choice((1, 2, 4))
            device.write_config(r.randrange(4096), width, r.getrandbits(8 * width))
        elif what < 0.5:
            assert 0 <= device.read_config(r.randrange(4096), r.choice((1, 2, 4))) < 1 << 32
        elif what < 0.53:
            device.set_status(r.getrandbits(8), r.random() < 0.5)
            device.accept(r.getrandbits(64), r.random() < 0.5)
        elif what < 0.56:
            device.load(device.save())
        if g.needs_reset or not device.running or r.random() < 0.02:
            restarts += 1
            g.start(None if r.random() < 0.7 else r.getrandbits(34))
    assert restarts
    g.start()
    g.put(0, 64)
    assert not g.needs_reset or make is p9


def test_a_reset_at_any_moment_leaves_what_power_on_leaves(tmp_path: Path) -> None:
    for make in DEVICES:
        memory = Memory()
        device, poke = make(memory, False, tmp_path)
        fresh = device.save()
        r = random.Random(f"{SEED} {make.__name__}")
        g = Guest(device, memory, DIALECTS[0])
        for _ in range(max(20, ROUNDS // 10)):
            for _ in range(r.randrange(8)):
                shake(g, r)
                poke(r)
            device.reset()
            now = device.save()
            # What a person set, and how much entropy was given out, outlives a reset.
            for key in ("wanted", "given", "link"):
                now["state"].pop(key, None), fresh["state"].pop(key, None)  # type: ignore[attr-defined]
            assert now == fresh
            g.start()


def test_no_device_hides_a_field_of_the_base() -> None:
    base = set(VirtioState.__dataclass_fields__)
    for kind in (Rng, Balloon, Console, Net, P9, Input):
        own = vars(kind.State).get("__annotations__", {}) if kind.State is not VirtioState else {}
        assert not base & set(own)
