"""What stops a run, under the names that Bochs' debugger has for it: break, watch, step, modebp; and `stopon`.

A stop pauses the machine and is shown to everybody at a monitor, with the next instruction in Bochs' line shape. Where
gdb is attached it hears of the stop, too. Bochs user manual, chapter "Using Bochs internal debugger".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from emu.cpu import GuestFault
from emu.memory import Dma
from emu.monitor.commands.memory import linear
from emu.monitor.commands.processor import FRAME, PAE, PG, is_ppc, pages
from emu.monitor.registry import Refused, hmp, info
from emu.options import shown
from emu.stops import READS, WRITES, Conditions, Stop, stops_of

if TYPE_CHECKING:
    from emu.monitor.control import Control

OWNER = "monitor"
LONGEST_WATCH = 1 << 16
MOST_STEPS = 1 << 40
LAST = 0xFFFFFFFF
_PAIR = re.compile(r"(?:0[xX])?([0-9a-fA-F]{1,4}):(?:0[xX])?([0-9a-fA-F]{1,8})")
WAYS = {"r": READS, "read": READS, "w": WRITES, "write": WRITES, "rw": READS | WRITES}
CONDITIONS = "magic, mode, cpl N, exception N, interrupt N, port N [r|w|rw], cr3 [VALUE], none"


@dataclass
class Point:
    """A breakpoint as people see it: `space` is physical, linear or virtual, `shown` what they gave."""

    space: str
    linear: int
    shown: str
    enabled: bool = True


@dataclass
class Debugger:
    """What a monitor's users have set. One for each machine."""

    control: Control
    points: dict[int, Point] = field(default_factory=dict)
    watches: list[tuple[int, int, int]] = field(default_factory=list)
    conditions: Conditions = field(default_factory=Conditions)
    next: int = 1

    def __post_init__(self) -> None:
        self.stops = stops_of(self.control.machine)
        self.stops.listeners.append(self.stopped)

    def apply(self) -> None:
        """Have them in force. Raises Refused."""
        try:
            self.stops.set_breakpoints(OWNER, [p.linear for p in self.points.values() if p.enabled])
            self.stops.set_watchpoints(OWNER, self.watches)
        except ValueError as error:
            raise Refused(f"too many: {error}") from None
        self.stops.set_conditions(OWNER, self.conditions)

    def add(self, point: Point) -> str:
        """A new breakpoint; gives the line for people."""
        number, self.next = self.next, self.next + 1
        self.points[number] = point
        try:
            self.apply()
        except Refused:
            del self.points[number]
            raise
        return ""

    def stopped(self, stop: Stop) -> None:
        """Pause, and say why."""
        machine = self.control.machine
        machine.pause()
        if stop.owner not in ("", OWNER):
            return
        text = self._why(stop)
        self.control.show(f"{text}Next at t={machine.retired}\n{here(self.control)}")

    def _why(self, stop: Stop) -> str:
        if stop.kind == "break":
            number = next((n for n, p in self.points.items() if p.linear == stop.address and p.enabled), 0)
            return f"(0) Breakpoint {number}, {stop.address:#018x} in ?? ()\n"
        if stop.kind == "watch":
            way = "write" if "writes" in stop.text else "read"
            return f"(0) Caught {way} watch point at {stop.address:#x}\n"
        if stop.kind == "magic":
            return "(0) Magic breakpoint\n"
        return f"(0) Caught {stop.kind}: {stop.text}\n" if stop.text else ""


def debugger(control: Control) -> Debugger:
    """The machine's."""
    made = control.debugger
    if made is None:
        made = control.debugger = Debugger(control)
    return made  # type: ignore[no-any-return]


def here(control: Control) -> str:
    """The next instruction, as Bochs shows it."""
    cpu: Any = control.machine.cpu
    if control.machine.pc_name != "eip":
        from cores.ppc.text import disassemble as disassemble_ppc

        at = cpu.reg("pc")
        data = linear(control, at, 4)
        text = disassemble_ppc(int.from_bytes(data, "big"), at) if len(data) == 4 else "(not mapped)"
        return f"(0) [{at:#010x}] {text}\n"
    from cores.x86.text import disassemble

    eip, selector = cpu.reg("eip"), cpu.reg("cs")
    at = cpu.reg("cs.base") + eip & LAST
    data = linear(control, at, 15)
    if not data:
        return f"(0) [{at:#014x}] {selector:04x}:{eip:08x}: (not mapped)\n"
    wide = bool(cpu.reg("cs.attr") & 0x4000)
    text, length = disassemble(data, eip, wide)
    width = 8 if cpu.reg("cr0") & 1 else 4
    return f"(0) [{at:#014x}] {selector:04x}:{eip:0{width}x} (unk. ctxt): {text:25} ; {data[:length].hex()}\n"


