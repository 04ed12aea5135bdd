"""The bus master of the PIIX family's IDE function, and that function as a card of its own.

82371SB (290550), section 2.7: eight bytes for each channel behind BAR4, a command, a status and the address of a table
of regions in memory (physical region descriptors, SFF-8038i): address, byte count with 0 for 64 KiB, and a mark on
the last. Drives (devices.ata, devices.atapi) bring and fetch data through `give` and `take`; data moves when both a
drive and the driver, by the start bit, are ready. What the status says at the end (SFF-8038i, 3.1): interrupt and not
active, all regions used; both, there was more room than data; neither, there was less, and the drive still asks.
A region outside of memory is a bus error: the error bit, and nothing more moves.
"""

# ruff: noqa: RUF009

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from devices.ata import AtaChannel, Drive
from devices.contracts import Clock, GuestMemory, Line, Wire
from devices.device import Device, device
from devices.pci import COMMAND, Bar
from devices.pci_card import PciCard, PciSlot
from devices.state import flag, records, uint

START, TO_MEMORY = 0x01, 0x08
ACTIVE, ERROR, INTERRUPT, CAPABLE = 0x01, 0x02, 0x04, 0x60
LAST = 1 << 31
REGION_MAX = 0x10000
PAGE = 4096
PAGES = 512
"""Descriptors of whole pages that are read at a time."""
ENTRIES = 64
"""Descriptors that are read at a time."""


@dataclass
class MasterState:
    command: int = uint(8)
    status: int = uint(8)
    table: int = uint(32)
    level: bool = flag()
    """The channel asserts its interrupt."""
    at: int = uint(33)
    """The next descriptor."""
    base: int = uint(33)
    """Where the rest of the present region is, and how long it is."""
    left: int = uint(17)
    last: bool = flag()
    """The present region is the last."""


@dataclass
class BusMasterState:
    channels: list[MasterState] = records(2, MasterState)


class _MarkedLine:
    """An interrupt line whose rising edge leaves its mark in the bus-master status."""

    def __init__(self, master: BusMaster, channel: int, out: Line) -> None:
        self.master = master
        self.channel = channel
        self.out = out

    def set(self, level: bool) -> None:
        state = self.master.state.channels[self.channel]
        if level and not state.level:
            state.status |= INTERRUPT
        state.level = level
        self.out.set(level)


