"""VGA modes and the register values each needs, worked out from its timing and memory layout.

Sources: IBM VGA Technical Reference (register meanings); VESA industry timing for 640x350, 640x400 and 640x480 at
31.5 kHz. Nothing here is a copied table: `registers` computes every value.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Layout(Enum):
    """How a mode's video memory is organised."""

    TEXT = "text"
    CGA4 = "2 bits a pixel, even and odd lines in two banks"
    CGA2 = "1 bit a pixel, even and odd lines in two banks"
    PLANAR = "four bit planes"
    LINEAR = "a byte a pixel"


@dataclass(frozen=True)
class Mode:
    """A BIOS video mode. `lines` are scan lines on the screen: 200-line modes show each twice."""

    number: int
    layout: Layout
    columns: int
    rows: int
    char_height: int
    width: int
    height: int
    lines: int
    memory: int
    page_size: int
    mono: bool = False
    colors: int = 16

    @property
    def text(self) -> bool:
        return self.layout is Layout.TEXT

    @property
    def doubled(self) -> bool:
        return self.height * 2 == self.lines


def _text(number: int, columns: int, *, mono: bool = False) -> Mode:
    memory = 0xB0000 if mono else 0xB8000
    size = 0x800 if columns == 40 else 0x1000
    return Mode(number, Layout.TEXT, columns, 25, 16, columns * 9, 400, 400, memory, size, mono)


def _planar(number: int, width: int, height: int, size: int, *, char: int, colors: int = 16) -> Mode:
    lines = 400 if height == 200 else height
    mono = number == 0x0F
    return Mode(
        number, Layout.PLANAR, width // 8, height // char, char, width, height, lines, 0xA0000, size, mono, colors
    )


MODES: dict[int, Mode] = {
    mode.number: mode
    for mode in (
        _text(0x00, 40),
        _text(0x01, 40),
        _text(0x02, 80),
        _text(0x03, 80),
        Mode(0x04, Layout.CGA4, 40, 25, 8, 320, 200, 400, 0xB8000, 0x4000, colors=4),
        Mode(0x05, Layout.CGA4, 40, 25, 8, 320, 200, 400, 0xB8000, 0x4000, colors=4),
        Mode(0x06, Layout.CGA2, 80, 25, 8, 640, 200, 400, 0xB8000, 0x4000, colors=2),
        _text(0x07, 80, mono=True),
        _planar(0x0D, 320, 200, 0x2000, char=8),
        _planar(0x0E, 640, 200, 0x4000, char=8),
        _planar(0x0F, 640, 350, 0x8000, char=14, colors=2),
        _planar(0x10, 640, 350, 0x8000, char=14),
        _planar(0x11, 640, 480, 0xA000, char=16, colors=2),
        _planar(0x12, 640, 480, 0xA000, char=16),
        Mode(0x13, Layout.LINEAR, 40, 25, 8, 320, 200, 400, 0xA0000, 0x10000, colors=256),
    )
}


@dataclass(frozen=True)
class VgaRegisters:
    """Values for the register groups, in index order."""

    misc: int
    sequencer: tuple[int, ...]
    crtc: tuple[int, ...]
    graphics: tuple[int, ...]
    attribute: tuple[int, ...]


# Vertical timing in lines: total, sync start, blanking start and end, and the sync polarity bits that told monitors
# how many lines there are.
_VERTICAL = {
    350: (449, 387, 355, 442, 0x80),
    400: (449, 412, 406, 441, 0x40),
    480: (525, 490, 487, 516, 0xC0),
}
_SYNC_LINES = 2


