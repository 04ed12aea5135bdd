"""Small kernels of every format for the loader tests, built field by field."""

from __future__ import annotations

from bios.plan import RAM, MemoryRange

MAP = (MemoryRange(0, 0x9FC00, RAM), MemoryRange(0x100000, 0x3F00000, RAM))  # 64 MiB


def put(data: bytearray, at: int, size: int, value: int) -> None:
    data[at : at + size] = value.to_bytes(size, "little")


def bzimage(
    *,
    version: int = 0x20F,
    sectors: int = 4,
    flags: int = 1,
    kernel: bytes = b"KERNEL" * 200,
    init_size: int = 0x200000,
    initrd_max: int = 0x7FFFFFFF,
    command_line_max: int = 2047,
) -> bytes:
    setup = bytearray((sectors + 1) * 512)
    setup[0x1F1] = sectors
    setup[0x1FE:0x200] = b"\x55\xaa"
    if version:
        setup[0x200:0x202] = b"\xeb\x66"
        setup[0x202:0x206] = b"HdrS"
        put(setup, 0x206, 2, version)
        setup[0x211] = flags
        put(setup, 0x22C, 4, initrd_max)
        setup[0x234] = 1
        put(setup, 0x238, 4, command_line_max)
        put(setup, 0x258, 8, 0x1000000)
        put(setup, 0x260, 4, init_size)
    return bytes(setup) + kernel


def elf(
    *segments: tuple[int, int, bytes, int],
    entry: int = 0x100000,
    kind: int = 2,
    machine: int = 3,
    klass: int = 1,
    prefix: bytes = b"",
    notes: bytes = b"",
) -> bytes:
    """An ELF32 file; segments are (virtual, physical, data, size in memory). `prefix` follows the headers."""
    count = len(segments) + bool(notes)
    body_at = 52 + 32 * count
    header = b"\x7fELF" + bytes((klass, 1, 1)) + bytes(9)
    header += kind.to_bytes(2, "little") + machine.to_bytes(2, "little") + (1).to_bytes(4, "little")
    header += entry.to_bytes(4, "little") + (52).to_bytes(4, "little") + bytes(8)
    header += (52).to_bytes(2, "little") + (32).to_bytes(2, "little") + count.to_bytes(2, "little") + bytes(6)
    table, body = b"", prefix
    for program_type, virtual, physical, data, size in [
        *((1, *segment) for segment in segments),
        *([(4, 0, 0, notes, len(notes))] if notes else []),
    ]:
        fields = (program_type, body_at + len(body), virtual, physical, len(data), size, 7, 0x1000)
        table += b"".join(field.to_bytes(4, "little") for field in fields)
        body += data
    return header + table + body


def multiboot_header(flags: int = 3, *addresses: int) -> bytes:
    words = (0x1BADB002, flags, -(0x1BADB002 + flags) & 0xFFFFFFFF, *addresses)
    return b"".join(word.to_bytes(4, "little") for word in words)


def pvh_note(entry: int) -> bytes:
    return b"".join(n.to_bytes(4, "little") for n in (4, 4, 18)) + b"Xen\0" + entry.to_bytes(4, "little")
