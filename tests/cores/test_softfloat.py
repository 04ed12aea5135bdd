"""The soft float against vectors, against itself in its two forms, and against exact arithmetic.

The vectors are the TestFloat files of EMU_SHARED (BSD-3-Clause, J. R. Hauser): operands, result, exceptions.
What the x86 adds is checked row by row from the SDM, on the Python functions and on the C build.
"""

from __future__ import annotations

import gzip
import math
import os
import random
import re
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cores.lang import softfloat as sf
from cores.lang.softfloat import C0, C1, C2, C3, DENORMAL, DIVZERO, INEXACT, INVALID, OVERFLOW, UNDERFLOW, Control
from tests.cores import softfloat_build, softfloat_cases
from tests.cores.softfloat_build import SOURCE, Library, Row

ROOT = Path(__file__).parents[2]
VECTORS = Path(os.environ.get("EMU_SHARED", ROOT.parent / "shared")) / "suites" / "testfloat"
FILES = sorted(VECTORS.glob("*.txt.gz"))
SAMPLE = 40


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    options = ["-O2", "-shared", "-fPIC"]
    return Library(softfloat_build.build(tmp_path_factory.mktemp("softfloat"), "softfloat.so", options))


@pytest.fixture(params=["python", "c"])
def fx(request: pytest.FixtureRequest) -> Callable[..., Row]:
    """``fx("f32_add", a, b, control)`` in both forms."""
    if request.param == "python":
        return lambda name, *values: sf.FUNCTIONS["fx_" + name](*values)
    built: Library = request.getfixturevalue("library")
    return lambda name, *values: built.run("fx_" + name, [values])[0]


# ---- vectors ----

ROUNDING = {"near_even": sf.NEAREST, "min": sf.DOWN, "max": sf.UP, "minMag": sf.ZERO}
FORMATS = {"extF80": "f80", "ui32": "u32"}
NAMED = {"roundToInt": "round_int", "mulAdd": "muladd"}


class Vectors:
    """One file: the flat operation it exercises and its rows."""

    def __init__(self, path: Path) -> None:
        source, operation, *rest = path.name[: -len(".txt.gz")].split(".")
        options = {"nan_rule": sf.NAN_X87 if source == "extF80" else sf.NAN_SSE}
        for word in rest:
            if word in ROUNDING:
                options["round"] = ROUNDING[word]
            elif word.startswith("prec"):
                options["precision"] = {"prec32": 24, "prec64": 53}[word]
            else:
                options["tiny_before"] = word == "tinybefore"
        self.control = Control(**options).pack()
        self.order = operation[:2] if re.fullmatch("(eq|le|lt)(_.*)?", operation) else None
        if self.order:
            quiet = operation in ("eq", "le_quiet", "lt_quiet")
            operation = "compare_quiet" if quiet else "compare"
        for theirs, ours in (FORMATS | NAMED).items():
            operation = operation.replace(theirs, ours)
        self.name = f"fx_{FORMATS.get(source, source)}_{operation}"
        self.lines = gzip.decompress(path.read_bytes()).decode().splitlines()

    @staticmethod
    def values(word: str) -> tuple[int, ...]:
        return (int(word[4:], 16), int(word[:4], 16)) if len(word) == 20 else (int(word, 16),)

    def operands(self, line: str) -> Row:
        return (*(v for word in line.split()[:-2] for v in self.values(word)), self.control)

    def expected(self, line: str) -> Row:
        *_, result, flags = line.split()
        return (*self.values(result), int(flags, 16))

    def seen(self, results: Row) -> Row:
        """Our results in the words of the file."""
        *values, flags = results
        if self.order:
            wanted = {"eq": (sf.EQUAL,), "lt": (sf.LESS,), "le": (sf.LESS, sf.EQUAL)}[self.order]
            values = [int(values[0] in wanted)]
        bits = ((INEXACT, 1), (UNDERFLOW, 2), (OVERFLOW, 4), (DIVZERO, 8), (INVALID, 16))
        return (*values, sum(theirs for ours, theirs in bits if flags & ours))


def check(vectors: Vectors, lines: list[str], run: Callable[[list[Row]], list[Row]]) -> None:
    results = run([vectors.operands(line) for line in lines])
    wrong = [
        (line, got) for line, got in zip(lines, results, strict=True) if vectors.seen(got) != vectors.expected(line)
    ]
    assert not wrong, f"{vectors.name}: {len(wrong)} of {len(lines)} rows, first {wrong[:3]}"


needs_vectors = pytest.mark.skipif(not FILES, reason=f"no TestFloat vectors in {VECTORS} (set EMU_SHARED)")
each_file = pytest.mark.parametrize("path", FILES, ids=[p.name[: -len(".txt.gz")] for p in FILES])


def in_python(name: str) -> Callable[[list[Row]], list[Row]]:
    return lambda rows: [sf.FUNCTIONS[name](*row) for row in rows]


@needs_vectors
def test_a_sample_of_every_vector_file_is_met_in_python() -> None:
    for path in FILES:
        vectors = Vectors(path)
        lines = random.Random(path.name).sample(vectors.lines, min(SAMPLE, len(vectors.lines)))
        check(vectors, lines, in_python(vectors.name))


