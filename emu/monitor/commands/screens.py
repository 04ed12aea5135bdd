"""Who shows the screen: the VNC servers and their passwords."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emu.monitor.registry import Refused, hmp, info, qmp

if TYPE_CHECKING:
    from emu.display.vnc import Server
    from emu.monitor.control import Control


def _servers(control: Control) -> list[Server]:
    return [display for display in control.displays if hasattr(display, "change_password")]


@info("vnc", "show the vnc server status")
def info_vnc(control: Control) -> str:
    servers = _servers(control)
    lines = []
    for number, server in enumerate(servers):
        lines += ["default:" if number == 0 else f"vnc{number}:", f"  Server: address: {server.address}"]
        lines.append(f"    Auth: {'vnc' if server.wants_password else 'none'} (Sub: none)")
        lines += [f"  Client: {client.peer}" for client in server.clients]
    return "\n".join([*lines, ""]) if servers else "None\n"


@qmp("query-vnc")
def query_vnc(control: Control) -> dict[str, Any]:
    servers = _servers(control)
    if not servers:
        return {"enabled": False}
    server = servers[0]
    host, _, service = server.address.rpartition(":")
    family = "unix" if server.path else "ipv6" if ":" in host else "ipv4"
    clients = [{"host": client.peer, "service": "", "family": family, "websocket": False} for client in server.clients]
    auth = "vnc" if server.wants_password else "none"
    return {"enabled": True, "host": host, "service": service, "family": family, "auth": auth, "clients": clients}


@hmp("set_password", "protocol:w password:w rest:r?", "protocol password", "set the password of the vnc server")
def set_password_line(control: Control, protocol: str, password: str, rest: str = "") -> None:
    set_password(control, protocol, password)


@qmp("set_password")
def set_password(control: Control, protocol: str, password: str, connected: str = "keep", display: str = "") -> None:
    if protocol != "vnc":
        raise Refused(f"Parameter 'protocol' does not accept value '{protocol[:40]}'")
    change_vnc_password(control, password)


@qmp("change-vnc-password")
def change_vnc_password(control: Control, password: str) -> None:
    servers = [server for server in _servers(control) if server.wants_password]
    if not servers:
        raise Refused("There is no vnc server with password=on")
    for server in servers:
        server.change_password(password.encode())


def change_vnc(control: Control, what: str, value: str) -> None:
    """`change vnc password SECRET`."""
    if what not in ("password", "passwd") or not value:
        raise Refused("Expected change vnc password SECRET")
    change_vnc_password(control, value)
