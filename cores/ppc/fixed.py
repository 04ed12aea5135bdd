"""Fixed-point arithmetic, compare, logic, rotate and shift, SPR moves (Book I, 3.3.9 to 3.3.17)."""

from __future__ import annotations

from typing import Any

from ..lang.trace import Operand, RegisterLocation, Val, any_of, const, select, value
from . import state as S
from .externs import trap
from .forms import XO, CrField, D, M, X, insn, table

Op = Any
CA = RegisterLocation(S.XER_CA)
SO = RegisterLocation(S.XER_SO)
OV = RegisterLocation(S.XER_OV)


def record(result: Val, field: int = 0) -> None:
    """CR0 from a result: its sign, zero, and a copy of SO (Book I, 2.3.1)."""
    lt = result.sign()
    eq = result == 0
    CrField(field).set(_cr4(lt, eq))


def _cr4(lt: Val, eq: Val) -> Val:
    """LT, GT, EQ, SO, of which one of the first three is set."""
    return select(lt, const(8, 4), select(eq, const(2, 4), const(4, 4))) | SO.read().zext(4)


def overflow(cond: Operand) -> None:
    """OV, and SO, which stays once set."""
    v = value(cond, 1)
    OV.set(v)
    SO.set(SO.read() | v)


def add_with_carry(a: Val, b: Val, carry: Operand) -> tuple[Val, Val]:
    """Sum and carry out of 32 bits."""
    wide = a.zext(33) + b.zext(33) + value(carry, 1).zext(33)
    return wide.low(32), wide.bit(32)


def signed_overflow(a: Val, b: Val, total: Val) -> Val:
    """Whether the sum of a and b does not fit 32 signed bits."""
    return ((a ^ total) & (b ^ total)).sign()


def _finish(rt: Op, a: Val, b: Val, total: Val, oe: int, rc: int) -> None:
    rt.set(total)
    if oe:
        overflow(signed_overflow(a, b, total))
    if rc:
        record(total)


@insn("addi rt, ra0, si", D(14), see="3.3.9")
def addi(rt: Op, ra0: Op, si: Op) -> None:
    """Add Immediate; with RA 0 it loads the immediate."""
    rt.set(ra0.read() + si.read())


@insn("addis rt, ra0, si", D(15), see="3.3.9")
def addis(rt: Op, ra0: Op, si: Op) -> None:
    """Add Immediate Shifted: the immediate goes to the upper half."""
    rt.set(ra0.read() + (si.read() << 16))


@table("{name} rt, ra, si", {"addic": D(12), "addic.": D(13)}, see="3.3.9")
def addic(rt: Op, ra: Op, si: Op, *, name: str) -> None:
    """Add Immediate Carrying; the form with a dot records."""
    total, carry = add_with_carry(ra.read(), si.read(), 0)
    rt.set(total)
    CA.set(carry)
    if name == "addic.":
        record(total)


@insn("subfic rt, ra, si", D(8), see="3.3.9")
def subfic(rt: Op, ra: Op, si: Op) -> None:
    """Subtract From Immediate Carrying."""
    total, carry = add_with_carry(~ra.read(), si.read(), 1)
    rt.set(total)
    CA.set(carry)


@table("{name}[o][.] rt, ra, rb", {"add": XO(31, 266), "subf": XO(31, 40)}, see="3.3.9")
def add(rt: Op, ra: Op, rb: Op, *, name: str, oe: int, rc: int) -> None:
    """Add, or Subtract From; carry is left alone."""
    a = ra.read() if name == "add" else ~ra.read()
    b = rb.read()
    total = a + b + (name == "subf")
    _finish(rt, a, b, total, oe, rc)


@table(
    "{name}[o][.] rt, ra, rb",
    {"addc": XO(31, 10), "adde": XO(31, 138), "subfc": XO(31, 8), "subfe": XO(31, 136)},
    see="3.3.9",
)
def adde(rt: Op, ra: Op, rb: Op, *, name: str, oe: int, rc: int) -> None:
    """Add or Subtract From, Carrying or Extended: CA receives the carry, and the extended forms add it in."""
    a = ~ra.read() if name.startswith("subf") else ra.read()
    b = rb.read()
    carry_in: Operand = CA.read() if name.endswith("e") else int(name == "subfc")
    total, carry = add_with_carry(a, b, carry_in)
    CA.set(carry)
    _finish(rt, a, b, total, oe, rc)


