"""Arithmetic, logic, shifts and bits (SDM vol. 1, 7.3.2 to 7.3.7; vol. 2 under each mnemonic)."""

from __future__ import annotations

from typing import Any

from ..lang.trace import Val, const, finish_, otherwise, select, when
from . import state as S
from .externs import trap_if
from .flags import (
    AF,
    CF,
    CONDITIONS,
    ZF,
    condition,
    set_all,
    set_arith,
    set_carry_overflow,
    set_logic,
)
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
@insn("{name} {dst}", ["[40+8n]+r Zv", "FE /n Eb", "FF /n Ev"], see="vol. 2, INC DEC", lock=True)
def incdec(dst: Op, *, name: str) -> None:
    """Add or subtract 1; CF keeps its value."""
    a = dst.read()
    result = a + 1 if name == "inc" else a - 1
    dst.set(result)
    limit = 1 << (a.width - 1)
    overflow = result == limit if name == "inc" else a == limit
    set_all(CF.read(), overflow, (a ^ result).bit(4), result)


@insn("not {dst}", ["F6 /2 Eb", "F7 /2 Ev"], see="vol. 2, NOT", lock=True)
def not_(dst: Op) -> None:
    """Invert every bit; no flags."""
    dst.set(~dst.read())


@insn("neg {dst}", ["F6 /3 Eb", "F7 /3 Ev"], see="vol. 2, NEG", lock=True)
def neg(dst: Op) -> None:
    """Two's complement; CF tells whether the operand was not zero."""
    a = dst.read()
    result = -a
    dst.set(result)
    set_arith(result, a != 0, a ^ result)


@insn(
    "test {dst}, {src}",
    ["84 /r Eb,Gb", "85 /r Ev,Gv", "A8 AL,Ib", "A9 eAX,Iz", "F6 /0 Eb,Ib", "F7 /0 Ev,Iz", "F6 /1 Eb,Ib", "F7 /1 Ev,Iz"],
    see="vol. 2, TEST",
    undefined="AF",
)
def test(dst: Op, src: Op) -> None:
    """AND that keeps only the flags. /1 is an alias of /0 on the silicon."""
    set_logic(dst.read() & src.read())


@family(name=("mul", "imul"))
@insn("{name} {src}", ["F6 /[4+n] Eb", "F7 /[4+n] Ev"], see="vol. 2, MUL IMUL", undefined="SF ZF AF PF")
def mul(src: Op, *, name: str) -> None:
    """Multiply the accumulator into the double-width accumulator; CF and OF tell that the upper half matters."""
    b = src.read()
    w = b.width
    a = gpr(S.EAX, w).read()
    signed = name == "imul"
    product = a.sext(2 * w) * b.sext(2 * w) if signed else a.zext(2 * w) * b.zext(2 * w)
    low = product.low(w)
    if w == 8:
        gpr(S.EAX, 16).set(product)
    else:
        gpr(S.EAX, w).set(low)
        gpr(S.EDX, w).set(product.bits(w, w))
    wide = product != low.sext(2 * w) if signed else product.bits(w, w) != 0
    set_all(wide, wide, 0, low)


@insn(
    "imul {dst}, {src}",
    ["0F AF /r Gv,Ev"],
    see="vol. 2, IMUL",
    undefined="SF ZF AF PF",
)
def imul2(dst: Op, src: Op) -> None:
    """Signed product, cut to the operand size; CF and OF tell that bits were lost."""
    _imul(dst, dst.read(), src.read())


@insn("imul {dst}, {src}, {imm}", ["69 /r Gv,Ev,Iz", "6B /r Gv,Ev,Ibs"], see="vol. 2, IMUL", undefined="SF ZF AF PF")
def imul3(dst: Op, src: Op, imm: Op) -> None:
    """Signed product with an immediate, cut to the operand size."""
    _imul(dst, src.read(), imm.read())


def _imul(dst: Op, a: Val, b: Val) -> None:
    w = a.width
    product = a.sext(2 * w) * b.sext(2 * w)
    low = product.low(w)
    dst.set(low)
    wide = product != low.sext(2 * w)
    set_all(wide, wide, 0, low)


