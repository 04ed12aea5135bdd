"""The PowerPC guests, from their sources to their last lines, on both boards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from images.demo.__main__ import main as demo
from images.ppc.build import BOARDS, CLOSING, STEPS, image, main
from tests.cores.tiers import TIERS

ROOT = Path(__file__).resolve().parents[2]
HELLO = {"bamboo": "PVR 422218d4, a PowerPC 440EP", "ppce500": "PVR 80210022, an e500v2"}
BRIDGE = {"bamboo": "1014:027f, class 068000", "ppce500": "1957:0030, class 0b2000"}


def boot(folder: Path, board: str, code: bytes, *words: str) -> list[str]:
    pytest.importorskip("emu.engine._ppc", reason="the engine is not built")
    (folder / "code").write_bytes(code)
    command = [sys.executable, "-m", "emu", "run", "-M", board, "-m", "64", "-kernel", str(folder / "code"), *words]
    command += ["-serial", "stdio", "-no-reboot", "--timeout", "60"]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("tier", TIERS)
def test_all_steps_run_on_both_boards_and_tiers(tmp_path: Path, board: str, tier: str) -> None:
    lines = boot(tmp_path, board, image(board, closing=CLOSING), "--accel", tier)
    assert lines == [
        f"PowerPC: hello from {HELLO[board]}",
        "PowerPC: decrementer ticks 1 2 3 4 5 (100 Hz, IVOR10)",
        "PowerPC: TLB miss at 70000000: mapped to 00200000, which holds 600d0000",
        "PowerPC: TLB miss at 70005008: mapped to 00201008, which holds 600d0001",
        "PowerPC: TLB miss at 7000a010: mapped to 00202010, which holds 600d0002",
        "3 TLB misses in all",
        f"PowerPC: PCI slot 0 is {BRIDGE[board]}",
        CLOSING,
    ]


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("step", STEPS)
def test_each_step_stands_alone(tmp_path: Path, board: str, step: str) -> None:
    lines = boot(tmp_path, board, image(board, [step]))
    assert lines and all(line.startswith("PowerPC: ") or line.endswith("in all") for line in lines)


def test_what_the_440_mapped_is_shown_in_words(tmp_path: Path) -> None:
    lines = boot(tmp_path, "bamboo", image("bamboo", ["tlb"]), "--dump-tlb")
    [entry] = [line for line in lines if line.startswith("UTLB 33 ")]
    assert "70005000-70005fff -> 000201000" in entry and entry.endswith("supervisor read write; user nothing")


def test_the_recipe_writes_a_file_and_refuses_what_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-M", "ppce500", "-o", str(tmp_path / "x"), "timer"]) == 0
    assert (tmp_path / "x").read_bytes() == image("ppce500", ["timer"])
    assert main(["-o", str(tmp_path / "x"), "nothing"]) == 1
    assert "expected one of hello, timer, tlb, pci, found 'nothing'" in capsys.readouterr().err
    assert demo(["--run-ppc", "-M", "pc"]) == 1
    assert "expected one of bamboo, ppce500, found 'pc'" in capsys.readouterr().err


def test_the_demo_shows_both_architectures_and_ends_with_its_closing_line() -> None:
    pytest.importorskip("emu.engine", reason="the engine is not built")
    command = [sys.executable, "-m", "images.demo", "--run"]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines.index("Emu demo: all done.") < lines.index(f"PowerPC: hello from {HELLO['bamboo']}")
    assert lines[-1] == CLOSING
