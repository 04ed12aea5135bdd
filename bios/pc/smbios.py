"""SMBIOS 2.8: who made the machine and what is in it; `-smbios` changes the words.

Source: System Management BIOS (SMBIOS) Reference Specification 2.8.0. Version 2.1 entry point, `_SM_`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from bios.pc.rom import DATE

MAKER = "Emu"
PRODUCT = "PC"
VERSION = "1"
MEGAHERTZ = 1000
ENTRY_SIZE = 0x1F
MOST_BYTES = 0x6000
"""Room for the structures in the ROM."""
END_OF_TABLE = 127
NO_HANDLE, UNKNOWN_HANDLE = 0xFFFF, 0xFFFE
MODULE_MIB = 16 << 10
"""The largest memory module that the tables show; more memory is several of them."""

KEYS: Mapping[int, tuple[str, ...]] = {
    0: ("vendor", "version", "date", "release", "uefi"),
    1: ("manufacturer", "product", "version", "serial", "uuid", "sku", "family"),
    2: ("manufacturer", "product", "version", "serial", "asset", "location"),
    3: ("manufacturer", "version", "serial", "asset", "sku"),
    4: ("sock_pfx", "manufacturer", "version", "serial", "asset", "part", "max-speed", "current-speed"),
    11: ("value",),
    17: ("loc_pfx", "bank", "manufacturer", "serial", "asset", "part", "speed"),
}
"""What may be said of each type of structure."""
UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def uuid_bytes(text: str) -> bytes:
    """The 16 bytes of a UUID as it is written. Raises ValueError."""
    if not UUID.fullmatch(text):
        raise ValueError(f"expected a UUID such as 12345678-9abc-def0-1234-56789abcdef0, found '{text[:60]}'")
    return bytes.fromhex(text.replace("-", ""))


class Words:
    """What a person wants the tables to say."""

    def __init__(self) -> None:
        self.given: dict[int, dict[str, str]] = {}
        self.oem: list[str] = []
        """Strings of type 11."""
        self.raw: list[bytes] = []
        """Whole structures, which replace ours of their type."""
        self.uuid = bytes(16)

    def add(self, kind: int, words: Mapping[str, str]) -> None:
        """More about structures of a type. Raises ValueError."""
        if kind not in KEYS:
            raise ValueError(f"type {kind} cannot be described; expected one of {', '.join(map(str, KEYS))}")
        for key, text in words.items():
            if key not in KEYS[kind]:
                raise ValueError(f"type {kind} has no '{key[:60]}'; expected one of {', '.join(KEYS[kind])}")
            if "\0" in text or len(text.encode("utf-8", "replace")) > 1024:
                raise ValueError(f"{key}: expected at most 1024 bytes without a zero byte")
            if key == "uuid":
                self.uuid = uuid_bytes(text)
            elif key in ("max-speed", "current-speed", "speed"):
                _ranged(text, key, 0xFFFF)
            elif key == "release":
                _release(text)
            elif key == "uefi" and text not in ("on", "off"):
                raise ValueError(f"uefi: expected on or off, found '{text[:60]}'")
        if kind == 11:
            self.oem += [words["value"]] if "value" in words else []
        else:
            self.given.setdefault(kind, {}).update(words)

    def add_structure(self, data: bytes) -> None:
        """A whole structure. Raises ValueError."""
        whole = len(data) >= 6 and 4 <= data[1] <= len(data) - 2 and data.find(b"\0\0", data[1]) == len(data) - 2
        if not whole or data[0] == END_OF_TABLE or len(data) > 0x1000:
            raise ValueError("expected one SMBIOS structure with its strings and two zero bytes at the end")
        self.raw.append(data)

    def word(self, kind: int, key: str, default: str = "") -> str:
        return self.given.get(kind, {}).get(key, default)

    def number(self, kind: int, key: str, default: int) -> int:
        return int(self.word(kind, key, str(default)), 0)


def _ranged(text: str, what: str, high: int) -> int:
    if not re.fullmatch(r"0[xX][0-9a-fA-F]{1,8}|0|[1-9][0-9]{0,8}", text) or int(text, 0) > high:
        raise ValueError(f"{what}: expected a number from 0 to {high}, found '{text[:60]}'")
    return int(text, 0)


def _release(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return _ranged(major, "release", 255), _ranged(minor, "release", 255)


@dataclass
class _Structures:
    """Numbers the structures and collects them."""

    replaced: frozenset[int] = frozenset()
    data: bytearray = field(default_factory=bytearray)
    count: int = 0
    largest: int = 0

    def add(self, kind: int, formatted: bytes, strings: _Strings | None = None, *, index: int = 0) -> int:
        """A structure: its formatted part after the header, then its strings. Gives its handle."""
        handle = kind << 8 | index
        if kind not in self.replaced:
            header = bytes((kind, 4 + len(formatted))) + handle.to_bytes(2, "little")
            self.append(header + formatted + (strings.data() if strings is not None else b"\0\0"))
        return handle

    def append(self, whole: bytes) -> None:
        self.data += whole
        self.count += 1
        self.largest = max(self.largest, len(whole))


class _Strings:
    """The strings behind a structure, which it names by number; an empty one is number 0."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, text: str) -> int:
        if not text:
            return 0
        self.texts.append(text)
        return len(self.texts)

    def data(self) -> bytes:
        texts = b"".join(text.encode("utf-8", "replace") + b"\0" for text in self.texts)
        return (texts or b"\0") + b"\0"


