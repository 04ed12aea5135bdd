"""Guests that nobody here wrote, each to its proof text; EMU_SHARED names the folder that has them."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from devices.vga import Vga
from emu.display.render import frame
from emu.machine import Machine
from emu.options import parse
from emu.session import Session

SHARED = Path(os.environ.get("EMU_SHARED", "../shared"))
GUESTS = SHARED / "guests"
LIMIT = 20_000_000_000
"""Instructions that any one step may take."""
SECOND = 1_000_000_000

pytestmark = [
    pytest.mark.guest,
    pytest.mark.skipif(not GUESTS.is_dir(), reason="EMU_SHARED does not name the shared guests"),
]


def rows() -> list[dict[str, Any]]:
    """The 32-bit PC guests of guests.json."""
    if not GUESTS.is_dir():
        return []
    listed = json.loads((GUESTS / "guests.json").read_text())
    return [row for row in listed if (row["qemu"] or "").startswith("qemu-system-i386") and row["steps"]]


class Guest:
    """One booted guest and what it shows."""

    def __init__(self, *words: str) -> None:
        self.session = Session(parse(words), compat=True, attached=False)
        self.machine: Machine = self.session.build()

    @property
    def screen(self) -> str:
        return "\n".join(row.rstrip() for row in self.machine.screen())

    @property
    def serial(self) -> str:
        port = self.session.serial[0]
        return bytes(port.tail).decode("utf-8", "replace") if port is not None else ""

    def until(self, pattern: str, where: str) -> None:
        """Run until the pattern is on the screen ("vga") or in the serial output ("ser")."""
        wanted = re.compile(pattern, re.DOTALL)
        end = self.machine.retired + LIMIT
        idle = self.machine.clock.now() + 600 * SECOND
        while not wanted.search(self.screen if where == "vga" else self.serial):
            stuck = self.machine.ending is not None or self.machine.clock.now() > idle or self.machine.retired > end
            assert not stuck, f"no {pattern!r}; screen:\n{self.screen}\nserial:\n{self.serial[-2000:]}"
            self.run(SECOND // 50)

    def run(self, ns: int) -> None:
        """Let virtual time pass."""
        self.machine.step(LIMIT, until=self.machine.clock.now() + ns)

    def sleep(self, seconds: float) -> None:
        self.run(int(seconds * SECOND))

    def type(self, text: str) -> None:
        self.machine.type_keys(text)
        while self.machine.inputs.waiting:
            self.run(SECOND // 50)


def colours(guest: Guest) -> int:
    vga = guest.machine.devices["vga"]
    assert isinstance(vga, Vga)
    return len(set(frame(vga).flat))


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["name"])
def test_a_guest_of_others_shows_its_proof(row: dict[str, Any]) -> None:
    line = row["qemu"].replace("{dir}", str(GUESTS / row["dir"]))
    line = line.replace("$VMLINUZ_686PAE", str(GUESTS / "linux-i386/bzImage"))
    guest = Guest(*shlex.split(line)[1:])
    for kind, *rest in row["steps"]:
        if kind in ("vga", "ser"):
            guest.until(rest[0], kind)
        elif kind == "keys":
            guest.type(rest[0])
        elif kind == "sleep":
            guest.sleep(rest[0])
        elif kind == "gfx":
            assert colours(guest) >= rest[2]
        else:
            pytest.fail(f"a step of unknown kind {kind}")


def linux(autorun: str) -> Guest:
    folder = GUESTS / "linux-i386"
    words = ["-m", "256", "-nographic", "-no-reboot", "-kernel", str(folder / "bzImage")]
    words += ["-initrd", str(folder / "initrd.gz"), "-append", f"console=ttyS0 autorun={autorun}"]
    return Guest(*words)


def test_linux_boots_to_its_shell_and_powers_off_without_a_complaint() -> None:
    guest = linux("poweroff")
    guest.until("GUEST-READY", "ser")
    guest.until("GUEST-DONE", "ser")
    guest.sleep(5)
    assert guest.machine.ending is not None
    assert guest.machine.ending.status == 0
    assert not re.search(r"WARNING:|BUG:|Oops|BIOS bug|cut here|Kernel panic", guest.serial)


@pytest.mark.slow
def test_linux_computes_what_it_computes_elsewhere() -> None:
    guest = linux("cpu")
    guest.until("GUEST-DONE", "ser")
    for checksum in ("cd52d81e25f372e6", "bbc668107462f950", "599998", "a964f6ecaadd87f1", r"\b200\b"):
        assert re.search(checksum, guest.serial), f"no {checksum} in\n{guest.serial[-3000:]}"


def test_two_boots_of_linux_are_the_same_run() -> None:
    seen = []
    for _ in range(2):
        guest = linux("poweroff quiet")
        guest.machine.run(None)
        port = guest.session.serial[0]
        assert port is not None
        seen.append((guest.machine.retired, port.hash.hexdigest(), guest.machine.digest()))
    assert seen[0] == seen[1]
