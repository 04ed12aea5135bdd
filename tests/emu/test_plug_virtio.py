"""The virtio devices as the command line names them, and what of them goes through the gate."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from devices.virtio.balloon import DEFLATE_ON_OOM, REPORTING, STATS, Balloon
from devices.virtio.console import Console
from devices.virtio.net import CSUM, MERGE, Net
from devices.virtio.p9 import P9
from devices.virtio.rng import Rng
from emu.boards import Setup
from emu.inputs import Input
from emu.machine import Machine
from emu.memory import Dma, GuestRam
from emu.options import UsageError, parse
from emu.session import Session

MIB = 1 << 20


def machine(*words: str) -> Machine:
    """A PC with these options, built and not run."""
    return Session(parse(["-m", "16", "-nodefaults", "--accel", "interp", *words]), attached=False).build()


def the(m: Machine, kind: type) -> list:
    return [device for device in m.devices.values() if isinstance(device, kind)]


def test_every_device_has_its_four_names() -> None:
    from emu.plug import KINDS

    for name in ("net", "rng", "balloon", "serial", "9p"):
        for form in ("pci", "pci-transitional", "pci-non-transitional", "device"):
            assert f"virtio-{name}-{form}" in KINDS


def test_entropy_differs_between_devices_and_not_between_runs() -> None:
    words = ("-device", "virtio-rng-pci", "-device", "virtio-rng-pci")
    one, other = (the(machine(*words), Rng) for _ in range(2))
    assert [device.seed for device in one] == [device.seed for device in other]
    assert one[0].seed != one[1].seed


def test_host_entropy_is_recorded_and_replayed(tmp_path: Path) -> None:
    source = tmp_path / "entropy"
    source.write_bytes(b"from the host, once")
    words = ("-object", f"rng-random,id=r,filename={source}", "-device", "virtio-rng-pci,rng=r")
    m = machine(*words)
    (device,) = the(m, Rng)
    assert device.source(8) == b"from the"
    assert device.source(100) == b" host, once"
    assert device.source(8) == b""
    recorded = [entry for entry in m.inputs.record if entry.channel.startswith("virtio-rng")]
    assert [entry.data for entry in recorded] == [b"from the", b" host, once"]
    source.write_bytes(b"something else, later")
    again = machine(*words)
    again.inputs.replay(recorded)
    (device,) = the(again, Rng)
    assert [device.source(8), device.source(100)] == [b"from the", b" host, once"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["-device", "virtio-rng-pci,rng=x"], "unknown -object x"),
        (["-device", "virtio-rng-pci,rgn=x"], "unknown property of virtio-rng-pci: rgn; did you mean .*rng"),
        (["-object", "rng-random"], "-object rng-random: expected id=NAME"),
        (["-object", "rng-random,id=a", "-object", "rng-builtin,id=a"], "the id a is in use"),
        (["-object", "rng-random,id=a,file=b"], "unknown property of rng-random: file; did you mean .*filename"),
        (["-object", "rng-rnadom,id=a"], "unknown object rng-rnadom; did you mean rng-random"),
        (
            ["-object", "rng-random,id=a,filename=/no/such", "-device", "virtio-rng-pci,rng=a"],
            "rng-random: /no/such: No such file or directory",
        ),
        (["-device", "virtio-9p-pci,fsdev=x,mount_tag=t"], "unknown fsdev x"),
        (["-device", "virtio-9p-pci,mount_tag=t"], "expected fsdev=ID"),
        (["--share", "/no/such"], "/no/such: expected a directory to share, found No such file"),
        (["--share", "/dev/null"], "/dev/null: expected a directory to share, found Not a directory"),
        (["--share", ""], "--share: expected a directory"),
        (["-virtfs", "local,path=/tmp"], "-virtfs: expected mount_tag=TAG"),
        (["-virtfs", "local,mount_tag=t"], "-virtfs local: expected path=DIRECTORY"),
        (["-virtfs", "proxy,path=/tmp,mount_tag=t"], "unknown -virtfs driver proxy"),
        (["-virtfs", "local,path=/tmp,mount_tag=t,security_model=loose"], "unknown -virtfs security_model loose"),
        (["-virtfs", f"local,path=/tmp,mount_tag={'t' * 33}"], "a mount tag has 1 to 32 bytes"),
        (["-fsdev", "local,path=/tmp"], "-fsdev: expected id=NAME"),
        (["-fsdev", "local,id=a,path=/tmp", "-fsdev", "local,id=a,path=/"], "-fsdev: the id a is in use"),
        (["-fsdev", "local,id=a,path=/tmp,mount_tag=x"], "unknown -fsdev property mount_tag"),
        (["-device", "virtconsole"], "there is no -device virtio-serial-pci for it"),
        (["-device", "virtio-serial-pci", "-device", "virtserialport,nr=0"], "nr=0 is for a virtconsole"),
        (["-device", "virtio-serial-pci,id=a", "-device", "virtconsole,bus=b.0"], "unknown bus b.0"),
        (["-device", "virtio-serial-pci", "-device", "virtconsole,chardev=c"], "unknown chardev c"),
        (["-device", "virtio-serial-pci", *["-device", "virtconsole,nr=3"] * 2], "port 3 is taken"),
        (["-device", "virtio-net-pci,mac=1"], "mac|MAC"),
        (["-device", "virtio-net-pci,netdev=x"], "unknown netdev x"),
        (["-device", "virtio-net-pci,host_mtu=5"], "68 to 65535"),
    ],
)
def test_what_cannot_be_is_one_line(words: list[str], line: str) -> None:
    with pytest.raises(UsageError, match=line) as caught:
        machine(*words)
    assert "\n" not in str(caught.value)


def test_nothing_is_shared_unless_asked_for() -> None:
    assert the(machine(), P9) == []


def test_shared_directories_have_their_tags(tmp_path: Path) -> None:
    m = machine("--share", str(tmp_path), "--share", "/tmp", "-virtfs", "local,path=/,mount_tag=all,readonly=on")
    assert [device.tag for device in the(m, P9)] == [b"share", b"share2", b"all"]


def test_answers_of_a_directory_are_recorded_and_a_replay_does_not_look_at_it(tmp_path: Path) -> None:
    version = struct.pack("<IBHIH", 21, 100, 0xFFFF, 8192, 8) + b"9P2000.L"
    m = machine("--share", str(tmp_path))
    answer = the(m, P9)[0].server.answer(version, 100)
    (recorded,) = (entry for entry in m.inputs.record if entry.channel.startswith("virtio-9p"))
    assert recorded.data == answer
    again = machine("--share", str(tmp_path))
    again.inputs.replay([Input(recorded.icount, recorded.channel, b"as recorded", recorded.time)])
    assert the(again, P9)[0].server.answer(version, 100) == b"as recorded"


def test_ports_belong_to_the_device_that_they_name() -> None:
    serial = ("-device", "virtio-serial-pci,id=a", "-device", "virtio-serial-pci,id=b")
    ports = ("-chardev", "null,id=c", "-device", "virtconsole,bus=b.0", "-device", "virtserialport,chardev=c,name=n")
    m = machine(*serial, *ports)
    first, second = the(m, Console)
    assert {n: (port.console, port.name, port.connected) for n, port in first.ports.items()} == {1: (False, "n", True)}
    assert {n: port.console for n, port in second.ports.items()} == {0: True}
    assert "virtio-serial-pci.a.1" in m.inputs.channels


def test_a_port_notices_who_comes_and_who_leaves(tmp_path: Path) -> None:
    words = ("-chardev", f"socket,id=c,path={tmp_path / 'socket'},server=on,wait=off", "-device", "virtio-serial-pci")
    session = Session(parse(["-m", "16", "-nodefaults", *words, "-device", "virtserialport,chardev=c"]), attached=False)
    m = session.build()
    (device,) = the(m, Console)
    front = next(host.front for host in session.hosts.values())
    seen = [device.ports[1].connected]
    for notice in (front.opened, front.closed):
        notice()
        m.step(100)
        seen.append(device.ports[1].connected)
    assert seen == [False, True, False]
    assert [entry.data for entry in m.inputs.record if entry.channel.endswith("presence")] == [b"\1", b"\0"]
    for host in session.hosts.values():
        host.close()


def test_a_card_offers_what_it_is_left() -> None:
    m = machine("-device", "virtio-net-pci,csum=off,mrg_rxbuf=off,mac=52:54:00:00:00:09")
    (card,) = the(m, Net)
    assert not card.offered() & (CSUM | MERGE) and card.mac == bytes.fromhex("525400000009")


def test_a_balloon_knows_how_much_memory_there_is() -> None:
    m = machine("-device", "virtio-balloon-pci,id=b,deflate-on-oom=on,free-page-reporting=on")
    (balloon,) = the(m, Balloon)
    balloon.set_size(12 * MIB)
    assert balloon.state.wanted == 4 * MIB >> 12 and balloon.remaining == 16 * MIB
    assert balloon.offered() == STATS | DEFLATE_ON_OOM | REPORTING


class Line:
    """One chain of page numbers, as a ring would bring it."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.total = len(data)
        self.writable: list[tuple[int, int]] = []

    def read(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]

    def complete(self, written: int) -> None:
        pass


