"""-netdev user: a network of its own behind the host's sockets, by libslirp. Needs no rights and no set-up.

The guest finds a router and DHCP server (10.0.2.2), a name server (.3) and its own address (.15). What it opens
becomes sockets of this process, so it reaches what this process reaches: 10.0.2.2 is the host's own loopback
(`host-loopback=off` or `restrict=on` forbid it). Nothing outside reaches the guest but `hostfwd`, which listens on
127.0.0.1 unless told otherwise. No program is ever run: `smb` and `guestfwd=...-cmd:` are refused.

What the stack answers by itself (ARP, DHCP, ping of the router, TFTP) comes while the guest sends, so it is the same in
each run. Its TCP timers run on the wall; the one of IPv6 router advertisements, which nobody asks for, on virtual time.
"""

from __future__ import annotations

import ipaddress
import os
import re
import select
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from emu.engine import slirp
from emu.net.wire import Backend
from emu.options import UsageError, number, shown, switch

if TYPE_CHECKING:
    from emu.clock import Clock, Timer

PROPERTIES = {
    "net": "network of the guest (default 10.0.2.0/24)",
    "host": "address of the router (default .2)",
    "dns": "address of the name server (default .3)",
    "dhcpstart": "first address that DHCP gives (default .15)",
    "hostname": "name of the guest, by DHCP",
    "domainname": "its domain",
    "dnssearch": "domain to search, may be repeated",
    "restrict": "on: the guest reaches nothing outside",
    "host-loopback": "off: the router's address does not lead to the host's loopback",
    "ipv4": "on or off",
    "ipv6": "on or off",
    "ipv6-net": "prefix (default fec0::/64)",
    "ipv6-prefix": "the same without length",
    "ipv6-prefixlen": "its length",
    "ipv6-host": "address of the router",
    "ipv6-dns": "address of the name server",
    "tftp": "directory that the guest may read by TFTP",
    "tftp-server-name": "name of the TFTP server, by DHCP",
    "bootfile": "file to boot, by DHCP",
    "hostfwd": "[tcp|udp]:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT, may be repeated",
    "guestfwd": "tcp:ADDR:PORT-unix:PATH or -tcp:HOST:PORT, may be repeated",
}
ADVERTISEMENT_INTERVAL = 400_000_000_000
"""Virtual ns between two router advertisements: the middle of what the stack draws by chance."""
RECEIVE = 65536
FORWARD = re.compile(r"(tcp|udp)?:([^:]*):([0-9]{1,5})-([^:]*):([0-9]{1,5})")
GUEST_FORWARD = re.compile(r"(?:(tcp):)?([0-9.]+):([0-9]{1,5})-(.+)")


def _ipv4(text: str, what: str) -> ipaddress.IPv4Address:
    try:
        return ipaddress.IPv4Address(text)
    except ValueError:
        raise UsageError(f"{what}: expected an IPv4 address, found '{shown(text)}'") from None


def _ipv6(text: str, what: str) -> ipaddress.IPv6Address:
    try:
        return ipaddress.IPv6Address(text)
    except ValueError:
        raise UsageError(f"{what}: expected an IPv6 address, found '{shown(text)}'") from None


def _network(text: str, what: str) -> ipaddress.IPv4Network:
    """`10.0.2.0/24`, with a dotted mask, or with the mask of its class."""
    address, slash, mask = text.partition("/")
    first = int(_ipv4(address, what)) >> 24
    if not slash:
        mask = "8" if first < 128 else "16" if first < 192 else "24"
    try:
        network = ipaddress.IPv4Network(f"{address}/{mask}", strict=False)
    except ValueError:
        raise UsageError(f"{what}: expected a network such as 10.0.2.0/24, found '{shown(text)}'") from None
    if not 4 <= network.prefixlen <= 28:
        raise UsageError(f"{what}: expected a mask of 4 to 28 bits, found '{shown(text)}'")
    return network


