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


IN = b"\x31\xc0\xe4\x61"  # xor eax, eax; in al, 61h
IN_WORD = b"\x31\xc0\x66\xe5\x61"  # xor eax, eax; in ax, 61h
OUT = b"\xb0\x07\xe6\x61"  # mov al, 7; out 61h, al
OUT_OTHER = b"\xb0\x08\xe6\x61"


class Ports:
    """Keeps the accesses that reach it."""

    def __init__(self, m: InsnMachine) -> None:
        self.reads: list[int] = []
        self.writes: list[tuple[int, int]] = []
        m.cpu._boundary.ports = self

    def port_read(self, port: int, width: int) -> int:
        self.reads.append(port)
        return (1 << 8 * width) - 1

    def port_write(self, port: int, width: int, value: int) -> None:
        self.writes.append((port, value))


def test_a_steady_port_is_read_without_the_bus_until_its_time() -> None:
    m = InsnMachine()
    ports = Ports(m)
    now = m.cpu.icount * 10 + m.cpu.time_offset
    m.cpu.set_steady_port(0x61, 7, now + 1000)
    assert loaded(m, IN) == 7 and not ports.reads
    m.cpu.time_offset += 1000
    assert loaded(m, IN) == 0xFF and ports.reads == [0x61]
    m.cpu.set_steady_port(0x61, 7)
    assert loaded(m, IN) == 7 and loaded(m, IN_WORD) == 0xFFFF
    m.cpu.set_steady_port(0x61, None)
    assert loaded(m, IN) == 0xFF


def test_only_a_write_of_the_value_that_is_there_is_dropped() -> None:
    m = InsnMachine()
    ports = Ports(m)
    m.cpu.set_steady_port(0x61, 7)
    assert m.run(OUT) is None and ports.writes == [(0x61, 7)]
    m.cpu.set_steady_port(0x61, 7, writes=True)
    assert m.run(OUT) is None and m.run(OUT_OTHER) is None and ports.writes == [(0x61, 7), (0x61, 8)]


def test_a_reset_ends_the_promises_about_ports() -> None:
    m = InsnMachine()
    ports = Ports(m)
    m.cpu.set_steady_port(0x61, 7)
    m.cpu.reset()
    m.cpu.load_state(m.base)
    assert loaded(m, IN) == 0xFF and ports.reads == [0x61]


def test_steady_ports_are_few() -> None:
    m = InsnMachine()
    with pytest.raises(ValueError, match="too many steady ports"):
        for port in range(100):
            m.cpu.set_steady_port(port, 0)


def test_a_port_that_counts_virtual_time_is_read_without_the_bus() -> None:
    m = InsnMachine()
    ports = Ports(m)
    m.cpu.set_counter_port(0x61, 3_579_545, 0xFFFFFF)
    for _ in range(3):
        m.cpu.time_offset += 123_456_789_012
        # Two instructions are behind, the load of the port is not counted yet.
        seen = loaded(m, b"\x31\xc0\xe5\x61")
        at = m.cpu.icount * 10 + m.cpu.time_offset
        assert any(seen == (at - 10 * k) * 3_579_545 // 10**9 & 0xFFFFFF for k in range(1, 4))
    assert not ports.reads
    assert m.run(b"\xe7\x61") is None and len(ports.writes) == 1
    assert loaded(m, IN) == 0xFF and loaded(m, IN_WORD) == 0xFFFF


def test_a_promise_that_is_taken_back_makes_room() -> None:
    m = InsnMachine()
    for port in range(100):
        m.cpu.set_counter_port(port, 1000, 0xFF)
        m.cpu.set_steady_port(port, None)
