"""All of valgrind's instruction rows (see `valgrind_def`) on a whole processor: decoded from bytes, on both tiers.

A row runs once for every form that can encode it, so that both directions of `add` and both lengths of an immediate
are met.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cache

import pytest

from cores.x86 import state as S
from cores.x86.decoder import tables
from cores.x86.forms import FIXED_REGISTERS, FIXED_SEGMENTS, OPCODE_MAPS, Form, operand_width
from tests.cores.fpu_machine import number, real
from tests.cores.insn_machine import DATA, STACK, InsnMachine
from tests.cores.test_x86_fpu_vectors import float_of, x87_code
from tests.cores.test_x86_sse_vectors import PREDICATES, same
from tests.cores.tiers import TIERS
from tests.cores.valgrind_def import MISSING, Item, Row, close, rows

SETS = ("basic", "cmov", "fpu", "mmx", "mmxext", "sse", "sse2", "sse3", "ssse3")
COUNTS = {
    "basic": 704,
    "cmov": 256,
    "fpu": 310,
    "mmx": 69,
    "mmxext": 20,
    "sse": 103,
    "sse2": 229,
    "sse3": 29,
    "ssse3": 126,
}
VECTOR = ("mmx", "sse", "sse2", "sse3", "ssse3")
GENERAL = (S.EBX, S.ESI, S.EDI, S.EBP)  # 8-bit: BL, DH, BH, CH
NAMED = {name: (k, width) for group, width in ((S.R8, 8), (S.R16, 16), (S.R32, 32)) for k, name in enumerate(group)}
CONDITION = {
    "c": "b", "nae": "b", "nb": "ae", "nc": "ae", "z": "e", "nz": "ne", "na": "be", "nbe": "a", "pe": "p", "po": "np",
    "nge": "l", "nl": "ge", "ng": "le", "nle": "g",
}  # fmt: skip
TRUNCATING = {"fisttps": "DF0Dmem", "fisttpl": "DB0Dmem", "fisttpq": "DD0Dmem"}
FIXUPS = {
    "movsbw": "movsx",
    "movsbl": "movsx",
    "movswl": "movsx",
    "movzbw": "movzx",
    "movzbl": "movzx",
    "movzwl": "movzx",
}


@cache
def by_mnemonic() -> dict[str, list[Form]]:
    """The forms under their mnemonics."""
    found: dict[str, list[Form]] = {}
    for form in tables().forms:
        found.setdefault(form.mnemonic, []).append(form)
    return found


def intel(row: Row) -> str:
    """The mnemonic in Intel's words."""
    name = FIXUPS.get(row.mnemonic, row.mnemonic)
    for stem in ("set", "cmov"):
        if name.startswith(stem):
            return stem + CONDITION.get(name[len(stem) :], name[len(stem) :])
    if name in by_mnemonic():
        return name
    return name[:-1] if name[:-1] in by_mnemonic() else name


def fits(item: Item, code: str, form: Form) -> bool:
    """Whether an operand of a row can be an operand of this code."""
    kind = item.kind
    vector = form.entry.chapter in VECTOR
    width = operand_width(code, form.osz or 32)
    if kind.startswith("imm"):
        size = int(kind[3:])
        if code == "1":
            return item.numbers == [1]
        return {"Ib": size == 8, "Ibs": size == 8, "Iz": size == form.osz, "Iw": size == 16}.get(code, False)
    memory = form.mem == 1 and code[0] in "EMWQ" and code not in FIXED_REGISTERS
    if kind[0] == "m" and kind[1:].isdigit():
        return memory and (vector or width == int(kind[1:]))
    if memory:
        return False
    if kind in ("xmm", "mm"):
        return code[0] in ("VWU" if kind == "xmm" else "PQN") and code not in FIXED_REGISTERS
    if code in FIXED_REGISTERS:
        return kind in NAMED and (FIXED_REGISTERS[code][0], width) == NAMED[kind]
    size = NAMED[kind][1] if kind in NAMED else int(kind[1:])
    return code[0] in "EGZRMY" and (vector or width == size)


def register(item: Item, n: int) -> int:
    """The number of the register that holds operand `n`."""
    if item.kind in ("xmm", "mm"):
        return n
    return NAMED[item.kind][0] if item.kind in NAMED else GENERAL[n]


