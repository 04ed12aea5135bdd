"""Single PowerPC instructions of `vectors/ppc/*.ins` on both tiers; the files say what a line means."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random
from typing import Any

import pytest

from cores.ppc import state as S
from cores.ppc.models import model as model_of
from tests.cores.ppc_tiers import CODE, STRIDE, VECTORS, pair
from tests.cores.tiers import PAIRS, TIERS, comparing

pytest.importorskip("emu.engine._ppc")

LINE = re.compile(r'(\w+) ([0-9a-f]{8}) "[^"]*"(.*?)=>(.*)')


def rows() -> list[Any]:
    """All rows of all files."""
    found = []
    for path in sorted((Path(__file__).parent / "vectors" / "ppc").glob("*.ins")):
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            if line and not line.startswith("#"):
                m = LINE.fullmatch(line)
                if not m:
                    raise ValueError(f"{path.name}:{number}: not model word text before => after")
                before, after = (dict(item.split("=") for item in m[k].split()) for k in (3, 4))
                found.append(pytest.param(m[1], int(m[2], 16), before, after, id=f"{path.stem}-{number}"))
    return found


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize(("model", "word", "before", "after"), rows())
def test_an_instruction_does_what_its_line_says(
    model: str, word: int, before: dict[str, str], after: dict[str, str], tier: str
) -> None:
    chosen = next(p for p in PAIRS if tier in p)
    with comparing(chosen):
        both = pair(model)
    both.start(Random(1), both.families, 1)
    cpu, ram = both.cpus[chosen.index(tier)], both.rams[chosen.index(tier)]
    ram.view[CODE : CODE + 4] = word.to_bytes(4, "big")
    ram.view[VECTORS : VECTORS + 0x1000] = (0x48000000).to_bytes(4, "big") * 0x400  # branches to themselves
    gpr = {n: 0x0101010101010101 * n for n in range(32)}
    gpr |= {int(k[1:]): int(v, 0) for k, v in before.items() if k[1:].isdigit()}
    msr = 1 << S.MSR_SPV | 1 << S.MSR_ME if model_of(model).has("spe") else 1 << S.MSR_ME
    cpu.load_values({"msr": msr, "gpr": gpr, "spefscr": 0, "tcr": 0, "dbcr0": 0, "esr": 0})
    cpu.load_values({k: int(v, 0) for k, v in before.items() if not k[1:].isdigit()})
    cpu.run(1)
    state = cpu.state()
    wanted = {int(k[1:]): int(v, 0) for k, v in after.items() if k[1:].isdigit()}
    assert {n: hex(v) for n, v in enumerate(state["gpr"])} == {n: hex(v) for n, v in (gpr | wanted).items()}
    assert all(state[k] == int(v, 0) for k, v in after.items() if k in state)
    assert state["pc"] == (VECTORS + STRIDE * int(after["interrupt"]) if "interrupt" in after else CODE + 4)
