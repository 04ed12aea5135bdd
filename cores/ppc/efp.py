"""Embedded floating-point of the e500: vector and scalar single, and (v2) double, in the general registers.

It is not IEEE arithmetic: denormals count as zeros, NaN and infinity as the largest number, results that overflow or
underflow become the largest number or zero; software that wants more enables the exceptions of SPEFSCR (SPE
Programming Environments Manual, 4.2; e500 Core Family Reference Manual, 3.3.1). FG is set where the magnitude was
rounded up, FX for any other inexact result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..lang.trace import Proc, Val, any_of, concat, const, procedure, return_, select, when
from . import state as S
from .externs import FLOAT, raise_interrupt
from .forms import Gpr, Pattern, table
from .spe import RA, RB, RT, SPEFSCR, available, evx, verdict, word

Op = Any

# Bits of SPEFSCR, by their place from the right.
FGH, FXH, FINVH, FDBZH, FUNFH, FOVFH = 29, 28, 27, 26, 25, 24
FINXS, FINVS, FDBZS, FUNFS, FOVFS = 21, 20, 19, 18, 17
FG, FX, FINV, FDBZ, FUNF, FOVF = 13, 12, 11, 10, 9, 8
FINXE, FINVE, FDBZE, FUNFE, FOVFE = 6, 5, 4, 3, 2
STATUS = 0x3F00
# What an element reports, in the order of the status bits from FOVF up.
OVERFLOW, UNDERFLOW, DIVIDE, INVALID, STICKY, GUARD = range(6)
SF_OVERFLOW, SF_UNDERFLOW, SF_INEXACT, SF_UP = 3, 4, 5, 9


class Format(NamedTuple):
    """Widths of a number: all of it, its fraction, and the name softfloat has for it."""

    width: int
    fraction: int
    name: str

    @property
    def sign(self) -> int:
        """The sign bit."""
        return 1 << (self.width - 1)

    @property
    def infinity(self) -> int:
        """All ones in the exponent."""
        return (self.sign - 1) >> self.fraction << self.fraction

    @property
    def largest(self) -> int:
        """The largest normal number."""
        return self.infinity - 1


F32, F64 = Format(32, 23, "f32"), Format(64, 52, "f64")


def control(v: Val | None = None) -> Val:
    """Softfloat's control word: the rounding mode of SPEFSCR, tininess before rounding."""
    v = SPEFSCR.read() if v is None else v
    return ((const(0, 32) - v) & 3) | (3 << 2 | 1 << 4)


def toward_minus(status: Val) -> Val:
    """Rounding to minus infinity."""
    return (status & 3) == 3


class Number:
    """An operand taken apart."""

    def __init__(self, fmt: Format, bits: Val) -> None:
        self.fmt = fmt
        self.bits = bits

    @property
    def magnitude(self) -> Val:
        """Without its sign."""
        return self.bits & (self.fmt.sign - 1)

    @property
    def sign(self) -> Val:
        """The sign bit in its place."""
        return self.bits & self.fmt.sign

    @property
    def huge(self) -> Val:
        """NaN or infinity."""
        return self.magnitude >= self.fmt.infinity

    @property
    def none(self) -> Val:
        """Zero or a denormal."""
        return self.magnitude < 1 << self.fmt.fraction

    @property
    def odd(self) -> Val:
        """What the arithmetic is not made for: NaN, infinity, denormal."""
        return self.huge | (self.none & (self.magnitude != 0))

    @property
    def plain(self) -> Val:
        """For softfloat: a denormal as zero, and anything for what is huge."""
        return select(self.none | self.huge, self.sign, self.bits)


def report(**bits: Val) -> Val:
    """The byte that an element reports."""
    places = {
        "overflow": OVERFLOW, "underflow": UNDERFLOW, "divide": DIVIDE, "invalid": INVALID, "sticky": STICKY,
        "guard": GUARD,
    }  # fmt: skip
    total = const(0, 8)
    for name, bit in bits.items():
        total = total | (bit.zext(8) << places[name])
    return total