def _word(value: int) -> bytes:
    return value.to_bytes(2, "little")


def _dword(value: int) -> bytes:
    return value.to_bytes(4, "little")


def _long(value: int) -> bytes:
    return value.to_bytes(8, "little")


def structures(
    words: Words, *, ram_size: int, cpu_signature: int, cpu_features: int, bios: bool
) -> tuple[bytes, int, int]:
    """The table, the number of structures in it and the length of the largest. Raises ValueError if it is too long.

    `bios`: with type 0 even if nothing is said of it; other firmware describes itself.
    """
    out = _Structures(frozenset(data[0] for data in words.raw))
    if bios or 0 in words.given:
        _bios(out, words)
    _system(out, words)
    if 2 in words.given:
        _base_board(out, words)
    _chassis(out, words)
    _processor(out, words, cpu_signature, cpu_features)
    if words.oem:
        oem = _Strings()
        for text in words.oem:
            oem(text)
        out.add(11, bytes((len(words.oem),)), oem)
    _memory(out, words, ram_size)
    out.add(32, bytes(7))
    for data in words.raw:
        out.append(data)
    out.add(END_OF_TABLE, b"")
    if len(out.data) > MOST_BYTES:
        raise ValueError(f"the SMBIOS table has {len(out.data)} bytes; at most {MOST_BYTES} fit")
    return bytes(out.data), out.count, out.largest


def _bios(out: _Structures, words: Words) -> None:
    s = _Strings()
    text = bytes((s(words.word(0, "vendor", MAKER)), s(words.word(0, "version", VERSION)))) + _word(0xF000)
    text += bytes((s(words.word(0, "date", f"{DATE[:6]}20{DATE[6:]}")), 0))  # 64 KiB
    # PCI, boot from CD, INT 13h floppies of 1.2 MB; ACPI; a virtual machine, and UEFI where somebody says so.
    text += _long(1 << 7 | 1 << 15 | 1 << 19) + bytes((0x01, 0x10 | 0x08 * (words.word(0, "uefi") == "on")))
    release = _release(words.word(0, "release")) if words.word(0, "release") else (255, 255)
    out.add(0, text + bytes((*release, 0xFF, 0xFF)), s)


def _system(out: _Structures, words: Words) -> None:
    s = _Strings()
    text = bytes(
        (
            s(words.word(1, "manufacturer", MAKER)),
            s(words.word(1, "product", PRODUCT)),
            s(words.word(1, "version", VERSION)),
            s(words.word(1, "serial")),
        )
    )
    uuid = words.uuid
    text += uuid[3::-1] + uuid[5:3:-1] + uuid[7:5:-1] + uuid[8:] + b"\x06"  # woken by the power switch
    text += bytes((s(words.word(1, "sku")), s(words.word(1, "family"))))
    out.add(1, text, s)


def _base_board(out: _Structures, words: Words) -> None:
    s = _Strings()
    text = bytes((s(words.word(2, "manufacturer", MAKER)),))
    text += bytes(s(words.word(2, key)) for key in ("product", "version", "serial", "asset"))
    text += b"\x01" + bytes((s(words.word(2, "location")),)) + _word(3 << 8) + b"\x0a\0"  # hosting; a motherboard
    out.add(2, text, s)


