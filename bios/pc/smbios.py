"""SMBIOS 2.4: who made the machine and what is in it. Source: System Management BIOS Reference Specification 2.4."""

from __future__ import annotations

from bios.pc.host import Host
from bios.pc.rom import DATE

VENDOR = "Emu"
PRODUCT = "PC"
VERSION = "1"
ENTRY_SIZE = 0x1F


class _Structures:
    """Numbers the structures and collects them."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.count = 0
        self.largest = 0

    def add(self, kind: int, formatted: bytes, *strings: str) -> int:
        """A structure: its formatted part after the header, then its strings. Gives its handle."""
        handle = kind << 8
        header = bytes((kind, 4 + len(formatted))) + handle.to_bytes(2, "little")
        text = b"".join(string.encode("ascii") + b"\0" for string in strings) or b"\0"
        whole = header + formatted + text + b"\0"
        self.data += whole
        self.count += 1
        self.largest = max(self.largest, len(whole))
        return handle


def structures(host: Host) -> _Structures:
    """The structures of this machine."""
    out = _Structures()
    date = f"{DATE[:6]}20{DATE[6:]}"
    # Vendor, version, segment, date, 64 KiB ROM; characteristics: PCI, El Torito-free boot, INT 13h floppies, INT 10h.
    characteristics = (1 << 7 | 1 << 15 | 1 << 19).to_bytes(8, "little")
    out.add(
        0,
        bytes((1, 2)) + (0xF000).to_bytes(2, "little") + bytes((3, 0)) + characteristics + b"\x01\x00\xff\xff\xff\xff",
        VENDOR,
        VERSION,
        date,
    )
    out.add(1, bytes((1, 2, 3, 0)) + bytes(16) + bytes((0x06, 0, 0)), VENDOR, PRODUCT, VERSION)
    out.add(3, bytes((1, 0x01, 0, 0, 0, 3, 3, 3, 2)) + bytes(4) + bytes((0, 0, 0, 0)), VENDOR)
    megahertz = (1000).to_bytes(2, "little")
    out.add(
        4,
        bytes((1, 3, 0x01, 2))
        + host.cpu_signature.to_bytes(4, "little")
        + host.cpu_features.to_bytes(4, "little")
        + bytes((0, 0))
        + bytes(2)
        + megahertz * 2
        + bytes((0x41, 0x01))
        + b"\xff\xff" * 3
        + bytes((0, 0, 0)),
        "CPU 0",
        VENDOR,
    )
    kib = host.ram_size >> 10
    array = out.add(
        16, bytes((1, 3, 3)) + min(kib, 0x80000000).to_bytes(4, "little") + b"\xfe\xff" + (1).to_bytes(2, "little")
    )
    mib = min(host.ram_size >> 20, 0x7FFF)
    out.add(
        17,
        array.to_bytes(2, "little")
        + b"\xfe\xff"
        + (64).to_bytes(2, "little") * 2
        + mib.to_bytes(2, "little")
        + bytes((0x09, 0, 1, 0, 0x07))
        + bytes(2)
        + bytes(2)
        + bytes(4),
        "DIMM 0",
    )
    last = max(1, kib) - 1
    out.add(19, bytes(4) + last.to_bytes(4, "little") + array.to_bytes(2, "little") + b"\x01")
    out.add(32, bytes(6) + b"\x00")
    out.add(127, b"")
    return out


def smbios(host: Host, at: int) -> bytes:
    """The entry point, placed at physical address `at` (a multiple of 16), with the structures after it."""
    body = structures(host)
    table = at + 0x20
    inner = b"_DMI_\x00" + len(body.data).to_bytes(2, "little") + table.to_bytes(4, "little")
    inner += body.count.to_bytes(2, "little") + b"\x24"
    inner = inner[:5] + bytes((-sum(inner) & 0xFF,)) + inner[6:]
    head = b"_SM_\x00" + bytes((ENTRY_SIZE, 2, 4)) + body.largest.to_bytes(2, "little") + bytes(6)
    entry = head + inner
    entry = entry[:4] + bytes((-sum(entry) & 0xFF,)) + entry[5:]
    return entry.ljust(0x20, b"\0") + bytes(body.data)
