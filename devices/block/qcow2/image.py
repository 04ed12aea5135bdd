"""A qcow2 image as a disk.

Reads go from the L2 tables to the file, to the backing file or to zeros; writes in place where the cluster is this
image's own, else into new clusters that become visible to a later opener with the next flush (see `tables`). A damaged
table is an I/O error that names it; it is never followed out of the file or into another table.
Source: QEMU's qcow2 format description.
"""

from __future__ import annotations

import errno
import threading
import zlib
from array import array
from collections.abc import Callable, Iterator
from typing import Protocol

from devices.block.qcow2.header import CORRUPT, DIRTY, ZSTD, Header, Snapshot, parse, read_snapshots
from devices.block.qcow2.tables import COMPRESSED, COPIED, OFFSET, ZERO, Tables
from devices.block.storage import REPORT, BlockDisk, Extent, ImageError, Storage, check_range, whole_sectors
from devices.contracts import Statistics

__all__ = ["Qcow2", "Zstd"]

LONGEST_RUN = 4 << 20
"""Bytes of new clusters written at a time."""
RESERVED_L2 = 0x3F00_0000_0000_01FE


class Zstd(Protocol):
    """Zstandard, which the standard library of older Pythons lacks."""

    def decompress(self, data: bytes, limit: int) -> bytes:
        """At most `limit` bytes; what follows the frame is ignored. Raises ValueError."""

    def compress(self, data: bytes) -> bytes:
        """One frame."""


