"""Guests of others started by the command line alone, as a person would: --expect, --send and the exit status."""

from __future__ import annotations

import gzip
import hashlib
import random
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from tests.guests.command import dialogue, emu, ended_well, guest, lines, stats

VERSION = "FreeCom version 0.82 pl 3"

pytestmark = pytest.mark.guest


def floppy(*words: str) -> list[str]:
    return ["-m", "16", "-boot", "a", "-display", "none", *words]


@pytest.mark.parametrize("size", ["160K", "180K", "320K", "360K", "720K", "1200K", "1.4MB"])
def test_freedos_answers_to_its_keyboard(size: str) -> None:
    path = guest("freedos-floppies", f"freedos.boot.disk.{size}.img")
    before = hashlib.sha256(Path(path).read_bytes()).digest()
    result = emu(*floppy("-fda", path, "-snapshot", "--dump-screen"), *dialogue("A:\\>", ">ver", VERSION), compat=True)
    ended_well(result)
    assert any(VERSION in line for line in lines(result))
    assert hashlib.sha256(Path(path).read_bytes()).digest() == before


def test_a_bare_file_name_of_a_floppy_boots_it() -> None:
    path = guest("freedos-floppies", "freedos.boot.disk.1.4MB.img")
    result = emu(path, "-snapshot", *dialogue("A:\\>"))
    ended_well(result)
    assert b"freedos.boot.disk.1.4MB.img: raw, 1440 KiB, floppy, 80/2/18" in result.stderr


def test_what_dos_writes_is_in_the_file(tmp_path: Path) -> None:
    image = tmp_path / "a.img"
    image.write_bytes(Path(guest("freedos-floppies", "freedos.boot.disk.1.4MB.img")).read_bytes())
    talk = dialogue("A:\\>", ">echo written by the guest > new.txt", "A:\\>", ">type new.txt", "written by the guest\n")
    ended_well(emu(*floppy("-fda", str(image)), *talk, compat=True))
    assert b"written by the guest" in image.read_bytes()
    assert b"NEW     TXT" in image.read_bytes()


@pytest.mark.parametrize("model", ["486", "pentium", "pentium3", "max"])
def test_dos_runs_on_every_model_in_one_mebibyte(model: str) -> None:
    path = guest("freedos-floppies", "freedos.boot.disk.1.4MB.img")
    words = ["-cpu", model, "-m", "1", "-fda", path, "-boot", "a", "-snapshot"]
    ended_well(emu(*words, *dialogue("A:\\>", ">ver", VERSION), compat=True))


def test_dos_copies_files_on_a_hard_disk(tmp_path: Path) -> None:
    for tool in ("mformat", "mcopy"):
        if shutil.which(tool) is None:
            pytest.skip("no mtools on this host")
    disk, content = tmp_path / "c.img", random.Random(1).randbytes(300_000)
    (tmp_path / "rnd.bin").write_bytes(content)
    heads, sectors = 16, 63
    total = 40 * heads * sectors
    entry = bytes((0x80, 1, 1, 0, 6, heads - 1, sectors, 39)) + struct.pack("<II", sectors, total - sectors)
    disk.write_bytes((bytes(446) + entry).ljust(510, b"\0") + b"\x55\xaa" + bytes(512 * (total - 1)))
    at = f"{disk}@@{512 * sectors}"
    shape = f"-T {total - sectors} -h {heads} -s {sectors} -H {sectors} -c 4"
    subprocess.run(["mformat", "-i", at, *shape.split(), "::"], check=True)
    subprocess.run(["mcopy", "-i", at, str(tmp_path / "rnd.bin"), "::rnd.bin"], check=True)
    path = guest("freedos-floppies", "freedos.boot.disk.1.4MB.img")
    talk = dialogue("A:\\>", ">copy c:rnd.bin c:two.bin", ">copy c:two.bin c:three.bin", ">ver", VERSION)
    ended_well(emu(*floppy("-fda", path, "-hda", str(disk)), *talk, compat=True))
    assert disk.read_bytes().count(content[:512]) == 3
    subprocess.run(["mcopy", "-i", at, "::three.bin", str(tmp_path / "three.bin")], check=True)
    assert (tmp_path / "three.bin").read_bytes() == content


def test_a_compressed_floppy_is_unpacked(tmp_path: Path) -> None:
    image = tmp_path / "a.img.gz"
    image.write_bytes(gzip.compress(Path(guest("freedos-floppies", "freedos.boot.disk.720K.img")).read_bytes()))
    result = emu(*floppy("-fda", str(image), "-snapshot"), *dialogue("A:\\>", ">ver", VERSION), compat=True)
    ended_well(result)


def test_the_same_conversation_twice_is_the_same_run() -> None:
    path = guest("freedos-floppies", "freedos.boot.disk.1.4MB.img")
    talk = dialogue("A:\\>", ">ver", VERSION)
    seen = [stats(emu(*floppy("-fda", path, "-snapshot", "--stats"), *talk, compat=True)) for _ in range(2)]
    for name in ("instructions", "virtual_ns", "state_digest", "inputs"):
        assert seen[0][name] == seen[1][name], name


def test_a_text_that_does_not_come_ends_with_124_and_the_screen() -> None:
    path = guest("freedos-floppies", "freedos.boot.disk.1.4MB.img")
    result = emu(*floppy("-fda", path, "-snapshot"), *dialogue("C:\\>"), compat=True, timeout=3)
    ended_well(result, 124)
    assert b"--expect C:\\>: not seen" in result.stderr
    assert b"screen| A:\\>" in result.stderr


def test_elks_shows_its_processes() -> None:
    path = guest("elks-060", "fd1440.img")
    talk = dialogue(
        "VFS: Mounted root 0x0380 (minix filesystem).", "#", ">cat /etc/issue; ps", "ELKS 0.6.0", "/bin/init"
    )
    result = emu(*floppy("-fda", path, "-snapshot"), *talk, compat=True)
    ended_well(result)


def test_the_freedos_installer_can_be_refused() -> None:
    path = guest("freedos13-installer", "freedos13-floppy.img")
    talk = dialogue("proceed [Y,N]", ">n", "has been aborted", ">ver", "FreeCom version 0.85a")
    result = emu("-m", "64", "-fda", path, "-boot", "a", "-snapshot", *talk, compat=True)
    ended_well(result)


def test_floppinux_boots_by_syslinux_and_directly() -> None:
    path = guest("floppinux-i386", "floppinux.img")
    talk = dialogue("_______CHOOSE:", ">c", ">uname -r", "5.13.0-rc4+\n")
    ended_well(emu("-m", "64", "-fda", path, "-boot", "a", "-snapshot", *talk, compat=True))
    kernel, initrd = guest("floppinux-i386", "bzImage-5.13-rc2"), guest("floppinux-i386", "rootfs.cpio.gz")
    ended_well(emu("-m", "64", "-kernel", kernel, "-initrd", initrd, *dialogue("CHOOSE"), compat=True))
