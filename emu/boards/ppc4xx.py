"""The part of the 440 boards that is the same: interrupt controllers in their cascade, serial ports, start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bios.ppc import trees
from bios.ppc.entry import enter_440
from devices.contracts import Line, NullConsole, Wire
from devices.i2c import I2cBus
from devices.ppc4xx_gpio import Gpio
from devices.ppc4xx_iic import Iic
from devices.ppc4xx_mal import Mal
from devices.ppc4xx_pci import Pci440Ep, Pci460Ex
from devices.ppc4xx_plb import Plb4xx
from devices.uart16550 import Uart16550
from devices.uic import Uic
from emu.boards.ppc import Firmware, Parts, boot, machine_check_where_nobody_answers, serial

if TYPE_CHECKING:
    from bios.ppc.trees import Board440
    from emu.boards import Setup


def interrupts(parts: Parts, board: Board440) -> list[Uic]:
    """The UICs at their DCRs, each after the first driving two inputs of the first."""
    cpu, m = parts.cpu, parts.machine
    uics: list[Uic] = []
    for index, (dcr, inputs) in enumerate(board.uics):
        if inputs:
            uic = Uic(intr=uics[0].line(inputs[0]), critical=uics[0].line(inputs[1]))
        else:
            uic = Uic(intr=Wire(cpu.set_intr), critical=Wire(cpu.set_critical))
        parts.bus.map_dcrs(dcr, 9, uic.read_dcr, uic.write_dcr, name=f"uic{index}")
        m.devices[f"uic{index}"] = uic
        uics.append(uic)
    return uics


def serial_ports(parts: Parts, setup: Setup, board: Board440, uics: list[Uic]) -> list[bool]:
    """Which of the board's serial ports are connected. The others are on the chip as well, and go nowhere."""
    there = []
    for index, port in enumerate(board.uarts):
        uic, number = port.interrupt
        line = uics[uic].line(number)
        base = board.opb + port.address
        there.append(serial(parts, setup, index, base, 8, lambda line=line: line))  # type: ignore[misc]
        if not there[-1]:
            dead_serial(parts, f"serial{index}", base, line)
    return there


def dead_serial(parts: Parts, name: str, base: int, line: Line) -> None:
    """A serial port of the chip that is connected to nothing."""
    uart = Uart16550(clock=parts.machine.clock, irq=line, console=NullConsole())
    parts.bus.map_mmio(base, 8, uart.read, uart.write, max_width=1, name=name)
    parts.machine.devices[name] = uart


def on_chip(parts: Parts, opb: int, iic: tuple[Line, Line]) -> None:
    """What every 4xx chip has and no device tree of ours names: I2C without slaves, GPIO, MAL, bus arbiters."""
    m, bus = parts.machine, parts.bus
    for index, line in enumerate(iic):
        i2c, gpio = Iic(irq=line, bus=I2cBus()), Gpio()
        bus.map_mmio(opb + 0xEF600700 + 0x100 * index, 0x14, i2c.read, i2c.write, max_width=1, name=f"i2c{index}")
        bus.map_mmio(opb + 0xEF600B00 + 0x100 * index, 0x48, gpio.read, gpio.write, name=f"gpio{index}")
        m.devices.update({f"i2c{index}": i2c, f"gpio{index}": gpio})
    mal, arbiters = Mal(), Plb4xx()
    bus.map_dcrs(0x180, 0x80, mal.read_dcr, mal.write_dcr, name="mal")
    bus.map_dcrs(0x70, 0x20, arbiters.read_dcr, arbiters.write_dcr, name="arbiters")
    m.devices.update({"mal": mal, "arbiters": arbiters})


def pci_host(parts: Parts, board: Board440, host: Pci440Ep | Pci460Ex) -> None:
    """The PCI host at its three places. Where its windows show nothing reads give all ones, elsewhere a bus error."""
    m, bus = parts.machine, parts.bus
    bus.map_mmio(board.pci_config, 8, host.read_config, host.write_config, name="pci configuration", swap=True)
    bus.map_mmio(board.pci_special, 4, host.read_cycle, host.write_cycle, name="pci special cycles", swap=True)
    size = board.pci_registers_size
    bus.map_mmio(board.pci_registers, size, host.read, host.write, name="pci registers", swap=True)
    m.devices.update({"pci": host, "pci-bridge": host.bridge})
    quiet = [window for port in board.pcie for window in port.windows]
    places = [(window.address, window.size) for window in (*board.windows, *quiet)]
    machine_check_where_nobody_answers(parts, places)


def boot_440(parts: Parts, setup: Setup, board: Board440, there: list[bool]) -> None:
    """Start what the command line names. Raises UsageError, and ShowAndExit after -machine dumpdtb=."""
    ram_size = parts.machine.ram.size
    devices = board.opb + 0xE0000000

    def enter(entry: int, tree: int, end: int) -> tuple[tuple[str, int], ...]:
        return enter_440(entry, tree, ram_size=ram_size, devices=devices)

    boot(parts, setup, Firmware(trees.tree_440(board, there), board.clocks, enter))
