"""Builds the PowerPC guests: `python -m images.ppc.build [-M BOARD] [-o FILE] [STEP ...]`.

A guest is raw code for address 0 (`-kernel`): `lib.asm`, the file of the board, and steps that are run in their order.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cores.ppc.assembler import AsmError, assemble_program

HERE = Path(__file__).resolve().parent
BOARDS = ("bamboo", "ppce500")
STEPS = ("hello", "timer", "tlb", "pci")
CLOSING = "Emu demo: all done."


def source(board: str, steps: Sequence[str], closing: str = "") -> str:
    """The whole source of a guest. Raises ValueError for a board or a step that is not there."""
    for word, known in [(board, BOARDS), *((step, STEPS) for step in steps)]:
        if word not in known:
            raise ValueError(f"expected one of {', '.join(known)}, found {word!r}")
    parts = [(HERE / f"{name}.asm").read_text(encoding="utf-8") for name in ("lib", board, *dict.fromkeys(steps))]
    calls = [f"bl {step}" for step in steps]
    if closing:
        calls += ["li r3, closing@l", "bl puts"]
    return "\n".join(
        [*parts, "main: mflr r29", *calls, "mtlr r29", "blr", f'closing: db "{closing}", 13, 10, 0', "align 4", ""]
    )


def image(board: str, steps: Sequence[str] = STEPS, closing: str = "") -> bytes:
    """The code of a guest. Raises AsmError for a mistake in a source, and as `source` does."""
    return assemble_program(source(board, steps, closing), file=f"images/ppc, {board}").data


def main(argv: Sequence[str] | None = None) -> int:
    """Build one guest; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m images.ppc.build", description="Build a PowerPC guest.")
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"in this order (default: {' '.join(STEPS)})")
    parser.add_argument("-M", dest="board", choices=BOARDS, default="bamboo")
    parser.add_argument("-o", dest="output", type=Path, default=Path("ppc.bin"))
    options = parser.parse_args(argv)
    try:
        options.output.write_bytes(image(options.board, options.steps or STEPS))
    except (AsmError, ValueError, OSError) as error:
        print(f"images: {error}", file=sys.stderr)
        return 1
    print(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