def settings(name: str, props: Sequence[tuple[str, str]]) -> slirp.Settings:
    """The stack's settings from the properties of -netdev user. Raises UsageError."""
    what = f"-netdev user,id={shown(name)}"
    last = dict(props)
    network = _network(last.get("net", "10.0.2.0/24"), f"{what}: net")
    base = network.network_address

    def inside(key: str, offset: int) -> str:
        address = _ipv4(last[key], f"{what}: {key}") if key in last else base + offset
        if address not in network or address in (base, network.broadcast_address):
            raise UsageError(f"{what}: {key}: {address} is not an address in {network}")
        return str(address)

    host, dns, start = inside("host", 2), inside("dns", 3), inside("dhcpstart", min(15, network.num_addresses - 2))
    if len({host, dns, start}) < 3:
        raise UsageError(f"{what}: host, dns and dhcpstart: expected three different addresses")
    prefix, _, length = last.get("ipv6-net", "fec0::/64").partition("/")
    prefix6 = _ipv6(last.get("ipv6-prefix", prefix), f"{what}: ipv6-prefix")
    bits = number(last.get("ipv6-prefixlen", length or "64"), f"{what}: ipv6-prefixlen", 0, 126)
    mask = (1 << 128) - (1 << 128 - bits)
    base6 = ipaddress.IPv6Address(int(prefix6) & mask)

    def inside6(key: str, offset: int) -> str:
        address = _ipv6(last[key], f"{what}: {key}") if key in last else base6 + offset
        if int(address) & mask != int(base6):
            raise UsageError(f"{what}: {key}: {address} is not in {base6}/{bits}")
        return str(address)

    tftp = last.get("tftp")
    if tftp is not None and not os.path.isdir(tftp):
        raise UsageError(f"{what}: tftp={shown(tftp)}: expected a directory")
    for key in ("hostname", "domainname", "tftp-server-name", "bootfile"):
        if len(last.get(key, "").encode("utf-8", "surrogateescape")) > (32 if key == "hostname" else 127):
            raise UsageError(f"{what}: {key}: too long for DHCP")
    return slirp.Settings(
        network=str(base),
        netmask=str(network.netmask),
        host=host,
        dhcp_start=start,
        dns=dns,
        restricted=switch(last.get("restrict", "off"), f"{what}: restrict"),
        ipv4=switch(last.get("ipv4", "on"), f"{what}: ipv4"),
        ipv6=switch(last.get("ipv6", "on"), f"{what}: ipv6"),
        prefix6=str(base6),
        prefix6_length=bits,
        host6=inside6("ipv6-host", 2),
        dns6=inside6("ipv6-dns", 3),
        hostname=last.get("hostname"),
        domainname=last.get("domainname"),
        dnssearch=[value for key, value in props if key == "dnssearch"],
        tftp=tftp,
        tftp_server_name=last.get("tftp-server-name"),
        bootfile=last.get("bootfile"),
        no_host_loopback=not switch(last.get("host-loopback", "on"), f"{what}: host-loopback"),
    )


def forward(text: str, what: str) -> tuple[bool, str, int, str, int]:
    """(UDP, host address, host port, guest address, guest port) of a hostfwd rule. Raises UsageError."""
    match = FORWARD.fullmatch(text)
    if match is None:
        raise UsageError(f"{what}: expected [tcp|udp]:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT, found '{shown(text)}'")
    host = "127.0.0.1" if match[2] in ("", "localhost") else str(_ipv4(match[2], what))
    guest = "0.0.0.0" if not match[4] else str(_ipv4(match[4], what))
    return (
        match[1] == "udp",
        host,
        number(match[3], what, 1, 65535),
        guest,
        number(match[5], what, 1, 65535),
    )


