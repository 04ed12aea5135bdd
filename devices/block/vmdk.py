"""VMDK images: monolithicSparse, streamOptimized and monolithicFlat, read only.

Source: VMware, "Virtual Disk Format 5.0". Numbers are little-endian, sizes and places in sectors of 512 bytes. A sparse
extent has a directory of tables of grains; a descriptor in text names the extents of a disk.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable

from devices.block.sparse import ReadOnlyImage
from devices.block.storage import SECTOR, BlockDisk, ImageError, Storage

__all__ = ["Extents", "SparseVmdk", "open_vmdk"]

DESCRIPTOR = b"# Disk DescriptorFile"
COMPRESSED, ZERO_GRAINS = 1 << 16, 1 << 2
AT_THE_END = (1 << 64) - 1
LARGEST_DESCRIPTOR = 1 << 20
LARGEST_TABLES = 64 << 20
MOST_EXTENTS = 64
_LINE = re.compile(r'^(RW|RDONLY|NOACCESS)\s+([0-9]{1,18})\s+([A-Z]+)(?:\s+"([^"]*)"(?:\s+([0-9]{1,18}))?)?')


class SparseVmdk(ReadOnlyImage):
    """One sparse extent. Raises ImageError for what the format does not allow."""

    def __init__(self, file: Storage) -> None:
        self._length = length = file.length()
        at = 0
        header = self._fields(file, at)
        if header[6] == AT_THE_END:
            # A stream has the place of its directory in a footer, one sector before its end.
            at = length - 2 * SECTOR
            header = self._fields(file, at)
        _, flags, capacity, grain, _, per_table, directory = header
        (algorithm,) = struct.unpack("<H", file.read(at + 77, 2))
        self._compressed = bool(flags & COMPRESSED)
        self._zeros = bool(flags & ZERO_GRAINS)
        if self._compressed and algorithm != 1:
            raise ImageError("VMDK header", f"compressAlgorithm (byte {at + 77:#x})", f"{algorithm} is not deflate")
        if not 0 < capacity < 1 << 53:
            raise ImageError("VMDK header", f"capacity (byte {at + 12:#x})", f"{capacity} sectors are not possible")
        if grain < 8 or grain & grain - 1 or grain > 1 << 15:
            raise ImageError("VMDK header", f"grainSize (byte {at + 20:#x})", f"{grain} is not a power of two from 8")
        if not 0 < per_table <= 4096:
            raise ImageError("VMDK header", f"numGTEsPerGT (byte {at + 44:#x})", f"{per_table} is not 1 to 4096")
        self._per_table = per_table
        tables = -(-capacity // (grain * per_table))
        if tables * 4 > LARGEST_TABLES or directory * SECTOR + tables * 4 > length:
            raise ImageError("VMDK header", f"gdOffset (byte {at + 56:#x})", f"{directory} lies behind the file's end")
        self._directory = struct.unpack(f"<{tables}I", file.read(directory * SECTOR, tables * 4))
        self._tables: dict[int, tuple[int, ...]] = {}
        super().__init__(file, capacity * SECTOR, grain * SECTOR)
        self._last: tuple[int, bytes] = (-1, b"")

    @staticmethod
    def _fields(file: Storage, at: int) -> tuple[int, int, int, int, int, int, int]:
        head = file.read(at, 80)
        if head[:4] != b"KDMV":
            raise ImageError("VMDK header", f"magic (byte {at:#x})", f"found {head[:4].hex()}")
        version, flags, capacity, grain, descriptor, _, per_table, _, directory = struct.unpack_from(
            "<IIQQQQIQQ", head, 4
        )
        if not 1 <= version <= 3:
            raise ImageError("VMDK header", f"version (byte {at + 4:#x})", f"{version} is not 1 to 3")
        return version, flags, capacity, grain, descriptor, per_table, directory

    def find(self, number: int) -> int | bytes | None:
        index, at = divmod(number, self._per_table)
        table = self._tables.get(index)
        if table is None:
            place = self._directory[index]
            if place == 0:
                return None
            if place * SECTOR + self._per_table * 4 > self._length:
                raise ImageError("VMDK grain directory", f"entry {index}", f"sector {place} lies behind the file's end")
            table = struct.unpack(f"<{self._per_table}I", self.file.read(place * SECTOR, self._per_table * 4))
            if len(self._tables) > 256:
                self._tables.clear()
            self._tables[index] = table
        sector = table[at]
        if sector == 0 or (sector == 1 and self._zeros):
            return None
        if sector * SECTOR >= self._length:
            raise ImageError("VMDK grain table", f"{index}, entry {at}", f"sector {sector} lies behind the file's end")
        return self._inflate(number, sector) if self._compressed else sector * SECTOR

    def _inflate(self, number: int, sector: int) -> bytes:
        if self._last[0] == number:
            return self._last[1]
        where = f"sector {sector}"
        lba, size = struct.unpack("<QI", self.file.read(sector * SECTOR, 12))
        if lba * SECTOR != number * self.piece or size > 2 * self.piece + SECTOR:
            raise ImageError("VMDK grain", where, f"says it is sector {lba} of the disk and has {size} bytes")
        try:
            data = zlib.decompressobj().decompress(self.file.read(sector * SECTOR + 12, size), self.piece)
        except zlib.error as error:
            raise ImageError("VMDK grain", where, str(error)) from None
        if len(data) < min(self.piece, self.size - number * self.piece):
            raise ImageError("VMDK grain", where, f"has only {len(data)} bytes")
        self._last = (number, data)
        return data


class Extents(ReadOnlyImage):
    """Extents one behind the other, from a descriptor: (size, disk or None for zeros, offset in it)."""

    def __init__(self, file: Storage, parts: list[tuple[int, BlockDisk | None, int]]) -> None:
        self._parts = parts
        super().__init__(file, sum(size for size, _, _ in parts), 1 << 16)

    def find(self, number: int) -> bytes | None:
        start, end = number * self.piece, min(self.size, (number + 1) * self.piece)
        out, base = [], 0
        for size, disk, offset in self._parts:
            low, high = max(start, base), min(end, base + size)
            if low < high:
                out.append(bytes(high - low) if disk is None else disk.read(low - base + offset, high - low))
            base += size
        return b"".join(out)

    def close(self) -> None:
        for _, disk, _ in self._parts:
            if disk is not None:
                disk.close()
        super().close()


def open_vmdk(file: Storage, other: Callable[[str, str], BlockDisk]) -> ReadOnlyImage:
    """The disk of a VMDK file. `other(name, kind)` opens another file that a descriptor names, FLAT or SPARSE."""
    if file.read(0, 4) == b"KDMV":
        return SparseVmdk(file)
    if file.length() > LARGEST_DESCRIPTOR:
        raise ImageError("VMDK descriptor", "length", f"more than {LARGEST_DESCRIPTOR} bytes")
    text = file.read(0, file.length()).split(b"\0")[0].decode("utf-8", "surrogateescape")
    if not text.startswith(DESCRIPTOR.decode()):
        raise ImageError("VMDK descriptor", "first line", f"is not {DESCRIPTOR.decode()!r}")
    parts: list[tuple[int, BlockDisk | None, int]] = []
    for number, line in enumerate(text.splitlines(), 1):
        key, _, value = line.partition("=")
        if key.strip() == "parentCID" and value.strip().lower() != "ffffffff":
            raise ImageError("VMDK descriptor", f"line {number}", "disks with a parent are not supported")
        match = _LINE.match(line)
        if match is None:
            continue
        size, kind, name, offset = int(match[2]) * SECTOR, match[3], match[4], int(match[5] or 0) * SECTOR
        if len(parts) == MOST_EXTENTS or not 0 < size < 1 << 62:
            raise ImageError("VMDK descriptor", f"line {number}", "too many extents, or one of an impossible size")
        if kind == "ZERO":
            parts.append((size, None, 0))
        elif kind in ("FLAT", "VMFS", "SPARSE") and name:
            disk = other(name, "SPARSE" if kind == "SPARSE" else "FLAT")
            if offset + size > disk.size:
                raise ImageError("VMDK descriptor", f"line {number}", f"{name} has only {disk.size} bytes")
            parts.append((size, disk, offset))
        else:
            raise ImageError("VMDK descriptor", f"line {number}", f"extents of type {kind} are not supported")
    if not parts:
        raise ImageError("VMDK descriptor", "extents", "there are none")
    return Extents(file, parts)
