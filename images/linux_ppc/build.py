"""Builds Linux for a 460EX and an e500mc board and a root with busybox: `python -m images.linux_ppc.build FOLDER`.

    FOLDER/460ex/vmlinux    for -M sam460ex          FOLDER/460ex/System.map
    FOLDER/e500mc/vmlinux   for -M ppce500 -cpu e500mc
    FOLDER/root.gz          the first root of both

Sources and compilers are Debian's (see README.md). Everything in between is kept in FOLDER/work, so that a second
start goes on where the first one ended; logs are there, too.
"""

from __future__ import annotations

import argparse
import gzip
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from images.linux_ppc.cpio import Entry, archive, character, directory, regular, symlink

HERE = Path(__file__).resolve().parent
PACKAGES = (
    "bc", "binutils-powerpc-linux-gnu", "bison", "bzip2", "dpkg-dev", "flex", "gcc", "gcc-12-powerpc-linux-gnu",
    "libc6-dev-powerpc-cross", "linux-source-6.1", "make", "xz-utils",
)  # fmt: skip
KERNELS = ("460ex", "e500mc")
SOURCE = Path("/usr/src/linux-source-6.1.tar.xz")
CROSS = ("ARCH=powerpc", "CROSS_COMPILE=powerpc-linux-gnu-", "CC=powerpc-linux-gnu-gcc-12")
# What else the kernel would take from this machine and moment.
FIXED = {
    "KBUILD_BUILD_TIMESTAMP": "2023-01-01",
    "KBUILD_BUILD_USER": "emu",
    "KBUILD_BUILD_HOST": "emu",
    "KBUILD_BUILD_VERSION": "1",
    "SOURCE_DATE_EPOCH": "1672531200",
    "LC_ALL": "C",
}
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SETTING = re.compile(r"(?:# )?(CONFIG_\w+)")


class BuildError(Exception):
    """What stopped the build, in a line for people."""


