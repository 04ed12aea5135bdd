"""High precision event timers: a 100 MHz counter with three comparators, memory mapped at 0xFED00000 (1 KiB).

In legacy replacement mode timer 0 takes interrupt 0 from the 8254 and timer 1 interrupt 8 from the clock chip, whose
lines therefore come through here (`legacy_input`). Otherwise a timer drives one of `routes`, lines by I/O APIC input.
All three are periodic and 64 bits wide. Nothing runs between accesses but a timer for each enabled comparator.

IA-PC HPET Specification 1.0a, 2.3. Messages in place of interrupts (FSB) are optional and not offered.
"""

# ruff: noqa: RUF009

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from devices import state
from devices.contracts import Clock, Line, Wire
from devices.device import Device, device

SIZE = 0x400
TIMERS = 3
TICK_NS = 10
IDENTITY = 10_000_000 << 32 | 0x8086_A201
"""GCAP_ID: femtoseconds a tick; vendor, legacy replacement, 64 bits, three timers, revision 1."""
ID, CONFIG, STATUS, COUNTER, FIRST, STRIDE = 0x00, 0x10, 0x20, 0xF0, 0x100, 0x20
ENABLE, LEGACY = 1, 2

LEVEL, INTERRUPTS, PERIODIC, SET_VALUE, SHORT = 0x02, 0x04, 0x08, 0x40, 0x100
CAPABLE = 0x30  # of periods, and of 64 bits
WRITABLE = LEVEL | INTERRUPTS | PERIODIC | SET_VALUE | SHORT
ROUTE_SHIFT, ROUTE = 9, 0x1F
WORD, LONG = (1 << 32) - 1, (1 << 64) - 1
MIN_PERIOD_NS = 1_000
"""Matches of a periodic timer closer together than this in virtual time are merged."""


@dataclass
class Comparator:
    """One timer. Its interrupt is edge-triggered unless the configuration says LEVEL."""

    config: int = state.uint(9)
    route: int = state.uint(5)
    value: int = state.uint(64, LONG)
    period: int = state.uint(64)
    high: bool = state.flag()
    """An edge-triggered interrupt's line since the last match."""
    due: int | None = state.deadline()


@dataclass
class HpetState:
    config: int = state.uint(2)
    status: int = state.uint(TIMERS)
    counter: int = state.uint(64)
    """The main counter at `since` while it runs, else as it stands."""
    since: int = state.time()
    inputs: int = state.uint(2)
    """Levels of the lines that legacy replacement cuts off: bit 0 interrupt 0, bit 1 interrupt 8."""
    timers: list[Comparator] = state.records(TIMERS, Comparator)


