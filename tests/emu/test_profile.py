"""`emu profile`: functions by samples, traces of one of them, and names for perf(1)."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cores.ppc.assembler import assemble_program as assemble_ppc
from cores.x86.assembler import assemble_program as assemble_x86
from emu.options import UsageError, parse
from emu.session import Session
from emu.tools import profile, symbols
from emu.tools.profile import main, own_options
from emu.tools.symbols import Function, Symbols

for _core in ("x86", "ppc"):
    pytest.importorskip(f"emu.engine._{_core}")

BASE = 0x100000
X86 = """
start:  mov esp, 0x300000
        mov ecx, 300
outer:  push ecx
        call hot
        call cold
        pop ecx
        dec ecx
        jnz outer
        mov al, 0x10
        mov dx, 0xf4
        out dx, al
hot:    mov ecx, 2000
.again: add eax, ecx
        xor eax, [0x200000]
        dec ecx
        jnz .again
        ret
cold:   mov ecx, 200
.again: dec ecx
        jnz .again
        ret
"""
PPC = """
start:  li r3, 300
outer:  bl hot
        bl cold
        addic. r3, r3, -1
        bne outer
        b $
hot:    li r4, 2000
        mtctr r4
.again: add r5, r5, r4
        bdnz .again
        blr
cold:   li r4, 200
        mtctr r4
.again: bdnz .again
        blr
