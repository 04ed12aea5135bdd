"""Interrupt delivery, and which asynchronous interrupt is due (Book III-E, 7; 440 manual, 6; e500 RM, 5).

The engine's run loop calls `deliver` for what bodies raise and for what `pending` names. Nothing here can fault.
"""

from __future__ import annotations

from ..lang.trace import Val, const, otherwise, procedure, return_, select, value, when
from . import state as S
from .debug import CIRPT, DBSR_EVENTS, IRPT, debug_on, record_event
from .externs import acknowledge, mode_changed, reset_request
from .mmu_e500 import miss_assist
from .registers import get, guest, has, msr, put, set_bits

ALIGNED = 0xFFFFFFFC
# EPCR: interrupts that a guest takes itself.
EXTGS, DTLBGS, ITLBGS, DSIGS, ISIGS = 31, 30, 29, 28, 27
DMIUH = 22  # EPCR: TLB misses that the hypervisor takes leave the MAS registers alone
# In the ESR that `walk` gives, never in the register: the fault belongs to the hypervisor (MAS8.VF).
ESR_VF = 1
HID0_EMCP = 31
MCSR_MCP = 1 << 31  # 440: the summary bit; e500: the machine check pin
RECOVERABLE = 1 << S.MSR_RI
TSR_WIS, TSR_DIS, TSR_FIS = 30, 27, 26
TCR_WIE, TCR_DIE, TCR_FIE = 27, 26, 23


def _among(ivor: Val, *numbers: int) -> Val:
    return (const(sum(1 << n for n in numbers), 64) >> ivor.zext(64)).bit(0)


def _to_guest(ivor: Val, esr: Val) -> Val:
    """Whether an interrupt in guest state is the guest's own business (Book III-E, 2.3.1)."""
    epcr = get(S.EPCR)
    chosen = (
        ((ivor == S.DATA_STORAGE) & epcr.bit(DSIGS) & ~((esr & ESR_VF) != 0))
        | ((ivor == S.INSTRUCTION_STORAGE) & epcr.bit(ISIGS) & ~((esr & ESR_VF) != 0))
        | ((ivor == S.EXTERNAL) & epcr.bit(EXTGS))
        | ((ivor == S.DATA_TLB) & epcr.bit(DTLBGS))
        | ((ivor == S.INSTRUCTION_TLB) & epcr.bit(ITLBGS))
        | (ivor == S.SYSTEM_CALL)
    )
    return guest() & chosen


@procedure(8, 32, 32, 32, 32)
def deliver_to_guest(ivor: Val, esr: Val, dear: Val, back: Val, old: Val) -> None:
    """A base interrupt into the guest: its own copies of the registers, and MSR.GS stays."""
    put(S.GSRR0, back)
    put(S.GSRR1, old)
    with when(_among(ivor, S.DATA_STORAGE, S.INSTRUCTION_STORAGE, S.DATA_TLB, S.INSTRUCTION_TLB)):
        put(S.GESR, esr & ~ESR_VF)
    with when(_among(ivor, S.DATA_STORAGE, S.DATA_TLB)):
        put(S.GDEAR, dear)
    with when(ivor == S.EXTERNAL):
        put(S.GEPR, acknowledge())
    protected = get(S.MSRP) & (1 << S.MSR_UCLE | 1 << S.MSR_PMM)
    kept = protected | (1 << S.MSR_GS | 1 << S.MSR_CE | 1 << S.MSR_ME | 1 << S.MSR_DE | 1 << S.MSR_RI)
    put(S.MSR, old & kept)
    put(S.PC, (get(S.GIVPR) & 0xFFFF0000) | (get(S.GIVOR, ivor) & 0xFFF0))


