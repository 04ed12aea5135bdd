"""`-d`: what a run writes to its log about the processor and the ports, in the line shapes of QEMU's log.

`int` and `mmu` listen to the processor's events. `in_asm`, `exec` and `cpu` watch every instruction, so the
processor is run one at a time: slow, and the same run. `io` wraps the bus.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from emu.cpu import Cpu, Exit, GuestFault
from emu.memory import Dma
from emu.options import CORES

if TYPE_CHECKING:
    from emu.bus import Bus
    from emu.machine import Machine

ASM = logging.getLogger("emu.in_asm")
EXEC = logging.getLogger("emu.exec")
CPU = logging.getLogger("emu.cpu")
RESET = logging.getLogger("emu.cpu_reset")
INT = logging.getLogger("emu.int")
MMU = logging.getLogger("emu.mmu")
IO = logging.getLogger("emu.io")
UNIMP = logging.getLogger("emu.unimp")

GENERAL = ("eax", "ebx", "ecx", "edx", "esi", "edi", "ebp", "esp")
SEGMENTS = ("es", "cs", "ss", "ds", "fs", "gs")
EXCEPTION, SOFTWARE, EXTERNAL = 0, 1, 2
NESTED, DOUBLE = 8, 16  # kinds of `Cpu.exceptions` besides those: the fault of a delivery, and what it became
PAGE_FAULT = 14
PSE, PAE = 1 << 4, 1 << 5
SYSTEM_TYPES = (
    "Reserved", "TSS16-avl", "LDT", "TSS16-busy", "CallGate16", "TaskGate", "IntGate16", "TrapGate16",
    "Reserved", "TSS32-avl", "Reserved", "TSS32-busy", "CallGate32", "Reserved", "IntGate32", "TrapGate32",
)  # fmt: skip
LONGEST = 15


def attach(machine: Machine, categories: list[str]) -> None:
    """Turn the categories of -d on."""
    chosen = set(categories)
    state = registers
    if CORES[machine.name].arch == "ppc":
        from emu.tools import trace_ppc

        trace_ppc.attach(machine, chosen)
        state = trace_ppc.registers
    else:
        _attach_x86(machine, chosen)
    if "io" in chosen:
        watch_ports(machine.bus)
    if "cpu_reset" in chosen:
        machine.on_reset.append(lambda: RESET.debug("CPU Reset\n%s", state(machine.cpu)))


def _attach_x86(machine: Machine, chosen: set[str]) -> None:
    if chosen & {"in_asm", "exec", "cpu"}:
        machine.execute = Stepper(machine.cpu, chosen).run
    if "int" in chosen:
        machine.on_interrupt.append(Deliveries(machine.cpu).coming)
    if "mmu" in chosen:
        paging = Paging(machine)
        machine.on_interrupt.append(paging.coming)
        machine.on_flush.append(paging.flushed)
    if chosen & {"int", "mmu"}:
        machine.log_interrupts()


class Stepper:
    """Runs a processor an instruction at a time and logs each."""

    def __init__(self, cpu: Cpu, categories: set[str]) -> None:
        self._cpu = cpu
        self._asm = "in_asm" in categories
        self._exec = "exec" in categories
        self._state = "cpu" in categories
        self._seen: set[tuple[int, bytes]] = set()

    def run(self, budget: int) -> Exit:
        """In place of `Cpu.run`."""
        cpu = self._cpu
        for _ in range(budget):
            eip, base = cpu.reg("eip"), cpu.reg("cs.base")
            line = self._line(eip, base) if self._asm else ""
            if line:
                ASM.debug("%s", line)
            if self._exec:
                EXEC.debug("Trace %d: %04x:%08x", cpu.icount, cpu.reg("cs"), eip)
            if self._state:
                CPU.debug("%s", registers(cpu))
            reason = cpu.run(1)
            if reason != Exit.BUDGET:
                return reason
        return Exit.BUDGET

    def _line(self, eip: int, base: int) -> str:
        """The instruction at CS:EIP the first time it is met; empty afterwards."""
        from cores.x86.text import disassemble

        linear = (base + eip) & 0xFFFFFFFF
        data = fetch(self._cpu, linear)
        text, length = disassemble(data, eip, bool(self._cpu.reg("cs.attr") & 0x4000))
        key = (linear, data[:length])
        if not data or key in self._seen:
            return ""
        self._seen.add(key)
        return f"0x{linear:08x}:  {data[:length].hex(' '):32} {text}"


def fetch(cpu: Cpu, linear: int) -> bytes:
    """Up to 15 bytes of code; fewer where the next page is not mapped."""
    try:
        return cpu.read_linear(linear, LONGEST)
    except GuestFault:
        here = 0x1000 - (linear & 0xFFF)
        try:
            return cpu.read_linear(linear, min(here, LONGEST))
        except GuestFault:
            return b""


def registers(cpu: Cpu) -> str:
    """All registers that programs see, in QEMU's layout."""
    reg = cpu.reg
    flags = reg("eflags")
    letters = "".join(
        letter if flags >> bit & 1 else "-" for letter, bit in zip("DOSZAPC", (10, 11, 7, 6, 4, 2, 0), strict=True)
    )
    rows = [
        " ".join(f"{name.upper()}={reg(name):08x}" for name in GENERAL[:4]),
        " ".join(f"{name.upper()}={reg(name):08x}" for name in GENERAL[4:]),
        f"EIP={reg('eip'):08x} EFL={flags:08x} [{letters}] CPL={cpl(cpu)} II={int(reg('shadow') != 0)}"
        f" A20={int(cpu.a20)} SMM=0 HLT={int(cpu.halted)}",
    ]
    rows += (segment(cpu, name) for name in (*SEGMENTS, "ldtr", "tr"))
    rows.append(f"GDT=     {reg('gdtr.base'):08x} {reg('gdtr.limit'):08x}")
    rows.append(f"IDT=     {reg('idtr.base'):08x} {reg('idtr.limit'):08x}")
    rows.append(" ".join(f"CR{n}={reg(f'cr{n}'):08x}" for n in (0, 2, 3, 4)))
    rows.append(" ".join(f"DR{n}={reg(f'dr{n}'):08x}" for n in range(4)))
    rows.append(f"DR6={reg('dr6'):08x} DR7={reg('dr7'):08x}")
    return "\n".join(rows)


