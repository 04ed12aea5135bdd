"""--accel jit and auto: which tier runs, what a host without a back end is told, what bounds the code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from emu.boards import Setup, board
from emu.bus import Bus
from emu.machine import Machine
from emu.memory import GuestRam
from emu.options import UsageError, parse
from emu.session import Session
from emu.tools import cosim, doctor

for _core in ("x86", "ppc"):
    pytest.importorskip(f"emu.engine._{_core}")

BOARDS = {"pc": "X86Cpu", "bamboo": "PpcCpu"}


class Library:
    """The engine with another word on whether it can translate, and a note of what it was asked with."""

    def __init__(self, lib: Any, can: bool) -> None:
        self.lib = lib
        self.can = can
        self.asked: list[tuple[int, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.lib, name)

    def emu_jit(self, c: Any, on: int) -> int:
        self.asked.append((on, int(c.jit_size)))
        return int(self.can and on)


@pytest.fixture(params=BOARDS)
def name(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A board of each core; `kernel` is a file that it can load."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kernel").write_bytes((0x48000000).to_bytes(4, "big"))  # to itself
    return str(request.param)


def words_of(name: str) -> list[str]:
    return ["-M", name, "-m", "64", *(["-kernel", "kernel"] if name != "pc" else [])]


def library(monkeypatch: pytest.MonkeyPatch, name: str, can: bool) -> Library:
    import emu.engine

    cpu = getattr(emu.engine, BOARDS[name])
    replaced = Library(cpu.lib, can)
    monkeypatch.setattr(cpu, "lib", replaced)
    return replaced


def built(name: str, *words: str) -> tuple[Machine, list[str]]:
    """A machine, and what its session would warn of."""
    config = parse([*words_of(name), *words])
    return board(name)(Setup(config, serial=[None])), config.warnings


def tier(machine: Machine) -> str:
    found = machine.cpu.stats()["tier"]
    assert machine.cpu.tier == found
    return str(found)


def test_auto_takes_the_jit_where_there_is_one_and_else_interp_without_a_word(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for can, found in ((True, "jit"), (False, "interp")):
        asked = library(monkeypatch, name, can).asked
        machine, warnings = built(name)
        assert (tier(machine), warnings) == (found, [])
        assert asked == [(1, 0)]


def test_who_asks_for_the_jit_is_told_that_it_is_interp(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    library(monkeypatch, name, False)
    machine, warnings = built(name, "--accel", "jit")
    assert (tier(machine), warnings) == ("interp", ["--accel jit: no back end for this host; using interp"])
    with pytest.raises(UsageError, match="no back end for this host"):
        Session(parse([*words_of(name), "--accel", "jit", "--strict"]), attached=False).build()


def test_interp_and_reference_never_ask_for_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = library(monkeypatch, name, True).asked
    for wish in ("interp", "reference"):
        assert tier(built(name, "--accel", wish)[0]) == wish
    assert asked == []


def test_the_bound_of_the_code_is_known_before_the_jit_starts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = library(monkeypatch, name, True).asked
    built(name, "-accel", "tcg,tb-size=8")
    built(name, "-tb-size", "1")
    assert asked == [(1, 8 << 20), (1, 1 << 20)]


def test_the_doctor_says_for_which_cores_there_is_a_back_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def finding() -> dict[str, Any]:
        assert doctor.main(["--json"]) == 0
        return next(row for row in json.loads(capsys.readouterr().out) if row["what"] == "jit")

    x86, ppc = library(monkeypatch, "pc", True), library(monkeypatch, "bamboo", True)
    assert finding()["ok"]
    ppc.can = False
    assert not finding()["ok"]
    assert "only the x86 core has a back end" in finding()["text"]
    x86.can = False
    text = finding()["text"]
    assert text.startswith("no back end for ") and text.endswith("; --accel auto falls back to interp")


def test_no_comparison_pretends_to_be_one_with_the_jit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    library(monkeypatch, name, False)
    with pytest.raises(UsageError, match=r"--accel jit,interp: the JIT has no back end for this host"):
        cosim.main(["--accel", "jit,interp", "-M", name])


def test_counters_of_the_jit_are_shown_only_where_it_runs(name: str) -> None:
    for wish in ("interp", "auto"):
        machine, _ = built(name, "--accel", wish)
        shown = {key for key in machine.cpu.stats() if key.startswith("jit")}
        assert bool(shown) == (tier(machine) == "jit")
        assert not shown or shown >= {"jit_traces", "jit_insns", "jit_bytes", "jit_ns", "jit_s", "jit_flushes"}


def test_a_tier_that_there_is_not_is_refused(name: str) -> None:
    import emu.engine

    ram = GuestRam(1 << 20)
    with pytest.raises(ValueError, match="expected interp or jit"):
        getattr(emu.engine, BOARDS[name])(Bus(ram), ram, accel="fast")