class GuestForward:
    """A TCP port of the virtual network that leads to one of the host, connected when the guest first sends."""

    def __init__(self, stack: slirp.Slirp, guest: str, port: int, target: tuple[str, int], say: Callable[[str], None]):
        self.stack, self.guest, self.port, self.target = stack, guest, port, target
        self._say = say
        self._socket: socket.socket | None = None
        self._unsent = bytearray()
        stack.add_guestfwd(guest, port, self._write)

    def _write(self, data: bytes) -> None:
        if self._socket is None:
            try:
                made = socket.create_connection(self.target, 2.0)
                made.setblocking(False)
            except OSError as error:
                self._say(f"guestfwd to {self.target[0]}:{self.target[1]}: {error.strerror or error}")
                return
            self._socket = made
        self._unsent += data
        self._flush()

    def _flush(self) -> None:
        try:
            if self._socket is not None and self._unsent:
                del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self.close()

    def descriptors(self) -> tuple[list[int], list[int]]:
        """What to wait for."""
        if self._socket is None:
            return [], []
        fd = self._socket.fileno()
        return [fd] if self.stack.room(self.guest, self.port) else [], [fd] if self._unsent else []

    def poll(self) -> None:
        """Pass on what the host sends."""
        self._flush()
        room = self.stack.room(self.guest, self.port) if self._socket is not None else 0
        if self._socket is None or not room:
            return
        try:
            data = self._socket.recv(min(room, RECEIVE))
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self.stack.give(self.guest, self.port, data)
        else:
            self.close()

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self._unsent.clear()


