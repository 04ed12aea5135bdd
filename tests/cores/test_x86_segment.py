"""Segment registers, limits, far transfers and system instructions, against SDM vol. 3, chapters 2, 3 and 5."""

from __future__ import annotations

from itertools import pairwise

import pytest

from cores.x86 import state as S
from cores.x86.segment import load_segment, segment_access
from cores.x86.system import io_check
from cores.x86.transfer import far_call, far_jump, far_return
from tests.cores.system_machine import (
    CODE0,
    CODE3,
    CONFORMING,
    DATA0,
    DATA3,
    GDT,
    LDT_AT,
    LDT_SEL,
    MASK32,
    SPARE,
    STACK0,
    STACK3,
    TSS_AT,
    TSS_SEL,
    Machine,
    Protected,
    fault_of,
)


def access(m: Machine, seg: int, offset: int, size: int = 1, write: int = 0) -> tuple[int, int] | None:
    return fault_of(lambda: m.call(segment_access, seg, offset, size, write))


def load(m: Machine, n: int, selector: int) -> tuple[int, int] | None:
    return fault_of(lambda: m.call(load_segment, n, selector))


# --- segment_access


def test_a_linear_address_is_base_plus_offset_and_wraps_at_4_gib() -> None:
    m = Protected()
    m.s.seg_base[S.DS] = 0xFFFFFFF0
    assert m.call(segment_access, S.DS, 0x20, 4, 0) == 0x10


@pytest.mark.parametrize(
    ("offset", "size", "ok"), [(0xFFFC, 4, True), (0xFFFD, 4, False), (0xFFFF, 1, True), (0x10000, 1, False)]
)
def test_the_last_byte_of_an_access_must_not_pass_the_limit(offset: int, size: int, ok: bool) -> None:
    m = Protected()
    m.s.seg_limit[S.DS] = 0xFFFF
    m.s.seg_limit[S.SS] = 0xFFFF
    assert access(m, S.DS, offset, size) == (None if ok else (S.GP, 0))
    assert access(m, S.SS, offset, size) == (None if ok else (S.SS_, 0))


def test_an_access_that_wraps_the_offset_faults_unless_the_segment_is_4_gib() -> None:
    m = Protected()
    assert m.call(segment_access, S.DS, 0xFFFFFFFE, 4, 0) == 0xFFFFFFFE
    m.s.seg_limit[S.DS] = 0xFFFFFFFE
    assert access(m, S.DS, 0xFFFFFFFE, 4) == (S.GP, 0)


@pytest.mark.parametrize(("attr", "top"), [(0x0097, 0xFFFF), (0x4097, MASK32)])
def test_an_expand_down_segment_is_valid_above_its_limit(attr: int, top: int) -> None:
    m = Protected()
    m.s.seg_attr[S.DS], m.s.seg_limit[S.DS] = attr, 0x0FFF
    assert access(m, S.DS, 0x0FFF) == (S.GP, 0)
    assert access(m, S.DS, 0x1000, 4) is None
    assert access(m, S.DS, top, 1) is None
    assert access(m, S.DS, top, 2) == (S.GP, 0)


@pytest.mark.parametrize(
    ("attr", "read_ok", "write_ok"),
    [(0x91, True, False), (0x93, True, True), (0x99, False, False), (0x9B, True, False), (0x9F, True, False)],
)
def test_the_segment_type_decides_what_may_be_read_and_written(attr: int, read_ok: bool, write_ok: bool) -> None:
    m = Protected()
    m.s.seg_attr[S.DS] = 0x4000 | attr
    assert access(m, S.DS, 0) == (None if read_ok else (S.GP, 0))
    assert access(m, S.DS, 0, write=1) == (None if write_ok else (S.GP, 0))


def test_an_unusable_segment_faults_on_every_access() -> None:
    m = Protected()
    m.s.seg_attr[S.ES] = m.s.seg_attr[S.SS] = 0
    assert access(m, S.ES, 0) == (S.GP, 0)
    assert access(m, S.SS, 0) == (S.SS_, 0)


def test_code_may_be_written_in_real_mode() -> None:
    m = Machine()
    m.real_mode()
    assert m.call(segment_access, S.CS, 5, 1, 1) == 0x10005


# --- loading


def test_a_real_mode_load_sets_the_base_and_keeps_the_limit() -> None:
    m = Machine()
    m.s.seg_limit[S.DS], m.s.seg_attr[S.DS] = MASK32, 0xC093
    m.call(load_segment, S.DS, 0x1234)
    assert m.segment(S.DS) == (0x1234, 0x12340, MASK32, 0xC093)


