"""e500 coherency module of MPC85xx chips: arbitration and error registers, which change nothing here.

    map_mmio(ccsr + 0x1000, 0x1000, ecm.read, ecm.write)

MPC8544E reference manual, chapter 8.
"""

from __future__ import annotations

from devices.device import Device, device
from devices.registers import Bank


@device("fsl-ecm", "MPC85xx e500 coherency module")
class FslEcm(Device):
    """4 KiB of 32-bit registers."""

    regs = Bank(0x1000, width=4, big_endian=True)
    eebacr = regs.register(0x000, "EEBACR", mask=0x0000_000B, reset=0x0000_0003)
    eebpcr = regs.register(0x010, "EEBPCR", mask=0x0100_0000, reset=0x0100_0000, fields={"CPU_EN": 24})
    ip_rev1 = regs.register(0xBF8, "EIPBRR1", mask=0, reset=0x0001_0000)
    ip_rev2 = regs.register(0xBFC, "EIPBRR2", mask=0)
    eedr = regs.register(0xE00, "EEDR")
    eeer = regs.register(0xE08, "EEER")
    eeatr = regs.register(0xE0C, "EEATR")
    eeladr = regs.register(0xE10, "EELADR")
    eehadr = regs.register(0xE14, "EEHADR")

    def read(self, offset: int, width: int) -> int:
        """`width` bytes at `offset`."""
        return self.regs.read(self, offset, width)

    def write(self, offset: int, width: int, value: int) -> None:
        """`width` bytes at `offset`."""
        self.regs.write(self, offset, width, value)

    @regs.on_write(0xE00, "EEDR")
    def write_eedr(self, value: int) -> None:
        """Writing 1 clears an error."""
        self.eedr &= ~value