"""
SOURCES = {"pc": (X86, assemble_x86, 3), "bamboo": (PPC, assemble_ppc, 20)}


def elf(board: str, *, stripped: bool = False) -> bytes:
    """A program with a symbol table, as linkers make it."""
    source, assemble, machine = SOURCES[board]
    program = assemble(source, file=board, origin=BASE)
    order: Any = "little" if board == "pc" else "big"
    names = {n: at for n, at in program.symbols.items() if "." not in n}

    def pack(*fields: tuple[int, int]) -> bytes:
        return b"".join(value.to_bytes(size, order) for value, size in fields)

    def words(*values: int) -> bytes:
        return pack(*((v, 4) for v in values))

    strings, table = b"\0", bytes(16)
    for name, at in names.items():
        table += words(len(strings), at, 0) + pack((0x10 | 2 if name != "cold" else 0x10, 1), (0, 1), (1, 2))
        strings += name.encode() + b"\0"
    text_at = 52 + 32
    table_at = text_at + len(program.data)
    strings_at = table_at + len(table)
    sections_at = strings_at + len(strings)
    sections = [(0,) * 10, (0, 1, 6, BASE, text_at, len(program.data), 0, 0, 4, 0)]
    if not stripped:
        sections += [
            (0, 2, 0, 0, table_at, len(table), 3, 1, 4, 16),
            (0, 3, 0, 0, strings_at, len(strings), 0, 0, 1, 0),
        ]
    head = b"\x7fELF" + bytes([1, 1 if board == "pc" else 2, 1]) + bytes(9)
    head += pack((2, 2), (machine, 2), (1, 4), (BASE, 4), (52, 4), (sections_at, 4), (0, 4))
    head += pack((52, 2), (32, 2), (1, 2), (40, 2), (len(sections), 2), (0, 2))
    segment = words(1, text_at, BASE, BASE, len(program.data), len(program.data), 5, 4)
    return head + segment + program.data + table + strings + b"".join(words(*s) for s in sections)


@pytest.fixture(params=SOURCES)
def board(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A board, with kernels for it in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kernel").write_bytes(elf(request.param))
    (tmp_path / "stripped").write_bytes(elf(request.param, stripped=True))
    return str(request.param)


def words_of(board: str, kernel: str = "kernel") -> list[str]:
    words = ["-M", board, "-m", "64", "-nographic", "-kernel", kernel, "-no-reboot", "-serial", "null"]
    return [*words, *(["-device", "isa-debug-exit,iobase=0xf4,iosize=4"] if board == "pc" else [])]


def profiled(capsys: pytest.CaptureFixture[str], board: str, *words: str, kernel: str = "kernel") -> list[str]:
    """The lines of a report."""
    main([*words, "--every", "1009", *words_of(board, kernel), "--max-insns", "1000000"])
    return [line for line in capsys.readouterr().err.splitlines() if not line.startswith("emu: ")]


def test_the_hottest_function_comes_first_with_its_share(board: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = profiled(capsys, board)
    functions = [line.split() for line in lines if line.startswith("function ")]
    assert [words[-1] for words in functions[:2]] == ["hot", "cold"]
    assert 80 < float(functions[0][1]) < 99
    assert functions[0][4] == "supervisor"


def test_the_same_command_gives_the_same_report(board: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert profiled(capsys, board) == profiled(capsys, board)


def test_the_tiers_agree_on_where_the_instructions_go(board: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for tier in ("jit", "interp"):
        lines = profiled(capsys, board, "--accel", tier)
        found.append([line for line in lines if line.startswith("function ")])
    assert found[0] == found[1] != []


def test_code_without_a_name_counts_by_page(board: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = profiled(capsys, board, kernel="stripped")
    assert any(line.endswith("00100000 page without a name") for line in lines)


def test_symbols_of_a_map_name_a_kernel_that_has_none(
    board: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "System.map").write_text("00100000 T everything\n00200000 D data\n")
    lines = profiled(capsys, board, "--symbols", "System.map", kernel="stripped")
    assert any(line.endswith("00100000 everything") for line in lines)


def test_a_function_is_shown_as_guest_code_nodes_and_host_code(board: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = profiled(capsys, board, "--annotate", "hot")
    shown = lines[next(k for k, line in enumerate(lines) if line.startswith("annotate: trace ")) :]
    assert {line.split()[0] for line in shown} == {"annotate:", "guest", "node", "host"}
    assert any(("add eax, ecx" if board == "pc" else "add r5, r5, r4") in line for line in shown if "guest" in line)


def test_the_report_is_data_too(board: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    profiled(capsys, board, "-o", "report.json")
    data = json.loads((tmp_path / "report.json").read_text())
    assert data["functions"][0]["name"] == "hot"
    assert sum(row["samples"] for row in data["functions"]) == data["samples"] == data["instructions"] // 1009


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "expected what to run"),
        (["--top"], "--top: expected a value"),
        (["--annotate", "nothing", "-M", "pc"], "neither a known function nor an address; no symbols are known"),
        (["--symbols", "missing", "-M", "pc"], "missing: No such file"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_runs(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        main(words)


def test_its_own_options_may_stand_anywhere() -> None:
    options, rest = own_options(["-M", "pc", "--top=3", "disk.img", "-o", "x.json", "--annotate", "f"])
    assert (options.top, options.output, options.annotate, rest) == (3, "x.json", "f", ["-M", "pc", "disk.img"])


# --- symbols ---------------------------------------------------------------------------------------------------------


def test_a_symbol_without_a_size_ends_where_the_next_begins() -> None:
    known = Symbols([(0x10, 0, "a"), (0x20, 4, "b"), (0x40, 0, "c")])
    assert known.at(0x1F) == Function(0x10, 0x20, "a")
    assert known.at(0x24) is None
    assert known.at(0x0F) is None
    assert known.named("c") == Function(0x40, 0x1000, "c")


def test_of_several_names_of_an_address_the_one_with_a_size_and_no_underscores_counts() -> None:
    assert Symbols([(8, 0, "local"), (8, 4, "__x"), (8, 4, "x")]).at(8) == Function(8, 12, "x")


def test_the_last_function_of_a_map_ends_where_the_data_begin(tmp_path: Path) -> None:
    path = tmp_path / "System.map"
    path.write_text("c0100000 T last\nc0100100 D data\n00000010 A absolute\n         U elsewhere\n")
    assert symbols.read(str(path)).named("last") == Function(0xC0100000, 0xC0100100, "last")


def test_a_map_that_is_none_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "System.map"
    path.write_text("c0100000 T _text\nhello\n")
    with pytest.raises(UsageError, match=r"System\.map:2: expected an address, a kind and a name"):
        symbols.read(str(path))


def test_a_map_may_be_packed(tmp_path: Path) -> None:
    path = tmp_path / "System.map.gz"
    path.write_bytes(gzip.compress(b"c0100000 T _text\n"))
    assert symbols.read(str(path)).named("_text") is not None
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UsageError, match="whole"):
        symbols.read(str(path))


@pytest.mark.parametrize("cut", [10, 51, 60, 200])
def test_an_elf_file_that_ends_early_is_refused(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "a.elf"
    path.write_bytes(elf("pc")[:cut])
    with pytest.raises(UsageError, match=r"a\.elf: "):
        symbols.read(str(path))


# --- perf(1) ---------------------------------------------------------------------------------------------------------


def test_perfmap_names_translated_code(board: str) -> None:
    words = [sys.executable, "-m", "emu", "run", *words_of(board), "-perfmap", "--max-insns", "1000000"]
    process = subprocess.Popen(
        words, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, stderr=subprocess.PIPE
    )
    process.communicate(timeout=60)
    path = Path(f"/tmp/perf-{process.pid}.map")
    try:
        rows = [line.split() for line in path.read_text().splitlines()]
    finally:
        path.unlink(missing_ok=True)
    assert any(name.startswith("guest_001000") and name.endswith("_loop") for _, _, name in rows)
    assert all(int(at, 16) > 0 and int(size, 16) > 0 for at, size, _ in rows)


def test_perfmap_without_the_jit_is_warned_of(board: str) -> None:
    session = Session(parse([*words_of(board), "-perfmap", "--accel", "interp"]), attached=False)
    session.build()
    assert any("-perfmap" in text for text in session.config.warnings)


def test_the_profiler_has_a_prime_distance() -> None:
    assert all(profile.EVERY % n for n in range(2, 101))
