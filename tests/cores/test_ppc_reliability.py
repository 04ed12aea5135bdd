"""PowerPC against what reliability.md asks of it: random state (A3), restarts (A7), the soft TLB (A10).

`EMU_RELIABILITY=n` multiplies the slow sizes.
"""

from __future__ import annotations

import os
from random import Random
from typing import Any

import pytest

from cores.ppc import state as S
from cores.ppc import strategies
from cores.ppc.decoder import encode, mnemonic
from cores.ppc.models import model as model_of
from tests.cores.ppc_tiers import CODE, SIZE, STRIDE, VECTORS, WINDOW, Pair

pytest.importorskip("emu.engine._ppc")

MODELS = ("440EP", "460EX", "e500v1", "e500v2", "e500mc")
TIMES = int(os.environ.get("EMU_RELIABILITY", "1"))
HELD = {"pc", "features", "mmu_kind", "msr_mask", "tlb0_ways", "tlb1_size", "pvr", "svr", "pins", "halted", "utlb_tid"}
_pairs: dict[str, Pair] = {}


def pair(model: str) -> Pair:
    """The two processors, made once."""
    if model not in _pairs:
        _pairs[model] = Pair(model)
    return _pairs[model]


def random_state(rng: Random, model: str) -> dict[str, Any]:
    """Whatever registers may hold: MSR, SPRs that any value goes into, and some entries of the TLBs."""
    m = model_of(model)
    values: dict[str, Any] = {"msr": rng.getrandbits(32) & m.msr_mask}
    for name in (
        "ctr",
        "lr",
        "srr0",
        "srr1",
        "csrr0",
        "csrr1",
        "dbsr",
        "tcr",
        "dec",
        "decar",
        "spefscr",
        "esr",
        "dear",
    ):
        values[name] = rng.getrandbits(32)
    for name in ("mas0", "mas1", "mas2", "mas3", "mas4", "mas6", "mmucr"):
        values[name] = rng.getrandbits(32) & (0x30FF0003 if name == "mas0" else 0xFFFFFFFF)
    values["pid"] = {n: rng.choice((0, 0, 7, rng.getrandbits(8))) for n in range(1 if m.has("440") else 3)}
    for _ in range(4):
        if m.has("440"):
            n = rng.randrange(3, 64)
            values.setdefault("utlb0", {})[n] = rng.getrandbits(32)
            values.setdefault("utlb1", {})[n] = rng.choice((rng.getrandbits(20), rng.getrandbits(32) & ~0x3F0))
            values.setdefault("utlb2", {})[n] = rng.getrandbits(16)
        else:
            n = rng.choice((rng.randrange(512), S.TLB1_FIRST + rng.randrange(2, m.tlb1_size)))
            values.setdefault("etlb_mas1", {})[n] = rng.getrandbits(32) & 0xC0FF1F00
            values.setdefault("etlb_mas2", {})[n] = rng.getrandbits(32)
            values.setdefault("etlb_mas3", {})[n] = rng.choice((rng.getrandbits(20), rng.getrandbits(32)))
            values.setdefault("etlb_mas7", {})[n] = rng.choice((0, rng.getrandbits(4)))
    return values


def both_agree_on_random_state(model: str, cases: int, first: int) -> int:
    """Run random states with random words, any word among them; the number of instructions."""
    both = pair(model)
    before = both.executed
    for seed in range(first, first + cases):
        rng = Random(f"{model}{seed}")
        both.start(rng, both.families, 12)
        values = random_state(rng, model)
        noise = {CODE + 4 * rng.randrange(12): rng.getrandbits(32) for _ in range(3)}
        for cpu, ram in zip(both.cpus, both.rams, strict=True):
            for at, word in noise.items():
                ram.view[at : at + 4] = word.to_bytes(4, "big")
            cpu.load_values(values)
            cpu.remap()
        for _ in range(4):
            budget = rng.randrange(1, 20)
            count = both.cpus[0].icount
            exits = [cpu.run(budget) for cpu in both.cpus]
            both.executed += both.cpus[0].icount - count
            assert both.differs(exits) == "", f"{model} {seed}"
    return both.executed - before


@pytest.mark.parametrize("model", MODELS)
def test_random_states_run_alike_on_both_tiers(model: str) -> None:
    assert both_agree_on_random_state(model, 25, 0) > 200


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_many_random_states_run_alike_on_both_tiers(model: str) -> None:
    both_agree_on_random_state(model, 700 * TIMES, 1000)


@pytest.mark.parametrize("model", ("440EP", "e500v2"))
def test_an_access_that_faults_leaves_the_state_as_it_was(model: str) -> None:
    assert accesses_fault_cleanly(model, 8) > 10


