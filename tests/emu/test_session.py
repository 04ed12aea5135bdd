"""Whole runs of small boot sectors through the command, as a person starts them."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path

import pytest

# Hand-assembled; 16-bit code at 7C00h.
EXIT_33 = bytes.fromhex("b010 e6f4 ebfe")  # mov al,10h; out 0f4h,al; jmp $
TRIPLE = bytes.fromhex("31c0 8ed8 0f011e0a7c cc 000000000000")  # xor ax,ax; mov ds,ax; lidt [7c0a]; int3
PROMPT = bytes.fromhex("ba f803 b03e ee b020 ee")  # "> " to 3f8h
SPIN = bytes.fromhex("ebfe")  # jmp $
DEAD = bytes.fromhex("ba f803 b04f ee b04b ee b00a ee fa f4")  # "OK\n" to 3f8h; cli; hlt
ECHO = bytes.fromhex(  # "> " to 3f8h, then every received byte back
    "ba f803 b03e ee b020 ee ba fd03 ec a801 74fb ba f803 ec ee ebf1"
)
KEYS = bytes.fromhex("b400 cd16 b40e cd10 ebf6")  # int 16h, int 10h teletype, again
RESET = bytes.fromhex("b0fe e664 ebfe")  # out 64h,0feh
WRITE_SECTOR = bytes.fromhex("b80103 bb007c b90200 31d2 b280 31c0 8ec0 b80103 cd13 b010 e6f4 ebfe")


PATIENCE = 120
"""Wall seconds after which a run is given up, on a busy host too."""

Result = subprocess.CompletedProcess[bytes]


def run(*words: str, compat: bool = False) -> Result:
    return subprocess.run(command(words, compat), stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)


def start(*words: str) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    return subprocess.Popen(command(words), stdin=pipe, stdout=pipe, stderr=pipe)


def ended_by(process: subprocess.Popen[bytes], number: signal.Signals) -> int:
    """The status of a run that gets a signal once its guest has shown its prompt."""
    assert process.stdout is not None
    try:
        assert process.stdout.read(2) == b"> "
        process.send_signal(number)
        return process.wait(PATIENCE)
    finally:
        process.kill()


def command(words: Sequence[str], compat: bool = False) -> list[str]:
    if compat:
        code = "import sys; from emu.__main__ import system_i386; sys.exit(system_i386())"
        return [sys.executable, "-c", code, *words]
    return [sys.executable, "-m", "emu", "run", *words]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return tmp_path / "disk.img"


def boot(image: Path, code: bytes, sectors: int = 1) -> str:
    image.write_bytes(code.ljust(510, b"\0") + b"\x55\xaa" + bytes(512 * (sectors - 1)))
    return str(image)


def one_line(result: Result) -> str:
    """The message of a run that could not start."""
    assert result.returncode == 1
    assert result.stdout == b""
    text = result.stderr.decode()
    assert text.count("\n") == 1
    assert "Traceback" not in text
    return text.strip()


def test_the_debug_exit_port_gives_the_exit_status(image: Path) -> None:
    result = run(boot(image, EXIT_33), "-device", "isa-debug-exit,iobase=0xf4,iosize=4")
    assert result.returncode == 33
    assert re.fullmatch(rb"disk.img: raw, 512 bytes, boot sector, \d+/16/63\n", result.stderr)


def test_a_triple_fault_has_a_story_and_status_three(image: Path) -> None:
    result = run(boot(image, TRIPLE))
    assert result.returncode == 3
    assert b"shutdown" in result.stderr
    assert run(boot(image, TRIPLE), "-no-reboot", compat=True).returncode == 0


def test_a_dead_processor_is_told_in_one_line(image: Path) -> None:
    result = run(boot(image, DEAD), "-nographic")
    assert result.returncode == 0
    assert result.stdout == b"OK\n"
    assert b"halted with interrupts off" in result.stderr.splitlines()[-1]


def test_a_conversation_on_the_serial_line(image: Path) -> None:
    words = ["--expect", "> ", "--send", "abc\\n", "--expect", "abc\n", "--timeout", "30", "-nographic"]
    result = run(boot(image, ECHO), *words)
    assert result.returncode == 0
    assert result.stdout == b"> abc\n"


def test_text_that_never_comes_gives_124_and_what_was_seen(image: Path) -> None:
    result = run(boot(image, DEAD), "-nographic", "--expect", "login:")
    assert result.returncode == 124
    assert b"--expect login:: not seen" in result.stderr
    assert b"emu: serial| OK\n" in result.stderr


def test_keys_are_typed_where_the_screen_was_seen(image: Path) -> None:
    words = ["--send", "Hello", "--expect", "Hello", "--timeout", "30", "--dump-screen"]
    result = run(boot(image, KEYS), *words)
    assert result.returncode == 0, result.stderr
    assert b"Hello" in result.stdout


@pytest.mark.parametrize("words", [["--timeout", "0.5"], ["--max-insns", "100000"]])
def test_a_guest_that_never_ends_is_stopped(image: Path, words: list[str]) -> None:
    result = run(boot(image, SPIN), *words)
    assert result.returncode == 124


def test_the_instruction_limit_is_exact(image: Path) -> None:
    result = run(boot(image, SPIN), "--max-insns", "1234567", "--stats")
    stats = json.loads(result.stderr.splitlines()[-1])
    assert stats["instructions"] == 1234567


def test_the_same_command_gives_the_same_run(image: Path) -> None:
    boot(image, ECHO)
    words = [str(image), "--expect", "> ", "--send", "xyz\\n", "--expect", "z", "--stats", "-snapshot"]
    runs = [json.loads(run(*words).stderr.splitlines()[-1]) for _ in range(2)]
    for stats in runs:
        del stats["wall_s"], stats["mips"], stats["engine"], stats["time"], stats["devices"], stats["timers"]
    assert runs[0] == runs[1]
    assert runs[0]["serial_sha256"] == hashlib.sha256(b"> xyz\n").hexdigest()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_busy_guest_soon(image: Path, number: signal.Signals) -> None:
    with start(boot(image, PROMPT + SPIN), "-serial", "stdio") as process:
        assert ended_by(process, number) == 128 + number


def test_a_guest_that_waits_for_input_can_be_interrupted(image: Path) -> None:
    with start(boot(image, PROMPT + KEYS), "-nographic") as process:
        assert ended_by(process, signal.SIGINT) == 130


def test_input_from_a_pipe_reaches_the_guest(image: Path) -> None:
    process = start(boot(image, ECHO), "-nographic")
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.read(2) == b"> "
    process.stdin.write(b"hey")
    process.stdin.flush()
    assert process.stdout.read(3) == b"hey"
    process.kill()
    process.communicate()


def test_a_reader_that_goes_away_ends_the_run_quietly(image: Path) -> None:
    process = start(boot(image, ECHO), "-nographic")
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(2)
    process.stdout.close()
    process.stdin.write(b"x")
    process.stdin.flush()
    assert process.wait(10) == 128 + signal.SIGPIPE
    assert b"Traceback" not in process.stderr.read()
    process.stdin.close()
    process.stderr.close()


@pytest.mark.parametrize("ending", ["key", "signal"])
def test_the_terminal_is_as_before_after_any_exit(image: Path, ending: str) -> None:
    master, slave = pty.openpty()
    try:
        before = termios.tcgetattr(slave)
        process = subprocess.Popen(command([boot(image, ECHO), "-nographic"]), stdin=slave, stdout=slave, stderr=slave)
        seen = b""
        while not seen.endswith(b"> "):
            seen += os.read(master, 100)
        assert not termios.tcgetattr(slave)[3] & termios.ICANON
        if ending == "key":
            os.write(master, b"a\x01x")
            assert process.wait(10) == 0
        else:
            process.terminate()
            assert process.wait(10) == 143
        assert termios.tcgetattr(slave) == before
    finally:
        os.close(master)
        os.close(slave)


def test_a_reset_is_an_end_with_no_reboot_and_a_new_start_without(image: Path) -> None:
    assert run(boot(image, RESET), "-no-reboot").returncode == 0
    result = run(boot(image, RESET), "--max-insns", "1000", "--stats")
    assert json.loads(result.stderr.splitlines()[-1])["resets"] > 1


def test_a_snapshot_never_writes_the_image(image: Path) -> None:
    words = ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
    boot(image, WRITE_SECTOR, 64)
    before = image.read_bytes()
    assert run(str(image), "-snapshot", *words).returncode == 33
    assert image.read_bytes() == before
    assert run(str(image), *words).returncode == 33
    after = image.read_bytes()
    assert after[:512] == before[:512]
    assert after[512:1024] == before[:512]


@pytest.mark.parametrize("option", ["-hda", "-fda", "-kernel", "-bios", "-cdrom"])
def test_a_file_that_is_not_there_or_not_a_file_is_one_line(tmp_path: Path, option: str) -> None:
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "fifo")
    for name, found in (("none", "no such file"), ("", "a directory"), ("empty", "an empty file"), ("fifo", "")):
        text = one_line(run(option, str(tmp_path / name)))
        assert "expected" in text
        assert found in text


def test_names_with_odd_bytes_are_one_line_too() -> None:
    for name in (b"a\nb", b"\xff\xfe", b"x" * 5000, "é\u202e".encode()):
        result = subprocess.run(
            [os.fsencode(word) for word in command(["-hda"])] + [name], stdin=subprocess.DEVNULL, capture_output=True
        )
        one_line(result)


def test_a_foreign_or_damaged_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "q").write_bytes(b"QFI\xfb" + bytes(1000))
    assert "q: qcow2 header: version (byte 0x4): 0 is neither 2 nor 3" in one_line(run(str(tmp_path / "q")))
    (tmp_path / "z").write_bytes(b"\x1f\x8b" + b"garbage" * 100)
    assert "damaged gzip data" in one_line(run(str(tmp_path / "z")))
    (tmp_path / "k").write_bytes(b"\x7fELF\x01\x01\x01" + bytes(30))
    assert str(tmp_path) in one_line(run("-kernel", str(tmp_path / "k")))


def test_a_misspelt_option_or_command_names_the_nearest() -> None:
    assert one_line(run("-hd", "a.img")) == "emu: unknown option -hd; did you mean -hda?"
    result = subprocess.run([sys.executable, "-m", "emu", "doktor"], capture_output=True)
    assert one_line(result) == "emu: doktor: neither a command nor a file; did you mean doctor?"


def test_help_survives_a_reader_that_has_seen_enough() -> None:
    script = f"{sys.executable} -m emu run -help | grep -q '^-gdb'; echo ${{PIPESTATUS[*]}}"
    result = subprocess.run(["bash", "-c", script], capture_output=True)
    assert (result.stdout, result.stderr) == (b"0 0\n", b"")


def test_serial_output_can_go_to_a_file(image: Path, tmp_path: Path) -> None:
    result = run(boot(image, DEAD), "-serial", f"file:{tmp_path}/out")
    assert (result.returncode, (tmp_path / "out").read_bytes()) == (0, b"OK\n")
    assert "expected a file to write to" in one_line(run("-serial", f"file:{tmp_path}"))


def test_the_doctor_says_what_is_there() -> None:
    result = subprocess.run([sys.executable, "-m", "emu", "doctor", "--json"], capture_output=True)
    rows = {row["what"]: row for row in json.loads(result.stdout)}
    assert rows["python"]["ok"]
    assert all(row["ok"] or row["fix"] or row["what"] == "reference tier" for row in rows.values())


def test_closed_standard_descriptors_never_become_the_disk(image: Path) -> None:
    boot(image, ECHO)
    before = image.read_bytes()
    script = f"exec {sys.executable} -m emu run {image} -nographic --timeout 1 0<&- 1>&- 2>&-"
    assert subprocess.run(["bash", "-c", script]).returncode == 124
    assert image.read_bytes() == before


def test_memory_that_the_host_lacks_is_one_line(image: Path) -> None:
    words = " ".join(command([boot(image, SPIN), "-m", "3584"]))
    result = subprocess.run(["bash", "-c", f"ulimit -v 2000000; exec {words}"], capture_output=True)
    assert one_line(result) == "emu: -m: the host has no room for 3584 MiB"
