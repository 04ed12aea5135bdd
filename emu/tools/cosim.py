"""`emu cosim`: run one guest on two tiers in lockstep and stop at the first instruction after which they differ.

The command line is that of `emu run`, with `--accel A,B` (default interp,reference), `--every N` (a fixed distance
between comparisons; auto: one that grows) and `--from N` (both run the first N instructions on A, which may be the
faster one). Two complete machines are built with the same inputs; what they print is counted, not shown; what they
write to disks is not kept. They are compared after each chunk: registers, virtual time, devices and output, and memory
once so much has run that it takes little of the time. A chunk with a difference is run again from the start with fresh
machines and smaller chunks, down to one instruction. Translated code may be wrong only if it runs at a stretch: then
the shortest stretch is found whose end is wrong when it runs at once and right when it does not.

Exit status: 0 equal to the end or to --max-insns, 5 different, 124 --timeout.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from emu.boards import Date, Setup, board, make_cpu, make_ppc_cpu
from emu.bus import Bus
from emu.clock import calendar, wall
from emu.cpu import FOREVER
from emu.errors import MachineError
from emu.expect import Script
from emu.machine import Cause, Machine
from emu.media import open_drive, sort_positional
from emu.memory import GuestRam
from emu.options import CORES, Chardev, Config, UsageError, number, parse, rtc_base
from emu.session import Port, say, set_up_logging
from emu.tools.words import own_words

DIFFERENT = 5
FIRST_CHUNK = 1_000
LARGEST_CHUNK = 2_000_000
PARTS = 64
SHOWN = 8
LISTED = 64
"""Instructions of a stretch that are listed."""
DENSITY = 4
"""Instructions that run for each byte of RAM compared: memory is then a small part of the work."""
BLOCK = 1 << 18
"""Bytes compared at once: what a processor's cache holds."""
SLICES = {"reference": 50_000}
SLICE = 500_000
TIERS = ("interp", "reference")
KNOWN = ("jit", "interp", "reference")

Builder = Callable[[str], "Side"]


class Relay:
    """A processor that another one can take over from: same registers, same counts, same pins."""

    def __init__(self, cpu: Any) -> None:
        self.inner = cpu
        self.intr = self.critical = False
        self.a20 = True
        self.steady: dict[int, int | None] = {}
        self.steady_ports: dict[int, tuple[int | None, int, bool]] = {}
        self.events: tuple[Any, bool] = (None, False)
        self.clock: Any = None
        self.apic: Any = None
        self.disks: list[Any] = []

    def take_over(self, cpu: Any) -> None:
        """Go on with another processor. The translation caches start empty, also if it is the same one."""
        old = self.inner
        for lent in (self.apic, *self.disks):
            if lent is not None:
                lent.save()  # ends its loan to the old one
        cpu.reset()
        cpu.load_state(old.state())
        cpu.icount = old.icount
        cpu.time_offset = old.time_offset
        cpu.set_a20(self.a20)
        cpu.set_intr(self.intr)
        if self.clock is not None:
            cpu.set_critical(self.critical)
            old.detach_clock()
            cpu.attach_clock(self.clock)
        for paddr, value in self.steady.items():
            cpu.set_steady(paddr, value)
        for port, (same, until, writes) in self.steady_ports.items():
            cpu.set_steady_port(port, same, until, writes)
        if self.apic is not None:
            cpu.lend_apic(self.apic)
        for disk in self.disks:
            cpu.lend_disk(disk)
        cpu.on_event(self.events[0], log_interrupts=self.events[1])
        self.inner = cpu

    def set_intr(self, level: bool) -> None:
        """See `emu.cpu.CpuPins`."""
        self.intr = level
        self.inner.set_intr(level)

    def set_critical(self, level: bool) -> None:
        """See `emu.cpu.EmbeddedCpu`."""
        self.critical = level
        self.inner.set_critical(level)

    def attach_clock(self, clock: Any) -> None:
        """See `emu.cpu.EmbeddedCpu`."""
        self.clock = clock
        self.inner.attach_clock(clock)

    def set_a20(self, enabled: bool) -> None:
        """See `emu.cpu.CpuPins`."""
        self.a20 = enabled
        self.inner.set_a20(enabled)

    def lend_apic(self, apic: Any) -> None:
        """See `emu.cpu.PcCpu`."""
        self.apic = apic
        self.inner.lend_apic(apic)

    def lend_net(self, card: Any) -> None:
        """See `emu.cpu.PcCpu`. Two processors cannot have one wire, so it stays where it is."""

    def lend_disk(self, disk: Any) -> None:
        """See `emu.cpu.PcCpu`."""
        self.disks.append(disk)
        self.inner.lend_disk(disk)

    def set_steady(self, paddr: int, value: int | None) -> None:
        """See `emu.cpu.CpuPins`."""
        self.steady[paddr] = value
        self.inner.set_steady(paddr, value)

    def set_steady_port(self, port: int, value: int | None, until: int = FOREVER, writes: bool = False) -> None:
        """See `emu.cpu.CpuPins`."""
        self.steady_ports[port] = value, until, writes
        self.inner.set_steady_port(port, value, until, writes)

    def on_event(self, callback: Any, *, log_interrupts: bool = False) -> None:
        """See `emu.cpu.Cpu`."""
        self.events = callback, log_interrupts
        self.inner.on_event(callback, log_interrupts=log_interrupts)

    @property
    def time_offset(self) -> int:
        """See `emu.cpu.Cpu`."""
        return int(self.inner.time_offset)

    @time_offset.setter
    def time_offset(self, value: int) -> None:
        self.inner.time_offset = value


