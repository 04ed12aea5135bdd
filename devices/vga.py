"""The VGA: registers, 256 KiB in four planes, text screen, and the display interface of Bochs with its frame buffer.

IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem" (1990), and FreeVGA for what programs rely on; Bochs'
vbe_display_api.txt and QEMU's docs/specs/standard-vga for the display interface (1CEh index, 1CFh data).
Ports 3B0h-3DFh go to `read`/`write` (offset from 3B0h), memory A0000h-BFFFFh to `read_memory`/`write_memory` (offset
from A0000h), 1CEh-1D1h to `read_vbe`/`write_vbe`. What is on the screen is drawn by `emu.display`.

Some layouts are so common and so plain that the processor may have them as memory: colour text at B8000h, chain-4
(mode 13h) at A0000h, and a bank of the frame buffer there. For each of the first two the board gives a buffer and a
callback. While a layout is direct, the buffer holds what the guest sees and the planes are stale; on leaving it the
buffer is copied into the planes, on entering it out of them. The frame buffer is memory of its own, not the planes.

After reset the registers are those of mode 3 (80 x 25 colour text), so that a screen exists before any video BIOS ran.
The font planes are empty until firmware or a guest loads them.
"""

# ruff: noqa: RUF009

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from devices.contracts import Clock
from devices.device import Device, device
from devices.registers import Bank
from devices.state import flag, octets, ranged, uint, uints

N = TypeVar("N", bound=Any)

PLANE = 0x10000
TEXT_WINDOW = 0x8000
GRAPHICS_WINDOW = 0x10000

# Windows of the miscellaneous graphics register, bits 3..2: (offset from A0000h, size).
WINDOWS = ((0x00000, 0x20000), (0x00000, 0x10000), (0x10000, 0x08000), (0x18000, 0x08000))

CRTC_MODE_3 = bytes.fromhex("5f4f50825581bf1f 004f0d0e00000000 9c8e8f281f96b9a3 ff")
SEQ_MODE_3 = bytes((3, 0, 3, 0, 2))
GC_MODE_3 = bytes((0, 0, 0, 0, 0, 0x10, 0x0E, 0, 0xFF))
ATC_MODE_3 = bytes((0, 1, 2, 3, 4, 5, 0x14, 7, *range(0x38, 0x40), 0x0C, 0, 0x0F, 8, 0))
MISC_MODE_3 = 0x67

CP437 = (
    " ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼"
    + bytes(range(0x20, 0x7F)).decode("ascii")
    + "⌂"
    + bytes(range(0x80, 0xFF)).decode("cp437")
    + " "
)
"""What each character code shows; 00h and FFh show nothing."""

# Bit n of a nibble becomes byte n of a double word: a plane mask, or a colour on all planes.
EXPAND = tuple(sum(0xFF << (8 * plane) for plane in range(4) if nibble >> plane & 1) for nibble in range(16))

# The display interface: registers by index, bits of VBE_ENABLE.
VBE_ID, VBE_XRES, VBE_YRES, VBE_BPP, VBE_ENABLE, VBE_BANK = range(6)
VBE_VIRTUAL_WIDTH, VBE_VIRTUAL_HEIGHT, VBE_X, VBE_Y, VBE_MEMORY = range(6, 11)
VBE_ON, VBE_CAPABILITIES, VBE_DAC8, VBE_LINEAR, VBE_KEEP = 0x01, 0x02, 0x20, 0x40, 0x80
VBE_FIRST_ID, VBE_LAST_ID = 0xB0C0, 0xB0C5
VBE_DEPTHS = (4, 8, 15, 16, 24, 32)
VBE_WIDEST, VBE_TALLEST = 16000, 12000
BANK = 0x10000


