"""`make bench`: how fast Emu is, beside QEMU's TCG and Bochs where they are installed.

Lines of work (lines.py) are measured in rounds in which the emulators take turns, A B A B (measure.py, emulators.py);
what counts is the ratio within one round (report.py). Times are those of the processor, all threads together, unless a
row says wall: on a busy machine the wall clock says more of the others. Figures go to a table, a JSON file and a
picture, never into a test.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
from argparse import ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path

from emu.options import UsageError, shown
from emu.tools.bench.emulators import BOCHS, EMU, QEMU, BenchError, Cost, Emulator
from emu.tools.bench.lines import LINES, MACHINES, Line, chosen
from emu.tools.bench.measure import KINDS, Run
from emu.tools.bench.picture import draw
from emu.tools.bench.report import Result, as_json, table, wrong_sums
from emu.tools.words import Words, count

QUICK_ROUNDS, QUICK_SCALE = 2, 0.2
SLOW = ("bochs", "install")
"""Lines that `--quick` leaves out unless they are named."""


def _scale(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0001 <= value <= 1000:
        raise ArgumentTypeError(f"expected a factor from 0.0001 to 1000, found {text!r}")
    return value


def _parser() -> Words:
    parser = Words("bench", "Time Emu, beside QEMU and Bochs where they are installed.")
    parser.add_argument(
        "names", nargs="*", metavar="LINE", help="lines, or parts of their names: integer, pc, linux.pc"
    )
    parser.add_argument("--list", action="store_true", help="what there is, with floors and aims")
    parser.add_argument("--runs", type=count, metavar="N", help="rounds in which Emu and QEMU take turns (5)")
    parser.add_argument("--bochs-runs", type=count, default=1, metavar="N", help="rounds of Bochs, which is slow (1)")
    parser.add_argument("--scale", type=_scale, metavar="F", help="that many times the work of each program (1)")
    parser.add_argument("--quick", action="store_true", help="two rounds, a fifth of the work, no bochs, no install")
    parser.add_argument("--accel", metavar="TIER", help="Emu's tier, as for emu run (its default)")
    parser.add_argument("--guest", metavar="NAMES", help=f"only these machines ({','.join(MACHINES)})")
    parser.add_argument(
        "-o", dest="output", default="build/bench.json", metavar="FILE", help="figures (build/bench.json)"
    )
    parser.add_argument("--picture", metavar="FILE", help="picture (beside the figures, .png)")
    return parser


def listing() -> str:
    """Every line with its rows, their floors and aims."""
    out = []
    for line in LINES:
        out.append(f"{line.name:18} {line.title}")
        for row in line.rows:
            if row.floor is not None or row.aim is not None:
                what = "times as fast" if row.unit == "ratio" else row.unit
                ends = f"floor {row.floor:g}" + ("" if row.aim is None else f", aim {row.aim:g}")
                out.append(f"{'':18}   {row.name}: {ends} ({what}, {row.clock} time)")
    return "\n".join(out)


def emulators(line: Line) -> tuple[Emulator, ...]:
    """Who takes turns on a line."""
    if line.name == "bochs":
        return (EMU, BOCHS)
    return (EMU,) if line.kind == "install" else (EMU, QEMU)


def _writable(name: str) -> Path:
    path = Path(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("a").close()
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise UsageError(f"bench: {shown(name)}: {why}") from None
    return path


def main(argv: Sequence[str]) -> int:
    """The `bench` subcommand; 1 if a program did not give the same sum everywhere."""
    args = _parser().parse_args(list(argv))
    if args.list:
        print(listing())
        return 0
    lines = chosen(args.names)
    if args.guest is not None:
        wanted = args.guest.split(",")
        for name in wanted:
            if name not in MACHINES:
                raise UsageError(f"bench: --guest {shown(name)}: expected one of {', '.join(MACHINES)}")
        lines = [line for line in lines if line.machine.name in wanted]
    if args.quick and not args.names:
        lines = [line for line in lines if line.name not in SLOW]
    rounds = args.runs or (QUICK_ROUNDS if args.quick else 5)
    scale = args.scale or (QUICK_SCALE if args.quick else 1.0)
    output = _writable(args.output)
    picture = _writable(args.picture or str(output.with_suffix(".png")))
    results = [Result(line) for line in lines]
    with tempfile.TemporaryDirectory() as scratch:
        run = Run(Path(scratch), args.accel, scale)
        for result in results:
            _race(result, run, args.bochs_runs if result.line.name == "bochs" else rounds)
    settings = {
        "rounds": rounds, "scale": scale, "accel": args.accel, "processors": os.cpu_count(),
        "machine": platform.machine(), "python": platform.python_version(),
    }  # fmt: skip
    output.write_text(json.dumps(as_json(results, settings, run.sums), indent=1) + "\n")
    picture.write_bytes(draw(results, f"Emu{f' ({args.accel})' if args.accel else ''}, {rounds} rounds"))
    print(f"\n{table(results)}\n\nfigures in {output}, picture in {picture}")
    wrong = wrong_sums(run.sums)
    for text in wrong:
        print(f"bench: {text}")
    return 1 if wrong else 0


def _race(result: Result, run: Run, rounds: int) -> None:
    """All rounds of one line. An emulator that is missing or fails is left out; without Emu the line is."""
    line, out = result.line, set[str]()
    for k in range(1 if line.kind == "install" else rounds):
        for emulator in emulators(line):
            if emulator.name in out:
                continue
            why = emulator.missing(line.machine)
            why = f"{emulator.name}: {why} is not installed" if why else ""
            try:
                costs = {} if why else KINDS[line.kind](line, emulator, run)
            except (BenchError, OSError) as error:
                why = f"{emulator.name}: {error}"
            if why:
                out.add(emulator.name)
                print(f"{line.name:18} {why}", flush=True)
                if emulator is EMU:
                    result.skipped = why
                    return
                result.notes.append(why)
                continue
            result.rounds.setdefault(emulator.name, []).append(costs)
            _progress(line, emulator, k, costs)


def _progress(line: Line, emulator: Emulator, k: int, costs: dict[str, Cost]) -> None:
    print(f"{line.name:18} {emulator.name:6} {k + 1}  {len(costs)} items", flush=True)


__all__ = ["emulators", "listing", "main"]
