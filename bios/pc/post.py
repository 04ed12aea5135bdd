"""POST: what the BIOS does between reset and booting, through the ports a ROM would use.

Source: IBM AT Technical Reference (BIOS data areas, CMOS); data sheets of the 8259A, 8254, 8042 and MC146818.
"""

from __future__ import annotations

from bios.pc import bda, option_rom, pci, rom, tables
from bios.pc.boot import BOOT_ADDRESS
from bios.pc.disk import NO_FLOPPY, SECTOR, drives, floppy_medium, hard_disk_geometry, read_bytes
from bios.pc.host import DriveKind, Host
from bios.pc.memory_map import EBDA, extended_bytes
from bios.pc.service import Call, hook
from bios.pc.state import Geometry
from bios.pc.video import Screen, set_mode

PIC1, PIC2 = 0x20, 0xA0
PIT = 0x40
KBC_DATA, KBC_STATUS = 0x60, 0x64
CMOS_INDEX, CMOS_DATA = 0x70, 0x71

# Reset codes in CMOS byte 0Fh that return to a program: with an EOI, without, and by IRET from its stack.
JUMP_WITH_EOI, RETURN_BY_IRET, JUMP = 0x05, 0x09, 0x0A
AWOKEN = 0xFE  # and the one that a board sets when it wakes from S3
WAKING_VECTOR = 12  # in the FACS

HD_TABLES = 0x3D  # offset in the EBDA of the hard disk parameter tables
COM_CANDIDATES = (0x3F8, 0x2F8, 0x3E8, 0x2E8)
LPT_CANDIDATES = (0x378, 0x278)
USER_VECTORS = range(0x60, 0x68)  # left zero: programs test them for emptiness

CR0_CD, CR0_NW = 1 << 30, 1 << 29
CPUID_MTRR = 1 << 12
UNCACHED, WRITE_PROTECTED, WRITE_BACK = 0, 5, 6
MTRR_VALID, MTRR_ENABLED, MTRR_FIXED_ENABLED = 1 << 11, 1 << 11, 1 << 10
PCI_HOLE, PCI_HOLE_SIZE = 0xE0000000, 0x20000000
ADDRESS_SPACE = 1 << 36

TICKS_PER_SECOND = (1193182, 65536)


@hook("post")
def post(call: Call) -> None:
    """Power-on self test. The stub goes on with INT 19h."""
    host = call.host
    if _resume_program(call) or _wake_system(call):
        return
    call.ds = call.es = call.ss = 0
    call.esp = BOOT_ADDRESS
    warm = host.read_phys(bda.BASE + bda.RESET_FLAG, 2) == bda.CTRL_ALT_DEL_MAGIC.to_bytes(2, "little")
    host.port_write(0x92, 1, (host.port_read(0x92, 1) & ~0x01) | 0x02)
    host.port_write(0x3F2, 1, 0x0C)  # the floppy controller leaves its reset
    _caches(host)
    _interrupt_controllers(host)
    _timer(host)
    _vectors(host)
    _data_areas(host, warm)
    _keyboard_controller(host)
    _clock(host)
    _ports(call)
    _drives(call)
    pci.set_up(host)
    if host.apic:
        _local_apic(host)
    set_mode(host, 3)
    tables.write_tables(host)
    if host.direct_boot is None:
        Screen(host).write("Emu BIOS\r\n")
        option_rom.begin(call)


def _resume_program(call: Call) -> bool:
    """A program that reset the processor to leave protected mode goes on where it said."""
    code = _cmos(call.host, 0x0F)
    if code not in (JUMP_WITH_EOI, RETURN_BY_IRET, JUMP):
        return False
    _set_cmos(call.host, 0x0F, 0)
    if code == JUMP_WITH_EOI:
        call.outb(PIC2, 0x20)
        call.outb(PIC1, 0x20)
    target = call.bda.dword(bda.RESUME_VECTOR)
    if code == RETURN_BY_IRET:
        call.ss, call.esp = target >> 16, (target & 0xFFFF) + 6
        frame = call.address("ss", target & 0xFFFF)
        offset, segment = call.word(frame), call.word(frame + 2)
        call.host.set_reg("eflags", call.word(frame + 4) | 2)
        call.cs, call.eip = segment, offset
    else:
        call.cs, call.eip = target >> 16, target & 0xFFFF
    return True


