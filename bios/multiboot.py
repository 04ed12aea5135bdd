"""Multiboot 1 kernels: ELF or with the header's own load addresses (the "a.out kludge").

The kernel is entered in 32-bit protected mode with the information structure in EBX. Source: Multiboot Specification
version 0.6.96.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bios import elf
from bios.plan import (
    FLAT_GDT,
    ImageError,
    LoadPlan,
    MemoryRange,
    fits,
    flat_protected_state,
    low_hole,
    usable_ram,
)

MAGIC = 0x1BADB002
ENTRY_MAGIC = 0x2BADB002
SEARCH = 8192
PAGE = 0x1000
MIB = 0x100000

WANTS_ADDRESSES = 1 << 16
WANTS_VIDEO = 1 << 2
# Requirement bits 0..15 that a loader must know: page-aligned modules, memory, video mode.
KNOWN_REQUIREMENTS = 0x0007

HAS_MEMORY, HAS_BOOT_DEVICE, HAS_COMMAND_LINE, HAS_MODULES = 1 << 0, 1 << 1, 1 << 2, 1 << 3
HAS_MEMORY_MAP, HAS_LOADER_NAME = 1 << 6, 1 << 9
INFO_SIZE = 116
NO_BOOT_DEVICE = 0x8000FFFF
LOADER_NAME = b"Emu"


@dataclass(frozen=True)
class Module:
    """A file handed to the kernel, and the string it is told with it."""

    data: bytes
    text: str = ""


@dataclass(frozen=True)
class _Header:
    at: int
    flags: int


def find_header(data: bytes) -> int | None:
    """Offset of a multiboot header with a good checksum, or None."""
    for at in range(0, min(SEARCH, len(data)) - 11, 4):
        if data[at : at + 4] == b"\x02\xb0\xad\x1b":
            words = (int.from_bytes(data[at + 4 * n : at + 4 * n + 4], "little") for n in range(3))
            if sum(words) & 0xFFFFFFFF == 0:
                return at
    return None


def load_multiboot(
    name: str,
    data: bytes,
    memory_map: Sequence[MemoryRange],
    command_line: str,
    modules: Sequence[Module],
) -> LoadPlan:
    """The plan for a multiboot kernel. Raises ImageError."""
    at = find_header(data)
    if at is None:
        raise ImageError(name, "no multiboot header", f"the first {SEARCH} bytes", "expected 0x1badb002 and a checksum")
    flags = _word(data, at + 4)
    unknown = flags & 0xFFFF & ~KNOWN_REQUIREMENTS
    if unknown:
        raise ImageError(
            name, f"requirement bits {unknown:#06x}", f"offset {at + 4:#x}", "this loader does not know them"
        )
    if flags & WANTS_ADDRESSES:
        entry, segments, zeros = _by_addresses(name, data, at, memory_map)
    elif elf.is_elf(data):
        image = elf.parse(name, data, memory_map)
        entry = image.entry
        segments, zeros = image.plan_parts()
    else:
        raise ImageError(name, "neither ELF nor load addresses", f"offset {at:#x}", "nothing says where it goes")
    return _with_information(name, entry, segments, zeros, memory_map, command_line, modules)


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


_Parts = tuple[int, tuple[tuple[int, bytes], ...], tuple[tuple[int, int], ...]]


def _by_addresses(name: str, data: bytes, at: int, memory_map: Sequence[MemoryRange]) -> _Parts:
    """Entry, segments and zeros from the header's address fields."""
    if at + 32 > len(data):
        raise ImageError(name, f"{len(data)} bytes", "its end", "the header's address fields are cut off")
    header_address, load, load_end, bss_end, entry = (_word(data, at + 12 + 4 * n) for n in range(5))
    if header_address < load:
        raise ImageError(
            name, f"header address {header_address:#x}", f"offset {at + 12:#x}", f"below the load address {load:#x}"
        )
    start = at - (header_address - load)
    if start < 0:
        raise ImageError(
            name, f"load address {load:#x}", f"offset {at + 16:#x}", "it lies before the beginning of the file"
        )
    size = load_end - load if load_end else len(data) - start
    if size < 0 or start + size > len(data):
        raise ImageError(
            name,
            f"load end {load_end:#x}",
            f"offset {at + 20:#x}",
            f"the file has {len(data) - start} bytes from there",
        )
    total = max(size, bss_end - load) if bss_end else size
    if not fits(memory_map, load, total):
        raise ImageError(name, f"{total} bytes for {load:#x}", f"offset {at + 16:#x}", "that is not all RAM (see -m)")
    zeros = ((load + size, total - size),) if total > size else ()
    return entry, ((load, data[start : start + size]),), zeros


