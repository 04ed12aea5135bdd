"""Where frames wait: a fair queue with a rate and a latency, at the output of a wire or of a hub's port.

Deficit round robin (Shreedhar and Varghese, 1995) over the sources: each source that has frames gets `QUANTUM` bytes a
turn. Of an output that is contended by N sources each therefore gets at least 1/N of the rate, less one frame, and a
frame of a source that asks for less than its share waits at most for one quantum of each other source. A source that
floods only fills its own queue, which is bounded, and loses its own frames.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

from emu.clock import wall

QUANTUM = 1514
"""Bytes of one turn: the longest plain frame, so that each turn sends something."""
QUEUE = 256 << 10
"""Bytes that one source may have waiting."""
BURST = 0.004
"""Seconds of the rate that may go at once: shorter than what a wait on the host takes would waste the rate."""
OVERHEAD = 24
"""Bytes of preamble, check sequence and gap that a frame takes on a wire beside its own."""


class Output:
    """Takes frames of several sources and gives them to `sink` in a fair order, at most `rate` bytes a second.

    `sink` says False if it has no room; the frame is offered again by `run`. `latency` seconds are added to each frame.
    """

    def __init__(
        self,
        sink: Callable[[bytes], bool],
        rate: float | None = None,
        latency: float = 0.0,
        *,
        now: Callable[[], float] = wall,
        queue: int = QUEUE,
    ) -> None:
        self.sink = sink
        self.rate = rate
        self.latency = latency
        self.interval = 0.0
        """Seconds: frames leave together, at multiples of it (filter-buffer)."""
        self.lost: dict[int, int] = {}
        """Frames of each source that found its queue full."""
        self._now = now
        self._queue = queue
        self._waiting: OrderedDict[int, deque[bytes]] = OrderedDict()
        self._held: dict[int, int] = {}
        self._credit: dict[int, int] = {}
        self._burst = max(2.0 * QUANTUM, (rate or 0) * BURST)
        self._tokens = self._burst
        self._filled = now()
        self._flying: deque[tuple[float, bytes]] = deque()

    @property
    def pending(self) -> bool:
        """Something waits here."""
        return bool(self._waiting or self._flying)

    @property
    def full(self) -> bool:
        """Some source has its queue full."""
        return any(held >= self._queue for held in self._held.values())

    def put(self, source: int, frame: bytes) -> None:
        """A frame of a source; it goes at once if nothing holds it back."""
        if not self._waiting and not self._flying and self.rate is None and not self._slow and self.sink(frame):
            return
        held = self._held.get(source, 0) + len(frame)
        if held > self._queue and held > len(frame):
            self.run()
            held = self._held.get(source, 0) + len(frame)
            if held > self._queue and held > len(frame):
                self.lost[source] = self.lost.get(source, 0) + 1
                return
        self._held[source] = held
        line = self._waiting.get(source)
        if line is None:
            line = self._waiting[source] = deque()
            self._credit[source] = 0
        line.append(frame)
        self.run()

    def run(self) -> None:
        """Let go what may go now."""
        now = self._now()
        if self.rate is not None:
            self._tokens = min(self._burst, self._tokens + (now - self._filled) * self.rate)
            self._filled = now
        waiting, credit = self._waiting, self._credit
        if not self._land(now):
            return
        while waiting:
            if self.rate is not None and self._tokens <= 0:
                return
            source, line = next(iter(waiting.items()))
            if credit[source] < len(line[0]):
                credit[source] += QUANTUM
                if credit[source] < len(line[0]):
                    waiting.move_to_end(source)
                    continue
            while line and credit[source] >= len(line[0]):
                if self.rate is not None and self._tokens <= 0:
                    return
                frame = line[0]
                if self._slow:
                    self._flying.append((self._landing(now), frame))
                elif not self.sink(frame):
                    return
                line.popleft()
                credit[source] -= len(frame)
                self._held[source] -= len(frame)
                if self.rate is not None:
                    self._tokens -= len(frame) + OVERHEAD
            if line:
                waiting.move_to_end(source)
            else:
                del waiting[source], credit[source], self._held[source]

    @property
    def _slow(self) -> bool:
        return bool(self.latency or self.interval)

    def _landing(self, now: float) -> float:
        """When a frame that leaves now is there."""
        if self.interval:
            return (now // self.interval + 1) * self.interval + self.latency
        return now + self.latency

    def _land(self, now: float) -> bool:
        """Hand over frames whose latency is over. False if the sink has no room."""
        flying = self._flying
        while flying and flying[0][0] <= now:
            if not self.sink(flying[0][1]):
                return False
            flying.popleft()
        return True

    def timeout(self) -> float | None:
        """Seconds until `run` can do something more; None: nothing waits for time."""
        now = self._now()
        times = []
        if self._flying:
            times.append(max(0.0, self._flying[0][0] - now))
        if self._waiting and self.rate is not None and self._tokens <= 0:
            times.append(max(0.0, -self._tokens / self.rate - (now - self._filled)) + 1e-4)
        elif self._waiting:
            times.append(0.001)
        return min(times, default=None)
