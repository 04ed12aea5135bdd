"""No access goes where no page table leads (A10): random changes, flushes and accesses against a plain model.

A driver in the guest does one command after the other, so that what is remembered of translations is remembered by the
tier itself; in the JIT it soon is translated code. The model (SDM vol. 3, 4.10) knows every version of a page's entry
since the page was last flushed: an access must do what one of them says, so what the only one says if it was flushed
since the last change. `EMU_RELIABILITY_TLB` sets how many commands.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

import pytest

from cores.x86 import assembler
from cores.x86 import state as S
from emu.cpu import Exit
from tests.cores import twins as T
from tests.cores.tier_machine import gate
from tests.cores.tiers import PAIRS, comparing

pytest.importorskip("emu.engine._x86")

OPERATIONS = int(os.environ.get("EMU_RELIABILITY_TLB", "12000"))
BATCH, MOST = 400, 24
"""Commands between two comparisons, instructions of a command at most."""
COMMANDS, FRAMES, FRAME_COUNT = 0x20000, 0x40000, 16
DIRECTORIES, TABLES = (T.DIRECTORY, 0xB000), (T.WINDOW_TABLE, 0xC000)
SHARED_TABLE, SHARED = 0xD000, 0x800000
"""A table of both spaces, and where it maps."""
PAGES = 8
NUMBER, FUNCTION, SLOTS = 0x100, 0x200, 0x400
P, W, U, A, D, G = 1, 2, 4, 0x20, 0x40, 0x100
STACK3, PROTECTED = 0x9F00, 1 << 16
KINDS = ("load", "store", "invlpg", "space", "all", "protect", "fetch", "user_load", "user_store", "write")
LOOKS = ("load", "store", "fetch", "user_load", "user_store")
DRIVER = f"""
next:
    mov eax, [esi]
    mov ebx, [esi+4]
    mov ecx, [esi+8]
    jmp dword [eax*4+table]
table:
    dd load, store, flush, space, all, protect, fetch, user_load, user_store, store
load:
    mov eax, [ebx]
    mov [esi+12], eax
    jmp done
store:
    mov [ebx], ecx
    mov dword [esi+12], 0
    jmp done
flush:
    invlpg [ebx]
    jmp done
space:
    mov cr3, ebx
    jmp done
all:
    mov eax, cr4
    xor eax, 0x80
    mov cr4, eax
    xor eax, 0x80
    mov cr4, eax
    jmp done
protect:
    mov eax, cr0
    xor eax, {PROTECTED}
    mov cr0, eax
    jmp done
fetch:
    call ebx
    mov [esi+12], eax
    jmp done
user_load:
    mov edx, in_user_load
    jmp leave_ring
user_store:
    mov edx, in_user_store
leave_ring:
    push {T.DATA3}
    push {STACK3}
    push 0x3002
    push {T.CODE3}
    push edx
    iretd
in_user_load:
    mov eax, [ebx]
    int 0x30
in_user_store:
    mov [ebx], ecx
    mov eax, 0
    int 0x30
back:
    mov [esi+12], eax
    mov esp, {T.STACK0}
    jmp done
fault:
    pop eax
    or eax, 0x80000000
    mov [esi+12], eax
    mov esp, {T.STACK0}
done:
    add esi, 16
    dec edi
    jne next
stop:
    jmp stop
