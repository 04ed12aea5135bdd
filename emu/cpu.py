"""What the rest of Emu asks of a processor.

All tiers satisfy `Cpu`: the compiled interpreter and the JIT (`emu.engine`), the Python reference (`reference.py` of a
core).
The machine loop drives it, the board wires its pins, the firmware reads and writes its registers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from cores.lang.tier import NS_PER_INSN, Exit, GuestFault

if TYPE_CHECKING:
    from devices.contracts import Lender
    from emu.clock import Clock

__all__ = [
    "EVENT_APIC_BASE",
    "EVENT_FERR",
    "EVENT_FLUSH",
    "EVENT_INTERRUPT",
    "EVENT_MODE",
    "EVENT_RESET",
    "EVENT_TIMERS",
    "EVENT_TSC_DEADLINE",
    "EVENT_UNIMPLEMENTED",
    "FOREVER",
    "NS_PER_INSN",
    "Cpu",
    "CpuPins",
    "DebuggedCpu",
    "EmbeddedCpu",
    "Exit",
    "GuestFault",
]

FOREVER = 1 << 62
"""A virtual time (ns), or an instruction count, that is never reached."""

(
    EVENT_UNIMPLEMENTED,
    EVENT_INTERRUPT,
    EVENT_FERR,
    EVENT_APIC_BASE,
    EVENT_TIMERS,
    EVENT_RESET,
    EVENT_FLUSH,
    EVENT_MODE,
    EVENT_TSC_DEADLINE,
) = range(1, 10)
"""What `Cpu.on_event` reports: something not modelled (kind, number), a delivery that begins (vector | kind << 8,
error), the FERR# pin, a new APIC base, timer registers written, a reset that the processor asks for (1 core, 2 chip,
3 system), a TLB flush (CR3, whether by more than a new CR3), a new mode and the one before (`DebuggedCpu.mode`), a new
IA32_TSC_DEADLINE (as virtual ns, low half, high half; 0: none)."""


class CpuPins(Protocol):
    """The part of a processor that boards and devices touch."""

    def set_intr(self, level: bool) -> None:
        """Drive INTR. When the processor takes it, it asks `bus.interrupt_acknowledge()` for the vector."""
        ...

    def nmi(self) -> None:
        """Latch one non-maskable interrupt."""
        ...

    def set_a20(self, enabled: bool) -> None:
        """Gate address line 20: disabled, physical addresses lose bit 20."""
        ...

    def set_steady(self, paddr: int, value: int | None) -> None:
        """A promise about the 32-bit device register at `paddr`: reading it gives `value` and does nothing else.

        A tier may then answer aligned 32-bit reads without asking the bus; None takes the promise back."""
        ...

    def set_counter_port(self, port: int, hertz: int, mask: int) -> None:
        """The same about the double word at `port`: reads give virtual time in this unit, cut by `mask`."""
        ...

    def set_steady_port(self, port: int, value: int | None, until: int = FOREVER, writes: bool = False) -> None:
        """The same about byte-wide reads of a port, before the virtual time `until` (ns).

        `writes`: writing `value` changes nothing either. A reset of the processor ends every such promise."""
        ...


class Cpu(CpuPins, Protocol):
    """A processor. Registers go by their manual names, small letters; see `reg`."""

    icount: int
    """Instructions retired since power-on or `reset`. Exact inside a callback: the accessing one is not yet counted."""

    time_offset: int
    """Virtual ns spent idle. RDTSC reads `icount * NS_PER_INSN + time_offset`; written by `emu.clock`."""

    halted: bool
    """True after HLT until an interrupt, NMI or reset."""

    hook_value: int
    """The value given to the last `hook`."""

    @property
    def tier(self) -> str:
        """How it runs: jit, interp or reference."""
        ...

    @property
    def a20(self) -> bool:
        """Whether address line 20 is driven."""
        ...

    def run(self, budget: int) -> Exit:
        """Retire at most `budget` more instructions.

        Returns early with HALT (HLT retired and nothing pending wakes it; at once and without progress if already so),
        SHUTDOWN (triple fault), HOOK (`hook` was called: right after that instruction) or STOP (`stop` was called).
        An exception raised by a bus callback leaves `run` as it is.
        """
        ...

    def stop(self) -> None:
        """From a callback or signal handler: make `run` return STOP at the next instruction boundary."""
        ...

    def now(self) -> int:
        """Virtual time in ns: `icount * NS_PER_INSN + time_offset`."""
        ...

    def stop_at(self, deadline: int) -> None:
        """From a callback: make `run` return when virtual time reaches `deadline` (ns), or before that."""
        ...

    def hook(self, value: int) -> None:
        """From a port callback: make `run` return HOOK after this instruction, with `hook_value` set."""
        ...

    def reset(self) -> None:
        """Power-on state: CS:IP = F000:FFF0 with base FFFF0000. `icount` becomes 0."""
        ...

    def reg(self, name: str) -> int:
        """The value of "eax", "al", "eip", "eflags", "cs", "cs.base", "cs.limit", "cs.attr", "cr0", "gdtr.base", ...

        Raises KeyError for a name the processor does not have.
        """
        ...

    def set_reg(self, name: str, value: int) -> None:
        """Write a register. A segment by name loads it as real mode does (base = selector << 4).

        Raises KeyError for an unknown name and ValueError for a state the processor cannot be in.
        """
        ...

    def read_linear(self, lin: int, n: int) -> bytes:
        """`n` bytes through paging as the supervisor, without side effects. Raises GuestFault."""
        ...

    def write_linear(self, lin: int, data: bytes) -> None:
        """Write through paging as the supervisor, all or nothing. Raises GuestFault."""
        ...

    def invalidate(self, paddr: int, n: int) -> None:
        """Physical bytes were changed from outside (DMA, loader): forget what was decoded from them."""
        ...

    def remap(self) -> None:
        """`GuestRam.regions` changed: read them again and flush the TLB."""
        ...

    def digest(self) -> str:
        """Hex SHA-256 over the architectural state (registers and hidden parts; not RAM)."""
        ...

    def stats(self) -> dict[str, Any]:
        """Counters of the tier for `--stats`; plain data."""
        ...

    def on_event(self, callback: Callable[[int, int, int], None], *, log_interrupts: bool = False) -> None:
        """Call `callback(event, a, b)` for the events above; deliveries and TLB flushes only with `log_interrupts`."""
        ...

    def exceptions(self) -> list[dict[str, int]]:
        """The last deliveries, oldest first: icount, vector, error, kind, cs, eip, cr2 of each."""
        ...

    def fault_story(self) -> list[str]:
        """After SHUTDOWN: the chain of faults in plain words, one line each."""
        ...


class PcCpu(Cpu, Protocol):
    """What a processor of a PC has besides: a local APIC at its side."""

    def lend_apic(self, apic: Lender) -> None:
        """A tier may do the local APIC's work during a run (`devices.lapic`)."""
        ...

    def lend_disk(self, disk: Lender) -> None:
        """A tier may serve the queue of a virtio disk during a run (`devices.virtio.blk`)."""
        ...

    def lend_data(
        self, ports: tuple[int, int], data: bytes, span: tuple[int, int], block: int, status: int
    ) -> Callable[[], tuple[int, bool]] | None:
        """A tier may serve reads of a disk's data and of its status, which is `status`, at base and control `ports`.

        `span` of `data` is lent, in blocks of so many bytes, with an interrupt pending. What this gives ends the loan:
        how far it got, and whether an interrupt is pending."""
        ...

    def lend_net(self, card: Lender) -> None:
        """And the queues of a virtio network card (`devices.virtio.net`)."""
        ...


