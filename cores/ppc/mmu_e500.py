"""TLB0 and TLB1 of the e500, and the MAS registers they are written through (e500 RM, 12; e500mc RM, 6).

TLB0 holds 4-KiB pages in 128 sets of 2 (e500v1) or 4 ways; TLB1 holds pages of 4^n KiB and may protect them (IPROT).
Both lie in one file: entry 4 * set + way of TLB0, then TLB1. MAS5, MAS8, LPID and guest state are only on the e500mc;
on the others they stay 0, so that entries match as if there were no hypervisor.
"""

from __future__ import annotations

from typing import Any

from ..lang.trace import (
    Val,
    all_of,
    any_of,
    break_,
    const,
    loop,
    otherwise,
    procedure,
    return_,
    select,
    value,
    var,
    when,
)
from . import state as S
from .externs import hypervisor, illegal, privileged, tlb_forget
from .forms import X, insn
from .mmu440 import GUARDED, INHIBITED, LITTLE, STORES
from .models import HID0_ENMAS7
from .registers import get, guest, has, put

Op = Any
NONE = 0xFFFF
# MAS1 and MAS8, places from the right.
V, IPROT, TS = 31, 30, 12
TGS, VF = 31, 30
WRITABLE = {0: 0x103F0003, 1: 0xC0FF1F00, 2: 0xFFFFF07F, 3: 0xFFFFF3FF, 4: 0x100F0F7F, 5: 0x8000003F, 6: 0x00FF0F01,
            7: 0x0000000F, 8: 0xC000003F}  # fmt: skip
EPCR_DGTMI = 23
EAS = 30  # of EPLC and EPSC
PAGE = 0xFFFFF000


def page_mask(mas1: Val) -> Val:
    """Ones for the bits of an address inside the page: 4 KiB for TSIZE 1, four times as much for each step."""
    wide = const(0x400, 64) << ((mas1 >> 7) & 0x1E).zext(64)
    return (wide - 1).low(32)


def set_of(ea: Val) -> Val:
    """The set of TLB0 that an address is in."""
    return (ea >> 12).low(8) & (S.TLB0_SETS - 1)


def way_mask() -> Val:
    """The ways of a set, less 1."""
    return get(S.TLB0_WAYS) - 1


def _tid_is(mas1: Val, pid: Val) -> Val:
    return ((mas1 >> 16) & 0xFF) == pid


@procedure(16, 32, 1, 1, 32, results=(1,))
def covers(n: Val, ea: Val, space: Val, guest_space: Val, lpid: Val) -> None:
    """Whether an entry is valid and maps an address of these spaces, whatever its TID."""
    mas1 = get(S.ETLB_MAS1, n)
    with when(~mas1.bit(V) | (mas1.bit(TS) != space)):
        return_(0)
    with when(((get(S.ETLB_MAS2, n) ^ ea) & PAGE & ~page_mask(mas1)) != 0):
        return_(0)
    mas8 = get(S.ETLB_MAS8, n)
    partition = mas8 & 0xFF
    return_((mas8.bit(TGS) == guest_space) & ((partition == 0) | (partition == lpid)))


@procedure(32, 1, 1, 32, 1, 32, results=(16,))
def find_e500(ea: Val, space: Val, guest_space: Val, lpid: Val, all_pids: Val, spid: Val) -> None:
    """The entry that maps an address, for all PID registers or for one PID; NONE if there is none."""
    n = var(16, set_of(ea).zext(16) << 2, "n")
    last = var(16, n.read() + way_mask().zext(16), "last")
    with loop():
        with when(covers(n.read(), ea, space, guest_space, lpid)):
            mas1 = get(S.ETLB_MAS1, n.read())
            of_pids = any_of(*(_tid_is(mas1, get(S.PID, k)) for k in range(3)))
            with when(_tid_is(mas1, const(0, 32)) | select(all_pids, of_pids, _tid_is(mas1, spid))):
                return_(n.read())
        with when(n.read() == last.read()):
            with when(n.read() >= S.TLB1_FIRST):
                return_(NONE)
            n.set(S.TLB1_FIRST)
            last.set(get(S.TLB1_SIZE).zext(16) + (S.TLB1_FIRST - 1))
        with otherwise():
            n.set(n.read() + 1)