def _crtc(mode: Mode) -> tuple[int, ...]:
    half = mode.width in (320, 360) and mode.layout is not Layout.LINEAR
    shown = 40 if half else 80  # character clocks of displayed line
    total = shown * 5 // 4
    sync = shown + (5 if mode.text else 4) // (2 if half else 1)
    sync_end = sync + (6 if half else 12)
    blank_end = total - 2
    lines, v_sync, v_blank, v_blank_end, _ = _VERTICAL[mode.lines]
    v_total, v_end = lines - 2, mode.lines - 1
    overflow = v_total >> 8 & 1 | (v_end >> 8 & 1) << 1 | (v_sync >> 8 & 1) << 2 | (v_blank >> 8 & 1) << 3 | 0x10
    overflow |= (v_total >> 9 & 1) << 5 | (v_end >> 9 & 1) << 6 | (v_sync >> 9 & 1) << 7
    if mode.text:
        scan, cursor = mode.char_height - 1, (mode.char_height - 3, mode.char_height - 2)
    else:
        # CGA modes address lines in pairs: bank select is the row scan counter's lowest bit.
        scan, cursor = (1 if mode.layout in (Layout.CGA4, Layout.CGA2, Layout.LINEAR) else 0), (0, 0)
    double = 0x80 if mode.doubled and mode.layout is not Layout.LINEAR else 0
    scan |= 0x40 | (v_blank >> 9 & 1) << 5 | double
    words = 20 if half and mode.layout is not Layout.CGA4 else 40
    underline, control = 0x00, 0xE3
    if mode.text:
        underline, control = (mode.char_height - 3 if mode.mono else 0x1F), 0xA3
    elif mode.layout is Layout.CGA4:
        control = 0xA2
    elif mode.layout is Layout.CGA2:
        control = 0xC2
    elif mode.layout is Layout.LINEAR:
        underline, control = 0x40, 0xA3
    return (
        total - 5,
        shown - 1,
        shown,
        0x80 | blank_end & 0x1F,
        sync,
        (blank_end >> 5 & 1) << 7 | sync_end & 0x1F,
        v_total & 0xFF,
        overflow,
        0,
        scan,
        *cursor,
        0,
        0,
        0,
        0,
        v_sync & 0xFF,
        0x80 | (v_sync + _SYNC_LINES) & 0x0F,
        v_end & 0xFF,
        words,
        underline,
        v_blank & 0xFF,
        v_blank_end & 0xFF,
        control,
        0xFF,
    )


def _attribute(mode: Mode) -> tuple[int, ...]:
    ega = [*range(6), 0x14, 7, *range(0x38, 0x40)]  # brown and the bright half of the 64 EGA colours
    cga = [*range(8), *range(0x10, 0x18)]
    control, plane_mask, pan = 0x01, 0x0F, 0
    if mode.text:
        control, pan = 0x0C, 8
        palette = ega
        if mode.mono:
            control, palette = 0x0E, [0, *[0x08] * 7, 0x10, *[0x18] * 7]
    elif mode.layout is Layout.CGA4:
        palette, plane_mask = [0x00, 0x13, 0x15, 0x17, 0x02, 0x04, 0x06, 0x07, *range(0x10, 0x18)], 0x03
    elif mode.layout is Layout.CGA2:
        palette, plane_mask = [0x00, *[0x17] * 15], 0x01
    elif mode.layout is Layout.LINEAR:
        palette, control = list(range(16)), 0x41
    elif mode.number == 0x11:
        palette = [0x00, *[0x3F] * 15]
    elif mode.number == 0x0F:
        palette, control, plane_mask = [0x00, 0x08, 0x00, 0x00, 0x18, 0x18, 0x00, 0x00] * 2, 0x0B, 0x05
    else:
        palette = cga if mode.height == 200 else ega
    return (*palette, control, 0x00, plane_mask, pan, 0x00)


