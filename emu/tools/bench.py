"""`make bench`: how fast Emu is, beside QEMU's TCG and Bochs where they are installed.

Every line of the table is one piece of work inside a Linux guest of the shared collection (EMU_SHARED), taken between
the guest's own marks. Times are those of the processor, all threads together: on a busy machine the wall clock says
more of the others. Emulators take turns (A B A B ...); what counts is the ratio within one round. Figures go to a table
and a JSON file, never into a test.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from emu.clock import wall
from emu.options import UsageError, shown
from emu.tools.words import Words, count

WORK = ("boot", "sha256", "gzip", "awk", "sort", "fork")
INTEGER = ("sha256", "gzip", "sort")
APPEND = "console=ttyS0 quiet autorun=cpu"


class Guest(NamedTuple):
    """A Linux guest: its folder in the collection, its files, and the words that choose the machine."""

    folder: str
    kernel: str
    initrd: str
    machine: tuple[str, ...]
    append: str
    qemu: str


GUESTS = {
    "pc": Guest("linux-i386", "bzImage", "initrd.gz", ("-M", "pc"), APPEND, "qemu-system-i386"),
    "bamboo": Guest(
        "linux-bamboo", "vmlinux", "rootfs.gz", ("-M", "bamboo"), f"{APPEND} rdinit=/autorun", "qemu-system-ppc"
    ),
    "ppce500": Guest(
        "linux-e500", "uImage", "rootfs.gz", ("-M", "ppce500", "-cpu", "e500v2"), f"{APPEND} rdinit=/autorun",
        "qemu-system-ppc",
    ),
}  # fmt: skip
BOCHS_FILES = {
    "isolinux.bin": "/usr/lib/ISOLINUX/isolinux.bin",
    "ldlinux.c32": "/usr/lib/syslinux/modules/bios/ldlinux.c32",
    "bios": "/usr/share/bochs/BIOS-bochs-latest",
    "vga": "/usr/share/seabios/vgabios-stdvga.bin",
}
BOOT_SECTOR = bytes.fromhex("b010baf400eef4").ljust(510, b"\0") + b"\x55\xaa"  # mov al, 16; mov dx, 0xf4; out dx, al


def folder_of(guest: Guest) -> Path | None:
    """The folder of a guest, if it is there."""
    folder = Path(os.environ.get("EMU_SHARED", "../shared")) / "guests" / guest.folder
    return folder if (folder / guest.kernel).exists() else None


def emu_command(guest: Guest, folder: Path, scratch: Path) -> list[str]:
    """Emu's interp tier with the guest."""
    return [sys.executable, "-m", "emu", "run", "--accel", "interp", "--clock", "warp", *_qemu_like(guest, folder)]


def qemu_command(guest: Guest, folder: Path, scratch: Path) -> list[str]:
    """QEMU's translator with the same words."""
    return [guest.qemu, "-accel", "tcg", *_qemu_like(guest, folder)]


def _qemu_like(guest: Guest, folder: Path) -> list[str]:
    files = ["-kernel", str(folder / guest.kernel), "-initrd", str(folder / guest.initrd), "-append", guest.append]
    return [*guest.machine, "-m", "256", "-nographic", "-no-reboot", *files]


