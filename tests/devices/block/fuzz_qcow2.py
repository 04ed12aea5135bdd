"""Damaged qcow2 images by the thousand: `python -m tests.devices.block.fuzz_qcow2 --cases 100000 --seed 1`.

Each case damages one to three places of a small image with data, zero clusters, compressed clusters, a snapshot and
bitmaps: header fields, extensions, snapshot list, L1 and L2 tables, reference counts, or any byte. What may come of it
is an OSError in words or a disk that works; nothing is written by looking, no case takes longer than a second, and the
process has 512 MiB of address space. A case that fails is named by its seed and can be run alone with --only.
"""

from __future__ import annotations

import argparse
import random
import resource
import struct
import sys
import time
import zlib
from collections.abc import Callable

from devices.block.qcow2.check import check, repair
from devices.block.qcow2.header import BITMAPS_EXTENSION
from devices.block.qcow2.image import Qcow2
from devices.block.qcow2.tables import OFFSET, words
from devices.block.storage import ImageError
from tests.devices.block.support import MemoryFile, fresh

SIZE = 96 << 10
HEADER_FIELDS = (
    ("magic", 0, 4),
    ("version", 4, 4),
    ("backing_file_offset", 8, 8),
    ("backing_file_size", 16, 4),
    ("cluster_bits", 20, 4),
    ("size", 24, 8),
    ("crypt_method", 32, 4),
    ("l1_size", 36, 4),
    ("l1_table_offset", 40, 8),
    ("refcount_table_offset", 48, 8),
    ("refcount_table_clusters", 56, 4),
    ("nb_snapshots", 60, 4),
    ("snapshots_offset", 64, 8),
    ("incompatible_features", 72, 8),
    ("compatible_features", 80, 8),
    ("autoclear_features", 88, 8),
    ("refcount_order", 96, 4),
    ("header_length", 100, 4),
    ("compression_type", 104, 1),
)


