"""`python -m images.demo [--run [OPTION ...]] [-o FILE]`: build the demo guests, and boot them.

`--run` alone boots the PC and then the PowerPC board. Words after `--run` or `--run-ppc` go to `emu run` of that one
guest, as in `python -m images.demo --run -m 64 -cpu 486`. The serial port is on the terminal unless they say otherwise.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from emu.__main__ import main as emu
from images.build import image
from images.ppc import build as ppc

USAGE = "usage: python -m images.demo --run [OPTION OF emu run ...] | --run-ppc [OPTION OF emu run ...] | -o FILE"


def main(argv: Sequence[str]) -> int:
    """Build, then run or write; returns the exit status."""
    words = list(argv)
    if words[:1] == ["-o"] and len(words) == 2:
        try:
            Path(words[1]).write_bytes(image("demo"))
        except OSError as error:
            print(f"images.demo: {error}", file=sys.stderr)
            return 1
        return 0
    if words[:1] == ["--run"]:
        return run_pc(words[1:]) or (0 if words[1:] else run_ppc([]))
    if words[:1] == ["--run-ppc"]:
        return run_ppc(words[1:])
    print(USAGE, file=sys.stderr)
    return 1


def run_pc(words: Sequence[str]) -> int:
    """The demo of the PC; returns the exit status."""
    with tempfile.TemporaryDirectory(prefix="emu-demo-") as folder:
        path = Path(folder) / "demo.img"
        path.write_bytes(image("demo"))
        return emu(["run", "-hda", str(path), *_serial(words), *words])


def run_ppc(words: Sequence[str]) -> int:
    """The demo of the PowerPC board, all steps; returns the exit status."""
    board = words[words.index("-M") + 1] if "-M" in words[:-1] else "bamboo"
    with tempfile.TemporaryDirectory(prefix="emu-demo-") as folder:
        path = Path(folder) / "ppc.bin"
        try:
            path.write_bytes(ppc.image(board, closing=ppc.CLOSING))
        except ValueError as error:
            print(f"images.demo: -M: {error}", file=sys.stderr)
            return 1
        more = [] if "-M" in words else ["-M", board]
        return emu(["run", *more, "-m", "64", "-no-reboot", "-kernel", str(path), *_serial(words), *words])


def _serial(words: Sequence[str]) -> list[str]:
    return [] if {"-serial", "-nographic"} & set(words) else ["-serial", "stdio"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