def _save(ivor: Val, back: Val, old: Val) -> Val:
    """Save address and MSR in the registers of the class; the MSR bits that the class keeps."""
    own_machine_check = has("440x5") | has("e500")
    own_debug = has("e500mc")
    # RI, where there is one, says whether a machine check may be returned from; only that clears it.
    kept = value(1 << S.MSR_CE | 1 << S.MSR_ME | 1 << S.MSR_DE | RECOVERABLE, 32)
    critical_kept = select(
        own_debug, value(1 << S.MSR_ME | 1 << S.MSR_DE | RECOVERABLE, 32), value(1 << S.MSR_ME, 32)
    )  # fmt: skip
    is_debug = ivor == S.DEBUG
    is_machine_check = ivor == S.MACHINE_CHECK
    other_critical = _among(ivor, S.CRITICAL, S.WATCHDOG, S.CRITICAL_DOORBELL, S.GUEST_CRITICAL_DOORBELL)
    to_mcsrr = is_machine_check & own_machine_check
    to_dsrr = is_debug & own_debug
    to_csrr = (other_critical | is_debug | is_machine_check) & ~to_mcsrr & ~to_dsrr
    to_gsrr = ivor == S.GUEST_DOORBELL
    with when(to_mcsrr):
        put(S.MCSRR0, back)
        put(S.MCSRR1, old)
    with when(to_dsrr):
        put(S.DSRR0, back)
        put(S.DSRR1, old)
    with when(to_csrr):
        put(S.CSRR0, back)
        put(S.CSRR1, old)
    with when(to_gsrr):
        put(S.GSRR0, back)
        put(S.GSRR1, old)
    with when(~(to_mcsrr | to_dsrr | to_csrr | to_gsrr)):
        put(S.SRR0, back)
        put(S.SRR1, old)
    # A machine check of the 440EP is of the critical class, but turns further ones off.
    critical_kept = select(is_machine_check, value(0, 32), critical_kept)
    debug_kept = value(1 << S.MSR_CE | 1 << S.MSR_ME | RECOVERABLE, 32)
    return select(to_mcsrr, value(0, 32), select(to_dsrr, debug_kept, select(to_csrr, critical_kept, kept)))


def _doorbell_taken(ivor: Val) -> None:
    """A doorbell is forgotten when it is answered; the critical and machine check ones of a guest share a vector."""
    for bit, number in ((0, S.DOORBELL), (1, S.CRITICAL_DOORBELL), (2, S.GUEST_DOORBELL)):
        with when(ivor == number):
            put(S.DOORBELLS, get(S.DOORBELLS) & ~const(1 << bit, 8))
    with when(ivor == S.GUEST_CRITICAL_DOORBELL):
        critical = get(S.DOORBELLS).bit(3) & msr(S.MSR_CE)
        put(S.DOORBELLS, get(S.DOORBELLS) & ~select(critical, const(1 << 3, 8), const(1 << 4, 8)))


