"""Loads of what the trace has just stored (emu/engine/jit/forward.c)."""

from __future__ import annotations

import pytest

from tests.engine.jit_guests import DATA, ORIGIN, SIZE, Guest, expected, nodes

for _core in ("x86", "ppc"):
    pytest.importorskip(f"emu.engine._{_core}")


def loads(body: str, **registers: int) -> int:
    """How many loads the trace of a loop has."""
    return nodes("x86", body, **registers).count(" load ")


def test_a_function_that_asks_for_its_address_knows_it() -> None:
    guest = Guest("x86", "again:\ncall next\nadd ebx, 8\njmp edi\nnext:\nmov ebx, [esp]\nret", edi=ORIGIN, esp=0x30000)
    assert guest.nodes("again") == expected("""
        00010000 call_Jz_E8_o32
          %0:32 = get gpr[4]
          (%1:32 = add %0 0xfffffffc)
          store %1 0x10005 0x2002 sure
          commit gpr[4] %1 late
        0001000a mov_Gv_Ev_8B_o32_m
          commit gpr[3] 0x10005
        0001000d ret_C3_o32
          commit gpr[4] %0
        00010005 add_Ev_Ibs_83_s0_o32_r
          commit gpr[3] 0x1000d
          commit cf 0
          commit cc_z 0x1000d
          commit cc_s 0x1000d
          commit cc_aux 0
        00010008 jmp_Ev_FF_s4_o32_r
          %2:32 = get gpr[7]
          jump %2 0 {gpr[4] %0, gpr[3] 0x1000d, cf 0, cc_z 0x1000d, cc_s 0x1000d, cc_aux 0}
    """)


def test_a_load_takes_the_value_of_the_store_before_it() -> None:
    found = nodes("ppc", "stw r3, 8(r1)\nlwz r4, 8(r1)")
    assert found == expected("""
        00010000 stw
          %0:32 = get gpr[1]
          (%1:32 = add %0 0x8)
          %2:32 = get gpr[3]
          store %1 %2 0x2000 sure
        00010004 lwz
          commit gpr[4] %2
    """)


@pytest.mark.parametrize(
    "between", ["mov [ebp], ecx", "mov [esi+2], ecx", "mov edx, [ebp]", "cpuid", "mov edx, [esi+64]"]
)
def test_what_may_have_written_there_ends_it(between: str) -> None:
    body = "mov [esi], eax\n{}mov ecx, [esi]\ntest ebx, ebx"
    assert loads(body.format(""), esi=DATA, ebp=DATA) == 0
    alone = loads(f"{between}\ntest ebx, ebx", esi=DATA, ebp=DATA)
    assert loads(body.format(between + "\n"), esi=DATA, ebp=DATA) == alone + 1


def test_a_load_of_another_size_is_a_load() -> None:
    assert loads("mov [esi], eax\nmov cl, [esi]\ntest ebx, ebx", esi=DATA) == 1


def test_loads_between_two_stores_end_nothing() -> None:
    body = "mov [esi], eax\nmov [esi+64], eax\nmov ecx, [esi+8]\nmov edx, [esi]\ntest ebx, ebx"
    assert loads(body, esi=DATA) == 1


def test_what_a_device_keeps_is_asked_of_the_device() -> None:
    """Nothing answers outside RAM: loads give ones, whatever was stored."""
    guest = Guest("x86", "again:\nmov [esi], eax\nmov ecx, [esi]\njmp edi", edi=ORIGIN, esi=2 * SIZE, eax=5, count=20)
    assert guest.cpu.reg("ecx") == 0xFFFFFFFF
    assert " load " not in guest.nodes("again")
    guest.cpu.run(3000)
    assert guest.cpu.reg("ecx") == 0xFFFFFFFF
    assert " load " in guest.nodes("again"), "a trace that was wrong so often takes it for granted no more"


def test_a_store_over_a_page_end_is_loaded_again() -> None:
    guest = Guest(
        "x86", "again:\nadd eax, 1\nmov [esi], eax\nmov ecx, [esi]\njmp edi", edi=ORIGIN, esi=DATA + 0xFFE, count=4001
    )
    assert guest.cpu.reg("ecx") == guest.cpu.reg("eax") - (guest.cpu.reg("eip") == ORIGIN + 3) > 900
