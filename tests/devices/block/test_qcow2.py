"""qcow2 images read and written, with qemu-img as the witness."""

from __future__ import annotations

import errno
import random
from pathlib import Path

import pytest

from devices.block.qcow2.check import check, repair
from devices.block.qcow2.image import Qcow2
from devices.block.raw import MemoryDisk
from devices.block.storage import HostFile, ImageError
from tests.devices.block.support import (
    MemoryFile,
    apply,
    assert_sound,
    fresh,
    needs_qemu,
    new,
    qemu,
    qemu_io,
    reopen,
    scale,
    steps,
)

SHAPES = [
    {"cluster_size": 512},
    {"cluster_size": 4096, "refcount_bits": 1},
    {"cluster_size": 4096, "refcount_bits": 64},
    {"cluster_size": 65536},
    {"cluster_size": 65536, "lazy_refcounts": True, "refcount_bits": 2},
    {"cluster_size": 2 << 20, "refcount_bits": 8},
    {"cluster_size": 65536, "compat": "0.10"},
    {"cluster_size": 1024, "refcount_bits": 4},
    {"cluster_size": 16384, "refcount_bits": 32, "preallocation": "metadata"},
]


def test_a_new_image_reads_zeros_and_keeps_what_is_written(tmp_path: Path) -> None:
    disk = new(tmp_path / "a.qcow2", 1 << 20)
    assert disk.read(0, 1 << 20) == bytes(1 << 20)
    disk.write(70000 // 512 * 512, b"x" * 1024)
    disk.close()
    disk = reopen(tmp_path / "a.qcow2")
    assert disk.read(69632, 1536).strip(b"\0") == b"x" * 1024
    assert_sound(disk)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_random_work_leaves_what_a_model_holds_and_exact_counts(shape: dict[str, object]) -> None:
    for seed in range(scale(2)):
        rng = random.Random(seed)
        size = rng.choice([1 << 16, 1 << 20, (1 << 20) + 512 * rng.randrange(99)])
        file = fresh(size, **shape)
        disk, model = Qcow2(file, give_back=True), bytearray(size)
        for step in steps(rng, size, 60):
            apply(disk, model, rng, *step)
        assert disk.read(0, size) == model
        assert_sound(disk)
        disk.close()
        again = Qcow2(file)
        assert again.read(0, size) == model
        assert_sound(again)


@needs_qemu
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_qemu_reads_what_we_wrote_and_finds_neither_errors_nor_leaks(tmp_path: Path, shape: dict[str, object]) -> None:
    rng, size, path = random.Random(5), (1 << 20) + 1536, tmp_path / "a.qcow2"
    disk, model = new(path, size, **shape), bytearray(size)
    for step in steps(rng, size, 50):
        apply(disk, model, rng, *step)
    disk.close()
    qemu("check", "-f", "qcow2", path)
    (tmp_path / "model").write_bytes(model)
    qemu("compare", "-f", "qcow2", "-F", "raw", path, tmp_path / "model")


@needs_qemu
@pytest.mark.parametrize("options", ["cluster_size=4k", "compat=0.10", "refcount_bits=1,cluster_size=512"])
def test_we_read_and_change_what_qemu_made(tmp_path: Path, options: str) -> None:
    path, size = tmp_path / "a.qcow2", 1 << 20
    qemu("create", "-f", "qcow2", "-o", options, path, str(size))
    qemu_io(path, "write -P 7 100k 300k", "write -z 200k 64k", "discard 300k 64k")
    disk = reopen(path)
    data = disk.read(0, size)
    assert set(data[100 << 10 : 200 << 10]) == {7} and not any(data[200 << 10 : 264 << 10])
    disk.write(0, b"z" * 150_016)
    disk.close()
    qemu("check", path)
    qemu_io(path, "read -P 122 0 150016", "read -P 7 272k 20k")


@needs_qemu
@pytest.mark.parametrize("kind", ["zlib", "zstd"])
def test_compressed_clusters_are_read_and_written_in_both_directions(tmp_path: Path, kind: str) -> None:
    zstd = pytest.importorskip("emu.zstd").find
    if kind == "zstd" and zstd() is None:
        pytest.skip("no module for zstd is installed")
    raw, theirs, ours = tmp_path / "raw", tmp_path / "theirs", tmp_path / "ours"
    data = b"".join(random.Random(i).randbytes(512) * 30 for i in range(40)).ljust(1 << 20, b"\0")
    raw.write_bytes(data)
    qemu("convert", "-c", "-O", "qcow2", "-o", f"compression_type={kind}", raw, theirs)
    disk = reopen(theirs, zstd=zstd)
    assert disk.read(0, len(data)) == data
    disk.write(66048, b"n" * 512)
    disk.close()
    qemu("check", theirs)
    qemu_io(theirs, "read -P 110 66048 512")
    disk = new(ours, len(data), compression_type=kind)
    disk._find_zstd = zstd
    for at in range(0, len(data), 65536):
        disk.write_compressed(at, data[at : at + 65536])
    disk.close()
    qemu("check", ours)
    qemu("compare", ours, raw)
    assert ours.stat().st_size < 600_000


def test_without_a_compressor_zstd_clusters_are_one_clear_error() -> None:
    file = fresh(1 << 20, compression_type="zstd")
    disk = Qcow2(file)
    with pytest.raises(OSError, match="zstd clusters need Python"):
        disk.write_compressed(0, bytes(65536))


@needs_qemu
def test_internal_snapshots_are_read_and_survive_our_writes(tmp_path: Path) -> None:
    path = tmp_path / "a.qcow2"
    qemu("create", "-f", "qcow2", path, "1M")
    qemu_io(path, "write -P 1 0 512k")
    qemu("snapshot", "-c", "before", path)
    disk = reopen(path)
    disk.write(65536, b"\2" * 200_704)
    disk.close()
    qemu("check", path)
    old = Qcow2(HostFile(str(path), True), snapshot="before")
    assert old.read_only and old.read(0, 1 << 19) == b"\1" * (1 << 19)
    with pytest.raises(PermissionError):
        old.write(0, bytes(512))
    with pytest.raises(OSError, match=r"no snapshot 'x'; there are: 1 \(before\)"):
        Qcow2(HostFile(str(path), True), snapshot="x")
    qemu("snapshot", "-a", "before", path)
    qemu_io(path, "read -P 1 0 512k")


@needs_qemu
def test_a_dirty_image_is_repaired_when_it_is_opened_for_writing(tmp_path: Path) -> None:
    path = tmp_path / "a.qcow2"
    qemu("create", "-f", "qcow2", "-o", "lazy_refcounts=on", path, "1M")
    # `abort` leaves the dirty bit, and reference counts that were never written.
    import subprocess

    words = ["qemu-io", "-c", "write -P 5 0 300k", "-c", "flush", "-c", "abort", str(path)]
    subprocess.run(words, capture_output=True, timeout=60)
    assert path.read_bytes()[79] & 1
    assert Qcow2(HostFile(str(path), True)).read(0, 300 << 10) == b"\5" * (300 << 10)
    disk = reopen(path)
    assert_sound(disk)
    disk.close()
    assert not path.read_bytes()[79] & 1
    qemu("check", path)
    qemu_io(path, "read -P 5 0 300k")


@needs_qemu
@pytest.mark.parametrize("order", [0, 4, 6])
def test_repair_gives_exact_counts_back(tmp_path: Path, order: int) -> None:
    path = tmp_path / "a.qcow2"
    disk = new(path, 1 << 20, refcount_bits=1 << order, cluster_size=4096)
    disk.write(0, b"q" * 300_032)
    disk.close()
    block = reopen(path).tables.reftable[0]
    with open(path, "r+b") as file:
        file.seek(block)
        file.write(bytes(64))
    image = Qcow2(HostFile(str(path)), repairing=True)
    assert check(image).corruptions > 0
    repair(image)
    image.close()
    qemu("check", path)
    qemu_io(path, "read -P 113 0 300032")


@needs_qemu
def test_persistent_bitmaps_are_counted_and_marked_out_of_date(tmp_path: Path) -> None:
    path = tmp_path / "a.qcow2"
    qemu("create", "-f", "qcow2", path, "1M")
    qemu("bitmap", "--add", path, "b0")
    qemu_io(path, "write 0 64k")
    disk = reopen(path)
    assert_sound(disk)
    assert path.read_bytes()[95] == 1
    disk.write(0, b"x" * 512)
    disk.close()
    assert path.read_bytes()[95] == 0
    qemu("check", path)
    assert_sound(reopen(path))


def test_a_backing_file_shows_through_and_is_copied_where_a_cluster_is_written_in_part() -> None:
    base = MemoryDisk(bytes(i % 251 for i in range(200_192)))
    disk = Qcow2(fresh(1 << 20, backing_file="base", backing_fmt="raw"), backing=base, give_back=True)
    want = bytearray(bytes(base.data).ljust(1 << 20, b"\0"))
    for offset, data in ((1000 * 512 // 1000, b"a" * 100), (190_000, b"b" * 20_000), (500_000, b"c" * 10)):
        disk.write(offset, data)
        want[offset : offset + len(data)] = data
    disk.write_zeroes(0x10000, 0x10000, True)
    want[0x10000:0x20000] = bytes(0x10000)
    assert disk.read(0, 1 << 20) == want
    disk.make_empty()
    assert disk.read(0, 1 << 20) == bytes(base.data).ljust(1 << 20, b"\0")
    assert_sound(disk)


def test_an_unopened_backing_file_is_an_error_not_zeros() -> None:
    disk = Qcow2(fresh(1 << 20, backing_file="base", backing_fmt="raw"))
    with pytest.raises(OSError, match="backing file 'base' is not open"):
        disk.read(0, 512)


@needs_qemu
def test_sizes_change_both_ways_and_new_space_is_zeros(tmp_path: Path) -> None:
    path = tmp_path / "a.qcow2"
    disk = new(path, 300_032, cluster_size=512)
    disk.write(0, b"x" * 300_032)
    disk.resize(100_352)
    disk.resize(5 << 20)
    assert disk.read(0, 5 << 20) == (b"x" * 100_352).ljust(5 << 20, b"\0")
    disk.close()
    qemu("check", path)
    assert '"virtual-size": 5242880' in qemu("info", "--output=json", path)


def test_discarded_clusters_are_given_back_and_reads_stay_zeros() -> None:
    file = fresh(4 << 20)
    disk = Qcow2(file, give_back=True)
    disk.write(0, b"x" * (1 << 20))
    disk.flush()
    disk.discard(0, 1 << 20)
    assert disk.read(0, 1 << 20) == bytes(1 << 20)
    disk.flush()
    assert bytes(file.data).count(b"x" * 512) == 0
    before = len(file.data)
    disk.write(0, b"y" * (1 << 19))
    disk.close()
    assert len(file.data) <= before + 3 * 65536


def test_a_discard_of_version_2_over_a_backing_file_stores_nothing() -> None:
    options = {"compat": "0.10", "backing_file": "base", "backing_fmt": "raw"}
    disk = Qcow2(fresh(1 << 20, **options), backing=MemoryDisk(b"x" * (1 << 20)), give_back=True)
    disk.discard(0, 1 << 20)
    assert check(disk).allocated == 0
    disk.write_zeroes(0, 65536, True)
    assert disk.read(0, 65537) == bytes(65536) + b"x"


def test_without_leave_to_discard_nothing_is_freed() -> None:
    disk = Qcow2(fresh(1 << 20))
    disk.write(0, b"x" * 65536)
    disk.discard(0, 65536)
    assert disk.read(0, 512) == b"x" * 512
    disk.write_zeroes(0, 65536, True)
    assert disk.read(0, 65536) == bytes(65536)
    assert_sound(disk)


@pytest.mark.parametrize("offset,length", [(-1, 1), (0, (1 << 20) + 1), (1 << 20, 1), (1 << 62, 512), (512, -1)])
def test_ranges_outside_the_disk_are_refused_and_nothing_is_written(offset: int, length: int) -> None:
    file = fresh(1 << 20)
    disk, before = Qcow2(file, give_back=True), bytes(file.data)
    for access in (disk.read, disk.discard, disk.write_zeroes):
        with pytest.raises(OSError) as caught:
            access(offset, length)
        assert caught.value.errno == errno.EINVAL
    if length > 0:
        with pytest.raises(OSError):
            disk.write(offset, bytes(length))
    disk.flush()
    assert bytes(file.data) == before


def test_a_read_only_image_is_never_written() -> None:
    file = fresh(1 << 20)
    file.writes = 0
    disk = Qcow2(file, read_only=True)
    with pytest.raises(PermissionError):
        disk.write(0, bytes(512))
    with pytest.raises(PermissionError):
        disk.discard(0, 512)
    disk.flush()
    disk.close()
    assert file.writes == 0


def test_tables_in_memory_are_bounded_and_what_left_it_is_not_lost() -> None:
    file = fresh(64 << 20, cluster_size=512)
    disk = Qcow2(file)
    disk.tables._l2_room, disk.tables._block_room = 5, 5
    rng = random.Random(3)
    want = {}
    for _ in range(800):
        offset = rng.randrange((64 << 20) // 512) * 512
        want[offset] = rng.randbytes(512)
        disk.write(offset, want[offset])
    assert len(disk.tables.l2) <= 5 and len(disk.tables._blocks) <= 8
    for offset, data in want.items():
        assert disk.read(offset, 512) == data
    assert_sound(disk)


def test_a_write_into_a_table_is_refused_and_the_image_stays_as_it_was() -> None:
    file = fresh(1 << 20)
    disk = Qcow2(file)
    disk.write(0, b"x" * 65536)
    disk.close()
    disk = Qcow2(file)
    l2 = disk.tables.l1[0] & 0x00FFFFFFFFFFFE00
    file.write(l2, (l2 | 1 << 63).to_bytes(8, "big"))
    disk = Qcow2(file)
    before = bytes(file.data)
    with pytest.raises(ImageError, match="holds a table, not data"):
        disk.write(0, b"y" * 512)
    assert bytes(file.data) == before


def test_the_corrupt_mark_allows_reading_only() -> None:
    file = fresh(1 << 20)
    file.data[79] |= 2
    assert Qcow2(file, read_only=True).read(0, 512) == bytes(512)
    with pytest.raises(ImageError, match="marked corrupt"):
        Qcow2(file)


def test_unknown_extensions_are_kept_and_unknown_autoclear_bits_go_with_the_first_write() -> None:
    file = fresh(1 << 20)
    disk = Qcow2(file)
    disk.header.extensions.append((0x12345678, b"what only others know"))
    head = disk.header.pack()
    file.write(0, head)
    file.data[88:96] = (1 << 40).to_bytes(8, "big")
    disk = Qcow2(file)
    disk.read(0, 512)
    assert any(file.data[88:96])
    disk.write(0, b"x" * 512)
    disk.close()
    assert not any(file.data[88:96])
    assert (0x12345678, b"what only others know") in Qcow2(MemoryFile(bytes(file.data))).header.extensions


def test_a_flush_that_failed_leaves_the_disk_refusing_changes() -> None:
    class Broken(MemoryFile):
        fail = False

        def flush(self) -> None:
            if self.fail:
                raise OSError(errno.EIO, "injected")

    file = Broken(bytes(fresh(1 << 20).data))
    disk = Qcow2(file)
    disk.write(0, b"x" * 512)
    file.fail = True
    for _ in range(2):
        with pytest.raises(OSError, match="injected"):
            disk.flush()
    file.fail = False
    disk.flush()
    assert Qcow2(file).read(0, 512) == b"x" * 512
