"""Making nodes (emu/engine/jit/fold.c): what is known is computed, and what a processor says in many flags is one
comparison again."""

from __future__ import annotations

import pytest

from tests.engine.jit_guests import expected, nodes

for _core in ("x86", "ppc"):
    pytest.importorskip(f"emu.engine._{_core}")


def test_a_signed_comparison_of_words_is_one_comparison() -> None:
    found = nodes("x86", "cmp eax, ecx\njl out\ntest ebx, ebx\nout:")
    assert found == expected("""
        00010000 cmp_Ev_Gv_39_o32_r
          %0:32 = get gpr[1]
          %1:32 = get gpr[0]
          (%2:32 = sub %1 %0)
          (%3:1 = ult.32 %1 %0)
          (%4:32 = xor %1 %0)
          (%5:32 = xor %4 %2)
          commit cf %3
          commit cc_z %2
          commit cc_s %2
          commit cc_aux %5
        00010002 jl_Jb_7C_o32
          (%6:1 = slt.32 %1 %0)
        00010004 test_Ev_Gv_85_o32_r
          exit_if %6 0x10006 {cf %3, cc_z %2, cc_s %2, cc_aux %5}
          %7:32 = get gpr[3]
          commit cf 0
          commit cc_z %7
          commit cc_s %7
          commit cc_aux 0
    """)


def test_a_signed_comparison_of_bytes_is_one_comparison() -> None:
    found = nodes("x86", "cmp al, cl\njl out\ntest ebx, ebx\nout:")
    assert found == expected("""
        00010000 cmp_Eb_Gb_38_r
          %0:32 = get gpr[1]
          %1:8 = low %0
          %2:32 = get gpr[0]
          %3:8 = low %2
          (%4:8 = sub %3 %1)
          (%5:1 = ult.8 %3 %1)
          (%6:8 = xor %3 %1)
          (%7:8 = xor %6 %4)
          (%8:32 = sext %4)
          (%9:32 = sext %7)
          commit cf %5
          commit cc_z %8
          commit cc_s %8
          commit cc_aux %9
        00010002 jl_Jb_7C_o32
          (%10:1 = slt.8 %3 %1)
        00010004 test_Ev_Gv_85_o32_r
          exit_if %10 0x10006 {cf %5, cc_z %8, cc_s %8, cc_aux %9}
          %11:32 = get gpr[3]
          commit cf 0
          commit cc_z %11
          commit cc_s %11
          commit cc_aux 0
    """)


def test_a_comparison_of_halfwords_with_a_constant_or_equal_is_one_comparison() -> None:
    found = nodes("x86", "cmp ax, 7\njle out\ntest ebx, ebx\nout:", eax=9)
    assert found == expected("""
        00010000 cmp_eAX_Iz_3D_o16
          %0:32 = get gpr[0]
          %1:16 = low %0
          (%2:16 = add %1 0xfff9)
          (%3:1 = ult.16 %1 0x7)
          (%4:16 = xor %1 0x7)
          (%5:16 = xor %4 %2)
          (%6:32 = sext %2)
          (%7:32 = sext %5)
          commit cf %3
          commit cc_z %6
          commit cc_s %6
          commit cc_aux %7
        00010004 jle_Jb_7E_o32
          (%8:1 = sle.16 %1 0x7)
        00010006 test_Ev_Gv_85_o32_r
          exit_if %8 0x10008 {cf %3, cc_z %6, cc_s %6, cc_aux %7}
          %9:32 = get gpr[3]
          commit cf 0
          commit cc_z %9
          commit cc_s %9
          commit cc_aux 0
    """)


