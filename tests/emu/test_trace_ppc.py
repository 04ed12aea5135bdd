"""`-d` on PowerPC boards: the shapes of QEMU's log."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cores.ppc.assembler import assemble_program
from tests.cores.tiers import TIERS

pytest.importorskip("emu.engine._ppc")

SOURCE = """
    lis r4, handler@h
    mtivpr r4
    li r5, handler@l
    mtivor8 r5
    li r3, -1
    cmpwi cr7, r3, 0
    sc
    b $
    align 16
handler:
    rfi
    lwz r3, 0(0)
"""


def log(folder: Path, board: str, categories: str, tier: str = "interp", source: str = SOURCE) -> list[str]:
    (folder / "code").write_bytes(assemble_program(source).data)
    words = ["-M", board, "-m", "64", "-kernel", str(folder / "code"), "--accel", tier, "--max-insns", "500"]
    words += ["-d", categories, "-D", str(folder / "log")]
    subprocess.run([sys.executable, "-m", "emu", "run", *words], stdin=subprocess.DEVNULL, check=False, timeout=30)
    return (folder / "log").read_text().splitlines()


def test_each_instruction_is_listed_once_with_its_bytes(tmp_path: Path) -> None:
    lines = log(tmp_path, "bamboo", "in_asm")
    assert lines[0] == "0x00000000:  3c 80 00 00  lis r4, 0x0"
    assert [line[2:10] for line in lines] == [f"{at:08x}" for at in (0, 4, 8, 12, 16, 20, 24, 32, 28)]
    assert lines[7].endswith("rfi")


@pytest.mark.parametrize("tier", TIERS)
def test_an_interrupt_shows_the_registers_before_it(tmp_path: Path, tier: str) -> None:
    lines = log(tmp_path, "bamboo", "int", tier)
    assert lines[0] == "Raise exception at 00000018 => system call (08) error=00"
    assert re.fullmatch(r"NIP 00000018   LR 00000000 CTR 00000000 XER 00000000 CPU#0", lines[1])
    assert lines[3].startswith("GPR00 0000000000000000 ")
    assert lines[3].split()[4] == "00000000ffffffff"
    assert lines[11] == "CR 00000008  [ -  -  -  -  -  -  -  L  ]     RES 000@00000000"
    assert any(line.startswith("FPR28 ") for line in lines)


def test_an_e500_shows_its_own_registers(tmp_path: Path) -> None:
    text = "\n".join(log(tmp_path, "ppce500", "exec,cpu,cpu_reset"))
    assert "CPU Reset\nNIP " in text
    assert "Trace 1: 00000004" in text
    assert "MAS0 " in text and "FPR00" not in text


def test_a_miss_names_the_address_and_its_space(tmp_path: Path) -> None:
    source = "lis r3, 0x7000\nlwz r4, 8(r3)\n"
    lines = log(tmp_path, "ppce500", "mmu", source=source)
    assert lines[0] == "data TLB error: address 70000008 space 0 PID 00 00 00 ESR 00000000"
