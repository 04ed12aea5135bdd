"""Precise faults (A7): every form under demand paging, one page and one right at a time.

All pages of data, stack and LDT are absent at first. Each page fault must leave the state from before the instruction,
memory included; the page then becomes readable, at the next fault writable, and the instruction starts again from the
state that the fault left. In the end everything is as if there had been no fault. Operands lie across page edges, so
that each access k = 1..n of an instruction faults by itself.
"""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest

from cores.x86 import state as S
from cores.x86 import strategies
from cores.x86.decoder import tables
from cores.x86.forms import Form
from tests.cores import twins as T
from tests.cores.tier_machine import descriptor
from tests.cores.twins import flat_state, twins

pytest.importorskip("emu.engine._x86")
pytestmark = pytest.mark.usefixtures("tiers")

FRAMES, PAGES = 0x20000, 16
EDGES = 0x2000, 0x6000, 0x9000
COLD_DATA, COLD_CODE = 0x17, 0x1F  # in the LDT, not accessed yet
PLACE = strategies.Place(
    True, EDGES[0] - 9, 64 + 9, (T.LDT_DATA, T.LDT_CODE, COLD_DATA, COLD_CODE, T.DATA3, 0), ports=(0x60,)
)
SETTLED = 0x60  # accessed and dirty
MOST_FAULTS = 2 * (PAGES + 1)
IMAGE = 0xFFFFFFFF & ~(1 << S.FLAG_RF)
# The order of their accesses is architected: ENTER pushes as it reads the display, CALL pushes before EIP is checked.
PUSHES_ONE_BY_ONE = ("enter_", "call_Ap_", "call_Mp_")
_FLAGS = ("cf", "cc_z", "cc_s", "cc_aux", "eflags")


def scene(insn: bytes, seed: int, *, demand: bool) -> tuple[dict[int, bytes], dict[str, Any]]:
    """Memory and state: all segments but CS start at the window, whose 16 pages hold data and stack."""
    rng = Random(seed)
    rights = 0 if demand else T.P | T.W
    low = [page << 12 | T.P | T.W | T.U | SETTLED for page in range(256)]
    low[T.LDT >> 12] = T.LDT | T.U | SETTLED | rights
    ldt = bytearray(T.tables()[T.LDT])
    cold = descriptor(0, 0xFFFFF, 0xFA, 0xC)
    ldt[8 * (COLD_CODE >> 3) : 8 * (COLD_CODE >> 3) + 8] = cold.to_bytes(8, "little")
    data = bytearray(rng.randbytes(PAGES << 12))
    # Far pointers and frames that lead somewhere.
    for at in (*range(EDGES[0] - 20, EDGES[0] + 4, 6), *range(EDGES[1] - 24, EDGES[1] + 24, 12)):
        if rng.randrange(2):
            data[at : at + 6] = (T.FREE + rng.randrange(64)).to_bytes(4, "little") + rng.choice(
                PLACE.selectors
            ).to_bytes(2, "little")
    memory = {
        T.FREE: insn.ljust(32, b"\xf4"),
        FRAMES: bytes(data),
        T.LDT: bytes(ldt),
        T.TABLE: T.entries(low),
        T.WINDOW_TABLE: T.entries((FRAMES + (k << 12)) | T.U | SETTLED | rights for k in range(PAGES)),
    }
    state = flat_state(3)
    for n in (S.ES, S.SS, S.DS, S.FS, S.GS):
        state["seg_base"][n] = T.WINDOW
    state["gpr"] = strategies.registers(rng, PLACE)
    for n, edge in ((S.ESP, EDGES[1]), (S.EBP, EDGES[2])):
        state["gpr"][n] = edge + rng.randrange(11) - 4
    if insn[0] in (0xF2, 0xF3) or rng.randrange(4) == 0:
        state["gpr"][S.ECX] = rng.randrange(12)
    state["fpr_sig"] = [1 << 63 | rng.getrandbits(63) for _ in range(8)]
    state["fpr_se"] = [0x3FFF - 8 + rng.randrange(16) for _ in range(8)]
    state["xmm_lo"] = [rng.getrandbits(64) for _ in range(8)] + [0] * 8
    state["xmm_hi"] = [rng.getrandbits(64) for _ in range(8)] + [0] * 8
    state["ftag"] = rng.choice((0, 0xFF, 0x3F))
    state["mxcsr"] = 0x1F80
    state["eflags"] |= rng.randrange(2) << S.FLAG_DF
    return memory, state


def progresses(form: Form, insn: bytes) -> bool:
    """Whether a fault may leave it half done: a repeated string instruction."""
    return form.entry.chapter == "string" and (0xF2 in insn[:4] or 0xF3 in insn[:4])


def step(both: T.Twins, what: str) -> tuple[int, int, int] | None:
    """One instruction. Of a page fault: error code, CR2, and where the flags' image lies; else None."""
    before = len(both.cpus[0].exceptions())
    both.run(1)
    assert both.difference() == "", what
    story = both.cpus[0].exceptions()
    if len(story) == before or story[-1]["vector"] != 14 or story[-1]["kind"]:
        return None
    return story[-1]["error"], story[-1]["cr2"], T.STACK0 - 24


