"""8042, its keyboard and its mouse, as drivers probe them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from devices import keymap
from devices.i8042 import BYTE_NS, I8042


@pytest.fixture
def kbc(clock, lines):
    wires = SimpleNamespace(irq_kbd=lines(), irq_aux=lines(), a20=lines(), reset_line=lines())
    return I8042(clock=clock, **vars(wires))


def command(kbc, value, *data):
    kbc.write_command(0, 1, value)
    for byte in data:
        kbc.write_data(0, 1, byte)


def status(kbc):
    return kbc.read_status(0, 1)


def drain(kbc, clock):
    """All bytes that arrive, with AUX ones marked by 0x100."""
    out = []
    while True:
        clock.advance(BYTE_NS)
        if not status(kbc) & 1:
            return out
        aux = (status(kbc) & 0x20) << 3
        out.append(kbc.read_data(0, 1) | aux)


def keyboard(kbc, clock, *data):
    for byte in data:
        kbc.write_data(0, 1, byte)
    return drain(kbc, clock)


def mouse(kbc, clock, *data):
    out = []
    for byte in data:
        command(kbc, 0xD4, byte)
        out += drain(kbc, clock)
    return [byte & 0xFF for byte in out if byte & 0x100]


def type_keys(kbc, clock, word):
    assert kbc.key_scancode(keymap.chord(word))
    return bytes(drain(kbc, clock)).hex()


def test_self_test_and_port_tests_pass_at_once(kbc):
    for code, answer in ((0xAA, 0x55), (0xAB, 0x00), (0xA9, 0x00)):
        command(kbc, code)
        assert status(kbc) & 0x21 == 1
        assert kbc.read_data(0, 1) == answer
    assert status(kbc) & 1 == 0


def test_the_command_byte_reads_back(kbc):
    command(kbc, 0x60, 0x47)
    command(kbc, 0x20)
    assert kbc.read_data(0, 1) == 0x47


def test_disable_and_enable_show_in_the_command_byte(kbc):
    for code, mask, value in ((0xA7, 0x20, 0x20), (0xA8, 0x20, 0), (0xAD, 0x10, 0x10), (0xAE, 0x10, 0)):
        command(kbc, code)
        command(kbc, 0x20)
        assert kbc.read_data(0, 1) & mask == value


def test_the_status_tells_commands_from_data(kbc):
    command(kbc, 0xAE)
    assert status(kbc) & 8
    kbc.write_data(0, 1, 0xF4)
    assert not status(kbc) & 8


def test_a_key_arrives_translated_with_an_interrupt_for_each_byte(kbc, clock):
    kbc.key_scancode(keymap.chord("a"))
    assert not status(kbc) & 1
    clock.advance(BYTE_NS)
    assert kbc.irq_kbd.level
    assert kbc.read_data(0, 1) == 0x1E
    assert not kbc.irq_kbd.level
    assert kbc.read_data(0, 1) == 0x1E
    clock.advance(BYTE_NS)
    assert kbc.irq_kbd.edges == 2
    assert kbc.read_data(0, 1) == 0x9E


@pytest.mark.parametrize("name", list(keymap.MAKE))
def test_translation_gives_back_the_set_1_codes_of_every_key(kbc, clock, name):
    assert type_keys(kbc, clock, name) == keymap.chord(name).hex()


def test_without_translation_set_2_arrives(kbc, clock):
    command(kbc, 0x60, 0x01)
    assert type_keys(kbc, clock, "a") == "1cf01c"
    assert type_keys(kbc, clock, "up") == "e075e0f075"
    assert type_keys(kbc, clock, "pause") == "e11477e1f014f077"


def test_the_keyboard_can_send_set_1_and_set_3_itself(kbc, clock):
    command(kbc, 0x60, 0x01)
    assert keyboard(kbc, clock, 0xF0, 1) == [0xFA, 0xFA]
    assert type_keys(kbc, clock, "ctrl-delete") == "1de053e0d39d"
    keyboard(kbc, clock, 0xF0, 3)
    assert type_keys(kbc, clock, "ctrl-delete") == "1164f064f011"
    assert type_keys(kbc, clock, "print") == "57f057"
    assert type_keys(kbc, clock, "pause") == "62f062"
    assert keyboard(kbc, clock, 0xF0, 0) == [0xFA, 0xFA, 3]


def test_keyboard_commands_answer_as_drivers_expect(kbc, clock):
    assert keyboard(kbc, clock, 0xFF) == [0xFA, 0xAA]
    assert keyboard(kbc, clock, 0xEE) == [0xEE]
    assert keyboard(kbc, clock, 0xF2) == [0xFA, 0xAB, 0x41]
    assert keyboard(kbc, clock, 0xED, 0x02) == [0xFA, 0xFA]
    assert kbc.state.keyboard.leds == 2
    assert keyboard(kbc, clock, 0xF3, 0x00) == [0xFA, 0xFA]
    assert keyboard(kbc, clock, 0xF4) == [0xFA]
    assert keyboard(kbc, clock, 0x01) == [0xFE]
    command(kbc, 0x60, 0x01)
    assert keyboard(kbc, clock, 0xF2) == [0xFA, 0xAB, 0x83]
    assert keyboard(kbc, clock, 0xFE) == [0x83]


def test_a_command_in_place_of_an_argument_is_taken_as_a_command(kbc, clock):
    assert keyboard(kbc, clock, 0xED, 0xF4) == [0xFA, 0xFA]
    assert kbc.state.keyboard.argument_of == 0


def test_a_disabled_keyboard_drops_keys_and_a_disabled_port_holds_them(kbc, clock):
    keyboard(kbc, clock, 0xF5)
    kbc.key_scancode(keymap.chord("a"))
    assert drain(kbc, clock) == []
    keyboard(kbc, clock, 0xF4)
    command(kbc, 0xAD)
    kbc.key_scancode(keymap.chord("a"))
    assert drain(kbc, clock) == []
    command(kbc, 0xAE)
    assert drain(kbc, clock) == [0x1E, 0x9E]


def test_data_to_the_keyboard_switches_its_port_on(kbc, clock):
    command(kbc, 0xAD)
    assert keyboard(kbc, clock, 0xEE) == [0xEE]


def test_the_key_buffer_takes_sixteen_bytes_and_refuses_whole_keys(kbc, clock):
    typed = 0
    while kbc.key_scancode(keymap.chord("a")):
        typed += 1
    assert typed == 5
    assert kbc.space() == 1
    assert len(drain(kbc, clock)) == 10
    assert kbc.space() == 16


def test_the_aux_loop_comes_back_from_the_aux_port_with_its_interrupt(kbc):
    command(kbc, 0xD3, 0x5A)
    assert status(kbc) & 0x21 == 0x21
    assert not kbc.irq_aux.level
    assert kbc.read_data(0, 1) == 0x5A
    command(kbc, 0x60, 0x47)
    command(kbc, 0xD3, 0xA5)
    assert kbc.irq_aux.level
    assert not kbc.irq_kbd.level
    assert kbc.read_data(0, 1) == 0xA5
    assert not kbc.irq_aux.level


def test_the_active_multiplexing_handshake_is_not_answered(kbc):
    for byte in (0xF0, 0x56, 0xA4):
        command(kbc, 0xD3, byte)
        assert kbc.read_data(0, 1) == byte


def test_the_keyboard_buffer_can_be_written(kbc):
    command(kbc, 0xD2, 0x42)
    assert status(kbc) & 0x21 == 1
    assert kbc.read_data(0, 1) == 0x42


def test_a_mouse_resets_and_identifies(kbc, clock):
    assert mouse(kbc, clock, 0xFF) == [0xFA, 0xAA, 0x00]
    assert mouse(kbc, clock, 0xF2) == [0xFA, 0x00]
    assert mouse(kbc, clock, 0xF3, 200, 0xF3, 100, 0xF3, 80) == [0xFA] * 6
    assert mouse(kbc, clock, 0xF2) == [0xFA, 0x03]
    assert mouse(kbc, clock, 0xF3, 200, 0xF3, 200, 0xF3, 80, 0xF2) == [*[0xFA] * 7, 0x04]
    assert mouse(kbc, clock, 0xE8, 3, 0xE7, 0xE9) == [0xFA, 0xFA, 0xFA, 0xFA, 0x10, 3, 80]
    assert mouse(kbc, clock, 0xE1) == [0xFE]


def test_a_moved_mouse_sends_packets_only_when_reporting(kbc, clock):
    mouse(kbc, clock, 0xFF)
    kbc.mouse_move(5, -3, buttons=1)
    assert drain(kbc, clock) == []
    mouse(kbc, clock, 0xF6, 0xF4)
    kbc.mouse_move(5, -3, buttons=1)
    assert drain(kbc, clock) == [0x129, 0x105, 0x1FD]
    kbc.mouse_move(300, 0, buttons=4)
    assert drain(kbc, clock) == [0x10C, 0x1FF, 0x100, 0x10C, 0x12D, 0x100]


def test_wrap_mode_echoes_until_reset_wrap(kbc, clock):
    assert mouse(kbc, clock, 0xEE, 0x12, 0xF2, 0xEC, 0xF2) == [0xFA, 0x12, 0xF2, 0xFA, 0xFA, 0x00]


def test_remote_mode_sends_when_asked(kbc, clock):
    mouse(kbc, clock, 0xFF, 0xF0, 0xF4)
    kbc.mouse_move(1, 2)
    assert drain(kbc, clock) == []
    assert mouse(kbc, clock, 0xEB) == [0xFA, 0x08, 1, 2]


def test_the_output_port_drives_a20(kbc):
    kbc.a20.set(True)
    command(kbc, 0xD1, 0xDD)
    assert not kbc.a20.level
    command(kbc, 0xD0)
    assert kbc.read_data(0, 1) & 3 == 1
    command(kbc, 0xD1, 0xDF)
    assert kbc.a20.level
    command(kbc, 0xDD)
    assert not kbc.a20.level
    command(kbc, 0xDF)
    assert kbc.a20.level


@pytest.mark.parametrize("how", [(0xFE,), (0xF0,), (0xD1, 0xFE)])
def test_reset_is_pulsed(kbc, how):
    command(kbc, *how)
    assert kbc.reset_line.changes == [True, False]


def test_pulsing_nothing_does_nothing(kbc):
    command(kbc, 0xFF)
    assert kbc.reset_line.changes == []


def test_an_unknown_command_is_ignored(kbc):
    command(kbc, 0xB7)
    assert status(kbc) & 1 == 0
