"""Where the time of a run goes, for `--stats`: the engine's own counters, device accesses, timers, and all the rest.

Nothing is measured without `--stats`. Host time is read around each access that leaves the compiled engine, around each
timer, and, in C, around each `emu_run` and each walk of page tables; translating is always timed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from emu.clock import wall
from emu.machine import Machine

T = TypeVar("T")
NOBODY = "nobody"
INTERRUPTS = "interrupt acknowledge"


@dataclass
class Count:
    """What one device or timer cost."""

    reads: int = 0
    writes: int = 0
    seconds: float = 0.0


@dataclass
class Meter:
    """Counts of one machine."""

    devices: dict[str, Count] = field(default_factory=dict)
    timers: dict[str, Count] = field(default_factory=dict)

    def attach(self, machine: Machine) -> None:
        """Begin to measure; only compiled tiers can say how their own time is divided."""
        machine.clock.around = self.timer
        measure = getattr(machine.cpu, "measure", None)
        if measure is not None:
            measure(lambda bus, space: Metered(self, bus, machine, space))

    def timer(self, name: str, callback: Callable[[], None]) -> None:
        """Run a timer's callback."""
        count = self.timers.setdefault(name, Count())
        count.reads += 1
        started = wall()
        try:
            callback()
        finally:
            count.seconds += wall() - started

    def access(self, name: str, write: bool, done: Callable[[], T]) -> T:
        """Do an access to a device."""
        count = self.devices.setdefault(name, Count())
        if write:
            count.writes += 1
        else:
            count.reads += 1
        started = wall()
        try:
            return done()
        finally:
            count.seconds += wall() - started

    def report(self, machine: Machine, whole: float) -> dict[str, Any]:
        """The members of the `--stats` line: seconds of each part, and devices and timers, dearest first."""
        times: dict[str, float] = getattr(machine.cpu, "times", dict)()
        devices = sum(count.seconds for count in self.devices.values())
        timers = sum(count.seconds for count in self.timers.values())
        engine = times.get("engine", 0.0)
        parts = {
            "translate": times.get("translate", 0.0),
            "tlb_fill": times.get("tlb_fill", 0.0),
            "devices": devices,
            "timers": timers,
        }
        parts["run"] = max(0.0, engine - parts["translate"] - parts["tlb_fill"] - devices)
        parts["other"] = max(0.0, whole - sum(parts.values()))
        return {
            "time": {name: round(seconds, 4) for name, seconds in parts.items()},
            "devices": {
                name: {"reads": c.reads, "writes": c.writes, "s": round(c.seconds, 4)}
                for name, c in sorted(self.devices.items(), key=_dearest)
            },
            "timers": {
                name: {"fired": c.reads, "s": round(c.seconds, 4)}
                for name, c in sorted(self.timers.items(), key=_dearest)
            },
        }


def _dearest(item: tuple[str, Count]) -> tuple[float, str]:
    return -item[1].seconds, item[0]


class Metered:
    """A bus, or its DCRs, as the compiled engine sees it: each access counted and timed."""

    def __init__(self, meter: Meter, bus: Any, machine: Machine, space: str) -> None:
        self._meter = meter
        self._bus = bus
        self._find = machine.bus.find
        self._space = space

    def _name(self, space: str, address: int) -> str:
        mapping = self._find(space, address)
        return NOBODY if mapping is None else mapping.name

    def port_read(self, port: int, width: int) -> int:
        """See `emu.bus.Bus`; so the others."""
        name = self._name(self._space, port)
        return self._meter.access(name, False, lambda: int(self._bus.port_read(port, width)))

    def port_write(self, port: int, width: int, value: int) -> None:
        name = self._name(self._space, port)
        self._meter.access(name, True, lambda: self._bus.port_write(port, width, value))

    def mmio_read(self, paddr: int, width: int) -> int:
        name = self._name("memory", paddr)
        return self._meter.access(name, False, lambda: int(self._bus.mmio_read(paddr, width)))

    def mmio_write(self, paddr: int, width: int, value: int) -> None:
        name = self._name("memory", paddr)
        self._meter.access(name, True, lambda: self._bus.mmio_write(paddr, width, value))

    def interrupt_acknowledge(self) -> int:
        return self._meter.access(INTERRUPTS, False, lambda: int(self._bus.interrupt_acknowledge()))

    def port_block_count(self, port: int, width: int, count: int) -> int:
        return int(self._bus.port_block_count(port, width, count))

    def port_read_block(self, port: int, width: int, count: int) -> bytes:
        name = self._name(self._space, port)
        return self._meter.access(name, False, lambda: bytes(self._bus.port_read_block(port, width, count)))

    def port_write_block(self, port: int, width: int, data: bytes) -> int:
        name = self._name(self._space, port)
        return self._meter.access(name, True, lambda: int(self._bus.port_write_block(port, width, data)))
