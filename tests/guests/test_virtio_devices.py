"""Linux with the virtio devices other than disks: drivers bind, data flow, memory comes back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from devices.virtio.balloon import Balloon
from emu.machine import Cause, Machine
from emu.options import parse
from emu.session import Session
from tests.guests.command import dialogue, emu, ended_well, guest, lines

pytestmark = pytest.mark.guest

MIB = 1 << 20
KERNELS = {
    "pc": ("linux-i386/bzImage", "linux-i386/initrd.gz", ("GUEST-READY",)),
    "bamboo": ("linux-bamboo/vmlinux", "linux-bamboo/rootfs.gz", ("buildroot login:", ">root", "# ")),
    "ppce500": ("linux-e500/uImage", "linux-e500/rootfs.gz", ("buildroot login:", ">root", "# ")),
}


def kernel(machine: str) -> list[str]:
    image, root, _ = KERNELS[machine]
    words = ["-M", machine, "-m", "256", "-kernel", guest(image), "-initrd", guest(root)]
    return [*words, "-append", "console=ttyS0", "-nographic", "-monitor", "none", "--clock", "warp"]


def talk(machine: str, *steps: str) -> list[str]:
    return dialogue(*KERNELS[machine][2], *steps)


def a_disk(tmp_path: Path) -> list[str]:
    disk = tmp_path / "disk.img"
    disk.write_bytes(b"first sector of the disk".ljust(MIB, b"\0"))
    return ["-drive", f"file={disk},format=raw,if=virtio"]


def all_at_once(tmp_path: Path) -> list[str]:
    out = tmp_path / "channel"
    words = [*a_disk(tmp_path), "-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n"]
    words += ["-chardev", f"file,id=c,path={tmp_path / 'console'}", "-chardev", f"file,id=p,path={out}"]
    words += ["-device", "virtio-serial-pci", "-device", "virtconsole,chardev=c"]
    words += ["-device", "virtserialport,chardev=p,name=org.emu.test"]
    return [*words, "-device", "virtio-rng-pci", "-device", "virtio-balloon-pci,free-page-reporting=on"]


def resident(size: int) -> int:
    """Bytes of guest RAM that are in the host's memory: the mapping of `size` and what cards add."""
    found, wanted = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        key, _, rest = line.partition(":")
        if key == "Size":
            wanted = size <= int(rest.split()[0]) << 10 < size + 48 * MIB
        elif key == "Rss" and wanted:
            found = max(found, int(rest.split()[0]) << 10)
    return found


LOOK = (
    "cd /sys/bus/virtio/drivers; ls -d virtio_balloon/virtio? virtio_blk/virtio? virtio_console/virtio? "
    "virtio_net/virtio? virtio_rng/virtio? | wc -l; dmesg -r | grep -E '^<[0-4]>.*virtio' | grep -v unknown; "
    "head -c 24 /dev/vda; echo; head -c 4096 /dev/hwrng | wc -c; cat /sys/class/misc/hw_random/rng_current; "
    "cat /sys/class/virtio-ports/*/name; for p in /dev/vport*p1; do echo to the channel > $p; done; "
    "echo to the console > /dev/hvc0; ifconfig eth0 10.0.2.15; ping -c 1 10.0.2.2 | grep loss; echo DONE-$((1+1))\n"
)
FILL = (
    "mkdir /x; mount -t tmpfs -o size=230m none /x; dd if=/dev/zero of=/x/f bs=1M count={}; umount /x; "
    "echo FULL-$((1+1))\n"
)
ASKED = 160 * MIB
MOST = {"pc": 205, "bamboo": 215, "ppce500": 210}
"""MiB that a file can have in the guest: nearly all of its memory."""


