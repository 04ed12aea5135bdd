from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import emu

# xor ax,ax; mov ds,ax; int 11h; out 0f4h,al
CODE = bytes.fromhex("31c0 8ed8 cd11 e6f4 ebfe")


def log(tmp_path: Path, categories: str) -> str:
    (tmp_path / "boot.img").write_bytes(CODE.ljust(510, b"\0") + b"\x55\xaa")
    words = [str(tmp_path / "boot.img"), "-d", categories, "-D", str(tmp_path / "log")]
    words += ["-device", "isa-debug-exit,iobase=0xf4,iosize=1", "--max-insns", "5000"]
    subprocess.run([sys.executable, "-m", "emu", "run", *words], stdin=subprocess.DEVNULL, check=False, timeout=20)
    return (tmp_path / "log").read_text()


def test_each_instruction_is_listed_once_with_its_bytes(tmp_path: Path) -> None:
    lines = log(tmp_path, "in_asm").splitlines()
    own = [line for line in lines if " 0x00007c0" in line]
    assert [line.split()[1] for line in own] == [f"0x00007c0{digit}:" for digit in "0246"]
    assert "31 c0" in own[0]
    assert "xor" in own[0]


def test_an_interrupt_is_one_line_of_qemus_shape(tmp_path: Path) -> None:
    lines = log(tmp_path, "int").splitlines()
    assert any("v=11 e=0000 i=1 cpl=0 IP=f000:" in line for line in lines)


def test_port_accesses_and_executed_addresses_are_logged(tmp_path: Path) -> None:
    text = log(tmp_path, "io,exec,cpu_reset")
    assert "out 00f4.1 <- " in text
    assert "0000:00007c04" in text
    assert "CPU Reset\nEAX=" in text


def test_watching_a_run_does_not_change_it(tmp_path: Path) -> None:
    (tmp_path / "boot.img").write_bytes(CODE.ljust(510, b"\0") + b"\x55\xaa")

    def digest(*words: str) -> str:
        m = emu.build(str(tmp_path / "boot.img"), "--max-insns", "500", *words)
        m.run()
        return m.digest()

    assert digest() == digest("-d", "in_asm,int,io", "-D", str(tmp_path / "log"))


def test_the_package_offers_what_it_says() -> None:
    assert emu.__all__ == sorted(emu.__all__)
    for name in emu.__all__:
        assert getattr(emu, name)
