"""From instruction words to forms and back.

`forms()` gathers the entries of all chapters; `decode` finds the form of a word through the fixed bits of its pattern.
Reserved bits are not looked at. Two forms that claim one word are a build error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from ..lang.ir import SpecError
from . import branch, fixed, float, load_store, system  # noqa: F401  (their entries register themselves)
from .forms import ENTRIES, Form, expand, field_of, with_field


@dataclass
class Insn:
    """A decoded instruction: generated code reads its fields as attributes. `next` is the address behind it."""

    form: Form
    word: int
    fields: dict[str, int]

    def __getattr__(self, name: str) -> int:
        try:
            return self.fields[name]
        except KeyError:
            raise AttributeError(name) from None


@cache
def field_names(ident: str) -> tuple[str, ...]:
    """The fields of a form, in the order of its syntax."""
    operands = by_ident()[ident].syntax.partition(" ")[2]
    return tuple("ra" if name == "ra0" else name for name in re.findall(r"\w+", operands))


@cache
def by_ident() -> dict[str, Form]:
    """Forms by their names."""
    return {form.ident: form for form in forms()}


def mnemonic(form: Form) -> str:
    """The first word of its syntax."""
    return form.syntax.split()[0]


@cache
def forms() -> tuple[Form, ...]:
    """All forms, numbered, not yet traced; refuses two of one name and two for one word."""
    found = [form for entry in ENTRIES for form in expand(entry)]
    names: dict[str, Form] = {}
    for n, form in enumerate(found):
        form.number = n
        if form.ident in names:
            raise SpecError(f"{form.entry.src}: {form.ident} is also the name of {names[form.ident].entry.src}")
        names[form.ident] = form
    check_overlaps(found)
    return tuple(found)


def check_overlaps(found: list[Form]) -> None:
    """Raise `SpecError` where some word fits two forms (that are not the two readings of RA)."""
    by_opcode: dict[int, list[Form]] = {}
    for form in found:
        by_opcode.setdefault(form.value >> 26, []).append(form)
    for group in by_opcode.values():
        for k, a in enumerate(group):
            for b in group[:k]:
                if (a.value ^ b.value) & a.mask & b.mask == 0 and not (a.entry is b.entry and a.zero != b.zero):
                    raise SpecError(f"{a.entry.src}: {a.ident} overlaps {b.ident} ({b.entry.src})")


Table = dict[int, list[tuple[int, dict[int, tuple[Form, Form]]]]]


@cache
def tables() -> Table:
    """By primary opcode: masks, and under each mask the values with their forms (for RA not 0, for RA 0)."""
    out: dict[int, dict[int, dict[int, tuple[Form, Form]]]] = {}
    for form in forms():
        values = out.setdefault(form.value >> 26, {}).setdefault(form.mask, {})
        plain = values[form.value][0] if form.zero else form
        values[form.value] = (plain, form)
    return {op: list(masks.items()) for op, masks in out.items()}


def decode(word: int, address: int = 0) -> Insn | None:
    """The instruction at `address`, or None where no form fits the word."""
    for mask, values in tables().get(word >> 26, ()):
        pair = values.get(word & mask)
        if pair is not None:
            form = pair[1 if word >> 16 & 31 == 0 else 0]
            fields = {name: field_of(word, name) for name in field_names(form.ident)}
            fields["next"] = (address + 4) & 0xFFFFFFFF
            return Insn(form, word, fields)
    return None


@cache
def by_mnemonic() -> dict[str, tuple[Form, ...]]:
    """Forms by the first word of their syntax."""
    out: dict[str, tuple[Form, ...]] = {}
    for form in forms():
        out[mnemonic(form)] = (*out.get(mnemonic(form), ()), form)
    return out


def encode(name: str, **fields: int) -> int:
    """The word of a mnemonic and its fields; fields not given are 0. Raises KeyError, ValueError."""
    for form in by_mnemonic()[name]:
        word = form.value
        for field, v in fields.items():
            word = with_field(word, field, v)
        if word & form.mask == form.value:
            return word
    raise ValueError(f"no form of {name} has these fields")


__all__ = ["Insn", "by_ident", "by_mnemonic", "decode", "encode", "field_names", "forms", "mnemonic", "tables"]
