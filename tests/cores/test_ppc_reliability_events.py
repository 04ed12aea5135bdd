"""Interrupt points (A8): external, critical, decrementer and machine check at every instruction count of many programs.

An interrupt is taken between two instructions only, at the first boundary where MSR lets it in, with the address of the
next instruction and the MSR of then; what opens a window (mtmsr, wrtee, wrteei, rfi, rfci) opens it at once
(Book III-E, 7.9). EMU_RELIABILITY_FULL takes more programs and points.
"""

from __future__ import annotations

import os
from random import Random
from typing import Any

import pytest

from cores.ppc import state as S
from cores.ppc.decoder import encode
from cores.ppc.forms import Form
from cores.ppc.models import model as model_of
from emu.clock import Clock
from emu.cpu import Exit
from tests.cores.ppc_tiers import CODE, DEVICE, STRIDE, VECTORS, Pair, drawn_word
from tests.cores.tiers import chosen

pytest.importorskip("emu.engine._ppc")
pytestmark = pytest.mark.usefixtures("tiers")

MODELS = ("440EP", "460EX", "e500v1", "e500v2", "e500mc")
FULL = bool(os.environ.get("EMU_RELIABILITY_FULL"))
PROGRAMS, POINTS = (200, 200) if FULL else (12, 60)
CE, EE, ME, PR, FP, SPV = (1 << n for n in (S.MSR_CE, S.MSR_EE, S.MSR_ME, S.MSR_PR, S.MSR_FP, S.MSR_SPV))
KINDS = {"external": (S.EXTERNAL, EE), "critical": (S.CRITICAL, CE), "decrementer": (S.DECREMENTER, EE),
         "machine check": (S.MACHINE_CHECK, ME)}  # fmt: skip
DIE = 1 << 26
_pairs: dict[tuple[object, ...], tuple[Pair, list[Clock]]] = {}


def pair(model: str) -> tuple[Pair, list[Clock]]:
    """Both processors, each with the clock of its timers."""
    key = model, chosen()
    if key not in _pairs:
        both = Pair(model)
        clocks = [Clock(cpu) for cpu in both.cpus]
        for cpu, clock in zip(both.cpus, clocks, strict=True):
            cpu.attach_clock(clock)
        _pairs[key] = both, clocks
    return _pairs[key]


def saved(model: str, ivor: int) -> str:
    """Registers that an interrupt of these kinds goes to."""
    if ivor == S.CRITICAL:
        return "csrr"
    if ivor == S.MACHINE_CHECK:
        return "csrr" if model.startswith("440EP") else "mcsrr"
    return "srr"


def run(cpu: Any, clock: Clock, count: int, most: int = 1 << 30) -> Exit:
    """Run exactly so many more instructions, timers included, `most` at a time; less only if it ends otherwise."""
    end = cpu.icount + count
    while cpu.icount < end:
        n = clock.budget(min(end - cpu.icount, most))
        if n:
            reason: Exit = cpu.run(n)
            if reason not in (Exit.BUDGET, Exit.STOP):
                return reason
        clock.fire()
    clock.fire()
    return Exit.BUDGET


def chapter(form: Form) -> str:
    return form.entry.body.__module__.rpartition(".")[2]


def program(rng: Random, both: Pair) -> list[int]:
    """Straight code, small loops, and what opens and closes windows. r8 to r12 hold values of MSR."""
    plain = [
        family for family in both.families
        if chapter(family[0]) in ("fixed", "load_store", "float", "spe", "mac") and "lwarx" not in family[0].ident
    ]  # fmt: skip
    windows = [encode("wrteei", e=1), encode("wrteei", e=0)]
    out: list[int] = []
    for _ in range(16):
        dice, r = rng.randrange(8), rng.randrange(8, 13)
        if dice == 0:
            out += rng.sample(windows, rng.randrange(1, 3))
        elif dice == 1:
            out.append(encode(rng.choice(("wrtee", "mtmsr")), rs=r))
        elif dice == 2:
            # Return to the instruction behind, with another MSR.
            kind, back = rng.choice((("srr", "rfi"), ("csrr", "rfci")))
            here = CODE + 4 * len(out)
            out += [encode("bcl", bo=20, bi=31, bd=4), encode("mflr", rt=7), encode("addi", rt=7, ra=7, si=0x14)]
            out += [encode(f"mt{kind}0", rs=7), encode(f"mt{kind}1", rs=r), encode(back)]
            assert here + 24 == CODE + 4 * len(out)
        elif dice == 3:
            # Three times round.
            body = straight(rng, plain)
            out += [encode("addi", rt=7, si=3), encode("mtctr", rs=7), body, encode("bc", bo=16, bd=-4)]
        else:
            out.append(straight(rng, plain))
    return out


