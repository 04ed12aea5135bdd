"""`PpcCpu`: the compiled tiers of the PowerPC core behind the `Cpu` protocol."""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING, Any

from cores.lang.draft import Draft
from cores.ppc import models, validate
from cores.ppc import registers_by_name as names
from cores.ppc import state as S
from cores.ppc.story import tell
from emu.engine import _ppc
from emu.engine.common import CompiledCpu, bind

if TYPE_CHECKING:
    from emu.clock import Clock, Timer
    from emu.cpu import Exit

ffi, lib = _ppc.ffi, _ppc.lib
bind(ffi, lib)

NEVER = (1 << 64) - 1
EXTERNAL, CRITICAL, MACHINE_CHECK = 1, 2, 4


class PpcCpu(CompiledCpu):
    """A 32-bit Book E processor. `bus` answers MMIO, DCRs (`bus.dcrs`) and interrupt acknowledge.

    `tb_frequency` is the rate of the time base in Hz of virtual time. The timers work once a clock is attached.
    """

    ffi, lib, STATE = ffi, lib, S.STATE
    STATS = ("page_writes", "space_switches", "space_evictions")

    def __init__(
        self,
        bus: Any,
        ram: Any,
        model: str = models.DEFAULT,
        tb_frequency: int = 400_000_000,
        *,
        accel: str = "interp",
        jit_size: int | None = None,
    ) -> None:
        self.model = models.model(model)
        self._timer: Timer | None = None
        self._build(bus, ram, bus.dcrs, accel, jit_size)
        c = self._c
        c.line_size = self.model.line
        unit = gcd(tb_frequency, 1_000_000_000)
        c.tb_num, c.tb_den = tb_frequency // unit, 1_000_000_000 // unit
        self._regions()
        self.reset()

    # --- pins ----------------------------------------------------------------------------------------------------

    def _pin(self, bit: int, level: bool) -> None:
        pins = int(self._c.pins)
        lib.emu_set_pins(self._c, pins | bit if level else pins & ~bit)

    def set_intr(self, level: bool) -> None:
        """Drive the external input."""
        self._pin(EXTERNAL, level)

    def set_critical(self, level: bool) -> None:
        """Drive the critical input."""
        self._pin(CRITICAL, level)

    def machine_check(self) -> None:
        """Latch one machine check."""
        self._pin(MACHINE_CHECK, True)

    def nmi(self) -> None:
        """The nearest thing to an NMI: a machine check."""
        self.machine_check()

    def set_a20(self, enabled: bool) -> None:
        """There is no such gate."""

    # --- time ----------------------------------------------------------------------------------------------------

    def attach_clock(self, clock: Clock) -> None:
        """Let the clock fire the decrementer and the other timers."""
        self._timer = clock.timer("timers of the processor", self._expired)
        self._timer.inner = True
        self._c.timers_inner = 1
        self._arm()

    def detach_clock(self) -> None:
        """Its timers fire no more: another processor takes over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._c.timers_inner = 0

    def _expired(self) -> None:
        lib.emu_timers_tick(self._c)
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            lib.emu_timers_plan(self._c)
            self._tell()

    def _tell(self) -> None:
        """Let the clock know when the timers are due."""
        self._c.timers_moved = 0
        due = self._c.timers_due
        if self._timer is None or due == self._timer.deadline:
            return
        if due == NEVER:
            self._timer.cancel()
        else:
            self._timer.arm(due)

    def _run(self, start: Any, *args: Any) -> Exit:
        try:
            return super()._run(start, *args)
        finally:
            if self._c.timers_moved:
                self._tell()

    # --- state ---------------------------------------------------------------------------------------------------

    @property
    def interruptible(self) -> bool:
        """Whether the wait state can end by an external, critical or timer interrupt."""
        return bool(self._c.msr & (1 << S.MSR_EE | 1 << S.MSR_CE))

    @property
    def stuck(self) -> bool:
        """Whether it runs in place with external interrupts masked: a branch to itself."""
        return bool(lib.emu_stuck(self._c))

    def reset(self) -> None:
        """The state after a hardware reset of the model."""
        lib.emu_reset(self._c)
        self.load_values(models.reset_values(self.model))
        self._arm()

    def load_values(self, values: dict[str, int | dict[int, int]]) -> None:
        """Set state registers; elements of files by index (`models.reset_values`, `models.boot_values`)."""
        for name, value in values.items():
            if isinstance(value, dict):
                file = getattr(self._c, name)
                for index, element in value.items():
                    file[index] = element
            else:
                setattr(self._c, name, value)
        lib.emu_refresh(self._c)

    def reg(self, name: str) -> int:
        """A register by its manual name; timer registers as of now."""
        if name in names.TIMERS:
            lib.emu_timers_tick(self._c)
        return names.read(self._c, name)

    def set_reg(self, name: str, value: int) -> None:
        """Write a register by its manual name. Raises KeyError, and ValueError for a state that cannot be."""
        if name in names.PLAIN:
            names.write(self._c, name, value)
            return
        if name in names.TIMERS:
            lib.emu_timers_tick(self._c)
        draft = Draft(self._c)
        names.write(draft, name, value)
        self._store(draft, False)
        self._arm()

    def validate(self, draft: Draft, whole: bool) -> None:
        """See `cores.ppc.validate`."""
        validate.check(draft, self.model, whole=whole)

    def fault_story(self) -> list[str]:
        """After SHUTDOWN: the last interrupts in plain words."""
        return tell(self.exceptions())