@needs_vectors
@pytest.mark.slow
@each_file
def test_every_vector_is_met_in_python(path: Path) -> None:
    vectors = Vectors(path)
    check(vectors, vectors.lines, in_python(vectors.name))


@pytest.mark.slow
@needs_vectors
def test_every_vector_is_met_in_c(library: Library) -> None:
    for path in FILES:
        vectors = Vectors(path)
        check(vectors, vectors.lines, lambda rows, name=vectors.name: library.run(name, rows))


@needs_vectors
def test_a_vector_with_one_bit_changed_is_refused() -> None:
    vectors = Vectors(FILES[0])
    line = vectors.lines[0]
    flipped = re.sub(r"(\w)( \w+)$", lambda m: f"{int(m[1], 16) ^ 1:X}{m[2]}", line)
    with pytest.raises(AssertionError, match="1 of 1 rows"):
        check(vectors, [flipped], in_python(vectors.name))


# ---- the two forms against each other ----

relaxed = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), database=None)


@pytest.mark.parametrize("name", softfloat_build.NAMES)
def test_c_and_python_give_the_same_bits(name: str, library: Library) -> None:
    @relaxed
    @given(rows=st.lists(softfloat_cases.rows(name), min_size=1, max_size=10))
    def same(rows: list[Row]) -> None:
        assert library.run(name, rows) == [sf.FUNCTIONS[name](*row) for row in rows]

    same()


