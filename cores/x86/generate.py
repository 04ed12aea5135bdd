"""The C of the x86 core: state, procedures, one handler for each form, and the decoder's tables.

`emu.engine.build` puts it between `core.h` and the hand-written parts; `python -m cores.x86.generate NAME` shows a
piece.
"""

from __future__ import annotations

import sys

from ..lang import to_jit
from ..lang.ir import Call, walk
from ..lang.to_c import PRELUDE, Style, procedure_signature, procedure_text, state_struct
from ..lang.to_handlers import handler, names_text, procedures, reset_text
from ..lang.trace import Proc, procedure, return_
from . import state as S
from .decoder import keeps_going, load_entries, tables
from .flags import read_eflags
from .forms import OPCODE_MAPS, Form

FORM_OPREG, FORM_REG8, FORM_RM8, FORM_LOCK, FORM_LAST = 1, 2, 4, 8, 16
IMM = ("none", "ib", "ibs", "iw", "id", "iz", "jz", "ib2", "ap", "o")
_IMM_ALIAS = {"jb": "ibs"}


@procedure(results=(32,))
def eflags_image() -> None:
    """EFLAGS as software sees it."""
    return_(read_eflags())


def roots() -> list[Proc]:
    """Procedures that the engine calls by name."""
    load_entries()
    from .interrupts import deliver
    from .paging import walk as page_walk
    from .segment import segment_access

    return [deliver, page_walk, segment_access, eflags_image]


def style(form: Form) -> Style:
    """How a handler of this form ends."""
    if form.entry.ends == "far":
        normal = "LEAVE_FAR;"
    elif form.entry.ends == "block":
        normal = "LEAVE_BLOCK;"
    else:
        normal = "NEXT;" if keeps_going(form) else "FALL;"
    fault = "return op_fault(cpu, i);"
    if form.entry.ends == "block":
        # Also a repeated IN or OUT comes back to the run loop each time: the device may have asked for attention.
        return Style(normal=normal, fault=fault, raised=fault, branch="LEAVE_TO({target});", jump="LEAVE_TO({target});")
    return Style(normal=normal, fault=fault, raised=fault, branch="BRANCH({slot}, {target});", jump="JUMP({target});")


# Chapters whose memory forms also exist for flat segments; their bodies may start again from the beginning.
FLAT_CHAPTERS = ("alu", "move", "control")
# What has read memory that it may itself have changed cannot start again.
NOT_FLAT = ("enter",)
FLAT_SEGMENTS = (S.ES, S.SS, S.DS)


def has_flat(form: Form) -> bool:
    """Whether a form gets handlers for segments that begin at 0 and end at 4 GiB: no limit check, no segment base."""
    if form.entry.chapter not in FLAT_CHAPTERS or form.osz == 16 or form.asz == 16 or form.mnemonic in NOT_FLAT:
        return False
    seen = False
    for stmt in walk(form.block):
        if isinstance(stmt, Call):
            if not stmt.callee.name.startswith(("mem_r", "mem_w")):
                return False
            seg = stmt.args[0]
            if seg.constant is not None and seg.constant not in FLAT_SEGMENTS:
                return False
            seen = True
    return seen


def flat_text(form: Form, plain: bool, *, line_directives: bool = True) -> str:
    """The handler of a form for flat segments: what misses the TLB goes to the general handler, from the beginning.

    `plain`: the address is base + displacement; else base + index * scale + displacement."""
    general = f"op_{form.ident}"
    name = f"{general}_{'b' if plain else 'x'}"
    st = style(form)
    st.fields = {"eamask": "0xffffffffu", **({"scale": "0u"} if plain else {})}
    for w in (8, 16, 32, 64):
        st.inline[f"mem_r{w}"] = f"FLAT_R({w}, rtag, {general}, {{args}}, {{results}});"
        st.inline[f"mem_rw{w}"] = f"FLAT_R({w}, wtag, {general}, {{args}}, {{results}});"
        st.inline[f"mem_w{w}"] = f"FLAT_W({w}, {general}, {{args}});"
    return handler(name, form.block, st, form.entry.src if line_directives else None)


def handler_text(form: Form, *, line_directives: bool = True) -> str:
    """The C function of one form."""
    comment = f"{form.syntax} | {OPCODE_MAPS[form.map]} {form.opcode:02X} {' '.join(form.codes)} | {form.entry.see}"
    src = form.entry.src if line_directives else None
    return handler(f"op_{form.ident}", form.block, style(form), src, comment)