def straight(rng: Random, families: list[list[Form]]) -> int:
    """A word of a form that leaves r7 to r12 and r31 alone."""
    while True:
        form = rng.choice(rng.choice(families))
        word = drawn_word(rng, form)
        if not any(7 <= word >> place & 31 <= 12 for place in (21, 16)) and form.ident[:3] not in ("lmw", "lsw"):
            return word


def scene(model: str, seed: int, code: list[int], **more: Any) -> Pair:
    """Both at the start of the program."""
    both, _ = pair(model)
    rng = Random(f"{model} {seed} scene")
    both.start(rng, both.families, 1)
    on = ME | (SPV if model_of(model).has("spe") else FP)
    msrs = [on | bits for bits in (0, EE, CE, EE | CE, EE | CE)]
    gpr = {8 + k: v for k, v in enumerate(msrs)}
    stay, msr = 0x48000000, rng.choice(msrs)
    for cpu, ram in zip(both.cpus, both.rams, strict=True):
        text = b"".join(word.to_bytes(4, "big") for word in (*code, stay))
        ram.view[CODE : CODE + len(text)] = text
        cpu.time_offset = 0
        cpu.load_values({
            "msr": msr, "gpr": gpr, "tcr": DIE, "dec": 0, "dbcr0": 0, "pid": {0: 0}, "xer_count": 9, **more,
        })  # fmt: skip
        cpu._arm()
    return both


def boundaries(model: str, seed: int, code: list[int]) -> list[tuple[int, int]]:
    """PC and MSR before each instruction, without any event, on the reference."""
    both = scene(model, seed, code)
    cpu, clock = both.cpus[1], pair(model)[1][1]
    end = CODE + 4 * len(code)
    found = []
    for _ in range(POINTS):
        found.append((cpu.reg("pc"), cpu.reg("msr")))
        if found[-1][0] == end or run(cpu, clock, 1) is not Exit.BUDGET:
            break
    return found


def pull(cpu: Any, kind: str) -> None:
    if kind == "external":
        cpu.set_intr(True)
    elif kind == "critical":
        cpu.set_critical(True)
    elif kind == "machine check":
        cpu.machine_check()


def inject(model: str, seed: int, code: list[int], at: int, kind: str, stop: int, most: int = 1 << 30) -> Pair:
    """The event after `at` instructions, and on until `stop` of them are done."""
    both = scene(model, seed, code, **({"dec": 4 * at} if kind == "decrementer" else {}))
    for cpu, clock in zip(both.cpus, pair(model)[1], strict=True):
        run(cpu, clock, at, most)
        pull(cpu, kind)
        run(cpu, clock, stop - at, most)
    return both


