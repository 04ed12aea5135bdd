"""TLB0 and TLB1 of the e500 through the MAS registers, and `walk`."""

from __future__ import annotations

import pytest

from cores.ppc import state as S
from tests.cores.ppc_machine import Interrupt, Machine

STORE, USER, FETCH = 1, 2, 4
UX, SX, UW, SW, UR, SR = 0x20, 0x10, 0x08, 0x04, 0x02, 0x01
VALID, IPROT, SPACE1 = 1 << 31, 1 << 30, 1 << 12
TLB1 = 1 << 28
K4, M1, M16, M256, G1, G4 = 0x100, 0x500, 0x700, 0x900, 0xA00, 0xB00


def machine(name: str = "e500v2") -> Machine:
    m = Machine(name)
    m.s.etlb_mas1[S.TLB1_FIRST] = 0
    return m


def write(m: Machine, mas0: int, mas1: int, mas2: int, mas3: int, mas7: int = 0) -> None:
    """Write an entry with tlbwe."""
    for n, v in ((0, mas0), (1, mas1), (2, mas2), (3, mas3)):
        m.mtspr(f"mas{n}", v)
    if m.s.tlb0_ways == 4:
        m.mtspr("mas7", mas7)
    m.do("tlbwe")


def mas(m: Machine, n: int) -> int:
    return m.mfspr(f"mas{n}")


@pytest.mark.parametrize(("size", "count"), [
    (K4, 1 << 12), (0x200, 1 << 14), (0x300, 1 << 16), (M1, 1 << 20), (M16, 1 << 24), (M256, 1 << 28), (G1, 1 << 30),
])  # fmt: skip
def test_a_page_of_tlb1_covers_its_size_and_not_a_byte_more(size: int, count: int) -> None:
    m = machine()
    write(m, TLB1 | 3 << 16, VALID | size, 0x40000000, 0x80000000 | SR, 0xC)
    assert m.call("walk", 0x40000000, 0)[:2] == (1, 0xC80000000)
    assert m.call("walk", 0x40000000 + count - 1, 0)[:2] == (1, 0xC80000000 + count - 1)
    assert m.call("walk", 0x40000000 + count, 0)[0] == 0
    assert m.call("walk", 0x3FFFFFFF, 0)[0] == 0


def test_a_page_of_4_gib_covers_everything() -> None:
    m = machine()
    write(m, TLB1, VALID | G4, 0, SR)
    for ea in (0, 0x7FFFFFFF, 0xFFFFFFFF):
        assert m.call("walk", ea, 0)[:2] == (1, ea)


def test_a_page_of_tlb0_has_4_kib_whatever_its_size_says_and_no_protection() -> None:
    m = machine()
    write(m, 2 << 16, VALID | IPROT | M1, 0x12345000, 0x7000 | SR)
    assert m.call("walk", 0x12345678, 0)[:2] == (1, 0x7678)
    assert m.call("walk", 0x12346000, 0)[0] == 0
    assert m.s.etlb_mas1[0x45 * 4 + 2] == VALID | K4


@pytest.mark.parametrize(("name", "ways"), [("e500v1", 2), ("e500v2", 4), ("e500mc", 4)])
def test_a_set_of_tlb0_holds_as_many_pages_as_it_has_ways(name: str, ways: int) -> None:
    m = machine(name)
    for k in range(ways + 1):
        write(m, k << 16, VALID | K4, k << 19 | 0x5000, k << 12 | SR)
    held = [k for k in range(ways + 1) if m.call("walk", k << 19 | 0x5000, 0)[0]]
    assert held == list(range(1, ways + 1))


