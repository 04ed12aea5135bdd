"""The demo guest, from its source to its last line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cores.x86.assembler import assemble_program
from images.build import DISK_SIZE, image, main, names

ROOT = Path(__file__).resolve().parents[2]
LINES = [
    "Emu demo: boot sector at 0000:7C00, drive {drive}",
    "Second stage: loaded through INT 13h",
    "Memory map from INT 15h E820:",
    "Protected mode: CR0 ",
    "Paging: page directory at 00010000",
    "Paging: 00400000 shows 00013000: one page, two addresses",
    "Page fault at 00401123: mapped, tried again, reads back 600D600D",
    "Timer ticks: 1 2 3 4 5 6 7 8 9 10 (100 Hz, IRQ 0)",
    "every sector has a story; this one was read.",
    "Emu demo: all done.",
]


def boot(tmp_path: Path, *words: str) -> str:
    pytest.importorskip("emu.engine", reason="the engine is not built")
    (tmp_path / "demo.img").write_bytes(image("demo"))
    command = [sys.executable, "-m", "emu", "run", "-serial", "stdio", "--timeout", "20", *words]
    done = subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_demo_has_a_boot_sector_and_fits_its_disk() -> None:
    data = image("demo")
    assert len(data) == DISK_SIZE
    assert data[510:512] == b"\x55\xaa"


def test_every_statement_of_the_demo_lies_where_its_listing_says() -> None:
    source = (ROOT / "images/demo/demo.asm").read_text()
    program = assemble_program(source, big=False)
    at = 0x7C00
    for s in program.statements:
        if s.kind not in ("label", "equ", "org"):
            assert s.address == at, s.text
            at += len(s.data)
    assert at - 0x7C00 == len(program.data)


def test_the_demo_runs_from_a_hard_disk_to_its_last_line(tmp_path: Path) -> None:
    out = boot(tmp_path, "-hda", str(tmp_path / "demo.img"), "-m", "32")
    at = 0
    for line in LINES:
        at = out.index(line.format(drive="80"), at)
    assert "CPU features: fpu" in out
    assert "by programmed I/O" in out


def test_the_demo_runs_from_a_floppy_on_a_486(tmp_path: Path) -> None:
    out = boot(tmp_path, "-fda", str(tmp_path / "demo.img"), "-m", "16", "-cpu", "486")
    at = 0
    for line in LINES:
        at = out.index(line.format(drive="00"), at)
    assert "read by the firmware" in out


def test_the_screen_shows_the_same_text_as_the_serial_port(tmp_path: Path) -> None:
    out = boot(tmp_path, "-hda", str(tmp_path / "demo.img"), "-m", "32", "--dump-screen")
    assert out.count("Emu demo: all done.") == 2


def test_the_recipe_builds_by_name_and_refuses_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "demo" in names()
    assert main(["demo", "-o", str(tmp_path)]) == 0
    assert (tmp_path / "demo.img").read_bytes() == image("demo")
    assert main(["nothing", "-o", str(tmp_path)]) == 1
    assert "there is no guest 'nothing'; expected one of" in capsys.readouterr().err
