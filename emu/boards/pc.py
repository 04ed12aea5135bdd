"""The PC: i440FX and PIIX3, one processor.

Memory                                          Ports
  00000000  RAM, 640 KiB                          0000  DMA controller 1        0170  IDE channel 2
  000a0000  VGA memory, 128 KiB                   0020  interrupt controller 1  01f0  IDE channel 1
  000c0000  option ROMs                           0040  timer                   02f8  serial port 2
  000e0000  firmware, 128 KiB                     0060  keyboard controller     0376  IDE channel 2, control
  00100000  RAM up to -m                          0061  speaker, timer gate     03b0  VGA registers
  fec00000  I/O APIC                              0070  clock chip, CMOS        03f0  floppy controller, 03f7
  fee00000  local APIC                            0080  DMA pages (POST code)   03f8  serial port 1
  ffff0000  firmware again (-bios: all of it)     0092  A20, fast reset         04d0  edge/level control
                                                  00a0  interrupt controller 2  0510  firmware configuration
  fed00000  event timers (HPET)                   00c0  DMA controller 2        0cf8  PCI configuration
                                                  00e4  hook of our firmware    b000  ACPI power management
                                                  01ce  display interface       03f6  IDE channel 1, control
Interrupts
  0 timer  1 keyboard  2 cascade (I/O APIC: timer)  3 serial 2  4 serial 1  6 floppy  8 clock  9 ACPI  12 mouse
  13 coprocessor  14, 15 IDE

Intel 82441FX and 82371SB data sheets.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from cores.x86.models import cpu_model, cpuid
from devices.acpi_pm import TIMER, TIMER_HZ, TIMER_MASK, AcpiPm
from devices.contracts import Line, NullConsole, Wire
from devices.debug_exit import DebugExit
from devices.debugcon import Debugcon, ShutdownPort
from devices.dma8237 import Dma8237
from devices.hpet import SIZE as HPET_SIZE
from devices.hpet import Hpet
from devices.i8042 import I8042
from devices.ioapic import IoApic
from devices.irq import IrqRouter
from devices.keymap import type_text
from devices.lapic import LOWEST, Lapic
from devices.pc_testdev import LINES, MEMORY, PcTestdev
from devices.pci import I440fx, PciHost, Piix3Ide, Piix3Isa, Piix4Pm
from devices.pic8259 import Pic8259
from devices.piix_ide import BusMaster, channels
from devices.pit8254 import Pit8254
from devices.port92 import Port92
from devices.rtc_mc146818 import RtcMc146818, days_from_civil
from devices.uart16550 import Uart16550
from devices.vga import BANK, Vga
from emu.boards import tables
from emu.boards.boot import bios_drives, boot_letters, show_drives
from emu.boards.floppy import floppy_controller
from emu.boards.ide import ide_drives
from emu.boards.tables import SERIAL_PORTS
from emu.bus import UNIMP, Bus
from emu.clock import Clock
from emu.firmware import BiosHost
from emu.machine import Cause, Machine
from emu.media import read_file, wrong
from emu.memory import FOUR_GIB, Dma, GuestRam, Kind
from emu.options import UsageError, number, shown, split_commas
from emu.plug import PciBoard, flat, movable_ports, plug_in
from emu.plug_vga import plug_vga, video_memory

if TYPE_CHECKING:
    from bios.pc.acpi import Board as AcpiBoard
    from bios.pc.smbios import Words
    from bios.plan import LoadPlan
    from devices.contracts import Console
    from devices.device import Device
    from devices.fw_cfg import FwCfg
    from devices.virtio.device import VirtioDevice
    from emu.boards import Date, Setup
    from emu.bus import Mapping, Read, Write
    from emu.cpu import PcCpu

ROM_LIMIT = 16 << 20
FIRMWARE_TABLES = 1 << 20
"""What a firmware may keep for itself at the end of RAM."""
KERNEL_LIMIT = 3584 << 20
LOW_ROM = 0x20000
LAPIC_ID = 0x20
SHUTDOWN_STATUS, AWOKEN = 0x0F, 0xFE
"""The CMOS byte by which firmware knows that the board was asleep."""
MMIO_BASE, MMIO_IRQS = 0xFEC10000, (5, 7, 6, 10, 11)
"""The virtio-mmio slots. Interrupts below 10 are edge-triggered, so each has one of its own."""
SERIAL_RETRY = 100_000  # ns: about one character at 115200 baud
KEY_INTERVAL = 20_000_000  # ns between two keys that are typed for a person


def pc(setup: Setup) -> Machine:
    """Build a PC. Raises UsageError for files that do not fit it."""
    config = setup.config
    rom = None if config.bios is None else _rom(config.bios)
    video = video_memory(config)
    try:
        ram = GuestRam(config.memory, LOW_ROM // 2 if rom is None else len(rom), extra=video)
    except (OSError, MemoryError):
        raise UsageError(f"-m: the host has no room for {config.memory >> 20} MiB") from None
    bus = Bus(ram)
    cpu: PcCpu = setup.processor(bus, ram)
    clock = Clock(cpu)
    m = Machine(cpu=cpu, bus=bus, ram=ram, clock=clock, name="pc")
    dma_view = Dma(ram)
    restart = Wire(lambda level: m.request_reset() if level else None)
    a20 = Wire(cpu.set_a20)

    # Interrupts: the 8259A pair and the I/O APIC see the same lines; the local APIC passes the pair's INTR on.
    lapic: Lapic | None = None
    ioapic: IoApic | None = None
    intr: Line = Wire(cpu.set_intr)
    if cpu_model(config.cpu).has("apic"):
        lapic = Lapic(clock=clock, intr=intr, nmi=cpu.nmi)
        lapic.show_to(_lapic_page(bus, cpu, lapic))
        cpu.lend_apic(lapic)
        ioapic = IoApic(deliver=lapic.deliver, identity=0)
        lapic.end_of_interrupt = ioapic.end_of_interrupt
        intr = Wire(lapic.set_extint)
        bus.map_mmio(0xFEC00000, 0x1000, ioapic.read, ioapic.write, name="ioapic")
        bus.apic_base = lapic.set_base
        bus.tsc_deadline = lapic.set_deadline
        lapic.deadline_gone = lambda: cpu.set_reg("msr_misc[4]", 0)
    pic = Pic8259(intr=intr)
    bus.acknowledge = pic.acknowledge
    if lapic is not None:
        lapic.extint_vector = pic.acknowledge
        bus.acknowledge = lapic.acknowledge
    bus.map_ports(0x20, 2, pic.read_master, pic.write_master, name="pic master")
    bus.map_ports(0xA0, 2, pic.read_slave, pic.write_slave, name="pic slave")
    bus.map_ports(0x4D0, 2, pic.read_elcr, pic.write_elcr, name="edge/level control")
    irqs = IrqRouter([_inputs(pic, ioapic, irq) for irq in range(16)])

    ferr = irqs.source(13)
    m.on_ferr = lambda: ferr.set(True)
    bus.map_ports(0xF0, 1, lambda offset, width: 0xFF, lambda o, w, value: ferr.set(False), name="coprocessor error")

    # Time. The event timers may take the interrupts of the other two.
    irq0, irq8 = irqs.source(0), irqs.source(8)
    if config.hpet:
        free = {} if ioapic is None else {pin: ioapic.input(pin) for pin in range(16, 24)}
        hpet = m.devices["hpet"] = Hpet(clock=clock, legacy=(irq0, irq8), routes=free)
        irq0, irq8 = hpet.legacy_input(0), hpet.legacy_input(1)
        bus.map_mmio(0xFED00000, HPET_SIZE, hpet.read, hpet.write, name="hpet")
    pit = Pit8254(clock=clock, irq=irq0)
    bus.map_ports(0x40, 4, pit.read, pit.write, name="pit")
    bus.map_ports(0x61, 1, pit.read_port61, pit.write_port61, name="port 61")
    pit.steady61 = lambda value, until: cpu.set_steady_port(0x61, None if bus.watched else value, until)
    acpi = AcpiPm(clock=clock, sci=irqs.source(9), power_off=m.power_off, sleep=m.sleep, woken=m.wake)
    rtc = RtcMc146818(clock=clock, irq=_both(irq8, acpi.clock_input), base=_unix_seconds(setup.date))
    bus.map_ports(0x70, 2, rtc.read, rtc.write, name="rtc")
    rtc.set_memory(ram.size)

    # Keyboard, mouse, A20, reset.
    kbd = I8042(clock=clock, irq_kbd=irqs.source(1), irq_aux=irqs.source(12), a20=a20, reset_line=restart)
    bus.map_ports(0x60, 1, kbd.read_data, kbd.write_data, name="i8042 data")
    bus.map_ports(0x64, 1, kbd.read_status, kbd.write_command, name="i8042 command")
    port92 = Port92(a20=a20, reset_line=restart)
    bus.map_ports(0x92, 1, port92.read, port92.write, name="port 92")

    # DMA; 0x80 takes the POST codes.
    dma = Dma8237(memory=dma_view)
    bus.map_ports(0x00, 16, dma.read_low, dma.write_low, name="dma low")
    bus.map_ports(0x80, 16, dma.read_page, dma.write_page, name="dma pages")
    dma.stored80 = lambda value: cpu.set_steady_port(0x80, None if bus.watched else value, writes=True)
    bus.map_ports(0xC0, 32, dma.read_high, dma.write_high, name="dma high")

    fdc = floppy_controller(m, setup, irqs.source(6), dma)
    bus.map_ports(0x3F0, 6, fdc.read, fdc.write, name="fdc")
    bus.map_ports(0x3F7, 1, fdc.read_input, fdc.write_control, name="fdc input")
    show_drives(rtc, fdc, setup)

    # Serial ports and debug ports.
    for index, (base, irq) in enumerate(SERIAL_PORTS):
        console = setup.serial[index] if index < len(setup.serial) else None
        if console is not None:
            _serial(m, irqs, index, base, irq, console)
    _debug_ports(m, setup)
    if any(name == "pc-testdev" for name, _ in config.devices):
        _testdev(m, [irqs.source(n) if n < 16 and n != 2 else _input(ioapic, n) for n in range(LINES)])
    shutdown = ShutdownPort(shutdown=m.power_off)
    bus.map_ports(0x8900, 1, shutdown.read, shutdown.write, name="shutdown port")

    # PCI: the chip set's functions say where the rest is.
    host = PciHost(reset_line=restart)
    bus.map_ports(0xCF8, 4, host.read_address, host.write_address, max_width=4, name="pci address")
    bus.map_ports(0xCFC, 4, host.read_data, host.write_data, max_width=4, name="pci data")
    bridge = I440fx(shadow=lambda at, size, readable, writable: ram.set_kind(at, size, _shadow(readable, writable)))
    isa = Piix3Isa(irq_source=irqs.source)
    master = BusMaster(primary=irqs.source(14), secondary=irqs.source(15), memory=dma_view, enabled=lambda: ide.masters)
    ide = Piix3Ide(
        mastering=master.enable, bus_master=movable_ports(bus, 16, master.read, master.write, 4, "ide bus master")
    )
    power = Piix4Pm(moved=_pm_ports(bus, cpu, acpi))
    bus.map_ports(0xB2, 2, acpi.read_smi, acpi.write_smi, name="smi")
    bus.map_ports(0xAFE0, 4, acpi.read_gpe, acpi.write_gpe, max_width=4, name="acpi gpe")
    for slot, function, made in ((0, 0, bridge), (1, 0, isa), (1, 1, ide), (1, 3, power)):
        host.add(slot, function, made)
    cards = PciBoard(
        bus=host,
        slots=(*range(3, 32), 2),
        irq=isa.link,
        range=flat(bus),
        memory=dma_view,
        physical=dma_view,
        message=None if lapic is None else partial(_message, lapic),
        vector=None if lapic is None else partial(_vector, lapic),
        lend=partial(_lend, cpu),
        mmio=_mmio_slots(m, setup, irqs),
    )

    # Disks.
    ide_channels = channels(master, clock, ide_drives(m, setup, ""))
    for index, (channel, base, control) in enumerate(zip(ide_channels, (0x1F0, 0x170), (0x3F6, 0x376), strict=True)):
        data = bus.map_ports(base, 8, channel.read, channel.write, max_width=4, name=f"ide{index}")
        data.read_block, data.write_block = channel.read_data_block, channel.write_data_block
        data.room = channel.data_room
        channel.lend_data = partial(_lend_data, bus, cpu, (base, control))
        bus.map_ports(control, 1, channel.read_control, channel.write_control, name=f"ide{index} control")
    disks = (medium.disk for medium in setup.media if medium.disk is not None)
    m.disks += [disk for disk in disks if not any(disk is known for known in m.disks)]

    # Display: text at B8000, chain-4 graphics and banks at A0000 are plain memory while the VGA says so.
    vga = Vga(
        clock=clock,
        text_window=ram.view[0xB8000:0xC0000],
        set_direct=ram.set_direct,
        graphics_window=ram.view[0xA0000:0xB0000],
        set_direct_a000=lambda on: ram.set_kind(0xA0000, 0x10000, Kind.DIRECT if on else Kind.MMIO),
        frame_buffer=ram.view[ram.extra :] if video else None,
        set_bank=partial(_bank, ram),
    )
    bus.map_ports(0x3B0, 0x30, vga.read, vga.write, name="vga")
    bus.map_ports(0x1CE, 4, vga.read_vbe, vga.write_vbe, max_width=2, name="display interface")
    bus.map_mmio(0xA0000, 0x20000, vga.read_memory, vga.write_memory, name="vga memory")
    m.screen = vga.text_screen

    m.devices.update(
        {"pic": pic, "irqs": irqs, "pit": pit, "rtc": rtc, "kbd": kbd, "port92": port92, "dma": dma, "fdc": fdc}
    )
    m.devices.update({"ide0": ide_channels[0], "ide1": ide_channels[1], "vga": vga, "shutdown": shutdown})
    m.devices.update({"pci": host, "i440fx": bridge, "piix3": isa, "ide-pci": ide, "ide-dma": master})
    m.devices.update({"pm": power, "acpi": acpi})
    if video:
        plug_vga(m, setup, cards, vga, _movable_memory(bus, ram, video))
    plug_in(m, setup, cards)
    if lapic is not None and ioapic is not None:
        m.devices.update({"lapic": lapic, "ioapic": ioapic})
    for ports, why in NOT_THERE:
        for port in ports:
            if bus.find("ports", port) is None:
                bus.ignore(range(port, port + 1), why)

    # Firmware configuration, and the firmware itself.
    words = tables.words(config)
    cfg = tables.configuration(setup, dma_view, uuid=words.uuid)
    bus.map_ports(0x510, 2, cfg.read, cfg.write, max_width=2, name="fw_cfg")
    bus.map_ports(0x514, 8, cfg.read_dma, cfg.write_dma, max_width=4, name="fw_cfg dma")
    m.devices["fw_cfg"] = cfg
    # What keeps its state in a sleep: the memory ranges, and with them what firmware has put there, and the picture.
    kept = ("i440fx", "vga")
    m.on_wake.append(lambda: rtc.set_cmos(SHUTDOWN_STATUS, AWOKEN))
    m.on_wake.append(lambda: m.cpu.set_a20(True))
    m.on_wake += [device.reset for name, device in m.devices.items() if name not in kept]
    _keyboard_input(m, kbd, own_bios=rom is None)
    _boot(m, setup, rom, cfg, tables.board(setup, apic=lapic is not None), words)
    return m


def _bank(ram: GuestRam, offset: int | None) -> None:
    """A bank of the frame buffer at A0000, or the VGA's planes again."""
    if offset is None:
        ram.set_kind(0xA0000, BANK, Kind.MMIO, 0xA0000)
    else:
        ram.set_kind(0xA0000, BANK, Kind.DIRECT, ram.extra + offset)


