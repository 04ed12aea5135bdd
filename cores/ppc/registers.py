"""Short ways to read and write state registers in a body, and tests of what the model is."""

from __future__ import annotations

from ..lang.state import Register
from ..lang.trace import Operand, RegisterLocation, Val, value
from . import state as S
from .models import FEATURES


def get(register: Register, index: Operand | None = None) -> Val:
    """The register now."""
    return RegisterLocation(register, index).read()


def put(register: Register, new: Operand, index: Operand | None = None) -> None:
    """Write it."""
    RegisterLocation(register, index).set(value(new, register.width))


def set_bits(register: Register, bits: Operand) -> None:
    """OR bits in."""
    put(register, get(register) | bits)


def has(feature: str) -> Val:
    """Whether the model has a feature, at run time."""
    return (get(S.FEATURES) & FEATURES[feature]) != 0


def msr(bit: int) -> Val:
    """A bit of MSR."""
    return get(S.MSR).bit(bit)


def guest() -> Val:
    """Whether the processor is in guest state; never without the embedded hypervisor."""
    return msr(S.MSR_GS)
