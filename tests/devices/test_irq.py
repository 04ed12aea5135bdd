"""Interrupt router: sharing and fan-out."""

from __future__ import annotations

import pytest

from devices.ioapic import IoApic
from devices.irq import IrqRouter
from devices.pic8259 import Pic8259


def test_a_shared_interrupt_stays_high_until_its_last_source_lets_go(lines):
    out = lines()
    router = IrqRouter([[out]])
    first, second = router.source(0), router.source(0)
    first.set(True)
    second.set(True)
    first.set(False)
    assert out.level
    second.set(False)
    assert out.changes == [True, False]


def test_the_timer_reaches_input_0_of_the_8259_and_pin_2_of_the_ioapic(lines):
    pic = Pic8259(intr=lines())
    ioapic = IoApic(deliver=lambda *message: True)
    router = IrqRouter([[pic.input(irq), ioapic.input(2 if irq == 0 else irq)] for irq in range(16)])
    router.source(0).set(True)
    assert pic.read_master(0, 1) == 1
    assert ioapic.state.lines == 4


def test_a_restored_router_remembers_who_drives(lines):
    router = IrqRouter([[lines()]])
    router.source(0).set(True)
    out = lines()
    again = IrqRouter([[out]])
    first, second = again.source(0), again.source(0)
    again.load(router.save())
    second.set(True)
    second.set(False)
    assert out.level
    first.set(False)
    assert not out.level


def test_an_interrupt_that_does_not_exist_is_refused(lines):
    with pytest.raises(ValueError, match="no further source for interrupt 1"):
        IrqRouter([[lines()]]).source(1)
