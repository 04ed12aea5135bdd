"""Boot loaders from floppy, CD and disk, by Debian's SeaBIOS and by our own BIOS, to their prompt or to the kernel.

SeaBIOS reads floppies by the floppy controller, CDs by ATAPI packets and disks by ATA commands; our BIOS has the disks
themselves.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from devices.backends import MemoryDisk
from devices.fdc82077 import Fdc82077
from emu import Machine, build
from emu.engine import slirp
from tests.guests import loaders
from tests.guests.command import dialogue, emu, ended_well, guest, package
from tests.guests.loaders import tool

SEABIOS = "/usr/share/seabios/bios-256k.bin"
RESCUE = "/usr/lib/grub-rescue/grub-rescue-"
FIRMWARE = pytest.mark.parametrize("firmware", ["seabios", "own"])

pytestmark = [pytest.mark.guest, pytest.mark.slow]


def boot(firmware: str, *words: str, timeout: float = 600) -> subprocess.CompletedProcess[bytes]:
    bios = ["-bios", package(SEABIOS, "seabios")] if firmware == "seabios" else []
    return emu(*bios, *words, compat=True, timeout=timeout)


@pytest.fixture(scope="module")
def cd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return loaders.isolinux_cd(tmp_path_factory.mktemp("isolinux"))


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return loaders.grub_disk(tmp_path_factory.mktemp("grub"))


@pytest.mark.parametrize("size", ["360K", "720K", "1200K", "1.4MB"])
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


def test_dos_sees_that_the_floppy_was_changed(tmp_path: Path) -> None:
    """By INT 13h of our BIOS; SeaBIOS has no change line."""
    mcopy, mformat = tool("mcopy", "mtools"), tool("mformat", "mtools")
    other, file = tmp_path / "other.img", tmp_path / "second.txt"
    file.write_text("on the other disk\r\n")
    subprocess.run([mformat, "-C", "-f", "720", "-i", str(other)], check=True)
    subprocess.run([mcopy, "-i", str(other), str(file), "::"], check=True)
    image = guest("freedos-floppies", "freedos.boot.disk.1.4MB.img")
    m = build("-m", "16", "-fda", image, "-snapshot", "-boot", "a")
    assert waited(m, "A:\\>")
    typed(m, "dir\n")
    assert waited(m, "bytes free")
    fdc = m.devices["fdc"]
    assert isinstance(fdc, Fdc82077)
    fdc.drives[0].change_medium(MemoryDisk(other.read_bytes()))
    typed(m, "type second.txt\n")
    assert waited(m, "on the other disk"), "\n".join(m.screen())


def waited(m: Machine, text: str) -> bool:
    for _ in range(300):
        if text in "\n".join(m.screen()):
            return True
        m.step(500_000)
    return False


def typed(m: Machine, text: str) -> None:
    for letter in text:
        m.type_keys(letter)
        m.step(400_000)


@pytest.mark.parametrize(("image", "option", "letter"), [("floppy.img", "-fda", "a"), ("cdrom.iso", "-cdrom", "d")])
def test_seabios_brings_grub_to_its_command_line_from(image: str, option: str, letter: str) -> None:
    """Our BIOS does so in test_debian."""
    path = package(RESCUE + image, "grub-rescue-pc")
    talk = [*dialogue("GNU GRUB  version 2", "GNU/Linux"), "--send", "c", *dialogue("grub>", ">ls", ")")]
    ended_well(boot("seabios", "-m", "64", option, path, "-snapshot", "-boot", letter, "-display", "none", *talk))


@FIRMWARE
def test_a_cd_whose_image_is_a_floppy_boots_freedos(firmware: str, tmp_path: Path) -> None:
    image = loaders.emulation_cd(tmp_path, Path(guest("freedos-floppies", "freedos.boot.disk.1.4MB.img")))
    talk = dialogue("A:\\>", ">type readme.txt", "FreeDOS", ">dir", "bytes free")
    ended_well(boot(firmware, "-m", "16", "-cdrom", str(image), "-boot", "d", "-display", "none", *talk))


def test_our_bios_boots_grub_from_a_cd_whose_image_is_a_hard_disk(disk: Path, tmp_path: Path) -> None:
    image = loaders.emulation_cd(tmp_path, disk, "-hard-disk-boot")
    result = boot("own", "-m", "256", "-nographic", "-no-reboot", "-cdrom", str(image), "-boot", "d")
    ended_well(result)
    assert b"GUEST-READY" in result.stdout


@FIRMWARE
def test_isolinux_boots_linux_from_a_cd(cd: Path, firmware: str) -> None:
    words = ["-m", "256", "-nographic", "-no-reboot", "-cdrom", str(cd), "-boot", "d"]
    result = boot(firmware, *words)
    ended_well(result)
    assert b"GUEST-READY" in result.stdout


def network(folder: Path, card: str, *script: str) -> list[str]:
    """Options for a network card whose iPXE ROM finds a script on the network."""
    package(f"/usr/lib/ipxe/qemu/pxe-{'e1000' if card == 'e1000' else 'virtio'}.rom", "ipxe-qemu")
    try:
        slirp.load()
    except slirp.Missing as error:
        pytest.skip(f"libslirp is not installed: {error}")
    (folder / "boot.ipxe").write_text("\n".join(("#!ipxe", *script, "")))
    backend = f"user,id=n,tftp={folder},bootfile=boot.ipxe,ipv6=off"
    return ["-boot", "n", "-netdev", backend, "-device", f"{card},netdev=n"]


def test_linux_boots_from_the_network_by_an_option_rom_that_our_bios_runs(tmp_path: Path) -> None:
    loaders.kernel_files(tmp_path)
    place = "tftp://10.0.2.2"
    script = (f"kernel {place}/bzImage {loaders.APPEND}", f"initrd {place}/initrd.gz", "boot")
    result = boot("own", "-m", "256", "-nographic", "-no-reboot", *network(tmp_path, "e1000", *script))
    ended_well(result)
    assert b"GUEST-DONE" in result.stdout


def test_seabios_boots_from_the_network_too(tmp_path: Path) -> None:
    words = network(tmp_path, "virtio-net-pci", "echo NETBOOT ${net0/ip}", "shell")
    ended_well(boot("seabios", "-m", "64", "-display", "none", *words, *dialogue("NETBOOT 10.0.2.15", "iPXE>")))


@pytest.mark.parametrize(("bus", "firmware"), [("ide", "seabios"), ("ide", "own"), ("virtio", "own")])
def test_grub_boots_linux_from_a_disk_on(bus: str, disk: Path, firmware: str) -> None:
    words = ["-m", "256", "-nographic", "-no-reboot", "-snapshot", "-drive", f"file={disk},format=raw,if={bus}"]
    result = boot(firmware, *words)
    ended_well(result)
    assert result.stdout.index(b"GRUB-READY") < result.stdout.index(b"GUEST-READY") < result.stdout.index(b"GUEST-DONE")
