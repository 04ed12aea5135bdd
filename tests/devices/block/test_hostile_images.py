"""Images from strangers: every header field out of bounds, damaged tables, files that images lead to."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from devices.block.opening import ProbedRaw, ReferenceRefused, Rules, open_image, probe
from devices.block.qcow2.image import Qcow2
from devices.block.raw import RawDisk
from devices.block.storage import HostFile, ImageError
from devices.block.vhd import Vhd
from devices.block.vmdk import open_vmdk
from tests.devices.block.fuzz_qcow2 import HEADER_FIELDS, base_image, structures
from tests.devices.block.support import MemoryFile, needs_qemu, new, qemu, scale

ROOT = Path(__file__).resolve().parents[3]
IMAGE = base_image(4096, 4)


def values(width: int) -> list[int]:
    top = (1 << 8 * width) - 1
    return [0, 1, 7, 511, 513, 4096, 4097, 12288, len(IMAGE), 1 << 20, 1 << 30, top, top >> 1, top - top // 2]


@pytest.mark.parametrize("name,at,width", HEADER_FIELDS)
def test_every_header_field_at_its_bounds_gives_a_disk_or_an_error_that_names_the_field(
    name: str, at: int, width: int
) -> None:
    """S2: 19 fields, 14 values each, for reading and for writing."""
    errors = 0
    for value in values(width):
        if value >> 8 * width:
            continue
        data = bytearray(IMAGE)
        data[at : at + width] = value.to_bytes(width, "big")
        for read_only in (True, False):
            file = MemoryFile(bytes(data))
            try:
                disk = Qcow2(file, read_only=read_only)
                if disk.header.backing_file == "":
                    disk.read(0, min(disk.size, 65536))
            except ImageError as error:
                errors += 1
                assert str(error.strerror).startswith("qcow2 ")
                assert "byte 0x" in str(error) or "entry" in str(error) or "cluster" in str(error)
                assert file.writes == 0
    if name not in ("compatible_features", "autoclear_features", "backing_file_size"):
        assert errors > 0


@pytest.mark.parametrize("structure", ["l1", "l2", "refcount table", "snapshots"])
def test_every_number_in_the_tables_at_its_bounds_gives_a_disk_or_an_os_error(structure: str) -> None:
    for at, width in structures(IMAGE)[structure][: scale(24)]:
        for value in values(width):
            data = bytearray(IMAGE)
            data[at : at + width] = (value & (1 << 8 * width) - 1).to_bytes(width, "big")
            file = MemoryFile(bytes(data))
            try:
                disk = Qcow2(file)
                for offset in range(0, disk.size, 4096):
                    disk.read(offset, 4096)
                assert file.writes == 0
                disk.write(0, b"x" * 512)
                disk.close()
            except OSError as error:
                assert error.strerror


def test_damaged_images_give_errors_in_words_in_time_and_in_little_memory() -> None:
    """The release runs 100,000 cases: python -m tests.devices.block.fuzz_qcow2 --cases 100000."""
    words = [sys.executable, "-m", "tests.devices.block.fuzz_qcow2", "--cases", str(scale(400)), "--seed", "11"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=1200)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "qcow2 header" in done.stdout and "qcow2 L2 table" in done.stdout


def test_a_cut_file_of_every_length_is_an_error_or_a_disk() -> None:
    for length in (*range(200), *range(200, len(IMAGE), 1009)):
        try:
            disk = Qcow2(MemoryFile(IMAGE[:length]), read_only=True)
            disk.read(0, 4096)
        except OSError as error:
            assert error.strerror


def test_what_compressed_data_unfold_to_is_bounded_by_a_cluster() -> None:
    import zlib

    file = MemoryFile(IMAGE)
    disk = Qcow2(file, read_only=True)
    index = (32 << 10) // 4096
    offset, _ = disk.tables.span(disk._entry(index))
    bomb = zlib.compressobj(9, zlib.DEFLATED, -12)
    file.write(offset, (bomb.compress(bytes(1 << 20)) + bomb.flush())[:1000])
    assert disk.read(32 << 10, 4096) == bytes(4096)


# -- other files


def chain(tmp_path: Path, length: int) -> Path:
    (tmp_path / "0.raw").write_bytes(b"base" * 16384)
    last, form = "0.raw", "raw"
    for number in range(1, length + 1):
        new(tmp_path / f"{number}.qcow2", 65536, backing_file=last, backing_fmt=form).tables.file.close()
        last, form = f"{number}.qcow2", "qcow2"
    return tmp_path / last


def test_a_backing_file_opens_only_if_it_was_named(tmp_path: Path) -> None:
    top = str(chain(tmp_path, 1))
    with pytest.raises(ReferenceRefused, match=r"backing file .*0.raw is not named on the command line"):
        open_image(top)
    for rules in (
        Rules(allowed=[str(tmp_path / "0.raw")]),
        Rules(any_file=True),
        Rules(names=[(str(tmp_path / "0.raw"), "raw")]),
    ):
        disk = open_image(top, rules=rules)
        assert disk.read(0, 8) == b"basebase"
        disk.close()


@pytest.mark.parametrize("name", ["json:{}", "nbd://x/y", "file:/etc/passwd", "ssh:a"])
def test_names_with_a_protocol_are_never_followed(tmp_path: Path, name: str) -> None:
    new(tmp_path / "a.qcow2", 65536, backing_file=name, backing_fmt="raw").tables.file.close()
    with pytest.raises(ImageError, match="is not the name of a file"):
        open_image(str(tmp_path / "a.qcow2"), rules=Rules(any_file=True))


def test_a_symbolic_link_to_another_file_is_not_the_file_that_was_named(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(65536))
    (tmp_path / "named").write_bytes(bytes(65536))
    os.symlink("secret", tmp_path / "link")
    new(tmp_path / "a.qcow2", 65536, backing_file="link", backing_fmt="raw").tables.file.close()
    with pytest.raises(ReferenceRefused):
        open_image(str(tmp_path / "a.qcow2"), rules=Rules(allowed=[str(tmp_path / "named")]))


def test_chains_have_eight_backing_files_at_most(tmp_path: Path) -> None:
    disk = open_image(str(chain(tmp_path, 8)), rules=Rules(any_file=True))
    assert disk.read(0, 4) == b"base"
    disk.close()
    with pytest.raises(OSError, match="more than 8 backing files"):
        open_image(str(chain(tmp_path, 10)), rules=Rules(any_file=True))


def test_an_image_that_leads_back_to_itself_is_refused(tmp_path: Path) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        new(tmp_path / name, 65536, backing_file=other, backing_fmt="qcow2").tables.file.close()
    with pytest.raises(OSError, match="leads back to itself"):
        open_image(str(tmp_path / "a"), rules=Rules(any_file=True, lock=False))


def test_a_disk_whose_format_was_guessed_cannot_be_made_another_format(tmp_path: Path) -> None:
    """CVE-2008-2004."""
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(65536))
    disk = open_image(str(path))
    assert isinstance(disk, ProbedRaw)
    for magic in (b"QFI\xfb", b"KDMV", b"conectix", b"# Disk DescriptorFile", b"QED\0"):
        with pytest.raises(PermissionError, match="another format"):
            disk.write(0, magic.ljust(512, b"\0"))
    disk.write(0, b"\xeb\x3c".ljust(512, b"\x90"))
    disk.close()
    disk = open_image(str(path), "raw")
    disk.write(0, b"QFI\xfb".ljust(512, b"\0"))
    disk.close()
    assert probe(path.read_bytes()[:80]) == "qcow2"


@needs_qemu
def test_foreign_images_read_as_qemu_reads_them_and_damage_is_named(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    size = 16515072
    data = (b"some data" * 50000).ljust(3 << 20, b"\0") + b"end" * 100_000
    raw.write_bytes(data.ljust(size, b"\0"))
    names = {
        "vpc": ["subformat=dynamic,force_size=on", "subformat=fixed,force_size=on"],
        "vmdk": ["subformat=monolithicSparse", "subformat=streamOptimized", "subformat=monolithicFlat"],
    }
    for form, shapes in names.items():
        for shape in shapes:
            path = tmp_path / f"a.{form}"
            qemu("convert", "-O", form, "-o", shape, raw, path)
            disk = open_image(str(path), form, read_only=True, rules=Rules(any_file=True))
            assert disk.size == size and disk.read(0, size) == raw.read_bytes(), shape
            assert disk.read(3 << 20, 300) == b"end" * 100
            with pytest.raises(PermissionError):
                disk.write(0, bytes(512))
            disk.close()
            path.unlink()


@needs_qemu
@pytest.mark.parametrize("form", ["vpc", "vmdk"])
def test_damaged_foreign_images_are_errors_in_words(tmp_path: Path, form: str) -> None:
    import random

    (tmp_path / "raw").write_bytes((b"x" * 70000).ljust(1 << 20, b"\0"))
    qemu("convert", "-O", form, tmp_path / "raw", tmp_path / "a")
    good, rng = (tmp_path / "a").read_bytes(), random.Random(1)
    for _ in range(scale(300)):
        data = bytearray(good)
        at = rng.choice((rng.randrange(512), rng.randrange(2048), rng.randrange(len(data))))
        data[at : at + 4] = rng.choice((b"\xff" * 4, bytes(4), struct.pack(">I", rng.randrange(1 << 32))))
        if rng.random() < 0.1:
            del data[rng.randrange(len(data)) :]
        try:
            file = MemoryFile(bytes(data))
            disk = Vhd(file) if form == "vpc" else open_vmdk(file, lambda name, kind: RawDisk(MemoryFile(b"x")))
            for offset in range(0, min(disk.size, 1 << 20), 65536):
                disk.read(offset, min(65536, disk.size - offset))
        except OSError as error:
            assert error.strerror


def test_locks_keep_a_second_writer_out_and_name_the_first(tmp_path: Path) -> None:
    path = str(tmp_path / "a")
    Path(path).write_bytes(bytes(4096))
    one = HostFile(path, lock=True)
    for read_only in (True, False):
        with pytest.raises(OSError, match="in use by another drive of this machine, which writes to it"):
            HostFile(path, read_only, lock=True)
    one.close()
    readers = [HostFile(path, True, lock=True) for _ in range(3)]
    with pytest.raises(OSError, match="does not share it"):
        HostFile(path, lock=True)
    for reader in readers:
        reader.close()
    HostFile(path, lock=True).close()


@needs_qemu
@pytest.mark.parametrize("form", ["raw", "qcow2"])
def test_qemu_and_we_exclude_one_another(tmp_path: Path, form: str) -> None:
    path = tmp_path / "a"
    qemu("create", "-f", form, path, "1M")

    def run(words: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["qemu-io", "-f", form, *words, str(path)], capture_output=True, text=True, timeout=60)

    ours = open_image(str(path), form)
    for words in (["-c", "write 0 512"], ["-r", "-c", "read 0 512"]):
        if form == "raw" and "-r" in words:
            # A raw image that qemu-io only reads it shares with writers.
            continue
        theirs = run(words)
        assert theirs.returncode == 1 and "lock" in theirs.stderr
    ours.close()
    ours = open_image(str(path), form, read_only=True)
    subprocess.run(
        ["qemu-io", "-f", form, "-r", "-c", "read 0 512", str(path)], check=True, capture_output=True, timeout=60
    )
    theirs = subprocess.run(
        ["qemu-io", "-f", form, "-c", "quit", str(path)], capture_output=True, text=True, timeout=60
    )
    assert theirs.returncode == 1
    ours.close()
    with subprocess.Popen(
        ["qemu-io", "-f", form, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as holder:
        assert holder.stdin is not None and holder.stdout is not None
        holder.stdin.write(b"write 0 512\n")
        holder.stdin.flush()
        holder.stdout.readline()
        for read_only in (True, False):
            with pytest.raises(OSError, match=rf"in use by process {holder.pid} \(qemu-io\), which writes to it"):
                open_image(str(path), form, read_only=read_only)
        holder.stdin.write(b"quit\n")
        holder.communicate(timeout=60)
    open_image(str(path), form).close()
