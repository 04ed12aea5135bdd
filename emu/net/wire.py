"""A wire between a network card and a back end, and what every back end offers.

    card --NetPort-- Wire --shaper, filters-- Backend --sockets-- the host

The card's end is inside the machine: frames for it enter through the gate (`emu.inputs.Messages`). Everything behind
the wire is outside and lives on wall time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from devices.ethernet import segments, whole
from emu.clock import wall
from emu.net.queue import Output

if TYPE_CHECKING:
    from emu.inputs import Inputs, Messages

Frame = bytes
MOST_WAITING = 256
"""Frames at the gate for one card; with these the wire is full and its back end is no longer read."""
MOST_AT_GATE = 2048
"""Frames at the gate after which more are dropped: a back end that answers at once cannot be held back."""
PATIENCE = 10.0
"""Seconds of wall time after the last frame for which a peer that is connected may still answer."""


class Backend:
    """The outside end of a wire. Subclasses give the methods below; a base that does nothing is an unplugged cable."""

    kind = "none"
    takes_large = False
    """TCP segments of any size, with lengths and checksums filled in, may be sent as they are."""
    trusted = False
    """What comes from here has right checksums."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.deliver: Callable[[Frame], None] = lambda frame: None
        """Takes a frame for the card."""
        self.full: Callable[[], bool] = lambda: False
        """Whether the other end of the wire has no room: nothing should be read then."""
        self.joined: Callable[[], bool] = lambda: False
        """Whether segments that follow one another may be delivered as one large frame."""

    def send(self, frame: Frame) -> None:
        """A frame from the card. Never blocks, never raises: what cannot be sent is lost, as on any wire."""

    @property
    def live(self) -> bool:
        """Somebody outside may send something that the guest has not asked for."""
        return False

    @property
    def busy(self) -> bool:
        """The guest waits for somebody outside."""
        return False

    def descriptors(self) -> tuple[list[int], list[int]]:
        """What to wait for: to read and to write."""
        return [], []

    def timeout(self) -> float | None:
        """Seconds until `poll` is due even if no descriptor is ready; None: never."""
        return None

    def poll(self) -> None:
        """Deliver what has come. Never blocks."""

    def lends(self) -> bool:
        """Whether `lend` would give something."""
        return False

    def lend(self) -> int | None:
        """The address of a wire in C (`emu/engine/wire.h`), which a processor then has for itself, or None."""
        return None

    def moved(self) -> tuple[int, int]:
        """Frames that have passed there so far, from the card and to it."""
        return 0, 0

    def take_back(self) -> Iterable[Frame]:
        """The loan is over: what waits for the card."""
        return ()

    def close(self) -> None:
        """Give everything back to the host."""

    def describe(self) -> str:
        """One line for people."""
        return self.kind


class OpenBackend(Backend):
    """A back end on which anybody may send at any time: nobody can tell that the guest waits for nothing."""

    @property
    def live(self) -> bool:
        return True

    @property
    def busy(self) -> bool:
        return True


