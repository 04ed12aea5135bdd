"""The two cascaded 8259A interrupt controllers of a PC.

Interrupt lines come in through `input(irq)`; the slave hangs on the master's input 2. `intr` goes to the processor (or
to LINT0 of a local APIC), which answers with `acknowledge()` to get the vector. Ports 0x20/0x21 are the master,
0xA0/0xA1 the slave, 0x4D0/0x4D1 the edge/level control registers.

Intel 8259A data sheet (order 231468); ELCR: 82371SB (PIIX3) data sheet, 2.5.6.
"""

# ruff: noqa: RUF009

from __future__ import annotations

from dataclasses import dataclass

from devices import state
from devices.contracts import Line, Wire
from devices.device import Device, device

CASCADE = 2


@dataclass
class Chip:
    """One 8259A."""

    irr: int = state.uint(8)
    isr: int = state.uint(8)
    imr: int = state.uint(8)
    lines: int = state.uint(8)
    elcr: int = state.uint(8)
    base: int = state.uint(8)
    first: int = state.uint(3)
    """The input that has the highest priority."""
    icw: int = state.ranged(0, 4)
    """The initialisation word that is expected next; 0 when initialised."""
    single: bool = state.flag()
    wants_icw4: bool = state.flag()
    auto_eoi: bool = state.flag()
    fully_nested: bool = state.flag()
    special_mask: bool = state.flag()
    rotate_auto: bool = state.flag()
    poll: bool = state.flag()
    read_isr: bool = state.flag()

    def rank(self, bits: int) -> int:
        """The priority of the most urgent of `bits`, 0 being the highest; 8 if there is none."""
        if not bits:
            return 8
        turned = ((bits << 8 | bits) >> self.first) & 0xFF
        return (turned & -turned).bit_length() - 1

    def pending(self, master: bool) -> int:
        """The input whose interrupt the chip would give now, or -1."""
        request = self.rank(self.irr & ~self.imr)
        if request == 8:
            return -1
        blocking = self.isr
        if self.special_mask:
            blocking &= ~self.imr
        if self.fully_nested and master:
            blocking &= ~(1 << CASCADE)
        return (request + self.first) & 7 if request < self.rank(blocking) else -1

    def take(self, irq: int) -> None:
        """The processor acknowledged input `irq`."""
        bit = 1 << irq
        if not self.elcr & bit:
            self.irr &= ~bit
        if not self.auto_eoi:
            self.isr |= bit
        elif self.rotate_auto:
            self.first = (irq + 1) & 7

    def drive(self, irq: int, level: bool) -> None:
        """The level of an input changed. A request that goes away before it is taken is forgotten."""
        bit = 1 << irq
        if not level:
            self.lines &= ~bit
            self.irr &= ~bit
        elif (self.elcr | ~self.lines) & bit:
            self.lines |= bit
            self.irr |= bit

    def end(self, command: int, irq: int) -> None:
        """Operation command word 2: end of interrupt and rotation."""
        if command in (0, 4):
            self.rotate_auto = command == 4
        elif command in (1, 5):
            served = self.rank(self.isr & ~self.imr if self.special_mask else self.isr)
            if served < 8:
                done = (served + self.first) & 7
                self.isr &= ~(1 << done)
                if command == 5:
                    self.first = (done + 1) & 7
        elif command in (3, 7):
            self.isr &= ~(1 << irq)
            if command == 7:
                self.first = (irq + 1) & 7
        elif command == 6:
            self.first = (irq + 1) & 7

    def initialise(self, icw1: int) -> None:
        """Initialisation command word 1."""
        self.irr &= self.elcr & self.lines
        self.imr = self.isr = self.first = 0
        self.special_mask = self.read_isr = self.poll = self.rotate_auto = False
        self.auto_eoi = self.fully_nested = False
        self.wants_icw4 = bool(icw1 & 1)
        self.single = bool(icw1 & 2)
        self.icw = 2


