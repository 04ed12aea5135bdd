"""From instructions to nodes (emu/engine/jit/expand.c): fields are constants, loops over them are unrolled, what is
rare is left to the interpreter."""

from __future__ import annotations

import pytest

from tests.engine.jit_guests import DATA, expected, nodes

for _core in ("x86", "ppc"):
    pytest.importorskip(f"emu.engine._{_core}")


def test_a_load_of_many_registers_is_unrolled() -> None:
    found = nodes("ppc", "lmw r30, 8(r6)", r6=DATA)
    assert found == expected("""
        00010000 lmw
          %0:32 = get gpr[6]
          %1:32 = add %0 0x8
          %2:32 = and %1 0x3
          (%3:1 = ne.32 %2 0)
          retry_if %3 0
          %4:32 = load %1 0x2000 checks %0 +8, 8 bytes
          %5:32 = load %6 0x2000 checked
          commit gpr[30] %4
          commit gpr[31] %5
    """)


def test_inc_keeps_the_carry() -> None:
    found = nodes("x86", "cmp eax, ecx\ninc edx\njb out\ntest ebx, ebx\nout:")
    assert found == expected("""
        00010000 cmp_Ev_Gv_39_o32_r
          %0:32 = get gpr[1]
          %1:32 = get gpr[0]
          (%2:1 = ult.32 %1 %0)
          commit cf %2
          commit cc_z dead
          commit cc_s dead
          commit cc_aux dead
        00010002 inc_Zv_40_o32
          %3:32 = get gpr[2]
          %4:32 = add %3 0x1
          (%5:1 = eq.32 %3 0x7fffffff)
          (%6:1 = bit %3 0x4)
          (%7:1 = bit %4 0x4)
          (%8:1 = xor %6 %7)
          (%9:1 = xor %2 %5)
          (%10:32 = shl %9 0x1f)
          (%11:32 = shl %8 0x4)
          (%12:32 = or %10 %11)
          commit gpr[2] %4
          commit cc_z %4
          commit cc_s %4
          commit cc_aux %12
        00010005 test_Ev_Gv_85_o32_r
          exit_if %2 0x10007 {cf %2, cc_z %4, cc_s %4, cc_aux %12, gpr[2] %4}
          %13:32 = get gpr[3]
          commit cf 0
          commit cc_z %13
          commit cc_s %13
          commit cc_aux 0
    """)


def test_a_write_to_a_part_keeps_the_rest() -> None:
    found = nodes("x86", "mov ah, 5\nmov ebx, eax\ntest ebx, ebx")
    assert found == expected("""
        00010000 mov_Zb_Ib_B0
          %0:32 = get gpr[0]
          %1:32 = and %0 0xffff00ff
          %2:32 = or %1 0x500
          commit gpr[0] %2
        00010002 mov_Ev_Gv_89_o32_r
          commit gpr[3] %2
        00010004 test_Ev_Gv_85_o32_r
          commit cf 0
          commit cc_z %2
          commit cc_s %2
          commit cc_aux 0
    """)


def test_a_conditional_move_is_a_choice() -> None:
    found = nodes("x86", "cmp eax, ecx\ncmovl edx, ecx\ntest ebx, ebx")
    assert found == expected("""
        00010000 cmp_Ev_Gv_39_o32_r
          %0:32 = get gpr[1]
          %1:32 = get gpr[0]
          commit cf dead
          commit cc_z dead
          commit cc_s dead
          commit cc_aux dead
        00010002 cmovl_Gv_Ev_0F4C_o32_r
          (%2:1 = slt.32 %1 %0)
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


def test_a_division_leaves_its_faults_to_the_interpreter() -> None:
    found = nodes("x86", "div ecx\ntest ebx, ebx", ecx=3)
    assert found == expected("""
        00010000 div_Ev_F7_s6_o32_r
          %0:32 = get gpr[1]
          (%1:1 = eq.32 %0 0)
          retry_if %1 0
          %2:32 = get gpr[0]
          %3:32 = get gpr[2]
          %4:64 = shl %3 0x20
          %5:64 = or %4 %2
          %6:64 = udiv %5 %0
          %7:64 = urem %5 %0
          %8:64 = lshr %6 0x20
          (%9:1 = ne.32 %8 0)
          retry_if %9 0
          %10:32 = low %6
          commit gpr[0] %10
          commit gpr[2] %7
        00010002 test_Ev_Gv_85_o32_r
          %11:32 = get gpr[3]
          commit cf 0
          commit cc_z %11
          commit cc_s %11
          commit cc_aux 0
    """)


def test_a_read_that_is_written_back_says_so() -> None:
    found = nodes("x86", "add [esi], eax\ntest ebx, ebx", esi=DATA)
    assert found == expected("""
        00010000 add_Ev_Gv_01_o32_m
          %0:32 = get gpr[0]
          %1:32 = get gpr[6]
          %2:32 = load %1 0x12003 checks %1 +0, 4 bytes
          %3:32 = add %0 %2
          store %1 %3 0x2003 checked
          commit cf dead
          commit cc_z %3
          commit cc_s %3
          commit cc_aux dead
        00010002 test_Ev_Gv_85_o32_r
          %4:32 = get gpr[3]
          commit cf 0
          commit cc_z %4
          commit cc_s %4
          commit cc_aux 0
    """)


def test_a_carry_goes_from_one_sum_to_the_next() -> None:
    found = nodes("ppc", "addc r6, r6, r5\nadde r7, r7, r8")
    assert found == expected("""
        00010000 addc
          %0:32 = get gpr[6]
          %1:32 = get gpr[5]
          %2:33 = add %0 %1
          %3:32 = add %0 %1
          %4:1 = bit %2 0x20
          commit xer_ca %4
          commit gpr[6] %3
        00010004 adde
          %5:32 = get gpr[7]
          %6:32 = get gpr[8]
          %7:33 = add %5 %6
          %8:33 = add %4 %7
          %9:32 = add %5 %6
          %10:32 = add %4 %9
          %11:1 = bit %8 0x20
          commit xer_ca %11
          commit gpr[7] %10
    """)


def test_the_x87_stack_is_taken_to_be_where_it_is() -> None:
    found = nodes("x86", "fxch st1\nfstp st1")
    assert found == expected("""
        00010000 fxch_STi_D9_s1_r
          handler 0
        00010002 fstp_STi_DD_s3_r
          handler 0x1
    """)


def test_what_has_no_template_is_a_call_of_its_handler_with_everything_at_home() -> None:
    found = nodes("x86", "mov eax, ecx\ncpuid\nmov edx, eax\ntest ebx, ebx")
    assert found == expected("""
        00010000 mov_Ev_Gv_89_o32_r
          %0:32 = get gpr[1]
          commit gpr[0] %0
        00010002 cpuid_0FA2
          handler 0x1 {gpr[0] %0}
        00010004 mov_Ev_Gv_89_o32_r
          %1:32 = get gpr[0]
          commit gpr[2] %1
        00010006 test_Ev_Gv_85_o32_r
          %2:32 = get gpr[3]
          commit cf 0
          commit cc_z %2
          commit cc_s %2
          commit cc_aux 0
    """)
