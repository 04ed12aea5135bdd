"""The C of the PowerPC core: state, procedures, one handler for each form, and the decoder's tables.

`emu.engine.build` puts it between `core.h` and the hand-written parts; `python -m cores.ppc.generate NAME` shows a
piece.
"""

from __future__ import annotations

import sys

from ..lang import to_jit
from ..lang.to_c import PRELUDE, Style, procedure_signature, procedure_text, state_struct
from ..lang.to_handlers import handler, names_text, procedures, reset_text
from . import state as S
from .decoder import forms
from .forms import FIELDS, Form, syndrome
from .models import FEATURES
from .procedures import ROOTS

FORM_LAST = 16
NO_FEATURE = 0xFF
SLOTS = {6: "a", 11: "b", 16: "c", 21: "d", 26: "e"}


def field_text(name: str) -> str:
    """A field of the decoded instruction as C."""
    first, count, is_signed, shift = FIELDS[name]
    if is_signed:
        return "i->imm"
    if count == 5 and first in SLOTS:
        text = f"(uint32_t)i->{SLOTS[first]}"
    else:
        text = f"(i->word >> {32 - first - count} & {(1 << count) - 1:#x}u)"
    return f"({text} << {shift})" if shift else text


FIELD_TEXTS = {name: field_text(name) for name in FIELDS}


def keeps_going(form: Form) -> bool:
    """Whether the block goes on behind this form."""
    return not form.entry.ends and not form.branches


def style(form: Form) -> Style:
    """How a handler of this form ends."""
    if form.entry.ends == "far":
        normal = "LEAVE_FAR;"
    elif form.entry.ends == "block":
        normal = "LEAVE_BLOCK;"
    else:
        normal = "NEXT;" if keeps_going(form) else "FALL;"
    fault = "return op_fault(cpu, i);"
    return Style(
        normal=normal,
        fault=fault,
        raised=fault,
        branch="BRANCH({slot}, {target});",
        jump="JUMP({target});",
        fields=FIELD_TEXTS,
    )


def handler_text(form: Form, *, line_directives: bool = True) -> str:
    """The C function of one form."""
    comment = f"{form.syntax} | {form.value:08x} under {form.mask:08x} | {form.entry.see}"
    src = form.entry.src if line_directives else None
    return handler(f"op_{form.ident}", form.block, style(form), src, comment)


def immediate(form: Form) -> tuple[int, int, int]:
    """First bit, number of bits and shift of the immediate that the decoder makes; no bits for none."""
    for name in form.params:
        if name in FIELDS:
            first, count, is_signed, shift = FIELDS[name]
            if is_signed:
                return first, count, shift
    return 0, 0, 0


def table_text(found: list[Form]) -> str:
    """Form table, and the values under each mask of each primary opcode, as C data. Form 0 is the undefined one."""
    out = [f"enum {{ FORM_LAST = {FORM_LAST}, NO_FEATURE = {NO_FEATURE} }};"]
    out.append(
        "struct FormInfo { Handler fn; uint8_t imm_first, imm_count, imm_shift, flags, feature; uint32_t esr; };"
    )
    out.append("struct FormValue { uint32_t value; uint16_t form; uint8_t zero; };")
    out.append("struct FormGroup { uint32_t mask; uint16_t first, count; };")
    out.append("struct Opcode { uint16_t first, count; };")
    out.append(f"static const struct FormInfo form_table[{len(found) + 1}] = {{")
    out.append("    {op_undefined, 0, 0, 0, FORM_LAST, NO_FEATURE, 0},")
    for f in found:
        first, count, shift = immediate(f)
        flags = 0 if keeps_going(f) else FORM_LAST
        feature = FEATURES[f.entry.needs].bit_length() - 1 if f.entry.needs else NO_FEATURE
        out.append(f"    {{op_{f.ident}, {first}, {count}, {shift}, {flags}, {feature}, {syndrome(f):#x}}},")
    out.append("};")
    groups: list[str] = []
    values: list[str] = []
    opcodes: list[str] = []
    for op in range(64):
        mine = [(n, f) for n, f in enumerate(found, 1) if f.value >> 26 == op]
        masks = sorted({f.mask for _, f in mine}, key=lambda m: (-m.bit_count(), m))
        opcodes.append(f"    {{{len(groups)}, {len(masks)}}},")
        for mask in masks:
            rows = sorted(
                (f.value, 0 if "ra0" not in f.params else 2 if f.zero else 1, n) for n, f in mine if f.mask == mask
            )
            groups.append(f"    {{{mask:#010x}, {len(values)}, {len(rows)}}},")
            values += [f"    {{{value:#010x}, {n}, {zero}}}," for value, zero, n in rows]
    out += [f"static const struct FormValue value_table[{len(values)}] = {{", *values, "};"]
    out += [f"static const struct FormGroup group_table[{len(groups)}] = {{", *groups, "};"]
    out += ["static const struct Opcode opcode_table[64] = {", *opcodes, "};"]
    out.append(names_text([f.ident for f in found]))
    return "\n".join(out) + "\n"


def jit_memory(name: str) -> tuple[str, int] | None:
    """What a callee is to a template: (kind of access, width)."""
    for kind in ("mem_r", "mem_w"):
        if name.startswith(kind) and name[len(kind) :].isdigit():
            return kind, int(name[len(kind) :])
    return None


# Branches that always leave a return address.
CALLS = ("bl", "bla", "bclrl_always", "bcctrl_always")


def jit_text(found: list[Form]) -> str:
    """The templates of the JIT as C."""
    pool = to_jit.Pool(to_jit.slots(S.STATE), [], jit_memory)
    rows = []
    for f in found:
        at = 0 if f.entry.ends else pool.add(f.block)
        role = to_jit.CALLS if f.ident in CALLS else to_jit.RETURNS if f.ident == "bclr_always" else to_jit.PLAIN
        place = to_jit.place(f.block, ends=bool(f.entry.ends), keeps_going=keeps_going(f))
        rows.append((at, place, role))
    return to_jit.text(pool, rows, lambda name: FIELD_TEXTS.get(name, f"i->{name}"))


class Source:
    """The generated pieces, each as text."""

    def __init__(self, *, line_directives: bool = True) -> None:
        found = list(forms())
        for f in found:
            if not f.block:
                f.trace()
        procs = procedures([f.block for f in found], ROOTS)
        self.state = state_struct(S.STATE)
        self.prelude = PRELUDE
        self.declarations = "\n".join(f"static {procedure_signature(p)} __attribute__((unused));" for p in procs) + "\n"
        self.procedures = "\n".join(procedure_text(p, line_directives=line_directives) for p in procs)
        self.handlers = "\n".join(handler_text(f, line_directives=line_directives) for f in found)
        self.tables = table_text(found)
        self.jit = jit_text(found)
        self.reset = reset_text(S.STATE)


def main(argv: list[str]) -> int:
    """Print the C of the forms whose name contains each argument."""
    for word in argv:
        for f in forms():
            if word in f.ident:
                f.trace()
                print(handler_text(f, line_directives=False))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