@table(
    "{name}[o][.] rt, ra",
    {
        name: XO(31, xo).fixed(16, 5, 0)
        for name, xo in (("addme", 234), ("addze", 202), ("subfme", 232), ("subfze", 200))
    },
    see="3.3.9",
)
def addze(rt: Op, ra: Op, *, name: str, oe: int, rc: int) -> None:
    """Add or Subtract From, to Zero or Minus One Extended."""
    a = ~ra.read() if name.startswith("subf") else ra.read()
    b = const(0xFFFFFFFF if name.endswith("me") else 0, 32)
    total, carry = add_with_carry(a, b, CA.read())
    CA.set(carry)
    _finish(rt, a, b, total, oe, rc)


@insn("neg[o][.] rt, ra", XO(31, 104).fixed(16, 5, 0), see="3.3.9")
def neg(rt: Op, ra: Op, *, oe: int, rc: int) -> None:
    """Negate; the most negative number overflows."""
    a = ra.read()
    total = -a
    rt.set(total)
    if oe:
        overflow(a == 0x80000000)
    if rc:
        record(total)


@insn("mulli rt, ra, si", D(7), see="3.3.9")
def mulli(rt: Op, ra: Op, si: Op) -> None:
    """Multiply Low Immediate."""
    rt.set(ra.read() * si.read())


@insn("mullw[o][.] rt, ra, rb", XO(31, 235), see="3.3.9")
def mullw(rt: Op, ra: Op, rb: Op, *, oe: int, rc: int) -> None:
    """Multiply Low Word; overflow tells that the product needs more than 32 bits."""
    product = ra.read().sext(64) * rb.read().sext(64)
    low = product.low(32)
    rt.set(low)
    if oe:
        overflow(product != low.sext(64))
    if rc:
        record(low)


@table("{name}[.] rt, ra, rb", {"mulhw": XO(31, 75), "mulhwu": XO(31, 11)}, see="3.3.9")
def mulhw(rt: Op, ra: Op, rb: Op, *, name: str, rc: int) -> None:
    """Multiply High Word, signed or unsigned."""
    a, b = ra.read(), rb.read()
    product = a.sext(64) * b.sext(64) if name == "mulhw" else a.zext(64) * b.zext(64)
    high = product.bits(32, 32)
    rt.set(high)
    if rc:
        record(high)


@table("{name}[o][.] rt, ra, rb", {"divw": XO(31, 491), "divwu": XO(31, 459)}, see="3.3.9")
def divw(rt: Op, ra: Op, rb: Op, *, name: str, oe: int, rc: int) -> None:
    """Divide Word. By 0, or the most negative number by -1, it overflows; its quotient is undefined (sign bits)."""
    a, b = ra.read(), rb.read()
    bad = b == 0
    if name == "divw":
        bad = bad | ((a == 0x80000000) & (b == 0xFFFFFFFF))
    undefined = a.ashr(31) if name == "divw" else const(0, 32)
    quotient = select(bad, undefined, a.sdiv(b) if name == "divw" else a.udiv(b))
    rt.set(quotient)
    if oe:
        overflow(bad)
    if rc:
        record(quotient)


# --- compare and trap ------------------------------------------------------------------------------------------------


def _compare(bf: Op, a: Val, b: Val, unsigned: bool) -> None:
    lt = a < b if unsigned else a.slt(b)
    eq = a == b
    bf.set(_cr4(lt, eq))


@insn("cmpwi bf, ra, si", D(11).fixed(9, 2, 0), see="3.3.10")
def cmpi(bf: Op, ra: Op, si: Op) -> None:
    """Compare Immediate, signed."""
    _compare(bf, ra.read(), si.read(), False)


@insn("cmplwi bf, ra, ui", D(10).fixed(9, 2, 0), see="3.3.10")
def cmpli(bf: Op, ra: Op, ui: Op) -> None:
    """Compare Logical Immediate, unsigned."""
    _compare(bf, ra.read(), ui.read(), True)


