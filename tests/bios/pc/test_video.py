from __future__ import annotations

import pytest

from bios.pc.video_modes import MODES, Layout, palette, registers
from tests.bios.fake_host import Machine


@pytest.fixture
def pc() -> Machine:
    return Machine()


def clear(pc: Machine) -> None:
    pc.interrupt(0x10, ax=0x0003)


def say(pc: Machine, text: str, color: int = 15) -> None:
    for character in text.encode("cp437"):
        pc.interrupt(0x10, ah=0x0E, al=character, bx=color)


def test_teletype_writes_and_moves_the_cursor(pc: Machine) -> None:
    clear(pc)
    say(pc, "hello\r\nthere")
    assert (pc.screen(0), pc.screen(1)) == ("hello", "there")
    pc.interrupt(0x10, ah=0x03, bh=0)
    assert (pc.dh, pc.dl) == (1, 5)
    assert (pc.host.indexed[(0x3D4, 0x0E)], pc.host.indexed[(0x3D4, 0x0F)]) == (0, 85)


def test_teletype_scrolls_at_the_bottom(pc: Machine) -> None:
    clear(pc)
    say(pc, "".join(f"line {n}\r\n" for n in range(30)))
    assert pc.screen(0) == "line 6"
    assert pc.screen(23) == "line 29"
    assert pc.screen(24) == ""


def test_teletype_wraps_at_the_right_edge(pc: Machine) -> None:
    clear(pc)
    say(pc, "x" * 81)
    assert (pc.screen(0), pc.screen(1)) == ("x" * 80, "x")


def test_backspace_moves_back_and_bell_shows_nothing(pc: Machine) -> None:
    clear(pc)
    say(pc, "ab\b\x07c")
    assert pc.screen(0) == "ac"


def test_a_window_scrolls_up_inside_its_edges(pc: Machine) -> None:
    clear(pc)
    for row in range(5):
        pc.interrupt(0x10, ah=0x02, bh=0, dh=row, dl=0)
        say(pc, str(row) * 10)
    pc.interrupt(0x10, ax=0x0601, bh=0x17, cx=0x0102, dx=0x0304)
    assert [pc.screen(row) for row in range(5)] == [
        "0" * 10,
        "1122211111",
        "2233322222",
        "33   33333",
        "4" * 10,
    ]
    assert pc.host.ram[0xB8000 + 160 * 3 + 2 * 2 + 1] == 0x17


def test_a_window_scrolls_down(pc: Machine) -> None:
    clear(pc)
    say(pc, "a\r\nb\r\nc")
    pc.interrupt(0x10, ax=0x0701, bh=0x07, cx=0x0000, dx=0x024F)
    assert [pc.screen(row) for row in range(3)] == ["", "a", "b"]


def test_scrolling_by_zero_clears_the_window(pc: Machine) -> None:
    say(pc, "something")
    pc.interrupt(0x10, ax=0x0600, bh=0x1E, cx=0, dx=0x184F)
    assert bytes(pc.host.ram[0xB8000 : 0xB8000 + 4000]) == b"\x20\x1e" * 2000


def test_characters_with_attribute_repeat_and_leave_the_cursor(pc: Machine) -> None:
    clear(pc)
    pc.interrupt(0x10, ah=0x09, al=ord("*"), bx=0x0042, cx=5)
    assert bytes(pc.host.ram[0xB8000:0xB800C]) == b"*\x42" * 5 + b" \x07"
    pc.interrupt(0x10, ah=0x03, bh=0)
    assert pc.dx == 0


def test_characters_alone_keep_the_attribute(pc: Machine) -> None:
    pc.interrupt(0x10, ah=0x02, bh=0, dx=0)
    pc.interrupt(0x10, ah=0x09, al=0x20, bx=0x0042, cx=2)
    pc.interrupt(0x10, ah=0x0A, al=ord("#"), bx=0, cx=1)
    assert bytes(pc.host.ram[0xB8000:0xB8004]) == b"#\x42 \x42"


def test_a_character_is_read_back_with_its_attribute(pc: Machine) -> None:
    pc.interrupt(0x10, ah=0x02, bh=0, dx=0)
    pc.interrupt(0x10, ah=0x09, al=ord("Q"), bx=0x0042, cx=1)
    pc.interrupt(0x10, ah=0x08, bh=0)
    assert pc.ax == 0x4251


def test_pages_have_their_own_cursor_and_memory(pc: Machine) -> None:
    clear(pc)
    pc.interrupt(0x10, ah=0x02, bh=1, dx=0x0102)
    pc.interrupt(0x10, ah=0x09, al=ord("p"), bx=0x0107, cx=1)
    assert pc.host.ram[0xB9000 + 160 + 4] == ord("p")
    pc.interrupt(0x10, ax=0x0501)
    assert (pc.host.indexed[(0x3D4, 0x0C)], pc.host.indexed[(0x3D4, 0x0D)]) == (0x08, 0x00)
    pc.interrupt(0x10, ah=0x0F)
    assert (pc.al, pc.ah, pc.bh) == (3, 80, 1)


