"""Disk backends against real files in a temporary directory."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.backends import MemoryConsole, MemoryDisk, OverlayDisk, RawDisk


def image(tmp_path: Path, data: bytes) -> str:
    path = tmp_path / "disk.img"
    path.write_bytes(data)
    return str(path)


def test_a_raw_disk_reads_back_what_was_written_and_the_file_holds_it(tmp_path: Path) -> None:
    path = image(tmp_path, bytes(2048))
    disk = RawDisk(path)
    disk.write(512, b"x" * 512)
    disk.flush()
    assert disk.read(0, 2048) == bytes(512) + b"x" * 512 + bytes(1024)
    assert Path(path).read_bytes() == bytes(512) + b"x" * 512 + bytes(1024)


def test_an_odd_tail_reads_as_zeros_up_to_the_sector_end(tmp_path: Path) -> None:
    disk = RawDisk(image(tmp_path, b"a" * 700))
    assert disk.size == 1024
    assert disk.read(512, 512) == b"a" * 188 + bytes(324)


def test_a_write_into_the_odd_tail_keeps_every_byte(tmp_path: Path) -> None:
    path = image(tmp_path, b"a" * 700)
    disk = RawDisk(path)
    disk.write(512, b"b" * 512)
    assert disk.read(512, 512) == b"b" * 512
    assert os.path.getsize(path) == 1024


def test_a_file_that_shrinks_gives_an_os_error_on_read_and_on_write(tmp_path: Path) -> None:
    path = image(tmp_path, bytes(4096))
    disk = RawDisk(path)
    os.truncate(path, 1000)
    assert disk.read(0, 512) == bytes(512)
    with pytest.raises(OSError, match="shorter than the 4096 bytes"):
        disk.read(512, 512)
    with pytest.raises(OSError, match="shorter than the 4096 bytes"):
        disk.write(0, bytes(512))
    assert os.path.getsize(path) == 1000


def test_a_read_only_disk_refuses_writes_and_works_on_a_write_protected_file(tmp_path: Path) -> None:
    path = image(tmp_path, b"q" * 512)
    os.chmod(path, 0o444)
    disk = RawDisk(path, read_only=True)
    assert disk.read_only
    with pytest.raises(PermissionError):
        disk.write(0, bytes(512))
    disk.flush()
    assert disk.read(0, 512) == b"q" * 512


def test_missing_empty_and_unfit_files_are_refused_when_opened(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        RawDisk(str(tmp_path / "none"))
    with pytest.raises(OSError, match="must not be empty"):
        RawDisk(image(tmp_path, b""))
    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)
    with pytest.raises(OSError, match="neither a regular file nor a block device"):
        RawDisk(fifo, read_only=True)
    with pytest.raises(OSError):
        RawDisk(str(tmp_path), read_only=True)


def test_after_one_failed_flush_every_later_flush_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = RawDisk(image(tmp_path, bytes(512)))

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "injected")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(OSError, match="injected"):
            disk.flush()
    with pytest.raises(OSError, match="earlier flush"):
        disk.flush()


def test_short_host_writes_and_reads_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = RawDisk(image(tmp_path, bytes(1024)))
    pread, pwrite = os.pread, os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: pwrite(fd, bytes(data)[:100], offset))
    monkeypatch.setattr(os, "pread", lambda fd, count, offset: pread(fd, min(count, 77), offset))
    data = bytes(i * 7 & 0xFF for i in range(1024))
    disk.write(0, data)
    assert disk.read(0, 1024) == data


def test_a_closed_disk_gives_os_errors(tmp_path: Path) -> None:
    disk = RawDisk(image(tmp_path, bytes(512)))
    disk.close()
    disk.close()
    for access in (lambda: disk.read(0, 1), lambda: disk.write(0, b"x"), disk.flush):
        with pytest.raises(OSError, match="closed"):
            access()


@pytest.mark.parametrize("offset,length", [(-1, 1), (0, 1025), (1024, 1), (1 << 60, 512)])
def test_accesses_outside_the_disk_are_os_errors(tmp_path: Path, offset: int, length: int) -> None:
    memory = MemoryDisk(bytes(1024))
    for disk in (RawDisk(image(tmp_path, bytes(1024))), memory, OverlayDisk(memory)):
        with pytest.raises(OSError):
            disk.read(offset, length)
        with pytest.raises(OSError):
            disk.write(offset, bytes(length))


def test_an_overlay_never_writes_its_base(tmp_path: Path) -> None:
    path = image(tmp_path, b"k" * 10000)
    disk = OverlayDisk(RawDisk(path, read_only=True))
    assert not disk.read_only
    disk.write(0, b"n" * 512)
    disk.write(9728, b"t" * 512)
    disk.flush()
    assert disk.read(0, 1024) == b"n" * 512 + b"k" * 512
    assert disk.read(9728, 512) == b"t" * 512
    assert Path(path).read_bytes() == b"k" * 10000


@given(
    st.lists(st.tuples(st.integers(0, 14000), st.binary(min_size=0, max_size=5000)), max_size=12),
    st.integers(0, 14000),
    st.integers(0, 9000),
)
def test_an_overlay_reads_like_a_plain_disk(writes: list[tuple[int, bytes]], offset: int, length: int) -> None:
    start = bytes(i % 251 for i in range(13500))
    plain, base = MemoryDisk(start), MemoryDisk(start)
    overlay = OverlayDisk(base)
    for at, data in writes:
        data = data[: max(0, plain.size - at)]
        at = min(at, plain.size)
        plain.write(at, data)
        overlay.write(at, data)
    length = max(0, min(length, plain.size - offset))
    offset = min(offset, plain.size)
    assert overlay.read(offset, length) == plain.read(offset, length)
    assert overlay.read(0, overlay.size) == plain.read(0, plain.size)
    assert bytes(base.data[:13500]) == start


def test_a_memory_console_keeps_only_the_newest_bytes() -> None:
    console = MemoryConsole(limit=4)
    console.send(b"abc")
    console.send(b"def")
    assert bytes(console.data) == b"cdef"
