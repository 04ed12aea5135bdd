"""The 82540EM by its data sheet: rings, offloads, filters, interrupts, EEPROM, PHY; and guests that do it wrong."""

from __future__ import annotations

import random
import struct
import zlib

import pytest

from devices import ethernet
from devices.e1000 import E1000, SIZE
from tests.devices.cards import BROADCAST, MAC, OTHER, Cable, Ram, frame, slot_of, tcp, valid_tcp

CTRL, STATUS, EECD, EERD, MDIC, ICR, ITR, ICS, IMS, IMC = 0, 8, 0x10, 0x14, 0x20, 0xC0, 0xC4, 0xC8, 0xD0, 0xD8
RCTL, TCTL, RDBAL, RDLEN, RDH, RDT, RDTR = 0x100, 0x400, 0x2800, 0x2808, 0x2810, 0x2818, 0x2820
TDBAL, TDLEN, TDH, TDT, TIDV, RXCSUM, MTA, RA = 0x3800, 0x3808, 0x3810, 0x3818, 0x3820, 0x5000, 0x5200, 0x5400
TXDW, RXDMT0, RXT0 = 1, 0x10, 0x80
EOP, IFCS, IC, RS, DEXT, VLE, IDE = 1, 2, 4, 8, 32, 64, 128
RX, TX, BUFFERS, DATA = 0x1000, 0x2000, 0x10000, 0x80000


class Card:
    """A card whose driver is the test: 32 descriptors each way, buffers of 2 KiB."""

    def __init__(self, clock, line, *, secrc: bool = True) -> None:
        self.ram, self.cable, self.clock, self.line = Ram(), Cable(), clock, line
        self.dev = E1000(slot=slot_of(self.ram, line), clock=clock, port=self.cable, mac=MAC)
        self.dev.config_write(4, 2, 7)
        self.tail = 0
        self.put(RDBAL, RX)
        self.put(RDLEN, 32 * 16)
        for n in range(32):
            self.ram.write(RX + 16 * n, struct.pack("<QQ", BUFFERS + 2048 * n, 0))
        self.put(RDT, 31)
        self.put(TDBAL, TX)
        self.put(TDLEN, 32 * 16)
        self.put(TCTL, 0x0A)
        self.put(RCTL, 0x8002 | (1 << 26 if secrc else 0))

    def put(self, register: int, value: int) -> None:
        self.dev.write(register, 4, value)

    def get(self, register: int) -> int:
        return self.dev.read(register, 4)

    def descriptor(self, address: int, low: int, high: int) -> None:
        self.ram.write(TX + 16 * self.tail, struct.pack("<QII", address, low, high))
        self.tail = (self.tail + 1) % 32

    def send(self, data: bytes, command: int = EOP | IFCS | RS, css: int = 0, cso: int = 0) -> None:
        self.ram.write(DATA, data)
        self.descriptor(DATA, command << 24 | cso << 16 | len(data), css << 8)
        self.put(TDT, self.tail)

    def received(self, n: int) -> tuple[bytes, int, int, int]:
        address, length, _, status, errors, special = struct.unpack("<QHHBBH", self.ram.read(RX + 16 * n, 16))
        return self.ram.read(address, length), status, errors, special


@pytest.fixture
def card(clock, line) -> Card:
    return Card(clock, line)


def test_a_frame_is_sent_when_the_tail_moves_and_its_descriptor_says_so(card) -> None:
    card.send(frame(100, OTHER))
    assert card.cable.sent == [frame(100, OTHER)]
    assert card.ram.data[TX + 12] & 1
    assert card.get(TDH) == 1
    assert card.get(ICR) & TXDW


def test_a_short_frame_is_padded_to_sixty_bytes(card) -> None:
    card.send(frame(20, OTHER))
    assert card.cable.sent == [frame(20, OTHER).ljust(60, b"\0")]


