"""What all monitors of a run share: the machine, what the command line named for it, the actions, and who is told.

`run_line` is a command as a person types it, whoever sends it: HMP, `human-monitor-command` of QMP, `monitor` of gdb.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emu.clock import wall
from emu.errors import MachineError
from emu.machine import Cause, Machine
from emu.monitor import commands
from emu.monitor.actions import Actions
from emu.monitor.registry import HMP, INFO, QMP, HmpCommand, Refused, unique
from emu.monitor.words import LONGEST, Misused, arguments
from emu.options import Config

if TYPE_CHECKING:
    from emu.chardev import Host
    from emu.media import Medium

BALLOON_SECONDS = 1.0
"""Between two events of a balloon that is being filled."""
LOG = logging.getLogger("emu.monitor")
commands.load()
"""The commands register themselves."""

EventHandler = Callable[[str, dict[str, Any]], None]
ENDS = {
    Cause.POWEROFF: (True, "guest-shutdown"),
    Cause.RESET: (True, "guest-reset"),
    Cause.SHUTDOWN: (True, "guest-reset"),
    Cause.DEBUG_EXIT: (True, "guest-shutdown"),
    Cause.QUIT: (False, "host-qmp-quit"),
    Cause.SIGNAL: (False, "host-signal"),
}


@dataclass
class Block:
    """A drive by the name that monitors have for it; `device` is the drive that the guest sees.

    `file` is what was put in later.
    """

    name: str
    medium: Medium
    device: Any = None
    file: str = ""
    qdev: str = ""

    @property
    def removable(self) -> bool:
        return self.medium.cdrom or self.medium.drive.interface == "floppy"


class Control:
    """One for each run."""

    def __init__(self, machine: Machine, config: Config, actions: Actions | None = None) -> None:
        self.machine = machine
        self.config = config
        self.actions = actions or Actions(machine)
        self.actions.block = self.block
        self.hosts: list[Host] = []
        self.blocks: list[Block] = []
        self.network: Any = None
        """Who answers for -netdev, if anybody: `info network`, `hostfwd_add`, ..."""
        self.gdb: Any = None
        self.debugger: Any = None
        """Breakpoints and the like of the monitor's users (`commands.stops`)."""
        self.displays: list[Any] = []
        """Who shows the screen."""
        self.on_event: list[EventHandler] = []
        self.on_text: list[Callable[[str], None]] = []
        """Told what people should see, though they did not ask for it now."""
        self._prelaunch = machine.paused
        self._balloon: int | None = None
        self._told = 0.0
        machine.on_change.append(self.tell)

    # -- the run

    def tell(self, event: str, data: dict[str, Any]) -> None:
        """Tell every client."""
        if event == "RESUME":
            self._prelaunch = False
        for handler in self.on_event:
            handler(event, data)

    def show(self, text: str) -> None:
        """Show people something."""
        for handler in self.on_text:
            handler(text)

    @property
    def status(self) -> str:
        """QMP's RunState."""
        machine = self.machine
        if machine.parked:
            return "shutdown"
        if machine.paused:
            return "prelaunch" if self._prelaunch else "paused"
        if machine.asleep:
            return "suspended"
        return "running"

    def poll(self) -> None:
        """Look for what nobody tells."""
        balloon = self.balloon
        if balloon is None:
            return
        now = balloon.remaining
        if self._balloon is None:
            self._balloon = now
        if now != self._balloon and wall() - self._told >= BALLOON_SECONDS:
            self._told = wall()
            self._balloon = now
            self.tell("BALLOON_CHANGE", {"actual": now})

    def ended(self) -> None:
        """The run is over."""
        ending = self.machine.ending
        if ending is not None and not self.machine.parked:
            guest, reason = ENDS.get(ending.cause, (False, "host-error"))
            self.tell("SHUTDOWN", {"guest": guest, "reason": reason})

    # -- what is there

    @property
    def balloon(self) -> Any:
        """The balloon device, or None."""
        found = (d for d in self.machine.devices.values() if hasattr(d, "set_size") and hasattr(d, "remaining"))
        return next(found, None)

    def block(self, name: str) -> Block:
        """A drive by name. Raises Refused."""
        for block in self.blocks:
            if name in (block.name, block.medium.drive.id):
                return block
        raise Refused(f"Device '{name[:100]}' not found", "DeviceNotFound")

    def host(self, label: str) -> Host:
        """A host end by its label. Raises Refused."""
        for host in self.hosts:
            if host.label == label:
                return host
        raise Refused(f"Device '{label[:100]}' not found", "DeviceNotFound")

    def register(self, name: str) -> int:
        """A register as expressions name it. Raises KeyError."""
        cpu = self.machine.cpu
        if name == "pc" and self.machine.pc_name == "eip":
            return (cpu.reg("cs.base") + cpu.reg("eip")) & 0xFFFFFFFF
        return cpu.reg("pc" if name == "nip" else name)

    # -- commands

    def run_line(self, line: str) -> str:
        """Carry a line out; what it prints, errors included."""
        words = line.strip()
        if not words or words.startswith("#"):
            return ""
        if len(words) > LONGEST:
            return "the line is too long\n"
        name, rest = _split(words)
        table, prefix = HMP, ""
        if name == "info" and rest:
            name, rest = _split(rest)
            table, prefix = INFO, "info "
        command = _find(table, name)
        if command is None:
            return f"unknown command: '{prefix}{name[:100]}'\n"
        try:
            given = arguments(command, rest, self.register)
            text = _guarded(lambda: command.run(self, **given))
        except Misused as error:
            return f'{error}\nTry "help {prefix}{name}" for more information\n'
        except Refused as error:
            return f"Error: {error}\n"
        return text if isinstance(text, str) else ""

    def run_qmp(self, name: str, given: dict[str, Any]) -> Any:
        """Carry a QMP command out. Raises Refused."""
        command = QMP.get(name)
        if command is None:
            raise Refused(f"The command {name[:100]} has not been found", "CommandNotFound")
        result = _guarded(lambda: command.call(self, given))
        return {} if result is None else result


def _guarded(run: Callable[[], Any]) -> Any:
    """A mistake of ours in a command must not end the run; one in a device is the machine's and does."""
    try:
        return run()
    except (Refused, MachineError):
        raise
    except Exception as error:
        LOG.exception("a monitor command failed")
        raise Refused(f"internal error: {type(error).__name__}: {str(error)[:200]}") from error


def _split(text: str) -> tuple[str, str]:
    """The name at the front of a line, and the rest: `x/4wx 0` and `x /4wx 0` are the same."""
    end = 0
    while end < len(text) and not text[end].isspace() and text[end] != "/":
        end += 1
    return text[:end], text[end:].lstrip()


def _find(table: dict[str, HmpCommand], name: str) -> HmpCommand | None:
    """A command by its name, or by a beginning of it that only one has."""
    exact = table.get(name)
    if exact is not None or not name:
        return exact
    near = [command for command in unique(table) if any(n.startswith(name) for n in command.names)]
    return near[0] if len(near) == 1 else None
