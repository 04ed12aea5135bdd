"""From costs to ratios, to the table that is printed, and to what goes into the JSON file."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from emu.tools.bench.emulators import Cost
from emu.tools.bench.lines import Line, Row

Rounds = Sequence[Mapping[str, Cost]]
HEAD = f"{'line':18} {'row':14} {'min':>8} {'median':>8} {'max':>8}  {'floor':>6} {'aim':>6}  {'Emu':>9} {'other':>9}"


@dataclass
class Result:
    """One line after its rounds: the costs by emulator, round for round; why there are none; remarks."""

    line: Line
    rounds: dict[str, list[dict[str, Cost]]] = field(default_factory=dict)
    skipped: str = ""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Figure:
    """One row: a value for each round (none without the other emulator), and the median cost of a round by emulator."""

    row: Row
    values: tuple[float, ...]
    costs: dict[str, float]

    @property
    def low(self) -> float | None:
        """Minimum."""
        return min(self.values, default=None)

    @property
    def median(self) -> float | None:
        """Median."""
        return statistics.median(self.values) if self.values else None

    @property
    def high(self) -> float | None:
        """Maximum."""
        return max(self.values, default=None)

    @property
    def verdict(self) -> str:
        """What of the wanted values the median reaches; nothing where nothing is wanted."""
        median = self.median
        if median is None:
            return ""
        for wanted, word in ((self.row.aim, "aim"), (self.row.floor, "floor")):
            if wanted is not None and (median >= wanted if self.row.unit == "ratio" else median <= wanted):
                return word
        return "" if self.row.floor is None else "below" if self.row.unit == "ratio" else "above"


def _clock(cost: Cost, row: Row) -> float:
    return cost.wall if row.clock == "wall" else cost.processor


def _total(costs: Mapping[str, Cost], row: Row) -> float:
    return sum(_clock(costs[item], row) for item in row.items)


def ratio(ours: Mapping[str, Cost], other: Mapping[str, Cost], row: Row) -> float | None:
    """How many times as fast we are: the geometric mean over the items of a row; None where one is not there."""
    logs = []
    for item in row.items:
        if item not in ours or item not in other:
            return None
        a, b = _clock(ours[item], row), _clock(other[item], row)
        # Less than the clock can tell.
        if a <= 0 or b <= 0:
            return None
        logs.append(math.log(b / a))
    return math.exp(sum(logs) / len(logs))


def figure(row: Row, rounds: Mapping[str, Rounds]) -> Figure | None:
    """The row over all rounds, or None where there is nothing to tell."""
    ours = [costs for costs in rounds.get("emu", ()) if all(item in costs for item in row.items)]
    found = {
        name: statistics.median([_total(c, row) for c in costs if all(item in c for item in row.items)])
        for name, costs in rounds.items()
        if any(all(item in c for item in row.items) for c in costs)
    }
    if row.unit != "ratio":
        values = [_total(costs, row) for costs in ours]
    else:
        pairs = zip(rounds.get("emu", ()), rounds.get(row.against, ()), strict=False)
        values = [v for v in (ratio(a, b, row) for a, b in pairs) if v is not None]
    return Figure(row, tuple(values), found) if "emu" in found else None


def figures(result: Result) -> list[tuple[Figure, list[Figure]]]:
    """The rows of a line, each with those of its items where it sums up several."""
    out = []
    for row in result.line.rows:
        whole = figure(row, result.rounds)
        if whole is None:
            continue
        single = [
            Row(item, (item,), clock=row.clock, unit=row.unit, against=row.against)
            for item in (row.items if len(row.items) > 1 else ())
        ]
        out.append((whole, [f for f in (figure(r, result.rounds) for r in single) if f is not None]))
    return out


def _wanted(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def _cost(value: float | None, row: Row) -> str:
    if value is None:
        return "-"
    if row.unit == "MiB":
        return f"{value:.0f} MiB"
    if row.unit in ("%", "times"):
        return f"{value:.2f} {row.unit if row.unit == '%' else 'x'}"
    return f"{value:.3g} s" if value >= 1e-3 else f"{value * 1e6:.3g} us"


def _shown(line: str, figure: Figure, indent: str = "") -> str:
    row, digits = figure.row, 2 if figure.row.unit == "ratio" else {"s": 3, "%": 2, "times": 2}.get(figure.row.unit, 0)
    values = " ".join(
        f"{'-':>8}" if v is None else f"{v:8.{digits}f}" for v in (figure.low, figure.median, figure.high)
    )
    other = figure.costs.get(row.against)
    costs = f"{_cost(figure.costs.get('emu'), row):>9} {_cost(other, row):>9}"
    unit = "" if row.unit == "ratio" else f" {row.unit}"
    clock = " wall" if row.clock == "wall" else ""
    text = f"{line:18} {indent + row.name:14} {values}  {_wanted(row.floor):>6} {_wanted(row.aim):>6}  {costs}"
    return f"{text}  {figure.verdict}{unit}{clock}".rstrip()


def table(results: Sequence[Result]) -> str:
    """All lines as text."""
    out = [HEAD]
    for result in results:
        if result.skipped:
            out.append(f"{result.line.name:18} left out: {result.skipped}")
        for whole, parts in figures(result):
            out.append(_shown(result.line.name, whole))
            out += [_shown("", part, "  ") for part in parts]
        out += [f"{'':18} {note}" for note in result.notes]
    return "\n".join(out)


def wrong_sums(sums: Mapping[str, Mapping[str, set[str]]]) -> list[str]:
    """A line for each program whose results were not all the same."""
    out = []
    for program, found in sorted(sums.items()):
        if len(found) > 1:
            told = "; ".join(f"{total} from {', '.join(sorted(who))}" for total, who in sorted(found.items()))
            out.append(f"{program} gives different sums: {told}")
    return out


def _json_figure(figure: Figure) -> dict[str, object]:
    row = figure.row
    return {
        "row": row.name, "items": list(row.items), "unit": row.unit, "clock": row.clock, "against": row.against,
        "floor": row.floor, "aim": row.aim, "min": figure.low, "median": figure.median, "max": figure.high,
        "values": list(figure.values), "costs": figure.costs, "verdict": figure.verdict,
    }  # fmt: skip


def as_json(
    results: Sequence[Result], settings: Mapping[str, object], sums: Mapping[str, Mapping[str, set[str]]]
) -> dict[str, object]:
    """Everything that was measured.

    Costs are seconds, of footprint MiB, idle percent, firmware multiples of a direct boot, of disks seconds a turn."""
    lines = []
    for result in results:
        entry: dict[str, object] = {"name": result.line.name, "title": result.line.title}
        if result.skipped:
            entry["skipped"] = result.skipped
        if result.notes:
            entry["notes"] = result.notes
        found = figures(result)
        entry["rows"] = [_json_figure(whole) for whole, _ in found]
        entry["items"] = [_json_figure(part) for _, parts in found for part in parts]
        entry["rounds"] = {
            name: [{item: cost._asdict() for item, cost in costs.items()} for costs in rounds]
            for name, rounds in result.rounds.items()
        }
        lines.append(entry)
    return {
        "version": 1,
        "settings": dict(settings),
        "lines": lines,
        "sums": {program: sorted(found) for program, found in sorted(sums.items())},
        "wrong": wrong_sums(sums),
    }
