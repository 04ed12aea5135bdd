"""The JIT against the interpreter on random programs that get hot: same registers, counts, accesses and memory.

`python -m tests.engine.fuzz_jit [--core x86|ppc] [--seconds S] [--seed N] [--cases N]`: status 0 and a line of counts
(programs of each kind: what they were seen to do),
2 without a JIT, or 1 at the first difference, with its seed, what is left of the program when everything is taken away
that does not matter, and the words that run it again: `--seed N --cases 1 --keep ITEMS --pieces PIECES`. Everything
follows from the seed. Programs run in child processes, so that also one that kills or hangs it is found and made small.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import mmap
import os
import signal
import struct
import sys
import traceback
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np

from cores.ppc import state as S
from cores.ppc import text as ppc_text
from cores.x86 import text as x86_text
from emu.clock import wall
from emu.cpu import Exit
from tests.cores import tier_machine as X
from tests.cores.ppc_tiers import Pair as PpcPair
from tests.cores.tier_machine import Pair as X86Pair
from tests.cores.tiers import comparing
from tests.emu.fuzz_board import load_engine
from tests.engine.jit_programs import Case, draw

CORES = ("x86", "ppc")
TIERS = ("jit", "interp")
BATCH = 50
"""Programs that one process runs, one after the other on the same processors."""
SIZES = (None, 1 << 20, 1 << 16)
"""Bytes of translated code, batch by batch; None: as many as the JIT likes."""
HANG = 60
"""Seconds after which a program hangs."""
KINDS = ("self_modifying", "across_pages", "faulting", "remapping", "changing_mode")
NUMBERS = 3 + len(KINDS)
"""What a child leaves: seed, instructions, traces, programs of each kind."""
Piece = tuple[int, str]
"""So many instructions at once, then what happens: "" nothing, "i" INTR, "n" NMI, "pADDRESS.BYTE" a device's store."""


def pieces(rng: Random, case: Case) -> list[Piece]:
    """How a program is run: small pieces, some longer, one or two long ones."""
    out: list[Piece] = []
    size = sum(item.size for item in case.program.items)
    left = rng.choice((500, 3000, 3000, 12000))
    while left > 0:
        count = rng.randrange(*rng.choice(((1, 25),) * 6 + ((25, 400),) * 3 + ((400, 8000),)))
        dice, event = rng.random(), ""
        if dice < 0.02:
            event = f"p{case.real + rng.randrange(size):x}.{rng.randrange(256):x}"
        elif dice < 0.06:
            event = "i" if dice < 0.04 else "n"
        out.append((count, event))
        left -= count
    return out


def everything(seed: int, core: str) -> tuple[Case, list[Piece], int]:
    """What follows from a seed: the program, how it is run, and when it is translated."""
    rng = Random(f"{core} {seed}")
    case = draw(core, rng)
    return case, pieces(rng, case), rng.choice((1, 1, 2))


