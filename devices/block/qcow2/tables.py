"""The mapping of a qcow2 image and its reference counts, and how they change without ever being wrong in the file.

What the header points to is never written. The first change to a table (L2 table, block of reference counts) since the
last commit gives it a new cluster, free in the file's state; its old one may not be used again before the next commit.
A commit writes the tables that changed, a new L1 table and a new reference count table, waits until they and all data
are stable, and then replaces the pointers in the header by one write inside one sector. So the file has at every moment
the state of one commit, with exact reference counts: no repair, no leaks, neither after a killed process nor after a
power cut. Data of clusters that the last commit already maps are written in place, as on any disk.

Source: QEMU's qcow2 format description, "Host cluster management" and "Cluster mapping".
"""

from __future__ import annotations

import errno
import struct
import sys
from array import array
from collections.abc import Callable, Iterator, Mapping

from devices.block.qcow2.header import (
    BITMAPS,
    BITMAPS_EXTENSION,
    CORRUPT,
    LARGEST_REFTABLE,
    MOST_BITMAPS,
    POINTERS,
    Header,
    Snapshot,
)
from devices.block.storage import ImageError, Storage

COPIED, COMPRESSED, ZERO = 1 << 63, 1 << 62, 1
OFFSET = 0x00FF_FFFF_FFFF_FE00
RESERVED_L1 = 0x7F00_0000_0000_01FF
L2_CACHE, BLOCK_CACHE = 16 << 20, 4 << 20
"""Bytes of tables kept in memory."""
MOST_CHECKED = 1 << 19
"""L1 entries beyond which an image's L2 tables are not looked at before the first write."""

_WIDTHS = {3: "B", 4: "H", 5: "I", 6: "Q"}
_SWAP = sys.byteorder == "little"


def words(data: bytes) -> array[int]:
    """Big-endian 64-bit numbers."""
    out = array("Q", data)
    if _SWAP:
        out.byteswap()
    return out


def octets(table: array[int]) -> bytes:
    """The inverse of `words`, for counts of 16, 32 and 64 bits too."""
    if not _SWAP or table.itemsize == 1:
        return table.tobytes()
    copy = table[:]
    copy.byteswap()
    return copy.tobytes()


def unpack_counts(data: bytes, order: int) -> array[int]:
    """A block of reference counts of 2**order bits, one element each."""
    if order >= 3:
        out = array(_WIDTHS[order], data)
        if _SWAP:
            out.byteswap()
        return out
    width, per = 1 << order, 8 >> order
    spread = bytearray(len(data) * per)
    for k in range(per):
        spread[k::per] = data.translate(bytes(x >> k * width & (1 << width) - 1 for x in range(256)))
    return array("B", bytes(spread))


def pack_counts(counts: array[int], order: int) -> bytes:
    """The inverse of `unpack_counts`."""
    if order >= 3:
        return octets(counts)
    width, per = 1 << order, 8 >> order
    data, size = counts.tobytes(), len(counts) // per
    # The counts fit their width, so shifted ones never reach the next byte.
    total = 0
    for k in range(per):
        total |= int.from_bytes(data[k::per], "little") << k * width
    return total.to_bytes(size, "little")