def test_a_real_mode_load_makes_a_nulled_segment_usable_again() -> None:
    m = Machine()
    m.s.seg_limit[S.GS], m.s.seg_attr[S.GS] = 0, 0
    m.call(load_segment, S.GS, 0xB800)
    assert m.segment(S.GS) == (0xB800, 0xB8000, 0xFFFF, 0x93)


def test_a_protected_load_unpacks_the_descriptor_and_marks_it_accessed() -> None:
    m = Protected()
    m.describe(GDT, SPARE, 0x12345678, 0x2FFFF, 0x92, 0x4)
    m.call(load_segment, S.DS, SPARE)
    assert m.segment(S.DS) == (SPARE, 0x12345678, 0x2FFFF, 0x4093)
    assert m.ram[GDT + SPARE + 5] == 0x93


def test_granularity_scales_the_limit() -> None:
    m = Protected()
    m.describe(GDT, SPARE, 0, 0x0, 0x93, 0xC)
    m.call(load_segment, S.DS, SPARE)
    assert m.s.seg_limit[S.DS] == 0xFFF


def test_a_selector_may_name_the_ldt() -> None:
    m = Protected()
    m.describe(LDT_AT, 0x08, 0x5000, 0xFF, 0x93)
    m.call(load_segment, S.ES, 0x0C)
    assert m.segment(S.ES) == (0x0C, 0x5000, 0xFF, 0x4093)
    m.s.seg_attr[S.LDTR] = 0
    assert load(m, S.ES, 0x0F) == (S.GP, 0x0C)


def test_a_selector_beyond_its_table_names_itself_in_the_error_code() -> None:
    m = Protected()
    m.s.gdtr_limit = SPARE + 6
    assert load(m, S.DS, SPARE + 3) == (S.GP, SPARE)
    assert load(m, S.SS, SPARE) == (S.GP, SPARE)


@pytest.mark.parametrize("selector", [0, 1, 2, 3])
def test_null_loads_into_data_segments_but_not_into_ss(selector: int) -> None:
    m = Protected()
    m.call(load_segment, S.FS, selector)
    assert (m.s.seg_sel[S.FS], m.s.seg_attr[S.FS]) == (selector, 0)
    assert load(m, S.SS, selector) == (S.GP, 0)


@pytest.mark.parametrize(
    ("level", "selector_rpl", "access_byte", "expected"),
    [
        (0, 0, 0x93, None),
        (0, 3, 0x93, (S.GP, SPARE)),  # RPL above DPL
        (3, 3, 0x93, (S.GP, SPARE)),  # CPL above DPL
        (3, 0, 0xF3, None),
        (3, 3, 0x9F, None),  # conforming code has no privilege check
        (3, 3, 0x9B, (S.GP, SPARE)),
        (3, 3, 0xFB, None),
        (0, 0, 0x99, (S.GP, SPARE)),  # execute-only
        (0, 0, 0x89, (S.GP, SPARE)),  # a TSS
        (0, 0, 0x13, (S.NP, SPARE)),
    ],
)
def test_data_segment_checks(level: int, selector_rpl: int, access_byte: int, expected: tuple[int, int] | None) -> None:
    m = Protected(level)
    m.describe(GDT, SPARE, 0, 0xFFFF, access_byte)
    before = m.segment(S.DS)
    assert load(m, S.DS, SPARE | selector_rpl) == expected
    assert (m.segment(S.DS) == before) == (expected is not None)


@pytest.mark.parametrize(
    ("level", "selector_rpl", "access_byte", "expected"),
    [
        (0, 0, 0x93, None),
        (0, 1, 0x93, (S.GP, SPARE)),
        (3, 3, 0x93, (S.GP, SPARE)),
        (0, 0, 0xF3, (S.GP, SPARE)),
        (0, 0, 0x91, (S.GP, SPARE)),
        (0, 0, 0x9B, (S.GP, SPARE)),
        (0, 0, 0x13, (S.SS_, SPARE)),
    ],
)
def test_stack_segment_checks(
    level: int, selector_rpl: int, access_byte: int, expected: tuple[int, int] | None
) -> None:
    m = Protected(level)
    m.describe(GDT, SPARE, 0, 0xFFFF, access_byte)
    assert load(m, S.SS, SPARE | selector_rpl) == expected


def test_virtual_8086_loads_make_64_kib_segments() -> None:
    m = Protected(3)
    m.virtual_8086()
    m.s.seg_limit[S.ES] = 5
    m.call(load_segment, S.ES, 0xFFFF)
    assert m.segment(S.ES) == (0xFFFF, 0xFFFF0, 0xFFFF, 0xF3)


