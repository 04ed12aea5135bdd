"""The virtio balloon: which pages go back, whatever the driver names."""

from __future__ import annotations

import struct

import pytest

from devices.virtio.balloon import DEFLATE_ON_OOM, REPORTING, STATS, Balloon
from tests.devices.virtio.guest import DIALECTS, LEGACY_BIG, MODERN, NAMES, Dialect, Guest, Memory

MIB = 1 << 20


class Made(Guest):
    """A driver, and what was given back to the host."""

    def __init__(self, dialect: Dialect = MODERN, *, features: int | None = None, **more: bool) -> None:
        memory = Memory()
        self.given: list[tuple[int, int]] = []
        self.balloon = Balloon(
            memory=memory,
            size=256 * MIB,
            discard=lambda address, length: self.given.append((address, length)),
            big_endian=dialect.big_endian,
            **more,
        )
        super().__init__(self.balloon, memory, dialect, features=features)


@pytest.mark.parametrize("dialect", DIALECTS, ids=NAMES)
def test_pages_that_follow_one_another_go_back_at_once(dialect: Dialect) -> None:
    g = Made(dialect)
    g.put(0, g.pack("5I", 7, 5, 6, 100, 5))
    assert g.given == [(5 << 12, 3 << 12), (100 << 12, 1 << 12)]
    assert [u.length for u in g.used(0)] == [0]


@pytest.mark.parametrize("dialect", DIALECTS, ids=NAMES)
def test_the_target_is_little_endian_for_every_driver(dialect: Dialect) -> None:
    g = Made(dialect)
    g.balloon.set_size(96 * MIB)
    assert g.transport.configs == 1
    assert g.device.read_config(0, 4) == 160 * MIB >> 12
    g.device.write_config(4, 4, 160 * MIB >> 12)
    assert g.balloon.remaining == 96 * MIB
    g.device.write_config(5, 1, 0)
    assert g.balloon.state.actual == 160 * MIB >> 12 & 0xFFFF00FF
    g.device.write_config(0, 4, 99)
    assert g.device.read_config(0, 4) == 160 * MIB >> 12


def test_the_target_is_bounded_and_outlives_a_reset() -> None:
    g = Made()
    g.balloon.set_size(1 << 60)
    assert g.balloon.state.wanted == 0
    g.balloon.set_size(-5)
    assert g.balloon.state.wanted == 256 * MIB >> 12
    g.device.reset()
    assert g.balloon.state.wanted == 256 * MIB >> 12 and g.balloon.state.actual == 0
    g.device.write_config(4, 4, 0xFFFFFFFF)
    assert g.balloon.remaining == 0


def test_taking_pages_back_needs_nothing() -> None:
    g = Made()
    g.put(1, g.pack("2I", 5, 6))
    assert g.given == [] and len(g.used(1)) == 1


@pytest.mark.parametrize("dialect", DIALECTS, ids=NAMES)
def test_statistics_come_when_they_are_asked_for(dialect: Dialect) -> None:
    g = Made(dialect)
    g.put(2, g.pack("HQ", 4, 1000) + g.pack("HQ", 5, 5 << 30) + g.pack("HQ", 900, 1))
    assert g.used(2) == []
    assert g.balloon.statistics == {"stat-free-memory": 1000, "stat-total-memory": 5 << 30}
    g.balloon.poll()
    assert len(g.used(2)) == 1
    g.put(2, g.pack("HQ", 4, 2000))
    assert g.used(2) == []
    assert g.balloon.statistics == {"stat-free-memory": 2000}


def test_statistics_that_came_before_the_driver_was_ready_count() -> None:
    g = Made()
    g.device.set_status(0)
    g.device.set_status(3)
    g.device.accept(g.device.features(False) & ~(3 << 28), False)
    g.device.set_status(11)
    g.prepare()
    g.put(2, g.pack("HQ", 4, 1))
    assert g.balloon.statistics == {}
    g.device.set_status(15)
    assert g.balloon.statistics == {"stat-free-memory": 1}


def test_a_flood_of_statistics_keeps_one_buffer() -> None:
    g = Made()
    for n in range(50):
        g.put(2, g.pack("HQ", 4, n) * 300)
    assert len(g.used(2)) == 49
    assert len(g.balloon.state.stats) <= 640
    g.put(2, b"short", 16)
    assert g.balloon.statistics == {} and not g.needs_reset


def test_a_saved_balloon_keeps_its_statistics_buffer() -> None:
    g = Made()
    head = g.put(2, g.pack("HQ", 4, 77))
    g.device.load(g.device.save())
    assert g.used(2) == []
    g.balloon.poll()
    assert [u.head for u in g.used(2)] == [head]
    assert g.balloon.statistics == {"stat-free-memory": 77}


def test_a_buffer_that_nobody_has_looked_at_is_taken_once_behind_a_load() -> None:
    g = Made()
    head = g.put(2, g.pack("HQ", 4, 77), kick=False)
    g.device.load(g.device.save())
    assert g.balloon.statistics == {}
    g.device.notify(2)
    g.balloon.poll()
    g.balloon.poll()
    assert [u.head for u in g.used(2)] == [head]


def test_reported_pages_go_back_and_parts_of_pages_do_not() -> None:
    g = Made(reporting=True)
    at = g.room
    g.put(3, 3 << 12)
    assert g.given == [(at, 3 << 12)]
    g.room += 100
    at = g.room
    g.put(3, 3 << 12)
    assert g.given[1:] == [((at | 0xFFF) + 1, 2 << 12)]
    assert len(g.used(3)) == 2


def test_a_queue_that_was_not_agreed_on_has_no_number() -> None:
    g = Made(features=REPORTING, reporting=True)
    assert not g.device.accepted(STATS)
    g.put(2, 1 << 12)
    assert len(g.given) == 1 and len(g.used(2)) == 1
    g.put(3, 1 << 12)
    assert len(g.given) == 1 and len(g.used(3)) == 1


def test_features_are_those_that_were_asked_for() -> None:
    assert Made().device.offered() == STATS
    assert Made(deflate_on_oom=True, reporting=True).device.offered() == STATS | DEFLATE_ON_OOM | REPORTING


@pytest.mark.parametrize("dialect", [MODERN, LEGACY_BIG], ids=["little", "big"])
def test_page_numbers_are_never_signed_and_odd_bytes_are_no_page(dialect: Dialect) -> None:
    g = Made(dialect)
    g.put(0, g.pack("3I", 0xFFFFFFFF, 0x80000000, 0) + b"\1\0\0")
    assert g.given == [(0, 1 << 12), (0x80000000 << 12, 1 << 12), (0xFFFFFFFF << 12, 1 << 12)]
    g.put(0, b"\1")
    g.put(0, b"")
    assert len(g.given) == 3 and not g.needs_reset


def test_work_for_one_buffer_is_bounded() -> None:
    g = Made()
    # Sixteen descriptors of the same 64 KiB of page numbers, twice the bound with more than that.
    data = struct.pack("<16384I", *range(0, 32768, 2))
    g.memory.write(0x20000, data)
    state = g.device.queues[0].state
    for n in range(16):
        entry = struct.pack("<QIHH", 0x20000, 0xE0000 - 0x20000, n < 15, n + 1)
        g.memory.write(state.desc + 16 * n, entry)
    g.memory.write(state.driver, struct.pack("<HHH", 0, 1, 0))
    g.device.notify(0)
    assert len(g.used(0)) == 1 and not g.needs_reset
