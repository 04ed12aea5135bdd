"""Registers of the x86 core (SDM vol. 1 chapter 3, vol. 3 chapter 2).

The six arithmetic flags are kept in a form that is cheap to produce: ZF = (cc_z == 0), SF = bit 31 of cc_s,
PF = even parity of the low byte of cc_s, AF = bit 4 of cc_aux, OF = bit 31 of cc_aux xor CF. `flags.py` reads and
writes them; the other bits of EFLAGS stand in `eflags`.
"""

from __future__ import annotations

from ..lang.state import State

STATE = State()
_r = STATE.register

# General registers are 64 bits wide in storage; gpr[16] is always zero (an absent base or index).
GPR = _r("gpr", 64, 17, doc="rax rcx rdx rbx rsp rbp rsi rdi r8-r15, zero")
EIP = _r("eip", 32, doc="offset of the next instruction")
CF_ = _r("cf", 1)
CC_Z = _r("cc_z", 32, reset=1)
CC_S = _r("cc_s", 32, reset=1)
CC_AUX = _r("cc_aux", 32)
EFLAGS = _r("eflags", 32, reset=2, doc="all flags but CF PF AF ZF SF OF")

# Segment registers: ES CS SS DS FS GS, then LDTR and TR.
SEG_SEL = _r("seg_sel", 16, 8)
SEG_BASE = _r("seg_base", 32, 8)
SEG_LIMIT = _r("seg_limit", 32, 8, doc="last byte, granularity applied")
SEG_ATTR = _r("seg_attr", 16, 8, doc="descriptor bits 40-47 and 52-55 << 8; 0 = unusable")
GDTR_BASE = _r("gdtr_base", 32)
GDTR_LIMIT = _r("gdtr_limit", 16)
IDTR_BASE = _r("idtr_base", 32)
IDTR_LIMIT = _r("idtr_limit", 16)
CPL = _r("cpl", 8)

CR0 = _r("cr0", 32)
CR2 = _r("cr2", 32)
CR3 = _r("cr3", 32)
CR4 = _r("cr4", 32)
DR = _r("dr", 32, 8)
PDPTE = _r("pdpte", 64, 4, doc="PAE page-directory pointers, loaded by MOV CR3")

HALTED = _r("halted", 1)
SHADOW = _r("shadow", 8, doc="1: interrupts held off for one instruction (STI); 2: debug traps too (MOV SS)")
NMI_BLOCKED = _r("nmi_blocked", 1)
DEBUG_PENDING = _r("debug_pending", 32, doc="DR6 bits of a debug trap to take after this instruction")

MSR_SYSENTER_CS = _r("msr_sysenter_cs", 32)
MSR_SYSENTER_ESP = _r("msr_sysenter_esp", 32)
MSR_SYSENTER_EIP = _r("msr_sysenter_eip", 32)
MSR_APIC_BASE = _r("msr_apic_base", 64, reset=0xFEE00900)
MSR_PAT = _r("msr_pat", 64, reset=0x0007040600070406)
MSR_MTRR_DEF = _r("msr_mtrr_def", 64)
MSR_MTRR_FIXED = _r("msr_mtrr_fixed", 64, 11)
MSR_MTRR_VAR = _r("msr_mtrr_var", 64, 16)
MSR_MISC = _r("msr_misc", 64, 8, doc="MCG_STATUS, MISC_ENABLE, UCODE_REV, EFER, TSC_DEADLINE, spare")
TSC_OFFSET = _r("tsc_offset", 64, doc="TSC minus virtual nanoseconds")

# x87 and MMX: physical registers R0-R7; FPR_SIG is the significand, also MM0-MM7.
FPR_SIG = _r("fpr_sig", 64, 8)
FPR_SE = _r("fpr_se", 16, 8)
FCTRL = _r("fctrl", 16, reset=0x0040)
FSTAT = _r("fstat", 16)
FTAG = _r("ftag", 8, doc="bit n set: physical register Rn is in use", reset=0xFF)
FIP = _r("fip", 32)
FCS = _r("fcs", 16)
FDP = _r("fdp", 32)
FDS = _r("fds", 16)
FOP = _r("fop", 16)
XMM_LO = _r("xmm_lo", 64, 16)
XMM_HI = _r("xmm_hi", 64, 16)
MXCSR = _r("mxcsr", 32, reset=0x1F80)

