"""The server of gdb's protocol: a scripted client at the other end of a socket pair."""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.backends import MemoryDisk
from emu.boards import Setup, board
from emu.gdbpackets import PACKET, Framing, escaped, framed, unescaped
from emu.gdbserver import GdbServer
from emu.machine import Cause, Ending, Machine
from emu.media import Medium
from emu.options import Drive, UsageError, gdb_address, parse
from tests.cores.tiers import TIERS

# 16-bit code at 7C00h: cli; xor ax,ax; mov ds,ax; mov bx,500h; again: inc word [bx]; mov cx,[bx]; cmp cx,9; jnz again;
# 7C11h: int 11h; sti; nop; mov al,10h; out 0f4h,al; jmp $
LOOP = bytes.fromhex("fa 31c0 8ed8 bb0005 ff07 8b0f 83f909 75f7 cd11 fb 90 b010 e6f4 ebfe")
AGAIN, LOAD, BEHIND, STI = 0x7C08, 0x7C0A, 0x7C11, 0x7C13
TRIPLE = bytes.fromhex("31c0 8ed8 0f011e0a7c cc 000000000000")
DEAD = bytes.fromhex("fa f4")
TICKS = bytes.fromhex("fb 90 90 90 ebfb")  # sti; nop; nop; nop; jmp 7C01h
PPC_LOOP = (
    0x3C600000,  # lis r3,0
    0x38630800,  # addi r3,r3,0x800
    0x80830000,  # lwz r4,0(r3)
    0x38840001,  # addi r4,r4,1
    0x90830000,  # stw r4,0(r3)
    0x4BFFFFF4,  # b lwz
)


class Client:
    """gdb's end, and the loop of a session around the machine."""

    def __init__(self, machine: Machine, *, acks: bool = False) -> None:
        self.machine = machine
        self.server = GdbServer(machine)
        mine, theirs = socket.socketpair()
        self.socket = mine
        mine.setblocking(False)
        self.server.attach(theirs)
        self.got = b""
        self.looks = 0
        self.patient = False
        self.console = ""
        if not acks:
            assert self.ask("QStartNoAckMode") == "OK"
            self.got = b""
            assert self.ask("qSupported:swbreak+;hwbreak+;xmlRegisters=i386").startswith("PacketSize=")

    # the machine's Outside

    def poll(self, machine: Machine) -> None:
        self.looks += 1
        self.server.poll()
        with contextlib.suppress(BlockingIOError):
            self.got += self.socket.recv(1 << 16)
        if (self.wanted() and not self.patient) or self.looks > 3000:
            machine.end(Cause.SCRIPT)

    def wait(self, machine: Machine, seconds: float | None) -> bool:
        return True

    def at_rest(self, machine: Machine) -> None:
        pass

    def wanted(self) -> bool:
        return self._complete(self.got)

    @staticmethod
    def _complete(data: bytes) -> bool:
        at = data.find(b"#")
        return at >= 0 and len(data) >= at + 3

    # what tests do

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def reply(self) -> str:
        """Run until the next packet comes; console output is left out."""
        while True:
            if not self.wanted():
                self.looks = 0
                self.machine.ending = None
                self.machine.run(self)
            assert self.wanted(), f"no packet, only {self.got!r}"
            start, end = self.got.index(b"$"), self.got.index(b"#")
            body, rest = self.got[start + 1 : end], self.got[end + 3 :]
            assert framed(body) == self.got[start : end + 3]
            self.got = rest
            if body[:1] != b"O" or body == b"OK":
                return body.decode("latin-1")
            self.console += bytes.fromhex(body[1:].decode()).decode()

    def to_the_end(self) -> Ending:
        """Run on, whatever the server says."""
        self.patient, self.machine.ending = True, None
        return self.machine.run(self)

    def ask(self, packet: str | bytes) -> str:
        self.send(framed(packet.encode("latin-1") if isinstance(packet, str) else packet))
        return self.reply()

    def read(self, number: int) -> int:
        order = "little" if self.machine.name == "pc" else "big"
        return int.from_bytes(bytes.fromhex(self.ask(f"p{number:x}")), order)  # type: ignore[arg-type]

    def number(self, name: str) -> int:
        registers = self.server._description.registers
        return next(n for n, register in registers.items() if register.name == name)


