"""Registers by their manual names, for monitors, debuggers, loaders and tests.

Works on any object that has the registers of `state.py` as attributes: the C struct and the reference's state alike.
`r3`, `evr3` (all 64 bits), `f1`, `pc`, `cr`, `lr`, `ctr`, `xer`, `msr`, `fpscr`, every special purpose register of
`spr.py` by its name, every other register of `state.py` by its own, and elements of files as `utlb0[3]`.

TSR and DEC are true at `timer_stamp`: who wants them as of now brings the timers up to date first.
"""

from __future__ import annotations

import re
from typing import Any

from . import state as S
from .models import FEATURES, HID0_TBEN
from .spr import SPRS

TIMERS = ("dec", "tsr", "tcr", "decar")
"""True as of `timer_stamp`: bring the timers up to date first."""

# Writing these changes no mode, so nothing derived needs to be made again.
PLAIN = frozenset((*(f"r{n}" for n in range(32)), *(f"f{n}" for n in range(32)), "pc", "cr", "lr", "ctr", "xer"))
_NUMBERED = re.compile(r"(r|f|evr)(0|[1-9]\d?)$")
_ELEMENT = re.compile(r"(\w+)\[(0|[1-9]\d{0,3})\]$")
_XER = (("xer_so", 31, 1), ("xer_ov", 30, 1), ("xer_ca", 29, 1), ("xer_count", 0, 0x7F))


def _file(name: str) -> tuple[str, int] | None:
    """A register file and the index in it, where `name` means an element."""
    found = _ELEMENT.match(name)
    if found is None:
        return None
    register = S.STATE.registers.get(found[1])
    if register is None or int(found[2]) >= register.count:
        raise KeyError(name)
    return register.name, int(found[2])


def _numbered(name: str) -> tuple[str, int] | None:
    found = _NUMBERED.match(name)
    if found is None or int(found[2]) > 31:
        return None
    return found[1], int(found[2])


def _plain(name: str) -> tuple[str, int | None]:
    """The state register behind a name without its own rule. Raises KeyError."""
    row = SPRS.get(name)
    if row is not None and row.register is not None:
        return row.register.name, row.index
    register = S.STATE.registers.get(name)
    if register is None or register.count:
        raise KeyError(name)
    return name, None


def read(state: Any, name: str) -> int:
    """The value of a register. Raises KeyError for an unknown name."""
    numbered = _numbered(name)
    if numbered is not None:
        kind, n = numbered
        if kind == "f":
            return int(state.fpr[n])
        return int(state.gpr[n]) & (0xFFFFFFFF if kind == "r" else (1 << 64) - 1)
    if name == "xer":
        return sum((int(getattr(state, part)) & mask) << at for part, at, mask in _XER)
    file = _file(name)
    if file is not None:
        return int(getattr(state, file[0])[file[1]])
    where, index = _plain(name)
    value = getattr(state, where)
    return int(value if index is None else value[index])


def write(state: Any, name: str, value: int) -> None:
    """Write a register. Raises KeyError for an unknown name, ValueError for a value that it cannot hold."""
    if value < 0:
        raise ValueError(f"{name}: {value} is negative")
    numbered = _numbered(name)
    if numbered is not None:
        kind, n = numbered
        _fits(name, value, 32 if kind == "r" else 64)
        if kind == "f":
            state.fpr[n] = value
        else:
            state.gpr[n] = int(state.gpr[n]) & ~0xFFFFFFFF | value if kind == "r" else value
        return
    if name == "xer":
        if value & ~0xE000007F:
            raise ValueError(f"xer: {value:#x} has bits beyond SO, OV, CA and the byte count")
        for part, at, mask in _XER:
            setattr(state, part, value >> at & mask)
        return
    file = _file(name)
    if file is not None:
        _fits(name, value, S.STATE.registers[file[0]].width)
        getattr(state, file[0])[file[1]] = value
        return
    where, index = _plain(name)
    _fits(name, value, S.STATE.registers[where].width)
    row = SPRS.get(name)
    if row is not None and value & ~row.mask:
        raise ValueError(f"{name}: {value:#x} has bits beyond {row.mask:#x}")
    if name == "msr" and value & ~int(state.msr_mask):
        raise ValueError(f"msr: {value:#x} has bits beyond {int(state.msr_mask):#x}")
    if name == "pc" and value & 3:
        raise ValueError(f"pc: {value:#x} is not the address of a word")
    if index is None:
        setattr(state, where, value)
    else:
        getattr(state, where)[index] = value
    if name == "hid0" and int(state.features) & FEATURES["spe"]:
        # From outside the time base starts where it stood, whatever time has passed; loaders do this at time 0.
        state.tb_stopped = int(not value & HID0_TBEN)


def _fits(name: str, value: int, bits: int) -> None:
    if value >> bits:
        raise ValueError(f"{name}: {value:#x} does not fit {bits} bits")
