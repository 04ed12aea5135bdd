"""Guest memory: one buffer that C, memoryview and numpy all see, and the map of which physical addresses lie in it.

The buffer starts with RAM (physical address = offset), then comes the flash at the top of 4 GiB, then the memory of
devices (frame buffers), which a guest moves about with base address registers. The processor reads `regions` to fill
its TLB; what no region covers goes to the bus. Devices reach RAM through `Dma` only.
The PC's map of the first MiB follows the i440FX data sheet, section "System Address Map".
"""

from __future__ import annotations

import mmap
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PAGE = 4096
FOUR_GIB = 1 << 32
MAX_RAM = 0xE0000000
"""3.5 GiB: above it lies the PCI hole."""

TEXT_WINDOW = 0xB8000
TEXT_WINDOW_SIZE = 0x8000

GUARD = 1 << 16
"""Bytes before and behind memory that nobody may touch; an engine takes their access rights away."""

_MAP_NORESERVE = 0x4000  # Linux; the mmap module names it only from Python 3.13 on


class Kind(IntEnum):
    """How the processor treats a region."""

    RAM = 0
    ROM = 1  # reads and fetches come from the buffer, writes are dropped
    DIRECT = 2  # device memory that at the moment behaves as RAM
    MMIO = 3  # every access goes to the bus


class Region(NamedTuple):
    """`size` bytes at physical `paddr`, kept at `offset` in the buffer. All three are multiples of 4 KiB."""

    paddr: int
    size: int
    offset: int
    kind: Kind


def buffer_length(size: int, rom_size: int, extra: int = 0) -> int:
    """Bytes of buffer that a GuestRam of these sizes needs."""
    return size + rom_size + extra


