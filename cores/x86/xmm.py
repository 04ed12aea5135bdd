"""What the SSE chapters share: availability, 128-bit operands, floating arithmetic under MXCSR.

Sources: SDM vol. 1, 10.2.3 (MXCSR), 11.5 (SIMD floating-point exceptions); vol. 2, 2.5 (exception classes);
vol. 3, 13.1 (CR0 and CR4 bits). A 128-bit value is a pair (low half, high half) of 64-bit values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..lang.trace import (
    Operand,
    Proc,
    RegisterLocation,
    Val,
    concat,
    otherwise,
    procedure,
    return_,
    select,
    value,
    var,
    when,
)
from . import state as S
from .externs import FLOAT, fault, ferr, mem_probe_w, trap_if, unlikely
from .forms import MemOperand, NumberOperand, VectorMem

CR0 = RegisterLocation(S.CR0)
CR4 = RegisterLocation(S.CR4)
MXCSR = RegisterLocation(S.MXCSR)
MXCSR_MASK = S.MXCSR_BITS

# As the bodies name them; `.lo`, `.hi`, `.read()` and `.set()` fit all three.
Op = Any
Vector = NumberOperand | VectorMem
Pair = tuple[Val, Val]


@procedure()
def sse_unavailable() -> None:
    """Raise what an SSE instruction raises while CR0 and CR4 do not allow it: #UD before #NM."""
    trap_if(CR0.read().bit(S.CR0_EM) | ~CR4.read().bit(S.CR4_OSFXSR), S.UD)
    fault(S.NM)


def ready() -> None:
    """Refuse the instruction if CR0.EM, CR0.TS or a clear CR4.OSFXSR says so."""
    off = (CR0.read() & (1 << S.CR0_EM | 1 << S.CR0_TS)) | (~CR4.read() & (1 << S.CR4_OSFXSR))
    with unlikely(off != 0):
        sse_unavailable()


# --- MMX registers -------------------------------------------------------------------------------------------------

FSTAT = RegisterLocation(S.FSTAT)


@procedure()
def sse_mmx_pending() -> None:
    """An x87 exception waits: #MF, or FERR# with CR0.NE clear."""
    trap_if(CR0.read().bit(S.CR0_NE), S.MF)
    ferr()


@procedure()
def sse_mmx_unavailable() -> None:
    """Raise what an instruction on MMX registers raises: #UD with CR0.EM, else #NM."""
    trap_if(CR0.read().bit(S.CR0_EM), S.UD)
    fault(S.NM)


def no_x87_error() -> None:
    """A pending x87 exception comes before an instruction that uses MMX registers."""
    with unlikely(FSTAT.read().bit(7)):
        sse_mmx_pending()


def mmx_ready() -> None:
    """The checks of an instruction on MMX registers alone; CR4.OSFXSR does not matter to it."""
    with unlikely((CR0.read() & (1 << S.CR0_EM | 1 << S.CR0_TS)) != 0):
        sse_mmx_unavailable()
    no_x87_error()


def mmx_mode() -> None:
    """Turn the x87 to MMX: TOP is 0 and every register in use."""
    FSTAT.set(FSTAT.read() & ~(7 << 11))
    RegisterLocation(S.FTAG).set(0xFF)


def set_mmx(dst: NumberOperand, value_: Operand) -> None:
    """Write an MMX register; the exponent that aliases it becomes all ones."""
    mmx_mode()
    dst.lo.set(value_)
    RegisterLocation(S.FPR_SE, dst.number).set(0xFFFF)


# --- 128-bit operands ----------------------------------------------------------------------------------------------


def _linear(m: MemOperand) -> Val:
    return RegisterLocation(S.SEG_BASE, m.seg).read() + m.offset


def aligned(m: MemOperand) -> None:
    """#GP(0) unless the linear address is a multiple of 16."""
    trap_if((_linear(m) & 15) != 0, S.GP)


def _whole(m: MemOperand, align: bool) -> None:
    """See that a store of two halves cannot fault between them: by page, by limit or in an expand-down segment."""
    room = RegisterLocation(S.SEG_LIMIT, m.seg).read() - m.offset
    risky = (room < 15) | RegisterLocation(S.SEG_ATTR, m.seg).read().bit(2)
    if not align:
        risky = risky | ((_linear(m) & 0xFFF) > 0xFF0)
    with unlikely(risky):
        mem_probe_w(m.seg, m.offset, 16)


