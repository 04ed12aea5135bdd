from __future__ import annotations

import os
import random

import pytest

from bios.pc.host import Action, Drive, DriveKind
from tests.bios.fake_host import FakeHost, Machine, Medium, floppy, hard_disk

ROUNDS = int(os.environ.get("EMU_FUZZ_BIOS", "20"))
"""How many broken CDs; by hand many more."""
IMAGE = 30  # sector of the boot image


def cd(
    media: int = 0, *, sectors: int = 4, segment: int = 0, content: bytes = b"CDBOOT", extra: int = 1 << 20
) -> Drive:
    data = bytearray(IMAGE * 2048 + extra)
    data[17 * 2048 : 17 * 2048 + 30] = b"\x00CD001\x01EL TORITO SPECIFICATION"
    data[17 * 2048 + 0x47] = 20
    validation = bytearray(32)
    validation[0], validation[30], validation[31] = 1, 0x55, 0xAA
    total = sum(int.from_bytes(validation[n : n + 2], "little") for n in range(0, 32, 2))
    validation[28:30] = (-total & 0xFFFF).to_bytes(2, "little")
    entry = bytes((0x88, media)) + segment.to_bytes(2, "little") + bytes(2) + sectors.to_bytes(2, "little")
    entry += IMAGE.to_bytes(4, "little")
    data[20 * 2048 : 20 * 2048 + 44] = bytes(validation) + entry
    data[IMAGE * 2048 : IMAGE * 2048 + len(content)] = content
    return Drive(DriveKind.CD, Medium(bytes(data), read_only=True))


def boot(*drives: Drive) -> Machine:
    host = FakeHost(disks=drives)
    host.boot_order = "d"
    pc = Machine(host)
    assert pc.interrupt(0x19) is Action.CONTINUE
    return pc


def test_an_image_without_emulation_is_loaded_whole_and_entered_at_7c00() -> None:
    pc = boot(cd(sectors=4, content=b"CDBOOT" + bytes(2036) + b"END"))
    assert pc.host.ram[0x7C00:0x7C06] == b"CDBOOT"
    assert pc.host.ram[0x7C00 + 2042 : 0x7C00 + 2045] == b"END"
    assert (pc.cs, pc.eip, pc.dl) == (0, 0x7C00, 0xE0)


def test_another_load_segment_is_obeyed() -> None:
    pc = boot(cd(segment=0x2100))
    assert pc.host.ram[0x21000:0x21006] == b"CDBOOT"
    assert (pc.cs, pc.eip) == (0x2000, 0x1000)


def test_the_status_call_describes_the_image() -> None:
    pc = boot(cd(sectors=4))
    pc.interrupt(0x13, ax=0x4B01, dl=0xE0, ds=0x500, si=0)
    assert not pc.carry
    assert pc.host.ram[0x5000:0x5003] == bytes((0x13, 0, 0xE0))
    assert pc.dword(0x5004) == IMAGE
    assert (pc.word(0x500C), pc.word(0x500E)) == (0x07C0, 4)


def test_a_floppy_image_becomes_drive_0_and_ends_on_request() -> None:
    pc = boot(floppy(), cd(media=2, sectors=1, content=b"A" * 512 + b"B" * 512, extra=1440 << 10))
    assert pc.dl == 0x00
    read = {"ax": 0x0201, "cx": 0x0002, "dx": 0, "es": 0x1000, "bx": 0}
    pc.interrupt(0x13, **read)
    assert pc.host.ram[0x10000] == ord("B")
    pc.interrupt(0x13, **{**read, "ax": 0x0301})
    assert (pc.carry, pc.ah) == (True, 0x03)
    pc.interrupt(0x13, **{**read, "dx": 1})
    assert pc.dword(0x10000) == 1  # the real floppy is now the second one
    pc.interrupt(0x13, ax=0x4B00, dl=0x7F, ds=0x500, si=0)
    pc.interrupt(0x13, **read)
    assert pc.dword(0x10000) == 1


def test_a_hard_disk_image_comes_before_the_real_disks() -> None:
    mbr = bytearray(512)
    mbr[0x1C6:0x1CE] = (1).to_bytes(4, "little") + (999).to_bytes(4, "little")
    mbr[510:512] = b"\x55\xaa"
    pc = boot(hard_disk(), cd(media=4, sectors=1, content=bytes(mbr) + b"P" * 512))
    assert pc.dl == 0x80
    assert pc.host.ram[0x475] == 2
    pc.interrupt(0x13, ax=0x0201, cx=0x0002, dx=0x80, es=0x1000, bx=0)
    assert pc.host.ram[0x10000] == ord("P")
    pc.interrupt(0x13, ax=0x0201, cx=0x0002, dx=0x81, es=0x1000, bx=0)
    assert pc.dword(0x10000) == 1


