"""RSDP, RSDT, FADT, FACS, MADT, HPET and WAET beside the DSDT; and how tables are linked to one another.

A table keeps the names of the tables that it points to until their addresses are known. Power management is the
PIIX4's: in legacy mode at the start, switched to ACPI mode through the SMI port.
Sources: ACPI Specification 1.0b and 2.0, section 5; IA-PC HPET Specification 1.0a, 3.2.4; Windows ACPI Emulated Devices
Table; Intel 82371AB data sheet, chapter 7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bios.pc.acpi.board import Board
from bios.pc.acpi.dsdt import differentiated_description

OEM = b"EMU   "
OEM_TABLE = b"EMUPC   "
CREATOR = b"EMU "
REVISION = 1

IO_APIC_ID = 0
TIMER_PIN = 2
# Interrupt flags of MADT overrides: polarity in bits 0..1 (1 high), trigger in bits 2..3 (3 level).
CONFORMING, HIGH_LEVEL = 0x0000, 0x000D
WBINVD, PROC_C1, NO_SLEEP_BUTTON, RTC_WAKES_FROM_S4 = 0x01, 0x04, 0x20, 0x80
PM_TIMER_IS_GOOD = 0x02
HPET_ID = 0x8086A201
"""Vendor, legacy replacement, 64-bit counter, three comparators, revision 1: as the block's own ID register."""

HEADER_SIZE = 36
CHECKSUM = 9


@dataclass(frozen=True)
class Table:
    """`data` has zeros at each of `pointers` (offset, name of a table), `checksum` is the offset of its checksum."""

    name: str
    data: bytes
    pointers: tuple[tuple[int, str], ...] = ()
    checksum: int | None = CHECKSUM
    align: int = 16


def _table(name: str, revision: int, body: bytes, pointers: Sequence[tuple[int, str]] = ()) -> Table:
    """A table with the common header; offsets of pointers are in the body."""
    header = name.encode() + (HEADER_SIZE + len(body)).to_bytes(4, "little") + bytes((revision, 0)) + OEM + OEM_TABLE
    header += REVISION.to_bytes(4, "little") + CREATOR + REVISION.to_bytes(4, "little")
    return Table(name, header + body, tuple((HEADER_SIZE + at, to) for at, to in pointers))


def acpi_tables(board: Board) -> list[Table]:
    """The tables of a board, without the root pointer. None points to one that comes later."""
    out = [
        Table("FACS", b"FACS" + (64).to_bytes(4, "little") + bytes(56), checksum=None, align=64),
        _table("DSDT", 1, differentiated_description(board)),
        _table("FACP", 1, _fixed_description(board), ((0, "FACS"), (4, "DSDT"))),
    ]
    if board.apic:
        out.append(_table("APIC", 1, _apic_description(board)))
    if board.hpet:
        out.append(_table("HPET", 1, _hpet_description(board)))
    out.append(_table("WAET", 1, PM_TIMER_IS_GOOD.to_bytes(4, "little")))
    listed = [table.name for table in out if table.name not in ("FACS", "DSDT")]
    pointers = [(4 * n, name) for n, name in enumerate(listed)]
    return [*out, _table("RSDT", 1, bytes(4 * len(listed)), pointers)]


def root_pointer() -> Table:
    """RSDP of ACPI 1.0."""
    return Table("RSDP", b"RSD PTR \0" + OEM + bytes(5), ((16, "RSDT"),), checksum=8)


def link(table: Table, places: Mapping[str, int]) -> bytes:
    """The table's bytes once the addresses of the tables that it points to are known."""
    out = bytearray(table.data)
    for at, name in table.pointers:
        out[at : at + 4] = places[name].to_bytes(4, "little")
    if table.checksum is not None:
        out[table.checksum] = -sum(out) & 0xFF
    return bytes(out)


def _fixed_description(board: Board) -> bytes:
    """The body of an ACPI 1.0 FADT (80 bytes)."""
    out = bytes(8) + bytes((1, 0)) + board.sci.to_bytes(2, "little")  # FACS, DSDT; dual PIC
    out += board.smi_port.to_bytes(4, "little") + bytes((board.acpi_enable, board.acpi_disable, 0, 0))
    blocks = (board.pm_base, 0, board.pm_base + 4, 0, 0, board.pm_base + 8, board.gpe_base, 0)
    out += b"".join(block.to_bytes(4, "little") for block in blocks)  # PM1a event, control; PM timer; GPE0
    out += bytes((4, 2, 0, 4, 4, 0, 0, 0))  # lengths of those blocks
    out += (0x0FFF).to_bytes(2, "little") * 2  # C2 and C3 are not supported
    out += bytes(6)  # flush size and stride, duty cycle
    out += bytes((0, 0, 0x32))  # day and month alarm: none; century byte of the CMOS
    out += bytes(3)
    return out + (WBINVD | PROC_C1 | NO_SLEEP_BUTTON | RTC_WAKES_FROM_S4).to_bytes(4, "little")


def _apic_description(board: Board) -> bytes:
    out = board.local_apic.to_bytes(4, "little") + (1).to_bytes(4, "little")  # with a PC/AT dual 8259A
    out += bytes((0, 8, 0, 0)) + (1).to_bytes(4, "little")  # processor 0, local APIC 0, enabled
    out += bytes((1, 12, IO_APIC_ID, 0)) + board.io_apic.to_bytes(4, "little") + bytes(4)
    out += _override(0, TIMER_PIN, CONFORMING)
    for line in sorted({board.sci, *board.links}):
        out += _override(line, line, HIGH_LEVEL)
    return out + bytes((4, 6, 0xFF, 0, 0, 1))  # NMI on LINT1 of every processor


def _override(source: int, pin: int, flags: int) -> bytes:
    return bytes((2, 10, 0, source)) + pin.to_bytes(4, "little") + flags.to_bytes(2, "little")


def _hpet_description(board: Board) -> bytes:
    where = bytes((0, 0, 0, 0)) + board.hpet_base.to_bytes(8, "little")  # in memory
    return (
        HPET_ID.to_bytes(4, "little") + where + bytes((0, 0, 0, 0))
    )  # number 0; shortest tick and protection: not said
