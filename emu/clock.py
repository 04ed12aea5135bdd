"""Virtual time, timers and the pace at which time is let through. No other module may import `time`.

Virtual time is a whole number of nanoseconds: ten for each retired instruction, plus what a halted processor skipped.
Devices see `now` and `timer` (`devices.contracts.Clock`); the machine loop asks `budget`, `fire` and `skip_to`.
The wall clock only decides how long an idle machine sleeps, never what the guest computes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Protocol

from emu.cpu import NS_PER_INSN
from emu.errors import DeviceError, MachineError

FIRES_WITHOUT_PROGRESS = 100_000


class TimeSource(Protocol):
    """The part of a processor that keeps time."""

    icount: int
    time_offset: int

    def now(self) -> int: ...

    def stop_at(self, deadline: int) -> None: ...


class Timer:
    """One deadline; made by `Clock.timer`."""

    def __init__(self, clock: Clock, name: str, callback: Callable[[], None], order: int, background: bool) -> None:
        self.name = name
        self.deadline: int | None = None
        """Absolute virtual ns, or None while idle."""
        self.callback = callback
        self.order = order
        self.background = background
        self.inner = False
        """The processor serves it during a run, by itself; a run that ends then leaves it to `fire`."""
        self.eager = False
        """A processor that halts does not wait for it: it fires then."""
        self._clock = clock

    def arm(self, deadline: int) -> None:
        """Fire once at `deadline` (absolute virtual ns; the past means at the next instruction)."""
        self.deadline = deadline
        self._clock._armed(self, deadline)

    def cancel(self) -> None:
        """Go idle."""
        self.deadline = None


class Clock:
    """Virtual time of one machine.

    Callbacks run between instructions, at the first instruction count whose time reaches the deadline, ordered by
    (deadline, creation). A background timer (one that only watches the guest) does not keep a halted machine alive.
    """

    def __init__(self, source: TimeSource) -> None:
        self._source = source
        self._heap: list[tuple[int, int, Timer]] = []
        self._count = 0
        self._slice_end = -1
        self.on_eager: Callable[[], None] = lambda: None
        """Called when an eager timer is armed: from then on a halt must be told."""
        self.around: Callable[[str, Callable[[], None]], None] | None = None
        """Runs the callback of a timer instead of the clock; `emu.meter` measures there."""

    def now(self) -> int:
        """Virtual ns since power-on; exact inside callbacks."""
        return self._source.now()

    def timer(self, name: str, callback: Callable[[], None], *, background: bool = False) -> Timer:
        """A new idle timer."""
        self._count += 1
        return Timer(self, name, callback, self._count, background)

    def _armed(self, timer: Timer, deadline: int) -> None:
        heappush(self._heap, (deadline, timer.order, timer))
        if timer.eager:
            self.on_eager()
        if deadline < self._slice_end and not timer.inner:
            self._source.stop_at(deadline)
            self._slice_end = deadline

    def _clean(self) -> None:
        """Drop entries at the top that were cancelled or armed anew."""
        heap = self._heap
        while heap and heap[0][2].deadline != heap[0][0]:
            heappop(heap)
        if len(heap) > 64 and len(heap) > 8 * self._count:
            live = {(t.deadline, t.order): t for deadline, _, t in heap if t.deadline == deadline}
            heap[:] = sorted((deadline, order, t) for (deadline, order), t in live.items() if deadline is not None)

    def next_deadline(self) -> int | None:
        """When the next timer fires, background ones included."""
        self._clean()
        return self._heap[0][0] if self._heap else None

    def next_wakeup(self) -> int | None:
        """When the next timer of a device fires: the only thing inside that can end a halt."""
        self._clean()
        times = [deadline for deadline, _, t in self._heap if t.deadline == deadline and not t.background]
        return min(times, default=None)

    def _next_outer(self) -> int | None:
        """The same without the timers that the processor serves, unless such a one is due."""
        self._clean()
        if not self._heap or not self._heap[0][2].inner or self._heap[0][0] <= self.now():
            return self._heap[0][0] if self._heap else None
        return min((d for d, _, t in self._heap if t.deadline == d and not t.inner), default=None)

    def budget(self, limit: int) -> int:
        """Instructions to run before a timer is due, at most `limit`; 0 if one is due already."""
        deadline = self._next_outer()
        now = self.now()
        if deadline is not None:
            limit = min(limit, max(0, -((now - deadline) // NS_PER_INSN)))
        self._slice_end = now + limit * NS_PER_INSN
        return limit

    def idle(self, limit: int) -> int:
        """Called after `budget`: the virtual time (ns), at most `limit`, up to which the processor may let idle time
        pass for the timers that it serves itself."""
        deadline = self._next_outer()
        until = limit if deadline is None else min(limit, deadline)
        self._slice_end = max(self._slice_end, until)
        return until

    def fire(self) -> None:
        """Run the callbacks of all timers that are due."""
        self._slice_end = -1
        now = self.now()
        for _ in range(FIRES_WITHOUT_PROGRESS):
            self._clean()
            if not self._heap or self._heap[0][0] > now:
                return
            timer = heappop(self._heap)[2]
            timer.deadline = None
            try:
                if self.around is None:
                    timer.callback()
                else:
                    self.around(timer.name, timer.callback)
            except MachineError:
                raise
            except Exception as error:
                raise DeviceError(f"timer {timer.name}: {type(error).__name__}: {error}") from error
        raise DeviceError(f"timer {timer.name} keeps firing without time passing")

    @property
    def wakeful(self) -> bool:
        """An eager timer is armed: a halt must be told."""
        return any(t.eager and t.deadline == deadline for deadline, _, t in self._heap)

    def hurry(self) -> bool:
        """The processor has halted: eager timers are due now. Whether there is one."""
        early = [t for deadline, _, t in self._heap if t.eager and t.deadline == deadline]
        now = self.now() if early else 0
        for timer in early:
            if timer.deadline is not None and timer.deadline > now:
                timer.arm(now)
        return bool(early)

    def skip_to(self, deadline: int) -> None:
        """Let a halted machine's time jump; never backwards."""
        now = self.now()
        if deadline > now:
            self._source.time_offset += deadline - now

    def across_reset(self, reset: Callable[[], None]) -> None:
        """Run something that sets the instruction count back to zero, and let virtual time go on."""
        now = self.now()
        reset()
        self._source.time_offset = now - self._source.icount * NS_PER_INSN


