"""Unmodified drivers on a network: DHCP, files over TCP both ways, forwarded ports, two machines on a wire, net boot.

EMU_NET_MIB says how many MiB go through `nc` each way (default 2; a release takes 1024).
"""

from __future__ import annotations

import hashlib
import http.server
import os
import random
import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from emu.engine import slirp
from tests.guests.command import Result, dialogue, emu, ended_well, guest, lines, package, stats

pytestmark = pytest.mark.guest

MIB = int(os.environ.get("EMU_NET_MIB", "2"))
TIMEOUT = 300 + 10 * MIB
UP = "ip link set lo up; ip link set eth0 up"
LEASE = (
    "printf '#!/bin/sh\\\\n[ $1 = bound ] && ip addr add $ip/24 dev eth0 && ip route add default via $router && "
    "echo LEASE $ip' > /tmp/s; chmod +x /tmp/s; udhcpc -q -n -i eth0 -s /tmp/s"
)


@pytest.fixture(autouse=True)
def library() -> None:
    try:
        slirp.load()
    except slirp.Missing as error:
        pytest.skip(f"libslirp is not installed: {error}")


def linux(commands: str, *words: str, expect: tuple[str, ...] = ()) -> Result:
    """A shell on Linux for i386 that runs commands."""
    files = ["-kernel", guest("linux-i386", "bzImage"), "-initrd", guest("linux-i386", "initrd.gz")]
    steps = dialogue("/ # ", f">{commands}; echo DO''NE", *expect, "DONE")
    return emu("-m", "256", "-nographic", *files, "-append", "console=ttyS0 quiet", *words, *steps, timeout=TIMEOUT)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def files(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A server of files on the loopback of the host: its port and its directory."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1], tmp_path
        server.shutdown()


def serve(action: Callable[[socket.socket], object]) -> tuple[int, threading.Thread, list[object]]:
    """Accept one connection on the loopback; what `action` returns is put into the list."""
    server, got = socket.create_server(("127.0.0.1", 0)), []
    server.settimeout(TIMEOUT)

    def work() -> None:
        with server, server.accept()[0] as peer:
            got.append(action(peer))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return server.getsockname()[1], thread, got


def digest_of(peer: socket.socket) -> str:
    total = hashlib.sha256()
    while data := peer.recv(1 << 18):
        total.update(data)
    return total.hexdigest()


@pytest.mark.parametrize("card, dumped", [("e1000", True), ("virtio-net-pci", True), ("virtio-net-pci", False)])
def test_a_lease_a_file_from_the_host_and_nc_both_ways_and_the_same_again_without_a_network(
    card: str, dumped: bool, files: tuple[int, Path], tmp_path: Path
) -> None:
    """A wire that is not watched is lent to the processor."""
    port, directory = files
    content = random.Random(card).randbytes(1 << 20)
    (directory / "file").write_bytes(content)
    outward, first, got = serve(digest_of)
    inward, second, _ = serve(lambda peer: [peer.sendall(content) for _ in range(MIB)])
    commands = (
        f"{UP}; {LEASE}; ping -c 1 10.0.2.2; wget -q -O /tmp/f http://10.0.2.2:{port}/file; sha256sum /tmp/f; "
        f"for i in $(seq {MIB}); do cat /tmp/f; done | nc 10.0.2.2 {outward}; "
        f"nc 10.0.2.2 {inward} < /dev/null | sha256sum"
    )
    record, dump = tmp_path / "run", tmp_path / "dump"
    network = ["-netdev", "user,id=n", "-device", f"{card},netdev=n", "--stats"]
    watch = ["-object", f"filter-dump,id=f,netdev=n,file={dump}"] if dumped else []
    result = linux(commands, *network, *watch, "--record", str(record))
    ended_well(result)
    first.join(10)
    second.join(10)
    seen = "\n".join(lines(result))
    whole = hashlib.sha256(content * MIB).hexdigest()
    assert "LEASE 10.0.2.15" in seen and "1 packets received" in seen
    assert hashlib.sha256(content).hexdigest() in seen and f"{whole}  -" in seen
    assert got == [whole]
    if dumped:
        packets = pcap(dump)
        assert any(packet[12:14] == b"\x08\x06" for packet in packets) and len(packets) > 100
    # The server is still there, but nothing is opened: what came in is in the recording.
    again = linux(commands, *network, "--replay", str(record))
    ended_well(again)
    assert stats(again)["state_digest"] == stats(result)["state_digest"]
    assert again.stdout == result.stdout


def pcap(path: Path) -> list[bytes]:
    """The packets of a file, read by its specification."""
    data = path.read_bytes()
    magic, major, _, _, _, _, link = struct.unpack_from("<IHHiIII", data)
    assert (magic, major, link) == (0xA1B23C4D, 2, 1)
    packets, at = [], 24
    while at < len(data):
        _, ns, kept, length = struct.unpack_from("<IIII", data, at)
        assert ns < 1_000_000_000 and kept <= length
        packets.append(data[at + 16 : at + 16 + kept])
        at += 16 + kept
    return packets


def test_a_run_that_only_asks_the_router_is_the_same_each_time() -> None:
    runs = [linux(f"{UP}; {LEASE}; ping -c 2 10.0.2.2", "-nic", "user,model=e1000", "--stats") for _ in range(2)]
    for run in runs:
        ended_well(run)
    assert stats(runs[0])["state_digest"] == stats(runs[1])["state_digest"]


def test_a_forwarded_port_reaches_a_server_in_the_guest() -> None:
    port, answers = free_port(), []

    def ask() -> None:
        for _ in range(3000):
            try:
                with socket.create_connection(("127.0.0.1", port), 1) as peer:
                    peer.settimeout(60)
                    answer = peer.recv(100)
            except OSError:
                answer = b""
            if answer:
                answers.append(answer)
                return
            threading.Event().wait(0.1)

    client = threading.Thread(target=ask, daemon=True)
    client.start()
    commands = f"{UP}; ip addr add 10.0.2.15/24 dev eth0; echo SSH-2.0-guest > /tmp/b; nc -l -p 22 < /tmp/b"
    result = linux(commands, "-netdev", f"user,id=n,hostfwd=tcp::{port}-:22", "-device", "e1000,netdev=n")
    ended_well(result)
    client.join(10)
    assert answers == [b"SSH-2.0-guest\n"]


def test_two_machines_ping_each_other_and_move_a_file_over_a_socket() -> None:
    port = free_port()
    one = f"{UP}; ip addr add 192.168.7.1/24 dev eth0; nc -l -p 5555 > /tmp/f; sha256sum /tmp/f; ping -c 2 192.168.7.2"
    two = (
        f"{UP}; ip addr add 192.168.7.2/24 dev eth0; until ping -c 1 -W 1 192.168.7.1; do :; done; "
        "head -c 300000 /dev/urandom > /tmp/f; until nc 192.168.7.1 5555 < /tmp/f; do sleep 1; done; sha256sum /tmp/f; "
        "sleep 8"
    )
    with ThreadPoolExecutor() as pool:
        listening = pool.submit(linux, one, "-netdev", f"socket,id=n,listen=:{port}", "-device", "e1000,netdev=n")
        # Who connects needs somebody who listens.
        connecting = None
        while connecting is None:
            threading.Event().wait(0.2)
            done = linux_when_open(pool, two, port)
            connecting = done
        results = [listening.result(), connecting.result()]
    sums = []
    for result in results:
        ended_well(result)
        seen = lines(result)
        assert any("0% packet loss" in line for line in seen)
        sums.append(next(line.split()[0] for line in seen if line.endswith("  /tmp/f")))
    assert sums[0] == sums[1]


def linux_when_open(pool: ThreadPoolExecutor, commands: str, port: int) -> Any:
    """Start the machine that connects once the other one listens: its line in the list of sockets says so."""
    table = Path("/proc/net/tcp").read_text().splitlines()
    if not any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in table[1:]):
        return None
    card = "virtio-net-pci,netdev=n,mac=52:54:00:12:34:57"
    return pool.submit(linux, commands, "-netdev", f"socket,id=n,connect=127.0.0.1:{port}", "-device", card)


