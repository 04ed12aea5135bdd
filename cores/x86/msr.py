"""Model-specific registers (SDM vol. 4; vol. 3, 11.11 for MTRRs and 11.12 for the PAT): RDMSR and WRMSR.

A register that only says how some other machine is built reads 0 and ignores writes. An unknown number is #GP(0), and
is named once in the log of things not implemented.
"""

from __future__ import annotations

from ..lang.trace import Val, procedure, return_, select, when
from . import state as S
from .externs import apic_base_changed, fault, feature_word, tsc_deadline_changed, unimplemented, virtual_ns
from .registers import get, put, refuse, require_cpl0

TSC, APIC_BASE, UCODE_REV, MTRR_CAP = 0x10, 0x1B, 0x8B, 0xFE
SYSENTER_CS, SYSENTER_ESP, SYSENTER_EIP = 0x174, 0x175, 0x176
MCG_CAP, MCG_STATUS, MISC_ENABLE = 0x179, 0x17A, 0x1A0
MTRR_VAR, PAT, MTRR_DEF = 0x200, 0x277, 0x2FF
MTRR_FIXED = (0x250, 0x258, 0x259, *range(0x268, 0x270))
VARIABLE_MTRRS = 8
# Elements of state.MSR_MISC.
TSC_DEADLINE = 0x6E0
MISC_MCG_STATUS, MISC_MISC_ENABLE, MISC_UCODE_REV, MISC_TSC_DEADLINE = 0, 1, 2, 4

# Read as 0, writes have no effect: (numbers, feature or property that brings them).
INERT = (
    ((0x00, 0x01), "mce"),  # machine-check address and type of the Pentium
    ((0x0E, 0x11, 0x12, 0x13), "mce"),  # TR12 and the Pentium's counters
    ((0x17, 0x2A, 0x79, 0x88, 0x89, 0x8A), "p6"),  # platform, power-on configuration, microcode update, L2 cache
    ((0xC1, 0xC2, 0x186, 0x187), "p6"),  # performance counters
    ((0x116, 0x118, 0x119, 0x11A, 0x11B, 0x11E), "p6"),  # L2 cache control
    ((0x1D9, 0x1DB, 0x1DC, 0x1DD, 0x1DE), "p6"),  # debug control, last branch
)


def has(name: str) -> Val:
    """Whether the CPU model has a feature of `state.FEATURES`."""
    word, bit = S.FEATURES[name]
    got: Val = feature_word(word)
    return got.bit(bit)


def _one_of(n: Val, numbers: tuple[int, ...]) -> Val:
    found = n == numbers[0]
    for k in numbers[1:]:
        found = found | (n == k)
    return found


def _ticks() -> Val:
    """The time plus 0 to 7 that depend on it alone.

    On silicon equal loops do not take equal numbers of ticks, and guests that gather entropy from the differences
    give up where they do. Instructions are further apart than that, so the counter still only grows.
    """
    now: Val = virtual_ns()
    mixed = now * 0x9E3779B97F4A7C15
    mixed = (mixed ^ (mixed >> 32)) * 0xBF58476D1CE4E5B9
    return now + (mixed >> 61)


def tsc() -> Val:
    """The time-stamp counter, 64 bits."""
    return _ticks() + get(S.TSC_OFFSET)


