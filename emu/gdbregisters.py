"""What gdb is told about a processor: target descriptions, and the registers behind their numbers.

The standard features are those of the gdb manual, appendix "Target Descriptions" (i386, PowerPC); `org.emu.*` are ours:
system registers of the x86, special purpose registers of the PowerPC. Only the standard ones are in the reply to `g`;
gdb asks for the others one by one.

On x86 gdb's `eip` is the linear address CS.base + EIP, so that breakpoints, `x/i $pc` and single steps are right in
real mode too; with a flat code segment that is EIP itself. The stack pointer is the plain ESP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from cores.ppc import models as ppc_models
from cores.ppc.registers_by_name import TIMERS
from cores.ppc.spr import SPRS
from cores.x86 import models as x86_models
from cores.x86 import state as X

if TYPE_CHECKING:
    from emu.cpu import DebuggedCpu

M32 = 0xFFFFFFFF


@dataclass(frozen=True)
class Register:
    """One register as gdb sees it. `write` raises KeyError or ValueError for what cannot be."""

    name: str
    bits: int
    read: Callable[[], int]
    write: Callable[[int], None]
    type: str = ""
    group: str = ""

    @property
    def bytes(self) -> int:
        """Its size in a packet."""
        return self.bits // 8


@dataclass
class Description:
    """All registers of a processor by gdb's numbers, and how the bytes of each are ordered."""

    order: Literal["little", "big"]
    xml: str
    registers: dict[int, Register] = field(default_factory=dict)
    name: str = ""
    """What code it is for, in words."""
    general: int = 0
    """Registers below this number are in the reply to `g`."""

    def pack(self, register: Register) -> bytes:
        """The value now."""
        return register.read().to_bytes(register.bytes, self.order)


def describe(cpu: DebuggedCpu) -> Description:
    """The description of a processor of either kind."""
    model = getattr(cpu, "model", None)
    if isinstance(model, ppc_models.CpuModel):
        return _ppc(cpu, model)
    if isinstance(model, x86_models.CpuModel):
        return _x86(cpu, model)
    raise TypeError(f"no description of {type(cpu).__name__}")


@dataclass
class _Writer:
    """Collects features."""

    registers: dict[int, Register] = field(default_factory=dict)
    parts: list[str] = field(default_factory=list)

    def feature(self, name: str, numbered: Iterable[tuple[int, Register]], types: str = "") -> int:
        """Add a feature; returns the number behind its last register."""
        self.parts.append(f'<feature name="{name}">{types}')
        number = -1
        for number, register in numbered:
            self.registers[number] = register
            more = "".join(f' {k}="{v}"' for k, v in (("type", register.type), ("group", register.group)) if v)
            self.parts.append(f'<reg name="{register.name}" bitsize="{register.bits}" regnum="{number}"{more}/>')
        self.parts.append("</feature>")
        return number + 1

    def done(self, architecture: str, order: Literal["little", "big"], general: int, name: str = "") -> Description:
        xml = '<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target version="1.0">'
        xml += f"<architecture>{architecture}</architecture>{''.join(self.parts)}</target>"
        return Description(order, xml, self.registers, name, general)


def _by_name(cpu: DebuggedCpu, name: str, bits: int, source: str = "", **more: str) -> Register:
    source = source or name
    return Register(name, bits, lambda: cpu.reg(source), lambda value: cpu.set_reg(source, value), **more)


# --- x86 ---------------------------------------------------------------------------------------------------

FLAGS = (
    ("CF", 0), ("", 1), ("PF", 2), ("AF", 4), ("ZF", 6), ("SF", 7), ("TF", 8), ("IF", 9), ("DF", 10), ("OF", 11),
    ("NT", 14), ("RF", 16), ("VM", 17), ("AC", 18), ("VIF", 19), ("VIP", 20), ("ID", 21),
)  # fmt: skip
CR0 = (("PE", 0), ("MP", 1), ("EM", 2), ("TS", 3), ("ET", 4), ("NE", 5), ("WP", 16), ("AM", 18), ("NW", 29), ("CD", 30),
       ("PG", 31))  # fmt: skip
CR4 = (("VME", 0), ("PVI", 1), ("TSD", 2), ("DE", 3), ("PSE", 4), ("PAE", 5), ("MCE", 6), ("PGE", 7), ("PCE", 8),
       ("OSFXSR", 9), ("OSXMMEXCPT", 10))  # fmt: skip
VECTOR = (
    '<vector id="v4f" type="ieee_single" count="4"/><vector id="v2d" type="ieee_double" count="2"/>'
    '<vector id="v16i8" type="int8" count="16"/><vector id="v8i16" type="int16" count="8"/>'
    '<vector id="v4i32" type="int32" count="4"/><vector id="v2i64" type="int64" count="2"/>'
    '<union id="vec128"><field name="v4_float" type="v4f"/><field name="v2_double" type="v2d"/>'
    '<field name="v16_int8" type="v16i8"/><field name="v8_int16" type="v8i16"/><field name="v4_int32" type="v4i32"/>'
    '<field name="v2_int64" type="v2i64"/><field name="uint128" type="uint128"/></union>'
)


