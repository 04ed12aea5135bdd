"""What a form does to the machine, read off its traced body: operands, registers, memory, interrupts.

`emu explain` and the ISA pages (`docs.py`) show it. Interrupts are those of the instruction itself; each may besides
have a TLB miss, an instruction storage interrupt or a machine check when it is fetched.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

from ..lang.ir import Block, Branch, Call, Let, Procedure, SetReg, Stmt, Value, operands, walk
from ..lang.state import Register
from . import state as S
from .decoder import by_ident, field_names
from .forms import Form

INTERRUPTS = {
    S.CRITICAL: "critical input", S.MACHINE_CHECK: "machine check", S.DATA_STORAGE: "data storage",
    S.INSTRUCTION_STORAGE: "instruction storage", S.EXTERNAL: "external input", S.ALIGNMENT: "alignment",
    S.PROGRAM: "program", S.FP_UNAVAILABLE: "floating-point unavailable", S.SYSTEM_CALL: "system call",
    S.APU_UNAVAILABLE: "auxiliary processor unavailable", S.DECREMENTER: "decrementer",
    S.FIXED_INTERVAL: "fixed-interval timer", S.WATCHDOG: "watchdog timer", S.DATA_TLB: "data TLB error",
    S.INSTRUCTION_TLB: "instruction TLB error", S.DEBUG: "debug", S.SPE_UNAVAILABLE: "SPE unavailable",
    S.EFP_DATA: "EFP data", S.EFP_ROUND: "EFP round", S.PERFORMANCE: "performance monitor", S.DOORBELL: "doorbell",
    S.CRITICAL_DOORBELL: "critical doorbell", S.GUEST_DOORBELL: "guest doorbell",
    S.GUEST_CRITICAL_DOORBELL: "guest critical doorbell", S.HYPERVISOR_CALL: "hypervisor call",
    S.HYPERVISOR_PRIVILEGE: "hypervisor privilege",
}  # fmt: skip
"""Names of interrupts by the number of their IVOR."""

SYNDROMES = {
    S.ESR_PIL: "an illegal instruction", S.ESR_PPR: "a privileged instruction in problem state", S.ESR_PTR: "a trap",
    S.ESR_FP: "an enabled floating-point exception",
}  # fmt: skip
REASONS = {
    S.FP_UNAVAILABLE: "MSR.FP is 0", S.SPE_UNAVAILABLE: "MSR.SPV is 0", S.DEBUG: "a debug event is enabled for it",
    S.HYPERVISOR_PRIVILEGE: "in guest state", S.EFP_DATA: "an invalid operand, an overflow, a division by zero",
    S.SYSTEM_CALL: "that is what it does", S.HYPERVISOR_CALL: "LEV is 1, on an e500mc",
    S.EFP_ROUND: "an inexact result is to be rounded by software",
}  # fmt: skip
_MEMORY = {"mem_r": "read", "mem_w": "write", "mem_probe_r": "check", "mem_probe_w": "check",
           "external_read": "read", "external_write": "write", "external_probe": "check",
           "external_zero": "clear a line", "zero_line": "clear a line", "code_line": "drop a line of code",
           "physical": "translate", "still_holds": "read"}  # fmt: skip
# What is not the guest's: facts of the model and the engine's own notes.
_OWN = frozenset(
    "features mmu_kind msr_mask tlb0_ways tlb1_size fault_dear step_pc step_lr step_ctr step_msr step_far reserve_addr "
    "reserve_value timer_stamp tb_lost tb_stopped tb_stopped_at tlb0_next halted pins".split()
)
_NAMES = {
    "xer_so": "XER.SO", "xer_ov": "XER.OV", "xer_ca": "XER.CA", "xer_count": "XER.count", "reserve": "reservation",
    "tb_offset": "TB", "spe_acc": "ACC", "utlb0": "UTLB", "utlb1": "UTLB", "utlb2": "UTLB", "utlb_tid": "UTLB",
    **{f"etlb_mas{n}": "TLB" for n in (1, 2, 3, 7, 8)},
}  # fmt: skip


@dataclass
class Effects:
    """What one form reads, writes and may raise. Operands by the names of their fields, registers by the manual's."""

    operands_read: set[str] = field(default_factory=set)
    operands_written: set[str] = field(default_factory=set)
    read: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    memory: list[str] = field(default_factory=list)
    interrupts: dict[str, list[str]] = field(default_factory=dict)
    jumps: bool = False


