"""The edges of memory for PowerPC (A12): every access size around every border of RAM, ROM, device and hole.

Both tiers are held against a model of one byte at a time: RAM keeps, ROM drops what is stored, devices and holes answer
from the address alone. Physical addresses have 36 bits, effective ones wrap at 4 GiB. What a board makes of a hole is
in tests/emu/test_reliability_edges_ppc.py. EMU_RELIABILITY_FULL takes every offset.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest

from cores.ppc import state as S
from cores.ppc.decoder import encode
from cores.ppc.models import model as model_of
from emu.memory import FOUR_GIB, GuestRam, Kind
from tests.cores.ppc_tiers import CODE, M32, SIZE, STRIDE, VECTORS, Pair

pytest.importorskip("emu.engine._ppc")

MODELS = ("440EP", "e500v2", "e500mc")
ROM_SIZE = 0x20000
NEAR = 16
FULL = bool(os.environ.get("EMU_RELIABILITY_FULL"))
HOLE, ROM, RAM_AGAIN = 0xA0000, 0xC0000, 0xE0000
LAST = 1 << 36
# name: (effective address of the edge, physical address)
EDGES = {
    "RAM to device": (HOLE, HOLE),
    "device to ROM": (ROM, ROM),
    "ROM to RAM": (RAM_AGAIN, RAM_AGAIN),
    "RAM to the hole": (0x10000000 + SIZE, SIZE),
    "hole to flash": (0x30000000 - ROM_SIZE, FOUR_GIB - ROM_SIZE),
    "4 GiB": (0x30000000, FOUR_GIB),
    "36 bits": (0x50000000, LAST),
    "4 GiB of effective addresses": (0, 0),
}
# (effective, physical) pages of 16 MiB; the last page below 4 GiB is a frame of RAM, what follows it is address 0.
LARGE = (
    (0x10000000, 0), (0x2F000000, 0xFF000000), (0x30000000, FOUR_GIB), (0x4F000000, LAST - (16 << 20)), (0x50000000, 0),
)  # fmt: skip
TOP_FRAME = 0x30000
OFFSETS = [
    pytest.param((-5, -4, -1, 0), id="some"),
    pytest.param(range(-2 * NEAR - 1, NEAR + 1, 1 if FULL else 4), id="many", marks=pytest.mark.slow),
]
ME, FP, SPV = (1 << n for n in (S.MSR_ME, S.MSR_FP, S.MSR_SPV))


def byte_at(at: int) -> int:
    """What is at a physical address before the access."""
    at %= LAST
    return (at * 7 + (at >> 12) * 31 + (at >> 32) * 5 + 3) & 0xFF


def backed(at: int) -> bool:
    """Whether it is RAM or ROM."""
    at %= LAST
    return at < HOLE or ROM <= at < SIZE or FOUR_GIB - ROM_SIZE <= at < FOUR_GIB


def writable(at: int) -> bool:
    at %= LAST
    return at < HOLE or RAM_AGAIN <= at < SIZE


class Bus:
    """Devices and holes: each byte answers for itself."""

    def __init__(self) -> None:
        self.log: list[tuple[Any, ...]] = []
        self.dcrs: Any = None
        self.cpu: Any = None
        self.code: dict[int, int] = {}

    def mmio_read(self, paddr: int, width: int) -> int:
        self.log.append(("r", paddr, width))
        if paddr in self.code:
            return self.code[paddr]
        return int.from_bytes(bytes(byte_at(paddr + k) for k in range(width)), "big")

    def mmio_write(self, paddr: int, width: int, value: int) -> None:
        self.log.append(("w", paddr, width, value))


class Edges(Pair):
    """Both tiers over RAM with a device and a ROM in it, and flash below 4 GiB."""

    def __init__(self, model: str) -> None:
        super().__init__(model)
        from cores.ppc.reference import PpcCpu as Reference
        from emu.engine.ppc import PpcCpu as Interp

        self.cpus.clear()
        self.rams.clear()
        self.buses: list[Any] = []
        self.patterns = self._patterns()
        self.before = np.zeros(0, dtype=np.uint8)
        for make in (Interp, Reference):
            ram, bus = GuestRam(SIZE, ROM_SIZE, flat=True), Bus()
            ram.set_kind(HOLE, ROM - HOLE, Kind.MMIO)
            ram.set_kind(ROM, RAM_AGAIN - ROM, Kind.ROM)
            cpu: Any = make(bus, ram, model)
            bus.cpu = cpu
            self.cpus.append(cpu)
            self.rams.append(ram)
            self.buses.append(bus)

    @staticmethod
    def _patterns() -> list[tuple[int, int, Any]]:
        """(from, to, bytes) in the buffer, of which flash is the end."""
        shift = FOUR_GIB - ROM_SIZE - SIZE
        places = [(0, 0x100, 0), (TOP_FRAME + 0xF00, TOP_FRAME + 0x1000, 0), (0x9FF00, HOLE, 0), (ROM, ROM + 0x100, 0)]
        places += [(0xDFF00, 0xE0100, 0), (SIZE - 0x100, SIZE, 0)]
        places += [(k + shift, k + shift + 0x100, shift) for k in (SIZE, SIZE + ROM_SIZE - 0x100)]
        return [
            (low - s, high - s, np.array([byte_at(k) for k in range(low, high)], dtype=np.uint8))
            for low, high, s in places
        ]

    def begin(self, word: int, ea: int, **more: Any) -> None:
        """The instruction at CODE with r3 (and r0 + r7) at an address."""
        m = model_of(self.model)
        msr = ME | (SPV if m.has("spe") else FP)
        values: dict[str, Any] = {
            "pc": CODE, "msr": msr, "ivpr": VECTORS & 0xFFFF0000, "ivor": {n: STRIDE * n for n in range(42)}, "tcr": 0,
            "dbcr0": 0, "gpr": {**self.gpr(), 3: ea & M32, 7: 0}, "xer_count": 13,
            "fpr": {9: 0x2122232425262728}, **more,
        }  # fmt: skip
        values.update(self.tlb())
        for cpu, ram, bus in zip(self.cpus, self.rams, self.buses, strict=True):
            array = ram.array
            array[:] = 0
            for low, high, data in self.patterns:
                array[low:high] = data
            array[CODE : CODE + 4] = np.frombuffer(word.to_bytes(4, "big"), dtype=np.uint8)
            cpu.reset()
            cpu.remap()
            cpu.load_values(values)
            bus.log.clear()

    def gpr(self) -> dict[int, int]:
        upper = 0x51525354 << 32 if model_of(self.model).has("spe") else 0
        return {n: upper | (0xA1B2C300 + n) * 0x01000193 & M32 for n in range(8, 32)}

    def tlb(self) -> dict[str, Any]:
        pages = [(0, 0, 5, 0xC0000500), *((ea, at, 7, 0xC0000700) for ea, at in LARGE)]
        pages.append((0xFFFFF000, TOP_FRAME, 1, 0xC0000100))
        if model_of(self.model).has("440"):
            return {
                "utlb0": {63: 0, **{k: ea | 0x200 | code << 4 for k, (ea, _, code, _) in enumerate(pages)}},
                "utlb1": {k: at & M32 | at >> 32 for k, (_, at, _, _) in enumerate(pages)},
                "utlb2": dict.fromkeys(range(len(pages)), 0x3F),
            }
        first = S.TLB1_FIRST
        return {
            "etlb_mas1": {first + k: mas1 for k, (*_, mas1) in enumerate(pages)},
            "etlb_mas2": {first + k: ea for k, (ea, *_) in enumerate(pages)},
            "etlb_mas3": {first + k: at & M32 | 0x3F for k, (_, at, *_) in enumerate(pages)},
            "etlb_mas7": {first + k: at >> 32 for k, (_, at, *_) in enumerate(pages)},
        }


def real(edge: str, offset: int) -> int:
    """The physical address of a byte so far from an edge."""
    ea, at = EDGES[edge]
    if ea == 0 and offset < 0:
        return TOP_FRAME + 0x1000 + offset
    return (at + offset) % LAST


_pairs: dict[str, Edges] = {}


def pair(model: str) -> Edges:
    """The two processors, made once."""
    if model not in _pairs:
        _pairs[model] = Edges(model)
    return _pairs[model]


def number(b: bytes) -> int:
    return int.from_bytes(b, "big")


def signed(b: bytes) -> int:
    return int.from_bytes(b, "big", signed=True) & M32


def swapped(b: bytes) -> int:
    return int.from_bytes(b, "little")


# name: (bytes, features and boundary that it needs, what register 9 becomes).
LOADS: dict[str, tuple[int, str, Callable[[bytes], int]]] = {
    "lbz": (1, "fpu spe", number), "lhz": (2, "fpu spe", number), "lha": (2, "fpu spe", signed),
    "lwz": (4, "fpu spe", number), "lhbrx": (2, "fpu spe", swapped), "lwbrx": (4, "fpu spe", swapped),
    "lfd": (8, "fpu", number),
    "evldd": (8, "spe 8", number), "evldw": (8, "spe 8", number), "evldh": (8, "spe 8", number),
    "evlwhou": (4, "spe 4", lambda b: number(b[:2]) << 32 | number(b[2:])),
    "lwarx": (4, "fpu spe 4", number),
}  # fmt: skip
STORES: dict[str, tuple[int, str]] = {
    "stb": (1, "fpu spe"), "sth": (2, "fpu spe"), "stw": (4, "fpu spe"), "sthbrx": (2, "fpu spe"),
    "stwbrx": (4, "fpu spe"), "stfd": (8, "fpu"), "stfiwx": (4, "fpu"), "evstdd": (8, "spe 8"),
    "evstdw": (8, "spe 8"), "evstdh": (8, "spe 8"), "evstwwe": (4, "spe 4"), "stwcx.": (4, "fpu spe 4"),
}  # fmt: skip


def has(model: str, needs: str) -> bool:
    return any(model_of(model).has(word) for word in needs.split() if word.isalpha())


def aligned(needs: str) -> int:
    """The boundary that an access must be on."""
    return int(needs.split()[-1]) if needs[-1].isdigit() else 1


def word_of(name: str) -> int:
    """Register 9, address r3; r7 is 0."""
    target = {"lfd": "frt", "stfd": "frs", "stfiwx": "frs"}.get(name, "rs" if "st" in name else "rt")
    indexed = name in ("lhbrx", "lwbrx", "sthbrx", "stwbrx", "stfiwx", "lwarx", "stwcx.")
    return encode(name, **{target: 9, "ra": 3, **({"rb": 7} if indexed else {})})


def stored(both: Edges, name: str) -> bytes:
    """The bytes that a store of register 9 moves."""
    r9 = both.gpr()[9]
    if name in ("stfd", "stfiwx"):
        return (0x2122232425262728).to_bytes(8, "big")[0 if name == "stfd" else 4 :]
    if name.startswith("evst"):
        return r9.to_bytes(8, "big")[: STORES[name][0]]
    size = STORES[name][0]
    data = (r9 & (1 << 8 * size) - 1).to_bytes(size, "big")
    return data[::-1] if name.endswith("brx") else data


def written(both: Edges, edge: str, offset: int, data: bytes, what: str) -> None:
    """Exactly these bytes are stored, once each, in RAM or to the bus."""
    places = [real(edge, offset + k) for k in range(len(data))]
    expected = both.before.copy()
    for at, b in zip(places, data, strict=True):
        if writable(at):
            expected[at] = b
    assert np.array_equal(both.rams[0].array, expected), what
    told: dict[int, int] = {}
    for kind, at, width, value in (entry for entry in both.buses[0].log if entry[0] == "w"):
        for k, b in enumerate(value.to_bytes(width, "big")):
            assert at + k not in told, f"{what}: {kind}"
            told[at + k] = b
    assert told == {at: b for at, b in zip(places, data, strict=True) if not backed(at)}, what


def run(both: Edges, what: str) -> int | None:
    """One instruction; the interrupt it took."""
    both.before = both.rams[0].array.copy()
    assert both.differs([cpu.run(1) for cpu in both.cpus]) == "", what
    story = both.cpus[0].exceptions()
    return story[-1]["vector"] if story else None


@pytest.mark.parametrize("offsets", OFFSETS)
@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("model", MODELS)
def test_every_access_size_around_an_edge(model: str, edge: str, offsets: Any) -> None:
    both = pair(model)
    for offset in offsets:
        ea = EDGES[edge][0] + offset
        for name, (size, needs, value) in LOADS.items():
            if not has(model, needs):
                continue
            what = f"{name} at {ea:#x}"
            both.begin(word_of(name), ea)
            ivor = run(both, what)
            if ea % aligned(needs):
                assert ivor == S.ALIGNMENT and not both.buses[0].log, what
                continue
            assert ivor is None, what
            want = value(bytes(byte_at(real(edge, offset + k)) for k in range(size)))
            got = both.cpus[0].reg("f9") if name == "lfd" else both.cpus[0].state()["gpr"][9]
            assert got & (M32 if size < 8 and name != "evlwhou" else -1) == want, f"{what}: {got:#x}, not {want:#x}"
            read = {at + k for kind, at, width, *_ in both.buses[0].log for k in range(width) if kind == "r"}
            assert read == {at for at in (real(edge, offset + k) for k in range(size)) if not backed(at)}, what
        for name, (_, needs) in STORES.items():
            if not has(model, needs):
                continue
            what = f"{name} at {ea:#x}"
            held = bytes(byte_at(real(edge, offset + k)) for k in range(4))
            both.begin(
                word_of(name), ea, reserve=1, reserve_addr=real(edge, offset) & ~31, reserve_value=number(held)
            )  # fmt: skip
            ivor = run(both, what)
            if ea % aligned(needs):
                assert ivor == S.ALIGNMENT and not both.buses[0].log, what
                continue
            assert ivor is None, what
            written(both, edge, offset, stored(both, name), what)


@pytest.mark.parametrize("offsets", OFFSETS)
@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("model", MODELS)
def test_multiples_strings_and_lines_around_an_edge(model: str, edge: str, offsets: Any) -> None:
    both = pair(model)
    m = model_of(model)
    for offset in offsets:
        ea = EDGES[edge][0] + offset
        rows = [("lmw", {"rt": 24, "ra": 3}, 32), ("stmw", {"rs": 24, "ra": 3}, 32)]
        if m.has("440"):
            rows += [("lswi", {"rt": 20, "ra": 3, "nb": 13}, 13), ("stswi", {"rs": 20, "ra": 3, "nb": 13}, 13)]
            rows += [("lswx", {"rt": 20, "ra": 3, "rb": 7}, 13), ("stswx", {"rs": 20, "ra": 3, "rb": 7}, 13)]
        for name, fields, size in rows:
            what = f"{name} at {ea:#x}"
            both.begin(encode(name, **fields), ea)
            ivor = run(both, what)
            if m.has("e500") and ea & 3:
                assert ivor == S.ALIGNMENT and not both.buses[0].log, what
                continue
            assert ivor is None, what
            first = fields.get("rt", fields.get("rs", 0))
            words = -(-size // 4)
            if name[0] == "l":
                data = bytes(byte_at(real(edge, offset + k)) for k in range(size)).ljust(4 * words, b"\0")
                got = [both.cpus[0].reg(f"r{first + k}") for k in range(words)]
                assert got == [number(data[4 * k : 4 * k + 4]) for k in range(words)], what
            else:
                data = b"".join((both.gpr()[first + k] & M32).to_bytes(4, "big") for k in range(words))[:size]
                written(both, edge, offset, data, what)
        what = f"dcbz at {ea:#x}"
        both.begin(encode("dcbz", ra=3, rb=7), ea)
        ivor = run(both, what)
        line = offset // m.line * m.line
        if backed(real(edge, line)):
            assert ivor is None, what
            written(both, edge, line, bytes(m.line), what)
        else:
            assert ivor == S.ALIGNMENT and not both.buses[0].log, what


@pytest.mark.parametrize("model", MODELS)
def test_code_runs_over_an_edge(model: str) -> None:
    """The last word below an edge, and the first one behind it, wherever they are."""
    both = pair(model)
    rng = Random(1)
    nop = [0x60000000 | rng.getrandbits(16) for _ in range(2)]  # ori r0, r0, n
    for edge, (ea, _) in EDGES.items():
        both.begin(0, 0, pc=(ea - 4) & M32)
        for array in (ram.array for ram in both.rams):
            for k, word in enumerate(nop):
                at = real(edge, 4 * k - 4)
                if backed(at):
                    at -= FOUR_GIB - ROM_SIZE - SIZE if at >= FOUR_GIB - ROM_SIZE else 0
                    array[at : at + 4] = np.frombuffer(word.to_bytes(4, "big"), dtype=np.uint8)
        for _ in range(2):
            assert both.differs([cpu.run(1) for cpu in both.cpus]) == "", edge
        fetched = [at for kind, at, _ in both.buses[0].log]
        assert fetched == [at for at in (real(edge, -4), real(edge, 0)) if not backed(at)], edge


@pytest.mark.parametrize("model", ["440EP", "e500mc"])
def test_an_instruction_of_a_device_is_fetched_once_even_if_it_faults(model: str) -> None:
    """ESR tells that it was a floating-point load, and the device is not asked for the word again."""
    both = pair(model)
    both.begin(0, 0x70000000, pc=HOLE)
    try:
        for bus in both.buses:
            bus.code[HOLE] = encode("lfd", frt=9, ra=3)
        assert run(both, model) == S.DATA_TLB
    finally:
        for bus in both.buses:
            bus.code.clear()
    assert both.cpus[0].reg("esr") == S.ESR_FP
    assert both.buses[0].log == [("r", HOLE, 4)]
