"""Runs that are recorded and replayed, and recordings that are not what they should be."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
import zlib
from pathlib import Path

import pytest

from emu.clock import Clock
from emu.errors import ReplayError
from emu.inputs import Input, Inputs
from emu.options import UsageError
from emu.record import MAGIC, Recorder, Recording
from tests.emu.fake_cpu import FakeCpu
from tests.emu.test_session import DEAD, ECHO, SPIN, Result, boot, command, image, run, start

__all__ = ["image"]

DATE = (2025, 1, 2, 3, 4, 5)


def digest(result: Result) -> tuple[str, str, int, int]:
    last = json.loads(result.stderr.splitlines()[-1])
    return last["state_digest"], last["serial_sha256"], last["instructions"], last["virtual_ns"]


def conversation(*words: str) -> Result:
    """Type to the echo from outside, at whatever moments, and end it by a signal."""
    process = start(*words)
    assert process.stdin is not None and process.stdout is not None
    try:
        assert process.stdout.read(2) == b"> "
        for part in (b"ab", b"cdefgh", b"\x80\xff\0"):
            process.stdin.write(part)
            process.stdin.flush()
            assert process.stdout.read(len(part)) == part
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=120)
        return subprocess.CompletedProcess(words, process.returncode, out, errors)
    finally:
        process.kill()


@pytest.mark.slow
def test_what_was_typed_at_any_moment_is_typed_again_at_the_same_one(image: Path, tmp_path: Path) -> None:
    recording = str(tmp_path / "run.rec")
    words = [boot(image, ECHO), "-nographic", "--stats"]
    first = conversation(*words, "--record", recording)
    assert first.returncode == 128 + signal.SIGTERM
    for accel in ("jit", "interp"):
        again = run(*words, "--accel", accel, "-icount", f"shift=auto,rr=replay,rrfile={recording}")
        assert again.returncode == first.returncode
        assert again.stdout == b"> abcdefgh\x80\xff\0"
        assert digest(again) == digest(first)


@pytest.mark.slow
def test_a_script_is_not_needed_for_its_replay_and_the_date_comes_from_the_recording(
    image: Path, tmp_path: Path
) -> None:
    recording = str(tmp_path / "run.rec")
    script = ["--expect", "> ", "--send", "xyz", "--expect", "xyz"]
    first = run(boot(image, ECHO), "-nographic", "--stats", "-rtc", "base=utc", *script, "--record", recording)
    assert first.returncode == 0
    time.sleep(1.1)
    again = run(str(image), "-nographic", "--stats", "-rtc", "base=utc", "--replay", recording)
    assert again.returncode == 0
    assert digest(again) == digest(first)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (["-m", "64"], "recorded with another -m: 134217728, now 67108864"),
        (["-device", "isa-debug-exit"], "recorded with another -device"),
        (["-nodefaults"], "recorded with another -no-reboot, -no-shutdown, -nodefaults"),
        (["-serial", "none"], "recorded with another -serial"),
        (["-hdb", "IMAGE"], "recorded with other disks, or with something else on them"),
    ],
)
def test_a_replay_on_another_machine_is_refused(image: Path, tmp_path: Path, changed: list[str], expected: str) -> None:
    recording = str(tmp_path / "run.rec")
    base = [boot(image, DEAD), "-display", "none"]
    assert run(*base, "-serial", "null", "--record", recording).returncode == 0
    serial = [] if "-serial" in changed else ["-serial", "null"]
    result = run(*base, *serial, *[str(image) if word == "IMAGE" else word for word in changed], "--replay", recording)
    assert (result.returncode, result.stdout) == (1, b"")
    assert result.stderr.decode().splitlines()[-1] == f"emu: --replay {recording}: {expected}"


def test_a_replay_on_a_disk_that_has_changed_is_refused_and_leaves_it_as_it_is(image: Path, tmp_path: Path) -> None:
    recording = str(tmp_path / "run.rec")
    path = boot(image, DEAD, sectors=4)
    result = run(path, "-nographic", "--record", recording)
    assert b"a replay needs it as it is now" in result.stderr
    image.write_bytes(image.read_bytes()[:-1] + b"x")
    before = image.read_bytes()
    result = run(path, "-nographic", "--replay", recording)
    assert result.returncode == 1 and b"other disks, or with something else on them" in result.stderr
    assert image.read_bytes() == before


@pytest.mark.parametrize("what", ["cut off", "damaged", "diverged", "foreign", "missing"])
def test_a_recording_that_cannot_be_followed_ends_the_run_in_one_line(image: Path, tmp_path: Path, what: str) -> None:
    path = tmp_path / "run.rec"
    words = [boot(image, ECHO), "-display", "none", "-serial", "stdio"]
    script = ["--expect", "> ", "--send", "xyz", "--expect", "xyz"]
    assert run(*words, *script, "--record", str(path)).returncode == 0
    data = path.read_bytes()
    if what == "cut off":
        path.write_bytes(data[:-10])
    elif what == "damaged":
        path.write_bytes(data[:-60] + bytes([data[-60] ^ 1]) + data[-59:])
    elif what == "diverged":
        shifted(path, tmp_path)
    elif what == "foreign":
        path.write_bytes(b"something else")
    else:
        path.unlink()
    result = run(*words, "--replay", str(path))
    assert result.returncode == 1
    (line,) = [text for text in result.stderr.decode().splitlines() if text.startswith("emu: ")]
    expected = {
        "cut off": "cut off at byte ",
        "damaged": "a frame is damaged at byte ",
        "diverged": "the run is not the recorded one: ",
        "foreign": "expected a recording (--record FILE makes one)",
        "missing": "cannot be read: No such file or directory",
    }
    assert expected[what] in line and "Traceback" not in line
    if what in ("cut off", "damaged"):
        assert "input is known up to instruction " in line


def shifted(path: Path, folder: Path) -> None:
    """Make every input of a recording come an instruction later than it did."""
    entries = list(Recording(str(path)).entries())
    data = path.read_bytes()
    start_of_frames = len(MAGIC) + 8 + int.from_bytes(data[len(MAGIC) : len(MAGIC) + 4], "little")
    writer = Recorder(str(folder / "shifted"))
    for entry in entries:
        writer.add(entry._replace(icount=entry.icount + 1))
    writer.close()
    path.write_bytes(data[:start_of_frames] + (folder / "shifted").read_bytes())


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A small recording of a machine that is none."""
    path = tmp_path / "small.rec"
    writer = Recorder(str(path))
    header = json.dumps({"version": "1", "date": list(DATE), "machine": {"memory": 1}}).encode()

    writer._write(MAGIC + len(header).to_bytes(4, "little") + header + zlib.crc32(header).to_bytes(4, "little"))
    for entry in SMALL:
        writer.add(entry)
    writer.close()
    return path


