"""Programs that get hot: loops, branches, calls and jumps through tables around drawn instructions, for `fuzz_jit`.

They write into their own code, cross pages, fault midway and change page tables and TLBs while they run. A program is a
list of items that can be left out one by one, so that one that goes wrong can be made small.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any

from cores.ppc import state as S
from cores.ppc import strategies as ppc_strategies
from cores.ppc.decoder import mnemonic
from cores.ppc.forms import Form
from cores.ppc.models import model as ppc_model
from cores.x86 import strategies
from tests.cores import ppc_tiers as P
from tests.cores import tier_machine as X

Build = Callable[[Callable[[int], int], int], bytes]
"""The bytes of an item, from the addresses of all items and its own."""
PPC_MODELS = ("440EP", "460EX", "e500v1", "e500v2", "e500mc")
X86_MODES = (*X.MODES, "flat32", "flat32", "ring3")
PROFILES: dict[str, tuple[str, ...]] = {
    "whole numbers": ("alu", "move"),
    "most": ("alu", "move", "string", "control"),
    "floating": ("x87", "alu"),
    "vectors": ("mmx", "sse", "sse2", "sse3", "ssse3", "move"),
    "all": (),
}
PPC_PROFILES = ("fixed", "fixed load_store", "float load_store", "spe efp load_store", "mac fixed", "")


@dataclass(frozen=True)
class Item:
    """A few bytes that belong together."""

    text: str
    size: int
    build: Build
    align: int = 1


def raw(code: bytes, align: int = 1) -> Item:
    """Bytes that depend on nothing."""
    return Item(code.hex(), len(code), lambda where, here: code, align)


@dataclass
class Program:
    """Items, and where the first of them goes."""

    base: int
    filler: bytes
    items: list[Item] = field(default_factory=list)

    def add(self, item: Item) -> int:
        """The number of the new item."""
        self.items.append(item)
        return len(self.items) - 1

    def addresses(self, keep: Collection[int]) -> list[int]:
        """Where each item starts, and where the last one ends; one that is left out has no length."""
        found, at = [], self.base
        for k, item in enumerate(self.items):
            if k in keep:
                at += -at % item.align
            found.append(at)
            at += item.size if k in keep else 0
        return [*found, at]

    def image(self, keep: Collection[int]) -> bytes:
        """The bytes from `base` on."""
        at = self.addresses(keep)
        out = bytearray()
        for k, item in enumerate(self.items):
            if k in keep:
                out += self.filler * ((at[k] - self.base - len(out)) // len(self.filler))
                code = item.build(at.__getitem__, at[k])
                if len(code) != item.size:
                    raise ValueError(f"{item.text}: {len(code)} bytes, not {item.size}")
                out += code
        return bytes(out)

    def listing(self, keep: Collection[int]) -> list[str]:
        """A line for each item that is left."""
        at = self.addresses(keep)
        items = [(k, item, item.build(at.__getitem__, at[k])) for k, item in enumerate(self.items) if k in keep]
        return [f"{k:4} {at[k]:#x}  {code.hex()}  {item.text}" for k, item, code in items]


@dataclass
class Case:
    """A program, and what gives a pair of processors the memory and registers around it."""

    core: str
    kind: str
    program: Program
    start: Callable[[Any, bytes], None]


# --- x86 -------------------------------------------------------------------------------------------------------------


x86_forms = cache(strategies.forms)


class X86:
    """Draws one program for a mode. Addresses are linear ones."""

    def __init__(self, rng: Random, mode: str) -> None:
        self.rng, self.mode = rng, mode
        profile = rng.choice(list(PROFILES))
        known = x86_forms()
        self.chapters = {name: known[name] for name in PROFILES[profile] or known if name in known}
        self.world = X.world(rng, mode, known, 0, skips=rng.random() < 0.9)
        self.place = self.world.place
        shift = 0x1000 - rng.randrange(16, 400) if rng.random() < 0.4 else 0
        self.segment = X.CODE if mode in ("real", "v86") else 0
        self.program = Program(X.CODE + shift, b"\x90")
        self.world.state["eip"] = X.CODE + shift - self.segment
        self.wide = b"" if self.place.big else b"\x66"  # 32-bit operands
        self.far = b"" if self.place.big else b"\x67"  # 32-bit addresses
        self.faults = rng.random() < 0.5
        self.slots = self.place.data + self.place.size - 64
        self.targets: list[tuple[int, int]] = []
        self.subs: list[int] = []
        self.subs_at: dict[int, int] = {}

    def case(self) -> Case:
        rng, p = self.rng, self.program
        for _ in range(rng.randrange(1, 4)):
            self.loop(rng.randrange(2))
        p.add(self.jump(b"\xe9", "jmp to the start", 0))
        for sub in self.subs:
            self.subs_at[sub] = len(p.items)
            for _ in range(rng.randrange(1, 5)):
                self.one()
            p.add(raw(self.wide + b"\xc3"))
        return Case("x86", self.mode, p, self.start)

    def start(self, both: Any, image: bytes) -> None:
        """Memory and registers as drawn, and the program."""
        w = self.world
        w.memory.pop(X.CODE, None)
        both.start(X.World(w.mode, w.place, w.state, {**w.memory, self.program.base: image}, seed=w.seed))

    def jump(self, opcode: bytes, text: str, target: int | Callable[[], int]) -> Item:
        """A jump with 32 bits of displacement."""
        code = self.wide + opcode

        def build(where: Callable[[int], int], here: int) -> bytes:
            to = where(target if isinstance(target, int) else target())
            return code + (to - here - len(code) - 4 & 0xFFFFFFFF).to_bytes(4, "little")

        return Item(text, len(code) + 4, build)

    def memory(
        self, opcode: str, reg: int, at: int, rest: bytes = b"", *, wide: bool = True, cs: bool = False
    ) -> bytes:
        """An instruction with an absolute address."""
        front = (b"\x2e" if cs else b"") + self.far + (self.wide if wide else b"")
        return front + bytes.fromhex(opcode) + bytes([reg << 3 | 5]) + at.to_bytes(4, "little") + rest

    def slot(self) -> int:
        return self.slots + 4 * self.rng.randrange(16)

    def loop(self, depth: int) -> None:
        """A few items, some rounds of them."""
        rng, p = self.rng, self.program
        rounds, counter, how = rng.randrange(3, 51), self.slot(), rng.randrange(8)
        if how < 6:
            p.add(raw(self.memory("c7", 0, counter, rounds.to_bytes(4, "little"))))
        else:
            p.add(raw(self.wide + b"\xb9" + rounds.to_bytes(4, "little")))  # ecx
        top = len(p.items)
        for _ in range(rng.randrange(2, 12)):
            if depth and rng.random() < 0.1:
                self.loop(0)
            else:
                self.one()
        if how < 6:
            p.add(raw(self.memory("ff", 1, counter)))
        elif how == 6:
            p.add(raw(self.wide + b"\x49"))
        p.add(self.jump(b"\x0f\x85" if how < 7 else bytes([0x0F, 0x80 + rng.randrange(16)]), f"back to {top}", top))

    def one(self) -> None:
        """An item."""
        rng, p = self.rng, self.program
        dice = rng.random()
        if dice < 0.62:
            drawn = strategies.program(rng, self.chapters, self.place, 1)[0]
            p.add(raw(drawn, 16 if self.faults and rng.random() < 0.5 else 1))
        elif dice < 0.72:
            over = len(p.items) + rng.randrange(2, 5)
            p.add(self.jump(bytes([0x0F, 0x80 + rng.randrange(16)]), f"to {over}", self.upto(over)))
        elif dice < 0.80:
            self.target()
        elif dice < 0.86:
            self.patch()
        elif dice < 0.90:
            if len(self.subs) < 3:
                self.subs.append(len(self.subs))
            mine = rng.choice(self.subs)
            p.add(self.jump(b"\xe8", f"call {mine}", lambda: self.subs_at.get(mine, 0)))
        elif dice < 0.95:
            self.indirect()
        else:
            self.remap()

    def upto(self, number: int) -> Callable[[], int]:
        """An item that need not be there yet."""
        return lambda: min(number, len(self.program.items))

    def target(self) -> None:
        """An instruction that others change: its opcode or its immediate."""
        rng = self.rng
        kind, reg = rng.randrange(4), rng.choice((0, 1, 2, 3, 5, 6, 7))
        value = bytes([rng.randrange(256)])
        code, at = (
            (bytes([0xB0 + rng.randrange(8)]) + value, 1),
            (self.wide + bytes([0x40 + reg]), len(self.wide)),
            (self.wide + b"\x83" + bytes([0xC0 + reg]) + value, len(self.wide) + 2),
            (self.wide + b"\x05" + rng.randbytes(4), len(self.wide) + 1),
        )[kind]
        self.targets.append((self.program.add(raw(code)), -at if kind == 1 else at))

    def patch(self) -> None:
        """A store into one of these."""
        rng = self.rng
        if not self.targets:
            return self.target()
        item, at = rng.choice(self.targets)
        cs = self.mode in ("real", "v86")
        opcode, reg, rest, wide = (
            ("88", rng.randrange(8), b"", False),  # mov
            ("00", rng.randrange(8), b"", False),  # add
            ("80", 6, bytes([1 << rng.randrange(8)]), False),  # xor
            ("fe", 0, b"", False),  # inc
            ("89", rng.randrange(8), b"", True),
        )[rng.randrange(4 if rng.random() < 0.9 else 5)]
        if at < 0:
            opcode, reg, rest, wide = "80", 6, b"\x08", False  # inc and dec

        def build(where: Callable[[int], int], here: int) -> bytes:
            return self.memory(opcode, reg, where(item) + abs(at) - self.segment, rest, wide=wide, cs=cs)

        self.program.add(Item(f"change {item}", len(build(lambda k: self.segment, 0)), build))
        return None

    def indirect(self) -> None:
        """A jump through a register or memory, forward, often to one place and sometimes to another."""
        rng, p = self.rng, self.program
        k = len(p.items)

        def there(front: bytes, number: int) -> Item:
            def build(where: Callable[[int], int], here: int) -> bytes:
                return front + (where(min(number, len(p.items))) - self.segment & 0xFFFFFFFF).to_bytes(4, "little")

            return Item(f"address of {number}", len(front) + 4, build)

        if rng.randrange(2):
            reg, over = rng.choice((0, 1, 2, 3, 6, 7)), k + 2 + rng.randrange(2)
            p.add(there(self.wide + bytes([0xB8 + reg]), over))
            p.add(raw(self.wide + bytes([0xFF, (0xE0 if rng.random() < 0.7 else 0xD0) + reg])))
            return
        slot = self.slot()
        front = self.memory("c7", 0, slot)
        p.add(there(front, k + 4))
        p.add(self.jump(bytes([0x0F, 0x80 + rng.randrange(16)]), f"to {k + 3}", self.upto(k + 3)))
        p.add(there(front, k + 4 + rng.randrange(1, 3)))
        p.add(raw(self.memory("ff", 4, slot)))

    def remap(self) -> None:
        """Change a page-table entry of the data, and have the TLB forget it, or all of it."""
        rng = self.rng
        page = rng.choice((X.DATA >> 12, (X.DATA >> 12) + 1, X.STACK >> 12, X.CODE + 0x1000 >> 12))
        size = 8 if self.mode == "pae3" else 4
        self.program.add(
            raw(self.memory("81", 6, X.TABLE + size * page, rng.choice((2, 1, 4, 0x1000)).to_bytes(4, "little")))
        )
        if rng.randrange(2):
            self.program.add(raw(self.memory("0f01", 7, page << 12, wide=False)))
        else:
            self.program.add(raw(bytes.fromhex("0f20d80f22d8")))


# --- PowerPC ---------------------------------------------------------------------------------------------------------

ISYNC, BLR, BCTR = 0x4C00012C, 0x4E800020, 0x4E800420
A, B = 27, 28  # registers of ours


def words(*values: int) -> bytes:
    return b"".join((v & 0xFFFFFFFF).to_bytes(4, "big") for v in values)


def immediate(register: int, value: int) -> tuple[int, int]:
    """lis and ori."""
    low = 24 << 26 | register << 21 | register << 16 | value & 0xFFFF
    return 15 << 26 | register << 21 | value >> 16 & 0xFFFF, low


def load(at: int) -> tuple[int, ...]:
    """Register B from an address, which goes to A."""
    return *immediate(A, at), 32 << 26 | B << 21 | A << 16


STORE = 36 << 26 | B << 21 | A << 16


@cache
def ppc_families(model: str) -> list[tuple[list[Form], str]]:
    """Forms by the body they share, with the chapter of each."""
    found = ppc_strategies.families(ppc_model(model).features)
    return [(family, family[0].entry.body.__module__.rpartition(".")[2]) for family in found]


class Ppc:
    """Draws one program for a model."""

    def __init__(self, rng: Random, model: str) -> None:
        self.rng, self.model = rng, model
        self.seed = rng.getrandbits(64)
        self.values: dict[str, Any] = {} if rng.random() < 0.1 else {"dbcr0": 0}  # each instruction alone
        calm = rng.random() < 0.6
        if calm:
            unit = S.MSR_SPV if ppc_model(model).has("spe") else S.MSR_FP
            self.values["msr"] = 1 << S.MSR_ME | 1 << unit | rng.randrange(2) << S.MSR_EE
        wanted = rng.choice(PPC_PROFILES).split()
        chapters = ppc_families(model)
        self.families = [family for family, chapter in chapters if not wanted or chapter in wanted]
        if calm:
            self.families = [family for family in self.families if mnemonic(family[0])[:2] not in ("tw", "sc")]
        self.families = self.families or [family for family, _ in chapters]
        self.program = Program(
            P.CODE + (0x1000 - 4 * rng.randrange(1, 60) if rng.random() < 0.3 else 0), words(0x60000000)
        )
        self.targets: list[int] = []
        self.subs: list[int] = []
        self.subs_at: dict[int, int] = {}

    def case(self) -> Case:
        rng, p = self.rng, self.program
        for _ in range(rng.randrange(1, 4)):
            self.loop(rng.randrange(2))
        p.add(self.branch(18 << 26, 0x03FFFFFC, "b to the start", lambda: 0))
        for sub in self.subs:
            self.subs_at[sub] = len(p.items)
            for _ in range(rng.randrange(1, 5)):
                self.one()
            p.add(self.plain(BLR))
        return Case("ppc", self.model, p, self.start)

    def start(self, both: Any, image: bytes) -> None:
        """Memory and registers as drawn, and the program."""
        both.start(Random(self.seed), both.families, 1)
        at = self.program.base
        for cpu, ram in zip(both.cpus, both.rams, strict=True):
            ram.view[at : at + len(image)] = image
            cpu.invalidate(at, len(image))
            cpu.load_values({"pc": at, **self.values})

    def plain(self, *values: int) -> Item:
        return raw(words(*values))

    def branch(self, word: int, mask: int, text: str, target: Callable[[], int]) -> Item:
        return Item(text, 4, lambda where, here: words(word | where(target()) - here & mask))

    def upto(self, number: int) -> Callable[[], int]:
        return lambda: min(number, len(self.program.items))

    def counter(self) -> int:
        return P.DATA + 0x3F00 + 4 * self.rng.randrange(16)

    def loop(self, depth: int) -> None:
        """A few items, some rounds of them."""
        rng, p = self.rng, self.program
        rounds, counter, how = rng.randrange(3, 51), self.counter(), rng.randrange(3)
        if how:
            p.add(self.plain(*load(counter), 14 << 26 | B << 21 | rounds, STORE))
        else:
            p.add(self.plain(14 << 26 | B << 21 | rounds, 0x7C0903A6 | B << 21))  # mtctr
        top = len(p.items)
        for _ in range(rng.randrange(2, 12)):
            if depth and rng.random() < 0.1:
                self.loop(0)
            else:
                self.one()
        if how:
            p.add(self.plain(*load(counter), 13 << 26 | B << 21 | B << 16 | 0xFFFF, STORE))  # addic.
        back = 16 << 26 | (4 << 21 | 2 << 16 if how else 16 << 21)  # bne, bdnz
        p.add(self.branch(back, 0xFFFC, f"back to {top}", lambda: top))

    def one(self) -> None:
        """An item."""
        rng, p = self.rng, self.program
        dice = rng.random()
        if dice < 0.08:
            p.add(self.plain(*immediate(rng.randrange(3, 7), rng.choice((P.DATA, P.WINDOW)) + rng.randrange(0x3F00))))
        elif dice < 0.66:
            p.add(self.plain(P.drawn_word(rng, rng.choice(rng.choice(self.families)))))
        elif dice < 0.76:
            over = len(p.items) + rng.randrange(2, 5)
            kind = rng.choice((12, 4, 12, 4, 16, 18)) << 21 | rng.randrange(32) << 16
            p.add(self.branch(16 << 26 | kind, 0xFFFC, f"to {over}", self.upto(over)))
        elif dice < 0.81:
            reg = rng.randrange(8, 27)
            self.targets.append(p.add(self.plain(14 << 26 | reg << 21 | reg << 16 | rng.getrandbits(16))))
        elif dice < 0.88:
            self.patch()
        elif dice < 0.92:
            if len(self.subs) < 3:
                self.subs.append(len(self.subs))
            mine = rng.choice(self.subs)
            p.add(self.branch(18 << 26 | 1, 0x03FFFFFC, f"bl {mine}", lambda: self.subs_at.get(mine, 0)))
        elif dice < 0.96:
            self.indirect(len(p.items) + 1 + rng.randrange(1, 3))
        else:
            self.remap()

    def patch(self) -> None:
        """Change the immediate or the destination of an instruction, mostly as the manual wants it done."""
        rng = self.rng
        if not self.targets:
            return
        item, change = rng.choice(self.targets), 1 << rng.randrange(16)
        tail = (31 << 26 | A << 11 | 982 << 1, ISYNC) if rng.random() < 0.7 else ()  # icbi

        def build(where: Callable[[int], int], here: int) -> bytes:
            return words(*load(where(item)), 26 << 26 | B << 21 | B << 16 | change, STORE, *tail)

        self.program.add(Item(f"change {item}", len(build(lambda k: 0, 0)), build))

    def indirect(self, to: int) -> None:
        """A jump through CTR."""

        def build(where: Callable[[int], int], here: int) -> bytes:
            return words(*immediate(A, where(min(to, len(self.program.items)))), 0x7C0903A6 | A << 21, BCTR)

        self.program.add(Item(f"bctr to {to}", 16, build))

    def remap(self) -> None:
        """Change rights or validity of an entry of the TLB that the window is mapped by."""
        rng = self.rng
        if ppc_model(self.model).has("440"):
            word, change = rng.choice(((2, 0x09), (2, 0x12), (2, 0x24), (0, 0x200), (1, 0x1000)))
            read = 31 << 26 | B << 21 | A << 16 | word << 11 | 946 << 1
            self.program.add(
                self.plain(14 << 26 | A << 21 | rng.randrange(2, 6), read, 26 << 26 | B << 21 | B << 16 | change,
                           read + (32 << 1), ISYNC)
            )  # fmt: skip
            return
        n, change = rng.choice(((3, 0x03), (3, 0x0C), (3, 0x30), (1, 0x8000), (3, 0x1000)))
        move = 31 << 26 | B << 21 | (624 + n & 31) << 16 | 624 + n >> 5 << 11
        upper = n == 1  # the valid bit
        self.program.add(
            self.plain(*immediate(A, 1 << 28 | rng.randrange(2, 6) << 16),
                       31 << 26 | A << 21 | (624 & 31) << 16 | 624 >> 5 << 11 | 467 << 1, 0x7C000764,
                       move | 339 << 1, (27 if upper else 26) << 26 | B << 21 | B << 16 | change, move | 467 << 1,
                       0x7C0007A4, ISYNC)
        )  # fmt: skip


def draw(core: str, rng: Random) -> Case:
    """A case of a core."""
    if core == "ppc":
        return Ppc(rng, rng.choice(PPC_MODELS)).case()
    return X86(rng, rng.choice(X86_MODES)).case()
