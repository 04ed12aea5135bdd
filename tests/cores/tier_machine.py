"""Two processors of different tiers with the same surroundings, run side by side on drawn programs.

A world has RAM with tables and data, a ROM, a hole where a device answers, ports, and a processor state in one of the
modes. Faults end in a handler that halts, or in one that goes on at the next multiple of 16. Devices answer from what
they were asked and when, and keep a log: both tiers must make the same accesses at the same counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cores.lang.strategies import Choices, number, one_in, pick
from cores.x86 import state as S
from cores.x86.strategies import Place, program, registers
from emu.cpu import Exit
from emu.memory import GuestRam
from tests.cores.tiers import chosen, processor

SIZE = 1 << 20
MODES = ("real", "flat16", "flat32", "ring3", "pae3", "v86", "segments")

GDT, IDT, TSS, LDT = 0x1000, 0x2000, 0x3000, 0x3800
DIRECTORY, TABLE = 0x4000, 0x5000
HANDLERS = 0x8000
CODE = 0x10000
DATA = 0x20000
STACK = 0x30000
STACK0 = 0x38000
HOLE = 0xA0000
ROM = 0xC0000
WINDOW = 0x1000
DATA_PORT, BLOCK = 0x60, 64  # a port that moves data in blocks, and does something after each

(
    CODE0_32,
    DATA0,
    CODE0_16,
    DATA0_16,
    CODE3,
    DATA3,
    TSS_SEL,
    LDT_SEL,
    SMALL,
    DOWN,
    ABSENT,
    CONFORMING,
    READONLY,
    CALLGATE,
) = (8 * k for k in range(1, 15))


class Devices:
    """Ports and device memory that answer from a seed and the number of the access."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.log: list[tuple[Any, ...]] = []
        self.cpu: Any = None
        self.moved = 0
        self.written = 0

    def _answer(self, *what: int) -> int:
        x = self.seed
        for w in (*what, len(self.log)):
            x = (x * 0x5851F42D4C957F2D + w + 0x14057B7EF767814F) & 0xFFFFFFFFFFFFFFFF
        self._react(x >> 16)
        return x >> 24

    def _react(self, x: int) -> None:
        """Now and then a device pulls a pin."""
        kind = x & 0x3F
        if kind == 0:
            self.cpu.set_intr(True)
        elif kind == 1:
            self.cpu.nmi()
        elif kind == 2:
            self.cpu.stop()
        elif kind == 3:
            self.cpu.hook(x & 0xFF)
        elif kind == 4:
            self.cpu.set_a20(bool(x & 0x40))

    def _note(self, *what: int) -> None:
        self.log.append((self.cpu.icount, *what))

    def _move(self, count: int) -> None:
        self.moved += count
        if self.moved % BLOCK < count:
            self._note(5, self.moved, self.written)
            self._answer(self.moved)

    def port_block_count(self, port: int, width: int, count: int) -> int:
        return min(count, (BLOCK - self.moved % BLOCK) // width) if port == DATA_PORT else 0

    def port_read_block(self, port: int, width: int, count: int) -> bytes:
        data = bytes((self.moved + k) * 7 & 0xFF for k in range(count * width))
        self._move(count * width)
        return data

    def port_write_block(self, port: int, width: int, data: bytes) -> int:
        for k, byte in enumerate(data):
            self.written = (self.written * 31 + byte + k % width) & 0xFFFFFFFF
        self._move(len(data))
        return len(data) // width

    def port_read(self, port: int, width: int) -> int:
        if port == DATA_PORT:
            return int.from_bytes(self.port_read_block(port, width, 1), "little")
        self._note(0, port, width)
        return self._answer(port, width) & ((1 << 8 * width) - 1)

    def port_write(self, port: int, width: int, value: int) -> None:
        if port == DATA_PORT:
            self.port_write_block(port, width, value.to_bytes(width, "little"))
            return
        self._note(1, port, width, value)
        self._answer(port, value)

    def mmio_read(self, paddr: int, width: int) -> int:
        self._note(2, paddr, width)
        return self._answer(paddr, width) & ((1 << 8 * width) - 1)

    def mmio_write(self, paddr: int, width: int, value: int) -> None:
        self._note(3, paddr, width, value)
        self._answer(paddr, value)

    def interrupt_acknowledge(self) -> int:
        self._note(4)
        self.cpu.set_intr(False)
        return 0x20 + (self._answer() & 0x1F)


@dataclass
class World:
    """What a run starts from."""

    mode: str
    place: Place
    state: dict[str, Any]
    memory: dict[int, bytes] = field(default_factory=dict)
    program: list[bytes] = field(default_factory=list)
    seed: int = 0


def descriptor(base: int, limit: int, access: int, flags: int = 0) -> int:
    """A descriptor; `limit` in units of the granularity in `flags` (8: pages, 4: 32-bit)."""
    return (
        limit & 0xFFFF
        | (base & 0xFFFFFF) << 16
        | access << 40
        | (limit >> 16 & 0xF) << 48
        | flags << 52
        | base >> 24 << 56
    )


def gate(kind: int, selector: int, offset: int, dpl: int, count: int = 0) -> int:
    """A gate descriptor, present."""
    return offset & 0xFFFF | selector << 16 | count << 32 | (0x80 | dpl << 5 | kind) << 40 | offset >> 16 << 48


def _quads(values: list[int]) -> bytes:
    return b"".join(v.to_bytes(8, "little") for v in values)


SKIP32 = bytes.fromhex("50 8b442408 83e0f0 83c010 89442408 58 83c404 cf".replace(" ", ""))


def _handlers(rng: Choices, skip: bool) -> tuple[bytes, list[int]]:
    """32-bit handlers for 64 vectors and where each starts. `skip`: go on at the next multiple of 16, else halt."""
    code = bytearray()
    starts = []
    common = 64 * 16
    for vector in range(64):
        starts.append(HANDLERS + vector * 16)
        if not skip or one_in(rng, 40):
            stub = b"\xf4"
        elif vector in (8, 10, 11, 12, 13, 14, 17):
            stub = b"\xe9" + (common - (vector * 16 + 5) & 0xFFFFFFFF).to_bytes(4, "little")
        elif 32 <= vector < 64:
            stub = b"\xcf"
        else:
            stub = b"\x6a\x00\xe9" + (common - (vector * 16 + 7) & 0xFFFFFFFF).to_bytes(4, "little")
        code += stub.ljust(16, b"\x90")
    code += SKIP32
    return bytes(code), starts


def world(
    rng: Choices, mode: str, chapters: dict[str, Any], length: int, *, skips: bool = False, paged: bool = False
) -> World:
    """Draw a world with a program of `length` instructions.

    `skips`: no handler but a few halts; `paged`: with paging, but for real mode.
    """
    big = mode in ("flat32", "ring3", "pae3", "segments")
    real = mode in ("real", "v86")
    selectors = (*range(0, 0x80, 8), CODE3 | 3, DATA3 | 3, 4, 0x1234)
    if real:
        selectors = (0x1000, 0x2000, 0x3000, 0, 0xFFFF)
    place = Place(big, 0x100 if real else DATA, WINDOW, selectors, ports=(0x20, DATA_PORT, 0x40, 0xFF))
    ring3 = mode in ("ring3", "pae3", "v86")
    skip = ring3 or skips or one_in(rng, 2)
    code, starts = _handlers(rng, skip)
    memory = {HANDLERS: code}
    gates = [gate(14 if rng.randrange(3) else 15, CODE0_32, at, 3 if rng.randrange(2) else 0) for at in starts]
    if one_in(rng, 10):
        gates[rng.randrange(64)] = number(rng, 64)
    task = one_in(rng, 12)
    if task:
        gates[pick(rng, (0, 5, 8, 13))] = gate(5, TSS_SEL + 0x78, 0, 3)
    segments = [
        0,
        descriptor(0, 0xFFFFF, 0x9B, 0xC),
        descriptor(0, 0xFFFFF, 0x93, 0xC),
        descriptor(0, 0xFFFFF, 0x9A, 0x8),
        descriptor(0, 0xFFFFF, 0x92, 0x8),
        descriptor(0, 0xFFFFF, 0xFA, 0xC),
        descriptor(0, 0xFFFFF, 0xF2, 0xC),
        descriptor(TSS, 0x20FF, 0x8B if not task else 0x89, 0),
        descriptor(LDT, 0x7F, 0x82, 0),
        descriptor(DATA, WINDOW + rng.randrange(64), 0xF2, 0x4),
        descriptor(DATA & ~0xFFF, rng.randrange(0x100), 0xF6, 0xC if rng.randrange(2) else 4),
        descriptor(0, 0xFFFFF, 0x72, 0xC),
        descriptor(0, 0xFFFFF, 0x9E, 0xC),
        descriptor(0, 0xFFFFF, 0xF0, 0xC),
        gate(12, CODE0_32, HANDLERS + 3 * 16, 3, rng.randrange(4)),
        number(rng, 64),
    ]
    segments += [0] * 7 + [descriptor(TSS + 0x400, 0x67, 0x89, 0)]
    memory[GDT] = _quads(segments)
    memory[IDT] = _quads(gates)
    memory[LDT] = _quads([descriptor(DATA, number(rng, 16), 0xF2, 4), descriptor(0, 0xFFFFF, 0xFA, 0xC)] + [0] * 14)
    memory[TSS] = _tss(rng)
    memory[TSS + 0x400] = _tss(rng)
    memory[DATA] = _data(rng)
    state: dict[str, Any] = {}
    _common(rng, state, place, mode)
    if mode == "real":
        _real(rng, state, memory, skip)
    elif mode == "v86":
        _v86(state)
    else:
        _protected(rng, state, mode)
    if mode in ("ring3", "pae3", "v86"):
        _paging(rng, state, memory, pae=mode == "pae3", user=True)
    elif mode != "real" and (paged or one_in(rng, 3)):
        _paging(rng, state, memory, pae=bool(rng.randrange(2)), user=False)
    w = World(mode, place, state, memory, seed=rng.randrange(1 << 32))
    w.program = program(rng, chapters, place, length)
    image = b""
    aligned = skip
    for insn in w.program:
        if aligned and rng.randrange(2):
            image += b"\x90" * (-len(image) % 16)
        image += insn
    memory[CODE] = image + (b"\xf4" if not ring3 else b"\xcc") * 16
    return w


def _tss(rng: Choices) -> bytes:
    words = bytearray(0x68)

    def put(at: int, value: int) -> None:
        words[at : at + 4] = value.to_bytes(4, "little")

    put(4, STACK0 + 0x800)
    put(8, DATA0)
    put(0x1C, 0)
    put(0x20, CODE)
    put(0x24, 2)
    put(0x38, STACK + 0x400)
    for k, sel in enumerate((DATA0, CODE0_32, DATA0, DATA0, DATA0, DATA0)):
        put(0x48 + 4 * k, sel)
    put(0x64, 0x68 << 16)
    # The I/O map: some ports are allowed.
    return bytes(words) + bytes(rng.randrange(256) if k < 32 else 0 for k in range(0x80)) + b"\xff"


def _data(rng: Choices) -> bytes:
    out = bytearray()
    while len(out) < WINDOW + 0x100:
        kind = rng.randrange(5)
        if kind == 0:
            out += number(rng, 32).to_bytes(4, "little")
        elif kind == 1:
            out += (CODE + rng.randrange(64)).to_bytes(4, "little") + pick(
                rng, (8, 16, 0x1B, 0x23, 0x2B, 0x33)
            ).to_bytes(2, "little")
        elif kind == 2:
            out += number(rng, 64).to_bytes(8, "little")
        elif kind == 3:
            # Floating numbers of moderate size.
            out += (rng.randrange(1 << 23) | (120 + rng.randrange(16)) << 23).to_bytes(4, "little")
        else:
            out += number(rng, 16).to_bytes(2, "little")
    return bytes(out)


def _common(rng: Choices, state: dict[str, Any], place: Place, mode: str) -> None:
    state["gpr"] = registers(rng, place)
    if one_in(rng, 2):
        state["gpr"][S.ECX] = rng.randrange(40)
    if one_in(rng, 3):
        state["gpr"][S.EDX] = DATA_PORT
    state["cf"] = rng.randrange(2)
    for name in ("cc_z", "cc_s", "cc_aux"):
        state[name] = number(rng, 32)
    flags = 2
    for bit, n in (
        (S.FLAG_DF, 3),
        (S.FLAG_IF, 2),
        (S.FLAG_TF, 16),
        (S.FLAG_RF, 40),
        (S.FLAG_AC, 6),
        (S.FLAG_NT, 12),
        (S.FLAG_ID, 8),
    ):
        if one_in(rng, n):
            flags |= 1 << bit
    if one_in(rng, 2):
        flags |= rng.randrange(4) << S.FLAG_IOPL
    state["eflags"] = flags
    cr0 = 0x10 | 1 << S.CR0_NE
    for bit, n in ((S.CR0_MP, 2), (S.CR0_EM, 40), (S.CR0_TS, 40), (S.CR0_WP, 2), (S.CR0_AM, 3)):
        if one_in(rng, n):
            cr0 |= 1 << bit
    if one_in(rng, 8):
        cr0 &= ~(1 << S.CR0_NE)
    state["cr0"] = cr0
    state["cr4"] = 0x600
    for bit, n in (
        (S.CR4_VME, 4),
        (S.CR4_PVI, 8),
        (S.CR4_TSD, 10),
        (S.CR4_DE, 2),
        (S.CR4_PSE, 2),
        (S.CR4_PGE, 2),
        (S.CR4_PCE, 2),
    ):
        if one_in(rng, n):
            state["cr4"] |= 1 << bit
    if one_in(rng, 20):
        state["cr4"] &= ~0x600
    state["cr2"] = number(rng, 32)
    state["dr"] = [0, 0, 0, 0, 0, 0, 0xFFFF0FF0, 0x400]
    if one_in(rng, 20):
        state["dr"][:4] = [pick(rng, (CODE, DATA)) + rng.randrange(64) for _ in range(4)]
        state["dr"][7] = 0x400 | rng.randrange(256) | rng.randrange(1 << 16) << 16
    if rng.randrange(4):
        state["msr_sysenter_cs"] = pick(rng, (CODE0_32, CODE3))
        state["msr_sysenter_esp"] = STACK0 + 0x400
        state["msr_sysenter_eip"] = CODE + rng.randrange(64)
    state["shadow"] = rng.randrange(3) if one_in(rng, 20) else 0
    state["nmi_blocked"] = int(one_in(rng, 20))
    _float(rng, state)


def _float(rng: Choices, state: dict[str, Any]) -> None:
    significands, tops = [], []
    for _ in range(8):
        kind = rng.randrange(4)
        sign = rng.randrange(2) << 15
        if kind == 0:
            significands.append(number(rng, 64))
            tops.append(sign | pick(rng, (0, 0x7FFF, 0x3FFF, 1, 0x7FFE)))
        elif kind == 1:
            significands.append(number(rng, 64))
            tops.append(rng.randrange(1 << 16))
        else:
            significands.append(1 << 63 | (number(rng, 63)))
            tops.append(sign | 0x3FFF - 8 + rng.randrange(40))
    state["fpr_sig"], state["fpr_se"] = significands, tops
    state["fctrl"] = (
        0x40 | (0x3F if rng.randrange(3) else rng.randrange(64)) | pick(rng, (0, 0x200, 0x300)) | rng.randrange(4) << 10
    )
    if one_in(rng, 2):
        state["fctrl"] = 0x37F
    state["fstat"] = rng.randrange(8) << 11 | (number(rng, 16) & 0x4700)
    state["ftag"] = pick(rng, (0xFF, 0xFF, 0, rng.randrange(256)))
    state["xmm_lo"] = [_vector(rng) for _ in range(8)] + [0] * 8
    state["xmm_hi"] = [_vector(rng) for _ in range(8)] + [0] * 8
    state["mxcsr"] = pick(
        rng,
        (
            0x1F80,
            0x1F80,
            0x9FC0,
            rng.randrange(1 << 16) & 0xFFC0 | 0x1F80 if rng.randrange(2) else 0x1F80 & number(rng, 16),
        ),
    )


def _vector(rng: Choices) -> int:
    kind = rng.randrange(4)
    if kind == 0:
        return number(rng, 64)
    if kind == 1:
        return rng.randrange(1 << 52) | (0x3FF - 8 + rng.randrange(40)) << 52 | rng.randrange(2) << 63
    return sum(
        (rng.randrange(1 << 23) | (120 + rng.randrange(32)) << 23 | rng.randrange(2) << 31) << s for s in (0, 32)
    )


def _segment(state: dict[str, Any], n: int, selector: int, base: int, limit: int, attr: int) -> None:
    for name, value in (("seg_sel", selector), ("seg_base", base), ("seg_limit", limit), ("seg_attr", attr)):
        state.setdefault(name, [0] * 8)[n] = value


def _tables(state: dict[str, Any]) -> None:
    state.update({"gdtr_base": GDT, "gdtr_limit": 0xBF, "idtr_base": IDT, "idtr_limit": 64 * 8 - 1})
    _segment(state, S.LDTR, LDT_SEL, LDT, 0x7F, 0x82)
    _segment(state, S.TR, TSS_SEL, TSS, 0x20FF, 0x8B)


def _real(rng: Choices, state: dict[str, Any], memory: dict[int, bytes], skip: bool) -> None:
    _tables(state)
    state.update({"idtr_base": 0, "idtr_limit": 0x3FF if rng.randrange(8) else number(rng, 10)})
    for n, base in ((S.ES, DATA), (S.CS, CODE), (S.SS, STACK), (S.DS, DATA), (S.FS, DATA), (S.GS, HOLE)):
        _segment(state, n, base >> 4, base, 0xFFFF, 0x9B if n == S.CS else 0x93)
    if one_in(rng, 10):
        _segment(state, pick(rng, (S.ES, S.DS, S.FS)), 0, 0, 0xFFFFFFFF, 0xC093)
    # The handler adjusts the return address on its stack: push bp; mov bp,sp; and/add [bp+2]; pop bp; iret.
    handler = bytes.fromhex("55 89e5 836602f0 83460210 5d cf".replace(" ", "")) if skip else b"\xf4"
    memory[HANDLERS] = handler
    memory[0] = (HANDLERS >> 4 << 16).to_bytes(4, "little") * 256
    state["gpr"][S.ESP] = 0x800 + rng.randrange(64) if rng.randrange(12) else number(rng, 32)
    state["eip"] = 0
    state["cpl"] = 0


def _protected(rng: Choices, state: dict[str, Any], mode: str) -> None:
    _tables(state)
    state["cr0"] |= 1
    ring = 3 if mode in ("ring3", "pae3") else 0
    attr = 0x60 if ring else 0
    code_attr = (0xC09B if mode != "flat16" else 0x809B) | attr
    code = (CODE3 | 3) if ring else (CODE0_32 if mode != "flat16" else CODE0_16)
    data = (DATA3 | 3) if ring else DATA0
    _segment(state, S.CS, code, 0, 0xFFFFFFFF, code_attr)
    stack_attr = (0xC093 if mode != "flat16" or rng.randrange(2) else 0x8093) | attr
    for n in (S.ES, S.SS, S.DS, S.FS, S.GS):
        _segment(state, n, data, 0, 0xFFFFFFFF, stack_attr if n == S.SS else 0xC093 | attr)
    if mode == "segments":
        _segment(state, S.DS, SMALL | ring, DATA, WINDOW + rng.randrange(64), 0x40F3)
        _segment(state, S.ES, DOWN | ring, DATA, rng.randrange(0x100), 0x40F7)
        _segment(state, S.FS, READONLY | ring, 0, 0xFFFFFFFF, 0xC0F1)
        if one_in(rng, 4):
            _segment(state, S.GS, 0, 0, 0, 0)
    state["gpr"][S.ESP] = STACK + 0x800 + rng.randrange(64) if rng.randrange(12) else number(rng, 32)
    state["eip"] = CODE
    state["cpl"] = ring
    if ring and rng.randrange(2):
        state["eflags"] |= 1 << S.FLAG_IF


def _v86(state: dict[str, Any]) -> None:
    _tables(state)
    state["cr0"] |= 1
    state["eflags"] |= 1 << S.FLAG_VM
    state["eflags"] &= ~(1 << S.FLAG_NT)
    for n, base in ((S.ES, DATA), (S.CS, CODE), (S.SS, STACK), (S.DS, DATA), (S.FS, DATA), (S.GS, HOLE)):
        _segment(state, n, base >> 4, base, 0xFFFF, 0xF3)
    state["gpr"][S.ESP] = 0x800
    state["eip"] = 0
    state["cpl"] = 3


def _paging(rng: Choices, state: dict[str, Any], memory: dict[int, bytes], *, pae: bool, user: bool) -> None:
    """The first MiB onto itself (with some pages missing, read-only, or elsewhere), and again from 4 MiB on."""
    state["cr0"] |= 1 << S.CR0_PG
    kept = {
        page >> 12 for page in (GDT, IDT, TSS, TSS + 0x1000, TSS + 0x2000, LDT, HANDLERS, STACK0, CODE, CODE + 0x1000)
    }
    entries = []
    for page in range(256):
        flags = 7
        if page not in kept:
            if one_in(rng, 12):
                flags &= ~1
            if one_in(rng, 8):
                flags &= ~2
            if one_in(rng, 12):
                flags &= ~4
        if rng.randrange(2):
            flags |= 0x60
        if one_in(rng, 8):
            flags |= 0x100
        frame = page if page in kept or rng.randrange(10) else rng.randrange(256)
        entries.append(frame << 12 | flags)
    top = 7 if user or rng.randrange(2) else 3
    if pae:
        state["cr4"] |= 1 << S.CR4_PAE
        state["cr3"] = DIRECTORY
        state["pdpte"] = [DIRECTORY + 0x20 | 1 if k < 1 else 0 for k in range(4)]
        state["pdpte"][0] = 0x6000 | 1
        memory[DIRECTORY] = _quads(state["pdpte"])
        memory[0x6000] = _quads([TABLE | top, 0, TABLE | 7, 0x80 | 7 | (0x100 if rng.randrange(2) else 0)] + [0] * 508)
        memory[TABLE] = _quads(entries)
        memory[0x5800] = _quads(entries[:256])
    else:
        state["cr3"] = DIRECTORY
        words = [TABLE | top, TABLE | 7, 0x87 if state["cr4"] >> S.CR4_PSE & 1 else 0] + [0] * 1021
        memory[DIRECTORY] = b"".join(w.to_bytes(4, "little") for w in words)
        memory[TABLE] = b"".join(w.to_bytes(4, "little") for w in entries)


class Pair:
    """The same world on two tiers."""

    def __init__(self, model: str = "qemu32", jit_size: int | None = None) -> None:
        self.cpus: list[Any] = []
        self.rams: list[GuestRam] = []
        self.buses: list[Devices] = []
        for tier in chosen():
            ram = GuestRam(SIZE)
            bus = Devices(0)
            cpu = processor("x86", tier, bus, ram, model, jit_size=jit_size)
            bus.cpu = cpu
            ram.on_remap.append(cpu.remap)
            ram.on_write.append(cpu.invalidate)
            self.cpus.append(cpu)
            self.rams.append(ram)
            self.buses.append(bus)
        self.executed = 0
        self.exits: dict[str, int] = {}

    def start(self, w: World) -> None:
        """Both processors and memories as the world says."""
        for cpu, ram, bus in zip(self.cpus, self.rams, self.buses, strict=True):
            cpu.reset()
            cpu.set_a20(True)
            cpu.time_offset = 0
            ram.view[:] = bytes(SIZE)
            for at, data in w.memory.items():
                ram.view[at : at + len(data)] = data
            cpu.invalidate(0, SIZE)
            cpu.load_state({**w.state, "cr4": w.state["cr4"] & cpu.model.cr4_bits})
            bus.seed = w.seed
            bus.log.clear()
            bus.moved = bus.written = 0

    def run(self, w: World, rng: Choices, most: int) -> str:
        """Run `most` instructions in pieces that differ; what is different in the end, empty if nothing."""
        self.start(w)
        left = most
        while left > 0:
            piece = min(left, 1 + rng.randrange(24))
            reasons = [self._piece(0, piece, rng), self._piece(1, piece, rng)]
            wrong = self.compare(reasons)
            if wrong:
                return wrong
            self.exits[reasons[0].name] = self.exits.get(reasons[0].name, 0) + 1
            left -= piece
            if reasons[0] in (Exit.SHUTDOWN, Exit.HALT):
                break
            if one_in(rng, 30):
                for cpu in self.cpus:
                    cpu.set_intr(True)
            elif one_in(rng, 60):
                for cpu in self.cpus:
                    cpu.nmi()
        self.executed += self.cpus[0].icount
        return ""

    def _piece(self, which: int, count: int, rng: Choices) -> Exit:
        """Up to `count` more instructions, the first processor in one go, the second in two."""
        cpu = self.cpus[which]
        reason: Exit = cpu.run(count if not which else count // 2)
        if which and reason == Exit.BUDGET:
            reason = cpu.run(count - count // 2)
        return reason

    def compare(self, reasons: list[Exit]) -> str:
        """What differs between the two, as text."""
        out = []
        a, b = self.cpus
        if reasons[0] != reasons[1]:
            out.append(f"exit {reasons[0].name} {reasons[1].name}")
        if a.icount != b.icount:
            out.append(f"icount {a.icount} {b.icount}")
        x, y = a.state(), b.state()
        if x != y:
            for name in x:
                if x[name] != y[name]:
                    p, q = x[name], y[name]
                    if isinstance(p, list):
                        out += [
                            f"{name}[{k}] {u:#x} {v:#x}" for k, (u, v) in enumerate(zip(p, q, strict=True)) if u != v
                        ]
                    else:
                        out.append(f"{name} {p:#x} {q:#x}")
        if a.exceptions() != b.exceptions():
            out.append(f"exceptions {a.exceptions()[-2:]} {b.exceptions()[-2:]}")
        if self.buses[0].log != self.buses[1].log:
            pairs = zip(self.buses[0].log, self.buses[1].log, strict=False)
            first = next((p for p in pairs if p[0] != p[1]), (len(self.buses[0].log), len(self.buses[1].log)))
            out.append(f"accesses {first}")
        p, q = bytes(self.rams[0].view), bytes(self.rams[1].view)
        if p != q:
            at = [k for k in range(SIZE) if p[k] != q[k]][:8]
            out.append("memory " + " ".join(f"{k:#x}:{p[k]:02x}/{q[k]:02x}" for k in at))
        return "; ".join(out)
