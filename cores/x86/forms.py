"""How an x86 entry is written, and the forms it expands into.

An entry names its encodings in the manual's notation (SDM vol. 2, 3.1.1) and its operands in the manual's codes
(appendix A.2): `"[8n+1] /r  Ev,Gv"`. Each encoding becomes one or more forms: for 16- and 32-bit operand size, for
register and memory `r/m`. A form is what the decoder finds and what each lowering turns into one handler.

Encoding: `[NP|66|F3|F2] opcode bytes [/r|/digit|/n] [mem|reg] [rm=k] operands`; `[8n+1]` computes an opcode byte from
the position n in the family, `50+r` stands for eight opcodes. `cbw|cwde` names the mnemonics of the two operand sizes.
Keyword-only parameters of a body: `osz` (16 or 32), `asz` (16 or 32), `prefix` (-1 none named, 2 F3, 3 F2) and the
names of the family.
"""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..lang.ir import NOWHERE, Block, SpecError, Src, ends, may_fault
from ..lang.trace import Location, Operand, RegisterLocation, Tracer, Val, const, fieldvalue, value
from . import state as S
from .externs import MEM_R, MEM_RW, MEM_W

Body = Callable[..., None]


@dataclass
class Entry:
    """One instruction or family as written in the spec."""

    body: Body
    syntax: str
    encodings: list[str]
    see: str = ""
    needs: str = ""
    undefined: str | dict[str, str] = ""
    family: dict[str, Sequence[Any]] = field(default_factory=dict)
    ends: str = ""  # "": goes on; "block": last of its block; "far": writes EIP itself
    lock: bool = False
    helper: bool = False
    doc: str = ""
    src: Src = NOWHERE
    chapter: str = ""
    prefixes: tuple[str, ...] = ()


ENTRIES: list[Entry] = []


def family(**names: Sequence[Any]) -> Callable[[Body], Body]:
    """The entry below is expanded once for each position; all sequences are of one length."""

    def wrap(fn: Body) -> Body:
        target = [e for e in ENTRIES if e.body is fn]
        if not target:
            raise SpecError(f"{fn.__code__.co_filename}:{fn.__code__.co_firstlineno}: @family stands above @insn")
        target[0].family = dict(names)
        if len({len(v) for v in names.values()}) != 1:
            raise SpecError(f"{target[0].src}: the names of a family must be equally many")
        return fn

    return wrap


def insn(
    syntax: str,
    encodings: str | Iterable[str],
    *,
    see: str = "",
    needs: str = "",
    undefined: str | dict[str, str] = "",
    ends: str = "",
    lock: bool = False,
    helper: bool = False,
    rep: bool = False,
) -> Callable[[Body], Body]:
    """Declare an instruction. `see` cites the SDM, `undefined` lists flags left open, `needs` a CPUID feature,
    `lock` allows the LOCK prefix with a memory destination, `helper` marks an entry that only calls a procedure."""

    def wrap(fn: Body) -> Body:
        code = fn.__code__
        doc = inspect.getdoc(fn) or ""
        src = Src(code.co_filename, code.co_firstlineno)
        if not doc:
            raise SpecError(f"{src}: the entry {syntax!r} has no sentence of prose")
        if ends not in ("", "block", "far"):
            raise SpecError(f"{src}: ends={ends!r} is not '', 'block' or 'far'")
        encs = [encodings] if isinstance(encodings, str) else list(encodings)
        chapter = fn.__module__.rsplit(".", 1)[-1]
        ENTRIES.append(
            Entry(
                fn,
                syntax,
                encs,
                see,
                needs,
                undefined,
                {},
                ends,
                lock,
                helper,
                doc,
                src,
                chapter,
                ("rep",) if rep else (),
            )
        )
        return fn

    return wrap


# --- operand codes -------------------------------------------------------------------------------------------------

