"""Short names for what the system architecture reads everywhere: state registers and the mode the CPU is in."""

from __future__ import annotations

from ..lang.state import Register
from ..lang.trace import Operand, RegisterLocation, Val, const, value
from . import state as S
from .externs import raise_fault, unlikely


def get(register: Register, index: Operand | None = None) -> Val:
    """A state register, or one element of a file, as it is now."""
    return RegisterLocation(register, index).read()


def put(register: Register, new: Operand, index: Operand | None = None) -> None:
    """Write a state register or one element of a file."""
    RegisterLocation(register, index).set(new)


def protected_enabled() -> Val:
    """CR0.PE: protected or virtual-8086 mode."""
    return get(S.CR0).bit(S.CR0_PE)


def v86() -> Val:
    """EFLAGS.VM: virtual-8086 mode (only ever set together with CR0.PE)."""
    return get(S.EFLAGS).bit(S.FLAG_VM)


def protected() -> Val:
    """Protected mode proper: descriptors count."""
    return protected_enabled() & ~v86()


def iopl() -> Val:
    """EFLAGS.IOPL, 8 bits wide to compare with CPL."""
    return get(S.EFLAGS).bits(S.FLAG_IOPL, 2).zext(8)


def cpl() -> Val:
    """The current privilege level, 8 bits."""
    return get(S.CPL)


def rpl(selector: Val) -> Val:
    """Requested privilege level of a selector, 8 bits."""
    return selector.low(2).zext(8)


def is_null(selector: Val) -> Val:
    """Whether a selector is one of the four null selectors."""
    return (selector & 0xFFFC) == 0


def selector_error(selector: Val, ext: Operand = 0) -> Val:
    """The 32-bit error code that names a selector; `ext` is 1 for an event from outside the program."""
    return (selector & 0xFFFC).zext(32) | value(ext, 32)


def flag_mask(*bits: int) -> int:
    """The ones at the given bit numbers."""
    return sum(1 << b for b in bits)


def refuse(cond: Operand, vector: int | Val, error: Operand = 0) -> None:
    """Leave by an exception where `cond` holds; the vector may be known at run time only."""
    with unlikely(cond):
        raise_fault(const(vector, 8) if isinstance(vector, int) else vector, value(error, 32))


def require_cpl0() -> None:
    """#GP(0) unless the current privilege level is 0."""
    refuse(cpl() != 0, S.GP)


def require_protected() -> None:
    """#UD in real and virtual-8086 mode."""
    refuse(~protected(), S.UD)
