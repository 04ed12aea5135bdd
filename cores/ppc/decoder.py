"""From instruction words to forms and back.

`forms()` gathers the entries of all chapters; `decode` finds the form of a word through the fixed bits of its pattern.
Reserved bits are not looked at. Two forms that claim one word are a build error, but for two cases: no model has what
both need, or one is a `fallback` with fewer fixed bits. So: the most specific form that the model has, wins.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from ..lang.ir import SpecError
from . import branch, efp, external, fixed, float, load_store, mac, spe, system  # noqa: F401  (they register themselves)
from .forms import ENTRIES, Form, expand, field_of, with_field
from .models import FEATURES, MODELS


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
                if (a.value ^ b.value) & a.mask & b.mask == 0 and not may_overlap(a, b):
                    raise SpecError(f"{a.entry.src}: {a.ident} overlaps {b.ident} ({b.entry.src})")


def may_overlap(a: Form, b: Form) -> bool:
    """Whether it is clear which of two forms with a common word is meant."""
    if a.entry is b.entry and a.zero != b.zero:
        return True
    if a.entry.fallback != b.entry.fallback:
        general, special = (a, b) if a.entry.fallback else (b, a)
        if special.mask != general.mask and special.mask & general.mask == general.mask:
            return True
    needs = FEATURES.get(a.entry.needs, 0) | FEATURES.get(b.entry.needs, 0)
    return not any(m.features & needs == needs for m in MODELS.values())


ALL = sum(FEATURES.values())
"""Features of a model that has everything: what tools decode for when nobody names a model."""

Table = dict[int, list[tuple[int, dict[int, tuple[Form, Form]]]]]


def allowed(form: Form, features: int) -> bool:
    """Whether a model with these features has the form."""
    needs = form.entry.needs
    return not needs or bool(FEATURES[needs] & features)


@cache
def tables(features: int = ALL) -> Table:
    """By primary opcode: masks, those with more bits first, and under each mask the values with their forms (for RA
    not 0, for RA 0). Where two families of models have a word in common, `ALL` takes that of the e500."""
    out: dict[int, dict[int, dict[int, tuple[Form, Form]]]] = {}
    for form in sorted(forms(), key=lambda form: form.entry.needs.startswith("440")):
        if not allowed(form, features):
            continue
        values = out.setdefault(form.value >> 26, {}).setdefault(form.mask, {})
        if form.zero:
            plain = values[form.value][0]
            if plain.entry is form.entry:
                values[form.value] = (plain, form)
        else:
            values.setdefault(form.value, (form, form))
    return {
        op: sorted(masks.items(), key=lambda item: bin(item[0]).count("1"), reverse=True) for op, masks in out.items()
    }


def decode(word: int, address: int = 0, features: int = ALL) -> Insn | None:
    """The instruction at `address`, or None where no form of a model with these features fits the word."""
    for mask, values in tables(features).get(word >> 26, ()):
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


__all__ = [
    "ALL",
    "Insn",
    "allowed",
    "by_ident",
    "by_mnemonic",
    "decode",
    "encode",
    "field_names",
    "forms",
    "mnemonic",
    "tables",
]