def test_an_unsigned_comparison_is_one_comparison() -> None:
    found = nodes("x86", "cmp eax, ecx\nja out\ntest ebx, ebx\nout:")
    assert found == expected("""
        00010000 cmp_Ev_Gv_39_o32_r
          %0:32 = get gpr[1]
          %1:32 = get gpr[0]
          (%2:32 = sub %1 %0)
          (%3:1 = ult.32 %1 %0)
          (%4:32 = xor %1 %0)
          (%5:32 = xor %4 %2)
          commit cf %3
          commit cc_z %2
          commit cc_s %2
          commit cc_aux %5
        00010002 ja_Jb_77_o32
          (%6:1 = ult.32 %0 %1)
        00010004 test_Ev_Gv_85_o32_r
          exit_if %6 0x10006 {cf %3, cc_z %2, cc_s %2, cc_aux %5}
          %7:32 = get gpr[3]
          commit cf 0
          commit cc_z %7
          commit cc_s %7
          commit cc_aux 0
    """)


def test_a_subtraction_that_leaves_nothing_is_an_equality() -> None:
    found = nodes("x86", "sub eax, ecx\nje out\ntest ebx, ebx\nout:", eax=9, ecx=1)
    assert found == expected("""
        00010000 sub_Ev_Gv_29_o32_r
          %0:32 = get gpr[1]
          %1:32 = get gpr[0]
          %2:32 = sub %1 %0
          (%3:1 = ult.32 %1 %0)
          (%4:32 = xor %1 %0)
          (%5:32 = xor %4 %2)
          commit gpr[0] %2
          commit cf %3
          commit cc_z %2
          commit cc_s %2
          commit cc_aux %5
        00010002 je_Jb_74_o32
          (%6:1 = eq.32 %0 %1)
        00010004 test_Ev_Gv_85_o32_r
          exit_if %6 0x10006 {gpr[0] %2, cf %3, cc_z %2, cc_s %2, cc_aux %5}
          %7:32 = get gpr[3]
          commit cf 0
          commit cc_z %7
          commit cc_s %7
          commit cc_aux 0
    """)


def test_a_test_of_one_bit_is_that_bit() -> None:
    found = nodes("x86", "test al, 0x10\njne out\ntest ebx, ebx\nout:")
    assert found == expected("""
        00010000 test_AL_Ib_A8
          %0:32 = get gpr[0]
          (%1:8 = low %0)
          (%2:8 = and %1 0x10)
          commit cf 0
          commit cc_z %2
          commit cc_s %2
          commit cc_aux 0
        00010002 jne_Jb_75_o32
          (%3:1 = bit %0 0x4)
        00010004 test_Ev_Gv_85_o32_r
          exit_if %3 0x10006 {cf 0, cc_z %2, cc_s %2, cc_aux 0}
          %4:32 = get gpr[3]
          commit cc_z %4
          commit cc_s %4
    """)


def test_constants_are_computed() -> None:
    found = nodes("x86", "xor eax, eax\nadd eax, 3\nlea ecx, [eax+eax*4]\ntest ebx, ebx")
    assert found == expected("""
        00010000 xor_Ev_Gv_31_o32_r
          commit gpr[0] 0
          commit cf 0
          commit cc_z 0
          commit cc_s 0
          commit cc_aux 0
        00010002 add_Ev_Ibs_83_s0_o32_r
          commit gpr[0] 0x3
          commit cc_z 0x3
          commit cc_s 0x3
        00010005 lea_Gv_M_8D_o32_m
          commit gpr[1] 0xf
        00010008 test_Ev_Gv_85_o32_r
          %0:32 = get gpr[3]
          commit cc_z %0
          commit cc_s %0
    """)


def test_a_shift_by_a_constant_is_one_shift() -> None:
    found = nodes("x86", "shr eax, 3\nshl ecx, 2\ntest ebx, ebx")
    assert found == expected("""
        00010000 shr_Ev_Ib_C1_s5_o32_r
          %0:32 = get gpr[0]
          %1:64 = lshr %0 0x3
          commit gpr[0] %1
          commit cc_z %1
          commit cc_s %1
          commit cc_aux dead
          commit cf dead
        00010003 shl_Ev_Ib_C1_s4_o32_r
          %2:32 = get gpr[1]
          %3:64 = shl %2 0x2
          %4:32 = low %3
          commit gpr[1] %4
          commit cc_z %4
          commit cc_s %4
          commit cc_aux dead
          commit cf dead
        00010006 test_Ev_Gv_85_o32_r
          %5:32 = get gpr[3]
          commit cf 0
          commit cc_z %5
          commit cc_s %5
          commit cc_aux 0
    """)


