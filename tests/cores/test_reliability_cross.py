"""Data that crosses a page (A5): every size and split of loads, stores and what is made of several of them.

The two pages are of every kind. A fault names the first byte that cannot be had, and nothing has been stored then; what
is stored goes where the pages lie. EMU_RELIABILITY_FULL takes every offset.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from cores.x86 import state as S
from tests.cores import twins as T
from tests.cores.twins import flat_state, twins

pytest.importorskip("emu.engine._x86")
pytestmark = pytest.mark.usefixtures("tiers")

FIRST, SECOND, AFAR = 0x20000, 0x21000, 0x29000
EDGE = T.WINDOW + 0x1000
ALL = T.P | T.W | T.U | 0x60
KINDS = {
    "present": SECOND | ALL,
    "another frame": AFAR | ALL,
    "the same frame": FIRST | ALL,
    "not present": SECOND | T.W | T.U,
    "read only": SECOND | T.P | T.U | 0x60,
    "supervisor": SECOND | T.P | T.W | 0x60,
    "ROM": T.ROM | ALL,
    "device": T.HOLE | ALL,
    "beyond RAM": 0x300000 | ALL,
}


class Access(NamedTuple):
    """An instruction and the bytes it touches relative to its operand: `[edi]`, or ESP where `stack` is set."""

    code: str
    size: int
    low: int = 0
    writes: bool = True
    stack: bool = False
    repeats: bool = False  # a fault may come between its elements
    by_part: bool = False  # its stores follow one another, with nothing seen of them below ESP


ACCESSES = {
    "load byte": Access("8a07", 1, writes=False),
    "load word": Access("668b07", 2, writes=False),
    "load": Access("8b07", 4, writes=False),
    "store word": Access("668907", 2),
    "store": Access("8907", 4),
    "add": Access("0107", 4),
    "xchg": Access("8707", 4),
    "lock cmpxchg": Access("f00fb117", 4),
    "cmpxchg8b": Access("0fc70f", 8),
    "bts": Access("0fba2f07", 4),
    "shld": Access("0fa40f05", 4),
    "push": Access("50", 4, -4, stack=True),
    "push word": Access("6650", 2, -2, stack=True),
    "push memory": Access("ff37", 4, writes=False),
    "pop": Access("58", 4, writes=False, stack=True),
    "pop memory": Access("8f07", 4),
    "pusha": Access("60", 32, -32, stack=True),
    "pushaw": Access("6660", 16, -16, stack=True),
    "popa": Access("61", 32, writes=False, stack=True),
    "pushf": Access("9c", 4, -4, stack=True),
    "call": Access("e800000000", 4, -4, stack=True),
    "call far": Access(f"9a{(T.FREE + 64).to_bytes(4, 'little').hex()}1b00", 8, -8, stack=True, by_part=True),
    "ret": Access("c3", 4, writes=False, stack=True),
    "retf": Access("cb", 8, writes=False, stack=True),
    "iret": Access("cf", 12, writes=False, stack=True),
    "enter": Access("c8000000", 4, -4, stack=True, by_part=True),
    "enter 3": Access("c8000003", 16, -16, stack=True, by_part=True),
    "leave": Access("c9", 4, writes=False, stack=True),
    "stos": Access("ab", 4),
    "rep stos": Access("f3ab", 12, repeats=True),
    "scas": Access("af", 4, writes=False),
    "lods": Access("89fead", 4, writes=False),
    "rep movs": Access("f3a5", 12, repeats=True),
    "ins": Access("6d", 4),
    "bound": Access("6207", 8, writes=False),
    "les": Access("c407", 6, writes=False),
    "sgdt": Access("0f0107", 6),
    "fld m80": Access("db2f", 10, writes=False),
    "fstp m80": Access("db3f", 10),
    "fstp m64": Access("dd1f", 8),
    "fbstp": Access("df37", 10),
    "fnstenv": Access("d937", 28),
    "fnsave": Access("dd37", 108),
    "frstor": Access("dd27", 108, writes=False),
    "movq mm": Access("0f7f07", 8),
    "movntq": Access("0fe707", 8),
    "movups load": Access("0f1007", 16, writes=False),
    "movups": Access("0f1107", 16),
    "movdqu": Access("f30f7f07", 16),
    "movlps": Access("0f1307", 8),
    "maskmovdqu": Access("660ff7c8", 16),
    "fxsave": Access("0fae07", 512),
    "fxrstor": Access("0fae0f", 512, writes=False),
    "stmxcsr": Access("0fae1f", 4),
}
ALIGNED = {"fxsave", "fxrstor"}
SLOTS = {"pusha": (4, range(7, -1, -1)), "pushaw": (2, range(7, -1, -1)), "popa": (4, (0, 1, 2, 4, 5, 6, 7))}
"""Words that are accessed one after the other: their size and order. POPA does not read the one for ESP."""


def splits(name: str, a: Access) -> list[int]:
    """Bytes of the access before the edge: none, some, all."""
    if name in ALIGNED:
        return [0, 16, 256, 496, 512]
    if a.size <= 16 or T.FULL:
        return list(range(a.size + 1))
    return sorted({0, 1, 2, 4, 7, 8, a.size // 2, a.size - 4, a.size - 1, a.size})


def scene(a: Access, split: int, entries: list[int]) -> tuple[dict[int, bytes], dict[str, Any]]:
    state = flat_state(3)
    at = EDGE - split - a.low
    state["gpr"] = [0x11223344, 3, 0x60, 0x55667788, at if a.stack else T.STACK0 - 0x800, at, at, at, *[0] * 9]
    if a.code == "f3a5":
        state["gpr"][S.ESI] = T.FREE
    state["fpr_sig"] = [1 << 63 | k << 40 for k in range(8)]
    state["fpr_se"] = [0x4000 + k for k in range(8)]
    state["xmm_lo"] = [0x8182838485868788 + k for k in range(8)] + [0] * 8
    state["xmm_hi"] = [0x9192939495969798 + k for k in range(8)] + [0] * 8
    frame = T.entries([T.FREE + 64, T.CODE3, 0x202, T.FREE, T.DATA3])
    data = bytearray(range(1, 256)) * 40
    for place in range(0x1000 - split, 0x1000 - split + len(frame)):
        data[place] = frame[place - (0x1000 - split)]
    if a.code == "0fae0f":
        start = 0x1000 - split
        data[start : start + 32] = bytes(32)
    memory = {
        T.FREE: bytes.fromhex(a.code).ljust(16, b"\x90") + b"\xf4" * 112,
        FIRST: bytes(data[:0x1000]),
        SECOND: bytes(data[0x1000:0x2000]),
        AFAR: bytes(data[0x1000:0x2000]),
        T.WINDOW_TABLE: T.entries(entries),
    }
    return memory, state


def fault_of(name: str, split: int, kinds: tuple[str, str]) -> tuple[int, int] | None:
    """(error code, CR2) that the access must end in, None if it must not fault."""
    a = ACCESSES[name]
    size, order = SLOTS.get(name, (a.size, (0,)))
    for slot in order:
        low = EDGE - split + slot * size
        for k, kind in enumerate(kinds):
            first = max(low, EDGE - 0x1000 if k == 0 else EDGE)
            if first >= min(low + size, EDGE if k == 0 else EDGE + 0x1000):
                continue
            wrong = {"not present": 0, "supervisor": 1}.get(kind, 1 if kind == "read only" and a.writes else None)
            if wrong is not None:
                return wrong | 4 | (2 if a.writes else 0), first
    return None


def check(name: str, split: int, kinds: tuple[str, str]) -> bool:
    """One case on both tiers. Whether it faulted."""
    a = ACCESSES[name]
    what = f"{name} split {split}, {kinds[0]} and {kinds[1]}"
    both = twins()
    entries = [
        KINDS[kind] if kind != "present" else place | ALL for kind, place in zip(kinds, (FIRST, SECOND), strict=True)
    ]
    memory, state = scene(a, split, entries)
    both.start(memory, state)
    before = [both.memory(at, 0x1000) for at in (FIRST, SECOND, AFAR)]
    both.run(2 if name == "lods" else 12 if a.repeats else 1)
    assert both.difference() == "", what
    story = both.cpus[0].exceptions()
    expected = fault_of(name, split, kinds)
    if expected is None:
        assert not [e for e in story if e["vector"] == 14], f"{what}: {story}"
        return False
    error, cr2 = expected
    assert story and story[0]["vector"] == 14, what
    if a.repeats:
        # The elements before the one that faults are done; its own address may lie before the edge.
        assert story[0]["error"] == error and cr2 - 4 < story[0]["cr2"] <= cr2, what
        return True
    if not a.by_part:
        assert (story[0]["error"], story[0]["cr2"]) == (error, cr2), f"{what}: {story[0]}"
    after = [both.memory(at, 0x1000) for at in (FIRST, SECOND, AFAR)]
    if not a.by_part:
        assert after == before, f"{what}: half written"
        assert not [entry for entry in both.buses[0].log if entry[0] in ("w", "in")], what
    now = both.cpus[0].state()
    start = state["gpr"]
    kept = [k for k in range(8) if k != S.ESP and not (name == "lods" and k == S.ESI)]
    assert [now["gpr"][k] for k in kept] == [start[k] for k in kept], what
    assert now["fpr_sig"] == state["fpr_sig"] and now["fstat"] == 0 and now["xmm_lo"] == state["xmm_lo"], what
    return True


def campaign(pairs: list[tuple[str, str]]) -> tuple[int, int]:
    cases = faults = 0
    for name, a in ACCESSES.items():
        for split in splits(name, a):
            for kinds in pairs:
                cases += 1
                faults += check(name, split, kinds)
    return cases, faults


def test_an_access_may_end_in_a_page_of_any_kind() -> None:
    cases, faults = campaign([("present", "not present")])
    assert cases > 300 and faults > 150


@pytest.mark.slow
def test_an_access_may_lie_in_two_pages_of_any_kinds() -> None:
    pairs = [(a, b) for a in KINDS for b in KINDS]
    if not T.FULL:
        pairs = [(a, b) for k, a in enumerate(KINDS) for n, b in enumerate(KINDS) if (k * 4 + n) % 5 == 0]
    cases, faults = campaign(pairs)
    assert cases > 6000 and faults > 1500


@pytest.mark.parametrize(
    "name", sorted(n for n, a in ACCESSES.items() if a.writes and not a.repeats and "cmp" not in n)
)
def test_stores_into_two_frames_leave_the_rest_alone(name: str) -> None:
    a = ACCESSES[name]
    both = twins()
    for split in splits(name, a):
        memory, state = scene(a, split, [FIRST | ALL, AFAR | ALL])
        both.start(memory, state)
        before = both.memory(FIRST, 0x1000) + both.memory(AFAR, 0x1000)
        aside = both.memory(SECOND, 0x1000)
        both.run(1)
        assert both.cpus[0].exceptions() == []
        after = both.memory(FIRST, 0x1000) + both.memory(AFAR, 0x1000)
        low = 0x1000 - split
        changed = [k for k in range(0x2000) if before[k] != after[k]]
        assert changed and low <= changed[0] and changed[-1] < low + a.size, f"{name} {split}"
        assert both.memory(SECOND, 0x1000) == aside
