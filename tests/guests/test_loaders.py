"""Boot loaders from floppy, CD and disk, by Debian's SeaBIOS and by our own BIOS, to their prompt or to the kernel.

SeaBIOS reads floppies by the floppy controller, CDs by ATAPI packets and disks by ATA commands; our BIOS has the disks
themselves.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from emu.engine import slirp
from tests.guests import loaders
from tests.guests.command import dialogue, emu, ended_well, guest, package
from tests.guests.loaders import tool

SEABIOS = "/usr/share/seabios/bios-256k.bin"
RESCUE = "/usr/lib/grub-rescue/grub-rescue-"
FIRMWARE = pytest.mark.parametrize("firmware", ["seabios", "own"])

pytestmark = [pytest.mark.guest, pytest.mark.slow]


def boot(firmware: str, *words: str, timeout: float = 120) -> subprocess.CompletedProcess[bytes]:
    bios = ["-bios", package(SEABIOS, "seabios")] if firmware == "seabios" else []
    return emu(*bios, *words, compat=True, timeout=timeout)


@pytest.fixture(scope="module")
def cd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return loaders.isolinux_cd(tmp_path_factory.mktemp("isolinux"))


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return loaders.grub_disk(tmp_path_factory.mktemp("grub"))


@pytest.mark.parametrize("size", ["180K", "720K", "1200K", "1.4MB"])
def test_seabios_boots_freedos_by_the_floppy_controller_from_a_disk_of(size: str) -> None:
    image = guest("freedos-floppies", f"freedos.boot.disk.{size}.img")
    talk = dialogue("A:\\>", ">ver", "FreeCom version 0.82")
    ended_well(boot("seabios", "-m", "16", "-fda", image, "-snapshot", "-boot", "a", "-display", "none", *talk))


def test_dos_writes_a_file_by_the_floppy_controller(tmp_path: Path) -> None:
    mtools = tool("mtype", "mtools")
    image = tmp_path / "dos.img"
    image.write_bytes(Path(guest("freedos-floppies", "freedos.boot.disk.1.4MB.img")).read_bytes())
    talk = dialogue("A:\\>", ">echo written > new.txt", ">copy new.txt + readme.txt both.txt", "=>> both.txt", "A:\\>")
    ended_well(boot("seabios", "-m", "16", "-fda", str(image), "-boot", "a", "-display", "none", *talk))
    read = subprocess.run([mtools, "-i", str(image), "::new.txt"], capture_output=True, check=True)
    assert read.stdout == b"written \r\n"


@FIRMWARE
@pytest.mark.parametrize(("image", "option", "letter"), [("floppy.img", "-fda", "a"), ("cdrom.iso", "-cdrom", "d")])
def test_grub_comes_to_its_command_line_from(image: str, option: str, letter: str, firmware: str) -> None:
    path = package(RESCUE + image, "grub-rescue-pc")
    talk = [*dialogue("GNU GRUB  version 2", "GNU/Linux"), "--send", "c", *dialogue("grub>", ">ls", ")")]
    ended_well(boot(firmware, "-m", "64", option, path, "-snapshot", "-boot", letter, "-display", "none", *talk))


@FIRMWARE
def test_isolinux_boots_linux_from_a_cd(cd: Path, firmware: str) -> None:
    words = ["-m", "256", "-nographic", "-no-reboot", "-cdrom", str(cd), "-boot", "d"]
    result = boot(firmware, *words)
    ended_well(result)
    assert b"GUEST-READY" in result.stdout


@FIRMWARE
@pytest.mark.parametrize("card", ["e1000", "virtio-net-pci"])
def test_ipxe_boots_linux_from_the_network_by_its_option_rom(card: str, firmware: str, tmp_path: Path) -> None:
    """Our BIOS and SeaBIOS run the ROM of the card and boot by its bootstrap entry vector."""
    package(f"/usr/lib/ipxe/qemu/pxe-{'e1000' if card == 'e1000' else 'virtio'}.rom", "ipxe-qemu")
    try:
        slirp.load()
    except slirp.Missing as error:
        pytest.skip(f"libslirp is not installed: {error}")
    loaders.kernel_files(tmp_path)
    (tmp_path / "boot.ipxe").write_text(
        f"#!ipxe\nkernel tftp://10.0.2.2/bzImage {loaders.APPEND}\ninitrd tftp://10.0.2.2/initrd.gz\nboot\n"
    )
    network = f"user,id=n,tftp={tmp_path},bootfile=boot.ipxe"
    words = ["-m", "256", "-nographic", "-no-reboot", "-boot", "n", "-netdev", network, "-device", f"{card},netdev=n"]
    result = boot(firmware, *words)
    ended_well(result)
    assert b"GUEST-DONE" in result.stdout


@FIRMWARE
@pytest.mark.parametrize("bus", ["ide", "virtio"])
def test_grub_boots_linux_from_a_disk_on(bus: str, disk: Path, firmware: str) -> None:
    words = ["-m", "256", "-nographic", "-no-reboot", "-snapshot", "-drive", f"file={disk},format=raw,if={bus}"]
    result = boot(firmware, *words)
    ended_well(result)
    assert result.stdout.index(b"GRUB-READY") < result.stdout.index(b"GUEST-READY") < result.stdout.index(b"GUEST-DONE")
