"""A directory of the host as a 9P2000.L file server.

The virtio-9p transport brings one message after another to `Share.answer`; the guest's end is the `9p` file system of
Linux. Messages follow the Plan 9 manual, section 5, and the 9P2000.L protocol (diod, protocol.md).

The guest is hostile, so a name is one component without a slash, a fid is a list of such names, and each use of a fid
opens them again one after the other from the root's descriptor with O_NOFOLLOW: no `..`, no symbolic link and no rename
on the host leads out. Only regular files and directories are ever opened; links are read by the guest, which follows
them by itself. Host errors are answers to the guest.

`security`: "none" keeps owner and mode as far as the host lets us, without set-id bits; "passthrough" reports what the
host refuses; "mapped" keeps them in the extended attributes `user.virtfs.*` of the file, little-endian, and special
files and links as plain files, as QEMU's mapped-xattr does.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["HEADER", "MAX_MESSAGE", "SECURITY", "Share"]

SECURITY = ("none", "mapped", "passthrough")

HEADER = 7
"""Bytes before the body of a message: size[4] type[1] tag[2]."""
MIN_MESSAGE, MAX_MESSAGE = 4096, 1 << 20
IO_HEADER = 11
MAX_FIDS = 1 << 15
MAX_OPEN = 256
MAX_LISTED = 1 << 18
"""Directory entries that all open directories together may hold."""
MAX_HELD = 32 << 20
"""Bytes of names that all fids together may hold."""
MAX_WALK = 16
MAX_NAME = 255
MAX_DEPTH = 128
MAX_TARGET = 4095
NO_FID = 0xFFFFFFFF
NO_ID = 0xFFFFFFFF
V9FS_MAGIC = 0x01021997
RLERROR = 7
QID_DIRECTORY, QID_LINK, QID_FILE = 0x80, 0x02, 0x00
AT_REMOVEDIR = 0x200
UNLOCKED = 2
BASIC = 0x7FF
"""The attributes of a Tgetattr answer that are valid: mode to blocks."""
VALID_MODE, VALID_UID, VALID_GID, VALID_SIZE, VALID_ATIME, VALID_MTIME = 1, 2, 4, 8, 0x10, 0x20
ATIME_SET, MTIME_SET = 0x80, 0x100

# What a guest may ask of an open: (bit of 9P2000.L, flag of the host). Direct access and the rest ask for nothing here.
OPEN_FLAGS = (
    (0o200, os.O_EXCL),
    (0o1000, os.O_TRUNC),
    (0o2000, os.O_APPEND),
    (0o10000, os.O_DSYNC),
    (0o200000, os.O_DIRECTORY),
    (0o4000000, os.O_SYNC),
)
DOTL_TRUNC = 0o1000
SAFE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
PLACE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC

Path = tuple[bytes, ...]


class Malformed(Exception):
    """A message that is shorter than its fields."""


class Reader:
    """The fields of a message, little-endian, one after the other."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    def take(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self.data):
            raise Malformed
        part = self.data[self.at : end]
        self.at = end
        return part

    def int(self, width: int) -> int:
        return int.from_bytes(self.take(width), "little")

    def text(self) -> bytes:
        return self.take(self.int(2))


def text(data: bytes) -> bytes:
    """A string as it stands in a message."""
    return struct.pack("<H", len(data)) + data


@dataclass
class Attributes:
    """What a file is, as the guest shall see it."""

    host: os.stat_result
    mode: int
    uid: int
    gid: int
    rdev: int


@dataclass
class Fid:
    """What a number of the guest stands for: a place below the root, and a descriptor once it is opened."""

    path: Path
    fd: int = -1
    writable: bool = False
    weight: int = 0
    names: list[bytes] | None = None
    """The directory as it was when its reading began."""


@dataclass
class Counters:
    """What happened, for people."""

    requests: int = 0
    malformed: int = 0
    errors: dict[int, int] = field(default_factory=dict)