def test_mov_ss_holds_interrupts_off_and_lss_does_not() -> None:
    m = Protected()
    m.s.gpr[S.EAX] = DATA0
    m.execute(b"\x8e\xd0")  # mov ss, ax
    assert m.s.shadow == 2
    m.s.shadow = 0
    m.poke(0x8000, "IH", 0x1234, DATA0)
    m.execute(b"\x0f\xb2\x25\x00\x80\x00\x00")  # lss esp, [8000h]
    assert (m.s.shadow, m.esp, m.s.seg_sel[S.SS]) == (0, 0x1234, DATA0)


def test_mov_cs_is_undefined() -> None:
    m = Protected()
    assert fault_of(lambda: m.execute(b"\x8e\xc8")) == (S.UD, 0)


def test_a_faulting_pop_of_a_segment_register_leaves_esp() -> None:
    m = Protected()
    m.poke(m.esp, "I", SPARE)
    before = m.esp
    assert fault_of(lambda: m.execute(b"\x1f")) == (S.GP, SPARE)  # pop ds
    assert m.esp == before
    m.poke(m.esp, "I", DATA0)
    m.execute(b"\x1f")
    assert m.esp == before + 4


def test_pop_ss_moves_the_pointer_by_the_old_stack_size() -> None:
    m = Protected()
    m.describe(GDT, SPARE, 0, 0xFFFF, 0x93, 0)
    m.esp = 0x1FFFC
    m.poke(0x1FFFC, "I", SPARE)
    m.execute(b"\x17")
    assert (m.esp, m.s.shadow) == (0x20000, 2)


def test_enter_on_a_16_bit_stack_pushes_the_whole_frame_pointer() -> None:
    m = Protected()
    m.describe(GDT, SPARE, 0, 0xFFFF, 0x93, 0)
    m.call(load_segment, S.SS, SPARE)
    m.esp = 0x20000
    m.s.gpr[S.EBP] = 0x77777777
    m.execute(b"\xc8\x08\x00\x01")  # enter 8, 1
    assert (m.esp, m.s.gpr[S.EBP]) == (0x2FFF0, 0x2FFFC)
    assert m.peek(0xFFF8, "II") == (0x2FFFC, 0x77777777)


# --- system segments


def test_ltr_marks_the_tss_busy() -> None:
    m = Protected()
    m.describe(GDT, SPARE, 0x6000, 0x67, 0x89, 0)
    m.s.gpr[S.EAX] = SPARE
    m.execute(b"\x0f\x00\xd8")  # ltr ax
    assert m.segment(S.TR) == (SPARE, 0x6000, 0x67, 0x8B)
    assert m.ram[GDT + SPARE + 5] == 0x8B
    assert fault_of(lambda: m.execute(b"\x0f\x00\xd8")) == (S.GP, SPARE)


def test_lldt_takes_null_and_only_ldt_descriptors() -> None:
    m = Protected()
    m.s.gpr[S.EAX] = DATA0
    assert fault_of(lambda: m.execute(b"\x0f\x00\xd0")) == (S.GP, DATA0)
    m.s.gpr[S.EAX] = 0
    m.execute(b"\x0f\x00\xd0")
    assert m.s.seg_attr[S.LDTR] == 0
    m.s.gpr[S.EAX] = LDT_SEL
    m.execute(b"\x0f\x00\xd0")
    assert m.segment(S.LDTR) == (LDT_SEL, LDT_AT, 0xFF, 0x82)
    m.s.cpl = 3
    assert fault_of(lambda: m.execute(b"\x0f\x00\xd0")) == (S.GP, 0)


def test_lldt_is_undefined_in_real_and_virtual_8086_mode() -> None:
    m = Machine()
    m.real_mode()
    assert fault_of(lambda: m.execute(b"\x0f\x00\xd0")) == (S.UD, 0)
    v = Protected(3)
    v.virtual_8086()
    assert fault_of(lambda: v.execute(b"\x0f\x00\xd0")) == (S.UD, 0)


def zf(m: Machine) -> bool:
    return bool(m.s.cc_z == 0)


def test_lar_and_lsl_show_a_descriptor_only_to_those_who_may_see_it() -> None:
    m = Protected(3)
    m.s.gpr[S.EAX], m.s.gpr[S.ECX] = CODE3, 0x55
    m.execute(b"\x0f\x02\xc8")  # lar ecx, eax
    assert zf(m) and m.s.gpr[S.ECX] == 0x00C0FB00
    m.execute(b"\x0f\x03\xc8")  # lsl ecx, eax
    assert zf(m) and m.s.gpr[S.ECX] == MASK32
    m.s.gpr[S.EAX], m.s.gpr[S.ECX] = DATA0, 0x55
    m.execute(b"\x0f\x02\xc8")
    assert not zf(m) and m.s.gpr[S.ECX] == 0x55


