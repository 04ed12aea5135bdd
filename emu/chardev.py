"""Host ends of byte streams: what -chardev, -serial, -monitor and -qmp name.

A `Host` is one end outside: a socket, a pseudo terminal, a pipe, a file, a ring buffer, the terminal. Behind it sits
one `Front`: a guest's serial port, a console, a monitor; or a `Mux` with several, of which one has the keyboard.
Nothing blocks: the session asks each host for the descriptors to wait for, and calls `poll`.

A reader that takes nothing costs the guest nothing: what it has not read is kept up to `KEPT` bytes, a reader that is
merely slow is waited for, but not longer than `PATIENCE` seconds in a row, and then output is dropped until it reads
again. Unix sockets are for their owner only; TCP without a host name is localhost.
"""

from __future__ import annotations

import os
import select
import socket
import stat
import termios
from collections.abc import Callable
from typing import Protocol

from emu.clock import wall
from emu.options import Chardev, UsageError, shown
from emu.terminal import Escapes, Terminal

KEPT = 1 << 20
"""Bytes of a guest's output that may wait for their reader."""
PIECE = 4096
PATIENCE = 0.04
PIECE_OF_WAIT = 0.1
FIRST_CONNECT = 10.0
LAST_WORDS = 0.5
"""Seconds that a client has for what it is sent last."""
TELNET_HELLO = b"\xff\xfb\x01\xff\xfb\x03\xff\xfb\x00\xff\xfd\x00"
"""We echo, suppress go-ahead, and both sides send eight bits (RFC 854, 856 to 858)."""
IAC = 0xFF


class Front(Protocol):
    """What sits behind a host end."""

    def room(self) -> int:
        """How many bytes `receive` wants at most; more than that may come and must be kept."""

    def receive(self, data: bytes) -> None:
        """Bytes from outside."""

    def opened(self) -> None:
        """Somebody is at the other end now."""

    def closed(self) -> None:
        """Nobody is any more."""

    def focus(self, here: bool) -> None:
        """A `Mux` gives the keyboard or takes it away."""


class Host:
    """A host end; this one takes everything and gives nothing (`null`)."""

    def __init__(self, spec: Chardev, label: str) -> None:
        self.spec = spec
        self.label = label
        self.front: Front | None = None

    @property
    def filename(self) -> str:
        """What `info chardev` says of it."""
        return self.spec.kind

    @property
    def connected(self) -> bool:
        """Whether somebody reads."""
        return True

    @property
    def live(self) -> bool:
        """Whether something may still come from it."""
        return False

    @property
    def backlog(self) -> int:
        """Bytes that wait for the reader."""
        return 0

    def start(self, stop: Callable[[], bool]) -> None:
        """The front is there, and the run about to begin. `stop` ends a wait for a client."""
        if self.front is not None and self.connected:
            self.front.opened()

    def send(self, data: bytes, *, whole: bool = False) -> None:
        """Bytes for the reader (`devices.contracts.Console`). `whole`: keep all of them, however slow it is."""

    def descriptors(self) -> tuple[list[int], list[int]]:
        """What to wait for: to read and to write."""
        return [], []

    def poll(self) -> None:
        """Do what has come; never blocks."""

    def hang_up(self) -> None:
        """End the connection, where there is one."""

    def close(self) -> None:
        """The run is over."""


class RingHost(Host):
    """The last bytes, for `ringbuf_read`."""

    def __init__(self, spec: Chardev, label: str) -> None:
        super().__init__(spec, label)
        self.kept = bytearray()

    def send(self, data: bytes, *, whole: bool = False) -> None:
        """Keep the newest."""
        self.kept += data[-self.spec.size :]
        del self.kept[: -self.spec.size]

    def take(self, size: int) -> bytes:
        """The oldest `size` bytes, which are then gone."""
        data = bytes(self.kept[:size])
        del self.kept[:size]
        return data


class FileHost(Host):
    """A file that receives output. A write that fails is reported once and the run goes on."""

    def __init__(self, spec: Chardev, label: str, say: Callable[[str], None]) -> None:
        super().__init__(spec, label)
        self._say = say
        self._failed = False
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_APPEND if spec.append else os.O_TRUNC)
        try:
            self._fd = os.open(spec.path, flags, 0o666)
        except (OSError, ValueError) as error:
            raise UsageError(f"{shown(spec.path)}: expected a file to write to: {_why(error)}") from None

    def send(self, data: bytes, *, whole: bool = False) -> None:
        """Write at once."""
        try:
            os.write(self._fd, data)
        except OSError as error:
            if not self._failed:
                self._failed = True
                self._say(f"{shown(self.spec.path)}: {_why(error)}; output is lost from here on")

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