# -- breakpoints


@hmp("b|break|pb|pbreak", "address:i", "addr", "set a breakpoint at a physical address (as Bochs)")
def pbreak(control: Control, address: int) -> str:
    return debugger(control).add(Point("pbreakpoint", _linear_of(control, address & LAST), f"0x{address & LAST:012x}"))


def _linear_of(control: Control, physical: int) -> int:
    """Where a physical address is in the linear space now: the first place that the page tables have for it."""
    cpu = control.machine.cpu
    if is_ppc(control) or not cpu.reg("cr0") & PG:
        return physical
    frame = FRAME if cpu.reg("cr4") & PAE else 0xFFFFF000
    for at, size, entry, _ in pages(cpu, Dma(control.machine.ram)):
        base = entry & frame & ~(size - 1)
        if base <= physical < base + size:
            return at + physical - base
    raise Refused(f"{physical:#x} is mapped nowhere; lb takes a linear address")


@hmp("lb|lbreak", "address:i", "addr", "set a breakpoint at a linear address (as Bochs)")
def lbreak(control: Control, address: int) -> str:
    return debugger(control).add(Point("lbreakpoint", address & LAST, f"0x{address & LAST:016x}"))


@hmp("vb|vbreak", "place:w", "seg:off", "set a breakpoint at a virtual address (as Bochs)")
def vbreak(control: Control, place: str) -> str:
    match = _PAIR.fullmatch(place)
    if match is None:
        raise Refused(f"expected seg:off, found '{shown(place, 40)}'")
    selector, offset = int(match[1], 16), int(match[2], 16)
    return debugger(control).add(Point("vbreakpoint", _base(control, selector) + offset & LAST, place))


def _base(control: Control, selector: int) -> int:
    """Where a segment begins."""
    cpu: Any = control.machine.cpu
    if is_ppc(control):
        raise Refused("a PowerPC has no segments")
    if selector == cpu.reg("cs"):
        return int(cpu.reg("cs.base"))
    if not cpu.reg("cr0") & 1 or cpu.reg("eflags") & 0x20000:
        return selector << 4
    table = "ldtr" if selector & 4 else "gdtr"
    try:
        data = cpu.read_linear(cpu.reg(f"{table}.base") + (selector & ~7) & LAST, 8)
    except GuestFault:
        raise Refused(f"no descriptor for {selector:#x}") from None
    if (selector | 7) > cpu.reg(f"{table}.limit"):
        raise Refused(f"no descriptor for {selector:#x}")
    return int(int.from_bytes(data[2:5], "little") | data[7] << 24)


@hmp("bpe", "number:i", "number", "enable a breakpoint (as Bochs)")
def bpe(control: Control, number: int) -> None:
    _enable(control, number, True)


@hmp("bpd", "number:i", "number", "disable a breakpoint (as Bochs)")
def bpd(control: Control, number: int) -> None:
    _enable(control, number, False)


def _enable(control: Control, number: int, on: bool) -> None:
    made = debugger(control)
    _point(made, number).enabled = on
    made.apply()


def _point(made: Debugger, number: int) -> Point:
    if number not in made.points:
        raise Refused(f"there is no breakpoint {number}")
    return made.points[number]


@hmp("d|del|delete", "number:i", "number", "delete a breakpoint (as Bochs)")
def delete(control: Control, number: int) -> None:
    made = debugger(control)
    _point(made, number)
    del made.points[number]
    made.apply()


@hmp("blist", "", "", "list breakpoints (as Bochs)")
@info("break", "list breakpoints, watchpoints and conditions (as Bochs)")
def info_break(control: Control) -> str:
    made = debugger(control)
    lines = ["Num Type           Disp Enb Address"]
    for number, point in sorted(made.points.items()):
        lines.append(f"{number:3d} {point.space:14s} keep {'y' if point.enabled else 'n':3s} {point.shown}")
    for at, size, ways in made.watches:
        lines.append(f"{ {READS: 'rd', WRITES: 'wr', 3: 'rw'}[ways] } {at:#x} len {size}")
    lines += [f"stopon {line}" for line in made.conditions.lines()]
    return "\n".join(lines) + "\n"


