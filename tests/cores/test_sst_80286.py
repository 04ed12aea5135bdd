"""Single instructions in real mode as a real 80C286 did them (suite sst-80286, MIT licence, under EMU_SHARED)."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.cores import moo
from tests.cores.flat import FlatRam, make_cpu

SUITE = Path(os.environ.get("EMU_SHARED", "../shared")) / "suites" / "sst-80286"
FILES = sorted((SUITE / "v1_real_mode").glob("*.MOO.gz"))
MAX_STEPS = 400_000
# The one exception to the suite: beyond the limit of SS the 286 raises vector 13 in real mode, a 386 and all later
# processors raise #SS, vector 12 (SDM vol. 3, real-address mode exceptions).
STACK_FAULT = "#SS where the 286 raises vector 13"


@cache
def metadata() -> dict[str, Any]:
    """Status and defined flags of each opcode."""
    data: dict[str, Any] = json.loads((SUITE / "metadata.json").read_text())["opcodes"]
    return data


def flags_mask(name: str) -> int:
    """The flags that the processor defines after an instruction."""
    op, _, reg = name.partition(".")
    entry = metadata()[op]
    if reg:
        entry = entry["reg"][reg]
    return int(entry.get("flags-mask", 0xFFFF)) & 0x0FFF


def not_on_a_386(case: moo.Case, name: str) -> str:
    """Why a row does not hold on a 386 or later, or an empty string."""
    prefixes = 0
    while case.code[prefixes] in (0x26, 0x2E, 0x36, 0x3E, 0xF0, 0xF2, 0xF3):
        prefixes += 1
    lock = 0xF0 in case.code[:prefixes]
    op = case.code[prefixes]
    if lock:
        return "the 386 allows LOCK only before some forms"
    if op in (0x8C, 0x8E) and (case.code[prefixes + 1] >> 3 & 7) >= 4:
        return "FS and GS exist"
    if len(case.code) - 1 > 10:
        return "the limit is 15 bytes, not 10"
    if op in (0xE4, 0xE5, 0xEC, 0xED, 0x6C, 0x6D):
        return "port input"
    return ""


def run_case(cpu: Any, ram: FlatRam, case: moo.Case, name: str) -> str:
    """Run one row; gives what differs, or an empty string."""
    view = ram.view
    for at, value in case.ram:
        view[at] = value
    cpu.reset()
    for reg, value in case.regs.items():
        if reg == "flags":
            cpu.set_reg("eflags", value & 0x0FFF | 2)
        else:
            cpu.set_reg("eip" if reg == "ip" else "e" + reg if reg[1] in "xpi" else reg, value)
    cpu.run(2)
    early = [r["vector"] for r in cpu.exceptions()]
    cpu.run(MAX_STEPS)
    bad = []
    if not cpu.halted:
        bad.append("did not halt")
    mask = flags_mask(name)
    op = case.code.lstrip(b"\x26\x2e\x36\x3e\xf2\xf3")[0]
    if op in (0xC0, 0xC1) and name.split(".")[-1] in ("2", "3"):
        mask &= ~0x800
    for reg, before in case.regs.items():
        want = case.final_regs.get(reg, before)
        if reg == "flags":
            got, want = cpu.reg("eflags") & mask, want & mask
        else:
            got = cpu.reg(reg)
        if got != want:
            bad.append(f"{reg} {got:04x} not {want:04x}")
    # The file gives the bus address of the pushed flags, which is even even where the stack is not.
    flags_at = case.flags_address | case.regs["sp"] & 1
    for at, want in case.final_ram:
        got = view[at]
        if case.exception is not None and at in (flags_at, flags_at + 1):
            part = mask if at == flags_at else mask >> 8
            got, want = got & part & 0xFF, want & part & 0xFF
        if got != want:
            bad.append(f"[{at:05x}] {got:02x} not {want:02x}")
    touched = {at for at, _ in case.ram} | {at for at, _ in case.final_ram}
    for at in touched:
        view[at] = 0
    cpu.invalidate(0, ram.size)
    if bad and case.exception == 13 and 12 in early + [r["vector"] for r in cpu.exceptions()]:
        return STACK_FAULT
    return ", ".join(bad)


def run_file(path: Path, cpu: Any, ram: FlatRam) -> tuple[int, int, list[str]]:
    """(rows run, rows with the stack-fault exception, failures) of one file."""
    name = path.name.removesuffix(".MOO.gz")
    ran = excepted = 0
    failures = []
    for case in moo.read(path):
        if not_on_a_386(case, name):
            continue
        ran += 1
        bad = run_case(cpu, ram, case, name)
        if bad == STACK_FAULT:
            excepted += 1
        elif bad:
            failures.append(f"{name} {case.index} {case.name} exc={case.exception}: {bad}")
    return ran, excepted, failures


@pytest.mark.slow
@pytest.mark.skipif(not FILES, reason=f"the suite is not at {SUITE} (set EMU_SHARED)")
def test_every_row_of_the_80286_suite_matches_the_silicon() -> None:
    """All rows that hold on a 386, on the interp tier; fewer than one in a thousand may be a stack fault."""
    cpu, ram = make_cpu("interp")
    ran = excepted = 0
    failures: list[str] = []
    for path in FILES:
        n, e, bad = run_file(path, cpu, ram)
        ran += n
        excepted += e
        failures += bad
    assert ran > 50_000
    assert not failures, f"{len(failures)} of {ran}:\n" + "\n".join(failures[:40])
    assert excepted * 1000 < ran
