"""The tables as Intel's compiler and as a table loader see them."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from bios.pc.acpi import Board, acpi_tables, firmware_files, link, root_pointer

BOARDS = {
    "all": Board(256 << 20, floppy=True, parallel=((0x378, 7),)),
    "least": Board(4 << 20, apic=False, hpet=False, serial=(), states=()),
    "much RAM": Board(3584 << 20),
}


def placed(board: Board, at: int = 0x100000) -> dict[str, bytes]:
    places, out = {}, {}
    for table in acpi_tables(board):
        at = (at + table.align - 1) & -table.align
        places[table.name] = at
        out[table.name] = link(table, places)
        at += len(table.data)
    return out


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_every_table_adds_up_to_zero_and_names_its_length(board: Board) -> None:
    for name, data in placed(board).items():
        assert data[:4].decode() == name
        assert int.from_bytes(data[4:8], "little") == len(data)
        assert name == "FACS" or sum(data) & 0xFF == 0


def test_pointers_lead_to_the_tables_that_they_name() -> None:
    places = {table.name: 0x1000 * n for n, table in enumerate(acpi_tables(BOARDS["all"]), 1)}
    tables = {table.name: link(table, places) for table in acpi_tables(BOARDS["all"])}
    rsdt, fadt = tables["RSDT"], tables["FACP"]
    listed = [int.from_bytes(rsdt[at : at + 4], "little") for at in range(36, len(rsdt), 4)]
    assert listed == [places[name] for name in ("FACP", "APIC", "HPET", "WAET")]
    assert len(fadt) == 116
    assert struct.unpack("<II", fadt[36:44]) == (places["FACS"], places["DSDT"])
    root = link(root_pointer(), places)
    assert root[16:20] == places["RSDT"].to_bytes(4, "little")
    assert sum(root) & 0xFF == 0


def test_a_board_without_apic_or_hpet_does_not_describe_them() -> None:
    assert set(placed(BOARDS["least"])) == {"FACS", "DSDT", "FACP", "WAET", "RSDT"}
    assert b"HPET" not in placed(BOARDS["least"])["DSDT"]
    assert b"_S3_" not in placed(BOARDS["least"])["DSDT"]
    assert b"_S5_" in placed(BOARDS["least"])["DSDT"]


def load(files: dict[str, bytes], bases: dict[str, int]) -> dict[str, bytearray]:
    """What a firmware does with etc/table-loader."""
    memory: dict[str, bytearray] = {}
    script = files["etc/table-loader"]
    assert len(script) % 128 == 0
    for at in range(0, len(script), 128):
        record = script[at : at + 128]
        (command,) = struct.unpack_from("<I", record)
        name = record[4:60].rstrip(b"\0").decode()
        if command == 1:
            align, zone = struct.unpack_from("<IB", record, 60)
            assert bases[name] % align == 0
            assert zone == (2 if bases[name] < 0x100000 else 1)
            memory[name] = bytearray(files[name])
        elif command == 2:
            source = record[60:116].rstrip(b"\0").decode()
            offset, size = struct.unpack_from("<IB", record, 116)
            value = int.from_bytes(memory[name][offset : offset + size], "little") + bases[source]
            memory[name][offset : offset + size] = value.to_bytes(size, "little")
        else:
            assert command == 3
            offset, start, length = struct.unpack_from("<III", record, 60)
            memory[name][offset] = memory[name][offset] - sum(memory[name][start : start + length]) & 0xFF
    return memory


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_a_table_loader_gets_the_tables_that_our_own_firmware_places(board: Board) -> None:
    bases = {"etc/acpi/tables": 0x7FE0040, "etc/acpi/rsdp": 0xF5A50}
    memory = load(firmware_files(board), bases)
    root, blob = memory["etc/acpi/rsdp"], memory["etc/acpi/tables"]
    assert root[:8] == b"RSD PTR "
    assert sum(root) & 0xFF == 0

    def table(address: int) -> bytes:
        at = address - bases["etc/acpi/tables"]
        return bytes(blob[at : at + int.from_bytes(blob[at + 4 : at + 8], "little")])

    rsdt = table(int.from_bytes(root[16:20], "little"))
    listed = [table(int.from_bytes(rsdt[at : at + 4], "little")) for at in range(36, len(rsdt), 4)]
    fadt = next(data for data in listed if data[:4] == b"FACP")
    facs, dsdt = (table(int.from_bytes(fadt[at : at + 4], "little")) for at in (36, 40))
    assert {data[:4].decode() for data in (rsdt, facs, dsdt, *listed)} == set(placed(board))
    assert all(sum(data) & 0xFF == 0 for data in (rsdt, dsdt, *listed))
    assert dsdt == placed(board)["DSDT"]
    assert (int.from_bytes(fadt[36:40], "little")) % 64 == 0


def test_sleep_states_that_are_not_offered_are_not_marked() -> None:
    assert firmware_files(BOARDS["all"])["etc/system-states"] == bytes((0x80, 0, 0, 0x81, 0x82, 0x80))
    assert firmware_files(BOARDS["least"])["etc/system-states"] == bytes((0x80, 0, 0, 0x01, 0x02, 0x80))
    only_4 = Board(64 << 20, states=(4,))
    assert firmware_files(only_4)["etc/system-states"] == bytes((0x80, 0, 0, 0x01, 0x82, 0x80))
    assert b"_S4_" in placed(only_4)["DSDT"] and b"_S3_" not in placed(only_4)["DSDT"]


@pytest.mark.skipif(shutil.which("iasl") is None, reason="iasl is not installed (package acpica-tools)")
@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_the_compiler_reads_every_table_and_compiles_the_dsdt_again(board: Board, tmp_path: Path) -> None:
    def iasl(*words: str) -> str:
        run = subprocess.run(["iasl", *words], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60)
        assert run.returncode == 0, run.stderr
        return run.stdout + run.stderr

    for name, data in placed(board).items():
        (tmp_path / f"{name}.dat").write_bytes(data)
        seen = iasl("-d", f"{name}.dat")
        assert not any(word in seen for word in ("Error", "Warning", "Invalid", "corrupt")), seen
        assert "Unknown" not in (tmp_path / f"{name}.dsl").read_text()
    source = (tmp_path / "DSDT.dsl").read_text()
    for wanted in ("PNP0A03", "_PRT", "_S5", "PNP0303", "CPU0", "PNP0C0F", "QEMU0002"):
        assert wanted in source
    assert "0 Errors" in iasl("-p", "again", "DSDT.dsl")
