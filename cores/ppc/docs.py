"""The ISA pages of the PowerPC core: Markdown for every chapter, generated from the entries. `emu docs --arch ppc`.

Each entry gives its syntax, prose, encoding, operands, interrupts, required feature and the operation as pseudo-code,
all from what the decoder and the tiers run. Nothing of it is committed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from ..lang.ir import Call, SetReg, Value
from ..lang.state import Register
from ..lang.to_docs import Names, Pseudo, pseudo_code, table
from .decoder import by_mnemonic, field_names, forms, mnemonic
from .effects import INTERRUPTS, SYNDROMES, effects
from .forms import ENTRIES, FIELDS, Entry, Form

STATICS = {"oe": "OE", "rc": "Rc", "lk": "LK", "aa": "AA"}
LEGEND = (
    "Bits of a word are numbered from the left, as in the manual; in the operation `x[n:m]` counts from the right. "
    "`:=` changes the machine, `=` names a value. Every instruction may besides have the interrupts of its fetch."
)


def layout(form: Form) -> list[tuple[int, int, str]]:
    """The encoding as runs of bits: first, last, what they are. Names of fields are in lower case."""
    names = ["reserved" if not form.mask >> (31 - k) & 1 else "extended opcode" for k in range(32)]
    names[0:6] = ["opcode"] * 6
    for move in ("mfspr", "mtspr"):
        base = by_mnemonic()[move][0]
        if form is not base and form.value & base.mask == base.value and form.mask & 0x001FF800 == 0x001FF800:
            names[11:21] = ["number of the register, low half first"] * 10
    for name, at in form.entry.pattern.statics:
        names[at] = STATICS[name]
    for name in field_names(form.ident):
        first, count, _, _ = FIELDS[name]
        names[first : first + count] = [name] * count
    runs: list[tuple[int, int, str]] = []
    for k, name in enumerate(names):
        if runs and runs[-1][2] == name:
            runs[-1] = (runs[-1][0], k, name)
        else:
            runs.append((k, k, name))
    return runs


class PpcNames(Names):
    """The manual's names: operands as in the syntax, memory, interrupts."""

    def value(self, v: Value, low: Pseudo) -> str | None:
        """Registers by name."""
        if v.op == "get" and isinstance(v.attr, Register):
            return self._register(v.attr.name, v.args[0] if v.args else None)
        return None

    def _register(self, name: str, index: Value | None) -> str | None:
        if name in ("gpr", "fpr"):
            if index is not None and index.op == "field":
                return str(index.attr)
            return None
        return name.upper().replace("XER_", "XER.") if index is None else None

    def set(self, stmt: SetReg, low: Pseudo) -> list[str] | None:
        """Writes of registers, and of one field or bit of CR."""
        name = getattr(stmt.reg, "name", "")
        v = stmt.value
        if name == "cr" and v.op == "or" and v.args[0].op == "and" and v.args[1].op == "shl":
            mask, amount = v.args[0].args[1].constant, v.args[1].args[1].constant
            if mask is not None and amount is not None:
                return [f"CR{7 - amount // 4} := {low.text(v.args[1].args[0])}"]
        place = self._register(name, stmt.index)
        return None if place is None else [f"{place} := {low.text(v)}"]

    def call(self, stmt: Call, low: Pseudo) -> str | None:
        """Memory and interrupts."""
        name = stmt.callee.name
        args = [low.text(a) for a in stmt.args]
        if name.startswith(("mem_r", "mem_w")):
            place = f"memory{name[5:]}[{args[0]}]"
            return place if name[4] == "r" else f"{place} := {args[1]}"
        if name == "raise_interrupt":
            ivor, esr = (a.constant for a in stmt.args)
            why = SYNDROMES.get(-1 if esr is None else esr, "")
            title = INTERRUPTS.get(-1 if ivor is None else ivor, f"IVOR{args[0]}")
            return f"{title} interrupt" + (f" ({why})" if why else "")
        return None


@cache
def _by_entry() -> dict[int, list[Form]]:
    out: dict[int, list[Form]] = {}
    for form in forms():
        out.setdefault(id(form.entry), []).append(form)
    return out


def _joined(names: Iterable[str]) -> str:
    return ", ".join(names)


def _unique(rows: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(rows))


