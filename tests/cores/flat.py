"""A processor with flat RAM and nothing else: what instruction tests run on."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.cores.tiers import processor


class Region(NamedTuple):
    """As `emu.memory.Region`."""

    paddr: int
    size: int
    offset: int
    kind: int


class FlatRam:
    """`size` bytes of RAM at physical 0, with no guard pages."""

    guard = 0

    def __init__(self, size: int) -> None:
        self.buffer = mmap.mmap(-1, size)
        self.view = memoryview(self.buffer)
        self.size = size
        self.regions = [Region(0, size, 0, 0)]

    def pieces(self, paddr: int, length: int) -> Iterator[tuple[int, int, Region | None]]:
        """As `emu.memory.GuestRam.pieces`, for addresses in RAM."""
        inside = max(0, min(length, self.size - paddr))
        if inside:
            yield paddr, inside, self.regions[0]
        if length > inside:
            yield paddr + inside, length - inside, None

    def find(self, paddr: int) -> Region | None:
        """The region of an address."""
        return self.regions[0] if paddr < self.size else None


class OpenBus:
    """Nothing answers: reads give all ones."""

    def port_read(self, port: int, width: int) -> int:
        """All ones."""
        return (1 << 8 * width) - 1

    def port_write(self, port: int, width: int, value: int) -> None:
        """Dropped."""

    def mmio_read(self, paddr: int, width: int) -> int:
        """All ones."""
        return (1 << 8 * width) - 1

    def mmio_write(self, paddr: int, width: int, value: int) -> None:
        """Dropped."""

    def interrupt_acknowledge(self) -> int:
        """No controller: vector FF."""
        return 0xFF


def make_cpu(
    tier: str = "interp", size: int = 0x110000, model: str = "pentium3", bus: Any = None
) -> tuple[Any, FlatRam]:
    """A CPU of the tier with its RAM."""
    ram = FlatRam(size)
    return processor("x86", tier, bus or OpenBus(), ram, model), ram
