"""The ISA pages: Markdown for every chapter, generated from the entries. `emu docs -o DIR`, `python -m cores.x86.docs`.

Each entry gives its syntax, prose, encodings, flags, exceptions, required feature and the operation as pseudo-code, all
from what the decoder and the tiers run. Nothing of it is committed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..lang.ir import Call, SetReg, Value
from ..lang.to_docs import Names, Pseudo, pseudo_code, table
from . import state as S
from .decoder import load_entries, tables
from .effects import ORDER, effects
from .forms import ENTRIES, FIXED_REGISTERS, FIXED_SEGMENTS, Entry, Form
from .operands import is_memory, register_kind

PREFIXES = {0: "NP ", 1: "66 ", 2: "F3 ", 3: "F2 "}
MAPS = {0: "", 1: "0F ", 2: "0F 38 ", 3: "0F 3A "}
IMMEDIATE_WORDS = {"ib": "ib", "ibs": "ib", "ib2": "ib", "iw": "iw", "id": "id", "iz": "iz", "jb": "cb", "jz": "cz",
                   "ap": "cp", "o": "co"}  # fmt: skip
# Flags that every page has a column for; the others appear where an entry touches them.
COLUMNS = ("CF", "PF", "AF", "ZF", "SF", "OF")


class X86Names(Names):
    """The manual's names for one form: operands as in the syntax, flags, segments, memory."""

    def __init__(self, form: Form) -> None:
        self.fields: dict[str, str] = {}
        self.memory = ""
        for name, code in zip(form.names, form.codes, strict=True):
            if is_memory(code, form):
                self.memory = name
            elif code not in FIXED_REGISTERS and code not in FIXED_SEGMENTS and register_kind(code, form):
                self.fields["reg" if code[0] in "GZVPSCD" and code != "STi" else "rm"] = name
        self.form = form

    def value(self, v: Value, low: Pseudo) -> str | None:
        """Operands, registers, flags and the effective address by name."""
        if v.op == "and" and v.args[1].op == "field" and v.args[1].attr == "eamask":
            return "address"
        if v.op == "or" and v.args[1].constant == 0xFFFF and v.args[0].op in ("neg", "sext"):
            return "stack mask"
        if v.op in ("get", "getbyte"):
            return self._register(
                getattr(v.attr, "name", ""), v.args[0] if v.args else None, v.width, low, v.op == "getbyte"
            )
        if v.op == "field":
            immediates = [n for n, c in zip(self.form.names, self.form.codes, strict=True) if c[0] in "IJ"]
            if v.attr in ("imm", "imm2") and immediates:
                return immediates[-1 if v.attr == "imm2" else 0]
            return {"next": "next eip", "seg": "segment", "disp": "address"}.get(str(v.attr), str(v.attr))
        if v.op == "eq" and v.args[1].constant == 0 and v.args[0].op == "get":
            return "ZF" if getattr(v.args[0].attr, "name", "") == "cc_z" else None
        return None

    def _register(self, reg: str, index: Value | None, width: int, low: Pseudo, byte: bool) -> str | None:
        if reg == "cf":
            return "CF"
        if reg in ("gpr", "xmm_lo", "xmm_hi", "fpr_sig") and index is not None:
            if index.op == "field" and str(index.attr) in self.fields:
                half = {"xmm_lo": ".low", "xmm_hi": ".high"}.get(reg, "")
                return self.fields[str(index.attr)] + half
            if reg == "gpr" and index.constant is not None:
                n = index.constant
                if byte:
                    return S.R8[n >> 3 | (n & 1) << 2]
                return (S.R16 if width == 16 else S.R32)[n] if n < 8 else "0"
        if reg.startswith("seg_") and index is not None:
            k = index.constant
            return f"{low.text(index) if k is None else S.SEGMENT_NAMES[k]}.{reg[4:]}"
        if index is None:
            return {"eflags": "EFLAGS", "cc_z": "zero source", "cc_s": "sign source", "cc_aux": "AF/OF source"}.get(
                reg, reg.upper() if reg.startswith("cr") else None
            )
        return None

    def set(self, stmt: SetReg, low: Pseudo) -> list[str] | None:
        """Writes of operands and flags."""
        reg = getattr(stmt.reg, "name", "")
        text = low.text(stmt.value)
        if reg == "cc_z":
            return [f"ZF := {low.operand(stmt.value)} = 0"]
        if reg == "cc_s":
            return [f"SF, PF := sign and parity of {low.operand(stmt.value)}"]
        if reg == "cc_aux":
            if stmt.value.constant == 0:
                return ["AF, OF := 0, CF"]
            return [f"AF, OF := bit 4 of x, CF xor bit 31 of x, where x = {text}"]
        width = 32 if stmt.value.op == "zext" and stmt.value.args[0].width == 32 else stmt.value.width
        name = self._register(reg, stmt.index, width, low, stmt.how == "byte")
        return None if name is None else [f"{name} := {text}"]

    def call(self, stmt: Call, low: Pseudo) -> str | None:
        """Memory, ports and exceptions."""
        name = stmt.callee.name
        stem = name.rstrip("0123456789")
        args = [low.text(a) for a in stmt.args]
        if stem in ("mem_r", "mem_rw", "mem_w"):
            place = self._place(stmt, low)
            return f"{place} := {args[2]}" if stem == "mem_w" else place
        if name in ("mem_probe_r", "mem_probe_w"):
            rights = "reading" if name.endswith("r") else "writing"
            return f"check {args[2]} bytes at {self._segment(stmt.args[0], low)}:{args[1]} for {rights}"
        if stem in ("lin_r", "lin_w"):
            place = f"memory{name[len(stem) :]}[linear {args[0]}]"
            return f"{place} := {args[2]}" if stem == "lin_w" else place
        if name == "raise_fault":
            vector = stmt.args[0].constant
            title = S.VECTOR_NAMES.get(-1 if vector is None else vector, f"vector {args[0]}")
            return f"raise {title}" + (f"({args[1]})" if vector in (10, 11, 12, 13) else "")
        if name == "port_r":
            return f"port {args[0]}"
        if name == "port_w":
            return f"port {args[0]} := {args[2]}"
        return None

    def _place(self, stmt: Call, low: Pseudo) -> str:
        segment, offset = stmt.args[0], low.text(stmt.args[1])
        if segment.op == "field" and self.memory and offset == "address":
            return self.memory
        where = self._segment(segment, low)
        return f"memory{stmt.callee.name.removeprefix('mem_').lstrip('rw')}[{where}:{offset}]"

    def _segment(self, number: Value, low: Pseudo) -> str:
        n = number.constant
        return low.text(number) if n is None else S.SEGMENT_NAMES[n]

    def branch(self, target: str) -> str:
        """A near jump."""
        return f"eip := {target}"