@pytest.mark.parametrize("order", ["<", ">"])
def test_no_page_number_reaches_anything_but_the_pages_of_ram_that_it_names(order: str) -> None:
    """Reliability D13."""
    ram = GuestRam(8 * MIB, 0x20000)
    balloon = Balloon(memory=Dma(ram), size=ram.size, discard=ram.discard, big_endian=order == ">")
    balloon.state.legacy = order == ">"
    rng = random.Random(13)
    named: set[int] = set()
    ram.view[:] = b"\x5a" * len(ram.view)
    for _ in range(300):
        pages = [
            rng.choice((rng.randrange(0x100, 0x500), 0xA0, 0xC0, 0xFFFE0, 0x800, 0x7FF, 1 << 20, 1 << 31, 0xFFFFFFFF))
            for _ in range(rng.randrange(1, 64))
        ]
        pages += [page | 0x80000000 for page in pages[:3]] + pages[:2]
        balloon._inflate(Line(struct.pack(f"{order}{len(pages)}I", *pages)))  # type: ignore[arg-type]
        named |= {page for page in pages if 0x100 <= page < 0x800}
    for page in range(len(ram.view) >> 12):
        expected = 0 if page in named else 0x5A
        assert ram.view[page << 12] == ram.view[(page << 12) + 4095] == expected, hex(page)


def test_a_board_without_options_has_none_of_it() -> None:
    setup = Setup(parse(["-m", "16"]))
    assert setup.config.fsdevs == {} and setup.config.objects == {}


@pytest.mark.parametrize("name", ["net", "rng", "balloon", "serial", "blk", "keyboard"])
def test_the_short_names_of_qemu_are_devices_on_the_pci_bus(name: str) -> None:
    assert parse(["-device", f"virtio-{name},id=x"]).devices[-1] == (f"virtio-{name}-pci", {"id": "x"})
