"""New qcow2 images: an empty mapping, committed once, and then what `preallocation` asks for."""

from __future__ import annotations

import errno
from array import array
from dataclasses import dataclass

from devices.block.qcow2 import header as layout
from devices.block.qcow2.header import FEATURE_NAMES, Header, feature_names
from devices.block.qcow2.image import Qcow2
from devices.block.qcow2.tables import COPIED, ZERO, Tables
from devices.block.storage import HostFile, Storage

__all__ = ["Options", "create"]

PREALLOCATIONS = ("off", "metadata", "falloc", "full")


@dataclass
class Options:
    """What `emu img create -o` can choose, under QEMU's names."""

    compat: str = "1.1"
    cluster_size: int = 65536
    refcount_bits: int = 16
    lazy_refcounts: bool = False
    compression_type: str = "zlib"
    preallocation: str = "off"
    backing_file: str = ""
    backing_fmt: str = ""

    def header(self, size: int) -> Header:
        """The header of an image of `size` bytes. Raises ValueError in words for a person."""
        version = {"0.10": 2, "v2": 2, "1.1": 3, "v3": 3}.get(self.compat)
        if version is None:
            raise ValueError(f"compat: expected 0.10 or 1.1, found '{self.compat}'")
        bits = self.cluster_size.bit_length() - 1
        if self.cluster_size != 1 << bits or not 9 <= bits <= 21:
            raise ValueError(f"cluster_size: expected a power of two from 512 to 2 MiB, found {self.cluster_size}")
        order = self.refcount_bits.bit_length() - 1
        if self.refcount_bits != 1 << order or not 0 <= order <= 6:
            raise ValueError(f"refcount_bits: expected a power of two from 1 to 64, found {self.refcount_bits}")
        if version < 3 and (order != 4 or self.lazy_refcounts or self.compression_type != "zlib"):
            raise ValueError("compat=0.10 has 16 refcount bits, no lazy refcounts and zlib only")
        if self.compression_type not in ("zlib", "zstd"):
            raise ValueError(f"compression_type: expected zlib or zstd, found '{self.compression_type}'")
        if self.preallocation not in PREALLOCATIONS:
            raise ValueError(f"preallocation: expected {', '.join(PREALLOCATIONS)}, found '{self.preallocation}'")
        if self.backing_file and self.preallocation != "off":
            raise ValueError("preallocation and a backing file exclude one another")
        if size % 512 or size < 0:
            raise ValueError(f"size: expected a multiple of 512, found {size}")
        entries = -(-size // (self.cluster_size << bits - 3))
        if entries * 8 > layout.LARGEST_L1:
            raise ValueError(f"size: {size} bytes need larger clusters than {self.cluster_size}")
        made = Header(version, cluster_bits=bits, size=size, l1_size=entries, refcount_order=order)
        made.compression = layout.ZSTD if self.compression_type == "zstd" else layout.ZLIB
        made.compatible = layout.LAZY_REFCOUNTS if self.lazy_refcounts else 0
        made.length = layout.FULL_LENGTH if version >= 3 else layout.V2_LENGTH
        made.backing_file, made.backing_format = self.backing_file, self.backing_fmt
        if version >= 3:
            names = (FEATURE_NAMES, feature_names())
            made.extensions.append(names)
            try:
                made.pack()
            except ValueError:
                made.extensions.remove(names)
        made.pack()
        return made


def create(file: Storage, size: int, options: Options | None = None) -> None:
    """Make `file`, which must be empty, an image of `size` bytes. Raises OSError, and ValueError for the options."""
    options = options or Options()
    header = options.header(size)
    if file.length():
        raise OSError(errno.EEXIST, "the file is not empty", file.path)
    tables = Tables(_Empty(file), header, [])
    tables.l1 = array("Q", bytes(header.l1_size * 8))
    tables.l1_changed = True
    tables.hint = 1
    tables.set_count(0, 1)
    # The pointers in it are none until the commit.
    header.l1_size = 0
    file.write(0, header.pack())
    tables.file = file
    tables.commit()
    end = tables.fresh << header.cluster_bits
    if file.length() < end:
        file.truncate(end)
    if options.preallocation != "off":
        _preallocate(file, size, options.preallocation)


class _Empty:
    """The file of an image that is being made, as long as nothing in it is a table."""

    def __init__(self, file: Storage) -> None:
        self.file = file
        self.path = file.path
        self.read_only = False

    def length(self) -> int:
        return 0

    def read(self, offset: int, length: int) -> bytes:
        return bytes(length)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        self.file.write(offset, data)

    def flush(self) -> None:
        self.file.flush()

    def punch(self, offset: int, length: int) -> bool:
        return False

    def truncate(self, length: int) -> None:
        self.file.truncate(length)

    def close(self) -> None:
        pass


def _preallocate(file: Storage, size: int, how: str) -> None:
    """Map every cluster; `falloc` reserves their room on the host, `full` fills it."""
    image = Qcow2(file)
    header, tables = image.header, image.tables
    tables.begin()
    flag = ZERO if header.version >= 3 and how == "metadata" else 0
    total = -(-size // header.cluster)
    done = 0
    per_table = header.cluster // 8
    while done < total:
        at = done % per_table
        first, count = tables.allocate(min(total - done, per_table - at))
        start = first << header.cluster_bits | COPIED | flag
        table = tables.own_l2(done // per_table)
        table[at : at + count] = array("Q", range(start, start + (count << header.cluster_bits), header.cluster))
        done += count
    end = tables.fresh << header.cluster_bits
    if file.length() < end:
        file.truncate(end)
    tables.end = end
    image.flush()
    if how == "falloc" and isinstance(file, HostFile):
        file.reserve(0, end)
    elif how == "full":
        step = max(header.cluster, 1 << 20)
        for offset in range(0, size, step):
            image.write(offset, bytes(min(step, size - offset)))
        image.flush()


def open_new(path: str) -> HostFile:
    """A file for a new image: what it held is gone. Raises OSError, LockedError if the image is in use."""
    file = HostFile(path, create=True, lock=True)
    try:
        file.truncate(0)
    except OSError as error:
        file.close()
        raise error
    return file
