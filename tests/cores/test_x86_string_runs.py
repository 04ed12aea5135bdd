"""Repeated string instructions in both directions: what goes in one piece is what goes element by element."""

from __future__ import annotations

import random

import pytest

from tests.cores.insn_machine import DATA, InsnMachine

pytest.importorskip("emu.engine._x86")

AREA = 3 * 4096
FORMS = {
    "rep movsb": (b"\xf3\xa4", 1),
    "rep movsw": (b"\x66\xf3\xa5", 2),
    "rep movsd": (b"\xf3\xa5", 4),
    "rep stosb": (b"\xf3\xaa", 1),
    "rep stosw": (b"\x66\xf3\xab", 2),
    "rep stosd": (b"\xf3\xab", 4),
    "a16 rep movsb": (b"\x67\xf3\xa4", 1),
    "a16 rep stosd": (b"\x67\xf3\xab", 4),
}
CASES = 60


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("backwards", [False, True])
def test_a_run_of_elements_leaves_memory_and_registers_as_one_by_one(form: str, backwards: bool) -> None:
    rng = random.Random(form + str(backwards))
    code, _ = FORMS[form]
    machines = [InsnMachine(tier) for tier in ("reference", "interp", "jit")]
    for _ in range(CASES):
        near = rng.randrange(AREA - 64)
        source, dest = (near + rng.randrange(64), near) if rng.random() < 0.6 else (rng.randrange(AREA), near)
        if rng.random() < 0.5:
            source, dest = dest, source
        regs = [rng.getrandbits(32), rng.choice((0, 1, 2, 3, 60, rng.randrange(6000))), 0, 0, 0x30000, 0, 0, 0]
        base = DATA
        if form.startswith("a16"):
            base, regs[1] = 0, regs[1] & 0xFFFF
        regs[6], regs[7] = base + source, base + dest
        # Below the area are tables and handlers: a run never goes that far down there, nor into the code above it.
        room = min(source, dest) if backwards else AREA - max(source, dest)
        regs[1] = min(regs[1], max(0, room // 4))
        budget = rng.choice((100_000, rng.randrange(1, 5000)))
        content = rng.randbytes(AREA)
        seen = []
        for m in machines:
            segments = [DATA if base == 0 else 0] * 8
            m.poke(DATA, content)
            at = m.place(code)
            bases = [segments[0], 0, *segments[2:]]
            m.cpu.load_state({"eip": at, "halted": 0, "gpr": [*regs, *[0] * 9], "seg_base": bases})
            m.cpu.set_reg("eflags", 0x402 if backwards else 2)
            before = m.cpu.icount
            m.cpu.run(budget)
            names = ("esi", "edi", "ecx", "eip")
            seen.append((m.cpu.icount - before, *map(m.cpu.reg, names), m.peek(DATA, AREA)))
        assert seen[0] == seen[1] == seen[2]
