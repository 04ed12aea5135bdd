"""The UTLB of the 440 through its instructions and `walk`."""

from __future__ import annotations

import pytest

from cores.ppc import state as S
from tests.cores.ppc_machine import Interrupt, Machine

STORE, USER, FETCH = 1, 2, 4
K1, K4, K16, K64, K256, M1, M16, M256 = 0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x70, 0x90
VALID, SPACE1 = 0x200, 0x100
UX, UW, UR, SX, SW, SR = 0x20, 0x10, 0x08, 0x04, 0x02, 0x01
INHIBITED, GUARDED, LITTLE = 0x400, 0x100, 0x80


def machine() -> Machine:
    m = Machine("440EP")
    m.s.utlb0[63] = 0
    return m


def write(m: Machine, n: int, words: tuple[int, int, int], tid: int = 0) -> None:
    """Write an entry with tlbwe."""
    m.s.mmucr = tid
    m.s.gpr[3] = n
    for ws, word in enumerate(words):
        m.s.gpr[4] = word
        m.do("tlbwe", rs=4, ra=3, ws=ws)


def read(m: Machine, n: int) -> tuple[int, int, int]:
    m.s.gpr[3] = n
    words = []
    for ws in range(3):
        m.do("tlbre", rt=5, ra=3, ws=ws)
        words.append(m.s.gpr[5])
    return words[0], words[1], words[2]


@pytest.mark.parametrize(("size", "count"), [
    (K1, 1 << 10), (K4, 1 << 12), (K16, 1 << 14), (K64, 1 << 16), (K256, 1 << 18), (M1, 1 << 20), (M16, 1 << 24),
    (M256, 1 << 28),
])  # fmt: skip
def test_a_page_covers_its_size_and_not_a_byte_more(size: int, count: int) -> None:
    m = machine()
    write(m, 5, (0x40000000 | VALID | size, 0x90000000 | 0x3, SR))
    assert m.call("walk", 0x40000000, 0)[:2] == (1, 0x390000000)
    assert m.call("walk", 0x40000000 + count - 1, 0)[:2] == (1, 0x390000000 + count - 1)
    assert m.call("walk", 0x40000000 + count, 0)[0] == 0
    assert m.call("walk", 0x3FFFFFFF, 0)[0] == 0


def test_the_words_of_an_entry_read_back_as_written_and_the_tid_comes_to_mmucr() -> None:
    m = machine()
    m.s.mmucr = 0x00010000
    words = (0xC0000000 | VALID | SPACE1 | M256, 0x0000000E, 0x0000FD7F & ~0x40)
    write(m, 63, words, tid=0x5A)
    m.s.mmucr = 0x00010000
    assert read(m, 63) == words
    assert m.s.mmucr == 0x0001005A
    assert m.s.utlb_tid[63] == 0x5A


def test_bits_that_no_word_has_are_not_kept() -> None:
    m = machine()
    write(m, 0, (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF))
    assert read(m, 0) == (0xFFFFFFF0, 0xFFFFFC0F, 0x001FFFBF)


@pytest.mark.parametrize(("access", "right", "ivor", "esr"), [
    (0, SR, S.DATA_STORAGE, 0), (STORE, SW, S.DATA_STORAGE, 0x00800000), (FETCH, SX, S.INSTRUCTION_STORAGE, 0),
    (USER, UR, S.DATA_STORAGE, 0), (USER | STORE, UW, S.DATA_STORAGE, 0x00800000),
    (USER | FETCH, UX, S.INSTRUCTION_STORAGE, 0),
])  # fmt: skip
def test_each_kind_of_access_has_its_right(access: int, right: int, ivor: int, esr: int) -> None:
    m = machine()
    write(m, 0, (0x1000 | VALID | K4, 0x2000, right))
    assert m.call("walk", 0x1234, access)[:2] == (1, 0x2234)
    write(m, 0, (0x1000 | VALID | K4, 0x2000, 0x3F & ~right))
    assert m.call("walk", 0x1234, access) == (0, 0, 0, ivor, esr)


@pytest.mark.parametrize(("access", "ivor", "esr"), [
    (0, 13, 0), (STORE, 13, 0x00800000), (FETCH, 14, 0), (USER | FETCH, 14, 0),
])  # fmt: skip
def test_a_miss_is_a_tlb_error_of_its_kind(access: int, ivor: int, esr: int) -> None:
    assert machine().call("walk", 0x1234, access) == (0, 0, 0, ivor, esr)


@pytest.mark.parametrize(("word2", "rights"), [
    (SR, 0), (SR | SW, 1), (SR | LITTLE, 2), (SR | INHIBITED, 4), (SR | GUARDED, 8), (SR | UW, 0),
])  # fmt: skip
def test_attributes_come_with_the_translation(word2: int, rights: int) -> None:
    m = machine()
    write(m, 0, (VALID | K4, 0, word2))
    assert m.call("walk", 0, 0)[2] == rights


