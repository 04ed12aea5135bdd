"""INT 13h: floppies, hard disks (CHS and the EDD packet calls) and CD-ROMs, straight from the host's disk objects.

A transfer of any length is one host call. Source: PS/2 BIOS Interface Technical Reference, INT 13h; BIOS Enhanced Disk
Drive Specification 3.0 (Phoenix) for AH=41h..48h.
"""

from __future__ import annotations

from bios.pc import bda, rom
from bios.pc.host import Disk, Drive, DriveKind, Host
from bios.pc.service import Call, find, service
from bios.pc.state import BiosState, Geometry

OK = 0x00
BAD_COMMAND = 0x01
WRITE_PROTECTED = 0x03
SECTOR_NOT_FOUND = 0x04
MEDIA_CHANGED = 0x06
CONTROLLER = 0x20
NO_MEDIA = 0x31
TIMEOUT = 0x80
NOT_REMOVABLE = 0xB2
BAD_MEDIA_TYPE = 0x0C

SECTOR = 512
CD_SECTOR = 2048
FIRST_CD = 0xE0
CHUNK = 0x10000


# Floppy formats: size in KiB -> geometry and CMOS drive type.
FLOPPIES: dict[int, tuple[Geometry, int]] = {
    160: (Geometry(40, 1, 8), 1),
    180: (Geometry(40, 1, 9), 1),
    320: (Geometry(40, 2, 8), 1),
    360: (Geometry(40, 2, 9), 1),
    720: (Geometry(80, 2, 9), 3),
    1200: (Geometry(80, 2, 15), 2),
    1440: (Geometry(80, 2, 18), 4),
    1680: (Geometry(80, 2, 21), 4),
    1722: (Geometry(82, 2, 21), 4),
    2880: (Geometry(80, 2, 36), 5),
}
NO_FLOPPY = (Geometry(80, 2, 18), 4)


def floppy_format(size: int, boot_sector: bytes = b"") -> tuple[Geometry, int]:
    """Geometry and drive type for an image: an exact format, else what DOS wrote into the boot sector if that fits the
    size, else the smallest of 1.44M and 2.88M that holds it."""
    exact = FLOPPIES.get(size >> 10) if size % 1024 == 0 else None
    if exact is not None:
        return exact
    if len(boot_sector) >= 0x1C:
        unit, total, sectors, heads = (
            int.from_bytes(boot_sector[at : at + 2], "little") for at in (0x0B, 0x13, 0x18, 0x1A)
        )
        if unit == SECTOR and size == total * SECTOR and heads in (1, 2) and 1 <= sectors <= 40:
            cylinders, rest = divmod(total, heads * sectors)
            if not rest and 1 <= cylinders <= 83:
                kind = 5 if sectors > 24 else 4 if sectors > 11 else 3 if cylinders > 42 else 1
                return Geometry(cylinders, heads, sectors), kind
    return FLOPPIES[1440] if size <= 1440 << 10 else FLOPPIES[2880]


def floppy_medium(disk: Disk) -> tuple[Geometry, int]:
    """`floppy_format` of a medium."""
    unusual = disk.size % 1024 or disk.size >> 10 not in FLOPPIES
    try:
        sector = disk.read(0, SECTOR) if unusual and disk.size >= SECTOR else b""
    except OSError:
        sector = b""
    return floppy_format(disk.size, sector)