class Visit(Session):
    """Looks at every device, fills the guest's memory, asks for 160 MiB of it, and gives that back."""

    def __init__(self, words: list[str], fill: int) -> None:
        super().__init__(parse(words), attached=False)
        self.fill = FILL.format(fill)
        self.balloon: list[tuple[int, int]] = []
        self.said = ""
        self._stage = 0
        self._since = 0

    def poll(self, machine: Machine) -> None:
        super().poll(machine)
        port = self.serial[0]
        tail = "" if port is None else port.tail.decode("utf-8", "replace").replace("\r", "")
        waited = machine.clock.now() - self._since
        if self._stage == 0 and tail.endswith("login: "):
            self._type(machine, "root\n", 1)
        elif self._stage in (0, 1) and "# " in tail[-12:]:
            self._type(machine, LOOK, 2)
        elif self._stage == 2 and "DONE-2" in tail:
            self.said = tail
            self._type(machine, self.fill, 3)
        elif self._stage == 3 and "FULL-2" in tail:
            self._ask(machine, 256 * MIB - ASKED)
        elif self._stage == 4 and waited > 8_000_000_000:
            self._ask(machine, 256 * MIB)
        elif self._stage == 5 and waited > 4_000_000_000:
            self._ask(machine, 256 * MIB)
            machine.end(Cause.SCRIPT)

    def _type(self, machine: Machine, text: str, stage: int) -> None:
        machine.inputs.channels["serial0"].put(text.encode())
        self._stage = stage

    def _ask(self, machine: Machine, size: int) -> None:
        (balloon,) = (device for device in machine.devices.values() if isinstance(device, Balloon))
        self.balloon.append((resident(256 * MIB), balloon.remaining))
        balloon.set_size(size)
        self._stage += 1
        self._since = machine.clock.now()


@pytest.mark.parametrize("machine", ["pc", "bamboo", "ppce500"])
def test_five_drivers_bind_without_a_warning_and_work_and_the_balloon_gives_memory_back(
    machine: str, tmp_path: Path
) -> None:
    visit = Visit([*kernel(machine), *all_at_once(tmp_path), "--timeout", "280"], MOST[machine])
    assert visit.run() == 0, visit.said
    assert len(visit.balloon) == 3, visit.said
    answers = visit.said[visit.said.rindex("DONE-$") :]
    assert re.search(r"virtio.*(warn|fail|error)|[Cc]all [Tt]race", visit.said) is None
    for expected in ("\n5\n", "first sector of the disk", "4096", "virtio_rng.0", "org.emu.test", "received, 0%"):
        assert expected in answers, answers
    assert (tmp_path / "channel").read_bytes() == b"to the channel\n"
    assert b"to the console" in (tmp_path / "console").read_bytes()
    (full, before), (small, during), (_, after) = visit.balloon
    assert (before, during, after) == (256 * MIB, 256 * MIB - ASKED, 256 * MIB)
    assert full - small >= 0.9 * ASKED, (full >> 20, small >> 20)


def test_a_shared_directory_is_mounted_read_and_written(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (shared / "sub").mkdir(parents=True)
    (shared / "hello").write_bytes(b"from the host\n")
    (tmp_path / "secret").write_bytes(b"secret\n")
    (shared / "out").symlink_to("../secret")
    steps = (
        ">mkdir /mnt; mount -t 9p -o trans=virtio share /mnt && cd /mnt && cat hello && ls",
        "sub",
        ">seq 1 4000 > sub/numbers && mv sub/numbers sub/renamed && ln -s hello link && cat link",
        ">chmod 600 hello; mkdir -p a/b/c; touch a/b/c/d; rm -r a; cat out; cat ../mnt/../secret; cd /; umount /mnt",
        ">echo DONE-$((1+1))",
        "DONE-2",
    )
    result = emu(*kernel("pc"), "--share", str(shared), *talk("pc", *steps))
    ended_well(result)
    said = "\n".join(lines(result))
    assert "from the host" in said and "secret\n" not in said
    numbers = "".join(f"{n}\n" for n in range(1, 4001)).encode()
    assert (shared / "sub" / "renamed").read_bytes() == numbers
    assert (shared / "link").readlink() == Path("hello")
    assert sorted(path.name for path in shared.iterdir()) == ["hello", "link", "out", "sub"]
    assert (shared / "hello").stat().st_mode & 0o777 == 0o600
