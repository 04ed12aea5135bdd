"""GPIO of 4xx chips."""

from __future__ import annotations

import pytest

from devices.ppc4xx_gpio import Gpio

OR, TCR, OSRH, ODR, IR = 0x00, 0x04, 0x0C, 0x18, 0x1C


def test_inputs_show_their_lines_and_outputs_themselves():
    gpio = Gpio()
    gpio.input(0).set(True)
    gpio.input(1).set(True)
    gpio.write(TCR, 4, 0x6000_0000)
    gpio.write(OR, 4, 0x2000_0000)
    assert gpio.read(IR, 4) == 0xA000_0000
    gpio.input(0).set(False)
    assert gpio.read(IR, 4) == 0x2000_0000


def test_output_lines_follow_pins_that_are_outputs(line):
    gpio = Gpio(outputs={31: line})
    gpio.write(OR, 4, 1)
    assert not line.level
    gpio.write(TCR, 4, 1)
    assert line.level
    gpio.write(ODR, 4, 1)
    assert not line.level
    assert gpio.read(IR, 4) == 0


def test_a_reset_makes_inputs_of_all_pins_and_keeps_their_levels(line):
    gpio = Gpio(outputs={31: line})
    gpio.input(3).set(True)
    gpio.write(OR, 4, 1)
    gpio.write(TCR, 4, 1)
    gpio.reset()
    assert not line.level
    assert gpio.read(IR, 4) == 0x1000_0000


def test_pin_functions_are_kept_and_can_be_written_in_bytes():
    gpio = Gpio()
    gpio.write(OSRH, 4, 0x4200_0000)
    gpio.write(OSRH + 3, 1, 0x55)
    assert gpio.read(OSRH, 4) == 0x4200_0055
    gpio.write(IR, 4, 0xFFFF_FFFF)
    assert gpio.read(IR, 4) == 0


def test_there_is_no_pin_32(line):
    with pytest.raises(ValueError, match="no pin 32"):
        Gpio().input(32)
    with pytest.raises(ValueError, match="no pin 32"):
        Gpio(outputs={32: line})
