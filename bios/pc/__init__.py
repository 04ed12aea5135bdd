"""The PC's BIOS: a ROM of stubs and one Python function for each service behind them.

A board makes a `Bios`, maps `Bios.rom()` at F0000h and below 4 GiB, and calls `Bios.dispatch()` whenever the guest has
written `HOOK_PORT`. The board itself satisfies `Host`.
"""

from bios.pc.firmware import Bios
from bios.pc.host import Action, Disk, Drive, DriveKind, Host, LinearFault
from bios.pc.memory_map import memory_map
from bios.pc.rom import HOOK_PORT

__all__ = ["HOOK_PORT", "Action", "Bios", "Disk", "Drive", "DriveKind", "Host", "LinearFault", "memory_map"]