def pc(code: bytes, tier: str = "interp") -> Machine:
    config = parse(["-m", "2", "--accel", tier, "-device", "isa-debug-exit,iobase=0xf4,iosize=4"])
    setup = Setup(config, serial=[None, None])
    image = MemoryDisk(code.ljust(510, b"\0") + b"\x55\xaa")
    setup.media = [Medium(Drive("disk", "ide", 0), image)]  # type: ignore[arg-type]
    machine = board("pc")(setup)
    machine.shutdown_is_failure = True
    machine.power_on()
    return at_once(machine)


def at_once(machine: Machine) -> Machine:
    """Have the JIT, if it is that, translate what runs for the first time."""
    cpu: Any = machine.cpu
    if cpu.tier == "jit":
        cpu.jit_threshold = 1
    return machine


def ppc(name: str = "bamboo", tier: str = "interp", *words: str) -> Machine:
    """A board with PPC_LOOP as its kernel, at address 0."""
    with tempfile.NamedTemporaryFile(suffix=".bin") as kernel:
        kernel.write(b"".join(word.to_bytes(4, "big") for word in PPC_LOOP))
        kernel.flush()
        config = parse(["-M", name, "-m", "64", "--accel", tier, "-kernel", kernel.name, *words], arch="ppc")
        machine = board(name)(Setup(config, serial=[None, None]))
        machine.power_on()
    return at_once(machine)


@pytest.fixture(params=TIERS)
def loop(request: pytest.FixtureRequest) -> Client:
    """A PC at the first instruction of LOOP."""
    client = Client(pc(LOOP, request.param))
    assert client.ask("Z1,7c00,1") == "OK"
    assert client.ask("c") == "T05thread:01;hwbreak:;"
    assert client.ask("z1,7c00,1") == "OK"
    return client


# --- packets ---------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=200))
def test_what_is_escaped_comes_back(data: bytes) -> None:
    assert unescaped(escaped(data)) == data
    assert Framing().feed(framed(escaped(data))) == [("packet", escaped(data))]


@given(st.binary(max_size=60), st.lists(st.integers(1, 9), max_size=30))
def test_packets_may_come_in_any_pieces(data: bytes, cuts: list[int]) -> None:
    whole = b"+" + framed(escaped(data)) + b"\x03-" + framed(b"g")
    framing, events, at = Framing(), [], 0
    for cut in [*cuts, len(whole)]:
        events += framing.feed(whole[at : at + cut])
        at += cut
    assert events == [("packet", escaped(data)), ("break", b""), ("again", b""), ("packet", b"g")]


def test_a_packet_beyond_the_limit_is_not_kept() -> None:
    framing = Framing()
    assert framing.feed(b"$" + b"a" * (3 * PACKET)) == []
    assert framing.feed(b"#00") == [("long", b"")]
    assert framing.feed(framed(b"g")) == [("packet", b"g")]


def test_each_packet_is_acknowledged_until_the_client_wants_none() -> None:
    client = Client(pc(LOOP), acks=True)
    client.send(b"$g#00")
    client.send(framed(b"qAttached"))
    assert client.reply() == "1"
    client.machine.ending = None
    client.send(b"-")
    assert client.reply() == "1", "asked for again"
    client.send(framed(b"QStartNoAckMode"))
    assert client.reply() == "OK"
    assert client.ask("qAttached") == "1"
    assert b"+" not in client.got and b"-" not in client.got


# --- x86 -------------------------------------------------------------------------------------------------------------


def test_a_breakpoint_stops_before_its_instruction_and_is_not_in_memory(loop: Client) -> None:
    before = loop.ask("m7c00,20")
    assert loop.ask("Z0,7c08,1") == "OK"
    assert loop.ask("c") == "T05thread:01;swbreak:;"
    assert loop.read(8) == AGAIN
    assert loop.ask("m7c00,20") == before
    assert loop.ask("m500,2") == "0000"
    assert loop.ask("c") == "T05thread:01;swbreak:;"
    assert loop.ask("m500,2") == "0100"
    assert loop.ask("z0,7c08,1") == "OK"