def _wake_system(call: Call) -> bool:
    """An operating system that sleeps (S3) goes on at its waking vector, a physical address that real mode reaches."""
    host = call.host
    if _cmos(host, 0x0F) != AWOKEN:
        return False
    _set_cmos(host, 0x0F, 0)
    control = tables.place_acpi(host).get("FACS")
    vector = int.from_bytes(host.read_phys(control[0] + WAKING_VECTOR, 4), "little") if control else 0
    if not 0 < vector < 0x100000:
        return False
    host.port_write(0x92, 1, (host.port_read(0x92, 1) & ~0x01) | 0x02)
    _caches(host)
    _interrupt_controllers(host)
    pci.set_up(host)
    if host.apic:
        _local_apic(host)
    call.cs, call.eip = vector >> 4, vector & 0xF
    return True


def _cmos(host: Host, index: int) -> int:
    host.port_write(CMOS_INDEX, 1, index)
    return host.port_read(CMOS_DATA, 1)


def _set_cmos(host: Host, index: int, value: int) -> None:
    host.port_write(CMOS_INDEX, 1, index)
    host.port_write(CMOS_DATA, 1, value & 0xFF)


def _caches(host: Host) -> None:
    """Caches on, and the memory types of a PC where the processor keeps such: device memory is uncached, ROM is not
    written (SDM vol. 3, 11.11)."""
    host.set_reg("cr0", host.reg("cr0") & ~(CR0_CD | CR0_NW))
    if not host.cpu_features & CPUID_MTRR:
        return
    # 512 KiB and 128 KiB of RAM, 128 KiB of VGA memory, and eight ranges of 32 KiB of ROM.
    for n, kind in enumerate((WRITE_BACK, WRITE_BACK, UNCACHED, *[WRITE_PROTECTED] * 8)):
        host.set_reg(f"msr_mtrr_fixed[{n}]", int.from_bytes(bytes([kind]) * 8, "little"))
    host.set_reg("msr_mtrr_var[0]", PCI_HOLE | UNCACHED)
    host.set_reg("msr_mtrr_var[1]", (ADDRESS_SPACE - PCI_HOLE_SIZE) | MTRR_VALID)
    host.set_reg("msr_mtrr_def", MTRR_ENABLED | MTRR_FIXED_ENABLED | WRITE_BACK)


def _interrupt_controllers(host: Host) -> None:
    """IRQ 0..7 at vectors 08h, IRQ 8..15 at 70h; timer, keyboard, cascade, floppy, RTC, coprocessor open."""
    for base, vectors, wiring in ((PIC1, 0x08, 0x04), (PIC2, 0x70, 0x02)):
        host.port_write(base, 1, 0x11)
        host.port_write(base + 1, 1, vectors)
        host.port_write(base + 1, 1, wiring)
        host.port_write(base + 1, 1, 0x01)
    host.port_write(PIC1 + 1, 1, 0xB8)
    host.port_write(PIC2 + 1, 1, 0xDE)


def _timer(host: Host) -> None:
    """Channel 0: 18.2 Hz square wave. Channel 1: refresh. Channel 2: speaker tone, off."""
    for control, port, count in ((0x36, PIT, 0), (0x54, PIT + 1, 0x12), (0xB6, PIT + 2, 0x0533)):
        host.port_write(PIT + 3, 1, control)
        host.port_write(port, 1, count & 0xFF)
        if control & 0x30 == 0x30:
            host.port_write(port, 1, count >> 8)