class DebuggedCpu(Cpu, Protocol):
    """What a debugger asks of a processor, unnoticed by the guest. Addresses are linear (effective)."""

    def set_breakpoints(self, addresses: Sequence[int]) -> None:
        """`run` returns STOP before the instruction at any of them. Raises ValueError for too many."""
        ...

    def set_watchpoints(self, watches: Sequence[tuple[int, int, int]]) -> None:
        """`run` returns STOP behind an instruction that touches one of (address, size, 1 reads | 2 writes).

        Raises ValueError for too many."""
        ...

    def set_conditions(self, *, magic: bool, modes: bool) -> None:
        """Whether `run` returns STOP before XCHG BX,BX, and whether new modes are told (EVENT_MODE)."""
        ...

    def mode(self) -> int:
        """Bit 0 protected mode, 1 paging, 2 virtual 8086 mode, 3 32-bit code, from 4 on the privilege level."""
        ...

    def pass_breakpoint(self, on: bool) -> None:
        """Whether the next instruction runs though a breakpoint be on it."""
        ...

    def debug_stop(self) -> int:
        """What stopped the last run: 0 nothing of these, 1 a breakpoint, 2 + n watchpoint n, 10000h XCHG BX,BX.

        Forgets it."""
        ...

    def step(self) -> Exit:
        """Run one instruction, interrupts and breakpoints held off."""
        ...

    def state(self) -> dict[str, int | list[int]]:
        """All registers as plain data."""
        ...

    def load_state(self, state: dict[str, int | list[int]]) -> None:
        """Replace registers. Raises ValueError for a state that cannot be."""
        ...


class EmbeddedCpu(Cpu, Protocol):
    """What a PowerPC processor has besides: its own timers, two more inputs, and TLBs that a loader fills."""

    interruptible: bool
    """Whether the wait state can end by an interrupt."""

    stuck: bool
    """Whether it runs in place with external interrupts masked: a branch to itself."""

    def set_critical(self, level: bool) -> None:
        """Drive the critical input."""
        ...

    def machine_check(self) -> None:
        """Latch one machine check."""
        ...

    def attach_clock(self, clock: Clock) -> None:
        """Let the clock fire the decrementer and the other timers."""
        ...

    def detach_clock(self) -> None:
        """Its timers fire no more: another processor takes over."""
        ...

    def load_values(self, values: dict[str, int | dict[int, int]]) -> None:
        """Set state registers, elements of files by index: `cores.ppc.models.boot_values`."""
        ...