@pytest.mark.parametrize(("access", "right", "ivor", "esr"), [
    (0, SR, S.DATA_STORAGE, 0), (STORE, SW, S.DATA_STORAGE, 0x00800000), (FETCH, SX, S.INSTRUCTION_STORAGE, 0),
    (USER, UR, S.DATA_STORAGE, 0), (USER | STORE, UW, S.DATA_STORAGE, 0x00800000),
    (USER | FETCH, UX, S.INSTRUCTION_STORAGE, 0),
])  # fmt: skip
def test_each_kind_of_access_has_its_right(access: int, right: int, ivor: int, esr: int) -> None:
    m = machine()
    write(m, 0, VALID, 0x1000, 0x2000 | right)
    assert m.call("walk", 0x1234, access)[:2] == (1, 0x2234)
    write(m, 0, VALID, 0x1000, 0x2000 | (0x3F & ~right))
    assert m.call("walk", 0x1234, access) == (0, 0, 0, ivor, esr)


@pytest.mark.parametrize(("mas2", "right", "rights"), [
    (0, SR, 0), (0, SR | SW, 1), (1, SR, 2), (8, SR, 4), (2, SR, 8), (0x14, SR | UW, 0), (0xB, SR | SW, 15),
])  # fmt: skip
def test_attributes_come_with_the_translation(mas2: int, right: int, rights: int) -> None:
    m = machine()
    write(m, 0, VALID, 0x1000 | mas2, right)
    assert m.call("walk", 0x1000, 0)[2] == rights


@pytest.mark.parametrize("register", ["pid", "pid1", "pid2"])
def test_any_of_the_three_process_ids_opens_an_entry(register: str) -> None:
    m = machine()
    write(m, 0, VALID | 0x99 << 16, 0x1000, SR)
    assert m.call("walk", 0x1000, 0)[0] == 0
    m.mtspr(register, 0x99)
    assert m.call("walk", 0x1000, 0)[0] == 1


def test_data_and_instructions_have_their_own_address_space() -> None:
    m = machine()
    write(m, 0, VALID | SPACE1, 0x1000, SR | SX)
    m.s.msr = 1 << S.MSR_DS
    assert m.call("walk", 0x1000, 0)[0] == 1
    assert m.call("walk", 0x1000, FETCH)[0] == 0


def test_an_overwritten_entry_is_forgotten_with_its_whole_page() -> None:
    m = machine()
    write(m, TLB1 | 1 << 16, VALID | M16, 0x51000000, SR)
    m.forgotten.clear()
    write(m, TLB1 | 1 << 16, 0, 0, 0)
    assert m.forgotten == [(0x51000000, 0xFFFFFF)]
    assert m.call("walk", 0x51000000, 0)[0] == 0


def test_tlbre_shows_the_entry_and_the_next_victim_of_its_set() -> None:
    m = machine()
    m.mtspr("hid0", 0x80)
    write(m, 1 << 16 | 3, VALID | 5 << 16, 0x33333004, 0x44444000 | SR, 2)
    for n in (1, 3, 7):
        m.mtspr(f"mas{n}", 0)
    m.mtspr("mas0", 1 << 16)
    m.do("tlbre")
    assert [mas(m, n) for n in (0, 1, 2, 3, 7)] == [
        1 << 16 | 3, VALID | 5 << 16 | K4, 0x33333004, 0x44444000 | SR, 2,
    ]  # fmt: skip


def test_mas7_is_updated_only_while_hid0_says_so() -> None:
    m = machine()
    write(m, 0, VALID, 0x1000, SR, 0xD)
    m.mtspr("mas7", 1)
    m.do("tlbre")
    assert mas(m, 7) == 1
    m.mtspr("hid0", 0x80)
    m.do("tlbre")
    assert mas(m, 7) == 0xD


def test_tlbsx_finds_an_entry_of_tlb1() -> None:
    m = machine()
    write(m, TLB1 | 9 << 16, VALID | IPROT | M1 | SPACE1 | 4 << 16, 0x70000000, 0x30000000 | SW)
    m.mtspr("mas6", 4 << 16 | 1)
    m.s.gpr[4], m.s.gpr[5] = 0x70000000, 0x12345
    m.do("tlbsx", ra=4, rb=5)
    assert mas(m, 0) & 0x100F0000 == TLB1 | 9 << 16
    assert mas(m, 1) == VALID | IPROT | M1 | SPACE1 | 4 << 16
    assert (mas(m, 2), mas(m, 3)) == (0x70000000, 0x30000000 | SW)


