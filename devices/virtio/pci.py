"""Virtio over PCI: the modern interface, the legacy one, or both (a transitional device).

    card = VirtioPci(slot=slot, device=Blk(...))        # then `PciBus.add(n, 0, card)`

    BAR 0   legacy registers (I/O): 20 bytes, 24 with MSI-X on, then the configuration space in the guest's byte order
    BAR 1   MSI-X
    BAR 4   0000 common configuration  1000 interrupt status  2000 configuration space  3000 bells, 4 bytes a queue

VIRTIO 1.2, 4.1 (PCI bus); legacy interface: 4.1.4.10, 4.1.5.1.1.1 and the like.
"""

# ruff: noqa: RUF009

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from devices.device import device
from devices.pci import Bar
from devices.pci_card import CardState, PciCard, PciSlot
from devices.state import uint, uints
from devices.virtio.device import FEATURES_OK, MAX_QUEUES, VirtioDevice
from devices.virtio.ring import RING_PACKED

VENDOR = 0x1AF4
MODERN = 0x1040
TRANSITIONAL = {1: 0x1000, 2: 0x1001, 5: 0x1002, 3: 0x1003, 8: 0x1004, 4: 0x1005, 9: 0x1009}
"""PCI device IDs of the transitional devices, by virtio device ID (4.1.2.1)."""
NO_VECTOR = 0xFFFF
MODERN_BAR, MODERN_SIZE = 4, 0x4000
ISR, DEVICE, NOTIFY = 0x1000, 0x2000, 0x3000
BELL = 4
CAP_COMMON, CAP_NOTIFY, CAP_ISR, CAP_DEVICE, CAP_PCI = 1, 2, 3, 4, 5
VENDOR_CAPABILITY = 0x09
LEGACY_ALIGN = 4096
ISR_QUEUE, ISR_CONFIG = 1, 2


@dataclass
class VirtioPciState(CardState):
    isr: int = uint(2)
    offered_select: int = uint(32)
    accepted_select: int = uint(32)
    accepted: int = uint(64)
    """What the driver has written so far."""
    queue_select: int = uint(16)
    config_vector: int = uint(16, NO_VECTOR)
    vectors: list[int] = uints(MAX_QUEUES, 16, NO_VECTOR)
    """The MSI-X vector of each queue."""