def _bits(name: str, fields: Iterable[tuple[str, int]]) -> str:
    rows = "".join(f'<field name="{f}" start="{bit}" end="{bit}"/>' for f, bit in fields)
    return f'<flags id="{name}" size="4">{rows}</flags>'


def _x86(cpu: DebuggedCpu, model: x86_models.CpuModel) -> Description:
    out = _Writer()
    core = [_by_name(cpu, name, 32, type="data_ptr" if name in ("esp", "ebp") else "int32") for name in X.R32]
    core.append(Register("eip", 32, lambda: _linear_eip(cpu), lambda v: _go_to(cpu, v), type="code_ptr"))
    core.append(_by_name(cpu, "eflags", 32, type="i386_eflags"))
    core += [_segment(cpu, name) for name in ("cs", "ss", "ds", "es", "fs", "gs")]
    core += [_by_name(cpu, f"st{n}", 80, type="i387_ext") for n in range(8)]
    core += [_float(cpu, name) for name in ("fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop")]
    number = out.feature("org.gnu.gdb.i386.core", enumerate(core), _bits("i386_eflags", FLAGS))
    if model.has("sse"):
        sse = [_by_name(cpu, f"xmm{n}", 128, type="vec128") for n in range(8)]
        sse.append(_by_name(cpu, "mxcsr", 32, type="int", group="vector"))
        number = out.feature("org.gnu.gdb.i386.sse", enumerate(sse, number), VECTOR)
    general = number
    system = [_by_name(cpu, f"{name}_base", 32, f"{name}.base", type="data_ptr") for name in X.SEGMENT_NAMES[:6]]
    system += [_by_name(cpu, "cr0", 32, type="x86_cr0"), *(_by_name(cpu, f"cr{n}", 32, type="int") for n in (2, 3))]
    system.append(_by_name(cpu, "cr4", 32, type="x86_cr4"))
    for table in ("gdtr", "idtr"):
        system.append(_by_name(cpu, f"{table}_base", 32, f"{table}.base", type="data_ptr"))
        system.append(_by_name(cpu, f"{table}_limit", 16, f"{table}.limit", type="uint16"))
    for name in ("ldtr", "tr"):
        system.append(_by_name(cpu, name, 16, type="uint16"))
        system.append(_by_name(cpu, f"{name}_base", 32, f"{name}.base", type="data_ptr"))
        system.append(_by_name(cpu, f"{name}_limit", 32, f"{name}.limit", type="uint32"))
    hidden = {"group": "system"}
    for name in X.SEGMENT_NAMES[:6]:
        system.append(_by_name(cpu, f"{name}_limit", 32, f"{name}.limit", type="uint32", **hidden))
        system.append(_by_name(cpu, f"{name}_attr", 16, f"{name}.attr", type="uint16", **hidden))
    system += [_by_name(cpu, f"dr{n}", 32, type="data_ptr" if n < 4 else "int", **hidden) for n in (0, 1, 2, 3, 6, 7)]
    for msr, width, source in (
        ("sysenter_cs", 32, ""), ("sysenter_esp", 32, ""), ("sysenter_eip", 32, ""), ("apic_base", 64, ""),
        ("pat", 64, ""), ("mtrr_def_type", 64, "msr_mtrr_def"), ("misc_enable", 64, "msr_misc[1]"),
        ("efer", 64, "msr_misc[3]"),
    ):  # fmt: skip
        system.append(_by_name(cpu, msr, width, source or f"msr_{msr}", type=f"uint{width}", **hidden))
    out.feature("org.emu.x86.system", enumerate(system, number), _bits("x86_cr0", CR0) + _bits("x86_cr4", CR4))
    code16 = not cpu.reg("cs.attr") >> 14 & 1
    return out.done("i8086" if code16 else "i386", "little", general, "16-bit code" if code16 else "32-bit code")


def _linear_eip(cpu: DebuggedCpu) -> int:
    return (cpu.reg("cs.base") + cpu.reg("eip")) & M32


def _go_to(cpu: DebuggedCpu, linear: int) -> None:
    cpu.set_reg("eip", (linear - cpu.reg("cs.base")) & M32)


def _segment(cpu: DebuggedCpu, name: str) -> Register:
    def write(value: int) -> None:
        if value == cpu.reg(name):
            return
        protected = cpu.reg("cr0") & 1 and not cpu.reg("eflags") >> X.FLAG_VM & 1
        # Only real mode says what else a selector means; beside it stands the register with the base.
        cpu.set_reg(f"{name}.sel" if protected else name, value)

    return Register(name, 32, lambda: cpu.reg(name), write, type="int32")


