"""A small encoder for ACPI Machine Language: just what the DSDT of a PC needs.

Each function gives the bytes of one term. Source: ACPI Specification 2.0, section 17 (AML grammar) and 6.4 (resource
descriptors).
"""

from __future__ import annotations


def package_length(body: bytes) -> bytes:
    """PkgLength and the body it counts (itself included)."""
    for extra in range(4):
        total = len(body) + 1 + extra
        if extra == 0 and total < 0x40:
            return bytes((total,)) + body
        if extra and total < 1 << (4 + 8 * extra):
            return bytes((extra << 6 | total & 0x0F,)) + (total >> 4).to_bytes(extra, "little") + body
    raise ValueError("an AML package is limited to 256 MiB")


def name_string(path: str) -> bytes:
    r"""A name such as ``_HID``, ``\_SB`` or ``_SB.PCI0``; segments are padded with underscores."""
    root = b"\\" if path.startswith("\\") else b""
    segments = [segment.ljust(4, "_").encode("ascii") for segment in path.lstrip("\\").split(".") if segment]
    if any(len(segment) != 4 for segment in segments):
        raise ValueError(f"AML names have at most four characters: {path}")
    if len(segments) == 1:
        return root + segments[0]
    prefix = b"\x2e" if len(segments) == 2 else b"\x2f" + bytes((len(segments),))
    return root + prefix + b"".join(segments)


def integer(value: int) -> bytes:
    """The shortest form of an unsigned number."""
    if value in (0, 1):
        return bytes((value,))
    for opcode, size in ((0x0A, 1), (0x0B, 2), (0x0C, 4), (0x0E, 8)):
        if value < 1 << 8 * size:
            return bytes((opcode,)) + value.to_bytes(size, "little")
    raise ValueError(f"{value} does not fit an AML integer")


def string(text: str) -> bytes:
    return b"\x0d" + text.encode("ascii") + b"\0"


def buffer(data: bytes) -> bytes:
    return b"\x11" + package_length(integer(len(data)) + data)


def package(*elements: bytes) -> bytes:
    return b"\x12" + package_length(bytes((len(elements),)) + b"".join(elements))


def name(path: str, value: bytes) -> bytes:
    return b"\x08" + name_string(path) + value


def scope(path: str, *terms: bytes) -> bytes:
    return b"\x10" + package_length(name_string(path) + b"".join(terms))


def device(path: str, *terms: bytes) -> bytes:
    return b"\x5b\x82" + package_length(name_string(path) + b"".join(terms))


def method(path: str, arguments: int, *terms: bytes, serialized: bool = False) -> bytes:
    flags = bytes((arguments | serialized << 3,))
    return b"\x14" + package_length(name_string(path) + flags + b"".join(terms))


def processor(path: str, number: int) -> bytes:
    """A processor without a register block."""
    return b"\x5b\x83" + package_length(name_string(path) + bytes((number, 0, 0, 0, 0, 0)))


def eisa_id(text: str) -> bytes:
    """An identifier such as PNP0A03 as the compressed 32-bit number."""
    letters = [ord(letter) - 0x40 for letter in text[:3]]
    packed = letters[0] << 26 | letters[1] << 21 | letters[2] << 16 | int(text[3:], 16)
    return b"\x0c" + packed.to_bytes(4, "big")


# --- what methods are made of ---------------------------------------------------------------------------------------

SYSTEM_MEMORY, SYSTEM_IO, PCI_CONFIG = 0, 1, 2
BYTE, WORD, DWORD = 1, 2, 3
ONES = b"\xff"
NOWHERE = b"\0"
"""The target of an operator whose result is only used in place."""


def argument(number: int) -> bytes:
    return bytes((0x68 + number,))


def call(path: str, *arguments: bytes) -> bytes:
    """A method's value, or a name's where there are no arguments."""
    return name_string(path) + b"".join(arguments)


