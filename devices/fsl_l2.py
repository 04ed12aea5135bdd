"""L2 cache controller of MPC85xx chips: 256 KiB that make no difference to what memory holds.

    map_mmio(ccsr + 0x20000, 0x1000, l2.read, l2.write)

MPC8544E reference manual, chapter 7. Using the cache as SRAM is not modelled.
"""

from __future__ import annotations

from devices.device import Device, device
from devices.registers import Bank

L2I = 1 << 30
KIB_256 = 1 << 28


def _declare_windows(regs: Bank) -> None:
    for n in range(4):
        regs.register(0x10 + 0x10 * n, f"L2CEWAR{n}", mask=0xFFFF_FF00)
        regs.register(0x14 + 0x10 * n, f"L2CEWAREA{n}", mask=0xF)
        regs.register(0x18 + 0x10 * n, f"L2CEWCR{n}")
    for n in range(2):
        regs.register(0x100 + 8 * n, f"L2SRBAR{n}", mask=0xFFFF_C000)
        regs.register(0x104 + 8 * n, f"L2SRBAREA{n}", mask=0xF)


@device("fsl-l2", "MPC85xx L2 cache controller")
class FslL2(Device):
    """4 KiB of 32-bit registers."""

    regs = Bank(0x1000, width=4, big_endian=True)
    ctl = regs.register(
        0x000,
        "L2CTL",
        mask=0x8FFF_FFFF,
        reset=KIB_256,
        fields={"L2E": 31, "L2I": 30, "L2SIZ": (29, 28), "L2SRAM": (18, 16)},
        unmodelled=0x0007_0000,
    )
    _declare_windows(regs)
    errinjhi = regs.register(0xE00, "L2ERRINJHI")
    errinjlo = regs.register(0xE04, "L2ERRINJLO")
    errinjctl = regs.register(0xE08, "L2ERRINJCTL")
    captdatahi = regs.register(0xE20, "L2CAPTDATAHI")
    captdatalo = regs.register(0xE24, "L2CAPTDATALO")
    captecc = regs.register(0xE28, "L2CAPTECC")
    errdet = regs.register(0xE40, "L2ERRDET")
    errdis = regs.register(0xE44, "L2ERRDIS")
    errinten = regs.register(0xE48, "L2ERRINTEN")
    errattr = regs.register(0xE4C, "L2ERRATTR")
    erraddrh = regs.register(0xE50, "L2ERRADDRH")
    erraddrl = regs.register(0xE54, "L2ERRADDRL")
    errctl = regs.register(0xE58, "L2ERRCTL")

    def read(self, offset: int, width: int) -> int:
        """`width` bytes at `offset`."""
        return self.regs.read(self, offset, width)

    def write(self, offset: int, width: int, value: int) -> None:
        """`width` bytes at `offset`. Flash invalidation (L2I) is over at once and never reads as set."""
        self.regs.write(self, offset, width, value)

    @regs.on_write(0xE40, "L2ERRDET")
    def write_errdet(self, value: int) -> None:
        """Writing 1 clears an error."""
        self.errdet &= ~value
