"""The intermediate representation that a traced instruction becomes.

A traced body is a `Block` of statements over `Value`s. Every value is an unsigned integer of 1 to 64 bits; widths never
convert by themselves. Values are in SSA form; what changes lives in state registers and in declared variables (`Var`).
`verify` checks a body, `show` prints it. The lowerings (`to_c`, `to_python`) and the JIT read this and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

MAX_WIDTH = 64


class Src(NamedTuple):
    """Where in the spec a node was written."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


NOWHERE = Src("", 0)


class SpecError(Exception):
    """A mistake in a spec entry; the message starts with file and line."""


def mask(width: int) -> int:
    """All ones in `width` bits."""
    return (1 << width) - 1


def signed(value: int, width: int) -> int:
    """Read the low `width` bits of `value` as two's complement."""
    value &= mask(width)
    return value - (1 << width) if value >> (width - 1) else value


class Value:
    """One SSA value: an operation on earlier values. `attr` holds what is not a value (a constant, a name)."""

    __slots__ = ("args", "attr", "ident", "op", "src", "used", "width")

    def __init__(self, op: str, width: int, args: tuple[Value, ...], attr: object, src: Src) -> None:
        self.op = op
        self.width = width
        self.args = args
        self.attr = attr
        self.src = src
        self.used = False
        self.ident = 0

    @property
    def constant(self) -> int | None:
        """The value if it is known at build time."""
        return self.attr if self.op == "const" and isinstance(self.attr, int) else None

    def __repr__(self) -> str:
        return f"<{self.op}:{self.width} {self.attr if self.attr is not None else ''}>"


class PureOp(NamedTuple):
    """A pure operation: how its result follows from its operands (all of one width unless `widths` says otherwise)."""

    evaluate: Callable[[int, tuple[int, ...], tuple[int, ...], object], int]
    result: str  # "same", "bool" or "attr" (the width stands in the node)


def _div(a: int, b: int) -> int:
    q = abs(a) // abs(b)
    return q if (a < 0) == (b < 0) else -q