def hard_disk_geometry(size: int, boot_sector: bytes) -> Geometry:
    """A geometry for INT 13h: what the partition table was made with, else heads doubled until 1024 cylinders do."""
    total = max(1, (size + SECTOR - 1) // SECTOR)
    heads, sectors = _partition_geometry(boot_sector) or (0, 0)
    if not heads:
        sectors = 63
        heads = next((h for h in (16, 32, 64, 128) if total <= 1024 * h * sectors), 255)
    return Geometry(max(2, min(1024, total // (heads * sectors))), heads, sectors)


def _partition_geometry(sector: bytes) -> tuple[int, int] | None:
    """Heads and sectors that make a partition's end in CHS and in LBA agree."""
    if len(sector) < SECTOR or sector[510:512] != b"\x55\xaa":
        return None
    for at in range(0x1BE, 0x1FE, 16):
        entry = sector[at : at + 16]
        start, length = int.from_bytes(entry[8:12], "little"), int.from_bytes(entry[12:16], "little")
        heads, sectors = entry[5] + 1, entry[6] & 0x3F
        if not entry[4] or not length or not sectors or heads < 2 or heads > 255:
            continue
        first = _chs_to_lba(entry[1:4], heads, sectors)
        last = _chs_to_lba(entry[5:8], heads, sectors)
        if first == start and (last == start + length - 1 or (entry[6] >> 6 == 3 and entry[7] == 0xFF)):
            return heads, sectors
    return None


def _chs_to_lba(chs: bytes, heads: int, sectors: int) -> int:
    cylinder = chs[2] | (chs[1] & 0xC0) << 2
    return (cylinder * heads + chs[0]) * sectors + (chs[1] & 0x3F) - 1


class _Window:
    """Part of a CD-ROM that an El Torito image makes a disk of its own; never written."""

    read_only = True

    def __init__(self, disk: Disk, start: int, size: int) -> None:
        self.disk = disk
        self.start = start
        self.size = size

    def read(self, offset: int, length: int) -> bytes:
        there = max(0, min(length, self.disk.size - self.start - offset))
        return self.disk.read(self.start + offset, there) if there else b""

    def write(self, offset: int, data: bytes) -> None:
        raise PermissionError("a disk on a CD-ROM")

    def flush(self) -> None:
        """Nothing is ever written."""


def drives(state: BiosState, kind: DriveKind) -> list[Drive]:
    """The drives of a kind in BIOS order; a disk emulated from the CD that was booted comes first."""
    found = [drive for drive in state.host.disks if drive.kind is kind]
    booted = state.cd_boot
    if booted is not None and booted.size and (kind is DriveKind.HD) == (booted.drive == 0x80):
        cds = [drive.disk for drive in state.host.disks if drive.kind is DriveKind.CD]
        if kind is not DriveKind.CD and cds and cds[0] is not None:
            found.insert(0, Drive(kind, _Window(cds[0], booted.start * CD_SECTOR, booted.size)))
    return found


def find_drive(call: Call, number: int) -> Drive | None:
    """The drive behind a BIOS drive number, or None."""
    if number < 0x80:
        found, index = drives(call.bios, DriveKind.FLOPPY), number
    elif number < FIRST_CD:
        found, index = drives(call.bios, DriveKind.HD), number - 0x80
    else:
        found, index = drives(call.bios, DriveKind.CD), number - FIRST_CD
    return found[index] if index < len(found) else None


def geometry_of(call: Call, number: int, drive: Drive) -> Geometry | None:
    """The geometry INT 13h uses; None for drives without one and for empty drives."""
    if drive.disk is None:
        return None
    if drive.kind is DriveKind.FLOPPY:
        return floppy_medium(drive.disk)[0]
    index = number - 0x80
    return call.bios.geometries[index] if 0 <= index < len(call.bios.geometries) else None


def sector_size(drive: Drive) -> int:
    return CD_SECTOR if drive.kind is DriveKind.CD else SECTOR


def finish(call: Call, status: int) -> None:
    """AH = status, carry set unless it is 0; kept for AH=01h."""
    call.bda.set_byte(bda.FLOPPY_STATUS if call.dl < 0x80 else bda.DISK_STATUS, status)
    call.ah = status
    call.carry = status != OK


def read_bytes(host: Host, drive: Drive, offset: int, length: int) -> bytes | None:
    """Bytes of a medium, zeros after its end. None if the host fails; the log says why."""
    disk = drive.disk
    if disk is None:
        return None
    there = max(0, min(length, disk.size - offset))
    try:
        data = disk.read(offset, there) if there else b""
    except OSError as error:
        host.log(f"BIOS: reading {drive.kind.value} at byte {offset}: {error}")
        return None
    return data[:length].ljust(length, b"\0")


def transfer(call: Call, drive: Drive, lba: int, count: int, address: int, *, write: bool) -> tuple[int, int]:
    """Move `count` sectors between a drive and linear memory. Gives (status, sectors moved)."""
    if drive.disk is None:
        return (TIMEOUT if drive.kind is DriveKind.FLOPPY else NO_MEDIA), 0
    if write and drive.disk.read_only:
        return WRITE_PROTECTED, 0
    size = sector_size(drive)
    if write and (lba + count) * size > drive.disk.size:  # a short image: what it lacks can be read, not written
        return SECTOR_NOT_FOUND, 0
    moved = 0
    while moved < count:
        step = min(count - moved, CHUNK // size)
        offset = (lba + moved) * size
        if write:
            data = call.read(address + moved * size, step * size)
            try:
                drive.disk.write(offset, data)
            except PermissionError:
                return WRITE_PROTECTED, moved
            except OSError as error:
                call.host.log(f"BIOS: writing {drive.kind.value} at byte {offset}: {error}")
                return CONTROLLER, moved
        else:
            found = read_bytes(call.host, drive, offset, step * size)
            if found is None:
                return CONTROLLER, moved
            call.write(address + moved * size, found)
        moved += step
    return OK, moved


# --- the classic calls, by cylinder, head and sector ----------------------------------------------------------------


CLASSIC_MAX = 128
"""Sectors in one call: 64 KiB, what DMA can do. DOS relies on more being refused (a count that went below 0)."""


def _chs(call: Call, drive: Drive) -> int | None:
    """The sector CH/CL/DH name, if the medium has it and the AL sectors from there."""
    geometry = geometry_of(call, call.dl, drive)
    if geometry is None:
        return None
    sector, head = call.cl & 0x3F, call.dh
    cylinder = call.ch if drive.kind is DriveKind.FLOPPY else call.ch | (call.cl & 0xC0) << 2
    if not 1 <= sector <= geometry.sectors or head >= geometry.heads or cylinder >= geometry.cylinders:
        return None
    lba = (cylinder * geometry.heads + head) * geometry.sectors + sector - 1
    return lba if lba + call.al <= geometry.total else None


def _classic(call: Call, *, write: bool | None) -> None:
    """Read, write or (None) only check AL sectors at CHS."""
    drive = find_drive(call, call.dl)
    if drive is None:
        call.al = 0
        finish(call, TIMEOUT if call.dl < 0x80 else BAD_COMMAND)
        return
    if drive.disk is None:
        call.al = 0
        finish(call, TIMEOUT if drive.kind is DriveKind.FLOPPY else NO_MEDIA)
        return
    count = call.al
    if not 1 <= count <= CLASSIC_MAX:
        call.al = 0
        finish(call, BAD_COMMAND)
        return
    lba = _chs(call, drive)
    if lba is None:
        call.al = 0
        finish(call, SECTOR_NOT_FOUND)
        return
    if drive.kind is DriveKind.FLOPPY:
        _spin(call)
        if drive.new_medium():
            call.al = 0
            finish(call, MEDIA_CHANGED)
            return
    if write is None:
        finish(call, OK)
        return
    status, moved = transfer(call, drive, lba, count, call.address("es", call.bx), write=write)
    call.al = moved
    finish(call, status)


def _spin(call: Call) -> None:
    """The motor runs on for the ticks that the diskette table gives; the timer tick stops it."""
    call.bda.update_byte(bda.FLOPPY_MOTOR, 0, 1 << (call.dl & 1))
    call.bda.set_byte(bda.FLOPPY_TIMEOUT, 0x25)


@service(0x13, ah=0x00)
@service(0x13, ah=0x0D)
def reset(call: Call) -> None:
    """Reset the disk system. Succeeds for drives that exist."""
    finish(call, OK if call.dl < 0x80 or find_drive(call, call.dl) else BAD_COMMAND)


@service(0x13, ah=0x01)
def last_status(call: Call) -> None:
    """AH = status of the last operation, carry set unless it is 0."""
    status = call.bda.byte(bda.FLOPPY_STATUS if call.dl < 0x80 else bda.DISK_STATUS)
    call.ah = status
    call.carry = status != OK


@service(0x13, ah=0x02)
def read_sectors(call: Call) -> None:
    """Read AL sectors to ES:BX."""
    _classic(call, write=False)


@service(0x13, ah=0x03)
def write_sectors(call: Call) -> None:
    """Write AL sectors from ES:BX."""
    _classic(call, write=True)


@service(0x13, ah=0x04)
def verify_sectors(call: Call) -> None:
    _classic(call, write=None)


@service(0x13, ah=0x05)
def format_track(call: Call) -> None:
    """Fill the track CH of head DH with the diskette table's fill byte. Hard disks answer and keep their data."""
    drive = find_drive(call, call.dl)
    if drive is None or drive.disk is None:
        finish(call, TIMEOUT if call.dl < 0x80 else BAD_COMMAND)
        return
    geometry = geometry_of(call, call.dl, drive)
    if drive.kind is not DriveKind.FLOPPY or geometry is None:
        finish(call, OK)
        return
    if call.ch >= geometry.cylinders or call.dh >= geometry.heads:
        finish(call, SECTOR_NOT_FOUND)
        return
    if drive.disk.read_only:
        finish(call, WRITE_PROTECTED)
        return
    pointer = call.dword(0x1E * 4)
    fill = call.byte((pointer >> 16) * 16 + (pointer & 0xFFFF) + 8)
    start = (call.ch * geometry.heads + call.dh) * geometry.sectors * SECTOR
    room = max(0, min(geometry.sectors * SECTOR, drive.disk.size - start))
    try:
        drive.disk.write(start, bytes((fill,)) * room)
    except OSError as error:
        call.host.log(f"BIOS: formatting: {error}")
        finish(call, CONTROLLER)
        return
    finish(call, OK)


@service(0x13, ah=0x08)
def parameters(call: Call) -> None:
    """CH/CL/DH = last cylinder, sector, head; DL = number of drives; floppies also BL = type and ES:DI = table."""
    number = call.dl
    drive = find_drive(call, number)
    kind = DriveKind.FLOPPY if number < 0x80 else DriveKind.HD
    count = len(drives(call.bios, kind))
    if drive is None or drive.kind is DriveKind.CD:
        call.dl = count
        finish_for(call, number, BAD_COMMAND)
        return
    if kind is DriveKind.FLOPPY:
        geometry, drive_type = floppy_medium(drive.disk) if drive.disk else NO_FLOPPY
        call.bx = drive_type
        call.es, call.di = rom.SEGMENT, rom.DISKETTE_TABLE
    else:
        found = geometry_of(call, number, drive)
        if found is None:
            finish_for(call, number, BAD_COMMAND)
            return
        geometry = found
    last = geometry.cylinders - 1
    call.ch, call.cl = last, (last >> 2 & 0xC0) | geometry.sectors
    call.dh, call.dl = geometry.heads - 1, count
    call.al = 0
    finish_for(call, number, OK)


def finish_for(call: Call, number: int, status: int) -> None:
    """`finish` for calls whose DL is already an answer."""
    call.bda.set_byte(bda.FLOPPY_STATUS if number < 0x80 else bda.DISK_STATUS, status)
    call.ah = status
    call.carry = status != OK


@service(0x13, ah=0x09)
@service(0x13, ah=0x0C)
@service(0x13, ah=0x10)
@service(0x13, ah=0x11)
@service(0x13, ah=0x14)
@service(0x13, ah=0x47)
def nothing_to_do(call: Call) -> None:
    """Initialise, seek, ready test, recalibrate, diagnose: succeed for drives that exist."""
    finish(call, OK if find_drive(call, call.dl) else BAD_COMMAND)


@service(0x13, ah=0x15)
def drive_type(call: Call) -> None:
    """AH = 0 no drive, 2 floppy with change line, 3 hard disk (CX:DX = sectors)."""
    drive = find_drive(call, call.dl)
    if drive is None or drive.kind is DriveKind.CD:
        call.done(0)
    elif drive.kind is DriveKind.FLOPPY:
        call.done(2)
    else:
        geometry = geometry_of(call, call.dl, drive)
        total = geometry.total if geometry else 0
        call.cx, call.dx = total >> 16, total
        call.done(3)


@service(0x13, ah=0x16)
def change_line(call: Call) -> None:
    """AH = 0: the medium has not been changed; 6: it has, or there is none."""
    drive = find_drive(call, call.dl)
    if drive is None:
        finish(call, BAD_COMMAND)
    else:
        changed = drive.disk is None or (drive.unit is not None and drive.unit.changed)
        finish(call, MEDIA_CHANGED if changed else OK)


@service(0x13, ah=0x17)
def set_format_type(call: Call) -> None:
    drive = find_drive(call, call.dl)
    finish(call, OK if drive and drive.kind is DriveKind.FLOPPY else BAD_COMMAND)


@service(0x13, ah=0x18)
def set_media_type(call: Call) -> None:
    """CH/CL = tracks and sectors wanted for formatting; ES:DI = diskette table if the medium can hold them."""
    drive = find_drive(call, call.dl)
    if drive is None or drive.kind is not DriveKind.FLOPPY or drive.disk is None:
        finish(call, BAD_COMMAND)
        return
    geometry = floppy_medium(drive.disk)[0]
    if call.ch != geometry.cylinders - 1 or call.cl & 0x3F != geometry.sectors:
        finish(call, BAD_MEDIA_TYPE)
        return
    call.es, call.di = rom.SEGMENT, rom.DISKETTE_TABLE
    finish(call, OK)


# --- EDD ------------------------------------------------------------------------------------------------------------


@service(0x13, ah=0x41)
def extensions_present(call: Call) -> None:
    """BX = AA55h, AH = EDD 3.0, CX = packet calls, locking and EDD supported. Hard disks and CD-ROMs only."""
    drive = find_drive(call, call.dl)
    if drive is None or drive.kind is DriveKind.FLOPPY or call.bx != 0x55AA:
        finish(call, BAD_COMMAND)
        return
    call.bx, call.cx = 0xAA55, 0x0007
    finish(call, OK)
    call.ah = 0x30


def _packet(call: Call, *, write: bool | None) -> None:
    """A transfer described by the packet at DS:SI; its count becomes what was moved."""
    drive = find_drive(call, call.dl)
    if drive is None or drive.kind is DriveKind.FLOPPY:
        finish(call, BAD_COMMAND)
        return
    where = call.address("ds", call.si)
    size = call.byte(where)
    if size < 16:
        finish(call, BAD_COMMAND)
        return
    packet = call.read(where, 16)
    count = int.from_bytes(packet[2:4], "little")
    pointer = int.from_bytes(packet[4:8], "little")
    lba = int.from_bytes(packet[8:16], "little")
    if pointer == 0xFFFFFFFF and size >= 24:
        address = int.from_bytes(call.read(where + 16, 8), "little")
        if address + count * sector_size(drive) > 1 << 32:
            finish(call, BAD_COMMAND)
            return
    else:
        address = (pointer >> 16) * 16 + (pointer & 0xFFFF)
    if drive.disk is None:
        call.set_word(where + 2, 0)
        finish(call, NO_MEDIA)
        return
    unit = sector_size(drive)
    if lba + count > (drive.disk.size + unit - 1) // unit:
        call.set_word(where + 2, 0)
        finish(call, BAD_COMMAND)
        return
    if write is None:
        finish(call, OK)
        return
    status, moved = transfer(call, drive, lba, count, address, write=write)
    call.set_word(where + 2, moved)
    finish(call, status)


@service(0x13, ah=0x42)
def extended_read(call: Call) -> None:
    _packet(call, write=False)


@service(0x13, ah=0x43)
def extended_write(call: Call) -> None:
    _packet(call, write=True)


@service(0x13, ah=0x44)
def extended_verify(call: Call) -> None:
    _packet(call, write=None)


@service(0x13, ah=0x45)
def lock(call: Call) -> None:
    """Locking a drive that has no door: only CD-ROMs count as removable."""
    drive = find_drive(call, call.dl)
    finish(call, BAD_COMMAND if drive is None else OK)
    if drive is not None:
        call.al = 0


@service(0x13, ah=0x46)
def eject(call: Call) -> None:
    drive = find_drive(call, call.dl)
    finish(call, BAD_COMMAND if drive is None else NOT_REMOVABLE)


@service(0x13, ah=0x48)
def extended_parameters(call: Call) -> None:
    """Fill the buffer at DS:SI: flags, geometry, sectors, sector size, and no hardware table."""
    drive = find_drive(call, call.dl)
    if drive is None or drive.kind is DriveKind.FLOPPY or drive.disk is None:
        finish(call, BAD_COMMAND)
        return
    where = call.address("ds", call.si)
    room = call.word(where)
    if room < 26:
        finish(call, BAD_COMMAND)
        return
    unit = sector_size(drive)
    total = (drive.disk.size + unit - 1) // unit
    geometry = geometry_of(call, call.dl, drive)
    if geometry is None:
        flags, cylinders, heads, sectors = 0x74, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF  # removable, lockable, notifying
    else:
        heads, sectors = geometry.heads, geometry.sectors
        cylinders = total // (heads * sectors)
        flags = 0x02 if total < 0xFBFC10 else 0x00  # 16383 * 16 * 63: above that the geometry means nothing
        cylinders = min(cylinders, 16383)
    out = (26 if room < 30 else 30).to_bytes(2, "little") + flags.to_bytes(2, "little")
    out += b"".join(n.to_bytes(4, "little") for n in (cylinders, heads, sectors))
    out += total.to_bytes(8, "little") + unit.to_bytes(2, "little")
    if room >= 30:
        out += b"\xff\xff\xff\xff"
    call.write(where, out)
    finish(call, OK)


@service(0x13, ah=0x49)
def media_change(call: Call) -> None:
    drive = find_drive(call, call.dl)
    finish(call, BAD_COMMAND if drive is None else OK)


@service(0x13, ah=0x4E)
def hardware_configuration(call: Call) -> None:
    """Nothing to configure: transfers need no DMA mode."""
    drive = find_drive(call, call.dl)
    finish(call, BAD_COMMAND if drive is None or call.dl < 0x80 else OK)
    call.al = 0


@service(0x13)
def unsupported(call: Call) -> None:
    finish(call, BAD_COMMAND)


@service(0x40)
def floppy_only(call: Call) -> None:
    """INT 40h, where the floppy services moved when hard disks took INT 13h."""
    handler = find(0x13, call.ah, call.al)
    if handler is None or call.dl >= 0x80:
        finish(call, BAD_COMMAND)
    else:
        handler(call)
