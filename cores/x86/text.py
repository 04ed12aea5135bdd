"""The disassembler: decoded instructions as text, from the syntax and operand codes of their entries.

The syntax is Intel's as NASM writes it: destination first, `[seg:base+index*scale+disp]`, numbers in hex, targets of
jumps as absolute addresses, and `byte word dword qword tword oword` where no register tells the size of a memory
operand. What no operand shows stands in front: `lock rep repe repne`, a segment of a string instruction, and
`o16 o32 a16 a32` where operand or address size is not the mode's. Bytes that are no instruction give `db 0x0f`, one at
a time. `encoder.py` reads all of it back.
"""

from __future__ import annotations

from functools import cache

from ..lang.to_text import db_text, hex_text, signed_text, template
from . import state as S
from .decoder import Insn, TooLong, decode, tables
from .encoder import ALIASES, by_mnemonic, follows_mode
from .forms import FIXED_REGISTERS, FIXED_SEGMENTS, Form, uses_operand_size
from .operands import (
    NAMES,
    SEGMENTS,
    SIZES,
    implied_segment,
    is_memory,
    memory_width,
    register_kind,
    repeats,
)

ALL_FEATURES = (0xFFFFFFFF,) * 4
NONE = 16  # base or index that is not there
# A displacement after a register is shown negative from here on; further down it is an address.
NEAR = -(1 << 20)
_PREFIX_BYTES = {0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3}


class _ShortError(Exception):
    pass


def decode_bytes(data: bytes, eip: int, big: bool, features: tuple[int, ...] = ALL_FEATURES) -> Insn | None:
    """Decode from bytes; None if they end too early or are no instruction."""
    at = 0

    def fetch() -> int:
        nonlocal at
        if at == len(data):
            raise _ShortError
        at += 1
        return data[at - 1]

    try:
        insn = decode(fetch, eip, big, features)
    except (_ShortError, TooLong):
        return None
    return insn if insn.form is not None else None


def disassemble(data: bytes, eip: int, big: bool, syntax: str = "intel") -> tuple[str, int]:
    """Text and length in bytes of the instruction at the start of `data`, which lies at `eip` in a 32-bit (`big`) or
    16-bit code segment. Raises ValueError for empty data or an unknown syntax."""
    if not data:
        raise ValueError("no bytes to disassemble")
    if syntax != "intel":
        raise ValueError(f"syntax {syntax!r} is not 'intel'")
    insn = decode_bytes(data[:16], eip, big)
    if insn is None:
        return db_text(data[:1]), 1
    return text(insn, big), len(insn.raw)


def prefixes(insn: Insn) -> bytes:
    """The prefix bytes of a decoded instruction."""
    n = 0
    while insn.raw[n] in _PREFIX_BYTES:
        n += 1
    return insn.raw[:n]


def text(insn: Insn, big: bool) -> str:
    """A decoded instruction as text."""
    form = _form(insn)
    mode = 32 if big else 16
    front = front_words(insn, mode)
    if form.mnemonic == "xchg" and form.opreg and insn.reg == 0 and form.osz == mode:
        return " ".join([*front, "pause" if 0xF3 in prefixes(insn) else "nop"])
    operands = {"st": "st0"}
    pinned = "|" in form.entry.syntax
    sized = ""
    for name, code in zip(form.names, form.codes, strict=True):
        memory = is_memory(code, form)
        keyword = SIZES.get(memory_width(code, form.osz or 32), "") if memory and shows_size(form, code) else ""
        operands[name] = f"{keyword} {operand(insn, code, big)}".lstrip()
        if uses_operand_size((code,)):
            pinned |= bool(keyword) or register_kind(code, form) != ""
            sized = name if code in ("Iz", "Ibs", "Ap", "Mp") else sized
    mnemonic = form.mnemonic
    if mnemonic == "jcxz" and form.asz == 32:
        mnemonic = "jecxz"
    if form.osz == 16 and mode == 32 and follows_mode(form, mnemonic):
        mnemonic += "w"
    elif form.osz and form.osz != mode and not pinned:
        suffixed = mnemonic + ("d" if form.osz == 32 else "w")
        if suffixed in ALIASES:
            mnemonic = suffixed
        elif sized:
            operands[sized] = f"{SIZES[form.osz]} {operands[sized]}"
        else:
            front.append(f"o{form.osz}")
    line = template(form.syntax).fill(operands, mnemonic)
    # A pointer in the instruction shows by itself that the transfer is far.
    return " ".join([*front, line.replace(" far ", " ") if "Ap" in form.codes else line])


def _form(insn: Insn) -> Form:
    if insn.form is None:
        raise ValueError("not an instruction")
    return insn.form