class GuestRam:
    """RAM of `size` bytes, flash of `rom_size` bytes that ends at 4 GiB, and `extra` bytes of devices' memory.

    All are rounded up to 4 KiB; the devices' memory is nowhere until `place`.

    Untouched pages cost nothing, and core dumps leave the buffer out. `buffer` may be any writable buffer of
    `buffer_length` bytes; only our own has guard pages. `flat` memory has none of the PC's holes, and its physical
    addresses are 36 bits wide rather than 32. Raises ValueError for sizes outside 1 MiB..3.5 GiB and 0..16 MiB, and
    MemoryError or OSError if the host has no address space left.
    """

    def __init__(self, size: int, rom_size: int = 0, *, extra: int = 0, buffer: Any = None, flat: bool = False) -> None:
        size = -(-size // PAGE) * PAGE
        rom_size = -(-rom_size // PAGE) * PAGE
        extra = -(-extra // PAGE) * PAGE
        if not 1 << 20 <= size <= MAX_RAM:
            raise ValueError(f"RAM must be 1 MiB to 3584 MiB, not {size / (1 << 20):g} MiB")
        if not 0 <= rom_size <= 16 << 20:
            raise ValueError(f"a BIOS may have at most 16 MiB, not {rom_size} bytes")
        self.size = size
        self.rom_size = rom_size
        self.guard = 0
        """Bytes at either end of `buffer` that are not memory; `view` is what lies between."""
        length = buffer_length(size, rom_size, extra)
        if buffer is None:
            buffer = mmap.mmap(-1, length + 2 * GUARD, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE)
            buffer.madvise(mmap.MADV_DONTDUMP)
            self.guard = GUARD
        self.buffer: Any = buffer
        whole = memoryview(buffer)
        self.view: memoryview = whole[self.guard : self.guard + length]
        if whole.readonly or whole.nbytes != length + 2 * self.guard:
            raise ValueError(f"expected a writable buffer of {length} bytes")
        self.extra = size + rom_size
        """Where in the buffer the devices' memory begins."""
        self.direct = False
        self.on_remap: list[Callable[[], None]] = []
        self.on_write: list[Callable[[int, int], None]] = []
        """Called with (paddr, length) after memory changed other than by the processor."""
        self.regions: list[Region] = []
        self._starts: list[int] = []
        self.space = 1 << 36 if flat else FOUR_GIB
        if flat:
            self._place([Region(0, size, 0, Kind.RAM)])
        else:
            self._place(
                [
                    Region(0, 0xA0000, 0, Kind.RAM),
                    Region(0xA0000, 0x20000, 0xA0000, Kind.MMIO),
                    Region(0xC0000, 0x40000, 0xC0000, Kind.ROM),
                ]
            )
            if size > 1 << 20:
                self._place([*self.regions, Region(1 << 20, size - (1 << 20), 1 << 20, Kind.RAM)])
        if rom_size:
            self._place([*self.regions, Region(FOUR_GIB - rom_size, rom_size, size, Kind.ROM)])

    @property
    def array(self) -> NDArray[np.uint8]:
        """The whole memory as a numpy array of bytes, shared and writable."""
        import numpy

        return numpy.frombuffer(self.buffer, dtype=numpy.uint8, count=self.view.nbytes, offset=self.guard)

    def _place(self, regions: list[Region]) -> None:
        """Sort, join neighbours that continue one another, and store."""
        joined: list[Region] = []
        for region in sorted(regions):
            last = joined[-1] if joined else None
            if (
                last is not None
                and last.kind == region.kind
                and last.paddr + last.size == region.paddr
                and last.offset + last.size == region.offset
            ):
                joined[-1] = last._replace(size=last.size + region.size)
            else:
                joined.append(region)
        self.regions[:] = joined
        self._starts = [region.paddr for region in joined]

    def set_kind(self, paddr: int, size: int, kind: Kind, offset: int | None = None) -> None:
        """Let `size` bytes at `paddr`, all of them already in some region, be treated as `kind` from now on.

        With `offset` they also lie there in the buffer. Raises ValueError for a range that is not made of whole pages
        or not wholly in the map.
        """
        if paddr % PAGE or size % PAGE or size <= 0:
            raise ValueError(f"{paddr:#x}+{size:#x} is not made of whole pages")
        end = paddr + size
        result: list[Region] = []
        covered = 0
        for region in self.regions:
            low, high = max(region.paddr, paddr), min(region.paddr + region.size, end)
            if low >= high:
                result.append(region)
                continue
            covered += high - low
            for part_low, part_high, part_kind in (
                (region.paddr, low, region.kind),
                (low, high, kind),
                (high, region.paddr + region.size, region.kind),
            ):
                if part_low < part_high:
                    where = region.offset + part_low - region.paddr
                    if part_low == low and part_high == high and offset is not None:
                        where = offset + low - paddr
                    result.append(Region(part_low, part_high - part_low, where, part_kind))
        if covered != size:
            raise ValueError(f"{paddr:#x}+{size:#x} is not wholly in the memory map")
        self._change(result)

    def place(self, paddr: int, size: int, offset: int) -> None:
        """Put `size` bytes of devices' memory, at `offset` in the buffer, into the map. Raises ValueError if part of
        the range is taken or beyond the space."""
        if paddr % PAGE or size % PAGE or size <= 0 or paddr + size > self.space:
            raise ValueError(f"{paddr:#x}+{size:#x} is not made of whole pages of the space")
        for region in self.regions:
            if paddr < region.paddr + region.size and region.paddr < paddr + size:
                raise ValueError(f"{paddr:#x}+{size:#x} overlaps memory at {region.paddr:#x}+{region.size:#x}")
        self._change([*self.regions, Region(paddr, size, offset, Kind.DIRECT)])

    def take_away(self, paddr: int, size: int) -> None:
        """Take devices' memory out of the map again."""
        self._change([region for region in self.regions if not paddr <= region.paddr < paddr + size])

    def _change(self, regions: list[Region]) -> None:
        before = list(self.regions)
        self._place(regions)
        if self.regions != before:
            for callback in self.on_remap:
                callback()

    def set_direct(self, direct: bool) -> None:
        """Switch the VGA text window at 0xB8000 between plain memory (True) and device accesses (False)."""
        if direct != self.direct:
            self.direct = direct
            self.set_kind(TEXT_WINDOW, TEXT_WINDOW_SIZE, Kind.DIRECT if direct else Kind.MMIO)

    def find(self, paddr: int) -> Region | None:
        """The region that holds a physical address."""
        index = bisect_right(self._starts, paddr) - 1
        if index >= 0:
            region = self.regions[index]
            if paddr < region.paddr + region.size:
                return region
        return None

    def pieces(self, paddr: int, length: int) -> Iterator[tuple[int, int, Region | None]]:
        """Cut a physical range, wrapped at the end of the space, at region edges: (address, length, region or None)."""
        while length > 0:
            paddr &= self.space - 1
            index = bisect_right(self._starts, paddr) - 1
            region = self.regions[index] if index >= 0 else None
            if region is not None and paddr >= region.paddr + region.size:
                region = None
            if region is not None:
                end = region.paddr + region.size
            elif index + 1 < len(self.regions):
                end = self.regions[index + 1].paddr
            else:
                end = self.space
            count = min(length, end - paddr)
            yield paddr, count, region
            paddr += count
            length -= count

    def load(self, paddr: int, data: bytes) -> None:
        """Put an image into RAM or ROM before the guest runs. Raises ValueError if part of it has no memory."""
        for _address, _count, region in self.pieces(paddr, len(data)):
            if region is None or region.kind == Kind.MMIO:
                raise ValueError(f"{len(data)} bytes at {paddr:#x} do not fit in memory")
        done = 0
        for address, count, region in self.pieces(paddr, len(data)):
            if region is not None:
                start = region.offset + address - region.paddr
                self.view[start : start + count] = data[done : done + count]
            done += count
        self.written(paddr, len(data))

    def discard(self, paddr: int, length: int) -> None:
        """Give the host pages of RAM back: they read as zeros from now on. What is no whole page of RAM stays."""
        for address, count, region in self.pieces(paddr, min(length, self.space - paddr)):
            if region is None or region.kind != Kind.RAM:
                continue
            start = -(-(region.offset + address - region.paddr) // mmap.PAGESIZE) * mmap.PAGESIZE
            end = (region.offset + address - region.paddr + count) // mmap.PAGESIZE * mmap.PAGESIZE
            if start >= end:
                continue
            if isinstance(self.buffer, mmap.mmap):
                self.buffer.madvise(mmap.MADV_DONTNEED, self.guard + start, end - start)
            else:
                self.view[start:end] = bytes(end - start)
            self.written(region.paddr + start - region.offset, end - start)

    def written(self, paddr: int, length: int) -> None:
        """Tell everyone who keeps something derived from memory."""
        for callback in self.on_write:
            callback(paddr, length)


class Dma:
    """The bounded view of memory that devices get (`devices.contracts.GuestMemory`).

    Outside RAM reads give 0xFF and writes are dropped; ROM reads but does not write. It never reaches a device.
    """

    def __init__(self, ram: GuestRam) -> None:
        self._ram = ram

    def reaches(self, addr: int, length: int, write: bool) -> bool:
        """Whether all of a range is RAM, or for reads ROM; one that goes beyond the end of the space is not."""
        ram = self._ram
        end = addr + length
        if addr >= 0x100000 and end <= ram.size:
            return True
        if addr < 0 or end > ram.space:
            return False
        kinds = (Kind.RAM, Kind.DIRECT) if write else (Kind.RAM, Kind.DIRECT, Kind.ROM)
        return all(region is not None and region.kind in kinds for _, _, region in ram.pieces(addr, length))

    def read(self, addr: int, length: int) -> bytes:
        """`length` bytes at physical address `addr`."""
        ram = self._ram
        if addr >= 0x100000 and addr + length <= ram.size:
            return bytes(ram.view[addr : addr + length])
        parts = []
        for address, count, region in ram.pieces(addr, length):
            if region is None or region.kind == Kind.MMIO:
                parts.append(b"\xff" * count)
            else:
                start = region.offset + address - region.paddr
                parts.append(bytes(ram.view[start : start + count]))
        return b"".join(parts)

    def gather(self, places: Sequence[tuple[int, int]]) -> bytes:
        """The bytes of several (address, length), one behind the other."""
        ram = self._ram
        view, size = ram.view, ram.size
        return b"".join(
            [
                view[addr : addr + length] if addr >= 0x100000 and addr + length <= size else self.read(addr, length)
                for addr, length in places
            ]
        )

    def scatter(self, places: Sequence[tuple[int, int]], data: bytes) -> None:
        """Store `data`, of which each (address, length) gets the next part."""
        ram = self._ram
        view, size = ram.view, ram.size
        tell = ram.on_write[0] if len(ram.on_write) == 1 else ram.written
        source = memoryview(data)
        done = 0
        for addr, length in places:
            part = source[done : done + length]
            done += length
            if addr >= 0x100000 and addr + length <= size:
                view[addr : addr + length] = part
                tell(addr, length)
            else:
                self.write(addr, bytes(part))

    def write(self, addr: int, data: bytes) -> None:
        """Store `data` at physical address `addr`."""
        ram = self._ram
        end = addr + len(data)
        if addr >= 0x100000 and end <= ram.size:
            ram.view[addr:end] = data
            ram.written(addr, len(data))
            return
        done = 0
        for address, count, region in ram.pieces(addr, len(data)):
            if region is not None and region.kind in (Kind.RAM, Kind.DIRECT):
                start = region.offset + address - region.paddr
                ram.view[start : start + count] = data[done : done + count]
                ram.written(address, count)
            done += count
