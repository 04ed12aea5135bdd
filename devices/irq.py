"""From interrupt sources to the inputs of interrupt controllers.

One ISA interrupt may have several sources (its line is the OR of their levels) and several controllers (8259A input
and I/O APIC pin see the same line). A board asks `IrqRouter.source` for one line per device.
"""

# ruff: noqa: RUF009

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from devices import state
from devices.contracts import Line, Wire
from devices.device import Device, device

IRQS = 32
SOURCES = 32


@device("irq-router", "OR of interrupt sources, fanned out to controllers")
class IrqRouter(Device):
    """`outputs[irq]` are the lines that follow interrupt `irq`; at most 32 interrupts of at most 32 sources each."""

    @dataclass
    class State:
        asserted: list[int] = state.uints(IRQS, SOURCES)
        """For each interrupt a bit for each source that drives it high."""

    state: State

    def __init__(self, outputs: Sequence[Sequence[Line]]) -> None:
        if len(outputs) > IRQS:
            raise ValueError(f"irq-router: {len(outputs)} interrupts, at most {IRQS}")
        super().__init__()
        self._outputs = [tuple(lines) for lines in outputs]
        self._sources = [0] * len(outputs)

    def source(self, irq: int) -> Line:
        """A new source of interrupt `irq`. Raises ValueError if there is no such interrupt or it has 32 sources."""
        if not 0 <= irq < len(self._outputs) or self._sources[irq] == SOURCES:
            raise ValueError(f"irq-router: no further source for interrupt {irq}")
        bit = 1 << self._sources[irq]
        self._sources[irq] += 1
        return Wire(partial(self._drive, irq, bit))

    def reset(self) -> None:
        """Nothing: the sources drive their own levels at their reset."""

    def _drive(self, irq: int, bit: int, level: bool) -> None:
        asserted = self.state.asserted
        before = asserted[irq]
        asserted[irq] = before | bit if level else before & ~bit
        high = asserted[irq] != 0
        if not high and not before:
            return  # drivers say "low" at every access
        for line in self._outputs[irq]:
            line.set(high)
