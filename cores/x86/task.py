"""Hardware task switch (SDM vol. 3, chapter 8): JMP, CALL, IRET, interrupts and exceptions through a TSS.

`switch_task` does the steps of 8.3 in their order. What it refuses before the new task's state is loaded happens in the
old task; what it finds wrong with the new task's segments happens in the new one, at its first instruction.
"""

from __future__ import annotations

from ..lang.trace import Operand, Val, const, otherwise, procedure, return_, select, var, when
from . import state as S
from .externs import (
    LIN_R,
    LIN_W,
    debug_changed,
    lin_probe_w,
    mode_changed,
    seg_changed,
    tlb_flush,
)
from .flags import EFLAGS, write_arith
from .paging import load_pdptes
from .registers import flag_mask, get, is_null, put, refuse, rpl, selector_error
from .segment import (
    BUSY,
    LDT,
    Descriptor,
    fetch,
    install_segment,
    load_data_segment,
    load_real_segment,
    load_stack_segment,
    mark_accessed,
    table_byte,
)

# Why a task is switched.
JUMP, RETURN, CALL, EVENT = range(4)

# Slots of a TSS, counted from EIP; a slot is 4 bytes from 20H in a 32-bit TSS, 2 bytes from 0EH in a 16-bit one.
EIP_SLOT, EFLAGS_SLOT, GPR_SLOT, SEGMENT_SLOT, LDT_SLOT, LDT_SLOT16 = 0, 1, 2, 10, 16, 14
DR7_LOCAL = 0x155
DR6_BT = 15

# The bits of EFLAGS that exist beyond the arithmetic ones.
SYSTEM_FLAGS = flag_mask(
    S.FLAG_TF, S.FLAG_IF, S.FLAG_DF, S.FLAG_IOPL, S.FLAG_IOPL + 1, S.FLAG_NT, S.FLAG_RF, S.FLAG_VM, S.FLAG_AC,
    S.FLAG_VIF, S.FLAG_VIP, S.FLAG_ID,
)  # fmt: skip


@procedure(32, 1, 8, results=(32,))
def tss_read(base: Val, wide: Val, slot: Val) -> None:
    """A slot of a TSS, zero-extended."""
    n = slot.zext(32)
    with when(wide):
        return_(LIN_R[32](base + 0x20 + (n << 2), 0))
    return_(LIN_R[16](base + 0x0E + (n << 1), 0).zext(32))


@procedure(32, 1, 8, 32)
def tss_write(base: Val, wide: Val, slot: Val, new: Val) -> None:
    """Save a register in a slot of a TSS."""
    n = slot.zext(32)
    with when(wide):
        LIN_W[32](base + 0x20 + (n << 2), 0, new)
    with otherwise():
        LIN_W[16](base + 0x0E + (n << 1), 0, new.low(16))


@procedure(16, 32)
def load_task_ldt(selector: Val, ext: Val) -> None:
    """Load LDTR from the new task; whatever is wrong raises #TS."""
    with when(is_null(selector)):
        return_()
    error = selector_error(selector, ext)
    refuse(selector.bit(2), S.TS, error)
    d = fetch(selector, S.TS, ext)
    refuse(d.is_segment | (d.type != LDT) | ~d.present, S.TS, error)
    install_segment(S.LDTR, selector, d.raw)


@procedure(16, 32)
def load_task_code(selector: Val, ext: Val) -> None:
    """Load CS from the new task; CPL is the RPL of the selector already."""
    error = selector_error(selector, ext)
    refuse(is_null(selector), S.TS, ext)
    d = fetch(selector, S.TS, ext)
    level = rpl(selector)
    refuse(~d.is_code | select(d.conforming, d.dpl > level, d.dpl != level), S.TS, error)
    refuse(~d.present, S.NP, error)
    mark_accessed(selector, d.raw)
    install_segment(S.CS, selector, d.raw)


