"""The state a kernel is entered in: its registers and the one translation that covers it and its device tree.

Power.org ePAPR 1.1, 5.4 (boot program entry); the TLB words are those of `tlbwe` (PPC440 User's Manual, 5.4; PowerPC
e500 Core Reference Manual, 2.12). Registers go by the names of `emu.engine.PpcCpu`.
"""

from __future__ import annotations

from bios.ppc.load import MIB, Registers

EPAPR_MAGIC = 0x45504150
STACK = 16 * MIB - 8
MAPPED_440 = 256 * MIB
TLB1_FIRST = 512
"""Where TLB1 begins in the file of all e500 entries; TLB0 is before it."""


def common(entry: int, tree: int, mapped: int, *, ram_size: int) -> Registers:
    """General registers: r3 the device tree, r6 the magic number, r7 the bytes mapped from 0 on."""
    general = [(f"r{n}", 0) for n in range(32)]
    values = dict(general) | {"r1": min(STACK, ram_size - 8), "r3": tree, "r6": EPAPR_MAGIC, "r7": mapped}
    return (*values.items(), ("msr", 0), ("pc", entry))


def enter_440(entry: int, tree: int, *, ram_size: int, devices: int | None = None) -> Registers:
    """440: 256 MiB of RAM at 0, for the supervisor; `devices` is the 36-bit address of what is mapped at E0000000.

    Kernels that know nothing of device trees find their serial port there; Linux drops both entries.
    """
    tlb: list[tuple[str, int]] = [("utlb0[0]", 0x00000290), ("utlb1[0]", 0), ("utlb2[0]", 0x007), ("utlb_tid[0]", 0)]
    if devices is not None:
        tlb += [("utlb0[1]", 0xE0000290), ("utlb1[1]", devices & 0xF0000000 | devices >> 32)]
        tlb += [("utlb2[1]", 0x507), ("utlb_tid[1]", 0)]  # inhibited, guarded
    return (*tlb, *common(entry, tree, MAPPED_440, ram_size=ram_size))


def mapping_size(end: int) -> int:
    """The size of the smallest e500 page (1 KiB times a power of 4, at least 64 MiB) that covers 0 to `end`."""
    size = 64 * MIB
    while size < end:
        size *= 4
    return size


def enter_e500(entry: int, tree: int, end: int, *, ram_size: int) -> Registers:
    """e500: one protected entry of TLB1 from 0 to beyond `end`, for the supervisor and the problem state."""
    size = mapping_size(end)
    exponent = ((size >> 10).bit_length() - 1) // 2
    slot = TLB1_FIRST
    tlb = (
        (f"etlb_mas1[{slot}]", 0xC0000000 | exponent << 8),  # valid, protected from invalidation
        (f"etlb_mas2[{slot}]", 0),
        (f"etlb_mas3[{slot}]", 0x3F),
        (f"etlb_mas7[{slot}]", 0),
        (f"etlb_mas8[{slot}]", 0),
    )
    return (*tlb, *common(entry, tree, size, ram_size=ram_size))
