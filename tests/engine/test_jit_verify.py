"""What the JIT's passes promise one another (emu/engine/jit/verify.c), on random programs with an engine that looks.

The engine is built with EMU_JIT_VERIFY, and ends the process at the first node that breaks a promise.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from emu.engine.build import CORES
from emu.tools import sanitize

RUN = """
import sys
from tests.emu.fuzz_board import load_engine
for core, path in zip(sys.argv[1:3], sys.argv[3:5]):
    load_engine(path, core)
"""
FUZZ = (
    RUN
    + """
from tests.engine.fuzz_jit import main
sys.exit(main(["--seed", sys.argv[5], "--cases", sys.argv[6]]))
"""
)
TOO_LONG = (
    RUN
    + """
from tests.engine.jit_guests import Guest
Guest("x86", "again: psrad mm0, mm4\\ninc eax\\njmp again")
"""
)


def python(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a program with the engines that look."""
    engines = [str(sanitize.build_extension(core, sanitizers=False)) for core in CORES]
    command = [sys.executable, "-c", program, *CORES, *engines, *words]
    return subprocess.run(command, cwd=sanitize.ROOT, capture_output=True, text=True, timeout=600)


needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")


@needs_gcc
@pytest.mark.slow
def test_the_nodes_of_random_programs_are_what_the_passes_promise() -> None:
    result = python(FUZZ, "1", "300")
    assert result.returncode == 0, (result.stdout + result.stderr)[-6000:]
    report = json.loads(result.stdout.splitlines()[-1])
    assert all(report[core]["traces"] > 100 for core in CORES)


@needs_gcc
@pytest.mark.slow
def test_an_instruction_with_more_nodes_than_there_is_room_for_harms_no_other_node() -> None:
    result = python(TOO_LONG)
    assert result.returncode == 0, result.stderr[-3000:]
