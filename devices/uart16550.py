"""National 16550A UART.

Bytes the guest sends go to `console` the moment they are written, so the transmitter always reads empty; only the
transmitter's interrupt takes a little time (`SEND_NS`), as drivers loop in their handler for as long as it is there.
Bytes for the guest come through `receive`, which takes no more than the FIFO holds. `irq` is not gated by OUT2, so that
kernels which never touch MCR (xv6) get their interrupts as they do under QEMU.

National Semiconductor PC16550D data sheet, section 8 (registers).
"""

# ruff: noqa: RUF009

from __future__ import annotations

from dataclasses import dataclass

from devices import state
from devices.contracts import Clock, Console, Line
from devices.device import Device, device
from devices.registers import Bank

SEND_NS = 20_000
"""From writing THR to the interrupt that says it is empty again."""
CLOCK_HZ = 1_843_200
FIFO = 16
TRIGGERS = (1, 4, 8, 14)

IER_RX, IER_THRE, IER_LINE, IER_MODEM = 1, 2, 4, 8
IIR_NONE, IIR_MODEM, IIR_THRE, IIR_RX, IIR_LINE, IIR_TIMEOUT = 0x01, 0x00, 0x02, 0x04, 0x06, 0x0C
LCR_DLAB = 0x80
MCR_LOOP = 0x10
LSR_DR, LSR_OVERRUN, LSR_BREAK, LSR_EMPTY = 0x01, 0x02, 0x10, 0x60
MSR_CONNECTED = 0xB0
"""CTS, DSR and DCD, as from a terminal that is always there."""


