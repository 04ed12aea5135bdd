"""The local APIC that a processor borrows for its runs does what the device does at home, at the same instruction."""

from __future__ import annotations

import random
from typing import Any

import pytest

from devices.contracts import Wire
from devices.lapic import Lapic
from emu.clock import Clock
from tests.cores.insn_machine import InsnMachine

pytest.importorskip("emu.engine._x86")

PAGE = 0xFEE00000
TPR, EOI, SVR, ICR, TIMER, LINT0, INITIAL, CURRENT, DIVIDE, IRR = (
    0x80, 0xB0, 0xF0, 0x300, 0x320, 0x350, 0x380, 0x390, 0x3E0, 0x200
)  # fmt: skip
COUNTS = 0x40000
PROGRAM_INSNS = 4000


def store(register: int, value: int) -> bytes:
    """mov dword [PAGE + register], value"""
    return b"\xc7\x05" + (PAGE + register).to_bytes(4, "little") + value.to_bytes(4, "little")


def load(register: int) -> bytes:
    """mov ebx, [PAGE + register]; add edx, ebx"""
    return b"\x8b\x1d" + (PAGE + register).to_bytes(4, "little") + b"\x01\xda"


class ApicMachine:
    """A processor with a local APIC, real timers, and handlers that count, end the interrupt and return."""

    def __init__(self, tier: str, lent: bool, writes: list[tuple[int, int]]) -> None:
        self.m = InsnMachine(tier)
        cpu: Any = self.m.cpu
        self.cpu = cpu
        self.clock = Clock(cpu)
        self.apic = Lapic(clock=self.clock, intr=Wire(cpu.set_intr), end_of_interrupt=lambda vector: None)
        cpu._boundary.bus = self
        if lent:
            cpu.lend_apic(self.apic)
        for vector in range(0x20, 0x100):
            code = b"\xff\x05" + (COUNTS + 4 * vector).to_bytes(4, "little")  # inc dword [...]
            if vector != 0xFF:
                code += store(EOI, 0)
            at = 0x50000 + 64 * vector
            self.m.poke(at, code + b"\xcf")
            gate = 8 << 16 | 0x8E << 40 | at & 0xFFFF | at >> 16 << 48
            self.m.poke(0x9000 + 8 * vector, gate.to_bytes(8, "little"))
        for register, value in writes:
            self.apic.write(register, 4, value)

    def mmio_read(self, address: int, width: int) -> int:
        return self.apic.read(address - PAGE, width)

    def mmio_write(self, address: int, width: int, value: int) -> None:
        self.apic.write(address - PAGE, width, value)

    def interrupt_acknowledge(self) -> int:
        return self.apic.acknowledge()

    def run(self, insns: int, slices: random.Random) -> None:
        end = self.cpu.icount + insns
        while self.cpu.icount < end:
            self.clock.fire()
            budget = self.clock.budget(min(end - self.cpu.icount, slices.choice((3, 50, 1000))))
            if budget:
                self.cpu.run(budget)
                assert not self.cpu.halted

    def seen(self) -> tuple[Any, ...]:
        timers = self.clock.next_deadline()
        return self.cpu.icount, self.cpu.digest(), self.apic.save(), self.m.peek(COUNTS, 0x400), timers


def program(rng: random.Random) -> tuple[bytes, list[tuple[int, int]]]:
    """A loop that works on the registers, and what they hold at first."""
    vectors = [rng.randrange(0x20, 0xFF) for _ in range(3)]

    def operation() -> bytes:
        kind = rng.randrange(14)
        if kind < 3:
            return store(INITIAL, rng.choice((0, 1, 100, 2000, rng.randrange(20000))))
        if kind < 5:
            mode = rng.choice((0, 0, 0x20000, 0x10000, 0x40000))
            return store(TIMER, rng.choice((*vectors, *vectors, 5)) | mode)
        if kind == 5:
            return store(DIVIDE, rng.choice((0, 1, 3, 0xB)))
        if kind == 6:
            return store(TPR, rng.choice((0, 0, 0x40, 0xF0)))
        if kind == 7:
            return store(ICR, 0x40000 | rng.choice(vectors))
        if kind == 8:
            return rng.choice((b"\xfa", b"\xfb", b"\xfb"))
        if kind == 9:
            return store(SVR, rng.choice((0x1FF, 0x1FF, 0x1FF, 0xFF)))
        if kind == 10:
            return store(EOI, 0)
        if kind == 11:
            return load(rng.choice((CURRENT, IRR, TPR, INITIAL)))
        return b"\xb9" + rng.randrange(1, 60).to_bytes(4, "little") + b"\x49\x75\xfd"  # mov ecx, n; dec ecx; jnz

    body = b"".join(operation() for _ in range(rng.randrange(3, 25)))
    start = [
        (SVR, 0x1FF),
        (DIVIDE, 0xB),
        (TIMER, vectors[0] | rng.choice((0, 0x20000))),
        (INITIAL, rng.randrange(9000)),
    ]
    return body + b"\xe9" + (-len(body) - 5 & 0xFFFFFFFF).to_bytes(4, "little"), start


@pytest.mark.parametrize("tier", ["interp", "jit"])
@pytest.mark.parametrize("seed", range(40))
def test_a_lent_apic_ends_in_the_state_of_one_at_home(tier: str, seed: int) -> None:
    code, writes = program(random.Random(seed))
    ends = []
    for lent, slices in ((False, 1), (True, 1), (True, 2)):
        m = ApicMachine(tier, lent, writes)
        if tier == "jit":
            m.cpu.jit_threshold = 3
        m.cpu.load_state({"eip": m.m.place(code)})
        m.cpu.set_reg("eflags", 0x202)
        m.run(PROGRAM_INSNS, random.Random(slices))
        ends.append(m.seen())
    assert ends[0] == ends[1] == ends[2]


def test_ticks_of_a_lent_apic_do_not_end_the_run() -> None:
    m = ApicMachine("interp", True, [(SVR, 0x1FF), (DIVIDE, 0xB), (TIMER, 0x20030), (INITIAL, 5000)])
    m.cpu.load_state({"eip": m.m.place(b"\x40\xeb\xfd")})
    m.cpu.set_reg("eflags", 0x202)
    m.cpu.run(1)
    assert m.clock.budget(99_999) == 99_999
    m.cpu.run(99_999)
    assert m.cpu.icount == 100_000
    assert int.from_bytes(m.m.peek(COUNTS + 4 * 0x30, 4), "little") == 199
    assert m.clock.next_deadline() == 1_000_000
    m.clock.fire()
    assert m.apic.read(IRR + 0x10, 4) == 1 << 16


def test_a_look_at_a_lent_apic_brings_it_home() -> None:
    m = ApicMachine("interp", True, [(SVR, 0x1FF), (DIVIDE, 0xB), (TIMER, 0x30), (INITIAL, 5000)])
    m.cpu.load_state({"eip": m.m.place(b"\x90\xeb\xfd")})
    m.cpu.run(100)
    assert m.cpu._c.apic.lent
    assert m.apic.state.armed == 5000
    assert not m.cpu._c.apic.lent
