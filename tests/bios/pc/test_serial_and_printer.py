from __future__ import annotations

import pytest

from bios.pc.host import Action
from tests.bios.fake_host import Machine

COM, LPT = 0x3F8, 0x378


@pytest.fixture
def pc() -> Machine:
    pc = Machine()
    pc.poke(0x400, COM.to_bytes(2, "little"))
    pc.poke(0x408, LPT.to_bytes(2, "little"))
    pc.host.ports.update({COM + 4: 0, COM + 5: 0x60, COM + 6: 0xB0, LPT + 1: 0xDF, LPT + 2: 0x0C})
    return pc


def test_initialising_sets_divisor_and_line(pc: Machine) -> None:
    pc.interrupt(0x14, ax=0x00E3, dx=0)  # 9600, no parity, 8 bits
    assert [(port - COM, value) for port, value in pc.host.written if COM <= port < COM + 8] == [
        (3, 0x83),
        (0, 12),
        (1, 0),
        (3, 0x03),
        (1, 0),
    ]
    assert pc.ax == 0x60B0


def test_a_character_is_sent(pc: Machine) -> None:
    pc.interrupt(0x14, ax=0x0141, dx=0)
    assert pc.host.ports[COM] == 0x41
    assert not pc.ah & 0x80


def test_a_busy_transmitter_times_out(pc: Machine) -> None:
    pc.host.ports[COM + 5] = 0
    pc.interrupt(0x14, ax=0x0141, dx=0)
    assert pc.ah & 0x80


def test_receiving_waits_for_a_character(pc: Machine) -> None:
    assert pc.interrupt(0x14, ah=0x02, dx=0) is Action.WAIT
    pc.host.ports.update({COM + 5: 0x61, COM: 0x5A})
    assert pc.interrupt(0x14, resumed=True, ah=0x02, dx=0) is Action.CONTINUE
    assert (pc.al, pc.ah) == (0x5A, 0)


def test_receiving_gives_up_after_a_second(pc: Machine) -> None:
    action = pc.interrupt(0x14, ah=0x02, dx=0)
    rounds = 0
    while action is Action.WAIT:
        action = pc.interrupt(0x14, resumed=True, ah=0x02, dx=0)
        rounds += 1
    assert pc.ah == 0x80
    assert 10 < rounds < 30


def test_the_modem_control_register_is_read_and_written(pc: Machine) -> None:
    pc.interrupt(0x14, ax=0x0501, bl=0x03, dx=0)
    assert pc.host.ports[COM + 4] == 0x03
    pc.interrupt(0x14, ax=0x0500, dx=0)
    assert pc.bl == 0x03


@pytest.mark.parametrize("ah", [0, 1, 2, 3, 4, 5, 9])
def test_a_port_that_is_not_there_times_out(pc: Machine, ah: int) -> None:
    pc.interrupt(0x14, ah=ah, dx=3)
    assert pc.ah == 0x80


def test_printing_strobes_the_character(pc: Machine) -> None:
    pc.interrupt(0x17, ax=0x0041, dx=0)
    assert pc.host.ports[LPT] == 0x41
    assert [value & 1 for port, value in pc.host.written if port == LPT + 2] == [1, 0]
    assert pc.ah == 0x90  # selected, not busy


@pytest.mark.parametrize("ah", [0, 1, 2])
def test_a_printer_that_is_not_there_times_out(pc: Machine, ah: int) -> None:
    pc.interrupt(0x17, ah=ah, dx=2)
    assert pc.ah == 1
