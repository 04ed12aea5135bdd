from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import emu
from cores.x86.assembler import assemble_program
from tests.cores.tiers import TIERS

# xor ax,ax; mov ds,ax; int 11h; out 0f4h,al
CODE = bytes.fromhex("31c0 8ed8 cd11 e6f4 ebfe")


def log(tmp_path: Path, categories: str, code: bytes = CODE, tier: str = "interp") -> str:
    (tmp_path / "boot.img").write_bytes(code.ljust(510, b"\0") + b"\x55\xaa")
    words = [str(tmp_path / "boot.img"), "--accel", tier, "-d", categories, "-D", str(tmp_path / "log")]
    words += ["-device", "isa-debug-exit,iobase=0xf4,iosize=1", "--max-insns", "60000"]
    subprocess.run([sys.executable, "-m", "emu", "run", *words], stdin=subprocess.DEVNULL, check=False, timeout=20)
    return (tmp_path / "log").read_text()


def test_each_instruction_is_listed_once_with_its_bytes(tmp_path: Path) -> None:
    lines = log(tmp_path, "in_asm").splitlines()
    own = [line for line in lines if line.startswith("0x00007c0")]
    assert [line.split()[0] for line in own] == [f"0x00007c0{digit}:" for digit in "0246"]
    assert "31 c0" in own[0]
    assert "xor" in own[0]


def test_an_interrupt_shows_the_state_before_it_in_qemus_shape(tmp_path: Path) -> None:
    lines = log(tmp_path, "int").splitlines()
    [at] = [k for k, line in enumerate(lines) if " v=11 " in line]
    assert re.fullmatch(
        r" *\d+: v=11 e=0000 i=1 cpl=0 IP=0000:00007c04 pc=00007c04 SP=[0-9a-f]{4}:[0-9a-f]{8} env->regs\[R_EAX\]=0{8}",
        lines[at],
    )
    assert lines[at + 3].startswith("EIP=00007c06 EFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=0")
    assert lines[at + 4] == "ES =0000 00000000 0000ffff 00009300"


PAGED = """
bits 16
org 0x7c00
  cli
  lgdt [gdt]
  lidt [idt]
  mov eax, cr0
  or al, 1
  mov cr0, eax
  jmp 8:flat
bits 32
flat:
  mov ax, 16
  mov ds, ax
  mov ss, ax
  mov esp, 0x7000
  mov dword [0x9000], 0x83      ; the first 4 MiB; [0x9004] is not there
  mov eax, 0x9000
  mov cr3, eax
  mov eax, cr4
  or al, 16
  mov cr4, eax
  mov eax, cr0
  or eax, 0x80000000
  mov cr0, eax
fault:
  mov eax, [0x400004]
gdt: dw 23
  dd table
idt: dw 0
  dd 0
table: dq 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
"""


@pytest.mark.slow
@pytest.mark.parametrize("tier", TIERS)
def test_a_page_fault_is_told_with_its_walk_and_what_met_it(tmp_path: Path, tier: str) -> None:
    program = assemble_program(PAGED, file="paged", origin=0x7C00, big=False)
    lines = log(tmp_path, "int,mmu", program.data, tier).splitlines()
    for line in ("CR3 update: CR3=00009000", "CR4 update: CR4=00000010"):
        assert line in lines
    assert [line[-7:] for line in lines if line.startswith("CR0 update: ")] == ["0000011"] * 2
    assert "page fault: address 00400004 error 0000; PDE 00009004=00000000" in lines
    first = next(k for k, line in enumerate(lines) if " v=0e " in line)
    where = program.data.index(bytes.fromhex("a104004000")) + 0x7C00
    assert lines[first - 1] == "check_exception old: 0xffffffff new 0xe"
    assert f"e=0000 i=0 cpl=0 IP=0008:{where:08x} pc={where:08x} SP=0010:00007000 CR2=00400004" in lines[first]
    assert lines[first + 5] == "CS =0008 00000000 ffffffff 00cf9b00 DPL=0 CS32 [-RA]"
    assert lines[first + 7] == "DS =0010 00000000 ffffffff 00cf9300 DPL=0 DS   [-WA]"
    rest = [line for line in lines[first:] if "check_exception" in line or " v=" in line]
    assert rest[1] == "check_exception old: 0xe new 0xd"
    assert " v=08 e=0000 " in rest[2]
    assert len(rest) == 3


def test_port_accesses_and_executed_addresses_are_logged(tmp_path: Path) -> None:
    text = log(tmp_path, "io,exec,cpu_reset")
    assert "out 00f4.1 <- " in text
    assert "0000:00007c04" in text
    assert "CPU Reset\nEAX=" in text


def test_watching_a_run_does_not_change_it(tmp_path: Path) -> None:
    (tmp_path / "boot.img").write_bytes(CODE.ljust(510, b"\0") + b"\x55\xaa")

    def digest(*words: str) -> str:
        m = emu.build(str(tmp_path / "boot.img"), "-snapshot", "--max-insns", "500", *words)
        m.run()
        return m.digest()

    assert digest() == digest("-d", "in_asm,int,io", "-D", str(tmp_path / "log"))


def test_the_package_offers_what_it_says() -> None:
    assert emu.__all__ == sorted(emu.__all__)
    for name in emu.__all__:
        assert getattr(emu, name)
