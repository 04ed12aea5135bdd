"""The watch over memory maps: it sees translated code run, and what must not be."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.engine.fuzz_jit import has_jit
from tests.maps import PROC, Watch

for _core in ("x86", "ppc"):
    pytest.importorskip(f"emu.engine._{_core}")
pytestmark = pytest.mark.skipif(not PROC.joinpath("self/maps").exists(), reason="no /proc/PID/maps on this host")

BOTH = """
import _decimal, mmap
page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
print("ready", flush=True)
input()
"""
HOT = """
from tests.engine.fuzz_jit import main
print("ready", flush=True)
raise SystemExit(main(["--seed", "1", "--cases", "40"]))
"""


@contextmanager
def python(program: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has said that it is ready."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", program], stdin=pipe, stdout=pipe)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_page_that_is_writable_and_executable_is_seen() -> None:
    with python(BOTH) as process:
        watch = Watch(process.pid, ["/_decimal."])  # no process of the whole suite may have an engine and such a page
        watch.look()
    assert len(watch.wrong) == 1
    assert "rwx" in watch.wrong[0]
    assert "executable: 1" in watch.report()


@pytest.mark.slow
@pytest.mark.skipif(not has_jit("x86"), reason="the JIT has no back end for this host")
def test_while_hot_programs_are_translated_no_page_is_both() -> None:
    with python(HOT) as process:
        watch = Watch(process.pid)
        while process.poll() is None:
            watch.look()
    assert process.returncode == 0
    assert watch.code > 20
    assert watch.wrong == []
    assert watch.report().endswith("none")
