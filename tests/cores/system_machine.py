"""A small machine that runs the system architecture alone: the externs in Python over a bytearray, no devices."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from cores.lang import to_python
from cores.lang.ir import Call, Procedure, walk
from cores.x86 import state as S
from cores.x86.decoder import decode
from cores.x86.forms import Form
from cores.x86.interrupts import deliver, software_interrupt
from cores.x86.models import MODELS, CpuModel, cpuid, reset_values
from cores.x86.paging import load_pdptes
from cores.x86.paging import walk as page_walk
from cores.x86.segment import load_segment, segment_access
from cores.x86.system import io_check
from cores.x86.transfer import far_call, far_jump, far_return, interrupt_return

MASK32 = 0xFFFFFFFF
State: Any = to_python.state_class(S.STATE, "SystemState")


class Fault(Exception):
    """An exception of the guest."""

    def __init__(self, vector: int, error: int) -> None:
        super().__init__(f"{S.VECTOR_NAMES.get(vector, vector)}({error:#x})")
        self.vector, self.error = vector, error


class _Compiled:
    """Procedures and forms as Python functions, each compiled at its first use."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}

    def procedure(self, proc: Any) -> Callable[..., Any]:
        name = to_python.python_name(proc)
        if name not in self.names:
            proc.trace()
            text = to_python.body_text(name, proc.body, proc.args, proc)
            self.names[name] = None
            self._callees(proc.body)
            to_python.compile_text(text, f"<{name}>", self.names)
        got: Callable[..., Any] = self.names[name]
        return got

    def form(self, form: Form) -> Callable[..., Any]:
        name = f"form_{form.ident.replace('|', '_')}"
        if name not in self.names:
            form.trace()
            self._callees(form.block)
            to_python.compile_text(to_python.body_text(name, form.block), f"<{name}>", self.names)
        got: Callable[..., Any] = self.names[name]
        return got

    def _callees(self, block: Any) -> None:
        for stmt in walk(block):
            if isinstance(stmt, Call) and isinstance(stmt.callee, Procedure):
                self.procedure(stmt.callee)


COMPILED = _Compiled()
ENTRY_POINTS = (
    deliver, software_interrupt, load_pdptes, page_walk, load_segment, segment_access, io_check, far_call, far_jump,
    far_return, interrupt_return,
)  # fmt: skip


