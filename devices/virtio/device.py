"""The base of every virtio device: status, features, configuration space and queues.

A device subclasses `VirtioDevice`, says what it is (`number`, `pci_class`, `queue_sizes`, `offered`, the layout of its
configuration space) and acts on `notified`. It is given to a transport (`devices.virtio.pci`, `devices.virtio.mmio`),
which calls the methods under "what transports call". To add one, do this:

    @device("virtio-thing", "what it is")
    class Thing(VirtioDevice):
        number, pci_class = 99, 0x00FF00
        layout = "QI"                                   # fields of the configuration space as in `struct`, no order
        def __init__(self, *, memory): super().__init__(memory=memory, queue_sizes=(64, 64))
        def offered(self): return 1 << 5                # its own feature bits
        def fields(self): return self.capacity, 7       # the values of `layout`
        def handle(self, index, chain):                 # for each chain that is made available in queue `index`
            header = chain.read(0, 16)                  # bytes from the driver: bounded by the length given here
            chain.complete(chain.write(b"answer"))      # now or later

A device that takes buffers when it has something to put into them overrides `notified` and calls `queues[n].pop()`.
Requests that are under way when the machine is saved are taken anew behind the load: `handle` sees them again.

VIRTIO 1.2, chapter 2 (basic facilities) and 3 (initialization). Legacy rules: 2.4.3, 2.5.3, 7.4 (transitional).
"""

# ruff: noqa: RUF009

from __future__ import annotations

import logging
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from devices.device import Device
from devices.state import flag, some_records, uint
from devices.virtio.ring import (
    MAX_SIZE,
    RING_EVENT_IDX,
    RING_INDIRECT,
    RING_PACKED,
    Chain,
    Queue,
    QueueState,
    RingMemory,
)

GUEST_ERRORS = logging.getLogger("emu.guest_errors")

ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, NEEDS_RESET, FAILED = 1, 2, 4, 8, 64, 128
VERSION_1, ACCESS_PLATFORM = 1 << 32, 1 << 33
NOTIFY_ON_EMPTY, ANY_LAYOUT = 1 << 24, 1 << 27
MAX_QUEUES = 1024


class Transport(Protocol):
    """What a device asks of its transport."""

    def queue_interrupt(self, index: int) -> None:
        """Buffers of a queue were given back."""

    def config_interrupt(self) -> None:
        """The configuration space or the status has changed."""


class NoTransport:
    """A transport that nobody listens behind."""

    def queue_interrupt(self, index: int) -> None:
        """Nobody listens."""

    def config_interrupt(self) -> None:
        """Nobody listens."""


@dataclass
class VirtioState:
    """A device with more of its own subclasses this."""

    status: int = uint(8)
    features: int = uint(64)
    """What the driver accepted."""
    legacy: bool = flag()
    """The driver uses the legacy interface: rings and configuration space have the guest's byte order."""
    generation: int = uint(32)
    """Counts changes of the configuration space."""
    queues: list[QueueState] = some_records(MAX_QUEUES, QueueState)


