"""Timer, 8259A pair, I/O APIC and local APIC together, wired as on a board."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from devices.contracts import Wire
from devices.ioapic import IoApic
from devices.irq import IrqRouter
from devices.lapic import Lapic
from devices.pic8259 import Pic8259
from devices.pit8254 import Pit8254


@pytest.fixture
def board(clock, line):
    """`cpu` is the processor's INTR pin."""
    made = SimpleNamespace(cpu=line)
    made.pic = Pic8259(intr=Wire(lambda level: made.lapic.set_extint(level)))
    made.lapic = Lapic(
        clock=clock,
        intr=line,
        extint_vector=made.pic.acknowledge,
        end_of_interrupt=lambda vector: made.ioapic.end_of_interrupt(vector),
    )
    made.ioapic = IoApic(deliver=made.lapic.deliver)
    made.irqs = IrqRouter([[made.pic.input(i), made.ioapic.input(i or 2)] for i in range(16) if i != 2])
    made.pit = Pit8254(clock=clock, irq=made.irqs.source(0))
    for offset, value in ((0, 0x11), (1, 0x20), (1, 4), (1, 1), (1, 0xFE)):
        made.pic.write_master(offset, 1, value)
    for offset, value in ((3, 0x34), (0, 0xA9), (0, 0x04)):
        made.pit.write(offset, 1, value)
    # OUT 0 went high when the mode was set: the first edge is no tick.
    assert made.lapic.acknowledge() == 0x20
    made.pic.write_master(0, 1, 0x20)
    return made


def redirect(board, pin, low):
    for index, value in ((0x11 + 2 * pin, 0), (0x10 + 2 * pin, low)):
        board.ioapic.write(0, 4, index)
        board.ioapic.write(0x10, 4, value)


def test_the_timer_reaches_the_processor_through_the_8259_alone(board, clock):
    ticks = 0
    for _ in range(50):
        clock.advance(1_000_000)
        if board.cpu.level:
            assert board.lapic.acknowledge() == 0x20
            board.pic.write_master(0, 1, 0x20)
            ticks += 1
    assert ticks == 49


def test_the_timer_reaches_the_processor_through_the_ioapic(board, clock):
    board.lapic.write(0xF0, 4, 0x1FF)
    board.pic.write_master(1, 1, 0xFF)
    redirect(board, 2, 0x30)
    ticks = 0
    for _ in range(50):
        clock.advance(1_000_000)
        if board.cpu.level:
            assert board.lapic.acknowledge() == 0x30
            board.lapic.write(0xB0, 4, 0)
            ticks += 1
    assert ticks == 49


def test_the_local_timer_agrees_with_the_pit(board, clock):
    board.lapic.write(0x3E0, 4, 0x03)
    board.lapic.write(0x380, 4, 0xFFFFFFFF)
    start = board.lapic.read(0x390, 4)
    seen = 0
    while seen < 100:
        clock.advance(10_000)
        if board.cpu.level:
            board.lapic.acknowledge()
            board.pic.write_master(0, 1, 0x20)
            seen += 1
    counted = start - board.lapic.read(0x390, 4)
    assert abs(counted * 16 - 100 * 1193 * 1_000_000_000 // 1_193_182) < 20_000


def test_a_level_interrupt_stays_until_its_source_is_quiet(board):
    board.lapic.write(0xF0, 4, 0x1FF)
    redirect(board, 11, 0x8000 | 0x51)
    source = board.irqs.source(10)
    source.set(True)
    for _ in range(3):
        assert board.lapic.acknowledge() == 0x51
        board.lapic.write(0xB0, 4, 0)
    source.set(False)
    assert board.lapic.acknowledge() == 0x51
    board.lapic.write(0xB0, 4, 0)
    assert not board.cpu.level
