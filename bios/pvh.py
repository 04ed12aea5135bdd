"""PVH: the Xen start-of-day protocol that an uncompressed Linux kernel (vmlinux) offers in an ELF note.

The kernel is entered in flat 32-bit protected mode with EBX pointing to the start information. Source: Xen public
header documentation, "arch-x86/hvm/start_info".
"""

from __future__ import annotations

from collections.abc import Sequence

from bios.elf import Elf
from bios.multiboot import Module
from bios.plan import FLAT_GDT, ImageError, LoadPlan, MemoryRange, fits, flat_protected_state, low_hole

MAGIC = 0x336EC578
VERSION = 1
INFO_SIZE = 56
MODULE_SIZE = 32
ENTRY_SIZE = 24
PAGE = 0x1000


def load_pvh(
    name: str, image: Elf, memory_map: Sequence[MemoryRange], command_line: str, modules: Sequence[Module]
) -> LoadPlan:
    """The plan for a kernel with a PVH entry. Raises ImageError."""
    entry = image.pvh_entry
    if entry is None:
        raise ImageError(name, "no PVH note", "the program headers", "expected a Xen note of type 18")
    segments, zeros = image.plan_parts()
    line = command_line.encode("utf-8", "surrogateescape")
    if b"\0" in line or len(line) > 0x4000:
        raise ImageError(name, f"a command line of {len(line)} bytes", "its end", "at most 16384 without a zero byte")
    files: list[tuple[int, bytes]] = []
    at = max(image.end, 0x100000)
    for module in modules:
        at = (at + PAGE - 1) & -PAGE
        if not fits(memory_map, at, max(1, len(module.data))):
            raise ImageError(
                name, f"an initrd of {len(module.data)} bytes", f"address {at:#x}", "RAM is too small for it"
            )
        files.append((at, module.data))
        at += len(module.data)
    memory = b"".join(
        e.start.to_bytes(8, "little") + e.size.to_bytes(8, "little") + e.kind.to_bytes(4, "little") + bytes(4)
        for e in memory_map
    )
    size = INFO_SIZE + MODULE_SIZE * len(files) + len(memory) + len(FLAT_GDT) + len(line) + 1
    base = low_hole(memory_map, size, [(s.physical, s.size) for s in image.segments])
    if base is None:
        raise ImageError(name, f"{size} bytes of boot information", "the first 640 KiB", "the kernel leaves no room")
    modules_at = base + INFO_SIZE
    memory_at = modules_at + MODULE_SIZE * len(files)
    gdt_at = memory_at + len(memory)
    line_at = gdt_at + len(FLAT_GDT)

    block = b"".join(n.to_bytes(4, "little") for n in (MAGIC, VERSION, 0, len(files)))
    block += modules_at.to_bytes(8, "little") + line_at.to_bytes(8, "little") + bytes(8)
    block += memory_at.to_bytes(8, "little") + len(memory_map).to_bytes(4, "little") + bytes(4)
    for start, data in files:
        block += start.to_bytes(8, "little") + len(data).to_bytes(8, "little") + bytes(16)
    block += memory + FLAT_GDT + line + b"\0"
    registers = flat_protected_state(entry, gdt=gdt_at, ebx=base)
    return LoadPlan("pvh", entry, (*segments, *files, (base, block)), zeros, registers)
