"""DMA of the PC's IDE controller aimed at what is not plain memory: no device is reached, nothing recurses."""

from __future__ import annotations

import pytest

from devices.backends import MemoryDisk
from emu.machine import Machine
from tests.emu.pc_machine import DISK_BYTES, full_pc

BASE, TABLE, GOOD = 0xC000, 0x300000, 0x400000
RAM = 8 << 20
TARGETS = {
    "graphics window": 0xA0000,
    "rom": 0xF0000,
    "end of RAM": RAM - 256,
    "hole": 0x10000000,
    "I/O APIC": 0xFEC00000,
    "local APIC": 0xFEE00000,
    "ROM at the top": 0xFFFF0000,
    "end of the space": 0xFFFFFFFE,
}
STATUS_ACTIVE_ERROR_INTERRUPT = 7


@pytest.fixture
def machine() -> Machine:
    disk = MemoryDisk(b"".join(n.to_bytes(4, "little") * 128 for n in range(DISK_BYTES // 512)))
    m = full_pc(disk=disk)
    for register, width, value in ((0x20, 4, BASE), (0x04, 2, 0x0005)):
        m.bus.port_write(0xCF8, 4, 0x80000900 | register)
        m.bus.port_write(0xCFC, width, value)
    return m


def command(m: Machine, opcode: int, address: int, *, table: int = TABLE) -> int:
    """One sector by DMA; gives the bus-master status after it had time to end."""
    bus = m.bus
    bus.phys_write(TABLE, address.to_bytes(4, "little") + (0x80000000 | 512).to_bytes(4, "little"))
    for port, value in ((0x1F6, 0xE0), (0x1F2, 1), (0x1F3, 9), (0x1F4, 0), (0x1F5, 0), (0x1F7, opcode)):
        bus.port_write(port, 1, value)
    bus.port_write(BASE + 4, 4, table)
    bus.port_write(BASE + 2, 1, 0x06)
    bus.port_write(BASE, 1, 0x09 if opcode == 0xC8 else 0x01)
    for _ in range(20):
        m.clock.skip_to(m.clock.now() + 10_000)
        m.clock.fire()
    status = bus.port_read(BASE + 2, 1) & STATUS_ACTIVE_ERROR_INTERRUPT
    bus.port_write(BASE, 1, 0)
    return status


def reset_drive(m: Machine) -> None:
    for value in (0x04, 0x00):
        m.bus.port_write(0x3F6, 1, value)
        m.clock.skip_to(m.clock.now() + 10_000)
        m.clock.fire()


@pytest.mark.parametrize("opcode", [0xC8, 0xCA])
@pytest.mark.parametrize("name", TARGETS)
def test_a_target_that_is_no_memory_is_a_bus_error_and_the_next_command_works(
    machine: Machine, name: str, opcode: int
) -> None:
    status = command(machine, opcode, TARGETS[name])
    if name in ("rom", "ROM at the top") and opcode == 0xCA:
        assert status == 0x04, "a ROM can be read"
        sector = machine.bus.phys_read(TARGETS[name] & ~1, 512)
    else:
        assert status == 0x02
        sector = (9).to_bytes(4, "little") * 128
    reset_drive(machine)
    assert command(machine, 0xC8, GOOD) == 0x04
    assert machine.bus.phys_read(GOOD, 512) == sector


@pytest.mark.parametrize("table", [0xA0000, RAM - 4, 0x10000000, 0xFEE00000, 0xFFFFFFFC])
def test_a_table_that_is_not_in_memory_is_a_bus_error(machine: Machine, table: int) -> None:
    assert command(machine, 0xC8, GOOD, table=table) == 0x02
    reset_drive(machine)
    assert command(machine, 0xC8, GOOD) == 0x04


def test_a_table_that_the_transfer_overwrites_ends(machine: Machine) -> None:
    assert command(machine, 0xC8, TABLE) == 0x04
    assert command(machine, 0xC8, GOOD) == 0x04
