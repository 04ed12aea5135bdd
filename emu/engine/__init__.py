"""The compiled processors: the only Python that sees ffi and lib.

`X86Cpu` and `PpcCpu` satisfy `emu.cpu.Cpu`; boards make them, the machine loop runs them. They are imported at first
use, because the builder lives in this package and runs before there is anything to import.
"""

from __future__ import annotations

from typing import Any

__all__ = ["PpcCpu", "X86Cpu"]


def __getattr__(name: str) -> Any:
    if name == "X86Cpu":
        from emu.engine.x86 import X86Cpu

        return X86Cpu
    if name == "PpcCpu":
        from emu.engine.ppc import PpcCpu

        return PpcCpu
    raise AttributeError(name)
