"""Programs drawn from the PowerPC spec on the C engine and on Unicorn in a process of its own.

`EMU_DIFFERENTIAL=1000000` sets how many instructions the slow tests compare, and a twentieth more of supervisors;
`EMU_DIFFERENTIAL_TIER=jit` lets translated code run. Seed n of a model is `Bench(model).draw(Random(f"{model}{n}"))`.
"""

from __future__ import annotations

import importlib.util
import os
import signal
from random import Random

import pytest

from cores.ppc.decoder import encode
from tests.cores import ppc_differential
from tests.cores.ppc_differential import MODELS, Bench
from tests.cores.ppc_oracle import CODE, DATA
from tests.cores.ppc_system import SystemBench

pytest.importorskip("emu.engine._ppc")
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("unicorn") is None, reason="Unicorn is not installed (pip install unicorn)"
)

SIZE = int(os.environ.get("EMU_DIFFERENTIAL", "50000"))


def compare(model: str, instructions: int, first: int) -> Bench:
    """Compare so many instructions, beginning with the seed `first`."""
    bench = Bench(model)
    seed, failed, problems = first, 0, list[str]()
    try:
        while bench.executed < instructions and len(problems) < 5 and failed <= 3 + (seed - first) // 100:
            result = bench.run(*bench.draw(Random(f"{model}{seed}")))
            failed += bool(result.failed)
            if result.problem:
                problems.append(f"{model} {seed}: {result.problem}")
            seed += 1
    finally:
        bench.close()
    print(f"{model}: {bench.executed} instructions of {seed - first} programs, {failed} failed; {dict(bench.used)}")
    assert not problems, "\n".join(problems)
    assert failed <= 3 + (seed - first) // 100
    assert sum(bench.used.values()) < 0.2 * bench.executed
    return bench


def compare_system(model: str, instructions: int, first: int) -> SystemBench:
    """The same for special registers, TLB instructions and what changes MSR."""
    bench = SystemBench(model)
    seed, problems = first, list[str]()
    try:
        while bench.executed < instructions and len(problems) < 5:
            problem = bench.run(*bench.draw(Random(f"{model}{seed}")))
            if problem:
                problems.append(f"{model} {seed}: {problem}")
            seed += 1
    finally:
        bench.close()
    print(f"{model}: {bench.executed} supervisor's instructions of {seed - first} programs")
    assert not problems, "\n".join(problems)
    return bench


@pytest.mark.parametrize("model", MODELS)
def test_random_programs_agree_with_unicorn(model: str) -> None:
    assert len(compare(model, 1000, 0).counts) > 100


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_many_random_programs_agree_with_unicorn(model: str) -> None:
    compare(model, SIZE // len(MODELS) + 1, 20_000)


@pytest.mark.parametrize("model", MODELS)
def test_what_supervisors_do_agrees_with_unicorn(model: str) -> None:
    assert len(compare_system(model, 1400, 0).counts) > 60


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_much_that_supervisors_do_agrees_with_unicorn(model: str) -> None:
    compare_system(model, SIZE // 20 // len(MODELS) + 1, 20_000)


def test_a_wrong_word_of_the_tlb_is_found() -> None:
    bench = SystemBench("440EP")
    words = [bench.word("tlbwe", rs=9, ra=8, ws=2), bench.word("tlbre", rt=10, ra=8, ws=2)]
    gpr = [0] * 32
    gpr[9] = 0x3F
    try:
        assert bench.run(gpr, words) == ""
        put = bench._machine
        bench._machine = lambda registers: put([*registers[:9], 0x1F, *registers[10:]])  # type: ignore[method-assign]
        assert "9 1f for 3f" in bench.run(gpr, words)
    finally:
        bench.close()


def test_a_wrong_register_or_byte_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench("440EP")
    state, data, _ = bench.draw(Random("one"))
    words = [encode("addi", rt=3, ra=8, si=5), encode("add", rt=4, ra=3, rb=8), encode("xor", rs=3, ra=9, rb=4)]
    try:
        assert bench.run(state, data, words) == ("", "")
        step, cpu, ram = bench.subject.step, bench.subject.cpu, bench.subject.ram

        def spoil(what: str) -> None:
            if what == "memory":
                ram.view[DATA] ^= 1
            else:
                cpu.set_reg(what, cpu.reg(what) ^ 0x80)

        for what in ("r4", "r30", "cr", "ctr", "memory"):

            def spoiled(at: int, what: str = what) -> int:
                ivor = step(at)
                if at == CODE + 8:
                    spoil(what)
                return ivor

            monkeypatch.setattr(bench.subject, "step", spoiled)
            assert bench.run(state, data, words).problem, what
    finally:
        bench.close()


@pytest.mark.slow
def test_an_oracle_that_says_nothing_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ppc_differential, "PATIENCE", 2.0)
    bench = Bench("440EP")
    state, data, _ = bench.draw(Random("two"))
    words = [encode("addi", rt=3, ra=8, si=5)]
    try:
        assert bench.run(state, data, words) == ("", "")
        bench.oracle.process.send_signal(signal.SIGSTOP)
        assert bench.run(state, data, words).failed == "no answer"
        monkeypatch.setattr(ppc_differential, "PATIENCE", 20.0)
        assert bench.run(state, data, words) == ("", "")
    finally:
        bench.close()
