"""SSE: single-precision instructions, MXCSR, cache control, FXSAVE (SDM vol. 1, chapter 10; vol. 2).

The 64-bit integer instructions that came with SSE stand in `mmx.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from ..lang.trace import (
    RegisterLocation,
    Val,
    break_,
    concat,
    const,
    loop,
    procedure,
    return_,
    select,
    var,
    when,
)
from . import state as S
from .externs import FLOAT, mem_probe_r, mem_probe_w, trap_if
from .flags import write_arith
from .forms import family, insn
from .lanes import join
from .x87 import set_control
from .xmm import (
    COMPARE,
    CR0,
    CR4,
    MXCSR,
    MXCSR_MASK,
    Op,
    aligned,
    by_halves,
    control,
    convert,
    convert_pair,
    each,
    f32x2_predicate,
    lanes32,
    load,
    mmx_mode,
    move,
    no_x87_error,
    packed_single,
    ready,
    scalar,
    set_mmx,
    settle,
    store,
)

# --- moves ---------------------------------------------------------------------------------------------------------


@insn("movups {dst}, {src}", ["NP 0F 10 /r Vps,Wps", "NP 0F 11 /r Wps,Vps"], see="vol. 2, MOVUPS", needs="sse")
def movups(dst: Op, src: Op) -> None:
    """Move 16 bytes; a memory operand need not be aligned."""
    move(dst, src, align=False)


@insn("movaps {dst}, {src}", ["NP 0F 28 /r Vps,Wps", "NP 0F 29 /r Wps,Vps"], see="vol. 2, MOVAPS", needs="sse")
def movaps(dst: Op, src: Op) -> None:
    """Move 16 bytes; a memory operand must be aligned."""
    move(dst, src)


@insn("movntps {dst}, {src}", "NP 0F 2B /r M,Vps", see="vol. 2, MOVNTPS", needs="sse")
def movntps(dst: Op, src: Op) -> None:
    """Store 16 bytes past the caches; a store like any other here."""
    move(dst, src)


@insn("movss {dst}, {src}", ["F3 0F 10 /r Vss,Wss", "F3 0F 11 /r Wss,Vss"], see="vol. 2, MOVSS", needs="sse")
def movss(dst: Op, src: Op) -> None:
    """Move a single; a load from memory clears the rest of the register, a move between registers keeps it."""
    ready()
    if src.is_memory:
        store(dst, (src.read().zext(64), 0))
    else:
        dst.set(src.read())


@insn("movlps {dst}, {src}", ["NP 0F 12 /r Vq,Mq", "NP 0F 13 /r Mq,Vq"], see="vol. 2, MOVLPS", needs="sse")
def movlps(dst: Op, src: Op) -> None:
    """Move the low two singles to or from memory."""
    ready()
    dst.set(src.read())


@insn("movhlps {dst}, {src}", "NP 0F 12 /r Vq,Uq", see="vol. 2, MOVHLPS", needs="sse")
def movhlps(dst: Op, src: Op) -> None:
    """Move the high half of a register to the low half of another."""
    ready()
    dst.lo.set(src.hi.read())


@insn("movhps {dst}, {src}", "NP 0F 16 /r Vq,Mq", see="vol. 2, MOVHPS", needs="sse")
def movhps_load(dst: Op, src: Op) -> None:
    """Load the high two singles."""
    ready()
    dst.hi.set(src.read())


@insn("movhps {dst}, {src}", "NP 0F 17 /r Mq,Vq", see="vol. 2, MOVHPS", needs="sse")
def movhps_store(dst: Op, src: Op) -> None:
    """Store the high two singles."""
    ready()
    dst.set(src.hi.read())


@insn("movlhps {dst}, {src}", "NP 0F 16 /r Vq,Uq", see="vol. 2, MOVLHPS", needs="sse")
def movlhps(dst: Op, src: Op) -> None:
    """Move the low half of a register to the high half of another."""
    ready()
    dst.hi.set(src.lo.read())


@insn("movmskps {dst}, {src}", "NP 0F 50 /r Gd,Ups", see="vol. 2, MOVMSKPS", needs="sse")
def movmskps(dst: Op, src: Op) -> None:
    """Collect the four sign bits."""
    ready()
    lo, hi = load(src)
    dst.set(concat(hi.bit(63), hi.bit(31), lo.bit(63), lo.bit(31)).zext(32))


# --- arithmetic ----------------------------------------------------------------------------------------------------


@family(name=("add", "mul"))
@insn("{name}ps {dst}, {src}", "NP 0F [58+n] /r Vps,Wps", see="vol. 2, ADDPS MULPS", needs="sse")
def add_mul_ps(dst: Op, src: Op, *, name: str) -> None:
    """Add or multiply four singles."""
    packed_single(name, dst, src)


@family(name=("sub", "min", "div", "max"))
@insn("{name}ps {dst}, {src}", "NP 0F [5C+n] /r Vps,Wps", see="vol. 2, SUBPS MINPS DIVPS MAXPS", needs="sse")
def sub_min_div_max_ps(dst: Op, src: Op, *, name: str) -> None:
    """Subtract, divide or select four singles; MIN and MAX give the source if a NaN or two zeros meet."""
    packed_single(name, dst, src)


@family(name=("add", "mul"))
@insn("{name}ss {dst}, {src}", "F3 0F [58+n] /r Vss,Wss", see="vol. 2, ADDSS MULSS", needs="sse")
def add_mul_ss(dst: Op, src: Op, *, name: str) -> None:
    """Add or multiply the low single."""
    scalar(name, dst, src)


@family(name=("sub", "min", "div", "max"))
@insn("{name}ss {dst}, {src}", "F3 0F [5C+n] /r Vss,Wss", see="vol. 2, SUBSS MINSS DIVSS MAXSS", needs="sse")
def sub_min_div_max_ss(dst: Op, src: Op, *, name: str) -> None:
    """Subtract, divide or select the low single."""
    scalar(name, dst, src)


@insn("sqrtps {dst}, {src}", "NP 0F 51 /r Vps,Wps", see="vol. 2, SQRTPS", needs="sse")
def sqrtps(dst: Op, src: Op) -> None:
    """Square roots of four singles."""
    ready()
    store(dst, convert_pair("sqrt", load(src)))


@insn("sqrtss {dst}, {src}", "F3 0F 51 /r Vss,Wss", see="vol. 2, SQRTSS", needs="sse")
def sqrtss(dst: Op, src: Op) -> None:
    """Square root of the low single."""
    ready()
    dst.set(convert("fx_f32_sqrt", src.read()))


# To nearest, denormals and tiny results as zeros, everything masked.
_APPROXIMATE = 0x60
_ONE = 0x3F800000


@procedure(32, results=(32,))
def f32_rcp(x: Val) -> None:
    """A reciprocal for RCPPS and RCPSS: the rounded quotient, which is within their error of 1.5 * 2**-12."""
    result, _ = FLOAT["fx_f32_div"](const(_ONE, 32), x, const(_APPROXIMATE, 32))
    return_(result)


@procedure(32, results=(32,))
def f32_rsqrt(x: Val) -> None:
    """A reciprocal square root for RSQRTPS and RSQRTSS, rounded twice."""
    root, _ = FLOAT["fx_f32_sqrt"](x, const(_APPROXIMATE, 32))
    result, _ = FLOAT["fx_f32_div"](const(_ONE, 32), root, const(_APPROXIMATE, 32))
    return_(result)


_APPROXIMATION = {"rsqrt": f32_rsqrt, "rcp": f32_rcp}


@family(name=("rsqrt", "rcp"))
@insn("{name}ps {dst}, {src}", "NP 0F [52+n] /r Vps,Wps", see="vol. 2, RSQRTPS RCPPS", needs="sse")
def rcpps(dst: Op, src: Op, *, name: str) -> None:
    """Approximate reciprocals or reciprocal square roots of four singles; no exceptions, MXCSR does not matter."""
    ready()
    lo, hi = load(src)
    f = _APPROXIMATION[name]
    store(
        dst,
        (concat(f(lo.bits(32, 32)), f(lo.low(32))), concat(f(hi.bits(32, 32)), f(hi.low(32)))),
    )


@family(name=("rsqrt", "rcp"))
@insn("{name}ss {dst}, {src}", "F3 0F [52+n] /r Vss,Wss", see="vol. 2, RSQRTSS RCPSS", needs="sse")
def rcpss(dst: Op, src: Op, *, name: str) -> None:
    """Approximate reciprocal or reciprocal square root of the low single."""
    ready()
    dst.set(_APPROXIMATION[name](src.read()))


# --- logic, shuffles -----------------------------------------------------------------------------------------------


@family(name=("and", "andn", "or", "xor"))
@insn("{name}ps {dst}, {src}", "NP 0F [54+n] /r Vps,Wps", see="vol. 2, ANDPS ANDNPS ORPS XORPS", needs="sse")
def logic_ps(dst: Op, src: Op, *, name: str) -> None:
    """Combine 128 bits; ANDN complements the destination first."""
    by_halves(dst, src, LOGIC[name])


LOGIC: dict[str, Callable[[Val, Val], Val]] = {
    "and": lambda a, b: a & b,
    "andn": lambda a, b: ~a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
}


@insn("shufps {dst}, {src}, {order}", "NP 0F C6 /r Vps,Wps,Ib", see="vol. 2, SHUFPS", needs="sse")
def shufps(dst: Op, src: Op, order: Op) -> None:
    """Two singles of the destination below two of the source, each chosen by two bits of the immediate."""
    ready()
    b = load(src)
    a = load(dst)
    store(dst, (concat(pick(a, order, 1), pick(a, order, 0)), concat(pick(b, order, 3), pick(b, order, 2))))


def pick(halves: tuple[Val, Val], order: Op, n: int) -> Val:
    """The 32-bit lane named by the n-th pair of bits of an immediate."""
    half = select(order.bit(2 * n + 1), halves[1], halves[0])
    return select(order.bit(2 * n), half.bits(32, 32), half.low(32))


@insn("unpcklps {dst}, {src}", "NP 0F 14 /r Vps,Wps", see="vol. 2, UNPCKLPS", needs="sse")
def unpcklps(dst: Op, src: Op) -> None:
    """Interleave the low halves."""
    ready()
    b, _ = load(src)
    a = dst.lo.read()
    store(dst, (concat(b.low(32), a.low(32)), concat(b.bits(32, 32), a.bits(32, 32))))


@insn("unpckhps {dst}, {src}", "NP 0F 15 /r Vps,Wps", see="vol. 2, UNPCKHPS", needs="sse")
def unpckhps(dst: Op, src: Op) -> None:
    """Interleave the high halves."""
    ready()
    _, b = load(src)
    a = dst.hi.read()
    store(dst, (concat(b.low(32), a.low(32)), concat(b.bits(32, 32), a.bits(32, 32))))


# --- comparison ----------------------------------------------------------------------------------------------------


@insn("cmpps {dst}, {src}, {predicate}", "NP 0F C2 /r Vps,Wps,Ib", see="vol. 2, CMPPS", needs="sse")
def cmpps(dst: Op, src: Op, predicate: Op) -> None:
    """Compare four singles; all ones where the predicate holds (0-7: EQ LT LE UNORD NEQ NLT NLE ORD)."""
    ready()
    lo, hi = load(src)
    ctl = control()
    a, f0 = f32x2_predicate(dst.lo, lo, predicate, ctl)
    b, f1 = f32x2_predicate(dst.hi, hi, predicate, ctl)
    settle(f0 | f1)
    store(dst, (a, b))


@insn("cmpss {dst}, {src}, {predicate}", "F3 0F C2 /r Vss,Wss,Ib", see="vol. 2, CMPSS", needs="sse")
def cmpss(dst: Op, src: Op, predicate: Op) -> None:
    """Compare the low single."""
    ready()
    result, flags = COMPARE[32](dst, src, predicate, control())
    settle(flags)
    dst.set(result)


@family(name=("ucomiss", "comiss"), compare=("compare_quiet", "compare"))
@insn("{name} {dst}, {src}", "NP 0F [2E+n] /r Vss,Wss", see="vol. 2, UCOMISS COMISS", needs="sse")
def comiss(dst: Op, src: Op, *, compare: str) -> None:
    """Compare the low singles into ZF, PF and CF and clear OF, SF and AF; only COMISS finds a quiet NaN invalid."""
    ready()
    write_arith(convert_compare(f"fx_f32_{compare}", dst, src))


def convert_compare(name: str, dst: Op, src: Op) -> Val:
    """A comparison as EFLAGS bits, with its exceptions delivered."""
    b = src.read()
    relation, flags = FLOAT[name](dst, b, control())
    settle(flags)
    result: Val = relation
    return result


# --- conversions ---------------------------------------------------------------------------------------------------


@insn("cvtsi2ss {dst}, {src}", "F3 0F 2A /r Vss,Ed", see="vol. 2, CVTSI2SS", needs="sse")
def cvtsi2ss(dst: Op, src: Op) -> None:
    """Convert a signed doubleword to a single."""
    ready()
    dst.set(convert("fx_i32_to_f32", src.read()))


@insn("cvtpi2ps {dst}, {src}", "NP 0F 2A /r Vps,Qq", see="vol. 2, CVTPI2PS", needs="sse")
def cvtpi2ps(dst: Op, src: Op) -> None:
    """Convert two signed doublewords to the low two singles and turn the x87 to MMX."""
    ready()
    no_x87_error()
    result = join(each("fx_i32_to_f32", lanes32(src.read())))
    mmx_mode()
    dst.lo.set(result)


@family(name=("cvttps2pi", "cvtps2pi"), how=("_trunc", ""))
@insn("{name} {dst}, {src}", "NP 0F [2C+n] /r Pq,Wq", see="vol. 2, CVTTPS2PI CVTPS2PI", needs="sse")
def cvtps2pi(dst: Op, src: Op, *, how: str) -> None:
    """Convert two singles to signed doublewords in an MMX register, truncating (CVTT) or as MXCSR says."""
    ready()
    no_x87_error()
    set_mmx(dst, join(each(f"fx_f32_to_i32{how}", lanes32(src.read()))))


@family(name=("cvttss2si", "cvtss2si"), how=("_trunc", ""))
@insn("{name} {dst}, {src}", "F3 0F [2C+n] /r Gd,Wss", see="vol. 2, CVTTSS2SI CVTSS2SI", needs="sse")
def cvtss2si(dst: Op, src: Op, *, how: str) -> None:
    """Convert a single to a signed doubleword, truncating (CVTT) or as MXCSR says; 80000000H if it does not fit."""
    ready()
    dst.set(convert(f"fx_f32_to_i32{how}", src.read()))


# --- state and caches ----------------------------------------------------------------------------------------------


@insn("ldmxcsr {src}", "NP 0F AE /2 Md", see="vol. 2, LDMXCSR", needs="sse")
def ldmxcsr(src: Op) -> None:
    """Load MXCSR; a reserved bit gives #GP."""
    ready()
    new = src.read()
    trap_if((new & ~MXCSR_MASK) != 0, S.GP)
    MXCSR.set(new)


