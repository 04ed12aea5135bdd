"""-netdev socket, stream and dgram: the frames of one wire over a socket of the host, as QEMU's of these names.

On a byte stream (TCP, unix) a frame stands behind its length, four bytes, big-endian. On UDP and multicast a frame is
a datagram. Two machines, of Emu or of QEMU, are thus on one wire; with multicast any number. Without a host name
sockets are on 127.0.0.1, and a multicast group stays on the loopback interface.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import struct
from collections.abc import Callable, Sequence

from devices.ethernet import LARGEST
from emu.chardev import at_once
from emu.clock import wall
from emu.net.wire import Backend, OpenBackend
from emu.options import UsageError, number, shown, switch

SOCKET = {
    "listen": "[HOST]:PORT to wait at",
    "connect": "HOST:PORT of a machine that listens",
    "mcast": "GROUP:PORT of a multicast group",
    "udp": "HOST:PORT to send to",
    "localaddr": "address of the interface (mcast), HOST:PORT to receive at (udp)",
}
STREAM = {
    "addr.type": "unix or inet",
    "addr.path": "path of the unix socket",
    "addr.host": "host (default 127.0.0.1)",
    "addr.port": "port",
    "server": "on: wait for the other one",
    "reconnect": "seconds until a client tries again",
}
UNIX = {"path": "path of the unix socket", "server": "on: wait for the other one", "reconnect": STREAM["reconnect"]}
UNSENT = 1 << 20
"""Bytes that may wait for the peer; frames beyond that are lost."""
AT_ONCE = 1 << 18
DATAGRAMS_AT_ONCE = 64
CONNECT_SECONDS = 5.0
INITIAL = struct.Struct(">I")

Address = tuple[str, int] | str


def host_port(text: str, what: str, default: str = "127.0.0.1") -> tuple[str, int]:
    """`[HOST]:PORT`. Raises UsageError."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit():
        raise UsageError(f"{what}: expected HOST:PORT, found '{shown(text)}'")
    return host or default, number(port, what, 1, 65535)


def _why(error: OSError) -> str:
    return error.strerror or str(error)


