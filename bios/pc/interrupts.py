"""Hardware interrupt handlers: timer tick, floppy, RTC, coprocessor, disk, and the ones nobody claimed.

Keyboard: `bios.pc.keyboard`. Source: IBM AT Technical Reference, BIOS interrupt handlers; Intel 8259A data sheet.
"""

from __future__ import annotations

from bios.pc import bda, rom
from bios.pc.host import Action
from bios.pc.service import Call, hook
from bios.pc.video import Screen

PIC1 = 0x20
PIC2 = 0xA0
EOI = 0x20
READ_ISR = 0x0B

TICKS_PER_DAY = 0x1800B0
RTC_PERIOD_US = 976


def end_of_interrupt(call: Call, irq: int) -> None:
    """A non-specific EOI, to both controllers for the upper eight."""
    if irq >= 8:
        call.outb(PIC2, EOI)
    call.outb(PIC1, EOI)


def vector_is_ours(call: Call, vector: int, offset: int) -> bool:
    """Whether an interrupt vector still points where POST set it."""
    return call.dword(vector * 4) == rom.SEGMENT << 16 | offset


@hook("irq0")
def timer_tick(call: Call) -> None:
    """IRQ 0: count the tick, run down the floppy motor, then INT 1Ch if somebody wants it."""
    ticks = call.bda.dword(bda.TICKS) + 1
    if ticks >= TICKS_PER_DAY:
        ticks = 0
        call.bda.set_byte(bda.MIDNIGHT, 1)
    call.bda.set_dword(bda.TICKS, ticks)
    motor = call.bda.byte(bda.FLOPPY_TIMEOUT)
    if motor:
        call.bda.set_byte(bda.FLOPPY_TIMEOUT, motor - 1)
        if motor == 1:
            call.bda.update_byte(bda.FLOPPY_MOTOR, 0x0F, 0)
    if vector_is_ours(call, 0x1C, rom.DUMMY_IRET):
        end_of_interrupt(call, 0)
        call.jump(rom.LABELS["irq0.done"])


@hook("irq0.eoi")
def timer_done(call: Call) -> None:
    end_of_interrupt(call, 0)


@hook("irq6")
def floppy_interrupt(call: Call) -> None:
    """IRQ 6: note that the controller interrupted."""
    call.bda.update_byte(bda.FLOPPY_RECALIBRATE, 0, 0x80)
    end_of_interrupt(call, 6)


@hook("irq8")
def rtc_interrupt(call: Call) -> None:
    """IRQ 8: periodic interrupts count down INT 15h AH=83h and 86h waits; the alarm goes to INT 4Ah."""
    call.outb(0x70, 0x0B)
    enabled = call.inb(0x71)
    call.outb(0x70, 0x0C)
    pending = call.inb(0x71) & enabled
    if pending & 0x40 and call.bda.byte(bda.WAIT_ACTIVE) & bda.WAITING:
        left = call.bda.dword(bda.WAIT_COUNT)
        if left > RTC_PERIOD_US:
            call.bda.set_dword(bda.WAIT_COUNT, left - RTC_PERIOD_US)
        else:
            end_wait(call)
            pointer = call.bda.dword(bda.WAIT_POINTER)
            flag = (pointer >> 16) * 16 + (pointer & 0xFFFF)
            call.set_byte(flag, call.byte(flag) | 0x80)
    end_of_interrupt(call, 8)
    if pending & 0x20 and not vector_is_ours(call, 0x4A, rom.DUMMY_IRET):
        call.jump(rom.LABELS["irq8.alarm"])


def start_wait(call: Call, microseconds: int, flag_pointer: int) -> None:
    """Count `microseconds` down with the RTC's periodic interrupt, then set bit 7 of the byte pointed to."""
    call.bda.set_dword(bda.WAIT_POINTER, flag_pointer)
    call.bda.set_dword(bda.WAIT_COUNT, microseconds)
    call.bda.set_byte(bda.WAIT_ACTIVE, bda.WAITING)
    call.outb(PIC2 + 1, call.inb(PIC2 + 1) & ~0x01)
    call.outb(PIC1 + 1, call.inb(PIC1 + 1) & ~0x04)
    set_periodic(call, True)


def end_wait(call: Call) -> None:
    """Stop the countdown and mark it as over."""
    call.bda.set_byte(bda.WAIT_ACTIVE, bda.WAIT_OVER)
    set_periodic(call, False)


def set_periodic(call: Call, on: bool) -> None:
    """The RTC's periodic interrupt enable, register B bit 6."""
    call.outb(0x70, 0x0B)
    value = call.inb(0x71)
    call.outb(0x70, 0x0B)
    call.outb(0x71, value | 0x40 if on else value & ~0x40)
    call.outb(0x70, 0x0D)


@hook("irq9")
def redirected(call: Call) -> None:
    """IRQ 9 appears as IRQ 2 of the PC, whose handler ends the interrupt at the first controller."""
    call.outb(PIC2, EOI)


@hook("irq13")
def coprocessor(call: Call) -> None:
    """IRQ 13: clear the busy latch; INT 02h is where PC programs expect the coprocessor's exception."""
    call.outb(0xF0, 0)
    end_of_interrupt(call, 13)


@hook("irq14")
def disk_interrupt(call: Call) -> None:
    """IRQ 14: note that the disk interrupted (byte 8Eh of the BDA)."""
    call.bda.set_byte(0x8E, 0xFF)
    end_of_interrupt(call, 14)


@hook("irq")
def unclaimed(call: Call) -> Action | None:
    """A hardware interrupt without a handler. Acknowledged if it is really in service, else it was spurious."""
    irq = call.vector - 0x08 if call.vector < 0x70 else call.vector - 0x68
    controller, line = (PIC2, irq - 8) if irq >= 8 else (PIC1, irq)
    call.outb(controller, READ_ISR)
    in_service = bool(call.inb(controller) >> line & 1)
    if in_service:
        end_of_interrupt(call, irq)
    elif irq == 15:
        call.outb(PIC1, EOI)  # the first controller did see its cascade line
    elif call.vector == 0x0D:
        return fault(call)
    return None


@hook("fault")
def fault(call: Call) -> Action | None:
    """A processor exception in real mode that the guest has no handler for.

    Returning would raise it again for ever, so the program is parked with interrupts on. An INT instruction with the
    same number is no exception: it returns.
    """
    if call.resumed:
        return Action.WAIT
    frame = call.frame
    segment, offset = call.word(frame + 2), call.word(frame)
    if call.read(segment * 16 + (offset - 2 & 0xFFFF), 2) == bytes((0xCD, call.vector)):
        return None
    message = f"processor exception {call.vector} at {segment:04X}:{offset:04X}, the guest has no handler for it"
    call.bios.log_once(f"BIOS: {message}")
    screen = Screen(call.host)
    if screen.mode.text:
        screen.write(f"\r\n{message}\r\n")
    return Action.WAIT


@hook("nmi")
def nmi(call: Call) -> None:
    call.bios.log_once("BIOS: NMI, the guest has no handler for it")
