"""Small PowerPC kernels of every format, built field by field."""

from __future__ import annotations

import struct
import zlib

CODE = b"".join(struct.pack(">I", 0x38600000 | n) for n in range(300))  # li r3, n


def uimage_file(
    data: bytes,
    *,
    load: int = 0,
    entry: int = 0,
    system: int = 5,
    arch: int = 7,
    kind: int = 2,
    compression: int = 0,
    title: bytes = b"a test",
) -> bytes:
    def header(crc: int) -> bytes:
        numbers = (0x27051956, crc, 0, len(data), load, entry, zlib.crc32(data), system, arch, kind, compression, title)
        return struct.pack(">7I4B32s", *numbers)

    return header(zlib.crc32(header(0))) + data


def multi(*files: bytes, load: int = 0) -> bytes:
    sizes = b"".join(struct.pack(">I", len(file)) for file in files) + bytes(4)
    body = sizes + b"".join(file + bytes(-len(file) % 4) for file in files)
    return uimage_file(body, kind=4, load=load, entry=load)


def elf(
    *segments: tuple[int, int, bytes, int],
    entry: int = 0,
    klass: int = 1,
    order: int = 2,
    kind: int = 2,
    machine: int = 20,
) -> bytes:
    """Segments are (virtual, physical, data, size in memory)."""
    head = struct.pack(">4s4B8x", b"\x7fELF", klass, order, 1, 0)
    head += struct.pack(">2H5I6H", kind, machine, 1, entry, 52, 0, 0, 52, 32, len(segments), 0, 0, 0)
    at = 52 + 32 * len(segments)
    table, body = b"", b""
    for virtual, physical, data, size in segments:
        table += struct.pack(">8I", 1, at + len(body), virtual, physical, len(data), size, 7, 4)
        body += data
    return head + table + body
