"""`-d`: what a run writes to its log about the processor and the ports, in the line shapes of QEMU's log.

`int` listens to the processor's events. `in_asm`, `exec` and `cpu` watch every instruction, so the processor is run one
at a time: slow, and the same run. `io` wraps the bus.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.cpu import Cpu, Exit, GuestFault

if TYPE_CHECKING:
    from emu.bus import Bus
    from emu.machine import Machine

ASM = logging.getLogger("emu.in_asm")
EXEC = logging.getLogger("emu.exec")
CPU = logging.getLogger("emu.cpu")
RESET = logging.getLogger("emu.cpu_reset")
INT = logging.getLogger("emu.int")
IO = logging.getLogger("emu.io")
UNIMP = logging.getLogger("emu.unimp")

GENERAL = ("eax", "ebx", "ecx", "edx", "esi", "edi", "ebp", "esp")
SEGMENTS = ("es", "cs", "ss", "ds", "fs", "gs")
MSR, INTERRUPT = 1, 2
LONGEST = 15


def attach(machine: Machine, categories: list[str]) -> None:
    """Turn the categories of -d on. `machine.on_event` must not be set afterwards."""
    chosen = set(categories)
    if chosen & {"in_asm", "exec", "cpu"}:
        machine.execute = Stepper(machine.cpu, chosen).run
    if "io" in chosen:
        watch_ports(machine.bus)
    if "cpu_reset" in chosen:
        machine.on_reset.append(lambda: RESET.debug("CPU Reset\n%s", registers(machine.cpu)))
    if "int" in chosen:
        count = 0

        def taken(vector: int, error: int) -> None:
            nonlocal count
            INT.debug("%s", interrupt_line(machine.cpu, count, vector & 0xFF, vector >> 8, error))
            count += 1

        machine.on_interrupt = taken


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
    rows = [
        " ".join(f"{name.upper()}={reg(name):08x}" for name in GENERAL[:4]),
        " ".join(f"{name.upper()}={reg(name):08x}" for name in GENERAL[4:]),
        f"EIP={reg('eip'):08x} EFL={reg('eflags'):08x} CPL={cpl(cpu)} HLT={int(cpu.halted)}",
    ]
    for name in (*SEGMENTS, "ldtr", "tr"):
        label = {"ldtr": "LDT", "tr": "TR"}.get(name, name.upper())
        parts = (reg(f"{name}.base"), reg(f"{name}.limit"), reg(f"{name}.attr"))
        rows.append(f"{label:3}={reg(name):04x} {parts[0]:08x} {parts[1]:08x} {parts[2]:04x}")
    rows.append(f"GDT=     {reg('gdtr.base'):08x} {reg('gdtr.limit'):08x}")
    rows.append(f"IDT=     {reg('idtr.base'):08x} {reg('idtr.limit'):08x}")
    rows.append(" ".join(f"CR{n}={reg(f'cr{n}'):08x}" for n in (0, 2, 3, 4)))
    return "\n".join(rows)


def cpl(cpu: Cpu) -> int:
    """The current privilege level: 0 in real mode, 3 in virtual-8086 mode, else that of SS."""
    if not cpu.reg("cr0") & 1:
        return 0
    return 3 if cpu.reg("eflags") & 0x20000 else cpu.reg("ss.attr") >> 5 & 3


def interrupt_line(cpu: Cpu, count: int, vector: int, kind: int, error: int) -> str:
    """One delivery as QEMU's -d int shows it, but IP and SP are the handler's; `i` is 1 for an INT instruction."""
    eip, esp = cpu.reg("eip"), cpu.reg("esp")
    text = f"{count:6}: v={vector:02x} e={error:04x} i={int(kind == 1)} cpl={cpl(cpu)}"
    text += f" IP={cpu.reg('cs'):04x}:{eip:08x} pc={(cpu.reg('cs.base') + eip) & 0xFFFFFFFF:08x}"
    text += f" SP={cpu.reg('ss'):04x}:{esp:08x}"
    return text + (f" CR2={cpu.reg('cr2'):08x}" if vector == 14 else f" EAX={cpu.reg('eax'):08x}")


def watch_ports(bus: Bus) -> None:
    """Log every port access of a bus."""
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
