"""Linux kernels in the x86 boot format: bzImage, zImage, and what else uses it (memtest86+).

The real-mode set-up code goes low and is entered in real mode, the rest goes to 1 MiB (or 64 KiB for a zImage), the
initial RAM disk as high as the kernel allows. Source: Linux kernel documentation, "The Linux/x86 Boot Protocol"
(protocols before 2.00 to 2.15).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from bios.plan import ImageError, LoadPlan, MemoryRange, fits, usable_ram

SECTOR = 512
PARAGRAPH = 16
SIGNATURE_AT = 0x1FE
MAGIC_AT = 0x202
HEADER_END = 0x268
LOADED_HIGH = 0x01
CAN_USE_HEAP = 0x80
LOADER_ID = 0xFF  # "no assigned number"

# For kernels that move themselves (protocol 2.02 and later, loaded high) and for those that expect 9000h:0.
SETUP, COMMAND_LINE = 0x10000, 0x20000
OLD_SETUP, OLD_COMMAND_LINE = 0x90000, 0x9A000
OLD_COMMAND_LINE_MAGIC = 0xA33F
STACK_MARGIN = 0x200

HIGH_LOAD = 0x100000
LOW_LOAD = 0x10000
MAX_SETUP_SECTORS = 64
INITRD_LIMIT_BEFORE_203 = 0x37FFFFFF
COMMAND_LINE_LIMIT_BEFORE_206 = 255


def is_linux(data: bytes) -> bool:
    """Whether the bytes carry the boot header's magic number."""
    return len(data) > HEADER_END and data[SIGNATURE_AT : SIGNATURE_AT + 2] == b"\x55\xaa" and _has_header(data)


def _has_header(data: bytes) -> bool:
    return data[MAGIC_AT : MAGIC_AT + 4] == b"HdrS"


def is_linux_itself(data: bytes) -> bool:
    """Whether a kernel in this format is Linux: its version text begins with a number, others begin with a name."""
    if not is_linux(data) or data[0x1F1] == 0:
        return False
    at = int.from_bytes(data[0x20E:0x210], "little") + SECTOR
    return at > SECTOR and data[at : at + 1].isdigit()