@family(name=("div", "idiv"))
@insn("{name} {src}", ["F6 /[6+n] Eb", "F7 /[6+n] Ev"], see="vol. 2, DIV IDIV", undefined="CF OF SF ZF AF PF")
def div(src: Op, *, name: str) -> None:
    """Divide the double-width accumulator; #DE for a divisor of 0 or a quotient that does not fit."""
    d = src.read()
    w = d.width
    trap_if(d == 0, S.DE)
    low = gpr(S.EAX, w).read()
    if w == 8:
        dividend = gpr(S.EAX, 16).read()
    else:
        dividend = (gpr(S.EDX, w).read().zext(2 * w) << w) | low.zext(2 * w)
    if name == "div":
        wide = d.zext(2 * w)
        q, r = dividend.udiv(wide), dividend.urem(wide)
        trap_if(q.bits(w, w) != 0, S.DE)
    else:
        wide = d.sext(2 * w)
        q, r = dividend.sdiv(wide), dividend.srem(wide)
        trap_if(q != q.low(w).sext(2 * w), S.DE)
    if w == 8:
        gpr(S.EAX, 16).set((r.low(8).zext(16) << 8) | q.low(8).zext(16))
    else:
        gpr(S.EAX, w).set(q.low(w))
        gpr(S.EDX, w).set(r.low(w))


_COUNTS = ["C0 /n Eb,Ib", "C1 /n Ev,Ib", "D0 /n Eb,1", "D1 /n Ev,1", "D2 /n Eb,CL", "D3 /n Ev,CL"]


# A shift sets AF to anything, a rotate leaves it alone.
_LEFT_OPEN = {
    **dict.fromkeys(("rol", "ror", "rcl", "rcr"), "OF"),
    **dict.fromkeys(("shl", "shr", "sal", "sar"), "AF OF"),
}


@family(name=("rol", "ror", "rcl", "rcr", "shl", "shr", "sal", "sar"))
@insn("{name} {dst}, {count}", _COUNTS, see="vol. 2, RCL RCR ROL ROR SAL SAR SHL SHR", undefined=_LEFT_OPEN)
def shift(dst: Op, count: Op, *, name: str) -> None:
    """Shift or rotate by count modulo 32. A count of 0 changes no flag; OF is defined for a count of 1."""
    a = dst.read()
    w = a.width
    c8 = count.read() & 31
    if c8.constant is not None:
        _shift_by(dst, a, w, c8, name)
        return
    if isinstance(dst, MemOperand):
        # The silicon writes back even for a count of 0.
        with when(c8 == 0):
            dst.set(a)
            finish_()
    else:
        with when(c8 == 0):
            finish_()
    _shift_by(dst, a, w, c8, name)


def _shift_by(dst: Op, a: Val, w: int, c8: Val, name: str) -> None:
    if name in ("shl", "sal"):
        wide = a.zext(64) << c8.zext(64)
        result, carry = wide.low(w), wide.bit(w)
        dst.set(result)
        set_all(carry, result.sign() ^ carry, 0, result)
    elif name in ("shr", "sar"):
        c = c8.zext(64)
        wide = (a.sext(64) if name == "sar" else a.zext(64)) << 1
        moved = wide.ashr(c) if name == "sar" else wide >> c
        result, carry = moved.bits(1, w), moved.bit(0)
        dst.set(result)
        overflow = const(0, 1) if name == "sar" else result.sign() ^ result.bit(w - 2)
        set_all(carry, overflow, 0, result)
    elif name in ("rol", "ror"):
        n = c8.low(8) & (w - 1)
        count = n.zext(w) if w >= 8 else n
        result = a.rotl(count) if name == "rol" else a.rotl(const(0, w) - count)
        dst.set(result)
        carry = result.bit(0) if name == "rol" else result.sign()
        set_carry_overflow(carry, result.sign() ^ (carry if name == "rol" else result.bit(w - 2)))
    else:
        _rotate_through_carry(dst, a, w, c8, name)


def _rotate_through_carry(dst: Op, a: Val, w: int, c8: Val, name: str) -> None:
    n = c8.urem(w + 1) if w < 32 else c8
    c = n.zext(64)
    carry_in = CF.read()
    # w + 1 bits: the carry stands above the operand.
    ring = (carry_in.zext(64) << w) | a.zext(64)
    back = const(w + 1, 64) - c
    turned = (ring << c) | (ring >> back) if name == "rcl" else (ring >> c) | (ring << back)
    result, carry = turned.low(w), turned.bit(w)
    dst.set(result)
    set_carry_overflow(carry, result.sign() ^ (carry if name == "rcl" else result.bit(w - 2)))


