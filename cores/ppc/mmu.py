"""`walk`, the translation that the engine asks for, whatever MMU the model has."""

from __future__ import annotations

from ..lang.trace import Val, procedure, return_, when
from . import state as S
from .mmu440 import walk_440
from .mmu_e500 import walk_e500
from .registers import get


@procedure(32, 8, results=(1, 64, 8, 8, 32))
def walk(ea: Val, access: Val) -> None:
    """Translate an address: found, physical address, rights, or else IVOR and ESR of the interrupt.

    `access`: 1 store, 2 problem state, 4 fetch. Rights: 1 stores and loads allowed, 2 little-endian, 4 caching
    inhibited, 8 guarded, 16 not to be remembered (a page smaller than 4 KiB)."""
    with when(get(S.MMU_KIND) == 0):
        return_(*walk_440(ea, access))
    return_(*walk_e500(ea, access))
