"""What the PowerPC boards share: flat memory, serial ports, and how a kernel or a firmware file gets started."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bios.fdt import Tree
from bios.initrd import check as check_initrd
from bios.plan import ImageError, LoadPlan
from bios.ppc import load, trees
from bios.ppc.load import Registers
from cores.ppc import models
from devices.irq import IrqRouter
from devices.rtc_mc146818 import days_from_civil
from devices.uart16550 import Uart16550
from devices.virtio.mmio import VirtioMmio
from emu.bus import Bus
from emu.clock import Clock
from emu.machine import Machine
from emu.media import read_file
from emu.memory import Dma, GuestRam
from emu.options import DEVICES, ShowAndExit, UsageError, plain_path, shown
from emu.plug import PciBoard, plug_in, windowed

if TYPE_CHECKING:
    from devices.contracts import Line
    from devices.device import Device
    from devices.fsl_pci import FslPci
    from devices.ppc4xx_pci import Pci440Ep, Pci460Ex
    from devices.virtio.device import VirtioDevice
    from emu.boards import Date, Setup
    from emu.cpu import EmbeddedCpu

SPACE = 1 << 36
FILE_LIMIT = 3584 << 20
SERIAL_RETRY = 100_000  # ns: about one character at 115200 baud
FIRMWARE_PLACES = ("/usr/lib/u-boot/qemu-ppce500", "/usr/share/qemu")


@dataclass
class Parts:
    """A machine and its processor, which has more pins than `Machine.cpu` says."""

    machine: Machine
    cpu: EmbeddedCpu
    mmio: list[tuple[int, MmioPlace]] = field(default_factory=list)
    """The virtio-mmio slots in use."""

    @property
    def bus(self) -> Bus:
        return self.machine.bus


def start(setup: Setup, name: str, *, most: int) -> Parts:
    """Processor, memory, bus and clock. `most` is the RAM a board can have, in MiB. Raises UsageError."""
    config = setup.config
    if config.memory > most << 20:
        raise UsageError(f"-m: -M {name} takes at most {most} MiB, found {config.memory >> 20} MiB")
    refuse_pc_parts(setup, name)
    try:
        ram = GuestRam(config.memory, flat=True)
    except (OSError, MemoryError):
        raise UsageError(f"-m: the host has no room for {config.memory >> 20} MiB") from None
    bus = Bus(ram, space=SPACE, big_endian=True)
    cpu: EmbeddedCpu = setup.processor(bus, ram)
    clock = Clock(cpu)
    cpu.attach_clock(clock)
    m = Machine(cpu=cpu, bus=bus, ram=ram, clock=clock, name=name)
    m.pc_name = "pc"
    m.shutdown_name, m.shutdown_restarts = "checkstop", False
    m.masked = lambda: not cpu.interruptible
    m.stuck = lambda: cpu.stuck
    return Parts(m, cpu)


def refuse_pc_parts(setup: Setup, name: str) -> None:
    """Devices and disks that need a bus this board has not. Raises UsageError; disks are only warned of."""
    config = setup.config
    ide = any(device == "piix3-ide" for device, _ in config.devices)
    for device, _ in config.devices:
        if device in DEVICES and not (ide and device.startswith("ide-")):
            raise UsageError(f"-device {device}: -M {name} has no bus for it")
    if any(medium.drive.interface == "ide" for medium in setup.media) and not ide:
        config.warn(f"-M {name}: has no disk controller; -device piix3-ide adds one; disks are not attached")
    if any(medium.drive.interface == "floppy" for medium in setup.media):
        config.warn(f"-M {name}: has no floppy controller; floppies are not attached")
    if config.debugcon is not None:
        config.warn(f"-M {name}: has no debug console; -debugcon is ignored")
    if config.fw_cfg:
        config.warn(f"-M {name}: has no firmware configuration device; -fw_cfg is ignored")


def machine_check_where_nobody_answers(parts: Parts, quiet: Iterable[tuple[int, int]]) -> None:
    """A bus error for accesses outside the `quiet` (start, size) ranges, in which PCI answers with all ones."""
    ranges = [(start, start + size) for start, size in quiet]

    def missing(address: int, width: int) -> None:
        if not any(low <= address < high for low, high in ranges):
            parts.cpu.machine_check()

    parts.bus.on_missing = missing


def serial(parts: Parts, setup: Setup, index: int, base: int, size: int, line: Callable[[], Line]) -> bool:
    """Serial port `index` at a physical address, if the command line wants it; `line` makes its interrupt."""
    console = setup.serial[index] if index < len(setup.serial) else None
    if console is None:
        return False
    m = parts.machine
    uart = Uart16550(clock=m.clock, irq=line(), console=console)
    m.bus.map_mmio(base, min(size, 8), uart.read, uart.write, max_width=1, name=f"serial{index}")
    m.devices[f"serial{index}"] = uart
    m.inputs.channel(f"serial{index}", uart.receive, retry=SERIAL_RETRY)
    if index == 0:
        m.send_break = uart.receive_break
    return True


MMIO_SLOTS = 8
MMIO_STEP = 0x200


@dataclass(frozen=True)
class MmioPlace:
    """Where a board has its virtio-mmio slots: a free place in its map, a bus whose devices kernels look for, on which
    the place is at `at`, and a free input of an interrupt controller. Bus and controller are named by "compatible"."""

    base: int
    bus: str
    at: int
    line: Line
    controller: str
    interrupts: tuple[int, int]


def _mmio_slots(parts: Parts, place: MmioPlace) -> Callable[[VirtioDevice, bool], Device]:
    """Maps one virtio device after another; all share the interrupt."""
    m = parts.machine
    router = IrqRouter([[place.line]])

    def add(device: VirtioDevice, legacy: bool) -> Device:
        if len(parts.mmio) == MMIO_SLOTS:
            raise UsageError(f"-device: all {MMIO_SLOTS} virtio-mmio slots are taken")
        m.devices.setdefault("mmio-irq", router)
        base = place.base + MMIO_STEP * len(parts.mmio)
        made = VirtioMmio(device=device, irq=router.source(0), legacy=legacy)
        m.bus.map_mmio(base, MMIO_STEP, made.read, made.write, name=f"{device.name} registers", swap=True)
        parts.mmio.append((base, place))
        return made

    return add


def _mmio_nodes(parts: Parts, tree: Tree) -> None:
    """The nodes of the slots in use, for drivers that look for "virtio,mmio"."""
    for base, place in parts.mmio:
        nodes = {name: node for node in reversed(list(tree.root.walk())) for name in node.texts("compatible")}
        bus, controller = nodes.get(place.bus), nodes.get(place.controller)
        if bus is None or controller is None:
            continue
        at = place.at + base - place.base
        node = bus.node(f"virtio_mmio@{at:x}", compatible="virtio,mmio")
        node.reg((at, MMIO_STEP))
        node.set("interrupt-parent", [controller])
        node.set("interrupts", list(place.interrupts))


def pci_slots(
    parts: Parts,
    setup: Setup,
    host: FslPci | Pci440Ep | Pci460Ex,
    slots: Sequence[int],
    irq: Callable[[int, int], Line],
    mmio: MmioPlace,
    message: Callable[[int, int], None] | None = None,
) -> None:
    """Plug in what the command line wants on the PCI bus. `irq` is called with (slot, pin). Raises UsageError."""
    m = parts.machine
    board = PciBoard(
        bus=host,
        slots=slots,
        irq=irq,
        range=windowed(m.bus, host),
        memory=host.inbound,
        physical=Dma(m.ram),
        big_endian=True,
        message=message,
        mmio=_mmio_slots(parts, mmio),
    )
    plug_in(m, setup, board)


def unix_seconds(date: Date) -> int:
    """A calendar date as seconds since 1970."""
    year, month, day, hour, minute, second = date
    return ((days_from_civil(year, month, day) * 24 + hour) * 60 + minute) * 60 + second


# -- starting


@dataclass(frozen=True)
class Firmware:
    """How a board starts: its own device tree, the clocks to fill into another, and the state of entry.

    `enter` is called with (entry, address of the tree, end of all that was loaded). `floor` keeps what goes with a
    firmware file of -bios (kernel, initrd, tree) away from where it lies; 0 means the board cannot run one.
    """

    tree: Tree
    clocks: dict[str, int]
    enter: Callable[[int, int, int], Registers]
    floor: int = 0


def boot(parts: Parts, setup: Setup, firmware: Firmware) -> None:
    """Load what the command line names, on every reset, and enter it; or write the device tree and stop.

    Raises UsageError, and ShowAndExit after -machine dumpdtb=.
    """
    m, config = parts.machine, setup.config
    _mmio_nodes(parts, firmware.tree)
    plan = _plan(setup, firmware, m.ram.size, m.name)
    if config.dump_dtb is not None:
        _write(config.dump_dtb, plan.segments[-1][1])
        raise ShowAndExit(f"{plain_path(config.dump_dtb)}: device tree written")
    m.on_reset += [device.reset for device in m.devices.values()]
    values = models.boot_values(models.model(config.cpu))

    def enter() -> None:
        for address, size in plan.zeros:
            m.ram.load(address, bytes(size))
        for address, data in plan.segments:
            m.ram.load(address, data)
        parts.cpu.load_values(values)
        for name, value in plan.registers:
            m.cpu.set_reg(name, value)

    m.on_reset.append(enter)


def _plan(setup: Setup, firmware: Firmware, ram_size: int, name: str) -> LoadPlan:
    config = setup.config
    try:
        tree = firmware.tree
        given = None if config.dtb is None else read_file(config.dtb, "a device tree", FILE_LIMIT)
        kernel = initrd = None
        path = config.bios if config.bios is not None else config.kernel
        if path is not None:
            path = _found(path) if config.bios is not None else path
            data = read_file(path, "firmware" if config.bios is not None else "a kernel", FILE_LIMIT)
            kernel = load.load_kernel(path, data, ram_size)
        elif config.dump_dtb is None:
            more = " or -bios" if firmware.floor else ""
            raise UsageError(f"-M {name}: expected -kernel{more}; the board has no firmware of its own")
        if config.bios is not None and not firmware.floor:
            raise UsageError(f"-bios: -M {name} takes -kernel only")
        if given is None and kernel is not None and kernel.tree is not None:
            given, where = kernel.tree, f"{path}, its device tree"
        else:
            where = config.dtb or ""
        if given is not None:
            tree = load.read_tree(where, given)
        trees.clocks(tree, firmware.clocks)
        if config.initrd is not None:
            file = read_file(config.initrd, "an initial RAM disk", FILE_LIMIT)
            initrd = load.initrd_content(config.initrd, file)
            if kernel is not None and load.is_linux_itself(kernel):
                check_initrd(config.initrd, initrd)
        payload = None
        if config.bios is not None and config.kernel is not None:
            payload = read_file(config.kernel, "a kernel", FILE_LIMIT)
        if kernel is None:
            kernel = load.Kernel("none", 0, (), (), 0)
        stdout = next(iter(firmware.tree.root.node("aliases").texts("serial0")), None)
        plan = load.Boot(
            kernel, tree, ram_size, firmware.enter, initrd, config.append, stdout,
            firmware.floor if config.bios is not None else 0, payload,
        )  # fmt: skip
        return load.boot_plan(path or name, plan)
    except ImageError as error:
        raise UsageError(shown(str(error), 500)) from None


def _found(path: str) -> str:
    """A firmware file: as given, or by its name where distributions keep it."""
    if os.sep not in path and not os.path.exists(path):
        for place in FIRMWARE_PLACES:
            for name in (path, "uboot.elf") if path in ("u-boot", "u-boot.e500") else (path,):
                if os.path.isfile(os.path.join(place, name)):
                    return os.path.join(place, name)
    return path


def _write(path: str, data: bytes) -> None:
    try:
        with open(path, "wb") as file:
            file.write(data)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise UsageError(f"{shown(path)}: expected a file to write the device tree to: {reason}") from None
