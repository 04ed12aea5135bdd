"""Lowering of traced bodies to the JIT's templates: the same statements as numbers, which the engine replays on the
fields of a decoded instruction (emu/engine/jit/expand.c).

A template is a row of 16-bit words. A word below CONSTANTS names a value of the body, in the order in which they are
made; from CONSTANTS on it names a constant of the core's pool. A body that cannot be replayed has no template: the
engine then calls its handler, or leaves the instruction to the interpreter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .ir import (
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
    walk,
)
from .state import Register, State
from .to_c import c_name, ctype, fixed
from .trace import Proc

# Pure operations with their number of operands; the engine's enum has the same order.
OPS = (
    ("add", 2), ("sub", 2), ("mul", 2), ("mulhu", 2), ("udiv", 2), ("urem", 2), ("sdiv", 2), ("srem", 2), ("and", 2),
    ("or", 2), ("xor", 2), ("not", 1), ("neg", 1), ("shl", 2), ("lshr", 2), ("ashr", 2), ("rotl", 2), ("eq", 2),
    ("ne", 2), ("ult", 2), ("ule", 2), ("slt", 2), ("sle", 2), ("zext", 1), ("sext", 1), ("low", 1), ("select", 3),
    ("clz", 1), ("ctz", 1), ("popcount", 1), ("bswap", 1),
)  # fmt: skip
STATEMENTS = (
    "field", "get", "getbyte", "getvar", "setall", "setpart", "setbyte", "setvar", "if", "loop", "break", "return",
    "branch", "mem_r", "mem_rw", "mem_w", "raise", "raise_if", "call", "end",
)  # fmt: skip
CODE = {name: n for n, name in enumerate([name for name, _ in OPS] + list(STATEMENTS))}
CONSTANTS = 0x8000
MAX_ARGS, MAX_RESULTS = 6, 4
MAX_FILE = 64
"""Register files with more elements than this stay out of the JIT's slots."""


class Unfit(Exception):
    """A body has something that a template cannot hold."""


ALONE, WITHIN, AT_END = range(3)
"""Where a trace may call the handler of a form: nowhere, on its way, or at the end of a block, as it may branch."""
PLAIN, CALLS, RETURNS, STOPS = range(4)
"""Roles of a form: a transfer that leaves a return address, one that uses it, and one whose handler ends a trace."""
SPLIT = ("gpr",)
"""Files of 64-bit registers whose halves are slots of their own."""


class Slots(NamedTuple):
    """A register as the JIT numbers it: its slots begin at `first`."""

    register: Register
    first: int

    @property
    def split(self) -> bool:
        """Two slots for each element: the low and the high word."""
        return self.register.name in SPLIT

    @property
    def size(self) -> int:
        """How many slots it has."""
        return max(1, self.register.count) * (2 if self.split else 1)


def slots(state: State) -> dict[str, Slots]:
    """The registers that templates may name."""
    out: dict[str, Slots] = {}
    n = 0
    for r in state:
        if r.count <= MAX_FILE:
            out[r.name] = Slots(r, n)
            n += out[r.name].size
    return out


@dataclass
class Pool:
    """Words and constants of all templates of a core."""

    registers: dict[str, Slots]
    fields: list[str]
    memory: Callable[[str], tuple[str, int] | None]  # callee name -> (kind, width)
    words: list[int] = field(default_factory=lambda: [CODE["end"]])
    constants: dict[int, int] = field(default_factory=dict)
    calls: dict[str, Callee] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.register_number = {name: n for n, name in enumerate(self.registers)}

    def add(self, block: Block) -> int:
        """Put a body in; its offset, or 0 if it does not fit."""
        at = len(self.words)
        try:
            self.words += _Template(self, block).words
        except Unfit:
            return 0
        return at

    def call(self, callee: Callee) -> int:
        """The number of a function that depends on its arguments alone; raises Unfit for any other."""
        if not _is_pure(callee) or len(callee.params) > MAX_ARGS or not 0 < len(callee.results) <= MAX_RESULTS:
            raise Unfit
        self.calls.setdefault(callee.name, callee)
        return list(self.calls).index(callee.name)

    def constant(self, v: int) -> int:
        """The word of a constant."""
        return CONSTANTS + self.constants.setdefault(v, len(self.constants))