def test_the_parts_of_several_descriptors_are_one_frame(card) -> None:
    card.ram.write(DATA, frame(100, OTHER))
    for at, length, end in ((0, 14, 0), (14, 50, 0), (64, 36, EOP)):
        card.descriptor(DATA + at, (end | RS) << 24 | length, 0)
    card.put(TDT, card.tail)
    assert card.cable.sent == [frame(100, OTHER)]


def test_a_frame_may_end_in_a_later_write_of_the_tail(card) -> None:
    card.ram.write(DATA, frame(100, OTHER))
    card.descriptor(DATA, RS << 24 | 40, 0)
    card.put(TDT, card.tail)
    assert card.cable.sent == []
    card.descriptor(DATA + 40, (EOP | RS) << 24 | 60, 0)
    card.put(TDT, card.tail)
    assert card.cable.sent == [frame(100, OTHER)]


def test_the_checksum_of_a_legacy_descriptor_is_put_where_it_says(card) -> None:
    data = tcp(b"some payload of even len")
    start = ethernet.parse(data).tcp
    card.send(data, EOP | IC | RS, css=start, cso=start + 16)
    (sent,) = card.cable.sent
    assert ethernet.total(sent[start:]) % 0xFFFF == 0


def context(card, *, tse: bool, length: int, mss: int, header: int = 54) -> None:
    first = 14 | 24 << 8 | 33 << 16
    second = 34 | 50 << 8
    command = DEXT | 3 | (IC if tse else 0)
    card.descriptor(first | second << 32, command << 24 | length, mss << 16 | header << 8)


def test_a_context_descriptor_has_ip_and_tcp_checksums_filled_in(card) -> None:
    payload = bytes(range(100))
    data = bytearray(tcp(payload))
    data[16:18] = (len(data) - 14).to_bytes(2, "big")
    # The driver leaves the sum of the pseudo header in the checksum field.
    pseudo = ethernet.total(data[26:34]) + 6 + len(data) - 34
    data[50:52] = (pseudo % 0xFFFF).to_bytes(2, "big")
    card.ram.write(DATA, bytes(data))
    context(card, tse=False, length=0, mss=0)
    card.descriptor(DATA, (DEXT | EOP | RS | IFCS) << 24 | 1 << 20 | len(data), 0x300)
    card.put(TDT, card.tail)
    (sent,) = card.cable.sent
    assert valid_tcp(sent) and sent[54:] == payload


def test_segmentation_hands_the_wire_one_large_segment(card) -> None:
    data = tcp(bytes(5000))
    card.ram.write(DATA, data)
    context(card, tse=True, length=5000, mss=1448)
    card.descriptor(DATA, (DEXT | EOP | RS | IC) << 24 | 1 << 20 | len(data), 0x300)
    card.put(TDT, card.tail)
    assert card.cable.large == [(data, 1448)]
    assert card.get(0x40F8) == 1
    assert card.get(0x40D4) == 4


def test_segmentation_of_what_is_no_tcp_sends_nothing(card) -> None:
    card.ram.write(DATA, frame(3000, OTHER))
    context(card, tse=True, length=2946, mss=1000)
    card.descriptor(DATA, (DEXT | EOP | IC) << 24 | 1 << 20 | 3000, 0)
    card.put(TDT, card.tail)
    assert card.cable.sent == card.cable.large == []


def test_a_received_frame_fills_a_buffer_and_interrupts(card, line) -> None:
    card.put(IMS, RXT0)
    assert card.cable.receive(frame(200))
    data, status, errors, _ = card.received(0)
    assert (data, status & 3, errors) == (frame(200), 3, 0)
    assert line.level
    assert card.get(ICR) & RXT0
    assert not line.level


def test_the_check_sequence_is_stored_unless_it_is_stripped(clock, line) -> None:
    card = Card(clock, line, secrc=False)
    card.cable.receive(frame(200))
    data, *_ = card.received(0)
    assert data == frame(200) + zlib.crc32(frame(200)).to_bytes(4, "little")


