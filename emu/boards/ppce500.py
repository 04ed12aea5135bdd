"""QEMU's paravirtual e500 board: everything that can move is above 4 GiB, and the device tree says where.

    000000000  RAM up to -m
    c00000000  PCI memory, 512 MiB (PCI addresses from e0000000)
    fe0000000  configuration space (see emu.boards.e500), with a GPIO controller
    fe1000000  PCI I/O, 64 KiB

PCI slots 1 to 31. QEMU documentation, "ppce500 generic platform".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bios.ppc.trees import PPCE500
from emu.boards.e500 import build

if TYPE_CHECKING:
    from emu.boards import Setup
    from emu.machine import Machine


def ppce500(setup: Setup) -> Machine:
    """Build the board. Raises UsageError for files that do not fit it."""
    return build(setup, "ppce500", PPCE500, most=3584)