@dataclass
class Rigs:
    """The pairs of processors of one process, made when they are asked for."""

    jit_size: int | None
    pairs: dict[str, Any] = field(default_factory=dict)
    executed: int = 0
    kinds: list[int] = field(default_factory=lambda: [0] * len(KINDS))
    """Programs that were seen to do what `KINDS` says."""

    def pair(self, case: Case) -> Any:
        """The pair for a case: the JIT first."""
        key = case.kind if case.core == "ppc" else "qemu32"
        if key not in self.pairs:
            with comparing(TIERS):
                self.pairs[key] = (PpcPair if case.core == "ppc" else X86Pair)(key, jit_size=self.jit_size)
        return self.pairs[key]

    def run(self, case: Case, keep: Collection[int], how: Sequence[Piece], threshold: int) -> str:
        """Run what is kept of a case; what differs first, empty if nothing."""
        both = self.pair(case)
        if both.cpus[0].tier == "jit":
            both.cpus[0].jit_threshold = threshold
        case.start(both, case.program.image(keep))
        before = self.counters(both)
        modes, maps = {self.mode_of(case, both)}, {self.map_of(case, both)}
        for number, (count, event) in enumerate(how):
            exits = [cpu.run(count) for cpu in both.cpus]
            wrong = self.wrong(both, exits)
            if wrong:
                return f"after piece {number}, {both.cpus[1].icount} instructions: {wrong}"
            modes.add(self.mode_of(case, both))
            maps.add(self.map_of(case, both))
            if exits[0] is Exit.SHUTDOWN:
                break
            self.happen(both, event or "i" * (exits[0] is Exit.HALT))
        self.executed += both.cpus[0].icount
        at = case.program.addresses(keep)
        written, faults = (now - then for now, then in zip(self.counters(both), before, strict=True))
        seen = (written, at[0] >> 12 != at[-1] >> 12, faults, len(maps) > 1, len(modes) > 1)
        for k, yes in enumerate(seen):
            self.kinds[k] += bool(yes)
        return ""

    @staticmethod
    def counters(both: Any) -> tuple[int, int]:
        """Pages of code written, exceptions."""
        stats = both.cpus[1].stats()
        return stats["page_invalidations"], stats["exceptions"]

    @staticmethod
    def map_of(case: Case, both: Any) -> tuple[Any, ...]:
        """What programs change of translations: page tables, or entries of the TLB; nothing where there are none."""
        c = both.cpus[1]._c
        if case.core == "x86":
            if not c.cr0 >> 31:
                return ()
            table = np.frombuffer(both.rams[1].view[X.TABLE : X.TABLE + 0x800], dtype="<u4")
            return ((table & 0xFFFFFF9F).tobytes(),)  # not what the processor itself marks
        if case.kind.startswith("4"):
            return tuple(int(row[k]) for row in (c.utlb0, c.utlb1, c.utlb2) for k in range(2, 9))
        return tuple(
            int(row[k]) for row in (c.etlb_mas1, c.etlb_mas3) for k in range(S.TLB1_FIRST + 2, S.TLB1_FIRST + 9)
        )

    @staticmethod
    def mode_of(case: Case, both: Any) -> tuple[int, ...]:
        """What decides how code is decoded, and what it may do."""
        c = both.cpus[1]._c
        if case.core == "ppc":
            return (int(c.msr),)
        return int(c.cr0), int(c.cr4), int(c.cpl), int(c.eflags) >> 17 & 1, int(c.seg_attr[1])

    @staticmethod
    def wrong(both: Any, exits: list[Exit]) -> str:
        """A quick look; a slow one only for the words."""
        a, b = both.cpus
        same = (
            exits[0] is exits[1]
            and a.icount == b.icount
            and a.state() == b.state()
            and a.exceptions() == b.exceptions()
            and both.buses[0].log == both.buses[1].log
            and np.array_equal(both.rams[0].array, both.rams[1].array)
        )
        if same:
            return ""
        said = both.differs(exits) if isinstance(both, PpcPair) else both.compare(exits)
        return said or f"something hidden: {a.state() != b.state()} {a.exceptions() != b.exceptions()}"

    @staticmethod
    def happen(both: Any, event: str) -> None:
        """Something from outside, on both."""
        for cpu, ram in zip(both.cpus, both.rams, strict=True):
            if event == "i":
                cpu.set_intr(True)
            elif event == "n":
                cpu.nmi()
            elif event:
                at, value = (int(part, 16) for part in event[1:].split("."))
                ram.view[at] = value
                cpu.invalidate(at, 1)


# --- one process for some programs -----------------------------------------------------------------------------------


class Board:
    """A few numbers that a child leaves for its parent, also when it dies."""

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, mmap.PAGESIZE)

    def put(self, *numbers: int) -> None:
        self.memory[: 8 * NUMBERS] = struct.pack(f"<{NUMBERS}Q", *numbers, *[0] * (NUMBERS - len(numbers)))

    def get(self) -> tuple[int, ...]:
        return struct.unpack(f"<{NUMBERS}Q", self.memory[: 8 * NUMBERS])


