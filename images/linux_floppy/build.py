"""Builds a small Linux for i386 with the floppy driver: `python -m images.linux_floppy.build FOLDER`.

    FOLDER/bzImage    for -kernel, with any initial RAM disk (the shared one for i386 does)

The source is Debian's package linux-source-6.1, the settings are tinyconfig's and those of `floppy.config`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from images.linux_ppc.build import Builder, BuildError, lost, missing

HERE = Path(__file__).resolve().parent
PACKAGES = ("bc", "bison", "flex", "gcc", "linux-source-6.1", "make", "xz-utils")


def build(folder: Path, jobs: int) -> Path:
    """Make the kernel; gives its path. Raises BuildError."""
    builder = Builder(folder, jobs)
    out = builder.work / "floppy"
    out.mkdir(exist_ok=True)
    make = ("make", "-s", "ARCH=i386", f"O={out}")
    source, fragment = builder.kernel_source(), HERE / "floppy.config"
    builder.run("floppy", *make, f"KCONFIG_ALLCONFIG={fragment}", "tinyconfig", cwd=source)
    if left := lost((out / ".config").read_text(), fragment.read_text()):
        raise BuildError(f"the kernel's configuration does not keep {left[0]}")
    builder.run("floppy", *make, builder.jobs, "bzImage", cwd=source)
    shutil.copy(out / "arch/x86/boot/bzImage", folder / "bzImage")
    return folder / "bzImage"


def main() -> int:
    """The command; status 1 with a line that says what stopped it."""
    parser = argparse.ArgumentParser(prog="images.linux_floppy.build", description=__doc__.split(":")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count() or 1)
    words = parser.parse_args()
    try:
        if absent := missing(PACKAGES):
            raise BuildError(f"apt install {' '.join(absent)}")
        print(build(words.folder, words.jobs))
    except BuildError as error:
        print(f"images.linux_floppy.build: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