"""


class Version(NamedTuple):
    """What the tables said of a page from some moment on."""

    number: int
    frame: int
    present: bool
    write: bool
    user: bool
    shared: bool
    """Global, so a new CR3 does not flush it."""

    def fault(self, kind: str, protected: bool) -> int:
        """The error code of an access, 0 if it is allowed."""
        user, store = kind.startswith("user"), kind.endswith("store")
        code = 0x80000000 | 2 * store | 4 * user
        if not self.present:
            return code
        if (user and not self.user) or (store and not self.write and (user or protected)):
            return code | 1
        return 0


@dataclass
class Page:
    """One page of one address space."""

    lin: int
    entry: int
    """Where its entry is in memory."""
    now: Version
    stale: list[Version] = field(default_factory=list)
    """Earlier ones that a TLB may still have."""


class Model:
    """Tables, and what may be remembered of them."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.count = 0
        self.space, self.protected = 0, True
        self.memory: dict[int, int] = {}
        self.pages: list[list[Page]] = []
        self.checked = self.refused = self.sure = 0
        for space, table in enumerate(TABLES):
            pages = []
            for k in range(PAGES):
                at = table + 4 * k
                pages.append(Page(T.WINDOW + 0x1000 * k, at, self.version(self.put(at, self.entry()))))
            for k in range(PAGES):
                at = SHARED_TABLE + 4 * k
                if not space:
                    self.put(at, self.entry())
                pages.append(Page(SHARED + 0x1000 * k, at, self.version(self.memory[at])))
            self.pages.append(pages)

    def entry(self) -> int:
        rng = self.rng
        rights = sum(bit for bit, share in ((P, 0.85), (W, 0.7), (U, 0.7), (G, 0.3)) if rng.random() < share)
        return FRAMES + 0x1000 * rng.randrange(FRAME_COUNT) | rights | rng.choice((0, 0, A, A | D))

    def put(self, at: int, value: int) -> int:
        self.memory[at] = value
        return value

    def version(self, entry: int) -> Version:
        """A new one."""
        self.count += 1
        return Version(self.count, (entry - FRAMES) >> 12, *(bool(entry & bit) for bit in (P, W, U, G)))

    def change(self, page: Page, version: Version) -> None:
        page.stale.append(page.now)
        page.now = version

    def forget(self, lin: int | None, shared: bool) -> None:
        """Flush a page, or all of them; those that are global only if `shared`."""
        for page in (page for pages in self.pages for page in pages):
            if lin is None or page.lin == lin:
                page.stale = [v for v in page.stale if v.shared and not shared]

    def command(self) -> tuple[str, int, int]:
        """What comes next, and what it does to the model."""
        rng = self.rng
        kind = rng.choices(KINDS, (8, 8, 4, 1, 1, 1, 4, 4, 4, 6))[0]
        page = rng.choice(self.pages[self.space])
        if kind == "write":
            entry = self.put(page.entry, self.entry())
            for pages in self.pages:
                for other in pages:
                    if other.entry == page.entry:
                        self.change(other, self.version(entry))
            return kind, page.entry, entry
        if kind == "invlpg":
            self.forget(page.lin, True)
        elif kind == "space":
            self.forget(None, False)
            before, self.space = self.space, rng.randrange(2)
            # Entries that are global serve in the other space, too.
            for old, new in zip(self.pages[before], self.pages[self.space], strict=True):
                if old.entry != new.entry:
                    new.stale += [v for v in (old.now, *old.stale) if v.shared and v.present]
            return kind, DIRECTORIES[self.space], 0
        elif kind == "all":
            self.forget(None, True)
        elif kind == "protect":
            self.protected = not self.protected
        return kind, page.lin, 0

    def check(self, kind: str, page: Page, protected: bool, seen: int, found: int | None) -> str:
        """Whether an access may have done that: `seen` is its result, `found` the frame it reached."""
        self.checked += 1
        versions = [page.now, *(v for v in page.stale if v.present)]
        for v in versions:
            fault = v.fault(kind, protected)
            if seen >> 31:
                ok = seen == fault
            else:
                ok = not fault and found == v.frame
            if ok:
                self.refused += seen >> 31
                self.sure += len(versions) == 1
                return ""
        return f"{kind} at {page.lin:#x}: {seen:#x}, frame {found}; tables: {page.now}; stale: {page.stale}"


class Look(NamedTuple):
    """An access whose result is to be checked, with the model of its moment."""

    number: int
    kind: str
    page: Page
    protected: bool
    value: int


