"""Level 2 cache of the 460EX, with the registers of its memory, which may also be used as SRAM.

    l2c = L2Cache460Ex()
    map_dcrs(0x20, 0x20, l2c.read_dcr, l2c.write_dcr)           # SRAM at 0x20, cache at 0x30

A cache is never seen, so these are registers only: every command is complete at once, and there are no errors (the
error interrupt would be input 11 of UIC1). The SRAM, when it is no cache, is not there.

PPC460EX user's manual, "L2 Cache" and "Internal SRAM".
"""

from __future__ import annotations

from devices.device import device
from devices.ppc4xx_dcr import DcrDevice, words
from devices.registers import Bank


@device("ppc460ex-l2c", "level 2 cache and its SRAM of the 460EX")
class L2Cache460Ex(DcrDevice):
    """SRAM registers at offset 0, cache registers at offset 10h."""

    COMPLETE = 0x8000_0000

    regs = Bank(0x80, width=4)
    words(regs, *((n, f"SB{n}CR", base) for n, base in enumerate((0x0000_0984, 0x0001_0984, 0x0002_0984, 0x0003_0984))))
    words(regs, (0x4, "BEAR"), (0x5, "BESR0"), (0x6, "BESR1"), (0x7, "PMEG"), (0xA, "DPC"))
    regs.register(0x20, "CID", mask=0)
    regs.register(0x24, "REVID", mask=0)
    words(regs, (0x10, "L2CFG"), (0x11, "L2CMD"), (0x12, "L2ADDR"), (0x13, "L2DATA"), (0x16, "SNP0"), (0x17, "SNP1"))
    regs.register(0x50, "L2SR", mask=0, reset=COMPLETE, fields={"CC": 31, "CPE": 30, "TPE": 29, "LRU": 28, "PCS": 27})
    regs.register(0x54, "L2REVID", mask=0)

    @regs.on_write(0x44, "L2CMD")
    def write_command(self, value: int) -> None:
        """Carried out when it is written; only a diagnostic read leaves a result, which is zero."""
        self.registers["L2DATA"] = 0
