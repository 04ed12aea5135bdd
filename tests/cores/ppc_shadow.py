"""Plain models of the two kinds of TLB, written from the manuals' text, and the small machine they are held against.

440: PPC440 user's manual, chapter 5 (TLB fields, page identification, access control, TLB instructions). e500: e500
core reference manual, chapter 12, and e500mc, chapter 6 (MAS registers, page matching, permissions, invalidation).
Nothing here comes from `cores.ppc`.

The machine's words are all harmless instructions: `addi rT, rA, n` with rT 0..7, in either byte order. So the same word
tells to a load and to a fetch where in physical memory it lies.
"""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple

import numpy as np

from emu.memory import GuestRam

SIZE = 16 << 20
LOW = 1 << 20  # below it: code and vectors, for nobody to store to
CODE, VECTORS, STRIDE = 0x10000, 0x40000, 0x100
MSR_GS, MSR_PR, MSR_ME, MSR_IS, MSR_DS = 1 << 28, 1 << 14, 1 << 12, 1 << 5, 1 << 4
DSI, ISI, DATA_MISS, FETCH_MISS = 2, 3, 13, 14
ESR_STORE, ESR_EXTERNAL = 1 << 23, 1 << 16
SPAN = 1 << 36


class Page(NamedTuple):
    """One valid entry, whatever kind of TLB it is in."""

    ea: int
    size: int
    space: int
    tid: int
    real: int
    little: bool
    user: str  # of "rwx"
    system: str
    guest: bool = False
    partition: int = 0
    virtual: bool = False

    def holds(self, ea: int) -> bool:
        return self.ea <= ea < self.ea + self.size

    def at(self, ea: int) -> int:
        return self.real + ea - self.ea


def cut(ea: int, size: int) -> int:
    """An address without its place in the page."""
    return ea // size * size


def rights_of(word: int, order: str) -> str:
    """The letters whose bits are set; `order` from the left, of the low bits."""
    return "".join(c for k, c in enumerate(reversed(order)) if word >> k & 1)


def mark(paddr: int) -> int:
    """The word at the start of the KiB that a physical address is in; all words of it are alike."""
    n = (paddr >> 10 ^ (paddr >> 26) * 0x9E37) & 0xFFFF
    return 0x38000038 | n << 8


def turned(word: int) -> int:
    return int.from_bytes(word.to_bytes(4, "little"), "big")


class Bus:
    """Everything above RAM answers, too."""

    def __init__(self) -> None:
        self.reads: list[tuple[int, int]] = []
        self.writes: list[tuple[int, int, int]] = []
        self.dcrs: Any = None
        self.cpu: Any = None

    def mmio_read(self, paddr: int, width: int) -> int:
        self.reads.append((paddr, width))
        return mark(paddr) >> 8 * (4 - width - (paddr & 3))

    def mmio_write(self, paddr: int, width: int, value: int) -> None:
        self.writes.append((paddr, width, value))


def marks() -> bytes:
    n = np.arange(SIZE >> 10, dtype=np.uint32)
    return np.repeat((0x38000038 | n << 8).astype(">u4"), 256).tobytes()


class Words:
    """What the guest's words are: `li` and the like, spelled out."""

    LWZ = 0x82950000  # lwz r20, 0(r21)
    LBZ = 0x8A950000
    STW = 0x92D50000  # stw r22, 0(r21)
    BCTR = 0x4E800420
    BA = 0x48000002
    TLBWE = 0x7D4907A4  # 440: tlbwe r10, r9, 0; the word is or'ed with WS
    TLBWE_E = 0x7C0007A4
    TLBRE_E = 0x7C000764
    TLBSX_E = 0x7C00AF24  # tlbsx 0, r21
    TLBSX = 0x7E80AF25  # tlbsx. r20, 0, r21
    TLBRE = 0x7E890764  # tlbre r20, r9, 0
    TLBIVAX = 0x7C00AE24  # tlbivax 0, r21
    LWEPX = 0x7E80A83E  # lwepx r20, 0, r21
    STWEPX = 0x7EC0A93E  # stwepx r22, 0, r21
    TLBILX = 0x7C00A824  # tlbilx 0, 0, r21; T goes to bits 9 to 10


def mtspr(number: int, register: int) -> int:
    return 0x7C0003A6 | register << 21 | (number & 31) << 16 | number >> 5 << 11


