"""82093AA I/O APIC, memory mapped at 0xFEC00000.

24 interrupt lines come in through `input(pin)`, each with a redirection entry that says which vector goes to which
local APIC (`deliver`). Level triggered entries stay in service until the local APIC calls `end_of_interrupt`.

Intel 82093AA data sheet (order 290566). Levels are "asserted" or not: the polarity bit is stored and has no effect.
"""

# ruff: noqa: RUF009

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from devices import state
from devices.contracts import Line, Wire
from devices.device import Device, device
from devices.registers import Bank

PINS = 24
MASKED = 1 << 16
LEVEL = 1 << 15
REMOTE_IRR = 1 << 14
LOGICAL = 1 << 11
WRITABLE_LOW = 0x0001_AFFF
VERSION = (PINS - 1) << 16 | 0x11


@device("ioapic", "82093AA I/O APIC")
class IoApic(Device):
    """`deliver(destination, logical, mode, vector, level)` carries a message; True if a local APIC took it."""

    regs = Bank(0x44, width=4)
    select = regs.register(0x00, "IOREGSEL", mask=0xFF)

    @dataclass
    class State:
        identity: int = state.uint(4)
        lines: int = state.uint(PINS)
        low: list[int] = state.uints(PINS, 17, MASKED)
        """Bits 31..0 of each redirection entry."""
        destination: list[int] = state.uints(PINS, 8)
        """Bits 63..56 of each redirection entry."""

    state: State

    def __init__(self, *, deliver: Callable[[int, bool, int, int, bool], bool], identity: int = 0) -> None:
        super().__init__()
        self.deliver = deliver
        self.identity = identity & 15
        self.state.identity = self.identity

    def reset(self) -> None:
        """All pins masked; the levels of the lines are kept."""
        lines = self.state.lines
        self.clear()
        self.state.lines = lines
        self.state.identity = self.identity

    def input(self, pin: int) -> Line:
        """The line into pin 0..23."""
        if not 0 <= pin < PINS:
            raise ValueError(f"ioapic: no pin {pin}")
        return Wire(lambda level: self.drive(pin, level))

    def drive(self, pin: int, level: bool) -> None:
        """Set the level of a pin. An edge on a masked pin is lost."""
        bit = 1 << pin
        rising = level and not self.state.lines & bit
        self.state.lines = self.state.lines | bit if level else self.state.lines & ~bit
        if self.state.low[pin] & LEVEL:
            self._offer_level(pin)
        elif rising and not self.state.low[pin] & MASKED:
            self._send(pin)

    def end_of_interrupt(self, vector: int) -> None:
        """A local APIC finished with a level triggered `vector`; lines still asserted are delivered again."""
        low = self.state.low
        for pin in range(PINS):
            if low[pin] & (REMOTE_IRR | LEVEL | 0xFF) == REMOTE_IRR | LEVEL | vector:
                low[pin] &= ~REMOTE_IRR
                self._offer_level(pin)

    def read(self, offset: int, width: int) -> int:
        """`width` bytes at `offset`."""
        return self.regs.read(self, offset, width)

    def write(self, offset: int, width: int, value: int) -> None:
        """`width` bytes at `offset`."""
        self.regs.write(self, offset, width, value)

    @regs.on_read(0x10, "IOWIN")
    def read_window(self) -> int:
        """The register that IOREGSEL names."""
        index = self.select & 0xFF
        if index in (0, 2):
            return self.state.identity << 24
        if index == 1:
            return VERSION
        pin, high = (index - 0x10) >> 1, index & 1
        if 0 <= pin < PINS:
            return self.state.destination[pin] << 24 if high else self.state.low[pin]
        return 0xFFFF_FFFF

    @regs.on_write(0x10, "IOWIN")
    def write_window(self, value: int) -> None:
        """The register that IOREGSEL names."""
        index = self.select & 0xFF
        pin, high = (index - 0x10) >> 1, index & 1
        if index == 0:
            self.state.identity = value >> 24 & 15
        elif 0 <= pin < PINS:
            if high:
                self.state.destination[pin] = value >> 24
            else:
                self._write_low(pin, value)

    def _write_low(self, pin: int, value: int) -> None:
        old = self.state.low[pin]
        new = value & WRITABLE_LOW | old & REMOTE_IRR
        if not new & LEVEL:
            new &= ~REMOTE_IRR
        self.state.low[pin] = new
        if new & LEVEL:
            self._offer_level(pin)

    @regs.on_write(0x40, "EOI")
    def write_eoi(self, value: int) -> None:
        """Only later I/O APICs have this register."""
        self.unimplemented("EOI register")

    def _offer_level(self, pin: int) -> None:
        low = self.state.low[pin]
        if not self.state.lines >> pin & 1 or low & (MASKED | REMOTE_IRR):
            return
        # Only fixed and lowest priority interrupts are ever ended.
        if self._send(pin) and low >> 8 & 6 == 0:
            self.state.low[pin] |= REMOTE_IRR

    def _send(self, pin: int) -> bool:
        low = self.state.low[pin]
        logical, level = bool(low & LOGICAL), bool(low & LEVEL)
        return self.deliver(self.state.destination[pin], logical, low >> 8 & 7, low & 0xFF, level)
