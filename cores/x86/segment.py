"""Segment descriptors and the loading of segment registers (SDM vol. 3, chapters 3 and 5).

`segment_access` is the slow, complete check behind every memory access; the engine calls it where its fast path does
not apply. Far transfers, task switches and interrupt delivery are built on the descriptor procedures here.
"""

from __future__ import annotations

from ..lang.trace import Operand, Val, otherwise, procedure, return_, select, value, when
from . import state as S
from .externs import LIN_R, LIN_W, mode_changed, seg_changed, unlikely
from .registers import cpl, get, is_null, protected, put, refuse, rpl, selector_error, v86
from .stack import within_limit

# System descriptor types (SDM vol. 3, table 3-2).
TSS16, LDT, TSS16_BUSY, CALL16, TASK_GATE, INT16, TRAP16, TSS32, TSS32_BUSY, CALL32, INT32, TRAP32 = (
    1, 2, 3, 4, 5, 6, 7, 9, 11, 12, 14, 15,
)  # fmt: skip


class Descriptor:
    """The fields of an 8-byte descriptor, or of a gate."""

    def __init__(self, raw: Val) -> None:
        self.raw = raw

    @property
    def low(self) -> Val:
        """The first doubleword."""
        return self.raw.low(32)

    @property
    def high(self) -> Val:
        """The second doubleword."""
        return self.raw.bits(32, 32)

    @property
    def type(self) -> Val:
        """Type, 4 bits in 8."""
        return self.raw.bits(40, 4).zext(8)

    @property
    def is_segment(self) -> Val:
        """S: a code or data segment, not a system descriptor."""
        return self.raw.bit(44)

    @property
    def dpl(self) -> Val:
        """Descriptor privilege level, 8 bits."""
        return self.raw.bits(45, 2).zext(8)

    @property
    def present(self) -> Val:
        """P."""
        return self.raw.bit(47)

    @property
    def is_code(self) -> Val:
        """A code segment."""
        return self.is_segment & self.raw.bit(43)

    @property
    def conforming(self) -> Val:
        """C of a code segment (E of a data segment)."""
        return self.raw.bit(42)

    @property
    def is_readable(self) -> Val:
        """Data, or code that may be read."""
        return self.is_segment & (~self.raw.bit(43) | self.raw.bit(41))

    @property
    def is_stack(self) -> Val:
        """Data that may be written."""
        return self.is_segment & ~self.raw.bit(43) & self.raw.bit(41)

    @property
    def is_conforming_code(self) -> Val:
        """Code that runs at the privilege of its caller."""
        return self.is_segment & self.raw.bit(43) & self.raw.bit(42)

    @property
    def is_tss(self) -> Val:
        """A TSS of either size, busy or available."""
        return ~self.is_segment & self.raw.bit(40) & ~self.raw.bit(42)

    @property
    def is_busy(self) -> Val:
        """B of a TSS."""
        return self.raw.bit(41)

    @property
    def is_wide(self) -> Val:
        """A 32-bit gate or TSS."""
        return self.raw.bit(43)

    @property
    def base(self) -> Val:
        """Base address."""
        return self.raw.bits(16, 24).zext(32) | (self.high & 0xFF000000)

    @property
    def limit(self) -> Val:
        """Last byte, granularity applied."""
        raw = self.raw.low(16).zext(32) | (self.high & 0xF0000)
        return select(self.raw.bit(55), (raw << 12) | 0xFFF, raw)

    @property
    def attr(self) -> Val:
        """As SEG_ATTR holds it."""
        return ((self.high >> 8) & 0xF0FF).low(16)

    @property
    def gate_selector(self) -> Val:
        """The selector in a gate."""
        return self.raw.bits(16, 16)

    @property
    def gate_offset(self) -> Val:
        """The offset in a gate; a 16-bit gate has 16 bits of it, whatever its last word holds."""
        return self.raw.low(16).zext(32) | select(self.is_wide, self.high & 0xFFFF0000, 0)