@procedure(8, 32, 32)
def deliver(ivor: Val, esr: Val, dear: Val) -> None:
    """Take an interrupt at PC. For a machine check `esr` are bits of MCSR and `dear` the address that failed."""
    old = get(S.MSR)
    put(S.HALTED, 0)
    put(S.STEP_FAR, 1)
    with when(ivor == S.MACHINE_CHECK):
        put(S.PINS, get(S.PINS) & ~const(1 << S.PIN_MACHINE_CHECK, 8))
        with when(~old.bit(S.MSR_ME) & ~guest()):
            reset_request(S.CHECKSTOP)
            return_()
    after = _among(ivor, S.SYSTEM_CALL, S.HYPERVISOR_CALL, S.EFP_ROUND)
    back = get(S.PC) + select(after, value(4, 32), value(0, 32))
    _doorbell_taken(ivor)
    to_guest = _to_guest(ivor, esr)
    assisted = has("e500") & (to_guest | ~get(S.EPCR).bit(DMIUH))
    with when(_among(ivor, S.DATA_TLB, S.INSTRUCTION_TLB) & assisted):
        miss_assist(dear, ivor == S.INSTRUCTION_TLB, esr)
    with when(to_guest):
        deliver_to_guest(ivor, esr, dear, back, old)
        mode_changed()
        return_()

    with when(ivor == S.MACHINE_CHECK):
        with when(has("440x5") | has("e500")):
            set_bits(S.MCSR, select(esr == 0, value(MCSR_MCP, 32), esr))
            put(S.MCAR, dear)
        with otherwise():
            put(S.ESR, esr)
    with when(
        _among(
            ivor, S.DATA_STORAGE, S.INSTRUCTION_STORAGE, S.ALIGNMENT, S.PROGRAM, S.DATA_TLB, S.INSTRUCTION_TLB,
            S.SPE_UNAVAILABLE, S.EFP_DATA, S.EFP_ROUND,
        )
    ):  # fmt: skip
        put(S.ESR, esr & ~ESR_VF)
    with when(_among(ivor, S.DATA_STORAGE, S.ALIGNMENT, S.DATA_TLB)):
        put(S.DEAR, dear)
    with when((ivor == S.EXTERNAL) & has("e500")):
        put(S.EPR, acknowledge())
    kept = _save(ivor, back, old)
    put(S.MSR, old & kept)
    put(S.PC, (get(S.IVPR) & 0xFFFF0000) | (get(S.IVOR, ivor) & 0xFFF0))

    is_critical = _among(ivor, S.CRITICAL, S.WATCHDOG, S.CRITICAL_DOORBELL, S.GUEST_CRITICAL_DOORBELL)
    is_base = ~(is_critical | _among(ivor, S.MACHINE_CHECK, S.DEBUG))
    dbcr0 = get(S.DBCR0)
    with when(debug_on()):
        with when(is_base & dbcr0.bit(IRPT)):
            record_event(1 << IRPT)
        with when(is_critical & dbcr0.bit(CIRPT) & has("e500mc")):
            record_event(1 << CIRPT)
    mode_changed()


@procedure(results=(8,))
def pending() -> None:
    """The IVOR of the asynchronous interrupt to take now, 0xff for none (priorities: Book III-E, 7.9.1).

    In guest state the hypervisor's own interrupts come whatever the guest has in MSR.EE, CE and ME."""
    pins = get(S.PINS)
    held = guest()
    me = msr(S.MSR_ME) | held
    ce = msr(S.MSR_CE) | held
    ee = msr(S.MSR_EE) | held
    stop = has("e500") & get(S.HID0).bit(HID0_EMCP)  # with MSR.ME 0 it is a checkstop
    with when(pins.bit(S.PIN_MACHINE_CHECK) & (me | stop)):
        return_(S.MACHINE_CHECK)
    with when(msr(S.MSR_DE) & debug_on()), when((get(S.DBSR) & DBSR_EVENTS) != 0):
        return_(S.DEBUG)
    tsr, tcr = get(S.TSR), get(S.TCR)
    with when(ce):
        with when(pins.bit(S.PIN_CRITICAL)):
            return_(S.CRITICAL)
        with when(tsr.bit(TSR_WIS) & tcr.bit(TCR_WIE)):
            return_(S.WATCHDOG)
        with when(get(S.DOORBELLS).bit(1)):
            return_(S.CRITICAL_DOORBELL)
    with when(pins.bit(S.PIN_EXTERNAL)):
        to_guest = get(S.EPCR).bit(EXTGS)
        with when(select(to_guest, held & msr(S.MSR_EE), ee)):
            return_(S.EXTERNAL)
    with when(ee):
        with when(tsr.bit(TSR_FIS) & tcr.bit(TCR_FIE)):
            return_(S.FIXED_INTERVAL)
        with when(tsr.bit(TSR_DIS) & tcr.bit(TCR_DIE)):
            return_(S.DECREMENTER)
        with when(get(S.DOORBELLS).bit(0)):
            return_(S.DOORBELL)
    with when(held & (get(S.DOORBELLS) != 0)):
        bells = get(S.DOORBELLS)
        with when((bells.bit(3) & msr(S.MSR_CE)) | (bells.bit(4) & msr(S.MSR_ME))):
            return_(S.GUEST_CRITICAL_DOORBELL)
        with when(bells.bit(2) & msr(S.MSR_EE)):
            return_(S.GUEST_DOORBELL)
    return_(S.NO_INTERRUPT)
