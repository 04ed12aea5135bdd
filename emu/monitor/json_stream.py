"""JSON as it arrives: values cut out of a stream of bytes, with bounds on everything a client decides.

A value may stretch over lines, and several may stand on one. After something that is no JSON the rest of its line is
skipped, so that a client which sends a value a line loses that line only; the byte FFh, which is no UTF-8, starts over
silently. Strings may stand in single quotes too, as QEMU has it. RFC 8259.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

LONGEST = 1 << 20
"""Bytes of one value."""
DEEPEST = 64
INTEGERS = range(-(1 << 63), 1 << 64)

_BLANK = re.compile(rb"[ \t\r\n]*")
_WORD = re.compile(rb"[-+.0-9A-Za-z_]+")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_INSIDE = {
    0x22: re.compile(rb'[^"\\\x00-\x1f\xff]*(?:\\[^\x00-\x1f\xff][^"\\\x00-\x1f\xff]*)*'),
    0x27: re.compile(rb"[^'\\\x00-\x1f\xff]*(?:\\[^\x00-\x1f\xff][^'\\\x00-\x1f\xff]*)*"),
}
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "/": "/", "\\": "\\", '"': '"', "'": "'"}
_LITERALS = {"true": True, "false": False, "null": None}
START_OVER = 0xFF


class Malformed(Exception):
    """What came is no JSON; the text says why."""


class JsonStream:
    """Feed it bytes, get values."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._skipping = False
        self.too_long = False
        """A value exceeded `LONGEST`: nothing that follows can be trusted."""
        self._begin()

    def _begin(self) -> None:
        """Before the first byte of a value."""
        self._stack: list[dict[str, Any] | list[Any]] = []
        self._keys: list[str] = []
        self._wants = "value"
        self._size = 0

    def feed(self, data: bytes) -> Iterator[tuple[str, Any]]:
        """("value", it) for each value that is complete, ("error", why) for what is none."""
        if self.too_long:
            return
        self._buffer += data
        while self._buffer:
            if self._skipping and not self._skip():
                return
            try:
                found = self._value()
            except Malformed as error:
                self._begin()
                self._skipping = True
                yield "error", str(error)
                continue
            if not found:
                break
            value = found[0]
            self._begin()
            yield "value", value
        if self._size + len(self._buffer) > LONGEST:
            self.too_long = True
            self._buffer.clear()
            yield "error", f"a value is longer than {LONGEST} bytes"

    def _skip(self) -> bool:
        """Drop the rest of a line; whether its end was there."""
        ends = [at for at in (self._buffer.find(b"\n"), self._buffer.find(b"\xff")) if at >= 0]
        del self._buffer[: min(ends) + 1 if ends else len(self._buffer)]
        self._skipping = not ends
        return bool(ends)

    def _value(self) -> tuple[Any] | None:
        """The next complete value, None if the rest of it has yet to come. Raises Malformed."""
        buffer = self._buffer
        at = 0
        try:
            while True:
                blank = _BLANK.match(buffer, at)
                at = blank.end() if blank is not None else at
                if at >= len(buffer):
                    return None
                end = self._token(buffer, at)
                if end is None:
                    return None
                at = end
                if self._done is not None:
                    return self._done
                if self._size + at > LONGEST:
                    return None
        finally:
            self._size += at
            del buffer[:at]

    def _token(self, buffer: bytearray, at: int) -> int | None:
        """Take one token; where it ends, None if its end has yet to come."""
        self._done: tuple[Any] | None = None
        char = buffer[at]
        if char == START_OVER:
            self._begin()
            return at + 1
        if char in b"{[":
            self._open({} if char == 0x7B else [])
            return at + 1
        if char in b"}]":
            self._close(char)
            return at + 1
        if char in b",:":
            self._separator(char)
            return at + 1
        if char in _INSIDE:
            inside = _INSIDE[char].match(buffer, at + 1)
            end = at + 1 if inside is None else inside.end()
            if end >= len(buffer) or (buffer[end] == 0x5C and end + 1 >= len(buffer)):
                return None
            if buffer[end] != char:
                raise Malformed(f"byte {buffer[end]:#04x} in a string")
            self._scalar(_text(bytes(buffer[at + 1 : end])), True)
            return end + 1
        word = _WORD.match(buffer, at)
        if word is None:
            raise Malformed(f"unexpected byte {char:#04x}")
        if word.end() == len(buffer):
            return None
        self._scalar(_literal(word[0].decode("ascii")), False)
        return word.end()

    def _open(self, container: dict[str, Any] | list[Any]) -> None:
        if self._wants not in ("value", "value or end"):
            raise Malformed(f"expected {self._wants}, found the start of a value")
        if len(self._stack) >= DEEPEST:
            raise Malformed(f"values are nested deeper than {DEEPEST}")
        self._stack.append(container)
        self._wants = "key or end" if isinstance(container, dict) else "value or end"

    def _close(self, char: int) -> None:
        container = self._stack[-1] if self._stack else None
        fits = isinstance(container, dict if char == 0x7D else list)
        if not fits or self._wants not in ("key or end", "value or end", "comma or end"):
            raise Malformed(f"unexpected '{chr(char)}'")
        self._stack.pop()
        self._put(container)

    def _separator(self, char: int) -> None:
        if char == 0x3A and self._wants == "colon":
            self._wants = "value"
        elif char == 0x2C and self._wants == "comma or end" and self._stack:
            self._wants = "key" if isinstance(self._stack[-1], dict) else "value"
        else:
            raise Malformed(f"unexpected '{chr(char)}'")

    def _scalar(self, value: Any, is_text: bool) -> None:
        if self._wants in ("key", "key or end"):
            if not is_text:
                raise Malformed("expected a string as key")
            self._keys.append(value)
            self._wants = "colon"
        elif self._wants in ("value", "value or end"):
            self._put(value)
        else:
            raise Malformed(f"expected {self._wants}, found a value")

    def _put(self, value: Any) -> None:
        """A value is complete: it goes into what it stands in."""
        if not self._stack:
            self._done = (value,)
            return
        outer = self._stack[-1]
        if isinstance(outer, dict):
            outer[self._keys.pop()] = value
        else:
            outer.append(value)
        self._wants = "comma or end"


def _literal(word: str) -> Any:
    if word in _LITERALS:
        return _LITERALS[word]
    match = _NUMBER.fullmatch(word)
    if match is None:
        raise Malformed(f"'{word[:40]}' is no value")
    if match[1] is None and match[2] is None and len(word) <= 20 and int(word) in INTEGERS:
        return int(word)
    number = float(word)
    if number in (float("inf"), float("-inf")):
        raise Malformed("a number is too large")
    return number


def _text(raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise Malformed("a string is not UTF-8") from None
    if "\\" in text:
        text = _ESCAPE.sub(_unescaped, text)
        try:
            # Two halves of a pair become the character; a half alone is nothing.
            text = text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise Malformed("a string has half of a surrogate pair") from None
    if "\0" in text:
        raise Malformed("a string has a zero byte")
    return text


def _unescaped(match: re.Match[str]) -> str:
    body = match[1]
    if body[0] == "u" and len(body) == 5:
        return chr(int(body[1:], 16))
    if body not in _ESCAPED:
        raise Malformed(f"unknown escape '\\{body}'")
    return _ESCAPED[body]
