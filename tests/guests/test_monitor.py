"""The monitor on real guests: Linux and its power button, and views beside those of QEMU's monitor."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.guests.command import ACCEL, COMPAT, TIMEOUT, guest

pytestmark = pytest.mark.guest
PPC = COMPAT.replace("i386", "ppc")


class Run:
    """A run with its serial port and its QMP on unix sockets."""

    def __init__(self, folder: Path, *words: str) -> None:
        serial, qmp = folder / "serial", folder / "qmp"
        line = ["-display", "none", "-serial", f"unix:{serial},server=on,wait=off"]
        line += ["-qmp", f"unix:{qmp},server=on,wait=off", "--accel", ACCEL, "--timeout", str(TIMEOUT), *words]
        self.process = subprocess.Popen([sys.executable, "-c", COMPAT, *line], stdin=subprocess.DEVNULL)
        self.serial = self._connect(serial)
        self._qmp = self._connect(qmp).makefile("rwb")
        self.events: list[tuple[str, Any]] = []
        self.seen = b""
        assert "QMP" in json.loads(self._qmp.readline())
        self.ask("qmp_capabilities")

    def _connect(self, path: Path) -> socket.socket:
        end = time.monotonic() + 30
        while True:
            client = socket.socket(socket.AF_UNIX)
            try:
                client.connect(str(path))
            except OSError:
                client.close()
                assert time.monotonic() < end and self.process.poll() is None
                time.sleep(0.02)
            else:
                client.settimeout(TIMEOUT)
                return client

    def _message(self) -> dict[str, Any] | None:
        line = self._qmp.readline()
        if not line:
            return None
        message: dict[str, Any] = json.loads(line)
        if "event" in message:
            self.events.append((message["event"], message.get("data")))
        return message

    def ask(self, name: str, **given: Any) -> Any:
        """What a command returns."""
        self._qmp.write(json.dumps({"execute": name, "arguments": given}).encode() + b"\n")
        self._qmp.flush()
        while True:
            message = self._message()
            assert message is not None and "error" not in message, message
            if "return" in message:
                return message["return"]

    def say(self, line: str) -> str:
        """What a person's command prints."""
        answer: str = self.ask("human-monitor-command", **{"command-line": line})
        return answer.replace("\r", "")

    def until(self, text: bytes) -> bytes:
        """Read the serial port until a text comes."""
        while text not in self.seen:
            data = self.serial.recv(1 << 16)
            assert data, self.seen[-2000:]
            self.seen += data
        before, _, self.seen = self.seen.partition(text)
        return before

    def end(self) -> int:
        """Wait for the end; what is said last is in `events`."""
        while self._message() is not None:
            pass
        return self.process.wait(TIMEOUT)


@pytest.fixture
def linux(tmp_path: Path) -> Iterator[Run]:
    kernel, initrd = guest("linux-i386", "bzImage"), guest("linux-i386", "initrd.gz")
    run = Run(tmp_path, "-m", "64", "-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 quiet")
    yield run
    run.process.kill()
    run.process.wait()


def test_linux_gets_keys_and_hears_the_power_button_and_switches_off(linux: Run, tmp_path: Path) -> None:
    linux.until(b"/ # ")
    registers = linux.say("info registers")
    assert re.search(r"^CR0=8005003[0-9a-f] CR2=", registers, re.MULTILINE), registers
    assert re.search(r"^0*c0000000-[0-9a-f]{16} [0-9a-f]{16} -rw$", linux.say("info mem"), re.MULTILINE)
    linux.ask("screendump", filename=str(tmp_path / "screen.png"), format="png")
    assert (tmp_path / "screen.png").read_bytes().startswith(b"\x89PNG")
    # An event is two times, type, code and value: here MSC_SCAN 1e, then EV_KEY of KEY_A going down.
    linux.serial.sendall(
        b"(head -c 48 /dev/input/event1 | hexdump -v -e '1/1 \"%02x\"'; echo done) & sleep 1; echo now$((1+1))\n"
    )
    linux.until(b"now2")
    linux.until(b"/ # ")
    linux.say("sendkey a")
    text = linux.until(b"done").decode()
    assert "040004001e000000" in text and "01001e0001000000" in text, text
    linux.ask("stop")
    linux.serial.sendall(b"(head -c 16 /dev/input/event0 > /dev/null; poweroff -f) & sleep 1; echo ready$((1+1))\n")
    assert linux.ask("query-status")["status"] == "paused"
    linux.ask("cont")
    linux.until(b"ready2")
    linux.until(b"/ # ")
    linux.ask("system_powerdown")
    assert linux.end() == 0
    wanted = ["STOP", "RESUME", "POWERDOWN", ("SHUTDOWN", {"guest": True, "reason": "guest-shutdown"})]
    assert [event if event[0] == "SHUTDOWN" else event[0] for event in linux.events] == wanted


