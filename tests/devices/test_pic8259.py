"""8259A pair: priorities, cascade, end of interrupt, spurious vectors."""

from __future__ import annotations

import pytest

from devices.pic8259 import Pic8259


@pytest.fixture
def pic(line):
    """Initialised as a PC does: vectors 0x08 and 0x70, nothing masked."""
    dev = Pic8259(intr=line)
    for value, offset in ((0x11, 0), (0x08, 1), (0x04, 1), (0x01, 1)):
        dev.write_master(offset, 1, value)
    for value, offset in ((0x11, 0), (0x70, 1), (0x02, 1), (0x01, 1)):
        dev.write_slave(offset, 1, value)
    return dev


def test_an_edge_raises_intr_and_acknowledge_gives_the_vector(pic, line):
    pic.input(1).set(True)
    assert line.level
    assert pic.acknowledge() == 0x09
    assert not line.level


def test_a_held_edge_line_does_not_interrupt_again_after_eoi(pic, line):
    pic.input(1).set(True)
    pic.acknowledge()
    pic.write_master(0, 1, 0x20)
    assert not line.level
    pic.input(1).set(False)
    pic.input(1).set(True)
    assert line.level


def test_a_lower_priority_waits_for_the_end_of_interrupt(pic, line):
    pic.input(1).set(True)
    pic.acknowledge()
    pic.input(3).set(True)
    assert not line.level
    pic.write_master(0, 1, 0x20)
    assert pic.acknowledge() == 0x0B


def test_a_higher_priority_nests(pic, line):
    pic.input(3).set(True)
    pic.acknowledge()
    pic.input(0).set(True)
    assert line.level
    assert pic.acknowledge() == 0x08


def test_the_slave_interrupts_through_the_cascade_and_needs_two_ends(pic, line):
    pic.input(14).set(True)
    assert pic.acknowledge() == 0x76
    pic.write_master(0, 1, 0x0B)
    pic.write_slave(0, 1, 0x0B)
    assert pic.read_master(0, 1) == 0x04
    assert pic.read_slave(0, 1) == 0x40
    pic.write_slave(0, 1, 0x20)
    pic.write_master(0, 1, 0x20)
    assert (pic.read_master(0, 1), pic.read_slave(0, 1)) == (0, 0)


def test_a_request_that_goes_away_gives_the_spurious_vector_without_service(pic, line):
    pic.input(5).set(True)
    pic.input(5).set(False)
    assert not line.level
    assert pic.acknowledge() == 0x0F
    pic.write_master(0, 1, 0x0B)
    assert pic.read_master(0, 1) == 0


def test_a_slave_request_masked_after_the_master_saw_it_is_spurious_15(pic):
    master = pic.state.chips[0]
    pic.input(10).set(True)
    pic.write_slave(1, 1, 0xFF)
    master.irr |= 4
    assert pic.acknowledge() == 0x77
    pic.write_master(0, 1, 0x0B)
    assert pic.read_master(0, 1) == 0x04


def test_a_masked_request_waits_in_irr(pic, line):
    pic.write_master(1, 1, 0xFF)
    pic.input(4).set(True)
    assert not line.level
    assert pic.read_master(0, 1) == 0x10
    assert pic.read_master(1, 1) == 0xFF
    pic.write_master(1, 1, 0xEF)
    assert line.level


def test_specific_eoi_ends_only_its_input(pic):
    pic.input(3).set(True)
    pic.acknowledge()
    pic.input(1).set(True)
    pic.acknowledge()
    pic.write_master(0, 1, 0x63)
    pic.write_master(0, 1, 0x0B)
    assert pic.read_master(0, 1) == 0x02


def test_rotation_on_eoi_makes_the_served_input_the_lowest(pic):
    pic.input(3).set(True)
    pic.acknowledge()
    pic.write_master(0, 1, 0xA0)
    pic.input(0).set(True)
    pic.input(3).set(False)
    pic.input(3).set(True)
    pic.input(4).set(True)
    assert pic.acknowledge() == 0x0C


def test_set_priority_chooses_the_lowest_input(pic):
    pic.write_master(0, 1, 0xC4)
    pic.input(1).set(True)
    pic.input(5).set(True)
    assert pic.acknowledge() == 0x0D


def test_automatic_eoi_leaves_nothing_in_service(pic, line):
    for value, offset in ((0x11, 0), (0x20, 1), (0x04, 1), (0x03, 1)):
        pic.write_master(offset, 1, value)
    pic.input(6).set(True)
    assert pic.acknowledge() == 0x26
    pic.write_master(0, 1, 0x0B)
    assert pic.read_master(0, 1) == 0


def test_special_mask_mode_lets_lower_priorities_through_a_masked_one_in_service(pic, line):
    pic.input(1).set(True)
    pic.acknowledge()
    pic.input(6).set(True)
    pic.write_master(1, 1, 0x02)
    assert not line.level
    pic.write_master(0, 1, 0x68)
    assert line.level
    assert pic.acknowledge() == 0x0E


def test_special_fully_nested_mode_lets_the_slave_nest_in_itself(pic, line):
    for value, offset in ((0x11, 0), (0x08, 1), (0x04, 1), (0x11, 1)):
        pic.write_master(offset, 1, value)
    pic.input(12).set(True)
    assert pic.acknowledge() == 0x74
    pic.input(9).set(True)
    assert pic.acknowledge() == 0x71


def test_polling_acknowledges(pic, line):
    pic.input(3).set(True)
    pic.write_master(0, 1, 0x0C)
    assert pic.read_master(0, 1) == 0x83
    assert not line.level
    pic.write_master(0, 1, 0x0C)
    assert pic.read_master(0, 1) & 0x80 == 0


def test_elcr_makes_an_input_follow_its_level(pic, line):
    pic.write_elcr(1, 1, 0xFF)
    assert pic.read_elcr(1, 1) == 0xDE
    pic.input(11).set(True)
    assert pic.acknowledge() == 0x73
    pic.write_slave(0, 1, 0x20)
    pic.write_master(0, 1, 0x20)
    assert line.level
    pic.input(11).set(False)
    assert not line.level


def test_elcr_does_not_touch_the_timer_keyboard_and_cascade(pic):
    pic.write_elcr(0, 1, 0xFF)
    assert pic.read_elcr(0, 1) == 0xF8


def test_initialisation_needs_a_new_edge(pic, line):
    pic.write_master(1, 1, 0xFF)
    pic.input(1).set(True)
    for value, offset in ((0x11, 0), (0x30, 1), (0x04, 1), (0x01, 1)):
        pic.write_master(offset, 1, value)
    assert not line.level
    pic.input(1).set(False)
    pic.input(1).set(True)
    assert pic.acknowledge() == 0x31


def test_there_is_no_input_16(pic):
    with pytest.raises(ValueError, match="pic8259: no input 16"):
        pic.input(16)
