"""The story of a triple fault, as `emu run` tells it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from emu.machine import Machine, Vacuum
from emu.options import parse
from emu.session import Session
from emu.tools import postmortem

LIDT = bytes.fromhex("31c0 8ed8 0f011e 007d")  # xor ax,ax; mov ds,ax; lidt [7d00h] (limit 0)
INT3 = b"\xcc"
LOOP = bytes.fromhex("b96400 49 75fd")  # mov cx,100; dec cx; jnz
WAIT = bytes.fromhex("ba fd03 ec a801 74fb ba f803 ec")  # a character from COM1 into al
READ = bytes.fromhex("31c0 8ec0 b80102 bb007e b90200 ba8000 cd13 803e007e00 740a")  # sector 2; skip 10 bytes if it is 0
WRITE = bytes.fromhex("b80103 bb007c b90200 ba8000 cd13")  # the boot sector to sector 2


def boot(tmp_path: Path, code: bytes) -> str:
    image = tmp_path / "triple.img"
    image.write_bytes(code.ljust(510, b"\0") + b"\x55\xaa" + bytes(512))
    return str(image)


class Typist(Vacuum):
    """Types one character when the guest has run for a while."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def poll(self, machine: Machine) -> None:
        if machine.retired > 1000:
            machine.inputs.channels["serial0"].put(self.data)
            self.data = b""


def story(*words: str, typed: bytes = b"") -> list[str]:
    """What `emu run` says after a triple fault."""
    session = Session(parse(words), attached=False)
    machine = session.build()
    machine.max_insns = 10_000_000
    assert machine.run(Typist(typed)).status == 3
    return [*machine.cpu.fault_story(), *postmortem.last_instructions(session.config, session._date, machine)]


def test_the_command_tells_the_chain_and_the_last_sixteen_instructions(tmp_path: Path) -> None:
    image = boot(tmp_path, LOOP + LIDT + INT3)
    result = subprocess.run(
        [sys.executable, "-m", "emu", "run", image],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert result.returncode == 3
    lines = result.stderr.splitlines()
    assert lines[2] == "emu: #BP at 0000:7c0f -> vector 3 beyond IDT limit 0 -> #GP -> #DF -> shutdown"
    assert lines[4] == "emu: the last 16 instructions:"
    assert len(lines) == 5 + 16
    assert lines[-1].split() == ["emu:", ">", "0000:00007c0f", "cc", "int3", "<-", "first", "cause"]
    assert "lidt [0x7d00]" in lines[-2]
    assert "idtr.limit=0000" in lines[-2]


def test_changed_registers_stand_beside_each_instruction(tmp_path: Path) -> None:
    lines = story(boot(tmp_path, LOOP + LIDT + INT3))
    (dec,) = [line for line in lines if "ecx=00000001" in line]
    assert "dec cx" in dec
    assert "eflags" not in dec


def test_what_was_typed_is_typed_again(tmp_path: Path) -> None:
    lines = story(boot(tmp_path, WAIT + LIDT + INT3), "-serial", "null", typed=b"Q")
    assert any("in al, dx" in line and "51" in line for line in lines)
    assert lines[-1].endswith("<- first cause")


def test_a_run_that_changed_its_own_disk_is_not_told_wrongly(tmp_path: Path) -> None:
    lines = story(boot(tmp_path, READ + LIDT + INT3 + WRITE + LIDT + INT3))
    assert lines[-1].startswith("the last instructions are not known: a second run went another way")


def test_too_long_a_run_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postmortem, "MOST", 100)
    lines = story(boot(tmp_path, LOOP + LIDT + INT3))
    assert lines[-1] == "the last instructions are not known: more than 100 instructions would have to be run again"
