"""Local configuration of MPC85xx chips: where the chip's registers are, the boot page, and local access windows.

    FslLaw(base=0xE0000000)
    map_mmio(ccsr, 0x1000, law.read, law.write)

The boards have a fixed memory map, so windows are storage, and moving CCSR is not modelled.
MPC8544E reference manual, chapters 2 and 4.
"""

from __future__ import annotations

from devices.device import Device, device
from devices.registers import Bank

WINDOWS = 12


def _declare_windows(regs: Bank) -> None:
    for n in range(WINDOWS):
        regs.register(0xC08 + 0x20 * n, f"LAWBAR{n}", mask=0x00FF_FFFF)
        regs.register(
            0xC10 + 0x20 * n, f"LAWAR{n}", mask=0x81F0_003F, fields={"EN": 31, "TRGT_ID": (24, 20), "SIZE": (5, 0)}
        )


@device("fsl-law", "MPC85xx local access windows")
class FslLaw(Device):
    """`base` is the physical address of CCSR."""

    regs = Bank(0x1000, width=4, big_endian=True)
    altcbar = regs.register(0x08, "ALTCBAR", mask=0x00FF_FF00)
    altcar = regs.register(0x10, "ALTCAR", mask=0x81F0_0000)
    bptr = regs.register(0x20, "BPTR", mask=0x80FF_FFFF)
    _declare_windows(regs)

    def __init__(self, *, base: int) -> None:
        super().__init__()
        self.base = base

    def read(self, offset: int, width: int) -> int:
        """`width` bytes at `offset`."""
        return self.regs.read(self, offset, width)

    def write(self, offset: int, width: int, value: int) -> None:
        """`width` bytes at `offset`."""
        self.regs.write(self, offset, width, value)

    @regs.on_read(0x00, "CCSRBAR")
    def read_ccsrbar(self) -> int:
        """Bits 35-20 of the address of CCSR, in place from bit 23 down."""
        return self.base >> 12 & 0x00FF_FF00

    @regs.on_write(0x00, "CCSRBAR")
    def write_ccsrbar(self, value: int) -> None:
        """Writing the address it has is what firmware does to be sure."""
        if value & 0x00FF_FF00 != self.read_ccsrbar():
            self.unimplemented("CCSRBAR: moving the registers")

    @regs.on_read(0xBF8, "LAIPBRR1")
    def read_revision(self) -> int:
        """Block revision."""
        return 0x0041_0100

    @regs.on_read(0xBFC, "LAIPBRR2")
    def read_options(self) -> int:
        """Integration and configuration options."""
        return 0