@procedure(16, results=(1, 64))
def find_descriptor(selector: Val) -> None:
    """Read the descriptor that a non-null selector names; 0 first if it lies outside its table."""
    local = selector.bit(2)
    ldt_usable = get(S.SEG_ATTR, S.LDTR) != 0
    limit = select(local, get(S.SEG_LIMIT, S.LDTR), get(S.GDTR_LIMIT).zext(32))
    base = select(local, get(S.SEG_BASE, S.LDTR), get(S.GDTR_BASE))
    with unlikely(((selector | 7).zext(32) > limit) | (local & ~ldt_usable)):
        return_(0, 0)
    return_(1, LIN_R[64](base + (selector & 0xFFF8).zext(32), 0))


@procedure(16, 8, 32, results=(64,))
def fetch_descriptor(selector: Val, vector: Val, ext: Val) -> None:
    """Read the descriptor of a non-null selector, or raise `vector` with the selector as error code."""
    ok, raw = find_descriptor(selector)
    refuse(~ok, vector, selector_error(selector, ext))
    return_(raw)


def fetch(selector: Val, vector: int | Val, ext: Operand = 0) -> Descriptor:
    """`fetch_descriptor`, as an object with fields."""
    return Descriptor(fetch_descriptor(selector, vector, ext))


@procedure(16, 64)
def mark_accessed(selector: Val, raw: Val) -> None:
    """Set the accessed bit of a segment descriptor in memory, if it is not set yet."""
    with when(~raw.bit(40)):
        base = select(selector.bit(2), get(S.SEG_BASE, S.LDTR), get(S.GDTR_BASE))
        LIN_W[8](base + (selector & 0xFFF8).zext(32) + 5, 0, raw.bits(40, 8) | 1)


@procedure(8, 16, 64)
def install_segment(n: Val, selector: Val, raw: Val) -> None:
    """Fill a segment register from its selector and descriptor."""
    d = Descriptor(raw)
    put(S.SEG_SEL, selector, n)
    put(S.SEG_BASE, d.base, n)
    put(S.SEG_LIMIT, d.limit, n)
    # The loaded segment counts as accessed; of the system segments only a TSS has this bit, where it is 1 anyway.
    put(S.SEG_ATTR, d.attr | d.is_segment.zext(16), n)
    seg_changed(n)


def set_flat(n: int, selector: Val, attr: int) -> None:
    """Fill a segment register with base 0 and limit 4 GiB, without reading a descriptor."""
    put(S.SEG_SEL, selector, n)
    put(S.SEG_BASE, 0, n)
    put(S.SEG_LIMIT, 0xFFFFFFFF, n)
    put(S.SEG_ATTR, attr, n)
    seg_changed(n)


@procedure(8, 16)
def make_unusable(n: Val, selector: Val) -> None:
    """Load a null selector: base and limit stay, no access gets through."""
    put(S.SEG_SEL, selector, n)
    put(S.SEG_ATTR, 0, n)
    seg_changed(n)


@procedure(8, 16)
def load_real_segment(n: Val, selector: Val) -> None:
    """Load a segment register in real or virtual-8086 mode: the base follows from the selector."""
    put(S.SEG_SEL, selector, n)
    put(S.SEG_BASE, selector.zext(32) << 4, n)
    with when(v86()):
        put(S.SEG_LIMIT, 0xFFFF, n)
        put(S.SEG_ATTR, 0xF3, n)
    with otherwise():
        attr = get(S.SEG_ATTR, n)
        with when(attr == 0):
            put(S.SEG_LIMIT, 0xFFFF, n)
        put(S.SEG_ATTR, (attr & 0xF000) | 0x93, n)
    seg_changed(n)


@procedure(16, 8, 32)
def load_stack_segment(selector: Val, vector: Val, ext: Val) -> None:
    """Load SS in protected mode; what is wrong with the selector raises `vector`, a segment not present #SS."""
    error = selector_error(selector, ext)
    refuse(is_null(selector), vector, ext)
    d = fetch(selector, vector, ext)
    refuse((rpl(selector) != cpl()) | ~d.is_stack | (d.dpl != cpl()), vector, error)
    refuse(~d.present, S.SS_, error)
    mark_accessed(selector, d.raw)
    install_segment(S.SS, selector, d.raw)


