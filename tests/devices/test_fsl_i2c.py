"""I2C: the controller's state machine with a slave that remembers, and the bus."""

from __future__ import annotations

import pytest

from devices.fsl_i2c import FslI2c
from devices.i2c import I2cBus

ADR, CR, SR, DR = 0x00, 0x08, 0x0C, 0x10
ENABLE, INTERRUPT, MASTER, SEND, AGAIN = 0x80, 0x40, 0x20, 0x10, 0x04
COMPLETE, BUSY, DONE, NACK = 0x80, 0x20, 0x02, 0x01


class Slave:
    """Takes up to three bytes, gives 0x40, 0x41 ..."""

    def __init__(self):
        self.log = []
        self.next = 0x40

    def start(self, read):
        self.log.append("read" if read else "write")
        return True

    def write(self, byte):
        self.log.append(byte)
        return len(self.log) < 5

    def read(self):
        self.next += 1
        return self.next - 1

    def stop(self):
        self.log.append("stop")


@pytest.fixture
def slave():
    return Slave()


@pytest.fixture
def i2c(line, slave):
    bus = I2cBus()
    bus.attach(0x50, slave)
    return FslI2c(irq=line, bus=bus)


def test_a_master_writes_bytes_until_the_slave_has_enough(i2c, slave):
    i2c.write(CR, 1, ENABLE | MASTER | SEND)
    assert i2c.read(SR, 1) & BUSY
    status = []
    for byte in (0xA0, 1, 2, 3, 4):
        i2c.write(SR, 1, 0)
        i2c.write(DR, 1, byte)
        status.append(i2c.read(SR, 1))
    assert status == [COMPLETE | BUSY | DONE] * 4 + [COMPLETE | BUSY | DONE | NACK]
    i2c.write(CR, 1, ENABLE)
    assert slave.log == ["write", 1, 2, 3, 4, "stop"]
    assert not i2c.read(SR, 1) & BUSY


def test_a_repeated_start_turns_the_bus_round_and_each_read_fetches_the_next_byte(i2c, slave):
    i2c.write(CR, 1, ENABLE | MASTER | SEND)
    i2c.write(DR, 1, 0xA0)
    i2c.write(DR, 1, 7)
    i2c.write(CR, 1, ENABLE | MASTER | SEND | AGAIN)
    assert not i2c.read(CR, 1) & AGAIN
    i2c.write(DR, 1, 0xA1)
    i2c.write(CR, 1, ENABLE | MASTER)
    i2c.read(DR, 1)
    assert i2c.read(DR, 1) == 0x40
    assert i2c.read(DR, 1) == 0x41
    i2c.write(CR, 1, ENABLE)
    assert i2c.read(DR, 1) == 0x42
    assert i2c.read(DR, 1) == 0x42
    assert slave.log == ["write", 7, "read", "stop"]


def test_nobody_acknowledges_an_empty_address(i2c):
    i2c.write(CR, 1, ENABLE | MASTER | SEND)
    i2c.write(DR, 1, 0x42)
    assert i2c.read(SR, 1) == COMPLETE | BUSY | DONE | NACK
    i2c.write(DR, 1, 0)
    assert i2c.read(SR, 1) & NACK


def test_each_byte_interrupts_and_writing_0_to_the_status_ends_it(i2c, line):
    i2c.write(CR, 1, ENABLE | INTERRUPT | MASTER | SEND)
    assert not line.level
    i2c.write(DR, 1, 0xA0)
    assert line.level
    i2c.write(SR, 1, 0xFF & ~DONE)
    assert not line.level
    i2c.write(DR, 1, 1)
    i2c.write(CR, 1, 0)
    assert not line.level


def test_without_the_enable_bit_nothing_is_sent(i2c, slave):
    i2c.write(CR, 1, MASTER | SEND)
    i2c.write(DR, 1, 0xA0)
    assert slave.log == []
    assert i2c.read(SR, 1) == COMPLETE | NACK


def test_disabling_the_controller_ends_a_transfer(i2c, slave):
    i2c.write(CR, 1, ENABLE | MASTER | SEND)
    i2c.write(DR, 1, 0xA0)
    i2c.write(CR, 1, 0)
    assert slave.log == ["write", "stop"]


def test_an_address_is_given_once_and_reserved_ones_never(slave):
    bus = I2cBus()
    bus.attach(0x50, slave)
    for address in (0x50, 0x00, 0x78):
        with pytest.raises(ValueError, match="I2C address"):
            bus.attach(address, slave)
