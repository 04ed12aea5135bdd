"""Precise faults (A7): every PowerPC form that touches memory, with its pages absent at first, then without the right.

Each interrupt must leave registers and memory as they were before the instruction; only multiples and strings may be
half done (Book III-E, 7.7). The page then comes, without the right that the access needs; at the next interrupt it gets
that right and no other, and the instruction starts again. In the end all is as if there had been no interrupt. Operands
lie across page edges, so that each access k = 1..n faults by itself. EMU_RELIABILITY_FULL takes more operands.
"""

from __future__ import annotations

import os
from random import Random
from typing import Any

import numpy as np
import pytest

from cores.ppc import state as S
from cores.ppc import strategies
from cores.ppc.decoder import mnemonic
from cores.ppc.effects import effects
from cores.ppc.forms import Form, with_field
from cores.ppc.models import model as model_of
from tests.cores.ppc_tiers import CODE, DATA, STRIDE, VECTORS, WINDOW, Pair, pair

pytest.importorskip("emu.engine._ppc")
pytestmark = pytest.mark.usefixtures("tiers")

MODELS = ("440EP", "460EX", "e500v1", "e500v2", "e500mc")
FULL = bool(os.environ.get("EMU_RELIABILITY_FULL"))
PAGES = 4
FIRST = 8  # entry of the TLB for the first page of the window; TLB1 of an e500
EDGE = WINDOW + 0x2000
HALF_DONE = ("lmw", "stmw", "lswi", "lswx", "stswi", "stswx")
ME, PR, FP, SPV = (1 << n for n in (S.MSR_ME, S.MSR_PR, S.MSR_FP, S.MSR_SPV))
ST = 1 << 23
# What an interrupt and the time it takes change.
_TOUCHED = frozenset(
    "pc msr srr0 srr1 esr dear fault_dear step_pc step_lr step_ctr step_msr step_far timer_stamp tsr dec "
    "mas0 mas1 mas2 mas3 mas4 mas6 mas7 utlb0 utlb1 utlb2 utlb_tid etlb_mas1 etlb_mas2 etlb_mas3".split()
)


def candidates(model: str) -> list[Form]:
    """The forms that reach memory; those without a base only with an index, as the others cannot reach the window."""
    found = [form for family in pair(model).families for form in family if effects(form).memory]
    return [form for form in found if "dcr" not in form.ident and (not form.zero or "rb" in form.params)]


def entry(model: str, page: int, rights: str | None) -> dict[str, Any]:
    """The entry of a page of the window with rights of "rw", for user and supervisor; None: no entry."""
    n, at, real = FIRST + page, WINDOW + page * 0x1000, DATA + (page ^ 1) * 0x1000
    allowed = rights or ""
    if model_of(model).has("440"):
        bits = 9 * ("r" in allowed) | 18 * ("w" in allowed)
        return {"utlb0": {n: 0 if rights is None else at | 0x210}, "utlb1": {n: real}, "utlb2": {n: bits},
                "utlb_tid": {n: 0}}  # fmt: skip
    n += S.TLB1_FIRST
    bits = 3 * ("r" in allowed) | 12 * ("w" in allowed)
    return {"etlb_mas1": {n: 0 if rights is None else 0x80000100}, "etlb_mas2": {n: at}, "etlb_mas3": {n: real | bits}}


def give(both: Pair, page: int, rights: str | None) -> None:
    for cpu in both.cpus:
        cpu.load_values(entry(both.model, page, rights))


def drawn(rng: Random, form: Form) -> int:
    """A word whose bases are r3 and r7 and whose targets are others."""
    word = strategies.word(rng, form, bases=(3,), indexes=(7,), reserved=False)
    for name in ("rb", "ra"):
        if name in form.params:
            word = with_field(word, name, 7 if name == "rb" else 3)
    if "ra0" in form.params and not form.zero:
        word = with_field(word, "ra", 3)
    for name in ("rt", "rs"):
        if name in form.params:
            # Strings go on to the next registers, and must not reach the bases.
            first = rng.randrange(8, 11 if mnemonic(form) in HALF_DONE else 32)
            word = with_field(word, name, first)
    if "d" in form.params:
        word = with_field(word, "d", rng.choice((0, 4, -4, 8)))
    return word


def scene(model: str, form: Form, seed: int, *, demand: bool) -> Pair:
    """The instruction at CODE, its operand around the edge, and every handler a stop."""
    both = pair(model)
    rng = Random(f"{form.ident} {seed}")
    both.start(rng, both.families, 1)
    word = drawn(rng, form)
    back = rng.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 32, 40))
    index = rng.choice((0, 4, -8))
    if rng.random() < 0.5:
        back, index = back & -8, index & -8  # some forms want doublewords
    base = EDGE - back - index * ("rb" in form.params)
    if form.zero:
        index = EDGE - back
    msr = ME | (SPV if model_of(model).has("spe") else FP) | rng.choice((0, PR))
    msr |= 1 << S.MSR_UCLE & model_of(model).msr_mask
    values: dict[str, Any] = {
        "gpr": {3: base, 7: index & 0xFFFFFFFF}, "msr": msr, "dbcr0": 0, "tcr": 0, "pid": {0: 0},
        "xer_count": rng.choice((0, 1, 4, 9, 33, 70)), "reserve": rng.randrange(2), "mas4": 0,
    }  # fmt: skip
    # A reservation of the word at the edge, or of another.
    place = DATA + 0x2000 if back < 4 else DATA + 0x3000 + (0x1000 - back & -4)
    values["reserve_addr"] = place & ~31 if rng.random() < 0.7 else DATA
    stay = (0x48000000).to_bytes(4, "big")
    for cpu, ram in zip(both.cpus, both.rams, strict=True):
        ram.view[CODE : CODE + 4] = word.to_bytes(4, "big")
        for n in range(42):
            ram.view[VECTORS + STRIDE * n : VECTORS + STRIDE * n + 4] = stay
        values["reserve_value"] = int.from_bytes(ram.view[place : place + 4], "big")
        cpu.load_values(values)
    for page in range(PAGES):
        give(both, page, None if demand else "rw")
    # The window of ppc_tiers has entries of its own.
    for cpu in both.cpus:
        first = S.TLB1_FIRST + 2
        if model_of(model).has("440"):
            cpu.load_values({"utlb0": dict.fromkeys(range(2, 6), 0)})
        else:
            cpu.load_values({"etlb_mas1": dict.fromkeys(range(first, first + 4), 0)})
    return both


