"""Random programs on the C engine and on Unicorn (`oracle_unicorn`, another process), instruction by instruction.

A mode is a memory image with tables and boot code, which both processors run to get into it. The limit of the IDT is 0
there, so an exception ends in a shutdown with the state as the faulting instruction left it; both sides then go on
behind that instruction. Flags that an instruction leaves undefined are cleared on both sides after it. What Unicorn
does not model, or models otherwise than the silicon, stands in `EXCUSES` and `LEFT_OUT`.
"""

from __future__ import annotations

import select
import struct
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from cores.lang.strategies import Choices, number, one_in, pick
from cores.x86 import state as S
from cores.x86 import strategies
from cores.x86.decoder import Insn, decode
from cores.x86.forms import Form
from cores.x86.models import cpu_model
from cores.x86.strategies import Place
from emu.cpu import Exit
from tests.cores.flat import FlatRam, OpenBus
from tests.cores.oracle_unicorn import END_ERROR, END_STOPPED, FLOATS, JUMPS, REPEATS
from tests.cores.tiers import against_the_oracle, processor

ORACLE = Path(__file__).with_name("oracle_unicorn.py")
SIZE = 0x40000
MODEL = "max"
MASK64 = (1 << 64) - 1
PATIENCE = 5.0  # seconds without an answer until the oracle counts as hung
GDT, TSS, LDT, DIRECTORY, POINTERS, TABLE = 0x38000, 0x39000, 0x39800, 0x3A000, 0x3B000, 0x3C000
ENTRIES = 512  # bytes of page table
BOOT, PROBES = 0x8000, 0x8400
CODE, DATA, STACK = 0x10000, 0x20000, 0x30000
FLOAT_CHAPTERS = ("x87", "mmx", "sse", "sse2", "sse3", "ssse3")
FLAG_BITS = {"CF": 1, "PF": 4, "AF": 0x10, "ZF": 0x40, "SF": 0x80, "OF": 0x800}
CODE0, DATA0, CODE0_16, DATA0_16, STACK0_16, CODE3, DATA3, CODE3_16, DATA3_16, STACK3_16, TSS_SEL, LDT_SEL = (
    8 * k for k in range(1, 13)
)
OTHERS = 8 * 13  # further descriptors to load and look at

# Forms that are not drawn, by mnemonic.
LEFT_OUT = {
    "hlt": "Unicorn stops there",
    **dict.fromkeys(("in", "out", "insb", "insw", "insd", "outsb", "outsw", "outsd"), "Unicorn has no ports"),
    **dict.fromkeys(("rdtsc", "rdpmc", "cpuid", "rdmsr", "wrmsr", "sysenter", "sysexit"), "belongs to the CPU model"),
    **dict.fromkeys(("int", "int3", "int1", "into"), "the IDT is empty, and Unicorn does not look at it"),
    **dict.fromkeys(("lidt", "lgdt", "lldt", "ltr", "clts", "lmsw", "invd", "wbinvd", "invlpg"), "would end the mode"),
    **dict.fromkeys(("fxsave", "fxrstor", "fnsave", "frstor", "fnstenv", "fldenv"), "QEMU keeps no x87 pointers"),
    **dict.fromkeys(("fldcw", "ldmxcsr"), "QEMU raises no unmasked SIMD exception, and few of the x87 in time"),
    "fisttp": "QEMU gives another number for an overflow",
    **dict.fromkeys(("fprem", "fprem1", "fscale", "fxtract", "fbstp", "fbld"), "QEMU computes them on doubles"),
    **dict.fromkeys(
        ("f2xm1", "fyl2x", "fyl2xp1", "fptan", "fpatan", "fsin", "fcos", "fsincos"), "QEMU computes them on doubles"
    ),
    "fnstsw": "QEMU keeps few exception flags",
    "smsw": "the upper half of a register is undefined",
    **dict.fromkeys(("rcpps", "rcpss", "rsqrtps", "rsqrtss"), "QEMU gives exact quotients, not twelve bits"),
}


def undefined_flags(form: Form) -> int:
    """EFLAGS bits that a form leaves undefined."""
    declared = form.entry.undefined
    text = declared if isinstance(declared, str) else declared.get(form.mnemonic, "")
    bits = sum(FLAG_BITS[word] for word in text.split())
    return bits & ~0x800 if "1" in form.codes else bits


# --- modes -----------------------------------------------------------------------------------------------------------


def descriptor(base: int, limit: int, access: int, flags: int) -> int:
    """A descriptor; `limit` in units of the granularity in `flags` (8: pages, 4: 32-bit)."""
    low = limit & 0xFFFF | (base & 0xFFFFFF) << 16 | access << 40
    return low | (limit >> 16 & 0xF) << 48 | flags << 52 | base >> 24 << 56


def _gate(kind: int, selector: int, offset: int, dpl: int) -> int:
    return offset & 0xFFFF | selector << 16 | (0x80 | dpl << 5 | kind) << 40 | offset >> 16 << 48


def _quads(values: list[int]) -> bytes:
    return b"".join(v.to_bytes(8, "little") for v in values)


@dataclass
class Mode:
    """A way to run: what the image holds and what programs may count on."""

    name: str
    big: bool
    ring: int
    flat: bool
    pae: bool = False
    real: bool = False
    v86: bool = False
    image: bytearray = field(default_factory=lambda: bytearray(SIZE))

    @property
    def bases(self) -> tuple[int, int, int]:
        """Bases of code, data and stack."""
        return (0, 0, 0) if self.flat else (CODE, DATA, STACK)

    def put(self, at: int, data: bytes) -> None:
        """Write to the image."""
        self.image[at : at + len(data)] = data


def modes() -> list[Mode]:
    """All modes, with their images."""
    found = [
        Mode("real16", False, 0, False, real=True),
        Mode("ring0_32", True, 0, True),
        Mode("ring3_32", True, 3, True),
        Mode("ring0_16", False, 0, False),
        Mode("ring3_16", False, 3, False),
        Mode("ring3_pae", True, 3, True, pae=True),
        Mode("v86", False, 3, False, v86=True),
    ]
    for mode in found:
        if mode.real:
            _real(mode)
        else:
            _protected(mode)
    return found


def _real(mode: Mode) -> None:
    """CS, data and stack segments, and an empty IDT. Runs from 0:BOOT."""
    place = (BOOT + 0x80).to_bytes(2, "little")
    code = b"\x2e\x0f\x01\x1e" + place + b"\x2e\x0f\x01\x16" + place  # lidt and lgdt cs:[..]
    for op, base in ((0xD8, DATA), (0xC0, DATA), (0xE0, DATA), (0xE8, DATA), (0xD0, STACK)):
        code += b"\xb8" + (base >> 4).to_bytes(2, "little") + bytes([0x8E, op])
    code += b"\x66\xb8\x32\x00\x00\x60\x0f\x22\xc0"
    code += b"\x66\xb8\x00\x06\x00\x00\x0f\x22\xe0"  # CR4: OSFXSR, OSXMMEXCPT
    code += b"\xea\x00\x00" + (CODE >> 4).to_bytes(2, "little")
    mode.put(BOOT, code)
    mode.put(BOOT + 0x80, bytes(6))
    mode.put(CODE, b"\x90")


