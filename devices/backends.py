"""The host halves of devices: where disk bytes live and where console bytes go.

ATA and floppy controllers talk to a `Disk`, serial ports and debug ports to a `Console` (both in devices.contracts). A
`Disk` reports every trouble of the host as `OSError`; the controller turns it into the error its manual describes and
the guest carries on.
Files are read and written with `pread`/`pwrite` and never mapped: a file that shrinks is an error, not a signal.
"""

from __future__ import annotations

import errno
import os
import stat

from devices.contracts import Disk

__all__ = ["SECTOR", "MemoryConsole", "MemoryDisk", "OverlayDisk", "RawDisk"]

SECTOR = 512


def _whole_sectors(length: int) -> int:
    return -(-length // SECTOR) * SECTOR


def _check_range(size: int, offset: int, length: int) -> None:
    if offset < 0 or length < 0 or offset + length > size:
        raise OSError(errno.EINVAL, f"bytes {offset}..{offset + length} are outside the disk of {size} bytes")


class RawDisk:
    """A raw image: a regular file or a block device.

    Raises OSError on opening what is missing, empty, or neither a file nor a block device. With `read_only` the file is
    opened for reading only. A write into an odd last sector extends the file to the sector's end.
    """

    def __init__(self, path: str, read_only: bool = False) -> None:
        self.path = path
        self._fd = -1
        # O_NONBLOCK: opening a FIFO must not wait for its other end.
        flags = (os.O_RDONLY if read_only else os.O_RDWR) | os.O_CLOEXEC | os.O_NONBLOCK
        fd = os.open(path, flags)
        try:
            mode = os.fstat(fd).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
                raise OSError(errno.EINVAL, "a disk image must be a regular file or a block device", path)
            length = os.lseek(fd, 0, os.SEEK_END)
            if length == 0:
                raise OSError(errno.EINVAL, "a disk image must not be empty", path)
        except OSError:
            os.close(fd)
            raise
        self._fd = fd
        self._length = length
        self._read_only = read_only
        self._flush_error: int | None = None

    @property
    def size(self) -> int:
        return _whole_sectors(self._length)

    @property
    def read_only(self) -> bool:
        return self._read_only

    def _require_open(self) -> None:
        if self._fd < 0:
            raise OSError(errno.EBADF, "the disk image is closed", self.path)

    def read(self, offset: int, length: int) -> bytes:
        self._require_open()
        _check_range(self.size, offset, length)
        stored = max(0, min(length, self._length - offset))
        data = os.pread(self._fd, stored, offset) if stored else b""
        while len(data) < stored:
            more = os.pread(self._fd, stored - len(data), offset + len(data))
            if not more:
                raise OSError(
                    errno.EIO, f"the file is shorter than the {self._length} bytes it had when opened", self.path
                )
            data += more
        return data + bytes(length - stored)

    def write(self, offset: int, data: bytes) -> None:
        self._require_open()
        if self._read_only:
            raise PermissionError(errno.EROFS, "the disk is read-only", self.path)
        _check_range(self.size, offset, len(data))
        if os.fstat(self._fd).st_size < self._length and stat.S_ISREG(os.fstat(self._fd).st_mode):
            # Writing would grow the file again and leave a hole of zeros where data was lost.
            raise OSError(errno.EIO, f"the file is shorter than the {self._length} bytes it had when opened", self.path)
        view = memoryview(data)
        done = 0
        while done < len(view):
            count = os.pwrite(self._fd, view[done:], offset + done)
            if count <= 0:
                raise OSError(errno.EIO, "the host wrote nothing", self.path)
            done += count
            self._length = max(self._length, offset + done)

    def flush(self) -> None:
        self._require_open()
        if self._read_only:
            return
        if self._flush_error is not None:
            # After one failed fdatasync the kernel may have dropped the dirty pages: a later success would be a lie.
            raise OSError(self._flush_error, "an earlier flush of this disk failed", self.path)
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            self._flush_error = error.errno if error.errno is not None else errno.EIO
            raise

    def close(self) -> None:
        """Close the file; later accesses raise OSError. Closing twice is harmless."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            os.close(self._fd)


class MemoryDisk:
    """A disk whose bytes live in memory: decompressed images and tests."""

    def __init__(self, data: bytes, read_only: bool = False) -> None:
        self.data = bytearray(data)
        self.data.extend(bytes(_whole_sectors(len(data)) - len(data)))
        self._read_only = read_only

    @property
    def size(self) -> int:
        return len(self.data)

    @property
    def read_only(self) -> bool:
        return self._read_only

    def read(self, offset: int, length: int) -> bytes:
        _check_range(self.size, offset, length)
        return bytes(self.data[offset : offset + length])

    def write(self, offset: int, data: bytes) -> None:
        if self._read_only:
            raise PermissionError(errno.EROFS, "the disk is read-only")
        _check_range(self.size, offset, len(data))
        self.data[offset : offset + len(data)] = data

    def flush(self) -> None:
        pass


class OverlayDisk:
    """Writes stay in memory and the base is never written (`-snapshot`). Memory used is bounded by the base's size."""

    BLOCK = 4096

    def __init__(self, base: Disk) -> None:
        self.base = base
        self._blocks: dict[int, bytearray] = {}

    @property
    def size(self) -> int:
        return self.base.size

    @property
    def read_only(self) -> bool:
        return False

    def _pieces(self, offset: int, length: int) -> list[tuple[int, int, int]]:
        """(block, first byte in it, byte count) of each block that the range touches."""
        pieces = []
        while length > 0:
            block, start = divmod(offset, self.BLOCK)
            count = min(length, self.BLOCK - start)
            pieces.append((block, start, count))
            offset += count
            length -= count
        return pieces

    def read(self, offset: int, length: int) -> bytes:
        _check_range(self.size, offset, length)
        pieces = self._pieces(offset, length)
        if not any(block in self._blocks for block, _, _ in pieces):
            return self.base.read(offset, length)
        parts = []
        for block, start, count in pieces:
            held = self._blocks.get(block)
            if held is None:
                parts.append(self.base.read(block * self.BLOCK + start, count))
            else:
                parts.append(bytes(held[start : start + count]))
        return b"".join(parts)

    def write(self, offset: int, data: bytes) -> None:
        _check_range(self.size, offset, len(data))
        done = 0
        for block, start, count in self._pieces(offset, len(data)):
            held = self._blocks.get(block)
            if held is None:
                first = block * self.BLOCK
                extent = min(self.BLOCK, self.size - first)
                whole = start == 0 and count == extent
                held = bytearray(extent) if whole else bytearray(self.base.read(first, extent))
                self._blocks[block] = held
            held[start : start + count] = data[done : done + count]
            done += count

    def flush(self) -> None:
        pass


class MemoryConsole:
    """Keeps what the guest sent, for tests and for captured output. `limit` bounds the bytes kept (the newest)."""

    def __init__(self, limit: int = 1 << 20) -> None:
        self.data = bytearray()
        self.limit = limit

    def send(self, data: bytes) -> None:
        self.data += data
        excess = len(self.data) - self.limit
        if excess > 0:
            del self.data[:excess]