def segment(cpu: Cpu, name: str) -> str:
    """One segment register: selector, base, limit, the high word of its descriptor, and that in words."""
    selector, base, limit, attr = (cpu.reg(name + part) for part in ("", ".base", ".limit", ".attr"))
    label = {"ldtr": "LDT", "tr": "TR"}.get(name, name.upper())
    top = limit >> 28 if attr & 0x8000 else limit >> 16 & 15
    text = f"{label:3}={selector:04x} {base:08x} {limit:08x} {(attr & 0xF0FF | top << 8) << 8:08x}"
    if not cpu.reg("cr0") & 1 or not attr & 0x80:
        return text
    text += f" DPL={attr >> 5 & 3} "
    if not attr & 0x10:
        return text + SYSTEM_TYPES[attr & 15]
    if attr & 8:
        kind, marks = "CS32" if attr & 0x4000 else "CS16", "CR"
    else:
        kind, marks = "DS  " if attr & 0x4000 else "DS16", "EW"
    marked = "".join(mark if attr & bit else "-" for mark, bit in zip(marks + "A", (4, 2, 1), strict=True))
    return f"{text}{kind} [{marked}]"


def cpl(cpu: Cpu) -> int:
    """The current privilege level: 0 in real mode, 3 in virtual-8086 mode, else that of SS."""
    if not cpu.reg("cr0") & 1:
        return 0
    return 3 if cpu.reg("eflags") & 0x20000 else cpu.reg("ss.attr") >> 5 & 3


class Deliveries:
    """`-d int`: what the processor is about to deliver, and its registers then."""

    def __init__(self, cpu: Cpu) -> None:
        self._cpu = cpu
        self._count = 0

    def coming(self, vector_and_kind: int, error: int) -> None:
        """See `Machine.on_interrupt`."""
        cpu = self._cpu
        vector, kind = vector_and_kind & 0xFF, vector_and_kind >> 8
        if kind == EXTERNAL:
            INT.debug("Servicing hardware INT=0x%02x", vector)
        elif kind == EXCEPTION:
            INT.debug("check_exception old: 0x%x new 0x%x", *self._meeting(vector))
        INT.debug("%s\n%s", interrupt_line(cpu, self._count, vector, kind, error), registers(cpu))
        self._count += 1

    def _meeting(self, vector: int) -> tuple[int, int]:
        """The exception under delivery, if there is one, and the one that came on top of it."""
        story = [(record["vector"], record["kind"]) for record in self._cpu.exceptions()]
        if story[-1][1] == DOUBLE:
            story.pop()
        if story[-1][1] == NESTED and len(story) > 1:
            return story[-2][0], story[-1][0]
        return 0xFFFFFFFF, vector