def check(model: str, seed: int, each: int) -> int:
    """All points of a program, each with another kind of event; how many were taken."""
    rng = Random(f"{model} {seed}")
    code = program(rng, pair(model)[0])
    points = boundaries(model, seed, code)
    taken = 0
    for at in range(1, len(points), each):
        kind = rng.choice(list(KINDS))
        what = f"{model} seed {seed} {kind} at {at}"
        ivor, bit = KINDS[kind]
        due = next((k for k in range(at, len(points)) if points[k][1] & bit), None)
        stop = len(points) - 1 if due is None else due
        both = inject(model, seed, code, at, kind, stop)
        assert [(cpu.reg("pc"), cpu.reg("msr")) for cpu in both.cpus] == [points[stop]] * 2, what
        assert not any(record["kind"] for record in both.cpus[0].exceptions()), what
        if due is None:
            continue
        taken += 1
        exits = [run(cpu, clock, 1) for cpu, clock in zip(both.cpus, pair(model)[1], strict=True)]
        assert both.differs(exits) == "", what
        last = both.cpus[0].exceptions()[-1]
        assert (last["vector"], last["kind"], last["icount"]) == (ivor, 2, due + 1), what
        assert both.cpus[0].reg("pc") == VECTORS + STRIDE * ivor, what
        names = saved(model, ivor)
        assert (both.cpus[0].reg(f"{names}0"), both.cpus[0].reg(f"{names}1")) == points[due], what
        if at % 4:
            continue
        # On through handlers; blocks of the engine give what single steps give.
        for cpu in both.cpus:
            cpu.set_intr(False)
            cpu.set_critical(False)
            cpu.set_reg("tcr", 0)
        exits = [run(cpu, clock, 40) for cpu, clock in zip(both.cpus, pair(model)[1], strict=True)]
        assert both.differs(exits) == "", what
        whole = both.cpus[0].digest()
        both = inject(model, seed, code, at, kind, due + 1, 1)
        for cpu in both.cpus:
            cpu.set_intr(False)
            cpu.set_critical(False)
            cpu.set_reg("tcr", 0)
        run(both.cpus[0], pair(model)[1][0], 40, 1)
        assert both.cpus[0].digest() == whole, what
    return taken


@pytest.mark.parametrize("model", MODELS)
def test_an_interrupt_is_taken_at_the_first_boundary_that_lets_it_in(model: str) -> None:
    assert sum(check(model, seed, 5) for seed in range(3)) > 5


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_interrupts_of_many_programs_are_taken_at_the_first_boundary_that_lets_them_in(model: str) -> None:
    assert sum(check(model, seed, 1) for seed in range(100, 100 + PROGRAMS)) > 5 * PROGRAMS


WRTEEI1, WRTEEI0 = encode("wrteei", e=1), encode("wrteei", e=0)
NOP = encode("ori", rs=0, ra=0, ui=0)
MTMSR8, MTMSR9, MTMSR10, MTMSR11 = (encode("mtmsr", rs=8 + k) for k in range(4))  # ME; EE; CE; EE and CE
WRTEE8, WRTEE9 = encode("wrtee", rs=8), encode("wrtee", rs=9)
RFI, RFCI = encode("rfi"), encode("rfci")
ALL = ("440EP", "e500v2", "e500mc")


@pytest.mark.parametrize("model", ALL)
@pytest.mark.parametrize(
    ("code", "msr", "kinds", "expected"),
    [
        ([NOP, NOP], ME | EE, "external", [(0, S.EXTERNAL)]),
        ([NOP, NOP], ME, "external", []),
        ([WRTEEI1, NOP], ME, "external", [(1, S.EXTERNAL)]),
        ([WRTEEI1, WRTEEI0, NOP], ME, "external", [(1, S.EXTERNAL)]),  # the smallest window is one
        ([WRTEEI0, NOP], ME | EE, "external", [(0, S.EXTERNAL)]),
        ([NOP, WRTEE9, NOP], ME, "external", [(2, S.EXTERNAL)]),
        ([WRTEE8, WRTEE9, NOP], ME, "external", [(2, S.EXTERNAL)]),
        ([MTMSR9, MTMSR8], ME, "external", [(1, S.EXTERNAL)]),
        ([MTMSR10, NOP, MTMSR9], ME, "external", [(3, S.EXTERNAL)]),  # CE is not EE
        ([MTMSR9, NOP, MTMSR10], ME, "critical", [(3, S.CRITICAL)]),
        ([RFI, NOP], ME, "external", [(1, S.EXTERNAL)]),
        ([RFCI, NOP], ME, "critical", [(1, S.CRITICAL)]),
        ([MTMSR11, NOP], ME, "external critical", [(1, S.CRITICAL)]),  # critical comes first, and turns EE off
        ([MTMSR11, NOP], ME, "external machine check", [(0, S.MACHINE_CHECK)]),
        ([NOP, MTMSR8], 0, "machine check", [(2, S.MACHINE_CHECK)]),
        ([encode("sc"), NOP], ME, "external", []),  # its handler has EE off, too
    ],
)  # fmt: skip
def test_windows_open_and_close_at_once(
    model: str, code: list[int], msr: int, kinds: str, expected: list[tuple[int, int]]
) -> None:
    both = scene(
        model, 1, code, msr=msr, srr0=CODE + 4, srr1=ME | EE, csrr0=CODE + 4, csrr1=ME | CE, tcr=0,
    )  # fmt: skip
    stay = (0x48000000).to_bytes(4, "big")
    for cpu, ram in zip(both.cpus, both.rams, strict=True):
        for n in range(42):
            ram.view[VECTORS + STRIDE * n : VECTORS + STRIDE * n + 4] = stay
        for kind in KINDS:
            if kind in kinds:
                pull(cpu, kind)
    assert both.differs([cpu.run(12) for cpu in both.cpus]) == ""
    taken = [(r["icount"] - 1, r["vector"], r["pc"]) for r in both.cpus[0].exceptions() if r["kind"]]
    assert taken == [(n, ivor, CODE + 4 * n) for n, ivor in expected]


