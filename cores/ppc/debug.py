"""Debug events of internal debug mode (Book III-E, 10; 440 manual, 8; e500 RM, 2.13).

While `debug_mode` has bit 0, the engine runs instructions one by one: `debug_fetch`, the instruction, `debug_done`.
Trap, return and interrupt-taken events are recorded where they happen.
"""

from __future__ import annotations

from ..lang.trace import Val, all_of, any_of, break_, const, loop, procedure, return_, select, value, var, when
from . import state as S
from .registers import get, guest, has, msr, put, set_bits

# Places from the right in DBCR0; DBSR has most at the same place.
IDM, RST, ICMP, BRT, IRPT, TRAP, IAC1, DAC1W, DAC2W, RET, CIRPT, CRET = 30, 28, 27, 26, 25, 24, 23, 18, 16, 15, 6, 5
IDE, UDE = 31, 30
IAC12AT, IAC34AT = 16, 0  # of DBCR1: an event of the pair turns its range inside out
IAC12ATS, IAC34ATS = 1, 0  # of DBSR: it is turned
IAC_ALL, DAC_ALL = 0xF << 20, 0xF << 16
DBSR_EVENTS = 1 << UDE | 0x0FFF8000 | 1 << CIRPT | 1 << CRET
"""Bits of DBSR that ask for an interrupt."""
EPCR_DUVD = 26
EXACT, MASKED, INSIDE, OUTSIDE = range(4)
BY_ADDRESS, ALL_BYTES, ANY_BYTE, HALFWORDS = range(4)
"""What DVC1M and DVC2M compare."""


def debug_on() -> Val:
    """Whether debug events occur: internal debug mode, and not held off in the hypervisor."""
    held = get(S.EPCR).bit(EPCR_DUVD) & has("e500mc") & ~guest()
    return get(S.DBCR0).bit(IDM) & ~held


def record_event(bits: Val | int) -> None:
    """Put debug events into DBSR; while MSR.DE is 0 they are imprecise."""
    set_bits(S.DBSR, bits)
    with when(~msr(S.MSR_DE)):
        set_bits(S.DBSR, 1 << IDE)


def _here(us: Val, er: Val, space: Val) -> Val:
    """Whether a compare looks at accesses of this mode and address space (fields US and ER of DBCR1 and DBCR2)."""
    mode = ~us.bit(1) | (us.bit(0) == msr(S.MSR_PR))
    return mode & (~er.bit(1) | (er.bit(0) == space))


def _field(word: Val, shift: int) -> Val:
    return (word >> shift) & 3


@procedure(32, 32, 32, 32, 32, results=(1,))
def compare(first: Val, last: Val, mode: Val, one: Val, other: Val) -> None:
    """Whether bytes `first` to `last` meet a pair of compare registers that work together (mode 1 to 3)."""
    with when(mode == MASKED):
        return_(((first ^ one) & other) == 0)
    with when(mode == INSIDE):
        return_((last >= one) & (first < other))
    return_((first < one) | (last >= other))


def _fetch_pair(pc: Val, at: int) -> Val:
    """DBSR bits for IAC registers `at` and `at` + 1."""
    dbcr1 = get(S.DBCR1) << (16 if at else 0)
    enabled = get(S.DBCR0) & (3 << (IAC1 - 1 - at))
    one, other = get(S.IAC, at), get(S.IAC, at + 1)
    mode = _field(dbcr1, 22)
    toggles = has("440") & dbcr1.bit(IAC12AT) & mode.bit(1)
    turned = toggles & get(S.DBSR).bit(IAC34ATS if at else IAC12ATS)
    mode = mode ^ turned.zext(32)
    here_one = _here(_field(dbcr1, 30), _field(dbcr1, 28), msr(S.MSR_IS))
    here_other = _here(_field(dbcr1, 26), _field(dbcr1, 24), msr(S.MSR_IS))
    bit_one = select(here_one & (pc == one), value(1 << (IAC1 - at), 32), value(0, 32))
    bit_other = select(here_other & (pc == other), value(1 << (IAC1 - 1 - at), 32), value(0, 32))
    pair = select(here_one & compare(pc, pc, mode, one, other), enabled, value(0, 32))
    # Ranges of the 440 wait for MSR.DE: they would be met all the time.
    pair = select(has("440") & ~msr(S.MSR_DE), value(0, 32), pair)
    with when(toggles & (pair != 0)):
        put(S.DBSR, get(S.DBSR) ^ (1 << (IAC34ATS if at else IAC12ATS)))
    return select(mode == EXACT, (bit_one | bit_other) & enabled, pair)