def test_a_step_leaves_a_breakpoint_and_does_not_stop_on_the_next_one(loop: Client) -> None:
    for address in range(0x7C00, 0x7C10):
        assert loop.ask(f"Z0,{address:x},1") == "OK"
    assert [(loop.ask("s"), loop.read(8))[1] for _ in range(4)] == [0x7C01, 0x7C03, 0x7C05, AGAIN]


def test_a_breakpoint_behind_sti_is_met(loop: Client) -> None:
    assert loop.ask(f"Z0,{STI + 1:x},1") == "OK"
    assert loop.ask("c") == "T05thread:01;swbreak:;"
    assert loop.read(8) == STI + 1


@pytest.mark.parametrize(("kind", "name", "where"), [(2, "watch", LOAD), (3, "rwatch", LOAD), (4, "awatch", LOAD)])
def test_a_watchpoint_stops_behind_the_instruction(loop: Client, kind: int, name: str, where: int) -> None:
    assert loop.ask(f"Z{kind},501,1") == "OK"
    assert loop.ask("c") == f"T05thread:01;{name}:501;"
    assert loop.read(8) == where
    assert loop.ask("m500,2") == "0100"
    assert loop.ask(f"z{kind},501,1") == "OK"


def test_a_watch_for_writes_does_not_see_reads(loop: Client) -> None:
    assert loop.ask("Z2,500,2") == "OK"
    stops = [(loop.ask("c"), loop.read(8))[1] for _ in range(9)]
    assert stops == [LOAD] * 9
    assert loop.ask(f"Z1,{BEHIND:x},1") == "OK"
    assert loop.ask("c") == "T05thread:01;hwbreak:;"


def test_interrupts_push_into_watched_memory(loop: Client) -> None:
    stack = loop.read(4)
    assert loop.ask(f"Z2,{stack - 6:x},2") == "OK"
    assert loop.ask("c").startswith("T05thread:01;watch:")
    assert loop.read(4) == stack - 6


def test_the_address_of_real_mode_code_is_linear(loop: Client) -> None:
    assert loop.ask("qRcmd," + b"system_reset".hex()) == "OK"
    assert loop.read(8) == 0xFFFFFFF0
    first = bytes.fromhex(loop.ask("mfffffff0,5"))
    assert first[0] == 0xEA
    assert loop.ask("s") == "T05thread:01;"
    offset, segment = int.from_bytes(first[1:3], "little"), int.from_bytes(first[3:5], "little")
    assert loop.read(8) == segment * 16 + offset
    assert loop.ask("P8=007c0000") == "OK"
    assert loop.read(8) == 0x7C00


def test_registers_are_read_and_written_one_by_one_and_together(loop: Client) -> None:
    assert loop.ask("P0=78563412") == "OK"
    everything = loop.ask("g")
    assert everything.startswith("78563412")
    assert loop.ask("G" + "efbeadde" + everything[8:]) == "OK"
    assert loop.read(0) == 0xDEADBEEF
    assert loop.ask("g")[8:] == everything[8:]
    assert loop.read(loop.number("cr0")) == 0x10
    assert loop.read(loop.number("cs_base")) == 0


