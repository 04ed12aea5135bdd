"""Registers of the PowerPC core (Book I, 2.3 and 3.2; Book III-E, 5).

General registers are 64 bits wide in storage: the lower half is the GPR, the upper half belongs to the SPE of an e500.
XER is kept as three bits and a byte count, because carry and overflow are written far more often than XER is read.
"""

from __future__ import annotations

from ..lang.state import State

STATE = State()
_r = STATE.register

GPR = _r("gpr", 64, 32, doc="r0-r31; the low word is the GPR")
PC = _r("pc", 32, doc="current instruction address")
CR = _r("cr", 32, doc="condition register, CR0 on top")
LR = _r("lr", 32)
CTR = _r("ctr", 32)
XER_SO = _r("xer_so", 1)
XER_OV = _r("xer_ov", 1)
XER_CA = _r("xer_ca", 1)
XER_COUNT = _r("xer_count", 7, doc="bytes for lswx and stswx")
RESERVE = _r("reserve", 1, doc="a reservation of lwarx is held")
RESERVE_ADDR = _r("reserve_addr", 64, doc="its physical address, by granule")
RESERVE_VALUE = _r("reserve_value", 32)
MSR = _r("msr", 32)
SRR0 = _r("srr0", 32)
SRR1 = _r("srr1", 32)
CSRR0 = _r("csrr0", 32)
CSRR1 = _r("csrr1", 32)
MCSRR0 = _r("mcsrr0", 32)
MCSRR1 = _r("mcsrr1", 32)
FPR = _r("fpr", 64, 32)
FPSCR = _r("fpscr", 32)

# MSR bits, by their place from the right (Book III-E, 4.2.1).
MSR_GS, MSR_UCLE, MSR_SPV, MSR_WE, MSR_CE, MSR_EE, MSR_PR, MSR_FP, MSR_ME, MSR_FE0, MSR_DE, MSR_FE1, MSR_IS, MSR_DS = (
    28, 26, 25, 18, 17, 15, 14, 13, 12, 11, 9, 8, 5, 4,
)  # fmt: skip

# Kinds of interrupt that a body may raise; the number is the IVOR (Book III-E, 7.6.1).
(
    CRITICAL,
    MACHINE_CHECK,
    DATA_STORAGE,
    INSTRUCTION_STORAGE,
    EXTERNAL,
    ALIGNMENT,
    PROGRAM,
    FP_UNAVAILABLE,
    SYSTEM_CALL,
) = range(9)

# Exception syndrome bits (Book III-E, 7.2.10).
ESR_PIL, ESR_PPR, ESR_PTR, ESR_FP, ESR_ST = (1 << 27, 1 << 26, 1 << 25, 1 << 24, 1 << 23)
