"""The 64 KiB ROM image of segment F000: entry points, their stubs, and the fixed tables programs look for.

A stub is `out 0E4h, al` followed by `iret`. The OUT makes the machine loop call `Bios.dispatch`, which finds the
service by the address after the OUT (`HOOK_POINTS`) and never by a register. A stub that may wait is followed by a loop
`sti; hlt; cli; out`: a service that returns WAIT continues there, so the guest's interrupts run while it waits.

Entry addresses are those of the IBM PC/XT/AT, which programs jump to directly (IBM AT Technical Reference, BIOS
listing; the table in the PS/2 BIOS Interface Technical Reference, "compatibility entry points").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

HOOK_PORT = 0x00E4
SEGMENT = 0xF000
BASE = 0xF0000
SIZE = 0x10000

OUT = bytes((0xE6, HOOK_PORT))  # out 0E4h, al
IRET = b"\xcf"
STI_HLT_CLI = b"\xfb\xf4\xfa"

FONT_16 = 0x0000  # 8x16, 256 glyphs
FONT_14 = 0x1000  # 8x14
FONT_8 = 0x1E00  # 8x8
VIDEO_STATIC = 0x2600  # INT 10h AH=1Bh static functionality table
TABLES = 0x3000  # SMBIOS, ACPI RSDP, MP and PCI routing tables
TABLES_END = 0xC000
PNP_TABLE = 0xCFC0  # PnP installation structure
PMM_TABLE = 0xCFF0  # POST memory manager
STUBS = 0xD000  # stubs that have no traditional address

POST = 0xE05B
CONFIG_TABLE = 0xE6F5  # INT 15h AH=C0h
DISKETTE_TABLE = 0xEFC7  # INT 1Eh
FONT_8_LOW = 0xFA6E  # the first 128 glyphs, at the address of the PC
DUMMY_IRET = 0xFF53
PRINT_SCREEN = 0xFF54
RESET_VECTOR = 0xFFF0

DATE = "01/01/25"
MODEL = 0xFC  # PC AT

# Software interrupts and where the traditional ROM has their entry; None where programs use the vector only.
_SERVICES: dict[int, int | None] = {
    0x10: 0xF065,
    0x11: 0xF84D,
    0x12: 0xF841,
    0x13: 0xE3FE,
    0x14: 0xE739,
    0x15: 0xF859,
    0x16: 0xE82E,
    0x17: 0xEFD2,
    0x18: None,
    0x19: 0xE6F2,
    0x1A: 0xFE6E,
    0x40: 0xEC59,
}


@dataclass(frozen=True)
class HookPoint:
    """What a hook-port OUT at one place of the ROM means."""

    name: str
    vector: int
    resumed: bool  # reached from the stub's halt loop
    wait_at: int  # offset of that loop, 0 if the stub has none


class RomBuilder:
    """Places code and tables and refuses overlaps."""

    def __init__(self) -> None:
        self.image = bytearray(SIZE)
        self.taken: list[tuple[int, int, str]] = []
        self.labels: dict[str, int] = {}
        self.points: dict[int, HookPoint] = {}
        self.vectors: dict[int, int] = {}
        self.next_stub = STUBS

    def place(self, at: int, data: bytes, name: str) -> int:
        """Put `data` at an offset; gives the offset after it."""
        end = at + len(data)
        if not 0 <= at <= end <= SIZE:
            raise ValueError(f"{name} at {at:04X} does not fit the ROM")
        for low, high, other in self.taken:
            if at < high and low < end:
                raise ValueError(f"{name} at {at:04X} overlaps {other} at {low:04X}")
        self.taken.append((at, end, name))
        self.image[at:end] = data
        return end

    def code(self, name: str, *parts: bytes | str, at: int | None = None, vector: int = 0) -> int:
        """Assemble a stub and give the offset of its first byte.

        A part is machine code, a label ("wait:") or a hook: an OUT that calls the named function ("irq0"), with "!"
        from the halt loop at the label "wait".
        """
        start = self.next_stub if at is None else at
        body = bytearray()
        hooks: list[tuple[int, str]] = []
        for part in parts:
            if isinstance(part, bytes):
                body += part
            elif part.endswith(":"):
                self.labels[f"{name}.{part[:-1]}"] = start + len(body)
            else:
                body += OUT
                hooks.append((start + len(body), part))
        wait_at = self.labels.get(f"{name}.wait", 0)
        for after, hook in hooks:
            self.points[after] = HookPoint(hook.rstrip("!"), vector, hook.endswith("!"), wait_at)
        self.place(start, bytes(body), name)
        self.labels[name] = start
        if at is None:
            self.next_stub = start + len(body)
        return start

    def jump(self, at: int, target: int, name: str) -> None:
        """A near jump, for entry points with too little room for their stub."""
        displacement = (target - (at + 3)) & 0xFFFF
        self.place(at, b"\xe9" + displacement.to_bytes(2, "little"), name)


def _service_stub(rom: RomBuilder, vector: int, at: int | None) -> None:
    name = f"int{vector:02x}"
    body: tuple[bytes | str, ...] = (name, IRET, "wait:", STI_HLT_CLI, f"{name}!", IRET)
    if vector == 0x19:  # three bytes of room before the configuration table
        rom.jump(0xE6F2, rom.code(name, *body, vector=vector), "int19 entry")
        rom.vectors[vector] = 0xE6F2
    else:
        rom.vectors[vector] = rom.code(name, *body, at=at, vector=vector)


def _hardware_stubs(rom: RomBuilder) -> None:
    save, restore = b"\x1e\x52\x50", b"\x58\x5a\x1f"  # push ds, dx, ax; pop ax, dx, ds
    bda_to_ds = b"\xb8\x40\x00\x8e\xd8"  # mov ax, 40h; mov ds, ax: user tick handlers of the PC era expect it
    # Timer tick. The first hook leaves for `done` when nobody has hooked INT 1Ch.
    irq0 = rom.code(
        "irq0", "irq0", save, bda_to_ds, b"\xcd\x1c", "irq0.eoi", restore, "done:", IRET, vector=0x08
    )  # int 1Ch
    # Keyboard. The first hook leaves for `done` unless somebody has hooked INT 15h (AH=4Fh may change the scan code).
    irq1 = rom.code(
        "irq1",
        "irq1",
        b"\x50",  # push ax
        "irq1.intercept",
        b"\xf9\xcd\x15",  # stc; int 15h
        "irq1.key",
        b"\x58",  # pop ax
        "done:",
        IRET,
        "break:",
        b"\xcd\x1b\xcf",  # int 1Bh; iret
        "break_ax:",
        b"\xcd\x1b\x58\xcf",  # int 1Bh; pop ax; iret
        "print:",
        b"\xcd\x05\xcf",  # int 5; iret
        "print_ax:",
        b"\xcd\x05\x58\xcf",
        "sysreq:",
        b"\x50\xb4\x85\xcd\x15\x58\xcf",  # push ax; mov ah, 85h; int 15h; pop ax; iret
        "sysreq_ax:",
        b"\xb4\x85\xcd\x15\x58\xcf",
        "pause_ax:",
        b"\x58",
        "wait:",
        STI_HLT_CLI,
        "irq1.pause!",
        IRET,
        vector=0x09,
    )
    rom.jump(0xFEA5, irq0, "int08 entry")
    rom.jump(0xE987, irq1, "int09 entry")
    rom.vectors[0x08], rom.vectors[0x09] = 0xFEA5, 0xE987
    rom.vectors[0x0E] = rom.code("irq6", "irq6", IRET, at=0xEF57, vector=0x0E)
    for vector in (0x0A, 0x0B, 0x0C, 0x0F):
        rom.vectors[vector] = rom.code(f"irq{vector - 8}", "irq", IRET, vector=vector)
    park = (IRET, "wait:", STI_HLT_CLI, "fault!", IRET)
    rom.vectors[0x0D] = rom.code("irq5", "irq", *park, vector=0x0D)
    rom.vectors[0x70] = rom.code("irq8", "irq8", IRET, "alarm:", b"\xcd\x4a\xcf", vector=0x70)  # int 4Ah; iret
    rom.vectors[0x71] = rom.code("irq9", "irq9", b"\xcd\x0a\xcf", vector=0x71)  # int 0Ah; iret
    for vector in (0x72, 0x73, 0x74, 0x77):
        rom.vectors[vector] = rom.code(f"irq{vector - 0x68}", "irq", IRET, vector=vector)
    rom.vectors[0x75] = rom.code("irq13", "irq13", b"\xcd\x02\xcf", vector=0x75)  # int 2; iret
    rom.vectors[0x76] = rom.code("irq14", "irq14", IRET, vector=0x76)
    rom.vectors[0x02] = rom.code("nmi", "nmi", IRET, at=0xE2C3, vector=0x02)
    for vector in (0x00, 0x06, 0x07):
        rom.vectors[vector] = rom.code(f"fault{vector}", "fault", *park, vector=vector)


def _option_rom_services(rom: RomBuilder) -> None:
    """What option ROMs look for: both are far calls."""
    segment = SEGMENT.to_bytes(2, "little")
    pnp, pmm = (rom.code(name, name, b"\xcb").to_bytes(2, "little") + segment for name in ("pnp", "pmm"))
    table = b"$PnP\x10\x21" + bytes(2) + b"\0" + bytes(4) + pnp + bytes(6) + bytes(4) + segment + bytes(4)
    rom.place(PNP_TABLE, _summed(table, 8), "PnP table")
    rom.place(PMM_TABLE, _summed(b"$PMM\x01\x10\0" + pmm + bytes(5), 6), "PMM table")


def _summed(table: bytes, at: int) -> bytes:
    """A table with its checksum at an offset."""
    return table[:at] + bytes((-sum(table) & 0xFF,)) + table[at + 1 :]


def _build_stubs() -> RomBuilder:
    rom = RomBuilder()
    for vector, at in _SERVICES.items():
        _service_stub(rom, vector, at)
    _hardware_stubs(rom)
    # cli; cld; POST; int 19h; int 18h. Option ROMs return to "roms", and so does the last one.
    rom.code("post", b"\xfa\xfc", "post", "roms:", "roms", b"\xcd\x19\xcd\x18\xf4\xeb\xfd", at=POST)
    rom.code("boot", "return:", b"\xcd\x18\xf4\xeb\xfd")
    _option_rom_services(rom)
    # The protected-mode entry of APM, for either width: pushf; POPF gives the caller back what the service made of it.
    rom.code("apm", b"\x9c", "apm", b"\x9d\xcb", "wait:", STI_HLT_CLI, "apm!", b"\x9d\xcb")
    rom.place(DUMMY_IRET, IRET, "dummy iret")
    rom.place(PRINT_SCREEN, IRET, "int05")
    rom.vectors[0x05] = PRINT_SCREEN
    rom.place(RESET_VECTOR, b"\xea" + POST.to_bytes(2, "little") + SEGMENT.to_bytes(2, "little"), "reset vector")
    rom.place(0xFFF5, DATE.encode("ascii"), "date")
    rom.place(0xFFFE, bytes((MODEL, 0)), "model")
    # Length, model, submodel, revision, features: second PIC, RTC, INT 15h/4Fh, EBDA; INT 16h/09h not offered.
    rom.place(CONFIG_TABLE, bytes((8, 0, MODEL, 0, 1, 0x74, 0, 0, 0, 0)), "configuration table")
    # Step and unload times, DMA, motor-off ticks, 512-byte sectors, 18 a track, gaps, fill byte, settle, start.
    diskette = bytes((0xAF, 0x02, 0x25, 0x02, 18, 0x1B, 0xFF, 0x6C, 0xF6, 0x0F, 0x08))
    rom.place(DISKETTE_TABLE, diskette, "diskette table")
    return rom


_STUBS = _build_stubs()
HOOK_POINTS: Mapping[int, HookPoint] = dict(_STUBS.points)
LABELS: Mapping[str, int] = dict(_STUBS.labels)
VECTORS: Mapping[int, int] = dict(_STUBS.vectors)


def build(parts: Mapping[int, tuple[str, bytes]]) -> bytes:
    """The ROM with fonts and machine tables added: {offset: (name, bytes)}. Ends with the checksum byte."""
    rom = RomBuilder()
    rom.image[:] = _STUBS.image
    rom.taken = list(_STUBS.taken)
    for at, (name, data) in sorted(parts.items()):
        rom.place(at, data, name)
    rom.image[0xFFFF] = -sum(rom.image) & 0xFF
    return bytes(rom.image)
