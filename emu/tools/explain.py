"""`emu explain 'adc eax, [ebx+8]'`, or bytes: what an instruction does, in words and in every form the spec has of it.

Everything printed comes from the entry: its prose, its operand codes, and what its traced body reads, writes and calls.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from cores.lang.ir import show
from cores.lang.to_python import body_text
from cores.ppc.assembler import is_mnemonic as is_ppc
from cores.x86 import state as S
from cores.x86.assembler import AsmError, assemble
from cores.x86.decoder import Insn
from cores.x86.effects import OUTSIDE, OUTSIDE_STACK, effects
from cores.x86.encoder import is_mnemonic
from cores.x86.forms import FIXED_REGISTERS, FIXED_SEGMENTS, Form
from cores.x86.generate import handler_text
from cores.x86.operands import IMMEDIATES, SIZES, TARGETS, is_memory, memory_width, register_kind
from cores.x86.text import NONE, decode_bytes, disassemble, operand, prefixes
from emu.options import UsageError
from emu.tools import explain_ppc
from emu.tools.words import Words, address, arch, bits, hex_bytes

PREFIX_WORDS = {
    0x26: "segment ES", 0x2E: "segment CS", 0x36: "segment SS", 0x3E: "segment DS", 0x64: "segment FS",
    0x65: "segment GS", 0x66: "operand size", 0x67: "address size", 0xF0: "LOCK", 0xF2: "REPNE", 0xF3: "REP",
}  # fmt: skip
PREFERRED = {1: 0x66, 2: 0xF3, 3: 0xF2}


def main(words: Sequence[str]) -> int:
    """Explain one instruction; status 0. UsageError for what is neither an instruction nor bytes of one."""
    parser = Words("explain", "Say what an instruction does, from its entry in the spec.")
    arch(parser)
    parser.add_argument("text", nargs="+", metavar="INSTRUCTION", help="assembly text, or its bytes in hex")
    parser.add_argument("--bits", type=bits, metavar="16|32", help="x86: mode (32)")
    parser.add_argument("-cpu", metavar="MODEL", help="PowerPC: only what this model has, such as 440EP or e500v2")
    parser.add_argument("--eip", "--pc", type=address, default=0, metavar="ADDRESS", help="where it lies (0)")
    parser.add_argument("--ir", action="store_true", help="the traced body")
    parser.add_argument("--c", action="store_true", help="the C handler of exactly this form")
    parser.add_argument("--python", action="store_true", help="the Python function of exactly this form")
    args = parser.parse_args(list(words))
    if args.arch == "ppc":
        if args.bits is not None:
            raise UsageError("explain: --bits is for x86")
        print("\n".join(explain_ppc.lines(" ".join(args.text), args.eip, args.cpu, args.ir, args.c, args.python)))
        return 0
    if args.cpu is not None:
        raise UsageError("explain: -cpu is for PowerPC")
    args.bits = args.bits is not False
    data = read_instruction(" ".join(args.text), args.eip, args.bits)
    insn = decode_bytes(data[:15], args.eip, args.bits)
    if insn is None or insn.form is None:
        raise UsageError(f"explain: {data[:15].hex(' ')} is no instruction")
    if len(data) > len(insn.raw):
        text, _ = disassemble(insn.raw, insn.start, args.bits)
        left = len(data) - len(insn.raw)
        raise UsageError(
            f"explain: bytes left over after '{text}': {left}; one instruction at a time (or emu disasm --hex)"
        )
    lines = explain(insn, args.bits)
    form = insn.form
    pieces = []
    if args.ir:
        pieces.append(("Traced body", show(form.block)))
    if args.c:
        pieces.append(("C", handler_text(form, line_directives=False)))
    if args.python:
        pieces.append(("Python", body_text(form.ident, form.block, doc=form.entry.doc)))
    for title, piece in pieces:
        lines += ["", title, *("  " + line for line in piece.rstrip().splitlines())]
    print("\n".join(lines))
    return 0


def read_instruction(text: str, eip: int, big: bool) -> bytes:
    """Bytes of one instruction from assembly text or hex. Raises UsageError."""
    first = text.split()[0].lower() if text.split() else ""
    digits = re.sub(r"[\s,:]|0x", "", text.lower())
    if not is_mnemonic(first) and digits and re.fullmatch(r"[0-9a-f]+", digits):
        return hex_bytes(text)
    if "\n" in text:
        raise UsageError("explain: one instruction at a time")
    try:
        data = assemble(text, eip, big)
    except AsmError as error:
        more = "; PowerPC has such an instruction: --arch ppc" if not is_mnemonic(first) and is_ppc(first) else ""
        raise UsageError(f"explain: {error.why}{more}") from None
    if not data:
        raise UsageError("explain: expected an instruction, such as 'adc eax, [ebx+8]' or its bytes")
    return data


def explain(insn: Insn, big: bool) -> list[str]:
    """The lines of the explanation."""
    form = insn.form
    if form is None:
        raise ValueError("not an instruction")
    found = effects(form)
    text, _ = disassemble(insn.raw, insn.start, big)
    lines = [text, *(f"  {line}" for line in form.entry.doc.splitlines())]
    if form.entry.see:
        lines.append(f"  SDM {form.entry.see}; entry at {_source(form)}")
    lines += ["", "Encoding", *_table(encoding(insn, big))]
    rows = roles(insn, big)
    if rows:
        lines += ["", "Operands", *_table(rows)]
    implied = implicit(insn)
    if implied:
        lines += ["", "Implied", *_table(implied)]
    lines += ["", "Flags"]
    groups = {"read": found.flags_read}
    for how in ("changed", "cleared", "set"):
        groups[how] = [f for f, h in found.flags.items() if h == how and f not in found.undefined]
    groups["undefined"] = found.undefined
    shown = [(title, " ".join(flags)) for title, flags in groups.items() if flags]
    lines += _table(shown) if shown else ["  none read, none changed"]
    lines += ["", "Exceptions"]
    lines += _table(exceptions(insn)) or ["  none"]
    return lines


def _source(form: Form) -> str:
    path = form.entry.src.file.replace("\\", "/")
    return f"{path[path.rfind('cores/') :]}:{form.entry.src.line}"


def _table(rows: Sequence[tuple[str, str]]) -> list[str]:
    width = max((len(a) for a, _ in rows), default=0)
    return [f"  {a:{width}}  {b}".rstrip() for a, b in rows]


# --- encoding --------------------------------------------------------------------------------------------------------


def encoding(insn: Insn, big: bool) -> list[tuple[str, str]]:
    """Bytes and what they say, from the first to the last."""
    form = insn.form
    if form is None:
        raise ValueError("not an instruction")
    raw = insn.raw
    front = prefixes(insn)
    rows: list[tuple[str, str]] = []
    for b in front:
        what = PREFIX_WORDS[b]
        if b in (0xF2, 0xF3) and "prefix" not in form.statics:
            what = "no repeat prefix here: ignored"
        if b == PREFERRED.get(form.prefix) and "prefix" not in form.statics:
            what = "part of the opcode"
        elif b == 0x66:
            what = f"operand size {16 if big else 32} instead of {32 if big else 16}"
        elif b == 0x67:
            what = f"address size {16 if big else 32} instead of {32 if big else 16}"
        rows.append((f"{b:02x}", what))
    at = len(front)
    size = {0: 1, 1: 2, 2: 3, 3: 3}[form.map]
    title = f"opcode of {form.mnemonic}"
    if form.codes:
        title += f" {','.join(form.codes)}"
    if form.opreg:
        title += f"; its low three bits are the register: {raw[at + size - 1] & 7}"
    rows.append((raw[at : at + size].hex(" "), title))
    at += size
    if form.modrm:
        at = _modrm(insn, at, rows)
    asz = 32 if insn.eamask == 0xFFFFFFFF else 16
    osz = form.osz or (32 if big else 16)
    for kind in form.imms:
        n = {"ib": 1, "ibs": 1, "jb": 1, "ib2": 1, "iw": 2, "id": 4}.get(kind, osz // 8)
        if kind == "o":
            n = asz // 8
        what = {
            "ib": f"immediate byte {insn.imm:#x}", "ibs": f"immediate byte, sign-extended: {_signed(insn.imm):#x}",
            "iw": f"immediate word {insn.imm:#x}", "id": f"immediate doubleword {insn.imm:#x}",
            "iz": f"immediate {insn.imm:#x}", "ib2": f"second immediate byte {insn.imm2:#x}",
            "jb": f"distance {_signed(insn.imm):+#x} from the next instruction", "o": f"address {insn.disp:#x}",
            "jz": f"distance {_signed(insn.imm):+#x} from the next instruction", "ap": f"offset {insn.imm:#x}",
        }[kind]  # fmt: skip
        rows.append((raw[at : at + n].hex(" "), what))
        at += n
        if kind == "ap":
            rows.append((raw[at : at + 2].hex(" "), f"selector {insn.imm2:#x}"))
            at += 2
    return rows


def _signed(value: int) -> int:
    return value - (1 << 32) if value >> 31 else value


def _modrm(insn: Insn, at: int, rows: list[tuple[str, str]]) -> int:
    form = insn.form
    if form is None:
        raise ValueError("not an instruction")
    raw = insn.raw
    modrm = raw[at]
    mod, reg, rm = modrm >> 6, modrm >> 3 & 7, modrm & 7
    asz = 32 if insn.eamask == 0xFFFFFFFF else 16
    reg_code = next(
        (c for c in form.codes if c[0] in "GVPCD" and c not in FIXED_REGISTERS and c not in FIXED_SEGMENTS), ""
    )
    if form.digit >= 0:
        what_reg = f"reg {reg} (part of the opcode)"
    elif reg_code:
        what_reg = f"reg {reg} ({operand(insn, reg_code, True)})"
    else:
        what_reg = f"reg {reg}"
    if form.mem != 1:
        rm_code = next((c for c in form.codes if c[0] in "EMWQNURS" and c not in FIXED_SEGMENTS), "")
        named = f" ({operand(insn, rm_code, True)})" if rm_code and form.rm < 0 else " (part of the opcode)"
        rows.append((f"{modrm:02x}", f"ModRM: mod {mod} (register), {what_reg}, rm {rm}{named}"))
        return at + 1
    sib = asz == 32 and rm == 4
    size = {1: 1, 2: asz // 8}.get(mod, 0)
    if mod == 0 and ((asz == 16 and rm == 6) or (asz == 32 and (rm == 5 or (sib and raw[at + 1] & 7 == 5)))):
        size = asz // 8
    how = "no displacement" if not size else f"displacement of {8 * size} bits"
    if sib:
        what_rm = "SIB follows"
    elif insn.base == NONE:
        what_rm = "no register"
    else:
        what_rm = "+".join((S.R32 if asz == 32 else S.R16)[r] for r in (insn.base, insn.index) if r != NONE)
    rows.append((f"{modrm:02x}", f"ModRM: mod {mod} ({how}), {what_reg}, rm {rm} ({what_rm})"))
    at += 1
    if sib:
        b = raw[at]
        index = "no index" if insn.index == NONE else f"index {S.R32[insn.index]} times {insn.scale}"
        base = "no base" if insn.base == NONE else f"base {S.R32[insn.base]}"
        rows.append((f"{b:02x}", f"SIB: {base}, {index}"))
        at += 1
    if size:
        value = int.from_bytes(raw[at : at + size], "little")
        if insn.base != NONE and value >> (8 * size - 1):
            value -= 1 << 8 * size
        rows.append((raw[at : at + size].hex(" "), f"displacement {value:#x}"))
        at += size
    return at


# --- operands --------------------------------------------------------------------------------------------------------


def roles(insn: Insn, big: bool) -> list[tuple[str, str]]:
    """The operands in the text, and whether they are read or written."""
    form = insn.form
    if form is None:
        raise ValueError("not an instruction")
    found = effects(form)
    rows = []
    for name, code in zip(form.names, form.codes, strict=True):
        text = operand(insn, code, big)
        if is_memory(code, form):
            rows.append((text, _memory_role(insn, code, found.memory)))
        elif code in IMMEDIATES or code == "Ap":
            rows.append((text, "constant"))
        elif code in TARGETS:
            rows.append((text, "target of the jump"))
        else:
            if code in FIXED_REGISTERS:
                alike = _family(text)
                read, written = bool(alike & set(found.registers_read)), bool(alike & set(found.registers_written))
            else:
                place = "reg" if code[0] in "GZVP" else "rm"
                read, written = place in found.operands_read, place in found.operands_written
            if not read and not written:
                if name not in ("dst", "src") or register_kind(code, form) in ("r8", "r16", "r32"):
                    rows.append((text, "not used" if register_kind(code, form) else "read"))
                    continue
                read, written = name == "src", name == "dst"
            rows.append((text, "read and written" if read and written else "written" if written else "read"))
    return rows


def _family(register: str) -> set[str]:
    """All names of the same general register."""
    if register in S.R8:
        n = S.R8.index(register) & 3
    elif register in S.R16:
        n = S.R16.index(register)
    else:
        n = S.R32.index(register)
    return {S.R32[n], S.R16[n], *((S.R8[n], S.R8[n + 4]) if n < 4 else ())}


def _memory_role(insn: Insn, code: str, accesses: Sequence[str]) -> str:
    form = insn.form
    if form is None:
        raise ValueError("not an instruction")
    read, written = "read memory" in accesses, "write memory" in accesses
    role = "read and written" if read and written else "written" if written else "read" if read else "address only"
    size = SIZES.get(memory_width(code, form.osz or 32), "")
    segment = S.SEGMENT_NAMES[insn.seg]
    used = [
        (S.R32 if insn.eamask == 0xFFFFFFFF else S.R16)[r]
        for r in (insn.base, insn.index)
        if r != NONE and form.mem == 1
    ]
    where = f"{size + ' ' if size else ''}in segment {segment}" if role != "address only" else "nothing is accessed"
    return f"{role}; {where}" + (f"; the address uses {' and '.join(used)}" if used else "")


def implicit(insn: Insn) -> list[tuple[str, str]]:
    """What the instruction touches without naming it."""
    form = insn.form
    if form is None:
        raise ValueError("not an instruction")
    found = effects(form)
    named: set[str] = set()
    for code in form.codes:
        if code in FIXED_REGISTERS:
            named |= _family(operand(insn, code, True))
        elif code in FIXED_SEGMENTS:
            named.add(S.SEGMENT_NAMES[FIXED_SEGMENTS[code]])
    rows = []
    read = [r for r in found.registers_read if r not in named]
    written = [r for r in found.registers_written if r not in named]
    both = [r for r in read if r in written]
    for title, names in (
        ("read", [r for r in read if r not in both]),
        ("written", [r for r in written if r not in both]),
        ("both", both),
    ):
        if names:
            rows.append((title, ", ".join(names)))
    hidden = [m for m in found.memory if not (form.mem == 1 and m.endswith(" memory"))]
    if any(is_memory(c, form) for c in form.codes):
        hidden = [m for m in hidden if not m.endswith(" memory")]
    if hidden:
        rows.append(("memory", ", ".join(hidden)))
    if found.ports:
        rows.append(("ports", ", ".join(found.ports)))
    if found.jumps:
        rows.append(("eip", "written"))
    return rows


def exceptions(insn: Insn) -> list[tuple[str, str]]:
    """Possible exceptions and why; those of the segment that this instruction uses."""
    form = insn.form
    if form is None:
        raise ValueError("not an instruction")
    rows = []
    for name, reasons in effects(form).exceptions.items():
        left = [r for r in reasons if r != (OUTSIDE if insn.seg == S.SS else OUTSIDE_STACK) or form.mem != 1]
        if left or not reasons:
            rows.append((name, "; ".join(left) or "a check of the instruction itself"))
    return rows


__all__ = ["explain", "main"]