# code letter(s) -> what field it comes from
_RM = {"E", "M", "W", "Q", "N", "U", "R"}
_IMM = {
    "Ib": "ib", "Ibs": "ibs", "Iw": "iw", "Iz": "iz", "Id": "id", "Ib2": "ib2", "Jb": "jb", "Jz": "jz", "Ap": "ap",
    "Ob": "o", "Ov": "o",
}  # fmt: skip
FIXED_REGISTERS = {
    **{name.upper(): (k, 8) for k, name in enumerate(S.R8)},
    **{name.upper(): (k, 16) for k, name in enumerate(S.R16)},
    **{name.upper(): (k, 32) for k, name in enumerate(S.R32)},
    **{f"e{name.upper()}": (k, 0) for k, name in enumerate(S.R16)},  # eAX: by operand size
}
FIXED_SEGMENTS = {"ES": 0, "CS": 1, "SS": 2, "DS": 3, "FS": 4, "GS": 5}
_WIDTH = {"b": 8, "w": 16, "d": 32, "q": 64}
_KNOWN = re.compile(
    r"(?:[EGMRZXYN][bwdqvzyapsf]?|[PQN][dq]|[VWU](?:ps|pd|ss|sd|q|dq|d|w|b|x)|Sw|Cd|Dd|Mp|Ma|Ms|1|ST|STi|M\d+)$"
)


def operand_width(code: str, osz: int) -> int:
    """Width in bits of an operand code, 0 where it has none (address only, vector)."""
    if code in FIXED_REGISTERS:
        return FIXED_REGISTERS[code][1] or osz
    if code in FIXED_SEGMENTS or code == "Sw":
        return 16
    if code in ("Ibs", "Iz", "Jz", "Jb", "Ov"):
        return osz
    if code in ("Ib", "Ib2", "Ob"):
        return 8
    if code == "1":
        return 8
    if code[0] in "VWUPQN":
        return {"ss": 32, "sd": 64, "d": 32, "q": 64, "w": 16, "b": 8}.get(code[1:], 0) if code[0] != "N" else 64
    if code[0] == "M" and (code[1:].isdigit() or len(code) == 1):
        return 0
    letter = code[1:2]
    if letter in ("v", "z"):
        return osz
    return _WIDTH.get(letter, 32 if code[0] in "CD" else 0)


def uses_operand_size(codes: Sequence[str]) -> bool:
    """Whether the meaning depends on the operand-size attribute through its operand codes."""
    return any(
        c in ("Ov", "Ap", "Mp", "Ma", "Ibs", "Iz", "Jz", "Jb") or c[0] == "e" or c[1:2] in ("v", "z") for c in codes
    )


class GprOperand(RegisterLocation):
    """A general register chosen by a field of the instruction, or fixed."""

    def __init__(self, which: str | int, width: int) -> None:
        self.which = which
        if width == 8:
            at: Operand
            if isinstance(which, int):
                at = const(which * 8 if which < 4 else (which - 4) * 8 + 1, 8)
            else:
                at = fieldvalue(which, 8)
            super().__init__(S.GPR, at, width=8, how="byte")
        else:
            super().__init__(S.GPR, fieldvalue(which, 8) if isinstance(which, str) else which, width=width, how="part")

    def set(self, value_: Operand) -> None:
        """Write the register; a 32-bit write clears the upper half, as long mode will want."""
        v = value(value_, self.width)
        if self.width == 32:
            RegisterLocation(S.GPR, self.index).set(v.zext(64))
        else:
            super().set(v)


def gpr(which: int, width: int) -> GprOperand:
    """A general register by its number."""
    return GprOperand(which, width)


class MemOperand(Location):
    """A memory operand `segment:offset`. The first read is kept; where the body writes too it checks write rights."""

    def __init__(self, width: int, *, rmw: bool = False, offset: Val | None = None, seg: Val | None = None) -> None:
        self.width = width
        self.rmw = rmw
        self.reads = 0
        self.sets = 0
        self.cached: Val | None = None
        self._offset = offset
        self._seg = seg

    @property
    def seg(self) -> Val:
        """Number of the segment register, 8 bits."""
        if self._seg is None:
            self._seg = fieldvalue("seg", 8)
        return self._seg

    @property
    def offset(self) -> Val:
        """Effective address, 32 bits."""
        if self._offset is None:
            base = RegisterLocation(S.GPR, fieldvalue("base", 8), width=32, how="part").read()
            index = RegisterLocation(S.GPR, fieldvalue("index", 8), width=32, how="part").read()
            address = base + index * fieldvalue("scale", 8).zext(32) + fieldvalue("disp", 32)
            self._offset = address & fieldvalue("eamask", 32)
        return self._offset

    def redirect(self, displacement: Operand) -> None:
        """Move the operand by `displacement` bytes (wraps as the address size says); before the first access only."""
        self._offset = (self.offset + value(displacement, 32)) & fieldvalue("eamask", 32)

    def at(self, displacement: Operand, width: int) -> MemOperand:
        """The operand `displacement` bytes further on, with a width of its own (wraps as the address size says)."""
        offset = (self.offset + value(displacement, 32)) & fieldvalue("eamask", 32)
        return MemOperand(width, offset=offset, seg=self.seg)

    def read(self) -> Val:
        """Load."""
        self.reads += 1
        if self.cached is None:
            table = MEM_RW if self.rmw else MEM_R
            self.cached = table[self.width](self.seg, self.offset)
        if self.cached is None:
            raise SpecError("no value")
        return self.cached

    def set(self, value_: Operand) -> None:
        """Store."""
        self.sets += 1
        MEM_W[self.width](self.seg, self.offset, value(value_, self.width))


