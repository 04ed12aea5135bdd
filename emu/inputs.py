"""The gate: everything from outside the machine enters here, at a point in virtual time that can be repeated.

Typed characters, scripted text, network frames, late disk completions and the start-up date all come through. What is
put is an *arrival*: a timer one nanosecond of virtual time ahead, so that its place among all other timers is the same
when it is replayed. A `Channel` hands bytes to one device, as many as the device takes at a time; `Messages` hands over
whole messages; what a device does not take waits and is offered again at fixed virtual intervals or when the device
says so (`poke`). Neither depends on the host, so only arrivals are recorded: with the images they determine the run.
A `decision` is the other thing the host may have a say in: a question asked at a moment that the guest determines.

`emu.record` writes the arrivals to a file and reads them back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from emu.clock import Clock, Timer
from emu.errors import ReplayError

KEPT = 8 << 20
"""Bytes of input that `Inputs.record` holds; older than that is in no memory, only in a recording."""
OVERHEAD = 64


class Input(NamedTuple):
    """Bytes that entered at virtual time `time` (ns), when `icount` instructions had retired since power-on."""

    icount: int
    channel: str
    data: bytes
    time: int = 0
    late: bool = False
    """It is told of afterwards: the processor has gone on since."""


class Entrance(ABC):
    """What channels and messages have in common: arrivals."""

    _waiting: Any

    def __init__(self, gate: Inputs, name: str) -> None:
        self.name = name
        self._gate = gate
        self._arriving: list[bytes] = []
        self._due = 0
        self._timer: Timer = gate.clock.timer(f"input {name} again", self._offer)
        self._arrival: Timer = gate.clock.timer(f"input {name}", self._arrive)

    def _put(self, data: bytes, time: int | None = None) -> None:
        if self._gate.replaying:
            return
        self._arriving.append(data)
        if self._arrival.deadline is None:
            self.expect(self._gate.clock.now() + 1 if time is None else time)

    def expect(self, time: int) -> None:
        """Something arrives at `time`; called by the gate, which has it."""
        self._due = time
        self._arrival.arm(time)

    def _arrive(self) -> None:
        arrived, self._arriving = self._arriving, []
        if self._gate.replaying:
            arrived = self._gate.replayed(self.name, self._due)
        else:
            arrived = self._packed(arrived)
            for data in arrived:
                self._gate.note(self.name, data, self._due)
        self._admit(arrived)

    def _packed(self, arrived: list[bytes]) -> list[bytes]:
        """How what arrives at one moment is recorded."""
        return arrived

    def clear(self) -> None:
        """Forget what waits."""
        self._waiting.clear()
        self._arriving.clear()
        self._timer.cancel()
        if not self._gate.replaying:
            self._arrival.cancel()

    @abstractmethod
    def _admit(self, arrived: list[bytes]) -> None:
        """Keep what has arrived, and offer it to the device."""

    @abstractmethod
    def _offer(self) -> None:
        """Hand the device what it takes of what waits."""

    @property
    @abstractmethod
    def waiting(self) -> int:
        """What the device has not taken yet."""


class Channel(Entrance):
    """A way into the machine for bytes; made by `Inputs.channel`."""

    def __init__(self, gate: Inputs, name: str, accept: Callable[[bytes], int], retry: int, at_once: int) -> None:
        super().__init__(gate, name)
        self._accept = accept
        self._retry = retry
        self._at_once = at_once
        self._waiting: bytearray = bytearray()

    @property
    def waiting(self) -> int:
        """Bytes that the device has not taken yet."""
        return len(self._waiting) + sum(map(len, self._arriving))

    def put(self, data: bytes) -> None:
        """Queue bytes; called between instructions, or from a device callback (they then arrive after it).

        In a replay nothing comes from here: what is put is dropped.
        """
        if data:
            self._put(bytes(data))

    def _packed(self, arrived: list[bytes]) -> list[bytes]:
        return [b"".join(arrived)]

    def _admit(self, arrived: list[bytes]) -> None:
        idle = not self._waiting
        for data in arrived:
            self._waiting += data
        if idle and self._timer.deadline is None:
            self._offer()

    def _offer(self) -> None:
        offered = bytes(self._waiting[: self._at_once])
        taken = max(0, min(len(offered), self._accept(offered))) if offered else 0
        del self._waiting[:taken]
        if self._waiting:
            self._timer.arm(self._gate.clock.now() + self._retry)


class Messages(Entrance):
    """A way into the machine for whole messages; made by `Inputs.messages`."""

    def __init__(self, gate: Inputs, name: str, accept: Callable[[bytes], bool], retry: int | None) -> None:
        super().__init__(gate, name)
        self._accept = accept
        self._retry = retry
        self._waiting: deque[bytes] = deque()

    @property
    def waiting(self) -> int:
        """Messages that the device has not taken yet: sources should stop reading when these grow."""
        return len(self._waiting) + len(self._arriving)

    def put(self, data: bytes, time: int | None = None) -> None:
        """Queue a message (it may be empty); called between instructions, or from a device callback. With a `time` it
        arrives then (virtual ns) and not at once: who lent the device had it on its way.

        In a replay nothing comes from here: what is put is dropped.
        """
        self._put(bytes(data), time)

    def came(self, ago: int, time: int, data: bytes) -> None:
        """A message has reached the device by another way, `ago` instructions before now: all there is left to do is
        to record it."""
        self._gate.note(self.name, data, time, ago)

    def enter(self, data: bytes) -> None:
        """Hand a message over now: only between instructions, when all timers that are due have fired.

        For what must be done when the call returns, also while the machine is paused. For its replay to come behind
        those timers too, make the entrance after everything else. Does nothing in a replay.
        """
        if not self._gate.replaying:
            self._gate.note(self.name, data)
            self._admit([data])

    def poke(self) -> None:
        """The device has room: offer again, right after the instruction under way."""
        if self._waiting:
            self._timer.arm(self._gate.clock.now())

    def _admit(self, arrived: list[bytes]) -> None:
        idle = not self._waiting
        self._waiting.extend(arrived)
        if idle:
            self._offer()

    def _offer(self) -> None:
        waiting = self._waiting
        while waiting:
            if not self._accept(waiting[0]):
                # `accept` may have poked: that offer is the sooner one.
                if self._retry is not None and self._timer.deadline is None:
                    self._timer.arm(self._gate.clock.now() + self._retry)
                return
            if waiting:
                waiting.popleft()


class Inputs:
    """The gate of one machine. `icount` gives the instructions retired since power-on, resets included."""

    def __init__(self, clock: Clock, icount: Callable[[], int]) -> None:
        self.clock = clock
        self.record: list[Input] = []
        """What came in, oldest first; `dropped` says how many of the oldest are no longer there."""
        self.dropped = 0
        self.sink: Callable[[Input], None] | None = None
        """Receives everything that comes in, as it does."""
        self.channels: dict[str, Channel] = {}
        self.ports: dict[str, Messages] = {}
        self.decisions: set[str] = set()
        self._icount = icount
        self._held = 0
        self._first = 0
        self._source: Iterator[Input] | None = None
        self._next: Input | None = None
        self._missed = clock.timer("replay", self._overdue, background=True)

    def channel(self, name: str, accept: Callable[[bytes], int], *, retry: int, at_once: int = 4096) -> Channel:
        """Open a channel for bytes to a device.

        `accept(data)` takes a prefix and says how many bytes; `at_once` bounds what it is offered in one go, and after
        each offer `retry` virtual ns pass before the next. Raises ValueError for a name in use.
        """
        self._free(name)
        self.channels[name] = Channel(self, name, accept, retry, at_once)
        return self.channels[name]

    def messages(self, name: str, accept: Callable[[bytes], bool], *, retry: int | None = None) -> Messages:
        """Open a way for whole messages (frames, replies, entropy) to a device.

        `accept(message)` takes it (True) or leaves it at the gate (False), where it is offered again after `retry`
        virtual ns (None: only when somebody calls `poke`). Messages stay in order. Raises ValueError for a name in use.
        """
        self._free(name)
        self.ports[name] = Messages(self, name, accept, retry)
        return self.ports[name]

    def _free(self, name: str) -> None:
        if name in self.channels or name in self.ports or name in self.decisions:
            raise ValueError(f"input channel {name} exists")

    def note(self, channel: str, data: bytes, time: int | None = None, ago: int | None = None) -> None:
        """Record something that reaches the machine, or that has reached it `ago` instructions before now."""
        made = Input(
            self._icount() - (ago or 0), channel, data, self.clock.now() if time is None else time, ago is not None
        )
        self.record.append(made)
        self._held += len(data) + OVERHEAD
        while self._held > KEPT:
            # In one piece of many: taking entries off the front of a list one by one would be slow.
            count = min(len(self.record), 1 + len(self.record) // 4)
            self._held -= sum(len(entry.data) + OVERHEAD for entry in self.record[:count])
            del self.record[:count]
            self.dropped += count
        if self.sink is not None:
            self.sink(made)

    @property
    def count(self) -> int:
        """Everything that came in so far."""
        return len(self.record) + self.dropped

    @property
    def waiting(self) -> int:
        """Bytes at the gate on all channels."""
        return sum(channel.waiting for channel in self.channels.values())

    # -- what the host decides

    def decision(self, name: str) -> None:
        """Announce a question that `decide` asks. Raises ValueError for a name in use."""
        self._free(name)
        self.decisions.add(name)

    def decide(self, name: str, question: bytes, make: Callable[[], bytes]) -> bytes:
        """What `make` says, or in a replay what it said then: b"" is the usual answer, which is not recorded.

        Called at a moment that the guest determines. `question` tells the questions of one moment apart and has the
        same length in all of a name.
        """
        if self.replaying:
            entry = self._next
            if entry is None or entry.channel != name or entry.time != self.clock.now():
                return b""
            if not entry.data.startswith(question):
                return b""
            return self.replayed(name, entry.time)[0][len(question) :]
        answer = make()
        if answer:
            self.note(name, question + answer)
        return answer

    # -- replay

    @property
    def replaying(self) -> bool:
        """Input comes from a recording: sources should not even be opened."""
        return self._source is not None

    @property
    def upcoming(self) -> Input | None:
        """What comes in next in a replay; None at the end of the recording."""
        return self._next

    def replay(self, entries: Iterable[Input]) -> None:
        """Take all input from `entries`, which are in the order of their recording. Nothing else comes in from now."""
        self._source = iter(entries)
        self._read()
        self._schedule()

    def replayed(self, name: str, time: int) -> list[bytes]:
        """The data of the next entries, all of `name` at `time`. Raises ReplayError if this is not what comes next."""
        out = []
        single = name in self.decisions
        while (entry := self._next) is not None and entry.channel == name and entry.time == time:
            if entry.icount != self._icount():
                raise ReplayError(
                    f"the run is not the recorded one: input for {name} came after {entry.icount} instructions, "
                    f"and now after {self._icount()}"
                )
            out.append(entry.data)
            self.note(name, entry.data, time)
            self._read()
            if single:
                break
        if not out:
            raise ReplayError(
                f"the run is not the recorded one: no input for {name} after {self._icount()} instructions"
            )
        self._schedule()
        return out

    def _read(self) -> None:
        self._next = next(self._source, None) if self._source is not None else None

    def _schedule(self) -> None:
        """Have the next entry come when it is time."""
        self._missed.cancel()
        entry = self._next
        if entry is None:
            return
        entrance = self.channels.get(entry.channel) or self.ports.get(entry.channel)
        if entrance is not None:
            entrance.expect(entry.time)
        elif entry.channel in self.decisions:
            # The guest's own doing leads to the question: nothing is armed, but it must not be missed.
            self._missed.arm(entry.time + 1)
        else:
            raise ReplayError(f"the recording has input for {entry.channel}, which this machine does not have")

    def _overdue(self) -> None:
        entry = self._next
        if entry is not None:
            raise ReplayError(
                f"the run is not the recorded one: after {entry.icount} instructions {entry.channel} had something to "
                f"say, and now, after {self._icount()}, it was not asked"
            )