@pytest.mark.parametrize(
    "packet",
    [
        "P0=00", "P0=0000000000", "Pffff=00000000", "P0", "P0=xx", "pffffffff", "p", "G", "G00", "m", "m,", "m0",
        "mx,1", "m99999999999999999999,1", "m0,-1", "mffffffffff,1", "M0,1:", "M0,1:0", "M0,2:00", "M0,1:zz", "Z0",
        "Z0,", "Z1,x,1",
        "Z2,0,ffffffff", "Z0,fffffffff,1", "Hx1", "Hg99", "T99", "vCont;x", "vCont;s:99", "cxyz", "szz", "qRcmd,1",
        "qRcmd,zz", "Qqemu.PhyMemMode:7", "Qqemu.sstep=99", "qXfer:features:read:other.xml:0,10",
        "qXfer:features:read:target.xml:x,1", b"X0,1", b"X0,2:a", b"X0,1:}", b"X,:",
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_an_error(packet: str | bytes) -> None:
    client = Client(pc(LOOP))
    reply = client.ask(packet)
    assert len(reply) == 3 and reply[0] == "E"
    assert client.ask("qAttached") == "1"


@pytest.mark.parametrize(
    "packet", ["", "!", "vMustReplyEmpty", "Z9,0,1", "qFoo", "qCRC:0,1", "vRun;x", "b", "\x00", "é"]
)
def test_what_is_not_known_has_an_empty_reply(packet: str) -> None:
    client = Client(pc(LOOP))
    assert client.ask(packet) == ""


def test_a_state_that_cannot_be_is_refused(loop: Client) -> None:
    assert loop.ask(f"P{loop.number('cr0'):x}=00000080") == "E16"
    assert loop.read(loop.number("cr0")) == 0x10


def test_memory_is_written_as_text_and_as_bytes(loop: Client) -> None:
    assert loop.ask("M600,3:010203") == "OK"
    assert loop.ask(b"X603,3:" + escaped(b"#}$")) == "OK"
    assert loop.ask(b"X603,0:") == "OK"
    assert loop.ask("m600,6") == "010203237d24"
    assert loop.ask("Mffff0,1:55") == "E0e", "ROM"


def test_code_that_is_written_runs(loop: Client) -> None:
    assert loop.ask("s") == "T05thread:01;"
    assert loop.ask("M7c01,2:9090") == "OK"
    loop.ask("s")
    assert loop.read(8) == 0x7C02


def test_physical_memory_is_a_mode(loop: Client) -> None:
    assert loop.ask("qqemu.PhyMemMode") == "0"
    assert loop.ask("Qqemu.PhyMemMode:1") == "OK"
    assert loop.ask("qqemu.PhyMemMode") == "1"
    assert loop.ask("m7c00,2") == "fa31"
    assert loop.ask("m1000000000,1") == "E0e"


def test_steps_do_not_fall_into_an_interrupt() -> None:
    client = Client(pc(TICKS))
    assert client.ask("Z0,7c01,1") == "OK"
    assert client.ask("c") == "T05thread:01;swbreak:;"
    client.machine.cpu.set_intr(True)
    assert [(client.ask("s"), client.read(8))[1] for _ in range(5)] == [0x7C02, 0x7C03, 0x7C04, 0x7C01, 0x7C02]
    assert client.ask("Qqemu.sstep=1") == "OK"
    assert client.ask("qqemu.sstep") == "0x1"
    client.ask("s")
    assert not 0x7C00 <= client.read(8) < 0x7E00


def test_a_triple_fault_is_shown_before_it_ends_the_run() -> None:
    client = Client(pc(TRIPLE))
    assert client.ask("c") == "T0bthread:01;"
    assert 0x7C00 <= client.read(8) < 0x7C10
    client.send(framed(b"c"))
    assert client.to_the_end().status == 3
    client.server.finish(3)
    assert client.socket.recv(100) == framed(b"W03")


def test_a_halt_for_ever_is_shown_once() -> None:
    client = Client(pc(DEAD))
    assert client.ask("c") == "T06thread:01;"
    client.send(framed(b"c"))
    assert client.to_the_end().cause == Cause.DEAD


def test_control_c_stops_a_running_guest() -> None:
    client = Client(pc(b"\xeb\xfe"))
    client.send(framed(b"c"))
    client.send(b"\x03")
    assert client.reply() == "T02thread:01;"


def test_detaching_and_hanging_up_let_the_guest_run_on() -> None:
    for last in (framed(b"D"), b""):
        client = Client(pc(LOOP))
        client.ask("Z0,7c00,1")
        client.ask("c")
        client.send(last)
        client.socket.shutdown(socket.SHUT_WR)
        assert client.to_the_end().status == 0x21
        assert not client.server.busy


def test_a_client_that_only_looks_in_does_not_start_a_machine_that_waits() -> None:
    machine = pc(LOOP)
    machine.pause()
    client = Client(machine)
    client.socket.close()
    client.server.poll()
    assert not client.server.busy
    assert machine.paused


def test_the_monitor_answers() -> None:
    client = Client(pc(LOOP))
    assert client.ask("qRcmd," + b"info registers".hex()) == "OK"
    assert "EIP=" in client.console
    for words, answer in (
        ("help", "system_reset"),
        ("frobnicate", "unknown command"),
        ("info tlb", "PG disabled"),
        ("page 0", "paging is off"),
    ):
        client.console = ""
        assert client.ask("qRcmd," + words.encode().hex()) == "OK"
        assert answer in client.console


def test_breakpoints_have_a_limit() -> None:
    client = Client(pc(LOOP))
    replies = {client.ask(f"Z0,{address:x},1") for address in range(0x10000, 0x10000 + 257)}
    assert replies == {"OK", "E1c"}
    assert client.ask("Z2,0,1") == "OK"


@pytest.mark.parametrize("tier", TIERS)
def test_a_run_with_a_debugger_is_the_same_run(tier: str) -> None:
    plain = pc(LOOP, tier)
    assert plain.run().status == 0x21
    client = Client(pc(LOOP, tier))
    for packet in ("Z0,7c00,1", f"Z0,{AGAIN:x},1", "Z4,500,2", f"Z1,{STI + 1:x},1"):
        assert client.ask(packet) == "OK"
    for n in range(20):
        assert client.ask("c" if n % 3 else "s").startswith("T05")
        client.ask("g")
        client.ask(f"p{client.number('cr3'):x}")
    client.send(framed(b"D"))
    assert client.to_the_end().status == 0x21
    assert client.machine.retired == plain.retired
    assert client.machine.digest() == plain.digest()


# --- PowerPC ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tier", TIERS)
def test_powerpc_stops_steps_and_watches(tier: str) -> None:
    client = Client(ppc("bamboo", tier))
    assert client.ask("Z0,c,4") == "OK"
    assert client.ask("c") == "T05thread:01;swbreak:;"
    assert client.read(64) == 0xC
    assert client.read(3) == 0x800
    assert client.ask("z0,c,4") == "OK"
    assert client.ask("Z2,802,2") == "OK"
    assert client.ask("c") == "T05thread:01;watch:802;"
    assert client.read(64) == 0x14
    assert client.ask("m800,4") == "00000001"
    assert client.ask("z2,802,2") == "OK"
    assert client.ask("Z3,800,1") == "OK"
    assert client.ask("c") == "T05thread:01;rwatch:800;"
    assert client.read(64) == 0xC
    assert client.ask("s") == "T05thread:01;"
    assert client.read(64) == 0x10


@pytest.mark.parametrize(
    ("machine", "words", "feature", "register"),
    [
        ("bamboo", (), "power.fpu", "fpscr"),
        ("ppce500", (), "power.spe", "ev31h"),
        ("ppce500", ("-cpu", "e500mc"), "power.fpu", "f31"),
    ],
)
def test_each_powerpc_describes_what_it_has(machine: str, words: tuple[str, ...], feature: str, register: str) -> None:
    client = Client(ppc(machine, "interp", *words))
    xml, part = "", "m"
    while part[0] == "m":
        part = client.ask(f"qXfer:features:read:target.xml:{len(xml):x},400")
        xml += part[1:]
    assert f'<feature name="org.gnu.gdb.{feature}">' in xml
    assert f'<reg name="{register}"' in xml
    assert '<reg name="ivpr"' in xml
    names = [r.name for r in client.server._description.registers.values()]
    assert len(names) == len(set(names))
    for number in client.server._description.registers:
        client.read(number)
    assert client.read(client.number("pvr")) == client.machine.cpu.reg("pvr")


def test_looking_at_timers_leaves_no_trace() -> None:
    client = Client(ppc())
    client.ask("s")
    before = client.machine.cpu.digest()
    for name in ("dec", "tsr", "tcr", "decar"):
        client.read(client.number(name))
    assert client.machine.cpu.digest() == before


# --- hostile clients -------------------------------------------------------------------------------------------------

WORDS = (
    b"g", b"G", b"p0", b"P0=", b"m0,10", b"mffffffff,ffff", b"M0,1:", b"X0,1:", b"Z0,0,1", b"Z2,0,1", b"z0,0,1", b"c",
    b"s", b"vCont;", b"vCont;s:1;c", b"H", b"T1", b"qXfer:features:read:target.xml:0,fff", b"qRcmd,", b"?",
    b"qSupported:",
    b"Qqemu.sstep=", b"ffffffffffffffffff", b"-1", b",", b":", b";", b"}", b"*", b"\x03", b"$", b"#", b"#00", b"+",
    b"-",
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 1 << 32), arch=st.sampled_from(("x86", "ppc")))
def test_nothing_that_a_client_sends_ends_the_machine(seed: int, arch: str) -> None:
    rng = random.Random(seed)
    client = Client(MACHINES[arch]())
    machine = client.machine
    for _ in range(40):
        body = b"".join(rng.choice(WORDS) for _ in range(rng.randrange(1, 5)))
        if rng.random() < 0.3:
            body = rng.randbytes(rng.randrange(20))
        packet = framed(body) if rng.random() < 0.8 else body
        client.send(packet)
        client.server.poll()
        if not machine.paused:
            machine.step(50)
            machine.pause()
        client.server.poll()
        with contextlib.suppress(BlockingIOError):
            client.got = client.socket.recv(1 << 18)
    assert len(client.server._out) < 1 << 18
    client.socket.close()
    client.server.poll()
    assert not client.server.busy


def shared(make: object) -> object:
    """One machine for all examples; each gets a new client."""
    kept: list[Machine] = []

    def get() -> Machine:
        if not kept:
            kept.append(make())  # type: ignore[operator]
        machine = kept[0]
        machine.execute = machine.cpu.run
        machine.ending = None
        return machine

    return get


MACHINES = {"x86": shared(lambda: pc(LOOP)), "ppc": shared(ppc)}


def test_a_client_that_does_not_read_is_not_written_to_without_end() -> None:
    client = Client(pc(LOOP))
    for _ in range(400):
        with contextlib.suppress(BlockingIOError):
            client.socket.send(framed(b"m0,1000") * 10)
        client.server.poll()
    assert len(client.server._out) < 1 << 18


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("tcp::1234", "tcp::1234"), ("tcp:0.0.0.0:99", "tcp:0.0.0.0:99"), ("tcp:[::1]:5", "tcp:::1:5"),
        ("tcp::1,server=on,wait=off", "tcp::1"), ("unix:/tmp/x", "unix:/tmp/x"),
    ],
)  # fmt: skip
def test_an_address_for_gdb_is_read(text: str, shown: str) -> None:
    assert str(gdb_address(text)) == shown
    assert gdb_address("none") is None


