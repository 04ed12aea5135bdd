"""The driver's side of a virtio device for tests: memory, split rings, features and the three dialects."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from devices.virtio.device import ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, VERSION_1, VirtioDevice

ACCEPT = ACKNOWLEDGE | DRIVER
RING = 0x1000
"""Each queue has so many bytes for its rings, from address RING on."""
BUFFERS = 0x80000
SIZE = 1 << 20


class Dialect(NamedTuple):
    """How a driver talks: modern, or legacy in one byte order or the other."""

    legacy: bool
    big_endian: bool

    @property
    def order(self) -> str:
        return ">" if self.legacy and self.big_endian else "<"


MODERN, LEGACY, LEGACY_BIG = Dialect(False, False), Dialect(True, False), Dialect(True, True)
DIALECTS = (MODERN, LEGACY, LEGACY_BIG, Dialect(False, True))
NAMES = ("modern", "legacy", "legacy-big-endian", "modern-on-big-endian")


class Memory:
    """A mebibyte of RAM at 0."""

    def __init__(self) -> None:
        self.ram = bytearray(SIZE)

    def read(self, addr: int, length: int) -> bytes:
        return bytes(self.ram[addr : addr + length])

    def write(self, addr: int, data: bytes) -> None:
        if addr + len(data) > SIZE:
            raise AssertionError("a device wrote outside RAM")
        self.ram[addr : addr + len(data)] = data

    def reaches(self, addr: int, length: int, write: bool) -> bool:
        return addr + length <= SIZE


class Transport:
    """Remembers interrupts."""

    def __init__(self) -> None:
        self.queues: list[int] = []
        self.configs = 0

    def queue_interrupt(self, index: int) -> None:
        self.queues.append(index)

    def config_interrupt(self) -> None:
        self.configs += 1


class Used(NamedTuple):
    """What the device gave back: the head, what it says it wrote, and the writable buffers."""

    head: int
    length: int
    data: bytes


class Guest:
    """A driver. `start` negotiates; `put` makes a chain available and rings the bell; `used` is what came back."""

    def __init__(self, device: VirtioDevice, memory: Memory, dialect: Dialect, *, features: int | None = None) -> None:
        self.device = device
        self.memory = memory
        self.dialect = dialect
        self.transport = Transport()
        device.transport = self.transport
        self.size = 16
        self.start(features)

    def start(self, features: int | None = None) -> None:
        """Reset and set up all over; `features` are those of the device to accept, all by default."""
        device, legacy = self.device, self.dialect.legacy
        device.set_status(0)
        device.set_status(ACCEPT, legacy)
        offered = device.features(legacy) & ~(3 << 28)  # no indirect descriptors, no event index
        wanted = offered if features is None else offered & (features | VERSION_1)
        device.accept(wanted, legacy)
        if not legacy:
            device.set_status(ACCEPT | FEATURES_OK)
        self.prepare()
        device.set_status(device.state.status | DRIVER_OK, legacy)

    def prepare(self) -> None:
        """Set the queues up."""
        self.next = [0] * len(self.device.queues)
        self.seen = [0] * len(self.device.queues)
        self.free = [0] * len(self.device.queues)
        self.writable: dict[tuple[int, int], list[tuple[int, int]]] = {}
        self.room = BUFFERS
        for queue in self.device.queues:
            base = RING + queue.index * 0x800
            self.memory.write(base, bytes(0x800))
            queue.state.size = self.size
            queue.state.desc, queue.state.driver, queue.state.device = base, base + 0x200, base + 0x400
            queue.state.ready = True

    def buffer(self, length: int) -> int:
        if self.room + length > SIZE:
            self.room = BUFFERS
        at, self.room = self.room, self.room + length
        return at

    def put(self, index: int, *parts: bytes | int, kick: bool = True) -> int:
        """Make buffers available: bytes are readable, a number is so many writable ones."""
        head = self.free[index]
        state = self.device.queues[index].state
        order = self.dialect.order
        for n, part in enumerate(parts):
            at = self.free[index]
            self.free[index] = (at + 1) % self.size
            length = part if isinstance(part, int) else len(part)
            address = self.buffer(length)
            if isinstance(part, int):
                self.writable.setdefault((index, head), []) if n else self.writable.update({(index, head): []})
                self.writable[index, head].append((address, length))
            else:
                self.memory.write(address, part)
                if not n:
                    self.writable[index, head] = []
            flags = (2 if isinstance(part, int) else 0) | (1 if n + 1 < len(parts) else 0)
            entry = struct.pack(order + "QIHH", address, length, flags, self.free[index])
            self.memory.write(state.desc + 16 * at, entry)
        self.memory.write(state.driver + 4 + 2 * (self.next[index] % self.size), struct.pack(order + "H", head))
        self.next[index] = self.next[index] + 1 & 0xFFFF
        self.memory.write(state.driver + 2, struct.pack(order + "H", self.next[index]))
        if kick:
            self.device.notify(index)
        return head

    def used(self, index: int) -> list[Used]:
        """What the device gave back since the last call."""
        state = self.device.queues[index].state
        order = self.dialect.order
        (now,) = struct.unpack(order + "H", self.memory.read(state.device + 2, 2))
        found = []
        while self.seen[index] != now:
            at = state.device + 4 + 8 * (self.seen[index] % self.size)
            head, length = struct.unpack(order + "II", self.memory.read(at, 8))
            parts = self.writable.pop((index, head), [])
            found.append(Used(head, length, b"".join(self.memory.read(a, n) for a, n in parts)[:length]))
            self.seen[index] = self.seen[index] + 1 & 0xFFFF
        return found

    def pack(self, layout: str, *values: Any) -> bytes:
        """Values in the byte order that this driver and the device agreed on."""
        return struct.pack(self.dialect.order + layout, *values)

    @property
    def needs_reset(self) -> bool:
        return bool(self.device.state.status & 64)
