"""The network: what is connected, forwarded ports, links."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from emu.monitor.registry import Refused, hmp, info, qmp
from emu.options import UsageError, shown

if TYPE_CHECKING:
    from emu.monitor.control import Control
    from emu.net.user import User


@info("network", "show the network state")
def info_network(control: Control) -> str:
    return "" if control.network is None else "".join(f"{line}\n" for line in control.network.describe())


def _stacks(control: Control) -> dict[str, User]:
    if control.network is None:
        return {}
    from emu.net.user import User

    return {name: wire.backend for name, wire in control.network.wires.items() if isinstance(wire.backend, User)}


@info("usernet", "show user network stack connection states")
def info_usernet(control: Control) -> str:
    lines = []
    for name, stack in _stacks(control).items():
        lines.append(f"Hub -1 ({shown(name)}):")
        lines += stack.stack.connections().rstrip("\n").split("\n")
    return "".join(f"{line}\n" for line in lines)


def _stack(control: Control, name: str) -> User:
    stacks = _stacks(control)
    if name:
        if name not in stacks:
            raise Refused(f"unrecognized netdev id '{name[:100]}'")
        return stacks[name]
    if not stacks:
        raise Refused("user mode network stack not in use")
    return next(iter(stacks.values()))


@hmp(
    "hostfwd_add",
    "first:w second:w?",
    "[netdev_id] [tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport",
    "redirect TCP or UDP connections from host to guest",
)
def hostfwd_add(control: Control, first: str, second: str = "") -> None:
    from emu.net.user import forward

    stack = _stack(control, first if second else "")
    try:
        stack.add_forward(forward(second or first, "hostfwd_add"), "hostfwd_add")
    except UsageError as error:
        raise Refused(str(error)) from None


@hmp(
    "hostfwd_remove",
    "first:w second:w?",
    "[netdev_id] [tcp|udp]:[hostaddr]:hostport",
    "remove host-to-guest TCP or UDP redirection",
)
def hostfwd_remove(control: Control, first: str, second: str = "") -> str:
    from emu.net.user import forward

    rule = second or first
    stack = _stack(control, first if second else "")
    try:
        udp, host, port, _, _ = forward(f"{rule}-:1", "hostfwd_remove")
    except UsageError:
        raise Refused("invalid format") from None
    gone = stack.remove_forward(udp, host, port)
    return f"host forwarding rule for {shown(rule)} {'removed' if gone else 'not found'}\n"


@hmp("set_link", "name:w up:b", "name on|off", "change the link status of a network adapter")
@qmp("set_link")
def set_link(control: Control, name: str, up: bool) -> None:
    control.actions.do("link", _card(control, name), up)


def _card(control: Control, name: str) -> str:
    """The key of the device that a person means: by its id, its netdev's, or `NAME.ORDER`. Raises Refused."""
    wanted = {name}
    for device, props in control.config.devices:
        if name in (props.get("id"), props.get("netdev")) and props.get("id"):
            wanted.add(f"{device}.{props['id']}")
        elif name == props.get("netdev"):
            wanted |= {key for key in control.machine.devices if re.match(rf"{re.escape(device)}\.[0-9]+(-|$)", key)}
    for key, found in control.machine.devices.items():
        if hasattr(found, "set_link") and any(key == one or key.startswith(f"{one}-") for one in wanted):
            return key
    if name in wanted and any(
        key == one or key.startswith(f"{one}-") for key in control.machine.devices for one in wanted
    ):
        raise Refused(f"The link of '{name[:100]}' cannot be changed")
    raise Refused(f"Device '{name[:100]}' not found", "DeviceNotFound")


@qmp("query-network-wires")
def query_wires(control: Control) -> list[dict[str, Any]]:
    if control.network is None:
        return []
    return [{"id": name, "info": wire.describe()} for name, wire in control.network.wires.items()]


@hmp("netdev_add", "text:r", "[user|socket|...],id=str[,prop=value][,...]", "add host network device")
@hmp("netdev_del", "text:w", "id", "remove host network device")
def netdev(control: Control, text: str) -> None:
    raise Refused("Network back ends cannot be added or removed while the machine runs")
