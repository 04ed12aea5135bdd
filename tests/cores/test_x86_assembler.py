from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cores.x86.assembler import AsmError, assemble, assemble_program
from cores.x86.text import disassemble

GOLDEN = [
    ("mov eax, 1", "b801000000"),
    ("adc eax, dword ptr [ebx+0x8]", "134308"),
    ("MOV EAX, [EBX + 8]", "8b4308"),
    ("add eax, 127", "83c07f"),
    ("add eax, 128", "0580000000"),
    ("add eax, 0xffffffff", "83c0ff"),
    ("mov byte [eax*4 + ebx - 4], 5", "c64483fc05"),
    ("mov [esp], ax", "66890424"),
    ("mov eax, [ebp]", "8b4500"),
    ("mov eax, [ebp+ebp]", "8b442d00"),
    ("lea ecx, [esp+eax]", "8d0c04"),
    ("mov ax, [bx+si+4]", "66678b4004"),
    ("mov eax, es:[edi]", "268b07"),
    ("mov eax, [ds:ebp]", "3e8b4500"),
    ("mov ds, eax", "8ed8"),
    ("xchg eax, [ebx]", "8703"),
    ("test [ebx], ecx", "850b"),
    ("imul ecx, 10", "6bc90a"),
    ("jmp $", "ebfe"),
    ("jmp near $", "e9fbffffff"),
    ("call 0x1000", "e8fb0f0000"),
    ("jz 2", "7400"),
    ("loopnz $", "e0fe"),
    ("jmp 8:0x1234", "ea341200000800"),
    ("jmp far [eax]", "ff28"),
    ("call [eax]", "ff10"),
    ("push byte -1", "6aff"),
    ("push dword 0x12345678", "6878563412"),
    ("fadd st1", "d8c1"),
    ("fadd st(2), st", "dcc2"),
    ("faddp", "dec1"),
    ("fxch", "d9c9"),
    ("fstsw ax", "9bdfe0"),
    ("rep stosd", "f3ab"),
    ("lock inc dword [eax]", "f0ff00"),
    ("es lodsb", "26ac"),
    ("sal eax, 3", "c1e003"),
    ("int 80h", "cd80"),
    ("mov al, 'A'", "b041"),
    ("mov eax, 'SMAP'", "b8534d4150"),
    ("mov eax, (2 + 3) * 4 - 1 << 8 | 0b11", "b803130000"),
    ("out 0x80, al", "e680"),
    ("movsd xmm1, [eax]", "f20f1008"),
    ("movsd", "a5"),
    ("aam", "d40a"),
    ("nop", "90"),
    ("pause", "f390"),
]


@pytest.mark.parametrize(("text", "code"), GOLDEN)
def test_golden_bytes(text: str, code: str) -> None:
    assert assemble(text).hex() == code


def test_sixteen_bit_code_takes_prefixes_for_what_is_32_bits_wide() -> None:
    assert assemble("mov eax, 1", big=False).hex() == "66b801000000"
    assert assemble("jmp dword 8:0x12345", big=False).hex() == "66ea452301000800"
    assert assemble("mov ax, [eax]", big=False).hex() == "678b00"
    assert assemble("pushfd", big=False).hex() == "669c"
    assert assemble("movsd", big=False).hex() == "66a5"


SOURCE = """
; a boot sector
        bits 16
        org 0x7c00
LENGTH  equ message.end - message
start:  mov si, message
.next:  lodsb
        test al, al
        jz .done
        mov bx, [table + 2]
        jmp .next
.done:  hlt
        jmp .done
message: db "Hi; 'all'", 13, 10, 0
.end:
table   dw start, .next2, LENGTH
.next2: dd $ - $$
        times 510 - ($ - $$) db 0
        dw 0xaa55
"""


def test_a_source_with_labels_strings_and_directives() -> None:
    program = assemble_program(SOURCE.replace(".next2", "next2"), big=True)
    assert len(program.data) == 512
    assert program.data[510:] == b"\x55\xaa"
    assert b"Hi; 'all'\r\n\0" in program.data
    symbols = program.symbols
    assert symbols["start"] == 0x7C00
    assert symbols["LENGTH"] == 12
    at = symbols["table"] - 0x7C00
    expected = [symbols["start"], symbols["next2"], 12]
    assert [int.from_bytes(program.data[at + k : at + k + 2], "little") for k in (0, 2, 4)] == expected
    assert disassemble(program.data, 0x7C00, False)[0] == f"mov si, {symbols['message']:#x}"


def test_a_local_label_belongs_to_the_label_before_it() -> None:
    code = assemble("a: nop\n.x: jmp .x\nb: nop\n.x: jmp .x\njmp a.x")
    assert code.hex(" ") == "90 eb fe 90 eb fe eb f9"


@pytest.mark.parametrize("distance", [0, 1, 120, 125, 126, 127, 128, 129, 200, 40000])
def test_a_forward_jump_is_short_as_long_as_it_reaches(distance: int) -> None:
    code = assemble(f"jmp there\ntimes {distance} nop\nthere: hlt")
    assert len(code) == distance + 1 + (2 if distance <= 127 else 5)
    text, length = disassemble(code, 0, True)
    assert text == f"jmp {length + distance:#x}"


