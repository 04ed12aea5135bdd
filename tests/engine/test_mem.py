"""The engine's way to memory: what it may answer without asking the bus."""

from __future__ import annotations

import pytest

from tests.cores.insn_machine import InsnMachine

pytest.importorskip("emu.engine._x86")

LOAD = b"\xa1\x20\x00\xe0\xfe"  # mov eax, [FEE00020h]
LOAD_WORD = b"\x31\xc0\x66\xa1\x20\x00\xe0\xfe"  # xor eax, eax; mov ax, [FEE00020h]
CHANGE = b"\xff\x05\x20\x00\xe0\xfe" + LOAD  # inc dword [FEE00020h]; mov eax, [FEE00020h]
NOBODY = 0xFFFFFFFF


def loaded(m: InsnMachine, code: bytes = LOAD) -> int:
    assert m.run(code) is None
    return int(m.cpu.reg("eax"))


def test_a_steady_register_is_read_without_the_bus_until_the_promise_ends() -> None:
    m = InsnMachine()
    assert loaded(m) == NOBODY
    m.cpu.set_steady(0xFEE00020, 0x05000000)
    assert loaded(m) == 0x05000000
    m.cpu.set_steady(0xFEE00020, 0x06000000)
    assert loaded(m) == 0x06000000
    m.cpu.set_steady(0xFEE00020, None)
    assert loaded(m) == NOBODY


def test_only_aligned_32_bit_reads_of_that_register_are_answered() -> None:
    m = InsnMachine()
    m.cpu.set_steady(0xFEE00020, 7)
    assert loaded(m, LOAD_WORD) == 0xFFFF
    assert loaded(m, LOAD.replace(b"\x20", b"\x24")) == NOBODY
    assert loaded(m, LOAD.replace(b"\x20", b"\x21")) == NOBODY


def test_a_read_that_goes_on_to_write_asks_the_bus() -> None:
    m = InsnMachine()
    m.cpu.set_steady(0xFEE00020, 7)
    before = m.cpu.stats()
    assert loaded(m, CHANGE) == 7
    after = m.cpu.stats()
    assert [after[k] - before[k] for k in ("mmio_reads", "mmio_writes")] == [1, 1]


def test_steady_registers_are_few() -> None:
    m = InsnMachine()
    with pytest.raises(ValueError, match="too many steady registers"):
        for k in range(100):
            m.cpu.set_steady(0xFEE00000 + 4 * k, k)
