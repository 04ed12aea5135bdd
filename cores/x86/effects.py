"""What a form does to the machine, read off its traced body: operands, flags, memory, ports, exceptions.

`emu explain` and the ISA pages (`docs.py`) show it. Nothing is stated by hand: registers come from reads and writes of
the state, flags from `lang.bitflow`, exceptions from the externs that are called and the vectors that are raised.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

from ..lang.bitflow import ONE_BIT, ZERO_BIT, Atom, Bit, BitFlow, start_bit
from ..lang.ir import Block, Branch, Call, Let, Procedure, SetReg, Value, walk
from ..lang.state import Register
from . import state as S
from .decoder import tables
from .forms import Form

OUTSIDE = "the operand lies outside its segment, or the segment does not allow the access"
OUTSIDE_STACK = "the operand lies outside the stack segment"
WATCHED = (S.CF_, S.CC_Z, S.CC_S, S.CC_AUX, S.EFLAGS)
ARITHMETIC = ("CF", "PF", "AF", "ZF", "SF", "OF")
SYSTEM = {
    S.FLAG_TF: "TF", S.FLAG_IF: "IF", S.FLAG_DF: "DF", S.FLAG_IOPL: "IOPL", S.FLAG_IOPL + 1: "IOPL", S.FLAG_NT: "NT",
    S.FLAG_RF: "RF", S.FLAG_VM: "VM", S.FLAG_AC: "AC", S.FLAG_VIF: "VIF", S.FLAG_VIP: "VIP", S.FLAG_ID: "ID",
}  # fmt: skip
ORDER = (*ARITHMETIC, *dict.fromkeys(SYSTEM.values()))


@dataclass
class Effects:
    """What one form reads, writes and may raise. Flag names as in EFLAGS, registers by name."""

    registers_read: list[str] = field(default_factory=list)
    registers_written: list[str] = field(default_factory=list)
    operands_read: set[str] = field(default_factory=set)  # instruction fields: reg, rm, base, index
    operands_written: set[str] = field(default_factory=set)
    memory: list[str] = field(default_factory=list)  # "read operand", "write stack", ...
    flags_read: list[str] = field(default_factory=list)
    flags: dict[str, str] = field(default_factory=dict)  # flag -> "cleared", "set" or "changed"; others stay
    undefined: list[str] = field(default_factory=list)
    exceptions: dict[str, list[str]] = field(default_factory=dict)  # name -> reasons
    ports: list[str] = field(default_factory=list)
    jumps: bool = False


# --- flags -----------------------------------------------------------------------------------------------------------

_PARITY: Bit = frozenset(start_bit("cc_s", k) for k in range(8))
_OVERFLOW: Bit = frozenset({start_bit("cc_aux", 31), start_bit("cf", 0)})


def _flag_bits(regs: dict[str, tuple[Bit, ...]]) -> dict[str, Bit]:
    """The flags as sums of bits, apart from ZF."""
    parity = ZERO_BIT
    for k in range(8):
        parity ^= regs["cc_s"][k]
    flags = {
        "CF": regs["cf"][0], "PF": parity ^ ONE_BIT, "AF": regs["cc_aux"][4], "SF": regs["cc_s"][31],
        "OF": regs["cc_aux"][31] ^ regs["cf"][0],
    }  # fmt: skip
    return flags


def _name(atom: Atom) -> set[str]:
    """The flags that a start bit, or a sum of them, shows."""
    if atom[0] == "sum":
        parts = frozenset(a for a in atom[1:] if isinstance(a, tuple))
        names: set[str] = set()
        if parts >= _OVERFLOW:
            names.add("OF")
            parts -= _OVERFLOW
        if parts >= _PARITY:
            names.add("PF")
            parts -= _PARITY
        return names.union(*(_name(a) for a in parts))
    reg, bit = str(atom[1]), int(str(atom[2]))
    if reg == "eflags":
        return {SYSTEM[bit]} if bit in SYSTEM else set()
    if reg == "cc_s":
        return {"SF"} if bit == 31 else set()
    if reg == "cc_aux":
        return {"AF"} if bit == 4 else {"OF"} if bit == 31 else set()
    return {"cf": {"CF"}, "cc_z": {"ZF"}}[reg]


_PROCEDURES: dict[int, BitFlow] = {}


def _flags(block: Block, out: Effects) -> None:
    flow = BitFlow(block, WATCHED, _PROCEDURES)
    start = {r.name: tuple(frozenset({start_bit(r.name, k)}) for k in range(r.width)) for r in WATCHED}
    initial = _flag_bits(start)
    ends: dict[str, set[Bit]] = {}
    read = set(flow.read)
    changed: set[str] = set()
    for regs in flow.exits:
        for flag, bit in _flag_bits(regs).items():
            ends.setdefault(flag, set()).add(bit)
            if bit != initial[flag]:
                changed.add(flag)
                read |= flow.sources(bit)
        zero = regs["cc_z"]
        if zero != start["cc_z"]:
            changed.add("ZF")
            known = (
                ZERO_BIT if ONE_BIT in zero else ONE_BIT if set(zero) == {ZERO_BIT} else frozenset({("value", 0, 0)})
            )
            ends.setdefault("ZF", set()).add(known)
            for bit in zero:
                read |= flow.sources(bit)
        for k, flag in SYSTEM.items():
            bit = regs["eflags"][k]
            if bit != start["eflags"][k]:
                changed.add(flag)
                ends.setdefault(flag, set()).add(bit)
                read |= flow.sources(bit)
    for flag in ORDER:
        if flag in changed:
            values = ends[flag]
            out.flags[flag] = "cleared" if values == {ZERO_BIT} else "set" if values == {ONE_BIT} else "changed"
    names: set[str] = set().union(*(_name(a) for a in read))
    out.flags_read = [f for f in ORDER if f in names]


# --- registers, memory, exceptions -----------------------------------------------------------------------------------


@dataclass
class _Summary:
    reads: set[tuple[str, str]] = field(default_factory=set)
    writes: set[tuple[str, str]] = field(default_factory=set)
    calls: set[tuple[str, str]] = field(default_factory=set)  # extern and what it is told about the segment
    vectors: set[int] = field(default_factory=set)
    jumps: bool = False


_SUMMARIES: dict[int, _Summary] = {}


def _place(value: Value | None) -> str:
    """How an index or a segment number is given: a constant, a field of the instruction, or something computed."""
    if value is None:
        return ""
    if value.constant is not None:
        return str(value.constant)
    return f"{value.attr}" if value.op == "field" else "?"


def _summary(block: Block, seen: dict[int, _Summary]) -> _Summary:
    out = _Summary()
    for stmt in walk(block):
        if isinstance(stmt, Let) and stmt.value.op in ("get", "getbyte"):
            out.reads.add(_register(stmt.value.attr, stmt.value.args[0] if stmt.value.args else None, stmt.value.width,
                                    stmt.value.op == "getbyte"))  # fmt: skip
        elif isinstance(stmt, SetReg):
            width = 32 if stmt.value.op == "zext" and stmt.value.args[0].width == 32 else stmt.value.width
            out.writes.add(_register(stmt.reg, stmt.index, width, stmt.how == "byte"))
        elif isinstance(stmt, Branch):
            out.jumps = True
        elif isinstance(stmt, Call):
            if isinstance(stmt.callee, Procedure):
                inner = seen.get(id(stmt.callee))
                if inner is None:
                    inner = seen[id(stmt.callee)] = _summary(stmt.callee.body, seen)
                out.reads |= inner.reads
                out.writes |= inner.writes
                out.calls |= inner.calls
                out.vectors |= inner.vectors
                if stmt.callee.name in ("refuse", "fault_if") and stmt.args and stmt.args[0].constant is not None:
                    out.vectors.add(stmt.args[0].constant)
            elif stmt.callee.name == "raise_fault":
                if stmt.args[0].constant is not None:
                    out.vectors.add(stmt.args[0].constant)
            else:
                out.calls.add((stmt.callee.name, _place(stmt.args[0] if stmt.args else None)))
    return out


def _register(reg: object, index: Value | None, width: int, byte: bool) -> tuple[str, str]:
    name = reg.name if isinstance(reg, Register) else "?"
    place = _place(index)
    if name == "gpr" and place.isdigit():
        n = int(place)
        if n >= 8 and not byte:
            return ("", "")
        if byte:
            return ("implied", S.R8[n >> 3 | (n & 1) << 2])
        return ("implied", (S.R16 if width == 16 else S.R32)[n])
    if name == "gpr":
        return ("field", place)
    if name in ("xmm_lo", "xmm_hi", "fpr_sig") and place in ("reg", "rm"):
        return ("field", place)
    if name in ("seg_sel", "seg_base", "seg_limit", "seg_attr"):
        return ("segment", S.SEGMENT_NAMES[int(place)] if place.isdigit() else "")
    return ("state", name)


_STATE_NAMES = {
    "cr0": "CR0", "cr2": "CR2", "cr3": "CR3", "cr4": "CR4", "gdtr_base": "GDTR", "gdtr_limit": "GDTR",
    "idtr_base": "IDTR", "idtr_limit": "IDTR", "dr": "debug registers", "mxcsr": "MXCSR", "fctrl": "FPU control word",
    "fstat": "FPU status word", "ftag": "FPU tags", "fpr_sig": "FPU stack", "fpr_se": "FPU stack", "xmm_lo": "XMM",
    "xmm_hi": "XMM",
}  # fmt: skip
_MEMORY = {"mem_r": "read", "mem_rw": "read", "mem_w": "write", "mem_probe_r": "check", "mem_probe_w": "check",
           "bulk_movs": "copy", "bulk_stos": "write", "bulk_ins": "write", "bulk_outs": "read"}  # fmt: skip


def _names(found: Iterable[tuple[str, str]]) -> list[str]:
    names = set()
    for kind, what in found:
        if kind == "implied" or (kind == "segment" and what):
            names.add(what)
        elif kind == "state" and what in _STATE_NAMES:
            names.add(_STATE_NAMES[what])
    order = [*S.R8, *S.R16, *S.R32, *S.SEGMENT_NAMES]
    return sorted(names, key=lambda n: (order.index(n) if n in order else len(order), n))


def _where(place: str) -> str:
    if place == "seg":
        return "memory"
    if place == str(S.SS):
        return "stack"
    return f"memory at {S.SEGMENT_NAMES[int(place)]}:edi" if place == str(S.ES) else "memory"


def effects(form: Form) -> Effects:
    """Everything that is known about a form; it is traced if need be."""
    return _effects(form.number)


@cache
def _effects(number: int) -> Effects:
    form = tables().form(number)
    if not form.block:
        form.trace()
    out = Effects()
    found = _summary(form.block, _SUMMARIES)
    out.registers_read = _names(found.reads - {("segment", "cs")})
    out.registers_written = _names(found.writes)
    out.operands_read = {what for kind, what in found.reads if kind == "field"}
    out.operands_written = {what for kind, what in found.writes if kind == "field"}
    out.jumps = found.jumps or ("state", "eip") in found.writes
    _flags(form.block, out)
    undefined = form.entry.undefined
    text = undefined if isinstance(undefined, str) else " ".join(undefined.get(w, "") for w in (form.mnemonic, "*"))
    out.undefined = [f for f in ORDER if f in text.split()]
    memory: dict[str, None] = {}
    linear = stack = data = aligned = False
    for name, place in sorted(found.calls):
        stem = name.rstrip("0123456789")
        if stem in _MEMORY:
            memory[f"{_MEMORY[stem]} {_where(place)}"] = None
            stack |= place == str(S.SS)
            data |= place != str(S.SS)
            aligned |= not name.endswith("r8") and not name.endswith("w8")
        elif stem in ("lin_r", "lin_w", "lin_probe_w"):
            linear = True
            memory["use system tables in memory"] = None
        elif stem in ("port_r", "port_w"):
            out.ports.append("read a port" if stem == "port_r" else "write a port")
    out.memory = list(memory)
    out.exceptions = _exceptions(form, found, data, stack, linear, aligned)
    return out


def _exceptions(
    form: Form, found: _Summary, data: bool, stack: bool, linear: bool, aligned: bool
) -> dict[str, list[str]]:
    """Exception -> reasons, in the order of their vectors; no reason where the body raises it itself."""
    out: dict[str, list[str]] = {S.VECTOR_NAMES.get(v, f"vector {v}"): [] for v in found.vectors}

    def add(name: str, why: str) -> None:
        if name in out and not out[name]:
            out[name].append("a check of the instruction itself")
        out.setdefault(name, []).append(why)

    if data:
        add("#GP", OUTSIDE)
        if form.mem == 1:
            add("#SS", OUTSIDE_STACK)
    if stack:
        add("#SS", "the stack pointer lies outside its segment")
    if data or stack or linear:
        add("#PF", "a page is not there or does not allow the access")
    if (data or stack) and aligned:
        add("#AC", "a misaligned access at level 3, where CR0.AM and EFLAGS.AC are set")
    if form.entry.needs == "486":
        add("#UD", "a processor older than the 486")
    elif form.entry.needs:
        add("#UD", f"a processor without {form.entry.needs}")
    if form.entry.lock:
        add("#UD", "LOCK without a destination in memory")
    order = list(S.VECTOR_NAMES.values())
    return dict(sorted(out.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order)))


__all__ = ["OUTSIDE", "OUTSIDE_STACK", "Effects", "effects"]
