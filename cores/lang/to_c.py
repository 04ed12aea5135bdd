"""Lowering of traced bodies to C.

Every temporary is a zero-extended `uint32_t` (up to 32 bits) or `uint64_t`; values used once are written in place.
A callee that may fault returns nonzero, and the caller leaves at once with `FAULT`. What leaves a body (`NEXT`,
`BRANCH`, `FAULT`) are macros of the engine, given by `Style`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

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

SIGN_IS_NEAR = 24
"""Shifts from here on may bring a small number into the sign of an int."""
COMPARE = {"eq": "==", "ne": "!=", "ult": "<", "ule": "<="}


@dataclass
class Style:
    """How a body ends, as C text."""

    normal: str = "return 0;"  # reached the end
    fault: str = "return 1;"  # a callee reported an exception
    branch: str = "BRANCH({slot}, {target});"  # to a place that the decoded instruction fixes
    jump: str = "JUMP({target});"  # to a computed place
    raised: str = "return 1;"  # after a callee that always raises
    fields: dict[str, str] = field(default_factory=dict)  # fields of the instruction that are known here
    inline: dict[str, str] = field(
        default_factory=dict
    )  # callees that stand in place as a macro: "{args}" and "{results}"


class Emitter:
    """Lines of C with indentation by construction."""

    def __init__(self, depth: int = 1) -> None:
        self.lines: list[str] = []
        self.depth = depth

    def line(self, text: str) -> None:
        """One line at the current depth."""
        self.lines.append("    " * self.depth + text)


def ctype(width: int) -> str:
    """The C type of a temporary."""
    return "uint64_t" if width > 32 else "uint32_t"


def literal(x: int, width: int) -> str:
    """A constant as C text."""
    text = str(x) if x < 10 else hex(x)
    return text + ("ull" if width > 32 else "u")


def _host(width: int) -> int:
    return 64 if width > 32 else 32


class _Lower:
    def __init__(self, block: Block, args: Sequence[Value], style: Style) -> None:
        self.style = style
        self.uses: dict[int, int] = {}
        for stmt in walk(block):
            for v in operands(stmt):
                self.uses[id(v)] = self.uses.get(id(v), 0) + 1
        number(block, args)
        self.text: dict[int, str] = {id(a): f"a{a.ident}" for a in args}
        self.vars: dict[int, str] = {}

    def name(self, v: Value) -> str:
        if v.constant is not None:
            return literal(v.constant, v.width)
        return self.text[id(v)]

    def wrap(self, text: str, width: int) -> str:
        """Cut an expression of host width down to `width` bits."""
        if width in (32, 64):
            return text
        return f"({text} & {literal(mask(width), width)})"

    def signed(self, v: Value) -> str:
        w, host = v.width, _host(v.width)
        if w == host:
            return f"(int{host}_t){self.name(v)}"
        if w in (8, 16):
            return f"(int{host}_t)(int{w}_t){self.name(v)}"
        return f"((int{host}_t)({self.name(v)} << {host - w}) >> {host - w})"

    def expr(self, v: Value) -> str:
        n = [self.name(a) for a in v.args]
        w, op = v.width, v.op
        if op in ("add", "sub", "mul", "and", "or", "xor"):
            sym = {"add": "+", "sub": "-", "mul": "*", "and": "&", "or": "|", "xor": "^"}[op]
            text = f"({n[0]} {sym} {n[1]})"
            return text if sym in "&|^" else self.wrap(text, w)
        if op == "not":
            return f"(!{n[0]})" if w == 1 else self.wrap(f"(~{n[0]})", w)
        if op == "neg":
            return self.wrap(f"(0 - {n[0]})", w)
        if op in ("eq", "ne", "ult", "ule"):
            return f"({n[0]} {COMPARE[op]} {n[1]})"
        if op in ("slt", "sle"):
            return f"({self.signed(v.args[0])} {'<' if op == 'slt' else '<='} {self.signed(v.args[1])})"
        if op in ("zext", "low"):
            inner = v.args[0]
            if op == "low":
                text = f"(uint32_t){n[0]}" if inner.width > 32 >= w else n[0]
                return f"({self.wrap(text, w)})"
            return f"(uint64_t){n[0]}" if w > 32 >= inner.width else n[0]
        if op == "sext":
            inner = v.args[0]
            return self.wrap(f"(({ctype(w)}){self._sext_to(inner, _host(w))})", w)
        if op in ("shl", "lshr", "ashr"):
            return self.shift(v, n)
        if op == "rotl":
            fn = f"emu_rotl{w}" if w in (8, 16, 32, 64) else None
            if fn is None:
                raise ValueError(f"rotl of {w} bits")
            return f"{fn}({n[0]}, {n[1]})"
        if op == "mulhu":
            if w <= 32:
                return f"(uint32_t)(((uint64_t){n[0]} * {n[1]}) >> {w})"
            return f"(uint64_t)(((unsigned __int128){n[0]} * {n[1]}) >> {w})"
        if op in ("udiv", "urem"):
            return f"({n[1]} ? {n[0]} {'/' if op == 'udiv' else '%'} {n[1]} : 0)"
        if op in ("sdiv", "srem"):
            host = _host(w)
            a, b = self._sext_to(v.args[0], host), self._sext_to(v.args[1], host)
            return self.wrap(f"emu_{op}{host}({a}, {b})", w)
        if op == "select":
            return f"({n[0]} ? {n[1]} : {n[2]})"
        if op == "clz":
            host = _host(w)
            return f"(emu_clz{host}({n[0]}) - {host - w})" if host != w else f"emu_clz{host}({n[0]})"
        if op == "ctz":
            host = _host(w)
            return f"({n[0]} ? emu_ctz{host}({n[0]}) : {w}u)" if host != w else f"emu_ctz{host}({n[0]})"
        if op == "popcount":
            return f"({ctype(w)})__builtin_popcount{'ll' if w > 32 else ''}({n[0]})"
        if op == "bswap":
            return f"__builtin_bswap{w}({n[0]})"
        if op == "get":
            return self.get(v, n)
        if op == "getbyte":
            reg = v.attr
            if not isinstance(reg, Register):
                raise TypeError(op)
            return f"((const uint8_t *)cpu->{reg.name})[{n[0]}]"
        if op == "field":
            return self.style.fields.get(str(v.attr), f"i->{v.attr}")
        if op == "var":
            return self.var(v.attr)
        raise ValueError(f"no C for {op}")

    def _sext_to(self, inner: Value, host: int) -> str:
        name = self.name(inner)
        if inner.width in (8, 16, 32, 64):
            return f"(int{host}_t)(int{inner.width}_t){name}"
        up = host - inner.width
        return f"((int{host}_t)((uint{host}_t){name} << {up}) >> {up})"

    def get(self, v: Value, n: list[str]) -> str:
        reg = v.attr
        if not isinstance(reg, Register):
            raise TypeError("get")
        at = f"[{n[0]}]" if n else ""
        text = f"cpu->{reg.name}{at}"
        if v.width == reg.width:
            return text
        return f"(uint{v.width}_t){text}" if v.width in (8, 16, 32) else self.wrap(text, v.width)

    def shift(self, v: Value, n: list[str]) -> str:
        w, op, count = v.width, v.op, v.args[1].constant
        host = _host(w)
        if count is not None:
            if op == "ashr":
                text = f"((uint{host}_t)({self._sext_to(v.args[0], host)} >> {min(count, w - 1)}))"
                return self.wrap(text, w)
            if count >= w:
                return literal(0, w)
            if op == "lshr":
                return f"({n[0]} >> {count})"
            # What comparisons give is a signed int in C, whose top bit must not be shifted into.
            left = f"(uint32_t){n[0]}" if host == 32 and count >= SIGN_IS_NEAR and self.is_int(v.args[0]) else n[0]
            return self.wrap(f"({left} << {count})", w)
        if op == "ashr":
            text = f"((uint{host}_t)({self._sext_to(v.args[0], host)} >> ({n[1]} < {w} ? {n[1]} : {w - 1})))"
            return self.wrap(text, w)
        left = f"(uint32_t){n[0]}" if op == "shl" and host == 32 and self.is_int(v.args[0]) else n[0]
        text = f"({n[1]} < {w} ? {left} {'<<' if op == 'shl' else '>>'} {n[1]} : 0)"
        return self.wrap(text, w) if op == "shl" else text

    def is_int(self, v: Value) -> bool:
        """Whether a value, as it is written here, has the C type int."""
        if v.constant is not None or self.text[id(v)].isidentifier():
            return False
        if v.op in COMPARE or v.op in ("slt", "sle") or (v.op == "not" and v.width == 1):
            return True
        if v.op in ("zext", "shl"):
            return self.is_int(v.args[0])
        if v.op == "select":
            return self.is_int(v.args[1]) and self.is_int(v.args[2])
        return v.op in ("and", "or", "xor") and all(self.is_int(a) for a in v.args)

    def var(self, var: object) -> str:
        if not isinstance(var, Var):
            raise TypeError("var")
        return self.vars.setdefault(id(var), f"{var.name}{len(self.vars)}")

    def declare(self, block: Block, out: Emitter) -> None:
        """Variables that are set inside inner blocks are declared at the top."""
        seen: set[int] = set()
        for stmt in walk(block):
            if isinstance(stmt, SetVar) and id(stmt.var) not in seen:
                seen.add(id(stmt.var))
                out.line(f"{ctype(stmt.var.width)} {self.var(stmt.var)} = 0;")

    def run(self, block: Block, out: Emitter) -> None:
        for stmt in block:
            self.stmt(stmt, out)

    def stmt(self, stmt: object, out: Emitter) -> None:
        if isinstance(stmt, Let):
            v = stmt.value
            text = self.expr(v)
            # A read must stay where it stands; a pure value used once may move to its use.
            if (v.op in PURE and self.uses.get(id(v), 0) == 1) or v.op == "field":
                self.text[id(v)] = text
            else:
                out.line(f"const {ctype(v.width)} t{v.ident} = {_bare(text)};")
                self.text[id(v)] = f"t{v.ident}"
        elif isinstance(stmt, SetReg):
            self.set_register(stmt, out)
        elif isinstance(stmt, SetVar):
            out.line(f"{self.var(stmt.var)} = {_bare(self.name(stmt.value))};")
        elif isinstance(stmt, If):
            cond = self.name(stmt.cond)
            if stmt.likely is not None:
                cond = f"({'likely' if stmt.likely else 'unlikely'}({_bare(cond)}))"
            elif not cond.startswith("("):
                cond = f"({cond})"
            out.line(f"if {cond if _wrapped(cond) else f'({cond})'} {{")
            self.inner(stmt.then, out)
            if stmt.orelse:
                out.line("} else {")
                self.inner(stmt.orelse, out)
            out.line("}")
        elif isinstance(stmt, Loop):
            out.line("for (;;) {")
            self.inner(stmt.body, out)
            out.line("}")
        elif isinstance(stmt, Break):
            out.line("break;")
        elif isinstance(stmt, Call):
            self.call(stmt, out)
        elif isinstance(stmt, Return):
            for k, v in enumerate(stmt.values):
                out.line(f"*r{k} = {_bare(self.name(v))};")
            out.line(self.style.normal)
        elif isinstance(stmt, Branch):
            template = self.style.branch if fixed(stmt.target) else self.style.jump
            out.line(template.format(slot=min(stmt.slot, 1), target=_bare(self.name(stmt.target))))

    def inner(self, block: Block, out: Emitter) -> None:
        out.depth += 1
        self.run(block, out)
        out.depth -= 1

    def set_register(self, stmt: SetReg, out: Emitter) -> None:
        reg = stmt.reg
        if not isinstance(reg, Register):
            raise TypeError("set")
        value = _bare(self.name(stmt.value))
        if stmt.how == "byte" and stmt.index is not None:
            out.line(f"((uint8_t *)cpu->{reg.name})[{self.name(stmt.index)}] = {value};")
            return
        at = f"[{self.name(stmt.index)}]" if stmt.index is not None else ""
        place = f"cpu->{reg.name}{at}"
        if stmt.how == "part":
            w = stmt.value.width
            if w in (8, 16):
                # Little-endian host: the low part comes first in memory.
                out.line(f"*(uint{w}_t *)&{place} = {value};")
                return
            keep = literal(mask(reg.width) & ~mask(w), reg.width)
            out.line(f"{place} = ({place} & {keep}) | {self.name(stmt.value)};")
        else:
            out.line(f"{place} = {value};")

    def call(self, stmt: Call, out: Emitter) -> None:
        callee = stmt.callee
        args = [self.name(a) for a in stmt.args]
        first = [] if callee.pure else ["cpu"]
        if callee.raises:
            out.line(f"{callee.name}({', '.join(first + args)});")
            out.line(self.style.raised)
            return
        template = self.style.inline.get(callee.name)
        if template is not None:
            for r in stmt.results:
                self.text[id(r)] = f"t{r.ident}"
                out.line(f"{ctype(r.width)} t{r.ident};")
            outs_text = ", ".join(f"t{r.ident}" for r in stmt.results)
            out.line(template.format(args=", ".join(_bare(a) for a in args), results=outs_text))
            return
        single = len(callee.results) == 1 and not callee.faults
        if single:
            r = stmt.results[0]
            self.text[id(r)] = f"t{r.ident}"
            text = f"{c_name(callee)}({', '.join(first + [_bare(a) for a in args])})"
            if self.uses.get(id(r), 0):
                out.line(f"const {ctype(r.width)} t{r.ident} = {text};")
            else:
                out.line(f"(void){text};")
            return
        outs = []
        for r in stmt.results:
            self.text[id(r)] = f"t{r.ident}"
            out.line(f"{ctype(r.width)} t{r.ident};")
            outs.append(f"&t{r.ident}")
        text = f"{c_name(callee)}({', '.join(first + [_bare(a) for a in args] + outs)})"
        if callee.faults:
            out.line(f"if (unlikely({text})) {self.style.fault}")
        else:
            out.line(f"{text};")


def fixed(v: Value) -> bool:
    """Whether a value follows from the decoded instruction alone."""
    return v.op in ("const", "field") or (v.op in PURE and all(fixed(a) for a in v.args))


def _wrapped(text: str) -> bool:
    """Whether one pair of parentheses encloses the whole text."""
    if not (text.startswith("(") and text.endswith(")")):
        return False
    depth = 0
    for k, ch in enumerate(text):
        depth += ch == "("
        depth -= ch == ")"
        if depth == 0 and k < len(text) - 1:
            return False
    return True


def _bare(text: str) -> str:
    return text[1:-1] if _wrapped(text) else text


def c_name(callee: Callee) -> str:
    """The C function behind a callee."""
    return f"proc_{callee.name}" if isinstance(callee, Procedure) else callee.name


def body_text(block: Block, style: Style, args: Sequence[Value] = ()) -> list[str]:
    """The statements of a body as C lines, ended by `style.normal` where control reaches the end."""
    low = _Lower(block, args, style)
    out = Emitter()
    low.declare(block, out)
    low.run(block, out)
    if not ends(block):
        out.line(style.normal)
    return out.lines


def procedure_signature(proc: Procedure) -> str:
    """`static int proc_name(Cpu *cpu, ...)`; a lone result of a procedure that cannot fault is returned."""
    single = len(proc.results) == 1 and not proc.faults
    params = ["Cpu *cpu"] + [f"{ctype(w)} a{k + 1}" for k, w in enumerate(proc.params)]
    if not single:
        params += [f"{ctype(w)} *r{k}" for k, w in enumerate(proc.results)]
    kind = "int" if proc.faults else ctype(proc.results[0]) if single else "void"
    return f"{kind} proc_{proc.name}({', '.join(params)})"


def procedure_text(proc: Procedure, *, line_directives: bool = True) -> str:
    """The whole C function of a procedure."""
    single = len(proc.results) == 1 and not proc.faults
    if single:
        lines = body_text(proc.body, Style(normal="return *r0;", fault="return 1;", raised="return 0;"), proc.args)
        lines = ["    uint64_t r0_value = 0;", "    uint64_t *const r0 = &r0_value;", *lines]
        lines = [ln.replace("return *r0;", f"return ({ctype(proc.results[0])})*r0;") for ln in lines]
    elif proc.faults:
        lines = body_text(proc.body, Style(normal="return 0;", fault="return 1;", raised="return 1;"), proc.args)
    else:
        lines = body_text(proc.body, Style(normal="return;", fault="return;", raised="return;"), proc.args)
    head = [f"/* {proc.name}: {proc.doc.splitlines()[0] if proc.doc else ''} */"]
    if line_directives and proc.src.file:
        head.append(f'#line {proc.src.line} "{proc.src.file}"')
    return "\n".join([*head, "static " + procedure_signature(proc), "{", "    (void)cpu;", *lines, "}", ""])


def state_struct(state: State, extra: str = "") -> str:
    """The members of the CPU struct, in declaration order."""
    lines = []
    for r in state:
        dim = f"[{r.count}]" if r.count else ""
        note = f" /* {r.doc} */" if r.doc else ""
        lines.append(f"    {r.c_type} {r.name}{dim};{note}")
    return "\n".join(lines) + ("\n" + extra if extra else "")


PRELUDE = r"""
#define HELPER static inline __attribute__((unused))
HELPER uint32_t emu_rotl8(uint32_t v, uint32_t n) { n &= 7; return ((v << n) | (v >> ((8 - n) & 7))) & 0xff; }
HELPER uint32_t emu_rotl16(uint32_t v, uint32_t n)
{
    n &= 15;
    return ((v << n) | (v >> ((16 - n) & 15))) & 0xffff;
}
HELPER uint32_t emu_rotl32(uint32_t v, uint32_t n) { n &= 31; return (v << n) | (v >> ((32 - n) & 31)); }
HELPER uint64_t emu_rotl64(uint64_t v, uint64_t n) { n &= 63; return (v << n) | (v >> ((64 - n) & 63)); }
HELPER uint32_t emu_clz32(uint32_t v) { return v ? (uint32_t)__builtin_clz(v) : 32; }
HELPER uint64_t emu_clz64(uint64_t v) { return v ? (uint64_t)__builtin_clzll(v) : 64; }
HELPER uint32_t emu_ctz32(uint32_t v) { return v ? (uint32_t)__builtin_ctz(v) : 32; }
HELPER uint64_t emu_ctz64(uint64_t v) { return v ? (uint64_t)__builtin_ctzll(v) : 64; }
HELPER uint32_t emu_sdiv32(int32_t a, int32_t b)
{
    return b == 0 ? 0 : b == -1 ? 0u - (uint32_t)a : (uint32_t)(a / b);
}
HELPER uint32_t emu_srem32(int32_t a, int32_t b) { return b == 0 || b == -1 ? 0 : (uint32_t)(a % b); }
HELPER uint64_t emu_sdiv64(int64_t a, int64_t b)
{
    return b == 0 ? 0 : b == -1 ? 0u - (uint64_t)a : (uint64_t)(a / b);
}
HELPER uint64_t emu_srem64(int64_t a, int64_t b) { return b == 0 || b == -1 ? 0 : (uint64_t)(a % b); }
"""
