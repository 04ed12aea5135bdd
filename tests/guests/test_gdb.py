"""A real gdb at guests that know nothing of it."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cores.x86.assembler import assemble_program
from tests.guests.command import guest

pytestmark = pytest.mark.guest

# 16-bit code at 7C00h: mov ax,1234h; mov bx,ax; sti; nop; mov [500h],ax; mov al,10h; out 0f4h,al; jmp $
BOOT = bytes.fromhex("b83412 89c3 fb 90 a30005 b010 e6f4 ebfe")
LOADED = 0x7C00
TIMEOUT = 120


def gdb_for(arch: str) -> str:
    """The path of a gdb that knows an instruction set; skips the test if there is none."""
    for name in ("gdb-multiarch", "gdb"):
        path = shutil.which(name)
        if path is not None:
            line = [path, "-nx", "-batch", "-ex", f"set architecture {arch}"]
            asked = subprocess.run(line, capture_output=True, stdin=subprocess.DEVNULL)
            if b"Undefined item" not in asked.stderr:
                return path
    pytest.skip(f"no gdb for {arch}: Debian packages gdb, gdb-multiarch")


def session(tmp_path: Path, entry: str, words: list[str], gdb: list[str], *commands: str) -> str:
    """What gdb prints for commands to a machine that waits for it."""
    path = str(tmp_path / "gdb")
    code = f"import sys; from emu.__main__ import {entry}; sys.exit({entry}())"
    line = [sys.executable, "-c", code, "--timeout", str(TIMEOUT), "-S", "-gdb", f"unix:{path}", *words]
    with subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as emu:
        try:
            for _ in range(200):
                if Path(path).exists() or emu.poll() is not None:
                    break
                subprocess.run(["sleep", "0.1"])
            start = ["set pagination off", "set confirm off", f"target remote {path}"]
            asked = [word for command in [*start, *commands, "kill"] for word in ("-ex", command)]
            result = subprocess.run([*gdb, "-nx", "-batch", *asked], capture_output=True, text=True, timeout=TIMEOUT)
        finally:
            emu.terminate()
    return result.stdout + result.stderr


def test_a_boot_sector_is_debugged_in_real_mode(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(BOOT.ljust(510, b"\0") + b"\x55\xaa")
    steps = ["x/i $pc", "break *0x7c00", "continue", "x/3i $pc", "stepi", "stepi"]
    more = ["p/x $eax", "watch *(short*)0x500", "continue", "p $cr0", "p $ftag", "info registers"]
    seen = session(tmp_path, "system_i386", [str(image)], [gdb_for("i8086")], *steps, *more)
    for text in (
        "ljmp   $0xf000,$0xe05b",
        "Breakpoint 1, 0x00007c00",
        "mov    $0x1234,%ax",
        "0x00007c05 in",
        "$1 = 0x1234",
        "New value = 4660",
        "0x00007c0a in",
        "$2 = [ ET ]",
        "eip            0x7c0a",
        "gdtr_limit     0x",
    ):
        assert text in seen, seen


MODES = """
              org 0x7c00
              bits 16
              mov ax, 0x0e41
              int 0x10
              cli
              xor ax, ax
              mov ds, ax
              lgdt [table]
              mov eax, cr0
              or al, 1
              mov cr0, eax
              jmp 8:wide
              bits 32
wide:         mov eax, 0x12345678
              xchg bx, bx
              jmp 16:half
              bits 16
half:         mov eax, cr0
              and al, 0xfe
              mov cr0, eax
              jmp 0:real
real:         mov ax, 0x4321
              jmp $
gdt:          dq 0, 0x00cf9a000000ffff, 0x00009a000000ffff
table:        dw 23
              dd gdt
              times 510 - ($ - $$) db 0
              dw 0xaa55
