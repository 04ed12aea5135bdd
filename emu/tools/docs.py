"""`emu docs [-o DIR]` writes the ISA pages; `emu docs adc` prints the section of one mnemonic.

`--arch ppc` for PowerPC.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cores.ppc import docs as ppc
from cores.x86 import docs as x86
from emu.options import UsageError, shown
from emu.tools.words import Words, arch


def main(words: Sequence[str]) -> int:
    """Write or print; status 0. UsageError for a mnemonic that is not there or a folder that cannot be written."""
    parser = Words("docs", "Write the instruction set reference as Markdown, generated from the spec.")
    arch(parser)
    parser.add_argument("mnemonic", nargs="*", help="print these instead of writing all")
    parser.add_argument("-o", dest="folder", metavar="DIR", default="build/docs", help="default: build/docs")
    args = parser.parse_args(list(words))
    here: Any = x86 if args.arch == "x86" else ppc
    there: Any = ppc if args.arch == "x86" else x86
    for mnemonic in args.mnemonic:
        entries = here.find(mnemonic.lower())
        if not entries:
            more = f"; --arch {'ppc' if args.arch == 'x86' else 'x86'} has one" if there.find(mnemonic.lower()) else ""
            raise UsageError(f"docs: there is no instruction {shown(mnemonic)}{more}")
        for entry in entries:
            print("\n".join(here.entry_page(entry)))
    if not args.mnemonic:
        try:
            paths = here.write(Path(args.folder))
        except (OSError, ValueError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise UsageError(f"docs: {shown(args.folder)}: {why}") from None
        print(f"{len(paths)} pages in {args.folder}")
    return 0
