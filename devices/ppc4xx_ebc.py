"""External bus controller (EBC) of 4xx chips: chip selects for flash, NAND and board registers.

    ebc = Ebc()
    map_dcrs(0x12, 2, ebc.read_dcr, ebc.write_dcr)

`banks` are the BnCR values that firmware leaves for chip selects with something behind them, from bank 0 on; without
them every bank is off. The board maps what is there itself: moving a bank moves nothing.

PPC440EP user's manual, "External Bus Controller"; the one of the 460EX has the same registers.
"""

from __future__ import annotations

from collections.abc import Sequence

from devices.device import device
from devices.ppc4xx_dcr import IndirectDcr, words
from devices.registers import Bank

BANKS = 8
USABLE = 0x0001_8000
"""BnCR[BU]: the bank may be read and written."""


@device("ppc4xx-ebc", "external bus controller of 4xx chips")
class Ebc(IndirectDcr):
    """Raises ValueError for more than 8 banks."""

    regs = Bank(0x100, width=4)
    words(regs, *((n, f"B{n}CR") for n in range(BANKS)), *((0x10 + n, f"B{n}AP") for n in range(BANKS)))
    regs.register(0x80, "BEAR", mask=0)
    besr0 = regs.register(0x84, "BESR0")
    besr1 = regs.register(0x88, "BESR1")
    words(regs, (0x23, "CFG", 0x8040_0000))
    regs.register(0x90, "CID", mask=0)

    def __init__(self, *, banks: Sequence[int] = ()) -> None:
        if len(banks) > BANKS:
            raise ValueError(f"EBC with {len(banks)} banks")
        self.programmed = tuple(banks)
        super().__init__()

    def clear(self) -> None:
        super().clear()
        for n, value in enumerate(self.programmed):
            self.registers[f"B{n}CR"] = value

    @regs.on_write(0x84, "BESR0")
    def write_errors0(self, value: int) -> None:
        """Ones clear."""
        self.besr0 &= ~value

    @regs.on_write(0x88, "BESR1")
    def write_errors1(self, value: int) -> None:
        """Ones clear."""
        self.besr1 &= ~value
