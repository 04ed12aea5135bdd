"""Far JMP, CALL, RET and IRET: other code segments, gates, privilege levels and tasks.

Instruction entries in `system.py` and `interrupts.py` call these (SDM vol. 3, 5.8; vol. 2 under each mnemonic).
"""

from __future__ import annotations

from ..lang.trace import Val, break_, loop, otherwise, procedure, return_, select, value, var, when
from . import state as S
from .externs import LIN_R, mode_changed, unlikely
from .flags import EFLAGS, read_eflags, write_arith
from .forms import gpr
from .registers import (
    cpl,
    flag_mask,
    get,
    iopl,
    is_null,
    protected,
    put,
    refuse,
    rpl,
    selector_error,
    v86,
)
from .segment import (
    CALL16,
    CALL32,
    TASK_GATE,
    Descriptor,
    code_target_check,
    drop_privileged_data,
    fetch,
    install_code,
    install_segment,
    load_real_segment,
    mark_accessed,
)
from .stack import Frame, set_stack_pointer, size_mask, stack_mask, stack_read, stack_write
from .task import CALL, JUMP, SYSTEM_FLAGS, available_tss, check_task_eip, return_task, switch_task


def highest(a: Val, b: Val) -> Val:
    """The larger of two privilege levels: the less privileged."""
    return select(a > b, a, b)


def _check_gate(gate: Descriptor, selector: Val) -> None:
    error = selector_error(selector)
    refuse(gate.dpl < highest(cpl(), rpl(selector)), S.GP, error)
    refuse(~gate.present, S.NP, error)


def _switch_by_task_gate(gate: Descriptor, reason: int, return_eip: Val) -> None:
    tss = gate.gate_selector
    switch_task(tss, available_tss(tss, 0, 0), reason, return_eip, read_eflags(), 0)
    check_task_eip()


def _switch_by_tss(selector: Val, reason: int, return_eip: Val) -> None:
    tss = available_tss(selector, 0, highest(cpl(), rpl(selector)))
    switch_task(selector, tss, reason, return_eip, read_eflags(), 0)
    check_task_eip()


@procedure(64, results=(16, 64))
def gate_code(raw: Val) -> None:
    """The code segment that a call gate leads to: selector and descriptor, checked for all that JMP and CALL share."""
    selector = Descriptor(raw).gate_selector
    refuse(is_null(selector), S.GP)
    error = selector_error(selector)
    d = fetch(selector, S.GP)
    refuse(~d.is_code | (d.dpl > cpl()), S.GP, error)
    refuse(~d.present, S.NP, error)
    return_(selector, d.raw)


def _enter_code(selector: Val, d: Descriptor, level: Val, eip: Val) -> None:
    """The end of every protected far transfer: CS, CPL, EIP."""
    install_code(selector, d, level)
    put(S.CPL, level)
    mode_changed()
    put(S.EIP, eip)


@procedure(16, 32, 32)
def far_jump(selector: Val, offset: Val, return_eip: Val) -> None:
    """Far JMP to `selector:offset`; `return_eip` is saved where the target is a task."""
    with when(~protected()):
        refuse(offset > get(S.SEG_LIMIT, S.CS), S.GP)
        load_real_segment(S.CS, selector)
        put(S.EIP, offset)
        return_()
    refuse(is_null(selector), S.GP)
    d = fetch(selector, S.GP)
    with when(d.is_segment):
        code_target_check(selector, d)
        refuse(offset > d.limit, S.GP)
        mark_accessed(selector, d.raw)
        _enter_code(selector, d, cpl(), offset)
        return_()
    with when(d.is_tss):
        _switch_by_tss(selector, JUMP, return_eip)
        return_()
    refuse((d.type != TASK_GATE) & (d.type != CALL16) & (d.type != CALL32), S.GP, selector_error(selector))
    _check_gate(d, selector)
    with when(d.type == TASK_GATE):
        _switch_by_task_gate(d, JUMP, return_eip)
        return_()
    code_selector, raw = gate_code(d.raw)
    code = Descriptor(raw)
    refuse(~code.conforming & (code.dpl != cpl()), S.GP, selector_error(code_selector))
    refuse(d.gate_offset > code.limit, S.GP)
    mark_accessed(code_selector, code.raw)
    _enter_code(code_selector, code, cpl(), d.gate_offset)


