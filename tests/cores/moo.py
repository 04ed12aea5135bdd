"""Reader of the MOO single-instruction test format (the layout stands in the suites' README)."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

REGISTERS = ("ax", "bx", "cx", "dx", "cs", "ss", "ds", "es", "sp", "bp", "si", "di", "ip", "flags")


@dataclass
class Case:
    """One instruction: state before and what changed."""

    index: int
    name: str = ""
    code: bytes = b""
    regs: dict[str, int] = field(default_factory=dict)
    ram: list[tuple[int, int]] = field(default_factory=list)
    final_regs: dict[str, int] = field(default_factory=dict)
    final_ram: list[tuple[int, int]] = field(default_factory=list)
    exception: int | None = None
    flags_address: int = 0
    hash: str = ""


def _chunks(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while at < end:
        tag, size = data[at : at + 4], struct.unpack_from("<I", data, at + 4)[0]
        yield tag, at + 8, at + 8 + size
        at += 8 + size


def _regs(data: bytes, at: int) -> dict[str, int]:
    mask = struct.unpack_from("<H", data, at)[0]
    out = {}
    for k, name in enumerate(REGISTERS):
        if mask >> k & 1:
            at += 2
            out[name] = struct.unpack_from("<H", data, at)[0]
    return out


def _ram(data: bytes, at: int) -> list[tuple[int, int]]:
    count = struct.unpack_from("<I", data, at)[0]
    return [struct.unpack_from("<IB", data, at + 4 + 5 * k) for k in range(count)]


def read(path: Path) -> list[Case]:
    """All cases of a file."""
    data = gzip.decompress(path.read_bytes())
    cases = []
    for tag, at, end in _chunks(data, 0, len(data)):
        if tag != b"TEST":
            continue
        case = Case(struct.unpack_from("<I", data, at)[0])
        for t, a, e in _chunks(data, at + 4, end):
            if t == b"NAME":
                case.name = data[a + 4 : e].decode()
            elif t == b"BYTS":
                case.code = data[a + 4 : e]
            elif t == b"EXCP":
                case.exception = data[a]
                case.flags_address = struct.unpack_from("<I", data, a + 1)[0]
            elif t == b"HASH":
                case.hash = data[a:e].hex()
            elif t in (b"INIT", b"FINA"):
                for t2, a2, _ in _chunks(data, a, e):
                    if t2 == b"REGS":
                        regs = _regs(data, a2)
                        if t == b"INIT":
                            case.regs = regs
                        else:
                            case.final_regs = regs
                    elif t2 == b"RAM ":
                        if t == b"INIT":
                            case.ram = _ram(data, a2)
                        else:
                            case.final_ram = _ram(data, a2)
        cases.append(case)
    return cases
