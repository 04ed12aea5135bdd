"""Names of guest addresses, from the symbol table of a 32-bit ELF file or from a System.map (`nm`'s lines). Either may
be packed by gzip.

Source: System V Application Binary Interface, chapter 4, "Symbol Table"; nm(1).
"""

from __future__ import annotations

import gzip
import zlib
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bios.elf import CLASS_32, MAGIC, ORDERS
from emu.options import UsageError, shown

SYMBOL_TABLE, FUNCTION, NO_TYPE = 2, 2, 0
CODE_KINDS = "tTwW"
"""Letters of nm for what lies in a code section."""
EXECUTABLE = 4
GZIP = b"\x1f\x8b"
MOST = 256 << 20


@dataclass(frozen=True)
class Function:
    """A stretch of code with a name; `end` is behind it."""

    start: int
    end: int
    name: str


class Symbols:
    """Functions by address and by name."""

    def __init__(self, found: Iterable[tuple[int, int, str]] = (), others: Iterable[int] = ()) -> None:
        """`found`: (address, size or 0, name). One without a size ends where the next begins, or one of `others`, or
        its page."""
        best: dict[int, tuple[int, str]] = {}
        for start, size, name in found:
            old = best.get(start)
            # Of several names the one that has a size, then the one without leading underscores.
            if old is None or (size > 0, -_underscores(name)) > (old[0] > 0, -_underscores(old[1])):
                best[start] = size, name
        self._starts = sorted(best)
        self._functions = []
        ends = sorted({*self._starts, *others})
        for start in self._starts:
            size, name = best[start]
            next_one = bisect_right(ends, start)
            behind = ends[next_one] if next_one < len(ends) else (start | 0xFFF) + 1
            self._functions.append(Function(start, min(start + size, behind) if size else behind, name))
        self._named = {f.name: f for f in reversed(self._functions)}

    def __len__(self) -> int:
        return len(self._functions)

    def at(self, address: int) -> Function | None:
        """The function that an address lies in."""
        k = bisect_right(self._starts, address) - 1
        return self._functions[k] if k >= 0 and address < self._functions[k].end else None

    def named(self, name: str) -> Function | None:
        """The function of a name, the first of several."""
        return self._named.get(name)

    def __or__(self, other: Symbols) -> Symbols:
        return Symbols((f.start, f.end - f.start, f.name) for f in (*self._functions, *other._functions))


def _underscores(name: str) -> int:
    return len(name) - len(name.lstrip("_"))


def read(path: str) -> Symbols:
    """The functions that a file names. Raises UsageError for one that is neither ELF nor a map."""
    try:
        if Path(path).stat().st_size > MOST:
            raise UsageError(f"{shown(path)}: more than {MOST >> 20} MiB")
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise UsageError(f"{shown(path)}: {why}") from None
    if data[:2] == GZIP:
        try:
            with gzip.open(path) as file:
                data = file.read(MOST)
        except (OSError, EOFError, zlib.error):
            raise UsageError(f"{shown(path)}: expected a gzip file that is whole") from None
    if data[:4] == MAGIC:
        return of_elf(path, data)
    return of_map(path, data)


def of_map(path: str, data: bytes) -> Symbols:
    """A System.map: address, kind and name on each line. Raises UsageError with the line that is none."""
    found, others = [], []
    for n, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        words = line.split()
        try:
            start, kind, name = int(words[0], 16), words[1], words[2]
        except (ValueError, IndexError):
            if not words or words[0] in ("U", "w"):
                continue
            raise UsageError(
                f"{shown(path)}:{n}: expected an address, a kind and a name as nm writes them, or an ELF file"
            ) from None
        if kind in CODE_KINDS and start < 1 << 32:
            found.append((start, 0, name))
        elif kind not in "aA":
            others.append(start)
    return Symbols(found, others)


def of_elf(path: str, data: bytes) -> Symbols:
    """The functions in the symbol table of an ELF file; none if it has no such table. Raises UsageError."""

    def bad(why: str) -> UsageError:
        return UsageError(f"{shown(path)}: {why}")

    if len(data) < 52 or data[4] != CLASS_32 or data[5] not in ORDERS:
        raise bad("expected a 32-bit ELF file")
    order: Literal["little", "big"] = ORDERS[data[5]]

    def number(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], order)

    table, entry, count = number(32, 4), number(46, 2), number(48, 2)
    if count and (entry < 40 or table + entry * count > len(data)):
        raise bad(f"{count} section headers at {table:#x}, and the file has {len(data)} bytes")
    sections = [[number(table + k * entry + 4 * n, 4) for n in range(10)] for k in range(count)]
    found = []
    for _name, kind, _flags, _address, offset, size, link, _info, _align, each in sections:
        if kind != SYMBOL_TABLE:
            continue
        if each < 16 or link >= count or offset + size > len(data):
            raise bad("its symbol table does not fit the file")
        strings = data[sections[link][4] : sections[link][4] + sections[link][5]]
        for at in range(offset, offset + size - 15, each):
            name, value, length, info = number(at, 4), number(at + 4, 4), number(at + 8, 4), data[at + 12]
            section = number(at + 14, 2)
            code = 0 < section < count and bool(sections[section][2] & EXECUTABLE)
            if code and info & 15 in (FUNCTION, NO_TYPE) and name < len(strings):
                text = strings[name : strings.find(b"\0", name)].decode("utf-8", "replace")
                if text and not text.startswith((".L", "$")):
                    found.append((value, length if info & 15 == FUNCTION else 0, text))
    return Symbols(found)