class Machine:
    """State `s`, physical memory `ram`, and the externs as methods. Helpers below set up tables and modes."""

    def __init__(self, model: str = "pentium3", size: int = 1 << 20) -> None:
        self.ram = bytearray(size)
        self.model: CpuModel = MODELS[model]
        self.s = State()
        for name, value in reset_values(self.model).items():
            if isinstance(value, dict):
                for k, v in value.items():
                    getattr(self.s, name)[k] = v
            else:
                setattr(self.s, name, value)
        self.log: list[tuple[Any, ...]] = []
        self.flushes: list[Any] = []
        self.ns = 0

    def __getattr__(self, name: str) -> Any:
        for size in (8, 16, 32, 64):
            for kind in ("mem_rw", "mem_r", "mem_w", "lin_r", "lin_w", "phys_r", "phys_w"):
                if name == f"{kind}{size}":
                    n = size // 8
                    method = getattr(self, f"_{kind}")
                    return lambda *args: method(n, *args)
        raise AttributeError(name)

    # externs

    def raise_fault(self, vector: int, error: int) -> None:
        raise Fault(vector, error)

    def _phys_r(self, n: int, at: int) -> int:
        return int.from_bytes(self.ram[at : at + n], "little") if at + n <= len(self.ram) else (1 << 8 * n) - 1

    def _phys_w(self, n: int, at: int, value: int) -> None:
        if at + n <= len(self.ram):
            self.ram[at : at + n] = value.to_bytes(n, "little")

    def translate(self, linear: int, access: int) -> int:
        ok, physical, _, error = self.call(page_walk, linear & MASK32, access)
        if not ok:
            self.s.cr2 = linear & MASK32
            raise Fault(S.PF_, error)
        return int(physical)

    def _lin_r(self, n: int, linear: int, user: int) -> int:
        pieces = [self.ram[self.translate(linear + k, user << 1)] for k in range(n)]
        return int.from_bytes(bytes(pieces), "little")

    def _lin_w(self, n: int, linear: int, user: int, value: int) -> None:
        at = [self.translate(linear + k, user << 1 | 1) for k in range(n)]
        for k, a in enumerate(at):
            self.ram[a] = value >> 8 * k & 0xFF

    def lin_probe_w(self, linear: int, user: int, size: int) -> None:
        for k in range(size):
            self.translate(linear + k, user << 1 | 1)

    def mem_probe_w(self, seg: int, offset: int, size: int) -> None:
        self.lin_probe_w(self.call(segment_access, seg, offset, size, 1), int(self.s.cpl == 3), size)

    def _mem_r(self, n: int, seg: int, offset: int) -> int:
        return self._lin_r(n, self.call(segment_access, seg, offset, n, 0), int(self.s.cpl == 3))

    def _mem_rw(self, n: int, seg: int, offset: int) -> int:
        linear = self.call(segment_access, seg, offset, n, 1)
        self.lin_probe_w(linear, int(self.s.cpl == 3), n)
        return self._lin_r(n, linear, int(self.s.cpl == 3))

    def _mem_w(self, n: int, seg: int, offset: int, value: int) -> None:
        self._lin_w(n, self.call(segment_access, seg, offset, n, 1), int(self.s.cpl == 3), value)

    def seg_changed(self, n: int) -> None:
        pass

    def mode_changed(self) -> None:
        self.log.append(("mode",))

    def tlb_flush(self, everything: int) -> None:
        self.flushes.append(everything)

    def tlb_flush_page(self, linear: int) -> None:
        self.flushes.append(("page", linear))

    def debug_changed(self) -> None:
        pass

    def virtual_ns(self) -> int:
        return self.ns

    def cpuid_leaf(self, leaf: int, subleaf: int) -> tuple[int, int, int, int]:
        return cpuid(self.model, leaf, subleaf)

    def feature_word(self, n: int) -> int:
        return self.model.features[n]

    def unimplemented(self, kind: int, number: int) -> None:
        self.log.append(("unimplemented", kind, number))

    def interrupt_coming(self, vector: int, kind: int, error: int, return_eip: int) -> None:
        """What is coming shows again when it is taken, or as the fault that stopped it."""

    def interrupt_taken(self, vector: int, kind: int, error: int, return_eip: int) -> None:
        self.log.append(("taken", vector, kind, error, return_eip))

    def branch(self, target: int) -> None:
        self.s.eip = target

    # running

    def call(self, proc: Any, *args: int) -> Any:
        """Run a procedure; guest exceptions come out as `Fault`."""
        return COMPILED.procedure(proc)(self.s, self, *args)

    def execute(self, code: bytes) -> None:
        """Run one instruction, given by its bytes, as if it stood at CS:EIP."""
        source = iter(code)
        big = bool(self.s.seg_attr[S.CS] >> 14 & 1)
        insn = decode(lambda: next(source), self.s.eip, big, self.model.features)
        if insn.form is None:
            raise Fault(S.UD, 0)
        before = self.s.eip
        COMPILED.form(insn.form)(self.s, self, insn)
        if insn.form.entry.ends != "far" and self.s.eip == before:
            self.s.eip = insn.next

    # tables and registers

    def poke(self, at: int, fmt: str, *values: int) -> None:
        struct.pack_into("<" + fmt, self.ram, at, *values)

    def peek(self, at: int, fmt: str) -> Any:
        got = struct.unpack_from("<" + fmt, self.ram, at)
        return got[0] if len(got) == 1 else got

    def describe(self, table: int, selector: int, base: int, limit: int, access: int, flags: int = 0x4) -> None:
        """Write a segment descriptor: `access` is byte 5, `flags` the four bits G D/B L AVL (G: limit in pages)."""
        high = (base & 0xFF000000) | flags << 20 | (limit & 0xF0000) | access << 8 | (base >> 16 & 0xFF)
        self.poke(table + (selector & ~7), "II", (base & 0xFFFF) << 16 | (limit & 0xFFFF), high)

    def gate(self, at: int, selector: int, offset: int, access: int, count: int = 0) -> None:
        """Write a gate descriptor at a linear address."""
        self.poke(at, "HHBBH", offset & 0xFFFF, selector, count, access, offset >> 16)

    def segment(self, n: int) -> tuple[int, int, int, int]:
        """Selector, base, limit and attributes of a segment register."""
        s = self.s
        return s.seg_sel[n], s.seg_base[n], s.seg_limit[n], s.seg_attr[n]

    @property
    def esp(self) -> int:
        return int(self.s.gpr[S.ESP]) & MASK32

    @esp.setter
    def esp(self, value: int) -> None:
        self.s.gpr[S.ESP] = value

    def real_mode(self, cs: int = 0x1000, ss: int = 0x2000, sp: int = 0x100) -> None:
        """Real mode at CS:0100 with a vector table at 0."""
        s = self.s
        s.seg_sel[S.CS], s.seg_base[S.CS] = cs, cs << 4
        s.seg_sel[S.SS], s.seg_base[S.SS] = ss, ss << 4
        s.idtr_limit = 0x3FF
        s.eip = 0x100
        self.esp = sp