@device("uart16550", "16550A serial port")
class Uart16550(Device):
    """Eight ports from `read` and `write`."""

    regs = Bank(8)
    lcr = regs.register(3, "LCR", fields={"WLS": (1, 0), "STB": 2, "PEN": 3, "EPS": 4, "SP": 5, "BRK": 6, "DLAB": 7})
    mcr = regs.register(4, "MCR", mask=0x1F, fields={"DTR": 0, "RTS": 1, "OUT1": 2, "OUT2": 3, "LOOP": 4})
    scr = regs.register(7, "SCR")

    @dataclass
    class State:
        divisor: int = state.uint(16, 12)
        ier: int = state.uint(4)
        fcr: int = state.uint(8)
        line: int = state.uint(8)
        """Overrun and break since LSR was last read."""
        deltas: int = state.uint(4)
        modem: int = state.uint(8, MSR_CONNECTED)
        """The modem inputs that MSR showed last."""
        fifo: list[int] = state.queue(FIFO)
        stale: bool = state.flag()
        """Received bytes have waited for the character timeout."""
        thre: bool = state.flag()
        """The transmitter-empty interrupt is pending."""
        sent_at: int | None = state.deadline()
        stale_at: int | None = state.deadline()

    state: State

    def __init__(self, *, clock: Clock, irq: Line, console: Console) -> None:
        super().__init__()
        self.clock = clock
        self.irq = irq
        self.console = console
        self._send_timer = clock.timer("uart16550 transmitter", self._sent)
        self._stale_timer = clock.timer("uart16550 receiver", self._grew_stale)

    def reset(self) -> None:
        """The master reset pin."""
        self.clear()
        self._send_timer.cancel()
        self._stale_timer.cancel()
        self._update()

    def restored(self) -> None:
        """Arm both timers again."""
        for timer, when in ((self._send_timer, self.state.sent_at), (self._stale_timer, self.state.stale_at)):
            if when is None:
                timer.cancel()
            else:
                timer.arm(when)

    def room(self) -> int:
        """How many bytes `receive` would take now."""
        if self.mcr & MCR_LOOP:
            return 0
        return (FIFO if self.state.fcr & 1 else 1) - len(self.state.fifo)

    def receive(self, data: bytes) -> int:
        """Bytes from the line. Returns how many were taken; the rest must be offered again later."""
        taken = min(len(data), max(0, self.room()))
        if taken:
            self.state.fifo += data[:taken]
            self._received()
            self._update()
        return taken

    def receive_break(self) -> None:
        """A break condition from the line."""
        if self.room() > 0:
            self.state.fifo.append(0)
            self.state.line |= LSR_BREAK
            self._received()
            self._update()

    def read(self, offset: int, width: int) -> int:
        """One of the eight ports."""
        return self.regs.read(self, offset, width)

    def write(self, offset: int, width: int, value: int) -> None:
        """One of the eight ports."""
        self.regs.write(self, offset, width, value)

    @regs.on_read(0, "RBR")
    def read_rbr(self) -> int:
        """The oldest received byte, or the low half of the divisor."""
        s = self.state
        if self.lcr & LCR_DLAB:
            return s.divisor & 0xFF
        if not s.fifo:
            return 0
        value = s.fifo.pop(0)
        s.stale = False
        self._watch_fifo()
        self._update()
        return value

    @regs.on_write(0, "THR")
    def write_thr(self, value: int) -> None:
        """Send a byte, or set the low half of the divisor."""
        s = self.state
        if self.lcr & LCR_DLAB:
            s.divisor = s.divisor & 0xFF00 | value
            return
        if not self.mcr & MCR_LOOP:
            self.console.send(bytes((value,)))
        elif len(s.fifo) < (FIFO if s.fcr & 1 else 1):
            s.fifo.append(value)
            self._received()
        else:
            s.line |= LSR_OVERRUN
        s.thre = False
        if s.ier & IER_THRE and s.sent_at is None:
            s.sent_at = self.clock.now() + SEND_NS
            self._send_timer.arm(s.sent_at)
        self._update()

    @regs.on_read(1, "IER")
    def read_ier(self) -> int:
        """The interrupt enables, or the high half of the divisor."""
        return self.state.divisor >> 8 if self.lcr & LCR_DLAB else self.state.ier

    @regs.on_write(1, "IER")
    def write_ier(self, value: int) -> None:
        """Enabling the transmitter interrupt raises it at once, as the transmitter is empty."""
        s = self.state
        if self.lcr & LCR_DLAB:
            s.divisor = s.divisor & 0xFF | value << 8
            return
        rising = value & ~s.ier
        s.ier = value & 0x0F
        if rising & IER_THRE:
            s.thre = True
        elif not value & IER_THRE:
            s.sent_at = None
            self._send_timer.cancel()
        self._watch_fifo()
        self._update()

    @regs.on_read(2, "IIR")
    def read_iir(self) -> int:
        """The most urgent interrupt; reading clears a transmitter interrupt that it shows."""
        source = self._source()
        if source == IIR_THRE:
            self.state.thre = False
            self._update()
        return source | (0xC0 if self.state.fcr & 1 else 0)

    @regs.on_write(2, "FCR")
    def write_fcr(self, value: int) -> None:
        """Switching the FIFOs empties them; bits 1 and 2 empty one each."""
        s = self.state
        if (value ^ s.fcr) & 1 or value & 2:
            s.fifo.clear()
            s.stale = False
        s.fcr = value & 0xC9 if value & 1 else 0
        self._watch_fifo()
        self._update()

    @regs.on_write(4, "MCR")
    def write_mcr(self, value: int) -> None:
        """Modem outputs; with LOOP they are the modem inputs."""
        self.mcr = value & 0x1F
        self._modem_changed()
        self._update()

    @regs.on_read(5, "LSR")
    def read_lsr(self) -> int:
        """The transmitter is always empty."""
        s = self.state
        value = LSR_EMPTY | s.line | (LSR_DR if s.fifo else 0)
        if s.fcr & 1 and s.line & LSR_BREAK:
            value |= 0x80
        s.line = 0
        self._update()
        return value

    @regs.on_write(5, "LSR")
    def write_lsr(self, value: int) -> None:
        """Meant for factory tests."""

    @regs.on_read(6, "MSR")
    def read_msr(self) -> int:
        """Modem inputs and their changes since the last read."""
        s = self.state
        value = s.modem | s.deltas
        s.deltas = 0
        self._update()
        return value

    @regs.on_write(6, "MSR")
    def write_msr(self, value: int) -> None:
        """Read only."""

    def _modem_changed(self) -> None:
        """Follow the modem inputs: those of the line, or in loop mode RTS, DTR, OUT1 and OUT2."""
        s = self.state
        if self.mcr & MCR_LOOP:
            out = self.mcr
            now = (out & 2) << 3 | (out & 1) << 5 | (out & 4) << 4 | (out & 8) << 4
        else:
            now = MSR_CONNECTED
        changed = s.modem ^ now
        # The ring indicator counts when it goes away.
        s.deltas |= (changed & 0xB0) >> 4 | (changed & s.modem & 0x40) >> 4
        s.modem = now

    def _received(self) -> None:
        self.state.stale = False
        self._watch_fifo()

    def _watch_fifo(self) -> None:
        """Run the character timeout while fewer bytes than the trigger level wait in the FIFO."""
        s = self.state
        waiting = s.fifo and s.fcr & 1 and s.ier & IER_RX and len(s.fifo) < TRIGGERS[s.fcr >> 6] and not s.stale
        if waiting:
            # Four characters of ten bits.
            s.stale_at = self.clock.now() + min(max(s.divisor, 1) * 40 * 16 * 1_000_000_000 // CLOCK_HZ, 50_000_000)
            self._stale_timer.arm(s.stale_at)
        elif s.stale_at is not None:
            s.stale_at = None
            self._stale_timer.cancel()

    def _grew_stale(self) -> None:
        self.state.stale_at = None
        self.state.stale = bool(self.state.fifo)
        self._update()

    def _sent(self) -> None:
        self.state.sent_at = None
        self.state.thre = True
        self._update()

    def _source(self) -> int:
        """What IIR shows in its low four bits."""
        s = self.state
        if s.ier & IER_LINE and s.line:
            return IIR_LINE
        if s.ier & IER_RX and s.fifo:
            if not s.fcr & 1 or len(s.fifo) >= TRIGGERS[s.fcr >> 6]:
                return IIR_RX
            if s.stale:
                return IIR_TIMEOUT
        if s.ier & IER_THRE and s.thre:
            return IIR_THRE
        if s.ier & IER_MODEM and s.deltas:
            return IIR_MODEM
        return IIR_NONE

    def _update(self) -> None:
        self.irq.set(self._source() != IIR_NONE)
