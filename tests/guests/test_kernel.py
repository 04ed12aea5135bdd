"""A kernel of our own (`kernel/`), started with the argument lists that users pass, looks at the whole PC.

It asks for what teaching kernels and bare-metal suites need: the multiboot state, the MP table, local APIC and I/O
APIC interrupts, IDE by interrupt, fw_cfg, and every way to leave.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from tests.guests.command import Result, emu, ended_well, lines

SOURCES = Path(__file__).parent / "kernel"
CC = "gcc -m32 -std=gnu11 -Wall -Wextra -Werror -Wno-array-bounds -Os -ffreestanding -fno-pic -fno-stack-protector"
CC += " -fno-asynchronous-unwind-tables -mno-mmx -mno-sse -mno-80387"
EXIT = ("-device", "isa-debug-exit,iobase=0xf4,iosize=0x4")
XV6 = "-nographic -drive file={fs},index=1,media=disk,format=raw -drive file={os},index=0,media=disk,format=raw"
XV6 += " -smp 2 -m 512"
KUNIT = "-nodefaults -m 1024 -kernel {kernel} -no-reboot -nographic -serial stdio"
HOBBY = "-kernel {kernel} -device isa-debug-exit,iobase=0xf4,iosize=0x04 -serial stdio -display none -no-reboot"
# With -s -S they wait for gdb: test_gdb.py.
DEVELOPER = "-kernel {kernel} -hda {os} -serial stdio -display none"
SYZKALLER = (
    "-m 512 -smp 2 -chardev socket,id=SOCKSYZ,server=on,wait=off,host=localhost,port=46514"
    " -mon chardev=SOCKSYZ,mode=control -display none -serial stdio -no-reboot -name VM-0 -device virtio-rng-pci"
    " -device e1000,netdev=net0 -netdev user,id=net0,restrict=on,hostfwd=tcp:127.0.0.1:46515-:22 -hda {os} -snapshot"
    " -kernel {kernel}"
)
SUITE = "-nodefaults -device pc-testdev -vnc none -serial stdio -device pci-testdev -machine accel=tcg -kernel {kernel}"
BARE = "-kernel {kernel} -device isa-debug-exit,iobase=0xf4,iosize=0x4 -serial stdio -nographic -no-reboot"

pytestmark = pytest.mark.guest


def build(*words: str) -> None:
    result = subprocess.run(words, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The kernel as an ELF file, a disk that boots it, and a second disk."""
    for tool in ("gcc", "ld", "objcopy"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool} on this host")
    at = tmp_path_factory.mktemp("kernel")
    for name in ("entry", "boot"):
        build("gcc", "-m32", "-c", "-o", str(at / f"{name}.o"), str(SOURCES / f"{name}.S"))
    build(*CC.split(), "-c", "-o", str(at / "kernel.o"), str(SOURCES / "kernel.c"))
    link = ["ld", "-m", "elf_i386", "--no-warn-rwx-segments"]
    objects = [str(at / "entry.o"), str(at / "kernel.o")]
    build(*link, "-T", str(SOURCES / "kernel.ld"), "-o", str(at / "kernel.elf"), *objects)
    build(*link, "-Ttext", "0x7C00", "-o", str(at / "boot.elf"), str(at / "boot.o"))
    build("objcopy", "-O", "binary", "-j", ".text", str(at / "boot.elf"), str(at / "boot.bin"))
    boot, elf = (at / "boot.bin").read_bytes(), (at / "kernel.elf").read_bytes()
    assert len(boot) == 512 and len(elf) <= 64 * 512
    (at / "os.img").write_bytes((boot + elf).ljust(10_000 * 512, b"\0"))
    (at / "fs.img").write_bytes(b"".join(f"disk 1 sector {n:04}".encode().ljust(512, b".") for n in range(1000)))
    (at / "module").write_bytes(b"a module's first bytes" + bytes(5000))
    return {"kernel": at / "kernel.elf", "os": at / "os.img", "fs": at / "fs.img", "module": at / "module"}


def words(line: str, built: dict[str, Path]) -> list[str]:
    return [word.format(**built) for word in line.split()]