def _movable_memory(bus: Bus, ram: GuestRam, size: int) -> Callable[[int | None], None]:
    """The frame buffer behind its base address register."""
    now: int | None = None

    def move(place: int | None) -> None:
        nonlocal now
        if now is not None:
            ram.take_away(now, size)
            now = None
        if place is not None:
            for other in bus.mappings("memory"):
                if place < other.base + other.size and other.base < place + size:
                    raise ValueError(f"overlaps {other.name} at {other.base:#x}")
            ram.place(place, size, ram.extra)
            now = place

    return move


def _lend(cpu: PcCpu, device: VirtioDevice) -> None:
    """The processor may do the work of a virtio disk or network card."""
    if device.number == 2:
        cpu.lend_disk(device)  # type: ignore[arg-type]
    elif device.number == 1:
        cpu.lend_net(device)  # type: ignore[arg-type]


def _lend_data(bus: Bus, cpu: PcCpu, ports: tuple[int, int], *what: Any) -> Callable[[], tuple[int, bool]] | None:
    """The processor may read a disk's data by itself, unless somebody wants to see it."""
    return None if bus.watched else cpu.lend_data(ports, *what)


def _pm_ports(bus: Bus, cpu: PcCpu, acpi: AcpiPm) -> Callable[[int | None], None]:
    """The power management ports, which a PCI register moves; the processor may read their timer by itself."""
    move = movable_ports(bus, 64, acpi.read, acpi.write, 4, "acpi")
    timer: int | None = None

    def moved(base: int | None) -> None:
        nonlocal timer
        if timer is not None:
            cpu.set_steady_port(timer, None)
        timer = None
        move(base)
        timer = None if base is None else base + TIMER

    def read() -> None:
        if timer is not None and not bus.watched:
            cpu.set_counter_port(timer, TIMER_HZ, TIMER_MASK)

    acpi.timer_read = read
    return moved


