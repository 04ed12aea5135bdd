"""Booting from CD-ROM: the El Torito boot catalogue, its disk images, and INT 13h AH=4Bh.

An image without emulation is loaded and gets drive number E0h; a floppy or hard disk image becomes drive 00h or 80h, in
front of the real ones. Source: "El Torito" Bootable CD-ROM Format Specification 1.0 (Phoenix, IBM).
"""

from __future__ import annotations

from bios.pc import bda
from bios.pc.disk import BAD_COMMAND, CD_SECTOR, FIRST_CD, OK, SECTOR, finish, hard_disk_geometry, read_bytes
from bios.pc.host import Drive, Host
from bios.pc.service import Call, service
from bios.pc.state import CdBoot

BOOT_RECORD_SECTOR = 17
BOOT_RECORD = b"\x00CD001\x01EL TORITO SPECIFICATION"
DEFAULT_SEGMENT = 0x07C0
BOOTABLE = 0x88
SECTION_HEADERS = (0x90, 0x91)
EXTENSION = 0x44
PLATFORM_PC = 0x00
NO_EMULATION, HARD_DISK = 0, 4
FLOPPY_SIZES = {1: 1200 << 10, 2: 1440 << 10, 3: 2880 << 10}
PACKET_SIZE = 0x13


def find_image(host: Host, drive: Drive) -> CdBoot | None:
    """What a CD's boot catalogue has for a PC, if it is sound."""
    record = read_bytes(host, drive, BOOT_RECORD_SECTOR * CD_SECTOR, CD_SECTOR)
    if record is None or not record.startswith(BOOT_RECORD):
        return None
    catalogue = read_bytes(host, drive, int.from_bytes(record[0x47:0x4B], "little") * CD_SECTOR, CD_SECTOR)
    if catalogue is None or catalogue[0] != 1 or catalogue[30:32] != b"\x55\xaa":
        return None
    if sum(int.from_bytes(catalogue[n : n + 2], "little") for n in range(0, 32, 2)) & 0xFFFF:
        return None
    entry = _entry(catalogue)
    if entry is None:
        return None
    media = entry[1] & 0x0F
    start, sectors = int.from_bytes(entry[8:12], "little"), int.from_bytes(entry[6:8], "little")
    segment = int.from_bytes(entry[2:4], "little") or DEFAULT_SEGMENT
    size = FLOPPY_SIZES.get(media, 0)
    number = 0x00 if size else FIRST_CD
    if media == HARD_DISK:
        number, size = 0x80, _hard_disk_size(host, drive, start)
        if not size:
            return None
    return CdBoot(media, number, start, size, segment, max(1, sectors))


def _entry(catalogue: bytes) -> bytes | None:
    """The first bootable entry for PCs: the initial one, or one of a section where that is for another platform."""
    at, platform, left = 32, catalogue[1], 1
    while at + 32 <= len(catalogue):
        entry = catalogue[at : at + 32]
        at += 32
        if left:
            left -= 1
            if platform == PLATFORM_PC and entry[0] == BOOTABLE and entry[1] & 0x0F <= HARD_DISK:
                return entry
        elif entry[0] in SECTION_HEADERS:
            platform, left = entry[1], int.from_bytes(entry[2:4], "little")
        elif entry[0] != EXTENSION:
            return None
    return None


def _hard_disk_size(host: Host, drive: Drive, start: int) -> int:
    """The end of the only partition of a hard disk image."""
    sector = read_bytes(host, drive, start * CD_SECTOR, SECTOR)
    if sector is None or sector[510:512] != b"\x55\xaa":
        return 0
    first, length = (int.from_bytes(sector[at : at + 4], "little") for at in (0x1C6, 0x1CA))
    return (first + length) * SECTOR


def load_image(call: Call, drive: Drive, image: CdBoot) -> bool:
    """Load the image's first sectors and switch its emulation on. False if the host cannot read it."""
    length = min(image.sectors * SECTOR, 0xA0000 - image.segment * 16)
    data = read_bytes(call.host, drive, image.start * CD_SECTOR, max(0, length))
    if data is None:
        return False
    call.host.write_phys(image.segment * 16, data)
    _switch(call, image)
    return True


def _switch(call: Call, image: CdBoot | None) -> None:
    """Begin or end the emulation, and keep the counts of drives in step."""
    before = call.bios.cd_boot
    if before is not None and before.drive == 0x80:
        del call.bios.geometries[:1]
        call.bda.set_byte(bda.DISK_COUNT, call.bda.byte(bda.DISK_COUNT) - 1)
    call.bios.cd_boot = image
    if image is None:
        return
    if image.drive == 0x80:
        call.bios.geometries.insert(0, hard_disk_geometry(image.size, b""))
        call.bda.set_byte(bda.DISK_COUNT, call.bda.byte(bda.DISK_COUNT) + 1)
    elif image.drive == 0x00:
        call.bda.set_word(bda.EQUIPMENT, call.bda.word(bda.EQUIPMENT) | 0x01)


@service(0x13, ah=0x4B)
def disk_emulation(call: Call) -> None:
    """AL=0 ends the emulation, AL=1 only asks; the description goes to DS:SI."""
    image = call.bios.cd_boot
    if image is None or call.dl not in (image.drive, 0x7F) or call.al > 1:
        finish(call, BAD_COMMAND)
        return
    packet = bytes((PACKET_SIZE, image.media, image.drive, 0)) + image.start.to_bytes(4, "little") + bytes(4)
    packet += image.segment.to_bytes(2, "little") + image.sectors.to_bytes(2, "little") + bytes(3)
    call.write(call.address("ds", call.si), packet)
    if call.al == 0 and image.size:
        _switch(call, None)
    finish(call, OK)