@device("hpet", "high precision event timers")
class Hpet(Device):
    """`legacy` are interrupts 0 and 8, `routes` other lines that a timer may drive, by their numbers 0..31."""

    State = HpetState
    state: HpetState

    def __init__(self, *, clock: Clock, legacy: tuple[Line, Line], routes: Mapping[int, Line]) -> None:
        super().__init__()
        self.clock = clock
        self._legacy = legacy
        self._routes = dict(routes)
        self._capable = sum(1 << number for number in self._routes)
        self._clocks = [clock.timer(f"hpet{n}", partial(self._match, n)) for n in range(TIMERS)]

    def legacy_input(self, which: int) -> Line:
        """The line that drives interrupt 0 (`which` 0) or 8 (1) while the timers do not replace it."""
        return Wire(partial(self._follow, which))

    def _follow(self, which: int, level: bool) -> None:
        s = self.state
        s.inputs = s.inputs | 1 << which if level else s.inputs & ~(1 << which)
        if not s.config & LEGACY:
            self._legacy[which].set(level)

    def reset(self) -> None:
        """Halted, the counter and all timers cleared; the lines of others are passed on again."""
        inputs = self.state.inputs
        self.clear()
        self.state.inputs = inputs
        for timer in self._clocks:
            timer.cancel()
        self._drive()

    def restored(self) -> None:
        """Arm the saved deadlines."""
        for timer, comparator in zip(self._clocks, self.state.timers, strict=True):
            if comparator.due is None:
                timer.cancel()
            else:
                timer.arm(comparator.due)

    # The counter.

    def _count(self) -> int:
        s = self.state
        if not s.config & ENABLE:
            return s.counter
        return s.counter + (self.clock.now() - s.since) // TICK_NS & LONG

    # Accesses: registers are 64 bits wide and taken in halves.

    def read(self, offset: int, width: int) -> int:
        """`width` bytes at `offset`."""
        at = offset & ~3
        value = self._read(at)
        if offset + width > at + 4:
            value |= self._read(at + 4) << 32
        return value >> 8 * (offset & 3) & (1 << 8 * width) - 1

    def write(self, offset: int, width: int, value: int) -> None:
        """`width` bytes at `offset`; narrow writes are merged with what the register holds."""
        while width > 0:
            at, low = offset & ~3, offset & 3
            count = min(width, 4 - low)
            part = value & (1 << 8 * count) - 1
            if count < 4:
                hole = (1 << 8 * count) - 1 << 8 * low
                part = self._read(at) & ~hole | part << 8 * low
            self._write(at, part)
            offset, width, value = offset + count, width - count, value >> 8 * count

    def _read(self, at: int) -> int:
        """The half register at `at`, a multiple of 4."""
        return self._register(at & ~7) >> 8 * (at & 4) & WORD

    def _register(self, at: int) -> int:
        s = self.state
        if at == COUNTER:
            return self._count()
        if at == ID:
            return IDENTITY
        if at == CONFIG:
            return s.config
        if at == STATUS:
            return s.status
        n, register = divmod(at - FIRST, STRIDE)
        if not 0 <= n < TIMERS:
            return 0
        timer = s.timers[n]
        if register == 0:
            return self._capable << 32 | timer.route << ROUTE_SHIFT | CAPABLE | timer.config
        if register == 8:
            self._settle(timer)
            return timer.value
        return 0

    def _write(self, at: int, half: int) -> None:
        s = self.state
        if at == CONFIG:
            self._configure(half & (ENABLE | LEGACY))
        elif at == STATUS:
            s.status &= ~half
            self._drive()
        elif at & ~7 == COUNTER:
            # Defined only while the counter is halted; a running one goes on.
            if not s.config & ENABLE:
                s.counter = _with_half(s.counter, at, half)
        elif at >= FIRST:
            n, register = divmod(at - FIRST, STRIDE)
            if n < TIMERS:
                if register == 0:
                    self._configure_timer(n, half)
                elif register in (8, 12):
                    self._set_comparator(s.timers[n], at, half)
                    self._arm(n)

    def _configure(self, config: int) -> None:
        s = self.state
        for timer in s.timers:
            self._settle(timer)
        now = self.clock.now()
        s.counter, s.since = self._count(), now - (now - s.since) % TICK_NS if s.config & ENABLE else now
        s.config = config
        for n in range(TIMERS):
            self._arm(n)
        self._drive()

    def _configure_timer(self, n: int, value: int) -> None:
        timer = self.state.timers[n]
        self._settle(timer)
        timer.config = value & WRITABLE
        timer.high = False
        if timer.config & SHORT:
            timer.value &= WORD
            timer.period &= WORD
        route = value >> ROUTE_SHIFT & ROUTE
        if self._capable >> route & 1:
            timer.route = route
        if not timer.config & LEVEL:
            self.state.status &= ~(1 << n)
        self._arm(n)
        self._drive()

    def _set_comparator(self, timer: Comparator, at: int, half: int) -> None:
        """A periodic timer takes what is written as its period, and after SET_VALUE as its next match too."""
        self._settle(timer)
        if timer.config & SHORT and at & 4:
            return
        if not timer.config & PERIODIC or timer.config & SET_VALUE:
            timer.value = _with_half(timer.value, at, half)
        if timer.config & PERIODIC:
            timer.period = _with_half(timer.period, at, half)
        if timer.config & SHORT:
            timer.value &= WORD
            timer.period &= WORD
        timer.config &= ~SET_VALUE

    # Matches.

    def _settle(self, timer: Comparator) -> None:
        """Move a periodic comparator past the counter."""
        if not (self.state.config & ENABLE and timer.config & PERIODIC and timer.period):
            return
        mask = WORD if timer.config & SHORT else LONG
        passed = self._count() - timer.value & mask
        if passed <= mask >> 1:
            timer.value = timer.value + (passed // timer.period + 1) * timer.period & mask

    def _arm(self, n: int, *, matched: bool = False) -> None:
        """Wake when the counter equals the comparator next; `matched`: not now, where it does."""
        s, timer = self.state, self.state.timers[n]
        timer.due = None
        if s.config & ENABLE and timer.config & INTERRUPTS:
            mask = WORD if timer.config & SHORT else LONG
            now = self.clock.now()
            ahead = timer.value - self._count() & mask
            if matched and not ahead:
                ahead = mask + 1
            when = s.since + ((now - s.since) // TICK_NS + ahead) * TICK_NS
            if matched:
                when = max(when, now + MIN_PERIOD_NS)
            if when <= state.MAX_TIME:
                timer.due = when
        if timer.due is None:
            self._clocks[n].cancel()
        else:
            self._clocks[n].arm(timer.due)

    def _match(self, n: int) -> None:
        timer = self.state.timers[n]
        if timer.config & LEVEL:
            self.state.status |= 1 << n
        elif timer.high:
            # A new edge: the line falls just before it rises.
            timer.high = False
            self._drive()
            timer.high = True
        else:
            timer.high = True
        self._settle(timer)
        self._arm(n, matched=True)
        self._drive()

    def _asserts(self, n: int) -> bool:
        timer = self.state.timers[n]
        if not self.state.config & ENABLE or not timer.config & INTERRUPTS:
            return False
        return bool(self.state.status >> n & 1 if timer.config & LEVEL else timer.high)

    def _drive(self) -> None:
        """Give every line its level."""
        s = self.state
        routed = range(TIMERS)
        if s.config & LEGACY:
            routed = range(len(self._legacy), TIMERS)
            for n, line in enumerate(self._legacy):
                line.set(self._asserts(n))
        else:
            for n, line in enumerate(self._legacy):
                line.set(bool(s.inputs >> n & 1))
        asserted = {s.timers[n].route for n in routed if self._asserts(n)}
        for number, line in self._routes.items():
            line.set(number in asserted)


def _with_half(value: int, at: int, half: int) -> int:
    """A 64-bit value with the half at `at` replaced."""
    return value & WORD | half << 32 if at & 4 else value & ~WORD | half