class Port:
    """One channel's bus master, as its drives see it (`devices.ata.DmaPort`)."""

    def __init__(self, master: BusMaster, channel: int) -> None:
        self._master = master
        self._channel = channel
        self.ready: Callable[[], None] = lambda: None
        """Called when it has been started."""

    def _started(self, direction: int) -> MasterState | None:
        state: MasterState = self._master.state.channels[self._channel]
        if not state.command & START or state.command & TO_MEMORY != direction or not self._master.enabled():
            return None
        return state

    def give(self, data: bytes) -> int | None:
        """See `devices.ata.DmaPort`."""
        state = self._started(TO_MEMORY)
        if state is None:
            return None
        places, room = self._regions(state, len(data), True)
        self._master.scatter(places, data)
        return room

    def take(self, length: int) -> bytes | None:
        """See `devices.ata.DmaPort`."""
        state = self._started(0)
        if state is None:
            return None
        places, _ = self._regions(state, length, False)
        return self._master.gather(places)

    def _regions(self, state: MasterState, wanted: int, write: bool) -> tuple[list[tuple[int, int]], int]:
        """Where the next `wanted` bytes are or go, as (address, length), and how many it is that move.

        That is fewer at the end of the table or after an error.
        """
        places: list[tuple[int, int]] = []
        left_to_move = wanted
        reaches, memory = self._master.reaches, self._master.memory
        base, left = state.base, state.left
        if not left and state.status & ACTIVE and wanted >= 2 * PAGE:
            places = self._pages(state, wanted // PAGE, write)
            left_to_move -= PAGE * len(places)
        entries: Iterator[tuple[int, int]] = iter(())
        while left_to_move and state.status & ACTIVE:
            if not left:
                entry = next(entries, None)
                if entry is None:
                    size = 8 * ENTRIES if reaches(state.at, 8 * ENTRIES, False) else 8
                    if size == 8 and not reaches(state.at, 8, False):
                        state.status = state.status & ~ACTIVE | ERROR
                        break
                    entries = struct.iter_unpack("<II", memory.read(state.at, size))
                    entry = next(entries)
                base = entry[0] & ~1
                left = (entry[1] & 0xFFFE) or REGION_MAX
                state.last = entry[1] >= LAST
                state.at += 8
            count = left if left < left_to_move else left_to_move
            if not reaches(base, count, write):
                state.status = state.status & ~ACTIVE | ERROR
                break
            places.append((base, count))
            base += count
            left -= count
            left_to_move -= count
            if not left and state.last:
                state.status &= ~ACTIVE
        state.base, state.left = base, left
        return places, wanted - left_to_move

    def _pages(self, state: MasterState, most: int, write: bool) -> list[tuple[int, int]]:
        """The next descriptors as far as they are whole pages of memory, which is how drivers' tables begin."""
        master = self._master
        size = 8 * min(most, PAGES)
        if not master.reaches(state.at, size, False):
            return []
        table = memoryview(master.memory.read(state.at, size)).cast("I")
        if sys.byteorder != "little":
            return []
        bases, sizes = table[0::2].tolist(), table[1::2].tolist()
        count = 0
        while count < len(sizes) and sizes[count] == PAGE:
            count += 1
        del bases[count:]
        if not bases:
            return []
        low, high = min(bases), max(bases)
        if low & 1 or not master.reaches(low, high - low + PAGE, write) or any(base & 1 for base in bases):
            return []
        state.at += 8 * count
        state.last = False
        return [(base, PAGE) for base in bases]


@device("piix-bmide", "PIIX bus-master IDE")
class BusMaster(Device):
    """The sixteen bytes behind BAR4 of the IDE function. For channel n: give `lines[n]` to it as its interrupt line and
    `ports[n]` as its `dma`, and set `ports[n].ready` to its `dma_ready`.

    `enabled` says whether the function may master the bus. Started without a drive that asks for DMA, a channel is
    active until it is stopped, as the real one is.
    """

    State = BusMasterState
    state: BusMasterState

    def __init__(
        self, *, primary: Line, secondary: Line, memory: GuestMemory, enabled: Callable[[], bool] = lambda: True
    ) -> None:
        super().__init__()
        self.memory = memory
        self.enabled = enabled
        self.reaches: Callable[[int, int, bool], bool] = getattr(memory, "reaches", lambda addr, length, write: True)
        self.scatter: Callable[[list[tuple[int, int]], bytes], None] = getattr(memory, "scatter", self._scatter)
        self.gather: Callable[[list[tuple[int, int]]], bytes] = getattr(memory, "gather", self._gather)
        self.lines = (_MarkedLine(self, 0, primary), _MarkedLine(self, 1, secondary))
        self.ports = (Port(self, 0), Port(self, 1))

    def _scatter(self, places: list[tuple[int, int]], data: bytes) -> None:
        done = 0
        for addr, length in places:
            self.memory.write(addr, data[done : done + length])
            done += length

    def _gather(self, places: list[tuple[int, int]]) -> bytes:
        return b"".join([self.memory.read(addr, length) for addr, length in places])

    def check(self, registers: dict[str, int], state: BusMasterState) -> None:
        for index, channel in enumerate(state.channels):
            if channel.status & ACTIVE and not channel.command & START:
                raise ValueError(f"channels[{index}].status: active, but not started")
            if channel.left > REGION_MAX or channel.left & 1:
                raise ValueError(f"channels[{index}].left: {channel.left} bytes of a region")

    def read(self, offset: int, width: int) -> int:
        """Read BAR4 space."""
        if width == 1:
            return self._read_byte(offset & 15)
        value = 0
        for at in range(width):
            value |= self._read_byte(offset + at & 15) << (8 * at)
        return value

    def write(self, offset: int, width: int, value: int) -> None:
        """Write BAR4 space."""
        if width == 4 and offset & 7 == 4:
            self.state.channels[offset >> 3 & 1].table = value & 0xFFFFFFFC
            return
        for at in range(width):
            self._write_byte(offset + at & 15, value >> (8 * at) & 0xFF)

    def _read_byte(self, offset: int) -> int:
        number, reg = divmod(offset, 8)
        channel = self.state.channels[number]
        if reg == 0:
            return channel.command
        if reg == 2:
            return channel.status
        if reg >= 4:
            return channel.table >> (8 * (reg - 4)) & 0xFF
        return 0

    def _write_byte(self, offset: int, value: int) -> None:
        number, reg = divmod(offset, 8)
        channel = self.state.channels[number]
        if reg == 0:
            self._command(number, value & (START | TO_MEMORY))
        elif reg == 2:  # error and interrupt are cleared by ones, the drive-capable bits are stored
            kept = channel.status & (ACTIVE | ERROR | INTERRUPT) & ~(value & (ERROR | INTERRUPT))
            channel.status = kept | value & CAPABLE
        elif reg >= 4:
            shift = 8 * (reg - 4)
            channel.table = (channel.table & ~(0xFF << shift) | value << shift) & 0xFFFFFFFC

    def _command(self, number: int, value: int) -> None:
        channel = self.state.channels[number]
        before, channel.command = channel.command, value
        if not value & START:
            channel.status &= ~ACTIVE
        elif not before & START:
            channel.status |= ACTIVE
            channel.at, channel.left, channel.last = channel.table, 0, False
            self.ports[number].ready()

    def enable(self) -> None:
        """The function may master the bus from now on."""
        for port, channel in zip(self.ports, self.state.channels, strict=True):
            if channel.command & START:
                port.ready()


def channels(master: BusMaster, clock: Clock, drives: Sequence[Drive | None]) -> list[AtaChannel]:
    """The two channels of a bus master, with up to four drives."""
    made = []
    four = [*drives, None, None, None, None][:4]
    for index, port in enumerate(master.ports):
        channel = AtaChannel(intr=master.lines[index], clock=clock, drives=four[2 * index : 2 * index + 2], dma=port)
        port.ready = channel.dma_ready
        made.append(channel)
    return made


@device("piix3-ide-card", "82371SB IDE function as a PCI card")
class PiixIdeCard(PciCard):
    """Both channels in native mode, as PCI IDE controllers outside of a chip set are: command and control blocks of the
    channels behind BAR0 to BAR3, the bus master behind BAR4, one interrupt pin (PCI IDE Controller Specification 1.0).

    The channels are enabled from the start (IDETIM): no firmware does it on such a board. `channels` and
    `bus_master` are devices of their own.
    """

    product = 0x7010
    class_code = 0x010185
    status = 0x0280
    pin = 1

    def __init__(self, *, slot: PciSlot, clock: Clock, drives: Sequence[Drive | None] = ()) -> None:
        pin = Wire(lambda level: self._raised())
        self.bus_master = BusMaster(primary=pin, secondary=pin, memory=slot.memory, enabled=lambda: self.master)
        self._made = False
        self.channels = channels(self.bus_master, clock, drives)
        bars = []
        for index, channel in enumerate(self.channels):
            command = slot.range(8, channel.read, channel.write, io=True, name=f"ide{index}")
            control = slot.range(
                4, _at(2, channel.read_control), _at_write(2, channel.write_control), io=True, max_width=1,
                name=f"ide{index} control",
            )  # fmt: skip
            bars += [Bar(2 * index, 8, command, io=True), Bar(2 * index + 1, 4, control, io=True)]
        ports = slot.range(16, self.bus_master.read, self.bus_master.write, io=True, name="ide bus master")
        super().__init__(slot, (*bars, Bar(4, 16, ports, io=True)))
        for register in (0x40, 0x42):
            self.declare(register, 2, 0x8000, 0xF3FF)
        self.declare(0x44, 1, 0, 0xFF)
        self.clear()
        self._made = True

    def _raised(self) -> None:
        if self._made:
            self.interrupt(any(channel.level for channel in self.bus_master.state.channels))

    def written(self, register: int, width: int) -> None:
        super().written(register, width)
        if register <= COMMAND < register + width and self.master:
            self.bus_master.enable()


def _at(place: int, read: Callable[[int, int], int]) -> Callable[[int, int], int]:
    return lambda offset, width: read(0, width) if offset == place else 0xFF


def _at_write(place: int, write: Callable[[int, int, int], None]) -> Callable[[int, int, int], None]:
    def at(offset: int, width: int, value: int) -> None:
        if offset == place:
            write(0, width, value)

    return at
