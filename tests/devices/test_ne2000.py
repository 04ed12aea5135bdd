"""The NE2000: PROM, remote DMA, the ring, and guests that do it wrong."""

from __future__ import annotations

import random

import pytest

from devices.ne2000 import PORTS, Ne2000
from tests.devices.cards import BROADCAST, MAC, OTHER, Cable, Ram, frame, slot_of

CR, PSTART, PSTOP, BNRY, TPSR, TBCR0, TBCR1, ISR, RSAR0, RSAR1, RBCR0, RBCR1, RCR, TCR, DCR, IMR = range(16)
CURR = 7
DATA, RESET = 0x10, 0x1F


class Card:
    def __init__(self, line) -> None:
        self.cable = Cable()
        self.dev = Ne2000(slot=slot_of(Ram(), line), port=self.cable, mac=MAC)
        for register, value in (
            (CR, 0x21), (DCR, 0x49), (PSTART, 0x4C), (PSTOP, 0x80), (BNRY, 0x7F), (RCR, 4), (TCR, 0), (ISR, 0xFF),
            (IMR, 0x3F), (CR, 0x61),
        ):  # fmt: skip
            self.put(register, value)
        for n in range(6):
            self.put(1 + n, MAC[n])
        self.put(CURR, 0x4C)
        self.put(CR, 0x22)

    def put(self, port: int, value: int, width: int = 1) -> None:
        self.dev.write(port, width, value)

    def get(self, port: int, width: int = 1) -> int:
        return self.dev.read(port, width)

    def at(self, address: int, length: int, command: int) -> None:
        for port, value in (
            (RBCR0, length & 255), (RBCR1, length >> 8), (RSAR0, address & 255), (RSAR1, address >> 8), (CR, command)
        ):  # fmt: skip
            self.put(port, value)

    def memory(self, address: int, length: int) -> bytes:
        self.at(address, length, 0x0A)
        return b"".join(self.get(DATA, 4).to_bytes(4, "little") for _ in range(0, length, 4))[:length]

    def send(self, data: bytes) -> None:
        self.at(0x4000, len(data) + 1 & ~1, 0x12)
        for n in range(0, len(data), 2):
            self.put(DATA, int.from_bytes(data[n : n + 2], "little"), 2)
        for port, value in ((TPSR, 0x40), (TBCR0, len(data) & 255), (TBCR1, len(data) >> 8), (CR, 0x26)):
            self.put(port, value)


@pytest.fixture
def card(line) -> Card:
    return Card(line)


def test_the_prom_has_each_byte_of_the_address_twice(card) -> None:
    assert card.memory(0, 12) == bytes(byte for byte in MAC for _ in "xx")


def test_a_frame_in_the_buffer_memory_is_sent(card, line) -> None:
    card.send(frame(77, OTHER))
    assert card.cable.sent == [frame(77, OTHER)]
    assert card.get(ISR) & 2 and card.get(4) == 1
    assert line.level


def test_a_received_frame_stands_in_the_ring_behind_its_header(card) -> None:
    assert card.cable.receive(frame(100, BROADCAST))
    assert card.memory(0x4C00, 104) == bytes((0x21, 0x4D, 108, 0)) + frame(100, BROADCAST)
    assert card.get(ISR) & 1


def test_a_frame_runs_over_the_end_of_the_ring_to_its_start(card) -> None:
    card.put(CR, 0x62)
    card.put(CURR, 0x7E)
    card.put(CR, 0x22)
    card.put(BNRY, 0x7D)
    assert card.cable.receive(frame(1000))
    assert card.memory(0x7E00, 512)[4:] + card.memory(0x4C00, 492) == frame(1000)


def test_a_full_ring_keeps_the_frame_on_the_wire_and_tells_the_driver_until_there_is_room(card) -> None:
    taken = 0
    while card.cable.receive(frame(1000)):
        taken += 1
    assert taken == 12
    card.put(ISR, 0xFF)
    assert card.get(ISR) & 1
    card.put(BNRY, 0x60)
    assert card.cable.pokes == 1
    assert card.cable.receive(frame(1000))


def test_a_stopped_card_receives_nothing(card) -> None:
    card.put(CR, 0x21)
    before = card.memory(0x4C00, 64)
    card.put(CR, 0x21)
    assert card.cable.receive(frame())
    card.put(CR, 0x22)
    assert card.memory(0x4C00, 64) == before


def test_in_loopback_a_frame_comes_back_and_the_wire_waits(card) -> None:
    card.put(TCR, 2)
    assert not card.cable.receive(frame())
    card.send(frame(60))
    assert card.cable.sent == []
    assert card.memory(0x4C04, 60) == frame(60)
    card.put(TCR, 0)
    assert card.cable.pokes == 1


def test_the_reset_port_stops_the_chip(card) -> None:
    card.get(RESET)
    assert card.get(ISR) & 0x80


@pytest.mark.parametrize("seed", range(4))
def test_random_ports_and_frames_never_raise(line, seed) -> None:
    rng = random.Random(seed)
    card = Card(line)
    for step in range(5000):
        width = rng.choice((1, 1, 2, 4))
        port = rng.randrange(PORTS // width) * width
        if rng.random() < 0.4:
            card.put(port, rng.getrandbits(8 * width) if rng.random() < 0.7 else rng.randrange(64), width)
        elif rng.random() < 0.5:
            assert 0 <= card.get(port, width) < 1 << 8 * width
        else:
            card.cable.receive(rng.randbytes(rng.choice((0, 5, 14, 60, 1518, 1519, rng.randrange(2000)))))
        if step % 500 == 0:
            card.dev.load(card.dev.save())
