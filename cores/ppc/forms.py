"""How a PowerPC entry is written, and the forms it expands into.

A pattern is an instruction form of Book I, 1.6, with its opcodes: `XO(31, 138)`. It says which bits are fixed and which
fields there are; the parameters of a body are names of fields. Bit numbers here are the manual's (0 is the top bit).
`[o]`, `[.]` in the syntax and the keyword-only parameters `oe`, `rc`, `lk`, `aa` are static: one form for each value.
"""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..lang.ir import NOWHERE, Block, SpecError, Src, may_fault
from ..lang.trace import Location, Operand, RegisterLocation, Tracer, Val, const, fieldvalue, value
from . import state as S

Body = Callable[..., None]

# Fields by name: first bit, number of bits, whether signed, and how far it is shifted left.
FIELDS: dict[str, tuple[int, int, bool, int]] = {
    "rt": (6, 5, False, 0), "rs": (6, 5, False, 0), "ra": (11, 5, False, 0), "rb": (16, 5, False, 0),
    "si": (16, 16, True, 0), "ui": (16, 16, False, 0), "d": (16, 16, True, 0),
    "to": (6, 5, False, 0), "bo": (6, 5, False, 0), "bi": (11, 5, False, 0), "bd": (16, 14, True, 2),
    "li": (6, 24, True, 2), "bt": (6, 5, False, 0), "ba": (11, 5, False, 0), "bb": (16, 5, False, 0),
    "bf": (6, 3, False, 0), "bfa": (11, 3, False, 0), "sh": (16, 5, False, 0), "mb": (21, 5, False, 0),
    "me": (26, 5, False, 0), "nb": (16, 5, False, 0), "fxm": (12, 8, False, 0), "frt": (6, 5, False, 0),
    "frs": (6, 5, False, 0), "fpbit": (6, 5, False, 0), "fpf": (6, 3, False, 0), "fpfa": (11, 3, False, 0),
    "fra": (11, 5, False, 0), "frb": (16, 5, False, 0), "frc": (21, 5, False, 0), "flm": (7, 8, False, 0),
    "u": (16, 4, False, 0), "mo": (6, 5, False, 0), "e": (16, 1, False, 0), "ct": (6, 5, False, 0),
    "uimm": (16, 5, False, 0), "ra5": (11, 5, False, 0), "crs": (29, 3, False, 0),
    "d8": (16, 5, False, 3), "d4": (16, 5, False, 2), "d2": (16, 5, False, 1),
    "simm": (11, 5, True, 0), "lev": (20, 7, False, 0), "bh": (19, 2, False, 0),
    "spr": (11, 10, False, 0), "dcrn": (11, 10, False, 0), "pmrn": (11, 10, False, 0), "ws": (16, 5, False, 0),
    "t": (9, 2, False, 0), "wc": (9, 2, False, 0), "crb": (21, 5, False, 0), "oc": (6, 15, False, 0),
}  # fmt: skip


@dataclass(frozen=True)
class Pattern:
    """Fixed bits of an encoding: `value` under `mask`, and which statics stand at which bit."""

    mask: int
    value: int
    statics: tuple[tuple[str, int], ...] = ()

    def fixed(self, first: int, count: int, bits: int) -> Pattern:
        """The same with `count` more fixed bits from bit `first`."""
        shift = 32 - first - count
        m = ((1 << count) - 1) << shift
        return Pattern(self.mask | m, self.value | bits << shift, self.statics)

    def static(self, **where: int) -> Pattern:
        """The same with static bits by name."""
        return Pattern(self.mask, self.value, (*self.statics, *where.items()))


def opcode(op: int) -> Pattern:
    """Only the primary opcode."""
    return Pattern(0, 0).fixed(0, 6, op)


def D(op: int) -> Pattern:
    """D-form: two registers and a 16-bit immediate or displacement."""
    return opcode(op)


def I(op: int) -> Pattern:  # noqa: E743
    """I-form: unconditional branch."""
    return opcode(op).static(aa=30, lk=31)


def B(op: int) -> Pattern:
    """B-form: conditional branch."""
    return opcode(op).static(aa=30, lk=31)


def X(op: int, xo: int, *, rc: int | None = None) -> Pattern:
    """X-form with a 10-bit extended opcode; bit 31 is Rc, or fixed where `rc` is given."""
    p = opcode(op).fixed(21, 10, xo)
    return p.static(rc=31) if rc is None else p.fixed(31, 1, rc)


def XO(op: int, xo: int) -> Pattern:
    """XO-form: 9-bit extended opcode with OE and Rc."""
    return opcode(op).fixed(22, 9, xo).static(oe=21, rc=31)


def XL(op: int, xo: int, *, lk: bool = False) -> Pattern:
    """XL-form: condition register logic and branches to registers."""
    p = opcode(op).fixed(21, 10, xo)
    return p.static(lk=31) if lk else p.fixed(31, 1, 0)


def M(op: int) -> Pattern:
    """M-form: rotate and mask."""
    return opcode(op).static(rc=31)