def spoil(drive: Drive, at: int) -> Drive:
    assert isinstance(drive.disk, Medium)
    drive.disk.data[at] ^= 0x40
    return drive


@pytest.mark.parametrize("at", [17 * 2048 + 1, 20 * 2048, 20 * 2048 + 4, 20 * 2048 + 30, 20 * 2048 + 32])
def test_a_damaged_catalogue_is_no_boot_image(at: int) -> None:
    host = FakeHost(disks=[spoil(cd(), at)])
    host.boot_order = "d"
    assert Machine(host).interrupt(0x19) is Action.WAIT


def test_an_image_beyond_the_end_of_the_disc_reads_as_zeros() -> None:
    drive = cd()
    assert isinstance(drive.disk, Medium)
    drive.disk.data[20 * 2048 + 40 : 20 * 2048 + 44] = b"\xff\xff\xff\x7f"
    pc = boot(drive)
    assert pc.host.ram[0x7C00:0x7C06] == bytes(6)


def test_the_emulation_is_part_of_the_saved_state() -> None:
    pc = boot(cd(media=2, extra=1440 << 10))
    other = Machine(FakeHost())
    other.bios.load(pc.bios.save())
    assert other.bios.cd_boot == pc.bios.cd_boot
    assert other.bios.cd_boot is not None


def test_an_entry_for_another_platform_is_passed_over_for_a_section_of_pcs() -> None:
    drive = cd(content=b"CDBOOT")
    data = drive.disk.data
    catalogue = 20 * 2048
    entry = bytes(data[catalogue + 32 : catalogue + 64])
    data[catalogue + 1] = 0xEF
    data[catalogue + 28 : catalogue + 30] = (
        int.from_bytes(data[catalogue + 28 : catalogue + 30], "little") - 0xEF00 & 0xFFFF
    ).to_bytes(2, "little")
    data[catalogue + 32 : catalogue + 64] = bytes((0x88, 0)).ljust(32, b"\x11")
    data[catalogue + 64 : catalogue + 96] = bytes((0x91, 0, 1, 0)).ljust(32, b"\0")
    data[catalogue + 96 : catalogue + 128] = entry
    pc = boot(drive)
    assert pc.host.ram[0x7C00:0x7C06] == b"CDBOOT"


def test_random_and_truncated_cds_boot_or_do_not_but_never_raise() -> None:
    """Boot record, catalogue and image are changed; what is booted can be asked about and read."""
    rng = random.Random(4)
    started = 0
    for _ in range(ROUNDS):
        drive = cd(rng.choice((0, 1, 2, 3, 4, 9)), sectors=rng.choice((0, 1, 4, 0xFFFF)), extra=1 << 14)
        data = drive.disk.data
        places = (17 * 2048, 96), (20 * 2048, 128), (20 * 2048 + 32, 12), (IMAGE * 2048 + 440, 72)
        for _ in range(rng.randrange(4)):
            start, length = rng.choice(places)
            data[start + rng.randrange(length)] = rng.choice((0, 1, 0x88, 0xFF, rng.getrandbits(8)))
        if rng.random() < 0.5:
            data[IMAGE * 2048 + 510 : IMAGE * 2048 + 512] = b"\x55\xaa"
        if rng.random() < 0.3:
            del data[rng.randrange(len(data)) & ~2047 or 2048 :]
        host = FakeHost(disks=[hard_disk(), Drive(DriveKind.CD, Medium(bytes(data), read_only=True))])
        host.boot_order = "d"
        pc = Machine(host)
        started += pc.interrupt(0x19) is Action.CONTINUE
        for number in (0x00, 0x80, 0x81, 0xE0):
            for ax in (0x4B01, 0x0800, 0x1500, 0x0201, 0x4800, 0x4200):
                pc.poke(0x5000, bytes((16, 0, 1, 0, 0, 0, 0, 0x20)) + rng.randbytes(4) + bytes(4))
                pc.interrupt(0x13, ax=ax, dx=number, cx=rng.getrandbits(16), ds=0x500, si=0, es=0x1000, bx=0)
        pc.interrupt(0x13, ax=0x4B00, dl=0x7F, ds=0x500, si=0)
    assert 0 < started < ROUNDS
