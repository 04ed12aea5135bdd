"""The base of devices that lend their state to a processor for a run: `devices.contracts.Lender`.

A device lends what the processor needs for its commonest work (the local APIC its timer, a virtio disk its queue). Any
look at `state` or `registers` ends the loan first, so that nobody else has to know of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from devices.device import Device


class Lending(Device, ABC):
    """`lend` of a subclass hands its `take_back` to `lent` when it gives something away."""

    _take_back: Callable[[], Any] | None = None

    @property
    def state(self) -> Any:
        if self._take_back is not None:
            self.home()
        return self._state

    @state.setter
    def state(self, value: Any) -> None:
        if self._take_back is not None:
            self.home()
        self._state = value

    @property
    def registers(self) -> dict[str, int]:
        if self._take_back is not None:
            self.home()
        return self._registers

    @registers.setter
    def registers(self, value: dict[str, int]) -> None:
        if self._take_back is not None:
            self.home()
        self._registers = value

    def lent(self, take_back: Callable[[], Any]) -> None:
        """The loan begins; `take_back()` ends it and gives what has become of it."""
        self._take_back = take_back

    def home(self) -> None:
        """End the loan, if there is one."""
        take_back, self._take_back = self._take_back, None
        if take_back is not None:
            self.returned(take_back())

    @abstractmethod
    def returned(self, loan: Any) -> None:
        """Take over what `take_back` gave."""
