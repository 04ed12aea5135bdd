"""MMX, with the integer instructions that SSE added to it (SDM vol. 1 chapter 9, vol. 3 chapter 12).

The MMX registers are the significands of the x87 registers. Any instruction here sets TOP to 0 and marks all of them
used, but EMMS empty; a write also fills the exponent with ones. What is done to the lanes is shared with SSE2.
"""

from __future__ import annotations

from typing import Any

from ..lang.trace import RegisterLocation, Val, value, when
from . import lanes as L
from . import state as S
from .externs import mem_probe_w
from .forms import MemOperand, family, gpr, insn
from .sse2 import HALVES, INTERLEAVE, PACKS, sse_store_bytes
from .xmm import mmx_mode, mmx_ready, set_mmx

Op = Any  # an operand location; the codes of the encodings say which

SHIFTS = {"rl": L.shift_right, "ra": L.shift_right_signed, "ll": L.shift_left}
WIDTHS = {"w": 16, "d": 32, "q": 64}


def both(name: str, dst: Op, src: Op) -> None:
    """Combine two registers, or a register and memory, lane by lane."""
    mmx_ready()
    b = src.read()
    set_mmx(dst, HALVES[name](dst.read(), b))


# --- moves ---------------------------------------------------------------------------------------------------------


@insn("emms", "NP 0F 77", see="vol. 2, EMMS", needs="mmx")
def emms() -> None:
    """Mark all x87 registers empty."""
    mmx_ready()
    mmx_mode()
    RegisterLocation(S.FTAG).set(0)


@insn("movd {dst}, {src}", "NP 0F 6E /r Pq,Ed", see="vol. 2, MOVD", needs="mmx")
def movd_load(dst: Op, src: Op) -> None:
    """Move a doubleword into an MMX register, zero-extended."""
    mmx_ready()
    set_mmx(dst, src.read().zext(64))


@insn("movd {dst}, {src}", "NP 0F 7E /r Ed,Pd", see="vol. 2, MOVD", needs="mmx")
def movd_store(dst: Op, src: Op) -> None:
    """Move the low doubleword of an MMX register."""
    mmx_ready()
    dst.set(src.read())
    mmx_mode()


@insn("movq {dst}, {src}", "NP 0F 6F /r Pq,Qq", see="vol. 2, MOVQ", needs="mmx")
def movq_load(dst: Op, src: Op) -> None:
    """Move a quadword into an MMX register."""
    mmx_ready()
    set_mmx(dst, src.read())


@insn("movq {dst}, {src}", "NP 0F 7F /r Qq,Pq", see="vol. 2, MOVQ", needs="mmx")
def movq_store(dst: Op, src: Op) -> None:
    """Move an MMX register."""
    mmx_ready()
    if isinstance(dst, MemOperand):
        dst.set(src.read())
        mmx_mode()
    else:
        set_mmx(dst, src.read())


@insn("movntq {dst}, {src}", "NP 0F E7 /r Mq,Pq", see="vol. 2, MOVNTQ", needs="sse")
def movntq(dst: Op, src: Op) -> None:
    """Store an MMX register; the hint about caches has no effect."""
    mmx_ready()
    dst.set(src.read())
    mmx_mode()


@insn("maskmovq {src}, {mask}", "NP 0F F7 /r Pq,Nq", see="vol. 2, MASKMOVQ", needs="sse")
def maskmovq(src: Op, mask: Op, *, asz: int) -> None:
    """Store the bytes whose mask byte has its top bit set at DS:EDI; the segment can be overridden."""
    mmx_ready()
    chosen = mask.read()
    with when((chosen & L.splat(0x80, 8)) != 0):
        m = MemOperand(8, offset=gpr(S.EDI, asz).read().zext(32))
        mem_probe_w(m.seg, m.offset, 8)
        sse_store_bytes(m.seg, m.offset, src.read(), chosen)
    mmx_mode()


