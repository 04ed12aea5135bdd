"""The host halves of devices: where disk bytes live and where console bytes go.

ATA and floppy controllers talk to a `Disk`, serial ports and debug ports to a `Console` (both in devices.contracts). A
`Disk` reports every trouble of the host as `OSError`; the controller turns it into the error its manual describes and
the guest carries on. The disks themselves, image formats and filters are in devices.block.
"""

from __future__ import annotations

from devices.block.overlay import OverlayDisk
from devices.block.raw import MemoryDisk, RawDisk
from devices.block.storage import SECTOR

__all__ = ["SECTOR", "MemoryConsole", "MemoryDisk", "OverlayDisk", "RawDisk"]


class MemoryConsole:
    """Keeps what the guest sent, for tests and for captured output. `limit` bounds the bytes kept (the newest)."""

    def __init__(self, limit: int = 1 << 20) -> None:
        self.data = bytearray()
        self.limit = limit

    def send(self, data: bytes) -> None:
        self.data += data
        excess = len(self.data) - self.limit
        if excess > 0:
            del self.data[:excess]
