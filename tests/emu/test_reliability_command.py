"""Command lines and files that nobody should give: one line, status 1, nothing written, no traceback."""

from __future__ import annotations

import gzip
import io
import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

import pytest

from emu import __main__ as command
from emu.options import DEVICES, TABLE, UsageError, parse, shown
from tests.bios.kernels import bzimage, elf, multiboot_header

CASES = int(os.environ.get("EMU_ARGUMENT_CASES", "500"))
BOOT = b"\xeb\xfe".ljust(510, b"\0") + b"\x55\xaa"
GOOD_END = {0, 3, 124}


@contextmanager
def quiet() -> Iterator[io.StringIO]:
    """Standard input is empty, standard output goes nowhere, standard error is kept."""
    errors = io.StringIO()
    sys.stdout.flush()
    saved = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    try:
        os.dup2(null, 0)
        os.dup2(null, 1)
        with redirect_stderr(errors):
            yield errors
    finally:
        os.dup2(saved[0], 0)
        os.dup2(saved[1], 1)
        for fd in (*saved, null):
            os.close(fd)


def outcome(words: list[str]) -> tuple[int, list[str]]:
    """Status of a command in this process, and the lines on standard error that are not warnings."""
    with quiet() as errors:
        status = command.main(words)
    lines = errors.getvalue().splitlines()
    return status, [line for line in lines if not line.startswith("emu: warning: ")]


def refusal(words: list[str]) -> str:
    """The one line of a command that cannot start."""
    status, lines = outcome(words)
    assert (status, len(lines)) == (1, 1), (words, lines)
    assert lines[0].startswith("emu: ")
    assert "Traceback" not in lines[0]
    assert "internal error" not in lines[0]
    assert len(lines[0]) < 1500
    return lines[0].removeprefix("emu: ")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, made the current one, with a file of each kind."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "disk.img").write_bytes(BOOT + bytes(100 * 512))
    (tmp_path / "odd.img").write_bytes(BOOT + b"tail")
    (tmp_path / "text").write_text("hello\n")
    (tmp_path / "bz").write_bytes(bzimage())
    (tmp_path / "elf").write_bytes(elf((0x100000, 0x100000, multiboot_header() + b"\xeb\xfe", 64)))
    (tmp_path / "a,b").write_bytes(BOOT)
    (tmp_path / "disk.gz").write_bytes(gzip.compress(BOOT))
    (tmp_path / "cut.gz").write_bytes(gzip.compress(bytes(range(256)) * 40)[:60])
    (tmp_path / "disk.qcow2").write_bytes(b"QFI\xfb" + bytes(600))
    (tmp_path / "secret").write_bytes(BOOT)
    (tmp_path / "secret").chmod(0)
    return tmp_path


WHAT = {
    "-kernel": "a kernel",
    "-hda": "a disk image",
    "-fda": "a disk image",
    "-cdrom": "a disk image",
    "-bios": "a BIOS image",
}


@pytest.mark.parametrize("option", [*WHAT, "-initrd"])
def test_a_file_that_is_none_is_named_with_what_was_expected_and_found(files: Path, option: str) -> None:
    what = WHAT.get(option, "an initial RAM disk")
    front = ["run", "-kernel", "bz"] if option == "-initrd" else ["run"]
    for name, found in (("nothing", "no such file"), ("empty", "an empty file"), ("folder", "a directory")):
        assert refusal([*front, option, name]) == f"{name}: expected {what}, found {found}"
    line = refusal([*front, option, "fifo"])
    assert line.startswith(f"fifo: expected {what}, found ")
    assert ("a device or pipe" in line) or ("regular file" in line)
    line = refusal([*front, option, "x" * 300])
    assert line.endswith(f": expected {what}, found file name too long")
    line = refusal([*front, option, "text/under"])
    assert line == f"text/under: expected {what}, found not a directory"


