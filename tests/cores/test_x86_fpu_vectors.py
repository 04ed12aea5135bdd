"""x87, MMX and the MMX part of SSE against rows recorded on processors (see `valgrind_def`)."""

from __future__ import annotations

import struct

import pytest

from cores.x86.decoder import tables
from tests.cores.fpu_machine import Fpu, number, real
from tests.cores.sse_machine import eflags
from tests.cores.valgrind_def import MISSING, Item, Row, close, rows

# Operations in the order of the opcode extension; with AT&T's names the register forms keep it, too.
ARITHMETIC = ("fadd", "fmul", "fcom", "fcomp", "fsub", "fsubr", "fdiv", "fdivr")
PLAIN = {"fnop": "D9D0", "fabs": "D9E1", "fchs": "D9E0", "frndint": "D9FC", "fldl2t": "D9E9", "fldl2e": "D9EA",
         "fldpi": "D9EB", "fldlg2": "D9EC", "fldln2": "D9ED", "fldz": "D9EE", "fld1": "D9E8"}  # fmt: skip
MEMORY = {"flds": "D9/0", "fldl": "DD/0", "filds": "DF/0", "fildl": "DB/0", "fildq": "DF/5", "fists": "DF/2",
          "fistl": "DB/2", "fistps": "DF/3", "fistpl": "DB/3", "fistpq": "DF/7", "fsts": "D9/2", "fstl": "DD/2",
          "fstps": "D9/3", "fstpl": "DD/3"}  # fmt: skip
REGISTER = {"fcomi": "DBF0", "fcomip": "DFF0", "fucomi": "DBE8", "fucomip": "DFE8", "fxch": "D9C8", "fld": "D9C0",
            "fst": "DDD0", "fstp": "DDD8"}  # fmt: skip


def skip_without(found: list[Row]) -> list[object]:
    return list(found) or [pytest.param(None, marks=pytest.mark.skip(MISSING))]


def x87_code(row: Row) -> str:
    """The bytes of an x87 row in AT&T notation."""
    name, kinds = row.mnemonic, [o.kind for o in row.operands]
    if name in PLAIN:
        return PLAIN[name]
    if kinds and kinds[0][0] == "m":
        if name in MEMORY:
            opcode, digit = MEMORY[name].split("/")
        else:
            integer = name.startswith("fi")
            stem, size = name.replace("fi", "f", 1)[:-1], name[-1]
            opcode = {"s": "DE" if integer else "D8", "l": "DA" if integer else "DC"}[size]
            digit = str(ARITHMETIC.index(stem))
        return f"{opcode}{int(digit) << 3 | 5:02X}mem"
    if name in REGISTER:
        return f"{REGISTER[name][:2]}{int(REGISTER[name][2:], 16) + int(kinds[0][2:]):02X}"
    if name.endswith("p"):
        i = int(kinds[1][2:]) if kinds else 1
        return f"DE{0xC0 + 8 * ARITHMETIC.index(name[:-1]) + i:02X}"
    source, target = (int(k[2:]) for k in kinds)
    base = 0xC0 + 8 * ARITHMETIC.index(name)
    return f"D8{base + source:02X}" if target == 0 else f"DC{base + target:02X}"


def float_of(item: Item) -> float:
    """The number as the recording program had it in memory."""
    return float(struct.unpack("<f" if item.type == "ps" else "<d", item.data)[0])


def same_real(m: Fpu, item: Item, row: Row) -> bool:
    value = m.st(int(item.kind[2:]))
    # Two rows of this one give the sum with the wrong sign; the program they come from compares twelve bits.
    loose = row.mnemonic == "fisubrl" and item.type == "ps"
    return value is not None and close(number(value), item.text, 1.5 * 2**-12 if loose else 1e-6)


@pytest.mark.parametrize("row", skip_without(rows("insn_fpu")), ids=str)
def test_an_x87_row_recorded_on_a_processor_holds(row: Row) -> None:
    m = Fpu()
    m.load(*[0.0] * 7)
    for item in row.inputs + row.operands:
        if item.kind[:2] == "st":
            m.set_st(int(item.kind[2:]), real(float_of(item)))
        elif item.kind == "fpucw":
            mask, bits = item.numbers
            m.state.fctrl = (m.state.fctrl & ~mask) | bits
        else:
            m.poke(item.data)
    m.run(x87_code(row))
    for item in row.results:
        if item.kind[:2] == "st":
            assert same_real(m, item, row), (row.text, m.st(int(item.kind[2:])))
        elif item.kind == "fpusw":
            mask, bits = item.numbers
            assert m.state.fstat & mask == bits, row.text
        elif item.kind == "eflags":
            mask, bits = item.numbers
            assert eflags(m.state) & mask == bits, row.text
        else:
            assert m.peek(len(item.data)) == item.data, row.text


def place(code: str, memory: bool) -> str:
    """The kind of operand that a code of an MMX form takes, as the rows name it."""
    if code[0] in "QEM" and memory:
        return "m"
    return {"P": "mm", "Q": "mm", "N": "mm", "G": "r32", "E": "r32", "I": "imm8"}[code[0]]


def mmx_code(row: Row) -> str:
    """The bytes of an MMX row: register operands are numbered by their place in the row."""
    kinds = ["m" if o.kind in ("m32", "m64") else o.kind for o in reversed(row.operands)]
    for form in tables().forms:
        if form.mnemonic != row.mnemonic or form.entry.chapter != "mmx":
            continue
        if [place(c, form.mem == 1) for c in form.codes] != kinds:
            continue
        modrm, tail = 0xC0 | max(form.digit, 0) << 3, ""
        for n, code in enumerate(reversed(form.codes)):
            if code[0] in "PG":
                modrm |= n << 3
            elif code[0] == "I":
                tail = f"{row.operands[n].numbers[0]:02X}"
            elif form.mem == 1:
                modrm, tail = modrm & 0x38 | 5, "mem"
            else:
                modrm |= n
        if form.mem == 1 and "I" in [c[0] for c in form.codes]:
            tail += f"{row.operands[0].numbers[0]:02X}"
        return f"0F{form.opcode:02X}{modrm:02X}{tail}"
    raise LookupError(row.text)


MMX_ROWS = [r for r in rows("insn_mmx") + rows("insn_mmxext") if r.mnemonic != "sfence"]


@pytest.mark.parametrize("row", skip_without(MMX_ROWS), ids=str)
def test_an_mmx_row_recorded_on_a_processor_holds(row: Row) -> None:
    m = Fpu()
    for n, item in enumerate(row.operands):
        if item.kind == "mm":
            m.state.fpr_sig[n] = item.value
        elif item.kind == "r32":
            m.state.gpr[n] = item.value
        elif item.kind != "imm8":
            m.poke(item.data)
    m.run(mmx_code(row))
    for item in row.results:
        n = int(item.kind)
        kind = row.operands[n].kind
        if kind == "mm":
            got = int(m.state.fpr_sig[n])
        elif kind == "r32":
            got = int(m.state.gpr[n])
        else:
            got = int.from_bytes(m.peek(len(item.data)), "little")
        assert got == item.value, (row.text, hex(got))
