"""Option ROMs: those of PCI cards, copied below F0000h, and those that lie there already, initialised after POST.

An image begins with 55 AA and its length in units of 512 bytes, sums to zero, and is entered by a far call at its third
byte, with ES:DI at the PnP structure. Its PnP headers may offer a bootstrap entry vector (BEV), which is what the boot
order's letter n means, and a boot connection vector (BCV), which is called before anything is booted. ROMs of display
cards are left alone: INT 10h is our own. What is wrong with an image is logged, and the image is not run.

PCI Firmware Specification 3.0, section 5; Plug and Play BIOS Specification 1.0A, sections 3 and 4; BIOS Boot
Specification 1.01; POST Memory Manager Specification 1.01.
"""

from __future__ import annotations

from bios.pc import pci, rom
from bios.pc.host import Host
from bios.pc.memory_map import extended_bytes
from bios.pc.service import Call, hook

FIRST, END, STEP = 0xC8000, 0xF0000, 0x800
SCANNED = 0xC0000
UNIT = 512
SMALLEST = 0x20
LARGEST = 0x100000
"""More of a card's ROM is not looked at."""
SIGNATURE = b"\x55\xaa"
IMAGE_X86 = 0x00
LAST_IMAGE = 0x80
DISPLAY_CLASS, BRIDGE_HEADER = 0x03, 0x7F
HEADERS = 16
"""PnP headers and images that one ROM may have."""
BOOT_VECTORS = 10

PNP_BBS_VERSION = 0x60
PNP_UNSUPPORTED = 0x82
PMM_LOWEST = 0x200000
PMM_BLOCKS = 32
PMM_UNKNOWN = 0xFFFFFFFF


