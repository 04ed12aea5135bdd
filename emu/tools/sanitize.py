"""The engine built for testing: the generated unit and a fuzzer of `tests/engine` as one program, with sanitizers.

`python -m emu.tools.sanitize [x86] [ppc] [--plain] ARGUMENTS` builds it for these cores, or for all, when anything
changed, and runs it with the arguments; see fuzz_main.c for those. With `--board` the same engine runs inside Python
on whole boards, see tests/emu/fuzz_board.py and fuzz_ppc_board.py; with `--jit` it runs programs that get hot against
the interpreter, see tests/engine/fuzz_jit.py; with `--disk` or `--net` it gets random descriptor chains, see
fuzz_blk.c and fuzz_net.c. `--both` does the first three at once. The sanitized builds have no tail calls, so they use
the trampoline of core.h. EMU_CC chooses the compiler (gcc; --board takes no other), EMU_SANITIZE the sanitizers
(address,undefined).
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from emu.engine.build import CORES, ROOT, builder, inputs_digest, unit

TESTS = ROOT / "tests" / "engine"
FUZZERS = {"x86": TESTS / "fuzz_main.c", "ppc": TESTS / "fuzz_ppc.c"}
RING_FUZZERS = {"--disk": TESTS / "fuzz_blk.c", "--net": TESTS / "fuzz_net.c"}
BOARD_FUZZERS = {"x86": "tests.emu.fuzz_board", "ppc": "tests.emu.fuzz_ppc_board"}
FLOATING = ("fpr_sig", "fpr_se", "fctrl", "fstat", "ftag", "fip", "fcs", "fdp", "fds", "fop", "xmm_lo", "xmm_hi")


def grammar(core: str) -> str:
    """Registers with their places, and every encoding of the form table, as C data."""
    return {"x86": _grammar_x86, "ppc": _grammar_ppc}[core]()


def _grammar_x86() -> str:
    from cores.x86 import state as S
    from cores.x86.decoder import tables

    out = ["struct Field { const char *name; uint32_t offset; uint8_t size, width, floating; uint32_t count; };"]
    out.append("static const struct Field FIELDS[] = {")
    for r in S.STATE:
        element = f"sizeof(((Cpu *)0)->{r.name}{'[0]' if r.count else ''})"
        flags = f"{element}, {r.width}, {int(r.name in FLOATING)}, {r.count or 1}"
        out.append(f'    {{"{r.name}", offsetof(Cpu, {r.name}), {flags}}},')
    out += ["};", "enum { FIELD_COUNT = sizeof FIELDS / sizeof *FIELDS };"]
    out.append("struct Encoding { uint8_t map, opcode, opreg, modrm; int8_t prefix, digit, mem, rm; };")
    out.append("static const struct Encoding ENCODINGS[] = {")
    forms = tables().forms
    rows = {
        f"    {{{f.map}, {f.opcode}, {int(f.opreg)}, {int(f.modrm)}, {f.prefix}, {f.digit}, {f.mem}, {f.rm}}},": None
        for f in forms
    }
    out += rows
    out += ["};", "enum { ENCODING_COUNT = sizeof ENCODINGS / sizeof *ENCODINGS };"]
    out.append(f"enum {{ FORM_COUNT = {len(forms)} }};")
    return "\n".join(out) + "\n"


# What a drawn word of a PowerPC form needs, as bits; see fuzz_ppc.c.
_FIELD_BITS = {"bd": 1, "li": 2, "d": 4, "ra": 8, "ra0": 8, "rb": 16}


def _grammar_ppc() -> str:
    from cores.ppc import state as S
    from cores.ppc.decoder import forms
    from cores.ppc.mmu440 import MMUCR_MASK, WORD0, WORD1, WORD2
    from cores.ppc.mmu_e500 import WRITABLE
    from cores.ppc.models import FEATURES, MODELS, reset_values
    from cores.ppc.validate import CONFIGURATION, ONLY_MC

    masks = {"mmucr": MMUCR_MASK, "utlb0": WORD0, "utlb1": WORD1, "utlb2": WORD2, "pid": 0xFF, "pc": 0xFFFFFFFC,
             "ivpr": 0xFFFF0000, "ivor": 0xFFF0, "reserve_addr": (1 << 36) - 1, "doorbells": 31, "tlb0_next": 3,
             "pins": 7} | {f"mas{n}": m for n, m in WRITABLE.items()}  # fmt: skip
    out = ["struct Field { const char *name; uint32_t offset; uint8_t size, kind; uint32_t count; uint64_t mask; };"]
    out.append("enum { FREE, FIXED, ONLY_MC, ONLY_SPE, TLB };")
    out.append("static const struct Field FIELDS[] = {")
    for r in S.STATE:
        kind = "FIXED" if r.name in CONFIGURATION else "ONLY_MC" if r.name in ONLY_MC else "FREE"
        if r.name.startswith(("etlb", "utlb")):
            kind = "TLB"
        elif r.name == "tb_stopped":
            kind = "ONLY_SPE"
        mask = masks.get(r.name, (1 << r.width) - 1)
        element = f"sizeof(((Cpu *)0)->{r.name}{'[0]' if r.count else ''})"
        out.append(f'    {{"{r.name}", offsetof(Cpu, {r.name}), {element}, {kind}, {r.count or 1}, {mask:#x}ull}},')
    out += ["};", "enum { FIELD_COUNT = sizeof FIELDS / sizeof *FIELDS };"]
    out.append("struct Value { uint32_t offset; uint8_t size; uint64_t value; };")
    out.append(
        "struct Model { const char *name; uint32_t features, line; const struct Value *values; uint32_t count; };"
    )
    rows = []
    for n, m in enumerate(MODELS.values()):
        values = []
        for name, value in reset_values(m).items():
            r = S.STATE.registers[name]
            for k, v in value.items() if isinstance(value, dict) else ((0, value),):
                element = f"sizeof(((Cpu *)0)->{name}{'[0]' if r.count else ''})"
                values.append(f"    {{offsetof(Cpu, {name}) + {k} * {element}, {element}, {v:#x}}},")
        out += [f"static const struct Value VALUES{n}[] = {{", *values, "};"]
        rows.append(f'    {{"{m.name}", {m.features:#x}, {m.line}, VALUES{n}, {len(values)}}},')
    out += ["static const struct Model MODELS[] = {", *rows, "};", f"enum {{ MODEL_COUNT = {len(rows)} }};"]
    out += [f"enum {{ HAS_{name.upper()} = {bit} }};" for name, bit in FEATURES.items()]
    out.append("struct Encoding { uint32_t mask, value, needs, fields; };")
    out.append("static const struct Encoding ENCODINGS[] = {")
    found = list(forms())
    for f in found:
        fields = 0
        for name in f.params:
            fields |= _FIELD_BITS.get(name, 0)
        out.append(f"    {{{f.mask:#x}, {f.value:#x}, {FEATURES.get(f.entry.needs, 0):#x}, {fields}}},")
    out += ["};", "enum { ENCODING_COUNT = sizeof ENCODINGS / sizeof *ENCODINGS };"]
    out.append(f"enum {{ FORM_COUNT = {len(found)} }};")
    return "\n".join(out) + "\n"


def _run(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{result.stderr[-4000:]}")


def build(
    core: str = "x86",
    *,
    sanitizers: str | None = None,
    compiler: str | None = None,
    trampoline: bool = True,
    fuzzer: Path | None = None,
) -> Path:
    """The fuzz program; compiled only if its sources, its compiler or its flags changed. Raises RuntimeError.

    `sanitizers` is what -fsanitize gets, "" for none.
    """
    if sanitizers is None:
        sanitizers = os.environ.get("EMU_SANITIZE", "address,undefined")
    compiler = compiler or os.environ.get("EMU_CC", "gcc")
    flags = ["-fno-strict-aliasing", "-w", "-DEMU_JIT_VERIFY"]
    flags += [f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all", "-O1"] if sanitizers else ["-O2"]
    if trampoline:
        flags.append("-DEMU_TRAMPOLINE")
    declarations, text = unit(core, line_directives=False)
    text = text.replace(inputs_digest(core), "")  # says nothing about what the code does
    names = grammar(core)
    engine = hashlib.sha256(" ".join([text, names, compiler, *flags]).encode()).hexdigest()[:16]
    folder = ROOT / "build" / "sanitize"
    folder.mkdir(parents=True, exist_ok=True)
    here = folder / engine
    fuzzer = fuzzer or FUZZERS[core]
    whole = hashlib.sha256(b"".join(f.read_bytes() for f in (fuzzer, *sorted(TESTS.glob("fuzz_*.h"))))).hexdigest()[:16]
    program = here / f"fuzz-{whole}"
    if program.exists():
        return program
    here.mkdir(exist_ok=True)
    (here / "unit.h").write_text(declarations)
    (here / "unit.c").write_text(text)
    (here / "grammar.h").write_text(names)
    engine_object = here / "unit.o"
    if not engine_object.exists():
        fresh = here / f"unit.{os.getpid()}.o"
        _run([compiler, *flags, "-c", str(here / "unit.c"), "-o", str(fresh)])
        fresh.replace(engine_object)
    fresh = here / f"fuzz.{os.getpid()}"
    _run([compiler, *flags, f"-I{here}", str(fuzzer), str(engine_object), "-o", str(fresh)])
    fresh.replace(program)
    return program


def build_extension(core: str = "x86", *, sanitizers: bool = True) -> Path:
    """The engine of a core as a Python extension that checks the JIT's nodes, with both sanitizers or none.

    Raises RuntimeError.
    """
    flags = ["-fno-strict-aliasing", "-w", "-O1", "-DEMU_TRAMPOLINE", "-DEMU_JIT_VERIFY", "-fPIC", "-shared"]
    if sanitizers:
        flags += ["-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    flags.append(f"-I{sysconfig.get_path('include')}")
    key = hashlib.sha256(" ".join([inputs_digest(core), sys.version, *flags]).encode()).hexdigest()[:16]
    here = ROOT / "build" / "sanitize" / key
    library = here / f"_{core}{sysconfig.get_config_var('EXT_SUFFIX')}"
    if not library.exists():
        here.mkdir(parents=True, exist_ok=True)
        source, fresh = here / f"_{core}.c", here / f"fresh.{os.getpid()}"
        builder(core).emit_c_code(str(source))
        _run(["gcc", *flags, str(source), "-o", str(fresh)])
        fresh.replace(library)
    return library


def board_command(words: list[str], core: str = "x86") -> tuple[list[str], dict[str, str]]:
    """What runs random guests on whole boards with the sanitized engine, and its environment. Raises RuntimeError."""
    library = build_extension(core)
    return [sys.executable, "-m", BOARD_FUZZERS[core], "--engine", str(library), *words], preloaded()


def jit_command(words: list[str]) -> tuple[list[str], dict[str, str]]:
    """What runs hot programs on the sanitized engines of both cores, and its environment. Raises RuntimeError."""
    engines = [part for core in CORES for part in ("--engine", f"{core}={build_extension(core)}")]
    return [sys.executable, "-m", "tests.engine.fuzz_jit", *engines, *words], preloaded()


def preloaded() -> dict[str, str]:
    """An environment for a Python that loads a sanitized engine."""
    found = [
        subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    # The interpreter itself is not built with them, so they come first by force, and what it leaks is not our matter.
    options = {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1", "LD_PRELOAD": " ".join(found)}
    return {**os.environ, **options, "PYTHONPATH": str(ROOT)}


def main(words: list[str]) -> int:
    """Build and run; returns the first status that is not 0."""
    rest = [w for w in words if w not in ("--plain", "--board", "--jit", "--both", *RING_FUZZERS, *CORES)]
    chosen = [core for core in CORES if core in words] or list(CORES)
    runs: list[tuple[list[str], dict[str, str] | None]] = []
    try:
        for fuzzer in (path for word, path in RING_FUZZERS.items() if word in words):
            runs.append(([str(build(sanitizers="" if "--plain" in words else None, fuzzer=fuzzer)), *rest], None))
        if not {"--board", "--jit", *RING_FUZZERS} & set(words):
            for core in chosen:
                program = build(core, sanitizers="" if "--plain" in words else None)
                runs.append(([str(program), *rest], None))
        if "--board" in words or "--both" in words:
            runs += [board_command(rest, core) for core in chosen]
        if "--jit" in words or "--both" in words:
            runs.append(jit_command(rest))
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 2
    processes = [subprocess.Popen(command, env=environment, cwd=ROOT) for command, environment in runs]
    return next((status for status in [process.wait() for process in processes] if status), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