def value(result: Result, name: str) -> int:
    """The number of the line that starts with a name."""
    (found,) = [line for line in lines(result) if line.split()[:1] == [name]]
    return int(found.split()[1], 16)


def test_the_multiboot_state_is_that_of_the_specification(built: dict[str, Path]) -> None:
    result = emu(*words(BARE, built), "-m", "64", "-append", "mb x=1", "-initrd", f"{built['module']} arg", compat=True)
    ended_well(result, 33)
    assert value(result, "magic") == 0x2BADB002
    assert value(result, "flags") == 0x4F
    assert value(result, "lower") == 639
    assert 60 * 1024 < value(result, "upper") < 63 * 1024
    seen = lines(result)
    assert any(line.startswith("cmdline ") and line.endswith(" mb x=1") for line in seen)
    assert any(line.startswith("module ") and line.endswith(f" arg {5022:08x} a module's first") for line in seen)
    memory = [tuple(int(part, 16) for part in line.split()[1:]) for line in seen if line.startswith("map ")]
    assert memory[0] == (0, 0x9FC00, 1)
    assert memory == sorted(memory)
    assert all(a + size <= b for (a, size, _), (b, _, _) in pairwise(memory))
    usable = sum(size for _, size, kind in memory if kind == 1)
    assert 63 << 20 < usable < 64 << 20


def test_the_mp_table_and_the_apics_agree(built: dict[str, Path]) -> None:
    result = emu(*words(BARE, built), "-append", "mp timer", compat=True)
    ended_well(result, 33)
    assert value(result, "lapic") == 0xFEE00000
    assert value(result, "ioapic") == 0xFEC00000
    assert value(result, "cpus") == 1
    assert value(result, "timer-pin") == 2
    assert "timer ok" in lines(result)


def test_disks_are_read_and_written_by_interrupt(built: dict[str, Path], tmp_path: Path) -> None:
    second = tmp_path / "fs.img"
    shutil.copy(built["fs"], second)
    before = second.read_bytes()
    line = f"-drive file={second},index=1,format=raw -hda {built['os']} -append"
    result = emu(*words(BARE, built), *line.split(), "disk write", compat=True)
    ended_well(result, 33)
    assert value(result, "ide-interrupts") == 6
    assert "sector 1 2 disk 1 sector 00" in lines(result)
    after = second.read_bytes()
    flipped = bytes(byte ^ 0xFF for byte in before[7 * 512 : 8 * 512])
    assert after == before[: 7 * 512] + flipped + before[8 * 512 :]
    assert value(result, "rewritten") == int.from_bytes(flipped[:4], "little")


def test_snapshot_leaves_the_file_as_it_is(built: dict[str, Path]) -> None:
    before = hashlib.sha256(built["fs"].read_bytes()).digest()
    line = f"-drive file={built['fs']},index=1,format=raw -hda {built['os']} -snapshot -append"
    result = emu(*words(BARE, built), *line.split(), "write", compat=True)
    ended_well(result, 33)
    assert value(result, "rewritten") == int.from_bytes(bytes(byte ^ 0xFF for byte in b"disk"), "little")
    assert hashlib.sha256(built["fs"].read_bytes()).digest() == before


def test_a_disk_that_does_not_exist_is_not_found(built: dict[str, Path]) -> None:
    result = emu(*words(BARE, built), "-hda", str(built["os"]), "-append", "disk", "-snapshot", compat=True)
    ended_well(result, 33)
    assert [line for line in lines(result) if line.startswith("sector 1")] == []
    assert value(result, "ide-interrupts") == 3


def test_xv6_arguments_boot_from_the_disk_with_index_0(built: dict[str, Path]) -> None:
    conversation = ["--expect", "type> ", "--send", "ls\n", "--expect", "LS echoed", "--expect", "done"]
    result = emu(*words(XV6, built), *conversation, compat=True)
    ended_well(result)
    assert "timer ok" in lines(result)
    assert "sector 1 0 disk 1 sector 00" in lines(result)
    assert b"more than one processor is not available" in result.stderr


def test_xv6_gdb_arguments_are_understood(built: dict[str, Path]) -> None:
    result = emu(*words(XV6, built), "-serial", "mon:stdio", "-gdb", "tcp::26000", "--expect", "type> ", compat=True)
    ended_well(result)


