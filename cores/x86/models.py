"""CPU models: what CPUID says and which features exist (SDM vol. 2, CPUID; vol. 3, 9.1 for the state after reset).

The decoder and `feature_word` ask `CpuModel.features`; the board asks `cpuid` and `reset_values`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from . import state as S

_I486 = "fpu vme pse"
_PENTIUM = f"{_I486} de tsc msr mce cx8 apic mmx"
# "hypervisor" says that it is no silicon: guests then do not probe for performance counters or microcode.
_PENTIUM3 = f"{_PENTIUM} pae sep mtrr pge mca cmov pat pse36 fxsr sse hypervisor"
# No MTRRs and no machine-check banks: guests then have nothing to ask of the firmware or to save.
_QEMU32 = f"{_PENTIUM} pae sep pge cmov pat pse36 fxsr sse sse2 sse3 hypervisor"
_MAX = f"{_QEMU32} mtrr mca ssse3 tsc_deadline"


@dataclass(frozen=True)
class CpuModel:
    """One CPU model as data. `features` are names of `state.FEATURES`; `properties` those of its word 2."""

    name: str
    title: str
    family: int
    model: int
    stepping: int
    flags: str
    properties: str
    level: int = 1  # highest basic leaf
    vendor: str = "GenuineIntel"
    brand: str = ""  # up to 47 characters, in leaves 80000002-80000004
    brand_index: int = 0
    cache: tuple[int, int, int, int] = (0, 0, 0, 0)  # leaf 2

    @property
    def signature(self) -> int:
        """Type, family, model and stepping, as in CPUID.1:EAX and in EDX after reset."""
        return self.family << 8 | self.model << 4 | self.stepping

    @cached_property
    def features(self) -> tuple[int, int, int]:
        """The words of `state.FEATURES`: CPUID.1:EDX, CPUID.1:ECX, properties."""
        words = [0, 0, 0]
        for name in f"{self.flags} {self.properties}".split():
            word, bit = S.FEATURES[name]
            words[word] |= 1 << bit
        return words[0], words[1], words[2]

    @cached_property
    def cr4_bits(self) -> int:
        """The bits of CR4 that the model's features bring."""
        return sum(1 << bit for bit, name in S.CR4_FEATURES.items() if self.has(name))

    def has(self, name: str) -> bool:
        """Whether the model has a feature of `state.FEATURES`."""
        word, bit = S.FEATURES[name]
        return bool(self.features[word] >> bit & 1)


# Leaf 2 bytes: 01 to 04 TLBs for 4-KiB and 4-MiB pages; 08, 0C 16-KiB L1 caches; 43 512-KiB L2 cache.
_CACHE = (0x03020101, 0, 0, 0x0C040843)

MODELS = {
    m.name: m
    for m in (
        CpuModel("486", "Intel 486 DX4 with CPUID", 4, 8, 0, _I486, "486 cpuid"),
        CpuModel("pentium", "Intel Pentium with MMX", 5, 4, 3, _PENTIUM, "486 cpuid pmc"),
        CpuModel(
            "pentium3", "Intel Pentium III", 6, 8, 3, _PENTIUM3, "486 cpuid p6 nopl pmc",
            level=3, brand_index=2, cache=_CACHE,
        ),
        CpuModel(
            "qemu32", "32-bit virtual CPU with SSE2 (default)", 6, 6, 3, _QEMU32, "486 cpuid p6 nopl pmc",
            level=2, brand="Emu Virtual CPU", cache=_CACHE,
        ),
        CpuModel(
            "max", "everything that Emu implements for 32 bits", 6, 15, 11, _MAX, "486 cpuid p6 nopl pmc",
            level=3, brand="Emu Virtual CPU, all features", cache=_CACHE,
        ),
    )
}  # fmt: skip
DEFAULT = "qemu32"

HYPERVISOR_LEAF = 0x40000000
HYPERVISOR = "EmuEmuEmuEmu"
"""What a model with the feature of that name gives in EBX, ECX, EDX of its only hypervisor leaf."""


def cpu_model(name: str) -> CpuModel:
    """A model by name; raises KeyError with the known names."""
    try:
        return MODELS[name]
    except KeyError:
        raise KeyError(f"no CPU model {name!r}; known are {', '.join(MODELS)}") from None


def _word(text: str, at: int) -> int:
    return int.from_bytes(text.encode("ascii")[at : at + 4].ljust(4, b"\0"), "little")


def cpuid(model: CpuModel, leaf: int, subleaf: int = 0) -> tuple[int, int, int, int]:
    """EAX, EBX, ECX and EDX of a leaf. One that is too high gives the highest basic leaf, as on Intel's processors."""
    extended = 0x80000004 if model.brand else 0
    if leaf & 0x80000000 and extended and leaf <= extended:
        if leaf == 0x80000000:
            return extended, 0, 0, 0
        if leaf == 0x80000001:
            return 0, 0, 0, 0
        at = (leaf - 0x80000002) * 16
        brand = model.brand.ljust(48, "\0")
        return _word(brand, at), _word(brand, at + 4), _word(brand, at + 8), _word(brand, at + 12)
    if leaf == HYPERVISOR_LEAF and model.has("hypervisor"):
        return leaf, _word(HYPERVISOR, 0), _word(HYPERVISOR, 4), _word(HYPERVISOR, 8)
    if leaf > model.level:
        leaf = model.level
    if leaf == 0:
        return model.level, _word(model.vendor, 0), _word(model.vendor, 8), _word(model.vendor, 4)
    if leaf == 1:
        clflush = 8 << 8 if model.has("sse2") else 0  # the line size in units of 8 bytes
        edx, ecx, _ = model.features
        edx |= 1 << 19 if clflush else 0
        return model.signature, clflush | model.brand_index, ecx, edx
    if leaf == 2:
        return model.cache
    # Leaf 3 is the processor serial number, which is switched off.
    return 0, 0, 0, 0


def leaves(model: CpuModel) -> list[int]:
    """The leaves that a model has; every other one reads as the highest basic leaf."""
    found = [*range(model.level + 1)]
    if model.has("hypervisor"):
        found.append(HYPERVISOR_LEAF)
    if model.brand:
        found += range(0x80000000, 0x80000005)
    return found


def reset_values(model: CpuModel) -> dict[str, int | dict[int, int]]:
    """State registers that are not 0 or their declared default after reset; elements of files by index."""
    return {
        "eip": 0xFFF0,
        "eflags": 2,
        "cr0": 1 << S.CR0_CD | 1 << S.CR0_NW | 1 << S.CR0_ET,
        "gpr": {S.EDX: model.signature},
        "seg_sel": {S.CS: 0xF000},
        "seg_base": {S.CS: 0xFFFF0000},
        "seg_limit": dict.fromkeys(range(8), 0xFFFF),
        "seg_attr": {**dict.fromkeys(range(6), 0x93), S.CS: 0x9B, S.LDTR: 0x82, S.TR: 0x8B},
        "gdtr_limit": 0xFFFF,
        "idtr_limit": 0xFFFF,
        "dr": {6: 0xFFFF0FF0, 7: 0x400},
    }
