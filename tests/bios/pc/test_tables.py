from __future__ import annotations

import itertools
import shutil
import subprocess
from pathlib import Path

import pytest

from bios.pc import aml, rom, tables
from bios.pc.acpi import acpi_tables, root_pointer
from bios.pc.firmware import Bios
from bios.pc.memory_map import memory_map, table_area
from bios.plan import ACPI_DATA, ACPI_NVS
from tests.bios.fake_host import FakeHost, Machine


def find(image: bytes, signature: bytes) -> int:
    found = [at for at in range(0, len(image), 16) if image[at : at + len(signature)] == signature]
    assert len(found) == 1
    return found[0]


def acpi(host: FakeHost) -> dict[bytes, bytes]:
    area = table_area(host.ram_size)
    assert area is not None
    return {data[:4]: data for _, data in acpi_tables(host, area)}


def test_the_root_pointer_is_found_by_scanning_the_rom() -> None:
    host = FakeHost(16 << 20)
    image = Bios(host).rom()
    pointer = image[find(image, b"RSD PTR ") :][:20]
    assert sum(pointer) & 0xFF == 0
    assert int.from_bytes(pointer[16:20], "little") == table_area(16 << 20)


def test_every_acpi_table_adds_up_to_zero_and_names_its_length() -> None:
    for signature, data in acpi(FakeHost(16 << 20)).items():
        assert int.from_bytes(data[4:8], "little") == len(data)
        if signature != b"FACS":
            assert sum(data) & 0xFF == 0


def test_the_tables_lie_apart_in_memory_that_the_map_calls_acpis() -> None:
    host = FakeHost(16 << 20)
    area = table_area(host.ram_size)
    assert area is not None
    placed = sorted((address, address + len(data), data[:4]) for address, data in acpi_tables(host, area))
    for before, after in itertools.pairwise(placed):
        assert before[1] <= after[0]
    for start, end, signature in placed:
        kind = ACPI_NVS if signature == b"FACS" else ACPI_DATA
        assert any(e.kind == kind and e.start <= start and end <= e.end for e in memory_map(host.ram_size))
        assert start % 64 == 0 or signature != b"FACS"


def test_the_rsdt_lists_the_other_tables_by_address() -> None:
    host = FakeHost(16 << 20)
    area = table_area(host.ram_size)
    assert area is not None
    placed = {address: data[:4] for address, data in acpi_tables(host, area)}
    rsdt = acpi(host)[b"RSDT"]
    listed = [int.from_bytes(rsdt[at : at + 4], "little") for at in range(36, len(rsdt), 4)]
    assert [placed[address] for address in listed] == [b"FACP", b"APIC"]
    fadt = acpi(host)[b"FACP"]
    assert len(fadt) == 116
    assert placed[int.from_bytes(fadt[36:40], "little")] == b"FACS"
    assert placed[int.from_bytes(fadt[40:44], "little")] == b"DSDT"


def test_without_an_io_apic_there_is_no_madt_and_no_mp_table() -> None:
    host = FakeHost(16 << 20, apic=False)
    assert b"APIC" not in acpi(host)
    assert b"_MP_" not in Bios(host).rom()


def test_a_machine_with_little_ram_has_no_acpi_tables() -> None:
    host = FakeHost(1 << 20)
    assert b"RSD PTR " not in Bios(host).rom()
    Machine(host)


def test_post_writes_the_tables_into_ram() -> None:
    host = FakeHost(16 << 20)
    Machine(host)
    area = table_area(16 << 20)
    assert area is not None
    assert host.ram[area : area + 4] == b"RSDT"


def test_the_root_pointer_has_the_checksum_of_acpi_1() -> None:
    assert sum(root_pointer(0x12340000)) & 0xFF == 0


@pytest.mark.skipif(shutil.which("iasl") is None, reason="iasl is not installed")
def test_a_disassembler_reads_the_dsdt(tmp_path: Path) -> None:
    file = tmp_path / "dsdt.aml"
    file.write_bytes(acpi(FakeHost(16 << 20))[b"DSDT"])
    run = subprocess.run(["iasl", "-d", str(file)], capture_output=True, text=True, check=False, cwd=tmp_path)
    source = (tmp_path / "dsdt.dsl").read_text()
    assert run.returncode == 0
    for wanted in ("PNP0A03", "_PRT", "_S5", "PNP0303", "PNP0501", "CPU0", "0xE0000000"):
        assert wanted in source


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


def test_the_smbios_entry_and_its_structures_hold_together() -> None:
    image = Bios(FakeHost(64 << 20)).rom()
    at = find(image, b"_SM_")
    entry = image[at : at + 0x1F]
    assert sum(entry) & 0xFF == 0
    assert entry[16:21] == b"_DMI_"
    assert sum(entry[16:]) & 0xFF == 0
    length, address = int.from_bytes(entry[22:24], "little"), int.from_bytes(entry[24:28], "little")
    count = int.from_bytes(entry[28:30], "little")
    body = image[address - rom.BASE : address - rom.BASE + length]
    kinds, position = [], 0
    while position < len(body):
        kinds.append(body[position])
        position = body.index(b"\0\0", position + body[position + 1]) + 2
    assert position == len(body)
    assert len(kinds) == count
    assert kinds[-1] == 127
    assert {0, 1, 3, 4, 16, 17, 19, 32} <= set(kinds)


def test_the_mp_table_names_one_cpu_and_wires_every_isa_interrupt() -> None:
    image = Bios(FakeHost()).rom()
    at = find(image, b"_MP_")
    pointer = image[at : at + 16]
    assert sum(pointer) & 0xFF == 0
    table = int.from_bytes(pointer[4:8], "little") - rom.BASE
    length = int.from_bytes(image[table + 4 : table + 6], "little")
    config = image[table : table + length]
    assert config[:4] == b"PCMP"
    assert sum(config) & 0xFF == 0
    assert int.from_bytes(config[36:40], "little") == 0xFEE00000
    position, kinds, isa = 44, [], {}
    while position < length:
        kind = config[position]
        kinds.append(kind)
        if kind == 3 and config[position + 4] == 1:
            isa[config[position + 5]] = config[position + 7]
        position += 20 if kind == 0 else 8
    assert position == length
    assert kinds.count(0) == 1
    assert kinds.count(2) == 1
    assert isa[0] == 2
    assert (isa[1], isa[4], isa[14]) == (1, 4, 14)


def test_the_pci_routing_table_covers_the_slots() -> None:
    image = Bios(FakeHost()).rom()
    at = find(image, b"$PIR")
    size = int.from_bytes(image[at + 6 : at + 8], "little")
    table = image[at : at + size]
    assert sum(table) & 0xFF == 0
    assert (size - 32) % 16 == 0
    assert table == tables.routing_table()
    slot_3 = table[32 + 16 * 2 : 32 + 16 * 3]
    assert slot_3[1] == 3 << 3
    assert [slot_3[2 + 3 * pin] for pin in range(4)] == [0x62, 0x63, 0x60, 0x61]