class Stream(Host):
    """Descriptors that do not block."""

    def __init__(self, spec: Chardev, label: str) -> None:
        super().__init__(spec, label)
        self._in = -1
        self._out = -1
        self._waiting = bytearray()
        self._stalled = False
        self.dropped = 0

    @property
    def connected(self) -> bool:
        """See `Host`."""
        return self._out >= 0

    @property
    def live(self) -> bool:
        """See `Host`."""
        return self._in >= 0

    @property
    def backlog(self) -> int:
        """See `Host`."""
        return len(self._waiting)

    def send(self, data: bytes, *, whole: bool = False) -> None:
        """See `Host`, and the module about slow readers."""
        if self._out < 0:
            return
        self._waiting += data
        self._flush()
        if whole or len(self._waiting) <= KEPT:
            return
        end = wall() + PATIENCE
        while len(self._waiting) > KEPT and self._out >= 0 and not self._stalled:
            left = end - wall()
            if left <= 0 or not select.select([], [self._out], [], left)[1]:
                self._stalled = True
            self._flush()
        if len(self._waiting) > KEPT:
            self.dropped += len(self._waiting) - KEPT
            del self._waiting[KEPT:]

    def _flush(self) -> None:
        while self._waiting and self._out >= 0:
            try:
                done = os.write(self._out, self._waiting[: 16 * PIECE])
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self._gone()
                return
            del self._waiting[:done]
            if len(self._waiting) < KEPT // 2:
                self._stalled = False

    def descriptors(self) -> tuple[list[int], list[int]]:
        """See `Host`. A front without room leaves its bytes to the system."""
        wants = self._in >= 0 and (self.front is None or self.front.room() > 0)
        return ([self._in] if wants else []), ([self._out] if self._waiting and self._out >= 0 else [])

    def poll(self) -> None:
        """See `Host`."""
        self._flush()
        if self._in < 0:
            return
        room = PIECE if self.front is None else self.front.room()
        if room <= 0:
            return
        try:
            data = os.read(self._in, min(room, 16 * PIECE))
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._gone()
            return
        self._take(data)

    def _take(self, data: bytes) -> None:
        if self.front is not None and data:
            self.front.receive(data)

    def _gone(self) -> None:
        was = self._in >= 0 or self._out >= 0
        for fd in {self._in, self._out} - {-1}:
            os.close(fd)
        self._in = self._out = -1
        self._waiting.clear()
        self._stalled = False
        if was and self.front is not None:
            self.front.closed()

    def close(self) -> None:
        """See `Host`. The reader has a moment to take what still waits."""
        end = wall() + LAST_WORDS
        self._flush()
        while self._waiting and self._out >= 0 and select.select([], [self._out], [], max(0.0, end - wall()))[1]:
            self._flush()
        self.front = None
        self._gone()


class PipeHost(Stream):
    """Named pipes PATH.in and PATH.out, or PATH for both."""

    def __init__(self, spec: Chardev, label: str) -> None:
        super().__init__(spec, label)
        # Both ways, so that neither end has to be there first and none is an end of file.
        flags = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            if os.path.exists(f"{spec.path}.in"):
                self._in, self._out = os.open(f"{spec.path}.in", flags), os.open(f"{spec.path}.out", flags)
            else:
                self._in = self._out = os.open(spec.path, flags)
        except (OSError, ValueError) as error:
            raise UsageError(f"{shown(spec.path)}: expected a named pipe: {_why(error)}") from None
        for fd in {self._in, self._out}:
            if not stat.S_ISFIFO(os.fstat(fd).st_mode):
                raise UsageError(f"{shown(spec.path)}: expected a named pipe")

    def close(self) -> None:
        """See `Host`."""
        self._flush()
        self.front = None
        self._gone()


class PtyHost(Stream):
    """A pseudo terminal; its name is told."""

    def __init__(self, spec: Chardev, label: str, say: Callable[[str], None]) -> None:
        super().__init__(spec, label)
        try:
            self._in, self._far = os.openpty()
        except OSError as error:
            raise UsageError(f"-chardev pty: no pseudo terminal: {_why(error)}") from None
        self._out = self._in
        os.set_blocking(self._in, False)
        mode = termios.tcgetattr(self._far)
        mode[0] = mode[1] = mode[3] = 0
        termios.tcsetattr(self._far, termios.TCSANOW, mode)
        # Our own hold on the far end keeps reads from failing before and between its users.
        self.path = os.ttyname(self._far)
        say(f"char device redirected to {self.path} (label {label})")

    @property
    def filename(self) -> str:
        """See `Host`."""
        return f"pty:{self.path}"

    def _gone(self) -> None:
        super()._gone()
        if self._far >= 0:
            os.close(self._far)
            self._far = -1


