"""Disassembly against rows of dingusppc (GPL-3.0-or-later)."""

from __future__ import annotations

import pytest

from cores.ppc.decoder import encode
from cores.ppc.text import disassemble
from tests.cores.ppc_machine import SUITES

DINGUS = SUITES / "dingusppc" / "ppcdisasmtest.csv"
# In the rows, but on no Book E processor: POWER and 601 instructions, segments, the TLB of a 603, 64-bit compares.
FOREIGN = frozenset(
    "doz dozo abs abso nabs nabso mul mulo div divo divs divso clcs dozi maskir rlmi rrib sle sleq sliq slliq sllq sre "
    "sreq sriq mtsr tlbie tlbld tlbli cmp".split()
)


def parts(head: str, operands: list[str]) -> list[str | int]:
    """A text in a shape that two styles share: numbers as numbers, no base register 0."""
    out: list[str | int] = [head.lower()]
    for text in operands:
        text = text.strip().lower().removesuffix("(0)")
        try:
            out.append(int(text, 0))
        except ValueError:
            offset, paren, base = text.partition("(")
            out.extend([int(offset, 0), base] if paren else [text])
    return out


def test_every_row_of_dingusppc_reads_the_same() -> None:
    if not DINGUS.exists():
        pytest.skip(f"{DINGUS.name} is not there; set EMU_SHARED to the folder that holds suites/")
    wrong, count, foreign = [], 0, 0
    for line in DINGUS.read_text().splitlines():
        if not line or line[0] == "#":
            continue
        address, word, head, *operands = line.split(",")
        text = disassemble(int(word, 16), int(address, 16))
        if head.rstrip(".") in FOREIGN:
            foreign += 1
            # tlbld of the 603 has the opcode of tlbwe.
            if not text.startswith("tlbwe" if head == "tlbld" else ".long"):
                wrong.append(f"{line}: {text}")
            continue
        count += 1
        got_head, _, rest = text.partition(" ")
        if got_head == "bc" and rest.startswith("20, lt, "):
            got_head, rest = "b", rest[8:]  # another word than that of `b`, so we tell them apart
        got = parts("dc.l" if got_head == ".long" else got_head, rest.split(",") if rest else [])
        if got != parts(head, operands):
            wrong.append(f"{line}: {text}")
    assert count > 200 and not wrong, f"{len(wrong)} of {count} (and {foreign} foreign)\n" + "\n".join(wrong)


@pytest.mark.parametrize(("word", "text"), [
    (0x4082FFF8, "bne 0x00000ff8"), (0x40A2FFF8, "bne- 0x00000ff8"), (0x4200FFF0, "bdnz 0x00000ff0"),
    (0x48000003, "bla 0x00000000"), (0x3C608000, "lis r3, -0x8000"), (0x2F83FFFF, "cmpwi cr7, r3, -0x1"),
    (0x7C00186C, "dcbst 0, r3"), (0x7C00322C, "dcbt 0, r6"), (0x7CA304AA, "lswi r5, r3, 32"),
    (0x5483103E, "rotlwi r3, r4, 2"), (0x548330A8, "rlwinm r3, r4, 6, 2, 20"), (0, ".long 0x00000000"),
])  # fmt: skip
def test_words_read_as_people_write_them(word: int, text: str) -> None:
    assert disassemble(word, 0x1000) == text


def test_an_encoded_word_reads_back() -> None:
    assert disassemble(encode("stwu", rs=1, ra=1, d=-16)) == "stwu r1, -0x10(r1)"
    assert disassemble(encode("fmadds.", frt=1, fra=2, frc=3, frb=4)) == "fmadds. f1, f2, f3, f4"