@pytest.mark.parametrize(("mode", "step"), [(0, 1), (1, 1), (2, 2), (3, 2)])
def test_a_string_is_written_with_or_without_attributes(pc: Machine, mode: int, step: int) -> None:
    clear(pc)
    pc.poke(0x5000, b"ab" if step == 1 else b"a\x11b\x22")
    pc.interrupt(0x10, ah=0x13, al=mode, bx=0x0033, cx=2, dx=0x0A05, es=0x500, bp=0)
    at = 0xB8000 + 160 * 10 + 10
    assert bytes(pc.host.ram[at : at + 4]) == (b"a\x33b\x33" if step == 1 else b"a\x11b\x22")
    pc.interrupt(0x10, ah=0x03, bh=0)
    assert pc.dx == (0x0A07 if mode & 1 else 0)


@pytest.mark.parametrize("mode", sorted(MODES))
def test_every_mode_can_be_set_and_is_reported(pc: Machine, mode: int) -> None:
    pc.interrupt(0x10, ah=0, al=mode)
    pc.interrupt(0x10, ah=0x0F)
    assert pc.al == mode
    assert pc.ah == MODES[mode].columns
    values = registers(MODES[mode])
    assert [pc.host.indexed[(0x3CE, n)] for n in range(9)] == list(values.graphics)


def test_an_unknown_mode_changes_nothing(pc: Machine) -> None:
    pc.interrupt(0x10, ax=0x0055)
    pc.interrupt(0x10, ah=0x0F)
    assert pc.al == 3


def test_bit_7_of_the_mode_keeps_video_memory(pc: Machine) -> None:
    say(pc, "kept")
    before = bytes(pc.host.ram[0xB8000:0xB9000])
    pc.interrupt(0x10, ax=0x0083)
    assert bytes(pc.host.ram[0xB8000:0xB9000]) == before
    pc.interrupt(0x10, ah=0x0F)
    assert pc.al == 0x83


@pytest.mark.parametrize("mode", sorted(MODES))
def test_crtc_values_describe_the_modes_size(mode: int) -> None:
    spec, crtc = MODES[mode], registers(MODES[mode]).crtc
    assert len(crtc) == 25
    shown = crtc[1] + 1
    assert shown * (9 if spec.text else 8) in (spec.width, spec.width * 2)
    lines = (crtc[0x12] | (crtc[7] & 0x02) << 7 | (crtc[7] & 0x40) << 3) + 1
    assert lines == spec.lines
    total = (crtc[6] | (crtc[7] & 0x01) << 8 | (crtc[7] & 0x20) << 4) + 2
    assert total == (525 if spec.lines == 480 else 449)
    assert all(0 <= value <= 0xFF for value in crtc)


def test_mode_3_has_the_registers_every_text_guest_expects() -> None:
    values = registers(MODES[3])
    assert values.misc == 0x67
    assert values.graphics[5:7] == (0x10, 0x0E)
    assert values.sequencer[2:] == (0x03, 0x00, 0x02)
    assert values.attribute[0x10] == 0x0C
    assert (values.crtc[0x09], values.crtc[0x13]) == (0x4F, 0x28)


def test_palettes_start_with_black_blue_and_end_bright() -> None:
    text = palette(MODES[3])
    assert len(text) == 64
    assert (text[0], text[1], text[0x3F]) == ((0, 0, 0), (0, 0, 42), (63, 63, 63))
    assert text[0x14] == (42, 21, 0)  # brown
    vga = palette(MODES[0x13])
    assert len(vga) == 256
    assert vga[32] == (0, 0, 63)
    assert vga[40] == (63, 0, 0)
    assert vga[48] == (0, 63, 0)
    # The same steps up and down, a half towards the darker: what programs of the time know by heart.
    assert vga[32:41] == [*((n, 0, 63) for n in (0, 16, 31, 47, 63)), *((63, 0, n) for n in (47, 31, 16, 0))]
    assert vga[224:229] == [(11, 11, 16), (12, 11, 16), (13, 11, 16), (15, 11, 16), (16, 11, 16)]


def test_pixels_of_mode_13h_are_bytes(pc: Machine) -> None:
    pc.interrupt(0x10, ax=0x0013)
    pc.interrupt(0x10, ah=0x0C, al=0x9C, bh=0, cx=10, dx=20)
    assert pc.host.ram[0xA0000 + 20 * 320 + 10] == 0x9C
    pc.interrupt(0x10, ah=0x0D, bh=0, cx=10, dx=20)
    assert pc.al == 0x9C


