"""JSON as it arrives, in any pieces."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.monitor.json_stream import DEEPEST, LONGEST, JsonStream

KEYS = st.text(st.characters(min_codepoint=1, max_codepoint=0x7E))
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def all_of(*pieces: bytes) -> list[tuple[str, Any]]:
    stream = JsonStream()
    return [event for piece in pieces for event in stream.feed(piece)]


@given(st.lists(VALUES, min_size=1, max_size=4), st.integers(1, 20), st.sampled_from([None, 2]))
def test_values_come_out_as_they_went_in_however_they_are_cut(values: list[Any], size: int, indent: int | None) -> None:
    text = b"".join(json.dumps(value, indent=indent).encode() + b"\n" for value in values)
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert all_of(*pieces) == [("value", value) for value in values]


@given(st.binary(max_size=200))
def test_any_bytes_leave_the_next_line_readable(data: bytes) -> None:
    stream = JsonStream()
    list(stream.feed(data + b"\xff\n"))
    list(stream.feed(b"\n"))
    assert list(stream.feed(b'\xff{"a": 1}\n'))[-1] == ("value", {"a": 1})


@pytest.mark.parametrize(
    "text",
    [
        b"}", b"]", b"[1 2]", b'{"a" 1}', b'{"a":1,}', b"{1:2}", b"nul ", b"01 ", b"1. ", b"-", b"+1 ", b"NaN ",
        b"1e999 ",
        b'"\\x"', b'"\\ud800"', b'"\\u0000"', b'"a\tb"', b'"\xc3"', b"\x00", b",", b":", b"[,]", b"{,}", b"[1}",
    ],
)  # fmt: skip
def test_what_is_no_json_costs_its_line_only(text: bytes) -> None:
    events = all_of(text + b'\n{"next": 2}\n')
    assert events[0][0] == "error" and events[-1] == ("value", {"next": 2})


def test_single_quotes_and_values_without_a_line_of_their_own() -> None:
    assert all_of(b"{'a': '\"'}{\"b\": \"'\"} 3 true\n") == [
        ("value", {"a": '"'}), ("value", {"b": "'"}), ("value", 3), ("value", True),
    ]  # fmt: skip


def test_integers_beyond_64_bits_are_floating() -> None:
    ((_, values),) = all_of(b"[18446744073709551615, 18446744073709551616, -9223372036854775809]")
    assert values == [(1 << 64) - 1, float(1 << 64), -float(1 << 63)]
    assert [type(value) for value in values] == [int, float, float]


def test_depth_has_a_limit() -> None:
    assert all_of(b"[" * DEEPEST + b"]" * DEEPEST)[0][0] == "value"
    events = all_of(b"[" * 100_000 + b"\n1\n")
    assert events == [("error", f"values are nested deeper than {DEEPEST}"), ("value", 1)]


@pytest.mark.slow
def test_length_has_a_limit() -> None:
    stream = JsonStream()
    events = [
        event
        for _ in range(LONGEST // 1000)
        for event in stream.feed(b'"' + b"x" * 998 + b"" if _ == 0 else b"x" * 1000)
    ]
    assert events == [] and not stream.too_long
    assert [kind for kind, _ in stream.feed(b"x" * 10_000)] == ["error"]
    assert stream.too_long and list(stream.feed(b"1\n")) == []


@pytest.mark.slow
def test_a_long_list_of_small_values_has_the_same_limit() -> None:
    stream = JsonStream()
    events = [event for _ in range(20) for event in stream.feed(b"[" if _ == 0 else b"1," * 40_000)]
    assert [kind for kind, _ in events] == ["error"] and stream.too_long
