"""CPU models: what their version and configuration registers say, which features they have, and their state at reset.

Sources: PPC440EP and PPC460EX User's Manuals, PowerPC e500 Core Family Reference Manual (chapter 2), e500mc Core
Reference Manual. The board takes `reset_values`; a loader that stands in for U-Boot adds `boot_values`.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import state as S

# What a form may need. "440x5" is the later 440 core (machine checks of their own class, mfdcrx); no model has popcntb
# or fsqrt, so those two are illegal instructions everywhere.
FEATURES = {
    name: 1 << n
    for n, name in enumerate(
        ("440", "440x5", "e500", "e500v2", "e500mc", "spe", "efpd", "fpu", "isel", "fsqrt", "popcntb")
    )
}
_440EP = "440 fpu"
_460EX = "440 440x5 fpu"
_V1 = "e500 spe isel"
_V2 = "e500 e500v2 spe efpd isel"
_MC = "e500 e500v2 e500mc fpu isel"


def _msr(*bits: int) -> int:
    return sum(1 << b for b in bits)


_MSR_BOOKE = _msr(S.MSR_CE, S.MSR_EE, S.MSR_PR, S.MSR_ME, S.MSR_DE, S.MSR_IS, S.MSR_DS)
_MSR_FPU = _msr(S.MSR_FP, S.MSR_FE0, S.MSR_FE1)
_MSR_440 = _MSR_BOOKE | _MSR_FPU | _msr(S.MSR_WE, S.MSR_DWE)
# Bit 10 is UBLE on an e500.
_MSR_E500 = _MSR_BOOKE | _msr(S.MSR_UCLE, S.MSR_SPV, S.MSR_WE, S.MSR_DWE, S.MSR_PMM)
_MSR_MC = _MSR_BOOKE | _MSR_FPU | _msr(S.MSR_GS, S.MSR_UCLE, S.MSR_PMM, S.MSR_RI)


@dataclass(frozen=True)
class CpuModel:
    """One CPU model as data. `flags` are names of `FEATURES`; sizes are in bytes."""

    name: str
    title: str
    pvr: int
    flags: str
    msr_mask: int
    svr: int = 0
    line: int = 32
    cache: int = 0x8000
    tlb0_ways: int = 0
    tlb1_size: int = 0
    mmucfg: int = 0
    tlb0cfg: int = 0
    tlb1cfg: int = 0
    l1cfg: int = 0
    l2cfg0: int = 0
    boot_erpn: int = 0  # upper bits of the address of the boot page

    @property
    def features(self) -> int:
        """Bits of `FEATURES`."""
        bits = 0
        for name in self.flags.split():
            bits |= FEATURES[name]
        return bits

    def has(self, name: str) -> bool:
        """Whether the model has a feature."""
        return bool(self.features & FEATURES[name])

    @property
    def mmu_kind(self) -> int:
        """0: UTLB of the 440; 1: TLB0 and TLB1 of the e500."""
        return int(self.has("e500"))


def _e500v1(name: str, pvr: int) -> CpuModel:
    return CpuModel(
        name, "Freescale e500v1", pvr, _V1, _MSR_E500, svr=0x80300020, tlb0_ways=2, tlb1_size=16, mmucfg=0x19C4,
        tlb0cfg=0x02110100, tlb1cfg=0x1019C010, l1cfg=0x00383820,
    )  # fmt: skip


def _e500v2(name: str, pvr: int) -> CpuModel:
    return CpuModel(
        name, "Freescale e500v2", pvr, _V2, _MSR_E500, svr=0x80340111, tlb0_ways=4, tlb1_size=16, mmucfg=0x19C4,
        tlb0cfg=0x04110200, tlb1cfg=0x101BC010, l1cfg=0x00383820,
    )  # fmt: skip


MODELS = {
    m.name.lower(): m
    for m in (
        CpuModel("440EP", "AMCC PowerPC 440EP Rev. C", 0x422218D4, _440EP, _MSR_440),
        CpuModel("440EPb", "AMCC PowerPC 440EP Rev. B", 0x422218D3, _440EP, _MSR_440),
        CpuModel("440EPa", "AMCC PowerPC 440EP Rev. A", 0x42221850, _440EP, _MSR_440),
        CpuModel("460EX", "AMCC PowerPC 460EX Rev. B", 0x130218A4, _460EX, _MSR_440, boot_erpn=4),
        _e500v1("e500v1", 0x80200020),
        _e500v1("e500v1_v10", 0x80200010),
        _e500v1("e500v1_v20", 0x80200020),
        _e500v2("e500v2", 0x80210022),
        _e500v2("e500v2_v10", 0x80210010),
        _e500v2("e500v2_v11", 0x80210011),
        _e500v2("e500v2_v20", 0x80210020),
        _e500v2("e500v2_v21", 0x80210021),
        _e500v2("e500v2_v22", 0x80210022),
        _e500v2("e500v2_v30", 0x80210030),
        CpuModel(
            "e500mc", "Freescale e500mc", 0x80230020, _MC, _MSR_MC, svr=0x82000020, line=64, tlb0_ways=4, tlb1_size=64,
            mmucfg=0x064809C4, tlb0cfg=0x04110200, tlb1cfg=0x401BC040, l1cfg=0x00B83820, l2cfg0=0x0001C002,
        ),
    )
}  # fmt: skip
# What QEMU calls them, and the systems on chip they are the core of.
ALIASES = {
    "440epc": "440ep", "460exb": "460ex", "e500": "e500v2_v22", "e500_v10": "e500v1_v10", "e500_v20": "e500v1_v20",
    "mpc8540": "e500v1_v20", "mpc8540_v10": "e500v1_v10", "mpc8540_v20": "e500v1_v20", "mpc8540_v21": "e500v1_v20",
    "mpc8544": "e500v2_v22", "mpc8544e": "e500v2_v22", "mpc8544_v10": "e500v2_v21", "mpc8544e_v10": "e500v2_v21",
    "mpc8544_v11": "e500v2_v22", "mpc8544e_v11": "e500v2_v22", "mpc8548": "e500v2_v21", "mpc8548e": "e500v2_v21",
    "mpc8548_v10": "e500v2_v10", "mpc8548e_v10": "e500v2_v10", "mpc8548_v11": "e500v2_v11",
    "mpc8548e_v11": "e500v2_v11", "mpc8548_v20": "e500v2_v20", "mpc8548e_v20": "e500v2_v20",
    "mpc8548_v21": "e500v2_v21", "mpc8548e_v21": "e500v2_v21",
}  # fmt: skip
DEFAULT = "440EP"


def model(name: str) -> CpuModel:
    """A model by its name or a name that QEMU has for it, in any case; raises KeyError with the known names."""
    key = name.lower()
    try:
        return MODELS[ALIASES.get(key, key)]
    except KeyError:
        known = ", ".join(m.name for m in MODELS.values())
        raise KeyError(f"no CPU model {name!r}; known are {known}") from None


HID0_TBEN, HID0_EMCP, HID0_ENMAS7 = 1 << 14, 1 << 31, 1 << 7
_BOOT_PAGE = 0xFFFFF000


def reset_values(m: CpuModel) -> dict[str, int | dict[int, int]]:
    """State registers that are not 0 after reset; elements of files by index.

    Both families start at the last word of the address space, in a page that hardware maps: on an e500 it is entry 0 of
    TLB1; the shadow entry of the 440 stands in the last entry of its UTLB here.
    """
    values: dict[str, int | dict[int, int]] = {
        "pc": 0xFFFFFFFC, "features": m.features, "mmu_kind": m.mmu_kind, "msr_mask": m.msr_mask, "pvr": m.pvr,
        "svr": m.svr, "tlb0_ways": m.tlb0_ways, "tlb1_size": m.tlb1_size, "mmucfg": m.mmucfg, "tlb0cfg": m.tlb0cfg,
        "tlb1cfg": m.tlb1cfg, "l1cfg0": m.l1cfg, "l1cfg1": m.l1cfg, "l2cfg0": m.l2cfg0,
    }  # fmt: skip
    if m.has("440"):
        values |= {
            "utlb0": {63: _BOOT_PAGE | 0x210}, "utlb1": {63: _BOOT_PAGE | m.boot_erpn}, "utlb2": {63: 0x407},
            "rstcfg": 0x00010000,
        }  # fmt: skip
        return values
    first = S.TLB1_FIRST
    values |= {
        "etlb_mas1": {first: 0xC0000100}, "etlb_mas2": {first: _BOOT_PAGE | 8}, "etlb_mas3": {first: _BOOT_PAGE | 0x15},
    }  # fmt: skip
    if not m.has("e500mc"):
        values["tb_stopped"] = 1  # until HID0.TBEN is set
    return values


def boot_values(m: CpuModel) -> dict[str, int | dict[int, int]]:
    """What a loader in the place of U-Boot sets besides: machine checks get in (which is a checkstop as long as MSR.ME
    is 0), the time base of an e500 runs, and MAS7 is updated."""
    if m.has("440"):
        return {}
    if m.has("e500mc"):
        return {"hid0": HID0_EMCP}
    return {"hid0": HID0_EMCP | HID0_TBEN | (HID0_ENMAS7 if m.has("e500v2") else 0), "tb_stopped": 0}
