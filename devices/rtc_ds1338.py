"""DS1338 real-time clock with 56 bytes of battery-backed RAM, an I2C slave at 0x68.

    bus.attach(0x68, Ds1338(clock=clock, base=seconds))     `base`: seconds since 1970 at power-on, 2000 to 2099

Registers 0-6 are a copy of the time made at each start condition, as in the chip; written ones are taken over when the
transfer ends or the next starts. Maxim DS1338 data sheet. The square wave output goes nowhere.
"""

# ruff: noqa: RUF009

from __future__ import annotations

from dataclasses import dataclass

from devices import state
from devices.contracts import Clock
from devices.device import Device, device
from devices.rtc_mc146818 import civil_from_days, days_from_civil

SECONDS, MINUTES, HOURS, WEEKDAY, DAY, MONTH, YEAR, CONTROL = range(8)
SIZE = 64
HALT = 0x80
TWELVE, AFTERNOON = 0x40, 0x20
FLAG_OSF = 0x20
DAY_SECONDS = 86_400
NS = 1_000_000_000
LATEST = 1 << 40


@device("ds1338", "DS1338 I2C real-time clock")
class Ds1338(Device):
    """An `I2cSlave`."""

    @dataclass
    class State:
        cells: bytearray = state.octets(SIZE, SIZE)
        """What the registers read as; the first seven are the copy made at the last start."""
        pointer: int = state.uint(6)
        named: bool = state.flag()
        """The first byte after the address, which sets the pointer, has come."""
        changed: bool = state.flag()
        """Time registers were written and wait to be taken over."""
        seconds: int = state.ranged(0, LATEST)
        """The time, in seconds since 1970, at `since`."""
        since: int = state.time()
        weekday_shift: int = state.ranged(0, 6)

    state: State

    def __init__(self, *, clock: Clock, base: int) -> None:
        super().__init__()
        self.clock = clock
        self.state.seconds = min(max(base, 0), LATEST)
        self.state.cells[CONTROL] = 0x93
        # 1970 began on a Thursday; the chip counts 1 to 7, and Linux calls Sunday 1.
        self.state.weekday_shift = 4

    def reset(self) -> None:
        """The chip has no reset pin, but a transfer is over."""
        self.stop()
        self.state.pointer, self.state.named = 0, False

    def start(self, read: bool) -> bool:
        """Addressed: the time registers show the time from now on."""
        self.stop()
        self._copy_time()
        self.state.named = read
        return True

    def write(self, byte: int) -> bool:
        """The register number, then bytes for it and those after it."""
        s = self.state
        if not s.named:
            s.pointer, s.named = byte & 0x3F, True
            return True
        at = s.pointer
        s.pointer = (at + 1) & 0x3F
        if at == CONTROL:
            # OSF can only be cleared.
            byte = byte & 0x93 | byte & s.cells[CONTROL] & FLAG_OSF
        s.cells[at] = byte
        if at < CONTROL:
            s.changed = True
        return True

    def read(self) -> int:
        """The byte at the register number, which then counts on."""
        s = self.state
        value = s.cells[s.pointer]
        s.pointer = (s.pointer + 1) & 0x3F
        return value

    def stop(self) -> None:
        """Take over a time that was written."""
        s = self.state
        if not s.changed:
            return
        s.changed = False
        m = s.cells
        year = 2000 + _decode(m[YEAR])
        days = days_from_civil(year, min(max(_decode(m[MONTH] & 0x1F), 1), 12), max(_decode(m[DAY] & 0x3F), 1))
        hour = _decode(m[HOURS] & 0x1F) % 12 + (12 if m[HOURS] & AFTERNOON else 0)
        if not m[HOURS] & TWELVE:
            hour = min(_decode(m[HOURS] & 0x3F), 23)
        minutes, seconds = min(_decode(m[MINUTES] & 0x7F), 59), min(_decode(m[SECONDS] & 0x7F), 59)
        s.seconds = days * DAY_SECONDS + (hour * 60 + minutes) * 60 + seconds
        s.since = self.clock.now()
        s.weekday_shift = ((m[WEEKDAY] & 7) - 1 - days) % 7

    def _copy_time(self) -> None:
        s = self.state
        m = s.cells
        if m[SECONDS] & HALT:
            return
        now = min(s.seconds + max(0, self.clock.now() - s.since) // NS, LATEST)
        days, rest = divmod(now, DAY_SECONDS)
        year, month, day = civil_from_days(days)
        minutes, seconds = divmod(rest, 60)
        hour, minutes = divmod(minutes, 60)
        if m[HOURS] & TWELVE:
            m[HOURS] = TWELVE | (AFTERNOON if hour >= 12 else 0) | _encode(hour % 12 or 12)
        else:
            m[HOURS] = _encode(hour)
        m[SECONDS], m[MINUTES], m[WEEKDAY] = _encode(seconds), _encode(minutes), (days + s.weekday_shift) % 7 + 1
        m[DAY], m[MONTH], m[YEAR] = _encode(day), _encode(month), _encode(year % 100)


def _encode(value: int) -> int:
    """Two decimal digits."""
    return value // 10 << 4 | value % 10


def _decode(value: int) -> int:
    """Two decimal digits, or what the counters make of others."""
    return (value >> 4) * 10 + (value & 15)