def _mmio_slots(m: Machine, setup: Setup, irqs: IrqRouter) -> Callable[[VirtioDevice, bool], Device]:
    """Maps one virtio device after another; the kernel of -kernel is told where, as nothing else on a PC could."""
    free = list(MMIO_IRQS)
    told = "virtio_mmio.device=" in setup.config.append

    def add(device: VirtioDevice, legacy: bool) -> Device:
        from devices.virtio.mmio import SIZE, VirtioMmio

        if not free:
            raise UsageError(f"-device: all {len(MMIO_IRQS)} virtio-mmio slots are taken")
        base, irq = MMIO_BASE + SIZE * (len(MMIO_IRQS) - len(free)), free.pop(0)
        made = VirtioMmio(device=device, irq=irqs.source(irq), legacy=legacy)
        m.bus.map_mmio(base, SIZE, made.read, made.write, name=f"{device.name} registers")
        if setup.config.kernel is not None and not told:
            setup.config.append = f"{setup.config.append} virtio_mmio.device={SIZE}@{base:#x}:{irq}".lstrip()
        return made

    return add


def _message(lapic: Lapic, address: int, value: int) -> None:
    """A PCI function's memory write to FEExxxxxh is an interrupt (Intel SDM volume 3, 10.11). Others are lost."""
    if address >> 20 == 0xFEE:
        lapic.deliver(address >> 12 & 0xFF, bool(address & 4), value >> 8 & 7, value & 0xFF, bool(value & 0x8000))


