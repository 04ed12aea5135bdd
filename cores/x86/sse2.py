"""SSE2: double precision and 128-bit integers (SDM vol. 1, chapter 11; vol. 2 under each mnemonic)."""

from __future__ import annotations

from collections.abc import Callable

from ..lang.trace import Proc, Val, concat, const, otherwise, procedure, return_, select, when
from . import lanes as L
from .externs import MEM_W, mem_probe_r, mem_probe_w
from .flags import write_arith
from .forms import MemOperand, family, gpr, insn
from .lanes import join
from .sse import LOGIC, convert_compare, pick
from .state import EDI
from .xmm import (
    COMPARE,
    Op,
    Vector,
    by_halves,
    control,
    convert,
    convert_pair,
    each,
    lanes32,
    load,
    mmx_mode,
    mmx_ready,
    move,
    named,
    no_x87_error,
    packed_double,
    ready,
    scalar,
    set_mmx,
    settle,
    store,
)

# --- moves of doubles ----------------------------------------------------------------------------------------------


@insn("movupd {dst}, {src}", ["66 0F 10 /r Vpd,Wpd", "66 0F 11 /r Wpd,Vpd"], see="vol. 2, MOVUPD", needs="sse2")
def movupd(dst: Op, src: Op) -> None:
    """Move 16 bytes; a memory operand need not be aligned."""
    move(dst, src, align=False)


@insn("movapd {dst}, {src}", ["66 0F 28 /r Vpd,Wpd", "66 0F 29 /r Wpd,Vpd"], see="vol. 2, MOVAPD", needs="sse2")
def movapd(dst: Op, src: Op) -> None:
    """Move 16 bytes; a memory operand must be aligned."""
    move(dst, src)


@insn("movntpd {dst}, {src}", "66 0F 2B /r M,Vpd", see="vol. 2, MOVNTPD", needs="sse2")
def movntpd(dst: Op, src: Op) -> None:
    """Store 16 bytes past the caches; a store like any other here."""
    move(dst, src)


@insn("movsd {dst}, {src}", ["F2 0F 10 /r Vsd,Wsd", "F2 0F 11 /r Wsd,Vsd"], see="vol. 2, MOVSD", needs="sse2")
def movsd(dst: Op, src: Op) -> None:
    """Move a double; a load from memory clears the high half of the register, a move between registers keeps it."""
    ready()
    if src.is_memory:
        store(dst, (src.read(), 0))
    else:
        dst.set(src.read())


@insn("movlpd {dst}, {src}", ["66 0F 12 /r Vq,Mq", "66 0F 13 /r Mq,Vq"], see="vol. 2, MOVLPD", needs="sse2")
def movlpd(dst: Op, src: Op) -> None:
    """Move the low double to or from memory."""
    ready()
    dst.set(src.read())


@insn("movhpd {dst}, {src}", "66 0F 16 /r Vq,Mq", see="vol. 2, MOVHPD", needs="sse2")
def movhpd_load(dst: Op, src: Op) -> None:
    """Load the high double."""
    ready()
    dst.hi.set(src.read())


@insn("movhpd {dst}, {src}", "66 0F 17 /r Mq,Vq", see="vol. 2, MOVHPD", needs="sse2")
def movhpd_store(dst: Op, src: Op) -> None:
    """Store the high double."""
    ready()
    dst.set(src.hi.read())


@insn("movmskpd {dst}, {src}", "66 0F 50 /r Gd,Upd", see="vol. 2, MOVMSKPD", needs="sse2")
def movmskpd(dst: Op, src: Op) -> None:
    """Collect the two sign bits."""
    ready()
    lo, hi = load(src)
    dst.set(concat(hi.sign(), lo.sign()).zext(32))


# --- arithmetic on doubles -----------------------------------------------------------------------------------------


@family(name=("add", "mul"))
@insn("{name}pd {dst}, {src}", "66 0F [58+n] /r Vpd,Wpd", see="vol. 2, ADDPD MULPD", needs="sse2")
def add_mul_pd(dst: Op, src: Op, *, name: str) -> None:
    """Add or multiply two doubles."""
    packed_double(name, dst, src)


@family(name=("sub", "min", "div", "max"))
@insn("{name}pd {dst}, {src}", "66 0F [5C+n] /r Vpd,Wpd", see="vol. 2, SUBPD MINPD DIVPD MAXPD", needs="sse2")
def sub_min_div_max_pd(dst: Op, src: Op, *, name: str) -> None:
    """Subtract, divide or select two doubles; MIN and MAX give the source if a NaN or two zeros meet."""
    packed_double(name, dst, src)


@family(name=("add", "mul"))
@insn("{name}sd {dst}, {src}", "F2 0F [58+n] /r Vsd,Wsd", see="vol. 2, ADDSD MULSD", needs="sse2")
def add_mul_sd(dst: Op, src: Op, *, name: str) -> None:
    """Add or multiply the low double."""
    scalar(name, dst, src)