class SocketHost(Stream):
    """A TCP or unix socket: as server one client after the other, or as client."""

    def __init__(self, spec: Chardev, label: str, say: Callable[[str], None]) -> None:
        super().__init__(spec, label)
        self._say = say
        self._listener: socket.socket | None = None
        self._retry_at = 0.0
        self._skip = 0
        if spec.server:
            self._listener = listen(spec)
        elif not self._connect(FIRST_CONNECT) and not spec.reconnect:
            raise UsageError(f"{self._where()}: cannot connect: {self._reason}")

    @property
    def filename(self) -> str:
        """See `Host`."""
        words = "" if not self.spec.server else ",server=on"
        state = "" if self.connected else "disconnected:"
        return f"{state}{self._where()}{words}"

    @property
    def live(self) -> bool:
        """See `Host`."""
        return self._in >= 0 or self._listener is not None or bool(self.spec.reconnect)

    def _where(self) -> str:
        spec = self.spec
        if spec.path:
            return f"unix:{shown(spec.path)}"
        port = spec.port
        if self._listener is not None:
            port = self._listener.getsockname()[1]
        return f"{'telnet' if spec.telnet else 'tcp'}:{spec.host or '127.0.0.1'}:{port}"

    @property
    def port(self) -> int:
        """The TCP port that is listened on; 0 for none."""
        return self._listener.getsockname()[1] if self._listener is not None and not self.spec.path else 0

    def start(self, stop: Callable[[], bool]) -> None:
        """Wait for the client if the command line says so."""
        if self._listener is not None and self.spec.wait:
            self._say(f"waiting for connection on: {self._where()},server=on")
            while self._in < 0 and not stop():
                select.select([self._listener], [], [], PIECE_OF_WAIT)
                self._accept()
        elif self.connected:
            super().start(stop)

    def _connect(self, seconds: float) -> bool:
        self._retry_at = wall() + self.spec.reconnect
        try:
            if self.spec.path:
                sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                where: object = self.spec.path
            else:
                found = socket.getaddrinfo(self.spec.host or "127.0.0.1", self.spec.port, type=socket.SOCK_STREAM)
                family, kind, protocol, _, where = found[0]
                sock = socket.socket(family, kind, protocol)
            sock.settimeout(seconds)
            try:
                sock.connect(where)  # type: ignore[arg-type]
            except OSError:
                sock.close()
                raise
        except (OSError, UnicodeError) as error:
            self._reason = _why(error)
            return False
        self._adopt(sock)
        return True

    def hang_up(self) -> None:
        """See `Host`."""
        self._flush()
        self._gone()

    def _accept(self) -> None:
        if self._listener is None:
            return
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        self._adopt(sock)
        if self.spec.telnet:
            self.send(TELNET_HELLO)
        if self.front is not None:
            self.front.opened()

    def _adopt(self, sock: socket.socket) -> None:
        at_once(sock)
        self._in = self._out = sock.detach()
        self._skip = 0

    def descriptors(self) -> tuple[list[int], list[int]]:
        """See `Host`."""
        if self._in < 0 and self._listener is not None:
            return [self._listener.fileno()], []
        return super().descriptors()

    def poll(self) -> None:
        """See `Host`."""
        if self._in < 0:
            self._accept()
            if self._listener is None and self.spec.reconnect and wall() >= self._retry_at and self._connect(PATIENCE):
                super().start(lambda: True)
        super().poll()

    def _take(self, data: bytes) -> None:
        super()._take(self._without_telnet(data) if self.spec.telnet else data)

    def _without_telnet(self, data: bytes) -> bytes:
        """The bytes without telnet's commands, which are three bytes each here, or two 255 for one."""
        out = bytearray()
        for byte in data:
            if self._skip:
                self._skip = 0 if byte == IAC or (self._skip == 2 and byte < 0xFB) else self._skip - 1
                if byte == IAC:
                    out.append(byte)
            elif byte == IAC:
                self._skip = 2
            else:
                out.append(byte)
        return bytes(out)

    def close(self) -> None:
        """See `Host`."""
        super().close()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            if self.spec.path:
                try:
                    os.unlink(self.spec.path)
                except OSError:
                    pass