def _forward(name: str, *, method: bool) -> None:
    """Give `Relay` a member that asks whichever processor is running. Bound methods of it stay right over a change."""

    def call(self: Relay, *args: Any) -> Any:
        return getattr(self.inner, name)(*args)

    setattr(Relay, name, call if method else property(lambda self: getattr(self.inner, name)))


for _name in (
    "nmi", "now", "run", "stop", "stop_at", "hook", "reset", "reg", "set_reg", "read_linear", "write_linear",
    "translate", "invalidate", "remap", "digest", "stats", "fault_story", "state", "load_state", "exceptions",
    "machine_check", "load_values",
):  # fmt: skip
    _forward(_name, method=True)
for _name in ("icount", "halted", "hook_value", "interruptible", "stuck", "tier"):
    _forward(_name, method=False)


@dataclass
class Side:
    """One of the two machines. It is also its machine's outside: nothing comes but what the script types."""

    tier: str
    machine: Machine
    ports: list[Port] = field(default_factory=list)
    script: Script | None = None
    failure: str = ""
    switch_at: int = 0
    switch: Callable[[], None] | None = None
    deadline: float | None = None

    def poll(self, machine: Machine) -> None:
        """See `emu.machine.Outside`."""
        if self.deadline is not None and wall() >= self.deadline:
            machine.end(Cause.TIMEOUT, 124)

    def wait(self, machine: Machine, seconds: float | None) -> bool:
        """See `emu.machine.Outside`."""
        return False

    def at_rest(self, machine: Machine) -> None:
        """See `emu.machine.Outside`."""
        if self.script is not None:
            self.script.look()

    def run_to(self, count: int) -> None:
        """Run until `count` instructions have retired since power-on, or to the end of the guest."""
        if self.switch is not None and count >= self.switch_at:
            self._run(self.switch_at)
            switch, self.switch = self.switch, None
            switch()
        self._run(count)

    def _run(self, count: int) -> None:
        m = self.machine
        m.max_insns = count
        if m.ending is not None or self.failure or m.retired >= count:
            return
        try:
            ending = m.run(self)
        except MachineError as error:
            self.failure = str(error)
            return
        if ending.cause is Cause.LIMIT:
            m.ending = None

    @property
    def is_ppc(self) -> bool:
        """Whether it is a PowerPC board."""
        return CORES[self.machine.name].arch == "ppc"

    @property
    def over(self) -> str:
        """Why this side does not go on; empty if it does."""
        if self.failure:
            return self.failure
        ending = self.machine.ending
        return "" if ending is None else f"{ending.cause.value} (status {ending.status})"

    def summary(self) -> list[Any]:
        """What `facts` says, quickly."""
        m = self.machine
        cpu: Any = m.cpu
        return [
            m.retired,
            m.clock.now(),
            self.over,
            m.resets,
            cpu.state(),
            None if self.is_ppc else cpu.reg("eflags"),
            {name: device.save() for name, device in m.devices.items()},
            [(port.count, port.hash.digest()) for port in self.ports],
        ]

    def facts(self) -> dict[str, Any]:
        """What must be equal besides memory, by name."""
        m = self.machine
        cpu: Any = m.cpu
        out: dict[str, Any] = {
            "instructions": m.retired,
            "virtual ns": m.clock.now(),
            "end": self.over,
            "resets": m.resets,
        }
        for name, value in cpu.state().items():
            if isinstance(value, list):
                out.update((f"{name}[{k}]", x) for k, x in enumerate(value))
            else:
                out[name] = value
        if not self.is_ppc:
            out["eflags image"] = cpu.reg("eflags")
        for name, device in m.devices.items():
            out.update(_flat(f"device {name}", device.save()))
        for port in self.ports:
            out[f"{port.name} bytes"] = port.count
            out[f"{port.name} sha256"] = port.hash.hexdigest()
        return out


