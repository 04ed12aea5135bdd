"""`emu bench`: which lines words name, what ratios are, the table, the figures, the picture. Nothing here is timed."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from emu.clock import processor_seconds
from emu.options import UsageError
from emu.tools.bench import emulators, listing, main, measure
from emu.tools.bench.emulators import BOCHS, EMU, QEMU, BenchError, Cost, Emulator, Seen, memory_beside
from emu.tools.bench.lines import BARE, LINES, MACHINES, Line, Row, chosen, rounds_of
from emu.tools.bench.measure import Run
from emu.tools.bench.picture import draw, png
from emu.tools.bench.report import Result, as_json, figure, figures, ratio, table, wrong_sums

SPEED = Row("speed", ("a", "b"), 1.3, 2.5)
PC = MACHINES["pc"]


def costs(**seconds: float) -> dict[str, Cost]:
    return {name: Cost(value, 10 * value) for name, value in seconds.items()}


def result(*rounds: tuple[dict[str, Cost], dict[str, Cost]], rows: tuple[Row, ...] = (SPEED,)) -> Result:
    line = Line("speed.pc", "a test", "programs", PC, rows)
    return Result(line, {"emu": [ours for ours, _ in rounds], "qemu": [other for _, other in rounds]})


def test_every_kind_of_line_can_be_measured_and_no_two_have_one_name() -> None:
    assert {line.kind for line in LINES} == set(measure.KINDS)
    assert len({line.name for line in LINES}) == len(LINES)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["integer"], ["integer.pc", "integer.bamboo", "integer.ppce500"]),
        (["linux.pc"], ["linux.pc"]),
        (["spe", "start"], ["float.spe", "start"]),
    ],
)
def test_a_word_names_a_line_or_a_part_of_its_name(words: list[str], names: list[str]) -> None:
    assert [line.name for line in chosen(words)] == names
    assert len(chosen([])) == len(LINES)


def test_a_word_that_names_nothing_is_told_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="no line integr; did you mean integer"):
        chosen(["integr"])


def test_a_program_runs_once_at_least() -> None:
    assert rounds_of("irq", 0.0001) == 1 and rounds_of("irq", 2) == 2 * rounds_of("irq", 1)


def test_the_list_has_the_floors_of_the_contract() -> None:
    text = listing()
    for wanted in (
        "integer: floor 1.3, aim 2.5 (times as fast, processor time)",
        "awk: floor 4, aim 10 (times as fast, processor time)",
        "fork: floor 2, aim 5 (times as fast, processor time)",
        "boot: floor 1, aim 2 (times as fast, wall time)",
        "start: floor 0.3, aim 0.15 (s, wall time)",
        "footprint: floor 120, aim 60 (MiB, processor time)",
        "integer: floor 5, aim 10 (times as fast, processor time)",
        "install: floor 120, aim 60 (s, wall time)",
    ):
        assert wanted in text


def test_a_ratio_is_the_geometric_mean_over_items() -> None:
    assert ratio(costs(a=1, b=1), costs(a=2, b=8), SPEED) == pytest.approx(4)


@pytest.mark.parametrize("other", [costs(a=2), costs(a=2, b=0), {}])
def test_there_is_no_ratio_without_a_cost_of_every_item(other: dict[str, Cost]) -> None:
    assert ratio(costs(a=1, b=1), other, SPEED) is None


def test_a_figure_has_minimum_median_and_maximum_of_the_rounds() -> None:
    rounds = {"emu": [costs(a=1, b=1)] * 3, "qemu": [costs(a=k, b=k) for k in (3, 1, 2)]}
    found = figure(SPEED, rounds)
    assert found and (found.low, found.median, found.high) == pytest.approx((1, 2, 3))
    assert found.verdict == "floor" and found.costs == {"emu": 2, "qemu": 4}


@pytest.mark.parametrize(
    ("row", "value", "verdict"),
    [
        (SPEED, 1.29, "below"), (SPEED, 1.3, "floor"), (SPEED, 2.5, "aim"), (Row("x", ("a", "b")), 9.0, ""),
    ],
)  # fmt: skip
def test_a_ratio_has_to_reach_its_floor(row: Row, value: float, verdict: str) -> None:
    found = figure(row, {"emu": [costs(a=1, b=1)], "qemu": [costs(a=value, b=value)]})
    assert found and found.verdict == verdict


@pytest.mark.parametrize(("value", "verdict"), [(0.31, "above"), (0.3, "floor"), (0.15, "aim")])
def test_seconds_must_not_exceed_their_floor(value: float, verdict: str) -> None:
    row = Row("start", ("start",), 0.3, 0.15, clock="wall", unit="s")
    found = figure(row, {"emu": [{"start": Cost(99, value)}]})
    assert found and found.verdict == verdict and found.median == value


def test_the_table_has_a_line_for_each_row_its_items_and_what_was_left_out() -> None:
    one = result((costs(a=1, b=1), costs(a=2, b=8)))
    none = Result(LINES[0], skipped="emu: gcc is missing")
    text = table([one, none]).splitlines()
    assert text[1].split() == ["speed.pc", "speed", *["4.00"] * 3, "1.3", "2.5", "2", "s", "10", "s", "aim"]
    assert [line.split()[0] for line in text[2:4]] == ["a", "b"]
    assert text[4] == "integer.pc         left out: emu: gcc is missing"


def test_sums_that_differ_are_told_with_who_gave_them() -> None:
    sums = {"sort:2": {"aa": {"emu x"}, "bb": {"qemu x", "qemu y"}}, "crc:1": {"cc": {"emu x", "qemu x"}}}
    assert wrong_sums(sums) == ["sort:2 gives different sums: aa from emu x; bb from qemu x, qemu y"]


def test_the_json_has_settings_rows_items_rounds_and_sums() -> None:
    one = result((costs(a=1, b=1), costs(a=2, b=8)))
    found = json.loads(json.dumps(as_json([one], {"rounds": 1}, {"sort:2": {"aa": {"emu x"}}})))
    assert set(found) == {"version", "settings", "lines", "sums", "wrong"} and found["wrong"] == []
    [line] = found["lines"]
    assert (line["name"], line["rounds"]["qemu"]) == (
        "speed.pc",
        [{"a": {"processor": 2, "wall": 20}, "b": {"processor": 8, "wall": 80}}],
    )
    assert {k: line["rows"][0][k] for k in ("row", "floor", "aim", "median", "verdict")} == {
        "row": "speed", "floor": 1.3, "aim": 2.5, "median": pytest.approx(4), "verdict": "aim",
    }  # fmt: skip
    assert [item["row"] for item in line["items"]] == ["a", "b"]


def pixels(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The dots of a PNG as `png` writes it, with its checksums looked at."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, parts = 8, {}
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length)[0] == zlib.crc32(kind + body)
        parts[kind] = body
        at += 12 + length
    assert list(parts) == [b"IHDR", b"IDAT", b"IEND"]
    width, height = struct.unpack_from(">II", parts[b"IHDR"])
    rows = np.frombuffer(zlib.decompress(parts[b"IDAT"]), dtype=np.uint8).reshape(height, 1 + 3 * width)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, 3)


def test_a_png_gives_back_its_dots() -> None:
    dots = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    assert np.array_equal(pixels(png(dots)), dots)


def test_a_picture_shows_what_is_above_the_floor_in_another_colour() -> None:
    good = pixels(draw([result((costs(a=1, b=1), costs(a=2, b=2)))], "t"))
    bad = pixels(draw([result((costs(a=1, b=1), costs(a=0.5, b=0.5)))], "t"))
    greens = [int((np.all(shown == (90, 160, 90), axis=2)).sum()) for shown in (good, bad)]
    assert good.shape == bad.shape and greens[0] > 100 and greens[1] == 0


def test_memory_beside_guest_ram_leaves_out_the_large_mapping() -> None:
    smaps = "7f00-7f10 rw-p\nSize:  65540 kB\nRss:  60000 kB\nPss: 1 kB\n7f20-7f30 r--p\nSize: 2048 kB\nRss: 1024 kB\n"
    assert memory_beside(smaps, 64 << 20) == 1.0


def test_a_process_has_spent_time_and_one_that_is_not_there_none() -> None:
    assert processor_seconds(os.getpid()) > 0
    assert processor_seconds(0x3FFFFFFF) == 0.0


def test_each_emulator_gets_its_own_words(tmp_path: Path) -> None:
    ours = EMU.command(PC, "jit", ["-kernel", "x"], tmp_path)
    assert ours[1:6] == ["-m", "emu", "run", "--accel", "jit"] and ours[-2:] == ["-kernel", "x"]
    assert "--accel" not in EMU.command(PC, None, [], tmp_path)
    assert QEMU.command(PC, "jit", [], tmp_path)[:5] == ["qemu-system-i386", "-accel", "tcg", "-M", "pc"]


def test_qemu_takes_turns_with_emu_and_bochs_only_on_its_line() -> None:
    found = {line.name: emulators(line) for line in LINES}
    assert found["integer.pc"] == (EMU, QEMU) and found["bochs"] == (EMU, BOCHS) and found["install"] == (EMU,)


def scripted(monkeypatch: pytest.MonkeyPatch, *lines: str, step: float = 1.0) -> None:
    """Every emulator prints these lines, `step` seconds after each other."""

    def run(self: Emulator, words: list[str], scratch: Path) -> Iterator[Seen]:
        for k, text in enumerate(lines, 1):
            seconds = step * k * (1 if self is EMU else 3)
            yield Seen(text, Cost(seconds, seconds), os.getpid())

    monkeypatch.setattr(Emulator, "run", run)
    monkeypatch.setattr(Emulator, "missing", lambda self, machine: None)
    monkeypatch.setattr(Run, "built", lambda self, line: self.scratch / "x.elf")


READY = ["bench ready", *(f"bench {name} 5 0000abcd" for name in BARE), "bench done"]


def test_a_program_costs_what_passed_since_the_line_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scripted(monkeypatch, "SeaBIOS", "Booting from ROM..bench ready", *READY[1:])
    run = Run(tmp_path)
    [line] = chosen(["system.pc"])
    found = measure.programs(line, EMU, run)
    assert found == {"boot": Cost(2, 2), **{name: Cost(1, 1) for name in BARE}}
    assert run.sums["irq:5"] == {"0000abcd": {"emu system.pc"}}


def test_a_run_that_ends_too_early_names_the_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scripted(monkeypatch, *READY[:2])
    with pytest.raises(BenchError, match="qemu ended before spaces did"):
        measure.programs(chosen(["system.pc"])[0], QEMU, Run(tmp_path))


def test_the_command_prints_ratios_and_writes_figures_and_picture(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted(monkeypatch, *READY)
    output = tmp_path / "new" / "figures.json"
    assert main(["system.pc", "--runs", "2", "-o", str(output)]) == 0
    text = capsys.readouterr().out
    order = [line.split()[1:3] for line in text.splitlines() if line.endswith("items")]
    assert order == [["emu", "1"], ["qemu", "1"], ["emu", "2"], ["qemu", "2"]]
    assert "system.pc          irq                3.00     3.00     3.00" in text
    found = json.loads(output.read_text())
    assert found["settings"]["rounds"] == 2 and {round(r["median"], 9) for r in found["lines"][0]["rows"]} == {3.0}
    assert output.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_sums_that_differ_make_the_status_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted(monkeypatch, *READY)
    monkeypatch.setattr("emu.tools.bench.wrong_sums", lambda sums: ["irq gives different sums"] if sums else [])
    assert main(["system.pc", "--runs", "1", "-o", str(tmp_path / "x.json")]) == 1
    assert "bench: irq gives different sums" in capsys.readouterr().out


def test_without_qemu_there_are_costs_and_a_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted(monkeypatch, *READY)
    monkeypatch.setattr(Emulator, "missing", lambda self, machine: machine.qemu if self is QEMU else None)
    assert main(["system.pc", "--runs", "2", "-o", str(tmp_path / "x.json")]) == 0
    assert capsys.readouterr().out.count("qemu: qemu-system-i386 is not installed") == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--runs", "0"], "expected 1 to 1000000"),
        (["--scale", "nan"], "expected a factor"),
        (["--guest", "vax"], "expected one of pc, bamboo, ppce500"),
        (["sorting"], "there is no line sorting"),
        (["start", "-o", "/dev/null/x"], "bench: /dev/null/x: "),
    ],
)
def test_a_mistake_in_the_words_is_told_before_anything_runs(words: list[str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        main(words)


def test_a_line_without_qemu_still_tells_what_we_cost() -> None:
    one = result((costs(a=1, b=1), costs(a=1, b=1)), rows=(Row("speed", ("a",)),))
    del one.rounds["qemu"]
    [(found, _)] = figures(one)
    assert found.costs == {"emu": 1} and found.values == () and found.verdict == ""
    assert table([one]).splitlines()[1].split() == ["speed.pc", "speed", *["-"] * 5, "1", "s", "-"]
    assert not np.all(pixels(draw([one], "t")) == (120, 150, 190), axis=2).any()
