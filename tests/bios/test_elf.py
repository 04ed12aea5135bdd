from __future__ import annotations

import pytest

from bios.elf import parse
from bios.image import Module, load_kernel
from bios.plan import ImageError
from tests.bios.kernels import MAP, elf, pvh_note


def with_header_size(data: bytes, size: int) -> bytes:
    """A little-endian file that claims program headers of another size."""
    return data[:42] + size.to_bytes(2, "little") + data[44:]


def test_segments_and_their_zeros_are_planned() -> None:
    made = load_kernel("a.elf", elf((0x100000, 0x100000, b"text", 8), (0x200000, 0x200000, b"", 16)), MAP)
    assert made.kind == "elf"
    assert dict(made.segments)[0x100000] == b"text"
    assert made.zeros == ((0x100004, 4), (0x200000, 16))


def test_a_plain_kernel_is_entered_in_flat_protected_mode() -> None:
    state = dict(load_kernel("a.elf", elf((0x100000, 0x100000, b"text", 4), entry=0x100002), MAP).registers)
    assert (state["eip"], state["cs"], state["cs.limit"]) == (0x100002, 8, 0xFFFFFFFF)
    assert state["cr0"] & 1


def test_a_virtual_entry_is_translated_through_its_segment() -> None:
    data = elf((0xC0100000, 0x100000, b"text", 4), entry=0xC0100002)
    assert parse("a.elf", data, MAP).entry == 0x100002


def test_a_physical_entry_is_left_alone() -> None:
    data = elf((0x80100000, 0x100000, b"text", 4), entry=0x100002)
    assert parse("a.elf", data, MAP).entry == 0x100002


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (elf((0, 0x100000, b"x", 1), klass=2), "64-bit"),
        (elf((0, 0x100000, b"x", 1), machine=8), "machine 8"),
        (elf((0, 0x100000, b"x", 1), kind=1), "type 1"),
        (elf((0, 0x100000, b"xy", 1)), "more data than room"),
        (elf((0, 0xA0000, b"x", 1)), "into RAM"),
        (elf((0, 0x4000000 - 1, b"xy", 2)), "not all RAM"),
        (elf((0, 0xFFFFF, b"x", 0x3F00002)), "not all RAM"),
        (elf((0, 0x100000, b"", 0xFFFFFFFF)), "not all RAM"),
        (elf((0, 0x100000, b"abcd", 4), (0, 0x100002, b"abcd", 4)), "overlap"),
        (elf(), "none of them loads"),
        (elf((0, 0x100000, b"abcd", 4))[:60], "program headers"),
        (elf((0, 0x100000, b"abcd", 4))[:-1], "the file has"),
        (with_header_size(elf((0, 0x100000, b"abcd", 4), (0, 0x200000, b"x", 1)), 40), "headers of 40 bytes"),
        (b"\x7fELF\x01\x01", "an ELF header has 52"),
    ],
)
def test_what_cannot_be_loaded_is_refused_in_one_line(data: bytes, complaint: str) -> None:
    with pytest.raises(ImageError, match=complaint) as refusal:
        parse("bad.elf", data, MAP)
    assert str(refusal.value).startswith("bad.elf: ")
    assert "\n" not in str(refusal.value)


def test_what_a_segment_has_in_the_hole_below_1_mib_is_left_out() -> None:
    made = parse("a.elf", elf((0xFF000, 0xFF000, b"h" * 0x1000 + b"code", 0x1010), entry=0x100000), MAP)
    assert [(part.physical, part.data, part.size) for part in made.segments] == [(0x100000, b"code", 0x10)]


def test_an_initrd_for_a_plain_elf_is_refused() -> None:
    with pytest.raises(ImageError, match="boot protocol"):
        load_kernel("a.elf", elf((0, 0x100000, b"x", 1)), MAP, modules=(Module(b"i"),))


def test_a_pvh_kernel_gets_its_start_information() -> None:
    data = elf((0, 0x100000, b"x", 0x1000), notes=pvh_note(0x100040))
    made = load_kernel("vmlinux", data, MAP, command_line="quiet", modules=(Module(b"initrd"),))
    state = dict(made.registers)
    assert (made.kind, state["eip"]) == ("pvh", 0x100040)
    info = dict(made.segments)[state["ebx"]]

    def number(at: int, size: int) -> int:
        return int.from_bytes(info[at : at + size], "little")

    assert (number(0, 4), number(12, 4), number(48, 4)) == (0x336EC578, 1, len(MAP))
    line = number(24, 8) - state["ebx"]
    assert info[line : line + 6] == b"quiet\0"
    module = number(16, 8) - state["ebx"]
    assert number(module + 8, 8) == 6
    assert dict(made.segments)[number(module, 8)] == b"initrd"
