"""Every PowerPC form lowers to C that a compiler takes without a warning about its types."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from cores.lang.ir import Block, Call, Callee, Procedure, walk
from cores.lang.to_c import PRELUDE, Style, body_text, ctype, procedure_signature, procedure_text, state_struct
from cores.ppc import state as S
from cores.ppc.decoder import field_names, forms
from cores.ppc.procedures import ROOTS

LANG = Path(__file__).parents[2] / "cores" / "lang"


def callees(block: Block, found: dict[str, Callee]) -> None:
    """What a body calls, by name; the callees of procedures before them."""
    for stmt in walk(block):
        if isinstance(stmt, Call) and stmt.callee.name not in found:
            if isinstance(stmt.callee, Procedure):
                callees(stmt.callee.body, found)
            found[stmt.callee.name] = stmt.callee


def prototype(callee: Callee) -> str:
    """The C declaration of an extern as bodies call it."""
    params = ["Cpu *cpu", *(ctype(w) for w in callee.params)]
    lone = len(callee.results) == 1 and not callee.faults and not callee.raises
    params += [] if lone else [f"{ctype(w)} *" for w in callee.results]
    kind = "int" if callee.faults or callee.raises else ctype(callee.results[0]) if lone else "void"
    return f"{kind} {callee.name}({', '.join(params)});"


def unit() -> str:
    """One translation unit with all forms."""
    found: dict[str, Callee] = {}
    fields = {"next"}
    for proc in ROOTS:
        proc.trace()
        callees(proc.body, found)
        found[proc.name] = proc
    for form in forms():
        form.trace()
        callees(form.block, found)
        fields.update(field_names(form.ident))
    lines = [
        '#include "softfloat.h"',
        "#define unlikely(x) (x)",
        "#define likely(x) (x)",
        PRELUDE,
        "typedef struct Cpu {",
        state_struct(S.STATE),
        "} Cpu;",
    ]
    lines += ["struct Insn {", *(f"    uint32_t {name};" for name in sorted(fields)), "};"]
    for callee in found.values():
        if not isinstance(callee, Procedure) and not callee.name.startswith("fx_"):
            lines.append(prototype(callee))
    lines += ["static " + procedure_signature(p) + ";" for p in found.values() if isinstance(p, Procedure)]
    lines += [procedure_text(p, line_directives=False) for p in found.values() if isinstance(p, Procedure)]
    style = Style(branch="return {target};", jump="return {target};")
    for form in forms():
        lines += [f"uint32_t op_{form.ident}(Cpu *cpu, const struct Insn *i)", "{", "    (void)cpu; (void)i;"]
        lines += [*body_text(form.block, style), "}"]
    return "\n".join(lines) + "\n"


def test_all_forms_compile(tmp_path: Path) -> None:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    source = tmp_path / "forms.c"
    source.write_text(unit())
    command = [compiler, "-std=gnu11", "-fsyntax-only", "-Werror", "-Wall", "-Wno-unused", f"-I{LANG}", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:4000]
