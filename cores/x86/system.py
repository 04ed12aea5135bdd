"""System instructions (SDM vol. 1, 7.3.18; vol. 3, 2.8): tables, control and debug registers, segments, flags, ports.

Far transfers end in `transfer.py`, descriptor checks in `segment.py`; `io_check` serves IN, OUT, INS and OUTS.
"""

from __future__ import annotations

from typing import Any

from ..lang.trace import Val, concat, fieldvalue, finish_, otherwise, procedure, return_, select, value, var, when
from . import state as S
from .externs import (
    LIN_R,
    cpuid_leaf,
    debug_changed,
    fault,
    mem_probe_w,
    mode_changed,
    tlb_flush,
    tlb_flush_page,
    trap_if,
    unlikely,
)
from .flags import EFLAGS, OF, ZF, read_eflags, write_arith
from .forms import MemOperand, family, gpr, insn
from .msr import has, read_msr, tsc, write_msr
from .paging import load_pdptes
from .registers import (
    cpl,
    flag_mask,
    get,
    iopl,
    is_null,
    protected_enabled,
    put,
    refuse,
    require_cpl0,
    require_protected,
    rpl,
    v86,
)
from .segment import Descriptor, find_descriptor, load_ldt, load_segment, load_task_register, set_flat
from .stack import peek, push, set_stack_pointer, stack_mask
from .transfer import far_call, far_jump, far_return, set_flags, virtual_interrupt_flags

Op = Any  # an operand location; the codes of the encodings say which


def _next() -> Val:
    return fieldvalue("next", 32)


# --- ports ---------------------------------------------------------------------------------------------------------


@procedure(16, 8)
def io_bitmap_check(port: Val, count: Val) -> None:
    """#GP(0) unless the I/O permission bitmap of the TSS has zeros for all the ports (SDM vol. 1, 18.5.2)."""
    base, limit = get(S.SEG_BASE, S.TR), get(S.SEG_LIMIT, S.TR)
    refuse(~get(S.SEG_ATTR, S.TR).bit(3) | (limit < 0x67), S.GP)
    at = LIN_R[16](base + 0x66, 0).zext(32) + (port >> 3).zext(32)
    # Two bytes are read, so that a port never straddles the end of the map.
    refuse(at + 1 > limit, S.GP)
    bits = LIN_R[16](base + at, 0) >> (port & 7)
    wanted = (value(1, 16) << count.zext(16)) - 1
    refuse((bits & wanted) != 0, S.GP)


@procedure(16, 8)
def io_check(port: Val, count: Val) -> None:
    """#GP(0) unless this code may touch `count` ports from `port` on."""
    with when(protected_enabled() & (v86() | (cpl() > iopl()))):
        io_bitmap_check(port, count)


# --- segment registers ---------------------------------------------------------------------------------------------

_LOADABLE = ("ES", "SS", "DS", "FS", "GS")
_ALL = ("ES", "CS", "SS", "DS", "FS", "GS")
_number = {name: k for k, name in enumerate(_ALL)}


@insn(
    "mov {dst}, {src}",
    [f"8C /{_number[s]} {kind}" for s in _ALL for kind in (f"mem Ew,{s}", f"reg Ev,{s}")],
    see="vol. 2, MOV",
)
def mov_from_segment(dst: Op, src: Op) -> None:
    """Store a segment selector; a 32-bit register gets it zero-extended, memory always 16 bits."""
    dst.set(get(S.SEG_SEL, src.number).zext(dst.width))


@insn(
    "mov {dst}, {src}",
    [f"8E /{_number[s]} {s},Ew" for s in _LOADABLE if s != "SS"],
    see="vol. 2, MOV",
    ends="block",
    helper=True,
)
def mov_to_segment(dst: Op, src: Op) -> None:
    """Load a segment register, with all checks of protected mode. CS cannot be loaded this way."""
    load_segment(dst.number, src.read())


def _stack_shadow() -> None:
    """Loading SS holds off interrupts and debug traps until after the next instruction, which loads the pointer."""
    put(S.SHADOW, 2)


