"""The VNC server of -vnc: the screen, keyboard and mouse for clients of the RFB protocol.

RFC 6143, versions 3.3 to 3.8, without or with a password; encodings Raw, Hextile, ZRLE and the desktop's size, and
QEMU's extension for keys by scan code. Several clients at once. Nothing blocks and no thread: the session calls `poll`.
Clients are not trusted: what they send is bounded, and whoever breaks the protocol is hung up on. A client that reads
slowly gets fewer pictures; the time that pictures take is a bounded share of the run's.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from emu.chardev import at_once, listen
from emu.clock import wall
from emu.display import des, rfb
from emu.display.keysyms import SCANCODES, SHIFTS, key_of
from emu.display.rfb import PixelFormat
from emu.options import Chardev, UsageError

if TYPE_CHECKING:
    from emu.display.options import Vnc
    from emu.display.render import Pixels
    from emu.display.screen import Screen

VERSION = b"RFB 003.008\n"
NONE, PASSWORD = 1, 2
DESKTOP_SIZE, LED_STATE, QEMU_KEYS, QEMU_AUDIO = -223, -261, -258, -259
PERIOD = 1 / 30
SHARE = 4
"""Pictures take at most one part in this many, plus one, of the time."""
MOST_CLIENTS = 16
MOST_ENCODINGS = 1024
MOST_TEXT = 1 << 20
PIECE = 1 << 16
PATIENCE = 30.0
"""Seconds for a handshake."""
FEW = 1 << 10
"""Bytes that may wait to be read and a new picture still be made."""
BAND = 16
NUMBERS = {rfb.RAW, rfb.HEXTILE, rfb.ZRLE}
Handler = Callable[[bytes], None]


class Broken(Exception):
    """A client does not keep to the protocol."""


@dataclass
class Pointer:
    """Where a client's pointer was last; None before it has moved."""

    at: tuple[int, int] | None = None
    held: int = 0


@dataclass
class Wish:
    """A request for an update that has no answer yet."""

    area: tuple[int, int, int, int]
    whole: bool


@dataclass
class Server:
    """See the module. `password` is asked for when the server wants one; None: nobody can get in."""

    screen: Screen
    listener: socket.socket
    name: str
    wants_password: bool = False
    password: bytes | None = None
    path: str = ""
    clients: list[Client] = field(default_factory=list)
    live = True

    def __post_init__(self) -> None:
        self._next = 0.0
        self._moment: object = None
        self._picture: Pixels | None = None

    def descriptors(self) -> tuple[list[int], list[int]]:
        """What to wait for: to read and to write."""
        readers = [client.socket.fileno() for client in self.clients]
        if len(self.clients) < MOST_CLIENTS:
            readers.append(self.listener.fileno())
        return readers, [client.socket.fileno() for client in self.clients if client.out]

    def timeout(self) -> float | None:
        """Seconds until a picture is due that somebody waits for."""
        moment = self.screen.moment
        if any(client.ready and client.looked != moment for client in self.clients):
            return max(0.0, self._next - wall())
        return None

    def poll(self) -> None:
        """Do what has come, and send pictures; never blocks."""
        if len(self.clients) < MOST_CLIENTS:
            self._accept()
        for client in list(self.clients):
            client.serve()
        now = wall()
        moment = self.screen.moment
        waiting = [client for client in self.clients if client.ready and client.looked != moment]
        if waiting and now >= self._next:
            self._update(waiting)
            self._next = wall() + max(PERIOD, SHARE * (wall() - now))
        for client in list(self.clients):
            client.flush()
            if client.over:
                client.close()
                self.clients.remove(client)

    def _accept(self) -> None:
        try:
            made, _ = self.listener.accept()
        except OSError:
            return
        at_once(made)
        self.clients.append(Client(self, made))

    def _update(self, waiting: list[Client]) -> None:
        moment = self.screen.moment
        picture = self._picture
        if picture is None or moment != self._moment:
            picture = self._picture = self.screen.picture()
            self._moment = moment
        for client in waiting:
            client.looked = moment
            client.update(picture)

    @property
    def address(self) -> str:
        """Where clients find it."""
        return self.path or _named(self.listener.getsockname())

    def change_password(self, password: bytes | None) -> None:
        """For whoever comes from now on; None: nobody."""
        self.password = password

    def close(self) -> None:
        """The run is over."""
        for client in self.clients:
            client.close()
        self.clients.clear()
        self.listener.close()
        if self.path:
            try:
                os.unlink(self.path)
            except OSError:
                pass


