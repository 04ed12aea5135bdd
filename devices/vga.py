"""The VGA: registers, 256 KiB in four planes, text screen and picture.

IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem" (1990), and FreeVGA for what programs rely on.
Ports 3B0h-3DFh go to `read`/`write` (offset from 3B0h), memory A0000h-BFFFFh to `read_memory`/`write_memory` (offset
from A0000h), 1CEh-1CFh to `read_vbe`/`write_vbe` (no Bochs VBE extension: all ones).

Two layouts are so common and so plain that the processor may have them as memory: colour text at B8000h, and chain-4
(mode 13h) at A0000h. For each the board gives a buffer and a callback. While a layout is direct, the buffer holds what
the guest sees and the planes are stale; on leaving it the buffer is copied into the planes, on entering it out of them.

After reset the registers are those of mode 3 (80 x 25 colour text), so that a screen exists before any video BIOS ran.
The font planes are empty until firmware or a guest loads them.
"""

# ruff: noqa: RUF009

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from devices.contracts import Clock
from devices.device import Device, device
from devices.registers import Bank
from devices.state import flag, octets, ranged, uint, uints

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
# Bit 7 of a byte becomes byte 0 of eight, bit 0 byte 7: one pixel a byte.
SPREAD = tuple(sum((bits >> (7 - x) & 1) << (8 * x) for x in range(8)) for bits in range(256))


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
    dac_held: list[int] = uints(2, 6)
    latch: int = uint(32)
    """One byte of each plane, plane 0 lowest."""
    vram: bytearray = octets(4 * PLANE, 4 * PLANE)
    """Byte `a` of plane `p` is at 4 * a + p."""
    direct_text: bool = flag()
    direct_graphics: bool = flag()