# The protected-mode set-up of the tests: where things are, and the selectors.
GDT, IDT, LDT_AT, TSS_AT, TSS2_AT = 0x1000, 0x2000, 0x3000, 0x4000, 0x5000
CODE0, DATA0, CODE3, DATA3, CONFORMING, TSS_SEL, LDT_SEL, TSS2_SEL, SPARE = (
    0x08, 0x10, 0x1B, 0x23, 0x28, 0x30, 0x38, 0x40, 0x48,
)  # fmt: skip
STACK0, STACK3 = 0x9000, 0xA000


class Protected(Machine):
    """Protected mode at level 0 or 3 with flat segments, a TSS, an LDT and an IDT (selectors above)."""

    def __init__(self, level: int = 0, model: str = "pentium3") -> None:
        super().__init__(model)
        s = self.s
        self.describe(GDT, CODE0, 0, 0xFFFFF, 0x9B, 0xC)
        self.describe(GDT, DATA0, 0, 0xFFFFF, 0x93, 0xC)
        self.describe(GDT, CODE3, 0, 0xFFFFF, 0xFB, 0xC)
        self.describe(GDT, DATA3, 0, 0xFFFFF, 0xF3, 0xC)
        self.describe(GDT, CONFORMING, 0, 0xFFFFF, 0x9F, 0xC)
        self.describe(GDT, TSS_SEL, TSS_AT, 0xFFF, 0x8B, 0)
        self.describe(GDT, LDT_SEL, LDT_AT, 0xFF, 0x82, 0)
        self.describe(GDT, TSS2_SEL, TSS2_AT, 0x67, 0x89, 0)
        self.poke(TSS_AT + 4, "II", STACK0, DATA0)
        self.poke(TSS_AT + 0x66, "H", 0x1000)
        s.gdtr_base, s.gdtr_limit = GDT, 0xFF
        s.idtr_base, s.idtr_limit = IDT, 0x7FF
        s.cr0 = 0x11
        s.seg_sel[S.TR], s.seg_base[S.TR], s.seg_limit[S.TR], s.seg_attr[S.TR] = TSS_SEL, TSS_AT, 0xFFF, 0x8B
        s.seg_sel[S.LDTR], s.seg_base[S.LDTR], s.seg_limit[S.LDTR], s.seg_attr[S.LDTR] = LDT_SEL, LDT_AT, 0xFF, 0x82
        s.cpl = level
        code, data = (CODE0, DATA0) if level == 0 else (CODE3, DATA3)
        for n in range(6):
            s.seg_sel[n] = code if n == S.CS else data
            s.seg_base[n], s.seg_limit[n] = 0, MASK32
            s.seg_attr[n] = (0xC09B if n == S.CS else 0xC093) | level << 5
        s.eip = 0x7000
        self.esp = STACK0 - 0x100 if level == 0 else STACK3

    def virtual_8086(self, iopl: int = 3) -> None:
        """Go over to virtual-8086 mode at 1000:0100 with the stack 2000:0100."""
        s = self.s
        s.eflags = 1 << S.FLAG_VM | iopl << S.FLAG_IOPL | 2 | 1 << S.FLAG_IF
        s.cpl = 3
        for n, sel in enumerate((0x3000, 0x1000, 0x2000, 0x3001, 0x3002, 0x3003)):
            s.seg_sel[n], s.seg_base[n], s.seg_limit[n], s.seg_attr[n] = sel, sel << 4, 0xFFFF, 0xF3
        s.eip = 0x100
        self.esp = 0x100


def fault_of(run: Callable[[], object]) -> tuple[int, int] | None:
    """Vector and error code of the guest exception that `run` raises, or None."""
    try:
        run()
    except Fault as f:
        return f.vector, f.error
    return None