def test_help_has_the_line_that_makefiles_look_for() -> None:
    result = emu("-help", compat=True)
    ended_well(result)
    assert [line for line in lines(result) if line.startswith("-gdb")]


def test_kunit_arguments_end_at_the_reboot(built: dict[str, Path]) -> None:
    result = emu(*words(KUNIT, built), "-append", "mb mp timer reboot kunit_shutdown=reboot", compat=True)
    ended_well(result)
    assert lines(result)[-1] == "done"


def test_kernel_developers_arguments_run(built: dict[str, Path]) -> None:
    result = emu(
        *words(DEVELOPER, built), "-snapshot", "-append", "disk off root=/dev/sda console=ttyS0 nokaslr", compat=True
    )
    ended_well(result)
    assert "done" in lines(result)


def test_syzkaller_arguments_warn_of_what_is_missing_and_run(built: dict[str, Path]) -> None:
    result = emu(*words(SYZKALLER, built), "-append", "disk timer root=/dev/sda console=ttyS0", *EXIT, compat=True)
    ended_well(result, 33)
    assert lines(result)[-1] == "done"
    warnings = result.stderr.decode().splitlines()
    assert len(warnings) == len(set(warnings)) == sum(line.startswith("emu: warning: ") for line in warnings)


def test_a_hobby_system_passes_its_status_and_logs_its_resets(built: dict[str, Path], tmp_path: Path) -> None:
    log = tmp_path / "log"
    result = emu(
        *words(HOBBY, built), "-append", "timer", "-d", "int,cpu_reset", "-D", str(log), "-no-shutdown", compat=True
    )
    ended_well(result, 33)
    assert log.read_text()


def test_power_off_ends_with_0(built: dict[str, Path]) -> None:
    result = emu(*words(BARE, built), "-append", "off", compat=True)
    ended_well(result)


def test_the_firmware_configuration_answers_as_bare_metal_suites_ask(built: dict[str, Path]) -> None:
    result = emu(*words(BARE, built), "-m", "96", "-append", "fwcfg", compat=True)
    ended_well(result, 33)
    assert value(result, "signature") == int.from_bytes(b"QEMU", "little")
    assert value(result, "memory") == 96 << 20
    assert value(result, "processors") == 1


def test_bare_metal_suites_run_with_their_own_arguments(built: dict[str, Path]) -> None:
    result = emu(*words(SUITE, built), *EXIT, "-smp", "1", "-append", "mb fwcfg timer lines", compat=True)
    ended_well(result, 33)
    assert "timer ok" in lines(result)
    assert value(result, "line") == 1


def test_a_key_typed_on_the_screen_arrives_by_interrupt(built: dict[str, Path]) -> None:
    conversation = ["--expect", "press a key", "--send", "a", "--expect", "keys 1e 9e"]
    result = emu(*words(HOBBY, built), "-append", "keys", *conversation)
    ended_well(result)


def test_a_compressed_kernel_and_disk_are_unpacked(built: dict[str, Path], tmp_path: Path) -> None:
    for name in ("kernel", "fs"):
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(built[name].read_bytes()))
    line = f"-kernel {tmp_path}/kernel.gz -hda {built['os']} -hdb {tmp_path}/fs.gz -serial stdio -display none"
    line += " -snapshot -append"
    result = emu(*line.split(), "disk", *EXIT, compat=True)
    ended_well(result, 33)
    assert "sector 1 1 disk 1 sector 00" in lines(result)


def test_the_chip_set_is_where_drivers_look(built: dict[str, Path]) -> None:
    result = emu(*words(BARE, built), "-append", "pci", compat=True)
    ended_well(result, 33)
    found = [int(line.split()[1], 16) for line in lines(result) if line.startswith("pci ")]
    assert found[:4] == [0x12378086, 0x70008086, 0x70108086, 0x71138086]


@pytest.mark.parametrize("model", ["pentium", "pentium3", "qemu32"])
def test_every_model_with_a_local_apic_runs_it(built: dict[str, Path], model: str) -> None:
    disk = ["-hda", str(built["os"]), "-snapshot"]
    result = emu(*words(BARE, built), *disk, "-cpu", model, "-append", "mp timer disk", compat=True)
    ended_well(result, 33)
