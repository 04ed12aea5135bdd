"""`emu doctor`: what this computer offers, and one line on how to get what is missing."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import NamedTuple

from emu.options import VERSION
from emu.tools.words import Words


class Finding(NamedTuple):
    """One row: `fix` says what to do when `ok` is False; `needed` makes the exit status 1."""

    what: str
    ok: bool
    text: str
    fix: str = ""
    needed: bool = False


def main(words: Sequence[str]) -> int:
    """Print the table (`--json`: as data). Status 0, or 1 if something is missing that Emu cannot run without."""
    parser = Words("doctor", "Look at this computer and say what is missing.")
    parser.add_argument("--json", action="store_true", help="the same as data")
    as_data: bool = parser.parse_args(list(words)).json
    findings = [check() for check in CHECKS]
    if as_data:
        print(json.dumps([finding._asdict() for finding in findings], indent=1))
    else:
        width = max(len(finding.what) for finding in findings)
        for finding in findings:
            print(f"{'ok     ' if finding.ok else 'MISSING'} {finding.what:{width}}  {finding.text}")
        for finding in findings:
            if not finding.ok and finding.fix:
                print(f"fix: {finding.what}: {finding.fix}")
    return int(any(finding.needed and not finding.ok for finding in findings))


def python() -> Finding:
    """The interpreter."""
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}, Emu {VERSION}"
    return Finding("python", sys.version_info >= (3, 10), text, "install Python 3.10 or newer", True)


def engine() -> Finding:
    """The compiled tier."""
    try:
        from emu.engine import X86Cpu

        return Finding("engine (interp)", True, f"{X86Cpu.__module__} is built")
    except ImportError as error:
        return Finding("engine (interp)", False, str(error).splitlines()[0], "make build")


def reference() -> Finding:
    """The Python tier."""
    there = find_spec("cores.x86") is not None and find_spec("cores.x86.reference") is not None
    return Finding("reference tier", there, "pure Python, steppable" if there else "not in this version")


def jit() -> Finding:
    """The translator of both cores."""
    try:
        from emu.engine import PpcCpu, X86Cpu
    except ImportError:
        return Finding("jit", False, "needs the engine; without it the reference tier runs", "make build")
    here = [name for name, cpu in (("x86", X86Cpu), ("PowerPC", PpcCpu)) if cpu.has_jit()]
    host = platform.machine()
    if len(here) == 2:
        return Finding("jit", True, f"translates to {host}")
    text = f"only the {here[0]} core has a back end for {host}" if here else f"no back end for {host}"
    return Finding("jit", False, f"{text}; --accel auto falls back to interp", "run on x86-64")


def firmware() -> Finding:
    """Our own BIOS."""
    try:
        from bios.pc import firmware as module

        return Finding("firmware", True, f"{module.__name__}, built in")
    except ImportError as error:
        return Finding("firmware", False, str(error), "reinstall Emu", True)


def compiler() -> Finding:
    """A C compiler and the Python headers, to build the engine."""
    import sysconfig

    cc = shutil.which(os.environ.get("CC", "gcc")) or shutil.which("cc")
    header = os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h"))
    missing = [name for name, there in (("gcc libc6-dev", cc), ("python3-dev", header)) if not there]
    text = f"{cc}, Python.h" if not missing else "only needed to build the engine"
    return Finding("C compiler", not missing, text, f"apt install {' '.join(missing)}")


def library(name: str, what: str) -> Callable[[], Finding]:
    """A Python library."""

    def check() -> Finding:
        there = find_spec(name) is not None
        return Finding(name, there, what, f"pip install {name}")

    return check


def zstd() -> Finding:
    """What qcow2 images with zstd clusters need."""
    from emu.zstd import find

    found = find()
    text = found.name if found is not None else "qcow2 images with zstd clusters cannot be read"
    return Finding("zstd", found is not None, text, "pip install zstandard")


def libslirp() -> Finding:
    """What -netdev user needs."""
    from emu.engine import slirp

    try:
        return Finding("libslirp", True, f"{slirp.version()}: -netdev user")
    except slirp.Missing:
        return Finding("libslirp", False, "no -netdev user", "apt install libslirp0")


def terminal() -> Finding:
    """Where guest output will go."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        size = shutil.get_terminal_size()
        return Finding("terminal", True, f"{os.environ.get('TERM', 'unknown')}, {size.columns}x{size.lines}")
    return Finding("terminal", True, "none: input and output are redirected")


def memory() -> Finding:
    """Memory that a guest could use."""
    free = 0
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    free = int(line.split()[1]) >> 10
    except OSError:
        return Finding("memory", True, "unknown")
    return Finding("memory", free >= 256, f"{free} MiB available", "a Linux guest wants 256 MiB; choose a smaller -m")


CHECKS: tuple[Callable[[], Finding], ...] = (
    python,
    engine,
    reference,
    jit,
    firmware,
    compiler,
    library("cffi", "binds the engine"),
    library("numpy", "views of guest memory as arrays"),
    zstd,
    libslirp,
    terminal,
    memory,
)