def front_words(insn: Insn, mode: int) -> list[str]:
    """What stands before the mnemonic, operand size aside."""
    form = _form(insn)
    words = ["lock"] if insn.lock else []
    if repeats(form) and form.prefix >= 2:
        compares = form.mnemonic[:4] in ("cmps", "scas")
        words.append(("repe" if compares else "rep") if form.prefix == 2 else "repne")
    overrides = [b for b in prefixes(insn) if b in _OVERRIDE]
    if overrides and implied_segment(form) and insn.seg != S.DS:
        words.append(SEGMENTS[insn.seg])
    asz = 32 if insn.eamask == 0xFFFFFFFF else 16
    if asz != mode:
        bare = form.mem == 1 and insn.base == insn.index == NONE
        bare |= any(c in ("Ob", "Ov") for c in form.codes)
        if bare or (form.asz and form.mnemonic != "jcxz"):
            words.append(f"a{asz}")
    return words


_OVERRIDE = {0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65}


def shows_size(form: Form, code: str) -> bool:
    """Whether the size of the memory operand must be said: no register tells it, or another form differs by it only."""
    return _shows_size(form.number, code)


@cache
def _shows_size(number: int, code: str) -> bool:
    form = tables().form(number)
    width = memory_width(code, form.osz or 32)
    if not width:
        return False
    others = [c for c in form.codes if c != code and c not in ("CL", "DX")]
    if not any(register_kind(c, form) and memory_width(c, form.osz or 32) == width for c in others):
        return True
    for other in by_mnemonic()[form.mnemonic]:
        if other.mem != 1 or len(other.codes) != len(form.codes):
            continue
        if _apart_from_memory(other) == _apart_from_memory(form) and width != _width(other):
            return True
    return False


def _apart_from_memory(form: Form) -> list[str]:
    return ["memory" if is_memory(c, form) else register_kind(c, form) for c in form.codes]


def _width(form: Form) -> int:
    return next((memory_width(c, form.osz or 32) for c in form.codes if is_memory(c, form)), 0)


def operand(insn: Insn, code: str, big: bool) -> str:
    """One operand of a decoded instruction."""
    form = _form(insn)
    if code in FIXED_REGISTERS:
        return NAMES[register_kind(code, form), FIXED_REGISTERS[code][0]]
    if code in FIXED_SEGMENTS:
        return SEGMENTS[FIXED_SEGMENTS[code]]
    if code == "ST":
        return "st0"
    if code in ("Ob", "Ov") or is_memory(code, form):
        return memory(insn)
    if code == "Ap":
        return f"{insn.imm2:#x}:{insn.imm:#x}"
    if code == "1":
        return "0x1"
    if code == "Ib2":
        return f"{insn.imm2:#x}"
    if code == "Ibs":
        return hex_text(insn.imm - (1 << 32) if insn.imm >> 31 else insn.imm)
    if code in ("Jb", "Jz"):
        return f"{target(insn):#x}"
    if code in ("Ib", "Iw", "Iz", "Id"):
        return f"{insn.imm:#x}"
    kind = register_kind(code, form)
    at = insn.reg if code[0] in "GZVPSCD" and code != "STi" else insn.rm
    if kind == "r8":
        at = byte_register(at)
    return NAMES[kind, at]


def byte_register(place: int) -> int:
    """Number of the byte register at bit `place` of the register file."""
    return place >> 3 | (place & 1) << 2


def target(insn: Insn) -> int:
    """Where a relative jump goes."""
    to = (insn.next + insn.imm) & 0xFFFFFFFF
    return to & 0xFFFF if _form(insn).osz == 16 else to


def memory(insn: Insn) -> str:
    """The memory operand: `[es:ebx+esi*4-0x8]`."""
    asz = 32 if insn.eamask == 0xFFFFFFFF else 16
    base, index = insn.base, insn.index
    if base == NONE and index != NONE and insn.scale == 1:
        base, index = index, NONE
    default = S.SS if base == S.EBP or (asz == 32 and base == S.ESP) else S.DS
    names = S.R32 if asz == 32 else S.R16
    parts = [] if base == NONE else [names[base]]
    if index != NONE:
        parts.append(names[index] if insn.scale == 1 else f"{names[index]}*{insn.scale}")
    disp = insn.disp & insn.eamask
    negative = disp - insn.eamask - 1
    if not parts:
        shown = f"{disp:#x}"
    elif base != NONE and negative >= (NEAR if asz == 32 else -0x8000):
        shown = signed_text(negative)
    else:
        shown = signed_text(disp) if disp else ""
    seg = "" if insn.seg == default else f"{SEGMENTS[insn.seg]}:"
    return f"[{seg}{'+'.join(parts)}{shown}]"


__all__ = ["decode_bytes", "disassemble", "text"]
