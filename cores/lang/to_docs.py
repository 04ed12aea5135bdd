"""Lowering of traced bodies to prose: the operation as pseudo-code, and Markdown tables.

A core gives a `Names`: what its registers, fields and calls are called in its manual. Values used once stand where they
are used; the others get a letter. `:=` changes the machine, `=` names a value.
"""

from __future__ import annotations

from collections.abc import Sequence

from .ir import (
    Block,
    Branch,
    Break,
    Call,
    If,
    Let,
    Loop,
    Return,
    SetReg,
    SetVar,
    Stmt,
    Value,
    Var,
    operands,
    walk,
)
from .state import Register

_INFIX = {
    "add": "+", "sub": "-", "mul": "*", "udiv": "/", "urem": "mod", "and": "and", "or": "or", "xor": "xor", "shl": "<<",
    "lshr": ">>", "eq": "=", "ne": "<>", "ult": "<", "ule": "<=", "slt": "<", "sle": "<=", "sdiv": "/", "srem": "mod",
}  # fmt: skip
_SIGNED = {"slt", "sle", "sdiv", "srem"}
# Bodies longer than this are cut: nobody reads a page of arithmetic on x87 tags.
MAX_LINES = 48


class Names:
    """What things are called. A core overrides what it knows better; `text` renders an operand of a value."""

    def value(self, v: Value, low: Pseudo) -> str | None:
        """The name of a value, or None for the default."""
        return None

    def set(self, stmt: SetReg, low: Pseudo) -> list[str] | None:
        """Lines for writing a register, or None for the default."""
        return None

    def call(self, stmt: Call, low: Pseudo) -> str | None:
        """A call as text without its results, or None for the default."""
        return None

    def branch(self, target: str) -> str:
        """A near transfer."""
        return f"jump to {target}"


def number_text(v: int) -> str:
    """Small numbers in decimal, others in hex."""
    return str(v) if v < 10 else f"{v:#x}"


