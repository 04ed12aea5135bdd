"""The header of a qcow2 image, its extensions and its list of snapshots; every field is checked before its use.

Source: QEMU's qcow2 format description, sections "Header", "Header extensions", "Snapshots". Numbers are big-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from itertools import pairwise

from devices.block.storage import ImageError, Storage

MAGIC = b"QFI\xfb"
DIRTY, CORRUPT, DATA_FILE, COMPRESSION, EXTENDED_L2 = 1, 2, 4, 8, 16
INCOMPATIBLE = {DIRTY: "dirty", CORRUPT: "corrupt", DATA_FILE: "external data file", COMPRESSION: "compression type"}
INCOMPATIBLE[EXTENDED_L2] = "extended L2 entries"
LAZY_REFCOUNTS = 1
BITMAPS = 1
BACKING_FORMAT, FEATURE_NAMES, BITMAPS_EXTENSION = 0xE2792ACA, 0x6803F857, 0x23852875
ZLIB, ZSTD = 0, 1

V2_LENGTH, V3_LENGTH, FULL_LENGTH = 72, 104, 112
LARGEST_L1 = 32 << 20
LARGEST_REFTABLE = 8 << 20
MOST_SNAPSHOTS = 65536
LARGEST_SNAPSHOT_LIST = 1024 * MOST_SNAPSHOTS
MOST_SNAPSHOT_EXTRA = 1024
MOST_BITMAPS = 65535
LIST = "qcow2 snapshot table"

POINTERS = 24
"""From here on one write replaces, with each commit: size, tables, snapshots and (version 3) feature bits."""

_FEATURES = (
    (0, 0, "dirty bit"),
    (0, 1, "corrupt bit"),
    (0, 2, "external data file"),
    (0, 3, "compression type"),
    (0, 4, "extended L2 entries"),
    (1, 0, "lazy refcounts"),
    (2, 0, "bitmaps"),
    (2, 1, "raw external data"),
)


def broken(field_name: str, offset: int, why: str, structure: str = "qcow2 header") -> ImageError:
    """The error of a field that cannot be what it says."""
    return ImageError(structure, f"{field_name} (byte {offset:#x})", why)


@dataclass
class Header:
    """The fields of the first cluster. `extensions` keeps all, known or not, in their order."""

    version: int = 3
    backing_offset: int = 0
    backing_size: int = 0
    cluster_bits: int = 16
    size: int = 0
    l1_size: int = 0
    l1_offset: int = 0
    reftable_offset: int = 0
    reftable_clusters: int = 0
    snapshots: int = 0
    snapshots_offset: int = 0
    incompatible: int = 0
    compatible: int = 0
    autoclear: int = 0
    refcount_order: int = 4
    length: int = FULL_LENGTH
    compression: int = ZLIB
    tail: bytes = b""
    """Bytes of a longer header that nobody here knows."""
    extensions: list[tuple[int, bytes]] = field(default_factory=list)
    backing_file: str = ""
    backing_format: str = ""

    @property
    def cluster(self) -> int:
        return 1 << self.cluster_bits

    def pointers(self) -> bytes:
        """Bytes 24 to 71, and to 95 in version 3: all in one sector, so that they change at once."""
        features = struct.pack(">QQQ", self.incompatible, self.compatible, self.autoclear) if self.version >= 3 else b""
        pointers = struct.pack(
            ">QIIQQIIQ",
            self.size,
            0,
            self.l1_size,
            self.l1_offset,
            self.reftable_offset,
            self.reftable_clusters,
            self.snapshots,
            self.snapshots_offset,
        )
        return pointers + features

    def pack(self) -> bytes:
        """The first cluster, without what follows the backing file's name. Raises ValueError if it is too long."""
        name = self.backing_file.encode("utf-8", "surrogateescape")
        if self.version >= 3 and self.compression:
            self.incompatible |= COMPRESSION
        out = bytearray(MAGIC + struct.pack(">IQIi", self.version, 0, len(name), self.cluster_bits) + self.pointers())
        if self.version >= 3:
            self.length = max(FULL_LENGTH, self.length)
            out += struct.pack(">II", self.refcount_order, self.length)
            out += bytes((self.compression,)) + bytes(7) + self.tail
        extensions = [e for e in self.extensions if e[0] != BACKING_FORMAT]
        if self.backing_format:
            extensions.insert(0, (BACKING_FORMAT, self.backing_format.encode("ascii", "replace")))
        for kind, data in extensions:
            out += struct.pack(">II", kind, len(data)) + data + bytes(-len(data) % 8)
        out += bytes(8)
        if name:
            self.backing_offset = len(out)
            out[8:16] = struct.pack(">Q", len(out))
            out += name
        if len(out) > self.cluster:
            raise ValueError(f"header and backing file name need {len(out)} bytes, a cluster has {self.cluster}")
        return bytes(out)


def feature_names() -> bytes:
    """The extension that lets an older program say what it does not know."""
    return b"".join(bytes((kind, bit)) + name.encode().ljust(46, b"\0") for kind, bit, name in _FEATURES)


