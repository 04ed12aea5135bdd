"""`emu profile RUN-OPTIONS...`: which guest functions take the instructions, and what the JIT makes of one of them.

The machine runs in stretches of `--every` instructions, and where each ends is noted: the same command gives the same
report. Functions have names with `--symbols FILE` (System.map or ELF; may be repeated) or where -kernel is an ELF file;
other code is counted by its page. `--annotate FUNCTION|ADDRESS` adds the traces of a function: guest code, the nodes
made of it, and the host code of each instruction. What the guest prints goes to stdout, the report to stderr, or as
JSON to the file of `-o`.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from cores.ppc.text import disassemble as disassemble_ppc
from cores.x86.text import disassemble
from emu.cpu import Exit, GuestFault
from emu.machine import Machine
from emu.options import Config, UsageError, number, parse, shown
from emu.session import Session, reason
from emu.tools import symbols
from emu.tools.words import Words, own_words

EVERY = 10_007
"""A prime, so that no loop of the guest keeps step with the samples."""
TOP = 20
TRACES = 3
"""Traces of a function that are shown, the most frequent first."""
LOOK = 256
PROBLEM_STATE = 1 << 14
PAGE = 0xFFFFF000
_HEADER = re.compile(r"^([0-9a-f]{8}) (\S+)(?: \+(0x[0-9a-f]+|0))?$")


@dataclass
class Options:
    """What the words before the run's own say."""

    top: int = TOP
    every: int = EVERY
    annotate: str = ""
    output: str = ""
    files: list[str] = field(default_factory=list)


@dataclass
class Listing:
    """A trace as it was when it was looked at."""

    text: str
    code: bytes
    exits: int
    address: int


class Sampler:
    """Stands between a machine and its processor, and looks where it is after every so many instructions."""

    def __init__(self, machine: Machine, every: int) -> None:
        self.machine, self.every = machine, every
        self.is_ppc = machine.pc_name != "eip"
        self.samples: Counter[tuple[int, bool]] = Counter()
        self.wanted: range | None = None
        self.listings: dict[int, Listing] = {}
        self._looks = 0
        self._inner = machine.execute
        self._due = every
        machine.execute = self.execute

    def execute(self, budget: int) -> Exit:
        """As `Machine.execute`, in pieces."""
        machine = self.machine
        while True:
            before = machine.retired
            left = self._due
            cause = self._inner(min(budget, left))
            done = machine.retired - before
            budget -= done
            self._due -= done
            if self._due <= 0:
                self._due += self.every
                self._look()
            if cause is not Exit.BUDGET or budget <= 0 or not done:
                return cause

    def _look(self) -> None:
        cpu = self.machine.cpu
        at = cpu.reg(self.machine.pc_name)
        user = bool(cpu.reg("msr") & PROBLEM_STATE) if self.is_ppc else cpu.reg("cpl") == 3
        base = 0 if self.is_ppc else cpu.reg("cs.base")
        linear = (at + base) & 0xFFFFFFFF
        self.samples[linear, user] += 1
        if self.wanted is not None and not base and linear in self.wanted and cpu.tier == "jit":
            self._looks += 1
            # Traces change as the program goes on, and looking takes time: seldom, but again and again.
            if not self._looks & (self._looks - 1) or not self._looks % LOOK:
                self._capture(linear, self.wanted)

    def heads(self, where: range) -> list[int]:
        """Where traces begin within a range, in order."""
        cpu: Any = self.machine.cpu
        return sorted({h for h in cpu.jit_heads() if h in where}) if cpu.tier == "jit" else []

    def _capture(self, at: int, where: range) -> None:
        """Keep the trace that a sample lies in. The processor is as it was when the trace ran."""
        cpu: Any = self.machine.cpu
        head = nearest(self.heads(where), at)
        if head is None:
            return
        try:
            cpu.translate(head)
        except GuestFault:
            return
        name = self.machine.pc_name
        cpu.set_reg(name, head)
        try:
            text, code, exits, address = cpu.jit_listing()
        finally:
            cpu.set_reg(name, at)
        if text:
            self.listings[head] = Listing(text, code, exits, address)

    def guest_line(self, address: int) -> str:
        """An instruction of the guest as text, from what lies there now."""
        try:
            data = self.machine.cpu.read_linear(address, 4)
            if self.is_ppc:
                return f"{data.hex(' '):12} {disassemble_ppc(int.from_bytes(data, 'big'), address)}"
            try:
                data = self.machine.cpu.read_linear(address, 15)
            except GuestFault:
                pass
            text, length = disassemble(data, address, self.machine.cpu.reg("cs.attr") >> 14 & 1 != 0)
            return f"{data[:length].hex(' '):24} {text}"
        except GuestFault:
            return ""