def letters(n: int) -> str:
    """a, b, ... z, a1, b1, ..."""
    return chr(97 + n % 26) + (str(n // 26) if n >= 26 else "")


class Pseudo:
    """One body on its way to text."""

    def __init__(self, block: Block, names: Names) -> None:
        self.names = names
        self.uses: dict[int, int] = {}
        self.written: set[str] = set()
        self.calls = False
        for stmt in walk(block):
            for v in operands(stmt):
                self.uses[id(v)] = self.uses.get(id(v), 0) + 1
            if isinstance(stmt, SetReg):
                self.written.add(getattr(stmt.reg, "name", ""))
        self.known: dict[int, str] = {}
        self.variables: dict[int, str] = {}
        self.count = 0
        self.lines: list[str] = []
        self.depth = 0
        self._run(block)

    def line(self, text: str) -> None:
        """One line at the current depth."""
        self.lines.append("    " * self.depth + text)

    def text(self, v: Value) -> str:
        """A value where it is used."""
        if v.constant is not None:
            return number_text(v.constant)
        return self.known.get(id(v)) or self.names.value(v, self) or self._expression(v)

    def operand(self, v: Value) -> str:
        """The same, in parentheses if it is more than one word."""
        t = self.text(v)
        bare = " " not in t or (t.endswith("]") and "[" in t and " " not in t[: t.index("[")])
        return t if bare else f"({t})"

    def _expression(self, v: Value) -> str:
        op, args = v.op, v.args
        if op in _INFIX:
            text = f"{self.operand(args[0])} {_INFIX[op]} {self.operand(args[1])}"
            return f"{text} (signed)" if op in _SIGNED else text
        if op == "ashr":
            return f"{self.operand(args[0])} >> {self.operand(args[1])} (signed)"
        if op == "rotl":
            return f"rotate left({self.text(args[0])}, {self.text(args[1])})"
        if op == "not":
            return f"not {self.operand(args[0])}"
        if op == "neg":
            return f"-{self.operand(args[0])}"
        if op == "select":
            return f"{self.operand(args[1])} if {self.operand(args[0])} else {self.operand(args[2])}"
        if op == "low":
            inner = args[0]
            if inner.op == "lshr" and inner.args[1].constant is not None and id(inner) not in self.known:
                n = inner.args[1].constant
                return f"{self.operand(inner.args[0])}[{n if v.width == 1 else f'{n + v.width - 1}:{n}'}]"
            return f"{self.operand(inner)}[{0 if v.width == 1 else f'{v.width - 1}:0'}]"
        if op == "zext":
            return self.text(args[0])
        if op == "sext":
            return f"sign-extend({self.text(args[0])})"
        if op == "mulhu":
            return f"high half of {self.operand(args[0])} * {self.operand(args[1])}"
        if op in ("get", "getbyte"):
            name = getattr(v.attr, "name", str(v.attr))
            return f"{name}[{self.text(args[0])}]" if args else name
        if op == "field":
            return str(v.attr)
        if op == "var":
            return self._variable(v.attr)
        return f"{op}({', '.join(self.text(a) for a in args)})"

    def _variable(self, var: object) -> str:
        if not isinstance(var, Var):
            raise TypeError("not a variable")
        if id(var) not in self.variables:
            taken = set(self.variables.values())
            name = var.name
            while name in taken:
                name += "'"
            self.variables[id(var)] = name
        return self.variables[id(var)]

    def _fresh(self) -> str:
        self.count += 1
        return letters(self.count - 1)

    def _run(self, block: Block) -> None:
        for stmt in block:
            self._statement(stmt)

    def _inner(self, block: Block) -> None:
        self.depth += 1
        if not block:
            self.line("nothing")
        self._run(block)
        self.depth -= 1

    def _let(self, v: Value) -> None:
        if self.uses.get(id(v), 0) == 0:
            return
        # What may change before it is used must be named now; the rest is written where it is used.
        reg = v.attr
        volatile = v.op == "var" or (
            isinstance(reg, Register) and v.op in ("get", "getbyte") and reg.name in self.written
        )
        text = self.text(v)
        if v.op in ("zext", "field") or (not volatile and (self.uses[id(v)] == 1 or " " not in text)):
            self.known[id(v)] = text
            return
        name = self._fresh()
        self.line(f"{name} = {text}")
        self.known[id(v)] = name

    def _statement(self, stmt: Stmt) -> None:
        if isinstance(stmt, Let):
            self._let(stmt.value)
        elif isinstance(stmt, SetReg):
            lines = self.names.set(stmt, self)
            if lines is None:
                name = getattr(stmt.reg, "name", str(stmt.reg))
                at = "" if stmt.index is None else f"[{self.text(stmt.index)}]"
                lines = [f"{name}{at} := {self.text(stmt.value)}"]
            for line in lines:
                self.line(line)
        elif isinstance(stmt, SetVar):
            self.line(f"{self._variable(stmt.var)} = {self.text(stmt.value)}")
        elif isinstance(stmt, If):
            self.line(f"if {self.text(stmt.cond)}:")
            self._inner(stmt.then)
            if stmt.orelse:
                self.line("else:")
                self._inner(stmt.orelse)
        elif isinstance(stmt, Loop):
            self.line("repeat:")
            self._inner(stmt.body)
        elif isinstance(stmt, Break):
            self.line("leave the loop")
        elif isinstance(stmt, Call):
            self._call(stmt)
        elif isinstance(stmt, Return):
            self.line(f"return {', '.join(self.text(v) for v in stmt.values)}" if stmt.values else "done")
        elif isinstance(stmt, Branch):
            self.line(self.names.branch(self.text(stmt.target)))

    def _call(self, stmt: Call) -> None:
        text = self.names.call(stmt, self)
        if text is None:
            text = f"{stmt.callee.name}({', '.join(self.text(a) for a in stmt.args)})"
        if not stmt.results:
            self.line(text)
            return
        names = []
        for r in stmt.results:
            self.known[id(r)] = self._fresh()
            names.append(self.known[id(r)])
        self.line(f"{', '.join(names)} = {text}")


def pseudo_code(block: Block, names: Names, limit: int = MAX_LINES) -> list[str]:
    """The body as lines of pseudo-code; beyond `limit` lines it is cut, and the last line says how much."""
    lines = Pseudo(block, names).lines
    if len(lines) > limit:
        return [*lines[: limit - 4], f"... ({len(lines) - limit + 4} more lines)"]
    return lines


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""

    def cell(text: str) -> str:
        return text.replace("|", "\\|") or " "

    lines = [f"| {' | '.join(map(cell, head))} |", "|" + "---|" * len(head)]
    return lines + [f"| {' | '.join(map(cell, row))} |" for row in rows]
