"""Integer instructions against rows of dingusppc (GPL-3.0-or-later) and Valgrind (GPL-2.0-or-later)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from cores.ppc import state as S
from cores.ppc.decoder import by_mnemonic
from tests.cores.ppc_machine import SUITES, Interrupt, Machine

DINGUS = SUITES / "dingusppc" / "ppcinttests.csv"
VALGRIND = SUITES / "valgrind-ppc32"
BASE = 0x4000
ROW = re.compile(r"^ +([a-z]+\.?) +([^=]*?) => (.*)$")


def lines(path: Path) -> list[str]:
    if not path.exists():
        pytest.skip(f"{path.name} is not there; set EMU_SHARED to the folder that holds suites/")
    return path.read_text().splitlines()


def numbers(text: str) -> list[str]:
    return re.findall(r"-?[0-9a-f]+", text)


def test_every_integer_row_of_dingusppc_holds() -> None:
    wrong = []
    rows = [line for line in lines(DINGUS) if line and line[0] != "#"]
    for line in rows:
        _, word, *rest = line.split(",")
        given = {k: int(v, 16) for k, v in (item.split("=") for item in rest)}
        m = Machine()
        m.s.gpr[3], m.s.gpr[4] = given.get("rA", 0), given.get("rB", 0)
        m.run(int(word, 16))
        got = {"rD": m.s.gpr[3], "XER": m.xer, "CR": m.s.cr}
        if any(got[k] != given[k] for k in got if k in given):
            wrong.append(f"{line}: {got}")
    assert rows and not wrong, "\n".join(wrong[:20])


class Bench:
    """What Valgrind's program carries from row to row: r17 within a mnemonic, and whether CA was set."""

    def __init__(self) -> None:
        self.r17 = 0
        self.seen: set[tuple[str, str]] = set()

    def again(self, name: str, operands: str) -> bool:
        """The second time a row comes, it is with CA set."""
        key = (name, operands)
        found = key in self.seen
        self.seen.add(key)
        return found


def valgrind_rows(*files: str) -> Iterator[tuple[str, str, str, str]]:
    for file in files:
        for line in lines(VALGRIND / file):
            found = ROW.match(line)
            if found:
                yield file, *found.groups()  # type: ignore[misc]


def signed16(v: int) -> int:
    return v - 0x10000 if v & 0x8000 else v


def fixed_row(bench: Bench, name: str, operands: str) -> tuple[Machine, list[int]]:
    """Run a row that works on registers; the machine and what the row shows before CR and XER."""
    m = Machine()
    v = [int(n, 16) for n in numbers(operands)]
    form = by_mnemonic()[name][0]
    names = form.params
    if "CA" not in name and name.rstrip(".o") in ("adde", "subfe", "addme", "addze", "subfme", "subfze"):
        m.xer = 0x20000000 if bench.again(name, operands) else 0
    if name.startswith("cr"):
        m.do(name, bt=17, ba=18, bb=19)
        return m, [0xFFFF0000]
    if name == "mcrf":
        m.s.cr = v[2]
        m.do(name, bf=v[0], bfa=v[1])
        return m, []
    if name == "mcrxr":
        m.xer = v[1]
        m.do(name, bf=v[0])
        return m, []
    if name == "mtcrf":
        m.s.gpr[14] = v[1]
        m.do(name, fxm=int(operands.split(",")[0]), rs=14)
        return m, []
    if name == "mfcr":
        m.s.cr = v[0]
        m.do(name, rt=17)
        return m, [m.s.gpr[17]]
    if name.startswith("rlw"):
        decimals = [int(n) for n in operands.split(",")[-3 if name[3] != "n" else -2 :]]
        m.s.gpr[14], m.s.gpr[17] = v[0], bench.r17
        fields = {"rs": 14, "ra": 17, "mb": decimals[-2], "me": decimals[-1]}
        if "sh" in names:
            fields["sh"] = decimals[0]
        else:
            m.s.gpr[15], fields["rb"] = v[1], 15
        m.do(name, **fields)
        bench.r17 = m.s.gpr[17]
        return m, [bench.r17]
    m.s.gpr[14] = v[0]
    source, target = ("rs", "ra") if "rs" in names else ("ra", "rt")
    fields = {source: 14}
    if "bf" in names:
        fields["bf"] = 2
    else:
        fields[target] = 17
    if "si" in names:
        fields["si"] = signed16(v[1])
    elif "ui" in names:
        fields["ui"] = v[1]
    elif "rb" in names:
        m.s.gpr[15], fields["rb"] = v[1], 15
    m.do(name, **fields)
    return m, [m.s.gpr[17]]


def memory_row(name: str, operands: str, row: int) -> tuple[Machine, list[int]]:
    """Run a load or store row; the datum, then how far the address register moved."""
    m = Machine()
    m.put(BASE, bytes.fromhex("00000000000f423fffffffff"))
    indexed = name.endswith("x")
    if name.startswith("l"):
        offset, base = int(numbers(operands)[0]), BASE + (8 if row >= 3 else 0)
    else:
        text, offset_text = operands.split(",")
        offset, base = int(offset_text), BASE + 0x100
        m.s.gpr[17] = int(text, 16)
        m.memory[:] = bytes(len(m.memory))
    m.s.gpr[14], m.s.gpr[15] = base, offset & 0xFFFFFFFF
    fields = {"rt" if name.startswith("l") else "rs": 17, "ra": 14, **({"rb": 15} if indexed else {"d": offset})}
    m.do(name, **fields)
    datum = m.s.gpr[17] if name.startswith("l") else int.from_bytes(m.get(base + offset, 4), "big")
    moved = m.s.gpr[14] - base
    return m, [datum, moved]


