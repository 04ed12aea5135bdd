"""What a PC boots from, as firmware is told: our BIOS by `bios_drives` and `boot_letters`, others by CMOS and by
the file `bootorder` of fw_cfg.

`-boot order=` has letters (a floppy, c disk, d CD, n network). `bootindex=` of a -device puts what it names in front of
that order, and among the disks, the lowest first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bios.pc.disk import NO_FLOPPY, floppy_medium
from bios.pc.host import Drive, DriveKind
from devices.ata import AtaChannel
from devices.atapi import AtapiCdrom
from devices.fdc82077 import Fdc82077
from devices.pci import PciBus
from emu.options import number

if TYPE_CHECKING:
    from bios.pc.host import Disk
    from devices.rtc_mc146818 import RtcMc146818
    from emu.boards import Setup
    from emu.machine import Machine
    from emu.media import Medium

ORDER = "cad"
CODES = {"a": 1, "c": 2, "d": 3, "n": 4}
LAST = 1 << 31
"""The place of what has no bootindex."""
CHS_LIMIT = 1024 * 16 * 63 * 512
"""Larger disks are addressed through 255 heads."""
PCI_PATH = "/pci@i0cf8"


class FloppyUnit:
    """A floppy drive as the BIOS sees it."""

    def __init__(self, controller: Fdc82077, index: int) -> None:
        self._controller = controller
        self._index = index

    @property
    def disk(self) -> Disk | None:
        return self._controller.drives[self._index].disk

    @property
    def changed(self) -> bool:
        return self._controller.medium_changed(self._index)

    def see(self) -> None:
        self._controller.see_medium(self._index)


class CdUnit:
    """A CD-ROM drive as the BIOS sees it; it has no change line."""

    changed = False

    def __init__(self, drive: AtapiCdrom) -> None:
        self._drive = drive

    @property
    def disk(self) -> Disk | None:
        return None if self._drive.s.tray_open else self._drive.disk

    def see(self) -> None:
        """Nothing to do."""


def _index(props: dict[str, str], name: str) -> int:
    return number(props["bootindex"], f"-device {name} bootindex", 0, LAST - 1) if "bootindex" in props else LAST


def _hard_disks(setup: Setup) -> list[tuple[int, Medium]]:
    """Bootindex and medium of every hard disk in BIOS order: IDE by place, cards, virtio; those with an index first."""
    ide = [m for m in setup.media if m.drive.interface == "ide" and not m.cdrom and m.disk is not None]
    ide.sort(key=lambda medium: (medium.drive.card != "", medium.drive.index or 0))
    found = [(LAST if m.drive.bootindex is None else m.drive.bootindex, m) for m in ide]
    by_name = {m.drive.id: m for m in setup.media if m.drive.id and m.drive.interface in ("none", "virtio")}
    for name, props in setup.config.devices:
        medium = by_name.get(props.get("drive", "")) if name.startswith("virtio-blk") else None
        if medium is not None and medium.disk is not None:
            found.append((_index(props, name), medium))
    return sorted(found, key=lambda pair: pair[0])


def bios_drives(machine: Machine, setup: Setup) -> list[Drive]:
    """The drives in BIOS order: floppies, hard disks, CDs."""
    drives = []
    controller = machine.devices.get("fdc")
    if isinstance(controller, Fdc82077):
        drives += [Drive(DriveKind.FLOPPY, None, FloppyUnit(controller, n)) for n in range(len(controller.drives))]
    drives += [Drive(DriveKind.HD, medium.disk) for _, medium in _hard_disks(setup)]
    channels = [channel for channel in machine.devices.values() if isinstance(channel, AtaChannel)]
    cds = [drive for channel in channels for drive in channel.drives if isinstance(drive, AtapiCdrom)]
    first = {id(m.disk): m.drive.bootindex for m in setup.media if m.cdrom and m.drive.bootindex is not None}
    cds.sort(key=lambda drive: first.get(id(drive.disk), LAST))
    return drives + [Drive(DriveKind.CD, None, CdUnit(drive)) for drive in cds]


def _wishes(setup: Setup) -> list[tuple[int, str]]:
    """Bootindex and letter of what has one."""
    found = [(index, "c") for index, _ in _hard_disks(setup)]
    found += [(m.drive.bootindex, "d") for m in setup.media if m.cdrom and m.drive.bootindex is not None]
    found += [(_index(props, name), "n") for name, props in setup.config.devices if "netdev" in props]
    return sorted((index, letter) for index, letter in found if index != LAST)


def boot_letters(setup: Setup) -> str:
    """The order of boot devices as letters, each once."""
    letters = [letter for _, letter in _wishes(setup)] + list(setup.config.boot or ORDER) + ["n"]
    return "".join(dict.fromkeys(letters))


def show_drives(rtc: RtcMc146818, controller: Fdc82077, setup: Setup) -> None:
    """What firmware reads in CMOS: types of the floppy drives, the order of boot devices, which disks need LBA."""
    types = [(floppy_medium(drive.disk) if drive.disk else NO_FLOPPY)[1] for drive in controller.drives[:2]]
    rtc.set_cmos(0x10, sum(kind << shift for kind, shift in zip(types, (4, 0), strict=False)))
    rtc.set_cmos(0x14, 0x06 | (0x01 | len(types) - 1 << 6 if types else 0))
    codes = [CODES[letter] for letter in setup.config.boot or ORDER if letter in CODES]
    first, second, third = (*codes[:3], 0, 0, 0)[:3]
    rtc.set_cmos(0x3D, first | second << 4)
    rtc.set_cmos(0x38, third << 4)
    ide = [m for m in setup.media if m.drive.interface == "ide" and not m.drive.card and m.disk is not None]
    large = [medium.drive.index or 0 for medium in ide if medium.disk is not None and medium.disk.size > CHS_LIMIT]
    rtc.set_cmos(0x39, sum(1 << 2 * index for index in large))


def boot_order_file(machine: Machine, setup: Setup) -> bytes:
    """`bootorder`: the Open Firmware path of everything with a bootindex, a line each. Empty if nothing has one."""
    paths: list[tuple[int, str]] = []
    for medium in setup.media:
        drive = medium.drive
        if drive.bootindex is not None and drive.interface == "ide" and not drive.card:
            place = drive.index or 0
            paths.append((drive.bootindex, f"{PCI_PATH}/ide@1,1/drive@{place >> 1:x}/disk@{place & 1:x}"))
    host = machine.devices.get("pci")
    slots = {id(f): devfn for devfn, f in host.functions.items()} if isinstance(host, PciBus) else {}
    for order, (name, props) in enumerate(setup.config.devices):
        key = f"{name}.{props['id']}" if props.get("id") else f"{name}.{order}"
        devfn, index = slots.get(id(machine.devices.get(key))), _index(props, name)
        if devfn is not None and index != LAST:
            place_text = f"{devfn >> 3:x}" + (f",{devfn & 7:x}" if devfn & 7 else "")
            kind, rest = ("ethernet", "ethernet-phy@0") if "netdev" in props else ("scsi", "disk@0,0")
            paths.append((index, f"{PCI_PATH}/{kind}@{place_text}/{rest}"))
    return b"\n".join(path.encode() for _, path in sorted(paths)) + b"\0" if paths else b""