def _protected(mode: Mode) -> None:
    wide = 0xC
    descriptors = [
        0,
        descriptor(0, 0xFFFFF, 0x9B, wide),
        descriptor(0, 0xFFFFF, 0x93, wide),
        descriptor(CODE, 0xFFFF, 0x9B, 0),
        descriptor(DATA, 0xFFFF, 0x93, 0),
        descriptor(STACK, 0xFFFF, 0x93, 0),
        descriptor(0, 0xFFFFF, 0xFB, wide),
        descriptor(0, 0xFFFFF, 0xF3, wide),
        descriptor(CODE, 0xFFFF, 0xFB, 0),
        descriptor(DATA, 0xFFFF, 0xF3, 0),
        descriptor(STACK, 0xFFFF, 0xF3, 0),
        descriptor(TSS, 0xFF, 0x89, 0),
        descriptor(LDT, 0x7F, 0x82, 0),
        # To load: not present, read-only, execute-only, conforming, not yet accessed, of other rings, gates. QEMU does
        # not mark code accessed that is jumped to, so all code is marked.
        descriptor(0, 0xFFFFF, 0x73, wide),
        descriptor(0, 0xFFFFF, 0xF0, wide),
        descriptor(0, 0xFFFFF, 0xF9, wide),
        descriptor(0, 0xFFFFF, 0x9F, wide),
        descriptor(0, 0xFFFFF, 0x92, wide),
        descriptor(DATA, 0xFFFFF, 0xB2, wide),
        descriptor(0, 0xFFFFF, 0xFF, wide),
        _gate(12, CODE0, CODE + 0x800, 3),
        _gate(4, CODE0, CODE + 0x800 & 0xFFFF, 3),
        _gate(12, CODE3, CODE + 0x800, 3),
        _gate(12, CODE0 | 3, CODE + 0x800, 0),
        descriptor(0, 0xFFFFF, 0x7A, wide),
        descriptor(0, 0x3FF, 0xF6, wide),
    ]
    mode.put(GDT, _quads(descriptors))
    mode.put(LDT, _quads([descriptor(0, 0xFFFFF, 0xF3, wide), descriptor(0, 0xFFFFF, 0xFB, wide)] + [0] * 14))
    tss = bytearray(0x100)
    struct.pack_into("<II", tss, 4, STACK + 0x1F00, DATA0)
    struct.pack_into("<I", tss, 0x64, 0x68 << 16)
    for k in range(0x68, 0x100):
        tss[k] = 0xFF if k > 0x88 else k & 0xF0
    mode.put(TSS, bytes(tss))
    _pages(mode)
    pointers = BOOT + 0x200
    mode.put(pointers, struct.pack("<HI", len(descriptors) * 8 - 1, GDT) + bytes(2) + struct.pack("<HI", 0, 0))
    code = bytearray(b"\x0f\x01\x15" + pointers.to_bytes(4, "little"))  # lgdt
    code += b"\x0f\x01\x1d" + (pointers + 8).to_bytes(4, "little")  # lidt
    code += b"\xb8" + (0x620 if mode.pae else 0x610).to_bytes(4, "little") + b"\x0f\x22\xe0"
    code += b"\xb8" + DIRECTORY.to_bytes(4, "little") + b"\x0f\x22\xd8"
    code += b"\xb8" + (0x80010033).to_bytes(4, "little") + b"\x0f\x22\xc0"
    code += b"\xea" + (BOOT + len(code) + 7).to_bytes(4, "little") + CODE0.to_bytes(2, "little")
    code += b"\x66\xb8" + LDT_SEL.to_bytes(2, "little") + b"\x0f\x00\xd0"
    code += b"\x66\xb8" + TSS_SEL.to_bytes(2, "little") + b"\x0f\x00\xd8"
    if mode.flat:
        data, stack, target = (DATA3, DATA3, CODE3) if mode.ring else (DATA0, DATA0, CODE0)
    else:
        data, stack, target = (DATA3_16, STACK3_16, CODE3_16) if mode.ring else (DATA0_16, STACK0_16, CODE0_16)
    rpl = mode.ring
    code += b"\x66\xb8" + (DATA0).to_bytes(2, "little") + b"\x8e\xd0\xbc" + (STACK + 0x1F00).to_bytes(4, "little")
    if mode.v86:
        for value in (DATA >> 4, DATA >> 4, DATA >> 4, DATA >> 4, STACK >> 4, 0x800, 0x20002, CODE >> 4, 0):
            code += b"\x68" + value.to_bytes(4, "little")
        code += b"\xcf"
    else:
        code += b"\x66\xb8" + (data | rpl).to_bytes(2, "little")
        for op in (0xD8, 0xC0, 0xE0, 0xE8):
            code += bytes([0x8E, op])
        start = CODE if mode.flat else 0
        if rpl:
            for value in (stack | 3, 0x800, 2, target | 3, start):
                code += b"\x68" + value.to_bytes(4, "little")
            code += b"\xcf"
        else:
            code += b"\x66\xb8" + stack.to_bytes(2, "little") + b"\x8e\xd0"
            code += b"\xea" + start.to_bytes(4, "little") + target.to_bytes(2, "little")
    mode.put(BOOT, bytes(code))
    mode.put(CODE, b"\x90")


def _pages(mode: Mode) -> None:
    """The image onto itself. In the data: one page each read-only, for the supervisor, missing, and plain ones."""
    entries = []
    for page in range(SIZE >> 12):
        # Unicorn itself fetches the byte before the address it is to stop at, here that before CODE.
        flags = 7 if page >= CODE - 1 >> 12 or not mode.ring else 3
        if page == DATA + 0x1000 >> 12:
            flags = 5
        elif page == DATA + 0x2000 >> 12:
            flags = 3
        elif page == DATA + 0x3000 >> 12 or page == CODE + 0x3000 >> 12:
            flags = 6
        elif page == DATA + 0x5000 >> 12:
            flags = 1
        entries.append(page << 12 | flags)
    if mode.pae:
        mode.put(DIRECTORY, _quads([POINTERS | 1, 0, 0, 0]))
        mode.put(POINTERS, _quads([TABLE | 7]))
        mode.put(TABLE, _quads(entries))
    else:
        mode.put(DIRECTORY, (TABLE | 7).to_bytes(4, "little"))
        mode.put(TABLE, b"".join(e.to_bytes(4, "little") for e in entries))


# Instructions at ring 0 that raise a known error code, for the oracle to find where it is kept.
PROBE_CODES = ((0x0123, 0x0120), (0x7FFC, 0x7FFC), (0x0ABD, 0x0ABC))


def probes(mode: Mode) -> list[tuple[int, int]]:
    """Write the probes into the image; their addresses and error codes. Only ring 0 with flat segments has them."""
    if mode.name != "ring0_32":
        return []
    out = []
    for k, (selector, error) in enumerate(PROBE_CODES):
        at = PROBES + 16 * k
        mode.put(at, b"\x66\xb8" + selector.to_bytes(2, "little") + b"\x8e\xd8")
        out.append((at, error))
    return out


# --- programs --------------------------------------------------------------------------------------------------------


@dataclass
class Program:
    """A program and what it starts from."""

    mode: Mode
    gpr: list[int]
    eflags: int
    patches: list[tuple[int, bytes]]
    code: list[tuple[int, bytes, Form | None]] = field(default_factory=list)
    floats: bool = False

    @property
    def end(self) -> int:
        """The linear address behind the last instruction."""
        at, data, _ = self.code[-1]
        return at + len(data)


def chapters(mode: Mode, kind: str) -> dict[str, list[Form]]:
    """The forms that programs of a mode are drawn from. kind: "integer", "x87", "mmx" or "sse"."""
    names = {"x87": ("x87",), "mmx": ("mmx",), "sse": ("sse", "sse2", "sse3", "ssse3")}.get(kind, ())

    def allowed(form: Form) -> bool:
        if form.mnemonic in LEFT_OUT and not (mode.ring == 3 and form.mnemonic in _REFUSED and not mode.v86):
            return False
        if any(code in ("Cd", "Dd") for code in form.codes) and mode.ring == 0:
            return False
        chapter = form.entry.chapter
        return chapter in names or chapter not in FLOAT_CHAPTERS

    return strategies.forms(allowed)


