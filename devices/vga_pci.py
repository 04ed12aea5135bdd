"""The VGA as a PCI card, as QEMU's standard VGA: the frame buffer behind BAR 0, registers behind BAR 2, an option ROM.

`devices.vga` is the chip; this is its place on the bus. QEMU, docs/specs/standard-vga (1234:1111): BAR 2 has the EDID
at 0, ports 3C0h-3DFh at 400h, the display interface's registers at 500h and two of its own at 600h. EDID: VESA Enhanced
EDID Standard, release A revision 2 (version 1.4 structure); detailed timings by VESA's Coordinated Video Timings 1.1.
"""

from __future__ import annotations

from dataclasses import dataclass

from devices.device import device
from devices.pci import Bar, Moved
from devices.pci_card import CardState, PciCard, PciSlot
from devices.state import flag
from devices.vga import VBE_MEMORY, Vga

REGISTERS = 0x1000
EDID_ROOM, PORTS, INTERFACE, OWN = 0x100, 0x400, 0x500, 0x600
OWN_SIZE = 8
BIG, LITTLE = 0xBEBEBEBE, 0x1E1E1E1E


@dataclass
class VgaPciState(CardState):
    big_endian: bool = flag()
    """What a driver has asked of the frame buffer's byte order."""


@device("vga-pci", "standard VGA on PCI")
class VgaPci(PciCard):
    """`moved` is told where the frame buffer of `vga` is to be; `mode` is the size that the EDID prefers."""

    State = VgaPciState
    state: VgaPciState

    vendor, product, revision = 0x1234, 0x1111, 2
    class_code, pin = 0x030000, 0

    def __init__(self, *, slot: PciSlot, vga: Vga, moved: Moved, mode: tuple[int, int] | None = (1280, 800)) -> None:
        if vga.frame_buffer is None:
            raise ValueError("a VGA without a frame buffer is no PCI card")
        self.vga = vga
        self.edid = edid(*mode) if mode is not None else b""
        registers = slot.range(REGISTERS, self.read, self.write, name="vga registers")
        super().__init__(
            slot, (Bar(0, vga.frame_buffer.nbytes, moved, prefetchable=True), Bar(2, REGISTERS, registers))
        )

    def read(self, offset: int, width: int) -> int:
        """BAR 2."""
        if width == 4 and not OWN <= offset < OWN + OWN_SIZE:
            return self.read(offset, 2) | self.read(offset + 2, 2) << 16
        if offset < EDID_ROOM:
            return int.from_bytes(self.edid[offset : offset + width], "little")
        if PORTS <= offset < PORTS + 0x20:
            return self.vga.read(offset - PORTS + 0x10, width)
        if INTERFACE <= offset <= INTERFACE + 2 * VBE_MEMORY + 1:
            value = self.vga.get_vbe(offset - INTERFACE >> 1)
            return value if width == 2 else value >> 8 * (offset & 1) & 0xFF
        if offset == OWN:
            return OWN_SIZE
        if offset == OWN + 4:
            return (BIG if self.state.big_endian else LITTLE) & (1 << 8 * width) - 1
        return 0

    def write(self, offset: int, width: int, value: int) -> None:
        """BAR 2. The display interface takes whole registers only."""
        if PORTS <= offset < PORTS + 0x20 and width < 4:
            self.vga.write(offset - PORTS + 0x10, width, value)
        elif INTERFACE <= offset <= INTERFACE + 2 * VBE_MEMORY and width == 2:
            self.vga.set_vbe(offset - INTERFACE >> 1, value)
        elif offset == OWN + 4 and width == 4 and value in (BIG, LITTLE):
            self.state.big_endian = value == BIG
            self.vga.big_endian = self.state.big_endian

    def reset(self) -> None:
        super().reset()
        self.vga.big_endian = False

    def restored(self) -> None:
        super().restored()
        self.vga.big_endian = self.state.big_endian


def edid(width: int, height: int) -> bytes:
    """What a monitor says that likes this size best: 128 bytes. Raises ValueError for a size that has no timing."""
    if not (8 <= width <= 4088 and width % 8 == 0 and 1 <= height <= 4095):
        raise ValueError(f"a screen of {width} x {height}")
    block = bytearray(128)
    block[:8] = b"\x00\xff\xff\xff\xff\xff\xff\x00"
    block[8:10] = _letters("EMU").to_bytes(2, "big")
    block[10:12] = (0x1111).to_bytes(2, "little")
    block[16:20] = bytes((1, 35, 1, 4))  # week and year (from 1990) of manufacture, structure 1.4
    block[20:25] = bytes((0xA5, *(max(1, min(255, dots * 254 // 10000)) for dots in (width, height)), 120, 0x06))
    block[25:35] = bytes.fromhex("ee91a3544c99260f5054")  # the colours of sRGB
    block[35:38] = bytes((0x21, 0x08, 0x00))  # 640 x 480, 800 x 600, 1024 x 768 at 60 Hz
    standard = ((1920, 0xC0), (1680, 0x00), (1600, 0x40), (1440, 0x00), (1280, 0x80), (1280, 0xC0), (1280, 0x00))
    for n, (across, aspect) in enumerate(standard):
        block[38 + 2 * n : 40 + 2 * n] = bytes((across // 8 - 31, aspect))
    block[52:54] = b"\x01\x01"
    block[54:72] = _timing(width, height)
    block[72:90] = bytes((0, 0, 0, 0xFD, 0, 50, 125, 30, 160, 120, 0x01, 10, *b"      "))
    block[90:108] = bytes((0, 0, 0, 0xFC, 0, *b"Emu Monitor\n ".ljust(13)))
    block[108:126] = bytes((0, 0, 0, 0x10)).ljust(18, b"\0")
    block[127] = -sum(block) & 0xFF
    return bytes(block)


def _letters(name: str) -> int:
    """Three letters, five bits each."""
    value = 0
    for letter in name:
        value = value << 5 | ord(letter) - 64
    return value


def _timing(width: int, height: int) -> bytes:
    """A detailed timing of about 60 Hz, with reduced blanking."""
    h_blank, v_blank, h_front, h_sync, v_front, v_sync = 160, 40, 48, 32, 3, 6
    clock = (width + h_blank) * (height + v_blank) * 60 // 10000
    h_mm, v_mm = width * 254 // 1000, height * 254 // 1000
    return clock.to_bytes(2, "little") + bytes(
        (
            width & 0xFF, h_blank, width >> 8 << 4 | h_blank >> 8,
            height & 0xFF, v_blank, height >> 8 << 4 | v_blank >> 8,
            h_front, h_sync, v_front << 4 | v_sync, 0,
            h_mm & 0xFF, v_mm & 0xFF, h_mm >> 8 << 4 | v_mm >> 8, 0, 0, 0x1A,
        )
    )  # fmt: skip
