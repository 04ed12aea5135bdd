from __future__ import annotations

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bios.image import Format, Module, load_flat, load_kernel, recognise
from bios.plan import ImageError, LoadPlan, MemoryRange, fits, gunzip, low_hole, usable_ram
from tests.bios.kernels import MAP, bzimage, elf, multiboot_header, pvh_note

BOOT = bytes(510) + b"\x55\xaa"


@pytest.mark.parametrize(
    ("data", "size", "form"),
    [
        (b"", 0, Format.EMPTY),
        (gzip.compress(b"x"), None, Format.GZIP),
        (bzimage(), None, Format.LINUX),
        (multiboot_header(), None, Format.MULTIBOOT),
        (elf((0, 0x100000, b"x", 1)), None, Format.ELF32),
        (elf((0, 0x100000, b"x", 1), klass=2), None, Format.ELF64),
        (bytes(0x8001) + b"CD001", 1 << 20, Format.CDROM),
        (BOOT, 512, Format.BOOT_SECTOR),
        (BOOT, 1440 << 10, Format.FLOPPY),
        (bytes(512), 160 << 10, Format.FLOPPY),
        (BOOT, 10 << 20, Format.DISK),
        (b"QFI\xfb" + bytes(600), None, Format.FOREIGN_DISK),
        (b"\xeb\xfe", None, Format.FLAT),
    ],
)
def test_formats_are_recognised(data: bytes, size: int | None, form: Format) -> None:
    assert recognise(data, size) is form


def test_a_compressed_kernel_is_unpacked_first() -> None:
    data = bzimage()
    assert load_kernel("vmlinuz", gzip.compress(data), MAP) == load_kernel("vmlinuz", data, MAP)


def test_a_gzip_bomb_stops_at_the_limit() -> None:
    with pytest.raises(ImageError, match="more than the 1000 bytes"):
        gunzip("bomb", gzip.compress(bytes(1 << 20)), 1000)


@pytest.mark.parametrize(("cut", "complaint"), [(30, "truncated"), (3, "truncated")])
def test_a_truncated_gzip_file_is_refused(cut: int, complaint: str) -> None:
    with pytest.raises(ImageError, match=complaint):
        gunzip("kernel.gz", gzip.compress(bytes(range(256)) * 20)[:cut], 1 << 20)


def test_a_damaged_gzip_file_is_refused() -> None:
    data = bytearray(gzip.compress(bytes(range(256)) * 20))
    data[-8] ^= 0xFF
    with pytest.raises(ImageError, match="damaged"):
        gunzip("kernel.gz", bytes(data), 1 << 20)


@pytest.mark.parametrize("data", [b"", BOOT + bytes(5000), b"QFI\xfb" + bytes(600)])
def test_a_disk_is_no_kernel(data: bytes) -> None:
    with pytest.raises(ImageError, match="expected a bzImage"):
        load_kernel("disk.img", data, MAP)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"hello\n", "text"),
        (b"\x27\x05\x19\x56" + bytes(100), "a uImage"),
        (b"MZ" + bytes(100), "a cut bzImage"),
        (b"070701" + bytes(100), "a cpio archive"),
        (b"PK\x03\x04" + bytes(100), "a zip archive"),
    ],
)
def test_a_file_of_another_kind_is_no_flat_binary(data: bytes, what: str) -> None:
    with pytest.raises(ImageError, match=f"{what}.* at offset 0: expected a bzImage"):
        load_kernel("a", data, MAP)


def test_a_flat_binary_is_entered_where_it_lies() -> None:
    made = load_flat("a.bin", b"\xeb\xfe", MAP)
    state = dict(made.registers)
    assert made.segments == ((0x7C00, b"\xeb\xfe"),)
    assert (state["cs"], state["eip"], state["edx"]) == (0, 0x7C00, 0x80)
    high = dict(load_flat("a.bin", b"\xeb\xfe", MAP, address=0x20004).registers)
    assert (high["cs"], high["eip"]) == (0x2000, 4)


def test_a_flat_binary_must_fit_below_640_kib() -> None:
    with pytest.raises(ImageError, match="below 1 MiB"):
        load_flat("a.bin", bytes(0x98001), MAP)


def test_neighbouring_ram_counts_as_one() -> None:
    ranges = (MemoryRange(0x1000, 0x1000, 1), MemoryRange(0x2000, 0x1000, 1), MemoryRange(0x3000, 0x1000, 2))
    assert usable_ram(ranges) == [(0x1000, 0x3000)]
    assert fits(ranges, 0x1800, 0x1000)
    assert not fits(ranges, 0x2800, 0x1000)


def test_a_low_hole_avoids_what_is_taken() -> None:
    assert low_hole(MAP, 0x1000, []) == 0x9E000
    assert low_hole(MAP, 0x1000, [(0x9E800, 4)]) == 0x9D000
    assert low_hole(MAP, 0x1000, [(0, 0xA0000)]) is None


KERNELS = [
    bzimage(),
    bzimage(version=0x201),
    elf((0x100000, 0x100000, multiboot_header() + b"code", 0x2000)),
    multiboot_header(0x10000, 0x200000, 0x200000, 0x200020, 0x200100, 0x200000) + bytes(64),
    elf((0, 0x100000, b"x" * 100, 0x1000), notes=pvh_note(0x100040)),
]


def check(made: LoadPlan) -> None:
    """Nothing goes outside RAM, nothing overlaps."""
    spans = sorted([(start, start + len(data)) for start, data in made.segments if data])
    for start, end in [*spans, *((start, start + size) for start, size in made.zeros)]:
        assert fits(MAP, start, end - start)
    for before, after in zip(spans, spans[1:], strict=False):  # noqa: RUF007 (clearer than pairwise beside the slice)
        assert before[1] <= after[0]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(KERNELS),
    st.lists(st.tuples(st.integers(0, 0x300), st.binary(min_size=1, max_size=4)), max_size=6),
    st.integers(0, 6000),
    st.booleans(),
)
def test_a_mutated_or_cut_kernel_is_loaded_inside_ram_or_refused(
    data: bytes, changes: list[tuple[int, bytes]], keep: int, with_module: bool
) -> None:
    mutated = bytearray(data)
    for at, new in changes:
        if at + len(new) <= len(mutated):
            mutated[at : at + len(new)] = new
    modules = (Module(b"m" * 3000, "m"),) if with_module else ()
    try:
        check(load_kernel("k", bytes(mutated[:keep]), MAP, command_line="c", modules=modules))
    except ImageError as refusal:
        assert "\n" not in str(refusal)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=2000))
def test_any_bytes_are_loaded_inside_ram_or_refused(data: bytes) -> None:
    try:
        check(load_kernel("k", data, MAP))
    except ImageError as refusal:
        assert "\n" not in str(refusal)


@pytest.mark.parametrize("data", KERNELS)
def test_every_truncation_of_a_good_kernel_is_loaded_or_refused(data: bytes) -> None:
    for keep in range(0, min(len(data), 1200), 7):
        try:
            check(load_kernel("k", data[:keep], MAP))
        except ImageError as refusal:
            assert "\n" not in str(refusal)
