"""What kind of file is this, and how is it booted: the one door to the kernel and disk image formats.

`recognise` names a format from a file's beginning and size; `load_kernel` turns a kernel into a load plan. Both take
files nobody has looked at: whatever is wrong becomes an ImageError of one line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum

from bios import elf, initrd
from bios.linux import is_linux, is_linux_itself, load_linux
from bios.multiboot import Module, find_header, load_multiboot
from bios.plan import (
    FLAT_GDT,
    GZIP_MAGIC,
    ImageError,
    LoadPlan,
    MemoryRange,
    fits,
    flat_protected_state,
    low_hole,
    unpacked,
    usable_ram,
)
from bios.pvh import load_pvh

__all__ = ["Format", "ImageError", "LoadPlan", "MemoryRange", "Module", "load_flat", "load_kernel", "recognise"]

FLOPPY_SIZES = frozenset(kib << 10 for kib in (160, 180, 320, 360, 720, 1200, 1440, 1680, 1722, 2880))
SECTOR = 512
FLAT_ADDRESS = 0x7C00
HEAD = 0x8806  # enough to see every signature, the last being that of ISO 9660


class Format(Enum):
    """Formats by what is done with them."""

    EMPTY = "an empty file"
    GZIP = "gzip"
    LINUX = "Linux kernel"
    MULTIBOOT = "multiboot kernel"
    ELF32 = "32-bit ELF"
    ELF64 = "64-bit ELF"
    CDROM = "CD-ROM image"
    BOOT_SECTOR = "boot sector"
    FLOPPY = "floppy image"
    DISK = "disk image"
    FOREIGN_DISK = "disk image of another format"
    FLAT = "flat binary"


KERNELS = frozenset((Format.LINUX, Format.MULTIBOOT, Format.ELF32))
OTHERS = (
    *((b"\x27\x05\x19\x56", "a uImage for U-Boot"), (b"MZ", "a program for DOS or EFI, or a cut bzImage,")),
    *(
        (b"07070", "a cpio archive"),
        (b"PK\x03\x04", "a zip archive"),
        (b"\xfd7zXZ", "an xz file"),
        (b"BZh", "a bzip2 file"),
    ),
    *((b"\x28\xb5\x2f\xfd", "a zstd file"), (b"\xd0\x0d\xfe\xed", "a device tree")),
)
TEXT = re.compile(rb"[\t\n\r -~]+")
"""Code always has other bytes than these."""
_FOREIGN = (b"QFI\xfb", b"KDMV", b"conectix", b"vhdxfile", b"# Disk DescriptorFile")


def recognise(head: bytes, size: int | None = None) -> Format:
    """The format of a file from its first 34 KiB (fewer are taken as they come) and its size in bytes."""
    total = len(head) if size is None else size
    if total == 0 or not head:
        return Format.EMPTY
    if head[:2] == GZIP_MAGIC:
        return Format.GZIP
    if is_linux(head):
        return Format.LINUX
    if find_header(head) is not None:
        return Format.MULTIBOOT
    if elf.is_elf(head):
        return Format.ELF64 if head[4:5] == bytes((elf.CLASS_64,)) else Format.ELF32
    if head[0x8001:0x8006] == b"CD001":
        return Format.CDROM
    if head.startswith(_FOREIGN):
        return Format.FOREIGN_DISK
    if total in FLOPPY_SIZES:
        return Format.FLOPPY
    if head[510:512] == b"\x55\xaa":
        return Format.BOOT_SECTOR if total <= SECTOR else Format.DISK
    return Format.FLAT


def load_kernel(
    name: str,
    data: bytes,
    memory_map: Sequence[MemoryRange],
    *,
    command_line: str = "",
    modules: Sequence[Module] = (),
) -> LoadPlan:
    """The plan for a kernel file of any format, gzip-compressed or not.

    `modules` are multiboot modules; a Linux or PVH kernel takes the first as its initial RAM disk, as it is. Multiboot
    kernels get "`name` `command_line`", as boot loaders do. Raises ImageError.
    """
    limit = max((high for _, high in usable_ram(memory_map)), default=0)
    data = unpacked(name, data, limit)
    form = recognise(data[:HEAD], len(data))
    if form is Format.LINUX:
        _at_most_one(name, modules)
        if modules and is_linux_itself(data):
            initrd.check(modules[0].text or "initrd", modules[0].data)
        return load_linux(name, data, memory_map, command_line, modules[0].data if modules else None)
    if form is Format.MULTIBOOT:
        return load_multiboot(name, data, memory_map, f"{name} {command_line}".rstrip(), modules)
    if form is Format.ELF32:
        image = elf.parse(name, data, memory_map)
        if image.pvh_entry is not None:
            return load_pvh(name, image, memory_map, command_line, modules)
        if modules:
            raise ImageError(name, "an ELF file without a boot protocol", "offset 0", "it cannot be given an initrd")
        return _flat_elf(name, image, memory_map)
    expected = "expected a bzImage, a multiboot or ELF kernel or a flat binary"
    if other := not_code(data):
        raise ImageError(name, other, "offset 0", expected)
    if form is Format.FLAT:
        return load_flat(name, data, memory_map)
    if form is Format.ELF64:
        elf.parse(name, data, memory_map)
    raise ImageError(name, f"{form.value}", "offset 0", expected)


def not_code(data: bytes) -> str:
    """What a file is that is surely not raw code, in words; "" if it may be."""
    other = next((what for magic, what in OTHERS if data.startswith(magic)), "")
    return other or ("text" if TEXT.fullmatch(data[:HEAD]) else "")


def _at_most_one(name: str, modules: Sequence[Module]) -> None:
    if len(modules) > 1:
        raise ImageError(name, f"{len(modules)} initrds", "the command line", "a Linux kernel takes one")


def _flat_elf(name: str, image: elf.Elf, memory_map: Sequence[MemoryRange]) -> LoadPlan:
    """Entered as it is, in flat protected mode; nothing is handed over."""
    segments, zeros = image.plan_parts()
    gdt = low_hole(memory_map, len(FLAT_GDT), [(s.physical, s.size) for s in image.segments], floor=0x1000)
    if gdt is None:
        raise ImageError(name, "a kernel that fills all memory below 640 KiB", "its segments", "no room for a GDT")
    registers = flat_protected_state(image.entry, gdt=gdt)
    return LoadPlan("elf", image.entry, (*segments, (gdt, FLAT_GDT)), zeros, registers)


def load_flat(name: str, data: bytes, memory_map: Sequence[MemoryRange], *, address: int = FLAT_ADDRESS) -> LoadPlan:
    """Raw code, placed and entered in real mode at `address` (below 1 MiB) with DL = 80h."""
    if not data:
        raise ImageError(name, "an empty file", "its beginning", "expected code")
    if address >= 0x100000 or not fits(memory_map, address, len(data)):
        raise ImageError(name, f"{len(data)} bytes", f"address {address:#x}", "that is not all RAM below 1 MiB")
    segment, offset = (0, address) if address < 0x10000 else (address >> 4, address & 15)
    registers = [("eflags", 0x202)]
    registers += [(register, 0) for register in ("eax", "ebx", "ecx", "esi", "edi", "ebp")]
    registers += [(register, 0) for register in ("ds", "es", "fs", "gs", "ss")]
    registers += [("edx", 0x80), ("esp", FLAT_ADDRESS), ("cs", segment), ("eip", offset)]
    return LoadPlan("flat", address, ((address, data),), (), tuple(registers))
