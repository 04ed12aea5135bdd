"""8237A pair: registers that read back, transfers, terminal count."""

from __future__ import annotations

import pytest

from devices.dma8237 import Dma8237


@pytest.fixture
def dma(memory):
    return Dma8237(memory=memory)


def start(dma, mode, address, count, page=0):
    """Channel 2, as a floppy driver programs it."""
    dma.write_low(0x0A, 1, 0x06)
    dma.write_low(0x0C, 1, 0)
    dma.write_low(0x0B, 1, mode | 2)
    for register, value in ((4, address), (5, count)):
        dma.write_low(register, 1, value & 0xFF)
        dma.write_low(register, 1, value >> 8)
    dma.write_page(1, 1, page)
    dma.write_low(0x0A, 1, 0x02)


def test_address_and_count_read_back_byte_by_byte(dma):
    start(dma, 0x44, 0x1234, 0x01FF)
    dma.write_low(0x0C, 1, 0)
    assert [dma.read_low(4, 1), dma.read_low(4, 1)] == [0x34, 0x12]
    assert [dma.read_low(5, 1), dma.read_low(5, 1)] == [0xFF, 0x01]


def test_page_registers_read_back_even_without_a_channel(dma):
    for port in range(16):
        dma.write_page(port, 1, port * 3)
    assert [dma.read_page(port, 1) for port in range(16)] == [port * 3 for port in range(16)]


def test_a_device_writes_to_memory_up_to_the_terminal_count(dma, memory):
    start(dma, 0x44, 0x1000, 3)
    assert dma.remaining(2) == 4
    assert dma.to_memory(2, b"ab") == 2
    assert dma.read_low(8, 1) == 0
    assert dma.to_memory(2, b"cdef") == 2
    assert memory.read(0x1000, 5) == b"abcd\0"
    assert dma.read_low(8, 1) == 0x04
    assert dma.read_low(8, 1) == 0
    assert dma.to_memory(2, b"g") == 0


def test_a_device_reads_from_memory(dma, memory):
    memory.write(0x2000, b"hello")
    start(dma, 0x48, 0x2000, 4)
    assert dma.from_memory(2, 512) == b"hello"
    assert dma.from_memory(2, 1) == b""


def test_the_address_wraps_in_its_64_kib(dma, memory):
    start(dma, 0x44, 0xFFFE, 3)
    dma.to_memory(2, b"abcd")
    assert memory.read(0xFFFE, 2) + memory.read(0, 2) == b"abcd"


def test_auto_initialisation_starts_again(dma, memory):
    start(dma, 0x54, 0x1000, 1)
    assert dma.to_memory(2, b"ab") == 2
    assert dma.to_memory(2, b"cd") == 2
    assert memory.read(0x1000, 2) == b"cd"


def test_a_masked_channel_moves_nothing(dma, memory):
    start(dma, 0x44, 0x1000, 3)
    dma.write_low(0x0A, 1, 0x06)
    assert dma.to_memory(2, b"ab") == 0
    assert memory.read(0x1000, 2) == b"\0\0"


def test_word_channels_count_words(dma, memory):
    dma.write_high(0x18, 1, 0)
    dma.write_high(0x16, 1, 0x45)
    for register, value in ((0x04, 0x0800), (0x06, 1)):
        dma.write_high(register, 1, value & 0xFF)
        dma.write_high(register, 1, value >> 8)
    dma.write_high(0x14, 1, 0x01)
    assert dma.remaining(5) == 4
    assert dma.to_memory(5, b"abcdef") == 4
    assert memory.read(0x1000, 4) == b"abcd"


def test_master_clear_masks_all_channels(dma):
    dma.write_low(0x0E, 1, 0)
    assert dma.read_low(0x0F, 1) == 0xF0
    dma.write_low(0x0D, 1, 0)
    assert dma.read_low(0x0F, 1) == 0xFF


def test_port_80_says_what_it_holds(dma):
    said = []
    dma.stored80 = said.append
    dma.write_page(0, 1, 0x55)
    dma.write_page(1, 1, 0x66)
    dma.load(dma.save())
    dma.reset()
    assert said == [0x55, None, None]


def test_an_address_that_counts_down_goes_through_memory_backwards(dma, memory):
    start(dma, 0x64, 0x0001, 3)
    dma.to_memory(2, b"ab")
    dma.to_memory(2, b"cd")
    assert memory.read(0, 2) + memory.read(0xFFFE, 2) == b"badc"
    start(dma, 0x68, 0x0001, 3)
    assert dma.from_memory(2, 4) == b"abcd"
