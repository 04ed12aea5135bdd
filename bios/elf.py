"""32-bit ELF files: their load segments, for the x86 (as a flat kernel or with a PVH entry) and the PowerPC.

Source: System V Application Binary Interface, chapters 4 and 5; Intel386 and PowerPC supplements.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from bios.plan import ImageError, MemoryRange, fits, usable_ram

MAGIC = b"\x7fELF"
CLASS_32, CLASS_64 = 1, 2
EXECUTABLE, SHARED = 2, 3
I386, X86_64, I486, PPC = 3, 62, 6, 20
LOAD, NOTE = 1, 4
MAX_HEADERS = 4096
HEADER_SIZE = 32  # of a program header
PVH_NOTE = 18  # XEN_ELFNOTE_PHYS32_ENTRY
MAX_NOTES = 0x10000


@dataclass(frozen=True)
class Target:
    """Whose files are taken: the machine numbers and byte order in their header, and what to say about others."""

    machines: tuple[int, ...]
    order: Literal["little", "big"]
    title: str
    advice: str = ""

    @property
    def data(self) -> int:
        """The header's number for the byte order."""
        return 1 if self.order == "little" else 2


X86 = Target((I386, I486), "little", "the 386 (3)", " (objcopy -O elf32-i386)")
POWERPC = Target((PPC,), "big", "the PowerPC (20)")


ORDERS: dict[int, Literal["little", "big"]] = {1: "little", 2: "big"}
MACHINES = {2: "SPARC", 3: "386", 4: "68000", 8: "MIPS", 20: "PowerPC", 40: "ARM", 42: "SuperH", 243: "RISC-V"}


def _machine(number: int) -> str:
    return f" for the {MACHINES[number]}" if number in MACHINES else ""


@dataclass(frozen=True)
class Segment:
    """A part of the file and where it goes; `size` in memory may be more than the data (the rest is zero)."""

    physical: int
    virtual: int
    data: bytes
    size: int


@dataclass(frozen=True)
class Elf:
    """What is to be loaded, and where to enter it (a physical address)."""

    entry: int
    segments: tuple[Segment, ...]
    pvh_entry: int | None = None

    @property
    def end(self) -> int:
        return max(segment.physical + segment.size for segment in self.segments)

    def plan_parts(self) -> tuple[tuple[tuple[int, bytes], ...], tuple[tuple[int, int], ...]]:
        """(segments, zeros) for a load plan."""
        data = tuple((segment.physical, segment.data) for segment in self.segments if segment.data)
        zeros = tuple(
            (segment.physical + len(segment.data), segment.size - len(segment.data))
            for segment in self.segments
            if segment.size > len(segment.data)
        )
        return data, zeros


def is_elf(data: bytes) -> bool:
    return data[:4] == MAGIC


