"""The compiled processor: the only Python that sees ffi and lib.

`X86Cpu` satisfies `emu.cpu.Cpu`; boards make it, the machine loop runs it.
"""

from __future__ import annotations

from emu.engine.x86 import X86Cpu

__all__ = ["X86Cpu"]