class ImmOperand(Location):
    """An immediate; reads only."""

    def __init__(self, source: str, width: int) -> None:
        self.source = source
        self.width = width

    def read(self) -> Val:
        """The constant from the instruction."""
        return fieldvalue(self.source, 32).low(self.width) if self.width < 32 else fieldvalue(self.source, 32)


class FixedImm(Location):
    """The constant 1 of the shift group."""

    width = 8

    def read(self) -> Val:
        """1."""
        return const(1, 8)


class FarPointer(Location):
    """`ptr16:16` or `ptr16:32` in the instruction."""

    def __init__(self, width: int) -> None:
        self.width = width

    @property
    def offset(self) -> Val:
        """32 bits, zero-extended."""
        return fieldvalue("imm", 32)

    @property
    def selector(self) -> Val:
        """16 bits."""
        return fieldvalue("imm2", 16)


class NumberOperand(Location):
    """A register of another file (segment, control, debug, MMX, x87 stack, XMM): `.number` is its 8-bit number.

    For V, W, U operands `lo`/`hi` are the two 64-bit halves; for P, Q, N `lo` is the register."""

    def __init__(self, kind: str, which: str, width: int) -> None:
        self.kind = kind
        self.which = which
        self.width = width

    @property
    def number(self) -> Val:
        """Register number, 8 bits."""
        return fieldvalue(self.which, 8)

    is_memory = False

    @property
    def lo(self) -> Location:
        """The low 64 bits."""
        return RegisterLocation(S.XMM_LO if self.kind == "xmm" else S.FPR_SIG, self.number)

    @property
    def hi(self) -> Location:
        """The high 64 bits of an XMM register."""
        return RegisterLocation(S.XMM_HI, self.number)

    def _part(self) -> RegisterLocation:
        reg = S.XMM_LO if self.kind == "xmm" else S.FPR_SIG
        return RegisterLocation(reg, self.number, width=self.width or 64, how="part")

    def read(self) -> Val:
        """The low `width` bits."""
        return self._part().read()

    def set(self, value_: Operand) -> None:
        """Write the low `width` bits; the rest stays."""
        self._part().set(value_)


class VectorMem(MemOperand):
    """A 128-bit memory operand: `lo` and `hi` halves."""

    is_memory = True

    @property
    def lo(self) -> Location:
        """The low 64 bits."""
        return self.at(0, 64)

    @property
    def hi(self) -> Location:
        """The high 64 bits."""
        return self.at(8, 64)


# --- forms ---------------------------------------------------------------------------------------------------------


