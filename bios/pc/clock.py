"""INT 1Ah: tick count, real-time clock (through CMOS), alarm, and the PCI BIOS (`bios.pc.pci`).

Source: PS/2 BIOS Interface Technical Reference, INT 1Ah; MC146818 data sheet; PCI BIOS Specification 2.1.
"""

from __future__ import annotations

from bios.pc import bda, pci
from bios.pc.host import Action
from bios.pc.service import Call, idle, service

CENTURY = 0x32
UPDATE_IN_PROGRESS = 0x80
SET = 0x80
DAYLIGHT = 0x01
ALARM_ENABLE = 0x20


def cmos_read(call: Call, index: int) -> int:
    call.outb(0x70, index)
    return call.inb(0x71)


def cmos_write(call: Call, index: int, value: int) -> None:
    call.outb(0x70, index)
    call.outb(0x71, value)


def _clock_ready(call: Call) -> bool:
    if cmos_read(call, 0x0A) & UPDATE_IN_PROGRESS:
        call.carry = True
        return False
    return True


@service(0x1A, ah=0x00)
def read_ticks(call: Call) -> Action | None:
    """CX:DX = ticks since midnight, AL = days passed since the last call."""
    ticks = call.bda.dword(bda.TICKS)
    if ticks != call.bios.last_ticks:
        call.bios.last_ticks = ticks
        call.bios.busy()
    elif idle(call):
        return Action.WAIT
    call.al = call.bda.byte(bda.MIDNIGHT)
    call.bda.set_byte(bda.MIDNIGHT, 0)
    call.cx, call.dx = ticks >> 16, ticks
    call.done()
    return None


@service(0x1A, ah=0x01)
def set_ticks(call: Call) -> None:
    call.bda.set_dword(bda.TICKS, call.cx << 16 | call.dx)
    call.bda.set_byte(bda.MIDNIGHT, 0)
    call.done()


@service(0x1A, ah=0x02)
def read_time(call: Call) -> None:
    """CH hours, CL minutes, DH seconds in BCD, DL = daylight saving."""
    if not _clock_ready(call):
        return
    call.ch, call.cl, call.dh = cmos_read(call, 4), cmos_read(call, 2), cmos_read(call, 0)
    call.dl = cmos_read(call, 0x0B) & DAYLIGHT
    call.al = call.ch
    call.done()


@service(0x1A, ah=0x03)
def set_time(call: Call) -> None:
    control = cmos_read(call, 0x0B)
    cmos_write(call, 0x0B, control | SET)
    cmos_write(call, 0, call.dh)
    cmos_write(call, 2, call.cl)
    cmos_write(call, 4, call.ch)
    cmos_write(call, 0x0B, (control & ~(SET | DAYLIGHT)) | (call.dl & DAYLIGHT))
    call.done()


@service(0x1A, ah=0x04)
def read_date(call: Call) -> None:
    """CH century, CL year, DH month, DL day in BCD."""
    if not _clock_ready(call):
        return
    call.cl, call.dh, call.dl = cmos_read(call, 9), cmos_read(call, 8), cmos_read(call, 7)
    call.ch = cmos_read(call, CENTURY)
    call.al = call.ch
    call.done()


@service(0x1A, ah=0x05)
def set_date(call: Call) -> None:
    control = cmos_read(call, 0x0B)
    cmos_write(call, 0x0B, control | SET)
    cmos_write(call, 7, call.dl)
    cmos_write(call, 8, call.dh)
    cmos_write(call, 9, call.cl)
    cmos_write(call, CENTURY, call.ch)
    cmos_write(call, 0x0B, control & ~SET)
    call.done()


@service(0x1A, ah=0x06)
def set_alarm(call: Call) -> None:
    """INT 4Ah at CH:CL:DH. Carry set if an alarm is set already."""
    control = cmos_read(call, 0x0B)
    if control & ALARM_ENABLE:
        call.carry = True
        return
    cmos_write(call, 1, call.dh)
    cmos_write(call, 3, call.cl)
    cmos_write(call, 5, call.ch)
    call.outb(0xA1, call.inb(0xA1) & ~0x01)
    cmos_write(call, 0x0B, control | ALARM_ENABLE)
    call.done()


@service(0x1A, ah=0x07)
def cancel_alarm(call: Call) -> None:
    cmos_write(call, 0x0B, cmos_read(call, 0x0B) & ~ALARM_ENABLE)
    call.done()


@service(0x1A, ah=0xB1)
def pci_bios(call: Call) -> None:
    """The PCI BIOS functions, by AL."""
    pci.bios_call(call)


@service(0x1A)
def unsupported(call: Call) -> None:
    call.carry = True
