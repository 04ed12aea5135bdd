"""`emu asm`, `disasm`, `explain` and `docs` with --arch ppc."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cores.ppc.decoder import forms
from cores.ppc.docs import chapters, entry_page, layout
from cores.ppc.effects import effects
from tests.emu.test_explain import block, fails, run


def explain(capfd: pytest.CaptureFixture[str], *words: str) -> str:
    return run(capfd, "explain", "--arch", "ppc", *words)


def test_assembling_and_disassembling_are_inverse(capfd: pytest.CaptureFixture[str]) -> None:
    text = "lwz r3, 0x4(r5)\nbdnz 0x00001000\ntlbwe r3, r4, 0"
    data = run(capfd, "asm", "--arch", "ppc", "--org", "0x1000", text).strip()
    assert data == "80 65 00 04 42 00 ff fc 7c 64 07 a4"
    out = run(capfd, "disasm", "--arch", "ppc", "-cpu", "440EP", "--org", "0x1000", "--hex", data)
    assert [line.split("  ")[-1].strip() for line in out.splitlines()] == text.splitlines()


def test_a_half_word_at_the_end_is_shown_as_bytes(capfd: pytest.CaptureFixture[str]) -> None:
    out = run(capfd, "disasm", "--arch", "ppc", "--hex", "4e80002012 34")
    assert [line[10:].split(maxsplit=4)[-1] for line in out.splitlines()] == ["blr", "0x34"]


def test_an_extended_subtraction_reads_and_writes_the_carry(capfd: pytest.CaptureFixture[str]) -> None:
    text = explain(capfd, "adde. r3, r4, r5")
    assert block(text, "Encoding") == [
        "0-5 011111 opcode of adde. and others", "6-10 00011 rt: r3", "11-15 00100 ra: r4", "16-20 00101 rb: r5",
        "21 0 OE: XER.OV and XER.SO are kept", "22-30 010001010 extended opcode",
        "31 1 Rc: a field of CR is set from the result",
    ]  # fmt: skip
    assert block(text, "Operands") == ["r3 rt: written", "r4 ra: read", "r5 rb: read"]
    assert block(text, "Implied") == ["read XER.CA, XER.SO", "written CR0, XER.CA"]


def test_a_load_with_update_may_miss_the_tlb(capfd: pytest.CaptureFixture[str]) -> None:
    text = explain(capfd, "lwzu r3, -4(r5)")
    assert block(text, "Operands")[2] == "r5 ra: read and written"
    assert [row.split(" (")[0] for row in block(text, "Interrupts")] == ["data storage", "data TLB error"]


def test_text_and_word_explain_the_same(capfd: pytest.CaptureFixture[str]) -> None:
    text = explain(capfd, "mfspr r3, srr0")
    assert text == explain(capfd, "7c7a02a6") == explain(capfd, "mfsrr0", "r3")
    assert "privileged instruction in problem state" in text


def test_operands_tell_which_of_two_tlb_instructions_is_meant(capfd: pytest.CaptureFixture[str]) -> None:
    assert "Models: 440ep, 460ex" in explain(capfd, "tlbwe r3, r4, 1")
    assert "MAS0" in explain(capfd, "tlbwe")


def test_the_lowerings_of_one_form_are_shown(capfd: pytest.CaptureFixture[str]) -> None:
    text = explain(capfd, "--ir", "--c", "--python", "li r3, -1")
    assert block(text, "Traced body") == ["%1:8 = field rt", "%2:32 = field si", "gpr[%1] part := %2:32"]
    assert "op_addi_z(Cpu *cpu" in text
    assert "def addi_z(s, m, i):" in text


def test_the_wrong_architecture_is_pointed_out(capfd: pytest.CaptureFixture[str]) -> None:
    assert "--arch ppc" in fails(capfd, "explain", "lwz r3, 4(r5)")
    assert "--arch x86" in fails(capfd, "explain", "--arch", "ppc", "cpuid")
    assert "--arch ppc has lwz" in fails(capfd, "asm", "lwz r3, 4(r5)")
    assert "--arch ppc has one" in fails(capfd, "docs", "lwz")
    assert "--bits is for x86" in fails(capfd, "asm", "--arch", "ppc", "--bits", "16", "nop")
    assert "expected one of 440ep" in fails(capfd, "disasm", "--arch", "ppc", "-cpu", "z80", "--hex", "00")
    assert "is no instruction on 440ep" in fails(capfd, "explain", "--arch", "ppc", "-cpu", "440ep", "00000000")


@pytest.mark.parametrize("words", [("docs", "--arch", "ppc", "cmpw"), ("docs", "mov"), ("explain", "nop")])
def test_a_reader_that_goes_away_is_no_error(words: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run([sys.executable, "-m", "emu", *words], stdout=writer, stderr=subprocess.PIPE, timeout=60)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_every_form_has_effects_and_a_layout_of_32_bits() -> None:
    for form in forms():
        effects(form)
        runs = layout(form)
        assert runs[0][0] == 0 and runs[-1][1] == 31
        assert all(a[1] + 1 == b[0] for a, b in itertools.pairwise(runs)), form.ident


def test_pages_are_written_for_every_chapter(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(capfd, "docs", "--arch", "ppc", "-o", str(tmp_path)).endswith(
        f"{len(chapters()) + 1} pages in {tmp_path}\n"
    )
    names = {path.stem for path in tmp_path.glob("*.md")}
    assert {"ppc", "ppc-fixed", "ppc-spe", "ppc-mmu_e500"} <= names
    assert "| `cmpw bf, ra, rb` | 31 (0-5) bf (6-8)" in (tmp_path / "ppc-fixed.md").read_text()


def test_the_operation_of_a_load_names_its_operands() -> None:
    [entry] = {id(f.entry): f.entry for f in forms() if f.syntax == "lwz rt, d(ra0)"}.values()
    page = entry_page(entry)
    assert page[page.index("Operation (`lwz`)") :][2:7] == ["```", "a = ra", "b = memory32[a + d]", "rt := b", "```"]