@procedure(32, 8, results=(1, 64, 8, 8, 32))
def walk_e500(ea: Val, access: Val) -> None:
    """Translate; what `walk` of `mmu.py` gives."""
    store, user, fetch = access.bit(0), access.bit(1), access.bit(2)
    space = select(fetch, get(S.MSR).bit(S.MSR_IS), get(S.MSR).bit(S.MSR_DS))
    esr = select(store, value(S.ESR_ST, 32), value(0, 32))
    n = find_e500(ea, space, guest(), get(S.LPID), 1, 0)
    with when(n == NONE):
        return_(0, 0, 0, select(fetch, value(S.INSTRUCTION_TLB, 8), value(S.DATA_TLB, 8)), esr)
    mas1, mas2, mas3, mas7 = (get(f, n) for f in (S.ETLB_MAS1, S.ETLB_MAS2, S.ETLB_MAS3, S.ETLB_MAS7))
    inside = page_mask(mas1)
    page = (mas3 & PAGE & ~inside) | (ea & inside)
    physical = (mas7.zext(64) << 32) | page.zext(64)
    # UX SX UW SW UR SR, from the left.
    rights = select(user, mas3 >> 1, mas3)
    allowed = select(fetch, rights.bit(4), select(store, rights.bit(2), rights.bit(0)))
    virtual = get(S.ETLB_MAS8, n).bit(VF) & ~fetch
    with when(~allowed | virtual):
        # ESR_VF of interrupts.py: a virtualization fault is always the hypervisor's.
        return_(
            0, 0, 0, select(fetch, value(S.INSTRUCTION_STORAGE, 8), value(S.DATA_STORAGE, 8)),
            esr | virtual.zext(32),
        )  # fmt: skip
    # What stores find without asking again, loads may read.
    flags = select(rights.bit(2) & rights.bit(0), const(STORES, 8), const(0, 8))
    flags = flags | select(mas2.bit(0), const(LITTLE, 8), const(0, 8))
    flags = flags | select(mas2.bit(3), const(INHIBITED, 8), const(0, 8))
    flags = flags | select(mas2.bit(1), const(GUARDED, 8), const(0, 8))
    return_(1, physical, flags, 0, 0)


@procedure(16)
def forget_e500(n: Val) -> None:
    """Entry `n` is about to change: what was translated by it is stale."""
    mas1 = get(S.ETLB_MAS1, n)
    with when(mas1.bit(V)):
        inside = page_mask(mas1)
        tlb_forget(get(S.ETLB_MAS2, n) & PAGE & ~inside, inside)


@procedure(16)
def drop(n: Val) -> None:
    """Invalidate an entry, unless it is protected."""
    mas1 = get(S.ETLB_MAS1, n)
    with when(~mas1.bit(IPROT)):
        forget_e500(n)
        put(S.ETLB_MAS1, mas1 & ~const(1 << V, 32), n)


@procedure(16, 16)
def drop_range(first: Val, end: Val) -> None:
    """Invalidate the entries from `first` to before `end` that are not protected."""
    n = var(16, first, "n")
    with loop():
        with when(n.read() == end):
            break_()
        drop(n.read())
        n.set(n.read() + 1)


@procedure(8)
def flash(which: Val) -> None:
    """Invalidate whole TLBs: bit 0 TLB0, bit 1 TLB1."""
    with when(which.bit(0)):
        drop_range(0, S.TLB1_FIRST)
    with when(which.bit(1)):
        drop_range(S.TLB1_FIRST, get(S.TLB1_SIZE).zext(16) + S.TLB1_FIRST)


def _victim(ea: Val) -> tuple[Val, Val]:
    """The next victim in the set of an address, and the one after it."""
    way = get(S.TLB0_NEXT, set_of(ea)) & way_mask()
    return way.zext(32), ((way + 1) & way_mask()).zext(32)


@procedure(32, 1, 32, 32)
def defaults(ea: Val, space: Val, mas1_tid: Val, page: Val) -> None:
    """MAS0 to MAS3 and MAS7 for an entry that is to be made, as MAS4 says (e500 RM, table 12-9)."""
    mas4 = get(S.MAS[4])
    way, after = _victim(ea)
    tlb1 = mas4.bit(28)
    place = select(tlb1, value(0, 32), (way << 16) | after)
    put(S.MAS[0], (mas4 & 0x10000000) | place)
    put(S.MAS[1], (mas1_tid & 0x80FF0000) | (space.zext(32) << TS) | (mas4 & 0xF00))
    put(S.MAS[2], page | (mas4 & 0x7F))
    put(S.MAS[3], 0)
    put(S.MAS[7], 0)


