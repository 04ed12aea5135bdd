"""Back ends, hubs, filters and options of the network, with a wire but without a guest."""

from __future__ import annotations

import os
import random
import select
import socket
import struct
import subprocess
import sys
from collections.abc import Callable

import pytest

from devices import ethernet
from emu.clock import Clock, wall
from emu.engine import slirp
from emu.inputs import Inputs
from emu.net.hub import Hub, HubPort
from emu.net.network import Network
from emu.net.options import latency, rate
from emu.net.queue import QUANTUM, Output
from emu.net.user import User, forward, settings
from emu.options import ShowAndExit, UsageError, parse

MAC = bytes.fromhex("525400123456")
GUEST, ROUTER = bytes((10, 0, 2, 15)), bytes((10, 0, 2, 2))


def library() -> bool:
    try:
        slirp.load()
    except slirp.Missing:
        return False
    return True


needs_slirp = pytest.mark.skipif(not library(), reason="libslirp is not installed")


def network(*words: str, say: Callable[[str], None] = print) -> Network:
    config = parse(words)
    filters = [(kind, props) for kind, props in config.objects.values() if kind.startswith("filter-")]
    return Network(config.netdevs, filters, say=say)


class Source:
    """Virtual time that stands still unless told."""

    icount = 0
    time_offset = 0

    def now(self) -> int:
        return self.time_offset

    def stop_at(self, deadline: int) -> None:
        pass


class Guest:
    """The machine's side of a wire: a gate, and a card that keeps what it receives."""

    def __init__(self, net: Network, name: str) -> None:
        self.net = net
        self.source = Source()
        self.clock = Clock(self.source)
        self.inputs = Inputs(self.clock, lambda: 0)
        self.got: list[bytes] = []
        self.deaf = False
        self.wire = net.port(self, name, "test")  # type: ignore[arg-type]
        self.wire.attach(self._receive)
        self.patience = lambda: None

    def _receive(self, frame: bytes) -> bool:
        if not self.deaf:
            self.got.append(frame)
        return not self.deaf

    def turn(self) -> None:
        """Let frames at the gate enter."""
        self.source.time_offset += 1000
        self.clock.fire()

    def until(self, done: Callable[[], object], seconds: float = 5.0) -> None:
        """Poll until something is so."""
        end = wall() + seconds
        while not done():
            assert wall() < end, "nothing came"
            readers, writers = self.net.descriptors()
            select.select(readers, writers, [], min(0.01, self.net.timeout() or 0.01))
            self.net.poll()
            self.turn()


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def arp(address: bytes) -> bytes:
    return b"\xff" * 6 + MAC + bytes.fromhex("08060001080006040001") + MAC + GUEST + bytes(6) + address


def ipv4(protocol: int, body: bytes, to: bytes = ROUTER, source: bytes = GUEST) -> bytes:
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 1, 0, 64, protocol, 0, source, to)
    header = header[:10] + ethernet.checksum(ethernet.total(header)).to_bytes(2, "big") + header[12:]
    return bytes.fromhex("525500000202") + MAC + b"\x08\x00" + header + body


def ping(to: bytes) -> bytes:
    body = b"\x08\x00\x00\x00\x00\x01\x00\x01" + b"x" * 32
    return ipv4(1, body[:2] + ethernet.checksum(ethernet.total(body)).to_bytes(2, "big") + body[4:], to)


def udp(port: int, to_port: int, data: bytes, to: bytes = ROUTER, source: bytes = GUEST) -> bytes:
    return ipv4(17, struct.pack(">HHHH", port, to_port, 8 + len(data), 0) + data, to, source)


def dhcp(kind: int, extra: bytes = b"") -> bytes:
    body = struct.pack(">BBBBIHH16s16s", 1, 1, 6, 0, 0x1234, 0, 0x8000, b"", MAC).ljust(236, b"\0")
    body += bytes.fromhex("63825363") + bytes((53, 1, kind)) + extra + b"\xff"
    return udp(68, 67, body, b"\xff" * 4, bytes(4))


# -- the user network


@pytest.fixture
def user():
    if not library():
        pytest.skip("libslirp is not installed")
    guest = Guest(network("-netdev", "user,id=n"), "n")
    yield guest
    guest.net.close()


