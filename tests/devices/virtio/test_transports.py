"""Virtio over PCI and over memory-mapped registers: setup as the specification orders it, and drivers that do not."""

from __future__ import annotations

import random
from typing import Any

import pytest

from devices.device import device
from devices.pci_card import EmptySlot
from devices.virtio.device import NEEDS_RESET, VERSION_1, VirtioDevice
from devices.virtio.mmio import VirtioMmio
from devices.virtio.pci import MODERN_SIZE, NO_VECTOR, VirtioPci
from tests.devices.virtio.guest import Memory

STATUS, SELECT, SIZE, ENABLE, DESC = 0x14, 0x16, 0x18, 0x1C, 0x20


@device("virtio-echo", "gives back what it gets; for tests")
class Echo(VirtioDevice):
    number, pci_class = 2, 0x010000
    layout = "QB3xI"

    def __init__(self, **common: Any) -> None:
        self.wrote: list[tuple[int, bytes]] = []
        super().__init__(queue_sizes=(8, 4), **common)

    def offered(self) -> int:
        return 1 << 5

    def fields(self) -> tuple[Any, ...]:
        return 0x0102030405060708, 9, 0x0A0B0C0D

    def wrote_config(self, offset: int, data: bytes) -> None:
        self.wrote.append((offset, data))

    def handle(self, index: int, chain: Any) -> None:
        chain.complete(chain.write(chain.read(0, 64)))


class Pci:
    def __init__(self, *, message: bool = True, **options: Any) -> None:
        self.memory = Memory()
        self.sent: list[tuple[int, int]] = []
        self.slot = EmptySlot(self.memory, (lambda a, v: self.sent.append((a, v))) if message else None)
        self.slot.line = self
        self.level = False
        big = options.pop("big_endian", False)
        self.echo = Echo(memory=self.memory, big_endian=big)
        self.card = VirtioPci(slot=self.slot, device=self.echo, **options)
        self.card.config_write(0x04, 2, 0x0006)

    def set(self, level: bool) -> None:
        self.level = level

    def start(self, features: int = VERSION_1) -> None:
        write = self.card.write
        for status in (0, 1, 3):
            write(STATUS, 1, status)
        for n in range(2):
            write(0x08, 4, n), write(0x0C, 4, features >> 32 * n & 0xFFFFFFFF)
        write(STATUS, 1, 11)
        for n in range(2):
            write(SELECT, 2, n)
            for part in range(3):
                write(DESC + 8 * part, 4, 0x1000 + 0x1000 * n + 0x400 * part), write(DESC + 8 * part + 4, 4, 0)
            write(ENABLE, 2, 1)
        write(STATUS, 1, 15)

    def offer(self) -> None:
        """One chain in queue 0: three bytes to read, three to write."""
        ram = self.memory
        ram.write(0x8000, b"abc")
        ram.write(0x1000, (0x8000).to_bytes(8, "little") + b"\3\0\0\0\1\0\1\0")
        ram.write(0x1010, (0x8100).to_bytes(8, "little") + b"\3\0\0\0\2\0\0\0")
        ram.write(0x1400, b"\0\0\1\0\0\0")


def test_the_modern_interface_is_set_up_and_used() -> None:
    p = Pci()
    p.start()
    assert p.card.read(STATUS, 1) == 15 and p.card.read(0x12, 2) == 2
    p.offer()
    p.card.write(0x3000, 2, 0)
    assert p.memory.read(0x8100, 3) == b"abc" and p.memory.read(0x1802, 2) == b"\1\0"
    assert p.level and p.card.config_read(0x06, 2) & 8
    assert p.card.read(0x1000, 1) == 1 and not p.level and p.card.read(0x1000, 1) == 0


