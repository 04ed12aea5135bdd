"""MPC85xx GPIO: directions, levels, events."""

from __future__ import annotations

import pytest

from devices.fsl_gpio import FslGpio

DIR, DAT, IER, IMR, ICR = 0x00, 0x08, 0x0C, 0x10, 0x14


@pytest.fixture
def power(lines):
    return lines()


@pytest.fixture
def gpio(line, power):
    return FslGpio(irq=line, outputs={0: power})


def test_an_output_pin_drives_its_line_whichever_register_is_written_last(gpio, power):
    gpio.write(DAT, 4, 1 << 31)
    assert not power.level
    gpio.write(DIR, 4, 1 << 31)
    assert power.level
    gpio.write(DAT, 4, 0)
    assert not power.level
    gpio.write(DAT, 1, 0x80)
    assert power.level
    gpio.reset()
    assert not power.level


def test_data_reads_the_outputs_and_the_levels_of_the_inputs(gpio):
    gpio.write(DIR, 4, 0xF000_0000)
    gpio.write(DAT, 4, 0xA5A5_A5A5)
    gpio.input(31).set(True)
    gpio.input(1).set(True)
    assert gpio.read(DAT, 4) == 0xA000_0001


def test_a_change_of_an_input_is_an_event_that_interrupts_while_unmasked(gpio, line):
    pin = gpio.input(3)
    pin.set(True)
    assert gpio.read(IER, 4) == 1 << 28
    assert not line.level
    gpio.write(IMR, 4, 1 << 28)
    assert line.level
    gpio.write(IER, 4, 1 << 28)
    assert not line.level
    pin.set(True)
    assert not line.level
    pin.set(False)
    assert line.level


def test_a_pin_may_hear_falling_edges_only(gpio):
    gpio.write(ICR, 4, 1 << 28)
    pin = gpio.input(3)
    pin.set(True)
    assert gpio.read(IER, 4) == 0
    pin.set(False)
    assert gpio.read(IER, 4) == 1 << 28


def test_there_are_32_pins(line):
    gpio = FslGpio(irq=line)
    with pytest.raises(ValueError, match="no pin 32"):
        gpio.input(32)
    with pytest.raises(ValueError, match=r"pins are 0\.\.31"):
        FslGpio(irq=line, outputs={-1: line})
