"""Interrupt points (A8): IRQ and NMI at every instruction count of many programs.

An event is taken between two instructions only, at the exact count, with the address of the next one; STI, MOV SS and
POP SS hold it off for one instruction, and two of them in a row do not hold it off for longer than the first alone
(SDM vol. 2, MOV and STI; vol. 3, 6.8). EMU_RELIABILITY_FULL takes more programs.
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from cores.lang.strategies import pick
from cores.x86 import state as S
from cores.x86 import strategies
from emu.cpu import Exit
from tests.cores import twins as T
from tests.cores.twins import flat_state, twins

pytest.importorskip("emu.engine._x86")
pytestmark = pytest.mark.usefixtures("tiers")

CODE = T.FREE
DATA = 0x30000
PLACE = strategies.Place(True, DATA, 0x800, (T.DATA0,), ports=(0x60,))
PROGRAMS = 1000 if T.FULL else 40
POINTS = 60
VECTOR = 0x25
# Chapters whose instructions stay in flat ring 0 and come to an end.
_chapters = strategies.forms(lambda form: form.entry.chapter in ("alu", "move", "string", "mmx", "sse2"))
HOLDERS = (b"\xfb", b"\x8e\xd1", b"\x16\x17")  # sti; mov ss, ecx; push ss, pop ss
FLAG_CODE = (b"\xfa", b"\x9c\x9d", b"\x9c\x58\x50\x9d", b"\xfa\xfb", b"\xfb\xfa")


def program(rng: Random) -> bytes:
    """Straight code, small loops, and what turns interrupts off, on, and off for one instruction."""
    out = b""
    for _ in range(12):
        dice = rng.randrange(8)
        if dice == 0:
            out += b"".join(pick(rng, HOLDERS) for _ in range(1 + rng.randrange(3)))
        elif dice == 1:
            out += pick(rng, FLAG_CODE)
        elif dice == 2:
            body = strategies.instruction(rng, strategies.choose(rng, {"alu": _chapters["alu"]}), PLACE)
            out += b"\xb1\x03" + body + b"\xfe\xc9\x75" + (-(len(body) + 4) & 0xFF).to_bytes(1, "little")
            out += b"\xb9" + T.DATA0.to_bytes(4, "little")
        elif dice == 3:
            out += b"\xb9\x05\0\0\0\xf3\xab" + b"\xb9" + T.DATA0.to_bytes(4, "little")
        else:
            out += strategies.instruction(rng, strategies.choose(rng, _chapters), PLACE)
    return out + b"\xf4"


def scene(code: bytes, seed: int) -> tuple[dict[int, bytes], dict[str, Any]]:
    rng = Random(seed)
    # A handler counts and returns: every exception and interrupt but those with an error code.
    plain = b"\xff\x05" + (DATA + 0x1000).to_bytes(4, "little") + b"\xcf"
    memory = {
        CODE: code,
        T.HANDLERS + 16 * VECTOR: plain,
        T.HANDLERS + 16 * 2: plain,
        DATA: rng.randbytes(0x800),
    }
    state = flat_state(0)
    state["gpr"] = strategies.registers(rng, PLACE)
    state["gpr"][S.ECX], state["gpr"][S.ESP] = T.DATA0, T.STACK0 - 0x800
    state["eflags"] = 2 | rng.randrange(2) << S.FLAG_IF
    return memory, state


def boundaries(code: bytes, seed: int) -> list[tuple[int, int, int]]:
    """EIP, IF and shadow at each count, without any event, on the reference."""
    both = twins()
    both.start(*scene(code, seed))
    cpu = both.cpus[1]
    found = []
    for _ in range(POINTS):
        found.append((cpu.reg("eip"), cpu.reg("eflags") >> S.FLAG_IF & 1, cpu.reg("shadow")))
        if cpu.run(1) != Exit.BUDGET or cpu.exceptions():
            break
    return found


def inject(code: bytes, seed: int, at: int, nmi: bool) -> T.Twins:
    """The event after `at` instructions, then on to the end."""
    both = twins()
    both.start(*scene(code, seed))
    for bus in both.buses:
        bus.vector = VECTOR
    both.run(at)
    for cpu in both.cpus:
        if nmi:
            cpu.nmi()
        else:
            cpu.set_intr(True)
    reasons = [cpu.run(300) for cpu in both.cpus]
    assert reasons[0] == reasons[1]
    return both


def check(seed: int) -> int:
    rng = Random(seed)
    code = program(rng)
    points = boundaries(code, seed)
    for at in range(len(points)):
        for nmi in (False, True):
            what = f"seed {seed} {code.hex()} at {at} {'nmi' if nmi else 'irq'}"
            both = inject(code, seed, at, nmi)
            assert both.difference() == "", what
            story = both.cpus[0].exceptions()
            first = story[0] if story else None
            # The first boundary from here on where it may be taken.
            due = next((k for k in range(at, len(points)) if not points[k][2] and (nmi or points[k][1])), None)
            if due is None or (first is not None and first["kind"] == 0):
                continue
            assert first is not None, what
            assert (first["vector"], first["kind"]) == ((2, 3) if nmi else (VECTOR, 2)), what
            assert (first["icount"], first["eip"]) == (due + 1, points[due][0]), what
    return len(points)


def test_an_event_is_taken_at_the_first_boundary_that_lets_it_in() -> None:
    assert sum(check(seed) for seed in range(4)) > 50


@pytest.mark.slow
def test_events_of_many_programs_are_taken_at_the_first_boundary_that_lets_them_in() -> None:
    assert sum(check(seed) for seed in range(100, 100 + PROGRAMS)) > 20 * PROGRAMS


STI, MOV_SS, POP_SS, NOP = "fb", "8ed1", "1617", "90"


@pytest.mark.parametrize(
    ("code", "flags", "nmi", "expected"),
    [
        ("90 90", 0x202, False, 0),
        ("fb 90 90", 2, False, 2),  # STI holds off one instruction
        ("fb fb 90 90", 2, False, 2),  # a second STI does not
        ("fb fb fb 90", 2, False, 2),
        ("fb fa 90 90", 2, False, None),  # STI CLI opens no window
        ("fb 90 90", 0x202, False, 0),  # IF was set: nothing to hold off
        ("90 fb 90 90", 2, False, 3),
        ("8ed1 90 90", 0x202, False, 0),
        ("90 8ed1 90 90", 0x202, False, 0),
        ("fa fb 8ed1 90 90", 2, False, 4),  # the shadow of MOV SS behind that of STI
        ("9d 90 90", 2, False, 1),  # POPF opens at once
        ("cf", 2, False, 1),  # and so does IRET
        ("90 90", 2, True, 0),  # an NMI does not ask IF
    ],
)
def test_windows_open_where_the_manual_says(code: str, flags: int, nmi: bool, expected: int | None) -> None:
    both = twins()
    text = bytes.fromhex(code.replace(" ", "")) + b"\xf4"
    state = flat_state(0)
    state["gpr"][S.ECX] = T.DATA0
    state["eflags"] = flags
    frame = T.entries([CODE + 1, T.CODE0, 0x202]) if text[0] == 0xCF else T.entries([0x202])
    memory = {CODE: text, T.STACK0 - 0x800: frame, T.HANDLERS + 16 * VECTOR: b"\xf4"}
    if text[0] == 0xCF:
        memory[CODE] = b"\xcf\x90\xf4"
    both.start(memory, state)
    for bus, cpu in zip(both.buses, both.cpus, strict=True):
        bus.vector = VECTOR
        if nmi:
            cpu.nmi()
        else:
            cpu.set_intr(True)
    both.run(40)
    assert both.difference() == ""
    story = both.cpus[0].exceptions()
    assert [e["icount"] - 1 for e in story] == ([] if expected is None else [expected])


@pytest.mark.parametrize("nmi", [False, True])
@pytest.mark.parametrize("first", [MOV_SS, POP_SS])
@pytest.mark.parametrize("second", [MOV_SS, POP_SS, NOP])
def test_loading_ss_holds_events_off_for_one_instruction_and_a_second_load_for_none(
    first: str, second: str, nmi: bool
) -> None:
    both = twins()
    text = bytes.fromhex(first + second) + b"\x90\x90\xf4"
    state = flat_state(0)
    state["gpr"][S.ECX] = T.DATA0
    state["eflags"] = 0x202
    both.start({CODE: text, T.HANDLERS + 16 * VECTOR: b"\xf4"}, state)
    loads = 2 if first == POP_SS else 1
    both.run(loads)
    for bus, cpu in zip(both.buses, both.cpus, strict=True):
        bus.vector = VECTOR
        cpu.nmi() if nmi else cpu.set_intr(True)
    both.run(40)
    assert both.difference() == ""
    # POP SS as the second is PUSH SS, POP SS: the PUSH is the instruction that is protected.
    assert both.cpus[0].exceptions()[0]["icount"] - 1 == loads + 1


def test_a_halted_processor_wakes_for_what_it_may_take_only() -> None:
    both = twins()
    for flags, nmi, wakes in ((0x202, False, True), (2, False, False), (2, True, True), (0x202, True, True)):
        state = flat_state(0)
        state["eflags"] = flags
        both.start({CODE: b"\xf4\x90\xf4", T.HANDLERS + 16 * VECTOR: b"\xcf", T.HANDLERS + 32: b"\xcf"}, state)
        assert both.run(10) == [Exit.HALT, Exit.HALT]
        for bus, cpu in zip(both.buses, both.cpus, strict=True):
            bus.vector = VECTOR
            cpu.nmi() if nmi else cpu.set_intr(True)
        both.run(10)
        assert both.difference() == ""
        assert (both.cpus[0].reg("eip") == CODE + 3) == wakes


def test_an_nmi_waits_for_the_iret_of_the_one_before() -> None:
    both = twins()
    both.start({CODE: b"\x90" * 8 + b"\xf4", T.HANDLERS + 32: b"\x40\x40\x40\xcf"}, flat_state(0))
    for cpu in both.cpus:
        cpu.nmi()
    both.run(2)
    for cpu in both.cpus:
        cpu.nmi()
        cpu.nmi()  # latched once
    both.run(40)
    assert both.difference() == ""
    assert [(e["vector"], e["eip"] - CODE) for e in both.cpus[0].exceptions()] == [(2, 0), (2, 0)]
    assert both.cpus[0].reg("eax") == 6


def test_an_interrupt_comes_between_the_iterations_of_a_repeated_instruction() -> None:
    both = twins()
    for at in range(1, 20):
        state = flat_state(0)
        state["eflags"] = 0x202
        state["gpr"][S.ECX], state["gpr"][S.EDI] = 20, DATA
        both.start({CODE: b"\xf3\xab\xf4", T.HANDLERS + 16 * VECTOR: b"\xf4"}, state)
        both.run(at)
        for bus, cpu in zip(both.buses, both.cpus, strict=True):
            bus.vector = VECTOR
            cpu.set_intr(True)
        both.run(2)
        assert both.difference() == ""
        story = both.cpus[0].exceptions()
        assert [(e["icount"], e["eip"]) for e in story] == [(at + 1, CODE)]
        assert (both.cpus[0].reg("ecx"), both.cpus[0].reg("edi")) == (20 - at, DATA + 4 * at)


@pytest.mark.parametrize("code", ["e666", "e466", "66e766", "a200000a00", "a000000a00"])
def test_a_pin_that_a_device_pulls_is_seen_behind_the_access(code: str) -> None:
    both = twins()
    text = b"\x90\x90" + bytes.fromhex(code) + b"\x90\x90\xf4"
    state = flat_state(0)
    state["eflags"] = 0x202
    both.start({CODE: text, T.HANDLERS + 16 * VECTOR: b"\xf4"}, state)
    kept = []
    for bus, cpu in zip(both.buses, both.cpus, strict=True):
        bus.vector = VECTOR
        names = ("port_read", "port_write", "mmio_read", "mmio_write")
        for name in names:
            plain = getattr(bus, name)

            def pull(*args: int, plain: Any = plain, cpu: Any = cpu) -> Any:
                cpu.set_intr(True)
                return plain(*args)

            setattr(bus, name, pull)
        kept.append((bus, names))
    try:
        both.run(20)
    finally:
        for bus, names in kept:
            for name in names:
                delattr(bus, name)
    assert both.difference() == ""
    assert [(e["icount"], e["eip"]) for e in both.cpus[0].exceptions()] == [(4, CODE + 2 + len(bytes.fromhex(code)))]
