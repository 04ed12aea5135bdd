"""The unified TLB of the 440: 64 entries written by software (440 manual, chapter 5).

An entry is kept as the three words of tlbre, and its TID. A page of 1 KiB is smaller than what the engine remembers
of a translation: `walk` gives it with the right NOT_CACHED, and every access to such a page is translated anew.
"""

from __future__ import annotations

from typing import Any

from ..lang.trace import Val, all_of, break_, const, loop, procedure, return_, select, value, var, when
from . import state as S
from .externs import hypervisor, illegal, privileged, tlb_forget
from .fixed import SO
from .forms import CrField, X, insn
from .registers import get, put

Op = Any
ENTRIES = 64
V, TS = 9, 8  # places from the right in word 0
STS = 16
MMUCR_MASK = 0x016D00FF
WORD0, WORD1, WORD2 = 0xFFFFFFF0, 0xFFFFFC0F, 0x001FFFBF
# What `walk` says of a page.
STORES, LITTLE, INHIBITED, GUARDED, NOT_CACHED = 1, 2, 4, 8, 16


def page_mask(word0: Val) -> Val:
    """Ones for the bits of an address inside the page: 1 KiB for SIZE 0, four times as much for each step."""
    wide = const(0x400, 64) << ((word0 >> 3) & 0x1E).zext(64)
    return (wide - 1).low(32)


@procedure(32, 8, 1, results=(8,))
def find_440(ea: Val, tid: Val, space: Val) -> None:
    """The number of the first entry that translates an address for a TID and address space; 64 for none."""
    n = var(8, 0, "n")
    with loop():
        word0 = get(S.UTLB0, n.read())
        covered = ((word0 ^ ea) & ~page_mask(word0) & 0xFFFFFC00) == 0
        with when(all_of(word0.bit(V), word0.bit(TS) == space, covered)):
            entry = get(S.UTLB_TID, n.read())
            with when((entry == 0) | (entry == tid)):
                break_()
        n.set(n.read() + 1)
        with when(n.read() == ENTRIES):
            break_()
    return_(n.read())


@procedure(32, 8, results=(1, 64, 8, 8, 32))
def walk_440(ea: Val, access: Val) -> None:
    """Translate; what `walk` of `mmu.py` gives."""
    store, user, fetch = access.bit(0), access.bit(1), access.bit(2)
    space = select(fetch, get(S.MSR).bit(S.MSR_IS), get(S.MSR).bit(S.MSR_DS))
    esr = select(store, value(S.ESR_ST, 32), value(0, 32))
    n = find_440(ea, get(S.PID, 0).low(8), space)
    with when(n == ENTRIES):
        return_(0, 0, 0, select(fetch, value(S.INSTRUCTION_TLB, 8), value(S.DATA_TLB, 8)), esr)
    word0, word1, word2 = get(S.UTLB0, n), get(S.UTLB1, n), get(S.UTLB2, n)
    inside = page_mask(word0)
    page = (word1 & 0xFFFFFC00 & ~inside) | (ea & inside)
    physical = ((word1 & 0xF).zext(64) << 32) | page.zext(64)
    rights = select(user, word2 >> 3, word2)
    allowed = select(fetch, rights.bit(2), select(store, rights.bit(1), rights.bit(0)))
    with when(~allowed):
        return_(0, 0, 0, select(fetch, value(S.INSTRUCTION_STORAGE, 8), value(S.DATA_STORAGE, 8)), esr)
    small = inside == 0x3FF
    both = rights.bit(1) & rights.bit(0)  # what stores find without asking again, loads may read
    flags = both.zext(8) | (word2.bit(7).zext(8) << 1) | (word2.bit(10).zext(8) << 2)
    return_(1, physical, flags | (word2.bit(8).zext(8) << 3) | (small.zext(8) << 4), 0, 0)


@procedure(8)
def forget_440(n: Val) -> None:
    """Entry `n` is about to change: what was translated by it is stale."""
    word0 = get(S.UTLB0, n)
    with when(word0.bit(V)):
        inside = page_mask(word0)
        tlb_forget(word0 & ~inside & 0xFFFFFC00, inside)


@procedure(8, 32, 8)
def write_tag(n: Val, word0: Val, tid: Val) -> None:
    """Write word 0 and the TID of an entry.

    If another entry translates the page too, which is a mistake of the program, what it translated is forgotten. For a
    small page of one process a search tells; else it is taken for granted."""
    put(S.UTLB0, 0, n)
    inside = page_mask(word0)
    with when(word0.bit(V)):
        shared = (inside > 0xFFF) | (tid == 0)
        with when(shared | (find_440(word0 & 0xFFFFFC00, tid, word0.bit(TS)) != ENTRIES)):
            tlb_forget(word0 & ~inside & 0xFFFFFC00, inside)
    put(S.UTLB0, word0, n)
    put(S.UTLB_TID, tid, n)


@insn("tlbwe rs, ra, ws", X(31, 978, rc=0), see="440, 5.9", needs="440", ends="block")
def tlbwe(rs: Op, ra: Op, ws: Op) -> None:
    """Write a word of a UTLB entry; word 0 takes its TID from MMUCR.STID."""
    privileged()
    n = ra.read().low(8) & (ENTRIES - 1)
    v = rs.read()
    with when(ws.read() > 2, likely=False):
        illegal()
    forget_440(n)
    with when(ws.read() == 0):
        write_tag(n, v & WORD0, get(S.MMUCR).low(8))
    with when(ws.read() == 1):
        put(S.UTLB1, v & WORD1, n)
    with when(ws.read() == 2):
        put(S.UTLB2, v & WORD2, n)


@insn("tlbre rt, ra, ws", X(31, 946, rc=0), see="440, 5.9", needs="440")
def tlbre(rt: Op, ra: Op, ws: Op) -> None:
    """Read a word of a UTLB entry; with word 0 its TID goes to MMUCR.STID."""
    privileged()
    n = ra.read().low(8) & (ENTRIES - 1)
    with when(ws.read() > 2, likely=False):
        illegal()
    with when(ws.read() == 0):
        put(S.MMUCR, (get(S.MMUCR) & ~const(0xFF, 32)) | get(S.UTLB_TID, n).zext(32))
        rt.set(get(S.UTLB0, n))
    with when(ws.read() == 1):
        rt.set(get(S.UTLB1, n))
    with when(ws.read() == 2):
        rt.set(get(S.UTLB2, n))


@insn("tlbsx[.] rt, ra0, rb", X(31, 914), see="440, 5.9", needs="440")
def tlbsx(rt: Op, ra0: Op, rb: Op, *, rc: int) -> None:
    """Search the UTLB with MMUCR.STID and STS; RT is the number of the entry, or as it was where there is none."""
    privileged()
    mmucr = get(S.MMUCR)
    n = find_440(ra0.read() + rb.read(), mmucr.low(8), mmucr.bit(STS))
    found = n != ENTRIES
    with when(found):
        rt.set(n.zext(32))
    if rc:
        CrField(0).set((found.zext(4) << 1) | SO.read().zext(4))


@insn("tlbsync", X(31, 566, rc=0), see="440, 9")
def tlbsync() -> None:
    """Nothing to wait for: there is one processor, and its TLB is always current."""
    hypervisor()
