"""The table as a PNG: one bar for each row on a logarithmic scale, its spread, its floor and its aim.

Letters are those of Emu's own text mode and the file is written here, so that no plotting library is needed.
PNG: ISO/IEC 15948, sections 5, 9 and 11.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bios.pc.font import font_16
from emu.tools.bench.report import Result, figures

Dots = npt.NDArray[np.uint8]

CELL, LETTER = 20, 16
LEFT, SCALE, RIGHT = 300, 560, 120
TOP, BOTTOM = 52, 40
PAPER, INK, PALE, BAR, GOOD, BAD, MARK = (
    (255, 255, 255), (30, 30, 30), (215, 215, 215), (120, 150, 190), (90, 160, 90), (205, 110, 90), (20, 60, 130),
)  # fmt: skip
LOW, HIGH = 0.02, 50.0
"""The ends of the scale."""
TICKS = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)


def png(dots: Dots) -> bytes:
    """A PNG of rows of red, green and blue."""
    height, width, _ = dots.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    raw = b"".join(b"\0" + row.tobytes() for row in dots)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(raw, 9)), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def write(dots: Dots, x: int, y: int, text: str, ink: tuple[int, int, int] = INK) -> None:
    """Draw a text; what does not fit is cut off."""
    font = np.frombuffer(font_16(), dtype=np.uint8).reshape(256, LETTER)
    for code in text.encode("cp437", "replace"):
        if x + 8 > dots.shape[1]:
            return
        shape = np.unpackbits(font[code][:, None], axis=1).astype(bool)
        dots[y : y + LETTER, x : x + 8][shape] = ink
        x += 8


def _x(value: float) -> int:
    inside = min(max(value, LOW), HIGH)
    return LEFT + round(SCALE * math.log(inside / LOW) / math.log(HIGH / LOW))


def draw(results: Sequence[Result], title: str) -> bytes:
    """The picture of the rows that are ratios."""
    rows = [(r.line.name, f, f.low, f.median, f.high) for r in results for f, _ in figures(r) if f.row.unit == "ratio"]
    height = TOP + CELL * len(rows) + BOTTOM
    dots = np.full((height, LEFT + SCALE + RIGHT, 3), PAPER, dtype=np.uint8)
    write(dots, 8, 6, title)
    write(dots, 8, 26, "times as fast as QEMU (bochs: as Bochs); thin line: minimum to maximum; | floor, # aim")
    bottom = TOP + CELL * len(rows)
    for tick in TICKS:
        dots[TOP:bottom, _x(tick)] = INK if tick == 1 else PALE
        write(dots, _x(tick) - 4 * len(f"{tick:g}"), bottom + 6, f"{tick:g}")
    for k, (name, figure, low, median, high) in enumerate(rows):
        y = TOP + CELL * k
        write(dots, 8, y + 2, f"{name} {figure.row.name}"[: (LEFT - 16) // 8])
        if low is None or median is None or high is None:
            continue
        ink = {"": BAR, "below": BAD}.get(figure.verdict, GOOD)
        first, last = sorted((_x(1.0), _x(median)))
        dots[y + 4 : y + 16, first : last + 1] = ink
        dots[y + 9 : y + 11, _x(low) : _x(high) + 1] = INK
        if figure.row.floor is not None:
            dots[y + 1 : y + 19, _x(figure.row.floor) - 1 : _x(figure.row.floor) + 1] = MARK
        if figure.row.aim is not None:
            dots[y + 6 : y + 14, _x(figure.row.aim) - 3 : _x(figure.row.aim) + 4] = MARK
        write(dots, LEFT + SCALE + 12, y + 2, f"{median:.2f}")
    return png(dots)