def bochs_command(guest: Guest, folder: Path, scratch: Path) -> list[str]:
    """Bochs loads no kernel by itself: it boots a CD made here."""
    tree = scratch / "cd" / "isolinux"
    if not tree.exists():
        tree.mkdir(parents=True)
        for name in ("isolinux.bin", "ldlinux.c32"):
            shutil.copy(BOCHS_FILES[name], tree / name)
        shutil.copy(folder / "bzImage", tree / "linux")
        shutil.copy(folder / "initrd.gz", tree / "initrd.gz")
        (tree / "isolinux.cfg").write_text(
            f"DEFAULT l\nPROMPT 0\nTIMEOUT 1\nLABEL l\n KERNEL linux\n INITRD initrd.gz\n APPEND {APPEND}\n"
        )
        subprocess.run(
            ["xorriso", "-as", "mkisofs", "-quiet", "-o", str(scratch / "cd.iso"), "-b", "isolinux/isolinux.bin",
             "-c", "isolinux/boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", str(tree.parent)],
            check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        (scratch / "go.rc").write_text("c\n")
        (scratch / "bochsrc").write_text(
            f"megs: 256\nromimage: file={BOCHS_FILES['bios']}\nvgaromimage: file={BOCHS_FILES['vga']}\n"
            f"ata0-master: type=cdrom, path={scratch}/cd.iso, status=inserted\nboot: cdrom\n"
            f"com1: enabled=1, mode=file, dev={scratch}/serial\n"
            'display_library: rfb, options="timeout=0"\nspeaker: enabled=0\nsound: waveoutdrv=dummy\n'
            f"log: {scratch}/log\ncpu: count=1, ips=100000000, reset_on_triple_fault=1\npanic: action=report\n"
        )
    (scratch / "serial").unlink(missing_ok=True)
    # It will not run without a terminal, so it gets one that nobody looks at.
    words = shlex.join(["bochs", "-q", "-f", str(scratch / "bochsrc"), "-rc", str(scratch / "go.rc")])
    return ["script", "-qec", words, "/dev/null"]


def _lines_of_output(process: subprocess.Popen[bytes], scratch: Path) -> Iterator[bytes]:
    if process.stdout is not None:
        yield from process.stdout


def _lines_of_file(process: subprocess.Popen[bytes], scratch: Path) -> Iterator[bytes]:
    """Lines of the serial file as they come."""
    path = scratch / "serial"
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


def processor_time(root: int) -> float:
    """Seconds that a process and its descendants have spent on processors."""
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


class Contender:
    """One emulator: how to start it and where its serial output appears."""

    def __init__(
        self, name: str, command: Callable[[Guest, Path, Path], list[str]], *, needs: Sequence[str], file: bool
    ) -> None:
        self.name = name
        self.command = command
        self.needs = needs
        self.lines = _lines_of_file if file else _lines_of_output
        self.file = file

    def missing(self, guest: Guest) -> str | None:
        """What is not installed, or None."""
        for need in (guest.qemu, *self.needs) if self.name == "qemu" else self.needs:
            if not (Path(need).exists() if need.startswith("/") else shutil.which(need)):
                return need
        return None

    def round(self, guest: Guest, folder: Path, scratch: Path) -> dict[str, float]:
        """Seconds of processor time for each piece of work, in one run."""
        words = self.command(guest, folder, scratch)
        out = subprocess.DEVNULL if self.file else subprocess.PIPE
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.DEVNULL)
        times: dict[str, float] = {}
        last = 0.0
        try:
            for line in self.lines(process, scratch):
                now = processor_time(process.pid)
                name = "boot" if b"GUEST-READY" in line else line.split()[1].decode() if b"RESULT" in line else None
                if name in WORK:
                    times[name] = now - last
                    last = now
                if len(times) == len(WORK):
                    break
        finally:
            process.kill()
            process.wait()
        return times


CONTENDERS = (
    Contender("emu", emu_command, needs=(), file=False),
    Contender("qemu", qemu_command, needs=(), file=False),
    Contender("bochs", bochs_command, needs=("bochs", "script", "xorriso", *BOCHS_FILES.values()), file=True),
)


