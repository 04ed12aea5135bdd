from __future__ import annotations

import pytest

from bios.pc import rom
from bios.pc.firmware import Bios
from bios.pc.service import HOOKS, SERVICES
from tests.bios.fake_host import FakeHost


def image() -> bytes:
    return Bios(FakeHost()).rom()


def test_the_rom_is_64_kib_and_its_bytes_add_up_to_zero() -> None:
    assert len(image()) == 0x10000
    assert sum(image()) & 0xFF == 0


def test_two_machines_of_the_same_shape_have_the_same_rom() -> None:
    assert image() == image()


def test_the_reset_vector_jumps_far_to_post() -> None:
    assert image()[0xFFF0:0xFFF5] == bytes.fromhex("ea5be000f0")


def test_the_date_and_the_model_byte_are_where_programs_look() -> None:
    assert image()[0xFFF5:0xFFFD].decode("ascii") == rom.DATE
    assert image()[0xFFFE] == 0xFC


@pytest.mark.parametrize(
    ("vector", "entry"),
    [
        *((0x02, 0xE2C3), (0x05, 0xFF54), (0x08, 0xFEA5), (0x09, 0xE987), (0x0E, 0xEF57), (0x10, 0xF065)),
        *((0x11, 0xF84D), (0x12, 0xF841), (0x13, 0xE3FE), (0x14, 0xE739), (0x15, 0xF859), (0x16, 0xE82E)),
        *((0x17, 0xEFD2), (0x19, 0xE6F2), (0x1A, 0xFE6E), (0x40, 0xEC59)),
    ],
)
def test_interrupts_enter_at_the_addresses_of_the_pc(vector: int, entry: int) -> None:
    assert rom.VECTORS[vector] == entry


def test_every_hook_point_follows_an_out_to_the_hook_port() -> None:
    data = image()
    for at in rom.HOOK_POINTS:
        assert data[at - 2 : at] == rom.OUT


def test_every_service_stub_returns_or_waits_with_interrupts_on() -> None:
    data = image()
    for at, point in rom.HOOK_POINTS.items():
        if point.name.startswith("int"):
            assert data[at] == 0xCF
            assert data[point.wait_at : point.wait_at + 5] == b"\xfb\xf4\xfa" + rom.OUT
            assert rom.HOOK_POINTS[point.wait_at + 5].resumed


def test_every_hook_has_a_function_and_every_function_a_hook() -> None:
    names = {point.name for point in rom.HOOK_POINTS.values()}
    assert {name for name in names if not name.startswith("int")} == set(HOOKS)
    assert {int(name[3:], 16) for name in names if name.startswith("int")} == {key[0] for key in SERVICES}


def test_the_8x8_font_stands_at_fa6e_too() -> None:
    data = image()
    assert data[0xFA6E : 0xFA6E + 1024] == data[rom.FONT_8 : rom.FONT_8 + 1024]


def test_overlapping_parts_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"second at 0008 overlaps first at 0000"):
        builder = rom.RomBuilder()
        builder.place(0, bytes(16), "first")
        builder.place(8, bytes(16), "second")


def test_a_part_beyond_the_end_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        rom.RomBuilder().place(0xFFFF, b"ab", "too long")


def test_the_unused_vector_returns_at_once() -> None:
    assert image()[rom.DUMMY_IRET] == 0xCF
