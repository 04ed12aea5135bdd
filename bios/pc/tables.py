"""The tables operating systems look for: ACPI, SMBIOS, MP and PCI interrupt routing.

What is found by scanning F0000h..FFFFFh stands in the ROM (`rom_parts`); the ACPI tables themselves are written to the
top of RAM by POST (`write_tables`). Sources: MultiProcessor Specification 1.4; Microsoft PCI IRQ Routing Table 1.0;
those of `bios.pc.acpi` and `bios.pc.smbios`.
"""

from __future__ import annotations

from bios.pc import pci, rom
from bios.pc.acpi import acpi_tables, link, root_pointer
from bios.pc.host import Host
from bios.pc.memory_map import NVS_SIZE, TABLE_AREA, table_area
from bios.pc.smbios import smbios

__all__ = ["rom_parts", "write_tables"]

PIR = rom.TABLES
RSDP = rom.TABLES + 0x400
MP = rom.TABLES + 0x500
SMBIOS = rom.TABLES + 0x1000

LOCAL_APIC = 0xFEE00000
IO_APIC = 0xFEC00000
IO_APIC_VERSION = 0x11
LOCAL_APIC_VERSION = 0x14
PCI_BUS, ISA_BUS = 0, 1
CONFORMING, ACTIVE_HIGH = 0x0000, 0x0001


def checksummed(table: bytes, at: int) -> bytes:
    """The table with the byte at `at` set so that all bytes add up to 0."""
    out = bytearray(table)
    out[at] = 0
    out[at] = -sum(out) & 0xFF
    return bytes(out)


def rom_parts(host: Host) -> dict[int, tuple[str, bytes]]:
    """{ROM offset: (name, bytes)} for the tables that live in the ROM."""
    machine = smbios(
        host.smbios,
        rom.BASE + SMBIOS,
        ram_size=host.ram_size,
        cpu_signature=host.cpu_signature,
        cpu_features=host.cpu_features,
    )
    parts = {PIR: ("PCI routing table", routing_table()), SMBIOS: ("SMBIOS", machine)}
    placed = place_acpi(host)
    if placed:
        parts[RSDP] = ("ACPI root pointer", link(root_pointer(), {name: at for name, (at, _) in placed.items()}))
    if host.apic:
        parts[MP] = ("MP table", mp_table(host, rom.BASE + MP))
    return parts


def place_acpi(host: Host) -> dict[str, tuple[int, bytes]]:
    """{name: (physical address, table)}: all in the table area, the one that operating systems write to in its NVS."""
    area = table_area(host.ram_size)
    if area is None or host.acpi is None:
        return {}
    placed: dict[str, tuple[int, bytes]] = {}
    places = {"FACS": area + TABLE_AREA - NVS_SIZE}
    for table in acpi_tables(host.acpi):
        at = places.setdefault(table.name, (area + table.align - 1) & -table.align)
        placed[table.name] = (at, link(table, places))
        if table.name != "FACS":
            area = at + len(table.data)
    return placed


def write_tables(host: Host) -> None:
    """Put the ACPI tables into RAM."""
    for address, data in place_acpi(host).values():
        host.write_phys(address, data)


def routing_table() -> bytes:
    """$PIR: how the slots' interrupt pins reach the PIIX at 00:01.0."""
    entries = pci.routing_entries()
    header = b"$PIR\x00\x01" + (32 + len(entries)).to_bytes(2, "little")
    header += bytes((0, 1 << 3, 0, 0)) + (0x70008086).to_bytes(4, "little") + bytes(16)
    return checksummed(header + entries, 31)


def mp_table(host: Host, at: int) -> bytes:
    """The floating pointer and, 16 bytes on, the configuration table: one CPU, PCI and ISA, one I/O APIC."""
    entries = [
        bytes((0, 0, LOCAL_APIC_VERSION, 0x03))
        + host.cpu_signature.to_bytes(4, "little")
        + host.cpu_features.to_bytes(4, "little")
        + bytes(8),
        b"\x01\x00PCI   ",
        b"\x01\x01ISA   ",
        bytes((2, 0, IO_APIC_VERSION, 1)) + IO_APIC.to_bytes(4, "little"),
    ]
    for device in range(1, 32):
        for pin in range(1, 5):
            line = pci.LINK_IRQS[pci.link_of(device, pin)]
            entries.append(_mp_interrupt(0, ACTIVE_HIGH, PCI_BUS, device << 2 | pin - 1, line))
    for line in range(16):
        if line == 2 or line in pci.LINK_IRQS:
            continue
        # The timer reaches pin 2: pin 0 takes the 8259A's interrupts.
        entries.append(_mp_interrupt(0, CONFORMING, ISA_BUS, line, 2 if line == 0 else line))
    entries.append(_mp_interrupt(3, CONFORMING, ISA_BUS, 0, 0, local=True))  # ExtINT at LINT0
    entries.append(_mp_interrupt(1, CONFORMING, ISA_BUS, 0, 1, local=True))  # NMI at LINT1
    body = b"".join(entries)
    header = b"PCMP" + (44 + len(body)).to_bytes(2, "little") + bytes((4, 0))
    header += b"EMU     " + b"PC          " + bytes(6) + len(entries).to_bytes(2, "little")
    header += LOCAL_APIC.to_bytes(4, "little") + bytes(4)
    pointer = b"_MP_" + (at + 16).to_bytes(4, "little") + bytes((1, 4, 0, 0, 0, 0, 0, 0))
    return checksummed(pointer, 10) + checksummed(header + body, 7)


def _mp_interrupt(kind: int, flags: int, bus: int, source: int, pin: int, *, local: bool = False) -> bytes:
    """An I/O interrupt assignment to the I/O APIC, or a local one to every local APIC."""
    return bytes((4 if local else 3, kind)) + flags.to_bytes(2, "little") + bytes((bus, source, 0xFF * local, pin))
