"""VHD images (`format=vpc`), fixed and dynamic, read only.

Source: Microsoft, "Virtual Hard Disk Image Format Specification", version 1.0. Numbers are big-endian. A footer of 512
bytes describes the disk; a dynamic disk also has it in front, then a header and the block allocation table.
"""

from __future__ import annotations

import struct

from devices.block.sparse import ReadOnlyImage
from devices.block.storage import SECTOR, ImageError, Storage

__all__ = ["Vhd"]

FIXED, DYNAMIC, DIFFERENCING = 2, 3, 4
ABSENT = 0xFFFF_FFFF
LARGEST = 2040 << 30


def _starts(head: bytes) -> bool:
    """True for a footer, and for an image that starts like a dynamic VHD."""
    return head[:8] == b"conectix"


def _checksum(data: bytes, at: int) -> int:
    return ~(sum(data) - sum(data[at : at + 4])) & 0xFFFF_FFFF


class Vhd(ReadOnlyImage):
    """Raises ImageError for what the format does not allow, and for differencing disks."""

    kind = "vhd"

    def __init__(self, file: Storage) -> None:
        length = file.length()
        footer, where = file.read(0, SECTOR), 0
        if not _starts(footer):
            where = max(0, length - SECTOR)
            footer = file.read(where, SECTOR)
        if not _starts(footer):
            raise ImageError("VHD footer", f"byte {where:#x}", "there is no 'conectix'")
        (checksum,) = struct.unpack_from(">I", footer, 64)
        if checksum != _checksum(footer, 64):
            raise ImageError("VHD footer", f"checksum (byte {where + 64:#x})", f"found {checksum:#x}")
        size, _, kind = struct.unpack_from(">QII", footer, 48)
        if size == 0 or size % SECTOR or size > LARGEST:
            raise ImageError("VHD footer", f"size (byte {where + 48:#x})", f"{size} bytes are not possible")
        if kind == DIFFERENCING:
            raise ImageError("VHD footer", f"type (byte {where + 60:#x})", "differencing disks are not supported")
        self._table: tuple[int, ...] | None = None
        self._bitmap = 0
        if kind == FIXED:
            if size > length:
                raise ImageError(
                    "VHD footer", f"size (byte {where + 48:#x})", f"{size} is more than the file's {length}"
                )
            super().__init__(file, size, size)
        elif kind == DYNAMIC:
            super().__init__(file, size, self._header(file, footer, size, length))
        else:
            raise ImageError("VHD footer", f"type (byte {where + 60:#x})", f"{kind} is neither fixed nor dynamic")

    def _header(self, file: Storage, footer: bytes, size: int, length: int) -> int:
        """Read header and table of a dynamic disk; the size of a block."""
        (at,) = struct.unpack_from(">Q", footer, 16)
        if at + 1024 > length:
            raise ImageError("VHD footer", "data offset (byte 0x10)", f"{at:#x} lies behind the file's {length} bytes")
        header = file.read(at, 1024)
        if header[:8] != b"cxsparse":
            raise ImageError("VHD header", f"byte {at:#x}", "there is no 'cxsparse'")
        if struct.unpack_from(">I", header, 36)[0] != _checksum(header, 36):
            raise ImageError("VHD header", f"checksum (byte {at + 36:#x})", "does not fit")
        table, _, entries, block = struct.unpack_from(">QIII", header, 16)
        if block < SECTOR or block & block - 1 or block > 256 << 20:
            raise ImageError(
                "VHD header", f"block size (byte {at + 32:#x})", f"{block} is not a power of two to 256 MiB"
            )
        needed = -(-size // block)
        if entries < needed:
            raise ImageError("VHD header", f"table entries (byte {at + 28:#x})", f"{entries} are fewer than {needed}")
        if table + needed * 4 > length:
            raise ImageError(
                "VHD header", f"table offset (byte {at + 16:#x})", f"{table:#x} lies behind the file's end"
            )
        self._table = struct.unpack(f">{needed}I", file.read(table, needed * 4))
        self._bitmap = -(-(block // SECTOR) // (8 * SECTOR)) * SECTOR
        self._length = length
        return int(block)

    def find(self, number: int) -> int | None:
        if self._table is None:
            return 0
        sector = self._table[number]
        if sector == ABSENT:
            return None
        place = sector * SECTOR + self._bitmap
        if place >= self._length:
            raise ImageError("VHD block allocation table", f"entry {number}", f"{place:#x} lies behind the file's end")
        return place
