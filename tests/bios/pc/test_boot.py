from __future__ import annotations

from bios.pc.host import Action, Drive, DriveKind
from bios.plan import LoadPlan
from tests.bios.fake_host import FakeHost, Machine, Medium


def bootable(text: bytes, size: int = 1440 << 10) -> Medium:
    return Medium(text.ljust(510, b"\0") + b"\x55\xaa" + bytes(size - 512))


def test_the_boot_sector_of_the_floppy_is_entered_at_7c00() -> None:
    pc = Machine(FakeHost(disks=[Drive(DriveKind.FLOPPY, bootable(b"boot"))]))
    assert pc.interrupt(0x19) is Action.CONTINUE
    assert pc.host.ram[0x7C00:0x7C04] == b"boot"
    assert (pc.cs, pc.eip, pc.dl) == (0, 0x7C00, 0)
    assert pc.host.reg("eflags") & 0x200


def test_the_boot_order_decides() -> None:
    host = FakeHost(disks=[Drive(DriveKind.FLOPPY, bootable(b"A")), Drive(DriveKind.HD, bootable(b"C"))])
    host.boot_order = "ca"
    pc = Machine(host)
    pc.interrupt(0x19)
    assert (pc.host.ram[0x7C00], pc.dl) == (ord("C"), 0x80)


def test_a_hard_disk_without_signature_is_passed_over() -> None:
    host = FakeHost(disks=[Drive(DriveKind.HD, Medium(b"x" * 5120)), Drive(DriveKind.FLOPPY, bootable(b"A"))])
    host.boot_order = "ca"
    pc = Machine(host)
    pc.interrupt(0x19)
    assert pc.host.ram[0x7C00] == ord("A")


def test_a_floppy_without_signature_still_boots() -> None:
    pc = Machine(FakeHost(disks=[Drive(DriveKind.FLOPPY, Medium(b"\xeb\xfe" + bytes(160 * 1024 - 2)))]))
    pc.interrupt(0x19)
    assert (pc.cs, pc.eip) == (0, 0x7C00)


def test_int_18h_tries_the_next_device() -> None:
    host = FakeHost(disks=[Drive(DriveKind.FLOPPY, bootable(b"A")), Drive(DriveKind.HD, bootable(b"C"))])
    pc = Machine(host)
    pc.interrupt(0x19)
    assert pc.host.ram[0x7C00] == ord("A")
    pc.interrupt(0x18)
    assert pc.host.ram[0x7C00] == ord("C")


def test_nothing_bootable_is_said_on_the_screen_and_waited_for() -> None:
    pc = Machine()
    assert pc.interrupt(0x19) is Action.WAIT
    assert any("No bootable device" in pc.screen(row) for row in range(25))
    assert pc.interrupt(0x19, resumed=True) is Action.WAIT


def test_a_broken_disk_is_passed_over() -> None:
    medium = bootable(b"A")
    medium.broken = True
    pc = Machine(FakeHost(disks=[Drive(DriveKind.FLOPPY, medium)]))
    assert pc.interrupt(0x19) is Action.WAIT


def test_an_empty_drive_is_passed_over() -> None:
    pc = Machine(FakeHost(disks=[Drive(DriveKind.FLOPPY, None), Drive(DriveKind.CD, None)]))
    assert pc.interrupt(0x19) is Action.WAIT


def test_a_prepared_kernel_comes_before_every_disk() -> None:
    host = FakeHost(disks=[Drive(DriveKind.FLOPPY, bootable(b"A"))])
    host.direct_boot = LoadPlan(
        "flat", 0x9000, ((0x9000, b"kernel"),), ((0x9100, 0x10),), (("eax", 7), ("cs", 0x900), ("eip", 0))
    )
    pc = Machine(host)
    pc.poke(0x9100, b"\xff" * 0x20)
    pc.interrupt(0x19)
    assert pc.host.ram[0x9000:0x9006] == b"kernel"
    assert pc.host.ram[0x9100:0x9120] == bytes(0x10) + b"\xff" * 0x10
    assert (pc.host.reg("eax"), pc.cs) == (7, 0x900)
    assert pc.screen(0) == ""
