"""`emu break CONDITION RUN-OPTIONS...`: run a guest until something happens, and say where it is.

Conditions: --cpl N, --mode, --exception N, --interrupt N, --port N, --cr3, --cr3=VALUE, --magic, --at ADDRESS. What the
guest prints goes to stdout, the report to stderr; status 0, or 124 where a limit or the end of the run comes first.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from emu.machine import Cause, Machine
from emu.monitor.commands.processor import ppc_registers, x86_registers
from emu.monitor.commands.stops import condition, here
from emu.monitor.registry import Refused
from emu.options import CORES, Config, UsageError, parse
from emu.session import Session, say
from emu.stops import Conditions, Stop, stops_of

OWNER = "break"
PLAIN = ("mode", "magic")
NUMBERED = ("cpl", "exception", "interrupt", "port", "at")


def main(words: Sequence[str]) -> int:
    """Run; returns the exit status."""
    conditions, points, rest = wanted(words)
    if not conditions.lines() and not points:
        raise UsageError(
            "break: expected --cpl N, --mode, --exception N, --interrupt N, --port N, --cr3, --magic or --at N"
        )
    config = parse(rest, compat=False)
    if conditions.lines() and CORES[config.machine].arch == "ppc":
        raise UsageError(f"break: -M {config.machine}: only --at is for PowerPC boards")
    if config.accel == "reference":
        raise UsageError("break: expected --accel jit or interp")
    session = Breaking(config, conditions, points)
    status = session.run()
    return status if session.met else status or 124


def wanted(words: Sequence[str]) -> tuple[Conditions, list[int], list[str]]:
    """The conditions and addresses among the words, and the words for `emu run`. Raises UsageError."""
    conditions, points, rest = Conditions(), [], []
    left = iter(words)
    for word in left:
        name, equals, value = word.lstrip("-").partition("=")
        if not word.startswith("--") or name not in (*PLAIN, *NUMBERED, "cr3"):
            rest.append(word)
            continue
        if name in NUMBERED and not equals:
            value = next(left, "")
        number = None
        if name in NUMBERED or value:
            if not re.fullmatch(r"0[xX][0-9a-fA-F]{1,8}|[0-9]{1,10}", value):
                raise UsageError(f"break: --{name}: expected a number, found '{value[:40]}'")
            number = int(value, 0)
        if name == "at" and number is not None:
            points.append(number & 0xFFFFFFFF)
            continue
        try:
            conditions = condition(conditions, name, number)
        except Refused as error:
            raise UsageError(f"break: {error}") from None
    return conditions, points, rest


class Breaking(Session):
    """A session that ends where a condition is met."""

    def __init__(self, config: Config, conditions: Conditions, points: list[int]) -> None:
        super().__init__(config)
        self.met = False
        self._conditions = conditions
        self._points = points

    def build(self) -> Machine:
        machine = super().build()
        stops = stops_of(machine)
        stops.listeners.append(self._stopped)
        stops.set_conditions(OWNER, self._conditions)
        stops.set_breakpoints(OWNER, self._points)
        return machine

    def _stopped(self, stop: Stop) -> None:
        if self.met:
            return
        self.met = True
        machine = self._machine
        ppc = CORES[machine.name].arch == "ppc"
        say(f"{stop.text}, after {machine.retired} instructions")
        sys.stderr.write(f"{(ppc_registers if ppc else x86_registers)(machine.cpu)}\n{here(self._control())}")
        machine.end(Cause.SCRIPT)
