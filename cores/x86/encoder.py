"""One instruction from text to bytes, by searching the forms of its mnemonic (SDM vol. 2, chapter 2).

`parse` reads the text, `plan` finds the forms that its operands fit, `encodings` gives the bytes of one plan.
Nothing here knows an instruction: opcodes, operand codes and prefixes come from the forms that the decoder uses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from ..lang.to_text import Lookup, Node, TextError, Tokens, nearest, num, parse_expression, template
from . import state as S
from .decoder import tables
from .forms import FIXED_REGISTERS, FIXED_SEGMENTS, Form, operand_width, uses_operand_size
from .operands import (
    IMMEDIATES,
    REGISTERS,
    SEGMENTS,
    SIZE_WORDS,
    SIZES,
    TARGETS,
    Far,
    Imm,
    Mem,
    Parsed,
    Reg,
    is_memory,
    memory_width,
    register_kind,
    repeats,
)

REPEATS = {"rep": 2, "repe": 2, "repz": 2, "repne": 3, "repnz": 3}
_REPEAT_BYTE = {2: 0xF3, 3: 0xF2}
OVERRIDES = {"o16": ("osz", 16), "o32": ("osz", 32), "a16": ("asz", 16), "a32": ("asz", 32)}
SEGMENT_PREFIX = {S.ES: 0x26, S.CS: 0x2E, S.SS: 0x36, S.DS: 0x3E, S.FS: 0x64, S.GS: 0x65}
_CC = {"z": "e", "nz": "ne", "c": "b", "nae": "b", "nc": "ae", "nb": "ae", "na": "be", "nbe": "a", "pe": "p",
       "po": "np", "nge": "l", "nl": "ge", "ng": "le", "nle": "g"}  # fmt: skip
# Other names of the same instruction: name -> words to read in its place.
ALIASES: dict[str, tuple[str, ...]] = {
    **{f"{stem}{new}": (f"{stem}{old}",) for stem in ("j", "set", "cmov") for new, old in _CC.items()},
    "loopz": ("loope",), "loopnz": ("loopne",), "jecxz": ("a32", "jcxz"), "jcxz": ("a16", "jcxz"),
    "xlatb": ("xlat",), "wait": ("fwait",),
    "sal": ("shl",), "retn": ("ret",), "icebp": ("int1",), "setalc": ("salc",), "ud2a": ("ud2",),
    "iretw": ("o16", "iret"), "iretd": ("o32", "iret"), "retw": ("o16", "ret"), "retd": ("o32", "ret"),
    "retfw": ("o16", "retf"), "retfd": ("o32", "retf"),
    "pushaw": ("o16", "pusha"), "popaw": ("o16", "popa"), "pushfw": ("o16", "pushf"), "popfw": ("o16", "popf"),
}  # fmt: skip
# x87 instructions whose plain name waits first: FWAIT, then the one that does not wait.
WAITING = {"finit", "fclex", "fstcw", "fstsw", "fsave", "fstenv", "feni", "fdisi"}


@dataclass
class Instruction:
    """An instruction as written."""

    mnemonic: str
    operands: list[Parsed]
    lock: bool = False
    repeat: int = -1
    seg: int = -1
    osz: int = 0
    asz: int = 0
    far: bool = False
    wait: bool = False

    def symbols(self) -> set[str]:
        """The names its operands mention."""
        names: set[str] = set()
        for op in self.operands:
            for node in _nodes(op):
                names |= node.symbols()
        return names


def _nodes(op: Parsed) -> tuple[Node, ...]:
    if isinstance(op, Mem):
        return (op.disp,)
    if isinstance(op, Imm):
        return (op.node,)
    return (op.selector, op.offset) if isinstance(op, Far) else ()


@cache
def by_mnemonic() -> dict[str, list[Form]]:
    """All forms by the name they are written with."""
    out: dict[str, list[Form]] = {}
    for form in tables().forms:
        out.setdefault(form.mnemonic, []).append(form)
        if form.osz == 32 and follows_mode(form, form.mnemonic[:-1]):
            out.setdefault(form.mnemonic[:-1], []).append(form)
    return out


def follows_mode(form: Form, word: str) -> bool:
    """Whether `word` names both sizes of an instruction: PUSHF is the 16-bit one and whatever the mode has."""
    return form.entry.syntax == f"{word}|{word}d"


def is_mnemonic(word: str) -> bool:
    """Whether a word (lower case) starts an instruction."""
    return (
        word in by_mnemonic() or word in ALIASES or word in REPEATS or word in OVERRIDES or word in WAITING
        or word in ("lock", "nop", "pause")
    )  # fmt: skip


# --- reading ---------------------------------------------------------------------------------------------------------


def parse(tokens: Tokens, lookup: Lookup) -> Instruction:
    """Read an instruction. `lookup` is asked for the factors of index registers only."""
    out = Instruction("", [])
    while True:
        token = tokens.take()
        word = token.word
        if not word:
            raise TextError(f"an instruction is expected, not {token.text!r}")
        if word == "lock":
            out.lock = True
        elif word in REPEATS:
            out.repeat = REPEATS[word]
        elif word in OVERRIDES:
            key, bits = OVERRIDES[word]
            setattr(out, key, bits)
        elif word in SEGMENTS:
            out.seg = SEGMENTS.index(word)
        else:
            break
        if tokens.next is None:
            raise TextError(f"{word} stands alone; an instruction is expected after it")
    *marks, word = ALIASES.get(word, (word,))
    for mark in marks:
        key, bits = OVERRIDES[mark]
        setattr(out, key, bits)
    if word in WAITING:
        out.wait, word = True, f"fn{word[1:]}"
    out.mnemonic = word
    if word not in by_mnemonic() and word not in ("nop", "pause"):
        near = nearest(word, [*by_mnemonic(), *ALIASES])
        raise TextError(f"there is no instruction {word!r}" + (f"; did you mean {near}?" if near else ""))
    if tokens.next is None:
        return out
    while True:
        out.operands.append(_operand(tokens, out, lookup))
        if tokens.next is None:
            return out
        tokens.expect(",")


def _operand(tokens: Tokens, insn: Instruction, lookup: Lookup) -> Parsed:
    size, reach = 0, ""
    while True:
        token = tokens.next
        if token is None:
            raise TextError("an operand is expected at the end")
        word = token.word
        if word in SIZE_WORDS:
            size = SIZE_WORDS[word]
        elif word in ("short", "near"):
            reach = word
        elif word == "far":
            insn.far = True
        elif word not in ("ptr", "strict"):
            break
        tokens.take()
    if word in REGISTERS:
        tokens.take()
        if word in SEGMENTS and tokens.accept(":"):
            return _memory(tokens, size, SEGMENTS.index(word), lookup)
        kind, number = REGISTERS[word]
        if word == "st" and tokens.accept("("):
            inner = parse_expression(tokens).value(_no_names)
            tokens.expect(")")
            if not 0 <= inner <= 7:
                raise TextError(f"there is no register st({inner})")
            number = inner
        reg = Reg(kind, number)
        if size and reg.width and size != reg.width:
            raise TextError(f"{word} is no {SIZES.get(size, 'far pointer')}")
        return reg
    if token.text == "[":
        return _memory(tokens, size, -1, lookup)
    node = parse_expression(tokens)
    if tokens.accept(":"):
        return Far(node, parse_expression(tokens), size)
    return Imm(node, size, reach)


def _no_names(name: str) -> int:
    raise TextError(f"a number is expected, not {name}")


def _memory(tokens: Tokens, size: int, seg: int, lookup: Lookup) -> Mem:
    tokens.expect("[")
    asz = 0
    while tokens.next is not None and tokens.next.word in ("word", "dword"):
        asz = 16 if tokens.take().word == "word" else 32
    first, second = tokens.next, tokens.ahead(1)
    if first is not None and first.word in SEGMENTS and second is not None and second.text == ":":
        seg = SEGMENTS.index(tokens.take().word)
        tokens.take()
    node = parse_expression(tokens)
    tokens.expect("]")
    regs: list[tuple[str, int]] = []
    disp = _split(node, 1, regs, lookup)
    return _address(regs, disp, size, asz, seg)


def _split(node: Node, sign: int, regs: list[tuple[str, int]], lookup: Lookup) -> Node:
    """Take the registers out of a sum; what is left is the displacement."""
    if node.op in ("+", "-") and len(node.args) == 2:
        left = _split(node.args[0], sign, regs, lookup)
        right = _split(node.args[1], sign if node.op == "+" else -sign, regs, lookup)
        return Node(node.op, (left, right))
    name, factor = node, 1
    if node.op == "*":
        a, b = node.args
        if _is_register(b):
            a, b = b, a
        if _is_register(a):
            name, factor = a, b.value(lookup)
    if not _is_register(name):
        for symbol in node.symbols():
            if symbol.lower() in REGISTERS:
                raise TextError(f"{symbol} cannot stand there in an address")
        return node
    if sign < 0:
        raise TextError(f"{name.name} cannot be subtracted in an address")
    regs.append((name.name.lower(), factor))
    return num(0)


def _is_register(node: Node) -> bool:
    return node.op == "sym" and node.name.lower() in REGISTERS


def _address(regs: list[tuple[str, int]], disp: Node, size: int, asz: int, seg: int) -> Mem:
    widths = {REGISTERS[name][0] for name, _ in regs}
    if not regs:
        return Mem(seg, -1, -1, 1, disp, size, asz)
    if widths == {"r16"}:
        names = [name for name, _ in regs]
        pairs = {("bx", "si"), ("bx", "di"), ("bp", "si"), ("bp", "di")}
        pair = tuple(sorted(names, key=lambda n: n in ("si", "di")))
        if any(f != 1 for _, f in regs) or (
            pair not in pairs if len(names) > 1 else names[0] not in ("bx", "bp", "si", "di")
        ):
            raise TextError(f"[{'+'.join(names)}] is no 16-bit address: bx or bp, and si or di")
        numbers = [REGISTERS[n][1] for n in pair]
        return Mem(seg, numbers[0], numbers[1] if len(numbers) > 1 else -1, 1, disp, size, 16)
    if widths != {"r32"}:
        raise TextError(
            f"[{'+'.join(name for name, _ in regs)}]: an address takes 32-bit or 16-bit registers, not a mixture"
        )
    plain = [name for name, f in regs if f == 1]
    scaled = [(name, f) for name, f in regs if f != 1]
    if len(regs) > 2 or len(scaled) > 1:
        raise TextError("an address has at most one register, and one more times 1, 2, 4 or 8")
    base, index, scale = -1, -1, 1
    if scaled:
        name, scale = scaled[0]
        if scale not in (2, 4, 8):
            raise TextError(f"{name} times {scale}: an index takes 1, 2, 4 or 8")
        index = REGISTERS[name][1]
        base = REGISTERS[plain[0]][1] if plain else -1
    else:
        base = REGISTERS[plain[0]][1]
        if len(plain) > 1:
            index = REGISTERS[plain[1]][1]
            if index == S.ESP:
                base, index = index, base
    if index == S.ESP:
        raise TextError("esp cannot be an index")
    return Mem(seg, base, index, scale, disp, size, 32)


# --- searching -------------------------------------------------------------------------------------------------------


@dataclass
class Plan:
    """A form that fits, with everything decided that does not depend on the value of a symbol."""

    form: Form
    prefixes: bytes
    slots: list[tuple[str, Parsed]] = field(default_factory=list)  # operand code and operand, in the order of the codes
    osz: int = 32
    asz: int = 32


def plan(insn: Instruction, big: bool) -> list[Plan]:
    """The forms that fit, in the order of the spec. Raises TextError with what the instruction takes instead."""
    if insn.mnemonic in ("nop", "pause") and not insn.operands:
        repeat = 2 if insn.mnemonic == "pause" else -1
        if insn.lock:
            raise TextError(f"lock does not go with {insn.mnemonic}")
        return plan(Instruction("xchg", [Reg("r32" if big else "r16", 0)] * 2, repeat=repeat, osz=insn.osz), big)
    plans: list[Plan] = []
    pinned: list[bool] = []
    tried: list[list[Parsed]] = []
    for operands in _spellings(insn):
        tried.append(operands)
        for form in by_mnemonic().get(insn.mnemonic, []):
            got = _fit(form, operands, insn, big)
            if got is not None:
                plans.append(got[0])
                pinned.append(got[1])
        if plans and insn.mnemonic not in ("xchg", "test"):
            break
    if not plans:
        raise TextError(_refusal(insn))
    _same_size(insn, plans)
    return plans


def _spellings(insn: Instruction) -> list[list[Parsed]]:
    """The operands as written, then as the manual has them where custom leaves some out or turns them round."""
    ops = insn.operands
    out = [ops]
    if insn.mnemonic in ("xchg", "test") and len(ops) == 2:
        out.append([ops[1], ops[0]])
    elif insn.mnemonic == "imul" and len(ops) == 2 and isinstance(ops[1], Imm):
        out.append([ops[0], *ops])
    elif insn.mnemonic in ("aam", "aad") and not ops:
        out.append([Imm(num(10))])
    elif insn.mnemonic[0] == "f":
        st0, st1 = Reg("st", 0), Reg("st", 1)
        if not ops:
            out += [[st1], [st1, st0], [st0, st1]]
        elif len(ops) == 1 and isinstance(ops[0], Reg) and ops[0].kind == "st":
            out += [[st0, ops[0]], [ops[0], st0]]
        elif len(ops) == 2 and ops[0] == st0:
            out.append([ops[1]])
    return out


def _literal(slot: str) -> Parsed:
    kind, number = REGISTERS[slot]
    return Reg(kind, number)


def _fit(form: Form, operands: list[Parsed], insn: Instruction, big: bool) -> tuple[Plan, bool] | None:
    t = template(form.syntax)
    if len(t.slots) != len(operands):
        return None
    far_pointer = any(isinstance(o, Far) for o in operands)
    if (t.modifier == "far") != (insn.far or far_pointer) and not (t.modifier != "far" and far_pointer):
        return None
    if repeats(form):
        if form.prefix != insn.repeat:
            return None
    elif insn.repeat >= 0 and form.mnemonic != "xchg":
        return None
    if insn.lock and (not form.entry.lock or form.mem != 1):
        return None
    mode = 32 if big else 16
    named: dict[str, tuple[str, Parsed]] = {}
    # MOVSD and CWDE say their size themselves; PUSHF follows the mode.
    pinned = "|" in form.entry.syntax and not follows_mode(form, insn.mnemonic)
    for slot, op in zip(t.slots, operands, strict=True):
        if not slot.startswith("{"):
            if _literal(slot) != op:
                return None
            continue
        code = form.codes[form.names.index(slot[1:-1])]
        if not _takes(form, code, op):
            return None
        named[slot[1:-1]] = (code, op)
        explicit = isinstance(op, Reg) or bool(op.size)
        if uses_operand_size((code,)) and explicit and not (isinstance(op, Imm) and op.size == 8):
            pinned = True
    osz = form.osz or mode
    if form.osz and (insn.osz != osz if insn.osz else not pinned and osz != mode):
        return None
    if not form.osz and insn.osz:
        osz = insn.osz
    asz = mode
    for op in operands:
        if isinstance(op, Mem) and op.asz:
            asz = op.asz
            if insn.asz and insn.asz != asz:
                raise TextError(f"a{insn.asz} does not go with an address of {asz} bits")
    if insn.asz:
        asz = insn.asz
    if form.asz and form.asz != asz:
        return None
    seg = insn.seg
    for op in operands:
        if isinstance(op, Mem) and op.seg >= 0:
            seg = op.seg
        if isinstance(op, Mem) and seg == _default_segment(op):
            seg = -1
    prefixes = bytearray()
    if insn.wait:
        prefixes.append(0x9B)
    if insn.lock:
        prefixes.append(0xF0)
    if insn.repeat >= 2:
        prefixes.append(_REPEAT_BYTE[insn.repeat])
    if seg >= 0:
        prefixes.append(SEGMENT_PREFIX[seg])
    if osz != mode and form.prefix not in (0, 1):
        prefixes.append(0x66)
    if asz != mode:
        prefixes.append(0x67)
    # A prefix that is part of the opcode stands right before it.
    if form.prefix == 1:
        prefixes.append(0x66)
    elif form.prefix >= 2 and not repeats(form):
        prefixes.append(_REPEAT_BYTE[form.prefix])
    slots = [named[name] for name in form.names]
    return Plan(form, bytes(prefixes), slots, osz, asz), pinned


def _default_segment(op: Mem) -> int:
    return S.SS if op.base == S.EBP or (op.asz == 32 and op.base == S.ESP) else S.DS


def _takes(form: Form, code: str, op: Parsed) -> bool:
    """Whether an operand is of the kind that a code stands for."""
    if isinstance(op, Mem):
        if not is_memory(code, form):
            return False
        if code in ("Ob", "Ov") and (op.base >= 0 or op.index >= 0):
            return False
        width = memory_width(code, form.osz or 32)
        if code == "Mp":
            return op.size in (0, form.osz) or (op.size == 48 and form.osz == 32)
        return not op.size or not width or op.size == width
    if isinstance(op, Far):
        return code == "Ap" and op.size in (0, form.osz)
    if isinstance(op, Imm):
        if code in TARGETS:
            return op.reach in ("", "short" if code == "Jb" else "near") and op.size in (0, form.osz)
        if code not in IMMEDIATES or op.reach:
            return False
        if code == "1":
            return op.node.op == "num" and op.node.number == 1 and op.size in (0, 8)
        return op.size in ((0, 8, form.osz) if code == "Ibs" else (0, operand_width(code, form.osz or 32)))
    if code in FIXED_REGISTERS:
        return op.kind == register_kind(code, form) and op.number == FIXED_REGISTERS[code][0]
    if code in FIXED_SEGMENTS:
        return op == Reg("seg", FIXED_SEGMENTS[code])
    if code == "ST":
        return op == Reg("st", 0)
    if is_memory(code, form):
        return False
    # Loading a segment register from a 32-bit register is what everybody writes; the upper half does not matter.
    if code == "Ew" and op.kind == "r32" and any(c in FIXED_SEGMENTS for c in form.codes):
        return True
    return op.kind == register_kind(code, form)


def _same_size(insn: Instruction, plans: list[Plan]) -> None:
    """A memory operand without a size must have but one."""
    widths: set[int] = set()
    codes: set[str] = set()
    for p in plans:
        for code, op in p.slots:
            if isinstance(op, Mem) and not op.size:
                widths.add(memory_width(code, p.form.osz or 32))
                codes.add(code)
    if len(widths) > 1:
        if "Ev" in codes:
            widths |= {16, 32}
        names = ", ".join(SIZES.get(w, str(w)) for w in sorted(widths))
        raise TextError(
            f"{insn.mnemonic}: the size of the memory operand is not clear; write one of {names} in front of it"
        )


def _refusal(insn: Instruction) -> str:
    forms = by_mnemonic().get(insn.mnemonic, [])
    if insn.lock and not any(f.entry.lock for f in forms):
        return f"lock does not go with {insn.mnemonic}"
    if insn.lock and not any(isinstance(o, Mem) for o in insn.operands):
        return f"lock {insn.mnemonic} needs a memory operand to write to"
    if insn.repeat >= 0 and not any(repeats(f) for f in forms):
        return f"a repeat prefix goes with string instructions only, not with {insn.mnemonic}"
    given = ", ".join(map(_kind, insn.operands))
    takes = sorted({", ".join(f.codes) or "no operands" for f in forms}, key=lambda s: (s.count(","), s))
    listed = "; ".join(takes[:12]) + ("; ..." if len(takes) > 12 else "")
    if not given:
        return f"{insn.mnemonic} needs operands; it takes {listed}"
    return f"{insn.mnemonic} does not take {given}; it takes {listed}"


def _kind(op: Parsed) -> str:
    return f"a {op}" if isinstance(op, (Mem, Imm)) else str(op)


# --- bytes -----------------------------------------------------------------------------------------------------------

_MAPS = {0: b"", 1: b"\x0f", 2: b"\x0f\x38", 3: b"\x0f\x3a"}
_RM16 = {(3, 6): 0, (3, 7): 1, (5, 6): 2, (5, 7): 3, (6, -1): 4, (7, -1): 5, (5, -1): 6, (3, -1): 7}
_SCALE = {1: 0, 2: 1, 4: 2, 8: 3}


def _unsigned(v: int, bits: int, what: str) -> int:
    if not -(1 << (bits - 1)) <= v < 1 << bits:
        raise TextError(f"{what} {v:#x} does not fit {bits} bits")
    return v & ((1 << bits) - 1)


def _displacements(op: Mem, value: int, asz: int) -> list[tuple[int, bytes]]:
    """Ways to hold a displacement: mod and bytes, shortest first."""
    full = 4 if asz == 32 else 2
    v = _unsigned(value, asz, "the address" if op.base < 0 and op.index < 0 else "the displacement")
    wide = v.to_bytes(full, "little")
    if op.base < 0:
        return [(0, wide)]
    small = v - (1 << asz) if v >> (asz - 1) else v
    out: list[tuple[int, bytes]] = []
    if v == 0 and not (op.base == S.EBP and (asz == 32 or op.index < 0)):
        out.append((0, b""))
    if -128 <= small <= 127:
        out.append((1, (small & 0xFF).to_bytes(1, "little")))
    return [*out, (2, wide)]


def _address_bytes(op: Mem, reg: int, value: int, asz: int) -> list[bytes]:
    """ModRM, SIB and displacement."""
    out = []
    for mod, disp in _displacements(op, value, asz):
        if asz == 16:
            rm = 6 if op.base < 0 else _RM16[op.base, op.index]
            out.append(bytes([mod << 6 | reg << 3 | rm]) + disp)
            continue
        if op.index >= 0 or op.base == S.ESP:
            base = 5 if op.base < 0 else op.base
            sib = _SCALE[op.scale] << 6 | (4 if op.index < 0 else op.index) << 3 | base
            out.append(bytes([mod << 6 | reg << 3 | 4, sib]) + disp)
        else:
            rm = 5 if op.base < 0 else op.base
            out.append(bytes([mod << 6 | reg << 3 | rm]) + disp)
    return out


def encodings(p: Plan, lookup: Lookup, here: int) -> list[bytes]:
    """The bytes of a plan at address `here`, once for each size of its displacement. Raises TextError."""
    form = p.form
    opcode, reg, rm = form.opcode, max(form.digit, 0), max(form.rm, 0)
    memory: Mem | None = None
    absolute = b""
    for code, op in p.slots:
        if isinstance(op, Reg):
            if code in FIXED_REGISTERS or code in FIXED_SEGMENTS or code == "ST":
                continue
            if code[0] == "Z":
                opcode += op.number
            elif code[0] in "GVPCD" or code == "Sw":
                reg = op.number
            else:
                rm = op.number
        elif isinstance(op, Mem):
            if code in ("Ob", "Ov"):
                absolute = _unsigned(op.disp.value(lookup), p.asz, "the address").to_bytes(p.asz // 8, "little")
            else:
                memory = op
    head = p.prefixes + _MAPS[form.map] + bytes([opcode])
    if memory is not None:
        heads = [head + tail for tail in _address_bytes(memory, reg, memory.disp.value(lookup), p.asz)]
    elif form.modrm:
        heads = [head + bytes([0xC0 | reg << 3 | rm])]
    else:
        heads = [head]
    return [h + absolute + _immediates(p, lookup, here + len(h)) for h in heads]


def _immediates(p: Plan, lookup: Lookup, here: int) -> bytes:
    out = b""
    for code, op in p.slots:
        if isinstance(op, Far):
            out += _unsigned(op.offset.value(lookup), p.osz, "the offset").to_bytes(p.osz // 8, "little")
            out += _unsigned(op.selector.value(lookup), 16, "the selector").to_bytes(2, "little")
        elif isinstance(op, Imm) and code != "1":
            out += _IMMEDIATE[code](op.node.value(lookup), p.osz, here)
    return out


def _byte(v: int, osz: int, here: int) -> bytes:
    return _unsigned(v, 8, "the number").to_bytes(1, "little")


def _sign_extended(v: int, osz: int, here: int) -> bytes:
    v = _unsigned(v, osz, "the number")
    small = v - (1 << osz) if v >> (osz - 1) else v
    if not -128 <= small <= 127:
        raise TextError(f"the number {v:#x} does not fit a sign-extended byte")
    return (small & 0xFF).to_bytes(1, "little")


def _fixed(bits: int) -> Callable[[int, int, int], bytes]:
    return lambda v, osz, here: _unsigned(v, bits, "the number").to_bytes(bits // 8, "little")


def _by_size(v: int, osz: int, here: int) -> bytes:
    return _unsigned(v, osz, "the number").to_bytes(osz // 8, "little")


def _short(v: int, osz: int, here: int) -> bytes:
    distance = (v - here - 1) & ((1 << osz) - 1)
    if distance >> (osz - 1):
        distance -= 1 << osz
    if not -128 <= distance <= 127:
        raise TextError(f"the target is {distance} bytes away, a short jump reaches -128 to 127")
    return (distance & 0xFF).to_bytes(1, "little")


def _near(v: int, osz: int, here: int) -> bytes:
    v = _unsigned(v, osz, "the target")
    size = osz // 8
    return ((v - here - size) & ((1 << osz) - 1)).to_bytes(size, "little")


_IMMEDIATE: dict[str, Callable[[int, int, int], bytes]] = {
    "Ib": _byte, "Ib2": _byte, "Ibs": _sign_extended, "Iw": _fixed(16), "Id": _fixed(32), "Iz": _by_size, "Jb": _short,
    "Jz": _near,
}  # fmt: skip


def shortest(plans: list[Plan], lookup: Lookup, here: int, at_least: int = 0) -> bytes:
    """The shortest encoding of `at_least` bytes (the longest if all are shorter), the first of equals."""
    best: bytes | None = None
    longest = b""
    refusal: TextError | None = None
    for p in plans:
        try:
            found = encodings(p, lookup, here)
        except TextError as error:
            refusal = refusal or error
            continue
        for data in found:
            if len(data) >= at_least and (best is None or len(data) < len(best)):
                best = data
            if len(data) > len(longest):
                longest = data
    if best is None and not longest:
        raise refusal or TextError("no encoding")
    return longest if best is None else best
