"""The drives of an IDE controller: what `-drive`, `-hda`, `-cdrom` and `-device ide-hd` put on its two channels.

A PC has a controller; others, and further ones of a PC, are cards: `-device piix3-ide,id=x`, with drives that name it
(`-device ide-hd,drive=d,bus=x.0,unit=1`). Where a board has none of its own, drives that name no controller go to the
first card.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from devices.ata import AtaDisk
from devices.ata import Drive as AtaDrive
from devices.atapi import AtapiCdrom
from devices.block.raw import MemoryDisk

if TYPE_CHECKING:
    from devices.contracts import Disk, DiskQueue
    from emu.boards import Setup
    from emu.machine import Machine
    from emu.media import Medium

PLACES = 4


def ide_drives(machine: Machine, setup: Setup, card: str) -> list[AtaDrive | None]:
    """Drives 0 and 1 of both channels of the controller that is called `card`, "" for the board's own."""
    places: list[AtaDrive | None] = [None] * PLACES
    for medium in setup.media:
        drive = medium.drive
        if drive.interface == "ide" and drive.card == card and drive.index is not None:
            places[drive.index] = _drive(machine, medium, f"{card or 'ide'}.{drive.index}")
            if medium.disk is not None and not any(disk is medium.disk for disk in machine.disks):
                machine.disks.append(medium.disk)
    return places


def card_name(setup: Setup, identity: str, *, own: bool) -> str:
    """Under which name drives are attached to a card; `own`: the board has a controller of its own."""
    cards = [props.get("id", "") for name, props in setup.config.devices if name == "piix3-ide"]
    named = any(medium.drive.card == identity for medium in setup.media)
    return "" if not own and not named and cards[:1] == [identity] else identity


def _drive(machine: Machine, medium: Medium, name: str) -> AtaDrive:
    def queued(disk: Disk | None) -> DiskQueue:
        return machine.disk_queue(MemoryDisk(b"", read_only=True) if disk is None else disk, name)

    if medium.cdrom or medium.disk is None:
        return AtapiCdrom(medium.disk, queued=queued)
    return AtaDisk(medium.disk, serial=f"EMU{(medium.drive.index or 0) + 1:05}", queue=queued(medium.disk))