@procedure(16, 64, 8, 32, 32, 32)
def switch_task(selector: Val, raw: Val, reason: Val, eip: Val, flags: Val, ext: Val) -> None:
    """Switch to the task of a TSS whose descriptor has passed the checks for presence and for being available or busy.

    `reason` is JUMP, RETURN, CALL or EVENT; `eip` and `flags` are saved in the old TSS; `ext` goes into error codes."""
    d = Descriptor(raw)
    wide = d.is_wide
    refuse(d.limit < select(wide, 0x67, _u32(0x2B)), S.TS, selector_error(selector, ext))
    base = d.base
    nested = reason >= CALL
    returns = reason == RETURN

    new_cr3 = var(32, 0, "new_cr3")
    trap = var(1, 0, "trap")
    new_flags = var(32, tss_read(base, wide, EFLAGS_SLOT), "new_flags")
    new_eip = tss_read(base, wide, EIP_SLOT)
    new_gpr = [tss_read(base, wide, GPR_SLOT + k) for k in range(8)]
    new_seg = [tss_read(base, wide, SEGMENT_SLOT + n).low(16) for n in (S.ES, S.CS, S.SS, S.DS)]
    new_ldt = tss_read(base, wide, select(wide, _u8(LDT_SLOT), LDT_SLOT16)).low(16)
    new_fs, new_gs = var(16, 0, "new_fs"), var(16, 0, "new_gs")
    with when(wide):
        new_fs.set(tss_read(base, wide, SEGMENT_SLOT + S.FS).low(16))
        new_gs.set(tss_read(base, wide, SEGMENT_SLOT + S.GS).low(16))
        new_cr3.set(LIN_R[32](base + 0x1C, 0))
        trap.set(LIN_R[8](base + 0x64, 0).bit(0))

    # Everything that is going to be written must be reachable before the first write.
    old_selector = get(S.SEG_SEL, S.TR)
    old_base = get(S.SEG_BASE, S.TR)
    old_wide = get(S.SEG_ATTR, S.TR).bit(3)
    refuse(get(S.SEG_LIMIT, S.TR) < select(old_wide, 0x5F, _u32(0x29)), S.TS, selector_error(old_selector, ext))
    lin_probe_w(old_base + select(old_wide, 0x20, _u32(0x0E)), 0, select(old_wide, 0x40, _u32(0x1C)))
    old_byte = table_byte(old_selector)
    new_byte = table_byte(selector)
    with when(nested):
        lin_probe_w(base, 0, 2)
    with otherwise():
        lin_probe_w(old_byte, 0, 1)
    with when(~returns):
        lin_probe_w(new_byte, 0, 1)

    with when(~nested):
        LIN_W[8](old_byte, 0, LIN_R[8](old_byte, 0) & ~2)
    saved = select(returns, flags & ~(1 << S.FLAG_NT), flags)
    tss_write(old_base, old_wide, EIP_SLOT, eip)
    tss_write(old_base, old_wide, EFLAGS_SLOT, saved)
    for k in range(8):
        tss_write(old_base, old_wide, GPR_SLOT + k, get(S.GPR, k).low(32))
    for n in range(4):
        tss_write(old_base, old_wide, SEGMENT_SLOT + n, get(S.SEG_SEL, n).zext(32))
    with when(old_wide):
        for n in (S.FS, S.GS):
            tss_write(old_base, old_wide, SEGMENT_SLOT + n, get(S.SEG_SEL, n).zext(32))
    with when(nested):
        LIN_W[16](base, 0, old_selector)
        new_flags.set(new_flags.read() | 1 << S.FLAG_NT)
    with when(~returns):
        LIN_W[8](new_byte, 0, (raw | BUSY).bits(40, 8))

    # From here on it is the new task.
    install_segment(S.TR, selector, raw | BUSY)
    put(S.CR0, get(S.CR0) | 1 << S.CR0_TS)
    put(S.EIP, new_eip)
    loaded = new_flags.read()
    write_arith(loaded)
    EFLAGS.set((loaded & SYSTEM_FLAGS) | 2)
    for k, v in enumerate(new_gpr):
        # The upper halves are undefined after a switch to a 16-bit task; processors fill them with ones.
        put(S.GPR, select(wide, v, v | 0xFFFF0000).zext(64), k)
    selectors = [*new_seg, new_fs.read(), new_gs.read()]
    for n, sel in enumerate([*selectors, new_ldt]):
        put(S.SEG_SEL, sel, n)
        put(S.SEG_ATTR, 0, n)
        seg_changed(n)
    in_v86 = loaded.bit(S.FLAG_VM)
    put(S.CPL, select(in_v86, _u8(3), rpl(selectors[S.CS])))
    put(S.DR, get(S.DR, 7) & ~DR7_LOCAL, 7)
    debug_changed()
    mode_changed()
    with when(wide & get(S.CR0).bit(S.CR0_PG)):
        with when(get(S.CR4).bit(S.CR4_PAE)):
            load_pdptes(new_cr3)
        put(S.CR3, new_cr3)
        tlb_flush(0)

    load_task_ldt(new_ldt, ext)
    with when(in_v86):
        for n, sel in enumerate(selectors):
            load_real_segment(n, sel)
    with otherwise():
        load_task_code(selectors[S.CS], ext)
        load_stack_segment(selectors[S.SS], S.TS, ext)
        for n in (S.DS, S.ES, S.FS, S.GS):
            load_data_segment(n, selectors[n], S.TS, ext)
    with when(trap):
        put(S.DEBUG_PENDING, get(S.DEBUG_PENDING) | 1 << DR6_BT)
    mode_changed()


def check_task_eip(ext: Operand = 0) -> None:
    """After a switch: #GP if the new EIP lies outside its code segment."""
    refuse(get(S.EIP) > get(S.SEG_LIMIT, S.CS), S.GP, ext)


@procedure(16, 32, 8, results=(64,))
def available_tss(selector: Val, ext: Val, level: Val) -> None:
    """The descriptor of a TSS that JMP, CALL or a task gate names, checked; its DPL counts against `level`."""
    refuse(is_null(selector), S.GP, ext)
    error = selector_error(selector, ext)
    refuse(selector.bit(2), S.GP, error)
    d = fetch(selector, S.GP, ext)
    refuse(~d.is_tss | d.is_busy | (d.dpl < level), S.GP, error)
    refuse(~d.present, S.NP, error)
    return_(d.raw)


@procedure(32, 32)
def return_task(eip: Val, flags: Val) -> None:
    """IRET with NT set: back to the task that the link field of the current TSS names."""
    selector: Val = LIN_R[16](get(S.SEG_BASE, S.TR), 0)
    error = selector_error(selector)
    refuse(selector.bit(2) | is_null(selector), S.TS, error)
    d = fetch(selector, S.TS)
    refuse(~d.is_tss | ~d.is_busy, S.TS, error)
    refuse(~d.present, S.NP, error)
    switch_task(selector, d.raw, RETURN, eip, flags, 0)
    check_task_eip()


def _u32(x: int) -> Val:
    return const(x, 32)


def _u8(x: int) -> Val:
    return const(x, 8)
