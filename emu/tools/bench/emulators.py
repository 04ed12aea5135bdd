"""The emulators that take turns: how each is started, and what a run has cost when the guest prints a line."""

from __future__ import annotations

import os
import select
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from emu.clock import processor_seconds, wall
from emu.tools.bench.lines import Machine

LONGEST = 1800.0
"""Wall seconds after which a run is given up."""
BOCHS_FILES = {
    "isolinux.bin": "/usr/lib/ISOLINUX/isolinux.bin",
    "ldlinux.c32": "/usr/lib/syslinux/modules/bios/ldlinux.c32",
    "bios": "/usr/share/bochs/BIOS-bochs-latest",
    "vga": "/usr/share/seabios/vgabios-stdvga.bin",
}
BOCHS_NEEDS = ("bochs", "script", "xorriso", *BOCHS_FILES.values())


class BenchError(Exception):
    """A run that gave no figures, in a line for people."""


class Cost(NamedTuple):
    """Seconds of all threads on processors, and seconds on the wall. Rows in MiB or % have those in both."""

    processor: float
    wall: float

    def since(self, before: Cost) -> Cost:
        """What came after `before`."""
        return Cost(self.processor - before.processor, self.wall - before.wall)


class Seen(NamedTuple):
    """A line of the guest, and what the run has cost when it came."""

    text: str
    cost: Cost
    pid: int


@dataclass(frozen=True)
class Emulator:
    """One of those that are compared. `file` is where its serial output goes, if not to its stdout."""

    name: str
    family: bool = False
    file: bool = False

    def command(
        self, machine: Machine, accel: str | None, words: Sequence[str], scratch: Path, clock: str = "warp"
    ) -> list[str]:
        """The command that runs a machine with more words of QEMU's kind; `clock` is Emu's."""
        common = [*machine.words, "-nographic", "-no-reboot", *words]
        if self.name == "emu":
            tier = ["--accel", accel] if accel else []
            return [sys.executable, "-m", "emu", "run", *tier, "--clock", clock, *common]
        if self.name == "qemu":
            return [machine.qemu, "-accel", "tcg", *common]
        return _bochs(words, scratch)

    def missing(self, machine: Machine) -> str | None:
        """What is not installed, or None."""
        needs: tuple[str, ...] = {"emu": (), "qemu": (machine.qemu,)}.get(self.name, BOCHS_NEEDS)
        for need in needs:
            if not (Path(need).exists() if need.startswith("/") else shutil.which(need)):
                return need
        return None

    def run(self, words: Sequence[str], scratch: Path) -> Iterator[Seen]:
        """Lines of one run. The process is killed when nobody wants more of them. Raises BenchError, OSError."""
        out = subprocess.DEVNULL if self.file else subprocess.PIPE
        start = wall()
        process = subprocess.Popen(list(words), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.DEVNULL)
        try:
            lines = _lines_of_file(process, scratch / "serial") if self.file else _lines_of_output(process, start)
            for line in lines:
                spent = family_time(process.pid) if self.family else processor_seconds(process.pid)
                yield Seen(line.decode("ascii", "replace").rstrip("\r"), Cost(spent, wall() - start), process.pid)
        finally:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()


EMU = Emulator("emu")
QEMU = Emulator("qemu")
BOCHS = Emulator("bochs", family=True, file=True)


def _lines_of_output(process: subprocess.Popen[bytes], start: float) -> Iterator[bytes]:
    if process.stdout is None:
        return
    rest = b""
    while True:
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, start + LONGEST - wall()))
        if not ready:
            raise BenchError(f"no end after {LONGEST:.0f} s")
        data = os.read(process.stdout.fileno(), 65536)
        *lines, rest = (rest + data).split(b"\n")
        yield from lines
        if not data:
            return


def _lines_of_file(process: subprocess.Popen[bytes], path: Path) -> Iterator[bytes]:
    """Lines of the serial file as they come."""
    seen = 0
    while process.poll() is None:
        data = path.read_bytes() if path.exists() else b""
        lines = data.split(b"\n")[:-1]
        yield from lines[seen:]
        seen = len(lines)
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue


def family_time(root: int) -> float:
    """Seconds that a process and its descendants have spent on processors, in clock ticks."""
    tick = os.sysconf("SC_CLK_TCK")
    parents: dict[int, tuple[int, float]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        # Parent, then user and system time with those of children that have ended.
        parents[int(stat.parent.name)] = int(fields[1]), sum(map(int, fields[11:15])) / tick
    total, family = 0.0, [root]
    while family:
        pid = family.pop()
        total += parents.get(pid, (0, 0.0))[1]
        family += [child for child, (parent, _) in parents.items() if parent == pid]
    return total


def memory_beside(smaps: str, ram: int) -> float:
    """MiB that are resident beside guest RAM: without the mappings of at least `ram` bytes. From /proc/PID/smaps."""
    size = resident = 0
    for line in smaps.splitlines():
        name, _, rest = line.partition(":")
        if name == "Size":
            size = int(rest.split()[0]) * 1024
        elif name == "Rss" and size < ram:
            resident += int(rest.split()[0]) * 1024
    return resident / (1 << 20)


def _bochs(words: Sequence[str], scratch: Path) -> list[str]:
    """Bochs loads no kernel by itself: it boots a CD made here. Words are as for the others."""
    given = dict(zip(words[::2], words[1::2], strict=False))
    tree = scratch / "cd" / "isolinux"
    tree.mkdir(parents=True, exist_ok=True)
    for name in ("isolinux.bin", "ldlinux.c32"):
        shutil.copy(BOCHS_FILES[name], tree / name)
    shutil.copy(given["-kernel"], tree / "linux")
    shutil.copy(given["-initrd"], tree / "initrd.gz")
    (tree / "isolinux.cfg").write_text(
        f"DEFAULT l\nPROMPT 0\nTIMEOUT 1\nLABEL l\n KERNEL linux\n INITRD initrd.gz\n APPEND {given['-append']}\n"
    )
    made = subprocess.run(
        ["xorriso", "-as", "mkisofs", "-quiet", "-o", str(scratch / "cd.iso"), "-b", "isolinux/isolinux.bin",
         "-c", "isolinux/boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", str(tree.parent)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    if made.returncode:
        raise BenchError("xorriso made no CD")
    (scratch / "go.rc").write_text("c\n")
    (scratch / "bochsrc").write_text(
        f"megs: {given['-m']}\nromimage: file={BOCHS_FILES['bios']}\nvgaromimage: file={BOCHS_FILES['vga']}\n"
        f"ata0-master: type=cdrom, path={scratch}/cd.iso, status=inserted\nboot: cdrom\n"
        f"com1: enabled=1, mode=file, dev={scratch}/serial\n"
        'display_library: rfb, options="timeout=0"\nspeaker: enabled=0\nsound: waveoutdrv=dummy\n'
        f"log: {scratch}/log\ncpu: count=1, ips=100000000, reset_on_triple_fault=1\npanic: action=report\n"
    )
    (scratch / "serial").unlink(missing_ok=True)
    # It will not run without a terminal, so it gets one that nobody looks at.
    return [
        "script",
        "-qec",
        shlex.join(["bochs", "-q", "-f", f"{scratch}/bochsrc", "-rc", f"{scratch}/go.rc"]),
        "/dev/null",
    ]