def parse(file: Storage) -> Header:
    """Read and check a header. Raises ImageError (which field, at which byte, and why)."""
    head = file.read(0, FULL_LENGTH)
    length = file.length()
    if head[:4] != MAGIC:
        raise broken("magic", 0, f"found {head[:4].hex()}, not {MAGIC.hex()}")
    h = Header()
    h.version, h.backing_offset, h.backing_size, h.cluster_bits = struct.unpack_from(">IQII", head, 4)
    if h.version not in (2, 3):
        raise broken("version", 4, f"{h.version} is neither 2 nor 3")
    if not 9 <= h.cluster_bits <= 21:
        raise broken("cluster_bits", 20, f"{h.cluster_bits} is not from 9 (512 bytes) to 21 (2 MiB)")
    if length < V2_LENGTH:
        raise broken("header", 0, f"the file has only {length} bytes")
    h.size, crypt, h.l1_size, h.l1_offset, h.reftable_offset = struct.unpack_from(">QIIQQ", head, 24)
    h.reftable_clusters, h.snapshots, h.snapshots_offset = struct.unpack_from(">IIQ", head, 56)
    if crypt:
        raise broken("crypt_method", 32, f"{crypt}: encrypted images cannot be opened")
    h.length = V2_LENGTH
    if h.version >= 3:
        if length < V3_LENGTH:
            raise broken("header", 0, f"the file has only {length} bytes")
        h.incompatible, h.compatible, h.autoclear = struct.unpack_from(">QQQ", head, 72)
        h.refcount_order, h.length = struct.unpack_from(">II", head, 96)
        if not V3_LENGTH <= h.length <= h.cluster or h.length % 8:
            raise broken("header_length", 100, f"{h.length} is not a multiple of 8 from {V3_LENGTH} to {h.cluster}")
        if h.length >= FULL_LENGTH:
            h.compression = head[104]
            h.tail = file.read(FULL_LENGTH, h.length - FULL_LENGTH)
    _extensions(h, file)
    _check_features(h)
    _check_places(h, length)
    _backing(h, file)
    return h


def _check_features(h: Header) -> None:
    unknown = h.incompatible & ~(DIRTY | CORRUPT | COMPRESSION)
    if unknown:
        bit = (unknown & -unknown).bit_length() - 1
        names = {(kind, number): name for kind, number, name in _FEATURES}
        name = names.get((0, bit)) or _own_name(h, bit) or "unknown"
        raise broken("incompatible_features", 72, f"bit {bit} ({name}) is not supported")
    if h.refcount_order > 6:
        raise broken("refcount_order", 96, f"{h.refcount_order} is more than 6 (64 bits)")
    if h.compression not in (ZLIB, ZSTD):
        raise broken("compression_type", 104, f"{h.compression} is neither 0 (zlib) nor 1 (zstd)")
    if bool(h.incompatible & COMPRESSION) != (h.compression != ZLIB):
        raise broken("compression_type", 104, f"{h.compression} contradicts incompatible feature bit 3")


def _own_name(h: Header, bit: int) -> str:
    """What the image's own feature name table calls an incompatible bit."""
    for kind, data in h.extensions:
        if kind == FEATURE_NAMES:
            for at in range(0, len(data) - 47, 48):
                if (data[at], data[at + 1]) == (0, bit):
                    text = data[at + 2 : at + 48].split(b"\0")[0].decode("ascii", "replace")
                    return "".join(c if c.isprintable() else "?" for c in text)
    return ""


