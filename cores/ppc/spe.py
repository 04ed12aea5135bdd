"""The signal processing engine of the e500v1 and v2: 64-bit general registers as two words or four halfwords.

Signal Processing Engine (SPE) Programming Environments Manual, chapters 5 and 6. Names are made of pieces, and so
are the tables here: e/o the even or odd halfword, h/w its size, u/s unsigned or signed, m/s modulo or saturating, i/f
integer or fractional, a: also to the accumulator, aaw/anw: added to or taken from its words, aa/an: from all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..lang.trace import Location, Operand, RegisterLocation, Val, concat, const, fieldvalue, select, when
from . import state as S
from .externs import MEM_R, MEM_W, msr_bit, raise_alignment, raise_interrupt
from .forms import CrField, Pattern, insn, opcode, table

Op = Any
ACC = RegisterLocation(S.SPE_ACC)
SPEFSCR = RegisterLocation(S.SPEFSCR)
SOVH, OVH, SOV, OV = 31, 30, 15, 14


def evx(xo: int) -> Pattern:
    """EVX-form: 11 bits of extended opcode."""
    return opcode(4).fixed(21, 11, xo)


def rows(**xo: int) -> dict[str, Pattern]:
    """Mnemonics with their extended opcodes."""
    return {name: evx(number) for name, number in xo.items()}


def available() -> None:
    """An SPE unavailable interrupt where MSR does not allow the upper halves."""
    with when(~msr_bit(S.MSR_SPV), likely=False):
        raise_interrupt(S.SPE_UNAVAILABLE, const(S.ESR_SPV, 32))


class Vector(Location):
    """All 64 bits of the general register that a field names."""

    width = 64

    def __init__(self, which: str) -> None:
        self.which = which

    def read(self) -> Val:
        """Both words."""
        return RegisterLocation(S.GPR, fieldvalue(self.which, 8)).read()

    def set(self, value: Operand) -> None:
        """Both words."""
        RegisterLocation(S.GPR, fieldvalue(self.which, 8)).set(value)


def words(v: Val) -> tuple[Val, Val]:
    """The upper and the lower word."""
    return v.bits(32, 32), v.low(32)


def word(v: Val, n: int) -> Val:
    """Word 0 (upper) or 1."""
    return v.bits(32 - 32 * n, 32)


def half(v: Val, n: int) -> Val:
    """Halfword 0 (upper) to 3."""
    return v.bits(48 - 16 * n, 16)


RT, RS, RA, RB = Vector("rt"), Vector("rs"), Vector("ra"), Vector("rb")


# --- simple operations -----------------------------------------------------------------------------------------------

_SIMPLE: dict[str, tuple[int, Callable[[Val, Val], Val]]] = {
    "evaddw": (512, lambda a, b: a + b),
    "evsubfw": (516, lambda a, b: b - a),
    "evand": (529, lambda a, b: a & b),
    "evandc": (530, lambda a, b: a & ~b),
    "evxor": (534, lambda a, b: a ^ b),
    "evor": (535, lambda a, b: a | b),
    "evnor": (536, lambda a, b: ~(a | b)),
    "eveqv": (537, lambda a, b: ~(a ^ b)),
    "evorc": (539, lambda a, b: a | ~b),
    "evnand": (542, lambda a, b: ~(a & b)),
    "evsrwu": (544, lambda a, b: select((b & 32) != 0, 0, a >> (b & 31))),
    "evsrws": (545, lambda a, b: a.ashr(select((b & 32) != 0, 31, b & 31))),
    "evslw": (548, lambda a, b: select((b & 32) != 0, 0, a << (b & 31))),
    "evrlw": (552, lambda a, b: a.rotl(b & 31)),
}


@table("{name} rt, ra, rb", {name: evx(xo) for name, (xo, _) in _SIMPLE.items()}, see="SPE 5.3", needs="spe")
def simple(*, name: str) -> None:
    """Add, subtract, combine or shift words."""
    available()
    f = _SIMPLE[name][1]
    (ah, al), (bh, bl) = words(RA.read()), words(RB.read())
    RT.set(concat(f(ah, bh), f(al, bl)))


_UNARY: dict[str, tuple[int, Callable[[Val], Val]]] = {
    "evabs": (520, lambda a: select(a.sign(), -a, a)),
    "evneg": (521, lambda a: -a),
    "evextsb": (522, lambda a: a.low(8).sext(32)),
    "evextsh": (523, lambda a: a.low(16).sext(32)),
    "evrndw": (524, lambda a: (a + 0x8000) & 0xFFFF0000),
    "evcntlzw": (525, lambda a: a.clz()),
    "evcntlsw": (526, lambda a: select(a.sign(), ~a, a).clz()),
}


@table("{name} rt, ra", {name: evx(xo) for name, (xo, _) in _UNARY.items()}, see="SPE 5.3", needs="spe")
def unary(*, name: str) -> None:
    """One operand, word by word."""
    available()
    f = _UNARY[name][1]
    high, low = words(RA.read())
    RT.set(concat(f(high), f(low)))


@table("{name} rt, rb, ra5", rows(evaddiw=514), see="SPE 5.3", needs="spe")
def evaddiw(ra5: Op, *, name: str) -> None:
    """Add an immediate to both words."""
    available()
    high, low = words(RB.read())
    RT.set(concat(high + ra5.read().zext(32), low + ra5.read().zext(32)))


@table("{name} rt, ra5, rb", rows(evsubifw=518), see="SPE 5.3", needs="spe")
def evsubifw(ra5: Op, *, name: str) -> None:
    """Subtract an immediate from both words."""
    available()
    high, low = words(RB.read())
    RT.set(concat(high - ra5.read().zext(32), low - ra5.read().zext(32)))


@table("{name} rt, ra, sh", rows(evsrwiu=546, evsrwis=547, evslwi=550, evrlwi=554), see="SPE 5.3", needs="spe")
def shift_immediate(sh: Op, *, name: str) -> None:
    """Shift or rotate both words by an immediate."""
    available()
    high, low = words(RA.read())
    count: Val = sh.read().zext(32)

    def f(a: Val) -> Val:
        if name == "evsrwiu":
            return a >> count
        if name == "evsrwis":
            return a.ashr(count)
        return a << count if name == "evslwi" else a.rotl(count)

    RT.set(concat(f(high), f(low)))


@table("{name} rt, simm", rows(evsplati=553, evsplatfi=555), see="SPE 5.3", needs="spe")
def splat(simm: Op, *, name: str) -> None:
    """An immediate, or one as a fraction, to both words."""
    available()
    v = simm.read() if name == "evsplati" else simm.read() << 27
    RT.set(concat(v, v))


@table(
    "{name} rt, ra, rb",
    rows(evmergehi=556, evmergelo=557, evmergehilo=558, evmergelohi=559),
    see="SPE 5.3",
    needs="spe",
)
def merge(*, name: str) -> None:
    """One word of each operand."""
    available()
    kinds = name[len("evmerge") :]
    first, second = {"hi": (0, 0), "lo": (1, 1), "hilo": (0, 1), "lohi": (1, 0)}[kinds]
    RT.set(concat(word(RA.read(), first), word(RB.read(), second)))


@insn("brinc rt, ra, rb", evx(527), see="SPE 5.3", needs="spe")
def brinc(rt: Op, ra: Op, rb: Op) -> None:
    """Bit Reversed Increment: the next index of a fast Fourier transform, in the low 16 bits."""
    mask = rb.read().low(16)
    a = ra.read().low(16) | ~mask

    def reverse(v: Val) -> Val:
        for step, keep in ((1, 0x5555), (2, 0x3333), (4, 0x0F0F), (8, 0x00FF)):
            v = ((v >> step) & keep) | ((v & keep) << step)
        return v

    d = reverse(reverse(a) + 1)
    rt.set(ra.read() & 0xFFFF0000 | (d & mask).zext(32))


_COMPARE: dict[str, tuple[int, Callable[[Val, Val], Val]]] = {
    "evcmpgtu": (560, lambda a, b: b < a),
    "evcmpgts": (561, lambda a, b: b.slt(a)),
    "evcmpltu": (562, lambda a, b: a < b),
    "evcmplts": (563, lambda a, b: a.slt(b)),
    "evcmpeq": (564, lambda a, b: a == b),
}


def verdict(bf: Op, high: Val, low: Val) -> None:
    """A CR field: upper, lower, either, both."""
    bf.set((high.zext(4) << 3) | (low.zext(4) << 2) | ((high | low).zext(4) << 1) | (high & low).zext(4))


@table("{name} bf, ra, rb", {name: evx(xo) for name, (xo, _) in _COMPARE.items()}, see="SPE 5.3", needs="spe")
def compare(bf: Op, *, name: str) -> None:
    """Compare words."""
    available()
    f = _COMPARE[name][1]
    (ah, al), (bh, bl) = words(RA.read()), words(RB.read())
    verdict(bf, f(ah, bh), f(al, bl))


@insn("evsel rt, ra, rb, crs", opcode(4).fixed(21, 8, 0b01001111), see="SPE 5.3", needs="spe")
def evsel(crs: Op) -> None:
    """Each word from RA or RB, by a CR field."""
    available()
    field = CrField("crs").read()
    (ah, al), (bh, bl) = words(RA.read()), words(RB.read())
    RT.set(concat(select(field.bit(3), ah, bh), select(field.bit(2), al, bl)))


# --- loads and stores ------------------------------------------------------------------------------------------------
# name: (extended opcode of the indexed form, bytes that the address and the offset are multiples of); the form with an
# offset is one on.
_LOADS = {
    "evldd": (768, 8), "evldw": (770, 8), "evldh": (772, 8), "evlhhesplat": (776, 2), "evlhhousplat": (780, 2),
    "evlhhossplat": (782, 2), "evlwhe": (784, 4), "evlwhou": (788, 4), "evlwhos": (790, 4), "evlwwsplat": (792, 4),
    "evlwhsplat": (796, 4),
}  # fmt: skip
_STORES = {
    "evstdd": (800, 8), "evstdw": (802, 8), "evstdh": (804, 8), "evstwhe": (816, 4), "evstwho": (820, 4),
    "evstwwe": (824, 4), "evstwwo": (828, 4),
}  # fmt: skip


def _aligned(ea: Val, size: int, is_store: int) -> None:
    with when((ea & (size - 1)) != 0, likely=False):
        raise_alignment(ea, const(is_store, 1))


def _fetch(name: str, ea: Val) -> Val:
    """The 64 bits that a load gives; every access is done before the register is written."""
    if name == "evldd":
        v: Val = MEM_R[64](ea)
        return v
    if name == "evldw":
        return concat(MEM_R[32](ea), MEM_R[32](ea + 4))
    if name == "evldh":
        return concat(*(MEM_R[16](ea + 2 * n) for n in range(4)))
    if name == "evlwwsplat":
        v = MEM_R[32](ea)
        return concat(v, v)
    if name.startswith("evlhh"):
        loaded: Val = MEM_R[16](ea)
        if name == "evlhhesplat":
            v = loaded.zext(32) << 16
        else:
            v = loaded.zext(32) if name == "evlhhousplat" else loaded.sext(32)
        return concat(v, v)
    first, second = MEM_R[16](ea), MEM_R[16](ea + 2)
    if name == "evlwhe":
        return concat(first.zext(32) << 16, second.zext(32) << 16)
    if name == "evlwhsplat":
        return concat(first, first, second, second)
    return concat(first.zext(32), second.zext(32)) if name == "evlwhou" else concat(first.sext(32), second.sext(32))


def _put(name: str, ea: Val, v: Val) -> None:
    if name == "evstdd":
        MEM_W[64](ea, v)
    elif name == "evstdw":
        MEM_W[32](ea, word(v, 0))
        MEM_W[32](ea + 4, word(v, 1))
    elif name == "evstdh":
        for n in range(4):
            MEM_W[16](ea + 2 * n, half(v, n))
    elif name in ("evstwhe", "evstwho"):
        first = 0 if name == "evstwhe" else 1
        MEM_W[16](ea, half(v, first))
        MEM_W[16](ea + 2, half(v, first + 2))
    else:
        MEM_W[32](ea, word(v, 0 if name == "evstwwe" else 1))


@table("{name}x rt, ra0, rb", {name: evx(xo) for name, (xo, _) in _LOADS.items()}, see="SPE 5.3", needs="spe")
def load_x(ra0: Op, rb: Op, *, name: str) -> None:
    """Load Vector Indexed."""
    available()
    ea = ra0.read() + rb.read()
    _aligned(ea, _LOADS[name][1], 0)
    RT.set(_fetch(name, ea))


@table("{name}x rs, ra0, rb", {name: evx(xo) for name, (xo, _) in _STORES.items()}, see="SPE 5.3", needs="spe")
def store_x(ra0: Op, rb: Op, *, name: str) -> None:
    """Store Vector Indexed."""
    available()
    ea = ra0.read() + rb.read()
    _aligned(ea, _STORES[name][1], 1)
    _put(name, ea, RS.read())


def _with_offset(table_: dict[str, tuple[int, int]], size: int) -> dict[str, Pattern]:
    return {name: evx(xo + 1) for name, (xo, scale) in table_.items() if scale == size}


def _load_offset(name: str, ra0: Op, offset: Op) -> None:
    available()
    ea = ra0.read() + offset.read()
    _aligned(ea, _LOADS[name][1], 0)
    RT.set(_fetch(name, ea))


def _store_offset(name: str, ra0: Op, offset: Op) -> None:
    available()
    ea = ra0.read() + offset.read()
    _aligned(ea, _STORES[name][1], 1)
    _put(name, ea, RS.read())


@table("{name} rt, d8(ra0)", _with_offset(_LOADS, 8), see="SPE 5.3", needs="spe")
def load_d8(ra0: Op, d8: Op, *, name: str) -> None:
    """Load Vector, offset in doublewords."""
    _load_offset(name, ra0, d8)


@table("{name} rt, d4(ra0)", _with_offset(_LOADS, 4), see="SPE 5.3", needs="spe")
def load_d4(ra0: Op, d4: Op, *, name: str) -> None:
    """Load Vector, offset in words."""
    _load_offset(name, ra0, d4)


@table("{name} rt, d2(ra0)", _with_offset(_LOADS, 2), see="SPE 5.3", needs="spe")
def load_d2(ra0: Op, d2: Op, *, name: str) -> None:
    """Load Vector, offset in halfwords."""
    _load_offset(name, ra0, d2)


@table("{name} rs, d8(ra0)", _with_offset(_STORES, 8), see="SPE 5.3", needs="spe")
def store_d8(ra0: Op, d8: Op, *, name: str) -> None:
    """Store Vector, offset in doublewords."""
    _store_offset(name, ra0, d8)


@table("{name} rs, d4(ra0)", _with_offset(_STORES, 4), see="SPE 5.3", needs="spe")
def store_d4(ra0: Op, d4: Op, *, name: str) -> None:
    """Store Vector, offset in words."""
    _store_offset(name, ra0, d4)


# --- accumulator and division ----------------------------------------------------------------------------------------


@insn("evmra rt, ra", evx(1220), see="SPE 5.3", needs="spe")
def evmra() -> None:
    """Initialize Accumulator."""
    available()
    v = RA.read()
    ACC.set(v)
    RT.set(v)


def overflowed(high: Val, low: Val) -> None:
    """OVH and OV as given, SOVH and SOV where they are set."""
    old = SPEFSCR.read() & ~const(1 << OVH | 1 << OV, 32)
    h, v = high.zext(32), low.zext(32)
    SPEFSCR.set(old | (h << SOVH) | (h << OVH) | (v << SOV) | (v << OV))


def _saturated(total: Val, is_signed: bool) -> tuple[Val, Val]:
    """(overflow, the word) of a sum that is kept in 64 bits with its sign."""
    if is_signed:
        over = total.low(32).sext(64) != total
        return over, select(over, select(total.sign(), const(0x80000000, 32), const(0x7FFFFFFF, 32)), total.low(32))
    over = total.bits(32, 32) != 0
    return over, select(over, select(total.sign(), const(0, 32), const(0xFFFFFFFF, 32)), total.low(32))


_ACC_WORDS = {
    f"ev{op}{sign}{sat}iaaw": 1216 + 8 * (sat == "m") + 2 * (op == "subf") + (sign == "s")
    for op in ("add", "subf") for sign in "us" for sat in "sm"
}  # fmt: skip


@table("{name} rt, ra", rows(**_ACC_WORDS), see="SPE 5.3", needs="spe")
def accumulate_words(*, name: str) -> None:
    """Add to or subtract from the words of the accumulator, modulo or saturating."""
    available()
    subtract, is_signed, saturate = "subf" in name, name[-6] == "s", name[-5] == "s"
    results, overs = [], []
    for a, b in zip(words(ACC.read()), words(RA.read()), strict=True):
        if saturate:
            wide_a, wide_b = (a.sext(64), b.sext(64)) if is_signed else (a.zext(64), b.zext(64))
            over, result = _saturated(wide_a - wide_b if subtract else wide_a + wide_b, is_signed)
            overs.append(over)
        else:
            result = a - b if subtract else a + b
        results.append(result)
    if saturate:
        overflowed(*overs)
    v = concat(*results)
    ACC.set(v)
    RT.set(v)


@table("{name} rt, ra, rb", rows(evdivws=1222, evdivwu=1223), see="SPE 5.3", needs="spe")
def divide(*, name: str) -> None:
    """Divide words; by 0, or the most negative number by -1, the result saturates."""
    available()
    results, overs = [], []
    for a, b in zip(words(RA.read()), words(RB.read()), strict=True):
        if name == "evdivws":
            by_zero = b == 0
            over = by_zero | ((a == 0x80000000) & (b == 0xFFFFFFFF))
            limit = select(by_zero & a.sign(), const(0x80000000, 32), const(0x7FFFFFFF, 32))
            results.append(select(over, limit, a.sdiv(b)))
        else:
            over = b == 0
            results.append(select(over, const(0xFFFFFFFF, 32), a.udiv(b)))
        overs.append(over)
    overflowed(*overs)
    RT.set(concat(*results))


# --- multiplication --------------------------------------------------------------------------------------------------

LEAST16, LEAST32 = 0x8000, 0x80000000


def _product16(a: Val, b: Val, kind: str) -> tuple[Val, Val]:
    """(overflow, product in 32 bits) of two halfwords: kind is umi, smi, smf, ssf, usi, ssi."""
    if kind[0] == "u":
        return const(0, 1), a.zext(32) * b.zext(32)
    p = a.sext(32) * b.sext(32)
    if kind[2] == "i":
        return const(0, 1), p
    p = p << 1
    if kind[1] == "m":
        return const(0, 1), p
    over = (a == LEAST16) & (b == LEAST16)
    return over, select(over, const(0x7FFFFFFF, 32), p)


_HALF_KINDS = {"ssf": 3, "umi": 8, "smi": 9, "smf": 11}


def _half_rows(base: int, kinds: dict[str, int], suffix: str) -> dict[str, int]:
    return {
        f"evmh{half}{kind}{suffix}": base + code + 4 * (half == "o") for half in "eo" for kind, code in kinds.items()
    }


@table("{name} rt, ra, rb", rows(**_half_rows(1024, _HALF_KINDS, ""), **_half_rows(1056, _HALF_KINDS, "a")),
       see="SPE 5.3", needs="spe")  # fmt: skip
def multiply_halves(*, name: str) -> None:
    """Multiply the even or the odd halfwords."""
    available()
    at = 0 if name[4] == "e" else 1
    a, b = RA.read(), RB.read()
    over_high, high = _product16(half(a, at), half(b, at), name[5:8])
    over_low, low = _product16(half(a, at + 2), half(b, at + 2), name[5:8])
    if name[5:8] == "ssf":
        overflowed(over_high, over_low)
    v = concat(high, low)
    if name.endswith("a"):
        ACC.set(v)
    RT.set(v)


_ACC_KINDS = {"usi": 0, "ssi": 1, "ssf": 3, "umi": 8, "smi": 9, "smf": 11}


def _add_word(old: Val, product: Val, subtract: bool, kind: str) -> tuple[Val, Val]:
    """(overflow, word) of a product added to a word of the accumulator."""
    if kind[1] == "m":
        return const(0, 1), old - product if subtract else old + product
    is_signed = kind[0] == "s"
    a, b = (old.sext(64), product.sext(64)) if is_signed else (old.zext(64), product.zext(64))
    return _saturated(a - b if subtract else a + b, is_signed)


@table("{name} rt, ra, rb", rows(**_half_rows(1280, _ACC_KINDS, "aaw"), **_half_rows(1408, _ACC_KINDS, "anw")),
       see="SPE 5.3", needs="spe")  # fmt: skip
def multiply_halves_accumulate(*, name: str) -> None:
    """Multiply the even or the odd halfwords, and add to or subtract from the words of the accumulator."""
    available()
    kind, subtract = name[5:8], name.endswith("anw")
    at = 0 if name[4] == "e" else 1
    a, b = RA.read(), RB.read()
    old = words(ACC.read())
    results, overs = [], []
    for n in (0, 1):
        over1, product = _product16(half(a, at + 2 * n), half(b, at + 2 * n), kind)
        over2, word = _add_word(old[n], product, subtract, kind)
        results.append(word)
        overs.append(over1 | over2)
    if kind[1] == "s":
        overflowed(*overs)
    v = concat(*results)
    ACC.set(v)
    RT.set(v)


_GUARDED = {
    f"evmh{half}g{kind}{suffix}": base + code + 4 * (half == "o")
    for suffix, base in (("aa", 1320), ("an", 1448)) for half in "eo"
    for kind, code in (("umi", 0), ("smi", 1), ("smf", 3))
}  # fmt: skip


@table("{name} rt, ra, rb", rows(**_GUARDED), see="SPE 5.3", needs="spe")
def multiply_halves_guarded(*, name: str) -> None:
    """Multiply the low even or odd halfwords, and add to or subtract from all of the accumulator."""
    available()
    at = 2 if name[4] == "e" else 3
    a, b = half(RA.read(), at), half(RB.read(), at)
    kind = name[6:9]
    product = a.zext(64) * b.zext(64) if kind == "umi" else a.sext(64) * b.sext(64)
    if kind == "smf":
        product = product << 1
    v = ACC.read() - product if name.endswith("an") else ACC.read() + product
    ACC.set(v)
    RT.set(v)


def _product32(a: Val, b: Val, kind: str) -> tuple[Val, Val]:
    """(overflow, product in 64 bits) of two words."""
    if kind[0] == "u":
        return const(0, 1), a.zext(64) * b.zext(64)
    p = a.sext(64) * b.sext(64)
    if kind[2] == "i":
        return const(0, 1), p
    p = p << 1
    if kind[1] == "m":
        return const(0, 1), p
    over = (a == LEAST32) & (b == LEAST32)
    return over, select(over, const(0x7FFFFFFF_FFFFFFFF, 64), p)


_WORD_HALF = {"evmwhssf": 1095, "evmwlumi": 1096, "evmwhumi": 1100, "evmwhsmi": 1101, "evmwhsmf": 1103}
_WORD = {"evmwssf": 1107, "evmwumi": 1112, "evmwsmi": 1113, "evmwsmf": 1115}


def _and_accumulator(xo: dict[str, int]) -> dict[str, int]:
    return {**xo, **{f"{name}a": number + 32 for name, number in xo.items()}}


@table("{name} rt, ra, rb", rows(**_and_accumulator(_WORD_HALF)), see="SPE 5.3", needs="spe")
def multiply_words(*, name: str) -> None:
    """Multiply words, keeping the upper or the lower half of each product."""
    available()
    kind = name[5:8]
    (ah, al), (bh, bl) = words(RA.read()), words(RB.read())
    results, overs = [], []
    for a, b in ((ah, bh), (al, bl)):
        over, product = _product32(a, b, kind)
        results.append(product.bits(32, 32) if name[4] == "h" else product.low(32))
        overs.append(over)
    if kind == "ssf":
        overflowed(*overs)
    v = concat(*results)
    if name.endswith("a"):
        ACC.set(v)
    RT.set(v)


@table("{name} rt, ra, rb", rows(**_and_accumulator(_WORD)), see="SPE 5.3", needs="spe")
def multiply_low_words(*, name: str) -> None:
    """Multiply the lower words to 64 bits."""
    available()
    over, v = _product32(RA.read().low(32), RB.read().low(32), name[4:7])
    if name[4:7] == "ssf":
        overflowed(const(0, 1), over)
    if name.endswith("a"):
        ACC.set(v)
    RT.set(v)


_WORD_ACC = {
    f"evmwl{kind}{suffix}": base + code
    for suffix, base in (("aaw", 1344), ("anw", 1472))
    for kind, code in (("usi", 0), ("ssi", 1), ("umi", 8), ("smi", 9))
}  # fmt: skip


@table("{name} rt, ra, rb", rows(**_WORD_ACC), see="SPE 5.3", needs="spe")
def multiply_words_accumulate(*, name: str) -> None:
    """Multiply words, and add the low halves to the words of the accumulator or subtract them."""
    available()
    kind, subtract = name[5:8], name.endswith("anw")
    (ah, al), (bh, bl) = words(RA.read()), words(RB.read())
    old = words(ACC.read())
    results, overs = [], []
    for n, (a, b) in enumerate(((ah, bh), (al, bl))):
        _, product = _product32(a, b, kind)
        over, word = _add_word(old[n], product.low(32), subtract, kind)
        results.append(word)
        overs.append(over)
    if kind[1] == "s":
        overflowed(*overs)
    v = concat(*results)
    ACC.set(v)
    RT.set(v)


_WORD_ALL = {
    f"evmw{kind}{suffix}": base + code
    for suffix, base in (("aa", 1360), ("an", 1488))
    for kind, code in (("ssf", 3), ("umi", 8), ("smi", 9), ("smf", 11))
}  # fmt: skip


@table("{name} rt, ra, rb", rows(**_WORD_ALL), see="SPE 5.3", needs="spe")
def multiply_low_words_accumulate(*, name: str) -> None:
    """Multiply the lower words, and add to or subtract from all of the accumulator."""
    available()
    kind, subtract = name[4:7], name.endswith("an")
    over, product = _product32(RA.read().low(32), RB.read().low(32), kind)
    old = ACC.read()
    v = old - product if subtract else old + product
    if kind == "ssf":
        # The sum wraps; only the product saturates.
        term = ~product if subtract else product
        overflowed(const(0, 1), over | (~(old ^ term) & (old ^ v)).sign())
    ACC.set(v)
    RT.set(v)
