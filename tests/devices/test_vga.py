"""The VGA: memory modes against a plane-by-plane model, direct windows, timing, and what is on the screen."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.vga import CP437, Vga
from emu.display.render import frame, rgb

MISC, SEQ, DAC_WRITE, DAC, GC, CRTC, STATUS_1 = 0x12, 0x14, 0x18, 0x19, 0x1E, 0x24, 0x2A

MODE_13 = {
    "misc": 0x63,
    "seq": (3, 1, 15, 0, 14),
    "crtc": bytes.fromhex("5f4f50825480bf1f0041000000000000 9c8e8f2840 96b9a3ff"),
    "gc": (0, 0, 0, 0, 0, 0x40, 5, 15, 255),
    "atc": (*range(16), 0x41, 0, 15, 0, 0),
}
MODE_12 = {
    "misc": 0xE3,
    "seq": (3, 1, 15, 0, 6),
    "crtc": bytes.fromhex("5f4f50825480 0b3e00400000000000 00ea8cdf2800e704e3ff"),
    "gc": (0, 0, 0, 0, 0, 0, 5, 15, 255),
    "atc": (0, 1, 2, 3, 4, 5, 0x14, 7, *range(0x38, 0x40), 1, 0, 15, 0, 0),
}
MODE_4 = {
    "misc": 0x63,
    "seq": (3, 9, 3, 0, 2),
    "crtc": bytes.fromhex("2d272890 2b80bf1f00c1000000000000 9c8e8f140096b9a2ff"),
    "gc": (0, 0, 0, 0, 0, 0x30, 0x0F, 0, 255),
    "atc": (0, 0x13, 0x15, 0x17, 2, 4, 6, 7, *range(0x10, 0x18), 1, 0, 3, 0, 0),
}
MODE_3 = {
    "misc": 0x67,
    "seq": (3, 0, 3, 0, 2),
    "crtc": bytes.fromhex("5f4f50825581bf1f 004f0d0e00000000 9c8e8f281f96b9a3 ff"),
    "gc": (0, 0, 0, 0, 0, 0x10, 0x0E, 0, 255),
    "atc": (0, 1, 2, 3, 4, 5, 0x14, 7, *range(0x38, 0x40), 0x0C, 0, 15, 8, 0),
}


def drawn(vga):
    """Width, height and RGB bytes of the picture."""
    pixels = frame(vga)
    return pixels.shape[1], pixels.shape[0], rgb(pixels)


class Screen:
    def __init__(self, clock, text=True, graphics=False):
        self.text = bytearray(0x8000) if text else None
        self.graphics = bytearray(0x10000) if graphics else None
        self.calls = []
        self.vga = Vga(
            clock=clock,
            text_window=memoryview(self.text) if text else None,
            set_direct=lambda on: self.calls.append(("text", on)),
            graphics_window=memoryview(self.graphics) if graphics else None,
            set_direct_a000=lambda on: self.calls.append(("graphics", on)),
        )

    def indexed(self, port, index, value):
        self.vga.write(port, 2, index | value << 8)

    def seq(self, index, value):
        self.indexed(SEQ, index, value)

    def gc(self, index, value):
        self.indexed(GC, index, value)

    def crtc(self, index, value):
        self.indexed(CRTC, index, value)

    def atc(self, index, value):
        self.vga.read(STATUS_1, 1)
        self.vga.write(0x10, 1, index)
        self.vga.write(0x10, 1, value)

    def mode(self, table):
        self.vga.write(MISC, 1, table["misc"])
        for index, value in enumerate(table["seq"]):
            self.seq(index, value)
        self.crtc(0x11, 0)
        for index, value in enumerate(table["crtc"]):
            self.crtc(index, value)
        for index, value in enumerate(table["gc"]):
            self.gc(index, value)
        for index, value in enumerate(table["atc"]):
            self.atc(index, value)
        self.vga.read(STATUS_1, 1)
        self.vga.write(0x10, 1, 0x20)

    def planar(self):
        """Sequential addresses in all planes at A0000h, as in mode 12h."""
        self.seq(4, 6)
        self.seq(2, 15)
        self.gc(5, 0)
        self.gc(6, 5)

    def poke(self, at, *data):
        for i, value in enumerate(data):
            self.vga.write_memory(at + i, 1, value)

    def peek(self, at):
        return self.vga.read_memory(at, 1)

    def planes(self, at):
        old = bytes(self.vga.state.gc)
        self.gc(5, 0)
        values = []
        for plane in range(4):
            self.gc(4, plane)
            values.append(self.peek(at))
        self.gc(5, old[5])
        self.gc(4, old[4])
        return values


@pytest.fixture
def screen(clock):
    return Screen(clock)


def test_after_reset_there_is_a_blank_text_screen_whose_memory_is_direct(screen):
    assert screen.calls == [("text", True)]
    assert screen.vga.text_screen() == [" " * 80] * 25


def test_what_the_guest_writes_into_the_window_is_on_the_screen(screen):
    screen.text[160 * 3 : 160 * 3 + 10] = b"H\x07e\x07l\x07l\x07\x03\x07"
    assert screen.vga.text_screen()[3].rstrip() == "Hell♥"


def test_every_character_code_has_one_glyph_in_the_table():
    assert len(CP437) == 256 and CP437[0x41] == "A" and CP437[0xE9] == "Θ" and CP437[0x01] == "☺"


def test_leaving_the_text_layout_copies_the_window_into_planes_0_and_1_and_back(screen):
    screen.text[:8] = b"a\x01b\x02c\x03d\x04"
    screen.planar()
    assert screen.calls == [("text", True), ("text", False)]
    assert [screen.planes(n) for n in range(4)] == [
        [ord("a"), 1, 0, 0],
        [0, 0, 0, 0],
        [ord("b"), 2, 0, 0],
        [0, 0, 0, 0],
    ]
    screen.seq(2, 1)
    screen.poke(2, ord("X"))
    screen.seq(2, 3)
    screen.seq(4, 2)
    screen.gc(5, 0x10)
    screen.gc(6, 0x0E)
    assert screen.calls[-1] == ("text", True)
    assert screen.text[:8] == b"a\x01X\x02c\x03d\x04"


@pytest.mark.parametrize(
    "port,index,value",
    [
        (SEQ, 2, 1),
        (SEQ, 2, 15),
        (SEQ, 4, 6),
        (SEQ, 4, 14),
        (GC, 1, 1),
        (GC, 3, 8),
        (GC, 4, 2),
        (GC, 5, 0x11),
        (GC, 5, 0x18),
        (GC, 5, 0),
        (GC, 6, 0x0A),
        (GC, 6, 6),
        (GC, 6, 0x0C),
        (GC, 8, 0x7F),
    ],
)
def test_any_register_that_changes_what_a_write_does_ends_direct_access(screen, port, index, value):
    screen.indexed(port, index, value)
    assert screen.calls[-1] == ("text", False)
    screen.mode(MODE_3)
    assert screen.calls[-1] == ("text", True)


def test_slow_accesses_give_the_same_screen_as_the_direct_window(clock):
    direct, slow = Screen(clock), Screen(clock, text=False)
    for n, value in enumerate(b"t\x07e\x1fx\x70t\x07"):
        direct.text[2000 + n] = value
        slow.vga.write_memory(0x18000 + 2000 + n, 1, value)
    assert slow.calls == []
    assert slow.vga.text_screen() == direct.vga.text_screen()
    assert drawn(slow.vga) == drawn(direct.vga)
    assert slow.vga.read_memory(0x18000 + 2000, 4) == int.from_bytes(b"t\x07e\x1f", "little")


def test_memory_outside_the_selected_window_reads_ones_and_ignores_writes(screen):
    screen.planar()
    screen.poke(0x18000, 0x55)
    assert screen.peek(0x18000) == 0xFF
    screen.gc(6, 0x0C)
    assert screen.peek(0x18000) == 0
    assert screen.peek(0) == 0xFF
    screen.vga.write(MISC, 1, 0x65)
    assert screen.peek(0x18000) == 0xFF


def test_mono_registers_and_window_answer_when_selected(screen):
    screen.vga.write(MISC, 1, 0x66)
    screen.gc(6, 0x0A)
    assert screen.vga.read(CRTC, 2) == 0xFFFF and screen.vga.read(STATUS_1, 1) == 0xFF
    screen.vga.write(0x04, 2, 0x3F0E)
    assert screen.vga.read(0x04, 2) == 0x3F0E
    screen.poke(0x10000, ord("m"))
    assert screen.vga.text_screen()[0][0] == "m"


def test_a_font_is_loaded_into_plane_2_and_drawn(screen):
    screen.seq(2, 4)
    screen.seq(4, 7)
    screen.gc(4, 2)
    screen.gc(5, 0)
    screen.gc(6, 4)
    screen.poke(32 * 65, 0x81)
    screen.mode(MODE_3)
    screen.text[:2] = b"A\x4e"
    width, height, rgb = drawn(screen.vga)
    assert (width, height, len(rgb)) == (720, 400, 720 * 400 * 3)
    yellow, red = bytes((0xFF, 0xFF, 0x55)), bytes((0xAA, 0, 0))
    assert rgb[:27] == yellow + red * 6 + yellow + red
    assert rgb[720 * 3 : 720 * 3 + 27] == red * 9


def test_line_drawing_characters_reach_into_the_ninth_column(screen):
    screen.seq(2, 4)
    screen.seq(4, 7)
    screen.gc(5, 0)
    screen.gc(6, 4)
    screen.poke(32 * 0xC4, 0xFF)
    screen.poke(32 * 0xB0, 0xFF)
    screen.mode(MODE_3)
    screen.crtc(0x0A, 0x20)
    screen.text[:4] = b"\xc4\x07\xb0\x07"
    rgb = drawn(screen.vga)[2]
    assert rgb[:54] == b"\xaa" * 51 + bytes(3)


def test_the_cursor_is_drawn_where_the_crtc_says(screen):
    screen.crtc(0x0F, 85)
    assert screen.vga.cursor() == (5, 1)
    screen.text[170:172] = b" \x07"
    rgb = drawn(screen.vga)[2]
    line = 720 * 3 * (16 + 13)
    assert rgb[line + 45 * 3 : line + 54 * 3] == b"\xaa" * 27
    screen.crtc(0x0A, 0x2D)
    assert screen.vga.cursor() is None


def test_start_address_and_offset_scroll_the_text(screen):
    for row in range(30):
        screen.text[160 * row] = 65 + row
    screen.crtc(0x0C, 0)
    screen.crtc(0x0D, 160)
    assert screen.vga.text_screen()[0][0] == "C"
    screen.crtc(0x13, 80)
    assert [line[0] for line in screen.vga.text_screen()[:3]] == ["C", "E", "G"]


def test_taller_and_wider_text_modes_have_their_own_shape(screen):
    screen.crtc(9, 0x47)
    assert len(screen.vga.text_screen()) == 50
    screen.crtc(0x11, 0)
    screen.crtc(1, 131)
    assert len(screen.vga.text_screen()[0]) == 132


def test_mode_13h_shows_one_byte_for_each_pixel(clock):
    for graphics in (False, True):
        screen = Screen(clock, graphics=graphics)
        screen.mode(MODE_13)
        screen.vga.write(DAC_WRITE, 1, 9)
        for part in (63, 0, 21):
            screen.vga.write(DAC, 1, part)
        if graphics:
            assert screen.calls[-1] == ("graphics", True)
            screen.graphics[320 * 10 + 7] = 9
        else:
            screen.poke(320 * 10 + 7, 9)
        width, height, rgb = drawn(screen.vga)
        assert (width, height) == (640, 400)
        assert rgb[3 * (640 * 20 + 14) :][:6] == bytes((255, 0, 0x55)) * 2
        assert rgb.count(255) == 4
        assert screen.vga.text_screen() == []


def test_leaving_chain_4_spreads_the_window_over_the_planes(clock):
    screen = Screen(clock, graphics=True)
    screen.mode(MODE_13)
    screen.graphics[0:8] = b"\1\2\3\4\5\6\7\x08"
    screen.seq(4, 6)
    assert screen.calls[-1] == ("graphics", False)
    assert [screen.planes(n) for n in range(5)] == [[1, 2, 3, 4], [0] * 4, [0] * 4, [0] * 4, [5, 6, 7, 8]]
    screen.poke(4, 9)
    screen.seq(4, 14)
    assert screen.graphics[0:8] == b"\1\2\3\4\x09\x09\x09\x09"


def test_unchained_256_colours_show_four_planes_in_turn(clock):
    screen = Screen(clock)
    screen.mode(MODE_13)
    screen.seq(4, 6)
    screen.crtc(0x14, 0)
    screen.crtc(0x17, 0xE3)
    screen.seq(2, 4)
    screen.poke(80, 5)
    width, _, rgb = drawn(screen.vga)
    assert width == 640
    assert rgb[3 * (640 * 2 + 4) :][:6] == bytes((0xAA, 0, 0xAA)) * 2


def test_mode_12h_joins_the_planes_into_sixteen_colours(screen):
    screen.mode(MODE_12)
    for plane, value in enumerate((0x80, 0x40, 0xC0, 0x01)):
        screen.seq(2, 1 << plane)
        screen.poke(80 * 2 + 1, value)
    width, height, rgb = drawn(screen.vga)
    assert (width, height) == (640, 480)
    row = rgb[3 * (640 * 2 + 8) :][:24]
    assert row == bytes((0xAA, 0, 0xAA, 0xAA, 0x55, 0)) + bytes(15) + bytes((0x55,) * 3)


def test_cga_graphics_interleave_their_rows(screen):
    screen.mode(MODE_4)
    assert screen.calls[-1] == ("text", True)
    screen.text[0] = 0x1B
    screen.text[0x2000 + 1] = 0x40
    width, height, rgb = drawn(screen.vga)
    assert (width, height) == (640, 400)
    black, cyan, magenta, white = bytes(6), b"\x00\xff\xaa" * 2, b"\xaa\x55\xaa" * 2, b"\xaa\xff\xaa" * 2
    assert rgb[:30] == black + cyan + magenta + white + black
    assert rgb[3 * (640 * 2 + 8) :][:6] == cyan


def test_a_split_screen_shows_address_0_below_the_line_compare(screen):
    screen.mode(MODE_12)
    screen.crtc(0x0C, 0x40)
    screen.poke(0, 0xFF)
    screen.crtc(7, 0x2E)
    screen.crtc(9, 0)
    screen.crtc(0x18, 99)
    rgb = drawn(screen.vga)[2]
    assert rgb.index(b"\xff") == 640 * 3 * 100


def test_a_display_that_is_switched_off_is_black(screen):
    screen.text[:2] = b"\xdb\x7f"
    screen.vga.read(STATUS_1, 1)
    screen.vga.write(0x10, 1, 0)
    assert not any(drawn(screen.vga)[2])


def test_the_retrace_bits_follow_virtual_time(screen, clock):
    frame = retrace = blank = changes = 0
    last = 0
    for _ in range(20_000):
        clock.advance(5_000)
        status = screen.vga.read(STATUS_1, 1)
        retrace += status >> 3 & 1
        blank += status & 1
        changes += (status & 8) > (last & 8)
        last = status
        frame += 1
    assert changes == 7  # 100 ms of a 70 Hz picture
    assert 0 < retrace < frame // 100
    assert frame // 10 < blank < frame // 2


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.binary(min_size=25, max_size=25), misc=st.integers(0, 255), clocking=st.integers(0, 255))
def test_every_crtc_setting_has_a_retrace_and_a_picture_in_each_frame(clock, values, misc, clocking):
    screen = Screen(type(clock)())
    screen.vga.write(MISC, 1, misc | 1)
    screen.seq(1, clocking)
    screen.crtc(0x11, 0)
    for index in range(25):
        if index != 0x11:
            screen.crtc(index, values[index])
    vga = screen.vga
    seen = set()
    for line in range(vga._frame_ns // vga._line_ns):
        vga.clock.time = line * vga._line_ns
        seen.add(vga.read(STATUS_1, 1) & 8)
    vga.clock.time = 0
    assert seen == {0, 8}
    assert not vga.read(STATUS_1, 1) & 1


def test_palette_writes_are_ignored_while_the_display_is_on_and_the_flip_flop_is_reset_by_status_1(screen):
    screen.atc(0x03, 0x2A)
    screen.atc(0x23, 0x15)
    screen.vga.read(STATUS_1, 1)
    screen.vga.write(0x10, 1, 0x23)
    assert screen.vga.read(0x11, 1) == 0x2A
    screen.vga.read(STATUS_1, 1)
    screen.vga.write(0x10, 1, 0x11)
    assert screen.vga.read(0x10, 1) == 0x11


def test_the_dac_is_written_and_read_in_threes(screen):
    vga = screen.vga
    vga.write(DAC_WRITE, 1, 254)
    for value in (1, 2, 3, 4, 5, 0xFF):
        vga.write(DAC, 1, value)
    assert vga.read(0x18, 1) == 0 and vga.read(0x17, 1) == 0
    vga.write(0x17, 1, 254)
    assert [vga.read(DAC, 1) for _ in range(6)] == [1, 2, 3, 4, 5, 0x3F]
    assert vga.read(0x17, 1) == 3


def test_crtc_0_to_7_are_locked_by_bit_7_of_register_11h(screen):
    screen.crtc(0x11, 0x8E)
    screen.crtc(1, 39)
    screen.crtc(7, 0)
    vga = screen.vga
    vga.write(CRTC, 1, 1)
    assert vga.read(0x25, 1) == 79
    vga.write(CRTC, 1, 7)
    assert vga.read(0x25, 1) == 0x0F


def test_there_is_no_bochs_vbe_extension(screen):
    screen.vga.write_vbe(0, 2, 0)
    assert screen.vga.read_vbe(1, 2) == 0xFFFF


class Planes:
    """The manual's description of CPU accesses, plane by plane and bit by bit."""

    def __init__(self):
        self.planes = [bytearray(0x10000) for _ in range(4)]
        self.latch = [0] * 4
        self.gc = [0] * 9
        self.mask = 15
        self.layout = "planar"

    def where(self, at):
        if self.layout == "chain4":
            return at & 0xFFFC, [at & 3]
        if self.layout == "odd-even":
            return at & 0xFFFE, [at & 1, (at & 1) + 2]
        return at, [0, 1, 2, 3]

    def read(self, at):
        offset, planes = self.where(at)
        self.latch = [p[offset] for p in self.planes]
        if self.gc[5] & 8:
            value = 0
            for bit in range(8):
                same = all((self.latch[p] >> bit & 1) == (self.gc[2] >> p & 1) for p in range(4) if self.gc[7] >> p & 1)
                value |= same << bit
            return value
        if self.layout == "planar":
            return self.latch[self.gc[4]]
        if self.layout == "odd-even":
            return self.latch[(self.gc[4] & 2) + (at & 1)]
        return self.latch[planes[0]]

    def write(self, at, value):
        offset, planes = self.where(at)
        mode, turn, operation = self.gc[5] & 3, self.gc[3] & 7, self.gc[3] >> 3
        turned = (value >> turn | value << 8 >> turn) & 0xFF
        for p in planes:
            if not self.mask >> p & 1:
                continue
            result = 0
            for bit in range(8):
                latch = self.latch[p] >> bit & 1
                fixed = self.gc[0] >> p & 1
                passes = self.gc[8] >> bit & 1
                if mode == 0:
                    data = fixed if self.gc[1] >> p & 1 else turned >> bit & 1
                elif mode == 2:
                    data = value >> p & 1
                else:
                    data = fixed
                    passes &= turned >> bit & 1
                data = (data, data & latch, data | latch, data ^ latch)[operation]
                if mode == 1 or not passes:
                    data = latch
                result |= data << bit
            self.planes[p][offset] = result


