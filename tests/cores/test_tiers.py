"""The compiled interpreter and the Python reference give the same state after the same number of instructions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cores.lang.strategies import pick
from cores.x86 import models, strategies
from cores.x86.decoder import decode, tables
from tests.cores.tier_machine import CODE, DATA, DATA_PORT, MODES, Pair, world

pytest.importorskip("emu.engine._x86")

LENGTH = 24
MOST = 120
_pairs: dict[str, Pair] = {}
_chapters = strategies.forms()


def pair(model: str = "qemu32") -> Pair:
    """The two processors, made once."""
    if model not in _pairs:
        _pairs[model] = Pair(model)
    return _pairs[model]


def run(seed: int, mode: str, model: str = "qemu32") -> str:
    """Run one drawn program on both tiers; what differs."""
    rng = Random(seed)
    return pair(model).run(world(rng, mode, _chapters, LENGTH), rng, MOST)


@pytest.mark.parametrize("mode", MODES)
def test_both_tiers_run_drawn_programs_alike(mode: str) -> None:
    before = pair().executed
    for seed in range(12):
        assert run(seed, mode) == "", f"seed {seed}"
    assert pair().executed > before + 100


@pytest.mark.parametrize("model", ["486", "pentium", "pentium3"])
def test_both_tiers_agree_on_what_an_older_model_lacks(model: str) -> None:
    for seed, mode in enumerate(MODES):
        assert run(1000 + seed, mode, model) == "", f"seed {1000 + seed} {mode}"


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False), st.sampled_from(MODES))
def test_both_tiers_run_shrinkable_programs_alike(rng: Any, mode: str) -> None:
    assert pair().run(world(rng, mode, _chapters, 6), rng, 30) == ""


@pytest.mark.slow
def test_both_tiers_agree_for_two_hundred_thousand_instructions() -> None:
    both = pair()
    start = both.executed
    seed = 10_000
    while both.executed - start < 200_000:
        assert run(seed, MODES[seed % len(MODES)]) == "", f"seed {seed} {MODES[seed % len(MODES)]}"
        seed += 1
    # Most programs must get somewhere for this to mean anything.
    assert (both.executed - start) / (seed - 10_000) > 20
    assert both.cpus[1].stats()["functions"] > len(tables().forms) * 0.9


@pytest.mark.slow
def test_both_tiers_agree_on_every_form(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = models.MODELS["qemu32"]
    everything = replace(plain, name="everything", flags=f"{plain.flags} ssse3 mtrr mca")
    monkeypatch.setitem(models.MODELS, "everything", everything)
    both = pair("everything")
    for form in tables().forms:
        rng = Random(form.ident)
        w = world(rng, pick(rng, MODES), {"": [form]}, 10)
        assert both.run(w, rng, 40) == "", form.ident


@pytest.mark.parametrize("big", [False, True])
def test_a_drawn_instruction_decodes_to_its_form(big: bool) -> None:
    rng = Random(7)
    place = strategies.Place(big, 0x2000, 0x1000)
    features = (*models.cpu_model("qemu32").features, 0)
    wrong = []
    for form in tables().forms:
        if form.entry.needs == "ssse3":
            continue
        for _ in range(4):
            rest: Iterator[int] = iter(strategies.instruction(rng, form, place, plain=True))
            insn = decode(lambda rest=rest: next(rest), 0x1000, big, features)
            if insn.form is not form or next(rest, None) is not None:
                wrong.append((form.ident, insn.raw.hex(), insn.form.ident if insn.form else None))
    assert wrong == []


@pytest.mark.parametrize("opcode", [b"\xf3\x66\x6d", b"\xf3\x6d", b"\xf3\x6c", b"\xf3\x66\x6f", b"\xf3\x6e"])
def test_blocks_of_port_data_arrive_at_the_counts_of_single_accesses(opcode: bytes) -> None:
    both = pair()
    place = {"gpr": [0, 100, DATA_PORT, 0, 0, 0, DATA, DATA, *[0] * 9], "eip": CODE, "eflags": 2}
    w = world(Random(1), "flat32", _chapters, 1)
    w.memory[CODE] = opcode + b"\xf4"
    w.state.update(place)
    w.seed = 0
    before = [cpu.stats() for cpu in both.cpus]
    assert both.run(w, Random(5), 400) == ""
    calls = [
        sum(cpu.stats()[k] - b[k] for k in ("port_reads", "port_writes"))
        for cpu, b in zip(both.cpus, before, strict=True)
    ]
    assert calls[0] < calls[1] == 100
    assert [entry[1] for entry in both.buses[0].log].count(5) == both.buses[0].moved // 64
