"""pc-testdev: what bare-metal suites poke at to test a processor: scratch ports, scratch memory and interrupt lines.

A device of QEMU that no PC has; kvm-unit-tests always asks for it. Ports E0h-E3h (any width) and E8h-EBh (bytes) hold
what was written, port 2000h + n drives interrupt line n, and 64 KiB at FF000000h are memory that answers as a device.
"""

# ruff: noqa: RUF009

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from devices.contracts import Line
from devices.device import Device, device
from devices.state import octets

LINES = 24
MEMORY = 0x10000


@device("pc-testdev", "scratch ports, scratch memory and interrupt lines for test suites")
class PcTestdev(Device):
    """`lines[n]` is the interrupt line that port 2000h + n drives."""

    @dataclass
    class State:
        wide: bytearray = octets(4, 4)
        narrow: bytearray = octets(4, 4)
        memory: bytearray = octets(MEMORY, MEMORY)

    state: State

    def __init__(self, *, lines: Sequence[Line]) -> None:
        super().__init__()
        self._lines = tuple(lines)

    def reset(self) -> None:
        """All zero, no interrupt."""
        self.clear()
        for line in self._lines:
            line.set(False)

    def read_wide(self, offset: int, width: int) -> int:
        """Ports E0h-E3h."""
        return int.from_bytes(self.state.wide[offset : offset + width], "little")

    def write_wide(self, offset: int, width: int, value: int) -> None:
        """Ports E0h-E3h."""
        self.state.wide[offset : offset + width] = value.to_bytes(width, "little")

    def read_narrow(self, offset: int, width: int) -> int:
        """Ports E8h-EBh."""
        return self.state.narrow[offset]

    def write_narrow(self, offset: int, width: int, value: int) -> None:
        """Ports E8h-EBh."""
        self.state.narrow[offset] = value

    def read_line(self, offset: int, width: int) -> int:
        """Lines cannot be read."""
        return 0xFF

    def write_line(self, offset: int, width: int, value: int) -> None:
        """Raise or lower interrupt line `offset`."""
        if offset < len(self._lines):
            self._lines[offset].set(value != 0)

    def read_memory(self, offset: int, width: int) -> int:
        """The 64 KiB."""
        return int.from_bytes(self.state.memory[offset : offset + width], "little")

    def write_memory(self, offset: int, width: int, value: int) -> None:
        """The 64 KiB."""
        self.state.memory[offset : offset + width] = value.to_bytes(width, "little")
