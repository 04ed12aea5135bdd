"""Registers by their manual names, for monitors, debuggers, firmware and tests.

Works on any object that has the registers of `state.py` as attributes: the C struct, the reference's state, and the
drafts of `lang/draft.py` that a write goes through where a value alone does not say whether it may be stored.
"""

from __future__ import annotations

import re
from typing import Any

from ..lang.draft import number
from . import state as S

# Writing these changes no mode, so nothing derived needs to be made again.
PLAIN = frozenset((*S.R32, *S.R16, *S.R8, "eip", "ip", "cr2", "msr_misc[4]"))
_SEGMENT = re.compile(r"(es|cs|ss|ds|fs|gs|ldtr|tr)(?:\.(base|limit|attr|sel))?$")
_DIRECT = {
    "cr0": "cr0", "cr2": "cr2", "cr3": "cr3", "cr4": "cr4", "gdtr.base": "gdtr_base", "gdtr.limit": "gdtr_limit",
    "idtr.base": "idtr_base", "idtr.limit": "idtr_limit", "eip": "eip", "mxcsr": "mxcsr", "fctrl": "fctrl",
    "fstat": "fstat", "cpl": "cpl", "fip": "fip", "fdp": "fdp", "fop": "fop", "shadow": "shadow",
}  # fmt: skip
_MSR = re.compile(r"(msr_\w+?)(?:\[(\d{1,2})\])?$")
_PARTS = {"base": "seg_base", "limit": "seg_limit", "attr": "seg_attr", "sel": "seg_sel"}


def read(state: Any, name: str) -> int:
    """The value of a register. Raises KeyError for an unknown name."""
    for group, bits in ((S.R32, 32), (S.R16, 16)):
        if name in group:
            return int(state.gpr[group.index(name)]) & ((1 << bits) - 1)
    if name in S.R8:
        k = S.R8.index(name)
        return int(state.gpr[k & 3]) >> (8 if k > 3 else 0) & 0xFF
    if name == "ip":
        return int(state.eip) & 0xFFFF
    if name in _DIRECT:
        return int(getattr(state, _DIRECT[name]))
    m = _SEGMENT.match(name)
    if m:
        k = S.SEGMENT_NAMES.index(m[1])
        return int(getattr(state, _PARTS[m[2] or "sel"])[k])
    m = re.match(r"(dr|st|mm|xmm)(\d)$", name)
    if m and int(m[2]) < 8:
        k = int(m[2])
        if m[1] == "dr":
            return int(state.dr[k])
        if m[1] == "xmm":
            return int(state.xmm_hi[k]) << 64 | int(state.xmm_lo[k])
        if m[1] == "mm":
            return int(state.fpr_sig[k])
        k = (k + (int(state.fstat) >> 11)) & 7
        return int(state.fpr_se[k]) << 64 | int(state.fpr_sig[k])
    msr = _msr(name)
    if msr is not None:
        v = getattr(state, msr[0])
        return int(v if msr[1] is None else v[msr[1]])
    raise KeyError(name)


def _msr(name: str) -> tuple[str, int | None] | None:
    """A model-specific register of `state.py`, as `msr_mtrr_def` or `msr_mtrr_fixed[3]`."""
    m = _MSR.match(name)
    register = S.STATE.registers.get(m[1]) if m else None
    if m is None or register is None or (m[2] is None) != (register.count == 0):
        return None
    if m[2] is not None and int(m[2]) >= register.count:
        return None
    return m[1], None if m[2] is None else int(m[2])


def write(state: Any, name: str, value: int) -> None:
    """Write a register; a segment by name loads it as real mode does. Raises KeyError or ValueError.

    Bits of EFLAGS that do not exist are dropped, as POPF does; every other value must fit its register."""
    if name == "eflags":
        v = number(name, value, 32)
        carry = v >> S.FLAG_CF & 1
        state.eflags = v & S.EFLAGS_STORED | 2
        state.cf = carry
        state.cc_z = ~v >> S.FLAG_ZF & 1
        state.cc_s = (v >> S.FLAG_SF & 1) << 31 | ~v >> S.FLAG_PF & 1
        state.cc_aux = (v >> S.FLAG_OF & 1 ^ carry) << 31 | (v >> S.FLAG_AF & 1) << 4
        return
    for group, bits in ((S.R32, 32), (S.R16, 16)):
        if name in group:
            k = group.index(name)
            number(name, value, bits)
            old = int(state.gpr[k])
            state.gpr[k] = value if bits == 32 else old & ~0xFFFF | value
            return
    if name in S.R8:
        number(name, value, 8)
        k = S.R8.index(name)
        shift = 8 if k > 3 else 0
        state.gpr[k & 3] = int(state.gpr[k & 3]) & ~(0xFF << shift) | value << shift
        return
    if name == "ip":
        number(name, value, 16)
        state.eip = value
        return
    if name in _DIRECT:
        reg = S.STATE.registers[_DIRECT[name]]
        number(name, value, reg.width)
        setattr(state, reg.name, value)
        return
    m = _SEGMENT.match(name)
    if m:
        k = S.SEGMENT_NAMES.index(m[1])
        part = m[2] or "sel"
        number(name, value, S.STATE.registers[_PARTS[part]].width)
        getattr(state, _PARTS[part])[k] = value
        if m[2] is None and k < 6:
            state.seg_base[k] = value << 4
        return
    m = re.match(r"(dr|mm|xmm|st)(\d)$", name)
    if m and int(m[2]) < 8:
        k = int(m[2])
        if m[1] == "dr":
            number(name, value, 32)
            state.dr[k] = value
        elif m[1] == "xmm":
            number(name, value, 128)
            state.xmm_lo[k], state.xmm_hi[k] = value & (1 << 64) - 1, value >> 64
        elif m[1] == "mm":
            number(name, value, 64)
            state.fpr_sig[k] = value
        else:
            number(name, value, 80)
            k = (k + (int(state.fstat) >> 11)) & 7
            state.fpr_sig[k], state.fpr_se[k] = value & (1 << 64) - 1, value >> 64
        return
    msr = _msr(name)
    if msr is not None:
        number(name, value, S.STATE.registers[msr[0]].width)
        if msr[1] is None:
            setattr(state, msr[0], value)
        else:
            getattr(state, msr[0])[msr[1]] = value
        return
    raise KeyError(name)
