"""What the tables of a qcow2 image add up to: each cluster's uses against its reference count, and its repair.

Uses are counted as QEMU counts them: the header, the tables, every cluster of the active mapping and of each
snapshot's, each compressed cluster once for every cluster that it touches, and the bitmaps.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field

from devices.block.qcow2.header import BITMAPS, CORRUPT, DIRTY
from devices.block.qcow2.image import RESERVED_L2, Qcow2
from devices.block.qcow2.tables import COMPRESSED, COPIED, OFFSET, RESERVED_L1, ZERO, Tables, find_bitmaps, words
from devices.block.storage import ImageError

__all__ = ["Report", "check", "repair"]

MOST_LINES = 100


@dataclass
class Report:
    """What a check found."""

    corruptions: int = 0
    leaks: int = 0
    repaired: int = 0
    lines: list[str] = field(default_factory=list)
    allocated: int = 0
    """Clusters of the active mapping that hold data."""
    compressed: int = 0
    fragmented: int = 0
    total: int = 0
    end: int = 0
    """The first byte behind the last cluster in use."""
    uses: Counter[int] = field(default_factory=Counter)
    flags: list[tuple[int, int]] = field(default_factory=list)
    """L2 entries (table, entry) of the active mapping whose flag for a single use is wrong."""
    l1_flags: list[int] = field(default_factory=list)

    def say(self, text: str) -> None:
        """A line of the report; only the first hundred are kept."""
        if len(self.lines) < MOST_LINES:
            self.lines.append(text)

    def corrupt(self, text: str) -> None:
        """Something that is wrong, not only wasteful."""
        self.corruptions += 1
        self.say(f"ERROR {text}")


class _Counting:
    """One pass over everything that uses clusters."""

    def __init__(self, image: Qcow2) -> None:
        self.image = image
        self.tables: Tables = image.tables
        self.file = image.file
        self.bits, self.cluster = image.header.cluster_bits, image.header.cluster
        self.length = image.file.length()
        self.report = Report(total=-(-image.header.size // self.cluster))

    def inside(self, offset: int) -> bool:
        return offset < self.length

    def use(self, offset: int, size: int, weight: int = 1) -> None:
        for cluster in range(offset >> self.bits, -(-(offset + size) // self.cluster)):
            self.report.uses[cluster] += weight

    def run(self) -> Report:
        header, report = self.image.header, self.report
        self.use(0, 1)
        self.use(header.l1_offset, header.l1_size * 8)
        self.use(header.reftable_offset, header.reftable_clusters * self.cluster)
        for index, offset in enumerate(self.tables.reftable):
            if not offset:
                continue
            if offset % self.cluster or not self.inside(offset):
                report.corrupt(
                    f"refcount table entry {index}: a block at {offset:#x} is misaligned or outside the file"
                )
            else:
                self.use(offset, 1)
        if header.snapshots:
            size = sum(-(-len(s.record) // 8) * 8 for s in self.image.snapshots)
            self.use(header.snapshots_offset, size)
        found: Counter[int] = Counter()
        active = words(self.file.read(header.l1_offset, header.l1_size * 8))
        self.collect("L1 table", active, found)
        for snapshot in self.image.snapshots:
            self.use(snapshot.l1_offset, snapshot.l1_size * 8)
            table = words(self.file.read(snapshot.l1_offset, snapshot.l1_size * 8))
            self.collect(f"L1 table of snapshot {snapshot.id}", table, found)
        own = {entry & OFFSET: index for index, entry in enumerate(active) if entry}
        for offset, weight in found.items():
            self.use(offset, self.cluster, weight)
            self.l2(offset, weight, own.get(offset))
        self.bitmaps()
        self.compare(active)
        report.end = (max(report.uses, default=0) + 1) << self.bits
        return report

    def collect(self, name: str, l1: array[int], found: Counter[int]) -> None:
        seen: set[int] = set()
        for index, entry in enumerate(l1):
            if not entry:
                continue
            offset = entry & OFFSET
            if entry & RESERVED_L1 or offset % self.cluster or not self.inside(offset) or not offset:
                self.report.corrupt(f"{name} entry {index}: {entry:#x} is misaligned, reserved or outside the file")
            elif offset in seen:
                self.report.corrupt(f"{name} entry {index}: shares the L2 table at {offset:#x} with another")
            else:
                seen.add(offset)
                found[offset] += 1

    def l2(self, offset: int, weight: int, index: int | None) -> None:
        """Count what one L2 table uses. `index`: its L1 index in the active mapping."""
        report, uses, bits = self.report, self.report.uses, self.bits
        odd = RESERVED_L2 | COMPRESSED | (self.cluster - 1)
        table = words(self.file.read(offset, self.cluster))
        before = 0
        if not any(table):
            return
        for at, entry in enumerate(table):
            if not entry:
                continue
            host = entry & OFFSET
            if entry & COMPRESSED:
                place, size = self.tables.span(entry)
                if not self.inside(place) or entry & COPIED:
                    report.corrupt(f"L2 table {offset:#x} entry {at}: compressed data at {place:#x} outside the file")
                    continue
                # The last sector may end behind the file's end, and behind its last cluster.
                self.use(place, min(size, self.length - place), weight)
                if index is not None:
                    report.compressed += 1
                    report.allocated += 1
                    report.fragmented += 1
                continue
            if entry & odd & ~ZERO or (entry & ZERO and self.image.header.version < 3):
                report.corrupt(f"L2 table {offset:#x} entry {at}: {entry:#x} is misaligned or has reserved bits")
                continue
            if not host:
                if entry & COPIED:
                    report.corrupt(f"L2 table {offset:#x} entry {at}: points to the header")
                continue
            if not self.inside(host):
                report.corrupt(f"L2 table {offset:#x} entry {at}: cluster {host:#x} lies outside the file")
                continue
            uses[host >> bits] += weight
            if index is not None and not entry & ZERO:
                report.allocated += 1
                report.fragmented += before not in (0, host - self.cluster)
                before = host

    def bitmaps(self) -> None:
        """The directory, the tables and the clusters of persistent bitmaps; void ones are nobody's."""
        if self.image.header.autoclear & BITMAPS:
            try:
                for cluster in find_bitmaps(self.image.header, self.file):
                    self.report.uses[cluster] += 1
            except ImageError as error:
                self.report.corrupt(str(error.strerror))

    def compare(self, active: array[int]) -> None:
        """Reference counts against uses, and the flags of entries with one use."""
        report, tables = self.report, self.tables
        uses = report.uses
        wrong: dict[int, int] = {}
        last = -(-self.length // self.cluster)
        counts: dict[int, array[int]] = {}

        def count(cluster: int) -> int:
            index, at = divmod(cluster, tables.per_block)
            if index not in counts:
                if len(counts) > 8:
                    counts.clear()
                try:
                    counts[index] = tables.block(index)
                except ImageError:
                    counts[index] = array("B", bytes(tables.per_block))
            return counts[index][at]

        for cluster in sorted(uses):
            held = count(cluster)
            if held != uses[cluster]:
                wrong[cluster] = held
                if held < uses[cluster]:
                    report.corrupt(f"cluster {cluster} refcount={held} reference={uses[cluster]}")
                else:
                    report.leaks += 1
                    report.say(f"Leaked cluster {cluster} refcount={held} reference={uses[cluster]}")
        for index, offset in enumerate(tables.reftable):
            if not offset or offset % self.cluster or not self.inside(offset):
                continue
            block = tables.block(index)
            if not any(block):
                continue
            base = index * tables.per_block
            for at, held in enumerate(block):
                if held and base + at not in uses:
                    if base + at >= last:
                        report.corrupt(f"cluster {base + at} refcount={held} lies outside the file")
                    else:
                        report.leaks += 1
                        report.say(f"Leaked cluster {base + at} refcount={held} reference=0")
        self.flags(active, count)

    def flags(self, active: array[int], count: object) -> None:
        report = self.report
        uses = report.uses
        odd = RESERVED_L2 | COMPRESSED | (self.cluster - 1)
        for index, entry in enumerate(active):
            offset = entry & OFFSET
            if not entry or uses[offset >> self.bits] == 0:
                continue
            if bool(entry & COPIED) != (uses[offset >> self.bits] == 1):
                report.corrupt(f"L1 table entry {index}: OFLAG_COPIED of {entry:#x} is wrong")
                report.l1_flags.append(index)
            if offset % self.cluster or not self.inside(offset):
                continue
            for at, one in enumerate(words(self.file.read(offset, self.cluster))):
                host = one & OFFSET
                if (
                    host
                    and not one & odd & ~ZERO
                    and uses[host >> self.bits]
                    and bool(one & COPIED) != (uses[host >> self.bits] == 1)
                ):
                    report.corrupt(f"L2 table {offset:#x} entry {at}: OFLAG_COPIED of {one:#x} is wrong")
                    report.flags.append((index, at))


def check(image: Qcow2) -> Report:
    """Compare the tables in the file with one another. What was written and not yet committed is committed first."""
    if image.tables.changed:
        image.flush()
    return _Counting(image).run()


def repair(image: Qcow2, leaks_only: bool = False) -> Report:
    """Give every cluster the reference count that its uses demand, in one commit. Returns what had been found.

    With `leaks_only` nothing happens to an image that is corrupt. What is damaged beyond counts (entries that point
    nowhere) stays as it is. Raises OSError.
    """
    report = check(image)
    header = image.header
    if leaks_only and report.corruptions:
        return report
    if not report.corruptions and not report.leaks:
        if header.incompatible & (DIRTY | CORRUPT):
            header.incompatible &= ~(DIRTY | CORRUPT)
            image.tables.changed = True
            image.tables.commit()
        return report
    if any(value > image.tables.most for value in report.uses.values()):
        raise ImageError("qcow2 refcount table", "refcount_order", "a cluster has more uses than its count can hold")
    header.incompatible &= ~(DIRTY | CORRUPT)
    image.tables.rebuild(report.uses)
    for index in report.l1_flags:
        image.tables.l1[index] ^= COPIED
        image.tables.l1_changed = True
    for index, at in report.flags:
        image.tables.own_l2(index)[at] ^= COPIED
    image.tables.commit()
    report.repaired = report.corruptions + report.leaks
    return report
