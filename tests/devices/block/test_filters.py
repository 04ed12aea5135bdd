"""Filters, overlays and throttling, each over a disk in memory."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import pytest

from devices.block import storage
from devices.block.filters import Delay, FaultInjector, Policy
from devices.block.overlay import OverlayDisk
from devices.block.qcow2.image import Qcow2
from devices.block.raw import MemoryDisk, RawDisk
from devices.block.storage import HostFile
from devices.block.throttle import SECOND, Limits, Throttle
from tests.devices.block.support import MemoryFile, fresh

MS = 1_000_000


class Counting(MemoryDisk):
    """Notes flushes and zeroed ranges."""

    def __init__(self, size: int) -> None:
        super().__init__(bytes(size))
        self.calls: list[str] = []

    def flush(self) -> None:
        self.calls.append("flush")

    def write_zeroes(self, offset: int, length: int, unmap: bool = False) -> None:
        self.calls.append(f"zero {offset} {length} {unmap}")
        super().write_zeroes(offset, length, unmap)


def test_writethrough_flushes_after_every_write_and_unsafe_never() -> None:
    disk = Counting(4096)
    Policy(disk, write_through=True).write(0, b"x" * 512)
    assert disk.calls == ["flush"]
    unsafe = Policy(disk, no_flush=True)
    unsafe.write(0, b"y" * 512)
    unsafe.flush()
    assert disk.calls == ["flush"] and disk.data[:1] == b"y"


@pytest.mark.parametrize("mode,unmap", [("on", False), ("unmap", True)])
def test_zeros_are_found_and_stored_as_zeros(mode: str, unmap: bool) -> None:
    disk = Counting(4096)
    found = Policy(disk, detect_zeroes=mode)
    found.write(512, bytes(1024))
    found.write(512, b"\0" * 511 + b"x")
    assert disk.calls == [f"zero 512 1024 {unmap}"]


def test_an_average_of_ten_requests_a_second_is_kept_and_the_slack_is_a_tenth_of_a_second() -> None:
    throttle = Throttle({"iops": Limits(10)})
    times = [throttle.admit(0, False, 4096) for _ in range(12)]
    assert times[0] == times[1] == 0
    assert times[11] == SECOND
    assert throttle.admit(100 * SECOND, True, 1) == 100 * SECOND


def test_bytes_of_reads_and_of_writes_have_limits_of_their_own() -> None:
    throttle = Throttle({"bps_wr": Limits(1 << 20)})
    assert throttle.admit(0, True, 1 << 20) == 0
    assert throttle.admit(0, True, 512) == 900 * MS
    other = Throttle({"bps_wr": Limits(1 << 20)})
    assert [other.admit(0, False, 1 << 24) for _ in range(3)] == [0, 0, 0]


def test_a_burst_is_as_fast_as_its_maximum_and_then_the_average_rules() -> None:
    throttle = Throttle({"iops": Limits(100, 1000, 2)})
    times = [throttle.admit(0, False, 512) for _ in range(2600)]
    in_burst = sum(at <= 2 * SECOND for at in times)
    assert 1900 <= in_burst <= 2300
    assert times[-1] > 4 * SECOND


def test_large_requests_count_as_several_where_iops_size_says_so() -> None:
    throttle = Throttle({"iops": Limits(10)}, iops_size=4096)
    throttle.admit(0, False, 40960)
    assert throttle.admit(0, False, 512) == 900 * MS


def test_beyond_its_bound_an_overlay_goes_to_a_file_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    size = (1 << 20) + 1536
    base = MemoryDisk(bytes(i % 253 for i in range(size)))
    disk, model, rng = OverlayDisk(base, limit=65536), bytearray(base.data), random.Random(4)
    for _ in range(400):
        offset = rng.randrange(size // 512) * 512
        data = rng.choice((rng.randbytes, bytes))(min(size - offset, 512 * rng.choice((1, 3, 8, 40))))
        if rng.random() < 0.3:
            assert disk.read(offset, len(data)) == model[offset : offset + len(data)]
        else:
            disk.write(offset, data)
            model[offset : offset + len(data)] = data
    assert disk.read(0, size) == model
    held = sum(len(one) for one in disk._blocks.values() if isinstance(one, bytes) and any(one))
    assert held <= 65536 and disk._slots > 100
    assert os.listdir(tmp_path) == []
    disk.close()


def test_an_overlay_over_qcow2_leaves_it_as_it_was() -> None:
    """users.md R5."""
    file = fresh(1 << 20)
    before = bytes(file.data)
    disk = OverlayDisk(Qcow2(file, read_only=True))
    disk.write(4096, b"x" * 70_000)
    disk.discard(0, 8192)
    disk.flush()
    assert disk.read(12288, 512) == b"x" * 512 and disk.read(0, 8192) == bytes(8192)
    assert disk.extents(0, 512).__next__().data
    disk.close()
    assert bytes(file.data) == before


def test_the_injector_fails_the_call_that_it_was_told() -> None:
    file = FaultInjector(MemoryFile(bytes(4096)), 2, errno.ENOSPC)
    file.write(0, b"a")
    file.flush()
    with pytest.raises(OSError, match="injected") as caught:
        file.write(1, b"b")
    assert caught.value.errno == errno.ENOSPC
    file.write(2, b"c")
    assert file.read(0, 3) == b"a\0c" and file.calls == 5
    half = FaultInjector(MemoryFile(bytes(4096)), 0, partial=True, forever=True)
    for _ in range(2):
        with pytest.raises(OSError):
            half.write(0, b"z" * 2048)
    assert half.file.read(0, 4096) == b"z" * 1024 + bytes(3072)


def test_a_delay_is_asked_before_each_call() -> None:
    calls: list[str] = []
    disk = RawDisk(Delay(MemoryFile(bytes(4096)), calls.append))
    disk.write(0, b"x" * 512)
    disk.read(0, 512)
    disk.flush()
    assert calls == ["write", "read", "flush"]


def test_requests_past_the_page_cache_hold_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(3 << 20) + b"tail" * 100)
    disk = RawDisk(HostFile(str(path), direct=True))
    model, rng = bytearray(path.read_bytes().ljust(disk.size, b"\0")), random.Random(2)
    for _ in range(200):
        offset = rng.randrange(disk.size // 512) * 512
        step = rng.choice((512, 4096, 65536, 1 << 20, (1 << 20) + 8192))
        offset = offset if step == 512 else offset // 4096 * 4096
        length = min(step, disk.size - offset)
        if rng.random() < 0.5:
            data = rng.randbytes(length)
            disk.write(offset, data)
            model[offset : offset + length] = data
        else:
            assert disk.read(offset, length) == model[offset : offset + length]
    assert disk.read(0, disk.size) == model
    disk.flush()
    disk.close()
    assert path.read_bytes() == model


def test_discards_of_a_raw_file_make_holes_only_with_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = pytest.importorskip("emu.engine.host", reason="the engine is not built")
    monkeypatch.setattr(storage, "punch_hole", host.punch_hole)
    path = tmp_path / "a"
    path.write_bytes(b"x" * (1 << 20))
    disk = RawDisk(str(path))
    disk.discard(0, 1 << 20)
    assert disk.read(0, 512) == b"x" * 512
    disk.close()
    disk = RawDisk(str(path), give_back=True)
    disk.discard(0, 1 << 19)
    disk.write_zeroes(1 << 19, 1 << 19, True)
    assert disk.read(0, 1 << 20) == bytes(1 << 20)
    disk.flush()
    if disk.file.punch(0, 4096):
        assert path.stat().st_blocks == 0
        assert [e.data for e in disk.extents(0, 1 << 20)] == [False]
    disk.close()


def test_a_qcow2_file_that_shrinks_while_open_is_an_io_error(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(fresh(1 << 20).data))
    disk = Qcow2(HostFile(str(path)))
    disk.write(0, b"x" * 200_000)
    disk.flush()
    os.truncate(path, 300_000)
    with pytest.raises(OSError, match=r"shorter than|lies behind"):
        disk.read(0, 200_000)
    disk.close()
