"""A machine with monitors whose clients are the tests: no sockets, no processes."""

from __future__ import annotations

import json
from typing import Any

from emu.chardev import Host
from emu.machine import Machine, Vacuum
from emu.monitor.actions import Actions
from emu.monitor.hmp import Hmp
from emu.monitor.qmp import Qmp
from emu.monitor.start import Monitors
from emu.options import Chardev, MonitorSpec, parse
from tests.emu.pc_machine import full_pc


class Wire(Host):
    """A host end that keeps what it is sent."""

    def __init__(self, label: str = "wire") -> None:
        super().__init__(Chardev("null"), label)
        self.got = b""
        self.unread = 0
        self.hung_up = False

    @property
    def backlog(self) -> int:
        return self.unread

    def send(self, data: bytes, *, whole: bool = False) -> None:
        self.got += data

    def hang_up(self) -> None:
        self.hung_up = True

    def take(self) -> str:
        text, self.got = self.got.decode(), b""
        return text


class Monitored:
    """A PC with a monitor for people and one for programs."""

    def __init__(self, machine: Machine | None = None, *words: str) -> None:
        self.machine = full_pc() if machine is None else machine
        config = parse([*words, "-M", self.machine.name, "-m", "8"]) if words else parse(["-M", self.machine.name])
        config.monitors = [MonitorSpec(Chardev("null")), MonitorSpec(Chardev("null"), control=True)]
        wires = {id(spec): Wire() for spec in config.monitors}
        media = getattr(self.machine, "media_for_tests", [])
        self.monitors = Monitors(
            self.machine, config, Actions(self.machine), lambda spec: wires[id(spec)], wires.values(), media
        )
        self.control = self.monitors.control
        self.people, self.programs = wires.values()
        assert isinstance(self.people.front, Hmp) and isinstance(self.programs.front, Qmp)
        self.hmp: Hmp = self.people.front
        self.qmp: Qmp = self.programs.front

    def say(self, line: str) -> str:
        """What a command prints."""
        return self.control.run_line(line)

    def greet(self) -> None:
        """Open the programs' end and negotiate."""
        self.qmp.opened()
        self.send({"execute": "qmp_capabilities"})
        self.programs.take()

    def send(self, message: Any) -> list[dict[str, Any]]:
        """Send a message (bytes as they are); everything that came back."""
        self.qmp.receive(message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n")
        while self.qmp.busy:  # a busy host has turns of one command
            self.qmp.poll()
        return [json.loads(line) for line in self.programs.take().splitlines()]

    def ask(self, name: str, **given: Any) -> Any:
        """The `return` of a command, or its `error`."""
        request = {"execute": name, "arguments": {k.replace("_", "-"): v for k, v in given.items()}, "id": 7}
        reply = next(r for r in self.send(request) if "event" not in r)
        assert reply.pop("id") == 7
        return reply.get("return", reply.get("error"))

    def run(self, instructions: int) -> None:
        """Let the machine run for a while, as its session would."""
        self.machine.ending = None
        self.machine.max_insns = self.machine.retired + instructions
        self.machine.run(Vacuum())
        self.machine.ending = None
