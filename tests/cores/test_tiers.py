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
from cores.x86 import state as S
from cores.x86.decoder import decode, tables
from tests.cores.flat import make_cpu
from tests.cores.tier_machine import CODE, DATA, DATA_PORT, MODES, Pair, world
from tests.cores.tiers import TIERS, chosen

pytest.importorskip("emu.engine._x86")

LENGTH = 24
MOST = 120
M32 = 0xFFFFFFFF
_pairs: dict[tuple[object, ...], Pair] = {}
_chapters = strategies.forms()


def pair(model: str = "qemu32") -> Pair:
    """The two processors, made once."""
    key = model, chosen()
    if key not in _pairs:
        _pairs[key] = Pair(model)
    return _pairs[key]


def run(seed: int, mode: str, model: str = "qemu32") -> str:
    """Run one drawn program on both tiers; what differs."""
    rng = Random(seed)
    return pair(model).run(world(rng, mode, _chapters, LENGTH), rng, MOST)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.usefixtures("tiers")
def test_both_tiers_run_drawn_programs_alike(mode: str) -> None:
    before = pair().executed
    for seed in range(12):
        assert run(seed, mode) == "", f"seed {seed}"
    assert pair().executed > before + 100


@pytest.mark.parametrize("model", ["486", "pentium", "pentium3"])
@pytest.mark.usefixtures("tiers")
def test_both_tiers_agree_on_what_an_older_model_lacks(model: str) -> None:
    for seed, mode in enumerate(MODES):
        assert run(1000 + seed, mode, model) == "", f"seed {1000 + seed} {mode}"


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False), st.sampled_from(MODES))
@pytest.mark.usefixtures("tiers")
def test_both_tiers_run_shrinkable_programs_alike(rng: Any, mode: str) -> None:
    assert pair().run(world(rng, mode, _chapters, 6), rng, 30) == ""


@pytest.mark.slow
@pytest.mark.usefixtures("tiers")
def test_both_tiers_agree_for_two_hundred_thousand_instructions() -> None:
    both = pair()
    start = both.executed
    seed = 10_000
    while both.executed - start < 200_000:
        assert run(seed, MODES[seed % len(MODES)]) == "", f"seed {seed} {MODES[seed % len(MODES)]}"
        seed += 1
    # Most programs must get somewhere for this to mean anything.
    assert (both.executed - start) / (seed - 10_000) > 20
    if chosen()[1] == "reference":
        assert both.cpus[1].stats()["functions"] > len(tables().forms) * 0.9


@pytest.mark.slow
@pytest.mark.usefixtures("tiers")
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
@pytest.mark.usefixtures("tiers")
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
    assert calls[0] < 100
    assert calls[1] == (100 if chosen()[1] == "reference" else calls[0])
    assert [entry[1] for entry in both.buses[0].log].count(5) == both.buses[0].moved // 64


def monitored(tier: str, cr4: int, flags: int) -> Any:
    """Level 0 about to IRETD: to virtual-8086 mode if the flags say so, else to a level 3 of flat segments."""
    cpu, ram = make_cpu(tier)
    gdt = b"".join(word.to_bytes(8, "little") for word in (
        0, 0x00CF9B000000FFFF, 0x00CF93000000FFFF, 0x00CFFB000000FFFF, 0x00CFF3000000FFFF, 0x00008B0030000067,
    ))  # fmt: skip
    gate = (0x8000 | 8 << 16 | 0x8E00 << 32).to_bytes(8, "little")
    virtual = flags >> S.FLAG_VM & 1
    frame = (0x100, 0x1000, flags, 0x200, 0x2000, 0, 0, 0, 0) if virtual else (0x10100, 0x1B, flags, 0x5000, 0x23)
    for at, data in (
        (0x1000, gdt),
        (0x2000 + 13 * 8, gate),
        (0x3004, (0x6000).to_bytes(4, "little") + b"\x10\0"),
        (0x5F00, b"".join(word.to_bytes(4, "little") for word in frame)),
        (0x7C00, b"\xcf"),
        (0x8000, b"\xf4"),
        (0x10100, b"\x40\x40\xeb\xfe"),
    ):
        ram.view[at : at + len(data)] = data
    for name, value in (
        ("gdtr.base", 0x1000), ("gdtr.limit", 47), ("idtr.base", 0x2000), ("idtr.limit", 0x7FF), ("cr0", 0x11),
        ("cr4", cr4), ("cs", 8), ("cs.base", 0), ("cs.limit", M32), ("cs.attr", 0xC09B), ("ss", 16), ("ss.base", 0),
        ("ss.limit", M32), ("ss.attr", 0xC093), ("tr", 40), ("tr.base", 0x3000), ("tr.limit", 0x67),
        ("tr.attr", 0x8B), ("esp", 0x5F00), ("eip", 0x7C00), ("eflags", 2),
    ):  # fmt: skip
        cpu.set_reg(name, value)
    return cpu


VME, PVI = 1 << S.CR4_VME, 1 << S.CR4_PVI
DUE = 1 << S.FLAG_VIF | 1 << S.FLAG_VIP | 2


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize(
    ("cr4", "flags", "stopped"),
    [
        (VME, DUE | 1 << S.FLAG_VM, True),
        (PVI, DUE | 1 << S.FLAG_VM, False),
        (VME, DUE | 1 << S.FLAG_VM | 3 << S.FLAG_IOPL, False),
        (VME, DUE & ~(1 << S.FLAG_VIF) | 1 << S.FLAG_VM, False),
        (PVI, DUE, True),
        (VME, DUE, False),
    ],
)
def test_vif_with_vip_stops_the_program_before_its_next_instruction(
    tier: str, cr4: int, flags: int, stopped: bool
) -> None:
    cpu = monitored(tier, cr4, flags)
    cpu.run(1)
    assert cpu.reg("cpl") == 3
    where = cpu.reg("eip")
    cpu.run(2)
    if stopped:
        assert (cpu.reg("cpl"), cpu.reg("eip"), cpu.reg("eax")) == (0, 0x8001, 0)
        returns = cpu.read_linear(cpu.reg("esp"), 16)
        assert [int.from_bytes(returns[k : k + 4], "little") for k in (0, 4, 12)] == [0, where, flags | 1 << S.FLAG_RF]
    else:
        assert (cpu.reg("cpl"), cpu.reg("eip"), cpu.reg("eax")) == (3, where + 2, 2)
