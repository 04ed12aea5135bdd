"""INT 15h AH=53h: Advanced Power Management, as much as a PC without batteries has: idle and power off.

Protected-mode callers reach the same functions by a far call to the entry that a connect gives them; it is the same
code for 16 and 32 bits. Source: APM BIOS Interface Specification 1.2, 4.6 and appendix A.
"""

from __future__ import annotations

from collections.abc import Callable

from bios.pc import rom
from bios.pc.host import Action
from bios.pc.service import Call, hook, service

VERSION = 0x0102
MARK = 0x504D  # "PM"
BOTH_WIDTHS = 0x0003
BIOS, ALL_DEVICES = 0x0000, 0x0001
STANDBY, SUSPEND, OFF = 1, 2, 3
BAD_DEVICE, BAD_VALUE, UNSUPPORTED, NO_EVENT = 0x09, 0x0A, 0x86, 0x80
ON_LINE, UNKNOWN, NO_BATTERY = 0x01, 0xFF, 0x80
SHUTDOWN_PORT = 0x8900
BIG_STACK = 0x4000
"""The B bit of a stack segment's attributes."""


class FarCall(Call):
    """A call by the protected-mode entry: the flags that the caller gets back are on top of the stack."""

    @property
    def frame(self) -> int:
        wide = self.host.reg("ss.attr") & BIG_STACK
        top = self.host.reg("esp") & (0xFFFFFFFF if wide else 0xFFFF)
        return (self.host.reg("ss.base") + top - 4) & 0xFFFFFFFF


@service(0x15, ah=0x53)
def power_management(call: Call) -> Action | None:
    """The function in AL. AH = error and carry set unless it succeeds."""
    function = FUNCTIONS.get(call.al)
    if function is None:
        call.fail(UNSUPPORTED)
        return None
    return function(call)


@hook("apm")
def protected_mode_entry(call: Call) -> Action | None:
    """AH is not asked for: only this interface is here."""
    return power_management(FarCall(call.bios, call.vector, resumed=call.resumed, wait_at=call.wait_at))


def _installed(call: Call) -> None:
    if call.bx != BIOS:
        call.fail(BAD_DEVICE)
        return
    call.ax, call.bx, call.cx = VERSION, MARK, BOTH_WIDTHS
    call.carry = False


def _done(call: Call) -> None:
    call.done()


def _connect_16(call: Call) -> None:
    call.ax, call.bx, call.cx = rom.SEGMENT, rom.LABELS["apm"], rom.SEGMENT
    call.si = call.di = 0xFFFF
    call.carry = False


def _connect_32(call: Call) -> None:
    call.ax, call.ebx, call.cx, call.dx = rom.SEGMENT, rom.LABELS["apm"], rom.SEGMENT, rom.SEGMENT
    call.esi, call.di = 0xFFFFFFFF, 0xFFFF
    call.carry = False


def _idle(call: Call) -> Action | None:
    """Halt until an interrupt."""
    if not call.resumed:
        return Action.WAIT
    call.carry = False
    return None


def _set_state(call: Call) -> Action | None:
    """BX = device, CX = state. Standby and suspend last until an interrupt."""
    if call.cx not in (STANDBY, SUSPEND, OFF):
        call.fail(BAD_VALUE)
    elif call.bx != ALL_DEVICES:
        call.done()
    elif call.cx == OFF:
        for letter in b"Shutdown":
            call.outb(SHUTDOWN_PORT, letter)
        call.done()
    else:
        return _idle(call)
    return None


def _power_status(call: Call) -> None:
    if call.bx != ALL_DEVICES:
        call.fail(BAD_DEVICE)
        return
    call.bx, call.cx, call.dx = ON_LINE << 8 | UNKNOWN, NO_BATTERY << 8 | UNKNOWN, 0xFFFF
    call.done()


def _event(call: Call) -> None:
    call.fail(NO_EVENT)


def _state(call: Call) -> None:
    call.cx = 0
    call.done()


def _version(call: Call) -> None:
    call.ax = VERSION
    call.carry = False


FUNCTIONS: dict[int, Callable[[Call], Action | None]] = {
    0x00: _installed,
    0x01: _done,
    0x02: _connect_16,
    0x03: _connect_32,
    0x04: _done,
    0x05: _idle,
    0x06: _done,
    0x07: _set_state,
    0x08: _done,
    0x09: _done,
    0x0A: _power_status,
    0x0B: _event,
    0x0C: _state,
    0x0D: _done,
    0x0E: _version,
    0x0F: _done,
}