def region(path: str, space: int, offset: int, length: int) -> bytes:
    return b"\x5b\x80" + name_string(path) + bytes((space,)) + integer(offset) + integer(length)


def field(path: str, access: int, *units: tuple[str, int]) -> bytes:
    """The named bits of a region, in order: (name, number of bits; at most 63)."""
    flags = bytes((access,))  # without the global lock; other bits are preserved
    parts = b"".join(name_string(unit) + bytes((bits,)) for unit, bits in units)
    return b"\x5b\x81" + package_length(name_string(path) + flags + parts)


def dword_field(source: bytes, at: int, path: str) -> bytes:
    """A name for four bytes of a buffer."""
    return b"\x8a" + source + integer(at) + name_string(path)


def store(value: bytes, target: bytes) -> bytes:
    return b"\x70" + value + target


def both(left: bytes, right: bytes, target: bytes = NOWHERE) -> bytes:
    """Bitwise and."""
    return b"\x7b" + left + right + target


def either(left: bytes, right: bytes, target: bytes = NOWHERE) -> bytes:
    """Bitwise or."""
    return b"\x7d" + left + right + target


def less(left: bytes, right: bytes) -> bytes:
    return b"\x95" + left + right


def when(predicate: bytes, *terms: bytes) -> bytes:
    return b"\xa0" + package_length(predicate + b"".join(terms))


def give(value: bytes) -> bytes:
    """Return."""
    return b"\xa4" + value


# --- resource descriptors -------------------------------------------------------------------------------------------


def resources(*descriptors: bytes) -> bytes:
    """A resource template: the descriptors and the end tag (checksum 0: not used)."""
    return buffer(b"".join(descriptors) + b"\x79\x00")


def irq(*lines: int) -> bytes:
    """Edge-triggered, active-high ISA interrupts."""
    return b"\x22" + sum({1 << line for line in lines}).to_bytes(2, "little")


def io(base: int, length: int, alignment: int = 1) -> bytes:
    """A fixed I/O range, 16-bit decode."""
    where = base.to_bytes(2, "little")
    return b"\x47\x01" + where + where + bytes((alignment, length))


def dma(channel: int) -> bytes:
    """An ISA DMA channel: compatible timing, 8 bits, no bus master."""
    return bytes((0x2A, 1 << channel, 0))


def interrupts(*numbers: int) -> bytes:
    """Level-triggered, active-high, shared interrupts of which a consumer gets one (extended descriptor)."""
    body = bytes((0x09, len(numbers))) + b"".join(number.to_bytes(4, "little") for number in numbers)
    return b"\x89" + len(body).to_bytes(2, "little") + body


def fixed_memory(base: int, length: int) -> bytes:
    """Registers in memory, which are read only as far as a resource manager may care."""
    return b"\x86\x09\0\0" + base.to_bytes(4, "little") + length.to_bytes(4, "little")


def bus_numbers(first: int, last: int) -> bytes:
    return _word_space(0x02, 0x00, first, last)


def word_io(first: int, last: int) -> bytes:
    """An I/O window that a bridge passes on, all of its addresses."""
    return _word_space(0x01, 0x03, first, last)


def _word_space(kind: int, specific: int, first: int, last: int) -> bytes:
    body = bytes((kind, 0x0C, specific))  # fixed minimum and maximum, positive decode, produced by the bridge
    numbers = (0, first, last, 0, last - first + 1)
    body += b"".join(number.to_bytes(2, "little") for number in numbers)
    return b"\x88" + len(body).to_bytes(2, "little") + body


def dword_memory(first: int, last: int, *, cacheable: bool) -> bytes:
    """A memory window that a bridge passes on, readable and writable."""
    body = bytes((0x00, 0x0C, 0x03 if cacheable else 0x01))
    numbers = (0, first, last, 0, last - first + 1)
    body += b"".join(number.to_bytes(4, "little") for number in numbers)
    return b"\x87" + len(body).to_bytes(2, "little") + body
