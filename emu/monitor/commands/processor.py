"""The processor: registers and translations, in the line shapes of QEMU's monitor (courses and tools read them)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cores.ppc.models import FEATURES
from emu.cpu import Cpu
from emu.memory import Dma
from emu.monitor.registry import Refused, hmp, info
from emu.options import CORES, PAGE_ACCESS

if TYPE_CHECKING:
    from emu.monitor.control import Control

PG, PSE, PAE = 1 << 31, 1 << 4, 1 << 5
PRESENT, WRITABLE, USER, LARGE = 1, 2, 4, 0x80
NO_EXECUTE = 1 << 63
FRAME = 0x000F_FFFF_FFFF_F000
FLAGS = ((8, "G"), (7, "P"), (6, "D"), (5, "A"), (4, "C"), (3, "T"), (2, "U"), (1, "W"))


def is_ppc(control: Control) -> bool:
    """Whether the machine is a PowerPC."""
    return CORES[control.config.machine].arch == "ppc"


# -- registers


@info("registers", "show the cpu registers (-a: show register info for all cpus)", "vcpu:i?", "[-a|vcpu]", a="all_")
def info_registers(control: Control, vcpu: int = 0, all_: bool = False) -> str:
    if vcpu:
        raise Refused(f"CPU#{vcpu} not available")
    text = ppc_registers(control.machine.cpu) if is_ppc(control) else x86_registers(control.machine.cpu)
    return f"\nCPU#0\n{text}\n"


def x86_registers(cpu: Any) -> str:
    """All registers, those of the coprocessor and of SSE included."""
    from emu.tools.trace import registers

    state = cpu.state()
    rows = [registers(cpu), f"EFER={cpu.reg('msr_misc[3]'):016x}"]
    status = cpu.reg("fstat")
    rows.append(
        f"FCW={cpu.reg('fctrl'):04x} FSW={status:04x} [ST={status >> 11 & 7:x}] FTW={state['ftag']:02x}"
        f" MXCSR={cpu.reg('mxcsr'):08x}"
    )
    cells = [f"FPR{n}={state['fpr_sig'][n]:016x} {state['fpr_se'][n]:04x}" for n in range(8)]
    values = [cpu.reg(f"xmm{n}") for n in range(8)]
    cells += [f"XMM{n:02d}={v >> 64:016x} {v & (1 << 64) - 1:016x}" for n, v in enumerate(values)]
    rows += [" ".join(cells[k : k + 2]) for k in range(0, len(cells), 2)]
    return "\n".join(rows)


def ppc_registers(cpu: Any) -> str:
    """All registers of a PowerPC, with its timers."""
    from emu.tools.trace_ppc import registers

    def of(name: str) -> int:
        try:
            return int(cpu.reg(name))
        except KeyError:
            return 0

    before = cpu.state()
    upper, lower, down = of("tbu"), of("tbl"), of("dec")
    if cpu.state() != before:
        cpu.load_state(before)  # reading a timer brings it up to date, which a look must not
    rows = registers(cpu).splitlines()
    rows.insert(2, f"TB {upper:08x} {lower:08x} DECR {down}")
    del rows[next(n for n, row in enumerate(rows) if row.startswith("SPRG0")) :]
    groups = [
        "sprg0 sprg1 sprg2 sprg3",
        "sprg4 sprg5 sprg6 sprg7",
        "csrr0 csrr1 mcsrr0 mcsrr1",
        "tcr tsr esr dear",
        "pir decar ivpr epcr",
        "mcsr sprg8 epr",
        "mcar pid1 pid2 svr",
    ]
    if of("features") & FEATURES["e500"]:
        groups += ["mas0 mas1 mas2 mas3", "mas4 mas6 mas7 pid"]
    else:
        groups += ["mmucr pid ccr0 dbsr"]
    for group in groups:
        names = zip(group.split(), (5, 5, 6, 6), strict=False)
        rows.append(" ".join(f"{name.upper():>{width}} {of(name):08x}" for name, width in names))
    return "\n".join(rows)


# -- translations of the x86


def pages(cpu: Cpu, memory: Dma) -> Iterator[tuple[int, int, int, int]]:
    """(linear address, size, entry, rights of all levels) of every page that is present, upwards."""
    cr3, cr4 = cpu.reg("cr3"), cpu.reg("cr4")
    if cr4 & PAE:
        for n, pointer in enumerate(struct.unpack("<4Q", memory.read(cr3 & ~0x1F, 32))):
            if pointer & PRESENT:
                yield from _directory(memory, pointer & FRAME, n << 30, 8, True)
    else:
        yield from _directory(memory, cr3 & ~0xFFF, 0, 4, bool(cr4 & PSE))


def _directory(memory: Dma, at: int, base: int, width: int, large: bool) -> Iterator[tuple[int, int, int, int]]:
    count, letter = 4096 // width, "Q" if width == 8 else "I"
    reach = 4096 * count
    frame = FRAME if width == 8 else 0xFFFFF000
    for n, entry in enumerate(struct.unpack(f"<{count}{letter}", memory.read(at, 4096))):
        if not entry & PRESENT:
            continue
        linear = base + n * reach
        if large and entry & LARGE:
            yield linear, reach, entry, entry
            continue
        table = struct.unpack(f"<{count}{letter}", memory.read(entry & frame, 4096))
        both = entry & (WRITABLE | USER)
        for k, page in enumerate(table):
            if page & PRESENT:
                yield linear + k * 4096, 4096, page, page & (both | ~(WRITABLE | USER))


def _paged(control: Control) -> bool:
    return bool(control.machine.cpu.reg("cr0") & PG)


@info("tlb", "show virtual to physical memory mappings")
def info_tlb(control: Control) -> str:
    if is_ppc(control):
        return _ppc_tlb(control.machine.cpu)
    if not _paged(control):
        return "PG disabled\n"
    cpu = control.machine.cpu
    lines = []
    frame = FRAME if cpu.reg("cr4") & PAE else 0xFFFFF000
    for linear, size, entry, _ in pages(cpu, Dma(control.machine.ram)):
        letters = "X" if entry & NO_EXECUTE else "-"
        letters += "".join(letter if entry >> bit & 1 else "-" for bit, letter in FLAGS)
        lines.append(f"{linear:016x}: {entry & frame & ~(size - 1):016x} {letters}\n")
    return "".join(lines)


@info("mem", "show the active virtual memory mappings")
def info_mem(control: Control) -> str:
    if is_ppc(control):
        raise Refused("this processor's translations are in its TLBs: info tlb")
    if not _paged(control):
        return "PG disabled\n"
    lines = []
    start = end = rights = 0
    for linear, size, _, both in [*pages(control.machine.cpu, Dma(control.machine.ram)), (-1, 0, 0, 0)]:
        now = both & (USER | WRITABLE) | PRESENT
        if linear == end and now == rights:
            end += size
            continue
        if end > start:
            letters = ("u" if rights & USER else "-") + "r" + ("w" if rights & WRITABLE else "-")
            lines.append(f"{start:016x}-{end:016x} {end - start:016x} {letters}\n")
        start, end, rights = linear, linear + size, now
    return "".join(lines)


def translated(control: Control, linear: int) -> int | None:
    """The physical address of a linear one, None if it has none."""
    machine = control.machine
    if is_ppc(control):
        from emu.tools.tlb import all_entries

        cpu: Any = machine.cpu
        space = cpu.reg("msr") >> 4 & 1
        pids = {0, *(cpu.reg(f"pid[{n}]") & 0xFF for n in range(3))}
        fits = (e for e in all_entries(cpu) if e.covers(linear) and e.space == space and e.tid in pids)
        entry = next(fits, None)
        return None if entry is None else entry.physical + linear - entry.ea
    if not _paged(control):
        return linear
    for base, size, value, _ in pages(machine.cpu, Dma(machine.ram)):
        if base <= linear < base + size:
            frame = FRAME if machine.cpu.reg("cr4") & PAE else 0xFFFFF000
            return value & frame & ~(size - 1) | linear & (size - 1)
        if base > linear:
            break
    return None


# -- translations of the PowerPC


def _ppc_tlb(cpu: Any) -> str:
    from emu.tools.tlb import all_entries

    if not cpu.reg("mmu_kind"):
        lines = ["", "TLB:", "Effective          Physical           Size PID   Prot     Attr"]
        for entry in all_entries(cpu):
            # The rights as QEMU keeps them: R 1, W 2, X 4 and valid 8 for the user, above them the supervisor's.
            prot = entry.user | 8 | entry.supervisor << 4
            attr = (entry.attributes << 7) & 0xFF00 | entry.space
            size = _size(entry.size, 3).replace("K", "k")
            lines.append(f"{_place(entry)} {size} {entry.tid:<5} {prot:08x} {attr:08x}")
        return "\n".join(lines) + "\n"
    out = []
    for name in ("TLB0", "TLB1"):
        out += ["", f"{name}:", "Effective          Physical           Size TID   TS SRWX URWX WIMGE U0123"]
        for entry in all_entries(cpu):
            if entry.where.startswith(name):
                rights = f"S{_letters(entry.supervisor)}U{_letters(entry.user)}"
                out.append(
                    f"{_place(entry)} {_size(entry.size, 3)} {entry.tid:<5} {entry.space}  {rights}"
                    f" {entry.letters()} U----"
                )
    return "\n".join(out) + "\n"


def _place(entry: Any) -> str:
    return f"0x{entry.ea:016x} 0x{entry.physical:016x}"


def _size(size: int, width: int) -> str:
    for shift, unit in ((30, "G"), (20, "M"), (10, "K")):
        if size >= 1 << shift:
            return f"{size >> shift:{width}d}{unit}"
    return f"{size:{width}d} "


def _letters(rights: int) -> str:
    return "".join(letter if rights >> bit & 1 else "-" for bit, letter in enumerate("RWX"))


@hmp("page", "address:i access:w?", "addr [read|write|execute]", "show how an address is translated, or why not")
def page(control: Control, address: int, access: str = "read") -> str:
    if not 0 <= address <= 0xFFFFFFFF or access not in PAGE_ACCESS:
        return f"page: expected an address, and {', '.join(PAGE_ACCESS)} or nothing behind it\n"
    if is_ppc(control):
        from emu.tools.tlb import lookup

        return "".join(f"{line}\n" for line in lookup(control.machine.cpu, address, access))
    return "".join(f"{line}\n" for line in _walk(control, address))


def _walk(control: Control, linear: int) -> Iterator[str]:
    """Each level of the page tables for an address."""
    cpu, memory = control.machine.cpu, Dma(control.machine.ram)
    if not _paged(control):
        yield f"-> 0x{linear:08x} (paging is off)"
        return
    cr3, cr4 = cpu.reg("cr3"), cpu.reg("cr4")
    levels = [("PDPTE", 30, 2), ("PDE", 21, 9), ("PTE", 12, 9)] if cr4 & PAE else [("PDE", 22, 10), ("PTE", 12, 10)]
    width = 8 if cr4 & PAE else 4
    table, both = cr3 & (~0x1F if cr4 & PAE else ~0xFFF), WRITABLE | USER
    for name, shift, bits in levels:
        at = table + (linear >> shift & (1 << bits) - 1) * width
        entry = int.from_bytes(memory.read(at, width), "little")
        flags = "".join(letter if entry >> bit & 1 else "-" for bit, letter in (*FLAGS, (0, "V")))
        yield f"{name:5} at 0x{at:08x}: 0x{entry:0{2 * width}x} {flags}"
        if not entry & PRESENT:
            yield f"stops at {name}: P=0"
            return
        if name != "PDPTE":
            both &= entry
        size = 1 << shift
        if name == "PTE" or (name == "PDE" and entry & LARGE and cr4 & (PAE | PSE)):
            frame = entry & (FRAME if cr4 & PAE else 0xFFFFF000) & ~(size - 1)
            unit = "4K" if size == 4096 else f"{size >> 20}M"
            rights = ("RW" if both & WRITABLE else "R") + (", U" if both & USER else ", S")
            yield f"-> 0x{frame | linear & (size - 1):08x} ({unit}, {rights})"
            return
        table = entry & (FRAME if cr4 & PAE else 0xFFFFF000)