@family(name=("sub", "min", "div", "max"))
@insn("{name}sd {dst}, {src}", "F2 0F [5C+n] /r Vsd,Wsd", see="vol. 2, SUBSD MINSD DIVSD MAXSD", needs="sse2")
def sub_min_div_max_sd(dst: Op, src: Op, *, name: str) -> None:
    """Subtract, divide or select the low double."""
    scalar(name, dst, src)


@insn("sqrtpd {dst}, {src}", "66 0F 51 /r Vpd,Wpd", see="vol. 2, SQRTPD", needs="sse2")
def sqrtpd(dst: Op, src: Op) -> None:
    """Square roots of two doubles."""
    ready()
    store(dst, each("fx_f64_sqrt", load(src)))


@insn("sqrtsd {dst}, {src}", "F2 0F 51 /r Vsd,Wsd", see="vol. 2, SQRTSD", needs="sse2")
def sqrtsd(dst: Op, src: Op) -> None:
    """Square root of the low double."""
    ready()
    dst.set(convert("fx_f64_sqrt", src.read()))


@family(name=("and", "andn", "or", "xor"))
@insn("{name}pd {dst}, {src}", "66 0F [54+n] /r Vpd,Wpd", see="vol. 2, ANDPD ANDNPD ORPD XORPD", needs="sse2")
def logic_pd(dst: Op, src: Op, *, name: str) -> None:
    """Combine 128 bits; ANDN complements the destination first."""
    by_halves(dst, src, LOGIC[name])


@insn("shufpd {dst}, {src}, {order}", "66 0F C6 /r Vpd,Wpd,Ib", see="vol. 2, SHUFPD", needs="sse2")
def shufpd(dst: Op, src: Op, order: Op) -> None:
    """One double of the destination below one of the source, each chosen by a bit of the immediate."""
    ready()
    lo, hi = load(src)
    store(dst, (select(order.bit(0), dst.hi, dst.lo), select(order.bit(1), hi, lo)))


@insn("unpcklpd {dst}, {src}", "66 0F 14 /r Vpd,Wpd", see="vol. 2, UNPCKLPD", needs="sse2")
def unpcklpd(dst: Op, src: Op) -> None:
    """The low doubles of destination and source."""
    ready()
    dst.hi.set(load(src)[0])


@insn("unpckhpd {dst}, {src}", "66 0F 15 /r Vpd,Wpd", see="vol. 2, UNPCKHPD", needs="sse2")
def unpckhpd(dst: Op, src: Op) -> None:
    """The high doubles of destination and source."""
    ready()
    _, high = load(src)
    store(dst, (dst.hi.read(), high))


@insn("cmppd {dst}, {src}, {predicate}", "66 0F C2 /r Vpd,Wpd,Ib", see="vol. 2, CMPPD", needs="sse2")
def cmppd(dst: Op, src: Op, predicate: Op) -> None:
    """Compare two doubles; all ones where the predicate holds (0-7: EQ LT LE UNORD NEQ NLT NLE ORD)."""
    ready()
    lo, hi = load(src)
    ctl = control()
    a, f0 = COMPARE[64](dst.lo, lo, predicate, ctl)
    b, f1 = COMPARE[64](dst.hi, hi, predicate, ctl)
    settle(f0 | f1)
    store(dst, (a, b))


@insn("cmpsd {dst}, {src}, {predicate}", "F2 0F C2 /r Vsd,Wsd,Ib", see="vol. 2, CMPSD", needs="sse2")
def cmpsd(dst: Op, src: Op, predicate: Op) -> None:
    """Compare the low double."""
    ready()
    result, flags = COMPARE[64](dst, src, predicate, control())
    settle(flags)
    dst.set(result)


@family(name=("ucomisd", "comisd"), compare=("compare_quiet", "compare"))
@insn("{name} {dst}, {src}", "66 0F [2E+n] /r Vsd,Wsd", see="vol. 2, UCOMISD COMISD", needs="sse2")
def comisd(dst: Op, src: Op, *, compare: str) -> None:
    """Compare the low doubles into ZF, PF and CF and clear OF, SF and AF; only COMISD finds a quiet NaN invalid."""
    ready()
    write_arith(convert_compare(f"fx_f64_{compare}", dst, src))


# --- conversions ---------------------------------------------------------------------------------------------------


@insn("cvtdq2ps {dst}, {src}", "NP 0F 5B /r Vps,Wdq", see="vol. 2, CVTDQ2PS", needs="sse2")
def cvtdq2ps(dst: Op, src: Op) -> None:
    """Convert four signed doublewords to singles."""
    ready()
    store(dst, convert_pair("from_i32", load(src)))