def registers(mode: Mode) -> VgaRegisters:
    """All the values to write for a mode."""
    half = mode.width in (320, 360) and mode.layout is not Layout.LINEAR
    nine_dots = mode.text
    misc = 0x23 | (0x04 if nine_dots else 0) | _VERTICAL[mode.lines][4]
    if mode.mono:
        misc &= ~0x01
    clocking = (0 if nine_dots else 0x01) | (0x08 if half else 0)
    layout = mode.layout
    memory_mode = {Layout.TEXT: 0x02, Layout.CGA4: 0x02, Layout.CGA2: 0x06, Layout.PLANAR: 0x06, Layout.LINEAR: 0x0E}
    map_mask = {Layout.TEXT: 0x03, Layout.CGA4: 0x03, Layout.CGA2: 0x01}.get(layout, 0x0F)
    shift = {Layout.TEXT: 0x10, Layout.CGA4: 0x30, Layout.LINEAR: 0x40}.get(layout, 0x00)
    if layout is Layout.TEXT:
        window = 0x0A if mode.mono else 0x0E
    else:
        window = {Layout.CGA4: 0x0F, Layout.CGA2: 0x0D}.get(layout, 0x05)
    return VgaRegisters(
        misc=misc,
        sequencer=(0x03, clocking, map_mask, 0x00, memory_mode[layout]),
        crtc=_crtc(mode),
        graphics=(0x00, 0x00, 0x00, 0x00, 0x00, shift, window, 0x00 if mode.text else 0x0F, 0xFF),
        attribute=_attribute(mode),
    )


def _ega_color(index: int) -> tuple[int, int, int]:
    """The 64 EGA colours: bits 2..0 are the two-thirds steps of red, green and blue, bits 5..3 the one-third steps."""
    red = (index >> 2 & 1) * 42 + (index >> 5 & 1) * 21
    green = (index >> 1 & 1) * 42 + (index >> 4 & 1) * 21
    blue = (index & 1) * 42 + (index >> 3 & 1) * 21
    return red, green, blue


def _cga_color(index: int) -> tuple[int, int, int]:
    """Sixteen colours by intensity, red, green, blue; dark yellow is brown."""
    bright = 21 if index & 8 else 0
    red, green, blue = ((index >> bit & 1) * 42 + bright for bit in (2, 1, 0))
    return (red, 21, blue) if index == 6 else (red, green, blue)


_GREYS = (0, 5, 8, 11, 14, 17, 20, 24, 28, 32, 36, 40, 45, 50, 56, 63)
# Brightest and dimmest component of the nine rings of 24 hues.
_RINGS = ((63, 0), (63, 31), (63, 45), (28, 0), (28, 14), (28, 20), (16, 0), (16, 8), (16, 11))


def _hues(high: int, low: int) -> list[tuple[int, int, int]]:
    """24 hues from blue over red and green back, in steps of a quarter."""
    ramp = [low + ((high - low) * n + 1) // 4 for n in range(5)]  # to the nearest, a half down
    up, down = ramp[:4], ramp[:0:-1]
    out: list[tuple[int, int, int]] = []
    out += [(n, low, high) for n in up] + [(high, low, n) for n in down]
    out += [(high, n, low) for n in up] + [(n, high, low) for n in down]
    out += [(low, high, n) for n in up] + [(low, n, high) for n in down]
    return out


def palette(mode: Mode) -> list[tuple[int, int, int]]:
    """The DAC contents a mode starts with: up to 256 (red, green, blue), six bits each."""
    if mode.layout is Layout.LINEAR:
        colors = [_cga_color(n) for n in range(16)] + [(grey, grey, grey) for grey in _GREYS]
        for high, low in _RINGS:
            colors += _hues(high, low)
        return colors + [(0, 0, 0)] * 8
    if mode.mono:
        return [((grey := (n >> 3 & 1) * 42 + (n >> 4 & 1) * 21), grey, grey) for n in range(64)]
    if mode.text or mode.height >= 350:
        return [_ega_color(n) for n in range(64)]
    # 200-line modes: bit 4 of an attribute is intensity, as on the EGA's CGA monitor.
    return [_cga_color(n & 7 | n >> 1 & 8) for n in range(64)]
