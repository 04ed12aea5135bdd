from __future__ import annotations

import pytest

from bios.pc.acpi import aml


@pytest.mark.parametrize(("length", "size"), [(0, 1), (62, 1), (63, 2), (0xFFD, 2), (0xFFE, 3)])
def test_package_lengths_count_themselves(length: int, size: int) -> None:
    encoded = aml.package_length(bytes(length))
    assert len(encoded) == length + size
    extra = encoded[0] >> 6
    assert extra == size - 1
    total = encoded[0] & (0x3F if extra == 0 else 0x0F)
    for n in range(extra):
        total |= encoded[1 + n] << (4 + 8 * n)
    assert total == len(encoded)


def test_names_are_padded_and_chained() -> None:
    assert aml.name_string("_SB") == b"_SB_"
    assert aml.name_string("\\_SB.PCI0") == b"\\\x2e_SB_PCI0"
    with pytest.raises(ValueError, match="four characters"):
        aml.name_string("TOOLONG")


def test_an_eisa_id_is_packed_as_the_specification_shows() -> None:
    assert aml.eisa_id("PNP0303") == bytes.fromhex("0c41d00303")


def test_a_field_counts_bits_and_a_buffer_bytes() -> None:
    assert aml.field("PIRQ", aml.BYTE, ("PRQ0", 8)) == b"\x5b\x81\x0bPIRQ\x01PRQ0\x08"
    assert aml.buffer(b"abc") == b"\x11\x06\x0a\x03abc"


def test_a_resource_template_ends_with_its_end_tag() -> None:
    assert aml.resources(aml.irq(4)) == b"\x11\x08\x0a\x05\x22\x10\x00\x79\x00"
