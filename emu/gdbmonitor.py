"""What `monitor WORDS` of gdb answers: views that gdb has no command for."""

from __future__ import annotations

from collections.abc import Sequence

from cores.ppc import models as ppc_models
from emu.cpu import DebuggedCpu
from emu.options import PAGE_ACCESS
from emu.tools.tlb import dump, lookup
from emu.tools.trace import registers

HELP = """\
info registers  all registers in short
info tlb        the translations of a PowerPC's TLBs
page ADDRESS [read|write|execute]    which TLB entry of a PowerPC serves an access, or why none does
system_reset    the reset button
quit            end the emulator
help            this list
For gdb eip is linear: CS.base + EIP. A gdb that attaches in 16-bit code disassembles such; `set architecture i386`
is for the 32-bit code that follows.
"""


def answer(cpu: DebuggedCpu, words: Sequence[str]) -> str:
    """The text for a command of one processor's."""
    model = getattr(cpu, "model", None)
    if words[:2] == ["info", "registers"]:
        return _ppc_registers(cpu) if isinstance(model, ppc_models.CpuModel) else _x86_registers(cpu)
    if words[:2] == ["info", "tlb"] or words[:1] == ["page"]:
        if not isinstance(model, ppc_models.CpuModel):
            return f"{words[0]}: this processor's translations are in the page tables at CR3\n"
        return "".join(f"{line}\n" for line in (_page(cpu, words[1:]) if words[0] == "page" else dump(cpu)))
    if not words or words[0] in ("help", "?"):
        return HELP
    return f"unknown command: {' '.join(words)[:80]}; `monitor help` lists what there is\n"


def _page(cpu: DebuggedCpu, words: Sequence[str]) -> list[str]:
    access = words[1] if len(words) > 1 else "read"
    try:
        address = int(words[0], 0)
    except (IndexError, ValueError):
        address = -1
    if not 0 <= address <= 0xFFFFFFFF or access not in PAGE_ACCESS:
        return [f"page: expected an address, and {', '.join(PAGE_ACCESS)} or nothing behind it"]
    return lookup(cpu, address, access)


def _x86_registers(cpu: DebuggedCpu) -> str:
    return registers(cpu) + "\n"


def _ppc_registers(cpu: DebuggedCpu) -> str:
    rows = [" ".join(f"{name.upper()} {cpu.reg(name):08x}" for name in ("pc", "lr", "ctr", "xer", "cr", "msr"))]
    for first in range(0, 32, 4):
        rows.append(" ".join(f"r{n:<2} {cpu.reg(f'r{n}'):08x}" for n in range(first, first + 4)))
    rows.append(" ".join(f"{name.upper()} {cpu.reg(name):08x}" for name in ("srr0", "srr1", "esr", "dear", "pid")))
    return "\n".join(rows) + "\n"
