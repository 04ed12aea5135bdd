"""Time base, decrementer, fixed-interval timer and watchdog (Book III-E, 9; 440 manual, 7; e500 RM, 2.6).

TSR and DEC are kept as they were at `timer_stamp`; `timers_tick` brings them up to now, and everything that reads or
writes them calls it first. So the outside need not call it more often than `timers_next` says.
"""

from __future__ import annotations

from ..lang.trace import Operand, Val, const, otherwise, procedure, return_, select, value, var, when
from . import state as S
from .externs import mode_changed, reset_request, time_base, timers_changed
from .registers import get, has, put, set_bits

# Places from the right in TCR and TSR.
WP, WRC, WIE, DIE, FP, FIE, ARE, WPEXT, FPEXT = 30, 28, 27, 26, 24, 23, 22, 17, 13
ENW, WIS, WRS, DIS, FIS = 31, 30, 28, 27, 26
NEVER = (1 << 64) - 1
WRC_MASK = 3 << WRC


@procedure(results=(64,))
def ticks() -> None:
    """Ticks that the timers have seen: raw time, less what passed while the time base stood."""
    with when(get(S.TB_STOPPED)):
        return_(get(S.TB_STOPPED_AT))
    return_(time_base() - get(S.TB_LOST))


def base() -> Val:
    """The time base as the guest sees it."""
    return ticks() + get(S.TB_OFFSET)  # type: ignore[no-any-return]


def _watchdog_bit() -> Val:
    """The bit of the time base, from the right, whose rise is a watchdog time-out."""
    tcr = get(S.TCR)
    mine = (tcr >> WP) & 3
    wide = ((((tcr >> WPEXT) & 15) << 2) | mine).zext(64)
    return select(has("e500"), const(63, 64) - wide, (mine * 4 + 20).zext(64))


def _interval_bit() -> Val:
    """The same for the fixed-interval timer."""
    tcr = get(S.TCR)
    mine = (tcr >> FP) & 3
    wide = ((((tcr >> FPEXT) & 15) << 2) | mine).zext(64)
    return select(has("e500"), const(63, 64) - wide, (mine * 4 + 12).zext(64))


def _rises(old: Val, new: Val, bit: Val) -> Val:
    """How often a bit of a counter became 1 on its way from `old` to `new`."""
    half = const(1, 64) << bit
    return (((new + half) >> bit) >> 1) - (((old + half) >> bit) >> 1)


@procedure()
def watchdog_timeout() -> None:
    """One time-out: ENW, then WIS, then the reset that TCR.WRC names (440 manual, 7.5)."""
    tsr = get(S.TSR)
    with when(~tsr.bit(ENW)):
        set_bits(S.TSR, 1 << ENW)
    with otherwise():
        with when(~tsr.bit(WIS)):
            set_bits(S.TSR, 1 << WIS)
        with otherwise():
            kind = (get(S.TCR) >> WRC) & 3
            with when(kind != 0):
                put(S.TSR, (tsr & ~const(3 << WRS, 32)) | (kind << WRS))
                put(S.TCR, get(S.TCR) & ~const(WRC_MASK, 32))
                reset_request(kind.low(8))


@procedure(64, 64)
def counted(old: Val, new: Val) -> None:
    """What follows from the time base having counted from `old` to `new`."""
    with when(_rises(old, new, _interval_bit()) != 0):
        set_bits(S.TSR, 1 << FIS)
    rises = _rises(old, new, _watchdog_bit())
    with when(rises != 0):
        watchdog_timeout()
        with when(rises > 1):
            watchdog_timeout()
            with when(rises > 2):
                watchdog_timeout()