@procedure(32, results=(64,))
def read_msr(n: Val) -> None:
    """RDMSR."""
    require_cpl0()
    with when((n == TSC) & has("tsc")):
        return_(tsc())
    with when(has("sep")):
        for number, register in (
            (SYSENTER_CS, S.MSR_SYSENTER_CS),
            (SYSENTER_ESP, S.MSR_SYSENTER_ESP),
            (SYSENTER_EIP, S.MSR_SYSENTER_EIP),
        ):
            with when(n == number):
                return_(get(register).zext(64))
    with when((n == APIC_BASE) & has("apic")):
        return_(get(S.MSR_APIC_BASE))
    with when((n == TSC_DEADLINE) & has("tsc_deadline")):
        return_(get(S.MSR_MISC, MISC_TSC_DEADLINE))
    with when(has("mtrr")):
        with when(n == MTRR_CAP):
            # Write-combining, fixed ranges, and the number of variable ones.
            return_(1 << 10 | 1 << 8 | VARIABLE_MTRRS)
        with when(n == MTRR_DEF):
            return_(get(S.MSR_MTRR_DEF))
        with when((n >= MTRR_VAR) & (n < MTRR_VAR + 2 * VARIABLE_MTRRS)):
            return_(get(S.MSR_MTRR_VAR, (n - MTRR_VAR).low(8)))
        for k, number in enumerate(MTRR_FIXED):
            with when(n == number):
                return_(get(S.MSR_MTRR_FIXED, k))
    with when((n == PAT) & has("pat")):
        return_(get(S.MSR_PAT))
    with when(has("mca")):
        with when(n == MCG_CAP):
            return_(0)
        with when(n == MCG_STATUS):
            return_(get(S.MSR_MISC, MISC_MCG_STATUS))
    with when(has("p6")):
        with when(n == MISC_ENABLE):
            return_(get(S.MSR_MISC, MISC_MISC_ENABLE))
        with when(n == UCODE_REV):
            return_(get(S.MSR_MISC, MISC_UCODE_REV))
    for numbers, feature in INERT:
        with when(_one_of(n, numbers) & has(feature)):
            return_(0)
    unimplemented(1, n)
    fault(S.GP)


@procedure(32, 64)
def write_msr(n: Val, new: Val) -> None:
    """WRMSR."""
    require_cpl0()
    with when((n == TSC) & has("tsc")):
        put(S.TSC_OFFSET, new - _ticks())
        return_()
    with when(has("sep")):
        for number, register in (
            (SYSENTER_CS, S.MSR_SYSENTER_CS),
            (SYSENTER_ESP, S.MSR_SYSENTER_ESP),
            (SYSENTER_EIP, S.MSR_SYSENTER_EIP),
        ):
            with when(n == number):
                put(register, new.low(32))
                return_()
    with when((n == APIC_BASE) & has("apic")):
        # Bits 0-7 and 9-10 and those above the physical address are reserved; bit 8 (BSP) stays set.
        refuse((new & ~S.APIC_BASE_BITS) != 0, S.GP)
        put(S.MSR_APIC_BASE, new | 0x100)
        apic_base_changed(new.low(32) | 0x100)
        return_()
    with when((n == TSC_DEADLINE) & has("tsc_deadline")):
        put(S.MSR_MISC, new, MISC_TSC_DEADLINE)
        tsc_deadline_changed(select(new == 0, new, (new - get(S.TSC_OFFSET)) | 1))
        return_()
    with when(has("mtrr")):
        with when(n == MTRR_DEF):
            refuse((new & ~S.MTRR_DEF_BITS) != 0, S.GP)
            put(S.MSR_MTRR_DEF, new)
            return_()
        with when((n >= MTRR_VAR) & (n < MTRR_VAR + 2 * VARIABLE_MTRRS)):
            put(S.MSR_MTRR_VAR, new, (n - MTRR_VAR).low(8))
            return_()
        for k, number in enumerate(MTRR_FIXED):
            with when(n == number):
                put(S.MSR_MTRR_FIXED, new, k)
                return_()
    with when((n == PAT) & has("pat")):
        # Each byte is a memory type 0, 1, 4, 5, 6 or 7.
        ones = 0x0101010101010101
        two_or_three = (new >> 1) & ~(new >> 2) & ones
        refuse(((new & (0xF8 * ones)) | two_or_three) != 0, S.GP)
        put(S.MSR_PAT, new)
        return_()
    with when((n == MCG_STATUS) & has("mca")):
        put(S.MSR_MISC, new & 7, MISC_MCG_STATUS)
        return_()
    with when(has("p6")):
        with when(n == MISC_ENABLE):
            put(S.MSR_MISC, new, MISC_MISC_ENABLE)
            return_()
        with when(n == UCODE_REV):
            put(S.MSR_MISC, new, MISC_UCODE_REV)
            return_()
    for numbers, feature in INERT:
        with when(_one_of(n, numbers) & has(feature)):
            return_()
    unimplemented(1, n)
    fault(S.GP)