SMALL = [
    Input(5, "serial0", b"hello", 51),
    Input(5, "net n", bytes(1514), 51),
    Input(1000, "serial0", b"", 10_001),
    Input(1 << 40, "net n", b"x" * 300, 1 << 44),
    Input((1 << 40) + 1, "end", b'["POWEROFF", 0, "", "00"]', (1 << 44) + 10),
]


def test_what_is_written_is_read(recorded: Path) -> None:
    recording = Recording(str(recorded))
    assert recording.date == DATE
    assert list(recording.entries()) == SMALL
    assert recording.end == ["POWEROFF", 0, "", "00"]


def test_every_cut_and_every_flipped_bit_is_noticed(recorded: Path) -> None:
    data = recorded.read_bytes()
    rng = random.Random(1)
    cuts = [data[:length] for length in range(0, len(data), 11)]
    flips = []
    for bit in [*range(8 * 60), *(rng.randrange(8 * len(data)) for _ in range(200))]:
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        flips.append(bytes(flipped))
    for case in [*cuts, *flips, data + b"\0", data + data[-40:]]:
        recorded.write_bytes(case)
        seen: list[Input] = []
        with pytest.raises((UsageError, ReplayError), match=f"--replay {recorded}: "):
            for entry in Recording(str(recorded)).entries():
                seen.append(entry)
        assert seen == SMALL[: len(seen)], "what came before the damage is right"


def test_a_full_disk_ends_the_recording_and_not_the_run(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("the host has no /dev/full")
    clock = Clock(FakeCpu())
    gate = Inputs(clock, lambda: 0)
    writer = Recorder("/dev/full")
    gate.sink = writer.add
    for _ in range(3):
        gate.note("net", bytes(1 << 17))
    writer.close()
    assert writer.failed == "No space left on device"


def test_a_recording_that_cannot_be_written_is_a_usage_error(image: Path, tmp_path: Path) -> None:
    result = run(boot(image, SPIN), "--record", str(tmp_path / "no" / "such.rec"))
    assert result.returncode == 1 and result.stdout == b""
    (line,) = result.stderr.decode().splitlines()
    assert "expected a file to write to: No such file or directory" in line
    result = run(str(image), "--record", "a", "--replay", "b")
    assert result.stderr == b"emu: --record and --replay: one or the other\n"


def test_the_help_names_both(image: Path) -> None:
    out = subprocess.run(command(["-help"]), capture_output=True, check=True).stdout
    assert b"--record FILE" in out and b"--replay FILE" in out and b"-icount" in out
