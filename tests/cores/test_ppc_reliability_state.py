"""PowerPC from random states (A3): any word in any state gives the same on both tiers, and a state that can be.

A case is a program of words, some of forms, some of any opcode, some of any 32 bits, and a state around one that can
run: MSR, special purpose registers and TLB entries each perhaps replaced. Between two runs the pins move.
EMU_RELIABILITY_STATES is the number of cases of the slow test, over all models.
"""

from __future__ import annotations

import os
from random import Random
from typing import Any

import pytest

from cores.ppc import state as S
from cores.ppc import strategies, validate
from cores.ppc.mmu440 import MMUCR_MASK, WORD0, WORD1, WORD2
from cores.ppc.mmu_e500 import WRITABLE
from cores.ppc.models import CpuModel
from cores.ppc.models import model as model_of
from emu.cpu import Exit
from tests.cores.ppc_tiers import CODE, DATA, DEVICE, VECTORS, WINDOW, Pair, pair

pytest.importorskip("emu.engine._ppc")
pytestmark = pytest.mark.usefixtures("tiers")

MODELS = ("440EP", "460EX", "e500v1", "e500v2", "e500mc")
CASES = int(os.environ.get("EMU_RELIABILITY_STATES", "6000"))
LENGTH = 12
# Registers of the integer, debug, timer and interrupt facilities that hold whatever is written.
ANY = (
    "cr", "lr", "ctr", "srr0", "srr1", "csrr0", "csrr1", "mcsrr0", "mcsrr1", "dsrr0", "dsrr1", "esr", "dear", "mcsr",
    "mcar", "mcaru", "epr", "usprg0", "pir", "fpscr", "spefscr", "spe_acc", "decar", "tcr", "tsr", "tb_offset",
    "dbcr1", "dbcr2", "dbcr4", "dbsr", "ccr0", "ccr1", "dbdr", "hid0", "hid1", "bucsr", "l1csr0", "l1csr1",
)  # fmt: skip
ONLY_MC = ("epcr", "msrp", "gsrr0", "gsrr1", "gesr", "gdear", "gepr", "gpir")
# Opcodes that have further ones: 4, 19, 31, 59, 63.
EXTENDED = (4, 19, 31, 59, 63)


def draw(rng: Random, m: CpuModel) -> dict[str, Any]:
    """Some registers, as the rules of `validate` let them be."""
    values: dict[str, Any] = {}
    bits = rng.getrandbits
    if rng.random() < 0.7:
        values["msr"] = bits(32) & m.msr_mask & (bits(32) | 0xFFFF)
        if rng.random() < 0.6:
            values["msr"] &= ~(1 << S.MSR_IS | 1 << S.MSR_GS | 1 << S.MSR_WE)
    odds = rng.choice((0.05, 0.3, 0.8))
    for name in (*ANY, *(ONLY_MC if m.has("e500mc") else ())):
        if rng.random() < odds:
            values[name] = bits(S.STATE.registers[name].width)
    if rng.random() < 0.3:
        values["dbcr0"] = bits(32) & (0xFFFFFFFF if rng.random() < 0.3 else 0x4FFFFFFF)
        values["iac"] = {n: rng.choice((CODE + 4 * rng.randrange(LENGTH), bits(32))) for n in range(4)}
        values["dac"] = {n: rng.choice((DATA, WINDOW, DEVICE, bits(32))) for n in range(2)}
        values["dvc"] = {n: bits(32) for n in range(2)}
    if rng.random() < 0.3:
        values["dec"] = rng.choice((0, 1, rng.randrange(100), bits(32)))
    if rng.random() < 0.1:
        values["ivpr"] = bits(32) & 0xFFFF0000
    if rng.random() < 0.2:
        values["ivor"] = {rng.randrange(42): bits(16) & 0xFFF0}
    if rng.random() < 0.3:
        values["reserve"], values["reserve_addr"] = 1, rng.choice((DATA, DATA + 0x1000, DEVICE)) & ~31
        values["reserve_value"] = bits(32)
    values["xer_count"] = rng.choice((rng.randrange(20), bits(7)))
    _tlb(rng, m, values)
    if m.has("e500mc"):
        values["eplc"], values["epsc"] = bits(32) & 0xE03F00FF, rng.choice((0, bits(32) & 0xE03F00FF))
        values["lpid"] = rng.choice((0, 0, bits(6)))
        values["doorbells"] = rng.choice((0, 0, bits(5)))
        if rng.random() < 0.3:
            values["givpr"] = VECTORS
            values["givor"] = {n: 0x40 * n for n in (2, 3, 4, 8, 13, 14)}
    return values


