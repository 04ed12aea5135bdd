"""Host ends of byte streams: what goes in comes out, clients come and go, and nobody is waited for."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from emu.chardev import KEPT, Host, Mux, RingHost, SocketHost, make
from emu.options import Chardev, UsageError, parse
from emu.terminal import Escapes


class Front:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.got = b""
        self.said: list[str] = []
        self.space = 1000

    def room(self) -> int:
        return self.space

    def receive(self, data: bytes) -> None:
        self.got += data

    def opened(self) -> None:
        self.said.append("opened")

    def closed(self) -> None:
        self.said.append("closed")

    def focus(self, here: bool) -> None:
        self.said.append("here" if here else "away")


def chardev(*words: str) -> Chardev:
    """What the command line makes of a -chardev with id c."""
    return parse(["-chardev", *words]).chardevs["c"]


def served(path: Path | str, **more: bool) -> tuple[SocketHost, Front]:
    host = SocketHost(Chardev("socket", str(path), server=True, wait=False, **more), "c", print)  # type: ignore[arg-type]
    host.front = front = Front()
    return host, front


def client_of(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(path))
    client.settimeout(5)
    return client


# -- the command line


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("socket,id=c,path=/p,server=on,wait=off", Chardev("socket", "/p", server=True, wait=False, label="c")),
        (
            "socket,id=c,host=localhost,port=47,server,nowait",
            Chardev("socket", host="localhost", port=47, server=True, wait=False, label="c"),
        ),
        ("socket,id=c,port=4,telnet=on,reconnect=3", Chardev("socket", port=4, telnet=True, reconnect=3.0, label="c")),
        ("ringbuf,id=c,size=16", Chardev("ringbuf", size=16, label="c")),
        ("file,id=c,path=/p,append=on,mux=on", Chardev("file", "/p", mux=True, append=True, label="c")),
        ("pty,id=c", Chardev("pty", label="c")),
        ("null,id=c", Chardev("null", label="c")),
    ],
)  # fmt: skip
def test_chardevs_are_read_as_qemu_reads_them(text: str, wanted: Chardev) -> None:
    assert chardev(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("tcp::4444,server=on,wait=off", Chardev("socket", port=4444, server=True, wait=False)),
        ("tcp:[::1]:4444", Chardev("socket", host="::1", port=4444)),
        (
            "telnet:localhost:23,server,nowait",
            Chardev("socket", host="localhost", port=23, server=True, wait=False, telnet=True),
        ),
        ("unix:/p,server,nodelay", Chardev("socket", "/p", server=True)),
        ("pipe:/p", Chardev("pipe", "/p")),
        ("file:/p,append=on", Chardev("file", "/p", append=True)),
    ],
)  # fmt: skip
def test_serial_ports_and_monitors_take_the_short_forms(text: str, wanted: Chardev) -> None:
    assert parse(["-serial", text]).serial == [wanted]
    config = parse(["-monitor", text, "-serial", "null"])
    assert [(spec.chardev, spec.control) for spec in config.monitors] == [(wanted, False)]
    assert parse(["-qmp-pretty", text]).monitors[0].pretty


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["-chardev", "socket,id=c"], "expected path=FILE or port=NUMBER"),
        (["-chardev", "socket"], "expected id=NAME"),
        (["-chardev", "socket,id=c,port=99999"], "expected 0 to 65535"),
        (["-chardev", "socket,id=c,port=1,sever=on"], "did you mean server?"),
        (["-chardev", "socket,id=c,port=1,tls-creds=x"], "not available"),
        (["-chardev", "ringbuf,id=c,size=3"], "power of 2"), (["-chardev", "sokket,id=c"], "did you mean socket?"),
        (["-serial", "tcp:4444"], "expected HOST:PORT"), (["-mon", "chardev=c"], "unknown chardev c"),
        (["-chardev", "null,id=c", "-mon", "c,mode=loud"], "unknown -mon mode loud"),
        (["-chardev", "stdio,id=c", "-mon", "c", "-serial", "chardev:c"], "mux=on lets it be shared"),
        (["-monitor", "stdio", "-serial", "stdio"], "only one character device can use stdio"),
    ],
)  # fmt: skip
def test_what_is_wrong_on_the_command_line_is_said(words: list[str], why: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(words)
    assert why in str(error.value)


def test_nographic_gives_a_monitor_beside_the_serial_port_unless_one_is_named() -> None:
    config = parse(["-nographic"])
    assert config.monitors[0].chardev is config.serial[0] and config.serial[0].mux
    for words in (["-monitor", "none"], ["-qmp", "unix:/p,server=on"], ["-nodefaults", "-serial", "stdio"]):
        assert not any(dev.mux for dev in parse(["-nographic", *words]).serial)
    config = parse(["-serial", "mon:stdio"])
    assert config.monitors[0].chardev is config.serial[0]


# -- sockets


def test_a_unix_socket_serves_one_client_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "s"
    host, front = served(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for turn in range(3):
        client = client_of(path)
        host.poll()
        assert host.connected and front.said[-1] == "opened"
        client.sendall(b"in %d" % turn)
        host.poll()
        host.send(b"out %d" % turn)
        assert client.recv(100) == b"out %d" % turn and front.got.endswith(b"in %d" % turn)
        client.close()
        host.poll()
        assert not host.connected and front.said[-1] == "closed"
    host.send(b"to nobody")
    host.close()
    assert not path.exists()


def test_a_port_is_on_localhost_and_its_number_is_told() -> None:
    host = SocketHost(Chardev("socket", server=True, wait=False), "c", print)
    assert host.filename == f"disconnected:tcp:127.0.0.1:{host.port},server=on"
    with socket.create_connection(("127.0.0.1", host.port), 5):
        host.poll()
        assert host.connected
    with pytest.raises(UsageError, match="cannot listen there: Address already in use"):
        SocketHost(Chardev("socket", port=host.port, server=True), "c", print)
    host.close()


def test_a_client_that_cannot_connect_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="cannot connect: No such file or directory"):
        SocketHost(Chardev("socket", str(tmp_path / "nobody")), "c", print)
    host = SocketHost(Chardev("socket", str(tmp_path / "nobody"), reconnect=3600), "c", print)
    assert not host.connected and host.live
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "nobody"))
    server.listen(1)
    host.poll()
    assert not host.connected
    monkeypatch.setattr("emu.chardev.wall", lambda: 1e12)
    host.poll()
    assert host.connected
    host.close()
    server.close()


def test_a_reader_that_reads_nothing_costs_a_bounded_amount_and_a_moment(tmp_path: Path) -> None:
    path = tmp_path / "s"
    host, _ = served(path)
    client = client_of(path)
    host.poll()
    for _ in range(100):
        host.send(b"x" * 65536)
    assert host.backlog <= KEPT and host.dropped > 0
    taken = 0
    while taken < 100 * 65536 - host.dropped:
        taken += len(client.recv(1 << 16))
        host.poll()
    host.send(b"again")
    assert client.recv(100) == b"again"
    host.send(b"y" * (4 * KEPT), whole=True)
    assert host.backlog > KEPT
    client.close()
    host.close()


def test_a_front_without_room_leaves_input_where_it_is(tmp_path: Path) -> None:
    host, front = served(tmp_path / "s")
    client = client_of(tmp_path / "s")
    host.poll()
    client.sendall(b"abcdef")
    front.space = 0
    host.poll()
    assert front.got == b"" and host.descriptors() == ([], [])
    front.space = 2
    host.poll()
    assert front.got == b"ab" and len(host.descriptors()[0]) == 1
    client.close()
    host.close()


def test_telnet_commands_are_not_input(tmp_path: Path) -> None:
    host, front = served(tmp_path / "s", telnet=True)
    client = client_of(tmp_path / "s")
    host.poll()
    assert client.recv(100)[:3] == b"\xff\xfb\x01"
    client.sendall(b"a\xff\xfd\x01b\xff\xffc\xff\xf1d")
    host.poll()
    assert front.got == b"ab\xffcd"
    client.close()
    host.close()


# -- the others


def test_a_pseudo_terminal_goes_both_ways(capsys: pytest.CaptureFixture[str]) -> None:
    host = make(Chardev("pty"), "serial0", print)
    host.front = front = Front()
    name = capsys.readouterr().out.split()[4]
    assert host.filename == f"pty:{name}"
    fd = os.open(name, os.O_RDWR | os.O_NOCTTY)
    host.send(b"out\r\n")
    assert os.read(fd, 100) == b"out\r\n"
    os.write(fd, b"in\n")
    host.poll()
    assert front.got == b"in\n"
    os.close(fd)
    host.poll()
    assert host.connected
    host.close()


def test_named_pipes_go_both_ways(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.in")
    os.mkfifo(tmp_path / "p.out")
    host = make(Chardev("pipe", str(tmp_path / "p")), "c", print)
    host.front = front = Front()
    out, back = os.open(tmp_path / "p.out", os.O_RDONLY | os.O_NONBLOCK), os.open(tmp_path / "p.in", os.O_WRONLY)
    host.send(b"out")
    os.write(back, b"in")
    host.poll()
    assert os.read(out, 100) == b"out" and front.got == b"in"
    host.close()
    os.close(out)
    os.close(back)
    with pytest.raises(UsageError, match="expected a named pipe"):
        make(Chardev("pipe", str(tmp_path)), "c", print)


def test_a_ring_buffer_keeps_the_last_bytes() -> None:
    host = RingHost(Chardev("ringbuf", size=8), "c")
    host.send(b"0123456789")
    host.send(b"ab")
    assert host.take(3) == b"456" and host.take(100) == b"789ab" and host.take(1) == b""


def test_a_file_is_begun_anew_or_continued(tmp_path: Path) -> None:
    for append, content in ((False, b"x"), (True, b"xx"), (False, b"x")):
        host = make(Chardev("file", str(tmp_path / "f"), append=append), "c", print)
        host.send(b"x")
        host.close()
        assert (tmp_path / "f").read_bytes() == content
    with pytest.raises(UsageError, match="expected a file to write to"):
        make(Chardev("file", "/nowhere/at/all"), "c", print)


def test_a_mux_gives_the_keyboard_to_one_front_at_a_time() -> None:
    mux = Mux(Escapes())
    one, two = Front(), Front()
    mux.add(one)
    mux.add(two)
    mux.receive(b"a\x01cb\x01")
    mux.receive(b"c\x01\x01d")
    assert one.got == b"a\x01d" and two.got == b"b"
    assert one.said == ["away", "here"] and two.said == ["here", "away"]
    two.space = 5
    mux.next()
    assert mux.room() == 5


def test_null_takes_everything() -> None:
    host: Host = make(Chardev("null"), "c", print)
    host.send(b"x" * 100)
    assert host.descriptors() == ([], []) and not host.live and host.backlog == 0
