"""Universal interrupt controller (UIC) of the IBM/AMCC 4xx chips: 32 inputs, nine device control registers.

    uic0 = Uic(intr=Wire(cpu.set_intr), critical=Wire(cpu.set_critical))
    uic1 = Uic(intr=uic0.line(30), critical=uic0.line(31))       # a cascade
    map_dcrs(0xC0, 9, uic0.read_dcr, uic0.write_dcr)             # UIC1 at 0xD0, UIC2 at 0xE0, UIC3 at 0xF0

Inputs come in through `line(n)`; input 0 is the most significant bit of every register, as the manual counts. `intr`
is high while an enabled non-critical interrupt is pending, `critical` while a critical one is. The cascades of a 440EP
are UIC1 into 30/31 of UIC0; of a 460EX also UIC2 into 10/11 and UIC3 into 16/17.

PPC440EP user's manual, chapter "Interrupt Controller Operations"; PPC460EX user's manual, the same chapter.
"""

from __future__ import annotations

from dataclasses import dataclass

from devices import state
from devices.contracts import Line, Wire
from devices.device import Device, device
from devices.registers import Bank

INPUTS = 32
ALL = 0xFFFF_FFFF
VECTOR_SIZE = 512
"""Bytes of code that the vector register leaves for each input."""


def bit(number: int) -> int:
    """The mask of input `number` 0..31."""
    return 0x8000_0000 >> number


@device("uic", "universal interrupt controller of 4xx chips")
class Uic(Device):
    """One controller. `line(n)` makes its inputs; all of them before the guest starts."""

    regs = Bank(0x24, width=4)
    sr = regs.register(0x00, "SR")
    er = regs.register(0x08, "ER")
    cr = regs.register(0x0C, "CR")
    pr = regs.register(0x10, "PR", reset=ALL)
    tr = regs.register(0x14, "TR")
    vcr = regs.register(0x20, "VCR", mask=0xFFFF_FFFD, fields={"VBA": (31, 2), "PRO": 0})

    @dataclass
    class State:
        lines: int = state.uint(INPUTS)
        """The electrical level of every input."""

    state: State

    def __init__(self, *, intr: Line, critical: Line) -> None:
        super().__init__()
        self.intr = intr
        self.critical = critical
        self._active_low = 0

    def reset(self) -> None:
        """Nothing enabled; the levels of the inputs are kept.

        Hardware leaves the polarities undefined. Here they are the ones that make every idle input inactive.
        """
        lines = self.state.lines
        self.clear()
        self.state.lines = lines
        self.pr = ALL & ~self._active_low
        self._update()

    def line(self, number: int, *, active_low: bool = False) -> Line:
        """The line into input 0..31. An `active_low` one pulls the input low when it is set to True.

        Raises ValueError for any other number.
        """
        if not 0 <= number < INPUTS:
            raise ValueError(f"uic: no input {number}")
        if active_low:
            self._active_low |= bit(number)
            self.state.lines |= bit(number)
            self.pr &= ~bit(number)
            return Wire(lambda level: self.drive(number, not level))
        return Wire(lambda level: self.drive(number, level))

    def drive(self, number: int, level: bool) -> None:
        """Set the electrical level of input 0..31."""
        mask = bit(number)
        before = self.state.lines
        lines = before | mask if level else before & ~mask
        if lines == before:
            return
        self.state.lines = lines
        if bool(self.pr & mask) == level:
            self.sr |= mask  # the active edge, or the start of the active level
            self._update()

    def read_dcr(self, offset: int) -> int:
        """The device control register at `offset` 0..8 from the base."""
        return self.regs.read(self, 4 * offset, 4)

    def write_dcr(self, offset: int, value: int) -> None:
        """The device control register at `offset` 0..8 from the base."""
        self.regs.write(self, 4 * offset, 4, value)

    @regs.on_write(0x00, "SR")
    def clear_status(self, value: int) -> None:
        """Ones clear status bits, but not those of levels that are still active."""
        self.sr &= ~value
        self._update()

    @regs.on_read(0x04, "SRS")
    def read_status(self) -> int:
        """The status."""
        return self.sr

    @regs.on_write(0x04, "SRS")
    def set_status(self, value: int) -> None:
        """Ones set status bits, for tests by software."""
        self.sr |= value
        self._update()

    @regs.on_write(0x08, "ER")
    def write_enable(self, value: int) -> None:
        """Which inputs may interrupt."""
        self.er = value
        self._update()

    @regs.on_write(0x0C, "CR")
    def write_critical(self, value: int) -> None:
        """Which inputs are critical."""
        self.cr = value
        self._update()

    @regs.on_write(0x10, "PR")
    def write_polarity(self, value: int) -> None:
        """Ones for active high or rising. A new polarity is no edge, but may make a level active."""
        self.pr = value
        self._update()

    @regs.on_write(0x14, "TR")
    def write_trigger(self, value: int) -> None:
        """Ones for edges."""
        self.tr = value
        self._update()

    @regs.on_read(0x18, "MSR")
    def masked_status(self) -> int:
        """The status bits that are enabled."""
        return self.sr & self.er

    @regs.on_write(0x18, "MSR")
    def write_masked_status(self, value: int) -> None:
        """Read only."""

    @regs.on_read(0x1C, "VR")
    def vector(self) -> int:
        """The address for the first critical interrupt: 0 if there is none.

        VCR[PRO] says which end has the highest priority; the vector counts from that end.
        """
        pending = self.sr & self.er & self.cr
        if not pending:
            return 0
        first = INPUTS - pending.bit_length() if self.vcr & 1 else (pending & -pending).bit_length() - 1
        return ((self.vcr & ~3) + VECTOR_SIZE * first) & ALL

    @regs.on_write(0x1C, "VR")
    def write_vector(self, value: int) -> None:
        """Read only."""

    def _update(self) -> None:
        active = ~(self.state.lines ^ self.pr)
        self.sr |= active & ~self.tr & ALL
        pending = self.sr & self.er
        self.critical.set(bool(pending & self.cr))
        self.intr.set(bool(pending & ~self.cr))
