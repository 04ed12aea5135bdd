"""Power cuts, torn writes, killed processes and failing hosts: what was flushed is there, and nothing is inconsistent.

EMU_BLOCK_SCALE multiplies the numbers of cases (`EMU_BLOCK_SCALE=50 pytest tests/devices/block/test_crash_safety.py`).
"""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from devices.block.filters import FLUSH, FaultInjector, LogEntry, WriteLog, read_log
from devices.block.qcow2.check import check
from devices.block.qcow2.image import Qcow2
from devices.block.raw import RawDisk
from devices.block.storage import HostFile
from tests.devices.block.support import QEMU_IMG, MemoryFile, apply, assert_sound, fresh, new, qemu, scale, steps

SIZE = 1 << 18
ROOT = Path(__file__).resolve().parents[3]


def workload(seed: int) -> tuple[bytes, list[LogEntry], list[tuple[int, bytes]], list[bytes]]:
    """Random work on an image: the image before, a log of its writes, (entries logged, contents) of each flush, and the
    contents after each step."""
    rng = random.Random(seed)
    options = rng.choice([{"cluster_size": 512}, {"cluster_size": 4096, "refcount_bits": 1}, {"cluster_size": 65536}])
    file = fresh(SIZE, **options)
    before = bytes(file.data)
    log = WriteLog(file, MemoryFile())
    disk, model = Qcow2(log, give_back=True), bytearray(SIZE)
    stable, versions = [(0, bytes(SIZE))], []
    for what, offset, length in steps(rng, SIZE, 40):
        apply(disk, model, rng, what, offset, length)
        if what == "flush":
            stable.append((log._entries, bytes(model)))
        versions.append(bytes(model))
    return before, list(read_log(log._log)), stable, versions


def touched_since(entries: list[tuple[int, bytes]], position: int) -> bytes:
    """The contents at the last flush that had ended before `position` log entries."""
    return max((one for one in entries if one[0] <= position), key=lambda one: one[0])[1]


def replay(image: bytearray, entry: LogEntry, cut: int | None = None) -> None:
    data = entry.data if not entry.flags & 4 else bytes(entry.length)
    data = data[:cut] if cut is not None else data
    if entry.offset > len(image):
        image.extend(bytes(entry.offset - len(image)))
    image[entry.offset : entry.offset + len(data)] = data


def assert_holds(image: bytearray, stable: bytes, allowed: list[bytes]) -> None:
    """The image is sound, and each sector is as it was at the last flush or as something wrote it later."""
    disk = Qcow2(MemoryFile(bytes(image)), read_only=True)
    assert_sound(disk)
    seen = disk.read(0, SIZE)
    if seen != stable:
        for at in range(0, SIZE, 512):
            part = seen[at : at + 512]
            assert part == stable[at : at + 512] or any(part == one[at : at + 512] for one in allowed), f"sector {at}"