class Wire:
    """One -netdev with a card on it (`devices.contracts.NetPort`), or with another wire."""

    def __init__(self, backend: Backend, *, rate: float | None = None, latency: float = 0.0) -> None:
        """`rate` in bytes a second and `latency` in seconds hold for each direction."""
        self.name = backend.name
        self.backend = backend
        self.taken = False
        """A card or a hub port has this wire."""
        self.watchers: list[Callable[[Frame, bool], None]] = []
        """Told each frame and whether it comes from the card."""
        self.activity = 0.0
        """When the last frame passed, on the wall."""
        self.sent = self.received = self.dropped = 0
        self._channel: Messages | None = None
        self._sink: Callable[[Frame], bool] = lambda frame: True
        self._gate: Inputs | None = None
        self._home: Callable[[], None] | None = None
        self._moved = (0, 0)
        self._out = Output(self._to_backend, rate, latency)
        self._in = Output(self._to_card, rate, latency)
        self._direct = rate is None and not latency
        backend.deliver = self.deliver
        backend.full = self.full

    # -- the card's end

    def join(self, gate: Inputs) -> None:
        """Say through which gate frames for the card enter; before `attach`."""
        self._gate = gate

    def attach(self, receive: Callable[[Frame], bool]) -> None:
        """See `devices.contracts.NetPort`."""

        def accept(frame: Frame) -> bool:
            # Watched here, so that a replay is watched as well.
            taken = receive(frame)
            if taken and self.watchers:
                for watch in self.watchers:
                    watch(frame, False)
            return taken

        if self._gate is not None:
            self._channel = self._gate.messages(f"net {self.name}", accept)

    def hold(self, interval: float, queue: str = "all") -> None:
        """Let frames pass only at multiples of `interval` seconds."""
        self._end_loan()
        for output, name in ((self._out, "rx"), (self._in, "tx")):
            if queue in ("all", name):
                output.interval = interval
        self._direct = False

    def allow_large(self, wanted: Callable[[], bool]) -> None:
        """See `devices.contracts.NetPort`."""
        if self.backend.trusted:
            self.backend.joined = lambda: self._direct and not self.watchers and wanted()

    def attach_outside(self, sink: Callable[[Frame], bool]) -> None:
        """The other end is outside as well: no gate."""
        self._sink = sink

    def ready(self) -> None:
        """See `devices.contracts.NetPort`."""
        if self._channel is not None:
            self._channel.poke()

    def send(self, frame: Frame) -> None:
        """See `devices.contracts.NetPort`."""
        self.sent += 1
        self.activity = wall()
        for watch in self.watchers:
            watch(frame, True)
        if self._direct:
            self.backend.send(frame)
        else:
            self._out.put(0, frame)

    # -- a loan to the processor (`devices.lending`)

    def lends(self) -> bool:
        """Whether a processor may move the frames of this wire by itself."""
        channel, backend = self._channel, self.backend
        return channel is not None and self._direct and not self.watchers and not channel.waiting and backend.lends()

    def lend(self, home: Callable[[], None]) -> int | None:
        """The address of the wire in C. `home()` ends the loan."""
        if not self.lends():
            return None
        self._home = home
        self._moved = self.backend.moved()
        return self.backend.lend()

    def _end_loan(self) -> None:
        if self._home is not None:
            self._home()

    def brought(self, arrivals: Sequence[tuple[int, int, Frame]]) -> None:
        """What came by itself during a run: how many instructions ago, when (virtual ns), the frame."""
        if self._channel is not None:
            for ago, time, frame in arrivals:
                self._channel.came(ago, time, frame)
        before, self._moved = self._moved, self.backend.moved()
        if self._moved != before:
            self.sent += self._moved[0] - before[0]
            self.received += self._moved[1] - before[1]
            self.activity = wall()

    def returned(self, arriving: int | None) -> None:
        """The loan is over. What is left at the wire arrives at the virtual time `arriving`."""
        self._home = None
        for frame in self.backend.take_back():
            if self._channel is not None:
                self._channel.put(frame, arriving)

    def send_large(self, frame: Frame, mss: int) -> None:
        """See `devices.contracts.NetPort`."""
        if self.backend.takes_large and self._direct and not self.watchers:
            made = whole(frame)
            if made is not None:
                self.sent += 1
                self.activity = wall()
                self.backend.send(made)
            return
        for piece in segments(frame, mss):
            self.send(piece)

    # -- the outside

    def deliver(self, frame: Frame) -> None:
        """A frame from the back end."""
        self.activity = wall()
        if not self._direct:
            self._in.put(0, frame)
        else:
            self._to_card(frame)

    def full(self) -> bool:
        """Whether frames should be held back."""
        return (self._channel is not None and self._channel.waiting >= MOST_WAITING) or self._in.full

    def _to_card(self, frame: Frame) -> bool:
        channel = self._channel
        if channel is None:
            for watch in self.watchers:
                watch(frame, False)
            if not self._sink(frame):
                self.dropped += 1
        elif channel.waiting < MOST_AT_GATE:
            self.received += 1
            channel.put(frame)
        else:
            self.dropped += 1
        return True

    def _to_backend(self, frame: Frame) -> bool:
        self.backend.send(frame)
        return True

    @property
    def pending(self) -> bool:
        """Frames are on their way, because of a rate or a latency."""
        return self._out.pending or self._in.pending

    @property
    def active(self) -> bool:
        """A frame passed a short while ago."""
        return wall() - self.activity < PATIENCE

    def timeout(self) -> float | None:
        """Seconds until `poll` is due."""
        times = [t for t in (self.backend.timeout(), self._out.timeout(), self._in.timeout()) if t is not None]
        return min(times, default=None)

    def poll(self) -> None:
        """Bring in what has come, and send what its rate and latency held back."""
        self.backend.poll()
        if not self._direct:
            self._out.run()
            self._in.run()

    def describe(self) -> str:
        """One line for people, as QEMU's `info network`."""
        return f"{self.name}: type={self.backend.kind},{self.backend.describe()}"