def parse(name: str, data: bytes, memory_map: Sequence[MemoryRange], target: Target = X86) -> Elf:
    """The load segments of a 32-bit executable, each checked against the file and RAM. Raises ImageError."""
    if len(data) < 52:
        raise ImageError(name, f"{len(data)} bytes", "its end", "an ELF header has 52")
    if data[4] == CLASS_64:
        raise ImageError(name, "a 64-bit ELF file", "offset 4", f"this machine takes 32-bit ones{target.advice}")
    if data[4] != CLASS_32 or data[5] != target.data:
        what = f"ELF class {data[4]}, data {data[5]}"
        if data[4] == CLASS_32 and data[5] in ORDERS:
            what = f"a {ORDERS[data[5]]}-endian ELF file{_machine(int.from_bytes(data[18:20], ORDERS[data[5]]))}"
        raise ImageError(name, what, "offset 4", f"expected 32-bit, {target.order}-endian, for {target.title}")

    def number(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], target.order)

    kind, machine = number(16, 2), number(18, 2)
    if kind not in (EXECUTABLE, SHARED):
        raise ImageError(name, f"ELF type {kind}", "offset 16", "expected an executable (2)")
    if machine not in target.machines:
        raise ImageError(name, f"ELF machine {machine}{_machine(machine)}", "offset 18", f"expected {target.title}")
    entry, table, entry_size, count = number(24, 4), number(28, 4), number(42, 2), number(44, 2)
    if entry_size != HEADER_SIZE:
        raise ImageError(name, f"program headers of {entry_size} bytes", "offset 42", f"expected {HEADER_SIZE}")
    if count > MAX_HEADERS or table + entry_size * count > len(data):
        what = f"{count} program headers of {entry_size} bytes"
        raise ImageError(name, what, f"offset {table:#x}", f"the file has {len(data)} bytes")
    ranges: list[tuple[int, int, int, int, int]] = []  # physical, size, virtual, file offset, file size
    pvh_entry: int | None = None
    for index in range(count):
        at = table + index * entry_size
        program_type, offset, virtual, physical, file_size, size = (number(at + 4 * n, 4) for n in range(6))
        if target is X86 and program_type == NOTE and offset + file_size <= len(data) and file_size <= MAX_NOTES:
            pvh_entry = _pvh_entry(data[offset : offset + file_size]) if pvh_entry is None else pvh_entry
        if program_type != LOAD or size == 0:
            continue
        where = f"program header {index}"
        if offset + file_size > len(data):
            raise ImageError(name, f"{file_size} bytes at {offset:#x}", where, f"the file has {len(data)} bytes")
        if file_size > size:
            raise ImageError(name, f"{file_size} bytes for {size} bytes of memory", where, "more data than room")
        if not _loadable(memory_map, physical, size):
            raise ImageError(
                name, f"a segment of {size} bytes for {physical:#x}", where, "that is not all RAM (see -m)"
            )
        ranges.append((physical, size, virtual, offset, file_size))
    if not ranges:
        raise ImageError(name, f"{count} program headers", f"offset {table:#x}", "none of them loads anything")
    _check_overlaps(name, ranges)
    segments = [
        part
        for physical, size, virtual, offset, file_size in ranges
        for part in _in_ram(memory_map, Segment(physical, virtual, data[offset : offset + file_size], size))
    ]
    if not segments:
        raise ImageError(name, f"{count} program headers", f"offset {table:#x}", "none of them loads anything into RAM")
    return Elf(_physical(entry, segments), tuple(segments), pvh_entry)


HOLE_END = 0x100000


def _loadable(memory_map: Sequence[MemoryRange], start: int, size: int) -> bool:
    """Whether a segment lies in RAM, apart from what it has in the hole below 1 MiB."""
    if start >= HOLE_END:
        return fits(memory_map, start, size)
    return start + size <= HOLE_END or fits(memory_map, HOLE_END, start + size - HOLE_END)


def _in_ram(memory_map: Sequence[MemoryRange], segment: Segment) -> Iterator[Segment]:
    """The parts of a segment that have RAM. Linkers like to put the ELF header into the page before 1 MiB."""
    for low, high in usable_ram(memory_map):
        start = max(low, segment.physical)
        end = min(high, segment.physical + segment.size)
        if start < end:
            skip = start - segment.physical
            data = segment.data[skip : end - segment.physical]
            yield Segment(start, segment.virtual + skip, data, end - start)


def _check_overlaps(name: str, ranges: list[tuple[int, int, int, int, int]]) -> None:
    """Segments that overlap are refused, which also bounds what they add up to by the size of RAM."""
    for lower, upper in itertools.pairwise(sorted(ranges)):
        if lower[0] + lower[1] > upper[0]:
            what = f"segments at {lower[0]:#x} and {upper[0]:#x}"
            raise ImageError(name, what, "the program headers", "they overlap")


def _physical(entry: int, segments: list[Segment]) -> int:
    """The entry as a physical address: kernels linked high give it as a virtual one."""
    for segment in segments:
        if segment.virtual != segment.physical and segment.virtual <= entry < segment.virtual + segment.size:
            return entry - segment.virtual + segment.physical
    return entry


def _pvh_entry(notes: bytes) -> int | None:
    """The physical entry point that a Xen note names."""
    at = 0
    while at + 12 <= len(notes):
        name_size, size, kind = (int.from_bytes(notes[at + 4 * n : at + 4 * n + 4], "little") for n in range(3))
        name_at = at + 12
        value_at = name_at + (name_size + 3 & ~3)
        if value_at + size > len(notes):
            return None
        if kind == PVH_NOTE and notes[name_at : name_at + name_size] == b"Xen\0" and size in (4, 8):
            return int.from_bytes(notes[value_at : value_at + 4], "little")
        at = value_at + (size + 3 & ~3)
    return None
