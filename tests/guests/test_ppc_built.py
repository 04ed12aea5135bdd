"""Linux 6.1 on a 460EX and on an e500mc, from what `images.linux_ppc.build` makes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.guests.command import Result, dialogue, guest, lines
from tests.guests.test_ppc import SUMS, emu

pytestmark = [pytest.mark.guest, pytest.mark.slow]

BOARDS = {
    "460ex": ("-M", "sam460ex"),
    "e500mc": ("-M", "ppce500", "-cpu", "e500mc"),
}
FACTS = {
    "460ex": ("460EX Rev. B", "UIC3 (32 IRQ sources) at DCR 0xf0", "256k L2-cache enabled", "PCI: Probing PCI hardware",
              "ttyS0 at MMIO 0x4ef600300"),
    "e500mc": ("Hardware name: QEMU ppce500 e500mc", "mpic: Initializing for 256 sources", "fsl-pci fe0008000.pci",
               "rtc-ds1307 0-0068: setting system clock", "ttyS0 at MMIO 0xfe0004500"),
}  # fmt: skip
COMPLAINTS = ("Oops", "BUG:", "WARNING:", "Kernel panic", "unhandled", "Unable to", "bad interrupt")


def built(name: str) -> str:
    """The path of a built file; skips the test, with the command that builds it, if it is not there."""
    folder = os.environ.get("EMU_BUILT_GUESTS")
    if not folder:
        pytest.skip("EMU_BUILT_GUESTS names no folder: python -m images.linux_ppc.build FOLDER")
    path = Path(folder, name)
    if not path.exists():
        pytest.skip(f"no {path}: python -m images.linux_ppc.build {folder}")
    return str(path)


def boot(board: str, append: str, *words: str, root: str = "") -> Result:
    files = ["-kernel", built(f"{board}/vmlinux"), "-initrd", root or built("root.gz")]
    start = [*BOARDS[board], "-m", "256", "-nographic", "-no-reboot"]
    return emu(*start, *files, "-append", f"console=ttyS0 {append}", *words)


@pytest.mark.parametrize("board", BOARDS)
def test_the_kernel_finds_the_board_and_root_logs_in(board: str) -> None:
    result = boot(board, "", *dialogue("emu login:", ">root", "# ", ">cat /proc/cpuinfo", "timebase", "# "))
    assert result.returncode == 0, result.stderr.decode()
    seen = "\n".join(lines(result))
    assert [fact for fact in FACTS[board] if fact not in seen] == []
    assert [word for word in COMPLAINTS if word in seen] == []


@pytest.mark.parametrize("board", BOARDS)
def test_processes_sleep_wake_and_compute(board: str) -> None:
    """A floating-point sum, 40 processes, a timer, and a signal between two of them."""
    steps = (
        """>awk 'BEGIN { for (i = 1; i < 2000; i++) s += sqrt(i) / i; print "sum", s }'""",
        "sum 87.9712",
        ">i=0; while [ $i -lt 40 ]; do /bin/true; i=$((i+1)); done; echo made $((i+1))",
        "made 41",
        ">sleep 100 & sleep 1; kill $!; wait $!; echo status $((0+$?))",
        "status 143",
    )
    result = boot(board, "quiet", *dialogue("emu login:", ">root", "# ", *steps))
    assert result.returncode == 0, result.stderr.decode()


@pytest.mark.parametrize("board", BOARDS)
def test_programs_of_a_440_compute_what_they_do_on_a_440(board: str) -> None:
    root = guest("linux-bamboo", "rootfs.gz")
    result = boot(board, "rdinit=/autorun autorun=cpu", "--expect", "GUEST-DONE", root=root)
    seen = lines(result)
    start = next(i for i, line in enumerate(seen) if line.startswith("GUEST-READY"))
    sums = [line for line in seen[start + 1 :] if not line.startswith(("RESULT", "GUEST-DONE"))]
    assert sums[: len(SUMS["linux-bamboo"])] == SUMS["linux-bamboo"]
    assert result.returncode == 0


def test_the_e500mc_switches_itself_off() -> None:
    result = boot("e500mc", "", *dialogue("emu login:", ">root", "# ", ">poweroff", "reboot: Power down"))
    assert result.returncode == 0, result.stderr.decode()


def test_the_460ex_restarts_by_its_debug_register() -> None:
    result = boot("460ex", "", *dialogue("emu login:", ">root", "# ", ">reboot", "reboot: Restarting system"))
    assert result.returncode == 0, result.stderr.decode()