@procedure(results=(8,))
def debug_mode() -> None:
    """Bit 0: every instruction must run alone; bit 1: data accesses must be watched."""
    dbcr0 = get(S.DBCR0)
    with when(~debug_on()):
        return_(0)
    step = ((dbcr0 & (1 << ICMP | 1 << BRT)) != 0) & msr(S.MSR_DE)
    fetch = (dbcr0 & IAC_ALL) != 0
    data = (dbcr0 & DAC_ALL) != 0
    # A data event is taken after its instruction, which debug_done finds out.
    return_((step | fetch | data).zext(8) | (data.zext(8) << 1))


@procedure(results=(8,))
def debug_fetch() -> None:
    """Before the instruction at PC: 1 for a debug interrupt in its place."""
    pc = get(S.PC)
    put(S.STEP_PC, pc)
    put(S.STEP_LR, get(S.LR))
    put(S.STEP_CTR, get(S.CTR))
    put(S.STEP_MSR, get(S.MSR))
    put(S.STEP_FAR, 0)
    with when(debug_on() & ((get(S.DBCR0) & IAC_ALL) != 0)):
        bits = _fetch_pair(pc, 0) | _fetch_pair(pc, 2)
        with when(bits != 0):
            record_event(bits)
            with when(msr(S.MSR_DE)):
                return_(1)
    return_(0)


@procedure(results=(8,))
def debug_done() -> None:
    """After the instruction has completed: 1 for a debug interrupt now. A branch that was taken is undone for it."""
    dbcr0 = get(S.DBCR0)
    stepped = debug_on() & get(S.STEP_MSR).bit(S.MSR_DE) & msr(S.MSR_DE)
    with when(stepped & dbcr0.bit(ICMP)):
        set_bits(S.DBSR, 1 << ICMP)
    with when(all_of(stepped, dbcr0.bit(BRT), ~get(S.STEP_FAR), get(S.PC) != get(S.STEP_PC) + 4)):
        set_bits(S.DBSR, 1 << BRT)
        put(S.PC, get(S.STEP_PC))
        put(S.LR, get(S.STEP_LR))
        put(S.CTR, get(S.STEP_CTR))
    return_((debug_on() & msr(S.MSR_DE) & ((get(S.DBSR) & DBSR_EVENTS) != 0)).zext(8))


def _lanes_met(same: Val, lanes: Val, mode: Val) -> Val:
    """Whether a word meets a data value compare: `same` are its bytes that were accessed and are equal."""
    halves = any_of(*(((lanes & half) != 0) & ((same & lanes & half) == (lanes & half)) for half in (0xC, 3)))
    return select(
        mode == ALL_BYTES, (same & lanes) == lanes, select(mode == ANY_BYTE, (same & lanes) != 0, halves)
    )  # fmt: skip


@procedure(32, 8, 64, 32, 32, 32, results=(1,))
def value_met(ea: Val, size: Val, v: Val, wanted: Val, lanes: Val, mode: Val) -> None:
    """Whether the data of an access meet DVC1 or DVC2: byte by byte at their places in each aligned word."""
    with when((lanes == 0) | (mode == BY_ADDRESS)):
        return_(1)
    at, left = var(32, ea, "at"), var(8, size, "left")
    same = var(32, 0, "same")
    with loop():
        lane = at.read() & 3
        left.set(left.read() - 1)
        byte = (v >> ((left.read() & 7).zext(64) << 3)).low(8)
        with when(byte == (wanted >> ((const(3, 32) - lane) << 3)).low(8)):
            same.set(same.read() | (const(8, 32) >> lane))
        with when((lane == 3) | (left.read() == 0)):
            with when(_lanes_met(same.read(), lanes, mode)):
                return_(1)
            same.set(0)
        with when(left.read() == 0):
            break_()
        at.set(at.read() + 1)
    return_(0)


