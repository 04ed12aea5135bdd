"""The host code of single guest instructions (emu/engine/jit/emit.c), whole, so that a slower translation is a diff.

`python -m tests.engine.test_jit_emit` writes jit_code.txt anew from what the JIT does now: read what has changed. Each
instruction stands in a loop where nobody wants its flags. Hosts without BMI2 and MOVBE have other code.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.engine.jit_guests import DATA, Guest, host_code

for _core in ("x86", "ppc"):
    pytest.importorskip(f"emu.engine._{_core}")

FILE = Path(__file__).with_name("jit_code.txt")
X86 = (
    "add eax, ecx", "sub eax, 5", "inc ecx", "add al, ch", "adc eax, ecx", "lea eax, [ecx+edx*4+8]", "shl eax, 3",
    "sar eax, cl", "rol eax, 8", "movzx eax, cl", "movsx eax, cx", "mov ah, cl", "imul eax, ecx", "neg eax",
    "bswap eax", "xchg eax, ecx", "mov eax, [esi]", "mov [esi+4], ecx", "mov al, [esi]", "add [esi], ecx",
    "push eax", "pop eax",
    "cmp eax, ecx; jl far_away", "test al, 2; jne far_away", "cmp eax, ecx; cmovb eax, edx", "cmp eax, 7; setae cl",
    "mov eax, [esi]; add eax, [esi+4]",
)  # fmt: skip
PPC = (
    "add r3, r4, r5", "addi r3, r3, 1", "addis r3, r4, 0x1234", "subf r3, r4, r5", "mullw r3, r4, r5", "neg r3, r4",
    "rlwinm r3, r4, 8, 16, 23", "rlwimi r3, r4, 8, 16, 23", "slw r3, r4, r5", "srawi r3, r4, 5", "cntlzw r3, r4",
    "extsb r3, r4", "addc r3, r4, r5; adde r6, r7, r8", "lwz r3, 4(r6)", "lbzx r3, r6, r0", "lha r3, 2(r6)",
    "stw r3, 4(r6)", "sth r3, 2(r6)", "lwz r3, 0(r6); stw r3, 4(r6)", "lmw r30, 0(r6)", "cmpw r3, r4; bgt far_away",
    "cmplwi cr1, r3, 5; blt cr1, far_away", "mtlr r3", "mflr r3", "crxor 6, 6, 6",
)  # fmt: skip
BODIES = [("x86", body) for body in X86] + [("ppc", body) for body in PPC]


def code(core: str, body: str) -> str:
    """The host code of a body; what overwrites the flags behind it is not part of it."""
    lines = body.replace("; ", "\n")
    if core == "ppc":
        return host_code(core, lines, behind="nop\nfar_away: cmpwi r31, 0", r6=DATA, r3=9, r4=99)
    return host_code(core, lines, behind="nop\nfar_away: test ebp, ebp", esi=DATA, eax=9)


def stored() -> dict[tuple[str, str], str]:
    """The sections of the file."""
    found = {}
    for section in FILE.read_text().split("\n\n"):
        head, _, text = section.partition("\n")
        core, _, body = head.partition(": ")
        found[core, body] = "".join(f"{line.strip()}\n" for line in text.splitlines())
    return found


def written() -> str:
    """All sections as they should be."""
    sections = []
    for core, body in BODIES:
        text = "".join(f"    {line}\n" for line in code(core, body).splitlines())
        sections.append(f"{core}: {body}\n{text}")
    return "\n".join(sections)


def host_has_what_the_file_assumes() -> bool:
    """The host features that change code."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return {"bmi1", "bmi2", "movbe", "abm", "popcnt"} <= set(flags)


def test_every_section_of_the_file_is_tested() -> None:
    assert list(stored()) == BODIES


@pytest.mark.skipif(shutil.which("objdump") is None, reason="objdump is not installed")
@pytest.mark.skipif(not host_has_what_the_file_assumes(), reason="the host has other instructions")
@pytest.mark.parametrize(("core", "body"), BODIES)
def test_an_instruction_becomes_the_code_that_the_file_shows(core: str, body: str) -> None:
    assert code(core, body) == stored()[core, body]


def test_an_access_of_a_loop_that_reaches_out_of_the_page_of_the_turn_before_is_looked_up() -> None:
    source = "again: mov [esi], eax\ndec esi\njmp again"
    guest = Guest("x86", source, count=0, esi=0x30010, eax=0x44332211)
    entries = [k << 12 | 7 for k in range(64)]
    entries[0x2F] = 0x28007
    for at, words in ((0x4000, [0x5007]), (0x5000, entries)):
        data = b"".join(w.to_bytes(4, "little") for w in words)
        guest.ram.view[at : at + len(data)] = data
    guest.cpu.load_state({**guest.cpu.state(), "cr3": 0x4000, "cr0": 0x80000011})
    guest.cpu.run(3 * 100)
    assert bytes(guest.ram.view[0x2F000:0x30014]) == bytes(0x1000) + b"\x44" * 0x14
    assert bytes(guest.ram.view[0x28FAC:0x29000]) == b"\0\x11\x22\x33" + b"\x44" * 0x50


if __name__ == "__main__":
    FILE.write_text(written())
    sys.exit(0)
