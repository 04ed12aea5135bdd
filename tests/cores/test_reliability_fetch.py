"""Instructions that cross a page (A4): every split of an encoding, with the second page of every kind.

The fault, its error code and address, and what a restart after the repair gives. EMU_RELIABILITY_FULL runs every form;
otherwise a sample.
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from cores.x86 import state as S
from cores.x86 import strategies
from cores.x86.decoder import tables
from emu.cpu import Exit
from tests.cores import twins as T
from tests.cores.twins import flat_state, twins

pytest.importorskip("emu.engine._x86")
pytestmark = pytest.mark.usefixtures("tiers")

FIRST, SECOND, AFAR, DATA, STACK = 0x20000, 0x21000, 0x28000, 0x30000, 0x38800
EDGE = T.WINDOW + 0x1000
PLACE = strategies.Place(True, DATA, 0x1000, (T.DATA3, T.LDT_DATA), ports=(0x60,))
PRESENT = T.P | T.W | T.U
# What stands behind the edge: the page-table entry, and where the bytes are to be found then.
KINDS: dict[str, tuple[int, int]] = {
    "present": (SECOND | PRESENT, SECOND),
    "another frame": (AFAR | PRESENT, AFAR),
    "the same frame": (FIRST | PRESENT, FIRST),
    "not present": (SECOND | T.W | T.U, SECOND),
    "supervisor": (SECOND | T.P | T.W, SECOND),
    "ROM": (T.ROM | PRESENT, T.ROM),
    "device": (T.HOLE | PRESENT, T.HOLE),
    "beyond RAM": (0x200000 | PRESENT, 0),
}
FAULTS = {"not present": 0, "supervisor": 1}


def encodings(count: int) -> list[bytes]:
    """Drawn instructions of different forms, most of them long; none that waits or that ends the run otherwise."""
    found = []
    forms = [form for form in tables().forms if form.entry.needs != "ssse3"]
    for k in range(count):
        form = forms[(k * 131) % len(forms)]
        rng = Random(k)
        insn = strategies.instruction(rng, form, PLACE)
        room = 15 - len(insn)
        if room > 0 and rng.randrange(2):
            insn = bytes(rng.choice((0x2E, 0x36, 0x3E, 0x26)) for _ in range(rng.randrange(room + 1))) + insn
        found.append(insn[:15])
    return found


def registers(seed: int) -> list[int]:
    values = strategies.registers(Random(seed), PLACE)
    values[S.ESP] = STACK
    return values


def case(insn: bytes, split: int, kind: str, ring: int, seed: int) -> Any:
    """Run an instruction whose first `split` bytes stand before the edge, with a HLT behind it."""
    both = twins()
    entry, place = KINDS[kind]
    rest = (insn[split:] + b"\xf4").ljust(32, b"\xf4")
    memory = {FIRST + 0x1000 - split: insn[:split]}
    answers = {T.HOLE + k: b for k, b in enumerate(rest)} if kind == "device" else {}
    if place:
        memory[place] = rest
    memory[T.WINDOW_TABLE] = T.entries([FIRST | PRESENT, entry])
    state = flat_state(ring, eip=EDGE - split)
    state["gpr"] = registers(seed)
    for bus in both.buses:
        bus.memory = answers
    both.start(memory, state)
    before = both.cpus[0].state()
    reasons = both.run(1)
    assert reasons[0] == reasons[1]
    return both, before


def check(insn: bytes, split: int, kind: str, ring: int, seed: int) -> int:
    """One case, repaired and restarted where the fetch faults. 1 if it did."""
    what = f"{insn.hex()} split {split} {kind} ring {ring}"
    both, before = case(insn, split, kind, ring, seed)
    assert both.difference() == "", what
    reaches = split < len(insn)
    if not reaches or kind not in FAULTS or (kind == "supervisor" and not ring):
        return 0
    story = both.cpus[0].exceptions()
    error = FAULTS[kind] | (4 if ring else 0)
    assert [(e["vector"], e["error"], e["eip"], e["cr2"]) for e in story[:1]] == [(14, error, EDGE - split, EDGE)], what
    # In a handler that faults no more: nothing but what delivery changes.
    now = both.cpus[0].state()
    for name, value in before.items():
        if name not in ("eip", "gpr", "cr2", "cpl", "eflags", "seg_sel", "seg_base", "seg_limit", "seg_attr", "shadow"):
            assert now[name] == value, f"{what} {name}"
    assert [v for k, v in enumerate(now["gpr"]) if k != S.ESP] == [v for k, v in enumerate(before["gpr"]) if k != S.ESP]
    both.map(1, SECOND | PRESENT)
    for cpu in both.cpus:
        cpu.load_state({**before, "halted": 0})
    both.run(1)
    assert both.difference() == "", what
    restarted = both.cpus[0].state()
    again, _ = case(insn, split, "present", ring, seed)
    fresh = again.cpus[0].state()
    ticks = {"tsc_offset"} | ({"gpr"} if insn.endswith(b"\x0f\x31") else set())
    for name in fresh.keys() - ticks - {"cr2"}:
        assert restarted[name] == fresh[name], f"{what} {name}"
    return 1


def campaign(count: int, splits: Any, kinds: Any) -> tuple[int, int]:
    cases = faults = 0
    for number, insn in enumerate(encodings(count)):
        for split in splits(len(insn), number):
            for kind in kinds(number + split):
                faults += check(insn, split, kind, 3 if (number + split) % 3 else 0, number)
                cases += 1
    return cases, faults


def test_an_instruction_may_cross_a_page_anywhere() -> None:
    every = list(KINDS)
    cases, faults = campaign(60, lambda n, k: range(1, min(n, 14) + 1), lambda k: (every[k % 8], every[(k + 3) % 8]))
    assert cases > 400 and faults > 60


@pytest.mark.slow
def test_every_form_may_cross_a_page_at_every_split_into_every_kind_of_page() -> None:
    every = list(KINDS)
    count = len(tables().forms)
    if T.FULL:
        campaign(count, lambda n, k: range(1, min(n, 14) + 1), lambda k: every)
        return
    cases, faults = campaign(
        count, lambda n, k: {1, max(1, n - 1), 1 + k % n}, lambda k: (every[k % 8], every[(k + 3) % 8])
    )
    assert cases > 5000 and faults > 500


@pytest.mark.parametrize("kind", ["not present", "supervisor"])
def test_the_page_behind_an_instruction_that_ends_at_the_edge_is_not_asked_for(kind: str) -> None:
    for insn in (b"\x90", b"\xb8\x78\x56\x34\x12", b"\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x90"):
        both, _ = case(insn, len(insn), kind, 3, 0)
        assert both.difference() == ""
        assert (both.cpus[0].exceptions(), both.cpus[0].icount, both.cpus[0].reg("eip")) == ([], 1, EDGE)
        both.run(1)
        assert both.fault() == (14, FAULTS[kind] | 4, EDGE, EDGE)


@pytest.mark.parametrize("split", range(1, 16))
@pytest.mark.parametrize("length", [15, 16, 20])
def test_an_instruction_of_more_than_15_bytes_is_a_general_protection_fault(length: int, split: int) -> None:
    insn = b"\x2e" * (length - 1) + b"\x90"
    for kind in ("present", "another frame", "device", "ROM"):
        both, _ = case(insn, min(split, 15), kind, 3, 0)
        assert both.difference() == ""
        at = EDGE - min(split, 15)
        if length == 15:
            assert both.cpus[0].exceptions() == []
            assert both.cpus[0].reg("eip") == at + 15
        else:
            assert both.fault() == (13, 0, at, 0)
    # Bytes that cannot be fetched count before the length does, but not those behind the 15th.
    both, _ = case(insn, min(split, 15), "not present", 3, 0)
    vector, _error, _eip, cr2 = both.fault() or (0, 0, 0, 0)
    if split < 15:
        assert (vector, cr2) == (14, EDGE)
    else:
        assert vector == (13 if length > 15 else 0)
    assert both.difference() == ""


def test_code_may_wrap_from_the_top_of_the_address_space_to_the_bottom() -> None:
    both = twins()
    insn = b"\xb8\x78\x56\x34\x12"
    for split in range(1, 5):
        table = 0x9000
        memory = {
            FIRST + 0x1000 - split: insn[:split],
            SECOND: insn[split:] + b"\xf4",
            T.DIRECTORY + 4 * 1023: T.entries([table | PRESENT]),
            table + 4 * 1023: T.entries([FIRST | PRESENT]),
            T.TABLE: T.entries([SECOND | PRESENT]),
        }
        both.start(memory, flat_state(3, eip=(1 << 32) - split))
        assert both.run(1) == [Exit.BUDGET, Exit.BUDGET]
        assert both.difference() == ""
        assert (both.cpus[0].reg("eax"), both.cpus[0].reg("eip")) == (0x12345678, 5 - split)


@pytest.mark.parametrize("limit", range(7))
def test_a_code_segment_ends_where_its_limit_says(limit: int) -> None:
    both = twins()
    insn = b"\xb8\x78\x56\x34\x12\x90"
    state = flat_state(3, eip=0)
    state["seg_base"][S.CS] = EDGE - 3
    state["seg_limit"][S.CS] = limit
    memory = {FIRST + 0xFFD: insn[:3], SECOND: insn[3:], T.WINDOW_TABLE: T.entries([FIRST | PRESENT, SECOND | PRESENT])}
    both.start(memory, state)
    both.run(1)
    assert both.difference() == ""
    assert both.fault() == (None if limit >= 4 else (13, 0, 0, 0))
    if 4 <= limit < 6:
        both.run(2)
        assert both.difference() == ""
        assert both.fault() == (13, 0, limit + 1, 0)