@pytest.mark.slow
@pytest.mark.parametrize("model", ("440EP", "e500v2", "e500mc"))
def test_every_access_that_faults_leaves_the_state_as_it_was(model: str) -> None:
    assert accesses_fault_cleanly(model, 1) > 100


def accesses_fault_cleanly(model: str, each: int) -> int:
    """Put each form that reaches memory across the end of what is mapped; how many faulted (A7)."""
    both = pair(model)
    multiple = ("lmw", "stmw", "lswi", "lswx", "stswi", "stswx")
    faulted = 0
    end = WINDOW + 0x4000
    for forms in both.families:
        for form in forms:
            if form.number % each:
                continue
            name = mnemonic(form)
            if form.entry.body.__module__.rpartition(".")[2] not in ("load_store", "float", "spe") or (
                "ra0" not in form.params and "d" not in form.params
            ):
                continue
            for back in (1, 2, 4, 6):
                rng = Random(f"{form.ident}{back}")
                both.start(rng, [[form]], 1)
                word = strategies.word(rng, form, bases=(3,), indexes=(7,), reserved=False)
                msr = 1 << S.MSR_ME | (1 << S.MSR_SPV if model_of(model).has("spe") else 1 << S.MSR_FP)
                for cpu, ram in zip(both.cpus, both.rams, strict=True):
                    ram.view[CODE : CODE + 4] = word.to_bytes(4, "big")
                    for n in range(42):
                        ram.view[VECTORS + STRIDE * n : VECTORS + STRIDE * n + 4] = (0x48000000).to_bytes(4, "big")
                    cpu.load_values({"gpr": {3: end - back, 7: 0}, "msr": msr, "dbcr0": 0, "tcr": 0, "pid": {0: 0}})
                old = [(cpu.state(), bytes(ram.view)) for cpu, ram in zip(both.cpus, both.rams, strict=True)]
                exits = [cpu.run(1) for cpu in both.cpus]
                assert both.differs(exits) == "", form.ident
                for cpu, ram, (state, memory) in zip(both.cpus, both.rams, old, strict=True):
                    now = cpu.state()
                    if now["pc"] == CODE + 4 or name in multiple:
                        continue
                    faulted += 1
                    assert now["srr0"] == CODE and now["srr1"] == msr
                    same = ("gpr", "fpr", "cr", "lr", "ctr", "fpscr", "spefscr", "spe_acc", "xer_ca", "xer_so")
                    assert {k: now[k] for k in same} == {k: state[k] for k in same}, form.ident
                    assert bytes(ram.view) == memory, form.ident
    return faulted


class Shadow440:
    """What the manual says of a UTLB, over plain rows: (page, size, TS, TID, real page, rights)."""

    def __init__(self) -> None:
        self.rows: dict[int, tuple[int, int, int, int, int]] = {}

    def find(self, ea: int, space: int, pid: int) -> int | None:
        for page, size, ts, tid, real in self.rows.values():
            if ts == space and tid in (0, pid) and page <= ea < page + size:
                return real + ea - page
        return None


def test_no_translation_outlives_its_entry() -> None:
    """Random tlbwe, PID and address space on the 440; each access goes where a model of rows says (A10)."""
    check_shadow(1500, 0)


@pytest.mark.slow
def test_no_translation_outlives_its_entry_for_long() -> None:
    check_shadow(40_000 * TIMES, 1)


