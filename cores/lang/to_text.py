"""Core-agnostic pieces of the text lowerings: syntax templates, number texts, tokens and expressions.

An entry's syntax such as `"jmp far {target}"` is a `Template`. The disassembler of a core fills it, its assembler
matches operands against it. `parse_expression` reads what both assembler operands and directives are made of.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache

Lookup = Callable[[str], int]


class TextError(Exception):
    """Text that cannot be read as what was expected; one line, for people."""


@dataclass(frozen=True)
class Template:
    """A syntax taken apart. Each slot is either `{name}` of an operand or a literal operand such as `st`."""

    mnemonic: str
    modifier: str  # a word between mnemonic and operands, "" if there is none
    slots: tuple[str, ...]

    def names(self) -> Iterator[str]:
        """The operand names, in the order of the text."""
        return (s[1:-1] for s in self.slots if s.startswith("{"))

    def fill(self, operands: dict[str, str], mnemonic: str | None = None) -> str:
        """The text with operand texts in place of their names."""
        texts = [operands[s[1:-1]] if s.startswith("{") else operands.get(s, s) for s in self.slots]
        head = " ".join(w for w in (self.mnemonic if mnemonic is None else mnemonic, self.modifier) if w)
        return f"{head} {', '.join(texts)}" if texts else head


@cache
def template(syntax: str) -> Template:
    """Take a syntax apart: `mnemonic [modifier] operand, operand`."""
    mnemonic, _, rest = syntax.partition(" ")
    modifier, _, operands = rest.partition(" ")
    if not operands or modifier.endswith(",") or modifier.startswith("{"):
        modifier, operands = "", rest
    return Template(mnemonic, modifier, tuple(s.strip() for s in operands.split(",") if s.strip()))


def hex_text(value: int) -> str:
    """`0x1f`, or `-0x1f` for a negative number."""
    return f"-{-value:#x}" if value < 0 else f"{value:#x}"


def signed_text(value: int) -> str:
    """A number with its sign in front, as a displacement stands after a register: `+0x8`, `-0x4`."""
    return hex_text(value) if value < 0 else f"+{value:#x}"


def bytes_text(data: bytes) -> str:
    """`13 43 08`."""
    return data.hex(" ")


def db_text(data: bytes) -> str:
    """Bytes that are no instruction: `db 0x0f, 0xff`."""
    return "db " + ", ".join(f"{b:#04x}" for b in data)


def nearest(word: str, known: Iterable[str]) -> str:
    """What was probably meant: the same letters in another order, else the closest name; "" if there is none."""
    names = list(known)
    letters = sorted(word)
    swapped = [n for n in names if n != word and sorted(n) == letters]
    near = swapped or difflib.get_close_matches(word, names, 1)
    return near[0] if near else ""


# --- tokens ----------------------------------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>"[^"]*"|'[^']*'|`(?:\\.|[^`\\])*`)
    | (?P<number>0[xX][0-9A-Fa-f_]+|0[bB][01_]+|0[oO][0-7_]+|[0-9][0-9A-Fa-f_]*[hH]\b|[0-9][0-9_]*)
    | (?P<name>[A-Za-z_.?@][A-Za-z0-9_.?@]*|\$\$|\$)
    | (?P<op><<|>>|[-+*/%&|^~(),:\[\]])
    )""",
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "0": "\0", "e": "\x1b", "a": "\a", "b": "\b"}


@dataclass(frozen=True)
class Token:
    """One token: kind `string`, `number`, `name` or `op`."""

    kind: str
    text: str

    @property
    def word(self) -> str:
        """The text in lower case if it is a name, else nothing."""
        return self.text.lower() if self.kind == "name" else ""

    def string(self) -> bytes:
        """What a string token stands for. Only back-quoted strings know escapes."""
        body = self.text[1:-1]
        if self.text[0] == "`":
            body = re.sub(r"\\(x[0-9A-Fa-f]{2}|.)", _escape, body)
            return body.encode("latin-1", "replace")
        return body.encode("utf-8")


def _escape(m: re.Match[str]) -> str:
    code = m.group(1)
    return chr(int(code[1:], 16)) if len(code) == 3 else _ESCAPES.get(code, code)