def at_once(sock: socket.socket) -> None:
    """A connected socket that never blocks, and does not gather what is small."""
    sock.setblocking(False)
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def listen(spec: Chardev, what: str = "") -> socket.socket:
    """A listening socket that does not block. Raises UsageError in one line, which begins with `what`."""
    where = what or (f"unix:{spec.path}" if spec.path else f"tcp:{spec.host}:{spec.port}")
    try:
        if spec.path:
            return listen_unix(spec.path)
        found = socket.getaddrinfo(spec.host or "127.0.0.1", spec.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(1)
        except OSError:
            sock.close()
            raise
    except (OSError, UnicodeError) as error:
        raise UsageError(f"{shown(where)}: cannot listen there: {_why(error)}") from None
    sock.setblocking(False)
    return sock


def listen_unix(path: str) -> socket.socket:
    """A listening unix socket for its owner only; a socket file behind which nobody listens any more is replaced."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _is_left_over(path):
            os.unlink(path)
        before = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(before)
        sock.listen(1)
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def _is_left_over(path: str) -> bool:
    """Whether there is a socket behind which nobody listens."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return False
    except OSError:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:
            pass
    return False


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


class Mux:
    """Several fronts on one host end: all may write, the one in focus reads; a key goes to the next."""

    def __init__(self, escapes: Escapes | None = None) -> None:
        """`escapes` finds the keys in what comes; None: whoever owns the host end does so."""
        self.fronts: list[Front] = []
        self.at = 0
        self._escapes = escapes
        if escapes is not None:
            escapes.actions.setdefault("c", self.next)

    def add(self, front: Front) -> None:
        """One more; the first has the focus."""
        self.fronts.append(front)

    def next(self) -> None:
        """Move the focus."""
        if len(self.fronts) > 1:
            self.fronts[self.at].focus(False)
            self.at = (self.at + 1) % len(self.fronts)
            self.fronts[self.at].focus(True)

    def room(self) -> int:
        """See `Front`."""
        return self.fronts[self.at].room()

    def receive(self, data: bytes) -> None:
        """See `Front`."""
        if self._escapes is None:
            self.fronts[self.at].receive(data)
            return
        for piece in self._escapes.pieces(data):
            self.fronts[self.at].receive(piece)

    def opened(self) -> None:
        """See `Front`."""
        for front in self.fronts:
            front.opened()

    def closed(self) -> None:
        """See `Front`."""
        for front in self.fronts:
            front.closed()

    def focus(self, here: bool) -> None:
        """See `Front`."""


class StdioHost(Host):
    """The terminal, or whatever standard input and output are."""

    def __init__(self, spec: Chardev, label: str, terminal: Terminal, send: Callable[[bytes], None]) -> None:
        super().__init__(spec, label)
        self.terminal = terminal
        terminal.full = lambda: self.front is not None and self.front.room() <= 0
        self._send = send

    @property
    def live(self) -> bool:
        """See `Host`."""
        return self.terminal.live

    def send(self, data: bytes, *, whole: bool = False) -> None:
        """See `Host`. Waits for the reader, as programs on a terminal do."""
        self._send(data)

    def poll(self) -> None:
        """See `Host`. Without a front nobody gets what is typed."""
        if self.terminal.eof or self.terminal.full():
            return
        data = self.terminal.typed()
        if data and self.front is not None:
            self.front.receive(data)


class GuestFront:
    """The front that is a guest's port: what comes goes to a channel of the gate.

    `presence` is another one for ports that notice whether somebody is there: it gets a byte, 1 or 0.
    """

    def __init__(self, channel: Callable[[], Entrance | None], presence: Entrance | None = None) -> None:
        """`channel` is asked when something has come, as the machine is built later."""
        self._channel = channel
        self._presence = presence

    def room(self) -> int:
        """See `Front`."""
        channel = self._channel()
        return PIECE if channel is None else max(0, PIECE - channel.waiting)

    def receive(self, data: bytes) -> None:
        """See `Front`."""
        channel = self._channel()
        if channel is not None:
            channel.put(data)

    def opened(self) -> None:
        """See `Front`."""
        if self._presence is not None:
            self._presence.put(b"\1")

    def closed(self) -> None:
        """See `Front`."""
        if self._presence is not None:
            self._presence.put(b"\0")

    def focus(self, here: bool) -> None:
        """See `Front`."""


class Entrance(Protocol):
    """The part of `emu.inputs.Channel` that is used here."""

    @property
    def waiting(self) -> int: ...

    def put(self, data: bytes) -> None: ...


def make(spec: Chardev, label: str, say: Callable[[str], None]) -> Host:
    """The host end that a chardev describes, all but the terminal. Raises UsageError."""
    if spec.kind == "socket":
        return SocketHost(spec, label, say)
    if spec.kind == "pty":
        return PtyHost(spec, label, say)
    if spec.kind == "pipe":
        return PipeHost(spec, label)
    if spec.kind == "file":
        return FileHost(spec, label, say)
    if spec.kind == "ringbuf":
        return RingHost(spec, label)
    if spec.kind == "vc":
        from emu.display.textconsole import TextConsole

        return TextConsole(spec, label)
    return Host(spec, label)
