"""The JIT's encoder against objdump, and its code buffer against what the kernel says of it.

The encoder's test writes a C program with one call per line, runs it for the bytes, and disassembles them.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DRIVER = ROOT / "tests" / "engine" / "jit_code_main.c"

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
needs_objdump = pytest.mark.skipif(shutil.which("objdump") is None, reason="objdump is not installed")
needs_host = pytest.mark.skipif(
    platform.machine() != "x86_64" or sys.platform != "linux", reason="code runs on x86-64 Linux only"
)

WIDE = "rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15".split()
NAMES = {
    8: WIDE,
    4: ["e" + r[1:] if r[1].isalpha() else r + "d" for r in WIDE],
    2: [r[1:] if r[1].isalpha() else r + "w" for r in WIDE],
    1: "al cl dl bl spl bpl sil dil".split() + [r + "b" for r in WIDE[8:]],
}
POINTER = {1: "BYTE", 2: "WORD", 4: "DWORD", 8: "QWORD", 10: "TBYTE", 16: "XMMWORD"}
CONDITIONS = "o no b ae e ne be a s ns p np l ge le g".split()
ALU = "add or adc sbb and sub xor cmp".split()
SHIFTS = {"rol": 0, "ror": 1, "rcl": 2, "rcr": 3, "shl": 4, "shr": 5, "sar": 7}
SIZES = (1, 2, 4, 8)
LARGER = (2, 4, 8)
LARGEST = (4, 8)
# Registers that differ in how they are encoded, as an operand and in an address.
SOME = (0, 1, 4, 5, 6, 8, 12, 13, 15)
PAIRS = [(a, b) for a in SOME for b in SOME]
DISPLACEMENTS = (0, 8, 127, -128, 128, -129, 0x12345678, -0x80000000)

Case = tuple[str, str]  # the call without the emitter, and what objdump says
Mem = tuple[str, str]  # the C expression, and the address in brackets


def memory(base: int, index: int, scale: int, disp: int) -> Mem:
    c = f"mem_index({base}, {index}, {scale}, {c_int(disp)})" if index >= 0 else f"mem_at({base}, {c_int(disp)})"
    parts = [WIDE[base]] * (base >= 0) + [f"{WIDE[index]}*{scale}"] * (index >= 0)
    if not parts:
        return c, f"{disp & (1 << 64) - 1:#x}"
    shift = f"{'-' if disp < 0 else '+'}{abs(disp):#x}" if disp else ""
    return c, f"[{'+'.join(parts)}{shift}]"


def c_int(value: int) -> str:
    return "INT32_MIN" if value == -0x80000000 else str(value)


def of(size: int, mem: Mem) -> str:
    return f"{POINTER[size]} PTR {mem[1]}"


def masked(value: int, size: int) -> str:
    return f"{value & (1 << 8 * size) - 1:#x}"


# One of each way to encode an address.
SHAPES = [
    *(memory(base, -1, 1, disp) for base in (0, 4, 5, 12, 13) for disp in (0, 32, 0x1000)),
    memory(3, 12, 8, 4),
    memory(13, 5, 1, 0),
    memory(4, 9, 2, -4),
    memory(-1, 14, 4, 0x40),
    memory(-1, -1, 1, 0x1234),
]


def addresses() -> Iterator[Case]:
    for base, disp in product(range(-1, 16), DISPLACEMENTS):
        for index in (-1, 0, 3, 5, 7, 8, 12, 13, 15):
            for scale in (1, 2, 4, 8) if index >= 0 else (1,):
                mem = memory(base, index, scale, disp)
                yield f"x_mov_rm(E, 4, 2, {mem[0]})", f"mov edx,{of(4, mem)}"
    for base, index in product(range(-1, 16), range(-1, 16)):
        if index != 4:
            mem = memory(base, index, 4, 16)
            yield f"x_lea(E, 8, 9, {mem[0]})", f"lea r9,{mem[1]}"


def arithmetic() -> Iterator[Case]:
    for (op, name), size in product(enumerate(ALU), SIZES):
        r = NAMES[size]
        for a, b in PAIRS:
            yield f"x_alu_rr(E, {op}, {size}, {a}, {b})", f"{name} {r[a]},{r[b]}"
        for a, mem in product((0, 4, 7, 13), SHAPES):
            yield f"x_alu_rm(E, {op}, {size}, {a}, {mem[0]})", f"{name} {r[a]},{of(size, mem)}"
            yield f"x_alu_mr(E, {op}, {size}, {mem[0]}, {a})", f"{name} {of(size, mem)},{r[a]}"
        for imm in (0, 1, -1, 127, -128, 128, 0xFF80, 0x12345678, -0x80000000):
            for a in SOME:
                yield f"x_alu_ri(E, {op}, {size}, {a}, {c_int(imm)})", f"{name} {r[a]},{masked(imm, size)}"
            yield (
                f"x_alu_mi(E, {op}, {size}, {SHAPES[6][0]}, {c_int(imm)})",
                f"{name} {of(size, SHAPES[6])},{masked(imm, size)}",
            )
    for size in SIZES:
        r = NAMES[size]
        for a, b in PAIRS:
            yield f"x_test_rr(E, {size}, {a}, {b})", f"test {r[a]},{r[b]}"
            yield f"x_xchg_rr(E, {size}, {a}, {b})", f"xchg {r[a]},{r[b]}"
        for imm in (1, -1, 0x12345678):
            yield from ((f"x_test_ri(E, {size}, {a}, {imm})", f"test {r[a]},{masked(imm, size)}") for a in range(16))
            yield from (
                (f"x_test_mi(E, {size}, {m[0]}, {imm})", f"test {of(size, m)},{masked(imm, size)}") for m in SHAPES
            )
        for m in SHAPES:
            yield f"x_test_mr(E, {size}, {m[0]}, 6)", f"test {of(size, m)},{r[6]}"
        for name in ("neg", "not", "inc", "dec", "mul1", "imul1", "div1", "idiv1"):
            yield from ((f"x_{name}(E, {size}, {a})", f"{name.rstrip('1')} {r[a]}") for a in range(16))
        for name, digit in SHIFTS.items():
            for a in SOME:
                yield f"x_shift_ri(E, {digit}, {size}, {a}, 1)", f"{name} {r[a]},1"
                yield f"x_shift_ri(E, {digit}, {size}, {a}, 5)", f"{name} {r[a]},0x5"
                yield f"x_shift_rcl(E, {digit}, {size}, {a})", f"{name} {r[a]},cl"
    for size in LARGER:
        r = NAMES[size]
        for a, b in PAIRS:
            yield f"x_imul_rr(E, {size}, {a}, {b})", f"imul {r[a]},{r[b]}"
            for name in ("shld", "shrd"):
                yield f"x_{name}_rri(E, {size}, {a}, {b}, 9)", f"{name} {r[a]},{r[b]},0x9"
            for imm in (3, -3, 0x4321, 0x12345678):
                yield f"x_imul_rri(E, {size}, {a}, {b}, {imm})", f"imul {r[a]},{r[b]},{masked(imm, size)}"
        for m in SHAPES:
            yield f"x_imul_rm(E, {size}, 10, {m[0]})", f"imul {r[10]},{of(size, m)}"


def moves() -> Iterator[Case]:
    for size in SIZES:
        r = NAMES[size]
        for a, b in PAIRS:
            yield f"x_mov_rr(E, {size}, {a}, {b})", f"mov {r[a]},{r[b]}"
        for a, m in product(SOME, SHAPES):
            yield f"x_mov_rm(E, {size}, {a}, {m[0]})", f"mov {r[a]},{of(size, m)}"
            yield f"x_mov_mr(E, {size}, {m[0]}, {a})", f"mov {of(size, m)},{r[a]}"
        for m, imm in product(SHAPES, (0, -1, 0x12345678)):
            yield f"x_mov_mi(E, {size}, {m[0]}, {imm})", f"mov {of(size, m)},{masked(imm, size)}"
        for a, b in PAIRS:
            whole = NAMES[4 if size < 8 else 8][a]
            name = "movzx" if size < 4 else "mov"
            yield f"x_movzx_rr(E, {size}, {a}, {b})", f"{name} {whole},{r[b]}"
        for m in SHAPES:
            yield f"x_movzx_rm(E, {size}, 5, {m[0]})", f"{name} {NAMES[max(size, 4)][5]},{of(size, m)}"
        for wider in LARGER:
            to, name = wider, "movsx" if size < 4 else "movsxd"
            if size < wider:
                for a, b in PAIRS:
                    yield f"x_movsx_rr(E, {size}, {to}, {a}, {b})", f"{name} {NAMES[to][a]},{r[b]}"
                for m in SHAPES:
                    yield f"x_movsx_rm(E, {size}, {to}, 11, {m[0]})", f"{name} {NAMES[to][11]},{of(size, m)}"
            elif size == wider:
                yield f"x_movsx_rr(E, {size}, {to}, 1, 2)", f"mov {r[1]},{r[2]}"
                yield f"x_movsx_rm(E, {size}, {to}, 1, {SHAPES[0][0]})", f"mov {r[1]},{of(size, SHAPES[0])}"
    for a in range(16):
        for value in (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
            for size in LARGEST:
                yield f"x_mov_ri(E, {size}, {a}, {value}u)", f"mov {NAMES[4][a]},{value:#x}"
        for value in (0xFFFFFFFF80000000, 0xFFFFFFFFFFFFFFFF):
            yield f"x_mov_ri(E, 8, {a}, {value:#x}ull)", f"mov {WIDE[a]},{value:#x}"
            yield f"x_mov_ri(E, 4, {a}, {value:#x}ull)", f"mov {NAMES[4][a]},{masked(value, 4)}"
        for value in (0x100000000, 0xFFFFFFFF7FFFFFFF, 0x123456789ABCDEF0):
            yield f"x_mov_ri(E, 8, {a}, {value:#x}ull)", f"movabs {WIDE[a]},{value:#x}"
        yield f"x_push(E, {a})", f"push {WIDE[a]}"
        yield f"x_pop(E, {a})", f"pop {WIDE[a]}"
        yield from ((f"x_bswap(E, {size}, {a})", f"bswap {NAMES[size][a]}") for size in LARGEST)
    for size, m, a in product(LARGER, SHAPES, (0, 5, 8, 15)):
        r = NAMES[size]
        yield f"x_movbe_rm(E, {size}, {a}, {m[0]})", f"movbe {r[a]},{of(size, m)}"
        yield f"x_movbe_mr(E, {size}, {m[0]}, {a})", f"movbe {of(size, m)},{r[a]}"
        yield f"x_lea(E, {size}, {a}, {m[0]})", f"lea {r[a]},{m[1]}"


def bits() -> Iterator[Case]:
    for size in LARGER:
        r = NAMES[size]
        for a, b in PAIRS:
            for name in ("lzcnt", "tzcnt", "popcnt", "bsr", "bsf"):
                yield f"x_{name}(E, {size}, {a}, {b})", f"{name} {r[a]},{r[b]}"
            yield f"x_bt_rr(E, {size}, {a}, {b})", f"bt {r[a]},{r[b]}"
        for a in range(16):
            yield f"x_bt_ri(E, {size}, {a}, 11)", f"bt {r[a]},0xb"
        for m in SHAPES:
            yield f"x_bt_mi(E, {size}, {m[0]}, 3)", f"bt {of(size, m)},0x3"
        for cc, condition in enumerate(CONDITIONS):
            for a, b in PAIRS[::4]:
                yield f"x_cmov(E, {cc}, {size}, {a}, {b})", f"cmov{condition} {r[a]},{r[b]}"
            yield f"x_cmov_rm(E, {cc}, {size}, 14, {SHAPES[7][0]})", f"cmov{condition} {r[14]},{of(size, SHAPES[7])}"
    for cc, condition in enumerate(CONDITIONS):
        yield from ((f"x_setcc(E, {cc}, {a})", f"set{condition} {NAMES[1][a]}") for a in range(16))
        yield from ((f"x_setcc_m(E, {cc}, {m[0]})", f"set{condition} {of(1, m)}") for m in SHAPES)
    for size, (a, b), c in product(LARGEST, PAIRS, (2, 7, 11)):
        r = NAMES[size]
        for name in ("shlx", "shrx", "sarx"):
            yield f"x_{name}(E, {size}, {a}, {b}, {c})", f"{name} {r[a]},{r[b]},{r[c]}"
        yield f"x_andn(E, {size}, {a}, {b}, {c})", f"andn {r[a]},{r[b]},{r[c]}"
        yield f"x_rorx(E, {size}, {a}, {b}, {c})", f"rorx {r[a]},{r[b]},{c:#x}"


def floating() -> Iterator[Case]:
    for a, b in PAIRS:
        x, y = f"xmm{a}", f"xmm{b}"
        yield f"x_sse_rr(E, 0xF2, 0x58, {a}, {b})", f"addsd {x},{y}"
        yield f"x_sse_rr(E, 0xF3, 0x59, {a}, {b})", f"mulss {x},{y}"
        yield f"x_sse_rr(E, 0x66, 0xEF, {a}, {b})", f"pxor {x},{y}"
        yield f"x_sse_rr(E, 0, 0x2E, {a}, {b})", f"ucomiss {x},{y}"
        yield f"x_sse38_rr(E, 0x66, 0x00, {a}, {b})", f"pshufb {x},{y}"
        yield f"x_sse_rri(E, 0x66, 0x70, {a}, {b}, 0x1B)", f"pshufd {x},{y},0x1b"
        yield f"x_sse3a_rri(E, 0x66, 0x0B, {a}, {b}, 3)", f"roundsd {x},{y},0x3"
        yield f"x_movaps_rr(E, {a}, {b})", f"movaps {x},{y}"
        for size, letter in ((4, "d"), (8, "q")):
            yield f"x_movd_xr(E, {size}, {a}, {b})", f"mov{letter} {x},{NAMES[size][b]}"
            yield f"x_movd_rx(E, {size}, {a}, {b})", f"mov{letter} {NAMES[size][a]},{y}"
            yield f"x_sse_size_rr(E, 0xF2, 0x2A, {size}, {a}, {b})", f"cvtsi2sd {x},{NAMES[size][b]}"
            yield f"x_sse_size_rr(E, 0xF2, 0x2C, {size}, {a}, {b})", f"cvttsd2si {NAMES[size][a]},{y}"
    for a, m in product((0, 7, 8, 13), SHAPES):
        x = f"xmm{a}"
        yield f"x_sse_rm(E, 0xF2, 0x5E, {a}, {m[0]})", f"divsd {x},{of(8, m)}"
        yield f"x_sse38_rm(E, 0x66, 0x17, {a}, {m[0]})", f"ptest {x},{of(16, m)}"
        yield f"x_sse_rmi(E, 0x66, 0x70, {a}, {m[0]}, 0xE4)", f"pshufd {x},{of(16, m)},0xe4"
        for name, size in (("movss", 4), ("movsd", 8), ("movaps", 16), ("movdqu", 16)):
            yield f"x_{name}_rm(E, {a}, {m[0]})", f"{name} {x},{of(size, m)}"
            yield f"x_{name}_mr(E, {m[0]}, {a})", f"{name} {of(size, m)},{x}"
    for m in SHAPES:
        yield f"x_ldmxcsr(E, {m[0]})", f"ldmxcsr {of(4, m)}"
        yield f"x_stmxcsr(E, {m[0]})", f"stmxcsr {of(4, m)}"
        for opcode, digit, name, size in (
            (0xD8, 0, "fadd", 4),
            (0xD9, 5, "fldcw", 2),
            (0xD9, 7, "fnstcw", 2),
            (0xDB, 5, "fld", 10),
            (0xDB, 7, "fstp", 10),
            (0xDC, 6, "fdiv", 8),
            (0xDD, 0, "fld", 8),
            (0xDF, 5, "fild", 8),
        ):
            yield f"x_x87_m(E, {opcode}, {digit}, {m[0]})", f"{name} {of(size, m)}"
    yield "x_x87_op(E, 0xD9, 0xE8)", "fld1"
    yield "x_x87_op(E, 0xDE, 0xC1)", "faddp st(1),st"


def control() -> Iterator[Case]:
    for a in range(16):
        yield f"x_jmp_r(E, {a})", f"jmp {WIDE[a]}"
        yield f"x_call_r(E, {a})", f"call {WIDE[a]}"
    for m in SHAPES:
        yield f"x_jmp_m(E, {m[0]})", f"jmp {of(8, m)}"
        yield f"x_call_m(E, {m[0]})", f"call {of(8, m)}"
    for call, text in (("ret", "ret"), ("int3", "int3"), ("cdq", "cdq"), ("cqo", "cqo")):
        yield f"x_{call}(E)", text


Group = Callable[[], Iterator[Case]]
GROUPS: tuple[Group, ...] = (addresses, arithmetic, moves, bits, floating, control)


def program(lines: list[str], folder: Path) -> list[tuple[int, bytes]]:
    """Runs C statements that emit to E; the offset and the bytes of each."""
    source = folder / "emit.c"
    statements = "\n".join(f"    {line}; mark();" for line in lines)
    source.write_text(
        f"""#include <stdint.h>
