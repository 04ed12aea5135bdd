"""From bytes to forms: the lookup that `decode` (here) and `decode.c` share (SDM vol. 2, chapter 2).

Every opcode has a slot: which properties of an instruction choose among its forms, and where its part of the table
begins. The table holds form numbers; 0 stands for an undefined opcode (#UD).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from ..lang.ir import SpecError
from . import state as S
from .forms import ENTRIES, OPCODE_MAPS, Form, expand, keeps_going

CHAPTERS = (
    "alu", "move", "string", "control", "system", "transfer", "interrupts", "x87", "mmx", "sse", "sse2", "sse3",
    "ssse3",
)  # fmt: skip

# Properties that choose a form, most significant first, with the number of their values.
DIMENSIONS = (("prefix", 4), ("osz", 2), ("asz", 2), ("mem", 2), ("digit", 8), ("rm", 8))


@dataclass
class Slot:
    """How one opcode finds its forms: `strides[k]` is 0 for a property that does not matter."""

    modrm: bool
    base: int
    strides: tuple[int, ...]
    register_only: bool  # mod is ignored: MOV to and from control registers
    any_form: bool = True


@dataclass
class Tables:
    """All forms of the core (numbered from 1) and the lookup over them."""

    forms: list[Form]
    slots: list[Slot]  # map * 256 + opcode
    lookup: list[int]

    def form(self, number: int) -> Form:
        """The form of a number from the lookup."""
        return self.forms[number - 1]


def load_entries() -> None:
    """Import every chapter that exists, which registers its entries."""
    import importlib
    import importlib.util

    for chapter in CHAPTERS:
        name = f"{__package__}.{chapter}"
        if importlib.util.find_spec(name) is not None:
            importlib.import_module(name)


def _value(form: Form, key: str) -> int:
    """The index that a form asks for in one dimension, -1 for any."""
    if key == "prefix":
        return form.prefix
    if key == "osz":
        return form.osz // 32 if form.osz else -1
    if key == "asz":
        return form.asz // 32 if form.asz else -1
    if key == "mem":
        return form.mem
    return int(getattr(form, key))


@cache
def tables() -> Tables:
    """Expand all entries and build the lookup; forms are not traced yet."""
    load_entries()
    forms: list[Form] = []
    for entry in ENTRIES:
        forms += expand(entry)
    seen: dict[str, Form] = {}
    for k, form in enumerate(forms):
        form.number = k + 1
        if form.ident in seen:
            form.ident += f"_{k}"
        seen[form.ident] = form
    by_opcode: dict[int, list[Form]] = {}
    for form in forms:
        for r in range(8 if form.opreg else 1):
            by_opcode.setdefault(form.map * 256 + form.opcode + r, []).append(form)
    slots: list[Slot] = []
    lookup: list[int] = [0]
    for op in range(256 * len(OPCODE_MAPS)):
        here = by_opcode.get(op, [])
        if not here:
            slots.append(Slot(False, 0, (0,) * 6, False, False))
            continue
        modrm = here[0].modrm
        for f in here:
            if f.modrm != modrm:
                raise SpecError(f"{f.entry.src}: opcode {op:03x} is with and without ModRM (see {here[0].entry.src})")
        used = [any(_value(f, key) >= 0 for f in here) for key, _ in DIMENSIONS]
        register_only = any(c in ("Cd", "Dd") for f in here for c in f.codes)
        if register_only:
            used[3] = False
        size = 1
        strides = [0] * 6
        for k in reversed(range(6)):
            if used[k]:
                strides[k] = size
                size *= DIMENSIONS[k][1]
        base = len(lookup)
        for combo in itertools.product(*(range(n) if used[k] else (0,) for k, (_, n) in enumerate(DIMENSIONS))):
            fits = [
                f
                for f in here
                if all(not used[k] or _value(f, key) in (-1, combo[k]) for k, (key, _) in enumerate(DIMENSIONS))
            ]
            # The most closely described form wins: a prefix over none, a whole ModRM byte over a digit.
            fits.sort(key=lambda f: (f.prefix >= 0, f.rm >= 0, f.digit >= 0, f.mem >= 0), reverse=True)
            if len(fits) > 1:
                a, b = fits[0], fits[1]
                if (a.prefix >= 0, a.rm >= 0, a.digit >= 0) == (b.prefix >= 0, b.rm >= 0, b.digit >= 0):
                    raise SpecError(f"{b.entry.src}: {b.ident} overlaps {a.ident} of {a.entry.src}")
            lookup.append(fits[0].number if fits else 0)
        slots.append(Slot(modrm, base, tuple(strides), register_only))
    return Tables(forms, slots, lookup)


class Insn:
    """A decoded instruction, with the fields that bodies read."""

    __slots__ = (
        "base", "disp", "eamask", "fop", "form", "imm", "imm2", "index", "lock", "next", "raw", "reg", "rm", "scale",
        "seg", "start",
    )  # fmt: skip

    def __init__(self, start: int) -> None:
        self.start = start
        self.next = start
        self.form: Form | None = None
        self.imm = self.imm2 = self.disp = self.reg = self.rm = self.fop = 0
        self.base = self.index = 16
        self.scale = 1
        self.seg = S.DS
        self.eamask = 0xFFFFFFFF
        self.lock = False
        self.raw = b""


class TooLong(Exception):
    """More than 15 bytes: #GP(0)."""


