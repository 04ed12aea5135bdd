"""I2C controller of MPC85xx chips, the only master of its bus.

    bus = I2cBus(); bus.attach(0x68, Ds1338(...))
    i2c = FslI2c(irq=..., bus=bus)
    map_mmio(ccsr + 0x3000, 0x100, i2c.read, i2c.write)     the second controller is at 0x3100; both share one interrupt
                                                            (MPIC input 43) through an `IrqRouter`

A byte takes no time: MCF and MIF are set as soon as it is written or, when receiving, as the byte before it is read.
MPC8544E reference manual, chapter 11. The chip as a slave is not modelled.
"""

from __future__ import annotations

from dataclasses import dataclass

from devices import state
from devices.contracts import Line
from devices.device import Device, device
from devices.i2c import I2cBus
from devices.registers import Bank

MEN, MIEN, MSTA, MTX, TXAK, RSTA = 0x80, 0x40, 0x20, 0x10, 0x08, 0x04
MCF, MBB, MAL, MIF, RXAK = 0x80, 0x20, 0x10, 0x02, 0x01
IDLE, ADDRESS, SEND, RECEIVE = range(4)


@device("fsl-i2c", "MPC85xx I2C controller")
class FslI2c(Device):
    """Byte-wide registers every four bytes."""

    regs = Bank(0x100, big_endian=True)
    adr = regs.register(0x00, "I2CADR", mask=0xFE)
    fdr = regs.register(0x04, "I2CFDR", mask=0x3F)
    cr = regs.register(
        0x08,
        "I2CCR",
        mask=0xFD,
        fields={"MEN": 7, "MIEN": 6, "MSTA": 5, "MTX": 4, "TXAK": 3, "RSTA": 2, "BCST": 0},
        unmodelled=0x01,
    )
    sr = regs.register(0x0C, "I2CSR", reset=MCF | RXAK)
    dr = regs.register(0x10, "I2CDR")
    dfsrr = regs.register(0x14, "I2CDFSRR", mask=0x3F, reset=0x10)

    @dataclass
    class State:
        stage: int = state.ranged(IDLE, RECEIVE)
        target: int = state.uint(7)
        """The address sent last."""

    state: State

    def __init__(self, *, irq: Line, bus: I2cBus) -> None:
        super().__init__()
        self.irq = irq
        self.bus = bus

    def reset(self) -> None:
        """A transfer under way is over."""
        self._stop()
        self.clear()
        self._update()

    def read(self, offset: int, width: int) -> int:
        """`width` bytes at `offset`."""
        return self.regs.read(self, offset, width)

    def write(self, offset: int, width: int, value: int) -> None:
        """`width` bytes at `offset`."""
        self.regs.write(self, offset, width, value)

    @regs.on_write(0x08, "I2CCR")
    def write_control(self, value: int) -> None:
        """MSTA makes the start and the stop, RSTA a repeated start; without MEN the controller is in reset."""
        before, self.cr = self.cr, value & 0xFD & ~RSTA
        if not value & MEN:
            self._stop()
            self.sr = MCF | RXAK
        elif value & MSTA and (not before & MSTA or value & RSTA):
            self.state.stage = ADDRESS
            self.sr |= MBB
        elif not value & MSTA:
            self._stop()
        self._update()

    @regs.on_write(0x0C, "I2CSR")
    def write_status(self, value: int) -> None:
        """Writing 0 clears MIF and MAL."""
        self.sr &= value | ~(MIF | MAL) & 0xFF
        self._update()

    @regs.on_write(0x10, "I2CDR")
    def write_data(self, value: int) -> None:
        """As a transmitting master: send the byte, the first after a start being the address."""
        s = self.state
        if not self.cr & MEN:
            return
        self.dr = value
        if self.cr & (MSTA | MTX) != MSTA | MTX:
            return
        if s.stage == ADDRESS:
            s.target = value >> 1
            taken = self.bus.start(s.target, bool(value & 1))
            s.stage = RECEIVE if value & 1 else SEND
        else:
            taken = s.stage == SEND and self.bus.write(s.target, value)
        self.sr = self.sr & ~RXAK if taken else self.sr | RXAK
        self._done()

    @regs.on_read(0x10, "I2CDR")
    def read_data(self) -> int:
        """As a receiving master: the byte that came, and reading it starts the next."""
        value = self.dr
        if self.cr & (MSTA | MTX) == MSTA and self.state.stage == RECEIVE:
            self.dr = self.bus.read(self.state.target)
            self._done()
        return value

    def _done(self) -> None:
        self.sr |= MCF | MIF
        self._update()

    def _stop(self) -> None:
        if self.state.stage in (SEND, RECEIVE):
            self.bus.stop(self.state.target)
        self.state.stage = IDLE
        self.sr &= ~MBB

    def _update(self) -> None:
        self.irq.set(self.cr & (MEN | MIEN) == MEN | MIEN and bool(self.sr & MIF))
