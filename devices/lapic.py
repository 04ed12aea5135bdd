"""Local APIC of one processor (xAPIC, memory mapped at 0xFEE00000).

Interrupts come from the I/O APIC (`deliver`), from the 8259A pair on LINT0 (`set_extint`), from LINT1, from the timer
and from the interrupt command register. `intr` goes to the processor, which answers with `acknowledge()`. While the
APIC is disabled the 8259A's line passes straight through, as on a board where the APIC is wired out of the way.

Intel SDM volume 3, chapter 10 (APIC), and 10.5.4 for the timer, which counts at 1 GHz before the divider.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

from devices import state
from devices.contracts import Clock, Line
from devices.device import device
from devices.lending import Lending
from devices.registers import Bank

FIXED, LOWEST, SMI, NMI, INIT, STARTUP, EXTINT = 0, 1, 2, 4, 5, 6, 7
MASKED = 1 << 16
LEVEL = 1 << 15
PERIODIC = 1 << 17
DEADLINE = 1 << 18
"""The timer expires when the time-stamp counter reaches IA32_TSC_DEADLINE (Intel SDM volume 3, 10.5.4.1)."""
ENABLED = 1 << 8
VERSION = 0x0005_0014
DEFAULT_BASE = 0xFEE0_0000
GLOBAL_ENABLE = 1 << 11
MIN_PERIOD_NS = 1_000
"""Timer interrupts closer together than this in virtual time are merged."""

LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR = 0x320, 0x330, 0x340, 0x350, 0x360, 0x370
SEND_ILLEGAL, RECEIVE_ILLEGAL, REGISTER_ILLEGAL = 0x20, 0x40, 0x80


class Loan(TypedDict, total=False):
    """What a processor needs to do the work of a tick itself. `divisor` is that of the timer, in virtual ns a count."""

    irr: int
    isr: int
    tmr: int
    tmict: int
    counting: bool
    started: int
    armed: int | None
    base: int
    tpr: int
    lvt_timer: int
    divisor: int


def _nothing() -> None:
    """For a signal that is not connected."""


@device("lapic", "local APIC")
class Lapic(Lending):
    """4 KiB of 32-bit registers every 16 bytes.

    `extint_vector` acknowledges the 8259A pair; `end_of_interrupt(vector)` tells the I/O APIC that a level triggered
    interrupt was served; `nmi`, `init` and `startup(vector)` act on this processor; `send(destination, logical, mode,
    vector)` carries interrupts for other processors, if there are any.

    A processor may borrow the state for a run (`lend`) and then serves its timer, EOI, the initial count and the
    acknowledge cycle by itself. Any look at `state` or `registers` takes it back first.
    """

    regs = Bank(0x400, width=4)
    id = regs.register(0x20, "ID", mask=0xFF00_0000)
    tpr = regs.register(0x80, "TPR", mask=0xFF)
    ldr = regs.register(0xD0, "LDR", mask=0xFF00_0000)
    dfr = regs.register(0xE0, "DFR", mask=0xF000_0000, reset=0xFFFF_FFFF)
    svr = regs.register(0xF0, "SVR", mask=0x3FF, reset=0xFF, fields={"VECTOR": (7, 0), "ENABLE": 8, "FOCUS": 9})
    esr = regs.register(0x280, "ESR")
    icr_low = regs.register(0x300, "ICR_LOW", mask=0x000C_CFFF)
    icr_high = regs.register(0x310, "ICR_HIGH", mask=0xFF00_0000)
    lvt_timer = regs.register(LVT_TIMER, "LVT_TIMER", mask=0x0007_00FF, reset=MASKED)
    lvt_thermal = regs.register(LVT_THERMAL, "LVT_THERMAL", mask=0x0001_07FF, reset=MASKED)
    lvt_perf = regs.register(LVT_PERF, "LVT_PERF", mask=0x0001_07FF, reset=MASKED)
    lvt_lint0 = regs.register(LVT_LINT0, "LVT_LINT0", mask=0x0001_A7FF, reset=MASKED)
    lvt_lint1 = regs.register(LVT_LINT1, "LVT_LINT1", mask=0x0001_A7FF, reset=MASKED)
    lvt_error = regs.register(LVT_ERROR, "LVT_ERROR", mask=0x0001_00FF, reset=MASKED)
    tmict = regs.register(0x380, "TMICT")
    divide = regs.register(0x3E0, "TDCR", mask=0x0B)

    @dataclass
    class State:
        on: bool = state.flag(True)
        """The global enable of the APIC base register."""
        base: int = state.uint(32, DEFAULT_BASE)
        irr: int = state.uint(256)
        isr: int = state.uint(256)
        tmr: int = state.uint(256)
        errors: int = state.uint(8)
        """Errors since ESR was last written."""
        extint: bool = state.flag()
        lint1: bool = state.flag()
        started: int = state.ranged(-(1 << 40), state.MAX_TIME)
        """When the timer's count was, or would have been, the initial count."""
        counting: bool = state.flag()
        armed: int | None = state.deadline()

    def __init__(
        self,
        *,
        clock: Clock,
        intr: Line,
        apic_id: int = 0,
        extint_vector: Callable[[], int] | None = None,
        end_of_interrupt: Callable[[int], None] | None = None,
        nmi: Callable[[], None] = _nothing,
        init: Callable[[], None] = _nothing,
        startup: Callable[[int], None] | None = None,
        send: Callable[[int, bool, int, int], None] | None = None,
    ) -> None:
        super().__init__()
        self.clock = clock
        self.intr = intr
        self.apic_id = apic_id
        self.extint_vector = extint_vector
        self.end_of_interrupt = end_of_interrupt
        self.nmi = nmi
        self.init = init
        self.startup = startup
        self.send = send
        self.shown: Callable[[int, int | None], None] | None = None
        self.deadline_gone: Callable[[], None] = _nothing
        """Told that IA32_TSC_DEADLINE is 0 again."""
        self._timer = clock.timer("lapic", self._expired)
        self.id = apic_id << 24

    # The state, and its loan.

    def lend(self, take_back: Callable[[], Loan]) -> Loan | None:
        """What the processor needs, or None while the 8259A's line or something else out of the ordinary is in play.

        `take_back()` ends the loan and gives what has become of it; the processor's INTR is then as it should be.
        """
        state, lvt = self.state, self.lvt_timer
        if not self._active() or state.extint or (lvt & 0xFF < 16 and not lvt & MASKED):
            return None
        loan = Loan(
            irr=state.irr, isr=state.isr, tmr=state.tmr, tmict=self.tmict, counting=state.counting,
            started=state.started, armed=state.armed, base=state.base, tpr=self.tpr, lvt_timer=lvt,
            divisor=self._divisor(),
        )  # fmt: skip
        self.lent(take_back)
        self._timer.inner = True
        return loan

    def moved(self, deadline: int | None) -> None:
        """The borrowed timer expires at another time now, or not at all."""
        self._set_timer(deadline)

    def returned(self, loan: Loan) -> None:
        """See `Lending`."""
        self._timer.inner = False
        state = self.state
        state.irr, state.isr, state.tmr = loan["irr"], loan["isr"], loan["tmr"]
        state.counting, state.started = loan["counting"], loan["started"]
        self.tmict = loan["tmict"]
        self._arm(loan["armed"])

    def show_to(self, shown: Callable[[int, int | None], None]) -> None:
        """Call `shown(base, identity)`, now and at every change: where the page is and what its ID register reads as,
        None while nothing answers. Kernels that ask who they are read little else."""
        self.shown = shown
        self._show()

    def _show(self) -> None:
        if self.shown is not None:
            self.shown(self.state.base, self.id if self.state.on else None)

    def reset(self) -> None:
        """The state after power-on; the level of the 8259A's line is kept."""
        extint, lint1 = self.state.extint, self.state.lint1
        self.clear()
        self.state.extint, self.state.lint1 = extint, lint1
        self.id = self.apic_id << 24
        self._show()
        self._timer.cancel()
        self._update()

    def restored(self) -> None:
        """Arm the timer for the saved expiry."""
        self._arm(self.state.armed)
        self._show()

    # Interrupts in.

    def set_enabled(self, on: bool) -> None:
        """The global enable bit of the APIC base MSR. Off, the registers do not answer and everything is forgotten."""
        if on == self.state.on:
            return
        self.reset()
        self.state.on = on
        self._show()
        self._update()

    def set_base(self, value: int) -> None:
        """IA32_APIC_BASE was written: bit 11 is the global enable, bits 12-31 are the place of the page."""
        self.set_enabled(bool(value & GLOBAL_ENABLE))
        self.state.base = value & 0xFFFF_F000
        self._show()

    @property
    def enabled(self) -> bool:
        """Globally enabled: the memory range answers."""
        return bool(self.state.on)

    def set_extint(self, level: bool) -> None:
        """The 8259A pair's INTR, on LINT0."""
        if not level and not self._state.extint:
            return  # as it is during a loan: the controllers say so at every change of an interrupt line
        rising = level and not self.state.extint
        self.state.extint = level
        self._local(self.lvt_lint0, level, rising)

    def set_lint1(self, level: bool) -> None:
        """The NMI line of the board, on LINT1."""
        rising = level and not self.state.lint1
        self.state.lint1 = level
        if not self._active():
            if rising:
                self.nmi()
            return
        self._local(self.lvt_lint1, level, rising)

    def _local(self, lvt: int, level: bool, rising: bool) -> None:
        """A LINT pin changed."""
        if self._active() and not lvt & MASKED:
            mode = lvt >> 8 & 7
            if mode == FIXED:
                if rising or (level and lvt & LEVEL):
                    self._accept(lvt & 0xFF, bool(lvt & LEVEL))
            elif rising and mode == NMI:
                self.nmi()
            elif rising and mode == INIT:
                self.init()
        self._update()

    def deliver(self, destination: int, logical: bool, mode: int, vector: int, level: bool) -> bool:
        """An interrupt message on the bus. `mode` is the delivery mode. True if this processor took it."""
        if not self.state.on or not self.addressed(destination, logical):
            return False
        return self._take(mode, vector & 0xFF, level)

    def addressed(self, destination: int, logical: bool) -> bool:
        """Whether a message to `destination` is for this processor. A loan does not change what this looks at, so it
        is not called home."""
        r = self._registers
        if not logical:
            return destination in (r["ID"] >> 24, 0xFF)
        mine = r["LDR"] >> 24
        if r["DFR"] >> 28 == 0xF:
            return bool(mine & destination)
        same_cluster = destination >> 4 in (mine >> 4, 0xF)
        return same_cluster and bool(mine & destination & 0xF)

    def _take(self, mode: int, vector: int, level: bool) -> bool:
        if mode in (FIXED, LOWEST):
            if not self._active():
                return False
            self._accept(vector, level)
            self._update()
        elif mode == NMI:
            self.nmi()
        elif mode == INIT:
            self.init()
        elif mode == STARTUP:
            if self.startup is not None:
                self.startup(vector)
        elif mode == EXTINT:
            self.unimplemented("delivery of ExtINT from the I/O APIC")
        else:
            self.unimplemented("system management interrupt")
        return True

    def _accept(self, vector: int, level: bool) -> None:
        if vector < 16:
            self._error(RECEIVE_ILLEGAL)
            return
        bit = 1 << vector
        self.state.irr |= bit
        self.state.tmr = self.state.tmr | bit if level else self.state.tmr & ~bit

    def _error(self, bit: int) -> None:
        new = not self.state.errors & bit
        self.state.errors |= bit
        lvt = self.lvt_error
        if new and not lvt & MASKED and lvt & 0xFF >= 16:
            self.state.irr |= 1 << (lvt & 0xFF)
            self.state.tmr &= ~(1 << (lvt & 0xFF))
            self._update()

    # Interrupts out.

    def _active(self) -> bool:
        """Globally and software enabled."""
        return bool(self.state.on and self.svr & ENABLED)

    def _extint_passes(self) -> bool:
        if not self.state.extint:
            return False
        return not self._active() or self.lvt_lint0 & (MASKED | 0x700) == EXTINT << 8

    def _ppr(self) -> int:
        serving = self.state.isr.bit_length() - 1
        tpr = self.tpr & 0xFF
        return serving & 0xF0 if serving >= 0 and serving >> 4 > tpr >> 4 else tpr

    def _pending(self) -> int:
        """The vector that the processor would get from IRR now, or -1."""
        if not self._active():
            return -1
        vector = self.state.irr.bit_length() - 1
        return vector if vector >> 4 > self._ppr() >> 4 else -1

    def acknowledge(self) -> int:
        """The processor takes an interrupt: its vector. With nothing to take it is the spurious vector."""
        vector = self._pending()
        if vector >= 0:
            self.state.irr &= ~(1 << vector)
            self.state.isr |= 1 << vector
        elif self._extint_passes() and self.extint_vector is not None:
            vector = self.extint_vector()
        else:
            vector = self.svr & 0xFF
        self._update()
        return vector

    def _update(self) -> None:
        state = self.state
        self.intr.set((bool(state.irr) and self._pending() >= 0) or (state.extint and self._extint_passes()))

    # Registers.

    def read(self, offset: int, width: int) -> int:
        """`width` bytes at `offset` of the page; all ones while globally disabled."""
        if not self.state.on:
            return (1 << 8 * width) - 1
        if 0x100 <= offset < 0x280:
            word = self._bitmap(offset) if not offset & 0xC else 0
            return word >> 8 * (offset & 3) & ((1 << 8 * width) - 1)
        if offset >= 0x400:
            return 0
        return self.regs.read(self, offset, width)

    def write(self, offset: int, width: int, value: int) -> None:
        """`width` bytes at `offset` of the page."""
        if self.state.on and offset < 0x400 and not 0x100 <= offset < 0x280:
            self.regs.write(self, offset, width, value)

    def _bitmap(self, offset: int) -> int:
        state: Lapic.State = self.state
        which = (state.isr, state.tmr, state.irr)[(offset - 0x100) >> 7]
        return which >> 32 * (offset >> 4 & 7) & 0xFFFF_FFFF

    @regs.on_write(0x20, "ID")
    def write_id(self, value: int) -> None:
        """The physical identity."""
        self.id = value & 0xFF00_0000
        self._show()

    @regs.on_read(0x30, "VERSION")
    def read_version(self) -> int:
        """Integrated APIC with six local vector table entries."""
        return VERSION

    @regs.on_write(0x80, "TPR")
    def write_tpr(self, value: int) -> None:
        """The task priority may let an interrupt through."""
        self.tpr = value & 0xFF
        self._update()

    @regs.on_read(0x90, "APR")
    def read_apr(self) -> int:
        """Arbitration priority, which one processor does not need."""
        return 0

    @regs.on_read(0xA0, "PPR")
    def read_ppr(self) -> int:
        """Processor priority."""
        return self._ppr()

    @regs.on_write(0xB0, "EOI")
    def write_eoi(self, value: int) -> None:
        """End of the interrupt in service with the highest vector."""
        vector = self.state.isr.bit_length() - 1
        if vector >= 0:
            bit = 1 << vector
            self.state.isr &= ~bit
            if self.state.tmr & bit and self.end_of_interrupt is not None:
                self.end_of_interrupt(vector)
            if self.state.extint and self.lvt_lint0 & (MASKED | LEVEL | 0x7FF) == LEVEL | vector:
                self._accept(vector, True)
        self._update()

    @regs.on_read(0xC0, "RRD")
    def read_remote(self) -> int:
        """Remote read, which no processor answers."""
        return 0

    @regs.on_write(0xD0, "LDR")
    def write_ldr(self, value: int) -> None:
        """The logical identity."""
        self.ldr = value & 0xFF00_0000

    @regs.on_write(0xE0, "DFR")
    def write_dfr(self, value: int) -> None:
        """Flat or cluster model; the low 28 bits are ones."""
        self.dfr = value | 0x0FFF_FFFF

    @regs.on_write(0xF0, "SVR")
    def write_svr(self, value: int) -> None:
        """The spurious vector and the software enable, whose absence masks the local vector table."""
        self.svr = value & 0x3FF
        if not value & ENABLED:
            self._mask_all()
        self._update()

    def _mask_all(self) -> None:
        for offset in range(LVT_TIMER, LVT_ERROR + 1, 0x10):
            reg = self.regs.registers[offset]
            self.registers[reg.name] |= MASKED
        self._schedule()

    @regs.on_write(0x280, "ESR")
    def write_esr(self, value: int) -> None:
        """Any write brings the errors since the last write into view."""
        self.esr = self.state.errors
        self.state.errors = 0

    @regs.on_write(0x300, "ICR_LOW")
    def write_icr(self, value: int) -> None:
        """Send an interrupt."""
        self.icr_low = value & 0x000C_CFFF
        mode, vector, shorthand = value >> 8 & 7, value & 0xFF, value >> 18 & 3
        if mode == INIT and value & LEVEL and not value & 1 << 14:
            return
        if mode in (FIXED, LOWEST) and vector < 16:
            self._error(SEND_ILLEGAL)
            return
        destination, logical = self.icr_high >> 24, bool(value & 1 << 11)
        if shorthand >= 2:
            destination, logical = 0xFF, False
        to_self = shorthand in (1, 2) or (shorthand == 0 and self.addressed(destination, logical))
        to_others = shorthand != 1 and not (shorthand == 0 and not logical and destination == self.id >> 24)
        if to_others and self.send is not None:
            self.send(destination, logical, mode, vector)
        if to_self:
            self._take(mode, vector, False)

    @regs.on_write(LVT_TIMER, "LVT_TIMER")
    def write_lvt_timer(self, value: int) -> None:
        """Mask, mode and vector of the timer; a count under way goes on. To or from deadlines the timer stops."""
        left, before = self._count(self.clock.now()), self.lvt_timer
        self._write_lvt(LVT_TIMER, value)
        if (before ^ self.lvt_timer) & DEADLINE:
            self.state.counting = False
            self._arm(None)
            self.deadline_gone()
        elif not self.lvt_timer & DEADLINE:
            self._go_on(left)

    def set_deadline(self, when: int | None) -> None:
        """IA32_TSC_DEADLINE was written: the timer expires at a virtual time (ns), or not. Ignored in other modes."""
        if self.lvt_timer & DEADLINE:
            self._arm(None if when is None else min(max(when, self.clock.now()), state.MAX_TIME))
        else:
            self.deadline_gone()

    @regs.on_write(LVT_THERMAL, "LVT_THERMAL")
    def write_lvt_thermal(self, value: int) -> None:
        """Never raised."""
        self._write_lvt(LVT_THERMAL, value)

    @regs.on_write(LVT_PERF, "LVT_PERF")
    def write_lvt_perf(self, value: int) -> None:
        """Never raised."""
        self._write_lvt(LVT_PERF, value)

    @regs.on_write(LVT_LINT0, "LVT_LINT0")
    def write_lvt_lint0(self, value: int) -> None:
        """What the 8259A's line does."""
        self._write_lvt(LVT_LINT0, value)
        self._local(self.lvt_lint0, self.state.extint, False)

    @regs.on_write(LVT_LINT1, "LVT_LINT1")
    def write_lvt_lint1(self, value: int) -> None:
        """What the NMI line does."""
        self._write_lvt(LVT_LINT1, value)

    @regs.on_write(LVT_ERROR, "LVT_ERROR")
    def write_lvt_error(self, value: int) -> None:
        """The interrupt of a new error."""
        self._write_lvt(LVT_ERROR, value)

    def _write_lvt(self, offset: int, value: int) -> None:
        reg = self.regs.registers[offset]
        if not self._active():
            value |= MASKED
        reg.guest_write(self, value)

    # Timer.

    def _divisor(self) -> int:
        code = self.divide & 3 | self.divide >> 1 & 4
        return 1 << ((code + 1) & 7)

    def _count(self, now: int) -> int:
        """The current count."""
        state: Lapic.State = self.state
        if not state.counting or not self.tmict:
            return 0
        ticks = max(0, now - state.started) // self._divisor()
        if self.lvt_timer & PERIODIC:
            return self.tmict - ticks % self.tmict
        return max(0, self.tmict - ticks)

    @regs.on_write(0x380, "TMICT")
    def write_initial(self, value: int) -> None:
        """The initial count starts the timer; 0 stops it."""
        if self.lvt_timer & DEADLINE:
            return
        self.tmict = value
        self.state.counting = value != 0
        self.state.started = self.clock.now()
        self._schedule()

    @regs.on_read(0x390, "TMCCT")
    def read_current(self) -> int:
        """The current count."""
        return self._count(self.clock.now())

    @regs.on_write(0x3E0, "TDCR")
    def write_divide(self, value: int) -> None:
        """The divider; a count under way goes on from where it is at the new speed."""
        left = self._count(self.clock.now())
        self.divide = value & 0x0B
        if not self.lvt_timer & DEADLINE:
            self._go_on(left)

    def _go_on(self, left: int) -> None:
        """The mode or the speed changed when the count was `left`; an expired one-shot stays expired."""
        if left:
            self.state.started = self.clock.now() - (self.tmict - left) * self._divisor()
        else:
            self.state.counting = False
        self._schedule()

    def _schedule(self) -> None:
        """Arm the timer for the next expiry if anybody wants it. A deadline stays, wanted or not."""
        if self.lvt_timer & DEADLINE:
            return
        now = self.clock.now()
        period = self.tmict * self._divisor()
        if not self.state.counting or not period or self.lvt_timer & MASKED:
            self._arm(None)
        elif self.lvt_timer & PERIODIC:
            passed = max(0, now - self.state.started)
            self._arm(max(self.state.started + (passed // period + 1) * period, now + MIN_PERIOD_NS))
        else:
            expiry = self.state.started + period
            self._arm(expiry if expiry > now else None)

    def _arm(self, when: int | None) -> None:
        self.state.armed = when
        self._set_timer(when)

    def _set_timer(self, when: int | None) -> None:
        if when is None:
            self._timer.cancel()
        else:
            self._timer.arm(when)

    def _expired(self) -> None:
        self.state.armed = None
        if self.lvt_timer & DEADLINE:
            self.deadline_gone()
        elif self.lvt_timer & PERIODIC:
            self._schedule()
        if not self.lvt_timer & MASKED and self._active():
            self._accept(self.lvt_timer & 0xFF, False)
            self._update()
