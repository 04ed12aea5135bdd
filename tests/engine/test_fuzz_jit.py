"""The fuzzer of the JIT itself: everything follows from a seed, and what is planted is found and made small."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from tests.engine import fuzz_jit
from tests.engine.fuzz_jit import CORES, Rigs, everything, examine
from tests.engine.jit_programs import Case

for _core in CORES:
    pytest.importorskip(f"emu.engine._{_core}")

SEED = 3


@pytest.fixture(autouse=True)
def _without_the_jit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_jit, "TIERS", ("interp", "interp"))


@pytest.mark.parametrize("core", CORES)
def test_a_seed_gives_one_program_and_one_way_to_run_it(core: str) -> None:
    first, second = everything(SEED, core), everything(SEED, core)
    every = range(len(first[0].program.items))
    assert first[0].program.image(every) == second[0].program.image(every)
    assert first[1:] == second[1:]
    other = everything(SEED + 1, core)[0].program
    assert other.image(range(len(other.items))) != first[0].program.image(every)


@pytest.mark.parametrize("core", CORES)
def test_programs_run_long_and_alike_on_equal_processors(core: str) -> None:
    said, (seed, executed, *_) = fuzz_jit.batch(core, 0, 12, None)
    assert (said, seed) == ("", 12)
    assert executed > 10_000


@pytest.mark.parametrize("core", CORES)
def test_programs_of_every_kind_are_drawn(core: str) -> None:
    said, (seed, _, _, *kinds) = fuzz_jit.batch(core, 0, 60, None)
    assert (said, seed) == ("", 60)
    assert all(count > 5 for count in kinds), dict(zip(fuzz_jit.KINDS, kinds, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("planted", ["wrong", "dies"])
def test_what_goes_wrong_is_made_small_and_told(core: str, planted: str, monkeypatch: Any, capsys: Any) -> None:
    number, right = 7, Rigs.run

    def run(self: Rigs, case: Case, keep: Any, how: Any, threshold: int) -> str:
        said = right(self, case, keep, how, threshold)
        if number not in keep:
            return said
        if planted == "dies":
            os.kill(os.getpid(), signal.SIGSEGV)
        return "planted"

    monkeypatch.setattr(Rigs, "run", run)
    examine(core, SEED, 0, None, "")
    text = capsys.readouterr().out.splitlines()
    assert text[0].startswith(f"{core} seed {SEED} (")
    assert [line.split()[0] for line in text[1:-2]] == [str(number)]
    assert text[-2] == ("planted" if planted == "wrong" else "the process dies by SIGSEGV")
    assert text[-1] == f"again: --core {core} --seed {SEED} --cases 1 --keep {number} --pieces 1"


def test_what_only_earlier_programs_bring_about_is_told_with_the_first_of_them(monkeypatch: Any, capsys: Any) -> None:
    right = Rigs.run

    def run(self: Rigs, case: Case, keep: Any, how: Any, threshold: int) -> str:
        before, said = self.executed, right(self, case, keep, how, threshold)
        return said or ("planted" if len(self.pairs) > 2 and before else "")

    monkeypatch.setattr(Rigs, "run", run)
    said, (seed, *_) = fuzz_jit.batch("ppc", 0, 50, None)
    assert said == "planted" and seed >= 2
    examine("ppc", seed, 0, None, said)
    assert "only after the programs before it" in capsys.readouterr().out
