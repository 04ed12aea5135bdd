"""What `emu bench` measures: one line for one kind of work on one machine, with the floors and aims of Emu's speed.

A line gives costs by item (a program, a mark of a guest); a row of the table sums up items and says what is wanted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from emu.options import UsageError, nearest, shown

INTEGER = ("sort", "crc", "matrix", "list", "state", "search", "bignum", "interp")
FLOATING = ("fmatrix", "fft", "nbody", "mandel")
MEMORY = ("chase", "stream")
BARE = ("pages", "spaces", "trap", "irq", "port")
SYSTEM = ("mmap", "fork", "syscall", "pipe")
GUEST = ("sha256", "gzip", "awk", "sort", "fork")
DISK = ("r 1", "r 4", "w 1", "w 4")
"""Reads or writes, and how many processes make them."""
NET = ("to host", "to host 1k", "from host", "ping")
"""TCP with the loopback of the host: writes of 64 KiB and of 1 KiB, the other way, and 64 bytes to and fro."""

ROUNDS = {
    "sort": 400, "crc": 3000, "matrix": 2000, "list": 2500, "state": 5000, "search": 2000, "bignum": 2500,
    "interp": 800, "fmatrix": 500, "fft": 800, "nbody": 500, "mandel": 50, "chase": 300, "stream": 15,
    "pages": 1000, "spaces": 200, "trap": 2000, "irq": 200, "port": 2000,
    "mmap": 300, "fork": 200, "syscall": 200, "pipe": 60,
}  # fmt: skip
"""How often each program does its work: some tenths of a second of QEMU's."""


class Machine(NamedTuple):
    """A board: the words that choose it, QEMU's program, how a bare program ends, the Linux of the collection."""

    name: str
    words: tuple[str, ...]
    qemu: str
    end: tuple[str, ...]
    variant: str
    folder: str
    kernel: str
    initrd: str
    append: str


MACHINES = {
    m.name: m
    for m in (
        Machine("pc", ("-M", "pc"), "qemu-system-i386", ("-device", "isa-debug-exit,iobase=0xf4,iosize=4"), "x87",
                "linux-i386", "bzImage", "initrd.gz", ""),
        Machine("bamboo", ("-M", "bamboo"), "qemu-system-ppc", (), "fpu",
                "linux-bamboo", "vmlinux", "rootfs.gz", "rdinit=/autorun"),
        Machine("ppce500", ("-M", "ppce500", "-cpu", "e500v2"), "qemu-system-ppc", (), "spe",
                "linux-e500", "uImage", "rootfs.gz", "rdinit=/autorun"),
    )
}  # fmt: skip


IDLERS = (
    *MACHINES.values(),
    Machine("mpc8544ds", ("-M", "mpc8544ds"), "qemu-system-ppc", (), "spe", "linux-e500", "vmlinux", "rootfs.gz", ""),
)
"""Boards that are also looked at while nothing happens."""


@dataclass(frozen=True)
class Row:
    """One row of the table. A ratio has to be at least `floor`; any other unit at most that."""

    name: str
    items: tuple[str, ...]
    floor: float | None = None
    aim: float | None = None
    clock: str = "processor"
    unit: str = "ratio"
    against: str = "qemu"


@dataclass(frozen=True)
class Line:
    """One line: what to run where. `kind` is a function of measure.py, `variant` one of images.bench."""

    name: str
    title: str
    kind: str
    machine: Machine
    rows: tuple[Row, ...]
    variant: str = ""
    programs: tuple[str, ...] = field(default=())

    def called(self, word: str) -> bool:
        """Whether a word of the command line means this line: its name or a part of it."""
        return word == self.name or word in self.name.split(".")


