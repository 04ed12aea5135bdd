"""What is computed where it stands (emu/engine/jit/live.c). Values in parentheses are left to the exits that want them;
where nobody wants one, its commit says `dead`."""

from __future__ import annotations

import pytest

from tests.engine.jit_guests import DATA, ORIGIN, Guest, expected, nodes

for _core in ("x86", "ppc"):
    pytest.importorskip(f"emu.engine._{_core}")


def test_flags_that_are_written_again_are_dead() -> None:
    found = nodes("x86", "add eax, ecx\nadc edx, ebp\ntest ebx, ebx")
    assert found == expected("""
        00010000 add_Ev_Gv_01_o32_r
          %0:32 = get gpr[1]
          %1:32 = get gpr[0]
          %2:32 = add %0 %1
          %3:1 = ult.32 %2 %1
          commit gpr[0] %2
          commit cf %3
          commit cc_z %2
          commit cc_s %2
          commit cc_aux dead
        00010002 adc_Ev_Gv_11_o32_r
          %4:32 = get gpr[5]
          %5:32 = get gpr[2]
          %6:32 = add %4 %5
          %7:32 = add %3 %6
          commit gpr[2] %7
          commit cf dead
          commit cc_z %7
          commit cc_s %7
          commit cc_aux dead
        00010004 test_Ev_Gv_85_o32_r
          %8:32 = get gpr[3]
          commit cf 0
          commit cc_z %8
          commit cc_s %8
          commit cc_aux 0
    """)


def test_flags_that_only_an_exit_wants_are_left_to_it() -> None:
    found = nodes("x86", "add eax, ecx\nmov edx, [esi]\ntest ebx, ebx", esi=DATA)
    assert found == expected("""
        00010000 add_Ev_Gv_01_o32_r
          %0:32 = get gpr[1]
          %1:32 = get gpr[0]
          %2:32 = add %0 %1
          (%3:1 = ult.32 %2 %1)
          (%4:32 = xor %1 %0)
          (%5:32 = xor %4 %2)
          commit gpr[0] %2
          commit cf %3
          commit cc_z %2
          commit cc_s %2
          commit cc_aux %5
        00010002 mov_Gv_Ev_8B_o32_m
          %6:32 = get gpr[6]
          %7:32 = load %6 0x2003 {gpr[0] %2, cf %3, cc_z %2, cc_s %2, cc_aux %5}
          commit gpr[2] %7
        00010004 test_Ev_Gv_85_o32_r
          %8:32 = get gpr[3]
          commit cf 0
          commit cc_z %8
          commit cc_s %8
          commit cc_aux 0
    """)


def test_a_condition_that_is_tested_at_once_is_no_value() -> None:
    found = nodes("x86", "cmp eax, ecx\ncmovb edx, ecx\ntest ebx, ebx")
    assert found == expected("""
        00010000 cmp_Ev_Gv_39_o32_r
          %0:32 = get gpr[1]
          %1:32 = get gpr[0]
          (%2:1 = ult.32 %1 %0)
          commit cf %2
          commit cc_z dead
          commit cc_s dead
          commit cc_aux dead
        00010002 cmovb_Gv_Ev_0F42_o32_r
          %3:32 = get gpr[2]
          %4:64 = select %2 %0 %3
          commit gpr[2] %4
        00010005 test_Ev_Gv_85_o32_r
          %5:32 = get gpr[3]
          commit cf 0
          commit cc_z %5
          commit cc_s %5
          commit cc_aux 0
    """)


def test_an_address_is_put_together_where_it_is_used() -> None:
    found = nodes("x86", "mov eax, [esi+ebx*4+8]\ntest ebx, ebx", esi=DATA)
    assert found == expected("""
        00010000 mov_Gv_Ev_8B_o32_m
          %0:32 = get gpr[6]
          %1:32 = get gpr[3]
          (%2:32 = shl %1 0x2)
          (%3:32 = add %0 %2)
          (%4:32 = add %3 0x8)
          %5:32 = load %4 0x2003
          commit gpr[0] %5
        00010004 test_Ev_Gv_85_o32_r
          commit cf 0
          commit cc_z %1
          commit cc_s %1
          commit cc_aux 0
    """)


def test_flags_at_the_end_go_home() -> None:
    guest = Guest("x86", "again: add eax, ecx\njmp edi", edi=ORIGIN)
    found = guest.nodes("again")
    assert found == expected("""
        00010000 add_Ev_Gv_01_o32_r
          %0:32 = get gpr[1]
          %1:32 = get gpr[0]
          %2:32 = add %0 %1
          %3:1 = ult.32 %2 %1
          %4:32 = xor %1 %0
          %5:32 = xor %4 %2
          commit gpr[0] %2
          commit cf %3
          commit cc_z %2
          commit cc_s %2
          commit cc_aux %5
        00010002 jmp_Ev_FF_s4_o32_r
          %6:32 = get gpr[7]
          jump %6 0 {gpr[0] %2, cf %3, cc_z %2, cc_s %2, cc_aux %5}
    """)


def test_a_condition_register_that_is_written_again_is_dead() -> None:
    found = nodes("ppc", "cmpw r3, r4\ncmpw r5, r6")
    assert found == expected("""
        00010000 cmpw
          %0:1 = get xer_so
          %1:32 = get cr
          %2:32 = and %1 0xfffffff
          commit cr dead
        00010004 cmpw
          %3:32 = get gpr[5]
          %4:32 = get gpr[6]
          (%5:1 = slt.32 %3 %4)
          (%6:1 = eq.32 %3 %4)
          %7:4 = select %6 0x2 0x4
          %8:4 = select %5 0x8 %7
          %9:4 = or %8 %0
          %10:32 = shl %9 0x1c
          %11:32 = or %2 %10
          commit cr %11
    """)


def test_a_carry_nobody_adds_is_dead() -> None:
    found = nodes("ppc", "addc r6, r6, r5\naddc r7, r7, r8")
    assert found == expected("""
        00010000 addc
          %0:32 = get gpr[6]
          %1:32 = get gpr[5]
          %2:32 = add %0 %1
          commit xer_ca dead
          commit gpr[6] %2
        00010004 addc
          %3:32 = get gpr[7]
          %4:32 = get gpr[8]
          %5:33 = add %3 %4
          %6:32 = add %3 %4
          %7:1 = bit %5 0x20
          commit xer_ca %7
          commit gpr[7] %6
    """)


def test_a_stack_pointer_is_brought_up_to_date_by_exits_alone_until_its_last_value() -> None:
    found = nodes("x86", "push eax\nmov ecx, [esi]\npush ecx\ntest ebx, ebx", esi=DATA)
    assert found == expected("""
        00010000 push_Zv_50_o32
          %0:32 = get gpr[0]
          %1:32 = get gpr[4]
          store %2 %0 0x2002 checks %1 -8, 8 bytes
          commit gpr[4] dead late
        00010001 mov_Gv_Ev_8B_o32_m
          %3:32 = get gpr[6]
          %4:32 = load %3 0x2003 {gpr[4] %2}
          commit gpr[1] %4
        00010003 push_Zv_50_o32
          %5:32 = add %1 0xfffffff8
          store %5 %4 0x2002 checked
          commit gpr[4] %5
        00010004 test_Ev_Gv_85_o32_r
          %6:32 = get gpr[3]
          commit cf 0
          commit cc_z %6
          commit cc_s %6
          commit cc_aux 0
    """)
