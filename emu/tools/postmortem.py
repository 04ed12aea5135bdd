"""After a triple fault: the last instructions before it, found by running the guest once more.

The engine keeps no trace. But the same images and inputs give the same run, so a second machine is built, driven with
the recorded inputs to a little before the end, and stepped from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from cores.x86.story import chain
from emu.clock import wall
from emu.errors import MachineError
from emu.machine import Cause, Machine
from emu.options import Config, UsageError
from emu.tools import cosim

if TYPE_CHECKING:
    from emu.boards import Date

LAST = 16
MOST = 300_000_000
"""Instructions that are run again; beyond that it would take too long."""
SECONDS = 20.0
PIECE = 5_000_000

GENERAL = ("eax", "ebx", "ecx", "edx", "esi", "edi", "ebp", "esp")
SEGMENTS = ("cs", "ss", "ds", "es", "fs", "gs", "ldtr", "tr")
TABLES = ("gdtr.base", "gdtr.limit", "idtr.base", "idtr.limit")
CONTROL = ("cr0", "cr2", "cr3", "cr4")
SHOWN = (*GENERAL, *SEGMENTS, "eflags", *TABLES, *CONTROL)
WIDTHS = dict.fromkeys((*SEGMENTS, "gdtr.limit", "idtr.limit"), 4)


class NotRepeated(Exception):
    """The second run was not the same as the first, or is too long. The text says why."""


def last_instructions(config: Config, date: Date, machine: Machine) -> list[str]:
    """Lines about the last instructions of a machine that ended with a triple fault; one line if they cannot be had."""
    links = chain(_exceptions(machine))
    if not links:
        return []
    before = machine.retired - machine.cpu.icount
    cause = before + links[0]["icount"] - 1
    try:
        return _repeat(config, date, machine, cause)
    except (NotRepeated, MachineError, UsageError, OSError, MemoryError) as error:
        return [f"the last instructions are not known: {error}"]


def _exceptions(machine: Machine) -> list[dict[str, int]]:
    cpu: Any = machine.cpu
    records: list[dict[str, int]] = cpu.exceptions()
    return records


def _repeat(config: Config, date: Date, machine: Machine, cause: int) -> list[str]:
    if cause > MOST:
        raise NotRepeated(f"more than {MOST:,} instructions would have to be run again")
    side = cosim.build(_quiet(config), date, "auto")
    side.machine.no_shutdown = False
    if machine.inputs.dropped:
        raise NotRepeated("more input came in than is kept in memory")
    gate = side.machine.inputs
    known = gate.channels.keys() | gate.ports.keys() | gate.decisions
    gate.replay([entry for entry in machine.inputs.record if entry.channel in known])
    start = max(0, cause - LAST + 1)
    deadline = wall() + SECONDS
    while side.machine.retired < start and not side.over:
        if wall() > deadline:
            raise NotRepeated(f"running {cause:,} instructions again takes more than {SECONDS:g} s")
        side.run_to(min(start, side.machine.retired + PIECE))
    lines: list[str] = []
    while not side.over and len(lines) <= LAST:
        at = side.machine.retired
        lines.append(_step(side, first=at == cause))
    ending = side.machine.ending
    if ending is None or ending.cause is not Cause.SHUTDOWN or side.machine.retired != machine.retired:
        raise NotRepeated("a second run went another way (a disk was written, or time was waited out)")
    return [f"the last {len(lines)} instructions:", *lines]


def _quiet(config: Config) -> Config:
    """The same guest, without files that it writes, logs and scripts."""
    again = deepcopy(config)
    again.snapshot = True
    again.script, again.debug, again.warnings = [], [], []
    again.max_insns = None
    for drive in again.drives:
        drive.positional = False
        drive.locking = False  # the first machine, which is over, still has them open
    return again


def _step(side: cosim.Side, *, first: bool) -> str:
    """One instruction, or one delivery, with what it changed."""
    cpu: Any = side.machine.cpu
    before = {name: cpu.reg(name) for name in SHOWN}
    text = instruction(cpu)
    side.run_to(side.machine.retired + 1)
    taken = _taken(cpu)
    if taken:
        text = taken
    changes = []
    for name in SHOWN:
        now = cpu.reg(name)
        if now != before[name]:
            changes.append(f"{name}={now:0{WIDTHS.get(name, 8)}x}")
    mark = ">" if first else " "
    tail = "  <- first cause" if first else ""
    return f"{mark} {text:58} {' '.join(changes)}{tail}".rstrip()


def _taken(cpu: Any) -> str:
    """What this step was if it was no instruction: a delivery that went well."""
    records: Sequence[dict[str, int]] = cpu.exceptions()
    if not records or records[-1]["kind"] >= 8 or records[-1]["icount"] != cpu.icount:
        return ""
    last = records[-1]
    what = "interrupt" if last["kind"] in (2, 3) else "exception"
    return f"{last['cs']:04x}:{last['eip']:08x}  -- {what} {last['vector']:#04x} is taken"


def instruction(cpu: Any) -> str:
    """Address, bytes and text of the instruction at CS:EIP."""
    from cores.x86.text import disassemble
    from emu.tools.trace import fetch

    eip = cpu.reg("eip")
    where = f"{cpu.reg('cs'):04x}:{eip:08x}"
    code = fetch(cpu, (cpu.reg("cs.base") + eip) & 0xFFFFFFFF)
    if not code:
        return f"{where}  (nothing can be read there)"
    words, length = disassemble(code, eip, bool(cpu.reg("cs.attr") & 0x4000))
    return f"{where}  {code[:length].hex(' '):21} {words}"
