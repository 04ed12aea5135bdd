"""Linux and U-Boot on the PowerPC boards, started by the command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bios import fdt
from tests.guests.command import ACCEL, Result, dialogue, guest, lines, package

pytestmark = pytest.mark.guest

COMPAT = "import sys; from emu.__main__ import system_ppc; sys.exit(system_ppc())"
U_BOOT = "/usr/lib/u-boot/qemu-ppce500/uboot.elf"
SUMS = {
    "linux-bamboo": ["cd52d81e25f372e6", "2da3f041a921a298", "39998", "ccd6406c9e2eed8a", "200"],
    "linux-e500": ["cd52d81e25f372e6", "d84f8fc1b91a714e", "39998", "ccd6406c9e2eed8a", "200"],
}
NO_SWITCH = "the processor loops on itself with interrupts off"
MACHINES = {
    "bamboo": ("linux-bamboo", ()),
    "mpc8544ds": ("linux-e500", ()),
    "ppce500": ("linux-e500", ("-cpu", "e500v2")),
}


def emu(*words: str, timeout: float = 240) -> Result:
    line = [sys.executable, "-c", COMPAT, "--accel", ACCEL, "--timeout", str(timeout), *words]
    return subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout + 60)


def linux(name: str, image: str, append: str, *words: str) -> Result:
    folder, more = MACHINES[name]
    board = ["-M", name, *more, "-m", "256", "-nographic", "-no-reboot"]
    files = ["-kernel", guest(folder, image), "-initrd", guest(folder, "rootfs.gz")]
    return emu(*board, *files, "-append", f"console=ttyS0 {append}", *words)


@pytest.mark.parametrize(
    ("name", "image"),
    [("bamboo", "vmlinux"), ("bamboo", "uImage"), ("mpc8544ds", "vmlinux"), ("ppce500", "uImage")],
)
def test_linux_computes_what_it_computes_elsewhere(name: str, image: str) -> None:
    result = linux(name, image, "rdinit=/autorun autorun=cpu")
    seen = lines(result)
    start = next(i for i, line in enumerate(seen) if line.startswith("GUEST-READY"))
    end = next(i for i, line in enumerate(seen) if line.startswith("GUEST-DONE"))
    assert [line for line in seen[start + 1 : end] if not line.startswith("RESULT")] == SUMS[MACHINES[name][0]]
    assert result.returncode == 0
    if name != "ppce500":
        assert NO_SWITCH in result.stderr.decode()


@pytest.mark.parametrize(
    ("name", "image", "processor"),
    [("bamboo", "vmlinux", "440EP"), ("mpc8544ds", "vmlinux", "e500v2"), ("ppce500", "uImage", "e500v2")],
)
def test_root_logs_in(name: str, image: str, processor: str) -> None:
    steps = dialogue("buildroot login:", ">root", "# ", ">cat /proc/cpuinfo", processor, "# ")
    result = linux(name, image, "quiet", *steps)
    assert result.returncode == 0, result.stderr.decode()


def test_linux_finds_what_a_460ex_has(tmp_path: Path) -> None:
    """The kernel knows this board only under the name of one that is like it, and has its drivers."""
    made = tmp_path / "board.dtb"
    assert emu("-M", f"sam460ex,dumpdtb={made}").returncode == 0
    tree = fdt.read("board.dtb", made.read_bytes())
    tree.root.set("compatible", "amcc,glacier")
    made.write_bytes(tree.write())
    files = ["-kernel", guest("linux-bamboo", "vmlinux"), "-initrd", guest("linux-bamboo", "rootfs.gz")]
    line = "console=ttyS0 rdinit=/autorun autorun=poweroff"
    result = emu("-M", "sam460ex", "-m", "256", "-nographic", *files, "-dtb", str(made), "-append", line)
    seen = "\n".join(lines(result))
    for what in (
        "460EX Rev. B",
        "UIC3 (32 IRQ sources) at DCR 0xf0",
        "256k L2-cache enabled",
        "[mem 0xd80000000-0xdffffffff]",
        "ttyS0 at MMIO 0x4ef600300",
        "GUEST-DONE",
    ):
        assert what in seen
    assert result.returncode == 0


def u_boot(*words: str) -> Result:
    bios = package(U_BOOT, "u-boot-qemu")
    return emu("-M", "ppce500", "-m", "256", "-nographic", "-no-reboot", "-bios", bios, *words)


def test_u_boot_comes_to_its_prompt_and_obeys() -> None:
    steps = ("stop autoboot", ">", "=> ", ">version", "U-Boot 2", "=> ", ">bdinfo", "addressing  = 36-bit", "=> ")
    md = (">mw.l 100000 12345678 4", "=> ", ">md.b 100000 4", "00100000: 12 34 56 78", "=> ")
    result = u_boot(*dialogue(*steps, *md, ">reset"))
    assert result.returncode == 0, result.stderr.decode()
    assert "CPU0:400  MHz" in "\n".join(lines(result))


def test_u_boot_starts_linux() -> None:
    files = ["-kernel", guest("linux-e500", "uImage"), "-initrd", guest("linux-e500", "rootfs.gz")]
    steps = dialogue("Verifying Checksum ... OK", "buildroot login:")
    result = u_boot(*files, "-append", "console=ttyS0 quiet", *steps)
    assert result.returncode == 0, result.stderr.decode()