def load(src: Vector, *, align: bool = True) -> Pair:
    """Both halves of an operand; memory must be aligned unless the instruction says otherwise."""
    if isinstance(src, VectorMem) and align:
        aligned(src)
    return src.lo.read(), src.hi.read()


def store(dst: Vector, halves: tuple[Operand, Operand], *, align: bool = True) -> None:
    """Write both halves; to memory either all 16 bytes or, with a fault, none."""
    if isinstance(dst, VectorMem):
        if align:
            aligned(dst)
        _whole(dst, align)
    dst.lo.set(halves[0])
    dst.hi.set(halves[1])


def move(dst: Vector, src: Vector, *, align: bool = True) -> None:
    """The 128-bit moves."""
    ready()
    store(dst, load(src, align=align), align=align)


def by_halves(dst: Vector, src: Vector, operation: Callable[[Val, Val], Val]) -> None:
    """An operation that does the same to each 64-bit half of destination and source."""
    ready()
    lo, hi = load(src)
    a, b = dst.lo.read(), dst.hi.read()
    store(dst, (operation(a, lo), operation(b, hi)))


# --- floating arithmetic -------------------------------------------------------------------------------------------


def control() -> Val:
    """The control word of the arithmetic, from MXCSR: rounding, DAZ, FTZ and the unmasked exceptions."""
    m = MXCSR.read()
    return ((m >> 13) & 0x3) | ((m >> 1) & 0x20) | ((m >> 9) & 0x40) | ((~m << 9) & 0x3F0000)


@procedure(32)
def sse_report(flags: Val) -> None:
    """Put exceptions into MXCSR and raise #XM (#UD without CR4.OSXMMEXCPT) if one of them is unmasked.

    An unmasked invalid, denormal or divide-by-zero exception hides those found after computing."""
    m = MXCSR.read()
    found = flags & 0x3F
    unmasked = found & ~(m >> 7)
    MXCSR.set(m | select((unmasked & 0x7) != 0, found & 0x7, found))
    with unlikely(unmasked != 0):
        trap_if(~CR4.read().bit(S.CR4_OSXMMEXCPT), S.UD)
        fault(S.XM)


def settle(flags: Val) -> None:
    """Deliver the exceptions of an instruction, before its result is written."""
    m = MXCSR.read()
    with unlikely((flags & ~(m & (m >> 7)) & 0x3F) != 0):
        sse_report(flags)


def named(name: str, doc: str, fn: Callable[..., None]) -> Callable[..., None]:
    """Give a made function the name and the sentence of its procedure."""
    fn.__name__ = name
    fn.__doc__ = doc
    return fn


def _binary_pair(op: str) -> Proc:
    def body(a: Val, b: Val, ctl: Val) -> None:
        lo, f0 = FLOAT[f"fx_f32_{op}"](a.low(32), b.low(32), ctl)
        hi, f1 = FLOAT[f"fx_f32_{op}"](a.bits(32, 32), b.bits(32, 32), ctl)
        return_(concat(hi, lo), f0 | f1)

    return procedure(64, 64, 32, results=(64, 32))(named(f"f32x2_{op}", f"Two lanes of {op}.", body))


def _unary_pair(op: str, extern: str) -> Proc:
    def body(a: Val, ctl: Val) -> None:
        lo, f0 = FLOAT[extern](a.low(32), ctl)
        hi, f1 = FLOAT[extern](a.bits(32, 32), ctl)
        return_(concat(hi, lo), f0 | f1)

    return procedure(64, 32, results=(64, 32))(named(f"f32x2_{op}", f"Two lanes of {op}.", body))


BINARY = ("add", "mul", "sub", "min", "div", "max")
PAIR = {op: _binary_pair(op) for op in BINARY}
PAIR_UNARY = {
    "sqrt": _unary_pair("sqrt", "fx_f32_sqrt"),
    "from_i32": _unary_pair("from_i32", "fx_i32_to_f32"),
    "to_i32": _unary_pair("to_i32", "fx_f32_to_i32"),
    "to_i32_trunc": _unary_pair("to_i32_trunc", "fx_f32_to_i32_trunc"),
}


