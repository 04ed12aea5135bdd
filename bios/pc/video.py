"""INT 10h: the video services of a VGA.

Text goes straight into video memory, the cursor into the CRTC. Mode setting writes the registers that
`bios.pc.video_modes` works out; pixels and characters of graphics modes are in `bios.pc.video_draw`.
Source: PS/2 BIOS Interface Technical Reference and IBM VGA Technical Reference, INT 10h.
"""

from __future__ import annotations

from bios.pc import bda, rom
from bios.pc.font import font_8, font_14, font_16
from bios.pc.host import Host
from bios.pc.service import Call, service
from bios.pc.video_draw import clear_graphics, draw_glyph, read_glyph, read_pixel, scroll_graphics, write_pixel
from bios.pc.video_modes import MODES, Mode, palette, registers

MISC_WRITE, SEQUENCER, DAC_MASK, DAC_READ, DAC_WRITE, DAC_DATA = 0x3C2, 0x3C4, 0x3C6, 0x3C7, 0x3C8, 0x3C9
GRAPHICS, ATTRIBUTE = 0x3CE, 0x3C0
DEFAULT_ATTRIBUTE = 0x07
VGA_COLOR, VGA_MONO = 0x08, 0x07

BELL, BACKSPACE, LINE_FEED, CARRIAGE_RETURN = 7, 8, 10, 13

# INT 10h AH=1Bh points here: modes 0..13h, scan lines 200/350/400, fonts, and what the BIOS can do.
STATIC_FUNCTIONALITY = bytes((0xFF, 0xE0, 0x0F, 0, 0, 0, 0, 0x07, 2, 8, 0xED, 0x0C, 0, 0, 0, 0))


