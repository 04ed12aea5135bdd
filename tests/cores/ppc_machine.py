"""A small PowerPC for tests: one instruction word at a time through the Python lowering, flat big-endian memory.

Addresses are not translated by themselves: what the MMUs say is asked with `m.call("walk", ...)`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from cores.lang import softfloat
from cores.lang.ir import Block, Call, Procedure, walk
from cores.lang.to_python import body_text, compile_text, python_name, state_class
from cores.ppc import state as S
from cores.ppc.decoder import ALL, Insn, allowed, by_mnemonic, decode, encode, forms
from cores.ppc.forms import halves_swapped, with_field
from cores.ppc.models import model as model_of
from cores.ppc.models import reset_values
from cores.ppc.procedures import ROOTS

SUITES = Path(os.environ.get("EMU_SHARED", Path(__file__).parents[3] / "shared")) / "suites"
State = state_class(S.STATE, "PpcState")
LINE = 32


class Interrupt(Exception):
    """An interrupt by its IVOR number, with ESR and DEAR."""

    def __init__(self, ivor: int, esr: int = 0, dear: int = 0) -> None:
        super().__init__(f"IVOR{ivor} ESR {esr:08x}")
        self.ivor = ivor
        self.esr = esr
        self.dear = dear


class IllegalInstruction(Exception):
    """No form fits the word."""


@cache
def procedure(p: Procedure) -> Callable[..., Any]:
    """The Python function of a procedure."""
    namespace = dict(procedures(p.body))
    name = python_name(p)
    compile_text(body_text(name, p.body, p.args, p), f"<ppc {name}>", namespace)
    found: Callable[..., Any] = namespace[name]
    return found


def procedures(block: Block) -> Iterator[tuple[str, Any]]:
    """The procedures that a body calls, by the names its text has for them."""
    for stmt in walk(block):
        if isinstance(stmt, Call) and isinstance(stmt.callee, Procedure):
            yield python_name(stmt.callee), procedure(stmt.callee)


def set_state(state: Any, values: dict[str, int | dict[int, int]]) -> None:
    """Registers by name; elements of files by index."""
    for name, v in values.items():
        if isinstance(v, dict):
            for k, element in v.items():
                getattr(state, name)[k] = element
        else:
            setattr(state, name, v)


@cache
def root(name: str) -> Callable[..., Any]:
    """The Python function of a procedure that the engine calls by name."""
    for p in ROOTS:
        if p.name == name:
            p.trace()
            return procedure(p)
    raise KeyError(name)


@cache
def function(form_number: int) -> Callable[..., None]:
    """The Python function of a form."""
    form = forms()[form_number]
    form.trace()
    namespace = dict(procedures(form.block))
    name = f"op_{form.ident}"
    compile_text(body_text(name, form.block), f"<ppc {name}>", namespace)
    found: Callable[..., None] = namespace[name]
    return found


class Machine:
    """Registers are `m.s`; `m.gpr` and `m.xer` are for comfort. Memory is 64 KiB that repeats over all addresses.

    Without a model it has the forms of all of them."""

    def __init__(self, model: str | None = None) -> None:
        self.s: Any = State()
        self.features = ALL
        if model is None:
            self.s.msr = 1 << S.MSR_FP
            self.s.msr_mask = 0xFFFFFFFF
            self.s.features = model_of("460EX").features
        else:
            self.features = model_of(model).features
            set_state(self.s, reset_values(model_of(model)))
        self.dcrs: dict[int, int] = {}
        self.vector = 0
        self.forgotten: list[tuple[int, int]] = []
        self.resets: list[int] = []
        self.unknown: list[tuple[int, int]] = []
        self.memory = bytearray(0x10000)
        self.ticks = 0
        self.calls: list[str] = []
        self.target: int | None = None

    def run(self, word: int) -> Insn:
        """Execute one instruction at PC; raises `Interrupt`, `IllegalInstruction`."""
        insn = decode(word, self.s.pc, self.features)
        if insn is None:
            raise IllegalInstruction(f"{word:08x}")
        self.target = None
        function(insn.form.number)(self.s, self, insn)
        if insn.form.entry.ends != "far":
            self.s.pc = insn.next if self.target is None else self.target
        return insn

    def do(self, name: str, **fields: int) -> Insn:
        """Execute an instruction by mnemonic and fields."""
        if self.features == ALL:
            return self.run(encode(name, **fields))
        form = next(f for f in by_mnemonic()[name] if allowed(f, self.features))
        word = form.value
        for field, v in fields.items():
            word = with_field(word, field, v)
        return self.run(word)

    def call(self, name: str, *args: int) -> Any:
        """Run a procedure of `procedures.ROOTS`."""
        return root(name)(self.s, self, *args)

    def mfspr(self, name: str) -> int:
        """Read a special purpose register by its instruction."""
        self.do(f"mf{name}", rt=31)
        return int(self.s.gpr[31] & 0xFFFFFFFF)

    def mtspr(self, name: str, v: int) -> None:
        """Write a special purpose register by its instruction."""
        self.s.gpr[31] = v
        self.do(f"mt{name}", rs=31)

    def mtspr_raw(self, number: int, v: int) -> None:
        """Write a special purpose register by number."""
        self.s.gpr[31] = v
        self.run(0x7FE003A6 | halves_swapped(number) << 11)

    @property
    def xer(self) -> int:
        s = self.s
        return int(s.xer_so << 31 | s.xer_ov << 30 | s.xer_ca << 29 | s.xer_count)

    @xer.setter
    def xer(self, v: int) -> None:
        s = self.s
        s.xer_so, s.xer_ov, s.xer_ca, s.xer_count = v >> 31 & 1, v >> 30 & 1, v >> 29 & 1, v & 0x7F

    def put(self, address: int, data: bytes) -> None:
        for k, b in enumerate(data):
            self.memory[(address + k) & 0xFFFF] = b

    def get(self, address: int, count: int) -> bytes:
        return bytes(self.memory[(address + k) & 0xFFFF] for k in range(count))

    # --- externs of the spec
    def branch(self, target: int) -> None:
        self.target = target

    def raise_interrupt(self, ivor: int, esr: int) -> None:
        raise Interrupt(ivor, esr, self.s.fault_dear)

    def tlb_forget(self, ea: int, mask: int) -> None:
        self.forgotten.append((ea, mask))

    def timers_changed(self) -> None:
        self.calls.append("timers_changed")

    def dcr_r(self, n: int) -> int:
        return self.dcrs.get(n, 0)

    def dcr_w(self, n: int, v: int) -> None:
        self.dcrs[n] = v

    def acknowledge(self) -> int:
        return self.vector

    def reset_request(self, kind: int) -> None:
        self.resets.append(kind)

    def unimplemented(self, kind: int, number: int) -> None:
        self.unknown.append((kind, number))

    def mem_probe_r(self, address: int) -> None:
        pass

    def mem_probe_w(self, address: int) -> None:
        pass

    def physical(self, address: int) -> int:
        return address & 0xFFFF

    def still_holds(self, address: int, granule: int, value: int) -> int:
        return int(self.physical(address) & ~31 == granule and self.mem_r32(address) == value)

    def zero_line(self, address: int) -> None:
        self.put(address & -LINE, bytes(LINE))

    def external_read(self, address: int, size: int) -> int:
        return int.from_bytes(self.get(address, size), "big")

    def external_write(self, address: int, size: int, v: int) -> None:
        self.put(address, v.to_bytes(size, "big"))

    def external_probe(self, address: int) -> None:
        pass

    def external_zero(self, address: int) -> None:
        self.zero_line(address)

    def code_line(self, address: int) -> None:
        self.calls.append("code_line")

    def context_synchronize(self) -> None:
        self.calls.append("context_synchronize")

    def mode_changed(self) -> None:
        self.calls.append("mode_changed")

    def time_base(self) -> int:
        return self.ticks

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("mem_r"):
            return lambda address: int.from_bytes(self.get(address, int(name[5:]) // 8), "big")
        if name.startswith("mem_w"):
            return lambda address, v: self.put(address, v.to_bytes(int(name[5:]) // 8, "big"))
        if name in softfloat.FUNCTIONS:
            return softfloat.FUNCTIONS[name]
        raise AttributeError(name)
