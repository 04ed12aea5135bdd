"""What a debugger outside asks of a reference tier: breakpoints, watchpoints and steps that the guest cannot notice."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from .tier import Exit

READS, WRITES = 1, 2
AT_BREAKPOINT, AT_WATCHPOINT, AT_MAGIC = 1, 2, 0x10000
"""Of `debug_stop`; watch n gives AT_WATCHPOINT + n."""


class Debugged(ABC):
    """Mixed into a reference tier, which asks `_break_here` before and tells `_watch` behind; see `emu.cpu`."""

    icount: int
    _breaks: frozenset[int] = frozenset()
    _watches: tuple[tuple[int, int, int], ...] = ()
    _magic = False
    _tell_modes = False
    _mode_told = 0
    _hold = False
    _pass = -1
    _debug_stop = 0

    def set_breakpoints(self, addresses: Sequence[int]) -> None:
        """Linear addresses before whose instructions `run` returns STOP."""
        self._breaks = frozenset(addresses)

    def set_watchpoints(self, watches: Sequence[tuple[int, int, int]]) -> None:
        """(linear address, size, READS | WRITES) of the memory behind whose accesses `run` returns STOP."""
        self._watches = tuple(watches)

    def set_conditions(self, *, magic: bool, modes: bool) -> None:
        """Whether `run` returns STOP before the instruction that is a breakpoint by itself, and new modes are told."""
        self._magic, self._tell_modes, self._mode_told = magic, modes, self.mode()

    def mode(self) -> int:
        """The processor's mode as a number; 0 where there are none."""
        return 0

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
        if self._hold or self.icount == self._pass:
            return False
        given = lin in self._breaks
        if not given and not (self._magic and self._magic_at(lin)):
            return False
        self._debug_stop = AT_BREAKPOINT if given else AT_MAGIC
        self.stop()
        return True

    def _magic_at(self, lin: int) -> bool:
        """Whether the instruction at `lin` is a breakpoint by itself."""
        return False

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
