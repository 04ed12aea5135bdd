"""The whole test suite in two processes, for two cores: `python -m tests.side_by_side [pytest options]`.

The files are dealt into pieces; whoever of the two is done takes the next piece. What a piece prints is shown when it
is done. Exit status: that of the first piece that failed. All the time the memory maps of every process with the engine
are looked at: a page that is writable and executable is an error. Python's compiled files go to a folder of their own,
because hundreds of tests start programs, and some hosts keep none.
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
APART = ("guests",)
"""Folders of which only one piece runs at a time: their images are open for one writer or for many readers."""
PROCESSES = 2
ENGINES = ("emu.engine._x86", "emu.engine._ppc", "emu.engine._host")
BETWEEN = 0.1
"""Seconds from one look at the memory maps to the next."""
NOTHING_COLLECTED = 5
COMMAND = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider")
_COUNT = re.compile(r"(\d+) (passed|failed|skipped|deselected|error|xfailed|xpassed)")


class Piece(NamedTuple):
    """A part of the suite that runs."""

    folder: str
    process: subprocess.Popen[bytes]
    output: Path


def pieces(tests: Path) -> list[tuple[str, list[str]]]:
    """The files of the suite, dealt, each piece with its folder."""
    folders = sorted(p for p in tests.iterdir() if p.is_dir() and any(p.rglob("test_*.py")))
    found: list[tuple[str, list[str]]] = []
    for folder in sorted(folders, key=lambda p: list(PIECES).index(p.name) if p.name in PIECES else len(PIECES)):
        files, parts = sorted(map(str, folder.rglob("test_*.py"))), PIECES.get(folder.name, 1)
        found += [(folder.name, files[k::parts]) for k in range(parts)]
    found.append(("", sorted(map(str, tests.glob("test_*.py")))))
    return [(folder, files) for folder, files in found if files]


def next_piece(waiting: list[tuple[str, list[str]]], busy: Sequence[str]) -> tuple[str, list[str]] | None:
    """Take the first piece that may run beside those of these folders."""
    for k, (folder, _) in enumerate(waiting):
        if folder not in APART or folder not in busy:
            return waiting.pop(k)
    return None


def main(options: Sequence[str]) -> int:
    """Run all pieces; 0 when all passed."""
    # Tests of an engine are skipped where it is not built; here it has been.
    for name in ENGINES:
        import_module(name)
    waiting, status = pieces(Path("tests")), 0
    running: list[Piece] = []
    watch, counts = Watch(os.getpid()), Counter[str]()
    with tempfile.TemporaryDirectory() as scratch:
        while waiting or running:
            while len(running) < PROCESSES and (piece := next_piece(waiting, [p.folder for p in running])) is not None:
                name, files = piece
                output = Path(scratch, str(len(waiting)))
                with output.open("wb") as to:
                    words = [*COMMAND, *files, *options]
                    process = subprocess.Popen(words, stdout=to, stderr=subprocess.STDOUT, env=environment())
                running.append(Piece(name, process, output))
            for done in [p for p in running if ended(p.process)]:
                running.remove(done)
                counts += show(done)
                if done.process.returncode != NOTHING_COLLECTED:
                    status = status or done.process.returncode
            watch.look()
    print("\n".join([", ".join(f"{n} {what}" for what, n in counts.items()), *watch.wrong[:20], watch.report()]))
    return status or int(bool(watch.wrong))


def environment() -> dict[str, str]:
    """That of the tests."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(Path("build", "pycache").resolve())}


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