def test_a_page_of_1_kib_is_not_to_be_remembered() -> None:
    m = machine()
    write(m, 0, (0x1400 | VALID | K1, 0x8C00, SR | SX))
    assert m.call("walk", 0x1404, 0) == (1, 0x8C04, 16, 0, 0)
    assert m.call("walk", 0x1000, 0)[0] == 0
    write(m, 0, (0x1000 | VALID | K4, 0x8C00, SR))
    assert m.call("walk", 0x1404, 0) == (1, 0x8404, 0, 0, 0)


def test_an_entry_is_for_its_process_or_with_tid_0_for_all() -> None:
    m = machine()
    write(m, 0, (0x1000 | VALID | K4, 0, SR), tid=7)
    for pid, found in ((7, 1), (8, 0), (0, 0)):
        m.mtspr("pid", pid)
        assert m.call("walk", 0x1000, 0)[0] == found
    write(m, 1, (0x1000 | VALID | K4, 0, SR))
    assert m.call("walk", 0x1000, 0)[0] == 1


def test_data_and_instructions_have_their_own_address_space() -> None:
    m = machine()
    write(m, 0, (0x1000 | VALID | SPACE1 | K4, 0, SR | SX))
    assert m.call("walk", 0x1000, 0)[0] == 0
    m.s.msr = 1 << S.MSR_DS
    assert m.call("walk", 0x1000, 0)[0] == 1
    assert m.call("walk", 0x1000, FETCH)[0] == 0
    m.s.msr = 1 << S.MSR_IS
    assert m.call("walk", 0x1000, FETCH)[0] == 1


def test_the_first_entry_that_fits_translates() -> None:
    m = machine()
    write(m, 9, (0x1000 | VALID | K4, 0x9000, SR))
    write(m, 4, (VALID | M1, 0x00400000, SR))
    assert m.call("walk", 0x1000, 0)[1] == 0x00401000


def test_what_an_entry_translated_is_forgotten_when_it_changes() -> None:
    m = machine()
    write(m, 0, (0x00100000 | VALID | K16, 0, SR), tid=3)
    m.forgotten.clear()
    write(m, 1, (0x00500000 | K4, 0, SR), tid=3)
    assert m.forgotten == []  # an invalid entry has translated nothing
    write(m, 0, (0x7000, 0, 0), tid=3)
    assert m.forgotten == [(0x00100000, 0x3FFF)]


@pytest.mark.parametrize(("tid", "forgotten"), [(3, True), (4, False), (0, True)])
def test_an_entry_written_before_another_of_the_same_page_takes_over(tid: int, forgotten: bool) -> None:
    m = machine()
    write(m, 9, (0x5000 | VALID | K4, 0x9000, SR), tid=3)
    m.forgotten.clear()
    m.s.mmucr, m.s.gpr[3], m.s.gpr[4] = tid, 4, 0x5000 | VALID | K4
    m.do("tlbwe", rs=4, ra=3, ws=0)
    assert m.forgotten == ([(0x5000, 0xFFF)] if forgotten else [])


def test_tlbsx_finds_the_entry_by_mmucr() -> None:
    m = machine()
    write(m, 17, (0x5000 | VALID | SPACE1 | K4, 0, 0), tid=3)
    m.s.gpr[4], m.s.gpr[5], m.s.gpr[6] = 0x5000, 0xABC, 99
    m.s.xer_so = 1
    m.s.mmucr = 0x00010003
    m.do("tlbsx.", rt=6, ra=4, rb=5)
    assert m.s.gpr[6] == 17 and m.s.cr >> 28 == 0b0011
    m.s.mmucr = 0x00010004
    m.s.gpr[6] = 99
    m.do("tlbsx.", rt=6, ra=4, rb=5)
    assert m.s.gpr[6] == 99 and m.s.cr >> 28 == 0b0001
    m.s.mmucr, m.s.cr = 3, 0
    m.do("tlbsx", rt=6, ra=4, rb=5)
    assert m.s.gpr[6] == 99 and m.s.cr == 0


def test_the_number_of_an_entry_has_six_bits() -> None:
    m = machine()
    write(m, 64 + 3, (0x5000 | VALID, 0, 0))
    assert m.s.utlb0[3] == 0x5000 | VALID


@pytest.mark.parametrize("name", ["tlbwe", "tlbre", "tlbsx", "tlbsync"])
def test_tlb_instructions_are_privileged(name: str) -> None:
    m = machine()
    m.s.msr = 1 << S.MSR_PR
    with pytest.raises(Interrupt) as stopped:
        m.do(name)
    assert (stopped.value.ivor, stopped.value.esr) == (S.PROGRAM, 0x04000000)


@pytest.mark.parametrize("name", ["tlbwe", "tlbre"])
def test_there_is_no_word_3(name: str) -> None:
    m = machine()
    with pytest.raises(Interrupt) as stopped:
        m.do(name, ws=3)
    assert stopped.value.esr == 0x08000000
