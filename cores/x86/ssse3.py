"""SSSE3: packed integers once more, on MMX and XMM registers (SDM vol. 1, 12.6; vol. 2 under each mnemonic)."""

from __future__ import annotations

from collections.abc import Callable

from ..lang.trace import Proc, Val, const, procedure, return_, select
from . import lanes as L
from .forms import family, insn
from .lanes import join, lanes
from .xmm import Op, by_halves, load, mmx_ready, named, ready, set_mmx, store


def _procedure(name: str, fn: Callable[[Val, Val], Val]) -> Proc:
    def body(a: Val, b: Val) -> None:
        return_(fn(a, b))

    return procedure(64, 64, results=(64,))(named(f"p64_{name}", f"One half of {name.upper()}.", body))


# --- neighbours ----------------------------------------------------------------------------------------------------


def _neighbours(fn: Callable[[Val, Val, int], Val], width: int) -> Callable[[Val, Val], Val]:
    """The operation on the even and odd lanes of a, then of b."""

    def both(a: Val, b: Val) -> Val:
        x = lanes(a, width) + lanes(b, width)
        return fn(join(x[0::2]), join(x[1::2]), width)

    return both


_HORIZONTAL = {
    "phaddw": _procedure("phaddw", _neighbours(L.add, 16)),
    "phaddd": _procedure("phaddd", _neighbours(L.add, 32)),
    "phaddsw": _procedure("phaddsw", _neighbours(L.add_signed, 16)),
    "phsubw": _procedure("phsubw", _neighbours(L.sub, 16)),
    "phsubd": _procedure("phsubd", _neighbours(L.sub, 32)),
    "phsubsw": _procedure("phsubsw", _neighbours(L.sub_signed, 16)),
}


def _horizontal(name: str, dst: Op, src: Op) -> None:
    ready()
    lo, hi = load(src)
    store(dst, (_HORIZONTAL[name](dst.lo, dst.hi), _HORIZONTAL[name](lo, hi)))


def _on_mmx(operation: Callable[[Val, Val], Val], dst: Op, src: Op) -> None:
    mmx_ready()
    b = src.read()
    set_mmx(dst, operation(dst.read(), b))


@family(name=("phaddw", "phaddd", "phaddsw"))
@insn("{name} {dst}, {src}", "66 0F 38 [01+n] /r Vdq,Wdq", see="vol. 2, PHADDW PHADDD PHADDSW", needs="ssse3")
def phadd(dst: Op, src: Op, *, name: str) -> None:
    """Add neighbouring lanes of the destination, then of the source; the SW form saturates."""
    _horizontal(name, dst, src)


@family(name=("phaddw", "phaddd", "phaddsw"))
@insn("{name} {dst}, {src}", "NP 0F 38 [01+n] /r Pq,Qq", see="vol. 2, PHADDW PHADDD PHADDSW", needs="ssse3")
def phadd_mmx(dst: Op, src: Op, *, name: str) -> None:
    """Add neighbouring lanes of the destination, then of the source; the SW form saturates."""
    _on_mmx(_HORIZONTAL[name], dst, src)


@family(name=("phsubw", "phsubd", "phsubsw"))
@insn("{name} {dst}, {src}", "66 0F 38 [05+n] /r Vdq,Wdq", see="vol. 2, PHSUBW PHSUBD PHSUBSW", needs="ssse3")
def phsub(dst: Op, src: Op, *, name: str) -> None:
    """Subtract the odd lanes from the even ones, in the destination, then in the source; the SW form saturates."""
    _horizontal(name, dst, src)


@family(name=("phsubw", "phsubd", "phsubsw"))
@insn("{name} {dst}, {src}", "NP 0F 38 [05+n] /r Pq,Qq", see="vol. 2, PHSUBW PHSUBD PHSUBSW", needs="ssse3")
def phsub_mmx(dst: Op, src: Op, *, name: str) -> None:
    """Subtract the odd lanes from the even ones, in the destination, then in the source; the SW form saturates."""
    _on_mmx(_HORIZONTAL[name], dst, src)


# --- lane by lane --------------------------------------------------------------------------------------------------


def _negate_where(where: Val, v: Val, width: int) -> Val:
    return L.sub(v ^ where, where, width)


def _sign(width: int) -> Callable[[Val, Val], Val]:
    def body(a: Val, b: Val) -> Val:
        zero = const(0, 64)
        return _negate_where(L.greater_signed(zero, b, width), a, width) & ~L.equal(b, zero, width)

    return body


def _absolute(width: int) -> Callable[[Val, Val], Val]:
    return lambda _, b: _negate_where(L.greater_signed(const(0, 64), b, width), b, width)


def _multiply_add_bytes(a: Val, b: Val) -> Val:
    products = [x.zext(32) * y.sext(32) for x, y in zip(lanes(a, 8), lanes(b, 8), strict=True)]
    sums = [x + y for x, y in zip(products[0::2], products[1::2], strict=True)]
    # Two sums of 17 bits, packed with saturation to words.
    words = [L.pack_signed(join([sums[k], sums[k + 1]]), const(0, 64), 32).low(32) for k in (0, 2)]
    return join(words)


def _multiply_round(a: Val, b: Val) -> Val:
    pairs = zip(lanes(a, 16), lanes(b, 16), strict=True)
    return join([(((x.sext(32) * y.sext(32)) >> 14) + 1).bits(1, 16) for x, y in pairs])


_LANES: dict[str, Callable[[Val, Val], Val]] = {
    **{f"psign{c}": _procedure(f"psign{c}", _sign(w)) for c, w in (("b", 8), ("w", 16), ("d", 32))},
    **{f"pabs{c}": _absolute(w) for c, w in (("b", 8), ("w", 16), ("d", 32))},
    "pmaddubsw": _procedure("pmaddubsw", _multiply_add_bytes),
    "pmulhrsw": _procedure("pmulhrsw", _multiply_round),
}


