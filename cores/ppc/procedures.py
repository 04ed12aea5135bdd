"""The procedures that the engine and the reference call by name."""

from __future__ import annotations

from ..lang.trace import Proc
from .debug import debug_data, debug_done, debug_fetch, debug_mode
from .interrupts import deliver, pending
from .mmu import walk
from .msr import msr_load
from .timers import timers_next, timers_tick

ROOTS: tuple[Proc, ...] = (
    walk,
    deliver,
    pending,
    msr_load,
    timers_tick,
    timers_next,
    debug_mode,
    debug_fetch,
    debug_done,
    debug_data,
)