#include <stdio.h>
#include "emu/engine/jit/x64.h"
static uint8_t code[{16 * len(lines) + 4096}], *from = code;
static struct Emit emitter = {{code, code + sizeof code, 0}}, *const E = &emitter;
static void mark(void)
{{
    printf("%d ", (int)(from - code));
    for (; from < E->at; from++) printf("%02x", *from);
    puts(E->overflow ? "overflow" : "");
}}
int main(void)
{{
{statements}
    return 0;
}}
"""
    )
    compile_c("gcc", source, folder / "emit", "-O0")
    out = subprocess.run([str(folder / "emit")], capture_output=True, text=True, check=True).stdout
    rows = [line.split(" ") for line in out.splitlines()]
    return [(int(at), bytes.fromhex(text)) for at, text in rows]


def compile_c(compiler: str, source: Path, target: Path, *flags: str) -> None:
    command = [compiler, "-Wall", "-Wextra", "-Werror", f"-I{ROOT}", *flags, str(source), "-o", str(target)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-4000:]


def disassemble(code: bytes, folder: Path) -> list[tuple[int, str]]:
    """The offset and the text of each instruction, without the differences that mean nothing."""
    binary = folder / "code.bin"
    binary.write_bytes(code)
    command = ["objdump", "-D", "-b", "binary", "-mi386:x86-64", "-Mintel", "--no-show-raw-insn", str(binary)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = []
    for match in re.finditer(r"^ *([0-9a-f]+):\s+(.*)$", out, re.M):
        text = re.sub(r"\s+", " ", match[2].split("#")[0]).strip()
        text = text.replace("ds:", "").replace("+0x0]", "]").replace("[riz*1", "[").replace("+riz*1", "")
        found.append((int(match[1], 16), text))
    return found


@pytest.mark.slow
@needs_objdump
@pytest.mark.parametrize("group", GROUPS, ids=lambda g: g.__name__)
def test_the_disassembler_reads_what_the_encoder_was_told(group: Group, tmp_path: Path) -> None:
    cases: list[Case] = list(group())
    emitted = program([call for call, _ in cases], tmp_path)
    read = disassemble(b"".join(code for _, code in emitted), tmp_path)
    wrong = [
        f"{call}: {code.hex()} at {at:#x} is {text!r} at {where:#x}, not {expected!r}"
        for (call, expected), (at, code), (where, text) in zip(cases, emitted, read, strict=False)
        if (at, expected) != (where, text)
    ]
    assert wrong[:20] == []
    assert len(read) == len(cases) > 50


@pytest.mark.parametrize(
    ("call", "length"),
    [
        ("x_mov_ri(E, 4, 0, 5)", 5),
        ("x_mov_ri(E, 8, 8, 5)", 6),
        ("x_mov_ri(E, 8, 0, 0xFFFFFFFFFFFFFFFFull)", 7),
        ("x_mov_ri(E, 8, 0, 0x100000000ull)", 10),
        ("x_alu_ri(E, X_ADD, 4, 0, -128)", 3),
        ("x_alu_ri(E, X_ADD, 4, 0, 128)", 6),
        ("x_alu_ri(E, X_ADD, 2, 0, 0xFFFF)", 4),
        ("x_imul_rri(E, 4, 0, 1, 7)", 3),
        ("x_mov_rm(E, 4, 0, mem_at(RBX, 0))", 2),
        ("x_mov_rm(E, 4, 0, mem_at(RBX, 127))", 3),
        ("x_mov_rm(E, 4, 0, mem_at(RBX, 128))", 6),
        ("x_mov_rm(E, 4, 0, mem_at(RSP, 0))", 3),
        ("x_shift_ri(E, X_SHL, 4, 0, 1)", 2),
        ("x_jmp_to(E, E->at)", 2),
        ("x_jmp_to(E, E->at - 126)", 2),
        ("x_jmp_to(E, E->at - 127)", 5),
        ("x_jcc_to(E, X_E, E->at + 129)", 2),
        ("x_jcc_to(E, X_E, E->at + 130)", 6),
    ],
)
def test_the_short_form_is_taken_where_there_is_one(call: str, length: int, tmp_path: Path) -> None:
    [(_, code)] = program([call], tmp_path)
    assert len(code) == length


@needs_objdump
def test_jumps_lead_where_they_were_told_to(tmp_path: Path) -> None:
    lines = ["x_nop(E, 200)"]
    want = []
    for cc, name in enumerate(CONDITIONS):
        lines += [
            f"uint8_t *f{cc} = x_jcc(E, {cc}); x_patch(f{cc}, code + {cc})",
            f"x_jcc_to(E, {cc}, code + {cc})",
            f"x_jcc_to(E, {cc}, E->at + {cc * 20})",
        ]
        want += [(f"j{name}", cc), (f"j{name}", cc), (f"j{name}", -1 - cc * 20)]
    lines += [
        "uint8_t *f = x_jmp(E); x_patch(f, code + 3)",
        "x_jmp(E)",
        "x_jmp_to(E, code)",
        "x_jmp_to(E, E->at + 9)",
    ]
    want += [("jmp", 3), ("jmp", -6), ("jmp", 0), ("jmp", -10)]
    emitted = program(lines, tmp_path)
    read = disassemble(b"".join(code for _, code in emitted), tmp_path)[-len(want) :]
    expected = [
        (at, f"{name} {target if target >= 0 else at - 1 - target:#x}")
        for (name, target), (at, _) in zip(want, emitted[1:], strict=True)
    ]
    assert read == expected


@needs_objdump
def test_a_gap_is_filled_with_instructions_that_do_nothing(tmp_path: Path) -> None:
    emitted = program([f"x_nop(E, {n})" for n in range(40)], tmp_path)
    assert [len(code) for _, code in emitted] == list(range(40))
    read = disassemble(b"".join(code for _, code in emitted), tmp_path)
    assert {text.split()[0] for _, text in read} == {"nop", "xchg"}
    assert {text for _, text in read if text.startswith("xchg")} == {"xchg ax,ax"}
    assert {at for at, code in emitted if code} <= {at for at, _ in read}


def test_without_room_nothing_is_written_and_no_jump_comes_back(tmp_path: Path) -> None:
    source = tmp_path / "room.c"
    calls = sorted({call.split("(")[0]: call for group in GROUPS for call, _ in group()}.values())
    calls += ["x_nop(E, 3)", "x_jcc_to(E, 4, code)", "x_jmp_to(E, code)"]
    tries = "\n".join(f'    start(); {call}; check("{call}");' for call in calls)
    source.write_text(
        f"""#include <stdint.h>
