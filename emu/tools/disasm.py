"""`emu disasm FILE|-` or `emu disasm --hex 'b8 01 00'`: bytes to assembly, one instruction a line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence

from cores.x86.text import disassemble
from emu.options import UsageError, shown
from emu.tools.words import Words, address, bits, hex_bytes

LIMIT = 16 << 20
LONGEST = 15


def main(words: Sequence[str]) -> int:
    """Disassemble; status 0. UsageError for input that is not there or not readable."""
    parser = Words("disasm", "Disassemble bytes, from the first on.")
    parser.add_argument("file", nargs="?", help="a file of raw bytes, - for stdin")
    parser.add_argument("--hex", metavar="BYTES", help="the bytes themselves, as in 'b8 01 00'")
    parser.add_argument("--bits", type=bits, default=True, metavar="16|32", help="mode (32)")
    parser.add_argument("--org", type=address, default=0, metavar="ADDRESS", help="address of the first byte (0)")
    parser.add_argument("--skip", type=address, default=0, metavar="N", help="leave out the first N bytes of the input")
    parser.add_argument("--count", type=address, default=None, metavar="N", help="at most N instructions")
    args = parser.parse_args(list(words))
    if (args.file is None) == (args.hex is None):
        raise UsageError("disasm: expected a file, or --hex and the bytes")
    data = hex_bytes(args.hex) if args.hex is not None else _read(args.file)
    for count, line in enumerate(listing(data[args.skip :], args.org, args.bits)):
        if args.count is not None and count >= args.count:
            break
        print(line)
    return 0


def listing(data: bytes, org: int, big: bool) -> Iterator[str]:
    """One line for each instruction: address, bytes, text."""
    at = 0
    while at < len(data):
        eip = (org + at) & 0xFFFFFFFF
        text, length = disassemble(data[at : at + LONGEST], eip, big)
        yield f"{eip:08x}  {data[at : at + length].hex(' '):24} {text}"
        at += length


def _read(path: str) -> bytes:
    try:
        if path == "-":
            data = sys.stdin.buffer.read(LIMIT + 1)
        else:
            if os.path.isdir(path):
                raise UsageError(f"disasm: {shown(path)}: expected a file, found a directory")
            with open(path, "rb") as file:
                data = file.read(LIMIT + 1)
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise UsageError(f"disasm: {shown(path)}: {why}") from None
    if len(data) > LIMIT:
        raise UsageError(f"disasm: {shown(path)}: more than {LIMIT >> 20} MiB")
    if not data:
        raise UsageError(f"disasm: {shown(path)}: the file is empty")
    return data
