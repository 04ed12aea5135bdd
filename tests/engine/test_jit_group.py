"""Accesses that share one look at the soft TLB (emu/engine/jit/group.c): the first checks a stretch, the others are
`checked`."""

from __future__ import annotations

import pytest

from tests.engine.jit_guests import DATA, ORIGIN, Guest, expected, nodes

for _core in ("x86", "ppc"):
    pytest.importorskip(f"emu.engine._{_core}")


def test_a_stack_frame_is_one_group() -> None:
    found = nodes("x86", "push eax\npush ecx\npop edx\nmov ecx, [esp]\ntest ebx, ebx")
    assert found == expected("""
        00010000 push_Zv_50_o32
          %0:32 = get gpr[0]
          %1:32 = get gpr[4]
          %2:32 = add %1 0xfffffffc
          store %2 %0 0x2002 checks %1 -8, 8 bytes
          commit gpr[4] %2 late
        00010001 push_Zv_50_o32
          %3:32 = get gpr[1]
          store %4 %3 0x2002 checked
          commit gpr[4] dead late
        00010002 pop_Zv_58_o32
          commit gpr[4] %2
          commit gpr[2] %3
        00010003 mov_Gv_Ev_8B_o32_m
          commit gpr[1] %0
        00010006 test_Ev_Gv_85_o32_r
          %5:32 = get gpr[3]
          commit cf 0
          commit cc_z %5
          commit cc_s %5
          commit cc_aux 0
    """)


def test_a_stack_frame_of_the_powerpc_is_one_group() -> None:
    found = nodes("ppc", "stwu r1, -16(r1)\nstw r3, 8(r1)\nlwz r4, 12(r1)\naddi r1, r1, 16")
    assert found == expected("""
        00010000 stwu
          %0:32 = get gpr[1]
          store %1 %0 0x2000 checks %0 -16, 16 bytes
          commit gpr[1] dead
        00010004 stw
          %2:32 = get gpr[3]
          store %3 %2 0x2000 checked
        00010008 lwz
          %4:32 = load %5 0x2000 checked
          commit gpr[4] %4
        0001000c addi
          commit gpr[1] %0
    """)


def test_a_group_of_stores_begins_with_a_store() -> None:
    found = nodes(
        "x86", "mov eax, [esi+4]\nmov [esi+8], ecx\nmov edx, [esi+12]\nmov [esi+16], edx\ntest ebx, ebx", esi=DATA
    )
    assert found == expected("""
        00010000 mov_Gv_Ev_8B_o32_m
          %0:32 = get gpr[6]
          (%1:32 = add %0 0x4)
          %2:32 = load %1 0x2003
          commit gpr[0] %2
        00010003 mov_Ev_Gv_89_o32_m
          %3:32 = get gpr[1]
          store %4 %3 0x2003 checks %0 +8, 12 bytes {gpr[0] %2}
        00010006 mov_Gv_Ev_8B_o32_m
          %5:32 = load %6 0x2003 checked
          commit gpr[2] %5
        00010009 mov_Ev_Gv_89_o32_m
          store %7 %5 0x2003 checked
        0001000c test_Ev_Gv_85_o32_r
          %8:32 = get gpr[3]
          commit cf 0
          commit cc_z %8
          commit cc_s %8
          commit cc_aux 0
    """)


def test_what_is_read_to_be_written_back_may_lead_stores() -> None:
    found = nodes("x86", "add [esi], eax\nmov [esi+4], ecx\ntest ebx, ebx", esi=DATA)
    assert found == expected("""
        00010000 add_Ev_Gv_01_o32_m
          %0:32 = get gpr[0]
          %1:32 = get gpr[6]
          %2:32 = load %1 0x12003 checks %1 +0, 8 bytes
          %3:32 = add %0 %2
          store %1 %3 0x2003 checked
          commit cf dead
          commit cc_z %3
          commit cc_s %3
          commit cc_aux dead
        00010002 mov_Ev_Gv_89_o32_m
          %4:32 = get gpr[1]
          store %5 %4 0x2003 checked
        00010005 test_Ev_Gv_85_o32_r
          %6:32 = get gpr[3]
          commit cf 0
          commit cc_z %6
          commit cc_s %6
          commit cc_aux 0
    """)


