"""A processor whose program is a list of Python functions: one call is one instruction, the list repeats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from emu.cpu import NS_PER_INSN, Exit

Insn = Callable[["FakeCpu"], None]


def nop(cpu: FakeCpu) -> None:
    """Nothing."""


def hlt(cpu: FakeCpu) -> None:
    """Halt until INTR."""
    cpu.halted = True


class FakeCpu:
    """Counts, halts, takes interrupts (each clears INTR and is noted) and obeys stop and hook."""

    def __init__(self, program: Sequence[Insn] = (nop,)) -> None:
        self.program = list(program)
        self.regs: dict[str, int] = {}
        self.icount = 0
        self.time_offset = 0
        self.halted = False
        self.hook_value = 0
        self.pc = 0
        self.intr = False
        self.a20 = True
        self.taken: list[int] = []
        self.invalidated: list[tuple[int, int]] = []
        self.remaps = 0
        self.resets = 0
        self._stop = False
        self._exit: Exit | None = None
        self.reset()

    def reset(self) -> None:
        self.icount = 0
        self.pc = 0
        self.halted = False
        self.intr = False
        self.resets += 1
        self.regs.update(eflags=0x202, eip=0)

    def run(self, budget: int) -> Exit:
        self._stop = False
        for _ in range(budget):
            if self.intr and self.regs["eflags"] & 0x200:
                self.intr = False
                self.halted = False
                self.taken.append(self.icount)
            if self.halted:
                return Exit.HALT
            insn = self.program[self.pc % len(self.program)]
            self._exit = None
            insn(self)
            self.pc += 1
            self.icount += 1
            if self._exit is not None:
                return self._exit
            if self.halted:
                return Exit.HALT
            if self._stop:
                return Exit.STOP
        return Exit.BUDGET

    def now(self) -> int:
        return self.icount * NS_PER_INSN + self.time_offset

    def stop(self) -> None:
        self._stop = True

    def stop_at(self, deadline: int) -> None:
        self._stop = True

    def hook(self, value: int) -> None:
        self.hook_value = value
        self._exit = Exit.HOOK

    def shut_down(self) -> None:
        self._exit = Exit.SHUTDOWN

    def set_intr(self, level: bool) -> None:
        self.intr = level

    def nmi(self) -> None:
        self.halted = False

    def set_a20(self, enabled: bool) -> None:
        self.a20 = enabled

    def lend_apic(self, apic: object) -> None:
        """It stays where it is."""

    def lend_disk(self, disk: object) -> None:
        """It stays where it is."""

    def lend_net(self, card: object) -> None:
        """It stays where it is."""

    def set_steady(self, paddr: int, value: int | None) -> None:
        """Not made use of."""

    def set_counter_port(self, port: int, hertz: int, mask: int) -> None:
        """Not made use of."""

    def lend_data(self, *what: object) -> None:
        """They stay where they are."""

    def set_steady_port(self, port: int, value: int | None, until: int = 0, writes: bool = False) -> None:
        """Not made use of."""

    def reg(self, name: str) -> int:
        return self.regs[name]

    def set_reg(self, name: str, value: int) -> None:
        self.regs[name] = value

    def read_linear(self, lin: int, n: int) -> bytes:
        return bytes(n)

    def write_linear(self, lin: int, data: bytes) -> None:
        pass

    def invalidate(self, paddr: int, n: int) -> None:
        self.invalidated.append((paddr, n))

    def remap(self) -> None:
        self.remaps += 1

    def digest(self) -> str:
        return f"{self.icount}/{self.pc}"

    def stats(self) -> dict[str, Any]:
        return {"tier": "fake"}

    def on_event(self, callback: Callable[[int, int, int], None], *, log_interrupts: bool = False) -> None:
        self.event = callback
        self.log_interrupts = log_interrupts

    def exceptions(self) -> list[dict[str, int]]:
        return []

    def fault_story(self) -> list[str]:
        return ["first this", "then that"]