def test_an_interrupt_goes_as_a_message_to_the_vector_of_its_queue() -> None:
    p = Pci()
    p.start()
    cap = next(at for at in walk(p.card) if p.card.config_read(at, 1) == 0x11)
    p.card.config_write(cap + 2, 2, 0x8000)
    for n in range(3):
        p.card._write_msix(16 * n, 4, 0xFEE00000), p.card._write_msix(16 * n + 8, 4, 0x40 + n)
        p.card._write_msix(16 * n + 12, 4, 0)
    p.card.write(SELECT, 2, 0), p.card.write(0x1A, 2, 1), p.card.write(0x10, 2, 2)
    assert p.card.read(0x1A, 2) == 1
    p.offer()
    p.card.write(0x3000, 2, 0)
    p.echo.config_changed()
    assert p.sent == [(0xFEE00000, 0x41), (0xFEE00000, 0x42)] and not p.level
    p.card._write_msix(16 + 12, 4, 1)
    p.card.queue_interrupt(0)
    assert len(p.sent) == 2 and p.card._read_msix(0x800, 4) == 2
    p.card._write_msix(16 + 12, 4, 0)
    assert p.sent[2:] == [(0xFEE00000, 0x41)] and p.card._read_msix(0x800, 4) == 0


def walk(card: VirtioPci) -> list[int]:
    """The places of the capabilities."""
    places, at = [], card.config_read(0x34, 1)
    while at and len(places) < 32:
        places.append(at)
        at = card.config_read(at + 1, 1)
    return places


def test_the_capabilities_say_where_the_structures_are() -> None:
    p = Pci()
    found = {p.card.config_read(at + 3, 1): at for at in walk(p.card) if p.card.config_read(at, 1) == 9}
    assert sorted(found) == [1, 2, 3, 4, 5]
    assert [p.card.config_read(found[kind] + 4, 1) for kind in (1, 2, 3, 4)] == [4] * 4
    assert p.card.config_read(found[2] + 16, 4) == 4 and p.card.config_read(found[4] + 12, 4) == 16


def test_the_window_in_configuration_space_reaches_the_registers() -> None:
    p = Pci()
    at = next(at for at in walk(p.card) if p.card.config_read(at, 1) == 9 and p.card.config_read(at + 3, 1) == 5)
    p.card.config_write(at + 4, 1, 4)
    p.card.config_write(at + 8, 4, 0x2000), p.card.config_write(at + 12, 4, 4)
    assert p.card.config_read(at + 16, 4) == 0x05060708
    p.card.config_write(at + 8, 4, STATUS), p.card.config_write(at + 12, 4, 1)
    p.card.config_write(at + 16, 4, 3)
    assert p.echo.state.status == 3
    for offset, width in ((MODERN_SIZE, 4), (MODERN_SIZE - 1, 2), (0, 3), (2, 4), (0xFFFFFFFF, 1)):
        p.card.config_write(at + 8, 4, offset), p.card.config_write(at + 12, 4, width)
        p.card.config_write(at + 16, 4, 0)
        p.card.config_read(at + 16, 4)
    assert p.echo.state.status == 3


@pytest.mark.parametrize("features", [0, 1 << 5, VERSION_1 | 1 << 6, VERSION_1 | 1 << 60, (1 << 64) - 1])
def test_features_that_are_not_on_offer_are_not_accepted(features: int) -> None:
    p = Pci()
    p.start(features)
    assert not p.card.read(STATUS, 1) & 0x0C and not p.echo.running


def test_nothing_changes_under_a_live_queue() -> None:
    """Pattern 9: features, sizes and addresses are fixed once they count."""
    p = Pci()
    p.start()
    before = p.echo.save()
    for offset, width, value in ((0x0C, 4, 0), (SIZE, 2, 2), (ENABLE, 2, 0), (DESC, 4, 1), (DESC + 12, 4, 7)):
        p.card.write(SELECT, 2, 0)
        p.card.write(0x08, 4, 0)
        p.card.write(offset, width, value)
    assert p.echo.save() == before


