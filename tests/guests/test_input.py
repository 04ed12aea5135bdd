"""Linux's own drivers for PS/2 keyboards and mice, fed as the monitor and VNC clients feed them."""

from __future__ import annotations

import re

import pytest

from devices.keymap import key_break, key_make
from emu.monitor.actions import Actions
from tests.guests.test_guests import GUESTS, Guest

pytestmark = [
    pytest.mark.guest,
    pytest.mark.skipif(not GUESTS.is_dir(), reason="EMU_SHARED does not name the shared guests"),
]
KEY, RELATIVE = 1, 2
KEYS = {"a": 30, "f11": 87, "kp_enter": 96, "right": 106, "alt_r": 100, "delete": 111, "meta_l": 125, "menu": 127}


class Linux(Guest):
    """Linux with a shell on the serial port, and what it makes of input."""

    def __init__(self, line: str = "") -> None:
        folder = GUESTS / "linux-i386"
        words = ["-m", "64", "-kernel", str(folder / "bzImage"), "-initrd", str(folder / "initrd.gz")]
        super().__init__(*words, "-append", f"console=ttyS0 {line}")
        self.actions: Actions = self.session._actions
        self.until("Explorer Mouse", "ser")
        self.sleep(0.5)

    def command(self, text: str) -> None:
        self.machine.inputs.channels["serial0"].put(f"{text}\n".encode())
        self.sleep(0.5)

    def watch(self, device: str) -> None:
        self.command(f"cat /dev/input/{device} > /tmp/seen & echo $!")

    def events(self) -> list[tuple[int, int, int]]:
        """(type, code, value) of what came, without the marks between."""
        self.command("kill %1; od -v -An -tx2 -w16 /tmp/seen; echo END")
        self.until("END\r", "ser")
        out = []
        for line in re.findall(r"(?:^| )((?: ?[0-9a-f]{4}){8})\r", self.serial):
            words = [int(word, 16) for word in line.split()]
            value = words[6] | words[7] << 16
            if words[4]:
                out.append((words[4], words[5], value - (1 << 32) if value >> 31 else value))
        return out


def test_linux_sees_the_mouse_its_buttons_and_its_wheel() -> None:
    linux = Linux()
    linux.watch("event2")
    for name, *args in (
        ("mouse_move", 10, -5, 0), ("mouse_move", 0, 0, 1), ("mouse_buttons", 1), ("mouse_buttons", 6),
        ("mouse_buttons", 0), ("mouse_move", -300, 0, 0),
    ):  # fmt: skip
        linux.actions.do(name, *args)
        linux.sleep(0.1)
    seen = linux.events()
    assert seen[:3] == [(RELATIVE, 0, 10), (RELATIVE, 1, -5), (RELATIVE, 8, 1)]
    buttons = [(code, value) for kind, code, value in seen if kind == KEY]
    assert buttons[0] == (0x110, 1) and sorted(buttons[1:4]) == [(0x110, 0), (0x111, 1), (0x112, 1)]
    assert sum(value for kind, code, value in seen if (kind, code) == (RELATIVE, 0)) == -290


@pytest.mark.parametrize("line", ["", "atkbd.set=3", "i8042.direct"])
def test_linux_sees_each_key_in_every_scan_code_set(line: str) -> None:
    linux = Linux(line)
    linux.watch("event1")
    for name in KEYS:
        for code in (key_make(name), key_break(name)):
            linux.actions.do("keys", [(code.hex(), 0)])
            linux.sleep(0.05)
    keys = [(code, value) for kind, code, value in linux.events() if kind == KEY]
    assert keys == [(number, value) for number in KEYS.values() for value in (1, 0)]


def test_linux_switches_the_lights() -> None:
    linux = Linux()
    linux.command("for led in /sys/class/leds/*capslock; do echo 1 > $led/brightness; done")
    keyboard = linux.machine.devices["kbd"]
    assert keyboard.state.keyboard.leds & 4  # type: ignore[attr-defined]
