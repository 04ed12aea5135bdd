"""The ACPI tables: RSDP, RSDT, FADT, FACS, DSDT and, with an I/O APIC, MADT.

Power management is the PIIX4's at port 600h, already in ACPI mode when the guest starts (no SMI command port). PCI
interrupts are described as wired to fixed inputs, because POST routes the PIIX links once and for all.
Source: ACPI Specification 1.0b and 2.0, section 5; Intel 82371AB data sheet, chapter 7.
"""

from __future__ import annotations

from bios.pc import aml, pci
from bios.pc.host import Host
from bios.pc.memory_map import NVS_SIZE, TABLE_AREA

OEM = b"EMU   "
OEM_TABLE = b"EMUPC   "
CREATOR = b"EMU "
REVISION = 1

SOFT_OFF = 0  # the PIIX4's sleep type for power off
IO_APIC_ID = 0
TIMER_PIN = 2
# Interrupt flags of MADT overrides: polarity in bits 0..1 (1 high), trigger in bits 2..3 (3 level).
CONFORMING, HIGH_LEVEL = 0x0000, 0x000D

HEADER_SIZE = 36


def _checksum(table: bytes, at: int) -> bytes:
    out = bytearray(table)
    out[at] = 0
    out[at] = -sum(out) & 0xFF
    return bytes(out)


def _table(signature: bytes, revision: int, body: bytes) -> bytes:
    header = signature + (HEADER_SIZE + len(body)).to_bytes(4, "little") + bytes((revision, 0)) + OEM + OEM_TABLE
    header += REVISION.to_bytes(4, "little") + CREATOR + REVISION.to_bytes(4, "little")
    return _checksum(header + body, 9)


def root_pointer(area: int) -> bytes:
    """RSDP of ACPI 1.0: the RSDT is the first table of the area."""
    return _checksum(b"RSD PTR \x00" + OEM + b"\x00" + area.to_bytes(4, "little"), 8)


def acpi_tables(host: Host, area: int) -> list[tuple[int, bytes]]:
    """[(physical address, table)] for the table area; the RSDT comes first."""
    facs = area + TABLE_AREA - NVS_SIZE
    tables: list[tuple[int, bytes]] = []
    count = 2 if host.apic else 1
    at = _align(area + HEADER_SIZE + 4 * count)
    dsdt = _table(b"DSDT", 1, differentiated_system_description())
    tables.append((at, dsdt))
    fadt_at = _align(at + len(dsdt))
    fadt = _table(b"FACP", 1, _fixed_description(facs, at))
    tables.append((fadt_at, fadt))
    listed = [fadt_at]
    if host.apic:
        madt_at = _align(fadt_at + len(fadt))
        tables.append((madt_at, _table(b"APIC", 1, _apic_description())))
        listed.append(madt_at)
    rsdt = _table(b"RSDT", 1, b"".join(entry.to_bytes(4, "little") for entry in listed))
    firmware_control = b"FACS" + (64).to_bytes(4, "little") + bytes(56)
    return [(area, rsdt), *tables, (facs, firmware_control)]


def _align(address: int) -> int:
    return (address + 15) & ~15


def _fixed_description(facs: int, dsdt: int) -> bytes:
    """The body of an ACPI 1.0 FADT (80 bytes)."""
    out = facs.to_bytes(4, "little") + dsdt.to_bytes(4, "little")
    out += bytes((1, 0)) + pci.SCI_IRQ.to_bytes(2, "little")  # dual PIC; system control interrupt
    out += bytes(4) + bytes(4)  # no SMI command port: always in ACPI mode
    blocks = (pci.PM_BASE, 0, pci.PM_BASE + 4, 0, 0, pci.PM_BASE + 8, 0, 0)  # PM1a event, control; PM timer
    out += b"".join(block.to_bytes(4, "little") for block in blocks)
    out += bytes((4, 2, 0, 4, 0, 0, 0, 0))  # lengths of those blocks
    out += (0x0FFF).to_bytes(2, "little") + (0x0FFF).to_bytes(2, "little")  # C2 and C3 are not supported
    out += bytes(4) + bytes(2)  # flush size and stride, duty cycle
    out += bytes((0, 0, 0x32))  # day and month alarm: none; century byte of the CMOS
    out += bytes(3)
    # WBINVD works, C1 is supported, no fixed sleep button, RTC wake is not in fixed registers.
    out += (0x01 | 0x04 | 0x20 | 0x40).to_bytes(4, "little")
    return out


