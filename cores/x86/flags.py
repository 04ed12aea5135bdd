"""EFLAGS as locations, and the ways an instruction sets the arithmetic flags (SDM vol. 1, 3.4.3)."""

from __future__ import annotations

from ..lang.trace import Location, Operand, RegisterLocation, Val, value
from . import state as S

_cf = RegisterLocation(S.CF_)
_z = RegisterLocation(S.CC_Z)
_s = RegisterLocation(S.CC_S)
_aux = RegisterLocation(S.CC_AUX)
EFLAGS = RegisterLocation(S.EFLAGS)


class _Carry(Location):
    width = 1

    def read(self) -> Val:
        return _cf.read()

    def set(self, value_: Operand) -> None:
        new = value(value_, 1)
        _aux.set(_aux.read() ^ ((_cf.read() ^ new).zext(32) << 31))
        _cf.set(new)


class _Overflow(Location):
    width = 1

    def read(self) -> Val:
        return _aux.read().bit(31) ^ _cf.read()

    def set(self, value_: Operand) -> None:
        new = value(value_, 1) ^ _cf.read()
        _aux.set((_aux.read() & 0x7FFFFFFF) | (new.zext(32) << 31))


class _Adjust(Location):
    width = 1

    def read(self) -> Val:
        return _aux.read().bit(4)

    def set(self, value_: Operand) -> None:
        _aux.set((_aux.read() & ~0x10) | (value(value_, 1).zext(32) << 4))


class _Zero(Location):
    width = 1

    def read(self) -> Val:
        return _z.read() == 0

    def set(self, value_: Operand) -> None:
        _z.set((~value(value_, 1)).zext(32))


class _Sign(Location):
    width = 1

    def read(self) -> Val:
        return _s.read().bit(31)

    def set(self, value_: Operand) -> None:
        _s.set((_s.read() & 0x7FFFFFFF) | (value(value_, 1).zext(32) << 31))


class _Parity(Location):
    width = 1

    def read(self) -> Val:
        return ~_s.read().low(8).popcount().bit(0)

    def set(self, value_: Operand) -> None:
        # One bit set in the low byte is odd parity.
        _s.set((_s.read() & 0xFFFFFF00) | (~value(value_, 1)).zext(32))


class FlagBit(Location):
    """One of the bits kept in `eflags` itself."""

    width = 1

    def __init__(self, bit: int) -> None:
        self.at = bit

    def read(self) -> Val:
        """The bit now."""
        return EFLAGS.read().bit(self.at)

    def set(self, value_: Operand) -> None:
        """Replace the bit."""
        EFLAGS.set((EFLAGS.read() & ~(1 << self.at)) | (value(value_, 1).zext(32) << self.at))


CF, OF, AF, ZF, SF, PF = _Carry(), _Overflow(), _Adjust(), _Zero(), _Sign(), _Parity()
TF, IF, DF, NT, RF, VM, AC = (
    FlagBit(b) for b in (S.FLAG_TF, S.FLAG_IF, S.FLAG_DF, S.FLAG_NT, S.FLAG_RF, S.FLAG_VM, S.FLAG_AC)
)
VIF, VIP, ID = FlagBit(S.FLAG_VIF), FlagBit(S.FLAG_VIP), FlagBit(S.FLAG_ID)


def set_arith(result: Val, carry: Operand, aux: Operand) -> None:
    """All six flags of an addition or subtraction. `aux` is a ^ b ^ result, whose top bit gives OF with the carry."""
    r = result.sext(32)
    _cf.set(value(carry, 1))
    _z.set(r)
    _s.set(r)
    _aux.set(value(aux, result.width).sext(32))


def set_logic(result: Val) -> None:
    """AND, OR, XOR, TEST: CF and OF cleared; AF is undefined and cleared."""
    r = result.sext(32)
    _cf.set(0)
    _z.set(r)
    _s.set(r)
    _aux.set(0)


def set_szp(result: Val) -> None:
    """SF, ZF and PF from the result; the others stay."""
    r = result.sext(32)
    _z.set(r)
    _s.set(r)


def set_all(cf: Operand, of: Operand, af: Operand, result: Val) -> None:
    """CF, OF and AF given, SF, ZF and PF from the result."""
    c = value(cf, 1)
    set_szp(result)
    _aux.set(((value(of, 1) ^ c).zext(32) << 31) | (value(af, 1).zext(32) << 4))
    _cf.set(c)


def read_eflags() -> Val:
    """The whole EFLAGS register, 32 bits."""
    return (
        EFLAGS.read()
        | CF.read().zext(32)
        | (PF.read().zext(32) << 2)
        | (AF.read().zext(32) << 4)
        | (ZF.read().zext(32) << 6)
        | (SF.read().zext(32) << 7)
        | (OF.read().zext(32) << 11)
    )


ARITH = 0x8D5


def write_arith(v: Operand) -> None:
    """CF, PF, AF, ZF, SF and OF from their EFLAGS positions in a 32-bit value."""
    x = value(v, 32)
    c = x.bit(0)
    _z.set((~x.bit(6)).zext(32))
    _s.set((x.bit(7).zext(32) << 31) | (~x.bit(2)).zext(32))
    _aux.set(((x.bit(11) ^ c).zext(32) << 31) | (x.bit(4).zext(32) << 4))
    _cf.set(c)


def condition(cc: int) -> Val:
    """The 1-bit condition of Jcc, SETcc and CMOVcc (SDM vol. 1, appendix B)."""
    base = (
        lambda: OF.read(),
        lambda: CF.read(),
        lambda: ZF.read(),
        lambda: CF.read() | ZF.read(),
        lambda: SF.read(),
        lambda: PF.read(),
        lambda: SF.read() ^ OF.read(),
        lambda: ZF.read() | (SF.read() ^ OF.read()),
    )[cc >> 1]()
    return ~base if cc & 1 else base


CONDITIONS = ("o", "no", "b", "ae", "e", "ne", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g")
__all__ = [
    "AC", "AF", "ARITH", "CF", "CONDITIONS", "DF", "EFLAGS", "ID", "IF", "NT", "OF", "PF", "RF", "SF", "TF", "VIF",
    "VIP", "VM", "ZF", "condition", "read_eflags", "set_all", "set_arith", "set_carry_overflow", "set_logic", "set_szp",
    "write_arith",
]  # fmt: skip


def set_carry_overflow(cf: Operand, of: Operand) -> None:
    """CF and OF of a rotate; the other flags stay."""
    c = value(cf, 1)
    _aux.set((_aux.read() & 0x7FFFFFFF) | ((value(of, 1) ^ c).zext(32) << 31))
    _cf.set(c)
