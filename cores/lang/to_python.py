"""Lowering of traced bodies to Python: the reference tier.

Each body becomes a plain function `f(s, m, i)`: `s` is the state, `m` the machine (the externs), `i` the decoded
instruction. A fault is an exception raised by `m`. The text is registered with `linecache`, so that a debugger steps
through it.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable, Sequence
from typing import Any

from .ir import (
    PURE,
    Block,
    Branch,
    Break,
    Call,
    Callee,
    If,
    Let,
    Loop,
    Procedure,
    Return,
    SetReg,
    SetVar,
    Value,
    Var,
    ends,
    mask,
    number,
    operands,
    walk,
)
from .state import Register, State


def sx(value: int, width: int) -> int:
    """Two's complement reading of a `width`-bit value (used by generated code)."""
    return value - (1 << width) if value >> (width - 1) else value


def _quotient(a: int, b: int) -> int:
    q = abs(a) // abs(b)
    return q if (a < 0) == (b < 0) else -q


def sdiv(a: int, b: int, width: int) -> int:
    """Signed quotient of two `width`-bit values, truncated; 0 for a divisor of 0."""
    return _quotient(sx(a, width), sx(b, width)) & mask(width) if b else 0


def srem(a: int, b: int, width: int) -> int:
    """Signed remainder with the sign of the dividend; 0 for a divisor of 0."""
    x, y = sx(a, width), sx(b, width)
    return (x - _quotient(x, y) * y) & mask(width) if b else 0


def rotl(a: int, n: int, width: int) -> int:
    """Rotate a `width`-bit value left."""
    n %= width
    return ((a << n) | (a >> (width - n))) & mask(width)


