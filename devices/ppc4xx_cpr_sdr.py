"""Clocking (CPR0) and system device control registers (SDR0) of the 440EP and the 460EX.

    cpr = Cpr440Ep()            or Cpr460Ex()
    sdr = Sdr440Ep()            or Sdr460Ex()
    map_dcrs(0x0C, 2, cpr.read_dcr, cpr.write_dcr)
    map_dcrs(0x0E, 2, sdr.read_dcr, sdr.write_dcr)

Boot wrappers and U-Boot work out the clocks from the dividers in CPR0; software resets, straps, pin functions and the
set-up of PCI Express are in SDR0. No clock or pin follows these registers: they say what the boards have.

  board                   | SysClk    | CPU      | PLB      | OPB, EBC    | UART clock
  ------------------------+-----------+----------+----------+-------------+----------------------------------
  bamboo (440EP)          | 33.33 MHz | 400 MHz  | 133 MHz  | 66.7 MHz    | 11.0592 MHz from outside
  sam460ex (460EX)        | 50 MHz    | 1150 MHz | 230 MHz  | 115 MHz     | 11.0592 MHz from outside

PPC440EP user's manual, "Clocking", "System Device Control Registers"; the same chapters of the one of the PPC460EX.
"""

from __future__ import annotations

from devices.device import device
from devices.ppc4xx_dcr import IndirectDcr, words
from devices.registers import Bank

EXTERNAL = 0x0080_0000
"""SDR0_UARTn: the serial clock comes from outside."""


@device("ppc440ep-cpr", "clocking registers of the 440EP")
class Cpr440Ep(IndirectDcr):
    """The PLL: feedback from the CPU clock, times 12 and 2, divided by 2 (CPU) and 6 (PLB)."""

    regs = Bank(0x600, width=4)
    words(regs, (0x20, "CLKUPD"), (0x40, "PLLC", 0x4100_0000), (0x60, "PLLD", 0x0C02_0601))
    words(regs, (0x80, "PRIMAD", 0x0100_0000), (0xA0, "PRIMBD", 0x0100_0000), (0xC0, "OPBD", 0x0200_0000))
    words(regs, (0xE0, "PERD", 0x0200_0000), (0x100, "MALD", 0x0200_0000), (0x120, "SPCID", 0x0400_0000))
    words(regs, (0x140, "ICFG"))


@device("ppc460ex-cpr", "clocking registers of the 460EX")
class Cpr460Ex(IndirectDcr):
    """PLLD holds codes, not numbers: B5h for 23 in the feedback, 1 and 9 for the two forward dividers."""

    regs = Bank(0x600, width=4)
    words(regs, (0x20, "CLKUPD"), (0x40, "PLLC"), (0x60, "PLLD", 0xB501_0900), (0x80, "PLBED", 0x0500_0000))
    words(regs, (0xA0, "PLB2D", 0x0200_0000), (0xC0, "OPBD", 0x0200_0000), (0xE0, "PERD", 0x0100_0000))
    words(regs, (0x100, "AHBD", 0x0100_0000), (0x140, "ICFG"))


def _common(regs: Bank) -> None:
    """What both chips have."""
    regs.register(4 * 0x40, "PINSTP", mask=0)
    words(regs, (0x60, "SDCS0"))
    for n in range(4):
        words(regs, (0x120 + n, f"UART{n}", EXTERNAL))
    words(regs, (0x180, "CP440"), (0x200, "SRST0"), (0x201, "SRST1"), (0x220, "SLPIPE0"), (0x240, "AMP0"))
    words(regs, (0x241, "AMP1"), (0x260, "MIRQ0"), (0x261, "MIRQ1"), (0x280, "MALTBL"), (0x2A0, "MALRBL"))
    words(regs, (0x2C0, "MALTBS"), (0x2E0, "MALRBS"))
    words(regs, (0x4000, "CUST0"), (0x4002, "CUST1"), (0x4100, "PFC0"), (0x4101, "PFC1"), (0x4300, "MFR"))


