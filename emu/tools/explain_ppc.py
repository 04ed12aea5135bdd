"""`emu explain --arch ppc`: what a PowerPC instruction does, in words and in every form the spec has of it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cores.lang.ir import show
from cores.lang.to_python import body_text
from cores.ppc.assembler import AsmError, assemble, is_mnemonic
from cores.ppc.decoder import ALL, Insn, allowed, by_mnemonic, decode, mnemonic
from cores.ppc.docs import layout
from cores.ppc.effects import effects
from cores.ppc.forms import Form
from cores.ppc.generate import handler_text
from cores.ppc.models import FEATURES, MODELS
from cores.ppc.text import disassemble, operand_text
from cores.x86.encoder import is_mnemonic as is_x86
from emu.options import UsageError, shown
from emu.tools.disasm import features
from emu.tools.words import hex_bytes

STATIC_WORDS = {
    "OE": ("XER.OV and XER.SO are kept", "XER.OV and XER.SO show the overflow"),
    "Rc": ("no field of CR is changed", "a field of CR is set from the result"),
    "LK": ("LR is kept", "LR receives the address of the next instruction"),
    "AA": ("the target counts from this address", "the target is absolute"),
}
ROLES = {"si": "signed number", "ui": "number", "d": "signed distance from the base register", "bd": "target",
         "li": "target", "bo": "kind of condition and hint", "sh": "shift", "mb": "first bit of the mask",
         "me": "last bit of the mask", "nb": "bytes", "to": "conditions of the trap", "fxm": "mask of fields of CR",
         "spr": "special purpose register", "dcrn": "device control register", "pmrn": "performance monitor register",
         "ws": "word of the entry", "bi": "bit of CR (nothing looks at it)", "d8": "distance from the base register",
         "d4": "distance from the base register", "d2": "distance from the base register"}  # fmt: skip


def lines(text: str, pc: int, cpu: str | None, ir: bool, c: bool, python: bool) -> list[str]:
    """The explanation of text or bytes, then the lowerings asked for. Raises UsageError."""
    has = features(cpu, "explain")
    word = read_word(text, pc)
    insn = decode(word, pc, has if cpu is not None else _features_of(text))
    if insn is None:
        on = f" on {shown(cpu)}" if cpu is not None else ""
        raise UsageError(f"explain: {word:08x} is no instruction{on}")
    form = insn.form
    out = explain(insn, pc, word)
    pieces = []
    if ir:
        pieces.append(("Traced body", show(form.block)))
    if c:
        pieces.append(("C", handler_text(form, line_directives=False)))
    if python:
        pieces.append(("Python", body_text(form.ident, form.block, doc=form.entry.doc)))
    for title, piece in pieces:
        out += ["", title, *("  " + line for line in piece.rstrip().splitlines())]
    return out


def _features_of(text: str) -> int:
    """What to decode with: families of models share some words; mnemonic and number of operands tell which is meant."""
    head, _, rest = text.strip().partition(" ")
    for form in by_mnemonic().get(head.lower(), ()):
        slots = form.syntax.partition(" ")[2]
        if form.entry.needs and bool(slots) == bool(rest.strip()) and slots.count(",") == rest.count(","):
            return next((m.features for m in MODELS.values() if allowed(form, m.features)), ALL)
    return ALL


def models_with(form: Form) -> str:
    """The models that have a form, each kind once."""
    kinds: dict[int, str] = {}
    for name, m in MODELS.items():
        kinds.setdefault(m.features, name)
    have = [name for bits, name in kinds.items() if allowed(form, bits)]
    return "all" if len(have) == len(kinds) else ", ".join(have) or "none"


def read_word(text: str, pc: int) -> int:
    """One instruction word from assembly text or hex. Raises UsageError."""
    first = text.split()[0].lower() if text.split() else ""
    digits = re.sub(r"[\s,:]|0x", "", text.lower())
    if not is_mnemonic(first) and re.fullmatch(r"[0-9a-f]+", digits):
        data = hex_bytes(text)
    else:
        try:
            data = assemble(text, pc)
        except AsmError as error:
            other = not is_mnemonic(first) and is_x86(first)
            more = "; x86 has such an instruction: --arch x86" if other else ""
            raise UsageError(f"explain: {error.why}{more}") from None
    if len(data) != 4:
        raise UsageError(f"explain: one instruction of 4 bytes is expected, found {len(data)} bytes")
    return int.from_bytes(data, "big")


def explain(insn: Insn, pc: int, word: int) -> list[str]:
    """The lines of the explanation."""
    form = insn.form
    found = effects(form)
    text = disassemble(word, pc, FEATURES[form.entry.needs] if form.entry.needs else ALL)
    plain = form.syntax.split()[0]
    out = [text, *(f"  {line}" for line in form.entry.doc.splitlines())]
    if text.split()[0] != plain:
        out.append(f"  A simplified name of {plain}.")
    out.append(f"  {form.entry.see}; entry at {_source(form)}")
    if form.entry.undefined:
        out.append(f"  Undefined: {form.entry.undefined}.")
    out.append(f"  Models: {models_with(form)}")
    out += ["", "Encoding", *_table(encoding(insn, pc, word))]
    rows = operands(insn, pc)
    if rows:
        out += ["", "Operands", *_table(rows)]
    implied = [
        (title, ", ".join(names)) for title, names in (("read", found.read), ("written", found.written)) if names
    ]
    if found.memory:
        implied.append(("memory", ", ".join(found.memory)))
    if found.jumps:
        implied.append(("pc", "written"))
    if implied:
        out += ["", "Implied", *_table(implied)]
    interrupts = [(name, "; ".join(why)) for name, why in found.interrupts.items()]
    return [*out, "", "Interrupts", *(_table(interrupts) or ["  none, but for those of its fetch"])]


def encoding(insn: Insn, pc: int, word: int) -> list[tuple[str, str]]:
    """Bits and what they say, from the left; bit 0 is the first."""
    rows = []
    for first, last, name in layout(insn.form):
        width = last - first + 1
        value = word >> (31 - last) & ((1 << width) - 1)
        where = f"{first}" if first == last else f"{first}-{last}"
        if name in STATIC_WORDS:
            what = f"{name}: {STATIC_WORDS[name][value]}"
        elif name in insn.fields:
            what = f"{name}: {operand_text(insn, _shown_as(insn, name), pc)}"
        elif name == "opcode":
            what = f"opcode of {mnemonic(insn.form)}" + (" and others" if len(layout(insn.form)) > 2 else "")
        elif name == "reserved":
            what = "reserved" + ("" if not value else ": should be 0")
        else:
            what = name
        rows.append((f"{where:6} {value:0{width}b}", what))
    return rows


def _shown_as(insn: Insn, name: str) -> str:
    return "ra0" if name == "ra" and "ra0" in insn.form.syntax else name


def operands(insn: Insn, pc: int) -> list[tuple[str, str]]:
    """Each operand as it is written, and what happens to it."""
    found = effects(insn.form)
    rows = []
    for name in re.findall(r"\w+", insn.form.syntax.partition(" ")[2]):
        plain = "ra" if name == "ra0" else name
        if name == "ra0" and insn.fields["ra"] == 0:
            rows.append(("0", "ra: the number 0, no register"))
            continue
        read, written = plain in found.operands_read, plain in found.operands_written
        role = {(True, True): "read and written", (True, False): "read", (False, True): "written"}.get((read, written))
        rows.append((operand_text(insn, name, pc), f"{plain}: {role or ROLES.get(plain, 'number')}"))
    return rows


def _source(form: Form) -> str:
    path = form.entry.src.file.replace("\\", "/")
    return f"{path[path.rfind('cores/') :]}:{form.entry.src.line}"


def _table(rows: Sequence[tuple[str, str]]) -> list[str]:
    width = max((len(a) for a, _ in rows), default=0)
    return [f"  {a:{width}}  {b}".rstrip() for a, b in rows]


__all__ = ["explain", "lines"]
