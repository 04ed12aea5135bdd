"""Guests of others started by the command line alone, as a person would: --expect, --send and the exit status."""

from __future__ import annotations

import gzip
import hashlib
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
