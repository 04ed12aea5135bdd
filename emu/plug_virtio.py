"""The virtio devices other than disks, as `-device` names them, and their ways through the gate.

Host entropy and the answers of shared directories are decisions of the gate: asked at a moment that the guest
determines, and recorded. Console input is a channel. A balloon's size is the monitor's to ask for, which has a way
through the gate of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from emu.options import FsDev, UsageError, shown, unknown
from emu.plug import Plug, pluggable, virtio
from emu.plug_net import NIC, wire

if TYPE_CHECKING:
    from devices.virtio.console import Console, Port
    from devices.virtio.device import VirtioDevice
    from devices.virtio.p9 import FileServer

ENTROPY = "/dev/urandom"
CONSOLE_RETRY = 1_000_000
"""ns until a console is offered again what it had no room for."""
PORTS = {
    "chardev": "id of the -chardev behind it",
    "name": "name that the guest sees in /sys/class/virtio-ports",
    "nr": "number of the port",
    "bus": "id of the virtio-serial device and .0",
}
COMING = ("socket", "pty")
"""Character devices at whose other end nobody is at first."""
LISTED = 31
KEY_INTERVAL = 20_000_000
"""ns between two keys that are typed for a person."""


# -- entropy


@virtio("rng", "entropy", {"rng": "id of an -object rng-random or rng-builtin (default: the same in every run)"})
def virtio_rng(p: Plug) -> VirtioDevice:
    """Entropy: a function of the seed unless the person asks for the host's."""
    from devices.virtio.rng import Rng

    objects = p.setup.config.objects
    wanted = p.text("rng")
    if wanted and (wanted not in objects or not objects[wanted][0].startswith("rng-")):
        raise unknown("-object", wanted, [name for name, (kind, _) in objects.items() if kind.startswith("rng-")])
    kind, props = objects.get(wanted, ("rng-builtin", {}))
    if kind == "rng-builtin":
        return Rng(**p.virtio(), seed=p.key.encode())
    return Rng(**p.virtio(), source=_host_entropy(p, props.get("filename", ENTROPY)))


def _host_entropy(p: Plug, path: str) -> Callable[[int], bytes]:
    inputs = p.machine.inputs
    inputs.decision(p.key)
    fd = -1
    try:
        if p.setup.config.replay is None:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise p.wrong(f"rng-random: {shown(path)}: {reason}") from None

    def read(count: int) -> bytes:
        try:
            return os.read(fd, count)
        except OSError:
            return b""  # nothing there now: the driver's buffer comes back empty and it asks again

    return lambda count: inputs.decide(p.key, b"", lambda: read(count))


# -- memory


@virtio(
    "balloon",
    "memory balloon",
    {
        "deflate-on-oom": "on: the guest takes pages back rather than run out of memory (default off)",
        "free-page-reporting": "on: pages that the guest does not use go back to the host (default off)",
        "guest-stats-polling-interval": "ignored: statistics come when they are asked for",
    },
)
def virtio_balloon(p: Plug) -> VirtioDevice:
    """The balloon."""
    from devices.virtio.balloon import Balloon

    return Balloon(
        **p.virtio(),
        size=p.machine.ram.size,
        discard=p.machine.ram.discard,
        deflate_on_oom=p.switch("deflate-on-oom", False),
        reporting=p.switch("free-page-reporting", False),
    )


# -- network


@virtio(
    "net",
    "network card",
    {
        **NIC,
        "host_mtu": "largest packet, in bytes, that the driver is told",
        "csum": "off: the card fills in no checksums",
        "guest_csum": "off: checksums of what comes in are not looked at",
        "host_tso4": "off: the card cuts up no TCP segments over IPv4",
        "host_tso6": "off: nor over IPv6",
        "mrg_rxbuf": "off: a frame has to fit into one buffer",
        "ctrl_vq": "off: no commands",
    },
)
def virtio_net(p: Plug) -> VirtioDevice:
    """A card on a wire."""
    from devices.virtio import net

    off = {
        "csum": net.CSUM | net.HOST_TSO4 | net.HOST_TSO6 | net.HOST_ECN,
        "guest_csum": net.GUEST_CSUM | net.GUEST_OFFLOADS,
        "host_tso4": net.HOST_TSO4,
        "host_tso6": net.HOST_TSO6,
        "mrg_rxbuf": net.MERGE,
        "ctrl_vq": net.NEEDS_CTRL,
    }
    without = 0
    for name, mask in off.items():
        without |= 0 if p.switch(name, True) else mask
    port, mac = wire(p)
    mtu = p.number("host_mtu", 0, 0, 65535)
    return net.Net(**p.virtio(), port=port, mac=bytes(mac), mtu=mtu, without=without, clock=p.machine.clock)


# -- consoles


