"""The tables as files of fw_cfg, for firmware that places them by the commands of a table loader, as SeaBIOS does.

The commands allocate memory for a file, add a file's address to a number in another, and set checksums.
Records have 128 bytes, numbers are little-endian, names have at most 55 bytes (QEMU's bios-linker-loader interface).
"""

from __future__ import annotations

from bios.pc.acpi.board import SLEEP_TYPES, Board
from bios.pc.acpi.tables import acpi_tables, link, root_pointer

TABLES, ROOT, LOADER, STATES = "etc/acpi/tables", "etc/acpi/rsdp", "etc/table-loader", "etc/system-states"
ALLOCATE, ADD_POINTER, ADD_CHECKSUM = 1, 2, 3
ANYWHERE, F_SEGMENT = 1, 2
RECORD = 128
OFFERED = 0x80
"""In a byte of etc/system-states: the sleep state is there; the rest is its sleep type."""


def _record(command: int, *parts: bytes) -> bytes:
    return (command.to_bytes(4, "little") + b"".join(parts)).ljust(RECORD, b"\0")


def _name(text: str) -> bytes:
    return text.encode().ljust(56, b"\0")


def _number(value: int) -> bytes:
    return value.to_bytes(4, "little")


def firmware_files(board: Board) -> dict[str, bytes]:
    """{name: content}: the tables one after another, the root pointer, and what to do with them."""
    blob, commands, places = bytearray(), [], {}
    commands.append(_record(ALLOCATE, _name(ROOT), _number(16), bytes((F_SEGMENT,))))
    commands.append(_record(ALLOCATE, _name(TABLES), _number(64), bytes((ANYWHERE,))))
    for table in acpi_tables(board):
        blob += bytes(-len(blob) % table.align)
        at = places[table.name] = len(blob)
        blob += link(table, places)
        for offset, _ in table.pointers:
            commands.append(_pointer(TABLES, at + offset))
        if table.checksum is not None and table.pointers:
            commands.append(_checksum(TABLES, at + table.checksum, at, len(table.data)))
    root = root_pointer()
    commands += [_pointer(ROOT, offset) for offset, _ in root.pointers]
    commands.append(_checksum(ROOT, root.checksum or 0, 0, len(root.data)))
    return {
        TABLES: bytes(blob),
        ROOT: link(root, places),
        LOADER: b"".join(commands),
        STATES: bytes((OFFERED, 0, 0, *(SLEEP_TYPES[n] | (n in board.states) * OFFERED for n in (3, 4)), OFFERED)),
    }


def _pointer(file: str, at: int) -> bytes:
    return _record(ADD_POINTER, _name(file), _name(TABLES), _number(at), bytes((4,)))


def _checksum(file: str, at: int, start: int, length: int) -> bytes:
    return _record(ADD_CHECKSUM, _name(file), _number(at), _number(start), _number(length))
