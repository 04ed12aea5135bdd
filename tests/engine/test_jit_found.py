"""The smallest programs on which the JIT once differed from the interpreter."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from cores.ppc import state as S
from cores.ppc.decoder import encode
from tests.cores import ppc_tiers as P
from tests.cores import twins as T
from tests.cores.tiers import comparing

for _core in ("x86", "ppc"):
    pytest.importorskip(f"emu.engine._{_core}")


@pytest.fixture(autouse=True)
def _the_jit_and_the_interpreter() -> Iterator[None]:
    with comparing(("jit", "interp")):
        yield


@pytest.mark.parametrize("code", ["e8fbffffff", "60ebfd"])
@pytest.mark.parametrize("start", range(4))
def test_a_stack_that_runs_down_over_page_ends_goes_from_page_to_page(code: str, start: int) -> None:
    both = T.twins()
    # A frame elsewhere for every other page of the window.
    entries = T.entries((0x20 + page * 7 % 64) << 12 | T.P | T.W | T.U for page in range(16))
    both.start({T.FREE: bytes.fromhex(code), T.WINDOW_TABLE: entries}, T.flat_state(0, esp=T.WINDOW + 0xE000 - start))
    for _ in range(3):
        both.run(4000)
        assert both.difference() == ""
    assert both.cpus[0].reg("esp") < T.WINDOW + 0xC000


@pytest.mark.parametrize("model", ["440EP", "e500v2"])
@pytest.mark.parametrize("step", [3, 5, -3, -5])
def test_stores_that_walk_over_page_ends_meet_each_page(model: str, step: int) -> None:
    both = P.pair(model)
    both.start(Random(1), both.families, 1)
    code = b"".join(w.to_bytes(4, "big") for w in (encode("stwux", rs=8, ra=9, rb=10), encode("b", li=-4)))
    for cpu, ram in zip(both.cpus, both.rams, strict=True):
        ram.view[P.CODE : P.CODE + len(code)] = code
        cpu.invalidate(P.CODE, len(code))
        cpu.load_values(
            {"gpr": {8: 0x12345678, 9: P.WINDOW + 0x800, 10: step & 0xFFFFFFFF}, "msr": 1 << S.MSR_ME, "dbcr0": 0,
             "tcr": 0, "pid": {0: 7}}
        )  # fmt: skip
    for _ in range(4):
        assert both.differs([cpu.run(600) for cpu in both.cpus]) == ""
    assert both.cpus[0].reg("r9") != P.WINDOW + 0x800


@pytest.mark.parametrize("model", ["440EP", "e500v2"])
def test_a_load_beside_a_store_faults_in_a_page_that_only_stores_may_touch(model: str) -> None:
    both = P.pair(model)
    both.start(Random(1), both.families, 1)
    words = encode("stw", rs=8, ra=9, d=0), encode("lwz", rt=10, ra=9, d=4), encode("b", li=-8)
    code = b"".join(w.to_bytes(4, "big") for w in words)
    stores_only = {"utlb2": {2: 0x12}} if model == "440EP" else {"etlb_mas3": {S.TLB1_FIRST + 2: P.DATA | 0x0C}}
    for cpu, ram in zip(both.cpus, both.rams, strict=True):
        ram.view[P.CODE : P.CODE + len(code)] = code
        cpu.invalidate(P.CODE, len(code))
        cpu.load_values(
            {"gpr": {8: 0x12345678, 9: P.WINDOW, 10: 0}, "msr": 1 << S.MSR_ME, "dbcr0": 0, "tcr": 0, "pid": {0: 0},
             **stores_only}
        )  # fmt: skip
        cpu.remap()
    for _ in range(4):
        assert both.differs([cpu.run(600) for cpu in both.cpus]) == ""
    assert both.cpus[0].reg("r10") == 0


def test_a_group_of_accesses_may_begin_at_the_largest_displacement() -> None:
    both = T.twins()
    entries = T.entries((0x20 + page * 7 % 64) << 12 | T.P | T.W | T.U for page in range(16))
    # movq mm0, [ebx+7ffffffe]; mov eax, [ebx+7ffffff0]; mov ecx, [ebx+7ffffff4]; jmp: the first one crosses a page.
    code = bytes.fromhex("0f6f83feffff7f 8b83f0ffff7f 8b8bf4ffff7f ebea")
    both.start({T.FREE: code, T.WINDOW_TABLE: entries}, T.flat_state(0))
    for k, cpu in enumerate(both.cpus):
        cpu.set_reg("ebx", T.WINDOW + 0x2FFE - 0x7FFFFFFE & 0xFFFFFFFF)
        both.rams[k].view[0x20000:0x60000] = Random(1).randbytes(0x40000)
        cpu.invalidate(0x20000, 0x40000)
    for _ in range(3):
        both.run(4000)
        assert both.difference() == ""


def test_a_string_instruction_at_the_end_of_a_page_is_paid_for_once() -> None:
    both = T.twins()
    start = T.FREE + 0xFF4
    # mov ecx, 5; mov edi, FREE + 0x3000; rep stosb | inc eax; jmp start
    code = b"\xb9\5\0\0\0\xbf" + (T.FREE + 0x3000).to_bytes(4, "little") + b"\xf3\xaa" + b"\x40\xe9\xee\xff\xff\xff"
    both.start({start: code}, T.flat_state(0, eip=start))
    for _ in range(50):
        both.run(501)
        assert both.difference() == ""
    assert both.cpus[0].reg("eax") > 2000


def test_an_exit_shifts_by_a_register() -> None:
    both = T.twins()
    # mov eax, 5000; mov esi, 35; mov edx, 8
    # again: mov ecx, esi; and ecx, 31; bts edx, ecx; dec eax; jne again; sbb ebx, ebx; jmp .
    code = bytes.fromhex("b888130000 be23000000 ba08000000 89f1 83e11f 0fabca 48 75f5 19db ebfe")
    both.start({T.FREE: code}, T.flat_state(0, eip=T.FREE))
    both.run(30000)
    assert both.difference() == ""
    assert both.cpus[0].reg("ebx") == 0xFFFFFFFF
