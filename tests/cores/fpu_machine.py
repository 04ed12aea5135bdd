"""A machine that runs x87 and MMX instructions given as bytes, on the Python lowering and flat memory."""

from __future__ import annotations

import struct
from fractions import Fraction

from cores.x86 import state as S
from cores.x86.decoder import decode
from tests.cores.sse_machine import Fault, Machine, compiled

EVERYTHING = (0xFFFFFFFF,) * 4
AT = 0x100  # where `mem` operands are
INDEFINITE = (0xC000000000000000, 0xFFFF)
Real = tuple[int, int]


def real(x: float) -> Real:
    """A double as significand and sign-exponent."""
    bits = struct.unpack("<Q", struct.pack("<d", x))[0]
    sign, e, frac = bits >> 63 << 15, bits >> 52 & 0x7FF, bits & (1 << 52) - 1
    if e == 0x7FF:
        return 1 << 63 | frac << 11, sign | 0x7FFF
    if e == 0:
        if not frac:
            return 0, sign
        up = 64 - frac.bit_length()
        return frac << up, sign | (16383 - 1074 + 63 - up)
    return 1 << 63 | frac << 11, sign | (e - 1023 + 16383)


def number(value: Real) -> float:
    """A finite 80-bit real as the nearest double."""
    sig, se = value
    size = Fraction(sig) * Fraction(2) ** ((se & 0x7FFF or 1) - 16383 - 63)
    return float(-size if se >> 15 else size)


class Fpu(Machine):
    """After FNINIT, in real mode with CR0.NE set. `ferrs` counts how often FERR# was driven."""

    def __init__(self) -> None:
        super().__init__()
        s = self.state
        s.fctrl, s.fstat, s.ftag = 0x37F, 0, 0
        self.ferrs = 0

    def ferr(self) -> None:
        """FERR# is driven."""
        self.ferrs += 1

    def run(self, code: str, *, big: bool = True) -> None:
        """Run instructions given in hex, one after the other; `mem` stands for the disp32 of `AT`. Raises `Fault`."""
        data = bytes.fromhex(code.replace("mem", AT.to_bytes(4, "little").hex()))
        source = iter(data)
        at = 0
        while at < len(data):
            insn = decode(lambda: next(source), at, big, EVERYTHING)
            at = insn.next
            if insn.form is None:
                raise Fault(S.UD, 0)
            compiled(insn.form)(self.state, self, insn)

    @property
    def top(self) -> int:
        """TOP."""
        return int(self.state.fstat >> 11 & 7)

    def st(self, i: int) -> Real | None:
        """ST(i), or None if it is empty."""
        p = self.top + i & 7
        if not self.state.ftag >> p & 1:
            return None
        return int(self.state.fpr_sig[p]), int(self.state.fpr_se[p])

    def set_st(self, i: int, value: Real | float) -> None:
        """Give ST(i) a value."""
        p = self.top + i & 7
        self.state.fpr_sig[p], self.state.fpr_se[p] = value if isinstance(value, tuple) else real(value)
        self.state.ftag |= 1 << p

    def load(self, *values: Real | float) -> None:
        """Make the stack hold these, ST(0) first; TOP is set as pushes would leave it."""
        self.state.ftag = 0
        self.state.fstat = (self.state.fstat & ~0x3800) | (-len(values) & 7) << 11
        for i, v in enumerate(values):
            self.set_st(i, v)

    def poke(self, data: bytes, at: int = AT) -> None:
        """Write memory."""
        self.memory[at : at + len(data)] = data

    def peek(self, size: int, at: int = AT) -> bytes:
        """Read memory."""
        return bytes(self.memory[at : at + size])