@procedure(32, 8, 8, results=(32, 1, 1))
def efp_outcome(old: Val, high: Val, low: Val) -> None:
    """SPEFSCR with what the elements report, and whether a data interrupt and a round interrupt follow."""
    both = high | low
    inexact = ((both & (1 << STICKY | 1 << GUARD)) != 0) | (both.bit(OVERFLOW) & ~old.bit(FOVFE))
    inexact = inexact | (both.bit(UNDERFLOW) & ~old.bit(FUNFE))
    new = old & ~const(STATUS | STATUS << 16, 32)
    new = new | (high.zext(32) << FOVFH) | (low.zext(32) << FOVF)
    for bit, sticky in ((OVERFLOW, FOVFS), (UNDERFLOW, FUNFS), (DIVIDE, FDBZS), (INVALID, FINVS)):
        new = new | (both.bit(bit).zext(32) << sticky)
    new = new | (inexact.zext(32) << FINXS)
    pairs = ((OVERFLOW, FOVFE), (UNDERFLOW, FUNFE), (DIVIDE, FDBZE), (INVALID, FINVE))
    data = any_of(*(both.bit(bit) & old.bit(enable) for bit, enable in pairs))
    rounded = new.bit(FINXE) & any_of(*(new.bit(b) for b in (FG, FX, FGH, FXH, FOVF, FUNF, FOVFH, FUNFH)))
    return_(new, data, rounded)


def settle_with(outcome: Sequence[Val]) -> Val:
    """Write SPEFSCR and take a data interrupt where one is due; gives whether the other one is, behind the result."""
    status, data, rounded = outcome
    SPEFSCR.set(status)
    with when(data, likely=False):
        raise_interrupt(S.EFP_DATA, const(S.ESR_SPV, 32))
    return rounded


def settle(high: Val, low: Val) -> Val:
    """Deliver what the elements report."""
    return settle_with(efp_outcome(SPEFSCR.read(), high, low))


def interrupt_if(rounded: Val) -> None:
    """The round interrupt, behind the result."""
    with when(rounded, likely=False):
        raise_interrupt(S.EFP_ROUND, const(S.ESR_SPV, 32))


def _inexact(flags: Val) -> tuple[Val, Val]:
    """(guard, sticky) of a result."""
    inexact = flags.bit(SF_INEXACT)
    guard = inexact & flags.bit(SF_UP)
    return guard, inexact & ~guard


_elements: dict[str, Proc] = {}


def arithmetic(fmt: Format, operation: str) -> Callable[[Val, Val], tuple[Val, Val]]:
    """An element operation: (result, report)."""
    key = f"efp_{fmt.name}_{operation}"

    def compute(status: Val, bits_a: Val, bits_b: Val) -> None:
        a = Number(fmt, bits_a)
        b = Number(fmt, bits_b ^ fmt.sign if operation == "sub" else bits_b)
        name = "add" if operation == "sub" else operation
        raw, flags = FLOAT[f"fx_{fmt.name}_{name}"](a.plain, b.plain, control(status))
        invalid = a.odd | b.odd
        largest = const(fmt.largest, fmt.width)
        divide = const(0, 1)
        if name == "add":
            special = a.huge | b.huge
            forced = largest | select(a.huge, a.sign, b.sign)
            tiny_sign = select(toward_minus(status), const(fmt.sign, fmt.width), const(0, fmt.width))
        else:
            sign = tiny_sign = a.sign ^ b.sign
            if name == "mul":
                nothing = a.none | b.none
                special = a.huge | b.huge | nothing
                forced = select(nothing, sign, sign | largest)
            else:
                divide = b.none & ~a.none & ~a.huge
                invalid = invalid | (a.none & b.none)
                special = a.huge | b.huge | a.none | b.none
                forced = select(a.huge | b.none, sign | largest, sign)
        tiny = (raw & (fmt.sign - 1)) < 1 << fmt.fraction
        underflow = ~special & ((tiny & ((raw & (fmt.sign - 1)) != 0)) | flags.bit(SF_UNDERFLOW))
        overflow = ~special & flags.bit(SF_OVERFLOW)
        normal = select(overflow, (raw & fmt.sign) | largest, select(underflow, tiny_sign, raw))
        exact = special | overflow | underflow
        guard, sticky = _inexact(flags)
        said = report(
            overflow=overflow, underflow=underflow, divide=divide, invalid=invalid, sticky=sticky & ~exact,
            guard=guard & ~exact,
        )  # fmt: skip
        return_(select(special, forced, normal), said)

    if key not in _elements:
        compute.__name__, compute.__doc__ = key, f"One element of {operation}: the result and its report."
        _elements[key] = procedure(32, fmt.width, fmt.width, results=(fmt.width, 8))(compute)

    def element(bits_a: Val, bits_b: Val) -> tuple[Val, Val]:
        result, said = _elements[key](SPEFSCR.read(), bits_a, bits_b)
        return result, said

    return element


