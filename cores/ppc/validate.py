"""Which processor states exist: the check behind `load_state`, and behind every way to write registers from outside.

A refused state raises ValueError. The rules are those that instructions keep. Not checked, because every value is a
state: general, floating-point, save and scratch registers, CR, counters, compare addresses.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import state as S
from .mmu440 import MMUCR_MASK, WORD0, WORD1, WORD2
from .mmu_e500 import IPROT, WRITABLE
from .models import CpuModel, reset_values

# Registers that say what the model is.
CONFIGURATION = (
    "features", "mmu_kind", "msr_mask", "tlb0_ways", "tlb1_size", "pvr", "mmucfg", "tlb0cfg", "tlb1cfg", "l1cfg0",
    "l1cfg1", "l2cfg0",
)  # fmt: skip
ONLY_MC = ("doorbells", "lpid", "epcr", "msrp", "mas5", "mas8", "givpr")


def check(s: Any, model: CpuModel, *, whole: bool = True) -> None:
    """Raise ValueError, naming the first rule that is broken, unless a processor of this model can be in state `s`.

    `whole` is there for the likeness to the other core; no rule here needs two registers to change at once."""
    for problem in problems(s, model):
        raise ValueError(problem)


def problems(s: Any, model: CpuModel) -> Iterator[str]:
    """The rules that a state breaks, in words."""
    yield from _widths(s)
    yield from _configuration(s, model)
    yield from _control(s, model)
    if model.has("440"):
        yield from _utlb(s)
    else:
        yield from _etlb(s, model)


def _widths(s: Any) -> Iterator[str]:
    for r in S.STATE:
        held = getattr(s, r.name)
        for v in held if r.count else (held,):
            if not 0 <= int(v) < 1 << r.width:
                yield f"{r.name}: {int(v):#x} does not fit {r.width} bits"
                break


def _configuration(s: Any, model: CpuModel) -> Iterator[str]:
    fixed = reset_values(model)
    for name in CONFIGURATION:
        if int(getattr(s, name)) != fixed.get(name, 0):
            yield f"{name}: {int(getattr(s, name)):#x} is not that of model {model.name}"


def _control(s: Any, model: CpuModel) -> Iterator[str]:
    if int(s.msr) & ~model.msr_mask:
        yield f"msr: {int(s.msr):#x}: model {model.name} has only {model.msr_mask:#x}"
    if int(s.pc) & 3:
        yield f"pc: {int(s.pc):#x} is not the address of a word"
    if int(s.pins) > 7:
        yield f"pins: {int(s.pins):#x}: there are three"
    if int(s.ivpr) & 0xFFFF or any(int(v) & ~0xFFF0 for v in s.ivor):
        yield "ivpr, ivor: the low half of IVPR is 0, and IVOR has 12 bits above the lowest 4"
    if int(s.reserve_addr) >> 36:
        yield f"reserve_addr: {int(s.reserve_addr):#x} is beyond 36 bits"
    if int(s.mmucr) & ~MMUCR_MASK:
        yield f"mmucr: {int(s.mmucr):#x} has bits beyond {MMUCR_MASK:#x}"
    if any(int(v) > 0xFF for v in s.pid):
        yield "pid: identifiers have 8 bits"
    if int(s.tb_stopped) and not model.has("spe"):
        yield f"tb_stopped: the time base of model {model.name} cannot be stopped"
    if not model.has("e500mc"):
        for name in ONLY_MC:
            if int(getattr(s, name)):
                yield f"{name}: model {model.name} has none"
    if not model.has("spe") and any(int(v) >> 32 for v in s.gpr):
        yield f"gpr: the registers of model {model.name} have 32 bits"
    if int(s.doorbells) >= 1 << 5:
        yield f"doorbells: {int(s.doorbells):#x}: there are five"


def _utlb(s: Any) -> Iterator[str]:
    for name, allowed in (("utlb0", WORD0), ("utlb1", WORD1), ("utlb2", WORD2)):
        for k, v in enumerate(getattr(s, name)):
            if int(v) & ~allowed:
                yield f"{name}[{k}]: {int(v):#x} has bits beyond {allowed:#x}"


def _etlb(s: Any, model: CpuModel) -> Iterator[str]:
    for n, allowed in WRITABLE.items():
        if n != 1 and int(getattr(s, f"mas{n}")) & ~allowed:
            yield f"mas{n}: {int(getattr(s, f'mas{n}')):#x} has bits beyond {allowed:#x}"
    for n in (1, 2, 3, 7, 8):
        for k, v in enumerate(getattr(s, f"etlb_mas{n}")):
            if int(v) & ~WRITABLE[n]:
                yield f"etlb_mas{n}[{k}]: {int(v):#x} has bits beyond {WRITABLE[n]:#x}"
    for k, v in enumerate(s.etlb_mas1):
        if k < S.TLB1_FIRST and int(v) >> IPROT & 1:
            yield f"etlb_mas1[{k}]: TLB0 protects nothing"
        there = k & 3 < model.tlb0_ways if k < S.TLB1_FIRST else k - S.TLB1_FIRST < model.tlb1_size
        if int(v) and not there:
            yield f"etlb_mas1[{k}]: model {model.name} has no such entry"
    if any(int(v) > 3 for v in s.tlb0_next):
        yield "tlb0_next: a set has at most four ways"