def test_lsl_knows_no_gates_and_lar_no_interrupt_gates() -> None:
    m = Protected()
    m.s.gpr[S.EAX] = SPARE
    m.gate(GDT + SPARE, CODE0, 0, 0x8C)
    m.execute(b"\x0f\x02\xc8")
    assert zf(m)
    m.execute(b"\x0f\x03\xc8")
    assert not zf(m)
    m.gate(GDT + SPARE, CODE0, 0, 0x8E)
    m.execute(b"\x0f\x02\xc8")
    assert not zf(m)


@pytest.mark.parametrize(
    ("access_byte", "readable", "writable"),
    [(0x91, True, False), (0x93, True, True), (0x99, False, False), (0x9B, True, False), (0x89, False, False)],
)
def test_verr_and_verw(access_byte: int, readable: bool, writable: bool) -> None:
    m = Protected()
    m.describe(GDT, SPARE, 0, 0xFFFF, access_byte)
    m.s.gpr[S.EAX] = SPARE
    m.execute(b"\x0f\x00\xe0")
    assert zf(m) == readable
    m.execute(b"\x0f\x00\xe8")
    assert zf(m) == writable


def test_arpl_raises_the_rpl() -> None:
    m = Protected()
    m.s.gpr[S.EAX], m.s.gpr[S.ECX] = 0x10, 0x0B
    m.execute(b"\x63\xc8")  # arpl ax, cx
    assert zf(m) and m.s.gpr[S.EAX] == 0x13
    m.execute(b"\x63\xc8")
    assert not zf(m)


# --- ports