@insn("cvtps2dq {dst}, {src}", "66 0F 5B /r Vdq,Wps", see="vol. 2, CVTPS2DQ", needs="sse2")
def cvtps2dq(dst: Op, src: Op) -> None:
    """Convert four singles to signed doublewords, rounded as MXCSR says."""
    ready()
    store(dst, convert_pair("to_i32", load(src)))


@insn("cvttps2dq {dst}, {src}", "F3 0F 5B /r Vdq,Wps", see="vol. 2, CVTTPS2DQ", needs="sse2")
def cvttps2dq(dst: Op, src: Op) -> None:
    """Convert four singles to signed doublewords, truncated."""
    ready()
    store(dst, convert_pair("to_i32_trunc", load(src)))


@insn("cvtps2pd {dst}, {src}", "NP 0F 5A /r Vpd,Wq", see="vol. 2, CVTPS2PD", needs="sse2")
def cvtps2pd(dst: Op, src: Op) -> None:
    """Convert two singles to doubles."""
    ready()
    store(dst, each("fx_f32_to_f64", lanes32(src.read())))


@insn("cvtpd2ps {dst}, {src}", "66 0F 5A /r Vps,Wpd", see="vol. 2, CVTPD2PS", needs="sse2")
def cvtpd2ps(dst: Op, src: Op) -> None:
    """Convert two doubles to singles in the low half; the high half is cleared."""
    ready()
    store(dst, (join(each("fx_f64_to_f32", load(src))), 0))


@insn("cvtss2sd {dst}, {src}", "F3 0F 5A /r Vsd,Wss", see="vol. 2, CVTSS2SD", needs="sse2")
def cvtss2sd(dst: Op, src: Op) -> None:
    """Convert the low single to a double."""
    ready()
    dst.set(convert("fx_f32_to_f64", src.read()))


@insn("cvtsd2ss {dst}, {src}", "F2 0F 5A /r Vss,Wsd", see="vol. 2, CVTSD2SS", needs="sse2")
def cvtsd2ss(dst: Op, src: Op) -> None:
    """Convert the low double to a single."""
    ready()
    dst.set(convert("fx_f64_to_f32", src.read()))


@insn("cvtdq2pd {dst}, {src}", "F3 0F E6 /r Vpd,Wq", see="vol. 2, CVTDQ2PD", needs="sse2")
def cvtdq2pd(dst: Op, src: Op) -> None:
    """Convert two signed doublewords to doubles; always exact."""
    ready()
    store(dst, each("fx_i32_to_f64", lanes32(src.read())))


@insn("cvtpd2dq {dst}, {src}", "F2 0F E6 /r Vdq,Wpd", see="vol. 2, CVTPD2DQ", needs="sse2")
def cvtpd2dq(dst: Op, src: Op) -> None:
    """Convert two doubles to signed doublewords in the low half, rounded as MXCSR says; the high half is cleared."""
    ready()
    store(dst, (join(each("fx_f64_to_i32", load(src))), 0))


@insn("cvttpd2dq {dst}, {src}", "66 0F E6 /r Vdq,Wpd", see="vol. 2, CVTTPD2DQ", needs="sse2")
def cvttpd2dq(dst: Op, src: Op) -> None:
    """Convert two doubles to signed doublewords in the low half, truncated; the high half is cleared."""
    ready()
    store(dst, (join(each("fx_f64_to_i32_trunc", load(src))), 0))


@insn("cvtsi2sd {dst}, {src}", "F2 0F 2A /r Vsd,Ed", see="vol. 2, CVTSI2SD", needs="sse2")
def cvtsi2sd(dst: Op, src: Op) -> None:
    """Convert a signed doubleword to a double; always exact."""
    ready()
    dst.set(convert("fx_i32_to_f64", src.read()))


@family(name=("cvttsd2si", "cvtsd2si"), how=("_trunc", ""))
@insn("{name} {dst}, {src}", "F2 0F [2C+n] /r Gd,Wsd", see="vol. 2, CVTTSD2SI CVTSD2SI", needs="sse2")
def cvtsd2si(dst: Op, src: Op, *, how: str) -> None:
    """Convert a double to a signed doubleword, truncating (CVTT) or as MXCSR says; 80000000H if it does not fit."""
    ready()
    dst.set(convert(f"fx_f64_to_i32{how}", src.read()))


@insn("cvtpi2pd {dst}, {src}", "66 0F 2A /r Vpd,Qq", see="vol. 2, CVTPI2PD", needs="sse2")
def cvtpi2pd(dst: Op, src: Op) -> None:
    """Convert two signed doublewords to doubles; only from an MMX register does it turn the x87 to MMX."""
    ready()
    if not src.is_memory:
        no_x87_error()
    result = each("fx_i32_to_f64", lanes32(src.read()))
    if not src.is_memory:
        mmx_mode()
    store(dst, result)


