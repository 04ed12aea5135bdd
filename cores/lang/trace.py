"""Tracing: the body of an entry is an ordinary Python function, run once at build time on symbolic operands.

A plain `if` decides at build time, `when(...)` at run time. Everything here appends to the body that the current
`Tracer` collects; the result is the IR of `ir.py`. Values are unsigned and never change width by themselves: use
`.zext(n)`, `.sext(n)`, `.low(n)`. Statement order is commit order.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from .ir import (
    COMMUTATIVE,
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
    SpecError,
    Src,
    Value,
    Var,
    ends,
    mask,
    may_fault,
    signed,
    sweep,
    verify,
)
from .state import Register

_HERE = os.path.dirname(os.path.abspath(__file__))
_stack: list[Tracer] = []


def here() -> Src:
    """File and line of the nearest caller outside the spec language itself."""
    frame = sys._getframe(1)
    while frame.f_back is not None and os.path.dirname(frame.f_code.co_filename) == _HERE:
        frame = frame.f_back
    if frame.f_code.co_filename.endswith("contextlib.py") and frame.f_back is not None:
        frame = frame.f_back
    return Src(frame.f_code.co_filename, frame.f_lineno)


class Tracer:
    """Collects one body. `blocks` is the stack of open blocks; the last one receives new statements."""

    def __init__(self) -> None:
        self.body: Block = []
        self.blocks: list[Block] = [self.body]
        self.values: list[Val] = []
        self.branches = 0

    def emit(self, stmt: Any) -> None:
        """Append a statement to the innermost open block."""
        self.blocks[-1].append(stmt)

    def __enter__(self) -> Tracer:
        _stack.append(self)
        return self

    def __exit__(self, *exc: object) -> None:
        _stack.pop()

    def finish(self, what: str, args: Sequence[Value] = (), *, in_procedure: bool = False) -> Block:
        """Verify, drop what is unused, and hand the body over."""
        for v in self.values:
            if not v.used and v.op in PURE:
                raise SpecError(f"{v.src}: {what}: the result of {v.op} is never used")
        verify(self.body, args, in_procedure=in_procedure, what=what)
        sweep(self.body)
        return self.body


def tracer() -> Tracer:
    """The tracer of the body being traced."""
    if not _stack:
        raise SpecError(f"{here()}: run-time values exist only while an entry is traced")
    return _stack[-1]


class Val(Value):
    """A value with Python's operators. Operands may be values, locations or plain ints."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise SpecError(f"{here()}: a run-time value cannot decide a plain `if`; use `when(...)` or `select(...)`")

    def __add__(self, other: Operand) -> Val:
        return _binary("add", self, other)

    def __radd__(self, other: Operand) -> Val:
        return _binary("add", other, self)

    def __sub__(self, other: Operand) -> Val:
        return _binary("sub", self, other)

    def __rsub__(self, other: Operand) -> Val:
        return _binary("sub", other, self)

    def __mul__(self, other: Operand) -> Val:
        return _binary("mul", self, other)

    def __and__(self, other: Operand) -> Val:
        return _binary("and", self, other)

    def __rand__(self, other: Operand) -> Val:
        return _binary("and", self, other)

    def __or__(self, other: Operand) -> Val:
        return _binary("or", self, other)

    def __ror__(self, other: Operand) -> Val:
        return _binary("or", self, other)

    def __xor__(self, other: Operand) -> Val:
        return _binary("xor", self, other)

    def __rxor__(self, other: Operand) -> Val:
        return _binary("xor", self, other)

    def __lshift__(self, other: Operand) -> Val:
        return _binary("shl", self, other)

    def __rshift__(self, other: Operand) -> Val:
        return _binary("lshr", self, other)

    def __invert__(self) -> Val:
        return pure("not", self.width, self)

    def __neg__(self) -> Val:
        return pure("neg", self.width, self)

    def __eq__(self, other: object) -> Val:  # type: ignore[override]
        return _binary("eq", self, other)

    def __ne__(self, other: object) -> Val:  # type: ignore[override]
        return _binary("ne", self, other)

    def __lt__(self, other: Operand) -> Val:
        return _binary("ult", self, other)

    def __le__(self, other: Operand) -> Val:
        return _binary("ule", self, other)

    def __gt__(self, other: Operand) -> Val:
        return _binary("ult", other, self)

    def __ge__(self, other: Operand) -> Val:
        return _binary("ule", other, self)

    def slt(self, other: Operand) -> Val:
        """Signed less than."""
        return _binary("slt", self, other)

    def sle(self, other: Operand) -> Val:
        """Signed less than or equal."""
        return _binary("sle", self, other)

    def ashr(self, other: Operand) -> Val:
        """Arithmetic shift right."""
        return _binary("ashr", self, other)

    def rotl(self, other: Operand) -> Val:
        """Rotate left; the count is taken modulo the width."""
        return _binary("rotl", self, other)

    def udiv(self, other: Operand) -> Val:
        """Unsigned quotient (0 for a divisor of 0)."""
        return _binary("udiv", self, other)

    def urem(self, other: Operand) -> Val:
        """Unsigned remainder (0 for a divisor of 0)."""
        return _binary("urem", self, other)

    def sdiv(self, other: Operand) -> Val:
        """Signed quotient, truncated (0 for a divisor of 0)."""
        return _binary("sdiv", self, other)

    def srem(self, other: Operand) -> Val:
        """Signed remainder, sign of the dividend (0 for a divisor of 0)."""
        return _binary("srem", self, other)

    def mulhu(self, other: Operand) -> Val:
        """Upper half of the unsigned product."""
        return _binary("mulhu", self, other)

    def zext(self, width: int) -> Val:
        """Widen with zeros."""
        return self if width == self.width else pure("zext", width, self)

    def sext(self, width: int) -> Val:
        """Widen with the sign bit."""
        return self if width == self.width else pure("sext", width, self)

    def low(self, width: int) -> Val:
        """Keep the low bits."""
        return self if width == self.width else pure("low", width, self)

    def bits(self, lo: int, count: int) -> Val:
        """`count` bits from bit `lo` upwards."""
        return (self >> lo if lo else self).low(count)

    def bit(self, n: int) -> Val:
        """Bit `n`, 1 bit wide."""
        return self.bits(n, 1)

    def sign(self) -> Val:
        """The top bit."""
        return self.bit(self.width - 1)

    def clz(self) -> Val:
        """Leading zeros (the width for 0)."""
        return pure("clz", self.width, self)

    def ctz(self) -> Val:
        """Trailing zeros (the width for 0)."""
        return pure("ctz", self.width, self)

    def popcount(self) -> Val:
        """Number of ones."""
        return pure("popcount", self.width, self)

    def bswap(self) -> Val:
        """Bytes in reverse order."""
        return pure("bswap", self.width, self)


