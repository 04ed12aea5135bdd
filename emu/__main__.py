"""The `emu` command, its subcommands, and the drop-in names `emu-system-i386` and `emu-system-ppc`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from keyword import iskeyword

COMMANDS = {
    "run": "run a guest (see `emu run -help`)",
    "test": "another name of run, for guests that are tests",
    "doctor": "look at this computer and say what is missing",
    "disasm": "bytes to assembly",
    "asm": "assembly to bytes",
    "explain": "what an instruction does, in words",
    "docs": "the instruction set reference, generated from the spec",
    "cosim": "run a guest on two tiers in lockstep and stop at the first difference",
    "profile": "run a guest and say which of its functions take the time",
    "break": "run a guest until it does something, and say where",
    "screenshot": "run a guest until it shows a text, and save its screen",
    "img": "make, look at, check and convert disk images",
    "bench": "time Emu, beside QEMU and Bochs where they are installed",
}


READ_BY_PEOPLE = ("doctor", "disasm", "asm", "explain", "docs")
"""Tools that only print: nothing is lost where their reader goes away."""

LONGEST = 1000
"""Characters of a message: a line should stay one that a person can read."""


def main(argv: Sequence[str] | None = None) -> int:
    """`emu COMMAND ...`; returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words:
        return _guarded(_nothing_to_do)
    if words[0] in ("-h", "-help", "--help", "help"):
        if len(words) > 1 and words[0] == "help":
            return main([words[1], "--help"])
        _print(_usage())
        return 0
    if words[0] in ("-version", "--version", "version"):
        return _guarded(lambda: _run(["-version"], compat=False))
    command, rest = words[0], words[1:]
    if command in ("run", "test"):
        return _guarded(lambda: _run(rest, compat=False))
    if command in COMMANDS:
        return _guarded(lambda: _tool(command, rest))
    if command.startswith("-") or os.path.exists(command):
        return _guarded(lambda: _run(words, compat=False))
    return _guarded(lambda: _unknown(command))


def system_i386(argv: Sequence[str] | None = None) -> int:
    """`emu-system-i386 ...`: QEMU's command line; returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    return _guarded(lambda: _run(words, compat=True, arch="x86"))


def system_ppc(argv: Sequence[str] | None = None) -> int:
    """`emu-system-ppc ...`: the same for the PowerPC boards."""
    words = list(sys.argv[1:] if argv is None else argv)
    return _guarded(lambda: _run(words, compat=True, arch="ppc"))


def _keep_standard_descriptors() -> None:
    """Let nothing that is opened later become descriptor 0, 1 or 2: guest output would go into it."""
    fd = os.open(os.devnull, os.O_RDWR)
    while fd < 3:
        fd = os.dup(fd)
    os.close(fd)
    # Python has no stream for a descriptor that was closed when it started.
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)


def _run(words: list[str], *, compat: bool, arch: str | None = None) -> int:
    from emu.options import parse

    config = parse(words, compat=compat, arch=arch)
    from emu.session import Session

    return Session(config, compat=compat).run()


def _tool(name: str, words: list[str]) -> int:
    from emu.options import UsageError

    path = f"emu.tools.{name}_" if iskeyword(name) else f"emu.tools.{name}"
    try:
        module = import_module(path)
    except ModuleNotFoundError as error:
        if error.name != path:
            raise
        raise UsageError(f"{name} is not available yet") from None
    try:
        status: int = module.main(words)
        if name in READ_BY_PEOPLE:
            sys.stdout.flush()
    except BrokenPipeError:
        if name not in READ_BY_PEOPLE:
            raise
        # Whoever reads (`| head`) has seen enough; what is left in the buffer must not fail again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    return status


def _unknown(command: str) -> int:
    from emu.options import UsageError, nearest, shown

    guess = nearest(command, COMMANDS)
    if guess is not None:
        raise UsageError(f"{shown(command)}: neither a command nor a file; did you mean {guess}?")
    raise UsageError(f"{shown(command)}: neither a command ({', '.join(COMMANDS)}) nor a file")


def _nothing_to_do() -> int:
    from emu.options import UsageError

    raise UsageError("expected a command or a disk image; emu --help lists the commands")


def _usage() -> str:
    from emu.options import VERSION

    lines = [f"Emu {VERSION}: PCs and PowerPC boards in software", ""]
    lines += ["usage: emu COMMAND ..., or emu IMAGE to run a disk image", ""]
    lines += (f"  {name:8} {text}" for name, text in COMMANDS.items())
    lines += ["", "emu COMMAND --help says more. emu-system-i386 and emu-system-ppc take QEMU's command line."]
    return "\n".join(lines)


def _print(text: str) -> None:
    """To stdout; whoever closed it early (`| grep -q`) has seen enough."""
    data = memoryview((text + "\n").encode("utf-8", "backslashreplace"))
    try:
        while data:
            data = data[os.write(1, data) :]
    except OSError:
        pass


def _guarded(action: Callable[[], int]) -> int:
    """Run a command; whatever goes wrong becomes one line and a status."""
    from emu.options import ShowAndExit, UsageError, shown

    _keep_standard_descriptors()
    try:
        return action()
    except ShowAndExit as text:
        _print(str(text))
        return 0
    except UsageError as error:
        _complain(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    except MemoryError:
        _complain("the host has not enough memory")
        return 1
    except Exception as error:
        _complain(f"internal error: {type(error).__name__}: {shown(str(error), 600)}; {_report(error)}")
        return 1


def _complain(text: str) -> None:
    try:
        line = " ".join(text.splitlines())
        sys.stderr.write(f"emu: {line if len(line) <= LONGEST else line[:LONGEST] + '...'}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass


def _report(error: Exception) -> str:
    """Save the traceback of a bug and say where."""
    import tempfile
    import traceback

    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="emu-report-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.write(f"command: {sys.argv}\npython: {sys.version}\n\n")
            traceback.print_exception(error, file=file)
            return f"a report is in {file.name}"
    except OSError:
        return "".join(traceback.format_exception_only(error)).strip()


if __name__ == "__main__":
    sys.exit(main())