class Tokens:
    """The tokens of one line, with a place in it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.items: list[Token] = []
        self.at = 0
        pos = 0
        while pos < len(text):
            m = _TOKEN.match(text, pos)
            if m is None:
                rest = text[pos:].strip()
                if not rest:
                    break
                if rest[0] in "\"'`":
                    raise TextError(f"the string {rest[:20]} does not end")
                raise TextError(f"{rest[0]!r} is not expected in {text.strip()!r}")
            self.items.append(Token(str(m.lastgroup), m.group(str(m.lastgroup))))
            pos = m.end()

    @property
    def next(self) -> Token | None:
        """The token that comes next."""
        return self.items[self.at] if self.at < len(self.items) else None

    def ahead(self, n: int) -> Token | None:
        """The token `n` places after the next one."""
        return self.items[self.at + n] if self.at + n < len(self.items) else None

    def take(self) -> Token:
        """Use up the next token."""
        token = self.next
        if token is None:
            raise TextError("the line ends where more is expected")
        self.at += 1
        return token

    def accept(self, *texts: str) -> bool:
        """Use up the next token if it is one of these operators or (in any case) words."""
        token = self.next
        if (
            token is not None
            and token.kind != "string"
            and (token.text in texts or (token.word and token.word in texts))
        ):
            self.at += 1
            return True
        return False

    def expect(self, text: str) -> None:
        """Use up this operator; anything else is an error."""
        if not self.accept(text):
            found = self.next
            raise TextError(f"{text!r} expected" + (f" before {found.text!r}" if found else " at the end"))

    def end(self) -> None:
        """Nothing may be left."""
        if self.next is not None:
            raise TextError(f"{self.next.text!r} is not expected here")


# --- expressions -----------------------------------------------------------------------------------------------------


def _quotient(a: int, b: int) -> int:
    if not b:
        raise TextError("division by zero")
    q = abs(a) // abs(b)
    return q if (a < 0) == (b < 0) else -q


def _shift_left(a: int, b: int) -> int:
    if not 0 <= b <= 64:
        raise TextError(f"a shift by {b}")
    return a << b


_BINARY: dict[str, Callable[[int, int], int]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": _quotient, "%": lambda a, b: a - b * _quotient(a, b),
    "<<": _shift_left, ">>": lambda a, b: a >> max(b, 0), "&": operator.and_, "|": operator.or_, "^": operator.xor,
}  # fmt: skip
_LEVELS = (("|",), ("^",), ("&",), ("<<", ">>"), ("+", "-"), ("*", "/", "%"))
MAX_DEPTH = 50


@dataclass(frozen=True)
class Node:
    """An expression: `num` and `sym` have a value, everything else is an operator on `args`."""

    op: str
    args: tuple[Node, ...] = ()
    number: int = 0
    name: str = ""

    def value(self, lookup: Lookup) -> int:
        """Its value, with symbols as `lookup` knows them."""
        if self.op == "num":
            return self.number
        if self.op == "sym":
            return lookup(self.name)
        values = [a.value(lookup) for a in self.args]
        if len(values) == 1:
            return -values[0] if self.op == "-" else ~values[0]
        return _BINARY[self.op](values[0], values[1])

    def symbols(self) -> set[str]:
        """All names in it."""
        return {self.name} if self.op == "sym" else set().union(*(a.symbols() for a in self.args))


def num(value: int) -> Node:
    """A number as an expression."""
    return Node("num", number=value)


def number_of(text: str) -> int:
    """The value of a number token: decimal, `0x1f`, `1fh`, `0b101`, `0o17`, with `_` between digits."""
    t = text.lower().replace("_", "")
    try:
        if t.startswith(("0x", "0b", "0o")):
            return int(t, 0)
        return int(t[:-1], 16) if t.endswith("h") else int(t, 10)
    except ValueError:
        raise TextError(f"{text!r} is not a number") from None


def parse_expression(tokens: Tokens, depth: int = 0) -> Node:
    """Read an expression with + - * / % << >> & | ^ ~ ( ); names are `sym` nodes."""
    return _level(tokens, 0, depth)


def _level(tokens: Tokens, level: int, depth: int) -> Node:
    if depth > MAX_DEPTH:
        raise TextError("the expression is nested too deeply")
    if level == len(_LEVELS):
        return _unary(tokens, depth)
    left = _level(tokens, level + 1, depth)
    terms = 0
    while tokens.next is not None and tokens.next.kind == "op" and tokens.next.text in _LEVELS[level]:
        op = tokens.take().text
        left = Node(op, (left, _level(tokens, level + 1, depth)))
        terms += 1
        if terms > 4 * MAX_DEPTH:
            raise TextError("the expression is too long")
    return left


def _unary(tokens: Tokens, depth: int) -> Node:
    if depth > MAX_DEPTH:
        raise TextError("the expression is nested too deeply")
    if tokens.accept("-"):
        return Node("-", (_unary(tokens, depth + 1),))
    if tokens.accept("+"):
        return _unary(tokens, depth + 1)
    if tokens.accept("~"):
        return Node("~", (_unary(tokens, depth + 1),))
    if tokens.accept("("):
        inner = parse_expression(tokens, depth + 1)
        tokens.expect(")")
        return inner
    token = tokens.next
    if token is None:
        raise TextError("a number or a name is expected at the end")
    if token.kind == "op":
        raise TextError(f"a number or a name is expected before {token.text!r}")
    tokens.take()
    if token.kind == "number":
        return num(number_of(token.text))
    if token.kind == "string":
        data = token.string()
        if not 1 <= len(data) <= 8:
            raise TextError(f"the string {token.text} is no number: it has {len(data)} bytes, not 1 to 8")
        return num(int.from_bytes(data, "little"))
    return Node("sym", name=token.text)