class Location:
    """Something that can be read and set: a register, an operand. Arithmetic on it reads it."""

    width: int

    def read(self) -> Val:
        """The value it holds now."""
        raise SpecError(f"{here()}: a {type(self).__name__} cannot be read")

    def set(self, value: Operand) -> None:
        """Give it a new value of the same width."""
        raise SpecError(f"{here()}: a {type(self).__name__} cannot be set")

    def __bool__(self) -> bool:
        raise SpecError(f"{here()}: a run-time value cannot decide a plain `if`; use `when(...)` or `select(...)`")

    __hash__ = object.__hash__


def _delegate(name: str) -> Callable[..., Any]:
    def method(self: Location, *args: Any) -> Any:
        return getattr(self.read(), name)(*args)

    method.__name__ = name
    return method


for _name in (
    "__add__ __radd__ __sub__ __rsub__ __mul__ __and__ __rand__ __or__ __ror__ __xor__ __rxor__ __lshift__ __rshift__ "
    "__invert__ __neg__ __eq__ __ne__ __lt__ __le__ __gt__ __ge__ slt sle ashr rotl udiv urem sdiv srem mulhu zext "
    "sext low bits bit sign clz ctz popcount bswap"
).split():
    setattr(Location, _name, _delegate(_name))

Operand = Val | Location | int | bool