@procedure(8, 32, results=(32,))
def push_return(size: Val, return_eip: Val) -> None:
    """Store CS and the return address in slots of `size` bytes below the current stack; gives the new stack pointer."""
    wide = size.zext(32)
    stack_write(size, wide, get(S.SEG_SEL, S.CS).zext(32))
    stack_write(size, wide << 1, return_eip)
    return_((gpr(S.ESP, 32).read() - (wide << 1)) & stack_mask())


@procedure(8, 32, results=(16, 32, 64))
def inner_stack(level: Val, ext: Val) -> None:
    """The stack that the TSS gives for an inner privilege level: selector, pointer, descriptor."""
    at_tss = get(S.SEG_BASE, S.TR)
    wide = get(S.SEG_ATTR, S.TR).bit(3)
    n = level.zext(32)
    at = select(wide, (n << 3) + 4, (n << 2) + 2)
    last = at + select(wide, value(5, 32), value(3, 32))
    refuse(last > get(S.SEG_LIMIT, S.TR), S.TS, selector_error(get(S.SEG_SEL, S.TR), ext))
    esp, selector = var(32, 0, "esp"), var(16, 0, "selector")
    with when(wide):
        esp.set(LIN_R[32](at_tss + at, 0))
        selector.set(LIN_R[16](at_tss + at + 4, 0))
    with otherwise():
        esp.set(LIN_R[16](at_tss + at, 0).zext(32))
        selector.set(LIN_R[16](at_tss + at + 2, 0))
    ss = selector.read()
    error = selector_error(ss, ext)
    refuse(is_null(ss), S.TS, ext)
    d = fetch(ss, S.TS, ext)
    refuse((rpl(ss) != level) | (d.dpl != level) | ~d.is_stack, S.TS, error)
    refuse(~d.present, S.SS_, error)
    mark_accessed(ss, d.raw)
    return_(ss, esp, d.raw)


@procedure(64, 16, 64, 32)
def call_inner(gate_raw: Val, selector: Val, raw: Val, return_eip: Val) -> None:
    """CALL through a gate to a more privileged level: another stack, with the parameters copied to it."""
    gate, code = Descriptor(gate_raw), Descriptor(raw)
    level = code.dpl
    size = select(gate.is_wide, value(4, 8), value(2, 8))
    ss, new_esp, ss_raw = inner_stack(level, 0)
    stack = Descriptor(ss_raw)
    esp = var(32, new_esp, "esp")
    frame = Frame(stack.base, stack.limit, stack.attr, esp, size, selector_error(ss), value(0, 1))
    frame.push(get(S.SEG_SEL, S.SS).zext(32))
    frame.push(gpr(S.ESP, 32).read())
    left = var(32, gate.high & 0x1F, "left")
    with loop():
        with when(left.read() == 0):
            break_()
        left.set(left.read() - 1)
        frame.push(stack_read(size, left.read() * size.zext(32)))
    frame.push(get(S.SEG_SEL, S.CS).zext(32))
    frame.push(return_eip)
    refuse(gate.gate_offset > code.limit, S.GP)
    mark_accessed(selector, code.raw)
    install_segment(S.SS, ss, stack.raw)
    frame.commit()
    _enter_code(selector, code, level, gate.gate_offset)


@procedure(8, 16, 32, 32)
def far_call(size: Val, selector: Val, offset: Val, return_eip: Val) -> None:
    """Far CALL to `selector:offset`, leaving the return address in slots of `size` bytes (a gate has its own size)."""
    mask = stack_mask()
    with when(~protected()):
        pushed = push_return(size, return_eip)
        refuse(offset > get(S.SEG_LIMIT, S.CS), S.GP)
        load_real_segment(S.CS, selector)
        set_stack_pointer(pushed, mask)
        put(S.EIP, offset)
        return_()
    refuse(is_null(selector), S.GP)
    d = fetch(selector, S.GP)
    with when(d.is_segment):
        code_target_check(selector, d)
        pushed = push_return(size, return_eip)
        refuse(offset > d.limit, S.GP)
        mark_accessed(selector, d.raw)
        set_stack_pointer(pushed, mask)
        _enter_code(selector, d, cpl(), offset)
        return_()
    with when(d.is_tss):
        _switch_by_tss(selector, CALL, return_eip)
        return_()
    refuse((d.type != TASK_GATE) & (d.type != CALL16) & (d.type != CALL32), S.GP, selector_error(selector))
    _check_gate(d, selector)
    with when(d.type == TASK_GATE):
        _switch_by_task_gate(d, CALL, return_eip)
        return_()
    code_selector, raw = gate_code(d.raw)
    code = Descriptor(raw)
    with when(~code.conforming & (code.dpl < cpl())):
        call_inner(d.raw, code_selector, raw, return_eip)
        return_()
    pushed = push_return(select(d.is_wide, value(4, 8), value(2, 8)), return_eip)
    refuse(d.gate_offset > code.limit, S.GP)
    mark_accessed(code_selector, code.raw)
    set_stack_pointer(pushed, mask)
    _enter_code(code_selector, code, cpl(), d.gate_offset)


