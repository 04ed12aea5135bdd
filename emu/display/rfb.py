"""How pictures are written for VNC clients: pixel formats and the encodings Raw, Hextile and ZRLE.

RFC 6143 (The Remote Framebuffer Protocol), 7.4 and 7.7. Pictures come as arrays of 0x00RRGGBB.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from emu.display.render import Pixels

RAW, HEXTILE, ZRLE = 0, 5, 16
LEVEL = 3
TILE, ZTILE = 16, 64
MOST_IN_PALETTE = 16
H_RAW, H_BACKGROUND, H_FOREGROUND, H_SUBRECTS = 1, 2, 4, 8
RED, GREEN, BLUE = 16, 8, 0


@dataclass(frozen=True)
class PixelFormat:
    """What a client wants a pixel to be."""

    bits: int = 32
    depth: int = 24
    big_endian: bool = False
    maxima: tuple[int, int, int] = (255, 255, 255)
    shifts: tuple[int, int, int] = (16, 8, 0)

    @staticmethod
    def read(data: bytes) -> PixelFormat | None:
        """The 16 bytes of a format; None for one that cannot be. A colour map becomes 3, 3 and 2 bits."""
        bits, depth, big, true_colour, *rest = struct.unpack(">BBBBHHHBBB3x", data)
        maxima, shifts = (rest[0], rest[1], rest[2]), (rest[3], rest[4], rest[5])
        if not true_colour:
            return PixelFormat(8, 8, False, (7, 7, 3), (0, 3, 6)) if bits == 8 else None
        if bits not in (8, 16, 32) or any(s >= bits for s in shifts):
            return None
        if any(m & (m + 1) or m << s >= 1 << bits for m, s in zip(maxima, shifts, strict=True)):
            return None
        return PixelFormat(bits, depth, bool(big), maxima, shifts)

    def write(self) -> bytes:
        """As `ServerInit` has it."""
        return struct.pack(">BBBBHHHBBB3x", self.bits, self.depth, self.big_endian, 1, *self.maxima, *self.shifts)

    @property
    def compact(self) -> int:
        """Bytes of a pixel in ZRLE, where an unused byte is left out, and its place: 0, or negative from the left."""
        return 3 if self._three() is not None else self.bits // 8

    def _three(self) -> slice | None:
        used = 0
        for maximum, shift in zip(self.maxima, self.shifts, strict=True):
            used |= maximum << shift
        if self.bits != 32 or self.depth > 24:
            return None
        if used < 1 << 24:
            return slice(1, 4) if self.big_endian else slice(0, 3)
        return None if used & 0xFF else slice(0, 3) if self.big_endian else slice(1, 4)

    def pixels(self, picture: Pixels) -> Any:
        """The picture's pixels as they are sent, each one element."""
        kind = f"{'>' if self.big_endian else '<'}u{self.bits // 8}"
        if self.bits == 32 and self.maxima == (255, 255, 255) and self.shifts == (RED, GREEN, BLUE):
            return picture.astype(kind)
        out = np.zeros(picture.shape, dtype=np.uint32)
        for at, maximum, shift in zip((RED, GREEN, BLUE), self.maxima, self.shifts, strict=True):
            out |= ((picture >> at & 0xFF) * maximum + 127) // 255 << shift
        return out.astype(kind)

    def compact_bytes(self, pixels: Any) -> bytes:
        """Pixels of `pixels` as ZRLE has them."""
        part = self._three()
        if part is None:
            return bytes(pixels.tobytes())
        return np.ascontiguousarray(pixels).view(np.uint8).reshape(-1, 4)[:, part].tobytes()


def raw(picture: Pixels, format: PixelFormat) -> bytes:
    """All pixels."""
    return bytes(format.pixels(picture).tobytes())


def hextile(picture: Pixels, format: PixelFormat) -> bytes:
    """Tiles of 16 x 16: of one colour, of two as runs of the second, or all pixels."""
    pixels = format.pixels(picture)
    out = []
    for y in range(0, len(pixels), TILE):
        for x in range(0, pixels.shape[1], TILE):
            out.append(_tile(pixels[y : y + TILE, x : x + TILE]))
    return b"".join(out)


def _tile(tile: Any) -> bytes:
    plain = bytes(tile.tobytes())
    colours = np.unique(tile)
    if len(colours) == 1:
        return bytes((H_BACKGROUND,)) + bytes(colours.tobytes())
    if len(colours) == 2:
        common = tile == colours[0]
        back = 0 if common.sum() * 2 >= tile.size else 1
        runs = _runs(common if back else ~common)
        if len(runs) * 2 < len(plain) and len(runs) < 256:
            head = bytes((H_BACKGROUND | H_FOREGROUND | H_SUBRECTS,))
            pair = colours[[back, 1 - back]].tobytes()
            places = b"".join(bytes((x << 4 | y, (n - 1) << 4)) for x, y, n in runs)
            return head + bytes(pair) + bytes((len(runs),)) + places
    return bytes((H_RAW,)) + plain


def _runs(marked: Any) -> list[tuple[int, int, int]]:
    """(x, y, length) of the marked stretches of each row."""
    edges = np.diff(np.pad(marked.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, starts = np.nonzero(edges == 1)
    ends = np.nonzero(edges == -1)[1]
    return [(int(x), int(y), int(end - x)) for y, x, end in zip(rows, starts, ends, strict=True)]


class Zrle:
    """ZRLE for one client, whose connection is one compressed stream."""

    def __init__(self) -> None:
        self._zlib = zlib.compressobj(LEVEL)

    def encode(self, picture: Pixels, format: PixelFormat) -> bytes:
        """Tiles of 64 x 64: of one colour, of up to 16 by number, or all pixels."""
        pixels = format.pixels(picture)
        parts = []
        for y in range(0, len(pixels), ZTILE):
            for x in range(0, pixels.shape[1], ZTILE):
                parts.append(self._tile(pixels[y : y + ZTILE, x : x + ZTILE], format))
        data = self._zlib.compress(b"".join(parts)) + self._zlib.flush(zlib.Z_SYNC_FLUSH)
        return struct.pack(">I", len(data)) + data

    @staticmethod
    def _tile(tile: Any, format: PixelFormat) -> bytes:
        first = tile[0, 0]
        if (tile == first).all():
            return b"\x01" + format.compact_bytes(tile[:1, :1])
        colours, numbers = np.unique(tile, return_inverse=True)
        count = len(colours)
        if count > MOST_IN_PALETTE:
            return b"\0" + format.compact_bytes(tile)
        bits = 1 if count == 2 else 2 if count <= 4 else 4
        rows = numbers.reshape(tile.shape).astype(np.uint8)
        spread = rows[..., None] >> np.arange(bits - 1, -1, -1, dtype=np.uint8) & 1
        packed = np.packbits(spread.reshape(len(rows), -1), axis=1).tobytes()
        return bytes((count,)) + format.compact_bytes(colours) + packed