@family(name=("shld", "shrd"))
@insn(
    "{name} {dst}, {src}, {count}",
    ["0F [A4+8n] /r Ev,Gv,Ib", "0F [A5+8n] /r Ev,Gv,CL"],
    see="vol. 2, SHLD SHRD",
    undefined="AF OF",
)
def double_shift(dst: Op, src: Op, count: Op, *, name: str) -> None:
    """Shift in bits of a second register. A 16-bit operand with a count above 16 rotates the joined operands on."""
    b = src.read()
    a = dst.read()
    w = a.width
    c8 = count.read() & 31
    with when(c8 == 0):
        if isinstance(dst, MemOperand):
            dst.set(a)
        finish_()
    if w == 16:
        # dst:src:dst for left, dst:src:dst read from the other end for right: what the P6 shows for counts above 16.
        if name == "shld":
            triple = (a.zext(64) << 32) | (b.zext(64) << 16) | a.zext(64)
            moved = triple << c8.zext(64)
            result, carry = moved.bits(32, 16), moved.bit(48)
        else:
            triple = (a.zext(64) << 33) | (b.zext(64) << 17) | (a.zext(64) << 1)
            moved = triple >> c8.zext(64)
            result, carry = moved.bits(1, 16), moved.bit(0)
    elif name == "shld":
        joined = (a.zext(64) << 32) | b.zext(64)
        result = (joined << c8.zext(64)).bits(32, 32)
        carry = (joined << (c8.zext(64) - 1)).bit(63)
    else:
        joined = (b.zext(64) << 32) | a.zext(64)
        result = (joined >> c8.zext(64)).low(32)
        carry = (joined >> (c8.zext(64) - 1)).bit(0)
    dst.set(result)
    set_all(carry, (result ^ a).sign(), 0, result)


@family(name=("bt", "bts", "btr", "btc"))
@insn(
    "{name} {dst}, {bit}",
    ["0F [A3+8n] /r Ev,Gv", "0F BA /[4+n] Ev,Ib"],
    see="vol. 2, BT BTS BTR BTC",
    undefined="OF SF AF PF",
    lock=True,
)
def bit_test(dst: Op, bit: Op, *, name: str) -> None:
    """Copy a bit to CF, then set, reset or complement it. A register bit offset reaches beyond a memory operand."""
    index = bit.read()
    w = dst.width
    place = dst
    if isinstance(dst, MemOperand) and index.width == w:
        reach = index.sext(32).ashr(5 if w == 32 else 4) << (2 if w == 32 else 1)
        dst.redirect(reach)
    if index.width != w:
        index = index.zext(w)
    n = index & (w - 1)
    a = place.read()
    found = (a >> n).bit(0)
    if name != "bt":
        one = const(1, w) << n
        place.set(a | one if name == "bts" else a & ~one if name == "btr" else a ^ one)
    CF.set(found)


@family(name=("bsf", "bsr"))
@insn("{name} {dst}, {src}", ["0F [BC+n] /r Gv,Ev"], see="vol. 2, BSF BSR", undefined="CF OF SF AF PF")
def bit_scan(dst: Op, src: Op, *, name: str) -> None:
    """Number of the lowest or highest set bit; ZF and an unchanged destination for zero."""
    a = src.read()
    w = a.width
    result = a.ctz() if name == "bsf" else const(w - 1, w) - a.clz()
    with when(a != 0):
        dst.set(result)
    ZF.set(a == 0)


@family(name=("bswap",))
@insn("{name} {dst}", ["0F C8+r Zv"], see="vol. 2, BSWAP", needs="486")
def bswap(dst: Op, *, name: str) -> None:
    """Reverse the bytes. With a 16-bit operand the result is undefined; the P6 gives 0."""
    a = dst.read()
    dst.set(a.bswap() if a.width == 32 else const(0, 16))


@family(name=["set" + c for c in CONDITIONS])
@insn("{name} {dst}", ["0F [90+n] /r Eb"], see="vol. 2, SETcc")
def setcc(dst: Op, *, n: int) -> None:
    """1 where the condition holds, else 0."""
    dst.set(condition(n).zext(8))


@insn("xadd {dst}, {src}", ["0F C0 /r Eb,Gb", "0F C1 /r Ev,Gv"], see="vol. 2, XADD", needs="486", lock=True)
def xadd(dst: Op, src: Op) -> None:
    """Exchange, then add."""
    b = src.read()
    a = dst.read()
    result = a + b
    if isinstance(dst, MemOperand):
        dst.set(result)
        src.set(a)
    else:
        src.set(a)
        dst.set(result)
    set_arith(result, result < a, a ^ b ^ result)


