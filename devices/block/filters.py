"""What may stand between a controller, an image and the host.

Over a disk: `Policy` (cache modes, zero detection, throttling). Under an image format, on its storage: `FaultInjector`
(the n-th call of the host fails), `WriteLog` (everything that is written, in the layout of Linux's dm-log-writes, so
that its tools can replay it) and `Delay`. Power cuts, torn writes, full and broken disks need nothing else.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from devices.block.storage import SECTOR, BlockDisk, Extent, Storage
from devices.block.throttle import Throttle
from devices.contracts import Statistics

__all__ = ["Delay", "FaultInjector", "LogEntry", "Policy", "WriteLog", "read_log"]

DETECT = ("off", "on", "unmap")


class Policy:
    """A disk with a cache mode, zero detection or limits. Who completes requests asks for `throttle` and `on_error`."""

    def __init__(
        self,
        disk: BlockDisk,
        *,
        write_through: bool = False,
        no_flush: bool = False,
        detect_zeroes: str = "off",
        throttle: Throttle | None = None,
    ) -> None:
        self.disk = disk
        self.size = disk.size
        self.throttle = throttle
        self.on_error = disk.on_error
        self.statistics: Statistics | None = None
        self._through = write_through and not no_flush
        self._no_flush = no_flush
        self._detect, self._unmap = detect_zeroes != "off", detect_zeroes == "unmap"
        self.slow_writes = self._through or getattr(disk, "slow_writes", False)
        self.concurrent = getattr(disk, "concurrent", False)
        self.private = getattr(disk, "private", False)
        self.fast = disk.fast
        self.read = disk.read
        self.discard = disk.discard

    @property
    def read_only(self) -> bool:
        return self.disk.read_only

    def write(self, offset: int, data: bytes) -> None:
        if self._detect and data and not any(data):
            self.disk.write_zeroes(offset, len(data), self._unmap)
        else:
            self.disk.write(offset, data)
        if self._through:
            self.disk.flush()

    def write_zeroes(self, offset: int, length: int, unmap: bool = False) -> None:
        self.disk.write_zeroes(offset, length, unmap)
        if self._through:
            self.disk.flush()

    def flush(self) -> None:
        if not self._no_flush:
            self.disk.flush()

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        return self.disk.extents(offset, length)

    def close(self) -> None:
        self.disk.close()


class _Over:
    """A storage that passes everything on."""

    def __init__(self, file: Storage) -> None:
        self.file = file
        self.path = file.path

    @property
    def read_only(self) -> bool:
        return self.file.read_only

    def length(self) -> int:
        return self.file.length()

    def read(self, offset: int, length: int) -> bytes:
        return self.file.read(offset, length)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        self.file.write(offset, data)

    def flush(self) -> None:
        self.file.flush()

    def punch(self, offset: int, length: int) -> bool:
        return self.file.punch(offset, length)

    def truncate(self, length: int) -> None:
        self.file.truncate(length)

    def close(self) -> None:
        self.file.close()


class FaultInjector(_Over):
    """Call number `at` (from 0) fails with `code`, and all later ones too if `forever`.

    With `partial` a write that fails has stored its first half, in whole sectors. `calls` counts, so that a run without
    a fault tells how many there are.
    """

    def __init__(
        self, file: Storage, at: int = -1, code: int = errno.EIO, *, forever: bool = False, partial: bool = False
    ) -> None:
        super().__init__(file)
        self.calls = 0
        self.at, self.code, self.forever, self.partial = at, code, forever, partial
        self.failed: set[str] = set()
        """Which kinds of calls failed."""

    def _fails(self, what: str) -> bool:
        number, self.calls = self.calls, self.calls + 1
        if self.at < 0 or not (number == self.at or (self.forever and number > self.at)):
            return False
        self.failed.add(what)
        return True

    def _error(self) -> OSError:
        return OSError(self.code, f"injected: {os.strerror(self.code)}", self.path)

    def read(self, offset: int, length: int) -> bytes:
        if self._fails("read"):
            raise self._error()
        return self.file.read(offset, length)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        if self._fails("write"):
            if self.partial:
                half = (offset + len(data) // 2) // SECTOR * SECTOR - offset
                if half > 0:
                    self.file.write(offset, memoryview(data)[:half])
            raise self._error()
        self.file.write(offset, data)

    def flush(self) -> None:
        if self._fails("flush"):
            raise self._error()
        self.file.flush()

    def punch(self, offset: int, length: int) -> bool:
        if self._fails("punch"):
            raise self._error()
        return self.file.punch(offset, length)

    def truncate(self, length: int) -> None:
        if self._fails("truncate"):
            raise self._error()
        self.file.truncate(length)


class Delay(_Over):
    """Calls `wait` with the name of each call before it: tests hold a disk still, or make it slow."""

    def __init__(self, file: Storage, wait: Callable[[str], object]) -> None:
        super().__init__(file)
        self._wait = wait

    def read(self, offset: int, length: int) -> bytes:
        self._wait("read")
        return self.file.read(offset, length)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        self._wait("write")
        self.file.write(offset, data)

    def flush(self) -> None:
        self._wait("flush")
        self.file.flush()


# dm-log-writes: Linux, Documentation/admin-guide/device-mapper/log-writes.rst, and struct log_write_super and
# log_write_entry of its driver. All little-endian, one sector for each head.
LOG_MAGIC, LOG_VERSION = 0x6A736677736872, 1
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8


@dataclass(frozen=True)
class LogEntry:
    """One thing that was done: `data` is what was written or a mark's text."""

    offset: int
    length: int
    flags: int
    data: bytes


