"""ACPI power management as the PIIX4 has it: events, sleep control, timer, general-purpose events, and the SMI port.

ACPI 2.0, 4.7 (fixed hardware) and Intel 82371AB (290562), 7.2. The 64 ports at PMBASE go to `read`/`write`, B2h-B3h to
`read_smi`/`write_smi`, the general-purpose event block (four ports, AFE0h on this board's tables) to
`read_gpe`/`write_gpe`. Firmware tables must agree: \\_S5 is sleep type 0, \\_S3 1, \\_S4 2, ACPI_ENABLE is F1h,
ACPI_DISABLE is F0h.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from devices.contracts import Clock, Line, Wire
from devices.device import Device, device
from devices.registers import Bank
from devices.state import flag, time, uint

TIMER_HZ = 3_579_545
TIMER, TIMER_MASK = 0x08, 0xFFFFFF
NS = 1_000_000_000
HALF = 1 << 23
"""Ticks between two changes of the timer's top bit, each of which is an event."""

TMR, GBL, PWRBTN, RTC, WAK = 0x0001, 0x0020, 0x0100, 0x0400, 0x8000
EVENTS = TMR | GBL | PWRBTN | RTC
SCI_EN, SLP_EN = 0x0001, 0x2000
ACPI_ENABLE, ACPI_DISABLE = 0xF1, 0xF0
SOFT_OFF, TO_RAM, TO_DISK = 0, 1, 2
"""Sleep types: power off, S3, and S4, after which the board is off too."""
WAKING = PWRBTN | RTC
"""Events that end S3 where they are enabled."""


def _tick(now: int) -> int:
    """The timer's count, not yet cut to 24 bits, at virtual time `now` in ns."""
    return now * TIMER_HZ // NS