def packed_single(op: str, dst: Vector, src: Vector) -> None:
    """Four single-precision lanes of a two-operand operation."""
    ready()
    lo, hi = load(src)
    ctl = control()
    a, f0 = PAIR[op](dst.lo, lo, ctl)
    b, f1 = PAIR[op](dst.hi, hi, ctl)
    settle(f0 | f1)
    store(dst, (a, b))


def packed_double(op: str, dst: Vector, src: Vector) -> None:
    """Two double-precision lanes of a two-operand operation."""
    ready()
    lo, hi = load(src)
    ctl = control()
    a, f0 = FLOAT[f"fx_f64_{op}"](dst.lo, lo, ctl)
    b, f1 = FLOAT[f"fx_f64_{op}"](dst.hi, hi, ctl)
    settle(f0 | f1)
    store(dst, (a, b))


def scalar(op: str, dst: Vector, src: Vector) -> None:
    """One lane of a two-operand operation, single or double as wide as the operands; the rest stays."""
    ready()
    b = src.read()
    result, flags = FLOAT[f"fx_f{b.width}_{op}"](dst.read(), b, control())
    settle(flags)
    dst.set(result)


def convert(name: str, x: Operand) -> Val:
    """One scalar conversion or square root with its exceptions delivered."""
    result, flags = FLOAT[name](x, control())
    settle(flags)
    return value(result)


def each(name: str, x: Pair) -> Pair:
    """One operation on two values, with the exceptions of both delivered."""
    ctl = control()
    a, f0 = FLOAT[name](x[0], ctl)
    b, f1 = FLOAT[name](x[1], ctl)
    settle(f0 | f1)
    return a, b


def lanes32(x: Val) -> Pair:
    """The two 32-bit lanes of a 64-bit value."""
    return x.low(32), x.bits(32, 32)


def convert_pair(op: str, x: Pair) -> Pair:
    """An operation on each of four single-precision or integer lanes with their exceptions delivered."""
    ctl = control()
    a, f0 = PAIR_UNARY[op](x[0], ctl)
    b, f1 = PAIR_UNARY[op](x[1], ctl)
    settle(f0 | f1)
    return a, b


# --- comparison ----------------------------------------------------------------------------------------------------

PREDICATES = ("eq", "lt", "le", "unord", "neq", "nlt", "nle", "ord")


def _compare(width: int) -> Proc:
    def body(a: Val, b: Val, predicate: Val, ctl: Val) -> None:
        code = var(32, 0, "code")
        flags = var(32, 0, "flags")
        with when(predicate.bit(0) ^ predicate.bit(1)):
            c, f = FLOAT[f"fx_f{width}_compare"](a, b, ctl)
            code.set(c)
            flags.set(f)
        with otherwise():
            c, f = FLOAT[f"fx_f{width}_compare_quiet"](a, b, ctl)
            code.set(c)
            flags.set(f)
        relation = code.read()
        less, equal, unordered = relation == 0x01, relation == 0x40, relation == 0x45
        holds = select(
            predicate.bit(1),
            select(predicate.bit(0), unordered, less | equal),
            select(predicate.bit(0), less, equal),
        )
        return_((holds ^ predicate.bit(2)).sext(width), flags)

    doc = "One lane of a comparison: all ones where it holds. LT, LE and their opposites are invalid for every NaN."
    return procedure(width, width, 8, 32, results=(width, 32))(named(f"f{width}_predicate", doc, body))


COMPARE = {32: _compare(32), 64: _compare(64)}


@procedure(64, 64, 8, 32, results=(64, 32))
def f32x2_predicate(a: Val, b: Val, predicate: Val, ctl: Val) -> None:
    """Two lanes of a comparison."""
    lo, f0 = COMPARE[32](a.low(32), b.low(32), predicate, ctl)
    hi, f1 = COMPARE[32](a.bits(32, 32), b.bits(32, 32), predicate, ctl)
    return_(concat(hi, lo), f0 | f1)