def encodings(row: Row) -> Iterator[bytes]:
    """The row in every form that there is."""
    name, operands = intel(row), list(row.operands)
    for suffix in ("ps", "pd", "ss", "sd"):
        if name.startswith("cmp") and name.endswith(suffix) and name[3:-2] in PREDICATES:
            operands.insert(0, Item("imm8", "", str(PREDICATES.index(name[3:-2]))))
            name = f"cmp{suffix}"
    orders = [operands, operands[::-1]] if name == "xchg" else [operands]
    if name == "imul" and operands[0].kind.startswith("imm") and len(operands) == 2:
        orders.append([*operands, operands[1]])  # the register is source and destination
    for form, order in itertools.product(by_mnemonic().get(name, []), orders):
        if not FIXED_SEGMENTS.keys() & set(form.codes):
            yield from encode(row, form, order)


def encode(row: Row, form: Form, operands: list[Item]) -> Iterator[bytes]:
    """The row in one form, if it fits."""
    codes = list(reversed(form.codes))
    listed = list(operands)
    if len(codes) == len(listed) + 1 and codes[0] == "1":
        listed.insert(0, Item("imm8", "", "1"))
    if len(codes) != len(listed) or not all(fits(i, c, form) for i, c in zip(listed, codes, strict=True)):
        return
    reg, rm, tail = max(form.digit, 0), 0, b""
    for item, code in zip(listed, codes, strict=True):
        if item.kind.startswith("imm") or code in FIXED_REGISTERS or (item.kind[0] == "m" and item.kind != "mm"):
            continue
        number_ = register(item, next(k for k, o in enumerate(row.operands) if o is item))
        if code[0] in "GPVZ":
            reg = number_
        else:
            rm = number_
    for kind in form.imms:
        value = next(i for i in listed if i.kind.startswith("imm")).numbers[0]
        size = {"ib": 1, "ibs": 1, "iw": 2, "iz": form.osz // 8}[kind]
        tail += (value & (1 << 8 * size) - 1).to_bytes(size, "little")
    head = {1: b"\x66", 2: b"\xf3", 3: b"\xf2"}.get(form.prefix, b"") + (b"\x66" if form.osz == 16 else b"")
    head += bytes.fromhex(OPCODE_MAPS[form.map]) + bytes([form.opcode + (reg if form.opreg else 0)])
    if form.modrm:
        head += bytes([reg << 3 | 5]) + DATA.to_bytes(4, "little") if form.mem == 1 else bytes([0xC0 | reg << 3 | rm])
    yield head + tail


class Run:
    """A row on a machine."""

    def __init__(self, m: InsnMachine, row: Row) -> None:
        self.m = m
        self.row = row
        self.eflags = 2
        self.gpr = [0] * 17
        self.gpr[S.ESP] = STACK
        self.xmm = [0] * 16
        self.mm = [0] * 8
        self.m.poke(DATA, bytes(16))
        for item in row.inputs:
            self.put(item, 0)
        for n, item in enumerate(row.operands):
            self.put(item, n)

    def put(self, item: Item, n: int) -> None:
        """Give a register or memory its value."""
        if item.kind == "eflags":
            self.eflags |= item.numbers[1]
        elif item.kind == "xmm":
            self.xmm[n] = item.value
        elif item.kind == "mm":
            self.mm[n] = item.value
        elif item.kind[0] == "m":
            self.m.poke(DATA, item.data)
        elif not item.kind.startswith("imm"):
            r = register(item, n)
            size = NAMED[item.kind][1] if item.kind in NAMED else int(item.kind[1:])
            shift = 8 if size == 8 and r > 3 else 0
            r &= 3 if size == 8 else 7
            self.gpr[r] = self.gpr[r] & ~((1 << size) - 1 << shift) | (item.value & (1 << size) - 1) << shift

    def get(self, item: Item, n: int, size: int) -> bytes:
        """The first bytes of an operand afterwards."""
        state = self.m.cpu.state()
        if item.kind == "xmm":
            return (state["xmm_lo"][n] | state["xmm_hi"][n] << 64).to_bytes(16, "little")[:size]  # type: ignore
        if item.kind == "mm":
            return bytes(state["fpr_sig"][n].to_bytes(8, "little")[:size])
        if item.kind[0] == "m":
            return self.m.peek(DATA, size)
        r = register(item, n)
        width = NAMED[item.kind][1] if item.kind in NAMED else int(item.kind[1:])
        value = state["gpr"][r & 3 if width == 8 else r] >> (8 if width == 8 and r > 3 else 0)
        return bytes((value & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "little")[:size])

    def wrong(self, code: bytes) -> str:
        """Run one encoding; what differs, or an empty string."""
        low, high = [x & (1 << 64) - 1 for x in self.xmm], [x >> 64 for x in self.xmm]
        self.m.cpu.load_state({"xmm_lo": low, "xmm_hi": high, "fpr_sig": self.mm, "fstat": 0, "mxcsr": 0x1F80})
        vector = self.m.run(code, self.eflags, gpr=self.gpr, ftag=0, fctrl=0x37F)
        if vector is not None:
            return f"{code.hex()}: raised {vector}"
        for item in self.row.results:
            if item.kind == "eflags":
                mask, bits = item.numbers
                got = self.m.cpu.reg("eflags")
                if got & mask != bits:
                    return f"{code.hex()}: flags {got:x}"
                continue
            n = int(item.kind) if item.kind.isdigit() else 0
            place = self.row.operands[n] if item.kind.isdigit() else item
            data = self.get(place, n, len(item.data))
            if item.type in ("ps", "pd"):
                if not same(item.type, data, item.text, self.row.mnemonic):
                    return f"{code.hex()}: {item.kind} {data.hex()}"
            elif data != item.data:
                return f"{code.hex()}: {item.kind} {data.hex()}"
        return ""


def x87_wrong(m: InsnMachine, row: Row) -> str:
    """Run a row of the x87 set; what differs, or an empty string."""
    text = TRUNCATING.get(row.mnemonic) or x87_code(row)
    code = bytes.fromhex(text.replace("mem", DATA.to_bytes(4, "little").hex()))
    sig, se, fctrl, tag = [0] * 8, [0] * 8, 0x37F, 0xFE
    m.poke(DATA, bytes(16))
    # TOP is 1: seven registers are in use, the eighth is free for a load.
    for item in row.inputs + row.operands:
        if item.kind[:2] == "st":
            p = 1 + int(item.kind[2:]) & 7
            sig[p], se[p] = real(float_of(item))
        elif item.kind == "fpucw":
            mask, bits = item.numbers
            fctrl = fctrl & ~mask | bits
        else:
            m.poke(DATA, item.data)
    vector = m.run(code, gpr=[0] * 4 + [STACK] + [0] * 12, fpr_sig=sig, fpr_se=se, ftag=tag, fstat=1 << 11, fctrl=fctrl)
    if vector is not None:
        return f"raised {vector}"
    state = m.cpu.state()
    top = state["fstat"] >> 11 & 7
    for item in row.results:
        if item.kind[:2] == "st":
            p = top + int(item.kind[2:]) & 7
            # Two rows of this one give the sum with the wrong sign; the program they come from compares twelve bits.
            loose = row.mnemonic == "fisubrl" and item.type == "ps"
            got = number((state["fpr_sig"][p], state["fpr_se"][p]))
            if not state["ftag"] >> p & 1 or not close(got, item.text, 1.5 * 2**-12 if loose else 1e-6):
                return f"{item.kind} {got}"
        elif item.kind in ("fpusw", "eflags"):
            mask, bits = item.numbers
            word = state["fstat"] if item.kind == "fpusw" else m.cpu.reg("eflags")
            if word & mask != bits:
                return f"{item.kind} {word:#x}"
        elif m.peek(DATA, len(item.data)) != item.data:
            return m.peek(DATA, len(item.data)).hex()
    return ""


def failures(tier: str, name: str) -> tuple[int, int, list[str]]:
    """(rows, encodings run, failures) of one set."""
    m = InsnMachine(tier)
    found = rows(f"insn_{name}")
    bad: list[str] = []
    ran = 0
    for row in found:
        if row.mnemonic[0] == "f":
            ran += 1
            wrong = x87_wrong(m, row)
            bad += [f"{row.text}: {wrong}"] if wrong else []
            continue
        codes = list(encodings(row))
        if not codes:
            bad.append(f"{row.text}: no form")
        for code in codes:
            ran += 1
            wrong = Run(m, row).wrong(code)
            bad += [f"{row.text}: {wrong}"] if wrong else []
    return len(found), ran, bad


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("name", SETS)
def test_every_row_recorded_on_a_processor_holds_on_the_tier(tier: str, name: str) -> None:
    count, ran, bad = failures(tier, name)
    if not count:
        pytest.skip(MISSING)
    assert count == COUNTS[name] and ran >= count
    assert not bad, f"{len(bad)} of {ran}:\n" + "\n".join(bad[:40])