@table(
    "{name} bf, ra, rb",
    {"cmpw": X(31, 0, rc=0).fixed(9, 2, 0), "cmplw": X(31, 32, rc=0).fixed(9, 2, 0)},
    see="3.3.10",
)
def cmp(bf: Op, ra: Op, rb: Op, *, name: str) -> None:
    """Compare two registers, signed or unsigned."""
    _compare(bf, ra.read(), rb.read(), name == "cmplw")


def _trap(to: Val, a: Val, b: Val) -> None:
    trap(
        any_of(
            to.bit(4) & a.slt(b),
            to.bit(3) & b.slt(a),
            to.bit(2) & (a == b),
            to.bit(1) & (a < b),
            to.bit(0) & (b < a),
        )
    )


@insn("twi to, ra, si", D(3), see="3.3.11")
def twi(to: Op, ra: Op, si: Op) -> None:
    """Trap Word Immediate where one of the chosen relations holds."""
    _trap(to.read(), ra.read(), si.read())


@insn("tw to, ra, rb", X(31, 4, rc=0), see="3.3.11")
def tw(to: Op, ra: Op, rb: Op) -> None:
    """Trap Word where one of the chosen relations holds."""
    _trap(to.read(), ra.read(), rb.read())


# --- logic -----------------------------------------------------------------------------------------------------------

_IMMEDIATE = {"andi.": 28, "andis.": 29, "ori": 24, "oris": 25, "xori": 26, "xoris": 27}


@table("{name} ra, rs, ui", {name: D(op) for name, op in _IMMEDIATE.items()}, see="3.3.13")
def logic_immediate(ra: Op, rs: Op, ui: Op, *, name: str) -> None:
    """AND, OR or XOR with an immediate, low or shifted to the upper half; the AND forms record."""
    b = ui.read()
    if name.rstrip(".").endswith("is"):
        b = b << 16
    a = rs.read()
    result = a & b if name.startswith("and") else a | b if name.startswith("or") else a ^ b
    ra.set(result)
    if name.endswith("."):
        record(result)


_LOGIC = {"and": 28, "or": 444, "xor": 316, "nand": 476, "nor": 124, "eqv": 284, "andc": 60, "orc": 412}


@table("{name}[.] ra, rs, rb", {name: X(31, xo) for name, xo in _LOGIC.items()}, see="3.3.13")
def logic(ra: Op, rs: Op, rb: Op, *, name: str, rc: int) -> None:
    """Bitwise operation on two registers."""
    a, b = rs.read(), rb.read()
    if name in ("andc", "orc"):
        b = ~b
    result = a & b if "and" in name else a | b if name in ("or", "nor", "orc") else a ^ b
    if name in ("nand", "nor", "eqv"):
        result = ~result
    ra.set(result)
    if rc:
        record(result)


@table("{name}[.] ra, rs", {"extsb": X(31, 954), "extsh": X(31, 922), "cntlzw": X(31, 26)}, see="3.3.13")
def unary(ra: Op, rs: Op, *, name: str, rc: int) -> None:
    """Extend the sign of a byte or halfword, or count leading zeros."""
    a = rs.read()
    result = a.clz() if name == "cntlzw" else a.low(8 if name == "extsb" else 16).sext(32)
    ra.set(result)
    if rc:
        record(result)


@insn("popcntb ra, rs", X(31, 122, rc=0), see="3.3.13", needs="popcntb")
def popcntb(ra: Op, rs: Op) -> None:
    """Count the ones of each byte."""
    a = rs.read()
    result = const(0, 32)
    for at in range(0, 32, 8):
        result = result | (a.bits(at, 8).popcount().zext(32) << at)
    ra.set(result)


# --- rotate and shift ------------------------------------------------------------------------------------------------


def mask(mb: Val, me: Val) -> Val:
    """Ones from bit mb to bit me, around the end where mb > me (Book I, 3.3.14)."""
    ones = const(0xFFFFFFFF, 32)
    from_mb = ones >> mb.zext(32)
    to_me = ones << (const(31, 32) - me.zext(32))
    return select(mb <= me, from_mb & to_me, from_mb | to_me)