class Screen:
    """The display as the BIOS data area describes it."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.bda = bda.Bda(host)
        number = self.bda.byte(bda.VIDEO_MODE) & 0x7F
        self.mode: Mode = MODES.get(number, MODES[3])
        self.columns = min(max(self.bda.word(bda.VIDEO_COLUMNS), 1), 255)
        self.rows = self.bda.byte(bda.VIDEO_ROWS) + 1
        self.page_size = self.bda.word(bda.VIDEO_PAGE_SIZE)
        self.crtc = self.bda.word(bda.CRTC_PORT) or 0x3D4

    def page_base(self, page: int) -> int:
        return self.mode.memory + (page & 7) * self.page_size % 0x8000

    def cell(self, page: int, column: int, row: int) -> int:
        """Physical address of a text cell, kept inside the 32 KiB window."""
        offset = (page & 7) * self.page_size + 2 * (row * self.columns + column)
        return self.mode.memory + offset % 0x8000

    def cursor(self, page: int) -> tuple[int, int]:
        """Column and row."""
        position = self.bda.word(bda.CURSOR_POSITIONS + 2 * (page & 7))
        return position & 0xFF, position >> 8

    def set_cursor(self, page: int, column: int, row: int) -> None:
        page &= 7
        self.bda.set_word(bda.CURSOR_POSITIONS + 2 * page, (row & 0xFF) << 8 | column & 0xFF)
        if page == self.bda.byte(bda.VIDEO_PAGE) & 7 and self.mode.text:
            address = (page * self.page_size // 2 + row * self.columns + column) & 0xFFFF
            self.set_crtc(0x0E, address >> 8)
            self.set_crtc(0x0F, address)

    def set_crtc(self, index: int, value: int) -> None:
        self.host.port_write(self.crtc, 1, index)
        self.host.port_write(self.crtc + 1, 1, value & 0xFF)

    def put(self, page: int, column: int, row: int, text: bytes, attribute: int | None) -> None:
        """Write characters from a place on, cells running on into the next row; attribute None keeps each cell's."""
        first = row * self.columns + column
        room = max(0, self.columns * self.rows - first)
        text = text[:room]
        if not text:
            return
        if not self.mode.text:
            for n, character in enumerate(text, first):
                draw_glyph(self.host, self.mode, page, n % self.columns, n // self.columns, character, attribute or 0)
            return
        at = self.cell(page, column, row)
        length = min(2 * len(text), self.mode.memory + 0x8000 - at)
        cells = bytearray(length) if attribute is not None else bytearray(self.host.read_phys(at, length))
        cells[0::2] = text[: length // 2]
        if attribute is not None:
            cells[1::2] = bytes((attribute,)) * (length // 2)
        self.host.write_phys(at, bytes(cells))

    def scroll(self, page: int, top: int, left: int, bottom: int, right: int, lines: int, attribute: int) -> None:
        """Move a window up (lines > 0) or down (< 0); 0 clears it. All bounds inclusive, cut to the screen."""
        bottom, right = min(bottom, self.rows - 1), min(right, self.columns - 1)
        if top > bottom or left > right:
            return
        height, width = bottom - top + 1, right - left + 1
        if lines == 0 or abs(lines) >= height:
            lines = height
        if not self.mode.text:
            scroll_graphics(self.host, self.mode, (top, left, bottom, right), lines, attribute)
            return
        blank = bytes((0x20, attribute)) * width
        stride = self.columns * 2
        start = self.cell(page, left, top)
        if start + (height - 1) * stride + 2 * width > self.mode.memory + 0x8000:
            return
        if width == self.columns:
            kept = height - abs(lines)
            source = start + (lines * stride if lines > 0 else 0)
            moved = self.host.read_phys(source, kept * stride) if kept else b""
            empty = blank * abs(lines)
            self.host.write_phys(start, moved + empty if lines > 0 else empty + moved)
            return
        order = range(height) if lines > 0 else range(height - 1, -1, -1)
        for row in order:
            source_row = row + lines
            if 0 <= source_row < height:
                line = self.host.read_phys(start + source_row * stride, 2 * width)
            else:
                line = blank
            self.host.write_phys(start + row * stride, line)

    def teletype(self, page: int, character: int, color: int, *, attribute: int | None = None) -> None:
        """Write one character as a terminal does: bell, backspace, line feed, return; scrolls at the bottom.

        `color` is for graphics modes; in text modes cells keep their attribute unless one is given.
        """
        column, row = self.cursor(page)
        if character == BELL:
            return
        if character == BACKSPACE:
            column = max(0, column - 1)
        elif character == CARRIAGE_RETURN:
            column = 0
        elif character == LINE_FEED:
            row += 1
        else:
            self.put(page, column, row, bytes((character,)), attribute if self.mode.text else color)
            column += 1
            if column >= self.columns:
                column, row = 0, row + 1
        if row >= self.rows:
            row = self.rows - 1
            blank = 0
            if self.mode.text:
                blank = self.host.read_phys(self.cell(page, min(column, self.columns - 1), row) + 1, 1)[0]
            self.scroll(page, 0, 0, row, self.columns - 1, 1, blank)
        self.set_cursor(page, column, row)

    def write(self, text: str) -> None:
        """Print on the active page, for the BIOS's own messages."""
        page = self.bda.byte(bda.VIDEO_PAGE)
        for character in text.encode("cp437", "replace"):
            self.teletype(page, character, DEFAULT_ATTRIBUTE)


# --- mode setting -------------------------------------------------------------------------------------------------


def set_mode(host: Host, number: int, *, clear: bool = True) -> bool:
    """Program the VGA for a mode and describe it in the BIOS data area. False if there is no such mode."""
    mode = MODES.get(number)
    if mode is None:
        return False
    data = bda.Bda(host)
    values = registers(mode)
    # A picture of the VESA extensions ends (the display interface's ENABLE register).
    host.port_write(0x1CE, 2, 4)
    host.port_write(0x1D0, 2, 0)
    crtc = 0x3B4 if mode.mono else 0x3D4

    def indexed(port: int, first: int, group: tuple[int, ...]) -> None:
        for index, value in enumerate(group, first):
            host.port_write(port, 1, index)
            host.port_write(port + 1, 1, value)

    host.port_write(MISC_WRITE, 1, values.misc)
    indexed(SEQUENCER, 0, (0x01, *values.sequencer[1:]))  # hold the sequencer while the clocks change
    indexed(SEQUENCER, 0, values.sequencer[:1])
    indexed(crtc, 0x11, (values.crtc[0x11] & 0x7F,))  # unlock 0..7
    indexed(crtc, 0, values.crtc)
    indexed(GRAPHICS, 0, values.graphics)
    host.port_read(crtc + 6, 1)  # the attribute port now takes an index
    for index, value in enumerate(values.attribute):
        host.port_write(ATTRIBUTE, 1, index)
        host.port_write(ATTRIBUTE, 1, value)
    host.port_write(DAC_MASK, 1, 0xFF)
    if not data.byte(bda.VIDEO_VGA) & 0x08:  # INT 10h AX=1200h BL=31h can forbid the default palette
        write_dac(host, 0, palette(mode))
    if mode.text:
        load_font(host, font_16(), 0, 16)
        if clear:
            host.write_phys(mode.memory, bytes((0x20, DEFAULT_ATTRIBUTE)) * 0x4000)
    elif clear:
        clear_graphics(host, mode)
    host.port_read(crtc + 6, 1)
    host.port_write(ATTRIBUTE, 1, 0x20)  # palette RAM back to the display

    data.set_byte(bda.VIDEO_MODE, number)
    data.set_word(bda.VIDEO_COLUMNS, mode.columns)
    data.set_word(bda.VIDEO_PAGE_SIZE, mode.page_size)
    data.set_word(bda.VIDEO_PAGE_START, 0)
    for page in range(8):
        data.set_word(bda.CURSOR_POSITIONS + 2 * page, 0)
    data.set_word(bda.CURSOR_SHAPE, 0x0607)
    data.set_byte(bda.VIDEO_PAGE, 0)
    data.set_word(bda.CRTC_PORT, crtc)
    data.set_byte(bda.CGA_MODE, {0: 0x2C, 1: 0x28, 2: 0x2D, 3: 0x29, 4: 0x2A, 5: 0x2E, 6: 0x1E, 7: 0x29}.get(number, 0))
    data.set_byte(bda.CGA_PALETTE, 0x3F if number == 6 else 0x30)
    data.set_byte(bda.VIDEO_ROWS, mode.rows - 1)
    data.set_word(bda.FONT_HEIGHT, mode.char_height)
    data.set_byte(bda.VIDEO_CONTROL, 0x60 | (0 if clear else 0x80))
    data.set_byte(bda.VIDEO_SWITCHES, 0xF9)
    data.set_byte(bda.VIDEO_VGA, (data.byte(bda.VIDEO_VGA) & 0x08) | 0x11)
    font = {8: rom.FONT_8, 14: rom.FONT_14, 16: rom.FONT_16}[mode.char_height]
    _set_vector(host, 0x43, font)
    _set_vector(host, 0x1F, rom.FONT_8 + 0x400)
    return True


def _set_vector(host: Host, vector: int, offset: int) -> None:
    host.write_linear(4 * vector, offset.to_bytes(2, "little") + rom.SEGMENT.to_bytes(2, "little"))


def write_dac(host: Host, first: int, colors: list[tuple[int, int, int]]) -> None:
    host.port_write(DAC_WRITE, 1, first & 0xFF)
    for color in colors:
        for component in color:
            host.port_write(DAC_DATA, 1, component & 0x3F)


def read_dac(host: Host, first: int, count: int) -> bytes:
    host.port_write(DAC_READ, 1, first & 0xFF)
    return bytes(host.port_read(DAC_DATA, 1) & 0xFF for _ in range(3 * count))


def _get(host: Host, port: int, index: int) -> int:
    host.port_write(port, 1, index)
    return host.port_read(port + 1, 1)


def _set(host: Host, port: int, index: int, value: int) -> None:
    host.port_write(port, 1, index)
    host.port_write(port + 1, 1, value)


def load_font(host: Host, glyphs: bytes, block: int, height: int, first: int = 0) -> None:
    """Put glyphs into character block 0..7 of plane 2, from character `first` on."""
    saved = [(SEQUENCER, n, _get(host, SEQUENCER, n)) for n in (2, 4)]
    saved += [(GRAPHICS, n, _get(host, GRAPHICS, n)) for n in (4, 5, 6)]
    for port, index, value in (
        (SEQUENCER, 2, 4),
        (SEQUENCER, 4, 7),
        (GRAPHICS, 4, 2),
        (GRAPHICS, 5, 0),
        (GRAPHICS, 6, 4),
    ):
        _set(host, port, index, value)
    # Blocks 0..3 start every 16 KiB, blocks 4..7 lie 8 KiB after them; a glyph has 32 bytes.
    base = 0xA0000 + ((block & 3) << 14) + ((block & 4) << 11)
    count = min(len(glyphs) // height, 256 - first)
    padding = bytes(32 - height)
    data = b"".join(glyphs[n * height : (n + 1) * height] + padding for n in range(count))
    host.write_phys(base + first * 32, data)
    for port, index, value in saved:
        _set(host, port, index, value)


@service(0x10, ah=0x00)
def set_video_mode(call: Call) -> None:
    """AL = mode, bit 7 keeps video memory."""
    number = call.al & 0x7F
    if set_mode(call.host, number, clear=not call.al & 0x80):
        call.al = 0x3F if number == 6 else 0x20 if number > 7 else 0x30


# --- text services ------------------------------------------------------------------------------------------------


@service(0x10, ah=0x01)
def cursor_shape(call: Call) -> None:
    """CH = first line (bit 5 hides it), CL = last, in eighths of a character that are stretched to its height."""
    start, end = call.ch, call.cl
    call.bda.set_word(bda.CURSOR_SHAPE, start << 8 | end)
    screen = Screen(call.host)
    height = call.bda.byte(bda.FONT_HEIGHT)
    first, last = start & 0x1F, end & 0x1F
    if height > 8 and last < 8 and first < 8 and not call.bda.byte(bda.VIDEO_CONTROL) & 0x01:
        if first + 1 >= last and last >= 4:
            first, last = height - 3, height - 2
        else:
            first, last = first * height // 8, (last + 1) * height // 8 - 1
    screen.set_crtc(0x0A, first | start & 0x20)
    screen.set_crtc(0x0B, last)


@service(0x10, ah=0x02)
def set_cursor(call: Call) -> None:
    Screen(call.host).set_cursor(call.bh, call.dl, call.dh)


@service(0x10, ah=0x03)
def get_cursor(call: Call) -> None:
    """DH/DL = row and column of page BH, CX = shape."""
    call.dx = call.bda.word(bda.CURSOR_POSITIONS + 2 * (call.bh & 7))
    call.cx = call.bda.word(bda.CURSOR_SHAPE)


@service(0x10, ah=0x04)
def light_pen(call: Call) -> None:
    """AH = 0: there is no light pen."""
    call.ah = 0


@service(0x10, ah=0x05)
def set_page(call: Call) -> None:
    """AL = display page."""
    screen = Screen(call.host)
    page = call.al & 7
    start = page * screen.page_size & 0xFFFF
    call.bda.set_byte(bda.VIDEO_PAGE, page)
    call.bda.set_word(bda.VIDEO_PAGE_START, start)
    address = start // 2 if screen.mode.text else start
    screen.set_crtc(0x0C, address >> 8)
    screen.set_crtc(0x0D, address)
    screen.set_cursor(page, *screen.cursor(page))


@service(0x10, ah=0x06)
def scroll_up(call: Call) -> None:
    """AL lines of the window CH/CL..DH/DL, blanks in attribute BH; 0 clears it."""
    page = call.bda.byte(bda.VIDEO_PAGE)
    Screen(call.host).scroll(page, call.ch, call.cl, call.dh, call.dl, call.al, call.bh)


@service(0x10, ah=0x07)
def scroll_down(call: Call) -> None:
    page = call.bda.byte(bda.VIDEO_PAGE)
    Screen(call.host).scroll(page, call.ch, call.cl, call.dh, call.dl, -call.al, call.bh)


@service(0x10, ah=0x08)
def read_character(call: Call) -> None:
    """AL = character, AH = attribute at the cursor of page BH."""
    screen = Screen(call.host)
    column, row = screen.cursor(call.bh)
    if screen.mode.text:
        call.ax = int.from_bytes(call.host.read_phys(screen.cell(call.bh, column, row), 2), "little")
    else:
        call.ax = read_glyph(call.host, screen.mode, call.bh, column, row)


@service(0x10, ah=0x09)
def write_character_attribute(call: Call) -> None:
    """CX copies of AL in attribute BL at the cursor of page BH, which stays."""
    _repeat(call, call.bl)


@service(0x10, ah=0x0A)
def write_character(call: Call) -> None:
    """As AH=09h, keeping the attributes of text modes."""
    _repeat(call, None)


def _repeat(call: Call, attribute: int | None) -> None:
    screen = Screen(call.host)
    column, row = screen.cursor(call.bh)
    count = min(call.cx, screen.columns * screen.rows)
    if not screen.mode.text and attribute is None:
        attribute = call.bl
    screen.put(call.bh, column, row, bytes((call.al,)) * count, attribute)


@service(0x10, ah=0x0B)
def cga_palette(call: Call) -> None:
    """BH=0: border or background BL; BH=1: CGA palette BL."""
    kept = call.bda.byte(bda.CGA_PALETTE)
    color = call.bl
    if call.bh == 0:
        call.bda.set_byte(bda.CGA_PALETTE, kept & 0xE0 | color & 0x1F)
        value = color & 0x07 | (color & 0x08) << 1
        _set_attribute(call, 0x11, value)
        if Screen(call.host).mode.number in (4, 5):
            _set_attribute(call, 0x00, value)
            for register in (1, 2, 3):
                old = _get_attribute(call, register)
                _set_attribute(call, register, old & ~0x10 | color & 0x10)
    elif call.bh == 1:
        call.bda.set_byte(bda.CGA_PALETTE, kept & ~0x20 | (color & 1) << 5)
        bright = kept & 0x10
        for register in (1, 2, 3):
            _set_attribute(call, register, register * 2 + (color & 1) | bright)


@service(0x10, ah=0x0C)
def plot(call: Call) -> None:
    """Pixel CX, DX of page BH in colour AL; bit 7 combines by XOR."""
    write_pixel(call.host, Screen(call.host).mode, call.bh, call.cx, call.dx, call.al)


@service(0x10, ah=0x0D)
def pixel(call: Call) -> None:
    call.al = read_pixel(call.host, Screen(call.host).mode, call.bh, call.cx, call.dx)


@service(0x10, ah=0x0E)
def teletype(call: Call) -> None:
    """Character AL on the active page as a terminal would; BL = colour in graphics modes."""
    Screen(call.host).teletype(call.bda.byte(bda.VIDEO_PAGE), call.al, call.bl)


@service(0x10, ah=0x0F)
def get_mode(call: Call) -> None:
    """AL = mode, AH = columns, BH = page."""
    call.al = call.bda.byte(bda.VIDEO_MODE) | call.bda.byte(bda.VIDEO_CONTROL) & 0x80
    call.ah = call.bda.word(bda.VIDEO_COLUMNS)
    call.bh = call.bda.byte(bda.VIDEO_PAGE)


@service(0x10, ah=0x13)
def write_string(call: Call) -> None:
    """CX characters at ES:BP from DH/DL on page BH. AL bit 0 moves the cursor, bit 1 says attributes are between."""
    screen = Screen(call.host)
    page, flags, color = call.bh, call.al, call.bl
    step = 2 if flags & 2 else 1
    count = min(call.cx, 0x8000 // step)
    text = call.read(call.address("es", call.bp), count * step) if count else b""
    before = screen.cursor(page)
    screen.set_cursor(page, call.dl, call.dh)
    for at in range(0, len(text), step):
        character = text[at]
        attribute = text[at + 1] if step == 2 else color
        screen.teletype(page, character, attribute, attribute=attribute)
    if not flags & 1:
        screen.set_cursor(page, *before)


# --- palette ------------------------------------------------------------------------------------------------------


def _reset_attribute_port(call: Call) -> None:
    call.inb((call.bda.word(bda.CRTC_PORT) or 0x3D4) + 6)


def _set_attribute(call: Call, index: int, value: int) -> None:
    _reset_attribute_port(call)
    call.outb(ATTRIBUTE, index & 0x1F)
    call.outb(ATTRIBUTE, value)
    call.outb(ATTRIBUTE, 0x20)


def _get_attribute(call: Call, index: int) -> int:
    _reset_attribute_port(call)
    call.outb(ATTRIBUTE, index & 0x1F)
    value = call.inb(ATTRIBUTE + 1)
    _reset_attribute_port(call)
    call.outb(ATTRIBUTE, 0x20)
    return value


@service(0x10, ah=0x10)
def palette_services(call: Call) -> None:
    """Attribute controller and DAC, by AL."""
    function = call.al
    handler = _PALETTE.get(function)
    if handler is not None:
        handler(call)


def _all_registers(call: Call) -> None:
    values = call.read(call.address("es", call.dx), 17)
    for index, value in enumerate(values):
        _set_attribute(call, 0x11 if index == 16 else index, value)


def _blink(call: Call) -> None:
    control = _get_attribute(call, 0x10)
    _set_attribute(call, 0x10, control | 0x08 if call.bl & 1 else control & ~0x08)


def _read_all_registers(call: Call) -> None:
    values = bytes(_get_attribute(call, index) for index in (*range(16), 0x11))
    call.write(call.address("es", call.dx), values)


def _read_register(call: Call) -> None:
    call.bh = _get_attribute(call, call.bl)


def _read_border(call: Call) -> None:
    call.bh = _get_attribute(call, 0x11)


def _set_dac_block(call: Call) -> None:
    count = min(call.cx, 256)
    raw = call.read(call.address("es", call.dx), 3 * count) if count else b""
    write_dac(call.host, call.bx, [(raw[n], raw[n + 1], raw[n + 2]) for n in range(0, len(raw), 3)])


def _color_page(call: Call) -> None:
    control = _get_attribute(call, 0x10)
    if call.bl == 0:
        _set_attribute(call, 0x10, control | 0x80 if call.bh & 1 else control & ~0x80)
    else:
        _set_attribute(call, 0x14, call.bh & 0x0F if control & 0x80 else (call.bh & 3) << 2)


def _read_dac_register(call: Call) -> None:
    red, green, blue = read_dac(call.host, call.bl, 1)
    call.dh, call.ch, call.cl = red, green, blue


def _read_dac_block(call: Call) -> None:
    count = min(call.cx, 256)
    if count:
        call.write(call.address("es", call.dx), read_dac(call.host, call.bx, count))


def _read_color_page(call: Call) -> None:
    paged = _get_attribute(call, 0x10) >> 7
    select = _get_attribute(call, 0x14)
    call.bl, call.bh = paged, select & 0x0F if paged else select >> 2 & 3


def _to_grey(call: Call) -> None:
    first, count = call.bx, min(call.cx, 256)
    raw = read_dac(call.host, first, count)
    greys = [(30 * raw[n] + 59 * raw[n + 1] + 11 * raw[n + 2]) // 100 for n in range(0, len(raw), 3)]
    write_dac(call.host, first, [(grey, grey, grey) for grey in greys])


def _get_mask(call: Call) -> None:
    call.bl = call.inb(DAC_MASK)


_PALETTE = {
    0x00: lambda call: _set_attribute(call, call.bl, call.bh),
    0x01: lambda call: _set_attribute(call, 0x11, call.bh),
    0x02: _all_registers,
    0x03: _blink,
    0x07: _read_register,
    0x08: _read_border,
    0x09: _read_all_registers,
    0x10: lambda call: write_dac(call.host, call.bx, [(call.dh, call.ch, call.cl)]),
    0x12: _set_dac_block,
    0x13: _color_page,
    0x15: _read_dac_register,
    0x17: _read_dac_block,
    0x18: lambda call: call.outb(DAC_MASK, call.bl),
    0x19: _get_mask,
    0x1A: _read_color_page,
    0x1B: _to_grey,
}


# --- fonts --------------------------------------------------------------------------------------------------------

_ROM_FONTS = {1: (font_14, 14), 2: (font_8, 8), 4: (font_16, 16)}


@service(0x10, ah=0x11)
def fonts(call: Call) -> None:
    """Load character sets (AL=0xh, 1xh also sets the number of rows), graphics fonts (2xh), information (30h)."""
    function = call.al
    low = function & 0x0F
    if function in (0x00, 0x10):
        height = call.bh
        if not 1 <= height <= 32 or call.dx > 255:
            return
        count = min(call.cx, 256 - call.dx)
        glyphs = call.read(call.address("es", call.bp), count * height) if count else b""
        load_font(call.host, glyphs, call.bl, height, call.dx)
    elif function & 0xEF in _ROM_FONTS and function < 0x20:
        font, height = _ROM_FONTS[low]
        load_font(call.host, font(), call.bl, height)
    elif function == 0x03:
        _set(call.host, SEQUENCER, 3, call.bl)
        return
    elif 0x20 <= function <= 0x24:
        _graphics_font(call, function)
        return
    elif function == 0x30:
        _font_information(call)
        return
    else:
        return
    if function & 0x10:
        _set_text_height(call, height)


def _set_text_height(call: Call, height: int) -> None:
    """Recompute rows, cursor and page size for characters of another height."""
    screen = Screen(call.host)
    lines = 400 if screen.mode.text else screen.mode.lines
    rows = max(1, lines // height)
    scan = _get(call.host, screen.crtc, 0x09)
    screen.set_crtc(0x09, scan & 0xE0 | height - 1)
    end = rows * height - 1
    screen.set_crtc(0x12, end)
    overflow = _get(call.host, screen.crtc, 0x07)
    screen.set_crtc(0x07, overflow & ~0x42 | (end >> 8 & 1) << 1 | (end >> 9 & 1) << 6)
    start = max(0, height - (3 if height > 8 else 2))
    screen.set_crtc(0x0A, start)
    screen.set_crtc(0x0B, min(31, start + 1))
    call.bda.set_byte(bda.VIDEO_ROWS, rows - 1)
    call.bda.set_word(bda.FONT_HEIGHT, height)
    size = rows * screen.columns * 2
    call.bda.set_word(bda.VIDEO_PAGE_SIZE, (size + 0xFF) & 0xFF00)


def _graphics_font(call: Call, function: int) -> None:
    if function == 0x20:
        pointer = call.es << 16 | call.bp
        call.set_dword(0x1F * 4, pointer)
        return
    if function == 0x21:
        call.set_dword(0x43 * 4, call.es << 16 | call.bp)
        height = call.cx & 0xFF
    else:
        height = {0x22: 14, 0x23: 8, 0x24: 16}[function]
        _set_vector(call.host, 0x43, {14: rom.FONT_14, 8: rom.FONT_8, 16: rom.FONT_16}[height])
    rows = {0: call.dl, 1: 14, 2: 25, 3: 43}.get(call.bl, 25)
    call.bda.set_word(bda.FONT_HEIGHT, height)
    call.bda.set_byte(bda.VIDEO_ROWS, max(1, rows) - 1)


def _font_information(call: Call) -> None:
    """CX = bytes a character, DL = rows - 1, ES:BP = the font that BH names."""
    pointers = {2: rom.FONT_14, 3: rom.FONT_8, 4: rom.FONT_8 + 0x400, 5: rom.FONT_14, 6: rom.FONT_16, 7: rom.FONT_16}
    which = call.bh
    if which in (0, 1):
        pointer = call.dword((0x1F if which == 0 else 0x43) * 4)
        call.es, call.bp = pointer >> 16, pointer
    else:
        call.es, call.bp = rom.SEGMENT, pointers.get(which, rom.FONT_16)
    call.cx = call.bda.word(bda.FONT_HEIGHT)
    call.dl = call.bda.byte(bda.VIDEO_ROWS)


# --- information and state ----------------------------------------------------------------------------------------


@service(0x10, ah=0x12)
def alternate_select(call: Call) -> None:
    """By BL. AL = 12h where the function exists."""
    function = call.bl
    if function == 0x10:
        call.bh = 1 if call.bda.word(bda.CRTC_PORT) == 0x3B4 else 0
        call.bl = 3
        call.cx = call.bda.byte(bda.VIDEO_SWITCHES) & 0x0F
    elif function == 0x30 and call.al <= 2:
        call.al = 0x12  # 200, 350 or 400 lines at the next mode set: text modes here always have 400
    elif function == 0x31 and call.al <= 1:
        call.bda.update_byte(bda.VIDEO_VGA, 0x08, 0x08 if call.al else 0)
        call.al = 0x12
    elif function in (0x32, 0x33, 0x35, 0x36):
        call.al = 0x12
    elif function == 0x34 and call.al <= 1:
        call.bda.update_byte(bda.VIDEO_CONTROL, 0x01, call.al)
        call.al = 0x12


@service(0x10, ah=0x1A)
def display_combination(call: Call) -> None:
    """AL=0: BL = active display (8, VGA in colour), BH = no other. AL = 1Ah."""
    if call.al == 0:
        mono = call.bda.word(bda.CRTC_PORT) == 0x3B4
        call.bx = VGA_MONO if mono else VGA_COLOR
    call.al = 0x1A


@service(0x10, ah=0x1B)
def functionality(call: Call) -> None:
    """The 64 bytes of state at ES:DI. AL = 1Bh."""
    if call.bx != 0:
        return
    data = call.bda
    out = bytearray(64)
    out[0:4] = rom.VIDEO_STATIC.to_bytes(2, "little") + rom.SEGMENT.to_bytes(2, "little")
    out[4:0x22] = call.read(bda.BASE + bda.VIDEO_MODE, 0x1E)
    out[0x22] = data.byte(bda.VIDEO_ROWS) + 1 & 0xFF
    out[0x23:0x25] = data.word(bda.FONT_HEIGHT).to_bytes(2, "little")
    mode = MODES.get(data.byte(bda.VIDEO_MODE) & 0x7F, MODES[3])
    out[0x25] = VGA_MONO if mode.mono else VGA_COLOR
    out[0x27:0x29] = (mode.colors & 0xFFFF).to_bytes(2, "little")
    out[0x29] = max(1, min(8, 0x8000 // max(1, mode.page_size)))
    out[0x2A] = {350: 1, 400: 2, 480: 3}[mode.lines]
    out[0x31] = 3  # 256 KiB of video memory
    call.write(call.address("es", call.di), bytes(out))
    call.al = 0x1B


@service(0x10)
def unsupported(call: Call) -> None:
    """Unknown functions leave the registers alone."""
