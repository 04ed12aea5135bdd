"""PowerPC instructions that no vector file covers: branches, reservations, multiples, system registers, decoding."""

from __future__ import annotations

import dataclasses
import re

import pytest

from cores.lang.ir import SpecError
from cores.ppc import state as S
from cores.ppc.decoder import by_mnemonic, check_overlaps, decode, encode, forms
from cores.ppc.forms import FIELDS, with_field
from cores.ppc.models import FEATURES
from tests.cores.ppc_machine import IllegalInstruction, Interrupt, Machine

PC = 0x1000


def machine(**registers: int) -> Machine:
    m = Machine()
    m.s.pc = PC
    for name, v in registers.items():
        setattr(m.s, name, v)
    return m


def test_every_form_traces_and_decodes_to_itself() -> None:
    for form in forms():
        form.trace()
        word = form.value if form.zero else with_field(form.value, "ra", 5) if "ra0" in form.params else form.value
        needs = FEATURES.get(form.entry.needs, 0)
        insn = decode(word, features=needs)
        assert insn is not None and insn.form is form, form.ident


def test_two_forms_for_one_word_are_refused() -> None:
    first = by_mnemonic()["addi"][0]
    other = dataclasses.replace(first, ident="twin", entry=dataclasses.replace(first.entry))
    with pytest.raises(SpecError, match="twin overlaps addi"):
        check_overlaps([first, other])


def test_a_word_without_a_form_decodes_to_nothing() -> None:
    assert decode(0) is None
    assert decode(0x7F800009) is None  # tw with the last bit set
    with pytest.raises(IllegalInstruction):
        machine().run(0)


def test_encode_refuses_a_field_that_does_not_fit() -> None:
    with pytest.raises(ValueError, match="does not fit the field si"):
        encode("addi", rt=1, ra=1, si=0x8000)
    with pytest.raises(ValueError, match="does not fit the field bd"):
        encode("bc", bo=20, bi=0, bd=2)


@pytest.mark.parametrize(("name", "displacement", "target", "link"), [
    ("b", -8, PC - 8, None), ("bl", 0x100, PC + 0x100, PC + 4), ("ba", 0x100, 0x100, None),
    ("bla", -4, 0xFFFFFFFC, PC + 4),
])  # fmt: skip
def test_a_branch_goes_to_its_target(name: str, displacement: int, target: int, link: int | None) -> None:
    m = machine(lr=0x55)
    m.do(name, li=displacement)
    assert (m.s.pc, m.s.lr) == (target, 0x55 if link is None else link)


@pytest.mark.parametrize("bo", range(32))
@pytest.mark.parametrize("ctr", [0, 1, 2])
@pytest.mark.parametrize("bit", [0, 1])
def test_every_bo_decides_as_the_manual_says(bo: int, ctr: int, bit: int) -> None:
    keep = bo >> 2 & 1
    left = ctr if keep else (ctr - 1) & 0xFFFFFFFF
    ctr_ok = keep or (left != 0) != bool(bo >> 1 & 1)
    cond_ok = bo >> 4 & 1 or bit == bo >> 3 & 1
    m = machine(ctr=ctr, cr=bit << (31 - 6), lr=0x2003)
    m.do("bclrl", bo=bo, bi=6)
    assert (m.s.pc, m.s.ctr, m.s.lr) == (0x2000 if ctr_ok and cond_ok else PC + 4, left, PC + 4)
    m = machine(ctr=ctr, cr=bit << (31 - 6))
    m.do("bc", bo=bo, bi=6, bd=-0x20)
    assert (m.s.pc, m.s.ctr) == (PC - 0x20 if ctr_ok and cond_ok else PC + 4, left)


def test_bcctr_goes_where_ctr_says_and_never_decrements_it() -> None:
    m = machine(ctr=0x3001)
    m.do("bcctrl", bo=20, bi=0)
    assert (m.s.pc, m.s.lr, m.s.ctr) == (0x3000, PC + 4, 0x3001)
    with pytest.raises(ValueError):
        encode("bcctr", bo=16, bi=0)


def test_sc_raises_a_system_call() -> None:
    with pytest.raises(Interrupt) as e:
        machine().run(0x44000002)
    assert e.value.ivor == S.SYSTEM_CALL


@pytest.mark.parametrize(("name", "where", "what"), [
    ("rfi", "srr0", "srr1"), ("rfci", "csrr0", "csrr1"), ("rfmci", "mcsrr0", "mcsrr1"),
])  # fmt: skip
def test_a_return_from_interrupt_restores_msr_and_address(name: str, where: str, what: str) -> None:
    m = machine(**{where: 0x4003, what: 0x8000})
    m.do(name)
    assert (m.s.pc, m.s.msr, m.calls) == (0x4000, 0x8000, ["mode_changed"])


@pytest.mark.parametrize(("name", "fields"), [
    ("rfi", {}), ("mfmsr", {"rt": 3}), ("mtmsr", {"rs": 3}), ("wrtee", {"rs": 3}), ("wrteei", {"e": 1}),
    ("dcbi", {"rb": 3}), ("mfsrr0", {"rt": 3}), ("mtcsrr1", {"rs": 3}), ("iccci", {}),
])  # fmt: skip
def test_privileged_instructions_trap_in_user_mode(name: str, fields: dict[str, int]) -> None:
    m = machine(msr=1 << S.MSR_PR)
    with pytest.raises(Interrupt) as e:
        m.do(name, **fields)
    assert (e.value.ivor, e.value.esr) == (S.PROGRAM, S.ESR_PPR)


