from __future__ import annotations

import pytest

from bios.pc import rom
from bios.pc.host import Action
from tests.bios.fake_host import FakeHost, Machine


@pytest.fixture
def pc() -> Machine:
    return Machine()


def cmos(pc: Machine, **values: int) -> None:
    for name, value in values.items():
        pc.host.indexed[(0x70, int(name[1:], 16))] = value


def test_ticks_are_counted_and_read(pc: Machine) -> None:
    pc.interrupt(0x1A, ah=0x01, cx=0x0012, dx=0x3456)
    pc.hook("irq0")
    pc.interrupt(0x1A, ah=0x00)
    assert (pc.cx, pc.dx, pc.al) == (0x0012, 0x3457, 0)


def test_asking_for_the_same_tick_over_and_over_halts_until_it_changes(pc: Machine) -> None:
    actions = [pc.interrupt(0x1A, ah=0x00) for _ in range(300)]
    assert actions[200] is Action.CONTINUE
    assert actions[-1] is Action.WAIT
    before = pc.dx
    pc.hook("irq0")
    assert pc.interrupt(0x1A, ah=0x00, resumed=True) is Action.CONTINUE
    assert pc.dx == before + 1
    assert pc.interrupt(0x1A, ah=0x00) is Action.CONTINUE


def test_midnight_is_told_once(pc: Machine) -> None:
    pc.interrupt(0x1A, ah=0x01, cx=0x0018, dx=0x00AF)
    pc.hook("irq0")
    pc.interrupt(0x1A, ah=0x00)
    assert (pc.cx, pc.dx, pc.al) == (0, 0, 1)
    pc.interrupt(0x1A, ah=0x00)
    assert pc.al == 0


def test_a_tick_without_a_user_handler_ends_at_once(pc: Machine) -> None:
    pc.hook("irq0")
    assert pc.eip == rom.LABELS["irq0.done"]
    assert (0x20, 0x20) in pc.host.written


def test_a_tick_with_a_user_handler_goes_through_it_first(pc: Machine) -> None:
    pc.poke(0x1C * 4, b"\x00\x00\x00\x20")
    pc.hook("irq0")
    assert pc.eip != rom.LABELS["irq0.done"]
    assert (0x20, 0x20) not in pc.host.written
    pc.hook("irq0.eoi")
    assert (0x20, 0x20) in pc.host.written


def test_the_motor_runs_out(pc: Machine) -> None:
    pc.poke(0x43F, b"\x81")
    pc.poke(0x440, b"\x02")
    pc.hook("irq0")
    assert pc.host.ram[0x43F] == 0x81
    pc.hook("irq0")
    assert pc.host.ram[0x43F] == 0x80


def test_time_and_date_come_from_the_clock_chip_in_bcd(pc: Machine) -> None:
    cmos(pc, x4=0x23, x2=0x59, x0=0x58, x9=0x24, x8=0x12, x7=0x31, x32=0x20)
    pc.interrupt(0x1A, ah=0x02)
    assert (pc.ch, pc.cl, pc.dh, pc.carry) == (0x23, 0x59, 0x58, False)
    pc.interrupt(0x1A, ah=0x04)
    assert (pc.ch, pc.cl, pc.dh, pc.dl) == (0x20, 0x24, 0x12, 0x31)


def test_an_update_in_progress_sets_carry(pc: Machine) -> None:
    cmos(pc, xA=0xA6)
    pc.interrupt(0x1A, ah=0x02)
    assert pc.carry


def test_setting_time_and_date_writes_them_back(pc: Machine) -> None:
    pc.interrupt(0x1A, ah=0x03, ch=0x12, cl=0x34, dh=0x56, dl=0)
    pc.interrupt(0x1A, ah=0x05, ch=0x19, cl=0x99, dh=0x01, dl=0x02)
    stored = [pc.host.indexed[(0x70, index)] for index in (4, 2, 0, 0x32, 9, 8, 7)]
    assert stored == [0x12, 0x34, 0x56, 0x19, 0x99, 0x01, 0x02]
    assert not pc.host.indexed[(0x70, 0x0B)] & 0x80


def test_an_alarm_is_set_once_until_it_is_cancelled(pc: Machine) -> None:
    pc.interrupt(0x1A, ah=0x06, ch=1, cl=2, dh=3)
    assert not pc.carry
    pc.interrupt(0x1A, ah=0x06, ch=1, cl=2, dh=3)
    assert pc.carry
    pc.interrupt(0x1A, ah=0x07)
    assert not pc.host.indexed[(0x70, 0x0B)] & 0x20


def test_an_alarm_goes_to_int_4ah_if_somebody_wants_it(pc: Machine) -> None:
    pc.interrupt(0x1A, ah=0x06, ch=1, cl=2, dh=3)
    pc.poke(0x4A * 4, b"\x00\x00\x00\x20")
    pc.host.indexed[(0x70, 0x0C)] = 0x20
    pc.hook("irq8")
    assert pc.eip == rom.LABELS["irq8.alarm"]


def test_post_sets_the_tick_count_from_the_time_of_day() -> None:
    host = FakeHost()
    host.indexed.update({(0x70, 4): 0x01, (0x70, 2): 0x00, (0x70, 0): 0x00})
    pc = Machine(host)
    assert pc.dword(0x46C) == 3600 * 1193182 // 65536


def test_an_unknown_function_sets_carry(pc: Machine) -> None:
    pc.interrupt(0x1A, ah=0x77)
    assert pc.carry