def _flat(prefix: str, value: object) -> dict[str, Any]:
    """Nested plain data as one level of names."""
    if isinstance(value, dict):
        return {k: v for key in value for k, v in _flat(f"{prefix}.{key}", value[key]).items()}
    if isinstance(value, (list, tuple)):
        return {k: v for n, item in enumerate(value) for k, v in _flat(f"{prefix}[{n}]", item).items()}
    return {prefix: bytes(value) if isinstance(value, (bytearray, memoryview)) else value}


def build(config: Config, date: Date, tier: str, first: str = "", switch_at: int = 0) -> Side:
    """A complete machine on one tier, switched on; on tier `first` until `switch_at` instructions have retired."""
    config.accel = tier
    ports: dict[int, Port] = {}

    def port(name: str, device: Chardev) -> Port | None:
        if device.kind == "none":
            return None
        return ports.setdefault(id(device), Port(name, None))

    setup = Setup(config, serial=[port(f"serial{k}", device) for k, device in enumerate(config.serial)], date=date)
    if config.debugcon is not None:
        setup.debugcon = port("debugcon", config.debugcon)
    for name, device in config.chardevs.items():
        if any(props.get("chardev") == name for _, props in config.devices):
            setup.consoles[name] = port(f"debugcon-{name}", device)
    setup.media += [open_drive(drive, config) for drive in config.drives if drive.interface != "none"]
    relays: list[tuple[Relay, Callable[[], Any]]] = []

    def processor(accel: str, bus: Bus, ram: GuestRam, model: str) -> Any:
        make: Callable[..., Any] = make_ppc_cpu if CORES[config.machine].arch == "ppc" else make_cpu
        relay = Relay(make(first, bus, ram, model, config.jit_size))
        relays.append((relay, lambda: make(tier, bus, ram, model, config.jit_size)))
        return relay

    if switch_at:
        setup.make_cpu = processor
    machine = board(config.machine)(setup)
    machine.no_reboot, machine.no_shutdown = config.no_reboot, config.no_shutdown
    machine.shutdown_is_failure = True
    machine.fixed_slice = SLICES.get(tier, SLICE)
    side = Side(tier, machine, list(ports.values()))
    for relay, later in relays:
        side.switch_at, side.switch = switch_at, partial(_take_over, relay, later)
    if config.script:
        side.script = _script(config, side, setup)
    machine.power_on()
    if side.script is not None:
        side.script.start()
    return side


def _take_over(relay: Relay, later: Callable[[], Any]) -> None:
    relay.take_over(later())


def _script(config: Config, side: Side, setup: Setup) -> Script:
    m = side.machine

    def type_serial(data: bytes) -> None:
        channel = m.inputs.channels.get("serial0")
        if channel is not None:
            channel.put(data)

    script = Script(
        config.script,
        m.clock,
        screen=lambda: m.screen(),
        type_serial=type_serial,
        type_keys=m.type_keys,
        typing=lambda: m.inputs.waiting,
        finished=lambda: m.end(Cause.SCRIPT),
    )
    first = setup.serial[0] if setup.serial else None
    if isinstance(first, Port):
        first.script = script
    return script


