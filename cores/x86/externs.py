"""What x86 bodies may call that is not written in the spec: memory, ports, faults, and notices to the engine.

C has them in `cores/x86/mmu.c` and `emu/engine`, the reference in `cores/x86/reference.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..lang.softfloat import OPERATIONS
from ..lang.trace import Extern, Operand, Val, const, value, when

E = Extern
# Access through a segment: limit, type and paging checks at the current CPL. (segment 8, offset 32)
MEM_R = {w: E(f"mem_r{w}", (8, 32), (w,), faults=True) for w in (8, 16, 32, 64)}
MEM_RW = {w: E(f"mem_rw{w}", (8, 32), (w,), faults=True) for w in (8, 16, 32, 64)}  # read, but check write rights first
MEM_W = {w: E(f"mem_w{w}", (8, 32, w), (), faults=True) for w in (8, 16, 32, 64)}
# The same checks for `size` bytes without an access. (segment, offset, size)
mem_probe_r = E("mem_probe_r", (8, 32, 32), (), faults=True)
mem_probe_w = E("mem_probe_w", (8, 32, 32), (), faults=True)
# Access by linear address. (linear 32, user 1): user 0 has supervisor rights, as descriptor tables and the TSS want.
LIN_R = {w: E(f"lin_r{w}", (32, 1), (w,), faults=True) for w in (8, 16, 32, 64)}
LIN_W = {w: E(f"lin_w{w}", (32, 1, w), (), faults=True) for w in (8, 16, 32, 64)}
lin_probe_w = E("lin_probe_w", (32, 1, 32), (), faults=True)
# Physical memory, for page tables. Addresses are 64 bits wide.
phys_r32 = E("phys_r32", (64,), (32,))
phys_r64 = E("phys_r64", (64,), (64,))
phys_w32 = E("phys_w32", (64, 32))
phys_w64 = E("phys_w64", (64, 64))

port_r = E("port_r", (16, 8), (32,), faults=True)  # (port, bytes)
port_w = E("port_w", (16, 8, 32), (), faults=True)  # (port, bytes, value)
# Several iterations of a repeated string instruction at once; they give the number done (0: do one in the spec).
# (segment, source, destination, count, bytes, address size), (destination, value, ...), (port, ...)
bulk_movs = E("bulk_movs", (8, 32, 32, 32, 8, 8), (32,))
bulk_stos = E("bulk_stos", (32, 32, 32, 8, 8), (32,))
bulk_ins = E("bulk_ins", (16, 32, 32, 8, 8), (32,))
bulk_outs = E("bulk_outs", (16, 8, 32, 32, 8, 8), (32,))
raise_fault = E("raise_fault", (8, 32), raises=True)  # (vector, error code)

seg_changed = E("seg_changed", (8,))  # after writing a segment's base, limit or attributes
mode_changed = E("mode_changed")  # after CR0, CR4, CPL, EFLAGS.VM/TF, CS or SS changed in kind
tlb_flush = E("tlb_flush", (1,))  # 1: global entries too
tlb_flush_page = E("tlb_flush_page", (32,))
debug_changed = E("debug_changed")  # after DR0-DR7 changed
virtual_ns = E("virtual_ns", (), (64,))
cpuid_leaf = E("cpuid_leaf", (32, 32), (32, 32, 32, 32))
feature_word = E("feature_word", (8,), (32,))  # word as in state.FEATURES
apic_base_changed = E("apic_base_changed", (32,))  # the low half of the new IA32_APIC_BASE
tsc_deadline_changed = E("tsc_deadline_changed", (64,))  # IA32_TSC_DEADLINE as virtual ns, to the local APIC; 0: none
unimplemented = E("unimplemented", (32, 32))  # (kind 1: MSR, number): named once in the log
ferr = E("ferr")  # CR0.NE is 0 and an unmasked x87 exception is pending: FERR# is driven (IRQ 13 on a PC)
interrupt_coming = E("interrupt_coming", (8, 8, 32, 32))  # (vector, kind, error, return EIP); nothing has changed yet
interrupt_taken = E("interrupt_taken", (8, 8, 32, 32))  # the same, once nothing can fail any more

# Exceptions that a unit of the host holds and FSTAT does not show yet; only traces of the JIT leave any there.
x87_unseen = E("x87_unseen", (), (16,), pure=True)

# IEEE arithmetic, one extern for each operation of cores/lang/softfloat.
FLOAT = {name: E(name, ins, outs, pure=True) for name, (ins, outs) in OPERATIONS.items()}


def fault(vector: int, error: Operand = 0) -> None:
    """Leave the instruction by an exception; state written so far stays."""
    raise_fault(vector, value(error, 32))


def trap_if(cond: Operand, vector: int, error: Operand = 0) -> None:
    """Leave by an exception where `cond` holds."""
    with when(cond, likely=False):
        fault(vector, error)


@contextmanager
def unlikely(cond: Operand) -> Iterator[None]:
    """`when`, with the hint that it is rare."""
    with when(cond, likely=False):
        yield


def u32(x: int) -> Val:
    """A 32-bit constant."""
    return const(x, 32)
