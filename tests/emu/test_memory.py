from __future__ import annotations

import mmap

import pytest

from emu.memory import FOUR_GIB, MAX_RAM, PAGE, Dma, GuestRam, Kind, Region, buffer_length

MIB = 1 << 20


def kinds(ram: GuestRam, *addresses: int) -> list[Kind | None]:
    found = [ram.find(address) for address in addresses]
    return [region.kind if region else None for region in found]


def test_the_first_mebibyte_is_ram_then_video_then_rom() -> None:
    ram = GuestRam(4 * MIB, 0x20000)
    assert ram.regions == [
        Region(0, 0xA0000, 0, Kind.RAM),
        Region(0xA0000, 0x20000, 0xA0000, Kind.MMIO),
        Region(0xC0000, 0x40000, 0xC0000, Kind.ROM),
        Region(MIB, 3 * MIB, MIB, Kind.RAM),
        Region(FOUR_GIB - 0x20000, 0x20000, 4 * MIB, Kind.ROM),
    ]
    assert kinds(ram, 0x9FFFF, 0xA0000, 0xFFFFF, MIB, 4 * MIB - 1, 4 * MIB, FOUR_GIB - 1) == [
        Kind.RAM,
        Kind.MMIO,
        Kind.ROM,
        Kind.RAM,
        Kind.RAM,
        None,
        Kind.ROM,
    ]


def test_three_and_a_half_gibibytes_cost_nothing_untouched() -> None:
    with open("/proc/self/statm") as f:
        before = int(f.read().split()[1])
    ram = GuestRam(MAX_RAM)
    ram.view[MAX_RAM - 1] = 7
    with open("/proc/self/statm") as f:
        after = int(f.read().split()[1])
    assert ram.view[MAX_RAM - 1] == 7
    assert (after - before) * mmap.PAGESIZE < MIB


@pytest.mark.parametrize("size", [0, MIB - PAGE, MAX_RAM + 1, -MIB])
def test_a_size_outside_the_limits_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="RAM must be 1 MiB to 3584 MiB"):
        GuestRam(size)


def test_sizes_are_rounded_up_to_pages() -> None:
    ram = GuestRam(2 * MIB + 1, 1)
    assert (ram.size, ram.rom_size) == (2 * MIB + PAGE, PAGE)


def test_an_engine_may_bring_its_own_buffer() -> None:
    own = bytearray(buffer_length(MIB, 0))
    ram = GuestRam(MIB, buffer=own)
    ram.load(0x7C00, b"boot")
    assert own[0x7C00:0x7C04] == b"boot"
    with pytest.raises(ValueError, match="expected a writable buffer"):
        GuestRam(MIB, buffer=bytes(MIB))


def test_the_numpy_view_shares_the_bytes() -> None:
    ram = GuestRam(MIB)
    ram.array[100] = 42
    assert ram.view[100] == 42


def test_the_text_window_switches_and_tells_the_processor_once() -> None:
    ram = GuestRam(2 * MIB)
    told: list[str] = []
    ram.on_remap.append(lambda: told.append("remap"))
    ram.set_direct(True)
    ram.set_direct(True)
    assert kinds(ram, 0xB7FFF, 0xB8000, 0xBFFFF, 0xC0000) == [Kind.MMIO, Kind.DIRECT, Kind.DIRECT, Kind.ROM]
    ram.set_direct(False)
    assert kinds(ram, 0xB8000) == [Kind.MMIO]
    assert told == ["remap", "remap"]
    assert len(ram.regions) == 4


def test_changing_the_kind_of_pages_outside_the_map_is_refused() -> None:
    ram = GuestRam(2 * MIB)
    before = list(ram.regions)
    for paddr, size in ((2 * MIB, PAGE), (2 * MIB - PAGE, 2 * PAGE), (0x100, PAGE), (0, 0)):
        with pytest.raises(ValueError):
            ram.set_kind(paddr, size, Kind.ROM)
    assert ram.regions == before