@insn("pmovmskb {dst}, {src}", "NP 0F D7 /r Gd,Nq", see="vol. 2, PMOVMSKB", needs="sse")
def pmovmskb(dst: Op, src: Op) -> None:
    """Collect the sign bits of eight bytes."""
    mmx_ready()
    dst.set(L.sign_mask(src.read()).zext(32))
    mmx_mode()


@insn("pextrw {dst}, {src}, {at}", "NP 0F C5 /r Gd,Nq,Ib", see="vol. 2, PEXTRW", needs="sse")
def pextrw(dst: Op, src: Op, at: Op) -> None:
    """Move one of four words to a general register."""
    mmx_ready()
    dst.set(L.extract_word(src.read(), at.bits(0, 2).zext(64)).zext(32))
    mmx_mode()


@insn("pinsrw {dst}, {src}, {at}", "NP 0F C4 /r Pq,Ew,Ib", see="vol. 2, PINSRW", needs="sse")
def pinsrw(dst: Op, src: Op, at: Op) -> None:
    """Replace one of four words."""
    mmx_ready()
    word = src.read()
    set_mmx(dst, L.insert_word(dst.read(), word, at.bits(0, 2).zext(64)))


# --- arithmetic, comparison, logic ---------------------------------------------------------------------------------


@family(name=("psubusb", "psubusw"))
@insn("{name} {dst}, {src}", "NP 0F [D8+n] /r Pq,Qq", see="vol. 2, PSUBUSB PSUBUSW", needs="mmx")
def psubus(dst: Op, src: Op, *, name: str) -> None:
    """Subtract unsigned lanes, stopping at 0."""
    both(name, dst, src)


@family(name=("paddusb", "paddusw"))
@insn("{name} {dst}, {src}", "NP 0F [DC+n] /r Pq,Qq", see="vol. 2, PADDUSB PADDUSW", needs="mmx")
def paddus(dst: Op, src: Op, *, name: str) -> None:
    """Add unsigned lanes, stopping at all ones."""
    both(name, dst, src)


@family(name=("psubsb", "psubsw"))
@insn("{name} {dst}, {src}", "NP 0F [E8+n] /r Pq,Qq", see="vol. 2, PSUBSB PSUBSW", needs="mmx")
def psubs(dst: Op, src: Op, *, name: str) -> None:
    """Subtract signed lanes with saturation."""
    both(name, dst, src)


@family(name=("paddsb", "paddsw"))
@insn("{name} {dst}, {src}", "NP 0F [EC+n] /r Pq,Qq", see="vol. 2, PADDSB PADDSW", needs="mmx")
def padds(dst: Op, src: Op, *, name: str) -> None:
    """Add signed lanes with saturation."""
    both(name, dst, src)


@family(name=("psubb", "psubw", "psubd"))
@insn("{name} {dst}, {src}", "NP 0F [F8+n] /r Pq,Qq", see="vol. 2, PSUBB PSUBW PSUBD", needs="mmx")
def psub(dst: Op, src: Op, *, name: str) -> None:
    """Subtract lanes, wrapping."""
    both(name, dst, src)


@family(name=("paddb", "paddw", "paddd"))
@insn("{name} {dst}, {src}", "NP 0F [FC+n] /r Pq,Qq", see="vol. 2, PADDB PADDW PADDD", needs="mmx")
def padd(dst: Op, src: Op, *, name: str) -> None:
    """Add lanes, wrapping."""
    both(name, dst, src)


@family(name=("pand", "pandn"))
@insn("{name} {dst}, {src}", "NP 0F [DB+4n] /r Pq,Qq", see="vol. 2, PAND PANDN", needs="mmx")
def pand(dst: Op, src: Op, *, name: str) -> None:
    """AND; PANDN complements the destination first."""
    both(name, dst, src)


@family(name=("por", "pxor"))
@insn("{name} {dst}, {src}", "NP 0F [EB+4n] /r Pq,Qq", see="vol. 2, POR PXOR", needs="mmx")
def por(dst: Op, src: Op, *, name: str) -> None:
    """OR and exclusive OR."""
    both(name, dst, src)


