"""The options -netdev, -nic, -net and the filters of -object, into plain data. Nothing is opened here.

Syntax follows the QEMU manual, "Network options". Besides QEMU's properties each -netdev takes `rate=` (bits a second,
with K, M, G) and `latency=` (seconds, or with ms, us), for each direction of its wire.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emu.options import KEYED, ShowAndExit, UsageError, number, shown, split_commas, unknown

if TYPE_CHECKING:
    from emu.net.wire import Backend
    from emu.options import Config

Say = Callable[[str], None]
COMMON = {
    "id": "name for netdev=",
    "rate": "bits a second, such as 10M, for each direction",
    "latency": "seconds, or with ms or us, for each direction",
}
NIC = {
    "model": "card (default e1000)",
    "mac": "its MAC address",
    "macaddr": "the same",
    "addr": "its slot",
    "romfile": "its option ROM",
    "netdev": "id of the -netdev",
    "name": "ignored",
    "vectors": "of virtio",
}
DEFAULT_MODEL = "e1000"
MODELS = {"virtio": "virtio-net-pci", "virtio-net": "virtio-net-pci"}
LEGACY_HUB = 0
NOT_HERE = ("bridge", "l2tpv3", "vde", "vhost-user", "vhost-vdpa", "netmap", "af-xdp", "vmnet-host", "vmnet-shared")
MAC = re.compile(r"[0-9a-fA-F]{1,2}(?:([:-])[0-9a-fA-F]{1,2}(?:\1[0-9a-fA-F]{1,2}){4})")


@dataclass
class Netdev:
    """One back end: its kind, id and properties in the order of the command line."""

    kind: str
    id: str
    props: list[tuple[str, str]] = field(default_factory=list)
    rate: float | None = None
    """Bytes a second."""
    latency: float = 0.0
    used: bool = False


@dataclass(frozen=True)
class Kind:
    """What -netdev can name: a line of help, its properties, and what makes one."""

    help: str
    properties: Mapping[str, str]
    make: Callable[[str, Sequence[tuple[str, str]], Say], Backend] | None


def kinds() -> dict[str, Kind]:
    """All kinds of -netdev."""
    from emu.net import hub, sockets, tap, user

    return {
        "user": Kind("a network of its own behind the host's sockets", user.PROPERTIES, user.User),
        "socket": Kind("TCP or UDP to another machine", sockets.SOCKET, sockets.make_socket),
        "stream": Kind("TCP or unix socket to another machine", sockets.STREAM, sockets.make_stream),
        "unix": Kind("unix socket to another machine, path=", sockets.UNIX, sockets.make_unix),
        "tap": Kind("an interface of the host", tap.PROPERTIES, tap.make_tap),
        "hubport": Kind("a port of a hub", hub.PROPERTIES, None),
    }


def rate(text: str, what: str) -> float | None:
    """Bits a second as bytes a second; 0 means no limit. Raises UsageError."""
    match = re.fullmatch(r"([0-9]{1,12})(\.[0-9]{1,6})?([kKmMgG]?)(?:bit)?", text)
    if match is None:
        raise UsageError(f"{what}: rate: expected bits a second such as 500K, 10M or 1G, found '{shown(text)}'")
    bits = float(match[1] + (match[2] or "")) * {"": 1, "k": 1e3, "m": 1e6, "g": 1e9}[match[3].lower()]
    if 0 < bits < 1000:
        raise UsageError(f"{what}: rate: expected at least 1K")
    return bits / 8 or None


def latency(text: str, what: str) -> float:
    """Seconds. Raises UsageError."""
    match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,9})?)(us|ms|s)?", text)
    seconds = float(match[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[match[2] or "s"] if match else 100.0
    if seconds > 60:
        raise UsageError(f"{what}: latency: expected 0 to 60 seconds such as 5ms, found '{shown(text)}'")
    return seconds


def pairs(text: str) -> tuple[str, list[tuple[str, str]]]:
    """The first word, and `a=1,b=2` behind it; a word without "=" is on, or off after "no"."""
    first, *rest = split_commas(text)
    if KEYED.match(first):
        key, _, value = first.partition("=")
        if key == "type":
            first = value
        else:
            first, rest = "", [first, *rest]
    found = []
    for part in rest:
        key, equals, value = part.partition("=")
        if equals:
            found.append((key, value))
        elif part.startswith("no") and len(part) > 2:
            found.append((part[2:], "off"))
        elif part:
            found.append((part, "on"))
    return first, found


def _checked(kind: str, props: list[tuple[str, str]], what: str, more: Mapping[str, str]) -> None:
    known = kinds()
    if kind in ("help", "?"):
        raise ShowAndExit(
            "\n".join(["Available netdev backend types:", *(f"{k:8} {v.help}" for k, v in known.items())])
        )
    if kind not in known:
        if kind in NOT_HERE:
            raise UsageError(f"{what} {shown(kind)}: not available; there are {', '.join(known)}")
        raise unknown(f"{what[1:]} type", kind, known)
    allowed = {**known[kind].properties, **COMMON, **more}
    for key, value in props:
        if key == "help" and value == "on":
            raise ShowAndExit("\n".join([f"{kind} options:", *(f"  {k}=<{v}>" for k, v in allowed.items())]))
        if key in ("smb", "smbserver"):
            raise UsageError(f"{what} {kind}: {key}: refused, as no option of Emu runs a program; share with -virtfs")
        if key not in allowed:
            raise unknown(f"property of {what} {kind}:", key, allowed)


def _add(config: Config, kind: str, name: str, props: list[tuple[str, str]], what: str) -> Netdev:
    if any(netdev.id == name for netdev in config.netdevs):
        raise UsageError(f"{what}: the id {shown(name)} is in use")
    last = dict(props)
    netdev = Netdev(kind, name, [(key, value) for key, value in props if key not in COMMON])
    netdev.rate = rate(last["rate"], what) if "rate" in last else None
    netdev.latency = latency(last.get("latency", "0"), what)
    config.netdevs.append(netdev)
    return netdev


def _free_id(config: Config, stem: str) -> str:
    number = 0
    while any(netdev.id == f"{stem}{number}" for netdev in config.netdevs):
        number += 1
    return f"{stem}{number}"


def netdev(config: Config, value: str) -> None:
    """-netdev KIND,id=ID,... Raises UsageError, ShowAndExit."""
    kind, props = pairs(value)
    _checked(kind, props, "-netdev", {})
    name = dict(props).get("id", "")
    if not name:
        raise UsageError(f"-netdev {kind}: expected id=ID")
    _add(config, kind, name, props, "-netdev")


def mac_address(text: str, what: str) -> str:
    """A MAC address of one card. Raises UsageError."""
    if MAC.fullmatch(text) is None or int(re.split("[:-]", text)[0], 16) & 1:
        raise UsageError(
            f"{what}: expected the MAC address of one card, such as 52:54:00:12:34:56, found '{shown(text)}'"
        )
    return text.replace("-", ":").lower()


def _card(config: Config, props: list[tuple[str, str]], netdev: str, what: str) -> None:
    """A card for -nic and -net nic."""
    from emu.plug import KINDS

    last = dict(props)
    model = last.get("model", DEFAULT_MODEL)
    model = MODELS.get(model, model)
    cards = sorted(name for name, kind in KINDS.items() if "netdev" in kind.props)
    if model in ("help", "?"):
        raise ShowAndExit("\n".join(["Available NIC models:", *cards]))
    if model not in cards:
        raise unknown("NIC model", model, cards)
    made = {"netdev": netdev}
    mac = last.get("mac", last.get("macaddr"))
    if mac is not None:
        made["mac"] = mac_address(mac, f"{what} mac")
    for key in ("addr", "romfile", "vectors"):
        if key in last and key in KINDS[model].props:
            made[key] = last[key]
    config.devices.append((model, made))


def nic(config: Config, value: str) -> None:
    """-nic KIND,model=...: a back end and a card at once. Raises UsageError, ShowAndExit."""
    kind, props = pairs(value)
    if kind == "none":
        return
    if not kind and dict(props).get("model") in ("help", "?"):
        _card(config, props, "", "-nic")
    _checked(kind, props, "-nic", NIC)
    name = dict(props).get("id") or _free_id(config, "nic")
    card = [(key, text) for key, text in props if key in NIC and not (key == "netdev" and kind == "hubport")]
    _add(config, kind, name, [pair for pair in props if pair not in card], "-nic")
    _card(config, card, name, "-nic")


def net(config: Config, value: str) -> None:
    """-net nic,... and -net KIND,...: everything on one hub. Raises UsageError, ShowAndExit."""
    kind, props = pairs(value)
    if kind == "none":
        return
    if kind == "nic":
        last = dict(props)
        for key in last:
            if key not in NIC:
                raise unknown("property of -net nic:", key, NIC)
        name = last.get("netdev")
        if name is None:
            name = _free_id(config, "hub0port")
            _add(config, "hubport", name, [("hubid", str(LEGACY_HUB))], "-net nic")
        _card(config, props, name, "-net nic")
        return
    _checked(kind, props, "-net", {"name": "ignored"})
    name = dict(props).get("id") or _free_id(config, f"net-{kind}")
    _add(config, kind, name, [pair for pair in props if pair[0] != "name"], "-net")
    if kind != "hubport":
        port = _free_id(config, "hub0port")
        _add(config, "hubport", port, [("hubid", str(LEGACY_HUB)), ("netdev", name)], "-net")


def hub_of(netdev: Netdev) -> tuple[int, str | None]:
    """The number of a hubport's hub, and the -netdev that is joined to it. Raises UsageError."""
    last = dict(netdev.props)
    what = f"-netdev hubport,id={shown(netdev.id)}"
    if "hubid" not in last:
        raise UsageError(f"{what}: expected hubid=NUMBER")
    return number(last["hubid"], f"{what}: hubid", 0, 1 << 30), last.get("netdev")
