"""Pictures of a screen as files: PNG (W3C, second edition: chunks, filter 0) and PPM."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

from devices.vga import Vga

if TYPE_CHECKING:
    from emu.machine import Machine

FORMATS = ("png", "ppm")


def picture(vga: Vga, format: str) -> bytes:
    """What is on the screen as a file of one of `FORMATS`."""
    from emu.display.render import frame, rgb

    pixels = frame(vga)
    height, width = pixels.shape
    return (png if format == "png" else ppm)(width, height, rgb(pixels))


def save(machine: Machine, path: str, format: str = "") -> None:
    """Write what a machine shows to a file, as PPM if its name ends so. Raises OSError and ValueError."""
    vga = machine.devices.get("vga")
    if not isinstance(vga, Vga):
        raise ValueError("the machine has no screen")
    content = picture(vga, format or ("ppm" if path.endswith((".ppm", ".pnm")) else "png"))
    with open(path, "wb") as file:
        file.write(content)


def ppm(width: int, height: int, pixels: bytes) -> bytes:
    """A binary PPM of RGB bytes."""
    return b"P6\n%d %d\n255\n" % (width, height) + pixels


def png(width: int, height: int, pixels: bytes) -> bytes:
    """A PNG of RGB bytes. The same picture gives the same file."""
    row = 3 * width
    lines = b"".join(b"\0" + pixels[at : at + row] for at in range(0, row * height, row))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