def _time_of(tick: int) -> int:
    """The first ns at which the count is `tick`."""
    return -(-tick * NS // TIMER_HZ)


@dataclass
class PmState:
    half_seen: int = time()
    """Which half period of the timer (number of top-bit changes since power-on) the status has taken notice of."""
    asleep: bool = flag()
    woken_by: int = uint(16)
    """Status bits that the reset at the end of a sleep leaves set; 0 where it is no such reset."""


@device("acpi-pm", "PIIX4 ACPI power management registers")
class AcpiPm(Device):
    """`sci` is the system control interrupt (level), `power_off` is called when the guest enters S4 or S5.

    `sleep` is called when it enters S3, and `woken` when something ends that: the board is then reset.
    """

    State = PmState
    state: PmState

    regs = Bank(64, width=4)
    pm1_status = regs.register(0x00, "PM1_STS", width=2, fields={"TMR_STS": 0, "PWRBTN_STS": 8, "WAK_STS": 15})
    pm1_enable = regs.register(0x02, "PM1_EN", width=2, mask=EVENTS)
    pm1_control = regs.register(
        0x04, "PM1_CNT", width=2, mask=0x1C03, fields={"SCI_EN": 0, "BM_RLD": 1, "SLP_TYP": (12, 10)}
    )
    gp_status = regs.register(0x0C, "GPSTS", width=2, mask=0)
    gp_enable = regs.register(0x0E, "GPEN", width=2, mask=0x0F01)
    processor = regs.register(0x10, "PCNTRL", mask=0x01E1_3EDE)
    global_status = regs.register(0x18, "GLBSTS", width=2, mask=0)
    device_status = regs.register(0x1C, "DEVSTS", mask=0)
    global_enable = regs.register(0x20, "GLBEN", width=2)
    global_control = regs.register(0x28, "GLBCTL")
    device_control = regs.register(0x2C, "DEVCTL")
    outputs = regs.register(0x34, "GPOREG", reset=0x7FFFBFFF)

    gpe = Bank(4, width=2)
    gpe_status = gpe.register(0, "GPE0_STS")
    gpe_enable = gpe.register(2, "GPE0_EN")

    smi = Bank(2)
    apm_control = smi.register(0, "APMC")
    apm_status = smi.register(1, "APMS")

    def __init__(
        self,
        *,
        clock: Clock,
        sci: Line,
        power_off: Callable[[], None],
        sleep: Callable[[], None] = lambda: None,
        woken: Callable[[], None] = lambda: None,
    ) -> None:
        self.clock = clock
        self.sci = sci
        self.power_off = power_off
        self.sleep = sleep
        self.woken = woken
        self.timer_read: Callable[[], None] = lambda: None
        """The guest reads the timer, and who serves it might as well do so without asking."""
        self.clock_input: Line = Wire(self._clock_interrupt)
        """Interrupt 8 of the clock chip, which is an event here too and may wake the board."""
        super().__init__()
        self._timer = clock.timer("acpi-pm", self._half_period)
        self.reset()

    def reset(self) -> None:
        """Events cleared and disabled, but for the reason why a sleep ended; legacy mode. The timer runs on."""
        woken_by = self.state.woken_by
        self.clear()
        self.pm1_status = woken_by
        self.state.half_seen = _tick(self.clock.now()) // HALF
        self._update()

    def restored(self) -> None:
        self._arm()

    # Events

    def _notice(self) -> None:
        """Take notice of the timer's top bit having changed."""
        half = _tick(self.clock.now()) // HALF
        if half != self.state.half_seen:
            self.state.half_seen = half
            self.pm1_status |= TMR

    def _half_period(self) -> None:
        self._notice()
        self._update()

    def _arm(self) -> None:
        """Wake at the next change of the top bit if that would interrupt."""
        if self.pm1_enable & TMR and not self.pm1_status & TMR:
            self._timer.arm(_time_of((self.state.half_seen + 1) * HALF))
        else:
            self._timer.cancel()

    def _update(self) -> None:
        self._notice()
        pending = self.pm1_status & self.pm1_enable & EVENTS or self.gpe_status & self.gpe_enable
        self.sci.set(bool(pending and self.pm1_control & SCI_EN))
        self._arm()

    def press_power_button(self) -> None:
        """The button that a person presses: an event that the guest's ACPI turns into a shutdown, or waking up."""
        if self.state.asleep:
            self.wake()
            return
        self.pm1_status |= PWRBTN
        self._update()

    def _clock_interrupt(self, level: bool) -> None:
        if not level:
            return
        if self.state.asleep and self.pm1_enable & RTC:
            self.wake(RTC)
        elif not self.pm1_status & RTC:
            self.pm1_status |= RTC
            self._update()

    def wake(self, reason: int = PWRBTN) -> None:
        """End S3; `reason` is the event that the guest will find. Does nothing unless the guest sleeps."""
        if self.state.asleep and not self.state.woken_by:
            self.state.woken_by = WAK | reason
            self.woken()

    def raise_gpe(self, number: int) -> None:
        """General-purpose event 0..15."""
        self.gpe_status |= 1 << (number & 15)
        self._update()

    # PMBASE

    def read(self, offset: int, width: int) -> int:
        """Read the ports at PMBASE."""
        return self.regs.read(self, offset, width)

    def write(self, offset: int, width: int, value: int) -> None:
        """Write the ports at PMBASE."""
        if offset < 2:
            # Status bits are cleared by ones: a narrow write must not be merged with bits that happen to be set.
            low = value << (8 * offset) & 0xFFFF
            self._clear_status(low)
            if offset + width > 2:
                self.regs.write(self, 2, offset + width - 2, value >> (8 * (2 - offset)))
        else:
            self.regs.write(self, offset, width, value)

    def _clear_status(self, ones: int) -> None:
        self._notice()
        self.pm1_status &= ~ones & 0xFFFF
        self._update()

    @regs.on_read(0x00, "PM1_STS")
    def _read_status(self) -> int:
        self._notice()
        return self.pm1_status

    @regs.on_write(0x02, "PM1_EN")
    def _write_enable(self, value: int) -> None:
        self.pm1_enable = value & EVENTS
        self._update()

    @regs.on_write(0x04, "PM1_CNT")
    def _control(self, value: int) -> None:
        """SLP_EN is write-only and acts at once; in S4 and S5 there is no more guest."""
        self.pm1_control = value & 0x1C03
        self._update()
        if value & SLP_EN:
            sleep = value >> 10 & 7
            if sleep in (SOFT_OFF, TO_DISK):
                self.power_off()
            elif sleep == TO_RAM:
                self.state.asleep = True
                self.state.woken_by = 0
                self.sleep()
                if self.pm1_status & self.pm1_enable & WAKING:
                    self.wake(self.pm1_status & self.pm1_enable & WAKING)
            else:
                self.unimplemented(f"sleep type {sleep}, the machine wakes at once")
                self.pm1_status |= WAK
                self._update()

    @regs.on_read(TIMER, "PM_TMR")
    def _read_timer(self) -> int:
        self.timer_read()
        return _tick(self.clock.now()) & TIMER_MASK

    @regs.on_write(TIMER, "PM_TMR")
    def _write_timer(self, value: int) -> None:
        pass  # read-only

    @regs.on_read(0x14, "P_LVL")
    def _read_level(self) -> int:
        return 0  # entering C2 or C3 returns at once

    @regs.on_write(0x14, "P_LVL")
    def _write_level(self, value: int) -> None:
        pass

    @regs.on_read(0x30, "GPIREG")
    def _read_inputs(self) -> int:
        return 0

    @regs.on_write(0x30, "GPIREG")
    def _write_inputs(self, value: int) -> None:
        pass

    # General-purpose events

    def read_gpe(self, offset: int, width: int) -> int:
        """Two bytes of status, two of enable bits."""
        return self.gpe.read(self, offset, width)

    def write_gpe(self, offset: int, width: int, value: int) -> None:
        """Status bits are cleared by ones."""
        for at in range(offset, offset + width):
            byte = value >> (8 * (at - offset)) & 0xFF
            if at < 2:
                self.gpe_status &= ~(byte << (8 * at)) & 0xFFFF
            else:
                shift = 8 * (at - 2)
                self.gpe_enable = self.gpe_enable & ~(0xFF << shift) | byte << shift
        self._update()

    # SMI command port

    def read_smi(self, offset: int, width: int) -> int:
        """B2h and B3h read back."""
        return self.smi.read(self, offset, width)

    def write_smi(self, offset: int, width: int, value: int) -> None:
        """The SMI handler of a PC's firmware, as far as ACPI asks for it: it switches between legacy and ACPI mode."""
        self.smi.write(self, offset, width, value)

    @smi.on_write(0, "APMC")
    def _command(self, value: int) -> None:
        self.apm_control = value
        if value == ACPI_ENABLE:
            self.pm1_control |= SCI_EN
        elif value == ACPI_DISABLE:
            self.pm1_control &= ~SCI_EN
        self._update()