def _with_information(
    name: str,
    entry: int,
    segments: tuple[tuple[int, bytes], ...],
    zeros: tuple[tuple[int, int], ...],
    memory_map: Sequence[MemoryRange],
    command_line: str,
    modules: Sequence[Module],
) -> LoadPlan:
    """Add modules, the information structure, its strings and a flat GDT."""
    taken = [(start, len(data)) for start, data in segments] + list(zeros)
    placed = _place_modules(name, max(start + size for start, size in taken), memory_map, modules)
    text = [_text(name, command_line), LOADER_NAME + b"\0", *(_text(name, module.text) for module in modules)]
    memory = _memory_entries(memory_map)
    list_size = 16 * len(modules)
    size = INFO_SIZE + list_size + len(memory) + sum(map(len, text)) + len(FLAT_GDT) + 16
    base = low_hole(memory_map, size, [*taken, *((start, len(module.data)) for start, module in placed)])
    if base is None:
        raise ImageError(name, f"{size} bytes of boot information", "the first 640 KiB", "the kernel leaves no room")
    modules_at = base + INFO_SIZE
    memory_at = modules_at + list_size
    gdt_at = (memory_at + len(memory) + 7) & ~7
    text_at = gdt_at + len(FLAT_GDT)
    addresses = []
    for item in text:
        addresses.append(text_at)
        text_at += len(item)

    low, high = _sizes(memory_map)
    flags = HAS_MEMORY | HAS_BOOT_DEVICE | HAS_COMMAND_LINE | HAS_MODULES | HAS_MEMORY_MAP | HAS_LOADER_NAME
    fields = {0: flags, 4: low, 8: high, 12: NO_BOOT_DEVICE, 16: addresses[0], 20: len(modules), 24: modules_at}
    fields |= {44: len(memory), 48: memory_at, 64: addresses[1]}
    block = bytearray(gdt_at - base)
    for offset, value in fields.items():
        block[offset : offset + 4] = value.to_bytes(4, "little")
    for index, (start, module) in enumerate(placed):
        row = (start, start + len(module.data), addresses[2 + index], 0)
        offset = INFO_SIZE + 16 * index
        block[offset : offset + 16] = b"".join(value.to_bytes(4, "little") for value in row)
    block[memory_at - base : memory_at - base + len(memory)] = memory
    block += FLAT_GDT + b"".join(text)
    files = tuple((start, module.data) for start, module in placed if module.data)
    registers = flat_protected_state(entry, gdt=gdt_at, eax=ENTRY_MAGIC, ebx=base)
    return LoadPlan("multiboot", entry, (*segments, *files, (base, bytes(block))), zeros, registers)


def _text(name: str, text: str) -> bytes:
    data = text.encode("utf-8", "surrogateescape")
    if b"\0" in data:
        raise ImageError(name, "a zero byte", "the command line", "it would end there")
    if len(data) > 0x4000:
        raise ImageError(name, f"a command line of {len(data)} bytes", "its end", "at most 16384 fit")
    return data + b"\0"


def _place_modules(
    name: str, after: int, memory_map: Sequence[MemoryRange], modules: Sequence[Module]
) -> list[tuple[int, Module]]:
    """Modules go above the kernel and 1 MiB, each on a page of its own."""
    out = []
    at = max(after, MIB)
    for module in modules:
        at = (at + PAGE - 1) & -PAGE
        size = len(module.data)
        if not fits(memory_map, at, max(size, 1)):
            raise ImageError(name, f"a module of {size} bytes", f"address {at:#x}", "RAM is too small for it (see -m)")
        out.append((at, module))
        at += size
    return out


def _memory_entries(memory_map: Sequence[MemoryRange]) -> bytes:
    out = b""
    for entry in memory_map:
        out += (20).to_bytes(4, "little") + entry.start.to_bytes(8, "little") + entry.size.to_bytes(8, "little")
        out += entry.kind.to_bytes(4, "little")
    return out


def _sizes(memory_map: Sequence[MemoryRange]) -> tuple[int, int]:
    """KiB from 0 and KiB from 1 MiB up to the first hole."""
    low = high = 0
    for start, end in usable_ram(memory_map):
        if start == 0:
            low = min(end, 0xA0000) >> 10
        if start <= MIB < end:
            high = (end - MIB) >> 10
    return low, high
