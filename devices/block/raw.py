"""Raw images: the disk's bytes as they are. And disks in memory.

A raw file whose length is no multiple of 512 reads zeros up to the end of its last sector; a write there extends it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from devices.block.storage import REPORT, Extent, HostFile, Storage, check_range, whole_sectors
from devices.contracts import Statistics

__all__ = ["MemoryDisk", "RawDisk"]


class RawDisk:
    """A raw image in a file, on a block device or on any other storage.

    Raises OSError on opening what is missing, empty, or neither a file nor a block device. A file that gets shorter
    than it was is an I/O error for the range that is lost and for every write.
    """

    kind = "raw"
    concurrent = True
    on_error = REPORT
    statistics: Statistics | None = None

    def __init__(self, file: str | Storage, read_only: bool = False, give_back: bool = False) -> None:
        self.file: Storage = HostFile(file, read_only) if isinstance(file, str) else file
        self.path = self.file.path
        self._read_only = read_only or self.file.read_only
        self._length = self.file.length()
        if self._length == 0:
            self.file.close()
            raise OSError(errno.EINVAL, "a disk image must not be empty", self.path)
        self.size = whole_sectors(self._length)
        self._host = self.file if isinstance(self.file, HostFile) else None
        self.slow_writes = self._host is not None and self._host.direct
        self.give_back = give_back
        """What is discarded, or zeroed with leave to unmap, goes back to the host."""

    @property
    def read_only(self) -> bool:
        return self._read_only

    def read(self, offset: int, length: int) -> bytes:
        if offset < 0 or length < 0 or offset + length > self.size:
            check_range(self.size, offset, length)
        host = self._host
        if host is None:
            return self.file.read(offset, length)
        data = host.read_some(offset, length)
        if len(data) == length:
            return data
        if offset + len(data) < min(offset + length, self._length):
            raise self._shorter()
        return data + bytes(length - len(data))

    def _shorter(self) -> OSError:
        return OSError(errno.EIO, f"the file is shorter than the {self._length} bytes it had when opened", self.path)

    def _may_write(self, offset: int, length: int) -> None:
        if self._read_only:
            raise PermissionError(errno.EROFS, "the disk is read-only", self.path)
        check_range(self.size, offset, length)
        if self._host is not None:
            if self._host.fd < 0:
                raise OSError(errno.EBADF, "the disk image is closed", self.path)
            if os.lseek(self._host.fd, 0, os.SEEK_END) < self._length:
                # Writing would grow the file again and leave a hole of zeros where data was lost.
                raise self._shorter()

    def write(self, offset: int, data: bytes) -> None:
        self._may_write(offset, len(data))
        self.file.write(offset, data)
        if offset + len(data) > self._length:
            self._length = offset + len(data)

    def flush(self) -> None:
        self.file.flush()

    def discard(self, offset: int, length: int) -> None:
        self._may_write(offset, length)
        if self.give_back:
            self.file.punch(offset, length)

    def write_zeroes(self, offset: int, length: int, unmap: bool = False) -> None:
        self._may_write(offset, length)
        if unmap and self.give_back and offset + length <= self._length and self.file.punch(offset, length):
            return
        step = 1 << 20
        for at in range(offset, offset + length, step):
            self.write(at, bytes(min(step, offset + length - at)))

    def fast(self, offset: int, length: int) -> bool:
        return self._host is not None and self._host.now(offset, length)

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        check_range(self.size, offset, length)
        if self._host is None:
            yield Extent(offset, length, True, True, offset)
            return
        for at, count, data in self._host.holes(offset, length):
            yield Extent(at, count, data, True, at)

    guarded = 0
    """Bytes at the start of which each write is looked at."""

    def plain(self) -> tuple[int, int, int] | None:
        """For who reads and writes the file itself, in whole sectors: its descriptor, the bytes in it, and from which
        one on it may be written. None where that cannot be."""
        host = self._host
        if host is None or host.direct or host.fd < 0:
            return None
        return host.fd, self._length, self._length if self._read_only else self.guarded

    def resize(self, size: int) -> None:
        """Change the disk's size, a multiple of 512; what is cut off is lost."""
        self._may_write(0, 0)
        self.file.truncate(size)
        self._length = self.size = size

    def close(self) -> None:
        """Close the file; later accesses raise OSError. Closing twice is harmless."""
        self.file.close()


class MemoryDisk:
    """A disk whose bytes live in memory: decompressed images and tests."""

    private = True
    concurrent = True
    on_error = REPORT
    statistics: Statistics | None = None

    def __init__(self, data: bytes, read_only: bool = False) -> None:
        self.data = bytearray(data)
        self.data.extend(bytes(whole_sectors(len(data)) - len(data)))
        self.size = len(self.data)
        self._read_only = read_only

    @property
    def read_only(self) -> bool:
        return self._read_only

    def read(self, offset: int, length: int) -> bytes:
        check_range(self.size, offset, length)
        return bytes(self.data[offset : offset + length])

    def write(self, offset: int, data: bytes) -> None:
        if self._read_only:
            raise PermissionError(errno.EROFS, "the disk is read-only")
        check_range(self.size, offset, len(data))
        self.data[offset : offset + len(data)] = data

    def flush(self) -> None:
        pass

    def discard(self, offset: int, length: int) -> None:
        check_range(self.size, offset, length)

    def write_zeroes(self, offset: int, length: int, unmap: bool = False) -> None:
        check_range(self.size, offset, length)
        self.write(offset, bytes(length))

    def fast(self, offset: int, length: int) -> bool:
        return True

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        check_range(self.size, offset, length)
        yield Extent(offset, length, True, True)

    def close(self) -> None:
        pass