@pytest.mark.parametrize("text", ["", "tcp", "tcp:1234", "tcp::99999", "tcp::x", "unix:", "stdio", "tcp::1,foo=on"])
def test_a_wrong_address_for_gdb_is_one_line(text: str) -> None:
    with pytest.raises(UsageError, match=r"^-gdb: [^\n]*$"):
        gdb_address(text)


def test_a_busy_port_is_one_line_and_status_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        address = f"tcp::{busy.getsockname()[1]}"
        line = [sys.executable, "-m", "emu", "run", "-gdb", address]
        result = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
    assert result.returncode == 1
    assert result.stderr.decode() == f"emu: -gdb {address}: cannot listen there: Address already in use\n"


@pytest.fixture
def process(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A command that waits for gdb at a socket in a folder."""
    image, path = tmp_path / "disk.img", tmp_path / "gdb"
    image.write_bytes(LOOP.ljust(510, b"\0") + b"\x55\xaa")
    words = [
        str(image),
        "-S",
        "-gdb",
        f"unix:{path},server=on,wait=off",
        "-device",
        "isa-debug-exit,iobase=0xf4,iosize=4",
    ]
    line = [sys.executable, "-m", "emu", "run", *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe) as running:
        yield running, str(path)
        running.kill()


def test_the_command_waits_for_gdb_and_tells_it_the_end(process: tuple[subprocess.Popen[bytes], str]) -> None:
    running, path = process
    assert running.stderr is not None
    running.stderr.readline()  # by then the socket is there
    assert Path(path).stat().st_mode & 0o777 == 0o600
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(path)
        client.sendall(framed(b"?"))
        assert client.recv(1) == b"+"
        assert client.recv(100) == framed(b"T05thread:01;")
        client.sendall(b"+" + framed(b"c"))
        data = b""
        while not data.endswith(framed(b"W21")):
            data += client.recv(100)
    assert running.wait(20) == 0x21
    assert not Path(path).exists()