def test_the_router_answers_arp_before_the_guest_runs_on(user) -> None:
    user.wire.send(arp(ROUTER))
    user.turn()
    assert user.got and user.got[0][28:32] == ROUTER


def test_dhcp_gives_the_first_address(user) -> None:
    user.wire.send(dhcp(1))
    user.turn()
    (offer,) = user.got
    assert offer[58:62] == GUEST


def test_the_router_answers_a_ping_and_nothing_keeps_the_guest_waiting(user) -> None:
    user.wire.send(arp(ROUTER))
    user.wire.send(ping(ROUTER))
    user.turn()
    assert user.got[-1][34] == 0
    assert not user.net.busy


def test_the_first_ping_of_somebody_outside_says_what_it_needs(monkeypatch) -> None:
    if not library():
        pytest.skip("libslirp is not installed")
    said: list[str] = []
    guest = Guest(network("-netdev", "user,id=n", say=said.append), "n")
    real = socket.socket

    def refused(*words, **more):
        if len(words) > 2 and words[2] == socket.IPPROTO_ICMP:
            raise PermissionError
        return real(*words, **more)

    monkeypatch.setattr(socket, "socket", refused)
    guest.wire.send(arp(ROUTER))
    for _ in range(3):
        guest.wire.send(ping(bytes((192, 0, 2, 1))))
    guest.net.close()
    assert len(said) == 1 and "192.0.2.1" in said[0] and "ping_group_range" in said[0]


class Tcp:
    """Just enough of a TCP in a guest to open a connection and talk."""

    def __init__(self, guest: Guest, port: int, to_port: int) -> None:
        self.guest, self.port, self.to_port = guest, port, to_port
        self.sequence, self.acknowledge = 1000, 0
        self.data = b""
        self.state = "new"

    def send(self, flags: int, payload: bytes = b"", *, large: bool = False) -> None:
        head = struct.pack(
            ">HHIIBBHHH", self.port, self.to_port, self.sequence, self.acknowledge, 0x50, flags, 65535, 0, 0
        )
        frame = ipv4(6, head + payload)
        if large:
            self.guest.wire.send_large(frame, 1460)
        else:
            self.guest.wire.send(ethernet.whole(frame) or b"")
        self.sequence += len(payload) + (flags & 3 > 0)
        self.guest.turn()
        self.take()

    def take(self) -> None:
        for frame in self.guest.got:
            part = ethernet.parse(frame)
            if part is None or int.from_bytes(frame[part.tcp + 2 : part.tcp + 4], "big") != self.port:
                continue
            sequence, flags = int.from_bytes(frame[part.tcp + 4 : part.tcp + 8], "big"), frame[part.tcp + 13]
            payload = frame[part.payload : 14 + int.from_bytes(frame[16:18], "big")]
            if flags & 2:
                self.acknowledge, self.state = sequence + 1, "open"
            if flags & 4:
                self.state = "reset"
            if payload and sequence == self.acknowledge:
                self.data += payload
                self.acknowledge += len(payload)
        self.guest.got.clear()


def test_a_connection_to_the_router_reaches_the_loopback_of_the_host(user) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        user.wire.send(arp(ROUTER))
        tcp = Tcp(user, 4000, server.getsockname()[1])
        tcp.send(2)
        peer, _ = server.accept()
        user.until(lambda: (tcp.take(), tcp.state == "open")[1])
        assert user.net.busy and user.net.live
        tcp.send(0x10)
        tcp.send(0x18, b"hello", large=False)
        assert peer.recv(10) == b"hello"
        big = random.Random(1).randbytes(20_000)
        tcp.send(0x18, big, large=True)
        got = b""
        while len(got) < len(big):
            got += peer.recv(65536)
        assert got == big
        peer.sendall(b"answer")
        user.until(lambda: (tcp.take(), tcp.data == b"answer")[1])
        peer.close()


@needs_slirp
@pytest.mark.parametrize("option", ["restrict=on", "host-loopback=off"])
def test_a_network_that_is_shut_does_not_reach_the_loopback_of_the_host(option) -> None:
    guest = Guest(network("-netdev", f"user,id=n,{option}"), "n")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        guest.wire.send(arp(ROUTER))
        tcp = Tcp(guest, 4000, server.getsockname()[1])
        tcp.send(2)
        for _ in range(20):
            guest.net.poll()
            guest.turn()
        with pytest.raises(BlockingIOError):
            server.accept()
    guest.net.close()