def test_accesses_that_are_far_apart_share_nothing() -> None:
    found = nodes("x86", "mov eax, [esi]\nmov ecx, [esi+509]\ntest ebx, ebx", esi=DATA)
    assert found == expected("""
        00010000 mov_Gv_Ev_8B_o32_m
          %0:32 = get gpr[6]
          %1:32 = load %0 0x2003
          commit gpr[0] %1
        00010002 mov_Gv_Ev_8B_o32_m
          (%2:32 = add %0 0x1fd)
          %3:32 = load %2 0x2003 {gpr[0] %1}
          commit gpr[1] %3
        00010008 test_Ev_Gv_85_o32_r
          %4:32 = get gpr[3]
          commit cf 0
          commit cc_z %4
          commit cc_s %4
          commit cc_aux 0
    """)


def test_accesses_through_different_values_share_nothing() -> None:
    found = nodes("x86", "mov eax, [esi]\nmov ecx, [ebp]\ntest ebx, ebx", esi=DATA, ebp=DATA)
    assert found == expected("""
        00010000 mov_Gv_Ev_8B_o32_m
          %0:32 = get gpr[6]
          %1:32 = load %0 0x2003
          commit gpr[0] %1
        00010002 mov_Gv_Ev_8B_o32_m
          %2:32 = get gpr[5]
          %3:32 = load %2 0x2002 {gpr[0] %1}
          commit gpr[1] %3
        00010005 test_Ev_Gv_85_o32_r
          %4:32 = get gpr[3]
          commit cf 0
          commit cc_z %4
          commit cc_s %4
          commit cc_aux 0
    """)


def test_a_handler_ends_every_group() -> None:
    found = nodes("x86", "mov eax, [esi]\ncpuid\nmov eax, [esi+4]\ntest ebx, ebx", esi=DATA)
    assert found == expected("""
        00010000 mov_Gv_Ev_8B_o32_m
          %0:32 = get gpr[6]
          %1:32 = load %0 0x2003
          commit gpr[0] %1
        00010002 cpuid_0FA2
          handler 0x1 {gpr[0] %1}
        00010004 mov_Gv_Ev_8B_o32_m
          %2:32 = get gpr[6]
          (%3:32 = add %2 0x4)
          %4:32 = load %3 0x2003
          commit gpr[0] %4
        00010007 test_Ev_Gv_85_o32_r
          %5:32 = get gpr[3]
          commit cf 0
          commit cc_z %5
          commit cc_s %5
          commit cc_aux 0
    """)


def test_a_load_of_many_registers_is_one_group() -> None:
    found = nodes("ppc", "lmw r28, 8(r6)", r6=DATA)
    assert found == expected("""
        00010000 lmw
          %0:32 = get gpr[6]
          %1:32 = add %0 0x8
          %2:32 = and %1 0x3
          (%3:1 = ne.32 %2 0)
          retry_if %3 0
          %4:32 = load %1 0x2000 checks %0 +8, 16 bytes
          %5:32 = load %6 0x2000 checked
          %7:32 = load %8 0x2000 checked
          %9:32 = load %10 0x2000 checked
          commit gpr[28] %4
          commit gpr[29] %5
          commit gpr[30] %7
          commit gpr[31] %9
    """)


def test_a_group_that_lies_in_two_pages_is_given_up_and_the_others_stay() -> None:
    body = "mov eax, [esi]\nmov ecx, [esi+8]\nmov edx, [ebx]\nmov ebp, [ebx+8]\njmp edi"
    guest = Guest("x86", f"again: {body}", edi=ORIGIN, esi=DATA + 0xFFC, ebx=DATA, count=4000)
    found = guest.nodes("again")
    assert found.count("checks") == 1 and found.count("checked") == 1
    assert "+0, 12 bytes" in found
