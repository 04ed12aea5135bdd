from __future__ import annotations

import random

import pytest

from bios.pc.disk import FLOPPIES, floppy_format, hard_disk_geometry
from bios.pc.host import Drive, DriveKind
from bios.pc.state import Geometry
from tests.bios.fake_host import FakeHost, Machine, Medium, floppy, hard_disk


def machine(*drives: Drive) -> Machine:
    return Machine(FakeHost(disks=drives))


def chs(cylinder: int, head: int, sector: int) -> dict[str, int]:
    return {"cx": (cylinder & 0xFF) << 8 | cylinder >> 2 & 0xC0 | sector, "dh": head}


@pytest.mark.parametrize(("kib", "wanted"), FLOPPIES.items())
def test_floppy_sizes_have_their_geometry(kib: int, wanted: tuple[Geometry, int]) -> None:
    assert floppy_format(kib << 10) == wanted
    geometry = wanted[0]
    assert geometry.total * 512 == kib << 10


def test_a_lone_boot_sector_is_a_floppy_of_1440_kib() -> None:
    assert floppy_format(512)[0] == Geometry(80, 2, 18)


def test_reading_a_floppy_moves_all_sectors_in_one_host_read() -> None:
    drive = floppy()
    pc = machine(drive)
    assert isinstance(drive.disk, Medium)
    drive.disk.reads = 0
    pc.interrupt(0x13, ax=0x0212, dl=0, es=0x1000, bx=0x0200, **chs(3, 1, 1))
    assert not pc.carry
    assert pc.ax == 0x0012
    first = (3 * 2 + 1) * 18
    assert [pc.dword(0x10200 + 512 * n) for n in range(18)] == list(range(first, first + 18))
    assert drive.disk.reads == 1


def test_a_read_may_run_on_over_the_end_of_a_track() -> None:
    pc = machine(floppy())
    pc.interrupt(0x13, ax=0x0204, dl=0, es=0x1000, bx=0, **chs(0, 0, 17))
    assert not pc.carry
    assert [pc.dword(0x10000 + 512 * n) for n in range(4)] == [16, 17, 18, 19]


def test_a_hard_disk_is_read_by_chs_with_ten_cylinder_bits() -> None:
    pc = machine(hard_disk(16 * 63 * 300))
    pc.interrupt(0x13, ax=0x0201, dl=0x80, es=0x1000, bx=0, **chs(260, 2, 3))
    assert not pc.carry
    assert pc.dword(0x10000) == (260 * 16 + 2) * 63 + 2


@pytest.mark.parametrize(("cylinder", "head", "sector"), [(80, 0, 1), (0, 2, 1), (0, 0, 19), (0, 0, 0)])
def test_a_sector_outside_the_medium_is_not_found(cylinder: int, head: int, sector: int) -> None:
    pc = machine(floppy())
    pc.interrupt(0x13, ax=0x0201, dl=0, es=0x1000, bx=0, **chs(cylinder, head, sector))
    assert pc.carry
    assert (pc.ah, pc.al) == (0x04, 0)


@pytest.mark.parametrize(("count", "ok"), [(0, False), (1, True), (128, True), (129, False), (0xEE, False)])
def test_a_call_moves_1_to_128_sectors(count: int, ok: bool) -> None:
    pc = machine(hard_disk(16 * 63 * 20))
    pc.interrupt(0x13, ax=0x0200 | count, dl=0x80, es=0x1000, bx=0, **chs(2, 1, 1))
    assert (pc.carry, pc.ah, pc.al) == ((False, 0, count) if ok else (True, 1, 0))
    assert (pc.dword(0x10000) == (2 * 16 + 1) * 63) is ok


def test_a_drive_that_is_not_there_times_out() -> None:
    pc = machine()
    pc.interrupt(0x13, ax=0x0201, dl=0, es=0x1000, bx=0, **chs(0, 0, 1))
    assert pc.carry
    assert pc.ah == 0x80


def test_writing_reaches_the_medium() -> None:
    drive = hard_disk()
    pc = machine(drive)
    pc.poke(0x10000, b"written")
    pc.interrupt(0x13, ax=0x0301, dl=0x80, es=0x1000, bx=0, **chs(1, 0, 1))
    assert not pc.carry
    assert isinstance(drive.disk, Medium)
    at = 16 * 63 * 512
    assert drive.disk.data[at : at + 7] == b"written"


