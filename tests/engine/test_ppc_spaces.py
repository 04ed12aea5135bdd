"""The soft TLB of the PowerPC engine is tagged by address space."""

from __future__ import annotations

import pytest

from cores.ppc.assembler import assemble
from emu.bus import Bus
from emu.memory import GuestRam

pytest.importorskip("emu.engine._ppc")

SWITCH = """
        li r5, 0x800
        li r6, {count}
        mtctr r6
again:  li r3, 1
        mtpid r3
        lwz r4, 0(r5)
        li r3, 2
        mtpid r3
        lwz r4, 0(r5)
        bdnz again
        b $
"""


def stats(count: int) -> dict[str, int]:
    """What the engine counted while PID changed 2 * `count` times, with a load in between."""
    from emu.engine import PpcCpu

    ram = GuestRam(1 << 20, flat=True)
    cpu = PpcCpu(Bus(ram, space=1 << 36, big_endian=True), ram, model="440EP")
    cpu.load_values({"utlb0": {0: 0x290}, "utlb2": {0: 0x007}})
    ram.load(0, assemble(SWITCH.format(count=count)))
    cpu.set_reg("pc", 0)
    cpu.run(10 + 8 * count)
    found: dict[str, int] = cpu.stats()
    return found


def test_changing_the_pid_forgets_no_translation() -> None:
    few, many = stats(10), stats(400)
    assert many["space_switches"] >= few["space_switches"] + 700
    assert many["tlb_fills"] == few["tlb_fills"] > 0
    assert many["tlb_flushes"] == few["tlb_flushes"]
    assert many["space_evictions"] == few["space_evictions"]