@pytest.mark.parametrize("card", ["e1000", "ne2k_pci"])
def test_bamboo_gets_its_lease(card: str) -> None:
    words = ["-M", "bamboo", "-m", "128", "-nographic", "-kernel", guest("linux-bamboo", "vmlinux"), "-append"]
    words += ["console=ttyS0", "-initrd", guest("ppc-rootfs", "bamboo-2022.08.cpio"), "-nic", f"user,model={card}"]
    ended_well(emu(*words, *dialogue("udhcpc: lease of 10.0.2.15", "buildroot login:")))


def test_an_e500_gets_its_lease() -> None:
    words = ["-M", "ppce500", "-cpu", "e500v2", "-m", "256", "-nographic", "-kernel", guest("linux-e500", "uImage")]
    words += ["-append", "console=ttyS0", "-initrd", guest("ppc-rootfs", "mpc8544ds-2023.11.cpio"), "-nic", "user"]
    ended_well(emu(*words, *dialogue("udhcpc: lease of 10.0.2.15", "buildroot login:")))


def test_ipxe_boots_from_our_tftp(tmp_path: Path) -> None:
    bios = package("/usr/share/seabios/bios.bin", "seabios")
    vga = package("/usr/share/seabios/vgabios-isavga.bin", "seabios")
    package("/usr/lib/ipxe/qemu/pxe-e1000.rom", "ipxe-qemu")
    (tmp_path / "boot").write_text("#!ipxe\necho CAME-BY-TFTP ${net0/ip}\nshell\n")
    words = ["-bios", bios, "-fw_cfg", f"name=vgaroms/vgabios.bin,file={vga}", "-m", "64", "-boot", "n"]
    words += ["-netdev", f"user,id=n,tftp={tmp_path},bootfile=boot", "-device", "e1000,netdev=n"]
    ended_well(emu(*words, "-display", "none", *dialogue("CAME-BY-TFTP 10.0.2.15")))


def test_u_boot_loads_a_file_by_tftp(tmp_path: Path) -> None:
    bios = package("/usr/lib/u-boot/qemu-ppce500/uboot.elf", "u-boot-qemu")
    content = random.Random(5).randbytes(200_000)
    (tmp_path / "file").write_bytes(content)
    words = ["-M", "ppce500", "-m", "256", "-nographic", "-bios", bios, "-device", "e1000,netdev=n"]
    words += ["-netdev", f"user,id=n,tftp={tmp_path},bootfile=file"]
    load = ("=> ", ">dhcp 1000000 file", "Bytes transferred = 200000", "=> ")
    check = (">crc32 1000000 30d40", f"==> {zlib.crc32(content):08x}")
    ended_well(emu(*words, *dialogue("stop autoboot", ">", *load, *check)))