# evaluate(result width, operand widths, operands, attr)
PURE: dict[str, PureOp] = {
    "add": PureOp(lambda w, ws, a, x: (a[0] + a[1]) & mask(w), "same"),
    "sub": PureOp(lambda w, ws, a, x: (a[0] - a[1]) & mask(w), "same"),
    "mul": PureOp(lambda w, ws, a, x: (a[0] * a[1]) & mask(w), "same"),
    "mulhu": PureOp(lambda w, ws, a, x: (a[0] * a[1]) >> w, "same"),
    "udiv": PureOp(lambda w, ws, a, x: a[0] // a[1] if a[1] else 0, "same"),
    "urem": PureOp(lambda w, ws, a, x: a[0] % a[1] if a[1] else 0, "same"),
    "sdiv": PureOp(lambda w, ws, a, x: _div(signed(a[0], w), signed(a[1], w)) & mask(w) if a[1] else 0, "same"),
    "srem": PureOp(
        lambda w, ws, a, x: (
            (signed(a[0], w) - _div(signed(a[0], w), signed(a[1], w)) * signed(a[1], w)) & mask(w) if a[1] else 0
        ),
        "same",
    ),
    "and": PureOp(lambda w, ws, a, x: a[0] & a[1], "same"),
    "or": PureOp(lambda w, ws, a, x: a[0] | a[1], "same"),
    "xor": PureOp(lambda w, ws, a, x: a[0] ^ a[1], "same"),
    "not": PureOp(lambda w, ws, a, x: ~a[0] & mask(w), "same"),
    "neg": PureOp(lambda w, ws, a, x: -a[0] & mask(w), "same"),
    # A shift by the width or more gives zeros (sign bits for ashr): no lowering may rely on the host's rule.
    "shl": PureOp(lambda w, ws, a, x: (a[0] << a[1]) & mask(w) if a[1] < w else 0, "same"),
    "lshr": PureOp(lambda w, ws, a, x: a[0] >> a[1] if a[1] < w else 0, "same"),
    "ashr": PureOp(lambda w, ws, a, x: (signed(a[0], w) >> min(a[1], w - 1)) & mask(w), "same"),
    "rotl": PureOp(
        lambda w, ws, a, x: ((a[0] << (a[1] % w)) | (a[0] >> ((w - a[1] % w) % w if a[1] % w else w))) & mask(w), "same"
    ),
    "eq": PureOp(lambda w, ws, a, x: int(a[0] == a[1]), "bool"),
    "ne": PureOp(lambda w, ws, a, x: int(a[0] != a[1]), "bool"),
    "ult": PureOp(lambda w, ws, a, x: int(a[0] < a[1]), "bool"),
    "ule": PureOp(lambda w, ws, a, x: int(a[0] <= a[1]), "bool"),
    "slt": PureOp(lambda w, ws, a, x: int(signed(a[0], ws[0]) < signed(a[1], ws[1])), "bool"),
    "sle": PureOp(lambda w, ws, a, x: int(signed(a[0], ws[0]) <= signed(a[1], ws[1])), "bool"),
    "zext": PureOp(lambda w, ws, a, x: a[0], "attr"),
    "sext": PureOp(lambda w, ws, a, x: signed(a[0], ws[0]) & mask(w), "attr"),
    "low": PureOp(lambda w, ws, a, x: a[0] & mask(w), "attr"),
    "select": PureOp(lambda w, ws, a, x: a[1] if a[0] else a[2], "attr"),
    "clz": PureOp(lambda w, ws, a, x: w - a[0].bit_length(), "same"),
    "ctz": PureOp(lambda w, ws, a, x: (a[0] & -a[0]).bit_length() - 1 if a[0] else w, "same"),
    "popcount": PureOp(lambda w, ws, a, x: bin(a[0]).count("1"), "same"),
    "bswap": PureOp(lambda w, ws, a, x: int.from_bytes(a[0].to_bytes(w // 8, "little"), "big"), "same"),
}
COMMUTATIVE = {"add", "mul", "mulhu", "and", "or", "xor", "eq", "ne"}
# Reads of machine state: not pure, kept in order, but without effect when unused.
READS = {"get", "getbyte", "field", "var"}


@dataclass(eq=False)
class Var:
    """A variable of a body: what an SSA value cannot be, because it changes inside `when` or `loop`."""

    width: int
    src: Src
    name: str
    ident: int = 0


@dataclass(eq=False)
class Callee:
    """Something callable from a body: an `Extern` of the core or a traced `Procedure`."""

    name: str
    params: tuple[int, ...]
    results: tuple[int, ...]
    faults: bool = False  # may leave the instruction by an exception
    raises: bool = False  # always leaves the instruction
    pure: bool = False


@dataclass(eq=False)
class Procedure(Callee):
    """A traced function of its own: one body, called from many entries."""

    body: Block = field(default_factory=list)
    args: tuple[Value, ...] = ()
    doc: str = ""
    src: Src = NOWHERE


@dataclass(eq=False)
class Let:
    value: Value


@dataclass(eq=False)
class SetReg:
    """Write a state register. `how` is "all" (whole register), "part" (low `value.width` bits) or "byte"."""

    reg: object
    index: Value | None
    value: Value
    how: str
    src: Src


@dataclass(eq=False)
class SetVar:
    var: Var
    value: Value
    src: Src


@dataclass(eq=False)
class If:
    cond: Value
    then: Block
    orelse: Block
    src: Src
    likely: bool | None = None


@dataclass(eq=False)
class Loop:
    body: Block
    src: Src


@dataclass(eq=False)
class Break:
    src: Src


@dataclass(eq=False)
class Call:
    callee: Callee
    args: tuple[Value, ...]
    results: tuple[Value, ...]
    src: Src


@dataclass(eq=False)
class Return:
    values: tuple[Value, ...]
    src: Src


@dataclass(eq=False)
class Branch:
    """End of the instruction with a near transfer. `slot` tells the exits of one instruction apart (for chaining)."""

    target: Value
    slot: int
    src: Src


Stmt = Let | SetReg | SetVar | If | Loop | Break | Call | Return | Branch
Block = list[Stmt]


def walk(block: Block) -> Iterator[Stmt]:
    """All statements of a body, inner blocks included, in order."""
    for stmt in block:
        yield stmt
        if isinstance(stmt, If):
            yield from walk(stmt.then)
            yield from walk(stmt.orelse)
        elif isinstance(stmt, Loop):
            yield from walk(stmt.body)


def operands(stmt: Stmt) -> tuple[Value, ...]:
    """The values that a statement uses."""
    if isinstance(stmt, Let):
        return stmt.value.args
    if isinstance(stmt, SetReg):
        return (stmt.value,) if stmt.index is None else (stmt.index, stmt.value)
    if isinstance(stmt, SetVar):
        return (stmt.value,)
    if isinstance(stmt, If):
        return (stmt.cond,)
    if isinstance(stmt, Call):
        return stmt.args
    if isinstance(stmt, Return):
        return stmt.values
    if isinstance(stmt, Branch):
        return (stmt.target,)
    return ()


def ends(block: Block) -> bool:
    """Whether control never reaches the end of the block."""
    if not block:
        return False
    last = block[-1]
    if isinstance(last, (Return, Break, Branch)):
        return True
    if isinstance(last, Call):
        return last.callee.raises
    if isinstance(last, If):
        return ends(last.then) and ends(last.orelse)
    if isinstance(last, Loop):
        return not _breaks(last.body)
    return False


def _breaks(block: Block) -> bool:
    for stmt in block:
        if isinstance(stmt, Break):
            return True
        if isinstance(stmt, If) and (_breaks(stmt.then) or _breaks(stmt.orelse)):
            return True
    return False


def may_fault(block: Block) -> bool:
    """Whether some statement may leave by an exception."""
    return any(isinstance(s, Call) and (s.callee.faults or s.callee.raises) for s in walk(block))


def sweep(block: Block) -> None:
    """Remove the values and pure calls that nothing uses, in place."""
    while True:
        live: set[int] = set()
        for stmt in walk(block):
            live.update(id(v) for v in operands(stmt))
        if not _sweep(block, live):
            return


def _sweep(block: Block, live: set[int]) -> bool:
    changed = False
    kept: Block = []
    for stmt in block:
        if isinstance(stmt, Let) and id(stmt.value) not in live:
            changed = True
            continue
        if isinstance(stmt, Call) and stmt.callee.pure and not any(id(r) in live for r in stmt.results):
            changed = True
            continue
        if isinstance(stmt, If):
            changed |= _sweep(stmt.then, live)
            changed |= _sweep(stmt.orelse, live)
            if not stmt.then and not stmt.orelse:
                changed = True
                continue
        elif isinstance(stmt, Loop):
            changed |= _sweep(stmt.body, live)
        kept.append(stmt)
    block[:] = kept
    return changed


def verify(block: Block, args: Sequence[Value] = (), *, in_procedure: bool = False, what: str = "body") -> None:
    """Check widths, definitions before uses, scopes and breaks; raise `SpecError` with the body printed."""

    def fail(src: Src, why: str) -> None:
        raise SpecError(f"{src}: {what}: {why}\n{show(block)}")

    def check_value(v: Value) -> None:
        if not 1 <= v.width <= MAX_WIDTH:
            fail(v.src, f"width {v.width} of {v.op} is not within 1 to {MAX_WIDTH}")
        if v.op in PURE:
            kind = PURE[v.op].result
            ws = [a.width for a in v.args]
            if v.op == "select":
                ok = ws[0] == 1 and ws[1] == ws[2] == v.width
            elif v.op in ("zext", "sext"):
                ok = ws[0] <= v.width
            elif v.op == "low":
                ok = ws[0] >= v.width
            elif v.op in ("shl", "lshr", "ashr", "rotl"):
                ok = ws[0] == v.width
            elif kind == "bool":
                ok = v.width == 1 and ws[0] == ws[1]
            else:
                ok = all(w == v.width for w in ws)
            if not ok:
                fail(v.src, f"{v.op} of widths {ws} cannot give width {v.width}")
        elif v.op == "const":
            if not isinstance(v.attr, int) or not 0 <= v.attr <= mask(v.width):
                fail(v.src, f"constant {v.attr!r} does not fit {v.width} bits")
        elif v.op not in READS and v.op not in ("arg", "result"):
            fail(v.src, f"unknown operation {v.op}")

    def run(body: Block, known: set[int], in_loop: bool) -> None:
        for k, stmt in enumerate(body):
            if k and ends(body[:k]):
                fail(getattr(stmt, "src", Src("", 0)), "a statement that is never reached")
            for v in operands(stmt):
                if v.op != "const" and id(v) not in known:
                    fail(v.src, f"{v.op} is used outside the `when` or `loop` that computes it (use a var)")
            if isinstance(stmt, Let):
                check_value(stmt.value)
                known.add(id(stmt.value))
            elif isinstance(stmt, SetVar):
                if stmt.value.width != stmt.var.width:
                    fail(stmt.src, f"{stmt.value.width} bits into the {stmt.var.width}-bit variable {stmt.var.name}")
            elif isinstance(stmt, If):
                if stmt.cond.width != 1:
                    fail(stmt.src, "a condition must be 1 bit wide")
                run(stmt.then, set(known), in_loop)
                run(stmt.orelse, set(known), in_loop)
            elif isinstance(stmt, Loop):
                run(stmt.body, set(known), True)
            elif isinstance(stmt, Break):
                if not in_loop:
                    fail(stmt.src, "`break_` outside a loop")
            elif isinstance(stmt, Call):
                got = tuple(a.width for a in stmt.args)
                if got != stmt.callee.params:
                    fail(stmt.src, f"{stmt.callee.name} takes widths {stmt.callee.params}, not {got}")
                known.update(id(r) for r in stmt.results)
            elif isinstance(stmt, Return):
                if stmt.values and not in_procedure:
                    fail(stmt.src, "`return_` with values outside a procedure")
            elif isinstance(stmt, Branch) and in_procedure:
                fail(stmt.src, "`branch` inside a procedure")

    run(block, {id(a) for a in args}, False)


def number(block: Block, args: Sequence[Value] = ()) -> None:
    """Give every value and variable of a body a number, in order."""
    n = 0
    seen: set[int] = set()
    for a in args:
        n += 1
        a.ident = n
    for stmt in walk(block):
        if isinstance(stmt, Let):
            n += 1
            stmt.value.ident = n
        elif isinstance(stmt, Call):
            for r in stmt.results:
                n += 1
                r.ident = n
        elif isinstance(stmt, SetVar) and id(stmt.var) not in seen:
            seen.add(id(stmt.var))
            stmt.var.ident = len(seen)


def show(block: Block, args: Sequence[Value] = ()) -> str:
    """The body as text, one statement a line: what tests compare and what an error shows."""
    number(block, args)
    lines: list[str] = []

    def name(v: Value) -> str:
        return hex(v.attr) if v.op == "const" and isinstance(v.attr, int) else f"%{v.ident}"

    def emit(body: Block, pad: str) -> None:
        for s in body:
            if isinstance(s, Let):
                v = s.value
                attr = "" if v.attr is None else f" {getattr(v.attr, 'name', v.attr)}"
                lines.append(f"{pad}%{v.ident}:{v.width} = {v.op}{attr} {', '.join(map(name, v.args))}".rstrip())
            elif isinstance(s, SetReg):
                at = "" if s.index is None else f"[{name(s.index)}]"
                how = "" if s.how == "all" else f" {s.how}"
                lines.append(f"{pad}{getattr(s.reg, 'name', s.reg)}{at}{how} := {name(s.value)}:{s.value.width}")
            elif isinstance(s, SetVar):
                lines.append(f"{pad}{s.var.name}.{s.var.ident} := {name(s.value)}:{s.value.width}")
            elif isinstance(s, If):
                lines.append(f"{pad}if {name(s.cond)}:")
                emit(s.then, pad + "  ")
                if s.orelse:
                    lines.append(f"{pad}else:")
                    emit(s.orelse, pad + "  ")
            elif isinstance(s, Loop):
                lines.append(f"{pad}loop:")
                emit(s.body, pad + "  ")
            elif isinstance(s, Break):
                lines.append(f"{pad}break")
            elif isinstance(s, Call):
                out = ", ".join(f"%{r.ident}:{r.width}" for r in s.results)
                lines.append(f"{pad}{out + ' = ' if out else ''}{s.callee.name}({', '.join(map(name, s.args))})")
            elif isinstance(s, Return):
                lines.append(f"{pad}return {', '.join(map(name, s.values))}".rstrip())
            elif isinstance(s, Branch):
                lines.append(f"{pad}branch.{s.slot} {name(s.target)}")

    emit(block, "")
    return "\n".join(lines)