def _lines() -> Iterable[Line]:
    rows: tuple[Row, ...]
    for m in MACHINES.values():
        rows = (Row("integer", INTEGER, 1.3, 2.5),)
        yield Line(f"integer.{m.name}", "integer programs, bare", "programs", m, rows, m.variant, INTEGER)
    for variant, m, floor, aim in (
        ("x87", MACHINES["pc"], 4.0, 10.0), ("sse2", MACHINES["pc"], 4.0, 10.0),
        ("fpu", MACHINES["bamboo"], None, None), ("spe", MACHINES["ppce500"], None, None),
    ):  # fmt: skip
        rows = (Row("floating", FLOATING, floor, aim),)
        yield Line(f"float.{variant}", f"floating point, bare, {m.name}", "programs", m, rows, variant, FLOATING)
    for m in MACHINES.values():
        rows = (Row("memory", MEMORY),)
        yield Line(f"memory.{m.name}", "memory, bare", "programs", m, rows, m.variant, MEMORY)
    for m in MACHINES.values():
        rows = tuple(Row(item, (item,)) for item in BARE)
        yield Line(
            f"system.{m.name}", "page tables, traps, interrupts, ports; bare", "programs", m, rows, m.variant, BARE
        )
    for m in MACHINES.values():
        fork = (1.2, 2.0) if m.name == "pc" else (2.0, 5.0)
        fast = (4.0, 10.0) if m.name == "pc" else (None, None)
        rows = (
            Row("boot", ("boot",), 1.0, 2.0, clock="wall"),
            Row("integer", INTEGER, 1.3, 2.5),
            Row("floating", FLOATING, *fast),
            Row("fork", ("fork",), *fork),
            *(Row(item, (item,)) for item in ("mmap", "syscall", "pipe")),
            Row("footprint", ("footprint",), 120, 60, unit="MiB"),
        )
        programs = (*INTEGER, *FLOATING, *SYSTEM)
        yield Line(f"linux.{m.name}", "the programs under Linux", "linux", m, rows, f"{m.variant}-linux", programs)
    for m in MACHINES.values():
        fork = (1.2, 2.0) if m.name == "pc" else (2.0, 5.0)
        rows = (
            Row("boot", ("boot",), 1.0, 2.0, clock="wall"),
            Row("sha256, gzip", ("sha256", "gzip"), 1.3, 2.5),
            Row("awk", ("awk",), *((4.0, 10.0) if m.name == "pc" else (None, None))),
            Row("sort", ("sort",)),
            Row("fork", ("fork",), *fork),
        )
        yield Line(f"guest.{m.name}", "busybox under Linux: autorun=cpu", "guest", m, rows)
    pc = MACHINES["pc"]
    rows = (
        *(Row(f"vda {item}", (f"vda {item}",), 1.5, None, clock="wall") for item in DISK),
        Row("vda read", ("vda read",), 1.0, None, clock="wall"),
        *(Row(f"sda {item}", (f"sda {item}",), None, None, clock="wall") for item in DISK),
        Row("sda read", ("sda read",), 1.0, None, clock="wall"),
    )
    yield Line(
        "disk.pc",
        "random and sequential access inside Linux, on virtio-blk (vda) and IDE (sda)",
        "disk",
        pc,
        rows,
    )
    for m in list(MACHINES.values())[1:]:
        rows = tuple(Row(f"vda {item}", (f"vda {item}",), None, None, clock="wall") for item in (*DISK, "read"))
        yield Line(f"disk.{m.name}", "4 KiB random reads and writes inside Linux, on virtio-blk", "disk", m, rows)
    for m in list(MACHINES.values())[:2]:
        floors = {"to host": 1.0, "ping": 1.0}
        rows = tuple(Row(item, (item,), floors.get(item), None, clock="wall") for item in NET)
        yield Line(f"net.{m.name}", "TCP between Linux and the host, virtio-net on -netdev user", "net", m, rows)
    for m in IDLERS:
        rows = (Row("idle", ("idle",), 2.0, 1.0, unit="%"),)
        yield Line(f"idle.{m.name}", "Linux that does nothing, with virtio devices, --clock paced", "idle", m, rows)
    rows = tuple(Row(item, (item,), 1.3, unit="times") for item in ("kernel", "disk"))
    yield Line(
        "firmware.pc",
        "boot by SeaBIOS, by -kernel and by GRUB on an IDE disk, beside a direct one",
        "firmware",
        pc,
        rows,
    )
    yield Line("console.pc", "a Linux console on a frame buffer scrolls", "console", pc,
               (Row("interp", ("interp",), 0.33), Row("scroll", ("scroll",))))  # fmt: skip
    yield Line("start", "command to debug exit of a boot sector", "start", pc,
               (Row("start", ("start",), 0.3, 0.15, clock="wall", unit="s"),))  # fmt: skip
    yield Line("bochs", "the interp tier beside Bochs, busybox under Linux", "guest", pc,
               (Row("integer", ("sha256", "gzip", "sort"), 5.0, 10.0, against="bochs"),))  # fmt: skip
    yield Line("install", "pip install of a clean checkout", "install", pc,
               (Row("install", ("install",), 120, 60, clock="wall", unit="s"),))  # fmt: skip


LINES = tuple(_lines())


def chosen(words: Iterable[str]) -> list[Line]:
    """The lines that words name, in their order; all for no words. Raises UsageError for a word that names none."""
    wanted = list(words)
    for word in wanted:
        if not any(line.called(word) for line in LINES):
            known = sorted({part for line in LINES for part in (line.name, *line.name.split("."))})
            near = nearest(word, known)
            hint = f"did you mean {near}?" if near else "--list shows what there is"
            raise UsageError(f"bench: there is no line {shown(word)}; {hint}")
    return [line for line in LINES if not wanted or any(line.called(word) for word in wanted)]


def rounds_of(item: str, scale: float) -> int:
    """How often a program runs: once at least."""
    return max(1, round(ROUNDS[item] * scale))
