"""What stops a run for those who debug it: breakpoints, watchpoints, and conditions on what the processor does.

gdb and the monitor share it (`stops_of`): each has its own points under its name, and hears of every stop. Conditions
are heard of from the processor's events, so that a run which meets none is no slower; ports are watched on the bus.
A stop changes nothing in the guest: the run goes on as it would have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from emu.cpu import DebuggedCpu, Exit

if TYPE_CHECKING:
    from emu.bus import Mapping
    from emu.machine import Machine

MAGIC = 0x10000
PROTECTED, PAGED, VIRTUAL_8086, CODE_32 = 1, 2, 4, 8
PRIVILEGE = 4
EXCEPTION = 0
FIRST_USER_VECTOR = 32
READS, WRITES = 1, 2
TRACED = 1000
"""Instructions in one go while each is shown."""


@dataclass(frozen=True)
class Stop:
    """Why the processor stopped: `kind` is break, watch, magic, or the name of a condition; `text` for people."""

    kind: str
    text: str
    address: int = 0
    owner: str = ""
    """Whose point it is; empty for conditions."""


@dataclass
class Conditions:
    """What besides points stops a run. None of the sets holds anything by default."""

    magic: bool = False
    mode: bool = False
    """Real, protected, virtual 8086 mode, paging and the size of code."""
    privilege: set[int] = field(default_factory=set)
    """Entering one of these levels."""
    exceptions: set[int] = field(default_factory=set)
    interrupts: set[int] = field(default_factory=set)
    """Vectors of interrupts of either kind."""
    ports: dict[int, int] = field(default_factory=dict)
    """Ports, with 1 for reads, 2 for writes, 3 for both."""
    cr3: set[int] | None = None
    """New values of CR3 (page directories); an empty set: any."""

    def lines(self) -> list[str]:
        """What is set, for people."""
        out = ["magic"] if self.magic else []
        out += ["mode"] if self.mode else []
        out += [f"cpl {level}" for level in sorted(self.privilege)]
        out += [f"exception {vector:#x}" for vector in sorted(self.exceptions)]
        out += [f"interrupt {vector:#x}" for vector in sorted(self.interrupts)]
        out += [f"port {port:#x} {_ways(ways)}" for port, ways in sorted(self.ports.items())]
        if self.cr3 is not None:
            out += [f"cr3 {value:#x}" for value in sorted(self.cr3)] or ["cr3"]
        return out


def _ways(ways: int) -> str:
    return {READS: "reads", WRITES: "writes"}.get(ways, "reads and writes")


def mode_name(mode: int) -> str:
    """A mode in words."""
    if not mode & PROTECTED:
        return "real mode"
    name = "virtual 8086 mode" if mode & VIRTUAL_8086 else f"protected mode, {32 if mode & CODE_32 else 16}-bit code"
    return f"{name}, paging" if mode & PAGED else name


class Stops:
    """One for each machine that somebody debugs; use `stops_of`."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.conditions: dict[str, Conditions] = {}
        """By owner."""
        self.listeners: list[Callable[[Stop], None]] = []
        """Told of each stop; pausing the machine is theirs."""
        self.runner: Callable[[int], Exit] = machine.execute
        """Runs the processor; replaced by who steps."""
        self._cpu = cast(DebuggedCpu, machine.cpu)
        self._breaks: dict[str, list[int]] = {}
        self._watches: dict[str, list[tuple[int, int, int]]] = {}
        self.steps = 0
        """Instructions after which to stop; 0: no limit."""
        self.trace: Callable[[], None] | None = None
        """Called before each instruction, one at a time."""
        self._pending: Stop | None = None
        self._rooms: list[tuple[Mapping, Any]] = []
        self._wrapped = False
        machine.execute = self.execute
        machine.on_mode.append(self._new_mode)
        machine.on_interrupt.append(self._coming)
        machine.on_flush.append(self._flushed)

    # -- points

    def set_breakpoints(self, owner: str, addresses: Iterable[int]) -> None:
        """Linear addresses. Raises ValueError for too many."""
        wanted = {**self._breaks, owner: list(addresses)}
        self._cpu.set_breakpoints(sorted({at for points in wanted.values() for at in points}))
        self._breaks = wanted

    def set_watchpoints(self, owner: str, watches: Iterable[tuple[int, int, int]]) -> None:
        """(linear address, size, 1 reads | 2 writes). Raises ValueError for too many."""
        wanted = {**self._watches, owner: list(watches)}
        self._cpu.set_watchpoints([watch for points in wanted.values() for watch in points])
        self._watches = wanted

    def set_conditions(self, owner: str, conditions: Conditions) -> None:
        """Replace what an owner waits for."""
        self.conditions[owner] = conditions
        every = self.conditions.values()
        self._cpu.set_conditions(magic=any(c.magic for c in every), modes=any(c.mode or c.privilege for c in every))
        if any(c.exceptions or c.interrupts or c.cr3 is not None for c in every):
            self.machine.log_interrupts()
        self._watch_ports()

    def forget(self, owner: str) -> None:
        """An owner is gone."""
        self.set_breakpoints(owner, ())
        self.set_watchpoints(owner, ())
        self.set_conditions(owner, Conditions())

    def go(self) -> None:
        """The processor goes on from where it stopped: a breakpoint there does not stop it again."""
        self._cpu.pass_breakpoint(True)

    # -- running

    def execute(self, budget: int) -> Exit:
        """In place of `Cpu.run`: notices why it stopped."""
        cpu = self._cpu
        before = cpu.icount
        reason = self._run(budget)
        met = cpu.debug_stop()
        done = cpu.icount - before
        if done:
            cpu.pass_breakpoint(False)
        if self.steps and done:
            self.steps -= min(self.steps, done)
            if not self.steps and self._pending is None:
                self._pending = Stop("step", "")
        stop = self._met(met) if met else self._pending
        self._pending = None
        if stop is not None:
            self.steps = 0
            for listener in list(self.listeners):
                listener(stop)
        return reason

    def _run(self, budget: int) -> Exit:
        if self.steps == 1 and not self._cpu.halted:
            if self.trace is not None:
                self.trace()
            return self._cpu.step()  # not into an interrupt
        if self.steps:
            budget = min(budget, self.steps)
        if self.trace is None:
            return self.runner(budget)
        reason = Exit.BUDGET
        for _ in range(min(budget, TRACED)):
            self.trace()
            before = self._cpu.icount
            reason = self.runner(1)
            if reason != Exit.BUDGET or self._cpu.icount == before:
                break
        return reason

    def _met(self, met: int) -> Stop:
        if met == MAGIC:
            return Stop("magic", "xchg bx, bx", self.place)
        if met == 1:
            at = self.place
            owner = next((name for name, points in self._breaks.items() if at in points), "")
            return Stop("break", f"breakpoint at {at:#x}", at, owner)
        count = met - 2
        for owner, points in self._watches.items():
            if count < len(points):
                at, _, ways = points[count]
                return Stop("watch", f"{_ways(ways)} of {at:#x}", at, owner)
            count -= len(points)
        return Stop("break", "stopped", self.place)

    @property
    def place(self) -> int:
        """The linear address of the next instruction."""
        cpu = self._cpu
        if self.machine.pc_name == "eip":
            return (cpu.reg("cs.base") + cpu.reg("eip")) & 0xFFFFFFFF
        return cpu.reg(self.machine.pc_name)

    def _condition(self, kind: str, text: str) -> None:
        """Stop at the next instruction boundary."""
        self._pending = Stop(kind, text)
        self._cpu.stop()

    def _new_mode(self, mode: int, before: int) -> None:
        level = mode >> PRIVILEGE & 3
        if level != before >> PRIVILEGE & 3 and any(level in c.privilege for c in self.conditions.values()):
            self._condition("cpl", f"privilege level {level}")
        elif mode_name(mode) != mode_name(before) and any(c.mode for c in self.conditions.values()):
            self._condition("mode", f"from {mode_name(before)} to {mode_name(mode)}")

    def _coming(self, what: int, error: int) -> None:
        vector, kind = what & 0xFF, what >> 8
        if kind == EXCEPTION and any(vector in c.exceptions for c in self.conditions.values()):
            self._condition("exception", f"exception {vector:#x}, error code {error:#x}")
        elif kind != EXCEPTION and any(vector in c.interrupts for c in self.conditions.values()):
            self._condition("interrupt", f"interrupt {vector:#x}")

    def _flushed(self, cr3: int, more: int) -> None:
        if not more and any(c.cr3 is not None and (not c.cr3 or cr3 in c.cr3) for c in self.conditions.values()):
            self._condition("cr3", f"CR3 = {cr3:#x}")

    def _watch_ports(self) -> None:
        """See every access: what the processor was promised about ports is taken back, string I/O goes one by one."""
        bus = self.machine.bus
        wanted = {port for c in self.conditions.values() for port in c.ports}
        for mapping, room in self._rooms:
            mapping.room = room
        found = {id(m): m for m in (bus.find("ports", port) for port in wanted) if m is not None}
        self._rooms = [(mapping, mapping.room) for mapping in found.values()]
        for mapping, _ in self._rooms:
            mapping.room = None
        for port in sorted({port - before for port in wanted for before in range(4)}):
            self._cpu.set_steady_port(port, None)
        for device in self.machine.devices.values():
            device.home()
        if not wanted or self._wrapped:
            return
        self._wrapped = bus.watched = True
        read, write = bus.port_read, bus.port_write

        def reads(port: int, width: int) -> int:
            self._port(port, width, READS)
            return read(port, width)

        def writes(port: int, width: int, value: int) -> None:
            self._port(port, width, WRITES, f" of {value:#x}")
            write(port, width, value)

        bus.port_read, bus.port_write = reads, writes  # type: ignore[method-assign]

    def _port(self, port: int, width: int, way: int, more: str = "") -> None:
        if any(c.ports.get(at, 0) & way for c in self.conditions.values() for at in range(port, port + width)):
            self._condition("port", f"{'read' if way == READS else 'write'} of port {port:#x}{more}")


def stops_of(machine: Machine) -> Stops:
    """The machine's; made when first asked for."""
    if machine.stops is None:
        machine.stops = Stops(machine)
    return machine.stops