class Machine:
    """A processor with the marked memory; `do` runs one instruction of the supervisor, `access` one of anybody."""

    def __init__(self, make: Any, model: str) -> None:
        self.ram, self.bus = GuestRam(SIZE, flat=True), Bus()
        self.cpu: Any = make(self.bus, self.ram, model)
        self.bus.cpu = self.cpu
        self.compiled = not hasattr(self.cpu, "s")
        self.c: Any = self.cpu._c if self.compiled else self.cpu.s
        self.ram.view[:] = marks()
        self.ram.view[:LOW] = bytes(LOW)
        self.places: dict[int, int] = {}
        self.stored: dict[int, int] = {}

    def place(self, word: int) -> int:
        """The address of an instruction of ours."""
        if word not in self.places:
            at = CODE + 4 * len(self.places)
            self.places[word] = at
            self.ram.view[at : at + 4] = word.to_bytes(4, "big")
            self.cpu.invalidate(at, 4)
        return self.places[word]

    def put_msr(self, value: int) -> None:
        if self.compiled:
            self.cpu.lib.emu_put_msr(self.c, value)
        else:
            self.cpu._call("msr_load", value)

    def do(self, word: int, **registers: int) -> None:
        """One instruction of the supervisor in address space 0; `r9=1` and the like are set before."""
        if self.c.msr != MSR_ME:
            self.put_msr(MSR_ME)
        for name, v in registers.items():
            self.c.gpr[int(name[1:])] = v
        at = self.c.pc = self.place(word)
        self.cpu.run(1)
        if self.c.pc != at + 4:
            raise AssertionError(f"{word:#x} was not carried out: pc {self.c.pc:#x}, esr {self.c.esr:#x}")

    def word_at(self, paddr: int) -> int:
        """What memory has at a physical address of a word, in big-endian order."""
        if paddr < LOW:
            return int.from_bytes(self.ram.view[paddr : paddr + 4], "big")
        return self.stored.get(paddr, mark(paddr))


