"""I2C: what a slave does, and a bus of them for a controller that is the only master.

A slave is a device of its own, with its own state; the bus has none. A transfer is `start` (again for a repeated
start), any number of `write` or `read`, and `stop`. NXP UM10204, chapter 3.
"""

from __future__ import annotations

from typing import Protocol


class I2cSlave(Protocol):
    """One chip on the bus. No method may raise."""

    def start(self, read: bool) -> bool:
        """The chip's address was sent, for reading or writing. True acknowledges."""

    def write(self, byte: int) -> bool:
        """A byte from the master. True acknowledges."""

    def read(self) -> int:
        """The next byte for the master."""

    def stop(self) -> None:
        """The transfer is over."""


class I2cBus:
    """Slaves by their 7-bit address; where there is none nothing acknowledges and bytes read FFh."""

    def __init__(self) -> None:
        self.slaves: dict[int, I2cSlave] = {}

    def attach(self, address: int, slave: I2cSlave) -> None:
        """Put a slave at a 7-bit address. Raises ValueError if the address is taken or reserved."""
        if not 0x08 <= address < 0x78 or address in self.slaves:
            raise ValueError(f"I2C address {address:#04x}: taken or out of range")
        self.slaves[address] = slave

    def start(self, address: int, read: bool) -> bool:
        """Address a slave; True if it acknowledges."""
        slave = self.slaves.get(address)
        return slave is not None and slave.start(read)

    def write(self, address: int, byte: int) -> bool:
        """A byte for the slave addressed last; True if it acknowledges."""
        slave = self.slaves.get(address)
        return slave is not None and slave.write(byte)

    def read(self, address: int) -> int:
        """A byte from the slave addressed last."""
        slave = self.slaves.get(address)
        return 0xFF if slave is None else slave.read()

    def stop(self, address: int) -> None:
        """End the transfer with the slave addressed last."""
        slave = self.slaves.get(address)
        if slave is not None:
            slave.stop()
