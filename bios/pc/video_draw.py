"""Pixels and characters of graphics modes, for INT 10h.

Each layout has one way to read and write a row of eight pixels; everything else is built on those two.
"""

from __future__ import annotations

from bios.pc.host import Host
from bios.pc.video_modes import Layout, Mode

SEQUENCER, GRAPHICS = 0x3C4, 0x3CE


def _set(host: Host, port: int, index: int, value: int) -> None:
    host.port_write(port, 1, index)
    host.port_write(port + 1, 1, value)


def _page_offset(mode: Mode, page: int) -> int:
    if mode.layout is Layout.PLANAR:
        return (page & 7) * mode.page_size & 0xFFFF
    return 0


def _row_address(mode: Mode, page: int, y: int) -> int:
    """Where scan line y begins."""
    if mode.layout is Layout.LINEAR:
        return mode.memory + y * 320
    if mode.layout is Layout.PLANAR:
        return mode.memory + (_page_offset(mode, page) + y * (mode.width // 8) & 0xFFFF)
    return mode.memory + (y & 1) * 0x2000 + (y >> 1) * 80


def _write_planes(host: Host, address: int, colors: list[int]) -> None:
    """Eight pixels of a planar mode, a plane at a time through the map mask."""
    for plane in range(4):
        bits = sum((color >> plane & 1) << 7 - n for n, color in enumerate(colors))
        _set(host, SEQUENCER, 2, 1 << plane)
        host.write_phys(address, bytes((bits,)))
    _set(host, SEQUENCER, 2, 0x0F)


def _plain_writes(host: Host) -> None:
    """Write mode 0 without set/reset, rotation or masking, whatever the program left."""
    for index, value in ((0, 0), (1, 0), (3, 0), (5, 0), (8, 0xFF)):
        _set(host, GRAPHICS, index, value)


def read_eight(host: Host, mode: Mode, page: int, x: int, y: int) -> list[int]:
    """The colours of eight pixels from x (a multiple of 8) on."""
    at = _row_address(mode, page, y)
    if mode.layout is Layout.LINEAR:
        return list(host.read_phys(at + x, 8))
    if mode.layout is Layout.CGA4:
        word = int.from_bytes(host.read_phys(at + x // 4, 2), "big")
        return [word >> 14 - 2 * n & 3 for n in range(8)]
    if mode.layout is Layout.CGA2:
        byte = host.read_phys(at + x // 8, 1)[0]
        return [byte >> 7 - n & 1 for n in range(8)]
    colors = [0] * 8
    _set(host, GRAPHICS, 5, 0)
    for plane in range(4):
        _set(host, GRAPHICS, 4, plane)
        byte = host.read_phys(at + x // 8, 1)[0]
        for n in range(8):
            colors[n] |= (byte >> 7 - n & 1) << plane
    _set(host, GRAPHICS, 4, 0)
    return colors


def write_eight(host: Host, mode: Mode, page: int, x: int, y: int, colors: list[int]) -> None:
    """Set eight pixels from x (a multiple of 8) on."""
    at = _row_address(mode, page, y)
    if mode.layout is Layout.LINEAR:
        host.write_phys(at + x, bytes(color & 0xFF for color in colors))
    elif mode.layout is Layout.CGA4:
        word = sum((color & 3) << 14 - 2 * n for n, color in enumerate(colors))
        host.write_phys(at + x // 4, word.to_bytes(2, "big"))
    elif mode.layout is Layout.CGA2:
        host.write_phys(at + x // 8, bytes((sum((color & 1) << 7 - n for n, color in enumerate(colors)),)))
    else:
        _plain_writes(host)
        _write_planes(host, at + x // 8, colors)


def _inside(mode: Mode, x: int, y: int) -> bool:
    return not mode.text and 0 <= x < mode.width and 0 <= y < mode.height


def write_pixel(host: Host, mode: Mode, page: int, x: int, y: int, color: int) -> None:
    """One pixel; bit 7 of the colour means XOR, except with 256 colours. Outside the screen nothing happens."""
    if not _inside(mode, x, y):
        return
    colors = read_eight(host, mode, page, x & ~7, y)
    xor = color & 0x80 and mode.layout is not Layout.LINEAR
    colors[x & 7] = colors[x & 7] ^ color & 0x7F if xor else color
    write_eight(host, mode, page, x & ~7, y, colors)


def read_pixel(host: Host, mode: Mode, page: int, x: int, y: int) -> int:
    """The colour of one pixel, 0 outside the screen."""
    return read_eight(host, mode, page, x & ~7, y)[x & 7] & 0xFF if _inside(mode, x, y) else 0


def _font(host: Host, mode: Mode) -> tuple[int, int]:
    """Linear address and height of the font INT 43h points to."""
    pointer = int.from_bytes(host.read_linear(0x43 * 4, 4), "little")
    return (pointer >> 16) * 16 + (pointer & 0xFFFF), mode.char_height


def _glyph(host: Host, mode: Mode, character: int) -> bytes:
    base, height = _font(host, mode)
    if mode.layout in (Layout.CGA4, Layout.CGA2) and character >= 128:
        pointer = int.from_bytes(host.read_linear(0x1F * 4, 4), "little")
        base, character = (pointer >> 16) * 16 + (pointer & 0xFFFF), character - 128
    return host.read_linear(base + character * height, height)


def draw_glyph(host: Host, mode: Mode, page: int, column: int, row: int, character: int, color: int) -> None:
    """A character in a colour; bit 7 combines by XOR, except with 256 colours."""
    glyph = _glyph(host, mode, character)
    x = column * 8
    xor = bool(color & 0x80) and mode.layout is not Layout.LINEAR
    ink = color & (0x7F if xor else 0xFF)
    for line, bits in enumerate(glyph):
        y = row * mode.char_height + line
        if not _inside(mode, x, y):
            return
        colors = [ink if bits >> 7 - n & 1 else 0 for n in range(8)]
        if xor:
            colors = [old ^ new for old, new in zip(read_eight(host, mode, page, x, y), colors, strict=True)]
        write_eight(host, mode, page, x, y, colors)


def read_glyph(host: Host, mode: Mode, page: int, column: int, row: int) -> int:
    """The character whose shape the pixels have, 0 if none."""
    x, height = column * 8, mode.char_height
    if not _inside(mode, x, (row + 1) * height - 1):
        return 0
    shape = bytes(
        sum((color != 0) << 7 - n for n, color in enumerate(read_eight(host, mode, page, x, row * height + line)))
        for line in range(height)
    )
    return next((code for code in range(256) if _glyph(host, mode, code) == shape), 0)


def clear_graphics(host: Host, mode: Mode) -> None:
    """Fill video memory with colour 0."""
    if mode.memory == 0xB8000:
        host.write_phys(0xB8000, bytes(0x4000))
    else:
        host.write_phys(0xA0000, bytes(0x10000))


def scroll_graphics(host: Host, mode: Mode, window: tuple[int, int, int, int], lines: int, color: int) -> None:
    """Scroll a window of character cells by `lines` rows (negative: down); the freed rows get `color`.

    Whole runs of bytes are moved, a plane at a time in planar modes.
    """
    top, left, bottom, right = window
    height = mode.char_height
    first, last = top * height, min((bottom + 1) * height, mode.height)
    shift = lines * height
    cell = {Layout.LINEAR: 8, Layout.CGA4: 2}.get(mode.layout, 1)  # bytes a character is wide
    begin, length = left * cell, (min(right + 1, mode.width // 8) - left) * cell
    if length <= 0:
        return
    planar = mode.layout is Layout.PLANAR
    fill = {Layout.LINEAR: color & 0xFF, Layout.CGA4: (color & 3) * 0x55, Layout.CGA2: (color & 1) * 0xFF}
    if planar:
        _plain_writes(host)
    for plane in range(4 if planar else 1):
        value = (color >> plane & 1) * 0xFF if planar else fill[mode.layout]
        if planar:
            _set(host, GRAPHICS, 4, plane)
            _set(host, SEQUENCER, 2, 1 << plane)
        for y in range(first, last) if shift > 0 else range(last - 1, first - 1, -1):
            source = y + shift
            row = bytes((value,)) * length
            if first <= source < last:
                row = host.read_phys(_row_address(mode, 0, source) + begin, length)
            host.write_phys(_row_address(mode, 0, y) + begin, row)
    if planar:
        _set(host, SEQUENCER, 2, 0x0F)
        _set(host, GRAPHICS, 4, 0)
