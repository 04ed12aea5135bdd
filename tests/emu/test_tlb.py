"""Translations in words, on both kinds of MMU; what translates an address is what the processor does with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from emu.__main__ import main
from emu.boards import Setup, board
from emu.gdbmonitor import answer, control_of
from emu.machine import Machine
from emu.options import parse
from emu.tools import tlb
from tests.emu.test_explain import fails

pytest.importorskip("emu.engine._ppc")


def cpu_of(folder: Path, name: str, values: dict[str, int]) -> Any:
    return machine_of(folder, name, values).cpu


def machine_of(folder: Path, name: str, values: dict[str, int]) -> Machine:
    (folder / "code").write_bytes(b"\x48\0\0\0")
    machine = board(name)(Setup(parse(["-M", name, "-m", "64", "-kernel", str(folder / "code")])))
    machine.power_on()
    for register, value in values.items():
        machine.cpu.set_reg(register, value)
    return machine


UTLB = {
    # 64 KiB at 30000000 for TID 5, space 1: inhibited, guarded; supervisor all, user read.
    "utlb0[7]": 0x30000330, "utlb1[7]": 0x40000001, "utlb2[7]": 0x50F, "utlb_tid[7]": 5,
}  # fmt: skip
TLBS = {
    # 4 KiB of TLB0 for TID 9, little-endian; user read and write.
    "etlb_mas1[4]": 0x80090100, "etlb_mas2[4]": 0x30001001, "etlb_mas3[4]": 0x0500100F, "etlb_mas7[4]": 1,
    "etlb_mas8[4]": 0,
}  # fmt: skip


def test_an_entry_of_the_unified_tlb_in_words(tmp_path: Path) -> None:
    cpu = cpu_of(tmp_path, "bamboo", UTLB)
    assert tlb.entries(cpu)[0].split()[:6] == "UTLB 0 00000000-0fffffff -> 000000000 256".split()
    assert tlb.entries(cpu)[0].endswith("any TID -----  supervisor read write execute; user nothing")
    [own] = [line for line in tlb.entries(cpu) if line.startswith("UTLB 7 ")]
    assert own.split()[2:13] == "30000000-3000ffff -> 140000000 64 KiB space 1, TID 05 -I-G- supervisor".split()
    assert own.endswith("supervisor read write execute; user read")


def test_entries_of_both_e500_tlbs_in_words(tmp_path: Path) -> None:
    lines = tlb.entries(cpu_of(tmp_path, "ppce500", TLBS))
    assert (
        lines[0].split()
        == (
            "TLB0 1.0 30001000-30001fff -> 105001000 4 KiB space 0, TID 09 ----E supervisor read write; user read write"
        ).split()
    )
    assert lines[1].startswith("TLB1 0 ") and lines[1].endswith("user read write execute, protected")


def test_a_lookup_says_which_entry_matches_and_what_is_wrong_with_others(tmp_path: Path) -> None:
    cpu = cpu_of(tmp_path, "bamboo", UTLB)
    assert tlb.lookup(cpu, 0x1234)[-1] == "-> 000001234 (cached)"
    assert tlb.lookup(cpu, 0x30000004)[1] == (
        "UTLB 7 has the page, but it is for space 1, not 0 and its TID 05 is not PID 00"
    )
    cpu.set_reg("pid", 5)
    cpu.set_reg("msr", 1 << 4 | 1 << 14)
    assert tlb.lookup(cpu, 0x30000004)[-1] == "-> 140000004 (inhibited, guarded)"
    assert tlb.lookup(cpu, 0x30000004, "write")[-1] == "UTLB 7 matches, but allows read"
    assert tlb.lookup(cpu, 0x50000000)[-1] == "no valid entry has this page"


@pytest.mark.parametrize(("name", "values"), [("bamboo", UTLB), ("ppce500", TLBS)])
def test_what_a_lookup_says_is_where_the_processor_goes(tmp_path: Path, name: str, values: dict[str, int]) -> None:
    cpu = cpu_of(tmp_path, name, values)
    cpu.set_reg("pid", 9)
    if name == "bamboo":
        cpu.set_reg("utlb0[7]", 0x30000230)
        cpu.set_reg("pid", 5)
    for ea in (0, 0x3FF_FFFC, 0x3000_1004):
        assert tlb.lookup(cpu, ea)[-1].startswith(f"-> {cpu.translate(ea):09x} (")


def test_special_registers_are_those_of_the_model(tmp_path: Path) -> None:
    first = "\n".join(tlb.special(cpu_of(tmp_path, "bamboo", {})))
    second = "\n".join(tlb.special(cpu_of(tmp_path, "ppce500", {})))
    assert "pvr ( 287) 42" in first
    assert "mmucr ( 946)" in first and "mas0 ( 624)" not in first
    assert "mas0 ( 624)" in second and "mmucr ( 946)" not in second


def test_a_pc_has_no_such_tlb(capfd: pytest.CaptureFixture[str]) -> None:
    assert "--dump-tlb: is for PowerPC boards, not for -M pc" in fails(capfd, "run", "--dump-tlb", "-m", "1")
    assert "--page: is for PowerPC boards, not for -M pc" in fails(capfd, "run", "--page", "0", "-m", "1")


def test_a_page_is_looked_up_from_the_command_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = tmp_path / "code"
    code.write_bytes(b"\x48\0\0\0")
    words = ["run", "-M", "bamboo", "-m", "64", "-nographic", "-kernel", str(code), "--max-insns", "9"]
    assert main([*words, "--page", "0x1234", "--page", "0xD0000000,write"]) == 0
    shown = capfd.readouterr().out.splitlines()
    assert shown[-5].startswith("00001234 for supervisor read: space 0, PID 00")
    assert shown[-4].startswith("UTLB 0 ") and shown[-3] == "-> 000001234 (cached)"
    assert shown[-2:] == ["d0000000 for supervisor write: space 0, PID 00", "no valid entry has this page"]
    assert "expected a number" in fails(capfd, *words, "--page", "here")
    assert "unknown --page access wrte; did you mean write?" in fails(capfd, *words, "--page", "0,wrte")


def test_a_page_is_looked_up_from_the_monitor(tmp_path: Path) -> None:
    control = control_of(machine_of(tmp_path, "ppce500", TLBS))
    assert "\n-> 000001000 (" in answer(control, "page 0x1000")
    assert "for supervisor execute" in answer(control, "page 4096 execute")
    for words in ("page 0 jump", "page -1"):
        assert answer(control, words).startswith("page: expected an address, and read, write, execute")
    assert "unexpected end of expression" in answer(control, "page")