def test_a_load_reaches_rom_but_not_holes() -> None:
    ram = GuestRam(MIB, 0x10000)
    ram.load(FOUR_GIB - 16, b"\xea" * 16)
    assert bytes(ram.view[MIB + 0x10000 - 16 :]) == b"\xea" * 16
    for paddr in (0xA0000, 0xBFFFF, MIB - 2):
        with pytest.raises(ValueError, match="do not fit in memory"):
            ram.load(paddr, b"1234")
    assert bytes(ram.view[MIB - 2 : MIB]) == b"\0\0"


def test_dma_outside_memory_reads_ones_and_drops_writes() -> None:
    ram = GuestRam(MIB)
    dma = Dma(ram)
    ram.load(0x9FFFE, b"ab")
    assert dma.read(0x9FFFE, 4) == b"ab\xff\xff"
    dma.write(0x9FFFE, b"1234")
    assert dma.read(0x9FFFE, 4) == b"12\xff\xff"
    assert dma.read(MIB, 2) == b"\xff\xff"
    dma.write(0xFFFFF, b"\x55\x66")
    assert dma.read(0xFFFFF, 2) == b"\0\xff"


def test_dma_wraps_at_four_gibibytes_and_never_leaves_the_buffer() -> None:
    ram = GuestRam(MIB, PAGE)
    dma = Dma(ram)
    ram.load(FOUR_GIB - 2, b"yz")
    ram.load(0, b"ab")
    assert dma.read(FOUR_GIB - 2, 4) == b"yzab"
    dma.write(FOUR_GIB - 2, b"1234")
    assert dma.read(FOUR_GIB - 2, 4) == b"yz34"


def test_dma_tells_who_keeps_decoded_code() -> None:
    ram = GuestRam(2 * MIB)
    told: list[tuple[int, int]] = []
    ram.on_write.append(lambda paddr, n: told.append((paddr, n)))
    Dma(ram).write(0x9FFF0, bytes(32))
    Dma(ram).write(MIB + 5, b"x")
    assert told == [(0x9FFF0, 16), (MIB + 5, 1)]


def resident(ram: GuestRam) -> int:
    """Bytes of the process that are in memory."""
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * mmap.PAGESIZE


def test_pages_that_are_discarded_go_back_to_the_host_and_read_as_zeros() -> None:
    ram = GuestRam(32 * MIB)
    told: list[tuple[int, int]] = []
    ram.on_write.append(lambda address, length: told.append((address, length)))
    ram.view[: 32 * MIB] = b"\x5a" * (32 * MIB)
    before = resident(ram)
    ram.discard(8 * MIB, 16 * MIB)
    assert before - resident(ram) > 15 * MIB
    assert told == [(8 * MIB, 16 * MIB)]
    assert bytes(ram.view[8 * MIB : 24 * MIB]).count(0) == 16 * MIB
    assert ram.view[8 * MIB - 1] == ram.view[24 * MIB] == 0x5A


def test_only_whole_pages_are_discarded() -> None:
    ram = GuestRam(4 * MIB)
    ram.view[: 4 * MIB] = b"\x5a" * (4 * MIB)
    ram.discard(2 * MIB + 1, 2 * PAGE)
    assert bytes(ram.view[2 * MIB : 2 * MIB + 3 * PAGE]) == b"\x5a" * PAGE + bytes(PAGE) + b"\x5a" * PAGE
    ram.discard(3 * MIB + 1, PAGE)
    assert bytes(ram.view[3 * MIB :]).count(0) == 0


def test_discarding_rom_video_memory_and_what_is_no_memory_changes_nothing() -> None:
    ram = GuestRam(4 * MIB, 0x20000)
    ram.view[:] = b"\x5a" * len(ram.view)
    for address, length in ((0xA0000, 0x60000), (4 * MIB, MIB), (FOUR_GIB - 0x20000, 0x20000)):
        ram.discard(address, length)
    for page in (1 << 20, 0x80000005, 0xFFFFFFFF):
        ram.discard(page << 12, PAGE)
    ram.discard(FOUR_GIB - PAGE, 64 * MIB)
    ram.discard(1 << 63, 1 << 63)
    assert bytes(ram.view).count(0x5A) == len(ram.view)


def test_memory_that_is_not_our_own_is_zeroed() -> None:
    own = bytearray(b"\x5a" * buffer_length(MIB, 0))
    GuestRam(MIB, buffer=own).discard(PAGE, PAGE)
    assert own.count(0) == PAGE