@insn("pmaddubsw {dst}, {src}", "66 0F 38 04 /r Vdq,Wdq", see="vol. 2, PMADDUBSW", needs="ssse3")
def pmaddubsw(dst: Op, src: Op) -> None:
    """Sums, saturated to words, of neighbouring products of unsigned bytes with signed ones."""
    by_halves(dst, src, _LANES["pmaddubsw"])


@insn("pmaddubsw {dst}, {src}", "NP 0F 38 04 /r Pq,Qq", see="vol. 2, PMADDUBSW", needs="ssse3")
def pmaddubsw_mmx(dst: Op, src: Op) -> None:
    """Sums, saturated to words, of neighbouring products of unsigned bytes with signed ones."""
    _on_mmx(_LANES["pmaddubsw"], dst, src)


@family(name=("psignb", "psignw", "psignd", "pmulhrsw"))
@insn("{name} {dst}, {src}", "66 0F 38 [08+n] /r Vdq,Wdq", see="vol. 2, PSIGNB PMULHRSW", needs="ssse3")
def psign(dst: Op, src: Op, *, name: str) -> None:
    """Lanes negated, cleared or kept as the source's are negative, zero or positive; rounded high parts of products."""
    by_halves(dst, src, _LANES[name])


@family(name=("psignb", "psignw", "psignd", "pmulhrsw"))
@insn("{name} {dst}, {src}", "NP 0F 38 [08+n] /r Pq,Qq", see="vol. 2, PSIGNB PMULHRSW", needs="ssse3")
def psign_mmx(dst: Op, src: Op, *, name: str) -> None:
    """Lanes negated, cleared or kept as the source's are negative, zero or positive; rounded high parts of products."""
    _on_mmx(_LANES[name], dst, src)


@family(name=("pabsb", "pabsw", "pabsd"))
@insn("{name} {dst}, {src}", "66 0F 38 [1C+n] /r Vdq,Wdq", see="vol. 2, PABSB", needs="ssse3")
def pabs(dst: Op, src: Op, *, name: str) -> None:
    """Absolute values; the least number stays what it is."""
    by_halves(dst, src, _LANES[name])


@family(name=("pabsb", "pabsw", "pabsd"))
@insn("{name} {dst}, {src}", "NP 0F 38 [1C+n] /r Pq,Qq", see="vol. 2, PABSB", needs="ssse3")
def pabs_mmx(dst: Op, src: Op, *, name: str) -> None:
    """Absolute values; the least number stays what it is."""
    _on_mmx(_LANES[name], dst, src)


# --- bytes by number -----------------------------------------------------------------------------------------------


@procedure(64, 64, 64, results=(64,))
def shuffle_bytes(low: Val, high: Val, order: Val) -> None:
    """Eight bytes of a 128-bit value named by the bytes of `order`; a name with the top bit set gives 0."""
    out = []
    for k in range(8):
        half = select(order.bit(8 * k + 3), high, low)
        byte = (half >> (order.bits(8 * k, 3).zext(64) << 3)).low(8)
        out.append(select(order.bit(8 * k + 7), const(0, 8), byte))
    return_(join(out))


@insn("pshufb {dst}, {src}", "66 0F 38 00 /r Vdq,Wdq", see="vol. 2, PSHUFB", needs="ssse3")
def pshufb(dst: Op, src: Op) -> None:
    """Bytes of the destination in the order of the source; a source byte with the top bit set gives 0."""
    ready()
    order = load(src)
    a, b = load(dst)
    store(dst, (shuffle_bytes(a, b, order[0]), shuffle_bytes(a, b, order[1])))


@insn("pshufb {dst}, {src}", "NP 0F 38 00 /r Pq,Qq", see="vol. 2, PSHUFB", needs="ssse3")
def pshufb_mmx(dst: Op, src: Op) -> None:
    """Bytes of the destination in the order of the source; a source byte with the top bit set gives 0."""
    _on_mmx(lambda a, b: shuffle_bytes(a, a, b), dst, src)


@procedure(64, 64, 64, 64, 8, results=(64, 64))
def align_right(w0: Val, w1: Val, w2: Val, w3: Val, count: Val) -> None:
    """The low 128 bits of a 256-bit value shifted right by `count` bytes."""
    words = [w0, w1, w2, w3]
    whole = count >> 3
    bits = (count & 7).zext(64) << 3

    def word(k: int) -> Val:
        """Word `k` from the place that `count` names."""
        found = const(0, 64)
        for at in range(k, 4):
            found = select(whole == at - k, words[at], found)
        return found

    a, b, c = word(0), word(1), word(2)
    left = const(64, 64) - bits
    return_((a >> bits) | (b << left), (b >> bits) | (c << left))


@insn("palignr {dst}, {src}, {count}", "66 0F 3A 0F /r Vdq,Wdq,Ib", see="vol. 2, PALIGNR", needs="ssse3")
def palignr(dst: Op, src: Op, count: Op) -> None:
    """Sixteen bytes from byte `count` of the destination above the source; zeros from above."""
    ready()
    lo, hi = load(src)
    store(dst, align_right(lo, hi, dst.lo, dst.hi, count))


@insn("palignr {dst}, {src}, {count}", "NP 0F 3A 0F /r Pq,Qq,Ib", see="vol. 2, PALIGNR", needs="ssse3")
def palignr_mmx(dst: Op, src: Op, count: Op) -> None:
    """Eight bytes from byte `count` of the destination above the source; zeros from above."""
    mmx_ready()
    low, _ = align_right(src, dst, const(0, 64), const(0, 64), count)
    set_mmx(dst, low)
