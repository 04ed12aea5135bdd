"""The gate: everything from outside the machine enters here, stamped with the instruction count of its arrival.

Typed characters, scripted text and the start-up date all come through; the list in `record` together with the images
determines the run. A channel hands bytes to one device, as many as the device takes at a time; the rest waits at the
gate and is offered again at fixed virtual intervals, so that when it arrives does not depend on the host.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from emu.clock import Clock, Timer


class Input(NamedTuple):
    """Bytes that reached a channel's device when `icount` instructions had retired since power-on."""

    icount: int
    channel: str
    data: bytes


class Channel:
    """A way into the machine; made by `Inputs.channel`."""

    def __init__(self, gate: Inputs, name: str, accept: Callable[[bytes], int], retry: int, at_once: int) -> None:
        self.name = name
        self._gate = gate
        self._accept = accept
        self._retry = retry
        self._at_once = at_once
        self._waiting = bytearray()
        self._timer: Timer = gate.clock.timer(f"input {name}", self._deliver)

    @property
    def waiting(self) -> int:
        """Bytes that the device has not taken yet."""
        return len(self._waiting)

    def put(self, data: bytes) -> None:
        """Queue bytes; called between instructions, or from a device callback (they then arrive after it)."""
        if not data:
            return
        self._waiting += data
        if self._timer.deadline is None:
            self._timer.arm(self._gate.clock.now())

    def _deliver(self) -> None:
        offered = bytes(self._waiting[: self._at_once])
        taken = max(0, min(len(offered), self._accept(offered)))
        if taken:
            self._gate.note(self.name, offered[:taken])
            del self._waiting[:taken]
        if self._waiting:
            self._timer.arm(self._gate.clock.now() + self._retry)

    def clear(self) -> None:
        """Forget what waits."""
        self._waiting.clear()
        self._timer.cancel()


class Inputs:
    """The gate of one machine. `icount` gives the instructions retired since power-on, resets included."""

    def __init__(self, clock: Clock, icount: Callable[[], int]) -> None:
        self.clock = clock
        self.record: list[Input] = []
        self._icount = icount
        self.channels: dict[str, Channel] = {}

    def channel(self, name: str, accept: Callable[[bytes], int], *, retry: int, at_once: int = 4096) -> Channel:
        """Open a channel to a device.

        `accept(data)` takes a prefix and says how many bytes; `at_once` bounds what it is offered in one go, and after
        each offer `retry` virtual ns pass before the next. Raises ValueError for a name in use.
        """
        if name in self.channels:
            raise ValueError(f"input channel {name} exists")
        self.channels[name] = Channel(self, name, accept, retry, at_once)
        return self.channels[name]

    def note(self, channel: str, data: bytes) -> None:
        """Record something that has reached the machine."""
        self.record.append(Input(self._icount(), channel, data))

    @property
    def waiting(self) -> int:
        """Bytes at the gate on all channels."""
        return sum(channel.waiting for channel in self.channels.values())
