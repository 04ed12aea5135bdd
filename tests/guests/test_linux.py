"""Linux 6.1 for i386, started by the command: what it says of the machine, on every model and in every interrupt mode.

A line that complains must be one that the same kernel prints under QEMU too; those are listed in KNOWN.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from pathlib import Path

import pytest

from tests.guests.command import Result, dialogue, emu, ended_well, guest, lines, stats

COMPLAINT = re.compile(
    r"fail|unable|\bbug\b|warn|error|invalid|broken|cannot|can't|not supported|oops|panic|call trace|spurious|lost|"
    r"unstable|unexpected|timed out|nobody cared|disabling|cut here",
    re.IGNORECASE,
)
KNOWN = re.compile(
    r"Driver 'wmi-bmof' was unable to register|use \"pci=nocrs\" and report a bug|fail to add MMCONFIG information|"
    r"intel_pstate: CPU model not supported|TLB invalidation policy|mce: Unable to init MCE device|"
    r"clk: Disabling unused clocks|L1TF: Kernel not compiled for PAE\. No mitigation for L1TF|"
    r"PAT not supported by the CPU|hpet_acpi_add: no address or irqs in _CRS"
)
REFUSED = "This kernel requires an i686 CPU, but only detected an i{}86 CPU."

pytestmark = pytest.mark.guest


def boot(*words: str, append: str = "autorun=poweroff", memory: str = "256", kernel: str = "") -> Result:
    kernel = kernel or guest("linux-i386", "bzImage")
    line = ["-m", memory, "-nographic", "-no-reboot", "-kernel", kernel, "-initrd", guest("linux-i386", "initrd.gz")]
    return emu(*line, "-append", f"console=ttyS0 {append}", "--stats", *words, compat=True, timeout=600)


@pytest.fixture(scope="module")
def first() -> Result:
    """A boot that several tests look at."""
    return boot()


def complaints(result: Result) -> list[str]:
    return [line for line in lines(result) if COMPLAINT.search(line) and not KNOWN.search(line)]


def finished(result: Result) -> None:
    """Fail unless the guest came to its end without a complaint."""
    ended_well(result)
    seen = "\n".join(lines(result))
    assert seen.index("GUEST-READY") < seen.index("GUEST-DONE")
    assert complaints(result) == []


def test_the_kernel_has_nothing_to_complain_of(first: Result) -> None:
    finished(first)


def test_the_kernel_finds_the_machine(first: Result) -> None:
    seen = "\n".join(lines(first))
    for pattern in (
        r"BIOS-e820: \[mem 0x0000000000100000-",
        r"SMBIOS 2\.\d present",
        r"ACPI: RSDP 0x000000",
        r"ACPI: INT_SRC_OVR \(bus 0 bus_irq 0 global_irq 2 dfl dfl\)",
        r"tsc: Detected (999\.\d|1000\.\d)\d\d MHz processor",
        r"IOAPIC\[0\]: apic_id 0, version \d+, address 0xfec00000, GSI 0-23",
        r"\.\.TIMER: vector=0x30 apic1=0 pin1=2",
        r"ttyS0 at I/O 0x3f8 \(irq = 4, base_baud = 115200\) is a 16550A",
        r"pci 0000:00:01\.1: \[8086:7010\]",
        r"clocksource: Switched to clocksource tsc",
        r"rtc_cmos 00:\d\d: registered as rtc0",
        r"serio: i8042 KBD port at 0x60,0x64 irq 1",
        r"input: AT Translated Set 2 keyboard",
        r"ACPI: PM: Preparing to enter system sleep state S5",
    ):
        assert re.search(pattern, seen), f"no {pattern} in\n{seen}"


def test_the_same_boot_twice_is_the_same_run(first: Result) -> None:
    again = boot()
    for name in ("instructions", "virtual_ns", "serial_bytes", "serial_sha256", "state_digest", "inputs"):
        assert stats(first)[name] == stats(again)[name], name
    assert first.stdout == again.stdout
    assert stats(first)["instructions"] > 500_000_000


@pytest.mark.slow
@pytest.mark.parametrize(
    "append",
    ["noapic", "nolapic", "acpi=off", "noapic nolapic acpi=off", "nosmp", "clocksource=acpi_pm", "highres=off"],
)
def test_linux_runs_clean_with(append: str) -> None:
    result = boot(append=f"autorun=poweroff {append}")
    finished(result)


@pytest.mark.slow
@pytest.mark.parametrize("memory", ["64", "96M", "1G", "3584"])
def test_linux_runs_clean_in_memory_of(memory: str) -> None:
    finished(boot(memory=memory))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["qemu32", "pentium3", "max"])
def test_linux_has_no_warning_that_it_has_not_under_qemu_on(model: str) -> None:
    talk = dialogue("GUEST-READY", "# ", ">dmesg -r; echo log $((6*7))", "log 42", "# ", ">poweroff -f", "Power down")
    result = boot("-cpu", model, *talk, append="quiet")
    ended_well(result)
    log = [line for line in lines(result) if re.match(r"<\d+>\[", line)]
    assert len(log) > 200
    assert [line for line in log if line[:3] in ("<0>", "<1>", "<2>", "<3>", "<4>") and not KNOWN.search(line)] == []
    assert complaints(result) == []


def test_linux_uses_the_deadlines_of_a_processor_that_has_them() -> None:
    result = boot("-cpu", "max")
    finished(result)
    assert any("TSC deadline timer available" in line for line in lines(result))


@pytest.mark.parametrize(("model", "generation"), [("486", 4), ("pentium", 5)])
def test_a_kernel_for_the_i686_refuses_older_models(model: str, generation: int) -> None:
    result = boot("-cpu", model, "--expect", REFUSED.format(generation))
    ended_well(result)
    assert result.stdout == b""


def test_a_gzip_compressed_kernel_starts_like_a_plain_one(tmp_path: Path) -> None:
    plain = Path(guest("linux-i386", "bzImage")).read_bytes()
    (tmp_path / "bzImage.gz").write_bytes(gzip.compress(plain, 1))
    result = boot(
        "--expect", "Linux version 6.1", "--expect", "Kernel command line", kernel=str(tmp_path / "bzImage.gz")
    )
    ended_well(result)


@pytest.mark.slow
def test_a_shell_on_the_serial_line_takes_commands() -> None:
    talk = dialogue("GUEST-READY", "# ", ">echo $((6*7)) $(uname -m)", "42 i686")
    talk += dialogue(">cat /proc/interrupts", "IO-APIC", "# ", ">poweroff -f", "Power down")
    ended_well(boot(*talk, append="quiet"))


@pytest.mark.slow
def test_linux_reads_and_writes_its_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    disk.write_bytes(Path(guest("storage", "ext2.img")).read_bytes())
    talk = dialogue("GUEST-READY", "# ", ">mkdir -p /mnt; mount /dev/sda /mnt && cat /mnt/hello.txt", "# ")
    talk += dialogue(">echo written by the guest > /mnt/new; umount /mnt; echo status $?", "status 0", "# ")
    result = boot("-hda", str(disk), *talk, *dialogue(">dmesg | grep ata1; poweroff -f", "Power down"), append="quiet")
    ended_well(result)
    assert b"written by the guest" in disk.read_bytes()
    assert complaints(result) == []


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["", "libata.dma=0"])
def test_every_drive_of_both_channels_gives_its_files(mode: str) -> None:
    drives = [guest("storage", name) for name in ("ext4.img", "ext2.img", "data.iso", "mbr.img")]
    line = ["-hda", drives[0], "-hdb", drives[1], "-cdrom", drives[2], "-hdd", drives[3], "-snapshot"]
    talk = dialogue("GUEST-READY", "# ")
    for number, part in enumerate(("sda", "sdb", "sr0", "sdc1", "sdc2")):
        mount = f"mkdir -p /m{number}; mount -r /dev/{part} /m{number} && cd /m{number} && "
        check = "cat hello.txt empty dir/small.bin dir/odd.bin dir/sub/big.bin dir/sub/text.txt | sha256sum; cd /"
        talk += dialogue(f">{mount}{check}", "# ")
    talk += dialogue(">cat /sys/class/ata_device/*/dma_mode /sys/class/ata_device/*/pio_mode", "# ")
    result = boot(*line, *talk, *dialogue(">poweroff -f", "Power down"), append=f"quiet {mode}")
    ended_well(result)
    sums = [found for found in lines(result) if re.fullmatch("[0-9a-f]{64}  -", found)]
    assert len(sums) == 5 and len(set(sums)) == 1
    assert complaints(result) == []


@pytest.mark.slow
def test_a_disk_of_numbered_sectors_reads_right_with_every_transfer_length() -> None:
    talk = dialogue("GUEST-READY", "# ")
    for size in ("512", "3584", "64k", "1M"):
        talk += dialogue(f">dd if=/dev/sda bs={size} 2>/dev/null | sha256sum", "# ")
    disk = guest("storage", "pattern.img")
    result = boot("-hda", disk, "-snapshot", *talk, *dialogue(">poweroff -f", "Power down"), append="quiet")
    ended_well(result)
    wanted = hashlib.sha256(Path(disk).read_bytes()).hexdigest()
    assert "\n".join(lines(result)).count(f"{wanted}  -") == 4


def numbered(sectors: int) -> bytearray:
    """A disk whose sectors all differ and consist of small letters and digits."""
    letters = b"abcdefghijklmnopqrstuvwxyz" * 20
    return bytearray(b"".join((b"sector%010d" % number + letters)[:512] for number in range(sectors)))


def copied(disk: bytearray, size: int, source: int, target: int, count: int) -> str:
    """Copy blocks of a disk image here; the command that does it there."""
    piece = disk[source * size : (source + count) * size]
    disk[target * size : (target + count) * size] = piece
    return f">dd if=/dev/sda of=/dev/sda bs={size} skip={source} seek={target} count={count} conv=notrunc 2>/dev/null"


def capitals(disk: bytearray, size: int, at: int, count: int) -> str:
    """Turn small letters of a disk image into capitals here; the command that does it there."""
    disk[at * size : (at + count) * size] = disk[at * size : (at + count) * size].upper()
    read = f"dd if=/dev/sda bs={size} skip={at} count={count} 2>/dev/null"
    return f">{read} | tr a-z A-Z | dd of=/dev/sda bs={size} seek={at} conv=notrunc 2>/dev/null"


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["", "libata.dma=0"])
def test_what_linux_writes_anywhere_on_a_disk_is_there_and_nothing_else_changed(mode: str, tmp_path: Path) -> None:
    disk = numbered(16384)
    (tmp_path / "disk.img").write_bytes(disk)
    total = "sync; echo 3 > /proc/sys/vm/drop_caches; sha256sum /dev/sda"
    sums = [hashlib.sha256(disk).hexdigest()]
    talk = dialogue("GUEST-READY", "# ", f">{total}", sums[0])
    changes = [copied(disk, 512, 3, 16383, 1), copied(disk, 65536, 20, 7, 11), copied(disk, 3584, 100, 1500, 33)]
    changes += [capitals(disk, 512, 0, 1), capitals(disk, 4096, 900, 300), capitals(disk, 1 << 20, 6, 2)]
    sums.append(hashlib.sha256(disk).hexdigest())
    talk += dialogue("# ", *(word for change in changes for word in (change, "# ")), f">{total}", sums[1])
    result = boot(
        *("-hda", str(tmp_path / "disk.img"), *talk),
        *dialogue("# ", ">dmesg | grep ata1; poweroff -f", "Power down"),
        append=f"quiet {mode}",
    )
    ended_well(result)
    assert (tmp_path / "disk.img").read_bytes() == disk
    assert complaints(result) == []
