"""The displays of a run from the command line."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from emu.display.screen import Screen
from emu.options import UsageError, shown, unknown

if TYPE_CHECKING:
    from emu.chardev import Host
    from emu.machine import Machine
    from emu.monitor.actions import Actions
    from emu.options import Config

LONGEST_SECRET = 1 << 16


class Display(Protocol):
    """Something that shows the screen (`emu.session.Watched`)."""

    @property
    def live(self) -> bool:
        """Somebody may type."""

    def descriptors(self) -> tuple[list[int], list[int]]:
        """What to wait for: to read and to write."""

    def poll(self) -> None:
        """Show what is new and do what has come; never blocks."""

    def timeout(self) -> float | None:
        """Seconds until `poll` has something to do even if nothing comes."""

    def close(self) -> None:
        """The run is over."""


def open_displays(config: Config, machine: Machine, actions: Actions, hosts: Iterable[Host]) -> list[Display]:
    """All that -display and -vnc ask for. Raises UsageError."""
    screen = Screen(machine, actions)
    opened: list[Display] = []
    try:
        for spec in config.vnc:
            from emu.display.vnc import open_server

            password = secret(config, spec.secret) if spec.secret else None
            opened.append(open_server(spec, screen, config.name or "Emu", password))
        if config.display == "curses":
            from emu.display.terminal import open_terminal
            from emu.display.textconsole import TextConsole

            consoles = [host for host in hosts if isinstance(host, TextConsole)]
            consoles.sort(key=lambda host: host.label.startswith("serial"))
            opened.append(open_terminal(screen, consoles))
    except UsageError:
        for display in opened:
            display.close()
        raise
    return opened


def secret(config: Config, name: str) -> bytes:
    """What an -object secret holds. Raises UsageError."""
    secrets = {key: props for key, (kind, props) in config.objects.items() if kind == "secret"}
    if name not in secrets:
        raise unknown("secret", name, secrets)
    props = secrets[name]
    if ("data" in props) == ("file" in props):
        raise UsageError(f"-object secret,id={shown(name)}: expected data= or file=")
    if "data" in props:
        data = props["data"].encode()
    else:
        from emu.media import read_file

        data = read_file(props["file"], "a secret", LONGEST_SECRET)
    if props.get("format", "raw") == "base64":
        try:
            return base64.b64decode(data, validate=False)
        except binascii.Error:
            raise UsageError(f"-object secret,id={shown(name)}: expected base64") from None
    return data
