"""What the tests of disk images share: storage in memory, qemu-img as a witness, and random work on a disk."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from devices.block.qcow2.check import check
from devices.block.qcow2.create import Options, create, open_new
from devices.block.qcow2.image import Qcow2
from devices.block.storage import HostFile

QEMU_IMG = shutil.which("qemu-img")
needs_qemu = pytest.mark.skipif(QEMU_IMG is None, reason="qemu-img is not installed (Debian: qemu-utils)")


class MemoryFile:
    """A storage in memory."""

    def __init__(self, data: bytes = b"", read_only: bool = False) -> None:
        self.data = bytearray(data)
        self.path = "memory"
        self.read_only = read_only
        self.writes = 0

    def length(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self.data[offset : offset + length]).ljust(length, b"\0")

    def write(self, offset: int, data: bytes | memoryview) -> None:
        self.writes += 1
        if offset > len(self.data):
            self.data.extend(bytes(offset - len(self.data)))
        self.data[offset : offset + len(data)] = data

    def flush(self) -> None:
        pass

    def punch(self, offset: int, length: int) -> bool:
        self.writes += 1
        end = min(offset + length, len(self.data))
        self.data[offset:end] = bytes(max(0, end - offset))
        return True

    def truncate(self, length: int) -> None:
        self.writes += 1
        del self.data[length:]
        self.data.extend(bytes(length - len(self.data)))

    def close(self) -> None:
        pass


def qemu(*words: str | Path, status: int = 0) -> str:
    """Run qemu-img; what it prints. Fails unless it ends with `status`."""
    done = subprocess.run([QEMU_IMG or "qemu-img", *map(str, words)], capture_output=True, text=True, timeout=120)
    assert done.returncode == status, f"qemu-img {words}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def qemu_io(path: Path, *commands: str, form: str = "qcow2") -> str:
    """Run commands of qemu-io on an image."""
    words = [word for command in commands for word in ("-c", command)]
    done = subprocess.run(["qemu-io", "-f", form, *words, str(path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def new(path: Path, size: int, **options: object) -> Qcow2:
    """A new image, open."""
    file = open_new(str(path))
    create(file, size, Options(**options))  # type: ignore[arg-type]
    file.close()
    return reopen(path)


def reopen(path: Path, **more: object) -> Qcow2:
    return Qcow2(HostFile(str(path)), give_back=True, **more)  # type: ignore[arg-type]


def fresh(size: int, **options: object) -> MemoryFile:
    """A new image in memory."""
    file = MemoryFile()
    create(file, size, Options(**options))  # type: ignore[arg-type]
    return file


def assert_sound(image: Qcow2, *, leaks: bool = False) -> None:
    report = check(image)
    assert report.corruptions == 0, report.lines
    assert leaks or report.leaks == 0, report.lines


def steps(rng: random.Random, size: int, count: int) -> Iterator[tuple[str, int, int]]:
    """Random work: (what, offset, length) in sectors' steps."""
    for _ in range(count):
        offset = rng.randrange(size // 512) * 512
        length = min(size - offset, 512 * rng.choice([1, 1, 2, 8, 64, 200, 1000]))
        what = rng.choices(["write", "zero", "unmap", "discard", "flush", "read"], [10, 2, 2, 1, 3, 3])[0]
        yield what, offset, length


def apply(disk: Qcow2, model: bytearray, rng: random.Random, what: str, offset: int, length: int) -> None:
    """Do one step on a disk and on the bytes that it must hold."""
    end = offset + length
    if what == "write":
        data = rng.randbytes(length)
        disk.write(offset, data)
        model[offset:end] = data
    elif what in ("zero", "unmap"):
        disk.write_zeroes(offset, length, what == "unmap")
        model[offset:end] = bytes(length)
    elif what == "discard":
        disk.discard(offset, length)
        model[offset:end] = disk.read(offset, length)
    elif what == "flush":
        disk.flush()
    else:
        assert disk.read(offset, length) == model[offset:end]


def scale(quick: int) -> int:
    """How many cases: EMU_BLOCK_SCALE times as many as in a quick run."""
    return quick * int(os.environ.get("EMU_BLOCK_SCALE", "1"))
