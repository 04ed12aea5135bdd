"""Operands as text: names and sizes shared by the disassembler (`text.py`) and the assembler (`encoder.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from ..lang.ir import Let, walk
from ..lang.to_text import Node
from . import state as S
from .forms import FIXED_REGISTERS, FIXED_SEGMENTS, Form, operand_width

SIZES = {8: "byte", 16: "word", 32: "dword", 64: "qword", 80: "tword", 128: "oword"}
SIZE_WORDS = {**{word: bits for bits, word in SIZES.items()}, "tbyte": 80, "xmmword": 128, "fword": 48}
SEGMENTS = S.SEGMENT_NAMES[:6]
CONTROL = {k: f"cr{k}" for k in range(8)}
DEBUG = {k: f"dr{k}" for k in range(8)}
REGISTERS: dict[str, tuple[str, int]] = {
    **{name: ("r8", k) for k, name in enumerate(S.R8)},
    **{name: ("r16", k) for k, name in enumerate(S.R16)},
    **{name: ("r32", k) for k, name in enumerate(S.R32)},
    **{name: ("seg", k) for k, name in enumerate(SEGMENTS)},
    **{name: ("cr", k) for k, name in CONTROL.items()},
    **{name: ("dr", k) for k, name in DEBUG.items()},
    **{f"mm{k}": ("mm", k) for k in range(8)},
    **{f"xmm{k}": ("xmm", k) for k in range(8)},
    **{f"st{k}": ("st", k) for k in range(8)},
    "st": ("st", 0),
}
NAMES = {place: name for name, place in REGISTERS.items() if name != "st"}


@dataclass(frozen=True)
class Reg:
    """A register: kind `r8 r16 r32 seg cr dr mm xmm st` and number."""

    kind: str
    number: int

    @property
    def width(self) -> int:
        """Width in bits, for general and segment registers; 0 for the others."""
        return int(self.kind[1:]) if self.kind[1:].isdigit() else 16 if self.kind == "seg" else 0

    def __str__(self) -> str:
        return NAMES[self.kind, self.number]


@dataclass(frozen=True)
class Mem:
    """A memory operand. Registers are numbers or -1; `size` 0 is not said, `asz` 0 follows from the mode."""

    seg: int
    base: int
    index: int
    scale: int
    disp: Node
    size: int
    asz: int
    far: bool = False

    def __str__(self) -> str:
        return f"{SIZES.get(self.size, '')} memory".strip()


@dataclass(frozen=True)
class Imm:
    """A number, with its size if said, and `short` or `near` in front of a target."""

    node: Node
    size: int = 0
    reach: str = ""

    def __str__(self) -> str:
        return f"{SIZES.get(self.size, '')} number".strip()


@dataclass(frozen=True)
class Far:
    """`selector:offset`."""

    selector: Node
    offset: Node
    size: int = 0

    def __str__(self) -> str:
        return "selector:offset"


Parsed = Reg | Mem | Imm | Far

IMMEDIATES = {"Ib", "Ibs", "Iw", "Iz", "Id", "Ib2", "1"}
TARGETS = {"Jb", "Jz"}


def memory_width(code: str, osz: int) -> int:
    """Width in bits of a memory operand with this code, 0 where it has none (an address, a structure)."""
    if code == "M80":
        return 80
    if code in ("Mp", "Ma", "Ms", "M"):
        return 0
    if code[0] in "VW" and code[1:] in ("ps", "pd", "dq", "x"):
        return 128
    return operand_width(code, osz)


def register_kind(code: str, form: Form) -> str:
    """Kind of register that a code stands for in this form, "" if it is none."""
    osz = form.osz or 32
    if code in FIXED_REGISTERS:
        return f"r{operand_width(code, osz)}"
    if code in FIXED_SEGMENTS or code == "Sw":
        return "seg"
    if code in ("ST", "STi"):
        return "st"
    if code in IMMEDIATES or code in TARGETS or code in ("Ap", "Ob", "Ov"):
        return ""
    letter = code[0]
    if letter in "GZR" or (letter == "E" and form.mem == 0):
        # The manual writes r32 for the word that PINSRW takes.
        if form.mnemonic == "pinsrw" and code == "Ew":
            return "r32"
        return f"r{operand_width(code, osz)}"
    if letter == "V" or (letter in "WU" and form.mem == 0):
        return "xmm"
    if letter == "P" or (letter in "QN" and form.mem == 0):
        return "mm"
    return {"C": "cr", "D": "dr"}.get(letter, "")


def is_memory(code: str, form: Form) -> bool:
    """Whether the code stands for memory in this form."""
    return code in ("Ob", "Ov") or (
        form.mem == 1 and code[0] in "EMWQ" and code not in FIXED_REGISTERS and code not in FIXED_SEGMENTS
    )


def repeats(form: Form) -> bool:
    """Whether F2 and F3 are repeat prefixes to this form."""
    return "prefix" in form.statics


@cache
def _segment_of(number: int) -> bool:
    from .decoder import tables

    form = tables().form(number)
    if not form.block:
        form.trace()
    return any(isinstance(s, Let) and s.value.op == "field" and s.value.attr == "seg" for s in walk(form.block))


def implied_segment(form: Form) -> bool:
    """Whether a segment override matters to a form that names no memory operand (strings, XLAT)."""
    return not any(is_memory(c, form) for c in form.codes) and form.mem != 1 and _segment_of(form.number)