def test_the_io_bitmap_decides_for_code_above_iopl() -> None:
    m = Protected(3)
    m.poke(TSS_AT + 0x66, "H", 0x100)
    m.poke(TSS_AT + 0x100 + 0x3F8 // 8, "BB", 0xFF & ~1, 0xFF)
    assert fault_of(lambda: m.call(io_check, 0x3F8, 1)) is None
    assert fault_of(lambda: m.call(io_check, 0x3F8, 2)) == (S.GP, 0)
    assert fault_of(lambda: m.call(io_check, 0x3F9, 1)) == (S.GP, 0)
    m.s.eflags |= 3 << S.FLAG_IOPL
    assert fault_of(lambda: m.call(io_check, 0x3F9, 1)) is None
    m.s.eflags |= 1 << S.FLAG_VM
    assert fault_of(lambda: m.call(io_check, 0x3F9, 1)) == (S.GP, 0)


def test_a_port_beyond_the_end_of_the_tss_is_forbidden() -> None:
    m = Protected(3)
    m.poke(TSS_AT + 0x66, "H", 0xFF0)
    assert fault_of(lambda: m.call(io_check, 14 * 8 + 7, 1)) is None
    assert fault_of(lambda: m.call(io_check, 15 * 8, 1)) == (S.GP, 0)


# --- far JMP


def jump(m: Machine, selector: int, offset: int) -> tuple[int, int] | None:
    return fault_of(lambda: m.call(far_jump, selector, offset, 0x7007))


def test_a_far_jump_in_real_mode_keeps_the_limit_and_checks_it() -> None:
    m = Machine()
    m.real_mode()
    assert jump(m, 0x3000, 0x10000) == (S.GP, 0)
    assert jump(m, 0x3000, 0x55) is None
    assert (m.segment(S.CS), m.s.eip) == ((0x3000, 0x30000, 0xFFFF, 0x93), 0x55)


@pytest.mark.parametrize(
    ("level", "selector", "access_byte", "expected"),
    [
        (0, SPARE, 0x9B, None),
        (0, SPARE | 3, 0x9B, (S.GP, SPARE)),  # RPL above CPL
        (3, SPARE, 0xFB, None),  # RPL below CPL is fine
        (3, SPARE | 3, 0x9B, (S.GP, SPARE)),  # nonconforming needs DPL = CPL
        (3, SPARE | 3, 0x9F, None),  # conforming: any DPL up to CPL
        (0, SPARE, 0xFF, (S.GP, SPARE)),
        (0, SPARE, 0x93, (S.GP, SPARE)),
        (0, SPARE, 0x1B, (S.NP, SPARE)),
        (0, 0, 0x9B, (S.GP, 0)),
        (0, SPARE, 0x8E, (S.GP, SPARE)),  # interrupt gates are for interrupts
    ],
)
def test_far_jump_checks(level: int, selector: int, access_byte: int, expected: tuple[int, int] | None) -> None:
    m = Protected(level)
    m.describe(GDT, SPARE, 0x10000, 0xFFFF, access_byte)
    assert jump(m, selector, 0x1234) == expected
    if expected is None:
        assert (m.s.seg_sel[S.CS], m.s.eip, m.s.cpl) == (SPARE | level, 0x1234, level)


def test_a_far_jump_beyond_the_new_limit_leaves_everything() -> None:
    m = Protected()
    m.describe(GDT, SPARE, 0, 0xFF, 0x9B)
    before = m.s.as_dict()
    assert jump(m, SPARE, 0x100) == (S.GP, 0)
    assert m.s.as_dict() == before


def test_a_jump_through_a_16_bit_call_gate_ignores_the_upper_offset_word() -> None:
    m = Protected()
    m.gate(GDT + SPARE, CODE0, 0xABCD1234, 0x84)
    assert jump(m, SPARE, 0x99999999) is None
    assert (m.s.seg_sel[S.CS], m.s.eip) == (CODE0, 0x1234)
    m.gate(GDT + SPARE, CODE0, 0x00011234, 0x8C)
    assert jump(m, SPARE, 0) is None
    assert m.s.eip == 0x11234


def test_a_jump_cannot_change_the_privilege_level() -> None:
    m = Protected(3)
    m.gate(GDT + SPARE, CODE0, 0x1234, 0xEC)
    assert jump(m, SPARE | 3, 0) == (S.GP, CODE0)


# --- far CALL and RET


def call(m: Machine, selector: int, offset: int = 0x1234, size: int = 4) -> tuple[int, int] | None:
    return fault_of(lambda: m.call(far_call, size, selector, offset, 0x7007))


def test_a_far_call_in_real_mode_pushes_cs_and_ip() -> None:
    m = Machine()
    m.real_mode()
    m.s.gpr[S.ESP] = 0xABCD0100
    assert call(m, 0x3000, 0x55, 2) is None
    assert m.peek(0x200FC, "HH") == (0x7007, 0x1000)
    assert (m.esp, m.s.seg_sel[S.CS], m.s.eip) == (0xABCD00FC, 0x3000, 0x55)


def test_a_far_call_to_the_same_level_and_back() -> None:
    m = Protected()
    top = m.esp
    assert call(m, CONFORMING) is None
    assert m.peek(top - 8, "II") == (0x7007, CODE0)
    assert (m.esp, m.s.seg_sel[S.CS], m.s.eip) == (top - 8, CONFORMING, 0x1234)
    m.call(far_return, 4, 0)
    assert (m.esp, m.s.seg_sel[S.CS], m.s.eip) == (top, CODE0, 0x7007)


def test_a_far_call_without_room_on_the_stack_faults_and_leaves_the_registers() -> None:
    m = Protected()
    m.s.seg_limit[S.SS] = 0x3
    m.esp = 4
    before = m.s.as_dict()
    assert call(m, CODE0) == (S.SS_, 0)
    assert m.s.as_dict() == before


def gate_to_level_0(m: Protected, access_byte: int, count: int) -> None:
    m.gate(GDT + SPARE, CODE0, 0x00012345, access_byte, count)
    m.poke(STACK3, "IIII", 0x11111111, 0x22222222, 0x33333333, 0x44444444)


def test_a_call_gate_to_an_inner_level_switches_stacks_and_copies_parameters() -> None:
    m = Protected(3)
    gate_to_level_0(m, 0xEC, 2)
    assert call(m, SPARE | 3) is None
    assert (m.s.cpl, m.s.seg_sel[S.CS], m.s.eip) == (0, CODE0, 0x12345)
    assert (m.s.seg_sel[S.SS], m.esp) == (DATA0, STACK0 - 24)
    assert m.peek(STACK0 - 24, "6I") == (0x7007, CODE3, 0x11111111, 0x22222222, STACK3, DATA3)
    m.call(far_return, 4, 8)
    assert (m.s.cpl, m.s.seg_sel[S.CS], m.s.eip) == (3, CODE3, 0x7007)
    assert (m.s.seg_sel[S.SS], m.esp) == (DATA3, STACK3 + 8)


def test_a_16_bit_call_gate_pushes_words_and_cuts_its_offset() -> None:
    m = Protected(3)
    gate_to_level_0(m, 0xE4, 2)
    assert call(m, SPARE | 3) is None
    assert (m.s.eip, m.esp) == (0x2345, STACK0 - 12)
    assert m.peek(STACK0 - 12, "6H") == (0x7007, CODE3, 0x1111, 0x1111, STACK3, DATA3)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda m: m.gate(GDT + SPARE, CODE0, 0, 0x8C), (S.GP, SPARE)),  # gate DPL below CPL
        (lambda m: m.gate(GDT + SPARE, CODE0, 0, 0x6C), (S.NP, SPARE)),
        (lambda m: m.gate(GDT + SPARE, 0, 0, 0xEC), (S.GP, 0)),
        (lambda m: m.gate(GDT + SPARE, DATA0, 0, 0xEC), (S.GP, DATA0)),
        (lambda m: m.poke(TSS_AT + 8, "H", 0), (S.TS, 0)),
        (lambda m: m.poke(TSS_AT + 8, "H", DATA3), (S.TS, DATA3 & ~3)),
        (lambda m: m.poke(TSS_AT + 8, "H", CODE0), (S.TS, CODE0)),
        (lambda m: m.describe(GDT, DATA0, 0, 0xFFFFF, 0x13, 0xC), (S.SS_, DATA0)),
        (lambda m: m.describe(GDT, DATA0, 0, 0x10, 0x93, 0x4), (S.SS_, DATA0)),
        (lambda m: m.s.seg_limit.__setitem__(S.TR, 8), (S.TS, TSS_SEL)),
        (lambda m: m.describe(GDT, CODE0, 0, 0x10, 0x9B, 0x4), (S.GP, 0)),
    ],
)
def test_what_can_go_wrong_with_a_call_to_an_inner_level(change: object, expected: tuple[int, int]) -> None:
    m = Protected(3)
    gate_to_level_0(m, 0xEC, 0)
    change(m)  # type: ignore[operator]
    before = m.s.as_dict()
    assert call(m, SPARE | 3) == expected
    assert m.s.as_dict() == before


