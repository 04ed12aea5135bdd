"""The PowerPC assembler: inverse of the disassembler for every form, and against GNU as where Debian's is installed."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cores.ppc.assembler import ALIASES, AsmError, assemble, assemble_program
from cores.ppc.decoder import field_names, forms
from cores.ppc.forms import FIELDS, Form
from cores.ppc.models import FEATURES, MODELS
from cores.ppc.text import disassemble

AT = 0x1000
TOOLS = ("powerpc-linux-gnu-as", "powerpc-linux-gnu-objcopy")
CPU = {"": "-mbooke", "fpu": "-mbooke", "440": "-m440", "440x5": "-m464", "e500mc": "-me500mc"}


@cache
def features_for(needs: str) -> int | None:
    """Features of a model that has a form; some forms are on no model."""
    bit = FEATURES.get(needs, 0)
    return next((m.features for m in MODELS.values() if m.features & bit == bit), None)


def word_of(form: Form, rng: random.Random) -> int:
    """The form with drawn fields and reserved bits 0."""
    word = form.value
    for name in field_names(form.ident):
        first, count, _, _ = FIELDS[name]
        free = ((1 << count) - 1) << (32 - first - count) & ~form.mask
        word = word & ~free | rng.choice((0, rng.getrandbits(32), 0xFFFFFFFF)) & free
    return word


def drawn(seed: int, each: int) -> Iterator[tuple[Form, int, str]]:
    """Words of all forms with their text."""
    rng = random.Random(seed)
    for form in forms():
        features = features_for(form.entry.needs)
        if features is None or form.zero:
            continue
        for _ in range(each):
            word = word_of(form, rng)
            yield form, word, disassemble(word, AT, features)


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1 << 32))
def test_what_is_disassembled_assembles_to_the_same_word(seed: int) -> None:
    wrong = []
    for _, word, text in drawn(seed, 1):
        if ".long" in text or int.from_bytes(assemble(text, AT), "big") != word:
            wrong.append(f"{word:08x} {text}")
    assert not wrong, "\n".join(wrong[:20])


# --- GNU as ----------------------------------------------------------------------------------------------------------


def gnu(lines: list[str], cpu: str, folder: Path) -> list[int | None]:
    """The words of GNU as, None for lines that it refuses."""
    refused: set[int] = set()
    for _ in range(4):
        source = "".join(f"{'.long 0' if k in refused else line}\n" for k, line in enumerate(lines))
        command = [TOOLS[0], cpu, "-mregnames", "-o", str(folder / "o"), "-"]
        done = subprocess.run(command, input=source, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode == 0:
            break
        refused |= {int(n) - 1 for n in re.findall(r":(\d+): Error: ", done.stderr)}
    subprocess.run([TOOLS[1], "-O", "binary", "-j", ".text", str(folder / "o"), str(folder / "bin")], check=True)
    data = (folder / "bin").read_bytes()
    words = [int.from_bytes(data[4 * k : 4 * k + 4], "big") for k in range(len(lines))]
    return [None if k in refused else word for k, word in enumerate(words)]


def needs_gnu() -> None:
    if not all(shutil.which(tool) for tool in TOOLS):
        pytest.skip("GNU as for PowerPC is not installed (Debian: binutils-powerpc-linux-gnu)")


def relative(form: Form, text: str) -> str:
    """Targets as GNU as takes them without a linker."""
    if not {"bd", "li"} & set(field_names(form.ident)) or form.statics.get("aa"):
        return text
    head, _, target = text.rpartition(" ")
    return f"{head} .{(int(target, 16) - AT + 2**31) % 2**32 - 2**31:+d}"


# GNU as reads the time base by the number of a special purpose register where the model is Book E, and takes the
# numbers by which programs read SPRG4 to SPRG7.
OTHER_NUMBERS = {"mftb", "mftbu", "mfsprg4", "mfsprg5", "mfsprg6", "mfsprg7"}


def test_every_form_has_the_word_of_gnu_as(tmp_path: Path) -> None:
    needs_gnu()
    wrong, known, moves, others = [], 0, 0, 0
    groups: dict[str, list[tuple[Form, int, str]]] = {}
    for form, word, text in drawn(7, 3):
        groups.setdefault(CPU.get(form.entry.needs, "-me500"), []).append((form, word, text))
    for cpu, rows in groups.items():
        words = gnu([relative(form, text) for form, _, text in rows], cpu, tmp_path)
        for (form, word, text), theirs in zip(rows, words, strict=True):
            if theirs is None:
                is_move = form.entry.family.get("name") and text.startswith(("mf", "mt"))
                moves, others = moves + bool(is_move), others + (not is_move)
            elif text.split()[0] not in OTHER_NUMBERS:
                known += 1
                if word != theirs:
                    wrong.append(f"{text}: {word:08x}, GNU as {theirs:08x}")
    assert not wrong, "\n".join(wrong[:20])
    assert known > 2000
    assert others < 150, "forms besides moves of special purpose registers that GNU as does not know"


SIMPLIFIED = """
nop | li r3, -5 | lis r4, 0xdead | lis r4, -2 | mr r5, r6 | mr. r5, r6 | not r7, r8 | not. r7, r8 | la r3, 8(r4)
subi r3, r4, 16 | subis r3, r4, 1 | subic r3, r4, 2 | subic. r3, r4, 2 | sub r3, r4, r5 | sub. r3, r4, r5
subo r3, r4, r5 | subo. r3, r4, r5 | subc r3, r4, r5 | subco. r3, r4, r5
slwi r3, r4, 5 | slwi. r3, r4, 31 | srwi r3, r4, 5 | srwi r3, r4, 0 | rotlwi r3, r4, 3 | rotrwi r3, r4, 3
rotlw r3, r4, r5 | clrlwi r3, r4, 24 | clrrwi. r3, r4, 12 | extlwi r3, r4, 8, 4 | extrwi r3, r4, 8, 4
inslwi r3, r4, 8, 4 | insrwi r3, r4, 8, 4 | clrlslwi r3, r4, 16, 4
crset eq | crclr 4*cr7+so | crmove lt, 4*cr2+gt | crnot 5, 6 | mtcr r9 | mtctr r3 | mflr r0 | mfxer r1
trap | tweq r3, r4 | twnei r3, 7 | twlgt r5, r6 | twui r7, -1 | tw 31, r3, r4
cmpwi r3, 4 | cmpwi cr6, r3, -4 | cmplw cr1, r4, r5 | cmplwi r3, 0xffff
blr | bctr | blrl | bctrl | beqlr | bnelr cr3 | bltctr cr7 | bdnzlr | bgtlrl+ cr2 | bsoctrl-
bne .-8 | bne+ .-8 | bne- .-8 | beq cr5, .+16 | bgel cr1, .+8 | bdnz .-4 | bdz- .+4 | bdnzt eq, .+8
bdnzf 4*cr3+lt, .-16 | bt gt, .+8 | bf 9, .+8 | bso .+4 | bng cr2, .+4 | b . | bl .+4096 | bun cr4, .-4
sync | isync | msync | mbar | isellt r3, r4, r5 | iseleq r3, 0, r5 | evmr r3, r4 | evnot r5, r6
lwz r3, 4(r5) | stwu r1, -16(r1) | lbz r9, 0(0) | lmw r29, 8(r1)
mfspr r3, 287 | mtspr 26, r4 | wrteei 1 | dcbt 0, r4 | tlbre | mfspr r5, srr0 | mtspr ctr, r5 | mfmsr r3
""".replace("\n", "|")


def test_simplified_mnemonics_have_the_words_of_gnu_as(tmp_path: Path) -> None:
    needs_gnu()
    lines = [line.strip() for line in SIMPLIFIED.split("|") if line.strip()]
    words = gnu(lines, "-me500", tmp_path)
    assert [line for line, word in zip(lines, words, strict=True) if word is None] == []
    for line, word in zip(lines, words, strict=True):
        # What `.` is there is `$` here.
        ours = assemble(re.sub(r"(^|\s)\.(?=[-+]|$)", r"\1$", line), AT)
        assert ours.hex() == f"{word:08x}", line


def test_halves_of_addresses_have_the_words_of_gnu_as(tmp_path: Path) -> None:
    needs_gnu()
    lines = [
        f"{op} r3, {base}0x1234{low:04x}@{half}"
        for low in (0, 0x7FFF, 0x8000, 0xFFFF)
        for op, base, half in (("lis", "", "ha"), ("lis", "", "h"), ("addi", "r4, ", "l"), ("ori", "r4, ", "l"))
    ]
    lines += ["lwz r3, 0x1234fffc@l(r4)", "oris r3, r3, 0x89abcdef@ha"]
    ours = assemble("\n".join(lines))
    assert [f"{w:08x}" for w in gnu(lines, "-mbooke", tmp_path) if w is not None] == re.findall("." * 8, ours.hex())


# --- our own ---------------------------------------------------------------------------------------------------------


def test_labels_halves_and_data_are_big_endian() -> None:
    source = """
    # a loop that adds the words of a table
    start:  lis r3, table@ha
            addi r3, r3, table@l     ; signed, so @ha
            li r4, (end - table) / 4
            mtctr r4
    .next:  lwzu r5, 4(r3)
            add r6, r6, r5
            bdnz .next
            b $
    table:  .long 1, -2, start
            .short 0x1234
            .byte 'A', "bc"
            align 4
    end:    .quad 0x0102030405060708
    """
    program = assemble_program(source, origin=0x18000)
    assert program.symbols["end"] == 0x18034
    assert program.data[:8].hex() == "3c60000238638020"
    assert program.data[24:32].hex() == "4200fff848000000"
    assert program.data[32:].hex() == "00000001fffffffe0001800012344162630000000102030405060708"


@pytest.mark.parametrize(("line", "why"), [
    ("lwzz r3, 0(r1)", "is no instruction; did you mean lwz"), ("lwz r3", "expected lwz rt, d(ra0), found 1 operand"),
    ("lwz r3, 0x8000(r1)", "lwz: 0x8000 does not fit the field d"), ("addi r3, f1, 2", "a register r0 to r31 is"),
    ("b 2", "b: the target is 2 bytes off a word"), ("bne 0x100000", "bne: the target is out of reach (+0xffffc)"),
    ("cmpwi cr8, r3, 0", "a field cr0 to cr7 is expected"), ("slwi r3, r4, 33", "slwi: "),
    ("li r3, nowhere@l", "nowhere is not defined"), ("li r3, start@lo", "one of @l, @h, @ha is expected"),
    ("bcctr 16, 0", "bcctr: there is no such form"), ("lswi r3, r4, 33", "33 bytes: 1 to 32"),
    ("r5: nop", "r5 cannot be the name of a label"), ("li r3", "li: expected 2 operands, found 1 operand"),
])  # fmt: skip
def test_a_mistake_is_named_with_its_line(line: str, why: str) -> None:
    with pytest.raises(AsmError) as found:
        assemble(f"nop\n{line}", file="x.s")
    assert str(found.value).startswith("x.s:2: ")
    assert why in str(found.value)


@given(st.text("r34,()+-@ lwzbcne0x#;'.hal\n", max_size=40) | st.sampled_from(sorted(ALIASES)))
def test_any_text_is_assembled_or_refused(text: str) -> None:
    try:
        assert isinstance(assemble(text), bytes)
    except AsmError as error:
        assert str(error).startswith("<text>:")


# Capstone has other habits here: which rotates, traps and moves get a simplified name, the operand order of touches.
HABITS = frozenset(
    "tw twi mr rotrwi extrwi extlwi insrwi inslwi clrlslwi clrrwi slwi lswi stswi dcbt dcbtst dcbtep dcbtstep "
    "icbt icbtls icblc mftb tlbwe tlbre tlbsx isel".split()
)


def parts(text: str) -> list[str | int]:
    """A text with numbers as numbers."""
    head, _, rest = text.partition(" ")
    words = re.findall(r"-?0x[0-9a-f]+|-?\d+\b|[\w.*+]+|[()]", rest)
    return [head, *(int(w, 0) & 0xFFFFFFFF if w.lstrip("-")[0].isdigit() else w for w in words)]


def test_capstone_reads_the_same_where_it_knows_the_instruction() -> None:
    capstone = pytest.importorskip("capstone")
    reader = capstone.Cs(capstone.CS_ARCH_PPC, capstone.CS_MODE_32 | capstone.CS_MODE_BIG_ENDIAN)
    wrong, same = [], 0
    for form, word, text in drawn(3, 3):
        head = text.split()[0].rstrip(".")
        no_base = "ra" in form.params and "ra0" not in form.params and not word >> 16 & 31
        # It takes opcode 4 for vectors, and has its own hints and names of bits of CR.
        moves_own = form.entry.needs and text.startswith(("mf", "mt"))  # numbers that other families use otherwise
        if word >> 26 in (4, 16, 19) or moves_own or head in HABITS or (no_base and "u" in head):
            continue
        theirs = next(reader.disasm(word.to_bytes(4, "big"), AT), None)
        if theirs is None or theirs.mnemonic in ("mfspr", "mtspr"):
            continue
        same += 1
        if parts(f"{theirs.mnemonic} {theirs.op_str}".strip()) != parts(text):
            wrong.append(f"{text}: {theirs.mnemonic} {theirs.op_str}")
    assert same > 600 and not wrong, f"{same}\n" + "\n".join(wrong[:30])
