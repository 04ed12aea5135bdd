"""INT 17h: the parallel printer. Source: PS/2 BIOS Interface Technical Reference, INT 17h."""

from __future__ import annotations

from bios.pc import bda
from bios.pc.service import Call, service

TIMEOUT = 0x01
UNSUPPORTED = 0x01


def _port(call: Call) -> int:
    return call.bda.word(bda.LPT_PORTS + 2 * call.dx) if call.dx < 3 else 0


def _status(call: Call, port: int) -> int:
    return (call.inb(port + 1) ^ 0x48) & 0xF8  # the acknowledge and error lines are active low


@service(0x17, ah=0x00)
def print_character(call: Call) -> None:
    """Send AL with a strobe; AH = printer status."""
    port = _port(call)
    if not port:
        call.ah = TIMEOUT
        return
    call.outb(port, call.al)
    control = call.inb(port + 2)
    call.outb(port + 2, control | 0x01)
    call.outb(port + 2, control & ~0x01)
    call.ah = _status(call, port)


@service(0x17, ah=0x01)
def initialise(call: Call) -> None:
    """Pulse the initialise line; AH = printer status."""
    port = _port(call)
    if not port:
        call.ah = TIMEOUT
        return
    call.outb(port + 2, 0x08)
    call.outb(port + 2, 0x0C)
    call.ah = _status(call, port)


@service(0x17, ah=0x02)
def status(call: Call) -> None:
    port = _port(call)
    call.ah = _status(call, port) if port else TIMEOUT


@service(0x17)
def unsupported(call: Call) -> None:
    call.ah = UNSUPPORTED