def test_a_far_return_cannot_go_inwards() -> None:
    m = Protected(3)
    m.poke(STACK3, "II", 0x1234, CODE0)
    assert fault_of(lambda: m.call(far_return, 4, 0)) == (S.GP, CODE0)


def test_a_return_outwards_drops_data_segments_the_outer_level_may_not_have() -> None:
    m = Protected()
    m.s.seg_sel[S.ES], m.s.seg_attr[S.ES] = DATA3, 0xC0F3
    m.s.seg_sel[S.FS], m.s.seg_attr[S.FS] = CONFORMING, 0xC09F
    m.poke(m.esp, "4I", 0x1234, CODE3, STACK3, DATA3)
    m.call(far_return, 4, 0)
    assert (m.s.cpl, m.esp, m.s.eip) == (3, STACK3, 0x1234)
    assert (m.s.seg_sel[S.DS], m.s.seg_attr[S.DS]) == (0, 0)
    assert (m.s.seg_sel[S.ES], m.s.seg_sel[S.FS]) == (DATA3, CONFORMING)


def test_a_return_to_a_16_bit_stack_keeps_the_upper_half_of_esp() -> None:
    m = Protected()
    m.describe(GDT, SPARE, 0, 0xFFFF, 0xF3, 0)
    m.esp = 0x00018000
    m.poke(m.esp, "4I", 0x1234, CODE3, 0xDEAD4000, SPARE | 3)
    m.call(far_return, 4, 0)
    assert m.esp == 0x00014000


# --- control, debug and model-specific registers


def test_paging_without_protection_is_refused() -> None:
    m = Machine()
    m.real_mode()
    m.s.gpr[S.EAX] = 0x80000010
    assert fault_of(lambda: m.execute(b"\x0f\x22\xc0")) == (S.GP, 0)
    m.s.gpr[S.EAX] = 0x20000000
    assert fault_of(lambda: m.execute(b"\x0f\x22\xc0")) == (S.GP, 0)
    m.s.gpr[S.EAX] = 1
    m.execute(b"\x0f\x22\xc0")
    assert m.s.cr0 == 0x11
    assert m.flushes == [1]


def test_cr4_takes_only_what_the_model_has() -> None:
    m = Protected(model="486")
    m.s.gpr[S.EAX] = 1 << S.CR4_PSE
    m.execute(b"\x0f\x22\xe0")
    assert m.s.cr4 == 1 << S.CR4_PSE
    m.s.gpr[S.EAX] = 1 << S.CR4_PAE
    assert fault_of(lambda: m.execute(b"\x0f\x22\xe0")) == (S.GP, 0)


def test_control_registers_that_do_not_exist_are_undefined() -> None:
    m = Protected()
    assert fault_of(lambda: m.execute(b"\x0f\x20\xc8")) == (S.UD, 0)  # cr1
    assert fault_of(lambda: m.execute(b"\x0f\x20\xe8")) == (S.UD, 0)  # cr5
    m.s.cpl = 3
    assert fault_of(lambda: m.execute(b"\x0f\x20\xc0")) == (S.GP, 0)


def test_lmsw_cannot_clear_pe() -> None:
    m = Protected()
    m.s.gpr[S.EAX] = 0xE
    m.execute(b"\x0f\x01\xf0")
    assert m.s.cr0 == 0x1F


def test_debug_registers_keep_their_reserved_bits_and_dr4_means_dr6() -> None:
    m = Protected()
    m.s.gpr[S.EAX] = MASK32
    m.execute(b"\x0f\x23\xf0")
    assert m.s.dr[6] == 0xFFFFEFFF
    m.s.gpr[S.EAX] = 0x0000D000
    m.execute(b"\x0f\x23\xf8")
    assert m.s.dr[7] == 0x400
    m.execute(b"\x0f\x21\xe1")
    assert m.s.gpr[S.ECX] == 0xFFFFEFFF
    m.s.cr4 = 1 << S.CR4_DE
    assert fault_of(lambda: m.execute(b"\x0f\x21\xe1")) == (S.UD, 0)


