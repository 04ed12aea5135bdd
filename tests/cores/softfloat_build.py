"""Builds cores/lang/softfloat.c with a driver made from OPERATIONS, for the tests of the soft float.

The driver runs many rows of one operation per call: as a shared object through ``Library``, or as a program that reads
rows on its standard input (for a build with sanitizers, which must not end the test process).
"""

from __future__ import annotations

import ctypes
import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from cores.lang.softfloat import OPERATIONS

SOURCE = Path(__file__).parents[2] / "cores" / "lang"
NAMES = list(OPERATIONS)
Row = tuple[int, ...]

MAIN = r"""
#include <stdio.h>
#include <stdlib.h>
int main(void) {
    uint64_t head[4]; /* operation, rows, operands and results of a row */
    while (fread(head, sizeof head, 1, stdin) == 1) {
        uint64_t *in = malloc(head[1] * head[2] * 8), *out = malloc(head[1] * head[3] * 8);
        if (!in || !out || fread(in, 8, head[1] * head[2], stdin) != head[1] * head[2]) return 2;
        batch((unsigned)head[0], in, out, head[1]);
        if (fwrite(out, 8, head[1] * head[3], stdout) != head[1] * head[3]) return 3;
        free(in);
        free(out);
    }
    return 0;
}
"""


def driver_source() -> str:
    """C text of ``batch(operation, operands, results, rows)``; every value travels in 64 bits."""
    cases = []
    for number, (name, (inputs, outputs)) in enumerate(OPERATIONS.items()):
        arguments = [f"(uint{w}_t)in[{i}]" for i, w in enumerate(inputs)] + [f"&r{i}" for i in range(len(outputs))]
        results = " ".join(f"uint{w}_t r{i};" for i, w in enumerate(outputs))
        stores = " ".join(f"out[{i}] = r{i};" for i in range(len(outputs)))
        cases.append(
            f"    case {number}:\n        for (; rows--; in += {len(inputs)}, out += {len(outputs)}) "
            f"{{ {results} {name}({', '.join(arguments)}); {stores} }}\n        break;\n"
        )
    return (
        '#include "softfloat.h"\n#include <stddef.h>\n'
        "void batch(unsigned operation, const uint64_t *in, uint64_t *out, size_t rows);\n"
        "void batch(unsigned operation, const uint64_t *in, uint64_t *out, size_t rows) {\n    switch (operation) {\n"
        + "".join(cases)
        + "    }\n}\n"
    )


def compilers() -> list[str]:
    """The C compilers at hand, the preferred one first."""
    wanted = [os.environ.get("CC", "cc"), "gcc", "clang"]
    found = {name: shutil.which(name) for name in wanted}
    return list({Path(path).resolve(): name for name, path in reversed(found.items()) if path}.values())[::-1]


def run_compiler(command: Sequence[str]) -> None:
    """Runs a compiler; what it has to say is the error."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")


def build(
    folder: Path, name: str, options: Sequence[str], *, program: bool = False, compiler: str | None = None
) -> Path:
    """Compiles softfloat.c and the driver into folder/name."""
    cc = compiler or next(iter(compilers()), None)
    if cc is None:
        pytest.skip("no C compiler found (set CC)")
    driver, target = folder / f"{name}.driver.c", folder / name
    driver.write_text(driver_source() + (MAIN if program else ""))
    warnings = ["-std=c11", "-Wall", "-Wextra", "-Werror"]
    sources = [str(driver), str(SOURCE / "softfloat.c")]
    command = [cc, *warnings, *options, f"-I{SOURCE}", "-o", str(target), *sources]
    run_compiler(command)
    return target


class Library:
    """The shared object: ``run`` takes rows of operands, control word last, and returns rows of results, flags last."""

    def __init__(self, path: Path) -> None:
        self.batch = ctypes.CDLL(str(path)).batch
        self.batch.restype = None
        self.batch.argtypes = [ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]

    def run(self, name: str, rows: Sequence[Row]) -> list[Row]:
        inputs, outputs = OPERATIONS[name]
        source = (ctypes.c_uint64 * (len(inputs) * len(rows)))(*(v for row in rows for v in row))
        target = (ctypes.c_uint64 * (len(outputs) * len(rows)))()
        self.batch(NAMES.index(name), source, target, len(rows))
        return list(zip(*[iter(target)] * len(outputs), strict=True))

    def function(self, name: str) -> Callable[..., Row]:
        return lambda *values: self.run(name, [values])[0]


def run_program(path: Path, jobs: Iterable[tuple[str, Sequence[Row]]]) -> list[list[Row]]:
    """Runs the program built with ``program=True`` over all jobs; a sanitizer report raises."""
    jobs = list(jobs)
    data = bytearray()
    for name, rows in jobs:
        inputs, outputs = OPERATIONS[name]
        data += struct.pack("<4Q", NAMES.index(name), len(rows), len(inputs), len(outputs))
        for row in rows:
            data += struct.pack(f"<{len(inputs)}Q", *row)
    done = subprocess.run([str(path)], input=bytes(data), capture_output=True, check=False)
    if done.returncode or done.stderr:
        raise RuntimeError(f"exit {done.returncode}: {done.stderr.decode()}")
    results, at = [], 0
    for name, rows in jobs:
        width = 8 * len(OPERATIONS[name][1])
        results.append([struct.unpack_from(f"<{width // 8}Q", done.stdout, at + i * width) for i in range(len(rows))])
        at += width * len(rows)
    return results
