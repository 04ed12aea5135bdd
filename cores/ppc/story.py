"""The last interrupts before a checkstop, in plain words (Book III-E, 7.6; 440 manual, 6.5).

Both tiers keep records of what they delivered; `tell` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from . import state as S

NAMES = {
    S.CRITICAL: "critical input", S.MACHINE_CHECK: "machine check", S.DATA_STORAGE: "data storage",
    S.INSTRUCTION_STORAGE: "instruction storage", S.EXTERNAL: "external input", S.ALIGNMENT: "alignment",
    S.PROGRAM: "program", S.FP_UNAVAILABLE: "floating-point unavailable", S.SYSTEM_CALL: "system call",
    S.APU_UNAVAILABLE: "auxiliary processor unavailable", S.DECREMENTER: "decrementer",
    S.FIXED_INTERVAL: "fixed-interval timer", S.WATCHDOG: "watchdog", S.DATA_TLB: "data TLB miss",
    S.INSTRUCTION_TLB: "instruction TLB miss", S.DEBUG: "debug", S.SPE_UNAVAILABLE: "SPE unavailable",
    S.EFP_DATA: "embedded floating-point data", S.EFP_ROUND: "embedded floating-point round",
    S.PERFORMANCE: "performance monitor", S.DOORBELL: "doorbell", S.CRITICAL_DOORBELL: "critical doorbell",
    S.GUEST_DOORBELL: "guest doorbell", S.GUEST_CRITICAL_DOORBELL: "guest critical doorbell",
    S.HYPERVISOR_CALL: "hypervisor call", S.HYPERVISOR_PRIVILEGE: "hypervisor privilege",
}  # fmt: skip
ADDRESSED = (S.DATA_STORAGE, S.ALIGNMENT, S.DATA_TLB)
SYNDROME = {
    S.ESR_PIL: "an illegal instruction", S.ESR_PPR: "a privileged instruction in user mode", S.ESR_PTR: "a trap",
    S.ESR_FP: "a floating-point instruction", S.ESR_ST: "a store", S.ESR_BO: "the byte order of the page",
    S.ESR_SPV: "an SPE instruction",
}  # fmt: skip


def tell(records: Sequence[Mapping[str, int]]) -> list[str]:
    """One line for each record (icount, vector, error, pc, msr, dear), oldest first, and why the processor stopped."""
    lines = []
    for r in records:
        vector, at = r["vector"], r["pc"]
        line = f"instruction {r['icount']}: {NAMES.get(vector, 'unknown')} interrupt (IVOR{vector}) at {at:#010x}"
        if vector in ADDRESSED:
            line += f", for address {r['dear']:#010x}"
        why = [words for bit, words in SYNDROME.items() if r["error"] & bit] if vector != S.MACHINE_CHECK else []
        if why:
            line += f", because of {' and '.join(why)}"
        lines.append(f"{line}; {'user' if r['msr'] >> S.MSR_PR & 1 else 'supervisor'} state")
    if records and records[-1]["vector"] == S.MACHINE_CHECK:
        lines.append("MSR.ME is 0, so the processor does not take a machine check but stops: a checkstop")
    return lines
