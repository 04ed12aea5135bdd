"""The virtio keyboard and tablet."""

from __future__ import annotations

import struct

import pytest

from devices.virtio.input import ABS, EVENT, KEY, KEYBOARD, LARGEST, REL, SYN, TABLET, Input, Model
from tests.devices.virtio.guest import MODERN, Guest, Memory


class Made(Guest):
    def __init__(self, model: Model = KEYBOARD, buffers: int = 12) -> None:
        memory = Memory()
        self.input = Input(memory=memory, model=model)
        super().__init__(self.input, memory, MODERN)
        for _ in range(buffers):
            self.put(0, EVENT)

    def events(self) -> list[tuple[int, int, int]]:
        return [struct.unpack("<HHi", used.data) for used in self.used(0)]

    def ask(self, select: int, which: int = 0) -> bytes:
        self.device.write_config(0, 1, select)
        self.device.write_config(1, 1, which)
        size = self.device.read_config(2, 1)
        return bytes(self.device.read_config(8 + n, 1) for n in range(size))


def bits(data: bytes) -> set[int]:
    number = int.from_bytes(data, "little")
    return {n for n in range(number.bit_length()) if number >> n & 1}


def test_the_driver_asks_what_the_device_is() -> None:
    g = Made()
    assert g.ask(1) == b"Emu virtio keyboard"
    assert struct.unpack("<4H", g.ask(3)) == (6, 0x0627, 1, 1)
    assert {1, 30, 88, 96, 127} <= bits(g.ask(0x11, KEY)) and 0 not in bits(g.ask(0x11, KEY))
    assert bits(g.ask(0x11, 0x11)) == {0, 1, 2}
    assert g.ask(0x11, ABS) == g.ask(2) == g.ask(0x10) == g.ask(0) == g.ask(1, 1) == g.ask(0xFF, 0xFF) == b""
    tablet = Made(TABLET)
    assert bits(tablet.ask(0x11, ABS)) == {0, 1} and bits(tablet.ask(0x11, REL)) == {8}
    assert struct.unpack("<5I", tablet.ask(0x12, 1)) == (0, LARGEST, 0, 0, 0)
    assert tablet.ask(0x12, 2) == b""


def test_only_the_selector_can_be_written() -> None:
    g = Made()
    g.device.write_config(0, 4, 0xFFFFFF01)
    assert g.device.read_config(0, 4) == 0x0000FF01
    g.device.write_config(0, 2, 1)
    g.device.write_config(8, 4, 0xFFFFFFFF)
    assert g.device.read_config(8, 4) == int.from_bytes(b"Emu ", "little")


@pytest.mark.parametrize(
    ("name", "code"), [("a", 30), ("esc", 1), ("f12", 88), ("up", 103), ("ctrl_r", 97), ("print", 99)]
)
def test_a_key_goes_down_and_up(name: str, code: int) -> None:
    g = Made()
    assert g.input.key(name, True) and g.input.key(name, False)
    assert g.events() == [(KEY, code, 1), (SYN, 0, 0), (KEY, code, 0), (SYN, 0, 0)]
    with pytest.raises(ValueError, match="nokey"):
        g.input.key("nokey", True)


def test_the_bytes_of_a_pc_keyboard_are_understood() -> None:
    g = Made()
    assert g.input.key_scancode(bytes.fromhex("1e 9e e048 e0c8"))
    assert [e for e in g.events() if e[0]] == [(KEY, 30, 1), (KEY, 30, 0), (KEY, 103, 1), (KEY, 103, 0)]
    g.input.key_scancode(bytes.fromhex("00 80 7f e07f"))
    assert g.events() == []


def test_the_pointer_stays_on_its_area() -> None:
    g = Made(TABLET)
    g.input.move(-5, LARGEST + 1)
    g.input.button("left", True)
    g.input.wheel(-1)
    expected = [(ABS, 0, 0), (ABS, 1, LARGEST), (SYN, 0, 0), (KEY, 0x110, 1), (SYN, 0, 0), (REL, 8, -1), (SYN, 0, 0)]
    assert g.events() == expected


def test_events_wait_for_buffers_and_a_guest_that_takes_none_loses_them() -> None:
    g = Made(buffers=0)
    sent = 0
    while g.input.key("a", True):
        sent += 1
    assert sent == 32
    for _ in range(14):
        g.put(0, EVENT)
    assert len(g.events()) == 14
    assert g.input.key("a", False)
    g.device.set_status(0)
    assert not g.input.key("a", True)


def test_the_guest_switches_lights() -> None:
    g = Made()
    g.put(1, struct.pack("<HHI", 0x11, 1, 1))
    g.put(1, struct.pack("<HHI", 0x11, 99, 1))
    g.put(1, b"short")
    g.put(1, struct.pack("<HHI", 1, 1, 1))
    assert g.input.state.leds == 2 and len(g.used(1)) == 4
