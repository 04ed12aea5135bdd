"""Freescale MPIC: the OpenPIC interrupt controller of e500 chips, 256 KiB at CCSR + 0x40000.

One processor. Sources are numbered as the vector/priority registers and device trees number them: 0-11 external pins,
16-255 internal ones (source 42 is internal interrupt 26), of which 176-183 are the message registers and 224-231 the
shared message interrupts (MSI). Four inter-processor interrupts and eight timers have registers of their own.

    Mpic(clock=clock, int_line=Wire(cpu.set_intr), cint_line=Wire(cpu.set_critical), version="2.0")
    map_mmio(ccsr + 0x40000, 0x40000, mpic.read, mpic.write)
    mpic.line(42)          the input of source 42; levels are "asserted" or not, so polarity is stored without effect
    mpic.acknowledge()     for EPR: the vector in external proxy mode, and 0 outside it, taking nothing
    mpic.pci_message(data) what writing `data` to MSIIR (offset 0x1740) does, for messages that arrive from PCI

Version "2.0" is that of the MPC8544, where a destination register routes a source to the critical input (CI0) or the
IRQ_OUT pin (EP); "4.2" has level registers (ILR) for that instead, and the external proxy mode.

MPC8544E reference manual, chapter 10; QorIQ reference manuals for 4.2; OpenPIC register specification 1.2. What the
first leaves open: of two requests of one priority the lower source number wins, IPIs and timers last.
"""

# ruff: noqa: RUF009

from __future__ import annotations

from dataclasses import dataclass

from devices import state
from devices.contracts import Clock, Line, OpenLine, Wire
from devices.device import Device, device
from devices.registers import Bank

EXTERNAL = 12
INTERNAL = 16
"""The first internal source."""
SOURCES = 256
IPIS = 4
TIMERS = 8
IPI = SOURCES
TIMER = IPI + IPIS
ALL = TIMER + TIMERS
MESSAGE, MESSAGES = 176, 8
MSI, MSIS = 224, 8

MASKED = 1 << 31
ACTIVE = 1 << 30
POSITIVE = 1 << 23
LEVEL = 1 << 22
PRIORITY_AND_VECTOR = 0x000F_FFFF

P0 = 1 << 0
EP = 1 << 31
CI0 = 1 << 30

GCR_RESET = 1 << 31
PASS_THROUGH, MIXED, PROXY = 0x0000_0000, 0x2000_0000, 0x6000_0000

INHIBIT = 1 << 31
MAX_COUNT = 0x7FFF_FFFF
MIN_PERIOD_NS = 1_000
"""Timer interrupts closer together than this in virtual time are merged."""

BRR1 = {"2.0": 0x0040_0200, "4.2": 0x0040_0402}
INTERRUPTS = {"2.0": 80, "4.2": 196}
"""How many interrupts the feature register reports."""

TO_INT, TO_CRITICAL, TO_MACHINE_CHECK = 0, 1, 2
"""Values of a level register."""


def _declare_arrays(regs: Bank) -> None:
    """The registers of which there are several."""
    for n in range(IPIS):
        regs.on_read(0x10A0 + 0x10 * n, f"IPIVPR{n}")(lambda self, n=n: self.read_vpr(IPI + n))
        regs.on_write(0x10A0 + 0x10 * n, f"IPIVPR{n}")(lambda self, value, n=n: self.write_vpr(IPI + n, value))
    for n in range(TIMERS):
        at, name = 0x1100 + 0x1000 * (n >> 2) + 0x40 * (n & 3), f"{'AB'[n >> 2]}{n & 3}"
        regs.on_read(at, f"GTCCR{name}")(lambda self, n=n: self.read_count(n))
        regs.on_write(at, f"GTCCR{name}")(lambda self, value: None)
        regs.register(at + 0x10, f"GTBCR{name}", reset=INHIBIT, fields={"CI": 31, "BASE_CNT": (30, 0)})
        regs.on_write(at + 0x10, f"GTBCR{name}")(lambda self, value, n=n: self.write_base(n, value))
        regs.on_read(at + 0x20, f"GTVPR{name}")(lambda self, n=n: self.read_vpr(TIMER + n))
        regs.on_write(at + 0x20, f"GTVPR{name}")(lambda self, value, n=n: self.write_vpr(TIMER + n, value))
        regs.on_read(at + 0x30, f"GTDR{name}")(lambda self, n=n: self.state.dr[TIMER + n])
        regs.on_write(at + 0x30, f"GTDR{name}")(lambda self, value, n=n: self.write_dr(TIMER + n, value))
    for n in range(MESSAGES):
        at = 0x1400 + 0x1000 * (n >> 2) + 0x10 * (n & 3)
        regs.register(at, f"MSGR{n}")
        regs.on_read(at, f"MSGR{n}")(lambda self, n=n: self.read_message(n))
        regs.on_write(at, f"MSGR{n}")(lambda self, value, n=n: self.write_message(n, value))
    for n in range(MSIS):
        regs.register(0x1600 + 0x10 * n, f"MSIR{n}", mask=0)
        regs.on_read(0x1600 + 0x10 * n, f"MSIR{n}")(lambda self, n=n: self.read_msir(n))