ADDRESS = st.integers(0, 15) | st.integers(0xFFF0, 0xFFFF)
STEPS = st.one_of(
    st.tuples(st.just("gc"), st.sampled_from([0, 1, 2, 3, 4, 5, 7, 8]), st.integers(0, 255)),
    st.tuples(st.just("mask"), st.just(0), st.integers(0, 15)),
    st.tuples(st.just("write"), ADDRESS, st.integers(0, 255)),
    st.tuples(st.just("write"), ADDRESS, st.integers(0, 255)),
    st.tuples(st.just("read"), ADDRESS, st.just(0)),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layout=st.sampled_from(["planar", "odd-even", "chain4"]), steps=st.lists(STEPS, max_size=40))
def test_memory_accesses_agree_with_the_manual_bit_by_bit(clock, layout, steps):
    screen, model = Screen(clock, graphics=True), Planes()
    model.layout = layout
    layout_bits = {"planar": (6, 0, 5), "odd-even": (2, 0x10, 7), "chain4": (14, 0, 5)}[layout]
    screen.seq(4, layout_bits[0])
    screen.gc(6, layout_bits[2])
    screen.gc(5, layout_bits[1])
    screen.seq(2, 15)
    model.gc[8] = 0xFF
    masks = (15, 15, 15, 0x1F, 3, 0x0B, 0, 15, 255)
    for kind, where, value in steps:
        if kind == "gc":
            value &= masks[where]
            model.gc[where] = value
            screen.gc(where, value | (layout_bits[1] if where == 5 else 0))
        elif kind == "mask":
            model.mask = value
            screen.seq(2, value)
        elif kind == "write":
            model.write(where, value)
            screen.vga.write_memory(where, 1, value)
        elif not screen.vga.state.direct_graphics:
            assert screen.vga.read_memory(where, 1) == model.read(where)
        else:
            # Direct reads leave the latches alone: as plain memory does.
            offset, planes = model.where(where)
            assert screen.vga.read_memory(where, 1) == model.planes[planes[0]][offset]
    screen.vga.collect()
    for plane in range(4):
        assert screen.vga.state.vram[plane::4] == model.planes[plane]