def scalar(fmt: Format, operation: str) -> Proc:
    """The only element of an instruction: the result and what `efp_outcome` gives."""
    key = f"efp_whole_{fmt.name}_{operation}"
    arithmetic(fmt, operation)

    def compute(status: Val, a: Val, b: Val) -> None:
        x, y = Number(fmt, a), Number(fmt, b)
        with when(~(x.none | x.huge | y.none | y.huge), likely=True):
            raw, flags = FLOAT[f"fx_{fmt.name}_{operation}"](a, b, control(status))
            low = Number(fmt, raw)
            rounding = (flags & ~const(1 << SF_INEXACT | 1 << SF_UP, 32)) == 0
            with when(rounding & ~low.none & ~low.huge, likely=True):
                guard, sticky = _inexact(flags)
                inexact = guard | sticky
                new = (status & ~const(STATUS | STATUS << 16, 32)) | (inexact.zext(32) << FINXS)
                new = new | (guard.zext(32) << FG) | (sticky.zext(32) << FX)
                return_(raw, new, const(0, 1), inexact & status.bit(FINXE))
        result, said = _elements[f"efp_{fmt.name}_{operation}"](status, a, b)
        return_(result, *efp_outcome(status, const(0, 8), said))

    if key not in _elements:
        compute.__name__, compute.__doc__ = key, f"All of a scalar {operation} but the registers."
        _elements[key] = procedure(32, fmt.width, fmt.width, results=(fmt.width, 32, 1, 1))(compute)
    return _elements[key]


def signs(fmt: Format, operation: str) -> Callable[[Val], tuple[Val, Val]]:
    """Absolute value, its negative, or the negative."""

    def element(bits: Val) -> tuple[Val, Val]:
        a = Number(fmt, bits)
        if operation == "abs":
            result = a.magnitude
        else:
            result = bits | fmt.sign if operation == "nabs" else bits ^ fmt.sign
        return result, report(invalid=a.odd)

    return element


def comparison(fmt: Format, relation: str) -> Callable[[Val, Val], Val]:
    """gt, lt or eq of the numbers as they are written: NaN and infinity as if normal."""

    def element(a: Val, b: Val) -> Val:
        flip = const(fmt.sign - 1, fmt.width)

        def ordered(v: Val) -> Val:
            v = select((v & (fmt.sign - 1)) < 1 << fmt.fraction, const(0, fmt.width), v)
            return select(v.sign(), v ^ flip, v)

        x, y = ordered(a), ordered(b)
        if relation == "eq":
            return x == y
        return y.slt(x) if relation == "gt" else x.slt(y)

    return element


def to_integer(fmt: Format, kind: str) -> Callable[[Val], tuple[Val, Val]]:
    """ui, si, uiz, siz: an integer; uf, sf: a fraction of 32 bits. NaN becomes 0, what is too large the limit."""

    def element(bits: Val) -> tuple[Val, Val]:
        a = Number(fmt, bits)
        is_signed = kind[0] == "s"
        scaled = a.plain
        if kind[1] == "f":
            scaled = select(a.none, scaled, scaled + ((31 if is_signed else 32) << fmt.fraction))
            scaled = select(a.magnitude >= fmt.infinity - (40 << fmt.fraction), a.sign | fmt.largest, scaled)
        suffix = "_trunc" if kind.endswith("z") else ""
        target = "i32" if is_signed else "u32"
        raw, flags = FLOAT[f"fx_{fmt.name}_to_{target}{suffix}"](scaled, control())
        nan = a.magnitude > fmt.infinity
        beyond = flags.bit(0) | a.huge
        if is_signed:
            limit = select(a.sign != 0, const(0x80000000, 32), const(0x7FFFFFFF, 32))
        else:
            limit = select(a.sign != 0, const(0, 32), const(0xFFFFFFFF, 32))
        guard, sticky = _inexact(flags)
        said = report(invalid=a.odd | beyond, sticky=sticky & ~beyond, guard=guard & ~beyond)
        return select(nan, const(0, 32), select(beyond, limit, raw)), said

    return element


def from_integer(fmt: Format, kind: str) -> Callable[[Val], tuple[Val, Val]]:
    """The number nearest to an integer or a fraction of 32 bits."""

    def element(bits: Val) -> tuple[Val, Val]:
        source = "i32" if kind[0] == "s" else "u32"
        raw, flags = FLOAT[f"fx_{source}_to_{fmt.name}"](bits, control())
        if kind[1] == "f":
            scale = (31 if kind[0] == "s" else 32) << fmt.fraction
            raw = select(bits == 0, raw, raw - scale)
        guard, sticky = _inexact(flags)
        return raw, report(sticky=sticky, guard=guard)

    return element


