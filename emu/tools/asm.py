"""`emu asm 'mov eax, 1'` prints the bytes; `emu asm -f FILE [-o OUT]` assembles a source. `--arch ppc` for PowerPC."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from cores.lang.assembler import AsmError, Program
from cores.ppc import assembler as ppc
from cores.x86 import assembler as x86
from cores.x86.encoder import is_mnemonic as is_x86
from emu.options import UsageError, shown
from emu.tools.words import Words, address, arch, bits

LIMIT = 16 << 20


def main(words: Sequence[str]) -> int:
    """Assemble; status 0, or UsageError with one line that names file and line."""
    parser = Words("asm", "Assemble instructions or a source file (syntax: see cores/README.md).")
    arch(parser)
    parser.add_argument("text", nargs="*", metavar="INSTRUCTION", help="separated by ';'")
    parser.add_argument("-f", dest="source", metavar="FILE", help="a source file, - for stdin")
    parser.add_argument("-o", dest="output", metavar="FILE", help="write the bytes there instead of printing them")
    parser.add_argument("-l", dest="listing", action="store_true", help="print addresses, bytes and source lines")
    parser.add_argument("--bits", type=bits, metavar="16|32", help="x86: mode until a `bits` directive (32)")
    parser.add_argument("--org", type=address, default=0, metavar="ADDRESS", help="address of the first byte (0)")
    args = parser.parse_args(list(words))
    if bool(args.text) == bool(args.source):
        raise UsageError("asm: expected instructions, or -f and a source file")
    name, text = "<text>", "\n".join(" ".join(args.text).split(";"))
    if args.source:
        name, text = args.source, _read(args.source)
    try:
        program = _assembled(args.arch, text, shown(name), args.org, args.bits)
    except AsmError as error:
        raise UsageError((error.why if not args.source else str(error)) + _hint(args.arch, text)) from None
    if args.output:
        try:
            Path(args.output).write_bytes(program.data)
        except (OSError, ValueError) as error:
            raise UsageError(f"asm: {shown(args.output)}: {_reason(error)}") from None
    if args.listing:
        print(program.listing())
    elif not args.output:
        print(program.data.hex(" "))
    return 0


def _hint(core: str, text: str) -> str:
    """The other architecture, where the first word is an instruction of it alone."""
    first = text.split(maxsplit=1)[0].lower() if text.strip() else ""
    here, there, other = (is_x86, ppc.is_mnemonic, "ppc") if core == "x86" else (ppc.is_mnemonic, is_x86, "x86")
    return f"; --arch {other} has {first}" if there(first) and not here(first) else ""


def _assembled(core: str, text: str, name: str, origin: int, big: bool | None) -> Program:
    if core == "x86":
        return x86.assemble_program(text, file=name, origin=origin, big=big is not False)
    if big is not None:
        raise UsageError("asm: --bits is for x86")
    return ppc.assemble_program(text, file=name, origin=origin)


def _read(path: str) -> str:
    try:
        data = sys.stdin.buffer.read(LIMIT + 1) if path == "-" else _head(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"asm: {shown(path)}: {_reason(error)}") from None
    if len(data) > LIMIT:
        raise UsageError(f"asm: {shown(path)}: more than {LIMIT >> 20} MiB of source")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"asm: {shown(path)}: expected a source in UTF-8") from None


def _head(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(LIMIT + 1)


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