def test_a_truncated_or_foreign_file_says_which_field_is_wrong(files: Path) -> None:
    assert refusal(["run", "-hda", "disk.qcow2"]) == (
        "disk.qcow2: qcow2 header: version (byte 0x4): 0 is neither 2 nor 3"
    )
    assert refusal(["run", "-hda", "cut.gz"]) == "cut.gz: expected a disk image, found gzip data that ends too early"
    for name, keep, said in (
        ("bz", 1025, "1025 bytes at its end: its header promises 2560 bytes of set-up code and a kernel"),
        ("elf", 60, "1 program headers of 32 bytes at offset 0x34: the file has 60 bytes"),
    ):
        (files / "cut").write_bytes((files / name).read_bytes()[:keep])
        assert refusal(["run", "-kernel", "cut"]) == f"cut: {said}"
    (files / "cut").write_bytes(b"\xeb\xfe" * 150)
    for option in ("-hda", "-fda", "-cdrom"):
        expected = "cut: expected a disk image of at least one sector (512 bytes), found 300 bytes"
        assert refusal(["run", option, "cut"]) == expected
    assert refusal(["run", "-bios", "text"]) == "text: expected a BIOS image, found text"
    line = refusal(["run", "-kernel", "disk.img"])
    assert "expected a bzImage, a multiboot or ELF kernel or a flat binary" in line
    other = bytearray(elf((0x100000, 0x100000, b"\xeb\xfe", 64)))
    for at, value, said in (
        (4, 2, "a 64-bit ELF file at offset 4: this machine takes 32-bit ones (objcopy -O elf32-i386)"),
        (18, 20, "ELF machine 20 for the PowerPC at offset 18: expected the 386 (3)"),
    ):
        (files / "other").write_bytes(other[:at] + bytes([value]) + other[at + 1 :])
        assert refusal(["run", "-kernel", "other"]) == f"other: {said}"


def test_a_misspelt_name_of_any_kind_gets_the_nearest(files: Path) -> None:
    table = {
        ("-hd", "x"): "unknown option -hd; did you mean -hda?",
        ("-M", "pcc"): "unknown machine pcc; did you mean pc?",
        ("-cpu", "pentim3"): "unknown CPU pentim3; did you mean pentium3?",
        ("-device", "ide-hb"): "unknown device ide-hb; did you mean ide-hd?",
        ("--accel", "intrp"): "unknown accelerator intrp; did you mean interp?",
        ("-d", "interrupt"): "unknown log item interrupt",
    }
    for words, text in table.items():
        assert refusal(["run", *words]).startswith(text)
    assert refusal(["rnu"]) == "rnu: neither a command nor a file; did you mean run?"


HUGE = (
    "9" * 5000,
    "-1",
    "0x" + "f" * 5000,
    str(1 << 63),
    str(1 << 64),
    "1e999",
    "\u0663",
    "",
    " 1",
    "1_0",
    "nan",
    "0b1",
)