def table_text(forms: list[Form]) -> str:
    """Form table, slots and lookup as C data."""
    t = tables()
    out = ["enum { " + ", ".join(f"IMM_{k.upper()} = {n}" for n, k in enumerate(IMM)) + " };"]
    flags_of = {"OPREG": FORM_OPREG, "REG8": FORM_REG8, "RM8": FORM_RM8, "LOCK": FORM_LOCK, "LAST": FORM_LAST}
    out.append("enum { " + ", ".join(f"FORM_{name} = {bit}" for name, bit in flags_of.items()) + " };")
    out.append(
        "struct FormInfo { Handler fn; Handler flat[2]; uint8_t imm[2]; uint8_t flags, feature_word, feature_bit; };"
    )
    out.append("struct SlotInfo { uint32_t base; uint16_t strides[6]; uint8_t modrm, any_form, register_only; };")
    out.append(f"static const struct FormInfo form_table[{len(forms) + 1}] = {{")
    out.append("    {op_undefined, {NULL, NULL}, {0, 0}, FORM_LAST, 3, 0},")
    for f in forms:
        imms = [IMM.index(_IMM_ALIAS.get(k, k)) for k in f.imms] + [0, 0]
        flags = FORM_OPREG * f.opreg | FORM_REG8 * f.reg8 | FORM_RM8 * f.rm8 | FORM_LOCK * f.lock_ok
        flags |= 0 if keeps_going(f) else FORM_LAST
        word, bit = S.FEATURES[f.entry.needs] if f.entry.needs else (3, 0)
        flat = f"{{op_{f.ident}_b, op_{f.ident}_x}}" if has_flat(f) else "{NULL, NULL}"
        out.append(f"    {{op_{f.ident}, {flat}, {{{imms[0]}, {imms[1]}}}, {flags}, {word}, {bit}}},")
    out.append("};")
    out.append(f"static const struct SlotInfo slot_table[{len(t.slots)}] = {{")
    for s in t.slots:
        strides = ", ".join(map(str, s.strides))
        out.append(f"    {{{s.base}, {{{strides}}}, {int(s.modrm)}, {int(s.any_form)}, {int(s.register_only)}}},")
    out.append("};")
    out.append(f"static const uint16_t form_lookup[{len(t.lookup)}] = {{")
    for k in range(0, len(t.lookup), 16):
        out.append("    " + ", ".join(map(str, t.lookup[k : k + 16])) + ",")
    out.append("};")
    out.append(names_text([f.ident for f in forms]))
    return "\n".join(out) + "\n"


def jit_memory(name: str) -> tuple[str, int] | None:
    """What a callee is to a template: (kind of access, width)."""
    for kind in ("mem_rw", "mem_r", "mem_w"):
        if name.startswith(kind) and name[len(kind) :].isdigit():
            return kind, int(name[len(kind) :])
    return None


CONTROL = (
    "fldcw", "fnclex", "fninit", "fldenv", "fnstenv", "fnsave", "frstor", "fxsave", "fxrstor", "ldmxcsr", "stmxcsr",
)  # fmt: skip
"""Instructions on the control of floating point, which is the host's within traces: their handlers do them."""


def jit_text(forms: list[Form]) -> str:
    """The templates of the JIT as C."""
    pool = to_jit.Pool(to_jit.slots(S.STATE), [], jit_memory)
    rows = []
    for f in forms:
        at = 0 if f.entry.ends or f.mnemonic in CONTROL else pool.add(f.block)
        role = {"call": to_jit.CALLS, "ret": to_jit.RETURNS}.get(f.mnemonic, to_jit.PLAIN)
        if f.entry.chapter in ("x87", "mmx") and not at and f.mnemonic not in ("fldcw", "fnclex"):
            role = to_jit.STOPS  # the top of the stack is not known behind it
        place = to_jit.place(f.block, ends=bool(f.entry.ends), keeps_going=keeps_going(f))
        rows.append((at, place, role))
    return to_jit.text(pool, rows, lambda name: f"i->{name}")


class Source:
    """The generated pieces, each as text."""

    def __init__(self, *, line_directives: bool = True) -> None:
        forms = tables().forms
        for f in forms:
            if not f.block:
                f.trace()
        procs = procedures([f.block for f in forms], roots())
        self.state = state_struct(S.STATE)
        self.prelude = PRELUDE
        self.declarations = "\n".join(f"static {procedure_signature(p)} __attribute__((unused));" for p in procs) + "\n"
        self.procedures = "\n".join(procedure_text(p, line_directives=line_directives) for p in procs)
        texts = []
        for f in forms:
            texts.append(handler_text(f, line_directives=line_directives))
            if has_flat(f):
                texts += [flat_text(f, plain, line_directives=line_directives) for plain in (True, False)]
        self.handlers = "\n".join(texts)
        self.tables = table_text(forms)
        self.jit = jit_text(forms)
        self.reset = reset_text(S.STATE)


def main(argv: list[str]) -> int:
    """Print the C of the forms whose name contains each argument."""
    for word in argv:
        for f in tables().forms:
            if word in f.ident:
                f.trace()
                print(handler_text(f, line_directives=False))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
