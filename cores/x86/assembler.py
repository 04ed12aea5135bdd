"""The x86 assembler: multi-line sources with labels and directives, in the syntax that `text.disassemble` prints.

`cores/lang/assembler.py` is the frame and says which directives there are; `bits 16|32` (also `use16`, `use32`) is
x86's own. Jumps and displacements take the shortest form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..lang.assembler import AsmError, Program, assemble_with, strip_comment
from ..lang.to_text import Lookup, TextError, Tokens, parse_expression
from .encoder import Instruction, Plan, is_mnemonic, parse, plan, shortest
from .operands import REGISTERS, SEGMENTS, SIZE_WORDS


@dataclass
class Encodings:
    """The forms that an instruction may take."""

    plans: list[Plan]
    fixed: bool

    def encode(self, lookup: Lookup, here: int, at_least: int = 0) -> bytes:
        """See `lang.assembler.Code`."""
        return shortest(self.plans, lookup, here, at_least)


class X86:
    """The dialect; `big` is the mode until a `bits`."""

    order: Literal["little"] = "little"
    comments = ";"
    directives = ("bits", "use16", "use32")
    data: Mapping[str, int] = {}

    def __init__(self, big: bool) -> None:
        self.big = big

    def reserved(self, word: str) -> bool:
        """Registers and sizes."""
        return word in REGISTERS or word in SIZE_WORDS

    def is_prefix(self, word: str) -> bool:
        """`es:` and so on."""
        return word in SEGMENTS

    def is_mnemonic(self, word: str) -> bool:
        """Instructions and prefixes."""
        return is_mnemonic(word)

    def directive(self, word: str, tokens: Tokens, lookup: Lookup) -> None:
        """Change the mode."""
        bits = parse_expression(tokens).value(lookup) if word == "bits" else int(word[3:])
        if bits not in (16, 32):
            raise TextError(f"bits {bits}: 16 or 32 is expected")
        self.big = bits == 32

    def instruction(self, tokens: Tokens, lookup: Lookup) -> Encodings:
        """One instruction with its prefixes."""
        insn = parse(tokens, lookup)
        plans = plan(insn, self.big)
        return Encodings(plans, not insn.symbols() and not _relative(insn, plans))

    def padding(self, count: int) -> bytes:
        """NOP."""
        return b"\x90" * count


def _relative(insn: Instruction, plans: list[Plan]) -> bool:
    return any(code in ("Jb", "Jz") for p in plans for code, _ in p.slots)


def assemble_program(text: str, *, file: str = "<text>", origin: int = 0, big: bool = True) -> Program:
    """Assemble a source. `origin` is the address of its first byte, `big` its mode until a `bits`. Raises AsmError."""
    return assemble_with(X86(big), text, file=file, origin=origin)


def assemble(text: str, eip: int = 0, big: bool = True, *, file: str = "<text>") -> bytes:
    """The bytes of one or more lines, at address `eip`, in 32-bit mode if `big`. Raises AsmError."""
    return assemble_program(text, file=file, origin=eip, big=big).data


__all__ = ["AsmError", "Program", "assemble", "assemble_program", "strip_comment"]