class _Header:
    """The set-up header, read at its documented offsets."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.version = self.number(0x206, 2) if _has_header(data) else 0

    def number(self, at: int, size: int) -> int:
        return int.from_bytes(self.data[at : at + size], "little")

    def since(self, version: int, at: int, size: int, otherwise: int) -> int:
        """A field that exists from a protocol version on."""
        return self.number(at, size) if self.version >= version else otherwise


def load_linux(
    name: str, data: bytes, memory_map: Sequence[MemoryRange], command_line: str, initrd: bytes | None
) -> LoadPlan:
    """The plan for a kernel. Raises ImageError."""
    if len(data) < HEADER_END:
        raise ImageError(name, f"{len(data)} bytes", "its end", f"a Linux kernel has at least {HEADER_END}")
    header = _Header(data)
    sectors = data[0x1F1] or 4
    setup_size = (sectors + 1) * SECTOR
    if sectors > MAX_SETUP_SECTORS:
        raise ImageError(name, f"{sectors} set-up sectors", "offset 0x1f1", f"at most {MAX_SETUP_SECTORS} fit")
    if setup_size >= len(data):
        raise ImageError(
            name, f"{len(data)} bytes", "its end", f"its header promises {setup_size} bytes of set-up code and a kernel"
        )
    promised = setup_size + PARAGRAPH * header.since(0x204, 0x1F4, 4, 0)
    if len(data) + SECTOR <= promised:  # some kernels round the number up
        raise ImageError(name, f"{len(data)} bytes", "its end", f"its header promises {promised} bytes")
    high = header.version >= 0x200 and bool(header.number(0x211, 1) & LOADED_HIGH)
    modern = header.version >= 0x202 and high
    setup_at, line_at = (SETUP, COMMAND_LINE) if modern else (OLD_SETUP, OLD_COMMAND_LINE)
    kernel_at = HIGH_LOAD if high else LOW_LOAD
    kernel = data[setup_size:]
    if not high and kernel_at + len(kernel) > OLD_SETUP:
        raise ImageError(name, f"a {len(kernel)} byte zImage", "its end", "only 512 KiB fit below its set-up code")
    _check_ram(name, memory_map, kernel_at, len(kernel), header if modern else None)

    limit = header.since(0x206, 0x238, 4, COMMAND_LINE_LIMIT_BEFORE_206) or COMMAND_LINE_LIMIT_BEFORE_206
    room = min(limit, (0x10000 if modern else 0x600) - 1)
    line = _command_line(name, command_line, room)
    setup = bytearray(data[:setup_size])
    segments = [(line_at, line)]
    if (mode := _video_mode(command_line)) is not None:
        _put(setup, 0x1FA, 2, mode)
    if header.version >= 0x200:
        _put(setup, 0x210, 1, LOADER_ID)
    if header.version >= 0x201:
        setup[0x211] |= CAN_USE_HEAP
        _put(setup, 0x224, 2, line_at - setup_at - STACK_MARGIN)
    if header.version >= 0x202:
        _put(setup, 0x228, 4, line_at)
    else:
        _put(setup, 0x20, 2, OLD_COMMAND_LINE_MAGIC)
        _put(setup, 0x22, 2, line_at - setup_at)
    if initrd is not None:
        if header.version < 0x200:
            raise ImageError(name, "a kernel without the HdrS header", "offset 0x202", "it cannot take an initrd")
        at = _place_initrd(name, header, memory_map, kernel_at, len(kernel), len(initrd), modern=modern)
        _put(setup, 0x218, 4, at)
        _put(setup, 0x21C, 4, len(initrd))
        segments.append((at, initrd))
    segments += [(setup_at, bytes(setup)), (kernel_at, kernel)]
    segment = setup_at >> 4
    registers = [("eflags", 0x2)]
    registers += [(register, segment) for register in ("ds", "es", "fs", "gs", "ss")]
    registers += [(register, 0) for register in ("eax", "ebx", "ecx", "edx", "esi", "edi", "ebp")]
    registers += [("esp", line_at - setup_at - 16), ("cs", segment + SECTOR // 16), ("eip", 0)]
    return LoadPlan("linux", setup_at + SECTOR, tuple(segments), (), tuple(registers))


# What QEMU's fw_cfg calls the parts of a kernel (its docs/specs/fw_cfg): keys of the address, the size, the bytes.
KERNEL_ITEMS, INITRD_ITEMS, LINE_ITEMS, SETUP_ITEMS = (
    (0x07, 0x08, 0x11),
    (0x0A, 0x0B, 0x12),
    (0x13, 0x14, 0x15),
    (0x16, 0x17, 0x18),
)


def fw_cfg_items(plan: LoadPlan) -> dict[int, bytes]:
    """The plan of a Linux kernel as firmware configuration items, for a firmware that loads kernels by itself."""
    line, *initrd, setup, kernel = plan.segments
    items: dict[int, bytes] = {}
    parts = [
        (LINE_ITEMS, line),
        *((INITRD_ITEMS, part) for part in initrd),
        (SETUP_ITEMS, setup),
        (KERNEL_ITEMS, kernel),
    ]
    for (where, size, bytes_), (at, data) in parts:
        items[where] = at.to_bytes(4, "little")
        items[size] = len(data).to_bytes(4, "little")
        items[bytes_] = data
    return items


VIDEO_MODES = {"normal": 0xFFFF, "ext": 0xFFFE, "ask": 0xFFFD}


def _video_mode(command_line: str) -> int | None:
    """The mode that vga= asks the set-up code for; loaders read it, the kernel does not."""
    wishes = [word[4:] for word in command_line.split() if word.startswith("vga=")]
    if not wishes:
        return None
    wish = wishes[-1]
    if re.fullmatch("0[xX][0-9a-fA-F]{1,4}", wish):
        return int(wish, 16)
    return int(wish) & 0xFFFF if re.fullmatch("[0-9]{1,5}", wish) else VIDEO_MODES.get(wish)


def _put(setup: bytearray, at: int, size: int, value: int) -> None:
    setup[at : at + size] = value.to_bytes(size, "little")


def _command_line(name: str, text: str, room: int) -> bytes:
    line = text.encode("utf-8", "surrogateescape")
    if b"\0" in line:
        raise ImageError(name, "a zero byte", "the command line", "it would end there")
    if len(line) > room:
        raise ImageError(name, f"a command line of {len(line)} bytes", "its end", f"this kernel takes {room}")
    return line + b"\0"


def _run_range(header: _Header, kernel_at: int, size: int) -> tuple[int, int]:
    """Where the kernel will be while it unpacks itself: (start, end). Kernels before 2.10 do not say."""
    start, end = kernel_at, kernel_at + size
    init_size = header.since(0x20A, 0x260, 4, 0)
    preferred = header.since(0x20A, 0x258, 8, 0)
    if init_size and preferred:
        start = max(preferred, kernel_at) if header.since(0x205, 0x234, 1, 0) else preferred
        end = max(end, start + init_size)
    return start, end


def _check_ram(name: str, memory_map: Sequence[MemoryRange], at: int, size: int, header: _Header | None) -> None:
    if not fits(memory_map, at, size):
        raise ImageError(name, f"a kernel of {size} bytes", f"address {at:#x}", "RAM is too small for it (see -m)")
    if header is not None:
        start, end = _run_range(header, at, size)
        if not fits(memory_map, start, end - start):
            need = (end + 0xFFFFF) >> 20
            raise ImageError(name, f"a kernel that needs {end - start} bytes", f"address {start:#x}", f"use -m {need}")


def _place_initrd(
    name: str,
    header: _Header,
    memory_map: Sequence[MemoryRange],
    kernel_at: int,
    kernel_size: int,
    size: int,
    *,
    modern: bool,
) -> int:
    """The highest page the RAM disk can start at: below the kernel's limit, above where the kernel unpacks."""
    limit = header.since(0x203, 0x22C, 4, INITRD_LIMIT_BEFORE_203)
    above = _run_range(header, kernel_at, kernel_size)[1] if modern else HIGH_LOAD
    best = -1
    for low, high in usable_ram(memory_map):
        at = (min(high, limit + 1) - size) & ~0xFFF
        if at >= max(low, above):
            best = max(best, at)
    if best < 0:
        raise ImageError(
            name, f"an initrd of {size} bytes", f"address {above:#x}", "no room between the kernel and the end of RAM"
        )
    return best
