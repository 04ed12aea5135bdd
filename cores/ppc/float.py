"""The floating-point facility: loads, stores, arithmetic, compares and the FPSCR (Book I, chapter 4).

Arithmetic is that of `lang/softfloat` under the PowerPC rules: tininess before rounding, the first NaN of FRA, FRB and
FRC. An instruction whose invalid or zero-divide exception is enabled leaves its target and FPRF as they were. Where the
manual leaves a choice: the upper word of FCTIW and MFFS is 0, the estimates are the correctly rounded values, a single
precision result is classed as a single, and its NaN has no more payload than a single.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..lang.trace import Operand, Proc, RegisterLocation, Val, any_of, const, procedure, return_, select, var, when
from . import state as S
from .externs import FLOAT, load, raise_interrupt, store
from .forms import CrField, D, Pattern, X, insn, opcode, table

Op = Any
FPSCR = RegisterLocation(S.FPSCR)

# FPSCR bits, by their place from the right (Book I, 4.2.2).
FX, FEX, VX, OX, UX, ZX, XX, VXSNAN, VXISI, VXIDI, VXZDZ, VXIMZ, VXVC = range(31, 18, -1)
FR, FI, FPRF, VXSOFT, VXSQRT, VXCVI, VE, OE, UE, ZE, XE = 18, 17, 12, 10, 9, 8, 7, 6, 5, 4, 3
INVALIDS = (VXSNAN, VXISI, VXIDI, VXZDZ, VXIMZ, VXVC, VXSOFT, VXSQRT, VXCVI)
VX_ALL = sum(1 << b for b in INVALIDS)
EXCEPTIONS = VX_ALL | sum(1 << b for b in (OX, UX, ZX, XX))
SUMMARIES = 1 << FEX | 1 << VX
# Flags of softfloat: exceptions, reasons of an invalid operation, rounded up.
SF_INVALID, SF_OVERFLOW, SF_INEXACT, SF_UP = 0, 3, 5, 9
FROM_FLAGS = {
    OX: SF_OVERFLOW, UX: 4, ZX: 2, XX: SF_INEXACT, VXSNAN: 16, VXISI: 17, VXIDI: 18, VXZDZ: 19, VXIMZ: 20, VXVC: 21,
    VXSQRT: 22, VXCVI: 23,
}  # fmt: skip
SIGN = 1 << 63
ONE = 0x3FF0000000000000


def available() -> None:
    """An interrupt where MSR.FP is 0."""
    with when(~RegisterLocation(S.MSR).read().bit(S.MSR_FP), likely=False):
        raise_interrupt(S.FP_UNAVAILABLE, const(0, 32))


def control(single: bool, v: Val) -> Val:
    """The control word of softfloat, from FPSCR: rounding, rules, and what is enabled."""
    rounding = (const(0, 32) - v) & 3  # RN counts nearest, zero, up, down; softfloat nearest, down, up, zero
    fixed = 3 << 2 | 1 << 4 | 2 << 7 | int(single) << 9
    word = rounding | fixed
    for bit, at in ((VE, 16), (ZE, 18), (OE, 19), (UE, 20)):
        word = word | (v.bit(bit).zext(32) << at)
    return word


def summarized(v: Val) -> Val:
    """FPSCR with VX and FEX as they follow from the rest."""
    vx = (v & VX_ALL) != 0
    pairs = ((OX, OE), (UX, UE), (ZX, ZE), (XX, XE))
    fex = any_of(vx & v.bit(VE), *(v.bit(a) & v.bit(b) for a, b in pairs))
    return (v & ~const(SUMMARIES, 32)) | (vx.zext(32) << VX) | (fex.zext(32) << FEX)


def _with_fx(old: Val, new: Val) -> Val:
    return new | (((new & ~old & EXCEPTIONS) != 0).zext(32) << FX)


@procedure(64, 1, results=(32,))
def fp_class(v: Val, single: Val) -> None:
    """FPRF of a result (Book I, figure 43)."""
    exponent = v.bits(52, 11)
    fraction = v & ((1 << 52) - 1)
    sign = v.sign()
    normal = select(sign, const(0x08, 32), const(0x04, 32))
    zero = (exponent == 0) & (fraction == 0)
    tiny = (exponent == 0) | (single & (exponent < 897))
    out = select(tiny, select(sign, const(0x18, 32), const(0x14, 32)), normal)
    out = select(zero, select(sign, const(0x12, 32), const(0x02, 32)), out)
    special = select(fraction == 0, select(sign, const(0x09, 32), const(0x05, 32)), const(0x11, 32))
    return_(select(exponent == 0x7FF, special, out))


@procedure(32, 32, 32, results=(32, 1, 1))
def fp_outcome(old: Val, flags: Val, result_class: Val) -> None:
    """FPSCR after an operation, whether its target is written, and whether an enabled exception occurred."""
    kept = old & ~const(1 << FR | 1 << FI | 0x1F << FPRF, 32)
    raised = const(0, 32)
    for bit, flag in FROM_FLAGS.items():
        raised = raised | (flags.bit(flag).zext(32) << bit)
    invalid = (raised & VX_ALL) != 0
    stop = (invalid & old.bit(VE)) | (raised.bit(ZX) & old.bit(ZE))
    enabled = any_of(stop, raised.bit(OX) & old.bit(OE), raised.bit(UX) & old.bit(UE), raised.bit(XX) & old.bit(XE))
    rounded = (flags.bit(SF_UP).zext(32) << FR) | (flags.bit(SF_INEXACT).zext(32) << FI)
    about = select(stop, old & (0x1F << FPRF), rounded | (result_class << FPRF))
    return_(summarized(_with_fx(old, kept | about | raised)), ~stop, enabled)


@procedure(32, 32, 64, 1, results=(64, 32, 1, 1))
def fp_finish(old: Val, flags: Val, result: Val, single: Val) -> None:
    """The result as it is written, with what `fp_outcome` gives."""
    result = select(single & is_nan(result), result & ~const(0x1FFFFFFF, 64), result)
    return_(result, *fp_outcome(old, flags, fp_class(result, single)))


def interrupting() -> Val:
    """Whether MSR lets enabled exceptions interrupt."""
    msr = RegisterLocation(S.MSR).read()
    return msr.bit(S.MSR_FE0) | msr.bit(S.MSR_FE1)


def record(rc: int) -> None:
    """CR1: FX, FEX, VX, OX."""
    if rc:
        CrField(1).set(FPSCR.read().bits(28, 4))


def _interrupt(cond: Val) -> None:
    with when(cond, likely=False):
        raise_interrupt(S.PROGRAM, const(S.ESR_FP, 32))


def _settle(frt: Op, outcome: Sequence[Val], rc: int) -> None:
    result, status, write, enabled = outcome
    FPSCR.set(status)
    with when(write):
        frt.set(result)
    record(rc)
    _interrupt(enabled & interrupting())


def _finish(frt: Op, result: Val, flags: Val, single: bool, rc: int) -> None:
    _settle(frt, fp_finish(FPSCR.read(), flags, result, const(int(single), 1)), rc)


def is_nan(v: Val) -> Val:
    """Whether a double is a NaN."""
    return (v & (SIGN - 1)) > 0x7FF0000000000000


def _negated(v: Val) -> Val:
    """A number with its sign changed; a NaN keeps it."""
    return select(is_nan(v), v, v ^ SIGN)


def _operate(operation: str, single: bool, status: Val, *operands: Val) -> tuple[Val, Val]:
    """Result and flags. After an overflow FR tells how the fraction was rounded before that, as processors have it."""
    word = control(single, status)
    result, flags = FLOAT[operation](*operands, word)
    settled = var(32, flags, "flags")
    with when(flags.bit(SF_OVERFLOW) & ~status.bit(OE), likely=False):
        _, unbounded = FLOAT[operation](*operands, word | 1 << 16 + SF_OVERFLOW)
        up = const(1 << SF_UP, 32)
        settled.set((flags & ~up) | (unbounded & up))
    return result, settled.read()


def _multiplier(v: Val, single: bool) -> Val:
    """FRC of a single operation, to 25 bits: all of a single; of anything else, undefined, what processors use."""
    if not single:
        return v
    rounded = (v & ~const((1 << 27) - 1, 64)) + (v & (1 << 27))
    return select((v & (SIGN - 1)) >= 0x7FEFFFFFF8000000, v, rounded)


_procedures: dict[str, Proc] = {}


def _compute(name: str, operation: str, operands: Sequence[Val]) -> Sequence[Val]:
    """A whole operation as one procedure of the operands and FPSCR, named for its instruction; see `fp_finish`."""
    single = name.endswith("s")

    def work(status: Val, *values: Val) -> None:
        result, flags = _operate(operation, single, status, *values)
        if name.startswith("fn"):
            result = _negated(result)
        # A normal number and at most a rounding that does not interrupt: the summaries stay as they are.
        lowest, count = (897, 254) if single else (1, 2046)
        odd = (flags & ~const(1 << SF_INEXACT | 1 << SF_UP, 32)) | (status & (1 << XE))
        with when((odd == 0) & ((result.bits(52, 11) - lowest) < count), likely=True):
            inexact = flags.bit(SF_INEXACT).zext(32)
            kept = status & ~const(1 << FR | 1 << FI | 0x1F << FPRF, 32)
            news = (inexact << FX) & ~(status << (FX - XX))
            sign = select(result.sign(), const(0x08 << FPRF, 32), const(0x04 << FPRF, 32))
            rounding = ((flags << (FR - SF_UP)) & (1 << FR)) | (inexact << FI) | (inexact << XX)
            return_(result, kept | sign | rounding | news, const(1, 1), const(0, 1))
        return_(*fp_finish(status, flags, result, const(int(single), 1)))

    def one(status: Val, a: Val) -> None:
        work(status, a)

    def two(status: Val, a: Val, b: Val) -> None:
        work(status, a, b)

    def three(status: Val, a: Val, b: Val, c: Val) -> None:
        work(status, a, b, c)

    if name not in _procedures:
        body = (one, two, three)[len(operands) - 1]
        body.__name__, body.__doc__ = f"fp_{name}", f"All of {name} but the registers."
        _procedures[name] = procedure(32, *[64] * len(operands), results=(64, 32, 1, 1))(body)
    outcome: Sequence[Val] = _procedures[name](FPSCR.read(), *operands)
    return outcome


def A(op: int, xo: int) -> Pattern:
    """A-form: up to four floating-point registers."""
    return opcode(op).fixed(26, 5, xo).static(rc=31)


def both(name: str, xo: int) -> dict[str, Pattern]:
    """The double and the single form of an operation."""
    return {name: A(63, xo), f"{name}s": A(59, xo)}


@table(
    "{name}[.] frt, fra, frb", {**both("fadd", 21), **both("fsub", 20), **both("fdiv", 18)}, see="4.6.6", needs="fpu"
)
def arithmetic(frt: Op, fra: Op, frb: Op, *, name: str, rc: int) -> None:
    """Add, subtract or divide."""
    available()
    _settle(frt, _compute(name, f"fx_f64_{name[1:4]}", (fra.read(), frb.read())), rc)


@table("{name}[.] frt, fra, frc", both("fmul", 25), see="4.6.6", needs="fpu")
def multiply(frt: Op, fra: Op, frc: Op, *, name: str, rc: int) -> None:
    """Multiply."""
    available()
    operands = fra.read(), _multiplier(frc.read(), name.endswith("s"))
    _settle(frt, _compute(name, "fx_f64_mul", operands), rc)


@table("{name}[.] frt, frb", both("fsqrt", 22), see="4.6.6", needs="fsqrt")
def square_root(frt: Op, frb: Op, *, name: str, rc: int) -> None:
    """Square root."""
    available()
    single = name.endswith("s")
    result, flags = FLOAT["fx_f64_sqrt"](frb.read(), control(single, FPSCR.read()))
    _finish(frt, result, flags, single, rc)


@insn("fres[.] frt, frb", A(59, 24), see="4.6.6", needs="fpu")
def fres(frt: Op, frb: Op, *, rc: int) -> None:
    """Reciprocal Estimate Single; never inexact."""
    available()
    result, flags = FLOAT["fx_f64_div"](const(ONE, 64), frb.read(), control(True, FPSCR.read()))
    _finish(frt, result, flags & ~const(1 << SF_INEXACT | 1 << SF_UP, 32), True, rc)


@insn("frsqrte[.] frt, frb", A(63, 26), see="4.6.6", needs="fpu")
def frsqrte(frt: Op, frb: Op, *, rc: int) -> None:
    """Reciprocal Square Root Estimate; never inexact."""
    available()
    root, root_flags = FLOAT["fx_f64_sqrt"](frb.read(), control(False, FPSCR.read()))
    inverse, flags = FLOAT["fx_f64_div"](const(ONE, 64), root, control(False, FPSCR.read()))
    bad = root_flags.bit(SF_INVALID)
    flags = select(bad, root_flags, flags & ~const(1 << SF_INEXACT | 1 << SF_UP, 32))
    _finish(frt, select(bad, root, inverse), flags, False, rc)


_FUSED = {**both("fmadd", 29), **both("fmsub", 28), **both("fnmadd", 31), **both("fnmsub", 30)}


@table("{name}[.] frt, fra, frc, frb", _FUSED, see="4.6.7", needs="fpu")
def fused(frt: Op, fra: Op, frc: Op, frb: Op, *, name: str, rc: int) -> None:
    """Multiply and add or subtract with one rounding; the negative forms change the sign of what is not a NaN."""
    available()
    single = name.endswith("s")
    b = frb.read()
    addend = _negated(b) if "sub" in name else b
    operands = fra.read(), _multiplier(frc.read(), single), addend
    _settle(frt, _compute(name, "fx_f64_muladd", operands), rc)


@insn("frsp[.] frt, frb", X(63, 12), see="4.6.8", needs="fpu")
def frsp(frt: Op, frb: Op, *, rc: int) -> None:
    """Round to Single-Precision; a NaN loses its low bits."""
    available()
    result, flags = _operate("fx_f64_mul", True, FPSCR.read(), frb.read(), const(ONE, 64))
    _finish(frt, result, flags, True, rc)


@table("{name}[.] frt, frb", {"fctiw": X(63, 14), "fctiwz": X(63, 15)}, see="4.6.8", needs="fpu", undefined="FPRF")
def to_integer(frt: Op, frb: Op, *, name: str, rc: int) -> None:
    """Convert to a 32-bit integer, in the rounding mode or toward zero; it saturates, and a NaN gives the lowest."""
    available()
    operation = "fx_f64_to_i32_trunc" if name.endswith("z") else "fx_f64_to_i32"
    old = FPSCR.read()
    result, flags = FLOAT[operation](frb.read(), control(False, old))
    _settle(frt, (result.zext(64), *fp_outcome(old, flags, old.bits(FPRF, 5).zext(32))), rc)


@table("{name} bf, fra, frb", {"fcmpu": X(63, 0, rc=0), "fcmpo": X(63, 32, rc=0)}, see="4.6.9", needs="fpu")
def compare(bf: Op, fra: Op, frb: Op, *, name: str) -> None:
    """Compare; a quiet NaN is invalid in the ordered form only."""
    available()
    operation = "fx_f64_compare_quiet" if name == "fcmpu" else "fx_f64_compare"
    order, flags = FLOAT[operation](fra.read(), frb.read(), control(False, FPSCR.read()))
    relation = select(order == 0x45, const(1, 4), select(order == 0x40, const(2, 4), const(4, 4)))
    relation = select(order == 1, const(8, 4), relation)
    old = FPSCR.read()
    signalling = flags.bit(FROM_FLAGS[VXSNAN])
    raised = signalling.zext(32) << VXSNAN
    if name == "fcmpo":
        ordered = flags.bit(FROM_FLAGS[VXVC]) & ~(signalling & old.bit(VE))
        raised = raised | (ordered.zext(32) << VXVC)
    new = (old & ~const(0xF << FPRF, 32)) | (relation.zext(32) << FPRF) | raised
    FPSCR.set(summarized(_with_fx(old, new)))
    bf.set(relation)
    _interrupt((raised != 0) & old.bit(VE) & interrupting())


@insn("fsel[.] frt, fra, frc, frb", A(63, 23), see="4.6.10", needs="fpu")
def fsel(frt: Op, fra: Op, frc: Op, frb: Op, *, rc: int) -> None:
    """Select: FRC where FRA is at least zero (either zero), else FRB."""
    available()
    a = fra.read()
    at_least = ~is_nan(a) & (~a.sign() | (a == SIGN))
    frt.set(select(at_least, frc.read(), frb.read()))
    record(rc)


_MOVES = {"fmr": X(63, 72), "fneg": X(63, 40), "fabs": X(63, 264), "fnabs": X(63, 136)}


@table("{name}[.] frt, frb", _MOVES, see="4.6.5", needs="fpu")
def move(frt: Op, frb: Op, *, name: str, rc: int) -> None:
    """Move, and change the sign; NaNs are treated like numbers."""
    available()
    b = frb.read()
    if name == "fneg":
        b = b ^ SIGN
    elif name == "fabs":
        b = b & (SIGN - 1)
    elif name == "fnabs":
        b = b | SIGN
    frt.set(b)
    record(rc)


# --- FPSCR -----------------------------------------------------------------------------------------------------------


def _rewrite(v: Val, rc: int) -> None:
    FPSCR.set(summarized(v))
    record(rc)
    _interrupt(FPSCR.read().bit(FEX) & interrupting())


@insn("mffs[.] frt", X(63, 583), see="4.6.11", needs="fpu")
def mffs(frt: Op, *, rc: int) -> None:
    """Move from FPSCR."""
    available()
    frt.set(FPSCR.read().zext(64))
    record(rc)


@insn("mcrfs bf, fpfa", X(63, 64, rc=0), see="4.6.11", needs="fpu")
def mcrfs(bf: Op, fpfa: Op) -> None:
    """Copy a field of FPSCR to CR; its exception bits are cleared."""
    available()
    shift = const(28, 32) - fpfa.read().zext(32) * 4
    v = FPSCR.read()
    bf.set((v >> shift).low(4))
    clear = (const(0xF, 32) << shift) & (EXCEPTIONS | 1 << FX)
    FPSCR.set(summarized(v & ~clear))


@insn("mtfsfi[.] fpf, u", X(63, 134), see="4.6.11", needs="fpu")
def mtfsfi(fpf: Op, u: Op, *, rc: int) -> None:
    """Put an immediate into a field of FPSCR."""
    available()
    shift = const(28, 32) - fpf.read().zext(32) * 4
    v = FPSCR.read()
    _rewrite((v & ~(const(0xF, 32) << shift)) | (u.read().zext(32) << shift), rc)


@insn("mtfsf[.] flm, frb", X(63, 711), see="4.6.11", needs="fpu")
def mtfsf(flm: Op, frb: Op, *, rc: int) -> None:
    """Replace the chosen fields of FPSCR."""
    available()
    chosen = flm.read()
    m = const(0, 32)
    for k in range(8):
        m = m | (chosen.bit(7 - k).sext(4).zext(32) << (28 - 4 * k))
    _rewrite((FPSCR.read() & ~m) | (frb.read().low(32) & m), rc)


@table("{name}[.] fpbit", {"mtfsb0": X(63, 70), "mtfsb1": X(63, 38)}, see="4.6.11", needs="fpu")
def set_bit(fpbit: Op, *, name: str, rc: int) -> None:
    """Clear or set one bit of FPSCR; FEX and VX follow from the others."""
    available()
    bit = const(1, 32) << (const(31, 32) - fpbit.read().zext(32))
    v = FPSCR.read()
    _rewrite(_with_fx(v, v | bit) if name == "mtfsb1" else v & ~bit, rc)


# --- loads and stores ------------------------------------------------------------------------------------------------


@procedure(32, results=(64,))
def fp_double(v: Val) -> None:
    """A single as a double, bit by bit: no exception, no change to a NaN (Book I, 4.6.2)."""
    sign = v.sign().zext(64) << 63
    exponent, fraction = v.bits(23, 8), v.low(23)
    wide = select(exponent == 0xFF, const(0x7FF, 64), exponent.zext(64) + 896)
    normal = (wide << 52) | (fraction.zext(64) << 29)
    up = fraction.clz().zext(64)  # leading zeros of the 23 bits
    denormal = ((const(896, 64) - up) << 52) | (((fraction.zext(64) << (up + 1)) & 0x7FFFFF) << 29)
    small = select(fraction == 0, const(0, 64), denormal)
    return_(sign | select(exponent == 0, small, normal))


@procedure(64, results=(32,))
def fp_single(v: Val) -> None:
    """A double as it is stored in single format: no rounding (Book I, 4.6.3); what is too small to fit becomes 0."""
    sign = v.sign().zext(32) << 31
    exponent = v.bits(52, 11)
    plain = (v.bits(62, 2).zext(32) << 30) | (v.bits(29, 30).zext(32))
    whole = (v & ((1 << 52) - 1)) | (1 << 52)
    denormal = (whole >> (const(926, 64) - exponent.zext(64))).low(32)
    small = select(exponent < 874, const(0, 32), denormal)
    zero = (v & (SIGN - 1)) == 0
    return_(select((exponent > 896) | zero, plain, sign | small))


def _load(single: bool, ea: Operand) -> Val:
    v: Val = fp_double(load(32, ea)) if single else load(64, ea)
    return v


def _store(single: bool, ea: Operand, v: Val) -> None:
    if single:
        store(32, ea, fp_single(v))
    else:
        store(64, ea, v)


@table("{name} frt, d(ra0)", {"lfs": D(48), "lfd": D(50)}, see="4.6.2", needs="fpu")
def fp_load_d(frt: Op, d: Op, ra0: Op, *, name: str) -> None:
    """Load a single or a double."""
    available()
    frt.set(_load(name == "lfs", ra0.read() + d.read()))


@table("{name} frt, d(ra)", {"lfsu": D(49), "lfdu": D(51)}, see="4.6.2", needs="fpu", undefined="RA 0")
def fp_load_d_update(frt: Op, d: Op, ra: Op, *, name: str) -> None:
    """Load with Update."""
    available()
    ea = ra.read() + d.read()
    frt.set(_load(name == "lfsu", ea))
    ra.set(ea)


@table("{name} frt, ra0, rb", {"lfsx": X(31, 535, rc=0), "lfdx": X(31, 599, rc=0)}, see="4.6.2", needs="fpu")
def fp_load_x(frt: Op, ra0: Op, rb: Op, *, name: str) -> None:
    """Load Indexed."""
    available()
    frt.set(_load(name == "lfsx", ra0.read() + rb.read()))


@table(
    "{name} frt, ra, rb",
    {"lfsux": X(31, 567, rc=0), "lfdux": X(31, 631, rc=0)},
    see="4.6.2",
    needs="fpu",
    undefined="RA 0",
)
def fp_load_x_update(frt: Op, ra: Op, rb: Op, *, name: str) -> None:
    """Load with Update Indexed."""
    available()
    ea = ra.read() + rb.read()
    frt.set(_load(name == "lfsux", ea))
    ra.set(ea)


@table("{name} frs, d(ra0)", {"stfs": D(52), "stfd": D(54)}, see="4.6.3", needs="fpu")
def fp_store_d(frs: Op, d: Op, ra0: Op, *, name: str) -> None:
    """Store a single or a double."""
    available()
    _store(name == "stfs", ra0.read() + d.read(), frs.read())


@table("{name} frs, d(ra)", {"stfsu": D(53), "stfdu": D(55)}, see="4.6.3", needs="fpu", undefined="RA 0")
def fp_store_d_update(frs: Op, d: Op, ra: Op, *, name: str) -> None:
    """Store with Update."""
    available()
    ea = ra.read() + d.read()
    _store(name == "stfsu", ea, frs.read())
    ra.set(ea)


@table("{name} frs, ra0, rb", {"stfsx": X(31, 663, rc=0), "stfdx": X(31, 727, rc=0)}, see="4.6.3", needs="fpu")
def fp_store_x(frs: Op, ra0: Op, rb: Op, *, name: str) -> None:
    """Store Indexed."""
    available()
    _store(name == "stfsx", ra0.read() + rb.read(), frs.read())


@table(
    "{name} frs, ra, rb",
    {"stfsux": X(31, 695, rc=0), "stfdux": X(31, 759, rc=0)},
    see="4.6.3",
    needs="fpu",
    undefined="RA 0",
)
def fp_store_x_update(frs: Op, ra: Op, rb: Op, *, name: str) -> None:
    """Store with Update Indexed."""
    available()
    ea = ra.read() + rb.read()
    _store(name == "stfsux", ea, frs.read())
    ra.set(ea)


@insn("stfiwx frs, ra0, rb", X(31, 983, rc=0), see="4.6.3", needs="fpu")
def stfiwx(frs: Op, ra0: Op, rb: Op) -> None:
    """Store as Integer Word Indexed: the low word as it is."""
    available()
    store(32, ra0.read() + rb.read(), frs.read().low(32))