@device("ppc440ep-sdr", "system device control registers of the 440EP")
class Sdr440Ep(IndirectDcr):
    """The PCI arbiter is on and the strap says that this chip is the host."""

    regs = Bank(4 * 0x4304, width=4)
    _common(regs)
    regs.register(4 * 0x20, "SDSTP0", mask=0, reset=0x8000_0000)
    regs.register(4 * 0x21, "SDSTP1", mask=0)
    words(regs, *((0x80 + n, f"ECID{n}") for n in range(4)), (0xC0, "JTAG"), (0xE0, "DDRDL"), (0x100, "EBC"))
    words(regs, (0x1C0, "XCR", 0xE000_0000), (0x1C1, "XPLLC"), (0x1C2, "XPLLD"), (0x300, "PCI0", 0xE000_0000))
    words(regs, (0x320, "USB0"))


LOOP, RCSSET, RCSSTS = 3, 4, 5
"""Registers of a port, counted from its first one."""
PHY_READY = 0x0000_0001


LANES = {
    0x348: "BIST",
    0x34C: "BISTSTS",
    0x350: "CDRCTL",
    0x354: "DRV",
    0x358: "REC",
    0x35C: "LPB",
    0x360: "CLK",
    0x368: "ERRC",
}
"""The registers of port 1 that each of its four lanes has."""


def _pcie_ports(regs: Bank) -> None:
    """What the two ports have in common, and the lanes of the second one."""
    for port, base in enumerate((0x300, 0x340)):
        words(regs, (base, f"PE{port}UTLSET1"), (base + 1, f"PE{port}UTLSET2"), (base + 2, f"PE{port}DLPSET"))
        regs.register(4 * (base + LOOP), f"PE{port}LOOP", mask=0x0000_0FFF)
        words(regs, (base + RCSSET, f"PE{port}RCSSET", 0x0101_1000))
        regs.register(4 * (base + RCSSTS), f"PE{port}RCSSTS", mask=0)
    for first, name in LANES.items():
        words(regs, *((first + lane, f"PE1L{lane}{name}") for lane in range(4)))


@device("ppc460ex-sdr", "system device control registers of the 460EX")
class Sdr460Ex(IndirectDcr):
    """Two PCI Express ports with nothing in them: the PHYs leave reset, and no card is ever present.

    Port 0 has the registers from 300h, port 1 those from 340h.
    """

    regs = Bank(4 * 0x4304, width=4)
    _common(regs)
    regs.register(4 * 0x20, "SDSTP0", mask=0, reset=0x0000_B519)
    regs.register(4 * 0x21, "SDSTP1", mask=0, reset=0xA900_0000)
    words(regs, *((0x80 + n, f"ECID{n}") for n in range(3)))
    regs.register(4 * 0x83, "ECID3", mask=0, reset=0x0010_0000)
    words(regs, (0xC0, "JTAG"), (0xE1, "DDR0", 0x2000_0000), (0x100, "EBC"), (0x1C0, "PCI0", 0xE000_0000))
    _pcie_ports(regs)
    words(regs, (0x308, "PE0L0BIST"), (0x309, "PE0L0BISTSTS"), (0x30A, "PE0L0CDRCTL"), (0x30B, "PE0L0DRV"))
    words(regs, (0x30C, "PE0L0REC"), (0x30D, "PE0L0LPB"), (0x30E, "PE0L0CLK"), (0x30F, "PE0PHYCTL"))
    regs.register(4 * 0x310, "PE0RSTSTA", mask=0, reset=PHY_READY)
    words(regs, (0x311, "PE0OBS"), (0x320, "PE0L0ERRC"))
    words(regs, (0x364, "PE1PHYCTL"), (0x366, "PE1OBS"), (0x36C, "PEIHS1"), (0x36D, "PEIHS2"))
    regs.register(4 * 0x365, "PE1RSTSTA", mask=0, reset=PHY_READY)
    words(regs, (0x3A0, "PEGPLLLCT1"), (0x3A1, "PEGPLLLCT2"), (0x3A2, "PEGPLLLCT3"))
    words(regs, (0x4102, "ETHPLL"), (0x4103, "ETHCFG"), (0x4104, "ETHSTS"))
