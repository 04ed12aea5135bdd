"""SDRAM controllers: the size of memory as boot wrappers and U-Boot find it, and initialisation by firmware."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.ppc4xx_sdram import Sdram440Ep, Sdram460Ex, split

MIB = 1 << 20


def get(dev, index):
    dev.write_dcr(0, index)
    return dev.read_dcr(1)


def put(dev, index, value):
    dev.write_dcr(0, index)
    dev.write_dcr(1, value)


def banks_440(dev):
    """(base, size) in MiB of every enabled bank: SDBA is bits 0..8, SDSZ bits 12..14, SDBE bit 31 of the manual."""
    for index in (0x40, 0x44, 0x48, 0x4C):
        value = get(dev, index)
        if value & 1:
            yield value >> 23 << 3, 4 << (value >> 17 & 7)


def banks_460(dev):
    """(base, size) in MiB: the base in units of 8 MiB, the size as the ones that a mask in units of 2 MiB lacks."""
    for offset in range(4):
        value = dev.read_queue(offset)
        if value & 0xFFF0:
            yield value >> 21 << 3, (0x1000 - (value >> 4 & 0xFFF)) * 2


@pytest.mark.parametrize(
    "size, banks",
    [
        (8, [(0, 8)]),
        (128, [(0, 128)]),
        (256, [(0, 256)]),
        (512, [(0, 256), (256, 256)]),
        (200, [(0, 128), (128, 64), (192, 8)]),
        (1024, [(0, 256), (256, 256), (512, 256), (768, 256)]),
    ],
)
def test_the_banks_of_a_440ep_add_up_to_the_memory_of_the_board(size, banks):
    assert list(banks_440(Sdram440Ep(size=size * MIB))) == banks


@pytest.mark.parametrize(
    "size, banks", [(64, [(0, 64)]), (512, [(0, 512)]), (2048, [(0, 2048)]), (3072, [(0, 2048), (2048, 1024)])]
)
def test_the_ranks_of_a_460ex_add_up_to_the_memory_of_the_board(size, banks):
    assert list(banks_460(Sdram460Ex(size=size * MIB))) == banks


@pytest.mark.parametrize("size", [0, 4 * MIB, 8 * MIB + 1, 248 * MIB, 1032 * MIB])
def test_a_size_that_four_banks_cannot_have_is_refused(size):
    with pytest.raises(ValueError, match=r"RAM of [\d.e+]+ MiB: at most 4 banks"):
        Sdram440Ep(size=size)


@given(st.integers(0, 1 << 34))
def test_banks_are_aligned_to_their_size_and_leave_no_gap(size):
    try:
        banks = split(size, 256 * MIB)
    except ValueError:
        return
    assert sum(length for _, length in banks) == size
    assert all(base % length == 0 for base, length in banks)
    assert [base for base, _ in banks] == [sum(length for _, length in banks[:n]) for n in range(len(banks))]


def test_the_banks_come_back_with_a_reset():
    dev = Sdram440Ep(size=64 * MIB)
    put(dev, 0x40, 0)
    assert not list(banks_440(dev))
    dev.reset()
    assert list(banks_440(dev)) == [(0, 64)]


def test_a_440ep_says_that_the_mode_registers_are_set_while_it_is_enabled():
    dev = Sdram440Ep(size=64 * MIB)
    put(dev, 0x20, 0)
    assert get(dev, 0x24) == 0
    put(dev, 0x20, 0x8000_0000)
    assert get(dev, 0x24) == 0x8000_0000


def test_the_initialisation_of_a_460ex_is_complete_as_soon_as_it_is_triggered():
    dev = Sdram460Ex(size=64 * MIB)
    put(dev, 0x21, 0x2800_0000)
    assert get(dev, 0x21) == 0x0800_0000
    assert get(dev, 0x14) & 0x8000_0000
    put(dev, 0x7A, 0)
    assert get(dev, 0x7A) & 0x0200_0000


def test_ones_clear_error_status():
    dev = Sdram460Ex(size=64 * MIB)
    dev.errstatll = 0xFF
    dev.write_queue(0xC, 0x0F)
    assert dev.read_queue(0xC) == 0xF0
