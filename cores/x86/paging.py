"""Linear to physical addresses (SDM vol. 3, chapter 4): 32-bit and PAE paging.

`walk` is called by the engine on a miss of its translation cache; it reads the tables in physical memory, checks
rights and sets accessed and dirty bits, but raises nothing: the caller sets CR2 and raises #PF.
"""

from __future__ import annotations

from ..lang.trace import Val, Variable, concat, const, otherwise, procedure, return_, select, var, when
from . import state as S
from .externs import feature_word, phys_r32, phys_r64, phys_w32, phys_w64, unlikely
from .registers import get, put, refuse

# Bits of the `access` argument.
WRITE, USER, FETCH = 0, 1, 2
# Bits of the `rights` result.
MAY_WRITE, MAY_USER, GLOBAL, LARGE = 0, 1, 2, 3
# Page-table entry bits (SDM vol. 3, tables 4-4 to 4-6).
P, RW, US, A, D, PS, G = 0, 1, 2, 5, 6, 7, 8

PHYSICAL_BITS = S.PHYSICAL_BITS
# PAE entries reserve everything above the physical address; bit 63 becomes XD where EFER.NXE can be set.
PAE_RESERVED_HIGH = ((1 << 64) - 1) & ~((1 << PHYSICAL_BITS) - 1)
FRAME = ((1 << PHYSICAL_BITS) - 1) & ~0xFFF


def _feature(name: str) -> Val:
    word, bit = S.FEATURES[name]
    got: Val = feature_word(word)
    return got.bit(bit)


class _Rights:
    """What the entries met so far allow, and the outcome of the check against one access."""

    def __init__(self, access: Val) -> None:
        self.write = access.bit(WRITE)
        self.user = access.bit(USER)

    def error(self, present: int, reserved: int = 0) -> Val:
        """The error code of a page fault (SDM vol. 3, figure 4-12)."""
        return (self.write.zext(32) << 1) | (self.user.zext(32) << 2) | (present | reserved << 3)

    def writable(self, both: Val) -> Val:
        """Whether this privilege may write through entries whose common bits are `both`."""
        supervisor_may = ~self.user & ~get(S.CR0).bit(S.CR0_WP)
        return both.bit(RW) | supervisor_may

    def allowed(self, both: Val) -> Val:
        """Whether the access itself may go on."""
        return (both.bit(US) | ~self.user) & (self.writable(both) | ~self.write)

    def result(self, both: Val, leaf: Val, large: int) -> Val:
        """The `rights` for a translation through a leaf entry whose dirty bit is up to date."""
        can_write = self.writable(both) & leaf.bit(D)
        is_global = leaf.bit(G) & get(S.CR4).bit(S.CR4_PGE)
        return concat(const(large, 1), is_global, both.bit(US), can_write).zext(8)


def _fail(error: Val) -> None:
    return_(0, 0, 0, error)


def _touched(leaf: Val, rights: _Rights) -> Val:
    """A leaf entry with accessed set, and dirty if the access writes."""
    return leaf | 1 << A | (rights.write.zext(leaf.width) << D)


@procedure(32, 8, results=(1, 64, 8, 32))
def walk_two_levels(linear: Val, access: Val) -> None:
    """32-bit paging: 4-KiB pages, and 4-MiB pages with PSE."""
    rights = _Rights(access)
    pde_at = ((get(S.CR3) & 0xFFFFF000) | (linear.bits(22, 10).zext(32) << 2)).zext(64)
    pde: Val = phys_r32(pde_at)
    with unlikely(~pde.bit(P)):
        _fail(rights.error(0))
    with when(pde.bit(PS) & get(S.CR4).bit(S.CR4_PSE)):
        # With PSE-36 bits 13-20 hold physical address bits 32-39; those beyond the bus are reserved, and bit 21 always.
        beyond = select(_feature("pse36"), const(0x3FE000 & ~0x1E000, 32), const(0x3FE000, 32))
        reserved = beyond | select(_feature("pat"), const(0, 32), const(0x1000, 32))
        with unlikely((pde & reserved) != 0):
            _fail(rights.error(1, 1))
        with unlikely(~rights.allowed(pde)):
            _fail(rights.error(1))
        new = _touched(pde, rights)
        with when(new != pde):
            phys_w32(pde_at, new)
        physical = concat(pde.bits(13, 4), pde.bits(22, 10), linear.low(22)).zext(64)
        return_(1, physical, rights.result(pde, new, 1), 0)
    pte_at = ((pde & 0xFFFFF000) | (linear.bits(12, 10).zext(32) << 2)).zext(64)
    pte: Val = phys_r32(pte_at)
    with unlikely(~pte.bit(P)):
        _fail(rights.error(0))
    both = pde & pte
    with unlikely(~rights.allowed(both)):
        _fail(rights.error(1))
    with when(~pde.bit(A)):
        phys_w32(pde_at, pde | 1 << A)
    new = _touched(pte, rights)
    with when(new != pte):
        phys_w32(pte_at, new)
    return_(1, ((pte & 0xFFFFF000) | (linear & 0xFFF)).zext(64), rights.result(both, new, 0), 0)