def refuse(number: int) -> OSError:
    """The error `number` of errno."""
    return OSError(number, os.strerror(number))


class Share:
    """The server of the directory `root`. Raises OSError if it is none, ValueError for an unknown `security`."""

    def __init__(self, root: str, *, read_only: bool = False, security: str = "none") -> None:
        if security not in SECURITY:
            raise ValueError(f"security model {security}: expected one of {', '.join(SECURITY)}")
        self._root = -1
        self.read_only = read_only
        self.security = security
        self.mapped = security == "mapped"
        self.message_size = MIN_MESSAGE
        self.counters = Counters()
        self.fids: dict[int, Fid] = {}
        self._opened = 0
        self._listed = 0
        self._held = 0
        self._devices: dict[int, int] = {}
        self._root = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._devices[os.fstat(self._root).st_dev] = 0
        self._calls: dict[int, Callable[[Reader, int], bytes]] = {
            8: self._statfs,
            12: self._lopen,
            14: self._lcreate,
            16: self._symlink,
            18: self._mknod,
            20: self._rename,
            22: self._readlink,
            24: self._getattr,
            26: self._setattr,
            30: self._no_attributes,
            32: self._no_attributes,
            40: self._readdir,
            50: self._fsync,
            52: self._lock,
            54: self._getlock,
            70: self._link,
            72: self._mkdir,
            74: self._renameat,
            76: self._unlinkat,
            100: self._version,
            102: self._no_attributes,
            104: self._attach,
            108: self._flush,
            110: self._walk,
            116: self._read,
            118: self._write,
            120: self._clunk,
            122: self._remove,
        }

    def close(self) -> None:
        """Close everything. Closing twice is harmless."""
        self.forget()
        root, self._root = self._root, -1
        if root >= 0:
            os.close(root)

    def __del__(self) -> None:
        if getattr(self, "_root", -1) >= 0:
            self.close()

    def forget(self) -> None:
        """Drop all fids: a new session, or the reset of the transport."""
        for number in list(self.fids):
            self._drop(number)

    # -- messages

    def answer(self, request: bytes, room: int) -> bytes:
        """The reply to one message; at most `room` bytes, which must be 11 at least for an error to fit.

        Never raises for what a guest sends: what is wrong is an Rlerror.
        """
        self.counters.requests += 1
        kind = request[4] if len(request) > 4 else 0
        tag = request[5:7].ljust(2, b"\0")
        room = min(room, self.message_size if kind != 100 else MAX_MESSAGE)
        try:
            if len(request) < HEADER or not HEADER <= int.from_bytes(request[:4], "little") <= len(request):
                raise Malformed
            call = self._calls.get(kind)
            if call is None:
                raise refuse(errno.EOPNOTSUPP)
            body = call(Reader(request[: int.from_bytes(request[:4], "little")], HEADER), room - HEADER)
            if len(body) > room - HEADER:
                raise refuse(errno.EMSGSIZE)
            return struct.pack("<IB", HEADER + len(body), kind + 1) + tag + body
        except Malformed:
            self.counters.malformed += 1
            number = errno.EINVAL
        except OSError as error:
            number = error.errno or errno.EIO
        except (ValueError, OverflowError):
            number = errno.EINVAL
        self.counters.errors[number] = self.counters.errors.get(number, 0) + 1
        return struct.pack("<IB", HEADER + 4, RLERROR) + tag + struct.pack("<I", number)

    def _version(self, body: Reader, room: int) -> bytes:
        size, version = body.int(4), body.text()
        if size < MIN_MESSAGE:
            raise refuse(errno.EMSGSIZE)
        self.forget()
        self.message_size = min(size, MAX_MESSAGE)
        known = version == b"9P2000.L"
        return struct.pack("<I", self.message_size) + text(version if known else b"unknown")

    def _flush(self, body: Reader, room: int) -> bytes:
        body.int(2)  # every request is answered before the next is looked at: nothing is under way
        return b""

    def _attach(self, body: Reader, room: int) -> bytes:
        number, other = body.int(4), body.int(4)
        body.text(), body.text()
        if other != NO_FID:
            raise refuse(errno.EOPNOTSUPP)
        qid = self._qid(self._attributes(()))
        self._new(number, ())
        return qid

    def _no_attributes(self, body: Reader, room: int) -> bytes:
        """Extended attributes are not offered, and nobody has to authenticate."""
        raise refuse(errno.EOPNOTSUPP)

    def _walk(self, body: Reader, room: int) -> bytes:
        fid, number, count = self._fid(body), body.int(4), body.int(2)
        if count > MAX_WALK:
            raise refuse(errno.EINVAL)
        names = [body.text() for _ in range(count)]
        if self.fids.get(number, fid) is not fid or (number in self.fids and fid.fd >= 0):
            raise refuse(errno.EBADF)
        path, qids = fid.path, b""
        try:
            for name in names:
                if name == b"..":
                    path = path[:-1]
                elif name != b".":
                    path = (*path, self._name(name))
                qids += self._qid(self._attributes(path))
        except OSError:
            if not qids:
                raise
        if len(qids) == 13 * count:
            self._new(number, path)
        return struct.pack("<H", len(qids) // 13) + qids

    def _clunk(self, body: Reader, room: int) -> bytes:
        number = body.int(4)
        self._known(number)
        self._drop(number)
        return b""

    def _remove(self, body: Reader, room: int) -> bytes:
        number = body.int(4)
        fid = self._known(number)
        try:
            self._may_write()
            if not fid.path:
                raise refuse(errno.EBUSY)
            directory = stat.S_ISDIR(self._attributes(fid.path).host.st_mode)
            with self._parent(fid.path) as parent:
                (os.rmdir if directory else os.unlink)(fid.path[-1], dir_fd=parent.fd)
        finally:
            self._drop(number)
        return b""

    # -- what files are

    def _statfs(self, body: Reader, room: int) -> bytes:
        fid = self._fid(body)
        with self._place(fid) as place:
            v = os.fstatvfs(place.fd)
        values = (v.f_blocks, v.f_bfree, v.f_bavail, v.f_files, v.f_ffree, 0)
        return struct.pack("<II6QI", V9FS_MAGIC, v.f_bsize & NO_ID, *values, v.f_namemax)

    def _getattr(self, body: Reader, room: int) -> bytes:
        fid = self._fid(body)
        body.int(8)
        a = self._attributes_of(fid)
        h = a.host
        times = [part for ns in (h.st_atime_ns, h.st_mtime_ns, h.st_ctime_ns, 0) for part in divmod(ns, 10**9)]
        return (
            struct.pack("<Q", BASIC)
            + self._qid(a)
            + struct.pack("<III", a.mode, a.uid, a.gid)
            + struct.pack("<QQQQQ", h.st_nlink, a.rdev, h.st_size, h.st_blksize, h.st_blocks)
            + struct.pack("<qQqQqQqQ", *times)
            + struct.pack("<QQ", 0, 0)
        )

    def _setattr(self, body: Reader, room: int) -> bytes:
        fid = self._fid(body)
        valid, mode, uid, gid, size = body.int(4), body.int(4), body.int(4), body.int(4), body.int(8)
        atime, mtime = (body.int(8) * 10**9 + min(body.int(8), 10**9 - 1) for _ in range(2))
        self._may_write()
        with self._place(fid) as place:
            before = self._attributes_at(place)
            link = stat.S_ISLNK(before.host.st_mode)
            where = f"/proc/self/fd/{place.fd}"
            if valid & VALID_MODE:
                if link:
                    raise refuse(errno.EOPNOTSUPP)
                self._set_mode(where, before, mode)
            if valid & (VALID_UID | VALID_GID):
                owner = uid if valid & VALID_UID and uid != NO_ID else -1
                group = gid if valid & VALID_GID and gid != NO_ID else -1
                self._set_owner(where, owner, group, link)
            if valid & VALID_SIZE:
                self._truncate(fid, place, size)
            if valid & (VALID_ATIME | VALID_MTIME) and not link:
                self._set_times(where, before.host, valid, atime, mtime)
        return b""

    def _set_mode(self, where: str, before: Attributes, mode: int) -> None:
        if self.mapped:
            self._map(where, mode=stat.S_IFMT(before.mode) | stat.S_IMODE(mode))
            return
        os.chmod(where, stat.S_IMODE(mode) & (0o7777 if self.security == "passthrough" else 0o1777))

    def _set_owner(self, where: str, owner: int, group: int, link: bool) -> None:
        if self.mapped:
            self._map(where, uid=owner, gid=group)
        elif not link:
            try:
                os.chown(where, owner, group)
            except PermissionError:
                if self.security == "passthrough":
                    raise

    @staticmethod
    def _set_times(where: str, before: os.stat_result, valid: int, atime: int, mtime: int) -> None:
        times = [before.st_atime_ns, before.st_mtime_ns]
        now = [False, False]
        for i, (wanted, given, value) in enumerate(((VALID_ATIME, ATIME_SET, atime), (VALID_MTIME, MTIME_SET, mtime))):
            if valid & wanted:
                now[i] = not valid & given
                times[i] = times[i] if now[i] else value
        if any(now):
            os.utime(where)  # the host's clock, as the guest asked; what it did not ask for goes back
            after = os.stat(where)
            times = [a if n else t for t, n, a in zip(times, now, (after.st_atime_ns, after.st_mtime_ns), strict=True)]
        if not all(now):
            os.utime(where, ns=(times[0], times[1]))

    def _truncate(self, fid: Fid, place: Place, size: int) -> None:
        if not stat.S_ISREG(os.fstat(place.fd).st_mode):
            raise refuse(errno.EISDIR if stat.S_ISDIR(os.fstat(place.fd).st_mode) else errno.EINVAL)
        if size >= 1 << 63:
            raise refuse(errno.EFBIG)
        if fid.fd >= 0 and fid.writable:
            os.ftruncate(fid.fd, size)
            return
        with Place(os.open(f"/proc/self/fd/{place.fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)) as opened:
            os.ftruncate(opened.fd, size)

    def _readlink(self, body: Reader, room: int) -> bytes:
        fid = self._fid(body)
        a = self._attributes_of(fid)
        if not stat.S_ISLNK(a.mode) or not fid.path:
            raise refuse(errno.EINVAL)
        if not stat.S_ISLNK(a.host.st_mode):
            with Place(self._open(fid.path, os.O_RDONLY)) as place:
                return text(os.pread(place.fd, MAX_TARGET, 0))
        with self._parent(fid.path) as parent:
            return text(os.readlink(fid.path[-1], dir_fd=parent.fd))

    # -- open files

    def _lopen(self, body: Reader, room: int) -> bytes:
        fid, wish = self._fid(body), body.int(4)
        self._may_open(fid, wish)
        access = wish & os.O_ACCMODE
        if access != os.O_RDONLY or wish & DOTL_TRUNC:
            self._may_write()
        a = self._attributes(fid.path)
        if not (stat.S_ISREG(a.mode) or stat.S_ISDIR(a.mode)):
            raise refuse(errno.ELOOP if stat.S_ISLNK(a.mode) else errno.ENXIO)
        self._keep(fid, self._open(fid.path, access | self._flags(wish)), wish)
        return self._qid(self._attributes_of(fid)) + struct.pack("<I", 0)

    def _lcreate(self, body: Reader, room: int) -> bytes:
        fid, name, wish, mode, gid = self._fid(body), self._name(body.text()), body.int(4), body.int(4), body.int(4)
        self._may_write()
        self._may_open(fid, wish)
        path = self._below(fid.path, name)
        with self._directory(fid.path) as parent:
            try:
                there = os.stat(name, dir_fd=parent.fd, follow_symlinks=False)
            except FileNotFoundError:
                there = None
            if there is not None and not stat.S_ISREG(there.st_mode):
                raise refuse(errno.EEXIST)
            flags = self._flags(wish) | wish & os.O_ACCMODE | os.O_CREAT | SAFE
            fd = os.open(name, flags, 0o600, dir_fd=parent.fd)
        fid.path = path
        self._keep(fid, fd, wish)
        if there is None:
            self._made(f"/proc/self/fd/{fd}", stat.S_IFREG | stat.S_IMODE(mode), gid)
        return self._qid(self._attributes_of(fid)) + struct.pack("<I", 0)

    def _read(self, body: Reader, room: int) -> bytes:
        fid, offset, count = self._fid(body), body.int(8), body.int(4)
        if fid.fd < 0:
            raise refuse(errno.EBADF)
        if offset >= 1 << 63:
            raise refuse(errno.EINVAL)
        data = os.pread(fid.fd, max(0, min(count, room - 4)), offset)
        return struct.pack("<I", len(data)) + data

    def _write(self, body: Reader, room: int) -> bytes:
        fid, offset, count = self._fid(body), body.int(8), body.int(4)
        data = body.take(count)
        if fid.fd < 0:
            raise refuse(errno.EBADF)
        self._may_write()
        if offset + count >= 1 << 63:
            raise refuse(errno.EFBIG)
        return struct.pack("<I", os.pwrite(fid.fd, data, offset))

    def _fsync(self, body: Reader, room: int) -> bytes:
        fid = self._fid(body)
        data_only = body.int(4) if len(body.data) - body.at >= 4 else 0
        if fid.fd < 0:
            raise refuse(errno.EBADF)
        (os.fdatasync if data_only else os.fsync)(fid.fd)
        return b""

    def _lock(self, body: Reader, room: int) -> bytes:
        """The guest's kernel keeps its processes apart; it is the only client."""
        self._fid(body)
        body.take(1 + 4 + 8 + 8 + 4)
        body.text()
        return b"\0"

    def _getlock(self, body: Reader, room: int) -> bytes:
        self._fid(body)
        body.int(1)
        rest = body.take(8 + 8 + 4)
        return bytes((UNLOCKED,)) + rest + text(body.text())

    def _readdir(self, body: Reader, room: int) -> bytes:
        fid, offset, count = self._fid(body), body.int(8), body.int(4)
        if fid.fd < 0:
            raise refuse(errno.EBADF)
        if offset == 0 or fid.names is None:
            self._list(fid)
        names = fid.names or []
        parts: list[bytes] = []
        left = min(count, room - 4)
        for at in range(offset, len(names)):
            name = names[at]
            path = fid.path[:-1] if name == b".." else fid.path if name == b"." else (*fid.path, name)
            try:
                a = self._attributes_in(fid.fd, name) if name not in (b".", b"..") else self._attributes(path)
            except OSError:
                continue  # gone since the reading began
            entry = self._qid(a) + struct.pack("<QB", at + 1, stat.S_IFMT(a.mode) >> 12) + text(name)
            if len(entry) > left:
                if not parts:
                    raise refuse(errno.EINVAL)
                break
            left -= len(entry)
            parts.append(entry)
        data = b"".join(parts)
        return struct.pack("<I", len(data)) + data

    def _list(self, fid: Fid) -> None:
        """Read a directory whole, in an order of names, which is the same on every host."""
        self._unlist(fid)
        names = [b".", b"..", *sorted(os.fsencode(name) for name in os.listdir(fid.fd))]
        if self._listed + len(names) > MAX_LISTED:
            raise refuse(errno.ENOMEM)
        self._listed += len(names)
        fid.names = names

    def _unlist(self, fid: Fid) -> None:
        if fid.names is not None:
            self._listed -= len(fid.names)
            fid.names = None

    # -- names

    def _mkdir(self, body: Reader, room: int) -> bytes:
        fid, name, mode, gid = self._fid(body), self._name(body.text()), body.int(4), body.int(4)
        self._may_write()
        path = self._below(fid.path, name)
        with self._directory(fid.path) as parent:
            os.mkdir(name, 0o700, dir_fd=parent.fd)
        return self._finish(path, stat.S_IFDIR | mode & 0o1777, gid)

    def _symlink(self, body: Reader, room: int) -> bytes:
        fid, name, target, gid = self._fid(body), self._name(body.text()), body.text(), body.int(4)
        self._may_write()
        if not 0 < len(target) <= MAX_TARGET or b"\0" in target:
            raise refuse(errno.EINVAL)
        path = self._below(fid.path, name)
        with self._directory(fid.path) as parent:
            if not self.mapped:
                os.symlink(target, name, dir_fd=parent.fd)
                return self._qid(self._attributes(path))
            with Place(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE, 0o600, dir_fd=parent.fd)) as made:
                os.pwrite(made.fd, target, 0)
        return self._finish(path, stat.S_IFLNK | 0o777, gid)

    def _mknod(self, body: Reader, room: int) -> bytes:
        fid, name, mode = self._fid(body), self._name(body.text()), body.int(4)
        major, minor, gid = body.int(4), body.int(4), body.int(4)
        self._may_write()
        path = self._below(fid.path, name)
        kind = stat.S_IFMT(mode) or stat.S_IFREG
        if kind not in (stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK):
            raise refuse(errno.EINVAL)
        special = kind in (stat.S_IFCHR, stat.S_IFBLK)
        if special and not self.mapped:
            raise refuse(errno.EPERM)  # a device of the host is not the guest's to name
        rdev = os.makedev(major, minor) if special and major < 1 << 12 and minor < 1 << 20 else 0
        with self._directory(fid.path) as parent:
            os.mknod(name, 0o600 | (stat.S_IFREG if self.mapped else kind), dir_fd=parent.fd)
        return self._finish(path, kind | stat.S_IMODE(mode), gid, rdev)

    def _link(self, body: Reader, room: int) -> bytes:
        into, fid, name = self._fid(body), self._fid(body), self._name(body.text())
        self._may_write()
        if not fid.path:
            raise refuse(errno.EPERM)
        self._below(into.path, name)
        with self._parent(fid.path) as source, self._directory(into.path) as parent:
            os.link(fid.path[-1], name, src_dir_fd=source.fd, dst_dir_fd=parent.fd, follow_symlinks=False)
        return b""

    def _rename(self, body: Reader, room: int) -> bytes:
        fid, into, name = self._fid(body), self._fid(body), self._name(body.text())
        if not fid.path:
            raise refuse(errno.EBUSY)
        self._move(fid.path, (*into.path, name))
        return b""

    def _renameat(self, body: Reader, room: int) -> bytes:
        source, name, into, new = self._fid(body), self._name(body.text()), self._fid(body), self._name(body.text())
        self._move((*source.path, name), (*into.path, new))
        return b""

    def _move(self, old: Path, new: Path) -> None:
        self._may_write()
        self._below(new[:-1], new[-1])
        with self._parent(old) as source, self._parent(new) as parent:
            os.rename(old[-1], new[-1], src_dir_fd=source.fd, dst_dir_fd=parent.fd)
        for fid in self.fids.values():  # fids stand for files: they go where their file went
            if fid.path[: len(old)] == old:
                fid.path = (*new, *fid.path[len(old) :])

    def _unlinkat(self, body: Reader, room: int) -> bytes:
        fid, name, flags = self._fid(body), self._name(body.text()), body.int(4)
        self._may_write()
        with self._directory(fid.path) as parent:
            (os.rmdir if flags & AT_REMOVEDIR else os.unlink)(name, dir_fd=parent.fd)
        return b""

    # -- fids

    def _known(self, number: int) -> Fid:
        fid = self.fids.get(number)
        if fid is None:
            raise refuse(errno.EBADF)
        return fid

    def _fid(self, body: Reader) -> Fid:
        return self._known(body.int(4))

    def _new(self, number: int, path: Path) -> None:
        old = self.fids.get(number)
        if number == NO_FID or (old is not None and old.fd >= 0):
            raise refuse(errno.EBADF)
        weight = sum(len(name) + 40 for name in path)
        if (old is None and len(self.fids) >= MAX_FIDS) or self._held + weight > MAX_HELD:
            raise refuse(errno.ENFILE)
        if old is not None:
            self._drop(number)
        self._held += weight
        self.fids[number] = Fid(path, weight=weight)

    def _drop(self, number: int) -> None:
        fid = self.fids.pop(number)
        self._shut(fid)
        self._held -= fid.weight

    def _keep(self, fid: Fid, fd: int, wish: int) -> None:
        """An opened descriptor belongs to a fid from now on."""
        self._opened += 1
        fid.fd, fid.writable = fd, bool(wish & os.O_ACCMODE)

    def _may_open(self, fid: Fid, wish: int) -> None:
        if fid.fd >= 0:
            raise refuse(errno.EBUSY)
        if wish & os.O_ACCMODE == os.O_ACCMODE:
            raise refuse(errno.EINVAL)
        if self._opened >= MAX_OPEN:
            raise refuse(errno.EMFILE)

    def _shut(self, fid: Fid) -> None:
        self._unlist(fid)
        fd, fid.fd = fid.fd, -1
        if fd >= 0:
            self._opened -= 1
            os.close(fd)

    def _may_write(self) -> None:
        if self.read_only:
            raise refuse(errno.EROFS)

    # -- the host

    @staticmethod
    def _name(name: bytes) -> bytes:
        """A name that is one component. Raises OSError for all others."""
        if not name or b"/" in name or b"\0" in name:
            raise refuse(errno.EINVAL)
        if name in (b".", b".."):
            raise refuse(errno.EEXIST)
        if len(name) > MAX_NAME:
            raise refuse(errno.ENAMETOOLONG)
        return name

    @staticmethod
    def _below(path: Path, name: bytes) -> Path:
        if len(path) >= MAX_DEPTH:
            raise refuse(errno.ENAMETOOLONG)
        return (*path, name)

    @staticmethod
    def _flags(wish: int) -> int:
        return sum(host for bit, host in OPEN_FLAGS if wish & bit)

    def _step(self, path: Path) -> Place:
        """A handle on a place below the root, one component after the other; only the last may be no directory."""
        if len(path) > MAX_DEPTH:
            raise refuse(errno.ENAMETOOLONG)
        place = Place(os.dup(self._root))
        for at, name in enumerate(path):
            kind = PLACE if at == len(path) - 1 else PLACE | os.O_DIRECTORY
            with place:
                place = Place(os.open(name, kind, dir_fd=place.fd))
        return place

    def _directory(self, path: Path) -> Place:
        place = self._step(path)
        if not stat.S_ISDIR(os.fstat(place.fd).st_mode):
            place.close()
            raise refuse(errno.ENOTDIR)
        return place

    def _parent(self, path: Path) -> Place:
        return self._directory(path[:-1])

    def _place(self, fid: Fid) -> Place:
        """A handle on a fid's file, also if that has lost its name since it was opened."""
        if fid.fd >= 0:
            return Place(os.dup(fid.fd))
        return self._step(fid.path)

    def _open(self, path: Path, flags: int) -> int:
        """A descriptor of a regular file or a directory."""
        with self._step(path) as place:
            mode = os.fstat(place.fd).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise refuse(errno.ELOOP if stat.S_ISLNK(mode) else errno.ENXIO)
            # Through the handle: the file that was looked at is the one that is opened.
            flags = (flags | SAFE) & ~os.O_NOFOLLOW & ~os.O_EXCL
            return os.open(f"/proc/self/fd/{place.fd}", flags)

    # -- attributes

    def _attributes(self, path: Path) -> Attributes:
        with self._step(path) as place:
            return self._attributes_at(place)

    def _attributes_of(self, fid: Fid) -> Attributes:
        with self._place(fid) as place:
            return self._attributes_at(place)

    def _attributes_in(self, fd: int, name: bytes) -> Attributes:
        with Place(os.open(name, PLACE, dir_fd=fd)) as place:
            return self._attributes_at(place)

    def _attributes_at(self, place: Place) -> Attributes:
        host = os.fstat(place.fd)
        made = Attributes(host, host.st_mode, host.st_uid, host.st_gid, host.st_rdev)
        if self.mapped and not stat.S_ISLNK(host.st_mode):
            where = f"/proc/self/fd/{place.fd}"
            made.mode = _mapped(where, b"mode", 4, made.mode)
            if stat.S_ISDIR(host.st_mode) != stat.S_ISDIR(made.mode):
                made.mode = host.st_mode  # what is a directory is not for an attribute to say
            made.uid = _mapped(where, b"uid", 4, made.uid)
            made.gid = _mapped(where, b"gid", 4, made.gid)
            made.rdev = _mapped(where, b"rdev", 8, made.rdev)
        return made

    def _qid(self, a: Attributes) -> bytes:
        """What identifies a file: type, version, and a number that stays the same while the file exists."""
        kind = QID_DIRECTORY if stat.S_ISDIR(a.mode) else QID_LINK if stat.S_ISLNK(a.mode) else QID_FILE
        if a.host.st_dev not in self._devices and len(self._devices) < 1 << 12:
            self._devices[a.host.st_dev] = len(self._devices)
        device = self._devices.get(a.host.st_dev, (1 << 12) - 1)
        version = (a.host.st_mtime_ns ^ a.host.st_size << 8) & 0xFFFFFFFF
        return struct.pack("<BIQ", kind, version, (a.host.st_ino ^ device << 52) & (1 << 64) - 1)

    def _finish(self, path: Path, mode: int, gid: int, rdev: int = 0) -> bytes:
        """Give a new file its mode and group, and describe it."""
        with self._step(path) as place:
            self._made(f"/proc/self/fd/{place.fd}", mode, gid, rdev)
            return self._qid(self._attributes_at(place))

    def _made(self, where: str, mode: int, gid: int, rdev: int = 0) -> None:
        if self.mapped:
            self._map(where, mode=mode, gid=-1 if gid == NO_ID else gid, rdev=rdev or -1)
            return
        os.chmod(where, stat.S_IMODE(mode) & (0o7777 if self.security == "passthrough" else 0o1777))
        if gid != NO_ID and self.security == "passthrough":
            os.chown(where, -1, gid)

    @staticmethod
    def _map(where: str, *, mode: int = -1, uid: int = -1, gid: int = -1, rdev: int = -1) -> None:
        for name, width, value in (("mode", 4, mode), ("uid", 4, uid), ("gid", 4, gid), ("rdev", 8, rdev)):
            if value >= 0:
                os.setxattr(where, f"user.virtfs.{name}", value.to_bytes(width, "little"))


def _mapped(where: str, name: bytes, width: int, default: int) -> int:
    try:
        value = os.getxattr(where, b"user.virtfs." + name)
    except OSError:
        return default
    return int.from_bytes(value, "little") if len(value) == width else default


class Place:
    """A descriptor that is closed at the end of a `with`."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)