def campaign(commands: int, seed: int) -> Model:
    """So many commands on both tiers of now; the tiers must agree, and both with the model."""
    rng = Random(seed)
    model = Model(rng)
    program = assembler.assemble_program(DRIVER, file="driver", origin=T.FREE)
    both = T.twins()
    memory = {T.FREE: program.data, DIRECTORIES[1]: T.entries([T.TABLE | 7, TABLES[1] | 7, SHARED_TABLE | 7])}
    memory[DIRECTORIES[0] + 8] = T.entries([SHARED_TABLE | 7])
    for k in range(FRAME_COUNT):
        at = FRAMES + 0x1000 * k
        memory[at + NUMBER] = (k + 1).to_bytes(4, "little")
        memory[at + FUNCTION] = b"\xb8" + (k + 1).to_bytes(4, "little") + b"\xc3"  # mov eax, k + 1; ret
    for at, value in model.memory.items():
        memory[at] = value.to_bytes(4, "little")
    gates = {14: "fault", 0x30: "back"}
    for vector, label in gates.items():
        memory[T.IDT + 8 * vector] = T.quads([gate(14, T.CODE0, program.symbols[label], 3)])
    state = T.flat_state(0, esp=T.STACK0)
    state["cr4"] |= 1 << S.CR4_PGE
    # Data segments that outlive the way to ring 3.
    state["seg_sel"][S.DS], state["seg_attr"][S.DS] = T.DATA3, state["seg_attr"][S.DS] | 0x60
    both.start(memory, state)
    for done in range(0, commands, BATCH):
        looks, data = [], bytearray()
        for k in range(BATCH):
            kind, at, value = model.command()
            if kind in LOOKS:
                page = next(page for page in model.pages[model.space] if page.lin == at)
                copy = Page(page.lin, page.entry, page.now, list(page.stale))
                value = done + k + 1
                looks.append(Look(k, kind, copy, model.protected, value))
                at += SLOTS + 4 * k if kind.endswith("store") else FUNCTION if kind == "fetch" else NUMBER
            for word in (KINDS.index(kind), at, value, 0):
                data += (word & 0xFFFFFFFF).to_bytes(4, "little")
        both.poke(COMMANDS, bytes(data))
        for cpu in both.cpus:
            cpu.set_reg("eip", T.FREE)
            cpu.set_reg("esi", COMMANDS)
            cpu.set_reg("edi", BATCH)
        assert both.run(MOST * BATCH) == [Exit.BUDGET, Exit.BUDGET]
        assert both.difference() == "", f"commands from {done}"
        assert both.cpus[0].reg("edi") == 0, both.fault()
        for look in looks:
            seen = int.from_bytes(both.memory(COMMANDS + 16 * look.number + 12, 4), "little")
            found: int | None = seen - 1
            if look.kind.endswith("store"):
                slots = (FRAMES + 0x1000 * f + SLOTS + 4 * look.number for f in range(FRAME_COUNT))
                frames = [f for f, at in enumerate(slots) if both.memory(at, 4) == look.value.to_bytes(4, "little")]
                found = frames[0] if len(frames) == 1 else None
                assert bool(seen) != bool(frames), f"command {done + look.number}"
            wrong = model.check(look.kind, look.page, look.protected, seen, found)
            assert not wrong, f"command {done + look.number}: {wrong}"
    return model


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_no_access_goes_where_no_page_table_leads(pair: tuple[str, str]) -> None:
    with comparing(pair):
        model = campaign(OPERATIONS if "reference" not in pair else 800, 1)
    # Each outcome must be common for this to mean anything.
    assert model.refused > model.checked // 20
    assert model.sure > model.checked // 4


def test_a_stale_translation_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def at_once(self: Model, page: Page, version: Version) -> None:
        page.now = version

    monkeypatch.setattr(Model, "change", at_once)
    with comparing(PAIRS[-1]), pytest.raises(AssertionError, match="stale"):
        campaign(OPERATIONS, 1)