class Gpr(RegisterLocation):
    """The low word of a general register; writing it leaves the upper half."""

    def __init__(self, which: str) -> None:
        super().__init__(S.GPR, fieldvalue(which, 8), width=32, how="part")


class Fpr(RegisterLocation):
    """A floating-point register."""

    def __init__(self, which: str) -> None:
        super().__init__(S.FPR, fieldvalue(which, 8))


class GprOrZero(Location):
    """`(RA|0)`: the register, or 0 where the field is 0. The field is known when the form is chosen."""

    width = 32

    def __init__(self, which: str, zero: bool) -> None:
        self.which = which
        self.zero = zero

    def read(self) -> Val:
        """The base."""
        return const(0, 32) if self.zero else Gpr(self.which).read()


class Field(Location):
    """An immediate or a register number; reads only."""

    def __init__(self, name: str, width: int) -> None:
        self.name = name
        self.width = width

    def read(self) -> Val:
        """Its value, sign-extended to 32 bits where the field is signed."""
        return fieldvalue(self.name, self.width)


class CrField(Location):
    """A 4-bit field of CR, chosen by a 3-bit number."""

    width = 4

    def __init__(self, which: str | int) -> None:
        self.which = which

    def _shift(self) -> Val:
        if isinstance(self.which, int):
            return const(28 - 4 * self.which, 32)
        return const(28, 32) - fieldvalue(self.which, 8).zext(32) * 4

    def read(self) -> Val:
        """LT, GT, EQ, SO."""
        return (RegisterLocation(S.CR).read() >> self._shift()).low(4)

    def set(self, value_: Operand) -> None:
        """Replace the field."""
        cr = RegisterLocation(S.CR)
        shift = self._shift()
        cr.set((cr.read() & ~(const(0xF, 32) << shift)) | (value(value_, 4).zext(32) << shift))


class CrBit(Location):
    """One bit of CR, by its number."""

    width = 1

    def __init__(self, which: str) -> None:
        self.which = which

    def _shift(self) -> Val:
        return const(31, 32) - fieldvalue(self.which, 8).zext(32)

    def read(self) -> Val:
        """The bit."""
        return (RegisterLocation(S.CR).read() >> self._shift()).low(1)

    def set(self, value_: Operand) -> None:
        """Replace the bit."""
        cr = RegisterLocation(S.CR)
        shift = self._shift()
        cr.set((cr.read() & ~(const(1, 32) << shift)) | (value(value_, 1).zext(32) << shift))


@dataclass
class Entry:
    """One instruction or family as written in the spec."""

    body: Body
    syntax: str
    pattern: Pattern
    see: str
    needs: str = ""
    undefined: str = ""
    family: dict[str, Sequence[Any]] = field(default_factory=dict)
    variant: str = ""  # tells forms of one mnemonic apart
    ends: str = ""
    fallback: bool = False  # takes the words of its pattern that no other form claims
    doc: str = ""
    src: Src = NOWHERE


ENTRIES: list[Entry] = []


def insn(
    syntax: str,
    pattern: Pattern,
    *,
    see: str,
    needs: str = "",
    undefined: str = "",
    ends: str = "",
    variant: str = "",
    fallback: bool = False,
) -> Callable[[Body], Body]:
    """Declare an instruction. `see` cites Book I, `needs` is a feature of `models.py`, `ends="far"` writes PC itself,
    `ends="block"` closes its block, `variant` tells forms of one mnemonic apart, `fallback` takes what no form with
    more fixed bits takes."""

    def wrap(fn: Body) -> Body:
        doc = inspect.getdoc(fn) or ""
        src = Src(fn.__code__.co_filename, fn.__code__.co_firstlineno)
        if not doc:
            raise SpecError(f"{src}: the entry {syntax!r} has no sentence of prose")
        ENTRIES.append(Entry(fn, syntax, pattern, see, needs, undefined, {}, variant, ends, fallback, doc, src))
        return fn

    return wrap


def table(
    syntax: str, rows: Mapping[str, Pattern], *, see: str, needs: str = "", undefined: str = "", ends: str = ""
) -> Callable[[Body], Body]:
    """One body for several patterns, by `name`: mnemonics where the syntax says `{name}`, else variants of one."""

    def wrap(fn: Body) -> Body:
        for name, pattern in rows.items():
            insn(syntax.replace("{name}", name), pattern, see=see, needs=needs, undefined=undefined, ends=ends)(fn)
            ENTRIES[-1].family = {"name": (name,)}
            ENTRIES[-1].variant = "" if "{name}" in syntax else name
        return fn

    return wrap