def start_up(runs: int) -> dict[str, float]:
    """Seconds from command to a boot sector's debug exit, and peak resident MiB of that run (16 MiB guest)."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "exit.img"
        image.write_bytes(BOOT_SECTOR)
        device = "isa-debug-exit,iobase=0xf4,iosize=4"
        words = [sys.executable, "-m", "emu", "run", "-m", "16", "-device", device, "-display", "none", str(image)]
        best = float("inf")
        peak = 0
        for _ in range(runs):
            start = wall()
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            _, status, usage = os.wait4(process.pid, 0)
            best = min(best, wall() - start)
            peak = max(peak, usage.ru_maxrss)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode != 33:
                raise RuntimeError(f"the boot sector ended with status {process.returncode}, not 33")
        return {"start_s": best, "peak_mib": peak / 1024}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Minimum, median and maximum."""
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def ratios(rounds: dict[str, list[dict[str, float]]], name: str) -> dict[str, dict[str, float]]:
    """How many times faster Emu is than `name`, for each piece of work, round against round."""
    out = {}
    for work in (*WORK, "integer"):
        pairs = []
        for other, ours in zip(rounds[name], rounds["emu"], strict=False):
            parts = INTEGER if work == "integer" else (work,)
            if all(p in other and p in ours for p in parts):
                pairs.append(sum(other[p] for p in parts) / sum(ours[p] for p in parts))
        if pairs:
            out[work] = spread(pairs)
    return out


def main(argv: Sequence[str]) -> int:
    """The `bench` subcommand."""
    parser = Words(
        "bench", "Time Emu, beside QEMU and Bochs where they are installed, on the Linux guests of EMU_SHARED."
    )
    parser.add_argument("--guest", default=",".join(GUESTS), metavar="NAMES", help=f"which guests ({','.join(GUESTS)})")
    parser.add_argument("--runs", type=count, default=5, metavar="N", help="rounds of Emu and QEMU (5)")
    parser.add_argument("--bochs-runs", type=count, default=1, metavar="N", help="rounds of Bochs, which is slow (1)")
    parser.add_argument(
        "-o", dest="output", default="build/bench.json", metavar="FILE", help="figures (build/bench.json)"
    )
    args = parser.parse_args(list(argv))
    chosen = args.guest.split(",")
    for name in chosen:
        if name not in GUESTS:
            raise UsageError(f"bench: --guest {shown(name)}: expected one of {', '.join(GUESTS)}")
    path = Path(args.output)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("a").close()
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise UsageError(f"bench: {shown(args.output)}: {why}") from None
    report: dict[str, object] = {"start_up": start_up(args.runs)}
    figures = report["start_up"]
    print(f"command to debug exit: {figures['start_s']:.3f} s; peak resident {figures['peak_mib']:.0f} MiB")  # type: ignore[index]
    for name in chosen:
        guest = GUESTS[name]
        folder = folder_of(guest)
        if folder is None:
            print(f"{name}: the Linux guest is not there (set EMU_SHARED)")
            continue
        print(f"\n{name}")
        rounds = _race(guest, folder, args.runs, args.bochs_runs)
        found = {other: ratios(rounds, other) for other in rounds if other != "emu"}
        report[name] = {"rounds": rounds, "ratios": found}
        _table(rounds, found)
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(f"figures in {path}")
    return 0


def _race(guest: Guest, folder: Path, runs: int, bochs_runs: int) -> dict[str, list[dict[str, float]]]:
    rounds: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for k in range(runs):
            for who in CONTENDERS:
                if who.name == "bochs" and (k >= bochs_runs or guest is not GUESTS["pc"]):
                    continue
                missing = who.missing(guest)
                if missing:
                    if k == 0:
                        print(f"{who.name}: left out, {missing} is not installed")
                    continue
                times = who.round(guest, folder, Path(scratch))
                rounds.setdefault(who.name, []).append(times)
                print(f"{who.name:6}", "  ".join(f"{w} {t:.2f} s" for w, t in times.items()), flush=True)
    return rounds


def _table(rounds: dict[str, list[dict[str, float]]], found: dict[str, dict[str, dict[str, float]]]) -> None:
    for name, table in found.items():
        print(f"\nEmu against {name}: times as fast (minimum, median, maximum of {len(rounds[name])})")
        for work, r in table.items():
            print(f"  {work:8} {r['min']:7.2f} {r['median']:7.2f} {r['max']:7.2f}")


if __name__ == "__main__":
    from emu.__main__ import main as emu

    sys.exit(emu(["bench", *sys.argv[1:]]))