def test_a_saved_screen_comes_back_with_its_direct_window(clock):
    screen = Screen(clock)
    screen.mode(MODE_12)
    screen.poke(100, 0x5A)
    saved = screen.vga.save()
    other = Screen(clock)
    other.vga.load(saved)
    assert other.calls[-2:] == [("text", False), ("graphics", False)]
    assert drawn(other.vga) == drawn(screen.vga)
    assert other.vga.save() == saved


def test_a_window_of_the_wrong_size_is_refused(clock):
    with pytest.raises(ValueError):
        Vga(clock=clock, text_window=memoryview(bytearray(100)))
    with pytest.raises(ValueError):
        Vga(clock=clock, text_window=memoryview(bytes(0x8000)))


ACCESSES = st.lists(
    st.tuples(
        st.sampled_from(["port", "port", "memory"]),
        st.booleans(),
        st.integers(0, 0x1FFFF),
        st.sampled_from([1, 2, 4]),
        st.integers(0, 0xFFFFFFFF),
    ),
    max_size=80,
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(accesses=ACCESSES)
def test_no_access_raises_or_leaves_an_unsavable_state(clock, accesses):
    screen = Screen(type(clock)(), graphics=True)
    vga = screen.vga
    for kind, reading, offset, width, value in accesses:
        value &= (1 << (8 * width)) - 1
        if kind == "port":
            offset %= 0x30 - width + 1
            if reading:
                assert 0 <= vga.read(offset, width) < 1 << (8 * width)
            else:
                vga.write(offset, width, value)
        else:
            offset &= ~(width - 1)
            if reading:
                assert 0 <= vga.read_memory(offset, width) < 1 << (8 * width)
            else:
                vga.write_memory(offset, width, value)
    width, height, rgb = drawn(vga)
    assert len(rgb) == 3 * width * height
    assert len({len(row) for row in vga.text_screen()}) <= 1
    saved = vga.save()
    vga.load(saved)
    assert vga.save() == saved


def test_what_is_saved_holds_what_is_in_a_direct_window_whether_or_not_somebody_looked(clock):
    screen = Screen(clock)
    screen.mode(MODE_3)
    assert screen.calls[-1] == ("text", True)
    screen.text[0:4] = b"H\x07i\x07"
    before = screen.vga.save()
    assert screen.vga.text_screen()[0].startswith("Hi")
    assert screen.vga.save() == before


def with_frame_buffer(clock, size=0x100000):
    banks = []
    vga = Vga(clock=clock, frame_buffer=memoryview(bytearray(size)), set_bank=banks.append)
    return vga, banks


def vbe(vga, *values):
    """Width, height, depth, then enable with a linear frame buffer."""
    for index, value in zip((1, 2, 3, 4), (*values, 0x41), strict=True):
        vga.set_vbe(index, value)


@pytest.mark.parametrize(
    ("depth", "data", "colour"),
    [
        (8, b"\x01", 0x0000AA),
        (15, b"\x1f\x7c", 0xFF00FF),
        (16, b"\xe0\x07", 0x00FF00),
        (24, b"\x01\x02\x03", 0x030201),
        (32, b"\x01\x02\x03\x99", 0x030201),
    ],
)
def test_each_depth_of_the_frame_buffer_has_its_colours(clock, depth, data, colour):
    vga, _ = with_frame_buffer(clock)
    vbe(vga, 320, 200, depth)
    width, height, got, pitch, start = vga.picture()
    assert (width, height, got, start) == (320, 200, depth, 0)
    at = 3 * pitch + 2 * len(data)
    vga.frame_buffer[at : at + len(data)] = data
    assert frame(vga)[3, 2] == colour and not frame(vga)[3, 3]


def test_the_display_interface_is_reached_by_words_and_by_bytes(clock):
    vga, _ = with_frame_buffer(clock)
    vga.write_vbe(0, 2, 1)
    vga.write_vbe(2, 2, 640)
    assert vga.read_vbe(2, 2) == 640
    vga.write_vbe(1, 1, 800 & 0xFF)
    vga.write_vbe(2, 1, 800 >> 8)
    assert vga.read_vbe(1, 1) | vga.read_vbe(2, 1) << 8 == 800
    vga.write_vbe(0, 2, 0)
    assert vga.read_vbe(2, 2) == 0xB0C5
    vga.write_vbe(0, 2, 10)
    assert vga.read_vbe(2, 2) == 0x10
    vga.set_vbe(4, 2)
    assert [vga.get_vbe(n) for n in (1, 2, 3)] == [16000, 12000, 32]


def test_a_picture_is_bent_until_it_fits(clock):
    vga, _ = with_frame_buffer(clock)
    vbe(vga, 0xFFFF, 0xFFFF, 77)
    width, height, depth, pitch, _ = vga.picture()
    assert depth == 8 and pitch * height <= 0x100000 and width == 16000
    vga.set_vbe(6, 0xFFFF)
    vga.set_vbe(9, 0xFFFF)
    _, height, _, pitch, start = vga.picture()
    assert start + pitch * height <= 0x100000
    frame(vga)


def test_switching_the_picture_on_clears_it_unless_told_otherwise(clock):
    vga, _ = with_frame_buffer(clock)
    vga.frame_buffer[0] = 9
    vbe(vga, 320, 200, 8)
    assert vga.frame_buffer[0] == 0
    vga.frame_buffer[0] = 9
    vga.set_vbe(4, 0)
    vga.set_vbe(4, 0xC1)
    assert vga.frame_buffer[0] == 9


def test_banks_come_and_go_with_the_picture(clock):
    vga, banks = with_frame_buffer(clock)
    vbe(vga, 640, 480, 8)
    vga.set_vbe(5, 3)
    vga.set_vbe(5, 0x13)
    vga.set_vbe(4, 0)
    assert banks == [0, 0x30000, None]


def test_four_bits_a_pixel_are_planes(clock):
    vga, _ = with_frame_buffer(clock)
    vbe(vga, 800, 600, 4)
    vga.write(SEQ, 2, 0x0502)
    vga.write(GC, 2, 0xFF08)
    vga.write_memory(100, 1, 0x80)
    assert frame(vga).shape == (600, 800) and frame(vga)[1, 0] == 0xAA00AA


def test_pel_panning_moves_the_picture_and_stays_out_of_the_lower_part(clock):
    screen = Screen(clock)
    screen.mode(MODE_12)
    screen.poke(0, 0x01)
    screen.atc(0x13, 3)
    screen.atc(0x30, 0x21)
    screen.crtc(7, 0x2E)
    screen.crtc(9, 0)
    screen.crtc(0x18, 99)
    picture = frame(screen.vga)
    assert picture[0].nonzero()[0].tolist() == [4] and picture[100].nonzero()[0].tolist() == [7]


def test_preset_row_scan_moves_text_up_by_lines(screen):
    screen.text[0:2] = b"A\x40"
    screen.crtc(8, 5)
    picture = frame(screen.vga)
    assert picture[10, 0] == 0xAA0000 and not picture[11, 0]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    writes=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 0xFFFF)), max_size=30),
    enable=st.integers(0, 0xFF),
)
def test_whatever_is_written_to_the_display_interface_can_be_drawn_and_saved(clock, writes, enable):
    vga, _ = with_frame_buffer(type(clock)(), 0x10000)
    for index, value in [*writes, (4, enable | 1), *writes]:
        vga.set_vbe(index, value)
        vga.write_memory(value, 1, value & 0xFF)
    frame(vga)
    saved = vga.save()
    vga.load(saved)
    assert vga.save() == saved