def memory_differences(a: Machine, b: Machine) -> list[tuple[int, bytes, bytes]]:
    """Where the RAM buffers differ: (offset, bytes of a, bytes of b), at most `SHOWN` runs."""
    out: list[tuple[int, bytes, bytes]] = []
    p, q = a.ram.array, b.ram.array
    for start in range(0, len(p), BLOCK):
        if np.array_equal(p[start : start + BLOCK], q[start : start + BLOCK]):
            continue
        x, y = p[start : start + BLOCK].tobytes(), q[start : start + BLOCK].tobytes()
        k = 0
        while k < len(x) and len(out) < SHOWN:
            if x[k] == y[k]:
                k += 1
                continue
            end = k + 1
            while end < len(x) and end - k < 16 and x[end] != y[end]:
                end += 1
            out.append((start + k, x[k:end], y[k:end]))
            k = end
        if len(out) >= SHOWN:
            break
    return out


class Difference:
    """What is not equal between two sides; false if nothing."""

    def __init__(self, a: Side, b: Side, *, memory: bool = True) -> None:
        """`memory` False: look there only if something else is different."""
        self.facts: list[tuple[str, Any, Any]] = []
        self.memory: list[tuple[int, bytes, bytes]] = []
        if a.summary() != b.summary():
            x, y = a.facts(), b.facts()
            names = [*x, *(name for name in y if name not in x)]
            self.facts = [(name, x.get(name), y.get(name)) for name in names if x.get(name) != y.get(name)]
        if memory or self.facts:
            self.memory = memory_differences(a.machine, b.machine)

    def __bool__(self) -> bool:
        return bool(self.facts or self.memory)


@dataclass
class Outcome:
    """How far both sides were equal, and what came after: `length` instructions that differ when they run at once."""

    equal: int
    difference: Difference | None = None
    sides: tuple[Side, Side] | None = None
    where: list[str] = field(default_factory=list)
    over: str = ""
    length: int = 1
    remark: str = ""


class TimeUp(Exception):
    """--timeout."""