@insn("stmxcsr {dst}", "NP 0F AE /3 Md", see="vol. 2, STMXCSR", needs="sse")
def stmxcsr(dst: Op) -> None:
    """Store MXCSR."""
    ready()
    dst.set(MXCSR.read())


@family(name=("prefetchnta", "prefetcht0", "prefetcht1", "prefetcht2"))
@insn("{name} {src}", "0F 18 /n M", see="vol. 2, PREFETCHh", needs="sse")
def prefetch(src: Op) -> None:
    """A hint; it never faults and does nothing here."""


@insn("sfence", "NP 0F AE /7 reg", see="vol. 2, SFENCE", needs="sse")
def sfence() -> None:
    """Order stores; they are in order here."""


def _available() -> None:
    trap_if((CR0.read() & (1 << S.CR0_EM | 1 << S.CR0_TS)) != 0, S.NM)


# Offsets in the area (SDM vol. 1, table 10-2).
_MXCSR_AT, _ST_AT, _XMM_AT, _AREA = 24, 32, 160, 512


@insn("fxsave {dst}", "NP 0F AE /0 M", see="vol. 2, FXSAVE", needs="fxsr")
def fxsave(dst: Op) -> None:
    """Save x87, MMX and SSE state to 512 bytes; XMM registers and MXCSR only if CR4.OSFXSR is set."""
    _available()
    aligned(dst)
    mem_probe_w(dst.seg, dst.offset, _AREA)
    fstat = RegisterLocation(S.FSTAT).read()
    dst.at(0, 64).set(
        concat(RegisterLocation(S.FOP), RegisterLocation(S.FTAG).read().zext(16), fstat, RegisterLocation(S.FCTRL))
    )
    dst.at(8, 64).set(concat(RegisterLocation(S.FCS), RegisterLocation(S.FIP)).zext(64))
    dst.at(16, 64).set(concat(RegisterLocation(S.FDS), RegisterLocation(S.FDP)).zext(64))
    top = fstat.bits(11, 3).zext(8)
    k = var(8, 0, "k")
    with loop():
        place = k.read().zext(32) << 4
        physical = (top + k) & 7
        dst.at(place + _ST_AT, 64).set(RegisterLocation(S.FPR_SIG, physical))
        dst.at(place + (_ST_AT + 8), 64).set(RegisterLocation(S.FPR_SE, physical).read().zext(64))
        k.set(k.read() + 1)
        with when(k.read() == 8):
            break_()
    with when(CR4.read().bit(S.CR4_OSFXSR)):
        dst.at(_MXCSR_AT, 64).set(concat(const(MXCSR_MASK, 32), MXCSR))
        k.set(0)
        with loop():
            place = k.read().zext(32) << 4
            dst.at(place + _XMM_AT, 64).set(RegisterLocation(S.XMM_LO, k))
            dst.at(place + (_XMM_AT + 8), 64).set(RegisterLocation(S.XMM_HI, k))
            k.set(k.read() + 1)
            with when(k.read() == 8):
                break_()