def test_what_goes_down_and_up_again_is_where_it_was() -> None:
    found = nodes("x86", "sub ecx, 8\nadd ecx, 8\nmov edx, ecx\ntest ebx, ebx")
    assert found == expected("""
        00010000 sub_Ev_Ibs_83_s5_o32_r
          %0:32 = get gpr[1]
          commit gpr[1] dead late
          commit cf dead
          commit cc_z dead
          commit cc_s dead
          commit cc_aux dead
        00010003 add_Ev_Ibs_83_s0_o32_r
          commit gpr[1] %0
          commit cf dead
          commit cc_z %0
          commit cc_s %0
          commit cc_aux dead
        00010006 mov_Ev_Gv_89_o32_r
          commit gpr[2] %0
        00010008 test_Ev_Gv_85_o32_r
          %1:32 = get gpr[3]
          commit cf 0
          commit cc_z %1
          commit cc_s %1
          commit cc_aux 0
    """)


def test_a_field_of_the_condition_register_is_seen_through() -> None:
    found = nodes("ppc", "cmpw r3, r4\nbgt out\ncmpwi r5, 0\nout:")
    assert found == expected("""
        00010000 cmpw
          %0:32 = get gpr[3]
          %1:32 = get gpr[4]
          (%2:1 = slt.32 %0 %1)
          (%3:1 = eq.32 %0 %1)
          (%4:4 = select %3 0x2 0x4)
          (%5:4 = select %2 0x8 %4)
          %6:1 = get xer_so
          (%7:4 = or %5 %6)
          %8:32 = get cr
          %9:32 = and %8 0xfffffff
          (%10:32 = shl %7 0x1c)
          (%11:32 = or %9 %10)
          commit cr %11
        00010004 bc_t
          (%12:1 = slt.32 %1 %0)
        00010008 cmpwi
          exit_if %12 0x1000c {cr %11}
          %13:32 = get gpr[5]
          (%14:1 = bit %13 0x1f)
          (%15:1 = eq.32 %13 0)
          %16:4 = select %15 0x2 0x4
          %17:4 = select %14 0x8 %16
          %18:4 = or %17 %6
          %19:32 = shl %18 0x1c
          %20:32 = or %9 %19
          commit cr %20
    """)


def test_an_unsigned_comparison_in_any_field_is_seen_through() -> None:
    found = nodes("ppc", "cmplwi cr7, r3, 5\nblt cr7, out\nnop\nout:", r3=9)
    assert found == expected("""
        00010000 cmplwi
          %0:32 = get gpr[3]
          (%1:1 = ult.32 %0 0x5)
          (%2:1 = eq.32 %0 0x5)
          %3:4 = select %2 0x2 0x4
          %4:4 = select %1 0x8 %3
          %5:1 = get xer_so
          %6:4 = or %4 %5
          %7:32 = get cr
          %8:32 = and %7 0xfffffff0
          %9:32 = or %8 %6
          commit cr %9
        00010008 ori
          exit_if %1 0x1000c {cr %9}
    """)


def test_a_rotation_with_a_mask_is_a_shift_where_the_mask_cuts() -> None:
    found = nodes("ppc", "rlwinm r3, r4, 8, 24, 31\nslwi r5, r3, 2")
    assert found == expected("""
        00010000 rlwinm
          %0:32 = get gpr[4]
          %1:32 = rotl %0 0x8
          %2:32 = and %1 0xff
          commit gpr[3] %2
        00010004 rlwinm
          %3:32 = rotl %2 0x2
          %4:32 = and %3 0xfffffffc
          commit gpr[5] %4
    """)
