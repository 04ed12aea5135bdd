"""The Bamboo evaluation board: PowerPC 440EP.

Memory                                          DCRs
  00000000  RAM up to -m (1 GiB)                  00c  clocking           0c0  interrupt controller 0
  a0000000  PCI memory, 512 MiB                   00e  system             0d0  interrupt controller 1
  e8000000  PCI I/O, 64 KiB                       010  SDRAM controller
  eec00000  PCI configuration                     012  external bus
  ef400000  PCI bridge registers
  ef600300  serial port 1
  ef600400  serial port 2
Interrupts of controller 0
  0 serial 1  1 serial 2  25-28 PCI slots 4 to 1  30, 31 controller 1

PPC440EP user's manual, chapter "Memory Organization". Ethernet, USB, I2C, NAND and the DMA controllers are not
there, nor a power switch: a kernel that powers off ends in a loop, and so does the run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bios.ppc import trees
from bios.ppc.trees import BAMBOO
from devices.irq import IrqRouter
from devices.ppc4xx_cpr_sdr import Cpr440Ep, Sdr440Ep
from devices.ppc4xx_dma import Dma4xx
from devices.ppc4xx_ebc import Ebc
from devices.ppc4xx_emac import Emac, Zmii
from devices.ppc4xx_pci import Pci440Ep
from devices.ppc4xx_plb import Cpm4xx
from devices.ppc4xx_sdram import Sdram440Ep
from emu.boards.ppc import MmioPlace, pci_slots, start
from emu.boards.ppc4xx import boot_440, dead_serial, interrupts, on_chip, pci_host, serial_ports
from emu.memory import Dma
from emu.options import UsageError

if TYPE_CHECKING:
    from emu.boards import Setup
    from emu.machine import Machine


def bamboo(setup: Setup) -> Machine:
    """Build the board. Raises UsageError for files that do not fit it."""
    parts = start(setup, "bamboo", most=1024)
    m, bus = parts.machine, parts.bus
    uics = interrupts(parts, BAMBOO)

    cpr, sdr, ebc = Cpr440Ep(), Sdr440Ep(), Ebc()
    try:
        sdram = Sdram440Ep(size=m.ram.size)
    except ValueError as error:
        raise UsageError(f"-m: -M bamboo: {error}") from None
    bus.map_dcrs(0x0C, 2, cpr.read_dcr, cpr.write_dcr, name="clocking")
    bus.map_dcrs(0x0E, 2, sdr.read_dcr, sdr.write_dcr, name="system")
    bus.map_dcrs(0x10, 2, sdram.read_dcr, sdram.write_dcr, name="sdram")
    bus.map_dcrs(0x12, 2, ebc.read_dcr, ebc.write_dcr, name="ebc")
    m.devices.update({"cpr": cpr, "sdr": sdr, "sdram": sdram, "ebc": ebc})

    there = serial_ports(parts, setup, BAMBOO, uics)

    on_chip(parts, 0, (uics[0].line(2), uics[0].line(7)))
    for index, number in ((2, 3), (3, 4)):
        dead_serial(parts, f"serial{index}", 0xEF600300 + 0x100 * index, uics[0].line(number))
    dma, power, zmii = Dma4xx(), Cpm4xx(), Zmii()
    bus.map_dcrs(0x100, 0x40, dma.read_dcr, dma.write_dcr, name="dma")
    bus.map_dcrs(0xB0, 3, power.read_dcr, power.write_dcr, name="power")
    bus.map_mmio(0xEF600D00, 0x0C, zmii.read, zmii.write, name="zmii")
    m.devices.update({"dma": dma, "power": power, "zmii": zmii})
    for index in range(2):
        emac = Emac()
        bus.map_mmio(0xEF600E00 + 0x100 * index, 0x70, emac.read, emac.write, name=f"ethernet{index}")
        m.devices[f"ethernet{index}"] = emac

    slots = IrqRouter([[uics[uic].line(number, active_low=True)] for uic, number in BAMBOO.pci_inputs])
    m.devices["slots"] = slots
    host = Pci440Ep(memory=Dma(m.ram))
    pci_host(parts, BAMBOO, host)
    mmio = MmioPlace(0xEF700000, "ibm,opb", 0xEF700000, uics[0].line(24), "ibm,uic-440ep", (24, trees.HIGH))
    pci_slots(parts, setup, host, range(1, 5), lambda slot, pin: slots.source(slot - 1), mmio)
    boot_440(parts, setup, BAMBOO, there)
    return m