def _tlb(rng: Random, m: CpuModel, values: dict[str, Any]) -> None:
    bits = rng.getrandbits
    values["pid"] = {n: rng.choice((0, 0, 7, bits(8))) for n in range(1 if m.has("440") else 3)}
    near = (WINDOW + 0x1000 * rng.randrange(8), DATA, DEVICE, 0xFFFFF000, bits(32))
    if m.has("440"):
        values["mmucr"] = bits(32) & MMUCR_MASK
        for _ in range(4):
            n = rng.randrange(6, 64)
            valid, space, size = rng.random() < 0.7, bits(1), rng.choice((0, 1, 1, 2, 3, 4, 5, 7, 9, bits(4)))
            word0 = rng.choice(near) & 0xFFFFFC00 | valid << 9 | space << 8 | size << 4
            real = rng.choice((bits(20), DATA, DEVICE | bits(4), bits(32)))
            values.setdefault("utlb0", {})[n] = word0 & WORD0
            values.setdefault("utlb1", {})[n] = real & WORD1
            values.setdefault("utlb2", {})[n] = bits(32) & WORD2
            values.setdefault("utlb_tid", {})[n] = rng.choice((0, 7, bits(8)))
        return
    for n in (0, 1, 2, 3, 4, 6, 7) + ((5, 8) if m.has("e500mc") else ()):
        if rng.random() < 0.7:
            values[f"mas{n}"] = bits(32) & WRITABLE[n]
    for _ in range(4):
        ea = rng.choice(near)
        mas1 = (rng.random() < 0.7) << 31 | rng.choice((0, 7, bits(8))) << 16 | bits(1) << 12
        if rng.random() < 0.5:
            n = (ea >> 12 & 0x7F) << 2 | rng.randrange(m.tlb0_ways)
            mas1 |= 0x100
        else:
            n = S.TLB1_FIRST + rng.randrange(6, m.tlb1_size)
            mas1 |= bits(1) << 30 | rng.choice((1, 1, 2, 3, 4, 5, 7, 9, 11, bits(4))) << 8
        real = rng.choice((bits(20), DATA, DEVICE, bits(32))) & 0xFFFFF000
        values.setdefault("etlb_mas1", {})[n] = mas1
        values.setdefault("etlb_mas2", {})[n] = (ea & 0xFFFFF000 | bits(7)) & WRITABLE[2]
        values.setdefault("etlb_mas3", {})[n] = (real | bits(10)) & WRITABLE[3]
        values.setdefault("etlb_mas7", {})[n] = rng.choice((0, 0, bits(4)))
        if m.has("e500mc"):
            partition = rng.choice((0, 0, bits(6)))
            values.setdefault("etlb_mas8", {})[n] = bits(2) << 30 & (0 if rng.random() < 0.7 else ~0) | partition


def words(rng: Random, both: Pair) -> dict[int, int]:
    """Words that take the place of drawn instructions, by address."""
    out = {}
    for n in range(LENGTH):
        kind = rng.random()
        if kind < 0.2:
            out[CODE + 4 * n] = rng.choice(EXTENDED) << 26 | rng.getrandbits(26)
        elif kind < 0.35:
            out[CODE + 4 * n] = rng.getrandbits(32)
        elif kind < 0.5:
            form = rng.choice(rng.choice(both.families))
            out[CODE + 4 * n] = strategies.word(rng, form) ^ (1 << rng.randrange(26) if rng.random() < 0.3 else 0)
    return out


def legal(both: Pair, what: str) -> None:
    m = model_of(both.model)
    for cpu in both.cpus:
        held = cpu.s if hasattr(cpu, "s") else cpu._c
        assert list(validate.problems(held, m)) == [], what


def case(model: str, seed: int, seen: set[int]) -> int:
    """One state and program on both tiers; how many instructions and interrupts. `seen` gathers IVOR numbers."""
    both, rng = pair(model), Random(f"{model} {seed}")
    what = f"{model} {seed}"
    both.start(rng, both.families, LENGTH)
    values, noise = draw(rng, model_of(model)), words(rng, both)
    for cpu, ram in zip(both.cpus, both.rams, strict=True):
        for at, word in noise.items():
            ram.view[at : at + 4] = word.to_bytes(4, "big")
        cpu.load_values(values)
    if seed % 8 == 0:
        legal(both, what)
    done = 0
    for _ in range(3):
        budget = rng.randrange(1, 20)
        before = both.cpus[0].icount
        exits = [cpu.run(budget) for cpu in both.cpus]
        done += both.cpus[0].icount - before
        assert both.differs(exits) == "", what
        assert both.cpus[0].exceptions() == both.cpus[1].exceptions(), what
        if exits[0] is Exit.SHUTDOWN:
            break
        pin = rng.random()
        for cpu in both.cpus:
            cpu.set_intr(pin < 0.3)
            cpu.set_critical(0.2 < pin < 0.5)
            if pin > 0.9:
                cpu.machine_check()
    seen.update(record["vector"] for record in both.cpus[0].exceptions())
    if seed % 8 == 0:
        legal(both, what)
    return done


def campaign(model: str, first: int, cases: int) -> set[int]:
    seen: set[int] = set()
    done = sum(case(model, seed, seen) for seed in range(first, first + cases))
    assert done > 4 * cases
    return seen


@pytest.mark.parametrize("model", MODELS)
def test_random_states_run_alike_on_both_tiers(model: str) -> None:
    campaign(model, 0, 100)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_many_random_states_run_alike_on_both_tiers(model: str) -> None:
    seen = campaign(model, 1000, CASES // len(MODELS))
    # All that any of them may have, but for the system call that is rare among words.
    assert seen >= {
        S.CRITICAL, S.MACHINE_CHECK, S.DATA_STORAGE, S.INSTRUCTION_STORAGE, S.EXTERNAL, S.ALIGNMENT, S.PROGRAM,
        S.DATA_TLB, S.INSTRUCTION_TLB, S.DEBUG,
    }  # fmt: skip