class Pacer:
    """Keeps virtual time from running ahead of the wall while the guest idles (`--clock paced`).

    A guest that fell behind by more than `MAX_LAG` seconds is forgiven rather than rushed.
    """

    MAX_LAG = 0.5
    LEAD = 0.001
    """Seconds that virtual time may be ahead: a shorter sleep costs the host more than it is worth."""
    IDLE_LEAD = 0.02
    """The same where the guest is in no conversation with anybody outside: some ticks of its clock for one sleep."""
    STILL_LEAD = 0.05
    """And where it has not heard or said anything for a while, and nobody watches its screen."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wall = wall()
        self._virtual = clock.now()
        self.still = False

    @property
    def idle_lead(self) -> float:
        """What idle time may be ahead of the wall now."""
        return self.STILL_LEAD if self.still else self.IDLE_LEAD

    def ahead(self, deadline: int, lead: float = LEAD) -> float:
        """Seconds to wait until virtual time `deadline` (ns) may pass; 0 or less: none."""
        due = self._wall + (deadline - self._virtual) / 1e9
        wait = due - wall()
        if wait < -self.MAX_LAG:
            self._wall = wall()
            self._virtual = deadline
        return 0.0 if 0 < wait < lead else wait

    def limit(self, lead: float) -> int:
        """The virtual time in ns up to which a processor may let idle time pass before the wall is asked again."""
        self.ahead(self._clock.now())
        return self.reached() + int(lead * 1e9)

    def origin(self) -> tuple[int, int]:
        """A moment on the wall in ns, and the virtual time that belonged to it."""
        return int(self._wall * 1e9), self._virtual

    def reached(self) -> int:
        """The virtual time in ns that the wall clock has reached."""
        return self._virtual + int((wall() - self._wall) * 1e9)


class IdlePacer(Pacer):
    """Lets idle time pass at the pace of the wall, whatever the guest's busy time costs there: who waits for a peer
    outside should not see timers fire that the peer had no time to answer before.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._ahead = 0.0
        """Seconds of idle time that nobody has waited for yet; at most LEAD."""

    def ahead(self, deadline: int, lead: float = Pacer.LEAD) -> float:
        """See `Pacer`; called once for each idle time."""
        now = self._clock.now()
        self._wall, self._virtual = wall(), now
        idle = max(0.0, (deadline - now) / 1e9)
        if self._ahead + idle < lead:
            self._ahead += idle
            return 0.0
        wait = idle + self._ahead
        self._ahead = 0.0
        return wait


def wall() -> float:
    """Seconds of wall time from an arbitrary start; never goes back."""
    return time.monotonic()


def since_1970() -> int:
    """The host's calendar in nanoseconds since 1970."""
    return time.time_ns()


def processor_seconds(pid: int) -> float:
    """Seconds that all threads of a process have spent on processors; 0.0 where the host cannot tell. Linux only.

    The clock of a process is its inverted number above the bits 010: clock_getcpuclockid(3) does the same.
    """
    try:
        return time.clock_gettime(~pid << 3 | 2)
    except (OSError, AttributeError, OverflowError):
        return 0.0


def calendar_text(seconds: int) -> str:
    """A moment in seconds since 1970 as the host's local date and time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def calendar(utc: bool = True) -> tuple[int, int, int, int, int, int]:
    """The host's date: year, month, day, hour, minute, second."""
    now = time.gmtime() if utc else time.localtime()
    return now.tm_year, now.tm_mon, now.tm_mday, now.tm_hour, now.tm_min, now.tm_sec
