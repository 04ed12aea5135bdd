"""The page walk against SDM vol. 3, chapter 4: tables are built by hand in physical memory."""

from __future__ import annotations

import pytest

from cores.x86 import state as S
from cores.x86.paging import load_pdptes, walk
from tests.cores.system_machine import Protected, fault_of

DIRECTORY, TABLE, TABLE2 = 0x10000, 0x11000, 0x12000
P, RW, US, A, D, PS, G = (1 << k for k in (0, 1, 2, 5, 6, 7, 8))
READ, WRITE, USER = 0, 1, 2
MAY_WRITE, MAY_USER, GLOBAL, LARGE = 1, 2, 4, 8
LINEAR = 0x00403ABC


def machine(pde: int = P | RW | US, pte: int = P | RW | US, *, cr4: int = 0, wp: bool = False) -> Protected:
    """32-bit paging with one page: linear 403000 to physical 55000."""
    m = Protected()
    m.s.cr0 |= 1 << 31 | (1 << 16 if wp else 0)
    m.s.cr3, m.s.cr4 = DIRECTORY, cr4
    m.poke(DIRECTORY + 4, "I", TABLE | pde)
    m.poke(TABLE + 3 * 4, "I", 0x55000 | pte)
    return m


def translate(m: Protected, access: int = READ, linear: int = LINEAR) -> tuple[int, int, int, int]:
    got: tuple[int, int, int, int] = m.call(walk, linear, access)
    return got


def test_without_paging_linear_is_physical() -> None:
    assert translate(Protected(), WRITE | USER, 0xFFFFFFFF) == (1, 0xFFFFFFFF, MAY_WRITE | MAY_USER, 0)


def test_a_read_sets_accessed_in_both_levels_and_a_write_sets_dirty() -> None:
    m = machine()
    assert translate(m) == (1, 0x55ABC, MAY_USER, 0)  # not dirty yet: a write must walk again
    assert m.peek(DIRECTORY + 4, "I") & 0xFFF == P | RW | US | A
    assert m.peek(TABLE + 12, "I") & 0xFFF == P | RW | US | A
    assert translate(m, WRITE) == (1, 0x55ABC, MAY_USER | MAY_WRITE, 0)
    assert m.peek(TABLE + 12, "I") & 0xFFF == P | RW | US | A | D
    assert translate(m) == (1, 0x55ABC, MAY_USER | MAY_WRITE, 0)
    assert m.peek(DIRECTORY + 4, "I") & D == 0


@pytest.mark.parametrize("access", [READ, WRITE, USER, USER | WRITE])
def test_a_missing_entry_gives_an_error_code_without_p_and_touches_nothing(access: int) -> None:
    for m in (machine(pde=RW | US), machine(pte=RW | US)):
        before = bytes(m.ram)
        assert translate(m, access)[0] == 0
        assert translate(m, access)[3] == (access & WRITE) << 1 | (access & USER) << 1
        assert bytes(m.ram) == before


@pytest.mark.parametrize(
    ("pde", "pte", "access", "wp", "ok"),
    [
        (P | RW | US, P | RW | US, USER | WRITE, False, True),
        (P | RW, P | RW | US, USER, False, False),
        (P | RW | US, P | RW, USER, False, False),
        (P | US, P | RW | US, USER | WRITE, False, False),
        (P | RW | US, P | US, USER | WRITE, False, False),
        (P | US, P | US, USER, False, True),
        (P | RW, P | RW, WRITE, True, True),
        (P, P | RW, WRITE, False, True),  # without WP level 0 writes anywhere
        (P, P | RW, WRITE, True, False),
        (P | RW, P, WRITE, True, False),
        (P, P, READ, True, True),
    ],
)
def test_both_levels_and_wp_decide_the_rights(pde: int, pte: int, access: int, wp: bool, ok: bool) -> None:
    m = machine(pde, pte, wp=wp)
    before = bytes(m.ram)
    got = translate(m, access)
    assert got[0] == int(ok)
    if not ok:
        assert got[3] == 1 | (access & WRITE) << 1 | (access & USER) << 1
        assert bytes(m.ram) == before


def test_the_write_right_is_that_of_the_privilege_asking() -> None:
    m = machine(pte=P | US | D)
    assert translate(m)[2] & MAY_WRITE  # level 0 without WP
    assert not translate(m, USER)[2] & MAY_WRITE
    m.s.cr0 |= 1 << 16
    assert not translate(m)[2] & MAY_WRITE


def test_global_counts_only_with_pge() -> None:
    m = machine(pte=P | RW | G)
    assert not translate(m)[2] & GLOBAL
    m.s.cr4 = 1 << S.CR4_PGE
    assert translate(m)[2] & GLOBAL


def test_a_4_mib_page_needs_pse() -> None:
    m = machine(pde=P | RW | US)
    m.poke(DIRECTORY + 4, "I", 0x00400000 | P | RW | PS)
    m.s.cr4 = 1 << S.CR4_PSE
    assert translate(m, WRITE) == (1, 0x00403ABC, LARGE | MAY_WRITE, 0)
    assert m.peek(DIRECTORY + 4, "I") & 0xFFF == P | RW | PS | A | D
    m.s.cr4 = 0
    m.poke(DIRECTORY + 4, "I", TABLE | P | RW | US | PS)
    assert translate(m)[1] == 0x55ABC


