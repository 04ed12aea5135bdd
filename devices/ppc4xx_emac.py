"""Ethernet controllers (EMAC) of the 440EP with nothing on their pins, and the bridge (ZMII) between them and the PHYs.

    zmii = Zmii();  map_mmio(0xEF600D00, 0x0C, zmii.read, zmii.write)
    emac = Emac();  map_mmio(0xEF600E00, 0x70, emac.read, emac.write)       the second one at 0xEF600F00

No PHY answers on the management bus, so a driver that looks for one gives up; boot wrappers, which reset both
controllers, go on. No frame is ever sent or received and no interrupt raised (28 to 31 of UIC1 would be theirs).

PPC440EP user's manual, "Ethernet Media Access Controller", "ZMII Bridge".
"""

from __future__ import annotations

from devices.device import Device, device
from devices.ppc4xx_dcr import words
from devices.registers import Bank

RX_IDLE, TX_IDLE, SOFT_RESET, TX_ENABLE, RX_ENABLE, WAKE_UP = (0x8000_0000 >> n for n in range(6))
"""Bits of MR0."""
DONE, PHY_ERROR, COMMAND = 0x8000, 0x4000, 0x3000
"""Bits of STACR."""


@device("ppc4xx-zmii", "ZMII bridge of 4xx chips")
class Zmii(Device):
    """Which controller has which mode and speed: kept, with no effect."""

    regs = Bank(0x0C, width=4, big_endian=True)
    words(regs, (0, "FER"), (1, "SSR"))
    regs.register(0x08, "SMIISR", mask=0)

    def read(self, offset: int, width: int) -> int:
        """`width` bytes at `offset`."""
        return self.regs.read(self, offset, width)

    def write(self, offset: int, width: int, value: int) -> None:
        """`width` bytes at `offset`."""
        self.regs.write(self, offset, width, value)


@device("ppc440ep-emac", "Ethernet controller of the 440EP without a PHY")
class Emac(Device):
    """Always idle."""

    regs = Bank(0x70, width=4, big_endian=True)
    mr0 = regs.register(0x00, "MR0", fields={"RXI": 31, "TXI": 30, "SRST": 29, "TXE": 28, "RXE": 27, "WKE": 26})
    words(regs, (0x04 // 4, "MR1"))
    regs.register(0x08, "TMR0", mask=0x2000_0007, fields={"GNP0": 31, "GNP1": 30, "GNPD": 28}, unmodelled=0xD000_0000)
    words(regs, (0x0C // 4, "TMR1", 0x3808_0200), (0x10 // 4, "RMR"))
    isr = regs.register(0x14, "ISR")
    words(regs, (0x18 // 4, "ISER"), (0x1C // 4, "IAHR"), (0x20 // 4, "IALR"), (0x24 // 4, "VTPID", 0x8100))
    words(regs, (0x28 // 4, "VTCI"), (0x2C // 4, "PTR", 0xFFFF))
    words(
        regs, *((0x30 // 4 + n, f"IAHT{n + 1}") for n in range(4)), *((0x40 // 4 + n, f"GAHT{n + 1}") for n in range(4))
    )
    regs.register(0x50, "LSAH", mask=0)
    regs.register(0x54, "LSAL", mask=0)
    words(regs, (0x58 // 4, "IPGVR", 0x4))
    stacr = regs.register(0x5C, "STACR", reset=DONE, fields={"PHYD": (31, 16), "OC": 15, "PHYE": 14, "STAC": (13, 12)})
    words(regs, (0x60 // 4, "TRTR"), (0x64 // 4, "RWMR", 0x0400_0800))
    regs.register(0x68, "OCTX", mask=0)
    regs.register(0x6C, "OCRX", mask=0)

    def read(self, offset: int, width: int) -> int:
        """`width` bytes at `offset`."""
        return self.regs.read(self, offset, width)

    def write(self, offset: int, width: int, value: int) -> None:
        """`width` bytes at `offset`."""
        self.regs.write(self, offset, width, value)

    @regs.on_read(0x00, "MR0")
    def read_mode(self) -> int:
        """A side that is not enabled is idle."""
        idle = (0 if self.mr0 & RX_ENABLE else RX_IDLE) | (0 if self.mr0 & TX_ENABLE else TX_IDLE)
        return self.mr0 | idle

    @regs.on_write(0x00, "MR0")
    def write_mode(self, value: int) -> None:
        """A soft reset is over at once."""
        if value & SOFT_RESET:
            self.clear()
        else:
            self.mr0 = value & (TX_ENABLE | RX_ENABLE | WAKE_UP)

    @regs.on_write(0x14, "ISR")
    def write_status(self, value: int) -> None:
        """Ones clear."""
        self.isr &= ~value

    @regs.on_write(0x5C, "STACR")
    def write_management(self, value: int) -> None:
        """Every command is done at once and finds no PHY: a read gives ones, as the wire is pulled up."""
        self.stacr = value & 0x3FFF | DONE
        if value & COMMAND:
            self.stacr |= PHY_ERROR | 0xFFFF_0000