def test_tlbsx_searches_one_process_and_space() -> None:
    m = machine()
    m.mtspr("pid", 4)
    write(m, 0, VALID | 4 << 16, 0x1000, SR)
    m.s.gpr[4] = 0x1000
    for mas6, valid in ((4 << 16, 1), (5 << 16, 0), (4 << 16 | 1, 0)):
        m.mtspr("mas6", mas6)
        m.do("tlbsx", ra=0, rb=4)
        assert mas(m, 1) >> 31 == valid


def test_a_search_in_vain_prepares_an_entry_as_mas4_says() -> None:
    m = machine()
    m.mtspr("mas4", 0x00000104 | 8)
    m.mtspr("mas6", 0x21 << 16 | 1)
    m.s.tlb0_next[0x77] = 2
    m.s.gpr[4] = 0xABC77000
    m.do("tlbsx", ra=0, rb=4)
    assert mas(m, 0) == 2 << 16 | 3
    assert mas(m, 1) == 0x21 << 16 | SPACE1 | K4
    assert mas(m, 2) & 0x7F == 0xC and mas(m, 3) == 0 and mas(m, 7) == 0


@pytest.mark.parametrize(("ivor", "msr", "space", "source", "tid"), [
    (13, 0, 0, 0, 0x10), (13, 1 << S.MSR_DS, 1, 1, 0x11), (13, 1 << S.MSR_IS, 0, 2, 0x12), (14, 1 << S.MSR_IS, 1, 3, 0),
])  # fmt: skip
def test_a_miss_prepares_the_entry_that_its_handler_will_write(
    ivor: int, msr: int, space: int, source: int, tid: int
) -> None:
    m = machine()
    for k, name in enumerate(("pid", "pid1", "pid2")):
        m.mtspr(name, 0x10 + k)
    m.mtspr("mas4", source << 16 | K4 | 4)
    m.mtspr("mas7", 5)
    m.s.tlb0_next[0x22] = 3
    m.s.msr = msr
    m.s.pc = 0x80022004 if ivor == 14 else 0x1000
    m.call("deliver", ivor, 0, 0 if ivor == 14 else 0x80022004)
    assert mas(m, 0) == 3 << 16 | 0
    assert mas(m, 1) == VALID | tid << 16 | space << 12 | K4
    assert mas(m, 2) == 0x80022004
    assert (mas(m, 3), mas(m, 7)) == (0, 0)
    assert mas(m, 6) == 0x10 << 16 | space


def test_misses_go_round_the_ways_of_a_set() -> None:
    m = machine()
    m.mtspr("mas4", K4)
    ways = []
    for k in range(6):
        m.call("deliver", 13, 0, k << 19)
        ways.append(mas(m, 0) >> 16 & 3)
        m.mtspr("mas3", SR)
        m.do("tlbwe")
    assert ways == [0, 1, 2, 3, 0, 1]


def fill(m: Machine) -> None:
    """One page in TLB0, one in TLB1, and a protected one in TLB1."""
    write(m, 0, VALID | 3 << 16, 0x1000, SR)
    write(m, TLB1 | 1 << 16, VALID | M1, 0x00100000, SR)
    write(m, TLB1 | 2 << 16, VALID | IPROT | M1, 0x00200000, SR)
    m.mtspr("pid", 3)


def mapped(m: Machine) -> list[int]:
    return [m.call("walk", ea, 0)[0] for ea in (0x1000, 0x00100000, 0x00200000)]


@pytest.mark.parametrize(("ea", "left"), [
    (0x1000, [0, 1, 1]), (0x2000, [1, 1, 1]), (0x00100008, [1, 0, 1]), (0x00155008, [1, 0, 1]),
    (0x00200008, [1, 1, 1]), (0x00100000, [1, 1, 1]), (0x4, [0, 1, 1]), (0xC, [1, 0, 1]),
])  # fmt: skip
def test_tlbivax_invalidates_a_page_or_all_of_one_tlb(ea: int, left: list[int]) -> None:
    m = machine()
    fill(m)
    m.s.gpr[4] = ea
    m.do("tlbivax", ra=0, rb=4)
    assert mapped(m) == left