def test_writing_a_protected_medium_gives_status_3() -> None:
    pc = machine(floppy(read_only=True))
    pc.interrupt(0x13, ax=0x0301, dl=0, es=0x1000, bx=0, **chs(0, 0, 1))
    assert pc.carry
    assert pc.ah == 0x03


@pytest.mark.parametrize("function", [0x02, 0x03])
def test_a_host_error_becomes_a_controller_failure_and_a_log_line(function: int) -> None:
    drive = hard_disk()
    pc = machine(drive)
    assert isinstance(drive.disk, Medium)
    drive.disk.broken = True
    pc.interrupt(0x13, ax=function << 8 | 1, dl=0x80, es=0x1000, bx=0, **chs(0, 0, 1))
    assert pc.carry
    assert pc.ah == 0x20
    assert any("byte 0" in line for line in pc.host.lines)


def test_the_last_status_is_kept_per_kind_of_drive() -> None:
    pc = machine(floppy(), hard_disk())
    pc.interrupt(0x13, ax=0x0201, dl=0, es=0x1000, bx=0, **chs(99, 0, 1))
    pc.interrupt(0x13, ah=0x01, dl=0x80)
    assert (pc.ah, pc.carry) == (0, False)
    pc.interrupt(0x13, ah=0x01, dl=0)
    assert (pc.ah, pc.carry) == (0x04, True)


def test_the_tail_of_a_short_image_reads_as_zeros() -> None:
    pc = machine(Drive(DriveKind.FLOPPY, Medium(b"\x11" * 700)))
    pc.poke(0x10000, b"\xee" * 1536)
    pc.interrupt(0x13, ax=0x0203, dl=0, es=0x1000, bx=0, **chs(0, 0, 1))
    assert not pc.carry
    assert pc.host.ram[0x10000 : 0x10000 + 1536] == b"\x11" * 700 + bytes(836)


def test_writing_where_a_short_image_has_nothing_fails() -> None:
    pc = machine(Drive(DriveKind.FLOPPY, Medium(bytes(1024))))
    pc.interrupt(0x13, ax=0x0302, dl=0, es=0x1000, bx=0, **chs(0, 0, 2))
    assert (pc.carry, pc.ah, pc.al) == (True, 0x04, 0)


def test_parameters_of_a_floppy_name_its_type_and_table() -> None:
    pc = machine(floppy(720), floppy(1440))
    pc.interrupt(0x13, ah=0x08, dl=0)
    assert not pc.carry
    assert (pc.ch, pc.cl, pc.dh, pc.dl, pc.bl) == (79, 9, 1, 2, 3)
    assert (pc.es, pc.di) == (0xF000, 0xEFC7)


def test_parameters_of_a_hard_disk_give_its_last_cylinder() -> None:
    pc = machine(hard_disk(16 * 63 * 300))
    pc.interrupt(0x13, ah=0x08, dl=0x80)
    assert not pc.carry
    assert pc.ch | (pc.cl & 0xC0) << 2 == 299
    assert (pc.cl & 0x3F, pc.dh, pc.dl) == (63, 15, 1)


@pytest.mark.parametrize(("number", "answer"), [(0, 2), (1, 0), (0x80, 3), (0x81, 0)])
def test_drive_types(number: int, answer: int) -> None:
    pc = machine(floppy(), hard_disk(10080))
    pc.interrupt(0x13, ah=0x15, dl=number)
    assert not pc.carry
    assert pc.ah == answer
    if answer == 3:
        assert pc.cx << 16 | pc.dx == 10080


def packet(count: int, segment: int, offset: int, lba: int) -> bytes:
    out = bytes((16, 0)) + count.to_bytes(2, "little") + offset.to_bytes(2, "little")
    return out + segment.to_bytes(2, "little") + lba.to_bytes(8, "little")


def test_the_extensions_exist_for_hard_disks_only() -> None:
    pc = machine(floppy(), hard_disk())
    pc.interrupt(0x13, ah=0x41, bx=0x55AA, dl=0x80)
    assert (pc.bx, pc.carry) == (0xAA55, False)
    assert pc.cx & 1
    pc.interrupt(0x13, ah=0x41, bx=0x55AA, dl=0)
    assert pc.carry