@family(name=("cvttpd2pi", "cvtpd2pi"), how=("_trunc", ""))
@insn("{name} {dst}, {src}", "66 0F [2C+n] /r Pq,Wpd", see="vol. 2, CVTTPD2PI CVTPD2PI", needs="sse2")
def cvtpd2pi(dst: Op, src: Op, *, how: str) -> None:
    """Convert two doubles to signed doublewords in an MMX register, truncating (CVTT) or as MXCSR says."""
    ready()
    no_x87_error()
    set_mmx(dst, join(each(f"fx_f64_to_i32{how}", load(src))))


# --- integer moves -------------------------------------------------------------------------------------------------


@insn("movdqa {dst}, {src}", ["66 0F 6F /r Vdq,Wdq", "66 0F 7F /r Wdq,Vdq"], see="vol. 2, MOVDQA", needs="sse2")
def movdqa(dst: Op, src: Op) -> None:
    """Move 16 bytes; a memory operand must be aligned."""
    move(dst, src)


@insn("movdqu {dst}, {src}", ["F3 0F 6F /r Vdq,Wdq", "F3 0F 7F /r Wdq,Vdq"], see="vol. 2, MOVDQU", needs="sse2")
def movdqu(dst: Op, src: Op) -> None:
    """Move 16 bytes; a memory operand need not be aligned."""
    move(dst, src, align=False)


@insn("movntdq {dst}, {src}", "66 0F E7 /r M,Vdq", see="vol. 2, MOVNTDQ", needs="sse2")
def movntdq(dst: Op, src: Op) -> None:
    """Store 16 bytes past the caches; a store like any other here."""
    move(dst, src)


@insn("movnti {dst}, {src}", "NP 0F C3 /r Md,Gd", see="vol. 2, MOVNTI", needs="sse2")
def movnti(dst: Op, src: Op) -> None:
    """Store a general register past the caches; CR0 and CR4 do not matter."""
    dst.set(src.read())


@insn("movd {dst}, {src}", "66 0F 6E /r Vd,Ed", see="vol. 2, MOVD", needs="sse2")
def movd_load(dst: Op, src: Op) -> None:
    """Move a doubleword into a register and clear the rest of it."""
    ready()
    store(dst, (src.read().zext(64), 0))


@insn("movd {dst}, {src}", "66 0F 7E /r Ed,Vd", see="vol. 2, MOVD", needs="sse2")
def movd_store(dst: Op, src: Op) -> None:
    """Move the low doubleword out of a register."""
    ready()
    dst.set(src.read())


@insn("movq {dst}, {src}", ["F3 0F 7E /r Vq,Wq", "66 0F D6 /r Wq,Vq"], see="vol. 2, MOVQ", needs="sse2")
def movq(dst: Op, src: Op) -> None:
    """Move the low quadword; the high half of a destination register is cleared."""
    ready()
    if dst.is_memory:
        dst.set(src.read())
    else:
        store(dst, (src.read(), 0))


@insn("movdq2q {dst}, {src}", "F2 0F D6 /r Pq,Uq", see="vol. 2, MOVDQ2Q", needs="sse2")
def movdq2q(dst: Op, src: Op) -> None:
    """Move the low quadword to an MMX register."""
    ready()
    no_x87_error()
    set_mmx(dst, src.lo)


@insn("movq2dq {dst}, {src}", "F3 0F D6 /r Vdq,Nq", see="vol. 2, MOVQ2DQ", needs="sse2")
def movq2dq(dst: Op, src: Op) -> None:
    """Move an MMX register to the low quadword and clear the high one."""
    ready()
    no_x87_error()
    mmx_mode()
    store(dst, (src.lo.read(), 0))


@insn("pmovmskb {dst}, {src}", "66 0F D7 /r Gd,Udq", see="vol. 2, PMOVMSKB", needs="sse2")
def pmovmskb(dst: Op, src: Op) -> None:
    """Collect the sign bits of sixteen bytes."""
    ready()
    dst.set(concat(L.sign_mask(src.hi.read()), L.sign_mask(src.lo.read())).zext(32))


@insn("pextrw {dst}, {src}, {at}", "66 0F C5 /r Gd,Udq,Ib", see="vol. 2, PEXTRW", needs="sse2")
def pextrw(dst: Op, src: Op, at: Op) -> None:
    """Move one of eight words to a general register."""
    ready()
    half = select(at.bit(2), src.hi, src.lo)
    dst.set(L.extract_word(half, at.bits(0, 2).zext(64)).zext(32))


@insn("pinsrw {dst}, {src}, {at}", "66 0F C4 /r Vdq,Ew,Ib", see="vol. 2, PINSRW", needs="sse2")
def pinsrw(dst: Op, src: Op, at: Op) -> None:
    """Replace one of eight words."""
    ready()
    word = src.read()
    place = at.bits(0, 2).zext(64)
    with when(at.bit(2)):
        dst.hi.set(L.insert_word(dst.hi.read(), word, place))
    with otherwise():
        dst.lo.set(L.insert_word(dst.lo.read(), word, place))