def test_a_frame_longer_than_a_buffer_takes_several_descriptors(card) -> None:
    card.put(RCTL, 0x8002 | 1 << 26 | 1 << 5 | 3 << 16)
    assert card.cable.receive(frame(700))
    parts = [card.received(n) for n in range(3)]
    assert b"".join(part[0] for part in parts) == frame(700)
    assert [part[1] & 2 for part in parts] == [0, 0, 2]


def test_a_frame_without_a_descriptor_stays_on_the_wire_until_the_tail_moves(card) -> None:
    for _ in range(31):
        assert card.cable.receive(frame())
    assert not card.cable.receive(frame())
    assert card.cable.pokes == 0
    card.put(RDT, 3)
    assert card.cable.pokes == 1
    assert card.cable.receive(frame())


@pytest.mark.parametrize("length", [0, 1, 5, 13, 14, 59, 60, 1514, 1518, 1519, 9000, 16288, 16289, 65535, 70000])
def test_a_frame_of_every_length_is_taken_or_dropped(card, length) -> None:
    for rctl in (0x8002, 0x803A, 0x803E | 1 << 25 | 3 << 16, 0):
        card.put(RCTL, rctl)
        assert card.cable.receive(bytes(length)) in (True, False)


@pytest.mark.parametrize(
    ("rctl", "to", "taken"),
    [
        (0x0002, MAC, True),
        (0x0002, OTHER, False),
        (0x000A, OTHER, True),
        (0x0002, BROADCAST, False),
        (0x8002, BROADCAST, True),
        (0x8002, b"\x01\x00\x5e\x00\x00\x01", False),
        (0x0012, b"\x01\x00\x5e\x00\x00\x01", True),
    ],
)
def test_only_frames_that_the_filter_wants_are_received(card, rctl, to, taken) -> None:
    card.put(RCTL, rctl)
    card.cable.receive(frame(60, to))
    assert bool(card.received(0)[1]) is taken


def test_the_multicast_table_lets_its_groups_through(card) -> None:
    group = b"\x01\x00\x5e\x00\x00\xfb"
    bit = (group[5] << 8 | group[4]) >> 4 & 0xFFF
    card.put(MTA + 4 * (bit >> 5), 1 << (bit & 31))
    card.cable.receive(frame(60, group))
    assert card.received(0)[1] & 1


def test_a_tag_is_taken_off_and_put_on_by_the_card(card) -> None:
    card.put(CTRL, 1 << 30 | 0x41)
    tagged = MAC + OTHER + b"\x81\x00\x20\x05" + b"\x88\xb5" + bytes(50)
    card.cable.receive(tagged)
    data, status, _, special = card.received(0)
    assert (data[:14], special, bool(status & 8)) == (MAC + OTHER + b"\x88\xb5", 0x2005, True)
    card.ram.write(DATA, frame(60, OTHER))
    card.descriptor(DATA, (EOP | VLE) << 24 | 60, 0x2005 << 16)
    card.put(TDT, card.tail)
    assert card.cable.sent[0][12:16] == b"\x81\x00\x20\x05"


def test_a_wrong_checksum_is_marked_where_the_driver_asked(card) -> None:
    card.put(RXCSUM, 0x300)
    good = ethernet.segments(tcp(b"payload"), 100)[0].replace(OTHER + MAC, MAC + OTHER)
    card.cable.receive(good)
    bad = good[:-1] + bytes((good[-1] ^ 1,))
    card.cable.receive(bad)
    assert card.received(0)[1] & 0x64 == 0x60
    assert card.received(0)[2] == 0
    assert card.received(1)[2] == 0x20


def test_interrupts_come_at_most_once_in_an_interval(card, clock, line) -> None:
    card.put(ITR, 195)  # 50 us
    card.put(IMS, RXT0)
    clock.advance(1_000_000)
    card.cable.receive(frame())
    assert line.edges == 1
    card.get(ICR)
    card.cable.receive(frame())
    assert not line.level
    clock.advance(50_000)
    assert line.edges == 2