@family(name=("pmullw", "pmulhw"))
@insn("{name} {dst}, {src}", "NP 0F [D5+16n] /r Pq,Qq", see="vol. 2, PMULLW PMULHW", needs="mmx")
def pmul(dst: Op, src: Op, *, name: str) -> None:
    """Low or high halves of the signed products of words."""
    both(name, dst, src)


@insn("pmaddwd {dst}, {src}", "NP 0F F5 /r Pq,Qq", see="vol. 2, PMADDWD", needs="mmx")
def pmaddwd(dst: Op, src: Op) -> None:
    """Multiply signed words and add the products in pairs."""
    both("pmaddwd", dst, src)


@family(name=("pcmpgtb", "pcmpgtw", "pcmpgtd"))
@insn("{name} {dst}, {src}", "NP 0F [64+n] /r Pq,Qq", see="vol. 2, PCMPGTB PCMPGTW PCMPGTD", needs="mmx")
def pcmpgt(dst: Op, src: Op, *, name: str) -> None:
    """All ones in the lanes where the destination is greater, signed."""
    both(name, dst, src)


@family(name=("pcmpeqb", "pcmpeqw", "pcmpeqd"))
@insn("{name} {dst}, {src}", "NP 0F [74+n] /r Pq,Qq", see="vol. 2, PCMPEQB PCMPEQW PCMPEQD", needs="mmx")
def pcmpeq(dst: Op, src: Op, *, name: str) -> None:
    """All ones in the lanes that are equal."""
    both(name, dst, src)


@family(name=("pminub", "pmaxub"))
@insn("{name} {dst}, {src}", "NP 0F [DA+4n] /r Pq,Qq", see="vol. 2, PMINUB PMAXUB", needs="sse")
def unsigned_order(dst: Op, src: Op, *, name: str) -> None:
    """The smaller or larger of unsigned bytes."""
    both(name, dst, src)


@family(name=("pminsw", "pmaxsw"))
@insn("{name} {dst}, {src}", "NP 0F [EA+4n] /r Pq,Qq", see="vol. 2, PMINSW PMAXSW", needs="sse")
def signed_order(dst: Op, src: Op, *, name: str) -> None:
    """The smaller or larger of signed words."""
    both(name, dst, src)


@family(name=("pavgb", "pavgw"))
@insn("{name} {dst}, {src}", "NP 0F [E0+3n] /r Pq,Qq", see="vol. 2, PAVGB PAVGW", needs="sse")
def pavg(dst: Op, src: Op, *, name: str) -> None:
    """Rounded averages of unsigned lanes."""
    both(name, dst, src)


@insn("pmulhuw {dst}, {src}", "NP 0F E4 /r Pq,Qq", see="vol. 2, PMULHUW", needs="sse")
def pmulhuw(dst: Op, src: Op) -> None:
    """High halves of the unsigned products of words."""
    both("pmulhuw", dst, src)


@insn("psadbw {dst}, {src}", "NP 0F F6 /r Pq,Qq", see="vol. 2, PSADBW", needs="sse")
def psadbw(dst: Op, src: Op) -> None:
    """The sum of the absolute differences of bytes."""
    both("psadbw", dst, src)


# --- packs, unpacks, shuffles --------------------------------------------------------------------------------------


@family(name=("packsswb", "packuswb", "packssdw"))
@insn("{name} {dst}, {src}", "NP 0F [63+4n] /r Pq,Qq", see="vol. 2, PACKSSWB PACKUSWB PACKSSDW", needs="mmx")
def pack(dst: Op, src: Op, *, name: str) -> None:
    """Halve the signed lanes of the destination, then of the source, with saturation."""
    mmx_ready()
    b = src.read()
    set_mmx(dst, PACKS[name](dst.read(), b))


