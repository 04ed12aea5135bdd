"""Writes to a processor's registers from outside: numbers that fit, gathered before anything is stored.

Each core has its own rules on which states exist (`cores/x86/validate.py`); they look at a `Draft`.
"""

from __future__ import annotations

from typing import Any

from .state import State


class Draft:
    """A state that may become the processor's: unwritten registers are those of `base`, writes stay here."""

    def __init__(self, base: Any) -> None:
        self._base = base

    def __getattr__(self, name: str) -> Any:
        """A register not looked at before; files become lists of their own."""
        v = getattr(self._base, name)
        v = int(v) if isinstance(v, int) else list(v)
        self.__dict__[name] = v
        return v

    def commit(self) -> None:
        """Make it the state of the processor."""
        for name, v in self.__dict__.items():
            if name == "_base":
                continue
            if isinstance(v, list):
                place = getattr(self._base, name)
                for k, x in enumerate(v):
                    place[k] = x
            else:
                setattr(self._base, name, v)


def number(name: str, value: Any, bits: int) -> int:
    """`value` as a register of `bits` bits takes it. Raises ValueError."""
    if not isinstance(value, int):
        raise ValueError(f"{name}: expected a whole number, not {type(value).__name__}")
    if value < 0:
        raise ValueError(f"{name}: {_shown(value)} is negative")
    if value >> bits:
        raise ValueError(f"{name}: {_shown(value)} does not fit {bits} bits")
    return int(value)


def _shown(value: int) -> str:
    return f"{value:#x}" if value.bit_length() <= 128 else f"a number of {value.bit_length()} bits"


def take(draft: Draft, known: State, state: Any) -> None:
    """Put the registers of a mapping, all of them among the declared ones `known`, into a draft. Raises ValueError."""
    if not isinstance(state, dict):
        raise ValueError(f"expected registers by name, not {type(state).__name__}")
    for name, v in state.items():
        r = known.registers.get(name)
        if r is None:
            raise ValueError(f"no register {name!s:.40}")
        if r.count:
            if not isinstance(v, (list, tuple)) or len(v) != r.count:
                raise ValueError(f"register {name}: expected {r.count} numbers")
            setattr(draft, name, [number(f"register {name}", x, r.width) for x in v])
        else:
            setattr(draft, name, number(f"register {name}", v, r.width))