class Shadow440:
    """The unified TLB: 64 entries of three words, TID beside the first."""

    model = "440EP"
    SIZES = {0: 1, 1: 4, 2: 16, 3: 64, 4: 256, 5: 1024, 7: 16 << 10, 9: 256 << 10}  # KiB

    def __init__(self, machine: Machine) -> None:
        self.m = machine
        self.words: dict[int, list[int]] = {}
        self.tids: dict[int, int] = {}
        self.pages: dict[int, Page] = {}
        self.pid = 0

    def reset(self) -> None:
        self.m.cpu.load_values(
            {
                "msr": MSR_ME, "ivpr": 0x40000, "ivor": {n: STRIDE * n for n in range(16)}, "tcr": 0,
                "utlb0": {**dict.fromkeys(range(64), 0), 0: 0x250}, "utlb1": {0: 0}, "utlb2": {0: 0x3F},
            }
        )  # fmt: skip

    def contexts(self, rng: Random, wish: Page | None) -> None:
        """Another process, perhaps, and one that has the page."""
        if rng.random() < 0.3:
            self.pid = wish.tid if wish and wish.tid else rng.choice((0, 1, 2, 3))
            self.m.do(mtspr(48, 14), r14=self.pid)

    def state_bits(self, rng: Random, wish: Page | None) -> int:
        return 0

    def find(self, ea: int, space: int, msr: int) -> list[Page]:
        return [p for p in self.pages.values() if p.space == space and p.tid in (0, self.pid) and p.holds(ea)]

    def _decode(self, n: int) -> None:
        word0, word1, word2 = self.words[n]
        if not word0 & 0x200:
            self.pages.pop(n, None)
            return
        size = self.SIZES[word0 >> 4 & 15] << 10
        real = cut(word1 & 0xFFFFFC00, size) | (word1 & 15) << 32
        self.pages[n] = Page(
            cut(word0 & 0xFFFFFC00, size), size, word0 >> 8 & 1, self.tids[n], real, bool(word2 & 0x80),
            rights_of(word2 >> 3, "xwr"), rights_of(word2, "xwr"),
        )  # fmt: skip

    def mutate(self, rng: Random, ea: int) -> None:
        """A word or all of an entry, or its valid bit off."""
        n = rng.choice((1, 2, 3, 4, 5, 6, 7, 63))
        kind = rng.random()
        old = self.words.get(n, [0, 0, 0])
        code = rng.choice((0, 0, 1, 1, 1, 1, 2, 3, 4, 5, 7, 9))
        new = [
            ea & 0xFFFFFC00 | (rng.random() < 0.85) << 9 | rng.randrange(2) << 8 | code << 4,
            (rng.randrange(SIZE) & ~0x3FF) | (rng.random() < 0.2) * rng.randrange(16),
            rng.getrandbits(6) | rng.choice((0, 0, 0x80, 0x100, 0x400)) | rng.choice((0, 0, 0x3F)),
        ]
        tid = rng.choice((0, 1, 2, 3))
        if kind < 0.15:
            new, tid = [old[0] & ~0x200, *old[1:]], self.tids.get(n, 0)
        elif kind < 0.3:
            new, tid = [*old[:2], new[2]], self.tids.get(n, 0)
        elif kind < 0.4:
            new, tid = [old[0], new[1], old[2]], self.tids.get(n, 0)
        order = [0, 1, 2]
        rng.shuffle(order)
        for k in order:
            if k == 0:
                self.m.do(mtspr(946, 14), r14=tid)
                self.tids[n] = tid
            if new[k] != old[k] or k == 0:
                self.m.do(Words.TLBWE | k << 11, r10=new[k], r9=n)
        self.words[n] = new
        self._decode(n)

    def look(self, rng: Random, ea: int) -> None:
        """tlbsx. and tlbre tell what is there."""
        tid, space = rng.randrange(4), rng.randrange(2)
        self.m.do(mtspr(946, 14), r14=tid | space << 16)
        self.m.do(Words.TLBSX, r20=0x1234, r21=ea)
        hits = [n for n, p in self.pages.items() if p.space == space and p.tid in (0, tid) and p.holds(ea)]
        found = self.m.c.cr >> 29 & 1
        if len(hits) < 2:
            assert (found, self.m.c.gpr[20]) == (len(hits), hits[0] if hits else 0x1234), hex(ea)
        if hits:
            for k in range(3):
                self.m.do(Words.TLBRE | k << 11, r9=hits[0])
                assert self.m.c.gpr[20] == self.words[hits[0]][k]
            self.m.do(Words.TLBRE, r9=hits[0])
            assert self.m.c.mmucr & 0xFF == self.tids[hits[0]]

    def missed(self, ea: int, space: int) -> None:
        """Nothing but DEAR and ESR."""