@procedure(8, 32, 64, 64)
def sse_store_bytes(seg: Val, offset: Val, data: Val, mask: Val) -> None:
    """Store those of eight bytes whose mask byte has its top bit set."""
    for k in range(8):
        with when(mask.bit(8 * k + 7)):
            MEM_W[8](seg, offset + k, data.bits(8 * k, 8))


@insn("maskmovdqu {src}, {mask}", "66 0F F7 /r Vdq,Udq", see="vol. 2, MASKMOVDQU", needs="sse2")
def maskmovdqu(src: Op, mask: Op, *, asz: int) -> None:
    """Store the bytes whose mask byte has its top bit set at DS:EDI; the segment can be overridden."""
    ready()
    lo, hi = load(mask)
    with when(((lo | hi) & L.splat(0x80, 8)) != 0):
        m = MemOperand(8, offset=gpr(EDI, asz).read().zext(32))
        mem_probe_w(m.seg, m.offset, 16)
        sse_store_bytes(m.seg, m.offset, src.lo, lo)
        sse_store_bytes(m.seg, m.offset + 8, src.hi, hi)


# --- packed integers -----------------------------------------------------------------------------------------------


def _half(name: str, fn: Callable[..., Val], *args: int) -> Proc:
    def body(a: Val, b: Val) -> None:
        return_(fn(a, b, *args))

    doc = (fn.__doc__ or "").splitlines()[0]
    return procedure(64, 64, results=(64,))(named(f"p64_{name}", doc, body))


# Each 128-bit operation is one of these on both halves; what takes more than a few operations is a procedure.
HALVES: dict[str, Callable[[Val, Val], Val]] = {
    **{f"psubus{c}": _half(f"psubus{c}", L.sub_unsigned, w) for c, w in (("b", 8), ("w", 16))},
    **{f"paddus{c}": _half(f"paddus{c}", L.add_unsigned, w) for c, w in (("b", 8), ("w", 16))},
    **{f"psubs{c}": _half(f"psubs{c}", L.sub_signed, w) for c, w in (("b", 8), ("w", 16))},
    **{f"padds{c}": _half(f"padds{c}", L.add_signed, w) for c, w in (("b", 8), ("w", 16))},
    **{f"pcmpgt{c}": _half(f"pcmpgt{c}", L.greater_signed, w) for c, w in (("b", 8), ("w", 16), ("d", 32))},
    **{f"pcmpeq{c}": _half(f"pcmpeq{c}", L.equal, w) for c, w in (("b", 8), ("w", 16), ("d", 32))},
    **{f"pavg{c}": _half(f"pavg{c}", L.average, w) for c, w in (("b", 8), ("w", 16))},
    "pminub": _half("pminub", L.min_unsigned, 8),
    "pmaxub": _half("pmaxub", L.max_unsigned, 8),
    "pminsw": _half("pminsw", L.min_signed, 16),
    "pmaxsw": _half("pmaxsw", L.max_signed, 16),
    "pmullw": _half("pmullw", L.mul_low),
    "pmulhw": _half("pmulhw", L.mul_high_signed),
    "pmulhuw": _half("pmulhuw", L.mul_high_unsigned),
    "pmaddwd": _half("pmaddwd", L.multiply_add),
    "psadbw": _half("psadbw", L.sum_of_differences),
    "pmuludq": L.mul_even,
    "pand": LOGIC["and"],
    "pandn": LOGIC["andn"],
    "por": LOGIC["or"],
    "pxor": LOGIC["xor"],
    "psubb": lambda a, b: L.sub(a, b, 8),
    "psubw": lambda a, b: L.sub(a, b, 16),
    "psubd": lambda a, b: L.sub(a, b, 32),
    "psubq": lambda a, b: L.sub(a, b, 64),
    "paddb": lambda a, b: L.add(a, b, 8),
    "paddw": lambda a, b: L.add(a, b, 16),
    "paddd": lambda a, b: L.add(a, b, 32),
    "paddq": lambda a, b: L.add(a, b, 64),
}


@family(name=("psubusb", "psubusw", "pminub", "pand", "paddusb", "paddusw", "pmaxub", "pandn"))
@insn("{name} {dst}, {src}", "66 0F [D8+n] /r Vdq,Wdq", see="vol. 2, PSUBUSB to PANDN", needs="sse2")
def unsigned_and_logic(dst: Op, src: Op, *, name: str) -> None:
    """Unsigned saturating arithmetic, least and greatest of unsigned bytes, AND; PANDN complements first."""
    by_halves(dst, src, HALVES[name])


