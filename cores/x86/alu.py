"""Arithmetic, logic, shifts and bits (SDM vol. 1, 7.3.2 to 7.3.7; vol. 2 under each mnemonic)."""

from __future__ import annotations

from typing import Any

from ..lang.trace import (
    Location,
    Val,
    any_of,
    concat,
    const,
    finish_,
    fieldvalue,
    otherwise,
    select,
    value,
    var,
    when,
)
from . import state as S
from .externs import trap_if
from .flags import AF, CF, OF, PF, SF, ZF, set_all, set_arith, set_logic, set_szp
from .forms import MemOperand, family, gpr, insn

Op = Any  # an operand location; the codes of the encodings say which


@family(name=("add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"))
@insn(
    "{name} {dst}, {src}",
    [
        "[8n+0] /r Eb,Gb", "[8n+1] /r Ev,Gv", "[8n+2] /r Gb,Eb", "[8n+3] /r Gv,Ev", "[8n+4] AL,Ib", "[8n+5] eAX,Iz",
        "80 /n Eb,Ib", "81 /n Ev,Iz", "82 /n Eb,Ib", "83 /n Ev,Ibs",
    ],
    see="vol. 2, ADD OR ADC SBB AND SUB XOR CMP",
    undefined={"or": "AF", "and": "AF", "xor": "AF"},
    lock=True,
)  # fmt: skip
def alu(dst: Op, src: Op, *, name: str) -> None:
    """Combine two operands and set the flags; CMP is SUB that keeps only the flags."""
    b = src.read()
    a = dst.read()
    w = a.width
    if name in ("or", "and", "xor"):
        result = a | b if name == "or" else a & b if name == "and" else a ^ b
        dst.set(result)
        set_logic(result)
        return
    if name in ("adc", "sbb"):
        c = CF.read()
        wide = c.zext(w)
        if name == "adc":
            result = a + b + wide
            carry = (result < a) | (c & (result == a))
        else:
            result = a - b - wide
            carry = (a < b) | (c & (a == b))
    elif name == "add":
        result = a + b
        carry = result < a
    else:
        result = a - b
        carry = a < b
    if name != "cmp":
        dst.set(result)
    set_arith(result, carry, a ^ b ^ result)


@family(name=("inc", "dec"))
@insn(
    "{name} {dst}",
    ["[40+8n]+r Zv", "FE /n Eb", "FF /n Ev"],
    see="vol. 2, INC DEC",
    lock=True,
)
def incdec(dst: Op, *, name: str) -> None:
    """Add or subtract 1; CF keeps its value."""
    a = dst.read()
    result = a + 1 if name == "inc" else a - 1
    dst.set(result)
    overflow = (a ^ result).sign() & (result.sign() if name == "inc" else a.sign())
    adjust = (a ^ result).bit(4)
    set_all(CF.read(), overflow, adjust, result)
