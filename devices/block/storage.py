"""What image formats stand on: bytes on the host that can grow, and the rules all disks share.

A `Storage` is a file as an image format sees it; `HostFile` is one on the host, `filters` has others between.
Formats turn a storage into a `Disk` (devices.contracts) of fixed size with a few methods more (`BlockDisk`). Files are
read and written with `pread`/`pwrite` and never mapped: a file that shrinks is an error, not a signal. Locks are Linux
open-file-description locks on the bytes on which QEMU puts its own, so that each program sees the other's.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from devices.contracts import Disk, Statistics

__all__ = ["SECTOR", "BlockDisk", "Extent", "HostFile", "ImageError", "LockedError", "Storage", "check_range"]

SECTOR = 512
DIRECT_ALIGN = 4096
"""What O_DIRECT asks of offset, length and address, on every device in use."""
_NOWAIT = getattr(os, "RWF_NOWAIT", 0)

PERM_BASE, SHARED_BASE = 100, 200
"""First bytes of QEMU's lock ranges: what an opener does, and what it does not let others do."""
READS, WRITES, RESIZES = 0, 1, 3
_OFD_GETLK, _OFD_SETLK = getattr(fcntl, "F_OFD_GETLK", None), getattr(fcntl, "F_OFD_SETLK", None)
_FLOCK = "hhqqi4x"


def punch_hole(fd: int, offset: int, length: int) -> int:
    """fallocate(2) with FALLOC_FL_PUNCH_HOLE, which `os` lacks: the error number or 0. Who has it puts it here."""
    return errno.ENOSYS


class ImageError(OSError):
    """An image that is not what its format demands: which structure, where, and why. `errno` is EIO."""

    def __init__(self, structure: str, where: str, why: str) -> None:
        super().__init__(errno.EIO, f"{structure}: {where}: {why}")
        self.structure = structure


class LockedError(OSError):
    """Somebody else uses the image in a way that excludes this one."""

    def __init__(self, path: str, what: str, holder: str) -> None:
        super().__init__(errno.EAGAIN, f"in use by {holder}, which {what}", path)


@dataclass(frozen=True)
class Extent:
    """A stretch of a disk in one state."""

    offset: int
    length: int
    data: bool
    """False: it reads as zeros without a look at the host."""
    allocated: bool
    """This layer holds it; else what is below does."""
    host: int | None = None
    """Where its bytes stand in the file, if they stand there as they are."""
    compressed: bool = False
    depth: int = 0
    """How many backing files below the top."""


class Storage(Protocol):
    """Bytes on the host that can grow. Every method may raise OSError."""

    @property
    def path(self) -> str:
        """What a message calls it."""

    @property
    def read_only(self) -> bool:
        """True if what changes it raises PermissionError."""

    def length(self) -> int:
        """Bytes there are now."""

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes at `offset`; beyond the end they are zeros."""

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Store `data`, growing the file where needed."""

    def flush(self) -> None:
        """Return once all that was written is on stable storage."""

    def punch(self, offset: int, length: int) -> bool:
        """Give room back to the host so that the range reads as zeros; False if the host cannot."""

    def truncate(self, length: int) -> None:
        """Cut or extend to `length` bytes; new ones are zeros."""

    def close(self) -> None:
        """Release it; twice is harmless."""


class BlockDisk(Disk, Protocol):
    """A disk with what controllers and tools want beyond the plain `Disk`."""

    on_error: tuple[str, str]
    statistics: Statistics | None
    """What becomes of errors of reads and of writes (`emu.aio`): report, ignore, stop, enospc."""

    def discard(self, offset: int, length: int) -> None:
        """The range is no longer needed; what it reads as afterwards is not defined."""

    def write_zeroes(self, offset: int, length: int, unmap: bool = False) -> None:
        """Store zeros; `unmap` allows the room to be given back to the host."""

    def fast(self, offset: int, length: int) -> bool:
        """True if a read of the range is likely not to wait for the host."""

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """The states of a range, in order and without gaps."""

    def close(self) -> None:
        """Make everything stable and release the host's resources; twice is harmless."""


REPORT = ("report", "report")
"""The guest hears of every error."""


def check_range(size: int, offset: int, length: int) -> None:
    """Raises OSError (EINVAL) unless the range lies within a disk of `size` bytes."""
    if offset < 0 or length < 0 or offset + length > size:
        raise OSError(errno.EINVAL, f"bytes {offset}..{offset + length} are outside the disk of {size} bytes")


