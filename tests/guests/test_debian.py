"""Guests that come as Debian packages: memtest86+, the installer, GRUB's rescue images, a PAE kernel, a whole root.

A PAE kernel is looked for in /boot and in the file that EMU_VMLINUZ_686PAE names. EMU_DEBIAN_ROOT names the folder into
which `python -m images.debian.build` has built a root; its two tests take about a minute each.
"""

from __future__ import annotations

import glob
import hashlib
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from emu.engine import slirp
from tests.guests.command import Result, dialogue, emu, ended_well, guest, lines, package
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


LOGIN = ("emu ttyS0", "login: ", ">root", "root@emu:~#")
TROUBLE = re.compile(r"FAILED|I/O error|EXT4-fs (error|warning)|exception Emask|Call Trace|BUG:|W: |E: ")
CHECKED = "/usr/bin /usr/lib/apt /usr/share /etc /var/lib/dpkg"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def debian_root() -> Path:
    folder = Path(os.environ.get("EMU_DEBIAN_ROOT", ""))
    if not (folder / "root.img").exists():
        pytest.skip("EMU_DEBIAN_ROOT names no folder of `python -m images.debian.build FOLDER`")
    for tool, name in (("qemu-img", "qemu-utils"), ("e2fsck", "e2fsprogs"), ("debugfs", "e2fsprogs")):
        if not shutil.which(tool):
            pytest.skip(f"no {tool}: Debian package {name} is not installed")
    return folder


def debian(disk: str, steps: tuple[str, ...], *words: str) -> Result:
    """Debian from a disk, from its kernel to its end, as root on the serial line."""
    line = ["-m", "256", "-vga", "none", "-nographic", "-no-reboot", "-kernel", guest("linux-i386", "bzImage")]
    talk = dialogue(*LOGIN, *steps, ">poweroff", "Power down")
    return emu(*line, "-append", f"root=/dev/{disk} console=ttyS0", *words, *talk, timeout=600)


def tool(*words: str | Path, status: int = 0) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def image_tool(*words: str | Path) -> None:
    tool(sys.executable, "-m", "emu", "img", *words)


@pytest.mark.slow
def test_debian_on_a_qcow2_overlay_installs_a_package_over_the_network(tmp_path: Path) -> None:
    """What the guest's sums say is what is in the image, for us and for qemu-img; nothing is in the backing file."""
    folder = debian_root()
    try:
        slirp.load()
    except slirp.Missing as error:
        pytest.skip(f"libslirp is not installed: {error}")
    base, top, whole = tmp_path / "base.qcow2", tmp_path / "top.qcow2", tmp_path / "whole.img"
    image_tool("convert", "-O", "qcow2", folder / "root.img", base)
    image_tool("create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", top)
    before = hashlib.sha256(base.read_bytes()).digest()
    handler = partial(Quiet, directory=str(folder / "repository"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = f"deb [trusted=yes] http://10.0.2.2:{server.server_address[1]}/ ./"
        steps = (
            f">echo '{source}' > /etc/apt/sources.list; apt-get update && apt-get install -y hello; hello",
            "Hello, world!",
            f">find {CHECKED} -xdev -type f | LC_ALL=C sort | xargs sha256sum > /sums; sha256sum /sums; echo SU''MS",
            "SUMS",
        )
        drive = ("-drive", f"file={top},if=virtio,format=qcow2", "--allow-backing", str(base))
        result = debian("vda", steps, *drive, "-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n")
        server.shutdown()
    ended_well(result)
    assert [line for line in lines(result) if TROUBLE.search(line)] == []
    tool("qemu-img", "check", top)
    assert hashlib.sha256(base.read_bytes()).digest() == before
    image_tool("convert", "--allow-backing", base, top, whole)
    assert "identical" in tool("qemu-img", "compare", top, whole)
    tool("e2fsck", "-f", "-n", whole)
    tool("debugfs", "-R", f"dump /sums {tmp_path}/sums", whole)
    sums = (tmp_path / "sums").read_text()
    assert hashlib.sha256(sums.encode()).hexdigest() in "\n".join(lines(result))
    wanted = dict(reversed(line.split("  ", 1)) for line in sums.splitlines())
    assert len(wanted) > 3000 and "/usr/bin/hello" in wanted
    for name in CHECKED.split():
        (out := tmp_path / "files" / name[1:]).parent.mkdir(parents=True, exist_ok=True)
        tool("debugfs", "-R", f"rdump {name} {out.parent}", whole)
    for name, digest in wanted.items():
        if name != "/sums":
            assert hashlib.sha256((tmp_path / "files" / name[1:]).read_bytes()).hexdigest() == digest, name


@pytest.mark.slow
def test_debian_on_an_ide_disk_boots_twice_and_leaves_a_clean_file_system(tmp_path: Path) -> None:
    root = tmp_path / "root.img"
    shutil.copy(debian_root() / "root.img", root)
    drive = ("-drive", f"file={root},if=ide,format=raw")
    result = debian("sda", (">apt-get --version; echo kept > /root/kept; sync", "Supported modules"), *drive)
    ended_well(result)
    assert re.search(r"apt 2\.\d+", "\n".join(lines(result)))
    assert [line for line in lines(result) if TROUBLE.search(line)] == []
    tool("e2fsck", "-f", "-n", root)
    ended_well(debian("sda", (">cat /root/kept", "kept"), *drive))
    tool("e2fsck", "-f", "-n", root)
