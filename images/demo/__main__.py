"""`python -m images.demo [--run [OPTION ...]] [-o FILE]`: build the demo guest, and boot it.

Words after `--run` go to `emu run`, as in `python -m images.demo --run -m 64 -cpu 486`. The serial port is on the
terminal unless they say otherwise.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from emu.__main__ import main as emu
from images.build import image

USAGE = "usage: python -m images.demo --run [OPTION OF emu run ...] | -o FILE"


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
    if words[:1] != ["--run"]:
        print(USAGE, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="emu-demo-") as folder:
        path = Path(folder) / "demo.img"
        path.write_bytes(image("demo"))
        serial = [] if {"-serial", "-nographic"} & set(words) else ["-serial", "stdio"]
        return emu(["run", "-hda", str(path), *serial, *words[1:]])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
