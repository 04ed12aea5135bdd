"""The BIOS data area at 0040:0000 and what its fields are called.

Source: IBM PS/2 and PC BIOS Interface Technical Reference, section 3 (data areas). All access is by linear address, so
that each virtual-8086 machine sees its own copy.
"""

from __future__ import annotations

from bios.pc.host import Host

BASE = 0x400

COM_PORTS = 0x00  # 4 words
LPT_PORTS = 0x08  # 3 words
EBDA_SEGMENT = 0x0E
EQUIPMENT = 0x10
MEMORY_KIB = 0x13
KBD_FLAGS = 0x17
KBD_FLAGS2 = 0x18
ALT_KEYPAD = 0x19
KBD_HEAD = 0x1A
KBD_TAIL = 0x1C
KBD_BUFFER = 0x1E
FLOPPY_RECALIBRATE = 0x3E
FLOPPY_MOTOR = 0x3F
FLOPPY_TIMEOUT = 0x40
FLOPPY_STATUS = 0x41
VIDEO_MODE = 0x49
VIDEO_COLUMNS = 0x4A
VIDEO_PAGE_SIZE = 0x4C
VIDEO_PAGE_START = 0x4E
CURSOR_POSITIONS = 0x50  # 8 words: column, row
CURSOR_SHAPE = 0x60  # end line, start line
VIDEO_PAGE = 0x62
CRTC_PORT = 0x63
CGA_MODE = 0x65
CGA_PALETTE = 0x66
RESUME_VECTOR = 0x67  # where a reset with shutdown code 5 or 0Ah continues
TICKS = 0x6C
MIDNIGHT = 0x70
BREAK_FLAG = 0x71
RESET_FLAG = 0x72
DISK_STATUS = 0x74
DISK_COUNT = 0x75
LPT_TIMEOUT = 0x78
COM_TIMEOUT = 0x7C
KBD_BUFFER_START = 0x80
KBD_BUFFER_END = 0x82
VIDEO_ROWS = 0x84  # rows - 1
FONT_HEIGHT = 0x85
VIDEO_CONTROL = 0x87
VIDEO_SWITCHES = 0x88
VIDEO_VGA = 0x89
VIDEO_DCC = 0x8A
FLOPPY_MEDIA = 0x90
KBD_MODE = 0x96
KBD_LEDS = 0x97
WAIT_POINTER = 0x98
WAIT_COUNT = 0x9C
WAIT_ACTIVE = 0xA0
VIDEO_SAVE_POINTER = 0xA8

WAITING = 0x01
WAIT_OVER = 0x80
CTRL_ALT_DEL_MAGIC = 0x1234


class Bda:
    """The BIOS data area of the running guest."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def byte(self, offset: int) -> int:
        return self.host.read_linear(BASE + offset, 1)[0]

    def word(self, offset: int) -> int:
        return int.from_bytes(self.host.read_linear(BASE + offset, 2), "little")

    def dword(self, offset: int) -> int:
        return int.from_bytes(self.host.read_linear(BASE + offset, 4), "little")

    def set_byte(self, offset: int, value: int) -> None:
        self.host.write_linear(BASE + offset, bytes((value & 0xFF,)))

    def set_word(self, offset: int, value: int) -> None:
        self.host.write_linear(BASE + offset, (value & 0xFFFF).to_bytes(2, "little"))

    def set_dword(self, offset: int, value: int) -> None:
        self.host.write_linear(BASE + offset, (value & 0xFFFFFFFF).to_bytes(4, "little"))

    def update_byte(self, offset: int, clear: int, set_: int) -> int:
        """Clear and set bits of a byte; gives the new value."""
        value = (self.byte(offset) & ~clear) | set_
        self.set_byte(offset, value)
        return value & 0xFF