class Qcow2:
    """An open image. `backing` is what unallocated clusters read from; who opens decides which file that may be.

    Raises ImageError for what the format does not allow. With `snapshot` (id or name) the disk is that internal
    snapshot, read-only. `zstd` finds the compressor when it is needed first. Calls from several threads
    wait for one another.
    """

    kind = "qcow2"
    on_error = REPORT
    statistics: Statistics | None = None

    def __init__(
        self,
        file: Storage,
        *,
        read_only: bool = False,
        backing: BlockDisk | None = None,
        snapshot: str | None = None,
        zstd: Callable[[], Zstd | None] = lambda: None,
        give_back: bool = False,
        repairing: bool = False,
    ) -> None:
        self.file = file
        self.path = file.path
        self.header: Header = parse(file)
        self.snapshots: list[Snapshot] = read_snapshots(self.header, file)
        shown = self._find(snapshot) if snapshot is not None else None
        self.slow_writes = bool(getattr(file, "direct", False))
        self._read_only = read_only or file.read_only or shown is not None
        if self.header.incompatible & CORRUPT and not self._read_only and not repairing:
            raise ImageError("qcow2 header", "incompatible_features (byte 0x48)", "marked corrupt: repair or read only")
        self.size = whole_sectors(shown.disk_size if shown else self.header.size)
        self.backing = backing
        self._find_zstd = zstd
        self._zstd: Zstd | None = None
        self.give_back = give_back
        """What is discarded, or zeroed with leave to unmap, becomes free, in the image and on the host."""
        self.tables = Tables(file, self.header, self.snapshots, shown)
        self.tables.freed = self._freed  # type: ignore[method-assign]
        self._bits, self._cluster = self.header.cluster_bits, self.header.cluster
        self._mask = self._cluster - 1
        self._l2_bits = self._bits - 3
        self._l2_mask = (1 << self._l2_bits) - 1
        self._odd = RESERVED_L2 | COMPRESSED | ZERO | self._mask
        """Bits that the entry of a plain cluster does not have."""
        self._l2 = self.tables.l2
        self._file_read = file.read
        self._inflated: tuple[int, bytes] = (0, b"")
        self._packed = 0
        self._lock = threading.RLock()
        self._closed = False
        if self.header.incompatible & DIRTY and not self._read_only and not repairing:
            from devices.block.qcow2.check import repair

            repair(self)

    def _find(self, name: str) -> Snapshot:
        for key in ("id", "name"):
            for snapshot in self.snapshots:
                if getattr(snapshot, key) == name:
                    return snapshot
        known = ", ".join(f"{s.id} ({s.name})" for s in self.snapshots) or "none"
        raise OSError(errno.ENOTSUP, f"no snapshot {name!r}; there are: {known}", self.path)

    @property
    def read_only(self) -> bool:
        return self._read_only

    @property
    def zstd(self) -> Zstd:
        """The compressor. Raises OSError where there is none."""
        if self._zstd is None:
            self._zstd = self._find_zstd()
            if self._zstd is None:
                raise OSError(errno.ENOSYS, "zstd clusters need Python 3.14 or the package zstandard", self.path)
        return self._zstd

    @property
    def bare(self) -> bool:
        """True if unallocated clusters read as zeros."""
        return not self.header.backing_file and self.backing is None

    # -- reading

    def read(self, offset: int, length: int) -> bytes:
        if offset < 0 or length < 0 or offset + length > self.size:
            check_range(self.size, offset, length)
        with self._lock:
            if self._closed:
                raise OSError(errno.EBADF, "the disk image is closed", self.path)
            index, start = offset >> self._bits, offset & self._mask
            if start + length <= self._cluster:
                table = self._l2.get(index >> self._l2_bits)
                if table is not None:
                    entry = table[index & self._l2_mask]
                    host = entry & OFFSET
                    if host and not entry & self._odd and host + start + length <= self.tables.end:
                        return self._file_read(host + start, length)
                return self._read_one(index, start, length)
            parts = []
            while length > 0:
                count = min(length, self._cluster - start)
                entry = self._entry(index)
                if entry & OFFSET and not entry & self._odd:
                    host = entry & OFFSET
                    index += 1
                    while count < length:
                        following = self._entry(index)
                        if following & self._odd or following & OFFSET != host + start + count:
                            break
                        index += 1
                        count += min(length - count, self._cluster)
                    parts.append(self._plain(host, start, count))
                elif entry == 0 and self.backing is not None:
                    index += 1
                    while count < length and self._entry(index) == 0:
                        index += 1
                        count += min(length - count, self._cluster)
                    parts.append(self._below(offset, count))
                else:
                    parts.append(self._read_one(index, start, count))
                    index += 1
                offset, length, start = offset + count, length - count, 0
            return b"".join(parts)

    def _entry(self, index: int) -> int:
        table = self._l2.get(index >> self._l2_bits)
        if table is None:
            table = self.tables.l2_table(index >> self._l2_bits)
            if table is None:
                return 0
        return table[index & self._l2_mask]

    def _read_one(self, index: int, start: int, length: int) -> bytes:
        entry = self._entry(index)
        host = entry & OFFSET
        if host and not entry & self._odd:
            return self._plain(host, start, length)
        if entry == 0:
            return self._below((index << self._bits) + start, length)
        if entry & COMPRESSED:
            return self._inflate(index, entry)[start : start + length]
        self._check(index, entry)
        return bytes(length)

    def _plain(self, host: int, start: int, length: int) -> bytes:
        tables = self.tables
        if host + start + length > tables.end and not tables.within(host):
            raise ImageError("qcow2 L2 table", f"cluster {host:#x}", f"lies behind the file's {tables.end} bytes")
        return self.file.read(host + start, length)

    def _below(self, offset: int, length: int) -> bytes:
        backing = self.backing
        if backing is None:
            if self.header.backing_file:
                raise OSError(errno.ENOENT, f"its backing file {self.header.backing_file!r} is not open", self.path)
            return bytes(length)
        held = min(length, backing.size - offset)
        if held <= 0:
            return bytes(length)
        data = backing.read(offset, held)
        return data if held == length else data + bytes(length - held)

    def _check(self, index: int, entry: int) -> None:
        """Raises ImageError for the entry of a cluster that is not compressed and cannot be."""
        where = f"entry {index & self._l2_mask} of table {index >> self._l2_bits}"
        host = entry & OFFSET
        if entry & RESERVED_L2:
            raise ImageError("qcow2 L2 table", where, f"{entry:#x} has reserved bits")
        if host & self._mask:
            raise ImageError(
                "qcow2 L2 table", where, f"{host:#x} is not a multiple of the cluster size {self._cluster}"
            )
        if entry & ZERO and self.header.version < 3:
            raise ImageError("qcow2 L2 table", where, "a zero cluster in an image of version 2")
        if host and not self.tables.within(host):
            raise ImageError("qcow2 L2 table", where, f"{host:#x} lies behind the file's {self.tables.end} bytes")
        if not host and entry & COPIED:
            raise ImageError("qcow2 L2 table", where, "points to the header")

    def _inflate(self, index: int, entry: int) -> bytes:
        if self._inflated[0] == entry:
            return self._inflated[1]
        where = f"entry {index & self._l2_mask} of table {index >> self._l2_bits}"
        offset, size = self.tables.span(entry)
        if not self.tables.within(offset):
            raise ImageError("qcow2 L2 table", where, f"compressed data at {offset:#x} lies behind the file's end")
        packed = self.file.read(offset, size)
        try:
            if self.header.compression == ZSTD:
                data = self.zstd.decompress(packed, self._cluster)
            else:
                data = zlib.decompressobj(-12).decompress(packed, self._cluster)
        except (zlib.error, ValueError) as error:
            raise ImageError("qcow2 compressed cluster", f"{offset:#x} ({where})", str(error)) from None
        if len(data) != self._cluster:
            raise ImageError("qcow2 compressed cluster", f"{offset:#x} ({where})", f"has only {len(data)} bytes")
        self._inflated = (entry, data)
        return data

    def fast(self, offset: int, length: int) -> bool:
        if not self._lock.acquire(blocking=False):
            return False
        try:
            index, start = offset >> self._bits, offset & self._mask
            table = self._l2.get(index >> self._l2_bits)
            if table is None or start + length > self._cluster:
                return False
            entry = table[index & self._l2_mask]
            if entry & OFFSET and not entry & self._odd:
                now = getattr(self.file, "now", None)
                return bool(now is not None and now((entry & OFFSET) + start, length))
            if entry == 0 and self.backing is not None:
                return offset + length <= self.backing.size and self.backing.fast(offset, length)
            return entry == 0 or entry == ZERO
        finally:
            self._lock.release()

    # -- writing

    def _begin(self) -> None:
        if self._closed:
            raise OSError(errno.EBADF, "the disk image is closed", self.path)
        if self._read_only:
            raise PermissionError(errno.EROFS, "the disk is read-only", self.path)
        self.tables.begin()

    def write(self, offset: int, data: bytes) -> None:
        check_range(self.size, offset, len(data))
        with self._lock:
            self._begin()
            view = memoryview(data)
            odd, cluster, meta = self._odd, self._cluster, self.tables.meta
            while view:
                index, start = offset >> self._bits, offset & self._mask
                entry = self._entry(index)
                host = entry & OFFSET
                if entry & COPIED and host and not entry & odd:
                    count = min(len(view), cluster - start)
                    if host >> self._bits in meta:
                        self.tables.check_data(host >> self._bits)
                    while count < len(view):
                        index += 1
                        following = self._entry(index)
                        if following != (host + start + count) | COPIED:
                            break
                        self.tables.check_data(following >> self._bits & (OFFSET >> self._bits))
                        count += min(len(view) - count, cluster)
                    if not self.tables.within(host):
                        raise ImageError("qcow2 L2 table", f"cluster {host:#x}", "lies behind the end of the file")
                    self.file.write(host + start, view[:count] if count < len(view) else view)
                else:
                    count = self._write_new(index, start, view)
                offset += count
                view = view[count:]

    def _write_new(self, index: int, start: int, view: memoryview) -> int:
        """Write the beginning of `view` into new clusters; how many bytes of it."""
        cluster, tables = self._cluster, self.tables
        entry = self._entry(index)
        if entry & ZERO and entry & COPIED and entry & OFFSET and not entry & COMPRESSED:
            return self._write_reserved(index, start, view, entry)
        # As many clusters in a row as need a new place and have one L2 table.
        most = min(-(-(start + len(view)) // cluster), LONGEST_RUN // cluster or 1)
        most = min(most, (1 << self._l2_bits) - (index & self._l2_mask))
        old = [entry]
        while len(old) < most and not self._in_place(following := self._entry(index + len(old))):
            old.append(following)
        for number, one in enumerate(old):
            self._releasable(index + number, one)
        fresh = tables.fresh
        first, got = tables.allocate(len(old))
        del old[got:]
        end = min(start + len(view), got * cluster)
        try:
            self._fill(index, start, view[: end - start], old, first, got, first >= fresh)
        except OSError:
            for one in range(first, first + got):
                tables.set_count(one, 0)
            raise
        try:
            self._map(index, old, first)
        except OSError as error:
            # Half of the change is made. The file still has the state of the last commit, and keeps it.
            tables.failed = error
            raise
        return end - start

    def _in_place(self, entry: int) -> bool:
        return bool(entry & COPIED and entry & OFFSET and not entry & COMPRESSED)

    def _fill(
        self, index: int, start: int, data: memoryview, old: list[int], first: int, got: int, fresh: bool
    ) -> None:
        """Write `data` at byte `start` of new clusters, and around it what they held before."""
        cluster = self._cluster
        end = start + len(data)
        head = self._old(index, old[0], 0, start) if start else b""
        tail_start = end & self._mask
        tail = self._old(index + got - 1, old[got - 1], tail_start, cluster - tail_start) if tail_start else b""
        place = first << self._bits
        if fresh:
            # A hole reads as zeros already.
            head, tail = head or b"", tail or b""
        else:
            head = bytes(start) if head is None else head
            tail = bytes(cluster - tail_start) if tail is None else tail
        if not head and not tail:
            self.file.write(place + start, data)
        else:
            lead = len(head) if head else 0
            self.file.write(place + start - lead, b"".join((head, data, tail)))

    def _old(self, index: int, entry: int, start: int, length: int) -> bytes | None:
        """What a cluster held, or None for zeros."""
        if entry == 0 and self.bare:
            return None
        if entry & ZERO and not entry & COMPRESSED:
            return None
        # The disk may end inside its last cluster.
        return self._read_one(index, start, length)

    def _write_reserved(self, index: int, start: int, view: memoryview, entry: int) -> int:
        """A zero cluster that keeps its place in the file: nobody sees that place before the entry changes."""
        self._check(index, entry)
        host = (entry & OFFSET) >> self._bits
        self.tables.check_data(host)
        self.tables.used(host)
        self.tables.fresh = max(self.tables.fresh, host + 1)
        count = min(len(view), self._cluster - start)
        self.file.write(
            host << self._bits, b"".join((bytes(start), view[:count], bytes(self._cluster - start - count)))
        )
        self.tables.own_l2(index >> self._l2_bits)[index & self._l2_mask] = host << self._bits | COPIED
        return count

    def _releasable(self, index: int, entry: int) -> None:
        """Raises ImageError if the cluster of an entry could not be given up."""
        if entry & COMPRESSED:
            offset, size = self.tables.span(entry)
            for cluster in range(offset >> self._bits, (offset + size - 1 >> self._bits) + 1):
                if self.tables.within(cluster << self._bits):
                    self.tables.used(cluster)
        elif entry:
            self._check(index, entry)
            if entry & OFFSET:
                self.tables.used((entry & OFFSET) >> self._bits)

    def _release(self, entry: int) -> None:
        """Give up the cluster (or clusters) of an entry."""
        if entry & COMPRESSED:
            offset, size = self.tables.span(entry)
            last = offset + size - 1 >> self._bits
            for cluster in range(offset >> self._bits, last + 1):
                # Rounding up to sectors may reach into a cluster that is not there.
                if cluster == offset >> self._bits or self.tables.count(cluster):
                    self.tables.release(cluster)
            if self._packed >> self._bits <= last:
                self._packed = 0
        elif entry & OFFSET:
            self.tables.release((entry & OFFSET) >> self._bits)

    def _map(self, index: int, old: list[int], first: int) -> None:
        """Let guest clusters from `index` on be host clusters from `first` on."""
        at = index & self._l2_mask
        table = self.tables.own_l2(index >> self._l2_bits)
        if not any(old):
            start = first << self._bits | COPIED
            table[at : at + len(old)] = array("Q", range(start, start + (len(old) << self._bits), self._cluster))
            return
        for number, entry in enumerate(old):
            self._release(entry)
            table[at + number] = first + number << self._bits | COPIED

    def write_compressed(self, offset: int, data: bytes) -> None:
        """Store one whole cluster compressed, or plain where that does not make it smaller."""
        if offset & self._mask or len(data) != self._cluster:
            raise OSError(errno.EINVAL, "only whole clusters can be compressed", self.path)
        with self._lock:
            self._begin()
            if self.header.compression == ZSTD:
                packed = self.zstd.compress(data)
            else:
                squeeze = zlib.compressobj(9, zlib.DEFLATED, -12)
                packed = squeeze.compress(data) + squeeze.flush()
            index = offset >> self._bits
            old = self._entry(index)
            if len(packed) >= self._cluster or old:
                self.write(offset, data)
                return
            place = self._take_bytes(len(packed))
            self.file.write(place, packed)
            shift = 62 - (self._bits - 8)
            sectors = (place + len(packed) - 1 >> 9) - (place >> 9)
            table = self.tables.own_l2(index >> self._l2_bits)
            table[index & self._l2_mask] = COMPRESSED | sectors << shift | place

    def _take_bytes(self, length: int) -> int:
        """Room for compressed data, behind the last where it fits."""
        tables = self.tables
        room = -self._packed & self._mask if self._packed else 0
        last = self._packed >> self._bits
        if room and tables.count(last) >= tables.most:
            room = 0
        if room < length:
            cluster = tables.allocate(1)[0]
            if not (room and cluster == last + 1):
                self._packed, room = cluster << self._bits, 0
            place = self._packed
            if room:
                tables.set_count(last, tables.count(last) + 1)
        else:
            place = self._packed
            tables.set_count(last, tables.count(last) + 1)
        self._packed = place + length
        return place

    # -- zeros, discard, size

    def write_zeroes(self, offset: int, length: int, unmap: bool = False) -> None:
        check_range(self.size, offset, length)
        with self._lock:
            self._begin()
            self._clear(offset, length, unmap and self.give_back, exact=True)

    def discard(self, offset: int, length: int) -> None:
        check_range(self.size, offset, length)
        with self._lock:
            self._begin()
            if self.give_back and (self.bare or self.header.version >= 3):
                # Version 2 has no way to hide a backing file but to store zeros.
                self._clear(offset, length, unmap=True, exact=False)

    def _clear(self, offset: int, length: int, unmap: bool, exact: bool) -> None:
        """Zeros, without room in the file where `unmap`. What is not a whole cluster only if `exact`."""
        end = offset + length
        while offset < end:
            index, start = offset >> self._bits, offset & self._mask
            count = min(end - offset, self._cluster - start)
            table = self.tables.l2_table(index >> self._l2_bits)
            if table is None and self.bare:
                # Nothing is mapped up to where the next table begins.
                offset = min(end, ((index >> self._l2_bits) + 1) << self._l2_bits + self._bits)
                continue
            if start == 0 and (count == self._cluster or offset + count == self.size):
                self._clear_cluster(index, unmap)
            elif exact:
                entry = self._entry(index)
                if not (entry == 0 and self.bare) and not (entry & ZERO and not entry & COMPRESSED):
                    self.write(offset, bytes(count))
            offset += count

    def _clear_cluster(self, index: int, unmap: bool) -> None:
        entry = self._entry(index)
        if entry == 0 and self.bare:
            return
        if self.header.version < 3:
            if not (unmap and self.bare):
                self.write(index << self._bits, bytes(min(self._cluster, self.size - (index << self._bits))))
                return
            new = 0
        elif unmap:
            new = 0 if self.bare else ZERO
        elif self._in_place(entry):
            new = entry | ZERO
        else:
            new = ZERO
        if new == entry or (new == ZERO and entry & ZERO and not unmap):
            return
        self._releasable(index, entry)
        table = self.tables.own_l2(index >> self._l2_bits)
        if not new & OFFSET:
            self._release(entry)
        table[index & self._l2_mask] = new

    def _freed(self, clusters: list[int]) -> None:
        if not self.give_back or not clusters:
            return
        clusters.sort()
        start = last = clusters[0]
        for cluster in [*clusters[1:], -1]:
            if cluster != last + 1:
                try:
                    self.file.punch(start << self._bits, last + 1 - start << self._bits)
                except OSError:
                    # Nothing is lost but room, and the commit itself is done.
                    return
                start = cluster
            last = cluster

    def make_empty(self) -> None:
        """Unmap everything: the disk reads like its backing file. Stable when it returns."""
        with self._lock:
            self._begin()
            for index, entry in enumerate(self.tables.l1):
                table = self.tables.l2_table(index) if entry else None
                if table is None:
                    continue
                for at, one in enumerate(table):
                    if one:
                        self._releasable((index << self._l2_bits) + at, one)
                for one in table:
                    if one:
                        self._release(one)
                self.tables.drop_l2(index)
            self.flush()

    def resize(self, size: int) -> None:
        """Change the disk's size (a multiple of 512); what is cut off is lost. Stable when it returns."""
        if size % 512 or size < 0 or size > 1 << 62:
            raise OSError(errno.EINVAL, f"a disk of {size} bytes is not possible", self.path)
        with self._lock:
            self._begin()
            if self.snapshots:
                raise OSError(errno.ENOTSUP, "an image with internal snapshots keeps its size", self.path)
            entries = -(-size // (self._cluster << self._l2_bits))
            if entries * 8 > 32 << 20:
                raise OSError(errno.EFBIG, f"{size} bytes need a larger L1 table than 32 MiB", self.path)
            if size < self.size:
                start = -(-size // self._cluster) * self._cluster
                if start < self.size:
                    self._clear(start, self.size - start, unmap=True, exact=True)
                if size & self._mask:
                    # Growing again must show zeros.
                    rest = min(self.size, start) - size
                    self._clear(size, rest, unmap=False, exact=True)
            elif self.size & self._mask:
                self._grow_into(self.size, min(size, -(-self.size // self._cluster) * self._cluster))
            if entries > len(self.tables.l1):
                self.tables.l1.frombytes(bytes((entries - len(self.tables.l1)) * 8))
                self.tables.l1_changed = True
            self.tables.changed = True
            self.size = self.header.size = size
            self.flush()

    def _grow_into(self, old: int, new: int) -> None:
        """The rest of the last cluster, which may hold anything, becomes zeros."""
        self.size, before = new, self.size
        try:
            self._clear(old, new - old, unmap=False, exact=True)
        finally:
            self.size = before

    # -- the rest

    def flush(self) -> None:
        with self._lock:
            if self._closed:
                raise OSError(errno.EBADF, "the disk image is closed", self.path)
            if not self._read_only:
                self.tables.commit()

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        check_range(self.size, offset, length)
        end = offset + length
        pending: Extent | None = None
        while offset < end:
            index, start = offset >> self._bits, offset & self._mask
            count = min(end - offset, self._cluster - start)
            for one in self._extent(index, offset, count, end):
                offset = one.offset + one.length
                if pending is not None and _joins(pending, one):
                    pending = Extent(
                        pending.offset,
                        pending.length + one.length,
                        one.data,
                        one.allocated,
                        pending.host,
                        one.compressed,
                        one.depth,
                    )
                else:
                    if pending is not None:
                        yield pending
                    pending = one
        if pending is not None:
            yield pending

    def _extent(self, index: int, offset: int, count: int, end: int) -> Iterator[Extent]:
        with self._lock:
            table = self.tables.l2_table(index >> self._l2_bits)
            entry = table[index & self._l2_mask] if table is not None else 0
        if entry == 0:
            if table is None:
                edge = ((index >> self._l2_bits) + 1) << self._l2_bits + self._bits
                count = min(end, edge) - offset
            if self.backing is None:
                yield Extent(offset, count, False, False)
                return
            held = max(0, min(count, self.backing.size - offset))
            if held:
                for e in self.backing.extents(offset, held):
                    yield Extent(e.offset, e.length, e.data, e.allocated, e.host, e.compressed, e.depth + 1)
            if held < count:
                yield Extent(offset + held, count - held, False, False)
        elif entry & COMPRESSED:
            yield Extent(offset, count, True, True, None, True)
        elif entry & ZERO:
            self._check(index, entry)
            yield Extent(
                offset, count, False, True, (entry & OFFSET) + (offset & self._mask) if entry & OFFSET else None
            )
        else:
            self._check(index, entry)
            yield Extent(offset, count, True, True, (entry & OFFSET) + (offset & self._mask))

    def close(self) -> None:
        """Make everything stable, then close the file and the backing file; twice is harmless."""
        with self._lock:
            if self._closed:
                return
            try:
                if not self._read_only and self.tables.failed is None and (self.tables.changed or self._packed):
                    self.tables.commit()
                    odd = self.file.length() % 512
                    if odd:
                        # Compressed data counts in sectors.
                        self.file.truncate(self.file.length() + 512 - odd)
            finally:
                self._closed = True
                self.file.close()
                if self.backing is not None:
                    self.backing.close()


def _joins(first: Extent, second: Extent) -> bool:
    """True if two extents in a row are one."""
    if (first.data, first.allocated, first.compressed, first.depth) != (
        second.data,
        second.allocated,
        second.compressed,
        second.depth,
    ):
        return False
    if first.host is None or second.host is None:
        return first.host is second.host
    return second.host == first.host + first.length