_FLOAT = {
    "fctrl": "fctrl",
    "fstat": "fstat",
    "fiseg": "fcs",
    "fioff": "fip",
    "foseg": "fds",
    "fooff": "fdp",
    "fop": "fop",
}


def _float(cpu: DebuggedCpu, name: str) -> Register:
    """An x87 register as FSAVE shows it. Only those with a name of their own can be written."""
    plain = name in ("fctrl", "fstat", "fop", "fioff", "fooff")

    def read() -> int:
        state = cpu.state()
        if name == "ftag":
            return _tags(state)
        value = state[_FLOAT[name]]
        return value if isinstance(value, int) else 0

    def write(value: int) -> None:
        if value == read():
            return
        if not plain:
            raise ValueError(f"{name} cannot be written")
        cpu.set_reg(_FLOAT[name], value)

    return Register(name, 32, read, write, type="int", group="float")


def _tags(state: dict[str, Any]) -> int:
    """The tag word: 0 valid, 1 zero, 2 special, 3 empty for each physical register (SDM vol. 1, 8.1.7)."""
    word = 0
    for n in range(8):
        exponent, significand = state["fpr_se"][n] & 0x7FFF, state["fpr_sig"][n]
        if not state["ftag"] >> n & 1:
            tag = 3
        elif not exponent and not significand:
            tag = 1
        elif exponent in (0, 0x7FFF) or not significand >> 63:
            tag = 2
        else:
            tag = 0
        word |= tag << 2 * n
    return word


# --- PowerPC ---------------------------------------------------------------------------------------------------

# The numbers that gdb's own descriptions have; floating-point registers and the upper halves of an SPE share theirs.
PPC_FLOAT, PPC_SPECIAL, PPC_SPRS = 32, 64, 80


def _ppc(cpu: DebuggedCpu, model: ppc_models.CpuModel) -> Description:
    out = _Writer()
    general = [_by_name(cpu, f"r{n}", 32, type="uint32") for n in range(32)]
    special = [_by_name(cpu, "pc", 32, type="code_ptr"), _by_name(cpu, "msr", 32, type="uint32")]
    special += [_by_name(cpu, "cr", 32, type="uint32"), _by_name(cpu, "lr", 32, type="code_ptr")]
    special += [_by_name(cpu, name, 32, type="uint32") for name in ("ctr", "xer")]
    number = out.feature("org.gnu.gdb.power.core", (*enumerate(general), *enumerate(special, PPC_SPECIAL)))
    if model.has("fpu"):
        file = [_by_name(cpu, f"f{n}", 64, type="ieee_double", group="float") for n in range(32)]
        status = (number, _by_name(cpu, "fpscr", 32, type="uint32", group="float"))
        number = out.feature("org.gnu.gdb.power.fpu", (*enumerate(file, PPC_FLOAT), status))
    if model.has("spe"):
        file = [_upper(cpu, n) for n in range(32)]
        both = [_by_name(cpu, "acc", 64, "spe_acc", type="uint64"), _by_name(cpu, "spefscr", 32, type="uint32")]
        number = out.feature("org.gnu.gdb.power.spe", (*enumerate(file, PPC_FLOAT), *enumerate(both, number)))
    known = {register.name for register in out.registers.values()}
    rest = [_spr(cpu, name) for name in sprs(model) if name not in known]
    out.feature("org.emu.power.spr", enumerate(rest, PPC_SPRS))
    return out.done("powerpc:e500" if model.has("spe") else "powerpc:common", "big", number)


def sprs(model: ppc_models.CpuModel) -> list[str]:
    """The special purpose registers of a model that hold something, by name."""
    rows = (row for row in SPRS.values() if row.register is not None and (not row.needs or model.has(row.needs)))
    return [row.name for row in sorted(rows, key=lambda row: row.number)]


def _spr(cpu: DebuggedCpu, name: str) -> Register:
    if name not in TIMERS:
        return _by_name(cpu, name, 32, type="uint32", group="spr")

    def read() -> int:
        # Timers are brought up to date for the reader, which the digest of the state would show.
        before = cpu.state()
        value = cpu.reg(name)
        if cpu.state() != before:
            cpu.load_state(before)
        return value

    return Register(name, 32, read, lambda value: cpu.set_reg(name, value), type="uint32", group="spr")


def _upper(cpu: DebuggedCpu, n: int) -> Register:
    """The upper half of a general register, which the SPE works with."""
    name = f"evr{n}"
    return Register(
        f"ev{n}h", 32, lambda: cpu.reg(name) >> 32, lambda v: cpu.set_reg(name, cpu.reg(name) & M32 | v << 32),
        type="uint32",
    )  # fmt: skip
