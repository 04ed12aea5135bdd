"""The whole test suite in two processes, for two cores: `python -m tests.side_by_side [pytest options]`.

The files are dealt into pieces; whoever of the two is done takes the next piece. What a piece prints is shown when it
is done. Exit status: that of the first piece that failed. All the time the memory maps of every process with the engine
are looked at: a page that is writable and executable is an error.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from tests.maps import Watch

PIECES = {"guests": 6, "cores": 2, "emu": 4}
"""The longest folders, longest first, and into how many pieces each is dealt; all others are one piece each."""
PROCESSES = 2
ENGINES = ("emu.engine._x86", "emu.engine._ppc", "emu.engine._host")
BETWEEN = 0.1
"""Seconds from one look at the memory maps to the next."""
NOTHING_COLLECTED = 5
COMMAND = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider")
_COUNT = re.compile(r"(\d+) (passed|failed|skipped|deselected|error|xfailed|xpassed)")


class Piece(NamedTuple):
    """A part of the suite that runs."""

    process: subprocess.Popen[bytes]
    output: Path


def pieces(tests: Path) -> list[list[str]]:
    """The files of the suite, dealt."""
    folders = sorted(p for p in tests.iterdir() if p.is_dir() and any(p.rglob("test_*.py")))
    found = [sorted(map(str, tests.glob("test_*.py")))]
    for folder in sorted(folders, key=lambda p: list(PIECES).index(p.name) if p.name in PIECES else len(PIECES)):
        files, parts = sorted(map(str, folder.rglob("test_*.py"))), PIECES.get(folder.name, 1)
        found += [files[k::parts] for k in range(parts)]
    return [files for files in [*found[1:], found[0]] if files]


def main(options: Sequence[str]) -> int:
    """Run all pieces; 0 when all passed."""
    # Tests of an engine are skipped where it is not built; here it has been.
    for name in ENGINES:
        import_module(name)
    waiting, running, status = pieces(Path("tests")), [], 0
    watch, counts = Watch(os.getpid()), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        while waiting or running:
            while waiting and len(running) < PROCESSES:
                output = Path(folder, str(len(waiting)))
                command = [*COMMAND, *waiting.pop(0), *options]
                with output.open("wb") as to:
                    running.append(Piece(subprocess.Popen(command, stdout=to, stderr=subprocess.STDOUT), output))
            for piece in [p for p in running if ended(p.process)]:
                running.remove(piece)
                counts += show(piece)
                if piece.process.returncode != NOTHING_COLLECTED:
                    status = status or piece.process.returncode
            watch.look()
    print("\n".join([", ".join(f"{n} {what}" for what, n in counts.items()), *watch.wrong[:20], watch.report()]))
    return status or int(bool(watch.wrong))


def show(piece: Piece) -> Counter[str]:
    """Print what a piece has printed; returns the counts of its last line."""
    text = piece.output.read_bytes()
    sys.stdout.buffer.write(text)
    sys.stdout.flush()
    last = text.decode("utf-8", "replace").rstrip().rpartition("\n")[2]
    return Counter({what: int(n) for n, what in _COUNT.findall(last)})


def ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has ended, after a while."""
    try:
        process.wait(BETWEEN / PROCESSES)
    except subprocess.TimeoutExpired:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
