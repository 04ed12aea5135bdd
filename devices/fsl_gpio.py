"""GPIO controller of MPC85xx and QorIQ chips: 32 pins, pin 0 being the most significant bit of every register.

    FslGpio(irq=mpic.line(47), outputs={0: Wire(lambda level: power_off() if level else None)})
    map_mmio(ccsr + 0xFF000, 0x1000, gpio.read, gpio.write)       ppce500: pin 0 switches the power off
    gpio.input(pin)                                               the line into a pin

MPC8572E reference manual, chapter 22; P2020 reference manual, chapter 20 (GPIBE).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from devices import state
from devices.contracts import Line, Wire
from devices.device import Device, device
from devices.registers import Bank

PINS = 32


@device("fsl-gpio", "MPC85xx GPIO controller")
class FslGpio(Device):
    """`outputs[pin]` follow the pins that are outputs; a pin that is an input drives its line low."""

    regs = Bank(0x1000, width=4, big_endian=True)
    gpdir = regs.register(0x00, "GPDIR")
    gpodr = regs.register(0x04, "GPODR")
    gpdat = regs.register(0x08, "GPDAT")
    gpier = regs.register(0x0C, "GPIER")
    gpimr = regs.register(0x10, "GPIMR")
    gpicr = regs.register(0x14, "GPICR")
    gpibe = regs.register(0x18, "GPIBE")

    @dataclass
    class State:
        lines: int = state.uint(PINS)
        """Levels of the inputs, pin 0 in bit 31."""

    state: State

    def __init__(self, *, irq: Line, outputs: Mapping[int, Line] | None = None) -> None:
        super().__init__()
        self.irq = irq
        self.outputs = dict(outputs or {})
        if any(not 0 <= pin < PINS for pin in self.outputs):
            raise ValueError(f"fsl-gpio: pins are 0..{PINS - 1}")

    def reset(self) -> None:
        """All pins are inputs; their levels stay."""
        lines = self.state.lines
        self.clear()
        self.state.lines = lines
        self._update()

    def input(self, pin: int) -> Line:
        """The line into pin 0..31."""
        if not 0 <= pin < PINS:
            raise ValueError(f"fsl-gpio: no pin {pin}")
        return Wire(partial(self.drive, 1 << 31 - pin))

    def drive(self, bit: int, level: bool) -> None:
        """Set the level of the pin of `bit`. GPICR chooses between any change and the falling edge."""
        s = self.state
        if level == bool(s.lines & bit):
            return
        s.lines ^= bit
        if not self.gpdir & bit and not (level and self.gpicr & bit):
            self.gpier |= bit
            self._update()

    def read(self, offset: int, width: int) -> int:
        """`width` bytes at `offset`."""
        return self.regs.read(self, offset, width)

    def write(self, offset: int, width: int, value: int) -> None:
        """`width` bytes at `offset`."""
        self.regs.write(self, offset, width, value)
        self._update()

    @regs.on_read(0x08, "GPDAT")
    def read_data(self) -> int:
        """The levels of the pins."""
        return self.gpdat & self.gpdir | self.state.lines & ~self.gpdir

    @regs.on_write(0x0C, "GPIER")
    def write_events(self, value: int) -> None:
        """Writing 1 clears an event."""
        self.gpier &= ~value

    def _update(self) -> None:
        self.irq.set(bool(self.gpier & self.gpimr))
        high = self.gpdir & self.gpdat
        for pin, line in self.outputs.items():
            line.set(bool(high >> 31 - pin & 1))