def test_the_general_detect_bit_guards_the_debug_registers() -> None:
    m = Protected()
    m.s.dr[7] |= 1 << 13
    assert fault_of(lambda: m.execute(b"\x0f\x21\xc1")) == (S.DB, 0)
    assert m.s.dr[6] & 1 << 13


def test_an_unknown_msr_faults_and_is_reported() -> None:
    m = Protected()
    m.s.gpr[S.ECX] = 0xDEAD
    assert fault_of(lambda: m.execute(b"\x0f\x32")) == (S.GP, 0)
    assert ("unimplemented", 1, 0xDEAD) in m.log


def test_the_time_stamp_counter_can_be_written() -> None:
    m = Protected()
    m.ns = 5000
    m.s.gpr[S.ECX], m.s.gpr[S.EAX], m.s.gpr[S.EDX] = 0x10, 7, 1
    m.execute(b"\x0f\x30")
    m.execute(b"\x0f\x31")
    assert (m.s.gpr[S.EAX], m.s.gpr[S.EDX]) == (7, 1)
    m.s.cr4 = 1 << S.CR4_TSD
    m.s.cpl = 3
    assert fault_of(lambda: m.execute(b"\x0f\x31")) == (S.GP, 0)


def test_the_time_stamp_counter_grows_with_time_but_not_in_equal_steps() -> None:
    m = Protected()
    seen = []
    for m.ns in range(0, 5000, 10):
        m.execute(b"\x0f\x31")
        seen.append(m.s.gpr[S.EAX])
    assert all(0 <= ticks - 10 * k < 10 for k, ticks in enumerate(seen))
    steps = [b - a for a, b in pairwise(seen)]
    assert min(steps) > 0 and len(set(steps)) == 15


@pytest.mark.parametrize(
    ("byte", "ok"), [(0, True), (1, True), (2, False), (3, False), (4, True), (7, True), (8, False), (0x86, False)]
)
def test_the_pat_takes_valid_memory_types_only(byte: int, ok: bool) -> None:
    m = Protected()
    m.s.gpr[S.ECX], m.s.gpr[S.EAX], m.s.gpr[S.EDX] = 0x277, byte << 16, 0
    assert fault_of(lambda: m.execute(b"\x0f\x30")) == (None if ok else (S.GP, 0))


def test_sysenter_and_sysexit_use_flat_segments() -> None:
    m = Protected(3)
    m.s.msr_sysenter_cs, m.s.msr_sysenter_esp, m.s.msr_sysenter_eip = CODE0, 0x1111, 0x2222
    m.s.eflags |= 1 << S.FLAG_IF
    m.execute(b"\x0f\x34")
    assert (m.s.cpl, m.s.eip, m.esp) == (0, 0x2222, 0x1111)
    assert m.segment(S.CS) == (CODE0, 0, MASK32, 0xC09B)
    assert m.segment(S.SS) == (CODE0 + 8, 0, MASK32, 0xC093)
    assert not m.s.eflags & 1 << S.FLAG_IF
    m.s.gpr[S.ECX], m.s.gpr[S.EDX] = 0x3333, 0x4444
    m.execute(b"\x0f\x35")
    assert (m.s.cpl, m.s.eip, m.esp) == (3, 0x4444, 0x3333)
    assert m.segment(S.CS) == (CODE0 + 16 | 3, 0, MASK32, 0xC0FB)
    m.s.msr_sysenter_cs = 3
    assert fault_of(lambda: m.execute(b"\x0f\x34")) == (S.GP, 0)


# --- flags


def test_cli_and_sti_obey_iopl() -> None:
    m = Protected(3)
    assert fault_of(lambda: m.execute(b"\xfa")) == (S.GP, 0)
    m.s.eflags |= 3 << S.FLAG_IOPL
    m.execute(b"\xfb")
    assert m.s.eflags & 1 << S.FLAG_IF and m.s.shadow == 1
    m.s.shadow = 0
    m.execute(b"\xfb")
    assert m.s.shadow == 0  # only the STI that sets IF holds interrupts off


def test_protected_virtual_interrupts_give_level_3_a_flag_of_its_own() -> None:
    m = Protected(3)
    m.s.cr4 = 1 << S.CR4_PVI
    m.execute(b"\xfb")
    assert m.s.eflags & 1 << S.FLAG_VIF and not m.s.eflags & 1 << S.FLAG_IF
    m.execute(b"\xfa")
    assert not m.s.eflags & 1 << S.FLAG_VIF
    m.s.eflags |= 1 << S.FLAG_VIP
    assert fault_of(lambda: m.execute(b"\xfb")) == (S.GP, 0)


