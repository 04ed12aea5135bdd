"""Two tiers of the PowerPC over the same small machine, with drawn programs.

The first MiB is RAM, identity-mapped; behind it a device answers from the address alone. WINDOW has four pages with
rights, byte order and process of their own. Interrupts return behind the instruction that raised them.
"""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np

from cores.ppc import state as S
from cores.ppc.decoder import allowed, encode, forms
from cores.ppc.forms import Form, with_field
from cores.ppc.models import model as model_of
from cores.ppc.models import reset_values
from emu.cpu import Exit
from emu.memory import GuestRam
from tests.cores.tiers import chosen, processor

SIZE = 1 << 20
CODE, DATA, VECTORS, WINDOW, DEVICE = 0x10000, 0x20000, 0x40000, 0x800000, 0x180000
STRIDE = 0x40
M32 = 0xFFFFFFFF
SAVED = {"csrr": (0, 12, 15, 37, 39), "mcsrr": (1,)}


class Dcrs:
    def __init__(self, log: list[tuple[Any, ...]]) -> None:
        self.log = log

    def port_read(self, number: int, width: int) -> int:
        self.log.append(("dcr", number))
        return number * 0x01010101 & M32

    def port_write(self, number: int, width: int, value: int) -> None:
        self.log.append(("dcr", number, value))


class Bus:
    """Answers everything, and remembers who asked when."""

    def __init__(self) -> None:
        self.log: list[tuple[Any, ...]] = []
        self.dcrs = Dcrs(self.log)
        self.cpu: Any = None

    def mmio_read(self, paddr: int, width: int) -> int:
        self.log.append(("r", self.cpu.icount, paddr, width))
        return (paddr * 0x9E3779B1 >> 3) & ((1 << 8 * width) - 1)

    def mmio_write(self, paddr: int, width: int, value: int) -> None:
        self.log.append(("w", self.cpu.icount, paddr, width, value))

    def interrupt_acknowledge(self) -> int:
        self.log.append(("ack", self.cpu.icount))
        self.cpu.set_intr(False)
        return 0x42


def vectors(model: str) -> bytes:
    """Handlers that skip the instruction they were raised by."""
    out = bytearray()
    m = model_of(model)
    for n in range(42):
        kind = next((k for k, numbers in SAVED.items() if n in numbers), "srr")
        if kind == "mcsrr" and model.startswith("440EP"):
            kind = "csrr"
        if n == 15 and m.has("e500mc"):
            kind = "dsrr"
        back = {"srr": "rfi", "csrr": "rfci", "mcsrr": "rfmci", "dsrr": "rfdi"}[kind]
        words = [
            encode(f"mf{kind}0", rt=31),
            encode("addi", rt=31, ra=31, si=4),
            encode(f"mt{kind}0", rs=31),
            encode(back),
        ]
        out += b"".join(w.to_bytes(4, "big") for w in words).ljust(STRIDE, b"\0")
    return bytes(out)


def mapping(model: str) -> dict[str, int | dict[int, int]]:
    """TLB contents: memory and device onto themselves, 1 MiB each; the window onto DATA, each page of another kind."""
    everything = 0x3F
    pages = [(0, 0, everything), (1 << 20, 1 << 20, everything)]
    if model_of(model).has("440"):
        kinds = [(0, everything), (0x180, everything), (0, 9), (0x400, 0x24)]  # E and G; read only; I and execute only
        pages += [(WINDOW + k * 0x1000, DATA + k * 0x1000, a | rights) for k, (a, rights) in enumerate(kinds)]
        return {
            "utlb0": {63: 0, **{k: ea | (0x210 if k > 1 else 0x250) for k, (ea, _, _) in enumerate(pages)}},
            "utlb1": {k: at for k, (_, at, _) in enumerate(pages)},
            "utlb2": {k: word for k, (_, _, word) in enumerate(pages)},
            "utlb_tid": {4: 7},
        }
    kinds = [(0, everything), (3, everything), (0, 3), (8, 0x30)]
    pages += [(WINDOW + k * 0x1000 | a, DATA + k * 0x1000, rights) for k, (a, rights) in enumerate(kinds)]
    at = S.TLB1_FIRST
    return {
        "etlb_mas1": {at + k: 0xC0000500 if k < 2 else 0x80000100 | (7 << 16 if k == 4 else 0) for k in range(6)},
        "etlb_mas2": {at + k: ea for k, (ea, _, _) in enumerate(pages)},
        "etlb_mas3": {at + k: real | rights for k, (_, real, rights) in enumerate(pages)},
    }


