"""System control port A (0x92): fast A20 gate and fast reset.

82371SB (PIIX3) data sheet, 2.5.5.
"""

from __future__ import annotations

from devices.contracts import Line
from devices.device import Device, device
from devices.registers import Bank


@device("port92", "system control port A: fast A20 and reset")
class Port92(Device):
    """`a20` follows bit 1; `reset_line` is pulsed when bit 0 goes from 0 to 1."""

    regs = Bank(1)
    control = regs.register(0, "PORT92", mask=0x03, fields={"FAST_INIT": 0, "FAST_A20": 1})

    def __init__(self, *, a20: Line, reset_line: Line) -> None:
        super().__init__()
        self.a20 = a20
        self.reset_line = reset_line

    def read(self, offset: int, width: int) -> int:
        """Port 0x92."""
        return self.regs.read(self, offset, width)

    def write(self, offset: int, width: int, value: int) -> None:
        """Port 0x92."""
        self.regs.write(self, offset, width, value)

    @regs.on_write(0, "PORT92")
    def write_control(self, value: int) -> None:
        """Both bits act at once."""
        old = self.control
        self.control = value & 3
        self.a20.set(bool(value & 2))
        if value & ~old & 1:
            self.reset_line.set(True)
            self.reset_line.set(False)
