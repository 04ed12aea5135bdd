"""A new CR3 forgets translations of data and of code, but not those of global pages (SDM vol. 3, 4.10.2.4)."""

from __future__ import annotations

from struct import pack

import pytest

from cores.x86 import state as S
from tests.cores.insn_machine import InsnMachine
from tests.cores.tiers import TIERS

DIRECTORY, TABLE, PAGES = 0x30000, 0x31000, (0x32000, 0x33000)
WINDOW, CALLS = 0x00800000, 0x00801000
P, RW, PS, G = 1, 2, 1 << 7, 1 << 8
RELOAD = "0f20d9 0f22d9"  # mov ecx, cr3; mov cr3, ecx
PGE_OFF = "0f20e1 80f180 0f22e1"  # mov ecx, cr4; xor cl, 80h; mov cr4, ecx


def word(value: int) -> str:
    return pack("<I", value).hex()


def windows(tier: str, flush: str, *, bit: int, cr4: int = 1 << S.CR4_PGE) -> list[int]:
    """What a load and a call through windows find before and behind `flush`, the windows' entries changed meanwhile."""
    m = InsnMachine(tier)
    for n, page in enumerate(PAGES):
        m.poke(page, pack("<I", n + 1))
        m.poke(page + 16, bytes.fromhex(f"be{n + 1:02x}000000 c3"))  # mov esi, n + 1; ret
    m.poke(DIRECTORY, pack("<I", P | RW | PS) + pack("<II", 0, TABLE | P | RW))
    m.poke(TABLE, pack("<II", PAGES[0] | P | RW | bit, PAGES[0] | P | RW | bit))
    look = f"a1{word(WINDOW)} bf{word(CALLS + 16)} ffd7"  # mov eax, [window]; mov edi, function; call edi
    change = "".join(f"c705{word(at)}{word(PAGES[1] | P | RW | bit)}" for at in (TABLE, TABLE + 4))
    paging = {"cr0": m.base["cr0"] | 1 << S.CR0_PG, "cr3": DIRECTORY, "cr4": 1 << S.CR4_PSE | cr4}
    assert m.run(bytes.fromhex(f"{look} 89c3 89f5 {change} {flush} {look}"), **paging) is None
    return [int(m.cpu.reg(name)) for name in ("ebx", "ebp", "eax", "esi")]


@pytest.mark.parametrize("tier", TIERS)
def test_global_pages_outlive_a_new_cr3(tier: str) -> None:
    pytest.importorskip("emu.engine._x86")
    assert windows(tier, RELOAD, bit=G) == [1, 1, 1, 1]


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize(
    ("flush", "bit", "cr4"),
    [
        (RELOAD, 0, 1 << S.CR4_PGE),
        (RELOAD, G, 0),
        (PGE_OFF, G, 1 << S.CR4_PGE),
        ("0f013d00008000 0f013d10108000", G, 1 << S.CR4_PGE),  # invlpg of both
    ],
)
def test_other_pages_and_other_flushes_forget(tier: str, flush: str, bit: int, cr4: int) -> None:
    pytest.importorskip("emu.engine._x86")
    assert windows(tier, flush, bit=bit, cr4=cr4) == [1, 1, 2, 2]