@dataclass
class Form:
    """One decoded shape of an entry: what one handler implements."""

    entry: Entry
    ident: str
    map: int  # index in OPCODE_MAPS
    opcode: int
    prefix: int  # -1 any, 0 none, 1: 66, 2: F3, 3: F2
    digit: int  # -1: any
    mem: int  # 1 memory, 0 register, -1 no ModRM
    rm: int  # -1: any
    osz: int  # 0: any
    asz: int
    codes: tuple[str, ...]
    names: tuple[str, ...]
    statics: dict[str, Any]
    modrm: bool
    opreg: bool
    imms: tuple[str, ...]
    syntax: str
    reg8: bool = False
    rm8: bool = False
    block: Block = field(default_factory=list)
    faults: bool = False
    lock_ok: bool = False
    branches: int = 0
    number: int = 0

    @property
    def mnemonic(self) -> str:
        """The first word of the syntax."""
        return self.syntax.split()[0]

    def trace(self) -> None:
        """Run the body twice: first to learn which memory operands are both read and written, then for good."""
        rmw = False
        for final in (False, True):
            with Tracer() as t:
                operands = [self._operand(code, rmw) for code in self.codes]
                self.entry.body(*operands, **self.statics)
                if final:
                    self.block = t.finish(self.ident)
                    self.branches = t.branches
            rmw = any(isinstance(o, MemOperand) and o.reads and o.sets for o in operands)
        self.lock_ok = self.entry.lock and self.mem == 1 and rmw
        self.faults = may_fault(self.block)

    def _operand(self, code: str, rmw: bool) -> Location:
        width = operand_width(code, self.osz or 32)
        if code in FIXED_REGISTERS:
            return GprOperand(FIXED_REGISTERS[code][0], width)
        if code in FIXED_SEGMENTS:
            return FixedSegment(FIXED_SEGMENTS[code])
        if code in _IMM:
            kind = _IMM[code]
            if kind == "o":
                return MemOperand(width, rmw=rmw, offset=fieldvalue("disp", 32))
            if kind == "ap":
                return FarPointer(width)
            return ImmOperand("imm2" if kind == "ib2" else "imm", 32 if kind in ("jb", "jz", "id") else width)
        if code == "1":
            return FixedImm()
        if code in ("Sw", "Cd", "Dd"):
            return NumberOperand({"S": "seg", "C": "cr", "D": "dr"}[code[0]], "reg", width)
        if code == "ST":
            return NumberOperand("st0", "rm", 0)
        if code == "STi":
            return NumberOperand("st", "rm", 0)
        letter = code[0]
        if letter == "G":
            return GprOperand("reg", width)
        if letter == "Z":
            return GprOperand("reg", width)
        if letter == "V":
            return NumberOperand("xmm", "reg", width)
        if letter == "P":
            return NumberOperand("mmx", "reg", width or 64)
        if letter in _RM:
            if self.mem == 1:
                return VectorMem(width, rmw=rmw)
            if letter in "WU":
                return NumberOperand("xmm", "rm", width)
            if letter in "QN":
                return NumberOperand("mmx", "rm", width or 64)
            return GprOperand("rm", width)
        raise SpecError(f"{self.entry.src}: operand code {code} is not known")


class FixedSegment(NumberOperand):
    """A segment register named by the opcode."""

    def __init__(self, number: int) -> None:
        super().__init__("seg", "", 16)
        self.fixed = number

    @property
    def number(self) -> Val:
        """Its number, 8 bits."""
        return const(self.fixed, 8)


# Escape bytes before the opcode.
OPCODE_MAPS = ("", "0F", "0F38", "0F3A")
_PREFIX = {"NP": 0, "66": 1, "F3": 2, "F2": 3}


def _opcode_byte(token: str, n: int, src: Src) -> tuple[int, bool]:
    """One opcode byte and whether a register number is added to it."""
    opreg = token.endswith("+r")
    text = token[:-2] if opreg else token
    total = 0
    try:
        for part in text.strip("[]").split("+"):
            total += (int(part[:-1]) if part[:-1] else 1) * n if part.endswith("n") else int(part, 16)
    except ValueError:
        raise SpecError(f"{src}: {token!r} is not an opcode byte") from None
    return total, opreg


def parse_encoding(entry: Entry, text: str, n: int) -> dict[str, Any]:
    """Take one encoding line apart."""
    out: dict[str, Any] = {"prefix": -1, "map": 0, "digit": -1, "mem": None, "rm": -1, "opreg": False, "modrm": False}
    tokens = text.split()
    if tokens and tokens[0] in _PREFIX and len(tokens) > 1 and re.match(r"[\[0-9A-F]", tokens[1]):
        out["prefix"] = _PREFIX[tokens.pop(0)]
    opcodes: list[int] = []
    codes: list[str] = []
    k = 0
    while k < len(tokens) and re.match(r"(\[[^\]]*\]|[0-9A-F]{2})(\+r)?$", tokens[k]):
        byte, opreg = _opcode_byte(tokens[k], n, entry.src)
        opcodes.append(byte)
        out["opreg"] |= opreg
        k += 1
    if not opcodes:
        raise SpecError(f"{entry.src}: {text!r} has no opcode")
    if opcodes[0] == 0x0F and len(opcodes) > 1:
        out["map"] = 1
        opcodes.pop(0)
        if opcodes[0] in (0x38, 0x3A) and len(opcodes) > 1:
            out["map"] = 2 if opcodes[0] == 0x38 else 3
            opcodes.pop(0)
    if len(opcodes) != 1:
        raise SpecError(f"{entry.src}: {text!r} has {len(opcodes)} opcode bytes")
    out["opcode"] = opcodes[0]
    for token in tokens[k:]:
        if token == "/r":
            out["modrm"] = True
        elif token == "/n":
            out["modrm"], out["digit"] = True, n
        elif re.match(r"/\[\d\+n\]$", token):
            out["modrm"], out["digit"] = True, int(token[2]) + n
        elif re.match(r"/[0-7]$", token):
            out["modrm"], out["digit"] = True, int(token[1])
        elif token in ("mem", "reg"):
            out["mem"] = int(token == "mem")
        elif token.startswith("rm="):
            out["rm"] = int(token[3:])
            out["mem"] = 0
        else:
            codes += [c for c in token.split(",") if c]
    for c in codes:
        if not (c in FIXED_REGISTERS or c in FIXED_SEGMENTS or c in _IMM or _KNOWN.match(c)):
            raise SpecError(f"{entry.src}: operand code {c!r} in {text!r} is not known")
    out["codes"] = tuple(codes)
    return out