def _pitch(width: int, depth: int) -> int:
    """Bytes from line to line."""
    return width * (2 if depth == 15 else depth // 8) if depth > 4 else width // 2


def _ega_palette() -> bytes:
    """The 64 EGA colours in 6-bit levels, then black."""
    levels = bytearray(768)
    for n in range(64):
        for channel, (strong, weak) in enumerate(((2, 5), (1, 4), (0, 3))):
            levels[3 * n + channel] = 42 * (n >> strong & 1) + 21 * (n >> weak & 1)
    return bytes(levels)


@dataclass
class VgaState:
    misc: int = uint(8, MISC_MODE_3)
    feature: int = uint(8)
    enable: int = uint(8, 1)
    seq_index: int = uint(3)
    seq: bytearray = octets(8, 8)
    gc_index: int = uint(4)
    gc: bytearray = octets(16, 16)
    crtc_index: int = uint(5)
    crtc: bytearray = octets(32, 32)
    atc_index: int = uint(8, 0x20)
    atc_data_next: bool = flag()
    """The next write to 3C0h is data."""
    atc: bytearray = octets(32, 32)
    pel_mask: int = uint(8, 0xFF)
    dac: bytearray = octets(768, 768)
    dac_index: int = uint(8)
    dac_part: int = ranged(0, 2)
    dac_reading: bool = flag()
    dac_held: list[int] = uints(2, 8)
    latch: int = uint(32)
    """One byte of each plane, plane 0 lowest."""
    vram: bytearray = octets(4 * PLANE, 4 * PLANE)
    """Byte `a` of plane `p` is at 4 * a + p."""
    direct_text: bool = flag()
    direct_graphics: bool = flag()
    vbe_index: int = uint(16)
    vbe_low: int = uint(8)
    """A low byte that waits for its high one: data at the odd port 1CFh may come in two."""
    vbe: list[int] = uints(10, 16)


@device("vga", "VGA with 256 KiB")
class Vga(Device):
    """`text_window` is the 32 KiB of guest RAM at B8000h, `graphics_window` the 64 KiB at A0000h, both writable.

    `set_direct(on)` and `set_direct_a000(on)` are called whenever a window becomes, or ceases to be, plain memory for
    the processor; the first call of `set_direct(True)` comes from this constructor. A window that is None is never
    direct. Raises ValueError for a window of the wrong size. `frame_buffer` is the memory behind the display interface,
    a multiple of 64 KiB; without it there is none. `set_bank(offset)` is told which 64 KiB of it are at A0000h as plain
    memory, or None.
    """

    State = VgaState
    state: VgaState

    regs = Bank(0x30)

    def __init__(
        self,
        *,
        clock: Clock,
        text_window: memoryview | None = None,
        set_direct: Callable[[bool], None] | None = None,
        graphics_window: memoryview | None = None,
        set_direct_a000: Callable[[bool], None] | None = None,
        frame_buffer: memoryview | None = None,
        set_bank: Callable[[int | None], None] | None = None,
    ) -> None:
        if frame_buffer is not None and (frame_buffer.nbytes % BANK or frame_buffer.readonly or not frame_buffer):
            raise ValueError("a frame buffer must be a multiple of 64 KiB")
        for window, size in ((text_window, TEXT_WINDOW), (graphics_window, GRAPHICS_WINDOW)):
            if window is not None and (window.nbytes != size or window.itemsize != 1 or window.readonly):
                raise ValueError(f"a VGA window must be {size} writable bytes")
        self.clock = clock
        self._text_window = text_window
        self._graphics_window = graphics_window
        self._set_direct = set_direct
        self._set_direct_a000 = set_direct_a000
        self.frame_buffer = frame_buffer
        self._set_bank = set_bank
        self.big_endian = False
        """Colours in the frame buffer have their highest byte first."""
        self._bank: int | None = None
        """What `set_bank` was told last."""
        self._cells: list[list[int]] = []
        self._cells_of = b""
        super().__init__()
        self.reset()

    def reset(self) -> None:
        """Mode 3, a black screen and no font."""
        old: VgaState = self.state
        self.clear()
        s = self.state
        s.direct_text, s.direct_graphics = old.direct_text, old.direct_graphics
        s.vbe[VBE_ID] = VBE_LAST_ID
        s.seq[: len(SEQ_MODE_3)] = SEQ_MODE_3
        s.gc[: len(GC_MODE_3)] = GC_MODE_3
        s.crtc[: len(CRTC_MODE_3)] = CRTC_MODE_3
        s.atc[: len(ATC_MODE_3)] = ATC_MODE_3
        s.dac[:] = _ega_palette()
        for window, direct in ((self._text_window, s.direct_text), (self._graphics_window, s.direct_graphics)):
            if window is not None and direct:
                window[:] = bytes(window.nbytes)
        self._remap()
        self._retime()

    def save(self) -> dict[str, object]:
        self.collect()  # what the guest wrote into a window that is plain memory is part of the state
        return super().save()

    def restored(self) -> None:
        self._derive()
        self._retime()
        if self._set_direct is not None:
            self._set_direct(self.state.direct_text)
        if self._set_direct_a000 is not None:
            self._set_direct_a000(self.state.direct_graphics)
        self._bank = None
        self._show_bank()

    def check(self, registers: dict[str, int], state: VgaState) -> None:
        if (state.direct_text and not self._text_window) or (state.direct_graphics and not self._graphics_window):
            raise ValueError("a direct window that this machine does not have")
        if state.direct_text and state.direct_graphics:
            raise ValueError("two direct windows at once")
        if state.vbe[VBE_ENABLE] & VBE_ON and (self.frame_buffer is None or self._fitted(list(state.vbe)) != state.vbe):
            raise ValueError("a picture that the frame buffer does not hold")

    # Memory layout

    def _derive(self) -> None:
        """What every memory access needs, worked out once for each change of a register."""
        s = self.state
        gc, seq = s.gc, s.seq
        self._base, self._size = WINDOWS[gc[6] >> 2 & 3]
        if not s.misc & 0x02:
            self._size = 0
        self._chain4 = bool(seq[4] & 0x08)
        self._odd_even_write = not seq[4] & 0x04
        self._odd_even_read = bool(gc[5] & 0x10)
        self._odd_even_address = bool(gc[6] & 0x02)
        self._mask = seq[2] & 0x0F
        self._plain = gc[5] & 3 == 0 and gc[1] & 0x0F == 0 and gc[3] & 0x1F == 0 and gc[8] == 0xFF
        self._banked = bool(s.vbe[VBE_ENABLE] & VBE_ON) and s.vbe[VBE_BPP] != 4

    def _remap(self) -> None:
        """A register that decides the memory layout may have changed."""
        self._derive()
        s = self.state
        usual = self._plain and not s.gc[5] & 0x08 and self._size > 0
        text = (
            usual
            and self._base == 0x18000
            and not self._chain4
            and self._odd_even_write
            and self._odd_even_read
            and self._odd_even_address
            and self._mask == 3
            and not s.gc[4] & 2
        )
        graphics = usual and self._base == 0 and self._size == GRAPHICS_WINDOW and self._chain4 and self._mask == 15
        graphics = graphics and not self._banked
        text = text and self._text_window is not None
        graphics = graphics and self._graphics_window is not None
        if self._bank is not None and (graphics or not self._banked):
            self._show_bank()
        if s.direct_text and not text:
            self._collect_text()
            s.direct_text = False
            if self._set_direct is not None:
                self._set_direct(False)
        if s.direct_graphics and not graphics:
            self._collect_graphics()
            s.direct_graphics = False
            if self._set_direct_a000 is not None:
                self._set_direct_a000(False)
        if text and not s.direct_text and self._text_window is not None:
            self._text_window[0::2] = s.vram[0 : 4 * TEXT_WINDOW : 8]
            self._text_window[1::2] = s.vram[1 : 4 * TEXT_WINDOW : 8]
            s.direct_text = True
            if self._set_direct is not None:
                self._set_direct(True)
        if graphics and not s.direct_graphics and self._graphics_window is not None:
            for plane in range(4):
                self._graphics_window[plane::4] = s.vram[plane::16]
            s.direct_graphics = True
            if self._set_direct_a000 is not None:
                self._set_direct_a000(True)
        self._show_bank()

    def _show_bank(self) -> None:
        """Have the board put a bank at A0000h, or take it away."""
        bank = self._banked and self._base == 0 and self._size >= BANK
        wanted = self.state.vbe[VBE_BANK] * BANK if bank else None
        if wanted != self._bank and self._set_bank is not None:
            self._bank = wanted
            self._set_bank(wanted)

    def _collect_text(self) -> None:
        """Bring planes 0 and 1 up to date: byte A of the window is byte A & ~1 of plane A & 1."""
        if self._text_window is not None:
            vram, window = self.state.vram, bytes(self._text_window)
            vram[0 : 4 * TEXT_WINDOW : 8] = window[0::2]
            vram[1 : 4 * TEXT_WINDOW : 8] = window[1::2]

    def _collect_graphics(self) -> None:
        """Bring all planes up to date: byte A of the window is byte A & ~3 of plane A & 3."""
        if self._graphics_window is not None:
            for plane in range(4):
                self.state.vram[plane::16] = bytes(self._graphics_window[plane::4])

    def collect(self) -> None:
        """Bring the planes up to date, for somebody who looks at them."""
        if self.state.direct_text:
            self._collect_text()
        elif self.state.direct_graphics:
            self._collect_graphics()

    # Memory accesses

    def read_memory(self, offset: int, width: int) -> int:
        """Read `width` bytes at `offset` from A0000h; all ones outside the selected window."""
        if width == 1:
            return self._load(offset)
        value = 0
        for i in range(width):
            value |= self._load(offset + i) << (8 * i)
        return value

    def write_memory(self, offset: int, width: int, value: int) -> None:
        """Write `width` bytes at `offset` from A0000h; dropped outside the selected window."""
        if width == 1:
            self._store(offset, value)
            return
        for i in range(width):
            self._store(offset + i, value >> (8 * i) & 0xFF)

    def _load(self, offset: int) -> int:
        at = offset - self._base
        if not 0 <= at < self._size:
            return 0xFF
        s = self.state
        at &= 0xFFFF
        if s.direct_text and self._text_window is not None:
            return self._text_window[at]
        if s.direct_graphics and self._graphics_window is not None:
            return self._graphics_window[at]
        if self._banked and self.frame_buffer is not None:
            return self.frame_buffer[s.vbe[VBE_BANK] * BANK + at]
        plane = s.gc[4] & 3
        if self._chain4:
            plane = at & 3
            at &= 0xFFFC
        elif self._odd_even_read:
            plane = plane & 2 | at & 1
            if self._odd_even_address:
                at &= 0xFFFE
        at *= 4
        latch = int.from_bytes(s.vram[at : at + 4], "little")
        s.latch = latch
        if not s.gc[5] & 0x08:
            return latch >> (8 * plane) & 0xFF
        # Read mode 1: ones where all the planes that count have the colour to compare with.
        differ = (latch ^ EXPAND[s.gc[2] & 15]) & EXPAND[s.gc[7] & 15]
        differ |= differ >> 16
        return ~(differ | differ >> 8) & 0xFF

    def _store(self, offset: int, value: int) -> None:
        at = offset - self._base
        if not 0 <= at < self._size:
            return
        s = self.state
        at &= 0xFFFF
        if s.direct_text and self._text_window is not None:
            self._text_window[at] = value
            return
        if s.direct_graphics and self._graphics_window is not None:
            self._graphics_window[at] = value
            return
        if self._banked and self.frame_buffer is not None:
            self.frame_buffer[s.vbe[VBE_BANK] * BANK + at] = value
            return
        mask = self._mask
        if self._chain4:
            mask &= 1 << (at & 3)
            at &= 0xFFFC
        elif self._odd_even_write:
            mask &= 0x0A if at & 1 else 0x05
            if self._odd_even_address:
                at &= 0xFFFE
        at *= 4
        if self._plain:
            # Write mode 0 with nothing in the way.
            vram = s.vram
            if mask & 1:
                vram[at] = value
            if mask & 2:
                vram[at + 1] = value
            if mask & 4:
                vram[at + 2] = value
            if mask & 8:
                vram[at + 3] = value
            return
        gc = s.gc
        mode = gc[5] & 3
        latch = s.latch
        if mode == 1:
            data = latch
        else:
            bits = gc[8]
            if mode == 2:
                data = EXPAND[value & 15]
            else:
                turn = gc[3] & 7
                value = (value >> turn | value << (8 - turn)) & 0xFF
                if mode == 3:
                    bits &= value
                    data = EXPAND[gc[0] & 15]
                else:
                    fixed = EXPAND[gc[1] & 15]
                    data = value * 0x01010101 & ~fixed | EXPAND[gc[0] & 15] & fixed
            operation = gc[3] >> 3 & 3
            if operation == 1:
                data &= latch
            elif operation == 2:
                data |= latch
            elif operation == 3:
                data ^= latch
            bits *= 0x01010101
            data = data & bits | latch & ~bits
        planes = EXPAND[mask]
        old = int.from_bytes(s.vram[at : at + 4], "little")
        s.vram[at : at + 4] = (old & ~planes | data & planes).to_bytes(4, "little")

    # Ports

    def read(self, offset: int, width: int) -> int:
        """Read ports from 3B0h."""
        return self.regs.read(self, offset, width)

    def write(self, offset: int, width: int, value: int) -> None:
        """Write ports from 3B0h."""
        self.regs.write(self, offset, width, value)

    # The display interface

    def read_vbe(self, offset: int, width: int) -> int:
        """Ports from 1CEh: the index, and the data at 1CFh (16 bits, perhaps as two bytes) or 1D0h."""
        if self.frame_buffer is None or offset > 2:
            return (1 << (8 * width)) - 1
        if offset == 0:
            return self.state.vbe_index if width == 2 else self.state.vbe_index & 0xFF
        value = self.get_vbe(self.state.vbe_index)
        if width == 2:
            return value
        return value & 0xFF if offset == 1 else value >> 8

    def write_vbe(self, offset: int, width: int, value: int) -> None:
        """The same ports."""
        s = self.state
        if self.frame_buffer is None or offset > 2:
            return
        if offset == 0:
            s.vbe_index = value
        elif width == 2:
            self.set_vbe(s.vbe_index, value)
        elif offset == 1:
            s.vbe_low = value
        else:
            self.set_vbe(s.vbe_index, value << 8 | s.vbe_low)

    def get_vbe(self, index: int) -> int:
        """A register of the display interface; 0 for one that there is not."""
        s = self.state
        if self.frame_buffer is None or index > VBE_MEMORY:
            return 0
        if index == VBE_MEMORY:
            return self.frame_buffer.nbytes // BANK
        if s.vbe[VBE_ENABLE] & VBE_CAPABILITIES and index in (VBE_XRES, VBE_YRES, VBE_BPP):
            return (VBE_WIDEST, VBE_TALLEST, 32)[index - VBE_XRES]
        return s.vbe[index]

    def set_vbe(self, index: int, value: int) -> None:
        """Write a register of the display interface. While the picture is on, what does not fit is bent."""
        s = self.state
        if self.frame_buffer is None or index >= VBE_MEMORY:
            return
        vbe = s.vbe
        if index == VBE_ID:
            if VBE_FIRST_ID <= value <= VBE_LAST_ID:
                vbe[VBE_ID] = value
            return
        if index == VBE_BANK:
            banks = self.frame_buffer.nbytes // BANK
            vbe[VBE_BANK] = (value & 0x3FFF) % banks
            self._show_bank()
            return
        if index == VBE_ENABLE:
            self._enable_vbe(value)
            return
        vbe[index] = value
        if vbe[VBE_ENABLE] & VBE_ON:
            s.vbe = self._fitted(list(vbe))
            self._remap()

    def _enable_vbe(self, value: int) -> None:
        s = self.state
        before, s.vbe[VBE_ENABLE] = s.vbe[VBE_ENABLE], value & 0xEF
        if value & VBE_ON and not before & VBE_ON:
            s.vbe[VBE_VIRTUAL_WIDTH] = s.vbe[VBE_X] = s.vbe[VBE_Y] = 0
            s.vbe = self._fitted(list(s.vbe))
            _, height, depth, pitch, _ = self.picture()
            self._follow_vbe(depth)
            if not value & VBE_KEEP and self.frame_buffer is not None:
                size = min(height * pitch, self.frame_buffer.nbytes)
                self.frame_buffer[:size] = bytes(size)
                if depth == 4:
                    s.vram[:] = bytes(len(s.vram))
        elif not value & VBE_ON:
            s.vbe[VBE_BANK] = 0
        self._remap()

    def _fitted(self, vbe: list[int]) -> list[int]:
        """Registers bent until the picture fits into the frame buffer."""
        size = self.frame_buffer.nbytes if self.frame_buffer is not None else 0
        if vbe[VBE_BPP] not in VBE_DEPTHS:
            vbe[VBE_BPP] = 8
        depth = vbe[VBE_BPP]
        vbe[VBE_XRES] = min(max(vbe[VBE_XRES] & ~7, 8), VBE_WIDEST)
        vbe[VBE_VIRTUAL_WIDTH] = min(max(vbe[VBE_VIRTUAL_WIDTH] & ~7, vbe[VBE_XRES]), VBE_WIDEST)
        rows = size // _pitch(vbe[VBE_VIRTUAL_WIDTH], depth)
        vbe[VBE_YRES] = min(max(vbe[VBE_YRES], 1), VBE_TALLEST, max(rows, 1))
        vbe[VBE_VIRTUAL_HEIGHT] = min(max(rows, 1), 0xFFFF)
        vbe[VBE_X] = min(vbe[VBE_X], vbe[VBE_VIRTUAL_WIDTH] - vbe[VBE_XRES])
        vbe[VBE_Y] = min(vbe[VBE_Y], vbe[VBE_VIRTUAL_HEIGHT] - vbe[VBE_YRES])
        return vbe

    def _follow_vbe(self, depth: int) -> None:
        """The VGA's own registers as they are for such a picture, for programs that look at them."""
        s = self.state
        width, height, _, pitch, _ = self.picture()
        lines = height - 1
        s.gc[6] = s.gc[6] & ~0x0C | 0x05
        s.gc[5] = s.gc[5] & ~0x60 | (0 if depth == 4 else 0x40)
        s.seq[4] = s.seq[4] & ~0x08 | 0x06 | (0 if depth == 4 else 0x08)
        s.seq[2] |= 0x0F
        s.crtc[0x17] |= 0x43
        s.crtc[0x14] &= ~0x40
        s.crtc[0x13] = pitch >> 3 & 0xFF
        s.crtc[1] = (width >> 3) - 1 & 0xFF
        s.crtc[0x12] = lines & 0xFF
        s.crtc[7] = s.crtc[7] & ~0x42 | lines >> 7 & 0x02 | lines >> 3 & 0x40 | 0x10
        s.crtc[0x18] = 0xFF
        s.crtc[9] = s.crtc[9] & ~0x9F | 0x40
        s.crtc[0x0C] = s.crtc[0x0D] = 0
        self._retime()

    def picture(self) -> tuple[int, int, int, int, int]:
        """(width, height, bits a pixel, bytes from line to line, first byte) of the picture in the frame buffer."""
        vbe = self.state.vbe
        depth = vbe[VBE_BPP]
        pitch = _pitch(vbe[VBE_VIRTUAL_WIDTH], depth)
        start = vbe[VBE_Y] * pitch + _pitch(vbe[VBE_X], depth)
        return vbe[VBE_XRES], vbe[VBE_YRES], depth, pitch, start

    @property
    def in_frame_buffer(self) -> bool:
        """The display interface is on: `picture` says what is shown."""
        return bool(self.state.vbe[VBE_ENABLE] & VBE_ON)

    @property
    def blank(self) -> bool:
        """The display is switched off."""
        return not self.state.atc_index & 0x20 or bool(self.state.seq[1] & 0x20)

    def _colour(self) -> bool:
        """Whether the CRT controller answers at 3D4h, rather than at 3B4h."""
        return bool(self.state.misc & 1)

    @regs.on_read(0x10, "ATTRIBUTE ADDRESS")
    def _read_atc_index(self) -> int:
        return self.state.atc_index

    @regs.on_write(0x10, "ATTRIBUTE ADDRESS AND DATA")
    def _write_atc(self, value: int) -> None:
        s = self.state
        if not s.atc_data_next:
            s.atc_index = value & 0x3F
        else:
            index = s.atc_index & 0x1F
            if index < 0x10:
                if not s.atc_index & 0x20:  # the palette belongs to the display while it is on
                    s.atc[index] = value & 0x3F
            elif index <= 0x14:
                s.atc[index] = value & (0xEF, 0xFF, 0x3F, 0x0F, 0x0F)[index - 0x10]
        s.atc_data_next = not s.atc_data_next

    @regs.on_read(0x11, "ATTRIBUTE DATA")
    def _read_atc(self) -> int:
        return self.state.atc[self.state.atc_index & 0x1F]

    @regs.on_write(0x11, "ATTRIBUTE DATA")
    def _write_atc_data(self, value: int) -> None:
        pass  # read-only

    @regs.on_read(0x12, "INPUT STATUS 0")
    def _read_status_0(self) -> int:
        return 0x10

    @regs.on_write(0x12, "MISCELLANEOUS OUTPUT")
    def _write_misc(self, value: int) -> None:
        self.state.misc = value & 0xEF
        self._remap()
        self._retime()

    @regs.on_read(0x13, "VIDEO SUBSYSTEM ENABLE")
    def _read_enable(self) -> int:
        return self.state.enable

    @regs.on_write(0x13, "VIDEO SUBSYSTEM ENABLE")
    def _write_enable(self, value: int) -> None:
        self.state.enable = value & 1

    @regs.on_read(0x14, "SEQUENCER ADDRESS")
    def _read_seq_index(self) -> int:
        return self.state.seq_index

    @regs.on_write(0x14, "SEQUENCER ADDRESS")
    def _write_seq_index(self, value: int) -> None:
        self.state.seq_index = value & 7

    @regs.on_read(0x15, "SEQUENCER DATA")
    def _read_seq(self) -> int:
        return self.state.seq[self.state.seq_index]

    @regs.on_write(0x15, "SEQUENCER DATA")
    def _write_seq(self, value: int) -> None:
        s = self.state
        index = s.seq_index
        if index <= 4:
            s.seq[index] = value & (0x03, 0x3D, 0x0F, 0x3F, 0x0E)[index]
            if index == 1:
                self._retime()
            elif index in (2, 4):
                self._remap()

    @regs.on_read(0x16, "PEL MASK")
    def _read_pel_mask(self) -> int:
        return self.state.pel_mask

    @regs.on_write(0x16, "PEL MASK")
    def _write_pel_mask(self, value: int) -> None:
        self.state.pel_mask = value

    @regs.on_read(0x17, "DAC STATE")
    def _read_dac_state(self) -> int:
        return 3 if self.state.dac_reading else 0

    @regs.on_write(0x17, "DAC READ ADDRESS")
    def _write_dac_read(self, value: int) -> None:
        s = self.state
        s.dac_index, s.dac_part, s.dac_reading = value, 0, True

    @regs.on_read(0x18, "DAC ADDRESS")
    def _read_dac_index(self) -> int:
        return self.state.dac_index

    @regs.on_write(0x18, "DAC WRITE ADDRESS")
    def _write_dac_index(self, value: int) -> None:
        s = self.state
        s.dac_index, s.dac_part, s.dac_reading = value, 0, False

    @regs.on_read(0x19, "DAC DATA")
    def _read_dac(self) -> int:
        s = self.state
        value = s.dac[3 * s.dac_index + s.dac_part]
        self._next_dac()
        return value

    @regs.on_write(0x19, "DAC DATA")
    def _write_dac(self, value: int) -> None:
        """A colour changes when its third part arrives."""
        s = self.state
        if not self.wide_dac:
            value &= 0x3F
        if s.dac_part < 2:
            s.dac_held[s.dac_part] = value
        else:
            s.dac[3 * s.dac_index : 3 * s.dac_index + 3] = bytes((*s.dac_held, value))
        self._next_dac()

    @property
    def wide_dac(self) -> bool:
        """Colours have 8 bits for each part, not 6."""
        return bool(self.state.vbe[VBE_ENABLE] & VBE_DAC8)

    def _next_dac(self) -> None:
        s = self.state
        s.dac_part += 1
        if s.dac_part == 3:
            s.dac_part = 0
            s.dac_index = s.dac_index + 1 & 0xFF

    @regs.on_read(0x1A, "FEATURE CONTROL")
    def _read_feature(self) -> int:
        return self.state.feature

    @regs.on_write(0x1A, "(3CAh)")
    def _write_3ca(self, value: int) -> None:
        pass  # read-only here

    @regs.on_read(0x1C, "MISCELLANEOUS OUTPUT")
    def _read_misc(self) -> int:
        return self.state.misc

    @regs.on_write(0x1C, "(3CCh)")
    def _write_3cc(self, value: int) -> None:
        pass  # read-only here

    @regs.on_read(0x1E, "GRAPHICS ADDRESS")
    def _read_gc_index(self) -> int:
        return self.state.gc_index

    @regs.on_write(0x1E, "GRAPHICS ADDRESS")
    def _write_gc_index(self, value: int) -> None:
        self.state.gc_index = value & 0x0F

    @regs.on_read(0x1F, "GRAPHICS DATA")
    def _read_gc(self) -> int:
        return self.state.gc[self.state.gc_index]

    @regs.on_write(0x1F, "GRAPHICS DATA")
    def _write_gc(self, value: int) -> None:
        s = self.state
        index = s.gc_index
        if index <= 8:
            s.gc[index] = value & (0x0F, 0x0F, 0x0F, 0x1F, 0x03, 0x7B, 0x0F, 0x0F, 0xFF)[index]
            self._remap()

    def _crtc_index(self) -> int:
        return self.state.crtc_index

    def _set_crtc_index(self, value: int) -> None:
        self.state.crtc_index = value & 0x1F

    def _crtc(self) -> int:
        return self.state.crtc[self.state.crtc_index]

    def _set_crtc(self, value: int) -> None:
        s = self.state
        index = s.crtc_index
        if index > 0x18:
            return
        if index <= 7 and s.crtc[0x11] & 0x80:  # locked, all but bit 8 of the line compare
            if index == 7:
                s.crtc[7] = s.crtc[7] & ~0x10 | value & 0x10
            return
        s.crtc[index] = value
        if index not in (0x0C, 0x0D, 0x0E, 0x0F):
            self._retime()

    @regs.on_read(0x24, "CRTC ADDRESS")
    def _read_crtc_index_colour(self) -> int:
        return self._crtc_index() if self._colour() else 0xFF

    @regs.on_write(0x24, "CRTC ADDRESS")
    def _write_crtc_index_colour(self, value: int) -> None:
        if self._colour():
            self._set_crtc_index(value)

    @regs.on_read(0x25, "CRTC DATA")
    def _read_crtc_colour(self) -> int:
        return self._crtc() if self._colour() else 0xFF

    @regs.on_write(0x25, "CRTC DATA")
    def _write_crtc_colour(self, value: int) -> None:
        if self._colour():
            self._set_crtc(value)

    @regs.on_read(0x2A, "INPUT STATUS 1")
    def _read_status_1_colour(self) -> int:
        return self._status_1() if self._colour() else 0xFF

    @regs.on_write(0x2A, "FEATURE CONTROL")
    def _write_feature_colour(self, value: int) -> None:
        if self._colour():
            self.state.feature = value & 0x03

    @regs.on_read(0x04, "CRTC ADDRESS (mono)")
    def _read_crtc_index_mono(self) -> int:
        return 0xFF if self._colour() else self._crtc_index()

    @regs.on_write(0x04, "CRTC ADDRESS (mono)")
    def _write_crtc_index_mono(self, value: int) -> None:
        if not self._colour():
            self._set_crtc_index(value)

    @regs.on_read(0x05, "CRTC DATA (mono)")
    def _read_crtc_mono(self) -> int:
        return 0xFF if self._colour() else self._crtc()

    @regs.on_write(0x05, "CRTC DATA (mono)")
    def _write_crtc_mono(self, value: int) -> None:
        if not self._colour():
            self._set_crtc(value)

    @regs.on_read(0x0A, "INPUT STATUS 1 (mono)")
    def _read_status_1_mono(self) -> int:
        return 0xFF if self._colour() else self._status_1()

    @regs.on_write(0x0A, "FEATURE CONTROL (mono)")
    def _write_feature_mono(self, value: int) -> None:
        if not self._colour():
            self.state.feature = value & 0x03

    # The beam

    def _retime(self) -> None:
        """Frame times in ns from the CRT controller. Wild values are bent so that every frame has a retrace."""
        s = self.state
        crtc = s.crtc
        clock = 28_322_000 if s.misc >> 2 & 3 == 1 else 25_175_000
        dots = (8 if s.seq[1] & 1 else 9) * (2 if s.seq[1] & 8 else 1)
        chars = crtc[0] + 5
        shown = min(crtc[1] + 1, chars - 1)
        lines = max(4, (crtc[6] | (crtc[7] & 0x01) << 8 | (crtc[7] & 0x20) << 4) + 2)
        retrace = crtc[0x10] | (crtc[7] & 0x04) << 6 | (crtc[7] & 0x80) << 2
        self._line_ns = chars * dots * 1_000_000_000 // clock
        self._line_shown_ns = shown * dots * 1_000_000_000 // clock
        self._frame_ns = lines * self._line_ns
        self._lines_shown = min(self.display_end(), lines - 1)
        self._retrace_start = min(max(retrace, 1), lines - 2)
        length = (crtc[0x11] - self._retrace_start & 15) or 16
        self._retrace_end = self._retrace_start + length

    def _status_1(self) -> int:
        """Bit 0: nothing is displayed now; bit 3: vertical retrace. Reading it makes 3C0h expect an index."""
        self.state.atc_data_next = False
        line, within = divmod(self.clock.now() % self._frame_ns, self._line_ns)
        value = 0
        if line >= self._lines_shown or within >= self._line_shown_ns:
            value |= 0x01
        if self._retrace_start <= line < self._retrace_end:
            value |= 0x08
        return value

    # What is on the screen

    def display_end(self) -> int:
        """Lines on the screen."""
        crtc = self.state.crtc
        return (crtc[0x12] | (crtc[7] & 0x02) << 7 | (crtc[7] & 0x40) << 3) + 1

    @property
    def graphics(self) -> bool:
        """A graphics mode, not text."""
        return bool(self.state.gc[6] & 1)

    def cell_height(self) -> int:
        """Lines of a row of characters."""
        return (self.state.crtc[9] & 0x1F) + 1

    def address(self, counter: N, scan: N | int = 0) -> N:
        """The byte in a plane that the CRT controller fetches for memory counter `counter` in row scan `scan`.

        Works on one as well as on arrays of them.
        """
        crtc = self.state.crtc
        if crtc[0x14] & 0x40:
            at = counter << 2 | counter >> 14 & 3
        elif crtc[0x17] & 0x40:
            at = counter
        else:
            at = counter << 1 | counter >> (15 if crtc[0x17] & 0x20 else 13) & 1
        if not crtc[0x17] & 0x01:
            at = at & ~0x2000 | (scan & 1) << 13
        if not crtc[0x17] & 0x02:
            at = at & ~0x4000 | (scan & 2) << 13
        return at & 0xFFFF  # type: ignore[no-any-return]

    def start(self) -> int:
        """The memory counter of the first row."""
        return self.state.crtc[0x0C] << 8 | self.state.crtc[0x0D]

    def _text_shape(self) -> tuple[int, int]:
        """(columns, rows)"""
        crtc = self.state.crtc
        lines = self.display_end() >> (crtc[9] >> 7)
        return crtc[1] + 1, max(1, lines // self.cell_height())

    def _text_cells(self) -> list[list[int]]:
        """For each row, the plane offsets of its character cells: what the CRT controller says, but for its cursor."""
        crtc = self.state.crtc
        key = bytes((*crtc[:0x0A], *crtc[0x0C:0x0E], *crtc[0x10:]))
        if key != self._cells_of:
            self._cells, self._cells_of = self._find_cells(), key
        return self._cells

    def _find_cells(self) -> list[list[int]]:
        columns, rows = self._text_shape()
        pitch = self.state.crtc[0x13] * 2
        split = self.line_compare() // self.cell_height() + 1
        base = self.start()
        cells = []
        for row in range(rows):
            first = base + row * pitch if row < split else (row - split) * pitch
            cells.append([self.address(first + column & 0xFFFF) for column in range(columns)])
        return cells

    def line_compare(self) -> int:
        """The last line of the upper part of a split screen."""
        crtc = self.state.crtc
        return crtc[0x18] | (crtc[7] & 0x10) << 4 | (crtc[9] & 0x40) << 3

    def text_screen(self) -> list[str]:
        """The rows of the text screen, each of full width; empty in graphics modes."""
        if self.graphics:
            return []
        self.collect()
        vram = self.state.vram
        return ["".join([CP437[vram[4 * at]] for at in row]) for row in self._text_cells()]

    def text_cells(self) -> list[bytes]:
        """The rows of the text screen as (character code, attribute) bytes; empty in graphics modes."""
        if self.graphics:
            return []
        self.collect()
        vram = self.state.vram
        return [b"".join([vram[4 * at : 4 * at + 2] for at in row]) for row in self._text_cells()]

    def cursor(self) -> tuple[int, int] | None:
        """(column, row) of the text cursor, None if it is off or not on the screen."""
        crtc = self.state.crtc
        if self.graphics or crtc[0x0A] & 0x20 or crtc[0x0A] & 0x1F > crtc[0x0B] & 0x1F:
            return None
        columns, rows = self._text_shape()
        pitch = self.state.crtc[0x13] * 2
        away = (crtc[0x0E] << 8 | crtc[0x0F]) - self.start() & 0xFFFF
        row, column = divmod(away, pitch) if pitch else (0, away)
        return (column, row) if row < rows and column < columns else None