@needs_slirp
def test_a_forwarded_port_leads_to_the_guest_and_keeps_the_network_live() -> None:
    port = free_port()
    guest = Guest(network("-netdev", f"user,id=n,hostfwd=tcp::{port}-:22"), "n")
    assert guest.net.live and not guest.net.busy
    guest.wire.send(arp(ROUTER))
    with socket.create_connection(("127.0.0.1", port)):
        guest.until(lambda: any(frame[36:38] == b"\x00\x16" or frame[12:14] == b"\x08\x06" for frame in guest.got[1:]))
    guest.net.close()


@needs_slirp
def test_a_forwarded_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(UsageError, match=rf"hostfwd: tcp port {port} on 127.0.0.1: Address already in use"):
            network("-netdev", f"user,id=n,hostfwd=tcp::{port}-:22")


@needs_slirp
def test_tftp_serves_the_directory_and_nothing_above_it(tmp_path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "file").write_bytes(b"content of the file")
    (tmp_path / "secret").write_bytes(b"secret")
    guest = Guest(network("-netdev", f"user,id=n,tftp={tmp_path}/root,bootfile=file"), "n")
    guest.wire.send(arp(ROUTER))
    guest.wire.send(udp(2000, 69, b"\0\1/file\0octet\0"))
    guest.turn()
    assert b"content of the file" in guest.got[-1]
    for name in (b"../secret", b"/../secret", b"root/../../secret", str(tmp_path / "secret").encode()):
        guest.got.clear()
        guest.wire.send(udp(2001, 69, b"\0\1" + name + b"\0octet\0"))
        guest.turn()
        assert not any(b"secret" in frame[44:] and frame[43:44] == b"\3" for frame in guest.got)
    guest.net.close()


@needs_slirp
@pytest.mark.parametrize("seed", range(4))
def test_malformed_arp_dhcp_dns_tftp_and_tcp_do_no_harm(seed) -> None:
    rng = random.Random(seed)
    guest = Guest(network("-netdev", "user,id=n,restrict=on"), "n")
    guest.wire.send(arp(ROUTER))
    good = [
        arp(ROUTER), dhcp(1), dhcp(3, bytes((50, 4, 10, 0, 2, 15))), ping(ROUTER), udp(3000, 53, rng.randbytes(40)),
        udp(3001, 69, b"\0\1name\0octet\0blksize\x009999\0"), ipv4(6, rng.randbytes(40)), ipv4(1, b""), ipv4(17, b"x"),
        ipv4(2, bytes(8)), MAC + MAC + b"\x86\xdd" + rng.randbytes(60),
    ]  # fmt: skip
    for step in range(3000):
        data = bytearray(rng.choice(good))
        for _ in range(rng.randrange(5)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if rng.random() < 0.3:
            del data[rng.randrange(len(data)) :]
        elif rng.random() < 0.1:
            data += rng.randbytes(rng.randrange(3000))
        guest.wire.send(bytes(data))
        if step % 50 == 0:
            guest.net.poll()
            guest.turn()
            guest.got.clear()
    guest.wire.send(arp(ROUTER))
    guest.turn()
    assert guest.got
    guest.net.close()


@needs_slirp
def test_a_frame_of_every_length_does_no_harm() -> None:
    guest = Guest(network("-netdev", "user,id=n,restrict=on"), "n")
    whole = udp(1, 2, bytes(range(256)) * 6)
    for length in range(1600):
        guest.wire.send(whole[:length].ljust(length, b"\0"))
    guest.wire.send(bytes(65549))
    guest.net.close()


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("net=10.0.2", "expected an IPv4 address"),
        ("net=10.0.2.0/31", "mask of 4 to 28 bits"),
        ("dns=10.0.3.3", "dns: 10.0.3.3 is not an address in 10.0.2.0/24"),
        ("dns=10.0.2.2", "expected three different addresses"),
        ("tftp=/no/such/place", "expected a directory"),
        ("restrict=maybe", "expected on or off"),
        ("hostfwd=tcp:22-22", "expected [tcp|udp]"),
        ("hostfwd=tcp::0-:22", "expected 1 to 65535"),
        ("hostfwd=tcp:nowhere:1-:22", "expected an IPv4 address"),
        ("guestfwd=tcp:10.0.2.100:80-cmd:cat", "no option of Emu runs a program"),
        ("guestfwd=nonsense", "guestfwd: expected"),
    ],
)
def test_a_property_that_cannot_be_is_refused_with_its_name(option, text) -> None:
    key, value = option.split("=", 1)
    with pytest.raises(UsageError) as caught:
        User("n", [(key, value)], print) if key in ("hostfwd", "guestfwd") else settings("n", [(key, value)])
    assert text in str(caught.value) and "\n" not in str(caught.value)