# --- forms -----------------------------------------------------------------------------------------------------------


def _scalar_rows(prefix: str, base: int, xo: dict[str, int]) -> dict[str, Pattern]:
    return {prefix + name: evx(base + number) for name, number in xo.items()}


ARITHMETIC = {"add": 0, "sub": 1, "mul": 8, "div": 9}
SIGNS = {"abs": 4, "nabs": 5, "neg": 6}
COMPARE = {"cmpgt": 12, "cmplt": 13, "cmpeq": 14}
TEST = {"tstgt": 28, "tstlt": 29, "tsteq": 30}
FROM = {"cfui": 16, "cfsi": 17, "cfuf": 18, "cfsf": 19}
TO = {"ctui": 20, "ctsi": 21, "ctuf": 22, "ctsf": 23, "ctuiz": 24, "ctsiz": 26}
VECTOR, SINGLE, DOUBLE = 640, 704, 736


class _Kind(NamedTuple):
    prefix: str
    base: int
    fmt: Format
    needs: str


_SINGLE = _Kind("efs", SINGLE, F32, "spe")
_DOUBLE = _Kind("efd", DOUBLE, F64, "efpd")


def _ready(kind: _Kind) -> None:
    if kind.fmt is F64:
        available()


def _operand(kind: _Kind, which: str) -> Val:
    if kind.fmt is F64:
        return {"ra": RA, "rb": RB}[which].read()
    return Gpr(which).read()


def _result(kind: _Kind, v: Val) -> None:
    if kind.fmt is F64:
        RT.set(v)
    else:
        Gpr("rt").set(v)


def _one(kind: _Kind, result: Val, said: Val) -> None:
    rounded = settle(const(0, 8), said)
    _result(kind, result)
    interrupt_if(rounded)


def _declare(kind: _Kind) -> None:
    """The scalar forms of a format."""
    prefix, base, fmt, needs = kind

    @table("{name} rt, ra, rb", _scalar_rows(prefix, base, ARITHMETIC), see="SPE 5.3", needs=needs)
    def scalar_arithmetic(*, name: str) -> None:
        """Add, subtract, multiply or divide."""
        _ready(kind)
        whole = scalar(fmt, name[len(prefix) :])
        result, *outcome = whole(SPEFSCR.read(), _operand(kind, "ra"), _operand(kind, "rb"))
        rounded = settle_with(outcome)
        _result(kind, result)
        interrupt_if(rounded)

    @table("{name} rt, ra", _scalar_rows(prefix, base, SIGNS), see="SPE 5.3", needs=needs)
    def scalar_signs(*, name: str) -> None:
        """Change the sign."""
        _ready(kind)
        result, said = signs(fmt, name[len(prefix) :])(_operand(kind, "ra"))
        settle(const(0, 8), said)
        _result(kind, result)

    @table("{name} bf, ra, rb", _scalar_rows(prefix, base, COMPARE), see="SPE 5.3", needs=needs)
    def scalar_compare(bf: Op, *, name: str) -> None:
        """Compare; the answer is the second bit of a CR field."""
        _ready(kind)
        a, b = _operand(kind, "ra"), _operand(kind, "rb")
        settle(const(0, 8), report(invalid=Number(fmt, a).odd | Number(fmt, b).odd))
        bf.set(comparison(fmt, name[-2:])(a, b).zext(4) << 2)

    @table("{name} bf, ra, rb", _scalar_rows(prefix, base, TEST), see="SPE 5.3", needs=needs)
    def scalar_test(bf: Op, *, name: str) -> None:
        """Compare without exceptions."""
        _ready(kind)
        bf.set(comparison(fmt, name[-2:])(_operand(kind, "ra"), _operand(kind, "rb")).zext(4) << 2)

    @table("{name} rt, rb", _scalar_rows(prefix, base, FROM), see="SPE 5.3", needs=needs)
    def scalar_from(*, name: str) -> None:
        """Convert from an integer or a fraction."""
        _ready(kind)
        _one(kind, *from_integer(fmt, name[-2:])(Gpr("rb").read()))

    @table("{name} rt, rb", _scalar_rows(prefix, base, TO), see="SPE 5.3", needs=needs)
    def scalar_to(*, name: str) -> None:
        """Convert to an integer or a fraction; z: toward zero."""
        _ready(kind)
        result, said = to_integer(fmt, name[len(prefix) + 2 :])(_operand(kind, "rb"))
        rounded = settle(const(0, 8), said)
        Gpr("rt").set(result)
        interrupt_if(rounded)