class VirtioDevice(Device):
    """`memory` is guest RAM; `bus_memory` what the device's bus shows of it, for drivers that agree on ACCESS_PLATFORM;
    without it that feature is not offered. `big_endian` is the guest's byte order."""

    State: ClassVar[type[Any]] = VirtioState
    number: ClassVar[int] = 0
    """Device ID (chapter 5)."""
    pci_class: ClassVar[int] = 0x00FF00
    """24 bits: base class, subclass, programming interface."""
    legacy_features: ClassVar[int] = ANY_LAYOUT
    """What only a legacy driver is offered, beside the device's own."""
    layout: ClassVar[str] = ""
    """The configuration space as `struct` writes it, without a byte order."""

    def __init__(
        self,
        *,
        memory: RingMemory,
        queue_sizes: Sequence[int],
        bus_memory: RingMemory | None = None,
        big_endian: bool = False,
        packed: bool = False,
    ) -> None:
        if not all(0 < size <= MAX_SIZE and not size & (size - 1) for size in queue_sizes):
            raise ValueError(f"{self.name}: queue sizes {queue_sizes}: expected powers of two up to {MAX_SIZE}")
        self.memory = memory
        self.bus_memory = bus_memory
        self.big_endian = big_endian
        self.packed = packed
        self.transport: Transport = NoTransport()
        self.queues = [Queue(n, size, memory, self._interrupt, self.broken) for n, size in enumerate(queue_sizes)]
        self.reasons: list[str] = []
        """Why the device asked for a reset, since the last one."""
        super().__init__()
        self._lend()

    # -- what a device says of itself

    def offered(self) -> int:
        """The device's own feature bits (0 to 23, and from 50 on)."""
        return 0

    def fields(self) -> tuple[Any, ...]:
        """The values of `layout`."""
        return ()

    def wrote_config(self, offset: int, data: bytes) -> None:
        """The driver wrote to the configuration space; by default nothing there can be written."""

    def handle(self, index: int, chain: Chain) -> None:
        """A chain of queue `index`."""
        chain.complete(0)

    def resume(self, index: int, chain: Chain) -> None:
        """A chain that was under way when the device was saved."""
        self.handle(index, chain)

    def notified(self, index: int) -> None:
        """The driver has made buffers available in queue `index`, and the device is running."""
        queue = self.queues[index]
        while (chain := queue.pop()) is not None:
            self.handle(index, chain)

    def started(self) -> None:
        """The driver is ready (DRIVER_OK): `self.state.features` counts from now on."""

    def stopped(self) -> None:
        """Reset: cancel what is under way. The chains that are out are dead already."""

    # -- what a device asks for

    def accepted(self, feature: int) -> bool:
        """Whether the driver accepted a feature, given as a mask."""
        return bool(self.state.features & feature)

    @property
    def running(self) -> bool:
        """Between DRIVER_OK and reset."""
        return bool(self.state.status & DRIVER_OK)

    @property
    def order(self) -> str:
        """The byte order of what device and driver exchange, "<" or ">"."""
        return ">" if self.state.legacy and self.big_endian else "<"

    def config_changed(self) -> None:
        """Tell the driver that the configuration space has changed."""
        self.state.generation = self.state.generation + 1 & 0xFFFFFFFF
        if self.running:
            self.transport.config_interrupt()

    def broken(self, reason: str) -> None:
        """The driver did what no driver may do: ask for a reset (2.1.2). Other queues go on."""
        if len(self.reasons) < 16:
            self.reasons.append(reason)
            GUEST_ERRORS.warning("%s: %s", self.name, reason)
        self.state.status |= NEEDS_RESET
        if self.running and self.accepted(VERSION_1):
            self.transport.config_interrupt()

    def _interrupt(self, index: int) -> None:
        self.transport.queue_interrupt(index)

    # -- what transports call

    def features(self, legacy: bool) -> int:
        """All feature bits on offer."""
        common = RING_INDIRECT | RING_EVENT_IDX
        if legacy:
            return self.offered() & 0xFFFFFFFF | common | self.legacy_features
        common |= VERSION_1
        if self.packed:
            common |= RING_PACKED
        if self.bus_memory is not None:
            common |= ACCESS_PLATFORM
        return self.offered() | common

    def accept(self, features: int, legacy: bool) -> None:
        """The driver writes the features it wants; ignored once they count."""
        s = self.state
        if not s.status & (FEATURES_OK | DRIVER_OK):
            s.legacy = legacy
            s.features = features & self.features(legacy) if legacy else features

    def set_status(self, value: int, legacy: bool = False) -> None:
        """The driver writes the status: 0 resets, other bits only come."""
        s = self.state
        value &= 0xFF
        if value == 0:
            self.reset()
            return
        new = value & ~s.status & ~NEEDS_RESET
        if not s.status:
            s.legacy = legacy
        if new & FEATURES_OK and not s.legacy and not self.agreeable(s.features):
            new &= ~FEATURES_OK
        if new & DRIVER_OK and not s.legacy and not (s.status | new) & FEATURES_OK:
            new &= ~DRIVER_OK
        s.status |= new
        if new & FEATURES_OK:
            self._lend()
        if new & DRIVER_OK:
            self._lend()
            self.started()

    def agreeable(self, features: int) -> bool:
        """Whether a driver may have these features: those on offer, with VERSION_1."""
        return not features & ~self.features(False) and bool(features & VERSION_1)

    def notify(self, index: int) -> None:
        """The driver rings the bell of a queue. Queues that are not there or not running do not hear it."""
        if index < len(self.queues) and self.state.status & DRIVER_OK:
            s = self.queues[index].state
            if s.ready and not s.broken:
                self.notified(index)

    def config(self) -> bytes:
        """The configuration space as the driver sees it now."""
        return struct.pack(self.order + self.layout, *self.fields())

    @classmethod
    def config_size(cls) -> int:
        """Its length in bytes."""
        return struct.calcsize("<" + cls.layout)

    def read_config(self, offset: int, width: int) -> int:
        """`width` bytes as a little-endian number; bytes beyond the end are 0."""
        return int.from_bytes(self.config()[offset : offset + width], "little")

    def write_config(self, offset: int, width: int, value: int) -> None:
        """`width` bytes, given as a little-endian number."""
        size = self.config_size()
        if offset + width <= size:
            self.wrote_config(offset, value.to_bytes(width, "little"))

    # -- life

    def clear(self) -> None:
        super().clear()
        self.state.queues = [queue.state for queue in self.queues]

    def reset(self) -> None:
        """Reset by the driver or the board: everything as at power-on. Requests under way are dropped."""
        self.home()
        for queue in self.queues:
            queue.reset()
        self.clear()
        self.reasons.clear()
        self._lend()
        self.stopped()

    def _lend(self) -> None:
        """Let the queues follow what was agreed on."""
        s = self.state
        memory = self.memory
        if self.bus_memory is not None and s.features & ACCESS_PLATFORM:
            memory = self.bus_memory
        for queue in self.queues:
            queue.memory = memory
            queue.start(s.features, s.legacy and self.big_endian)

    def check(self, registers: dict[str, int], state: Any) -> None:
        if len(state.queues) != len(self.queues):
            raise ValueError(f"queues: expected {len(self.queues)} records")
        for queue, saved in zip(self.queues, state.queues, strict=True):
            packed = state.features & RING_PACKED
            if saved.size > queue.limit or (saved.ready and not saved.size):
                raise ValueError(f"queues[{queue.index}].size: {saved.size} is more than {queue.limit}, or none")
            if len(saved.inflight) > saved.size or (packed and max(saved.next, saved.used) >= max(saved.size, 1)):
                raise ValueError(f"queues[{queue.index}]: more descriptors than the ring has")
            if any((head & 0x7FFF if packed else head) >= saved.size for head in saved.inflight):
                raise ValueError(f"queues[{queue.index}].inflight: beyond the ring")
            if len(set(saved.inflight)) != len(saved.inflight):
                raise ValueError(f"queues[{queue.index}].inflight: twice the same")

    def restored(self) -> None:
        """Take up the requests that were under way."""
        for queue, saved in zip(self.queues, self.state.queues, strict=True):
            for chain in queue.chains.values():
                chain.live = False
            queue.state = saved
        self._lend()
        self.stopped()
        if self.running:
            self.started()
        for queue in self.queues:
            for chain in queue.restored():
                self.resume(queue.index, chain)