def _declare_group(regs: Bank, group: int) -> None:
    """The registers of timer group 0 (A) or 1 (B), and of the message registers beside it."""
    at, name = 0x1000 * group, "AB"[group]
    regs.register(0x10F0 + at, f"TFRR{name}")
    regs.register(
        0x1300 + at,
        f"TCR{name}",
        mask=0x0701_0307,
        fields={"ROVR": (26, 24), "RTM": 16, "CLKR": (9, 8), "CASC": (2, 0)},
        unmodelled=1 << 16,
    )
    regs.on_write(0x1300 + at, f"TCR{name}")(lambda self, value: self.write_tcr(group, value))
    regs.register(0x1500 + at, f"MER{name}", mask=0xF, fields={"E": (3, 0)})
    regs.on_write(0x1500 + at, f"MER{name}")(lambda self, value: self.write_mer(group, value))
    regs.register(0x1510 + at, f"MSR{name}", mask=0xF, fields={"S": (3, 0)})
    regs.on_write(0x1510 + at, f"MSR{name}")(lambda self, value: self.write_msr(group, value))


@device("mpic", "Freescale MPIC interrupt controller")
class Mpic(Device):
    """`int_line`, `cint_line` and `mck_line` are the processor's interrupt inputs, `out_line` is the pin IRQ_OUT.

    `core_reset` is high while the processor initialization register holds the core in reset. `ccb_hz` is the platform
    clock, an eighth of which (or less, see TCR) drives the timers.
    """

    regs = Bank(0x4000, width=4, big_endian=True)
    gcr = regs.register(0x1020, "GCR", fields={"RST": 31, "M": (30, 29)})
    pir = regs.register(0x1090, "PIR", mask=0x1, fields={"P0": 0})
    svr = regs.register(0x10E0, "SVR", mask=0xFFFF, reset=0xFFFF)
    eimr = regs.register(0x3910, "EIMR0", reset=0xFFFF_FFFF)
    _declare_arrays(regs)
    _declare_group(regs, 0)
    _declare_group(regs, 1)

    core = Bank(0x1000, width=4, big_endian=True)
    """Of the processor; also at the start of the range, for whoever asks from it."""
    ctpr = core.register(0x80, "CTPR", mask=0xF, reset=0xF)

    @dataclass
    class State:
        lines: int = state.uint(SOURCES)
        """Levels of the inputs, messages and MSIs included."""
        latched: int = state.uint(ALL)
        """Edge triggered requests that were not yet taken."""
        vpr: list[int] = state.uints(ALL, 32, MASKED)
        dr: list[int] = state.uints(ALL, 32, P0)
        critical: int = state.uint(SOURCES)
        """Sources whose level register says critical."""
        machine: int = state.uint(SOURCES)
        """Sources whose level register says machine check."""
        serving: list[int] = state.queue(15, 16)
        """Interrupts in service, source << 4 | priority; each has a higher priority than the one before."""
        counts: list[int] = state.uints(TIMERS, 31)
        toggles: int = state.uint(TIMERS)
        synced: list[int] = state.uints(2, 62)
        """For each timer group the virtual time at which `counts` were true."""
        fired: int = state.time()
        """When the clock's timer last went off."""
        armed: int | None = state.deadline()

    state: State

    def __init__(
        self,
        *,
        clock: Clock,
        int_line: Line,
        cint_line: Line | None = None,
        mck_line: Line | None = None,
        out_line: Line | None = None,
        core_reset: Line | None = None,
        version: str = "2.0",
        ccb_hz: int = 400_000_000,
    ) -> None:
        if version not in BRR1 or ccb_hz < 1:
            raise ValueError(f"mpic: no version {version} at {ccb_hz} Hz")
        self.clock = clock
        self.int_line = int_line
        self.cint_line = cint_line or OpenLine()
        self.mck_line = mck_line or OpenLine()
        self.out_line = out_line or OpenLine()
        self.core_reset = core_reset or OpenLine()
        self.version = version
        self.ccb_hz = ccb_hz
        self.modes = MIXED if version == "2.0" else PROXY
        self._by_level = (1 << SOURCES) - (1 << INTERNAL)
        super().__init__()
        self._timer = clock.timer("mpic", self._expired)

    def clear(self) -> None:
        super().clear()
        for n in range(INTERNAL, SOURCES):
            self.state.vpr[n] |= POSITIVE
        self._derive()

    def reset(self) -> None:
        """The reset pin, or GCR[RST]: all but the levels of the inputs."""
        lines = self.state.lines & ~((1 << MESSAGES) - 1 << MESSAGE | (1 << MSIS) - 1 << MSI)
        self.clear()
        self.state.lines = lines
        self.state.synced = [self.clock.now()] * 2
        self.state.fired = 0
        self._timer.cancel()
        self.core_reset.set(False)
        self._update()

    def check(self, registers: dict[str, int], state: State) -> None:
        for n, value in enumerate(state.vpr):
            if value & ~(self._writable(n) | POSITIVE):
                raise ValueError(f"vpr[{n}]: {value:#x} has bits that are not there")
        served = [entry & 15 for entry in state.serving]
        if served != sorted(set(served) - {0}) or any(entry >> 4 >= ALL for entry in state.serving):
            raise ValueError("serving: priorities must rise")

    def restored(self) -> None:
        self._derive()
        self._arm()

    # Interrupts in.

    def line(self, source: int) -> Line:
        """The input of a source: 0..11 external, 16..255 internal. Messages and MSIs have none."""
        own = MESSAGE <= source < MESSAGE + MESSAGES or MSI <= source < MSI + MSIS
        if own or not (0 <= source < EXTERNAL or INTERNAL <= source < SOURCES):
            raise ValueError(f"mpic: source {source} has no input")
        return Wire(lambda level: self.drive(source, level))

    def drive(self, source: int, level: bool) -> None:
        """Set the level of an input, True meaning asserted."""
        s, bit = self.state, 1 << source
        if level == bool(s.lines & bit):
            return
        s.lines ^= bit
        if level and not self._by_level & bit:
            s.latched |= bit
        self._update()

    def message(self, value: int) -> None:
        """A shared message signaled interrupt: bits 31-29 name the register, bits 28-24 the bit in it."""
        n = value >> 29 & 7
        self.registers[f"MSIR{n}"] |= 1 << (value >> 24 & 31)
        self.drive(MSI + n, True)

    def pci_message(self, data: bytes) -> None:
        """The four bytes that a PCI function wrote to MSIIR. Version 2.0 takes them backwards (erratum PIC1)."""
        self.message(int.from_bytes(data, "little" if self.version == "2.0" else "big"))

    # Interrupts out.

    def acknowledge(self) -> int:
        """The processor takes an external interrupt. In external proxy mode this stands for reading IACK."""
        return self.read_iack() if self.gcr & PROXY == PROXY else 0

    def _requests(self) -> int:
        """The sources that ask for service, masked or not."""
        return self.state.lines & self._by_level | self.state.latched & ~self._by_level

    def _next(self) -> int:
        """The source that the processor would be given now, or -1."""
        s = self.state
        waiting = self._requests() & self._open
        best, above = -1, max(self.ctpr & 15, s.serving[-1] & 15 if s.serving else 0)
        while waiting:
            source = (waiting & -waiting).bit_length() - 1
            waiting &= waiting - 1
            priority = s.vpr[source] >> 16 & 15
            if priority > above:
                best, above = source, priority
        return best

    def _update(self) -> None:
        lines = self.state.lines
        if not self.gcr & self.modes:
            # Pass-through: pin 0 is the processor's interrupt, and the controller does nothing.
            self.int_line.set(bool(lines & 1))
            lines = 0
        else:
            self.int_line.set(self._next() >= 0)
        # These outputs know neither priority nor acknowledgement: they follow the inputs, edge triggered or not.
        self.cint_line.set(bool(lines & self._to_critical))
        self.mck_line.set(bool(lines & self._to_machine))
        self.out_line.set(bool(lines & self._to_pin))

    def _derive(self) -> None:
        """What follows from the registers of all sources."""
        self._open = self._to_critical = self._to_machine = self._to_pin = 0
        for n in range(ALL):
            self._derive_one(n)

    def _derive_one(self, n: int) -> None:
        s, bit = self.state, 1 << n
        vpr, dr = s.vpr[n], s.dr[n]
        if n < INTERNAL:
            self._by_level = self._by_level | bit if vpr & LEVEL else self._by_level & ~bit
        if self.version == "2.0":
            # Before 4.1 masking does not hold back what goes to these.
            pin, critical, machine = bool(dr & EP), bool(dr & CI0) and not dr & EP, False
            core = bool(dr & P0) and not dr & (EP | CI0)
        else:
            core = bool(dr & P0)
            heard = core and not vpr & MASKED
            pin, critical, machine = False, heard and bool(s.critical & bit), heard and bool(s.machine & bit)
            core = core and not (s.critical | s.machine) & bit
        is_open = core and not vpr & MASKED and bool(vpr & 0xF0000)
        self._open = self._open & ~bit | (bit if is_open else 0)
        self._to_critical = self._to_critical & ~bit | (bit if critical else 0)
        self._to_machine = self._to_machine & ~bit | (bit if machine else 0)
        self._to_pin = self._to_pin & ~bit | (bit if pin else 0)

    # Access.

    def read(self, offset: int, width: int) -> int:
        """`width` bytes at `offset`. Registers are 32 bits wide; bytes of one count from the most significant."""
        if 0x10000 <= offset < 0x10000 + 0x20 * SOURCES:
            return self._read_source(offset & ~3) >> _shift(offset, width) & ((1 << 8 * width) - 1)
        if 0x40 <= offset < 0x1000:
            return self.core.read(self, offset, width)
        if offset < 0x4000:
            return self.regs.read(self, offset, width)
        if 0x20000 <= offset < 0x21000:
            return self.core.read(self, offset - 0x20000, width)
        self.unimplemented(f"read of {offset & ~15:#x}")
        return (1 << 8 * width) - 1

    def write(self, offset: int, width: int, value: int) -> None:
        """`width` bytes at `offset`."""
        if 0x10000 <= offset < 0x10000 + 0x20 * SOURCES:
            shift = _shift(offset, width)
            hole = ((1 << 8 * width) - 1) << shift
            old = self._read_source(offset & ~3) if width < 4 else 0
            self._write_source(offset & ~3, old & ~hole | value << shift & hole)
        elif 0x40 <= offset < 0x1000:
            self.core.write(self, offset, width, value)
        elif offset < 0x4000:
            self.regs.write(self, offset, width, value)
        elif 0x20000 <= offset < 0x21000:
            self.core.write(self, offset - 0x20000, width, value)
        else:
            self.unimplemented(f"write to {offset & ~15:#x}")

    # Sources.

    def _read_source(self, offset: int) -> int:
        n, register = offset - 0x10000 >> 5, offset & 0x1F
        if register == 0x00:
            return self.read_vpr(n)
        if register == 0x10:
            return self.state.dr[n]
        if register == 0x18 and self.version != "2.0":
            bit = 1 << n
            return (
                TO_CRITICAL if self.state.critical & bit else TO_MACHINE_CHECK if self.state.machine & bit else TO_INT
            )
        return 0xFFFF_FFFF

    def _write_source(self, offset: int, value: int) -> None:
        n, register = offset - 0x10000 >> 5, offset & 0x1F
        if register == 0x00:
            self.write_vpr(n, value)
        elif register == 0x10:
            self.write_dr(n, value)
        elif register == 0x18 and self.version != "2.0":
            s, bit, target = self.state, 1 << n, value & 0xFF
            if target > TO_MACHINE_CHECK:
                self.unimplemented(f"ILR: target {target:#x}")
            s.critical = s.critical & ~bit | (bit if target == TO_CRITICAL else 0)
            s.machine = s.machine & ~bit | (bit if target == TO_MACHINE_CHECK else 0)
            self._derive_one(n)
            self._update()

    def _writable(self, n: int) -> int:
        """The bits of a vector/priority register that a guest may change."""
        mask = MASKED | PRIORITY_AND_VECTOR
        if n < INTERNAL:
            return mask | POSITIVE | LEVEL
        return mask | POSITIVE if n < SOURCES and self.version == "2.0" else mask

    def read_vpr(self, n: int) -> int:
        """A vector/priority register; the activity bit says requested or in service."""
        s = self.state
        if n >= TIMER:
            self._sync(n - TIMER >> 2)
            self._update()
        active = self._requests() >> n & 1 or any(entry >> 4 == n for entry in s.serving)
        return s.vpr[n] | (ACTIVE if active else 0)

    def write_vpr(self, n: int, value: int) -> None:
        """A vector/priority register."""
        s, writable = self.state, self._writable(n)
        if n >= TIMER:
            self._sync(n - TIMER >> 2)
        s.vpr[n] = s.vpr[n] & ~writable | value & writable
        self._derive_one(n)
        s.latched &= ~self._by_level
        if n >= TIMER:
            self._schedule()
        self._update()

    def write_dr(self, n: int, value: int) -> None:
        """A destination register."""
        self.state.dr[n] = value & (P0 | EP | CI0 if self.version == "2.0" and n < SOURCES else P0)
        self._derive_one(n)
        if n >= TIMER:
            self._schedule()
        self._update()

    # Global registers.

    @regs.on_read(0x0000, "BRR1")
    def read_brr1(self) -> int:
        """Block revision."""
        return BRR1[self.version]

    @regs.on_read(0x0010, "BRR2")
    def read_brr2(self) -> int:
        """Integration and configuration options."""
        return 0

    @regs.on_read(0x1000, "FRR")
    def read_frr(self) -> int:
        """Last interrupt, last processor, OpenPIC version 1.2."""
        return INTERRUPTS[self.version] - 1 << 16 | 2

    @regs.on_write(0x1000, "FRR")
    def write_frr(self, value: int) -> None:
        """Read only."""

    @regs.on_write(0x1020, "GCR")
    def write_gcr(self, value: int) -> None:
        """Reset, and the mode."""
        if value & GCR_RESET:
            self.reset()
            return
        if value & self.modes == 0x4000_0000:
            self.unimplemented("GCR: reserved mode")
        self.gcr = value & self.modes
        self._update()

    @regs.on_read(0x1080, "VIR")
    def read_vir(self) -> int:
        """Vendor identification."""
        return 0

    @regs.on_write(0x1080, "VIR")
    def write_vir(self, value: int) -> None:
        """Read only."""

    @regs.on_write(0x1090, "PIR")
    def write_pir(self, value: int) -> None:
        """Hold the core in reset."""
        self.pir = value & 1
        self.core_reset.set(bool(self.pir))

    @regs.on_read(0x1308, "ERQSR")
    def read_erqsr(self) -> int:
        """The external pins, pin 0 in bit 31."""
        return sum(1 << (31 - pin) for pin in range(EXTERNAL) if self.state.lines >> pin & 1)

    @regs.on_read(0x3900, "EISR0")
    def read_eisr(self) -> int:
        """Error interrupts: none."""
        return 0

    # Messages.

    def read_message(self, n: int) -> int:
        """A message register; reading it takes its interrupt away."""
        group = n >> 2
        self.write_msr(group, 1 << (n & 3))
        return self.registers[f"MSGR{n}"]

    def write_message(self, n: int, value: int) -> None:
        """Send a message; its interrupt is raised only while enabled."""
        name = "AB"[n >> 2]
        self.registers[f"MSGR{n}"] = value
        if self.registers[f"MER{name}"] >> (n & 3) & 1:
            self.registers[f"MSR{name}"] |= 1 << (n & 3)
            self.drive(MESSAGE + n, True)

    def write_mer(self, group: int, value: int) -> None:
        """Message enables."""
        self.registers[f"MER{'AB'[group]}"] = value & 0xF
        self._drive_messages(group)

    def write_msr(self, group: int, value: int) -> None:
        """Writing 1 to a message's status clears it."""
        self.registers[f"MSR{'AB'[group]}"] &= ~value & 0xF
        self._drive_messages(group)

    def _drive_messages(self, group: int) -> None:
        name = "AB"[group]
        up = self.registers[f"MSR{name}"] & self.registers[f"MER{name}"]
        for i in range(4):
            self.drive(MESSAGE + 4 * group + i, bool(up >> i & 1))

    def read_msir(self, n: int) -> int:
        """A shared message interrupt register; reading clears it."""
        value = self.registers[f"MSIR{n}"]
        self.registers[f"MSIR{n}"] = 0
        self.drive(MSI + n, False)
        return value

    @regs.on_read(0x1720, "MSISR")
    def read_msisr(self) -> int:
        """Which MSIRs are not zero."""
        return self.state.lines >> MSI & (1 << MSIS) - 1

    @regs.on_write(0x1740, "MSIIR")
    def write_msiir(self, value: int) -> None:
        """Where messages are written."""
        self.message(value)

    # The processor's registers.

    @core.on_read(0x80, "CTPR")
    def read_ctpr(self) -> int:
        """The current task priority."""
        return self.ctpr & 15

    @core.on_write(0x80, "CTPR")
    def write_ctpr(self, value: int) -> None:
        """The current task priority, which holds back what is not above it."""
        self.ctpr = value & 15
        self._update()

    @core.on_read(0x90, "WHOAMI")
    def read_whoami(self) -> int:
        """Processor 0."""
        return 0

    @core.on_read(0xA0, "IACK")
    def read_iack(self) -> int:
        """Take the next interrupt: its vector, or the spurious one."""
        s = self.state
        source = self._next()
        if source < 0:
            return self.svr & 0xFFFF
        if source >= TIMER:
            # What came while the request waited is merged with it.
            self._sync(source - TIMER >> 2)
        s.latched &= ~(1 << source)
        s.serving.append(source << 4 | s.vpr[source] >> 16 & 15)
        if source >= TIMER:
            self._schedule()
        self._update()
        return s.vpr[source] & 0xFFFF

    @core.on_read(0xB0, "EOI")
    def read_eoi(self) -> int:
        """Write only."""
        return 0

    @core.on_write(0xB0, "EOI")
    def write_eoi(self, value: int) -> None:
        """End of the interrupt in service with the highest priority."""
        if self.state.serving:
            self.state.serving.pop()
            self._update()

    def _dispatch(self, n: int, value: int) -> None:
        """An inter-processor interrupt to the processors named by the low bits."""
        if value & P0:
            self.state.latched |= 1 << IPI + n
            self._update()

    @core.on_write(0x40, "IPIDR0")
    def write_ipidr0(self, value: int) -> None:
        """Dispatch inter-processor interrupt 0."""
        self._dispatch(0, value)

    @core.on_write(0x50, "IPIDR1")
    def write_ipidr1(self, value: int) -> None:
        """Dispatch inter-processor interrupt 1."""
        self._dispatch(1, value)

    @core.on_write(0x60, "IPIDR2")
    def write_ipidr2(self, value: int) -> None:
        """Dispatch inter-processor interrupt 2."""
        self._dispatch(2, value)

    @core.on_write(0x70, "IPIDR3")
    def write_ipidr3(self, value: int) -> None:
        """Dispatch inter-processor interrupt 3."""
        self._dispatch(3, value)

    # Timers.

    def read_count(self, n: int) -> int:
        """The current count, with the toggle bit on top."""
        self._sync(n >> 2)
        self._update()
        return self.state.counts[n] | (self.state.toggles >> n & 1) << 31

    def write_base(self, n: int, value: int) -> None:
        """The base count. Taking the inhibit bit away starts the timer from it."""
        s, name = self.state, _base_name(n)
        self._sync(n >> 2)
        started = self.registers[name] & ~value & INHIBIT
        self.registers[name] = value
        if started:
            s.counts[n] = value & MAX_COUNT
            s.toggles &= ~(1 << n)
        self._schedule()
        self._update()

    def write_tcr(self, group: int, value: int) -> None:
        """Clock ratio, cascades and what a cascaded timer starts again from."""
        self._sync(group)
        self.registers[f"TCR{'AB'[group]}"] = value & 0x0701_0307
        self._schedule()
        self._update()

    def _tick(self, group: int, now: int) -> int:
        """The number of clock ticks of a group from time 0 to `now`."""
        return now * self.ccb_hz // (self._divider(group) * 1_000_000_000)

    def _divider(self, group: int) -> int:
        return 8 << (self.registers[f"TCR{'AB'[group]}"] >> 8 & 3)

    def _feeds(self, n: int) -> bool:
        """Timer n clocks timer n + 1."""
        return n & 3 < 3 and bool(self.registers[f"TCR{'AB'[n >> 2]}"] >> (n & 3) & 1)

    def _fed(self, n: int) -> bool:
        """Timer n is clocked by timer n - 1."""
        return n & 3 > 0 and self._feeds(n - 1)

    def _again(self, n: int) -> int:
        """What timer n counts from after zero."""
        if self._feeds(n) and self.registers[f"TCR{'AB'[n >> 2]}"] >> (24 + (n & 3)) & 1:
            return MAX_COUNT
        return self.registers[_base_name(n)] & MAX_COUNT

    def _runs(self, n: int) -> bool:
        return not self.registers[_base_name(n)] & INHIBIT

    def _sync(self, group: int) -> None:
        """Count for the time since the last call; requests are latched, lines not yet driven."""
        s, now = self.state, self.clock.now()
        ticks = self._tick(group, now) - self._tick(group, s.synced[group])
        s.synced[group] = now
        passed = 0
        for n in range(4 * group, 4 * group + 4):
            passed = self._count(n, passed if self._fed(n) else max(0, ticks))
            if passed:
                s.toggles ^= (passed & 1) << n
                s.latched |= 1 << TIMER + n

    def _count(self, n: int, ticks: int) -> int:
        """Count timer n down by `ticks`. Returns how often it came to zero; with base count 0 it never does."""
        counts, again = self.state.counts, self._again(n)
        left = counts[n] or again
        if not ticks or not left or not self._runs(n):
            return 0
        if ticks < left:
            counts[n] = left - ticks
            return 0
        ticks -= left
        counts[n] = again - ticks % again if again else 0
        return 1 + (ticks // again if again else 0)

    def _until(self, n: int, times: int = 1) -> int | None:
        """In how many ticks of the group timer n comes to zero for the `times`th time."""
        again = self._again(n)
        left = self.state.counts[n] or again
        if not left or not self._runs(n) or (times > 1 and not again):
            return None
        needed = left + (times - 1) * again
        return self._until(n - 1, needed) if self._fed(n) else needed

    def _schedule(self) -> None:
        """Arm the clock for the next timer interrupt that would be heard and is not yet waiting."""
        s, soonest = self.state, state.MAX_TIME + 1
        wanted = (self._open & ~s.latched) >> TIMER
        for n in range(TIMERS):
            ticks = self._until(n) if wanted >> n & 1 else None
            if ticks is not None:
                group = n >> 2
                tick = self._tick(group, s.synced[group]) + ticks
                at = -(-tick * self._divider(group) * 1_000_000_000 // self.ccb_hz)
                soonest = min(soonest, max(at, s.fired + MIN_PERIOD_NS))
        s.armed = soonest if soonest <= state.MAX_TIME else None
        self._arm()

    def _arm(self) -> None:
        """Make the clock's timer follow the saved deadline."""
        if self.state.armed is None:
            self._timer.cancel()
        else:
            self._timer.arm(self.state.armed)

    def _expired(self) -> None:
        self.state.fired = self.clock.now()
        self._sync(0)
        self._sync(1)
        self._schedule()
        self._update()


def _base_name(n: int) -> str:
    """The base count register of timer 0..7."""
    return f"GTBCR{'AB'[n >> 2]}{n & 3}"


def _shift(offset: int, width: int) -> int:
    """How far up in a big-endian word the `width` bytes at `offset` are."""
    return max(0, 8 * (4 - width - (offset & 3)))
