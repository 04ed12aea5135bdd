"""Freescale's MPC8544 development system.

    00000000  RAM up to -m (3 GiB)
    c0000000  PCI memory, 512 MiB
    e0000000  configuration space (see emu.boards.e500)
    e1000000  PCI I/O, 64 KiB

PCI slots 11h and 12h. MPC8544DS user's guide; its PCI Express ports, SATA and Ethernet are not there, nor a power
switch: a kernel that powers off ends in a loop, and so does the run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bios.ppc.trees import MPC8544DS
from emu.boards.e500 import build

if TYPE_CHECKING:
    from emu.boards import Setup
    from emu.machine import Machine


def mpc8544ds(setup: Setup) -> Machine:
    """Build the board. Raises UsageError for files that do not fit it."""
    return build(setup, "mpc8544ds", MPC8544DS, most=3072)
