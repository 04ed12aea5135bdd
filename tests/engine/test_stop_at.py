"""A device that arms a timer within a run: the run ends when the time comes."""

from __future__ import annotations

from typing import Any

import pytest

from emu.cpu import Exit
from tests.cores.insn_machine import InsnMachine

pytest.importorskip("emu.engine._x86")

STORE = b"\xa3\x20\x00\xe0\xfe"  # mov [FEE00020h], eax
OUT = b"\xe6\x80"  # out 80h, al
LOOP = b"\x40\xeb\xfd"  # again: inc eax; jmp again


class Arms:
    """A bus whose only device asks for the end of the run `delay` ns from the access."""

    def __init__(self, m: InsnMachine, delay: int) -> None:
        self.cpu: Any = m.cpu
        self.delay = delay
        self.cpu._boundary.bus = self.cpu._boundary.ports = self

    def mmio_write(self, address: int, width: int, value: int) -> None:
        self.cpu.stop_at(self.cpu.now() + self.delay)

    port_write = mmio_write


def started(tier: str, code: bytes) -> InsnMachine:
    m = InsnMachine(tier)
    m.cpu.load_state({"eip": m.place(code + LOOP)})
    return m


@pytest.mark.parametrize("tier", ["interp", "jit"])
@pytest.mark.parametrize(("delay", "insns"), [(0, 1), (10, 1), (11, 2), (505, 51), (1000, 100), (10_000, 200)])
def test_a_store_to_a_device_shortens_the_run_to_its_deadline(tier: str, delay: int, insns: int) -> None:
    m = started(tier, STORE)
    Arms(m, delay)
    before = m.cpu.icount
    assert m.cpu.run(200) == Exit.BUDGET
    assert m.cpu.icount - before == insns
    assert m.cpu.now() == m.cpu.icount * 10


@pytest.mark.parametrize("tier", ["interp", "jit"])
def test_a_port_write_ends_the_run_before_the_deadline(tier: str) -> None:
    m = started(tier, OUT)
    Arms(m, 500)
    before = m.cpu.icount
    assert m.cpu.run(200) == Exit.STOP
    assert 1 <= m.cpu.icount - before <= 50
