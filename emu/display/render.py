"""The picture that a VGA shows, drawn with numpy from its registers and memory (`devices.vga`).

Lines and dots appear as often as a monitor shows them: 320 x 200 of mode 13h are 640 x 400, as in QEMU's pictures.
Blinking characters and the cursor are shown lit. IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem";
FreeVGA, "VGA Display Generation" for panning and the split screen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from devices.vga import Vga

    Pixels = NDArray[np.uint32]
    Bytes = NDArray[np.uint8]


def frame(vga: Vga) -> Pixels:
    """The picture as rows of 0x00RRGGBB."""
    if vga.in_frame_buffer and vga.picture()[2] != 4:
        pixels = _frame_buffer(vga)
    else:
        vga.collect()
        if not vga.graphics:
            pixels = _palette(vga)[_text(vga)]
        elif vga.state.gc[5] & 0x40:
            pixels = _palette(vga)[_256(vga)]
        else:
            pixels = _palette(vga)[_16(vga)]
    return np.zeros_like(pixels) if vga.blank else pixels


def rgb(pixels: Pixels) -> bytes:
    """A picture as RGB bytes row by row."""
    out = np.empty((*pixels.shape, 3), dtype=np.uint8)
    for channel, shift in enumerate((16, 8, 0)):
        out[..., channel] = pixels >> shift
    return out.tobytes()


def _palette(vga: Vga) -> Any:
    """The 256 colours."""
    s = vga.state
    levels: Any = np.frombuffer(s.dac, dtype=np.uint8).reshape(256, 3)[np.arange(256) & s.pel_mask].astype(np.uint32)
    if not vga.wide_dac:
        levels = (levels & 0x3F) << 2 | (levels & 0x3F) >> 4
    return levels[:, 0] << 16 | levels[:, 1] << 8 | levels[:, 2]


# -- the frame buffer


def _frame_buffer(vga: Vga) -> Any:
    width, height, depth, pitch, start = vga.picture()
    size = {8: 1, 15: 2, 16: 2, 24: 3, 32: 4}[depth]
    memory = np.frombuffer(vga.frame_buffer or b"", dtype=np.uint8)
    rows = np.lib.stride_tricks.as_strided(memory[start:], (height, width * size), (pitch, 1), writeable=False)
    if depth == 8:
        return _palette(vga)[rows]
    order = ">" if vga.big_endian else "<"
    if depth == 32:
        return (np.ascontiguousarray(rows).view(f"{order}u4") & 0xFFFFFF).astype(np.uint32)
    if depth == 24:
        parts = rows.reshape(height, width, 3).astype(np.uint32)
        return parts[..., 0] | parts[..., 1] << 8 | parts[..., 2] << 16
    words = np.ascontiguousarray(rows).view(f"{order}u2")
    return _HIGH[depth][words]


def _high(green: int) -> Pixels:
    """The colours of all 16-bit words: 5 bits of red, `green` bits, 5 of blue."""
    words = np.arange(0x10000, dtype=np.uint32)
    out = np.zeros_like(words)
    for at, bits, shift in ((5 + green, 5, 16), (5, green, 8), (0, 5, 0)):
        level = words >> at & (1 << bits) - 1
        out |= (level << (8 - bits) | level >> (2 * bits - 8)) << shift
    return out


_HIGH = {15: _high(5), 16: _high(6)}


# -- planes


def _planes(vga: Vga) -> Bytes:
    """The memory: one row for each address, a byte of each plane."""
    return np.frombuffer(vga.state.vram, dtype=np.uint8).reshape(-1, 4)


def _lines(vga: Vga) -> tuple[Any, Any, Any]:
    """For each line of the screen the memory counter of its first fetch, its row scan, and its panning in dots."""
    crtc, atc = vga.state.crtc, vga.state.atc
    double = crtc[9] >> 7
    pitch, repeat, compare = crtc[0x13] * 2, vga.cell_height(), vga.line_compare()
    y = np.arange(vga.display_end())
    below = y > compare
    step = np.where(below, y - compare - 1 >> double, (y >> double) + (crtc[8] & 0x1F))
    counter = np.where(below, 0, vga.start()) + step // repeat * pitch
    still = below if atc[0x10] & 0x20 else np.zeros_like(below)
    counter += np.where(still, 0, crtc[8] >> 5 & 3)
    return counter & 0xFFFF, step % repeat, np.where(still, -1, atc[0x13] & 0x0F)


def _fetched(vga: Vga, counter: Any, scan: Any, count: int) -> Any:
    """Addresses of `count` fetches of each line."""
    return vga.address(counter[:, None] + np.arange(count) & 0xFFFF, scan[:, None])


def _panned(pixels: Any, shift: Any, width: int) -> Any:
    """Each line from its own dot on."""
    if not shift.any():
        return pixels[:, :width]
    return np.take_along_axis(pixels, shift[:, None] + np.arange(width), axis=1)


def _colours(vga: Vga) -> Bytes:
    """The DAC index of each of the 16 attribute colours."""
    atc = vga.state.atc
    high, middle = (atc[0x14] & 0x0C) << 4, (atc[0x14] & 3) << 4
    values = [high | (atc[n] & 0x0F | middle if atc[0x10] & 0x80 else atc[n] & 0x3F) for n in range(16)]
    return np.array(values, dtype=np.uint8)


def _text(vga: Vga) -> Any:
    s = vga.state
    memory, colours = _planes(vga), _colours(vga)[np.arange(16) & s.atc[0x12]]
    dots, columns = 8 if s.seq[1] & 1 else 9, s.crtc[1] + 1
    mode = s.atc[0x10]
    counter, scan, pan = _lines(vga)
    at = _fetched(vga, counter, scan, columns + 1)
    code, attribute = memory[at, 0], memory[at, 1]
    fore, back = attribute & 15, attribute >> 4 & (7 if mode & 0x08 else 15)
    # Character maps A (attribute bit 3 set) and B, each in 8 KiB steps of plane 2.
    select = s.seq[3]
    maps = (select & 3 | (select >> 4 & 1) << 2, select >> 2 & 3 | (select >> 5 & 1) << 2)
    font = np.array([(m >> 2 & 1 | (m & 3) << 1) * 0x2000 for m in maps])
    bits = memory[font[fore >> 3] + 32 * code.astype(np.int64) + (scan[:, None] & 31) & 0xFFFF, 2]
    lit = np.zeros(at.shape, dtype=bool)
    if mode & 0x02:
        lit |= (attribute & 7 == 1) & (scan[:, None] == s.crtc[0x14] & 0x1F)
    first, last = s.crtc[0x0A], s.crtc[0x0B] & 0x1F
    if not first & 0x20:
        inside = (scan >= first & 0x1F) & (scan <= last)
        where = s.crtc[0x0E] << 8 | s.crtc[0x0F]
        lit |= (counter[:, None] + np.arange(columns + 1) & 0xFFFF == where) & inside[:, None]
    bits = np.where(lit, np.uint8(0xFF), bits)
    cells = np.zeros((*at.shape, dots), dtype=bool)
    cells[..., :8] = np.unpackbits(bits[..., None], axis=-1)
    if dots == 9:
        ninth = (code >= 0xC0) & (code <= 0xDF) if mode & 0x04 else np.zeros_like(lit)
        cells[..., 8] = cells[..., 7] & ninth | lit
    pixels = np.where(cells, colours[fore][..., None], colours[back][..., None]).reshape(len(at), -1)
    # With nine dots 8 means no shift, and 0 one dot.
    shift = np.where(pan < 0, 0, (pan + 1) % 9 if dots == 9 else pan & 7)
    pixels = _panned(pixels, shift, dots * columns)
    return pixels.repeat(2, axis=1) if s.seq[1] & 8 else pixels


def _distinct(vga: Vga) -> tuple[Any, Any, Any, Any]:
    """Counter, scan and panning of the lines that differ, and for each line of the screen which of them it is."""
    counter, scan, pan = _lines(vga)
    if vga.state.crtc[0x17] & 3 == 3:
        scan = np.zeros_like(scan)
    key, which = np.unique((counter << 5 | scan) << 5 | pan + 1, return_inverse=True)
    return key >> 10, key >> 5 & 31, (key & 31) - 1, which


def _256(vga: Vga) -> Any:
    fetches = vga.state.crtc[1] + 1
    counter, scan, pan, which = _distinct(vga)
    lines = _planes(vga)[_fetched(vga, counter, scan, fetches + 1)].reshape(len(counter), -1)
    return _panned(lines, np.where(pan < 0, 0, pan >> 1 & 3), 4 * fetches)[which].repeat(2, axis=1)


def _16(vga: Vga) -> Any:
    s = vga.state
    fetches = s.crtc[1] + 1
    counter, scan, pan, which = _distinct(vga)
    planes = _planes(vga)[_fetched(vga, counter, scan, fetches + 1)]
    if s.gc[5] & 0x20:
        # Two bits a pixel: the left four from planes 0 and 2, the right four from planes 1 and 3.
        shifts = np.array((6, 4, 2, 0), dtype=np.uint8)
        pairs = planes[..., None] >> shifts & 3
        values = np.concatenate(
            (pairs[..., 0, :] | pairs[..., 2, :] << 2, pairs[..., 1, :] | pairs[..., 3, :] << 2), -1
        )
    else:
        weights = np.array((1, 2, 4, 8), dtype=np.uint8)
        values = (np.unpackbits(planes[..., None], axis=-1) * weights[:, None]).sum(axis=2, dtype=np.uint8)
    colours = _colours(vga)[np.arange(16) & s.atc[0x12]]
    lines = _panned(colours[values.reshape(len(counter), -1)], np.where(pan < 0, 0, pan & 7), 8 * fetches)[which]
    return lines.repeat(2, axis=1) if s.seq[1] & 8 else lines
