"""Sample bytes for every form of the x86 spec: what the text tests disassemble, assemble and compare."""

from __future__ import annotations

from collections.abc import Iterator

from cores.x86.decoder import Insn, tables
from cores.x86.forms import Form
from cores.x86.text import decode_bytes

EIP = 0x1000
TAIL = bytes.fromhex("853456789abcde")
MAPS = {0: b"", 1: b"\x0f", 2: b"\x0f\x38", 3: b"\x0f\x3a"}
# ModRM, SIB and displacement; each means something with both address sizes.
MEMORY = [bytes.fromhex(h) for h in ("00", "03", "45f8", "8234120000", "048d78563412", "0634120000", "4424fc", "6d00")]
REGISTERS = [b"\xc0", b"\xc3", b"\xf9"]


def candidates(form: Form, big: bool, k: int) -> bytes:
    """Bytes meant to be this form in a 32-bit (`big`) or 16-bit segment; `k` chooses registers and addresses."""
    mode = 32 if big else 16
    out = b""
    if form.asz != mode if form.asz else form.mem == 1 and k % 3 == 2:
        out += b"\x67"
    if k % 4 == 3:
        out += b"\x64"
    if form.prefix == 1 or (form.osz and form.osz != mode):
        out += b"\x66"
    out += {2: b"\xf3", 3: b"\xf2"}.get(form.prefix, b"")
    out += MAPS[form.map] + bytes([form.opcode + (k % 8 if form.opreg else 0)])
    if form.modrm:
        tail = (MEMORY if form.mem == 1 else REGISTERS)[k % (len(MEMORY) if form.mem == 1 else 3)]
        digit = form.digit if form.digit >= 0 else (tail[0] >> 3 & 7) ^ (k & 3)
        rm = form.rm if form.rm >= 0 else tail[0] & 7
        out += bytes([tail[0] & 0xC0 | digit << 3 | rm]) + tail[1:]
    return out + TAIL


def samples(each: int = 2) -> Iterator[tuple[Insn, bool]]:
    """Decoded samples of all forms, `each` in either mode, with the mode."""
    for form in tables().forms:
        for big in (True, False):
            for k in range(each):
                insn = decode_bytes(candidates(form, big, form.number + k), EIP, big)
                if insn is not None and insn.form is form:
                    yield insn, big


def meaning(insn: Insn) -> tuple[object, ...]:
    """What two encodings of the same instruction share."""
    form = insn.form
    if form is None:
        return ()
    scaled = insn.scale if insn.index != 16 else 1
    places = sorted([(insn.base, 1), (insn.index, scaled)]) if form.mem == 1 else []
    size = 0xFFFF if form.osz == 16 else 0xFFFFFFFF
    seg = insn.seg if form.mem == 1 else 0
    return (form.entry.src, form.osz, places, insn.disp & insn.eamask, seg, insn.imm & size, insn.imm2, insn.lock)