@procedure(8, 16, 8, 32)
def load_data_segment(n: Val, selector: Val, vector: Val, ext: Val) -> None:
    """Load ES, DS, FS or GS in protected mode; a null selector makes it unusable."""
    with when(is_null(selector)):
        make_unusable(n, selector)
        return_()
    error = selector_error(selector, ext)
    d = fetch(selector, vector, ext)
    too_low = (rpl(selector) > d.dpl) | (cpl() > d.dpl)
    refuse(~d.is_readable | (~d.is_conforming_code & too_low), vector, error)
    refuse(~d.present, S.NP, error)
    mark_accessed(selector, d.raw)
    install_segment(n, selector, d.raw)


@procedure(8, 16)
def load_segment(n: Val, selector: Val) -> None:
    """Load ES, SS, DS, FS or GS as MOV and POP do, in the mode the CPU is in."""
    with when(~protected()):
        load_real_segment(n, selector)
        return_()
    with when(n == S.SS):
        load_stack_segment(selector, S.GP, 0)
        mode_changed()
    with otherwise():
        load_data_segment(n, selector, S.GP, 0)


@procedure(16)
def load_ldt(selector: Val) -> None:
    """LLDT."""
    with when(is_null(selector)):
        make_unusable(S.LDTR, selector)
        return_()
    error = selector_error(selector)
    refuse(selector.bit(2), S.GP, error)
    d = fetch(selector, S.GP)
    refuse(d.is_segment | (d.type != LDT), S.GP, error)
    refuse(~d.present, S.NP, error)
    install_segment(S.LDTR, selector, d.raw)


BUSY = 1 << 41


def table_byte(selector: Val) -> Val:
    """Linear address of the type byte of a GDT entry."""
    return get(S.GDTR_BASE) + (selector & 0xFFF8).zext(32) + 5


@procedure(16)
def load_task_register(selector: Val) -> None:
    """LTR: the TSS becomes busy, no switch happens."""
    refuse(is_null(selector), S.GP)
    error = selector_error(selector)
    refuse(selector.bit(2), S.GP, error)
    d = fetch(selector, S.GP)
    refuse(~d.is_tss | d.is_busy, S.GP, error)
    refuse(~d.present, S.NP, error)
    busy = d.raw | BUSY
    LIN_W[8](table_byte(selector), 0, busy.bits(40, 8))
    install_segment(S.TR, selector, busy)


def code_target_check(selector: Val, d: Descriptor) -> None:
    """The privilege rules of a direct far JMP or CALL to a code segment, and its presence."""
    error = selector_error(selector)
    refuse(~d.is_code, S.GP, error)
    wrong = select(d.conforming, d.dpl > cpl(), (rpl(selector) > cpl()) | (d.dpl != cpl()))
    refuse(wrong, S.GP, error)
    refuse(~d.present, S.NP, error)


def install_code(selector: Val, d: Descriptor, level: Val) -> None:
    """Fill CS; its RPL becomes the privilege level of the code."""
    install_segment(S.CS, (selector & 0xFFFC) | level.zext(16), d.raw)


def drop_privileged_data(level: Val) -> None:
    """On a return outwards: data segments that the outer level must not keep become unusable."""
    for n in (S.ES, S.DS, S.FS, S.GS):
        attr = get(S.SEG_ATTR, n)
        conforming = (attr & 0x1C) == 0x1C
        with when((attr.bits(5, 2).zext(8) < level) & ~conforming):
            make_unusable(n, 0)


@procedure(8, 32, 32, 1, results=(32,))
def segment_access(seg: Val, offset: Val, size: Val, write: Val) -> None:
    """Check an access of `size` bytes through a segment and give its linear address; #GP(0), or #SS(0) for SS."""
    attr = get(S.SEG_ATTR, seg)
    limit = get(S.SEG_LIMIT, seg)
    vector = select(seg == S.SS, value(S.SS_, 8), value(S.GP, 8))
    with when(protected()):
        refuse(attr == 0, vector)
        code = attr.bit(3)
        permit = attr.bit(1)  # data: may be written; code: may be read
        refuse(select(write, code | ~permit, code & ~permit), S.GP)
    refuse(~within_limit(limit, attr, offset, size), vector)
    return_(get(S.SEG_BASE, seg) + offset)
