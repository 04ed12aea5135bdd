"""`emu docs [-o DIR]` writes the ISA pages; `emu docs adc` prints the section of one mnemonic."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cores.x86.docs import entry_page, find, write
from emu.options import UsageError, shown
from emu.tools.words import Words


def main(words: Sequence[str]) -> int:
    """Write or print; status 0. UsageError for a mnemonic that is not there or a folder that cannot be written."""
    parser = Words("docs", "Write the instruction set reference as Markdown, generated from the spec.")
    parser.add_argument("mnemonic", nargs="*", help="print these instead of writing all")
    parser.add_argument("-o", dest="folder", metavar="DIR", default="build/docs", help="default: build/docs")
    args = parser.parse_args(list(words))
    for mnemonic in args.mnemonic:
        entries = find(mnemonic.lower())
        if not entries:
            raise UsageError(f"docs: there is no instruction {shown(mnemonic)}")
        for entry in entries:
            print("\n".join(entry_page(entry)))
    if not args.mnemonic:
        try:
            paths = write(Path(args.folder))
        except (OSError, ValueError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise UsageError(f"docs: {shown(args.folder)}: {why}") from None
        print(f"{len(paths)} pages in {args.folder}")
    return 0
