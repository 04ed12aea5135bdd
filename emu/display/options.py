"""-display, -vnc, -vga and --screenshot: which screens there are and where."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emu.options import ShowAndExit, UsageError, keyed, number, shown, split_commas, switch, unescape, unknown

if TYPE_CHECKING:
    from emu.options import Config

DISPLAYS = ("none", "curses", "vnc", "sdl")
WINDOWS = ("gtk", "spice-app", "egl-headless", "dbus", "cocoa")
CARDS = {
    "std": "standard VGA (default)",
    "none": "no card",
}
FIRST_PORT = 5900
MOST_DISPLAYS = 99
_IGNORED = ("lossy", "non-adaptive", "share", "power-control", "key-delay-ms", "audiodev", "id")
_REFUSED = ("reverse", "websocket", "tls-creds", "sasl", "acl", "tls-authz", "sasl-authz")


@dataclass
class Vnc:
    """A server of screens: a TCP port, on localhost if `host` is empty, or a unix socket at `path`."""

    host: str = ""
    port: int = FIRST_PORT
    last: int = FIRST_PORT
    """The last port to try."""
    path: str = ""
    password: bool = False
    secret: str = ""
    """The id of the -object secret that holds the password."""


def display(config: Config, value: str) -> None:
    """-display."""
    kind, *more = split_commas(value)
    name, _, rest = kind.partition("=")
    if name in ("help", "?"):
        raise ShowAndExit("\n".join(["Available display backend types:", *DISPLAYS]))
    if name == "vnc":
        vnc(config, ",".join([rest, *more]))
        name = "none"
    elif name in WINDOWS:
        config.warn(f"-display {name}: not available yet; using none")
        name = "none"
    elif name == "sdl":
        raise UsageError("-display sdl: Emu opens no windows; -vnc :0 shows the screen to a VNC client")
    elif name not in DISPLAYS:
        raise unknown("display", name, DISPLAYS)
    config.display = name


def vnc(config: Config, value: str) -> None:
    """-vnc."""
    where, *more = split_commas(value)
    if where in ("none", ""):
        return
    props = keyed(",".join(more), "-vnc") if more else {}
    made = Vnc()
    to = number(props.pop("to", "0"), "-vnc to", 0, MOST_DISPLAYS)
    if where.startswith("unix:") and len(where) > 5:
        made.path = where[5:]
    else:
        match = re.fullmatch(r"(?:\[([^\]]*)\]|([^:]*)):([0-9]{1,5})", where)
        if match is None or int(match[3]) > 65535 - FIRST_PORT:
            raise UsageError(f"-vnc: expected :N, HOST:N, unix:PATH or none, found '{shown(value)}'")
        made.host = match[1] or match[2] or ""
        made.port = FIRST_PORT + int(match[3])
        made.last = max(made.port, FIRST_PORT + to)
    made.password = switch(props.pop("password", "off"), "-vnc password")
    made.secret = props.pop("password-secret", "")
    for key, text in props.items():
        if key in _REFUSED and text != "off":
            raise UsageError(f"-vnc: {key} is not available")
        if key not in _IGNORED and key not in _REFUSED and key not in ("ipv4", "ipv6"):
            raise unknown("-vnc property", key, ("to", "password", "password-secret", "share"))
    config.vnc.append(made)


def vga(config: Config, value: str) -> None:
    """-vga."""
    if value in ("help", "?"):
        raise ShowAndExit("\n".join(f"{name:6}  {text}" for name, text in CARDS.items()))
    if value not in CARDS:
        if value not in ("cirrus", "vmware", "qxl", "virtio", "tcx", "cg3"):
            raise unknown("-vga card", value, CARDS)
        config.warn(f"-vga {value}: not available yet; using std")
        value = "std"
    config.vga = value


def set_global(config: Config, value: str) -> None:
    """-global: a property for all devices of a kind; those of the display card and of sleep are known."""
    match = re.fullmatch(r"VGA\.([a-z_]+)=(.*)", value)
    if off := re.fullmatch(r"PIIX4_PM\.disable_s([34])=(0|1|on|off)", value):
        if off[2] in ("1", "on"):
            config.no_sleep.add(int(off[1]))
        else:
            config.no_sleep.discard(int(off[1]))
    elif match is None:
        config.warn(f"-global {shown(value)}: not available yet; ignored")
    else:
        config.vga_props[match[1]] = match[2]


def when(config: Config, value: str) -> None:
    """--when TEXT: the run ends, and the screenshot is made, once the screen or the serial line shows this."""
    if not value:
        raise UsageError("--when: expected some text")
    config.script.append(("expect", unescape(value)))