@device("virtio-pci", "virtio over PCI")
class VirtioPci(PciCard):
    """`modern` and `legacy` say which interfaces there are. Only some device IDs have a legacy one."""

    State: ClassVar[type[Any]] = VirtioPciState
    vendor = VENDOR
    pin = 1

    def __init__(
        self,
        *,
        slot: PciSlot,
        device: VirtioDevice,
        modern: bool = True,
        legacy: bool = True,
        vectors: int | None = None,
    ) -> None:
        legacy = legacy and device.number in TRANSITIONAL
        if not modern and not legacy:
            raise ValueError(f"{device.name}: neither a modern nor a legacy interface")
        self.device = device
        self.product = TRANSITIONAL[device.number] if legacy else MODERN + device.number
        self.revision = 0 if legacy else 1
        self.class_code = device.pci_class
        self.subsystem = (device.number if legacy else 0x1100) << 16 | VENDOR
        bars = []
        name = f"{device.name} "
        if legacy:
            size = 1 << (24 + device.config_size() - 1).bit_length()
            bars.append(
                Bar(0, size, slot.range(size, self.read_legacy, self.write_legacy, io=True, name=f"{name}i/o"), io=True)
            )
        if modern:
            place = slot.range(MODERN_SIZE, self.read, self.write, name=f"{name}registers")
            bars.append(Bar(MODERN_BAR, MODERN_SIZE, place))
        super().__init__(slot, bars, vectors=len(device.queues) + 1 if vectors is None else vectors)
        device.transport = self
        self._window = 0
        if modern:
            size = device.config_size()
            for kind, offset, length, more in (
                (CAP_PCI, 0, 0, bytes(4)),
                (CAP_NOTIFY, NOTIFY, BELL * len(device.queues), BELL.to_bytes(4, "little")),
                (CAP_DEVICE, DEVICE, max(size, 4), b""),
                (CAP_ISR, ISR, 4, b""),
                (CAP_COMMON, 0, 0x40, b""),
            ):
                if kind == CAP_DEVICE and not size:
                    continue
                bar = MODERN_BAR if kind != CAP_PCI else 0
                body = bytes((16 + len(more), kind, bar, 0, 0, 0))
                body += offset.to_bytes(4, "little") + length.to_bytes(4, "little") + more
                if kind == CAP_PCI:
                    mask = b"\0\0\xff\0\0\0" + b"\xff" * 8
                    self._window = self.capability(VENDOR_CAPABILITY, body, mask)
                    self.writable[self._window + 16 : self._window + 20] = b"\xff" * 4
                else:
                    self.capability(VENDOR_CAPABILITY, body)
        self.clear()

    # -- interrupts

    def queue_interrupt(self, index: int) -> None:
        """See `devices.virtio.device.Transport`."""
        if self.msix:
            self.send(self.state.vectors[index])
        else:
            self.state.isr |= ISR_QUEUE
            self.interrupt(True)

    def config_interrupt(self) -> None:
        """See `devices.virtio.device.Transport`."""
        if self.msix:
            self.send(self.state.config_vector)
        else:
            self.state.isr |= ISR_CONFIG
            self.interrupt(True)

    def bell(self, index: int = 0) -> tuple[int, int] | None:
        """For a loan: the physical address of the bell of a queue and the vector of its interrupts, None where either
        is not plain. `VirtioDevice.home` is called before they change."""
        vector, place = self.state.vectors[index], self._places.get(MODERN_BAR)
        if place is None or self.slot.vector is None or not self.master or not self.deliverable(vector):
            return None
        number = self.slot.vector(*self.message_of(vector))
        return None if number is None else (place + NOTIFY + BELL * index, number)

    def written(self, register: int, width: int) -> None:
        self.device.home()
        super().written(register, width)

    def _write_msix(self, offset: int, width: int, value: int) -> None:
        self.device.home()
        super()._write_msix(offset, width, value)

    def _read_isr(self) -> int:
        isr: int = self.state.isr
        self.state.isr = 0
        self.interrupt(False)
        return isr

    # -- the modern interface

    def read(self, offset: int, width: int) -> int:
        """BAR 4."""
        self.device.home()
        if offset < 0x40:
            return self._common(offset, width)
        if offset & ~(ISR - 1) == ISR:
            return self._read_isr() if offset == ISR else 0
        if DEVICE <= offset < NOTIFY:
            return self.device.read_config(offset - DEVICE, width)
        return 0

    def write(self, offset: int, width: int, value: int) -> None:
        """BAR 4."""
        self.device.home()
        if offset >= NOTIFY:
            self.device.notify((offset - NOTIFY) // BELL)
        elif offset < 0x40:
            self._set_common(offset, width, value)
        elif offset >= DEVICE:
            self.device.write_config(offset - DEVICE, width, value)

    def _common(self, offset: int, width: int) -> int:
        """A field of the common configuration, or the part of one that an access asks for."""
        at, value = self._field(offset & ~3)
        if offset & 3 >= 2 and (offset & ~3) in HALVES:
            at, value = self._field(offset & ~1)
        return value >> 8 * (offset - at) & (1 << 8 * width) - 1

    def _field(self, offset: int) -> tuple[int, int]:
        """Two or four bytes: where they begin and their value, with the neighbour where both are in one word."""
        s, d = self.state, self.device
        if offset == 0x00:
            return 0x00, s.offered_select
        if offset == 0x04:
            return 0x04, d.features(False) >> 32 * s.offered_select & 0xFFFFFFFF if s.offered_select < 2 else 0
        if offset == 0x08:
            return 0x08, s.accepted_select
        if offset == 0x0C:
            return 0x0C, s.accepted >> 32 * s.accepted_select & 0xFFFFFFFF if s.accepted_select < 2 else 0
        if offset == 0x10:
            return 0x10, s.config_vector | len(d.queues) << 16
        if offset == 0x12:
            return 0x12, len(d.queues)
        if offset == 0x14:
            return 0x14, d.state.status | (d.state.generation & 0xFF) << 8 | s.queue_select << 16
        if offset == 0x16:
            return 0x16, s.queue_select
        if s.queue_select >= len(d.queues):
            if offset == 0x18:
                return 0x18, NO_VECTOR << 16
            return (0x1A, NO_VECTOR) if offset == 0x1A else (offset, 0)
        q = d.queues[s.queue_select].state
        if offset == 0x18:
            return 0x18, q.size | s.vectors[s.queue_select] << 16
        if offset == 0x1A:
            return 0x1A, s.vectors[s.queue_select]
        if offset == 0x1C:
            return 0x1C, int(q.ready) | s.queue_select << 16
        if offset == 0x1E:
            return 0x1E, s.queue_select
        for base, address in ((0x20, q.desc), (0x28, q.driver), (0x30, q.device)):
            if base <= offset < base + 8:
                return base, address
        return offset, 0

    def _set_common(self, offset: int, width: int, value: int) -> None:
        s, d = self.state, self.device
        if width == 4 and offset in (0x10, 0x14, 0x18, 0x1C):
            self._set_common(offset, 2, value & 0xFFFF)
            self._set_common(offset + 2, 2, value >> 16)
        elif offset == 0x00 and width == 4:
            s.offered_select = value
        elif offset == 0x08 and width == 4:
            s.accepted_select = value
        elif offset == 0x0C and width == 4:
            if s.accepted_select < 2 and not d.state.status & FEATURES_OK:
                shift = 32 * s.accepted_select
                s.accepted = s.accepted & ~(0xFFFFFFFF << shift) | value << shift
                d.accept(s.accepted, False)
        elif offset == 0x10 and width == 2:
            s.config_vector = value if value < self.vectors else NO_VECTOR
        elif offset == 0x14 and width <= 2:
            self._set_status(value & 0xFF, False)
        elif offset == 0x16 and width == 2:
            s.queue_select = value
        elif 0x18 <= offset < 0x38 and s.queue_select < len(d.queues):
            self._set_queue(offset, width, value)

    def _set_status(self, value: int, legacy: bool) -> None:
        if value == 0:
            self._forget()
        self.device.set_status(value, legacy)

    def _set_queue(self, offset: int, width: int, value: int) -> None:
        s, d = self.state, self.device
        queue = d.queues[s.queue_select]
        q = queue.state
        if offset == 0x1A and width == 2:
            s.vectors[s.queue_select] = value if value < self.vectors else NO_VECTOR
        elif q.ready:
            return  # nothing of it may change now
        elif offset == 0x18 and width == 2:
            power = not value & (value - 1) or d.accepted(RING_PACKED)
            if 0 < value <= queue.limit and power:
                q.size = value
        elif offset == 0x1C and width == 2:
            if value == 1:
                q.ready = True
        elif offset >= 0x20 and width == 4:
            name = ("desc", "driver", "device")[(offset - 0x20) >> 3]
            shift = 8 * (offset & 4)
            setattr(q, name, getattr(q, name) & ~(0xFFFFFFFF << shift) | value << shift)

    # -- the legacy interface

    def read_legacy(self, offset: int, width: int) -> int:
        """BAR 0."""
        self.device.home()
        s, d = self.state, self.device
        start = 24 if self.msix else 20
        if offset >= start:
            return d.read_config(offset - start, width)
        q = d.queues[s.queue_select].state if s.queue_select < len(d.queues) else None
        if offset < 4:
            value, at = d.features(True), 0
        elif offset < 8:
            value, at = d.state.features & 0xFFFFFFFF, 4
        elif offset < 12:
            value, at = (q.desc // LEGACY_ALIGN if q is not None else 0), 8
        elif offset < 14:
            value, at = (d.queues[s.queue_select].limit if q is not None else 0), 12
        elif offset < 16:
            value, at = s.queue_select, 14
        elif offset < 18:
            value, at = 0, 16
        elif offset == 18:
            value, at = d.state.status, 18
        elif offset == 19:
            value, at = self._read_isr(), 19
        elif offset < 22:
            value, at = s.config_vector, 20
        else:
            value, at = (s.vectors[s.queue_select] if q is not None else NO_VECTOR), 22
        return value >> 8 * (offset - at) & (1 << 8 * width) - 1

    def write_legacy(self, offset: int, width: int, value: int) -> None:
        """BAR 0."""
        self.device.home()
        s, d = self.state, self.device
        start = 24 if self.msix else 20
        if offset >= start:
            d.write_config(offset - start, width, value)
        elif offset == 4 and width == 4:
            d.accept(value, True)
        elif offset == 8 and width == 4:
            self._set_page(value)
        elif offset == 14 and width == 2:
            s.queue_select = value
        elif offset == 16 and width == 2:
            d.notify(value)
        elif offset == 18:
            self._set_status(value & 0xFF, True)
        elif offset == 20 and width == 2:
            s.config_vector = value if value < self.vectors else NO_VECTOR
        elif offset == 22 and width == 2 and s.queue_select < len(d.queues):
            s.vectors[s.queue_select] = value if value < self.vectors else NO_VECTOR

    def _set_page(self, page: int) -> None:
        """Queue address: a legacy ring is one piece from a page on (2.7.2)."""
        s, d = self.state, self.device
        if s.queue_select >= len(d.queues):
            return
        queue = d.queues[s.queue_select]
        if page == 0:
            queue.reset()
        elif not queue.state.ready:
            set_legacy_ring(queue.state, queue.limit, page * LEGACY_ALIGN, LEGACY_ALIGN)

    # -- life

    def _forget(self) -> None:
        """The driver resets the device: what the transport keeps of it goes too."""
        s = self.state
        fresh = VirtioPciState()
        for name in (
            "isr",
            "offered_select",
            "accepted_select",
            "accepted",
            "queue_select",
            "config_vector",
            "vectors",
        ):
            setattr(s, name, getattr(fresh, name))
        self.interrupt(False)

    def config_read(self, register: int, width: int) -> int:
        at = self._window
        if at and at + 16 <= register < at + 20:
            access = self._access()
            if access is not None:
                self._put(self.read(*access), access[1])
        return super().config_read(register, width)

    def config_write(self, register: int, width: int, value: int) -> None:
        super().config_write(register, width, value)
        at = self._window
        if at and at + 16 <= register < at + 20:
            access = self._access()
            if access is not None:
                self.write(*access, self.get(at + 16, access[1]))

    def _access(self) -> tuple[int, int] | None:
        """Where the window of configuration space points to: offset in BAR 4 and width (4.1.4.9)."""
        at = self._window
        offset, width = self.get(at + 8, 4), self.get(at + 12, 4)
        if self.state.config[at + 4] != MODERN_BAR or width not in (1, 2, 4) or offset & (width - 1):
            return None
        return (offset, width) if offset <= MODERN_SIZE - width else None

    def _put(self, value: int, width: int) -> None:
        self.state.config[self._window + 16 : self._window + 16 + width] = value.to_bytes(width, "little")


HALVES = (0x10, 0x14, 0x18, 0x1C)
"""Words of the common configuration whose upper half is a field of its own."""


def set_legacy_ring(q: Any, size: int, base: int, align: int) -> None:
    """Put the three parts of a legacy ring behind one another, the used ring aligned, and start it."""
    q.size = size
    q.desc = base
    q.driver = base + 16 * size
    q.device = q.driver + 6 + 2 * size + align - 1 & -align
    q.ready = True
