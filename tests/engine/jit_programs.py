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
from cores.ppc.forms import Form, with_field
from cores.ppc.models import model as ppc_model
from cores.x86 import state as X86State
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

    def across(self, rng: Random) -> None:
        """Put it where the end of a page is somewhere in the middle."""
        size = sum(item.size for item in self.items)
        self.base += (0x1000 - rng.randrange(1, size)) & -4

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
    real: int
    """Where the program lies in memory."""
    start: Callable[[Any, bytes], None]


# --- x86 -------------------------------------------------------------------------------------------------------------


x86_forms = cache(strategies.forms)
BITS = (0xA3, 0xAB, 0xB3, 0xBB, 0xA5, 0xAD, 0xBC, 0xBD)  # bt, bts, btr, btc, shld, shrd, bsf, bsr


class X86:
    """Draws one program for a mode. Addresses are linear ones."""

    def __init__(self, rng: Random, mode: str) -> None:
        self.rng, self.mode = rng, mode
        profile = rng.choice(list(PROFILES))
        self.dense = rng.random() < 0.35
        self.busy = rng.random() < 0.3
        paged = mode not in ("real", "ring3", "pae3", "v86") and rng.random() < 0.5
        known = x86_forms()
        self.chapters = {name: known[name] for name in PROFILES[profile] or known if name in known}
        self.world = X.world(rng, mode, known, 0, skips=rng.random() < 0.9, paged=paged)
        self.place = self.world.place
        self.segment = X.CODE if mode in ("real", "v86") else 0
        self.program = Program(X.CODE, b"\x90")
        self.paged = bool(self.world.state["cr0"] >> X86State.CR0_PG & 1)
        self.wide = b"" if self.place.big else b"\x66"  # 32-bit operands
        self.far = b"" if self.place.big else b"\x67"  # 32-bit addresses
        self.faults = rng.random() < 0.5
        self.tables(paged)
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
            if rng.random() < 0.4:  # to another place now and then
                over = len(p.items) + 2
                p.add(self.jump(bytes([0x0F, 0x80 + rng.randrange(16)]), f"to {over}", self.upto(over)))
                p.add(raw(self.wide + self.far + bytes.fromhex("830424") + bytes([rng.choice((1, 2))])))  # add [esp]
            p.add(raw(self.wide + b"\xc3"))
        if rng.random() < (0.8 if self.paged else 0.3):
            p.across(rng)
        self.world.state["eip"] = p.base - self.segment
        return Case("x86", self.mode, p, p.base, self.start)

    def start(self, both: Any, image: bytes) -> None:
        """Memory and registers as drawn, and the program."""
        w = self.world
        w.memory.pop(X.CODE, None)
        both.start(X.World(w.mode, w.place, w.state, {**w.memory, self.program.base: image}, seed=w.seed))

    def tables(self, paged: bool) -> None:
        """With paging: a fault in the second page of code puts its entry right, and the instruction runs again."""
        self.entry = 8 if self.world.state["cr4"] >> X86State.CR4_PAE & 1 else 4
        if not paged:
            return
        page, memory = X.CODE + 0x1000, self.world.memory
        own, old = 0x800, 16 * 14
        code = bytearray(memory[X.HANDLERS].ljust(own, b"\x90"))
        for part in (
            bytes.fromhex("50 0f20d0 c1e80c 3d"),  # push eax; mov eax, cr2; shr eax, 12; cmp eax, ...
            (page >> 12).to_bytes(4, "little"),
            bytes.fromhex("58 7515 c705"),  # pop eax; jne the old handler; mov dword [...], ...
            (X.TABLE + self.entry * (page >> 12)).to_bytes(4, "little") + (page | 7).to_bytes(4, "little"),
            bytes.fromhex("0f013d") + page.to_bytes(4, "little"),  # invlpg [...]
            bytes.fromhex("83c404 cf e9"),  # add esp, 4; iretd; jmp ...
        ):
            code += part
        code += (old - len(code) - 4 & 0xFFFFFFFF).to_bytes(4, "little")
        memory[X.HANDLERS] = bytes(code)
        gate = X.gate(14, X.CODE0_32, X.HANDLERS + own, 0).to_bytes(8, "little")
        memory[X.IDT] = memory[X.IDT][: 8 * 14] + gate + memory[X.IDT][8 * 15 :]

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
        if self.paged and rng.random() < 0.1:
            return self.remap()
        if rng.random() < 0.03:
            return self.switch()
        if self.busy and dice < 0.5:
            dice = 0.72 + dice / 2.2  # more of what follows
        if dice < 0.12 and self.dense:
            self.narrow()
        elif dice < 0.62 and self.dense:
            p.add(raw(self.tight()))
        elif dice < 0.62:
            drawn = strategies.program(rng, self.chapters, self.place, 1)[0]
            p.add(raw(drawn, 16 if self.faults and rng.random() < 0.5 else 1))
        elif dice < 0.72:
            over = len(p.items) + rng.randrange(2, 5)
            p.add(self.jump(bytes([0x0F, 0x80 + rng.randrange(16)]), f"to {over}", self.upto(over)))
        elif dice < 0.78:
            self.target()
        elif dice < 0.84:
            self.patch()
        elif dice < 0.89:
            if len(self.subs) < 3:
                self.subs.append(len(self.subs))
            mine = rng.choice(self.subs)
            p.add(self.jump(b"\xe8", f"call {mine}", lambda: self.subs_at.get(mine, 0)))
            if rng.random() < 0.3:
                p.add(raw(self.wide + bytes([0x40 + rng.randrange(16)])))  # where another return may lead
        elif dice < 0.95:
            self.indirect()
        else:
            self.remap()
        return None

    def tight(self) -> bytes:
        """Arithmetic of all widths on four registers, so that most of it depends on what came just before."""
        rng = self.rng
        wide, kind = rng.randrange(3), rng.randrange(16)
        front = self.wide if wide == 2 else b"" if not wide else (b"" if self.wide else b"\x66")
        w = int(wide > 0)
        pair = 0xC0 | rng.randrange(4) << 3 | rng.randrange(4)
        one = 0xC0 | rng.randrange(8) << 3 | rng.randrange(4)
        reg = rng.randrange(4)
        scaled = rng.randrange(4) << 6 | rng.randrange(4) << 3 | rng.randrange(4)
        imm = bytes([rng.choice((0, 1, 2, 7, 8, 15, 31, 0x7F, 0x80, 0xFF, rng.randrange(256)))])
        return front + (
            bytes([rng.randrange(8) << 3 | w, pair]),
            bytes([rng.randrange(8) << 3 | 2 | w, pair]),
            bytes([0x83 if w else 0x80, one]) + imm,
            bytes([0xC0 | w, one]) + imm,
            bytes([0xD0 | w, one]),
            bytes([0xD2 | w, one]),
            bytes([0x0F, rng.choice((0xB6, 0xB7, 0xBE, 0xBF)), pair]),
            bytes([0x0F, 0x90 + rng.randrange(16), one]),
            bytes([0x0F, 0x40 + rng.randrange(16), pair]) if w else bytes([0x86, pair]),
            bytes([0xF6 | w, 0xC0 | rng.choice((2, 3, 4, 5)) << 3 | rng.randrange(4)]),
            bytes([0x0F, 0xAF, pair]) if w else bytes([0x84, pair]),
            bytes([0x0F, rng.choice(BITS), pair]) if w else bytes([0xFE, one & 0xCF]),
            bytes([0x88 | w, pair]),
            bytes([rng.choice((0x98, 0x99, 0x9E, 0x9F, 0xF5, 0xF8, 0xF9))]),
            bytes([0x8D, 0x04 | reg << 3, scaled]) if wide and not self.wide else bytes([0x0F, 0xC8 | reg]),
            bytes([0x0F, 0xC0 | w, pair]),
        )[kind]  # fmt: skip

    def narrow(self) -> None:
        """As compilers do it: two values of a few bits, something of both, and a look at the bit where it carries."""
        rng = self.rng
        a, b = rng.sample(range(4), 2)
        bits = rng.choice((1, 7, 8, 15, 16, 31))
        mask, carry = ((1 << bits) - 1).to_bytes(4, "little"), (1 << bits & 0xFFFFFFFF).to_bytes(4, "little")

        def few(reg: int) -> bytes:
            one = 0xC0 | reg
            if bits in (8, 16) and rng.randrange(2):
                return bytes(
                    [0x0F, (0xB6 if bits == 8 else 0xB7) | rng.randrange(4) // 3 << 3, one | reg << 3]
                )  # movzx, movsx
            if rng.randrange(2):
                return bytes([0x81, one | 4 << 3]) + mask  # and
            return bytes([0xC1, one | 5 << 3, 32 - bits])  # shr

        op = rng.choice((0x01, 0x01, 0x01, 0x29, 0x11, 0x19, 0x31, 0x09, 0x21, 0x39, 0x85))
        one = 0xC0 | a
        look = rng.choice((
            bytes([0xC1, one | rng.choice((5, 7)) << 3, bits]), bytes([0x0F, 0xBA, one | 4 << 3, bits]),
            bytes([0x81, one | 4 << 3]) + carry, bytes([0x81, one | 7 << 3]) + carry, bytes([0xF7, one]) + carry,
            bytes([0x0F, 0xB6 + rng.randrange(2), one | a << 3]), bytes([0x0F, 0x90 + rng.randrange(16), one]),
        ))  # fmt: skip
        fresh = [bytes([0x69, 0xC0 | reg << 3 | rng.randrange(8)]) + rng.randbytes(4) for reg in (a, b)]  # imul
        for code in (*fresh, few(a), few(b), bytes([op, 0xC0 | b << 3 | a]), look):
            self.program.add(raw(self.wide + code))

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

    def switch(self) -> None:
        """Now and then another mode: code of the other size and back, or a bit of CR0 or CR4."""
        rng = self.rng
        self.seldom(1)
        if self.mode.startswith(("flat", "segments")) and rng.random() < 0.5:
            self.program.add(self.other_size())
            return
        if rng.random() < 0.7:
            bits = [1, 2, 3, 16, 18, 30, *([31] if self.paged else [])] if self.mode != "real" else [0, 0, 1, 2, 3, 18]
            number, bit = 0xC0, rng.choice(bits)
        else:
            number, bit = 0xE0, rng.choice((2, 4, 7, 9))
        front, back = bytes([0x0F, 0x20, number]), bytes([0x0F, 0x22, number])
        change = Item(f"CR{(number - 0xC0) // 8} bit {bit}", 6 + len(self.wide) + 5, self._fixed(
            front + self.wide + b"\x35" + (1 << bit).to_bytes(4, "little") + back))  # fmt: skip
        self.program.add(change)

    @staticmethod
    def _fixed(code: bytes) -> Build:
        return lambda where, here: code

    def other_size(self) -> Item:
        """A far jump to code of the other size, an instruction there, and back."""
        inc = bytes([0x40 + self.rng.choice((0, 1, 2, 3, 5, 6, 7))])
        there, here_ = (X.CODE0_16, X.CODE0_32) if self.place.big else (X.CODE0_32, X.CODE0_16)

        def build(where: Callable[[int], int], here: int) -> bytes:
            first, second = (b"\xea", b"\x66\xea") if self.place.big else (b"\x66\xea", b"\xea")
            at = here + len(first) + 6
            out = first + at.to_bytes(4, "little") + there.to_bytes(2, "little") + inc
            return out + second + (here + 16).to_bytes(4, "little") + here_.to_bytes(2, "little")

        return Item("there and back", 16, build)

    def seldom(self, items: int) -> None:
        """Mostly jump over the next items but once in a few rounds."""
        rng, counter, over = self.rng, self.slot(), len(self.program.items) + 3 + items
        if rng.random() < 0.8:
            self.program.add(raw(self.memory("ff", 0, counter)))
            self.program.add(raw(self.memory("f7", 0, counter, rng.choice((1, 3, 7, 15)).to_bytes(4, "little"))))
            self.program.add(self.jump(b"\x0f\x85", f"to {over}", self.upto(over)))

    def remap(self) -> None:
        """Now and then change a page-table entry, and have the TLB forget it, or all of it."""
        rng = self.rng
        self.seldom(2)
        page = rng.choice((X.DATA >> 12, (X.DATA >> 12) + 1, X.STACK >> 12, *[X.CODE + 0x1000 >> 12] * 3))
        self.program.add(
            raw(self.memory("81", 6, X.TABLE + self.entry * page, rng.choice((2, 1, 4, 0x1000)).to_bytes(4, "little")))
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


def move_to(spr: int, register: int) -> int:
    """mtspr."""
    return 31 << 26 | register << 21 | (spr & 31) << 16 | spr >> 5 << 11 | 467 << 1


STORE = 36 << 26 | B << 21 | A << 16
RFI = 0x4C000064
PAGES, REAL, MEND = P.WINDOW + 0x4000, 0x60000, 0x3000
"""Pages of code, where they lie in memory, and from the vectors on what maps them again."""
ENTRIES = (6, 7, 8)


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
        self.dense = rng.random() < 0.35
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
        self.fixed = [f for f, chapter in chapters if chapter == "fixed" and mnemonic(f[0])[:2] != "tw"]
        # In the window, pages of 4 KiB that come and go; else where everything is in place.
        self.paged = rng.random() < 0.4
        self.program = Program(PAGES if self.paged else P.CODE, words(0x60000000))
        self.real = REAL if self.paged else P.CODE
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
            saved = self.counter() if rng.random() < 0.6 else 0
            if saved:
                p.add(self.plain(*immediate(A, saved), 0x7C0802A6 | B << 21, STORE))  # mflr
            for _ in range(rng.randrange(1, 5)):
                self.one()
            over = len(p.items) + 2
            p.add(self.branch(16 << 26 | 12 << 21 | rng.randrange(32) << 16, 0xFFFC, f"to {over}", self.upto(over)))
            if saved:  # now and then to another place
                p.add(self.plain(*load(saved), 14 << 26 | B << 21 | B << 16 | 4, STORE))
                p.add(self.plain(*load(saved), 0x7C0803A6 | B << 21))  # mtlr
            else:
                self.aside(rng.randrange(len(p.items)), 0x7C0803A6, "lr")
            p.add(self.plain(BLR))
        if rng.random() < (0.8 if self.paged else 0.3):
            at = p.base
            p.across(rng)
            self.real += p.base - at
        return Case("ppc", self.model, p, self.real, self.start)

    def start(self, both: Any, image: bytes) -> None:
        """Memory and registers as drawn, and the program."""
        both.start(Random(self.seed), both.families, 1)
        real = self.real
        values = {"pc": self.program.base, **self.values, **(self.entries() if self.paged else {})}
        for cpu, ram in zip(both.cpus, both.rams, strict=True):
            ram.view[real : real + len(image)] = image
            if self.paged:
                mend = self.mend()
                ram.view[P.VECTORS + MEND : P.VECTORS + MEND + len(mend)] = mend
                for n in (S.INSTRUCTION_STORAGE, S.INSTRUCTION_TLB):
                    vector = P.VECTORS + P.STRIDE * n
                    ram.view[vector : vector + 4] = words(18 << 26 | MEND - P.STRIDE * n)
            cpu.invalidate(0, P.SIZE)
            cpu.load_values(values)
            cpu.remap()

    def entries(self) -> dict[str, dict[int, int]]:
        """Entries of the TLB for the pages of code."""
        n = range(len(ENTRIES))
        if ppc_model(self.model).has("440"):
            rows = {"utlb0": PAGES | 0x210, "utlb1": REAL, "utlb2": 0x3F}
            step = {"utlb0": 0x1000, "utlb1": 0x1000, "utlb2": 0}
            return {name: {ENTRIES[k]: value + k * step[name] for k in n} for name, value in rows.items()}
        rows = {"etlb_mas1": 0xC0000100, "etlb_mas2": PAGES, "etlb_mas3": REAL | 0x3F}
        step = {"etlb_mas1": 0, "etlb_mas2": 0x1000, "etlb_mas3": 0x1000}
        return {name: {S.TLB1_FIRST + ENTRIES[k]: value + k * step[name] for k in n} for name, value in rows.items()}

    def mend(self) -> bytes:
        """A handler that makes these entries again."""
        found, out = self.entries(), list[int]()
        if ppc_model(self.model).has("440"):
            out += [14 << 26 | B << 21, move_to(946, B)]  # MMUCR
            for n in ENTRIES:
                out.append(14 << 26 | A << 21 | n)
                for word in range(3):
                    out += [
                        *immediate(B, found[f"utlb{word}"][n]),
                        31 << 26 | B << 21 | A << 16 | word << 11 | 978 << 1,
                    ]
            return words(*out, RFI)
        for spr in (944, *((341,) if self.model == "e500mc" else ())) if self.model != "e500v1" else ():  # MAS7, MAS8
            out += [14 << 26 | B << 21, move_to(spr, B)]
        for n in ENTRIES:
            out += [*immediate(B, 1 << 28 | n << 16), move_to(624, B)]
            for k in (1, 2, 3):
                out += [*immediate(B, found[f"etlb_mas{k}"][S.TLB1_FIRST + n]), move_to(624 + k, B)]
            out.append(0x7C0007A4)
        return words(*out, RFI)

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
        if self.paged and rng.random() < 0.06:
            return self.remap()
        if rng.random() < 0.03:
            return self.switch()
        dice = rng.random()
        if dice < 0.08:
            p.add(self.plain(*immediate(rng.randrange(3, 7), rng.choice((P.DATA, P.WINDOW)) + rng.randrange(0x3F00))))
        elif dice < 0.66 and self.dense:
            p.add(self.plain(self.tight()))
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
            self.aside(len(p.items) + 1 + rng.randrange(1, 3), 0x7C0903A6, "ctr", BCTR)
        else:
            self.remap()
        return None

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

    def tight(self) -> int:
        """Arithmetic on four registers, so that most of it depends on what came just before."""
        form = self.rng.choice(self.rng.choice(self.fixed))
        word = P.drawn_word(self.rng, form)
        for name in ("rt", "rs", "ra", "rb"):
            if name in form.params:
                word = with_field(word, name, 8 + self.rng.randrange(4))
        return word

    def aside(self, to: int, move: int, name: str, *more: int) -> None:
        """The address of an item goes to LR or CTR."""

        def build(where: Callable[[int], int], here: int) -> bytes:
            return words(*immediate(A, where(min(to, len(self.program.items)))), move | A << 21, *more)

        self.program.add(Item(f"{name} = {to}", 12 + 4 * len(more), build))

    def switch(self) -> None:
        """Now and then a bit of MSR: who the data belong to, what is enabled, and, seldom, problem state."""
        bit = self.rng.choice((4, 4, 8, 11, 13, 13, 15, 25 if ppc_model(self.model).has("spe") else 13, 14))
        self.seldom()
        change = (26 if bit < 16 else 27) << 26 | B << 21 | B << 16 | 1 << bit % 16  # xori, xoris
        self.program.add(self.plain(0x7C0000A6 | B << 21, change, 0x7C000124 | B << 21, ISYNC))

    def seldom(self) -> None:
        """Mostly jump over the next item but once in a few rounds."""
        rng, over = self.rng, len(self.program.items) + 3
        if rng.random() < 0.8:
            count = 14 << 26 | B << 21 | B << 16 | 1
            test = 28 << 26 | B << 21 | B << 16 | rng.choice((1, 3, 7, 15))  # andi.
            self.program.add(self.plain(*load(self.counter()), count, STORE, test))
            self.program.add(self.branch(16 << 26 | 4 << 21 | 2 << 16, 0xFFFC, f"to {over}", self.upto(over)))

    def remap(self) -> None:
        """Now and then change rights or validity of an entry of the TLB."""
        rng = self.rng
        self.seldom()
        entry = rng.choice((*range(2, 6), *ENTRIES[:2] * 3)) if self.paged else rng.randrange(2, 6)
        if ppc_model(self.model).has("440"):
            word, change = rng.choice(((2, 0x09), (2, 0x12), (2, 0x24), (0, 0x200), (1, 0x1000)))
            read = 31 << 26 | B << 21 | A << 16 | word << 11 | 946 << 1
            self.program.add(
                self.plain(14 << 26 | A << 21 | entry, read, 26 << 26 | B << 21 | B << 16 | change,
                           read + (32 << 1), ISYNC)
            )  # fmt: skip
            return
        n, change = rng.choice(((3, 0x03), (3, 0x0C), (3, 0x30), (1, 0x8000), (3, 0x1000)))
        move = 31 << 26 | B << 21 | (624 + n & 31) << 16 | 624 + n >> 5 << 11
        upper = n == 1  # the valid bit
        self.program.add(
            self.plain(*immediate(A, 1 << 28 | entry << 16),
                       31 << 26 | A << 21 | (624 & 31) << 16 | 624 >> 5 << 11 | 467 << 1, 0x7C000764,
                       move | 339 << 1, (27 if upper else 26) << 26 | B << 21 | B << 16 | change, move | 467 << 1,
                       0x7C0007A4, ISYNC)
        )  # fmt: skip


def draw(core: str, rng: Random) -> Case:
    """A case of a core."""
    if core == "ppc":
        return Ppc(rng, rng.choice(PPC_MODELS)).case()
    return X86(rng, rng.choice(X86_MODES)).case()