def test_forwarding_listens_on_the_loopback_unless_told_otherwise() -> None:
    assert forward("tcp::80-:8080", "x") == (False, "127.0.0.1", 80, "0.0.0.0", 8080)
    assert forward("udp:0.0.0.0:80-10.0.2.15:8080", "x") == (True, "0.0.0.0", 80, "10.0.2.15", 8080)


def test_a_missing_library_is_one_line(monkeypatch) -> None:
    monkeypatch.setattr(slirp, "_loaded", None)
    monkeypatch.setattr(slirp, "LIBRARIES", ("libnothing.so.0",))
    with pytest.raises(UsageError, match="needs libslirp") as caught:
        network("-netdev", "user,id=n")
    assert "\n" not in str(caught.value)


# -- sockets


def joined(one: str, two: str) -> tuple[Guest, Guest]:
    first = Guest(network("-netdev", one), "n")
    second = Guest(network("-netdev", two), "n")
    return first, second


def pairs(tmp_path) -> list[tuple[str, str]]:
    tcp, one, two = free_port(), free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)
    path = tmp_path / "wire"
    return [
        (f"socket,id=n,listen=:{tcp}", f"socket,id=n,connect=127.0.0.1:{tcp}"),
        (f"unix,id=n,path={path},server=on", f"stream,id=n,addr.type=unix,addr.path={path}"),
        (
            f"socket,id=n,udp=127.0.0.1:{one},localaddr=127.0.0.1:{two}",
            f"socket,id=n,udp=127.0.0.1:{two},localaddr=127.0.0.1:{one}",
        ),
        (f"socket,id=n,mcast=239.7.7.7:{one}", f"socket,id=n,mcast=239.7.7.7:{one}"),
    ]


@pytest.mark.parametrize("kind", range(4))
def test_two_machines_on_one_wire_hear_each_other_and_not_themselves(tmp_path, kind) -> None:
    first, second = joined(*pairs(tmp_path)[kind])
    first.net.poll()
    second.net.poll()
    for n, (here, there) in enumerate(((first, second), (second, first))):
        frames = [bytes((n, k)) + bytes(60 + 700 * k) for k in range(3)]
        for frame in frames:
            here.wire.send(frame)
        there.until(lambda there=there: len(there.got) == 3)
        assert there.got == frames
        here.net.poll()
        here.turn()
        assert not [frame for frame in here.got if frame in frames]
    first.net.close()
    second.net.close()


def test_a_peer_that_sends_nonsense_is_hung_up_on_and_the_next_one_is_taken() -> None:
    port, said = free_port(), []
    guest = Guest(network("-netdev", f"socket,id=n,listen=:{port}", say=said.append), "n")
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall(b"\xff\xff\xff\xff nonsense")
        guest.until(lambda: said)
        assert "frame of 4294967295 bytes" in said[0]
    with socket.create_connection(("127.0.0.1", port)) as peer:
        data = bytes(range(200))
        for byte in struct.pack(">I", 200) + data:
            peer.sendall(bytes((byte,)))
        guest.until(lambda: guest.got)
        assert guest.got == [data]
    guest.net.close()


def test_what_nobody_reads_fills_no_memory() -> None:
    port = free_port()
    guest = Guest(network("-netdev", f"socket,id=n,listen=:{port}"), "n")
    with socket.create_connection(("127.0.0.1", port)):
        guest.until(lambda: "connected" in guest.wire.backend.describe().split(",")[1].split())
        for _ in range(6000):
            guest.wire.send(bytes(1500))
        assert len(guest.wire.backend._out) <= 1 << 20
    guest.net.close()


