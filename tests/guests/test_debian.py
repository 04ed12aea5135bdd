"""Guests that come as Debian packages: memtest86+, the installer, GRUB's rescue images, and a PAE kernel.

A PAE kernel is looked for in /boot and in the file that EMU_VMLINUZ_686PAE names.
"""

from __future__ import annotations

import glob
import os

import pytest

from tests.guests.command import dialogue, emu, ended_well, guest, lines, package
from tests.guests.test_linux import complaints

INSTALLER = "/usr/lib/debian-installer/images/12/i386/text/debian-installer/i386/"
MEMTEST = "/boot/memtest86+ia32.bin"
GRUB = "/usr/lib/grub-rescue/grub-rescue-"

pytestmark = pytest.mark.guest


@pytest.mark.slow
def test_memtest86_passes_once_without_an_error() -> None:
    result = emu(
        *("-m", "16", "-kernel", package(MEMTEST, "memtest86+"), "-append", "nobench", "-display", "none"),
        *dialogue("Memtest86+ v6.10", "Pass:  1        Errors: 0"),
        "--dump-screen",
        compat=True,
        timeout=900,
    )
    ended_well(result)
    screen = "\n".join(lines(result))
    assert "Status: Pass" in screen
    assert "15.6MB" in screen


@pytest.mark.slow
def test_the_installer_asks_for_a_language() -> None:
    kernel = package(f"{INSTALLER}linux", "debian-installer-12-netboot-i386")
    line = ["-m", "512", "-nographic", "-no-reboot", "-kernel", kernel, "-initrd", f"{INSTALLER}initrd.gz"]
    result = emu(*line, "-append", "console=ttyS0", *dialogue("Select a language"), compat=True, timeout=600)
    ended_well(result)
    assert complaints(result) == []


@pytest.mark.slow
def test_a_pae_kernel_runs_the_cbl_userland() -> None:
    named = os.environ.get("EMU_VMLINUZ_686PAE", "")
    found = [path for path in [named, *sorted(glob.glob("/boot/vmlinuz-*-686-pae"))] if os.path.exists(path)]
    if not found:
        pytest.skip("no PAE kernel: Debian package linux-image-686-pae is not installed")
    line = ["-m", "256", "-no-reboot", "-kernel", found[0], "-initrd", guest("cbl-rootfs", "x86.cpio.zst")]
    line += ["-append", "console=ttyS0", "-display", "none", "-serial", "stdio"]
    result = emu(*line, *dialogue("Linux version 6.1", "reboot: Power down"), compat=True, timeout=600)
    ended_well(result)
    assert [line for line in complaints(result) if "can't unmount /" not in line] == []


@pytest.mark.slow
@pytest.mark.parametrize(("image", "option"), [("floppy.img", "-fda"), ("cdrom.iso", "-cdrom"), ("usb.img", "-hda")])
def test_grub_boots_to_its_command_line(image: str, option: str) -> None:
    path = package(GRUB + image, "grub-rescue-pc")
    talk = [*dialogue("GNU GRUB  version 2", "GNU/Linux"), "--send", "c", *dialogue("grub>", ">ls", ")")]
    ended_well(emu("-m", "64", option, path, "-snapshot", *talk, compat=True))
