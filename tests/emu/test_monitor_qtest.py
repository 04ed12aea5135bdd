"""The protocol of device tests: a program in place of the processor, and the same program with QEMU."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emu.monitor.qtest import Qtest
from tests.emu.monitored import Monitored, Wire

pytest.importorskip("emu.engine._x86")


class Program:
    """A program that takes the processor's place, in the same process."""

    def __init__(self) -> None:
        self.m = Monitored()
        self.wire = Wire()
        self.server = Qtest(self.m.control, self.wire)
        self.server.opened()

    def ask(self, line: str) -> str:
        """The answer; interrupts that came before it are in front of it."""
        self.server.receive(line.encode() + b"\n")
        while self.server.busy:
            self.server.poll()
        return self.wire.take().rstrip("\n")


@pytest.fixture
def t() -> Program:
    return Program()


def test_ports_and_memory_are_reached(t: Program) -> None:
    assert t.ask("endianness") == "OK little"
    assert t.ask("outb 0x21 0xfe") == "OK" and t.ask("inb 0x21") == "OK 0x00fe"
    assert t.ask("writel 0x1000 0x12345678") == "OK" and t.ask("readw 0x1002") == "OK 0x0000000000001234"
    assert t.ask("writeq 010000 1") == "OK" and t.ask("readq 4096") == "OK 0x0000000000000001"
    assert t.ask("write 0x1000 4 0x0102") == "OK" and t.ask("read 0x1000 4") == "OK 0x01020000"
    assert t.ask("b64write 0x1000 3 YWJj") == "OK" and t.ask("b64read 0x1000 3") == "OK YWJj"
    assert t.ask("memset 0x1000 3 0x5a") == "OK" and t.ask("read 0x1000 4") == "OK 0x5a5a5a00"
    assert t.ask("memset 0x1000 0 0") == "OK"


def test_devices_in_memory_are_reached_too(t: Program) -> None:
    assert t.ask("writel 0xfec00000 1") == "OK"
    assert t.ask("readl 0xfec00010").endswith("170011")
    assert t.ask("read 0xfebffffe 4") == "OK 0xffff0100"
    assert t.ask("read 0xfff00000 2") == "OK 0xffff"


def test_time_goes_as_far_as_it_is_told(t: Program) -> None:
    assert t.ask("clock_step 1000") == "OK 1000" and t.ask("clock_set 5000") == "OK 5000"
    assert t.ask("clock_set 10") == "OK 5000"
    before = int(t.ask("clock_step").split()[1])
    assert before >= 5000
    t.ask("outb 0x43 0x34")
    t.ask("outb 0x40 0x00")
    t.ask("outb 0x40 0x10")
    t.ask("outb 0x21 0")
    assert t.ask("irq_intercept_in ioapic") == "OK"
    lines = t.ask("clock_step 10000000").splitlines()
    assert lines[-1].startswith("OK ") and lines.count("IRQ raise 0") in (2, 3)


def test_interrupts_are_told_and_driven(t: Program) -> None:
    assert t.ask("irq_intercept_in /machine/unattached/ioapic") == "OK"
    assert t.ask("outb 0x3f9 2").splitlines() == ["IRQ raise 4", "OK"]
    assert t.ask("inb 0x3fa").splitlines() == ["IRQ lower 4", "OK 0x0002"]
    assert t.ask("set_irq_in ioapic unnamed 7 1").splitlines() == ["IRQ raise 7", "OK"]


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("frobnicate", "FAIL Unknown command 'frobnicate'"), ("inb", "ERR inb takes 1 words"),
        ("inb here", "ERR expected a number, found 'here'"), ("read 0 0", "ERR expected 1 to 1048576 bytes"),
        ("write 0 4 0xzz", "ERR expected hexadecimal digits"), ("b64write 0 4 !", "ERR expected base64"),
        ("irq_intercept_in nothing", "ERR Unknown device nothing"),
        ("irq_intercept_in rtc", "ERR rtc has no interrupt inputs"),
        ("clock_set 0xffffffffffffffff", "ERR that is beyond the end of time"),
        ("set_irq_in ioapic unnamed 99 1", "ERR ioapic has no interrupt input 99"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(t: Program, line: str, answer: str) -> None:
    assert t.ask(line) == answer
    assert t.ask("endianness") == "OK little"


def test_a_line_without_an_end_is_given_up(t: Program) -> None:
    for _ in range(18):
        t.server.receive(b"x" * 65536)
    assert t.wire.take().startswith("ERR the line is too long") and t.wire.hung_up


SCRIPT = """\
endianness
outb 0x21 0xa5
inb 0x21
writel 0x2000 0x01020304
readb 0x2001
readq 0x2000
write 0x3000 8 0x0102030405060708
read 0x3000 8
memset 0x3000 4 0xff
b64read 0x3000 8
outb 0x70 0x0d
inb 0x71
outb 0x70 0x40
outb 0x71 0x77
inb 0x71
irq_intercept_in ioapic
outb 0x3fb 0x80
outb 0x3f8 0x0c
inb 0x3f8
outb 0x3fb 0x03
inb 0x3fd
outl 0xcf8 0x80000800
inl 0xcfc
inw 0xcfe
nonsense
inb 0x3fe"""


def answers(folder: Path, *command: str) -> list[str]:
    """What the program hears, line by line; of numbers that a clock gives only that they are there."""
    place = folder / f"qtest{len(list(folder.iterdir()))}"
    line = [*command, "-display", "none", "-qtest", f"unix:{place},server=on,wait=off"]
    with subprocess.Popen([*line, "-serial", "null", "-nodefaults"], stdin=subprocess.DEVNULL) as process:
        client = socket.socket(socket.AF_UNIX)
        for _ in range(500):
            try:
                client.connect(str(place))
                break
            except OSError:
                assert process.poll() is None
                time.sleep(0.02)
        client.settimeout(20)
        stream = client.makefile("rw")
        heard = []
        for words in SCRIPT.splitlines():
            stream.write(words + "\n")
            stream.flush()
            while True:
                answer = stream.readline().rstrip("\n")
                assert answer
                heard.append(f"{words}: {answer.split(' Unknown')[0]}")
                if not answer.startswith("IRQ"):
                    break
        process.terminate()
        process.wait(20)
        client.close()
    return heard


def test_a_program_hears_from_emu_what_it_hears_from_qemu(tmp_path: Path) -> None:
    qemu = shutil.which("qemu-system-i386")
    if qemu is None:
        pytest.skip("no qemu-system-i386: Debian package qemu-system-x86 is not installed")
    compat = "import sys; from emu.__main__ import system_i386; sys.exit(system_i386())"
    ours = answers(tmp_path, sys.executable, "-c", compat, "-accel", "qtest")
    # Distributions build QEMU without that accelerator; what is stopped does not run either.
    assert ours == answers(tmp_path, qemu, "-S")
