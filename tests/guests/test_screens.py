"""Our own graphics guests, each to the picture that was looked at once, and beside QEMU where that is installed."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cores.x86.assembler import assemble_program
from emu.__main__ import main
from tests.guests.command import package

HERE = Path(__file__).resolve().parent / "screens"
PICTURES = {
    "mode13h": "27d14c9eace04d938990178f6a294574357aa281a58555a2c78cac35d8041d3a",
    "modex": "9b932bc3abe99d3b1c9beed424612b0fecee41578a60cb9776906c0c886e25fe",
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
@pytest.mark.parametrize("name", PICTURES)
def test_the_picture_is_the_same_by_real_firmware(tmp_path: Path, name: str) -> None:
    """Debian's SeaBIOS, with its own BIOS of the display card."""
    made = tmp_path / "made.ppm"
    bios = package("/usr/share/seabios/bios-256k.bin", "seabios")
    words = ["-bios", bios, "-boot", "a", "-fda", disk(tmp_path, name), "-o", str(made), "--timeout", "120"]
    assert main(["screenshot", *words]) == 0
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


INSTALLER = "/usr/lib/debian-installer/images/12/i386/text/debian-installer/i386/"
TEXT = r"\033[2J\033[H\033[?25lLinux console \033[31mred \033[42mon green\033[0m\n\303\204 \342\226\210\n"
CONSOLES = {
    "vesafb": ("vga=791 nomodeset", "", "VESA VGA", "19c7a5f0af831ca7dfe524a17542ee2d0b3ad8dc7ccf2603e82eedd6816da8e0"),
    "bochs-drm": (
        "",
        "modprobe bochs; sleep 1;",
        "bochs-drmdrmfb",
        "6c37e0396eadffc5ed5200a89dce6cd0039b458d3e1f41f9f1d0e32c1dee99e6",
    ),
}


@pytest.mark.guest
@pytest.mark.slow
@pytest.mark.parametrize("driver", CONSOLES)
def test_a_linux_console_on_a_frame_buffer_gives_the_stored_picture(tmp_path: Path, driver: str) -> None:
    line, command, name, picture = CONSOLES[driver]
    kernel = package(f"{INSTALLER}linux", "debian-installer-12-netboot-i386")
    made = tmp_path / "made.ppm"
    words = ["-m", "320", "-kernel", kernel, "-initrd", f"{INSTALLER}initrd.gz", "-serial", "stdio"]
    words += ["-append", f"console=ttyS0 rdinit=/bin/sh quiet {line}", "--timeout", "300", "-o", str(made)]
    words += ["--expect", "# ", "--send", f"mount -t devtmpfs d /dev; mount -t proc p /proc; {command} cat /proc/fb\n"]
    words += [
        "--expect",
        name,
        "--expect",
        "# ",
        "--send",
        f"printf '{TEXT}' > /dev/tty1; echo D''ONE\n".replace("\\", "\\\\"),
    ]
    command_line = [sys.executable, "-m", "emu", "screenshot", *words, "--when", "DONE"]
    done = subprocess.run(command_line, stdin=subprocess.DEVNULL, capture_output=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    assert hashlib.sha256(made.read_bytes()).hexdigest() == picture