def apart(work: Callable[[Board], str]) -> tuple[str, tuple[int, ...]]:
    """Do work in a child process: what it says, or how it died; and the numbers it left."""
    board = Board()
    read, write = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        os.close(read)
        faulthandler.disable()
        try:
            said = work(board)
        except BaseException:
            said = traceback.format_exc()
        with os.fdopen(write, "wb") as pipe:
            pipe.write(said.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read().decode()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status < 0:
        said = "hangs" if -status == signal.SIGALRM else f"the process dies by {signal.Signals(-status).name}"
    return said, board.get()


def batch(core: str, first: int, count: int, jit_size: int | None) -> tuple[str, tuple[int, ...]]:
    """Run the programs of some seeds; the first that goes wrong is the one on the board."""

    def work(board: Board) -> str:
        rigs = Rigs(jit_size)
        for seed in range(first, first + count):
            board.put(seed, rigs.executed, traces(rigs), *rigs.kinds)
            signal.alarm(HANG)
            case, how, threshold = everything(seed, core)
            said = rigs.run(case, range(len(case.program.items)), how, threshold)
            if said:
                return said
        board.put(first + count, rigs.executed, traces(rigs), *rigs.kinds)
        return ""

    return apart(work)


def traces(rigs: Rigs) -> int:
    """How many the JIT has made."""
    return sum(both.cpus[0].stats().get("jit_traces", 0) for both in rigs.pairs.values())


# --- making small ----------------------------------------------------------------------------------------------------


@dataclass
class Finding:
    """A program that goes wrong when it runs alone."""

    core: str
    seed: int
    jit_size: int | None
    keep: list[int]
    how: list[Piece]
    said: str = ""

    def wrong(self, keep: Sequence[int], how: Sequence[Piece]) -> str:
        """What goes wrong with less of it."""

        def work(board: Board) -> str:
            signal.alarm(HANG)
            case, _, threshold = everything(self.seed, self.core)
            return Rigs(self.jit_size).run(case, keep, how, threshold)

        return apart(work)[0]

    def attempt(self, keep: Sequence[int], how: Sequence[Piece]) -> bool:
        """Take less if that is still wrong."""
        said = self.wrong(keep, how)
        if said:
            self.keep, self.how, self.said = list(keep), list(how), said
        return bool(said)

    def shrink(self) -> None:
        """Take away pieces, then items, as long as it stays wrong."""
        total = sum(count for count, _ in self.how)
        for how in ([(total, "")], [(count, "") for count, _ in self.how]):
            if self.attempt(self.keep, how):
                break
        self.how = self.fewer(self.how, lambda how: self.attempt(self.keep, how))
        self.keep = self.fewer(self.keep, lambda keep: self.attempt(keep, self.how))
        step = 1 << 12
        while step:
            for k, (count, event) in enumerate(self.how):
                while count > step:
                    if not self.attempt(self.keep, [*self.how[:k], (count - step, event), *self.how[k + 1 :]]):
                        break
                    count -= step
            step //= 2

    @staticmethod
    def fewer(items: list[Any], attempt: Callable[[list[Any]], bool]) -> list[Any]:
        """Leave out runs of items, long ones first."""
        size = max(len(items) // 2, 1)
        while True:
            k = 0
            while k < len(items):
                less = items[:k] + items[k + size :]
                if less and attempt(less):
                    items = less
                else:
                    k += size
            if size == 1:
                return items
            size //= 2

    def report(self) -> None:
        """Say it."""
        case, _, threshold = everything(self.seed, self.core)
        print(f"{self.core} seed {self.seed} ({case.kind}), code bound {self.jit_size}, threshold {threshold}")
        for line in case.program.listing(self.keep):
            print(f"  {line}{named(case, line.split()[2])}")
        print(self.said)
        numbers = ",".join(map(str, self.keep))
        how = ",".join(f"{count}{event}" for count, event in self.how)
        size = f" --jit-size {self.jit_size}" if self.jit_size else ""
        print(f"again: --core {self.core} --seed {self.seed} --cases 1{size} --keep {numbers} --pieces {how}")


def named(case: Case, code: str) -> str:
    """The instructions of an item."""
    data, out = bytes.fromhex(code), []
    big = case.kind not in ("real", "v86", "flat16")
    while data and len(out) < 8:
        if case.core == "ppc":
            length, text = 4, ppc_text.disassemble(int.from_bytes(data[:4], "big"), 0)
        else:
            text, length = x86_text.disassemble(data.ljust(16, b"\x90"), 0, big)
        out.append(text)
        data = data[length:]
    return "  | " + "; ".join(out)


def examine(core: str, seed: int, first: int, jit_size: int | None, said: str) -> None:
    """Make a program that went wrong small, and report it."""
    case, how, _ = everything(seed, core)
    finding = Finding(core, seed, jit_size, list(range(len(case.program.items))), how)
    if finding.attempt(finding.keep, finding.how):
        finding.shrink()
        finding.report()
        return
    # What the programs before it left behind matters.
    start = first
    for k in range(first, seed):
        if not batch(core, k, seed - k + 1, jit_size)[0]:
            break
        start = k
    size = f" --jit-size {jit_size}" if jit_size else ""
    print(f"{core} seed {seed}: {said}\nonly after the programs before it")
    print(f"again: --core {core} --seed {start} --cases {seed - start + 1}{size}")


# --- command line ----------------------------------------------------------------------------------------------------


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fuzz_jit", description=__doc__)
    parser.add_argument("--core", choices=CORES)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, help="so many of each core, however long it takes")
    parser.add_argument("--jit-size", type=int)
    parser.add_argument("--engine", action="append", default=[], help="CORE=FILE: another build of a compiled tier")
    parser.add_argument("--keep", type=lambda text: [int(part) for part in text.split(",")])
    parser.add_argument("--pieces", type=parsed_pieces)
    return parser.parse_args(words)


def parsed_pieces(text: str) -> list[Piece]:
    """The pieces as `Finding.report` writes them."""
    out = []
    for part in text.split(","):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        out.append((int(digits), part[len(digits) :]))
    return out


def has_jit(core: str) -> bool:
    """Whether there is anything to compare."""
    from emu.engine import PpcCpu, X86Cpu

    return bool((PpcCpu if core == "ppc" else X86Cpu).has_jit())


def main(words: Sequence[str] | None = None) -> int:
    """Fuzz; see above."""
    options = arguments(words)
    for engine in options.engine:
        core, _, path = engine.partition("=")
        load_engine(path, core)
    cores = [core for core in CORES if options.core in (None, core) and has_jit(core)]
    if not cores:
        print("fuzz_jit: the JIT has no back end for this host", file=sys.stderr)
        return 2
    if options.keep or options.pieces:
        case, how, _ = everything(options.seed, cores[0])
        finding = Finding(
            cores[0], options.seed, options.jit_size, options.keep or list(range(len(case.program.items))),
            options.pieces or how,
        )  # fmt: skip
        finding.said = finding.wrong(finding.keep, finding.how)
        finding.report()
        return int(bool(finding.said))
    end = wall() + options.seconds
    done = {core: dict.fromkeys(("programs", "instructions", "traces", *KINDS), 0) for core in cores}
    first, last = options.seed, options.seed + options.cases if options.cases else None
    while first < last if last else wall() < end:
        for core in cores:
            count = BATCH - first % BATCH
            count = min(count, last - first) if last else count
            jit_size = options.jit_size or SIZES[first // BATCH % len(SIZES)]
            said, (seed, *numbers) = batch(core, first, count, jit_size)
            for name, n in zip(done[core], (seed - first, *numbers), strict=True):
                done[core][name] += n
            if said:
                examine(core, seed, first, jit_size, said)
                return 1
        first += count
    print(json.dumps({**done, "next_seed": first}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