_declare(_SINGLE)
_declare(_DOUBLE)


@table("{name} rt, rb", {"efscfd": evx(719)}, see="SPE 5.3", needs="efpd")
def efscfd(rt: Op, *, name: str) -> None:
    """Single from double."""
    available()
    a = Number(F64, RB.read())
    raw, flags = FLOAT["fx_f64_to_f32"](a.plain, control())
    sign = a.sign.bits(32, 32)
    largest = const(F32.largest, 32)
    small = (raw & (F32.sign - 1)) < 1 << F32.fraction
    underflow = ~a.none & ~a.huge & (small | flags.bit(SF_UNDERFLOW))
    overflow = ~a.huge & flags.bit(SF_OVERFLOW)
    forced = a.huge | overflow
    exact = forced | underflow
    guard, sticky = _inexact(flags)
    said = report(overflow=overflow, underflow=underflow, invalid=a.odd, sticky=sticky & ~exact, guard=guard & ~exact)
    rounded = settle(const(0, 8), said)
    rt.set(select(forced, sign | largest, select(underflow, sign, raw)))
    interrupt_if(rounded)


@table("{name} rt, rb", {"efdcfs": evx(751)}, see="SPE 5.3", needs="efpd")
def efdcfs(rb: Op, *, name: str) -> None:
    """Double from single: always exact."""
    available()
    a = Number(F32, rb.read())
    raw, _ = FLOAT["fx_f32_to_f64"](a.plain, control())
    settle(const(0, 8), report(invalid=a.odd))
    RT.set(select(a.huge, (a.sign.zext(64) << 32) | F64.largest, raw))


# --- vectors of two singles ------------------------------------------------------------------------------------------


def _pair(results: list[tuple[Val, Val]]) -> Val:
    (high, high_said), (low, low_said) = results
    rounded = settle(high_said, low_said)
    RT.set(concat(high, low))
    return rounded


@table("{name} rt, ra, rb", _scalar_rows("evfs", VECTOR, ARITHMETIC), see="SPE 5.3", needs="spe")
def vector_arithmetic(*, name: str) -> None:
    """Add, subtract, multiply or divide both words."""
    available()
    element = arithmetic(F32, name[4:])
    a, b = RA.read(), RB.read()
    interrupt_if(_pair([element(word(a, n), word(b, n)) for n in (0, 1)]))


@table("{name} rt, ra", _scalar_rows("evfs", VECTOR, SIGNS), see="SPE 5.3", needs="spe")
def vector_signs(*, name: str) -> None:
    """Change the signs of both words."""
    available()
    element = signs(F32, name[4:])
    a = RA.read()
    _pair([element(word(a, n)) for n in (0, 1)])


@table("{name} bf, ra, rb", _scalar_rows("evfs", VECTOR, COMPARE), see="SPE 5.3", needs="spe")
def vector_compare(bf: Op, *, name: str) -> None:
    """Compare both words."""
    available()
    a, b = RA.read(), RB.read()
    odd = [report(invalid=Number(F32, word(a, n)).odd | Number(F32, word(b, n)).odd) for n in (0, 1)]
    settle(*odd)
    element = comparison(F32, name[-2:])
    verdict(bf, element(word(a, 0), word(b, 0)), element(word(a, 1), word(b, 1)))


@table("{name} bf, ra, rb", _scalar_rows("evfs", VECTOR, TEST), see="SPE 5.3", needs="spe")
def vector_test(bf: Op, *, name: str) -> None:
    """Compare both words without exceptions."""
    available()
    a, b = RA.read(), RB.read()
    element = comparison(F32, name[-2:])
    verdict(bf, element(word(a, 0), word(b, 0)), element(word(a, 1), word(b, 1)))


@table("{name} rt, rb", _scalar_rows("evfs", VECTOR, {**FROM, **TO}), see="SPE 5.3", needs="spe")
def vector_convert(*, name: str) -> None:
    """Convert both words."""
    available()
    kind = name[6:]
    element = from_integer(F32, kind) if name[4:6] == "cf" else to_integer(F32, kind)
    b = RB.read()
    interrupt_if(_pair([element(word(b, n)) for n in (0, 1)]))
