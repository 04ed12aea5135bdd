"""`-d in_asm`, `exec`, `cpu`, `cpu_reset`, `int` and `mmu` on PowerPC boards, in the line shapes of QEMU's log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cores.ppc.effects import INTERRUPTS
from cores.ppc.models import FEATURES
from cores.ppc.state import DATA_STORAGE, DATA_TLB, INSTRUCTION_STORAGE, INSTRUCTION_TLB, MSR_DS, MSR_IS, MSR_PR
from cores.ppc.text import disassemble
from emu.cpu import Cpu, Exit, GuestFault
from emu.tools.trace import ASM, CPU, EXEC, INT, MMU

if TYPE_CHECKING:
    from emu.machine import Machine

PER_LINE = 4
TRANSLATION = (DATA_STORAGE, INSTRUCTION_STORAGE, DATA_TLB, INSTRUCTION_TLB)


def attach(machine: Machine, chosen: set[str]) -> None:
    """Turn the categories of -d on."""
    if chosen & {"in_asm", "exec", "cpu"}:
        machine.execute = Stepper(machine.cpu, chosen).run
    if "int" in chosen:
        machine.on_interrupt.append(lambda ivor, esr: _coming(machine.cpu, ivor & 0xFF, esr))
    if "mmu" in chosen:
        machine.on_interrupt.append(lambda ivor, esr: _missed(machine.cpu, ivor & 0xFF, esr))
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
            if self._asm and (line := self._line()):
                ASM.debug("%s", line)
            if self._exec:
                EXEC.debug("Trace %d: %08x", cpu.icount, cpu.reg("pc"))
            if self._state:
                CPU.debug("%s", registers(cpu))
            reason = cpu.run(1)
            if reason != Exit.BUDGET:
                return reason
        return Exit.BUDGET

    def _line(self) -> str:
        """The instruction at PC the first time it is met there; empty afterwards."""
        pc = self._cpu.reg("pc")
        try:
            data = self._cpu.read_linear(pc, 4)
        except GuestFault:
            return ""
        if (pc, data) in self._seen:
            return ""
        self._seen.add((pc, data))
        return f"0x{pc:08x}:  {data.hex(' ')}  {text_at(self._cpu, pc, data)}"


def text_at(cpu: Cpu, pc: int, data: bytes) -> str:
    """The instruction whose bytes lie at `pc`, as the model reads it."""
    return disassemble(int.from_bytes(data, "big"), pc, cpu.reg("features"))


def registers(cpu: Cpu) -> str:
    """All registers that programs see, in QEMU's layout."""
    reg = cpu.reg
    has = reg("features")
    hid0 = reg("hid0") if has & FEATURES["e500"] else 0
    rows = [
        f"NIP {reg('pc'):08x}   LR {reg('lr'):08x} CTR {reg('ctr'):08x} XER {reg('xer'):08x} CPU#0",
        f"MSR {reg('msr'):08x} HID0 {hid0:08x}  HF {reg('msr'):08x} iidx {_index(cpu, MSR_IS)}"
        f" didx {_index(cpu, MSR_DS)}",
        *_file("GPR", [reg(f"evr{n}" if has & FEATURES["spe"] else f"r{n}") for n in range(32)]),
        f"CR {reg('cr'):08x}  [{''.join(_field(reg('cr') >> shift & 15) for shift in range(28, -4, -4))} ]"
        f"     RES {reg('reserve'):03x}@{reg('reserve_addr'):08x}",
    ]
    if has & FEATURES["fpu"]:
        rows += [*_file("FPR", [reg(f"f{n}") for n in range(32)]), f"FPSCR {reg('fpscr'):08x}"]
    rows.append(f" SRR0 {reg('srr0'):08x}  SRR1 {reg('srr1'):08x}    PVR {reg('pvr'):08x} VRSAVE 00000000")
    for n in (0, 4):
        rows.append("  ".join(f"SPRG{k} {reg(f'sprg{k}'):08x}" for k in range(n, n + 4)))
    groups = [("csrr0", "csrr1", "mcsrr0", "mcsrr1"), ("tcr", "tsr", "esr", "dear"), ("pir", "decar", "ivpr", "dec")]
    if has & FEATURES["e500"]:
        groups += [("mas0", "mas1", "mas2", "mas3"), ("mas4", "mas6", "pid", "svr")]
    else:
        groups.append(("mmucr", "pid", "ccr0", "dbsr"))
    rows += [" ".join(f"{name.upper():>6} {reg(name):08x}" for name in names) for names in groups]
    return "\n".join(rows)


def _index(cpu: Cpu, space: int) -> int:
    """QEMU's index of a translation: the address space, and whether the supervisor asks."""
    msr = cpu.reg("msr")
    return (msr >> space & 1) << 1 | (not msr >> MSR_PR & 1)


def _file(name: str, values: list[int]) -> list[str]:
    return [
        f"{name}{n:02d} " + " ".join(f"{v:016x}" for v in values[n : n + PER_LINE])
        for n in range(0, len(values), PER_LINE)
    ]


def _field(bits: int) -> str:
    """A field of CR as a sign of the comparison and O for a summary overflow."""
    sign = "L" if bits & 8 else "G" if bits & 4 else "E" if bits & 2 else "-"
    return f" {sign}{'O' if bits & 1 else ' '}"


def _coming(cpu: Cpu, ivor: int, esr: int) -> None:
    name = INTERRUPTS.get(ivor, "unknown")
    INT.debug("Raise exception at %08x => %s (%02x) error=%02x\n%s", cpu.reg("pc"), name, ivor, esr, registers(cpu))


def _missed(cpu: Any, ivor: int, esr: int) -> None:
    """What the translation that failed was asked for."""
    if ivor not in TRANSLATION:
        return
    fetch = ivor in (INSTRUCTION_STORAGE, INSTRUCTION_TLB)
    address = cpu.reg("pc") if fetch else cpu.reg("fault_dear")
    space = cpu.reg("msr") >> (MSR_IS if fetch else MSR_DS) & 1
    pids = " ".join(f"{cpu.reg(f'pid[{n}]'):02x}" for n in range(3))
    MMU.debug("%s: address %08x space %d PID %s ESR %08x", INTERRUPTS[ivor], address, space, pids, esr)