# Refused at ring 3, and so drawn there.
_REFUSED = ("hlt", "lidt", "lgdt", "lldt", "ltr", "clts", "lmsw", "invd", "wbinvd", "invlpg", "rdmsr", "wrmsr")
SELECTORS = (*(8 * k for k in range(1, 28)), *(8 * k + 3 for k in range(1, 28)), 4, 0xC, 0xF, 0, 0xFFF8)
WINDOWS = ((0, 0x1000), (0xF80, 0x100), (0x1F80, 0x100), (0x2F80, 0x100), (0x4F80, 0x100))
RELATIVE = ("Jb", "Jz")


def draw(rng: Choices, mode: Mode, length: int) -> Program:
    """Draw a program of about `length` instructions."""
    kind = pick(rng, ("integer", "integer", "integer", "x87", "mmx", "sse"))
    found = _chapters(mode, kind)
    window, size = pick(rng, WINDOWS) if not mode.real else (0, 0x1000)
    code_base, data_base, stack_base = mode.bases if not (mode.real or mode.v86) else (CODE, DATA, STACK)
    paragraphs = (DATA >> 4, STACK >> 4, CODE >> 4, (DATA >> 4) + 1)
    selectors = (
        paragraphs if mode.real or mode.v86 else tuple(s | mode.ring if one_in(rng, 2) else s for s in SELECTORS)
    )
    place = Place(mode.big, DATA + window - data_base, size, selectors)
    gpr = strategies.registers(rng, place)[:8]
    gpr[S.ESP] = STACK - stack_base + 0x800 if not one_in(rng, 8) else number(rng, 32)
    eflags = 2 | number(rng, 12) & 0x8D5 | (0x400 if one_in(rng, 3) else 0)
    program = Program(mode, gpr, eflags, [], floats=kind != "integer")
    items: list[tuple[bytes, Form | None]] = []
    if program.floats:
        items.append((_fxrstor(mode, data_base), None))
        program.patches.append((DATA + 0x7000, _float_image(rng)))
    for _ in range(length):
        if one_in(rng, 8):
            items.append((strategies.pointers(rng, place), None))
        if one_in(rng, 12):
            items.append((b"\xbc" + (STACK - stack_base + 0x800).to_bytes(4, "little")[: 4 if mode.big else 2], None))
        form = strategies.choose(rng, found)
        if form.entry.chapter == "string":
            # Mostly all of ECX: with an address size of 32 bits the upper half would count, too.
            count, whole = rng.randrange(12), mode.big or not one_in(rng, 12)
            load = b"\xb9" if whole is mode.big else b"\x66\xb9"
            items.append((load + count.to_bytes(4 if whole else 2, "little"), None))
        items.append((strategies.instruction(rng, form, place, plain=bool(rng.randrange(4))), form))
    _lay_out(rng, program, items, code_base)
    if not mode.real:
        program.patches.append((GDT + TSS_SEL + 5, b"\x8b"))  # busy: the image is from before LTR
    program.patches.append((DATA, _data(rng, mode, place, data_base)))
    return program


_found: dict[tuple[str, str], dict[str, list[Form]]] = {}


def _chapters(mode: Mode, kind: str) -> dict[str, list[Form]]:
    if (mode.name, kind) not in _found:
        _found[mode.name, kind] = chapters(mode, kind)
    return _found[mode.name, kind]


def _lay_out(rng: Choices, program: Program, items: list[tuple[bytes, Form | None]], base: int) -> None:
    """Put the instructions one behind the other, jumps aimed forward at one of them."""
    at = CODE
    starts = []
    for data, _ in items:
        starts.append(at)
        at += len(data)
    starts.append(at)
    image = b""
    for k, (data, form) in enumerate(items):
        if form is not None and form.codes and form.codes[-1] in RELATIVE and rng.randrange(8):
            size = 1 if form.codes[-1] == "Jb" else form.osz // 8 or 1
            delta = pick(rng, starts[k + 1 : k + 6]) - starts[k + 1]
            if delta < 0x80 or size > 1:
                data = data[:-size] + delta.to_bytes(size, "little")
        program.code.append((starts[k], data, decoded(data, program.mode.big)))
        image += data
    program.patches.append((CODE, image + b"\x90" * 16))


_FEATURES = (*cpu_model(MODEL).features, 0)


def _insn(data: bytes, big: bool) -> Insn:
    rest = iter(data + b"\x90" * 16)
    return decode(lambda: next(rest), 0, big, _FEATURES)


def decoded(data: bytes, big: bool) -> Form | None:
    """The form that the bytes really are: prefixes may have made another one of them."""
    return _insn(data, big).form


def _fxrstor(mode: Mode, base: int) -> bytes:
    address = DATA + 0x7000 - base
    return (
        b"\x0f\xae\x0d" + address.to_bytes(4, "little") if mode.big else b"\x0f\xae\x0e" + address.to_bytes(2, "little")
    )


def _float_image(rng: Choices) -> bytes:
    image = bytearray(512)
    control = 0x3F | 0x40 | pick(rng, (0, 0x200, 0x300, 0x300)) | rng.randrange(4) << 10
    struct.pack_into("<HHB", image, 0, control, rng.randrange(8) << 11, pick(rng, (0xFF, 0xFF, 0, rng.randrange(256))))
    struct.pack_into("<I", image, 24, pick(rng, (0x1F80, 0x1F80, 0x3F80, 0x5F80, 0x7F80)))
    for k in range(8):
        struct.pack_into("<QH", image, 32 + 16 * k, *_extended(rng))
        struct.pack_into("<QQ", image, 160 + 16 * k, _half(rng), _half(rng))
    return bytes(image)


def _extended(rng: Choices) -> tuple[int, int]:
    sign = rng.randrange(2) << 15
    if one_in(rng, 4):
        return 1 << 63 | pick(rng, (0, 1 << 62, number(rng, 62))), sign | pick(rng, (0x7FFF, 1, 0x7FFE))
    if one_in(rng, 6):
        return 0, sign
    return 1 << 63 | number(rng, 63), sign | 0x3FFF - 8 + rng.randrange(60)


def _half(rng: Choices) -> int:
    """Eight bytes of XMM: integers, doubles, singles, with NaN, infinity and denormals among them."""
    kind = rng.randrange(4)
    if kind == 0:
        return number(rng, 64)
    if kind == 1:
        exponent = 0x3FF - 8 + rng.randrange(40) if rng.randrange(4) else pick(rng, (0, 1, 0x7FE, 0x7FF))
        return rng.randrange(2) << 63 | exponent << 52 | (number(rng, 52) if rng.randrange(4) else 0)
    out = 0
    for shift in (0, 32):
        exponent = 0x7F - 8 + rng.randrange(40) if rng.randrange(4) else pick(rng, (0, 1, 0xFE, 0xFF))
        out |= (rng.randrange(2) << 31 | exponent << 23 | (number(rng, 23) if rng.randrange(4) else 0)) << shift
    return out


def _data(rng: Choices, mode: Mode, place: Place, base: int) -> bytes:
    """The pages of data: numbers, pointers into the data and the code, far pointers."""
    out = bytearray()
    while len(out) < 0x1200:
        kind = rng.randrange(6)
        if kind == 0:
            out += number(rng, 32).to_bytes(4, "little")
        elif kind == 1:
            out += (place.data + rng.randrange(place.size)).to_bytes(4, "little")
        elif kind == 2:
            target = (0 if not mode.flat else CODE) + rng.randrange(64)
            out += target.to_bytes(4 if mode.big else 2, "little") + pick(rng, place.selectors).to_bytes(2, "little")
        elif kind == 3:
            out += (rng.randrange(1 << 23) | (120 + rng.randrange(16)) << 23).to_bytes(4, "little")
        else:
            out += _half(rng).to_bytes(8, "little")
    page = bytes(out[:0x1000])
    return page + page[:0xF80] + bytes(0x80) + page[0x80:] + bytes(0x80) + bytes(0x1000) + page + page