def nearest(heads: Sequence[int], at: int) -> int | None:
    """The last of `heads` that is not behind `at`."""
    before = [h for h in heads if h <= at]
    return before[-1] if before else None


class ProfiledSession(Session):
    """A run that is sampled."""

    sampler: Sampler

    def __init__(self, config: Config, every: int) -> None:
        super().__init__(config)
        self.every = every
        self.wanted: range | None = None

    def build(self) -> Machine:
        """See `Session.build`."""
        machine = super().build()
        self.sampler = Sampler(machine, self.every)
        self.sampler.wanted = self.wanted
        return machine


def main(words: Sequence[str]) -> int:
    """Run and report; the status is the run's own."""
    options, rest = own_options(words)
    if not rest:
        raise UsageError("profile: expected what to run, as for `emu run`")
    config = parse(rest, compat=False)
    known = symbols.Symbols()
    for path in options.files:
        known = known | symbols.read(path)
    if not options.files and config.kernel is not None:
        known = _of_kernel(config.kernel)
    if config.accel == "reference":
        raise UsageError("profile: --accel reference has no traces and takes long; jit or interp is expected")
    session = ProfiledSession(config, options.every)
    if options.annotate:
        session.wanted = _range(options.annotate, known)
    status = session.run()
    sampler = session.sampler
    for line in report(sampler, known, options.top):
        sys.stderr.write(line + "\n")
    if session.wanted is not None:
        for line in annotated(sampler, known, session.wanted):
            sys.stderr.write(line + "\n")
    sys.stderr.flush()
    if options.output:
        _write(options.output, as_data(sampler, known))
    return status


def own_options(words: Sequence[str]) -> tuple[Options, list[str]]:
    """Take the profiler's own options out of the command line."""
    options = Options()
    rest: list[str] = []
    for name, value in own_words(words, ("top", "every", "annotate", "symbols", "o"), rest):
        if name == "top":
            options.top = number(value, "--top", 1)
        elif name == "every":
            options.every = number(value.replace("_", ""), "--every", 100)
        elif name == "annotate":
            options.annotate = value
        elif name == "o":
            options.output = value
        else:
            options.files.append(value)
    if any(word.startswith("-") and word.lstrip("-") in ("h", "help") for word in rest):
        Words("profile", _HELP).parse_args(["--help"])
    return options, rest


_HELP = (
    "Which guest functions take the instructions. The words are those of `emu run`, with --top N (lines, 20), "
    "--symbols FILE (System.map or ELF; else the -kernel's own), --annotate FUNCTION|ADDRESS (its guest code, nodes "
    "and host code), --every N (instructions between samples, 10007), -o FILE (JSON). A Linux kernel is where its "
    "System.map says with nokaslr on its command line."
)


def _of_kernel(path: str) -> symbols.Symbols:
    """The symbols of a kernel, if it has any: a bzImage or uImage has none."""
    try:
        return symbols.read(path)
    except UsageError:
        return symbols.Symbols()


def _range(text: str, known: symbols.Symbols) -> range:
    """Where the code to show lies: a function by name, or the one that an address lies in, or its page."""
    function = known.named(text)
    if function is None:
        try:
            at = int(text, 0)
        except ValueError:
            hint = "" if len(known) else "; no symbols are known: give --symbols"
            raise UsageError(f"--annotate {shown(text)}: neither a known function nor an address{hint}") from None
        function = known.at(at)
        if function is None:
            return range(at & PAGE, (at & PAGE) + 0x1000)
    return range(function.start, function.end)


# --- reports ---------------------------------------------------------------------------------------------------------


def name_of(known: symbols.Symbols, at: int) -> str:
    """A function, with the distance from its start; empty for none."""
    f = known.at(at)
    return "" if f is None else f.name if at == f.start else f"{f.name}+{at - f.start:#x}"


def by_function(sampler: Sampler, known: symbols.Symbols) -> list[tuple[int, bool, int, str]]:
    """(samples, user, start, name), the most frequent first. Code without a name counts by page."""
    counts: Counter[tuple[int, bool]] = Counter()
    names: dict[int, str] = {}
    for (at, user), n in sampler.samples.items():
        f = known.at(at)
        start = at & PAGE if f is None else f.start
        names[start] = "" if f is None else f.name
        counts[start, user] += n
    return sorted(((n, u, s, names[s]) for (s, u), n in counts.items()), key=lambda row: (-row[0], row[2]))