def _chassis(out: _Structures, words: Words) -> None:
    s = _Strings()
    text = bytes((s(words.word(3, "manufacturer", MAKER)), 0x01))
    text += bytes(s(words.word(3, key)) for key in ("version", "serial", "asset"))
    text += bytes((3, 3, 3, 2)) + bytes(8) + bytes((s(words.word(3, "sku")),))  # safe; security: unknown
    out.add(3, text, s)


def _processor(out: _Structures, words: Words, signature: int, features: int) -> None:
    s = _Strings()
    text = bytes((s(words.word(4, "sock_pfx", "CPU ") + "0"), 3, 0x01, s(words.word(4, "manufacturer", MAKER))))
    text += _dword(signature) + _dword(features) + bytes((s(words.word(4, "version", VERSION)), 0)) + bytes(2)
    text += _word(words.number(4, "max-speed", MEGAHERTZ)) + _word(words.number(4, "current-speed", MEGAHERTZ))
    text += bytes((0x41, 0x01)) + _word(NO_HANDLE) * 3  # there and on
    text += bytes(s(words.word(4, key)) for key in ("serial", "asset", "part"))
    out.add(4, text + bytes((1, 1, 1)) + _word(0x0002) + _word(0x0001), s)


def _memory(out: _Structures, words: Words, ram_size: int) -> None:
    kib, mib = max(1, ram_size >> 10), ram_size >> 20
    sizes = [min(MODULE_MIB, mib - at) for at in range(0, max(mib, 1), MODULE_MIB)]
    capacity = _dword(kib) if kib < 0x80000000 else _dword(0x80000000)
    array = bytes((1, 3, 3)) + capacity + _word(UNKNOWN_HANDLE) + _word(len(sizes))
    handle = out.add(16, array + (_long(0) if kib < 0x80000000 else _long(ram_size)))
    for index, size in enumerate(sizes):
        s = _Strings()
        text = _word(handle) + _word(UNKNOWN_HANDLE) + _word(64) * 2 + _word(min(size, 0x7FFF)) + bytes((0x09, 0))
        text += bytes((s(f"{words.word(17, 'loc_pfx', 'DIMM ')}{index}"), s(words.word(17, "bank")), 0x07)) + _word(2)
        text += _word(words.number(17, "speed", 0)) + bytes((s(words.word(17, "manufacturer", MAKER)),))
        text += bytes(s(words.word(17, key)) for key in ("serial", "asset", "part"))
        text += b"\0" + _dword(size if size >= 0x7FFF else 0) + _word(words.number(17, "speed", 0)) + _word(0) * 3
        out.add(17, text, s, index=index)
    out.add(19, _dword(0) + _dword(kib - 1) + _word(handle) + b"\x01" + _long(0) * 2)


def entry_point(table: int, length: int, count: int, largest: int) -> bytes:
    """The 31 bytes by which the table of `length` bytes at physical address `table` is found."""
    inner = b"_DMI_\x00" + _word(length) + _dword(table) + _word(count) + b"\x28"
    inner = inner[:5] + bytes((-sum(inner) & 0xFF,)) + inner[6:]
    entry = b"_SM_\x00" + bytes((ENTRY_SIZE, 2, 8)) + _word(largest) + bytes(6) + inner
    return entry[:4] + bytes((-sum(entry) & 0xFF,)) + entry[5:]


def smbios(words: Words, at: int, *, ram_size: int, cpu_signature: int, cpu_features: int) -> bytes:
    """The entry point, placed at physical address `at` (a multiple of 16), with the structures after it."""
    data, count, largest = structures(
        words, ram_size=ram_size, cpu_signature=cpu_signature, cpu_features=cpu_features, bios=True
    )
    return entry_point(at + 0x20, len(data), count, largest).ljust(0x20, b"\0") + data


def firmware_files(words: Words, *, ram_size: int, cpu_signature: int, cpu_features: int) -> dict[str, bytes]:
    """{name: content} for firmware that places the table itself."""
    data, count, largest = structures(
        words, ram_size=ram_size, cpu_signature=cpu_signature, cpu_features=cpu_features, bios=False
    )
    return {
        "etc/smbios/smbios-tables": data,
        "etc/smbios/smbios-anchor": entry_point(0, len(data), count, largest),
    }
