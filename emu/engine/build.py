"""The cffi builder of the compiled tiers: gathers a spec, writes the generated C, declares what to compile.

`setup.py` runs it through `cffi_modules`; `python -m emu.engine.build [CORE ...]` builds in place. Everything of a
core becomes one unit, so that handlers inline the memory fast path. The digest of all inputs is compiled in.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from importlib import import_module
from pathlib import Path

import cffi

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "emu" / "engine"
LANG = ROOT / "cores" / "lang"
# What each core has in C by hand, beside core.h and members.h, in the order of the unit.
BEFORE = {"x86": ("ring.c", "blk.c", "net.c", "apic.c", "ports.c", "mmu.c"), "ppc": ("mmu.c",)}
CORES = tuple(BEFORE)
JIT = (
    *("fold.c", "float.c", "forward.c", "expand.c", "trace.c", "group.c"),
    *("live.c", "emit.c", "verify.c", "link.c", "show.c"),
)

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
# For the guard pages around RAM.
SYSTEM = "int mprotect(void *, size_t, int);"


def inputs_digest(core: str = "x86") -> str:
    """SHA-256 over every source that the compiled engine of a core comes from."""
    h = hashlib.sha256()
    for folder in (LANG, ROOT / "cores" / core, ENGINE, ENGINE / "jit"):
        for path in sorted(folder.iterdir()):
            if path.suffix in (".py", ".c", ".h") and not path.name.startswith("_"):
                h.update(path.name.encode())
                h.update(path.read_bytes())
    return h.hexdigest()


def header(core: str, state: str) -> str:
    """engine.h with the registers and members of a core in place."""
    parts = re.split(r"^/\*([A-Z_]+)\*/\n", (ROOT / "cores" / core / "members.h").read_text(), flags=re.M)
    text = (ENGINE / "engine.h").read_text().replace("/*STATE_MEMBERS*/", state)
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        mark = f"/*{name}*/"
        if mark not in text:
            raise ValueError(f"cores/{core}/members.h: engine.h has no place named {name}")
        text = text.replace(mark, body)
    return text


def unit(core: str = "x86", *, line_directives: bool = True) -> tuple[str, str]:
    """(declarations for cdef, the whole C text)."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    src = import_module(f"cores.{core}.generate").Source(line_directives=line_directives)
    declarations = header(core, src.state)
    folder = ROOT / "cores" / core

    def part(path: Path) -> str:
        return f'#line 1 "{path}"\n' + path.read_text()

    pieces = [
        "#ifndef _GNU_SOURCE\n#define _GNU_SOURCE\n#endif",
        *(f"#include <{name}.h>" for name in ("stdint", "stddef", "stdarg", "stdio", "time", "poll", "sys/mman")),
        declarations,
        part(ENGINE / "wire.h"),
        part(ENGINE / "core.h"),
        part(folder / "core.h"),
        part(ENGINE / "chain.h"),
        part(LANG / "softfloat.h"),
        part(LANG / "softfloat.c").replace('#include "softfloat.h"', ""),
        src.prelude,
        src.declarations,
        part(ENGINE / "mem.c"),
        *(part(folder / name) for name in BEFORE[core]),
        src.procedures,
        src.handlers,
        "static const struct Insn *op_undefined(Cpu *cpu, const struct Insn *i);",
        src.tables,
        src.reset,
        part(folder / "decode.c"),
        part(ENGINE / "block.c"),
        part(ENGINE / "single.c"),
        part(ENGINE / "jit" / "x64.h"),
        part(ENGINE / "jit" / "code.c"),
        src.jit,
        part(ENGINE / "jit" / "jit.h"),
        part(folder / "jit.h"),
        *(part(ENGINE / "jit" / name) for name in JIT),
        part(folder / "events.c"),
        part(ENGINE / "run.c"),
        f'const char *emu_build_digest(void) {{ return "{inputs_digest(core)}"; }}\n',
    ]
    return declarations, "\n".join(pieces)


def builder(core: str) -> cffi.FFI:
    """The builder object that cffi and setuptools want."""
    declarations, text = unit(core)
    ffi = cffi.FFI()
    ffi.cdef(declarations + CALLBACKS + SYSTEM)
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
    ffi.set_source(f"emu.engine._{core}", text, extra_compile_args=flags)
    return ffi


def ffi_x86() -> cffi.FFI:
    """The x86 engine."""
    return builder("x86")


def ffi_ppc() -> cffi.FFI:
    """The PowerPC engine."""
    return builder("ppc")


HOST = """
extern "Python" ssize_t slirp_py_forward(const void *, size_t, void *);
extern "Python" void slirp_py_said(const char *, void *);
extern "Python" void *slirp_py_timer_new(void *, void *, void *);
extern "Python" void slirp_py_timer_free(void *, void *);
extern "Python" void slirp_py_timer_mod(void *, int64_t, void *);
int punch_hole(int fd, int64_t offset, int64_t length);
struct pollfd { int fd; short events; ...; };
struct Wire {
    void *handle;
    void *stack;
    uint32_t count, joins, listening;
    struct pollfd *polled;
    uint32_t polled_count, timeout;
    uint64_t sent, came, lost;
    ...;
};
ssize_t wire_sent(const void *, size_t, void *);
int64_t wire_clock(void *);
void wire_descriptor(int, void *);
void wire_notify(void *);
struct Wire *wire_new(void *handle);
void wire_connect(struct Wire *w, void *stack, uintptr_t input, uintptr_t fill, uintptr_t poll);
void wire_free(struct Wire *w);
void wire_put(struct Wire *w, const uint8_t *frame, uint32_t length);
const uint8_t *wire_take(struct Wire *w, uint32_t *length);
void wire_send(struct Wire *w, const uint8_t *frame, uint32_t length);
void wire_fill(struct Wire *w);
uint32_t wire_look(struct Wire *w, int64_t wait_ns);
"""
# The callbacks of libslirp have places of their own: closures would need pages that are both written and executed.
HOST_SOURCE = r"""
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <sys/types.h>

static int punch_hole(int fd, int64_t offset, int64_t length)
{
#ifdef FALLOC_FL_PUNCH_HOLE
    return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length) ? errno : 0;
#else
    (void)fd, (void)offset, (void)length;
    return ENOSYS;
#endif
}
"""


def ffi_host() -> cffi.FFI:
    """What other parts want of C: callbacks of libslirp, and calls of the host that Python lacks."""
    ffi = cffi.FFI()
    ffi.cdef(HOST)
    wire = "".join((ENGINE / name).read_text() for name in ("wire.h", "wire.c"))
    ffi.set_source("emu.engine._host", HOST_SOURCE + wire, extra_compile_args=["-O2", "-Wall", "-Wextra"])
    return ffi


if __name__ == "__main__":
    for name in sys.argv[1:] or (*CORES, "host"):
        (ffi_host() if name == "host" else builder(name)).compile(tmpdir=str(ROOT), verbose=False)