_SEG_PREFIX = {0x26: S.ES, 0x2E: S.CS, 0x36: S.SS, 0x3E: S.DS, 0x64: S.FS, 0x65: S.GS}
_EA16 = ((3, 6), (3, 7), (5, 6), (5, 7), (6, 16), (7, 16), (5, 16), (3, 16))
MAX_LENGTH = 15


def decode(fetch: Callable[[], int], start: int, big: bool, features: tuple[int, ...]) -> Insn:
    """Decode one instruction at EIP `start`. `fetch` gives the next byte (and may raise a fault), `big` is CS.D,
    `features` the words of `state.FEATURES`. An undefined opcode has `form` None. Raises TooLong."""
    insn = Insn(start)
    raw = bytearray()

    def byte() -> int:
        if len(raw) == MAX_LENGTH:
            raise TooLong
        b = fetch()
        raw.append(b)
        return b

    def number(size: int) -> int:
        return int.from_bytes(bytes(byte() for _ in range(size)), "little")

    osz, asz, rep, seg, lock, opsize = big, big, 0, -1, False, False
    while True:
        op = byte()
        if op in _SEG_PREFIX:
            seg = _SEG_PREFIX[op]
        elif op == 0x66:
            opsize = True
        elif op == 0x67:
            asz = not big
        elif op in (0xF2, 0xF3):
            rep = 2 if op == 0xF3 else 3
        elif op == 0xF0:
            lock = True
        else:
            break
    if opsize:
        osz = not big
    prefix = rep or int(opsize)
    if op == 0x0F:
        op = byte()
        op = 512 + byte() if op == 0x38 else 768 + byte() if op == 0x3A else 256 + op
    t = tables()
    slot = t.slots[op]
    if not slot.any_form:
        return _finish(insn, raw, None)
    insn.eamask = 0xFFFFFFFF if asz else 0xFFFF
    mem = digit = rm = 0
    if slot.modrm:
        modrm = byte()
        mod, digit, rm = modrm >> 6, modrm >> 3 & 7, modrm & 7
        insn.fop = (op & 7) << 8 | modrm
        mem = int(mod != 3 and not slot.register_only)
        insn.reg, insn.rm = digit, rm
        if mem:
            _address(insn, mod, rm, asz, byte, number)
    if seg >= 0:
        insn.seg = seg
    s = slot.strides
    at = slot.base + prefix * s[0] + osz * s[1] + asz * s[2] + mem * s[3] + digit * s[4] + rm * s[5]
    number_ = t.lookup[at]
    if not number_:
        return _finish(insn, raw, None)
    form = t.form(number_)
    if form.opreg:
        insn.reg = op & 7
    if form.reg8:
        insn.reg = _byte_offset(insn.reg)
    if form.rm8:
        insn.rm = _byte_offset(insn.rm)
    size = 4 if osz else 2
    for kind in form.imms:
        if kind == "ib":
            insn.imm = byte()
        elif kind in ("ibs", "jb"):
            b = byte()
            insn.imm = b | 0xFFFFFF00 if b & 0x80 else b
        elif kind == "iw":
            insn.imm = number(2)
        elif kind == "id":
            insn.imm = number(4)
        elif kind == "iz":
            insn.imm = number(size)
        elif kind == "jz":
            v = number(size)
            insn.imm = v | 0xFFFF0000 if size == 2 and v & 0x8000 else v
        elif kind == "ib2":
            insn.imm2 = byte()
        elif kind == "ap":
            insn.imm = number(size)
            insn.imm2 = number(2)
        elif kind == "o":
            insn.disp = number(4 if asz else 2)
    found: Form | None = form
    if form.entry.needs:
        word, bit = S.FEATURES[form.entry.needs]
        if not features[word] >> bit & 1:
            found = None
    if lock and found is not None:
        if not form.block:
            form.trace()  # whether it reads and writes memory shows only then
        if not form.lock_ok:
            found = None
    insn.lock = lock
    return _finish(insn, raw, found)


def _finish(insn: Insn, raw: bytearray, form: Form | None) -> Insn:
    insn.form = form
    insn.raw = bytes(raw)
    insn.next = (insn.start + len(raw)) & 0xFFFFFFFF
    return insn


def _byte_offset(r: int) -> int:
    return r * 8 if r < 4 else (r - 4) * 8 + 1


def _address(insn: Insn, mod: int, rm: int, asz: bool, byte: Callable[[], int], number: Callable[[int], int]) -> None:
    """ModRM, SIB and displacement of a memory operand (SDM vol. 2, tables 2-1 to 2-3)."""
    if not asz:
        insn.base, insn.index = _EA16[rm]
        if mod == 0 and rm == 6:
            insn.base = 16
            insn.disp = number(2)
        elif insn.base == S.EBP:
            insn.seg = S.SS
    else:
        insn.base = rm
        if rm == 4:
            sib = byte()
            insn.base = sib & 7
            index = sib >> 3 & 7
            insn.index = 16 if index == 4 else index
            insn.scale = 1 << (sib >> 6)
        if mod == 0 and insn.base == 5:
            insn.base = 16
            insn.disp = number(4)
        elif insn.base in (S.ESP, S.EBP):
            insn.seg = S.SS
    if mod == 1:
        b = byte()
        insn.disp = b | 0xFFFFFF00 if b & 0x80 else b
    elif mod == 2:
        insn.disp = number(4 if asz else 2)


__all__ = ["DIMENSIONS", "Insn", "Slot", "Tables", "TooLong", "decode", "keeps_going", "load_entries", "tables"]
