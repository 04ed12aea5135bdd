"""PCI: configuration space through mechanism 1, what POST sets up on bus 0, and the PCI BIOS of INT 1Ah AH=B1h.

POST gives every base address register an address, every interrupt pin an IRQ, and the PIIX its interrupt routes and
power-management base. Interrupt pins are wired as on the i440FX boards: slot and pin together choose one of four
links. Source: PCI Local Bus Specification 2.1, PCI BIOS Specification 2.1, Intel 82371AB (PIIX4) data sheet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bios.pc.acpi.board import Board
from bios.pc.host import Host
from bios.pc.service import Call

ADDRESS = 0xCF8
DATA = 0xCFC

IO_FIRST, IO_LAST = 0xC000, 0xFFFF
MEMORY_FIRST, MEMORY_LAST = 0xE0000000, 0xFEBFFFFF

LINK_IRQS = (10, 10, 11, 11)  # PIRQA..PIRQD
PM_BASE = Board.pm_base
SMBUS_BASE = 0x700
SCI_IRQ = Board.sci

SUCCESS = 0x00
UNSUPPORTED = 0x81
BAD_VENDOR = 0x83
NOT_FOUND = 0x86
BAD_REGISTER = 0x87
BUFFER_TOO_SMALL = 0x89


@dataclass(frozen=True)
class Function:
    """A PCI function on bus 0 by device and function number."""

    device: int
    function: int

    @property
    def devfn(self) -> int:
        return self.device << 3 | self.function


def config_read(host: Host, bus: int, devfn: int, register: int, width: int) -> int:
    """`width` bytes of configuration space; register is aligned to width."""
    host.port_write(ADDRESS, 4, 0x80000000 | bus << 16 | devfn << 8 | (register & 0xFC))
    return host.port_read(DATA + (register & 3), width)


def config_write(host: Host, bus: int, devfn: int, register: int, width: int, value: int) -> None:
    host.port_write(ADDRESS, 4, 0x80000000 | bus << 16 | devfn << 8 | (register & 0xFC))
    host.port_write(DATA + (register & 3), width, value & ((1 << 8 * width) - 1))


def functions(host: Host) -> Iterator[Function]:
    """The functions present on bus 0."""
    for device in range(32):
        if config_read(host, 0, device << 3, 0x00, 2) in (0xFFFF, 0):
            continue
        many = config_read(host, 0, device << 3, 0x0E, 1) & 0x80
        for function in range(8 if many else 1):
            if config_read(host, 0, device << 3 | function, 0x00, 2) not in (0xFFFF, 0):
                yield Function(device, function)


def link_of(device: int, pin: int) -> int:
    """Which of the four PIRQ links interrupt pin 1..4 of a slot is wired to."""
    return (pin - 1 + device - 1) & 3


def set_up(host: Host) -> None:
    """Give the devices on bus 0 addresses and interrupts. Does nothing if there is no PCI."""
    next_io, next_memory = IO_FIRST, MEMORY_FIRST
    for found in list(functions(host)):
        devfn = found.devfn
        identity = config_read(host, 0, devfn, 0x00, 4)
        if identity == 0x12378086:
            _open_memory(host, devfn)
            continue
        if identity in (0x70008086, 0x71108086):
            _route_interrupts(host, devfn)
        if identity in (0x70108086, 0x71118086):  # PIIX IDE: decode both channels
            config_write(host, 0, devfn, 0x40, 2, 0x8000)
            config_write(host, 0, devfn, 0x42, 2, 0x8000)
        if identity == 0x71138086:
            _power_management(host, devfn)
        command = config_read(host, 0, devfn, 0x04, 2)
        config_write(host, 0, devfn, 0x04, 2, command & ~0x0003)
        next_io, next_memory, enable = _assign(host, devfn, next_io, next_memory)
        if config_read(host, 0, devfn, 0x0A, 2) == 0x0101:  # an IDE controller in compatibility mode answers at 1F0h
            enable |= 0x01
        config_write(host, 0, devfn, 0x04, 2, command | enable)
        pin = config_read(host, 0, devfn, 0x3D, 1)
        if 1 <= pin <= 4:
            irq = SCI_IRQ if identity == 0x71138086 else LINK_IRQS[link_of(found.device, pin)]
            config_write(host, 0, devfn, 0x3C, 1, irq)


def _assign(host: Host, devfn: int, next_io: int, next_memory: int) -> tuple[int, int, int]:
    """Size and place the base address registers; gives the next free addresses and the command bits to set."""
    enable = 0
    header = config_read(host, 0, devfn, 0x0E, 1) & 0x7F
    register, last = 0x10, (0x28 if header == 0 else 0x18)
    while register < last:
        config_write(host, 0, devfn, register, 4, 0xFFFFFFFF)
        mask = config_read(host, 0, devfn, register, 4)
        config_write(host, 0, devfn, register, 4, 0)
        here = register
        register += 4
        if mask in (0, 0xFFFFFFFF):
            continue
        if mask & 1:
            size = -(mask & 0xFFFC | 0xFFFF0000) & 0xFFFF
            base = (next_io + size - 1) & -size if size else 0
            if size and base + size - 1 <= IO_LAST:
                config_write(host, 0, devfn, here, 4, base)
                next_io, enable = base + size, enable | 0x01
        else:
            if mask & 0x6 == 0x4:
                register += 4  # the upper half of a 64-bit register stays zero
            size = -(mask & 0xFFFFFFF0) & 0xFFFFFFFF
            base = (next_memory + max(size, 0x1000) - 1) & -max(size, 0x1000) if size else 0
            if size and base + size - 1 <= MEMORY_LAST:
                config_write(host, 0, devfn, here, 4, base)
                next_memory, enable = base + size, enable | 0x02
    if header == 0:  # the option ROM's place; it shows there when firmware wants it
        config_write(host, 0, devfn, 0x30, 4, 0xFFFFF800)
        mask = config_read(host, 0, devfn, 0x30, 4) & 0xFFFFF800
        size = -mask & 0xFFFFFFFF
        base = (next_memory + max(size, 0x1000) - 1) & -max(size, 0x1000)
        fits = mask not in (0, 0xFFFFF800) and base + size - 1 <= MEMORY_LAST
        config_write(host, 0, devfn, 0x30, 4, base if fits else 0)
        next_memory = base + size if fits else next_memory
    return next_io, next_memory, enable


def _open_memory(host: Host, devfn: int) -> None:
    """i440FX: make C0000h..EFFFFh read and write RAM (PAM1..PAM6)."""
    for register in range(0x5A, 0x60):
        config_write(host, 0, devfn, register, 1, 0x33)


def _route_interrupts(host: Host, devfn: int) -> None:
    """PIIX: the links' IRQs, level-triggered at the interrupt controllers."""
    edge_level = 1 << SCI_IRQ
    for link, irq in enumerate(LINK_IRQS):
        config_write(host, 0, devfn, 0x60 + link, 1, irq)
        edge_level |= 1 << irq
    host.port_write(0x4D0, 1, edge_level & 0xFF)
    host.port_write(0x4D1, 1, edge_level >> 8)