@procedure()
def timers_tick() -> None:
    """Bring TSR and DEC up to now."""
    now: Val = ticks()
    before = get(S.TIMER_STAMP)
    status = get(S.TSR)
    passed = now - before
    with when(passed == 0):
        return_()
    put(S.TIMER_STAMP, now)
    dec = get(S.DEC).zext(64)
    with when(dec != 0):
        with when(passed < dec):
            put(S.DEC, (dec - passed).low(32))
        with otherwise():
            set_bits(S.TSR, 1 << DIS)
            again = get(S.DECAR).zext(64)
            left = var(64, 0, "left")
            with when(get(S.TCR).bit(ARE) & (again != 0)):
                left.set(again - (passed - dec).urem(again))
            put(S.DEC, left.read().low(32))
    offset = get(S.TB_OFFSET)
    counted(before + offset, now + offset)
    with when(get(S.TSR) != status):
        mode_changed()  # an interrupt may be due


def _sooner(best: Operand, wanted: Val, when_: Val) -> Val:
    return select(wanted & (when_ < value(best, 64)), when_, best)


@procedure(results=(64,))
def timers_next() -> None:
    """Ticks from now to the next timer event that may interrupt or reset; all ones for none."""
    with when(get(S.TB_STOPPED)):
        return_(NEVER)
    timers_tick()
    tcr, tsr, dec = get(S.TCR), get(S.TSR), get(S.DEC)
    now = base()
    best = select(tcr.bit(DIE) & ~tsr.bit(DIS) & (dec != 0), dec.zext(64), const(NEVER, 64))
    for bit, wanted in (
        (_interval_bit(), tcr.bit(FIE) & ~tsr.bit(FIS)),
        (_watchdog_bit(), (tcr.bit(WIE) & ~tsr.bit(WIS)) | ((tcr & WRC_MASK) != 0)),
    ):
        half = const(1, 64) << bit
        period = (half << 1) - 1
        # The bit is 1 next at the next odd multiple of half its period.
        left = ((half - (now & period) - 1) & period) + 1
        best = _sooner(best, wanted, left)
    return_(best)


# --- registers -------------------------------------------------------------------------------------------------------


@procedure(results=(32,))
def read_dec() -> None:
    """DEC now."""
    timers_tick()
    return_(get(S.DEC))


@procedure(32)
def write_dec(new: Val) -> None:
    """Start the decrementer; 0 stops it without an event."""
    timers_tick()
    put(S.DEC, new)
    timers_changed()


@procedure(32)
def write_decar(new: Val) -> None:
    """What DEC is loaded with at its event, if TCR.ARE is set."""
    timers_tick()
    put(S.DECAR, new)
    timers_changed()


@procedure(32)
def write_tcr(new: Val) -> None:
    """TCR.WRC can be set but not cleared."""
    timers_tick()
    put(S.TCR, (new & _tcr_mask()) | (get(S.TCR) & WRC_MASK))
    timers_changed()


def _tcr_mask() -> Val:
    """Bits of TCR that the model has."""
    return select(has("e500"), const(0xFFDFE000, 32), const(0xFFC00000, 32))


@procedure(results=(32,))
def read_tsr() -> None:
    """TSR now."""
    timers_tick()
    return_(get(S.TSR))


@procedure(32)
def clear_tsr(ones: Val) -> None:
    """Write to TSR: ones clear."""
    timers_tick()
    put(S.TSR, get(S.TSR) & ~ones)
    timers_changed()


@procedure(64)
def write_base(new: Val) -> None:
    """Set the time base; a bit that the write itself makes 1 counts as its rise."""
    timers_tick()
    old = base()
    put(S.TB_OFFSET, new - ticks())
    rose = new & ~old
    with when((rose >> _interval_bit()).bit(0)):
        set_bits(S.TSR, 1 << FIS)
    with when((rose >> _watchdog_bit()).bit(0)):
        watchdog_timeout()
    timers_changed()


@procedure(1)
def run_base(on: Val) -> None:
    """HID0.TBEN of the e500: let the time base and the decrementer count, or stop them."""
    with when(on == get(S.TB_STOPPED)):
        timers_tick()
        with when(on):
            put(S.TB_LOST, time_base() - get(S.TB_STOPPED_AT))
            put(S.TB_STOPPED, 0)
        with otherwise():
            put(S.TB_STOPPED_AT, ticks())
            put(S.TB_STOPPED, 1)
        timers_changed()
