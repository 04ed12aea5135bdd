"""Registers of the PowerPC core, those of all models together (Book I, 2.3 and 3.2; Book III-E, 5).

General registers are 64 bits wide in storage: the lower half is the GPR, the upper half belongs to the SPE of an e500.
XER is kept as three bits and a byte count, because carry and overflow are written far more often than XER is read.
What tells the models apart is data too: `features` and the configuration registers, set at reset from `models.py`.
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

# --- what the model is, set at reset and never by the guest
FEATURES = _r("features", 32, doc="bits of models.FEATURES")
MMU_KIND = _r("mmu_kind", 8, doc="0: UTLB of the 440, 1: TLB0 and TLB1 of the e500")
MSR_MASK = _r("msr_mask", 32, doc="bits of MSR that exist")
TLB0_WAYS = _r("tlb0_ways", 8, doc="ways of a set of TLB0")
TLB1_SIZE = _r("tlb1_size", 8, doc="entries of TLB1")
PVR = _r("pvr", 32)
SVR = _r("svr", 32)
MMUCFG = _r("mmucfg", 32)
TLB0CFG = _r("tlb0cfg", 32)
TLB1CFG = _r("tlb1cfg", 32)
L1CFG0 = _r("l1cfg0", 32)
L1CFG1 = _r("l1cfg1", 32)
L2CFG0 = _r("l2cfg0", 32)

# --- lines from outside, and the wait state
PINS = _r("pins", 8, doc="bit 0 external input, 1 critical input, 2 machine check")
HALTED = _r("halted", 1, doc="waits for an interrupt")

# --- interrupts
IVPR = _r("ivpr", 32)
IVOR = _r("ivor", 32, 42)
ESR = _r("esr", 32)
DEAR = _r("dear", 32)
FAULT_DEAR = _r("fault_dear", 32, doc="address of the fault being raised", hidden=True)
EPR = _r("epr", 32)
DSRR0 = _r("dsrr0", 32)
DSRR1 = _r("dsrr1", 32)
MCSR = _r("mcsr", 32)
MCAR = _r("mcar", 32)
MCARU = _r("mcaru", 32)
SPRG = _r("sprg", 32, 10)
USPRG0 = _r("usprg0", 32)
PIR = _r("pir", 32)
DOORBELLS = _r("doorbells", 8, doc="bit 0 processor, 1 critical, 2 guest, 3 guest critical, 4 guest machine check")

# --- timers; `ticks` of timers.py are raw time less what HID0.TBEN held back
TB_OFFSET = _r("tb_offset", 64, doc="time base less ticks")
TB_LOST = _r("tb_lost", 64, doc="raw time that passed while the time base stood")
TB_STOPPED = _r("tb_stopped", 1)
TB_STOPPED_AT = _r("tb_stopped_at", 64, doc="ticks while it stands")
TIMER_STAMP = _r("timer_stamp", 64, doc="ticks up to which TSR and DEC are true")
DEC = _r("dec", 32, doc="at the stamp")
DECAR = _r("decar", 32)
TCR = _r("tcr", 32)
TSR = _r("tsr", 32)

# --- debug
DBCR0 = _r("dbcr0", 32)
DBCR1 = _r("dbcr1", 32)
DBCR2 = _r("dbcr2", 32)
DBCR4 = _r("dbcr4", 32)
DBSR = _r("dbsr", 32)
IAC = _r("iac", 32, 4)
DAC = _r("dac", 32, 2)
DVC = _r("dvc", 32, 2)
STEP_PC = _r("step_pc", 32, doc="of the instruction that runs alone", hidden=True)
STEP_LR = _r("step_lr", 32, hidden=True)
STEP_CTR = _r("step_ctr", 32, hidden=True)
STEP_MSR = _r("step_msr", 32, hidden=True)
STEP_FAR = _r("step_far", 1, doc="it went elsewhere, but was no branch", hidden=True)

# --- address translation
PID = _r("pid", 32, 3, doc="PID, PID1, PID2")
MMUCR = _r("mmucr", 32)
UTLB0 = _r("utlb0", 32, 64, doc="EPN, V, TS, SIZE")
UTLB1 = _r("utlb1", 32, 64, doc="RPN, ERPN")
UTLB2 = _r("utlb2", 32, 64, doc="attributes and rights")
UTLB_TID = _r("utlb_tid", 8, 64)
# TLB0 is entry 4 * set + way, TLB1 follows at 512.
TLB0_SETS, TLB1_FIRST, ETLB_COUNT = 128, 512, 576
ETLB_MAS1 = _r("etlb_mas1", 32, ETLB_COUNT, doc="V, IPROT, TID, TS, TSIZE")
ETLB_MAS2 = _r("etlb_mas2", 32, ETLB_COUNT, doc="EPN and attributes")
ETLB_MAS3 = _r("etlb_mas3", 32, ETLB_COUNT, doc="RPN and rights")
ETLB_MAS7 = _r("etlb_mas7", 32, ETLB_COUNT, doc="upper bits of RPN")
ETLB_MAS8 = _r("etlb_mas8", 32, ETLB_COUNT, doc="TGS, VF, TLPID")
TLB0_NEXT = _r("tlb0_next", 8, TLB0_SETS, doc="the way of a set that is the next victim")
MAS = {n: _r(f"mas{n}", 32) for n in (0, 1, 2, 3, 4, 5, 6, 7, 8)}
LPID = _r("lpid", 32)

# --- hypervisor of the e500mc
EPCR = _r("epcr", 32)
MSRP = _r("msrp", 32)
EPLC = _r("eplc", 32)
EPSC = _r("epsc", 32)
GSRR0 = _r("gsrr0", 32)
GSRR1 = _r("gsrr1", 32)
GESR = _r("gesr", 32)
GDEAR = _r("gdear", 32)
GEPR = _r("gepr", 32)
GPIR = _r("gpir", 32)
GIVPR = _r("givpr", 32)
GIVOR = _r("givor", 32, 42, doc="only 2, 3, 4, 8, 13 and 14 exist")
GSPRG = _r("gsprg", 32, 4)

# --- switches of caches and of the implementation: they hold what is written
CCR0 = _r("ccr0", 32)
CCR1 = _r("ccr1", 32)
RSTCFG = _r("rstcfg", 32)
CACHE_LINES = _r("cache_lines", 32, 18, doc="INV0-3 ITV0-3 IVLIM DNV0-3 DTV0-3 DVLIM of the 440")
DBDR = _r("dbdr", 32)
BBEAR = _r("bbear", 32)
BBTAR = _r("bbtar", 32)
HID0 = _r("hid0", 32)
HID1 = _r("hid1", 32)
BUCSR = _r("bucsr", 32)
L1CSR0 = _r("l1csr0", 32)
L1CSR1 = _r("l1csr1", 32)
L1CSR2 = _r("l1csr2", 32)
L2CSR0 = _r("l2csr0", 32)
L2CSR1 = _r("l2csr1", 32)
SPEFSCR = _r("spefscr", 32)
SPE_ACC = _r("spe_acc", 64)

# MSR bits, by their place from the right (Book III-E, 4.2.1).
MSR_GS, MSR_UCLE, MSR_SPV, MSR_WE, MSR_CE, MSR_EE, MSR_PR, MSR_FP, MSR_ME, MSR_FE0, MSR_DWE, MSR_DE, MSR_FE1 = (
    28, 26, 25, 18, 17, 15, 14, 13, 12, 11, 10, 9, 8,
)  # fmt: skip
MSR_IS, MSR_DS, MSR_PMM, MSR_RI = 5, 4, 2, 1

# Kinds of interrupt; the number is the IVOR (Book III-E, 7.6.1).
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
    APU_UNAVAILABLE,
    DECREMENTER,
    FIXED_INTERVAL,
    WATCHDOG,
    DATA_TLB,
    INSTRUCTION_TLB,
    DEBUG,
) = range(16)
SPE_UNAVAILABLE, EFP_DATA, EFP_ROUND, PERFORMANCE, DOORBELL, CRITICAL_DOORBELL = range(32, 38)
GUEST_DOORBELL, GUEST_CRITICAL_DOORBELL, HYPERVISOR_CALL, HYPERVISOR_PRIVILEGE = range(38, 42)
NO_INTERRUPT = 0xFF

# Exception syndrome bits (Book III-E, 7.2.10).
ESR_PIL, ESR_PPR, ESR_PTR, ESR_FP, ESR_ST = (1 << 27, 1 << 26, 1 << 25, 1 << 24, 1 << 23)
ESR_MCI, ESR_BO, ESR_EPID, ESR_SPV = 1 << 31, 1 << 17, 1 << 16, 1 << 7

PIN_EXTERNAL, PIN_CRITICAL, PIN_MACHINE_CHECK = range(3)
# Kinds of `reset_request`: DBCR0.RST and TCR.WRC name the first three; a machine check with MSR.ME 0 is a checkstop.
RESET_CORE, RESET_CHIP, RESET_SYSTEM, CHECKSTOP = 1, 2, 3, 4