def encodings_table(shown: Sequence[Form]) -> list[str]:
    """One row for each syntax: its bits in order."""
    rows = []
    for form in shown:
        bits = []
        for first, last, name in layout(form):
            if name == "opcode" or name == "extended opcode" or name.startswith("number") or name in STATICS.values():
                value = form.value >> (31 - last) & ((1 << (last - first + 1)) - 1)
                bits.append(f"{name if name in STATICS.values() else ''} {value}".strip())
            else:
                bits.append("/" if name == "reserved" else name)
            bits[-1] += f" ({first})" if first == last else f" ({first}-{last})"
        rows.append((f"`{form.syntax}`", " ".join(bits)))
    return table(("syntax", "bits"), rows)


def entry_page(entry: Entry) -> list[str]:
    """The section of one entry."""
    mine = [f for f in _by_entry()[id(entry)] if not f.zero]
    shown = mine[0]
    found = effects(shown)
    names = _unique(mnemonic(f) for f in mine)
    lines = [f"## {' '.join(names)}", "", entry.doc, ""]
    notes = [f"{entry.see}."] if entry.see else []
    if entry.needs:
        notes.append(f"Needs the feature `{entry.needs}`.")
    if entry.variant:
        notes.append(f"Variant `{entry.variant}`.")
    if entry.undefined:
        notes.append(f"Undefined: {entry.undefined}.")
    if notes:
        lines += [" ".join(notes), ""]
    lines += [*encodings_table(mine), ""]
    rows = []
    for form in mine:
        one = effects(form)
        rows.append(
            (_joined(sorted(one.operands_read) + one.read), _joined(sorted(one.operands_written) + one.written))
        )
    merged: dict[tuple[str, str], list[str]] = {}
    for form, row in zip(mine, rows, strict=True):
        merged.setdefault(row, []).append(f"`{mnemonic(form)}`")
    body = [(_joined(_unique(who)), read, written) for (read, written), who in merged.items()]
    lines += [*table(("", "reads", "writes"), body), ""]
    if found.memory:
        lines += [f"Memory: {_joined(found.memory)}.", ""]
    interrupts = [f"- {name}: {'; '.join(why)}" if why else f"- {name}" for name, why in found.interrupts.items()]
    lines += ["Interrupts", "", *(interrupts or ["None."]), ""]
    lines += [f"Operation (`{mnemonic(shown)}`)", "", "```"]
    return [*lines, *(pseudo_code(shown.block, PpcNames()) or ["nothing"]), "```", ""]


def chapter(entry: Entry) -> str:
    """The file that an entry stands in."""
    return Path(entry.src.file).stem


def chapters() -> dict[str, list[Entry]]:
    """All entries by chapter, in the order of the spec."""
    forms()
    out: dict[str, list[Entry]] = {}
    for entry in ENTRIES:
        out.setdefault(chapter(entry), []).append(entry)
    return out


def chapter_page(name: str, entries: Iterable[Entry]) -> str:
    """The page of one chapter."""
    module = sys.modules.get(f"{__package__}.{name}")
    about = (module.__doc__ or "").strip() if module is not None else ""
    lines = [f"# PowerPC: {name}", "", about, "", LEGEND, ""]
    for entry in entries:
        lines += entry_page(entry)
    return "\n".join(lines).rstrip() + "\n"


def index_page() -> str:
    """Chapters and counts."""
    rows = []
    for name, entries in chapters().items():
        mine = [f for e in entries for f in _by_entry()[id(e)]]
        count = len({mnemonic(f) for f in mine})
        rows.append((f"[{name}](ppc-{name}.md)", str(len(entries)), str(count), str(len(mine))))
    lines = ["# PowerPC instructions", "", *table(("chapter", "entries", "mnemonics", "forms"), rows), ""]
    lines.append(f"{len(ENTRIES)} entries, {len(forms())} forms.")
    return "\n".join(lines) + "\n"


def write(folder: Path) -> list[Path]:
    """Write all pages into a folder; gives their paths. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = {"ppc.md": index_page()}
    for name, entries in chapters().items():
        pages[f"ppc-{name}.md"] = chapter_page(name, entries)
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in pages]


def find(name: str) -> list[Entry]:
    """The entries of a mnemonic, each once."""
    out: list[Entry] = []
    for form in by_mnemonic().get(name, ()):
        if form.entry not in out:
            out.append(form.entry)
    return out


__all__ = ["chapters", "entry_page", "find", "layout", "write"]
