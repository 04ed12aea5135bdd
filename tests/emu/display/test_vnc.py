"""The VNC server: pictures in every encoding and format, keys and the mouse, passwords, and clients that misbehave."""

from __future__ import annotations

import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from devices.i8042 import I8042
from emu.display import des, rfb
from emu.display.options import Vnc
from emu.display.render import frame
from emu.display.rfb import PixelFormat
from emu.display.screen import Screen
from emu.display.vnc import DESKTOP_SIZE, LED_STATE, QEMU_KEYS, Server, open_server
from emu.machine import Machine
from emu.monitor.actions import Actions
from tests.emu.pc_machine import full_pc

MILLISECOND = 1_000_000


class Client:
    """A client that the test drives; `poll` of the server is called while it waits."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(server.path)
        self.socket.setblocking(False)
        self.got = b""
        self.size = (0, 0)
        self.format = PixelFormat()
        self.picture = np.zeros((0, 0), np.uint32)
        self.inflate = zlib.decompressobj()
        self.leds = -1

    def poll(self, times: int = 1) -> None:
        for _ in range(times):
            self.server._next = 0.0
            self.server.poll()
            try:
                self.got += self.socket.recv(1 << 20)
            except (BlockingIOError, ConnectionError):
                pass

    def take(self, count: int) -> bytes:
        for _ in range(2000):
            if len(self.got) >= count:
                data, self.got = self.got[:count], self.got[count:]
                return data
            self.poll()
        raise AssertionError(f"{count} bytes do not come, only {self.got!r}")

    def send(self, data: bytes) -> None:
        self.socket.send(data)
        self.poll(2)

    def start(self, version: bytes = b"RFB 003.008\n", password: bytes | None = None) -> None:
        assert self.take(12) == b"RFB 003.008\n"
        self.send(version)
        kind = 1 if password is None else 2
        if version == b"RFB 003.003\n":
            assert self.take(4) == bytes((0, 0, 0, kind))
        else:
            assert self.take(2) == bytes((1, kind))
            self.send(bytes((kind,)))
        if password is not None:
            self.send(des.answer(password, self.take(16)))
        if password is not None or version == b"RFB 003.008\n":
            assert self.take(4) == bytes(4)
        self.send(b"\1")
        width, height, form, length = struct.unpack(">HH16sI", self.take(24))
        assert PixelFormat.read(form) == PixelFormat()
        assert self.take(length) == b"Emu"
        self.size = width, height
        self.picture = np.zeros((height, width), np.uint32)

    def encodings(self, *numbers: int) -> None:
        self.send(struct.pack(f">BxH{len(numbers)}i", 2, len(numbers), *numbers))

    def ask(self, incremental: bool = False) -> None:
        self.send(struct.pack(">BBHHHH", 3, incremental, 0, 0, *self.size))

    def update(self) -> list[tuple[int, int, int, int, int]]:
        """Take an update into `picture` (as elements of the format); gives its rectangles."""
        kind, count = struct.unpack(">BxH", self.take(4))
        assert kind == 0
        heads = []
        for _ in range(count):
            head = struct.unpack(">HHHHi", self.take(12))
            heads.append(head)
            x, y, width, height, encoding = head
            if encoding == DESKTOP_SIZE:
                self.size = width, height
                self.picture = np.zeros((height, width), np.uint32)
            elif encoding == LED_STATE:
                self.leds = self.take(1)[0]
            elif encoding != QEMU_KEYS:
                part = {rfb.RAW: self.raw, rfb.HEXTILE: self.hextile, rfb.ZRLE: self.zrle}[encoding](width, height)
                self.picture[y : y + height, x : x + width] = part
        return heads

    def elements(self, data: bytes) -> np.ndarray:
        kind = f"{'>' if self.format.big_endian else '<'}u{self.format.bits // 8}"
        return np.frombuffer(data, kind).astype(np.uint32)

    def raw(self, width: int, height: int) -> np.ndarray:
        return self.elements(self.take(width * height * self.format.bits // 8)).reshape(height, width)

    def hextile(self, width: int, height: int) -> np.ndarray:
        out = np.zeros((height, width), np.uint32)
        size, back, fore = self.format.bits // 8, 0, 0
        for y in range(0, height, 16):
            for x in range(0, width, 16):
                tile = out[y : y + 16, x : x + 16]
                mask = self.take(1)[0]
                if mask & 1:
                    tile[:] = self.raw(tile.shape[1], tile.shape[0])
                    continue
                if mask & 2:
                    back = int(self.elements(self.take(size))[0])
                tile[:] = back
                if mask & 4:
                    fore = int(self.elements(self.take(size))[0])
                for _ in range(self.take(1)[0] if mask & 8 else 0):
                    at, wide = self.take(2)
                    left, top = at >> 4, at & 15
                    tile[top : top + (wide & 15) + 1, left : left + (wide >> 4) + 1] = fore
        return out

    def zrle(self, width: int, height: int) -> np.ndarray:
        out = np.zeros((height, width), np.uint32)
        data = self.inflate.decompress(self.take(struct.unpack(">I", self.take(4))[0]))
        size, at = self.format.compact, 0

        def colours(count: int) -> np.ndarray:
            nonlocal at
            part, at = data[at : at + count * size], at + count * size
            if size == 3:
                order = "big" if self.format.big_endian else "little"
                return np.array([int.from_bytes(part[n : n + 3], order) for n in range(0, len(part), 3)], np.uint32)
            return self.elements(part)

        for y in range(0, height, 64):
            for x in range(0, width, 64):
                tile = out[y : y + 64, x : x + 64]
                kind, at = data[at], at + 1
                if kind == 0:
                    tile[:] = colours(tile.size).reshape(tile.shape)
                elif kind == 1:
                    tile[:] = colours(1)[0]
                else:
                    palette = colours(kind)
                    bits = 1 if kind == 2 else 2 if kind <= 4 else 4
                    for row in tile:
                        packed = data[at : at + (len(row) * bits + 7) // 8]
                        at += len(packed)
                        spread = np.unpackbits(np.frombuffer(packed, np.uint8))[: len(row) * bits].reshape(-1, bits)
                        row[:] = palette[(spread * (1 << np.arange(bits - 1, -1, -1))).sum(axis=1)]
        assert at == len(data)
        return out


@pytest.fixture(scope="module")
def machine() -> Machine:
    machine = full_pc()
    machine.step(20_000)
    return machine


@pytest.fixture
def server(machine: Machine, tmp_path: Path) -> Iterator[Server]:
    made = open_server(Vnc(path=str(tmp_path / "vnc")), Screen(machine, actions_of(machine)), "Emu", None)
    yield made
    made.close()


def actions_of(machine: Machine) -> Actions:
    if not hasattr(machine, "actions_for_tests"):
        machine.actions_for_tests = Actions(machine)  # type: ignore[attr-defined]
    return machine.actions_for_tests  # type: ignore[attr-defined, no-any-return]


def shown(machine: Machine) -> np.ndarray:
    return frame(machine.devices["vga"])  # type: ignore[arg-type]


def change(machine: Machine, text: bytes) -> None:
    """Something new on the screen, at another moment."""
    machine.bus.phys_write(0xB8000, text)
    machine.step(10)


def queued(machine: Machine) -> bytes:
    """What the keyboard was told since the last time, in set 1."""
    keyboard = machine.devices["kbd"]
    assert isinstance(keyboard, I8042)
    told: list[bytes] = keyboard.__dict__.setdefault("told_for_tests", [])
    if "key_scancode" not in keyboard.__dict__:
        keyboard.key_scancode = lambda codes: told.append(codes) is None  # type: ignore[method-assign]
    machine.step(100_000, until=machine.clock.now() + MILLISECOND)
    codes = b"".join(told)
    told.clear()
    return codes


@pytest.mark.parametrize("version", [b"RFB 003.003\n", b"RFB 003.007\n", b"RFB 003.008\n"])
@pytest.mark.parametrize("encoding", sorted(rfb.RAW + n for n in (rfb.RAW, rfb.HEXTILE, rfb.ZRLE)))
def test_a_client_of_any_version_sees_the_screen(
    server: Server, machine: Machine, version: bytes, encoding: int
) -> None:
    change(machine, b"V\x1eN\x2cC\x3a")
    client = Client(server)
    client.start(version)
    client.encodings(encoding)
    client.ask()
    client.update()
    assert (client.picture == shown(machine)).all()


FORMATS = [
    PixelFormat(32, 24, True, (255, 255, 255), (16, 8, 0)),
    PixelFormat(32, 24, False, (255, 255, 255), (8, 16, 24)),
    PixelFormat(32, 32, False, (255, 255, 255), (0, 8, 16)),
    PixelFormat(16, 16, False, (31, 63, 31), (11, 5, 0)),
    PixelFormat(16, 15, True, (31, 31, 31), (10, 5, 0)),
    PixelFormat(8, 8, False, (7, 7, 3), (0, 3, 6)),
]


@pytest.mark.parametrize("format", FORMATS, ids=lambda f: f"{f.bits}/{f.depth}{'b' if f.big_endian else 'l'}")
@pytest.mark.parametrize("encoding", [rfb.RAW, rfb.HEXTILE, rfb.ZRLE])
def test_a_client_gets_the_pixels_that_it_asks_for(
    server: Server, machine: Machine, format: PixelFormat, encoding: int
) -> None:
    client = Client(server)
    client.start()
    client.send(bytes(4) + format.write())
    client.format = format
    client.encodings(encoding)
    client.ask()
    client.update()
    expected = format.pixels(shown(machine)).astype(np.uint32)
    if encoding == rfb.ZRLE and format.compact == 3 and format.shifts[2] == 24:
        expected >>= 8
    assert (client.picture == expected).all()


@pytest.mark.parametrize("encode", [rfb.hextile, rfb.Zrle().encode])
def test_noise_is_encoded_too(server: Server, encode: object) -> None:
    noise = np.random.default_rng(1).integers(0, 1 << 24, (70, 90), dtype=np.uint32)
    noise[:20, :40] &= 0x010000
    client = Client(server)
    client.start()
    client.got += encode(noise, PixelFormat())  # type: ignore[operator]
    if encode is not rfb.hextile:
        client.inflate = zlib.decompressobj()
    decoded = (client.hextile if encode is rfb.hextile else client.zrle)(90, 70)
    assert (decoded == noise).all()


def test_only_what_changes_is_sent_again(server: Server, machine: Machine) -> None:
    client = Client(server)
    client.start()
    client.ask()
    client.update()
    client.ask(incremental=True)
    client.poll(20)
    assert client.got == b""
    change(machine, os.urandom(2))
    ((x, y, width, height, _),) = client.update()
    assert (x, y) == (0, 0) and width <= 32 and height <= 16
    assert (client.picture == shown(machine)).all()


def test_a_new_size_is_told_to_who_knows_of_it_and_cut_for_others(server: Server, machine: Machine) -> None:
    clients = [Client(server), Client(server)]
    for client in clients:
        client.start()
    clients[0].encodings(rfb.RAW, DESKTOP_SIZE)
    vga = machine.devices["vga"]
    for index, value in ((1, 1024), (2, 300), (3, 32), (4, 0x41)):
        vga.set_vbe(index, value)  # type: ignore[attr-defined]
    machine.step(10)
    try:
        for client in clients:
            client.ask(incremental=True)
        assert clients[0].update() == [(0, 0, 1024, 300, DESKTOP_SIZE)]
        clients[0].ask()
        clients[0].update()
        assert (clients[0].picture == shown(machine)).all() and clients[0].size == (1024, 300)
        clients[1].update()
        assert (clients[1].picture[:300] == shown(machine)[:, :720]).all() and not clients[1].picture[300:].any()
    finally:
        vga.set_vbe(4, 0)  # type: ignore[attr-defined]
        vga.reset()
        machine.step(10)


def key(client: Client, keysym: int, down: bool) -> None:
    client.send(struct.pack(">BB2xI", 4, down, keysym))


def test_keys_go_down_and_up(server: Server, machine: Machine) -> None:
    client = Client(server)
    client.start()
    queued(machine)
    key(client, ord("a"), True)
    assert queued(machine) == b"\x1e"
    key(client, ord("a"), False)
    assert queued(machine) == b"\x9e"
    key(client, 0xFF53, True)
    key(client, 0xFF53, False)
    assert queued(machine) == bytes.fromhex("e04de0cd")
    key(client, 0x20AC, True)
    assert queued(machine) == b""


def test_a_capital_letter_brings_its_shift_unless_one_is_held(server: Server, machine: Machine) -> None:
    client = Client(server)
    client.start()
    queued(machine)
    key(client, ord("A"), True)
    key(client, ord("A"), False)
    assert queued(machine) == bytes.fromhex("2a1e9eaa")
    for keysym in (0xFFE1, ord("A")):
        key(client, keysym, True)
    assert queued(machine) == bytes.fromhex("2a1e")


def test_keys_of_a_client_that_leaves_come_up(server: Server, machine: Machine) -> None:
    client = Client(server)
    client.start()
    key(client, 0xFFE3, True)
    queued(machine)
    client.socket.close()
    for _ in range(5):
        server.poll()
    assert queued(machine) == b"\x9d" and server.clients == []


def test_scan_codes_of_qemus_extension_are_keys(server: Server, machine: Machine) -> None:
    client = Client(server)
    client.start()
    client.encodings(rfb.RAW, QEMU_KEYS)
    assert [head[4] for head in client.update()] == [QEMU_KEYS]
    queued(machine)
    client.send(struct.pack(">BBHII", 255, 0, 1, ord("q"), 0x1E))
    client.send(struct.pack(">BBHII", 255, 0, 1, 0, 0xCB))
    assert queued(machine) == bytes.fromhex("1ee04b")


def test_the_pointer_moves_presses_and_turns_the_wheel(server: Server, machine: Machine) -> None:
    client = Client(server)
    client.start()
    keyboard = machine.devices["kbd"]
    assert isinstance(keyboard, I8042)
    mouse = keyboard.state.mouse
    mouse.dx = mouse.dy = mouse.dz = 0
    for mask, x, y in ((0, 10, 10), (0, 15, 7), (1, 15, 7), (9, 15, 7), (0, 15, 7)):
        client.send(struct.pack(">BBHH", 5, mask, x, y))
        if mask == 1:
            assert mouse.buttons == 1
    assert (mouse.dx, mouse.dy, mouse.buttons) == (5, 3, 0) and mouse.dz == -1, "the wheel was turned up"


def test_lights_are_told(server: Server, machine: Machine) -> None:
    client = Client(server)
    client.start()
    client.encodings(rfb.RAW, LED_STATE)
    client.ask()
    client.update()
    assert client.leds == 0


def with_password(machine: Machine, path: Path, password: bytes | None) -> Server:
    return open_server(Vnc(path=str(path), password=True), Screen(machine, actions_of(machine)), "Emu", password)


@pytest.mark.parametrize("version", [b"RFB 003.003\n", b"RFB 003.008\n"])
def test_a_password_lets_in_who_knows_it(machine: Machine, tmp_path: Path, version: bytes) -> None:
    server = with_password(machine, tmp_path / "p", b"secret")
    Client(server).start(version, password=b"secret")
    wrong = Client(server)
    with pytest.raises(AssertionError):
        wrong.start(version, password=b"guess")
    server.change_password(None)
    with pytest.raises(AssertionError):
        Client(server).start(version, password=b"secret")
    server.close()


def test_des_is_des() -> None:
    assert des.encrypt(bytes.fromhex("133457799bbcdff1"), bytes.fromhex("0123456789abcdef")).hex() == "85e813540f0ab405"
    assert des.encrypt(bytes.fromhex("0e329232ea6d0d73"), bytes.fromhex("8787878787878787")) == bytes(8)


@pytest.mark.parametrize(
    "message",
    [
        b"\x01",
        b"\x07" + bytes(20),
        bytes(4) + struct.pack(">BBBBHHHBBB3x", 24, 24, 0, 1, 255, 255, 255, 16, 8, 0),
        bytes(4) + struct.pack(">BBBBHHHBBB3x", 32, 24, 0, 1, 255, 255, 254, 16, 8, 0),
        bytes(4) + struct.pack(">BBBBHHHBBB3x", 32, 24, 0, 1, 255, 255, 255, 99, 8, 0),
        struct.pack(">BxH", 2, 0xFFFF),
        struct.pack(">B3xI", 6, 0xFFFFFFFF),
        b"\xff\x63",
    ],
)
def test_who_breaks_the_protocol_is_hung_up_on(server: Server, message: bytes) -> None:
    client, other = Client(server), Client(server)
    client.start()
    other.start()
    client.send(message)
    client.poll(5)
    assert len(server.clients) == 1
    other.ask()
    other.update()


def test_text_for_the_clipboard_is_passed_over(server: Server, machine: Machine) -> None:
    client = Client(server)
    client.start()
    client.send(struct.pack(">B3xI", 6, 5) + b"\x04\x01\x02\x03\x04" + b"\x05\0\0\0\0\0")
    client.ask()
    client.update()


def test_a_client_that_does_not_read_gets_one_picture(server: Server, machine: Machine) -> None:
    client = Client(server)
    client.start()
    for _ in range(50):
        client.socket.send(struct.pack(">BBHHHH", 3, 0, 0, 0, 720, 400))
        for _ in range(3):
            server._next = 0.0
            server.poll()
    assert len(server.clients[0].out) < 3 * 720 * 400 * 4


@pytest.mark.parametrize("seed", range(int(os.environ.get("EMU_VNC_ROUNDS", "40"))))
def test_random_bytes_end_no_machine(server: Server, machine: Machine, seed: int) -> None:
    chance = random.Random(seed)
    client = Client(server)
    if chance.random() < 0.8:
        client.start()
    for _ in range(20):
        kind = chance.choice((0, 2, 3, 4, 5, 6, 255, chance.randrange(256)))
        data = bytes((kind,)) + chance.randbytes(chance.choice((3, 5, 7, 9, 19)))
        try:
            client.socket.send(data)
        except OSError:
            break
        client.poll(2)
    client.socket.close()
    for _ in range(5):
        server.poll()
    assert server.clients == []


def test_at_most_some_clients_are_served_at_once(server: Server) -> None:
    clients = []
    for _ in range(20):
        made = socket.socket(socket.AF_UNIX)
        made.setblocking(False)
        try:
            made.connect(server.path)
        except BlockingIOError:
            break
        clients.append(made)
        server.poll()
    assert 2 <= len(server.clients) <= 16


@pytest.mark.guest
def test_vncdotool_types_and_captures(tmp_path: Path) -> None:
    pytest.importorskip("vncdotool")
    vncdo = shutil.which("vncdo", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if vncdo is None:
        pytest.skip("vncdotool has no vncdo")
    # The BIOS echoes keys: mov ah,0; int 16h; mov ah,0eh; int 10h; jmp
    image = tmp_path / "echo.img"
    image.write_bytes(bytes.fromhex("fbb400cd16b40ecd10ebf6").ljust(510, b"\0") + b"\x55\xaa" + bytes(512 * 2879))
    line = [sys.executable, "-m", "emu", "run", "-fda", str(image), "-vnc", ":0,to=99", "--timeout", "60"]
    line += ["-monitor", f"unix:{tmp_path / 'monitor'},server=on,wait=off", "--expect", "Hello", "--screenshot"]
    with subprocess.Popen([*line, str(tmp_path / "last.ppm")], stderr=subprocess.PIPE, text=True) as emu:
        try:
            port = port_of(emu, tmp_path / "monitor")
            asked = [vncdo, "-s", f"localhost::{port}", "-t", "30", "pause", "1", "type", "Hello"]
            subprocess.run([*asked, "pause", "1", "capture", str(tmp_path / "seen.png")], timeout=60, check=False)
            assert emu.wait(timeout=60) == 0
        finally:
            emu.kill()


def port_of(emu: subprocess.Popen[str], path: Path) -> int:
    """Asks the monitor."""
    for _ in range(100):
        if path.exists():
            break
        subprocess.run(["sleep", "0.1"])
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.connect(str(path))
        monitor.settimeout(20)
        monitor.sendall(b"info vnc\n")
        text = b""
        while b"address: " not in text:
            text += monitor.recv(4096)
        return int(text.split(b"address: ")[1].split(b"\r")[0].rpartition(b":")[2])