class WriteLog(_Over):
    """Writes everything that reaches the storage into `log` as well. Writes are logged in whole sectors.

    A truncation is logged as the zeros or the discard that it amounts to.
    """

    def __init__(self, file: Storage, log: Storage) -> None:
        super().__init__(file)
        self._log = log
        self._end = SECTOR
        self._entries = 0
        self._super()

    def _super(self) -> None:
        head = struct.pack("<QQQI", LOG_MAGIC, LOG_VERSION, self._entries, SECTOR)
        self._log.write(0, head.ljust(SECTOR, b"\0"))

    def _put(self, sector: int, sectors: int, flags: int, data: bytes, length: int) -> None:
        head = struct.pack("<QQQQ", sector, sectors, flags, length).ljust(SECTOR, b"\0")
        record = head + data + bytes(-len(data) % SECTOR)
        self._log.write(self._end, record)
        self._end += len(record)
        self._entries += 1
        self._super()

    def write(self, offset: int, data: bytes | memoryview) -> None:
        self.file.write(offset, data)
        first, last = offset // SECTOR, -(-(offset + len(data)) // SECTOR)
        whole = self.file.read(first * SECTOR, (last - first) * SECTOR)
        self._put(first, last - first, 0, whole, 0)

    def flush(self) -> None:
        self.file.flush()
        self._put(0, 0, FLUSH, b"", 0)

    def punch(self, offset: int, length: int) -> bool:
        done = self.file.punch(offset, length)
        if done:
            self._put(offset // SECTOR, length // SECTOR, DISCARD, b"", 0)
        return done

    def mark(self, text: str) -> None:
        """A line in the log: what is true of the disk from here on."""
        data = text.encode()
        self._put(0, 0, MARK, data, len(data))

    def close(self) -> None:
        super().close()
        self._log.close()


def read_log(log: Storage) -> Iterator[LogEntry]:
    """The entries of a log. Raises OSError if it is none."""
    magic, version, entries, sector = struct.unpack("<QQQI", log.read(0, 28))
    if (magic, version, sector) != (LOG_MAGIC, LOG_VERSION, SECTOR):
        raise OSError(errno.EINVAL, "not a log of writes", log.path)
    at = SECTOR
    for _ in range(entries):
        place, sectors, flags, length = struct.unpack("<QQQQ", log.read(at, 32))
        at += SECTOR
        size = length if flags & MARK else 0 if flags & DISCARD else sectors * SECTOR
        yield LogEntry(place * SECTOR, sectors * SECTOR, flags, log.read(at, size))
        at += -(-size // SECTOR) * SECTOR
