"""Views of an x86 processor under the names that Bochs' debugger has for them, in its line shapes (version 2.7).

r, sreg, creg, dreg, info gdt, info ldt, info idt, info tss, info tab, u, print-stack, ptime. Bochs user manual, chapter
"Using Bochs internal debugger".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from emu.cpu import GuestFault
from emu.memory import Dma
from emu.monitor.commands.memory import linear
from emu.monitor.commands.processor import FRAME, PAE, PG, is_ppc, pages
from emu.monitor.registry import Refused, hmp, info
from emu.monitor.words import Format

if TYPE_CHECKING:
    from emu.cpu import Cpu
    from emu.monitor.control import Control

GENERAL = ("eax", "ebx", "ecx", "edx", "esp", "ebp", "esi", "edi", "eip")
FLAGS = (
    (21, "id"), (20, "vip"), (19, "vif"), (18, "ac"), (17, "vm"), (16, "rf"), (14, "nt"), (11, "of"), (10, "df"),
    (9, "if"), (8, "tf"), (7, "sf"), (6, "zf"), (4, "af"), (2, "pf"), (0, "cf"),
)  # fmt: skip
CR0 = ((31, "pg"), (30, "cd"), (29, "nw"), (18, "ac"), (16, "wp"), (5, "ne"), (4, "et"), (3, "ts"), (2, "em"),
       (1, "mp"), (0, "pe"))  # fmt: skip
CR4 = ((10, "osxmmexcpt"), (9, "osfxsr"), (8, "pce"), (7, "pge"), (6, "mce"), (5, "pae"), (4, "pse"), (3, "de"),
       (2, "tsd"), (1, "pvi"), (0, "vme"))  # fmt: skip
SYSTEM = {
    1: "16-Bit TSS (Available)", 2: "LDT", 3: "16-Bit TSS (Busy)", 4: "16-Bit Call Gate", 5: "Task Gate",
    6: "16-Bit Interrupt Gate", 7: "16-Bit Trap Gate", 9: "32-Bit TSS (Available)", 11: "32-Bit TSS (Busy)",
    12: "32-Bit Call Gate", 14: "32-Bit Interrupt Gate", 15: "32-Bit Trap Gate",
}  # fmt: skip
DR6 = ((15, "bt"), (14, "bs"), (13, "bd"), (3, "b3"), (2, "b2"), (1, "b1"), (0, "b0"))
DR7 = ((13, "gd"), (9, "ge"), (8, "le"), (7, "g3"), (6, "l3"), (5, "g2"), (4, "l2"), (3, "g1"), (2, "l1"), (1, "g0"),
       (0, "l0"))  # fmt: skip
MOST = 256


def _x86(control: Control) -> Cpu:
    if is_ppc(control):
        raise Refused("that is a view of an x86 processor")
    return control.machine.cpu


def _letters(value: int, names: tuple[tuple[int, str], ...]) -> str:
    """Names of bits, in capitals where they are set."""
    return " ".join(name.upper() if value >> bit & 1 else name for bit, name in names)


def _read(cpu: Cpu, address: int, size: int) -> bytes | None:
    try:
        return cpu.read_linear(address & 0xFFFFFFFF, size)
    except GuestFault:
        return None


# -- registers


@hmp("r|reg|regs|registers", "", "", "list of CPU registers and their contents (as Bochs)")
def registers(control: Control) -> str:
    cpu = _x86(control)
    lines = [f"{name}: 0x{cpu.reg(name):08x} {_signed(cpu.reg(name))}" for name in GENERAL]
    flags = cpu.reg("eflags")
    words = _letters(flags, FLAGS).split()
    words.insert(7, f"IOPL={flags >> 12 & 3}")
    return "\n".join([*lines, f"eflags 0x{flags:08x}: {' '.join(words)}"]) + "\n"


def _signed(value: int) -> int:
    return value - (1 << 32) if value >> 31 else value


@hmp("sreg", "", "", "show segment registers and their contents (as Bochs)")
def sreg(control: Control) -> str:
    cpu = _x86(control)
    lines = []
    for name in ("es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"):
        base, limit, attr = (cpu.reg(f"{name}.{part}") for part in ("base", "limit", "attr"))
        low, high = _descriptor(base, limit, attr)
        valid = attr >> 7 & 1
        lines.append(f"{name}:0x{cpu.reg(name):04x}, dh=0x{high:08x}, dl=0x{low:08x}, valid={valid}")
        if valid and attr & 0x10:
            lines.append(f"\t{_segment(base, limit, attr)}")
    lines += [f"{t}:base=0x{cpu.reg(f'{t}.base'):016x}, limit=0x{cpu.reg(f'{t}.limit'):x}" for t in ("gdtr", "idtr")]
    return "\n".join(lines) + "\n"


def _descriptor(base: int, limit: int, attr: int) -> tuple[int, int]:
    """The two words of a descriptor that would give these."""
    size = limit >> 12 if attr & 0x8000 else limit
    low = (base & 0xFFFF) << 16 | size & 0xFFFF
    return low, base & 0xFF000000 | (attr & 0xF0FF) << 8 | size & 0xF0000 | base >> 16 & 0xFF


def _segment(base: int, limit: int, attr: int) -> str:
    if attr & 8:
        kind = ["Code segment", "Execute/Read" if attr & 2 else "Execute-Only"]
        kind.append("Conforming" if attr & 4 else "Non-Conforming")
    else:
        kind = ["Data segment", "Read/Write" if attr & 2 else "Read-Only"]
        kind += ["Expand-down"] if attr & 4 else []
    kind += ["Accessed"] if attr & 1 else []
    kind += ["32-bit" if attr & 0x4000 else "16-bit"] if attr & 8 else []
    return f"{kind[0]}, base=0x{base:08x}, limit=0x{limit:08x}, {', '.join(kind[1:])}"


@hmp("creg", "", "", "show CR0-4 registers and their contents (as Bochs)")
def creg(control: Control) -> str:
    cpu = _x86(control)
    cr0, cr2, cr3, cr4 = (cpu.reg(name) for name in ("cr0", "cr2", "cr3", "cr4"))
    return "\n".join(
        (
            f"CR0=0x{cr0:08x}: {_letters(cr0, CR0)}",
            f"CR2=page fault laddr=0x{cr2:016x}",
            f"CR3=0x{cr3:012x}",
            f"    PCD=page-level cache disable={cr3 >> 4 & 1}",
            f"    PWT=page-level write-through={cr3 >> 3 & 1}",
            f"CR4=0x{cr4:08x}: {_letters(cr4, CR4)}",
            "",
        )
    )


@hmp("dreg", "", "", "show DR0-7 registers and their contents (as Bochs)")
def dreg(control: Control) -> str:
    cpu = _x86(control)
    lines = [f"DR{n}=0x{cpu.reg(f'dr{n}'):016x}" for n in range(4)]
    for name, bits in (("dr6", DR6), ("dr7", DR7)):
        lines.append(f"{name.upper()}=0x{cpu.reg(name):08x}: {_letters(cpu.reg(name), bits)}")
    return "\n".join(lines) + "\n"


# -- descriptor tables


@info("gdt", "show global descriptor table (as Bochs)", "first:i? last:i?", "[a [b]]")
def info_gdt(control: Control, first: int = 0, last: int | None = None) -> str:
    return "\n".join(_table(control, "GDT", "gdtr", "Global", first, last)) + "\n"


@info("ldt", "show local descriptor table (as Bochs)", "first:i? last:i?", "[a [b]]")
def info_ldt(control: Control, first: int = 0, last: int | None = None) -> str:
    return "\n".join(_table(control, "LDT", "ldtr", "Local", first, last)) + "\n"


@info("idt", "show interrupt descriptor table (as Bochs)", "first:i? last:i?", "[a [b]]")
def info_idt(control: Control, first: int = 0, last: int | None = None) -> str:
    cpu = _x86(control)
    base, limit = cpu.reg("idtr.base"), cpu.reg("idtr.limit")
    size = 8 if cpu.reg("cr0") & 1 else 4
    lines = [f"Interrupt Descriptor Table (base=0x{base:016x}, limit={limit}):"]
    for n in _wanted(first, last, (limit + 1) // size):
        data = _read(cpu, base + size * n, size)
        if data is None:
            lines.append(f"IDT[0x{n:02x}]=not mapped")
        elif size == 4:
            offset, selector = int.from_bytes(data[:2], "little"), int.from_bytes(data[2:], "little")
            lines.append(f"INT# {n:02x} > {selector:04X}:{offset:04X} (0x{16 * selector + offset:08x})")
        else:
            lines.append(f"IDT[0x{n:02x}]={_entry(data)}")
    return "\n".join(lines) + "\n"


def _wanted(first: int, last: int | None, count: int) -> range:
    """All entries, one, or a range, of those that are there."""
    if last is None:
        last = first if first else count - 1
    return range(max(0, first), min(last + 1, count, first + MOST))


def _table(control: Control, label: str, register: str, title: str, first: int, last: int | None) -> Iterator[str]:
    cpu = _x86(control)
    base, limit = cpu.reg(f"{register}.base"), cpu.reg(f"{register}.limit")
    yield f"{title} Descriptor Table (base=0x{base:016x}, limit={limit}):"
    if not cpu.reg("cr0") & 1 and not first and last is None:
        # What lies there is mostly no table, of thousands of entries.
        yield f"not in use in real mode; info {label.lower()} FIRST LAST shows entries all the same"
        return
    for n in _wanted(first, last, (limit + 1) // 8):
        data = _read(cpu, base + 8 * n, 8)
        yield f"{label}[0x{8 * n:04x}]={'not mapped' if data is None else _entry(data)}"


def _entry(data: bytes) -> str:
    """A descriptor in words."""
    low, high = int.from_bytes(data[:4], "little"), int.from_bytes(data[4:], "little")
    kind = high >> 8 & 15
    if not low and not high:
        return "??? descriptor hi=0x00000000, lo=0x00000000"
    base = low >> 16 | (high & 0xFF) << 16 | high & 0xFF000000
    limit = low & 0xFFFF | high & 0xF0000
    if high & 0x800000:
        limit = limit << 12 | 0xFFF
    if high & 0x1000:
        return _segment(base, limit, high >> 8 & 0xF0FF)
    name = SYSTEM.get(kind)
    if name is None:
        return f"??? descriptor hi=0x{high:08x}, lo=0x{low:08x}"
    if kind in (1, 2, 3, 9, 11):
        return f"{name} at 0x{base:08x}, length 0x{limit:05x}"
    target = f"0x{low >> 16:04x}:0x{high & 0xFFFF0000 | low & 0xFFFF:08x}"
    return f"{name} target={target}, DPL={high >> 13 & 3}" + ("" if high & 0x8000 else ", not present")


@info("tss", "show current task state segment (as Bochs)")
def info_tss(control: Control) -> str:
    cpu = _x86(control)
    base, limit = cpu.reg("tr.base"), cpu.reg("tr.limit")
    lines = [f"tr:s=0x{cpu.reg('tr'):x}, base=0x{base:016x}, valid={cpu.reg('tr.attr') >> 7 & 1}"]
    data = _read(cpu, base, 104)
    if data is None or limit < 103 or not cpu.reg("tr.attr") & 8:
        return "\n".join([*lines, "no 32-bit TSS is there"]) + "\n"

    def of(at: int, size: int = 4) -> str:
        return f"0x{int.from_bytes(data[at : at + size], 'little'):0{2 * size}x}"

    lines += [f"ss:esp({n}): {of(8 + 8 * n, 2)}:{of(4 + 8 * n)}" for n in range(3)]
    lines += [f"{name}: {of(at)}" for name, at in (("cr3", 28), ("eip", 32), ("eflags", 36))]
    lines.append(f"cs: {of(76, 2)} ds: {of(84, 2)} ss: {of(80, 2)}")
    lines.append(f"es: {of(72, 2)} fs: {of(88, 2)} gs: {of(92, 2)}")
    lines.append(f"eax: {of(40)}  ebx: {of(52)}  ecx: {of(44)}  edx: {of(48)}")
    lines.append(f"esi: {of(64)}  edi: {of(68)}  ebp: {of(60)}  esp: {of(56)}")
    lines += [f"ldt: {of(96, 2)}", f"i/o map: {of(102, 2)}"]
    return "\n".join(lines) + "\n"


@info("tab", "show page tables (as Bochs)")
def info_tab(control: Control) -> str:
    cpu = _x86(control)
    if not cpu.reg("cr0") & PG:
        return "paging off\n"
    frame = FRAME if cpu.reg("cr4") & PAE else 0xFFFFF000
    lines = [f"cr3: 0x{cpu.reg('cr3'):012x}"]
    start = place = size = 0
    for at, length, entry, _ in [*pages(cpu, Dma(control.machine.ram)), (-1, 0, 0, 0)]:
        physical = entry & frame & ~(length - 1) if length else 0
        if size and at == start + size and physical == place + size:
            size += length
            continue
        if size:
            lines.append(f"0x{start:016x}-0x{start + size - 1:016x} -> 0x{place:012x}-0x{place + size - 1:012x}")
        start, place, size = at, physical, length
    return "\n".join(lines) + "\n"


# -- code, stack, time


@hmp("u|disasm", "fmt:/ address:i?", "[/count] [addr]", "disassemble instructions (as Bochs)")
def u(control: Control, fmt: Format, address: int | None = None) -> str:
    from cores.x86.text import disassemble

    cpu = _x86(control)
    wide = bool(cpu.reg("cs.attr") & 0x4000)
    if address is None:
        address = cpu.reg("cs.base") + cpu.reg("eip")
    lines = []
    for _ in range(min(fmt.count, 4096)):
        address &= 0xFFFFFFFF
        data = linear(control, address, 15)
        if not data:
            lines.append(f"{address:016x}: not mapped")
            break
        text, length = disassemble(data, address - cpu.reg("cs.base") & 0xFFFFFFFF, wide)
        lines.append(f"{address:016x}: ({'':20}): {text:25} ; {data[:length].hex()}")
        address += length
    return "\n".join(lines) + "\n"


@hmp("print-stack", "count:i?", "[num_words]", "print the num_words top 16-bit or 32-bit words of the stack (as Bochs)")
def print_stack(control: Control, count: int = 16) -> str:
    cpu = _x86(control)
    size = 4 if cpu.reg("ss.attr") & 0x4000 else 2
    pointer = cpu.reg("esp") & (0xFFFFFFFF if size == 4 else 0xFFFF)
    lines = [f"Stack address size {size}"]
    for n in range(min(count, 1024)):
        at = cpu.reg("ss.base") + pointer + size * n & 0xFFFFFFFF
        data = _read(cpu, at, size)
        if data is None:
            lines.append(f" | STACK 0x{at:0{2 * size}x} not mapped")
            break
        lines.append(f" | STACK 0x{at:0{2 * size}x} [0x{int.from_bytes(data, 'little'):0{2 * size}x}] (<unknown>)")
    return "\n".join(lines) + "\n"


@hmp("ptime", "", "", "print current time (number of ticks since start of simulation) (as Bochs)")
def ptime(control: Control) -> str:
    return f"ptime: {control.machine.retired}\n"