def some_rows(name: str, count: int, seed: int = 1) -> list[Row]:
    """Pseudo-random rows without Hypothesis's bookkeeping."""
    rng = random.Random(f"{name}{seed}")
    source, widths = name.split("_")[1], sf.OPERATIONS[name][0][:-1]

    def operand() -> list[int]:
        if source in softfloat_cases.CORNERS:
            bits = int(source[1:])
            near = rng.choice(softfloat_cases.CORNERS[source]) + rng.choice([0, 0, 1, -1])
            near = (near ^ rng.getrandbits(1) << bits - 1) & (1 << bits) - 1
            return [rng.choice([near, rng.getrandbits(bits)])]
        if source in ("f80", "bcd"):
            sig = rng.choice([*softfloat_cases.SIGNIFICANDS_80, rng.getrandbits(64), 1 << 63 | rng.getrandbits(63)])
            e = rng.choice(
                [rng.choice(softfloat_cases.EXPONENTS_80), 0x3FFF + rng.randint(-70, 70), rng.getrandbits(15)]
            )
            return [sig, e | rng.getrandbits(1) << 15]
        return [rng.getrandbits(rng.randint(1, widths[0]))]

    def row() -> Row:
        values: list[int] = []
        while len(values) < len(widths):
            values += operand()
        special = rng.choice([0, 0, 0x10, 0x20, 0x40, 0x60, 0x200])
        unmasked = rng.choice([0, 0, rng.getrandbits(6)])
        return (*values, rng.getrandbits(4) | rng.randint(0, 2) << 7 | special | unmasked << 16)

    return [row() for _ in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize("name", softfloat_build.NAMES)
def test_c_and_python_give_the_same_bits_on_many_rows(name: str, library: Library) -> None:
    rows = some_rows(name, 20_000)
    assert library.run(name, rows) == [sf.FUNCTIONS[name](*row) for row in rows]


COMPILERS = [
    pytest.param(name, marks=[pytest.mark.slow] if number else [])
    for number, name in enumerate(softfloat_build.compilers())
]


@pytest.mark.slow
@pytest.mark.parametrize("compiler", COMPILERS)
def test_no_operation_has_undefined_behaviour(compiler: str, library: Library, tmp_path: Path) -> None:
    options = ["-O0", "-fsanitize=undefined", "-fno-sanitize-recover=all"]
    program = softfloat_build.build(tmp_path, "sanitized", options, program=True, compiler=compiler)
    jobs = [(name, some_rows(name, 400, seed=2)) for name in softfloat_build.NAMES]
    for (name, rows), results in zip(jobs, softfloat_build.run_program(program, jobs), strict=True):
        assert results == library.run(name, rows)


def test_the_functions_can_be_taken_in_as_inlines(tmp_path: Path) -> None:
    unit = tmp_path / "unit.c"
    unit.write_text(
        "#define SF_API static inline\n"
        f'#include "{SOURCE / "softfloat.c"}"\n'
        "uint32_t twice(uint32_t a);\n"
        "uint32_t twice(uint32_t a) { uint32_t r, f; fx_f32_add(a, a, 12, &r, &f); return r; }\n"
    )
    for compiler in softfloat_build.compilers():
        options = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-O2", "-c", "-o", str(tmp_path / "unit.o")]
        softfloat_build.run_compiler([compiler, *options, str(unit)])


def test_the_structured_layer_returns_values_and_collects_flags(tmp_path: Path) -> None:
    main, program = tmp_path / "main.c", tmp_path / "main"
    main.write_text(
        '#include "softfloat.h"\n#include <inttypes.h>\n#include <stdio.h>\n'
        "int main(void) {\n"
        "    sf_ctl c = {.round = SF_UP, .precision = 53, .nan_rule = SF_NAN_X87};\n"
        "    sf_f80 one = {UINT64_C(1) << 63, 0x3fff}, three = sf_i64_to_f80(3), cosine, r;\n"
        "    uint32_t flags = SF_DIVZERO;\n"
        "    r = sf_f80_div(one, three, &c, &flags);\n"
        '    printf("%" PRIx64 " %x %x\\n", r.sig, (unsigned)r.se, (unsigned)flags);\n'
        "    r = sf_f80_sincos(sf_i64_to_f80(0), &cosine, &c, &flags);\n"
        '    printf("%" PRIx64 " %" PRIx64 "\\n", r.sig, cosine.sig);\n'
        '    printf("%" PRIx32 "\\n", sf_f64_to_i32(UINT64_C(0xbff8) << 48, &c, &flags));\n'
        "    return 0;\n}\n"
    )
    compiler = next(iter(softfloat_build.compilers()), None) or pytest.skip("no C compiler found (set CC)")
    sources = [str(main), str(SOURCE / "softfloat.c")]
    softfloat_build.run_compiler([compiler, "-O0", f"-I{SOURCE}", "-o", str(program), *sources])
    lines = subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines == ["aaaaaaaaaaaab000 3ffd 224", "0 8000000000000000", "ffffffff"]


def test_the_tables_in_c_are_the_constants_python_derives() -> None:
    text = (SOURCE / "softfloat.c").read_text()
    for name in ("EXP2_TERMS", "LOG2_TERMS", "SIN_TERMS", "COS_TERMS", "ATAN_TERMS", "ATAN_TABLE"):
        body = re.search(rf"\b{name}\[(\d+)\] = \{{(.*?)\}};", text, re.DOTALL)
        assert body, name
        pairs = re.findall(r"U128\((0x[0-9a-f]+), (0x[0-9a-f]+)\)", body[2])
        assert tuple(int(hi, 16) << 64 | int(lo, 16) for hi, lo in pairs) == getattr(sf, name)
        assert int(body[1]) == len(pairs)
    for name, value in (("PI_126", sf.PI_126), ("HALF_PI_X87", sf.HALF_PI_X87), ("SQRT2", sf.SQRT2)):
        pair = re.search(rf"#define {name} U128\((\w+), (\w+)\)", text)
        assert pair and int(pair[1], 16) << 64 | int(pair[2], 0) == value, name


def test_every_flat_operation_is_an_attribute_and_keeps_to_its_widths() -> None:
    for name, (inputs, outputs) in sf.OPERATIONS.items():
        assert getattr(sf, name) is sf.FUNCTIONS[name]
        assert inputs[-1] == outputs[-1] == 32
        for row in some_rows(name, 20, seed=3):
            results = sf.FUNCTIONS[name](*row)
            assert len(results) == len(outputs)
            assert all(0 <= value < 1 << width for value, width in zip(results, outputs, strict=True))


# ---- what the manuals say, row by row ----

ONE, TWO, HALF = (1 << 63, 0x3FFF), (1 << 63, 0x4000), (1 << 63, 0x3FFE)
ZERO80, INF80, INDEFINITE80 = (0, 0), (1 << 63, 0x7FFF), (3 << 62, 0xFFFF)
DENORMAL80, LEAST80, GREATEST80 = (1, 0), (1 << 63, 1), ((1 << 64) - 1, 0x7FFE)
X87 = Control(nan_rule=sf.NAN_X87)
SSE = Control()
PPC = Control(nan_rule=sf.NAN_PPC, tiny_before=True)
ALL = 0x3F

Fx = Callable[..., Row]


def minus(x: Row) -> Row:
    return (x[0], x[1] ^ 0x8000)


@pytest.mark.parametrize("pattern", [(1 << 62, 0x3FFF), (0, 0x7FFF), (5, 0x7FFF), (0, 1)])
def test_an_unsupported_80_bit_pattern_is_an_invalid_operand(fx: Fx, pattern: Row) -> None:
    for name in ("f80_add", "f80_mul", "f80_div", "f80_prem", "f80_scale", "f80_patan", "f80_yl2x"):
        assert fx(name, *pattern, *ONE, X87.pack()) == (*INDEFINITE80, INVALID)
        assert fx(name, *ONE, *pattern, X87.pack()) == (*INDEFINITE80, INVALID)
    for name in ("f80_sqrt", "f80_round_int", "f80_sin", "f80_2xm1"):
        assert fx(name, *pattern, X87.pack()) == (*INDEFINITE80, INVALID)
    assert fx("f80_compare_quiet", *pattern, *ONE, X87.pack()) == (sf.UNORDERED, INVALID)
    assert fx("f80_to_i32", *pattern, X87.pack()) == (0x80000000, INVALID)
    assert fx("f80_to_f64", *pattern, X87.pack()) == (0xFFF8 << 48, INVALID)


def test_a_pseudo_denormal_counts_with_exponent_one_and_is_a_denormal_operand(fx: Fx) -> None:
    pseudo = (1 << 63, 0)
    assert fx("f80_add", *pseudo, *ZERO80, X87.pack()) == (*LEAST80, DENORMAL)
    assert fx("f80_add", *pseudo, *pseudo, X87.pack()) == (1 << 63, 2, DENORMAL)
    assert fx("f80_compare", *pseudo, *LEAST80, X87.pack()) == (sf.EQUAL, DENORMAL)


def test_the_x87_returns_the_nan_with_the_larger_significand_quieted(fx: Fx) -> None:
    small, large, signalling = (3 << 62 | 1, 0x7FFF), (3 << 62 | 9, 0xFFFF), (1 << 63 | 77, 0x7FFF)
    assert fx("f80_add", *small, *large, X87.pack()) == (*large, 0)
    assert fx("f80_add", *large, *small, X87.pack()) == (*large, 0)
    assert fx("f80_add", *signalling, *small, X87.pack()) == (*small, INVALID)
    assert fx("f80_add", *signalling, *ONE, X87.pack()) == (3 << 62 | 77, 0x7FFF, INVALID)
    positive = (large[0], 0x7FFF)
    assert fx("f80_mul", *large, *positive, X87.pack()) == (*positive, 0)


def test_sse_returns_the_first_nan_quieted(fx: Fx) -> None:
    assert fx("f32_add", 0x7F800001, 0x7FC00009, SSE.pack()) == (0x7FC00001, INVALID)
    assert fx("f32_add", 0x3F800000, 0x7FC00009, SSE.pack()) == (0x7FC00009, 0)
    assert fx("f64_sqrt", 0xBFF0 << 48, SSE.pack()) == (0xFFF8 << 48, INVALID)


def test_powerpc_prefers_the_addend_before_the_multiplier_and_says_why_it_is_invalid(fx: Fx) -> None:
    a, b, c = 0x3FF0 << 48, 0x7FF8 << 48 | 1, 0x7FF8 << 48 | 2
    assert fx("f64_muladd", a, b, c, PPC.pack()) == (c, 0)
    inf = 0x7FF0 << 48
    assert fx("f64_sub", inf, inf, PPC.pack()) == (0x7FF8 << 48, INVALID | sf.VXISI)
    assert fx("f64_div", 0, 0, PPC.pack()) == (0x7FF8 << 48, INVALID | sf.VXZDZ)
    assert fx("f64_to_i32", inf, PPC.pack()) == (0x7FFFFFFF, INVALID | sf.VXCVI)
    assert fx("f64_to_i32", inf, SSE.pack()) == (0x80000000, INVALID)


def test_a_powerpc_single_operation_rounds_once_to_single_and_stays_double(fx: Fx) -> None:
    single = PPC._replace(single=True).pack()
    tenth = 0x3FB999999999999A
    assert fx("f64_add", tenth, 0, single) == (0x3FB99999A0000000, INEXACT | C1)
    big = 0x47F0 << 48
    assert fx("f64_mul", big, big, single) == (0x7FF0 << 48, OVERFLOW | INEXACT | C1)
    wrapped = PPC._replace(single=True, unmasked=OVERFLOW).pack()
    assert fx("f64_mul", 0x47E0 << 48, 0x4000 << 48, wrapped) == (0x47F0 - (192 << 4) << 48, OVERFLOW)


def test_precision_control_shortens_the_significand(fx: Fx) -> None:
    third = {24: 0xAAAAAB << 40, 53: 0xAAAAAAAAAAAAA800, 64: 0xAAAAAAAAAAAAAAAB}
    for precision, sig in third.items():
        flags = INEXACT | (C1 if precision != 53 else 0)
        control = X87._replace(precision=precision).pack()
        assert fx("f80_div", *ONE, 3 << 62, 0x4000, control) == (sig, 0x3FFD, flags)
    assert fx("f80_scale", *GREATEST80, *ZERO80, X87._replace(precision=24).pack()) == (*GREATEST80, 0)


def test_an_unmasked_overflow_or_underflow_of_the_x87_moves_the_exponent_by_24576(fx: Fx) -> None:
    control = X87._replace(unmasked=OVERFLOW | UNDERFLOW).pack()
    assert fx("f80_mul", *GREATEST80, *TWO, control) == ((1 << 64) - 1, 0x7FFF - 24576, OVERFLOW)
    assert fx("f80_mul", *LEAST80, *HALF, control) == (1 << 63, 24576, UNDERFLOW)
    assert fx("f80_mul", *LEAST80, *HALF, X87.pack()) == (1 << 62, 0, 0)
    far = (0xC000 << 48, 0x400E)
    assert fx("f80_scale", *GREATEST80, *far, control) == (*INF80, OVERFLOW | INEXACT | C1)
    assert fx("f80_scale", *LEAST80, *minus(far), control) == (*ZERO80, UNDERFLOW | INEXACT)


def test_an_unmasked_invalid_divide_or_denormal_stops_the_operation(fx: Fx) -> None:
    tenth = (0xCCCCCCCCCCCCCCCD, 0x3FFB)
    assert fx("f80_div", *tenth, *ZERO80, X87._replace(unmasked=DIVZERO).pack()) == (*tenth, DIVZERO)
    assert fx("f80_add", *DENORMAL80, *tenth, X87._replace(unmasked=DENORMAL).pack()) == (*DENORMAL80, DENORMAL)
    assert fx("f80_sqrt", *minus(ONE), X87._replace(unmasked=INVALID).pack()) == (*minus(ONE), INVALID)
    assert fx("f32_mul", 1, 0x3F8CCCCD, SSE._replace(unmasked=ALL).pack()) == (1, DENORMAL)


def test_the_denormal_exception_gives_way_to_nans_invalid_and_divide_by_zero(fx: Fx) -> None:
    assert fx("f80_div", *DENORMAL80, *ZERO80, X87.pack()) == (*INF80, DIVZERO)
    assert fx("f80_add", *DENORMAL80, 3 << 62, 0x7FFF, X87.pack()) == (3 << 62, 0x7FFF, 0)
    assert fx("f80_sqrt", *minus(DENORMAL80), X87.pack()) == (*INDEFINITE80, INVALID)
    assert fx("f64_div", 1, 0, SSE.pack()) == (0x7FF0 << 48, DIVZERO)
    assert fx("f80_add", *DENORMAL80, *INF80, X87.pack()) == (*INF80, DENORMAL)


def test_daz_takes_denormals_for_zeros_and_ftz_flushes_tiny_results(fx: Fx) -> None:
    daz, ftz = SSE._replace(daz=True).pack(), SSE._replace(ftz=True).pack()
    least = 0x00800000
    assert fx("f32_add", 0x80000001, 0x80000001, daz) == (0x80000000, 0)
    assert fx("f32_div", 0x3F800000, 1, daz) == (0x7F800000, DIVZERO)
    assert fx("f32_min", 1, 2, daz) == (0, 0)
    assert fx("f32_mul", least, 0xBF000000, ftz) == (0x80000000, UNDERFLOW | INEXACT)
    assert fx("f32_mul", least, 0x3F000000, SSE.pack()) == (0x00400000, 0)
    unmasked = SSE._replace(ftz=True, unmasked=UNDERFLOW).pack()
    assert fx("f32_mul", least, 0x3F000000, unmasked)[-1] == UNDERFLOW


def test_tininess_may_be_detected_before_or_after_rounding(fx: Fx) -> None:
    operands = (0x00800001, 0x3F7FFFFE)  # the product is 2**-126 * (1 - 2**-46)
    before = SSE._replace(tiny_before=True).pack()
    assert fx("f32_mul", *operands, SSE.pack()) == (0x00800000, INEXACT | C1)
    assert fx("f32_mul", *operands, before) == (0x00800000, INEXACT | C1 | UNDERFLOW)


def test_min_and_max_return_the_second_operand_for_zeros_and_nans(fx: Fx) -> None:
    nan, one = 0x7FC00000, 0x3F800000
    assert fx("f32_min", 0, 0x80000000, SSE.pack()) == (0x80000000, 0)
    assert fx("f32_max", 0x80000000, 0, SSE.pack()) == (0, 0)
    assert fx("f32_min", nan, one, SSE.pack()) == (one, INVALID)
    assert fx("f32_max", one, nan, SSE.pack()) == (nan, INVALID)
    assert fx("f32_max", one, 0x7F800001, SSE.pack()) == (0x7F800001, INVALID)


def test_a_comparison_gives_the_bits_of_comiss(fx: Fx) -> None:
    one, two, nan = 0x3FF0 << 48, 0x4000 << 48, 0x7FF8 << 48
    assert fx("f64_compare", one, two, SSE.pack()) == (0x01, 0)
    assert fx("f64_compare", two, one, SSE.pack()) == (0x00, 0)
    assert fx("f64_compare", 1 << 63, 0, SSE.pack()) == (0x40, 0)
    assert fx("f64_compare", nan, one, SSE.pack()) == (0x45, INVALID)
    assert fx("f64_compare_quiet", nan, one, SSE.pack()) == (0x45, 0)


def test_integers_out_of_range_become_the_integer_indefinite(fx: Fx) -> None:
    assert fx("f80_to_i16", 0x8000 << 48, 0x400E, X87.pack()) == (0x8000, INVALID)
    assert fx("f80_to_i16", 0x8000 << 48, 0xC00E, X87.pack()) == (0x8000, 0)
    assert fx("f80_to_i64", 1 << 63, 0x403E, X87.pack()) == (1 << 63, INVALID)
    assert fx("f80_to_i16_trunc", 3 << 62, 0xBFFF, X87.pack()) == (0xFFFF, INEXACT)
    assert fx("f80_to_i16", 3 << 62, 0xBFFF, X87.pack()) == (0xFFFE, INEXACT | C1)
    assert fx("i16_to_f80", 0xABCDFFFF, X87.pack()) == (1 << 63, 0xBFFF, 0)


def test_fprem_leaves_the_quotient_in_the_condition_codes(fx: Fx) -> None:
    seven, two = (7 << 61, 0x4001), TWO
    assert fx("f80_prem", *seven, *two, X87.pack()) == (*ONE, C3 | C1)
    assert fx("f80_prem1", *seven, *two, X87.pack()) == (*minus(ONE), C0)
    assert fx("f80_prem", *minus(seven), *INF80, X87.pack()) == (*minus(seven), 0)
    assert fx("f80_prem", *ONE, *ZERO80, X87.pack()) == (*INDEFINITE80, INVALID)


def test_fprem_repeated_while_c2_is_set_is_the_exact_remainder(fx: Fx) -> None:
    a, b = (0xDEADBEEFCAFEF00D, 0x7ABC), (0xC0FFEE0123456789, 0x3FFF)
    x, rounds = a, 0
    while True:
        *x, flags = fx("f80_prem", *x, *b, X87.pack())
        rounds += 1
        if not flags & C2:
            break
    assert rounds > 200
    whole = (a[0] << 0x7ABC - 0x3FFF) % b[0]
    assert Fraction(x[0]) * Fraction(2) ** (x[1] - 0x3FFF) == whole


def test_fxtract_splits_a_number_and_divides_by_zero_for_zero(fx: Fx) -> None:
    assert fx("f80_xtract", 0xA000 << 48, 0xC003, X87.pack()) == (0xA000 << 48, 0xBFFF, 1 << 63, 0x4001, 0)
    assert fx("f80_xtract", *DENORMAL80, X87.pack()) == (*ONE, 0x807A << 48, 0xC00D, DENORMAL)
    assert fx("f80_xtract", *minus(ZERO80), X87.pack()) == (*minus(ZERO80), *minus(INF80), DIVZERO)
    assert fx("f80_xtract", *minus(INF80), X87.pack()) == (*minus(INF80), *INF80, 0)


def test_fscale_of_infinities_and_zeros(fx: Fx) -> None:
    assert fx("f80_scale", *ZERO80, *INF80, X87.pack()) == (*INDEFINITE80, INVALID)
    assert fx("f80_scale", *INF80, *minus(INF80), X87.pack()) == (*INDEFINITE80, INVALID)
    assert fx("f80_scale", *minus(ONE), *minus(INF80), X87.pack()) == (*minus(ZERO80), 0)
    assert fx("f80_scale", *ONE, 0xF000 << 48, 0xC000, X87.pack()) == (1 << 63, 0x3FFC, 0)


def test_packed_decimal_goes_to_and_fro(fx: Fx) -> None:
    low, high, flags = fx("f80_to_bcd", 0xF424000000000000, 0xC012, X87.pack())
    assert (low, high, flags) == (0x1000000, 0x8000, 0)
    assert fx("bcd_to_f80", low, high, X87.pack()) == (0xF424000000000000, 0xC012, 0)
    assert fx("f80_to_bcd", *INF80, X87.pack()) == (3 << 62, 0xFFFF, INVALID)
    limit = 10**18
    assert fx("f80_to_bcd", limit << 4, 0x403A, X87.pack()) == (3 << 62, 0xFFFF, INVALID)
    assert fx("f80_to_bcd", limit - 1 << 4, 0x403A, X87.pack()) == (0x9999999999999999, 0x99, 0)
    assert fx("f80_to_bcd", 3 << 62, 0x3FFF, X87.pack()) == (2, 0, INEXACT | C1)


def test_trigonometric_functions_refuse_operands_of_2_to_the_63(fx: Fx) -> None:
    for name, results in (("f80_sin", 1), ("f80_cos", 1), ("f80_sincos", 2), ("f80_ptan", 2)):
        for operand in ((1 << 63, 0x403E), (1 << 63, 0xC03E)):
            assert fx(name, *operand, X87.pack()) == (*operand * results, C2)
        assert not fx(name, (1 << 64) - 1, 0x403D, X87.pack())[-1] & C2
        assert fx(name, *INF80, X87.pack()) == (*INDEFINITE80 * results, INVALID)


def test_the_pi_of_the_x87_has_66_bits(fx: Fx) -> None:
    """The sine of the nearest extended number to pi is -2**-64; with the true pi it would be -0.925 times that."""
    pi = (0xC90FDAA22168C235, 0x4000)
    assert fx("f80_sin", *pi, X87.pack())[:2] == (1 << 63, 0xBFBF)
    assert fx("f80_ptan", *pi, X87.pack())[:2] == (1 << 63, 0x3FBF)


def test_transcendentals_of_zero_are_exact(fx: Fx) -> None:
    for zero in (ZERO80, minus(ZERO80)):
        assert fx("f80_sin", *zero, X87.pack()) == (*zero, 0)
        assert fx("f80_cos", *zero, X87.pack()) == (*ONE, 0)
        assert fx("f80_ptan", *zero, X87.pack()) == (*zero, *ONE, 0)
        assert fx("f80_2xm1", *zero, X87.pack()) == (*zero, 0)
        assert fx("f80_yl2xp1", *zero, *ONE, X87.pack()) == (*zero, 0)
        assert fx("f80_patan", *ONE, *zero, X87.pack()) == (*zero, 0)
    assert fx("f80_yl2x", *ONE, *ONE, X87.pack()) == (*ZERO80, 0)


def test_logarithms_of_what_has_none_are_invalid_or_divide_by_zero(fx: Fx) -> None:
    assert fx("f80_yl2x", *ZERO80, *ONE, X87.pack()) == (*minus(INF80), DIVZERO)
    assert fx("f80_yl2x", *ZERO80, *ZERO80, X87.pack()) == (*INDEFINITE80, INVALID)
    assert fx("f80_yl2x", *minus(ONE), *ONE, X87.pack()) == (*INDEFINITE80, INVALID)
    assert fx("f80_yl2x", *ONE, *INF80, X87.pack()) == (*INDEFINITE80, INVALID)
    assert fx("f80_yl2x", *HALF, *INF80, X87.pack()) == (*minus(INF80), 0)
    assert fx("f80_yl2x", *INF80, *minus(ONE), X87.pack()) == (*minus(INF80), 0)
    assert fx("f80_yl2xp1", *ZERO80, *INF80, X87.pack()) == (*INDEFINITE80, INVALID)
    assert fx("f80_yl2xp1", *minus(INF80), *ONE, X87.pack()) == (*INDEFINITE80, INVALID)


def test_fpatan_knows_all_quadrants_and_infinities(fx: Fx) -> None:
    pi = 0xC90FDAA22168C235
    three_quarters = 0x96CBE3F9990E91A8
    rounded = INEXACT | C1
    for x, y, expected in (
        (ZERO80, ONE, (pi, 0x3FFF)),
        (minus(ONE), ZERO80, (pi, 0x4000)),
        (minus(ONE), minus(ZERO80), (pi, 0xC000)),
        (ONE, minus(ONE), (pi, 0xBFFE)),
        (minus(INF80), INF80, (three_quarters, 0x4000)),
        (INF80, INF80, (pi, 0x3FFE)),
        (ONE, minus(INF80), (pi, 0xBFFF)),
        (minus(ZERO80), ZERO80, (pi, 0x4000)),
    ):
        assert fx("f80_patan", *x, *y, X87.pack()) == (*expected, rounded)
    assert fx("f80_patan", *INF80, *minus(ONE), X87.pack()) == (*minus(ZERO80), 0)


# ---- transcendentals against exact arithmetic ----

BITS = 400
UNIT = 1 << BITS


def number(x: Row) -> Fraction:
    value = Fraction(x[0]) * Fraction(2) ** (max(x[1] & 0x7FFF, 1) - 16383 - 63)
    return -value if x[1] >> 15 else value


def taylor(first: Fraction, ratio: Callable[[int], Fraction]) -> Fraction:
    """first * (1 + ratio(0) * (1 + ratio(1) * ...)), until a term is below 2**-BITS of the sum."""
    total = term = round(first * UNIT)
    n = 0
    while term:
        r = ratio(n)
        term = round(Fraction(term * r.numerator, r.denominator))
        total += term
        n += 1
    return Fraction(total, UNIT)


def short(x: Fraction) -> Fraction:
    return Fraction(round(x * UNIT), UNIT)


LN2 = Fraction(sum(UNIT // (k << k) for k in range(1, BITS)), UNIT)


def exact_atan(u: Fraction) -> Fraction:
    halvings = 0
    while u > Fraction(1, 16):
        u = short(u / (1 + short(Fraction(math.isqrt(round((1 + u * u) * UNIT * UNIT)), UNIT))))
        halvings += 1
    scale = short(u * u)
    total, power, n = Fraction(0), Fraction(1), 0
    while abs(power) > Fraction(1, UNIT):
        total += power / (2 * n + 1)
        power = short(-power * scale)
        n += 1
    return u * total * 2**halvings


PI = 4 * exact_atan(Fraction(1))


def exact_log2(x: Fraction) -> Fraction:
    k = x.numerator.bit_length() - x.denominator.bit_length()
    m = x / Fraction(2) ** k
    s = (m - 1) / (m + 1)
    scale = short(s * s)
    total, power, n = Fraction(0), Fraction(1), 0
    while power > Fraction(1, UNIT):
        total += power / (2 * n + 1)
        power = short(power * scale)
        n += 1
    return k + 2 * s * total / LN2


def exact_sin_cos(x: Fraction) -> tuple[Fraction, Fraction]:
    """With the pi of the x87."""
    quarter = Fraction(sf.HALF_PI_X87, 1 << 67)
    turns = round(x / quarter)
    r = x - turns * quarter
    square = short(r * r)
    s = r * taylor(Fraction(1), lambda n: -square / ((2 * n + 2) * (2 * n + 3)))
    c = taylor(Fraction(1), lambda n: -square / ((2 * n + 1) * (2 * n + 2)))
    return ((s, c), (c, -s), (-s, -c), (-c, s))[turns & 3]


def exact(name: str, a: Row, b: Row) -> Fraction:
    x, y = number(a), number(b)
    if name == "f80_2xm1":
        t = x * LN2
        return t * taylor(Fraction(1), lambda n: short(t) / (n + 2))
    if name == "f80_yl2x":
        return y * exact_log2(x)
    if name == "f80_yl2xp1":
        return y * exact_log2(1 + x)
    if name == "f80_patan":
        steep = abs(y) > abs(x)
        angle = exact_atan(min(abs(x), abs(y)) / max(abs(x), abs(y)))
        angle = PI / 2 - angle if steep else angle
        angle = PI - angle if x < 0 else angle
        return -angle if y < 0 else angle
    s, c = exact_sin_cos(x)
    return {"f80_sin": s, "f80_cos": c, "f80_ptan": s / c}[name]


def drawn(rng: random.Random, low: int, high: int, signed: bool = True) -> Row:
    sig = 1 << 63 | rng.choice([rng.getrandbits(63), rng.getrandbits(8), (1 << 63) - 1 - rng.getrandbits(8)])
    return sig, 0x3FFF + rng.randint(low, high) | (rng.getrandbits(1) << 15 if signed else 0)


def arguments(name: str, rng: random.Random) -> tuple[Row, Row]:
    y = drawn(rng, -20, 20)
    if name == "f80_2xm1":
        return drawn(rng, rng.choice([-80, -4]), -1), ()
    if name == "f80_patan":
        x = drawn(rng, -40, 40)
        y = drawn(rng, -40, 40)
        near = (1 << 63 | rng.getrandbits(63), (x[1] & 0x7FFF) + rng.randint(-6, 6) | rng.getrandbits(1) << 15)
        return x, rng.choice([y, near])
    if name == "f80_yl2xp1":
        return drawn(rng, -90, -3), y
    if name == "f80_yl2x":
        bits = rng.getrandbits(rng.randint(1, 62)) | 1
        near_one = rng.choice([(1 << 63 | bits, 0x3FFF), ((1 << 64) - 1 - bits, 0x3FFE)])
        return rng.choice([near_one, drawn(rng, -20, 20, False), drawn(rng, -16382, 16383, False)]), y
    return drawn(rng, rng.choice([-40, -3]), rng.choice([8, 62])), ()


@pytest.mark.parametrize("rounding", range(4), ids=["nearest", "down", "up", "zero"])
@pytest.mark.parametrize("name", ["f80_2xm1", "f80_yl2x", "f80_yl2xp1", "f80_patan", "f80_sin", "f80_cos", "f80_ptan"])
def test_a_transcendental_is_the_neighbour_of_the_exact_result(name: str, rounding: int, library: Library) -> None:
    """Off by half a unit in the last place and 2**-40 of it at most; on the right side in directed rounding."""
    rng = random.Random(f"{name}{rounding}")
    control = X87._replace(round=rounding).pack()
    for _ in range(40):
        a, b = arguments(name, rng)
        result = library.run("fx_" + name, [(*a, *b, control)])[0]
        wanted, got = exact(name, a, b or ONE), number(result)
        unit = Fraction(2) ** ((result[1] & 0x7FFF) - 16383 - 63)
        bound = unit / 2 if rounding == sf.NEAREST else unit
        assert abs(got - wanted) <= bound * (1 + Fraction(1, 1 << 40)), (a, b)
        if rounding == sf.DOWN:
            assert got < wanted
        elif rounding == sf.UP:
            assert got > wanted
        elif rounding == sf.ZERO:
            assert abs(got) < abs(wanted)
        assert result[-1] & ~C1 == INEXACT


def test_a_transcendental_of_a_rising_argument_never_falls(library: Library) -> None:
    start = (0xB504F333F9DE6484 - 64, 0x3FFE)  # around the place where the reduction of the logarithm changes
    for name, tail in (("f80_yl2x", ONE), ("f80_2xm1", ()), ("f80_sin", ()), ("f80_ptan", ()), ("f80_patan", ONE)):
        rows = [(start[0] + i, start[1], *tail, X87.pack()) for i in range(128)]
        values = [number(r) for r in library.run("fx_" + name, rows)]
        falling = name == "f80_patan"  # the angle of (x, 1) falls as x rises
        assert values == sorted(values, reverse=falling)


@pytest.mark.parametrize("name", ["f80_sin", "f80_ptan", "f80_patan", "f80_2xm1", "f80_yl2xp1"])
def test_tiny_arguments_round_to_the_right_side(name: str, library: Library) -> None:
    """sin x < x < tan x, and atan x < x, however small x is."""
    x = (0x9234567890ABCDEF, 0x3FFF - 1000)
    tail = {"f80_patan": ONE, "f80_yl2xp1": ONE}.get(name, ())
    first = (*ONE, *x) if name == "f80_patan" else (*x, *tail)
    down, up = (library.run("fx_" + name, [(*first, X87._replace(round=r).pack())])[0][:2] for r in (sf.DOWN, sf.UP))
    assert up[0] - down[0] == 1
    if name == "f80_ptan":
        assert down == x
    elif name in ("f80_sin", "f80_patan"):
        assert up == x
