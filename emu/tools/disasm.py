"""`emu disasm FILE|-` or `emu disasm --hex 'b8 01 00'`: bytes to assembly, one instruction a line. `--arch ppc` too."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence

from cores.ppc import models
from cores.ppc.decoder import ALL
from cores.ppc.text import disassemble as disassemble_ppc
from cores.x86.text import disassemble
from emu.options import UsageError, shown
from emu.tools.words import Words, address, arch, bits, hex_bytes

LIMIT = 16 << 20
LONGEST = 15


def main(words: Sequence[str]) -> int:
    """Disassemble; status 0. UsageError for input that is not there or not readable."""
    parser = Words("disasm", "Disassemble bytes, from the first on.")
    arch(parser)
    parser.add_argument("-cpu", metavar="MODEL", help="PowerPC: only what this model has, such as 440EP or e500v2")
    parser.add_argument("file", nargs="?", help="a file of raw bytes, - for stdin")
    parser.add_argument("--hex", metavar="BYTES", help="the bytes themselves, as in 'b8 01 00'")
    parser.add_argument("--bits", type=bits, metavar="16|32", help="x86: mode (32)")
    parser.add_argument("--org", type=address, default=0, metavar="ADDRESS", help="address of the first byte (0)")
    parser.add_argument("--skip", type=address, default=0, metavar="N", help="leave out the first N bytes of the input")
    parser.add_argument("--count", type=address, default=None, metavar="N", help="at most N instructions")
    args = parser.parse_args(list(words))
    if (args.file is None) == (args.hex is None):
        raise UsageError("disasm: expected a file, or --hex and the bytes")
    data = hex_bytes(args.hex) if args.hex is not None else _read(args.file)
    if args.arch == "ppc":
        if args.bits is not None:
            raise UsageError("disasm: --bits is for x86")
        lines = listing_ppc(data[args.skip :], args.org, features(args.cpu, "disasm"))
    else:
        if args.cpu is not None:
            raise UsageError("disasm: -cpu is for PowerPC")
        lines = listing(data[args.skip :], args.org, args.bits is not False)
    for count, line in enumerate(lines):
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


def features(name: str | None, tool: str) -> int:
    """Features of a PowerPC model, those of all for None. Raises UsageError."""
    if name is None:
        return ALL
    try:
        return models.model(name).features
    except (KeyError, ValueError):
        raise UsageError(f"{tool}: -cpu {shown(name)}: expected one of {', '.join(models.MODELS)}") from None


def listing_ppc(data: bytes, org: int, features: int) -> Iterator[str]:
    """The same for words of PowerPC; what is left of the last one as bytes."""
    for at in range(0, len(data), 4):
        address, piece = (org + at) & 0xFFFFFFFF, data[at : at + 4]
        if len(piece) == 4:
            text = disassemble_ppc(int.from_bytes(piece, "big"), address, features)
        else:
            text = ".byte " + ", ".join(f"{b:#04x}" for b in piece)
        yield f"{address:08x}  {piece.hex(' '):12} {text}"


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
