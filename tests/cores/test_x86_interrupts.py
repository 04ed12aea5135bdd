"""Interrupt delivery and IRET in every mode, against SDM vol. 3, chapters 6 and 20."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cores.x86 import state as S
from cores.x86.interrupts import DIRECT, EXCEPTION, EXTERNAL, SOFTWARE, deliver, software_interrupt
from cores.x86.transfer import interrupt_return
from tests.cores.system_machine import (
    CODE0,
    CODE3,
    CONFORMING,
    DATA0,
    DATA3,
    GDT,
    IDT,
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

IF, TF, NT, RF, VM, VIF, VIP = (
    1 << b for b in (S.FLAG_IF, S.FLAG_TF, S.FLAG_NT, S.FLAG_RF, S.FLAG_VM, S.FLAG_VIF, S.FLAG_VIP)
)


def take(m: Machine, vector: int, kind: int = EXTERNAL, error: int = 0, eip: int = 0x7002) -> tuple[int, int] | None:
    return fault_of(lambda: m.call(deliver, vector, error, kind, eip))


def iret(m: Machine, size: int = 4) -> tuple[int, int] | None:
    return fault_of(lambda: m.call(interrupt_return, size, 0x7001))


# --- real mode


def test_real_mode_pushes_flags_cs_ip_and_clears_if_and_tf() -> None:
    m = Machine()
    m.real_mode()
    m.poke(0x21 * 4, "HH", 0x5555, 0x6000)
    m.s.eflags = 2 | IF | TF | NT
    assert take(m, 0x21, SOFTWARE, eip=0x102) is None
    assert m.peek(0x200FA, "3H") == (0x102, 0x1000, 2 | IF | TF | NT)
    assert (m.s.seg_sel[S.CS], m.s.seg_base[S.CS], m.s.eip, m.esp) == (0x6000, 0x60000, 0x5555, 0xFA)
    assert m.s.eflags == 2 | NT


def test_real_mode_pushes_no_error_code() -> None:
    m = Machine()
    m.real_mode()
    assert take(m, S.GP, EXCEPTION, 0x18) is None
    assert m.esp == 0x100 - 6


def test_a_vector_beyond_the_idtr_limit_is_a_general_protection_fault() -> None:
    m = Machine()
    m.real_mode()
    m.s.idtr_limit = 0x20 * 4 + 2
    assert take(m, 0x1F) is None
    before = m.s.as_dict()
    got = take(m, 0x20)
    assert got is not None and got[0] == S.GP
    assert m.s.as_dict() == before


def test_a_16_bit_stack_wraps_and_a_word_across_its_end_faults() -> None:
    m = Machine()
    m.real_mode(sp=4)
    assert take(m, 0x21, SOFTWARE, eip=0x102) is None
    assert m.esp == 0xFFFE
    assert m.peek(0x2FFFE, "H") == 0x102
    m.real_mode(sp=1)
    assert take(m, 0x21, SOFTWARE) == (S.SS_, 0)


def test_an_interrupt_wakes_a_halted_cpu() -> None:
    m = Machine()
    m.real_mode()
    m.s.halted, m.s.shadow = 1, 2
    assert take(m, 8) is None
    assert (m.s.halted, m.s.shadow) == (0, 0)


@pytest.mark.parametrize("size", [2, 4])
def test_real_mode_iret_restores_what_the_interrupt_saved(size: int) -> None:
    m = Machine()
    m.real_mode()
    m.s.nmi_blocked = 1
    m.poke(0x20100, "3H" if size == 2 else "3I", 0x1234, 0x3000, 0x7FD7)
    assert iret(m, size) is None
    assert (m.s.seg_sel[S.CS], m.s.eip, m.esp) == (0x3000, 0x1234, 0x100 + 3 * size)
    assert m.s.eflags == 0x7FD7 & ~0x8D5
    assert m.s.cf == 1
    assert m.s.nmi_blocked == 0


def test_real_mode_iretd_checks_the_limit() -> None:
    m = Machine()
    m.real_mode()
    m.poke(0x20100, "3I", 0x10000, 0x3000, 2)
    assert iret(m) == (S.GP, 0)


# --- protected mode, same level


@pytest.mark.parametrize(("access", "if_after"), [(0x8E, 0), (0x8F, IF)])
def test_interrupt_gates_clear_if_and_trap_gates_do_not(access: int, if_after: int) -> None:
    m = Protected()
    m.gate(IDT + 0x30 * 8, CODE0, 0x12345678, access)
    m.s.eflags = 2 | IF | TF | NT
    top = m.esp
    assert take(m, 0x30) is None
    assert m.peek(top - 12, "3I") == (0x7002, CODE0, 2 | IF | TF | NT)
    assert (m.s.eip, m.esp, m.s.eflags) == (0x12345678, top - 12, 2 | if_after)


def test_16_bit_gates_push_words_and_ignore_the_upper_offset_word() -> None:
    m = Protected()
    m.gate(IDT + 0x30 * 8, CODE0, 0xABCD5678, 0x86)
    top = m.esp
    assert take(m, 0x30) is None
    assert m.peek(top - 6, "3H") == (0x7002, CODE0, 2)
    assert (m.s.eip, m.esp) == (0x5678, top - 6)


@pytest.mark.parametrize("vector", range(20))
def test_only_some_exceptions_push_an_error_code(vector: int) -> None:
    m = Protected()
    m.gate(IDT + vector * 8, CODE0, 0x1000, 0x8E)
    top = m.esp
    assert take(m, vector, EXCEPTION, 0x55) is None
    pushed = vector in (S.DF_, S.TS, S.NP, S.SS_, S.GP, S.PF_, S.AC)
    assert m.esp == top - (16 if pushed else 12)
    if pushed:
        assert m.peek(m.esp, "I") == 0x55


@pytest.mark.parametrize("kind", [SOFTWARE, EXTERNAL, DIRECT])
def test_an_interrupt_never_pushes_an_error_code(kind: int) -> None:
    m = Protected()
    m.gate(IDT + S.GP * 8, CODE0, 0x1000, 0xEE)
    top = m.esp
    assert take(m, S.GP, kind, 0x55) is None
    assert m.esp == top - 12


def test_faults_set_rf_in_the_pushed_flags_and_interrupts_and_debug_traps_do_not() -> None:
    for vector, kind, rf in (
        (S.UD, EXCEPTION, RF),
        (S.PF_, EXCEPTION, RF),
        (S.DB, EXCEPTION, 0),
        (S.BP, SOFTWARE, 0),
        (0x40, EXTERNAL, 0),
    ):
        m = Protected()
        m.gate(IDT + vector * 8, CODE0, 0x1000, 0xEE)
        top = m.esp
        assert take(m, vector, kind) is None
        assert m.peek(top - 4, "I") == 2 | rf
        assert not m.s.eflags & RF


def test_gate_privilege_binds_software_interrupts_only() -> None:
    m = Protected(3)
    m.gate(IDT + 0x30 * 8, CODE0, 0x1000, 0x8E)
    m.gate(IDT + 0x01 * 8, CODE0, 0x1000, 0x8E)
    assert take(m, 0x30, SOFTWARE) == (S.GP, 0x30 * 8 + 2)
    assert take(m, 0x30, EXTERNAL) is None
    m = Protected(3)
    m.gate(IDT + 0x01 * 8, CODE0, 0x1000, 0x8E)
    assert fault_of(lambda: m.execute(b"\xf1")) is None  # int1
    assert m.s.cpl == 0


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda m: setattr(m.s, "idtr_limit", 0x30 * 8 + 6), (S.GP, 0x30 * 8 + 2)),
        (lambda m: m.gate(IDT + 0x30 * 8, CODE0, 0, 0x8C), (S.GP, 0x30 * 8 + 2)),
        (lambda m: m.gate(IDT + 0x30 * 8, CODE0, 0, 0x9E), (S.GP, 0x30 * 8 + 2)),
        (lambda m: m.gate(IDT + 0x30 * 8, CODE0, 0, 0x6E), (S.NP, 0x30 * 8 + 2)),
        (lambda m: m.gate(IDT + 0x30 * 8, 0, 0, 0xEE), (S.GP, 0)),
        (lambda m: m.gate(IDT + 0x30 * 8, DATA0, 0, 0xEE), (S.GP, DATA0)),
        (lambda m: m.gate(IDT + 0x30 * 8, 0x200, 0, 0xEE), (S.GP, 0x200)),
        (lambda m: m.describe(GDT, CODE0, 0, 0xFFFFF, 0x1B, 0xC), (S.NP, CODE0)),
        (lambda m: m.describe(GDT, CODE0, 0, 0xF, 0x9B, 0x4), (S.GP, 0)),
        (lambda m: m.poke(TSS_AT + 8, "H", 0), (S.TS, 0)),
        (lambda m: m.poke(TSS_AT + 8, "H", DATA3), (S.TS, DATA3 & ~3)),
        (lambda m: m.s.seg_limit.__setitem__(S.TR, 8), (S.TS, TSS_SEL)),
        (lambda m: m.describe(GDT, DATA0, 0, 0xFFFFF, 0x13, 0xC), (S.SS_, DATA0)),
        (lambda m: m.describe(GDT, DATA0, 0, 0xFF, 0x93, 0x4), (S.SS_, DATA0)),
    ],
)
def test_errors_of_delivery_carry_the_ext_bit_unless_the_program_asked(
    change: Callable[[Protected], None], expected: tuple[int, int]
) -> None:
    for kind, ext in ((SOFTWARE, 0), (EXTERNAL, 1), (EXCEPTION, 1)):
        m = Protected(3)
        m.gate(IDT + 0x30 * 8, CODE0, 0x100, 0xEE)
        change(m)
        before = m.s.as_dict()
        assert take(m, 0x30, kind) == (expected[0], expected[1] | ext)
        assert m.s.as_dict() == before


def test_no_room_on_the_current_stack_is_a_stack_fault_with_ext() -> None:
    m = Protected()
    m.gate(IDT + 0x30 * 8, CODE0, 0x100, 0x8E)
    m.s.seg_limit[S.SS], m.esp = 0x10, 8
    assert take(m, 0x30) == (S.SS_, 1)


# --- protected mode, inner level and back


def test_delivery_to_an_inner_level_switches_stacks_and_iret_goes_back() -> None:
    m = Protected(3)
    m.gate(IDT + S.PF_ * 8, CODE0, 0x100, 0x8E)
    m.s.eflags = 2 | IF
    assert take(m, S.PF_, EXCEPTION, 7) is None
    assert (m.s.cpl, m.s.seg_sel[S.CS], m.s.seg_sel[S.SS], m.esp) == (0, CODE0, DATA0, STACK0 - 24)
    assert m.peek(STACK0 - 24, "6I") == (7, 0x7002, CODE3, 2 | IF | RF, STACK3, DATA3)
    m.esp = STACK0 - 20
    assert iret(m) is None
    assert (m.s.cpl, m.s.seg_sel[S.CS], m.s.eip) == (3, CODE3, 0x7002)
    assert (m.s.seg_sel[S.SS], m.esp, m.s.eflags) == (DATA3, STACK3, 2 | IF | RF)


def test_a_conforming_handler_runs_at_the_level_of_the_program() -> None:
    m = Protected(3)
    m.gate(IDT + 0x30 * 8, CONFORMING, 0x100, 0x8E)
    assert take(m, 0x30) is None
    assert (m.s.cpl, m.s.seg_sel[S.CS], m.esp) == (3, CONFORMING | 3, STACK3 - 12)


def test_a_16_bit_tss_gives_16_bit_stack_pointers() -> None:
    m = Protected(3)
    m.s.seg_attr[S.TR] = 0x83
    m.poke(TSS_AT + 2, "HH", 0x8800, DATA0)
    m.gate(IDT + 0x30 * 8, CODE0, 0x100, 0x8E)
    assert take(m, 0x30) is None
    assert m.esp == 0x8800 - 20


def test_iret_at_an_outer_level_cannot_change_iopl_or_if() -> None:
    m = Protected(3)
    m.poke(m.esp, "3I", 0x1234, CODE3, 0x3F7FD7)
    assert iret(m) is None
    assert m.s.eflags == (0x3F7FD7 & ~0x8D5 & ~(VM | VIF | VIP | IF | 3 << S.FLAG_IOPL))


def test_iret_at_level_0_to_level_3_takes_if_and_iopl_from_the_image() -> None:
    m = Protected()
    m.poke(m.esp, "5I", 0x1234, CODE3, 2 | IF | 3 << S.FLAG_IOPL, STACK3, DATA3)
    assert iret(m) is None
    assert (m.s.cpl, m.s.eflags) == (3, 2 | IF | 3 << S.FLAG_IOPL)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ((0x1234, 0, 2, STACK3, DATA3), (S.GP, 0)),
        ((0x1234, DATA3, 2, STACK3, DATA3), (S.GP, DATA3 & ~3)),
        ((0x1234, CODE0 | 3, 2, STACK3, DATA3), (S.GP, CODE0)),
        ((0x1234, CODE3, 2, STACK3, 0), (S.GP, 0)),
        ((0x1234, CODE3, 2, STACK3, DATA0), (S.GP, DATA0)),
        ((0x1234, SPARE | 3, 2, STACK3, DATA3), (S.GP, 0)),
    ],
)
def test_bad_frames_for_iret(frame: tuple[int, ...], expected: tuple[int, int]) -> None:
    m = Protected()
    m.describe(GDT, SPARE, 0, 0xFF, 0xFB)
    m.poke(m.esp, "5I", *frame)
    before = m.s.as_dict()
    assert iret(m) == expected
    assert m.s.as_dict() == before


def test_nmi_blocks_nmis_until_iret() -> None:
    m = Protected()
    m.gate(IDT + 2 * 8, CODE0, 0x100, 0x8E)
    assert take(m, S.NMI, DIRECT) is None
    assert m.s.nmi_blocked == 1
    assert iret(m) is None
    assert m.s.nmi_blocked == 0


def test_a_debug_exception_clears_general_detect() -> None:
    m = Protected()
    m.gate(IDT + 1 * 8, CODE0, 0x100, 0x8E)
    m.s.dr[7] |= 1 << 13
    assert take(m, S.DB, EXCEPTION) is None
    assert m.s.dr[7] == 0x400


# --- virtual-8086 mode


def v86(iopl: int = 3, vme: bool = False) -> Protected:
    m = Protected(3)
    m.virtual_8086(iopl)
    m.s.cr4 = int(vme)
    m.gate(IDT + 0x21 * 8, CODE0, 0x12345, 0xEE)
    return m


def test_an_interrupt_from_virtual_8086_mode_saves_all_segments_and_iretd_restores_them() -> None:
    m = v86()
    assert take(m, 0x21, eip=0x102) is None
    flags = 2 | VM | IF | 3 << S.FLAG_IOPL
    assert m.peek(STACK0 - 36, "9I") == (0x102, 0x1000, flags, 0x100, 0x2000, 0x3000, 0x3001, 0x3002, 0x3003)
    assert (m.s.cpl, m.s.eip, m.s.eflags & VM) == (0, 0x12345, 0)
    assert [m.s.seg_attr[n] for n in (S.ES, S.DS, S.FS, S.GS)] == [0] * 4
    assert iret(m) is None
    assert (m.s.cpl, m.s.eip, m.s.eflags, m.esp) == (3, 0x102, flags, 0x100)
    assert m.segment(S.GS) == (0x3003, 0x30030, 0xFFFF, 0xF3)
    assert m.segment(S.CS)[:2] == (0x1000, 0x10000)
    assert m.segment(S.SS)[:2] == (0x2000, 0x20000)


def test_a_handler_for_virtual_8086_mode_must_be_nonconforming_level_0() -> None:
    m = v86()
    m.gate(IDT + 0x21 * 8, CONFORMING, 0x100, 0xEE)
    assert take(m, 0x21) == (S.GP, CONFORMING | 1)
    m.gate(IDT + 0x21 * 8, CODE3, 0x100, 0xEE)
    assert take(m, 0x21) == (S.GP, CODE3 & ~3 | 1)


def test_int_n_needs_iopl_3_but_int3_does_not() -> None:
    m = v86(iopl=0)
    m.gate(IDT + 3 * 8, CODE0, 0x100, 0xEE)
    assert fault_of(lambda: m.execute(b"\xcd\x21")) == (S.GP, 0)
    assert fault_of(lambda: m.execute(b"\xcc")) is None
    assert m.s.cpl == 0


def redirect_all(m: Protected) -> None:
    m.poke(TSS_AT + 0x66, "H", 0x100)
    m.poke(0x21 * 4, "HH", 0x5555, 0x6000)


def test_vme_redirects_int_n_to_the_8086_table() -> None:
    m = v86(iopl=3, vme=True)
    redirect_all(m)
    assert fault_of(lambda: m.call(software_interrupt, 0x21, 0x102)) is None
    assert (m.s.cpl, m.s.seg_sel[S.CS], m.s.eip, m.s.eflags & IF) == (3, 0x6000, 0x5555, 0)
    assert m.peek(0x200FA, "3H") == (0x102, 0x1000, 0x3202)


def test_vme_shows_the_virtual_interrupt_flag_to_a_program_below_iopl_3() -> None:
    m = v86(iopl=0, vme=True)
    redirect_all(m)
    m.s.eflags = (m.s.eflags & ~IF) | VIF
    assert fault_of(lambda: m.call(software_interrupt, 0x21, 0x102)) is None
    assert m.peek(0x200FE, "H") == 0x3202  # IF from VIF, IOPL as 3
    assert not m.s.eflags & VIF
    assert iret(m, 2) is None
    assert m.s.eflags & VIF and not m.s.eflags & IF and m.s.eflags >> S.FLAG_IOPL & 3 == 0
    assert (m.s.seg_sel[S.CS], m.s.eip) == (0x1000, 0x102)


def test_a_set_bit_in_the_redirection_map_keeps_int_n_with_the_monitor() -> None:
    for iopl, expected in ((3, None), (0, (S.GP, 0))):
        m = v86(iopl, vme=True)
        redirect_all(m)
        m.poke(TSS_AT + 0x100 - 32 + 0x21 // 8, "B", 1 << (0x21 & 7))
        assert fault_of(lambda: m.call(software_interrupt, 0x21, 0x102)) == expected  # noqa: B023
        assert m.s.cpl == (0 if iopl == 3 else 3)


def test_iret_in_virtual_8086_mode_needs_iopl_3_and_keeps_iopl() -> None:
    m = v86(iopl=0)
    m.poke(0x20100, "3H", 0x5, 0x3000, 0x7002)
    assert iret(m, 2) == (S.GP, 0)
    m = v86(iopl=3)
    m.poke(0x20100, "3H", 0x5, 0x3000, 0x4002)
    assert iret(m, 2) is None
    assert (m.s.seg_sel[S.CS], m.s.eip, m.s.eflags) == (0x3000, 5, 2 | VM | NT | 3 << S.FLAG_IOPL)


def test_iretd_to_virtual_8086_mode_refuses_an_eip_beyond_64_kib() -> None:
    m = Protected()
    m.poke(m.esp, "9I", 0x10000, 0x1000, 2 | VM, 0x100, 0x2000, 0, 0, 0, 0)
    assert iret(m) == (S.GP, 0)
    assert m.s.cpl == 0


def test_vm_in_the_image_means_nothing_outside_level_0() -> None:
    m = Protected(3)
    m.poke(m.esp, "3I", 0x1234, CODE3, 2 | VM)
    assert iret(m) is None
    assert m.s.eflags == 2


def test_into_does_nothing_without_overflow() -> None:
    m = Protected()
    m.gate(IDT + 4 * 8, CODE0, 0x100, 0x8E)
    m.execute(b"\xce")
    assert m.s.eip == 0x7001
    m.s.cc_aux = 1 << 31
    m.execute(b"\xce")
    assert m.s.eip == 0x100
    assert m.peek(m.esp, "I") == 0x7002


def test_delivery_reports_itself() -> None:
    m = Protected()
    m.gate(IDT + 0x30 * 8, CODE0, 0x100, 0x8E)
    assert take(m, 0x30, EXTERNAL) is None
    assert ("taken", 0x30, EXTERNAL, 0, 0x7002) in m.log
    assert m.s.eip & MASK32 == 0x100