ALL_FLAGS = 0x003F7FD7


@pytest.mark.parametrize(
    ("level", "iopl", "changed"),
    [(0, 0, 0x00247FD5), (3, 3, 0x00244FD5), (3, 0, 0x00244DD5)],
)
def test_popfd_changes_what_the_privilege_level_allows(level: int, iopl: int, changed: int) -> None:
    m = Protected(level)
    m.s.eflags = 2 | iopl << S.FLAG_IOPL
    m.poke(m.esp, "I", ALL_FLAGS)
    m.execute(b"\x9d")
    m.execute(b"\x9c")
    assert m.peek(m.esp, "I") == changed | 2 | iopl << S.FLAG_IOPL


def test_pushf_in_virtual_8086_mode_needs_iopl_3_or_vme() -> None:
    m = Protected(3)
    m.virtual_8086(iopl=0)
    assert fault_of(lambda: m.execute(b"\x9c")) == (S.GP, 0)
    m.s.cr4 = 1 << S.CR4_VME
    m.s.eflags = m.s.eflags & ~(1 << S.FLAG_IF) | 1 << S.FLAG_VIF
    m.execute(b"\x9c")
    assert m.peek(0x200FE, "H") == 2 | 3 << S.FLAG_IOPL | 1 << S.FLAG_IF
    assert fault_of(lambda: m.execute(b"\x66\x9c")) == (S.GP, 0)


def test_popf_with_vme_moves_if_to_vif() -> None:
    m = Protected(3)
    m.virtual_8086(iopl=0)
    m.s.cr4 = 1 << S.CR4_VME
    m.poke(0x20100, "H", 1 << S.FLAG_IF)
    m.execute(b"\x9d")
    assert m.s.eflags & 1 << S.FLAG_VIF
    m.s.eflags |= 1 << S.FLAG_VIP
    m.poke(0x20102, "H", 1 << S.FLAG_IF)
    assert fault_of(lambda: m.execute(b"\x9d")) == (S.GP, 0)
    m.poke(0x20102, "H", 1 << S.FLAG_TF)
    assert fault_of(lambda: m.execute(b"\x9d")) == (S.GP, 0)


def test_lahf_and_sahf_carry_the_low_flags() -> None:
    m = Protected()
    m.s.gpr[S.EAX] = 0xD500
    m.execute(b"\x9e")
    m.s.gpr[S.EAX] = 0
    m.execute(b"\x9f")
    assert m.s.gpr[S.EAX] == 0xD700


def test_bound_is_signed_and_includes_both_ends() -> None:
    m = Protected()
    m.poke(0x8000, "ii", -5, 5)
    for index, ok in ((-5, True), (5, True), (-6, False), (6, False)):
        m.s.gpr[S.EAX] = index & MASK32
        got = fault_of(lambda: m.execute(b"\x62\x05\x00\x80\x00\x00"))
        assert got == (None if ok else (S.BR, 0))


def test_hlt_is_for_level_0() -> None:
    m = Protected()
    m.execute(b"\xf4")
    assert m.s.halted == 1
    m = Protected(3)
    assert fault_of(lambda: m.execute(b"\xf4")) == (S.GP, 0)


def test_lgdt_with_16_bit_operands_takes_24_bits_of_base_and_sgdt_stores_32() -> None:
    m = Machine()
    m.real_mode()
    m.poke(0x500, "HI", 0x1234, 0xABCDEF01)
    m.s.seg_base[S.DS] = 0
    m.execute(b"\x0f\x01\x16\x00\x05")
    assert (m.s.gdtr_limit, m.s.gdtr_base) == (0x1234, 0xCDEF01)
    m.execute(b"\x66\x0f\x01\x16\x00\x05")
    m.execute(b"\x0f\x01\x06\x00\x06")
    assert m.peek(0x600, "HI") == (0x1234, 0xABCDEF01)


def test_arpl_writes_only_when_it_raises_the_rpl_and_so_passes_read_only_data() -> None:
    m = Protected()
    m.describe(GDT, SPARE, 0x8000, 0xFF, 0x91)
    m.call(load_segment, S.DS, SPARE)
    m.poke(0x8000, "H", 0x13)
    m.s.gpr[S.EBX] = 2
    arpl = b"\x63\x1d\x00\x00\x00\x00"  # arpl [0], bx
    m.execute(arpl)
    assert m.peek(0x8000, "H") == 0x13
    m.poke(0x8000, "H", 0x10)
    assert fault_of(lambda: m.execute(arpl)) == (S.GP, 0)
