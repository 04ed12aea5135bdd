"""What people type behind a command's name: words, expressions and formats, as QEMU's monitor reads them.

Expressions have + and - over & | ^ over * / %, with - + ~ in front, parentheses, 'c' for a character, numbers as in C
and $name for a register. Values have 64 bits.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from emu.monitor.registry import HmpCommand, Refused

M64 = (1 << 64) - 1
LONGEST = 4096
DEEPEST = 64
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20}")
_NAME = re.compile(r"\$([A-Za-z_.][A-Za-z0-9_.]*)")
_ESCAPES = {"n": "\n", "r": "\r", "\\": "\\", "'": "'", '"': '"'}
_SUFFIX = {"": 20, "b": 0, "k": 10, "m": 20, "g": 30, "t": 40}


class Misused(Refused):
    """The words behind a command are not what it takes."""


@dataclass(frozen=True)
class Format:
    """`/4xw`: how many, how they are written (o x d u i c) and bytes of each."""

    count: int = 1
    letter: str = "x"
    size: int = 4
    given: bool = False


class Words:
    """The rest of a line, taken from its front."""

    def __init__(self, text: str, register: Callable[[str], int]) -> None:
        """`register` gives the value of a register or raises KeyError."""
        self._text = text
        self._at = 0
        self._register = register
        self._depth = 0

    def blanks(self) -> bool:
        """Go over blanks; whether something follows."""
        while self._at < len(self._text) and self._text[self._at].isspace():
            self._at += 1
        return self._at < len(self._text)

    def rest(self) -> str:
        """All that is left."""
        text, self._at = self._text[self._at :].strip(), len(self._text)
        return text

    def flag(self, letters: str) -> str | None:
        """`-f`, one of these letters."""
        if self.blanks() and re.match(rf"-[{letters}](\s|$)", self._text[self._at :]):
            self._at += 2
            return self._text[self._at - 1]
        return None

    def word(self) -> str:
        """Up to the next blank, or a text in double quotes."""
        if not self.blanks():
            raise Misused("a word is missing")
        if self._text[self._at] != '"':
            start = self._at
            while self._at < len(self._text) and not self._text[self._at].isspace():
                self._at += 1
            return self._text[start : self._at]
        self._at += 1
        out: list[str] = []
        while True:
            if self._at >= len(self._text):
                raise Misused("a text in quotes has no end")
            char = self._text[self._at]
            self._at += 1
            if char == '"':
                return "".join(out)
            if char == "\\" and self._at < len(self._text):
                char = _ESCAPES.get(self._text[self._at], self._text[self._at])
                self._at += 1
            out.append(char)

    def format(self, letter: str) -> Format:
        """`/FORMAT` if there is one."""
        if not self.blanks() or self._text[self._at] != "/":
            return Format(letter=letter)
        match = re.compile(r"/([0-9]{0,9})([a-z]*)").match(self._text, self._at)
        if match is None:
            return Format(letter=letter)
        self._at = match.end()
        letters, size = "x", 4
        sized = False
        for char in match[2]:
            if char in "oxduic":
                letters = char
            elif char in "bhwg":
                size, sized = {"b": 1, "h": 2, "w": 4, "g": 8}[char], True
            else:
                raise Misused(f"invalid char in format: '{char}'")
        if letters == "c" and not sized:
            size = 1
        return Format(int(match[1] or 1), letters, size, True)

    def expression(self) -> int:
        """A number."""
        return self._sum()

    def size(self) -> int:
        """A number of bytes written in MiB or with a suffix."""
        match = re.fullmatch(r"([0-9]{1,15})([bBkKmMgGtT]?)", word := self.word())
        if match is None:
            raise Misused(f"expected a size, found '{word[:40]}'")
        return int(match[1]) << _SUFFIX[match[2].lower()]

    def switch(self) -> bool:
        """on or off."""
        word = self.word()
        if word not in ("on", "off"):
            raise Misused("Expected 'on' or 'off'")
        return word == "on"

    def end(self) -> None:
        """Nothing may follow."""
        if self.blanks():
            raise Misused(f"too many arguments: {self.rest()[:80]}")

    # -- expressions

    def _peek(self, chars: str) -> str:
        if self.blanks() and self._text[self._at] in chars:
            self._at += 1
            return self._text[self._at - 1]
        return ""

    def _sum(self) -> int:
        value = self._logic()
        while sign := self._peek("+-"):
            other = self._logic()
            value = (value + other if sign == "+" else value - other) & M64
        return value

    def _logic(self) -> int:
        value = self._product()
        while sign := self._peek("&|^"):
            other = self._product()
            value = value & other if sign == "&" else value | other if sign == "|" else value ^ other
        return value

    def _product(self) -> int:
        value = self._unary()
        while not self._path() and (sign := self._peek("*/%")):
            other = self._unary()
            if sign == "*":
                value = value * other & M64
            elif not other:
                raise Misused("division by zero")
            else:
                value = value // other if sign == "/" else value % other
        return value

    def _path(self) -> bool:
        """Whether a file name follows, not a division: `memsave 0 9 /tmp/x`."""
        return self.blanks() and re.match(r"/[A-Za-z_.]", self._text[self._at :]) is not None

    def _unary(self) -> int:
        if not self.blanks():
            raise Misused("unexpected end of expression")
        self._depth += 1
        if self._depth > DEEPEST:
            raise Misused("the expression is nested too deeply")
        try:
            return self._operand()
        finally:
            self._depth -= 1

    def _operand(self) -> int:
        if sign := self._peek("+-~"):
            value = self._unary()
            return value if sign == "+" else -value & M64 if sign == "-" else ~value & M64
        if self._peek("("):
            value = self._sum()
            if not self._peek(")"):
                raise Misused("')' expected")
            return value
        text, at = self._text, self._at
        if text[at] == "'":
            if text[at + 2 : at + 3] != "'":
                raise Misused("missing terminating ' character")
            self._at += 3
            return ord(text[at + 1]) & 0xFF
        if name := _NAME.match(text, at):
            self._at = name.end()
            try:
                return self._register(name[1].lower()) & M64
            except (KeyError, ValueError):
                raise Misused("unknown register") from None
        match = _NUMBER.match(text, at)
        if match is None:
            raise Misused("invalid char in expression")
        self._at = match.end()
        digits = match[0]
        if digits[:2] in ("0x", "0X"):
            return int(digits, 16)
        if digits[0] == "0" and len(digits) > 1:
            try:
                return int(digits, 8) & M64
            except ValueError:
                raise Misused("invalid char in expression") from None
        value = int(digits)
        if value > M64:
            raise Misused("number too large")
        return value


def arguments(command: HmpCommand, text: str, register: Callable[[str], int]) -> dict[str, Any]:
    """The keyword arguments that a line means. Raises Misused."""
    words = Words(text, register)
    found: dict[str, Any] = {}
    letters = "".join(command.flags)
    while letters and (letter := words.flag(letters)):
        found[command.flags[letter]] = True
    for spec in command.args:
        name, _, kind = spec.partition(":")
        optional = kind.endswith("?")
        kind = kind.rstrip("?")
        if kind[0] == "/":
            found[name] = words.format(kind[1:] or "x")
            continue
        if not words.blanks():
            if optional:
                break
            raise Misused("unexpected end of expression" if kind == "i" else f"{name} is missing")
        if kind == "i":
            found[name] = words.expression()
        elif kind == "b":
            found[name] = words.switch()
        elif kind == "M":
            found[name] = words.size()
        elif kind == "r":
            found[name] = words.rest()
        else:
            found[name] = words.word()
    words.end()
    return found
