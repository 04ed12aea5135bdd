"""The character sets of code page 437 in 8x8, 8x14 and 8x16, made from the drawings in `bios.pc.glyphs`.

Letters are drawn once, eight dots high: taller sets repeat the lines between the strokes and thicken uprights. Accented
letters are a letter and an accent. Line drawing and shading (B0h..DFh) are computed for each cell size, so that
neighbouring cells join.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from bios.pc.glyphs import ACCENTS, DRAWINGS, row_bits

# Which drawn line each line of a taller character repeats; -1 is blank.
_LINES = {
    8: (0, 1, 2, 3, 4, 5, 6, 7),
    14: (-1, -1, 0, 1, 1, 2, 3, 4, 5, 5, 6, 7, 7, -1),
    16: (-1, -1, 0, 1, 1, 2, 2, 3, 4, 5, 5, 6, 7, 7, -1, -1),
}

# Line drawing by code B3h..DAh: strokes left, right, up, down; 0 none, 1 single, 2 double.
_BOX = {
    "│": "0011", "┤": "1011", "╡": "2011", "╢": "1022", "╖": "1002", "╕": "2001", "╣": "2022", "║": "0022",
    "╗": "2002", "╝": "2020", "╜": "1020", "╛": "2010", "┐": "1001", "└": "0110", "┴": "1110", "┬": "1101",
    "├": "0111", "─": "1100", "┼": "1111", "╞": "0211", "╟": "0122", "╚": "0220", "╔": "0202", "╩": "2220",
    "╦": "2202", "╠": "0222", "═": "2200", "╬": "2222", "╧": "2210", "╨": "1120", "╤": "2201", "╥": "1102",
    "╙": "0120", "╘": "0210", "╒": "0201", "╓": "0102", "╫": "1122", "╪": "2211", "┘": "1010", "┌": "0101",
}  # fmt: skip


def character(code: int) -> str:
    """The character that a code of page 437 shows; codes below 20h and 7Fh stand for themselves."""
    return chr(code) if code < 0x20 or code == 0x7F else bytes((code,)).decode("cp437")


def _accented(shown: str) -> bytes | None:
    parts = unicodedata.normalize("NFD", shown)
    if len(parts) != 2 or parts[0] not in DRAWINGS or parts[1] not in ACCENTS:
        return None
    letter = list(DRAWINGS["\u0131" if parts[0] == "i" else parts[0]])
    top, bottom = (row_bits(line) for line in ACCENTS[parts[1]])
    if parts[0].islower():
        return bytes((top, bottom, *letter[2:]))
    if parts[1] == "\u0308":  # two dots fit above a capital that gives up one line
        return bytes((bottom, 0, *letter[:2], *letter[3:6], letter[6]))[:8]
    return bytes((top, bottom, *letter[0:2], letter[3], letter[5], letter[6], 0))


def _stretched(drawing: bytes, height: int) -> bytes:
    lines = [drawing[n] if n >= 0 else 0 for n in _LINES[height]]
    if height == 8 or any(line & 0x02 for line in drawing):  # seven dots wide already
        return bytes(lines)
    return bytes(_thickened(line) for line in lines)


def _thickened(line: int) -> int:
    """Widen each dot to the right unless that closes a gap of one dot."""
    return line | line >> 1 & ~(line << 1)


def _segment_rows(height: int, box: str) -> bytes:
    left, right, up, down = (int(n) for n in box)
    middle = height // 2 - 1
    rows = [0] * height
    # Where the lines run: one in the middle, or two beside it.
    across = {0: (), 1: (middle,), 2: (middle - 1, middle + 1)}
    along = {0: 0x00, 1: 0x18, 2: 0x66}
    first_across = min((*across[left], *across[right]), default=middle)
    last_across = max((*across[left], *across[right]), default=middle)
    for row in range(height):
        if up and row <= last_across:
            rows[row] |= along[up]
        if down and row >= first_across:
            rows[row] |= along[down]
    for row in across[left]:
        rows[row] |= 0xF8 if up < 2 and down < 2 else 0xFE
    for row in across[right]:
        rows[row] |= 0x1F if up < 2 and down < 2 else 0x7F
    if ((left == 2 or right == 2) and (up == 2 or down == 2)) or (up == 2 and down == 2) or (left == 2 and right == 2):
        _open_doubles(rows, middle, (left, right, up, down))
    return bytes(rows)


def _open_doubles(rows: list[int], middle: int, strokes: tuple[int, int, int, int]) -> None:
    """Clear the inside of double lines where they meet."""
    left, right, up, down = strokes
    if up == 2 and down == 2:
        for row in (middle - 1, middle, middle + 1):
            rows[row] &= ~0x18
            if left == 2:
                rows[row] = (rows[row] & ~0x60) | (0x60 if row != middle else 0)
            if right == 2:
                rows[row] = (rows[row] & ~0x06) | (0x06 if row != middle else 0)
    elif left == 2 and right == 2:
        if up == 2:
            rows[middle - 1] &= ~0x18
        if down == 2:
            rows[middle + 1] &= ~0x18
        rows[middle] = 0
    else:
        inner = middle - 1 if up == 2 else middle + 1
        if left == 2:
            rows[inner] &= ~0x18
        if right == 2:
            rows[inner] &= ~0x18


def _block(shown: str, height: int) -> bytes | None:
    half = height // 2
    if shown in "░▒▓":
        patterns = {"░": (0x22, 0x88), "▒": (0xAA, 0x55), "▓": (0xDD, 0x77)}[shown]
        return bytes(patterns[row & 1] for row in range(height))
    return {
        "█": b"\xff" * height,
        "▄": bytes(half) + b"\xff" * (height - half),
        "▀": b"\xff" * half + bytes(height - half),
        "▌": b"\xf0" * height,
        "▐": b"\x0f" * height,
    }.get(shown)


def _glyph(code: int, height: int) -> bytes:
    shown = character(code)
    if shown in _BOX:
        return _segment_rows(height, _BOX[shown])
    block = _block(shown, height)
    if block is not None:
        return block
    drawing = DRAWINGS.get(shown) or _accented(shown)
    return _stretched(drawing, height) if drawing else bytes(height)


@lru_cache(maxsize=3)
def _font(height: int) -> bytes:
    return b"".join(_glyph(code, height) for code in range(256))


def font_8() -> bytes:
    """256 glyphs of 8 bytes."""
    return _font(8)


def font_14() -> bytes:
    """256 glyphs of 14 bytes."""
    return _font(14)


def font_16() -> bytes:
    """256 glyphs of 16 bytes."""
    return _font(16)