@virtio("serial", "virtconsole and virtserialport devices", {"max_ports": "most ports (default 31)"})
def virtio_serial(p: Plug) -> VirtioDevice:
    """The device behind which virtconsole and virtserialport are."""
    from devices.virtio.console import Console, numbered

    most = p.number("max_ports", LISTED, 1, LISTED)
    mine = [(name, props) for name, props in p.setup.config.devices if name in PORT_KINDS]
    own = p.props.get("id")
    first = next(props for name, props in p.setup.config.devices if name.startswith("virtio-serial-")) is p.props
    wanted: list[tuple[int | None, Port, str]] = []
    for name, props in mine:
        bus = props.get("bus", "").removesuffix(".0")
        if bus == own if bus else first:
            wanted.append((_number(p, name, props, most), _port(p, name, props), props.get("chardev", "")))
    ports = numbered([(number, port) for number, port, _ in wanted], most)
    made = Console(**p.virtio(), ports=ports, most=most)
    for number, port in ports.items():
        chardev = next(text for _, other, text in wanted if other is port)
        if chardev:
            inputs, name = p.machine.inputs, f"{p.key}.{number}"
            channel = inputs.channel(name, partial(made.receive, number), retry=CONSOLE_RETRY)
            presence = inputs.messages(f"{name}.presence", partial(_presence, made, number))
            p.setup.connect(chardev, channel, presence)
    return made


def _presence(made: Console, number: int, message: bytes) -> bool:
    made.connect(number, message == b"\1")
    return True


def _number(p: Plug, name: str, props: dict[str, str], most: int) -> int | None:
    from emu.options import number

    if "nr" not in props:
        return None
    wanted = number(props["nr"], f"-device {name} nr", 0, most - 1)
    if wanted == 0 and name == "virtserialport":
        raise UsageError("-device virtserialport: nr=0 is for a virtconsole")
    return wanted


def _port(p: Plug, name: str, props: dict[str, str]) -> Port:
    from devices.contracts import NullConsole
    from devices.virtio.console import Port

    chardev = props.get("chardev", "")
    end = p.setup.consoles.get(chardev) if chardev else None
    there = bool(chardev) and p.setup.config.chardevs[chardev].kind not in COMING
    return Port(end or NullConsole(), name == "virtconsole", props.get("name", ""), there)


PORT_KINDS = ("virtconsole", "virtserialport")


def _needs_serial(p: Plug) -> None:
    """A port is part of its virtio-serial device."""
    there = [props for name, props in p.setup.config.devices if name.startswith("virtio-serial-")]
    if not there:
        raise p.wrong("there is no -device virtio-serial-pci for it")
    bus = p.text("bus").removesuffix(".0")
    if bus and bus not in [props.get("id") for props in there]:
        raise unknown("bus", p.text("bus"), [f"{props['id']}.0" for props in there if "id" in props])


pluggable("virtconsole", "console port (hvc0 ...) of a virtio-serial device", PORTS, bus="virtio-serial")(_needs_serial)
pluggable("virtserialport", "named channel of a virtio-serial device", PORTS, bus="virtio-serial")(_needs_serial)


# -- keyboard and pointer


@virtio("keyboard", "keyboard", legacy=False)
def virtio_keyboard(p: Plug) -> VirtioDevice:
    """A keyboard; what is typed for a person goes to it where the board has none."""
    from devices.keymap import type_text
    from devices.virtio.input import KEYBOARD, Input

    m = p.machine
    made = Input(**p.virtio(), model=KEYBOARD)

    def accept(data: bytes) -> int:
        try:
            (codes,) = type_text(chr(data[0]))
        except ValueError:
            return 1  # no key types this
        return int(made.key_scancode(codes))

    if m.name != "pc" and "keyboard" not in m.inputs.channels:
        channel = m.inputs.channel("keyboard", accept, retry=KEY_INTERVAL, at_once=1)
        m.type_keys = lambda text: channel.put(text.encode("latin-1", "replace"))
    return made


@virtio("tablet", "pointer with absolute coordinates", legacy=False)
def virtio_tablet(p: Plug) -> VirtioDevice:
    """A tablet."""
    from devices.virtio.input import TABLET, Input

    return Input(**p.virtio(), model=TABLET)


# -- directories


@virtio("9p", "directory of the host", {"fsdev": "id of an -fsdev", "mount_tag": "name to mount it by"})
def virtio_9p(p: Plug) -> VirtioDevice:
    """A shared directory."""
    from devices.virtio.p9 import P9

    fsdevs = p.setup.config.fsdevs
    wanted = p.text("fsdev")
    if not wanted:
        raise p.wrong("expected fsdev=ID of an -fsdev")
    if wanted not in fsdevs:
        raise unknown("fsdev", wanted, fsdevs)
    return P9(**p.virtio(), server=_server(p, fsdevs[wanted]), tag=p.text("mount_tag").encode())


def _server(p: Plug, directory: FsDev) -> FileServer:
    from devices.p9 import Share

    share: Share | None = None
    try:
        if p.setup.config.replay is None:
            share = Share(directory.path, read_only=directory.read_only, security=directory.security)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{shown(directory.path)}: expected a directory to share, found {reason}") from None
    inputs = p.machine.inputs
    inputs.decision(p.key)

    class Recorded:
        """The directory behind the gate: a replay does not look at it."""

        def answer(self, request: bytes, room: int) -> bytes:
            return inputs.decide(p.key, b"", lambda: share.answer(request, room) if share is not None else b"")

        def forget(self) -> None:
            if share is not None:
                share.forget()

    return Recorded()
