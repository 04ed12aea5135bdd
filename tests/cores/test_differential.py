"""Random programs in every mode on the C engine and on Unicorn in a process of its own: every instruction is compared.

`EMU_DIFFERENTIAL=1000000` sets how many instructions the slow test compares, `EMU_DIFFERENTIAL_TIER=jit` lets
translated code run. Seed n of a mode is `draw(Random(f"{mode}{n}"), mode, 16)`.
"""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Iterator
from random import Random

import pytest

from tests.cores import differential
from tests.cores.differential import CODE, Bench, Mode, Program, decoded, draw
from tests.cores.tiers import TIER

pytest.importorskip("emu.engine._x86")
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("unicorn") is None, reason="Unicorn is not installed (pip install unicorn)"
)

NAMES = ("real16", "ring0_16", "ring3_16", "v86", "ring0_32", "ring3_32", "ring3_pae")
SIZE = int(os.environ.get("EMU_DIFFERENTIAL", "30000"))
FAILED = 0.01  # share of the programs to which the oracle may have no answer
EXCUSED = 0.5  # share of the programs that may end early at a known difference


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    both = Bench()
    yield both
    if TIER == "jit":
        # Not forms that only the interpreter does, and what faults, runs on there.
        assert both.subject.cpu.stats()["jit_enters"] > 0.3 * both.executed
    both.close()


def mode_of(bench: Bench, name: str) -> Mode:
    return next(mode for mode in bench.modes if mode.name == name)


def compare(bench: Bench, name: str, instructions: int, first: int = 0) -> None:
    """Compare so many instructions of a mode, beginning with the seed `first`."""
    mode = mode_of(bench, name)
    problems: list[str] = []
    start, seed, failed, excused = bench.executed, first, 0, 0
    while bench.executed - start < instructions and len(problems) < 5:
        result = bench.run(draw(Random(f"{name}{seed}"), mode, 16))
        failed += bool(result.failed)
        excused += bool(result.excuse)
        if result.problem:
            problems.append(f"{name} {seed}: {result.problem}")
        seed += 1
    programs = seed - first
    print(f"{name}: {bench.executed - start} instructions of {programs} programs, {failed} failed, {excused} excused")
    assert not problems, "\n".join(problems)
    assert failed <= 3 + FAILED * programs
    assert excused <= 5 + EXCUSED * programs


@pytest.mark.parametrize("name", NAMES)
def test_random_programs_agree_with_unicorn(bench: Bench, name: str) -> None:
    compare(bench, name, 300)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_many_random_programs_agree_with_unicorn(bench: Bench, name: str) -> None:
    compare(bench, name, SIZE // len(NAMES) + 1, 20_000)


def small(bench: Bench) -> Program:
    """mov eax, 5; add eax, eax; test eax, eax."""
    program = Program(mode_of(bench, "ring3_32"), [0, 0, 0, 0, 0x30800, 0, 0, 0], 2, [])
    at = CODE
    for data in (b"\xb8\x05\x00\x00\x00", b"\x01\xc0", b"\x85\xc0"):
        program.code.append((at, data, decoded(data, big=True)))
        program.patches.append((at, data))
        at += len(data)
    return program


def test_a_wrong_register_or_flag_or_byte_is_found(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bench.run(small(bench)).executed == 3
    step = bench.subject.step
    cpu, ram = bench.subject.cpu, bench.subject.ram

    def spoil(what: str) -> None:
        if what == "memory":
            ram.view[differential.DATA] ^= 1
        else:
            cpu.set_reg(what, cpu.reg(what) ^ 0x80)

    for what in ("eax", "edi", "eflags", "memory"):

        def spoiled(repeats: bool, what: str = what) -> tuple[int, int, int]:
            result = step(repeats)
            spoil(what)
            return result

        monkeypatch.setattr(bench.subject, "step", spoiled)
        result = bench.run(small(bench))
        assert result.problem and not result.excuse and not result.failed, what


@pytest.mark.slow
@pytest.mark.parametrize(("number", "word"), [(signal.SIGSTOP, "hung"), (signal.SIGKILL, "crashed")])
def test_an_oracle_that_says_nothing_is_replaced_and_its_program_not_counted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, number: int, word: str
) -> None:
    monkeypatch.setattr(differential, "PATIENCE", 2.0)
    before, process = bench.executed, bench.oracle.process
    process.send_signal(number)
    result = bench.run(small(bench))
    assert result.failed == f"Unicorn {word}"
    assert (result.executed, bench.executed) == (0, before)
    assert process.poll() is not None
    assert bench.run(small(bench)).executed == 3


def test_a_jump_to_itself_ends_a_program(bench: Bench) -> None:
    program = small(bench)
    data = b"\xf3\x66\x90\xeb\xfe"  # a jump to itself
    program.code = [(CODE, data[:3], decoded(data[:3], big=True)), (CODE + 3, data[3:], decoded(data[3:], big=True))]
    program.patches = [(CODE, data)]
    result = bench.run(program)
    assert (result.executed, result.failed) == (2, "")
    assert bench.subject.cpu.reg("eip") == CODE + 3