def test_jumps_that_push_one_another_out_of_reach_settle() -> None:
    jumps = "\n".join(f"j{k}: jmp j{(k + 40) % 90}" for k in range(90))
    program = assemble_program(jumps)
    at = 0
    for k in range(90):
        text, length = disassemble(program.data[at:], at, True)
        assert text == f"jmp {program.symbols[f'j{(k + 40) % 90}']:#x}"
        at += length
    assert at == len(program.data)


def test_align_fills_with_nops_or_with_what_is_given() -> None:
    assert assemble("hlt\nalign 4\nhlt").hex() == "f4909090f4"
    assert assemble("hlt\nalign 4, db 0\nhlt").hex() == "f4000000f4"


def test_each_repetition_of_times_has_an_address_of_its_own() -> None:
    assert assemble("times 3 call there\nthere:").hex(" ") == "e8 0a 00 00 00 e8 05 00 00 00 e8 00 00 00 00"


def test_reserved_space_is_zeros() -> None:
    assert assemble("resb 3\nresw 2\ndb 1") == b"\0" * 7 + b"\x01"


def test_a_later_org_changes_addresses_without_filling() -> None:
    program = assemble_program("org 0x100\na: db 1\norg 0x2000\nb: dw a, b, $$")
    assert program.data.hex() == "01000100200020"


ERRORS = [
    ("nop\nmvo eax, 1", "t.asm:2: there is no instruction 'mvo'; did you mean mov?"),
    ("mov al, 300", "t.asm:1: the number 0x12c does not fit 8 bits"),
    ("mov eax, bl", "t.asm:1: mov does not take eax, bl; it takes"),
    ("inc [eax]", "t.asm:1: inc: the size of the memory operand is not clear; write one of byte, word, dword"),
    (
        "jmp short there\ntimes 200 nop\nthere:",
        "t.asm:1: the target is 200 bytes away, a short jump reaches -128 to 127",
    ),
    ("mov eax, [lable]\nlabel:", "t.asm:1: lable is not defined; did you mean label?"),
    ("a:\na:", "t.asm:2: a is already defined in line 1"),
    ("eax:", "t.asm:1: eax cannot be the name of a label"),
    ("db 'abc", "t.asm:1: the string 'abc does not end"),
    ("mov eax, 1 +", "t.asm:1: a number or a name is expected at the end"),
    ("mov eax,", "t.asm:1: an operand is expected at the end"),
    ("mov eax, (1", "t.asm:1: ')' expected at the end"),
    ("mov eax, 1 2", "t.asm:1: ',' expected before '2'"),
    ("mov eax, [esp*2]", "t.asm:1: esp cannot be an index"),
    ("mov eax, [eax*3]", "t.asm:1: eax times 3: an index takes 1, 2, 4 or 8"),
    ("mov eax, [ax]", "t.asm:1: [ax] is no 16-bit address: bx or bp, and si or di"),
    ("mov eax, [bx+eax]", "t.asm:1: [bx+eax]: an address takes 32-bit or 16-bit registers, not a mixture"),
    ("lock nop", "t.asm:1: lock does not go with nop"),
    ("lock add eax, 1", "t.asm:1: lock add needs a memory operand to write to"),
    ("rep add eax, 1", "t.asm:1: a repeat prefix goes with string instructions only, not with add"),
    ("times -1 nop", "t.asm:1: times -1: what comes before is 1 bytes too long"),
    ("align 3", "t.asm:1: align 3: a power of two is expected"),
    ("align 1 << 40", "t.asm:1: align 1099511627776 is too far"),
    ("resq 1 << 25", "t.asm:1: the output is larger than"),
    ("times 1 << 60 db 0", "t.asm:1: times 1152921504606846976 is too often"),
    ("times 100000 nop", "t.asm:1: times 100000 is too often"),
    ("bits 64", "t.asm:1: bits 64: 16 or 32 is expected"),
    ("db 256", "t.asm:1: 0x100 does not fit 8 bits"),
    ("dd 1 / 0", "t.asm:1: division by zero"),
    ("mov eax, 12z", "t.asm:1: ',' expected before 'z'"),
    ("foo", "t.asm:1: 'foo' is no instruction; a label ends in a colon"),
    ("times 2 align 4", "t.asm:1: times goes with an instruction or with db, dw, dd, dq"),
    ("db " + "(" * 200 + "1" + ")" * 200, "t.asm:1: the expression is nested too deeply"),
    ("a equ b\nb equ a + 1\ndd a", "t.asm:1: sizes do not settle"),
    ("\u20ac", "t.asm:1: '\u20ac' is not expected"),
]


@pytest.mark.parametrize(("source", "sentence"), ERRORS)
def test_a_mistake_is_one_line_with_file_and_line(source: str, sentence: str) -> None:
    with pytest.raises(AsmError) as caught:
        assemble(source, file="t.asm")
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="abcdexm ov,[]+-*()0123456789:$\"'.;\n", max_size=40))
def test_any_text_gives_bytes_or_an_error_with_a_line(source: str) -> None:
    try:
        assemble(source, file="t.asm")
    except AsmError as error:
        assert str(error).startswith("t.asm:")
