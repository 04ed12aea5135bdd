"""pc-testdev: scratch ports and memory hold what is written, and ports raise interrupt lines."""

from __future__ import annotations

from devices.pc_testdev import PcTestdev


def test_the_scratch_ports_and_the_memory_hold_what_is_written(lines):
    dev = PcTestdev(lines=[lines()])
    dev.write_wide(0, 4, 0x44332211)
    dev.write_wide(1, 1, 0xAA)
    assert dev.read_wide(0, 4) == 0x4433AA11
    assert dev.read_wide(2, 2) == 0x4433
    dev.write_narrow(3, 1, 0x5A)
    assert [dev.read_narrow(k, 1) for k in range(4)] == [0, 0, 0, 0x5A]
    dev.write_memory(0xFFFC, 4, 0x01020304)
    assert dev.read_memory(0xFFFE, 2) == 0x0102
    dev.reset()
    assert dev.read_wide(0, 4) == dev.read_narrow(3, 1) == dev.read_memory(0xFFFC, 4) == 0


def test_a_port_raises_and_lowers_its_interrupt_line(lines):
    wires = [lines() for _ in range(24)]
    dev = PcTestdev(lines=wires)
    dev.write_line(5, 1, 1)
    dev.write_line(23, 1, 0x80)
    assert [n for n, wire in enumerate(wires) if wire.level] == [5, 23]
    dev.write_line(5, 1, 0)
    assert not wires[5].level
    dev.reset()
    assert not wires[23].level