class Cosim:
    """Two tiers of one guest. `make(tier)` gives a fresh machine each time."""

    def __init__(
        self,
        make: Builder,
        tiers: tuple[str, str],
        *,
        limit: int | None = None,
        every: int = 0,
        start: int = 0,
        timeout: float | None = None,
    ) -> None:
        self.make = make
        self.tiers = tiers
        self.limit = limit
        self.every = every
        self.start = start
        self.deadline = None if timeout is None else wall() + timeout
        self.progress: Callable[[int], None] = lambda count: None
        self.narrowing: Callable[[int, int], None] = lambda low, high: None

    def run(self) -> Outcome:
        """Run to the end, the limit, or the first difference, which is then narrowed down."""
        path = [0]
        outcome = self._pass(path, self._first_targets(), sparse=True)
        try:
            while outcome.difference and self._high - outcome.equal > 1:
                low, high = outcome.equal, self._high
                self.narrowing(low, high)
                step = -(-(high - low) // PARTS)
                again = self._pass(path, iter([*range(low + step, high, step), high]))
                if again.over == "--timeout":
                    raise TimeUp
                if not again.difference:
                    return self._stretch(path, low, high) or outcome
                outcome = again
            if outcome.difference:
                outcome.where = describe(self._witness(outcome.equal))
        except TimeUp:
            outcome.remark = "--timeout came while this was narrowed down"
        return outcome

    def _first_targets(self) -> Iterator[int]:
        """The counts at which the first pass compares."""
        target, step = self.start, self.every or FIRST_CHUNK
        while self.limit is None or target < self.limit:
            yield target
            target += step
            if not self.every:
                step = min(2 * step, LARGEST_CHUNK)
        yield self.limit

    def _sides(self) -> tuple[Side, Side]:
        return self.make(self.tiers[0]), self.make(self.tiers[1])

    def _run_to(self, target: int, *sides: Side) -> None:
        for side in sides:
            side.deadline = self.deadline
            side.run_to(target)
            if side.machine.ending is not None and side.machine.ending.cause is Cause.TIMEOUT:
                raise TimeUp

    def _pass(self, path: list[int], targets: Iterator[int], *, sparse: bool = False) -> Outcome:
        """Fresh machines, run along `path` and then to each of `targets`, where they are compared.

        Those up to which everything was equal are put behind `path`: translated code depends on where it was left, so
        that another run must go the same way. `sparse`: memory is not compared each time.
        """
        a, b = self._sides()
        equal, known, stops = path[-1], len(path), self.limit
        length = a.machine.ram.view.nbytes // DENSITY
        try:
            for point in path:
                self._run_to(point, a, b)
            for target in targets:
                self._run_to(target, a, b)
                count = a.machine.retired
                last = bool(a.over) or count == stops
                whole = last or not sparse or target == self.start or count - equal >= length
                difference = Difference(a, b, memory=whole)
                if difference:
                    self._high = target
                    del path[known:]
                    return Outcome(equal, difference, (a, b))
                path.append(target)
                if whole:
                    equal, known = count, len(path)
                if last:
                    break
                if sparse:
                    self.progress(count)
        except TimeUp:
            return Outcome(equal, over="--timeout")
        return Outcome(equal, over=a.over)

    def _stretch(self, path: list[int], low: int, high: int) -> Outcome | None:
        """The shortest stretch between the end of `path` and `high` that ends differently when it runs at once."""
        del path[path.index(low) + 1 :]
        end = self._edge(low, high, lambda middle: not self._ends_differently(path, middle))
        start = self._edge(low, end, lambda middle: self._ends_differently([*path, middle], end)) - 1
        sides = self._sides()
        for point in [*path, start, end]:
            self._run_to(point, *sides)
        difference = Difference(*sides)
        if not difference:
            return None
        return Outcome(start, difference, sides, self._listing(start, end), length=end - start)

    def _edge(self, low: int, high: int, before: Callable[[int], bool]) -> int:
        """The first number behind `low` for which `before` no longer holds, as it does not for `high`."""
        while high - low > 1:
            self.narrowing(low, high)
            middle = (low + high) // 2
            if before(middle):
                low = middle
            else:
                high = middle
        return high

    def _ends_differently(self, path: list[int], end: int) -> bool:
        """Whether both are equal at the end of `path` and not at `end`."""
        sides = self._sides()
        for point in path:
            self._run_to(point, *sides)
        if Difference(*sides):
            return False
        self._run_to(end, *sides)
        return bool(Difference(*sides))

    def _witness(self, count: int) -> Side:
        """A third machine, of the tier that is more to be trusted, after `count` instructions."""
        side = self.make(max(self.tiers, key=KNOWN.index))
        self._run_to(count, side)
        return side

    def _listing(self, start: int, end: int) -> list[str]:
        """The state at `start`, and the instructions from there to `end`."""
        side = self._witness(start)
        lines = describe(side)
        for count in range(start + 1, min(end, start + LISTED)):
            self._run_to(count, side)
            lines.append(describe(side)[-1])
        if end - start > LISTED:
            lines.append(f"and {end - start - LISTED} more")
        return lines


def describe(side: Side) -> list[str]:
    """Registers and the next instruction of a machine at rest, for people."""
    cpu: Any = side.machine.cpu
    if side.is_ppc:
        return describe_ppc(cpu)
    r = {name: cpu.reg(name) for name in ("eax", "ebx", "ecx", "edx", "esi", "edi", "ebp", "esp")}
    lines = [" ".join(f"{name} {value:08x}" for name, value in r.items())]
    segments = " ".join(f"{name} {cpu.reg(name):04x}" for name in ("cs", "ss", "ds", "es", "fs", "gs"))
    lines.append(f"{segments} eflags {cpu.reg('eflags'):08x} cr0 {cpu.reg('cr0'):08x} cpl {cpu.reg('cpl')}")
    try:
        code = cpu.read_linear((cpu.reg("cs.base") + cpu.reg("eip")) & 0xFFFFFFFF, 16)
    except Exception as error:
        return [*lines, f"{cpu.reg('cs'):04x}:{cpu.reg('eip'):08x}  {error}"]
    length, text = disassemble(code, cpu.reg("eip"), bool(cpu.reg("cs.attr") >> 14 & 1))
    lines.append(f"{cpu.reg('cs'):04x}:{cpu.reg('eip'):08x}  {code[:length].hex(' ')}  {text}")
    return lines


def describe_ppc(cpu: Any) -> list[str]:
    """The same for a PowerPC."""
    from emu.tools import trace_ppc

    pc = cpu.reg("pc")
    lines = trace_ppc.registers(cpu).splitlines()
    try:
        code = cpu.read_linear(pc, 4)
    except Exception as error:
        return [*lines, f"{pc:08x}  {error}"]
    return [*lines, f"{pc:08x}  {code.hex(' ')}  {trace_ppc.text_at(cpu, pc, code)}"]


def disassemble(code: bytes, eip: int, big: bool) -> tuple[int, str]:
    """Length and text of one instruction."""
    from cores.x86 import text

    words, length = text.disassemble(code, eip, big)
    return length, words


def report(outcome: Outcome, tiers: tuple[str, str]) -> None:
    """Say what was found on stdout."""
    difference = outcome.difference
    if difference is None:
        print(
            f"{tiers[0]} and {tiers[1]} are equal for {outcome.equal:,} instructions; {outcome.over or '--max-insns'}"
        )
        return
    what = "the next" if outcome.length == 1 else f"the next {outcome.length}, if these run at once"
    print(f"{tiers[0]} and {tiers[1]} are equal for {outcome.equal:,} instructions and differ after {what}")
    if outcome.remark:
        print(f"  {outcome.remark}")
    for line in outcome.where:
        print(f"  {line}")
    width = max([len(name) for name, _, _ in difference.facts], default=8)
    print(f"  {'':{width}}  {tiers[0]:>20}  {tiers[1]:>20}")
    for name, x, y in difference.facts[:40]:
        print(f"  {name:{width}}  {_shown(x):>20}  {_shown(y):>20}")
    if len(difference.facts) > 40:
        print(f"  and {len(difference.facts) - 40} more")
    for at, p, q in difference.memory:
        print(f"  memory {at:#010x}  {p.hex(' ')}  {q.hex(' ')}")


def _shown(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:#x}"
    return str(value)[:60]


def main(words: Sequence[str]) -> int:
    """`emu cosim`; returns the exit status. Raises UsageError."""
    if any(word in ("-h", "-help", "--help") for word in words):
        print(__doc__)
        return 0
    tiers, every, start, rest = _own_options(words)
    config = parse(rest)
    _check_back_end(tiers, CORES[config.machine].arch)
    set_up_logging(config)
    sort_positional(config)
    date: Date = Setup(config).date
    if config.rtc in ("utc", "localtime"):
        date = calendar(config.rtc == "utc")
    elif config.rtc is not None:
        date = rtc_base(config.rtc)

    def make(tier: str) -> Side:
        fresh = parse(rest)
        sort_positional(fresh)
        fresh.snapshot = True
        return build(fresh, date, tier, tiers[0], start)

    cosim = Cosim(make, tiers, limit=config.max_insns, every=every, start=start, timeout=config.timeout)
    if sys.stderr.isatty():
        cosim.progress = lambda count: say(f"cosim: equal for {count:,} instructions")
        cosim.narrowing = lambda low, high: say(f"cosim: different between {low:,} and {high:,}")
    outcome = cosim.run()
    report(outcome, tiers)
    if outcome.difference:
        return DIFFERENT
    return 124 if outcome.over == "--timeout" else 0


def _check_back_end(tiers: tuple[str, str], arch: str) -> None:
    """Raise UsageError where a comparison with the JIT would be one with the tier it falls back to."""
    if "jit" not in tiers:
        return
    try:
        from emu.engine import PpcCpu, X86Cpu
    except ImportError as error:
        raise UsageError(f"--accel {','.join(tiers)}: the engine is not built ({error}); run `make build`") from None
    if not (PpcCpu if arch == "ppc" else X86Cpu).has_jit():
        raise UsageError(f"--accel {','.join(tiers)}: the JIT has no back end for this host")


def _own_options(words: Sequence[str]) -> tuple[tuple[str, str], int, int, list[str]]:
    """Take --accel A,B, --every N and --from N out of the command line."""
    tiers: tuple[str, ...] = TIERS
    every = start = 0
    rest: list[str] = []
    for name, value in own_words(words, ("accel", "every", "from"), rest):
        if name == "every":
            every = 0 if value == "auto" else number(value.replace("_", ""), "--every", 1)
        elif name == "from":
            start = number(value.replace("_", ""), "--from", 0)
        else:
            tiers = tuple(value.split(","))
            if len(tiers) != 2 or not set(tiers) <= set(KNOWN):
                raise UsageError(f"--accel {value}: expected two of {', '.join(KNOWN)}, as in --accel jit,interp")
    return (tiers[0], tiers[1]), every, start, rest