@procedure(32, 8, 1, results=(32,))
def address_hits(ea: Val, size: Val, store: Val) -> None:
    """The enabled DAC events, as bits of DBSR, that an access of `size` bytes at `ea` meets."""
    last = ea + size.zext(32) - 1
    dbcr0, dbcr2 = get(S.DBCR0), get(S.DBCR2)
    # Loads are enabled by the upper bit of each pair, stores by the lower.
    shift = select(store, const(0, 32), const(1, 32))
    one_bit, other_bit = const(1 << DAC1W, 32) << shift, const(1 << DAC2W, 32) << shift
    one, other = get(S.DAC, 0), get(S.DAC, 1)
    mode = _field(dbcr2, 22)
    here_one = _here(_field(dbcr2, 30), _field(dbcr2, 28), msr(S.MSR_DS))
    here_other = _here(_field(dbcr2, 26), _field(dbcr2, 24), msr(S.MSR_DS))
    found = var(32, 0, "found")
    with when(mode == EXACT):
        with when(here_one & (one - ea < size.zext(32))):
            found.set(one_bit)
        with when(here_other & (other - ea < size.zext(32))):
            found.set(found.read() | other_bit)
    with when((mode != EXACT) & here_one & compare(ea, last, mode, one, other)):
        found.set(one_bit | other_bit)
    return_(found.read() & dbcr0)


DVC_BITS = ((0, DAC1W, 18, 8), (1, DAC2W, 16, 0))
"""Number, the lower bit of the pair in DBSR, and the places in DBCR2 of what is compared and of the byte enables."""


@procedure(32, 8, 1, 64)
def debug_data(ea: Val, size: Val, store: Val, v: Val) -> None:
    """An access of `size` bytes at `ea` with value `v`: record what the DAC registers, and the DVC of a 440, say to it.

    A line that is cleared is more than 8 bytes, of value 0."""
    dbcr2 = get(S.DBCR2)
    hits = var(32, address_hits(ea, size, store), "hits")
    with when(has("440") & (hits.read() != 0)):
        for n, bit, mode_at, lanes_at in DVC_BITS:
            lanes = (dbcr2 >> lanes_at) & 0xF
            with when(~value_met(ea, size, v, get(S.DVC, n), lanes, _field(dbcr2, mode_at))):
                hits.set(hits.read() & ~const(3 << bit, 32))
    with when(debug_on() & (hits.read() != 0)):
        record_event(hits.read())


@procedure(32, 1)
def debug_line(ea: Val, store: Val) -> None:
    """A cache instruction works on the line at `ea`: a data address event, but no data that DVC could compare."""
    with when(((get(S.DBCR0) & DAC_ALL) == 0) | ~debug_on()):
        return_()
    dbcr2 = get(S.DBCR2)
    line = select(has("e500mc"), const(64, 32), const(32, 32))
    hits = var(32, address_hits(ea & -line, line.low(8), store), "hits")
    for _, bit, mode_at, lanes_at in DVC_BITS:
        compared = (_field(dbcr2, mode_at) != BY_ADDRESS) & (((dbcr2 >> lanes_at) & 0xF) != 0)
        with when(has("440") & compared):
            hits.set(hits.read() & ~const(3 << bit, 32))
    with when(hits.read() != 0):
        record_event(hits.read())


@procedure(results=(1,))
def return_event() -> None:
    """A return from an interrupt is about to execute: 1 where a debug interrupt takes its place."""
    with when(debug_on() & get(S.DBCR0).bit(RET)):
        record_event(1 << RET)
        with when(msr(S.MSR_DE)):
            return_(1)
    return_(0)


def reset_kind(dbcr0: Val) -> Val:
    """What DBCR0.RST asks for: core, chip or system; an e500 has only the hard reset."""
    kind = _field(dbcr0, RST)
    return select(has("e500") & ~kind.bit(1), value(0, 32), kind).low(8)