def test_an_extended_read_takes_its_addresses_from_the_packet() -> None:
    pc = machine(hard_disk())
    pc.poke(0x5000, packet(127, 0x2000, 0x10, 5000))
    pc.interrupt(0x13, ah=0x42, dl=0x80, ds=0x500, si=0)
    assert not pc.carry
    assert [pc.dword(0x20010 + 512 * n) for n in (0, 126)] == [5000, 5126]
    assert pc.word(0x5002) == 127


def test_an_extended_read_past_the_end_fails_with_nothing_moved() -> None:
    pc = machine(hard_disk(1000))
    pc.poke(0x5000, packet(2, 0x2000, 0, 999))
    pc.interrupt(0x13, ah=0x42, dl=0x80, ds=0x500, si=0)
    assert (pc.carry, pc.ah) == (True, 0x01)
    assert pc.word(0x5002) == 0


def test_an_extended_write_reaches_the_medium() -> None:
    drive = hard_disk()
    pc = machine(drive)
    pc.poke(0x20000, b"written")
    pc.poke(0x5000, packet(1, 0x2000, 0, 77))
    pc.interrupt(0x13, ah=0x43, dl=0x80, ds=0x500, si=0)
    assert isinstance(drive.disk, Medium)
    assert drive.disk.data[77 * 512 : 77 * 512 + 7] == b"written"


def test_a_packet_with_a_64_bit_address_goes_there() -> None:
    pc = machine(hard_disk())
    raw = bytes((24, 0, 1, 0)) + b"\xff\xff\xff\xff" + (9).to_bytes(8, "little") + (0x200000).to_bytes(8, "little")
    pc.poke(0x5000, raw)
    pc.interrupt(0x13, ah=0x42, dl=0x80, ds=0x500, si=0)
    assert pc.dword(0x200000) == 9


def test_extended_parameters_give_the_size_in_sectors() -> None:
    pc = machine(hard_disk(12345))
    pc.poke(0x5000, (30).to_bytes(2, "little"))
    pc.interrupt(0x13, ah=0x48, dl=0x80, ds=0x500, si=0)
    assert not pc.carry
    assert int.from_bytes(pc.host.ram[0x5010:0x5018], "little") == 12345
    assert pc.word(0x5018) == 512
    assert pc.host.ram[0x501A:0x501E] == b"\xff" * 4


def test_extended_parameters_refuse_a_buffer_that_is_too_small() -> None:
    pc = machine(hard_disk())
    pc.poke(0x5000, (25).to_bytes(2, "little"))
    pc.interrupt(0x13, ah=0x48, dl=0x80, ds=0x500, si=0)
    assert pc.carry


def test_a_cd_is_read_in_sectors_of_2048_bytes() -> None:
    pc = machine(Drive(DriveKind.CD, Medium(bytes(2048) + b"CD" + bytes(4094), read_only=True)))
    pc.poke(0x5000, packet(1, 0x2000, 0, 1))
    pc.interrupt(0x13, ah=0x42, dl=0xE0, ds=0x500, si=0)
    assert not pc.carry
    assert pc.host.ram[0x20000:0x20002] == b"CD"


def test_formatting_fills_one_track_with_the_tables_byte() -> None:
    drive = floppy()
    pc = machine(drive)
    pc.interrupt(0x13, ax=0x0512, dl=0, ch=2, dh=1, es=0x1000, bx=0)
    assert not pc.carry
    assert isinstance(drive.disk, Medium)
    track = 18 * 512
    assert drive.disk.data[5 * track : 6 * track] == b"\xf6" * track
    assert drive.disk.data[6 * track : 6 * track + 4] == (6 * 18).to_bytes(4, "little")


def test_int_40h_serves_floppies_only() -> None:
    pc = machine(floppy(), hard_disk())
    pc.interrupt(0x40, ax=0x0201, dl=0, es=0x1000, bx=0, **chs(0, 0, 1))
    assert not pc.carry
    pc.interrupt(0x40, ax=0x0201, dl=0x80, es=0x1000, bx=0, **chs(0, 0, 1))
    assert pc.carry


