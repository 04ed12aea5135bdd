"""MSR: which bits a model has, and what follows from writing it (Book III-E, 4.2.1; e500 RM, 2.5.1)."""

from __future__ import annotations

from ..lang.trace import Val, procedure, select, value
from . import state as S
from .externs import mode_changed
from .registers import get, has, put

HID0_SLEEPS = 7 << 21  # DOZE, NAP, SLEEP
GUEST_KEEPS = 1 << S.MSR_GS | 1 << S.MSR_UCLE | 1 << S.MSR_DE | 1 << S.MSR_PMM
"""What MSRP keeps a guest from changing, each bit if it is set there; GS always."""


@procedure(32)
def msr_load(new: Val) -> None:
    """Write all of MSR. WE puts the processor to sleep after this instruction, until an interrupt; an e500 only where
    HID0 says how deep."""
    kept = new & get(S.MSR_MASK)
    put(S.MSR, kept)
    put(S.HALTED, kept.bit(S.MSR_WE) & (has("440") | ((get(S.HID0) & HID0_SLEEPS) != 0)))
    mode_changed()


@procedure(32)
def msr_write(new: Val) -> None:
    """Write MSR by an instruction: in guest state GS and what MSRP protects stay."""
    old = get(S.MSR)
    protected = select(old.bit(S.MSR_GS), get(S.MSRP) | 1 << S.MSR_GS, value(0, 32)) & GUEST_KEEPS
    msr_load((new & ~protected) | (old & protected))
