"""Random states (A2): what cannot be is refused and changes nothing; what can be runs alike on both tiers, and cleanly.

EMU_RELIABILITY_STATES is the number of cases of the slow test.
"""

from __future__ import annotations

import os
from random import Random
from typing import Any

import pytest

from cores.lang.draft import Draft, take
from cores.lang.strategies import number, one_in, pick
from cores.x86 import state as S
from cores.x86 import strategies, validate
from cores.x86.models import cpu_model
from emu.cpu import Exit, GuestFault
from tests.cores import twins as T
from tests.cores.twins import flat_state, twins

pytest.importorskip("emu.engine._x86")

CASES = int(os.environ.get("EMU_RELIABILITY_STATES", "20000"))
_chapters = strategies.forms()
PLACE = strategies.Place(True, T.FREE + 0x1000, 0x1000, (*range(0, 0x50, 8), T.CODE3, T.DATA3, T.LDT_DATA, 0x1234))
HUGE = (-1, -(1 << 63), 1 << 63, 1 << 64, 1 << 200, 10**5000, -(10**5000))


def segment(rng: Random) -> tuple[int, int, int, int]:
    """Selector, base, limit and attributes: mostly something a descriptor could hold."""
    base = pick(rng, (0, T.FREE, T.FREE & ~0xFFF, number(rng, 32)))
    limit = pick(rng, (0xFFFFFFFF, 0xFFFF, 0xFFF, number(rng, 32)))
    attr = 0x90 | rng.randrange(16) | 1 | rng.randrange(4) << 5 | rng.randrange(16) << 12
    if one_in(rng, 12):
        attr = pick(rng, (0, 0, number(rng, 16)))
    return rng.randrange(1 << 16), base, limit, attr


def flip(rng: Random, value: int, bits: int, odds: int) -> int:
    """`value`, now and then with one of `bits` bits changed."""
    return value ^ 1 << rng.randrange(bits) if one_in(rng, odds) else value


def draw(rng: Random) -> dict[str, Any]:
    """A state around a legal one, each part of it perhaps replaced."""
    kind = rng.randrange(4)  # real, virtual-8086, ring 0, ring 3
    ring = 3 if kind in (1, 3) else 0
    s = flat_state(ring, paging=kind > 0 and bool(rng.randrange(2)))
    s["eip"] = T.FREE
    if kind < 2:
        for n in range(6):
            s["seg_sel"][n], s["seg_base"][n] = T.FREE >> 4, T.FREE
            s["seg_limit"][n], s["seg_attr"][n] = 0xFFFF, 0xF3 if kind else 0x9B if n == S.CS else 0x93
        s["eip"] = 0
    if kind == 0:
        s["cr0"] &= ~1
        if rng.randrange(2):
            s["idtr_base"], s["idtr_limit"] = 0, 0x3FF
    s["eflags"] = 2 | number(rng, 32) & S.EFLAGS_STORED & ~(1 << S.FLAG_VM) | (kind == 1) << S.FLAG_VM
    if one_in(rng, 3):
        s["cr0"] ^= number(rng, 32) & S.CR0_BITS & ~0x80000011
    s["cr0"] = flip(rng, s["cr0"], 32, 20)
    s["cr4"] = number(rng, 11) if rng.randrange(4) else flip(rng, 0x600, 32, 4)
    s["cr2"], s["cr3"] = number(rng, 32), pick(rng, (T.DIRECTORY, T.DIRECTORY, number(rng, 32)))
    s["pdpte"] = [pick(rng, (T.DIRECTORY | 1, 0, number(rng, 36) & ~0x1E6, number(rng, 64) & ~1)) for _ in range(4)]
    s["pdpte"][rng.randrange(4)] ^= 1 << rng.randrange(64) if one_in(rng, 16) else 0
    for n in range(6):
        if kind > 1 and one_in(rng, 5):
            s["seg_sel"][n], s["seg_base"][n], s["seg_limit"][n], attr = segment(rng)
            if n in (S.CS, S.SS) and rng.randrange(8):
                attr = attr & ~0x60 | ring << 5
                attr = attr & ~4 | 8 if n == S.CS else attr & ~8 | 2
            s["seg_attr"][n] = attr
    for n in (S.LDTR, S.TR):
        if one_in(rng, 4):
            base, limit = pick(rng, (T.TSS, T.LDT, number(rng, 32))), pick(rng, (0x2F, 0x7F, 0x20FF, number(rng, 32)))
            attr = pick(rng, (0, 0x82)) if n == S.LDTR else pick(rng, (0x83, 0x8B, 0x8B, 0))
            s["seg_base"][n], s["seg_limit"][n] = base, limit
            s["seg_sel"][n], s["seg_attr"][n] = number(rng, 16), flip(rng, attr, 16, 16)
    for name in ("gdtr", "idtr"):
        if one_in(rng, 6):
            s[f"{name}_limit"] = number(rng, 16)
        if one_in(rng, 12):
            s[f"{name}_base"] = number(rng, 32)
    s["cpl"] = flip(rng, ring, 2, 24)
    dr7 = number(rng, 32) & S.DR7_BITS if one_in(rng, 6) else 0
    near = T.FREE + rng.randrange(48)
    s["dr"] = [near, number(rng, 32), T.FREE + 0x1000, near, 0, 0, S.DR6_FIXED | number(rng, 4), S.DR7_FIXED | dr7]
    s["dr"][rng.randrange(8)] ^= 1 << rng.randrange(32) if one_in(rng, 30) else 0
    s["shadow"] = rng.randrange(3) if one_in(rng, 6) else 3 * one_in(rng, 60)
    s["halted"] = int(one_in(rng, 20))
    s["nmi_blocked"] = rng.randrange(2)
    s["debug_pending"] = number(rng, 32) & (S.DR6_BITS if rng.randrange(8) else 0xFFFF) if one_in(rng, 10) else 0
    for name in ("msr_sysenter_cs", "msr_sysenter_esp", "msr_sysenter_eip"):
        s[name] = pick(rng, (8, T.FREE, number(rng, 32)))
    s["msr_apic_base"] = flip(rng, 0xFEE00900, 64, 30)
    s["msr_pat"] = flip(rng, 0x0007040600070406, 64, 30)
    s["msr_mtrr_def"] = flip(rng, 0xC00, 64, 30)
    s["tsc_offset"] = number(rng, 64)
    _float(rng, s)
    s["gpr"] = strategies.registers(rng, PLACE)
    s["gpr"][S.ESP] = pick(rng, (T.STACK0 - 0x800, 0x800, number(rng, 32)))
    s["gpr"][rng.randrange(17)] = number(rng, 64) if one_in(rng, 40) else 0
    return s


