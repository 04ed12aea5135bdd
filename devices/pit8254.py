"""8254 programmable interval timer, and the part of system port B (0x61) that belongs to it.

Three counters driven by 1,193,182 Hz. Counter 0's output is the interrupt line `irq`; counter 2 drives the speaker and
is gated by port 0x61, where its output and the refresh toggle can be read. Nothing runs between accesses except one
timer for the next rising edge of counter 0: every other value is computed from the current time when it is read.

Intel 8254 data sheet (order 231164); port 0x61: 82371SB (PIIX3) data sheet, 2.5.3.1.
"""

# ruff: noqa: RUF009

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from devices import state
from devices.contracts import Clock, Line
from devices.device import Device, device

FREQUENCY = 1_193_182
"""Ticks of the counters a second."""

SECOND = 1_000_000_000
REFRESH_NS = 15_085
MIN_EDGE_NS = 1_000
"""Interrupt edges closer together than this in virtual time are merged."""


def to_ticks(ns: int) -> int:
    """Whole counter ticks since power-on at virtual time `ns`."""
    return ns * FREQUENCY // SECOND


def to_ns(ticks: int) -> int:
    """The first virtual time at which `to_ticks` gives `ticks`."""
    return -(-ticks * SECOND // FREQUENCY)


def _nobody(value: int | None, until: int) -> None:
    """Nobody asks what is steady."""


@dataclass
class Counter:
    """One of the three counters. Times are in ticks since power-on."""

    mode: int = state.ranged(0, 5, 3)
    bcd: bool = state.flag()
    access: int = state.ranged(1, 3, 3)
    """1 low byte, 2 high byte, 3 low then high."""
    gate: bool = state.flag(True)
    output: bool = state.flag(True)
    """OUT while the counter does not run."""
    running: bool = state.flag()
    period: int = state.ranged(1, 0x10000, 0x10000)
    start: int = state.ranged(-1, state.MAX_TIME)
    """When the count was last loaded."""
    held: int = state.ranged(-1, state.MAX_TIME, -1)
    """Ticks counted before the gate went low; -1 while counting."""
    next_period: int = state.ranged(0, 0x10000)
    """A count written to a periodic counter under way; it takes over when the half or whole cycle ends. 0 if none."""
    next_at: int = state.ranged(0, state.MAX_TIME)
    written: int = state.ranged(1, 0x10000, 0x10000)
    """The count most recently written, for a later trigger."""
    loaded: bool = state.flag()
    """A count was written since the control word."""
    low: int = state.ranged(-1, 255, -1)
    """The first byte of a two-byte count, -1 when that is what comes next."""
    read_high: bool = state.flag()
    latch: int = state.ranged(-1, 0xFFFF, -1)
    status: int = state.ranged(-1, 255, -1)

    def control(self, word: int) -> None:
        """A control word: mode and access; the counter stops until a count is written."""
        self.access = word >> 4 & 3
        mode = word >> 1 & 7
        self.mode = mode if mode < 6 else mode - 4
        self.bcd = bool(word & 1)
        self.output = self.mode != 0
        self.running = self.loaded = self.read_high = False
        self.low = self.latch = self.status = self.held = -1
        self.next_period = 0

    def load(self, raw: int, tick: int) -> None:
        """A complete count was written at `tick`."""
        count = self._from_raw(raw)
        self.settle(tick)
        self.written = count
        self.loaded = True
        if self.mode in (1, 5):
            return
        if self.mode in (2, 3) and self.running:
            self.next_period = count
            if self.held < 0:
                self.next_at = self._cycle_end(tick)
            return
        self._begin(count, tick)
        if not self.gate:
            self.held = 0

    def _begin(self, period: int, tick: int) -> None:
        """Load the counter with the clock pulse after `tick`."""
        self.period = period
        self.start = tick + 1
        self.held = -1
        self.next_period = 0
        self.running = True

    def stop_low(self) -> None:
        """The first of two bytes stops a mode 0 count and takes OUT low."""
        if self.mode == 0:
            self.running = False
            self.output = False

    def set_gate(self, level: bool, tick: int) -> None:
        """Drive the gate input."""
        if level == self.gate:
            return
        self.settle(tick)
        self.gate = level
        if self.mode in (1, 5):
            if level and self.loaded:
                self._begin(self.written, tick)
        elif self.running:
            if not level:
                self.held = max(0, tick - self.start)
            elif self.mode in (2, 3):
                self._begin(self.next_period or self.period, tick)
            else:
                self.start = max(-1, tick - self.held)
                self.held = -1

    def settle(self, tick: int) -> None:
        """Take over a waiting count whose time has come."""
        if self.next_period and self.held < 0 and tick >= self.next_at:
            half_done = self.mode == 3 and (self.next_at - self.start) % self.period != 0
            self.period = self.next_period
            self.next_period = 0
            self.start = self.next_at - (self._high_ticks() if half_done else 0)
            self.start = max(-1, self.start)

    def steady_until(self, tick: int) -> int | None:
        """The tick before which OUT stays as it is at `tick` and no count takes over; None if nothing will change."""
        self.settle(tick)
        if not self.running or self.held >= 0:
            return None
        if tick < self.start:
            return self.start
        if self.mode in (2, 3):
            end = self._cycle_end(tick)
            if self.mode == 2 and (tick - self.start) % self.period < self.period - 1:
                end -= 1
            return min(end, self.next_at) if self.next_period else end
        ends = (self.start + self.period, self.start + self.period + 1)
        return next((end for end in ends if end > tick), None)

    def _high_ticks(self) -> int:
        """How long OUT is high in each cycle of a periodic mode."""
        return (self.period + 1) // 2 if self.mode == 3 else self.period - 1

    def _cycle_end(self, tick: int) -> int:
        """When the cycle (mode 2) or half cycle (mode 3) under way at `tick` ends."""
        done = max(0, tick - self.start)
        whole = self.start + done - done % self.period
        if self.mode == 3 and done % self.period < self._high_ticks():
            return whole + self._high_ticks()
        return whole + self.period

    def elapsed(self, tick: int) -> int:
        """Ticks counted since the count was loaded."""
        return self.held if self.held >= 0 else max(0, tick - self.start)

    def out(self, tick: int) -> bool:
        """The OUT pin."""
        self.settle(tick)
        if not self.running:
            return self.output
        done = self.elapsed(tick)
        if self.mode in (2, 3):
            return self.held >= 0 or self.period == 1 or done % self.period < self._high_ticks()
        if self.mode in (4, 5):
            return done != self.period
        if self.mode == 1 and tick < self.start:
            return True
        return done >= self.period

    def rising_edge(self, tick: int) -> int | None:
        """The first tick after `tick` at which OUT goes from low to high, or None."""
        self.settle(tick)
        if not self.running or self.held >= 0:
            return None
        if self.mode in (2, 3):
            done = tick - self.start
            edge = self.start + (done // self.period + 1) * self.period if done >= 0 else self.start + self.period
            if self.next_period and edge > self.next_at:
                # Reached only in mode 3: the new count starts with the low half.
                edge = self.next_at + self.next_period // 2
            return edge
        edge = self.start + self.period + (self.mode in (4, 5))
        return edge if edge > tick else None

    def count(self, tick: int) -> int:
        """The counting element, as the guest would read it."""
        self.settle(tick)
        if not self.running:
            return self._to_raw(self.written)
        done = self.elapsed(tick)
        if self.mode == 2:
            left = self.period - done % self.period
        elif self.mode == 3:
            into = done % self.period
            high = self._high_ticks()
            left = (self.period & ~1) - 2 * (into if into < high else into - high)
        else:
            left = self.period - done
        return self._to_raw(left)

    def read_back_status(self, tick: int) -> int:
        """The status byte of the read-back command."""
        self.settle(tick)
        null = not self.loaded or self.next_period != 0 or (self.running and self.held < 0 and tick < self.start)
        return self.out(tick) << 7 | null << 6 | self.access << 4 | self.mode << 1 | self.bcd

    def _from_raw(self, raw: int) -> int:
        if not self.bcd:
            return raw or 0x10000
        digits = [raw >> shift & 15 for shift in (12, 8, 4, 0)]
        return (digits[0] * 1000 + digits[1] * 100 + digits[2] * 10 + digits[3]) or 10000

    def _to_raw(self, count: int) -> int:
        if not self.bcd:
            return count & 0xFFFF
        count %= 10000
        return count // 1000 << 12 | count // 100 % 10 << 8 | count // 10 % 10 << 4 | count % 10


@device("pit8254", "8254 interval timer and speaker port")
class Pit8254(Device):
    """Ports 0x40..0x43 (`read`, `write`) and 0x61 (`read_port61`, `write_port61`)."""

    @dataclass
    class State:
        counters: list[Counter] = state.records(3, Counter)
        port61: int = state.uint(4)
        """The writable bits: gate 2, speaker data, parity and channel check disable."""
        armed: int | None = state.deadline()

    state: State

    def __init__(self, *, clock: Clock, irq: Line) -> None:
        super().__init__()
        self.clock = clock
        self.irq = irq
        self._timer = clock.timer("pit8254", self._edge)
        self.steady61: Callable[[int | None, int], None] = _nobody
        """Told that until a virtual time (ns) port 0x61 reads as a value, or with None that it no longer does."""
        self.state.counters[2].gate = False

    def reset(self) -> None:
        """All counters stop; OUT 0 is high, so the interrupt line is left high and no edge is pending."""
        self.clear()
        self.steady61(None, 0)
        self.state.counters[2].gate = False
        self._schedule()

    def restored(self) -> None:
        """Arm the timer for the saved edge."""
        self.steady61(None, 0)
        self._arm(self.state.armed)

    def read(self, offset: int, width: int) -> int:
        """Port 0x40 + offset."""
        if offset > 2:
            return 0xFF
        counter = self.state.counters[offset]
        if counter.status >= 0:
            value, counter.status = counter.status, -1
            return value
        latched = counter.latch >= 0
        count = counter.latch if latched else counter.count(self._tick())
        high = counter.access == 2 or (counter.access == 3 and counter.read_high)
        if counter.access == 3:
            counter.read_high = not high
        if latched and (counter.access != 3 or high):
            counter.latch = -1
        return count >> 8 if high else count & 0xFF

    def write(self, offset: int, width: int, value: int) -> None:
        """Port 0x40 + offset."""
        tick = self._tick()
        self.steady61(None, 0)
        if offset > 2:
            self._control(value, tick)
            return
        counter = self.state.counters[offset]
        if counter.access == 1:
            counter.load(value, tick)
        elif counter.access == 2:
            counter.load(value << 8, tick)
        elif counter.low < 0:
            counter.low = value
            counter.stop_low()
        else:
            raw = value << 8 | counter.low
            counter.low = -1
            counter.load(raw, tick)
        if offset == 0:
            self._follow()

    def _control(self, word: int, tick: int) -> None:
        which = word >> 6
        if which == 3:
            for i, counter in enumerate(self.state.counters):
                if word & 2 << i:
                    if not word & 0x20 and counter.latch < 0:
                        counter.latch = counter.count(tick)
                    if not word & 0x10 and counter.status < 0:
                        counter.status = counter.read_back_status(tick)
        elif not word & 0x30:
            counter = self.state.counters[which]
            if counter.latch < 0:
                counter.latch = counter.count(tick)
        else:
            self.state.counters[which].control(word)
            if which == 0:
                self._follow()

    def read_port61(self, offset: int, width: int) -> int:
        """Port 0x61: OUT 2 in bit 5, the refresh toggle in bit 4, the writable bits below."""
        now = self.clock.now()
        tick = to_ticks(now)
        refreshes = now // REFRESH_NS
        value = self.state.port61 | (refreshes & 1) << 4 | self.state.counters[2].out(tick) << 5
        change, until = self.state.counters[2].steady_until(tick), (refreshes + 1) * REFRESH_NS
        self.steady61(value, until if change is None else min(until, to_ns(change)))
        return value

    def write_port61(self, offset: int, width: int, value: int) -> None:
        """Port 0x61: bit 0 is the gate of counter 2."""
        self.steady61(None, 0)
        self.state.port61 = value & 0x0F
        self.state.counters[2].set_gate(bool(value & 1), self._tick())

    @property
    def speaker(self) -> tuple[bool, int]:
        """Whether the speaker is driven, and the period of its tone in ticks."""
        return self.state.port61 & 3 == 3, self.state.counters[2].period

    def _tick(self) -> int:
        return to_ticks(self.clock.now())

    def _follow(self) -> None:
        """Counter 0 was programmed: its OUT may have changed level and its next edge certainly has."""
        self.irq.set(self.state.counters[0].out(self._tick()))
        self._schedule()

    def _schedule(self) -> None:
        now = self.clock.now()
        edge = self.state.counters[0].rising_edge(to_ticks(now))
        self._arm(None if edge is None else max(to_ns(edge), now + MIN_EDGE_NS))

    def _arm(self, when: int | None) -> None:
        self.state.armed = when
        if when is None:
            self._timer.cancel()
        else:
            self._timer.arm(when)

    def _edge(self) -> None:
        """OUT 0 rises. The low part of a periodic wave is not followed: the line falls just before it rises."""
        self.irq.set(False)
        self.irq.set(True)
        self._schedule()
