"""Is this file one that Linux takes as its initial RAM disk, and is all of it there?

Linux unpacks cpio archives in the "newc" form, each whole or compressed, or mounts an image of a file system. The
loaders give a kernel any bytes; the boards ask here first if the kernel is Linux, which would start without its files.
Source: Linux kernel documentation, "initramfs buffer format".
"""

from __future__ import annotations

import re
import zlib

from bios.plan import GZIP_MAGIC, ImageError

NEWC = re.compile(rb"07070[12](?:[0-9A-Fa-f]{8}){13}")
NEWC_SIZE, FILE_SIZE_AT, NAME_SIZE_AT = 110, 54, 94
LAST = b"TRAILER!!!\0"
COMPRESSED = (
    GZIP_MAGIC,
    b"\x1f\x9e",
    b"BZh",
    b"\x5d\0\0",
    b"\xfd7zXZ",
    b"\x89LZO",
    b"\x02\x21\x4c\x18",
    b"\x28\xb5\x2f\xfd",
)
FILE_SYSTEMS = (
    *((0x438, b"\x53\xef"), (0, b"-rom1fs-"), (0, b"\x45\x3d\xcd\x28"), (0x200, b"\x45\x3d\xcd\x28"), (0, b"hsqs")),
    *((0x410, magic) for magic in (b"\x7f\x13", b"\x8f\x13", b"\x68\x24", b"\x78\x24")),
)
PIECE = 1 << 18
UNPACKED_LIMIT = 1 << 29
"""Bytes of unpacked data after which a gzip file counts as good."""


def check(name: str, data: bytes) -> None:
    """Raise ImageError for a file of another kind, and for an archive that ends too early."""
    at = _skip_zeros(data, 0)
    if data[at : at + 6] == b"070707":
        raise ImageError(
            name, "a cpio archive in the old form", f"offset {at:#x}", "expected the newc form (cpio -H newc)"
        )
    if not data.startswith((b"07070", *COMPRESSED), at) and not any(data.startswith(m, p) for p, m in FILE_SYSTEMS):
        expected = "expected an initial RAM disk: a cpio archive, compressed or not, or a file system"
        raise ImageError(name, f"{data[at : at + 4].hex() or 'nothing but zeros'}", f"offset {at:#x}", expected)
    while (end := _end_of_archive(name, data, at)) > at:
        at = _skip_zeros(data, end)
    if data[at : at + 2] == GZIP_MAGIC:
        _inflate(name, data, at)


def _skip_zeros(data: bytes, at: int) -> int:
    """The first byte from `at` on that is not zero; archives may be padded."""
    found = re.compile(rb"[^\0]").search(data, at)
    return len(data) if found is None else found.start()


def _end_of_archive(name: str, data: bytes, start: int) -> int:
    """The end of the cpio archive at `start`, or of the part that can be read."""
    at = start
    while NEWC.match(data, at):
        size, name_size = (int(data[at + n : at + n + 8], 16) for n in (FILE_SIZE_AT, NAME_SIZE_AT))
        name_at = at + NEWC_SIZE
        body = start + (name_at + name_size - start + 3 & ~3)
        if name_at + name_size > len(data) or body + size > len(data):
            raise ImageError(
                name, "a cpio archive that ends too early", f"offset {at:#x}", f"the file has {len(data)} bytes"
            )
        if data[name_at : name_at + name_size] == LAST:
            return body + size
        at = start + (body + size - start + 3 & ~3)
    if at < len(data) and len(data) - at < NEWC_SIZE and data[at : at + 1] == b"0":
        raise ImageError(
            name, "a cpio archive that ends too early", f"offset {at:#x}", f"the file has {len(data)} bytes"
        )
    return at


def _inflate(name: str, data: bytes, at: int) -> None:
    inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    total = 0
    try:
        for start in range(at, len(data), PIECE):
            total += len(inflate.decompress(data[start : start + PIECE]))
            if inflate.eof or total > UNPACKED_LIMIT:
                return
    except zlib.error as error:
        raise ImageError(name, "damaged gzip data", f"offset {at:#x}", str(error)) from None
    raise ImageError(name, "truncated gzip data", f"byte {len(data)}", "the file ends before the stream does")
