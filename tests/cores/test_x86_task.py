"""Hardware task switches, against SDM vol. 3, chapter 8: what is saved, what is loaded, and who gets the fault."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cores.x86 import state as S
from cores.x86.interrupts import EXCEPTION, EXTERNAL, deliver
from cores.x86.transfer import far_call, far_jump, interrupt_return
from tests.cores.system_machine import (
    CODE0,
    CODE3,
    DATA0,
    DATA3,
    GDT,
    IDT,
    LDT_AT,
    LDT_SEL,
    MASK32,
    SPARE,
    TSS2_AT,
    TSS2_SEL,
    TSS_AT,
    TSS_SEL,
    Protected,
    fault_of,
)

NT, VM, IF, RF = (1 << b for b in (S.FLAG_NT, S.FLAG_VM, S.FLAG_IF, S.FLAG_RF))
TS_BIT = 1 << S.CR0_TS
GPRS = [0x11111111 * (k + 1) for k in range(8)]


def new_task(m: Protected, at: int = TSS2_AT, *, cs: int = CODE0, ss: int = DATA0, data: int = DATA0, flags: int = 2,
             eip: int = 0x1234, ldt: int = 0, trap: int = 0) -> None:  # fmt: skip
    """Fill a 32-bit TSS."""
    m.poke(at + 0x1C, "I", 0)
    m.poke(at + 0x20, "II8I", eip, flags, *GPRS)
    m.poke(at + 0x38, "I", 0x8000)  # ESP
    m.poke(at + 0x48, "6I", data, cs, ss, data, data, data)
    m.poke(at + 0x60, "IHH", ldt, trap, 0xFFFF)


def new_task16(m: Protected, at: int = TSS2_AT) -> None:
    """Fill a 16-bit TSS and describe it as such."""
    m.describe(GDT, TSS2_SEL, at, 0x2B, 0x81, 0)
    m.poke(at + 0x0E, "HH8H", 0x1234, 2, *(g & 0xFFFF for g in GPRS))
    m.poke(at + 0x22, "5H", DATA0, CODE0, DATA0, DATA0, LDT_SEL)


def jump(m: Protected, selector: int = TSS2_SEL) -> tuple[int, int] | None:
    return fault_of(lambda: m.call(far_jump, selector, 0, 0x7007))


def call(m: Protected, selector: int = TSS2_SEL) -> tuple[int, int] | None:
    return fault_of(lambda: m.call(far_call, 4, selector, 0, 0x7007))


def iret(m: Protected) -> tuple[int, int] | None:
    return fault_of(lambda: m.call(interrupt_return, 4, 0x7001))


def busy(m: Protected, selector: int) -> bool:
    return bool(m.ram[GDT + selector + 5] & 2)


def test_a_jump_saves_the_old_task_and_loads_the_new_one() -> None:
    m = Protected()
    new_task(m, ldt=LDT_SEL)
    m.s.gpr[:8] = [0xA0 + k for k in range(8)]
    m.s.eflags = 2 | IF
    m.s.cf, m.s.cc_aux = 1, 1 << 31  # CF without OF
    m.s.dr[7] = 0x7FF
    assert jump(m) is None
    assert m.peek(TSS_AT + 0x20, "10I") == (0x7007, 2 | IF | 1, *range(0xA0, 0xA8))
    assert m.peek(TSS_AT + 0x48, "6I") == (DATA0, CODE0, DATA0, DATA0, DATA0, DATA0)
    gprs = list(GPRS)
    gprs[S.ESP] = 0x8000
    assert m.s.gpr[:8] == gprs
    assert (m.s.eip, m.s.eflags, m.s.seg_sel[S.TR]) == (0x1234, 2, TSS2_SEL)
    assert m.segment(S.LDTR) == (LDT_SEL, LDT_AT, 0xFF, 0x82)
    assert m.s.cr0 & TS_BIT
    assert (busy(m, TSS_SEL), busy(m, TSS2_SEL)) == (False, True)
    assert m.s.dr[7] == 0x7FF & ~0x155
    assert m.s.seg_attr[S.TR] == 0x8B


def test_a_call_links_the_tasks_and_iret_goes_back() -> None:
    m = Protected()
    new_task(m)
    esp = m.esp
    assert call(m) is None
    assert m.peek(TSS2_AT, "H") == TSS_SEL
    assert m.s.eflags == 2 | NT
    assert (busy(m, TSS_SEL), busy(m, TSS2_SEL)) == (True, True)
    m.s.nmi_blocked = 1
    assert iret(m) is None
    assert (m.s.seg_sel[S.TR], m.s.eip, m.esp, m.s.eflags) == (TSS_SEL, 0x7007, esp, 2)
    assert (busy(m, TSS_SEL), busy(m, TSS2_SEL)) == (True, False)
    assert m.peek(TSS2_AT + 0x20, "II") == (0x7001, 2)  # NT is cleared in the image
    assert m.s.nmi_blocked == 0


def test_a_task_gate_ignores_its_offset_and_the_tss_privilege() -> None:
    m = Protected(3)
    new_task(m)
    m.gate(GDT + SPARE, TSS2_SEL, 0xFFFFFFFF, 0xE5)
    assert call(m, SPARE | 3) is None
    assert (m.s.cpl, m.s.seg_sel[S.TR], m.s.eip) == (0, TSS2_SEL, 0x1234)


def test_a_switch_to_level_3() -> None:
    m = Protected()
    new_task(m, cs=CODE3, ss=DATA3, data=DATA3)
    assert jump(m) is None
    assert (m.s.cpl, m.s.seg_sel[S.CS], m.s.seg_sel[S.SS]) == (3, CODE3, DATA3)


def test_a_switch_to_virtual_8086_mode() -> None:
    m = Protected()
    new_task(m, cs=0x1000, ss=0x2000, data=0x3000, flags=2 | VM)
    assert jump(m) is None
    assert m.s.cpl == 3
    assert m.segment(S.CS) == (0x1000, 0x10000, 0xFFFF, 0xF3)
    assert m.segment(S.GS) == (0x3000, 0x30000, 0xFFFF, 0xF3)


def test_a_16_bit_task_has_no_fs_gs_and_ones_above_its_registers() -> None:
    m = Protected()
    new_task16(m)
    assert jump(m) is None
    assert m.s.eip == 0x1234
    assert m.s.gpr[S.EBX] == 0xFFFF4444
    assert (m.s.seg_sel[S.FS], m.s.seg_attr[S.FS], m.s.seg_attr[S.GS]) == (0, 0, 0)
    assert m.s.seg_sel[S.LDTR] == LDT_SEL
    assert m.s.seg_attr[S.TR] == 0x83


def test_a_16_bit_task_is_saved_in_words() -> None:
    m = Protected()
    m.s.seg_attr[S.TR] = 0x83
    m.s.gpr[S.EAX] = 0x12345678
    m.poke(TSS_AT + 0x2A, "H", 0xBEEF)
    new_task(m)
    assert jump(m) is None
    assert m.peek(TSS_AT + 0x0E, "3H") == (0x7007, 2, 0x5678)
    assert m.peek(TSS_AT + 0x22, "5H") == (DATA0, CODE0, DATA0, DATA0, 0xBEEF)


def test_the_trap_bit_of_the_new_tss_asks_for_a_debug_trap() -> None:
    m = Protected()
    new_task(m, trap=1)
    assert jump(m) is None
    assert m.s.debug_pending == 1 << 15


def test_cr3_changes_only_with_paging() -> None:
    m = Protected()
    new_task(m)
    m.poke(TSS2_AT + 0x1C, "I", 0x20000)
    m.s.cr3 = 0x10000
    assert jump(m) is None
    assert m.s.cr3 == 0x10000
    m = Protected()
    new_task(m)
    for directory in (0x10000, 0x20000):
        m.poke(directory, "I", 0x87)
    m.poke(TSS2_AT + 0x1C, "I", 0x20000)
    m.s.cr0 |= 1 << 31
    m.s.cr3, m.s.cr4 = 0x10000, 1 << S.CR4_PSE
    assert jump(m) is None
    assert (m.s.cr3, m.flushes) == (0x20000, [0])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda m: m.describe(GDT, TSS2_SEL, TSS2_AT, 0x67, 0x8B, 0), (S.GP, TSS2_SEL)),  # busy
        (lambda m: m.describe(GDT, TSS2_SEL, TSS2_AT, 0x67, 0x09, 0), (S.NP, TSS2_SEL)),
        (lambda m: m.describe(GDT, TSS2_SEL, TSS2_AT, 0x66, 0x89, 0), (S.TS, TSS2_SEL)),
        (lambda m: m.describe(GDT, TSS2_SEL, TSS2_AT, 0x2A, 0x81, 0), (S.TS, TSS2_SEL)),
        (lambda m: setattr(m.s, "gdtr_limit", TSS2_SEL + 6), (S.GP, TSS2_SEL)),
    ],
)
def test_what_is_wrong_with_the_tss_faults_in_the_old_task(
    change: Callable[[Protected], None], expected: tuple[int, int]
) -> None:
    m = Protected()
    new_task(m)
    change(m)
    before, ram = m.s.as_dict(), bytes(m.ram)
    assert jump(m) == expected
    assert m.s.as_dict() == before
    assert bytes(m.ram) == ram


def test_a_tss_below_the_privilege_of_the_program_is_refused() -> None:
    m = Protected(3)
    new_task(m)
    assert jump(m) == (S.GP, TSS2_SEL)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"ldt": DATA0}, (S.TS, DATA0)),
        ({"cs": 0}, (S.TS, 0)),
        ({"cs": DATA0}, (S.TS, DATA0)),
        ({"cs": CODE0 | 3}, (S.TS, CODE0)),
        ({"ss": 0}, (S.TS, 0)),
        ({"ss": DATA3}, (S.TS, DATA3 & ~3)),
        ({"ss": SPARE}, (S.SS_, SPARE)),
        ({"data": SPARE}, (S.NP, SPARE)),
        ({"data": TSS_SEL}, (S.TS, TSS_SEL)),
        ({"cs": CODE3, "ss": DATA3, "data": DATA0}, (S.TS, DATA0)),
        ({"eip": 0x10000}, (S.GP, 0)),
    ],
)
def test_what_is_wrong_with_the_segments_faults_in_the_new_task(
    fields: dict[str, int], expected: tuple[int, int]
) -> None:
    m = Protected()
    m.describe(GDT, CODE0, 0, 0xFFFF, 0x9B)
    m.describe(GDT, SPARE, 0, 0xFFFF, 0x13)
    new_task(m, **fields)
    assert jump(m) == expected
    assert m.s.seg_sel[S.TR] == TSS2_SEL
    assert m.s.eip == fields.get("eip", 0x1234)
    assert busy(m, TSS2_SEL)


def test_a_return_needs_a_busy_task_to_return_to() -> None:
    m = Protected()
    m.s.eflags |= NT
    m.poke(TSS_AT, "H", TSS2_SEL)
    assert iret(m) == (S.TS, TSS2_SEL)
    m.poke(TSS_AT, "H", 4)
    assert iret(m) == (S.TS, 4)


def test_an_exception_through_a_task_gate_pushes_its_error_code_in_the_new_task() -> None:
    m = Protected(3)
    new_task(m)
    m.gate(IDT + S.DF_ * 8, TSS2_SEL, 0, 0x85)
    m.gate(IDT + S.GP * 8, TSS2_SEL, 0, 0x85)
    assert fault_of(lambda: m.call(deliver, S.GP, 0x50, EXCEPTION, 0x7000)) is None
    assert (m.s.cpl, m.s.seg_sel[S.TR], m.esp) == (0, TSS2_SEL, 0x7FFC)
    assert m.peek(0x7FFC, "I") == 0x50
    assert m.s.eflags == 2 | NT
    assert m.peek(TSS_AT + 0x20, "II") == (0x7000, 2 | RF)


def test_an_interrupt_through_a_task_gate_pushes_nothing() -> None:
    m = Protected()
    new_task(m)
    m.gate(IDT + 0x30 * 8, TSS2_SEL, 0, 0x85)
    assert fault_of(lambda: m.call(deliver, 0x30, 0, EXTERNAL, 0x7000)) is None
    assert (m.esp, m.s.eip) == (0x8000, 0x1234)
    m = Protected()
    new_task(m)
    m.gate(IDT + 0x30 * 8, TSS_SEL, 0, 0x85)
    assert fault_of(lambda: m.call(deliver, 0x30, 0, EXTERNAL, 0x7000)) == (S.GP, TSS_SEL | 1)


def test_a_page_fault_on_the_old_tss_leaves_both_tasks_alone() -> None:
    m = Protected()
    new_task(m)
    m.s.cr0 |= 1 << 31 | 1 << 16
    m.s.cr3 = 0x10000
    m.poke(0x10000, "I", 0x11000 | 7)
    for page in range(256):
        m.poke(0x11000 + 4 * page, "I", page << 12 | (7 if page << 12 != TSS_AT else 5))
    before = {k: v for k, v in m.s.as_dict().items() if k != "cr2"}
    assert jump(m) == (S.PF_, 3)
    assert {k: v for k, v in m.s.as_dict().items() if k != "cr2"} == before
    assert not busy(m, TSS2_SEL) and busy(m, TSS_SEL)
    assert m.s.cr2 & MASK32 == TSS_AT + 0x20