"""


def test_disassembly_is_right_across_changes_of_the_mode_and_steps_go_over_bios_calls(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(assemble_program(MODES, file="modes", big=False).data)
    steps = ["break *0x7c03", "continue", "nexti", "x/i $pc", "monitor stopon mode"]
    steps += ["continue", "continue", "x/i $pc", "monitor stopon none", "continue", "x/i $pc"]
    steps += ["stepi", "stepi", "x/2i $pc", "stepi", "stepi", "stepi", "stepi", "x/i $pc", "stepi", "p $ax"]
    seen = session(tmp_path, "system_i386", [str(image)], [gdb_for("i8086")], *steps)
    for text in (
        "=> 0x7c05:\tcli",
        "new program: 32-bit code",
        "emu: from protected mode, 16-bit code to protected mode, 32-bit code",
        "mov    $0x12345678,%eax",
        "emu: xchg bx, bx",
        "xchg   %bx,%bx",
        "new program: 16-bit code",
        "and    $0xfe,%al",
        "mov    $0x4321,%ax",
        "$1 = 17185",
    ):
        assert text in seen, seen


def test_linux_is_stopped_at_a_symbol_of_its_map(tmp_path: Path) -> None:
    place = symbol(guest("linux-i386", "System.map.gz"), "start_kernel")
    words = ["-m", "64", "-nographic", "-kernel", guest("linux-i386", "bzImage"), "-append", "console=ttyS0 nokaslr"]
    steps = [
        "set architecture i386",
        f"hbreak *{place:#x}",
        "continue",
        "p $cr0",
        "p/x $cs_base",
        "stepi",
        "info registers eip",
        "x/i $pc",
    ]
    seen = session(tmp_path, "system_i386", words, [gdb_for("i386")], *steps)
    assert f"Breakpoint 1, {place:#010x}" in seen, seen
    assert re.search(r"\$1 = \[ PE .*PG \]", seen), seen
    assert "$2 = 0x0" in seen
    assert place < int(re.findall(r"eip +(0x[0-9a-f]+)", seen)[0], 16) < place + 16


@pytest.mark.parametrize(
    ("board", "folder", "place", "version", "mine"),
    [
        ("bamboo", "linux-bamboo", 0xC06B0978, 0x422218D4, "f0"),  # start_kernel
        ("mpc8544ds", "linux-e500", 0xC000501C, 0x80210022, "acc"),  # kernel_init
        ("ppce500", "linux-e500", 0xC000501C, 0x80210022, "ev1"),
    ],
)
def test_linux_on_powerpc_is_stopped_stepped_and_watched(
    board: str, folder: str, place: int, version: int, mine: str, tmp_path: Path
) -> None:
    kernel = guest(folder, "vmlinux")
    words = ["-M", board, "-m", "128", "-nographic", "-kernel", kernel, "-append", "console=ttyS0"]
    steps = [
        "x/i $pc",
        "p/x $pvr",
        f"break *{place:#x}",
        "continue",
        "p $cr",
        "p/x $ivpr",
        "stepi",
        "info registers pc",
    ]
    more = ["set $place=$r1-16", "watch *(int*)$place", "continue", f"p/x ${mine}", "monitor info tlb"]
    gdb = [gdb_for("powerpc:common"), "-ex", "set endian big"]
    seen = session(tmp_path, "system_ppc", words, gdb, *steps, *more)
    assert "=> 0x0:\tnop" in seen, seen
    assert f"$1 = {version:#x}" in seen, seen
    assert f"Breakpoint 1, {place:#010x}" in seen, seen
    assert "$3 = 0xc0000000" in seen, seen
    assert re.search(rf"pc +{place + 4:#x}", seen), seen
    assert "Hardware watchpoint 2" in seen and "New value" in seen, seen
    assert re.search(r"\$4 = (0x|\{uint64 = 0x)[0-9a-f]+", seen), seen
    assert re.search(r"0x00000000c0000000 0x0000000000000000 +[0-9]+[kKM]", seen), seen


def symbol(path: str, name: str) -> int:
    """The address of a symbol in a compressed System.map."""
    with gzip.open(path, "rt") as lines:
        return next(int(line.split()[0], 16) for line in lines if line.split()[2] == name)
