"""No access goes where no entry of the TLB leads (A10): random TLB operations and accesses against a plain model.

EMU_RELIABILITY_TLB is the number of operations of the slow test, over all models.
"""

from __future__ import annotations

import os
from functools import partial
from random import Random
from typing import Any

import pytest

from tests.cores import ppc_shadow as P
from tests.cores.ppc_shadow import Machine, Page, Shadow440, ShadowE500, Words
from tests.cores.tiers import TIERS, processor

pytest.importorskip("emu.engine._ppc")

MODELS = ("440EP", "460EX", "e500v1", "e500v2", "e500mc")
OPERATIONS = int(os.environ.get("EMU_RELIABILITY_TLB", "250000"))
# Some pages of each, so that entries meet; the second shares its place in a direct-mapped cache with the first.
REGIONS = (0x40000000, 0x40100000, 0x40002000, 0x7FFFF000, 0xFFFFD000)


class Bench:
    """A processor, the model of its TLB, and the accesses that are compared."""

    def __init__(self, tier: str, model: str, seed: int) -> None:
        self.m = Machine(partial(processor, "ppc", tier), model)
        self.shadow: Any = Shadow440(self.m) if model[0] == "4" else ShadowE500(self.m, model)
        self.shadow.reset()
        self.rng = Random(f"{model} {seed}")
        self.recent = [REGIONS[0]]
        self.wish: Page | None = None
        self.reached = self.refused = self.missed = self.unclear = 0

    def address(self) -> int:
        """Near an entry, where one was before, or one of a few pages."""
        rng, dice = self.rng, self.rng.random()
        if dice < 0.5 and self.shadow.pages:
            page = self.wish = rng.choice(list(self.shadow.pages.values()))
            self.recent = [*self.recent[-15:], page.ea + (rng.randrange(page.size) & ~3)]
            return self.recent[-1]
        self.wish = None
        if dice < 0.7:
            return rng.choice(self.recent)
        return (rng.choice(REGIONS) + rng.randrange(3) * 0x1000 + (rng.randrange(0x1000) & ~3)) & 0xFFFFFFFF

    def run(self, operations: int) -> None:
        rng, shadow = self.rng, self.shadow
        for _ in range(operations):
            dice = rng.random()
            if dice < 0.12:
                shadow.mutate(rng, self.address() | 1 << 30)  # even a large page spares our own
            elif dice < 0.15:
                shadow.look(rng, self.address())
            elif dice < 0.16 and hasattr(shadow, "mas4"):
                self.m.c.mas4 = rng.getrandbits(32) & 0x100F0F7F
            elif dice < 0.25 and getattr(shadow, "hypervised", False):
                self.external(rng.random() < 0.4)
            else:
                self.access(rng.choice("rrrwwxxb"))

    def access(self, kind: str) -> None:
        """A load, a store, a fetch, or a load of two pages."""
        rng, m, shadow = self.rng, self.m, self.shadow
        ea, space = self.address(), rng.randrange(2)
        if self.wish and rng.random() < 0.7:
            space = self.wish.space
        if kind == "b":
            ea = ea & 0xFFFFF000 | rng.choice((0xFFD, 0xFFE, 0xFFF))
        shadow.contexts(rng, self.wish)
        msr = P.MSR_ME | rng.randrange(2) * P.MSR_PR | shadow.state_bits(rng, self.wish)
        msr |= space * (P.MSR_IS if kind == "x" else P.MSR_DS)
        if not space and (ea < P.LOW or ea > 0xFFFFFFFC):
            return  # our own page
        user = bool(msr & P.MSR_PR)
        found = shadow.find(ea, space, msr)
        if len(found) > 1:
            self.unclear += 1
            return
        page: Page | None = found[0] if found else None
        fault, at = self.judged(page, ea, "x" if kind == "x" else "w" if kind == "w" else "r", user), ea
        second: Page | None = None
        if kind == "b" and not fault:
            at = (ea + 4) & 0xFFFFF000
            found = shadow.find(at, space, msr)
            if len(found) > 1:
                return
            second = found[0] if found else None
            fault = self.judged(second, at, "r", user)
        if page is not None and not fault and self.reserved(page.at(ea), kind):
            return
        if page is not None and second is not None and (max(page.at(ea), second.at(at)) >= P.SIZE or page.little):
            return
        m.bus.reads.clear()
        m.bus.writes.clear()
        if fault:
            self.refuse(kind, ea, at, msr, fault, space)
            return
        assert page is not None
        self.reached += 1
        if kind == "x":
            self.fetch(ea, msr, page)
        elif kind == "w":
            self.store(ea, msr, page)
        elif second is not None:
            real = [page.at(ea + k) if ea + k < at or not at else second.at(ea + k & 0xFFFFFFFF) for k in range(4)]
            self.step(Words.LWZ, ea, msr)
            expected = bytes(m.word_at(r & ~3) >> 8 * (3 - (r & 3)) & 0xFF for r in real)
            assert m.c.gpr[20] & 0xFFFFFFFF == int.from_bytes(expected, "big"), self.what(ea, msr, page)
        else:
            self.step(Words.LWZ, ea, msr)
            word = m.word_at(page.at(ea))
            assert m.c.gpr[20] & 0xFFFFFFFF == (P.turned(word) if page.little else word), self.what(ea, msr, page)
            if page.at(ea) >= P.SIZE:
                assert m.bus.reads == [(page.at(ea), 4)], self.what(ea, msr, page)

    def external(self, store: bool) -> None:
        """A load or store by external process ID."""
        rng, m, ea, wish = self.rng, self.m, self.address(), self.wish
        context = rng.randrange(2) << 31
        if wish and rng.random() < 0.8:
            context |= wish.space << 30 | wish.guest << 29 | wish.partition << 16 | (wish.tid or rng.randrange(4))
        else:
            context |= rng.randrange(4) << 29 | rng.randrange(3) << 16 | rng.randrange(4)
        found = self.shadow.find_external(ea, context)
        if len(found) > 1 or (ea < P.LOW and not context >> 30 & 1):
            return
        page: Page | None = found[0] if found else None
        fault = self.judged(page, ea, "w" if store else "r", bool(context >> 31))
        if page is not None and not fault and self.reserved(page.at(ea), "w" if store else "r"):
            return
        m.c.eplc, m.c.epsc = (context ^ 1, context) if store else (context, context ^ 1)
        m.bus.reads.clear()
        m.bus.writes.clear()
        word = Words.STWEPX if store else Words.LWEPX
        if fault:
            self.interrupted(word, ea, P.MSR_ME)
            assert m.c.pc == P.VECTORS + P.STRIDE * fault, self.what(ea, context, page)
            assert (m.c.dear, m.c.esr) == (ea, P.ESR_EXTERNAL | P.ESR_STORE * store), self.what(ea, context, page)
            return
        assert page is not None
        if store:
            self.store(ea, P.MSR_ME, page, word)
            return
        self.step(word, ea, P.MSR_ME)
        held = m.word_at(page.at(ea))
        assert m.c.gpr[20] & 0xFFFFFFFF == (P.turned(held) if page.little else held), self.what(ea, context, page)

    def judged(self, page: Page | None, ea: int, right: str, user: bool) -> int:
        """The interrupt that an access takes, 0 for none."""
        if page is None:
            return P.FETCH_MISS if right == "x" else P.DATA_MISS
        if right not in (page.user if user else page.system) or (page.virtual and right != "x"):
            return P.ISI if right == "x" else P.DSI
        return 0

    def reserved(self, real: int, kind: str) -> bool:
        """Our own code and vectors are for nobody to store to or run."""
        return kind in "wx" and real < P.LOW

    def what(self, ea: int, msr: int, page: Page | None) -> str:
        return f"ea {ea:#x} msr {msr:#x} {page} pc {self.m.c.pc:#x} r20 {self.m.c.gpr[20]:#x} {self.m.bus.reads}"

    def step(self, word: int, ea: int, msr: int) -> None:
        m = self.m
        at = m.place(word)
        m.put_msr(msr)
        m.c.gpr[20], m.c.gpr[21], m.c.pc = 0, ea, at
        m.cpu.run(1)
        assert m.c.pc == at + 4, self.what(ea, msr, None)

    def store(self, ea: int, msr: int, page: Page, word: int = Words.STW) -> None:
        m, value, real = self.m, 0x38000038 | self.rng.getrandbits(16) << 8, page.at(ea)
        m.c.gpr[22] = value
        self.step(word, ea, msr)
        kept = P.turned(value) if page.little else value
        if real < P.SIZE:
            assert m.ram.view[real : real + 4] == kept.to_bytes(4, "big"), self.what(ea, msr, page)
            assert not m.bus.writes
            m.stored[real] = kept
        else:
            assert m.bus.writes == [(real, 4, kept)], self.what(ea, msr, page)

    def fetch(self, ea: int, msr: int, page: Page) -> None:
        """The word there runs: addi rT, rA, n."""
        m, real = self.m, page.at(ea)
        word = m.word_at(real)
        if page.little:
            word = P.turned(word)
        base = m.c.gpr[word >> 16 & 31] & 0xFFFFFFFF if word >> 16 & 31 else 0
        expected = base + (word & 0xFFFF ^ 0x8000) - 0x8000 & 0xFFFFFFFF
        self.enter(ea, msr)
        assert m.c.pc == (ea + 4) & 0xFFFFFFFF, self.what(ea, msr, page)
        assert m.c.gpr[word >> 21 & 31] & 0xFFFFFFFF == expected, self.what(ea, msr, page)

    def enter(self, ea: int, msr: int) -> None:
        """Go there, by a branch where that is possible."""
        m = self.m
        m.put_msr(msr)
        if msr & P.MSR_IS or self.rng.random() < 0.5:
            m.c.pc = ea
            m.cpu.run(1)
            return
        m.c.ctr, m.c.pc = ea, m.place(Words.BCTR if ea < 0xFE000000 else Words.BA | ea & 0x03FFFFFC)
        m.cpu.run(2)

    def interrupted(self, word: int, ea: int, msr: int) -> int:
        """Run an instruction that takes an interrupt; where it is."""
        m = self.m
        back = m.place(word)
        m.put_msr(msr)
        m.c.gpr[20], m.c.gpr[21], m.c.pc = 0x55, ea, back
        m.cpu.run(1)
        assert m.c.gpr[20] == 0x55 and not m.bus.reads and not m.bus.writes, self.what(ea, msr, None)
        return back

    def refuse(self, kind: str, ea: int, at: int, msr: int, fault: int, space: int) -> None:
        m = self.m
        if fault in (P.DSI, P.ISI):
            self.refused += 1
        else:
            self.missed += 1
        if kind == "x":
            self.enter(ea, msr)
            back = ea
        else:
            back = self.interrupted(Words.STW if kind == "w" else Words.LWZ, ea, msr)
            assert m.c.dear == at, self.what(ea, msr, None)
        c = m.c
        assert c.pc == P.VECTORS + P.STRIDE * fault, self.what(ea, msr, None)
        assert (c.srr0, c.srr1) == (back, msr), self.what(ea, msr, None)
        assert c.esr == (P.ESR_STORE if kind == "w" else 0), self.what(ea, msr, None)
        assert not m.bus.reads and not m.bus.writes
        if fault in (P.DATA_MISS, P.FETCH_MISS):
            self.shadow.missed(at, space)


def campaign(tier: str, model: str, operations: int, seed: int) -> None:
    bench = Bench(tier, model, seed)
    bench.run(operations)
    # Each outcome must be common for this to mean anything.
    assert min(bench.reached, bench.refused, bench.missed) > operations // 25


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("tier", TIERS)
def test_no_access_goes_where_no_entry_leads(tier: str, model: str) -> None:
    campaign(tier, model, 4000, 0)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("tier", ["interp", "jit"])
def test_no_access_of_very_many_goes_where_no_entry_leads(tier: str, model: str) -> None:
    campaign(tier, model, OPERATIONS // len(MODELS), 1)
