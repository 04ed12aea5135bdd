"""What every tier of a core says to whoever runs it: why a run came back, and that an address is not mapped."""

from __future__ import annotations

from enum import IntEnum

NS_PER_INSN = 10
"""Virtual nanoseconds that one retired instruction takes."""


class Exit(IntEnum):
    """Why `run` of a processor came back."""

    BUDGET = 0
    HALT = 1
    SHUTDOWN = 2
    HOOK = 3
    STOP = 4
    ERROR = 5


class GuestFault(Exception):
    """A linear address that the guest's page tables do not map was read or written from outside."""

    def __init__(self, address: int) -> None:
        super().__init__(f"linear address {address:#010x} is not mapped")
        self.address = address
