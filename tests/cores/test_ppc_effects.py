"""What the effects of a form say is what the form does: drawn words on a small machine."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from cores.ppc import state as S
from cores.ppc.decoder import Insn, allowed, field_names, forms
from cores.ppc.effects import _NAMES, _OWN, _element, effects
from cores.ppc.forms import FIELDS, Form
from cores.ppc.models import model as model_of
from tests.cores.ppc_machine import Interrupt, Machine

EACH = 4
FILES = ("pid", "sprg", "gsprg", "iac", "dac", "dvc", "ivor", "givor", "cache_lines")


def drawn(form: Form, rng: Random) -> int:
    word = form.value
    for name in field_names(form.ident):
        first, count, _, _ = FIELDS[name]
        free = ((1 << count) - 1) << (32 - first - count) & ~form.mask
        word = word & ~free | rng.getrandbits(32) & free
    return word & ~0x001F0000 if form.zero else word | (0x00010000 if "ra0" in form.params else 0)


def shuffle(m: Machine, rng: Random) -> None:
    """Random registers that programs have; the TLBs and what makes the model stay."""
    for n in range(32):
        m.s.gpr[n] = rng.choice((0, 1, rng.getrandbits(64), rng.getrandbits(8) << 2))
        m.s.fpr[n] = rng.choice((0, 1 << 63, 0x3FF << 52, 0x7FF << 52, rng.getrandbits(64)))
    m.s.cr, m.s.lr, m.s.ctr = (rng.getrandbits(32) for _ in range(3))
    m.s.xer_so, m.s.xer_ov, m.s.xer_ca = (rng.getrandbits(1) for _ in range(3))
    m.s.xer_count = rng.randrange(16)
    m.s.fpscr = rng.getrandbits(8)
    m.s.msr = (1 << S.MSR_FP | 1 << S.MSR_SPV) & rng.getrandbits(32) | rng.choice((0, 0, 1 << S.MSR_PR)) & m.s.msr_mask


WATCHED = [r for r in S.STATE if r.name not in ("cr", "pc") and r.name not in _OWN and not r.hidden]


def values(s: Any) -> dict[str, Any]:
    """All registers, files as lists, CR as a list of its fields."""
    out: dict[str, Any] = {r.name: list(getattr(s, r.name)) if r.count else getattr(s, r.name) for r in WATCHED}
    return out | {"cr": [s.cr >> shift & 15 for shift in range(28, -4, -4)]}


def changed(before: dict[str, Any], after: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """Names, and numbers in files."""
    for name, old in before.items():
        new = after[name]
        if new == old:
            continue
        if isinstance(old, list):
            yield from ((name, k) for k, (x, y) in enumerate(zip(old, new, strict=True)) if x != y)
        else:
            yield name, -1


def is_stated(form: Form, insn: Insn, name: str, index: int) -> bool:
    """Whether the effects say that this register may be written."""
    found = effects(form)
    written = found.operands_written
    if name in ("gpr", "fpr"):
        kinds = ("rt", "rs", "ra", "rb") if name == "gpr" else ("frt", "frs", "fra", "frb", "frc")
        by_operand = any(insn.fields[f] == index for f in kinds if f in written)
        return by_operand or any(text.startswith("further registers") for text in found.written)
    if name == "cr":
        by_operand = ("bf" in written and insn.fields["bf"] == index) or (
            "bt" in written and insn.fields["bt"] >> 2 == index
        )
        return by_operand or "CR" in found.written or f"CR{index}" in found.written
    shown = _NAMES.get(name) or (_element(name, index) if name in FILES else name.upper())
    return shown in found.written or name.upper() in found.written


@pytest.mark.parametrize("model", ["440EP", "460EX", "e500v2", "e500mc"])
def test_only_what_is_stated_changes_and_only_stated_interrupts_come(model: str) -> None:
    rng = Random(5)
    features = model_of(model).features
    m = Machine(model)
    wrong, interrupts, changes = set(), 0, 0
    for form in forms():
        if not allowed(form, features):
            continue
        for _ in range(EACH):
            word = drawn(form, rng)
            shuffle(m, rng)
            before = values(m.s)
            try:
                insn = m.run(word)
            except Interrupt as found:
                interrupts += 1
                if not any(f"(IVOR{found.ivor})" in name for name in effects(form).interrupts):
                    wrong.add(f"{form.ident}: interrupt {found.ivor}")
                continue
            if insn.form is not form:
                continue
            for name, index in changed(before, values(m.s)):
                changes += 1
                if not is_stated(form, insn, name, index):
                    wrong.add(f"{form.ident}: {name} {index}")
    assert not wrong, "\n".join(sorted(wrong))
    assert interrupts > 100 and changes > 1000
