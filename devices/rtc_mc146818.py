"""MC146818 real-time clock with 128 bytes of CMOS RAM.

Ports 0x70 (index; bit 7 masks NMI) and 0x71 (data). The clock shows `base` (Unix seconds at virtual time 0) plus the
virtual time. Flags and time are computed when they are read; a timer runs only while an enabled interrupt is due and
the line is still low, so a guest that asks for 8192 interrupts a second pays only for those it serves.

Motorola MC146818A data sheet; CMOS layout of the PC/AT (firmware and board fill it through `set_cmos`).
"""

# ruff: noqa: RUF009

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from devices import state
from devices.contracts import Clock, Line
from devices.device import Device, device

SECOND = 1_000_000_000
DAY = 86_400
UPDATE_NS = 244_000 + 1_984_000
"""How long before the second changes the update-in-progress bit rises."""
LAST_TIME = 10_000 * 366 * DAY

SECONDS, SECONDS_ALARM, MINUTES, MINUTES_ALARM, HOURS, HOURS_ALARM, WEEKDAY, DAY_OF_MONTH, MONTH, YEAR = range(10)
REG_A, REG_B, REG_C, REG_D = 10, 11, 12, 13
CENTURY = 0x32
CENTURY_PS2 = 0x37
TIME_REGISTERS = frozenset((SECONDS, MINUTES, HOURS, WEEKDAY, DAY_OF_MONTH, MONTH, YEAR, CENTURY, CENTURY_PS2))

B_SET, B_PIE, B_AIE, B_UIE, B_BINARY, B_24H = 0x80, 0x40, 0x20, 0x10, 0x04, 0x02
C_IRQ, C_PF, C_AF, C_UF = 0x80, 0x40, 0x20, 0x10


