"""The memory map of the PC: what INT 15h, multiboot and the loaders tell a guest about RAM.

The top of RAM holds the ACPI tables; the last KiB below 640 KiB is the extended BIOS data area.
"""

from __future__ import annotations

from bios.plan import ACPI_DATA, ACPI_NVS, RAM, RESERVED, MemoryRange

EBDA = 0x9FC00
EBDA_SIZE = 0x400
TABLE_AREA = 0x10000  # ACPI tables, then one page of ACPI NVS
NVS_SIZE = 0x1000
SMALLEST_WITH_TABLES = 0x400000
MIB = 0x100000


def table_area(ram_size: int) -> int | None:
    """Where the ACPI tables begin; None if RAM is too small to give any away."""
    return (ram_size & ~0xFFF) - TABLE_AREA if ram_size >= SMALLEST_WITH_TABLES else None


def memory_map(ram_size: int) -> tuple[MemoryRange, ...]:
    """The E820 map for a machine with `ram_size` bytes of RAM."""
    out = [
        MemoryRange(0, min(EBDA, ram_size), RAM),
        MemoryRange(EBDA, EBDA_SIZE, RESERVED),
        MemoryRange(0xF0000, 0x10000, RESERVED),
    ]
    top = ram_size & ~0xFFF
    tables = table_area(ram_size)
    if top > MIB:
        out.append(MemoryRange(MIB, (tables or top) - MIB, RAM))
    if tables is not None:
        out.append(MemoryRange(tables, TABLE_AREA - NVS_SIZE, ACPI_DATA))
        out.append(MemoryRange(tables + TABLE_AREA - NVS_SIZE, NVS_SIZE, ACPI_NVS))
    out.append(MemoryRange(0xFFFC0000, 0x40000, RESERVED))
    return tuple(out)


def extended_bytes(ram_size: int) -> int:
    """Usable RAM from 1 MiB up, without the table area."""
    return max(0, (table_area(ram_size) or ram_size & ~0xFFF) - MIB)
