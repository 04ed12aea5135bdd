"""What Linux makes of the PC's tables and timers: beside QEMU, through our BIOS and through SeaBIOS; and its sleep.

QEMU's own boot of the same kernel says which complaints are the kernel's way.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from functools import cache
from pathlib import Path

import pytest

from tests.guests.command import GUESTS, Result, dialogue, emu, ended_well, guest, lines, package
from tests.guests.test_linux import COMPLAINT

SEABIOS = "/usr/share/seabios/bios-256k.bin"
INSTALLER = "/usr/lib/debian-installer/images/12/i386/text/debian-installer/i386/linux"
LOADER = "/usr/share/qemu/linuxboot_dma.bin"
NUMBER = re.compile(r"0x[0-9a-f]+|\d+")
STAMP = re.compile(r"^\[ *\d+\.\d+\] ")

pytestmark = pytest.mark.guest


def firmware(name: str) -> list[str]:
    """The options for a firmware, ours or SeaBIOS."""
    if name == "ours":
        return []
    package(LOADER, "qemu-system-data")
    return ["-bios", package(SEABIOS, "seabios")]


def linux(*words: str, append: str = "", memory: str = "256") -> Result:
    kernel, initrd = guest("linux-i386", "bzImage"), guest("linux-i386", "initrd.gz")
    line = ["-m", memory, "-nographic", "-no-reboot", "-kernel", kernel, "-initrd", initrd]
    return emu(*line, "-append", f"console=ttyS0 {append}", *words, compat=True)


def complaints(text: list[str]) -> set[str]:
    """Lines that complain, without times and numbers."""
    plain = [STAMP.sub("", line) for line in text]
    return {NUMBER.sub("N", line) for line in plain if COMPLAINT.search(line)}


@cache
def under_qemu(*words: str) -> frozenset[str]:
    qemu = shutil.which("qemu-system-i386")
    if qemu is None:
        pytest.skip("no qemu-system-i386: Debian package qemu-system-x86 is not installed")
    folder = GUESTS / "linux-i386"
    line = [qemu, "-accel", "tcg", "-m", "256", "-nographic", "-no-reboot", "-nic", "none", *words]
    line += ["-kernel", str(folder / "bzImage"), "-initrd", str(folder / "initrd.gz")]
    line += ["-append", "console=ttyS0 autorun=poweroff"]
    # Without ACPI it cannot be switched off by the guest.
    with subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as run:
        watch = threading.Timer(300, run.kill)
        watch.start()
        seen = ""
        assert run.stdout is not None
        while "GUEST-DONE" not in seen:
            data = os.read(run.stdout.fileno(), 1 << 16)
            assert data, seen[-2000:]
            seen += data.decode("utf-8", "replace").replace("\r", "")
        watch.cancel()
        run.kill()
    return frozenset(complaints(seen.splitlines()))


@pytest.mark.parametrize("name", ["ours", "seabios"])
def test_linux_complains_of_nothing_that_it_accepts_under_qemu(name: str) -> None:
    known = under_qemu()
    result = linux(*firmware(name), append="autorun=poweroff")
    ended_well(result)
    seen = lines(result)
    assert complaints(seen) - known == set()
    text = "\n".join(seen)
    for line in (
        "ACPI: PM: (supports S0 S3 S4 S5)",
        "ACPI: PM-Timer IO Port: 0x608",
        "ACPI: PCI: Interrupt link LNKA configured for IRQ 10",
        "ACPI: PCI: Interrupt link LNKD configured for IRQ 11",
        "ACPI: button: Power Button [PWRF]",
        "RTC can wake from S4",
        "GUEST-DONE",
    ):
        assert line in text, f"no {line} in\n{text}"


@pytest.mark.parametrize("name", ["ours", "seabios"])
def test_the_compiler_accepts_the_tables_that_linux_found_and_linux_sleeps_until_the_alarm(
    name: str, tmp_path: Path
) -> None:
    if shutil.which("iasl") is None:
        pytest.skip("no iasl: Debian package acpica-tools is not installed")
    show = "[ -f $t ] && echo table $t && hexdump -v -e '1/1 \"%02x\"' $t && echo"
    sleep = "date +%s; echo +20 > /sys/class/rtc/rtc0/wakealarm; echo mem > /sys/power/state; date +%s"
    talk = dialogue(
        *(
            "GUEST-READY",
            "# ",
            f">dmesg -n 1; for t in /sys/firmware/acpi/tables/*; do {show}; done; echo all$((6*7))",
            "all42",
        ),
        *("# ", f">dmesg -n 8; {sleep}; echo up$((6*7))", "up42", "# ", ">poweroff -f", "Power down"),
    )
    result = linux(*firmware(name), *talk, append="no_console_suspend")
    ended_well(result)
    text = "\n".join(lines(result))
    found = dict(re.findall(r"table /sys/firmware/acpi/tables/(\w+)\n([0-9a-f]+)\n", text))
    assert set(found) == {"APIC", "DSDT", "FACP", "FACS", "HPET", "WAET"}
    for table, data in found.items():
        (tmp_path / f"{table}.dat").write_bytes(bytes.fromhex(data))
        run = subprocess.run(["iasl", "-d", f"{table}.dat"], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert not re.search(r"error|warning|invalid", run.stdout + run.stderr, re.IGNORECASE), run.stdout
    run = subprocess.run(["iasl", "DSDT.dsl"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert " 0 Errors" in run.stdout
    before, after = (int(number) for number in re.findall(r"^(\d{10})$", text, re.MULTILINE))
    assert 20 <= after - before <= 24
    assert "ACPI: PM: Waking up from system sleep state S3" in text
    assert "PM: suspend exit" in text


@pytest.mark.slow
@pytest.mark.parametrize("words", [("-M", "hpet=off", "-global", "PIIX4_PM.disable_s3=1"), ("-no-acpi",)])
def test_linux_runs_clean_without(words: tuple[str, ...]) -> None:
    known = under_qemu(*words)
    result = linux(*words, append="autorun=poweroff")
    ended_well(result)
    seen = lines(result)
    assert complaints(seen) - known == set()
    assert not any("ACPI: HPET" in line or "S3" in line for line in seen)


@pytest.mark.slow
@pytest.mark.parametrize("append", ["clocksource=hpet", "clocksource=hpet noapic nolapic"])
def test_a_kernel_with_a_driver_for_the_event_timers_takes_its_time_from_them(append: str) -> None:
    kernel = package(INSTALLER, "debian-installer-12-netboot-i386")
    line = ["-m", "256", "-nographic", "-no-reboot", "-kernel", kernel, "-append", f"console=ttyS0 {append}"]
    result = emu(*line, "--expect", "Switched to clocksource hpet", "--expect", "NET: Registered PF_INET", compat=True)
    ended_well(result)
    assert any("hpet0: 3 comparators, 64-bit 100.000000 MHz counter" in line for line in lines(result))
