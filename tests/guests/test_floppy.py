"""Linux' floppy driver: EMU_FLOPPY_KERNEL names the kernel that `python -m images.linux_floppy.build FOLDER` makes."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
from pathlib import Path

import pytest

from tests.guests.command import dialogue, emu, ended_well, guest, lines
from tests.guests.loaders import tool

pytestmark = [pytest.mark.guest, pytest.mark.slow]


def linux(*words: str, more: str = "") -> list[str]:
    """Boot, talk, and what was printed."""
    kernel = os.environ.get("EMU_FLOPPY_KERNEL", "")
    if not os.path.exists(kernel):
        pytest.skip("EMU_FLOPPY_KERNEL names no kernel of `python -m images.linux_floppy.build FOLDER`")
    start = ["-m", "64", "-nographic", "-kernel", kernel, "-initrd", guest("linux-i386", "initrd.gz")]
    result = emu(*start, "-append", f"console=ttyS0 quiet {more}", *words)
    ended_well(result)
    return lines(result)


@pytest.mark.parametrize("kib", [360, 720, 1200, 1440, 2880])
def test_linux_reads_a_protected_floppy_of(kib: int, tmp_path: Path) -> None:
    data = random.Random(kib).randbytes(kib << 10)
    (tmp_path / "fd.img").write_bytes(data)
    drive = ("-drive", f"if=floppy,file={tmp_path}/fd.img,format=raw,readonly=on")
    talk = dialogue("# ", ">md5sum /dev/fd0; dd if=/dev/zero of=/dev/fd0 count=1; echo E''ND", "END")
    seen = linux(*drive, *talk)
    assert f"{hashlib.md5(data).hexdigest()}  /dev/fd0" in seen
    assert "dd: can't open '/dev/fd0': Read-only file system" in seen


@pytest.mark.parametrize("more", ["", "floppy=nodma "])
def test_linux_writes_a_file_and_a_raw_floppy(more: str, tmp_path: Path) -> None:
    mtype, first, second = tool("mtype", "mtools"), tmp_path / "a.img", tmp_path / "b.img"
    first.write_bytes(Path(guest("freedos-floppies", "freedos.boot.disk.1.4MB.img")).read_bytes())
    second.write_bytes(b"\x55" * (720 << 10))
    steps = (
        "# ",
        ">mkdir /f; mount -t vfat /dev/fd0 /f; echo hello > /f/hello.txt; umount /f; echo O''NE",
        "ONE",
        ">dd if=/dev/zero of=/dev/fd1 bs=18k seek=1 count=3; sync; dmesg | grep -c error; dmesg | grep FDC; echo T''WO",
        "TWO",
    )
    seen = linux("-fda", str(first), "-fdb", str(second), *dialogue(*steps), more=more)
    assert "FDC 0 is a post-1991 82077" in seen and "0" in seen
    read = subprocess.run([mtype, "-i", str(first), "::hello.txt"], capture_output=True, check=True)
    assert read.stdout == b"hello\n"
    part = 18 << 10
    assert second.read_bytes() == b"\x55" * part + bytes(3 * part) + b"\x55" * ((720 << 10) - 4 * part)