class _Template:
    def __init__(self, pool: Pool, block: Block) -> None:
        self.pool = pool
        self.words: list[int] = []
        self.values: dict[int, int] = {}
        self.vars: dict[int, int] = {}
        self.count = 0
        self.stored = False
        self.check(block, False)
        self.run(block)
        self.words.append(CODE["end"])

    def check(self, block: Block, stored: bool) -> bool:
        """Nothing may be read, or make the instruction start again, after a store: it would see what it wrote."""
        for stmt in block:
            if isinstance(stmt, Call):
                kind = self.pool.memory(stmt.callee.name)
                if kind is not None and kind[0] == "mem_w":
                    stored = True
                elif stored and not stmt.callee.pure:
                    raise Unfit
            elif isinstance(stmt, Loop):
                stored = self.check(stmt.body, self.check(stmt.body, stored))
            elif isinstance(stmt, If):
                left = stmt.likely is False and not stored
                then = stored if left else self.check(stmt.then, stored)
                stored = self.check(stmt.orelse, stored) or then
        return stored

    def operand(self, v: Value) -> int:
        if v.constant is not None:
            return self.pool.constant(v.constant)
        return self.values[id(v)]

    def define(self, v: Value) -> None:
        self.values[id(v)] = self.count
        self.count += 1

    def put(self, name: str, width: int, *more: int) -> None:
        self.words += [CODE[name] | width << 8, *more]

    def register(self, reg: object) -> int:
        if not isinstance(reg, Register) or reg.name not in self.pool.register_number:
            raise Unfit
        return self.pool.register_number[reg.name]

    def run(self, block: Block) -> None:
        for stmt in block:
            self.stmt(stmt)

    def inner(self, block: Block) -> list[int]:
        outer, self.words = self.words, []
        self.run(block)
        inner, self.words = self.words, outer
        return inner

    def stmt(self, stmt: object) -> None:
        none = self.pool.constant(0)
        if isinstance(stmt, Let):
            self.let(stmt.value)
        elif isinstance(stmt, SetReg):
            index = none if stmt.index is None else self.operand(stmt.index)
            name = {"all": "setall", "part": "setpart", "byte": "setbyte"}[stmt.how]
            self.put(name, stmt.value.width, self.register(stmt.reg), index, self.operand(stmt.value))
        elif isinstance(stmt, SetVar):
            number = self.vars.setdefault(id(stmt.var), len(self.vars))
            self.put("setvar", stmt.var.width, number, self.operand(stmt.value))
        elif isinstance(stmt, If) and (_raises(stmt.then) or (stmt.likely is False and not self.stored)):
            self.put("raise_if", 1, self.operand(stmt.cond))
            self.run(stmt.orelse)
        elif isinstance(stmt, If):
            cond, before = self.operand(stmt.cond), self.count
            then, middle = self.inner(stmt.then), self.count
            orelse = self.inner(stmt.orelse)
            self.put("if", 1, cond, len(then), len(orelse), middle - before, self.count - middle)
            self.words += then + orelse
        elif isinstance(stmt, Loop):
            before, body = self.count, self.inner(stmt.body)
            self.put("loop", 1, len(body), self.count - before)
            self.words += body
        elif isinstance(stmt, Break):
            self.put("break", 1)
        elif isinstance(stmt, Return):
            self.put("return", 1)
        elif isinstance(stmt, Branch):
            self.put("branch", 32, min(stmt.slot, 1), int(fixed(stmt.target)), self.operand(stmt.target))
        elif isinstance(stmt, Call):
            self.call(stmt)

    def let(self, v: Value) -> None:
        if v.op == "field":
            if v.attr not in self.pool.fields:
                self.pool.fields.append(str(v.attr))
            self.put("field", v.width, self.pool.fields.index(str(v.attr)))
        elif v.op in ("get", "getbyte"):
            index = self.operand(v.args[0]) if v.args else self.pool.constant(0)
            self.put(v.op, v.width, self.register(v.attr), index)
        elif v.op == "var":
            self.put("getvar", v.width, self.vars.setdefault(id(v.attr), len(self.vars)))
        else:
            self.put(v.op, v.width, *(self.operand(a) for a in v.args))
        self.define(v)

    def call(self, stmt: Call) -> None:
        if stmt.callee.raises:
            self.put("raise", 1)
            return
        kind = self.pool.memory(stmt.callee.name)
        if kind is None:
            self.put("call", 64, self.pool.call(stmt.callee), *(self.operand(a) for a in stmt.args))
            for r in stmt.results:
                self.define(r)
            return
        name, width = kind
        self.stored |= name == "mem_w"
        self.put(name, width, *(self.operand(a) for a in stmt.args))
        for r in stmt.results:
            self.define(r)


def _is_pure(callee: Callee) -> bool:
    """Whether a callee depends on its arguments alone and does nothing else."""
    if not isinstance(callee, Procedure):
        return callee.pure
    if isinstance(callee, Proc):
        callee.trace()
    if callee.faults or callee.raises:
        return False
    return not any(
        isinstance(s, SetReg)
        or (isinstance(s, Let) and s.value.op in ("get", "getbyte"))
        or (isinstance(s, Call) and not _is_pure(s.callee))
        for s in walk(callee.body)
    )


def place(block: Block, *, ends: bool, keeps_going: bool) -> int:
    """Where the handler of a form may be called; `ends`: its entry says that it ends its block."""
    if ends:
        return ALONE
    targets = [s.target for s in walk(block) if isinstance(s, Branch)]
    if not targets:
        return WITHIN if keeps_going else ALONE
    return AT_END if all(fixed(t) for t in targets) else ALONE


