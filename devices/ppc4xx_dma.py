"""DMA controller of 4xx chips: four channels that nothing uses.

    dma = Dma4xx()
    map_dcrs(0x100, 0x40, dma.read_dcr, dma.write_dcr)          460EX: 0x200

Registers only: a channel that is enabled is named as not modelled and stays where it is. Interrupts would be inputs 12
to 15 of UIC0. PPC440EP user's manual, "DMA Controller"; the one of the 460EX has the same registers.
"""

from __future__ import annotations

from devices.device import device
from devices.ppc4xx_dcr import DcrDevice, words
from devices.registers import Bank

CHANNELS = 4
ENABLE = 0x8000_0000


def _channels(regs: Bank) -> None:
    for n in range(CHANNELS):
        regs.register(0x20 * n, f"CR{n}", fields={f"CE{n}": 31}, unmodelled=ENABLE)
        for i, name in enumerate(("CT", "SAH", "SAL", "DAH", "DAL", "SGH", "SGL"), 1):
            words(regs, (8 * n + i, f"{name}{n}"))


@device("ppc4xx-dma", "DMA controller of 4xx chips")
class Dma4xx(DcrDevice):
    """Status is never set."""

    regs = Bank(0x100, width=4)
    _channels(regs)
    regs.register(0x80, "SR", mask=0)
    words(regs, (0x23, "SGC"), (0x25, "SLP"), (0x26, "POL"))