# --- the two sides ---------------------------------------------------------------------------------------------------


@dataclass
class Record:
    """One instruction as the oracle saw it: where, what it raised (-1: nothing), and the registers after it."""

    address: int
    vector: int
    error: int
    cr2: int
    eip: int
    eflags: int
    gpr: tuple[int, ...]
    words: tuple[int, ...] = ()  # FCW, FSW, FTW, MXCSR
    x87: tuple[bytes, ...] = ()
    xmm: tuple[bytes, ...] = ()


@dataclass
class Answer:
    """What the oracle says of a program: how it ended, Unicorn's error, CRC of memory, segments, page table."""

    records: list[Record]
    end: int
    error: int
    crc: int
    segments: list[tuple[int, ...]]
    entries: bytes


class OracleDied(Exception):
    """Unicorn crashed or hung. While it runs a program a new process takes its place; the text says which it was."""


class Oracle:
    """The other process."""

    def __init__(self, found: list[Mode]) -> None:
        self.modes = found
        self.process: Any = None
        self._start()

    def _start(self) -> None:
        self.close()
        self.process = subprocess.Popen(
            [sys.executable, str(ORACLE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self.segments = {}
        order = sorted(range(len(self.modes)), key=lambda k: self.modes[k].name != "ring0_32")
        for k in order:
            mode = self.modes[k]
            places = probes(mode)
            head = struct.pack("<BBII", k, 16 if mode.real else 32, SIZE, BOOT)
            head += struct.pack("<IIIH", CODE, TABLE, TABLE + ENTRIES, len(places))
            head += b"".join(struct.pack("<II", *p) for p in places)
            answer = self._ask(b"B" + head + bytes(mode.image))
            self.segments[mode.name] = answer

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.stdin.close()
            self.process.stdout.close()
            self.process.kill()
            self.process.wait()
            self.process = None

    def _ask(self, message: bytes) -> bytes:
        rest = memoryview(struct.pack("<I", len(message)) + message)
        try:
            while rest:
                rest = rest[self.process.stdin.write(rest) :]
        except OSError:
            raise OracleDied("crashed") from None
        return self._take(struct.unpack("<I", self._take(4))[0])

    def _take(self, n: int) -> bytes:
        """So many bytes of the answer; the process has `PATIENCE` seconds for each piece of it."""
        data = b""
        while len(data) < n:
            if not select.select([self.process.stdout], [], [], PATIENCE)[0]:
                raise OracleDied("hung")
            piece = self.process.stdout.read(n - len(data))
            if not piece:
                raise OracleDied("crashed")
            data += piece
        return data

    def run(self, p: Program, most: int) -> Answer:
        """Run a program. Raises OracleDied."""
        number_ = self.modes.index(p.mode)
        base = CODE if not p.mode.flat or p.mode.real or p.mode.v86 else 0
        message = struct.pack("<BII", number_, base, CODE - base) + struct.pack("<I8II", p.eflags, *p.gpr, most)
        message += struct.pack("<H", len(p.patches))
        for at, data in p.patches:
            message += struct.pack("<II", at, len(data)) + data
        message += struct.pack("<H", len(p.code))
        for at, data, form in p.code:
            kind = FLOATS * p.floats
            undefined = 0
            if form is not None:
                kind |= REPEATS * (form.entry.chapter == "string") | JUMPS * _jumps(form)
                undefined = undefined_flags(form)
            message += struct.pack("<IIIB", at, at + len(data), undefined, kind)
        try:
            return _answer(self._ask(b"P" + message), p)
        except OracleDied:
            self._start()
            raise

    def memory(self, mode: Mode) -> bytes:
        """What memory holds after the last program of the mode."""
        return self._ask(b"D" + bytes([self.modes.index(mode)]))


def _jumps(form: Form) -> bool:
    return form.entry.chapter == "control" or form.entry.ends == "far"


def _answer(answer: bytes, p: Program) -> Answer:
    records = []
    at = 4
    for _ in range(struct.unpack_from("<I", answer)[0]):
        address, vector, error, cr2, eip, eflags, *gpr = struct.unpack_from("<IhII10I", answer, at)
        at += struct.calcsize("<IhII10I")
        record = Record(address, vector, error, cr2, eip, eflags, tuple(gpr))
        if p.floats:
            record.words = struct.unpack_from("<HHHI", answer, at)
            record.x87 = struct.unpack_from("<" + "10s" * 8, answer, at + 10)
            record.xmm = struct.unpack_from("<" + "16s" * 8, answer, at + 90)
            at += 218
        records.append(record)
    end, error, crc = struct.unpack_from("<BII", answer, at)
    segments = [struct.unpack_from("<4I", answer, at + 9 + 16 * k) for k in range(8)]
    return Answer(records, end, error, crc, segments, answer[at + 9 + 128 :])


class Subject:
    """The C engine in the modes."""

    def __init__(self, found: list[Mode], tier: str = "") -> None:
        self.ram = FlatRam(SIZE)
        self.cpu = (
            processor("x86", tier, OpenBus(), self.ram, MODEL)
            if tier
            else against_the_oracle("x86", OpenBus(), self.ram, MODEL)
        )
        self.states: dict[str, Any] = {}
        for mode in found:
            probes(mode)
            self._boot(mode)

    def _boot(self, mode: Mode) -> None:
        cpu = self.cpu
        cpu.reset()
        self.ram.view[:] = bytes(mode.image)
        cpu.invalidate(0, SIZE)
        if mode.real:
            cpu.set_reg("cs", 0)
        else:
            flat = {"seg_base": [0] * 8, "seg_limit": [0xFFFFFFFF] * 8, "cr0": 0x11, "cpl": 0}
            cpu.load_state({**flat, "seg_attr": [0xC093, 0xC09B, *([0xC093] * 4), 0x82, 0x8B]})
        cpu.set_reg("eip", BOOT)
        for _ in range(100):
            cpu.run(1)
            if cpu.reg("cs.base") + cpu.reg("eip") == CODE:
                break
        else:
            raise AssertionError(f"{mode.name} does not boot: {cpu.exceptions()}")
        self.states[mode.name] = cpu.state()

    def start(self, p: Program) -> None:
        """Memory and registers as the program wants them."""
        image = bytearray(p.mode.image)
        for at, data in p.patches:
            image[at : at + len(data)] = data
        self.ram.view[:] = image
        self.cpu.invalidate(0, SIZE)
        self.cpu.load_state({**self.states[p.mode.name], "gpr": [*p.gpr, *([0] * 9)]})
        self.cpu.set_reg("eflags", self.cpu.reg("eflags") & ~0xCD5 | p.eflags)

    def step(self, repeats: bool) -> tuple[int, int, int]:
        """Run one instruction, all its iterations; (vector or -1, error, CR2)."""
        cpu = self.cpu
        at = cpu.reg("eip")
        for _ in range(SIZE + 1):
            reason = cpu.run(1)
            if reason == Exit.SHUTDOWN:
                story = [r for r in cpu.exceptions() if r["kind"] == 0][-1]
                return story["vector"], story["error"], story["cr2"]
            if not repeats or cpu.reg("eip") != at:
                break
        return -1, 0, 0


# --- comparing -------------------------------------------------------------------------------------------------------


@dataclass
class Step:
    """One instruction on both sides."""

    mode: Mode
    form: Form | None
    data: bytes
    vector: int
    error: int
    cr2: int
    eip: int
    eflags: int
    gpr: tuple[int, ...]
    state: dict[str, Any]
    oracle: Record
    before: tuple[int, ...]
    earlier: Callable[[], dict[str, Any]]  # the state before it; runs the program again, so only for what differs


Excuse = Callable[[Step], bool]


def _differs(s: Step) -> set[str]:
    """The parts of the state that differ."""
    o, st = s.oracle, s.state
    parts = {
        "vector": s.vector != o.vector,
        "eip": s.eip != o.eip,
        "gpr": s.gpr != o.gpr,
        "flags": bool((s.eflags ^ o.eflags) & ~0x10000),
    }
    chapter = s.form.entry.chapter if s.form else ""
    if st and o.words and chapter in FLOAT_CHAPTERS:
        fcw, fsw, ftw, mxcsr = o.words
        parts |= {
            "xmm": any(lo | hi << 64 != _int(x) for lo, hi, x in zip(st["xmm_lo"], st["xmm_hi"], o.xmm, strict=False)),
            "significands": any(a != _int(b[:8]) for a, b in zip(st["fpr_sig"], o.x87, strict=True)),
            "exponents": chapter == "x87" and any(a != _int(b[8:]) for a, b in zip(st["fpr_se"], o.x87, strict=True)),
            "top": bool((st["fstat"] ^ fsw) & 0x3800),
            "codes": bool((st["fstat"] ^ fsw) & 0x4500),
            "tags": st["ftag"] != sum(((ftw >> 2 * k & 3) != 3) << k for k in range(8)),
            "control": (st["fctrl"], st["mxcsr"] & ~0x3F) != (fcw, mxcsr & ~0x3F),
        }
    return {name for name, there in parts.items() if there}


def _int(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _only(excuse: Excuse, *parts: str) -> Excuse:
    return lambda s: excuse(s) and _differs(s) <= {*parts, "codes"}


def _is(*mnemonics: str) -> Excuse:
    return lambda s: s.form is not None and s.form.mnemonic in mnemonics


def _prefixes(data: bytes) -> bytes:
    """The prefixes of an instruction."""
    n = next((k for k, byte in enumerate(data) if byte not in b"\x26\x2e\x36\x3e\x64\x65\x66\x67\xf0\xf2\xf3"), 0)
    return data[:n]


def _lock(s: Step) -> bool:
    refused = s.form is None and s.vector == S.UD and s.oracle.vector != S.UD and 0xF0 in _prefixes(s.data)
    return refused and decoded(s.data.replace(b"\xf0", b"", 1), s.mode.big) is not None


def _two_prefixes(s: Step) -> bool:
    """Of F2 and F3 the last counts, and where they choose the instruction they rank before 66."""
    found = _prefixes(s.data)
    both = 0xF2 in found and 0xF3 in found
    return both or (s.data[len(found) : len(found) + 1] == b"\x0f" and len({0x66, 0xF2, 0xF3} & set(found)) > 1)


def _lock_neg(s: Step) -> bool:
    return _is("neg")(s) and 0xF0 in _prefixes(s.data)


def _reads_first(s: Step) -> bool:
    """A write that would fault on the first of its two pages, where reading faults on the second."""
    o = s.oracle
    faults = s.vector == o.vector == S.PF_ and bool(s.error & 2)
    return faults and o.cr2 & 0xFFF == 0 and 0 < o.cr2 - s.cr2 < 16


def _masked(s: Step) -> bool:
    return _is("maskmovq", "maskmovdqu")(s) and S.PF_ in (s.vector, s.oracle.vector)


def _signalling(number_: bytes) -> bool:
    significand, top = struct.unpack("<QH", number_)
    return top & 0x7FFF == 0x7FFF and significand >> 62 == 2 and bool(significand << 2 & MASK64)


def _control_word(s: Step) -> bool:
    return _is("fxrstor")(s) and s.vector == s.oracle.vector and s.state["fctrl"] == s.oracle.words[0] | 0x40


def _reserved(s: Step) -> bool:
    mine = _is("fxrstor")(s) and (s.vector, s.error) == (S.GP, 0)
    return mine and s.oracle.vector < 0 and bool(s.oracle.words[3] & ~0xFFFF)


def _group_15(s: Step) -> bool:
    found = _prefixes(s.data)
    group = s.data[len(found) : len(found) + 2] == b"\x0f\xae"
    return group and s.form is None and s.vector == S.UD and bool({0x66, 0xF2, 0xF3} & set(found))


def _wide_source(s: Step) -> bool:
    return _is("cvtps2pi", "cvttps2pi")(s) and s.vector < 0 and s.oracle.vector == S.PF_


def _two_nans(s: Step) -> bool:
    """Only lanes differ that are NaN on both sides."""
    if s.vector >= 0 or s.oracle.vector >= 0 or not s.state or s.form is None:
        return False
    mine = b"".join(struct.pack("<QQ", s.state["xmm_lo"][k], s.state["xmm_hi"][k]) for k in range(8))
    theirs = b"".join(s.oracle.xmm)
    lanes = [at for at in range(0, 128, 4) if mine[at : at + 4] != theirs[at : at + 4]]
    return bool(lanes) and all(
        _nan(side[lane : lane + 4]) or _nan(side[lane & ~7 : (lane & ~7) + 8])
        for lane in lanes
        for side in (mine, theirs)
    )


def _nan(lane: bytes) -> bool:
    bits, fraction = 8 * len(lane), 23 if len(lane) == 4 else 52
    return int.from_bytes(lane, "little") & (1 << bits - 1) - 1 > ((1 << bits - 1 - fraction) - 1) << fraction


def _virtual_flags(s: Step) -> bool:
    loads = _is("iret")(s) and s.mode.ring == 0 and s.form is not None and s.form.osz == 32
    return loads and not (s.eflags ^ s.oracle.eflags) & ~0x180000


def _half_loaded(s: Step) -> bool:
    return s.vector == s.oracle.vector == S.PF_ and not s.error & 2 and s.cr2 & 0xFFF == 0


def _register_half(s: Step) -> bool:
    found = _prefixes(s.data)
    rest = s.data[len(found) :]
    form = 0x66 in found and rest[:2] in (b"\x0f\x12", b"\x0f\x16") and rest[2] >= 0xC0
    return form and s.form is None and s.vector == S.UD


def _pops_nothing(s: Step) -> bool:
    return _is("fstpnce")(s) and not s.earlier()["ftag"] >> ((s.state["fstat"] >> 11) - 1 & 7) & 1


def _loads_signalling(s: Step) -> bool:
    return _is("fld")(s) and any(_signalling(r) for r in s.oracle.x87)


def _far_stack(s: Step) -> bool:
    return s.mode.ring == 3 and s.vector == S.PF_ and s.form is not None and s.form.mnemonic in ("iret", "retf", "call")


def _mmx_fault(s: Step) -> bool:
    mmx = s.form is not None and any(code[0] in "PQN" for code in s.form.codes)
    return mmx and s.vector == s.oracle.vector == S.PF_


def _code_limit(s: Step) -> bool:
    return s.vector == s.oracle.vector == S.GP and s.error == 0 and _is("call", "jmp", "retf", "iret")(s)


def _no_control_register(s: Step) -> bool:
    return _is("mov")(s) and s.vector == S.UD and s.form is not None and "Cd" in s.form.codes


def _hook_flags(s: Step) -> bool:
    return s.form is not None and (s.form.entry.chapter == "control" or _is("cmpxchg8b")(s))


def _mmx_0f38(s: Step) -> bool:
    return s.form is not None and s.form.entry.chapter == "ssse3" and s.form.codes[:1] == ("Pq",)


def _same_register(s: Step) -> bool:
    if s.form is None or not s.form.mnemonic.startswith("ph") or s.form.mem:
        return False
    return s.data[-1] >> 3 & 7 == s.data[-1] & 7


def _constant(s: Step) -> bool:
    near = (abs(a - _int(b[:8])) for a, b in zip(s.state.get("fpr_sig", ()), s.oracle.x87, strict=False))
    return _is("fldl2t", "fldl2e", "fldpi", "fldlg2", "fldln2")(s) and max(near, default=2) <= 1


def _from_memory(s: Step) -> bool:
    return _is("cvtpi2pd")(s) and s.form is not None and s.form.mem == 1


def _arpl(s: Step) -> bool:
    return _is("arpl")(s) and s.vector < 0 and s.oracle.vector == S.PF_


def _clflush(s: Step) -> bool:
    return _is("clflush")(s) and s.vector >= 0 and s.oracle.vector < 0


def _wide_release(s: Step) -> bool:
    return s.form is not None and s.form.mnemonic in ("ret", "retf") and bool(s.form.imms) and s.data[-1] >= 0x80


def _predicate(s: Step) -> bool:
    return s.form is not None and s.form.mnemonic in ("cmpps", "cmppd", "cmpss", "cmpsd") and s.data[-1] > 7


def _vm_from_ring3(s: Step) -> bool:
    return not s.mode.v86 and _is("iret")(s) and bool(s.oracle.eflags & 0x20000)


def _pusha(s: Step) -> bool:
    return s.vector == s.oracle.vector == S.PF_ and _is("pusha", "pushad")(s)


def _tags(s: Step) -> bool:
    return _is("fst", "fstp", "fstpnce")(s) and s.form is not None and "STi" in s.form.codes


def _enter_probe(s: Step) -> bool:
    return _is("enter")(s) and s.vector in (S.PF_, S.SS_) and s.oracle.vector < 0


def _enter(s: Step) -> bool:
    return s.form is not None and s.form.mnemonic == "enter" and s.form.osz != (32 if s.mode.big else 16)


def _stack_fault(s: Step) -> bool:
    return s.form is not None and s.form.entry.chapter == "x87" and bool(s.state["fstat"] & 0x40)


def _operand(insn: Insn, gpr: tuple[int, ...], form: Form) -> int:
    """The offset of a memory operand."""
    registers = (*gpr, *([0] * 9))
    offset = registers[insn.base] + registers[insn.index] * insn.scale + insn.disp
    if form.mnemonic in ("bt", "bts", "btr", "btc") and form.codes[1:] == ("Gv",):
        width = form.osz or 32
        index = registers[insn.reg] & (1 << width) - 1
        offset += ((index ^ 1 << width - 1) - (1 << width - 1)) // width * (width // 8)
    elif form.mnemonic == "xlat":
        offset = registers[S.EBX] + (registers[S.EAX] & 0xFF)
    elif form.mnemonic in ("maskmovq", "maskmovdqu"):
        offset = registers[S.EDI]
    return offset & insn.eamask


def _refuses(state: dict[str, Any], segment: int, offset: int, size: int) -> bool:
    """Whether a segment could object to an access to some of the bytes."""
    limit, attr = state["seg_limit"][segment], state["seg_attr"][segment]
    if not state["seg_sel"][segment] & ~3 and not attr & 0x80:
        return True
    if attr & 8 or not attr & 2:
        return True  # code, or data to read only
    if attr & 4:
        return not limit < offset <= offset + size - 1 <= (0xFFFFFFFF if attr & 0x4000 else 0xFFFF)
    return bool(offset + size - 1 > limit)


def _limit(s: Step) -> bool:
    """#GP(0) or #SS(0) by a segment that could object to the access, as the state before it says."""
    o = s.oracle
    if s.vector not in (S.GP, S.SS_) or s.error or s.form is None or (o.vector == s.vector and o.error == 0):
        return False
    state, insn = s.earlier(), _insn(s.data, s.mode.big)
    if s.form.entry.chapter == "string":
        # In real mode the index has stepped when the exception comes.
        size = (s.form.osz or 8) // 8
        indices = [(n, s.gpr[r] + k) for n, r in ((insn.seg, S.ESI), (S.ES, S.EDI)) for k in (-size, 0, size)]
        return any(_refuses(state, segment, offset & insn.eamask, size) for segment, offset in indices)
    if s.form.mem == 1 or "o" in s.form.imms or _is("maskmovq", "maskmovdqu", "xlat")(s):
        size = 512 if s.form.entry.chapter == "sse" else 16
        if _refuses(state, insn.seg, _operand(insn, s.before, s.form), size):
            return True
    small = [n for n in (S.CS, S.SS) if state["seg_limit"][n] < 0xFFFFFFFF or state["seg_attr"][n] & 0xC == 4]
    stack = s.form.mnemonic.startswith(("push", "pop", "call", "ret", "iret", "enter", "leave"))
    jumps = s.form.entry.chapter == "control" or s.form.entry.ends == "far"
    return (stack and S.SS in small) or (jumps and S.CS in small)


def _unaligned(s: Step) -> bool:
    if s.form is None or not s.form.entry.chapter.startswith(("sse", "ssse")) or (s.vector, s.error) != (S.GP, 0):
        return False
    insn = _insn(s.data, s.mode.big)
    return bool(s.earlier()["seg_base"][insn.seg] + _operand(insn, s.before, s.form) & 15)


# Where the two may differ, and why; the rest of the program is then not looked at.
EXCUSES: tuple[tuple[str, Excuse], ...] = (
    ("QEMU checks neither limits nor types of segments at an access, nor the limit of CS at a jump", _limit),
    ("QEMU takes operands of 16 bytes at any address", _unaligned),
    ("QEMU lets LOCK stand before some forms that may not have it", _lock),
    ("QEMU looks at 66 before it looks at F2 and F3, and at F2 before F3", _two_prefixes),
    ("QEMU takes the flags of LOCK NEG from what was there before", _only(_lock_neg, "flags")),
    ("QEMU reads both pages before it asks whether it may write", _reads_first),
    ("how many bytes of a masked store are looked at is left to the processor", _masked),
    ("QEMU loads bit 6 of the control word, which is always 1", _only(_control_word, "control")),
    ("QEMU does not look at the reserved bits of MXCSR", _reserved),
    ("QEMU lets any prefix stand before the instructions of 0F AE", _group_15),
    ("QEMU reads sixteen bytes for the eight of CVTPS2PI", _wide_source),
    ("QEMU chooses among two NaN as the x87 does, in SSE too", _two_nans),
    ("QEMU loads the half on the first page before the second page faults", _only(_half_loaded, "xmm")),
    ("QEMU does not load VIF and VIP with IRETD at ring 0", _only(_virtual_flags, "flags")),
    ("QEMU takes MOVLPD and MOVHPD with a register", _register_half),
    ("QEMU copies an empty register with FSTPNCE", _pops_nothing),
    ("QEMU loads signalling NaN from 32 and 64 bits as they are", _loads_signalling),
    ("QEMU looks neither for empty registers nor for stack overflow in the x87", _stack_fault),
    ("QEMU leaves TOP alone", _only(_is("emms"), "top")),
    ("QEMU goes over to MMX before the memory operand faults", _mmx_fault),
    ("QEMU sizes the frame pointer of ENTER by the stack, not by the operand", _enter),
    ("QEMU does not check that the new stack pointer of ENTER can be written to", _enter_probe),
    ("QEMU does not go over to MMX for instructions of the map 0F 38", _only(_mmx_0f38, "top", "tags")),
    ("QEMU overwrites the source of a horizontal operation that is its destination", _same_register),
    ("QEMU extends the sign of the bytes that RET releases", _wide_release),
    ("QEMU takes comparison predicates above 7 for undefined", _predicate),
    ("QEMU lets IRET at ring 3 set VM", _vm_from_ring3),
    ("QEMU stores what PUSHA pushes from the lowest address up", _pusha),
    ("QEMU does not tag the destination of FST ST(i)", _only(_tags, "tags")),
    ("QEMU names the selector where a far transfer goes beyond the limit of its segment", _code_limit),
    ("QEMU looks at the privilege before it looks which control register", _no_control_register),
    ("Unicorn loses flags on the way to its hook", _only(_hook_flags, "flags")),
    ("QEMU need not write for ARPL to fault", _arpl),
    ("QEMU does not look at the operand of CLFLUSH", _clflush),
    ("QEMU goes over to MMX for a memory operand, too", _only(_from_memory, "top", "tags")),
    ("QEMU has far transfers at ring 3 use the stack as the supervisor", _far_stack),
    ("QEMU rounds constants to nearest in every mode", _only(_constant, "significands")),
    ("QEMU takes F6 /1 and F7 /1 for undefined", lambda s: s.oracle.vector == 6 and _is("test")(s)),
    (
        "QEMU leaves OF, SF and AF alone where these clear them",
        _only(_is("fcomi", "fcomip", "fucomi", "fucomip"), "flags"),
    ),
)


def _torn(s: Step) -> bool:
    chapter = s.form.entry.chapter if s.form else ""
    return s.vector == S.PF_ and bool(s.error & 2) and s.cr2 & 0xFFF == 0 and chapter in FLOAT_CHAPTERS


def _frame_pushed(s: Step) -> bool:
    return _enter(s) and s.data[-1] & 0x1F > 0


def _pointer_wraps(s: Step) -> bool:
    if s.form is None or s.form.mem != 1 or not {"Mp", "Ma", "Ms"} & set(s.form.codes):
        return False
    insn = _insn(s.data, s.mode.big)
    first = 2 if "Ms" in s.form.codes else s.form.osz // 8
    return insn.eamask == 0xFFFF and _operand(insn, s.before, s.form) + first > 0xFFFF


def _stores_signalling(s: Step) -> bool:
    if not _is("fst", "fstp")(s) or s.form is None or s.form.mem != 1:
        return False
    top = (s.state["fstat"] >> 11) - (s.form.mnemonic == "fstp") & 7
    return _signalling(struct.pack("<QH", s.state["fpr_sig"][top], s.state["fpr_se"][top]))


def _return_wraps(s: Step) -> bool:
    if not (s.mode.real or s.mode.v86) or s.form is None or s.form.mnemonic != "retf":
        return False
    return (s.before[S.ESP] & 0xFFFF) + s.form.osz // 8 > 0xFFFF


def _flags_stored(s: Step) -> bool:
    return _is("stmxcsr")(s) and s.vector < 0 and bool(s.state["mxcsr"] & 0x3F)


# The same, where only memory or a later instruction would show it.
QUIET: tuple[tuple[str, Excuse], ...] = (
    ("QEMU stores the part on the first page before the second page faults", _torn),
    ("QEMU sizes the frame pointer of ENTER by the stack, not by the operand", _frame_pushed),
    ("QEMU lets the second part of an operand lie beyond 64 KiB", _pointer_wraps),
    ("QEMU stores signalling NaN to 32 and 64 bits as they are", _stores_signalling),
    ("QEMU pops CS from beyond 64 KiB where the stack wraps between EIP and CS", _return_wraps),
    ("QEMU keeps no exception flags in MXCSR", _flags_stored),
)


@dataclass
class Result:
    """What became of a program."""

    executed: int = 0
    faults: int = 0
    problem: str = ""
    excuse: str = ""
    failed: str = ""
    """Why the oracle gave no answer to the end."""


class Bench:
    """Both sides, and what was found."""

    def __init__(self) -> None:
        self.modes = modes()
        self.oracle = Oracle(self.modes)
        self.subject = Subject(self.modes)
        self.excused: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.vectors: Counter[str] = Counter()
        self.mnemonics: Counter[str] = Counter()
        self.crossed: set[int] = set()  # pages where a write began that faulted on the next
        self.executed = 0

    def close(self) -> None:
        """End the oracle."""
        self.oracle.close()

    def run(self, p: Program, most: int = 64) -> Result:
        """Run a program on both."""
        result = Result()
        try:
            answer = self.oracle.run(p, most)
        except OracleDied as death:
            result.failed = f"Unicorn {death}"
            self.failed[result.failed] += 1
            return result
        table = {at: (data, form) for at, data, form in p.code}
        self.subject.start(p)
        cpu = self.subject.cpu
        base = cpu.reg("cs.base")
        gpr = tuple(p.gpr)
        self.crossed = set()
        for k, record in enumerate(answer.records):
            at = base + cpu.reg("eip") & 0xFFFFFFFF
            if at != record.address and cpu.reg("cs.base") != base:
                result.excuse = "a program that went to code of the other size, where its bytes mean something else"
                break
            if at != record.address:
                result.problem = f"at {at:#x}, the oracle at {record.address:#x}"
                break
            data, form = table[at]
            step = self._step(form, data, record, gpr, p, partial(self._earlier, p, answer.records[:k]))
            problem = self._compare(p, step)
            quiet = next((why for why, excuse in QUIET if excuse(step)), "")
            if not problem and _stack_fault(step):
                problem = "a stack fault of the x87"  # what follows differs sooner or later
            if problem or quiet:
                name = form.ident if form else "undefined"
                result.excuse = quiet or self._overwritten(p) or self._excuse(step)
                if not result.excuse:
                    result.problem = f"{data.hex()} {name}: {problem}"
                break
            result.executed += 1
            if form is not None:
                self.mnemonics[form.mnemonic] += 1
            if step.vector >= 0:
                result.faults += 1
                self.vectors[S.VECTOR_NAMES.get(step.vector, "?")] += 1
                cpu.set_reg("eip", at + len(data) - base & 0xFFFFFFFF)
                if step.vector == S.PF_ and step.error & 2 and step.cr2 & 0xFFF == 0:
                    self.crossed.add((step.cr2 >> 12) - 1)
            gpr = step.gpr
        else:
            self._end(p, answer, gpr, result)
        self.executed += result.executed
        if result.excuse:
            self.excused[result.excuse] += 1
        return result

    def _excuse(self, step: Step) -> str:
        return next((why for why, excuse in EXCUSES if excuse(step)), "")

    def _earlier(self, p: Program, records: list[Record]) -> dict[str, Any]:
        """Run the program up to an instruction; the state there."""
        self.subject.start(p)
        cpu = self.subject.cpu
        base = cpu.reg("cs.base")
        table = {at: (data, form) for at, data, form in p.code}
        for record in records:
            data, form = table[record.address]
            if self._step(form, data, record, (), p, dict).vector >= 0:
                cpu.set_reg("eip", record.address + len(data) - base & 0xFFFFFFFF)
        state: dict[str, Any] = cpu.state()
        return state

    def _step(
        self,
        form: Form | None,
        data: bytes,
        record: Record,
        before: tuple[int, ...],
        p: Program,
        earlier: Callable[[], dict[str, Any]],
    ) -> Step:
        cpu = self.subject.cpu
        vector, error, cr2 = self.subject.step(form is not None and form.entry.chapter == "string")
        undefined = undefined_flags(form) if form is not None and vector < 0 else 0
        eflags = cpu.reg("eflags")
        if undefined:
            eflags &= ~undefined
            cpu.set_reg("eflags", eflags)
            record.eflags &= ~undefined
        gpr = tuple(cpu.reg(name) for name in S.R32)
        state = cpu.state() if p.floats else {}
        return Step(p.mode, form, data, vector, error, cr2, cpu.reg("eip"), eflags, gpr, state, record, before, earlier)

    def _overwritten(self, p: Program) -> str:
        """An excuse, where the program wrote over itself or its page tables."""
        view = self.subject.ram.view
        before = bytearray(p.mode.image)
        for at, data in p.patches:
            before[at : at + len(data)] = data
        if view[CODE : p.end] != before[CODE : p.end]:
            return "a program that wrote over itself: what stands where is not known"
        for start in (DIRECTORY, POINTERS, TABLE):
            if any(
                (a ^ b) & 0x9F
                for a, b in zip(view[start : start + 0x1000], before[start : start + 0x1000], strict=True)
            ):
                return "a program that wrote over its page tables: which translations are kept is not defined"
        return ""

    def _compare(self, p: Program, s: Step) -> str:
        out = []
        o = s.oracle
        if s.vector != o.vector:
            out.append(f"vector {s.vector} not {o.vector}")
        elif s.vector >= 0:
            if s.vector == S.PF_ and s.error & ~o.error == 2:
                # QEMU reads before it writes, also where the silicon asks for the right to write at once.
                o.error |= 2
            if s.error != o.error and s.vector not in (S.DE, S.DB, S.UD, S.BR, S.NM, S.MF):
                out.append(f"error {s.error:#x} not {o.error:#x}")
            if s.vector == S.PF_ and s.cr2 != o.cr2:
                out.append(f"cr2 {s.cr2:#x} not {o.cr2:#x}")
        if s.eip != o.eip and not (s.vector >= 0 and o.vector >= 0):
            out.append(f"eip {s.eip:#x} not {o.eip:#x}")
        if s.gpr != o.gpr:
            out += [f"{n} {a:#x} not {b:#x}" for n, a, b in zip(S.R32, s.gpr, o.gpr, strict=True) if a != b]
        if (s.eflags ^ o.eflags) & ~0x10000:
            out.append(f"eflags {s.eflags:#x} not {o.eflags:#x}")
        if p.floats and s.form is not None:
            out += _floats(s)
        return ", ".join(out)

    def _before_edge(self, at: int) -> bool:
        """Whether a byte is among the last of a page where a write began that faulted on the next."""
        return at >> 12 in self.crossed and at & 0xFFF > 0xFF9

    def _end(self, p: Program, answer: Answer, gpr: tuple[int, ...], result: Result) -> None:
        """Memory and segments when all records are through."""
        if answer.end in (END_ERROR, END_STOPPED):
            self._stopped(p, answer, gpr, result)
            return
        cpu = self.subject.cpu
        memory = bytearray(self.subject.ram.view)
        drawn = {form.mnemonic for _, _, form in p.code if form is not None}
        entries = bytes(memory[TABLE : TABLE + ENTRIES])
        memory[TABLE : TABLE + ENTRIES] = bytes(ENTRIES)
        if zlib.crc32(memory) != answer.crc:
            theirs = self.oracle.memory(p.mode)
            at = [k for k in range(SIZE) if memory[k] != theirs[k] and not TABLE <= k < TABLE + ENTRIES]
            result.excuse = self._overwritten(p)
            if not result.excuse and all(CODE - 4 < k < CODE for k in at):
                result.excuse = "Unicorn does an instruction twice that writes across the start of the program"
            if not result.excuse and drawn & {"sgdt", "sidt"} and all(self._before_edge(k) for k in at):
                result.excuse = "Unicorn stores the limit before it finds that the base is in a page that is missing"
            if not result.excuse:
                result.problem = "memory " + " ".join(f"{k:#x}:{memory[k]:02x}/{theirs[k]:02x}" for k in at[:8])
            return
        for k in range(ENTRIES):
            # QEMU sets the accessed bit before it looks at the rights, has ARPL always write, ENTER not look ahead
            # and CLFLUSH not look at all.
            # A write that faults on its second page may have marked the first.
            more, less = answer.entries[k] & ~entries[k], entries[k] & ~answer.entries[k]
            crossed = k // (8 if p.mode.pae else 4) in self.crossed
            missing = 0x60 if "enter" in drawn or crossed else 0x20 if "clflush" in drawn else 0
            if more & ~(0x60 if "arpl" in drawn else 0x20) or less & ~missing:
                result.problem = f"entry {TABLE + k:#x}:{entries[k]:02x}/{answer.entries[k]:02x}"
                return
        segments = answer.segments
        state = cpu.state()
        for k, name in enumerate(S.SEGMENT_NAMES[:6]):
            selector, base, limit, flags = segments[k]
            mine_ = (state["seg_sel"][k], state["seg_base"][k], state["seg_limit"][k])
            if mine_[0] != selector or (selector & ~3 and mine_ != (selector, base, limit)):
                result.problem = f"{name} {[hex(x) for x in mine_]} not {[hex(x) for x in segments[k]]}"
            elif not p.mode.real and selector & ~3 and not p.mode.v86 and state["seg_attr"][k] != flags >> 8 & 0xF0FF:
                result.problem = f"{name} attributes {state['seg_attr'][k]:#x} not {flags >> 8 & 0xF0FF:#x}"

    def _stopped(self, p: Program, answer: Answer, gpr: tuple[int, ...], result: Result) -> None:
        """An end without a word from Unicorn: it ran into nothing, and our side may say why."""
        cpu = self.subject.cpu
        at = cpu.reg("cs.base") + cpu.reg("eip") & 0xFFFFFFFF
        data, form = next(((d, f) for a, d, f in p.code if a == at), (b"", None))
        if data:
            nothing = Record(at, -2, 0, 0, 0, 0, ())
            step = self._step(form, data, nothing, gpr, p, partial(self._earlier, p, answer.records))
            result.excuse = self._overwritten(p) or self._excuse(step)
        if not result.excuse:
            result.failed = f"Unicorn stopped, error {answer.error}"
            self.failed[result.failed] += 1


def _floats(s: Step) -> list[str]:
    """What differs in the x87 and SSE registers."""
    out: list[str] = []
    o, st = s.oracle, s.state
    chapter = s.form.entry.chapter if s.form else ""
    if chapter not in FLOAT_CHAPTERS and not s.data.startswith(b"\\x0f\\xae"):
        return out
    for k in range(8):
        xmm = st["xmm_lo"][k] | st["xmm_hi"][k] << 64
        if xmm.to_bytes(16, "little") != o.xmm[k]:
            out.append(f"xmm{k} {xmm:032x} not {o.xmm[k][::-1].hex()}")
        sig = st["fpr_sig"][k].to_bytes(8, "little")
        se = st["fpr_se"][k].to_bytes(2, "little") if chapter == "x87" else o.x87[k][8:]
        if sig + se != o.x87[k]:
            out.append(f"r{k} {(sig + se)[::-1].hex()} not {o.x87[k][::-1].hex()}")
    fcw, fsw, ftw, mxcsr = o.words
    if st["fctrl"] != fcw:
        out.append(f"fcw {st['fctrl']:#x} not {fcw:#x}")
    # Exception flags and C1 aside, and the other condition codes where no comparison has set them.
    compares = (
        s.form is not None and s.vector < 0 and s.form.mnemonic.startswith(("fcom", "fucom", "ficom", "ftst", "fxam"))
    )
    if (st["fstat"] ^ fsw) & (0x7D00 if compares else 0x3800):
        out.append(f"fsw {st['fstat']:#x} not {fsw:#x}")
    used = sum(((ftw >> 2 * k & 3) != 3) << k for k in range(8))
    if st["ftag"] != used:
        out.append(f"ftag {st['ftag']:#x} not {used:#x}")
    if (st["mxcsr"] ^ mxcsr) & ~0x3F:
        out.append(f"mxcsr {st['mxcsr']:#x} not {mxcsr:#x}")
    return out
