"""Memory access layer (MAL) of 4xx chips, the DMA engine of the Ethernet controllers, without any of these.

    mal = Mal()
    map_dcrs(0x180, 0x80, mal.read_dcr, mal.write_dcr)

Registers keep what belongs there, channels are activated and stopped, a reset is over at once; nothing is ever moved
and no interrupt is raised, as no controller asks for anything. Boot wrappers reset it and wait for the end of that.

PPC440EP user's manual, "Memory Access Layer"; the 460EX has two transmit and sixteen receive channels.
"""

from __future__ import annotations

from devices.device import device
from devices.ppc4xx_dcr import DcrDevice, words
from devices.registers import Bank

CHANNELS = 32
RESET = 0x8000_0000


def _channels(regs: Bank) -> None:
    for base, side in ((0x04, "TX"), (0x10, "RX")):
        words(regs, (base, f"{side}CASR"), (base + 1, f"{side}CARR"))
        words(regs, (base + 2, f"{side}EOBISR"), (base + 3, f"{side}DEIR"))
    words(regs, *((0x20 + n, f"TXCTP{n}") for n in range(CHANNELS)))
    words(regs, *((0x40 + n, f"RXCTP{n}") for n in range(CHANNELS)))
    words(regs, *((0x60 + n, f"RCBS{n}") for n in range(CHANNELS)))


@device("ppc4xx-mal", "memory access layer of 4xx chips")
class Mal(DcrDevice):
    """Channel n is bit n from the most significant one."""

    regs = Bank(4 * 0x80, width=4)
    words(regs, (0x00, "CFG"), (0x01, "ESR"), (0x02, "IER"), (0x09, "TXBADDR"), (0x15, "RXBADDR"))
    _channels(regs)

    @regs.on_write(0x00, "CFG")
    def write_config(self, value: int) -> None:
        """The reset bit clears everything, itself too."""
        if value & RESET:
            self.clear()
        else:
            self.registers["CFG"] = value

    def put(self, index: int, value: int) -> None:
        """Sets and clears of channels, and status that ones clear."""
        side = {0x04: "TX", 0x10: "RX"}.get(index & ~3)
        if index == 1:
            self.registers["ESR"] &= ~value
        elif side is None:
            super().put(index, value)
        else:
            self._act(side, index & 3, value)

    def get(self, index: int) -> int:
        """Both activation registers read as the active channels."""
        return super().get({0x05: 0x04, 0x11: 0x10}.get(index, index))

    def _act(self, side: str, what: int, value: int) -> None:
        """`what`: 0 activates, 1 stops, 2 and 3 acknowledge ends of buffers and descriptor errors."""
        if what == 0:
            self.registers[f"{side}CASR"] |= value
        elif what == 1:
            self.registers[f"{side}CASR"] &= ~value
        else:
            self.registers[f"{side}{('EOBISR', 'DEIR')[what - 2]}"] &= ~value
