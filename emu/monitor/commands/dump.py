"""dump-guest-memory: an ELF core of the guest, for gdb, crash(8) and drgn.

A PT_NOTE with the registers of the processor (NT_PRSTATUS of the guest's architecture), then a PT_LOAD for each range
of RAM with its physical address; with paging, the linear addresses of what the page tables map. System V ABI, chapter 4
and 5, with the supplements of the i386 and the PowerPC.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from emu.memory import Kind
from emu.monitor.commands.memory import physical
from emu.monitor.commands.processor import is_ppc, pages
from emu.monitor.registry import Refused, hmp, qmp
from emu.options import shown

if TYPE_CHECKING:
    from emu.monitor.control import Control

PIECE = 1 << 20
ET_CORE, EM_386, EM_PPC = 4, 3, 20
PT_LOAD, PT_NOTE = 1, 4
NT_PRSTATUS = 1
X86_ORDER = "ebx ecx edx esi edi ebp eax ds es fs gs eax eip cs eflags esp ss".split()
"""The order of user_regs_struct; the second eax is orig_eax."""
MOST_RANGES = 60_000


@hmp(
    "dump-guest-memory",
    "filename:w begin:i? length:i?",
    "[-p] [-d] filename [begin length]",
    "dump guest memory into file 'filename' (-p: with the guest's mapping)",
    p="paging",
    d="detach",
)
def dump_line(
    control: Control,
    filename: str,
    begin: int | None = None,
    length: int | None = None,
    paging: bool = False,
    detach: bool = False,
) -> None:
    dump_guest_memory(control, paging, filename, detach, begin, length)


@qmp("dump-guest-memory")
def dump_guest_memory(
    control: Control,
    paging: bool,
    protocol: str,
    detach: bool = False,
    begin: int | None = None,
    length: int | None = None,
    format: str = "elf",
) -> None:
    if format != "elf":
        raise Refused("only the format elf is there")
    if (begin is None) != (length is None):
        raise Refused("Parameters 'begin' and 'length' go together")
    path = protocol.removeprefix("file:")
    if protocol.startswith("fd:"):
        raise Refused("descriptors cannot be handed over; expected file:PATH")
    ranges = list(_ranges(control, begin or 0, control.machine.ram.space if length is None else length))
    if not ranges:
        raise Refused("Parameter 'begin' expects an address of RAM")
    if paging and not is_ppc(control):
        ranges = _mapped(control, ranges)
    try:
        with open(path, "wb") as file:
            _write(control, file, ranges)
    except (OSError, ValueError) as error:
        raise Refused(f"{shown(path)}: {getattr(error, 'strerror', None) or error}") from None
    control.tell("DUMP_COMPLETED", {"result": {"status": "completed", "total": sum(r[2] for r in ranges)}})


@qmp("query-dump")
def query_dump(control: Control) -> dict[str, Any]:
    return {"status": "none", "completed": 0, "total": 0}


@qmp("query-dump-guest-memory-capability")
def query_capability(control: Control) -> dict[str, list[str]]:
    return {"formats": ["elf"]}


def _ranges(control: Control, begin: int, length: int) -> Iterator[tuple[int, int, int]]:
    """(linear address 0, physical address, size) of the RAM within."""
    for region in control.machine.ram.regions:
        if region.kind == Kind.MMIO:
            continue
        low, high = max(region.paddr, begin), min(region.paddr + region.size, begin + length)
        if low < high:
            yield 0, low, high - low


def _mapped(control: Control, ranges: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """The same with linear addresses where the page tables lead into the ranges; what is not mapped stays as it was."""
    from emu.memory import Dma

    cpu = control.machine.cpu
    if not cpu.reg("cr0") >> 31:
        return ranges
    frame = 0x000F_FFFF_FFFF_F000 if cpu.reg("cr4") & 0x20 else 0xFFFFF000
    found: list[tuple[int, int, int]] = []
    for linear, size, entry, _ in pages(cpu, Dma(control.machine.ram)):
        place = entry & frame & ~(size - 1)
        if not any(low <= place and place + size <= low + n for _, low, n in ranges):
            continue
        last = found[-1] if found else None
        if last is not None and last[0] + last[2] == linear and last[1] + last[2] == place:
            found[-1] = (last[0], last[1], last[2] + size)
        else:
            found.append((linear, place, size))
        if len(found) > MOST_RANGES:
            raise Refused("the guest's mapping has too many pieces; leave paging out")
    return found + ranges


def _write(control: Control, file: BinaryIO, ranges: list[tuple[int, int, int]]) -> None:
    big = is_ppc(control)
    order, machine = (">", EM_PPC) if big else ("<", EM_386)
    note = _note(control, order)
    count = 1 + len(ranges)
    start = 52 + 32 * count
    identity = b"\x7fELF" + bytes((1, 2 if big else 1, 1)) + bytes(9)
    out = [identity + struct.pack(f"{order}HHIIIIIHHHHHH", ET_CORE, machine, 1, 0, 52, 0, 0, 52, 32, count, 0, 0, 0)]
    out.append(struct.pack(f"{order}8I", PT_NOTE, start, 0, 0, len(note), len(note), 0, 4))
    at = start + len(note)
    places: dict[tuple[int, int], int] = {}
    for linear, place, size in ranges:
        # The same memory by another address is in the file once where it is the same range.
        where = places.setdefault((place, size), at)
        if where == at:
            at += size
        if at > 0xFFFFFFFF:
            raise Refused("the dump would be larger than a 32-bit ELF file can be")
        out.append(
            struct.pack(f"{order}8I", PT_LOAD, where, linear, place & 0xFFFFFFFF, size & 0xFFFFFFFF, size, 7, 4096)
        )
    file.write(b"".join(out) + note)
    for place, size in places:
        for offset in range(0, size, PIECE):
            file.write(physical(control, place + offset, min(PIECE, size - offset)))


def _note(control: Control, order: str) -> bytes:
    """NT_PRSTATUS: 72 bytes of signal and process, the registers, and whether there are floating-point ones."""
    cpu = control.machine.cpu
    if order == ">":
        names = [f"r{n}" for n in range(32)] + ["pc", "msr", "", "ctr", "lr", "xer", "cr"]
        values = [cpu.reg(name) & 0xFFFFFFFF if name else 0 for name in names] + [0] * 9
    else:
        values = [cpu.reg(name) & 0xFFFFFFFF for name in X86_ORDER]
    process = bytearray(72)
    process[24:28] = struct.pack(f"{order}I", 1)  # pr_pid: processors are numbered from 1
    status = bytes(process) + struct.pack(f"{order}{len(values)}I", *values) + bytes(4)
    name = b"CORE\0\0\0\0"
    return struct.pack(f"{order}III", 5, len(status), NT_PRSTATUS) + name + status
