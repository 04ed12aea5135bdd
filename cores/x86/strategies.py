"""Instructions and programs drawn from the forms, for tests that compare tiers and tools with one another.

`instruction` gives the bytes of one form with random operands, `program` a sequence of them. A `Place` says what the
program will find around it: operands mostly point at its data, jumps mostly stay in its code, selectors mostly exist.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..lang.strategies import Choices, number, one_in, pick
from . import state as S
from .decoder import tables
from .forms import OPCODE_MAPS, Form

_PREFIX = {1: 0x66, 2: 0xF3, 3: 0xF2}
_SEGMENT_PREFIX = (0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65)
# How often each chapter is drawn; the vector chapters have most of the forms.
WEIGHTS = {
    "alu": 30, "move": 20, "string": 14, "control": 12, "system": 14, "interrupts": 2, "x87": 14,
    "mmx": 6, "sse": 5, "sse2": 8, "sse3": 1, "ssse3": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """The surroundings of a program."""

    big: bool
    """CS.D: 32-bit code."""
    data: int
    """Offset of the data that memory operands should meet, in any data segment."""
    size: int
    """Bytes of data from there on."""
    selectors: tuple[int, ...] = (0,)
    """Selectors for far transfers and segment loads."""
    ports: tuple[int, ...] = (0,)
    """Port numbers for immediate ports."""


def forms(allowed: Callable[[Form], bool] = lambda form: True) -> dict[str, list[Form]]:
    """The forms by chapter, those that `allowed` lets through."""
    found: dict[str, list[Form]] = {}
    for form in tables().forms:
        if allowed(form):
            found.setdefault(form.entry.chapter, []).append(form)
    return found


def choose(rng: Choices, chapters: dict[str, list[Form]]) -> Form:
    """A form: first the chapter by its weight, then any of its forms."""
    names = [name for name in chapters for _ in range(WEIGHTS.get(name, 1))]
    return pick(rng, chapters[pick(rng, names)])


def instruction(rng: Choices, form: Form, place: Place, *, plain: bool = False) -> bytes:
    """The bytes of a form with random operands. `plain`: no prefix that the form does not call for."""
    mode = 32 if place.big else 16
    prefixes: list[int] = []
    if form.prefix in _PREFIX:
        prefixes.append(_PREFIX[form.prefix])
    osz = form.osz or mode
    if form.osz and form.osz != mode and form.prefix != 1:
        prefixes.append(0x66)
    memory = form.mem == 1 or any(kind == "o" for kind in form.imms)
    asz = form.asz or (48 - mode if memory and one_in(rng, 6) else mode)
    if asz != mode:
        prefixes.append(0x67)
    if not plain:
        if (memory or form.entry.chapter == "string") and one_in(rng, 6):
            prefixes.append(pick(rng, _SEGMENT_PREFIX))
        if one_in(rng, 12 if form.entry.lock else 100):
            prefixes.append(0xF0)
        if one_in(rng, 60):
            prefixes.append(pick(rng, (0x66, 0x67, 0xF2, 0xF3, 0x2E)))
    out = _shuffled(rng, prefixes)
    out += bytes.fromhex(OPCODE_MAPS[form.map])
    out.append(form.opcode + (rng.randrange(8) if form.opreg else 0))
    if form.modrm:
        out += _modrm(rng, form, asz, place)
    for kind in form.imms:
        out += _immediate(rng, kind, osz, asz, place)
    return bytes(out)


def _shuffled(rng: Choices, items: list[int]) -> bytearray:
    out = bytearray()
    rest = list(items)
    while rest:
        out.append(rest.pop(rng.randrange(len(rest))))
    return out


def _modrm(rng: Choices, form: Form, asz: int, place: Place) -> bytes:
    reg = form.digit if form.digit >= 0 else rng.randrange(8)
    if "Sw" in form.codes:
        reg = rng.randrange(6) if rng.randrange(8) else reg
    elif "Cd" in form.codes:
        reg = pick(rng, (0, 2, 3, 4)) if rng.randrange(8) else reg
    if form.mem != 1:
        return bytes([0xC0 | reg << 3 | (form.rm if form.rm >= 0 else rng.randrange(8))])
    target = _target(rng, place)
    wanted = rng.randrange(8)
    if asz == 16:
        if wanted < 4:  # the offset alone
            return bytes([reg << 3 | 6]) + (target & 0xFFFF).to_bytes(2, "little")
        mod, rm = rng.randrange(3), rng.randrange(8)
        if mod == 0 and rm == 6:
            rm = 7
        disp = (b"", _byte(rng), number(rng, 16).to_bytes(2, "little"))[mod]
        return bytes([mod << 6 | reg << 3 | rm]) + disp
    if wanted < 4:
        return bytes([reg << 3 | 5]) + target.to_bytes(4, "little")
    mod, rm = rng.randrange(3), rng.randrange(8)
    sib = b""
    if rm == 4:
        # Half of the time base and index keep away from what wanders far.
        sib = bytes([rng.randrange(256)]) if wanted == 7 else bytes([rng.randrange(4) << 6 | 4 << 3 | rng.randrange(8)])
    base = sib[0] & 7 if sib else rm
    if mod == 0 and base == 5:
        return bytes([reg << 3 | rm]) + sib + target.to_bytes(4, "little")
    disp = (b"", _byte(rng), (number(rng, 32) if one_in(rng, 4) else number(rng, 8)).to_bytes(4, "little"))[mod]
    return bytes([mod << 6 | reg << 3 | rm]) + sib + disp


def _target(rng: Choices, place: Place) -> int:
    """An offset in the data, often aligned as vectors want it."""
    target = place.data + rng.randrange(max(place.size - 64, 1))
    return target if rng.randrange(2) else target & ~15


def _byte(rng: Choices) -> bytes:
    return bytes([number(rng, 8)])


def _immediate(rng: Choices, kind: str, osz: int, asz: int, place: Place) -> bytes:
    size = osz // 8
    if kind in ("ib", "ib2"):
        return bytes([pick(rng, place.ports) & 0xFF]) if one_in(rng, 4) else _byte(rng)
    if kind == "ibs":
        return _byte(rng)
    if kind == "jb":
        return bytes([rng.randrange(48) - 16 & 0xFF]) if rng.randrange(8) else _byte(rng)
    if kind == "iw":
        return (rng.randrange(16) if rng.randrange(4) else number(rng, 16)).to_bytes(2, "little")
    if kind == "id":
        return number(rng, 32).to_bytes(4, "little")
    if kind == "iz":
        near = place.data + rng.randrange(max(place.size, 1))
        value = near if one_in(rng, 3) else number(rng, osz)
        return (value & (1 << osz) - 1).to_bytes(size, "little")
    if kind == "jz":
        value = rng.randrange(96) - 32 if rng.randrange(8) else number(rng, osz)
        return (value & (1 << osz) - 1).to_bytes(size, "little")
    if kind == "ap":
        offset = place.data + rng.randrange(max(place.size, 1)) if rng.randrange(4) else number(rng, osz)
        return (offset & (1 << osz) - 1).to_bytes(size, "little") + pick(rng, place.selectors).to_bytes(2, "little")
    if kind == "o":
        offset = place.data + rng.randrange(max(place.size - 8, 1))
        return (offset & (1 << asz) - 1).to_bytes(asz // 8, "little")
    raise ValueError(f"immediate {kind} is not known")


def pointers(rng: Choices, place: Place) -> bytes:
    """An instruction that brings a register back to the data, or gives it a selector."""
    target = _target(rng, place) if rng.randrange(4) else pick(rng, place.selectors)
    reg = pick(rng, (S.EBX, S.ESI, S.EDI, S.EBP, S.EAX, S.EDX))
    return bytes([0xB8 + reg]) + target.to_bytes(4, "little")[: 4 if place.big else 2]


def program(rng: Choices, chapters: dict[str, list[Form]], place: Place, length: int) -> list[bytes]:
    """`length` instructions, one after the other."""
    out = []
    for _ in range(length):
        if one_in(rng, 8):
            out.append(pointers(rng, place))
        elif one_in(rng, 60):
            out.append(bytes(rng.randrange(256) for _ in range(1 + rng.randrange(8))))
        else:
            out.append(instruction(rng, choose(rng, chapters), place))
    return out


def registers(rng: Choices, place: Place) -> list[int]:
    """Sixteen general registers and the zero: numbers, selectors, and pointers into the data."""
    values = []
    for _ in range(8):
        if rng.randrange(2):
            values.append(_target(rng, place))
        else:
            values.append(number(rng, 32) if rng.randrange(6) else pick(rng, place.selectors))
    return [*values, *([0] * 9)]