@pytest.mark.parametrize("file", ["jm-int.stdout.exp", "jm-int-sh_algebraic.stdout.exp", "jm-int_other.stdout.exp"])
def test_every_row_of_valgrinds_integer_tests_holds(file: str) -> None:
    bench, wrong, count, row, last = Bench(), [], 0, 0, ""
    for _, name, operands, results in valgrind_rows(file):
        count += 1
        if name != last:
            row, last, bench.r17 = -1, name, 0
        row += 1
        if re.fullmatch(r"(l[bhw]|st[bhw]).*", name):
            m, shown = memory_row(name, operands, row)
        else:
            m, shown = fixed_row(bench, name, operands)
        *values, cr, xer = re.findall(r"-?[0-9a-f]+", results)
        wanted = [int(values[0], 16), *(int(v) for v in values[1:])] if values else []
        if name.startswith("c") and not name.startswith(("cnt", "cr")):
            shown = wanted  # a compare has no result but CR
        if [*wanted, int(cr, 16), int(xer, 16)] != [*shown, m.s.cr, m.xer]:
            wrong.append(f"{name} {operands} => {results}: {shown} {m.s.cr:08x} {m.xer:08x}")
    assert count > 20 and not wrong, f"{len(wrong)} of {count}\n" + "\n".join(wrong[:20])


def traps(run: Callable[[], object]) -> bool:
    try:
        run()
    except Interrupt as e:
        assert (e.ivor, e.esr) == (S.PROGRAM, S.ESR_PTR)
        return True
    return False


def test_every_trap_row_of_valgrind_holds() -> None:
    count = 0
    for line in lines(VALGRIND / "tw.stdout.exp"):
        found = re.match(r"tw_(\d+)\( *(-?\d+), *(-?\d+)\) -> (.*)", line)
        if found:
            m = Machine()
            m.s.gpr[3], m.s.gpr[4] = int(found[2]) & 0xFFFFFFFF, int(found[3]) & 0xFFFFFFFF
            assert traps(partial(m.do, "tw", to=int(found[1]), ra=3, rb=4)) == (found[4] == "TRAP"), line
            count += 1
    for line in lines(VALGRIND / "twi.stdout.exp"):
        found = re.match(r"twi_(\d+)_(neg|pos)?(\d+)\( *(-?\d+)\) -> (.*)", line)
        if found:
            m = Machine()
            m.s.gpr[3] = int(found[4]) & 0xFFFFFFFF
            si = -int(found[3]) if found[2] == "neg" else int(found[3])
            assert traps(partial(m.do, "twi", to=int(found[1]), ra=3, si=si)) == (found[5] == "TRAP"), line
            count += 1
    assert count == 192


def test_reversed_loads_and_stores_give_valgrinds_lines() -> None:
    wanted = {}
    for line in lines(VALGRIND / "ldstrev.stdout.exp"):
        what, _, v = line.rpartition(" ")
        wanted[what] = int(v, 16)
    loads = {"ld be16": "lhzx", "ld le16": "lhbrx", "ld be32": "lwzx", "ld le32": "lwbrx"}
    stores = {"st be16": "sthx", "st le16": "sthbrx", "st be32": "stwx", "st le32": "stwbrx"}
    assert set(wanted) == {*loads, *stores}
    for what, name in {**loads, **stores}.items():
        m = Machine()
        m.put(BASE, bytes.fromhex("12345678"))
        m.s.gpr[4] = BASE
        if what in loads:
            m.do(name, rt=3, ra=0, rb=4)
            assert m.s.gpr[3] == wanted[what], what
        else:
            m.s.gpr[3] = 0xABCD if what.endswith("16") else 0xABCD1425
            m.do(name, rs=3, ra=0, rb=4)
            assert int.from_bytes(m.get(BASE, 4), "big") == wanted[what], what


def string_groups() -> dict[str, tuple[str, bytes]]:
    """By header: the text shown, and the bytes listed under it."""
    groups: dict[str, tuple[str, bytes]] = {}
    head = ""
    for line in lines(VALGRIND / "lsw.stdout.exp"):
        if line.startswith("------"):
            head = line.strip("- ")
            groups[head] = ("", b"")
        elif found := re.match(r"\d+ = 0x *([0-9a-f]+)", line):
            text, data = groups[head]
            groups[head] = (text, data + bytes([int(found[1], 16)]))
        elif line:
            groups[head] = (line, b"")
    return groups


def test_string_loads_and_stores_give_valgrinds_lines() -> None:
    groups = string_groups()
    assert len(groups) == 6
    for head, (text, data) in groups.items():
        raw = text.encode()
        name = head.split()[0]
        m = Machine()
        m.s.gpr[4], m.xer = BASE, len(raw)
        fields = {"nb": len(raw), "ra": 4} if name.endswith("i") else {"rb": 4}
        if name.startswith("l"):
            m.put(BASE, raw + b"\xee" * 8)
            m.do(name, rt=20, **fields)
            registers = b"".join(r.to_bytes(4, "big") for r in m.s.gpr[20:23])
            assert registers == data, head
        else:
            for k in range(0, len(raw), 4):
                m.s.gpr[20 + k // 4] = int.from_bytes(raw[k : k + 4].ljust(4, b"\xee"), "big")
            m.do(name, rs=20, **fields)
            assert m.get(BASE, len(raw) + 2) == raw + bytes(2), head


def test_cache_hints_complete_whatever_their_hint() -> None:
    text = "\n".join(lines(VALGRIND / "jm-misc.stdout.exp"))
    assert text.count("completes with no exceptions") == 3
    for name in ("dcbt", "dcbtst"):
        for hint in range(32):
            before = Machine()
            before.do(name, ct=hint, ra=3, rb=4)
            assert before.s.as_dict() == {**Machine().s.as_dict(), "pc": 4}
