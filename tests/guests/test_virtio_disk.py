"""Linux on virtio disks: over PCI and memory-mapped registers, modern and legacy, little-endian and big-endian."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest

from tests.guests.command import dialogue, emu, ended_well, guest, lines, stats
from tests.guests.test_virtio_devices import KERNELS

pytestmark = [pytest.mark.guest, pytest.mark.slow]

SIZE = 2 << 20
WORK = (
    "sha256sum /dev/vda; dd if=/dev/vda of=/dev/vdb bs=64k conv=fsync 2>/dev/null; cat /sys/block/vda/serial; echo; "
    "cat /sys/block/vdb/queue/write_cache; ls -d /sys/bus/virtio/drivers/virtio_blk/virtio? | wc -l; echo DONE-$((1+1))"
)
KINDS = {
    "pc": ("pci,disable-modern=on", "pci,packed=on,iommu_platform=on,num-queues=4", "device"),
    "bamboo": ("pci,disable-modern=on", "device,legacy=on"),
    "ppce500": ("pci",),
}


def disks(tmp_path: Path) -> tuple[Path, Path]:
    first, second = tmp_path / "first.img", tmp_path / "second.img"
    first.write_bytes(random.Random(3).randbytes(SIZE))
    second.write_bytes(bytes(SIZE))
    return first, second


def kernel(machine: str) -> list[str]:
    image, root, _ = KERNELS[machine]
    words = ["-M", machine, "-m", "256", "-kernel", guest(image), "-initrd", guest(root)]
    return [*words, "-append", "console=ttyS0 quiet", "-nographic", "-monitor", "none", "--clock", "warp"]


@pytest.mark.parametrize(("machine", "kind"), [(m, kind) for m, kinds in KINDS.items() for kind in kinds])
def test_linux_copies_one_disk_to_another(tmp_path: Path, machine: str, kind: str) -> None:
    first, second = disks(tmp_path)
    transport, _, options = kind.partition(",")
    words = ["-drive", f"file={first},format=raw,if=none,id=a,readonly=on"]
    words += ["-drive", f"file={second},format=raw,if=none,id=b"]
    words += ["-device", f"virtio-blk-{transport},drive=a,serial=EMU7,{options}".rstrip(",")]
    words += ["-device", f"virtio-blk-{transport},drive=b,{options}".rstrip(",")]
    result = emu(*kernel(machine), *words, *dialogue(*KERNELS[machine][2], f">{WORK}", "DONE-2"))
    ended_well(result)
    seen = "\n".join(lines(result))
    assert hashlib.sha256(first.read_bytes()).hexdigest() in seen and "EMU7" in seen and "write back" in seen
    assert second.read_bytes() == first.read_bytes()


def test_a_run_with_a_disk_is_the_same_on_both_tiers(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(random.Random(4).randbytes(SIZE))
    drive = ["-drive", f"file={image},format=raw,if=virtio,readonly=on"]
    work = [*kernel("pc"), *drive, "--stats", *dialogue("GUEST-READY", ">cat /dev/vda /dev/vda | sha256sum", "  -")]
    runs = [emu(*work, "--accel", accel) for accel in ("jit", "interp")]
    for result in runs:
        ended_well(result)
    first, second = (stats(result) for result in runs)
    for key in ("instructions", "virtual_ns", "state_digest", "serial_sha256"):
        assert first[key] == second[key]