@pytest.mark.parametrize(("bits", "left"), [(4, [0, 1, 1]), (2, [1, 0, 1]), (6, [0, 0, 1]), (0, [1, 1, 1])])
def test_mmucsr0_invalidates_whole_tlbs_but_what_is_protected(bits: int, left: list[int]) -> None:
    m = machine()
    fill(m)
    m.mtspr("mmucsr0", bits)
    assert mapped(m) == left


@pytest.mark.parametrize("name", ["tlbwe", "tlbre", "tlbsx", "tlbivax", "tlbsync"])
def test_tlb_instructions_are_privileged(name: str) -> None:
    m = machine()
    m.s.msr = 1 << S.MSR_PR
    with pytest.raises(Interrupt) as stopped:
        m.do(name)
    assert (stopped.value.ivor, stopped.value.esr) == (S.PROGRAM, 0x04000000)


# --- partitions of the e500mc ----------------------------------------------------------------------------------------


def test_an_entry_is_for_its_partition_and_state() -> None:
    m = machine("e500mc")
    m.mtspr("mas8", 1 << 31 | 5)
    write(m, 0, VALID, 0x1000, SR)
    found = []
    for msr, lpid in ((0, 5), (1 << S.MSR_GS, 5), (1 << S.MSR_GS, 6)):
        m.s.msr, m.s.lpid = msr, lpid
        found.append(m.call("walk", 0x1000, 0)[0])
    assert found == [0, 1, 0]


def test_a_virtualization_fault_is_the_hypervisors_even_where_storage_interrupts_are_the_guests() -> None:
    m = machine("e500mc")
    m.mtspr("mas8", 1 << 31 | 1 << 30)
    write(m, 0, VALID, 0x1000, SR | SW)
    m.mtspr("epcr", 1 << 28)
    m.s.msr = 1 << S.MSR_GS
    found, _, _, ivor, esr = m.call("walk", 0x1000, STORE)
    assert (found, ivor) == (0, S.DATA_STORAGE)
    m.call("deliver", ivor, esr, 0x1000)
    assert (m.s.esr, m.s.gesr, m.s.msr) == (0x00800000, 0, 0)


@pytest.mark.parametrize(("t", "left"), [
    (0, [0, 0, 1]), (1, [0, 1, 1]), (3, [0, 1, 1]),
])  # fmt: skip
def test_tlbilx_invalidates_a_partition_a_process_or_a_page(t: int, left: list[int]) -> None:
    m = machine("e500mc")
    m.mtspr("mas8", 9)
    write(m, 0, VALID | 3 << 16, 0x1000, SR)
    write(m, 1 << 16, VALID, 0x81000, SR)
    m.mtspr("mas8", 8)
    write(m, 2 << 16, VALID | 3 << 16, 0x101000, SR)
    m.mtspr("mas5", 9)
    m.mtspr("mas6", 3 << 16)
    m.s.gpr[4] = 0x1000
    m.do("tlbilx", t=t, ra=0, rb=4)
    assert [m.s.etlb_mas1[4 + k] >> 31 for k in range(3)] == left


def test_a_guest_may_tlbilx_unless_it_is_forbidden_and_never_tlbwe() -> None:
    m = machine("e500mc")
    m.s.msr = 1 << S.MSR_GS
    m.do("tlbilx", t=0)
    m.s.epcr = 1 << 23
    for name in ("tlbilx", "tlbwe"):
        with pytest.raises(Interrupt) as stopped:
            m.do(name)
        assert stopped.value.ivor == S.HYPERVISOR_PRIVILEGE


@pytest.mark.parametrize(("tid", "forgotten"), [(3, True), (4, False), (0, True)])
def test_an_entry_written_before_another_of_the_same_page_takes_over(tid: int, forgotten: bool) -> None:
    m = machine()
    write(m, 1 << 16, VALID | 3 << 16, 0x5000, SR)
    m.forgotten.clear()
    write(m, 0, VALID | tid << 16, 0x5000, SR)
    assert m.forgotten == ([(0x5000, 0xFFF)] if forgotten else [])