def test_queues_and_vectors_that_are_not_there_read_as_none() -> None:
    """Pattern 10."""
    p = Pci()
    for select in (2, 0x7FFF, 0xFFFF):
        p.card.write(SELECT, 2, select)
        assert p.card.read(SIZE, 2) == 0 and p.card.read(ENABLE, 2) == 0 and p.card.read(0x1A, 2) == NO_VECTOR
        p.card.write(SIZE, 2, 4), p.card.write(0x1A, 2, 0), p.card.write(ENABLE, 2, 1), p.card.write(DESC, 4, 5)
        p.card.write(0x3000 + 4 * (select & 0x3FF), 2, select)
        p.card.write_legacy(14, 2, select), p.card.write_legacy(8, 4, 1), p.card.write_legacy(16, 2, select)
        assert p.card.read_legacy(12, 2) == 0
    assert not any(queue.state.ready for queue in p.echo.queues)
    p.card.write(0x10, 2, 3)
    assert p.card.read(0x10, 2) == NO_VECTOR


@pytest.mark.parametrize("size", [0, 3, 16, 0xFFFF])
def test_a_queue_keeps_its_size_if_the_new_one_is_none(size: int) -> None:
    p = Pci()
    p.card.write(SELECT, 2, 0)
    p.card.write(SIZE, 2, size)
    assert p.card.read(SIZE, 2) == 8


@pytest.mark.parametrize("big", [False, True], ids=["little", "big"])
def test_a_legacy_driver_sets_up_with_page_numbers_and_its_own_byte_order(big: bool) -> None:
    p = Pci(big_endian=big)
    write, order = p.card.write_legacy, "big" if big else "little"
    assert p.card.product == 0x1001 and p.card.revision == 0 and p.card.subsystem >> 16 == 2
    for status in (0, 1, 3):
        write(18, 1, status)
    assert p.card.read_legacy(0, 4) >> 5 & 1 and not p.card.read_legacy(0, 4) & 1
    write(4, 4, 1 << 5)
    write(14, 2, 0)
    assert p.card.read_legacy(12, 2) == 8
    write(8, 4, 1)
    assert p.card.read_legacy(8, 4) == 1
    write(18, 1, 7)
    q = p.echo.queues[0].state
    assert (q.desc, q.driver, q.device) == (0x1000, 0x1080, 0x2000) and p.echo.running
    config = bytes(p.card.read_legacy(20 + n, 1) for n in range(8))
    assert int.from_bytes(config, order) == 0x0102030405060708  # type: ignore[arg-type]
    write(8, 4, 0)
    assert not q.ready


def test_a_broken_ring_asks_for_a_reset_with_a_configuration_interrupt() -> None:
    p = Pci()
    p.start()
    p.offer()
    p.memory.write(0x1404, b"\xff\xff")
    p.card.write(0x3000, 2, 0)
    assert p.card.read(STATUS, 1) & NEEDS_RESET and p.card.read(0x1000, 1) == 2
    p.card.write(0x3000, 2, 0)
    assert p.echo.reasons == ["queue 0: descriptor 65535 made available, which is none"]
    p.card.write(STATUS, 1, 0x4F)
    assert p.card.read(STATUS, 1) & NEEDS_RESET
    p.start()
    assert p.card.read(STATUS, 1) == 15


def test_configuration_space_ends_where_it_ends() -> None:
    """Pattern 11: offset and width beyond the end."""
    p = Pci()
    assert p.card.read(0x2000 + 12, 4) == 0x0A0B0C0D and p.card.read(0x2000 + 14, 4) == 0x0A0B
    assert p.card.read(0x2000 + 16, 4) == p.card.read(0x2FFC, 4) == 0
    for offset in (13, 16, 0xFFC):
        p.card.write(0x2000 + offset, 4, 0xFFFFFFFF)
    assert p.echo.wrote == []
    p.card.write(0x2008, 1, 7)
    assert p.echo.wrote == [(8, b"\7")]