class User(Backend):
    """One stack."""

    kind = "user"
    takes_large = trusted = True

    def __init__(self, name: str, props: Sequence[tuple[str, str]], say: Callable[[str], None]) -> None:
        super().__init__(name)
        self.settings = settings(name, props)
        self._say = say
        self._closed = False
        self._lent = False
        self._network = ipaddress.IPv4Network(f"{self.settings.network}/{self.settings.netmask}")
        self._pinged = self.settings.restricted
        self._listening = 0
        self._advertise_at: int | None = None
        self._timer: Timer | None = None
        self._clock: Clock | None = None
        self._filled: tuple[list[tuple[int, int]], float | None] | None = None
        self.forwards: list[GuestForward] = []
        what = f"-netdev user,id={shown(name)}"
        rules = [forward(value, f"{what}: hostfwd") for key, value in props if key == "hostfwd"]
        guests = [(value, self._guest_rule(what, value)) for key, value in props if key == "guestfwd"]
        try:
            self.stack = slirp.Slirp(self.settings, timer=self._wish)
        except slirp.Missing as error:
            raise UsageError(f"{what}: needs libslirp (Debian: libslirp0): {shown(str(error))}") from None
        except ValueError as error:
            raise UsageError(f"{what}: {error}") from None
        for rule in rules:
            self.add_forward(rule, f"{what}: hostfwd")
        for text, (guest, port, kind, target) in guests:
            try:
                if kind == "unix":
                    self.stack.add_unix(guest, port, str(target))
                elif isinstance(target, tuple):
                    self.forwards.append(GuestForward(self.stack, guest, port, target, say))
            except ValueError as error:
                raise UsageError(f"{what}: guestfwd={shown(text)}: {error}") from None

    def _guest_rule(self, what: str, text: str) -> tuple[str, int, str, str | tuple[str, int]]:
        match = GUEST_FORWARD.fullmatch(text)
        if match is None:
            raise UsageError(
                f"{what}: guestfwd: expected tcp:ADDR:PORT-unix:PATH or -tcp:HOST:PORT, found '{shown(text)}'"
            )
        guest, port = str(_ipv4(match[2], f"{what}: guestfwd")), number(match[3], f"{what}: guestfwd", 1, 65535)
        target = match[4]
        if target.startswith("unix:") and len(target) > 5:
            return guest, port, "unix", target[5:]
        if found := re.fullmatch(r"tcp:([^:]+):([0-9]{1,5})(?:,.*)?", target):
            return guest, port, "tcp", (found[1], number(found[2], f"{what}: guestfwd", 1, 65535))
        if target.startswith("cmd:"):
            raise UsageError(f"{what}: guestfwd: cmd: is refused: no option of Emu runs a program")
        raise UsageError(f"{what}: guestfwd: expected unix:PATH or tcp:HOST:PORT, found '{shown(target)}'")

    # -- forwarding, also from the monitor

    def add_forward(self, rule: tuple[bool, str, int, str, int], what: str) -> None:
        """Listen for a rule of `forward`. Raises UsageError."""
        udp, host, port, guest, guest_port = rule
        try:
            self.stack.add_hostfwd(udp, host, port, guest, guest_port)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else "not in the network of the guest"
            raise UsageError(f"{what}: {'udp' if udp else 'tcp'} port {port} on {host}: {reason}") from None
        self._listening += 1
        self._filled = None

    def remove_forward(self, udp: bool, host: str, port: int) -> bool:
        """Stop listening. False if there is no such rule."""
        done: bool = self.stack.remove_hostfwd(udp, host, port)
        self._listening -= done
        self._filled = None
        return done

    # -- time

    def connect_clock(self, clock: Clock) -> None:
        """Router advertisements come by virtual time from now."""
        self._clock = clock
        self._timer = clock.timer(f"router advertisement {self.name}", self._advertise, background=True)
        if self._advertise_at is not None:
            self._timer.arm(clock.now() + ADVERTISEMENT_INTERVAL)

    def _wish(self, expire: int | None) -> None:
        self._advertise_at = expire
        if self._timer is not None and self._clock is not None:
            if expire is None:
                self._timer.cancel()
            else:
                self._timer.arm(self._clock.now() + ADVERTISEMENT_INTERVAL)

    def _advertise(self) -> None:
        if not self._closed:
            self.stack.router_advertisement()
            self._bring()

    # -- frames

    def _bring(self) -> None:
        """Hand over what the stack has for the card, unless a processor takes it by itself."""
        if not self._lent:
            for frame in self._waiting():
                self.deliver(frame)

    def send(self, frame: bytes) -> None:
        """A frame from the card."""
        self._filled = None
        if not self._lent:
            self.stack.frames.join(self.joined())
        if not self._pinged and frame[12:14] == b"\x08\x00" and frame[23:24] == b"\x01":
            self._look_at_ping(frame)
        self.stack.input(frame)
        self._bring()

    def _look_at_ping(self, frame: bytes) -> None:
        """Say once why a ping of somebody outside gets no answer."""
        address = ipaddress.IPv4Address(frame[30:34]) if len(frame) >= 35 else None
        if address is None or address in self._network or address.is_multicast or frame[34] != 8:
            return
        self._pinged = True
        try:
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP).close()
        except OSError:
            self._say(
                f"netdev {shown(self.name)}: the guest pings {address}, and this host does not let us send ICMP: "
                "sysctl net.ipv4.ping_group_range='0 2147483647' allows it"
            )

    # -- a loan to the processor

    def lends(self) -> bool:
        return not self._closed and not self.forwards

    def lend(self) -> int | None:
        self._lent = True
        frames = self.stack.frames
        frames.join(self.joined())
        frames.wire.listening = self._listening
        return frames.address

    def moved(self) -> tuple[int, int]:
        wire = self.stack.frames.wire
        return int(wire.sent), int(wire.came)

    def take_back(self) -> Iterator[bytes]:
        self._lent = False
        return self._waiting()

    def _waiting(self) -> Iterator[bytes]:
        frames = self.stack.frames
        while (frame := frames.take()) is not None:
            yield frame

    # -- the outside

    def _fill(self) -> tuple[list[tuple[int, int]], float | None]:
        if self._filled is None:
            self._filled = self.stack.fill()
        return self._filled

    @property
    def live(self) -> bool:
        """Somebody may connect to a forwarded port."""
        return self._listening > 0 or self.busy

    @property
    def busy(self) -> bool:
        """The stack has sockets for the guest, or connections that wait: it asks for its timers then."""
        fds, seconds = self._fill()
        return len(fds) > self._listening or seconds is not None

    def descriptors(self) -> tuple[list[int], list[int]]:
        readers: list[int] = []
        writers: list[int] = []
        if self.full():
            return readers, writers
        for fd, events in self._fill()[0]:
            if events & (select.POLLIN | select.POLLPRI):
                readers.append(fd)
            if events & select.POLLOUT:
                writers.append(fd)
        for forward in self.forwards:
            more, out = forward.descriptors()
            readers += more
            writers += out
        return readers, writers

    def timeout(self) -> float | None:
        return self._fill()[1]

    def poll(self) -> None:
        if self.full():
            return
        self._filled = None
        if not self._lent:
            self.stack.frames.join(self.joined())
        self.stack.look()
        self._bring()
        for forward in self.forwards:
            forward.poll()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            for forward in self.forwards:
                forward.close()
            self.stack.close()

    def describe(self) -> str:
        return f"net={self.settings.network},restrict={'on' if self.settings.restricted else 'off'}"