def _apic_description() -> bytes:
    out = (0xFEE00000).to_bytes(4, "little") + (1).to_bytes(4, "little")  # with a PC/AT dual 8259A
    out += bytes((0, 8, 0, 0)) + (1).to_bytes(4, "little")  # processor 0, local APIC 0, enabled
    out += bytes((1, 12, IO_APIC_ID, 0)) + (0xFEC00000).to_bytes(4, "little") + bytes(4)
    out += _override(0, TIMER_PIN, CONFORMING)
    for line in sorted({pci.SCI_IRQ, *pci.LINK_IRQS}):
        out += _override(line, line, HIGH_LEVEL)
    return out + bytes((4, 6, 0xFF, 0, 0, 1))  # NMI on LINT1 of every processor


def _override(source: int, pin: int, flags: int) -> bytes:
    return bytes((2, 10, 0, source)) + pin.to_bytes(4, "little") + flags.to_bytes(2, "little")


def differentiated_system_description() -> bytes:
    """The AML of the DSDT."""
    off = aml.package(*[aml.integer(SOFT_OFF)] * 4)
    host_bridge = aml.device(
        "PCI0",
        aml.name("_HID", aml.eisa_id("PNP0A03")),
        aml.name("_ADR", aml.integer(0)),
        aml.name("_UID", aml.integer(0)),
        aml.name("_CRS", _bridge_windows()),
        aml.name("_PRT", _routing()),
        aml.device("ISA", aml.name("_ADR", aml.integer(0x00010000)), *_isa_devices()),
    )
    return aml.scope("\\_SB", aml.processor("CPU0", 0), host_bridge) + aml.name("\\_S5", off)


def _bridge_windows() -> bytes:
    return aml.resources(
        aml.bus_numbers(0x00, 0xFF),
        aml.io(0xCF8, 8),
        aml.word_io(0x0000, 0x0CF7),
        aml.word_io(0x0D00, 0xFFFF),
        aml.dword_memory(0xA0000, 0xBFFFF, cacheable=True),
        aml.dword_memory(pci.MEMORY_FIRST, pci.MEMORY_LAST, cacheable=False),
    )


def _routing() -> bytes:
    """_PRT: every pin of every slot, wired to the input that POST routes its link to."""
    entries = []
    for device in range(1, 32):
        for pin in range(4):
            line = pci.LINK_IRQS[pci.link_of(device, pin + 1)]
            address = aml.integer(device << 16 | 0xFFFF)
            entries.append(aml.package(address, aml.integer(pin), aml.integer(0), aml.integer(line)))
    return aml.package(*entries)


def _isa_devices() -> list[bytes]:
    def isa(path: str, identity: str, *descriptors: bytes, uid: int | None = None) -> bytes:
        terms = [aml.name("_HID", aml.eisa_id(identity))]
        if uid is not None:
            terms.append(aml.name("_UID", aml.integer(uid)))
        return aml.device(path, *terms, aml.name("_CRS", aml.resources(*descriptors)))

    return [
        isa("RTC", "PNP0B00", aml.io(0x70, 8), aml.irq(8)),
        isa("KBD", "PNP0303", aml.io(0x60, 1), aml.io(0x64, 1), aml.irq(1)),
        isa("MOU", "PNP0F13", aml.irq(12)),
        isa("COM1", "PNP0501", aml.io(0x3F8, 8), aml.irq(4), uid=1),
        isa("COM2", "PNP0501", aml.io(0x2F8, 8), aml.irq(3), uid=2),
    ]
