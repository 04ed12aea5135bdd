"""Two tiers over the same small machine, for the reliability tests: quick to set up, quick to compare.

The first MiB is RAM with tables in it, a hole at A0000 where a device answers from address and width alone, and a ROM
at C0000. Linear addresses from WINDOW on are for the tests to map. A fault of the guest ends in HLT at its handler:
`Twins.faults` says which it was.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from cores.x86 import state as S
from emu.cpu import Exit
from emu.memory import GuestRam
from tests.cores.tier_machine import descriptor, gate
from tests.cores.tiers import chosen, processor

SIZE = 1 << 20
GDT, IDT, TSS, LDT, DIRECTORY, TABLE, WINDOW_TABLE = 0x1000, 0x2000, 0x3000, 0x6000, 0x4000, 0x5000, 0x7000
HANDLERS, STACK0, FREE = 0x8000, 0xA000, 0x10000
HOLE, ROM = 0xA0000, 0xC0000
WINDOW = 0x400000
CODE0, DATA0, CODE3, DATA3, TSS_SEL, LDT_SEL = 8, 16, 24 | 3, 32 | 3, 40, 48
CODE16, DATA16 = 56, 64
LDT_DATA, LDT_CODE = 4 | 3, 12 | 3
P, W, U = 1, 2, 4
FULL = bool(os.environ.get("EMU_RELIABILITY_FULL"))
"""All cases of the matrices instead of a sample."""


def device_byte(paddr: int) -> int:
    """What the device in the hole answers at an address."""
    return (paddr * 0x9D + (paddr >> 8) * 0x35 + 0x5B) & 0xFF


class Bus:
    """The device in the hole, open bus elsewhere, and ports that keep what is written to them."""

    def __init__(self) -> None:
        self.log: list[tuple[Any, ...]] = []
        self.cpu: Any = None
        self.ports: dict[int, int] = {}
        self.on_port: Any = None
        self.memory: dict[int, int] = {}
        self.vector = 0x20

    def mmio_read(self, paddr: int, width: int) -> int:
        self.log.append(("r", paddr, width))
        if not HOLE <= paddr < ROM:
            return (1 << 8 * width) - 1
        data = bytes(self.memory.get(paddr + k, device_byte(paddr + k)) for k in range(width))
        return int.from_bytes(data, "little")

    def mmio_write(self, paddr: int, width: int, value: int) -> None:
        self.log.append(("w", paddr, width, value))

    def port_read(self, port: int, width: int) -> int:
        self.log.append(("in", port, width))
        return self.ports.get(port, 0x55AA77) & (1 << 8 * width) - 1

    def port_write(self, port: int, width: int, value: int) -> None:
        self.log.append(("out", port, width, value))
        if self.on_port is not None:
            self.on_port(self, port, value)

    def interrupt_acknowledge(self) -> int:
        self.log.append(("ack", self.cpu.icount))
        self.cpu.set_intr(False)
        return self.vector


def quads(values: Iterable[int]) -> bytes:
    return b"".join(v.to_bytes(8, "little") for v in values)


def entries(values: Iterable[int]) -> bytes:
    return b"".join(v.to_bytes(4, "little") for v in values)


def tables() -> dict[int, bytes]:
    """Descriptors, gates whose handlers halt, a TSS, and page tables: the first MiB onto itself, the window empty."""
    flat = 0xFFFFF
    descriptors = [
        0,
        *(descriptor(0, flat, access, 0xC) for access in (0x9B, 0x93, 0xFB, 0xF3)),
        descriptor(TSS, 0x20FF, 0x8B),
        descriptor(LDT, 0x7F, 0x82),
        descriptor(0, flat, 0x9B, 0x8),
        descriptor(0, flat, 0x93, 0x8),
    ]
    tss = bytearray(0x2100)
    tss[4:12] = entries([STACK0, DATA0])
    tss[0x64:0x68] = entries([0x68 << 16])
    return {
        GDT: quads(descriptors),
        IDT: quads(gate(14, CODE0, HANDLERS + 16 * k, 3) for k in range(64)),
        HANDLERS: b"".join(b"\xf4".ljust(16, b"\x90") for _ in range(64)),
        TSS: bytes(tss[:0x1000]),
        LDT: quads(
            [descriptor(0, flat, 0xF3, 0xC), descriptor(0, flat, 0xFB, 0xC), *[descriptor(0, flat, 0xF2, 0xC)] * 14]
        ),
        DIRECTORY: entries([TABLE | P | W | U, WINDOW_TABLE | P | W | U]),
        TABLE: entries(page << 12 | P | W | U | 0x60 for page in range(256)),
    }


def flat_state(ring: int = 3, *, paging: bool = True, eip: int = FREE, esp: int = STACK0 - 0x800) -> dict[str, Any]:
    """A state of flat 32-bit code at ring 0 or 3, with everything enabled."""
    code, data = (CODE3, DATA3) if ring else (CODE0, DATA0)
    level = 0x60 if ring else 0
    return {
        "cr0": 1 | 1 << S.CR0_ET | 1 << S.CR0_NE | 1 << S.CR0_WP | (1 << S.CR0_PG if paging else 0),
        "cr3": DIRECTORY,
        "cr4": 1 << S.CR4_OSFXSR | 1 << S.CR4_OSXMMEXCPT,
        "seg_sel": [data, code, data, data, data, data, LDT_SEL, TSS_SEL],
        "seg_base": [0] * 6 + [LDT, TSS],
        "seg_limit": [0xFFFFFFFF] * 6 + [0x7F, 0x20FF],
        "seg_attr": [0xC093 | level, 0xC09B | level, *[0xC093 | level] * 4, 0x82, 0x8B],
        "gdtr_base": GDT,
        "gdtr_limit": 0x47,
        "idtr_base": IDT,
        "idtr_limit": 0x1FF,
        "cpl": ring,
        "eflags": 2 | 3 << S.FLAG_IOPL,
        "eip": eip,
        "gpr": [0, 0, 0, 0, esp, *[0] * 12],
        "fctrl": 0x37F,
        "ftag": 0,
    }


class Twins:
    """Two tiers, started and compared together: the compiled one and the reference, if no others are chosen."""

    def __init__(self, model: str = "qemu32", rom_size: int = 0) -> None:
        self.cpus: list[Any] = []
        self.rams: list[GuestRam] = []
        self.buses: list[Bus] = []
        self.base = np.zeros(SIZE, dtype=np.uint8)
        for at, data in tables().items():
            self.base[at : at + len(data)] = np.frombuffer(data, dtype=np.uint8)
        for tier in chosen():
            ram = GuestRam(SIZE, rom_size)
            bus = Bus()
            cpu = processor("x86", tier, bus, ram, model)
            bus.cpu = cpu
            ram.on_remap.append(cpu.remap)
            ram.on_write.append(cpu.invalidate)
            self.cpus.append(cpu)
            self.rams.append(ram)
            self.buses.append(bus)
        self.arrays = [ram.array for ram in self.rams]
        self.cases = 0

    def start(self, memory: dict[int, bytes], state: dict[str, Any]) -> None:
        """Fresh memory and registers; `memory` by physical address."""
        self.cases += 1
        for cpu, bus, array in zip(self.cpus, self.buses, self.arrays, strict=True):
            cpu.reset()
            cpu.set_a20(True)
            cpu.time_offset = 0
            array[:SIZE] = self.base
            for at, data in memory.items():
                array[at : at + len(data)] = np.frombuffer(data, dtype=np.uint8)
            cpu.invalidate(0, SIZE)
            bus.log.clear()
            cpu.load_state(state)

    def run(self, count: int) -> list[Exit]:
        """Both run up to `count` instructions."""
        return [cpu.run(count) for cpu in self.cpus]

    def poke(self, at: int, data: bytes) -> None:
        """Change memory of both."""
        for cpu, array in zip(self.cpus, self.arrays, strict=True):
            array[at : at + len(data)] = np.frombuffer(data, dtype=np.uint8)
            cpu.invalidate(at, len(data))

    def map(self, page: int, entry: int) -> None:
        """The page-table entry of a page of the window, and no stale translation of it."""
        self.poke(WINDOW_TABLE + 4 * page, entry.to_bytes(4, "little"))
        for cpu in self.cpus:
            cpu.set_reg("cr3", DIRECTORY)

    def memory(self, at: int, size: int) -> bytes:
        """Memory of the first of them."""
        return bytes(self.rams[0].view[at : at + size])

    def difference(self) -> str:
        """What differs between the two, empty if nothing."""
        out = []
        a, b = self.cpus
        if a.icount != b.icount:
            out.append(f"icount {a.icount} {b.icount}")
        x, y = a.state(), b.state()
        if x != y:
            out += [f"{name} {show(x[name])} {show(y[name])}" for name in x if x[name] != y[name]]
        if a.exceptions() != b.exceptions():
            out.append(f"exceptions {a.exceptions()[-2:]} {b.exceptions()[-2:]}")
        if self.buses[0].log != self.buses[1].log:
            pairs = zip(self.buses[0].log, self.buses[1].log, strict=False)
            lengths = len(self.buses[0].log), len(self.buses[1].log)
            out.append(f"accesses {next((p for p in pairs if p[0] != p[1]), lengths)}")
        if not np.array_equal(self.arrays[0], self.arrays[1]):
            at = np.flatnonzero(self.arrays[0] != self.arrays[1])[:8]
            out.append("memory " + " ".join(f"{k:#x}:{self.arrays[0][k]:02x}/{self.arrays[1][k]:02x}" for k in at))
        return "; ".join(out)

    def fault(self) -> tuple[int, int, int, int] | None:
        """(vector, error code, EIP, CR2) of the last exception on the first of them."""
        story = self.cpus[0].exceptions()
        if not story:
            return None
        last = story[-1]
        return last["vector"], last["error"], last["eip"], last["cr2"]


def show(value: Any) -> str:
    """Registers in hex."""
    return "[" + " ".join(f"{v:x}" for v in value) + "]" if isinstance(value, list) else f"{value:#x}"


_twins: dict[tuple[object, ...], Twins] = {}


def twins(model: str = "qemu32", rom_size: int = 0) -> Twins:
    """The pair for a model, made once in a process."""
    key = model, rom_size, chosen()
    if key not in _twins:
        _twins[key] = Twins(model, rom_size)
    return _twins[key]
