"""The monitor for programs: QMP, JSON in and out (QEMU's "QMP Protocol Specification").

A client is greeted, negotiates no capability (there is none), and then each command has one reply with its `id`; events
come in between. What is wrong gets an error as reply and costs nothing else, except a value longer than the cap, after
which the connection is closed. A client that does not read is not read from either, and events that find more than
`BACKLOG` bytes waiting for it are dropped.
"""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any

from emu.clock import since_1970, wall
from emu.monitor.commands.run import version
from emu.monitor.json_stream import JsonStream
from emu.monitor.registry import Refused, qmp

if TYPE_CHECKING:
    from emu.chardev import Host
    from emu.monitor.control import Control

BACKLOG = 1 << 18
WAITING = 64
"""Commands that may wait while the client reads slowly."""
TURN = 0.02
"""Seconds of commands in one go, so that the guest and others have their turn."""
KEYS = {"execute", "exec-oob", "arguments", "id"}


class Qmp:
    """A server on a host end (`emu.chardev.Front`)."""

    def __init__(self, control: Control, host: Host, *, pretty: bool = False) -> None:
        self.control = control
        self.host = host
        self._indent = 4 if pretty else None
        self._begin()
        control.on_event.append(self._event)

    def _begin(self) -> None:
        self._stream = JsonStream()
        self._waiting: deque[tuple[str, Any]] = deque()
        self._ready = False
        self._greeted = False

    # -- Front

    def room(self) -> int:
        """See `Front`."""
        return 0 if len(self._waiting) >= WAITING or self.host.backlog > BACKLOG else 1 << 16

    def receive(self, data: bytes) -> None:
        """See `Front`."""
        self._waiting.extend(self._stream.feed(data))
        self.poll()

    def opened(self) -> None:
        """See `Front`."""
        self._begin()
        self._greeted = True
        self._send({"QMP": {"version": version(), "capabilities": []}})

    def closed(self) -> None:
        """See `Front`."""
        self._begin()

    def focus(self, here: bool) -> None:
        """See `Front`."""

    # -- commands

    def poll(self) -> None:
        """Carry out commands that wait, as long as the replies are read."""
        end = wall() + TURN
        while self.busy:
            kind, value = self._waiting.popleft()
            if kind == "value":
                self._send(self._reply(value))
            else:
                self._send(_error(Refused(f"JSON parse error, {value}")))
            if wall() >= end:
                break
        if self._stream.too_long and not self._waiting:
            self.host.hang_up()
            self._stream = JsonStream()

    @property
    def busy(self) -> bool:
        """Whether there is something to do at once."""
        return bool(self._waiting) and self.host.backlog <= BACKLOG and self.control.machine.ending is None

    def _reply(self, request: Any) -> dict[str, Any]:
        try:
            return self._carry_out(request) | _id(request)
        except Refused as error:
            return _error(error) | _id(request)

    def _carry_out(self, request: Any) -> dict[str, Any]:
        if not isinstance(request, dict):
            raise Refused("QMP input must be a JSON object")
        for key in request:
            if key not in KEYS:
                raise Refused(f"QMP input member '{key[:100]}' is unexpected")
        if "exec-oob" in request:
            raise Refused("QMP input member 'exec-oob' needs a capability that is not there")
        name = request.get("execute")
        if name is None:
            raise Refused("QMP input lacks member 'execute'")
        if not isinstance(name, str):
            raise Refused("QMP input member 'execute' must be a string")
        given = request.get("arguments", {})
        if not isinstance(given, dict):
            raise Refused("QMP input member 'arguments' must be an object")
        if not self._ready and name != "qmp_capabilities":
            raise Refused("Expecting capabilities negotiation with 'qmp_capabilities'", "CommandNotFound")
        if self._ready and name == "qmp_capabilities":
            raise Refused("Capabilities negotiation is already complete, command ignored", "CommandNotFound")
        result = self.control.run_qmp(name, given)
        if name == "qmp_capabilities":
            self._ready = True
        return {"return": result}

    # -- output

    def _event(self, event: str, data: dict[str, Any]) -> None:
        if not self._ready or self.host.backlog > BACKLOG:
            return
        seconds, microseconds = divmod(since_1970() // 1000, 1_000_000)
        message: dict[str, Any] = {"timestamp": {"seconds": seconds, "microseconds": microseconds}, "event": event}
        if data:
            message["data"] = data
        self._send(message)

    def _send(self, message: dict[str, Any]) -> None:
        self.host.send(json.dumps(message, indent=self._indent).encode() + b"\r\n", whole=True)


def _error(error: Refused) -> dict[str, Any]:
    return {"error": {"class": error.kind, "desc": str(error)}}


def _id(request: Any) -> dict[str, Any]:
    return {"id": request["id"]} if isinstance(request, dict) and "id" in request else {}


@qmp("qmp_capabilities", early=True)
def qmp_capabilities(control: Control, enable: list[Any] | None = None) -> None:
    """Ends the negotiation. Raises Refused for a capability that is not there."""
    if enable:
        raise Refused(f"Capability '{str(enable[0])[:100]}' is not available")


@qmp("human-monitor-command")
def human_monitor_command(control: Control, command_line: str, cpu_index: int = 0) -> str:
    """What a person would be told."""
    return control.run_line(command_line).replace("\n", "\r\n")