def by_trace(sampler: Sampler) -> list[tuple[int, int]]:
    """(samples, start) of the traces in use: a sample counts for the one that begins last before it in its page."""
    heads = sampler.heads(range(1 << 32))
    counts: Counter[int] = Counter()
    for (at, _user), n in sampler.samples.items():
        head = nearest(heads, at) if heads else None
        if head is not None and head & PAGE == at & PAGE:
            counts[head] += n
    return sorted(((n, head) for head, n in counts.items()), key=lambda row: (-row[0], row[1]))


def report(sampler: Sampler, known: symbols.Symbols, top: int) -> Iterator[str]:
    """Functions, then traces: a line each."""
    total = sum(sampler.samples.values())
    yield f"profile: {sampler.machine.retired} instructions, {total} samples, one after each {sampler.every}"
    if not total:
        return
    user = sum(n for (_, u), n in sampler.samples.items() if u)
    yield f"profile: {_share(total - user, total)} supervisor, {_share(user, total)} user; {len(known)} functions known"
    for n, u, start, name in by_function(sampler, known)[:top]:
        what = name or "page without a name"
        yield f"function {_share(n, total)} {n:7} {'user      ' if u else 'supervisor'} {start:08x} {what}"
    for n, start in by_trace(sampler)[:top]:
        yield f"trace    {_share(n, total)} {n:7} {start:08x} {name_of(known, start)}".rstrip()


def _share(n: int, total: int) -> str:
    return f"{100 * n / total:6.2f} %"


def annotated(sampler: Sampler, known: symbols.Symbols, where: range) -> Iterator[str]:
    """The most frequent traces of a range: each guest instruction with its nodes and its host code, then the exits."""
    counts = {start: n for n, start in by_trace(sampler)}
    shown_first = sorted(sampler.listings.items(), key=lambda item: -counts.get(item[0], 0))[:TRACES]
    if not shown_first:
        yield f"annotate: no sample lay in a trace between {where.start:08x} and {where.stop:08x}"
    host = host_disassembler()
    for head, listing in shown_first:
        name = name_of(known, head)
        size = f"{listing.exits} bytes of host code and {len(listing.code) - listing.exits} of exits"
        yield f"annotate: trace {head:08x} {name}{' ' * bool(name)}{counts.get(head, 0)} samples, {size}"
        yield from _beside(sampler, listing, host)


def _beside(sampler: Sampler, listing: Listing, host: Callable[[bytes, int], list[str]]) -> Iterator[str]:
    pending = 0  # where the host code begins that has not been shown

    def code(until: int) -> Iterator[str]:
        nonlocal pending
        if until > pending:
            for line in host(listing.code[pending:until], listing.address + pending):
                yield f"  host  {line}"
            pending = until

    for line in listing.text.splitlines():
        match = _HEADER.match(line)
        if match is None:
            yield f"  node {line}"
            continue
        yield from code(int(match[3] or "0", 0))
        address = int(match[1], 16)
        yield f"  guest {address:08x}  {sampler.guest_line(address) or match[2]}"
    yield from code(listing.exits)


def host_disassembler() -> Callable[[bytes, int], list[str]]:
    """Host code to lines: Capstone's where it is installed, else the bytes."""
    try:
        capstone: Any = import_module("capstone")
    except ImportError:
        return lambda data, at: [f"{at + k:x}  {data[k : k + 16].hex(' ')}" for k in range(0, len(data), 16)]
    engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    return lambda data, at: [f"{i.address:x}  {i.mnemonic} {i.op_str}".rstrip() for i in engine.disasm(data, at)]


def as_data(sampler: Sampler, known: symbols.Symbols) -> dict[str, Any]:
    """All of it as plain data."""
    return {
        "instructions": sampler.machine.retired,
        "every": sampler.every,
        "samples": sum(sampler.samples.values()),
        "functions": [
            {"samples": n, "user": u, "start": start, "name": name} for n, u, start, name in by_function(sampler, known)
        ],
        "traces": [{"samples": n, "start": s, "name": name_of(known, s)} for n, s in by_trace(sampler)],
    }


def _write(path: str, data: dict[str, Any]) -> None:
    try:
        with open(path, "w", encoding="utf-8") as file:
            json.dump(data, file, indent=1)
            file.write("\n")
    except (OSError, ValueError) as error:
        raise UsageError(f"-o {shown(path)}: {reason(error)}") from None


__all__ = ["Sampler", "annotated", "by_function", "by_trace", "main", "report"]