@insn("mov {dst}, {src}", "8E /2 SS,Ew", see="vol. 2, MOV", ends="block", helper=True)
def mov_to_ss(dst: Op, src: Op) -> None:
    """Load SS; interrupts and debug traps wait for the next instruction."""
    load_segment(dst.number, src.read())
    _stack_shadow()


@insn("push {src}", ["06 ES", "0E CS", "16 SS", "1E DS", "0F A0 FS", "0F A8 GS"], see="vol. 2, PUSH")
def push_segment(src: Op, *, osz: int) -> None:
    """Push a segment selector, zero-extended."""
    push(get(S.SEG_SEL, src.number).zext(osz))


def _pop_segment(dst: Op, osz: int) -> None:
    selector = peek(osz).low(16)
    mask = stack_mask()
    load_segment(dst.number, selector)
    set_stack_pointer((gpr(S.ESP, 32).read() + osz // 8) & mask, mask)


@insn("pop {dst}", ["07 ES", "1F DS", "0F A1 FS", "0F A9 GS"], see="vol. 2, POP", ends="block", helper=True)
def pop_segment(dst: Op, *, osz: int) -> None:
    """Pop a selector into a segment register."""
    _pop_segment(dst, osz)


@insn("pop {dst}", "17 SS", see="vol. 2, POP", ends="block", helper=True)
def pop_ss(dst: Op, *, osz: int) -> None:
    """Pop a selector into SS; interrupts and debug traps wait for the next instruction."""
    _pop_segment(dst, osz)
    _stack_shadow()


# --- far pointers --------------------------------------------------------------------------------------------------


def _far_pointer(src: Op, osz: int) -> tuple[Val, Val]:
    """Offset and selector of a far pointer in memory."""
    return src.at(0, osz).read(), src.at(osz // 8, 16).read()


def _load_far_pointer(n: int, dst: Op, src: Op, osz: int) -> None:
    offset, selector = _far_pointer(src, osz)
    load_segment(n, selector)
    dst.set(offset)


@family(segment=("es", "ds"))
@insn("l{segment} {dst}, {src}", "[C4+n] /r mem Gv,Mp", see="vol. 2, LDS LES", ends="block", helper=True)
def lds(dst: Op, src: Op, *, segment: str, osz: int) -> None:
    """Load ES or DS and a general register from a far pointer in memory."""
    _load_far_pointer(S.SEGMENT_NAMES.index(segment), dst, src, osz)


@family(segment=("fs", "gs"))
@insn("l{segment} {dst}, {src}", "0F [B4+n] /r mem Gv,Mp", see="vol. 2, LFS LGS", ends="block", helper=True)
def lfs(dst: Op, src: Op, *, segment: str, osz: int) -> None:
    """Load FS or GS and a general register from a far pointer in memory."""
    _load_far_pointer(S.SEGMENT_NAMES.index(segment), dst, src, osz)


@insn("lss {dst}, {src}", "0F B2 /r mem Gv,Mp", see="vol. 2, LSS", ends="block", helper=True)
def lss(dst: Op, src: Op, *, osz: int) -> None:
    """Load SS and a general register from a far pointer in memory; unlike MOV SS it holds nothing off."""
    _load_far_pointer(S.SS, dst, src, osz)


@insn("jmp far {target}", "EA Ap", see="vol. 2, JMP", ends="far", helper=True)
def jmp_far(target: Op, *, osz: int) -> None:
    """Jump to another code segment, through a call gate, or to another task."""
    far_jump(target.selector, target.offset, _next())


@insn("jmp far {target}", "FF /5 mem Mp", see="vol. 2, JMP", ends="far", helper=True)
def jmp_far_memory(target: Op, *, osz: int) -> None:
    """Far jump through a pointer in memory."""
    offset, selector = _far_pointer(target, osz)
    far_jump(selector, offset.zext(32), _next())


@insn("call far {target}", "9A Ap", see="vol. 2, CALL", ends="far", helper=True)
def call_far(target: Op, *, osz: int) -> None:
    """Call a procedure in another code segment, through a call gate, or another task."""
    far_call(osz // 8, target.selector, target.offset, _next())


@insn("call far {target}", "FF /3 mem Mp", see="vol. 2, CALL", ends="far", helper=True)
def call_far_memory(target: Op, *, osz: int) -> None:
    """Far call through a pointer in memory."""
    offset, selector = _far_pointer(target, osz)
    far_call(osz // 8, selector, offset.zext(32), _next())


@insn("retf", "CB", see="vol. 2, RET", ends="far", helper=True)
def retf(*, osz: int) -> None:
    """Return to another code segment, the same privilege level or an outer one."""
    far_return(osz // 8, 0)


@insn("retf {bytes}", "CA Iw", see="vol. 2, RET", ends="far", helper=True)
def retf_pop(bytes: Op, *, osz: int) -> None:
    """Far return that also releases `bytes` bytes of parameters, from both stacks where there are two."""
    far_return(osz // 8, bytes.read().zext(32))


# --- descriptor tables ---------------------------------------------------------------------------------------------


def _store_table(dst: Op, limit: Val, base: Val) -> None:
    mem_probe_w(dst.seg, dst.offset, 6)
    # All 32 bits of the base whatever the operand size: the manual says 24 for 16 bits, processors store all.
    dst.at(0, 16).set(limit)
    dst.at(2, 32).set(base)


def _load_table(src: Op, osz: int) -> tuple[Val, Val]:
    require_cpl0()
    limit: Val = src.at(0, 16).read()
    base: Val = src.at(2, 32).read()
    return limit, base & 0xFFFFFF if osz == 16 else base


@insn("sgdt {dst}", "0F 01 /0 mem Ms", see="vol. 2, SGDT")
def sgdt(dst: Op) -> None:
    """Store limit and base of the global descriptor table."""
    _store_table(dst, get(S.GDTR_LIMIT), get(S.GDTR_BASE))


@insn("sidt {dst}", "0F 01 /1 mem Ms", see="vol. 2, SIDT")
def sidt(dst: Op) -> None:
    """Store limit and base of the interrupt descriptor table."""
    _store_table(dst, get(S.IDTR_LIMIT), get(S.IDTR_BASE))


@insn("lgdt {src}", "0F 01 /2 mem Ms", see="vol. 2, LGDT")
def lgdt(src: Op, *, osz: int) -> None:
    """Load limit and base of the global descriptor table; 24 bits of the base with 16-bit operand size."""
    limit, base = _load_table(src, osz)
    put(S.GDTR_LIMIT, limit)
    put(S.GDTR_BASE, base)


@insn("lidt {src}", "0F 01 /3 mem Ms", see="vol. 2, LIDT")
def lidt(src: Op, *, osz: int) -> None:
    """Load limit and base of the interrupt descriptor table; 24 bits of the base with 16-bit operand size."""
    limit, base = _load_table(src, osz)
    put(S.IDTR_LIMIT, limit)
    put(S.IDTR_BASE, base)


@insn("sldt {dst}", ["0F 00 /0 mem Ew", "0F 00 /0 reg Ev"], see="vol. 2, SLDT")
def sldt(dst: Op) -> None:
    """Store the selector of the local descriptor table."""
    require_protected()
    dst.set(get(S.SEG_SEL, S.LDTR).zext(dst.width))


@insn("str {dst}", ["0F 00 /1 mem Ew", "0F 00 /1 reg Ev"], see="vol. 2, STR")
def str_(dst: Op) -> None:
    """Store the selector of the task register."""
    require_protected()
    dst.set(get(S.SEG_SEL, S.TR).zext(dst.width))


@insn("lldt {src}", "0F 00 /2 Ew", see="vol. 2, LLDT", helper=True)
def lldt(src: Op) -> None:
    """Load the local descriptor table register; a null selector makes it unusable."""
    require_protected()
    require_cpl0()
    load_ldt(src.read())


@insn("ltr {src}", "0F 00 /3 Ew", see="vol. 2, LTR", helper=True)
def ltr(src: Op) -> None:
    """Load the task register and mark its TSS busy; no task is switched."""
    require_protected()
    require_cpl0()
    load_task_register(src.read())


@procedure(16, 16, results=(1, 64))
def visible_descriptor(selector: Val, system_types: Val) -> None:
    """For LAR, LSL, VERR, VERW: whether a selector names a descriptor of a permitted type that this level may see.

    Bit n of `system_types` permits system type n."""
    with when(is_null(selector)):
        return_(0, 0)
    found, raw = find_descriptor(selector)
    d = Descriptor(raw)
    type_ok = d.is_segment | ((system_types >> d.type.zext(16)) & 1).low(1)
    level_ok = d.is_conforming_code | ((d.dpl >= cpl()) & (d.dpl >= rpl(selector)))
    return_(found & type_ok & level_ok, raw)


LAR_TYPES = flag_mask(1, 2, 3, 4, 5, 9, 11, 12)
LSL_TYPES = flag_mask(1, 2, 3, 9, 11)


@insn("lar {dst}, {src}", "0F 02 /r Gv,Ew", see="vol. 2, LAR")
def lar(dst: Op, src: Op) -> None:
    """Load the access rights of a descriptor; ZF says whether there is one to see."""
    require_protected()
    ok, raw = visible_descriptor(src.read(), LAR_TYPES)
    with when(ok):
        dst.set((raw.bits(32, 32) & 0x00F0FF00).low(dst.width))
    ZF.set(ok)


@insn("lsl {dst}, {src}", "0F 03 /r Gv,Ew", see="vol. 2, LSL")
def lsl(dst: Op, src: Op) -> None:
    """Load the limit of a segment, in bytes; ZF says whether there is one to see."""
    require_protected()
    ok, raw = visible_descriptor(src.read(), LSL_TYPES)
    with when(ok):
        dst.set(Descriptor(raw).limit.low(dst.width))
    ZF.set(ok)


@insn("verr {src}", "0F 00 /4 Ew", see="vol. 2, VERR")
def verr(src: Op) -> None:
    """Set ZF if a segment can be read from here."""
    require_protected()
    ok, raw = visible_descriptor(src.read(), 0)
    ZF.set(ok & Descriptor(raw).is_readable)


@insn("verw {src}", "0F 00 /5 Ew", see="vol. 2, VERW")
def verw(src: Op) -> None:
    """Set ZF if a segment can be written from here."""
    require_protected()
    ok, raw = visible_descriptor(src.read(), 0)
    ZF.set(ok & Descriptor(raw).is_stack)


@insn("arpl {dst}, {src}", "63 /r Ew,Gw", see="vol. 2, ARPL")
def arpl(dst: Op, src: Op) -> None:
    """Raise the RPL of a selector to that of another; ZF says whether it was lower."""
    require_protected()
    wanted = src.read() & 3
    selector = dst.read()
    lower = (selector & 3) < wanted
    # Through a place of its own: a destination that keeps its RPL is only read, and so may be read-only.
    place = dst.at(0, 16) if isinstance(dst, MemOperand) else dst
    with when(lower):
        place.set((selector & 0xFFFC) | wanted)
    ZF.set(lower)


# --- control registers ---------------------------------------------------------------------------------------------

CR0_TRANSLATION = flag_mask(S.CR0_PE, S.CR0_WP, S.CR0_PG)
CR4_TRANSLATION = flag_mask(S.CR4_PSE, S.CR4_PAE, S.CR4_PGE)


@procedure(32)
def write_cr0(new: Val) -> None:
    """MOV to CR0 and LMSW."""
    refuse(new.bit(S.CR0_PG) & ~new.bit(S.CR0_PE), S.GP)
    refuse(new.bit(S.CR0_NW) & ~new.bit(S.CR0_CD), S.GP)
    old = get(S.CR0)
    v = (new & S.CR0_BITS) | 1 << S.CR0_ET
    with when(v.bit(S.CR0_PG) & ~old.bit(S.CR0_PG) & get(S.CR4).bit(S.CR4_PAE)):
        load_pdptes(get(S.CR3))
    put(S.CR0, v)
    with when(((old ^ v) & CR0_TRANSLATION) != 0):
        tlb_flush(1)
    mode_changed()


def pae_paging() -> Val:
    """Whether PAE page tables are in use."""
    return get(S.CR0).bit(S.CR0_PG) & get(S.CR4).bit(S.CR4_PAE)


@procedure(32)
def write_cr3(new: Val) -> None:
    """MOV to CR3."""
    with when(pae_paging()):
        load_pdptes(new)
    put(S.CR3, new)
    tlb_flush(0)


@procedure(32)
def write_cr4(new: Val) -> None:
    """MOV to CR4: #GP(0) for a bit whose feature the CPU model does not have."""
    known = var(32, 0, "known")
    for bit, name in S.CR4_FEATURES.items():
        known.set(known.read() | (has(name).zext(32) << bit))
    refuse((new & ~known.read()) != 0, S.GP)
    old = get(S.CR4)
    translation = ((old ^ new) & CR4_TRANSLATION) != 0
    with when(translation & get(S.CR0).bit(S.CR0_PG) & new.bit(S.CR4_PAE)):
        load_pdptes(get(S.CR3))
    put(S.CR4, new)
    with when(translation):
        tlb_flush(1)
    mode_changed()


def _cr4_exists() -> Val:
    """CR4 came with the features it enables; the first 486 had none of them."""
    return has("vme") | has("pse")


@procedure(8, results=(32,))
def read_control(n: Val) -> None:
    """MOV from a control register."""
    refuse((n == 1) | (n > 4) | ((n == 4) & ~_cr4_exists()), S.UD)
    require_cpl0()
    for k, register in ((0, S.CR0), (2, S.CR2), (3, S.CR3)):
        with when(n == k):
            return_(get(register))
    return_(get(S.CR4))


@procedure(8, 32)
def write_control(n: Val, new: Val) -> None:
    """MOV to a control register."""
    refuse((n == 1) | (n > 4) | ((n == 4) & ~_cr4_exists()), S.UD)
    require_cpl0()
    with when(n == 0):
        write_cr0(new)
    with when(n == 2):
        put(S.CR2, new)
    with when(n == 3):
        write_cr3(new)
    with when(n == 4):
        write_cr4(new)


@insn("mov {dst}, {src}", "0F 20 /r Rd,Cd", see="vol. 2, MOV (control registers)", helper=True)
def mov_from_control(dst: Op, src: Op) -> None:
    """Read CR0, CR2, CR3 or CR4."""
    dst.set(read_control(src.number))


@insn("mov {dst}, {src}", "0F 22 /r Cd,Rd", see="vol. 2, MOV (control registers)", ends="block", helper=True)
def mov_to_control(dst: Op, src: Op) -> None:
    """Write CR0, CR2, CR3 or CR4; what changes translation also drops what is cached of it."""
    write_control(dst.number, src.read())


@insn("smsw {dst}", ["0F 01 /4 mem Ew", "0F 01 /4 reg Ev"], see="vol. 2, SMSW")
def smsw(dst: Op) -> None:
    """Store the machine status word, the low half of CR0; a 32-bit register gets all of CR0."""
    dst.set(get(S.CR0).low(dst.width))


@insn("lmsw {src}", "0F 01 /6 Ew", see="vol. 2, LMSW", ends="block", helper=True)
def lmsw(src: Op) -> None:
    """Load PE, MP, EM and TS of CR0; PE can be set this way but not cleared."""
    require_cpl0()
    new = src.read().zext(32)
    old = get(S.CR0)
    write_cr0((old & ~0xE) | (new & 0xF))


@insn("clts", "0F 06", see="vol. 2, CLTS", ends="block")
def clts() -> None:
    """Clear CR0.TS."""
    require_cpl0()
    put(S.CR0, get(S.CR0) & ~(1 << S.CR0_TS))
    mode_changed()


@insn("invlpg {address}", "0F 01 /7 mem M", see="vol. 2, INVLPG", ends="block")
def invlpg(address: Op) -> None:
    """Drop the cached translation of the page of an address; the segment's limit does not matter."""
    require_cpl0()
    tlb_flush_page(get(S.SEG_BASE, address.seg) + address.offset)


@family(name=("invd", "wbinvd"))
@insn("{name}", "0F [08+n]", see="vol. 2, INVD WBINVD")
def cache_control(*, name: str) -> None:
    """Empty the data caches, of which there are none here."""
    require_cpl0()


# --- debug registers -----------------------------------------------------------------------------------------------

DR6_BD = DR7_GD = 13


@procedure(8, results=(8,))
def debug_register(n: Val) -> None:
    """The debug register that a number means, after all checks: DR4 and DR5 are DR6 and DR7, or #UD with CR4.DE."""
    alias = (n == 4) | (n == 5)
    refuse(alias & get(S.CR4).bit(S.CR4_DE), S.UD)
    require_cpl0()
    with unlikely(get(S.DR, 7).bit(DR7_GD)):
        put(S.DR, get(S.DR, 6) | 1 << DR6_BD, 6)
        fault(S.DB)
    return_(select(alias, n + 2, n))


@procedure(8, 32)
def write_debug(n: Val, new: Val) -> None:
    """MOV to a debug register; reserved bits keep their values."""
    k = debug_register(n)
    with when(k == 6):
        put(S.DR, (new & S.DR6_BITS) | S.DR6_FIXED, 6)
    with otherwise():
        with when(k == 7):
            put(S.DR, (new & S.DR7_BITS) | S.DR7_FIXED, 7)
        with otherwise():
            put(S.DR, new, k)
    debug_changed()


@insn("mov {dst}, {src}", "0F 21 /r Rd,Dd", see="vol. 2, MOV (debug registers)", helper=True)
def mov_from_debug(dst: Op, src: Op) -> None:
    """Read a debug register; #DB if DR7.GD guards them."""
    dst.set(get(S.DR, debug_register(src.number)))


@insn("mov {dst}, {src}", "0F 23 /r Dd,Rd", see="vol. 2, MOV (debug registers)", ends="block", helper=True)
def mov_to_debug(dst: Op, src: Op) -> None:
    """Write a debug register; #DB if DR7.GD guards them."""
    write_debug(dst.number, src.read())


# --- identification, counters, MSRs ---------------------------------------------------------------------------------


def _set_edx_eax(v: Val) -> None:
    gpr(S.EAX, 32).set(v.low(32))
    gpr(S.EDX, 32).set(v.bits(32, 32))


@insn("cpuid", "0F A2", see="vol. 2, CPUID", needs="cpuid")
def cpuid() -> None:
    """Identify the processor: EAX, EBX, ECX and EDX by the leaf in EAX and the subleaf in ECX."""
    leaf = gpr(S.EAX, 32).read()
    a, b, c, d = cpuid_leaf(leaf, gpr(S.ECX, 32))
    # A local APIC that IA32_APIC_BASE switches off is not announced (vol. 3, 10.4.3).
    off = (leaf == 1) & ~get(S.MSR_APIC_BASE).bit(11)
    d = select(off, d & ~(1 << S.FEATURES["apic"][1]), d)
    for n, v in ((S.EAX, a), (S.EBX, b), (S.ECX, c), (S.EDX, d)):
        gpr(n, 32).set(v)


@insn("rdtsc", "0F 31", see="vol. 2, RDTSC", needs="tsc", ends="block")
def rdtsc() -> None:
    """Read the time-stamp counter; CR4.TSD keeps it for level 0."""
    trap_if(get(S.CR4).bit(S.CR4_TSD) & (cpl() != 0), S.GP)
    _set_edx_eax(tsc())


@insn("rdpmc", "0F 33", see="vol. 2, RDPMC", needs="pmc")
def rdpmc() -> None:
    """Read a performance counter; there are two and they count nothing."""
    trap_if(~get(S.CR4).bit(S.CR4_PCE) & (cpl() != 0), S.GP)
    trap_if(gpr(S.ECX, 32).read() > 1, S.GP)
    gpr(S.EAX, 32).set(0)
    gpr(S.EDX, 32).set(0)


@insn("rdmsr", "0F 32", see="vol. 2, RDMSR", needs="msr", ends="block", helper=True)
def rdmsr() -> None:
    """Read the model-specific register that ECX names."""
    _set_edx_eax(read_msr(gpr(S.ECX, 32)))


@insn("wrmsr", "0F 30", see="vol. 2, WRMSR", needs="msr", ends="block", helper=True)
def wrmsr() -> None:
    """Write the model-specific register that ECX names."""
    write_msr(gpr(S.ECX, 32), concat(gpr(S.EDX, 32), gpr(S.EAX, 32)))


# --- fast system calls ---------------------------------------------------------------------------------------------

FLAT_CODE0, FLAT_DATA0, FLAT_CODE3, FLAT_DATA3 = 0xC09B, 0xC093, 0xC0FB, 0xC0F3


def _sysenter_base() -> Val:
    """The selector that all four segments of SYSENTER and SYSEXIT follow from; a null one is #GP(0)."""
    selector = get(S.MSR_SYSENTER_CS).low(16) & 0xFFFC
    trap_if(~protected_enabled() | (selector == 0), S.GP)
    return selector


@insn("sysenter", "0F 34", see="vol. 2, SYSENTER", needs="sep", ends="far")
def sysenter() -> None:
    """Enter flat code at level 0 through the SYSENTER MSRs."""
    selector = _sysenter_base()
    EFLAGS.set(EFLAGS.read() & ~flag_mask(S.FLAG_VM, S.FLAG_IF, S.FLAG_RF))
    put(S.CPL, 0)
    set_flat(S.CS, selector, FLAT_CODE0)
    set_flat(S.SS, selector + 8, FLAT_DATA0)
    gpr(S.ESP, 32).set(get(S.MSR_SYSENTER_ESP))
    mode_changed()
    put(S.EIP, get(S.MSR_SYSENTER_EIP))


@insn("sysexit", "0F 35", see="vol. 2, SYSEXIT", needs="sep", ends="far")
def sysexit() -> None:
    """Return to flat code at level 3: EIP from EDX, ESP from ECX."""
    selector = _sysenter_base()
    require_cpl0()
    put(S.CPL, 3)
    set_flat(S.CS, (selector + 16) | 3, FLAT_CODE3)
    set_flat(S.SS, (selector + 24) | 3, FLAT_DATA3)
    gpr(S.ESP, 32).set(gpr(S.ECX, 32))
    mode_changed()
    put(S.EIP, gpr(S.EDX, 32))


# --- flags ---------------------------------------------------------------------------------------------------------


def _interrupt_flag_allowed() -> Val:
    """Whether IF may be changed: in real mode CPL is 0, in virtual-8086 mode it is 3."""
    return cpl() <= iopl()


def _require_virtual_flag() -> None:
    """#GP(0) unless CLI and STI act on VIF: VME in virtual-8086 mode, PVI at level 3 of protected mode."""
    cr4 = get(S.CR4)
    virtual = select(v86(), cr4.bit(S.CR4_VME), cr4.bit(S.CR4_PVI) & (cpl() == 3))
    trap_if(~virtual, S.GP)


@insn("cli", "FA", see="vol. 2, CLI")
def cli() -> None:
    """Clear IF, or VIF where the interrupt flag is virtual."""
    with when(_interrupt_flag_allowed(), likely=True):
        EFLAGS.set(EFLAGS.read() & ~(1 << S.FLAG_IF))
        finish_()
    _require_virtual_flag()
    EFLAGS.set(EFLAGS.read() & ~(1 << S.FLAG_VIF))


@insn("sti", "FB", see="vol. 2, STI", ends="block")
def sti() -> None:
    """Set IF, or VIF where the interrupt flag is virtual; interrupts come after the next instruction."""
    with when(_interrupt_flag_allowed(), likely=True):
        with when(~get(S.EFLAGS).bit(S.FLAG_IF)):
            EFLAGS.set(EFLAGS.read() | 1 << S.FLAG_IF)
            put(S.SHADOW, 1)
        finish_()
    _require_virtual_flag()
    trap_if(get(S.EFLAGS).bit(S.FLAG_VIP), S.GP)
    EFLAGS.set(EFLAGS.read() | 1 << S.FLAG_VIF)


def _v86_sensitive() -> Val:
    """PUSHF and POPF in virtual-8086 mode with IOPL below 3."""
    return v86() & (iopl() != 3)


@insn("pushf|pushfd", "9C", see="vol. 2, PUSHF PUSHFD")
def pushf(*, osz: int) -> None:
    """Push the flags, VM and RF as zeros; in virtual-8086 mode with VME the image shows VIF as IF and IOPL 3."""
    image = var(32, read_eflags() & ~flag_mask(S.FLAG_VM, S.FLAG_RF), "image")
    with unlikely(_v86_sensitive()):
        if osz == 32:
            fault(S.GP)
        else:
            trap_if(~get(S.CR4).bit(S.CR4_VME), S.GP)
            plain = image.read() & ~(1 << S.FLAG_IF)
            virtual = plain.bit(S.FLAG_VIF).zext(32) << S.FLAG_IF
            image.set(plain | virtual | 3 << S.FLAG_IOPL)
    push(image.read().low(osz))


POPF_BITS = flag_mask(S.FLAG_TF, S.FLAG_DF, S.FLAG_NT)
POPF_BITS32 = flag_mask(S.FLAG_AC, S.FLAG_ID)


@insn("popf|popfd", "9D", see="vol. 2, POPF POPFD", ends="block")
def popf(*, osz: int) -> None:
    """Pop the flags. IOPL changes at level 0 only, IF where CPL is at most IOPL, VM, VIF, VIP never; RF is cleared."""
    sensitive = _v86_sensitive()
    with unlikely(sensitive):
        # Refused before the stack is touched.
        if osz == 32:
            fault(S.GP)
        else:
            trap_if(~get(S.CR4).bit(S.CR4_VME), S.GP)
    image = peek(osz).zext(32)
    base = POPF_BITS | (POPF_BITS32 if osz == 32 else 0)
    may = var(32, base, "may")
    with unlikely(sensitive):
        if osz == 16:
            virtual_interrupt_flags(image)
            wants = image.bit(S.FLAG_IF).zext(32) << S.FLAG_VIF
            EFLAGS.set((EFLAGS.read() & ~(1 << S.FLAG_VIF)) | wants)
    with otherwise():
        with when(cpl() <= iopl()):
            may.set(base | 1 << S.FLAG_IF)
        with when(cpl() == 0):
            may.set(base | 1 << S.FLAG_IF | 3 << S.FLAG_IOPL)
    set_stack_pointer((gpr(S.ESP, 32).read() + osz // 8) & stack_mask(), stack_mask())
    old = get(S.EFLAGS)
    rf = 1 << S.FLAG_RF
    set_flags(image & ~rf, may.read() | rf)
    with unlikely(((old ^ get(S.EFLAGS)) & flag_mask(S.FLAG_TF, S.FLAG_AC)) != 0):
        mode_changed()


@insn("lahf", "9F", see="vol. 2, LAHF")
def lahf() -> None:
    """Load AH with the low byte of the flags."""
    gpr(4, 8).set(read_eflags().low(8))


@insn("sahf", "9E", see="vol. 2, SAHF")
def sahf() -> None:
    """Set SF, ZF, AF, PF and CF from AH."""
    write_arith(gpr(4, 8).read().zext(32) | (OF.read().zext(32) << S.FLAG_OF))


# --- the rest ------------------------------------------------------------------------------------------------------


@insn("hlt", "F4", see="vol. 2, HLT", ends="block")
def hlt() -> None:
    """Stop until an interrupt comes."""
    require_cpl0()
    put(S.HALTED, 1)


@insn("ud2", "0F 0B", see="vol. 2, UD")
def ud2() -> None:
    """Raise #UD."""
    fault(S.UD)


@insn("bound {index}, {limits}", "62 /r mem Gv,Ma", see="vol. 2, BOUND")
def bound(index: Op, limits: Op) -> None:
    """#BR unless the signed index lies between the two bounds in memory, both included."""
    width = index.width
    lower = limits.at(0, width).read()
    upper = limits.at(width // 8, width).read()
    at = index.read()
    trap_if(at.slt(lower) | upper.slt(at), S.BR)