@procedure(16, results=(64,))
def return_code(selector: Val) -> None:
    """The descriptor of the code segment that a far RET or IRET goes back to, checked for privilege and presence."""
    refuse(is_null(selector), S.GP)
    error = selector_error(selector)
    d = fetch(selector, S.GP)
    level = rpl(selector)
    refuse(~d.is_code | (level < cpl()) | select(d.conforming, d.dpl > level, d.dpl != level), S.GP, error)
    refuse(~d.present, S.NP, error)
    return_(d.raw)


@procedure(16, 64, 32, 16, 32)
def return_outwards(selector: Val, raw: Val, eip: Val, ss: Val, esp: Val) -> None:
    """The end of a far RET or IRET to a less privileged level; everything but the flags."""
    code = Descriptor(raw)
    level = rpl(selector)
    refuse(is_null(ss), S.GP)
    error = selector_error(ss)
    stack = fetch(ss, S.GP)
    refuse((rpl(ss) != level) | ~stack.is_stack | (stack.dpl != level), S.GP, error)
    refuse(~stack.present, S.SS_, error)
    refuse(eip > code.limit, S.GP)
    mark_accessed(selector, code.raw)
    mark_accessed(ss, stack.raw)
    install_segment(S.SS, ss, stack.raw)
    mask = size_mask(stack.attr)
    set_stack_pointer(esp & mask, mask)
    drop_privileged_data(level)
    _enter_code(selector, code, level, eip)


@procedure(8, 32)
def far_return(size: Val, release: Val) -> None:
    """Far RET with slots of `size` bytes, releasing `release` bytes of parameters."""
    wide = size.zext(32)
    eip = stack_read(size, 0)
    selector = stack_read(size, wide).low(16)
    mask = stack_mask()
    below = (gpr(S.ESP, 32).read() + (wide << 1) + release) & mask
    with when(~protected()):
        refuse(eip > get(S.SEG_LIMIT, S.CS), S.GP)
        load_real_segment(S.CS, selector)
        set_stack_pointer(below, mask)
        put(S.EIP, eip)
        return_()
    raw = return_code(selector)
    code = Descriptor(raw)
    with when(rpl(selector) == cpl()):
        refuse(eip > code.limit, S.GP)
        mark_accessed(selector, raw)
        set_stack_pointer(below, mask)
        _enter_code(selector, code, cpl(), eip)
        return_()
    esp = stack_read(size, (wide << 1) + release)
    ss = stack_read(size, wide * 3 + release).low(16)
    return_outwards(selector, raw, eip, ss, esp + release)


# What IRET may change where privilege says nothing, and what only a 32-bit IRET has (SDM vol. 2, IRET).
IRET_FLAGS = flag_mask(S.FLAG_TF, S.FLAG_DF, S.FLAG_NT)
IRET_FLAGS32 = flag_mask(S.FLAG_RF, S.FLAG_AC, S.FLAG_ID)
FLAGS_IOPL = 3 << S.FLAG_IOPL
FLAGS_IF = 1 << S.FLAG_IF


def set_flags(image: Val, system: Val) -> None:
    """Write the arithmetic flags, and those of the others that the mask `system` selects."""
    write_arith(image)
    EFLAGS.set((EFLAGS.read() & ~system) | (image & system))


def virtual_interrupt_flags(image: Val) -> None:
    """POPF and IRET to 16-bit flags in VME: IF goes to VIF; #GP(0) if that, or TF, needs the monitor."""
    wants = image.bit(S.FLAG_IF)
    refuse((wants & get(S.EFLAGS).bit(S.FLAG_VIP)) | image.bit(S.FLAG_TF), S.GP)


