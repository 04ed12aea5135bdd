"""Devices that are plugged into boards: names, places, and what is wrong with a command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from emu.boards import Setup, board
from emu.machine import Machine
from emu.media import open_drive
from emu.options import ShowAndExit, UsageError, parse
from emu.plug import KINDS, Kind, PciBoard, _places
from tests.emu.fake_cpu import FakeCpu


class Bus:
    functions: dict[int, Any] = {}


def places(slots: range, *wanted: str) -> dict[int, tuple[int, int]]:
    """Where `_places` puts devices given as "", or as their addr."""
    nobody: Any = None
    made = PciBoard(bus=nobody, slots=slots, irq=nobody, range=nobody, memory=nobody, physical=nobody)
    words = [("virtio-blk-pci", {"addr": addr} if addr else {}) for addr in wanted]
    return _places(made, words, {1})


def test_devices_take_the_first_free_slots_and_then_become_functions_of_these() -> None:
    assert places(range(2, 5), "", "3", "", "") == {0: (2, 0), 1: (3, 0), 2: (4, 0), 3: (2, 1)}
    assert places(range(2, 5), "2.1", "2") == {0: (2, 1), 1: (2, 0)}
    assert places(range(0x10, 0x13), "0x11", "12.0") == {0: (0x11, 0), 1: (0x12, 0)}


@pytest.mark.parametrize(
    ("addr", "text"),
    [("1", "expected a slot of 2 to 4"), ("9", "expected a slot of 2 to 4"), ("2.8", "such as 5 or 5.1"),
     ("x", "such as 5 or 5.1"), ("3.1", "no function 0"), ("-1", "such as 5 or 5.1")],
)  # fmt: skip
def test_a_place_that_cannot_be_is_one_line(addr: str, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        places(range(2, 5), addr)


def test_a_slot_is_given_once_and_a_bus_is_full_in_the_end() -> None:
    with pytest.raises(UsageError, match="taken"):
        places(range(2, 5), "2", "2")
    assert len(set(places(range(2, 4), *[""] * 16).values())) == 16
    with pytest.raises(UsageError, match="all PCI slots are taken"):
        places(range(2, 4), *[""] * 17)


def test_unknown_names_and_properties_name_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean virtio-blk-pci"):
        parse(["-device", "virtio_blk-pci,drive=x"])
    with pytest.raises(UsageError, match=r"did you mean .*serial"):
        parse(["-device", "virtio-blk-pci,seril=x"])
    with pytest.raises(ShowAndExit, match="virtio-blk-pci-non-transitional"):
        parse(["-device", "help"])
    with pytest.raises(ShowAndExit, match="num-queues"):
        parse(["-device", "virtio-blk-device,help"])


def test_every_device_has_a_line_of_help_for_each_property() -> None:
    for kind in KINDS.values():
        assert isinstance(kind, Kind) and kind.help
        assert all(kind.props.values()), kind.name


def machine(name: str, image: Path, *words: str) -> Machine:
    """A board with its devices, and a processor that does nothing."""
    config = parse(["-M", name, "-m", "64", "-drive", f"file={image},format=raw,if=none,id=x", *words])
    setup = Setup(config, make_cpu=lambda accel, bus, ram, model: FakeCpu())  # type: ignore[arg-type,return-value]
    setup.media = [open_drive(drive, config) for drive in config.drives]
    return board(name)(setup)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("virtio-blk-pci", "expected drive="),
        ("virtio-blk-pci,drive=y", "drive y"),
        ("virtio-blk-pci,drive=x,num-queues=0", "expected 1 to 64"),
        ("virtio-blk-pci,drive=x,queue-size=300", "powers of two"),
        ("virtio-blk-pci,drive=x,logical_block_size=600", "power of two"),
        ("virtio-blk-pci,drive=x,disable-modern=on,disable-legacy=on", "leave no interface"),
        ("virtio-blk-pci,drive=x,packed=maybe", "expected on or off"),
        ("virtio-blk-pci,drive=x,vectors=999", "expected 0 to 128"),
        ("virtio-blk-pci,drive=x,bus=pci.7", "pci.0"),
    ],
)
def test_a_disk_that_cannot_be_is_one_line(tmp_path: Path, words: str, text: str) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(4096))
    with pytest.raises(UsageError, match=text) as caught:
        machine("pc", image, "-device", words)
    assert "\n" not in str(caught.value)


def test_a_pc_has_two_disks_on_one_bus_under_their_ids(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(4096))
    devices = ("id=one", "addr=9.1", "addr=9")
    m = machine("pc", image, *(w for more in devices for w in ("-device", f"virtio-blk-pci,drive=x,{more}")))
    assert {"virtio-blk-pci.one", "virtio-blk-pci.one-virtio", "virtio-blk-pci.1"} <= set(m.devices)
    host: Any = m.devices["pci"]
    assert {3 << 3, 9 << 3, 9 << 3 | 1} <= set(host.functions)
    assert host.functions[9 << 3].config_read(0x0E, 1) == 0x80 and host.functions[3 << 3].config_read(0x0E, 1) == 0
    with pytest.raises(UsageError, match="in use"):
        machine("pc", image, "-device", "virtio-blk-pci,drive=x,id=a", "-device", "virtio-blk-pci,drive=x,id=a")
