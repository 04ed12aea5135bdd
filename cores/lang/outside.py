"""What a debugger outside asks of a reference tier: breakpoints, watchpoints and steps that the guest cannot notice."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from .tier import Exit

READS, WRITES = 1, 2
AT_BREAKPOINT, AT_WATCHPOINT = 1, 2
"""Of `debug_stop`; watch n gives AT_WATCHPOINT + n."""


class Debugged(ABC):
    """Mixed into a reference tier, which asks `_break_here` before and tells `_watch` behind; see `emu.cpu`."""

    icount: int
    _breaks: frozenset[int] = frozenset()
    _watches: tuple[tuple[int, int, int], ...] = ()
    _hold = False
    _pass = -1
    _debug_stop = 0

    def set_breakpoints(self, addresses: Sequence[int]) -> None:
        """Linear addresses before whose instructions `run` returns STOP."""
        self._breaks = frozenset(addresses)

    def set_watchpoints(self, watches: Sequence[tuple[int, int, int]]) -> None:
        """(linear address, size, READS | WRITES) of the memory behind whose accesses `run` returns STOP."""
        self._watches = tuple(watches)

    def pass_breakpoint(self, on: bool) -> None:
        """Whether the next instruction runs though a breakpoint be on it."""
        self._pass = self.icount if on else -1

    def debug_stop(self) -> int:
        """What stopped the last run: 0 nothing of these, else a number above. Forgets it."""
        stop, self._debug_stop = self._debug_stop, 0
        return stop

    def step(self) -> Exit:
        """One instruction, interrupts and breakpoints held off."""
        self._hold = True
        try:
            return self.run(1)
        finally:
            self._hold = False

    def _break_here(self, lin: int) -> bool:
        """Whether to stop before the instruction at `lin`."""
        if self._hold or lin not in self._breaks or self.icount == self._pass:
            return False
        self._debug_stop = AT_BREAKPOINT
        self.stop()
        return True

    def _watch(self, lin: int, size: int, kind: int) -> None:
        """An access was made."""
        for n, (at, length, kinds) in enumerate(self._watches):
            if kinds & kind and (lin - at & 0xFFFFFFFF < length or at - lin & 0xFFFFFFFF < size):
                if not self._debug_stop:
                    self._debug_stop = AT_WATCHPOINT + n
                    self.stop()
                return

    @abstractmethod
    def run(self, budget: int) -> Exit:
        """See `emu.cpu.Cpu.run`."""

    @abstractmethod
    def stop(self) -> None:
        """See `emu.cpu.Cpu.stop`."""
