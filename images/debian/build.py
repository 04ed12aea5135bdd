"""Builds a Debian root for i386: `python -m images.debian.build FOLDER [--mirror URL]`; needs root and a network.

    FOLDER/root.img       ext4, 640 MiB, label `debian`: systemd, a login on ttyS0, root without a password
    FOLDER/repository     a package that is not in it (hello), for apt-get as http://10.0.2.2:PORT

debootstrap (Debian's package of that name) does the work. Any i386 kernel that has ext4 and the disk's driver built in
starts it, by `root=/dev/vda` or `root=/dev/sda`. What is downloaded stays in FOLDER/cache.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

MIRROR = "http://deb.debian.org/debian"
RELEASE = "bookworm"
INCLUDED = ("systemd-sysv", "udev")
EXTRA = "hello"
SIZE = 640 << 20
LABEL = "debian"
FILES = {
    "etc/hostname": "emu\n",
    "etc/hosts": "127.0.0.1 localhost emu\n",
    "etc/fstab": f"LABEL={LABEL} / ext4 errors=remount-ro 0 1\n",
    "etc/systemd/network/any.network": "[Match]\nType=ether\n\n[Network]\nDHCP=ipv4\n",
    "etc/apt/sources.list": "",
}
ENABLED = ("systemd-networkd.service",)
MASKED = ("systemd-networkd-wait-online.service",)
TOOLS = {"debootstrap": "debootstrap", "mkfs.ext4": "e2fsprogs", "dpkg-deb": "dpkg"}


class BuildError(Exception):
    """What stopped the build, in a line for people."""


def run(log: Path, *line: str | Path) -> None:
    """Run a program with its output in a log. Raises BuildError."""
    with log.open("ab") as out:
        done = subprocess.run([str(word) for word in line], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    if done.returncode:
        last = log.read_text("utf-8", "replace").strip().splitlines()[-1:]
        raise BuildError(f"{line[0]} failed: {''.join(last)} (see {log})")


def check() -> None:
    """Raises BuildError for what is not there."""
    for tool, package in TOOLS.items():
        if not shutil.which(tool):
            raise BuildError(f"{tool} is missing: apt install {package}")
    if os.geteuid():
        raise BuildError("this needs root, as debootstrap does")


def configure(root: Path) -> None:
    """Files, services, and a root user without a password."""
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for names, folder, target in ((ENABLED, "multi-user.target.wants/", "/lib/systemd/system/"), (MASKED, "", "")):
        for name in names:
            link = root / "etc/systemd/system" / folder / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(f"{target}{name}" if target else "/dev/null")
    shadow = root / "etc/shadow"
    shadow.write_text(re.sub(r"^root:[^:]*:", "root::", shadow.read_text(), flags=re.M))
    for path in (root / "var/cache/apt/archives").glob("*.deb"):
        path.unlink()


def index(deb: Path) -> str:
    """A package's paragraph in a repository's Packages file."""
    control = subprocess.run(["dpkg-deb", "-f", str(deb)], capture_output=True, text=True, check=True).stdout.strip()
    data = deb.read_bytes()
    return f"{control}\nFilename: ./{deb.name}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n\n"


def build(folder: Path, mirror: str) -> None:
    """Everything, into a folder. Raises BuildError."""
    check()
    folder = folder.resolve()
    root, cache, repository, log = folder / "root", folder / "cache", folder / "repository", folder / "log"
    for path in (cache, repository):
        path.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    shutil.rmtree(root, ignore_errors=True)
    options = ("--arch=i386", "--variant=minbase", f"--cache-dir={cache}", f"--include={','.join(INCLUDED)}")
    print(f"debootstrap {RELEASE} from {mirror}", flush=True)
    run(log, "debootstrap", *options, RELEASE, root, mirror)
    print(f"the package {EXTRA}", flush=True)
    run(log, "chroot", root, "sh", "-c", f"cd /tmp && apt-get -q download {EXTRA}")
    for old in repository.iterdir():
        old.unlink()
    for deb in (root / "tmp").glob("*.deb"):
        shutil.move(deb, repository / deb.name)
    (repository / "Packages").write_text("".join(index(deb) for deb in sorted(repository.glob("*.deb"))))
    configure(root)
    image = folder / "root.img"
    image.unlink(missing_ok=True)
    with image.open("wb") as out:
        out.truncate(SIZE)
    run(log, "mkfs.ext4", "-q", "-L", LABEL, "-d", root, image)
    shutil.rmtree(root)
    print(image)


def main(words: Sequence[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="images.debian.build", description="Builds a Debian root for i386.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mirror", default=MIRROR)
    given = parser.parse_args(words)
    try:
        build(given.folder, given.mirror)
    except (BuildError, OSError) as error:
        print(f"images.debian.build: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
