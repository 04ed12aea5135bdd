"""The compiled processor: the only Python that sees ffi and lib.

`X86Cpu` satisfies `emu.cpu.Cpu`; boards make it, the machine loop runs it. It is imported at first use, because the
builder lives in this package and runs before there is anything to import.
"""

from __future__ import annotations

from typing import Any

__all__ = ["X86Cpu"]


def __getattr__(name: str) -> Any:
    if name == "X86Cpu":
        from emu.engine.x86 import X86Cpu

        return X86Cpu
    raise AttributeError(name)