def _power_management(host: Host, devfn: int) -> None:
    """PIIX4: the power-management and SMBus ports, and SMIs for APM and ACPI, which the board's SMI port answers."""
    config_write(host, 0, devfn, 0x40, 4, PM_BASE | 1)
    config_write(host, 0, devfn, 0x80, 1, 0x01)
    config_write(host, 0, devfn, 0x90, 4, SMBUS_BASE | 1)
    config_write(host, 0, devfn, 0xD2, 1, 0x09)


def routing_entries() -> bytes:
    """The slots of the interrupt routing table: bus, device, four (link, IRQ bitmap) pairs, slot number, reserved."""
    out = bytearray()
    bitmap = 0
    for irq in LINK_IRQS:
        bitmap |= 1 << irq
    for device in range(1, 32):
        out += bytes((0, device << 3))
        for pin in range(1, 5):
            out += bytes((0x60 + link_of(device, pin),)) + bitmap.to_bytes(2, "little")
        out += bytes((0 if device < 3 else device, 0))
    return bytes(out)


def bios_call(call: Call) -> None:
    """INT 1Ah AH=B1h. AH = result code, carry set unless it is 0."""
    function = call.al & 0x7F
    host = call.host
    result = SUCCESS
    if function == 0x01:
        call.edx = 0x20494350  # "PCI "
        call.al, call.bx, call.cl = 0x01, 0x0210, 0
    elif function in (0x02, 0x03):
        result = _find(call, function)
    elif 0x08 <= function <= 0x0D:
        width = (1, 2, 4)[(function - 8) % 3]
        if call.di & (width - 1) or call.di > 0xFF:
            result = BAD_REGISTER
        elif function < 0x0B:
            value = config_read(host, call.bh, call.bl, call.di, width)
            if width == 4:
                call.ecx = value
            elif width == 2:
                call.cx = value
            else:
                call.cl = value
        else:
            config_write(host, call.bh, call.bl, call.di, width, call.ecx)
    elif function == 0x0E:
        result = _routing_options(call)
    else:
        result = UNSUPPORTED
    call.ah = result
    call.carry = result != SUCCESS


def _find(call: Call, function: int) -> int:
    """B102h by vendor and device, B103h by class code: BH = bus, BL = devfn of match number SI."""
    if function == 0x02 and call.dx == 0xFFFF:
        return BAD_VENDOR
    left = call.si
    for found in functions(call.host):
        if function == 0x02:
            match = config_read(call.host, 0, found.devfn, 0, 4) == (call.cx << 16 | call.dx)
        else:
            match = config_read(call.host, 0, found.devfn, 8, 4) >> 8 == call.ecx & 0xFFFFFF
        if match and left == 0:
            call.bh, call.bl = 0, found.devfn
            return SUCCESS
        left -= match
    return NOT_FOUND


def _routing_options(call: Call) -> int:
    """B10Eh: ES:DI points to a length and a far pointer; the slot table goes there. BX = IRQs only PCI uses."""
    entries = routing_entries()
    where = call.address("es", call.di)
    room = call.word(where)
    call.set_word(where, len(entries))
    if room < len(entries):
        return BUFFER_TOO_SMALL
    pointer = call.dword(where + 2)
    call.write((pointer >> 16) * 16 + (pointer & 0xFFFF), entries)
    call.bx = sum({1 << irq for irq in LINK_IRQS})
    return SUCCESS