def interrupt_line(cpu: Cpu, count: int, vector: int, kind: int, error: int) -> str:
    """One delivery as QEMU's -d int shows it; `i` is 1 for an INT instruction, and IP then its own address."""
    eip, base = cpu.reg("eip"), cpu.reg("cs.base")
    if kind == SOFTWARE:
        # What returns behind the instruction was INT n, or of one byte.
        eip -= 2 if fetch(cpu, (base + eip - 2) & 0xFFFFFFFF)[:2] == bytes((0xCD, vector)) else 1
    text = f"{count:6}: v={vector:02x} e={error:04x} i={int(kind == SOFTWARE)} cpl={cpl(cpu)}"
    text += f" IP={cpu.reg('cs'):04x}:{eip & 0xFFFFFFFF:08x} pc={(base + eip) & 0xFFFFFFFF:08x}"
    text += f" SP={cpu.reg('ss'):04x}:{cpu.reg('esp'):08x}"
    name, register = ("CR2", "cr2") if vector == PAGE_FAULT else ("env->regs[R_EAX]", "eax")
    return f"{text} {name}={cpu.reg(register):08x}"


class Paging:
    """`-d mmu`: new page tables and paging modes, and for each page fault the entries that led to it."""

    def __init__(self, machine: Machine) -> None:
        self._cpu = machine.cpu
        self._memory = Dma(machine.ram)
        self._cr0 = 0

    def flushed(self, cr3: int, everything: int) -> None:
        """See `Machine.on_flush`."""
        cr0, cr4 = self._cpu.reg("cr0"), self._cpu.reg("cr4")
        if not everything:
            MMU.debug("CR3 update: CR3=%08x", cr3)
        elif cr0 != self._cr0:
            MMU.debug("CR0 update: CR0=0x%08x", cr0)
        else:
            MMU.debug("CR4 update: CR4=%08x", cr4)
        self._cr0 = cr0

    def coming(self, vector_and_kind: int, error: int) -> None:
        """See `Machine.on_interrupt`."""
        if vector_and_kind == PAGE_FAULT:
            lin = self._cpu.reg("cr2")
            steps = ", ".join(f"{name} {at:08x}={value:0{digits}x}" for name, at, value, digits in self._walk(lin))
            MMU.debug("page fault: address %08x error %04x; %s", lin, error, steps)

    def _walk(self, lin: int) -> Iterator[tuple[str, int, int, int]]:
        """(level, address, value, digits) of the entries for a linear address, to the first that is not present."""
        cr3, cr4 = self._cpu.reg("cr3"), self._cpu.reg("cr4")
        levels = [("PDE", 22, 10), ("PTE", 12, 10)]
        size, table = 4, cr3 & ~0xFFF
        if cr4 & PAE:
            levels = [("PDPTE", 30, 2), ("PDE", 21, 9), ("PTE", 12, 9)]
            size, table = 8, cr3 & ~0x1F
        for name, shift, width in levels:
            at = table + (lin >> shift & (1 << width) - 1) * size
            value = int.from_bytes(self._memory.read(at, size), "little")
            yield name, at, value, 2 * size
            large = name == "PDE" and value & 0x80 and cr4 & (PAE | PSE)
            if not value & 1 or large:
                return
            table = value & 0x000FFFFF_FFFFF000


def watch_ports(bus: Bus) -> None:
    """Log every port access of a bus."""
    bus.watched = True
    read: Callable[[int, int], int] = bus.port_read
    write: Callable[[int, int, int], None] = bus.port_write

    def logged_read(port: int, width: int) -> int:
        value = read(port, width)
        IO.debug("in  %04x.%d -> %0*x", port, width, 2 * width, value)
        return value

    def logged_write(port: int, width: int, value: int) -> None:
        IO.debug("out %04x.%d <- %0*x", port, width, 2 * width, value)
        write(port, width, value)

    bus.port_read = logged_read  # type: ignore[method-assign]
    bus.port_write = logged_write  # type: ignore[method-assign]
    bus.port_read_block = lambda port, width, count: b""  # type: ignore[method-assign]
    bus.port_write_block = lambda port, width, data: 0  # type: ignore[method-assign]