def resume(cpu: Any, start: dict[str, Any], ram: Any) -> dict[str, Any]:
    """What IRET would make of the frame on the level 0 stack, as a state; flags by their image."""
    frame = [int.from_bytes(ram[T.STACK0 - 24 + 4 * k : T.STACK0 - 20 + 4 * k], "little") for k in range(6)]
    state: dict[str, Any] = cpu.state()
    state["eip"], state["cpl"] = frame[1], 3
    state["gpr"][S.ESP] = frame[4]
    for n, selector in ((S.CS, frame[2] & 0xFFFF), (S.SS, frame[5] & 0xFFFF)):
        assert selector == start["seg_sel"][n]
        for part in ("seg_sel", "seg_base", "seg_limit", "seg_attr"):
            state[part][n] = start[part][n]
    cpu.load_state({**state, "eflags": start["eflags"], "halted": 0})
    cpu.set_reg("eflags", frame[3] & IMAGE)
    return state


def memory_of(both: T.Twins) -> Any:
    """Window and LDT: what an instruction can reach but for the tables of the system."""
    array = both.arrays[0]
    return np.concatenate([array[FRAMES : FRAMES + (PAGES << 12)], array[T.LDT : T.LDT + 0x100]])


def grant(both: T.Twins, cr2: int, error: int) -> bool:
    """The page becomes readable, or writable if it is readable already. False for a page that nobody has."""
    if T.WINDOW <= cr2 < T.WINDOW + (PAGES << 12):
        at = T.WINDOW_TABLE + 4 * (cr2 - T.WINDOW >> 12)
    elif cr2 >> 12 == T.LDT >> 12:
        at = T.TABLE + 4 * (cr2 >> 12)
    else:
        return False
    entry = int.from_bytes(both.memory(at, 4), "little")
    assert entry & T.P == error & 1, hex(cr2)
    assert not entry & T.P or error & 2, hex(cr2)
    both.poke(at, (entry | (T.W if error & 1 else T.P)).to_bytes(4, "little"))
    for cpu in both.cpus:
        cpu.set_reg("cr3", T.DIRECTORY)
    return True


def case(form: Form, seed: int, model: str = "qemu32") -> int:
    """An instruction of a form under demand paging; the number of faults it took."""
    both = twins(model)
    insn = strategies.instruction(Random(seed * 7919 + form.number), form, PLACE)
    what = f"{form.ident} {insn.hex()} seed {seed}"
    memory, state = scene(insn, seed, demand=True)
    both.start(memory, state)
    start, flags = both.cpus[0].state(), both.cpus[0].reg("eflags")
    untouched, ports = memory_of(both), list(both.buses[0].log)
    faults = 0
    while True:
        fault = step(both, what)
        if fault is None:
            break
        faults += 1
        assert faults <= MOST_FAULTS, what
        for k, cpu in enumerate(both.cpus):
            resume(cpu, start, both.rams[k].view)
        if not progresses(form, insn):
            now = both.cpus[0].state()
            wrong = [name for name in now if name != "cr2" and now[name] != start[name] and name not in _FLAGS]
            assert not wrong, f"{what}: fault {faults} changes {wrong}"
            assert both.cpus[0].reg("eflags") == flags, f"{what}: fault {faults}"
            memory_now = memory_of(both)
            if form.ident.startswith(PUSHES_ONE_BY_ONE):
                # What lies below ESP is nobody's.
                low, high = start["gpr"][S.ESP] - 0x100, start["gpr"][S.ESP]
                memory_now[low:high] = untouched[low:high]
            assert np.array_equal(memory_now, untouched), f"{what}: fault {faults} leaves memory half written"
            assert both.buses[0].log == ports, f"{what}: fault {faults} comes behind a device access"
        if not grant(both, fault[1], fault[0]):
            break
    end, written, ports = both.cpus[0].state(), memory_of(both), list(both.buses[0].log)
    fresh = twins(model)
    fresh.start(*scene(insn, seed, demand=False))
    assert step(fresh, what) == fault, what
    if fault is not None:
        for k, cpu in enumerate(fresh.cpus):
            resume(cpu, start, fresh.rams[k].view)
    wrong = [name for name, v in fresh.cpus[0].state().items() if name != "cr2" and v != end[name]]
    assert not wrong, f"{what}: {wrong} in the end"
    assert np.array_equal(memory_of(fresh), written), f"{what}: memory in the end"
    assert fresh.buses[0].log == ports, f"{what}: device accesses in the end"
    return faults


def candidates() -> list[Form]:
    """Every form that may touch memory."""
    return [form for form in tables().forms if form.mnemonic != "rdtsc" and form.entry.needs != "ssse3"]


def campaign(forms: list[Form], seeds: int) -> dict[str, int]:
    seen: dict[str, int] = {}
    for form in forms:
        for seed in range(seeds):
            seen[form.ident] = max(seen.get(form.ident, 0), case(form, seed))
    return seen


def test_a_sample_of_forms_can_be_restarted_at_every_access() -> None:
    forms = candidates()
    seen = campaign(forms[:: len(forms) // 90], 1)
    assert sum(n > 1 for n in seen.values()) > 10


@pytest.mark.slow
def test_every_form_can_be_restarted_at_every_access() -> None:
    forms = candidates()
    seen = campaign(forms, 12 if T.FULL else 2)
    memory = [form for form in forms if form.mem == 1]
    reached = sum(seen[form.ident] > 0 for form in memory)
    assert reached > 0.8 * len(memory), f"{reached} of {len(memory)}"
    assert max(seen.values()) >= 4
