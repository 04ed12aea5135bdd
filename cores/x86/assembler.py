"""The assembler: multi-line sources with labels and directives, in the syntax that `text.disassemble` prints.

Directives: `bits 16|32`, `org EXPR`, `db dw dd dq` (numbers, strings), `resb resw resd EXPR`, `times EXPR STATEMENT`,
`align EXPR [, FILL]`, `NAME equ EXPR`. A label ends in a colon; `.name` belongs to the label before it. `$` is the
address of the statement, `$$` that of the last `org`. Jumps and displacements take the shortest form: the sizes start
small and only grow until nothing moves. `org` sets the address of what follows without filling.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..lang.to_text import Lookup, Node, TextError, Token, Tokens, nearest, num, parse_expression
from .encoder import Instruction, Plan, is_mnemonic, parse, plan, shortest
from .operands import REGISTERS, SEGMENTS, SIZE_WORDS

DATA = {"db": 1, "dw": 2, "dd": 4, "dq": 8}
RESERVE = {"resb": 1, "resw": 2, "resd": 4, "resq": 8}
DIRECTIVES = {*DATA, *RESERVE, "times", "org", "bits", "equ", "align"}
MAX_PASSES = 60
MAX_SIZE = 1 << 26
MAX_REPEATS = 1 << 16  # of an instruction


class AsmError(Exception):
    """A mistake in a source: `file:line: what was expected`."""

    def __init__(self, file: str, line: int, why: str) -> None:
        super().__init__(f"{file}:{line}: {why}")
        self.file, self.line, self.why = file, line, why


@dataclass
class Statement:
    """One statement of a source, after parsing."""

    line: int
    text: str
    kind: str  # "insn", "data", "fill", "align", "org", "equ", "label"
    name: str = ""
    plans: list[Plan] = field(default_factory=list)
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

    def __init__(self, file: str, origin: int, big: bool) -> None:
        self.file = file
        self.origin = origin
        self.big = big
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
                tokens = Tokens(strip_comment(line))
                self._line(tokens, number, line.strip())
            except TextError as error:
                raise AsmError(self.file, number, str(error)) from None
            except _Unknown as error:
                raise AsmError(self.file, number, f"{error.name} must be known here") from None

    def _line(self, tokens: Tokens, number: int, text: str) -> None:
        while tokens.next is not None:
            first, second = tokens.next, tokens.ahead(1)
            if first.kind == "name" and second is not None:
                if second.text == ":" and first.word not in SEGMENTS:
                    tokens.take()
                    tokens.take()
                    self._label(first, number)
                    continue
                if second.word == "equ":
                    tokens.take()
                    tokens.take()
                    self._equ(first, tokens, number, text)
                    return
                if second.word in DATA or second.word in RESERVE or second.word == "times":
                    tokens.take()
                    self._label(first, number)
                    continue
            if first.kind == "name" and second is None and not is_mnemonic(first.word) and first.word not in DIRECTIVES:
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
        if low in REGISTERS or low in SIZE_WORDS or low in DIRECTIVES or name.startswith("$"):
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
        if word in DATA:
            tokens.take()
            s.kind, s.unit = "data", DATA[word]
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
        elif word == "bits" or (word in ("use16", "use32")):
            tokens.take()
            bits = parse_expression(tokens).value(self._early) if word == "bits" else int(word[3:])
            if bits not in (16, 32):
                raise TextError(f"bits {bits}: 16 or 32 is expected")
            self.big = bits == 32
            s.kind = "label"
        else:
            insn = parse(tokens, self._early)
            s.plans = plan(insn, self.big)
            s.fixed = not insn.symbols() and not _relative(insn, s.plans)
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
            fill = self._value(s, 1) if len(s.items) > 1 else 0x90
            return bytes([fill & 0xFF]) * (-self.here % to)
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
        if s.fixed:
            return s.data or shortest(s.plans, lookup, self.here)
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
        try:
            return shortest(s.plans, lookup, self.here, at_least)
        except TextError:
            if self.final:
                raise
        # A value that is not settled yet: any encoding will do for now, none shorter than before.
        for guess in (0, self.here):
            try:
                return bytes(max(at_least, len(shortest(s.plans, _always(guess), self.here))))
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
            out += (v & ((1 << bits) - 1)).to_bytes(s.unit, "little")
        return bytes(out)


def _always(value: int) -> Lookup:
    return lambda name: value


def _relative(insn: Instruction, plans: list[Plan]) -> bool:
    return any(code in ("Jb", "Jz") for p in plans for code, _ in p.slots)


def _nearby(name: str, known: dict[str, int]) -> str:
    near = nearest(name, known)
    return f"; did you mean {near}?" if near else ""


def strip_comment(line: str) -> str:
    """The line up to a `;` outside a string."""
    quote = ""
    for k, c in enumerate(line):
        if quote:
            if c == quote:
                quote = ""
        elif c in "\"'`":
            quote = c
        elif c == ";":
            return line[:k]
    return line


def assemble_program(text: str, *, file: str = "<text>", origin: int = 0, big: bool = True) -> Program:
    """Assemble a source. `origin` is the address of its first byte, `big` its mode until a `bits`. Raises AsmError."""
    run = Assembler(file, origin, big)
    run.read(text)
    return run.run()


def assemble(text: str, eip: int = 0, big: bool = True, *, file: str = "<text>") -> bytes:
    """The bytes of one or more lines, at address `eip`, in 32-bit mode if `big`. Raises AsmError."""
    return assemble_program(text, file=file, origin=eip, big=big).data


__all__ = ["AsmError", "Program", "assemble", "assemble_program"]
