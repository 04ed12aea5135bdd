"""Integer arithmetic and logic as test386's authors recorded it on a 386 and later (suite test386-ee, GPL-3.0).

A row is `opcode mnemonic size operands flags => operands flags`. The rows are data of the shared suites, not of this
repository; without them the tests are skipped.
"""

from __future__ import annotations

import gzip
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from cores.x86 import state as S
from tests.cores.insn_machine import DATA, STACK, InsnMachine

SUITE = Path(os.environ.get("EMU_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "suites" / "test386-ee"
FILE = SUITE / "test386-EE-reference.txt.gz"
ROWS = 44_926
UNDEFINED = {
    "CMP": 0x10,  # the rows leave it out
    "OR": 0x10, "AND": 0x10, "XOR": 0x10, "TEST": 0x10, "MUL": 0xD4, "IMUL": 0xD4, "DIV": 0x8D5, "IDIV": 0x8D5,
    "SAL": 0x810, "SHR": 0x810, "SAR": 0x810, "ROL": 0x800, "ROR": 0x800, "RCL": 0x800, "RCR": 0x800,
    "SHLD": 0x810, "SHRD": 0x810, "daa": 0x800, "das": 0x800, "aaa": 0x8C4, "aas": 0x8C4, "aam": 0x811, "aad": 0x811,
}  # fmt: skip
ALU = ("ADD", "OR", "ADC", "SBB", "AND", "SUB", "XOR", "CMP")
SHIFT = ("ROL", "ROR", "RCL", "RCR", "SHL", "SHR", "SAL", "SAR")
UNARY = {"TEST": 0, "NOT": 2, "NEG": 3, "MUL": 4, "IMUL": 5, "DIV": 6, "IDIV": 7}
DECIMAL = {"daa": "27", "das": "2F", "aaa": "37", "aas": "3F", "aam": "D40A", "aad": "D50A"}
# Immediate operands of the program that printed the rows.
ROTATE, SHIFTED = 7, {"W": 8, "D": 16}
SHORT, WIDE = (0xFF, 0xAA), ({"W": 0x8002, "D": 0x80000002}, {"W": 0xAAAA, "D": 0xAAAAAAAA})
LOGIC = ("OR", "AND", "XOR", "CMP", "TEST")
HALF = {"B": 144, "W": 576, "D": 1296}  # rows of a product or quotient before the operands change
# The program sets CF before each of these.
CARRY_IN = ("SAL", "SHR", "SAR", "ROL", "ROR", "RCL", "RCR", "SHLD", "SHRD")


@dataclass(frozen=True)
class Row:
    """One line, and which of the lines with the same opcode, mnemonic and size it is."""

    text: str
    opcode: int
    mnemonic: str
    size: str
    raises: bool
    eax: int
    edx: int
    flags: int
    eax_after: int
    edx_after: int
    flags_after: int
    place: int


def rows() -> list[Row]:
    """All rows; none if the suite is not there."""
    if not FILE.exists():
        return []
    found: list[Row] = []
    seen: Counter[str] = Counter()
    for line in gzip.decompress(FILE.read_bytes()).decode().splitlines():
        words = line.split()
        if not words:
            continue
        numbers = {"EAX": [0], "EDX": [0], "PS": [0]}
        for name, value in re.findall(r"(\w+)=(\w+)", line):
            numbers[name].append(int(value, 16))
        decimal = words[0] in DECIMAL
        mnemonic, size = (words[0], "B") if decimal else (words[1], words[2])
        opcode = 0 if decimal else int(words[0], 16)
        eax, edx, flags = (numbers[k] if len(numbers[k]) > 1 else [0, 0, 0] for k in ("EAX", "EDX", "PS"))
        key = f"{opcode} {mnemonic} {size}"
        found.append(
            Row(
                line,
                opcode,
                mnemonic,
                size,
                "#DE" in words,
                eax[1],
                edx[1],
                flags[1],
                eax[2],
                edx[2],
                flags[2],
                seen[key],
            )
        )
        seen[key] += 1
    return found


def register_of(row: Row) -> int | None:
    """The register of a short INC or DEC; the rows show it as EAX."""
    return row.opcode & 7 if row.mnemonic in ("INC", "DEC") and row.opcode < 0x100 and row.opcode >> 4 == 4 else None


def by_edx(row: Row) -> bool:
    """Whether EDX is the operand of a row of the group F6, F7. Quotients are listed by EDX, then by EAX."""
    if row.mnemonic in ("DIV", "IDIV"):
        return row.place < HALF[row.size]
    return row.mnemonic in ("TEST", "MUL", "IMUL")


def encode(row: Row, memory: bool) -> bytes | None:
    """The instruction of a row. `memory`: with the r/m operand in memory at DATA; None where it has none."""
    if row.mnemonic in DECIMAL:
        return None if memory else bytes.fromhex(DECIMAL[row.mnemonic])
    op, name, size = row.opcode, row.mnemonic, row.size
    # CBW and CWDE are listed under the size they start from.
    full = size == "D" or name in ("CWDE", "CDQ")
    prefix = b"" if full or (size == "B" and name != "CBW") else b"\x66"
    code = (b"\x0f" if op > 0xFF else b"") + bytes([op & 0xFF])

    def modrm(reg: int, rm: int) -> bytes:
        return bytes([reg << 3 | 5]) + DATA.to_bytes(4, "little") if memory else bytes([0xC0 | reg << 3 | rm])

    def immediate(value: int) -> bytes:
        return value.to_bytes({"B": 1, "W": 2, "D": 4}[size], "little")

    logic = name in LOGIC
    byte = bytes([SHORT[logic]])
    wide = b"" if size == "B" else immediate(WIDE[logic][size] & (~2 if name in ("SUB", "SBB") else ~0))
    tail = byte if op & 1 == 0 else wide
    if op in (0x98, 0x99) or register_of(row) is not None:
        return None if memory else prefix + code
    if op < 0x40 and op & 7 > 3:
        return None if memory else prefix + code + tail
    if op < 0x40:
        # EAX is the destination in either direction.
        to_rm = not op & 2
        return prefix + code + (modrm(S.EDX, S.EAX) if to_rm else modrm(S.EAX, S.EDX))
    if op in (0x84, 0x85):
        return prefix + code + modrm(S.EDX, S.EAX)
    if op in (0xA8, 0xA9):
        return None if memory else prefix + code + tail
    if op in (0x80, 0x81):
        return prefix + code + modrm(ALU.index(name), S.EDX) + tail
    if op == 0x83:
        return prefix + code + modrm(ALU.index(name), S.EAX) + byte
    if op in (0xFE, 0xFF):
        return prefix + code + modrm(int(name == "DEC"), S.EAX)
    if op in (0xF6, 0xF7):
        return prefix + code + modrm(UNARY[name], S.EDX if by_edx(row) else S.EAX) + (tail if name == "TEST" else b"")
    if op in (0xC0, 0xC1, 0xD0, 0xD1, 0xD2, 0xD3):
        return (
            prefix
            + code
            + modrm(SHIFT.index("SHL" if name == "SAL" else name), S.EAX)
            + bytes([ROTATE] if op < 0xD0 else [])
        )
    if op in (0x0FA4, 0x0FAC):
        return prefix + code + modrm(S.EDX, S.EAX) + bytes([SHIFTED[size]])
    if op in (0x0FA5, 0x0FAD):
        return prefix + code + modrm(S.EDX, S.EAX)
    if op == 0x0FAF:
        return prefix + code + modrm(S.EAX, S.EDX)
    if op == 0x69:
        return prefix + code + modrm(S.EAX, S.EAX) + immediate({"W": 0x777, "D": 0x777777}[size])
    if op == 0x6B:
        return prefix + code + modrm(S.EAX, S.EDX) + bytes([0x77 if row.place < HALF[size] else 0x89])
    raise LookupError(row.text)


def in_memory(row: Row) -> str:
    """Which of the two shown registers is the r/m operand."""
    op = row.opcode
    if op in (0x80, 0x81) or (op in (0xF6, 0xF7) and by_edx(row)):
        return "edx"
    return "edx" if (op < 0x40 and op & 2) or op in (0x0FAF, 0x6B) else "eax"


def check(m: InsnMachine, row: Row, memory: bool) -> str:
    """Run a row; gives what differs, or an empty string."""
    code = encode(row, memory)
    if code is None:
        return ""
    gpr = [0] * 17
    gpr[S.ESP] = STACK
    gpr[S.EAX], gpr[S.EDX] = row.eax, row.edx
    if row.opcode in (0xD2, 0xD3, 0x0FA5, 0x0FAD):
        gpr[S.ECX] = row.edx
    short = register_of(row)
    if short is not None:
        gpr[S.EAX], gpr[short] = gpr[short], row.eax
    where = in_memory(row)
    # MUL and DIV have EAX and EDX as operands of their own.
    implied = row.opcode in (0xF6, 0xF7) and row.mnemonic in ("MUL", "IMUL", "DIV", "IDIV")
    if memory:
        m.poke(DATA, (row.eax if where == "eax" else row.edx).to_bytes(4, "little"))
        if not implied and row.opcode != 0x69:
            gpr[S.EAX if where == "eax" else S.EDX] ^= 0x5A5A5A5A
    vector = m.run(code, row.flags & ~1 | 2 | (row.flags & 1 or row.mnemonic in CARRY_IN), gpr=gpr)
    if row.raises:
        return "" if vector == S.DE else f"raised {vector}"
    if vector is not None:
        return f"raised {vector}"
    eax, edx = m.cpu.reg("eax" if short is None else S.R32[short]), m.cpu.reg("edx")
    if memory and not implied:
        held = int.from_bytes(m.peek(DATA, 4), "little")
        if where == "edx":
            edx = held
        elif row.opcode != 0x69:
            eax = held
    if short == S.EDX:
        edx = row.edx_after
    mask = 0x8D5 & ~UNDEFINED.get(row.mnemonic, 0)
    if row.opcode in (0xD0, 0xD1):
        mask |= 0x800
    flags = m.cpu.reg("eflags")
    bad = []
    if eax != row.eax_after:
        bad.append(f"eax {eax:08x}")
    if edx != row.edx_after:
        bad.append(f"edx {edx:08x}")
    if (flags ^ row.flags_after) & mask:
        bad.append(f"flags {flags & mask:04x} not {row.flags_after & mask:04x}")
    return ", ".join(bad)


ALL = rows()
needs_suite = pytest.mark.skipif(not ALL, reason=f"the suite is not at {SUITE} (set EMU_SHARED)")


def failures(tier: str, chosen: list[Row], memory: bool) -> list[str]:
    """What differs in the chosen rows, one line each."""
    m = InsnMachine(tier)
    out = []
    for row in chosen:
        bad = check(m, row, memory)
        if bad:
            out.append(f"{row.text.strip()}: {bad}")
    return out


@pytest.mark.slow
@needs_suite
@pytest.mark.parametrize("memory", [False, True], ids=["register", "memory"])
def test_every_row_recorded_on_a_386_holds(memory: bool) -> None:
    assert len(ALL) == ROWS
    bad = failures("interp", ALL, memory)
    assert not bad, f"{len(bad)}:\n" + "\n".join(bad[:40])


@needs_suite
def test_a_sample_of_the_rows_holds_on_the_reference() -> None:
    bad = failures("reference", ALL[::29], False)
    assert not bad, f"{len(bad)}:\n" + "\n".join(bad[:40])
