"""The assembler's frame: lines, labels, directives and passes. A core's `Dialect` knows its instructions.

Directives: `org EXPR`, `db dw dd dq` (numbers, strings), `resb resw resd EXPR`, `times EXPR STATEMENT`,
`align EXPR [, FILL]`, `NAME equ EXPR`, and those of the dialect. A label ends in a colon; `.name` belongs to the label
before it. `$` is the address of the statement, `$$` that of the last `org`. Where encodings differ in length, the sizes
start small and only grow until nothing moves. `org` sets the address of what follows without filling.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from .to_text import Lookup, Node, TextError, Token, Tokens, nearest, num, parse_expression

DATA = {"db": 1, "dw": 2, "dd": 4, "dq": 8}
RESERVE = {"resb": 1, "resw": 2, "resd": 4, "resq": 8}
DIRECTIVES = {*DATA, *RESERVE, "times", "org", "equ", "align"}
MAX_PASSES = 60
MAX_SIZE = 1 << 26
MAX_REPEATS = 1 << 16  # of an instruction


class AsmError(Exception):
    """A mistake in a source: `file:line: what was expected`."""

    def __init__(self, file: str, line: int, why: str) -> None:
        super().__init__(f"{file}:{line}: {why}")
        self.file, self.line, self.why = file, line, why


class Code(Protocol):
    """An instruction as it was read."""

    fixed: bool
    """The bytes depend neither on symbols nor on its address."""

    def encode(self, lookup: Lookup, here: int, at_least: int = 0) -> bytes:
        """The shortest encoding of `at_least` bytes, the longest if all are shorter. Raises TextError."""
        ...


class Dialect(Protocol):
    """What the frame asks of a core."""

    @property
    def order(self) -> Literal["little", "big"]:
        """Of the bytes of data."""
        ...

    @property
    def comments(self) -> str:
        """Characters that begin a comment."""
        ...

    @property
    def directives(self) -> Collection[str]:
        """Its own directives."""
        ...

    @property
    def data(self) -> Mapping[str, int]:
        """Its own names of data directives, with the bytes of a unit."""
        ...

    def reserved(self, word: str) -> bool:
        """Whether a word cannot be a label."""
        ...

    def is_prefix(self, word: str) -> bool:
        """Whether `word:` may begin an instruction rather than be a label."""
        ...

    def is_mnemonic(self, word: str) -> bool:
        """Whether an instruction begins with this word."""
        ...

    def directive(self, word: str, tokens: Tokens, lookup: Lookup) -> None:
        """One of `directives`; its word is already taken."""
        ...

    def instruction(self, tokens: Tokens, lookup: Lookup) -> Code:
        """Read one instruction. Raises TextError."""
        ...

    def padding(self, count: int) -> bytes:
        """What `align` fills with."""
        ...


@dataclass
class Statement:
    """One statement of a source, after parsing."""

    line: int
    text: str
    kind: str  # "insn", "data", "fill", "align", "org", "equ", "label"
    name: str = ""
    code: Code | None = None
    items: list[Node | bytes] = field(default_factory=list)
    unit: int = 1
    times: Node | None = None
    fixed: bool = False  # the bytes depend on nothing but the statement
    scope: str = ""
    size: int = 0
    sizes: list[int] = field(default_factory=list)  # of the repetitions
    address: int = 0
    data: bytes = b""


@dataclass
class Program:
    """What a source became."""

    data: bytes
    symbols: dict[str, int]
    statements: list[Statement]

    def listing(self) -> str:
        """Address, bytes and source of each statement."""
        rows = []
        for s in self.statements:
            if s.kind in ("label", "equ", "org"):
                continue
            shown = s.data[:10].hex(" ") + (" ..." if len(s.data) > 10 else "")
            rows.append(f"{s.address:08x}  {shown:34} {s.text}")
        return "\n".join(rows)


class _Unknown(Exception):
    def __init__(self, name: str) -> None:
        self.name = name


class Assembler:
    """One run over one source."""

    def __init__(self, file: str, origin: int, dialect: Dialect) -> None:
        self.file = file
        self.origin = origin
        self.dialect = dialect
        self.units = {**DATA, **dialect.data}
        self.directives = {*DIRECTIVES, *dialect.directives, *dialect.data}
        self.statements: list[Statement] = []
        self.symbols: dict[str, int] = {}
        self.defined: dict[str, int] = {}
        self.here = origin
        self.base = origin
        self.scope = ""
        self.final = False

    # --- reading -----------------------------------------------------------------------------------------------------

    def read(self, text: str) -> None:
        """Parse all lines."""
        for number, line in enumerate(text.splitlines(), 1):
            try:
                tokens = Tokens(strip_comment(line, self.dialect.comments))
                self._line(tokens, number, line.strip())
            except TextError as error:
                raise AsmError(self.file, number, str(error)) from None
            except _Unknown as error:
                raise AsmError(self.file, number, f"{error.name} must be known here") from None

    def _line(self, tokens: Tokens, number: int, text: str) -> None:
        while tokens.next is not None:
            first, second = tokens.next, tokens.ahead(1)
            if first.kind == "name" and second is not None:
                if second.text == ":" and not self.dialect.is_prefix(first.word):
                    tokens.take()
                    tokens.take()
                    self._label(first, number)
                    continue
                if second.word == "equ":
                    tokens.take()
                    tokens.take()
                    self._equ(first, tokens, number, text)
                    return
                if second.word in self.units or second.word in RESERVE or second.word == "times":
                    tokens.take()
                    self._label(first, number)
                    continue
            known = self.dialect.is_mnemonic(first.word) or first.word in self.directives
            if first.kind == "name" and second is None and not known:
                if first.text.startswith("."):
                    tokens.take()
                    self._label(first, number)
                    continue
                raise TextError(f"{first.text!r} is no instruction; a label ends in a colon")
            self.statements.append(self._statement(tokens, number, text))
            return

    def _define(self, token: Token, number: int) -> str:
        name = token.text
        low = token.word
        if self.dialect.reserved(low) or low in self.directives or name.startswith("$"):
            raise TextError(f"{name} cannot be the name of a label")
        if name.startswith("."):
            name = self.scope + name
        if name in self.defined:
            raise TextError(f"{name} is already defined in line {self.defined[name]}")
        self.defined[name] = number
        return name

    def _label(self, token: Token, number: int) -> None:
        name = self._define(token, number)
        if not token.text.startswith("."):
            self.scope = name
        self.statements.append(Statement(number, "", "label", name))

    def _equ(self, token: Token, tokens: Tokens, number: int, text: str) -> None:
        name = self._define(token, number)
        node = parse_expression(tokens)
        tokens.end()
        self.statements.append(Statement(number, text, "equ", name, items=[node], scope=self.scope))
        # Known at once if it can be, for index factors further on.
        try:
            self.symbols[name] = node.value(self._early)
        except (_Unknown, TextError):
            pass

    def _early(self, name: str) -> int:
        full = self.scope + name if name.startswith(".") else name
        if full not in self.symbols:
            raise _Unknown(name)
        return self.symbols[full]

    def _statement(self, tokens: Tokens, number: int, text: str) -> Statement:
        word = tokens.next.word if tokens.next else ""
        s = Statement(number, text, "insn", scope=self.scope)
        if word == "times":
            tokens.take()
            count = parse_expression(tokens)
            inner = self._statement(tokens, number, text)
            if inner.kind not in ("insn", "data") or inner.times is not None:
                raise TextError("times goes with an instruction or with db, dw, dd, dq")
            inner.times = count
            inner.fixed = False
            return inner
        if word in self.units:
            tokens.take()
            s.kind, s.unit = "data", self.units[word]
            self._items(s, tokens)
        elif word in RESERVE:
            tokens.take()
            s.kind, s.unit = "data", RESERVE[word]
            s.times = parse_expression(tokens)
            s.items = [num(0)]
        elif word == "align":
            tokens.take()
            s.kind = "align"
            s.items = [parse_expression(tokens)]
            if tokens.accept(","):
                tokens.accept("db")
                s.items.append(parse_expression(tokens))
        elif word == "org":
            tokens.take()
            s.kind = "org"
            s.items = [parse_expression(tokens)]
        elif word in self.dialect.directives:
            tokens.take()
            self.dialect.directive(word, tokens, self._early)
            s.kind = "label"
        else:
            s.code = self.dialect.instruction(tokens, self._early)
            s.fixed = s.code.fixed
        tokens.end()
        return s

    def _items(self, s: Statement, tokens: Tokens) -> None:
        while True:
            token, after = tokens.next, tokens.ahead(1)
            if token is not None and token.kind == "string" and (after is None or after.text == ","):
                data = tokens.take().string()
                s.items.append(data + bytes(-len(data) % s.unit))
            else:
                s.items.append(parse_expression(tokens))
            if not tokens.accept(","):
                return

    # --- passes ------------------------------------------------------------------------------------------------------

    def _lookup(self, scope: str) -> Lookup:
        def find(name: str) -> int:
            if name == "$":
                return self.here
            if name == "$$":
                return self.base
            full = scope + name if name.startswith(".") else name
            if full in self.symbols:
                return self.symbols[full]
            if self.final or full not in self.defined:
                raise TextError(f"{name} is not defined" + _nearby(full, self.defined))
            return self.here

        return find

    def run(self) -> Program:
        """Passes until nothing moves, then one in which every value must fit."""
        for _ in range(MAX_PASSES):
            if not self._pass():
                self.final = True
                if not self._pass():
                    data = b"".join(s.data for s in self.statements)
                    return Program(data, dict(self.symbols), self.statements)
                self.final = False
        raise AsmError(self.file, 1, f"sizes do not settle in {MAX_PASSES} passes")

    def _pass(self) -> bool:
        """One pass over all statements; gives whether a size or a symbol changed."""
        changed = False
        self.here = self.base = self.origin
        total = 0
        for s in self.statements:
            s.address = self.here
            try:
                if s.kind == "label":
                    if s.name:
                        changed |= self._assign(s.name, self.here)
                    continue
                data = self._bytes(s)
            except TextError as error:
                raise AsmError(self.file, s.line, str(error)) from None
            if s.kind == "equ":
                changed |= self._assign(s.name, self._value(s, 0))
                continue
            changed |= len(data) != s.size
            s.data, s.size = data, len(data)
            self.here += len(data)
            total += len(data)
            if total > MAX_SIZE:
                raise AsmError(self.file, s.line, f"the output is larger than {MAX_SIZE} bytes")
        return changed

    def _assign(self, name: str, value: int) -> bool:
        changed = self.symbols.get(name) != value
        self.symbols[name] = value
        return changed

    def _value(self, s: Statement, n: int) -> int:
        item = s.items[n]
        return item.value(self._lookup(s.scope)) if isinstance(item, Node) else 0

    def _bytes(self, s: Statement) -> bytes:
        lookup = self._lookup(s.scope)
        if s.kind == "equ":
            self._value(s, 0)
            return b""
        if s.kind == "org":
            self.here = self.base = self._value(s, 0)
            return b""
        if s.kind == "align":
            to = self._value(s, 0)
            if to <= 0 or to & (to - 1):
                raise TextError(f"align {to}: a power of two is expected")
            if to > MAX_SIZE:
                raise TextError(f"align {to} is too far")
            gap = -self.here % to
            return bytes([self._value(s, 1) & 0xFF]) * gap if len(s.items) > 1 else self.dialect.padding(gap)
        count = 1
        if s.times is not None:
            count = s.times.value(lookup)
            if count < 0 and self.final:
                raise TextError(f"times {count}: what comes before is {-count} bytes too long")
            count = max(count, 0)
            if count > (MAX_SIZE if s.kind == "data" else MAX_REPEATS):
                raise TextError(f"times {count} is too often")
        if s.kind == "data":
            data = self._data(s)
            if len(data) * count > MAX_SIZE:
                raise TextError(f"the output is larger than {MAX_SIZE} bytes")
            return data * count
        if s.fixed and s.code is not None:
            return s.data or s.code.encode(lookup, self.here)
        if s.times is None:
            return self._encode(s, lookup, s.size)
        # Each repetition has an address of its own.
        out = bytearray()
        start = self.here
        try:
            for k in range(count):
                one = self._encode(s, lookup, s.sizes[k] if k < len(s.sizes) else 0)
                s.sizes[k : k + 1] = [len(one)]
                out += one
                self.here = start + len(out)
        finally:
            self.here = start
        return bytes(out)

    def _encode(self, s: Statement, lookup: Lookup, at_least: int) -> bytes:
        if s.code is None:
            return b""
        try:
            return s.code.encode(lookup, self.here, at_least)
        except TextError:
            if self.final:
                raise
        # A value that is not settled yet: any encoding will do for now, none shorter than before.
        for guess in (0, self.here):
            try:
                return bytes(max(at_least, len(s.code.encode(_always(guess), self.here))))
            except TextError:
                continue
        return bytes(max(at_least, 1))

    def _data(self, s: Statement) -> bytes:
        out = bytearray()
        bits = 8 * s.unit
        for n, item in enumerate(s.items):
            if isinstance(item, bytes):
                out += item
                continue
            v = self._value(s, n)
            if self.final and not -(1 << (bits - 1)) <= v < 1 << bits:
                raise TextError(f"{v:#x} does not fit {bits} bits")
            out += (v & ((1 << bits) - 1)).to_bytes(s.unit, self.dialect.order)
        return bytes(out)


def _always(value: int) -> Lookup:
    return lambda name: value


def _nearby(name: str, known: dict[str, int]) -> str:
    near = nearest(name, known)
    return f"; did you mean {near}?" if near else ""


def strip_comment(line: str, comments: str = ";") -> str:
    """The line up to a character of `comments` outside a string."""
    quote = ""
    for k, c in enumerate(line):
        if quote:
            if c == quote:
                quote = ""
        elif c in "\"'`":
            quote = c
        elif c in comments:
            return line[:k]
    return line


def assemble_with(dialect: Dialect, text: str, *, file: str = "<text>", origin: int = 0) -> Program:
    """Assemble a source. `origin` is the address of its first byte. Raises AsmError."""
    run = Assembler(file, origin, dialect)
    run.read(text)
    return run.run()
