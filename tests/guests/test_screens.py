"""Our own graphics guests, each to the picture that was looked at once, and beside QEMU where that is installed."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from cores.x86.assembler import assemble_program
from emu.__main__ import main

HERE = Path(__file__).resolve().parent / "screens"
PICTURES = {
    "mode13h": "27d14c9eace04d938990178f6a294574357aa281a58555a2c78cac35d8041d3a",
    "modex": "2947714262cbe34919c554282e0693230515dba23c7b37e4aeca02af95f80800",
    "vbe": "f8e9d68f7bde60bcbb6eeeb1ed944fa8eff4ed5bd503384e413f8078ffc0df37",
}
QEMU = shutil.which("qemu-system-i386")
PANNING = "mov al, 4"


def disk(tmp_path: Path, name: str, **changes: str) -> str:
    source = (HERE / f"{name}.asm").read_text()
    for old, new in changes.items():
        source = source.replace(old, new)
    path = tmp_path / f"{name}.img"
    path.write_bytes(assemble_program(source, file=name, big=False).data.ljust(1474560, b"\0"))
    return str(path)


def pixels(path: Path) -> np.ndarray:
    _, size, _, data = path.read_bytes().split(b"\n", 3)
    width, height = map(int, size.split())
    return np.frombuffer(data, np.uint8).reshape(height, width, 3).astype(int)


@pytest.mark.parametrize("name", PICTURES)
def test_a_graphics_guest_gives_the_stored_picture(tmp_path: Path, name: str) -> None:
    made = tmp_path / "made.ppm"
    assert main(["screenshot", "-fda", disk(tmp_path, name), "-o", str(made), "--timeout", "60"]) == 0
    assert hashlib.sha256(made.read_bytes()).hexdigest() == PICTURES[name]


@pytest.mark.guest
@pytest.mark.skipif(QEMU is None, reason="no qemu-system-i386")
@pytest.mark.parametrize("name", PICTURES)
def test_qemu_shows_the_same(tmp_path: Path, name: str) -> None:
    """But for the last bits of six-bit colours, and for panning, which it does not have."""
    image = disk(tmp_path, name, **{PANNING: "mov al, 0"})
    made, other = tmp_path / "made.ppm", tmp_path / "other.ppm"
    assert main(["screenshot", "-fda", image, "-snapshot", "-o", str(made), "--timeout", "60"]) == 0
    line = [str(QEMU), "-display", "none", "-monitor", "stdio", "-boot", "a"]
    other_disk = shutil.copy(image, tmp_path / "other.img")
    line += ["-drive", f"file={other_disk},format=raw,if=floppy,snapshot=on"]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as qemu:
        assert qemu.stdin is not None
        for _ in range(100):  # until what it shows is what it shows in the end
            subprocess.run(["sleep", "0.2"])
            qemu.stdin.write(f"screendump {other}\n".encode())
            qemu.stdin.flush()
            subprocess.run(["sleep", "0.2"])
            if other.exists() and same(made, other):
                break
        qemu.stdin.write(b"quit\n")
        qemu.stdin.close()
    assert same(made, other)


def same(one: Path, other: Path) -> bool:
    left, right = pixels(one), pixels(other)
    return left.shape == right.shape and int(abs(left - right).max()) <= 4
