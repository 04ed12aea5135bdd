"""`--stats`: where the time of a run goes, by part, device and timer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.emu.test_session import boot, run

pytest.importorskip("emu.engine._x86")

# mov dx,3f8h; mov al,"x"; mov cx,200; out dx,al; loop; mov cx,100; in al,61h; loop; out 0f4h
OUTPUT = bytes.fromhex("baf803 b078 b9c800 ee e2fd b96400 e461 e2fc b010 e6f4 ebfe")
PARTS = {"translate", "tlb_fill", "devices", "timers", "run", "other"}
EXIT = ("-device", "isa-debug-exit,iobase=0xf4")


def stats(tmp_path: Path, code: bytes, *words: str) -> dict[str, Any]:
    """The line of counters of a boot sector."""
    result = run(boot(tmp_path / "image", code), *EXIT, *words, "--stats")
    line: dict[str, Any] = json.loads(result.stderr.splitlines()[-1])
    return line


def test_devices_are_named_with_their_accesses(tmp_path: Path) -> None:
    devices = stats(tmp_path, OUTPUT)["devices"]
    assert devices["serial0"]["writes"] == 200
    assert devices["isa-debug-exit0"]["writes"] == 1


def test_the_parts_of_the_time_add_up_to_the_whole(tmp_path: Path) -> None:
    line = stats(tmp_path, OUTPUT)
    assert set(line["time"]) == PARTS
    assert all(seconds >= 0 for seconds in line["time"].values())
    assert sum(line["time"].values()) == pytest.approx(line["wall_s"], abs=0.01)


@pytest.mark.parametrize("tier", ["interp", "jit"])
def test_exits_are_counted_by_their_reason(tmp_path: Path, tier: str) -> None:
    spin = bytes.fromhex("31c0 40 75fd ebf9")  # a loop within a loop
    line = stats(tmp_path, spin, "--accel", tier, "--max-insns", "2000000")
    exits = line["engine"]["exits"]
    assert exits["run_budget"] > 0
    assert (exits.get("hot", 0) > 0) == (line["engine"]["tier"] == "jit")


def test_the_reference_says_what_it_can(tmp_path: Path) -> None:
    line = stats(tmp_path, bytes.fromhex("b010 e6f4"), "--accel", "reference")
    assert line["time"]["run"] == 0
    assert line["devices"] == {}
