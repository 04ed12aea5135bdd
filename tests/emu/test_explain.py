from __future__ import annotations

import io
from pathlib import Path

import pytest

from emu.__main__ import main
from emu.tools.explain import read_instruction


def run(capfd: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command prints; it must succeed."""
    assert main(list(words)) == 0
    out, err = capfd.readouterr()
    assert err == ""
    return out


def fails(capfd: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line that a command complains with; its status is 1."""
    assert main(list(words)) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


def block(text: str, title: str) -> list[str]:
    """The rows under a title."""
    lines = text.splitlines()
    start = lines.index(title) + 1
    return [" ".join(line.split()) for line in lines[start : [*lines, ""].index("", start)]]


def test_an_addition_with_carry_from_memory(capfd: pytest.CaptureFixture[str]) -> None:
    text = run(capfd, "explain", "adc eax, [ebx+8]")
    assert text.startswith("adc eax, [ebx+0x8]\n  Combine two operands")
    assert block(text, "Encoding") == [
        "13 opcode of adc Gv,Ev",
        "43 ModRM: mod 1 (displacement of 8 bits), reg 0 (eax), rm 3 (ebx)",
        "08 displacement 0x8",
    ]
    assert block(text, "Operands") == [
        "eax read and written",
        "[ebx+0x8] read; dword in segment ds; the address uses ebx",
    ]
    assert block(text, "Flags") == ["read CF", "changed CF PF AF ZF SF OF"]
    assert [row.split()[0] for row in block(text, "Exceptions")] == ["#UD", "#GP", "#PF", "#AC"]


def test_text_and_bytes_explain_the_same(capfd: pytest.CaptureFixture[str]) -> None:
    text = run(capfd, "explain", "adc eax, [ebx+8]")
    assert run(capfd, "explain", "13 43 08") == text
    assert run(capfd, "explain", "13", "43", "08") == text
    assert run(capfd, "explain", "0x13,0x43,0x08") == text


def test_loading_the_interrupt_table(capfd: pytest.CaptureFixture[str]) -> None:
    text = run(capfd, "explain", "lidt [0x7c20]")
    assert block(text, "Operands") == ["[0x7c20] read; in segment ds"]
    assert block(text, "Implied") == ["written IDTR"]
    assert any(row.startswith("#GP a check of the instruction itself") for row in block(text, "Exceptions"))


def test_implied_operands_of_a_division(capfd: pytest.CaptureFixture[str]) -> None:
    text = run(capfd, "explain", "div ecx")
    assert block(text, "Implied") == ["both eax, edx"]
    assert block(text, "Flags") == ["undefined CF PF AF ZF SF OF"]
    assert block(text, "Exceptions") == ["#DE a check of the instruction itself"]


def test_the_stack_segment_decides_between_two_exceptions(capfd: pytest.CaptureFixture[str]) -> None:
    rows = block(run(capfd, "explain", "mov [ebp], al"), "Exceptions")
    assert [row.split()[0] for row in rows] == ["#SS", "#PF"]
    rows = block(run(capfd, "explain", "mov [ds:ebp], al"), "Exceptions")
    assert [row.split()[0] for row in rows] == ["#GP", "#PF"]


def test_prefixes_sib_and_immediates_are_broken_down(capfd: pytest.CaptureFixture[str]) -> None:
    rows = block(run(capfd, "explain", "es mov word [esp+eax*4-4], 0x1234"), "Encoding")
    assert rows == [
        "26 segment ES",
        "66 operand size 16 instead of 32",
        "c7 opcode of mov Ev,Iz",
        "44 ModRM: mod 1 (displacement of 8 bits), reg 0 (part of the opcode), rm 4 (SIB follows)",
        "84 SIB: base esp, index eax times 4",
        "fc displacement -0x4",
        "34 12 immediate 0x1234",
    ]
    assert block(run(capfd, "explain", "--bits", "16", "jmp 0x800:0x1234"), "Encoding")[1:] == [
        "34 12 offset 0x1234",
        "00 08 selector 0x800",
    ]


def test_an_instruction_without_operands_or_effects(capfd: pytest.CaptureFixture[str]) -> None:
    text = run(capfd, "explain", "lea", "eax,", "[ebx]")
    assert "[ebx] address only; nothing is accessed; the address uses ebx" in block(text, "Operands")
    assert block(text, "Flags") == ["none read, none changed"]
    assert block(text, "Exceptions") == ["none"]


def test_the_lowerings_of_the_form_are_shown_on_demand(capfd: pytest.CaptureFixture[str]) -> None:
    text = run(capfd, "explain", "--ir", "--c", "--python", "clc")
    assert "cf := 0x0:1" in block(text, "Traced body")[-1]
    assert "static const struct Insn *op_clc_F8(Cpu *cpu, const struct Insn *i)" in text
    assert "def clc_F8(s, m, i):" in text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["explain", "mvo eax, 1"], "there is no instruction 'mvo'; did you mean mov?"),
        (["explain", "inc [eax]"], "the size of the memory operand is not clear"),
        (["explain", "0f ff"], "0f ff is no instruction"),
        (["explain", "abc"], "is not a row of bytes in hex"),
        (["explain", "90 f3 aa"], "bytes left over after 'nop': 2; one instruction at a time"),
        (["explain", ""], "expected an instruction"),
        (["explain"], "the following arguments are required"),
        (["explain", "--bits", "64", "nop"], "expected 16 or 32, found '64'"),
        (["disasm"], "expected a file, or --hex and the bytes"),
        (["disasm", "--hex", "xyz"], "is not a row of bytes in hex"),
        (["disasm", "--hex", ""], "no bytes are given"),
        (["disasm", "no-such-file"], "no-such-file: No such file or directory"),
        (["asm"], "expected instructions, or -f and a source file"),
        (["asm", "mov al, 300"], "the number 0x12c does not fit 8 bits"),
        (["asm", "-f", "no-such-file"], "no-such-file: No such file or directory"),
        (["docs", "frobnicate"], "there is no instruction"),
    ],
)
def test_bad_input_is_one_line_and_status_1(capfd: pytest.CaptureFixture[str], words: list[str], sentence: str) -> None:
    assert sentence in fails(capfd, *words)


