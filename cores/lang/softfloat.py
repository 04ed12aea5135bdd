"""IEEE 754 arithmetic in exact integers, the readable twin of softfloat.c.

An operand is unpacked into sign * sig * 2**exp, the operation is done exactly on Python integers (or, for division
and roots, to far more bits than any format keeps, with a sticky last bit), and the result is rounded once. The
reference interpreter calls the ``fx_`` functions; generated C calls the functions of the same names in softfloat.c,
which give the same bits by other means. ``OPERATIONS`` names every flat operation with the widths of its operands and
results.

Sources: IEEE 754-2008; Intel SDM volume 1, chapters 4, 8 and 11, and the x87 entries of volume 2; Power ISA Book I,
chapter 4.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import lru_cache
from math import isqrt
from typing import TYPE_CHECKING, NamedTuple

# Exceptions, in the order of the x87 status word and of MXCSR.
INVALID = 0x01
DENORMAL = 0x02
DIVZERO = 0x04
OVERFLOW = 0x08
UNDERFLOW = 0x10
INEXACT = 0x20
# Condition codes in the places of the x87 status word. C1 after rounding: the magnitude was rounded up.
C0 = 0x0100
C1 = 0x0200
C2 = 0x0400
C3 = 0x4000
# Why an operation was invalid; reported under the PowerPC rule only.
VXSNAN = 0x010000
VXISI = 0x020000
VXIDI = 0x040000
VXZDZ = 0x080000
VXIMZ = 0x100000
VXVC = 0x200000
VXSQRT = 0x400000
VXCVI = 0x800000

# Rounding, in the x86 RC encoding.
NEAREST, DOWN, UP, ZERO = range(4)
# NaN rules; see softfloat.h.
NAN_SSE, NAN_X87, NAN_PPC = range(3)
# Results of a comparison: CF, PF, ZF of EFLAGS; shifted left by 8, C0, C2, C3 of the x87 status word.
GREATER, LESS, EQUAL, UNORDERED = 0x00, 0x01, 0x40, 0x45


class Control(NamedTuple):
    """The packed control word of the flat functions, taken apart. ``precision`` is in bits."""

    round: int = NEAREST
    precision: int = 64
    tiny_before: bool = False
    daz: bool = False
    ftz: bool = False
    nan_rule: int = NAN_SSE
    single: bool = False
    unmasked: int = 0

    def pack(self) -> int:
        """The control word the flat functions take."""
        pc = {24: 0, 53: 2}.get(self.precision, 3)
        flags = self.tiny_before << 4 | self.daz << 5 | self.ftz << 6 | self.single << 9
        return self.round | pc << 2 | flags | self.nan_rule << 7 | self.unmasked << 16


@lru_cache(maxsize=1024)
def unpack_control(ctl: int) -> Control:
    """Takes a control word apart; reserved precision codes count as 64 bits."""
    return Control(
        round=ctl & 3,
        precision={0: 24, 2: 53}.get(ctl >> 2 & 3, 64),
        tiny_before=bool(ctl & 0x10),
        daz=bool(ctl & 0x20),
        ftz=bool(ctl & 0x40),
        nan_rule=ctl >> 7 & 3,
        single=bool(ctl & 0x200),
        unmasked=ctl >> 16 & 0x3F,
    )


class Format(NamedTuple):
    """A floating-point format. ``explicit`` says that the integer bit is stored."""

    exponent_bits: int
    fraction_bits: int
    explicit: bool

    @property
    def bias(self) -> int:
        return (1 << self.exponent_bits - 1) - 1

    @property
    def precision(self) -> int:
        """Significand bits, the integer bit included."""
        return self.fraction_bits + 1

    @property
    def emax(self) -> int:
        """Exponent of the largest numbers."""
        return self.bias

    @property
    def emin(self) -> int:
        """Exponent of the smallest normal number."""
        return 1 - self.bias

    @property
    def stored_bits(self) -> int:
        """Bits below the exponent field."""
        return self.fraction_bits + self.explicit

    def make(self, sign: int, biased: int, low: int) -> int:
        return (sign << self.exponent_bits | biased) << self.stored_bits | low

    def infinity(self, sign: int) -> int:
        return self.make(sign, (1 << self.exponent_bits) - 1, self.explicit << self.fraction_bits)

    def nan(self, sign: int, payload: int) -> int:
        """A quiet NaN; ``payload`` is the fraction without the quiet bit."""
        quiet = 1 << self.fraction_bits - 1
        return self.infinity(sign) | quiet | payload

    def finite(self, sign: int, sig: int, exp: int) -> int:
        """Packs sig * 2**exp, which the format can hold exactly."""
        if sig == 0:
            return self.make(sign, 0, 0)
        top = max(sig.bit_length() - 1 + exp, self.emin)
        shift = exp - (top - self.fraction_bits)
        m = sig << shift if shift >= 0 else sig >> -shift
        normal = m >> self.fraction_bits
        low = m if self.explicit else m & ((1 << self.fraction_bits) - 1)
        return self.make(sign, top + self.bias if normal else 0, low)


F32 = Format(8, 23, False)
F64 = Format(11, 52, False)
F80 = Format(15, 63, True)


class Kind(Enum):
    """What a pattern stands for. UNSUPPORTED: unnormals, pseudo-infinities and pseudo-NaNs of the 80-bit format."""

    ZERO = 0
    FINITE = 1
    INFINITE = 2
    QNAN = 3
    SNAN = 4
    UNSUPPORTED = 5


class Number(NamedTuple):
    """An unpacked operand: value (-1)**sign * sig * 2**exp when FINITE; sig is the fraction when a NaN."""

    kind: Kind
    sign: int
    sig: int
    exp: int
    denormal: bool
    bits: int

    @property
    def is_nan(self) -> bool:
        return self.kind in (Kind.QNAN, Kind.SNAN)

    @property
    def top(self) -> int:
        """floor(log2(magnitude)) of a FINITE number."""
        return self.sig.bit_length() - 1 + self.exp

    @property
    def signed(self) -> int:
        return -self.sig if self.sign else self.sig


class Env:
    """One operation under way: its control word and the exceptions it has raised."""

    def __init__(self, ctl: int) -> None:
        self.control = unpack_control(ctl)
        self.flags = 0

    @property
    def stopped(self) -> bool:
        """Has an exception been raised that is unmasked and keeps the operation from having a result?"""
        return bool(self.flags & self.control.unmasked & (INVALID | DENORMAL | DIVZERO))

    def invalid(self, why: int = 0) -> None:
        self.flags |= INVALID
        if self.control.nan_rule == NAN_PPC:
            self.flags |= why

    def inexact(self, up: bool) -> None:
        self.flags |= INEXACT | (C1 if up else 0)

    def unpack(self, fmt: Format, bits: int) -> Number:
        """Takes an operand apart; under DAZ a binary32 or binary64 denormal becomes a zero."""
        sign = bits >> (fmt.exponent_bits + fmt.stored_bits) & 1
        biased = bits >> fmt.stored_bits & ((1 << fmt.exponent_bits) - 1)
        low = bits & ((1 << fmt.stored_bits) - 1)
        fraction = low & ((1 << fmt.fraction_bits) - 1)
        integer = low >> fmt.fraction_bits if fmt.explicit else int(biased != 0)
        if biased and not integer:
            return Number(Kind.UNSUPPORTED, sign, 0, 0, False, bits)
        if biased == (1 << fmt.exponent_bits) - 1:
            if fraction == 0:
                return Number(Kind.INFINITE, sign, 0, 0, False, bits)
            quiet = fraction >> (fmt.fraction_bits - 1)
            return Number(Kind.QNAN if quiet else Kind.SNAN, sign, fraction, 0, False, bits)
        sig = integer << fmt.fraction_bits | fraction
        if sig and not biased and self.control.daz and not fmt.explicit:
            return Number(Kind.ZERO, sign, 0, 0, False, bits)
        exp = max(biased, 1) - fmt.bias - fmt.fraction_bits
        return Number(Kind.FINITE if sig else Kind.ZERO, sign, sig, exp, bool(sig and not biased), bits)

    def denormals(self, *operands: Number) -> None:
        if any(x.denormal for x in operands):
            self.flags |= DENORMAL

    def default_nan(self, fmt: Format) -> int:
        return fmt.nan(int(self.control.nan_rule != NAN_PPC), 0)

    def invalid_result(self, fmt: Format, first: Number, why: int = 0) -> int:
        self.invalid(why)
        return first.bits if self.stopped else self.default_nan(fmt)

    def nan_result(self, fmt: Format, a: Number, b: Number) -> int | None:
        """The result of an operation with a NaN or an unsupported pattern among its operands, else None."""
        if Kind.UNSUPPORTED in (a.kind, b.kind):
            return self.invalid_result(fmt, a)
        nans = [x for x in (a, b) if x.is_nan]
        if not nans:
            return None
        if any(x.kind is Kind.SNAN for x in nans):
            self.invalid(VXSNAN)
        if self.stopped:
            return a.bits
        chosen = nans[0]
        if self.control.nan_rule == NAN_X87:
            chosen = max(nans, key=lambda x: (x.kind is Kind.QNAN if a.kind is not b.kind else 0, x.sig, -x.sign))
        return fmt.nan(chosen.sign, chosen.sig)

    def rounds_up(self, sign: int, odd: int, low: int, half: int) -> bool:
        """Does a magnitude go up, when ``low`` is dropped below the last bit kept and ``half`` is half of that bit?"""
        if self.control.round == NEAREST:
            return low > half or (low == half and bool(odd))
        return low != 0 and self.control.round == (DOWN if sign else UP)

    def quantize(self, sign: int, sig: int, exp: int, unit: int) -> tuple[int, bool, bool]:
        """sig * 2**exp as a multiple of 2**unit: (multiple, inexact, rounded up)."""
        shift = unit - exp
        if shift <= 0:
            return sig << -shift, False, False
        m, low = sig >> shift, sig & ((1 << shift) - 1)
        up = self.rounds_up(sign, m & 1, low, 1 << (shift - 1))
        return m + up, low != 0, up

    def round(self, fmt: Format, sign: int, sig: int, exp: int, precision: int = 0) -> int:
        """Rounds (-1)**sign * sig * 2**exp, sig > 0, into ``fmt`` and raises overflow, underflow and inexact."""
        target, out = fmt, fmt
        if fmt is F64 and self.control.single:
            target = F32
        p = precision or target.precision
        adjust = 3 << (target.exponent_bits - 2)
        top = sig.bit_length() - 1 + exp
        m, inexact, up = self.quantize(sign, sig, exp, top - p + 1)  # as if the exponent had no bounds
        rounded_top = top + (m >> p)
        tiny = (top if self.control.tiny_before else rounded_top) < target.emin
        if tiny and self.control.unmasked & UNDERFLOW:
            self.flags |= UNDERFLOW
            if rounded_top + adjust < out.emin:
                if fmt is F80:
                    self.inexact(False)
                elif inexact:
                    self.inexact(up)
                return out.make(sign, 0, 0)
            if inexact:
                self.inexact(up)
            return out.finite(sign, m, top - p + 1 + adjust)
        if tiny and self.control.ftz and not fmt.explicit:
            self.flags |= UNDERFLOW | INEXACT
            return out.make(sign, 0, 0)
        if top < target.emin:
            m, inexact, up = self.quantize(sign, sig, exp, target.emin - p + 1)
            if inexact:
                self.inexact(up)
                self.flags |= UNDERFLOW if tiny else 0
            return out.finite(sign, m, target.emin - p + 1)
        if rounded_top > target.emax:
            self.flags |= OVERFLOW
            wraps = bool(self.control.unmasked & OVERFLOW)
            if wraps and rounded_top - adjust <= out.emax:
                if inexact:
                    self.inexact(up)
                return out.finite(sign, m, top - p + 1 - adjust)
            if wraps and not fmt.explicit:
                if inexact:
                    self.inexact(up)
                return out.infinity(sign)
            infinite = wraps or self.control.round in (NEAREST, DOWN if sign else UP)
            self.inexact(infinite)
            return out.infinity(sign) if infinite else out.finite(sign, (1 << p) - 1, target.emax - p + 1)
        if inexact:
            self.inexact(up)
        return out.finite(sign, m, top - p + 1)

    def round_int(self, x: Number) -> tuple[int, bool, bool]:
        """The magnitude of a FINITE number as an integer: (integer, inexact, rounded up)."""
        return self.quantize(x.sign, x.sig, x.exp, 0)


def _precision(env: Env, fmt: Format) -> int:
    return env.control.precision if fmt is F80 else 0


def add(env: Env, fmt: Format, a: int, b: int, negate: int = 0) -> int:
    x, y = env.unpack(fmt, a), env.unpack(fmt, b)
    nan = env.nan_result(fmt, x, y)
    if nan is not None:
        return nan
    sy = y.sign ^ negate
    if x.kind is Kind.INFINITE and y.kind is Kind.INFINITE and x.sign != sy:
        return env.invalid_result(fmt, x, VXISI)
    env.denormals(x, y)
    if env.stopped:
        return a
    if x.kind is Kind.INFINITE:
        return a
    if y.kind is Kind.INFINITE:
        return fmt.infinity(sy)
    exp = min(x.exp, y.exp)
    total = (x.signed << (x.exp - exp)) + ((-y.sig if sy else y.sig) << (y.exp - exp))
    if total == 0:
        return fmt.make(x.sign if x.sign == sy and x.sig == 0 else int(env.control.round == DOWN), 0, 0)
    return env.round(fmt, int(total < 0), abs(total), exp, _precision(env, fmt))


def sub(env: Env, fmt: Format, a: int, b: int) -> int:
    return add(env, fmt, a, b, 1)


def mul(env: Env, fmt: Format, a: int, b: int) -> int:
    x, y = env.unpack(fmt, a), env.unpack(fmt, b)
    nan = env.nan_result(fmt, x, y)
    if nan is not None:
        return nan
    kinds = {x.kind, y.kind}
    if kinds == {Kind.INFINITE, Kind.ZERO}:
        return env.invalid_result(fmt, x, VXIMZ)
    env.denormals(x, y)
    if env.stopped:
        return a
    sign = x.sign ^ y.sign
    if Kind.INFINITE in kinds:
        return fmt.infinity(sign)
    if Kind.ZERO in kinds:
        return fmt.make(sign, 0, 0)
    return env.round(fmt, sign, x.sig * y.sig, x.exp + y.exp, _precision(env, fmt))


def div(env: Env, fmt: Format, a: int, b: int) -> int:
    x, y = env.unpack(fmt, a), env.unpack(fmt, b)
    nan = env.nan_result(fmt, x, y)
    if nan is not None:
        return nan
    sign = x.sign ^ y.sign
    if x.kind is y.kind and x.kind in (Kind.INFINITE, Kind.ZERO):
        return env.invalid_result(fmt, x, VXIDI if x.kind is Kind.INFINITE else VXZDZ)
    if x.kind is Kind.FINITE and y.kind is Kind.ZERO:
        env.flags |= DIVZERO  # comes before the denormal exception
        return a if env.stopped else fmt.infinity(sign)
    env.denormals(x, y)
    if env.stopped:
        return a
    if x.kind is Kind.INFINITE:
        return fmt.infinity(sign)
    if x.kind is Kind.ZERO or y.kind is Kind.INFINITE:
        return fmt.make(sign, 0, 0)
    quotient, rest = divmod(x.sig << 200, y.sig)
    return env.round(fmt, sign, quotient << 1 | (rest != 0), x.exp - y.exp - 201, _precision(env, fmt))


def sqrt(env: Env, fmt: Format, a: int) -> int:
    x = env.unpack(fmt, a)
    nan = env.nan_result(fmt, x, x)
    if nan is not None:
        return nan
    if x.kind is Kind.ZERO:
        return fmt.make(x.sign, 0, 0)
    if x.sign:
        return env.invalid_result(fmt, x, VXSQRT)
    if x.kind is Kind.INFINITE:
        return a
    env.denormals(x)
    if env.stopped:
        return a
    shift = 300 + (x.exp & 1)
    root = isqrt(x.sig << shift)
    inexact = root * root != x.sig << shift
    return env.round(fmt, 0, root << 1 | inexact, (x.exp - shift) // 2 - 1, _precision(env, fmt))


def rem(env: Env, fmt: Format, a: int, b: int) -> int:
    """IEEE remainder: a - b*n, n the integer nearest to a/b, ties to even; exact for any distance of the exponents."""
    x, y = env.unpack(fmt, a), env.unpack(fmt, b)
    nan = env.nan_result(fmt, x, y)
    if nan is not None:
        return nan
    if x.kind is Kind.INFINITE or y.kind is Kind.ZERO:
        return env.invalid_result(fmt, x)
    env.denormals(x, y)
    if env.stopped:
        return a
    if x.kind is Kind.ZERO:
        return fmt.make(x.sign, 0, 0)
    if y.kind is Kind.INFINITE:
        return env.round(fmt, x.sign, x.sig, x.exp)
    exp = min(x.exp, y.exp)
    divisor = y.sig << (y.exp - exp)
    quotient, rest = divmod(x.sig << (x.exp - exp), divisor)
    sign = x.sign
    if 2 * rest > divisor or (2 * rest == divisor and quotient & 1):
        rest, sign = divisor - rest, 1 - sign
    return env.round(fmt, sign, rest, exp) if rest else fmt.make(sign, 0, 0)


def muladd(env: Env, fmt: Format, a: int, b: int, c: int) -> int:
    """a * b + c with one rounding."""
    x, y, z = env.unpack(fmt, a), env.unpack(fmt, b), env.unpack(fmt, c)
    ppc = env.control.nan_rule == NAN_PPC
    kinds = {x.kind, y.kind}
    no_product = kinds == {Kind.INFINITE, Kind.ZERO}
    nans = [n for n in ((x, z, y) if ppc else (x, y, z)) if n.is_nan]
    if nans:
        if any(n.kind is Kind.SNAN for n in nans):
            env.invalid(VXSNAN)
        if no_product and ppc:
            env.invalid(VXIMZ)
        return a if env.stopped else fmt.nan(nans[0].sign, nans[0].sig)
    sign = x.sign ^ y.sign
    infinite = Kind.INFINITE in kinds
    if no_product or (infinite and z.kind is Kind.INFINITE and sign != z.sign):
        return env.invalid_result(fmt, x, VXIMZ if no_product else VXISI)
    env.denormals(x, y, z)
    if env.stopped:
        return a
    if infinite:
        return fmt.infinity(sign)
    if z.kind is Kind.INFINITE:
        return c
    product, pexp = x.sig * y.sig, x.exp + y.exp
    exp = min(pexp, z.exp)
    total = ((-product if sign else product) << (pexp - exp)) + (z.signed << (z.exp - exp))
    if total == 0:
        both_zero = product == 0 and z.sig == 0
        return fmt.make(sign if both_zero and sign == z.sign else int(env.control.round == DOWN), 0, 0)
    return env.round(fmt, int(total < 0), abs(total), exp)


def compare(env: Env, fmt: Format, a: int, b: int, quiet: bool = False) -> int:
    """GREATER, LESS, EQUAL or UNORDERED; a quiet NaN is invalid unless ``quiet``."""
    x, y = env.unpack(fmt, a), env.unpack(fmt, b)
    if Kind.UNSUPPORTED in (x.kind, y.kind):
        env.invalid()
        return UNORDERED
    if x.is_nan or y.is_nan:
        if Kind.SNAN in (x.kind, y.kind):
            env.invalid(VXSNAN)
        if not quiet:
            env.invalid(VXVC)
        return UNORDERED
    env.denormals(x, y)

    def order(n: Number) -> tuple[int, int, int]:
        if n.kind is Kind.ZERO:
            return (0, 0, 0)
        way = -1 if n.sign else 1
        return (
            (way * 2, 0, 0) if n.kind is Kind.INFINITE else (way, way * n.top, way * (n.sig << 64 - n.sig.bit_length()))
        )

    left, right = order(x), order(y)
    return EQUAL if left == right else LESS if left < right else GREATER


def compare_quiet(env: Env, fmt: Format, a: int, b: int) -> int:
    return compare(env, fmt, a, b, True)


def _minmax(env: Env, fmt: Format, a: int, b: int, wanted: int) -> int:
    """MINSS and MAXSS: the second operand for two zeros and for any NaN, which is always invalid."""
    order = compare(env, fmt, a, b)
    if env.stopped:
        return a
    chosen = env.unpack(fmt, a if order == wanted else b)
    return fmt.make(chosen.sign, 0, 0) if chosen.kind is Kind.ZERO else chosen.bits


def minimum(env: Env, fmt: Format, a: int, b: int) -> int:
    return _minmax(env, fmt, a, b, LESS)


def maximum(env: Env, fmt: Format, a: int, b: int) -> int:
    return _minmax(env, fmt, a, b, GREATER)


def round_int(env: Env, fmt: Format, a: int) -> int:
    """The nearest integer in the rounding mode, as a number of the same format."""
    x = env.unpack(fmt, a)
    nan = env.nan_result(fmt, x, x)
    if nan is not None:
        return nan
    if x.kind is Kind.INFINITE:
        return a
    if fmt is F80:
        env.denormals(x)
        if env.stopped:
            return a
    m, inexact, up = env.round_int(x)
    if inexact:
        env.inexact(up)
    return fmt.finite(x.sign, m, 0)


def to_int(env: Env, fmt: Format, a: int, bits: int, signed: bool = True) -> int:
    """A number as an integer of ``bits`` bits; out of range is invalid: the integer indefinite, or it saturates."""
    x = env.unpack(fmt, a)
    low, high = (-1 << bits - 1, (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    value = low - 1 if x.sign else high + 1
    inexact = up = False
    if x.kind is Kind.ZERO:
        value = 0
    elif x.kind is Kind.FINITE and x.top < 64:
        m, inexact, up = env.round_int(x)
        value = -m if x.sign else m
    if low <= value <= high:
        if inexact:
            env.inexact(up)
        return value & ((1 << bits) - 1)
    env.invalid(VXCVI | (VXSNAN if x.kind is Kind.SNAN else 0))
    if env.control.nan_rule == NAN_PPC:
        negative = x.sign or x.kind in (Kind.QNAN, Kind.SNAN, Kind.UNSUPPORTED)
        return (low if negative else high) & ((1 << bits) - 1)
    return low & ((1 << bits) - 1) if signed else high


def from_int(env: Env, fmt: Format, value: int) -> int:
    return env.round(fmt, int(value < 0), abs(value), 0) if value else 0


def convert(env: Env, source: Format, target: Format, a: int) -> int:
    """From one format to another. From 80 bits, as FST does it, a denormal operand is no exception."""
    x = env.unpack(source, a)
    if x.kind is Kind.UNSUPPORTED:
        env.invalid()
        return 0 if env.stopped else env.default_nan(target)
    if x.is_nan:
        if x.kind is Kind.SNAN:
            env.invalid(VXSNAN)
        if env.stopped:
            return 0
        shift = target.fraction_bits - source.fraction_bits
        return target.nan(x.sign, x.sig << shift if shift >= 0 else x.sig >> -shift)
    if source is not F80:
        env.denormals(x)
        if env.stopped:
            return 0
    if x.kind is Kind.INFINITE:
        return target.infinity(x.sign)
    if x.kind is Kind.ZERO:
        return target.make(x.sign, 0, 0)
    if target.fraction_bits > source.fraction_bits:
        return target.finite(x.sign, x.sig, x.exp)
    return env.round(target, x.sign, x.sig, x.exp)


def prem(env: Env, fmt: Format, a: int, b: int, nearest: bool = False) -> int:
    """FPREM, and with ``nearest`` FPREM1: remainder with the low quotient bits in C0, C3, C1.

    Exponents 64 or more apart are brought between 32 and 63 bits closer and C2 says that the work is not done.
    """
    x, y = env.unpack(fmt, a), env.unpack(fmt, b)
    nan = env.nan_result(fmt, x, y)
    if nan is not None:
        return nan
    if x.kind is Kind.INFINITE or y.kind is Kind.ZERO:
        return env.invalid_result(fmt, x)
    env.denormals(x, y)
    if env.stopped or x.kind is Kind.ZERO:
        return a
    if y.kind is Kind.INFINITE:
        return env.round(fmt, x.sign, x.sig, x.exp)
    sign, distance = x.sign, x.top - y.top
    if distance >= 64:
        env.flags |= C2
        step = y.exp + distance - (distance & 31 | 32)
        exp = min(x.exp, step)
        rest = (x.sig << (x.exp - exp)) % (y.sig << (step - exp))
    else:
        exp = min(x.exp, y.exp)
        divisor = y.sig << (y.exp - exp)
        quotient, rest = divmod(x.sig << (x.exp - exp), divisor)
        if nearest and (2 * rest > divisor or (2 * rest == divisor and quotient & 1)):
            quotient, rest, sign = quotient + 1, divisor - rest, 1 - sign
        env.flags |= (C0 if quotient & 4 else 0) | (C3 if quotient & 2 else 0) | (C1 if quotient & 1 else 0)
    return env.round(fmt, sign, rest, exp) if rest else fmt.make(sign, 0, 0)


def prem1(env: Env, fmt: Format, a: int, b: int) -> int:
    return prem(env, fmt, a, b, True)


def scale(env: Env, fmt: Format, a: int, b: int) -> int:
    """FSCALE: a * 2**trunc(b)."""
    x, y = env.unpack(fmt, a), env.unpack(fmt, b)
    nan = env.nan_result(fmt, x, y)
    if nan is not None:
        return nan
    if y.kind is Kind.INFINITE and x.kind is (Kind.INFINITE if y.sign else Kind.ZERO):
        return env.invalid_result(fmt, x)
    env.denormals(x, y)
    if env.stopped or x.kind in (Kind.INFINITE, Kind.ZERO):
        return a
    if y.kind is Kind.INFINITE:
        return fmt.make(x.sign, 0, 0) if y.sign else fmt.infinity(x.sign)
    distance = 0
    if y.kind is Kind.FINITE and y.top >= 0:
        distance = y.sig >> -y.exp if y.top < 16 else 1 << 16
    return env.round(fmt, x.sign, x.sig, x.exp + (-distance if y.sign else distance))


def xtract(env: Env, fmt: Format, a: int) -> tuple[int, int]:
    """FXTRACT: (significand, unbiased exponent), both as numbers."""
    x = env.unpack(fmt, a)
    nan = env.nan_result(fmt, x, x)
    if nan is not None:
        return nan, nan
    if x.kind is Kind.INFINITE:
        return a, fmt.infinity(0)
    if x.kind is Kind.ZERO:
        env.flags |= DIVZERO
        return a, a if env.stopped else fmt.infinity(1)
    env.denormals(x)
    if env.stopped:
        return a, a
    return fmt.finite(x.sign, x.sig, 1 - x.sig.bit_length()), fmt.finite(int(x.top < 0), abs(x.top), 0)


BCD_INDEFINITE = 0xFFFFC000000000000000


def to_bcd(env: Env, fmt: Format, a: int) -> int:
    """FBSTP: sign byte and 18 packed decimal digits."""
    x = env.unpack(fmt, a)
    m, inexact, up = 10**18, False, False
    if x.kind is Kind.ZERO:
        m = 0
    elif x.kind is Kind.FINITE and x.top < 64:
        m, inexact, up = env.round_int(x)
    if m >= 10**18:
        env.invalid()
        return BCD_INDEFINITE
    if inexact:
        env.inexact(up)
    return x.sign << 79 | int(str(m), 16)


def from_bcd(env: Env, fmt: Format, a: int) -> int:
    """FBLD. A nibble above 9, which the manual leaves open, counts with its value."""
    m = sum((a >> 4 * i & 15) * 10**i for i in range(18))
    return fmt.finite(a >> 79, m, 0)


# Transcendentals of the x87. softfloat.c does the same steps in the same order on 128-bit words. A value is a fraction
# of 128 bits or a Wide; products keep their upper 128 bits. The error stays below 2**-118 of the result, which is then
# rounded as always, so that it is the correctly rounded one but for arguments whose true result lies that close to a
# halfway case. Precision control has no say; inexact is always raised.

TOP128 = 1 << 127


class Wide(NamedTuple):
    """m * 2**(e - 127), bit 127 of m set: a positive number of 128 significant bits."""

    m: int
    e: int


def _wide(m: int, e: int) -> Wide:
    """Moves the leading bit of m to bit 127; e is the exponent bit 127 has before."""
    shift = 128 - m.bit_length()
    return Wide(m << shift, e - shift)


def _mul_hi(a: int, b: int) -> int:
    return a * b >> 128


def _shr(m: int, n: int) -> int:
    return m >> n if n < 128 else 0


def _reciprocal(d: int) -> int:
    """About 2**254 / d for d with bit 127 set: one division for 63 bits, one Newton step for the rest."""
    r0 = (1 << 126) // (d >> 64)
    error = (1 << 126) - (d * r0 >> 64)
    step = r0 * abs(error) >> 62
    return (r0 << 64) + (step if error >= 0 else -step)


def _horner(coefficients: tuple[int, ...], x: int, alternate: bool) -> int:
    """c[0] + c[1] x + c[2] x**2 ..., or with alternating signs; x a fraction, every partial sum positive."""
    total = coefficients[-1]
    for c in coefficients[-2::-1]:
        part = _mul_hi(x, total)
        total = c - part if alternate else c + part
    return total


# Constants, from series with 128 bits to spare.
_SCALE = 256


def _atan_16ths(i: int) -> int:
    """atan(i/16) * 2**_SCALE by Euler's series."""
    term = (16 * i << _SCALE) // (256 + i * i)
    total, n = 0, 0
    while term:
        total += term
        n += 1
        term = term * 2 * n * i * i // ((2 * n + 1) * (256 + i * i))
    return total