@pytest.mark.parametrize("mode", [4, 6])
def test_cga_pixels_lie_in_two_banks_and_can_be_xored(pc: Machine, mode: int) -> None:
    pc.interrupt(0x10, ax=mode)
    pc.interrupt(0x10, ah=0x0C, al=1, bh=0, cx=7, dx=3)
    at = 0xB8000 + 0x2000 + 80 + (1 if mode == 4 else 0)
    assert pc.host.ram[at] == 1
    pc.interrupt(0x10, ah=0x0C, al=0x81, bh=0, cx=7, dx=3)
    assert pc.host.ram[at] == 0


def test_a_character_drawn_in_graphics_is_recognised_again(pc: Machine) -> None:
    pc.interrupt(0x10, ax=0x0013)
    say(pc, "AB")
    pc.interrupt(0x10, ah=0x02, bh=0, dx=0x0001)
    pc.interrupt(0x10, ah=0x08, bh=0)
    assert pc.al == ord("B")


def test_graphics_scroll_a_character_row_at_a_time(pc: Machine) -> None:
    pc.interrupt(0x10, ax=0x0013)
    say(pc, "\r\nA")
    pc.interrupt(0x10, ax=0x0601, bh=0, cx=0, dx=0x1827)
    pc.interrupt(0x10, ah=0x02, bh=0, dx=0)
    pc.interrupt(0x10, ah=0x08, bh=0)
    assert pc.al == ord("A")


def test_the_dac_is_set_one_by_one_and_in_blocks(pc: Machine) -> None:
    pc.host.written.clear()
    pc.interrupt(0x10, ax=0x1010, bx=5, dh=1, ch=2, cl=3)
    assert [w for w in pc.host.written if w[0] in (0x3C8, 0x3C9)] == [(0x3C8, 5), (0x3C9, 1), (0x3C9, 2), (0x3C9, 3)]
    pc.poke(0x5000, bytes(range(6)))
    pc.host.written.clear()
    pc.interrupt(0x10, ax=0x1012, bx=7, cx=2, es=0x500, dx=0)
    assert [value for port, value in pc.host.written if port == 0x3C9] == list(range(6))


def test_a_font_for_43_or_50_rows_changes_the_row_count(pc: Machine) -> None:
    pc.interrupt(0x10, ax=0x1112, bl=0)
    assert pc.host.ram[0x484] + 1 == 50
    assert pc.word(0x485) == 8
    assert pc.host.indexed[(0x3D4, 0x09)] & 0x1F == 7


def test_a_font_of_the_programs_own_goes_to_plane_2(pc: Machine) -> None:
    pc.poke(0x5000, b"\x55" * 16)
    pc.interrupt(0x10, ax=0x1100, bh=16, bl=0, cx=1, dx=0x41, es=0x500, bp=0)
    at = 0xA0000 + 0x41 * 32
    assert bytes(pc.host.ram[at : at + 17]) == b"\x55" * 16 + b"\0"
    assert pc.host.indexed[(0x3C4, 2)] == 3  # the map mask is as it was


@pytest.mark.parametrize(("which", "first"), [(2, b"\0" * 14), (3, b"\0" * 8), (6, b"\0" * 16)])
def test_font_information_points_into_the_rom(pc: Machine, which: int, first: bytes) -> None:
    pc.interrupt(0x10, ax=0x1130, bh=which)
    assert pc.es == 0xF000
    assert (pc.cx, pc.dl) == (16, 24)
    at = 0xF0000 + pc.bp
    assert pc.host.ram[at : at + len(first)] == first


def test_the_display_is_a_vga(pc: Machine) -> None:
    pc.interrupt(0x10, ax=0x1A00)
    assert (pc.al, pc.bx) == (0x1A, 0x0008)
    pc.interrupt(0x10, ax=0x1200, bx=0xFF10, cx=0xFFFF)
    assert (pc.bx, pc.cx) == (0x0003, 0x0009)
    pc.interrupt(0x10, ax=0x1B00, bx=0, es=0x500, di=0)
    assert pc.al == 0x1B
    assert pc.host.ram[0x5004] == 3  # the mode
    assert pc.host.ram[0x5022] == 25


def test_vesa_calls_answer_that_they_are_not_there(pc: Machine) -> None:
    pc.interrupt(0x10, ax=0x4F00, es=0x500, di=0)
    assert pc.ax == 0x0100


def test_the_cursor_shape_is_stretched_to_the_character_height(pc: Machine) -> None:
    pc.interrupt(0x10, ah=0x01, cx=0x0607)
    assert (pc.host.indexed[(0x3D4, 0x0A)], pc.host.indexed[(0x3D4, 0x0B)]) == (13, 14)
    pc.interrupt(0x10, ah=0x01, cx=0x0007)
    assert (pc.host.indexed[(0x3D4, 0x0A)], pc.host.indexed[(0x3D4, 0x0B)]) == (0, 15)
    pc.interrupt(0x10, ah=0x01, cx=0x2000)
    assert pc.host.indexed[(0x3D4, 0x0A)] & 0x20


def test_planar_modes_report_planar_layout() -> None:
    assert MODES[0x12].layout is Layout.PLANAR
    assert registers(MODES[0x12]).sequencer[2] == 0x0F
