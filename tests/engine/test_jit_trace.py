"""Which way a trace goes (emu/engine/jit/trace.c)."""

from __future__ import annotations

import pytest

from tests.engine.jit_guests import ORIGIN, Guest, expected

for _core in ("x86", "ppc"):
    pytest.importorskip(f"emu.engine._{_core}")


def test_a_call_is_followed_and_its_return_expected() -> None:
    guest = Guest("x86", "again: call sub\nmov eax, ecx\njmp edi\nsub: lea ecx, [ecx+2]\nret", edi=ORIGIN)
    found = guest.nodes("again")
    assert found == expected("""
        00010000 call_Jz_E8_o32
          %0:32 = get gpr[4]
          (%1:32 = add %0 0xfffffffc)
          store %1 0x10005 0x2002 sure
          commit gpr[4] %1 late
        00010009 lea_Gv_M_8D_o32_m
          %2:32 = get gpr[1]
          %3:32 = add %2 0x2
          commit gpr[1] %3
        0001000c ret_C3_o32
          commit gpr[4] %0
        00010005 mov_Ev_Gv_89_o32_r
          commit gpr[0] %3
        00010007 jmp_Ev_FF_s4_o32_r
          %4:32 = get gpr[7]
          jump %4 0 {gpr[4] %0, gpr[1] %3, gpr[0] %3}
    """)


def test_a_return_through_the_link_register_is_known() -> None:
    guest = Guest("ppc", "again: bl sub\nbctr\nsub: addi r4, r4, 1\nblr", ctr=ORIGIN)
    found = guest.nodes("again")
    assert found == expected("""
        00010000 bl
          commit lr 0x10004
        00010008 addi
          %0:32 = get gpr[4]
          %1:32 = add %0 0x1
          commit gpr[4] %1
        00010004 bcctr_always
          %2:32 = get ctr
          %3:32 = and %2 0xfffffffc
          jump %3 0 {lr 0x10004, gpr[4] %1}
    """)


def test_code_of_another_page_is_guarded() -> None:
    guest = Guest("x86", "again: jmp there\ntimes 4091 nop\nthere: mov eax, ecx\njmp edi", edi=ORIGIN)
    found = guest.nodes("again")
    assert found == expected("""
        00011000 mov_Ev_Gv_89_o32_r
          guard 0x11000
          %0:32 = get gpr[1]
          commit gpr[0] %0
        00011002 jmp_Ev_FF_s4_o32_r
          %1:32 = get gpr[7]
          jump %1 0 {gpr[0] %0}
    """)


def test_the_way_taken_more_often_is_the_trace() -> None:
    guest = Guest("x86", "again: test ecx, ecx\njnz often\nhlt\noften: mov eax, ecx\njmp edi", edi=ORIGIN, ecx=1)
    found = guest.nodes("again")
    assert found == expected("""
        00010000 test_Ev_Gv_85_o32_r
          %0:32 = get gpr[1]
          commit cf 0
          commit cc_z %0
          commit cc_s %0
          commit cc_aux 0
        00010002 jne_Jb_75_o32
          (%1:1 = eq.32 %0 0)
        00010005 mov_Ev_Gv_89_o32_r
          exit_if %1 0x10004 {cf 0, cc_z %0, cc_s %0, cc_aux 0}
          commit gpr[0] %0
        00010007 jmp_Ev_FF_s4_o32_r
          %2:32 = get gpr[7]
          jump %2 0 {cf 0, cc_z %0, cc_s %0, cc_aux 0, gpr[0] %0}
    """)


def test_what_only_the_interpreter_does_ends_a_trace() -> None:
    guest = Guest("x86", "again: mov eax, ecx\nmov ebx, cr0\nmov cr0, ebx\njmp edi", edi=ORIGIN)
    found = guest.nodes("again")
    assert found == expected("""
        00010000 mov_Ev_Gv_89_o32_r
          %0:32 = get gpr[1]
          commit gpr[0] %0
        00010002 mov_Rd_Cd_0F20_r
          handler 0x1 {gpr[0] %0}
          leave 0x10005
    """)


def test_a_loop_is_repeated_and_closed() -> None:
    guest = Guest("x86", "again: lea eax, [eax+1]\ndec ecx\njnz again\ndec ecx\njmp again")
    lines = guest.nodes("again").splitlines()
    assert sum(line == "00010003 dec_Zv_48_o32" for line in lines) == 9
    assert any(line.endswith("= add %0 0x9") for line in lines)  # the turns are one addition
    assert lines[-1].startswith("  loop 0x10000 {gpr[0] ")


def test_a_jump_back_is_closed_at_once_where_the_loop_is_long() -> None:
    body = "\n".join("add eax, ecx" for _ in range(40))
    lines = Guest("x86", f"again: {body}\njmp again").nodes("again").splitlines()
    assert sum(line == "00010000 add_Ev_Gv_01_o32_r" for line in lines) == 1
    assert lines[-1].startswith("  loop 0x10000 ")


def test_a_path_that_comes_to_a_loop_with_a_trace_goes_on_to_that_trace() -> None:
    source = "again: mov ecx, 20\ninner: lea eax, [eax+ecx]\ndec ecx\njnz inner\njmp again"
    assert Guest("x86", source).nodes("again").splitlines()[-1].startswith("  goto 0x10005 ")


def test_a_small_function_is_followed_at_each_of_its_calls() -> None:
    guest = Guest(
        "x86", "again: " + "call sub\n" * 2 + "nop\n" * 24 + "call sub\njmp edi\nsub: inc ecx\nret", edi=ORIGIN
    )
    found = guest.nodes("again")
    assert found.count("inc_Zv_40_o32") == 3
    assert found.count("jump") == 1 and "goto" not in found