def drawn_word(rng: Random, form: Form) -> int:
    """A word of a form: branches stay near, base registers mostly hold addresses of something."""
    word = form.value | rng.getrandbits(32) & ~form.mask
    for name in ("bd", "li"):
        if name in form.params:
            word = with_field(word, name, rng.randrange(-8, 8) * 4)
    if form.mask & 3 == 0 and form.params[:1] != ("li",) and "aa" in form.statics:
        word &= ~2
    if ("ra0" in form.params or "ra" in form.params) and "d" in form.params:
        word = with_field(word, "d", rng.choice((0, 4, 2, -4, 8, 1)))
        word = with_field(word, "ra", rng.choice((3, 4, 5, 6)))
    if form.zero:
        word = with_field(word, "ra", 0)
    elif "ra0" in form.params and not word >> 16 & 31:
        word = with_field(word, "ra", 4)
    if "rb" in form.params and rng.random() < 0.8:
        word = with_field(word, "rb", rng.choice((3, 4, 5, 6, 7)))
    return word


class Pair:
    """Both chosen tiers of one model."""

    def __init__(self, model: str, jit_size: int | None = None) -> None:
        self.model = model
        self.cpus: list[Any] = []
        self.buses: list[Bus] = []
        self.rams: list[GuestRam] = []
        for tier in chosen():
            ram, bus = GuestRam(SIZE, flat=True), Bus()
            cpu = processor("ppc", tier, bus, ram, model, jit_size=jit_size)
            bus.cpu = cpu
            self.cpus.append(cpu)
            self.rams.append(ram)
            self.buses.append(bus)
        families: dict[Any, list[Form]] = {}
        for f in forms():
            if allowed(f, model_of(model).features):
                families.setdefault(f.entry.body, []).append(f)
        self.families = list(families.values())
        """Forms by the body they share, so that a draw is not mostly moves to special purpose registers."""
        self.vectors = vectors(model)
        self.executed = 0

    def start(self, rng: Random, chosen: list[list[Form]], length: int) -> None:
        """Give both the same drawn program and state."""
        program = b"".join(drawn_word(rng, rng.choice(rng.choice(chosen))).to_bytes(4, "big") for _ in range(length))
        program += (0x48000000 | -4 * length & 0x03FFFFFC).to_bytes(4, "big")
        data = rng.randbytes(0x4000)
        places = (DATA, DATA + 0xFFC, WINDOW, WINDOW + 0xFFE, WINDOW + 0x1000, WINDOW + 0x2000, WINDOW + 0x3000, DEVICE)
        gpr = [rng.getrandbits(32) for _ in range(32)]
        for k in (3, 4, 5, 6):
            gpr[k] = rng.choice(places) + rng.choice((0, 0, 0, 4, 1, 2, 8))
        gpr[7] = rng.choice((0, 4, 1, 0xFFFFFFFC))
        if model_of(self.model).has("spe"):
            gpr = [v | rng.getrandbits(32) << 32 for v in gpr]
        m = model_of(self.model)
        msr = rng.getrandbits(32) & m.msr_mask & ~(1 << S.MSR_IS | 1 << S.MSR_WE | 1 << S.MSR_GS | 1 << S.MSR_DE)
        msr |= 1 << S.MSR_ME
        if rng.random() < 0.8:
            msr &= ~(1 << S.MSR_DS)
        if rng.random() < 0.6:
            msr &= ~(1 << S.MSR_PR)
        values: dict[str, int | dict[int, int]] = {
            "pc": CODE, "gpr": dict(enumerate(gpr)), "msr": msr, "cr": rng.getrandbits(32), "lr": CODE + 8,
            "ctr": rng.choice((1, 5, CODE + 12)), "ivpr": VECTORS & 0xFFFF0000, "xer_ca": rng.getrandbits(1),
            "xer_so": rng.getrandbits(1), "xer_count": rng.randrange(20), "fpscr": rng.getrandbits(2),
            "ivor": {n: STRIDE * n for n in range(42)}, "fpr": {n: rng.getrandbits(64) for n in range(32)},
            "pid": {0: rng.choice((0, 7))}, "tcr": rng.choice((0, 1 << 26, 1 << 23)), "dec": rng.randrange(60),
            "dbcr0": rng.choice((0, 0, 0, 0x40000000 | rng.getrandbits(32) & 0x0FFF8000)),
            "dac": {0: rng.choice(places)}, "iac": {0: CODE + 8}, "tb_stopped": 0,
            **mapping(self.model),
        }  # fmt: skip
        for cpu, ram, bus in zip(self.cpus, self.rams, self.buses, strict=True):
            ram.view[:] = bytes(SIZE)
            ram.view[CODE : CODE + len(program)] = program
            ram.view[DATA : DATA + len(data)] = data
            ram.view[VECTORS : VECTORS + len(self.vectors)] = self.vectors
            cpu.reset()
            cpu.remap()
            cpu.load_values(reset_values(m))
            cpu.load_values(values)
            bus.log.clear()

    def run(self, rng: Random, chosen: list[list[Form]], length: int, most: int) -> str:
        """Run a drawn program on both; what differs."""
        self.start(rng, chosen, length)
        left = most
        while left > 0:
            budget = min(left, rng.randrange(1, 40))
            left -= budget
            before = self.cpus[0].icount
            exits = [cpu.run(budget) for cpu in self.cpus]
            self.executed += self.cpus[0].icount - before
            wrong = self.differs(exits)
            if wrong:
                return wrong
            if exits[0] is Exit.SHUTDOWN:
                break
            if exits[0] is Exit.HALT or rng.random() < 0.1:
                pin = rng.random()
                for cpu in self.cpus:
                    cpu.set_intr(pin < 0.5)
                    cpu.set_critical(pin > 0.8)
        return ""

    def differs(self, exits: list[Exit]) -> str:
        """The first difference between the two."""
        a, b = self.cpus
        if exits[0] is not exits[1] or a.icount != b.icount:
            return f"{exits} after {a.icount} and {b.icount}"
        states = [cpu.state() for cpu in self.cpus]
        for name, v in states[0].items():
            if v != states[1][name] and not S.STATE.registers[name].hidden:
                return f"{name} after {a.icount}: {_shown(v, states[1][name])}"
        if self.buses[0].log != self.buses[1].log:
            return f"bus after {a.icount}: {self.buses[0].log[-3:]} and {self.buses[1].log[-3:]}"
        if not np.array_equal(self.rams[0].array, self.rams[1].array):
            at = next(k for k in range(SIZE) if self.rams[0].view[k] != self.rams[1].view[k])
            return f"memory at {at:#x} after {a.icount}"
        return ""


_pairs: dict[tuple[object, ...], Pair] = {}


def pair(model: str) -> Pair:
    """The two processors of a model, made once in a process."""
    key = model, chosen()
    if key not in _pairs:
        _pairs[key] = Pair(model)
    return _pairs[key]


def _shown(a: Any, b: Any) -> str:
    if isinstance(a, list):
        return ", ".join(f"[{k}] {x:#x} and {y:#x}" for k, (x, y) in enumerate(zip(a, b, strict=True)) if x != y)
    return f"{a:#x} and {b:#x}"
