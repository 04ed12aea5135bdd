"""Small guests that get hot, and what the JIT makes of them: nodes and host code as text.

A guest is a source with labels, assembled at ORIGIN and run until its loop has been translated. Nodes are numbered anew
in the order in which the text names them, so that a node more that nobody shows changes nothing.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from textwrap import dedent
from typing import Any

from cores.ppc.assembler import assemble_program as assemble_ppc
from cores.x86.assembler import assemble_program as assemble_x86
from tests.cores.flat import FlatRam, OpenBus, make_cpu
from tests.cores.tiers import processor

ORIGIN = 0x10000
DATA = 0x20000
STACK = 0x30000
SIZE = 1 << 18
ENOUGH = 2000
"""Instructions after which every loop of a small guest is hot."""
_NAME = re.compile(r"%(\d+)")


class Guest:
    """A processor with a JIT that has run a source for `count` instructions.

    x86: 32-bit code at ring 0, flat segments; PowerPC: the 440EP with memory mapped onto itself.
    """

    def __init__(self, core: str, source: str, *, count: int = ENOUGH, threshold: int = 4, **registers: int) -> None:
        self.core = core
        assemble = assemble_x86 if core == "x86" else assemble_ppc
        self.program = assemble(source, file="guest", origin=ORIGIN)
        self.cpu, self.ram = _x86() if core == "x86" else _ppc()
        self.ram.view[ORIGIN : ORIGIN + len(self.program.data)] = self.program.data
        for name, value in registers.items():
            self.cpu.set_reg(name, value)
        self.cpu.jit_threshold = threshold
        self.cpu.run(count)

    def at(self, label: str) -> int:
        """The address of a label."""
        return self.program.symbols[label]

    def go(self, label: str) -> None:
        """Continue there."""
        self.cpu.set_reg("eip" if self.core == "x86" else "pc", self.at(label))

    def nodes(self, label: str) -> str:
        """The nodes of the trace that begins at a label."""
        self.go(label)
        return renumbered(self.cpu.jit_nodes())


def nodes(core: str, body: str, **registers: int) -> str:
    """The nodes of a loop without those of its way back, which ends the trace: a jump through a register."""
    if core == "x86":
        guest = Guest(core, f"again:\n{body}\nback: jmp edi", edi=ORIGIN, **registers)
    else:
        guest = Guest(core, f"again:\n{body}\nback: bctr", ctr=ORIGIN, **registers)
    text = guest.nodes("again")
    return renumbered(text[: text.index(f"{guest.at('back'):08x}")])


def renumbered(text: str) -> str:
    """Nodes numbered in the order in which the text names them."""
    numbers: dict[str, str] = {}
    return _NAME.sub(lambda m: "%" + numbers.setdefault(m[1], str(len(numbers))), text)


def expected(text: str) -> str:
    """A text written in a test, without its indentation."""
    return dedent(text).lstrip("\n")


def _x86() -> tuple[Any, Any]:
    cpu, ram = make_cpu("jit", SIZE)
    state = cpu.state()
    state["cr0"] |= 1
    state["cr4"] |= 0x600
    state["eip"] = ORIGIN
    state["gpr"][4] = STACK
    for n in range(6):
        state["seg_sel"][n] = 8
        state["seg_base"][n], state["seg_limit"][n] = 0, 0xFFFFFFFF
        state["seg_attr"][n] = 0xC09B if n == 1 else 0xC093
    cpu.load_state(state)
    return cpu, ram


def _ppc() -> tuple[Any, Any]:
    ram = FlatRam(SIZE)
    bus: Any = OpenBus()
    bus.dcrs = bus
    cpu = processor("ppc", "jit", bus, ram, "440EP")
    cpu.load_values({"utlb0": {0: 0x250}, "utlb1": {0: 0}, "utlb2": {0: 0x03F}})
    cpu.set_reg("pc", ORIGIN)
    cpu.set_reg("r1", STACK)
    return cpu, ram


_HEADER = re.compile(r"^([0-9a-f]{8}) \S+ \+(0x[0-9a-f]+|0)$", re.M)
_HOST = re.compile(r"^\s*([0-9a-f]+):\t[^\t]*\t(.*)$")
_PLACE = re.compile(r"\[rbp(\+r\w+\*\d)?\+(0x[0-9a-f]+)\]")
_JUMP = re.compile(r"^(j\w+|call)\s+0x([0-9a-f]+)$")
_POINTER = re.compile(r"movabs (\w+),0x[0-9a-f]+")


def host_code(core: str, body: str, *, behind: str = "", **registers: int) -> str:
    """The host code of a loop's body, by objdump, with the names of what lies in the processor; not that of `behind`.

    A jump within the trace says how far it goes; one to its exits says so; one out of it leads to the engine."""
    if core == "x86":
        guest = Guest(core, f"again:\n{body}\nbehind:\n{behind}\njmp edi", **{"edi": ORIGIN, **registers})
    else:
        guest = Guest(core, f"again:\n{body}\nbehind:\n{behind}\nbctr", **{"ctr": ORIGIN, **registers})
    guest.go("again")
    text, code, exits, address = guest.cpu.jit_listing()
    offsets = {int(at, 16): int(offset, 0) for at, offset in _HEADER.findall(text)}
    start, end = min(offsets.values()), min(o for at, o in offsets.items() if at > guest.at("behind"))
    lines = []
    for line in _objdump(code, address):
        match = _HOST.match(line)
        if match is None or not start <= int(match[1], 16) - address < end:
            continue
        words = " ".join(match[2].split("#")[0].split())
        jump = _JUMP.match(words)
        if jump is not None:
            to = int(jump[2], 16) - address
            here = int(match[1], 16) - address
            where = f"{to - here:+#x}" if 0 <= to < exits else "exit" if exits <= to < len(code) else "engine"
            words = f"{jump[1]} {where}"
        words = _POINTER.sub(r"movabs \1,...", words)
        lines.append(_PLACE.sub(lambda m: f"[cpu{m[1] or ''}.{_member(guest.cpu, int(m[2], 16))}]", words))
    return "".join(f"{line}\n" for line in lines)


def _objdump(code: bytes, address: int) -> list[str]:
    with tempfile.NamedTemporaryFile() as file:
        file.write(code)
        file.flush()
        words = ["objdump", "-D", "-b", "binary", "-m", "i386:x86-64", "-M", "intel", f"--adjust-vma={address:#x}"]
        return subprocess.run([*words, file.name], capture_output=True, text=True, check=True).stdout.splitlines()


def _member(cpu: Any, offset: int) -> str:
    """What lies at an offset of `Cpu`."""
    ffi = cpu.ffi
    name, member = max(
        ((n, f) for n, f in ffi.typeof("Cpu").fields if f.offset <= offset), key=lambda item: item[1].offset
    )
    rest = offset - member.offset
    if member.type.kind == "array" and member.type.item.kind == "primitive":
        size = ffi.sizeof(member.type.item)
        return f"{name}[{rest // size}]" + (f"+{rest % size}" if rest % size else "")
    return name + (f"+{rest:#x}" if rest else "")
