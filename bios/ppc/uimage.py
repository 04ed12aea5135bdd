"""uImage, the format of U-Boot's `bootm`: a 64-byte header with two checksums before a kernel, a RAM disk or several.

`parse` checks the header and the data; `Image.content` unpacks. Source: the U-Boot sources' description of the legacy
image format ("include/image.h") and the manual page of mkimage.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from bios.plan import ImageError, gunzip

MAGIC = 0x27051956
HEADER = struct.Struct(">7I4B32s")

LINUX, POWERPC = 5, 7
STANDALONE, KERNEL, RAMDISK, MULTI, FLAT_TREE, KERNEL_NOLOAD = 1, 2, 3, 4, 8, 14
NONE, GZIP, BZIP2, LZMA = 0, 1, 2, 3

ARCHITECTURES = {1: "alpha", 2: "arm", 3: "x86", 4: "ia64", 5: "mips", 6: "mips64", 7: "powerpc", 8: "s390"}
ARCHITECTURES |= {9: "sh", 10: "sparc", 11: "sparc64", 12: "m68k", 15: "nios2", 16: "microblaze", 17: "blackfin"}
ARCHITECTURES |= {18: "avr32", 20: "sandbox", 22: "arm64", 23: "arc", 24: "x86-64", 25: "xtensa", 26: "riscv"}
TYPES = {1: "standalone", 2: "kernel", 3: "ramdisk", 4: "multi", 5: "firmware", 6: "script", 7: "filesystem"}
TYPES |= {8: "flat_dt", 14: "kernel_noload"}
COMPRESSIONS = {0: "none", 1: "gzip", 2: "bzip2", 3: "lzma", 4: "lzo", 5: "lz4", 6: "zstd"}
MAX_PARTS = 16
LZMA_MEMORY = 256 << 20


@dataclass(frozen=True)
class Image:
    """One image, checked. `parts` are its files (one unless it is a multi-file image), the first still compressed."""

    name: str
    title: str
    kind: int
    system: int
    compression: int
    load: int
    entry: int
    parts: tuple[bytes, ...]

    def content(self, limit: int) -> bytes:
        """The first file, unpacked, at most `limit` bytes. Raises ImageError."""
        data = self.parts[0]
        if self.compression == NONE:
            return data
        if self.compression == GZIP:
            return gunzip(self.name, data, limit)
        return _unpack(self.name, data, self.compression, limit)


def is_uimage(data: bytes) -> bool:
    return data[:4] == MAGIC.to_bytes(4, "big")


def parse(name: str, data: bytes) -> Image:
    """The image in a file for the PowerPC, header and data checked. Raises ImageError."""
    if len(data) < HEADER.size:
        raise ImageError(name, f"{len(data)} bytes", "its end", f"a uImage header has {HEADER.size}")
    magic, header_crc, _time, size, load, entry, data_crc, system, arch, kind, compression, title = HEADER.unpack_from(
        data
    )
    if magic != MAGIC:
        raise ImageError(name, f"magic {magic:#010x}", "offset 0", f"a uImage begins with {MAGIC:#x}")
    found = zlib.crc32(data[:4] + bytes(4) + data[8 : HEADER.size])
    if found != header_crc:
        raise ImageError(name, f"header checksum {header_crc:#010x}", "offset 4", f"the header's is {found:#010x}")
    if size > len(data) - HEADER.size:
        why = f"{len(data) - HEADER.size} follow the header"
        raise ImageError(name, f"a size of {size} bytes", "offset 12", why)
    if arch != POWERPC:
        what = ARCHITECTURES.get(arch, "?")
        raise ImageError(name, f"architecture {arch} ({what})", "offset 29", f"expected {POWERPC} (powerpc)")
    if kind not in (STANDALONE, KERNEL, RAMDISK, MULTI, FLAT_TREE, KERNEL_NOLOAD):
        what = TYPES.get(kind, "?")
        raise ImageError(
            name, f"type {kind} ({what})", "offset 30", "expected a kernel, a multi-file image or a RAM disk"
        )
    if compression not in (NONE, GZIP, BZIP2, LZMA):
        what = COMPRESSIONS.get(compression, "?")
        raise ImageError(name, f"compression {compression} ({what})", "offset 31", "expected none, gzip, bzip2 or lzma")
    body = data[HEADER.size : HEADER.size + size]
    found = zlib.crc32(body)
    if found != data_crc:
        raise ImageError(name, f"data checksum {data_crc:#010x}", "offset 24", f"the data's is {found:#010x}")
    if not body:
        raise ImageError(name, "an image of 0 bytes", "offset 12", "expected some")
    text = title.split(b"\0")[0].decode("latin-1")
    parts = _split(name, body) if kind == MULTI else (body,)
    return Image(name, text, kind, system, compression, load, entry, parts)


def _split(name: str, body: bytes) -> tuple[bytes, ...]:
    """A multi-file image: sizes up to a 0, then the files, each padded to 4 bytes."""
    sizes: list[int] = []
    while True:
        at = 4 * len(sizes)
        size = int.from_bytes(body[at : at + 4], "big")
        if at + 4 > len(body) or len(sizes) > MAX_PARTS:
            why = f"the list of sizes does not end (at most {MAX_PARTS})"
            raise ImageError(name, f"{len(sizes)} files", f"offset {HEADER.size:#x}", why)
        if size == 0:
            break
        sizes.append(size)
    at = 4 * len(sizes) + 4
    parts = []
    for index, size in enumerate(sizes):
        if at + size > len(body):
            what = f"file {index} of {size} bytes"
            raise ImageError(name, what, f"offset {HEADER.size + at:#x}", f"the image has {len(body)} bytes")
        parts.append(body[at : at + size])
        at += size + 3 & ~3
    if not parts:
        raise ImageError(name, "0 files", f"offset {HEADER.size:#x}", "expected a kernel")
    return tuple(parts)


def _unpack(name: str, data: bytes, compression: int, limit: int) -> bytes:
    """bzip2 or LZMA data, bounded while it is unpacked."""
    what = COMPRESSIONS[compression]
    made: bz2.BZ2Decompressor | lzma.LZMADecompressor
    try:
        if compression == BZIP2:
            made = bz2.BZ2Decompressor()
        else:
            made = lzma.LZMADecompressor(format=lzma.FORMAT_ALONE, memlimit=LZMA_MEMORY)
        step: Callable[[bytes, int], bytes] = made.decompress
        out = step(data, limit + 1)
        ended = made.eof
    except (OSError, EOFError, lzma.LZMAError, MemoryError) as error:
        raise ImageError(name, f"damaged {what} data", f"offset {HEADER.size:#x}", str(error) or "no memory") from None
    if len(out) > limit:
        raise ImageError(name, f"{what} data too large", f"offset {HEADER.size:#x}", f"more than {limit} bytes")
    if not ended:
        raise ImageError(name, f"truncated {what} data", f"byte {len(data)}", "the file ends before the stream does")
    return out
