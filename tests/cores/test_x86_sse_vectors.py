"""The SSE chapters against rows that valgrind's authors recorded on processors (insn_sse*.def, GPL-2.0-or-later).

The rows are data of the shared suites, not of this repository; without them the tests are skipped.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from cores.x86.forms import Form
from tests.cores.sse_machine import Machine, eflags, forms

SUITE = Path(os.environ.get("EMU_SHARED", "../shared")) / "suites" / "valgrind-x86-insn"
SETS = ("insn_sse", "insn_sse2", "insn_sse3")
PREDICATES = ("eq", "lt", "le", "unord", "neq", "nlt", "nle", "ord")
APPROXIMATE = {"rcpps", "rcpss", "rsqrtps", "rsqrtss"}
WIDTH = {"b": 1, "w": 2, "d": 4, "q": 8}
AT = 0x100
OPERAND = re.compile(r"(\w+?)(?:\.(\w\w))?\[([^]]*)\]")


def rows() -> Iterator[str]:
    """The enabled rows of the chapters that are here."""
    for name in SETS:
        path = SUITE / f"{name}.def"
        if path.exists():
            for line in path.read_text().splitlines():
                if line.strip() and not line.startswith("#") and "fpucw" not in line:
                    yield line.strip()


def pack(kind: str, text: str) -> bytes:
    """The bytes of a list of elements; `kind` is ub to sq, ps or pd."""
    items = [x.strip() for x in text.split(",")]
    if kind in ("ps", "pd"):
        return b"".join(struct.pack("<f" if kind == "ps" else "<d", float(x)) for x in items)
    size = WIDTH[kind[1]]
    return b"".join((int(x, 0) & (1 << 8 * size) - 1).to_bytes(size, "little") for x in items)


def place(code: str) -> str:
    """Where an operand code takes its operand from, in the words of the rows."""
    letter = code[0]
    if letter in "VWU":
        return "xmm"
    if letter in "PQN":
        return "mm"
    return "imm8" if letter == "I" else "r32"


def choose(mnemonic: str, kinds: list[str]) -> Form:
    """The form whose operands are of these kinds, destination first."""
    for form in forms()[mnemonic]:
        memory = [c[0] in "WQEM" and form.mem == 1 for c in form.codes]
        wanted = ["m" if k[0] == "m" and k[1:].isdigit() else k for k in kinds]
        if wanted == ["m" if mem else place(c) for c, mem in zip(form.codes, memory, strict=True)]:
            return form
    raise LookupError(f"{mnemonic} {kinds}")


def digits(text: str) -> float:
    """Half a unit of the last decimal place of a number as printed."""
    mantissa, _, exponent = text.strip().partition("e")
    return 0.5 * 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))


def same(kind: str, got: bytes, text: str, mnemonic: str) -> bool:
    """Equality, for floats to the digits that the row prints."""
    wanted = pack(kind, text)
    if kind not in ("ps", "pd"):
        return got[: len(wanted)] == wanted
    code = "<f" if kind == "ps" else "<d"
    for (a,), item in zip(struct.iter_unpack(code, got[: len(wanted)]), text.split(","), strict=True):
        error = 1.5 * 2**-12 * abs(float(item)) if mnemonic in APPROXIMATE else 1e-6 * abs(float(item))
        if abs(a - float(item)) > digits(item) + error:
            return False
    return True


@pytest.mark.parametrize("row", list(rows()) or [pytest.param("", marks=pytest.mark.skip("the vectors are not here"))])
def test_the_row_recorded_on_a_processor_holds(row: str) -> None:
    head, _, tail = row.partition("=>")
    mnemonic, _, operands = head.strip().partition(" ")
    inputs = OPERAND.findall(operands)
    compare = re.match(r"cmp(\w+?)(ps|pd|ss|sd)$", mnemonic)
    if compare and compare[1] in PREDICATES:
        inputs.insert(0, ("imm8", "", str(PREDICATES.index(compare[1]))))
        mnemonic = f"cmp{compare[2]}"
    shift = 1 if compare else 0
    form = choose(mnemonic, [kind for kind, _, _ in reversed(inputs)])
    m = Machine()
    fields = {"reg": 0, "rm": 0, "imm": 0}
    memory = form.mem == 1
    for n, (kind, element, text) in enumerate(inputs):
        code = form.codes[len(inputs) - 1 - n]
        if kind == "imm8":
            fields["imm"] = int(text, 0)
            continue
        data = pack(element, text)
        value = int.from_bytes(data, "little")
        if kind[0] == "m" and kind[1:].isdigit():
            m.memory[AT : AT + len(data)] = data
            continue
        fields["reg" if code[0] in "VPG" else "rm"] = n
        if kind == "xmm":
            m.set_xmm(n, value)
        elif kind == "mm":
            m.state.fpr_sig[n] = value
        else:
            m.state.gpr[n] = value
    m.execute(form, disp=AT if memory else 0, **fields)
    for target, element, text in OPERAND.findall(tail):
        if target == "eflags":
            bits, wanted = (int(x, 0) for x in text.split(","))
            assert eflags(m.state) & bits == wanted
            continue
        n = int(target) + shift
        kind = inputs[n][0]
        if kind == "xmm":
            got = m.xmm(n).to_bytes(16, "little")
        elif kind == "mm":
            got = m.state.fpr_sig[n].to_bytes(8, "little")
        elif kind[0] == "r":
            got = m.state.gpr[n].to_bytes(8, "little")
        else:
            got = bytes(m.memory[AT : AT + 16])
        assert same(element, got, text, mnemonic), got.hex()