@insn("fxrstor {src}", "NP 0F AE /1 M", see="vol. 2, FXRSTOR", needs="fxsr")
def fxrstor(src: Op) -> None:
    """Restore what FXSAVE saved; a reserved bit of MXCSR gives #GP and changes nothing."""
    _available()
    aligned(src)
    mem_probe_r(src.seg, src.offset, _AREA)
    with when(CR4.read().bit(S.CR4_OSFXSR)):
        mxcsr = src.at(_MXCSR_AT, 32).read()
        trap_if((mxcsr & ~MXCSR_MASK) != 0, S.GP)
        MXCSR.set(mxcsr)
        k = var(8, 0, "k")
        with loop():
            place = k.read().zext(32) << 4
            RegisterLocation(S.XMM_LO, k).set(src.at(place + _XMM_AT, 64))
            RegisterLocation(S.XMM_HI, k).set(src.at(place + (_XMM_AT + 8), 64))
            k.set(k.read() + 1)
            with when(k.read() == 8):
                break_()
    head = src.at(0, 64).read()
    set_control(head.low(16), head.bits(16, 16))
    RegisterLocation(S.FTAG).set(head.bits(32, 8))
    RegisterLocation(S.FOP).set(head.bits(48, 16) & 0x7FF)
    at = src.at(8, 64).read()
    RegisterLocation(S.FIP).set(at.low(32))
    RegisterLocation(S.FCS).set(at.bits(32, 16))
    operand = src.at(16, 64).read()
    RegisterLocation(S.FDP).set(operand.low(32))
    RegisterLocation(S.FDS).set(operand.bits(32, 16))
    top = head.bits(16 + 11, 3).zext(8)
    n = var(8, 0, "n")
    with loop():
        place = n.read().zext(32) << 4
        physical = (top + n) & 7
        RegisterLocation(S.FPR_SIG, physical).set(src.at(place + _ST_AT, 64))
        RegisterLocation(S.FPR_SE, physical).set(src.at(place + (_ST_AT + 8), 16))
        n.set(n.read() + 1)
        with when(n.read() == 8):
            break_()
