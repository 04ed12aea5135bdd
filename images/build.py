"""Builds the guests of this folder with our own assembler: `python -m images.build [NAME ...] [-o DIR]`.

`NAME/NAME.asm` becomes `NAME.img`, a disk image of 1.44 MB that boots as a floppy (`-fda`) and as a hard disk (`-hda`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cores.x86.assembler import AsmError, assemble_program

HERE = Path(__file__).resolve().parent
DISK_SIZE = 80 * 2 * 18 * 512


def names() -> list[str]:
    """The guests that can be built."""
    return sorted(p.parent.name for p in HERE.glob("*/*.asm") if p.stem == p.parent.name)


def image(name: str) -> bytes:
    """The disk image of a guest. Raises AsmError for a mistake in its source, ValueError for what does not fit."""
    source = HERE / name / f"{name}.asm"
    program = assemble_program(source.read_text(encoding="utf-8"), file=f"images/{name}/{name}.asm", big=False)
    if len(program.data) > DISK_SIZE:
        raise ValueError(f"{name}: {len(program.data)} bytes do not fit a disk of {DISK_SIZE}")
    return program.data.ljust(DISK_SIZE, b"\0")


def main(argv: Sequence[str] | None = None) -> int:
    """Build guests into a folder; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m images.build", description="Build our own guests.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"guests to build (default: {' '.join(names())})")
    parser.add_argument("-o", dest="folder", type=Path, default=Path("build/images"), help="default: build/images")
    options = parser.parse_args(argv)
    for name in options.names or names():
        if name not in names():
            print(f"images: there is no guest {name!r}; expected one of {', '.join(names())}", file=sys.stderr)
            return 1
        path = options.folder / f"{name}.img"
        try:
            data = image(name)
            options.folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        except (AsmError, ValueError, OSError) as error:
            print(f"images: {error}", file=sys.stderr)
            return 1
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
