"""Reader of valgrind's instruction rows (insn_*.def, GPL-2.0-or-later): one instruction a line.

`insn [inputs :] operands => results`: what stands before the colon is only there, what follows it is written in the
instruction, source first. An item is `kind.type[elements]`; in the results the kind may be the number of an operand.
The rows are data of the shared suites, not of this repository: `rows` is empty without them.
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path

SHARED = Path(os.environ.get("EMU_SHARED", Path(__file__).resolve().parents[3] / "shared"))
SUITE = SHARED / "suites" / "valgrind-x86-insn"
MISSING = f"no insn_*.def under {SUITE}; set EMU_SHARED"
_ITEM = re.compile(r"(\w+?)(?:\.(\w\w))?\[([^]]*)\]")
_SIZE = {"b": 1, "w": 2, "d": 4, "q": 8}


@dataclass(frozen=True)
class Item:
    """An input, operand or result. `type` is ub to sq, ps, pd, or empty for a plain number or a mask and a value."""

    kind: str
    type: str
    text: str

    @property
    def elements(self) -> list[str]:
        """The elements as written."""
        return [x.strip() for x in self.text.split(",")]

    @property
    def numbers(self) -> list[int]:
        """The elements as integers."""
        return [int(x, 0) for x in self.elements]

    @property
    def data(self) -> bytes:
        """The elements in memory order."""
        if self.type in ("ps", "pd"):
            return b"".join(struct.pack("<f" if self.type == "ps" else "<d", float(x)) for x in self.elements)
        size = _SIZE[self.type[1]]
        return b"".join((x & (1 << 8 * size) - 1).to_bytes(size, "little") for x in self.numbers)

    @property
    def value(self) -> int:
        """The elements as one integer, the first lowest."""
        return int.from_bytes(self.data, "little")


@dataclass(frozen=True)
class Row:
    """One line."""

    text: str
    mnemonic: str
    inputs: list[Item]
    operands: list[Item]
    results: list[Item]

    def __str__(self) -> str:
        return self.text


def parse(line: str) -> Row:
    """Take a line apart."""
    head, _, tail = line.partition("=>")
    mnemonic, _, rest = head.strip().partition(" ")
    before, colon, after = rest.partition(":")
    inputs, operands = (before, after) if colon else ("", before)
    found = [[Item(*m) for m in _ITEM.findall(part)] for part in (inputs, operands, tail)]
    # A control word is never an operand.
    found[0] += [x for x in found[1] if x.kind in ("fpucw", "eflags")]
    found[1] = [x for x in found[1] if x.kind not in ("fpucw", "eflags")]
    return Row(line, mnemonic, *found)


def rows(name: str) -> list[Row]:
    """The enabled rows of `name`.def; none if the suite is not there."""
    path = SUITE / f"{name}.def"
    lines = path.read_text().splitlines() if path.exists() else []
    return [parse(line.strip()) for line in lines if line.strip() and not line.lstrip().startswith("#")]


def close(got: float, wanted: str, relative: float = 1e-6) -> bool:
    """Equality to the digits written, and to a float's precision."""
    mantissa, _, exponent = wanted.partition("e")
    digit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    return abs(got - float(wanted)) <= 0.5 * digit + relative * abs(float(wanted))
