"""What firmware is told of the drives and of their order: our BIOS by letters and a list, others by CMOS and fw_cfg."""

from __future__ import annotations

from typing import Any

import pytest

from bios.pc.host import DriveKind
from devices.block.raw import MemoryDisk
from emu.boards import Setup, board
from emu.boards.boot import bios_drives, boot_letters, boot_order_file
from emu.machine import Machine
from emu.media import Medium
from emu.net.network import Network
from emu.options import UsageError, parse

FILES = ("-fda", "fd", "-hda", "c", "-drive", "if=virtio,file=v,id=v", "-cdrom", "cd")


class Zeros(MemoryDisk):
    """A large empty disk that takes no memory."""

    def __init__(self, size: int) -> None:
        super().__init__(b"")
        self.size = size

    def read(self, offset: int, length: int) -> bytes:
        return bytes(length)


def made(*words: str) -> tuple[Machine, Setup]:
    """A PC with disks of different sizes behind the files of the command line."""
    config = parse(["-m", "2", "-nographic", *words])
    sizes = {"fd": 720 << 10, "c": 1 << 20, "v": 2 << 20, "w": 3 << 20, "cd": 4096, "big": 1 << 30}
    media = [Medium(drive, Zeros(sizes[drive.file])) for drive in config.drives if drive.file]
    setup = Setup(config, media=media, network=Network(config.netdevs, say=print, opened=False))
    machine = board("pc")(setup)
    machine.power_on()
    return machine, setup


def sizes(machine: Machine, setup: Setup, kind: DriveKind) -> list[int]:
    drives = [drive.disk for drive in bios_drives(machine, setup) if drive.kind is kind]
    return [0 if disk is None else disk.size for disk in drives]


def test_virtio_disks_come_behind_ide_disks() -> None:
    machine, setup = made(*FILES)
    assert sizes(machine, setup, DriveKind.HD) == [1 << 20, 2 << 20]
    assert sizes(machine, setup, DriveKind.FLOPPY) == [720 << 10]
    assert sizes(machine, setup, DriveKind.CD) == [4096]
    assert boot_letters(setup) == "cadn"


def test_the_drives_of_the_bios_follow_their_media() -> None:
    machine, setup = made(*FILES)
    floppy, cd = (next(d for d in bios_drives(machine, setup) if d.kind is k) for k in (DriveKind.FLOPPY, DriveKind.CD))
    fdc: Any = machine.devices["fdc"]
    assert floppy.new_medium() and not floppy.new_medium()
    fdc.drives[0].change_medium(None)
    assert floppy.disk is None and not floppy.new_medium()
    fdc.drives[0].change_medium(MemoryDisk(bytes(1440 << 10)))
    assert floppy.new_medium() and floppy.disk is not None and floppy.disk.size == 1440 << 10
    channel: Any = machine.devices["ide1"]
    channel.drives[0].s.tray_open = True
    assert cd.disk is None


def test_a_bootindex_comes_before_the_order_of_kinds_and_among_disks() -> None:
    words = ("-drive", "if=none,file=w,id=w", "-device", "virtio-blk-pci,drive=w,bootindex=2")
    net = ("-netdev", "hubport,hubid=1,id=n", "-device", "e1000,netdev=n,bootindex=1,addr=9")
    machine, setup = made(*FILES, *words, *net)
    assert sizes(machine, setup, DriveKind.HD) == [3 << 20, 1 << 20, 2 << 20]
    assert boot_letters(setup) == "ncad"
    lines = boot_order_file(machine, setup).rstrip(b"\0").decode().split("\n")
    assert lines[0] == "/pci@i0cf8/ethernet@9/ethernet-phy@0"
    assert lines[1].startswith("/pci@i0cf8/scsi@") and lines[1].endswith("/disk@0,0")


def test_ide_drives_have_a_bootindex_too() -> None:
    words = ("-drive", "if=none,file=c,id=c", "-drive", "if=none,file=cd,id=cd,media=cdrom")
    devices = ("-device", "ide-cd,drive=cd,bus=ide.1,unit=0,bootindex=0", "-device", "ide-hd,drive=c,bootindex=5")
    machine, setup = made(*words, *devices)
    assert boot_letters(setup) == "dcan"
    paths = [b"/pci@i0cf8/ide@1,1/drive@1/disk@0", b"/pci@i0cf8/ide@1,1/drive@0/disk@0"]
    assert boot_order_file(machine, setup) == b"\n".join(paths) + b"\0"
    with pytest.raises(UsageError, match="bootindex"):
        made(*words, "-device", "ide-hd,drive=c,bootindex=first")


def test_without_a_bootindex_there_is_no_file_and_the_order_is_in_cmos() -> None:
    machine, setup = made(*FILES, "-boot", "order=dn")
    assert boot_order_file(machine, setup) == b""
    assert boot_letters(setup) == "dn"
    rtc: Any = machine.devices["rtc"]
    assert (rtc.get_cmos(0x3D), rtc.get_cmos(0x38)) == (0x43, 0)
    assert rtc.get_cmos(0x10) == 0x30, "a drive for 720 KiB"


def test_disks_that_16_heads_do_not_reach_are_marked_for_lba() -> None:
    machine, _ = made("-hda", "c", "-hdb", "big")
    rtc: Any = machine.devices["rtc"]
    assert rtc.get_cmos(0x39) == 0x04
    assert rtc.get_cmos(0x14) & 1 == 0, "no floppy drive"
