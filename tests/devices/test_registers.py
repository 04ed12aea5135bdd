"""Banks: dispatch, masks, widths, and what a declaration refuses."""

from __future__ import annotations

import logging

import pytest

from devices.device import Device
from devices.registers import Bank, Field


class Sample(Device):
    regs = Bank(16, width=4)
    plain = regs.register(0, "PLAIN", mask=0x00FF00FF, reset=0x11000000, fields={"ODD": 7}, unmodelled=0x80)
    half = regs.register(4, "HALF", width=2, reset=0xBEEF)
    hooked = regs.register(8, "HOOKED")

    @regs.on_write(8, "HOOKED")
    def write_hooked(self, value: int) -> None:
        self.hooked = value ^ 0xFFFFFFFF

    @regs.on_read(12, "ONLY_READ")
    def read_only(self) -> int:
        return 0x12345678

    def read(self, offset: int, width: int) -> int:
        return self.regs.read(self, offset, width)

    def write(self, offset: int, width: int, value: int) -> None:
        self.regs.write(self, offset, width, value)


def test_a_register_starts_at_its_reset_value_and_keeps_bits_outside_its_mask():
    dev = Sample()
    dev.write(0, 4, 0xFFFFFFFF)
    assert dev.read(0, 4) == 0x11FF00FF
    dev.reset()
    assert dev.read(0, 4) == 0x11000000


def test_a_write_hook_replaces_the_plain_store():
    dev = Sample()
    dev.write(8, 4, 0)
    assert dev.read(8, 4) == 0xFFFFFFFF


def test_a_narrow_read_gives_the_addressed_part_of_a_register():
    dev = Sample()
    assert [dev.read(12 + i, 1) for i in range(4)] == [0x78, 0x56, 0x34, 0x12]
    assert dev.read(13, 2) == 0x3456


def test_a_narrow_write_keeps_the_rest_of_a_register():
    dev = Sample()
    dev.write(5, 1, 0x12)
    assert dev.read(4, 2) == 0x12EF


def test_a_wide_read_joins_registers_and_fills_gaps_with_ones():
    assert Sample().read(4, 4) == 0xFFFFBEEF


def test_an_undeclared_offset_reads_all_ones_and_is_named_once(caplog):
    dev = Sample()
    with caplog.at_level(logging.WARNING, logger="emu.unimp"):
        assert [dev.read(6, 1), dev.read(6, 1), dev.read(40, 2)] == [0xFF, 0xFF, 0xFFFF]
        dev.write(100, 4, 1)
    assert sum("read of undeclared offset 0x6 " in r.getMessage() for r in caplog.records) == 1


def test_an_unmodelled_bit_is_named_once_by_its_field(caplog):
    dev = Sample()
    with caplog.at_level(logging.WARNING, logger="emu.unimp"):
        dev.write(0, 4, 0x80)
        dev.write(0, 4, 0x80)
    assert [r.getMessage() for r in caplog.records] == ["device: PLAIN: ODD not modelled"]


def test_a_guest_that_touches_everything_does_not_flood_the_log(caplog):
    dev = Sample()
    with caplog.at_level(logging.WARNING, logger="emu.unimp"):
        for offset in range(100, 1000):
            dev.read(offset, 1)
    assert len(caplog.records) == 50
    assert caplog.records[-1].getMessage().endswith("further ones are not named")


def test_overlapping_registers_are_refused():
    regs = Bank(8)
    regs.register(0, "WIDE", width=4)
    with pytest.raises(ValueError, match="register MIDDLE at 0x2: overlaps the one at 0x0"):
        regs.register(2, "MIDDLE")


def test_a_register_outside_the_bank_is_refused():
    with pytest.raises(ValueError, match="outside the bank of 0x8 bytes"):
        Bank(8).register(7, "LATE", width=2)


def test_two_writers_for_one_register_are_refused():
    regs = Bank(1)
    regs.on_write(0, "A")(lambda self, value: None)
    with pytest.raises(ValueError, match="register A at 0x0: two writers"):
        regs.on_write(0, "A")


def test_a_name_used_twice_is_refused():
    regs = Bank(2)
    regs.register(0, "SAME")
    with pytest.raises(ValueError, match="the name is already taken"):
        regs.register(1, "SAME")


def test_a_field_wider_than_its_register_is_refused():
    with pytest.raises(ValueError, match="register R: wider than 1 bytes"):
        Bank(1).register(0, "R", fields={"F": 8})


def test_a_field_reads_and_replaces_its_bits():
    field = Field("F", 5, 3)
    assert field.get(0b101000) == 0b101
    assert field.put(0xFF, 0b010) == 0b11010111


class BigEndian(Device):
    regs = Bank(16, width=4, big_endian=True)
    first = regs.register(0, "FIRST", reset=0x11223344)
    half = regs.register(4, "HALF", width=2, reset=0xBEEF)


def test_the_parts_of_a_big_endian_register_begin_with_the_most_significant_byte():
    dev = BigEndian()
    regs = BigEndian.regs
    assert [regs.read(dev, at, 1) for at in range(4)] == [0x11, 0x22, 0x33, 0x44]
    assert [regs.read(dev, at, 2) for at in (0, 2)] == [0x1122, 0x3344]
    assert (regs.read(dev, 0, 4), regs.read(dev, 4, 4)) == (0x11223344, 0xBEEFFFFF)
    regs.write(dev, 1, 1, 0xAA)
    regs.write(dev, 4, 4, 0xCAFE5555)
    assert (dev.first, dev.half) == (0x11AA3344, 0xCAFE)
    regs.write(dev, 2, 2, 0xBBCC)
    assert dev.first == 0x11AABBCC
