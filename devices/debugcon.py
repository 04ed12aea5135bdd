"""Debug ports: one byte out, and the word that ends a Bochs run.

`Debugcon` is the port that firmware and kernels print to (0xE9 of Bochs, 0x402 of SeaBIOS and OVMF); reading it tells
the guest that it is there. `ShutdownPort` is port 0x8900 of Bochs, which powers off at the text "Shutdown".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from devices import state
from devices.contracts import Console
from devices.device import Device, device


@device("isa-debugcon", "debug console port (0xE9, 0x402)")
class Debugcon(Device):
    """Every byte written goes to `console`; a read gives `readback`."""

    def __init__(self, *, console: Console, readback: int = 0xE9) -> None:
        super().__init__()
        self.console = console
        self.readback = readback & 0xFF

    def read(self, offset: int, width: int) -> int:
        """The presence byte."""
        return self.readback

    def write(self, offset: int, width: int, value: int) -> None:
        """Print one byte."""
        self.console.send(bytes((value & 0xFF,)))


@device("bochs-shutdown", "port 0x8900: powers off at the text Shutdown")
class ShutdownPort(Device):
    """Calls `shutdown` when the last bytes written spell "Shutdown"."""

    WORD = b"Shutdown"

    @dataclass
    class State:
        matched: int = state.ranged(0, 7)

    state: State

    def __init__(self, *, shutdown: Callable[[], None]) -> None:
        super().__init__()
        self.shutdown = shutdown

    def read(self, offset: int, width: int) -> int:
        """Nothing answers."""
        return 0xFF

    def write(self, offset: int, width: int, value: int) -> None:
        """The next byte of the word, or a new start."""
        matched = self.state.matched
        if value == self.WORD[matched]:
            matched += 1
        else:
            matched = int(value == self.WORD[0])
        if matched == len(self.WORD):
            matched = 0
            self.shutdown()
        self.state.matched = matched