def expand(entry: Entry) -> list[Form]:
    """All forms of an entry, not yet traced."""
    sig = inspect.signature(entry.body)
    positional = [p.name for p in sig.parameters.values() if p.kind is not p.KEYWORD_ONLY]
    keywords = {p.name for p in sig.parameters.values() if p.kind is p.KEYWORD_ONLY}
    count = len(next(iter(entry.family.values()))) if entry.family else 1
    unknown = keywords - set(entry.family) - {"osz", "asz", "n", "prefix"}
    if unknown:
        raise SpecError(f"{entry.src}: nothing gives a value to {', '.join(sorted(unknown))}")
    forms: list[Form] = []
    for n in range(count):
        names = {key: values[n] for key, values in entry.family.items()}
        for text in entry.encodings:
            enc = parse_encoding(entry, text, n)
            codes: tuple[str, ...] = enc["codes"]
            if len(codes) != len(positional):
                raise SpecError(f"{entry.src}: {text!r} has {len(codes)} operands, the body takes {len(positional)}")
            oszs = (16, 32) if uses_operand_size(codes) or "osz" in keywords else (0,)
            aszs = (16, 32) if "asz" in keywords else (0,)
            rm = [c for c in codes if c[0] in _RM and c not in FIXED_REGISTERS and c not in FIXED_SEGMENTS]
            mems: tuple[int, ...]
            if not enc["modrm"]:
                mems = (-1,)
            elif enc["mem"] is not None:
                mems = (enc["mem"],)
            elif rm and rm[0][0] == "M":
                mems = (1,)
            elif rm and rm[0][0] in "NUR":
                mems = (0,)
            elif rm:
                mems = (0, 1)
            else:
                mems = (-1,)
            for osz, asz, mem in itertools.product(oszs, aszs, mems):
                statics = {
                    k: v
                    for k, v in {**names, "osz": osz, "asz": asz, "n": n, "prefix": enc["prefix"]}.items()
                    if k in keywords
                }
                syntax = entry.syntax
                for key, val in names.items():
                    syntax = syntax.replace("{" + key + "}", str(val))
                if "|" in syntax:
                    syntax = syntax.split("|")[osz == 32]
                word = re.sub(r"\W", "_", syntax.split()[0])
                parts = [word, *(c.replace("1", "one") for c in codes)]
                parts += [f"{OPCODE_MAPS[enc['map']]}{enc['opcode']:02X}"]
                if enc["prefix"] >= 0:
                    parts.append(("np", "66", "f3", "f2")[enc["prefix"]])
                if enc["digit"] >= 0:
                    parts.append(f"s{enc['digit']}")
                if enc["rm"] >= 0:
                    parts.append(f"rm{enc['rm']}")
                if osz:
                    parts.append(f"o{osz}")
                if asz:
                    parts.append(f"a{asz}")
                if mem >= 0:
                    parts.append("m" if mem else "r")
                form = Form(
                    entry, "_".join(parts), enc["map"], enc["opcode"], enc["prefix"], enc["digit"], mem, enc["rm"], osz,
                    asz, codes, tuple(positional), statics, enc["modrm"], enc["opreg"],
                    tuple(_IMM[c] for c in codes if c in _IMM), syntax,
                )  # fmt: skip
                form.reg8 = any(c in ("Gb", "Zb") for c in codes)
                form.rm8 = mem == 0 and any(c in ("Eb", "Rb") for c in codes)
                forms.append(form)
    return forms


def keeps_going(form: Form) -> bool:
    """Whether the next instruction of a block may simply follow."""
    return not form.branches and not form.entry.ends and not ends(form.block)
