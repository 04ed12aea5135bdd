"""Random 32-bit programs on the C engine and on Unicorn in a process of its own: every instruction is compared."""

from __future__ import annotations

import importlib.util
from random import Random

import pytest

from tests.cores.differential import Bench, draw

needs_unicorn = pytest.mark.skipif(
    importlib.util.find_spec("unicorn") is None, reason="Unicorn is not installed (pip install unicorn)"
)


def run(programs: int, first: int = 0) -> tuple[int, list[str]]:
    """(instructions compared, what differs) at level 0 in 32-bit protected mode with paging."""
    bench = Bench()
    try:
        mode = next(m for m in bench.modes if m.name == "ring0_32")
        problems = []
        for seed in range(first, first + programs):
            result = bench.run(draw(Random(f"{mode.name}{seed}"), mode, 16))
            if result.problem:
                problems.append(f"seed {seed}: {result.problem}")
        return bench.executed, problems
    finally:
        bench.close()


@needs_unicorn
def test_random_programs_agree_with_unicorn() -> None:
    """A sample of the seeds."""
    executed, problems = run(100)
    assert executed > 1000
    assert not problems, "\n".join(problems)


@needs_unicorn
@pytest.mark.slow
def test_many_random_programs_agree_with_unicorn() -> None:
    """More of them."""
    executed, problems = run(1000)
    assert executed > 10_000
    assert not problems, "\n".join(problems)
