"""The C of a whole core: what its `generate.py` puts around the bodies that `to_c` lowers.

The engine's handlers take the processor and a decoded instruction and go on to the next one; the macros that end them
are the engine's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .ir import Block, Call, Procedure, Src, walk
from .state import State
from .to_c import Style, body_text
from .trace import Proc


def procedures(blocks: Iterable[Block], first: Iterable[Proc]) -> list[Procedure]:
    """All procedures that bodies reach, callees before callers."""
    done: list[Procedure] = []
    seen: set[int] = set()

    def visit(proc: Procedure) -> None:
        if id(proc) in seen:
            return
        seen.add(id(proc))
        if isinstance(proc, Proc):
            proc.trace()
        scan(proc.body)
        done.append(proc)

    def scan(block: Block) -> None:
        for stmt in walk(block):
            if isinstance(stmt, Call) and isinstance(stmt.callee, Procedure):
                visit(stmt.callee)

    for proc in first:
        visit(proc)
    for block in blocks:
        scan(block)
    return done


def handler(name: str, block: Block, style: Style, src: Src | None, comment: str = "") -> str:
    """The C function of a handler; `src` is where its entry stands, for #line."""
    head = [f"/* {comment} */"] if comment else []
    if src is not None:
        head.append(f'#line {src.line} "{src.file}"')
    return "\n".join(
        [
            *head,
            f"static const struct Insn *{name}(Cpu *cpu, const struct Insn *i)",
            "{",
            "    (void)cpu, (void)i;",
            *body_text(block, style),
            "}",
            "",
        ]
    )


def reset_text(state: State) -> str:
    """`reset_state`: every register to its declared reset value."""
    lines = ["static void reset_state(Cpu *cpu)", "{"]
    for r in state:
        if r.count:
            lines.append(f"    memset(cpu->{r.name}, 0, sizeof cpu->{r.name});")
            if r.reset:
                lines.append(f"    for (uint32_t k = 0; k < {r.count}; k++) cpu->{r.name}[k] = {r.reset:#x};")
        else:
            lines.append(f"    cpu->{r.name} = {r.reset:#x};")
    return "\n".join([*lines, "}", ""])


def names_text(idents: Sequence[str]) -> str:
    """`emu_form_name`: the names of forms by number; form 0 is the undefined one."""
    out = [f"static const char *const form_names[{len(idents) + 1}] = {{", '    "undefined",']
    out += [f'    "{ident}",' for ident in idents]
    out += ["};", "const char *emu_form_name(uint32_t form)", "{"]
    out += [f'    return form <= {len(idents)} ? form_names[form] : "";', "}"]
    return "\n".join(out)
