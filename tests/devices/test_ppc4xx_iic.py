"""IIC: transfers as a kernel makes them, chains, repeated starts, errors, the buffer and the interrupt."""

from __future__ import annotations

import pytest

from devices.i2c import I2cBus
from devices.ppc4xx_iic import Iic

MDBUF, LMADR, CNTL, MDCNTL, STS, EXTSTS, INTRMSK, XFRCNT, XTCNTLSS, DIRECT = 0, 4, 6, 7, 8, 9, 13, 14, 15, 16
GO, READ, CHAIN, REPEAT, HALT = 0x01, 0x02, 0x04, 0x08, 0x80
SLAVE = 0x50


class Memory:
    """Takes bytes until told otherwise, gives 10h, 11h ..., and remembers what happened."""

    def __init__(self):
        self.log = []
        self.takes = 100
        self.next = 0x10

    def start(self, read):
        self.log.append("read" if read else "write")
        return True

    def write(self, byte):
        self.takes -= 1
        self.log.append(byte)
        return self.takes >= 0

    def read(self):
        self.next += 1
        return self.next - 1

    def stop(self):
        self.log.append("stop")


@pytest.fixture
def memory():
    return Memory()


@pytest.fixture
def iic(line, memory):
    bus = I2cBus()
    bus.attach(SLAVE, memory)
    made = Iic(irq=line, bus=bus)
    made.write(INTRMSK, 1, 0x01)
    made.write(MDCNTL, 1, 0x04)
    made.write(LMADR, 1, SLAVE << 1)
    return made


def count(number):
    return number - 1 << 4


def put(iic, *values):
    for value in values:
        iic.write(MDBUF, 1, value)


def take(iic, number):
    return [iic.read(MDBUF, 1) for _ in range(number)]


def test_a_write_sends_the_buffer_and_stops(iic, memory, line):
    put(iic, 1, 2, 3)
    iic.write(CNTL, 1, GO | count(3))
    assert memory.log == ["write", 1, 2, 3, "stop"]
    assert iic.read(STS, 1) == 0x08 | 0x02
    assert iic.read(XFRCNT, 1) == 3
    assert iic.read(EXTSTS, 1) == 0x40
    assert line.level
    iic.write(STS, 1, 0x0A)
    assert not line.level
    assert iic.read(STS, 1) == 0


def test_a_read_fills_the_buffer(iic, memory):
    iic.write(CNTL, 1, GO | READ | count(4))
    assert iic.read(STS, 1) & 0x30 == 0x30
    assert take(iic, 4) == [0x10, 0x11, 0x12, 0x13]
    assert iic.read(STS, 1) & 0x30 == 0
    assert memory.log == ["read", "stop"]
    assert take(iic, 1) == [0xFF]


def test_chained_transfers_are_one_on_the_bus(iic, memory):
    iic.write(CNTL, 1, GO | READ | CHAIN | count(4))
    assert iic.read(EXTSTS, 1) == 0x30
    take(iic, 4)
    iic.write(CNTL, 1, GO | READ | count(2))
    assert take(iic, 2) == [0x14, 0x15]
    assert memory.log == ["read", "stop"]


def test_a_repeated_start_turns_the_transfer_round_without_a_stop(iic, memory):
    put(iic, 7)
    iic.write(CNTL, 1, GO | REPEAT | count(1))
    iic.write(CNTL, 1, GO | READ | count(1))
    assert memory.log == ["write", 7, "read", "stop"]


def test_an_address_that_nobody_has_aborts(iic, line):
    iic.write(LMADR, 1, 0x51 << 1)
    put(iic, 1)
    iic.write(CNTL, 1, GO | count(1))
    assert iic.read(STS, 1) & 0x05 == 0x04
    assert iic.read(EXTSTS, 1) == 0x41
    assert iic.read(XFRCNT, 1) == 0
    assert not line.level
    iic.write(EXTSTS, 1, 0x8F)
    assert iic.read(STS, 1) & 0x04 == 0


def test_a_byte_that_is_refused_ends_the_transfer_incomplete(iic, memory):
    memory.takes = 2
    put(iic, 1, 2, 3, 4)
    iic.write(CNTL, 1, GO | count(4))
    assert memory.log[-2:] == [3, "stop"]
    assert iic.read(EXTSTS, 1) == 0x42
    assert iic.read(XFRCNT, 1) == 2


@pytest.mark.parametrize("mask, target", [(0x02, 0x51), (0x04, SLAVE)])
def test_errors_interrupt_if_they_are_enabled(iic, memory, line, mask, target):
    memory.takes = 0
    iic.write(INTRMSK, 1, mask)
    iic.write(LMADR, 1, target << 1)
    put(iic, 1)
    iic.write(CNTL, 1, GO | count(1))
    assert line.level


def test_a_transfer_waits_for_the_buffer(iic, memory):
    put(iic, 1)
    iic.write(CNTL, 1, GO | count(2))
    assert iic.read(STS, 1) & 1
    put(iic, 2)
    assert memory.log == ["write", 1, 2, "stop"]
    iic.write(CNTL, 1, GO | READ | CHAIN | count(3))
    iic.write(CNTL, 1, GO | READ | count(3))
    assert iic.read(STS, 1) & 1
    assert take(iic, 6) == [0x10, 0x11, 0x12, 0x13, 0x14, 0x15]
    assert not iic.read(STS, 1) & 1


def test_halt_ends_a_transfer(iic, memory):
    iic.write(CNTL, 1, GO | READ | CHAIN | count(1))
    iic.write(CNTL, 1, HALT)
    assert memory.log == ["read", "stop"]
    assert iic.read(EXTSTS, 1) == 0x40


def test_a_second_interrupt_waits_behind_the_first(iic, line):
    for _ in range(2):
        put(iic, 1)
        iic.write(CNTL, 1, GO | count(1))
    assert iic.read(EXTSTS, 1) & 0x80
    iic.write(STS, 1, 0x02)
    assert line.level
    iic.write(STS, 1, 0x02)
    assert not line.level


def test_flushing_empties_the_buffer(iic):
    put(iic, 1, 2, 3, 4, 5)
    iic.write(MDCNTL, 1, 0x44)
    assert iic.read(MDCNTL, 1) == 0x04
    assert iic.read(STS, 1) & 0x30 == 0


def test_a_soft_reset_ends_the_transfer_and_holds_the_controller(iic, memory):
    iic.write(CNTL, 1, GO | READ | CHAIN | count(1))
    iic.write(XTCNTLSS, 1, 0x01)
    iic.write(CNTL, 1, GO | count(1))
    assert memory.log == ["read", "stop"]
    assert iic.read(STS, 1) == 0
    iic.write(XTCNTLSS, 1, 0)
    assert iic.read(XTCNTLSS, 1) == 0


def test_nobody_acknowledges_bits_that_are_sent_by_hand(iic):
    assert iic.read(DIRECT, 1) == 0x0F
    iic.write(DIRECT, 1, 0x08)
    assert iic.read(DIRECT, 1) == 0x0A
    iic.write(DIRECT, 1, 0x04)
    assert iic.read(DIRECT, 1) == 0x05


def test_a_half_word_is_two_bytes_of_the_buffer(iic, memory):
    iic.write(0, 1, 0xAB)
    iic.write(1, 1, 0xCD)
    iic.write(CNTL, 1, GO | count(2))
    assert memory.log == ["write", 0xAB, 0xCD, "stop"]