class Client:
    """One connection."""

    def __init__(self, server: Server, made: socket.socket) -> None:
        self.server = server
        self.socket = made
        self.out = bytearray(VERSION)
        self.over = False
        self._ending = False
        self._in = bytearray()
        self._skip = 0
        self._need = len(VERSION)
        self._then: Handler = self._version
        self._until: float | None = wall() + PATIENCE
        self._minor = 8
        self._challenge = b""
        self._format = PixelFormat()
        self._encoding = rfb.RAW
        self._extras: set[int] = set()
        self._zrle = rfb.Zrle()
        self._wish: Wish | None = None
        self._shown: Pixels | None = None
        self._size = (0, 0)
        self._leds = -1
        self.looked: object = None
        """The moment of the last picture that was compared with what it shows."""
        self._pointer = Pointer()
        self._down: dict[int, tuple[str, ...]] = {}

    @property
    def peer(self) -> str:
        """Who it is."""
        try:
            return _named(self.socket.getpeername())
        except OSError:
            return ""

    @property
    def ready(self) -> bool:
        """An update is wished for, and what was sent before has been read."""
        return self._wish is not None and len(self.out) <= FEW and not self.over

    # -- bytes

    def serve(self) -> None:
        """Read what there is and act on it."""
        if self._until is not None and wall() > self._until:
            self.over = True
            return
        if self._ending or len(self.out) > 16 * PIECE:
            return
        try:
            data = self.socket.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.over = True
            return
        self._in += data
        try:
            self._parse()
        except Broken:
            self.over = True

    def _parse(self) -> None:
        while not self._ending:
            if self._skip:
                gone = min(self._skip, len(self._in))
                del self._in[:gone]
                self._skip -= gone
            if self._skip or len(self._in) < self._need:
                return
            data = bytes(self._in[: self._need])
            del self._in[: self._need]
            self._then(data)

    def _expect(self, need: int, then: Handler) -> None:
        self._need, self._then = need, then

    def flush(self) -> None:
        """Send what the client takes."""
        if self.out and not self.over:
            try:
                del self.out[: self.socket.send(self.out)]
            except BlockingIOError:
                pass
            except OSError:
                self.over = True
        if self._ending and not self.out:
            self.over = True

    def close(self) -> None:
        """Let go what is still pressed, and hang up."""
        for names in self._down.values():
            self.server.screen.keys(names[::-1], False)
        if self._pointer.held:
            self.server.screen.buttons(0)
        self._down.clear()
        self.socket.close()

    # -- handshake

    def _version(self, data: bytes) -> None:
        if data[:8] != b"RFB 003." or data[11:] != b"\n" or not data[8:11].isdigit():
            raise Broken
        minor = int(data[8:11])
        self._minor = 8 if minor >= 8 else 7 if minor == 7 else 3
        kind = PASSWORD if self.server.wants_password else NONE
        if self._minor == 3:
            self.out += struct.pack(">I", kind)
            self._begin(kind)
        else:
            self.out += bytes((1, kind))
            self._expect(1, self._security)

    def _security(self, data: bytes) -> None:
        if data[0] != (PASSWORD if self.server.wants_password else NONE):
            raise Broken
        self._begin(data[0])

    def _begin(self, kind: int) -> None:
        if kind == PASSWORD:
            self._challenge = os.urandom(16)
            self.out += self._challenge
            self._expect(16, self._response)
            return
        if self._minor == 8:
            self.out += bytes(4)
        self._expect(1, self._hello)

    def _response(self, data: bytes) -> None:
        password = self.server.password
        if password is not None and data == des.answer(password, self._challenge):
            self.out += bytes(4)
            self._expect(1, self._hello)
            return
        self.out += struct.pack(">I", 1)
        if self._minor == 8:
            reason = b"Authentication failed"
            self.out += struct.pack(">I", len(reason)) + reason
        self._ending = True

    def _hello(self, data: bytes) -> None:
        height, width = self.server.screen.picture().shape
        self._size = (width, height)
        name = self.server.name.encode()
        self.out += struct.pack(">HH", width, height) + PixelFormat().write() + struct.pack(">I", len(name)) + name
        self._until = None
        self._expect(1, self._message)

    # -- messages

    def _message(self, data: bytes) -> None:
        kinds: dict[int, tuple[int, Handler]] = {
            0: (19, self._pixel_format), 2: (3, self._encodings), 3: (9, self._request), 4: (7, self._key_event),
            5: (5, self._pointer_event), 6: (7, self._text), 255: (1, self._extension),
        }  # fmt: skip
        if data[0] not in kinds:
            raise Broken
        self._expect(*kinds[data[0]])

    def _done(self) -> None:
        self._expect(1, self._message)

    def _pixel_format(self, data: bytes) -> None:
        made = PixelFormat.read(data[3:])
        if made is None:
            raise Broken
        self._format = made
        if not data[6]:
            colours = b"".join(
                struct.pack(">HHH", (n & 7) * 65535 // 7, (n >> 3 & 7) * 65535 // 7, (n >> 6) * 65535 // 3)
                for n in range(256)
            )
            self.out += struct.pack(">BxHH", 1, 0, 256) + colours
        self._shown = self.looked = None
        self._done()

    def _encodings(self, data: bytes) -> None:
        count = struct.unpack(">xH", data)[0]
        if count > MOST_ENCODINGS:
            raise Broken
        self._expect(4 * count, self._encoding_list)

    def _encoding_list(self, data: bytes) -> None:
        wanted = [number for (number,) in struct.iter_unpack(">i", data)]
        self._encoding = next((number for number in wanted if number in NUMBERS), rfb.RAW)
        new = set(wanted) & {DESKTOP_SIZE, LED_STATE, QEMU_KEYS}
        if QEMU_KEYS in new and QEMU_KEYS not in self._extras:
            self._rectangles([struct.pack(">HHHHi", 0, 0, *self._size, QEMU_KEYS)])
        self._extras = new
        self._done()

    def _request(self, data: bytes) -> None:
        incremental, x, y, width, height = struct.unpack(">BHHHH", data)
        old = self._wish
        whole = not incremental or (old is not None and old.whole)
        if whole:
            self.looked = None
        self._wish = Wish((x, y, width, height), whole)
        self._done()

    def _text(self, data: bytes) -> None:
        size = struct.unpack(">3xI", data)[0]
        if size > MOST_TEXT:
            raise Broken
        self._skip = size  # there is no clipboard
        self._done()

    def _extension(self, data: bytes) -> None:
        if data[0] == 0:
            self._expect(10, self._scancode_event)
        elif data[0] == 1:
            self._expect(2, self._audio)
        else:
            raise Broken

    def _audio(self, data: bytes) -> None:
        operation = struct.unpack(">H", data)[0]
        if operation > 2:
            raise Broken
        self._skip = 6 if operation == 2 else 0  # there is no sound
        self._done()

    # -- input

    def _key_event(self, data: bytes) -> None:
        down, keysym = struct.unpack(">B2xI", data)
        found = key_of(keysym)
        if found is not None:
            name, shifted = found
            held = any(names[0] in SHIFTS for names in self._down.values())
            # Programs that type by name do not press Shift themselves.
            self._press(keysym, ("shift", name) if shifted and not held else (name,), bool(down))
        self._done()

    def _scancode_event(self, data: bytes) -> None:
        down, _, code = struct.unpack(">HII", data)
        name = SCANCODES.get(code)
        if name is not None:
            self._press(1 << 32 | code, (name,), bool(down))
        self._done()

    def _press(self, key: int, names: tuple[str, ...], down: bool) -> None:
        if down:
            if key in self._down:
                names = self._down[key][-1:]  # it repeats
            else:
                self._down[key] = names
            self.server.screen.keys(names, True)
        elif key in self._down:
            self.server.screen.keys(self._down.pop(key)[::-1], False)

    def _pointer_event(self, data: bytes) -> None:
        mask, x, y = struct.unpack(">BHH", data)
        screen, pointer = self.server.screen, self._pointer
        if pointer.at is not None and pointer.at != (x, y):
            screen.move(x - pointer.at[0], y - pointer.at[1])
        pointer.at = x, y
        held = mask & 1 | mask >> 1 & 2 | mask << 1 & 4
        if held != pointer.held & 7:
            screen.buttons(held)
        turned = mask & ~(pointer.held >> 3)
        for bit, steps in ((8, 1), (16, -1)):
            if turned & bit:
                screen.move(0, 0, steps)
        pointer.held = held | mask << 3 & 0xF8
        self._done()

    # -- pictures

    def _rectangles(self, parts: list[bytes]) -> None:
        self.out += struct.pack(">BxH", 0, len(parts)) + b"".join(parts)

    def update(self, picture: Pixels) -> None:
        """Answer the wish, if there is something new."""
        wish = self._wish
        if wish is None:
            return
        height, width = picture.shape
        parts: list[bytes] = []
        if (width, height) != self._size:
            if DESKTOP_SIZE in self._extras:
                self._size = (width, height)
                self._shown = self.looked = None
                # By itself: the client asks for all of the new picture then.
                self._wish = None
                self._rectangles([struct.pack(">HHHHi", 0, 0, width, height, DESKTOP_SIZE)])
                return
            picture = _cut(picture, *self._size)
        if LED_STATE in self._extras and self._leds != self.server.screen.leds:
            self._leds = self.server.screen.leds
            parts.append(struct.pack(">HHHHiB", 0, 0, 0, 0, LED_STATE, self._leds))
        for x, y, across, down in self._changed(picture, wish):
            parts.append(self._encoded(picture[y : y + down, x : x + across], x, y))
        if parts:
            self._wish = None
            self._rectangles(parts)

    def _changed(self, picture: Pixels, wish: Wish) -> list[tuple[int, int, int, int]]:
        """The rectangles to send, and remember what the client then shows."""
        x, y, across, down = wish.area
        width, height = self._size
        across, down = min(across, width - x), min(down, height - y)
        if across <= 0 or down <= 0:
            return []
        if wish.whole or self._shown is None or self._shown.shape != picture.shape:
            if self._shown is None or self._shown.shape != picture.shape:
                self._shown = ~picture  # nothing of it has been shown
            found = [(x, y, across, down)]
        else:
            found = _differences(picture, self._shown, x, y, across, down)
        for left, top, wide, high in found:
            self._shown[top : top + high, left : left + wide] = picture[top : top + high, left : left + wide]
        return found

    def _encoded(self, part: Pixels, x: int, y: int) -> bytes:
        height, width = part.shape
        head = struct.pack(">HHHHi", x, y, width, height, self._encoding)
        if self._encoding == rfb.ZRLE:
            return head + self._zrle.encode(part, self._format)
        return head + (rfb.hextile if self._encoding == rfb.HEXTILE else rfb.raw)(part, self._format)


def _named(address: Any) -> str:
    """A socket's address as people write it."""
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address)


