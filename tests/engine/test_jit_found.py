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
