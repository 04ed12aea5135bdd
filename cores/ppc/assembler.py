"""The PowerPC assembler: multi-line sources with labels and directives, in the syntax that `text.disassemble` prints.

`cores/lang/assembler.py` is the frame and says which directives there are; `.byte .short .long .quad` are other names
of `db dw dd dq`. Comments begin with `;` or `#`. Registers are names (`r3`, `f1`, `cr7`) or numbers, bits of CR
expressions (`4*cr7+eq`), special purpose registers names or numbers. `label@l @h @ha` are the halves of an address;
`@ha` goes with a signed lower half. Simplified mnemonics are those of Book I, appendix C.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from ..lang.assembler import AsmError, Program, assemble_with
from ..lang.to_text import Lookup, Node, TextError, Token, Tokens, nearest, num, parse_expression
from .decoder import by_mnemonic
from .forms import FIELDS, Form, halves_swapped, with_field

HALVES = ("@l", "@h", "@ha")
_BITS = {"lt": 0, "gt": 1, "eq": 2, "so": 3, "un": 3}
_REGISTER = re.compile(r"(r|f|cr)(0|[1-9]\d?)$")
_KINDS = {
    **dict.fromkeys(("rt", "rs", "ra", "ra0", "rb"), "r"), **dict.fromkeys(("frt", "frs", "fra", "frb", "frc"), "f"),
    **dict.fromkeys(("bf", "bfa", "fpf", "fpfa", "crs"), "cr"),
}  # fmt: skip
_WORDS = {"r": "a register r0 to r31", "f": "a register f0 to f31", "cr": "a field cr0 to cr7"}
BIT_FIELDS = frozenset(("bt", "ba", "bb", "bi", "crb"))
# What may be left out, and is 0 then.
OPTIONAL = frozenset(("ct", "lev", "oc", "wc"))

# --- simplified mnemonics: operands {0}, {1} ... of another instruction ----------------------------------------------

_ROTATES = {
    "rotlwi": "rlwinm {0}, {1}, {2}, 0, 31",
    "rotrwi": "rlwinm {0}, {1}, 32-({2})&31, 0, 31",
    "rotlw": "rlwnm {0}, {1}, {2}, 0, 31",
    "slwi": "rlwinm {0}, {1}, {2}, 0, 31-({2})",
    "srwi": "rlwinm {0}, {1}, 32-({2})&31, {2}, 31",
    "clrlwi": "rlwinm {0}, {1}, 0, {2}, 31",
    "clrrwi": "rlwinm {0}, {1}, 0, 0, 31-({2})",
    "extlwi": "rlwinm {0}, {1}, {3}, 0, ({2})-1",
    "extrwi": "rlwinm {0}, {1}, ({2})+({3})&31, 32-({2}), 31",
    "clrlslwi": "rlwinm {0}, {1}, {3}, ({2})-({3}), 31-({3})",
    "inslwi": "rlwimi {0}, {1}, 32-({3})&31, {3}, ({2})+({3})-1",
    "insrwi": "rlwimi {0}, {1}, 32-({2})-({3})&31, {3}, ({2})+({3})-1",
    "mr": "or {0}, {1}, {1}",
    "not": "nor {0}, {1}, {1}",
}
_PLAIN = {
    "nop": "ori 0, 0, 0", "li": "addi {0}, 0, {1}", "lis": "addis {0}, 0, {1}", "subi": "addi {0}, {1}, -({2})",
    "subis": "addis {0}, {1}, -({2})", "subic": "addic {0}, {1}, -({2})", "subic.": "addic. {0}, {1}, -({2})",
    "la": "addi {0}, {base}, {offset}", "mtcr": "mtcrf 0xff, {0}", "mtfs": "mtfsf 0xff, {0}",
    "crset": "creqv {0}, {0}, {0}", "crclr": "crxor {0}, {0}, {0}", "crmove": "cror {0}, {1}, {1}",
    "crnot": "crnor {0}, {1}, {1}", "msync": "sync", "mbar": "eieio", "trap": "tw 31, 0, 0",
    "isellt": "isel {0}, {1}, {2}, 0", "iselgt": "isel {0}, {1}, {2}, 1", "iseleq": "isel {0}, {1}, {2}, 2",
    "evmr": "evor {0}, {1}, {1}", "evnot": "evnor {0}, {1}, {1}",
}  # fmt: skip
_TRAPS = {"lgt": 1, "llt": 2, "eq": 4, "lge": 5, "lnl": 5, "lle": 6, "lng": 6, "gt": 8, "ge": 12, "nl": 12, "lt": 16,
          "le": 20, "ng": 20, "ne": 24, "u": 31}  # fmt: skip


def _aliases() -> dict[str, str]:
    out = dict(_PLAIN)
    for name, text in _ROTATES.items():
        out[name] = text
        head, _, rest = text.partition(" ")
        out[name + "."] = f"{head}. {rest}"
    for tail in ("", ".", "o", "o."):
        out["sub" + tail] = f"subf{tail} {{0}}, {{2}}, {{1}}"
        out["subc" + tail] = f"subfc{tail} {{0}}, {{2}}, {{1}}"
    for name, to in _TRAPS.items():
        out[f"tw{name}"] = f"tw {to}, {{0}}, {{1}}"
        out[f"tw{name}i"] = f"twi {to}, {{0}}, {{1}}"
    return out


ALIASES = _aliases()


@dataclass(frozen=True)
class Branch:
    """A conditional branch by name: the instruction behind it, BO, and the bit of a field (None: BI is an operand, or
    does not matter)."""

    base: str
    bo: int
    bit: int | None = None
    operand: bool = False


def _branches() -> dict[str, Branch]:
    conditions = {
        name: (bo, bit)
        for bo, names in ((12, ("lt", "gt", "eq", "so")), (4, ("ge", "le", "ne", "ns")))
        for bit, name in enumerate(names)
    }
    conditions |= {"un": (12, 3), "nl": (4, 0), "ng": (4, 1), "nu": (4, 3)}
    counted = {"dnz": 16, "dz": 18, "dnzt": 8, "dzt": 10, "dnzf": 0, "dzf": 2, "t": 12, "f": 4}
    out = {}
    for base in ("bc", "bcl", "bca", "bcla", "bclr", "bclrl", "bcctr", "bcctrl"):
        tail = base[2:]
        for name, (bo, bit) in conditions.items():
            out[f"b{name}{tail}"] = Branch(base, bo, bit)
        for name, bo in counted.items():
            if not ("ctr" in tail and name.startswith("d")):
                out[f"b{name}{tail}"] = Branch(base, bo, operand=name[-1] in "tf")
        if "r" in tail:
            out[f"b{tail}"] = Branch(base, 20)
    return out


BRANCHES = _branches()


# --- operands --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Argument:
    """An expression as it was read for a field; `half` is `@l`, `@h`, `@ha` or nothing."""

    node: Node
    half: str = ""

    def value(self, lookup: Lookup) -> int:
        """The number, a half without sign."""
        v = self.node.value(lookup)
        if not self.half:
            return v
        v &= 0xFFFFFFFF
        return {"@l": v, "@h": v >> 16, "@ha": v + 0x8000 >> 16}[self.half] & 0xFFFF


def _split(node: Node) -> tuple[Node, set[str]]:
    """The expression with the halves taken off its names."""
    if node.op == "sym":
        name, at, half = node.name.partition("@")
        return (Node("sym", name=name), {at + half.lower()}) if at else (node, set())
    parts = [_split(a) for a in node.args]
    return Node(node.op, tuple(p for p, _ in parts), node.number, node.name), set().union(*(h for _, h in parts))


def _argument(tokens: Tokens) -> Argument:
    node, halves = _split(parse_expression(tokens))
    if tokens.next is not None and tokens.next.text.startswith("@"):
        halves.add(tokens.take().word)
    if len(halves) > 1 or not halves <= set(HALVES):
        raise TextError(f"one of {', '.join(HALVES)} is expected, found {' and '.join(sorted(halves))}")
    return Argument(node, *halves)


def _register(tokens: Tokens, kind: str) -> Argument:
    token = tokens.next
    if token is not None and token.kind == "name":
        found = _REGISTER.match(token.word)
        if found is None or found[1] != kind or int(found[2]) >= (8 if kind == "cr" else 32):
            raise TextError(f"{_WORDS[kind]} is expected, found {token.text!r}")
        tokens.take()
        return Argument(num(int(found[2])))
    if token is None or token.kind == "string":
        raise TextError(f"{_WORDS[kind]} is expected")
    return Argument(parse_expression(tokens))


def _bit(node: Node) -> Node:
    """`4*cr7+eq` as numbers."""
    if node.op == "sym":
        word = node.name.lower()
        found = _REGISTER.match(word)
        if word in _BITS:
            return num(_BITS[word])
        if found is not None and found[1] == "cr" and int(found[2]) < 8:
            return num(int(found[2]))
        return node
    return Node(node.op, tuple(_bit(a) for a in node.args), node.number)


@cache
def spr_numbers(move: str) -> dict[str, int]:
    """Special purpose registers by name as `mfspr` and `mtspr` know them: some have a number for each direction."""
    out: dict[str, int] = {}
    ways = (move, "mtspr" if move == "mfspr" else "mfspr")
    for way in ways:
        base = by_mnemonic()[way][0]
        for name, forms in by_mnemonic().items():
            for form in forms:
                if name.startswith(way[:2]) and form is not base and form.value & base.mask == base.value:
                    out.setdefault(name[2:], halves_swapped(form.value >> 11 & 0x3FF))
    if move == "mfspr":
        out |= {"tbl": out["tb"]}
    return out


def _spr(tokens: Tokens, move: str) -> Argument:
    token = tokens.next
    if token is not None and token.kind == "name" and token.word in spr_numbers(move):
        return Argument(num(spr_numbers(move)[tokens.take().word]))
    return _argument(tokens)


def _read(name: str, tokens: Tokens, mnemonic: str = "") -> Argument:
    """One operand of the kind that a field takes."""
    if name in _KINDS:
        return _register(tokens, _KINDS[name])
    if name == "spr":
        return _spr(tokens, mnemonic)
    argument = _argument(tokens)
    return Argument(_bit(argument.node), argument.half) if name in BIT_FIELDS else argument


def _pieces(tokens: Tokens) -> list[list[Token]]:
    """The rest of a line, by the commas outside parentheses."""
    out: list[list[Token]] = []
    depth = 0
    while tokens.next is not None:
        token = tokens.take()
        if not out:
            out.append([])
        if token.kind == "op":
            depth += {"(": 1, ")": -1}.get(token.text, 0)
            if token.text == "," and depth <= 0:
                out.append([])
                continue
        out[-1].append(token)
    return out


def _tokens(items: list[Token]) -> Tokens:
    tokens = Tokens("")
    tokens.items = items
    return tokens


@cache
def _shapes(syntax: str) -> tuple[tuple[str, ...], ...]:
    """The operand lists that a form takes, each as `d(ra0)` or a field name; the full one first."""
    full = tuple(s.strip() for s in syntax.partition(" ")[2].split(",") if s.strip())
    if full and (full[0] in OPTIONAL or (full[0] == "bf" and syntax.startswith("cmp"))):
        return full, full[1:]
    return (full,)


def _fields(mnemonic: str, shape: tuple[str, ...], pieces: list[list[Token]]) -> list[tuple[str, Argument]]:
    out = []
    for slot, piece in zip(shape, pieces, strict=True):
        tokens = _tokens(piece)
        names = re.findall(r"\w+", slot)
        out.append((names[0], _read(names[0], tokens, mnemonic)))
        if len(names) == 2:
            tokens.expect("(")
            out.append((names[1], _read(names[1], tokens)))
            tokens.expect(")")
        tokens.end()
    return out


# --- encoding --------------------------------------------------------------------------------------------------------


@dataclass
class Word:
    """An instruction as it was read: the forms it may be, all with the same operands, and these."""

    mnemonic: str
    forms: list[Form]
    arguments: list[tuple[str, Argument]]
    fixed: bool
    hint: str = ""

    def encode(self, lookup: Lookup, here: int, at_least: int = 0) -> bytes:
        """See `lang.assembler.Code`; always four bytes."""
        try:
            return self._word(lookup, here).to_bytes(4, "big")
        except ValueError as error:
            raise TextError(f"{self.mnemonic}: {error}") from None

    def _word(self, lookup: Lookup, here: int) -> int:
        for form in self.forms:
            word = form.value
            for name, argument in self.arguments:
                word = with_field(
                    word, "ra" if name == "ra0" else name, self._value(form, name, argument, lookup, here)
                )
            if word & form.mask == form.value:
                return self._hinted(word)
        raise ValueError("there is no such form")

    def _value(self, form: Form, name: str, argument: Argument, lookup: Lookup, here: int) -> int:
        v = argument.value(lookup)
        if name in ("li", "bd"):
            v = _signed(v if form.statics.get("aa") else v - here, 32)
            if v & 3:
                raise ValueError(f"the target is {v & 3} bytes off a word")
            _, count, _, shift = FIELDS[name]
            if not -(1 << (count + shift - 1)) <= v < 1 << (count + shift - 1):
                raise ValueError(f"the target is out of reach ({v:+#x})")
        elif name in ("spr", "dcrn", "pmrn"):
            if not 0 <= v < 1024:
                raise ValueError(f"{v} is no register number")
            v = halves_swapped(v)
        elif name == "nb":
            if not 1 <= v <= 32:
                raise ValueError(f"{v} bytes: 1 to 32 is expected")
            v &= 31
        elif name in ("si", "d") and (argument.half or (form.syntax.startswith("addis") and v > 0)) and v < 1 << 16:
            v = _signed(v, 16)
        return v

    def _hinted(self, word: int) -> int:
        """With the y bit where the hint is not what the direction says."""
        if not self.hint:
            return word
        relative = word >> 26 == 16
        backwards = bool(relative and word & 0x8000)
        return word | ((self.hint == "+") != backwards) << 21


def _signed(v: int, bits: int) -> int:
    v &= (1 << bits) - 1
    return v - (1 << bits) if v >> (bits - 1) else v


class Ppc:
    """The dialect."""

    order: Literal["big"] = "big"
    comments = ";#"
    directives = ()
    data: Mapping[str, int] = {".byte": 1, ".short": 2, ".long": 4, ".quad": 8}

    def reserved(self, word: str) -> bool:
        """Registers and bits of a condition field."""
        return word in _BITS or _REGISTER.match(word) is not None

    def is_prefix(self, word: str) -> bool:
        """There are none."""
        return False

    def is_mnemonic(self, word: str) -> bool:
        """Instructions and their simplified names."""
        return is_mnemonic(word)

    def directive(self, word: str, tokens: Tokens, lookup: Lookup) -> None:
        """There are none of its own."""
        raise TextError(f"{word} is no directive")

    def instruction(self, tokens: Tokens, lookup: Lookup) -> Word:
        """One instruction."""
        token = tokens.take()
        return _instruction(token, tokens)

    def padding(self, count: int) -> bytes:
        """nop, after zeros up to a word."""
        return bytes(count & 3) + bytes.fromhex("60000000") * (count >> 2)


def is_mnemonic(word: str) -> bool:
    """Whether an instruction begins with this word (without a hint)."""
    return word in by_mnemonic() or word in ALIASES or word in BRANCHES


def mnemonics() -> set[str]:
    """All names of instructions."""
    return {*by_mnemonic(), *ALIASES, *BRANCHES}


def _instruction(head: Token, tokens: Tokens) -> Word:
    name = head.word
    if name in BRANCHES:
        hint = ""
        if tokens.next is not None and tokens.next.text in ("+", "-"):
            hint = tokens.take().text
        return _branch(name, BRANCHES[name], hint, _pieces(tokens))
    pieces = _pieces(tokens)
    if name in ALIASES:
        text = _expanded(name, pieces)
        tokens = Tokens(text)
        word = _instruction(tokens.take(), tokens)
        word.mnemonic = name
        return word
    forms = by_mnemonic().get(name)
    if forms is None:
        near = nearest(name, mnemonics())
        raise TextError(f"{head.text!r} is no instruction" + (f"; did you mean {near}?" if near else ""))
    chosen = [form for form in forms if not form.zero]
    for shape in dict.fromkeys(shape for form in chosen for shape in _shapes(form.syntax)):
        if len(shape) == len(pieces):
            arguments = _fields(name, shape, pieces)
            return Word(name, [f for f in chosen if shape in _shapes(f.syntax)], arguments, _is_fixed(arguments))
    wanted = " or ".join(dict.fromkeys(f"{name} {', '.join(_shapes(form.syntax)[0])}".strip() for form in chosen))
    raise TextError(f"expected {wanted}, found {_how_many(len(pieces))}")


def _how_many(count: int) -> str:
    return f"{count or 'no'} operand{'' if count == 1 else 's'}"


def _is_fixed(arguments: list[tuple[str, Argument]]) -> bool:
    return not any(name in ("li", "bd") or argument.node.symbols() for name, argument in arguments)


def _expanded(name: str, pieces: list[list[Token]]) -> str:
    text = ALIASES[name]
    count = max((int(n) + 1 for n in re.findall(r"\{(\d)\}", text)), default=0)
    given = [" ".join(token.text for token in piece) for piece in pieces]
    named: dict[str, str] = {}
    if name == "la":
        count = 2
        if len(pieces) == 2:
            found = re.fullmatch(r"(.*?)\( *(\w+) *\)", given[1])
            if found is None:
                raise TextError("expected la rt, d(ra0)")
            named = {"offset": found[1], "base": found[2]}
    if len(pieces) != count:
        raise TextError(f"{name}: expected {_how_many(count)}, found {_how_many(len(pieces))}")
    return text.format(*given, **named)


def _branch(name: str, branch: Branch, hint: str, pieces: list[list[Token]]) -> Word:
    """Operands are [condition field or bit,] [target]."""
    arguments = [("bo", Argument(num(branch.bo)))]
    to_address = "r" not in branch.base
    optional = branch.bit is not None and len(pieces) == to_address
    if len(pieces) != to_address + (branch.bit is not None or branch.operand) and not optional:
        what = ["bit"] if branch.operand else ["[cr]"] if branch.bit is not None else []
        raise TextError(f"expected {name} {', '.join([*what, *(['target'] if to_address else [])])}".strip())
    if branch.bit is not None:
        crf = Argument(num(0)) if optional else _whole(pieces[0], "bf")
        arguments.append(("bi", Argument(Node("+", (Node("*", (num(4), crf.node)), num(branch.bit))))))
    elif branch.operand:
        arguments.append(("bi", _whole(pieces[0], "bi")))
    if to_address:
        arguments.append(("bd", _whole(pieces[-1], "bd")))
    forms = [form for form in by_mnemonic()[branch.base] if not form.zero]
    return Word(name, forms, arguments, _is_fixed(arguments), hint)


def _whole(piece: list[Token], name: str) -> Argument:
    tokens = _tokens(piece)
    argument = _read(name, tokens)
    tokens.end()
    return argument


def assemble_program(text: str, *, file: str = "<text>", origin: int = 0) -> Program:
    """Assemble a source. `origin` is the address of its first byte. Raises AsmError."""
    return assemble_with(Ppc(), text, file=file, origin=origin)


def assemble(text: str, address: int = 0, *, file: str = "<text>") -> bytes:
    """The bytes of one or more lines, at an address. Raises AsmError."""
    return assemble_program(text, file=file, origin=address).data


__all__ = ["AsmError", "Program", "assemble", "assemble_program", "is_mnemonic", "mnemonics"]
