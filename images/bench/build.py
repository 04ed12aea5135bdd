"""Builds the benchmark programs: `python -m images.bench.build [-o FOLDER] [--words "sort:100 crc:50"] [NAME ...]`.

    FOLDER/NAME.elf     for `-kernel` of a board, or the first process under Linux
    FOLDER/NAME.cpio    that process as an initial RAM disk, for `-initrd` (the names that end in -linux)

The compilers are Debian's; a file is compiled again only when a source, a flag or the compiler has changed. Which
programs run, and how often, are words written into the finished file.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from images.linux_ppc.cpio import archive, character, directory, regular

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "programs"
COMMON = ("main.c", "integer.c", "list.c", "text.c", "bignum.c", "machine.c", "floating.c", "memory.c")
FLAGS = (
    "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wno-int-to-pointer-cast", "-Wno-pointer-to-int-cast", "-ffreestanding",
    "-fno-builtin", "-fno-pic", "-no-pie", "-static", "-nostdlib", "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables", "-ffp-contract=off", "-fno-strict-aliasing",
    "-fno-tree-loop-distribute-patterns", "-Wl,--build-id=none", "-Wl,-z,noexecstack", "-Wl,--no-warn-rwx-segments",
)  # fmt: skip
X86 = (("gcc-12", "gcc"), "gcc")
PPC = (("powerpc-linux-gnu-gcc-12", "powerpc-linux-gnu-gcc"), "gcc-12-powerpc-linux-gnu")
MARK = b"bench words: "
SPACE = 1024
"""Bytes that the words have, with the zero at their end."""


class BuildError(Exception):
    """What stopped the build, in a line for people."""


class Variant(NamedTuple):
    """One way to compile: the compiler (its names, its Debian package), flags, sources beside the common ones."""

    compiler: tuple[tuple[str, ...], str]
    flags: tuple[str, ...]
    sources: tuple[str, ...]


I386 = ("-m32", "-march=i686", "-fcf-protection=none")
FLOATS = {
    "x87": (X86, (*I386, "-mfpmath=387", "-mno-sse")),
    "sse2": (X86, (*I386, "-msse2", "-mfpmath=sse")),
    "fpu": (PPC, ("-mcpu=440fp", "-mhard-float")),
    "spe": (PPC, ("-mcpu=8548", "-msoft-float", "-DSPE", "-Wa,-mspe")),
}
BARE = {
    "x87": ("x86.S", "x86.c"),
    "sse2": ("x86.S", "x86.c"),
    "fpu": ("ppc.S", "bamboo.c"),
    "spe": ("ppc.S", "ppce500.c", "spe.S"),
}
LINUX = {"x87": ("linux_x86.S",), "sse2": ("linux_x86.S",), "fpu": ("linux_ppc.S",), "spe": ("linux_ppc.S", "spe.S")}
VARIANTS = {
    **{
        name: Variant(
            compiler,
            (*flags, "-DBARE", f"-Wl,-T,{SOURCES / 'bare.ld'}", *(("-Wl,-m,elf_i386",) if compiler is X86 else ())),
            ("bare.c", *BARE[name]),
        )
        for name, (compiler, flags) in FLOATS.items()
    },
    **{
        f"{name}-linux": Variant(compiler, flags, ("linux.c", *LINUX[name]))
        for name, (compiler, flags) in FLOATS.items()
    },
}


def compiler_of(variant: Variant) -> str:
    """The compiler's path. Raises BuildError where there is none."""
    names, package = variant.compiler
    for name in names:
        if path := shutil.which(name):
            return path
    raise BuildError(f"{names[-1]} is missing: apt-get install {package}")


def compiled(name: str, folder: Path) -> bytes:
    """The ELF file of a variant, with no words yet, from the folder or made anew there. Raises BuildError."""
    variant = VARIANTS[name]
    compiler = compiler_of(variant)
    words = [compiler, *FLAGS, *variant.flags, *(str(SOURCES / source) for source in (*COMMON, *variant.sources))]
    stamp = hashlib.sha256("\0".join(words).encode())
    for path in sorted(SOURCES.iterdir()):
        stamp.update(path.read_bytes())
    stamp.update(str(Path(compiler).stat().st_mtime_ns).encode())
    kept, output = folder / f"{name}.stamp", folder / f"{name}.plain"
    if kept.exists() and output.exists() and kept.read_text(encoding="utf-8") == stamp.hexdigest():
        return output.read_bytes()
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([*words, "-o", str(output)], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode or done.stderr:
        lines = done.stderr.splitlines() or [f"status {done.returncode}"]
        raise BuildError(f"{name}: {next((line for line in lines if 'error' in line), lines[0])}")
    kept.write_text(stamp.hexdigest(), encoding="utf-8")
    return output.read_bytes()


def with_words(elf: bytes, words: str) -> bytes:
    """The file with these words. Raises BuildError for words that do not fit, and for a file that has no place."""
    text = words.encode("ascii", "replace")
    if len(text) >= SPACE:
        raise BuildError(f"{len(text)} characters of words, and there is room for {SPACE - 1}")
    if elf.count(MARK) != 1:
        raise BuildError("the file has no place for words, or more than one")
    at = elf.index(MARK)
    return elf[:at] + text.ljust(SPACE, b"\0") + elf[at + SPACE :]


def initrd(elf: bytes) -> bytes:
    """The program as /init of an initial RAM disk, with the console that Linux opens for it."""
    return archive([directory("dev"), character("dev/console", 5, 1), regular("init", elf, 0o755)])


def build(name: str, words: str, folder: Path) -> list[Path]:
    """Write the files of one variant; returns them, the one to boot last. Raises BuildError, OSError."""
    elf = with_words(compiled(name, folder), words)
    paths = [folder / f"{name}.elf"]
    paths[0].write_bytes(elf)
    if name.endswith("-linux"):
        paths.append(folder / f"{name}.cpio")
        paths[1].write_bytes(initrd(elf))
    return paths


def main(argv: Sequence[str] | None = None) -> int:
    """Build variants into a folder; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m images.bench.build", description="Build the benchmark programs.", allow_abbrev=False
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: {' '.join(VARIANTS)}")
    parser.add_argument("-o", dest="folder", type=Path, default=Path("build/bench"), help="default: build/bench")
    parser.add_argument("--words", default="", metavar="TEXT", help="which programs run: NAME:ROUNDS ...")
    options = parser.parse_args(argv)
    try:
        for name in options.names or VARIANTS:
            if name not in VARIANTS:
                raise BuildError(f"there is no variant {name!r}; expected one of {', '.join(VARIANTS)}")
            for path in build(name, options.words, options.folder):
                print(path)
    except (BuildError, OSError) as error:
        print(f"images.bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
