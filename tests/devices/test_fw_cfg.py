"""fw_cfg by ports and by DMA."""

from __future__ import annotations

import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.fw_cfg import FwCfg


@pytest.fixture
def cfg(memory):
    made = FwCfg(memory=memory, ram_size=0x1000_0000, cpus=1)
    made.add_file("opt/b", b"second")
    made.add_file("etc/a", bytes(range(200)))
    return made


def read_item(cfg, key, length):
    cfg.write(0, 2, key)
    return bytes(cfg.read(1, 1) for _ in range(length))


def dma(cfg, memory, control, length=0, target=0, at=0x100):
    memory.write(at, struct.pack(">IIQ", control, length, target))
    cfg.write_dma(0, 4, 0)
    cfg.write_dma(4, 4, int.from_bytes(at.to_bytes(4, "big"), "little"))
    return struct.unpack(">I", memory.read(at, 4))[0]


def test_the_signature_and_the_features_are_found(cfg):
    assert read_item(cfg, 0, 4) == b"QEMU"
    assert read_item(cfg, 1, 4) == b"\3\0\0\0"
    assert cfg.read_dma(0, 4).to_bytes(4, "little") + cfg.read_dma(4, 4).to_bytes(4, "little") == b"QEMU CFG"


def test_memory_size_and_processors_are_told(cfg):
    assert int.from_bytes(read_item(cfg, 3, 8), "little") == 0x1000_0000
    assert read_item(cfg, 5, 2) == b"\1\0"


def test_the_directory_lists_files_by_name_with_size_and_key(cfg):
    count = int.from_bytes(read_item(cfg, 0x19, 4), "big")
    entries = {}
    for n in range(count):
        entry = read_item(cfg, 0x19, 4 + 64 * (n + 1))[-64:]
        size, key, _, name = struct.unpack(">IHH56s", entry)
        entries[name.rstrip(b"\0")] = (size, read_item(cfg, key, size))
    assert entries == {b"etc/a": (200, bytes(range(200))), b"opt/b": (6, b"second")}
    assert list(entries) == sorted(entries)


def test_a_uuid_and_the_event_timers_are_told(memory):
    made = FwCfg(memory=memory, ram_size=1 << 24, uuid=bytes(range(16)), hpet=True, menu=True)
    assert read_item(made, 2, 16) == bytes(range(16))
    assert read_item(made, 0x8004, 14) == b"\1" + struct.pack("<IQ", 0x8086A201, 0xFED00000) + b"\0"
    assert read_item(made, 0x0E, 2) == b"\1\0"
    assert read_item(made, 0x8002, 4) == b"\1\0\0\0"


def test_the_write_bit_of_a_key_names_the_same_item(cfg):
    assert read_item(cfg, 0x4000, 4) == b"QEMU"


def test_a_byte_written_to_the_selector_selects_nothing(cfg):
    cfg.write(0, 2, 0)
    cfg.write(0, 1, 5)
    assert bytes(cfg.read(n & 1, 1) for n in range(4)) == b"QEMU"


def test_reading_past_an_item_and_unknown_keys_gives_zeros(cfg):
    assert read_item(cfg, 0, 6) == b"QEMU\0\0"
    assert read_item(cfg, 0x1234, 2) == bytes(2)


def test_a_block_read_equals_byte_reads(cfg):
    cfg.write(0, 2, 0)
    assert cfg.read(1, 1) == ord("Q")
    assert cfg.read_data_block(5) == b"EMU\0\0"


def test_dma_selects_skips_and_reads(cfg, memory):
    key = 0x21
    assert dma(cfg, memory, key << 16 | 0x08) == 0
    assert dma(cfg, memory, 0x04, 10) == 0
    assert dma(cfg, memory, 0x02, 5, 0x2000) == 0
    assert memory.read(0x2000, 6) == bytes((10, 11, 12, 13, 14, 0))
    assert dma(cfg, memory, key << 16 | 0x0A, 210, 0x3000) == 0
    assert memory.read(0x3000, 210) == bytes(range(200)) + bytes(10)


def test_dma_writes_and_boundless_reads_end_with_the_error_bit(cfg, memory):
    assert dma(cfg, memory, 0x10, 4, 0x2000) == 1
    assert dma(cfg, memory, 0x0A, 0xFFFFFFFF, 0x2000) == 1
    assert memory.read(0x2000, 4) == bytes(4)


def test_names_and_keys_are_taken_once(cfg):
    for call in (
        lambda: cfg.add_file("etc/a", b""),
        lambda: cfg.add_file("x" * 56, b""),
        lambda: cfg.add_file("", b""),
        lambda: cfg.add_item(0, b""),
        lambda: cfg.add_item(0x10000, b""),
    ):
        with pytest.raises(ValueError):
            call()


def test_a_saved_position_is_kept(cfg, memory):
    cfg.write(0, 2, 0x20)
    cfg.read_data_block(3)
    saved = cfg.save()
    cfg.reset()
    cfg.load(saved)
    assert cfg.read_data_block(3) == b"ond"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    accesses=st.lists(
        st.tuples(
            st.booleans(), st.booleans(), st.integers(0, 7), st.sampled_from([1, 2, 4]), st.integers(0, 0xFFFFFFFF)
        ),
        max_size=40,
    ),
    request_block=st.binary(min_size=16, max_size=16),
)
def test_no_access_raises_or_leaves_an_unsavable_state(cfg, memory, accesses, request_block):
    request_block = request_block[:4] + bytes(2) + request_block[6:]  # at most 64 KiB
    memory.write(0, request_block)
    for by_dma, reading, offset, width, value in accesses:
        value &= (1 << (8 * width)) - 1
        if by_dma:
            offset &= 8 - width
            if reading:
                assert 0 <= cfg.read_dma(offset, width) < 1 << (8 * width)
            else:
                cfg.write_dma(offset, width, value & 0xFF)
        else:
            width = min(width, 2)
            offset &= 2 - width
            if reading:
                assert 0 <= cfg.read(offset, width) < 1 << (8 * width)
            else:
                cfg.write(offset, width, value & 0xFFFF)
    saved = cfg.save()
    cfg.load(saved)
    assert cfg.save() == saved