def _vector(lapic: Lapic, address: int, value: int) -> int | None:
    """The vector that such a message is for the processor, if it is one, edge-triggered."""
    mine = address >> 20 == 0xFEE and lapic.addressed(address >> 12 & 0xFF, bool(address & 4))
    return value & 0xFF if mine and value >> 8 & 7 <= LOWEST and not value & 0x8000 and value & 0xFF >= 16 else None


NOT_THERE = (
    (range(0xF1, 0x100), "coprocessor of a 286"),
    (range(0x278, 0x27B), "parallel port 2"),
    (range(0x2E8, 0x2F0), "serial port 4"),
    (range(0x378, 0x37B), "parallel port 1"),
    (range(0x3E8, 0x3F0), "serial port 3"),
)


def _shadow(readable: bool, writable: bool) -> Kind:
    """PAM bits. What is not readable as RAM shows the ROM, which is in the same bytes."""
    return Kind.RAM if writable else Kind.ROM


def _lapic_page(bus: Bus, cpu: PcCpu, lapic: Lapic) -> Callable[[int, int | None], None]:
    """The local APIC's page, which IA32_APIC_BASE moves; its ID register is read without asking it."""
    now: Mapping | None = None

    def show(base: int, identity: int | None) -> None:
        nonlocal now
        if now is None or now.base != base:
            try:
                moved = bus.map_mmio(base, 0x1000, lapic.read, lapic.write, name="lapic")
            except ValueError as error:
                UNIMP.warning("%s; it stays where it is", error)
            else:
                if now is not None:
                    cpu.set_steady(now.base + LAPIC_ID, None)
                    now.remove()
                now = moved
        if now is not None:
            cpu.set_steady(now.base + LAPIC_ID, identity)

    return show


