"""The device base: registry, saving, and refusing bad snapshots whole."""

# ruff: noqa: RUF009 -- the field functions of devices.state make dataclass fields, not shared values

from __future__ import annotations

from dataclasses import dataclass

import pytest

from devices import state
from devices.device import REGISTRY, Device, device
from devices.registers import Bank


@dataclass
class Channel:
    count: int = state.uint(16)


class Sample(Device):
    regs = Bank(1)
    scr = regs.register(0, "SCR", reset=5)

    @dataclass
    class State:
        level: int = state.ranged(1, 4, 2)
        busy: bool = state.flag()
        due: int | None = state.deadline()
        mode: str = state.choice("idle", "run")
        fifo: list[int] = state.queue(2)
        table: list[int] = state.uints(2, 4)
        buffer: bytearray = state.octets(4, 2)
        channels: list[Channel] = state.records(2, Channel)

    state: State


def good() -> dict[str, object]:
    return Sample().save()


def test_a_saved_state_is_plain_data_and_loads_into_a_new_device():
    first = Sample()
    first.state.fifo.append(7)
    first.state.channels[1].count = 99
    first.scr = 0xAA
    saved = first.save()
    assert saved["state"]["buffer"] == b"\0\0"
    assert type(saved["state"]["channels"][1]) is dict
    second = Sample()
    second.load(saved)
    assert second.save() == saved
    assert second.state.fifo is not first.state.fifo


BAD = [
    ("level", 0, "level: 0 is outside 1..4"),
    ("level", True, "level: expected an integer, found bool"),
    ("level", 2.0, "level: expected an integer, found float"),
    ("busy", 1, "busy: expected true or false"),
    ("due", -1, "due: -1 is outside"),
    ("due", "x", "due: expected an integer, found str"),
    ("mode", "fly", "mode: expected one of idle, run"),
    ("fifo", [1, 2, 3], "fifo: expected a list of 0..2 integers"),
    ("fifo", [256], r"fifo\[0\]: 256 is outside 0..255"),
    ("table", [1], "table: expected a list of 2..2 integers"),
    ("buffer", b"12345", "buffer: expected 2..4 bytes"),
    ("buffer", "12", "buffer: expected 2..4 bytes"),
    ("channels", [{"count": 1}], "channels: expected a list of 2 records"),
    ("channels", [{"count": 1}, {"count": -1}], r"channels\[1\].count: -1 is outside"),
    ("channels", [{}, {}], r"channels\[0\].count: missing"),
    ("channels", [1, 2], r"channels\[0\]: expected a record, found int"),
    ("extra", 1, "extra: no such field"),
]


@pytest.mark.parametrize(("name", "value", "sentence"), BAD)
def test_a_bad_field_is_refused_by_name_and_nothing_changes(name, value, sentence):
    dev = Sample()
    before = dev.save()
    data = good()
    data["registers"]["SCR"] = 1
    data["state"][name] = value
    with pytest.raises(ValueError, match=sentence):
        dev.load(data)
    assert dev.save() == before


@pytest.mark.parametrize("value", [256, -1, None, True, "5"])
def test_a_bad_register_is_refused_by_name(value):
    data = good()
    data["registers"]["SCR"] = value
    with pytest.raises(ValueError, match=r"registers\.SCR: expected an integer in 0..0xff"):
        Sample().load(data)


@pytest.mark.parametrize(
    "data", [None, {}, {"registers": {}}, {"registers": [], "state": {}}, {"registers": {"X": 1}, "state": {}}]
)
def test_a_snapshot_of_another_shape_is_refused(data):
    with pytest.raises(ValueError, match=r"expected|no such register"):
        Sample().load(data)


def test_reset_gives_back_the_defaults():
    dev = Sample()
    before = dev.save()
    dev.scr = 1
    dev.state.level = 4
    dev.state.channels[0].count = 1
    dev.reset()
    assert dev.save() == before


def test_a_name_can_be_registered_only_once():
    @device("test-only-once", "a test")
    class One(Device):
        pass

    try:
        assert REGISTRY["test-only-once"] is One
        with pytest.raises(ValueError, match="device test-only-once: already registered by"):
            device("test-only-once", "another")(Sample)
    finally:
        del REGISTRY["test-only-once"]