def check_shadow(count: int, seed: int) -> None:
    both, rng, shadow = pair("440EP"), Random(seed), Shadow440()
    both.start(Random(1), both.families, 1)
    cpu, ram = both.cpus[0], both.rams[0]
    mark = {at: (at // 0x400 * 0x9E3779B1) & 0xFFFFFFFF for at in range(0x80000, 0xC0000, 0x400)}
    for at, v in mark.items():
        ram.view[at : at + 4] = v.to_bytes(4, "big")
    stay = (0x48000000).to_bytes(4, "big")
    for n in range(42):
        ram.view[VECTORS + STRIDE * n : VECTORS + STRIDE * n + 4] = stay
    words = [encode("mtmmucr", rs=13), *(encode("tlbwe", rs=10 + k, ra=9, ws=k) for k in range(3))]
    words += [encode("mtpid", rs=14), encode("mtmsr", rs=15), encode("lwz", rt=20, ra=21, d=0)]
    for k, word in enumerate(words):
        ram.view[CODE + 4 * k : CODE + 4 * k + 4] = word.to_bytes(4, "big")
    me = 1 << S.MSR_ME
    cpu.load_values({"msr": me, "dbcr0": 0, "tcr": 0, "utlb0": {1: 0, 2: 0, 3: 0, 4: 0, 5: 0}})
    reached = 0

    def run(n: int, at: int, gpr: dict[int, int]) -> None:
        """Only the guest may say what became stale, so nothing is set but what it reads."""
        for k, v in gpr.items():
            cpu._c.gpr[k] = v
        cpu._c.pc = at
        cpu.run(n)

    for _ in range(count):
        pid, space = rng.choice((1, 2, 3)), rng.randrange(2)
        if rng.random() < 0.3:
            code, size = rng.choice(((0, 0x400), (1, 0x1000), (2, 0x4000)))
            page, real = 0x900000 + rng.randrange(4 * 0x4000 // size) * size, 0x80000 + rng.randrange(16) * 0x4000
            n, ts, tid, valid = rng.randrange(8, 24), rng.randrange(2), rng.choice((0, 1, 2, 3)), rng.random() < 0.8
            row = (page, size, ts, tid, real)
            others = [r for k, r in shadow.rows.items() if k != n]
            overlap = any(
                r[0] < page + size and page < r[0] + r[1] and r[2] == ts and (not r[3] or not tid or r[3] == tid)
                for r in others
            )
            if overlap:
                continue  # two entries for one address are the program's mistake
            word0 = page | valid << 9 | ts << 8 | code << 4
            run(4, CODE, {9: n, 10: word0, 11: real, 12: 0x3F, 13: tid})
            assert cpu.reg("pc") == CODE + 16
            shadow.rows.pop(n, None)
            if valid:
                shadow.rows[n] = row
        ea = 0x900000 + rng.randrange(64) * 0x400
        run(3, CODE + 16, {14: pid, 15: me | space << S.MSR_DS, 20: 0, 21: ea})
        real_at = shadow.find(ea, space, pid)
        if real_at is None:
            assert (cpu.reg("pc"), cpu.reg("dear")) == (VECTORS + STRIDE * S.DATA_TLB, ea)
        else:
            assert (cpu.reg("pc"), cpu.reg("r20")) == (CODE + 28, mark[real_at])
            reached += 1
    assert reached > count // 10


@pytest.mark.parametrize("model", ("440EP", "e500v2"))
def test_the_edges_of_ram_and_36_bit_addresses_are_the_bus_s(model: str) -> None:
    """Loads of every size around the end of RAM, and a page whose real address is above 4 GiB (A12)."""
    both = pair(model)
    high = 0x8_1234_5000
    loads = {"lbz": 1, "lhz": 2, "lwz": 4}
    for name, size in loads.items():
        for offset in (-5, -4, -3, -2, -1, 0, 1):
            both.start(Random(1), both.families, 1)
            for cpu, ram in zip(both.cpus, both.rams, strict=True):
                ram.view[CODE : CODE + 4] = encode(name, rt=20, ra=21, d=0).to_bytes(4, "big")
                ram.view[SIZE - 8 : SIZE] = bytes(range(8))
                cpu.load_values({"msr": 1 << S.MSR_ME, "dbcr0": 0, "tcr": 0, "gpr": {20: 0, 21: SIZE + offset}})
            assert both.differs([cpu.run(1) for cpu in both.cpus]) == "", (name, offset)
            inside = offset + size <= 0
            assert bool(both.buses[0].log) != inside
            if inside:
                assert both.cpus[0].reg("r20") == int.from_bytes(bytes(range(8))[offset + 8 :][:size], "big")
    both.start(Random(1), both.families, 1)
    for cpu, ram in zip(both.cpus, both.rams, strict=True):
        ram.view[CODE : CODE + 4] = encode("lwz", rt=20, ra=21, d=0).to_bytes(4, "big")
        if model_of(model).has("440"):
            values = {"utlb0": {9: 0x900210}, "utlb1": {9: high & 0xFFFFFC00 | high >> 32}, "utlb2": {9: 0x3F}}
        else:
            at = S.TLB1_FIRST + 9
            values = {
                "etlb_mas1": {at: 0xC0000100},
                "etlb_mas2": {at: 0x900000},
                "etlb_mas3": {at: high & 0xFFFFF000 | 0x3F},
            }
            values["etlb_mas7"] = {at: high >> 32}
        cpu.load_values({"msr": 1 << S.MSR_ME, "dbcr0": 0, "tcr": 0, "gpr": {20: 0, 21: 0x900014}, **values})
    assert both.differs([cpu.run(1) for cpu in both.cpus]) == ""
    assert [entry[2:] for entry in both.buses[0].log] == [(high + 0x14, 4)]
