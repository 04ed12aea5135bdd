"""Key names, chords, typing."""

from __future__ import annotations

import string

import pytest

from devices import keymap


def test_sendkey_words_press_in_order_and_release_in_reverse():
    assert keymap.chord("ctrl-alt-delete").hex() == "1d38e053e0d3b89d"
    assert keymap.chord("f1").hex() == "3bbb"
    assert keymap.chord("ret").hex() == "1c9c"


@pytest.mark.parametrize(("word", "codes"), [("-", "0c8c"), ("ctrl--", "1d0c8c9d"), ("ctrl-minus", "1d0c8c9d")])
def test_the_minus_key_can_be_named_by_its_sign(word, codes):
    assert keymap.chord(word).hex() == codes


def test_every_printable_character_can_be_typed():
    for char in string.printable.replace("\x0b", "").replace("\x0c", ""):
        (codes,) = keymap.type_text(char)
        assert codes


def test_capitals_and_signs_are_typed_with_shift():
    assert [codes.hex() for codes in keymap.type_text("aA!~\n")] == ["1e9e", "2a1e9eaa", "2a0282aa", "2a29a9aa", "1c9c"]


def test_control_characters_are_typed_with_ctrl():
    assert b"".join(keymap.type_text("\x03")).hex() == "1d2eae9d"


def test_a_character_without_key_is_refused():
    with pytest.raises(ValueError, match="no key types 'é'"):
        list(keymap.type_text("é"))


def test_a_name_that_is_no_key_is_refused():
    with pytest.raises(ValueError, match="no key is called 'anykey'"):
        keymap.chord("anykey")


def test_every_key_is_released_with_the_code_it_was_pressed_with():
    for name, make in keymap.MAKE.items():
        if name not in ("pause", "print"):
            assert keymap.key_break(name) == make[:-1] + bytes((make[-1] ^ 0x80,))


def test_translation_undoes_set_2():
    assert all(keymap.TO_SET1[keymap.SET2[code]] == code for code in range(1, 128))
