"""GPIO controller of 4xx chips: 32 pins, pin 0 being the most significant bit of every register.

    gpio = Gpio(outputs={5: line})
    map_mmio(0xEF600B00, 0x48, gpio.read, gpio.write)       GPIO1 at 0xEF600C00; 460EX: 0x4EF600B00 ...
    gpio.input(pin)                                         the line into a pin

A pin that is an output shows its own level in IR, others that of their line. Which pins belong to other units (OSR,
TSR, ISR) is kept and has no effect; interrupts from pins go straight to the UIC.

PPC440EP user's manual, "GPIO Operations"; PPC460EX user's manual, the same chapter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from devices import state
from devices.contracts import Line, Wire
from devices.device import Device, device
from devices.ppc4xx_dcr import words
from devices.registers import Bank

PINS = 32


@device("ppc4xx-gpio", "GPIO controller of 4xx chips")
class Gpio(Device):
    """`outputs[pin]` follow the pins that are outputs; a pin that is an input, or open drain and high, lets go: low.

    Raises ValueError for a pin beyond 31.
    """

    regs = Bank(0x48, width=4, big_endian=True)
    output = regs.register(0x00, "OR")
    enable = regs.register(0x04, "TCR")
    words(regs, (2, "OSRL"), (3, "OSRH"), (4, "TSRL"), (5, "TSRH"))
    open_drain = regs.register(0x18, "ODR")
    regs.register(0x1C, "IR", mask=0)
    words(regs, (8, "RR1"), (9, "RR2"), (10, "RR3"), (12, "ISR1L"), (13, "ISR1H"), (14, "ISR2L"), (15, "ISR2H"))
    words(regs, (16, "ISR3L"), (17, "ISR3H"))

    @dataclass
    class State:
        lines: int = state.uint(PINS)
        """Levels from outside, pin 0 in bit 31."""

    state: State

    def __init__(self, *, outputs: Mapping[int, Line] | None = None) -> None:
        super().__init__()
        self.outputs = dict(outputs or {})
        for pin in self.outputs:
            self._check(pin)

    @staticmethod
    def _check(pin: int) -> None:
        if not 0 <= pin < PINS:
            raise ValueError(f"ppc4xx-gpio: no pin {pin}")

    def reset(self) -> None:
        """All pins are inputs; their levels stay."""
        lines = self.state.lines
        self.clear()
        self.state.lines = lines
        self._update()

    def input(self, pin: int) -> Line:
        """The line into pin 0..31."""
        self._check(pin)
        return Wire(partial(self.drive, pin))

    def drive(self, pin: int, level: bool) -> None:
        """Set the level of a pin from outside."""
        mask = 0x8000_0000 >> pin
        self.state.lines = self.state.lines | mask if level else self.state.lines & ~mask

    def read(self, offset: int, width: int) -> int:
        """`width` bytes at `offset`."""
        return self.regs.read(self, offset, width)

    def write(self, offset: int, width: int, value: int) -> None:
        """`width` bytes at `offset`."""
        self.regs.write(self, offset, width, value)

    @regs.on_write(0x00, "OR")
    def write_output(self, value: int) -> None:
        """Levels of the outputs."""
        self.output = value
        self._update()

    @regs.on_write(0x04, "TCR")
    def write_enable(self, value: int) -> None:
        """Ones for outputs."""
        self.enable = value
        self._update()

    @regs.on_write(0x18, "ODR")
    def write_open_drain(self, value: int) -> None:
        """Ones for outputs that only pull low."""
        self.open_drain = value
        self._update()

    @regs.on_read(0x1C, "IR")
    def read_input(self) -> int:
        """The levels of the pins."""
        driven = self.enable & ~(self.open_drain & self.output)
        return self.output & driven | self.state.lines & ~driven

    def _update(self) -> None:
        high = self.output & self.enable & ~self.open_drain
        for pin, line in self.outputs.items():
            line.set(bool(high & 0x8000_0000 >> pin))
