"""Whatever a guest puts into registers, memory and devices, a BIOS call ends without an exception."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bios.pc import rom
from bios.pc.host import Action
from bios.pc.service import SERVICES
from tests.bios.fake_host import FRAME, FakeHost, Machine, floppy, hard_disk

WORDS = st.integers(0, 0xFFFF)
DWORDS = st.one_of(st.integers(0, 0xFFFFFFFF), st.sampled_from([0, 0xFFFFFFFF, 0x534D4150, 0x80000000]))
VECTORS = sorted({key[0] for key in SERVICES})
FUNCTIONS = sorted({(vector, ah, al) for vector, ah, al in SERVICES if ah is not None}, key=str)
SETTINGS = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

registers = st.fixed_dictionaries(
    dict.fromkeys(("eax", "ebx", "ecx", "edx", "esi", "edi", "ebp"), DWORDS) | dict.fromkeys(("ds", "es"), WORDS)
)


@pytest.fixture(scope="module")
def pc() -> Machine:
    return Machine(FakeHost(2 << 20, [floppy(), hard_disk(2000)]))


def settle(pc: Machine) -> None:
    """A random call may have asked for anything; make the next one start from a working machine."""
    pc.host.unmapped = range(0)
    pc.host.resets = 0


@SETTINGS
@given(st.data(), st.sampled_from(VECTORS), registers, st.booleans())
def test_any_registers_in_any_call(
    pc: Machine, data: st.DataObject, vector: int, values: dict[str, int], resumed: bool
) -> None:
    of_vector = [key for key in FUNCTIONS if key[0] == vector]
    if of_vector and data.draw(st.integers(0, 3)):
        _, ah, al = data.draw(st.sampled_from(of_vector))
        assert ah is not None
        values["eax"] = values["eax"] & ~0xFF00 | ah << 8
        if al is not None:
            values["eax"] = values["eax"] & ~0xFF | al
    assert pc.interrupt(vector, resumed=resumed, **values) in Action
    settle(pc)


@SETTINGS
@given(st.binary(min_size=64, max_size=256), st.integers(0, 255), st.sampled_from(VECTORS), registers)
def test_any_bios_data_area(pc: Machine, junk: bytes, at: int, vector: int, values: dict[str, int]) -> None:
    pc.poke(0x400 + at, junk[: 256 - at])
    assert pc.interrupt(vector, **values) in Action
    settle(pc)


@SETTINGS
@given(st.lists(st.integers(0, 255), max_size=40))
def test_any_scan_codes(pc: Machine, codes: list[int]) -> None:
    for code in codes:
        pc.host.input[0x60] = [code]
        assert pc.hook("irq1") is Action.CONTINUE
    settle(pc)


@SETTINGS
@given(st.sampled_from(VECTORS), registers, st.integers(0, 0x1FFFFF), st.integers(1, 0x10000))
def test_any_unmapped_memory(pc: Machine, vector: int, values: dict[str, int], start: int, size: int) -> None:
    pc.host.unmapped = range(start, start + size)
    assert pc.interrupt(vector, **values) in Action
    settle(pc)


@SETTINGS
@given(st.sampled_from(VECTORS), registers, st.dictionaries(WORDS, st.integers(0, 255), max_size=20), DWORDS)
def test_any_port_contents_and_stack(
    pc: Machine, vector: int, values: dict[str, int], ports: dict[int, int], esp: int
) -> None:
    pc.host.ports.update(ports)
    for name, value in values.items():
        pc.host.set_reg(name, value)
    pc.host.set_reg("ss", values["ds"])
    pc.host.set_reg("esp", esp)
    assert pc.hook(f"int{vector:02x}") in Action
    settle(pc)


@pytest.mark.parametrize("at", [0x0000, 0xFFFF, 0xE05A, 0x7C00])
def test_the_hook_port_written_from_elsewhere_does_nothing(pc: Machine, at: int) -> None:
    before = bytes(pc.host.ram)
    pc.host.set_reg("cs", 0x1000)
    pc.host.set_reg("eip", at)
    assert pc.bios.dispatch() is Action.CONTINUE
    assert bytes(pc.host.ram) == before


def test_a_hook_from_the_rom_below_4_gib_counts_too() -> None:
    pc = Machine(post=False)
    at = next(at for at, point in rom.HOOK_POINTS.items() if point.name == "post")
    pc.host.regs.update({"cs": 0xF000, "cs.base": 0xFFFF0000, "eip": at})
    pc.bios.dispatch()
    assert pc.word(0x413) == 639


def test_services_use_no_stack_beyond_the_frame() -> None:
    pc = Machine(FakeHost(2 << 20, [floppy(), hard_disk(2000)]))
    for vector, ah, al in FUNCTIONS:
        pc.poke(FRAME - 64, b"\xcc" * 64)
        pc.interrupt(
            vector, eax=(ah or 0) << 8 | (al or 0), ebx=0, ecx=0, edx=0x80, esi=0, edi=0x3000, ebp=0x3000, es=0
        )
        assert pc.host.ram[FRAME - 64 : FRAME] == b"\xcc" * 64, f"INT {vector:02X} AH={ah:02X}"


def test_state_is_saved_and_restored() -> None:
    pc = Machine(FakeHost(disks=[hard_disk()]))
    other = Machine(FakeHost(disks=[hard_disk()]), post=False)
    other.bios.load(pc.bios.save())
    assert other.bios.save() == pc.bios.save()
    assert other.bios.geometries == pc.bios.geometries


@pytest.mark.parametrize(
    "change",
    [
        {"geometries": 1},
        {"geometries": [[1, 2]]},
        {"geometries": [[0, 1, 1]]},
        {"boot_rest": None},
        {"idle_polls": -1},
        {"last_poll": "x"},
        {"last_ticks": None},
    ],
)
def test_a_damaged_state_is_refused(change: dict[str, object]) -> None:
    pc = Machine()
    with pytest.raises(ValueError, match="BIOS state"):
        pc.bios.load({**pc.bios.save(), **change})
