"""Command lines of the small tools: what argparse finds wrong becomes one line and status 1, as everywhere in Emu."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator, Sequence
from typing import NoReturn

from emu.options import UsageError


class Words(argparse.ArgumentParser):
    """An argument parser that raises UsageError."""

    def __init__(self, name: str, description: str) -> None:
        super().__init__(prog=f"emu {name}", description=description, allow_abbrev=False)
        self.name = name

    def error(self, message: str) -> NoReturn:
        """Something does not fit."""
        raise UsageError(f"{self.name}: {message}")


def own_words(words: Sequence[str], names: Collection[str], rest: list[str]) -> Iterator[tuple[str, str]]:
    """A tool's own options, (name, value) each, among words that are meant for `emu run`: those go to `rest`.

    Raises UsageError for an option without its value.
    """
    left = iter(words)
    for word in left:
        name, has_value, value = word.lstrip("-").partition("=")
        if not word.startswith("-") or name not in names:
            rest.append(word)
            continue
        given = value if has_value else next(left, None)
        if given is None:
            raise UsageError(f"{word}: expected a value after it")
        yield name, given


def address(text: str) -> int:
    """An address of 32 bits, as 0x7c00, 7c00h or 31744."""
    t = text.lower()
    try:
        value = int(t[:-1], 16) if t.endswith("h") else int(t, 0)
    except ValueError:
        value = -1
    if not 0 <= value <= 0xFFFFFFFF:
        raise argparse.ArgumentTypeError(f"expected a number of 32 bits such as 0x7c00, found {text!r}")
    return value


def count(text: str) -> int:
    """How many: 1 to a million."""
    if not (text.isascii() and text.isdigit() and len(text) < 8 and 1 <= int(text) <= 1_000_000):
        raise argparse.ArgumentTypeError(f"expected 1 to 1000000, found {text!r}")
    return int(text)


def bits(text: str) -> bool:
    """`--bits`: whether it says 32."""
    if text not in ("16", "32"):
        raise argparse.ArgumentTypeError(f"expected 16 or 32, found {text!r}")
    return text == "32"


def arch(parser: argparse.ArgumentParser) -> None:
    """`--arch`."""
    parser.add_argument("--arch", choices=("x86", "ppc"), default="x86", help="instruction set (x86)")


def hex_bytes(text: str) -> bytes:
    """Bytes from `b8 01 00`, `b80100`, `0xb8,0x01` or `b8:01:00`. Raises UsageError."""
    digits = "".join(w[2:] if w[:2].lower() == "0x" else w for w in text.replace(",", " ").replace(":", " ").split())
    try:
        data = bytes.fromhex(digits)
    except ValueError:
        raise UsageError(f"{text.strip()[:40]!r} is not a row of bytes in hex, such as 'b8 01 00'") from None
    if not data:
        raise UsageError("no bytes are given")
    return data


__all__ = ["Words", "address", "arch", "bits", "count", "hex_bytes", "own_words"]
