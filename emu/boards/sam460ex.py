"""AMCC's Canyonlands (PowerPC 460EX) under the name that QEMU has for a board with this chip.

Memory                                          DCRs
  000000000  RAM up to -m (2 GiB)                 00c  clocking           0c0  interrupt controller 0
  400000000  bus for what follows                 00e  system             0d0  interrupt controller 1
  4ef600300  serial port 1                        010  SDRAM controller   0e0  interrupt controller 2
  4ef600400  serial port 2                        012  external bus       0f0  interrupt controller 3
  c08000000  PCI I/O, 64 KiB                      020  L2 cache, SRAM
  c08010000  PCI Express ports, 2 x 4 KiB         040  memory queue
  c0ec00000  PCI configuration                    100  PCI Express port 0
  c0ec80000  PCI bridge registers                 120  PCI Express port 1
  c0ee00000  PCI memory from address 0, 1 MiB
  d10000000  configuration of PCI Express port 0
  d30000000  configuration of PCI Express port 1
  d80000000  PCI memory, 2 GiB
Interrupts
  controller 0: 1 serial 2  10, 11 controller 2  16, 17 controller 3  30, 31 controller 1
  controller 1: 0 all PCI slots  1 serial 1

PPC460EX user's manual, chapter "Memory Organization"; Linux, canyonlands.dts. Ethernet, USB, SATA, I2C, PCI Express
cards, flash and the crypto engine are not there, nor a power switch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bios.ppc import trees
from bios.ppc.trees import CANYONLANDS
from devices.irq import IrqRouter
from devices.ppc4xx_cpr_sdr import Cpr460Ex, Sdr460Ex
from devices.ppc4xx_dma import Dma4xx
from devices.ppc4xx_ebc import Ebc
from devices.ppc4xx_l2c import L2Cache460Ex
from devices.ppc4xx_pci import Pci460Ex, Pcie460Ex
from devices.ppc4xx_plb import Ahb460Ex, Cpm4xx
from devices.ppc4xx_sdram import Sdram460Ex
from emu.boards.ppc import MmioPlace, pci_slots, start
from emu.boards.ppc4xx import boot_440, interrupts, on_chip, pci_host, serial_ports
from emu.memory import Dma
from emu.options import UsageError

if TYPE_CHECKING:
    from emu.boards import Setup
    from emu.machine import Machine


def sam460ex(setup: Setup) -> Machine:
    """Build the board. Raises UsageError for files that do not fit it."""
    parts = start(setup, "sam460ex", most=2048)
    m, bus = parts.machine, parts.bus
    uics = interrupts(parts, CANYONLANDS)

    cpr, sdr, ebc, l2c = Cpr460Ex(), Sdr460Ex(), Ebc(), L2Cache460Ex()
    try:
        sdram = Sdram460Ex(size=m.ram.size)
    except ValueError as error:
        raise UsageError(f"-m: -M sam460ex: {error}") from None
    bus.map_dcrs(0x0C, 2, cpr.read_dcr, cpr.write_dcr, name="clocking")
    bus.map_dcrs(0x0E, 2, sdr.read_dcr, sdr.write_dcr, name="system")
    bus.map_dcrs(0x10, 2, sdram.read_dcr, sdram.write_dcr, name="sdram")
    bus.map_dcrs(0x12, 2, ebc.read_dcr, ebc.write_dcr, name="ebc")
    bus.map_dcrs(0x20, 0x20, l2c.read_dcr, l2c.write_dcr, name="l2 cache")
    bus.map_dcrs(0x40, 0x11, sdram.read_queue, sdram.write_queue, name="memory queue")
    m.devices.update({"cpr": cpr, "sdr": sdr, "sdram": sdram, "ebc": ebc, "l2c": l2c})

    there = serial_ports(parts, setup, CANYONLANDS, uics)

    on_chip(parts, CANYONLANDS.opb, (uics[0].line(2), uics[0].line(3)))
    dma, power, ahb = Dma4xx(), Cpm4xx(), Ahb460Ex()
    bus.map_dcrs(0x200, 0x40, dma.read_dcr, dma.write_dcr, name="dma")
    bus.map_dcrs(0x160, 3, power.read_dcr, power.write_dcr, name="power")
    bus.map_dcrs(0xA4, 2, ahb.read_dcr, ahb.write_dcr, name="ahb")
    m.devices.update({"dma": dma, "power": power, "ahb": ahb})

    slots = IrqRouter([[uics[uic].line(number, active_low=True)] for uic, number in CANYONLANDS.pci_inputs])
    m.devices["slots"] = slots
    host = Pci460Ex(memory=Dma(m.ram))
    pci_host(parts, CANYONLANDS, host)
    mmio = MmioPlace(0x4EF700000, "ibm,opb", 0xEF700000, uics[0].line(25), "ibm,uic-460ex", (25, trees.HIGH))
    pci_slots(parts, setup, host, range(1, 32), lambda slot, pin: slots.source(0), mmio)
    for number, (spec, port) in enumerate(zip(CANYONLANDS.pcie, (Pcie460Ex(port=0), Pcie460Ex(port=1)), strict=True)):
        bus.map_dcrs(spec.dcr, 0x20, port.read_dcr, port.write_dcr, name=f"pcie{number}")
        bus.map_mmio(spec.registers, 0x1000, port.read_utl, port.write_utl, name=f"pcie{number} registers")
        local = spec.config + 0x10000000
        bus.map_mmio(local, 0x1000, port.read_config, port.write_config, name=f"pcie{number} configuration", swap=True)
        m.devices[f"pcie{number}"] = port
    boot_440(parts, setup, CANYONLANDS, there)
    return m