def base_image(cluster: int, order: int) -> bytes:
    """A sound image with a bit of everything."""
    file = fresh(SIZE, cluster_size=cluster, refcount_bits=1 << order)
    disk = Qcow2(file)
    rng = random.Random(cluster)
    disk.write(0, rng.randbytes(20_000))
    disk.write_zeroes(8192, 4096, False)
    for at in range(32 << 10, 48 << 10, cluster):
        disk.write_compressed(at, rng.randbytes(cluster // 8) * 8)
    disk.flush()
    tables = disk.tables
    # A snapshot with an L1 table of its own that shares nothing, so that all counts stay what they are.
    place = tables.take_row(1) << disk.header.cluster_bits
    l1 = tables.take_row(-(-disk.header.l1_size * 8 // cluster)) << disk.header.cluster_bits
    record = struct.pack(">QIHHIIQII", l1, disk.header.l1_size, 1, 4, 0, 0, 0, 0, 16)
    record += struct.pack(">QQ", 0, SIZE) + b"1" + b"snap"
    file.write(place, record.ljust(-(-len(record) // 8) * 8, b"\0"))
    file.write(l1, bytes(disk.header.l1_size * 8))
    disk.header.snapshots, disk.header.snapshots_offset = 1, place
    disk.flush()
    disk.close()
    return bytes(file.data)


def structures(image: bytes) -> dict[str, list[tuple[int, int]]]:
    """(offset, width) of every number in the tables of an image."""
    disk = Qcow2(MemoryFile(image), read_only=True)
    h = disk.header
    out = {"header": [(at, size) for _, at, size in HEADER_FIELDS]}
    out["extensions"] = [(at, 4) for at in range(h.length, h.length + 64, 4)]
    out["l1"] = [(h.l1_offset + 8 * i, 8) for i in range(h.l1_size)]
    out["l2"] = [
        ((entry & OFFSET) + 8 * i, 8) for entry in disk.tables.l1 if entry for i in range(min(h.cluster // 8, 64))
    ]
    out["refcount table"] = [(h.reftable_offset + 8 * i, 8) for i in range(4)]
    blocks = [offset for offset in words(image[h.reftable_offset : h.reftable_offset + h.cluster]) if offset]
    out["refcount block"] = [(offset + i, 1) for offset in blocks for i in range(min(h.cluster, 128))]
    out["snapshots"] = [(h.snapshots_offset + at, 4) for at in range(0, 64, 4)]
    out["any byte"] = [(at, 1) for at in range(0, len(image), 7)]
    return out


def damaged(image: bytes, places: dict[str, list[tuple[int, int]]], rng: random.Random) -> bytes:
    """One to three changes."""
    data = bytearray(image)
    for _ in range(rng.choice((1, 1, 2, 3))):
        what = rng.choice([*places, "header", "l2", "cut", "bitmaps"])
        if what == "cut":
            del data[rng.randrange(len(data)) :]
            continue
        if what == "bitmaps":
            many, place = rng.choice((1, 9, 70000)), rng.randrange(99) << 9
            data[112:144] = struct.pack(">IIIIQQ", BITMAPS_EXTENSION, 24, many, 0, rng.randrange(1 << 12), place)
            continue
        at, width = rng.choice(places[what])
        if at + width > len(data):
            continue
        old = int.from_bytes(data[at : at + width], "big")
        top = (1 << 8 * width) - 1
        value = rng.choice(
            (
                old ^ 1 << rng.randrange(8 * width),
                0,
                1,
                top,
                top >> 1,
                top ^ top >> 1,
                old + 1,
                old + 512,
                rng.randrange(len(image) // 512 + 2) * 512 | rng.choice((0, 1, 1 << 62, 1 << 63)),
                len(image),
                1 << rng.randrange(8 * width),
                rng.randrange(top + 1),
            )
        )
        data[at : at + width] = (value & top).to_bytes(width, "big")
    return bytes(data)


def run(data: bytes, rng: random.Random) -> str:
    """One case: look, then change. Returns what the first trouble was; raises what must not be."""
    trouble = ""

    def attempt(action: Callable[..., object], *arguments: object) -> None:
        nonlocal trouble
        try:
            action(*arguments)
        except OSError as error:
            if isinstance(error, ImageError) and "qcow2" not in error.structure and "bitmap" not in error.structure:
                raise AssertionError(f"names no structure: {error}") from error
            trouble = trouble or str(error)

    file = MemoryFile(data)
    file.writes = 0

    def look() -> None:
        disk = Qcow2(file, read_only=True)
        for at in range(0, min(disk.size, 1 << 20), 4096):
            attempt(disk.read, at, min(4096, disk.size - at))
        attempt(lambda: list(disk.extents(0, min(disk.size, 1 << 20))))
        attempt(lambda: check(disk))
        if disk.snapshots:
            attempt(lambda: Qcow2(file, snapshot=disk.snapshots[0].id).read(0, 4096))
        disk.close()

    attempt(look)
    if file.writes:
        raise AssertionError("looking at an image wrote into it")

    def change() -> None:
        disk = Qcow2(file, give_back=True)
        for _ in range(12):
            at = rng.randrange(max(1, min(disk.size, SIZE) // 512)) * 512
            count = min(max(0, disk.size - at), 512 * rng.choice((1, 8, 40)))
            what = rng.randrange(6)
            if what < 3:
                attempt(disk.write, at, rng.randbytes(count))
            elif what == 3:
                attempt(disk.discard, at, count)
            elif what == 4:
                attempt(disk.write_zeroes, at, count, True)
            else:
                attempt(disk.flush)
        attempt(disk.resize, rng.choice((SIZE // 2, SIZE * 2)))
        disk.close()

    attempt(change)

    def mend() -> None:
        image = Qcow2(MemoryFile(data), repairing=True)
        repair(image)
        image.close()

    attempt(mend)
    return trouble


def fuzz(cases: int, seed: int, say: bool = False) -> dict[str, int]:
    """Run cases; how many ended in which structure. Raises AssertionError for a case that did what it must not."""
    shapes = [(512, 4), (512, 0), (1024, 6), (4096, 3), (4096, 1)]
    images = [base_image(*shape) for shape in shapes]
    places = [structures(image) for image in images]
    seen: dict[str, int] = {}
    for number in range(cases):
        rng = random.Random(seed << 32 | number)
        which = rng.randrange(len(shapes))
        data = damaged(images[which], places[which], rng)
        start = time.process_time()
        try:
            trouble = run(data, rng)
        except Exception as error:
            raise AssertionError(f"seed {seed} case {number}: {type(error).__name__}: {error}") from error
        took = time.process_time() - start
        if took > 1.0:
            raise AssertionError(f"seed {seed} case {number}: took {took:.1f} s ({zlib.crc32(data):08x})")
        name = trouble.split("] ")[-1].split(":")[0] if trouble else "fine"
        seen[name] = seen.get(name, 0) + 1
        if say and number % 5000 == 4999:
            print(number + 1, seen, flush=True)
    return seen


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="run one case of the seed")
    args = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (512 << 20, 512 << 20))
    if args.only is not None:
        shapes = [(512, 4), (512, 0), (1024, 6), (4096, 3), (4096, 1)]
        rng = random.Random(args.seed << 32 | args.only)
        image = base_image(*shapes[rng.randrange(len(shapes))])
        print(run(damaged(image, structures(image), rng), rng))
        return 0
    print(fuzz(args.cases, args.seed, say=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