@procedure(8, 32)
def iret_real(size: Val, system: Val) -> None:
    """IRET in real and virtual-8086 mode; `system` are the flags that it may write besides the arithmetic ones."""
    wide = size.zext(32)
    eip = stack_read(size, 0)
    selector = stack_read(size, wide).low(16)
    flags = stack_read(size, wide << 1)
    mask = stack_mask()
    refuse(eip > get(S.SEG_LIMIT, S.CS), S.GP)
    virtual = v86() & (iopl() != 3)
    with when(virtual):
        virtual_interrupt_flags(flags)
    load_real_segment(S.CS, selector)
    set_stack_pointer((gpr(S.ESP, 32).read() + wide * 3) & mask, mask)
    set_flags(flags, system)
    with when(virtual):
        EFLAGS.set((EFLAGS.read() & ~(1 << S.FLAG_VIF)) | (flags.bit(S.FLAG_IF).zext(32) << S.FLAG_VIF))
    mode_changed()
    put(S.EIP, eip)


@procedure(32, 16, 32)
def iret_to_v86(eip: Val, selector: Val, flags: Val) -> None:
    """IRETD from level 0 with VM set in the image: virtual-8086 mode, with all segment registers from the stack."""
    refuse(eip > 0xFFFF, S.GP)
    esp = stack_read(4, 12)
    order = (S.SS, S.ES, S.DS, S.FS, S.GS)
    selectors = {n: stack_read(4, 16 + 4 * k).low(16) for k, n in enumerate(order)}
    write_arith(flags)
    EFLAGS.set((flags & SYSTEM_FLAGS) | 2)
    put(S.CPL, 3)
    gpr(S.ESP, 32).set(esp)
    load_real_segment(S.CS, selector)
    for n, sel in selectors.items():
        load_real_segment(n, sel)
    mode_changed()
    put(S.EIP, eip)


@procedure(8, 32)
def interrupt_return(size: Val, return_eip: Val) -> None:
    """IRET and IRETD in every mode; NMIs get through again."""
    wide = size.zext(32)
    only32 = select(size == 4, value(0xFFFFFFFF, 32), value(0, 32))
    with when(~protected()):
        with when(v86()):
            with unlikely(iopl() != 3):
                refuse((size == 4) | ~get(S.CR4).bit(S.CR4_VME), S.GP)
                put(S.NMI_BLOCKED, 0)
                iret_real(size, value(IRET_FLAGS, 32))
                return_()
            put(S.NMI_BLOCKED, 0)
            iret_real(size, IRET_FLAGS | FLAGS_IF | (IRET_FLAGS32 & only32))
            return_()
        put(S.NMI_BLOCKED, 0)
        iret_real(size, IRET_FLAGS | FLAGS_IF | FLAGS_IOPL | (IRET_FLAGS32 & only32))
        return_()
    put(S.NMI_BLOCKED, 0)
    with unlikely(get(S.EFLAGS).bit(S.FLAG_NT)):
        return_task(return_eip, read_eflags())
        return_()
    eip = stack_read(size, 0)
    selector = stack_read(size, wide).low(16)
    flags = stack_read(size, wide << 1)
    with when((size == 4) & flags.bit(S.FLAG_VM) & (cpl() == 0)):
        iret_to_v86(eip, selector, flags)
        return_()
    raw = return_code(selector)
    may = var(32, IRET_FLAGS | (IRET_FLAGS32 & only32), "may")
    with when(cpl() <= iopl()):
        may.set(may.read() | FLAGS_IF)
    with when(cpl() == 0):
        virtual = flag_mask(S.FLAG_VIF, S.FLAG_VIP)
        may.set(may.read() | FLAGS_IOPL | (virtual & only32))
    with when(rpl(selector) == cpl()):
        code = Descriptor(raw)
        refuse(eip > code.limit, S.GP)
        mark_accessed(selector, raw)
        mask = stack_mask()
        set_stack_pointer((gpr(S.ESP, 32).read() + wide * 3) & mask, mask)
        set_flags(flags, may.read())
        _enter_code(selector, code, cpl(), eip)
        return_()
    esp = stack_read(size, wide * 3)
    ss = stack_read(size, wide << 2).low(16)
    return_outwards(selector, raw, eip, ss, esp)
    set_flags(flags, may.read())
    mode_changed()