def _inputs(pic: Pic8259, ioapic: IoApic | None, irq: int) -> list[Line]:
    """Where ISA interrupt `irq` goes. The timer is pin 2 of the I/O APIC."""
    lines = [pic.input(irq)] if irq != 2 else []
    if ioapic is not None and irq != 2:
        lines.append(ioapic.input(2 if irq == 0 else irq))
    return lines


def _unix_seconds(date: Date) -> int:
    year, month, day, hour, minute, second = date
    return ((days_from_civil(year, month, day) * 24 + hour) * 60 + minute) * 60 + second


def _serial(m: Machine, irqs: IrqRouter, index: int, base: int, irq: int, console: Console) -> None:
    uart = Uart16550(clock=m.clock, irq=irqs.source(irq), console=console)
    m.bus.map_ports(base, 8, uart.read, uart.write, name=f"serial{index}")
    m.devices[f"serial{index}"] = uart
    m.inputs.channel(f"serial{index}", uart.receive, retry=SERIAL_RETRY)
    if index == 0:
        m.send_break = uart.receive_break


def _debug_ports(m: Machine, setup: Setup) -> None:
    if setup.debugcon is not None:
        _debugcon(m, "debugcon", 0xE9, setup.debugcon)
    for order, (name, props) in enumerate(setup.config.devices):
        if name == "isa-debugcon":
            console = setup.consoles.get(props.get("chardev", ""))
            port = number(props.get("iobase", "0xe9"), "isa-debugcon iobase", 0, 0xFFFF)
            _debugcon(m, f"isa-debugcon{order}", port, console or NullConsole())
        elif name == "isa-debug-exit":
            _debug_exit(m, f"isa-debug-exit{order}", props)


