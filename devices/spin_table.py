"""ePAPR spin table, where processors that firmware holds wait for an address to begin at.

    spin = SpinTable()
    map_mmio(0xEF000000 (mpc8544ds) or 0xFEF000000 (ppce500), SIZE, spin.read, spin.write)

Processor n's entry is at 0x20 * n, big-endian: entry address (64 bits; 1 while it waits), r3 (64), a reserved word,
PIR (32). Machines have one processor and that one never waits, so the table is memory with the right content.
ePAPR 1.1, section 5.5.2.
"""

# ruff: noqa: RUF009

from __future__ import annotations

from dataclasses import dataclass

from devices import state
from devices.device import Device, device

ENTRY = 0x20
ENTRIES = 32
SIZE = ENTRY * ENTRIES


@device("spin-table", "ePAPR spin table")
class SpinTable(Device):
    """1 KiB."""

    @dataclass
    class State:
        table: bytearray = state.octets(SIZE, SIZE)

    state: State

    def clear(self) -> None:
        super().clear()
        for n in range(ENTRIES):
            entry = (1, 8), (n, 8), (0, 4), (n, 4), (0, 8)
            self.state.table[ENTRY * n : ENTRY * (n + 1)] = b"".join(
                value.to_bytes(size, "big") for value, size in entry
            )

    def read(self, offset: int, width: int) -> int:
        """`width` bytes at `offset`."""
        return int.from_bytes(self.state.table[offset : offset + width], "big")

    def write(self, offset: int, width: int, value: int) -> None:
        """`width` bytes at `offset`."""
        self.state.table[offset : offset + width] = value.to_bytes(width, "big")