@dataclass
class _Summary:
    reads: set[tuple[str, str]] = field(default_factory=set)
    writes: set[tuple[str, str]] = field(default_factory=set)
    calls: set[str] = field(default_factory=set)
    raises: set[tuple[int, int]] = field(default_factory=set)  # IVOR and ESR, -1 where computed
    cr_read: bool = False
    cr_kept: set[int] = field(default_factory=set)  # masks of the bits that writes of CR leave; -1 where computed
    jumps: bool = False


def _place(index: Value | None) -> str:
    if index is None:
        return ""
    if index.constant is not None:
        return str(index.constant)
    return str(index.attr) if index.op == "field" else "?"


def _name(value: object) -> str:
    return value.name if isinstance(value, Register) else ""


def _is_cr(v: Value) -> bool:
    return v.op == "get" and _name(v.attr) == "cr"


_SUMMARIES: dict[int, _Summary] = {}


def _summary(block: Block) -> _Summary:
    out = _Summary()
    kept_by: set[int] = set()
    statements = list(walk(block))
    for stmt in statements:
        if isinstance(stmt, SetReg):
            out.writes.add((_name(stmt.reg), _place(stmt.index)))
            if _name(stmt.reg) == "cr":
                kept = stmt.value.args[0] if stmt.value.op == "or" else None
                if kept is not None and kept.op == "and" and _is_cr(kept.args[0]):
                    kept_by.add(id(kept))
                    mask = kept.args[1].constant
                    out.cr_kept.add(-1 if mask is None else mask)
                else:
                    out.cr_kept.add(0)
        elif isinstance(stmt, Branch):
            out.jumps = True
        elif isinstance(stmt, Call):
            _call(stmt, out)
    for stmt in statements:
        if isinstance(stmt, Let) and stmt.value.op in ("get", "getbyte"):
            out.reads.add((_name(stmt.value.attr), _place(stmt.value.args[0] if stmt.value.args else None)))
        out.cr_read |= any(_is_cr(v) for v in _used(stmt, kept_by))
    return out


def _used(stmt: Stmt, kept_by: set[int]) -> Iterable[Value]:
    """The values that a statement uses, but for what a write of CR keeps."""
    if isinstance(stmt, Let):
        return () if id(stmt.value) in kept_by else stmt.value.args
    return operands(stmt)


def _call(stmt: Call, out: _Summary) -> None:
    if isinstance(stmt.callee, Procedure):
        inner = _SUMMARIES.get(id(stmt.callee))
        if inner is None:
            inner = _SUMMARIES[id(stmt.callee)] = _summary(stmt.callee.body)
        out.reads |= inner.reads
        out.writes |= inner.writes
        out.calls |= inner.calls
        out.raises |= inner.raises
        out.cr_read |= inner.cr_read
        out.cr_kept |= inner.cr_kept
    elif stmt.callee.name == "raise_interrupt":
        numbers = [-1 if a.constant is None else a.constant for a in stmt.args]
        out.raises.add((numbers[0], numbers[1]))
    else:
        out.calls.add(stmt.callee.name)


# Operands that are registers, and the file behind each kind.
_FILES = {"rt": "gpr", "rs": "gpr", "ra": "gpr", "rb": "gpr", "frt": "fpr", "frs": "fpr", "fra": "fpr", "frb": "fpr",
          "frc": "fpr"}  # fmt: skip
_CR_READ = ("bi", "ba", "bb", "bfa", "crb", "crs")
_CR_WRITTEN = ("bt", "bf")


def effects(form: Form) -> Effects:
    """Everything that is known about a form; it is traced if need be."""
    return _effects(form.ident)