@device("pic8259", "pair of 8259A interrupt controllers")
class Pic8259(Device):
    """Master and slave. `intr` is high while an interrupt waits for `acknowledge`."""

    @dataclass
    class State:
        chips: list[Chip] = state.records(2, Chip)

    state: State

    def __init__(self, *, intr: Line) -> None:
        super().__init__()
        self.intr = intr

    def reset(self) -> None:
        """Forget everything but the levels of the inputs."""
        levels = [chip.lines for chip in self.state.chips]
        self.clear()
        for chip, lines in zip(self.state.chips, levels, strict=True):
            chip.lines = lines
        self._update()

    def input(self, irq: int) -> Line:
        """The line into input `irq`, 0..15. Input 2 is the cascade and ignores its level."""
        if not 0 <= irq <= 15:
            raise ValueError(f"pic8259: no input {irq}")
        return Wire(lambda level: self.drive(irq, level))

    def drive(self, irq: int, level: bool) -> None:
        """Set the level of input `irq`."""
        if irq != CASCADE:
            self.state.chips[irq >> 3].drive(irq & 7, level)
            self._update()

    def acknowledge(self) -> int:
        """The processor's interrupt acknowledge cycle: the vector. With nothing pending it is that of input 7."""
        master, slave = self.state.chips
        irq = master.pending(True)
        if irq < 0:
            return master.base | 7
        master.take(irq)
        vector = master.base | irq
        if irq == CASCADE and not master.single:
            irq = slave.pending(False)
            if irq >= 0:
                slave.take(irq)
            vector = slave.base | (irq & 7)
        self._update()
        return vector

    def read_master(self, offset: int, width: int) -> int:
        """Port 0x20 or 0x21."""
        return self._read(0, offset)

    def write_master(self, offset: int, width: int, value: int) -> None:
        """Port 0x20 or 0x21."""
        self._write(0, offset, value)

    def read_slave(self, offset: int, width: int) -> int:
        """Port 0xA0 or 0xA1."""
        return self._read(1, offset)

    def write_slave(self, offset: int, width: int, value: int) -> None:
        """Port 0xA0 or 0xA1."""
        self._write(1, offset, value)

    def read_elcr(self, offset: int, width: int) -> int:
        """Port 0x4D0 or 0x4D1: which inputs are level triggered."""
        return self.state.chips[offset & 1].elcr

    def write_elcr(self, offset: int, width: int, value: int) -> None:
        """Port 0x4D0 or 0x4D1. Timer, keyboard, cascade, clock and FPU inputs are always edge triggered."""
        chip = self.state.chips[offset & 1]
        chip.elcr = value & (0xDE if offset & 1 else 0xF8)
        chip.irr = (chip.irr & ~chip.elcr) | (chip.lines & chip.elcr)
        self._update()

    def _read(self, which: int, offset: int) -> int:
        chip = self.state.chips[which]
        if chip.poll:
            chip.poll = False
            irq = chip.pending(which == 0)
            if irq < 0:
                return 7
            chip.take(irq)
            self._update()
            return 0x80 | irq
        if offset & 1:
            return chip.imr
        return chip.isr if chip.read_isr else chip.irr

    def _write(self, which: int, offset: int, value: int) -> None:
        chip = self.state.chips[which]
        if not offset & 1:
            if value & 0x10:
                if value & 0x08:
                    self.unimplemented("ICW1: level triggered mode for all inputs")
                chip.initialise(value)
            elif value & 0x08:
                self._ocw3(chip, value)
            else:
                chip.end(value >> 5, value & 7)
        elif chip.icw == 0:
            chip.imr = value
        else:
            self._icw(chip, value)
        self._update()

    def _icw(self, chip: Chip, value: int) -> None:
        if chip.icw == 2:
            chip.base = value & 0xF8
            chip.icw = 4 if chip.single else 3
        elif chip.icw == 3:
            chip.icw = 4
        elif chip.icw == 4:
            chip.auto_eoi = bool(value & 2)
            chip.fully_nested = bool(value & 0x10)
            chip.icw = 0
        if chip.icw == 4 and not chip.wants_icw4:
            chip.icw = 0

    def _ocw3(self, chip: Chip, value: int) -> None:
        chip.poll = bool(value & 4)
        if value & 2:
            chip.read_isr = bool(value & 1)
        if value & 0x40:
            chip.special_mask = bool(value & 0x20)

    def _update(self) -> None:
        master, slave = self.state.chips
        if slave.pending(False) >= 0:
            master.irr |= 1 << CASCADE
        else:
            master.irr &= ~(1 << CASCADE)
        self.intr.set(master.pending(True) >= 0)