def _place(name: str, at: int, offset: int, size: int, cluster: int, length: int) -> None:
    """Raises unless a table of `size` bytes at `offset` can be in the file."""
    if offset % cluster:
        raise broken(name, at, f"{offset:#x} is not a multiple of the cluster size {cluster}")
    if offset == 0:
        raise broken(name, at, "0 is where the header is")
    if offset + size > -(-length // cluster) * cluster or offset >= 1 << 63:
        raise broken(name, at, f"{offset:#x} with {size} bytes ends behind the file's {length} bytes")


def _check_places(h: Header, length: int) -> None:
    cluster = h.cluster
    covered = cluster * (cluster // 8)
    if h.size > 1 << 62:
        raise broken("size", 24, f"{h.size} is more than 4 EiB")
    needed = -(-h.size // covered)
    if h.l1_size * 8 > LARGEST_L1:
        raise broken("l1_size", 36, f"{h.l1_size} entries are more than {LARGEST_L1 // 8}")
    if needed > h.l1_size:
        raise broken("l1_size", 36, f"{h.l1_size} entries do not cover the disk's {h.size} bytes; {needed} do")
    if h.l1_size:
        _place("l1_table_offset", 40, h.l1_offset, h.l1_size * 8, cluster, length)
    elif h.l1_offset % cluster:
        raise broken("l1_table_offset", 40, f"{h.l1_offset:#x} is not a multiple of the cluster size {cluster}")
    if not 0 < h.reftable_clusters * cluster <= LARGEST_REFTABLE:
        raise broken("refcount_table_clusters", 56, f"{h.reftable_clusters} is not 1 to {LARGEST_REFTABLE // cluster}")
    _place("refcount_table_offset", 48, h.reftable_offset, h.reftable_clusters * cluster, cluster, length)
    if h.snapshots > MOST_SNAPSHOTS:
        raise broken("nb_snapshots", 60, f"{h.snapshots} are more than {MOST_SNAPSHOTS}")
    if h.snapshots:
        _place("snapshots_offset", 64, h.snapshots_offset, h.snapshots * 40, cluster, length)
    places = sorted(
        (offset, offset + size, name)
        for offset, size, name in (
            (h.l1_offset, h.l1_size * 8, "L1 table"),
            (h.reftable_offset, h.reftable_clusters * cluster, "refcount table"),
            (h.snapshots_offset, h.snapshots * 40, "snapshot table"),
        )
        if size
    )
    for (_, end, first), (start, _, second) in pairwise(places):
        if start < -(-end // cluster) * cluster:
            raise ImageError("qcow2 header", f"{first} and {second}", f"both claim the cluster at {start:#x}")


def _extensions(h: Header, file: Storage) -> None:
    at = h.length
    end = h.cluster
    if h.backing_offset:
        if not h.length <= h.backing_offset < h.cluster:
            raise broken(
                "backing_file_offset", 8, f"{h.backing_offset:#x} is not in the first cluster behind the header"
            )
        end = h.backing_offset
    area = file.read(0, min(h.cluster, max(file.length(), V3_LENGTH)))
    while at + 8 <= min(end, len(area)):
        kind, size = struct.unpack_from(">II", area, at)
        if kind == 0:
            return
        if at + 8 + size > min(end, len(area)):
            raise broken("header extension", at, f"type {kind:#x} with {size} bytes does not fit before {end:#x}")
        h.extensions.append((kind, area[at + 8 : at + 8 + size]))
        at += 8 + -(-size // 8) * 8


def _backing(h: Header, file: Storage) -> None:
    if not h.backing_offset:
        return
    if h.backing_size > 1023 or h.backing_offset + h.backing_size > h.cluster:
        raise broken("backing_file_size", 16, f"{h.backing_size} does not fit into the first cluster, or is over 1023")
    h.backing_file = file.read(h.backing_offset, h.backing_size).decode("utf-8", "surrogateescape")
    if "\0" in h.backing_file:
        raise broken("backing_file_offset", 8, "the name has a zero byte")
    for kind, data in h.extensions:
        if kind == BACKING_FORMAT:
            h.backing_format = data.decode("ascii", "replace")


@dataclass(frozen=True)
class Snapshot:
    """An internal snapshot: another L1 table in the same file."""

    l1_offset: int
    l1_size: int
    id: str
    name: str
    date: int
    nanoseconds: int
    vm_clock: int
    vm_state: int
    disk_size: int
    record: bytes
    """The entry as it stands in the file, without padding."""


def read_snapshots(h: Header, file: Storage) -> list[Snapshot]:
    """All internal snapshots. Raises ImageError."""
    found = []
    at = h.snapshots_offset
    length = file.length()
    tables = 0
    for number in range(h.snapshots):
        where = f"entry {number}"
        head = file.read(at, 40)
        l1_offset, l1_size, id_size, name_size, date, nano, clock, state, extra = struct.unpack(">QIHHIIQII", head)
        if extra > MOST_SNAPSHOT_EXTRA:
            raise broken(f"{where}: extra_data_size", at + 36, f"{extra} is over {MOST_SNAPSHOT_EXTRA}", LIST)
        record = head + file.read(at + 40, extra + id_size + name_size)
        if at + len(record) > length or at + len(record) - h.snapshots_offset > LARGEST_SNAPSHOT_LIST:
            raise broken(where, at, f"ends behind the file's {length} bytes", LIST)
        if l1_size * 8 > LARGEST_L1:
            raise broken(f"{where}: l1_size", at + 8, f"{l1_size} entries are over {LARGEST_L1 // 8}", LIST)
        if l1_offset % h.cluster or l1_offset + l1_size * 8 > -(-length // h.cluster) * h.cluster:
            raise broken(
                f"{where}: l1_table_offset",
                at,
                f"{l1_offset:#x} is misaligned or behind the file",
                LIST,
            )
        tables += l1_size * 8
        if tables > max(length, LARGEST_L1):
            raise broken(where, at, "the snapshots' L1 tables are larger than the file", LIST)
        size = h.size
        if extra >= 8:
            state = struct.unpack_from(">Q", record, 40)[0]
        if extra >= 16:
            size = struct.unpack_from(">Q", record, 48)[0]
        covered = h.cluster * (h.cluster // 8)
        if -(-size // covered) > l1_size:
            raise broken(
                f"{where}: disk size",
                at + 48,
                f"{size} bytes need more than {l1_size} L1 entries",
                LIST,
            )
        text = record[40 + extra :]
        found.append(
            Snapshot(
                l1_offset,
                l1_size,
                text[:id_size].decode("utf-8", "replace"),
                text[id_size : id_size + name_size].decode("utf-8", "replace"),
                date,
                nano,
                clock,
                state,
                size,
                record,
            )
        )
        at += -(-len(record) // 8) * 8
    return found
