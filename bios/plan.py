"""A load plan: which bytes go where, and the CPU state a kernel is entered with.

Loaders (`bios.linux`, `bios.multiboot`, `bios.elf`) build plans from untrusted files; the boot service of a board's
firmware applies them. Every size and offset is checked while the plan is made, against the file and against RAM.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

GZIP_MAGIC = b"\x1f\x8b"


class ImageError(ValueError):
    """A file that cannot be loaded, as one line: which file, what was found, where, and what was expected."""

    def __init__(self, name: str, what: str, where: str, why: str) -> None:
        super().__init__(f"{name}: {what} at {where}: {why}")
        self.name = name
        self.what = what
        self.where = where
        self.why = why


@dataclass(frozen=True)
class MemoryRange:
    """One entry of the memory map; `kind` is the E820 type (1 RAM, 2 reserved, 3 ACPI data, 4 ACPI NVS)."""

    start: int
    size: int
    kind: int

    @property
    def end(self) -> int:
        return self.start + self.size


RAM = 1
RESERVED = 2
ACPI_DATA = 3
ACPI_NVS = 4


@dataclass(frozen=True)
class LoadPlan:
    """A kernel ready to be placed in memory and entered.

    `segments` are (physical address, bytes), `zeros` are (physical address, size) to clear first, `registers` are set
    in order, the last step before the guest runs.
    """

    kind: str
    entry: int
    segments: tuple[tuple[int, bytes], ...]
    zeros: tuple[tuple[int, int], ...] = ()
    registers: tuple[tuple[str, int], ...] = field(default=())


def usable_ram(memory_map: Sequence[MemoryRange]) -> list[tuple[int, int]]:
    """The (start, end) ranges of RAM, lowest first, neighbours joined."""
    ranges: list[tuple[int, int]] = []
    for entry in sorted((e for e in memory_map if e.kind == RAM and e.size > 0), key=lambda e: e.start):
        if ranges and ranges[-1][1] == entry.start:
            ranges[-1] = (ranges[-1][0], entry.end)
        else:
            ranges.append((entry.start, entry.end))
    return ranges


def fits(memory_map: Sequence[MemoryRange], start: int, size: int) -> bool:
    """Whether [start, start + size) lies inside one range of RAM."""
    return any(low <= start and start + size <= high for low, high in usable_ram(memory_map))


def low_hole(
    memory_map: Sequence[MemoryRange], size: int, taken: Iterable[tuple[int, int]], *, floor: int = 0x8000
) -> int | None:
    """The highest page-aligned address below 640 KiB with `size` bytes clear of the (start, size) ranges `taken`."""
    spans = [(start, start + length) for start, length in taken if length > 0]
    top = max((high for low, high in usable_ram(memory_map) if low < 0xA0000), default=0)
    at = (min(top, 0xA0000) - size) & ~0xFFF
    while at >= floor:
        clash = [low for low, high in spans if low < at + size and at < high]
        if not clash:
            return at
        at = (min(clash) - size) & ~0xFFF
    return None


def flat_protected_state(
    entry: int, *, gdt: int, eax: int = 0, ebx: int = 0, esi: int = 0
) -> tuple[tuple[str, int], ...]:
    """Registers for 32-bit protected mode, paging off, interrupts off, flat 4 GiB segments from the table at `gdt`."""
    state: list[tuple[str, int]] = [("cr0", 0x11)]  # PE, ET
    state += [("gdtr.base", gdt), ("gdtr.limit", len(FLAT_GDT) - 1)]
    state += [("cs", 0x08), ("cs.base", 0), ("cs.limit", 0xFFFFFFFF), ("cs.attr", CODE_ATTR)]
    for name in ("ds", "es", "fs", "gs", "ss"):
        state += [(name, 0x10), (f"{name}.base", 0), (f"{name}.limit", 0xFFFFFFFF), (f"{name}.attr", DATA_ATTR)]
    state += [("eflags", 0x2), ("eax", eax), ("ebx", ebx), ("ecx", 0), ("edx", 0)]
    state += [("esi", esi), ("edi", 0), ("ebp", 0), ("esp", 0), ("eip", entry)]
    return tuple(state)


# Segment attributes in the layout of bits 40..47 and 52..55 of a descriptor (SDM volume 3, 3.4.5): access byte in
# bits 0..7, AVL/L/D/G in bits 12..15.
CODE_ATTR = 0xC09B
DATA_ATTR = 0xC093
# A null descriptor, flat 32-bit code (08h) and flat 32-bit data (10h).
FLAT_GDT = bytes(8) + bytes.fromhex("ffff0000009bcf00") + bytes.fromhex("ffff00000093cf00")


def gunzip(name: str, data: bytes, limit: int) -> bytes:
    """The contents of a gzip file, at most `limit` bytes. Raises ImageError for bad data or more than that."""
    inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        out = inflate.decompress(data, limit + 1)
    except zlib.error as error:
        raise ImageError(name, "damaged gzip data", "its start", str(error)) from None
    if len(out) > limit:
        raise ImageError(name, "gzip data too large", "its start", f"it unpacks to more than the {limit} bytes allowed")
    if not inflate.eof:
        raise ImageError(name, "truncated gzip data", f"byte {len(data)}", "the file ends before the stream does")
    return out


def unpacked(name: str, data: bytes, limit: int) -> bytes:
    """`data` itself, or its contents if it is a gzip file."""
    return gunzip(name, data, limit) if data[:2] == GZIP_MAGIC else data