@procedure(32, 8, results=(1, 64, 8, 32))
def walk_pae(linear: Val, access: Val) -> None:
    """PAE paging: 4-KiB and 2-MiB pages under the four page-directory pointers loaded with CR3."""
    rights = _Rights(access)
    pdpte = get(S.PDPTE, linear.bits(30, 2).zext(8))
    with unlikely(~pdpte.bit(P)):
        _fail(rights.error(0))
    pde_at = (pdpte & FRAME) | (linear.bits(21, 9).zext(64) << 3)
    pde: Val = phys_r64(pde_at)
    with unlikely(~pde.bit(P)):
        _fail(rights.error(0))
    reserved = select(pde.bit(PS), const(PAE_RESERVED_HIGH | 0x1FE000, 64), const(PAE_RESERVED_HIGH, 64))
    with unlikely((pde & reserved) != 0):
        _fail(rights.error(1, 1))
    with when(pde.bit(PS)):
        with unlikely(~rights.allowed(pde.low(32))):
            _fail(rights.error(1))
        new = _touched(pde, rights)
        with when(new != pde):
            phys_w64(pde_at, new)
        physical = (pde & (FRAME & ~0x1FFFFF)) | linear.low(21).zext(64)
        return_(1, physical, rights.result(pde.low(32), new.low(32), 1), 0)
    pte_at = (pde & FRAME) | (linear.bits(12, 9).zext(64) << 3)
    pte: Val = phys_r64(pte_at)
    with unlikely(~pte.bit(P)):
        _fail(rights.error(0))
    with unlikely((pte & PAE_RESERVED_HIGH) != 0):
        _fail(rights.error(1, 1))
    both = (pde & pte).low(32)
    with unlikely(~rights.allowed(both)):
        _fail(rights.error(1))
    with when(~pde.bit(A)):
        phys_w64(pde_at, pde | 1 << A)
    new = _touched(pte, rights)
    with when(new != pte):
        phys_w64(pte_at, new)
    return_(1, (pte & FRAME) | linear.low(12).zext(64), rights.result(both, new.low(32), 0), 0)


@procedure(32, 8, results=(1, 64, 8, 32))
def walk(linear: Val, access: Val) -> None:
    """Translate a linear address for an access (bits WRITE, USER, FETCH): ok, physical, rights, #PF error code."""
    ok, physical = var(1, 1, "ok"), var(64, linear.zext(64), "physical")
    rights, error = var(8, 1 << MAY_WRITE | 1 << MAY_USER, "rights"), var(32, 0, "error")

    def take(results: tuple[Val, Val, Val, Val]) -> None:
        outs: tuple[Variable, ...] = (ok, physical, rights, error)
        for k, out in enumerate(outs):
            out.set(results[k])

    with when(get(S.CR0).bit(S.CR0_PG)):
        with when(get(S.CR4).bit(S.CR4_PAE)):
            take(walk_pae(linear, access))
        with otherwise():
            take(walk_two_levels(linear, access))
    return_(ok, physical, rights, error)


@procedure(32)
def load_pdptes(cr3: Val) -> None:
    """Load the four PAE page-directory pointers from memory; #GP(0) if one that is present has reserved bits set."""
    table = (cr3 & 0xFFFFFFE0).zext(64)
    entries: list[Val] = [phys_r64(table + 8 * k) for k in range(4)]
    for entry in entries:
        refuse(entry.bit(P) & ((entry & S.PDPTE_RESERVED) != 0), S.GP)
    for k, entry in enumerate(entries):
        put(S.PDPTE, entry, k)
