"""The cffi builder of the compiled tiers: gathers the spec, writes the generated C, declares what to compile.

`setup.py` runs it through `cffi_modules`; `python -m emu.engine.build` builds in place. Everything becomes one unit, so
that handlers inline the memory fast path. The digest of all inputs is compiled in.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import cffi

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "emu" / "engine"
X86 = ROOT / "cores" / "x86"
LANG = ROOT / "cores" / "lang"

CALLBACKS = """
extern "Python" uint32_t py_port_read(void *, uint32_t, uint32_t);
extern "Python" void py_port_write(void *, uint32_t, uint32_t, uint32_t);
extern "Python" uint32_t py_mmio_read(void *, uint64_t, uint32_t);
extern "Python" void py_mmio_write(void *, uint64_t, uint32_t, uint32_t);
extern "Python" uint32_t py_acknowledge(void *);
extern "Python" uint32_t py_port_read_block(void *, uint32_t, uint32_t, uint32_t, uint8_t *);
extern "Python" uint32_t py_port_write_block(void *, uint32_t, uint32_t, uint32_t, const uint8_t *);
extern "Python" void py_event(void *, uint32_t, uint32_t, uint32_t);
"""


def inputs_digest() -> str:
    """SHA-256 over every source that the compiled engine comes from."""
    h = hashlib.sha256()
    for folder in (LANG, X86, ENGINE):
        for path in sorted(folder.iterdir()):
            if path.suffix in (".py", ".c", ".h"):
                h.update(path.name.encode())
                h.update(path.read_bytes())
    return h.hexdigest()


def header(state: str) -> str:
    """engine.h with the registers in place."""
    return (ENGINE / "engine.h").read_text().replace("/*STATE_MEMBERS*/", state)


def unit(*, line_directives: bool = True) -> tuple[str, str]:
    """(declarations for cdef, the whole C text)."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    from cores.x86.generate import Source

    src = Source(line_directives=line_directives)
    declarations = header(src.state)

    def part(path: Path) -> str:
        return f'#line 1 "{path}"\n' + path.read_text()

    pieces = [
        "#include <stdint.h>\n#include <stddef.h>",
        declarations,
        part(ENGINE / "core.h"),
        part(LANG / "softfloat.h"),
        part(LANG / "softfloat.c").replace('#include "softfloat.h"', ""),
        src.prelude,
        src.declarations,
        part(ENGINE / "mem.c"),
        part(X86 / "mmu.c"),
        src.procedures,
        src.handlers,
        "static const struct Insn *op_undefined(Cpu *cpu, const struct Insn *i);",
        src.tables,
        src.reset,
        part(X86 / "decode.c"),
        part(ENGINE / "block.c"),
        part(ENGINE / "run.c"),
        f'const char *emu_build_digest(void) {{ return "{inputs_digest()}"; }}\n',
    ]
    return declarations, "\n".join(pieces)


def ffi_x86() -> cffi.FFI:
    """The builder object that cffi and setuptools want."""
    declarations, text = unit()
    ffi = cffi.FFI()
    ffi.cdef(declarations + CALLBACKS)
    # Two flag stores are cheaper than one vector store put together from them.
    flags = [
        "-O2",
        "-fno-tree-slp-vectorize",
        "-fno-strict-aliasing",
        "-fno-semantic-interposition",
        "-Wall",
        "-Wextra",
    ]
    flags += os.environ.get("EMU_CFLAGS", "").split()
    ffi.set_source("emu.engine._x86", text, extra_compile_args=flags)
    return ffi


if __name__ == "__main__":
    ffi_x86().compile(tmpdir=str(ROOT), verbose=False)