@pytest.mark.parametrize("model", ALL)
@pytest.mark.parametrize("word", [encode("lwz", rt=20, ra=3), encode("stw", rs=20, ra=3), encode("lmw", rt=28, ra=3)])
def test_a_pin_that_a_device_pulls_is_seen_behind_the_access(model: str, word: int) -> None:
    both = scene(model, 1, [NOP, word, NOP], msr=ME | EE)
    for cpu, bus in zip(both.cpus, both.buses, strict=True):
        cpu.load_values({"gpr": {3: DEVICE}})
        for name in ("mmio_read", "mmio_write"):
            plain = getattr(bus, name)

            def pulls(*args: int, plain: Any = plain, cpu: Any = cpu) -> Any:
                cpu.set_intr(True)
                return plain(*args)

            setattr(bus, name, pulls)
    try:
        exits = [cpu.run(3) for cpu in both.cpus]
    finally:
        for bus in both.buses:
            del bus.mmio_read, bus.mmio_write
    assert both.differs(exits) == ""
    assert [(r["icount"], r["pc"]) for r in both.cpus[0].exceptions()] == [(3, CODE + 8)]


@pytest.mark.parametrize("model", ("440EP", "e500mc"))
@pytest.mark.parametrize(("kind", "bits", "wakes"), [
    ("external", EE, True), ("external", CE, False), ("critical", CE, True), ("critical", EE, False),
    ("decrementer", EE, True), ("decrementer", CE, False), ("machine check", 0, True),
])  # fmt: skip
def test_a_waiting_processor_wakes_for_what_it_may_take_only(model: str, kind: str, bits: int, wakes: bool) -> None:
    sleep = encode("wait") if model == "e500mc" else encode("mtmsr", rs=14)
    both = scene(model, 1, [sleep, NOP], msr=ME | bits, dec=80, tcr=DIE)
    for cpu in both.cpus:
        cpu.load_values({"gpr": {14: ME | bits | 1 << S.MSR_WE}})
    exits = [cpu.run(8) for cpu in both.cpus]
    assert exits == [Exit.HALT, Exit.HALT] and both.differs(exits) == ""
    for cpu, clock in zip(both.cpus, pair(model)[1], strict=True):
        if kind == "decrementer":
            clock.skip_to(200)
            clock.fire()
        pull(cpu, kind)
    exits = [cpu.run(1) for cpu in both.cpus]
    assert both.differs(exits) == ""
    ivor = KINDS[kind][0]
    assert (exits[0] is Exit.BUDGET) == wakes
    assert both.cpus[0].reg("pc") == (VECTORS + STRIDE * ivor if wakes else CODE + 4)
    if wakes:
        assert both.cpus[0].reg(f"{saved(model, ivor)}0") == CODE + 4


@pytest.mark.parametrize("model", ("e500v2", "e500mc"))
def test_hid0_lets_a_machine_check_in_that_waits_and_without_me_that_is_the_end(model: str) -> None:
    both = scene(model, 1, [encode("mthid0", rs=14), NOP, NOP], msr=0)
    for cpu in both.cpus:
        cpu.load_values({"gpr": {14: 1 << 31}})
        cpu.machine_check()
    exits = [cpu.run(8) for cpu in both.cpus]
    assert exits == [Exit.SHUTDOWN, Exit.SHUTDOWN] and both.differs(exits) == ""
    assert both.cpus[0].icount == 2
