from __future__ import annotations

import pytest

from bios.pc import rom
from bios.pc.host import Action
from tests.bios.fake_host import STACK, Machine


def call(pc: Machine, al: int, **registers: int) -> Action:
    return pc.interrupt(0x15, ax=0x5300 | al, **registers)


def powered_off(pc: Machine) -> bool:
    return bytes(value for port, value in pc.host.written if port == 0x8900) == b"Shutdown"


def test_version_1_2_is_there_for_every_width() -> None:
    pc = Machine()
    call(pc, 0x00, bx=0)
    assert (pc.ax, pc.bx, pc.cx, pc.carry) == (0x0102, 0x504D, 3, False)
    call(pc, 0x00, bx=1)
    assert (pc.ah, pc.carry) == (0x09, True)


def test_a_program_switches_the_power_off() -> None:
    pc = Machine()
    call(pc, 0x01, bx=0)
    call(pc, 0x0E, bx=0, cx=0x0102)
    assert (pc.ax, pc.carry) == (0x0102, False)
    call(pc, 0x07, bx=1, cx=9)
    assert (pc.ah, pc.carry) == (0x0A, True)
    call(pc, 0x07, bx=0x0100, cx=3)
    assert not pc.carry and not powered_off(pc)
    call(pc, 0x07, bx=1, cx=3)
    assert powered_off(pc)


@pytest.mark.parametrize("registers", [{"al": 0x05}, {"al": 0x07, "bx": 1, "cx": 1}, {"al": 0x07, "bx": 1, "cx": 2}])
def test_idle_and_standby_halt_until_an_interrupt(registers: dict[str, int]) -> None:
    pc = Machine()
    assert call(pc, **registers) is Action.WAIT
    assert pc.hook("int15", resumed=True) is Action.CONTINUE
    assert not pc.carry


def test_there_is_no_battery_and_no_event() -> None:
    pc = Machine()
    call(pc, 0x0A, bx=1)
    assert (pc.bx, pc.cx, pc.carry) == (0x01FF, 0x80FF, False)
    call(pc, 0x0B)
    assert (pc.ah, pc.carry) == (0x80, True)
    call(pc, 0x80)
    assert (pc.ah, pc.carry) == (0x86, True)


@pytest.mark.parametrize("wide", [False, True])
def test_protected_mode_calls_the_entry_that_it_was_given(wide: bool) -> None:
    pc = Machine()
    call(pc, 0x03, bx=0)
    entry = pc.host.reg("ebx")
    assert (pc.ax, pc.cx, pc.dx) == (0xF000, 0xF000, 0xF000)
    call(pc, 0x02, bx=0)
    assert (pc.ax, pc.bx) == (0xF000, entry)
    code = pc.host.ram[0xF0000 + entry :][:5]
    assert code == b"\x9c\xe6\xe4\x9d\xcb"  # pushf; out 0e4h,al; popf; retf, in either width
    pc.host.set_reg("ss.attr", 0x4000 if wide else 0)
    pc.host.set_reg("esp", STACK if wide else 0x10000 | STACK)
    for al, carry in ((0x0B, True), (0x04, False)):
        pc.host.set_reg("ax", 0x5300 | al)
        pc.poke(STACK, b"\x46\x02\x00\x00")
        assert pc.hook("apm") is Action.CONTINUE
        assert pc.host.ram[STACK] == 0x46 | carry
    pc.host.set_reg("ax", 0x5305)
    assert pc.hook("apm") is Action.WAIT
    assert pc.eip == rom.LABELS["apm.wait"]
    assert pc.hook("apm", resumed=True) is Action.CONTINUE
