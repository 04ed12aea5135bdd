"""isa-debug-exit: a port whose write ends the run with a status the guest chooses.

The name, the options and the status (value * 2 + 1) are QEMU's, so that test kernels written for it work.
"""

from __future__ import annotations

from collections.abc import Callable

from devices.device import Device, device


@device("isa-debug-exit", "ends the run with status (value << 1) | 1")
class DebugExit(Device):
    """`iobase` and `iosize` (bytes) say where the board maps it; `leave` gets the exit status, 1..0xFF."""

    def __init__(self, *, leave: Callable[[int], None], iobase: int = 0x501, iosize: int = 2) -> None:
        if not 0 <= iobase <= 0xFFFF or not 1 <= iosize <= 4 or iobase + iosize > 0x10000:
            raise ValueError(f"isa-debug-exit: no ports {iobase:#x}..{iobase + iosize - 1:#x}")
        super().__init__()
        self.leave = leave
        self.iobase = iobase
        self.iosize = iosize

    def read(self, offset: int, width: int) -> int:
        """Zero, as long as the machine runs."""
        return 0

    def write(self, offset: int, width: int, value: int) -> None:
        """End the run."""
        self.leave((value << 1 | 1) & 0xFF)
