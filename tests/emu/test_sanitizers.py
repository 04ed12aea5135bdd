"""The engines under sanitizers (tests/engine/fuzz_main.c and fuzz_ppc.c; `make fuzz-sanitize`), compilers' warnings."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from emu.engine.build import CORES, unit
from emu.tools import sanitize
from tests.emu import fuzz_board, fuzz_ppc_board

SECONDS = float(os.environ.get("EMU_FUZZ_SECONDS", "20"))
SEED = os.environ.get("EMU_FUZZ_SEED", "1")


def links(compiler: str, folder: Path, *flags: str) -> bool:
    """Whether the compiler is there and has the libraries that the flags ask for."""
    if shutil.which(compiler) is None:
        return False
    source = folder / "probe.c"
    source.write_text("int main(void) { return 0; }\n")
    command = [compiler, *flags, str(source), "-o", str(folder / "probe")]
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("core", CORES)
def test_random_programs_are_clean_and_independent_of_how_they_are_sliced(core: str, tmp_path: Path) -> None:
    compiler = next((c for c in ("gcc", "clang") if links(c, tmp_path, "-fsanitize=address,undefined")), None)
    if compiler is None:
        pytest.skip("no compiler with libasan and libubsan (apt install gcc libasan8 libubsan1)")
    program = sanitize.build(core, sanitizers="address,undefined", compiler=compiler)
    result = subprocess.run(
        [str(program), "--seed", SEED, "--seconds", str(SECONDS)], capture_output=True, text=True, timeout=600
    )
    assert result.returncode == 0, result.stderr[-6000:]
    report = json.loads(result.stdout)
    assert report["cases"] > 10
    assert report["instructions"] > 1000
    assert report["jit_enters"] > 1000


@pytest.mark.slow
def test_random_guests_on_a_whole_pc_leave_a_machine_that_runs() -> None:
    assert fuzz_board.run(int(SEED), seconds=0, cases=25) == 25


@pytest.mark.slow
def test_random_guests_on_the_powerpc_boards_raise_nothing() -> None:
    assert fuzz_ppc_board.run(int(SEED), seconds=0, cases=120) == 120


@pytest.mark.slow
@pytest.mark.parametrize("core", CORES)
def test_random_guests_on_whole_boards_are_clean_under_the_sanitizers(core: str, tmp_path: Path) -> None:
    if not links("gcc", tmp_path, "-fsanitize=address,undefined"):
        pytest.skip("no gcc with libasan and libubsan (apt install gcc libasan8 libubsan1)")
    command, environment = sanitize.board_command(["--seed", SEED, "--seconds", str(SECONDS)], core)
    result = subprocess.run(command, env=environment, cwd=sanitize.ROOT, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr[-6000:]
    assert json.loads(result.stdout)["guests"] > 0


@pytest.mark.slow
def test_hot_programs_are_clean_and_as_interpreted_under_the_sanitizers(tmp_path: Path) -> None:
    if not links("gcc", tmp_path, "-fsanitize=address,undefined"):
        pytest.skip("no gcc with libasan and libubsan (apt install gcc libasan8 libubsan1)")
    command, environment = sanitize.jit_command(["--seed", SEED, "--seconds", str(SECONDS)])
    result = subprocess.run(command, env=environment, cwd=sanitize.ROOT, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, (result.stdout + result.stderr)[-6000:]
    report = json.loads(result.stdout.splitlines()[-1])
    assert all(report[core]["traces"] > 100 for core in CORES)


@pytest.mark.slow
@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_generated_unit_compiles_without_a_warning(compiler: str, core: str, tmp_path: Path) -> None:
    if not links(compiler, tmp_path):
        pytest.skip(f"{compiler} is not installed")
    source = tmp_path / "unit.c"
    source.write_text(unit(core, line_directives=False)[1])
    # gcc finds what may be uninitialised only while it optimises; clang needs no code for what it says.
    how = ["-O2", "-c", "-o", str(tmp_path / "unit.o")] if compiler == "gcc" else ["-fsyntax-only"]
    command = [compiler, *how, "-fno-strict-aliasing", "-Wall", "-Wextra", "-Werror", str(source)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-6000:]
