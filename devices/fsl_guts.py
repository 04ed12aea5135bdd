"""Global utilities of MPC85xx chips: power-on configuration, pin multiplexing, device disables, reset request.

    FslGuts(reset_line=Wire(...), pvr=0x80210030, svr=0x803C0111)
    map_mmio(ccsr + 0xE0000, 0x1000, guts.read, guts.write)

`reset_line` is pulsed when a guest sets HRESET_REQ. MPC8544E reference manual, chapter 19; the power-on registers say
what the boards have: a 66.7 MHz clock, six times that for the platform, and a core at the speed of the platform.
"""

from __future__ import annotations

from devices.contracts import Line
from devices.device import Device, device
from devices.registers import Bank

HRESET_REQ = 1 << 1


@device("fsl-guts", "MPC85xx global utilities")
class FslGuts(Device):
    """4 KiB of 32-bit registers."""

    regs = Bank(0x1000, width=4, big_endian=True)
    porpllsr = regs.register(0x00, "PORPLLSR", mask=0, reset=0x0002_000C, fields={"E500": (21, 16), "PLAT": (5, 1)})
    porbmsr = regs.register(0x04, "PORBMSR", mask=0, reset=0x8000_0000)
    porimpscr = regs.register(0x08, "PORIMPSCR", mask=0x0000_003F)
    pordevsr = regs.register(0x0C, "PORDEVSR", mask=0)
    pordbgmsr = regs.register(0x10, "PORDBGMSR", mask=0)
    pordevsr2 = regs.register(0x14, "PORDEVSR2", mask=0)
    gpporcr = regs.register(0x20, "GPPORCR", mask=0)
    gpiocr = regs.register(0x30, "GPIOCR")
    gpoutdr = regs.register(0x40, "GPOUTDR")
    gpindr = regs.register(0x50, "GPINDR", mask=0)
    pmuxcr = regs.register(0x60, "PMUXCR")
    devdisr = regs.register(0x70, "DEVDISR")
    powmgtcsr = regs.register(
        0x80, "POWMGTCSR", mask=0x000F_0000, fields={"SLP": 17, "DOZ": 18, "DPSLP": 19}, unmodelled=0x000E_0000
    )
    mcpsumr = regs.register(0x90, "MCPSUMR")
    rstrscr = regs.register(0x94, "RSTRSCR", mask=0)
    rstcr = regs.register(0xB0, "RSTCR", mask=0, fields={"HRESET_REQ": 1})
    iovselsr = regs.register(0xC0, "IOVSELSR", mask=0)
    ddrcsr = regs.register(0xB20, "DDRCSR")
    ddrcdr = regs.register(0xB24, "DDRCDR")
    ddrclkdr = regs.register(0xB28, "DDRCLKDR")
    clkocr = regs.register(0xE00, "CLKOCR")
    ddrdllcr = regs.register(0xE10, "DDRDLLCR")
    lbcdllcr = regs.register(0xE20, "LBCDLLCR")
    srds1cr0 = regs.register(0xF00, "SRDS1CR0")
    srds1cr1 = regs.register(0xF04, "SRDS1CR1")
    srds2cr1 = regs.register(0xF10, "SRDS2CR1")
    srds2cr3 = regs.register(0xF18, "SRDS2CR3")

    def __init__(self, *, reset_line: Line, pvr: int, svr: int) -> None:
        super().__init__()
        self.reset_line = reset_line
        self.pvr = pvr
        self.svr = svr

    def read(self, offset: int, width: int) -> int:
        """`width` bytes at `offset`."""
        return self.regs.read(self, offset, width)

    def write(self, offset: int, width: int, value: int) -> None:
        """`width` bytes at `offset`."""
        self.regs.write(self, offset, width, value)

    @regs.on_write(0x90, "MCPSUMR")
    def write_mcpsumr(self, value: int) -> None:
        """Causes of machine checks; writing 1 clears one."""
        self.mcpsumr &= ~value

    @regs.on_read(0xA0, "PVR")
    def read_pvr(self) -> int:
        """The core's version."""
        return self.pvr

    @regs.on_read(0xA4, "SVR")
    def read_svr(self) -> int:
        """The chip's version."""
        return self.svr

    @regs.on_write(0xB0, "RSTCR")
    def write_rstcr(self, value: int) -> None:
        """Ask the board for a hard reset."""
        if value & HRESET_REQ:
            self.reset_line.set(True)
            self.reset_line.set(False)