def _powers_over_factorials(x: int, first: int, step: int, count: int, bits: int) -> tuple[int, ...]:
    """x**n / n! * 2**bits for ``count`` values of n: first, first + step, ...; x scaled by 2**_SCALE."""
    out, term = [], 1 << _SCALE
    for n in range(first + step * count):
        if n >= first and (n - first) % step == 0:
            out.append(term >> _SCALE - bits)
        term = (term * x >> _SCALE) // (n + 1)
    return tuple(out)


_LN2 = sum((1 << _SCALE) // (k << k) for k in range(1, _SCALE + 1))
PI_126 = 4 * _atan_16ths(16) >> _SCALE - 126
EXP2_TERMS = _powers_over_factorials(_LN2, 1, 1, 30, 128)
"""ln(2)**(n+1) / (n+1)! * 2**128: (2**x - 1) / x."""
LOG2_TERMS = tuple((2 << 2 * _SCALE) // (_LN2 * (2 * n + 1)) >> _SCALE - 126 for n in range(26))
"""2 / ln(2) / (2n+1) * 2**126: log2((1+s) / (1-s)) / s by powers of s**2."""
SIN_TERMS = _powers_over_factorials(1 << _SCALE, 1, 2, 17, 127)
COS_TERMS = _powers_over_factorials(1 << _SCALE, 0, 2, 17, 127)
ATAN_TERMS = tuple((1 << 127) // (2 * n + 1) for n in range(14))
ATAN_TABLE = tuple(_atan_16ths(i) >> _SCALE - 127 for i in range(17))
# The leading terms of these are one unit low: what is truncated always leaves the result below its bound.
SIN_TERMS = (SIN_TERMS[0] - 1, *SIN_TERMS[1:])
COS_TERMS = (COS_TERMS[0] - 1, *COS_TERMS[1:])
ATAN_TERMS = (ATAN_TERMS[0] - 1, *ATAN_TERMS[1:])
HALF_PI_X87 = 0xC90FDAA22168C234C
"""pi/2 * 2**67 as the x87 has it: 66 significant bits of pi."""
SQRT2 = 0xB504F333F9DE6484 << 64
TINY = -34
"""Below this exponent x - x**3/6 and the like differ from x by less than the rounding can see."""
TINY_RATIO = -58
"""Below this exponent u**3/3 is less than the error of the reciprocal, and atan u is taken to be a little below u."""


def _round_wide(env: Env, sign: int, value: Wide) -> int:
    return env.round(F80, sign, value.m << 1 | 1, value.e - 128)


def _norm(x: Number) -> tuple[int, int]:
    """(significand with bit 63 set, exponent)."""
    return x.sig << 64 - x.sig.bit_length(), x.top


def _exact_but_inexact(env: Env, result: int) -> int:
    """The x87 calls these results inexact although they are not."""
    env.flags |= INEXACT
    if result >> 64 & 0x7FFF == 0:
        env.flags |= UNDERFLOW
    return result


def two_to_x_minus_1(env: Env, fmt: Format, a: int) -> int:
    """F2XM1. Outside -1..1, where the manual leaves it open, the operand."""
    x = env.unpack(fmt, a)
    nan = env.nan_result(fmt, x, x)
    if nan is not None:
        return nan
    if x.kind is Kind.INFINITE:
        return fmt.finite(1, 1, 0) if x.sign else a
    env.denormals(x)
    if env.stopped or x.kind is Kind.ZERO:
        return a
    sig, e = _norm(x)
    if e >= 0:
        half = x.sign and e == 0 and sig == 1 << 63
        return _exact_but_inexact(env, fmt.finite(1, 1, -1) if half else a)
    part = _horner(EXP2_TERMS, _shr(sig << 64, -1 - e), bool(x.sign))
    return _round_wide(env, x.sign, _wide(_mul_hi(sig << 64, part), e))


def _log2_1p(sign: int, m: int, e: int) -> Wide:
    """|log2(1 + f)| for f = (-1)**sign * m * 2**(e - 127) between 1/sqrt(2) - 1 and sqrt(2) - 1."""
    fixed = _shr(m, 1 - e)
    d = TOP128 - fixed if sign else TOP128 + fixed  # 2 + f, times 2**126
    shift = 128 - d.bit_length()
    s = _mul_hi(m, _reciprocal(d << shift))  # f / (2 + f), exponent e + shift
    e += shift
    fraction = _shr(s, -1 - e)
    return _wide(_mul_hi(s, _horner(LOG2_TERMS, _mul_hi(fraction, fraction), False)), e + 2)


def _y_log2(env: Env, m: int, k: int, y: Number) -> int:
    """y * log2(m * 2**(k - 127)), bit 127 of m set."""
    y_sig, y_exp = _norm(y)
    if m == TOP128:
        return _exact_but_inexact(env, env.round(F80, y.sign ^ (k < 0), y_sig * abs(k), y_exp - 63))
    if m > SQRT2:
        k += 1
        sign, f = 1, _wide((1 << 128) - m, -1)
    else:
        sign, f = 0, _wide(m - TOP128, 0)
    log = _log2_1p(sign, f.m, f.e)
    if k:
        fixed = _shr(log.m, 15 - log.e)
        same = (k < 0) == bool(sign)
        sign = int(k < 0)
        log = _wide((abs(k) << 112) + (fixed if same else -fixed), 15)
    return _round_wide(env, y.sign ^ sign, _wide(_mul_hi(log.m, y_sig << 64), log.e + y_exp + 1))


def y_log2_x(env: Env, fmt: Format, a: int, b: int) -> int:
    """FYL2X: b * log2(a)."""
    x, y = env.unpack(fmt, a), env.unpack(fmt, b)
    nan = env.nan_result(fmt, x, y)
    if nan is not None:
        return nan
    is_one = a == fmt.finite(0, 1, 0)
    if x.sign and x.kind is not Kind.ZERO:
        return env.invalid_result(fmt, x)
    if (y.kind is Kind.ZERO and x.kind in (Kind.ZERO, Kind.INFINITE)) or (y.kind is Kind.INFINITE and is_one):
        return env.invalid_result(fmt, x)
    if x.kind is Kind.ZERO:
        if y.kind is not Kind.INFINITE:
            env.flags |= DIVZERO
        return a if env.stopped else fmt.infinity(1 - y.sign)
    env.denormals(x, y)
    if env.stopped:
        return a
    sign = y.sign ^ (x.kind is Kind.FINITE and x.top < 0)
    if Kind.INFINITE in (x.kind, y.kind):
        return fmt.infinity(sign)
    if y.kind is Kind.ZERO or is_one:
        return fmt.make(sign, 0, 0)
    sig, e = _norm(x)
    return _y_log2(env, sig << 64, e, y)


def y_log2_x_plus_1(env: Env, fmt: Format, a: int, b: int) -> int:
    """FYL2XP1: b * log2(a + 1). For a <= -1, which the manual leaves open, a."""
    x, y = env.unpack(fmt, a), env.unpack(fmt, b)
    nan = env.nan_result(fmt, x, y)
    if nan is not None:
        return nan
    if {x.kind, y.kind} == {Kind.ZERO, Kind.INFINITE} or (x.kind is Kind.INFINITE and x.sign):
        return env.invalid_result(fmt, x)
    env.denormals(x, y)
    if env.stopped:
        return a
    sign = x.sign ^ y.sign
    if Kind.INFINITE in (x.kind, y.kind):
        return fmt.infinity(sign)
    if Kind.ZERO in (x.kind, y.kind):
        return fmt.make(sign, 0, 0)
    sig, e = _norm(x)
    if e <= -3:
        y_sig, y_exp = _norm(y)
        log = _log2_1p(x.sign, sig << 64, e)
        return _round_wide(env, sign, _wide(_mul_hi(log.m, y_sig << 64), log.e + y_exp + 1))
    if x.sign and e >= 0:
        return _exact_but_inexact(env, a)
    if e >= 62:
        return _y_log2(env, sig << 64, e, y)  # the 1 is beyond the last bit
    fixed = sig << (e + 2)
    one = _wide((1 << 65) - fixed if x.sign else (1 << 65) + fixed, 62)
    return _y_log2(env, one.m, one.e, y)


def arctangent(env: Env, fmt: Format, a: int, b: int) -> int:
    """FPATAN: the angle of the point x = a, y = b."""
    x, y = env.unpack(fmt, a), env.unpack(fmt, b)
    nan = env.nan_result(fmt, x, y)
    if nan is not None:
        return nan
    env.denormals(x, y)
    if env.stopped:
        return a
    steep = False
    if y.kind is Kind.ZERO or (x.kind is Kind.INFINITE and y.kind is not Kind.INFINITE):
        if not x.sign:
            return fmt.make(y.sign, 0, 0)
        angle = None
    elif x.kind is Kind.ZERO or (y.kind is Kind.INFINITE and x.kind is not Kind.INFINITE):
        angle, steep = None, True
    elif x.kind is Kind.INFINITE or _norm(x) == _norm(y):
        angle = _wide(ATAN_TABLE[16], 0)
    else:
        (x_sig, x_exp), (y_sig, y_exp) = _norm(x), _norm(y)
        steep = (y_exp, y_sig) > (x_exp, x_sig)
        angle = _atan_ratio(x_sig, y_sig, x_exp - y_exp) if steep else _atan_ratio(y_sig, x_sig, y_exp - x_exp)
    if angle is not None and not steep and not x.sign:
        return _round_wide(env, y.sign, angle)
    fixed = 0 if angle is None else _shr(angle.m, 1 - angle.e)
    total = (PI_126 >> 1) + (fixed if x.sign else -fixed) if steep else PI_126 - fixed
    return _round_wide(env, y.sign, _wide(total, 1))


def _atan_ratio(n: int, d: int, e: int) -> Wide:
    """atan(n/d * 2**e) for a ratio below 1, n and d with bit 63 set."""
    u = _wide(_mul_hi(n << 64, _reciprocal(d << 64)), e + 1)
    if u.e < TINY_RATIO:
        return _wide(u.m - 64, u.e)
    fixed = u.m >> -1 - u.e
    i = (fixed >> 123) + 1 >> 1
    if i == 0:
        return _wide(_mul_hi(u.m, _horner(ATAN_TERMS, _mul_hi(fixed, fixed), True)), u.e + 1)
    # atan(u) = atan(c) + atan((u - c) / (1 + u c)), c = i/16
    difference = fixed - (i << 124)
    t = _mul_hi(abs(difference), _reciprocal(TOP128 + (fixed >> 5) * i)) << 1
    part = _mul_hi(t, _horner(ATAN_TERMS, _mul_hi(t, t), True))
    return _wide(ATAN_TABLE[i] + (part if difference >= 0 else -part), 0)


def _reduce(x: Number) -> tuple[Wide, int, int]:
    """|x| = quadrant * pi/2 + (-1)**sign * rest: (rest, sign, quadrant), with the pi of the x87."""
    sig, e = _norm(x)
    if e < -1:
        return Wide(sig << 64, e), 0, 0
    quadrant, rest = divmod(sig << (e + 4), HALF_PI_X87)
    if rest > HALF_PI_X87 >> 1:
        return _wide(HALF_PI_X87 - rest, 60), 1, quadrant + 1 & 3
    return _wide(rest, 60), 0, quadrant & 3


def _sin_cos(r: Wide) -> tuple[Wide, Wide]:
    fixed = _shr(r.m, -1 - r.e)
    square = _mul_hi(fixed, fixed)
    cos = _wide(_horner(COS_TERMS, square, True), 0)
    if r.e < TINY:
        return _wide(r.m - 1, r.e), cos
    return _wide(_mul_hi(r.m, _horner(SIN_TERMS, square, True)), r.e + 1), cos


def _trigonometric(env: Env, fmt: Format, a: int) -> tuple[int | None, Number]:
    """The result when no angle has to be reduced, else None; C2 for an operand out of range."""
    x = env.unpack(fmt, a)
    nan = env.nan_result(fmt, x, x)
    if nan is not None:
        return nan, x
    if x.kind is Kind.INFINITE:
        return env.invalid_result(fmt, x), x
    env.denormals(x)
    if env.stopped:
        return a, x
    if x.kind is Kind.FINITE and x.top >= 63:
        env.flags |= C2
        return a, x
    return None, x


def _signed_sin_cos(x: Number) -> tuple[tuple[int, Wide], tuple[int, Wide]]:
    rest, sign, quadrant = _reduce(x)
    s, c = _sin_cos(rest)
    values = ((sign, s), (0, c), (1 - sign, s), (1, c))
    sine, cosine = values[quadrant], values[quadrant + 1 & 3]
    return (sine[0] ^ x.sign, sine[1]), cosine


def sine(env: Env, fmt: Format, a: int) -> int:
    """FSIN. An operand of 2**63 or more sets C2 and is returned."""
    done, x = _trigonometric(env, fmt, a)
    if done is not None or x.kind is Kind.ZERO:
        return a if done is None else done
    return _round_wide(env, *_signed_sin_cos(x)[0])


def cosine(env: Env, fmt: Format, a: int) -> int:
    """FCOS."""
    done, x = _trigonometric(env, fmt, a)
    if done is not None or x.kind is Kind.ZERO:
        return fmt.finite(0, 1, 0) if done is None else done
    return _round_wide(env, *_signed_sin_cos(x)[1])


def sine_cosine(env: Env, fmt: Format, a: int) -> tuple[int, int]:
    """FSINCOS: (sine, cosine). The exceptions are those of both; C1 is that of the cosine."""
    done, x = _trigonometric(env, fmt, a)
    if done is not None:
        return done, done
    if x.kind is Kind.ZERO:
        return a, fmt.finite(0, 1, 0)
    s, c = _signed_sin_cos(x)
    first = _round_wide(env, *s)
    env.flags &= ~C1
    return first, _round_wide(env, *c)


def tangent(env: Env, fmt: Format, a: int) -> tuple[int, int]:
    """FPTAN: (tangent, the 1 that is pushed after it)."""
    done, x = _trigonometric(env, fmt, a)
    if done is not None:
        return done, done
    one = fmt.finite(0, 1, 0)
    if x.kind is Kind.ZERO:
        return a, one
    rest, sign, quadrant = _reduce(x)
    s, c = _sin_cos(rest)
    odd = quadrant & 1
    if rest.e < TINY and not odd:
        return _round_wide(env, sign ^ x.sign, rest), one
    n, d = (c, s) if odd else (s, c)
    ratio = _wide(_mul_hi(n.m, _reciprocal(d.m)), n.e - d.e + 1)
    return _round_wide(env, sign ^ x.sign ^ odd, ratio), one


Widths = tuple[int, ...]
Flat = Callable[..., tuple[int, ...]]

OPERATIONS: dict[str, tuple[Widths, Widths]] = {}
"""Every flat operation: name -> (widths of its operands, widths of its results).

The last operand is the control word, the last result the exceptions and condition codes, both 32 bits. An 80-bit
operand or result is two values: the 64-bit significand, then sign and exponent (16 bits in 32). 16-bit integers travel
in 32 bits: the upper half is ignored on the way in and zero on the way out.
"""

FUNCTIONS: dict[str, Flat] = {}
"""The flat functions by name; each is also an attribute of this module."""


def _flat(name: str, operands: str, result: str, body: Callable[..., int | tuple[int, ...]]) -> None:
    """Registers ``fx_<name>``; ``operands`` and ``result`` are words of f32, f64, f80, bcd, i16, i32, i64, u32, cc."""
    widths = {"f80": (64, 32), "bcd": (64, 32), "f64": (64,), "i64": (64,)}
    kinds = operands.split()
    inputs = [w for k in kinds for w in widths.get(k, (32,))]
    results = result.split()
    outputs = [w for k in results for w in widths.get(k, (32,))]
    OPERATIONS["fx_" + name] = ((*inputs, 32), (*outputs, 32))

    def function(*values: int) -> tuple[int, ...]:
        env, rest = Env(values[-1]), iter(values)
        joined = []
        for kind in kinds:
            value = next(rest)
            if kind in ("f80", "bcd"):
                value |= (next(rest) & 0xFFFF) << 64
            elif kind in ("i16", "i32", "i64"):
                bits = int(kind[1:])
                value = (value & ((1 << bits) - 1) ^ 1 << bits - 1) - (1 << bits - 1)
            joined.append(value)
        out = body(env, *joined)
        flat: list[int] = []
        for kind, value in zip(results, out if isinstance(out, tuple) else (out,), strict=True):
            flat += [value & 0xFFFFFFFFFFFFFFFF, value >> 64] if kind in ("f80", "bcd") else [value]
        return (*flat, env.flags)

    function.__name__ = function.__qualname__ = "fx_" + name
    FUNCTIONS["fx_" + name] = function


def _register_common(n: str, fmt: Format) -> None:
    def body(operation: Callable[..., int]) -> Callable[..., int]:
        return lambda env, *v: operation(env, fmt, *v)

    for name, operation in (("add", add), ("sub", sub), ("mul", mul), ("div", div), ("rem", rem)):
        _flat(f"{n}_{name}", f"{n} {n}", n, body(operation))
    _flat(f"{n}_sqrt", n, n, body(sqrt))
    _flat(f"{n}_round_int", n, n, body(round_int))
    _flat(f"{n}_compare", f"{n} {n}", "cc", body(compare))
    _flat(f"{n}_compare_quiet", f"{n} {n}", "cc", body(compare_quiet))
    if fmt is not F80:
        _flat(f"{n}_min", f"{n} {n}", n, body(minimum))
        _flat(f"{n}_max", f"{n} {n}", n, body(maximum))
        _flat(f"{n}_muladd", f"{n} {n} {n}", n, body(muladd))
    for target in ("i16", "i32", "i64", "u32"):
        _register_to_int(n, fmt, target)


def _register_to_int(n: str, fmt: Format, target: str) -> None:
    bits, signed = int(target[1:]), target[0] == "i"

    def truncate(env: Env, a: int) -> int:
        env.control = env.control._replace(round=ZERO)
        return to_int(env, fmt, a, bits, signed)

    _flat(f"{n}_to_{target}", n, target, lambda env, a: to_int(env, fmt, a, bits, signed))
    _flat(f"{n}_to_{target}_trunc", n, target, truncate)


def _register_conversion(s: str, source: Format, t: str, target: Format) -> None:
    _flat(f"{s}_to_{t}", s, t, lambda env, a: convert(env, source, target, a))


def _register_from_int(s: str, t: str, target: Format) -> None:
    _flat(f"{s}_to_{t}", s, t, lambda env, a: from_int(env, target, a))


def _register_x87(name: str, operands: str, result: str, operation: Callable[..., int | tuple[int, ...]]) -> None:
    _flat(f"f80_{name}", operands, result, lambda env, *v: operation(env, F80, *v))


def _register_all() -> None:
    formats = {"f32": F32, "f64": F64, "f80": F80}
    for n, fmt in formats.items():
        _register_common(n, fmt)
        for s, source in formats.items():
            if source is not fmt:
                _register_conversion(s, source, n, fmt)
        for s in ("i16", "i32", "i64") if fmt is F80 else ("i32", "i64", "u32"):
            _register_from_int(s, n, fmt)
    two: tuple[tuple[str, Callable[..., int]], ...] = (
        ("prem", prem),
        ("prem1", prem1),
        ("scale", scale),
        ("yl2x", y_log2_x),
        ("yl2xp1", y_log2_x_plus_1),
        ("patan", arctangent),
    )
    for name, operation in two:
        _register_x87(name, "f80 f80", "f80", operation)
    for name, operation in (("2xm1", two_to_x_minus_1), ("sin", sine), ("cos", cosine)):
        _register_x87(name, "f80", "f80", operation)
    for name, pair in (("sincos", sine_cosine), ("ptan", tangent), ("xtract", xtract)):
        _register_x87(name, "f80", "f80 f80", pair)
    _register_x87("to_bcd", "f80", "bcd", to_bcd)
    _flat("bcd_to_f80", "bcd", "f80", lambda env, a: from_bcd(env, F80, a))


_register_all()
globals().update(FUNCTIONS)

if TYPE_CHECKING:

    def __getattr__(name: str) -> Flat: ...