@family(name=("psubsb", "psubsw", "pminsw", "por", "paddsb", "paddsw", "pmaxsw", "pxor"))
@insn("{name} {dst}, {src}", "66 0F [E8+n] /r Vdq,Wdq", see="vol. 2, PSUBSB to PXOR", needs="sse2")
def signed_and_logic(dst: Op, src: Op, *, name: str) -> None:
    """Signed saturating arithmetic, least and greatest of signed words, OR and exclusive OR."""
    by_halves(dst, src, HALVES[name])


@family(name=("psubb", "psubw", "psubd", "psubq", "paddb", "paddw", "paddd"))
@insn("{name} {dst}, {src}", "66 0F [F8+n] /r Vdq,Wdq", see="vol. 2, PSUBB to PADDD", needs="sse2")
def add_sub(dst: Op, src: Op, *, name: str) -> None:
    """Wrapping addition and subtraction of lanes."""
    by_halves(dst, src, HALVES[name])


@family(name=("paddq", "pmullw"))
@insn("{name} {dst}, {src}", "66 0F [D4+n] /r Vdq,Wdq", see="vol. 2, PADDQ PMULLW", needs="sse2")
def paddq_pmullw(dst: Op, src: Op, *, name: str) -> None:
    """Sums of quadwords; low halves of the products of words."""
    by_halves(dst, src, HALVES[name])


@family(name=("pcmpgtb", "pcmpgtw", "pcmpgtd"))
@insn("{name} {dst}, {src}", "66 0F [64+n] /r Vdq,Wdq", see="vol. 2, PCMPGTB PCMPGTW PCMPGTD", needs="sse2")
def pcmpgt(dst: Op, src: Op, *, name: str) -> None:
    """All ones in the lanes where the destination is greater, signed."""
    by_halves(dst, src, HALVES[name])


@family(name=("pcmpeqb", "pcmpeqw", "pcmpeqd"))
@insn("{name} {dst}, {src}", "66 0F [74+n] /r Vdq,Wdq", see="vol. 2, PCMPEQB PCMPEQW PCMPEQD", needs="sse2")
def pcmpeq(dst: Op, src: Op, *, name: str) -> None:
    """All ones in the lanes that are equal."""
    by_halves(dst, src, HALVES[name])


@family(name=("pavgb", "pavgw"))
@insn("{name} {dst}, {src}", "66 0F [E0+3n] /r Vdq,Wdq", see="vol. 2, PAVGB PAVGW", needs="sse2")
def pavg(dst: Op, src: Op, *, name: str) -> None:
    """Rounded averages of unsigned lanes."""
    by_halves(dst, src, HALVES[name])


@family(name=("pmulhuw", "pmulhw"))
@insn("{name} {dst}, {src}", "66 0F [E4+n] /r Vdq,Wdq", see="vol. 2, PMULHUW PMULHW", needs="sse2")
def pmulh(dst: Op, src: Op, *, name: str) -> None:
    """High halves of the products of words."""
    by_halves(dst, src, HALVES[name])


@family(name=("pmuludq", "pmaddwd", "psadbw"))
@insn("{name} {dst}, {src}", "66 0F [F4+n] /r Vdq,Wdq", see="vol. 2, PMULUDQ PMADDWD PSADBW", needs="sse2")
def products(dst: Op, src: Op, *, name: str) -> None:
    """Products of the even doublewords; sums of products of words; sums of differences of bytes, in each half."""
    by_halves(dst, src, HALVES[name])


def _on_mmx(name: str, dst: Op, src: Op) -> None:
    mmx_ready()
    b = src.read()
    set_mmx(dst, HALVES[name](dst.read(), b))


@insn("paddq {dst}, {src}", "NP 0F D4 /r Pq,Qq", see="vol. 2, PADDQ", needs="sse2")
def paddq_mmx(dst: Op, src: Op) -> None:
    """The sum of two quadwords."""
    _on_mmx("paddq", dst, src)


@insn("psubq {dst}, {src}", "NP 0F FB /r Pq,Qq", see="vol. 2, PSUBQ", needs="sse2")
def psubq_mmx(dst: Op, src: Op) -> None:
    """The difference of two quadwords."""
    _on_mmx("psubq", dst, src)


@insn("pmuludq {dst}, {src}", "NP 0F F4 /r Pq,Qq", see="vol. 2, PMULUDQ", needs="sse2")
def pmuludq_mmx(dst: Op, src: Op) -> None:
    """The product of the low doublewords."""
    _on_mmx("pmuludq", dst, src)


# --- packs, unpacks, shuffles --------------------------------------------------------------------------------------

PACKS = {
    "packsswb": _half("packsswb", L.pack_signed, 16),
    "packssdw": _half("packssdw", L.pack_signed, 32),
    "packuswb": _half("packuswb", L.pack_unsigned),
}


def _pack(name: str, dst: Vector, src: Vector) -> None:
    ready()
    lo, hi = load(src)
    pack = PACKS[name]
    store(dst, (pack(dst.lo, dst.hi), pack(lo, hi)))