def _float(rng: Random, s: dict[str, Any]) -> None:
    s["fctrl"] = 0x40 | number(rng, 16) & 0x1F3F
    status = number(rng, 16) & 0x7F7F
    s["fstat"] = flip(rng, status | (0x8080 if status & ~s["fctrl"] & 0x3F else 0), 16, 20)
    s["ftag"] = number(rng, 8)
    s["fpr_sig"], s["fpr_se"] = [number(rng, 64) for _ in range(8)], [number(rng, 16) for _ in range(8)]
    s["mxcsr"] = flip(rng, number(rng, 16), 32, 20)
    s["xmm_lo"] = [number(rng, 64) for _ in range(8)] + [0] * 8
    s["xmm_hi"] = [number(rng, 64) for _ in range(8)] + [0] * 8
    s["fop"] = flip(rng, number(rng, 11), 16, 40)


def refused(cpu: Any, state: Any) -> str | None:
    """What `load_state` says, None if it took the state."""
    try:
        cpu.load_state(state)
    except ValueError as error:
        return str(error)
    return None


def case(seed: int, model: str) -> Exit | None:
    """Load a drawn state into both tiers and run some instructions there. The first exit, None if it was refused."""
    rng = Random(seed)
    both = twins(model)
    state = draw(rng)
    if rng.randrange(8):
        state["cr4"] &= cpu_model(model).cr4_bits
    code = b"".join(strategies.program(rng, _chapters, PLACE, 6)) + b"\xf4"
    both.start(
        {T.FREE: code.ljust(0x200, b"\x90"), 0: bytes(rng.randrange(256) for _ in range(64))},
        {**flat_state(0), "cr4": 0},
    )
    before = both.cpus[0].state()
    said = [refused(cpu, state) for cpu in both.cpus]
    assert said[0] == said[1], f"seed {seed}"
    # Looking and writing from outside goes through paging and raises only its own error.
    for cpu in both.cpus:
        try:
            cpu.read_linear(state["cr2"], 8)
        except GuestFault:
            pass
    assert both.cpus[0].exceptions() == []
    if said[0] is not None:
        assert both.cpus[0].state() == before == both.cpus[1].state(), f"seed {seed}"
        return None
    reasons = both.run(24)
    assert reasons[0] == reasons[1], f"seed {seed} {reasons}"
    assert both.difference() == "", f"seed {seed}"
    # Where instructions lead from a state that can be is a state that can be.
    for cpu in both.cpus:
        assert refused(cpu, cpu.state()) is None, f"seed {seed}"
    return reasons[0]