def forms_of(entry: Entry) -> list[Form]:
    """All forms of an entry."""
    return [f for f in tables().forms if f.entry is entry]


def pattern(form: Form) -> str:
    """The encoding of a form as the manual writes it."""
    text = PREFIXES.get(form.prefix, "") + MAPS[form.map] + f"{form.opcode:02X}" + ("+r" if form.opreg else "")
    if form.digit >= 0:
        text += f" /{form.digit}"
    elif form.modrm:
        text += " /r"
    if form.rm >= 0:
        text += f" rm={form.rm}"
    return " ".join([text, *(IMMEDIATE_WORDS[k] for k in form.imms)])


def encodings_table(forms: Sequence[Form]) -> list[str]:
    """One row for each encoding; the names of the two operand sizes (CBW, CWDE) share one."""
    rows: dict[tuple[str, str], tuple[dict[str, None], dict[str, None]]] = {}
    for f in forms:
        names, sizes = rows.setdefault((pattern(f), ", ".join(f.codes)), ({}, {}))
        names[f"`{f.mnemonic}`"] = None
        if f.osz:
            sizes[str(f.osz)] = None
    return table(
        ("mnemonic", "encoding", "operands", "operand sizes"),
        [(", ".join(names), f"`{p}`", codes, ", ".join(sizes)) for (p, codes), (names, sizes) in rows.items()],
    )


def representative(forms: Sequence[Form]) -> Form:
    """The form that shows best what an entry does: 32 bits, registers, nothing special about it."""
    return min(forms, key=lambda f: (f.osz != 32, f.asz == 16, f.mem == 1, f.number))


def flags_table(forms: Sequence[Form]) -> list[str]:
    """What happens to the flags, mnemonics with the same effect in one row."""
    rows: dict[tuple[str, ...], list[str]] = {}
    used: set[str] = set()
    details = []
    for mnemonic in dict.fromkeys(f.mnemonic for f in forms):
        same = [f for f in forms if f.mnemonic == mnemonic]
        found = effects(representative(same))
        cells = {}
        for flag in ORDER:
            mark = {"changed": "M", "cleared": "0", "set": "1"}.get(found.flags.get(flag, ""), "")
            if flag in found.undefined:
                mark = "U"
            if flag in found.flags_read:
                mark = f"T {mark}".strip()
            cells[flag] = mark
            if mark:
                used.add(flag)
        details.append((mnemonic, cells))
    if not used:
        return ["No flags are read or changed."]
    columns = [f for f in ORDER if f in COLUMNS or f in used]
    for mnemonic, cells in details:
        rows.setdefault(tuple(cells[f] for f in columns), []).append(mnemonic)
    return table(("flags", *columns), [(", ".join(names), *cells) for cells, names in rows.items()])