def missing(packages: Sequence[str]) -> list[str]:
    """The Debian packages that are not installed."""
    line = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *packages]
    try:
        shown = subprocess.run(line, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        raise BuildError("there is no dpkg-query: this builds on Debian only") from None
    there = {name for name, _, status in (row.partition(" ") for row in shown.splitlines()) if status == "installed"}
    return [name for name in packages if name not in there]


def settings(text: str) -> dict[str, str]:
    """The settings of a configuration by name: whole lines."""
    found = ((SETTING.match(line), line) for line in text.splitlines())
    return {match[1]: line for match, line in found if match and (line.startswith("CONFIG_") or " is not set" in line)}


def with_settings(config: str, fragment: str) -> str:
    """A complete configuration with the settings of a fragment instead of its own."""
    wanted = settings(fragment)
    lines = ((SETTING.match(line), line) for line in config.splitlines())
    return "".join((wanted.get(match[1], line) if match else line) + "\n" for match, line in lines)


def lost(config: str, fragment: str) -> list[str]:
    """Lines of a fragment that the configuration did not keep; "is not set" and not there is the same."""
    there, wanted = settings(config), settings(fragment)
    off = {name for name, line in wanted.items() if " is not set" in line}
    return [line for name, line in wanted.items() if there.get(name, line if name in off else "") != line]


def source_list(shown: str) -> str:
    """A list of source archives for what `apt-get indextargets` shows as "site|release|component|origin"."""
    rows = {tuple(row.split("|")) for row in shown.splitlines()}
    debian = sorted(row for row in rows if len(row) == 4 and row[3] == "Debian" and row[2] == "main")
    if not debian:
        raise BuildError("apt knows no Debian archive: `apt-get update` first")
    return "".join(f"deb-src [signed-by={KEYRING}] {site} {release} {part}\n" for site, release, part, _ in debian)


def root_entries(busybox: bytes, names: Sequence[str], files: Path) -> list[Entry]:
    """What is in the root: busybox under all its `names` (paths), and the files of a folder."""
    folders = ("bin", "dev", "etc", "proc", "root", "sbin", "sys", "tmp", "usr", "usr/bin", "usr/sbin")
    entries = [directory(name, 0o1777 if name == "tmp" else 0o755) for name in folders]
    entries += [character("dev/console", 5, 1), character("dev/null", 1, 3, 0o666)]
    entries.append(regular("bin/busybox", busybox, 0o755))
    entries += [symlink(name.lstrip("/"), "/bin/busybox") for name in sorted(names) if name != "/bin/busybox"]
    entries.append(symlink("init", "/bin/busybox"))
    for path in sorted(p for p in files.rglob("*") if p.is_file()):
        data = path.read_bytes()
        name = path.relative_to(files).as_posix()
        entries.append(regular(name, data, 0o755 if data.startswith(b"#!") else 0o644))
    return entries


def zipped(data: bytes) -> bytes:
    """gzip without a time in it."""
    return gzip.compress(data, mtime=0)


class Builder:
    """One build into a folder."""

    def __init__(self, folder: Path, jobs: int) -> None:
        self.folder = folder.resolve()
        self.work = self.folder / "work"
        self.jobs = f"-j{jobs}"
        self.work.mkdir(parents=True, exist_ok=True)

    def run(
        self, log: str, *line: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None, typed: str = ""
    ) -> str:
        """Run a command, its output into a log; returns it. Raises BuildError with where to look."""
        path = self.work / f"{log}.log"
        words = [str(word) for word in line]
        with path.open("a+b") as out:
            start = out.tell()
            result = subprocess.run(
                words, cwd=cwd, env={**os.environ, **FIXED, **(env or {})}, input=typed.encode(), stdout=out,
                stderr=subprocess.STDOUT, check=False,
            )  # fmt: skip
            out.seek(start)
            shown = out.read()
        if result.returncode:
            raise BuildError(f"`{' '.join(words[:4])} ...` failed with status {result.returncode}; see {path}")
        return shown.decode("utf-8", "replace")

    # --- kernels

    def kernel_source(self) -> Path:
        """Debian's kernel, unpacked once."""
        tree = self.work / "linux-source-6.1"
        if not (tree / "Makefile").exists():
            say("unpacking the kernel")
            part = self.work / "unpacking"
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            self.run("unpack", "tar", "-xJf", SOURCE, "-C", part)
            shutil.rmtree(tree, ignore_errors=True)
            (part / tree.name).rename(tree)
        return tree

    def kernel(self, name: str) -> None:
        """Configure and build one kernel."""
        tree, out, done = self.kernel_source(), self.work / name, self.folder / name
        out.mkdir(exist_ok=True)
        fragment = "".join((HERE / f).read_text(encoding="utf-8") for f in ("common.config", f"{name}.config"))
        merged = out / "fragment.config"
        merged.write_text(fragment, encoding="utf-8")
        make = ("make", "-C", tree, f"O={out}", *CROSS)
        self.run(name, *make, "allnoconfig", env={"KCONFIG_ALLCONFIG": str(merged)})
        if gone := lost((out / ".config").read_text(encoding="utf-8"), fragment):
            raise BuildError(f"{name}: the kernel has no such setting, or it needs another one: {gone[0]}")
        say(f"building the {name} kernel")
        self.run(name, *make, self.jobs, "vmlinux")
        done.mkdir(exist_ok=True)
        for part in ("vmlinux", "System.map"):
            shutil.copyfile(out / part, done / part)
        say(str(done / "vmlinux"))

    # --- the root

    def busybox_source(self) -> Path:
        """Debian's busybox, fetched by apt from the archives that this machine has its packages from."""
        apt, tree = self.work / "apt", self.work / "busybox"
        if (tree / "Makefile").exists():
            return tree
        say("fetching busybox")
        for part in ("lists/partial", "cache/archives/partial"):
            (apt / part).mkdir(parents=True, exist_ok=True)
        shown = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)"
        known = self.run("apt", "apt-get", "indextargets", "--format", shown, "Created-By: Packages")
        (apt / "sources.list").write_text(source_list(known), encoding="utf-8")
        options = {
            "Dir::Etc::sourcelist": apt / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State::lists": apt / "lists",
            "Dir::Cache": apt / "cache",
            "APT::Sandbox::User": "",
        }
        words = ["apt-get", *(part for key, value in options.items() for part in ("-o", f"{key}={value}"))]
        self.run("apt", *words, "update")
        self.run("apt", *words, "source", "--download-only", "busybox", cwd=apt)
        found = sorted(apt.glob("busybox_*.dsc"))
        if not found:
            raise BuildError(f"apt fetched no busybox; see {self.work / 'apt.log'}")
        unpacked = self.work / "unpacking-busybox"
        shutil.rmtree(unpacked, ignore_errors=True)
        shutil.rmtree(tree, ignore_errors=True)
        self.run("apt", "dpkg-source", "--no-check", "-x", found[-1], unpacked, cwd=apt)
        unpacked.rename(tree)
        return tree

    def busybox(self) -> tuple[bytes, list[str]]:
        """The program and the names it goes by."""
        tree, out = self.busybox_source(), self.work / "busybox-build"
        out.mkdir(exist_ok=True)
        fragment = (HERE / "busybox.config").read_text(encoding="utf-8")
        make = ("make", "-C", tree, f"O={out}", *CROSS)
        say("building busybox")
        self.run("busybox", *make, "allnoconfig")
        config = out / ".config"
        config.write_text(with_settings(config.read_text(encoding="utf-8"), fragment), encoding="utf-8")
        # Questions that follow from the settings get their defaults.
        self.run("busybox", *make, "oldconfig", typed="\n" * 10_000)
        if gone := lost(config.read_text(encoding="utf-8"), fragment):
            raise BuildError(f"busybox has no such setting, or it needs another one: {gone[0]}")
        self.run("busybox", *make, self.jobs, "busybox", "busybox.links")
        return (out / "busybox").read_bytes(), (out / "busybox.links").read_text(encoding="utf-8").split()

    def root(self) -> None:
        """Build the root."""
        busybox, names = self.busybox()
        path = self.folder / "root.gz"
        path.write_bytes(zipped(archive(root_entries(busybox, names, HERE / "root"))))
        say(str(path))


def say(text: str) -> None:
    """Progress."""
    print(text, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Build what is asked for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m images.linux_ppc.build", description=(__doc__ or "").split(":")[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where everything goes; 2 GB")
    parser.add_argument("--only", choices=(*KERNELS, "root"), action="append", help="build only this; may be repeated")
    parser.add_argument("-j", dest="jobs", type=int, default=os.cpu_count() or 1, help="default: all processors")
    options = parser.parse_args(argv)
    try:
        if absent := missing(PACKAGES):
            raise BuildError(f"Debian packages are missing: apt-get install {' '.join(absent)}")
        builder = Builder(options.folder, options.jobs)
        for name in options.only or ("root", *KERNELS):
            if name == "root":
                builder.root()
            else:
                builder.kernel(name)
    except (BuildError, OSError) as error:
        print(f"images.linux_ppc: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
