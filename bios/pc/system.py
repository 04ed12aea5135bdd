"""INT 15h: memory size, A20, block move, waits, configuration.

Source: PS/2 BIOS Interface Technical Reference, INT 15h; ACPI 1.0b section 14 (E820h).
"""

from __future__ import annotations

from bios.pc import bda, rom
from bios.pc.host import Action
from bios.pc.interrupts import end_wait, start_wait
from bios.pc.memory_map import extended_bytes, memory_map
from bios.pc.service import Call, service

UNSUPPORTED = 0x86
PORT_92 = 0x92
SMAP = 0x534D4150
MIB_16 = 0xF00000  # bytes between 1 and 16 MiB


@service(0x15, ah=0x24, al=0x00)
def disable_a20(call: Call) -> None:
    call.outb(PORT_92, call.inb(PORT_92) & 0xFC)
    call.done()


@service(0x15, ah=0x24, al=0x01)
def enable_a20(call: Call) -> None:
    call.outb(PORT_92, (call.inb(PORT_92) & 0xFC) | 0x02)
    call.done()


@service(0x15, ah=0x24, al=0x02)
def a20_state(call: Call) -> None:
    """AL = 1 if A20 is enabled."""
    call.al = call.inb(PORT_92) >> 1 & 1
    call.done()


@service(0x15, ah=0x24, al=0x03)
def a20_support(call: Call) -> None:
    """BX: through the keyboard controller and through port 92h."""
    call.bx = 0x0003
    call.done()


@service(0x15, ah=0x41)
def wait_on_event(call: Call) -> None:
    call.fail(UNSUPPORTED)


@service(0x15, ah=0x4F)
def key_intercept(call: Call) -> None:
    """Nobody has changed the scan code: carry set and AL as it was."""
    call.carry = True


@service(0x15, ah=0x52)
def removable_eject(call: Call) -> None:
    call.done()


@service(0x15, ah=0x80)
@service(0x15, ah=0x81)
@service(0x15, ah=0x82)
@service(0x15, ah=0x85)
@service(0x15, ah=0x90)
@service(0x15, ah=0x91)
def operating_system_hook(call: Call) -> None:
    """Device open and close, program end, SysReq, busy and post: for a multitasker to hook."""
    call.done()


@service(0x15, ah=0x83)
def event_wait(call: Call) -> None:
    """AL=0: after CX:DX microseconds set bit 7 of the byte at ES:BX. AL=1: cancel."""
    if call.al == 1:
        end_wait(call)
        call.bda.set_byte(bda.WAIT_ACTIVE, 0)
        call.done()
    elif call.bda.byte(bda.WAIT_ACTIVE) & bda.WAITING:
        call.carry = True
    else:
        start_wait(call, call.cx << 16 | call.dx, call.es << 16 | call.bx)
        call.carry = False


@service(0x15, ah=0x84)
def joystick(call: Call) -> None:
    call.fail(UNSUPPORTED)


@service(0x15, ah=0x86)
def wait(call: Call) -> Action | None:
    """Return after CX:DX microseconds. Carry set if another wait is running."""
    state = call.bda.byte(bda.WAIT_ACTIVE)
    if call.resumed:
        if state & bda.WAITING:
            return Action.WAIT
        call.bda.set_byte(bda.WAIT_ACTIVE, 0)
        call.carry = False
        return None
    if state & bda.WAITING:
        call.carry = True
        return None
    if call.cx << 16 | call.dx:
        # The flag of this wait is the BDA's own, as in the AT.
        start_wait(call, call.cx << 16 | call.dx, 0x0040 << 16 | bda.WAIT_ACTIVE)
        return Action.WAIT
    call.carry = False
    return None


@service(0x15, ah=0x87)
def block_move(call: Call) -> None:
    """Copy CX words between the physical addresses in the third and fourth descriptors at ES:SI."""
    words = call.cx
    if words > 0x8000:
        call.fail(0x02)
        return
    table = call.read(call.address("es", call.si), 0x20)
    source, target = _base(table[0x10:0x18]), _base(table[0x18:0x20])
    data = call.host.read_phys(source, 2 * words) if words else b""
    if data:
        call.host.write_phys(target, data)
    call.zero = True
    call.done()


def _base(descriptor: bytes) -> int:
    return descriptor[2] | descriptor[3] << 8 | descriptor[4] << 16 | descriptor[7] << 24


@service(0x15, ah=0x88)
def extended_memory(call: Call) -> None:
    """AX = KiB above 1 MiB, at most 63 MiB."""
    call.ax = min(extended_bytes(call.host.ram_size) >> 10, 0xFC00)
    call.carry = False


@service(0x15, ah=0x89)
def enter_protected_mode(call: Call) -> None:
    call.fail(UNSUPPORTED)


@service(0x15, ah=0xC0)
def configuration(call: Call) -> None:
    """ES:BX = system configuration table."""
    call.es, call.bx = rom.SEGMENT, rom.CONFIG_TABLE
    call.done()


@service(0x15, ah=0xC1)
def ebda_segment(call: Call) -> None:
    """ES = segment of the extended BIOS data area."""
    call.es = call.bda.word(bda.EBDA_SEGMENT)
    call.carry = False


@service(0x15, ah=0xE8, al=0x01)
def memory_above_16m(call: Call) -> None:
    """AX = CX = KiB between 1 and 16 MiB, BX = DX = 64 KiB units above."""
    extended = extended_bytes(call.host.ram_size)
    low, high = min(extended, MIB_16) >> 10, max(0, extended - MIB_16) >> 16
    call.ax = call.cx = low
    call.bx = call.dx = high
    call.carry = False


@service(0x15, ah=0xE8, al=0x20)
def address_map(call: Call) -> None:
    """One entry of the memory map to ES:DI; EBX = which, then which comes next (0: that was the last)."""
    ranges = memory_map(call.host.ram_size)
    index, room = call.ebx, call.ecx
    if call.edx != SMAP or index >= len(ranges) or room < 20:
        call.fail(UNSUPPORTED)
        return
    entry = ranges[index]
    out = entry.start.to_bytes(8, "little") + entry.size.to_bytes(8, "little") + entry.kind.to_bytes(4, "little")
    call.write(call.address("es", call.di), out)
    call.eax, call.ecx = SMAP, len(out)
    call.ebx = index + 1 if index + 1 < len(ranges) else 0
    call.carry = False


@service(0x15)
def unsupported(call: Call) -> None:
    """The PS/2 mouse (C2h) and everything else: not here."""
    call.fail(UNSUPPORTED)