def _raises(block: Block) -> bool:
    """Whether a block does nothing that lasts but raise."""
    return bool(block) and isinstance(block[-1], Call) and block[-1].callee.raises


def _numbers(name: str, kind: str, values: Sequence[int], per_line: int = 16) -> list[str]:
    out = [f"static const {kind} {name}[{len(values)}] = {{"]
    for k in range(0, len(values), per_line):
        out.append("    " + ", ".join(f"{v:#x}" if v > 9 else str(v) for v in values[k : k + per_line]) + ",")
    return [*out, "};"]


def _call_text(callee: Callee) -> list[str]:
    """The C that calls a function with what lies in the processor, as a trace does."""
    single = len(callee.results) == 1
    args = [f"({ctype(w)})cpu->jit_args[{k}]" for k, w in enumerate(callee.params)]
    if isinstance(callee, Procedure):
        args = ["cpu", *args]
    out = [f"static void jit_call_{callee.name}(Cpu *cpu)", "{"]
    if single:
        out.append(f"    cpu->jit_results[0] = {c_name(callee)}({', '.join(args)});")
    else:
        out += [f"    {ctype(w)} r{k};" for k, w in enumerate(callee.results)]
        args += [f"&r{k}" for k in range(len(callee.results))]
        out.append(f"    {c_name(callee)}({', '.join(args)});")
        out += [f"    cpu->jit_results[{k}] = r{k};" for k in range(len(callee.results))]
    return [*out, "}"]


def _quoted(name: str) -> str:
    return f'"{name}"'


def text(pool: Pool, forms: Iterable[tuple[int, int, int]], field_texts: Callable[[str], str]) -> str:
    """The tables as C. `forms`: (offset of the template or 0, where its handler serves, role) for each form."""
    rows = [(0, ALONE, 0), *forms]
    out = ["enum { " + ", ".join(f"T_{name.upper()}" for name in CODE) + " };"]
    out.append(f"enum {{ HANDLER_WITHIN = {WITHIN}, HANDLER_AT_END = {AT_END} }};")
    out.append(f"enum {{ ROLE_CALLS = {CALLS}, ROLE_RETURNS = {RETURNS}, ROLE_STOPS = {STOPS} }};")
    out.append(f"enum {{ T_CONSTANTS = {CONSTANTS:#x} }};")
    arity = [n for _, n in OPS]
    out += _numbers("template_arity", "uint8_t", arity)
    out += _numbers("template_words", "uint16_t", pool.words)
    out += [f"static const uint64_t template_constants[{len(pool.constants)}] = {{"]
    out += [f"    {v:#x}ull," for v in pool.constants]
    out += ["};"]
    out += [f"static const struct {{ uint32_t at; uint8_t handler, role; }} template_forms[{len(rows)}] = {{"]
    out += [f"    {{{at}, {int(handler)}, {role}}}," for at, handler, role in rows]
    out += ["};"]
    out += ["enum {"]
    out += [f"    SLOT_{name.upper()} = {s.first}," for name, s in pool.registers.items()]
    total = max(s.first + s.size for s in pool.registers.values())
    out += [f"    SLOT_COUNT = {total}", "};"]
    out += ["enum {", *(f"    REG_{name.upper()}," for name in pool.registers), "    REG_COUNT", "};"]
    members = "uint32_t offset; uint16_t first; uint8_t count, width, size, split;"
    out += [f"static const struct {{ {members} }} jit_registers[REG_COUNT] = {{"]
    for name, s in pool.registers.items():
        r = s.register
        size = int(r.c_type[4:-2]) // 8
        out.append(f"    {{offsetof(Cpu, {name}), {s.first}, {max(1, r.count)}, {r.width}, {size}, {int(s.split)}}},")
    out += ["};"]
    out += [f"static const char *const jit_register_names[] = {{{', '.join(_quoted(n) for n in pool.registers)}}};"]
    for callee in pool.calls.values():
        out += _call_text(callee)
    members = "void (*fn)(Cpu *); const char *name; uint8_t args, results, widths[4];"
    out += [f"static const struct {{ {members} }} jit_calls[] = {{"]
    for callee in pool.calls.values():
        widths = ", ".join(map(str, callee.results))
        counts = f"{len(callee.params)}, {len(callee.results)}"
        out.append(f'    {{jit_call_{callee.name}, "{callee.name}", {counts}, {{{widths}}}}},')
    out += ["    {NULL, NULL, 0, 0, {0}},", "};"]
    out += ["static uint64_t template_field(const struct Insn *i, uint32_t number)", "{", "    switch (number) {"]
    out += [f"    case {n}: return {field_texts(name)};" for n, name in enumerate(pool.fields)]
    out += ["    default: return 0;", "    }", "}"]
    return "\n".join(out) + "\n"
