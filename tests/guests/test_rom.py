"""-bios: ROM images of any size at both tops of memory, and Debian's SeaBIOS down to a boot sector."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.guests.command import emu, ended_well, guest, package

EXIT = ("-device", "isa-debug-exit,iobase=0xf4,iosize=0x4")
SEABIOS = "/usr/share/seabios/"
SECTOR = bytes.fromhex("b84f0e cd10 b84b0e cd10 b010 e6f4 ebfe")  # "OK" by int 10h; mov al,10h; out 0f4h,al; jmp $

pytestmark = pytest.mark.guest


def rom(size: int) -> bytes:
    """A ROM that copies a mark from its first bytes to the debug console, and its size in KiB to the exit port.

    It starts at FFFFFFF0h, enters protected mode in its last 64 bytes, and reads its first bytes below 4 GiB.
    """
    top = 1 << 32
    code = bytearray(0x80)
    base = 0xFF80  # offset of this block in the last 64 KiB
    table = bytes(8) + bytes.fromhex("ffff0000009acf00 ffff00000092cf00")
    start = bytes.fromhex("fa 2e 66 0f0116") + (base + 0x60).to_bytes(2, "little")  # cli; lgdt cs:[pointer]
    start += bytes.fromhex("0f20c0 0c01 0f22c0")  # mov eax,cr0; or al,1; mov cr0,eax
    start += b"\x66\xea" + (top - 0x80 + 0x20).to_bytes(4, "little") + b"\x08\x00"  # jmp 8:protected
    code[: len(start)] = start
    protected = bytes.fromhex("66b81000 8ed8 be") + (top - size).to_bytes(4, "little")  # ds = 16; esi = ROM
    protected += bytes.fromhex("b904000000 ac e6e9 e2fb")  # 4 bytes to port e9h
    protected += bytes.fromhex("b010 e6f4 ebfe")  # leave with 33
    code[0x20 : 0x20 + len(protected)] = protected
    code[0x48 : 0x48 + len(table)] = table
    code[0x60:0x66] = (0x17).to_bytes(2, "little") + (top - 0x80 + 0x48).to_bytes(4, "little")
    code[0x70:0x73] = b"\xe9" + (base - (0xFFF0 + 3) & 0xFFFF).to_bytes(2, "little")  # jmp start
    image = bytearray(b"\xf4" * size)
    image[-0x80:] = code
    image[:4] = b"ROM\n"
    return bytes(image)


@pytest.mark.parametrize("size", [0x200, 0x10000, 0x20000, 0x40000, 0x100000, 0x12345, 0x30000, 3 << 20])
def test_a_rom_of_any_size_starts_at_the_reset_vector_and_sees_its_first_byte(size: int, tmp_path: Path) -> None:
    image = tmp_path / "rom.bin"
    image.write_bytes(rom(size))
    result = emu("-bios", str(image), "-debugcon", "stdio", "-display", "none", "-m", "16", *EXIT, compat=True)
    ended_well(result, 33)
    assert result.stdout == b"ROM\n"


@pytest.mark.parametrize("name", ["bios.bin", "bios-256k.bin"])
def test_seabios_starts_a_boot_sector(name: str, tmp_path: Path) -> None:
    bios = package(SEABIOS + name, "seabios")
    disk = tmp_path / "disk.img"
    disk.write_bytes(SECTOR.ljust(510, b"\0") + b"\x55\xaa" + bytes(1 << 20))
    log = tmp_path / "log"
    result = emu(
        *("-bios", bios, "-m", "64", "-hda", str(disk), "-snapshot", *EXIT, "--dump-screen"),
        *("-fw_cfg", f"name=vgaroms/vgabios.bin,file={package(SEABIOS + 'vgabios-isavga.bin', 'seabios')}"),
        *("-chardev", f"file,id=log,path={log}", "-device", "isa-debugcon,iobase=0x402,chardev=log"),
        compat=True,
    )
    ended_well(result, 33)
    seen = log.read_text()
    for text in (
        "Found QEMU fw_cfg",
        "qemu/e820: addr 0x0000000000000000 len 0x0000000004000000 [RAM]",
        "Copying MPTABLE",
        "ata0-0: Emu hard disk",
        "Booting from 0000:7c00",
    ):
        assert text in seen, seen
    assert b"Booting from Hard Disk..." in result.stdout
    assert b"\nOK" in result.stdout


def test_seabios_is_told_of_its_menu_and_of_trying_again(tmp_path: Path) -> None:
    bios = package(SEABIOS + "bios-256k.bin", "seabios")
    log = tmp_path / "log"
    result = emu(
        *("-bios", bios, "-m", "64", "-display", "none", "-boot", "menu=on,splash-time=100,reboot-timeout=2000"),
        *("-chardev", f"file,id=log,path={log}", "-device", "isa-debugcon,iobase=0x402,chardev=log", "-no-reboot"),
        compat=True,
    )
    ended_well(result)
    seen = log.read_text()
    for text in ("Press ESC for boot menu", "No bootable device.  Retrying in 2 seconds.", "Rebooting."):
        assert text in seen, seen


def test_a_firmware_that_loads_kernels_by_itself_boots_linux_of_the_command_line() -> None:
    qboot = package("/usr/share/qemu/qboot.rom", "qemu-system-data")
    kernel, initrd = guest("linux-i386", "bzImage"), guest("linux-i386", "initrd.gz")
    words = ("-bios", qboot, "-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0", "-m", "128")
    result = emu(*words, "-nographic", "--expect", "GUEST-READY", timeout=600)
    assert result.returncode == 0, result.stderr[-2000:]
    assert b"command line: console=ttyS0" in result.stdout


def test_a_firmware_is_given_no_other_kernels(tmp_path: Path) -> None:
    (tmp_path / "rom").write_bytes(rom(0x10000))
    (tmp_path / "flat").write_bytes(b"\xeb\xfe" + bytes(510))
    result = emu("-bios", str(tmp_path / "rom"), "-kernel", str(tmp_path / "flat"))
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
