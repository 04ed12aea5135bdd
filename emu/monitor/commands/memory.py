"""Looking at memory and ports: x, xp, print, i, o, memsave, pmemsave, sum, and what an address is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.cpu import GuestFault
from emu.memory import Dma, Kind
from emu.monitor.registry import Refused, hmp, qmp
from emu.monitor.words import Format
from emu.options import CORES, shown

if TYPE_CHECKING:
    from emu.monitor.control import Control

MOST = 1 << 18
"""Bytes that one x or xp shows."""
MOST_CODE = 4096
MOST_SUMMED = 1 << 24
PIECE = 1 << 16
LAST = 0xFFFFFFFF


def physical(control: Control, address: int, length: int) -> bytes:
    """Physical memory; devices are not asked. Raises Refused where there is none at all."""
    ram = control.machine.ram
    if not 0 <= address < ram.space or length > ram.space - address:
        raise Refused(f"Cannot access memory at {address:#x}")
    return Dma(ram).read(address, length)


def linear(control: Control, address: int, length: int) -> bytes:
    """As many bytes as can be read through the page tables or TLBs, at most `length`."""
    out = bytearray()
    while len(out) < length:
        at = (address + len(out)) & LAST
        piece = min(length - len(out), 0x1000 - (at & 0xFFF))
        try:
            out += control.machine.cpu.read_linear(at, piece)
        except GuestFault:
            break
    return bytes(out)


def _big(control: Control) -> bool:
    return CORES[control.config.machine].arch == "ppc"


def printed(value: int, letter: str, size: int) -> str:
    """One number in a format: o x d u c."""
    value &= (1 << 8 * size) - 1
    bits = 8 * size
    if letter == "x":
        return f"0x{value:0{bits // 4}x}"
    if letter == "o":
        return f"0{value:0{-(-bits // 3)}o}"
    if letter == "c":
        return _character(value & 0xFF)
    width = bits * 10 // 33
    if letter == "d" and value >> (bits - 1):
        value -= 1 << bits
    return f"{value:{width}d}"


def _character(value: int) -> str:
    special = {0x27: "\\'", 0x5C: "\\\\", 0x0A: "\\n", 0x0D: "\\r"}
    shown_as = special.get(value) or (chr(value) if 32 <= value <= 126 else f"\\x{value:02x}")
    return f"'{shown_as}'"


def _dump(control: Control, address: int, fmt: Format, is_physical: bool) -> str:
    if fmt.letter == "i":
        return _disassembled(control, address, fmt.count, is_physical)
    size = fmt.size
    length = size * fmt.count
    if length > MOST:
        raise Refused(f"at most {MOST} bytes are shown at once")
    ram = control.machine.ram
    if is_physical:
        there = max(0, min(length, ram.space - address))
        data = physical(control, address, there) if there else b""
    else:
        address &= LAST
        data = linear(control, address, length)
    per_line = 8 if size == 1 else 16
    order = "big" if _big(control) else "little"
    lines = []
    for at in range(0, length, per_line):
        where = address + at if is_physical else (address + at) & LAST
        head = f"{where:016x}:" if is_physical else f"{where:08x}:"
        part = data[at : min(at + per_line, length)]
        if len(part) < min(per_line, length - at):
            lines.append(f"{head} Cannot access memory\n")
            break
        numbers = [int.from_bytes(part[k : k + size], order) for k in range(0, len(part), size)]  # type: ignore[arg-type]
        lines.append(head + "".join(f" {printed(n, fmt.letter, size)}" for n in numbers) + "\n")
    return "".join(lines)


def _disassembled(control: Control, address: int, count: int, is_physical: bool) -> str:
    if count > MOST_CODE:
        raise Refused("too many instructions")
    cpu = control.machine.cpu
    lines = []
    for _ in range(count):
        address &= LAST
        length = 4 if _big(control) else 15
        data = physical(control, address, length) if is_physical else linear(control, address, length)
        if not data or (_big(control) and len(data) < 4):
            lines.append(f"0x{address:08x}:  Cannot access memory\n")
            break
        if _big(control):
            from emu.tools.trace_ppc import text_at

            text, used = text_at(cpu, address, data), 4
        else:
            from cores.x86.text import disassemble

            text, used = disassemble(data, address, bool(cpu.reg("cs.attr") & 0x4000))
        lines.append(f"0x{address:08x}:  {data[:used].hex(' '):24} {text}\n")
        address += used
    return "".join(lines)


@hmp("x", "fmt:/ address:i", "/fmt addr", "virtual memory dump starting at 'addr'")
def x(control: Control, fmt: Format, address: int) -> str:
    return _dump(control, address, fmt, False)


@hmp("xp", "fmt:/ address:i", "/fmt addr", "physical memory dump starting at 'addr'")
def xp(control: Control, fmt: Format, address: int) -> str:
    return _dump(control, address, fmt, True)


@hmp("print|p", "fmt:/d value:i", "/fmt expr", "print expression value (use $reg for CPU register access)")
def print_(control: Control, fmt: Format, value: int) -> str:
    value &= LAST
    if fmt.letter == "c":
        return _character(value & 0xFF) + "\n"
    if fmt.letter == "d":
        return f"{value - (1 << 32) if value >> 31 else value}\n"
    return f"{value:#x}\n" if fmt.letter in "xi" else f"0{value:o}\n" if fmt.letter == "o" else f"{value}\n"


_SUFFIX = {1: "b", 2: "w", 4: "l"}


@hmp("i", "fmt:/ port:i", "/fmt addr", "I/O port read")
def i(control: Control, fmt: Format, port: int) -> str:
    size = min(fmt.size, 4)
    value = control.actions.do("port_read", port & 0xFFFF, size)
    return f"port{_SUFFIX[size]}[0x{port & 0xFFFF:04x}] = 0x{value:0{2 * size}x}\n"


@hmp("o", "fmt:/ port:i value:i", "/fmt addr value", "I/O port write")
def o(control: Control, fmt: Format, port: int, value: int) -> None:
    size = min(fmt.size, 4)
    control.actions.do("port_write", port & 0xFFFF, size, value & (1 << 8 * size) - 1)


# -- to files


def _save(control: Control, address: int, size: int, path: str, is_physical: bool) -> None:
    if size < 0 or address < 0:
        raise Refused("Expected an address and a size that are not negative")
    try:
        with open(path, "wb") as file:
            while size:
                piece = min(size, PIECE)
                data = physical(control, address, piece) if is_physical else linear(control, address, piece)
                file.write(data)
                if len(data) < piece:
                    raise Refused(f"Invalid addr 0x{address + len(data):016x}/size {size} specified")
                address, size = address + piece, size - piece
    except (OSError, ValueError) as error:
        raise Refused(f"{shown(path)}: {getattr(error, 'strerror', None) or error}") from None


@hmp("memsave", "val:i size:i filename:w", "addr size file", "save to disk virtual memory starting at 'addr'")
@qmp("memsave")
def memsave(control: Control, val: int, size: int, filename: str, cpu_index: int = 0) -> None:
    if cpu_index:
        raise Refused("Parameter 'cpu-index' expects a CPU number")
    _save(control, val & LAST, size, filename, False)


@hmp("pmemsave", "val:i size:i filename:w", "addr size file", "save to disk physical memory starting at 'addr'")
@qmp("pmemsave")
def pmemsave(control: Control, val: int, size: int, filename: str) -> None:
    _save(control, val, size, filename, True)


@hmp("sum", "start:i size:i", "addr size", "compute the checksum of a memory region")
def sum_(control: Control, start: int, size: int) -> str:
    total = 0
    if size > MOST_SUMMED:
        raise Refused(f"at most {MOST_SUMMED} bytes are summed up at once")
    while size:
        piece = min(size, PIECE)
        for byte in physical(control, start, piece):
            total = ((total >> 1 | total << 15) + byte) & 0xFFFF
        start, size = start + piece, size - piece
    return f"{total:05d}\n"


@hmp("gva2gpa", "address:i", "addr", "print the guest physical address corresponding to a guest virtual address")
def gva2gpa(control: Control, address: int) -> str:
    from emu.monitor.commands.processor import translated

    found = translated(control, address & LAST)
    return "Unmapped\n" if found is None else f"gpa: {found:#x}\n"


def ram_kind(kind: Kind) -> str:
    """A region's kind as `info mtree` writes it."""
    return "rom" if kind == Kind.ROM else "i/o" if kind == Kind.MMIO else "ram"
