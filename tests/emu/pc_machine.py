"""A whole PC in the process, with every device that a command line can give it, for the reliability tests."""

from __future__ import annotations

from pathlib import Path

from devices.backends import MemoryDisk
from emu.boards import Setup, board
from emu.machine import Machine
from emu.media import Medium
from emu.options import Drive, parse

DISK_BYTES = 4 << 20
EVERYTHING = (
    *("-device", "isa-debug-exit,iobase=0xf4,iosize=4"),
    *("-device", "isa-debugcon,iobase=0x402,chardev=c"),
    *("-chardev", "null,id=c", "-m", "8"),
)


class Sink:
    """A console that counts."""

    def __init__(self) -> None:
        self.count = 0

    def send(self, data: bytes) -> None:
        self.count += len(data)


def full_pc(*words: str, disk: object = None) -> Machine:
    """A PC on the compiled tier with two serial ports, debug ports, a disk, a CD and an empty CD drive; not yet run."""
    config = parse([*EVERYTHING, *words])
    setup = Setup(config, serial=[Sink(), Sink()], debugcon=Sink(), consoles={"c": Sink()})
    image = MemoryDisk(bytes(DISK_BYTES)) if disk is None else disk
    setup.media = [
        Medium(Drive("disk", "ide", 0), image),  # type: ignore[arg-type]
        Medium(Drive("cd", "ide", 2, media="cdrom", read_only=True), MemoryDisk(bytes(1 << 20), read_only=True)),
        Medium(Drive(None, "ide", 3, media="cdrom", read_only=True), None),
    ]
    machine = board("pc")(setup)
    machine.power_on()
    return machine


def boot_image(folder: Path, code: bytes, sectors: int = 1) -> str:
    """A disk image that starts with `code`."""
    image = folder / "disk.img"
    image.write_bytes(code.ljust(510, b"\0") + b"\x55\xaa" + bytes(512 * (sectors - 1)))
    return str(image)


def run_code(machine: Machine, code: bytes, count: int, **registers: int) -> None:
    """Let the processor run `count` instructions of 16-bit code at 0:1000, interrupts off."""
    machine.ram.load(0x1000, code)
    cpu = machine.cpu
    for name in ("cs", "ds", "es", "ss"):
        cpu.set_reg(name, 0)
    cpu.set_reg("eflags", 2)
    cpu.set_reg("eip", 0x1000)
    cpu.set_reg("esp", 0x8000)
    for name, value in registers.items():
        cpu.set_reg(name, value)
    machine.step(count)
