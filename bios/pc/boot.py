"""INT 18h and 19h: finding something to boot.

A prepared kernel (`Host.direct_boot`) comes first; else the boot order's devices are tried one after another. INT 18h
is what a boot sector calls when it gives up: the next device is tried.
"""

from __future__ import annotations

from bios.pc.cdrom import find_image, load_image
from bios.pc.disk import SECTOR, drives, read_bytes
from bios.pc.host import Action, Drive, DriveKind
from bios.pc.option_rom import enter_bev
from bios.pc.service import Call, service
from bios.pc.video import Screen
from bios.plan import LoadPlan

BOOT_ADDRESS = 0x7C00
SIGNATURE = b"\x55\xaa"
_DEVICES = {
    "a": (DriveKind.FLOPPY, 0x00, "floppy"),
    "c": (DriveKind.HD, 0x80, "hard disk"),
    "d": (DriveKind.CD, 0xE0, "CD-ROM"),
}


@service(0x19)
def bootstrap(call: Call) -> Action | None:
    """Boot from the first device of the boot order that can."""
    if call.resumed:
        return Action.WAIT
    plan = call.host.direct_boot
    if plan is not None:
        apply_plan(call, plan)
        return None
    bevs = "".join(str(n) for n in range(len(call.bios.rom_bevs)))
    call.bios.boot_rest = call.host.boot_order.replace("n", bevs)
    return _boot_next(call)


@service(0x18)
def boot_failed(call: Call) -> Action | None:
    """The operating system's loader has returned: try the next device."""
    if call.resumed:
        return Action.WAIT
    return _boot_next(call)


def _boot_next(call: Call) -> Action | None:
    while call.bios.boot_rest:
        letter, call.bios.boot_rest = call.bios.boot_rest[0], call.bios.boot_rest[1:]
        if letter.isdigit() and int(letter) < len(call.bios.rom_bevs):
            Screen(call.host).write("Booting from network...\r\n")
            enter_bev(call, int(letter))
            return None
        device = _DEVICES.get(letter)
        if device is not None and _try(call, *device):
            return None
    Screen(call.host).write("\r\nNo bootable device.\r\n")
    call.host.log("BIOS: no bootable device")
    return Action.WAIT


def _try(call: Call, kind: DriveKind, number: int, name: str) -> bool:
    found = drives(call.bios, kind)
    if not found or found[0].disk is None:
        return False
    if kind is DriveKind.CD:
        return _try_cd(call, found[0], name)
    sector = read_bytes(call.host, found[0], 0, SECTOR)
    if sector is None:
        return False
    # Floppies of the PC's first years have no signature; an empty sector is no boot sector in any case.
    if not any(sector) or (kind is DriveKind.HD and sector[510:512] != SIGNATURE):
        call.bios.log_once(f"BIOS: the first {name} has no boot sector")
        return False
    Screen(call.host).write(f"Booting from {name}...\r\n")
    call.host.write_phys(BOOT_ADDRESS, sector)
    enter_real_mode(call, 0x0000, BOOT_ADDRESS, number)
    return True


def _try_cd(call: Call, drive: Drive, name: str) -> bool:
    image = find_image(call.host, drive)
    if image is None:
        call.bios.log_once(f"BIOS: the first {name} has no boot image")
        return False
    Screen(call.host).write(f"Booting from {name}...\r\n")
    if not load_image(call, drive, image):
        return False
    enter_real_mode(call, image.segment & 0xF000, (image.segment & 0x0FFF) << 4, image.drive)
    return True


def enter_real_mode(call: Call, segment: int, offset: int, drive: int) -> None:
    """The state a boot sector starts in: DL = drive, flat low stack, interrupts on."""
    for name in ("eax", "ebx", "ecx", "esi", "edi", "ebp"):
        call.host.set_reg(name, 0)
    call.edx = drive
    for name in ("ds", "es", "fs", "gs", "ss"):
        call.host.set_reg(name, 0)
    call.esp = BOOT_ADDRESS
    call.host.set_reg("eflags", 0x202)
    call.cs, call.eip = segment, offset


def apply_plan(call: Call, plan: LoadPlan) -> None:
    """Place a prepared kernel in memory and set the CPU to its entry state."""
    for start, size in plan.zeros:
        for at in range(start, start + size, 0x100000):
            call.host.write_phys(at, bytes(min(0x100000, start + size - at)))
    for address, data in plan.segments:
        call.host.write_phys(address, data)
    for name, value in plan.registers:
        call.host.set_reg(name, value)