def test_a_delayed_transmit_interrupt_comes_after_its_delay_or_with_the_next_other_one(card, clock, line) -> None:
    card.put(TIDV, 8)
    card.put(IMS, TXDW | RXT0)
    card.send(frame(60, OTHER), EOP | RS | IDE)
    assert not line.level
    clock.advance(8 * 1024)
    assert line.level and card.get(ICR) & TXDW
    card.send(frame(60, OTHER), EOP | RS | IDE)
    card.cable.receive(frame())
    assert card.get(ICR) & (TXDW | RXT0) == TXDW | RXT0
    clock.advance(1_000_000)
    assert line.edges == 2


def test_the_eeprom_reads_bit_by_bit_and_by_register(card) -> None:
    words = []
    for address in range(64):
        card.put(EERD, address << 8 | 1)
        assert card.get(EERD) & 0x10
        words.append(card.get(EERD) >> 16)
    assert struct.pack("<3H", *words[:3]) == MAC
    assert sum(words) & 0xFFFF == 0xBABA
    card.put(EECD, 0x40)
    assert card.get(EECD) & 0x80

    def clocked(bit: int) -> int:
        card.put(EECD, 0x42 | bit << 2)
        card.put(EECD, 0x43 | bit << 2)
        return card.get(EECD) >> 3 & 1

    for address in (0, 1, 10, 63):
        card.put(EECD, 0x40)
        for bit in f"110{address:06b}":
            clocked(int(bit))
        assert int("".join(str(clocked(0)) for _ in range(16)), 2) == words[address]


def test_the_phy_answers_at_its_address_only(card) -> None:
    card.put(MDIC, 2 << 26 | 1 << 21 | 2 << 16)
    assert card.get(MDIC) & 0x1000FFFF == 0x10000141
    card.put(MDIC, 2 << 26 | 3 << 21 | 2 << 16)
    assert card.get(MDIC) & 1 << 30
    card.put(MDIC, 1 << 26 | 1 << 21 | 4 << 16 | 0x1234)
    card.put(MDIC, 2 << 26 | 1 << 21 | 4 << 16)
    assert card.get(MDIC) & 0xFFFF == 0x1234


def test_a_card_looped_back_to_itself_receives_what_it_sends(card) -> None:
    card.put(RCTL, 0x8002 | 0xC0 | 1 << 26)
    card.send(frame(100))
    assert card.cable.sent == []
    assert card.received(0)[0] == frame(100)


def test_a_ring_of_frames_for_itself_ends_when_the_buffers_do(card) -> None:
    card.put(RCTL, 0x8002 | 0xC0)
    for _ in range(3):
        for _ in range(31):
            card.ram.write(DATA, frame(100))
            card.descriptor(DATA, EOP << 24 | 100, 0)
        card.put(TDT, card.tail)
    assert card.get(RDH) == 31


def test_a_reset_in_the_middle_forgets_the_packet_and_keeps_the_bars(card) -> None:
    card.dev.config_write(0x10, 4, 0xFEB00000)
    card.descriptor(DATA, RS << 24 | 40, 0)
    card.put(TDT, 1)
    card.put(CTRL, 1 << 26)
    assert card.dev.config_read(0x10, 4) == 0xFEB00000
    assert card.get(TDT) == card.get(TDH) == 0
    assert not card.dev.state.packet
    assert card.get(RA) == int.from_bytes(MAC[:4], "little")


def test_without_bus_mastering_nothing_is_read_or_written(card) -> None:
    card.dev.config_write(4, 2, 3)
    before = bytes(card.ram.data[:0x1800])
    card.send(frame(100, OTHER))
    assert card.cable.sent == []
    assert card.cable.receive(frame())
    assert bytes(card.ram.data[:0x1800]) == before