@procedure(32, 1, 32)
def miss_assist(dear: Val, fetch: Val, esr: Val) -> None:
    """A TLB miss loads the MAS registers for the entry that its handler will probably write.

    Of an access by external process ID, PID and space are those of EPLC or EPSC."""
    external = (esr & S.ESR_EPID) != 0
    context = select((esr & S.ESR_ST) != 0, get(S.EPSC), get(S.EPLC))
    ea = select(fetch, get(S.PC), dear)
    space = select(fetch, get(S.MSR).bit(S.MSR_IS), select(external, context.bit(EAS), get(S.MSR).bit(S.MSR_DS)))
    from_pid = (get(S.MAS[4]) >> 16) & 0xF
    pid = select(external, context & 0xFF, get(S.PID, 0))
    other = select(from_pid > 2, value(0, 32), get(S.PID, select(from_pid > 2, value(0, 32), from_pid)))
    defaults(ea, space, (select(from_pid == 0, pid, other) << 16) | 1 << V, ea & PAGE)
    put(S.MAS[6], (pid << 16) | space.zext(32))


def _selected() -> Val:
    """The entry that MAS0 and MAS2 name."""
    mas0 = get(S.MAS[0])
    way = (mas0 >> 16).low(16) & 0x3F
    in_tlb0 = (set_of(get(S.MAS[2])).zext(16) << 2) | (way & way_mask().zext(16))
    in_tlb1 = (way & (get(S.TLB1_SIZE) - 1).zext(16)) + S.TLB1_FIRST
    return select(mas0.bit(28), in_tlb1, in_tlb0)


@procedure(16)
def entry_to_mas(n: Val) -> None:
    """Load the MAS registers from an entry."""
    put(S.MAS[1], get(S.ETLB_MAS1, n))
    put(S.MAS[2], get(S.ETLB_MAS2, n))
    put(S.MAS[3], get(S.ETLB_MAS3, n))
    with when(((get(S.HID0) & HID0_ENMAS7) != 0) | has("e500mc")):
        put(S.MAS[7], get(S.ETLB_MAS7, n))
    with when(has("e500mc")):
        put(S.MAS[8], get(S.ETLB_MAS8, n))


@procedure(16, 32, 32, 1)
def shadow_e500(n: Val, mas1: Val, mas2: Val, in_tlb0: Val) -> None:
    """Before entry `n` is written: if another one translates the page too, which is a mistake of the program, forget
    what it translated. For a page of TLB0 and one process a search tells; else it is taken for granted."""
    put(S.ETLB_MAS1, 0, n)
    with when(mas1.bit(V)):
        inside = select(in_tlb0, const(0xFFF, 32), page_mask(mas1))
        tid, mas8 = (mas1 >> 16) & 0xFF, get(S.MAS[8])
        other = find_e500(mas2, mas1.bit(TS), mas8.bit(TGS), mas8 & 0x3F, 0, tid) != NONE
        with when(other | (tid == 0) | (inside > 0xFFF)):
            tlb_forget(mas2 & PAGE & ~inside, inside)


@insn("tlbwe", X(31, 978, rc=0), see="e500 RM 3.8.4", needs="e500", variant="e500", ends="block")
def tlbwe() -> None:
    """Write the entry that MAS0 names from the other MAS registers."""
    hypervisor()
    n = _selected()
    forget_e500(n)
    mas0, mas1 = get(S.MAS[0]), get(S.MAS[1])
    in_tlb0 = ~mas0.bit(28)
    shadow_e500(n, mas1, get(S.MAS[2]), in_tlb0)
    # TLB0 has one page size and no protection.
    put(S.ETLB_MAS1, select(in_tlb0, (mas1 & ~const(1 << IPROT | 0xF00, 32)) | 0x100, mas1), n)
    put(S.ETLB_MAS2, get(S.MAS[2]), n)
    put(S.ETLB_MAS3, get(S.MAS[3]), n)
    put(S.ETLB_MAS7, get(S.MAS[7]), n)
    put(S.ETLB_MAS8, get(S.MAS[8]), n)
    with when(in_tlb0):
        put(S.TLB0_NEXT, mas0.low(8) & 3, set_of(get(S.MAS[2])))


@insn("tlbre", X(31, 946, rc=0), see="e500 RM 3.8.4", needs="e500", variant="e500")
def tlbre() -> None:
    """Read the entry that MAS0 and the page in MAS2 name into the MAS registers."""
    hypervisor()
    n = _selected()
    mas0 = get(S.MAS[0])
    following = get(S.TLB0_NEXT, set_of(get(S.MAS[2]))).zext(32)
    with when(~mas0.bit(28)):
        put(S.MAS[0], (mas0 & ~const(3, 32)) | following)
    entry_to_mas(n)


