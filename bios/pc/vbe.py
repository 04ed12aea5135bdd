"""INT 10h AH=4Fh: the VESA BIOS extensions on the display interface of Bochs (`devices.vga`), where there is one.

Modes are packed 8-bit colours or direct colours, each with a window of 64 KiB at A000h and the linear frame buffer
behind BAR 0 of the display card. Source: VESA BIOS Extension (VBE) Core Functions Standard 3.0; VBE/DDC Standard 1.1;
mode numbers above 11Bh as SeaVGABIOS has them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from bios.pc import pci
from bios.pc.host import Host
from bios.pc.service import Call, service
from bios.pc.video import set_mode
from bios.pc.video_modes import MODES as VGA_MODES

INDEX, DATA = 0x1CE, 0x1D0
ID, XRES, YRES, BPP, ENABLE, BANK, VIRTUAL_WIDTH, VIRTUAL_HEIGHT, X_OFFSET, Y_OFFSET, MEMORY = range(11)
ON, DAC8, LINEAR, KEEP = 0x01, 0x20, 0x40, 0x80
DAC_WRITE, DAC_READ, DAC_DATA = 0x3C8, 0x3C7, 0x3C9

SUPPORTED, FAILED, UNSUITED = 0x004F, 0x014F, 0x034F
NOT_OFFERED = 0x0100
INFO_SIZE, MODES_AT, NAME_AT = 256, 0x22, 0xB0
LINEAR_WISH, KEEP_WISH = 0x4000, 0x8000
NAME = b"Emu VBE\0"
DISPLAY_CLASS = 0x03
WINDOW = 0xA000
EDID_SIZE = 128


@dataclass(frozen=True)
class Mode:
    """A mode by its number."""

    number: int
    width: int
    height: int
    depth: int


MODES = tuple(
    Mode(number, width, height, depth)
    for width, height, numbers in (
        (640, 400, {8: 0x100, 32: 0x141}),
        (640, 480, {8: 0x101, 15: 0x110, 16: 0x111, 24: 0x112, 32: 0x142}),
        (800, 600, {8: 0x103, 15: 0x113, 16: 0x114, 24: 0x115, 32: 0x143}),
        (1024, 768, {8: 0x105, 15: 0x116, 16: 0x117, 24: 0x118, 32: 0x144}),
        (1280, 1024, {8: 0x107, 15: 0x119, 16: 0x11A, 24: 0x11B, 32: 0x145}),
        (1600, 1200, {8: 0x11C, 15: 0x11D, 16: 0x11E, 24: 0x11F, 32: 0x147}),
        (320, 200, {8: 0x146, 15: 0x10D, 16: 0x10E, 24: 0x10F, 32: 0x140}),
        (1152, 864, {8: 0x148, 15: 0x149, 16: 0x14A, 24: 0x14B, 32: 0x14C}),
        (1280, 800, {16: 0x178, 24: 0x179, 32: 0x17A}),
        (1280, 720, {16: 0x18D, 24: 0x18E, 32: 0x18F}),
        (1920, 1080, {16: 0x190, 24: 0x191, 32: 0x192}),
    )
    for depth, number in numbers.items()
)
BY_NUMBER = {mode.number: mode for mode in MODES}
# Bits and position of red, green, blue and the rest.
MASKS = {
    8: (0, 0, 0, 0, 0, 0, 0, 0),
    15: (5, 10, 5, 5, 5, 0, 1, 15),
    16: (5, 11, 6, 5, 5, 0, 0, 0),
    24: (8, 16, 8, 8, 8, 0, 0, 0),
    32: (8, 16, 8, 8, 8, 0, 8, 24),
}


def get(host: Host, register: int) -> int:
    """A register of the display interface."""
    host.port_write(INDEX, 2, register)
    return host.port_read(DATA, 2)


def put(host: Host, register: int, value: int) -> None:
    """Write one."""
    host.port_write(INDEX, 2, register)
    host.port_write(DATA, 2, value)


def present(host: Host) -> bool:
    """Whether the display has the interface."""
    return get(host, ID) & 0xFFF0 == 0xB0C0


def bar(host: Host, number: int) -> int:
    """A base address of the display card, 0 if it has none."""
    for found in pci.functions(host):
        if pci.config_read(host, 0, found.devfn, 0x0B, 1) == DISPLAY_CLASS:
            return pci.config_read(host, 0, found.devfn, 0x10 + 4 * number, 4) & ~0xF & 0xFFFFFFFF
    return 0


def bytes_per_pixel(depth: int) -> int:
    return (depth + 7) // 8


def room(host: Host) -> int:
    """Bytes of the frame buffer."""
    return get(host, MEMORY) << 16


def fits(host: Host, mode: Mode) -> bool:
    return mode.width * mode.height * bytes_per_pixel(mode.depth) <= room(host)


@service(0x10, ah=0x4F)
def vesa(call: Call) -> None:
    """AL is the function; AX = 004Fh where it was done."""
    function = FUNCTIONS.get(call.al)
    if function is None or not present(call.host):
        call.ax = NOT_OFFERED
        return
    call.ax = function(call)


def _information(call: Call) -> int:
    """00h: the controller, at ES:DI."""
    where = call.address("es", call.di)
    wide = call.read(where, 4) == b"VBE2"
    here = call.es << 16
    numbers = [mode.number for mode in MODES if fits(call.host, mode)]
    block = bytearray(INFO_SIZE)
    block[0:6] = b"VESA\x00\x03"
    struct.pack_into("<IIIH", block, 6, here | (call.di + NAME_AT & 0xFFFF), 1, here | (call.di + MODES_AT & 0xFFFF),
                     room(call.host) >> 16)  # fmt: skip
    listed = struct.pack(f"<{len(numbers)}H", *numbers) + b"\xff\xff"
    block[MODES_AT : MODES_AT + len(listed)] = listed
    block[NAME_AT : NAME_AT + len(NAME)] = NAME
    call.write(where, bytes(block))
    if wide:
        call.write(where + INFO_SIZE, bytes(INFO_SIZE))
    return SUPPORTED


def _mode_information(call: Call) -> int:
    """01h: mode CX, at ES:DI."""
    mode = BY_NUMBER.get(call.cx & 0x1FF)
    if mode is None or not fits(call.host, mode):
        return FAILED
    size = bytes_per_pixel(mode.depth)
    pitch = mode.width * size
    linear = bar(call.host, 0)
    attributes = 0x3B | (0x80 if linear else 0)
    images = min(room(call.host) // (pitch * mode.height) - 1, 255)
    model = 4 if mode.depth == 8 else 6
    masks = MASKS[mode.depth]
    block = struct.pack(
        "<HBBHHHHIHHHBBBBBBBBB8sBIIH",
        attributes, 7, 0, 64, 64, WINDOW, 0, 0, pitch, mode.width, mode.height, 8, 16, 1, mode.depth, 1, model, 0,
        images, 1, bytes(masks), 0x02 if mode.depth == 32 else 0, linear, 0, 0,
    )  # fmt: skip
    block += struct.pack("<HBB8sI", pitch, images, images, bytes(masks), 0)
    call.write(call.address("es", call.di), block.ljust(256, b"\0"))
    return SUPPORTED


def _set_mode(call: Call) -> int:
    """02h: mode BX, with bit 14 the linear frame buffer, with bit 15 memory as it is."""
    host, number = call.host, call.bx & 0x1FF
    if number in VGA_MODES:
        return SUPPORTED if set_mode(host, number, clear=not call.bx & KEEP_WISH) else FAILED
    mode = BY_NUMBER.get(number)
    if mode is None or not fits(host, mode):
        return FAILED
    set_mode(host, 0x13, clear=False)
    put(host, ENABLE, 0)
    for register, value in (
        (XRES, mode.width), (YRES, mode.height), (BPP, mode.depth), (BANK, 0),
        (ENABLE, ON | (LINEAR if call.bx & LINEAR_WISH else 0) | (KEEP if call.bx & KEEP_WISH else 0)),
    ):  # fmt: skip
        put(host, register, value)
    return SUPPORTED


def _get_mode(call: Call) -> int:
    """03h: BX = the mode."""
    host = call.host
    enabled = get(host, ENABLE)
    if not enabled & ON:
        call.bx = call.bda.byte(0x49)
        return SUPPORTED
    shape = get(host, XRES), get(host, YRES), get(host, BPP)
    number = next((m.number for m in MODES if (m.width, m.height, m.depth) == shape), 0x1FF)
    call.bx = number | (LINEAR_WISH if enabled & LINEAR else 0)
    return SUPPORTED


def _window(call: Call) -> int:
    """05h: which 64 KiB are at A000h; only window A moves."""
    if call.bl or call.bh > 1:
        return FAILED
    if not get(call.host, ENABLE) & ON:
        return UNSUITED
    if call.bh:
        call.dx = get(call.host, BANK)
        return SUPPORTED
    if call.dx >= get(call.host, MEMORY):
        return FAILED
    put(call.host, BANK, call.dx)
    return SUPPORTED


def _line_length(call: Call) -> int:
    """06h: dots (BL=0) or bytes (2) from line to line; BX, CX, DX = bytes, dots, lines that there are then."""
    host = call.host
    if not get(host, ENABLE) & ON:
        return UNSUITED
    if call.bl > 3:
        return FAILED
    size = bytes_per_pixel(get(host, BPP))
    if call.bl in (0, 2):
        dots = call.cx if call.bl == 0 else -(-call.cx // size)
        if (dots + 7 & ~7) * size * get(host, YRES) > room(host):
            return 0x024F
        put(host, VIRTUAL_WIDTH, dots + 7 & 0xFFF8)
    dots = get(host, VIRTUAL_WIDTH)
    if call.bl == 3:
        dots = min(room(host) // (get(host, YRES) * size) & ~7, 0x3FF8)
    call.bx, call.cx, call.dx = dots * size, dots, min(room(host) // (dots * size), 0xFFFF)
    return SUPPORTED


def _start(call: Call) -> int:
    """07h: the dot and line that are shown first."""
    host = call.host
    if not get(host, ENABLE) & ON:
        return UNSUITED
    if call.bl == 1:
        call.bh, call.cx, call.dx = 0, get(host, X_OFFSET), get(host, Y_OFFSET)
        return SUPPORTED
    if call.bl & 0x7F:
        return FAILED
    put(host, X_OFFSET, call.cx)
    put(host, Y_OFFSET, call.dx)
    return SUPPORTED if (get(host, X_OFFSET), get(host, Y_OFFSET)) == (call.cx, call.dx) else FAILED


def _dac_width(call: Call) -> int:
    """08h: bits of each part of a palette colour, 6 or 8."""
    host = call.host
    enabled = get(host, ENABLE)
    if not enabled & ON or get(host, BPP) != 8:
        return UNSUITED
    if call.bl > 1:
        return FAILED
    if call.bl == 0:
        enabled = enabled & ~DAC8 | (DAC8 if call.bh >= 8 else 0)
        put(host, ENABLE, enabled | KEEP)
    call.bh = 8 if enabled & DAC8 else 6
    return SUPPORTED


def _palette(call: Call) -> int:
    """09h: CX colours from DX on, blue, green, red and a byte at ES:DI."""
    host = call.host
    if call.bl not in (0, 1, 0x80) or call.cx > 256 or call.dx + call.cx > 256:
        return FAILED
    where, count = call.address("es", call.di), call.cx
    if call.bl == 1:
        host.port_write(DAC_READ, 1, call.dx)
        out = bytearray()
        for _ in range(count):
            red, green, blue = (host.port_read(DAC_DATA, 1) for _ in range(3))
            out += bytes((blue, green, red, 0))
        call.write(where, bytes(out))
        return SUPPORTED
    data = call.read(where, 4 * count)
    host.port_write(DAC_WRITE, 1, call.dx)
    for at in range(0, 4 * count, 4):
        for value in (data[at + 2], data[at + 1], data[at]):
            host.port_write(DAC_DATA, 1, value)
    return SUPPORTED


def _monitor(call: Call) -> int:
    """15h: BL=0 whether the monitor tells of itself, BL=1 its EDID at ES:DI."""
    registers = bar(call.host, 2)
    told = call.host.read_phys(registers, EDID_SIZE) if registers else b""
    if told[:2] != b"\x00\xff":
        return FAILED
    if call.bl == 0:
        call.bx = 0x0102
        return SUPPORTED
    if call.bl != 1 or call.dx:
        return FAILED
    call.write(call.address("es", call.di), told)
    return SUPPORTED


FUNCTIONS = {
    0x00: _information,
    0x01: _mode_information,
    0x02: _set_mode,
    0x03: _get_mode,
    0x05: _window,
    0x06: _line_length,
    0x07: _start,
    0x08: _dac_width,
    0x09: _palette,
    0x15: _monitor,
}
