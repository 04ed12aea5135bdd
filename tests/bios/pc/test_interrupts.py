from __future__ import annotations

import pytest

from bios.pc.host import Action
from tests.bios.fake_host import FRAME, Machine


@pytest.fixture
def pc() -> Machine:
    return Machine()


def eois(pc: Machine) -> list[int]:
    return [port for port, value in pc.host.written if value == 0x20 and port in (0x20, 0xA0)]


@pytest.mark.parametrize(
    ("name", "vector", "ends"),
    [("irq6", None, [0x20]), ("irq13", None, [0xA0, 0x20]), ("irq14", None, [0xA0, 0x20]), ("irq9", None, [0xA0])],
)
def test_handlers_end_their_interrupt(pc: Machine, name: str, vector: int | None, ends: list[int]) -> None:
    pc.hook(name, vector=vector)
    assert eois(pc) == ends


def test_an_unclaimed_interrupt_in_service_is_ended(pc: Machine) -> None:
    pc.host.input[0x20] = [0x80]
    pc.hook("irq", vector=0x0F)
    assert eois(pc) == [0x20]


def test_a_spurious_irq_7_is_not_ended(pc: Machine) -> None:
    pc.host.input[0x20] = [0x00]
    pc.hook("irq", vector=0x0F)
    assert eois(pc) == []


def test_a_spurious_irq_15_ends_at_the_first_controller_only(pc: Machine) -> None:
    pc.host.input[0xA0] = [0x00]
    pc.hook("irq", vector=0x77)
    assert eois(pc) == [0x20]


def test_a_general_protection_fault_is_told_apart_from_irq_5(pc: Machine) -> None:
    pc.host.set_reg("ss", 0)
    pc.host.set_reg("esp", FRAME)
    pc.poke(FRAME, b"\x50\x00\x34\x12\x02\x02")
    pc.host.input[0x20] = [0x00]
    pc.hook("irq", vector=0x0D)
    assert eois(pc) == []
    assert any("exception 13 at 1234:0050" in line for line in pc.host.lines)


def test_an_exception_nobody_handles_is_logged_once(pc: Machine) -> None:
    pc.host.set_reg("ss", 0)
    pc.host.set_reg("esp", FRAME)
    for _ in range(3):
        assert pc.hook("fault", vector=0x06) is Action.WAIT
    assert sum("exception 6" in line for line in pc.host.lines) == 1
    assert any("processor exception 6 at 0000:0000" in pc.screen(row) for row in range(25))
    assert pc.hook("fault", vector=0x06, resumed=True) is Action.WAIT


def test_an_int_instruction_with_an_exceptions_number_just_returns(pc: Machine) -> None:
    pc.host.set_reg("ss", 0)
    pc.host.set_reg("esp", FRAME)
    pc.poke(0x12340 + 0x4E, b"\xcd\x06")
    pc.poke(FRAME, b"\x50\x00\x34\x12\x02\x02")
    assert pc.hook("fault", vector=0x06) is Action.CONTINUE
    assert pc.host.lines == []


def test_the_floppy_interrupt_sets_its_flag(pc: Machine) -> None:
    pc.hook("irq6")
    assert pc.host.ram[0x43E] & 0x80


def test_the_coprocessors_busy_latch_is_cleared(pc: Machine) -> None:
    pc.hook("irq13")
    assert (0xF0, 0) in pc.host.written
