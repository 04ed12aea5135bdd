"""SSE3: horizontal and alternating arithmetic, duplicating moves (SDM vol. 1, 12.3; vol. 2 under each mnemonic).

FISTTP stands in `x87.py`.
"""

from __future__ import annotations

from ..lang.trace import Val, concat, procedure, return_
from .externs import FLOAT
from .forms import family, insn
from .lanes import join
from .xmm import PAIR, Op, Pair, control, load, move, ready, settle, store


@insn("lddqu {dst}, {src}", "F2 0F F0 /r Vdq,M", see="vol. 2, LDDQU", needs="sse3")
def lddqu(dst: Op, src: Op) -> None:
    """Load 16 bytes that need not be aligned."""
    move(dst, src, align=False)


@insn("movddup {dst}, {src}", "F2 0F 12 /r Vpd,Wq", see="vol. 2, MOVDDUP", needs="sse3")
def movddup(dst: Op, src: Op) -> None:
    """Copy the low double to both halves."""
    ready()
    x = src.read()
    store(dst, (x, x))


def _twice(x: Val) -> Val:
    return concat(x, x)


@insn("movsldup {dst}, {src}", "F3 0F 12 /r Vps,Wps", see="vol. 2, MOVSLDUP", needs="sse3")
def movsldup(dst: Op, src: Op) -> None:
    """Copy the even singles to the odd ones."""
    ready()
    lo, hi = load(src)
    store(dst, (_twice(lo.low(32)), _twice(hi.low(32))))


@insn("movshdup {dst}, {src}", "F3 0F 16 /r Vps,Wps", see="vol. 2, MOVSHDUP", needs="sse3")
def movshdup(dst: Op, src: Op) -> None:
    """Copy the odd singles to the even ones."""
    ready()
    lo, hi = load(src)
    store(dst, (_twice(lo.bits(32, 32)), _twice(hi.bits(32, 32))))


@procedure(64, 64, 32, results=(64, 32))
def f32x2_addsub(a: Val, b: Val, ctl: Val) -> None:
    """The difference of the low lanes and the sum of the high ones."""
    lo, f0 = FLOAT["fx_f32_sub"](a.low(32), b.low(32), ctl)
    hi, f1 = FLOAT["fx_f32_add"](a.bits(32, 32), b.bits(32, 32), ctl)
    return_(concat(hi, lo), f0 | f1)


@insn("addsubps {dst}, {src}", "F2 0F D0 /r Vps,Wps", see="vol. 2, ADDSUBPS", needs="sse3")
def addsubps(dst: Op, src: Op) -> None:
    """Subtract the even singles and add the odd ones."""
    ready()
    lo, hi = load(src)
    ctl = control()
    a, f0 = f32x2_addsub(dst.lo, lo, ctl)
    b, f1 = f32x2_addsub(dst.hi, hi, ctl)
    settle(f0 | f1)
    store(dst, (a, b))


@insn("addsubpd {dst}, {src}", "66 0F D0 /r Vpd,Wpd", see="vol. 2, ADDSUBPD", needs="sse3")
def addsubpd(dst: Op, src: Op) -> None:
    """Subtract the low doubles and add the high ones."""
    ready()
    lo, hi = load(src)
    ctl = control()
    a, f0 = FLOAT["fx_f64_sub"](dst.lo, lo, ctl)
    b, f1 = FLOAT["fx_f64_add"](dst.hi, hi, ctl)
    settle(f0 | f1)
    store(dst, (a, b))


def _neighbours(op: str, x: Pair, ctl: Val) -> Pair:
    """The operation on lanes 0 and 1 and on lanes 2 and 3, with the exceptions of both."""
    even = join([x[0].low(32), x[1].low(32)])
    odd = join([x[0].bits(32, 32), x[1].bits(32, 32)])
    result, flags = PAIR[op](even, odd, ctl)
    return result, flags


@family(name=("add", "sub"))
@insn("h{name}ps {dst}, {src}", "F2 0F [7C+n] /r Vps,Wps", see="vol. 2, HADDPS HSUBPS", needs="sse3")
def haddps(dst: Op, src: Op, *, name: str) -> None:
    """Combine neighbouring singles of the destination, then of the source."""
    ready()
    x = load(src)
    ctl = control()
    a, f0 = _neighbours(name, load(dst), ctl)
    b, f1 = _neighbours(name, x, ctl)
    settle(f0 | f1)
    store(dst, (a, b))


@family(name=("add", "sub"))
@insn("h{name}pd {dst}, {src}", "66 0F [7C+n] /r Vpd,Wpd", see="vol. 2, HADDPD HSUBPD", needs="sse3")
def haddpd(dst: Op, src: Op, *, name: str) -> None:
    """Combine the two doubles of the destination and the two of the source."""
    ready()
    lo, hi = load(src)
    ctl = control()
    a, f0 = FLOAT[f"fx_f64_{name}"](dst.lo, dst.hi, ctl)
    b, f1 = FLOAT[f"fx_f64_{name}"](lo, hi, ctl)
    settle(f0 | f1)
    store(dst, (a, b))
