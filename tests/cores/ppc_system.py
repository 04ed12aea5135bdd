"""Supervisor instructions on our Python lowering and on Unicorn in a process of its own: special registers, TLB, MSR.

A program begins on both sides after reset with an empty TLB. Nothing is translated: entries are only written, read and
searched. General registers, CR, MSR and PC are compared behind each instruction.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from cores.ppc import state as S
from cores.ppc.decoder import allowed, by_mnemonic
from cores.ppc.forms import with_field
from cores.ppc.models import model as model_of
from tests.cores.ppc_differential import Oracle
from tests.cores.ppc_machine import IllegalInstruction, Interrupt, Machine
from tests.cores.ppc_oracle import CODE, RECORD, SYSTEM

CR, MSR = 32, 33
CRITICAL, EXTERNAL, MACHINE, DEBUG = 1 << S.MSR_CE, 1 << S.MSR_EE, 1 << S.MSR_ME, 1 << S.MSR_DE
SWITCHES = CRITICAL | EXTERNAL | MACHINE
COMMON = ["srr0", "srr1", "csrr0", "csrr1", "dear", "esr", *(f"sprg{n}" for n in range(8)), "usprg0"]
COMMON += [f"ivor{n}" for n in range(16)]
NAMES = {
    "440": [*COMMON, "ivpr", "pid", "mmucr", "dac1", "dac2", "dvc1", "dvc2", "ccr0", *(f"inv{n}" for n in range(4))],
    "e500": [*COMMON, "mcsrr0", "mcsrr1", *(f"mas{n}" for n in (0, 1, 2, 3, 4, 6))],
}
MASKS = {"pid": 0xFF, "mmucr": 0xFF, "mas0": 0x10030000, "mas1": 0xC0030F00, "mas2": 0xFFFFF01F, "mas3": 0xFFFFF03F,
         "mas4": 0x10000F1F, "mas6": 0x00030001, **{f"ivor{n}": 0xFFF0 for n in range(16)},
         **{f"csrr{n}": 0xFFFFFFFC for n in range(2)}, **{f"srr{n}": 0xFFFFFFFC for n in range(2)}}  # fmt: skip
"""What is written, where one side keeps reserved bits or other fields than the other."""
PAGES = (0x10000000, 0x10001000, 0x10004000, 0x20000000)


class SystemBench:
    """Both sides of one model."""

    def __init__(self, model: str) -> None:
        self.oracle = Oracle(model, "system")
        self.model = model_of(model)
        self.family = "440" if self.model.has("440") else "e500"
        self.counts: Counter[str] = Counter()
        self.executed = 0

    def word(self, name: str, **fields: int) -> int:
        form = next(f for f in by_mnemonic()[name] if allowed(f, self.model.features))
        found = form.value
        for field, v in fields.items():
            found = with_field(found, field, v)
        return found

    def load(self, register: int, value: int) -> list[int]:
        """`lis` and `ori`."""
        return [
            self.word("addis", rt=register, ra=0, si=value >> 16 if value < 1 << 31 else (value >> 16) - 0x10000),
            self.word("ori", ra=register, rs=register, ui=value & 0xFFFF),
        ]

    def draw(self, rng: Random) -> tuple[list[int], list[int]]:
        """Registers and words; every special register is written before anything else."""
        gpr = [rng.getrandbits(32) for _ in range(32)]
        words = []
        for name in NAMES[self.family]:
            words += self._put(rng, name)
        if self.family == "440":
            for n in range(8 * 3):
                words += [*self.load(9, 0), *self.load(8, n // 3), self.word("tlbwe", rs=9, ra=8, ws=n % 3)]
        while len(words) < 700:
            words += rng.choice(self._choices())(rng)
        return gpr, words

    def _choices(self) -> list[Callable[[Random], list[int]]]:
        own = (
            [self._tlbwe_440, self._tlbre_440, self._tlbsx_440] if self.family == "440" else [self._entry, self._search]
        )
        return [self._move, self._switch, self._return, *own, *own]

    def _put(self, rng: Random, name: str) -> list[int]:
        v = rng.getrandbits(32) & MASKS.get(name, 0xFFFFFFFF)
        if name in ("pid", "mmucr"):
            v &= 3
        if name == "mas0" and self.model.tlb0_ways == 2:
            v &= ~0x20000
        if name == "mas2":
            v = rng.choice(PAGES) | v & 0x1F
        if name == "mas1":
            v = v & ~0xF00 | rng.randrange(1, 10) << 8
        return [*self.load(9, v), self.word(f"mt{name}", rs=9)]

    def _move(self, rng: Random) -> list[int]:
        name = rng.choice(NAMES[self.family])
        return [*self._put(rng, name), self.word(f"mf{name}", rt=rng.randrange(10, 32))]

    def _switch(self, rng: Random) -> list[int]:
        value = rng.getrandbits(32) & SWITCHES
        kind = rng.randrange(3)
        if kind == 0:
            return [*self.load(9, value), self.word("mtmsr", rs=9), self.word("mfmsr", rt=10)]
        if kind == 1:
            return [self.word("wrteei", e=rng.getrandbits(1)), self.word("mfmsr", rt=11)]
        return [self.word("wrtee", rs=rng.randrange(32)), self.word("mfmsr", rt=12)]

    def _return(self, rng: Random) -> list[int]:
        critical = rng.random() < 0.5
        kind, back = ("csrr", "rfci") if critical else ("srr", "rfi")
        value = rng.getrandbits(32) & SWITCHES
        put = [*self.load(9, value), self.word(f"mt{kind}1", rs=9)]
        return [*put, self.word(back)] if rng.random() < 0.8 else [self.word("sc")]

    def _tlbwe_440(self, rng: Random) -> list[int]:
        ws = rng.randrange(3)
        size = rng.choice((0, 1, 2, 3, 5))
        page = (rng.choice(PAGES) | rng.choice((0, 0x400))) & ~((0x400 << 2 * size) - 1)
        word0 = page | size << 4 | rng.getrandbits(1) << 9
        v = (word0, rng.getrandbits(32) & 0xFFFFFC0F, rng.getrandbits(32) & 0xFF3F)[ws]
        return [*self.load(9, v), *self.load(8, rng.randrange(8)), self.word("tlbwe", rs=9, ra=8, ws=ws)]

    def _tlbre_440(self, rng: Random) -> list[int]:
        read = self.word("tlbre", rt=rng.randrange(10, 32), ra=8, ws=rng.randrange(3))
        return [*self.load(8, rng.randrange(8)), read, self.word("mfmmucr", rt=30)]

    def _tlbsx_440(self, rng: Random) -> list[int]:
        where = rng.choice(PAGES) + rng.randrange(0x4000)
        return [*self.load(8, where), self.word("tlbsx.", rt=rng.randrange(10, 32), ra=0, rb=8)]

    def _all_mas(self) -> list[int]:
        return [self.word(f"mfmas{n}", rt=20 + n) for n in (0, 1, 2, 3)]

    def _entry(self, rng: Random) -> list[int]:
        out = []
        for name in ("mas0", "mas1", "mas2", "mas3"):
            if rng.random() < 0.8:
                out += self._put(rng, name)
        return [*out, self.word("tlbwe" if rng.random() < 0.6 else "tlbre"), *self._all_mas()]

    def _search(self, rng: Random) -> list[int]:
        where = self.load(8, rng.choice(PAGES) + rng.randrange(0x4000))
        if rng.random() < 0.3:
            return [*where, self.word("tlbivax", ra=0, rb=8)]
        return [*where, self.word("tlbsx", ra=0, rb=8), *self._all_mas()]

    def _machine(self, gpr: list[int]) -> Machine:
        m = Machine(self.model.name)
        m.s.gpr[:] = gpr
        m.s.cr, m.s.msr, m.s.hid0 = 0, 0, 1 << 7
        for n in range(64):
            m.s.utlb0[n] = m.s.utlb1[n] = m.s.utlb2[n] = 0
        for n in range(S.ETLB_COUNT):
            m.s.etlb_mas1[n] = m.s.etlb_mas2[n] = m.s.etlb_mas3[n] = 0
        return m

    def run(self, gpr: list[int], words: list[int]) -> str:
        """Run on both; what differs."""
        request = struct.pack("<33I", *gpr, 0) + b"".join(w.to_bytes(4, "big") for w in words)
        answer = self.oracle.ask(request)
        if answer is None:
            return "no answer"
        m = self._machine(gpr)
        for k, word in enumerate(words):
            at = k * (RECORD.size + SYSTEM.size)
            kind, _, _, _, pc = RECORD.unpack_from(answer, at)
            theirs = list(SYSTEM.unpack_from(answer, at + RECORD.size))
            m.s.pc = CODE + 4 * k
            ivor, name = -1, "?"
            try:
                name = m.run(word).form.ident
            except Interrupt as found:
                ivor = found.ivor
            except IllegalInstruction:
                ivor = 6
            self.counts[name] += 1
            self.executed += 1
            ours: list[Any] = [v & 0xFFFFFFFF for v in m.s.gpr] + [m.s.cr, m.s.msr]
            if ivor != kind:
                return f"{name} {word:08x} at {k}: interrupt {ivor} for {kind}"
            if ivor < 0 and name.startswith("rf") and (m.s.pc & 0xFFFFFFFC) != pc:
                return f"{name} at {k}: to {m.s.pc:x} for {pc:x}"
            self._excuse(name, word, m, ours, theirs)
            if ours != theirs:
                wrong = ", ".join(
                    f"{n} {a:x} for {b:x}" for n, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b
                )
                return f"{name} {word:08x} at {k}: {wrong}"
            m.s.gpr[:] = theirs[:32]
        return ""

    def _excuse(self, name: str, word: int, m: Machine, ours: list[Any], theirs: list[int]) -> None:
        """Make equal what may differ; ours goes on with theirs."""
        ours[MSR] &= SWITCHES
        theirs[MSR] &= SWITCHES
        m.s.msr = m.s.msr & ~SWITCHES | theirs[MSR]
        if name.startswith("tlbsx") and self.family == "440" and not ours[CR] >> 29 & 1:
            ours[word >> 21 & 31] = theirs[word >> 21 & 31]  # undefined where nothing is found
        if name == "mfmas0":
            # Unicorn has one next victim for all sets.
            n = word >> 21 & 31
            ours[n] = ours[n] & ~0x30003 | theirs[n] & 0x30003
            m.s.mas0 = ours[n]
        if name == "mfmas2":
            # Address bits inside the page are ignored; Unicorn clears them when an entry is written.
            n = word >> 21 & 31
            if any(theirs[n] == ours[n] & ~((1 << k) - 1 & 0xFFFFF000) for k in range(12, 33, 2)):
                ours[n] = theirs[n]

    def close(self) -> None:
        self.oracle.close()
