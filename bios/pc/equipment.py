"""INT 11h and INT 12h: the equipment word and the size of base memory, both kept in the BIOS data area."""

from __future__ import annotations

from bios.pc import bda
from bios.pc.service import Call, service


@service(0x11)
def equipment(call: Call) -> None:
    """AX = equipment word."""
    call.ax = call.bda.word(bda.EQUIPMENT)


@service(0x12)
def base_memory(call: Call) -> None:
    """AX = KiB of memory from address 0."""
    call.ax = call.bda.word(bda.MEMORY_KIB)