@cache
def _effects(ident: str) -> Effects:
    form = by_ident()[ident]
    if not form.block:
        form.trace()
    found = _summary(form.block)
    fields = field_names(ident)
    out = Effects(jumps=found.jumps or ("pc", "") in found.writes)
    read, written = _registers(found.reads, fields), _registers(found.writes, fields)
    out.operands_read = {f for f in fields if (_FILES.get(f), f) in found.reads}
    out.operands_written = {f for f in fields if (_FILES.get(f), f) in found.writes}
    if found.cr_read:
        named = {f for f in fields if f in _CR_READ}
        out.operands_read |= named
        read |= set() if named else {"CR"}
    for mask in found.cr_kept:
        named = {f for f in fields if f in _CR_WRITTEN}
        if mask == -1 and named:
            out.operands_written |= named
        else:
            written |= _cr_fields(~mask & 0xFFFFFFFF) if mask > 0 else {"CR"}
    out.read, out.written = _ordered(read), _ordered(written)
    out.memory = _memory(found.calls)
    out.interrupts = _interrupts(form, found)
    return out


def _cr_fields(changed: int) -> set[str]:
    return {f"CR{n}" for n in range(8) if changed >> (28 - 4 * n) & 0xF}


def _registers(found: set[tuple[str, str]], fields: tuple[str, ...]) -> set[str]:
    out = set()
    for name, place in found:
        if name in ("cr", "pc", "") or name in _OWN or place in fields:
            continue
        if name in ("gpr", "fpr"):
            prefix = "r" if name == "gpr" else "f"
            out.add(f"{prefix}{place}" if place.isdigit() else "further registers by their number")
        elif name in _NAMES:
            out.add(_NAMES[name])
        elif place.isdigit() and name in ("pid", "sprg", "gsprg", "iac", "dac", "dvc", "ivor", "givor", "cache_lines"):
            out.add(_element(name, int(place)))
        else:
            out.add(name.upper())
    return out


def _element(name: str, n: int) -> str:
    from .spr import SPRS

    row = next((r for r in SPRS.values() if _name(r.register) == name and r.index == n), None)
    return row.name.upper() if row is not None else f"{name.upper()}{n}"


def _ordered(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda n: (n == "MSR", n.startswith("XER"), n))


def _memory(calls: set[str]) -> list[str]:
    out: dict[str, None] = {}
    for name in sorted(calls):
        stem = name.rstrip("0123456789")
        if stem in _MEMORY:
            bits = name[len(stem) :]
            out[f"{_MEMORY[stem]} {bits} bits" if bits else _MEMORY[stem]] = None
    if any(k.startswith(("read ", "write ")) for k in out):
        out.pop("translate", None)
    names = {"dcr_r": "read a DCR", "dcr_w": "write a DCR"}
    return [*out, *(text for name, text in names.items() if name in calls)]


def _interrupts(form: Form, found: _Summary) -> dict[str, list[str]]:
    """Interrupt -> reasons, in the order of their numbers."""
    reasons: dict[int, dict[str, None]] = {}

    def add(number: int, why: str) -> None:
        reasons.setdefault(number, {})[why] = None

    for number, esr in found.raises:
        if number == S.PROGRAM:
            add(number, SYNDROMES.get(esr, "what ESR says"))
        elif number == S.ALIGNMENT:
            add(number, "an address that is no multiple of the size")
        elif number >= 0:
            add(number, REASONS.get(number, ""))
    if any(name.rstrip("0123456789") in _MEMORY for name in found.calls):
        add(S.DATA_STORAGE, "the page does not allow the access")
        add(S.DATA_TLB, "no entry of the TLB maps the address")
    if form.entry.needs:
        add(S.PROGRAM, f"a processor without {form.entry.needs}")
    return {f"{INTERRUPTS[n]} (IVOR{n})": [w for w in reasons[n] if w] for n in sorted(reasons)}


__all__ = ["INTERRUPTS", "Effects", "effects"]