def test_a_card_that_takes_nothing_stops_the_reading_of_its_wire() -> None:
    port = free_port()
    guest = Guest(network("-netdev", f"socket,id=n,listen=:{port}"), "n")
    guest.deaf = True
    with socket.create_connection(("127.0.0.1", port)) as peer:
        guest.until(lambda: guest.wire.backend.busy)
        peer.setblocking(False)
        sent = 0
        try:
            while sent < 64 << 20:
                sent += peer.send((struct.pack(">I", 1000) + bytes(1000)) * 50)
                guest.net.poll()
                guest.turn()
        except BlockingIOError:
            pass
        assert sent < 64 << 20
        assert guest.wire._channel.waiting < 2048
        guest.deaf = False
        guest.wire.ready()
        guest.turn()
        assert guest.got
    guest.net.close()


def test_a_unix_socket_is_only_for_its_owner_and_gone_afterwards(tmp_path) -> None:
    path = tmp_path / "wire"
    net = network("-netdev", f"unix,id=n,path={path},server=on")
    assert path.stat().st_mode & 0o077 == 0
    net.close()
    assert not path.exists()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("socket,id=n", "expected one of listen="),
        ("socket,id=n,listen=:1,connect=:2", "expected one of listen="),
        ("socket,id=n,connect=127.0.0.1:1", "cannot connect to 127.0.0.1:1: Connection refused"),
        ("socket,id=n,mcast=10.0.0.1:1000", "is no multicast group"),
        ("socket,id=n,udp=127.0.0.1:99", "needs localaddr"),
        ("socket,id=n,listen=:port", "expected HOST:PORT"),
        ("stream,id=n,addr.type=fd", "expected unix or inet"),
        ("unix,id=n,path=/no/such/dir/s,server=on", "cannot listen at /no/such/dir/s: No such file"),
        ("tap,id=n,script=/etc/qemu-ifup", "no option of Emu runs a program"),
        ("tap,id=n,ifname=averyverylongname", "at most 15 bytes"),
        ("hubport,id=n", "expected hubid=NUMBER"),
        ("hubport,id=n,hubid=0,netdev=nobody", "unknown netdev nobody"),
        ("nonsense,id=n", "unknown netdev type nonsense"),
        ("user", "expected id=ID"),
        ("user,id=n,hostfw=x", "did you mean hostfwd?"),
        ("user,id=n,smb=/tmp", "no option of Emu runs a program"),
        ("user,id=n,rate=fast", "expected bits a second"),
        ("user,id=n,latency=1h", "expected 0 to 60 seconds"),
        ("vde,id=n", "not available"),
    ],
)
def test_a_bad_netdev_is_one_line(words, text) -> None:
    with pytest.raises(UsageError) as caught:
        network("-netdev", words).close()
    assert text in str(caught.value) and "\n" not in str(caught.value)


def test_a_bad_netdev_ends_the_command_with_status_1() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "emu", "run", "-netdev", "socket,id=n,connect=127.0.0.1:1", "-device", "e1000,netdev=n"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "Connection refused" in done.stderr


def test_netdev_help_lists_the_kinds() -> None:
    with pytest.raises(ShowAndExit, match="hubport"):
        parse(["-netdev", "help"])


# -- options


def test_nic_is_a_back_end_and_a_card() -> None:
    config = parse(["-nic", "user,model=ne2k_pci,mac=52:54:00:00:00:01,restrict=on"])
    (netdev,) = config.netdevs
    assert (netdev.kind, netdev.props) == ("user", [("restrict", "on")])
    assert config.devices == [("ne2k_pci", {"netdev": netdev.id, "mac": "52:54:00:00:00:01"})]


def test_the_old_form_puts_cards_and_back_ends_on_one_hub() -> None:
    config = parse(["-net", "nic,model=e1000", "-net", "user"])
    kinds = {netdev.id: netdev.kind for netdev in config.netdevs}
    assert sorted(kinds.values()) == ["hubport", "hubport", "user"]
    assert config.devices[0][0] == "e1000"
    assert parse(["-net", "none", "-nic", "none"]).netdevs == []


@pytest.mark.parametrize("mac", ["01:00:00:00:00:00", "52:54:00", "zz:54:00:12:34:56", "52-54:00:12:34:56"])
def test_a_mac_address_of_no_card_is_refused(mac) -> None:
    with pytest.raises(UsageError, match="MAC address of one card"):
        parse(["-nic", f"user,mac={mac}"])


def test_cards_without_an_address_get_one_after_the_other() -> None:
    net = Network([], say=print)
    assert net.mac("52:54:00:12:34:57").hex() == "525400123457"
    assert [net.mac(None).hex() for _ in "xy"] == ["525400123456", "525400123458"]