@insn("cmpxchg {dst}, {src}", ["0F B0 /r Eb,Gb", "0F B1 /r Ev,Gv"], see="vol. 2, CMPXCHG", needs="486", lock=True)
def cmpxchg(dst: Op, src: Op) -> None:
    """Store the source if the accumulator equals the destination, else load the accumulator.

    Memory is written either way."""
    new = src.read()
    old = dst.read()
    acc = gpr(S.EAX, old.width).read()
    result = acc - old
    same = acc == old
    if isinstance(dst, MemOperand):
        dst.set(select(same, new, old))
        with when(~same):
            gpr(S.EAX, old.width).set(old)
    else:
        with when(same):
            dst.set(new)
        with otherwise():
            gpr(S.EAX, old.width).set(old)
    set_arith(result, acc < old, acc ^ old ^ result)


@insn("cmpxchg8b {dst}", ["0F C7 /1 mem Mq"], see="vol. 2, CMPXCHG8B", needs="cx8", lock=True)
def cmpxchg8b(dst: Op) -> None:
    """Compare EDX:EAX with 8 bytes; equal: store ECX:EBX and set ZF, else load EDX:EAX."""
    old = dst.read()
    expected = (gpr(S.EDX, 32).read().zext(64) << 32) | gpr(S.EAX, 32).read().zext(64)
    new = (gpr(S.ECX, 32).read().zext(64) << 32) | gpr(S.EBX, 32).read().zext(64)
    same = expected == old
    dst.set(select(same, new, old))
    with when(~same):
        gpr(S.EAX, 32).set(old.low(32))
        gpr(S.EDX, 32).set(old.bits(32, 32))
    ZF.set(same)


@insn("cbw|cwde", ["98"], see="vol. 2, CBW CWDE")
def cbw(*, osz: int) -> None:
    """Sign-extend the lower half of the accumulator into its upper half (CBW, CWDE)."""
    gpr(S.EAX, osz).set(gpr(S.EAX, osz // 2).read().sext(osz))


@insn("cwd|cdq", ["99"], see="vol. 2, CWD CDQ")
def cwd(*, osz: int) -> None:
    """Fill DX or EDX with the sign of the accumulator."""
    gpr(S.EDX, osz).set(gpr(S.EAX, osz).read().ashr(osz - 1))


# --- decimal adjustment ----------------------------------------------------------------------------------------------


@family(name=("daa", "das"))
@insn("{name}", ["[27+8n]"], see="vol. 2, DAA DAS", undefined="OF")
def daa(*, name: str) -> None:
    """Correct AL after adding or subtracting packed decimals."""
    al = gpr(S.EAX, 8)
    old, old_cf = al.read(), CF.read()
    low = ((old & 0xF) > 9) | AF.read()
    high = (old > 0x99) | old_cf
    step = select(low, const(6, 8), const(0, 8))
    total = old + step if name == "daa" else old - step
    # DAS also borrows out of the low correction.
    carry = old_cf & low if name == "daa" else (old_cf | (old < 6)) & low
    more = select(high, const(0x60, 8), const(0, 8))
    result = total + more if name == "daa" else total - more
    al.set(result)
    set_all(high | carry, 0, low, result)


@family(name=("aaa", "aas"))
@insn("{name}", ["[37+8n]"], see="vol. 2, AAA AAS", undefined="OF SF ZF PF")
def aaa(*, name: str) -> None:
    """Correct AL after adding or subtracting unpacked decimals, with the carry into AH."""
    ax = gpr(S.EAX, 16)
    old = ax.read()
    adjust = ((old & 0xF) > 9) | AF.read()
    moved = select(adjust, old + 0x106 if name == "aaa" else old - 0x106, old)
    result = moved & 0xFF0F
    ax.set(result)
    set_all(adjust, 0, adjust, result.low(8))


@insn("aam {base}", ["D4 Ib"], see="vol. 2, AAM", undefined="OF AF CF")
def aam(base: Op) -> None:
    """Split AL into AH = AL / base and AL = AL mod base; #DE for base 0."""
    b = base.read()
    trap_if(b == 0, S.DE)
    al = gpr(S.EAX, 8).read()
    low = al.urem(b)
    gpr(S.EAX, 16).set((al.udiv(b).zext(16) << 8) | low.zext(16))
    set_all(0, 0, 0, low)


@insn("aad {base}", ["D5 Ib"], see="vol. 2, AAD", undefined="OF AF CF")
def aad(base: Op) -> None:
    """Join AH * base + AL into AL, with AH = 0."""
    ax = gpr(S.EAX, 16).read()
    result = ax.low(8) + ax.bits(8, 8) * base.read()
    gpr(S.EAX, 16).set(result.zext(16))
    set_all(0, 0, 0, result)
