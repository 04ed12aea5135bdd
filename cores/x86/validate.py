"""Which processor states exist: the one check behind every way to write registers from outside.

Both tiers ask here before `set_reg` or `load_state` stores anything; debuggers, snapshots and firmware come through
those. A refused write raises ValueError and leaves the state as it was. The rules are those that instructions keep
(SDM vol. 3, chapters 2, 3, 5, 17 and 26.3.1, where the silicon itself checks a whole state).

Not checked, because every value is a state: general and flag registers, EIP (beyond the limit the fetch faults), CR2,
CR3, table bases and limits, segment bases and limits outside virtual-8086 mode, floating-point and vector contents.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import state as S
from .models import CpuModel

PRESENT, SEGMENT, CODE, CONFORMING, USABLE, ACCESSED = 0x80, 0x10, 8, 4, 2, 1
V86_ATTR = 0xF3
BUSY_TSS = (3, 11)
LDT_TYPE = 2
UNUSABLE = 0


def check(s: Any, model: CpuModel, *, whole: bool = True) -> None:
    """Raise ValueError, naming the first rule that is broken, unless a processor of this model can be in state `s`.

    `whole` is off for a change of one register: then CPL need not agree with CS and SS, which change one by one.
    """
    for problem in problems(s, model, whole=whole):
        raise ValueError(problem)


def problems(s: Any, model: CpuModel, *, whole: bool = True) -> Iterator[str]:
    """The rules that a state breaks, in words."""
    yield from _control(s, model)
    yield from _segments(s, whole)
    yield from _events(s)
    yield from _msrs(s)
    yield from _float(s)
    if any(x >> 32 for x in s.gpr[0:8]) or any(s.gpr[8:17]):
        yield "gpr: only the low halves of the first eight are in use"


def _control(s: Any, model: CpuModel) -> Iterator[str]:
    cr0, cr4, flags = s.cr0, s.cr4, s.eflags
    pe, pg, vm = cr0 >> S.CR0_PE & 1, cr0 >> S.CR0_PG & 1, flags >> S.FLAG_VM & 1
    if cr0 & ~S.CR0_BITS or not cr0 >> S.CR0_ET & 1:
        yield f"cr0: {cr0:#x}: bits beyond {S.CR0_BITS:#x} are 0 and ET is 1"
    if pg and not pe:
        yield f"cr0: {cr0:#x}: PG needs PE"
    if cr0 >> S.CR0_NW & 1 and not cr0 >> S.CR0_CD & 1:
        yield f"cr0: {cr0:#x}: NW needs CD"
    if cr4 & ~model.cr4_bits:
        yield f"cr4: {cr4:#x}: model {model.name} has only {model.cr4_bits:#x}"
    if flags & ~S.EFLAGS_STORED or not flags & 2:
        yield f"eflags: {flags:#x}: reserved and arithmetic bits are 0 and bit 1 is 1 here"
    if vm and not pe:
        yield "eflags: VM needs CR0.PE"
    if s.cpl > 3 or (vm and s.cpl != 3) or (not pe and s.cpl):
        yield f"cpl: {s.cpl}: real mode has 0, virtual-8086 mode 3"
    for k, entry in enumerate(s.pdpte):
        if entry & 1 and entry & S.PDPTE_RESERVED:
            yield f"pdpte: entry {k} is present with reserved bits set: {entry:#x}"


def _segments(s: Any, whole: bool) -> Iterator[str]:
    vm = s.eflags >> S.FLAG_VM & 1
    protected = s.cr0 >> S.CR0_PE & 1 and not vm
    attrs = list(s.seg_attr)
    for n, attr in enumerate(attrs):
        name = S.SEGMENT_NAMES[n]
        if attr == UNUSABLE:
            continue
        if attr & 0x0F00:
            yield f"{name}.attr: {attr:#x}: bits 8-11 are 0"
        kind, wanted = attr & 15, PRESENT | (SEGMENT if n < 6 else 0)
        if attr & (PRESENT | SEGMENT) != wanted:
            yield f"{name}.attr: {attr:#x}: neither unusable (0) nor a present segment of its kind"
        elif n == S.TR:
            if kind not in BUSY_TSS:
                yield f"tr.attr: {attr:#x} is not a busy TSS"
        elif n == S.LDTR:
            if kind != LDT_TYPE:
                yield f"ldtr.attr: {attr:#x} is not an LDT"
        elif not kind & ACCESSED:
            yield f"{name}.attr: {attr:#x}: a loaded segment is accessed (bit 0)"
        elif n == S.SS and kind & (CODE | USABLE) != USABLE:
            yield f"ss.attr: {attr:#x} is not writable data"
        elif n not in (S.CS, S.SS) and kind & (CODE | USABLE) == CODE:
            yield f"{name}.attr: {attr:#x} is code that cannot be read"
        if vm and n < 6 and (attr, s.seg_limit[n], s.seg_base[n]) != (V86_ATTR, 0xFFFF, s.seg_sel[n] << 4):
            yield f"{name}: virtual-8086 mode has attr 0xf3, limit 0xffff and base = selector * 16"
    if not whole or not protected:
        return
    for n in (S.CS, S.SS):
        attr, dpl = attrs[n], attrs[n] >> 5 & 3
        conforming = n == S.CS and attr & (CODE | CONFORMING) == CODE | CONFORMING
        if attr != UNUSABLE and (dpl > s.cpl if conforming else dpl != s.cpl):
            yield f"{S.SEGMENT_NAMES[n]}.attr: {attr:#x}: level {dpl} does not go with CPL {s.cpl}"


def _events(s: Any) -> Iterator[str]:
    if s.shadow > 2:
        yield f"shadow: {s.shadow} is not 0, 1 or 2"
    if s.halted and s.cpl:
        yield f"halted: not at level {s.cpl}"
    if s.debug_pending & ~S.DR6_BITS:
        yield f"debug_pending: {s.debug_pending:#x} has bits that DR6 has not"
    if s.dr[4] or s.dr[5]:
        yield "dr: 4 and 5 are other names of 6 and 7"
    if s.dr[6] & ~S.DR6_BITS != S.DR6_FIXED:
        yield f"dr6: {s.dr[6]:#x}: reserved bits are {S.DR6_FIXED:#x}"
    if s.dr[7] & ~S.DR7_BITS != S.DR7_FIXED:
        yield f"dr7: {s.dr[7]:#x}: reserved bits are {S.DR7_FIXED:#x}"


def _msrs(s: Any) -> Iterator[str]:
    if s.msr_apic_base & ~S.APIC_BASE_BITS or not s.msr_apic_base & 0x100:
        yield f"msr_apic_base: {s.msr_apic_base:#x}: reserved bits are 0 and BSP is 1"
    if any(s.msr_pat >> 8 * k & 0xFF not in (0, 1, 4, 5, 6, 7) for k in range(8)):
        yield f"msr_pat: {s.msr_pat:#x} has a memory type that does not exist"
    if s.msr_mtrr_def & ~S.MTRR_DEF_BITS:
        yield f"msr_mtrr_def: {s.msr_mtrr_def:#x} has reserved bits set"
    if s.msr_misc[0] & ~7 or s.msr_misc[3] or any(s.msr_misc[5:8]):
        yield "msr_misc: bits set that no register has"


def _float(s: Any) -> Iterator[str]:
    if s.mxcsr & ~S.MXCSR_BITS:
        yield f"mxcsr: {s.mxcsr:#x} has reserved bits set"
    if any(s.xmm_lo[8:16]) or any(s.xmm_hi[8:16]):
        yield "xmm: only eight registers exist"
    if s.fop >> 11:
        yield f"fop: {s.fop:#x} does not fit 11 bits"
    if s.fctrl & ~0x1F3F != 0x40:
        yield f"fctrl: {s.fctrl:#x}: reserved bits are 0x40"
    pending = 0x8080 if s.fstat & ~s.fctrl & 0x3F else 0
    if s.fstat & 0x8080 != pending:
        yield f"fstat: {s.fstat:#x}: ES and B say whether an unmasked exception is pending"