@dataclass
class Form:
    """One decoded shape of an entry: what one handler implements."""

    entry: Entry
    ident: str
    syntax: str
    mask: int
    value: int
    params: tuple[str, ...]
    statics: dict[str, Any]
    zero: bool  # RA is 0 and reads as 0
    block: Block = field(default_factory=list)
    faults: bool = False
    branches: int = 0
    number: int = 0

    def trace(self) -> None:
        """Run the body on symbolic operands."""
        with Tracer() as t:
            self.entry.body(*(operand(p, self.zero) for p in self.params), **self.statics)
            self.block = t.finish(self.ident)
            self.branches = t.branches
        self.faults = may_fault(self.block)


def operand(name: str, zero: bool) -> Location:
    """The location behind a parameter name."""
    if name in ("rt", "rs", "ra", "rb"):
        return Gpr(name)
    if name == "ra0":
        return GprOrZero("ra", zero)
    if name in ("frt", "frs", "fra", "frb", "frc"):
        return Fpr(name)
    if name in ("bt", "ba", "bb", "bi", "crb"):
        return CrBit(name)
    if name in ("bf", "bfa"):
        return CrField(name)
    if name in FIELDS:
        _, count, is_signed, shift = FIELDS[name]
        return Field(name, 32 if is_signed or shift or count > 8 else 8)
    raise SpecError(f"{name!r} is not a field")


def expand(entry: Entry) -> list[Form]:
    """All forms of an entry, not yet traced."""
    sig = inspect.signature(entry.body)
    params = tuple(p.name for p in sig.parameters.values() if p.kind is not p.KEYWORD_ONLY)
    keywords = {p.name for p in sig.parameters.values() if p.kind is p.KEYWORD_ONLY}
    statics = [name for name, _ in entry.pattern.statics]
    unknown = keywords - set(statics) - set(entry.family)
    if unknown:
        raise SpecError(f"{entry.src}: nothing gives a value to {', '.join(sorted(unknown))}")
    known = {**{k: v[0] for k, v in entry.family.items() if k in keywords}}
    forms = []
    for bits in itertools.product((0, 1), repeat=len(statics)):
        mask_, value_ = entry.pattern.mask, entry.pattern.value
        chosen = dict(zip(statics, bits, strict=True))
        for (_, at), bit in zip(entry.pattern.statics, bits, strict=True):
            mask_ |= 1 << (31 - at)
            value_ |= bit << (31 - at)
        if any(bit and name not in keywords for name, bit in chosen.items()):
            continue  # the entry has no such variant
        syntax = _syntax(entry.syntax, chosen)
        for zero in (False, True) if "ra0" in params else (False,):
            parts = [syntax.split()[0].replace(".", "_rc"), entry.variant, "z" if zero else ""]
            ident = re.sub(r"\W", "_", "_".join(p for p in parts if p))
            forms.append(
                Form(
                    entry, ident, syntax, mask_, value_, params,
                    {**known, **{k: v for k, v in chosen.items() if k in keywords}}, zero,
                )
            )  # fmt: skip
    return forms


def syndrome(form: Form) -> int:
    """Bits of ESR that tell whose load or store it was that had a data storage, alignment or data TLB interrupt."""
    if any(name in ("frt", "frs") for name in form.params):
        return S.ESR_FP
    return S.ESR_SPV if form.entry.needs == "spe" else 0


def _syntax(text: str, chosen: dict[str, int]) -> str:
    """`adde[o][.] rt, ra, rb` with the optional letters that the statics ask for."""
    for letter, name in (("o", "oe"), (".", "rc"), ("l", "lk"), ("a", "aa")):
        text = text.replace(f"[{letter}]", letter if chosen.get(name) else "")
    return text


def halves_swapped(number: int) -> int:
    """A 10-bit number as SPR, DCR and PMR instructions hold it: low half first. Its own inverse."""
    return (number & 31) << 5 | number >> 5


def swapped(raw: Val) -> Val:
    """`halves_swapped` of the field as read at run time."""
    return ((raw & 31) << 5) | (raw >> 5)


def with_field(word: int, name: str, v: int) -> int:
    """The word with a field set; the inverse of `field_of`. Raises ValueError for what does not fit."""
    first, count, is_signed, shift = FIELDS[name]
    low = -(1 << (count - 1)) if is_signed else 0
    if v & ((1 << shift) - 1) or not low <= v >> shift < low + (1 << count):
        raise ValueError(f"{v:#x} does not fit the field {name}")
    at = 32 - first - count
    m = (1 << count) - 1
    return word & ~(m << at) | (v >> shift & m) << at


def field_of(word: int, name: str) -> int:
    """The value of a field in an instruction word; a signed one as 32-bit two's complement."""
    first, count, is_signed, shift = FIELDS[name]
    v = word >> (32 - first - count) & ((1 << count) - 1)
    if is_signed and v >> (count - 1):
        v -= 1 << count
    return (v << shift) & 0xFFFFFFFF


__all__ = [
    "XL",
    "XO",
    "B",
    "CrField",
    "D",
    "Entry",
    "Form",
    "Gpr",
    "I",
    "M",
    "X",
    "expand",
    "field_of",
    "halves_swapped",
    "insn",
    "opcode",
    "swapped",
    "syndrome",
    "table",
    "with_field",
]