def days_from_civil(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 to a Gregorian date; months and days out of range carry over."""
    year += (month - 1) // 12
    month = (month - 1) % 12 + 1
    year -= month <= 2
    of_era = (month + 9) % 12
    return year * 365 + year // 4 - year // 100 + year // 400 + (153 * of_era + 2) // 5 + day - 1 - 719_468


def civil_from_days(days: int) -> tuple[int, int, int]:
    """Year, month, day of the Gregorian date `days` after 1970-01-01."""
    days += 719_468
    era, day_of_era = divmod(days, 146_097)
    year = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * day_of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    return era * 400 + year + (month <= 2), month, day_of_year - (153 * shifted + 2) // 5 + 1


@device("mc146818", "MC146818 real-time clock and CMOS RAM")
class RtcMc146818(Device):
    """Ports 0x70 and 0x71 at offsets 0 and 1. `irq` is interrupt 8, level until register C is read."""

    @dataclass
    class State:
        index: int = state.uint(7)
        nmi_masked: bool = state.flag()
        cmos: bytearray = state.octets(128, 128)
        """Everything but the running time and register C."""
        seconds: int = state.ranged(0, LAST_TIME)
        """Unix seconds shown at virtual time `since`."""
        since: int = state.ranged(-SECOND, state.MAX_TIME)
        weekday_shift: int = state.ranged(0, 6)
        """Days by which the guest's day of the week differs from the calendar's."""
        flags: int = state.uint(8)
        """Register C as far as it is known at `seen`."""
        seen: int = state.time()
        armed: int | None = state.deadline()

    state: State

    def __init__(self, *, clock: Clock, irq: Line, base: int) -> None:
        super().__init__()
        self.clock = clock
        self.irq = irq
        self._timer = clock.timer("mc146818", self._due)
        self.state.seconds = min(max(base, 0), LAST_TIME)
        self.state.cmos[REG_A] = 0x26
        self.state.cmos[REG_B] = B_24H

    def reset(self) -> None:
        """The reset pin disables the interrupts; time and CMOS live on."""
        self.state.cmos[REG_B] &= ~(B_PIE | B_AIE | B_UIE | 0x08)
        self.state.flags = 0
        self.state.seen = self.clock.now()
        self.state.index = 0
        self.state.nmi_masked = False
        self._update()

    def restored(self) -> None:
        """Arm the timer for the saved deadline."""
        self._arm(self.state.armed)

    # What the board fills in.

    def set_cmos(self, index: int, value: int) -> None:
        """Store a byte in CMOS RAM (index 14..127) and keep the checksum over 0x10..0x2D right."""
        if not REG_D < index < 128 or not 0 <= value <= 255:
            raise ValueError(f"mc146818: no CMOS byte {index:#x}, or value {value:#x} is not a byte")
        cmos = self.state.cmos
        cmos[index] = value
        if 0x10 <= index <= 0x2D:
            total = sum(cmos[0x10:0x2E])
            cmos[0x2E] = total >> 8 & 0xFF
            cmos[0x2F] = total & 0xFF

    def get_cmos(self, index: int) -> int:
        """A byte of CMOS RAM as last stored, without side effects."""
        return self.state.cmos[index & 127]

    def set_memory(self, ram: int) -> None:
        """The memory sizes for `ram` bytes: base 0x15, extended 0x17 and 0x30, above 16 MiB 0x34, above 4 GiB 0x5B."""
        low = min(ram, 0xFFFF_FFFF)
        extended = min(max(low - 0x10_0000, 0) >> 10, 0xFFFF)
        high = min(max(low - 0x100_0000, 0) >> 16, 0xFFFF)
        above = min(max(ram - 0x1_0000_0000, 0) >> 16, 0xFF_FFFF)
        sizes = ((0x15, 640, 2), (0x17, extended, 2), (0x30, extended, 2), (0x34, high, 2), (0x5B, above, 3))
        for index, size, count in sizes:
            for i in range(count):
                self.set_cmos(index + i, size >> 8 * i & 0xFF)

    # Ports.

    @property
    def nmi_masked(self) -> bool:
        """Bit 7 of the last write to port 0x70: no NMI reaches the processor."""
        return bool(self.state.nmi_masked)

    def read(self, offset: int, width: int) -> int:
        """Port 0x70 (write only) or 0x71."""
        if offset == 0:
            return 0xFF
        index = self.state.index
        if index in TIME_REGISTERS:
            return self._read_time(index)
        if index == REG_A:
            return self.state.cmos[REG_A] & 0x7F | self._updating() << 7
        if index == REG_C:
            self._settle()
            value = self.state.flags
            self.state.flags = 0
            self._update()
            return value
        if index == REG_D:
            return 0x80
        return self.state.cmos[index]

    def write(self, offset: int, width: int, value: int) -> None:
        """Port 0x70 or 0x71."""
        if offset == 0:
            self.state.index = value & 0x7F
            self.state.nmi_masked = bool(value & 0x80)
            return
        index = self.state.index
        cmos = self.state.cmos
        self._settle()
        if index in TIME_REGISTERS:
            self._write_time(index, value)
        elif index == REG_A:
            self._write_a(value)
        elif index == REG_B:
            self._write_b(value)
        elif index not in (REG_C, REG_D):
            cmos[index] = value
        self._update()

    def _write_a(self, value: int) -> None:
        was_running = self._running()
        if was_running and not self._counts(value, self.state.cmos[REG_B]):
            self._freeze()
        held = self._in_divider_reset()
        self.state.cmos[REG_A] = value & 0x7F
        if held and not self._in_divider_reset():
            # The first update follows half a second after the divider is let go.
            self._thaw(SECOND // 2)
        elif not was_running and self._running():
            self._thaw(0)

    def _write_b(self, value: int) -> None:
        was_running = self._running()
        if was_running and not self._counts(self.state.cmos[REG_A], value):
            self._freeze()
        if value & B_SET:
            value &= ~B_UIE
        if value & 0x09:
            self.unimplemented("register B: square wave or daylight saving")
        self.state.cmos[REG_B] = value
        if not was_running and self._running():
            self._thaw(0)

    # The running time.

    def _in_divider_reset(self) -> bool:
        return self.state.cmos[REG_A] & 0x60 == 0x60

    @staticmethod
    def _counts(a: int, b: int) -> bool:
        return a & 0x60 != 0x60 and not b & B_SET

    def _running(self) -> bool:
        return self._counts(self.state.cmos[REG_A], self.state.cmos[REG_B])

    def _seconds_at(self, now: int) -> int:
        """Unix seconds shown at virtual time `now` while running."""
        return min(self.state.seconds + max(0, now - self.state.since) // SECOND, LAST_TIME)

    def _updating(self) -> bool:
        if not self._running():
            return False
        return (self.clock.now() - self.state.since) % SECOND >= SECOND - UPDATE_NS

    def _freeze(self) -> None:
        """Copy the running time into the registers, where it stands still."""
        now = self.clock.now()
        self.state.cmos[:] = self._with_time(self._seconds_at(now))
        passed = max(0, now - self.state.since)
        self.state.seconds = self._seconds_at(now)
        self.state.since = now - passed % SECOND

    def _thaw(self, fraction: int) -> None:
        """Run on from what the registers show, keeping the phase of the second or `fraction` ns into a new one."""
        now = self.clock.now()
        if fraction:
            self.state.since = now - fraction
        else:
            self.state.since = now - max(0, now - self.state.since) % SECOND
        self._take_time(self.state.cmos)
        self.state.seen = now

    def _read_time(self, index: int) -> int:
        if not self._running():
            return self.state.cmos[index]
        return self._with_time(self._seconds_at(self.clock.now()))[index]

    def _write_time(self, index: int, value: int) -> None:
        if not self._running():
            self.state.cmos[index] = value
            if index in (CENTURY, CENTURY_PS2):
                self.state.cmos[CENTURY] = self.state.cmos[CENTURY_PS2] = value
            return
        now = self.clock.now()
        registers = self._with_time(self._seconds_at(now))
        registers[index] = value
        if index == CENTURY_PS2:
            registers[CENTURY] = value
        self.state.since = now - max(0, now - self.state.since) % SECOND
        self._take_time(registers)

    def _with_time(self, seconds: int) -> bytearray:
        """The CMOS bytes as they are when the clock shows `seconds`."""
        days, of_day = divmod(seconds, DAY)
        year, month, day = civil_from_days(days)
        hour = of_day // 3600
        out = bytearray(self.state.cmos)
        out[SECONDS] = self._encode(of_day % 60)
        out[MINUTES] = self._encode(of_day // 60 % 60)
        if out[REG_B] & B_24H:
            out[HOURS] = self._encode(hour)
        else:
            out[HOURS] = self._encode((hour + 11) % 12 + 1) | (0x80 if hour >= 12 else 0)
        out[WEEKDAY] = (days + 4 + self.state.weekday_shift) % 7 + 1
        out[DAY_OF_MONTH] = self._encode(day)
        out[MONTH] = self._encode(month)
        out[YEAR] = self._encode(year % 100)
        out[CENTURY] = out[CENTURY_PS2] = self._encode(year // 100 % 100)
        return out

    def _take_time(self, registers: bytearray) -> None:
        """Set the clock from CMOS bytes; values out of range carry over into the next larger unit."""
        year = self._decode(registers[YEAR]) + 100 * self._decode(registers[CENTURY])
        days = days_from_civil(year, self._decode(registers[MONTH]), self._decode(registers[DAY_OF_MONTH]))
        hour = self._hour(registers[HOURS])
        of_day = hour * 3600 + self._decode(registers[MINUTES]) * 60 + self._decode(registers[SECONDS])
        self.state.seconds = min(max(days * DAY + of_day, 0), LAST_TIME)
        self.state.weekday_shift = (registers[WEEKDAY] - 1 - (self.state.seconds // DAY + 4)) % 7

    def _encode(self, value: int) -> int:
        if self.state.cmos[REG_B] & B_BINARY:
            return value
        return value // 10 << 4 | value % 10

    def _decode(self, value: int) -> int:
        if self.state.cmos[REG_B] & B_BINARY:
            return value
        return (value >> 4) * 10 + (value & 15)

    def _hour(self, value: int) -> int:
        if self.state.cmos[REG_B] & B_24H:
            return self._decode(value)
        return self._decode(value & 0x7F) % 12 + (12 if value & 0x80 else 0)

    # Interrupts.

    def _period(self) -> int:
        """The periodic interrupt's period in ns; 0 if it is off."""
        a = self.state.cmos[REG_A]
        rate = a & 15
        if not rate or a & 0x60 == 0x60:
            return 0
        if rate <= 2:
            rate += 7
        return (1 << (rate - 1)) * SECOND // 32_768

    def _alarm_set(self, index: int, limit: int) -> Iterable[int]:
        value = self.state.cmos[index]
        if value >= 0xC0:
            return range(limit)
        wanted = self._hour(value) if index == HOURS_ALARM else self._decode(value)
        return (wanted,) if wanted < limit else ()

    def _alarm_after(self, seconds: int) -> int | None:
        """The first Unix second after `seconds` that the alarm registers match, within a day."""
        hours = self._alarm_set(HOURS_ALARM, 24)
        minutes = self._alarm_set(MINUTES_ALARM, 60)
        alarm_seconds = self._alarm_set(SECONDS_ALARM, 60)
        start = seconds + 1
        midnight = start - start % DAY
        for day, least in ((midnight, start % DAY), (midnight + DAY, 0)):
            for hour in hours:
                if hour < least // 3600:
                    continue
                for minute in minutes:
                    if hour * 60 + minute < least // 60:
                        continue
                    for second in alarm_seconds:
                        if hour * 3600 + minute * 60 + second >= least:
                            return day + hour * 3600 + minute * 60 + second
        return None

    def _time_of(self, seconds: int) -> int:
        """The virtual time at which the running clock first shows `seconds`."""
        return max(0, self.state.since + (seconds - self.state.seconds) * SECOND)

    def _next_events(self, now: int) -> list[tuple[int, int]]:
        """For each flag of register C its bit and the virtual time at which it is set next after `now`."""
        events = []
        period = self._period()
        if period:
            events.append((C_PF, now - now % period + period))
        shown = self._seconds_at(now)
        if self._running() and shown < LAST_TIME:
            events.append((C_UF, self._time_of(shown + 1)))
            alarm = self._alarm_after(shown)
            if alarm is not None:
                events.append((C_AF, self._time_of(alarm)))
        return events

    def _settle(self) -> None:
        """Bring the flags up to the present."""
        now = self.clock.now()
        if now > self.state.seen:
            for bit, when in self._next_events(self.state.seen):
                if when <= now:
                    self.state.flags |= bit
            self.state.seen = now

    def _update(self) -> None:
        """Drive the line from flags and enables, and arm the timer for the next event that would raise it."""
        enabled = self.state.cmos[REG_B] & (C_PF | C_AF | C_UF)
        if self.state.flags & enabled:
            self.state.flags |= C_IRQ
            self.irq.set(True)
            self._arm(None)
            return
        self.state.flags &= ~C_IRQ
        self.irq.set(False)
        self._arm(min((when for bit, when in self._next_events(self.state.seen) if bit & enabled), default=None))

    def _arm(self, when: int | None) -> None:
        self.state.armed = when
        if when is None:
            self._timer.cancel()
        else:
            self._timer.arm(when)

    def _due(self) -> None:
        self._settle()
        self._update()