@family(name=("packsswb", "packssdw"))
@insn("{name} {dst}, {src}", "66 0F [63+8n] /r Vdq,Wdq", see="vol. 2, PACKSSWB PACKSSDW", needs="sse2")
def packss(dst: Op, src: Op, *, name: str) -> None:
    """Halve the signed lanes of the destination, then of the source, with signed saturation."""
    _pack(name, dst, src)


@insn("packuswb {dst}, {src}", "66 0F 67 /r Vdq,Wdq", see="vol. 2, PACKUSWB", needs="sse2")
def packuswb(dst: Op, src: Op) -> None:
    """Halve the signed words of the destination, then of the source, with unsigned saturation."""
    _pack("packuswb", dst, src)


def _unpack(dst: Vector, a: Val, b: Val, width: int) -> None:
    if width == 64:
        store(dst, (a, b))
    else:
        store(dst, (INTERLEAVE[width, 0](a, b), INTERLEAVE[width, 1](a, b)))


INTERLEAVE = {
    (w, high): _half(f"interleave{w}{'lh'[high]}", (L.interleave_low, L.interleave_high)[high], w)
    for w in (8, 16, 32)
    for high in (0, 1)
}


@family(name=("bw", "wd", "dq"), width=(8, 16, 32))
@insn("punpckl{name} {dst}, {src}", "66 0F [60+n] /r Vdq,Wdq", see="vol. 2, PUNPCKLBW", needs="sse2")
def punpckl(dst: Op, src: Op, *, width: int) -> None:
    """Interleave the lanes of the low halves."""
    ready()
    _unpack(dst, dst.lo.read(), load(src)[0], width)


@family(name=("bw", "wd", "dq"), width=(8, 16, 32))
@insn("punpckh{name} {dst}, {src}", "66 0F [68+n] /r Vdq,Wdq", see="vol. 2, PUNPCKHBW", needs="sse2")
def punpckh(dst: Op, src: Op, *, width: int) -> None:
    """Interleave the lanes of the high halves."""
    ready()
    _unpack(dst, dst.hi.read(), load(src)[1], width)


@insn("punpcklqdq {dst}, {src}", "66 0F 6C /r Vdq,Wdq", see="vol. 2, PUNPCKLQDQ", needs="sse2")
def punpcklqdq(dst: Op, src: Op) -> None:
    """The low halves of destination and source."""
    ready()
    _unpack(dst, dst.lo.read(), load(src)[0], 64)


@insn("punpckhqdq {dst}, {src}", "66 0F 6D /r Vdq,Wdq", see="vol. 2, PUNPCKHQDQ", needs="sse2")
def punpckhqdq(dst: Op, src: Op) -> None:
    """The high halves of destination and source."""
    ready()
    _unpack(dst, dst.hi.read(), load(src)[1], 64)


@insn("pshufd {dst}, {src}, {order}", "66 0F 70 /r Vdq,Wdq,Ib", see="vol. 2, PSHUFD", needs="sse2")
def pshufd(dst: Op, src: Op, order: Op) -> None:
    """Four doublewords chosen by the bit pairs of the immediate."""
    ready()
    x = load(src)
    store(dst, (concat(pick(x, order, 1), pick(x, order, 0)), concat(pick(x, order, 3), pick(x, order, 2))))


@insn("pshufhw {dst}, {src}, {order}", "F3 0F 70 /r Vdq,Wdq,Ib", see="vol. 2, PSHUFHW", needs="sse2")
def pshufhw(dst: Op, src: Op, order: Op) -> None:
    """Shuffle the four high words; the low half is copied."""
    ready()
    lo, hi = load(src)
    store(dst, (lo, L.shuffle_words(hi, order.read())))


@insn("pshuflw {dst}, {src}, {order}", "F2 0F 70 /r Vdq,Wdq,Ib", see="vol. 2, PSHUFLW", needs="sse2")
def pshuflw(dst: Op, src: Op, order: Op) -> None:
    """Shuffle the four low words; the high half is copied."""
    ready()
    lo, hi = load(src)
    store(dst, (L.shuffle_words(lo, order.read()), hi))


# --- shifts --------------------------------------------------------------------------------------------------------

_SHIFT = {
    f"ps{how}{c}": _half(f"ps{how}{c}", fn, w)
    for how, fn in (("rl", L.shift_right), ("ra", L.shift_right_signed), ("ll", L.shift_left))
    for c, w in (("w", 16), ("d", 32), ("q", 64))
    if (how, c) != ("ra", "q")
}


def _shift(name: str, dst: Vector, count: Val) -> None:
    store(dst, (_SHIFT[name](dst.lo, count), _SHIFT[name](dst.hi, count)))


