"""How each kind of line is measured: one function from an emulator to the costs of one round, by item.

What a guest does is taken between the lines it prints, so that neither the emulator's start nor a boot counts.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from emu.clock import processor_seconds, wall
from emu.tools.bench.emulators import EMU, QEMU, BenchError, Cost, Emulator, memory_beside
from emu.tools.bench.lines import DISK, GUEST, MACHINES, Line, rounds_of

ROOT = Path(__file__).resolve().parents[3]
BARE_MEMORY, LINUX_MEMORY = 64, 256
DISK_SIZE = 64 << 20
IOPS_SECONDS = 3
"""How long the guest's own measurement of a disk takes, on its clock."""
READS = 4
"""How often the guest reads a disk from its beginning to its end."""
RESULT = re.compile(r"bench (\w+)(?: (\d+) ([0-9a-f]{8}))?$")
IOPS = re.compile(r"/dev/(\w+) ([rw]) procs=(\d+) IOPS=(\d+)")
SEQUENTIAL = re.compile(r"READ /dev/(\w+) end")
TRY_DISKS = (
    'rdinit=/bin/sh -- -c "export PATH=/bin:/sbin:/usr/bin; mount -t proc p /proc; mount -t sysfs s /sys; '
    "mount -t devtmpfs d /dev; for d in /dev/vda /dev/sda; do for a in "
    + " ".join(item.replace(" ", ":") for item in DISK)
    + f"; do if [ -b $d ]; then iops $d ${{a%:*}} {IOPS_SECONDS} ${{a#*:}}; fi; done; if [ -b $d ]; then "
    f"echo READ $d; for i in $(seq {READS}); do echo 3 > /proc/sys/vm/drop_caches; dd if=$d of=/dev/null bs=1M; done; "
    'echo READ $d end; fi; done 2> /dev/null; echo GUEST-DONE; poweroff -f"'
)
"""The kernel's command line for a first process that measures each disk."""
NET_MIB = 32
"""How much goes each way; writes of 1 KiB make half of it."""
NET_TURNS = 1500
NET_LONGEST = 300.0
"""Seconds for which a peer waits."""
NET_PROGRAMS = {
    "to host": "dd if=/dev/zero bs=64k count={blocks} status=none",
    "to host 1k": "dd if=/dev/zero bs=1k count={kib} status=none",
    "from host": "dd of=/dev/null bs=64k status=none",
    "ping": "cat",
}
NET_UP = (
    'rdinit=/bin/sh -- -c "export PATH=/bin:/sbin:/usr/bin:/usr/sbin; mount -t proc p /proc; '
    "mount -t devtmpfs d /dev; mkdir -p /tmp; ip link set lo up; ip link set eth0 up; "
    "ip addr add 10.0.2.15/24 dev eth0; {commands}; "
    'echo GUEST-DONE; sleep 1000"'
)
IDLE_UP = (
    'rdinit=/bin/sh -- -c "export PATH=/bin:/sbin:/usr/bin:/usr/sbin; mount -t proc p /proc; ip link set eth0 up; '
    'echo GUEST-READY; sleep 10000"'
)
IDLE_DEVICES = (
    "virtio-blk-pci,drive=d", "virtio-net-pci,netdev=n", "virtio-rng-pci", "virtio-balloon-pci", "virtio-serial-pci",
)  # fmt: skip
IDLE_SETTLES, IDLE_SECONDS, IDLE_LEAST = 8.0, 60.0, 10.0
SEABIOS = "/usr/share/seabios/bios-256k.bin"
INSTALLER = "/usr/lib/debian-installer/images/12/i386/text/debian-installer/i386/linux"
"""A kernel with a console on the frame buffer of the firmware."""
SCROLL = (
    'console=ttyS0 vga=791 nomodeset quiet rdinit=/bin/sh -- -c "mount -t devtmpfs d /dev; i=0; '
    "while [ $i -lt 800 ]; do echo line $i of a long text that is to be scrolled; i=$((i+1)); done > /t; "
    'cat /t > /dev/tty1; echo SCROLL-BEGIN; cat /t > /dev/tty1; echo SCROLL-END; sleep 1000"'
)
"""The kernel's command line for a first process that writes to the screen, once to warm up."""
BOOT_SECTOR = bytes.fromhex("b010baf400eef4").ljust(510, b"\0") + b"\x55\xaa"  # mov al, 16; mov dx, 0xf4; out dx, al