ES, CS, SS, DS, FS, GS, LDTR, TR = range(8)
SEGMENT_NAMES = ("es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr")
R32 = ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi")
R16 = ("ax", "cx", "dx", "bx", "sp", "bp", "si", "di")
R8 = ("al", "cl", "dl", "bl", "ah", "ch", "dh", "bh")
EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI = range(8)

# Exception vectors (SDM vol. 3, table 6-1).
DE, DB, NMI, BP, OF_, BR, UD, NM, DF_, TS, NP, SS_, GP, PF_, MF, AC, MC, XM = (
    *range(9),
    *range(10, 15),
    16,
    17,
    18,
    19,
)
VECTOR_NAMES = {
    DE: "#DE", DB: "#DB", NMI: "NMI", BP: "#BP", OF_: "#OF", BR: "#BR", UD: "#UD", NM: "#NM", DF_: "#DF", TS: "#TS",
    NP: "#NP", SS_: "#SS", GP: "#GP", PF_: "#PF", MF: "#MF", AC: "#AC", MC: "#MC", XM: "#XM",
}  # fmt: skip

# EFLAGS bits.
FLAG_CF, FLAG_PF, FLAG_AF, FLAG_ZF, FLAG_SF, FLAG_OF = 0, 2, 4, 6, 7, 11
FLAG_TF, FLAG_IF, FLAG_DF, FLAG_IOPL, FLAG_NT, FLAG_RF, FLAG_VM, FLAG_AC, FLAG_VIF, FLAG_VIP, FLAG_ID = (
    8, 9, 10, 12, 14, 16, 17, 18, 19, 20, 21,
)  # fmt: skip
CR0_PE, CR0_MP, CR0_EM, CR0_TS, CR0_ET, CR0_NE, CR0_WP, CR0_AM, CR0_NW, CR0_CD, CR0_PG = (
    0,
    1,
    2,
    3,
    4,
    5,
    16,
    18,
    29,
    30,
    31,
)
CR4_VME, CR4_PVI, CR4_TSD, CR4_DE, CR4_PSE, CR4_PAE, CR4_MCE, CR4_PGE, CR4_PCE, CR4_OSFXSR, CR4_OSXMMEXCPT = range(11)

# The bits that exist; those of CR4 come with features of the CPU model.
CR0_BITS = 0xE005003F
CR4_FEATURES = {
    CR4_VME: "vme", CR4_PVI: "vme", CR4_TSD: "tsc", CR4_DE: "de", CR4_PSE: "pse", CR4_PAE: "pae", CR4_MCE: "mce",
    CR4_PGE: "pge", CR4_PCE: "pmc", CR4_OSFXSR: "fxsr", CR4_OSXMMEXCPT: "sse",
}  # fmt: skip
EFLAGS_STORED = 0x003F7702  # what the register `eflags` holds: neither reserved nor arithmetic bits, and bit 1
DR6_FIXED, DR6_BITS = 0xFFFF0FF0, 0xE00F
DR7_FIXED, DR7_BITS = 0x400, 0xFFFF23FF
PHYSICAL_BITS = 36
PDPTE_RESERVED = ((1 << 64) - (1 << PHYSICAL_BITS)) | 0x1E6
APIC_BASE_BITS = (1 << PHYSICAL_BITS) - 0x1000 | 0x900  # the address, on (bit 11), bootstrap processor (bit 8)
MTRR_DEF_BITS = 0xCFF
MXCSR_BITS = 0xFFFF  # DAZ is there, the misaligned mode is not

# CPUID features that forms may need: name -> (word, bit). Word 0 is leaf 1 EDX, 1 is leaf 1 ECX, 2 a property of the
# model that CPUID does not tell.
FEATURES = {
    "fpu": (0, 0), "vme": (0, 1), "de": (0, 2), "pse": (0, 3), "tsc": (0, 4), "msr": (0, 5), "pae": (0, 6),
    "mce": (0, 7),
    "cx8": (0, 8), "apic": (0, 9), "sep": (0, 11), "mtrr": (0, 12), "pge": (0, 13), "mca": (0, 14), "cmov": (0, 15),
    "pat": (0, 16), "pse36": (0, 17), "mmx": (0, 23), "fxsr": (0, 24), "sse": (0, 25), "sse2": (0, 26),
    "sse3": (1, 0), "ssse3": (1, 9), "tsc_deadline": (1, 24), "hypervisor": (1, 31),
    "486": (2, 0), "cpuid": (2, 1), "p6": (2, 2), "nopl": (2, 3), "pmc": (2, 4),
}  # fmt: skip