def exception_lines(forms: Sequence[Form]) -> list[str]:
    """Exceptions of all forms together."""
    reasons: dict[str, dict[str, None]] = {}
    for mnemonic in dict.fromkeys(f.mnemonic for f in forms):
        for mem in (0, 1):
            same = [f for f in forms if f.mnemonic == mnemonic and int(f.mem == 1) == mem]
            if same:
                for name, whys in effects(representative(same)).exceptions.items():
                    kept = reasons.setdefault(name, {})
                    for why in whys or ["a check of the instruction itself"]:
                        kept[why] = None
    order = list(S.VECTOR_NAMES.values())
    names = sorted(reasons, key=lambda n: order.index(n) if n in order else len(order))
    return [f"- {name}: {'; '.join(reasons[name])}" for name in names] or ["None."]


def entry_page(entry: Entry) -> list[str]:
    """The section of one entry."""
    forms = forms_of(entry)
    shown = representative(forms)
    if not shown.block:
        shown.trace()
    names = list(dict.fromkeys(f.mnemonic for f in forms))
    title = " ".join(n.upper() for n in names[:8]) + (" ..." if len(names) > 8 else "")
    syntax = list(dict.fromkeys(f.syntax for f in forms))
    lines = [f"## {title}", "", entry.doc, ""]
    lines += ["```", *(syntax[:16] + (["..."] if len(syntax) > 16 else [])), "```", ""]
    notes = [f"SDM {entry.see}."] if entry.see else []
    if entry.needs:
        notes.append(f"Needs the feature `{entry.needs}`.")
    if entry.lock:
        notes.append("LOCK is allowed where the destination is memory.")
    if entry.helper:
        notes.append("The body is a call of a procedure.")
    if notes:
        lines += [" ".join(notes), ""]
    lines += [*encodings_table(forms), "", *flags_table(forms), "", "Exceptions", "", *exception_lines(forms), ""]
    place = {0: " with registers", 1: " with memory"}.get(shown.mem, "")
    size = f" of {shown.osz} bits" if shown.osz else ""
    lines += [f"Operation (`{shown.mnemonic}`{size}{place})", "", "```"]
    return [*lines, *(pseudo_code(shown.block, X86Names(shown)) or ["nothing"]), "```", ""]


def chapter_page(chapter: str, entries: Iterable[Entry]) -> str:
    """The page of one chapter."""
    module = sys.modules.get(f"{__package__}.{chapter}")
    about = (module.__doc__ or "").strip() if module is not None else ""
    lines = [f"# x86: {chapter}", "", about, "", LEGEND, ""]
    for entry in entries:
        lines += entry_page(entry)
    return "\n".join(lines).rstrip() + "\n"


LEGEND = (
    "Flags: M changed by the result, 0 cleared, 1 set, U undefined, T tested, blank kept. Operand codes as in SDM "
    "vol. 2, appendix A.2. `:=` changes the machine, `=` names a value."
)


def chapters() -> dict[str, list[Entry]]:
    """All entries by chapter, in the order of the spec."""
    load_entries()
    out: dict[str, list[Entry]] = {}
    for entry in ENTRIES:
        out.setdefault(entry.chapter, []).append(entry)
    return out


def census() -> tuple[int, int]:
    """Entries in all, and those whose body only calls a procedure."""
    entries = [e for group in chapters().values() for e in group]
    return len(entries), sum(e.helper for e in entries)


def index_page() -> str:
    """Chapters and counts."""
    rows = []
    for chapter, entries in chapters().items():
        forms = [f for f in tables().forms if f.entry.chapter == chapter]
        names = {f.mnemonic for f in forms}
        rows.append((f"[{chapter}](x86-{chapter}.md)", str(len(entries)), str(len(names)), str(len(forms))))
    total, helpers = census()
    forms_total = len(tables().forms)
    lines = ["# x86 instructions", "", *table(("chapter", "entries", "mnemonics", "forms"), rows), ""]
    lines.append(
        f"{total} entries, {forms_total} forms; {helpers} entries ({helpers / total:.0%}) only call a procedure."
    )
    return "\n".join(lines) + "\n"


def write(folder: Path) -> list[Path]:
    """Write all pages into a folder; gives their paths. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = {"x86.md": index_page()}
    for chapter, entries in chapters().items():
        pages[f"x86-{chapter}.md"] = chapter_page(chapter, entries)
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in pages]


def find(mnemonic: str) -> list[Entry]:
    """The entries of a mnemonic, each once."""
    out: list[Entry] = []
    for form in tables().forms:
        if form.mnemonic == mnemonic and form.entry not in out:
            out.append(form.entry)
    return out


def main(argv: Sequence[str]) -> int:
    """`python -m cores.x86.docs DIR`."""
    if len(argv) != 1:
        print("usage: python -m cores.x86.docs DIR", file=sys.stderr)
        return 1
    for path in write(Path(argv[0])):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