class ShadowE500:
    """TLB0 of 128 sets, TLB1 fully associative; written through MAS0 to MAS3, MAS7 and MAS8."""

    WAYS = {"e500v1": 2, "e500v2": 4, "e500mc": 4}
    TLB1 = {"e500v1": 16, "e500v2": 16, "e500mc": 64}
    LARGEST = {"e500v1": 9, "e500v2": 11, "e500mc": 11}

    def __init__(self, machine: Machine, model: str) -> None:
        self.m, self.model = machine, model
        self.ways, self.hypervised = self.WAYS[model], model == "e500mc"
        self.pages: dict[tuple[int, int], Page] = {}  # (set, way), or (-1, n) of TLB1
        self.masses: dict[tuple[int, int], tuple[int, int, int, int, int]] = {}
        self.protected: set[tuple[int, int]] = set()
        self.sets: dict[int, list[tuple[int, int]]] = {}
        self.pids = [0, 0, 0]
        self.lpid = 0
        self.mas4 = 0

    def reset(self) -> None:
        at = 512
        everything = {at: 0xC0000500, at + 1: 0xC0000500}
        self.m.cpu.load_values(
            {
                "msr": MSR_ME, "ivpr": 0x40000, "ivor": {n: STRIDE * n for n in range(42)}, "tcr": 0, "hid0": 0x80,
                "etlb_mas1": everything, "etlb_mas2": {at: 0, at + 1: 0}, "etlb_mas3": {at: 0x3F, at + 1: 0x3F},
                "etlb_mas8": {at: 0, at + 1: (1 << 31) * self.hypervised},
            }
        )  # fmt: skip
        if not self.hypervised:
            self.m.cpu.load_values({"etlb_mas1": {at + 1: 0}})

    def contexts(self, rng: Random, wish: Page | None) -> None:
        if rng.random() < 0.3:
            n = rng.randrange(1 if self.hypervised else 3)
            self.pids[n] = wish.tid if wish and wish.tid else rng.choice((0, 1, 2, 3))
            self.m.do(mtspr((48, 633, 634)[n], 14), r14=self.pids[n])
        if self.hypervised and rng.random() < 0.1:
            self.lpid = wish.partition if wish and wish.partition else rng.choice((0, 1, 2))
            self.m.do(mtspr(338, 14), r14=self.lpid)

    def state_bits(self, rng: Random, wish: Page | None) -> int:
        if wish and rng.random() < 0.8:
            return MSR_GS * wish.guest
        return MSR_GS * (self.hypervised and rng.random() < 0.3)

    def _near(self, ea: int) -> list[tuple[int, int]]:
        return [*self.sets.get(ea >> 12 & 127, ()), *self.sets.get(-1, ())]

    def _matches(self, ea: int, space: int, tids: tuple[int, ...], guest: bool, lpid: int) -> list[tuple[int, int]]:
        found = []
        for key in self._near(ea):
            p = self.pages[key]
            if p.space == space and p.tid in tids and p.holds(ea) and p.guest == guest and p.partition in (0, lpid):
                found.append(key)
        return found

    def find(self, ea: int, space: int, msr: int) -> list[Page]:
        keys = self._matches(ea, space, (0, *self.pids), bool(msr & MSR_GS), self.lpid)
        return [self.pages[key] for key in keys]

    def find_external(self, ea: int, context: int) -> list[Page]:
        """By EPLC or EPSC: EPR, EAS, EGS from the left, ELPID in the upper half, EPID in the lower."""
        space, guest, lpid, pid = context >> 30 & 1, context >> 29 & 1, context >> 16 & 0x3F, context & 0xFF
        return [self.pages[key] for key in self._matches(ea, space, (0, pid), bool(guest), lpid)]

    def _drop(self, key: tuple[int, int]) -> None:
        if key in self.pages:
            del self.pages[key]
            self.sets[key[0]].remove(key)
            self.protected.discard(key)

    def _set_mas(self, **values: int) -> None:
        for name, v in values.items():
            setattr(self.m.c, name, v)

    def mutate(self, rng: Random, ea: int) -> None:
        kind = rng.random()
        if kind < 0.7:
            self._write(rng, ea)
        elif kind < 0.72:
            self._flash(rng)
        elif kind < 0.85 or not self.hypervised:
            self._tlbivax(rng, ea)
        else:
            self._tlbilx(rng, ea)

    def _write(self, rng: Random, ea: int) -> None:
        tlb1 = rng.random() < 0.4
        valid, protected = rng.random() < 0.85, tlb1 and rng.random() < 0.2
        tid, space = rng.choice((0, 1, 2, 3)), rng.randrange(2)
        code = rng.choice((1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11))
        if code > self.LARGEST[self.model] or (code == 11 and not space) or (code == 10 and ea < 1 << 30):
            code = 1
        bits = rng.getrandbits(6) | rng.choice((0, 0, 0x3F))
        mas1 = valid << 31 | protected << 30 | tid << 16 | space << 12 | code << 8
        mas2 = ea & 0xFFFFF000 | rng.choice((0, 0, 1, 2, 8))
        mas3 = rng.randrange(SIZE) & ~0xFFF | rng.getrandbits(4) << 6 | bits
        mas7 = (rng.random() < 0.2) * rng.randrange(16) if self.model != "e500v1" else 0
        mas8 = 0
        if self.hypervised:
            mas8 = (rng.random() < 0.3) << 31 | (rng.random() < 0.05) << 30 | rng.choice((0, 0, 0, 1, 2))
        if tlb1:
            n = rng.randrange(2, 8)
            key, place = (-1, n), 1 << 28 | n << 16
        else:
            way = rng.randrange(self.ways)
            key, place = (ea >> 12 & 127, way), way << 16 | rng.randrange(self.ways)
        self._drop(key)
        self._set_mas(mas0=place, mas1=mas1, mas2=mas2, mas3=mas3, mas7=mas7, mas8=mas8)
        self.m.do(Words.TLBWE_E)
        size = 4 ** (code if tlb1 else 1) << 10
        if not tlb1:
            mas1 = mas1 & ~0xF00 | 0x100
        self.masses[key] = (mas1, mas2, mas3, mas7, mas8)
        if not valid:
            return
        if protected:
            self.protected.add(key)
        self.sets.setdefault(key[0], []).append(key)
        self.pages[key] = Page(
            cut(ea, size), size, space, tid, cut(mas3 & 0xFFFFF000, size) | mas7 << 32, bool(mas2 & 1),
            # From the left: UX SX UW SW UR SR.
            "".join(c for c, k in (("x", 5), ("w", 3), ("r", 1)) if bits >> k & 1),
            "".join(c for c, k in (("x", 4), ("w", 2), ("r", 0)) if bits >> k & 1),
            bool(mas8 >> 31), mas8 & 0x3F, bool(mas8 >> 30 & 1),
        )  # fmt: skip

    def _flash(self, rng: Random) -> None:
        """MMUCSR0: L2TLB0_FI and L2TLB1_FI."""
        which = rng.choice((2, 4, 6))
        self.m.do(mtspr(1012, 14), r14=which)
        for key in list(self.pages):
            if key not in self.protected and which & (2 if key[0] < 0 else 4):
                self._drop(key)

    def _tlbivax(self, rng: Random, ea: int) -> None:
        tlb1, everything = rng.random() < 0.5, rng.random() < 0.05
        self.m.do(Words.TLBIVAX, r21=ea & 0xFFFFF000 | tlb1 << 3 | everything << 2)
        for key in list(self.pages):
            if (key[0] < 0) == tlb1 and key not in self.protected and (everything or self.pages[key].holds(ea)):
                self._drop(key)

    def _tlbilx(self, rng: Random, ea: int) -> None:
        t = 0 if rng.random() < 0.03 else rng.choice((1, 3, 3, 3))
        partition, tid, space, guest = rng.choice((0, 1, 2)), rng.randrange(4), rng.randrange(2), rng.randrange(2)
        self._set_mas(mas5=guest << 31 | partition, mas6=tid << 16 | space)
        self.m.do(Words.TLBILX | t << 21, r21=ea)
        for key in list(self.pages):
            p = self.pages[key]
            if key in self.protected or p.partition != partition or (t and p.tid != tid):
                continue
            if t == 3 and (not p.holds(ea) or p.space != space or p.guest != bool(guest)):
                continue
            self._drop(key)

    def look(self, rng: Random, ea: int) -> None:
        """tlbsx finds it, tlbre reads it."""
        c = self.m.c
        tid, space, guest, lpid = rng.randrange(4), rng.randrange(2), 0, 0
        self._set_mas(mas6=tid << 16 | space, mas1=1 << 31)
        if self.hypervised:
            guest, lpid = rng.randrange(2), rng.choice((0, 1, 2))
            self._set_mas(mas5=guest << 31 | lpid)
        self.m.do(Words.TLBSX_E, r21=ea)
        hits = self._matches(ea, space, (0, tid), bool(guest), lpid)
        if not hits and (guest or space or ea >= LOW):
            assert not c.mas1 >> 31, hex(ea)
        if len(hits) != 1:
            return
        assert c.mas0 >> 28 & 1 == (hits[0][0] < 0) and c.mas0 >> 16 & 63 == hits[0][1], hex(ea)
        self._compare(hits[0])
        self._set_mas(mas1=0, mas3=0)
        self.m.do(Words.TLBRE_E)
        self._compare(hits[0])

    def _compare(self, key: tuple[int, int]) -> None:
        c, (mas1, mas2, mas3, mas7, mas8) = self.m.c, self.masses[key]
        assert (c.mas1, c.mas2, c.mas3) == (mas1, mas2, mas3), key
        if self.model != "e500v1":
            assert c.mas7 == mas7
        if self.hypervised:
            assert c.mas8 == mas8

    def missed(self, ea: int, space: int) -> None:
        """A miss fills the MAS registers for its handler."""
        c, mas4 = self.m.c, self.m.c.mas4
        chosen = mas4 >> 16 & 15
        tid = self.pids[chosen] if chosen < 3 else 0
        assert c.mas0 >> 28 & 1 == mas4 >> 28 & 1
        assert c.mas1 == 1 << 31 | tid << 16 | space << 12 | mas4 & 0xF00
        assert c.mas2 == ea & 0xFFFFF000 | mas4 & 0x7F
        assert c.mas3 & 0xFFFFFC3F == 0
        assert c.mas6 == self.pids[0] << 16 | space
