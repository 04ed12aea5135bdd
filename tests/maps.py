"""Looks at the memory maps of processes while they run: none that has the engine may have a page both writable and
executable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

ENGINES = ("/emu/engine/_x86.", "/emu/engine/_ppc.")
FOREIGN = ("unicorn",)
"""Libraries that make code in their own way."""
PROC = Path("/proc")


def family(pid: int) -> Iterator[int]:
    """A process and its descendants, as far as they are still there."""
    yield pid
    try:
        found = [task.joinpath("children").read_text().split() for task in (PROC / str(pid) / "task").iterdir()]
    except OSError:
        return
    for children in found:
        for child in children:
            yield from family(int(child))


class Watch:
    """What was seen of the processes below one."""

    def __init__(self, pid: int, engines: Sequence[str] = ENGINES) -> None:
        self.pid = pid
        self.engines = engines
        self.looks = 0
        self.processes: set[int] = set()
        """Those that had the engine."""
        self.code = 0
        """Looks that found translated code, or room for it."""
        self.wrong: list[str] = []

    def look(self) -> None:
        """Once over all of them."""
        self.looks += 1
        for pid in family(self.pid):
            try:
                maps = (PROC / str(pid) / "maps").read_text().splitlines()
            except OSError:
                continue
            if any(name in line for line in maps for name in FOREIGN):
                continue
            if not any(name in line for line in maps for name in self.engines):
                continue
            self.processes.add(pid)
            rights = [line.split(None, 2)[1] for line in maps]
            self.code += "r-xs" in rights
            self.wrong += [f"process {pid}: {line}" for line, r in zip(maps, rights, strict=True) if "wx" in r]

    def report(self) -> str:
        """One line."""
        seen = (
            f"memory maps: {self.looks} looks at {len(self.processes)} processes with the engine, {self.code} with code"
        )
        return f"{seen}; writable and executable: {len(self.wrong) or 'none'}"
