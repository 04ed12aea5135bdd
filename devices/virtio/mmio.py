"""Virtio over a block of memory-mapped registers, 512 bytes: version 2, or the legacy version 1.

    transport = VirtioMmio(device=Blk(...), irq=line)
    map_mmio(base, 0x200, transport.read, transport.write, swap=...)      # registers are little-endian

A guest finds it by its device tree ("virtio,mmio"), or on a PC by the kernel's command line,
`virtio_mmio.device=512@BASE:IRQ`. VIRTIO 1.2, 4.2 (MMIO), 4.2.4 (legacy).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from devices.contracts import Line
from devices.device import Device, device
from devices.state import uint
from devices.virtio.device import VirtioDevice
from devices.virtio.pci import set_legacy_ring
from devices.virtio.ring import RING_PACKED

SIZE = 0x200
MAGIC = 0x74726976
VENDOR = 0x554D4551
CONFIG = 0x100
USED, CHANGED = 1, 2
ADDRESSES = {0x80: "desc", 0x90: "driver", 0xA0: "device"}


@dataclass
class MmioState:
    interrupts: int = uint(2)
    offered_select: int = uint(32)
    accepted_select: int = uint(32)
    accepted: int = uint(64)
    queue_select: int = uint(32)
    page_size: int = uint(32)
    """Legacy: bytes of a page in queue addresses."""
    alignment: int = uint(32)
    """Legacy: of the used ring of the queue to be set up next."""


@device("virtio-mmio", "virtio over memory-mapped registers")
class VirtioMmio(Device):
    """`legacy`: version 1. Values are little-endian; the configuration space of a legacy device is the guest's."""

    State = MmioState
    state: MmioState

    def __init__(self, *, device: VirtioDevice, irq: Line, legacy: bool = False) -> None:
        self.device = device
        self.legacy = legacy
        self._irq = irq
        super().__init__()
        device.transport = self

    # -- interrupts

    def queue_interrupt(self, index: int) -> None:
        """See `devices.virtio.device.Transport`."""
        self.state.interrupts |= USED
        self._irq.set(True)

    def config_interrupt(self) -> None:
        """See `devices.virtio.device.Transport`."""
        self.state.interrupts |= CHANGED
        self._irq.set(True)

    # -- registers

    def read(self, offset: int, width: int) -> int:
        """Registers are read as 32-bit words; the configuration space in any width."""
        if offset >= CONFIG:
            return self.device.read_config(offset - CONFIG, width)
        if width != 4:
            return 0
        read = READS.get(offset)
        return 0 if read is None else read(self) & 0xFFFFFFFF

    def write(self, offset: int, width: int, value: int) -> None:
        """Registers are written as 32-bit words; the configuration space in any width."""
        if offset >= CONFIG:
            self.device.write_config(offset - CONFIG, width, value)
        elif width == 4:
            if offset == 0x50:
                self.device.notify(value)
            elif 0x80 <= offset < 0xA8:
                self._set_address(offset, value)
            else:
                write = WRITES.get(offset)
                if write is not None:
                    write(self, value)

    def _queue(self) -> Any:
        """The selected queue, or None."""
        n = self.state.queue_select
        return self.device.queues[n] if n < len(self.device.queues) else None

    def _offered(self) -> int:
        select = self.state.offered_select
        return self.device.features(self.legacy) >> 32 * select if select < 2 else 0

    def _accept(self, value: int) -> None:
        s = self.state
        if s.accepted_select < 2:
            shift = 32 * s.accepted_select
            s.accepted = s.accepted & ~(0xFFFFFFFF << shift) | value << shift
            self.device.accept(s.accepted, self.legacy)

    def _most(self) -> int:
        queue = self._queue()
        return queue.limit if queue is not None else 0

    def _set_size(self, value: int) -> None:
        queue = self._queue()
        if queue is None or queue.state.ready or not 0 < value <= queue.limit:
            return
        if not value & (value - 1) or self.device.accepted(RING_PACKED):
            queue.state.size = value

    def _page(self) -> int:
        queue = self._queue()
        return queue.state.desc // self.state.page_size if queue is not None and self.state.page_size else 0

    def _set_page(self, value: int) -> None:
        """Legacy: where the queue is, in pages; 0 stops it."""
        queue, s = self._queue(), self.state
        if queue is None or not self.legacy:
            return
        if value == 0:
            queue.reset()
        elif not queue.state.ready and _power(s.page_size) and _power(s.alignment):
            set_legacy_ring(queue.state, queue.state.size, value * s.page_size, s.alignment)

    def _ready(self) -> int:
        queue = self._queue()
        return int(queue.state.ready) if queue is not None and not self.legacy else 0

    def _set_ready(self, value: int) -> None:
        queue = self._queue()
        if queue is None or self.legacy:
            return
        if value & 1:
            queue.state.ready = True
        elif queue.state.ready:
            queue.reset()

    def _set_address(self, offset: int, value: int) -> None:
        queue, name = self._queue(), ADDRESSES.get(offset & ~4)
        if queue is None or name is None or queue.state.ready or self.legacy:
            return
        shift = 8 * (offset & 4)
        setattr(queue.state, name, getattr(queue.state, name) & ~(0xFFFFFFFF << shift) | value << shift)

    def _acknowledge(self, value: int) -> None:
        self.state.interrupts &= ~value
        self._irq.set(bool(self.state.interrupts))

    def _set_status(self, value: int) -> None:
        if value & 0xFF == 0:
            self._forget()
        self.device.set_status(value, self.legacy)

    def _set(self, name: str, value: int) -> None:
        setattr(self.state, name, value)

    # -- life

    def _forget(self) -> None:
        """The driver resets the device. The size of its pages it does not say anew."""
        page_size = self.state.page_size
        self.clear()
        self.state.page_size = page_size
        self._irq.set(False)

    def reset(self) -> None:
        """The reset pin. The device behind has its own."""
        self.clear()
        self._irq.set(False)


def _power(value: int) -> bool:
    return 0 < value <= 1 << 31 and not value & (value - 1)


READS: dict[int, Callable[[VirtioMmio], int]] = {
    0x000: lambda m: MAGIC,
    0x004: lambda m: 1 if m.legacy else 2,
    0x008: lambda m: m.device.number,
    0x00C: lambda m: VENDOR,
    0x010: VirtioMmio._offered,
    0x034: VirtioMmio._most,
    0x040: VirtioMmio._page,
    0x044: VirtioMmio._ready,
    0x060: lambda m: m.state.interrupts,
    0x070: lambda m: m.device.state.status,
    0x0B0: lambda m: 0xFFFFFFFF,  # no shared memory: length and base are all ones
    0x0B4: lambda m: 0xFFFFFFFF,
    0x0B8: lambda m: 0xFFFFFFFF,
    0x0BC: lambda m: 0xFFFFFFFF,
    0x0FC: lambda m: m.device.state.generation,
}
WRITES: dict[int, Callable[[VirtioMmio, int], None]] = {
    0x014: lambda m, value: m._set("offered_select", value),
    0x020: VirtioMmio._accept,
    0x024: lambda m, value: m._set("accepted_select", value),
    0x028: lambda m, value: m._set("page_size", value),
    0x030: lambda m, value: m._set("queue_select", value),
    0x038: VirtioMmio._set_size,
    0x03C: lambda m, value: m._set("alignment", value),
    0x040: VirtioMmio._set_page,
    0x044: VirtioMmio._set_ready,
    0x064: VirtioMmio._acknowledge,
    0x070: VirtioMmio._set_status,
}