def test_disassembly_lists_address_bytes_and_text(capfd: pytest.CaptureFixture[str]) -> None:
    out = run(capfd, "disasm", "--hex", "b8 01 00 0f ff", "--bits", "16", "--org", "0x7c00")
    assert [line.split(None, 1)[0] for line in out.splitlines()] == ["00007c00", "00007c03", "00007c04"]
    assert out.splitlines()[0].split("  ")[1] == "b8 01 00"
    assert out.splitlines()[0].endswith("mov ax, 0x1")
    assert out.splitlines()[1].endswith("db 0x0f")


def test_disassembly_of_a_file_with_a_limit(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "code"
    path.write_bytes(b"\xcc\x90\x90\x90")
    out = run(capfd, "disasm", str(path), "--skip", "1", "--count", "2")
    assert out.count("nop") == 2
    assert len(out.splitlines()) == 2
    path.write_bytes(b"")
    assert "the file is empty" in fails(capfd, "disasm", str(path))
    assert "found a directory" in fails(capfd, "disasm", str(tmp_path))


def test_disassembly_of_standard_input(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(b"\xf4")

    monkeypatch.setattr("sys.stdin", Stdin)
    assert run(capfd, "disasm", "-").endswith("hlt\n")


def test_assembling_from_the_command_line(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(capfd, "asm", "mov eax, 1; add eax, 2") == "b8 01 00 00 00 83 c0 02\n"
    assert run(capfd, "asm", "--bits", "16", "--org", "0x100", "jmp 0x105") == "eb 03\n"


def test_assembling_a_file(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    source = tmp_path / "a.asm"
    source.write_text("bits 16\norg 0x7c00\nstart: jmp start\n")
    out = tmp_path / "a.bin"
    assert run(capfd, "asm", "-f", str(source), "-o", str(out)) == ""
    assert out.read_bytes() == b"\xeb\xfe"
    assert "00007c00  eb fe" in run(capfd, "asm", "-l", "-f", str(source))
    source.write_text("nop\nmov eax,\n")
    assert f"{source}:2: an operand is expected at the end" in fails(capfd, "asm", "-f", str(source))
    source.write_bytes(b"\xff\xfe")
    assert "expected a source in UTF-8" in fails(capfd, "asm", "-f", str(source))


def test_a_page_is_printed_by_mnemonic(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(capfd, "docs", "inc").startswith("## INC DEC")


def test_a_word_that_is_hex_and_a_mnemonic_is_a_mnemonic() -> None:
    assert read_instruction("fadd st1", 0, True).hex() == "d8c1"
    assert read_instruction("dec eax", 0, True).hex() == "48"
    assert read_instruction("cc", 0, True).hex() == "cc"
