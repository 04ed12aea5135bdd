"""I2C controller (IIC) of 4xx chips, the only master of its bus.

    bus = I2cBus(); bus.attach(0x68, clock)
    iic = Iic(irq=uic.line(2), bus=bus)
    map_mmio(0xEF600700, 0x14, iic.read, iic.write, max_width=1)        IIC1 at 0xEF600800; 460EX: 0x4EF600700 ...

440EP: IIC0 is input 2, IIC1 input 7 of UIC0; 460EX: inputs 2 and 3 of UIC0. Byte-wide registers.

A transfer of up to four bytes takes no time: it is over when CNTL is written, unless it must wait for the buffer. The
chip as a slave, ten-bit addresses and sleep are not modelled, and a transfer bit by bit through DIRECTCNTL finds
nobody. PPC440EP user's manual, "IIC Bus Interface".
"""

# ruff: noqa: RUF009

from __future__ import annotations

from dataclasses import dataclass

from devices import state
from devices.contracts import Line
from devices.device import Device, device
from devices.i2c import I2cBus
from devices.registers import Bank

DEPTH = 4
HALT, TEN_BITS, REPEAT, CHAIN, READ, PENDING = 0x80, 0x40, 0x08, 0x04, 0x02, 0x01
"""Bits of CNTL."""
FLUSH_SLAVE, FLUSH_MASTER, ENABLE_IRQ = 0x80, 0x40, 0x04
"""Bits of MDCNTL."""
HAS_DATA, FULL, STOPPED, ERROR, IRQ = 0x20, 0x10, 0x08, 0x04, 0x02
"""Bits of STS."""
IRQ_NEXT, FREE, MASTER, LOST, INCOMPLETE, ABORTED = 0x80, 0x40, 0x30, 0x04, 0x02, 0x01
"""Bits of EXTSTS; bits 6..4 are the state of the bus."""
WHEN_INCOMPLETE, WHEN_ABORTED, WHEN_COMPLETE = 0x04, 0x02, 0x01
"""Bits of INTRMSK."""
SOFT_RESET = 0x01
"""Bit of XTCNTLSS."""


