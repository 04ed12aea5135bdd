"""The floppy drives of a PC: what -fda, -fdb and -drive if=floppy name, on their controller."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bios.pc.disk import floppy_medium
from devices.fdc82077 import Fdc82077, FloppyDrive, Format

if TYPE_CHECKING:
    from devices.contracts import Disk, Line
    from devices.dma8237 import Dma8237
    from emu.boards import Setup
    from emu.machine import Machine
    from emu.media import Medium


def floppy_media(setup: Setup) -> list[Medium]:
    """The drives that the command line asks for, in their order."""
    found = [medium for medium in setup.media if medium.drive.interface == "floppy"]
    return sorted(found, key=lambda medium: medium.drive.index or 0)


def floppy_controller(machine: Machine, setup: Setup, irq: Line, dma: Dma8237) -> Fdc82077:
    """The controller. A drive B alone stands behind an empty drive A."""
    drives: list[FloppyDrive] = []
    for medium in floppy_media(setup):
        while len(drives) < (medium.drive.index or 0):
            drives.append(FloppyDrive(None, measure))
        drives.append(FloppyDrive(medium.disk, measure))
    return Fdc82077(clock=machine.clock, irq=irq, dma=dma, drives=drives)


def measure(disk: Disk) -> Format:
    """The format of a medium."""
    geometry = floppy_medium(disk)[0]
    return Format(geometry.cylinders, geometry.heads, geometry.sectors)