class Stream(Backend):
    """One peer over TCP or a unix socket. Who listens takes the next peer when one has gone."""

    kind = "stream"

    def __init__(
        self,
        name: str,
        address: Address,
        *,
        server: bool,
        say: Callable[[str], None],
        reconnect: float | None = None,
        what: str = "",
    ) -> None:
        super().__init__(name)
        self.address = address
        self._say = say
        self._what = what or f"netdev {shown(name)}"
        self._reconnect = reconnect
        self._next_try = 0.0
        self._listener: socket.socket | None = None
        self._peer: socket.socket | None = None
        self._out = bytearray()
        self._in = bytearray()
        self._last = 0.0
        self._path = ""
        self._server = server
        try:
            if server:
                self._listener = self._listen()
            else:
                self._peer = self._connect(CONNECT_SECONDS)
        except OSError as error:
            if server or reconnect is None:
                verb = "listen at" if server else "connect to"
                raise UsageError(f"{self._what}: cannot {verb} {self._place}: {_why(error)}") from None
            self._next_try = wall() + reconnect

    @property
    def _place(self) -> str:
        return shown(self.address) if isinstance(self.address, str) else f"{self.address[0]}:{self.address[1]}"

    @property
    def _family(self) -> socket.AddressFamily:
        if isinstance(self.address, str):
            return socket.AF_UNIX
        return socket.AF_INET6 if ":" in self.address[0] else socket.AF_INET

    def _listen(self) -> socket.socket:
        made = socket.socket(self._family, socket.SOCK_STREAM)
        try:
            if isinstance(self.address, str):
                old = os.umask(0o177)
                try:
                    made.bind(self.address)
                finally:
                    os.umask(old)
                self._path = self.address
            else:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                made.bind(self.address)
            made.listen(1)
            made.setblocking(False)
        except OSError:
            made.close()
            raise
        return made

    def _connect(self, seconds: float) -> socket.socket:
        made = socket.socket(self._family, socket.SOCK_STREAM)
        try:
            made.settimeout(seconds)
            made.connect(self.address)
            self._adopt(made)
        except OSError:
            made.close()
            raise
        return made

    def _adopt(self, peer: socket.socket) -> None:
        at_once(peer)
        self._in.clear()
        self._out.clear()

    def send(self, frame: bytes) -> None:
        peer = self._peer
        if peer is None:
            return
        if self._out:
            if len(self._out) + len(frame) <= UNSENT:
                self._out += INITIAL.pack(len(frame)) + frame
                self._flush()
            return
        data = INITIAL.pack(len(frame)) + frame
        try:
            done = peer.send(data)
        except BlockingIOError:
            done = 0
        except OSError:
            self._hang_up()
            return
        self._last = wall()
        if done < len(data):
            self._out += data[done:]

    def _flush(self) -> None:
        try:
            while self._out and self._peer is not None:
                del self._out[: self._peer.send(self._out)]
        except BlockingIOError:
            pass
        except OSError:
            self._hang_up()

    @property
    def live(self) -> bool:
        return self._peer is not None or self._listener is not None or self._reconnect is not None

    @property
    def busy(self) -> bool:
        return self._peer is not None

    def descriptors(self) -> tuple[list[int], list[int]]:
        if self._peer is None:
            return [] if self._listener is None else [self._listener.fileno()], []
        fd = self._peer.fileno()
        return [] if self.full() else [fd], [fd] if self._out else []

    def timeout(self) -> float | None:
        if self._peer is None and self._listener is None and self._reconnect is not None:
            return max(0.0, self._next_try - wall())
        return None

    def poll(self) -> None:
        if self._peer is None and not self._meet():
            return
        if self._out:
            self._flush()
        if self._peer is None or self.full():
            return
        try:
            data = self._peer.recv(AT_ONCE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._hang_up()
            return
        self._in += data
        self._take()

    def _meet(self) -> bool:
        """A new peer, if there is one."""
        try:
            if self._listener is not None:
                self._peer, _ = self._listener.accept()
                self._adopt(self._peer)
            elif self._reconnect is not None and wall() >= self._next_try:
                self._next_try = wall() + self._reconnect
                self._peer = self._connect(0.2)
        except OSError:
            self._peer = None
        return self._peer is not None

    def _take(self) -> None:
        """Deliver the whole frames that have come."""
        buffer, at = self._in, 0
        while len(buffer) - at >= 4:
            (length,) = INITIAL.unpack_from(buffer, at)
            if not 0 < length <= LARGEST:
                self._say(f"{self._what}: the peer at {self._place} sends a frame of {length} bytes; hung up")
                self._hang_up()
                return
            if len(buffer) - at - 4 < length:
                break
            self.deliver(bytes(buffer[at + 4 : at + 4 + length]))
            at += 4 + length
        del buffer[:at]

    def _hang_up(self) -> None:
        if self._peer is not None:
            self._peer.close()
            self._peer = None
        self._out.clear()
        self._in.clear()
        if self._reconnect is not None:
            self._next_try = wall() + self._reconnect

    def close(self) -> None:
        self._hang_up()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            if self._path:
                try:
                    os.unlink(self._path)
                except OSError:
                    pass

    def describe(self) -> str:
        return (
            f"{'listen' if self._server else 'connect'}={self._place},{'connected' if self._peer else 'not connected'}"
        )


class Datagrams(OpenBackend):
    """One frame a datagram, to a peer or to a multicast group. Frames of ours that come back are dropped."""

    kind = "dgram"

    def __init__(
        self,
        name: str,
        target: tuple[str, int],
        local: tuple[str, int],
        *,
        group: bool,
        what: str = "",
    ) -> None:
        super().__init__(name)
        self.target = target
        self._group = group
        self._last = 0.0
        self._receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        # A socket of its own for sending tells our own datagrams from those of the others.
        self._sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM) if group else self._receiver
        try:
            if group:
                self._receiver.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                self._receiver.bind(target)
                self._sender.bind((local[0], 0))
                membership = socket.inet_aton(target[0]) + socket.inet_aton(local[0])
                self._receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
                self._sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(local[0]))
                self._sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
                self._sender.setblocking(False)
            else:
                self._receiver.bind(local)
            self._receiver.setblocking(False)
        except OSError as error:
            self.close()
            where = f"{target[0]}:{target[1]}" if group else f"{local[0]}:{local[1]}"
            raise UsageError(f"{what}: {where}: {_why(error)}") from None
        self._own = self._sender.getsockname() if group else None

    def send(self, frame: bytes) -> None:
        try:
            self._sender.sendto(frame, self.target)
            self._last = wall()
        except OSError:
            pass

    def descriptors(self) -> tuple[list[int], list[int]]:
        return [] if self.full() else [self._receiver.fileno()], []

    def poll(self) -> None:
        for _ in range(DATAGRAMS_AT_ONCE):
            if self.full():
                return
            try:
                frame, source = self._receiver.recvfrom(LARGEST)
            except OSError as error:
                if error.errno == errno.ECONNREFUSED:
                    continue
                return
            if frame and source != self._own and (self._group or source == self.target):
                self.deliver(frame)

    def close(self) -> None:
        self._receiver.close()
        self._sender.close()

    def describe(self) -> str:
        return f"{'mcast' if self._group else 'udp'}={self.target[0]}:{self.target[1]}"