def test_wrteei_changes_only_ee() -> None:
    m = machine(msr=0x3000)
    m.do("wrteei", e=1)
    assert m.s.msr == 0xB000
    m.do("wrteei", e=0)
    assert m.s.msr == 0x3000


def test_xer_moves_keep_flags_and_byte_count() -> None:
    m = machine()
    m.s.gpr[3] = 0xFFFFFFFF
    m.do("mtxer", rs=3)
    m.do("mfxer", rt=4)
    assert m.s.gpr[4] == 0xE000007F


def test_the_time_base_reads_in_halves_by_either_instruction() -> None:
    m = machine()
    m.ticks = 0x1122334455667788
    for word, half in ((0x7C6C42E6, 0x55667788), (0x7C6D42E6, 0x11223344), (0x7C6C42A6, 0x55667788)):
        m.run(word)
        assert m.s.gpr[3] == half


def test_an_update_form_leaves_the_upper_half_of_registers() -> None:
    m = machine()
    m.s.gpr[3] = m.s.gpr[4] = 0xAAAAAAAA_00002000
    m.do("lwzu", rt=3, ra=4, d=-4)
    assert m.s.gpr[3:5] == [0xAAAAAAAA_00000000, 0xAAAAAAAA_00001FFC]


def test_multiples_reach_from_their_first_register_to_r31() -> None:
    m = machine()
    for r in range(29, 32):
        m.s.gpr[r] = r
    m.s.gpr[4] = 0x2000
    m.do("stmw", rs=29, ra=4, d=8)
    assert m.get(0x2008, 16) == bytes([0, 0, 0, 29, 0, 0, 0, 30, 0, 0, 0, 31, 0, 0, 0, 0])
    m.do("lmw", rt=30, ra=0, d=0x2008)
    assert m.s.gpr[29:] == [29, 29, 30]


def test_a_string_goes_on_to_r0_after_r31_and_clears_the_rest_of_its_last_register() -> None:
    m = machine()
    m.put(0x2000, bytes(range(1, 10)))
    m.s.gpr[4] = 0x2000
    m.do("lswi", rt=31, ra=4, nb=6)
    assert (m.s.gpr[31], m.s.gpr[0]) == (0x01020304, 0x05060000)


def test_a_string_of_no_bytes_touches_nothing() -> None:
    m = machine()
    m.s.gpr[5] = 7
    m.do("lswx", rt=5, ra=0, rb=0)
    assert m.s.gpr[5] == 7


def test_stwcx_stores_only_under_a_reservation() -> None:
    m = machine()
    m.s.gpr[4], m.s.gpr[5] = 0x2000, 0x1234
    m.do("stwcx.", rs=5, ra=0, rb=4)
    assert (m.get(0x2000, 4), m.s.cr) == (bytes(4), 0)
    m.do("lwarx", rt=3, ra=0, rb=4)
    m.s.xer_so = 1
    m.do("stwcx.", rs=5, ra=0, rb=4)
    assert (m.get(0x2000, 4), m.s.cr, m.s.reserve) == (b"\0\0\x12\x34", 0x30000000, 0)


@pytest.mark.parametrize("change", ["word", "place"])
def test_stwcx_fails_where_the_word_or_the_place_is_another(change: str) -> None:
    m = machine()
    m.s.gpr[4] = 0x2000
    m.do("lwarx", rt=3, ra=0, rb=4)
    if change == "word":
        m.put(0x2000, b"\1")
    else:
        m.s.gpr[4] = 0x2020
    m.do("stwcx.", rs=4, ra=0, rb=4)
    assert (m.s.cr, m.s.reserve) == (0, 0)


@pytest.mark.parametrize("name", ["lwarx", "stwcx."])
def test_a_reservation_off_a_word_boundary_is_an_alignment_interrupt(name: str) -> None:
    m = machine()
    m.s.gpr[4] = 0x2002
    with pytest.raises(Interrupt) as e:
        m.do(name, rb=4)
    assert e.value.ivor == S.ALIGNMENT


def test_dcbz_clears_a_line_and_icbi_and_isync_tell_the_engine() -> None:
    m = machine()
    m.put(0x2000, b"\xff" * 64)
    m.s.gpr[4] = 0x2021
    m.do("dcbz", ra=0, rb=4)
    assert m.get(0x2000, 64) == b"\xff" * 32 + bytes(32)
    m.do("icbi", ra=0, rb=4)
    m.do("isync")
    assert m.calls == ["code_line", "context_synchronize"]


def test_every_operand_of_a_syntax_is_a_field() -> None:
    unknown = set()
    for form in forms():
        for word in re.findall(r"\w+", form.syntax.partition(" ")[2]):
            if word not in FIELDS and word != "ra0":
                unknown.add((form.ident, word))
        unknown |= {(form.ident, p) for p in form.params if p not in form.syntax}
    assert not unknown