def campaign(first: int, count: int) -> dict[Exit | None, int]:
    seen: dict[Exit | None, int] = {}
    for seed in range(first, first + count):
        model = ("qemu32", "pentium3", "486")[seed % 16 // 7]
        how = case(seed, model)
        seen[how] = seen.get(how, 0) + 1
    # Every kind of end must occur for this to mean anything.
    assert {None, Exit.BUDGET, Exit.HALT, Exit.SHUTDOWN} <= set(seen), seen
    assert seen[None] < 2 * count / 3, seen
    return seen


@pytest.mark.usefixtures("tiers")
def test_random_states_are_refused_or_run_alike_on_both_tiers() -> None:
    campaign(0, 300)


@pytest.mark.slow
@pytest.mark.usefixtures("tiers")
def test_many_random_states_are_refused_or_run_alike_on_both_tiers() -> None:
    campaign(1000, CASES)


@pytest.fixture(params=[0, 1], ids=["interp", "reference"])
def cpu(request: pytest.FixtureRequest) -> Any:
    """A processor of each tier in flat ring 0."""
    both = twins()
    both.start({}, flat_state(0))
    return both.cpus[request.param]


@pytest.mark.parametrize("value", [*HUGE, "1", 1.0, None, [1], b"1"], ids=lambda v: type(v).__name__)
def test_a_register_takes_only_whole_numbers_that_fit(cpu: Any, value: Any) -> None:
    before = cpu.state()
    for register in S.STATE:
        if isinstance(value, int) and 0 <= value < 1 << register.width:
            continue
        wrong = [value] * register.count if register.count else value
        with pytest.raises(ValueError, match=register.name):
            cpu.load_state({register.name: wrong})
    names = (
        "eax", "ax", "ah", "eip", "ip", "eflags", "cr0", "cr2", "cr3", "cr4", "cs", "ds.base", "ss.limit", "fs.attr",
        "dr0", "dr7", "mxcsr", "cpl", "gdtr.base", "tr", "shadow",
    )  # fmt: skip
    wide = () if isinstance(value, int) and 0 <= value < 1 << 128 else ("xmm0", "mm3", "st7")
    for name in (*names, *wide):
        with pytest.raises(ValueError, match=name):
            cpu.set_reg(name, value)
    assert cpu.state() == before


def test_a_state_of_the_wrong_shape_is_refused(cpu: Any) -> None:
    before = cpu.state()
    shapes: tuple[Any, ...] = (
        None,
        [],
        "eip",
        {"eip": [1]},
        {"gpr": 1},
        {"gpr": [0] * 16},
        {"gpr": []},
        {7: 1},
        {"rip": 1},
    )
    for wrong in shapes:
        with pytest.raises(ValueError):
            cpu.load_state(wrong)
    assert cpu.state() == before


ILLEGAL: dict[str, dict[str, Any]] = {
    "PG without PE": {"cr0": 0x80000010},
    "NW without CD": {"cr0": 0x20000011},
    "a bit that CR0 has not": {"cr0": 0x51},
    "ET off": {"cr0": 1},
    "a bit that CR4 has not": {"cr4": 0x800},
    "virtual-8086 in real mode": {"cr0": 0x10, "eflags": 0x20002},
    "virtual-8086 at ring 0": {"eflags": 0x20002},
    "a flag that is kept elsewhere": {"eflags": 3},
    "bit 1 of the flags off": {"eflags": 0},
    "ring 4": {"cpl": 4},
    "ring 3 on ring 0's stack": {"cpl": 3},
    "ring 3 in real mode": {"cr0": 0x10, "cpl": 3},
    "a present PDPTE with reserved bits": {"pdpte": [3, 0, 0, 0]},
    "limit bits among the attributes": {"seg_attr": [0xC193, 0xC09B, *[0xC093] * 4, 0x82, 0x8B]},
    "a stack of code": {"seg_attr": [0xC093, 0xC09B, 0xC09B, *[0xC093] * 3, 0x82, 0x8B]},
    "a segment that is not present": {"seg_attr": [0xC093, 0xC09B, 0xC093, 0xC013, 0xC093, 0xC093, 0x82, 0x8B]},
    "data of execute-only code": {"seg_attr": [0xC099, 0xC09B, *[0xC093] * 4, 0x82, 0x8B]},
    "a TSS that is not busy": {"seg_attr": [0xC093, 0xC09B, *[0xC093] * 4, 0x82, 0x89]},
    "an LDT that is none": {"seg_attr": [0xC093, 0xC09B, *[0xC093] * 4, 0x8B, 0x8B]},
    "both shadows": {"shadow": 3},
    "halted at ring 3": {**flat_state(3), "halted": 1},
    "a pending trap that DR6 cannot tell": {"debug_pending": 0x10},
    "DR4": {"dr": [0, 0, 0, 0, 1, 0, 0xFFFF0FF0, 0x400]},
    "DR6 without its ones": {"dr": [0, 0, 0, 0, 0, 0, 0, 0x400]},
    "DR7 with its zeros": {"dr": [0, 0, 0, 0, 0, 0, 0xFFFF0FF0, 0x8400]},
    "an APIC base below a page": {"msr_apic_base": 0xFEE00901},
    "a memory type that does not exist": {"msr_pat": 2},
    "MTRR control": {"msr_mtrr_def": 1 << 12},
    "a spare MSR": {"msr_misc": [0, 0, 0, 1, 0, 0, 0, 0]},
    "MXCSR": {"mxcsr": 1 << 16},
    "XMM8": {"xmm_hi": [0] * 8 + [1] + [0] * 7},
    "RAX": {"gpr": [1 << 32, *[0] * 16]},
    "the register that is zero": {"gpr": [*[0] * 16, 1]},
    "FOP": {"fop": 0x800},
    "FCW": {"fctrl": 0},
    "ES without an exception": {"fstat": 0x8080},
    "an exception without ES": {"fctrl": 0x40, "fstat": 1},
}  # fmt: skip


@pytest.mark.parametrize("what", ILLEGAL)
def test_a_state_that_cannot_be_is_refused_whole(cpu: Any, what: str) -> None:
    before = cpu.state()
    said = refused(cpu, {"eip": 0x1234, **ILLEGAL[what]})
    assert said is not None and len(said) < 120 and "\n" not in said
    assert cpu.state() == before
    # Without the one thing it would have been taken.
    assert refused(cpu, {"eip": 0x1234}) is None


def test_every_rule_of_the_validator_is_broken_by_some_case() -> None:
    both = twins()
    both.start({}, flat_state(0))
    broken: set[str] = set()
    for state in (*ILLEGAL.values(), {**flat_state(3), "cr0": 0x11, "eflags": 0x20002}):
        draft = Draft(both.cpus[1].s)
        take(draft, S.STATE, state)
        broken.update(p.split(":")[0].split(".")[0] for p in validate.problems(draft, both.cpus[1].model))
    assert broken >= {
        "cr0", "cr4", "eflags", "cpl", "pdpte", "cs", "ss", "ds", "es", "tr", "ldtr", "shadow", "halted", "dr", "dr6",
        "dr7", "debug_pending", "msr_apic_base", "msr_pat", "msr_mtrr_def", "msr_misc", "mxcsr", "xmm", "gpr", "fop",
        "fctrl", "fstat",
    }  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "cr0",
        "cr4",
        "eflags",
        "cpl",
        "dr6",
        "dr7",
        "shadow",
        "mxcsr",
        "fctrl",
        "fstat",
        "cs.attr",
        "ss.attr",
        "ds.attr",
        "tr.attr",
        "ldtr.attr",
        "cs",
        "ds",
    ],
)
def test_one_register_written_at_a_time_never_gives_a_state_that_cannot_be(name: str) -> None:
    both = twins()
    rng = Random(name)
    taken = 0
    for ring in (0, 3, 0, 3):
        both.start({T.FREE: b"\x90\xf4"}, flat_state(ring))
        for _ in range(60):
            value = number(rng, 16 if "." in name else 32)
            if rng.randrange(2):
                value = both.cpus[0].reg(name) ^ 1 << rng.randrange(16)
            said = []
            for cpu in both.cpus:
                try:
                    cpu.set_reg(name, value)
                    said.append("")
                except ValueError as error:
                    said.append(str(error))
            assert said[0] == said[1]
            taken += said[0] == ""
            state = both.cpus[0].state()
            assert state == both.cpus[1].state()
            draft = Draft(both.cpus[1].s)
            assert list(validate.problems(draft, both.cpus[1].model, whole=False)) == []
        both.run(4)
        assert both.difference() == ""
    assert taken