def test_rates_are_bits_and_latencies_seconds() -> None:
    assert rate("10M", "x") == 1.25e6
    assert rate("0", "x") is None
    assert latency("5ms", "x") == pytest.approx(0.005)


# -- hubs and the fair queue


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_frame_goes_from_one_port_of_a_hub_to_all_others() -> None:
    hub, got = Hub(0), {}
    ports = [HubPort(f"p{n}", hub) for n in range(3)]
    for port in ports:
        port.deliver = got.setdefault(port.name, []).append
    ports[1].send(b"frame")
    assert got == {"p0": [b"frame"], "p1": [], "p2": [b"frame"]}


def test_of_an_output_that_others_flood_a_quiet_source_keeps_its_share_and_waits_a_quantum_for_each() -> None:
    """1 Mbyte/s; two sources flood with long frames, a third asks for a fifth of the rate with short ones."""
    time, got = Time(), []
    out = Output(lambda frame: (got.append((time.now, frame)), True)[1], 1e6, now=time)
    sent, waits = 0, []
    for step in range(20_000):
        time.now = step * 1e-4
        for source in (1, 2):
            for _ in range(4):
                out.put(source, bytes((source,)) + bytes(1513))
        if step % 10 == 0:
            out.put(3, b"\3" + step.to_bytes(4, "big") + bytes(175))
            sent += 1
        out.run()
    quiet = [(at, frame) for at, frame in got if frame[0] == 3]
    waits = [at - int.from_bytes(frame[1:5], "big") * 1e-4 for at, frame in quiet]
    assert len(quiet) >= sent - 3 and 3 not in out.lost
    # One quantum of each of the two others, the frame on the wire, and the step of this test.
    assert max(waits) < (3 * (QUANTUM + 24) + 200) / 1e6 + 2e-4
    loud = [sum(len(frame) for _, frame in got if frame[0] == source) for source in (1, 2)]
    assert abs(loud[0] - loud[1]) < 0.05 * loud[0]
    assert out.lost[1] > 0


