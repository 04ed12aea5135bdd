"""Which bits of some registers a body changes, and which it looks at: for documentation, from the IR alone.

Every bit is followed as a sum modulo 2 of atoms (a register's bit at the start, a bit of some computed value, the
constant 1). That is exact for moving, masking and complementing bits, so "set the carry and keep the overflow, which
is stored as a difference to it" is seen for what it is. Anything else becomes an atom of its own that remembers its
inputs. Both sides of a `when` are followed and bodies of loops once; a procedure is looked at once and applied where it
is called.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .ir import (
    Block,
    Branch,
    Break,
    Call,
    If,
    Let,
    Loop,
    Procedure,
    Return,
    SetReg,
    SetVar,
    Value,
    ends,
    operands,
    walk,
)
from .state import Register

Atom = tuple[object, ...]
Bit = frozenset[Atom]
Bits = tuple[Bit, ...]
ONE: Atom = ("one",)
ZERO_BIT: Bit = frozenset()
ONE_BIT: Bit = frozenset({ONE})
MAX_STATES = 24


@dataclass
class Path:
    """Registers, variables and values on one way through the body."""

    regs: dict[str, Bits]
    variables: dict[int, Bits] = field(default_factory=dict)
    values: dict[int, Bits] = field(default_factory=dict)

    def copy(self) -> Path:
        """A path that goes its own way from here."""
        return Path(dict(self.regs), dict(self.variables), dict(self.values))

    def key(self) -> tuple[tuple[str, Bits], ...]:
        """What two paths must share to be the same from here on."""
        return tuple(sorted(self.regs.items(), key=lambda item: item[0]))


def start_bit(reg: str, bit: int) -> Atom:
    """The atom of a register's bit before the body."""
    return ("start", reg, bit)


