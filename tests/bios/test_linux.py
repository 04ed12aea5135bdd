from __future__ import annotations

import pytest

from bios.image import Module, load_kernel
from bios.linux import fw_cfg_items
from bios.plan import ImageError, LoadPlan
from tests.bios.kernels import MAP, bzimage


def plan(data: bytes, command_line: str = "", initrd: bytes | None = None) -> LoadPlan:
    modules = () if initrd is None else (Module(initrd),)
    return load_kernel("vmlinuz", data, MAP, command_line=command_line, modules=modules)


def placed(made: LoadPlan, address: int) -> bytes:
    return dict(made.segments)[address]


def field(setup: bytes, at: int, size: int) -> int:
    return int.from_bytes(setup[at : at + size], "little")


def test_a_bzimage_is_split_between_low_memory_and_1_mib() -> None:
    data = bzimage()
    made = plan(data)
    assert placed(made, 0x100000) == data[5 * 512 :]
    assert len(placed(made, 0x10000)) == 5 * 512
    assert made.entry == 0x10200


def test_it_is_entered_in_real_mode_one_sector_into_its_set_up_code() -> None:
    registers = dict(plan(bzimage()).registers)
    assert (registers["cs"], registers["eip"]) == (0x1020, 0)
    assert {registers[name] for name in ("ds", "es", "fs", "gs", "ss")} == {0x1000}
    assert not registers["eflags"] & 0x200
    assert 0x8000 < registers["esp"] < 0x10000


def test_the_set_up_header_is_filled() -> None:
    setup = placed(plan(bzimage(), "console=ttyS0"), 0x10000)
    assert setup[0x210] == 0xFF
    assert setup[0x211] & 0x80
    assert field(setup, 0x224, 2) == 0xFE00
    assert field(setup, 0x228, 4) == 0x20000
    assert placed(plan(bzimage(), "console=ttyS0"), 0x20000) == b"console=ttyS0\0"


def test_the_initrd_goes_to_the_highest_page_that_holds_it() -> None:
    made = plan(bzimage(), initrd=b"r" * 5000)
    setup = placed(made, 0x10000)
    at = field(setup, 0x218, 4)
    assert at == 0x4000000 - 0x2000
    assert field(setup, 0x21C, 4) == 5000
    assert placed(made, at) == b"r" * 5000


def test_the_kernels_limit_for_the_initrd_is_kept() -> None:
    made = plan(bzimage(initrd_max=0x1FFFFFF), initrd=b"r" * 4096)
    assert field(placed(made, 0x10000), 0x218, 4) == 0x1FFF000


def test_an_initrd_that_would_meet_the_kernel_is_refused() -> None:
    with pytest.raises(ImageError, match="no room"):
        plan(bzimage(initrd_max=0x10FFFFF), initrd=b"r" * 4096)


def test_a_kernel_that_needs_more_ram_says_how_much() -> None:
    with pytest.raises(ImageError, match="use -m 80"):
        plan(bzimage(init_size=0x4000000))


def test_an_old_zimage_goes_to_64_kib_with_its_command_line_by_magic() -> None:
    data = bzimage(version=0, kernel=b"z" * 1000)
    from bios.linux import load_linux

    made = load_linux("zImage", data, MAP, "root=/dev/fd0", None)
    assert placed(made, 0x10000) == b"z" * 1000
    setup = placed(made, 0x90000)
    assert field(setup, 0x20, 2) == 0xA33F
    assert placed(made, 0x90000 + field(setup, 0x22, 2)) == b"root=/dev/fd0\0"


def test_protocol_2_01_gets_its_heap_and_command_line_in_segment_9000() -> None:
    setup = placed(plan(bzimage(version=0x201)), 0x90000)
    assert setup[0x211] & 0x80
    assert field(setup, 0x224, 2) == 0xA000 - 0x200
    assert field(setup, 0x20, 2) == 0xA33F


@pytest.mark.parametrize("version", [0x200, 0x201, 0x202, 0x203, 0x206, 0x20A, 0x20F])
def test_every_protocol_version_loads(version: int) -> None:
    made = plan(bzimage(version=version), "quiet", b"r" * 100)
    assert placed(made, 0x100000).startswith(b"KERNEL")


def test_a_command_line_that_is_too_long_is_refused() -> None:
    with pytest.raises(ImageError, match="this kernel takes 2047"):
        plan(bzimage(), "x" * 2048)


def test_a_kernel_cut_off_in_its_set_up_code_is_refused() -> None:
    with pytest.raises(ImageError, match="promises"):
        plan(bzimage()[: 3 * 512])


def test_a_zimage_that_does_not_fit_low_memory_is_refused() -> None:
    with pytest.raises(ImageError, match="512 KiB"):
        plan(bzimage(flags=0, kernel=bytes(0x90000)))


def test_a_kernel_without_its_end_is_refused() -> None:
    data = bytearray(bzimage(kernel=bytes(4096)))
    data[0x1F4:0x1F8] = (4096 // 16).to_bytes(4, "little")
    plan(bytes(data))
    plan(bytes(data[:-8]))
    with pytest.raises(ImageError, match="6144 bytes at its end: its header promises 6656 bytes"):
        plan(bytes(data[:-512]))


def test_two_initrds_are_refused() -> None:
    with pytest.raises(ImageError, match="takes one"):
        load_kernel("vmlinuz", bzimage(), MAP, modules=(Module(b"a"), Module(b"b")))


def test_a_firmware_finds_the_parts_of_a_kernel_where_the_plan_puts_them() -> None:
    made = plan(bzimage(), "quiet", b"initrd")
    items = fw_cfg_items(made)
    word = {key: int.from_bytes(data, "little") for key, data in items.items() if len(data) == 4}
    segments = dict(made.segments)
    for where, size, data in ((0x07, 0x08, 0x11), (0x0A, 0x0B, 0x12), (0x13, 0x14, 0x15), (0x16, 0x17, 0x18)):
        assert segments[word[where]] == items[data]
        assert word[size] == len(items[data])
    assert (items[0x15], items[0x12], word[0x07]) == (b"quiet\0", b"initrd", 0x100000)
    assert 0x0A not in fw_cfg_items(plan(bzimage()))