def kept(cpu: Any) -> dict[str, Any]:
    """The state that an interrupt leaves alone."""
    return {name: v for name, v in cpu.state().items() if name not in _TOUCHED}


def step(both: Pair, what: str) -> int | None:
    """One instruction; the interrupt it took, None for none."""
    before = len(both.cpus[0].exceptions())
    assert both.differs([cpu.run(1) for cpu in both.cpus]) == "", what
    story = both.cpus[0].exceptions()
    return story[-1]["vector"] if len(story) > before else None


def is_store(form: Form) -> bool:
    """What is taken for a store (Book II, 4.3; e500 RM, 3.8.3)."""
    name = mnemonic(form).rstrip(".")
    return name.startswith(("st", "evst")) or name in ("dcbz", "dcbzep", "dcbi", "dcbtstls")


def case(model: str, form: Form, seed: int) -> int:
    """A form under demand paging; the number of interrupts it took."""
    both = scene(model, form, seed, demand=True)
    what = f"{model} {form.ident} seed {seed}"
    start, memory = kept(both.cpus[0]), both.rams[0].array.copy()
    msr = both.cpus[0].reg("msr")
    partial, store = mnemonic(form) in HALF_DONE, is_store(form)
    faults, ivor = 0, step(both, what)
    present: set[int] = set()
    while ivor in (S.DATA_TLB, S.DATA_STORAGE):
        faults += 1
        assert faults <= 2 * PAGES, what
        cpu = both.cpus[0]
        assert (cpu.reg("srr0"), cpu.reg("srr1")) == (CODE, msr), what
        assert cpu.reg("esr") & ST == (ST if store else 0), what
        now = kept(cpu)
        wrong = [name for name, v in now.items() if v != start[name] and not (partial and name == "gpr")]
        assert not wrong, f"{what}: interrupt {faults} changes {wrong}"
        if partial:
            assert [now["gpr"][n] for n in (3, 7)] == [start["gpr"][n] for n in (3, 7)], what
        if not partial or not store:
            assert np.array_equal(both.rams[0].array, memory), f"{what}: interrupt {faults} leaves memory half written"
        page = cpu.reg("dear") - WINDOW >> 12
        assert 0 <= page < PAGES, what
        if ivor == S.DATA_TLB:
            assert page not in present, what
            present.add(page)
            give(both, page, "r" if store else "w")
        else:
            assert page in present, what
            give(both, page, "w" if store else "r")
        for cpu in both.cpus:
            cpu.load_values({"pc": CODE, "msr": msr})
        ivor = step(both, what)
    end, written = kept(both.cpus[0]), both.rams[0].array.copy()
    assert both.cpus[0].icount == faults + 1, what
    fresh = scene(model, form, seed, demand=False)
    assert step(fresh, what) == ivor, what
    if ivor is not None:
        # An alignment interrupt, a privileged instruction: nothing is done.
        assert kept(fresh.cpus[0]) == start and np.array_equal(fresh.rams[0].array, memory), what
    wrong = [name for name, v in kept(fresh.cpus[0]).items() if v != end[name]]
    assert not wrong, f"{what}: {wrong} in the end"
    assert np.array_equal(fresh.rams[0].array, written), f"{what}: memory in the end"
    return faults


def campaign(model: str, forms: list[Form], seeds: int) -> dict[str, int]:
    return {form.ident: max(case(model, form, seed) for seed in range(seeds)) for form in forms}


@pytest.mark.parametrize("model", MODELS)
def test_a_sample_of_forms_can_be_restarted_at_every_access(model: str) -> None:
    forms = candidates(model)
    seen = campaign(model, forms[:: len(forms) // 25], 2)
    assert sum(n > 1 for n in seen.values()) > 10


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_every_form_can_be_restarted_at_every_access(model: str) -> None:
    seen = campaign(model, candidates(model), 24 if FULL else 14)
    assert [ident for ident, n in seen.items() if n < 2] == []
    # Both pages, absent and without the right.
    assert sum(n == 4 for n in seen.values()) > 10


@pytest.mark.parametrize("model", ["440EP", "e500v2"])
def test_a_store_conditional_needs_the_right_to_store_and_no_other(model: str) -> None:
    (form,) = (form for form in candidates(model) if form.ident == "stwcx_rc")
    assert max(case(model, form, seed) for seed in range(6)) == 2