@pytest.mark.parametrize("seed", range(scale(4)))
def test_a_power_cut_at_any_write_loses_nothing_that_was_flushed(seed: int) -> None:
    before, entries, stable, allowed = workload(seed)
    image, rng = bytearray(before), random.Random(seed)
    base, base_at = bytearray(before), 0
    for position in range(len(entries) + 1):
        assert_holds(image, touched_since(stable, position), allowed)
        if position == len(entries):
            break
        entry = entries[position]
        if entry.flags & FLUSH:
            # Between two flushes the host may keep any part of what was written, in any order, and tear a write.
            for _ in range(3):
                some = bytearray(base)
                for one in entries[base_at:position]:
                    if rng.random() < 0.5:
                        torn = rng.random() < 0.3 and len(one.data) > 512
                        replay(some, one, rng.randrange(1, len(one.data) // 512) * 512 if torn else None)
                assert_holds(some, touched_since(stable, base_at), allowed)
            base, base_at = bytearray(image), position + 1
        else:
            replay(image, entry)


@pytest.mark.parametrize("seed", range(scale(2)))
@pytest.mark.parametrize("kind", [(errno.EIO, False, False), (errno.ENOSPC, True, True), (errno.EIO, False, True)])
def test_a_host_call_that_fails_is_reported_and_the_image_stays_sound(seed: int, kind: tuple[int, bool, bool]) -> None:
    code, forever, partial = kind
    rng = random.Random(seed)
    start = fresh(SIZE, cluster_size=rng.choice([512, 4096]))
    counting = FaultInjector(MemoryFile(bytes(start.data)))
    _work(counting, seed)
    total = counting.calls
    every = max(1, total // scale(60))
    for at in range(seed % every, total, every):
        memory = MemoryFile(bytes(start.data))
        injector = FaultInjector(memory, at, code, forever=forever, partial=partial)
        stable, allowed, failed = _work(injector, seed)
        # Room that cannot be given back is nobody's concern; every other failure is heard of.
        assert failed or injector.failed == {"punch"}
        disk = Qcow2(memory, read_only=True)
        assert_sound(disk)
        seen = disk.read(0, SIZE)
        for sector in range(0, SIZE, 512):
            part = seen[sector : sector + 512]
            assert any(part == one[sector : sector + 512] for one in (stable, *allowed))


def _work(file: FaultInjector, seed: int) -> tuple[bytes, list[bytes], bool]:
    """Random work on a file that fails: contents at the last good flush, contents after it, whether anything failed."""
    rng, model, failed, unsure = random.Random(seed), bytearray(SIZE), False, False
    stable, allowed = bytes(SIZE), [bytes(SIZE)]
    try:
        disk = Qcow2(file, give_back=True)
    except OSError:
        return stable, allowed, True
    for what, offset, length in steps(rng, SIZE, 30):
        if what == "read":
            continue
        data = rng.randbytes(length) if what == "write" else bytes(length)
        for _ in range(2):
            # Whoever gets an error tries once more, as a guest does.
            try:
                if what == "write":
                    disk.write(offset, data)
                elif what in ("zero", "unmap"):
                    disk.write_zeroes(offset, length, what == "unmap")
                elif what == "flush":
                    disk.flush()
                    if not unsure:
                        stable, allowed = bytes(model), []
                break
            except OSError:
                failed = True
        else:
            unsure = True
        if what in ("write", "zero", "unmap"):
            # A write that failed may have been made in part.
            model[offset : offset + length] = data
            allowed.append(bytes(model))
    return stable, allowed, failed


WRITER = """
import os, random, sys
from devices.block.qcow2.image import Qcow2
from devices.block.raw import RawDisk
from devices.block.storage import HostFile
path, kind, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
file = HostFile(path, lock=True)
disk = Qcow2(file, give_back=True) if kind == "qcow2" else RawDisk(file)
rng, number = random.Random(seed), 0
pending = []
while True:
    number += 1
    block = rng.randrange(disk.size // 4096)
    count = min(rng.choice((1, 1, 2, 16, 40)), disk.size // 4096 - block)
    stamp = seed << 32 | number
    os.write(1, f"w {block} {count} {stamp}\\n".encode())
    disk.write(block * 4096, stamp.to_bytes(8, "little") * 512 * count)
    if rng.random() < 0.2:
        disk.flush()
        os.write(1, f"f {stamp}\\n".encode())
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["qcow2", "qcow2 512", "raw"])
def test_kill_9_at_random_moments_loses_no_flushed_write_and_leaks_nothing(tmp_path: Path, kind: str) -> None:
    """S5; users.md R18. The same image goes through all kills: EMU_BLOCK_SCALE=10 is the 200 moments of the release."""
    path, size = tmp_path / "image", 8 << 20
    if kind == "raw":
        path.write_bytes(bytes(size))
    else:
        new(path, size, cluster_size=int(kind[6:] or 65536)).close()
    moments = random.Random(int(os.environ.get("EMU_SEED", "1")))
    held = [0] * (size // 4096)
    for seed in range(1, scale(7) + 1):
        words = [sys.executable, "-c", WRITER, str(path), kind[:5].strip(), str(seed)]
        writer = subprocess.Popen(words, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})
        assert writer.stdout is not None
        first = writer.stdout.readline()
        time.sleep(moments.random() * 0.12)
        os.kill(writer.pid, signal.SIGKILL)
        lines = (first + writer.stdout.read()).decode().splitlines()
        writer.wait()
        writer.stdout.close()
        assert lines[0].startswith("w ")
        maybe = _follow(held, lines)
        if kind != "raw" and QEMU_IMG:
            qemu("check", "-f", "qcow2", path)
        file = HostFile(str(path), True, lock=True)
        disk = Qcow2(file) if kind != "raw" else RawDisk(file)
        if isinstance(disk, Qcow2):
            assert_sound(disk)
        torn = []
        for block in range(size // 4096):
            stamps = _stamps(disk.read(block * 4096, 4096))
            allowed = {held[block], *maybe.get(block, ())}
            assert stamps <= allowed, f"block {block}: {stamps} is not of {allowed}"
            if len(stamps) > 1:
                torn.append(block)
            else:
                held[block] = stamps.pop()
        disk.close()
        if torn:
            # A write that was cut in two is made anew, so that the next round knows what is there.
            file = HostFile(str(path))
            disk = Qcow2(file) if kind != "raw" else RawDisk(file)
            for block in torn:
                disk.write(block * 4096, held[block].to_bytes(8, "little") * 512)
            disk.flush()
            disk.close()


def _stamps(block: bytes) -> set[int]:
    """Which writes a block of 4 KiB has bytes of."""
    if block[:8] * 512 == block:
        return {int.from_bytes(block[:8], "little")}
    return {int.from_bytes(block[at : at + 8], "little") for at in range(0, 4096, 8)}


def _follow(held: list[int], lines: list[str]) -> dict[int, set[int]]:
    """Bring `held` to the last flush; what each block may hold beside that."""
    writes: list[tuple[int, int, int]] = []
    for line in lines:
        words = line.split()
        if words[0] == "w" and len(words) == 4:
            writes.append((int(words[1]), int(words[2]), int(words[3])))
        elif words[0] == "f" and len(words) == 2:
            for block, count, stamp in writes:
                held[block : block + count] = [stamp] * count
            writes.clear()
    maybe: dict[int, set[int]] = {}
    for block, count, stamp in writes:
        for at in range(block, block + count):
            maybe.setdefault(at, set()).add(stamp)
    return maybe


def test_the_writer_of_the_kill_test_really_flushes(tmp_path: Path) -> None:
    """Each completed flush is at least one fdatasync."""
    disk = new(tmp_path / "a", 1 << 20)
    calls = []
    real = os.fdatasync
    try:
        os.fdatasync = lambda fd: calls.append(fd)  # type: ignore[assignment]
        disk.write(0, b"x" * 512)
        disk.flush()
        first = len(calls)
        disk.write(0, b"y" * 512)
        disk.flush()
    finally:
        os.fdatasync = real
    assert first == 2 and len(calls) == 3
    disk.close()


def test_the_log_has_the_layout_of_dm_log_writes() -> None:
    log = MemoryFile()
    disk = WriteLog(MemoryFile(bytes(4096)), log)
    disk.write(700, b"x" * 10)
    disk.flush()
    disk.mark("here")
    assert int.from_bytes(log.data[:8], "little") == 0x6A736677736872
    assert int.from_bytes(log.data[16:24], "little") == 3
    first, flush, mark = read_log(log)
    assert (first.offset, first.length, first.data[188:198]) == (512, 512, b"x" * 10)
    assert flush.flags == FLUSH and mark.data == b"here"


def test_check_counts_what_is_there() -> None:
    disk = Qcow2(fresh(1 << 20))
    disk.write(0, b"x" * 200_000)
    report = check(disk)
    assert (report.allocated, report.total) == (4, 16)