@dataclass
class Run:
    """What the measurements of one `emu bench` share; `sums` are those that the programs have printed, by who."""

    scratch: Path
    accel: str | None = None
    scale: float = 1.0
    sums: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    devices: str | None = None

    def built(self, line: Line) -> Path:
        """The program of a line, made by the recipe. Raises BenchError with what the recipe says."""
        words = " ".join(f"{name}:{rounds_of(name, self.scale)}" for name in line.programs)
        command = [sys.executable, "-m", "images.bench.build", "-o", str(self.scratch / "bench"), "--words", words]
        done = subprocess.run(
            [*command, line.variant], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if done.returncode:
            raise BenchError((done.stderr.strip().splitlines() or ["the recipe failed"])[-1])
        return Path(done.stdout.splitlines()[-1])


def folder_of(line: Line) -> Path:
    """The Linux of a line's machine in the shared collection. Raises BenchError."""
    folder = Path(os.environ.get("EMU_SHARED", "../shared")) / "guests" / line.machine.folder
    if not (folder / line.machine.kernel).exists():
        raise BenchError("the Linux guest is not there (set EMU_SHARED)")
    return folder


def programs(line: Line, emulator: Emulator, run: Run) -> dict[str, Cost]:
    """The bare programs."""
    path = run.built(line)
    words = ["-m", str(BARE_MEMORY), *line.machine.end, "-kernel", str(path)]
    return _results(line, emulator, run, words, BARE_MEMORY)


def linux(line: Line, emulator: Emulator, run: Run) -> dict[str, Cost]:
    """The programs as the first process of Linux; `boot` is the way to it, `footprint` the memory at the end."""
    folder = folder_of(line)
    path = run.built(line)
    words = ["-m", str(LINUX_MEMORY), "-kernel", str(folder / line.machine.kernel), "-initrd", str(path)]
    return _results(line, emulator, run, [*words, "-append", "console=ttyS0 quiet"], LINUX_MEMORY)


def _results(line: Line, emulator: Emulator, run: Run, words: list[str], ram: int) -> dict[str, Cost]:
    costs: dict[str, Cost] = {}
    last: Cost | None = None
    footprint, most = any("footprint" in row.items for row in line.rows), 0.0
    for seen in emulator.run(emulator.command(line.machine, run.accel, words, run.scratch), run.scratch):
        match = RESULT.search(seen.text)
        if not match:
            continue
        name, rounds, total = match.groups()
        if last is None:
            costs["boot"] = seen.cost
        elif name in line.programs and total:
            costs[name] = seen.cost.since(last)
            run.sums.setdefault(f"{name}:{rounds}", {}).setdefault(total, set()).add(f"{emulator.name} {line.name}")
        elif name == "done":
            break
        if footprint:
            # The process may end right after the last line, so each line is looked at.
            mib = memory_beside(Path(f"/proc/{seen.pid}/smaps").read_text(), ram << 20)
            most = max(most, mib)
            costs["footprint"] = Cost(most, most)
        last = seen.cost
    lost = [name for name in line.programs if name not in costs]
    if lost:
        raise BenchError(f"{emulator.name} ended before {lost[0]} did")
    return costs


def guest(line: Line, emulator: Emulator, run: Run) -> dict[str, Cost]:
    """A Linux guest of the collection with its own marks."""
    folder, m = folder_of(line), line.machine
    append = " ".join(("console=ttyS0 quiet autorun=cpu", *m.append.split()))
    words = ["-m", str(LINUX_MEMORY), "-kernel", str(folder / m.kernel), "-initrd", str(folder / m.initrd)]
    accel = "interp" if line.name == "bochs" else run.accel
    costs: dict[str, Cost] = {}
    last = Cost(0.0, 0.0)
    command = emulator.command(m, accel, [*words, "-append", append], run.scratch)
    for seen in emulator.run(command, run.scratch):
        name = "boot" if "GUEST-READY" in seen.text else seen.text.split()[1] if "RESULT" in seen.text else ""
        if name in ("boot", *GUEST):
            costs[name] = seen.cost.since(last)
            last = seen.cost
        if len(costs) > len(GUEST):
            return costs
    raise BenchError(f"{emulator.name} ended before the guest did")


def disk(line: Line, emulator: Emulator, run: Run) -> dict[str, Cost]:
    """Seconds for one operation on a disk, or for a MiB read in order.

    How many operations there were is the guest's figure, the time is the host's.
    """
    folder, m = folder_of(line), line.machine
    if run.devices is None:
        words = [sys.executable, "-m", "emu", "run", "-device", "help"]
        run.devices = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout
    drives = []
    for name, interface in (("ide", "ide,index=0"), ("virtio", "virtio")):
        if (name == "virtio" and "virtio-blk" not in run.devices) or (name == "ide" and m.name != "pc"):
            continue
        image = run.scratch / f"{name}.img"
        with image.open("wb") as out:
            out.truncate(DISK_SIZE)
        drives += ["-drive", f"file={image},format=raw,if={interface}"]
    words = ["-m", str(LINUX_MEMORY), "-kernel", str(folder / m.kernel), "-initrd", str(folder / m.initrd), *drives]
    costs: dict[str, Cost] = {}
    last = Cost(0.0, 0.0)
    command = emulator.command(m, run.accel, [*words, "-append", f"console=ttyS0 quiet {TRY_DISKS}"], run.scratch)
    for seen in emulator.run(command, run.scratch):
        match = IOPS.search(seen.text)
        if match:
            device, way, processes, rate = match.groups()
            spent, count = seen.cost.since(last), max(1, int(rate) * IOPS_SECONDS)
            costs[f"{device} {way} {processes}"] = Cost(spent.processor / count, spent.wall / count)
        elif ended := SEQUENTIAL.search(seen.text):
            spent, mib = seen.cost.since(last), READS * (DISK_SIZE >> 20)
            costs[f"{ended[1]} read"] = Cost(spent.processor / mib, spent.wall / mib)
        last = seen.cost
        if "GUEST-DONE" in seen.text:
            return costs
    raise BenchError(f"{emulator.name} ended before the guest did")


def net(line: Line, emulator: Emulator, run: Run) -> dict[str, Cost]:
    """Seconds for a MiB of TCP, and for 64 bytes to the guest and back (wall: the median turn)."""
    folder, m = folder_of(line), line.machine
    mib = max(1, round(NET_MIB * run.scale))
    small = max(1, mib // 2)
    programs = {name: text.format(blocks=16 * mib, kib=1024 * small) for name, text in NET_PROGRAMS.items()}
    turns = max(100, round(NET_TURNS * run.scale))
    netdev = "user,id=n"
    costs: dict[str, Cost] = {}
    failed: list[str] = []
    started, pids = threading.Event(), list[int]()
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        server.settimeout(NET_LONGEST)
        port = server.getsockname()[1]
        ports: dict[str, int] = {}
        if m.name == "pc":
            commands = "; ".join(f"nc 10.0.2.2 {port} -e {program}" for program in programs.values())
        else:
            # This busybox has no nc, but a server that starts programs.
            ports = {name: _free_port() for name in programs}
            netdev += "".join(f",hostfwd=tcp:127.0.0.1:{port}-:{5000 + k}" for k, port in enumerate(ports.values()))
            lines = [
                f"echo {5000 + k} stream tcp nowait root /bin/{text.split()[0]} {text} >> /tmp/i"
                for k, text in enumerate(programs.values())
            ]
            commands = "; ".join((*lines, "inetd /tmp/i", "sleep 1"))

        def work() -> None:
            started.wait(NET_LONGEST)
            try:
                for name in programs:
                    peer = socket.create_connection(("127.0.0.1", ports[name])) if ports else server.accept()[0]
                    with peer:
                        peer.settimeout(NET_LONGEST)
                        costs[name] = _talk(name, peer, pids[0], small if "1k" in name else mib, turns)
            except (OSError, IndexError) as error:
                failed.append(str(error))
                # The guest's next attempts fail, and it comes to its end.
                server.close()
            ended.set()

        ended = threading.Event()
        words = ["-m", str(LINUX_MEMORY), "-kernel", str(folder / m.kernel), "-initrd", str(folder / m.initrd)]
        words += ["-netdev", netdev, "-device", "virtio-net-pci,netdev=n"]
        append = f"console=ttyS0 quiet {NET_UP.format(commands='echo GUEST-NET; ' + commands)}"
        threading.Thread(target=work, daemon=True).start()
        for seen in emulator.run(emulator.command(m, run.accel, [*words, "-append", append], run.scratch), run.scratch):
            if "GUEST-NET" in seen.text and not pids:
                pids.append(seen.pid)
                if not ports:
                    started.set()
            elif "GUEST-DONE" in seen.text:
                started.set()
                if ended.wait(NET_LONGEST) and not failed:
                    return costs
                break
        started.set()
    raise BenchError(f"{emulator.name}: {failed[0] if failed else 'the guest ended before the network was measured'}")


def idle(line: Line, emulator: Emulator, run: Run) -> dict[str, Cost]:
    """Percent of a processor that a guest costs in which nothing happens; of it, not of what others do there."""
    folder, m = folder_of(line), line.machine
    image = run.scratch / "idle.img"
    with image.open("wb") as out:
        out.truncate(DISK_SIZE)
    words = ["-m", str(LINUX_MEMORY), "-kernel", str(folder / m.kernel), "-initrd", str(folder / m.initrd)]
    words += ["-drive", f"file={image},format=raw,if=none,id=d", "-netdev", "user,id=n"]
    words += [word for device in IDLE_DEVICES for word in ("-device", device)]
    append = f"console=ttyS0 quiet {IDLE_UP}"
    command = emulator.command(m, run.accel, [*words, "-append", append], run.scratch, "paced")
    for seen in emulator.run(command, run.scratch):
        if "GUEST-READY" in seen.text:
            threading.Event().wait(IDLE_SETTLES)
            before, begin = processor_seconds(seen.pid), wall()
            threading.Event().wait(max(IDLE_LEAST, IDLE_SECONDS * run.scale))
            percent = 100 * (processor_seconds(seen.pid) - before) / (wall() - begin)
            return {"idle": Cost(percent, percent)}
    raise BenchError(f"{emulator.name} ended before the guest was idle")


def firmware(line: Line, emulator: Emulator, run: Run) -> dict[str, Cost]:
    """What a boot to the first process costs by Debian's SeaBIOS, as a multiple of one without a BIOS of its own.

    QEMU has no such boot: its own multiple is of -kernel, which SeaBIOS brings up there, too."""
    folder, m = folder_of(line), line.machine
    if not Path(SEABIOS).exists():
        raise BenchError(f"no {SEABIOS}: Debian package seabios is not installed")
    image = run.scratch / "grub.img"
    if not image.exists():
        words = [sys.executable, "-m", "images.loaders", str(run.scratch), str(folder)]
        made = subprocess.run(words, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if made.returncode:
            raise BenchError((made.stderr.strip().splitlines() or ["the recipe failed"])[-1])
    kernel = ["-kernel", str(folder / m.kernel), "-initrd", str(folder / m.initrd), "-append", "console=ttyS0 quiet"]
    bios = ["-bios", SEABIOS]
    disk = [*bios, "-snapshot", "-drive", f"file={image},format=raw,if=ide"]
    costs = []
    for words in (kernel, [*bios, *kernel], disk):
        command = emulator.command(m, run.accel, ["-m", str(LINUX_MEMORY), *words], run.scratch)
        costs.append(_until("GUEST-READY", emulator, command, run))
    direct, *others = costs
    return {
        item: Cost(cost.processor / direct.processor, cost.wall / direct.wall)
        for item, cost in zip(("kernel", "disk"), others, strict=True)
    }


def _until(mark: str, emulator: Emulator, command: list[str], run: Run, first: str = "") -> Cost:
    """What a run has cost when it prints a mark, since its start or since another mark."""
    before = Cost(0.0, 0.0)
    for seen in emulator.run(command, run.scratch):
        if mark in seen.text:
            return seen.cost.since(before)
        if first and first in seen.text:
            before = seen.cost
    raise BenchError(f"{emulator.name} ended before {mark}")


def console(line: Line, emulator: Emulator, run: Run) -> dict[str, Cost]:
    """Seconds for eight hundred lines on a console of 1024 x 768 dots, by the interpreter and by the usual tier."""
    kernel = Path(INSTALLER)
    if not kernel.exists():
        raise BenchError(f"no {kernel}: Debian package debian-installer-12-netboot-i386 is not installed")
    words = ["-m", "320", "-kernel", str(kernel), "-initrd", str(kernel.with_name("initrd.gz")), "-append", SCROLL]
    costs: dict[str, Cost] = {}
    for item, accel in (("interp", "interp"), ("scroll", run.accel)):
        if emulator is EMU or not costs:
            command = emulator.command(line.machine, accel, words, run.scratch)
            cost = _until("SCROLL-END", emulator, command, run, "SCROLL-BEGIN")
        costs[item] = cost
    return costs


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _talk(name: str, peer: socket.socket, pid: int, mib: int, turns: int) -> Cost:
    """One conversation, from the first byte on; what it has cost the process `pid`."""
    if name == "ping":
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        took = []
        before = processor_seconds(pid)
        for _ in range(turns):
            begin = wall()
            peer.sendall(bytes(64))
            if len(peer.recv(64, socket.MSG_WAITALL)) < 64:
                raise OSError("the guest hung up")
            took.append(wall() - begin)
        return Cost((processor_seconds(pid) - before) / turns, statistics.median(took))
    total, block = mib << 20, bytes(1 << 16)
    if name == "from host":
        first = Cost(processor_seconds(pid), wall())
        for _ in range(total // len(block)):
            peer.sendall(block)
        peer.shutdown(socket.SHUT_WR)
        peer.recv(1)
        got = total
    else:
        got = len(peer.recv(1))
        first = Cost(processor_seconds(pid), wall())
        while data := peer.recv(1 << 18):
            got += len(data)
    if got != total:
        raise OSError(f"{got} bytes came, and not {total}")
    spent = Cost(processor_seconds(pid), wall()).since(first)
    return Cost(spent.processor / mib, spent.wall / mib)


def start(line: Line, emulator: Emulator, run: Run) -> dict[str, Cost]:
    """From the command to the debug exit of a boot sector, the second time: Python keeps what it has compiled."""
    image = run.scratch / "exit.img"
    image.write_bytes(BOOT_SECTOR)
    words = ["-m", "16", *line.machine.end, "-drive", f"file={image},format=raw,if=floppy"]
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(run.scratch / "bytecode")
    command = emulator.command(line.machine, run.accel, words, run.scratch)
    cost = Cost(0.0, 0.0)
    for _ in range(2):
        begin = wall()
        null = subprocess.DEVNULL
        process = subprocess.Popen(command, stdin=null, stdout=null, stderr=null, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        cost = Cost(usage.ru_utime + usage.ru_stime, wall() - begin)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 33:
            raise BenchError(f"{emulator.name}: the boot sector ended with status {process.returncode}, not 33")
    return {"start": cost}


def install(line: Line, emulator: Emulator, run: Run) -> dict[str, Cost]:
    """`pip install` of the files that git knows, into an empty folder."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True)
    names = [name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]
    if listed.returncode or not names:
        raise BenchError("this is no git checkout")
    tree, target = run.scratch / "checkout", run.scratch / "installed"
    for folder in (tree, target):
        shutil.rmtree(folder, ignore_errors=True)
    for name in names:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tree / name)
    words = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--disable-pip-version-check",
        "--no-build-isolation",
        "--no-deps",
    ]
    before, begin = os.times(), wall()
    done = subprocess.run([*words, "--target", str(target), str(tree)], stdin=subprocess.DEVNULL, capture_output=True)
    after = os.times()
    if done.returncode:
        raise BenchError("pip install failed")
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return {"install": Cost(spent, wall() - begin)}


KINDS: dict[str, Callable[[Line, Emulator, Run], dict[str, Cost]]] = {
    "programs": programs, "linux": linux, "guest": guest, "disk": disk, "net": net, "idle": idle,
    "firmware": firmware, "console": console,
    "start": start, "install": install,
}  # fmt: skip

__all__ = ["EMU", "KINDS", "MACHINES", "QEMU", "Run", "folder_of"]
