"""Which tiers the tests run on, and which two a test of both compares.

A test module that marks itself with `usefixtures("tiers")` (tests/conftest.py) runs once for each of `PAIRS`; `chosen`
is the pair of now. The JIT translates at once there, or short programs would never meet it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pytest

TIERS = ("interp", "reference", "jit")
PAIRS = (("interp", "reference"), ("jit", "interp"))
CORES = {"x86": "X86Cpu", "ppc": "PpcCpu"}
_chosen = [PAIRS[0]]


def chosen() -> tuple[str, str]:
    """The two tiers to compare."""
    return _chosen[-1]


@contextmanager
def comparing(pair: tuple[str, str]) -> Iterator[None]:
    """Make it this pair for a while."""
    _chosen.append(pair)
    try:
        yield
    finally:
        _chosen.pop()


TIER = os.environ.get("EMU_DIFFERENTIAL_TIER", "interp")
"""The tier that the comparisons with Unicorn run on."""


def against_the_oracle(core: str, bus: Any, ram: Any, *model: str) -> Any:
    """A processor for steps of one instruction. Each has a block of its own, so that a step runs translated code."""
    cpu = processor(core, TIER, bus, ram, *model)
    if TIER != "reference":
        cpu._c.block_limit = 1
    return cpu


def processor(core: str, tier: str, bus: Any, ram: Any, *model: str, jit_size: int | None = None) -> Any:
    """A processor of a tier. Skips the test where the JIT has no back end."""
    name = CORES[core]
    if tier == "reference":
        return getattr(import_module(f"cores.{core}.reference"), name)(bus, ram, *model)
    cpu = getattr(import_module("emu.engine"), name)(bus, ram, *model, accel=tier, jit_size=jit_size)
    if tier == "jit":
        if cpu.tier != "jit":
            pytest.skip("the JIT has no back end for this core on this host")
        cpu.jit_threshold = 1
    return cpu