def _vectors(host: Host) -> None:
    table = bytearray()
    segment = rom.SEGMENT.to_bytes(2, "little")
    for vector in range(256):
        if vector in USER_VECTORS:
            table += bytes(4)
        else:
            table += rom.VECTORS.get(vector, rom.DUMMY_IRET).to_bytes(2, "little") + segment
    # Vectors that are pointers; 41h and 46h follow with the hard disks.
    pointers = {0x1E: rom.DISKETTE_TABLE, 0x1F: rom.FONT_8 + 0x400, 0x43: rom.FONT_16}
    for vector, offset in pointers.items():
        table[4 * vector : 4 * vector + 4] = offset.to_bytes(2, "little") + segment
    host.write_phys(0, bytes(table))


def _data_areas(host: Host, warm: bool) -> None:
    """A fresh BIOS data area and extended BIOS data area."""
    host.write_phys(bda.BASE, bytes(0x100))
    host.write_phys(0x500, bytes(0x10))
    host.write_phys(EBDA, b"\x01" + bytes(0x3FF))  # first byte: its size in KiB
    data = bda.Bda(host)
    data.set_word(bda.EBDA_SEGMENT, EBDA >> 4)
    data.set_word(bda.MEMORY_KIB, min(EBDA, host.ram_size) >> 10)
    data.set_word(bda.KBD_HEAD, bda.KBD_BUFFER)
    data.set_word(bda.KBD_TAIL, bda.KBD_BUFFER)
    data.set_word(bda.KBD_BUFFER_START, bda.KBD_BUFFER)
    data.set_word(bda.KBD_BUFFER_END, bda.KBD_BUFFER + 32)
    data.set_byte(bda.KBD_FLAGS, 0x20)  # NumLock
    data.set_byte(bda.KBD_LEDS, 0x02)
    data.set_byte(bda.KBD_MODE, 0x10)  # a 101-key keyboard
    if warm:
        data.set_word(bda.RESET_FLAG, bda.CTRL_ALT_DEL_MAGIC)
    for n in range(3):
        data.set_byte(bda.LPT_TIMEOUT + n, 20)
    for n in range(4):
        data.set_byte(bda.COM_TIMEOUT + n, 1)


def _keyboard_controller(host: Host) -> None:
    """Self-test, then the command byte: interrupt for the keyboard, translation, mouse off."""
    _drain(host)
    host.port_write(KBC_STATUS, 1, 0xAA)
    _drain(host)
    host.port_write(KBC_STATUS, 1, 0xAE)
    host.port_write(KBC_STATUS, 1, 0x60)
    host.port_write(KBC_DATA, 1, 0x65)
    _drain(host)


def _drain(host: Host) -> None:
    for _ in range(32):
        if not host.port_read(KBC_STATUS, 1) & 0x01:
            return
        host.port_read(KBC_DATA, 1)