def _rotate(ra: Op, result: Val, rc: int) -> None:
    ra.set(result)
    if rc:
        record(result)


@insn("rlwinm[.] ra, rs, sh, mb, me", M(21), see="3.3.14")
def rlwinm(ra: Op, rs: Op, sh: Op, mb: Op, me: Op, *, rc: int) -> None:
    """Rotate Left Word Immediate then AND with Mask."""
    _rotate(ra, rs.read().rotl(sh.read().zext(32)) & mask(mb.read(), me.read()), rc)


@insn("rlwnm[.] ra, rs, rb, mb, me", M(23), see="3.3.14")
def rlwnm(ra: Op, rs: Op, rb: Op, mb: Op, me: Op, *, rc: int) -> None:
    """Rotate Left Word then AND with Mask."""
    _rotate(ra, rs.read().rotl(rb.read() & 31) & mask(mb.read(), me.read()), rc)


@insn("rlwimi[.] ra, rs, sh, mb, me", M(20), see="3.3.14")
def rlwimi(ra: Op, rs: Op, sh: Op, mb: Op, me: Op, *, rc: int) -> None:
    """Rotate Left Word Immediate then Mask Insert."""
    m = mask(mb.read(), me.read())
    _rotate(ra, (rs.read().rotl(sh.read().zext(32)) & m) | (ra.read() & ~m), rc)


@table("{name}[.] ra, rs, rb", {"slw": X(31, 24), "srw": X(31, 536)}, see="3.3.14")
def shift(ra: Op, rs: Op, rb: Op, *, name: str, rc: int) -> None:
    """Shift a word; counts of 32 to 63 give 0."""
    n = rb.read() & 63
    a = rs.read()
    _rotate(ra, a << n if name == "slw" else a >> n, rc)


def _shift_right_algebraic(ra: Op, a: Val, n: Val, rc: int) -> None:
    wide = a.sext(64).ashr(n.zext(64))
    lost = a.sext(64) != (wide << n.zext(64))
    CA.set(a.sign() & lost)
    _rotate(ra, wide.low(32), rc)


@insn("sraw[.] ra, rs, rb", X(31, 792), see="3.3.14")
def sraw(ra: Op, rs: Op, rb: Op, *, rc: int) -> None:
    """Shift Right Algebraic Word; CA tells that a negative number lost ones."""
    _shift_right_algebraic(ra, rs.read(), rb.read() & 63, rc)


@insn("srawi[.] ra, rs, sh", X(31, 824), see="3.3.14")
def srawi(ra: Op, rs: Op, sh: Op, *, rc: int) -> None:
    """Shift Right Algebraic Word Immediate."""
    _shift_right_algebraic(ra, rs.read(), sh.read().zext(32), rc)


# --- condition register and XER --------------------------------------------------------------------------------------


@insn("mfcr rt", X(31, 19, rc=0), see="3.3.17")
def mfcr(rt: Op) -> None:
    """Copy CR to a register; bit 11 (mfocrf) is not looked at."""
    rt.set(RegisterLocation(S.CR).read())


@insn("mtcrf fxm, rs", X(31, 144, rc=0), see="3.3.17")
def mtcrf(fxm: Op, rs: Op) -> None:
    """Replace the chosen fields of CR; bit 11 (mtocrf) is not looked at."""
    chosen = fxm.read()
    m = const(0, 32)
    for k in range(8):
        m = m | (chosen.bit(7 - k).sext(4).zext(32) << (28 - 4 * k))
    cr = RegisterLocation(S.CR)
    cr.set((cr.read() & ~m) | (rs.read() & m))


@insn("mcrxr bf", X(31, 512, rc=0), see="3.3.17")
def mcrxr(bf: Op) -> None:
    """Move SO, OV and CA to a field of CR and clear them."""
    bf.set((SO.read().zext(4) << 3) | (OV.read().zext(4) << 2) | (CA.read().zext(4) << 1))
    SO.set(0)
    OV.set(0)
    CA.set(0)