def _testdev(m: Machine, lines: list[Line]) -> None:
    """Not its port E4h, where a suite asks for a page to be mapped anew: our firmware has it, and there is no need."""
    device = m.devices["pc-testdev"] = PcTestdev(lines=lines)
    _map(m, 0xE0, 4, device.read_wide, device.write_wide, 4, "pc-testdev")
    _map(m, 0xE8, 4, device.read_narrow, device.write_narrow, 1, "pc-testdev bytes")
    _map(m, 0x2000, LINES, device.read_line, device.write_line, 1, "pc-testdev lines")
    m.bus.map_mmio(0xFF000000, MEMORY, device.read_memory, device.write_memory, name="pc-testdev memory")


def _both(*lines: Line) -> Line:
    """One wire to several ends."""

    def drive(level: bool) -> None:
        for line in lines:
            line.set(level)

    return Wire(drive)


def _input(ioapic: IoApic | None, pin: int) -> Line:
    return ioapic.input(pin) if ioapic is not None else Wire(lambda level: None)


def _debugcon(m: Machine, name: str, port: int, console: Console) -> None:
    device = m.devices[name] = Debugcon(console=console)
    _map(m, port, 1, device.read, device.write, 1, name)


def _debug_exit(m: Machine, name: str, props: dict[str, str]) -> None:
    base = number(props.get("iobase", "0x501"), "isa-debug-exit iobase", 0, 0xFFFF)
    size = number(props.get("iosize", "2"), "isa-debug-exit iosize", 1, 4)
    if base + size > 0x10000:
        raise UsageError(f"isa-debug-exit: expected ports up to 0xffff, found {base:#x}+{size}")
    device = DebugExit(leave=lambda status: m.end(Cause.DEBUG_EXIT, status), iobase=base, iosize=size)
    m.devices[name] = device
    _map(m, base, size, device.read, device.write, 4, name)


def _map(m: Machine, base: int, count: int, read: Read, write: Write, max_width: int, name: str) -> None:
    """Map ports that the person chose, in front of the board's own. Raises UsageError if two such devices overlap."""
    try:
        m.bus.map_ports(base, count, read, write, max_width=max_width, name=name, over=True)
    except ValueError as error:
        raise UsageError(f"-device {error}") from None


def _keyboard_input(m: Machine, kbd: I8042, *, own_bios: bool) -> None:
    """Let text be typed: a key at a time, and not faster than a BIOS guest takes them."""
    refusals = 0

    def accept(data: bytes) -> int:
        nonlocal refusals
        try:
            (codes,) = type_text(chr(data[0]))
        except ValueError:
            return 1  # no key types this
        if own_bios and refusals < 500 and _type_ahead(m) >= 8:
            refusals += 1
            return 0
        refusals = 0
        return int(kbd.key_scancode(codes))

    channel = m.inputs.channel("keyboard", accept, retry=KEY_INTERVAL, at_once=1)
    m.type_keys = lambda text: channel.put(text.encode("latin-1", "replace"))