def partition(heads: int, sectors: int, start: int, length: int) -> bytes:
    def triple(lba: int) -> bytes:
        cylinder, rest = divmod(lba, heads * sectors)
        head, sector = divmod(rest, sectors)
        return bytes((head, cylinder >> 2 & 0xC0 | sector + 1, cylinder & 0xFF))

    entry = b"\x80" + triple(start) + b"\x83" + triple(start + length - 1)
    entry += start.to_bytes(4, "little") + length.to_bytes(4, "little")
    return bytes(0x1BE) + entry + bytes(48) + b"\x55\xaa"


def test_the_partition_table_decides_the_geometry() -> None:
    sector = partition(32, 32, 32, 32 * 32 * 10 - 32)
    assert hard_disk_geometry(32 * 32 * 512 * 10, sector) == Geometry(10, 32, 32)


@pytest.mark.parametrize(("mib", "heads"), [(10, 16), (600, 32), (3000, 128), (20000, 255)])
def test_without_partitions_heads_grow_until_1024_cylinders_do(mib: int, heads: int) -> None:
    geometry = hard_disk_geometry(mib << 20, bytes(512))
    assert geometry.heads == heads
    assert 1 <= geometry.cylinders <= 1024
    assert geometry.sectors == 63


def test_a_partition_table_of_any_content_gives_a_geometry_that_int_13h_can_say() -> None:
    rng = random.Random(3)
    for _ in range(200):
        sector = bytearray(512)
        for at in range(0x1BE, 0x1FE):
            sector[at] = rng.choice((0, 0, 1, 0x80, 0xFE, 0xFF, rng.getrandbits(8)))
        sector[510:512] = b"\x55\xaa"
        whole = bytes(sector)[: rng.choice((512, 512, rng.randrange(512)))]
        found = hard_disk_geometry(rng.choice((1, 512, 10 << 20, 8 << 30, rng.getrandbits(50))), whole)
        assert 2 <= found.cylinders <= 1024 and 1 <= found.heads <= 255 and 1 <= found.sectors <= 63


def test_a_floppy_of_an_unusual_size_has_the_geometry_that_dos_gave_it() -> None:
    sector = bytearray(512)
    sector[0x0B:0x0D], sector[0x18], sector[0x1A] = (512).to_bytes(2, "little"), 20, 2
    sector[0x13:0x15] = (80 * 40).to_bytes(2, "little")
    assert floppy_format(80 * 40 * 512, bytes(sector)) == (Geometry(80, 2, 20), 4)
    assert floppy_format(80 * 40 * 512 - 512, bytes(sector))[0] == Geometry(80, 2, 36), "the size does not fit"
    rng = random.Random(5)
    for _ in range(300):
        found, kind = floppy_format(rng.randrange(1 << 22), rng.randbytes(rng.choice((0, 512))))
        assert 1 <= found.cylinders <= 83 and found.heads in (1, 2) and 1 <= found.sectors <= 40 and 1 <= kind <= 5


class Changing:
    """A floppy drive whose medium comes and goes."""

    def __init__(self, disk) -> None:
        self.disk = disk
        self.changed = True

    def see(self) -> None:
        self.changed = self.disk is None


def test_a_changed_floppy_is_an_error_once() -> None:
    unit = Changing(floppy().disk)
    pc = machine(Drive(DriveKind.FLOPPY, None, unit))
    read = {"ax": 0x0201, "dl": 0, "es": 0x1000, "bx": 0, **chs(0, 0, 1)}
    pc.interrupt(0x13, **read)
    assert not pc.carry, "power-on is no change"
    unit.disk, unit.changed = floppy().disk, True
    pc.interrupt(0x13, ax=0x1600, dl=0)
    assert (pc.carry, pc.ah) == (True, 0x06)
    pc.interrupt(0x13, **read)
    assert (pc.carry, pc.ah, pc.al) == (True, 0x06, 0)
    pc.interrupt(0x13, **read)
    assert not pc.carry
    pc.interrupt(0x13, ax=0x1600, dl=0)
    assert (pc.carry, pc.ah) == (False, 0)
    unit.disk, unit.changed = None, True
    pc.interrupt(0x13, **read)
    assert (pc.carry, pc.ah) == (True, 0x80)
