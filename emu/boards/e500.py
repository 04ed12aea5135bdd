"""The part of the e500 boards that is on the chip: the 1 MiB configuration space (CCSR) and the PCI bus behind it.

CCSR + 03000  I2C 1, with the clock chip at 68h        interrupt 43
       04500  serial port 1                            interrupt 42
       04600  serial port 2                            interrupt 42
       05000  local bus controller
       08000  PCI host                                 interrupt 24; INTA-D: external inputs 1-4
       40000  MPIC (41600: message interrupts)
       e0000  global utilities
       ff000  GPIO (ppce500 only)                      interrupt 47; pin 0 switches the power off

Elsewhere in it reads give 0, as on the chip. MPC8544E reference manual, chapter 2 (memory map).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from bios.ppc import trees
from bios.ppc.entry import enter_e500
from cores.ppc import models
from devices.contracts import Wire
from devices.fsl_gpio import FslGpio
from devices.fsl_guts import FslGuts
from devices.fsl_i2c import FslI2c
from devices.fsl_lbc import FslLbc
from devices.fsl_pci import FslPci
from devices.i2c import I2cBus
from devices.irq import IrqRouter
from devices.mpic import Mpic
from devices.rtc_ds1338 import Ds1338
from emu.boards.ppc import (
    MMIO_STEP,
    Firmware,
    MmioPlace,
    boot,
    machine_check_where_nobody_answers,
    pci_slots,
    serial,
    start,
    unix_seconds,
)
from emu.bus import UNIMP
from emu.memory import Dma

if TYPE_CHECKING:
    from bios.ppc.trees import BoardE500
    from emu.boards import Setup
    from emu.bus import Bus, Read, Write
    from emu.machine import Machine

FIRMWARE_FLOOR = 32 << 20
"""U-Boot uses what is below."""
PCI_INPUTS = range(1, 5)
MMIO_INPUT, MMIO = 60, 0xD0000
"""Input and place of the virtio-mmio slots, where the chip has nothing."""


class Ccsr:
    """Maps devices in the configuration space, and in the end what they leave free."""

    def __init__(self, bus: Bus, base: int) -> None:
        self._bus = bus
        self.base = base
        self._taken: list[tuple[int, int]] = []
        self._named: set[int] = set()

    def map(self, offset: int, size: int, read: Read, write: Write, name: str) -> None:
        self._bus.map_mmio(self.base + offset, size, read, write, name=name)
        self.take(offset, size)

    def take(self, offset: int, size: int) -> None:
        """Somebody else maps this part."""
        self._taken.append((offset, size))

    def fill(self) -> None:
        """Let the rest read as 0."""
        at = 0
        for offset, size in [*sorted(self._taken), (trees.CCSR_SIZE, 0)]:
            if at < offset:
                read, write = partial(self._read, at), partial(self._write, at)
                self._bus.map_mmio(self.base + at, offset - at, read, write, name=f"ccsr {at:#x}")
            at = offset + size

    def _read(self, start: int, offset: int, width: int) -> int:
        self._name(start + offset, "read")
        return 0

    def _write(self, start: int, offset: int, width: int, value: int) -> None:
        self._name(start + offset, "written")

    def _name(self, offset: int, how: str) -> None:
        if offset not in self._named and len(self._named) < 4096:
            self._named.add(offset)
            UNIMP.info("ccsr + %#x: not modelled (first %s)", offset, how)


def build(setup: Setup, name: str, board: BoardE500, *, most: int) -> Machine:
    """A board with an MPC8544-like chip. Raises UsageError."""
    parts = start(setup, name, most=most)
    m, cpu, bus = parts.machine, parts.cpu, parts.bus
    ccsr = Ccsr(bus, board.ccsr)
    restart = Wire(lambda level: m.request_reset() if level else None)
    model = models.model(setup.config.cpu)

    # Interrupts. The serial ports share one; so do the PCI slots four.
    version = "4.2" if model.has("e500mc") else "2.0"
    mpic = Mpic(clock=m.clock, int_line=Wire(cpu.set_intr), cint_line=Wire(cpu.set_critical), version=version)
    ccsr.map(trees.MPIC, 0x40000, mpic.read, mpic.write, "mpic")
    bus.acknowledge = mpic.acknowledge
    shared = IrqRouter([[mpic.line(n)] for n in (trees.SERIAL_INPUT, *PCI_INPUTS)])
    m.devices.update({"mpic": mpic, "irqs": shared})

    there = []
    for index, offset in enumerate(trees.SERIAL):
        there.append(serial(parts, setup, index, board.ccsr + offset, 8, lambda: shared.source(0)))
        if there[-1]:
            ccsr.take(offset, 8)

    i2c_bus = I2cBus()
    clock_chip = Ds1338(clock=m.clock, base=unix_seconds(setup.date))
    i2c_bus.attach(0x68, clock_chip)
    i2c = FslI2c(bus=i2c_bus, irq=mpic.line(trees.I2C_INPUT))
    ccsr.map(trees.I2C, 0x100, i2c.read, i2c.write, "i2c")
    lbc = FslLbc()
    ccsr.map(trees.LBC, 0x1000, lbc.read, lbc.write, "lbc")
    guts = FslGuts(reset_line=restart, pvr=model.pvr, svr=model.svr)
    ccsr.map(trees.GUTS, 0x1000, guts.read, guts.write, "guts")
    m.devices.update({"rtc": clock_chip, "i2c": i2c, "lbc": lbc, "guts": guts})
    if board.gpio:
        power = Wire(lambda level: m.power_off() if level else None)
        gpio = FslGpio(irq=mpic.line(trees.GPIO_INPUT), outputs={0: power})
        ccsr.map(trees.GPIO, 0x1000, gpio.read, gpio.write, "gpio")
        m.devices["gpio"] = gpio

    pci = FslPci(memory=Dma(m.ram), message=mpic.pci_message)
    ccsr.map(trees.PCI, 0x1000, pci.read, pci.write, "pci")
    m.devices.update({"pci": pci, "pci-bridge": pci.bridge})
    pci_slots(
        parts,
        setup,
        pci,
        board.slots,
        lambda slot, pin: shared.source(trees.pci_input(slot, pin)),
        MmioPlace(
            board.ccsr + MMIO, "simple-bus", MMIO, mpic.line(MMIO_INPUT), "fsl,mpic", (MMIO_INPUT, trees.MPIC_HIGH)
        ),
        message=lambda address, value: pci.inbound.write(address, value.to_bytes(4, "little")),
    )
    for base, _ in parts.mmio:
        ccsr.take(base - board.ccsr, MMIO_STEP)
    ccsr.fill()
    windows = (board.pci_memory, board.pci_io)
    machine_check_where_nobody_answers(parts, [(window.address, window.size) for window in windows])

    ram_size = m.ram.size
    boot(
        parts,
        setup,
        Firmware(
            trees.tree_e500(board, there, line=model.line),
            board.clocks,
            lambda entry, tree, end: enter_e500(entry, tree, end, ram_size=ram_size),
            floor=FIRMWARE_FLOOR,
        ),
    )
    return m