def getbyte(file: list[int], offset: int, size: int) -> int:
    """Byte `offset` of a register file of little-endian registers of `size` bytes."""
    return (file[offset // size] >> (offset % size * 8)) & 0xFF


def setbyte(file: list[int], offset: int, size: int, value: int) -> None:
    """Replace byte `offset` of a register file."""
    k, shift = offset // size, offset % size * 8
    file[k] = (file[k] & ~(0xFF << shift)) | (value << shift)


COMPARE = {"eq": "==", "ne": "!=", "ult": "<", "ule": "<="}
SYMBOL = {"and": "&", "or": "|", "xor": "^", "add": "+", "sub": "-", "mul": "*"}


class _Lower:
    def __init__(self, block: Block, args: Sequence[Value], procedure: Procedure | None) -> None:
        self.uses: dict[int, int] = {}
        for stmt in walk(block):
            for v in operands(stmt):
                self.uses[id(v)] = self.uses.get(id(v), 0) + 1
        number(block, args)
        self.text: dict[int, str] = {id(a): f"a{a.ident}" for a in args}
        self.procedure = procedure
        self.vars: dict[int, str] = {}
        self.lines: list[str] = []
        self.depth = 1

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def name(self, v: Value) -> str:
        if v.constant is not None:
            return str(v.constant) if v.constant < 10 else hex(v.constant)
        return self.text[id(v)]

    def expr(self, v: Value) -> str:
        n = [self.name(a) for a in v.args]
        w, op = v.width, v.op
        m = hex(mask(w))
        if op in ("and", "or", "xor"):
            return f"({n[0]} {SYMBOL[op]} {n[1]})"
        if op in ("add", "sub", "mul"):
            return f"(({n[0]} {SYMBOL[op]} {n[1]}) & {m})"
        if op == "not":
            return f"({n[0]} ^ {m})"
        if op == "neg":
            return f"(-{n[0]} & {m})"
        if op in ("eq", "ne", "ult", "ule"):
            return f"int({n[0]} {COMPARE[op]} {n[1]})"
        if op in ("slt", "sle"):
            k = v.args[0].width
            return f"int(sx({n[0]}, {k}) {'<' if op == 'slt' else '<='} sx({n[1]}, {k}))"
        if op == "zext":
            return n[0]
        if op == "low":
            return f"({n[0]} & {m})"
        if op == "sext":
            return f"(sx({n[0]}, {v.args[0].width}) & {m})"
        if op == "shl":
            return (
                f"(({n[0]} << {n[1]}) & {m})"
                if v.args[1].constant is not None
                else f"(({n[0]} << min({n[1]}, {w})) & {m})"
            )
        if op == "lshr":
            return f"({n[0]} >> {n[1]})"
        if op == "ashr":
            return f"((sx({n[0]}, {w}) >> {n[1]}) & {m})"
        if op == "mulhu":
            return f"(({n[0]} * {n[1]}) >> {w})"
        if op in ("udiv", "urem"):
            return f"({n[0]} {'//' if op == 'udiv' else '%'} {n[1]} if {n[1]} else 0)"
        if op in ("sdiv", "srem", "rotl"):
            return f"{op}({n[0]}, {n[1]}, {w})"
        if op == "select":
            return f"({n[1]} if {n[0]} else {n[2]})"
        if op == "clz":
            return f"({w} - {n[0]}.bit_length())"
        if op == "ctz":
            return f"(({n[0]} & -{n[0]}).bit_length() - 1 if {n[0]} else {w})"
        if op == "popcount":
            return f"bin({n[0]}).count('1')"
        if op == "bswap":
            return f"int.from_bytes({n[0]}.to_bytes({w // 8}, 'little'), 'big')"
        if op == "get":
            reg = v.attr
            if not isinstance(reg, Register):
                raise TypeError(op)
            text = f"s.{reg.name}[{n[0]}]" if n else f"s.{reg.name}"
            return text if v.width == reg.width else f"({text} & {m})"
        if op == "getbyte":
            reg = v.attr
            if not isinstance(reg, Register):
                raise TypeError(op)
            return f"getbyte(s.{reg.name}, {n[0]}, {reg.width // 8})"
        if op == "field":
            return f"i.{v.attr}"
        if op == "var":
            return self.var(v.attr)
        raise ValueError(f"no Python for {op}")

    def var(self, var: object) -> str:
        if not isinstance(var, Var):
            raise TypeError("var")
        return self.vars.setdefault(id(var), f"{var.name}{len(self.vars)}")

    def run(self, block: Block) -> None:
        if not block:
            self.line("pass")
        for stmt in block:
            self.stmt(stmt)

    def inner(self, block: Block) -> None:
        self.depth += 1
        self.run(block)
        self.depth -= 1

    def stmt(self, stmt: object) -> None:
        if isinstance(stmt, Let):
            v = stmt.value
            text = self.expr(v)
            if (v.op in PURE and self.uses.get(id(v), 0) == 1) or v.op == "field":
                self.text[id(v)] = text
            else:
                self.line(f"t{v.ident} = {text}")
                self.text[id(v)] = f"t{v.ident}"
        elif isinstance(stmt, SetReg):
            self.set_register(stmt)
        elif isinstance(stmt, SetVar):
            self.line(f"{self.var(stmt.var)} = {self.name(stmt.value)}")
        elif isinstance(stmt, If):
            self.line(f"if {self.name(stmt.cond)}:")
            self.inner(stmt.then)
            if stmt.orelse:
                self.line("else:")
                self.inner(stmt.orelse)
        elif isinstance(stmt, Loop):
            self.line("while True:")
            self.inner(stmt.body)
        elif isinstance(stmt, Break):
            self.line("break")
        elif isinstance(stmt, Call):
            args = [self.name(a) for a in stmt.args]
            target = python_name(stmt.callee)
            if isinstance(stmt.callee, Procedure):
                args = ["s", "m", *args]
            outs = []
            for r in stmt.results:
                self.text[id(r)] = f"t{r.ident}"
                outs.append(f"t{r.ident}")
            self.line(f"{', '.join(outs) + ' = ' if outs else ''}{target}({', '.join(args)})")
        elif isinstance(stmt, Return):
            self.line(f"return {', '.join(self.name(v) for v in stmt.values)}".rstrip())
        elif isinstance(stmt, Branch):
            self.line(f"m.branch({self.name(stmt.target)})")
            self.line("return")

    def set_register(self, stmt: SetReg) -> None:
        reg = stmt.reg
        if not isinstance(reg, Register):
            raise TypeError("set")
        value = self.name(stmt.value)
        if stmt.how == "byte" and stmt.index is not None:
            self.line(f"setbyte(s.{reg.name}, {self.name(stmt.index)}, {reg.width // 8}, {value})")
            return
        place = f"s.{reg.name}[{self.name(stmt.index)}]" if stmt.index is not None else f"s.{reg.name}"
        if stmt.how == "part":
            keep = hex(mask(reg.width) & ~mask(stmt.value.width))
            self.line(f"{place} = ({place} & {keep}) | {value}")
        else:
            self.line(f"{place} = {value}")


def python_name(callee: Callee) -> str:
    """How generated Python calls a callee."""
    return f"proc_{callee.name}" if isinstance(callee, Procedure) else f"m.{callee.name}"


def body_text(
    name: str, block: Block, args: Sequence[Value] = (), procedure: Procedure | None = None, doc: str = ""
) -> str:
    """The Python function of a body. Procedures take their arguments after `s, m`."""
    low = _Lower(block, args, procedure)
    params = ["s", "m"] + ([f"a{a.ident}" for a in args] if procedure else ["i"])
    if doc:
        low.line('"""' + doc.replace("\\", "\\\\").replace('"""', "'''").splitlines()[0] + '"""')
    low.run(block)
    return "\n".join([f"def {name}({', '.join(params)}):", *low.lines, ""])


def compile_text(text: str, filename: str, namespace: dict[str, Any]) -> None:
    """Run generated definitions in `namespace`, so that a debugger and tracebacks show their text."""
    namespace.update(sx=sx, sdiv=sdiv, srem=srem, rotl=rotl, getbyte=getbyte, setbyte=setbyte)
    code = compile(text, filename, "exec")
    exec(code, namespace)
    linecache.cache[filename] = (len(text), None, text.splitlines(True), filename)


def state_class(state: State, name: str) -> type:
    """A class with one attribute per register (a list for a file), and `reset`, `copy`, `as_dict`."""

    def reset(self: Any) -> None:
        for r in state:
            setattr(self, r.name, [r.reset] * r.count if r.count else r.reset)

    def as_dict(self: Any) -> dict[str, int | list[int]]:
        return {r.name: list(getattr(self, r.name)) if r.count else getattr(self, r.name) for r in state}

    def init(self: Any) -> None:
        reset(self)

    return type(
        name, (), {"__init__": init, "reset": reset, "as_dict": as_dict, "__slots__": tuple(r.name for r in state)}
    )


Function = Callable[..., Any]
__all__ = ["Function", "body_text", "compile_text", "ends", "python_name", "state_class"]
