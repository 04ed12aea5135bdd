"""Whole boots with a code cache that is full again and again (A9): the same end as with all the room in the world.

`EMU_CACHE_AUTORUN=cpu` boots for longer: tens of thousands of times the smallest cache is full then.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import pytest

from emu.boards import Setup
from emu.options import parse
from emu.tools import cosim
from tests.guests.command import guest

for _core in ("x86", "ppc"):
    pytest.importorskip(f"emu.engine._{_core}")
pytestmark = pytest.mark.guest

AUTORUN = os.environ.get("EMU_CACHE_AUTORUN", "poweroff")
FULL = {"poweroff": 100, "cpu": 4000}
"""How often the smallest cache must be full for this to mean anything."""
BOARDS = {
    "pc": ("linux-i386", "bzImage", "initrd.gz", ""),
    "bamboo": ("linux-bamboo", "vmlinux", "rootfs.gz", "rdinit=/autorun "),
}
FOREVER = 1 << 40


@cache
def boot(board: str, size: int | None) -> tuple[list[Any], int]:
    """How a boot ended, and how often its code cache was full. Skips the test without a JIT."""
    folder, kernel, initrd, append = BOARDS[board]
    files = ["-kernel", guest(folder, kernel), "-initrd", guest(folder, initrd)]
    words = ["-M", board, "-m", "64", "-nographic", "-no-reboot", *files]
    config = parse([*words, "-append", f"console=ttyS0 {append}autorun={AUTORUN}"])
    config.jit_size = size
    side = cosim.build(config, Setup(config).date, "jit")
    if side.machine.cpu.stats()["tier"] != "jit":
        pytest.skip("the JIT has no back end for this host")
    side.run_to(FOREVER)
    stats = side.machine.cpu.stats()
    # Forgetting all decoded code empties the cache, too.
    return [side.machine.digest(), *side.summary()], stats["jit_flushes"] - stats["code_flushes"]


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("size", [1 << 16, 1 << 20], ids=["64 KiB", "1 MiB"])
def test_a_boot_ends_the_same_however_small_the_code_cache_is(board: str, size: int) -> None:
    usual, never = boot(board, None)
    small, full = boot(board, size)
    assert small == usual
    assert never <= 1
    assert full > (FULL[AUTORUN] if size == 1 << 16 else 1)