def _type_ahead(m: Machine) -> int:
    """Keys in the BIOS's buffer (0040:001A head, 0040:001C tail); 0 if the guest is not one that uses it."""
    if m.cpu.reg("cr0") & 1 and not m.cpu.reg("eflags") & 0x20000:
        return 0
    head, tail = (int.from_bytes(m.ram.view[at : at + 2], "little") for at in (0x41A, 0x41C))
    if not all(0x1E <= pointer < 0x3E and not pointer & 1 for pointer in (head, tail)):
        return 0
    return (tail - head) % 32 // 2


def _boot(m: Machine, setup: Setup, rom: bytes | None, cfg: FwCfg, board: AcpiBoard, words: Words) -> None:
    """Put the firmware in place: at the top of 4 GiB and below 1 MiB, on every reset."""
    config = setup.config
    order = list(m.devices.values())
    m.on_reset.append(lambda: m.cpu.set_a20(True))
    m.on_reset += [device.reset for device in order]
    if rom is not None:
        tables.tell_firmware(m, setup, cfg, board, words)
        _kernel_for(setup, cfg)
        m.on_reset.append(lambda: place_rom(m.ram, rom))
        return
    from bios.pc.firmware import Bios
    from bios.pc.rom import HOOK_PORT

    _map(m, HOOK_PORT, 1, lambda offset, width: 0xFF, lambda o, w, value: m.cpu.hook(value), 1, "firmware")
    signature, _, _, features = cpuid(cpu_model(config.cpu), 1)
    host = BiosHost(
        m,
        disks=bios_drives(m, setup),
        boot_order=boot_letters(setup),
        direct_boot=_kernel(setup),
        apic=board.apic,
        acpi=board if config.acpi else None,
        smbios=words,
        cpu_signature=signature,
        cpu_features=features,
    )
    bios = Bios(host)
    image = bios.rom()
    m.on_reset.append(lambda: place_rom(m.ram, image))

    def serve(value: int) -> None:
        bios.dispatch()

    m.on_hook = serve


def _kernel_for(setup: Setup, cfg: FwCfg) -> None:
    """Give -kernel to a firmware of -bios, which has to load it by itself (qboot does)."""
    plan = _kernel(setup, spare=FIRMWARE_TABLES)
    if plan is None:
        return
    from bios.linux import fw_cfg_items

    if plan.kind != "linux":
        raise UsageError(
            "-kernel with -bios: only Linux kernels can be given to a firmware; without -bios others boot too"
        )
    for key, data in fw_cfg_items(plan).items():
        cfg.add_item(key, data)


def _kernel(setup: Setup, *, spare: int = 0) -> LoadPlan | None:
    """The load plan of -kernel. Nothing goes into the last `spare` bytes of RAM."""
    config = setup.config
    if config.kernel is None:
        return None
    from bios.image import ImageError, Module, load_kernel
    from bios.pc.memory_map import memory_map

    data = read_file(config.kernel, "a kernel", KERNEL_LIMIT)
    modules = []
    for part in split_commas(config.initrd) if config.initrd is not None else []:
        path = part if os.path.exists(part) else part.split(" ")[0]
        modules.append(Module(read_file(path, "an initial RAM disk", KERNEL_LIMIT), part))
    try:
        ranges = memory_map(max(config.memory - spare, 1 << 20))
        return load_kernel(config.kernel, data, ranges, command_line=config.append, modules=modules)
    except ImageError as error:
        raise UsageError(shown(str(error), 500)) from None


def _rom(path: str) -> bytes:
    """The ROM image of -bios: of any size and content, but not text."""
    from bios.image import TEXT

    rom = read_file(path, "a BIOS image", ROM_LIMIT)
    if TEXT.fullmatch(rom):
        raise wrong(path, "a BIOS image", "text")
    return rom


def place_rom(ram: GuestRam, rom: bytes) -> None:
    """A ROM image so that it ends at 4 GiB, and its last 128 KiB so that they end at 1 MiB."""
    ram.load(FOUR_GIB - len(rom), rom)
    low = rom[-LOW_ROM:]
    ram.set_kind(0xC0000, 0x40000, Kind.ROM)
    ram.load(0x100000 - len(low), low)
