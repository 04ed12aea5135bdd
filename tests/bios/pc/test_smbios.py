"""The SMBIOS tables, read by dmidecode; and what -smbios may say of them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from bios.pc.smbios import KEYS, Words, entry_point, firmware_files, structures, uuid_bytes

UUID = "12345678-9abc-def0-1234-56789abcdef0"


def table(words: Words, ram: int = 256 << 20, *, bios: bool = True) -> tuple[bytes, int, int]:
    return structures(words, ram_size=ram, cpu_signature=0x673, cpu_features=0x383FBFF, bios=bios)


def parts(data: bytes) -> dict[int, list[tuple[bytes, list[bytes]]]]:
    """{type: [(formatted part, strings)]}, read as a guest does."""
    out: dict[int, list[tuple[bytes, list[bytes]]]] = {}
    at = 0
    while at < len(data):
        end = data.index(b"\0\0", at + data[at + 1]) + 2
        text = data[at + data[at + 1] : end - 2]
        out.setdefault(data[at], []).append((data[at : at + data[at + 1]], text.split(b"\0") if text else []))
        at = end
    assert at == len(data)
    return out


def test_lengths_are_those_of_version_2_8() -> None:
    words = Words()
    words.add(2, {"product": "board"})
    words.add(11, {"value": "one"})
    found = parts(table(words)[0])
    lengths = {kind: len(items[0][0]) for kind, items in found.items()}
    assert lengths == {0: 24, 1: 27, 2: 15, 3: 22, 4: 42, 11: 5, 16: 23, 17: 40, 19: 31, 32: 11, 127: 4}


def test_the_anchor_counts_what_is_there() -> None:
    data, count, largest = table(Words())
    found = parts(data)
    assert count == sum(len(items) for items in found.values())
    assert largest < 100
    entry = entry_point(0xF4020, len(data), count, largest)
    assert len(entry) == 31 and entry[5] == 31
    assert sum(entry) & 0xFF == 0 and sum(entry[16:]) & 0xFF == 0
    assert int.from_bytes(entry[22:24], "little") == len(data)


def test_words_appear_where_they_belong_and_the_uuid_in_its_byte_order() -> None:
    words = Words()
    words.add(1, {"manufacturer": "Mäker", "product": "Thing", "serial": "S1", "uuid": UUID})
    words.add(0, {"vendor": "V", "release": "3.7", "uefi": "on"})
    words.add(17, {"speed": "2400", "loc_pfx": "Slot "})
    found = parts(table(words)[0])
    formatted, strings = found[1][0]
    assert strings == ["Mäker".encode(), b"Thing", b"1", b"S1"]
    assert formatted[8:24].hex() == "78563412bc9af0de123456789abcdef0"
    assert found[0][0][0][0x13] & 0x08 and found[0][0][0][0x14:0x16] == b"\3\7"
    assert found[17][0][1][0] == b"Slot 0" and found[17][0][0][0x15:0x17] == (2400).to_bytes(2, "little")


def test_much_memory_is_several_modules() -> None:
    found = parts(table(Words(), 40 << 30)[0])
    assert len(found[17]) == 3
    assert [int.from_bytes(item[0][0x0C:0x0E], "little") for item in found[17]] == [16 << 10, 16 << 10, 8 << 10]
    assert int.from_bytes(found[16][0][0][13:15], "little") == 3


def test_other_firmware_describes_itself_unless_somebody_does() -> None:
    assert 0 not in parts(table(Words(), bios=False)[0])
    words = Words()
    words.add(0, {"vendor": "V"})
    assert 0 in parts(table(words, bios=False)[0])
    files = firmware_files(words, ram_size=1 << 24, cpu_signature=0, cpu_features=0)
    assert sorted(files) == ["etc/smbios/smbios-anchor", "etc/smbios/smbios-tables"]


def test_a_whole_structure_replaces_ours() -> None:
    words = Words()
    words.add_structure(b"\x02\x06\x00\x02\x01\x00Someone\0\0")
    words.add_structure(b"\x01\x05\x00\x01\x01Own\0\0")
    found = parts(table(words)[0])
    assert found[1] == [(b"\x01\x05\x00\x01\x01", [b"Own"])]
    assert found[2][0][1] == [b"Someone"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01\x05\x00\x01",
        b"\x01\x03\x00\x01\x00\x00",
        b"\x01\xff\x00\x01\x00\x00",
        b"\x7f\x04\x00\x01\x00\x00",
        b"\x01\x04\x00\x01a\0\0\x01\x04\x00\x01a\0\0",
        b"\x01\x04\x00\x01abc",
    ],
)
def test_what_is_no_structure_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="one SMBIOS structure"):
        Words().add_structure(data)


@pytest.mark.parametrize(
    ("kind", "given", "text"),
    [
        (5, {}, "type 5 cannot be described"),
        (1, {"bios": "x"}, "type 1 has no 'bios'"),
        (1, {"uuid": "12"}, "expected a UUID"),
        (4, {"max-speed": "fast"}, "expected a number"),
        (4, {"max-speed": "65536"}, "from 0 to 65535"),
        (0, {"release": "1"}, "release"),
        (0, {"uefi": "maybe"}, "on or off"),
        (1, {"serial": "a\0b"}, "zero byte"),
        (1, {"serial": "a" * 2000}, "1024 bytes"),
    ],
)
def test_a_wrong_word_is_named(kind: int, given: dict[str, str], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Words().add(kind, given)


def test_more_than_fits_is_refused() -> None:
    words = Words()
    for _ in range(30):
        words.add(11, {"value": "x" * 1000})
    with pytest.raises(ValueError, match="at most"):
        table(words)


def test_a_uuid_is_sixteen_bytes() -> None:
    assert uuid_bytes(UUID.upper()).hex() == UUID.replace("-", "")


@pytest.mark.skipif(shutil.which("dmidecode") is None, reason="dmidecode is not installed")
def test_dmidecode_reads_every_word(tmp_path: Path) -> None:
    words = Words()
    for kind, keys in KEYS.items():
        special = {"uuid": UUID, "release": "1.2", "uefi": "on"}
        numbers = {key: "777" for key in keys if key.endswith("speed")}
        words.add(
            kind, {key: f"<{kind}-{key}>" for key in keys} | {k: v for k, v in special.items() if k in keys} | numbers
        )
    data, count, largest = table(words)
    dump = tmp_path / "dump"
    dump.write_bytes(entry_point(0x20, len(data), count, largest).ljust(0x20, b"\0") + data)
    run = subprocess.run(
        ["dmidecode", "--from-dump", str(dump)], capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 0, run.stderr
    seen = run.stdout
    for kind, keys in KEYS.items():
        for key in keys:
            if key not in ("uuid", "release", "uefi") and not key.endswith("speed"):
                assert f"<{kind}-{key}>" in seen, key
    for line in (f"UUID: {UUID}", "BIOS Revision: 1.2", "Size: 256 MB", "Max Speed: 777 MHz", "SMBIOS 2.8 present."):
        assert line in seen, seen
    for word in ("BROKEN", "OUT OF SPEC", "invalid", "Wrong"):
        assert word not in seen, seen