@device("ppc4xx-iic", "I2C controller of 4xx chips")
class Iic(Device):
    """`irq` is high while STS[IRQA] is set."""

    regs = Bank(0x14)
    lmadr = regs.register(0x04, "LMADR")
    hmadr = regs.register(0x05, "HMADR")
    cntl = regs.register(
        0x06, "CNTL", fields={"HMT": 7, "AMD": 6, "TCT": (5, 4), "RPST": 3, "CHT": 2, "RW": 1, "PT": 0}
    )
    mdcntl = regs.register(0x07, "MDCNTL", mask=0x3F, fields={"EGC": 5, "FSM": 4, "ESM": 3, "EINT": 2}, unmodelled=0x28)
    sts = regs.register(0x08, "STS")
    extsts = regs.register(0x09, "EXTSTS")
    lsadr = regs.register(0x0A, "LSADR")
    hsadr = regs.register(0x0B, "HSADR")
    clkdiv = regs.register(0x0C, "CLKDIV")
    intrmsk = regs.register(0x0D, "INTRMSK")
    xfrcnt = regs.register(0x0E, "XFRCNT", mask=0x77)
    xtcntlss = regs.register(0x0F, "XTCNTLSS", mask=0x0F)
    directcntl = regs.register(0x10, "DIRECTCNTL", mask=0x0C, reset=0x0C, fields={"SDAC": 3, "SCC": 2})

    @dataclass
    class State:
        buffer: list[int] = state.queue(DEPTH)
        """The master data buffer."""
        remaining: int = state.ranged(0, DEPTH)
        """Bytes that the transfer still has to move."""
        running: bool = state.flag()
        """A slave is addressed and no stop was sent."""
        again: bool = state.flag()
        """The next transfer begins with a repeated start."""
        target: int = state.uint(7)

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

    # The buffer. MDBUF is 16 bits wide; its bytes at 0 and 1 are the same buffer.

    @regs.on_read(0x00, "MDBUF")
    def read_buffer(self) -> int:
        """The oldest byte. Room lets a waiting transfer go on."""
        value = self.state.buffer.pop(0) if self.state.buffer else 0xFF
        self._move()
        return value

    @regs.on_write(0x00, "MDBUF")
    def write_buffer(self, value: int) -> None:
        """One more byte; a fifth is lost. A waiting transfer takes it."""
        if len(self.state.buffer) < DEPTH:
            self.state.buffer.append(value)
        self._move()

    @regs.on_read(0x01, "MDBUF1")
    def read_buffer1(self) -> int:
        """The second byte of a half word."""
        return self.read_buffer()

    @regs.on_write(0x01, "MDBUF1")
    def write_buffer1(self, value: int) -> None:
        """The second byte of a half word."""
        self.write_buffer(value)

    # Transfers.

    @regs.on_write(0x06, "CNTL")
    def write_control(self, value: int) -> None:
        """PT starts a transfer, HMT ends one."""
        if self.xtcntlss & SOFT_RESET:
            return
        self.cntl = value & ~HALT
        if value & HALT:
            self.cntl &= ~PENDING
            self.state.remaining = 0
            self._stop()
        elif value & PENDING:
            self._start()

    def _start(self) -> None:
        s = self.state
        self.extsts &= ~(LOST | INCOMPLETE | ABORTED)
        self.xfrcnt &= 0x70
        s.remaining = (self.cntl >> 4 & 3) + 1
        if not s.running or s.again:
            s.target = self.lmadr >> 1
            s.running = True
            if self.cntl & TEN_BITS or not self.bus.start(s.target, bool(self.cntl & READ)):
                self._end(ABORTED, WHEN_ABORTED)
                return
        s.again = False
        self._move()

    def _move(self) -> None:
        """Move bytes while the buffer allows it."""
        s = self.state
        while s.remaining:
            if self.cntl & READ:
                if len(s.buffer) == DEPTH:
                    return
                s.buffer.append(self.bus.read(s.target))
            else:
                if not s.buffer:
                    return
                if not self.bus.write(s.target, s.buffer.pop(0)):
                    self._end(INCOMPLETE, WHEN_INCOMPLETE)
                    return
            s.remaining -= 1
            self.xfrcnt = self.xfrcnt & 0x70 | self.xfrcnt + 1 & 0x07
            if not s.remaining:
                self._end(0, WHEN_COMPLETE)

    def _end(self, error: int, event: int) -> None:
        """The transfer is over; without an error it may leave the bus to the next one."""
        self.extsts |= error
        self.state.remaining = 0
        self.state.again = not error and bool(self.cntl & REPEAT)
        if error or not self.cntl & (REPEAT | CHAIN):
            self._stop()
        self.cntl &= ~PENDING
        if self.mdcntl & ENABLE_IRQ and self.intrmsk & event:
            if self.sts & IRQ:
                self.extsts |= IRQ_NEXT
            self.sts |= IRQ
        self._update()

    def _stop(self) -> None:
        if self.state.running:
            self.bus.stop(self.state.target)
            self.sts |= STOPPED
        self.state.running = self.state.again = False

    # Status.

    @regs.on_write(0x07, "MDCNTL")
    def write_mode(self, value: int) -> None:
        """The flush bits act once."""
        self.mdcntl = value & ~(FLUSH_SLAVE | FLUSH_MASTER)
        if value & FLUSH_MASTER:
            self.state.buffer.clear()
            self._move()

    @regs.on_read(0x08, "STS")
    def read_status(self) -> int:
        """Latches, and what follows from the buffer, the errors and the transfer."""
        value = self.sts & (STOPPED | IRQ)
        if self.state.buffer:
            value |= HAS_DATA
        if len(self.state.buffer) == DEPTH:
            value |= FULL
        if self.extsts & (LOST | INCOMPLETE | ABORTED):
            value |= ERROR
        return value | self.cntl & PENDING

    @regs.on_write(0x08, "STS")
    def write_status(self, value: int) -> None:
        """Ones clear the latches; the next interrupt then moves up."""
        self.sts &= ~(value & (STOPPED | IRQ))
        if value & IRQ and self.extsts & IRQ_NEXT:
            self.extsts &= ~IRQ_NEXT
            self.sts |= IRQ
        self._update()

    @regs.on_read(0x09, "EXTSTS")
    def read_extended_status(self) -> int:
        """Latches, and the state of the bus."""
        return self.extsts & 0x8F | (MASTER if self.state.running else FREE)

    @regs.on_write(0x09, "EXTSTS")
    def write_extended_status(self, value: int) -> None:
        """Ones clear the latches."""
        self.extsts &= ~value

    @regs.on_write(0x0F, "XTCNTLSS")
    def write_extended_control(self, value: int) -> None:
        """SRST holds the controller in reset; the slave's latches are never set."""
        if value & SOFT_RESET:
            self.reset()
        self.xtcntlss = value & SOFT_RESET

    @regs.on_read(0x10, "DIRECTCNTL")
    def read_direct(self) -> int:
        """Nobody else pulls the wires: they are as they are driven."""
        return self.directcntl & 0x0C | self.directcntl >> 2 & 0x03

    def _update(self) -> None:
        self.irq.set(bool(self.sts & IRQ))