def value(x: object, width: int | None = None) -> Val:
    """Make a value of a value, a location or an int; an int takes `width`, the others must have it."""
    if isinstance(x, Location):
        x = x.read()
    if isinstance(x, Val):
        if width is not None and x.width != width:
            raise SpecError(f"{here()}: {x.width} bits where {width} are wanted (use .zext, .sext or .low)")
        x.used = True
        return x
    if isinstance(x, int):
        if width is None:
            raise SpecError(f"{here()}: a plain int has no width; use const(value, width)")
        if not -(1 << (width - 1)) <= x <= mask(width) and not (width == 1 and x in (0, 1)):
            raise SpecError(f"{here()}: {x} does not fit {width} bits")
        return const(x, width)
    raise SpecError(f"{here()}: {x!r} is not a value")


def const(x: int, width: int) -> Val:
    """A constant of `width` bits."""
    return Val("const", width, (), x & mask(width), here())


def pure(op: str, width: int, *args: Operand, attr: object = None) -> Val:
    """A pure operation; folded when all operands are known."""
    vals = tuple(value(a) for a in args)
    known = [v.constant for v in vals]
    if all(k is not None for k in known):
        ints = tuple(k for k in known if k is not None)
        return const(PURE[op].evaluate(width, tuple(v.width for v in vals), ints, attr), width)
    simple = _simplify(op, width, vals, known)
    if simple is not None:
        return simple
    v = Val(op, width, vals, attr, here())
    t = tracer()
    t.values.append(v)
    t.emit(Let(v))
    return v


def _simplify(op: str, width: int, vals: tuple[Val, ...], known: list[int | None]) -> Val | None:
    if op in COMMUTATIVE and known[0] is not None:
        vals, known = (vals[1], vals[0]), [known[1], known[0]]
    if op in ("add", "sub", "or", "xor", "shl", "lshr", "ashr", "rotl") and known[1] == 0:
        return vals[0]
    if op == "and":
        if known[1] == 0:
            return const(0, width)
        if known[1] == mask(width):
            return vals[0]
    if op == "mul" and known[1] == 1:
        return vals[0]
    if op == "select" and known[0] is not None:
        return vals[1] if known[0] else vals[2]
    if len(vals) == 2 and vals[0] is vals[1]:
        if op in ("sub", "xor"):
            return const(0, width)
        if op in ("and", "or"):
            return vals[0]
        if op in ("eq", "ule", "sle"):
            return const(1, 1)
        if op in ("ne", "ult", "slt"):
            return const(0, 1)
    if op == "not" and vals[0].op == "not":
        return vals[0].args[0]  # type: ignore[return-value]
    if op == "low" and vals[0].op in ("zext", "sext"):
        inner = vals[0].args[0]
        if inner.width == width:
            return inner  # type: ignore[return-value]
    if len(vals) == 2 and vals[0].width == 1 and (op, known[1]) in (("eq", 1), ("ne", 0)):
        return vals[0]
    return None


def _binary(op: str, a: object, b: object) -> Val:
    if isinstance(a, Location):
        a = a.read()
    if isinstance(b, Location):
        b = b.read()
    if isinstance(a, Val):
        b = value(b, a.width)
    elif isinstance(b, Val):
        a = value(a, b.width)
    else:
        raise SpecError(f"{here()}: {op} needs a run-time value")
    width = 1 if PURE[op].result == "bool" else a.width
    return pure(op, width, a, b)


def select(cond: Operand, yes: Operand, no: Operand) -> Val:
    """`yes` where the 1-bit `cond` holds, else `no`; both are evaluated."""
    c = value(cond, 1)
    if isinstance(yes, (Val, Location)):
        y = value(yes)
        n = value(no, y.width)
    else:
        n = value(no)
        y = value(yes, n.width)
    return pure("select", y.width, c, y, n)