def test_pse36_puts_address_bits_into_the_directory_entry() -> None:
    m = machine(cr4=1 << S.CR4_PSE)
    m.poke(DIRECTORY + 4, "I", 0xC0000000 | 0b1011 << 13 | P | PS)
    assert translate(m)[:2] == (1, 0xBC0003ABC)


@pytest.mark.parametrize(
    ("bit", "model", "reserved"),
    [
        (21, "pentium3", True),
        (17, "pentium3", True),
        (13, "pentium3", False),
        (13, "pentium", True),
        (12, "pentium", True),
        (12, "pentium3", False),
    ],
)
def test_reserved_bits_of_a_4_mib_page(bit: int, model: str, reserved: bool) -> None:
    m = Protected(model=model)
    m.s.cr0 |= 1 << 31
    m.s.cr3, m.s.cr4 = DIRECTORY, 1 << S.CR4_PSE
    m.poke(DIRECTORY + 4, "I", 1 << bit | P | RW | US | PS)
    ok, _, _, error = translate(m, USER | WRITE)
    assert (ok, error) == ((0, 0b1111) if reserved else (1, 0))


def pae(pde: int, pte: int = 0) -> Protected:
    m = Protected()
    m.s.cr0 |= 1 << 31
    m.s.cr4 = 1 << S.CR4_PAE
    m.s.pdpte[1] = DIRECTORY | P
    m.poke(DIRECTORY + 2 * 8, "Q", pde)
    m.poke(TABLE + 3 * 8, "Q", pte)
    return m


PAE_LINEAR = 0x40403ABC


def test_pae_reaches_36_bits_of_physical_memory() -> None:
    m = pae(TABLE | P | RW | US, 0xA_8765_4000 | P | RW | US)
    assert translate(m, WRITE | USER, PAE_LINEAR) == (1, 0xA_8765_4ABC, MAY_WRITE | MAY_USER, 0)
    assert m.peek(TABLE + 24, "Q") == 0xA_8765_4000 | P | RW | US | A | D
    assert m.peek(DIRECTORY + 16, "Q") & A


def test_pae_has_2_mib_pages_without_pse() -> None:
    m = pae(0x1_0020_0000 | P | RW | PS)
    assert translate(m, WRITE, PAE_LINEAR) == (1, 0x1_0020_3ABC, LARGE | MAY_WRITE, 0)
    assert m.peek(DIRECTORY + 16, "Q") & D


def test_a_missing_page_directory_pointer_is_a_page_fault() -> None:
    m = pae(TABLE | P)
    assert translate(m, WRITE, 0x80000000) == (0, 0, 0, 0b10)


@pytest.mark.parametrize(
    ("pde", "pte"),
    [
        (1 << 36 | TABLE | P, P),
        (1 << 63 | TABLE | P, P),
        (TABLE | P, 1 << 36 | P),
        (TABLE | P, 1 << 63 | P),
        (0x200000 | 1 << 13 | P | PS, 0),
        (0x200000 | 1 << 20 | P | PS, 0),
    ],
)
def test_reserved_bits_of_pae_entries(pde: int, pte: int) -> None:
    assert translate(pae(pde, pte), READ, PAE_LINEAR) == (0, 0, 0, 0b1001)


@pytest.mark.parametrize("bit", [1, 2, 5, 8, 36, 63])
def test_a_pointer_with_reserved_bits_refuses_the_load_of_cr3(bit: int) -> None:
    m = Protected()
    m.s.cr0 |= 1 << 31
    m.s.cr4 = 1 << S.CR4_PAE
    m.s.pdpte[0] = 7
    m.poke(DIRECTORY + 0x20, "4Q", 0x13000 | P, 0x14000 | P, 1 << bit | P, 1 << bit)
    assert fault_of(lambda: m.call(load_pdptes, DIRECTORY | 0x20)) == (S.GP, 0)
    assert m.s.pdpte[0] == 7
    m.poke(DIRECTORY + 0x30, "Q", 1 << bit)  # not present: anything goes
    m.call(load_pdptes, DIRECTORY | 0x3F)
    assert m.s.pdpte == [0x13000 | P, 0x14000 | P, 1 << bit, 1 << bit]


def test_mov_cr3_loads_the_pointers_and_flushes() -> None:
    m = Protected()
    m.s.cr4 = 1 << S.CR4_PAE
    m.poke(DIRECTORY, "4Q", 0x13000 | P, 0, 0, 0)
    m.s.gpr[S.EAX] = DIRECTORY
    m.execute(b"\x0f\x22\xd8")
    assert m.s.pdpte[0] == 0  # paging is off: nothing to load yet
    m.s.gpr[S.EAX] = 0x80000011
    m.execute(b"\x0f\x22\xc0")
    assert m.s.pdpte[0] == 0x13000 | P
    assert m.flushes == [0, 1]


def test_a_page_fault_leaves_the_instruction_restartable() -> None:
    m = machine(pte=0)
    m.poke(DIRECTORY, "I", P | RW | US | PS)
    m.s.cr4 = 1 << S.CR4_PSE
    m.esp = 0x404000
    before = {k: v for k, v in m.s.as_dict().items() if k != "cr2"}
    assert fault_of(lambda: m.execute(b"\x0e")) == (S.PF_, 2)  # push cs
    assert m.s.cr2 == 0x403FFC
    assert {k: v for k, v in m.s.as_dict().items() if k != "cr2"} == before