def mmio(legacy: bool = False) -> tuple[VirtioMmio, Echo, list[bool]]:
    levels: list[bool] = []
    echo = Echo(memory=Memory())

    class Line:
        def set(self, level: bool) -> None:
            levels.append(level)

    return VirtioMmio(device=echo, irq=Line(), legacy=legacy), echo, levels


@pytest.mark.parametrize("legacy", [False, True], ids=["version 2", "version 1"])
def test_memory_mapped_registers_set_up_and_use_a_queue(legacy: bool) -> None:
    m, echo, levels = mmio(legacy)
    assert (m.read(0, 4), m.read(4, 4), m.read(8, 4)) == (0x74726976, 1 if legacy else 2, 2)
    m.write(0x28, 4, 0x1000)
    for status in (0, 1, 3):
        m.write(0x70, 4, status)
    m.write(0x24, 4, 1), m.write(0x20, 4, 0 if legacy else 1), m.write(0x24, 4, 0), m.write(0x20, 4, 0)
    if not legacy:
        m.write(0x70, 4, 11)
    m.write(0x30, 4, 0)
    assert m.read(0x34, 4) == 8
    m.write(0x38, 4, 8)
    if legacy:
        m.write(0x3C, 4, 0x1000), m.write(0x40, 4, 1)
        assert m.read(0x40, 4) == 1
    else:
        for part in range(3):
            m.write(0x80 + 16 * part, 4, (0x1000, 0x1080, 0x2000)[part])
        m.write(0x44, 4, 1)
        assert m.read(0x44, 4) == 1
    m.write(0x70, 4, 15 if not legacy else 7)
    ram: Any = echo.memory
    ram.write(0x8000, b"abc")
    ram.write(0x1000, (0x8000).to_bytes(8, "little") + b"\3\0\0\0\1\0\1\0")
    ram.write(0x1010, (0x8100).to_bytes(8, "little") + b"\3\0\0\0\2\0\0\0")
    ram.write(0x1080, b"\0\0\1\0\0\0")
    m.write(0x50, 4, 0)
    assert ram.read(0x8100, 3) == b"abc" and m.read(0x60, 4) == 1 and levels[-1]
    m.write(0x64, 4, 1)
    assert m.read(0x60, 4) == 0 and not levels[-1]
    assert m.read(0x100, 4) == 0x05060708


@pytest.mark.parametrize("kind", ["pci", "pci-legacy", "mmio", "mmio-legacy"])
def test_no_access_in_any_order_raises_and_a_saved_transport_goes_on(kind: str) -> None:
    r = random.Random(kind)
    targets: list[Any] = []
    if kind.startswith("pci"):
        p = Pci(modern=kind == "pci", legacy=True)
        targets = [(p.card.read, p.card.write, MODERN_SIZE)] if kind == "pci" else []
        targets += [(p.card.read_legacy, p.card.write_legacy, 64), (p.card._read_msix, p.card._write_msix, 4096)]
        targets.append((p.card.config_read, p.card.config_write, 256))
        made: Any = p.card
        echo = p.echo
    else:
        made, echo, _ = mmio(kind == "mmio-legacy")
        targets = [(made.read, made.write, 0x200)]
    for n in range(4000):
        read, write, size = r.choice(targets)
        width = r.choice((1, 2, 4))
        offset = r.randrange(0, min(size, r.choice((64, 256, size))), width)
        if r.random() < 0.3:
            assert 0 <= read(offset, width) < 1 << 8 * width
        else:
            write(offset, width, r.choice((0, 1, 3, 7, 11, 15, r.getrandbits(8 * width))) & (1 << 8 * width) - 1)
        if not n % 500:
            saved, behind = made.save(), echo.save()
            made.load(saved), echo.load(behind)
            assert made.save() == saved and echo.save() == behind
    made.reset(), echo.reset()
    assert echo.state.status == 0 and not any(queue.state.ready for queue in echo.queues)
