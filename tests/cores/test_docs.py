from __future__ import annotations

import re
from pathlib import Path

import pytest

from cores.lang.state import State
from cores.lang.to_docs import Names, pseudo_code, table
from cores.lang.trace import RegisterLocation, Tracer, otherwise, when
from cores.x86 import docs
from cores.x86.decoder import tables

STATE = State()
A = STATE.register("a", 32)
FLAG = STATE.register("flag", 1)


def test_pseudo_code_of_a_small_body() -> None:
    with Tracer() as t:
        x = RegisterLocation(A).read()
        total = x + 0x10
        with when(total < x):
            RegisterLocation(FLAG).set(1)
        with otherwise():
            RegisterLocation(FLAG).set(0)
        RegisterLocation(A).set(total)
        block = t.finish("body")
    assert pseudo_code(block, Names()) == [
        "a = a",
        "b = a + 0x10",
        "if b < a:",
        "    flag := 1",
        "else:",
        "    flag := 0",
        "a := b",
    ]


def test_long_operations_are_cut_and_say_so() -> None:
    with Tracer() as t:
        for k in range(30):
            RegisterLocation(A).set(k)
        block = t.finish("body")
    lines = pseudo_code(block, Names(), limit=10)
    assert len(lines) == 7
    assert lines[-1] == "... (24 more lines)"


def test_a_table_escapes_bars() -> None:
    assert table(("a", "b"), [("x|y", "")]) == ["| a | b |", "|---|---|", "| x\\|y |   |"]


def section(mnemonic: str) -> str:
    return "\n".join(line for entry in docs.find(mnemonic) for line in docs.entry_page(entry))


def test_the_section_of_an_entry_says_everything_about_it() -> None:
    text = section("adc")
    assert text.startswith("## ADD OR ADC SBB AND SUB XOR CMP")
    assert "| `adc` | `13 /r` | Gv, Ev | 16, 32 |" in text
    assert "| `adc` | `83 /2 ib` | Ev, Ibs | 16, 32 |" in text
    assert "| or, and, xor | 0 | M | U | M | M | 0 |" in text
    assert "| adc, sbb | T M | M | M | M | M | M |" in text
    assert "LOCK is allowed where the destination is memory." in text
    assert "dst := c" in text


def test_names_of_both_operand_sizes_share_a_row() -> None:
    assert "| `cbw`, `cwde` | `98` |   | 16, 32 |" in section("cbw")


def test_a_feature_and_its_exception_are_named() -> None:
    text = section("cmove")
    assert "Needs the feature `cmov`." in text
    assert "- #UD: a processor without cmov" in text


def test_a_mandatory_prefix_is_part_of_the_encoding() -> None:
    assert "`66 0F 70 /r ib`" in section("pshufd")
    assert "`D9 /5 rm=3`" in section("fldpi")


@pytest.mark.parametrize("chapter", ["alu", "move", "control", "string"])
def test_a_chapter_page_has_a_section_for_every_entry(chapter: str) -> None:
    entries = docs.chapters()[chapter]
    page = docs.chapter_page(chapter, entries)
    assert page.count("\n## ") == len(entries)
    for entry in entries:
        assert entry.doc in page
    fences = [line for line in page.splitlines() if line == "```"]
    assert len(fences) == 4 * len(entries)
    assert not re.search(r"%\d|\bNone\b(?!\.\n)", page)


def test_every_form_has_an_encoding_of_the_manuals_shape() -> None:
    shape = re.compile(
        r"((NP|66|F3|F2) )?(0F (38 |3A )?)?[0-9A-F]{2}(\+r)?( /[r0-7])?( rm=[0-7])?( (ib|iw|id|iz|cb|cz|cp|co))*$"
    )
    assert [f.ident for f in tables().forms if not shape.match(docs.pattern(f))] == []


def test_fewer_than_fifteen_of_a_hundred_entries_are_only_helpers(capsys: pytest.CaptureFixture[str]) -> None:
    total, helpers = docs.census()
    print(f"{helpers} of {total} entries only call a procedure")
    assert total > 300
    assert helpers < 0.15 * total


def test_an_entry_that_calls_itself_a_helper_calls_a_procedure() -> None:
    from cores.lang.ir import Call, Procedure, walk

    wrong = []
    for form in tables().forms:
        if not form.entry.helper:
            continue
        if not form.block:
            form.trace()
        if not any(isinstance(s, Call) and isinstance(s.callee, Procedure) for s in walk(form.block)):
            wrong.append(form.ident)
    assert wrong == []


def test_the_index_lists_every_chapter() -> None:
    page = docs.index_page()
    for chapter in docs.chapters():
        assert f"[{chapter}](x86-{chapter}.md)" in page
    assert f"{len(tables().forms)} forms" in page


@pytest.mark.slow
def test_all_pages_can_be_written(tmp_path: Path) -> None:
    paths = docs.write(tmp_path / "pages")
    assert paths[0].name == "x86.md"
    assert len(paths) == len(docs.chapters()) + 1
    assert all(p.stat().st_size > 500 for p in paths)
