"""Single instructions on a whole processor of either tier, in flat 32-bit protected mode at ring 0.

What the suites of recorded instructions run on. Every vector ends in a HLT, so a fault is seen as its vector.
"""

from __future__ import annotations

from typing import Any

from cores.x86 import state as S
from tests.cores.flat import make_cpu

CODE, DATA, STACK, HANDLERS, IDT = 0x10000, 0x20000, 0x30000, 0x8000, 0x9000
SIZE = 1 << 20
SELECTOR = 8
_GATE = SELECTOR << 16 | 0x8E << 40


class InsnMachine:
    """A processor, its RAM and a place for code."""

    def __init__(self, tier: str = "interp", model: str = "max", *, big: bool = True) -> None:
        self.cpu, self.ram = make_cpu(tier, SIZE, model)
        view = self.ram.view
        view[HANDLERS : HANDLERS + 0x100] = b"\xf4" * 0x100
        for k in range(0x100):
            at = HANDLERS + k
            gate = _GATE | at & 0xFFFF | at >> 16 << 48
            view[IDT + 8 * k : IDT + 8 * k + 8] = gate.to_bytes(8, "little")
        # GDT at 0: null, code, data.
        for k, access in enumerate((0x9B, 0x93), start=1):
            view[8 * k : 8 * k + 8] = (0x00CF00000000FFFF | access << 40).to_bytes(8, "little")
        mode = 0x4000 if big else 0
        self.base: dict[str, Any] = {
            "cr0": 1 | 1 << S.CR0_ET | 1 << S.CR0_NE,
            "cr4": 1 << S.CR4_OSFXSR | 1 << S.CR4_OSXMMEXCPT,
            "seg_sel": [16, 8, 16, 16, 16, 16, 0, 0],
            "seg_base": [0] * 8,
            "seg_limit": [0xFFFFFFFF] * 8,
            "seg_attr": [0xC093, 0x809B | mode, 0xC093, 0xC093, 0xC093, 0xC093, 0, 0],
            "gdtr_base": 0,
            "gdtr_limit": 23,
            "idtr_base": IDT,
            "idtr_limit": 0x7FF,
            "cpl": 0,
            "gpr": [0, 0, 0, 0, STACK, 0, 0, 0] + [0] * 9,
            "fctrl": 0x37F,
            "ftag": 0,
        }
        self.cpu.load_state(self.base)
        self._known: dict[bytes, int] = {}
        self._free = CODE

    def place(self, code: bytes) -> int:
        """Where this code stands, followed by a HLT."""
        at = self._known.get(code)
        if at is None:
            if self._free + len(code) > DATA - 32:
                self._known.clear()
                self._free = CODE
            at = self._free
            self.poke(at, code + b"\xf4")
            self._free += len(code) + 17 & ~15
            self._known[code] = at
        return at

    def run(self, code: bytes, eflags: int = 2, **state: Any) -> int | None:
        """Run the instructions of `code` once from this state; gives the vector of an exception, or None.

        ESP is left as it was where nothing was raised, else the frame lies on the stack."""
        cpu = self.cpu
        at = self.place(code)
        cpu.load_state({**state, "eip": at, "halted": 0})
        cpu.set_reg("eflags", eflags)
        cpu.run(len(code) + 1)
        end = cpu.reg("eip")
        if end == at + len(code) + 1:
            return None
        if not (cpu.halted and HANDLERS < end <= HANDLERS + 0x100):
            raise AssertionError(f"{code.hex()} went to {end:#x}, not {at + len(code) + 1:#x}")
        return int(end - 1 - HANDLERS)

    def poke(self, at: int, data: bytes) -> None:
        """Write memory."""
        self.ram.view[at : at + len(data)] = data
        self.cpu.invalidate(at, len(data))

    def peek(self, at: int, size: int) -> bytes:
        """Read memory."""
        return bytes(self.ram.view[at : at + size])
