"""Arbiters and power management of 4xx chips: registers that firmware sets once.

    arbiters = Plb4xx();    map_dcrs(0x70, 0x20, arbiters.read_dcr, arbiters.write_dcr)
    power = Cpm4xx();       map_dcrs(0xB0 or 0x160, 3, power.read_dcr, power.write_dcr)     440EP, 460EX
    ahb = Ahb460Ex();       map_dcrs(0xA4, 2, ahb.read_dcr, ahb.write_dcr)

No priority is modelled, nothing ever sleeps, and the AHB bridge has nothing behind it.
PPC440EP and PPC460EX user's manuals, "Processor Local Bus", "Clock and Power Management", "PLB to AHB Bridge".
"""

from __future__ import annotations

from devices.device import device
from devices.ppc4xx_dcr import DcrDevice, words
from devices.registers import Bank


@device("ppc4xx-plb", "bus arbiters of 4xx chips")
class Plb4xx(DcrDevice):
    """The control registers of PLB3 and of the two halves of PLB4, from DCR 70h."""

    regs = Bank(0x80, width=4)
    words(regs, (0x07, "PLB3A0ACR"), (0x11, "PLB4A0ACR"), (0x19, "PLB4A1ACR"))


@device("ppc4xx-cpm", "clock and power management of 4xx chips")
class Cpm4xx(DcrDevice):
    """Enable, force, status."""

    regs = Bank(0x0C, width=4)
    words(regs, (0, "ER"), (1, "FR"))
    regs.register(8, "SR", mask=0)


@device("ppc460ex-ahb", "PLB to AHB bridge of the 460EX")
class Ahb460Ex(DcrDevice):
    """Top and bottom of its address range."""

    regs = Bank(0x08, width=4)
    words(regs, (0, "TOP"), (1, "BOT"))
