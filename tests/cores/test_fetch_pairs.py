"""Pages of code whose places in the fetch TLB are the same: two are kept, and what is kept goes with a flush."""

from __future__ import annotations

import random

import pytest

from cores.x86.assembler import assemble_program
from tests.cores import twins as T

pytest.importorskip("emu.engine._x86")
pytestmark = pytest.mark.usefixtures("tiers")

LOW, NEAR, FAR = 0x30000, T.WINDOW + 0x30000, T.WINDOW + 0x230000
FRAMES, COUNTS, DRIVER = 0x40000, 0x18000, 0x20000
GLOBAL = 0x100


def functions() -> dict[int, bytes]:
    """One at LOW and one in each of four frames, each of which counts its calls."""
    places = (LOW, *(FRAMES + 4096 * k for k in range(4)))
    return {
        at: assemble_program(f"inc dword [{COUNTS + 4 * k}]\nret", file="function").data for k, at in enumerate(places)
    }


def entry(page: int, frame: int, more: int = 0) -> str:
    value = FRAMES + 4096 * frame | T.P | T.W | 0x60 | more
    return f"mov dword [{T.WINDOW_TABLE + 4 * ((page - T.WINDOW) >> 12)}], {value}"


def call(page: int) -> str:
    return f"mov eax, {page}\ncall eax"


def counts(t: T.Twins, lines: list[str]) -> list[int]:
    code = assemble_program("\n".join([*lines, "hlt"]), file="driver").data
    state = T.flat_state(0, eip=DRIVER)
    state["cr4"] |= 1 << 7
    t.start({**functions(), DRIVER: code}, state)
    t.run(100_000)
    assert t.difference() == ""
    seen = t.memory(COUNTS, 20)
    return [int.from_bytes(seen[k : k + 4], "little") for k in range(0, 20, 4)]


def test_two_pages_of_one_place_are_kept_and_a_third_takes_the_older() -> None:
    t = T.twins()
    both = [entry(NEAR, 0), entry(FAR, 1), call(NEAR), call(FAR), entry(NEAR, 2), entry(FAR, 3)]
    assert counts(t, [*both, call(NEAR), call(FAR)]) == [0, 2, 2, 0, 0]
    assert counts(t, [*both, call(LOW), call(FAR), call(NEAR)]) == [1, 1, 2, 1, 0]
    assert counts(t, [*both, f"invlpg [{NEAR}]", call(NEAR), call(FAR)]) == [0, 1, 1, 1, 1]


def test_a_new_cr3_leaves_what_is_global_at_either_place() -> None:
    t = T.twins()
    for near, far in ((GLOBAL, 0), (0, GLOBAL)):
        both = [entry(NEAR, 0, near), entry(FAR, 1, far), call(NEAR), call(FAR), entry(NEAR, 2), entry(FAR, 3)]
        stays, goes = (1, 4) if near else (2, 3)
        expected = [0, 1, 1, 0, 0]
        expected[stays] += 1
        expected[goes] += 1
        assert counts(t, [*both, "mov ebx, cr3", "mov cr3, ebx", call(NEAR), call(FAR)]) == expected


@pytest.mark.parametrize("seed", range(8))
def test_random_calls_changes_and_flushes_are_the_same_on_both(seed: int) -> None:
    rng = random.Random(seed)
    lines = [entry(NEAR, 0), entry(FAR, 1)]
    for _ in range(300):
        page = rng.choice((NEAR, FAR))
        change = entry(page, rng.randrange(4), rng.choice((0, GLOBAL)))
        flush = rng.choice((f"invlpg [{page}]", "mov ebx, cr3\nmov cr3, ebx"))
        lines.append(rng.choice((call(page), call(page), call(LOW), change, flush)))
    assert sum(counts(T.twins(), lines)) == sum(line.count("call") for line in lines)
