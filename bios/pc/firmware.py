"""`Bios`: the firmware object a board makes. It builds the ROM and answers the ROM's hook-port OUTs.

The machine loop calls `dispatch` after the CPU stopped on the hook port, with CS:IP just after the OUT.
"""

from __future__ import annotations

# Importing a module registers its services.
from bios.pc import (  # noqa: F401
    apm,
    boot,
    cdrom,
    clock,
    disk,
    equipment,
    interrupts,
    keyboard,
    post,
    printer,
    rom,
    serial,
    system,
    vbe,
    video,
)
from bios.pc import tables as machine_tables
from bios.pc.font import font_8, font_14, font_16
from bios.pc.host import Action, LinearFault
from bios.pc.service import HOOKS, Call, Handler, find
from bios.pc.state import BiosState


class Bios(BiosState):
    """The PC's BIOS: `Bios(host)`."""

    def rom(self) -> bytes:
        """The 64 KiB for F0000h..FFFFFh. The same machine always gives the same bytes."""
        parts = {
            rom.FONT_16: ("8x16 font", font_16()),
            rom.FONT_14: ("8x14 font", font_14()),
            rom.FONT_8: ("8x8 font", font_8()),
            rom.FONT_8_LOW: ("8x8 font, low half", font_8()[:1024]),
            rom.VIDEO_STATIC: ("video functionality", video.STATIC_FUNCTIONALITY),
        }
        parts.update(machine_tables.rom_parts(self.host))
        return rom.build(parts)

    def dispatch(self) -> Action:
        """Run the service whose stub has just executed its OUT. Never raises for anything a guest can do."""
        host = self.host
        at = (host.reg("cs.base") + host.reg("eip")) & 0xFFFFFFFF
        point = rom.HOOK_POINTS.get(at & 0xFFFF) if at >> 16 in (0xF, 0xFFFF) else None
        if point is None:
            self.log_once(f"BIOS: port {rom.HOOK_PORT:#x} written at {at:#x}, which is no BIOS entry")
            return Action.CONTINUE
        call = Call(self, point.vector, resumed=point.resumed, wait_at=point.wait_at)
        handler: Handler | None
        if point.name.startswith("int"):
            handler = find(point.vector, call.ah, call.al)
            if point.vector not in (0x16, 0x1A):
                self.busy()
        else:
            handler = HOOKS.get(point.name)
        if handler is None:
            self.log_once(f"BIOS: {point.name} AX={call.ax:04X} is not offered")
            return Action.CONTINUE
        try:
            action = handler(call) or Action.CONTINUE
        except LinearFault as fault:
            self.log_once(f"BIOS: {point.name} met unmapped memory: {fault}")
            action = Action.CONTINUE
        if action is Action.WAIT:
            call.jump(point.wait_at)
        return action