def begin(call: Call) -> None:
    """POST is over: find what there is to initialise."""
    bios, host = call.bios, call.host
    bios.rom_now, bios.rom_next = 0, FIRST
    bios.rom_bevs, bios.rom_bcvs, bios.pmm = [], [], []
    bios.rom_queue = []
    at = SCANNED
    while at < END:
        size = _size(host, at)
        if size:
            bios.rom_queue.append(-at)
            at += -(-size // STEP) * STEP
            bios.rom_next = max(bios.rom_next, at)
        else:
            at += STEP
    bios.rom_queue += [found.devfn for found in pci.functions(host) if _has_rom(host, found.devfn)]


def _has_rom(host: Host, devfn: int) -> bool:
    shows = pci.config_read(host, 0, devfn, 0x0B, 1) == DISPLAY_CLASS
    plain = pci.config_read(host, 0, devfn, 0x0E, 1) & BRIDGE_HEADER == 0
    return plain and not shows and pci.config_read(host, 0, devfn, 0x30, 4) & 0xFFFFF800 not in (0, 0xFFFFF800)


def _size(host: Host, at: int) -> int:
    """Bytes of the image at an address; 0 if there is none, or none that is whole."""
    head = host.read_phys(at, 3)
    size = head[2] * UNIT
    if head[:2] != SIGNATURE or not size or at + size > END:
        return 0
    return 0 if sum(host.read_phys(at, size)) & 0xFF else size


@hook("roms")
def next_rom(call: Call) -> None:
    """Called by POST's stub, and again when an image's initialisation has returned. Leaves when all are done."""
    bios = call.bios
    if bios.rom_now:
        _initialised(call, bios.rom_now)
        bios.rom_now = 0
    while bios.rom_queue:
        place = bios.rom_queue.pop(0)
        at, devfn = (-place, 0) if place < 0 else (_copy(call, place), place)
        if at:
            bios.rom_now = at
            _enter(call, at >> 4, 3, devfn)
            return
    if bios.rom_bcvs:
        segment, offset = bios.rom_bcvs.pop(0)
        _enter(call, segment, offset, 0)
        return
    _limits(call, 0xFFFF)


def _enter(call: Call, segment: int, offset: int, devfn: int, back: str = "post.roms") -> None:
    """A far call into an image. It returns to a place in our ROM."""
    call.ds = call.ss = 0
    call.esp = 0x7C00 - 4
    call.write(0x7C00 - 4, rom.LABELS[back].to_bytes(2, "little") + rom.SEGMENT.to_bytes(2, "little"))
    call.ax, call.bx, call.cx, call.dx = devfn, 0xFFFF, 0, 0xFFFF
    call.es, call.di = rom.SEGMENT, rom.PNP_TABLE
    _limits(call, 0xFFFFFFFF if back == "post.roms" else 0xFFFF)
    call.host.set_reg("eflags", 0x202)
    call.cs, call.eip = segment, offset


def _limits(call: Call, limit: int) -> None:
    """During POST the data segments reach all of memory, which users of the memory manager rely on (PMM 1.01, 2)."""
    for name in ("ds", "es"):
        call.host.set_reg(f"{name}.limit", limit)


def _copy(call: Call, devfn: int) -> int:
    """Copy the x86 image of a card's ROM to the next free place. Its address, or 0."""
    host, bios = call.host, call.bios
    name = f"the option ROM of PCI device {devfn >> 3:x}.{devfn & 7}"
    base = pci.config_read(host, 0, devfn, 0x30, 4) & 0xFFFFF800
    command = pci.config_read(host, 0, devfn, 0x04, 2)
    pci.config_write(host, 0, devfn, 0x30, 4, base | 1)
    pci.config_write(host, 0, devfn, 0x04, 2, command | 0x02)
    try:
        found = x86_image(host, base)
    finally:
        pci.config_write(host, 0, devfn, 0x30, 4, base)
        pci.config_write(host, 0, devfn, 0x04, 2, command)
    if isinstance(found, str):
        bios.log_once(f"BIOS: {name}: {found}")
        return 0
    at = bios.rom_next
    if at + len(found) > END:
        bios.log_once(f"BIOS: {name}: {len(found)} bytes, and {END - at} are left for option ROMs")
        return 0
    host.write_phys(at, found)
    return at


def x86_image(host: Host, base: int) -> bytes | str:
    """The image for PC BIOSes among those of a ROM that shows at a physical address, or what is wrong with it."""
    at = 0
    for _ in range(HEADERS):
        head = host.read_phys(base + at, SMALLEST)
        data_at = at + int.from_bytes(head[0x18:0x1A], "little")
        if head[:2] != SIGNATURE:
            return "no image that begins with 55 AA"
        data = host.read_phys(base + data_at, 0x18) if data_at + 0x18 <= LARGEST else b""
        if data[:4] != b"PCIR":
            return "no PCI data structure"
        length = int.from_bytes(data[0x10:0x12], "little") * UNIT
        if data[0x14] == IMAGE_X86:
            size = head[2] * UNIT
            if not size or size > END - SCANNED:
                return f"an image of {size} bytes"
            image = host.read_phys(base + at, size)
            return "its checksum is wrong" if sum(image) & 0xFF else image
        if data[0x15] & LAST_IMAGE or not length or at + length >= LARGEST:
            break
        at += length
    return "no image for a PC BIOS"


def _initialised(call: Call, at: int) -> None:
    """Keep what an image offers, and the room that it still wants."""
    bios, host = call.bios, call.host
    size = host.read_phys(at, 3)[2] * UNIT
    end = at + -(-min(size, END - at) // STEP) * STEP
    if at >= bios.rom_next:
        bios.rom_next = max(at + (STEP if size else 0), end)
    image = host.read_phys(at, max(size, SMALLEST) if at + size <= END else SMALLEST)
    header = int.from_bytes(image[0x1A:0x1C], "little")
    for _ in range(HEADERS):
        table = image[header : header + 0x20]
        if len(table) < 0x20 or table[:4] != b"$PnP" or sum(image[header : header + table[5] * 16]) & 0xFF:
            break
        connect, bootstrap = (int.from_bytes(table[n : n + 2], "little") for n in (0x16, 0x1A))
        if connect and len(bios.rom_bcvs) < BOOT_VECTORS:
            bios.rom_bcvs.append([at >> 4, connect])
        if bootstrap and len(bios.rom_bevs) < BOOT_VECTORS:
            bios.rom_bevs.append([at >> 4, bootstrap])
        header = int.from_bytes(table[6:8], "little")
        if not header:
            break


def enter_bev(call: Call, number: int) -> None:
    """Boot by a bootstrap entry vector. If it returns, the next device is tried."""
    segment, offset = call.bios.rom_bevs[number]
    _enter(call, segment, offset, 0, "boot.return")


# --- what images may call -------------------------------------------------------------------------------------------


@hook("pnp")
def plug_and_play(call: Call) -> None:
    """The PnP BIOS by far call, its arguments on the stack: only that the BIOS Boot Specification holds."""
    arguments = call.frame + 4
    call.ax = PNP_UNSUPPORTED
    if call.word(arguments) == PNP_BBS_VERSION:
        pointer = call.dword(arguments + 2)
        call.set_word((pointer >> 16) * 16 + (pointer & 0xFFFF), 0x0101)
        call.ax = 0


@hook("pmm")
def memory_manager(call: Call) -> None:
    """POST memory, above 2 MiB and below the ACPI tables, from the top: allocate, find by handle, free."""
    arguments = call.frame + 4
    function, number = call.word(arguments), call.dword(arguments + 2)
    blocks = call.bios.pmm
    answer = PMM_UNKNOWN
    if function == 0:
        answer = _allocate(call, number, call.dword(arguments + 6), call.word(arguments + 10))
    elif function == 1:
        answer = next((at for handle, at, _ in blocks if handle == number), 0)
    elif function == 2:
        kept = [block for block in blocks if block[1] != number]
        answer = 0 if len(kept) < len(blocks) else 1
        call.bios.pmm = kept
    call.ax, call.dx = answer, answer >> 16


def _allocate(call: Call, paragraphs: int, handle: int, flags: int) -> int:
    """The address of so many paragraphs, 0 without room; for none: how many are free."""
    blocks = call.bios.pmm
    top = min((at for _, at, _ in blocks), default=0x100000 + extended_bytes(call.host.ram_size))
    if not flags & 2 or top <= PMM_LOWEST:
        return 0
    if not paragraphs:
        return (top - PMM_LOWEST) >> 4
    size = paragraphs * 16
    boundary = max(paragraphs & -paragraphs, 1) * 16 if flags & 4 else 16
    at = (top - size) & -boundary
    if at < PMM_LOWEST or len(blocks) >= PMM_BLOCKS:
        return 0
    blocks.append([handle, at, size])
    call.host.write_phys(at, bytes(min(size, LARGEST)))
    return at
