"""Local bus controller of MPC85xx chips. Nothing is on the local bus, so its registers are storage.

    map_mmio(ccsr + 0x5000, 0x1000, lbc.read, lbc.write)

MPC8544E reference manual, chapter 13. Reset values are those of a chip that boots from a 16-bit flash on chip select 0,
with the bus at an eighth of the platform clock.
"""

from __future__ import annotations

from devices.device import Device, device
from devices.registers import Bank

STORAGE = {
    0x68: "MAR",
    0x70: "MAMR",
    0x74: "MBMR",
    0x78: "MCMR",
    0x84: "MRTPR",
    0x88: "MDR",
    0x94: "LSDMR",
    0xA0: "LURT",
    0xA4: "LSRT",
    0xB4: "LTEDR",
    0xB8: "LTEIR",
    0xBC: "LTEATR",
    0xC0: "LTEAR",
    0xD0: "LBCR",
}


def _declare_storage(regs: Bank) -> None:
    for n in range(8):
        regs.register(8 * n, f"BR{n}", mask=0xFFFF_FFFD, reset=0 if n else 0x0000_1001, fields={"V": 0})
        regs.register(8 * n + 4, f"OR{n}", reset=0 if n else 0x0000_0FF7)
    for offset, name in STORAGE.items():
        regs.register(offset, name)


@device("fsl-lbc", "MPC85xx local bus controller")
class FslLbc(Device):
    """4 KiB of 32-bit registers."""

    regs = Bank(0x1000, width=4, big_endian=True)
    _declare_storage(regs)
    ltesr = regs.register(0xB0, "LTESR")
    lcrr = regs.register(0xD4, "LCRR", mask=0xB303_001F, reset=0x8000_0008, fields={"CLKDIV": (4, 0)})

    def read(self, offset: int, width: int) -> int:
        """`width` bytes at `offset`."""
        return self.regs.read(self, offset, width)

    def write(self, offset: int, width: int, value: int) -> None:
        """`width` bytes at `offset`."""
        self.regs.write(self, offset, width, value)

    @regs.on_write(0xB0, "LTESR")
    def write_ltesr(self, value: int) -> None:
        """Writing 1 clears an error."""
        self.ltesr &= ~value
