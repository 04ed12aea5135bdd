"""The whole test suite in two processes, for two cores: `python -m tests.side_by_side [pytest options]`.

The first half prints as it runs, the second when both are done. Exit status: that of the half that failed. All the
time the memory maps of every process with the engine are looked at: a page that is writable and executable is an error.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import import_module

from tests.maps import Watch

FIRST = ("tests/cores", "tests/devices")
ENGINES = ("emu.engine._x86", "emu.engine._ppc", "emu.engine._host")
BETWEEN = 0.1
"""Seconds from one look at the memory maps to the next."""
COMMAND = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider")


def main(options: Sequence[str]) -> int:
    """Run both halves; 0 when both passed."""
    # Tests of an engine are skipped where it is not built; here it has been.
    for name in ENGINES:
        import_module(name)
    rest = ["tests", *(f"--ignore={name}" for name in FIRST)]
    with tempfile.TemporaryFile() as kept:
        second = subprocess.Popen([*COMMAND, *rest, *options], stdout=kept, stderr=subprocess.STDOUT)
        first = subprocess.Popen([*COMMAND, *FIRST, *options])
        watch = Watch(os.getpid())
        for half in (first, second):
            while not ended(half):
                watch.look()
        kept.seek(0)
        sys.stdout.flush()
        sys.stdout.buffer.write(kept.read())
        sys.stdout.flush()
    print("\n".join([*watch.wrong[:20], watch.report()]))
    return first.returncode or second.returncode or int(bool(watch.wrong))


def ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has ended, after a while."""
    try:
        process.wait(BETWEEN)
    except subprocess.TimeoutExpired:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
