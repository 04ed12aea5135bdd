"""A machine just large enough to run one form of the SSE chapters on the Python lowering: flat memory, no paging."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from types import SimpleNamespace
from typing import Any

import cores.x86.mmx
import cores.x86.sse
import cores.x86.sse2
import cores.x86.sse3  # noqa: F401
from cores.lang import softfloat
from cores.lang.ir import Block, Call, Procedure, walk
from cores.lang.to_python import body_text, compile_text, state_class
from cores.x86 import state as S
from cores.x86.forms import ENTRIES, Form, expand

State = state_class(S.STATE, "State")
SIZE = 0x1000
CHAPTERS = ("sse", "sse2", "sse3", "mmx")


class Fault(Exception):
    """An exception of the guest: `vector` and `error`."""

    def __init__(self, vector: int, error: int) -> None:
        super().__init__(f"{S.VECTOR_NAMES.get(vector, vector)}({error:#x})")
        self.vector = vector
        self.error = error


class Machine:
    """State and `SIZE` bytes of memory; an access beyond them is a page fault, beyond the limit #GP."""

    def __init__(self) -> None:
        self.state: Any = State()
        self.state.cr4 = 1 << S.CR4_OSFXSR | 1 << S.CR4_OSXMMEXCPT
        self.state.cr0 = 1 << S.CR0_NE
        for seg in range(6):
            self.state.seg_limit[seg] = 0xFFFFFFFF
        self.memory = bytearray(SIZE)
        for width in (8, 16, 32, 64):
            for name in ("mem_r", "mem_rw"):
                setattr(self, f"{name}{width}", partial(self._read, width // 8))
            setattr(self, f"mem_w{width}", partial(self._write, width // 8))

    def _at(self, seg: int, offset: int, size: int) -> int:
        if offset + size - 1 > self.state.seg_limit[seg]:
            raise Fault(S.GP, 0)
        at = (self.state.seg_base[seg] + offset) & 0xFFFFFFFF
        if at + size > SIZE:
            raise Fault(S.PF_, 0)
        return int(at)

    def _read(self, size: int, seg: int, offset: int) -> int:
        at = self._at(seg, offset, size)
        return int.from_bytes(self.memory[at : at + size], "little")

    def _write(self, size: int, seg: int, offset: int, value: int) -> None:
        at = self._at(seg, offset, size)
        self.memory[at : at + size] = value.to_bytes(size, "little")

    def mem_probe_r(self, seg: int, offset: int, size: int) -> None:
        self._at(seg, offset, size)

    mem_probe_w = mem_probe_r

    def raise_fault(self, vector: int, error: int) -> None:
        raise Fault(vector, error)

    def x87_unseen(self) -> int:
        return 0

    def __getattr__(self, name: str) -> Any:
        try:
            return softfloat.FUNCTIONS[name]
        except KeyError:
            raise AttributeError(name) from None

    def xmm(self, n: int) -> int:
        """The 128 bits of a register."""
        return int(self.state.xmm_lo[n] | self.state.xmm_hi[n] << 64)

    def set_xmm(self, n: int, value: int) -> None:
        """Write the 128 bits of a register."""
        self.state.xmm_lo[n] = value & (1 << 64) - 1
        self.state.xmm_hi[n] = value >> 64

    def execute(self, form: Form, *, reg: int = 0, rm: int = 0, disp: int = 0, imm: int = 0) -> None:
        """Run one form; memory operands are at `DS:disp`. Raises `Fault`."""
        fields = SimpleNamespace(
            reg=reg, rm=rm, base=16, index=16, scale=1, disp=disp, seg=S.DS, imm=imm, imm2=0, eamask=0xFFFFFFFF, next=0
        )
        compiled(form)(self.state, self, fields)


@cache
def forms() -> dict[str, list[Form]]:
    """The forms of the SSE chapters by mnemonic."""
    found: dict[str, list[Form]] = {}
    for entry in ENTRIES:
        if entry.chapter in CHAPTERS:
            for form in expand(entry):
                found.setdefault(form.mnemonic, []).append(form)
    return found


def find(mnemonic: str, *codes: str, mem: bool = False) -> Form:
    """The form of a mnemonic with these operand codes (any, if none are given) and a register or memory operand."""
    for form in forms()[mnemonic]:
        if (not codes or form.codes == codes) and (form.mem == 1) == mem:
            return form
    raise LookupError(f"{mnemonic} {codes} {mem}")


_space: dict[str, Any] = {}


def _need(block: Block) -> None:
    for stmt in walk(block):
        if isinstance(stmt, Call) and isinstance(stmt.callee, Procedure):
            p = stmt.callee
            name = f"proc_{p.name}"
            if name not in _space:
                _space[name] = None
                _need(p.body)
                compile_text(body_text(name, p.body, p.args, p), f"<{name}>", _space)


_functions: dict[str, Callable[[Any, Any, Any], None]] = {}


def compiled(form: Form) -> Callable[[Any, Any, Any], None]:
    """The Python function of a form."""
    if form.ident not in _functions:
        form.trace()
        _need(form.block)
        compile_text(body_text(form.ident, form.block), f"<{form.ident}>", _space)
        _functions[form.ident] = _space[form.ident]
    return _functions[form.ident]


def eflags(state: Any) -> int:
    """The six arithmetic flags of a state, in their EFLAGS positions."""
    overflow, sign = state.cc_aux >> 31 ^ state.cf, state.cc_s >> 31
    parity = 1 - bin(state.cc_s & 0xFF).count("1") % 2
    adjust = state.cc_aux >> 4 & 1
    return int(state.cf | parity << 2 | adjust << 4 | int(state.cc_z == 0) << 6 | sign << 7 | overflow << 11)
