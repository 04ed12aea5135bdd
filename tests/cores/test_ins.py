"""Single instructions of `vectors/*.ins` on both tiers; the files say what a line means."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cores.x86 import state as S
from cores.x86.text import disassemble
from tests.cores.differential import CODE, Program, Subject, decoded, modes, undefined_flags
from tests.cores.tiers import TIERS

pytest.importorskip("emu.engine._x86")

FLAGS = {"cf": 0, "pf": 2, "af": 4, "zf": 6, "sf": 7, "df": 10, "of": 11}
LOOKED_AT = sum(1 << bit for bit in FLAGS.values())
LINE = re.compile(r'(?P<mode>\w+) (?P<code>[0-9a-f]+) "(?P<text>[^"]*)"(?P<before>[^=].*?)??=>(?P<after>.*)')
S_NAMES = ("ftag",)  # state that has no register's name
VECTORS = {name: number for number, name in S.VECTOR_NAMES.items()}
_modes = {mode.name: mode for mode in modes()}
_subjects: dict[str, Subject] = {}


class Row(NamedTuple):
    """One line."""

    mode: str
    code: bytes
    text: str
    before: dict[str, str]
    after: dict[str, str]


def rows() -> list[Any]:
    """All rows of all files."""
    found = []
    for path in sorted(Path(__file__).with_name("vectors").glob("*.ins")):
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            if not line or line.startswith("#"):
                continue
            m = LINE.fullmatch(line)
            if not m:
                raise ValueError(f"{path.name}:{number}: not mode bytes text before => after")
            before, after = (dict(item.split("=") for item in (m[k] or "").split()) for k in ("before", "after"))
            row = Row(m["mode"], bytes.fromhex(m["code"]), m["text"], before, after)
            found.append(pytest.param(row, id=f"{path.stem}-{number}"))
    return found


def apart(items: dict[str, str]) -> tuple[dict[int, bytes], dict[str, int], int, int]:
    """(memory, registers, flags named, flags set)."""
    memory = {int(k[1:-1], 16): bytes.fromhex(v) for k, v in items.items() if k[0] == "["}
    flags = {k: int(v) for k, v in items.items() if k in FLAGS}
    plain = {k: int(v, 0) for k, v in items.items() if k[0] != "[" and k not in FLAGS and k != "fault"}
    return memory, plain, sum(1 << FLAGS[k] for k in flags), sum(v << FLAGS[k] for k, v in flags.items())


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("row", rows())
def test_an_instruction_does_what_its_line_says(row: Row, tier: str) -> None:
    if tier not in _subjects:
        _subjects[tier] = Subject(list(_modes.values()), tier)
    mode, subject = _modes[row.mode], _subjects[tier]
    memory, registers, _, eflags = apart(row.before)
    gpr = [registers.pop(name, S.R32.index(name) * 0x1010101) for name in S.R32]
    subject.start(Program(mode, gpr, 2 | eflags, [*memory.items(), (CODE, row.code + b"\x90" * 16)]))
    for name, value in registers.items():
        if name in S_NAMES:
            subject.cpu.load_state({name: value})
        else:
            subject.cpu.set_reg(name, value)
    eip = subject.cpu.reg("eip")
    form = decoded(row.code, mode.big)
    assert disassemble(row.code, eip, mode.big) == (row.text, len(row.code) if form else 1)

    vector, error, _ = subject.step(form is not None and form.entry.chapter == "string")

    wanted = row.after.get("fault", "")
    if wanted:
        name, code = wanted.split(":")
        assert (vector, error) == (VECTORS[f"#{name}" if f"#{name}" in VECTORS else name], int(code, 0))
    else:
        assert vector == -1
    memory, registers, named, eflags = apart(row.after)
    expected = {**dict(zip(S.R32, gpr, strict=True)), "eip": eip if wanted else eip + len(row.code), **registers}
    state = subject.cpu.state()
    found = {k: hex(state[k] if k in S_NAMES else subject.cpu.reg(k)) for k in expected}
    assert found == {k: hex(v) for k, v in expected.items()}
    kept = apart(row.before)[3] & ~named
    watched = LOOKED_AT & ~(undefined_flags(form) if form and not wanted else 0)
    assert hex(subject.cpu.reg("eflags") & watched) == hex((kept | eflags) & watched)
    for at, data in memory.items():
        assert bytes(subject.ram.view[at : at + len(data)]).hex() == data.hex()