def concat(*parts: Operand) -> Val:
    """Join values, the first one on top."""
    vals = [value(p) for p in parts]
    width = sum(v.width for v in vals)
    total: Val | None = None
    at = width
    for v in vals:
        at -= v.width
        piece = v.zext(width) << at if at else v.zext(width)
        total = piece if total is None else total | piece
    if total is None:
        raise SpecError(f"{here()}: nothing to join")
    return total


def all_of(*conds: Operand) -> Val:
    """1 where all 1-bit conditions hold."""
    out = value(conds[0], 1)
    for c in conds[1:]:
        out = out & value(c, 1)
    return out


def any_of(*conds: Operand) -> Val:
    """1 where some 1-bit condition holds."""
    out = value(conds[0], 1)
    for c in conds[1:]:
        out = out | value(c, 1)
    return out


class Variable(Location):
    """A variable that may change inside `when` and `loop`."""

    def __init__(self, width: int, init: Operand, name: str) -> None:
        self.width = width
        self.var = Var(width, here(), name)
        self.set(init)

    def read(self) -> Val:
        """The value it holds now."""
        v = Val("var", self.width, (), self.var, here())
        tracer().emit(Let(v))
        return v

    def set(self, value_: Operand) -> None:
        """Assign."""
        tracer().emit(SetVar(self.var, value(value_, self.width), here()))


def var(width: int, init: Operand = 0, name: str = "v") -> Variable:
    """A new variable with its first value."""
    return Variable(width, init, name)


class RegisterLocation(Location):
    """A state register, or one element of a register file. `how` selects the whole, its low part or one byte."""

    def __init__(
        self, reg: Register, index: Operand | None = None, *, width: int | None = None, how: str = "all"
    ) -> None:
        if (reg.count == 0) != (index is None):
            raise SpecError(f"{here()}: register {reg.name} {'needs an' if reg.count else 'has no'} index")
        self.reg = reg
        self.width = reg.width if width is None else width
        self.how = how if self.width != reg.width or how == "byte" else "all"
        self.index = index

    def _index(self) -> tuple[Val, ...]:
        if self.index is None:
            return ()
        if isinstance(self.index, int):
            return (const(self.index, 8),)
        return (value(self.index),)

    def read(self) -> Val:
        """Read the register now."""
        op = "getbyte" if self.how == "byte" else "get"
        v = Val(op, self.width, self._index(), self.reg, here())
        tracer().emit(Let(v))
        return v

    def set(self, value_: Operand) -> None:
        """Write it; a part leaves the rest as it was."""
        index = self._index()
        tracer().emit(SetReg(self.reg, index[0] if index else None, value(value_, self.width), self.how, here()))


def fieldvalue(name: str, width: int) -> Val:
    """A field of the decoded instruction."""
    v = Val("field", width, (), name, here())
    tracer().emit(Let(v))
    return v


@contextmanager
def when(cond: Operand, *, likely: bool | None = None) -> Iterator[None]:
    """The statements inside happen where the 1-bit `cond` holds at run time."""
    t = tracer()
    c = value(cond, 1)
    node = If(c, [], [], here(), likely)
    t.emit(node)
    t.blocks.append(node.then)
    try:
        yield
    finally:
        t.blocks.pop()


@contextmanager
def otherwise() -> Iterator[None]:
    """The other side of the `when` just closed."""
    t = tracer()
    last = t.blocks[-1][-1] if t.blocks[-1] else None
    if not isinstance(last, If) or last.orelse:
        raise SpecError(f"{here()}: `otherwise` must follow a `when`")
    t.blocks.append(last.orelse)
    try:
        yield
    finally:
        t.blocks.pop()


@contextmanager
def loop() -> Iterator[None]:
    """Repeat the statements inside until `break_()`."""
    t = tracer()
    node = Loop([], here())
    t.emit(node)
    t.blocks.append(node.body)
    try:
        yield
    finally:
        t.blocks.pop()


