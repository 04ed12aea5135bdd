"""Halfword multiply-accumulate of the 4xx, and dlmzb."""

from __future__ import annotations

import pytest

from cores.ppc.decoder import decode
from cores.ppc.models import model
from tests.cores.ppc_machine import Machine

M32 = 0xFFFFFFFF


def run(name: str, rt: int, ra: int, rb: int) -> Machine:
    m = Machine("440EP")
    m.s.gpr[3:6] = [rt, ra, rb]
    m.do(name, rt=3, ra=4, rb=5)
    return m


@pytest.mark.parametrize(("name", "ra", "rb", "product"), [
    ("mulchw", 0x0001FFFE, 0x00030005, -6 & M32), ("mulchwu", 0x0001FFFE, 0x00030005, 0x2FFFA),
    ("mulhhw", 0x80000001, 0x80000001, 0x40000000), ("mulhhwu", 0xFFFF0001, 0xFFFF0001, 0xFFFE0001),
    ("mullhw", 0x00017FFF, 0x00018000, -0x3FFF8000 & M32), ("mullhwu", 0x00017FFF, 0x00018000, 0x3FFF8000),
])  # fmt: skip
def test_halves_multiply(name: str, ra: int, rb: int, product: int) -> None:
    assert run(name, 99, ra, rb).s.gpr[3] == product


@pytest.mark.parametrize(("name", "rt", "ra", "rb", "result", "over"), [
    ("macchwo", 10, 3, 5 << 16, 25, 0), ("nmacchwo", 10, 3, 5 << 16, -5 & M32, 0),
    ("maclhwo", 0x7FFFFFFF, 1, 1, 0x80000000, 1), ("maclhwso", 0x7FFFFFFF, 1, 1, 0x7FFFFFFF, 1),
    ("maclhwso", 0x80000000, 0xFFFF, 1, 0x80000000, 1), ("machhwuo", M32, 1 << 16, 2 << 16, 1, 1),
    ("machhwsuo", M32, 1 << 16, 2 << 16, M32, 1), ("machhwsuo", 5, 1 << 16, 2 << 16, 7, 0),
    ("nmaclhwso", 0x80000000, 1, 1, 0x80000000, 1), ("nmachhwo", 0, 0x80000000, 0x80000000, 0xC0000000, 0),
])  # fmt: skip
def test_products_accumulate(name: str, rt: int, ra: int, rb: int, result: int, over: int) -> None:
    m = run(name, rt, ra, rb)
    assert (m.s.gpr[3], m.s.xer_ov, m.s.xer_so) == (result, over, over)


def test_the_record_form_looks_at_the_result() -> None:
    assert run("macchw.", 0, 1, 0xFFFF0000).s.cr >> 28 == 8
    assert run("mullhw.", 0, 0, 7).s.cr >> 28 == 2


@pytest.mark.parametrize(("word", "mnemonic"), [
    (0x10642958, "macchw"), (0x10642DD9, "macchwso."), (0x10642BDC, "nmaclhws"), (0x10642950, "mulchw"),
    (0x10642B11, "mullhwu."),
    (0x7C83289D, "dlmzb."),
])  # fmt: skip
def test_words_decode_on_the_440_alone(word: int, mnemonic: str) -> None:
    found = decode(word, features=model("440EP").features)
    assert found is not None and found.form.syntax.split()[0] == mnemonic
    other = decode(word, features=model("e500v2").features)
    assert other is None or other.form is not found.form


@pytest.mark.parametrize(("high", "low", "count", "cr"), [
    (0x00112233, 0, 1, 4), (0x11220033, 0, 3, 4), (0x11223300, 0, 4, 4), (0x11223344, 0x55006600, 6, 8),
    (0x11223344, 0x55667700, 8, 8), (0x11223344, 0x55667788, 8, 2),
])  # fmt: skip
def test_dlmzb_counts_up_to_the_first_zero_byte(high: int, low: int, count: int, cr: int) -> None:
    m = Machine("440EP")
    m.s.gpr[4], m.s.gpr[5], m.s.xer_so = high, low, 1
    m.do("dlmzb.", ra=3, rs=4, rb=5)
    assert (m.s.gpr[3], m.s.xer_count, m.s.cr >> 28) == (count, count, cr | 1)