#include <stdio.h>
#include "emu/engine/jit/x64.h"
static uint8_t code[64];
static struct Emit emitter, *const E = &emitter;
static void start(void)
{{
    memset(code, 0x55, sizeof code);
    emitter = (struct Emit){{code + 10, code + 25, 0}};
}}
static void check(const char *call)
{{
    int changed = E->at != code + 10;
    for (unsigned k = 0; k < sizeof code; k++) changed |= code[k] != 0x55;
    if (changed || !E->overflow) puts(call);
    E->end = code + sizeof code;
    x_ret(E);
    if (E->at != code + 10) puts("an overflow is forgotten");
}}
int main(void)
{{
{tries}
    start();
    uint8_t *field = x_jcc(E, X_NE);
    x_patch(field, code);
    if (field || x_jmp(E)) puts("a field without a jump");
    check("x_jcc");
    emitter = (struct Emit){{code, code + sizeof code, 0}};
    x_mov_rm(E, 4, RAX, mem_index(RBX, RSP, 1, 0));
    if (!E->overflow || E->at != code) puts("rsp as an index");
    puts("done");
    return 0;
}}
"""
    )
    compile_c("gcc", source, tmp_path / "room", "-O1")
    out = subprocess.run([str(tmp_path / "room")], capture_output=True, text=True, check=True).stdout
    assert out == "done\n"
    assert len(calls) > 90


def emitters() -> set[str]:
    text = (ROOT / "emu" / "engine" / "jit" / "x64.h").read_text()
    return set(re.findall(r"^X64 \w+ \*?(x_\w+)\(", text, re.M))


def test_every_emitter_is_tried() -> None:
    tried = {call.split("(")[0] for group in GROUPS for call, _ in group()}
    inner = {"x_op_reg", "x_op_mem", "x_vex_reg", "x_branch_to"}
    elsewhere = {"x_nop", "x_patch", "x_jcc", "x_jmp", "x_jcc_to", "x_jmp_to"}
    assert emitters() - tried == inner | elsewhere


def run_driver(folder: Path, compiler: str, *flags: str) -> str:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    compile_c(compiler, DRIVER, folder / "driver", "-O2", *flags)
    return subprocess.run([str(folder / "driver")], capture_output=True, text=True, check=True, timeout=60).stdout


def rows(out: str, kind: str) -> list[list[str]]:
    return [line.split()[1:] for line in out.splitlines() if line.split()[0] == kind]


@needs_host
@pytest.mark.parametrize(("compiler", "flags"), [("gcc", ()), ("clang", ())])
def test_no_mapping_is_ever_writable_and_executable_and_code_runs(
    compiler: str, flags: tuple[str, ...], tmp_path: Path
) -> None:
    out = run_driver(tmp_path, compiler, *flags)
    # Readable and writable: the view to execute, the view to write.
    assert rows(out, "views") == [["new", *"1000"], ["open", *"1011"], ["closed", *"1000"]]
    maps = rows(out, "map")
    assert [m for m in maps if "w" in m[2] and "x" in m[2]] == []
    [[rx, rw, size]] = rows(out, "range")
    for start, permissions in ((rx, {"r-xs"}), (rw, {"---s", "rw-s"})):
        end = f"{int(start, 16) + int(size, 16):x}"
        ours = [m for m in maps if m[1] == f"{start}-{end}"]
        assert [m[0] for m in ours] == ["new", "open", "closed"]
        assert {m[2] for m in ours} == permissions
        assert all({"dd", "dc"} <= set(m[m.index("|") + 1 :]) for m in ours)
    assert int(size, 16) == 1 << 20
    assert rows(out, "calls") == [["1005", "83", "1"]]
    assert rows(out, "same") == [["1"]]
    assert rows(out, "changed") == [["2005", "83"]]
    assert rows(out, "refused") == [["1", "1"]]
    assert rows(out, "child") == [["0"]]
    assert rows(out, "freed") == [["0", "0", "1"]]
    [[first]] = rows(out, "first")
    assert rows(out, "perf")[-1:] == [[first, "1f", "one", "name"]]
    assert "nobody asked" not in out


@needs_host
def test_the_features_are_those_the_kernel_lists(tmp_path: Path) -> None:
    [[mask]] = rows(run_driver(tmp_path, "gcc"), "features")
    [listed] = re.findall(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.M)[:1]
    names = ("bmi1", "bmi2", "movbe", "abm", "popcnt", "sse4_1", "avx")
    assert int(mask, 16) == sum(1 << k for k, name in enumerate(names) if name in listed.split())


@needs_host
def test_another_host_refuses_and_has_no_features(tmp_path: Path) -> None:
    assert run_driver(tmp_path, "gcc", "-U__linux__") == "refused 1 1 0 1\n"