def break_() -> None:
    """Leave the innermost loop."""
    tracer().emit(Break(here()))


def return_(*values: Operand) -> None:
    """Leave the procedure with its results."""
    t = tracer()
    widths = getattr(t, "result_widths", ())
    if len(values) != len(widths):
        raise SpecError(f"{here()}: {len(values)} results where {len(widths)} are declared")
    t.emit(Return(tuple(value(v, w) for v, w in zip(values, widths, strict=True)), here()))


def finish_() -> None:
    """Leave the instruction here, successfully."""
    tracer().emit(Return((), here()))


def branch(target: Operand, width: int = 32) -> None:
    """End the instruction by a near transfer to `target` (an offset in the code segment)."""
    t = tracer()
    t.branches += 1
    t.emit(Branch(value(target, width), t.branches, here()))


def invoke(callee: Callee, *args: Operand) -> Any:
    """Call an extern or a procedure; gives None, one value or a tuple."""
    if len(args) != len(callee.params):
        raise SpecError(f"{here()}: {callee.name} takes {len(callee.params)} operands, not {len(args)}")
    vals = tuple(value(a, w) for a, w in zip(args, callee.params, strict=True))
    src = here()
    results = tuple(Val("result", w, (), None, src) for w in callee.results)
    tracer().emit(Call(callee, vals, results, src))
    return None if not results else results[0] if len(results) == 1 else results


class Extern(Callee):
    """A named operation that each lowering has by hand: a memory access, a port, a helper of the engine."""

    def __init__(
        self,
        name: str,
        params: Sequence[int] = (),
        results: Sequence[int] = (),
        *,
        faults: bool = False,
        raises: bool = False,
        pure: bool = False,
    ) -> None:
        super().__init__(name, tuple(params), tuple(results), faults, raises, pure)

    def __call__(self, *args: Operand) -> Any:
        return invoke(self, *args)


class Proc(Procedure):
    """A procedure written in the spec; traced at its first use."""

    def __init__(self, fn: Callable[..., None], params: Sequence[int], results: Sequence[int]) -> None:
        super().__init__(fn.__name__, tuple(params), tuple(results))
        self.fn = fn
        self.doc = (fn.__doc__ or "").strip()
        self.src = Src(fn.__code__.co_filename, fn.__code__.co_firstlineno)
        self.state = "new"

    def trace(self) -> None:
        """Run the function once on symbolic arguments."""
        if self.state == "done":
            return
        if self.state == "tracing":
            raise SpecError(f"{self.src}: procedure {self.name} calls itself")
        self.state = "tracing"
        with Tracer() as t:
            t.result_widths = self.results  # type: ignore[attr-defined]
            self.args = tuple(Val("arg", w, (), k, self.src) for k, w in enumerate(self.params))
            self.fn(*self.args)
            if self.results and not ends(t.body):
                raise SpecError(f"{self.src}: procedure {self.name} may end without `return_`")
            self.body = t.finish(self.name, self.args, in_procedure=True)
        self.faults = may_fault(self.body)
        self.state = "done"

    def __call__(self, *args: Operand) -> Any:
        self.trace()
        return invoke(self, *args)


def procedure(*params: int, results: Sequence[int] = ()) -> Callable[[Callable[..., None]], Proc]:
    """Declare a procedure: widths of its parameters and results."""

    def wrap(fn: Callable[..., None]) -> Proc:
        return Proc(fn, params, results)

    return wrap


__all__ = [
    "Extern",
    "Location",
    "Operand",
    "Proc",
    "RegisterLocation",
    "Tracer",
    "Val",
    "Variable",
    "all_of",
    "any_of",
    "branch",
    "break_",
    "concat",
    "const",
    "fieldvalue",
    "finish_",
    "here",
    "invoke",
    "loop",
    "otherwise",
    "procedure",
    "pure",
    "return_",
    "select",
    "signed",
    "tracer",
    "value",
    "var",
    "when",
]
