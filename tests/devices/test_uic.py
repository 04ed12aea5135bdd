"""UIC: levels, edges, polarities, critical vectors, cascades, and agreement with a model made of single inputs."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.uic import Uic, bit
from tests.devices.conftest import FakeLine

SR, SRS, ER, CR, PR, TR, MSR, VR, VCR = range(9)
ALL = 0xFFFFFFFF


@pytest.fixture
def uic(lines):
    return Uic(intr=lines(), critical=lines())


def test_input_0_is_the_most_significant_bit(uic):
    uic.line(0).set(True)
    uic.line(31).set(True)
    assert uic.read_dcr(SR) == 0x8000_0001


def test_only_enabled_inputs_interrupt(uic):
    uic.line(3).set(True)
    assert not uic.intr.level
    assert uic.read_dcr(MSR) == 0
    uic.write_dcr(ER, bit(3))
    assert uic.intr.level
    assert uic.read_dcr(MSR) == bit(3)


def test_a_status_bit_of_a_level_cannot_be_cleared_while_the_level_lasts(uic):
    line = uic.line(5)
    uic.write_dcr(ER, bit(5))
    line.set(True)
    uic.write_dcr(SR, bit(5))
    assert uic.intr.level
    line.set(False)
    assert uic.intr.level
    uic.write_dcr(SR, bit(5))
    assert not uic.intr.level


def test_an_edge_is_remembered_until_it_is_cleared_and_counts_once(uic):
    line = uic.line(6)
    uic.write_dcr(TR, bit(6))
    uic.write_dcr(ER, bit(6))
    line.set(True)
    uic.write_dcr(SR, bit(6))
    assert not uic.intr.level
    line.set(False)
    assert not uic.intr.level
    line.set(True)
    assert uic.intr.level


def test_a_falling_edge_counts_with_negative_polarity(uic):
    line = uic.line(6)
    uic.write_dcr(TR, bit(6))
    line.set(True)
    uic.write_dcr(PR, ALL & ~bit(6))
    uic.write_dcr(SR, ALL)
    assert uic.read_dcr(SR) == 0
    line.set(False)
    assert uic.read_dcr(SR) == bit(6)


def test_an_active_low_input_is_idle_until_somebody_pulls_it_even_after_a_reset(uic):
    line = uic.line(25, active_low=True)
    uic.reset()
    uic.write_dcr(ER, bit(25))
    assert not uic.intr.level
    line.set(True)
    assert uic.intr.level
    line.set(False)
    uic.write_dcr(SR, bit(25))
    assert not uic.intr.level


def test_the_wrong_polarity_makes_an_idle_input_active(uic):
    uic.line(25, active_low=True)
    uic.write_dcr(PR, ALL)
    assert uic.read_dcr(SR) == bit(25)


def test_critical_inputs_have_their_own_output(uic):
    uic.write_dcr(ER, ALL)
    uic.write_dcr(CR, bit(7))
    uic.line(7).set(True)
    assert (uic.intr.level, uic.critical.level) == (False, True)
    uic.line(8).set(True)
    assert (uic.intr.level, uic.critical.level) == (True, True)


def test_the_vector_counts_from_the_end_that_has_priority(uic):
    uic.write_dcr(ER, ALL)
    uic.write_dcr(CR, ALL & ~bit(0))
    uic.write_dcr(SRS, bit(0) | bit(4) | bit(30))
    uic.write_dcr(VCR, 0x1000_0000)
    assert uic.read_dcr(VR) == 0x1000_0000 + 1 * 512
    uic.write_dcr(VCR, 0x1000_0001)
    assert uic.read_dcr(VR) == 0x1000_0000 + 4 * 512
    uic.write_dcr(SR, ALL)
    assert uic.read_dcr(VR) == 0


def test_software_can_set_status_bits(uic):
    uic.write_dcr(ER, bit(9))
    uic.write_dcr(SRS, bit(9))
    assert uic.intr.level
    assert uic.read_dcr(SRS) == bit(9)
    uic.write_dcr(SR, bit(9))
    assert not uic.intr.level


def test_read_only_registers_ignore_writes(uic):
    uic.write_dcr(MSR, ALL)
    uic.write_dcr(VR, ALL)
    assert [uic.read_dcr(n) for n in range(9)] == [0, 0, 0, 0, ALL, 0, 0, 0, 0]


def test_reset_forgets_the_programming_and_keeps_the_levels(uic):
    uic.line(2).set(True)
    uic.write_dcr(ER, ALL)
    uic.reset()
    assert not uic.intr.level
    assert uic.read_dcr(SR) == bit(2)


def test_a_cascade_reaches_both_outputs_of_the_first_controller(lines):
    first = Uic(intr=lines(), critical=lines())
    second = Uic(intr=first.line(30), critical=first.line(31))
    first.write_dcr(CR, bit(31))
    for uic in (first, second):
        uic.write_dcr(ER, ALL)
    second.line(1).set(True)
    assert (first.intr.level, first.critical.level) == (True, False)
    second.write_dcr(CR, bit(1))
    first.write_dcr(SR, bit(30))
    assert (first.intr.level, first.critical.level) == (False, True)


@pytest.mark.parametrize("number", [-1, 32])
def test_there_is_no_input_outside_0_to_31(uic, number):
    with pytest.raises(ValueError, match="uic: no input"):
        uic.line(number)


@dataclass
class Input:
    """One input of the model: its level, its status latch and its five configuration bits."""

    level: bool = False
    latch: bool = False
    enabled: bool = False
    critical: bool = False
    rises: bool = True
    edge: bool = False

    def active(self) -> bool:
        return self.level == self.rises

    def settle(self) -> None:
        if self.active() and not self.edge:
            self.latch = True


@dataclass
class Model:
    """Thirty-two separate inputs; no masks."""

    inputs: list[Input] = field(default_factory=lambda: [Input() for _ in range(32)])
    vcr: int = 0

    def drive(self, number: int, level: bool) -> None:
        one = self.inputs[number]
        was = one.active()
        one.level = level
        if one.active() and not was:
            one.latch = True

    def write(self, number: int, value: int) -> None:
        for n, one in enumerate(self.inputs):
            on = value >> (31 - n) & 1 == 1
            if number == SR and on:
                one.latch = False
            elif number == SRS and on:
                one.latch = True
            elif number == ER:
                one.enabled = on
            elif number == CR:
                one.critical = on
            elif number == PR:
                one.rises = on
            elif number == TR:
                one.edge = on
            one.settle()
        if number == VCR:
            self.vcr = value

    def outputs(self) -> tuple[bool, bool]:
        pending = [one for one in self.inputs if one.latch and one.enabled]
        return any(not one.critical for one in pending), any(one.critical for one in pending)

    def vector(self) -> int:
        order = range(32) if self.vcr & 1 else range(31, -1, -1)
        for step, n in enumerate(order):
            one = self.inputs[n]
            if one.latch and one.enabled and one.critical:
                return (self.vcr // 4 * 4 + 512 * step) % (1 << 32)
        return 0

    def read(self, number: int) -> int:
        if number == VR:
            return self.vector()
        if number == VCR:
            return self.vcr // 4 * 4 + self.vcr % 2
        tell = {
            SR: lambda one: one.latch,
            SRS: lambda one: one.latch,
            ER: lambda one: one.enabled,
            CR: lambda one: one.critical,
            PR: lambda one: one.rises,
            TR: lambda one: one.edge,
            MSR: lambda one: one.latch and one.enabled,
        }[number]
        return sum(2 ** (31 - n) for n, one in enumerate(self.inputs) if tell(one))


def agree(seed: int, steps: int) -> None:
    rng = random.Random(seed)
    uic, model = Uic(intr=FakeLine(), critical=FakeLine()), Model()
    for step in range(steps):
        if rng.random() < 0.5:
            number, level = rng.randrange(32), rng.random() < 0.5
            uic.drive(number, level)
            model.drive(number, level)
        else:
            number = rng.randrange(9)
            value = rng.choice((0, ALL, bit(rng.randrange(32)), ALL & ~bit(rng.randrange(32)), rng.getrandbits(32)))
            uic.write_dcr(number, value)
            model.write(number, value)
        assert (uic.intr.level, uic.critical.level) == model.outputs(), (seed, step)
        number = rng.randrange(9)
        assert uic.read_dcr(number) == model.read(number), (seed, step, number)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32))
def test_random_operations_agree_with_the_model_of_single_inputs(seed):
    agree(seed, 300)