def _shift_by_register(name: str, dst: Vector, src: Vector) -> None:
    ready()
    count, _ = load(src)
    _shift(name, dst, count)


@family(name=("psrlw", "psrld", "psrlq"))
@insn("{name} {dst}, {src}", "66 0F [D1+n] /r Vdq,Wdq", see="vol. 2, PSRLW PSRLD PSRLQ", needs="sse2")
def psrl(dst: Op, src: Op, *, name: str) -> None:
    """Shift lanes right by the low quadword of the source, zeros coming in."""
    _shift_by_register(name, dst, src)


@family(name=("psraw", "psrad"))
@insn("{name} {dst}, {src}", "66 0F [E1+n] /r Vdq,Wdq", see="vol. 2, PSRAW PSRAD", needs="sse2")
def psra(dst: Op, src: Op, *, name: str) -> None:
    """Shift lanes right by the low quadword of the source, sign bits coming in."""
    _shift_by_register(name, dst, src)


@family(name=("psllw", "pslld", "psllq"))
@insn("{name} {dst}, {src}", "66 0F [F1+n] /r Vdq,Wdq", see="vol. 2, PSLLW PSLLD PSLLQ", needs="sse2")
def psll(dst: Op, src: Op, *, name: str) -> None:
    """Shift lanes left by the low quadword of the source."""
    _shift_by_register(name, dst, src)


@family(name=("w", "d", "q"))
@insn("psrl{name} {dst}, {count}", "66 0F [71+n] /2 Udq,Ib", see="vol. 2, PSRLW PSRLD PSRLQ", needs="sse2")
def psrl_imm(dst: Op, count: Op, *, name: str) -> None:
    """Shift lanes right by an immediate, zeros coming in."""
    ready()
    _shift(f"psrl{name}", dst, count.zext(64))


@family(name=("w", "d"))
@insn("psra{name} {dst}, {count}", "66 0F [71+n] /4 Udq,Ib", see="vol. 2, PSRAW PSRAD", needs="sse2")
def psra_imm(dst: Op, count: Op, *, name: str) -> None:
    """Shift lanes right by an immediate, sign bits coming in."""
    ready()
    _shift(f"psra{name}", dst, count.zext(64))


@family(name=("w", "d", "q"))
@insn("psll{name} {dst}, {count}", "66 0F [71+n] /6 Udq,Ib", see="vol. 2, PSLLW PSLLD PSLLQ", needs="sse2")
def psll_imm(dst: Op, count: Op, *, name: str) -> None:
    """Shift lanes left by an immediate."""
    ready()
    _shift(f"psll{name}", dst, count.zext(64))


@procedure(64, 64, 64, results=(64,))
def sse_funnel(low: Val, high: Val, bits: Val) -> None:
    """The low half of a 128-bit value shifted right by fewer than 256 bits."""
    crossing = select(bits < 64, (low >> bits) | (high << (const(64, 64) - bits)), high >> (bits - 64))
    return_(select(bits == 0, low, crossing))


@insn("psrldq {dst}, {count}", "66 0F 73 /3 Udq,Ib", see="vol. 2, PSRLDQ", needs="sse2")
def psrldq(dst: Op, count: Op) -> None:
    """Shift 128 bits right by bytes; 16 or more give zero."""
    ready()
    bits = _byte_shift(count)
    lo, hi = load(dst)
    store(dst, (sse_funnel(lo, hi, bits), hi >> bits))


@insn("pslldq {dst}, {count}", "66 0F 73 /7 Udq,Ib", see="vol. 2, PSLLDQ", needs="sse2")
def pslldq(dst: Op, count: Op) -> None:
    """Shift 128 bits left by bytes; 16 or more give zero."""
    ready()
    bits = _byte_shift(count)
    lo, hi = load(dst)
    # Mirrored, it is the same shift: what leaves the low half enters the high one.
    crossing = select(bits < 64, (hi << bits) | (lo >> (const(64, 64) - bits)), lo << (bits - 64))
    store(dst, (lo << bits, select(bits == 0, hi, crossing)))


def _byte_shift(count: Op) -> Val:
    n: Val = count.read()
    return select(n < 16, n, const(16, 8)).zext(64) << 3


# --- caches --------------------------------------------------------------------------------------------------------


@insn("lfence", "NP 0F AE /5 reg", see="vol. 2, LFENCE", needs="sse2")
def lfence() -> None:
    """Order loads; they are in order here."""


@insn("mfence", "NP 0F AE /6 reg", see="vol. 2, MFENCE", needs="sse2")
def mfence() -> None:
    """Order loads and stores; they are in order here."""


@insn("clflush {src}", "NP 0F AE /7 Mb", see="vol. 2, CLFLUSH", needs="sse2")
def clflush(src: Op) -> None:
    """Write back and drop a cache line: without caches only the checks of a load remain."""
    mem_probe_r(src.seg, src.offset, 1)