# -- watchpoints and conditions


@hmp("watch", "way:w? address:i? size:i?", "[r|w addr [len]]", "stop behind reads or writes of memory (as Bochs)")
def watch(control: Control, way: str = "", address: int | None = None, size: int = 1) -> str:
    made = debugger(control)
    if not way:
        return info_break(control)
    if way in ("stop", "continue"):
        if way == "continue":
            raise Refused("a watchpoint always stops here")
        return ""
    if way not in WAYS or address is None or not 0 < size <= LONGEST_WATCH:
        raise Refused("expected watch r|w ADDRESS [LENGTH]")
    made.watches.append((address & LAST, size, WAYS[way]))
    try:
        made.apply()
    except Refused:
        made.watches.pop()
        raise
    return f"{'read' if WAYS[way] == READS else 'write'} watchpoint at 0x{address & LAST:012x} len={size} inserted\n"


@hmp("unwatch", "address:i?", "[addr]", "remove a watchpoint, or all (as Bochs)")
def unwatch(control: Control, address: int | None = None) -> None:
    made = debugger(control)
    made.watches = [] if address is None else [watch for watch in made.watches if watch[0] != address & LAST]
    made.apply()


@hmp("modebp", "", "", "toggle the breakpoint on changes of the processor's mode (as Bochs)")
def modebp(control: Control) -> str:
    made = debugger(control)
    made.conditions.mode = not made.conditions.mode
    made.apply()
    return f"mode switch break {'enabled' if made.conditions.mode else 'disabled'}\n"


@hmp("stopon", "what:w value:i? way:w?", "what [value] [r|w]", "stop on a condition: " + CONDITIONS)
def stopon(control: Control, what: str, value: int | None = None, way: str = "rw") -> None:
    made = debugger(control)
    made.conditions = condition(made.conditions, what, value, way)
    if is_ppc(control) and made.conditions.lines() and what not in ("port", "none"):
        made.conditions = Conditions()
        raise Refused("that is a condition of an x86 processor")
    made.apply()


def condition(old: Conditions, what: str, value: int | None, way: str = "rw") -> Conditions:
    """One more condition. Raises Refused."""
    from copy import deepcopy

    new = deepcopy(old)
    limits = {"cpl": 3, "exception": 31, "interrupt": 255, "port": 0xFFFF, "cr3": LAST}
    if what in limits and what != "cr3" and value is None:
        raise Refused(f"stopon {what}: expected a number")
    if value is not None and (what not in limits or not 0 <= value <= limits[what]):
        raise Refused(f"stopon {shown(what, 40)}: {value:#x} is not possible")
    if way not in WAYS:
        raise Refused(f"stopon port: expected r, w or rw, found '{shown(way, 40)}'")
    if what in ("none", "off"):
        return Conditions()
    if what in ("magic", "mode"):
        setattr(new, what, True)
    elif what == "cr3":
        new.cr3 = (new.cr3 or set()) | ({value} if value is not None else set())
    elif value is None or what not in limits:
        raise Refused(f"expected one of {CONDITIONS}, found '{shown(what, 40)}'")
    elif what == "port":
        new.ports[value] = WAYS[way]
    else:
        {"cpl": new.privilege, "exception": new.exceptions, "interrupt": new.interrupts}[what].add(value)
    return new


# -- going on


@hmp("s|step|stepi", "count:i?", "[count]", "run count instructions (as Bochs); while the guest runs: stop it")
def step(control: Control, count: int = 1) -> None:
    machine = control.machine
    if not machine.paused:
        machine.pause()
        return
    if machine.parked:
        raise Refused("Resetting the Virtual Machine is required")
    if not 0 < count <= MOST_STEPS:
        raise Refused("expected a number of instructions")
    made = debugger(control)
    made.stops.steps = count
    made.stops.go()
    machine.go_on()


@hmp("trace", "on:b", "on|off", "show every instruction before it runs (as Bochs)")
def trace(control: Control, on: bool) -> str:
    made = debugger(control)
    made.stops.trace = (lambda: control.show(here(control))) if on else None
    return f"Tracing {'enabled' if on else 'disabled'} for CPU0\n"
