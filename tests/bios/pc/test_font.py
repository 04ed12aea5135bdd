from __future__ import annotations

import pytest

from bios.pc.font import character, font_8, font_14, font_16

FONTS = [(font_8, 8), (font_14, 14), (font_16, 16)]


def glyph(code: int, height: int = 16) -> bytes:
    font = {8: font_8, 14: font_14, 16: font_16}[height]()
    return font[code * height : (code + 1) * height]


@pytest.mark.parametrize(("font", "height"), FONTS)
def test_a_font_has_256_glyphs_of_its_height(font: object, height: int) -> None:
    assert callable(font)
    assert len(font()) == 256 * height


@pytest.mark.parametrize("height", [8, 14, 16])
def test_every_character_but_the_blank_ones_shows_something(height: int) -> None:
    empty = {code for code in range(256) if not any(glyph(code, height))}
    assert empty == {0x00, 0x20, 0xFF}


@pytest.mark.parametrize("height", [8, 14, 16])
def test_no_two_printable_ascii_characters_look_alike(height: int) -> None:
    assert len({glyph(code, height) for code in range(0x20, 0x7F)}) == 95


@pytest.mark.parametrize("height", [8, 14, 16])
def test_box_lines_join_at_cell_edges(height: int) -> None:
    horizontal, vertical = glyph(0xC4, height), glyph(0xB3, height)
    assert [row for row in horizontal if row] == [0xFF]
    assert set(vertical) == {0x18}
    corner = glyph(0xDA, height)  # down and right
    line = horizontal.index(0xFF)
    assert corner[line] & 0x01
    assert corner[-1] == 0x18
    assert not any(corner[:line])


@pytest.mark.parametrize("height", [8, 14, 16])
def test_double_lines_run_in_pairs(height: int) -> None:
    assert [row for row in glyph(0xCD, height) if row] == [0xFF, 0xFF]
    assert set(glyph(0xBA, height)) == {0x66}


def test_blocks_fill_their_half() -> None:
    assert glyph(0xDB) == b"\xff" * 16
    assert glyph(0xDC) == bytes(8) + b"\xff" * 8
    assert glyph(0xDF) == b"\xff" * 8 + bytes(8)
    assert glyph(0xDD) == b"\xf0" * 16


def test_an_accented_letter_is_the_letter_with_something_above() -> None:
    plain, accented = glyph(ord("e"), 8), glyph(0x82, 8)
    assert accented[2:] == plain[2:]
    assert any(accented[:2])


def test_codes_name_the_characters_of_page_437() -> None:
    assert character(0x82) == "é"
    assert character(0xC9) == "╔"
    assert character(0x01) == "\x01"
