from __future__ import annotations

import itertools

from bios.pc import rom, tables
from bios.pc.firmware import Bios
from bios.pc.memory_map import memory_map
from bios.plan import ACPI_DATA, ACPI_NVS
from tests.bios.fake_host import FakeHost, Machine


def find(image: bytes, signature: bytes) -> int:
    found = [at for at in range(0, len(image), 16) if image[at : at + len(signature)] == signature]
    assert len(found) == 1
    return found[0]


def acpi(host: FakeHost) -> dict[str, bytes]:
    return {name: data for name, (_, data) in tables.place_acpi(host).items()}


def test_the_root_pointer_is_found_by_scanning_the_rom() -> None:
    host = FakeHost(16 << 20)
    image = Bios(host).rom()
    pointer = image[find(image, b"RSD PTR ") :][:20]
    assert sum(pointer) & 0xFF == 0
    assert int.from_bytes(pointer[16:20], "little") == tables.place_acpi(host)["RSDT"][0]


def test_the_tables_lie_apart_in_memory_that_the_map_calls_acpis() -> None:
    host = FakeHost(16 << 20)
    placed = sorted((at, at + len(data), name) for name, (at, data) in tables.place_acpi(host).items())
    for before, after in itertools.pairwise(placed):
        assert before[1] <= after[0]
    for start, end, name in placed:
        kind = ACPI_NVS if name == "FACS" else ACPI_DATA
        assert any(e.kind == kind and e.start <= start and end <= e.end for e in memory_map(host.ram_size))


def test_without_an_io_apic_there_is_no_madt_and_no_mp_table() -> None:
    host = FakeHost(16 << 20, apic=False)
    assert "APIC" not in acpi(host)
    assert b"_MP_" not in Bios(host).rom()


def test_a_board_without_acpi_has_neither_tables_nor_a_pointer_to_them() -> None:
    host = FakeHost(16 << 20)
    host.acpi = None
    assert b"RSD PTR " not in Bios(host).rom()
    assert acpi(host) == {}


def test_a_machine_with_little_ram_has_no_acpi_tables() -> None:
    host = FakeHost(1 << 20)
    assert b"RSD PTR " not in Bios(host).rom()
    Machine(host)


def test_post_writes_the_tables_into_ram() -> None:
    host = FakeHost(16 << 20)
    Machine(host)
    for at, data in tables.place_acpi(host).values():
        assert host.ram[at : at + len(data)] == data


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