def find_bitmaps(header: Header, file: Storage) -> Iterator[int]:
    """The clusters of persistent bitmaps: directory, tables, data. Raises ImageError."""
    bits, length = header.cluster_bits, file.length()

    def clusters(what: str, offset: int, size: int) -> range:
        if offset & (1 << bits) - 1 or offset + size > (length + (1 << bits) - 1) >> bits << bits:
            raise ImageError("qcow2 bitmaps", what, f"{offset:#x} with {size} bytes is misaligned or outside the file")
        return range(offset >> bits, (offset + size + (1 << bits) - 1) >> bits)

    for kind, data in header.extensions:
        if kind != BITMAPS_EXTENSION:
            continue
        if len(data) < 24:
            raise ImageError("qcow2 bitmaps", "header extension", f"has {len(data)} bytes, not 24")
        number, _, size, offset = struct.unpack_from(">IIQQ", data)
        if not 0 < number <= MOST_BITMAPS or size > 1024 * MOST_BITMAPS:
            raise ImageError("qcow2 bitmaps", "header extension", f"{number} bitmaps, {size} bytes")
        yield from clusters("directory", offset, size)
        directory = file.read(offset, size)
        at = 0
        for one in range(number):
            if at + 24 > size:
                raise ImageError("qcow2 bitmaps", "directory", f"ends in entry {one}")
            table, entries, _, _, _, name, extra = struct.unpack_from(">QIIBBHI", directory, at)
            at += -(-(24 + name + extra) // 8) * 8
            yield from clusters(f"table {one}", table, entries * 8)
            for entry in words(file.read(table, entries * 8)):
                if entry & OFFSET:
                    yield from clusters(f"data of bitmap {one}", entry & OFFSET, 1)


class Tables:
    """L1 and L2 tables and reference counts of one open image. Cluster numbers count from the start of the file."""

    def __init__(self, file: Storage, header: Header, snapshots: list[Snapshot], shown: Snapshot | None = None) -> None:
        self.file = file
        self.header = header
        self.snapshots = snapshots
        self.bits = header.cluster_bits
        self.cluster = header.cluster
        self.l2_bits = self.bits - 3
        order = header.refcount_order
        self.order = order
        self.per_block = self.cluster * 8 >> order
        self.most = (1 << (1 << order)) - 1
        """The largest reference count."""
        l1_offset, l1_size = (shown.l1_offset, shown.l1_size) if shown else (header.l1_offset, header.l1_size)
        self.l1 = words(file.read(l1_offset, l1_size * 8))
        self._reftable: array[int] | None = None
        self.end = file.length()
        """Bytes in the file when last asked."""
        self.fresh = -(-self.end // self.cluster)
        """Clusters from here on were never written: they are holes."""
        self.l2: dict[int, array[int]] = {}
        self._l2_dirty: set[int] = set()
        self._l2_moved: set[int] = set()
        self._l2_room = max(4, L2_CACHE // self.cluster)
        self._blocks: dict[int, array[int]] = {}
        self._blocks_dirty: set[int] = set()
        self._blocks_moved: set[int] = set()
        self._placing: set[int] = set()
        self._block_room = max(4, BLOCK_CACHE // (self.per_block * (1 << max(0, order - 3))))
        self.l1_changed = False
        self.changed = False
        """The next commit has something to do."""
        self.quarantine: set[int] = set()
        """Free in the new state, used by the one in the file."""
        self.meta: set[int] = set()
        """Clusters of tables; no data may be written there."""
        self._checked = False
        self.hint = 0
        """Where the search for free clusters goes on."""
        self._spare: list[int] = []
        self._spare_later: list[int] = []
        self.failed: OSError | None = None
        self.freed_data: list[int] = []
        """Clusters of data that the next commit frees, for the host to have back."""

    # -- reading

    def l2_table(self, index: int) -> array[int] | None:
        """The L2 table of an L1 index, or None where there is none. Raises ImageError."""
        table = self.l2.get(index)
        if table is None and self.l1[index]:
            table = self._load_l2(index)
        return table

    def _load_l2(self, index: int) -> array[int]:
        entry = self.l1[index]
        offset = self.check_l1(index, entry)
        table = words(self.file.read(offset, self.cluster))
        self._remember_l2(index, table)
        return table

    def check_l1(self, index: int, entry: int) -> int:
        """The place of an L2 table. Raises ImageError."""
        offset = entry & OFFSET
        if entry & RESERVED_L1:
            raise self._wrong("L1 table", index, f"{entry:#x} has reserved bits")
        if offset % self.cluster or not self.within(offset) or offset == 0:
            raise self._wrong("L1 table", index, f"an L2 table at {offset:#x} is misaligned or outside the file")
        return offset

    def within(self, offset: int) -> bool:
        """True if a cluster at `offset` is in the file, which may have grown."""
        if offset < self.end:
            return True
        self.end = max(self.end, self.file.length())
        return offset < self.end

    @staticmethod
    def _wrong(structure: str, index: int, why: str) -> ImageError:
        return ImageError(f"qcow2 {structure}", f"entry {index}", why)

    def _remember_l2(self, index: int, table: array[int]) -> None:
        if len(self.l2) >= self._l2_room:
            oldest = next(iter(self.l2))
            if self._saved(oldest, self._l2_dirty, self._write_l2):
                del self.l2[oldest]
        self.l2[index] = table

    @staticmethod
    def _saved(index: int, dirty: set[int], write: Callable[[int], None]) -> bool:
        """Write a changed table before it is forgotten. Where the host cannot now, it stays until a commit says so."""
        try:
            if index in dirty:
                write(index)
        except OSError:
            return False
        return True

    def _write_l2(self, index: int) -> None:
        self.file.write(self.l1[index] & OFFSET, octets(self.l2[index]))
        self._l2_dirty.discard(index)

    @property
    def reftable(self) -> array[int]:
        """Where the blocks of reference counts are."""
        if self._reftable is None:
            h = self.header
            self._reftable = words(self.file.read(h.reftable_offset, h.reftable_clusters * self.cluster))
        return self._reftable

    def block(self, index: int) -> array[int]:
        """A block of reference counts; zeros where there is none. Raises ImageError."""
        counts = self._blocks.get(index)
        if counts is not None:
            return counts
        offset = self.reftable[index] if index < len(self.reftable) else 0
        if offset == 0:
            counts = array(_WIDTHS.get(self.order, "B"), bytes(self.per_block << max(0, self.order - 3)))
        else:
            self.check_block(index, offset)
            counts = unpack_counts(self.file.read(offset, self.cluster), self.order)
        if len(self._blocks) >= self._block_room:
            oldest = next((i for i in self._blocks if i not in self._blocks_dirty or self._placed(i)), None)
            if oldest is not None and self._saved(oldest, self._blocks_dirty, self._write_block):
                del self._blocks[oldest]
        self._blocks[index] = counts
        return counts

    def check_block(self, index: int, offset: int) -> None:
        """Raises ImageError unless a block of reference counts can be at `offset`."""
        if offset & 0x1FF or offset % self.cluster or not self.within(offset):
            raise self._wrong("refcount table", index, f"a block at {offset:#x} is misaligned or outside the file")

    def _placed(self, index: int) -> bool:
        """True if a block may be written: it has a place that the file's state does not use."""
        return index in self._blocks_moved and index not in self._placing

    def _write_block(self, index: int) -> None:
        self.file.write(self.reftable[index], pack_counts(self._blocks[index], self.order))
        self._blocks_dirty.discard(index)

    def count(self, cluster: int) -> int:
        """How often a cluster is used, by the image's own count."""
        index, at = divmod(cluster, self.per_block)
        return self.block(index)[at]

    def span(self, entry: int) -> tuple[int, int]:
        """Place and size in bytes of a compressed cluster's data; the size is rounded up to sectors."""
        shift = 62 - (self.bits - 8)
        offset = entry & (1 << shift) - 1
        sectors = (entry >> shift & (1 << 62 - shift) - 1) + 1
        return offset, sectors * 512 - (offset & 511)

    # -- changing

    def begin(self) -> None:
        """Before the first change: look at the tables that changes rely on, and drop what other programs kept about
        the contents. Raises ImageError without having changed anything."""
        if self.failed is not None:
            raise OSError(self.failed.errno, f"an earlier change of the image failed: {self.failed.strerror}")
        if self._checked:
            return
        h = self.header
        if h.incompatible & CORRUPT:
            raise ImageError("qcow2 header", "incompatible_features (byte 0x48)", "the image is marked corrupt")
        owners: dict[int, str] = {0: "header"}

        def claim(offset: int, size: int, owner: str) -> None:
            for at in range(offset >> self.bits, -(-(offset + size) // self.cluster)):
                if at in owners:
                    raise ImageError(f"qcow2 {owner}", f"cluster {at << self.bits:#x}", f"is also the {owners[at]}")
                owners[at] = owner

        claim(h.l1_offset, len(self.l1) * 8, "L1 table")
        claim(h.reftable_offset, h.reftable_clusters * self.cluster, "refcount table")
        if h.snapshots:
            size = sum(-(-len(s.record) // 8) * 8 for s in self.snapshots)
            claim(h.snapshots_offset, size, "snapshot table")
        for index, offset in enumerate(self.reftable):
            if offset:
                self.check_block(index, offset)
                claim(offset, 1, f"refcount block {index}")
        used = [(i, e) for i, e in enumerate(self.l1) if e] if len(self.l1) <= MOST_CHECKED else []
        for index, entry in used:
            offset = self.check_l1(index, entry)
            claim(offset, 1, f"L2 table of L1 entry {index}")
        for number, snapshot in enumerate(self.snapshots):
            claim(snapshot.l1_offset, snapshot.l1_size * 8, f"L1 table of snapshot {number}")
        bitmaps = list(find_bitmaps(h, self.file)) if h.autoclear & BITMAPS else []
        self.meta = set(owners)
        self._checked = True
        if h.autoclear:
            # Other programs' notes about the contents are void from the first write on, and their room is free.
            h.autoclear = 0
            for cluster in bitmaps:
                if self.count(cluster):
                    self.release(cluster)
            self.changed = True
            self.commit()

    def check_data(self, cluster: int) -> None:
        """Raises ImageError if a cluster of data is one of the tables."""
        if cluster in self.meta:
            raise ImageError("qcow2 L2 table", f"cluster {cluster << self.bits:#x}", "holds a table, not data")

    def _own_block(self, index: int) -> bool:
        """Make a block of reference counts one that may be written; True if it had to move."""
        if index in self._blocks_moved:
            return False
        if index >= len(self.reftable):
            wanted = max(index + 1, len(self.reftable) + self.cluster // 8)
            if wanted * 8 > LARGEST_REFTABLE:
                raise OSError(errno.EFBIG, "the image would need a larger refcount table than 8 MiB", self.file.path)
            self.reftable.frombytes(bytes((wanted - len(self.reftable)) * 8))
        self.block(index)
        self._blocks_moved.add(index)
        self._placing.add(index)
        self.changed = True
        old = self.reftable[index]
        try:
            # From now on the block counts as one that may be changed: its new place may be one that it counts itself.
            cluster = self._take_one()
            self.reftable[index] = cluster << self.bits
        except OSError:
            self._blocks_moved.discard(index)
            raise
        finally:
            self._placing.discard(index)
        self._blocks_dirty.add(index)
        self.meta.add(cluster)
        if old:
            self.release(old >> self.bits, table=True)
        return True

    def set_count(self, cluster: int, value: int) -> None:
        """Change a reference count."""
        index, at = divmod(cluster, self.per_block)
        self._own_block(index)
        self.block(index)[at] = value
        self._blocks_dirty.add(index)

    def _next_free(self, start: int) -> int:
        index, at = divmod(start, self.per_block)
        while True:
            if index >= len(self.reftable) or (not self.reftable[index] and index not in self._blocks):
                return index * self.per_block + at
            counts = self.block(index)
            while True:
                try:
                    at = counts.index(0, at)
                except ValueError:
                    break
                cluster = index * self.per_block + at
                if cluster not in self.quarantine:
                    return cluster
                at += 1
                if at >= self.per_block:
                    break
            index, at = index + 1, 0

    def allocate(self, most: int, start: int | None = None) -> tuple[int, int]:
        """Take one to `most` clusters in a row: first, how many."""
        while True:
            cluster = self._next_free(self.hint if start is None else start)
            index, at = divmod(cluster, self.per_block)
            if self._own_block(index):
                # Its new place may have been the one that was found.
                continue
            counts = self.block(index)
            top = min(most, self.per_block - at)
            count = 1
            while count < top and counts[at + count] == 0 and cluster + count not in self.quarantine:
                count += 1
            if not self.meta.isdisjoint(range(cluster, cluster + count)):
                raise ImageError(
                    "qcow2 refcount block", f"cluster {cluster << self.bits:#x}", "a table counted as free"
                )
            counts[at : at + count] = array(counts.typecode, [1]) * count
            self._blocks_dirty.add(index)
            self.changed = True
            self.fresh = max(self.fresh, cluster + count)
            if start is None:
                self.hint = cluster + count
            return cluster, count

    def _take_one(self) -> int:
        """A cluster for a table: one that a table left, if there is any."""
        while self._spare:
            cluster = self._spare.pop()
            index, at = divmod(cluster, self.per_block)
            if index not in self._blocks_moved:
                # Owning the block may take the cluster.
                self._own_block(index)
            if self.block(index)[at] == 0 and cluster not in self.quarantine:
                self.block(index)[at] = 1
                self._blocks_dirty.add(index)
                return cluster
        return self.allocate(1)[0]

    def take_row(self, count: int) -> int:
        """Exactly `count` clusters in a row."""
        if count == 1:
            return self._take_one()
        start = self.hint
        while True:
            cluster, got = self.allocate(count, start)
            while got < count:
                more, extra = self.allocate(count - got, cluster + got)
                if more != cluster + got:
                    for at in (*range(cluster, cluster + got), *range(more, more + extra)):
                        self.set_count(at, 0)
                    start = more
                    break
                got += extra
            else:
                return cluster

    def used(self, cluster: int) -> int:
        """The reference count of a cluster that is in use. Raises ImageError if it is 0."""
        value = self.count(cluster)
        if value == 0:
            raise ImageError("qcow2 refcount block", f"cluster {cluster << self.bits:#x}", "in use but counted as free")
        return value

    def release(self, cluster: int, table: bool = False) -> None:
        """One use less. Raises ImageError if there was none."""
        value = self.used(cluster)
        self._own_block(cluster // self.per_block)
        if value == 1:
            self.quarantine.add(cluster)
            if table:
                self.meta.discard(cluster)
                self._spare_later.append(cluster)
            else:
                self.freed_data.append(cluster)
        self.set_count(cluster, value - 1)

    def own_l2(self, index: int) -> array[int]:
        """The L2 table of an L1 index, ready to be changed at once: nothing else may be done with tables before."""
        self.changed = True
        if index not in self._l2_moved:
            old = self.l1[index]
            if old:
                self.used(self.check_l1(index, old) >> self.bits)
            if self.l2_table(index) is None:
                self._remember_l2(index, array("Q", bytes(self.cluster)))
            cluster = self._take_one()
            self._l2_dirty.add(index)
            self._l2_moved.add(index)
            self.l1[index] = cluster << self.bits | COPIED
            self.l1_changed = True
            self.meta.add(cluster)
            if old:
                self.release((old & OFFSET) >> self.bits, table=True)
        found = self.l2.get(index)
        if found is None:
            found = self._load_l2(index)
        self._l2_dirty.add(index)
        return found

    def drop_l2(self, index: int) -> None:
        """Forget an L2 table whose entries were released."""
        entry, self.l1[index] = self.l1[index], 0
        self.l1_changed = self.changed = True
        self.l2.pop(index, None)
        self._l2_dirty.discard(index)
        self._l2_moved.discard(index)
        self.release((entry & OFFSET) >> self.bits, table=True)

    def commit(self) -> None:
        """Make the present state the one in the file, and stable."""
        if self.failed is not None:
            raise OSError(self.failed.errno, f"an earlier change of the image failed: {self.failed.strerror}")
        if not self.changed:
            self.file.flush()
            return
        h = self.header
        if self.l1_changed and self.l1:
            count = -(-len(self.l1) * 8 // self.cluster)
            old = range(h.l1_offset >> self.bits, (h.l1_offset >> self.bits) + -(-h.l1_size * 8 // self.cluster))
            new = self.take_row(count)
            h.l1_offset, h.l1_size = new << self.bits, len(self.l1)
            self.meta.update(range(new, new + count))
            if old.start:
                for cluster in old:
                    self.release(cluster, table=True)
        for index in sorted(self._blocks_dirty - self._blocks_moved):
            self._own_block(index)
        self._place_reftable()
        for index in sorted(self._l2_dirty):
            self._write_l2(index)
        for index in sorted(self._blocks_dirty):
            self._write_block(index)
        if self.l1_changed:
            self.file.write(h.l1_offset, octets(self.l1))
        self.file.write(h.reftable_offset, octets(self.reftable))
        self.file.flush()
        try:
            self.file.write(POINTERS, h.pointers())
            self.file.flush()
        except OSError as error:
            # Which of the two states is in the file is not known any more.
            self.failed = error
            raise
        self.changed = self.l1_changed = False
        self._l2_moved.clear()
        self._blocks_moved.clear()
        freed, self.freed_data = self.freed_data, []
        self.quarantine.clear()
        self._spare += self._spare_later
        del self._spare[:-64]
        self._spare_later = []
        if freed:
            self.hint = min(self.hint, min(freed))
        self.freed(freed)

    def freed(self, clusters: list[int]) -> None:
        """Told which clusters of data became free with a commit."""

    def _place_reftable(self) -> None:
        h = self.header
        old = range(h.reftable_offset >> self.bits, (h.reftable_offset >> self.bits) + h.reftable_clusters)
        if old.start:
            for cluster in old:
                self.release(cluster, table=True)
        while True:
            count = -(-len(self.reftable) * 8 // self.cluster)
            new = self.take_row(count)
            # Counting these clusters may have needed a longer table.
            if -(-len(self.reftable) * 8 // self.cluster) == count:
                break
            for cluster in range(new, new + count):
                self.set_count(cluster, 0)
        h.reftable_offset, h.reftable_clusters = new << self.bits, count
        self.meta.update(range(new, new + count))
        spare = count * self.cluster // 8 - len(self.reftable)
        self.reftable.frombytes(bytes(spare * 8))

    # -- repair

    def rebuild(self, uses: Mapping[int, int]) -> None:
        """Forget all reference counts; from now on each cluster has as many as `uses` says.

        The old table and blocks stay untouched in the file until the commit.
        """
        h = self.header
        old = set(range(h.reftable_offset >> self.bits, (h.reftable_offset >> self.bits) + h.reftable_clusters))
        old |= {offset >> self.bits for offset in self.reftable if offset}
        top = max(max(uses, default=0), self.fresh) // self.per_block + 1
        if top * 8 > LARGEST_REFTABLE:
            raise OSError(errno.EFBIG, "the image would need a larger refcount table than 8 MiB", self.file.path)
        length = -(-top * 8 // self.cluster) * self.cluster // 8
        self._reftable = array("Q", bytes(length * 8))
        self._blocks.clear()
        self._blocks_dirty.clear()
        self._blocks_moved.clear()
        self._spare.clear()
        self.hint = 0
        self._block_room = max(self._block_room, top + 8)
        kept = {cluster: number for cluster, number in uses.items() if cluster not in old}
        for cluster, number in kept.items():
            index, at = divmod(cluster, self.per_block)
            self.block(index)[at] = number
            self._blocks_dirty.add(index)
        self.quarantine |= old
        self.meta |= old
        h.reftable_offset = h.reftable_clusters = 0
        self._checked = True
        self.changed = True
        for index in sorted(self._blocks_dirty):
            self._own_block(index)