@device("vga", "VGA with 256 KiB")
class Vga(Device):
    """`text_window` is the 32 KiB of guest RAM at B8000h, `graphics_window` the 64 KiB at A0000h, both writable.

    `set_direct(on)` and `set_direct_a000(on)` are called whenever a window becomes, or ceases to be, plain memory for
    the processor; the first call of `set_direct(True)` comes from this constructor. A window that is None is never
    direct. Raises ValueError for a window of the wrong size.
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
    ) -> None:
        for window, size in ((text_window, TEXT_WINDOW), (graphics_window, GRAPHICS_WINDOW)):
            if window is not None and (window.nbytes != size or window.itemsize != 1 or window.readonly):
                raise ValueError(f"a VGA window must be {size} writable bytes")
        self.clock = clock
        self._text_window = text_window
        self._graphics_window = graphics_window
        self._set_direct = set_direct
        self._set_direct_a000 = set_direct_a000
        self._glyphs: dict[tuple[int, int, int, int], bytes] = {}
        super().__init__()
        self.reset()

    def reset(self) -> None:
        """Mode 3, a black screen and no font."""
        old: VgaState = self.state
        self.clear()
        s = self.state
        s.direct_text, s.direct_graphics = old.direct_text, old.direct_graphics
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
        self._collect()  # what the guest wrote into a window that is plain memory is part of the state
        return super().save()

    def restored(self) -> None:
        self._derive()
        self._retime()
        if self._set_direct is not None:
            self._set_direct(self.state.direct_text)
        if self._set_direct_a000 is not None:
            self._set_direct_a000(self.state.direct_graphics)

    def check(self, registers: dict[str, int], state: VgaState) -> None:
        if (state.direct_text and not self._text_window) or (state.direct_graphics and not self._graphics_window):
            raise ValueError("a direct window that this machine does not have")
        if state.direct_text and state.direct_graphics:
            raise ValueError("two direct windows at once")

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
        text = text and self._text_window is not None
        graphics = graphics and self._graphics_window is not None
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

    def _collect_text(self) -> None:
        """Bring planes 0 and 1 up to date: byte A of the window is byte A & ~1 of plane A & 1."""
        if self._text_window is not None:
            vram = self.state.vram
            vram[0 : 4 * TEXT_WINDOW : 8] = bytes(self._text_window[0::2])
            vram[1 : 4 * TEXT_WINDOW : 8] = bytes(self._text_window[1::2])

    def _collect_graphics(self) -> None:
        """Bring all planes up to date: byte A of the window is byte A & ~3 of plane A & 3."""
        if self._graphics_window is not None:
            for plane in range(4):
                self.state.vram[plane::16] = bytes(self._graphics_window[plane::4])

    def _collect(self) -> None:
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

    def read_vbe(self, offset: int, width: int) -> int:
        """The Bochs VBE ports of a display without that extension."""
        return (1 << (8 * width)) - 1

    def write_vbe(self, offset: int, width: int, value: int) -> None:
        """Dropped."""

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
        if s.dac_part < 2:
            s.dac_held[s.dac_part] = value & 0x3F
        else:
            s.dac[3 * s.dac_index : 3 * s.dac_index + 3] = bytes((*s.dac_held, value & 0x3F))
        self._next_dac()

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
        self._lines_shown = min(self._display_end(), lines - 1)
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

    def _display_end(self) -> int:
        crtc = self.state.crtc
        return (crtc[0x12] | (crtc[7] & 0x02) << 7 | (crtc[7] & 0x40) << 3) + 1

    def _is_graphics(self) -> bool:
        return bool(self.state.gc[6] & 1)

    def _cell_height(self) -> int:
        return (self.state.crtc[9] & 0x1F) + 1

    def _address(self, counter: int, scan: int = 0) -> int:
        """The byte in a plane that the CRT controller fetches for memory counter `counter` in row scan `scan`."""
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
        return at & 0xFFFF

    def _start(self) -> int:
        return self.state.crtc[0x0C] << 8 | self.state.crtc[0x0D]

    def _text_shape(self) -> tuple[int, int]:
        """(columns, rows)"""
        crtc = self.state.crtc
        lines = self._display_end() >> (crtc[9] >> 7)
        return crtc[1] + 1, max(1, lines // self._cell_height())

    def _text_cells(self) -> list[list[int]]:
        """For each row, the plane offsets of its character cells."""
        columns, rows = self._text_shape()
        pitch = self.state.crtc[0x13] * 2
        split = self._line_compare() // self._cell_height() + 1
        base = self._start()
        cells = []
        for row in range(rows):
            first = base + row * pitch if row < split else (row - split) * pitch
            cells.append([self._address(first + column & 0xFFFF) for column in range(columns)])
        return cells

    def _line_compare(self) -> int:
        crtc = self.state.crtc
        return crtc[0x18] | (crtc[7] & 0x10) << 4 | (crtc[9] & 0x40) << 3

    def text_screen(self) -> list[str]:
        """The rows of the text screen, each of full width; empty in graphics modes."""
        if self._is_graphics():
            return []
        self._collect()
        vram = self.state.vram
        return ["".join([CP437[vram[4 * at]] for at in row]) for row in self._text_cells()]

    def cursor(self) -> tuple[int, int] | None:
        """(column, row) of the text cursor, None if it is off or not on the screen."""
        crtc = self.state.crtc
        if self._is_graphics() or crtc[0x0A] & 0x20 or crtc[0x0A] & 0x1F > crtc[0x0B] & 0x1F:
            return None
        columns, rows = self._text_shape()
        pitch = self.state.crtc[0x13] * 2
        away = (crtc[0x0E] << 8 | crtc[0x0F]) - self._start() & 0xFFFF
        row, column = divmod(away, pitch) if pitch else (0, away)
        return (column, row) if row < rows and column < columns else None

    def render(self) -> tuple[int, int, bytes]:
        """(width, height, RGB bytes row by row). Doubled lines and doubled dots are given once.

        Blinking characters and the cursor are shown lit.
        """
        self._collect()
        if not self._is_graphics():
            width, height, pixels = self._draw_text()
        elif self.state.gc[5] & 0x40:
            width, height, pixels = self._draw_256()
        else:
            width, height, pixels = self._draw_16()
        s = self.state
        if not s.atc_index & 0x20 or s.seq[1] & 0x20:
            return width, height, bytes(3 * width * height)
        out = bytearray(3 * len(pixels))
        for channel in range(3):
            levels = [s.dac[3 * (n & s.pel_mask) + channel] & 0x3F for n in range(256)]
            out[channel::3] = pixels.translate(bytes(level << 2 | level >> 4 for level in levels))
        return width, height, bytes(out)

    def _colours(self) -> list[int]:
        """The DAC index of each of the 16 attribute colours."""
        atc = self.state.atc
        high, middle = (atc[0x14] & 0x0C) << 4, (atc[0x14] & 3) << 4
        return [high | (atc[n] & 0x0F | middle if atc[0x10] & 0x80 else atc[n] & 0x3F) for n in range(16)]

    def _draw_text(self) -> tuple[int, int, bytes]:
        s = self.state
        vram = s.vram
        colours = self._colours()
        enabled = s.atc[0x12] & 15
        dots = 8 if s.seq[1] & 1 else 9
        height = self._cell_height()
        blink = s.atc[0x10] & 0x08
        line_graphics = s.atc[0x10] & 0x04
        mono = s.atc[0x10] & 0x02
        underline = s.crtc[0x14] & 0x1F
        select = s.seq[3]
        # Character maps A (attribute bit 3 set) and B, each in 8 KiB steps of plane 2.
        fonts = tuple((m >> 2 & 1 | (m & 3) << 1) * 0x2000 for m in self._maps(select))
        cursor = self.cursor()
        first, last = s.crtc[0x0A] & 0x1F, s.crtc[0x0B] & 0x1F
        glyphs = self._glyphs
        if len(glyphs) > 20000:
            glyphs.clear()
        lines = []
        cells = self._text_cells()
        for y, row in enumerate(cells):
            looks = []
            for x, at in enumerate(row):
                code, attribute = vram[4 * at], vram[4 * at + 1]
                fore = attribute & 15
                back = attribute >> 4 & (7 if blink else 15)
                font = fonts[fore >> 3] + 32 * code
                wide = dots if dots == 8 or not (line_graphics and 0xC0 <= code <= 0xDF) else 10
                looks.append(
                    (
                        font,
                        colours[fore & enabled],
                        colours[back & enabled],
                        wide,
                        bool(mono) and attribute & 7 == 1,
                        (x, y) == cursor,
                    )
                )
            for scan in range(height):
                parts = []
                for font, fore, back, wide, under, here in looks:
                    bits = vram[4 * (font + (scan & 31) & 0xFFFF) + 2]
                    if (here and first <= scan <= last) or (under and scan == underline):
                        bits = 0xFF
                        if dots == 9:
                            wide = 10
                    key = (bits, fore, back, wide)
                    part = glyphs.get(key)
                    if part is None:
                        part = bytes(fore if bits >> (7 - i) & 1 else back for i in range(8))
                        if wide == 10:
                            part += part[7:]
                        elif wide == 9:
                            part += bytes((back,))
                        glyphs[key] = part
                    parts.append(part)
                lines.append(b"".join(parts))
        return dots * (s.crtc[1] + 1), height * len(cells), b"".join(lines)

    @staticmethod
    def _maps(select: int) -> tuple[int, int]:
        """The map numbers (bit 2 is the select register's high bit) for attribute bit 3 clear and set."""
        return select & 3 | (select >> 4 & 1) << 2, select >> 2 & 3 | (select >> 5 & 1) << 2

    def _scan_lines(self) -> list[tuple[int, int]]:
        """(memory counter of the first fetch, row scan) of each line that differs from the one above it."""
        crtc = self.state.crtc
        repeat = self._cell_height()
        lines = self._display_end() >> (crtc[9] >> 7)
        compare = self._line_compare() >> (crtc[9] >> 7)
        pitch = crtc[0x13] * 2
        step = 1 if crtc[0x17] & 3 != 3 else repeat
        result = []
        for y in range(0, max(lines, 1), step):
            if y <= compare:
                row, scan = divmod(y, repeat)
                result.append((self._start() + row * pitch & 0xFFFF, scan))
            else:
                row, scan = divmod(y - compare - 1, repeat)
                result.append((row * pitch & 0xFFFF, scan))
        return result

    def _draw_256(self) -> tuple[int, int, bytes]:
        vram = self.state.vram
        fetches = self.state.crtc[1] + 1
        lines = []
        for counter, scan in self._scan_lines():
            line = bytearray()
            for n in range(fetches):
                at = 4 * self._address(counter + n & 0xFFFF, scan)
                line += vram[at : at + 4]
            lines.append(bytes(line))
        return 4 * fetches, len(lines), b"".join(lines)

    def _draw_16(self) -> tuple[int, int, bytes]:
        s = self.state
        vram = s.vram
        fetches = s.crtc[1] + 1
        colours = self._colours()
        enabled = s.atc[0x12] & 15
        table = bytes(colours[n & 15 & enabled] for n in range(256))
        interleaved = s.gc[5] & 0x20
        lines = []
        for counter, scan in self._scan_lines():
            line = bytearray()
            for n in range(fetches):
                at = 4 * self._address(counter + n & 0xFFFF, scan)
                p0, p1, p2, p3 = vram[at : at + 4]
                if interleaved:
                    # Two bits a pixel: the left four from planes 0 and 2, the right four from planes 1 and 3.
                    for low, high in ((p0, p2), (p1, p3)):
                        line += bytes(low >> shift & 3 | (high >> shift & 3) << 2 for shift in (6, 4, 2, 0))
                else:
                    spread = SPREAD[p0] | SPREAD[p1] << 1 | SPREAD[p2] << 2 | SPREAD[p3] << 3
                    line += spread.to_bytes(8, "little")
            lines.append(line.translate(table))
        return 8 * fetches, len(lines), b"".join(lines)
