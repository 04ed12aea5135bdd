"""What image formats that are only read have in common: a disk of pieces, each somewhere in a file or zeros."""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Iterator

from devices.block.storage import REPORT, Extent, Storage, check_range
from devices.contracts import Statistics

__all__ = ["ReadOnlyImage"]


class ReadOnlyImage(ABC):
    """A read-only disk of `size` bytes in pieces of `piece` bytes; a format says what a piece is by `find`."""

    kind = "vmdk"
    concurrent = True
    on_error = REPORT
    statistics: Statistics | None = None

    def __init__(self, file: Storage, size: int, piece: int) -> None:
        self.file = file
        self.path = file.path
        self.size = size
        self.piece = piece

    @property
    def read_only(self) -> bool:
        return True

    @abstractmethod
    def find(self, number: int) -> int | bytes | None:
        """Where piece `number` is in the file, its bytes, or None for zeros. Raises ImageError."""

    def read(self, offset: int, length: int) -> bytes:
        check_range(self.size, offset, length)
        parts = []
        while length > 0:
            number, start = divmod(offset, self.piece)
            count = min(length, self.piece - start)
            place = self.find(number)
            if place is None:
                parts.append(bytes(count))
            elif isinstance(place, int):
                parts.append(self.file.read(place + start, count))
            else:
                parts.append(place[start : start + count].ljust(count, b"\0"))
            offset, length = offset + count, length - count
        return b"".join(parts)

    def _refuse(self) -> OSError:
        return PermissionError(errno.EROFS, "the disk is read-only", self.path)

    def write(self, offset: int, data: bytes) -> None:
        raise self._refuse()

    def discard(self, offset: int, length: int) -> None:
        raise self._refuse()

    def write_zeroes(self, offset: int, length: int, unmap: bool = False) -> None:
        raise self._refuse()

    def flush(self) -> None:  # noqa: B027  nothing is ever kept back
        pass

    def fast(self, offset: int, length: int) -> bool:
        return False

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        check_range(self.size, offset, length)
        end = offset + length
        while offset < end:
            number, start = divmod(offset, self.piece)
            count = min(end - offset, self.piece - start)
            place = self.find(number)
            host = place + start if isinstance(place, int) else None
            yield Extent(offset, count, place is not None, place is not None, host, isinstance(place, bytes))
            offset += count

    def close(self) -> None:
        self.file.close()