def _cut(picture: Pixels, width: int, height: int) -> Pixels:
    """A picture of another size for a client that cannot be told."""
    out = np.zeros((height, width), dtype=np.uint32)
    rows, columns = min(height, picture.shape[0]), min(width, picture.shape[1])
    out[:rows, :columns] = picture[:rows, :columns]
    return out


def _differences(new: Pixels, old: Pixels, x: int, y: int, across: int, down: int) -> list[tuple[int, int, int, int]]:
    """Bands of lines with the columns that differ; neighbours of the same width become one."""
    found: list[tuple[int, int, int, int]] = []
    for top in range(y, y + down, BAND):
        high = min(BAND, y + down - top)
        area: Any = np.s_[top : top + high, x : x + across]
        columns = np.flatnonzero((new[area] != old[area]).any(axis=0))
        if not len(columns):
            continue
        first, last = int(columns[0]) // BAND * BAND, min(int(columns[-1]) // BAND * BAND + BAND, across)
        before = found[-1] if found else None
        if before is not None and before[0] == x + first and before[2] == last - first and before[1] + before[3] == top:
            found[-1] = (before[0], before[1], before[2], before[3] + high)
        else:
            found.append((x + first, top, last - first, high))
    return found


def open_server(spec: Vnc, screen: Screen, name: str, password: bytes | None) -> Server:
    """Listen where -vnc says. Raises UsageError."""
    wants = spec.password or bool(spec.secret)
    error = UsageError("-vnc: no port")
    for port in range(spec.port, spec.last + 1):
        where = Chardev("socket", spec.path, host=spec.host, port=port)
        try:
            listener = listen(where, f"-vnc {spec.path or f'{spec.host}:{port - 5900}'}")
        except UsageError as failed:
            error = failed
            continue
        listener.setblocking(False)
        return Server(screen, listener, name, wants, password, spec.path)
    raise error
