from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cores.lang.bitflow import BitFlow, start_bit
from cores.lang.state import State
from cores.lang.trace import Proc, RegisterLocation, Tracer, loop, otherwise, var, when
from cores.x86.decoder import tables
from cores.x86.effects import effects

STATE = State()
A = STATE.register("a", 8)
B = STATE.register("b", 8)
OUT = STATE.register("out", 8)


def a() -> Any:
    return RegisterLocation(A)


def b() -> Any:
    return RegisterLocation(B)


def flow(body: Callable[[], None]) -> BitFlow:
    with Tracer() as t:
        body()
        return BitFlow(t.finish("body"), (A, B))


def kept(body: Callable[[], None], reg: str) -> list[int]:
    """The bits of a register that have their first value at every end."""
    exits = flow(body).exits
    return [k for k in range(8) if all(regs[reg][k] == {start_bit(reg, k)} for regs in exits)]


def test_masked_bits_keep_their_value() -> None:
    assert kept(lambda: a().set((a() & 0xF0) | (b() & 0x0F)), "a") == [4, 5, 6, 7]


def test_a_bit_flipped_twice_is_unchanged() -> None:
    assert kept(lambda: a().set(~((~a()) ^ 0x01)), "a") == [1, 2, 3, 4, 5, 6, 7]


def test_both_sides_of_a_when_count() -> None:
    def body() -> None:
        with when(b().read().bit(0)):
            a().set(a() & 0xFE)
        with otherwise():
            a().set(a() & 0x7F)

    assert kept(body, "a") == [1, 2, 3, 4, 5, 6]


def test_a_difference_to_another_register_is_seen_through() -> None:
    def body() -> None:
        new = RegisterLocation(OUT).read()
        a().set(a() ^ b() ^ new)
        b().set(new)

    exits = flow(body).exits
    assert exits[0]["a"][3] ^ exits[0]["b"][3] == {start_bit("a", 3), start_bit("b", 3)}


def test_only_bits_that_matter_to_something_else_are_read() -> None:
    found = flow(lambda: RegisterLocation(OUT).set((a() >> 4) & 1))
    assert found.read == {start_bit("a", 4)}
    assert flow(lambda: a().set(a() + 1)).read == set()


def test_what_a_loop_sets_is_unknown_afterwards() -> None:
    def body() -> None:
        count = var(8, 3)
        with loop():
            with when(count.read() == 0):
                from cores.lang.trace import break_

                break_()
            count.set(count.read() - 1)
            b().set(count.read())

    assert kept(body, "b") == []
    assert kept(body, "a") == list(range(8))


def test_a_procedure_is_applied_where_it_is_called() -> None:
    def clear_low() -> None:
        a().set(a() & 0xF0)

    proc = Proc(clear_low, (), ())
    assert kept(lambda: proc(), "a") == [4, 5, 6, 7]


FLAGS = [
    ("adc_Gv_Ev_13_o32_r", "CF", "CF PF AF ZF SF OF"),
    ("inc_Ev_FF_s0_o32_r", "", "PF AF ZF SF OF"),
    ("rcl_Ev_CL_D3_s2_o32_r", "CF", "CF OF"),
    ("bt_Ev_Gv_0FA3_o32_r", "", "CF"),
    ("clc_F8", "", "CF"),
    ("cmc_F5", "CF", "CF"),
    ("jle_Jb_7E_o32", "ZF SF OF", ""),
    ("setb_Eb_0F92_r", "CF", ""),
    ("lahf_9F", "CF PF AF ZF SF", ""),
    ("sahf_9E", "", "CF PF AF ZF SF"),
    ("cld_FC", "", "DF"),
    ("mov_Ev_Gv_89_o32_r", "", ""),
    ("movsb_A4_a32", "DF", ""),
    ("daa_27", "CF AF", "CF PF AF ZF SF OF"),
]


@pytest.mark.parametrize(("name", "read", "changed"), FLAGS)
def test_flags_of_real_instructions(name: str, read: str, changed: str) -> None:
    form = next(f for f in tables().forms if f.ident == name)
    found = effects(form)
    assert " ".join(found.flags_read) == read
    assert " ".join(found.flags) == changed


def test_cleared_and_set_flags_are_told_apart_from_changed_ones() -> None:
    by_name = {f.ident: f for f in tables().forms}
    assert effects(by_name["xor_Ev_Gv_31_o32_r"]).flags["CF"] == "cleared"
    assert effects(by_name["stc_F9"]).flags == {"CF": "set"}
    assert effects(by_name["and_Ev_Gv_21_o32_r"]).undefined == ["AF"]


def test_exceptions_follow_from_what_the_body_calls() -> None:
    by_name = {f.ident: f for f in tables().forms}
    assert list(effects(by_name["div_Ev_F7_s6_o32_r"]).exceptions) == ["#DE"]
    assert list(effects(by_name["mov_Ev_Gv_89_o32_m"]).exceptions) == ["#SS", "#GP", "#PF", "#AC"]
    assert list(effects(by_name["mov_Eb_Gb_88_m"]).exceptions) == ["#SS", "#GP", "#PF"]
    assert effects(by_name["lea_Gv_M_8D_o32_m"]).exceptions == {}
    assert effects(by_name["cmove_Gv_Ev_0F44_o32_r"]).exceptions == {"#UD": ["a processor without cmov"]}
