"""How the devices of IBM/AMCC 4xx chips hang on the bus of device control registers (DCRs).

A DCR is a 32-bit word with a number; a mapping gives a device offsets from its first number. `DcrDevice` keeps its DCRs
in a bank `regs`, register n at byte 4 * n. `IndirectDcr` has many more registers than DCRs: the first of its two DCRs
(CFGADDR) holds the index of a register in `regs`, the second (CFGDATA) is that register.

A register that the manual does not have reads 0, as no unit drives the bus then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from devices import state
from devices.device import Device
from devices.registers import Bank


def words(bank: Bank, *registers: tuple[int, str] | tuple[int, str, int]) -> None:
    """Declare plain 32-bit registers: (index, name) or (index, name, reset value)."""
    for index, name, *reset in registers:
        bank.register(4 * index, name, reset=reset[0] if reset else 0)


class DcrDevice(Device):
    """Subclasses declare every register of `regs` with `register`, whether or not it has hooks."""

    regs: ClassVar[Bank]

    def read_dcr(self, offset: int) -> int:
        """The DCR at `offset` from the first one."""
        return self.get(offset)

    def write_dcr(self, offset: int, value: int) -> None:
        """The DCR at `offset` from the first one."""
        self.put(offset, value)

    def get(self, index: int) -> int:
        """Read register `index` of `regs`."""
        if 4 * index not in self.regs.registers:
            self.unimplemented(f"read of register {index:#x}")
            return 0
        return self.regs.read(self, 4 * index, 4)

    def put(self, index: int, value: int) -> None:
        """Write register `index` of `regs`."""
        if 4 * index not in self.regs.registers:
            self.unimplemented(f"write to register {index:#x}")
            return
        self.regs.write(self, 4 * index, 4, value)


@dataclass
class IndirectState:
    address: int = state.uint(32)


class IndirectDcr(DcrDevice):
    """Two DCRs, CFGADDR and CFGDATA."""

    State = IndirectState
    state: IndirectState

    def read_dcr(self, offset: int) -> int:
        """0 is CFGADDR, 1 is CFGDATA."""
        return self.get(self.state.address) if offset else self.state.address

    def write_dcr(self, offset: int, value: int) -> None:
        """0 is CFGADDR, 1 is CFGDATA."""
        if offset:
            self.put(self.state.address, value)
        else:
            self.state.address = value
