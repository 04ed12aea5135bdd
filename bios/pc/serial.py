"""INT 14h: serial ports through the 16550's registers. Source: PS/2 BIOS Interface Technical Reference, INT 14h."""

from __future__ import annotations

from bios.pc import bda
from bios.pc.host import Action
from bios.pc.service import Call, service

DATA, IER, LCR, MCR, LSR, MSR = 0, 1, 3, 4, 5, 6
TIMEOUT = 0x80
RECEIVED = 0x01
HOLDING_EMPTY = 0x20
# Divisors of 115200 for 110, 150, 300, 600, 1200, 2400, 4800 and 9600 bits a second.
DIVISORS = (1047, 768, 384, 192, 96, 48, 24, 12)
EXTENDED_DIVISORS = (1047, 768, 384, 192, 96, 48, 24, 12, 6)
# How many timer ticks a read waits for a character: about the second of the original.
WAIT_TICKS = 18


def _port(call: Call) -> int:
    return call.bda.word(bda.COM_PORTS + 2 * call.dx) if call.dx < 4 else 0


def _program(call: Call, port: int, divisor: int, line: int) -> None:
    call.outb(port + LCR, line | 0x80)
    call.outb(port + DATA, divisor)
    call.outb(port + IER, divisor >> 8)
    call.outb(port + LCR, line)
    call.outb(port + IER, 0)


def _report(call: Call, port: int) -> None:
    call.ah = call.inb(port + LSR)
    call.al = call.inb(port + MSR)


@service(0x14, ah=0x00)
def initialise(call: Call) -> None:
    """AL: speed, parity, stop bits, word length. AX = line and modem status."""
    port = _port(call)
    if not port:
        call.ah = TIMEOUT
        return
    parameters = call.al
    _program(call, port, DIVISORS[parameters >> 5], parameters & 0x1F)
    _report(call, port)


@service(0x14, ah=0x01)
def send(call: Call) -> None:
    """Send AL; AH = line status. A transmitter that is not ready answers with the time-out bit."""
    port = _port(call)
    if not port:
        call.ah = TIMEOUT
        return
    call.outb(port + MCR, call.inb(port + MCR) | 0x03)
    status = call.inb(port + LSR)
    if not status & HOLDING_EMPTY:
        call.ah = (status | TIMEOUT) & 0xFF
        return
    call.outb(port + DATA, call.al)
    call.ah = call.inb(port + LSR) & ~TIMEOUT


@service(0x14, ah=0x02)
def receive(call: Call) -> Action | None:
    """AL = the next character, waiting about a second for it; AH = line errors."""
    port = _port(call)
    if not port:
        call.ah = TIMEOUT
        return None
    if not call.resumed:
        call.outb(port + MCR, call.inb(port + MCR) | 0x01)
    status = call.inb(port + LSR)
    if status & RECEIVED:
        call.al = call.inb(port + DATA)
        call.ah = status & 0x1E
        return None
    # The countdown lives in the port's time-out byte, above nothing else uses it between calls.
    index = bda.COM_TIMEOUT + call.dx
    left = WAIT_TICKS if not call.resumed else call.bda.byte(index)
    if left == 0:
        call.bda.set_byte(index, 1)
        call.ah = TIMEOUT
        return None
    call.bda.set_byte(index, left - 1)
    return Action.WAIT


@service(0x14, ah=0x03)
def status(call: Call) -> None:
    """AX = line and modem status."""
    port = _port(call)
    if not port:
        call.ah = TIMEOUT
        return
    _report(call, port)


@service(0x14, ah=0x04)
def extended_initialise(call: Call) -> None:
    """PS/2: AL break, BH parity, BL stop bits, CH word length, CL speed."""
    port = _port(call)
    if not port or call.cl >= len(EXTENDED_DIVISORS) or call.bh > 4 or call.bl > 1 or call.ch > 3:
        call.ah = TIMEOUT
        return
    parity = (0x00, 0x08, 0x18, 0x28, 0x38)[call.bh]
    line = (0x40 if call.al else 0) | parity | call.bl << 2 | call.ch
    _program(call, port, EXTENDED_DIVISORS[call.cl], line)
    _report(call, port)


@service(0x14, ah=0x05)
def modem_control(call: Call) -> None:
    """PS/2: AL = 0 reads the modem control register into BL, 1 writes it."""
    port = _port(call)
    if not port or call.al > 1:
        call.ah = TIMEOUT
        return
    if call.al:
        call.outb(port + MCR, call.bl)
    else:
        call.bl = call.inb(port + MCR)
    _report(call, port)


@service(0x14)
def unsupported(call: Call) -> None:
    call.ah = TIMEOUT