def _clock(host: Host) -> None:
    """RTC at 32.768 kHz with a 1024 Hz periodic rate, 24 hours, BCD; the tick count from the time of day."""
    _set_cmos(host, 0x0A, 0x26)
    _set_cmos(host, 0x0B, 0x02)
    _cmos(host, 0x0C)

    def bcd(index: int, limit: int) -> int:
        value = _cmos(host, index)
        return min((value >> 4) * 10 + (value & 0x0F), limit)

    seconds = bcd(4, 23) * 3600 + bcd(2, 59) * 60 + bcd(0, 59)
    numerator, denominator = TICKS_PER_SECOND
    bda.Bda(host).set_dword(bda.TICKS, seconds * numerator // denominator)
    host.port_write(CMOS_INDEX, 1, 0x0D)


def _ports(call: Call) -> None:
    """Look for serial and parallel ports and count them in the equipment word."""
    serial = [port for port in COM_CANDIDATES if _is_uart(call, port)]
    parallel = [port for port in LPT_CANDIDATES if _is_lpt(call, port)]
    for n, port in enumerate(serial):
        call.bda.set_word(bda.COM_PORTS + 2 * n, port)
    for n, port in enumerate(parallel):
        call.bda.set_word(bda.LPT_PORTS + 2 * n, port)
    equipment = 0x0026 | len(serial) << 9 | len(parallel) << 14  # 80x25 colour, coprocessor, pointing device
    call.bda.set_word(bda.EQUIPMENT, equipment)


def _is_uart(call: Call, port: int) -> bool:
    """Interrupts can be switched off and none is then pending."""
    call.outb(port + 1, 0x02)
    if call.inb(port + 1) != 0x02:
        return False
    call.outb(port + 1, 0x00)
    return call.inb(port + 1) == 0x00 and call.inb(port + 2) & 0x3E in (0x00, 0x02)


def _is_lpt(call: Call, port: int) -> bool:
    """The data latch keeps what is written."""
    call.outb(port, 0xAA)
    return call.inb(port) == 0xAA


def _drives(call: Call) -> None:
    """Count the drives, fix the hard disks' geometry, describe both in BDA and CMOS."""
    host = call.host
    call.bios.cd_boot = None
    floppies = drives(call.bios, DriveKind.FLOPPY)[:2]
    disks = drives(call.bios, DriveKind.HD)[:0x60]
    call.bios.geometries = []
    for drive in disks:
        size = drive.disk.size if drive.disk else 0
        sector = (read_bytes(host, drive, 0, SECTOR) or b"") if size else b""
        call.bios.geometries.append(hard_disk_geometry(size, sector))
    for n, (vector, geometry) in enumerate(zip((0x41, 0x46), call.bios.geometries, strict=False)):
        host.write_phys(EBDA + HD_TABLES + 16 * n, _parameter_table(geometry))
        host.write_phys(4 * vector, (HD_TABLES + 16 * n).to_bytes(2, "little") + (EBDA >> 4).to_bytes(2, "little"))
    equipment = call.bda.word(bda.EQUIPMENT)
    if floppies:
        equipment |= 0x01 | len(floppies) - 1 << 6
    call.bda.set_word(bda.EQUIPMENT, equipment)
    call.bda.set_byte(bda.DISK_COUNT, len(disks))
    types = 0
    for n, drive in enumerate(floppies):
        drive.new_medium()
        types |= (floppy_medium(drive.disk) if drive.disk else NO_FLOPPY)[1] << (4 if n == 0 else 0)
        call.bda.set_byte(bda.FLOPPY_MEDIA + n, 0x07)
    base, extended = min(EBDA + 0x400, host.ram_size) >> 10, min(extended_bytes(host.ram_size) >> 10, 0xFFFF)
    above_16m = min(max(0, extended_bytes(host.ram_size) - 0xF00000) >> 16, 0xFFFF)
    fixed = (0xF0 if disks else 0) | (0x0F if len(disks) > 1 else 0)
    settings = {0x0E: 0, 0x10: types, 0x12: fixed, 0x14: equipment & 0xFF}
    settings |= {0x15: base & 0xFF, 0x16: base >> 8, 0x17: extended & 0xFF, 0x18: extended >> 8}
    settings |= {0x19: 47 if disks else 0, 0x1A: 47 if len(disks) > 1 else 0}
    settings |= {0x30: extended & 0xFF, 0x31: extended >> 8, 0x34: above_16m & 0xFF, 0x35: above_16m >> 8}
    for index, value in settings.items():
        _set_cmos(host, index, value)
    checksum = sum(_cmos(host, index) for index in range(0x10, 0x2E))
    _set_cmos(host, 0x2E, checksum >> 8)
    _set_cmos(host, 0x2F, checksum)


def _parameter_table(geometry: Geometry) -> bytes:
    """The fixed disk parameter table that INT 41h and 46h point to."""
    out = geometry.cylinders.to_bytes(2, "little") + bytes((geometry.heads, 0, 0, 0xFF, 0xFF, 0))
    out += bytes((0xC8 if geometry.heads > 8 else 0xC0, 0, 0, 0))
    return out + geometry.cylinders.to_bytes(2, "little") + bytes((geometry.sectors, 0))


def _local_apic(host: Host) -> None:
    """Software-enable the local APIC as a virtual wire: LINT0 takes the 8259A's interrupts, LINT1 is NMI."""
    for register, value in ((0xF0, 0x1FF), (0x350, 0x8700), (0x360, 0x8400)):
        host.write_phys(0xFEE00000 + register, value.to_bytes(4, "little"))
