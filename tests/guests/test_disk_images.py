"""Linux on image files: what dd was told is on the disk is there after kill -9, and -snapshot writes nothing.

`python -m tests.guests.test_disk_images qcow2 virtio 20 SEED` kills twenty times.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.guests.command import dialogue, emu, ended_well, guest

pytestmark = pytest.mark.guest

ROOT = Path(__file__).resolve().parents[2]
CHUNK = 65536
PLACES = 1000
NAMES = {"virtio": "vda", "ide": "sda"}
LOOP = (
    "i={first}; while :; do s=$(( (i*37)%{places} )); n=$((1+i%7)); yes $i | dd of=/dev/{disk} bs=8k count=$n "
    'seek=$((s*8)) iflag=fullblock conv=fsync,notrunc 2>/dev/null && echo DO""NE $i $s $n; i=$((i+1)); done\n'
)


def linux(*words: str) -> list[str]:
    kernel = ["-m", "128", "-kernel", guest("linux-i386/bzImage"), "-initrd", guest("linux-i386/initrd.gz")]
    return [*kernel, "-append", "console=ttyS0 quiet", "-nographic", *words]


def image(path: Path, form: str, size: str = "64M") -> None:
    words = [sys.executable, "-m", "emu", "img", "create", "-q", "-f", form, str(path), size]
    subprocess.run(words, check=True, cwd=ROOT)


def contents(path: Path, form: str, out: Path) -> bytes:
    words = [sys.executable, "-m", "emu", "img", "convert", "-f", form, str(path), str(out)]
    subprocess.run(words, check=True, cwd=ROOT)
    return out.read_bytes()


def write_until_killed(path: Path, form: str, interface: str, first: int, wait: float) -> list[tuple[int, int, int]]:
    """Let a guest write with `conv=fsync` and kill emu; (number, place, blocks of 8 KiB) of the writes that ended."""
    drive = f"file={path},if={interface},format={form}"
    words = [sys.executable, "-m", "emu", "run", *linux("-drive", drive)]
    process = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        seen = b""
        while b"/ # " not in seen:
            part = os.read(process.stdout.fileno(), 65536)
            assert part, seen[-1000:]
            seen += part
        line = LOOP.format(first=first, places=PLACES, disk=NAMES[interface])
        process.stdin.write(line.encode())
        process.stdin.flush()
        while b"DONE" not in seen:
            seen += os.read(process.stdout.fileno(), 65536)
        time.sleep(wait)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        seen += process.stdout.read()
        process.wait()
        process.stdin.close()
        process.stdout.close()
    return [(int(i), int(s), int(n)) for i, s, n in re.findall(rb"DONE (\d+) (\d+) (\d+)\r", seen)]


def kill_rounds(folder: Path, form: str, interface: str, rounds: int, seed: int, say: bool = False) -> int:
    """How many writes were looked for and found. Raises AssertionError for one that is lost or an image with errors."""
    path, rng, looked_for = folder / f"disk.{form}", random.Random(seed), 0
    image(path, form)
    for number in range(rounds):
        done = write_until_killed(path, form, interface, number * 10_000 + 1, rng.random() * 5)
        if form == "qcow2" and shutil.which("qemu-img"):
            check = subprocess.run(["qemu-img", "check", "-f", form, str(path)], capture_output=True, text=True)
            assert check.returncode == 0, check.stdout + check.stderr
        data = contents(path, form, folder / "out")
        # The write after the last that ended may be there in part.
        last = {place: (i, count) for i, place, count in done}
        last.pop((done[-1][0] + 1) * 37 % PLACES, None)
        for place, (i, count) in last.items():
            want = (b"%d\n" % i * (8192 * count))[: 8192 * count]
            assert data[place * CHUNK : place * CHUNK + 8192 * count] == want, f"write {i} at {place} is lost"
        looked_for += len(last)
        if say:
            print(f"kill {number + 1}: {len(done)} writes had ended, all are there", flush=True)
    return looked_for


@pytest.mark.slow
@pytest.mark.parametrize("form,interface", [("qcow2", "virtio"), ("raw", "ide")])
def test_what_dd_was_told_is_stable_is_there_after_kill_9(tmp_path: Path, form: str, interface: str) -> None:
    """users.md R18."""
    assert kill_rounds(tmp_path, form, interface, 1, 3) > 0


def test_snapshot_leaves_the_image_as_it_was(tmp_path: Path) -> None:
    """users.md R5."""
    path = tmp_path / "disk.qcow2"
    image(path, "qcow2")
    before = hashlib.sha256(path.read_bytes()).digest()
    steps = ("GUEST-READY", ">yes | dd of=/dev/vda bs=64k count=100 conv=fsync; head -c 3 /dev/vda | od -c")
    words = linux("-drive", f"file={path},if=virtio", "-snapshot", "-monitor", "none")
    result = emu(*words, *dialogue(*steps, "y  \\n   y", ">poweroff -f", "Power down"))
    ended_well(result)
    assert hashlib.sha256(path.read_bytes()).digest() == before


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        form, interface, rounds, seed = sys.argv[1:5]
        print(kill_rounds(Path(name), form, interface, int(rounds), int(seed), say=True), "writes were looked for")