@pytest.mark.parametrize(
    "words",
    [
        ("-m", "{}"), ("-smp", "{}"), ("--max-insns", "{}"), ("--timeout", "{}"), ("-echr", "{}"), ("-rtc", "base={}"),
        ("-device", "isa-debug-exit,iobase={}"), ("-device", "isa-debug-exit,iosize={}"), ("-m", "size={}"),
        ("-device", "isa-debugcon,iobase={}"), ("-drive", "file=disk.img,index={}"), ("-smp", "cpus=1,cores={}"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else None,
)  # fmt: skip
def test_numbers_out_of_every_range_are_one_line_or_taken(files: Path, words: tuple[str, str]) -> None:
    refused = 0
    for number in HUGE:
        status, lines = outcome(
            ["run", words[0], words[1].format(number), "--max-insns", "10"][: 5 if words[0] != "--max-insns" else 3]
        )
        assert status in GOOD_END | {1}
        if status == 1:
            assert len(lines) == 1, lines
            assert "internal error" not in lines[0]
            refused += 1
    assert refused >= 8


@pytest.mark.slow
def test_deep_nesting_and_long_words_are_one_line() -> None:
    for deep in ("(" * 20_000, "[" * 20_000, "-" * 20_000, "{" * 20_000, "a" * 200_000, "(1+" * 5000, "not " * 5000):
        for words in (
            ["asm", deep],
            ["asm", f"mov eax, {deep}"],
            ["explain", deep],
            ["disasm", deep],
            ["run", deep],
            [deep],
        ):
            status, lines = outcome(words)
            assert status == 1, words[0]
            assert len(lines) == 1, (words[0], lines[:3])
            assert "internal error" not in lines[0]
            assert len(lines[0]) < 1500


NAMES = (
    "disk.img", "odd.img", "empty", "folder", "fifo", "nothing", "text", "bz", "elf", "a,b", "a,,b", "disk.gz",
    "cut.gz", "secret", "disk.qcow2", "", " ", ".", "..", "/", "a\nb", "x" * 300, "\udcff\udcfe", "\u202e", "-",
    "--", "null", "none", "stdio", "help", "?", "on", "off", "0", "1", "-1", "0x3f8", "9" * 40, "=", ",", ",,",
    "=,=", "id=x", "file=disk.img,if=none,id=x", "drive=x", "null,id=c", "stdio,id=c,mux=on",
    "file,id=c,path=out.log", "isa-debugcon,chardev=c", "isa-debug-exit,iobase=0xf4", "ide-hd,drive=x",
    "ide-cd,drive=x,bus=ide.1", "file:out.log", "mon:stdio", "chardev:c", "pc", "pc-i440fx-7.2,accel=interp",
    "486", "pentium3,+sse2", "int,cpu_reset", "64", "1M", "2G", "once=d,menu=on", "name=opt/a,string=b",
    "name=opt/a,file=text", "base=utc", "warp", "paced", "/dev/null", "/dev/zero", "/dev/full", "file:/dev/full",
)  # fmt: skip


def contents(folder: Path) -> dict[str, bytes]:
    """Every entry of a folder, with the bytes of those that have some."""
    return {p.name: p.read_bytes() if p.is_file() and p.name != "secret" else b"" for p in folder.iterdir()}


def vector(rng: random.Random) -> list[str]:
    """A command line: options with what they may take, or with anything."""
    words: list[str] = []
    for _ in range(rng.randrange(1, 7)):
        name = rng.choice(list(TABLE))
        option = TABLE[name]
        dice = rng.random()
        if dice < 0.08:
            name = "".join(rng.choice("abcdeikmoprst-_0\u00e9=") for _ in range(rng.randrange(1, 9)))
        elif dice < 0.16 and len(name) > 1:
            cut = rng.randrange(len(name))
            name = name[:cut] + name[cut + 1 :]
        words.append(rng.choice(("-", "-", "--")) + name)
        if name in ("D", "record", "screenshot"):
            words.append("out.log")  # anything else it would rightly overwrite
        elif (option.argument and rng.random() < 0.92) or rng.random() < 0.05:
            words.append(",".join(rng.choice(NAMES) for _ in range(rng.choice((1, 1, 1, 2, 3)))))
        if rng.random() < 0.15:
            words.append(rng.choice(NAMES))
    return words


@pytest.mark.parametrize(
    "seeds", [range(150), pytest.param(range(150, CASES), marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_any_command_line_ends_with_a_status_and_a_line(files: Path, seeds: range) -> None:
    before = contents(files)
    ended: dict[int, int] = {}
    for seed in seeds:
        rng = random.Random(seed)
        words = vector(rng)
        status, lines = outcome(["run", *words, "--max-insns", "300", "--timeout", "5"])
        ended[status] = ended.get(status, 0) + 1
        said = "\n".join(lines)
        assert "internal error" not in said, (seed, words, said)
        assert "Traceback" not in said, (seed, words)
        if status == 1:
            assert len(lines) == 1, (seed, words, lines)
        else:
            assert status in GOOD_END, (seed, words, status, lines)
    assert min(ended.get(0, 0), ended.get(1, 0), ended.get(124, 0)) > 3
    assert {name: data for name, data in contents(files).items() if not name.startswith("out.log")} == before


def test_every_option_refuses_or_takes_every_odd_word(files: Path) -> None:
    for name, option in TABLE.items():
        if not option.argument:
            continue
        for word in (*NAMES, *HUGE):
            try:
                parse([f"-{name}", word, "-kernel", "bz"])
            except UsageError as error:
                assert "\n" not in str(error)
                assert len(str(error)) < 1000
            except Exception as error:
                if type(error).__name__ != "ShowAndExit":
                    raise


@pytest.mark.slow
def test_every_device_with_every_option_and_odd_value_starts_or_is_one_line(files: Path) -> None:
    for name, options in DEVICES.items():
        for option in (*options, "id", "nonsense"):
            for value in ("", "0", "0xf4", "0xffff", "x", "c", "ide.0", "ide.9", "9" * 30, shown("\n")):
                words = ["run", "-chardev", "null,id=c", "-drive", "file=disk.img,if=none,id=x,readonly=on"]
                words += ["-device", f"{name},{option}={value}", "--max-insns", "50"]
                status, lines = outcome(words)
                assert status in GOOD_END | {1}
                assert len(lines) == 1 or status != 1, lines
                assert not any("internal error" in line for line in lines), (words, lines)
