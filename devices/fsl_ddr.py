"""DDR memory controller of MPC85xx chips. Memory is always there; the registers are as firmware leaves them.

    FslDdr(memory=bytes of RAM)
    map_mmio(ccsr + 0x2000, 0x1000, ddr.read, ddr.write)

MPC8544E reference manual, chapter 9. Errors never happen; what starts an operation is finished at once.
"""

from __future__ import annotations

from devices.device import Device, device
from devices.registers import Bank

MEM_EN = 1 << 31
MD_EN = 1 << 31
D_INIT = 1 << 4
CS_EN = 1 << 31

STORAGE = {
    0x100: "TIMING_CFG_3",
    0x104: "TIMING_CFG_0",
    0x108: "TIMING_CFG_1",
    0x10C: "TIMING_CFG_2",
    0x118: "DDR_SDRAM_MODE",
    0x11C: "DDR_SDRAM_MODE_2",
    0x124: "DDR_SDRAM_INTERVAL",
    0x128: "DDR_DATA_INIT",
    0x130: "DDR_SDRAM_CLK_CNTL",
    0x148: "DDR_INIT_ADDR",
    0x14C: "DDR_INIT_EXT_ADDR",
    0x160: "TIMING_CFG_4",
    0x164: "TIMING_CFG_5",
    0x170: "DDR_ZQ_CNTL",
    0x174: "DDR_WRLVL_CNTL",
    0x17C: "DDR_SR_CNTR",
    0x180: "DDR_SDRAM_RCW_1",
    0x184: "DDR_SDRAM_RCW_2",
    0xE00: "DATA_ERR_INJECT_HI",
    0xE04: "DATA_ERR_INJECT_LO",
    0xE08: "ERR_INJECT",
    0xE20: "CAPTURE_DATA_HI",
    0xE24: "CAPTURE_DATA_LO",
    0xE28: "CAPTURE_ECC",
    0xE44: "ERR_DISABLE",
    0xE48: "ERR_INT_EN",
    0xE4C: "CAPTURE_ATTRIBUTES",
    0xE50: "CAPTURE_ADDRESS",
    0xE54: "CAPTURE_EXT_ADDRESS",
    0xE58: "ERR_SBE",
}


def _declare_storage(regs: Bank) -> None:
    for n in range(4):
        regs.register(0x000 + 8 * n, f"CS{n}_BNDS", mask=0x0FFF_0FFF, fields={"SA": (27, 16), "EA": (11, 0)})
        regs.register(0x080 + 4 * n, f"CS{n}_CONFIG", fields={"CS_EN": 31})
        regs.register(0x0C0 + 4 * n, f"CS{n}_CONFIG_2")
    for offset, name in STORAGE.items():
        regs.register(offset, name)


@device("fsl-ddr", "MPC85xx DDR memory controller")
class FslDdr(Device):
    """`memory` is the size of RAM in bytes; chip select 0 has all of it."""

    regs = Bank(0x1000, width=4, big_endian=True)
    _declare_storage(regs)
    cfg = regs.register(0x110, "DDR_SDRAM_CFG", reset=MEM_EN | 0x0300_0000, fields={"MEM_EN": 31})
    cfg_2 = regs.register(0x114, "DDR_SDRAM_CFG_2", fields={"D_INIT": 4})
    md_cntl = regs.register(0x120, "DDR_SDRAM_MD_CNTL", fields={"MD_EN": 31})
    ip_rev1 = regs.register(0xBF8, "DDR_IP_REV1", mask=0, reset=0x0002_0300)
    ip_rev2 = regs.register(0xBFC, "DDR_IP_REV2", mask=0)
    err_detect = regs.register(0xE40, "ERR_DETECT")

    def __init__(self, *, memory: int) -> None:
        self.memory = memory
        super().__init__()

    def clear(self) -> None:
        super().clear()
        self.registers["CS0_BNDS"] = max(0, self.memory - 1) >> 24 & 0xFFF
        self.registers["CS0_CONFIG"] = CS_EN

    def read(self, offset: int, width: int) -> int:
        """`width` bytes at `offset`."""
        return self.regs.read(self, offset, width)

    def write(self, offset: int, width: int, value: int) -> None:
        """`width` bytes at `offset`."""
        self.regs.write(self, offset, width, value)

    @regs.on_write(0x114, "DDR_SDRAM_CFG_2")
    def write_cfg_2(self, value: int) -> None:
        """Initialising memory takes no time, and leaves it as it is."""
        self.cfg_2 = value & ~D_INIT

    @regs.on_write(0x120, "DDR_SDRAM_MD_CNTL")
    def write_md_cntl(self, value: int) -> None:
        """A mode register is set at once."""
        self.md_cntl = value & ~MD_EN

    @regs.on_write(0xE40, "ERR_DETECT")
    def write_err_detect(self, value: int) -> None:
        """Writing 1 clears an error."""
        self.err_detect &= ~value