@insn("tlbsx ra0, rb", X(31, 914, rc=0), see="e500 RM 3.8.4", needs="e500", variant="e500")
def tlbsx(ra0: Op, rb: Op) -> None:
    """Search with MAS6 (and MAS5): the entry comes into the MAS registers, or the defaults of MAS4 with V 0."""
    hypervisor()
    ea = ra0.read() + rb.read()
    mas5, mas6 = get(S.MAS[5]), get(S.MAS[6])
    spid, space = (mas6 >> 16) & 0xFF, mas6.bit(0)
    n = find_e500(ea, space, mas5.bit(31), mas5 & 0x3F, 0, spid)
    with when(n == NONE):
        defaults(ea, space, spid << 16, 0)
    with otherwise():
        in_tlb1 = n >= S.TLB1_FIRST
        following = get(S.TLB0_NEXT, set_of(ea)).zext(32)
        at0 = ((n & 3).zext(32) << 16) | following
        at1 = ((n - S.TLB1_FIRST).zext(32) << 16) | 1 << 28
        put(S.MAS[0], select(in_tlb1, at1, at0))
        entry_to_mas(n)


@procedure(32)
def invalidate_address(ea: Val) -> None:
    """tlbivax: entries of one TLB by page, or (INV_ALL) all of it; whatever TID and space they have."""
    in_tlb1, everything = ea.bit(3), ea.bit(2)
    with when(everything):
        flash(select(in_tlb1, const(2, 8), const(1, 8)))
        return_()
    first = select(in_tlb1, const(S.TLB1_FIRST, 16), set_of(ea).zext(16) << 2)
    n = var(16, first, "n")
    end = first + select(in_tlb1, get(S.TLB1_SIZE), get(S.TLB0_WAYS)).zext(16)
    with loop():
        with when(n.read() == end):
            break_()
        mas1 = get(S.ETLB_MAS1, n.read())
        with when(mas1.bit(V) & (((get(S.ETLB_MAS2, n.read()) ^ ea) & PAGE & ~page_mask(mas1)) == 0)):
            drop(n.read())
        n.set(n.read() + 1)


@insn("tlbivax ra0, rb", X(31, 786, rc=0), see="e500 RM 3.8.4", needs="e500", ends="block")
def tlbivax(ra0: Op, rb: Op) -> None:
    """Invalidate by address; the address says which TLB, too."""
    hypervisor()
    invalidate_address(ra0.read() + rb.read())


@procedure(8, 32)
def invalidate_local(kind: Val, ea: Val) -> None:
    """tlbilx: entries of the partition in MAS5; all of them (0), those of one PID (1), or one page of it (3)."""
    mas5, mas6 = get(S.MAS[5]), get(S.MAS[6])
    n = var(16, 0, "n")
    end = get(S.TLB1_SIZE).zext(16) + S.TLB1_FIRST
    with loop():
        with when(n.read() == end):
            break_()
        mas1, mas8 = get(S.ETLB_MAS1, n.read()), get(S.ETLB_MAS8, n.read())
        same_page = all_of(
            ((get(S.ETLB_MAS2, n.read()) ^ ea) & PAGE & ~page_mask(mas1)) == 0,
            mas1.bit(TS) == mas6.bit(0),
            mas8.bit(TGS) == mas5.bit(31),
        )
        hit = all_of(
            mas1.bit(V),
            (mas8 & 0x3F) == (mas5 & 0x3F),
            (kind == 0) | _tid_is(mas1, (mas6 >> 16) & 0xFF),
            (kind != 3) | same_page,
        )
        with when(hit):
            drop(n.read())
        n.set(n.read() + 1)


@insn("tlbilx t, ra0, rb", X(31, 18, rc=0), see="e500mc RM 3.4.10", needs="e500mc", ends="block")
def tlbilx(t: Op, ra0: Op, rb: Op) -> None:
    """Invalidate in this processor only; a guest may, unless EPCR.DGTMI is set."""
    with when(get(S.EPCR).bit(EPCR_DGTMI) & guest(), likely=False):
        hypervisor()
    privileged()
    with when(t.read() == 2, likely=False):
        illegal()
    invalidate_local(t.read(), ra0.read() + rb.read())


@procedure(32)
def write_mmucsr0(v: Val) -> None:
    """MMUCSR0: bit 2 from the right invalidates TLB0, bit 1 TLB1; both are done at once, so it reads 0."""
    flash(v.bit(2).zext(8) | (v.bit(1).zext(8) << 1))