def _numeric(host: str, what: str) -> str:
    try:
        return socket.gethostbyname(host)
    except (OSError, UnicodeError):
        raise UsageError(f"{what}: unknown host {shown(host)}") from None


def make_socket(name: str, props: Sequence[tuple[str, str]], say: Callable[[str], None]) -> Backend:
    """-netdev socket. Raises UsageError."""
    what = f"-netdev socket,id={shown(name)}"
    last = dict(props)
    ways = [key for key in ("listen", "connect", "mcast", "udp") if key in last]
    if len(ways) != 1:
        raise UsageError(f"{what}: expected one of listen=, connect=, mcast=, udp=")
    way = ways[0]
    host, port = host_port(last[way], f"{what}: {way}")
    if way in ("listen", "connect"):
        if "localaddr" in last:
            raise UsageError(f"{what}: localaddr goes with mcast= and udp=")
        return Stream(name, (host, port), server=way == "listen", say=say, what=what)
    target = (_numeric(host, what), port)
    if way == "mcast":
        if not re.match(r"2(2[4-9]|3[0-9])\.", target[0]):
            raise UsageError(f"{what}: mcast: {shown(host)} is no multicast group (224.0.0.0 to 239.255.255.255)")
        local = (_numeric(last.get("localaddr", "127.0.0.1"), what), 0)
    elif "localaddr" not in last:
        raise UsageError(f"{what}: udp= needs localaddr=HOST:PORT")
    else:
        local_host, local_port = host_port(last["localaddr"], f"{what}: localaddr")
        local = (_numeric(local_host, what), local_port)
    return Datagrams(name, target, local, group=way == "mcast", what=what)


def _reconnect(last: dict[str, str], what: str) -> float | None:
    seconds = number(last.get("reconnect", "0"), f"{what}: reconnect", 0, 86400)
    return float(seconds) or None


def make_stream(name: str, props: Sequence[tuple[str, str]], say: Callable[[str], None]) -> Backend:
    """-netdev stream, whose address is given in parts. Raises UsageError."""
    what = f"-netdev stream,id={shown(name)}"
    last = dict(props)
    kind = last.get("addr.type", "unix" if "addr.path" in last else "inet")
    address: Address
    if kind == "unix":
        if not last.get("addr.path"):
            raise UsageError(f"{what}: expected addr.path=PATH")
        address = last["addr.path"]
    elif kind == "inet":
        host = last.get("addr.host", "127.0.0.1")
        address = (host, number(last.get("addr.port", ""), f"{what}: addr.port", 1, 65535))
    else:
        raise UsageError(f"{what}: addr.type: expected unix or inet, found '{shown(kind)}'")
    server = switch(last.get("server", "off"), f"{what}: server")
    return Stream(name, address, server=server, say=say, reconnect=_reconnect(last, what), what=what)


def make_unix(name: str, props: Sequence[tuple[str, str]], say: Callable[[str], None]) -> Backend:
    """-netdev unix, the short form. Raises UsageError."""
    what = f"-netdev unix,id={shown(name)}"
    last = dict(props)
    if not last.get("path"):
        raise UsageError(f"{what}: expected path=PATH")
    server = switch(last.get("server", "off"), f"{what}: server")
    return Stream(name, last["path"], server=server, say=say, reconnect=_reconnect(last, what), what=what)
