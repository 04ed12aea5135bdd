"""The benchmark programs give the sums below on every variant, on Emu and on QEMU, bare and under Linux."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from emu.tools.bench.lines import MACHINES, ROUNDS, Machine
from images.bench.build import SPACE, VARIANTS, BuildError, build, compiler_of, initrd, main, with_words

ROOT = Path(__file__).resolve().parents[2]
SUMS = {
    "sort:2": "5b3ae152", "crc:2": "771ada3a", "matrix:3": "b4f197d9", "list:3": "14a161e3", "state:3": "6bce6e0f",
    "search:5": "b7f8011c", "bignum:2": "a5f1ecd2", "interp:2": "046bd543", "fmatrix:2": "fb215273",
    "fft:2": "66ee1a1f", "nbody:2": "62c70f30", "mandel:2": "df749ae5", "chase:3": "4abcdc3a", "stream:1": "30026f86",
}  # fmt: skip
BARE = {"pages:1": "fc62f430", "spaces:1": "bd259af7", "trap:1": "000003e8", "irq:1": "000003e8", "port:1": "00000bb8"}
LINUX = {"mmap:2": "582c0ef7", "syscall:2": "000007d0", "fork:3": "00000015", "pipe:2": "acd3c324"}
BOARDS = {"x87": "pc", "sse2": "pc", "fpu": "bamboo", "spe": "ppce500"}
PLACE = b"\x7fELF" + b"bench words: ".ljust(SPACE, b"-") + b"after it"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


def made(name: str, words: str, folder: Path) -> Path:
    """The file to boot; skips the test without a compiler."""
    try:
        compiler_of(VARIANTS[name])
    except BuildError as error:
        pytest.skip(str(error))
    return build(name, words, folder)[-1]


def sums(command: list[str], status: int) -> dict[str, str]:
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
    assert done.returncode == status, done.stderr
    lines = [line[line.index("bench ") :] for line in done.stdout.splitlines() if "bench " in line]
    assert (lines[0], lines[-1]) == ("bench ready", "bench done")
    return {":".join(line.split()[1:3]): line.split()[3] for line in lines[1:-1]}


def emu(machine: Machine, *words: str) -> list[str]:
    pytest.importorskip("emu.engine._x86", reason="the engine is not built")
    start = [sys.executable, "-m", "emu", "run", "--accel", "interp", "--timeout", "200", "--clock", "warp"]
    return [*start, *machine.words, "-nographic", "-no-reboot", *words]


def qemu(machine: Machine, *words: str) -> list[str]:
    if not shutil.which(machine.qemu):
        pytest.skip(f"{machine.qemu} is not installed")
    return [machine.qemu, "-accel", "tcg", *machine.words, "-nographic", "-no-reboot", *words]


@pytest.mark.slow
@pytest.mark.parametrize("variant", BOARDS)
@pytest.mark.parametrize("emulator", [emu, qemu])
def test_every_bare_program_gives_its_sum(variant: str, emulator: object, folder: Path) -> None:
    machine, wanted = MACHINES[BOARDS[variant]], {**SUMS, **BARE}
    path = made(variant, " ".join(wanted), folder)
    start = (emu if emulator is emu else qemu)(machine, "-m", "64", *machine.end, "-kernel", str(path))
    assert sums(start, 33 if machine.name == "pc" else 0) == wanted


@pytest.mark.guest
@pytest.mark.slow
@pytest.mark.parametrize("variant", BOARDS)
def test_every_program_gives_its_sum_under_linux(variant: str, folder: Path) -> None:
    machine, wanted = MACHINES[BOARDS[variant]], {**SUMS, **LINUX}
    kernel = Path(os.environ.get("EMU_SHARED", "../shared")) / "guests" / machine.folder / machine.kernel
    if not kernel.exists():
        pytest.skip(f"no {kernel}: EMU_SHARED does not name the shared guests")
    path = made(f"{variant}-linux", " ".join(wanted), folder)
    words = ["-m", "256", "-kernel", str(kernel), "-initrd", str(path), "-append", "console=ttyS0 quiet"]
    assert sums(emu(machine, *words), 0) == wanted


def test_a_name_that_is_no_program_is_told_from_a_result(folder: Path) -> None:
    machine = MACHINES["bamboo"]
    path = made("fpu", "nothing:1 trap:2", folder)
    assert sums(emu(machine, "-m", "64", "-kernel", str(path)), 0) == {"nothing:1": "unknown", "trap:2": "000007d0"}


def test_every_program_of_the_source_has_a_sum_here_and_a_number_of_rounds() -> None:
    text = (ROOT / "images/bench/programs/main.c").read_text(encoding="utf-8")
    names = set(re.findall(r'\{"(\w+)",', text))
    assert names == {word.split(":")[0] for word in (*SUMS, *BARE, *LINUX)} == set(ROUNDS)


def test_a_second_build_compiles_nothing(folder: Path) -> None:
    made("x87", "sort:1", folder)
    before = (folder / "x87.plain").stat().st_mtime_ns
    assert b"crc:77" in made("x87", "crc:77", folder).read_bytes()
    assert (folder / "x87.plain").stat().st_mtime_ns == before


def test_words_are_written_where_the_mark_is() -> None:
    assert with_words(PLACE, "sort:5") == b"\x7fELF" + b"sort:5".ljust(SPACE, b"\0") + b"after it"


@pytest.mark.parametrize(
    ("elf", "words", "told"),
    [(PLACE, "x" * SPACE, "room for 1023"), (b"\x7fELF", "sort:1", "no place"), (PLACE * 2, "sort:1", "more than one")],
)
def test_words_that_do_not_fit_are_refused(elf: bytes, words: str, told: str) -> None:
    with pytest.raises(BuildError, match=told):
        with_words(elf, words)


def test_the_ram_disk_has_the_program_and_a_console() -> None:
    data = initrd(b"\x7fELF program")
    assert b"init\0" in data and b"\x7fELF program" in data and b"dev/console\0" in data


def test_the_recipe_names_the_variants_and_the_package_that_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["-o", str(tmp_path), "mmx"]) == 1
    assert "there is no variant 'mmx'; expected one of x87, sse2, fpu, spe" in capsys.readouterr().err
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["-o", str(tmp_path), "fpu"]) == 1
    assert capsys.readouterr().err.endswith("is missing: apt-get install gcc-12-powerpc-linux-gnu\n")