def test_linux_sleeps_until_the_monitor_wakes_it(linux: Run) -> None:
    linux.until(b"/ # ")
    linux.serial.sendall(b"echo mem > /sys/power/state; echo back$((1+1))\n")
    while linux.ask("query-status")["status"] == "running":
        pass
    assert linux.ask("query-status") == {"status": "suspended", "singlestep": False, "running": False}
    assert "suspended" in linux.say("info status")
    linux.ask("system_wakeup")
    linux.until(b"back2")
    assert linux.ask("query-status")["status"] == "running"
    assert [event[0] for event in linux.events] == ["SUSPEND", "WAKEUP"]
    linux.serial.sendall(b"poweroff -f\n")
    assert linux.end() == 0


def shapes(text: str) -> list[str]:
    """Lines with every number made alike."""
    kept = [line.rstrip() for line in text.splitlines()]
    return [re.sub(r"\b[0-9a-f]{4,16}\b", "#", re.sub(r"=[0-9a-f]+\b", "=#", line)) for line in kept if line]


def beside_qemu(emulator: str, compat: str, tmp_path: Path, command: str, *words: str) -> tuple[list[str], list[str]]:
    """What both monitors print for a command at reset."""
    qemu = shutil.which(emulator)
    if qemu is None:
        pytest.skip(f"no {emulator}: Debian package qemu-system is not installed")
    found: list[list[str]] = []
    for start in ([qemu], [sys.executable, "-c", compat]):
        place = tmp_path / f"monitor{len(found)}"
        line = [
            *start,
            "-S",
            "-display",
            "none",
            "-serial",
            "null",
            "-monitor",
            f"unix:{place},server=on,wait=off",
            *words,
        ]
        with subprocess.Popen(line, stdin=subprocess.DEVNULL) as process:
            client = socket.socket(socket.AF_UNIX)
            for _ in range(500):
                try:
                    client.connect(str(place))
                    break
                except OSError:
                    time.sleep(0.02)
            client.settimeout(20)
            got = b""
            while b"(qemu) " not in got:
                got += client.recv(4096)
            client.sendall(command.encode() + b"\n")
            got = b""
            while not got.endswith(b"(qemu) ") or b"\n" not in got:
                got += client.recv(1 << 16)
            client.sendall(b"quit\n")
            process.wait(20)
            client.close()
        found.append(shapes(got.decode().replace("\r", "").partition("\n")[2].removesuffix("(qemu) ")))
    return found[0], found[1]


def test_registers_look_as_in_the_monitor_of_qemu(tmp_path: Path) -> None:
    theirs, ours = beside_qemu("qemu-system-i386", COMPAT, tmp_path, "info registers")
    assert ours == theirs


def test_registers_of_a_powerpc_look_as_in_the_monitor_of_qemu(tmp_path: Path) -> None:
    kernel = guest("linux-bamboo", "vmlinux")
    theirs, ours = beside_qemu("qemu-system-ppc", PPC, tmp_path, "info registers", "-M", "bamboo", "-kernel", kernel)
    tail = next(n for n, line in enumerate(theirs) if line.startswith(" MCAR"))
    differ = [(a, b) for a, b in zip(theirs[:tail], ours, strict=False) if a != b and not a.startswith("CR")]
    assert differ == []