def test_a_ring_that_never_ends_is_looked_at_in_bounded_steps(card, clock) -> None:
    card.put(TDLEN, 0xFFF80)
    card.put(TDBAL, 0x10000000)  # outside memory: descriptors of ones
    card.put(TDH, 1)
    card.ram.outside = 0
    card.put(TDT, 0)
    assert card.ram.outside < 8 << 20
    clock.advance(10_000_000)
    assert len(card.dev.state.packet) <= 256 << 10


def test_the_ports_lead_to_the_registers(card) -> None:
    card.dev.write_io(0, 4, RA)
    assert card.dev.read_io(4, 4) == int.from_bytes(MAC[:4], "little")
    card.dev.write_io(0, 4, 0xFFFFFFFF)
    assert card.dev.read_io(4, 4) == 0
    card.dev.write_io(4, 4, 1)


def test_a_saved_card_goes_on_where_it_was(card, clock, line) -> None:
    card.put(IMS, TXDW)
    card.put(TIDV, 8)
    card.descriptor(DATA, RS << 24 | 40, 0)
    card.put(TDT, card.tail)
    saved = card.dev.save()
    other = Card(clock, line)
    other.dev.load(saved)
    assert other.dev.save() == saved
    other.ram.data[:] = card.ram.data
    other.tail = card.tail
    other.send(frame(60, OTHER)[40:])
    assert len(other.cable.sent) == 1


@pytest.mark.parametrize("seed", range(6))
def test_random_registers_rings_and_frames_never_raise(clock, line, seed) -> None:
    rng = random.Random(seed)
    card = Card(clock, line)
    known = [
        CTRL,
        EECD,
        MDIC,
        ICR,
        ITR,
        ICS,
        IMS,
        IMC,
        RCTL,
        TCTL,
        RDH,
        RDT,
        TDH,
        TDT,
        RDLEN,
        TDLEN,
        RXCSUM,
        RDTR,
        TIDV,
    ]
    for step in range(4000):
        choice = rng.random()
        if choice < 0.35:
            width = rng.choice((1, 2, 4))
            offset = rng.choice(known) if rng.random() < 0.7 else rng.randrange(SIZE // width) * width
            value = rng.getrandbits(8 * width) if rng.random() < 0.5 else rng.randrange(64)
            card.dev.write(offset, width, value & ~(1 << 26 if offset == CTRL else 0))
        elif choice < 0.5:
            width = rng.choice((1, 2, 4))
            assert 0 <= card.dev.read(rng.randrange(SIZE // width) * width, width) < 1 << 8 * width
        elif choice < 0.7:
            at = rng.choice((RX, TX)) + 16 * rng.randrange(32)
            address = rng.choice((DATA, rng.getrandbits(20), rng.getrandbits(64)))
            low = rng.getrandbits(8) << 24 | rng.randrange(3) << 20 | rng.choice((0, 1, 60, 1514, rng.getrandbits(20)))
            card.ram.write(at, struct.pack("<QII", address, low, rng.getrandbits(32)))
        elif choice < 0.9:
            card.cable.receive(rng.randbytes(rng.choice((0, 1, 14, 60, 1514, rng.randrange(9000)))))
        elif choice < 0.95:
            card.ram.write(DATA, tcp(rng.randbytes(rng.randrange(3000)), v6=rng.random() < 0.3))
        else:
            clock.advance(rng.randrange(100_000))
        if step % 500 == 0:
            card.dev.load(card.dev.save())
            card.put(RCTL, 0x801A)
            card.put(TCTL, 2)
            card.put(TDLEN, 512)
            card.put(RDLEN, 512)
            card.put(TDBAL, TX)
            card.put(RDBAL, RX)


def test_a_semaphore_of_later_chips_is_free_and_can_be_taken(card) -> None:
    """U-Boot wants SWSM (5B50h) for its EEPROM accesses, and waits as long as it is not there."""
    assert card.get(0x5B50) == card.get(0x5B5C) == card.get(0x5F00) == 0
    card.put(0x5B50, 2)
    assert card.get(0x5B50) == 2