def whole_sectors(length: int) -> int:
    """`length` rounded up to sectors."""
    return -(-length // SECTOR) * SECTOR


class HostFile:
    """A regular file or a block device.

    Raises OSError on opening what is missing or neither of the two. `direct` goes past the host's page cache where
    the host can and the request is aligned. `lock` excludes other writers, and other users if this one writes
    (LockedError).
    After one failed flush every later one fails: the kernel may have dropped what could not be written.
    """

    def __init__(
        self, path: str, read_only: bool = False, *, direct: bool = False, lock: bool = False, create: bool = False
    ) -> None:
        self._path = path
        self._fd = self._direct_fd = -1
        # O_NONBLOCK: opening a FIFO must not wait for its other end.
        flags = (os.O_RDONLY if read_only else os.O_RDWR) | os.O_CLOEXEC | os.O_NONBLOCK
        fd = os.open(path, flags | (os.O_CREAT if create else 0), 0o644)
        try:
            mode = os.fstat(fd).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
                raise OSError(errno.EINVAL, "neither a regular file nor a block device", path)
            self.regular = stat.S_ISREG(mode)
            if lock:
                _lock(fd, path, read_only)
            self._direct_fd = self._open_direct(fd, flags) if direct else -1
        except OSError:
            os.close(fd)
            raise
        self._fd = fd
        self._end = os.lseek(fd, 0, os.SEEK_END)
        """The length that the file had or was given here: what lies before it must be there."""
        self._read_only = read_only
        self._flush_error: int | None = None
        self._holes = True
        self._buffer = mmap.mmap(-1, 1 << 20) if self._direct_fd >= 0 else None

    @staticmethod
    def _open_direct(fd: int, flags: int) -> int:
        try:
            return os.open(f"/proc/self/fd/{fd}", flags | getattr(os, "O_DIRECT", 0))
        except OSError:
            return -1

    @property
    def path(self) -> str:
        return self._path

    @property
    def read_only(self) -> bool:
        return self._read_only

    @property
    def direct(self) -> bool:
        """True if aligned requests go past the page cache."""
        return self._direct_fd >= 0

    @property
    def fd(self) -> int:
        """The file descriptor, or -1 once closed."""
        return self._fd

    def identity(self) -> tuple[int, int]:
        """Device and inode: the same for two names of one file."""
        status = os.fstat(self._fd)
        return status.st_dev, status.st_ino

    def length(self) -> int:
        self._require_open()
        return os.lseek(self._fd, 0, os.SEEK_END)

    def _require_open(self) -> None:
        if self._fd < 0:
            raise OSError(errno.EBADF, "the disk image is closed", self._path)

    def _require_writable(self) -> None:
        self._require_open()
        if self._read_only:
            raise PermissionError(errno.EROFS, "the disk is read-only", self._path)

    def read(self, offset: int, length: int) -> bytes:
        if self._buffer is None and self._fd >= 0:
            data = os.pread(self._fd, length, offset)
            if len(data) == length:
                return data
        data = self.read_some(offset, length)
        if len(data) == length:
            return data
        if offset + len(data) < min(offset + length, self._end):
            raise OSError(errno.EIO, f"the file is shorter than the {self._end} bytes it had", self._path)
        return data + bytes(length - len(data))

    def read_some(self, offset: int, length: int) -> bytes:
        """Like `read`, but ends where the file does."""
        fd = self._fd
        if fd < 0:
            self._require_open()
        if self._buffer is not None and not (offset | length) % DIRECT_ALIGN:
            return self._read_direct(offset, length)
        data = os.pread(fd, length, offset)
        while len(data) < length:
            more = os.pread(fd, length - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def _read_direct(self, offset: int, length: int) -> bytes:
        if self._buffer is None:
            return b""
        parts = []
        with memoryview(self._buffer) as view:
            while length > 0:
                step = min(length, len(view))
                got = os.preadv(self._direct_fd, [view[:step]], offset)
                parts.append(bytes(view[:got]))
                offset, length = offset + got, length - got
                if got < step:
                    # The end of the file, or an odd place: the plain way finds out which.
                    parts.append(os.pread(self._fd, length, offset))
                    break
        return b"".join(parts)

    def now(self, offset: int, length: int) -> bool:
        """True if the range's first and last byte are in the host's memory."""
        if self._fd < 0 or not _NOWAIT or self._direct_fd >= 0:
            return False
        one = bytearray(1)
        try:
            os.preadv(self._fd, [one], offset, _NOWAIT)
            if length > 1:
                os.preadv(self._fd, [one], offset + length - 1, _NOWAIT)
        except OSError:
            return False
        return True

    def write(self, offset: int, data: bytes | memoryview) -> None:
        if self._read_only or self._fd < 0:
            self._require_writable()
        if self._buffer is not None and not (offset | len(data)) % DIRECT_ALIGN:
            self._write_direct(offset, data)
            return
        done = os.pwrite(self._fd, data, offset)
        if offset + len(data) > self._end:
            self._end = offset + len(data)
        if done == len(data):
            return
        view = memoryview(data)
        while done < len(view):
            count = os.pwrite(self._fd, view[done:], offset + done)
            if count <= 0:
                raise OSError(errno.EIO, "the host wrote nothing", self._path)
            done += count

    def _write_direct(self, offset: int, data: bytes | memoryview) -> None:
        if self._buffer is None:
            return
        with memoryview(self._buffer) as view, memoryview(data) as source:
            done = 0
            while done < len(source):
                step = min(len(source) - done, len(view))
                view[:step] = source[done : done + step]
                count = os.pwritev(self._direct_fd, [view[:step]], offset + done)
                if count < step:
                    os.pwrite(self._fd, source[done + count : done + step], offset + done + count)
                done += step
            self._end = max(self._end, offset + done)

    def flush(self) -> None:
        self._require_open()
        if self._read_only:
            return
        if self._flush_error is not None:
            raise OSError(self._flush_error, "an earlier flush of this disk failed", self._path)
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            self._flush_error = error.errno if error.errno is not None else errno.EIO
            raise

    def punch(self, offset: int, length: int) -> bool:
        self._require_writable()
        if not self._holes or length <= 0:
            return False
        code = punch_hole(self._fd, offset, length)
        if code in (errno.EOPNOTSUPP, errno.ENOSYS, errno.ENODEV, errno.EINVAL):
            self._holes = False
            return False
        if code:
            raise OSError(code, os.strerror(code), self._path)
        return True

    def reserve(self, offset: int, length: int) -> None:
        """Take room on the host for a range (`preallocation=falloc`)."""
        self._require_writable()
        os.posix_fallocate(self._fd, offset, length)

    def truncate(self, length: int) -> None:
        self._require_writable()
        if self.regular:
            os.ftruncate(self._fd, length)
            self._end = length
        elif length > self.length():
            raise OSError(errno.ENOSPC, f"the device has only {self.length()} bytes", self._path)

    def holes(self, offset: int, length: int) -> Iterator[tuple[int, int, bool]]:
        """(offset, length, holds data) of the stretches of a range, as the host's file system tells them."""
        end = offset + length
        while offset < end:
            try:
                data = min(os.lseek(self._fd, offset, os.SEEK_DATA), end)
            except OSError as error:
                # ENXIO: a hole up to the end of the file. Others: the host cannot tell.
                data = end if error.errno == errno.ENXIO else offset
            if data > offset:
                yield offset, data - offset, False
                offset = data
                continue
            try:
                hole = min(os.lseek(self._fd, offset, os.SEEK_HOLE), end)
            except OSError:
                hole = end
            if hole <= offset:
                hole = end
            yield offset, hole - offset, True
            offset = hole

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        direct, self._direct_fd = self._direct_fd, -1
        self._buffer = None
        for one in (fd, direct):
            if one >= 0:
                os.close(one)

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            self.close()


def _ask(fd: int, command: int, kind: int, start: int) -> int:
    answer = fcntl.fcntl(fd, command, struct.pack(_FLOCK, kind, os.SEEK_SET, start, 1, 0))
    return int(struct.unpack(_FLOCK, answer)[0])


def _lock(fd: int, path: str, read_only: bool) -> None:
    """Take QEMU's locks for a reader or a writer. Raises LockedError; does nothing where the host has no such locks.

    Each opener holds a shared lock on a byte for what it does and on a byte for what it forbids; it may go on if nobody
    holds the opposite bytes.
    """
    if _OFD_SETLK is None or _OFD_GETLK is None:
        return
    does = (READS,) if read_only else (READS, WRITES, RESIZES)
    forbids = (WRITES, RESIZES)
    mine = [PERM_BASE + bit for bit in does] + [SHARED_BASE + bit for bit in forbids]
    try:
        for byte in mine:
            _ask(fd, _OFD_SETLK, fcntl.F_RDLCK, byte)
        for byte, what in [(PERM_BASE + bit, "writes to it") for bit in forbids] + [
            (SHARED_BASE + bit, "does not share it") for bit in does
        ]:
            # The own locks are of this description and do not count.
            if _ask(fd, _OFD_GETLK, fcntl.F_WRLCK, byte) != fcntl.F_UNLCK:
                raise LockedError(path, what, holder(fd, byte))
    except LockedError:
        raise
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise


def holder(fd: int, byte: int) -> str:
    """Who holds a lock on a byte of a file, from what the kernel tells about each process's descriptors."""
    wanted = os.fstat(fd)
    try:
        processes = sorted((name for name in os.listdir("/proc") if name.isdigit()), key=int)
    except OSError:
        processes = []
    for process in processes:
        try:
            numbers = os.listdir(f"/proc/{process}/fd")
        except OSError:
            continue
        for number in numbers:
            try:
                seen = os.stat(f"/proc/{process}/fd/{number}")
                if (seen.st_dev, seen.st_ino) != (wanted.st_dev, wanted.st_ino):
                    continue
                if int(process) == os.getpid() and int(number) == fd:
                    continue
                with open(f"/proc/{process}/fdinfo/{number}", encoding="ascii", errors="replace") as file:
                    if not any(_covers(line, byte) for line in file):
                        continue
                return "another drive of this machine" if int(process) == os.getpid() else _named(process)
            except (OSError, ValueError):
                continue  # closed meanwhile, as the descriptor that has read the list is
    return "another process"


def _covers(line: str, byte: int) -> bool:
    words = line.split()
    if not words or words[0] != "lock:":
        return False
    first, last = words[-2], words[-1]
    return int(first) <= byte and (last == "EOF" or byte <= int(last))


def _named(process: str) -> str:
    with open(f"/proc/{process}/comm", encoding="utf-8", errors="replace") as file:
        command = "".join(c if c.isprintable() else "?" for c in file.read().strip())
    return f"process {process} ({command})"