class BitFlow:
    """Follow the registers in `watched` (none of them a file) through a body.

    `exits` are the register bits wherever the body ends normally; `read` are the start bits that anything but their own
    register depends on.
    """

    def __init__(self, block: Block, watched: Sequence[Register], procedures: dict[int, BitFlow] | None = None) -> None:
        self.procedures = {} if procedures is None else procedures
        self.watched = {r.name: r for r in watched}
        self.origins: dict[object, frozenset[Bit]] = {}  # number of an opaque value -> the bits it was made from
        self.touched: set[Bit] = set()
        self.exits: list[dict[str, Bits]] = []
        self.read: set[Atom] = set()
        self.fresh = 0
        path = Path({r.name: tuple(frozenset({start_bit(r.name, k)}) for k in range(r.width)) for r in watched})
        for end in self._run(block, [path]):
            self.exits.append(end.regs)

    # --- statements --------------------------------------------------------------------------------------------------

    def _run(self, block: Block, paths: list[Path]) -> list[Path]:
        for stmt in block:
            going: list[Path] = []
            for path in paths:
                going += self._step(stmt, path)
            paths = self._merge(going)
            if not paths:
                break
        return paths

    def _merge(self, paths: list[Path]) -> list[Path]:
        if len(paths) <= 1:
            return paths
        kept = {p.key(): p for p in paths}
        out = list(kept.values()) if len(paths) > MAX_STATES // 2 else paths
        if len(out) <= MAX_STATES:
            return out
        one = out[0]
        for name, bits in one.regs.items():
            if any(p.regs[name] != bits for p in out):
                one.regs[name] = self._opaque(len(bits), [b for p in out for b in p.regs[name]])
        return [one]

    def _step(self, stmt: object, path: Path) -> list[Path]:
        if isinstance(stmt, Let):
            v = stmt.value
            if v.op in ("get", "var"):
                path.values[id(v)] = self._load(v, path)
            elif v.op not in ("field", "getbyte"):
                path.values[id(v)] = self._compute(v, path)
        elif isinstance(stmt, SetVar):
            path.variables[id(stmt.var)] = self._bits(stmt.value, path)
        elif isinstance(stmt, SetReg):
            self._set(stmt, path)
        elif isinstance(stmt, If):
            self._use((stmt.cond,), path)
            known = self._bits(stmt.cond, path)[0]
            out = []
            if known != ZERO_BIT:
                out += self._run(stmt.then, [path.copy()])
            if known != ONE_BIT:
                out += self._run(stmt.orelse, [path.copy()])
            return out
        elif isinstance(stmt, Loop):
            self._havoc(stmt.body, path)
            self._run(stmt.body, [path.copy()])
            return [] if ends([stmt]) else [path]
        elif isinstance(stmt, Call):
            self._use(stmt.args, path)
            if isinstance(stmt.callee, Procedure):
                self._call(stmt.callee, path)
            for r in stmt.results:
                path.values[id(r)] = self._opaque(r.width, [])
            return [] if stmt.callee.raises else [path]
        elif isinstance(stmt, (Return, Branch)):
            self._use(operands(stmt), path)
            self.exits.append(path.regs)
            return []
        elif isinstance(stmt, Break):
            return []
        return [path]

    def _set(self, stmt: SetReg, path: Path) -> None:
        reg = stmt.reg
        if not isinstance(reg, Register) or reg.name not in self.watched:
            self._use(operands(stmt), path)
            return
        bits = self._bits(stmt.value, path)
        path.regs[reg.name] = bits + path.regs[reg.name][len(bits) :]

    def _havoc(self, block: Block, path: Path) -> None:
        """What a loop sets has an unknown value in it and after it."""
        for stmt in walk(block):
            if isinstance(stmt, SetReg) and isinstance(stmt.reg, Register) and stmt.reg.name in self.watched:
                path.regs[stmt.reg.name] = self._opaque(stmt.reg.width, [])
            elif isinstance(stmt, SetVar):
                path.variables[id(stmt.var)] = self._opaque(stmt.var.width, [])
            elif isinstance(stmt, Call) and isinstance(stmt.callee, Procedure):
                self._call(stmt.callee, path)

    def _call(self, callee: Procedure, path: Path) -> None:
        inner = self.procedures.get(id(callee))
        if inner is None:
            inner = self.procedures[id(callee)] = BitFlow(callee.body, list(self.watched.values()), self.procedures)
        before = path.regs

        def now(atom: Atom) -> Bit:
            return before[str(atom[1])][int(str(atom[2]))]

        for atom in inner.read:
            starts = atom[1:] if atom[0] == "sum" else (atom,)
            total = ZERO_BIT
            for start in starts:
                if isinstance(start, tuple):
                    total ^= now(start)
            self._touch([total])
        after = dict(before)
        for name, bits in before.items():
            kept = []
            for k, bit in enumerate(bits):
                here = {regs[name][k] for regs in inner.exits}
                unchanged = here <= {frozenset({start_bit(name, k)})}
                kept.append(bit if unchanged else self._mixed())
            after[name] = tuple(kept)
        path.regs = after

    # --- values ------------------------------------------------------------------------------------------------------

    def _opaque(self, width: int, origins: Iterable[Bit]) -> Bits:
        self.fresh += 1
        self.origins[self.fresh] = frozenset(origins)
        return tuple(frozenset({("value", self.fresh, k)}) for k in range(width))

    def _mixed(self, *bits: Bit) -> Bit:
        return self._opaque(1, bits)[0]

    def _bits(self, v: Value, path: Path) -> Bits:
        if v.constant is not None:
            return tuple(ONE_BIT if v.constant >> k & 1 else ZERO_BIT for k in range(v.width))
        known = path.values.get(id(v))
        if known is None:
            known = path.values[id(v)] = self._opaque(v.width, [])
        return known

    def _load(self, v: Value, path: Path) -> Bits:
        if v.op == "var":
            return path.variables.get(id(v.attr)) or self._opaque(v.width, [])
        reg = v.attr
        if isinstance(reg, Register) and reg.name in self.watched:
            return path.regs[reg.name][: v.width]
        return self._opaque(v.width, [])

    def _compute(self, v: Value, path: Path) -> Bits:
        args = [self._bits(a, path) for a in v.args]
        w = v.width
        if v.op == "xor":
            return tuple(a ^ b for a, b in zip(args[0], args[1], strict=True))
        if v.op == "not":
            return tuple(a ^ ONE_BIT for a in args[0])
        if v.op in ("and", "or"):
            return tuple(self._and_or(v.op, a, b) for a, b in zip(args[0], args[1], strict=True))
        if v.op in ("zext", "low"):
            return (args[0] + (ZERO_BIT,) * w)[:w]
        if v.op == "sext":
            return args[0] + (args[0][-1],) * (w - len(args[0]))
        if v.op in ("shl", "lshr", "ashr") and v.args[1].constant is not None:
            n = min(v.args[1].constant, w)
            if v.op == "shl":
                return ((ZERO_BIT,) * n + args[0])[:w]
            return args[0][n:] + ((args[0][-1] if v.op == "ashr" else ZERO_BIT),) * n
        if v.op == "popcount":
            parity = ZERO_BIT
            for b in args[0]:
                parity ^= b
            return (parity, *self._opaque(w - 1, args[0]))
        if v.op == "select":
            return tuple(a if a == b else self._mixed(*args[0], a, b) for a, b in zip(args[1], args[2], strict=True))
        if v.op in ("eq", "ne") and w == 1 and len(args[0]) == 1:
            same = args[0][0] ^ args[1][0]
            return (same ^ ONE_BIT if v.op == "eq" else same,)
        return self._opaque(w, [b for bits in args for b in bits])

    def _and_or(self, op: str, a: Bit, b: Bit) -> Bit:
        keeps, absorbs = (ONE_BIT, ZERO_BIT) if op == "and" else (ZERO_BIT, ONE_BIT)
        if absorbs in (a, b):
            return absorbs
        if a == keeps:
            return b
        if b == keeps or a == b:
            return a
        return self._mixed(a, b)

    # --- what is looked at -------------------------------------------------------------------------------------------

    def _use(self, values: Iterable[Value], path: Path) -> None:
        for v in values:
            if v.constant is None:
                self._touch(self._bits(v, path))

    def _touch(self, bits: Iterable[Bit]) -> None:
        for bit in bits:
            self.read |= self._follow(bit, self.touched)

    def sources(self, bit: Bit) -> set[Atom]:
        """The start bits that a bit is made from. Where the same sum occurs whole, it is given whole."""
        return self._follow(bit, set())

    def _follow(self, bit: Bit, done: set[Bit]) -> set[Atom]:
        """The sources of a bit and of everything behind it that is not yet `done`."""
        out: set[Atom] = set()
        todo: list[Bit] = [bit]
        seen: set[object] = set()
        while todo:
            b = todo.pop()
            if b in done:
                continue
            done.add(b)
            starts = frozenset(a for a in b if a[0] == "start")
            if len(starts) > 1:
                out.add(("sum", *sorted(starts, key=repr)))
            else:
                out |= starts
            for atom in b:
                if atom[0] == "value" and atom[1] not in seen:
                    seen.add(atom[1])
                    todo += self.origins[atom[1]]
        return out