@family(name=("bw", "wd", "dq"), width=(8, 16, 32))
@insn("punpckl{name} {dst}, {src}", "NP 0F [60+n] /r Pq,Qd", see="vol. 2, PUNPCKLBW", needs="mmx")
def punpckl(dst: Op, src: Op, *, width: int) -> None:
    """Interleave the lanes of the low halves; only 32 bits of memory are read."""
    mmx_ready()
    b = src.read().zext(64)
    set_mmx(dst, INTERLEAVE[width, 0](dst.read(), b))


@family(name=("bw", "wd", "dq"), width=(8, 16, 32))
@insn("punpckh{name} {dst}, {src}", "NP 0F [68+n] /r Pq,Qq", see="vol. 2, PUNPCKHBW", needs="mmx")
def punpckh(dst: Op, src: Op, *, width: int) -> None:
    """Interleave the lanes of the high halves."""
    mmx_ready()
    b = src.read()
    set_mmx(dst, INTERLEAVE[width, 1](dst.read(), b))


@insn("pshufw {dst}, {src}, {order}", "NP 0F 70 /r Pq,Qq,Ib", see="vol. 2, PSHUFW", needs="sse")
def pshufw(dst: Op, src: Op, order: Op) -> None:
    """Four words chosen by the bit pairs of the immediate."""
    mmx_ready()
    set_mmx(dst, L.shuffle_words(src.read(), order.read()))


# --- shifts --------------------------------------------------------------------------------------------------------


def shift(how: str, name: str, dst: Op, count: Val) -> None:
    """Shift every lane by one 64-bit count."""
    set_mmx(dst, SHIFTS[how](dst.read(), count, WIDTHS[name]))


@family(name=("w", "d", "q"))
@insn("psrl{name} {dst}, {src}", "NP 0F [D1+n] /r Pq,Qq", see="vol. 2, PSRLW PSRLD PSRLQ", needs="mmx")
def psrl(dst: Op, src: Op, *, name: str) -> None:
    """Shift lanes right, zeros coming in."""
    mmx_ready()
    shift("rl", name, dst, value(src, 64))


@family(name=("w", "d"))
@insn("psra{name} {dst}, {src}", "NP 0F [E1+n] /r Pq,Qq", see="vol. 2, PSRAW PSRAD", needs="mmx")
def psra(dst: Op, src: Op, *, name: str) -> None:
    """Shift lanes right, sign bits coming in."""
    mmx_ready()
    shift("ra", name, dst, value(src, 64))


@family(name=("w", "d", "q"))
@insn("psll{name} {dst}, {src}", "NP 0F [F1+n] /r Pq,Qq", see="vol. 2, PSLLW PSLLD PSLLQ", needs="mmx")
def psll(dst: Op, src: Op, *, name: str) -> None:
    """Shift lanes left."""
    mmx_ready()
    shift("ll", name, dst, value(src, 64))


@family(name=("w", "d", "q"))
@insn("psrl{name} {dst}, {count}", "NP 0F [71+n] /2 Nq,Ib", see="vol. 2, PSRLW PSRLD PSRLQ", needs="mmx")
def psrl_imm(dst: Op, count: Op, *, name: str) -> None:
    """Shift lanes right by an immediate, zeros coming in."""
    mmx_ready()
    shift("rl", name, dst, count.read().zext(64))


@family(name=("w", "d"))
@insn("psra{name} {dst}, {count}", "NP 0F [71+n] /4 Nq,Ib", see="vol. 2, PSRAW PSRAD", needs="mmx")
def psra_imm(dst: Op, count: Op, *, name: str) -> None:
    """Shift lanes right by an immediate, sign bits coming in."""
    mmx_ready()
    shift("ra", name, dst, count.read().zext(64))


@family(name=("w", "d", "q"))
@insn("psll{name} {dst}, {count}", "NP 0F [71+n] /6 Nq,Ib", see="vol. 2, PSLLW PSLLD PSLLQ", needs="mmx")
def psll_imm(dst: Op, count: Op, *, name: str) -> None:
    """Shift lanes left by an immediate."""
    mmx_ready()
    shift("ll", name, dst, count.read().zext(64))