def test_equal_floods_get_equal_shares_whatever_the_length_of_their_frames() -> None:
    time, bytes_of = Time(), {1: 0, 2: 0, 3: 0}

    def sink(frame: bytes) -> bool:
        bytes_of[frame[0]] += len(frame)
        return True

    out = Output(sink, 1e6, now=time)
    for step in range(5000):
        time.now = step * 2e-4
        for source, length in ((1, 60), (2, 600), (3, 1514)):
            for _ in range(1 + 400 // length):
                out.put(source, bytes((source,)) + bytes(length - 1))
    assert max(bytes_of.values()) < 1.15 * min(bytes_of.values())


def test_the_rate_of_an_output_holds() -> None:
    time, got = Time(), []
    out = Output(lambda frame: (got.append(frame), True)[1], 125_000, now=time)
    for step in range(10_000):
        time.now = step * 1e-3
        out.put(0, bytes(1000))
    assert 0.95 < len(got) * 1024 / (125_000 * 10) < 1.05


def test_latency_delays_each_frame_and_keeps_the_order() -> None:
    time, got = Time(), []
    out = Output(lambda frame: (got.append((round(time.now, 3), frame)), True)[1], None, 0.01, now=time)
    for n in range(3):
        time.now = n * 0.001
        out.put(0, bytes((n,)))
    assert out.timeout() == pytest.approx(0.008)
    for n in range(20):
        time.now = n * 0.001
        out.run()
    assert got == [(0.01, b"\0"), (0.011, b"\1"), (0.012, b"\2")]
    assert out.timeout() is None and not out.pending


def test_a_sink_without_room_keeps_frames_in_turn() -> None:
    got, room = [], [False]
    out = Output(lambda frame: room[0] and (got.append(frame[0]), True)[1])
    for _ in range(3):
        for source in (1, 2):
            out.put(source, bytes((source,)) + bytes(1513))
    room[0] = True
    out.run()
    assert got == [1, 2, 1, 2, 1, 2]


# -- filters


def test_a_dump_is_a_file_of_packets_in_the_time_of_the_guest(tmp_path) -> None:
    path, port = tmp_path / "d.pcap", free_port()
    net = network(
        "-netdev", f"socket,id=n,listen=:{port}", "-object", f"filter-dump,id=f,netdev=n,file={path},maxlen=100"
    )
    guest = Guest(net, "n")
    net._machine = guest  # type: ignore[assignment]
    guest.source.time_offset = 5_000_000_007
    guest.wire.send(bytes(range(200)))
    net.close()
    data = path.read_bytes()
    assert struct.unpack_from("<IHHiIII", data) == (0xA1B23C4D, 2, 4, 0, 0, 100, 1)
    seconds, ns, kept, length = struct.unpack_from("<IIII", data, 24)
    assert (seconds - 1735689600, ns, kept, length) == (5, 7, 100, 200)
    assert data[40:] == bytes(range(100))


def test_a_dump_of_what_came_shows_it_when_the_card_took_it(tmp_path) -> None:
    path, port = tmp_path / "d.pcap", free_port()
    net = network("-netdev", f"socket,id=n,listen=:{port}", "-object", f"filter-dump,id=f,netdev=n,file={path}")
    guest = Guest(net, "n")
    guest.wire.deliver(b"x" * 60)
    guest.turn()
    net.close()
    assert len(path.read_bytes()) == 24 + 16 + 60


def test_a_filter_of_no_netdev_or_no_file_is_refused(tmp_path) -> None:
    with pytest.raises(UsageError, match="unknown netdev m"):
        network("-netdev", "hubport,id=n,hubid=0", "-object", f"filter-dump,id=f,netdev=m,file={tmp_path}/x")
    with pytest.raises(UsageError, match="filter-dump: /no/such/dir"):
        network("-netdev", "hubport,id=n,hubid=0", "-object", "filter-dump,id=f,netdev=n,file=/no/such/dir/x")


def test_a_buffer_holds_frames_until_its_interval_is_over() -> None:
    port = free_port()
    net = network("-netdev", f"socket,id=n,listen=:{port}", "-object", "filter-buffer,id=f,netdev=n,interval=20000")
    guest = Guest(net, "n")
    guest.wire.deliver(b"x" * 60)
    guest.turn()
    assert guest.got == [] and net.busy
    guest.until(lambda: guest.got)
    net.close()


def test_an_interface_of_the_host_carries_frames_both_ways() -> None:
    """The host's own ARP and UDP on one side, a neighbour made of three frames on the other."""
    name = f"emu{os.getpid() % 100000}"
    try:
        net = network("-netdev", f"tap,id=n,ifname={name},script=no,downscript=no")
    except UsageError as error:
        pytest.skip(f"this host lets us open no tap interface: {error}")
    try:
        for words in (("addr", "add", "192.168.213.1/30", "dev", name), ("link", "set", name, "up")):
            try:
                subprocess.run(["ip", *words], check=True, capture_output=True)
            except (OSError, subprocess.CalledProcessError) as error:
                pytest.skip(f"ip {' '.join(words)}: {error}")
        got: list[bytes] = []
        wire = net.wires["n"]
        wire.backend.deliver = got.append
        host, guest = bytes((192, 168, 213, 1)), bytes((192, 168, 213, 2))

        def until(kind: bytes) -> bytes:
            for _ in range(500):
                net.poll()
                for frame in got:
                    if frame[12:14] == kind and frame[14:34].find(guest if kind == b"\x08\x00" else b"") >= 0:
                        return frame
                select.select(*net.descriptors(), [], 0.01)
            pytest.fail(f"no frame of kind {kind.hex()} in {[frame[:42].hex() for frame in got]}")

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind(("192.168.213.1", 0))
            udp.settimeout(5)
            udp.sendto(b"question", ("192.168.213.2", 9))
            asked = until(b"\x08\x06")
            assert asked[28:32] == host and asked[38:42] == guest
            wire.send(asked[6:12] + MAC + asked[12:20] + b"\0\2" + MAC + guest + asked[6:12] + host)
            packet = until(b"\x08\x00")
            assert packet[:6] == MAC and packet[42:] == b"question"
            header = bytearray(packet[14:34])
            header[12:20] = guest + host
            answer = packet[36:38] + packet[34:36] + packet[38:40] + b"\0\0" + b"answered"
            wire.send(packet[6:12] + MAC + b"\x08\x00" + bytes(header) + answer)
            assert udp.recvfrom(100) == (b"answered", ("192.168.213.2", 9))
    finally:
        net.close()
