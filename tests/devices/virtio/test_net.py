"""The virtio network card: headers, offloads, filters and commands."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from devices.virtio import net
from devices.virtio.net import Net, filled, transport_valid
from tests.devices.cards import Cable
from tests.devices.conftest import FakeClock
from tests.devices.virtio.guest import DIALECTS, MODERN, NAMES, Dialect, Guest, Memory

MAC = bytes.fromhex("525400123456")
PEER = bytes.fromhex("525400000002")
RX, TX, CTRL = 0, 1, 2
MRG = net.MERGE


class Made(Guest):
    def __init__(self, dialect: Dialect = MODERN, *, features: int | None = None, **more: Any) -> None:
        memory = Memory()
        self.wire = Cable()
        self.net = Net(memory=memory, port=self.wire, mac=MAC, big_endian=dialect.big_endian, **more)
        super().__init__(self.net, memory, dialect, features=features)

    def header(
        self, flags: int = 0, kind: int = 0, length: int = 0, size: int = 0, start: int = 0, at: int = 0
    ) -> bytes:
        fields = self.pack("BBHHHH", flags, kind, length, size, start, at)
        return fields + bytes(self.net.header - 10)

    def command(self, number: int, which: int, data: bytes) -> int:
        self.put(CTRL, bytes((number, which)), data, 1)
        (used,) = self.used(CTRL)
        return used.data[0]


def frame(to: bytes = MAC, size: int = 60, kind: int = 0x88B5) -> bytes:
    return (to + PEER + struct.pack(">H", kind)).ljust(size, b"\x5a")


def rfc1071(data: bytes) -> int:
    """The Internet checksum, word for word as the RFC describes it."""
    total = 0
    for n in range(0, len(data), 2):
        total += data[n] << 8 | (data[n + 1] if n + 1 < len(data) else 0)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packet(payload: bytes, *, protocol: int = 6, v6: bool = False, vlan: bool = False, good: bool = True) -> bytes:
    """A TCP or UDP frame with its checksum."""
    size = 20 if protocol == 6 else 8
    if protocol == 6:
        transport = bytearray(struct.pack(">HHIIBBHHH", 80, 1025, 1000, 2000, 0x50, 0x18, 512, 0, 0) + payload)
    else:
        transport = bytearray(struct.pack(">HHHH", 53, 1025, size + len(payload), 0) + payload)
    addresses = bytes(range(32)) if v6 else bytes((10, 0, 2, 2, 10, 0, 2, 15))
    pseudo = addresses + struct.pack(">HH", protocol, len(transport))
    at = 16 if protocol == 6 else 6
    transport[at : at + 2] = struct.pack(">H", rfc1071(pseudo + transport) ^ (not good))
    if v6:
        ip = struct.pack(">IHBB", 6 << 28, len(transport), protocol, 64) + addresses
    else:
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(transport), 7, 0, 64, protocol, 0) + addresses
    tag = b"\x81\x00\x00\x05" if vlan else b""
    return MAC + PEER + tag + (b"\x86\xdd" if v6 else b"\x08\x00") + ip + transport


@pytest.mark.parametrize("dialect", DIALECTS, ids=NAMES)
def test_a_frame_goes_to_the_wire_without_its_header(dialect: Dialect) -> None:
    g = Made(dialect)
    g.put(TX, g.header(), frame()[:20], frame()[20:])
    g.put(TX, g.header() + frame(PEER))
    assert g.wire.sent == [frame(), frame(PEER)]
    assert [u.length for u in g.used(TX)] == [0, 0]
    assert g.transport.queues == [TX, TX]


@pytest.mark.parametrize(("features", "header"), [(0, 10), (MRG, 12)])
def test_a_legacy_header_has_ten_bytes_unless_buffers_are_merged(features: int, header: int) -> None:
    g = Made(DIALECTS[1], features=features)
    assert g.net.header == header
    g.put(RX, 100)
    assert g.wire.receive(frame())
    assert g.used(RX)[0].length == header + 60


@pytest.mark.parametrize("dialect", DIALECTS, ids=NAMES)
@pytest.mark.parametrize("features", [None, 0], ids=["all", "none"])
def test_a_frame_from_the_wire_gets_a_header(dialect: Dialect, features: int | None) -> None:
    g = Made(dialect, features=features)
    g.put(RX, g.net.header, 1600)
    assert g.wire.receive(frame())
    (used,) = g.used(RX)
    assert used.data == bytes(10) + (g.pack("H", 1) if g.net.header == 12 else b"") + frame()


@pytest.mark.parametrize("dialect", DIALECTS, ids=NAMES)
def test_buffers_are_merged(dialect: Dialect) -> None:
    g = Made(dialect)
    for _ in range(5):
        g.put(RX, 30)
    assert g.wire.receive(frame())
    used = g.used(RX)
    assert [u.length for u in used] == [30, 30, 12]
    assert b"".join(u.data for u in used) == bytes(10) + g.pack("H", 3) + frame()
    assert g.transport.queues == [RX]


def test_a_frame_without_room_waits_until_there_is_some() -> None:
    g = Made()
    g.put(RX, 30)
    pokes = g.wire.pokes
    assert not g.wire.receive(frame())
    assert g.used(RX) == []
    g.put(RX, 30)
    assert g.wire.pokes == pokes + 1
    assert not g.wire.receive(frame())
    g.put(RX, 30)
    assert g.wire.receive(frame())
    assert len(g.used(RX)) == 3
    g.put(RX, 30)
    assert g.wire.pokes == pokes + 2


def test_a_buffer_that_is_too_small_for_a_frame_stays_with_the_card() -> None:
    g = Made(features=0)
    g.put(RX, 40)
    assert g.wire.receive(frame())
    assert g.used(RX) == [] and g.net.dropped == 1 and not g.needs_reset
    assert g.wire.receive(frame(size=20))
    assert len(g.used(RX)) == 1


@pytest.mark.parametrize("length", range(12))
def test_a_first_buffer_shorter_than_the_header_stops_the_queue(length: int) -> None:
    g = Made()
    g.put(RX, length)
    g.put(RX, 2000)
    assert g.wire.receive(frame())
    assert g.needs_reset
    assert g.wire.receive(frame())


@pytest.mark.parametrize("length", [0, 1, 9, 11])
def test_a_frame_shorter_than_its_header_stops_the_queue(length: int) -> None:
    g = Made()
    g.put(TX, bytes(length))
    assert g.needs_reset and g.wire.sent == []


@pytest.mark.parametrize("length", [0, 1, 13, net.LARGEST + 1])
def test_what_is_no_frame_is_dropped(length: int) -> None:
    g = Made()
    g.put(TX, g.header() + bytes(length))
    assert not g.needs_reset and g.wire.sent == [] and g.net.dropped == 1
    assert len(g.used(TX)) == 1


@pytest.mark.parametrize("length", [0, 13, net.LARGEST + 1])
def test_what_is_no_frame_on_the_wire_is_dropped_too(length: int) -> None:
    g = Made()
    g.put(RX, 2000)
    assert g.wire.receive(bytes(length))
    assert g.used(RX) == []


@pytest.mark.parametrize("v6", [False, True])
@pytest.mark.parametrize("protocol", [6, 17])
@pytest.mark.parametrize("payload", [b"", b"odd", b"even", b"\xff" * 99])
def test_the_card_fills_in_the_checksum(payload: bytes, protocol: int, v6: bool) -> None:
    whole = packet(payload, protocol=protocol, v6=v6)
    start, at = 54 if v6 else 34, 16 if protocol == 6 else 6
    addresses = whole[start - 32 : start] if v6 else whole[start - 8 : start]
    pseudo = ~rfc1071(addresses + struct.pack(">HH", protocol, len(whole) - start)) & 0xFFFF
    partial = bytearray(whole)
    partial[start + at : start + at + 2] = struct.pack(">H", pseudo)
    g = Made()
    g.put(TX, g.header(1, start=start, at=at) + partial)
    (sent,) = g.wire.sent
    assert sent == whole and transport_valid(sent)


def test_a_checksum_of_zero_is_sent_as_all_ones() -> None:
    assert filled(b"\xff\xff\0\0", 0, 2) == b"\xff\xff\xff\xff"


@pytest.mark.parametrize(("start", "at"), [(60, 0), (59, 0), (0, 59), (0xFFFF, 0xFFFF), (0, 0xFFFF), (0xFFFF, 0)])
def test_a_checksum_outside_the_frame_is_refused(start: int, at: int) -> None:
    g = Made()
    g.put(TX, g.header(1, start=start, at=at) + frame())
    assert g.wire.sent == [] and g.net.dropped == 1 and not g.needs_reset
    g.put(TX, g.header(1, start=0, at=58) + frame())
    assert len(g.wire.sent) == 1


def test_an_offload_that_was_not_agreed_on_is_refused() -> None:
    g = Made(features=MRG)
    g.put(TX, g.header(1, start=34, at=16) + packet(b"x"))
    g.put(TX, g.header(1, 1, 54, 1000, 34, 16) + packet(bytes(3000)))
    assert g.wire.sent == [] and g.wire.large == [] and g.net.dropped == 2


@pytest.mark.parametrize("dialect", DIALECTS, ids=NAMES)
@pytest.mark.parametrize("v6", [False, True])
@pytest.mark.parametrize("ecn", [0, 0x80])
def test_a_large_segment_is_cut_up_on_the_wire(dialect: Dialect, v6: bool, ecn: int) -> None:
    g = Made(dialect)
    large = packet(bytes(40000), v6=v6)
    start = 54 if v6 else 34
    g.put(TX, g.header(1, (4 if v6 else 1) | ecn, start + 20, 1448, start, 16), large)
    assert g.wire.large == [(large, 1448)] and g.wire.sent == []


def test_a_large_segment_that_fits_is_one_frame_with_its_checksums() -> None:
    g = Made()
    bare = bytearray(packet(b"payload"))
    bare[50:52] = b"\0\0"
    g.put(TX, g.header(1, 1, 54, 1448, 34, 16) + bare)
    (sent,) = g.wire.sent
    assert transport_valid(sent) and sent.endswith(b"payload")


@pytest.mark.parametrize(
    ("kind", "size", "start", "flags"),
    [
        (4, 1000, 34, 1),
        (1, 1000, 35, 1),
        (1, 0, 34, 1),
        (1, 31, 34, 1),
        (1, 1000, 34, 0),
        (3, 1000, 34, 1),
        (2, 99, 34, 1),
    ],
)
def test_a_large_segment_that_is_not_what_it_says_is_dropped(kind: int, size: int, start: int, flags: int) -> None:
    g = Made()
    g.put(TX, g.header(flags, kind, 54, size, start, 16) + packet(bytes(3000)))
    assert g.wire.large == [] and g.wire.sent == [] and g.net.dropped == 1
    g.put(TX, g.header(1, 1, 54, 1000, 34, 16) + frame(size=200))
    assert g.wire.large == [] and g.net.dropped == 2


@pytest.mark.parametrize("v6", [False, True])
@pytest.mark.parametrize("protocol", [6, 17])
@pytest.mark.parametrize("vlan", [False, True])
def test_a_good_checksum_is_marked_and_a_bad_one_is_left_to_the_guest(v6: bool, protocol: int, vlan: bool) -> None:
    g = Made(features=MRG | net.GUEST_CSUM)
    for good in (True, False):
        g.put(RX, 2000)
        assert g.wire.receive(packet(b"data", protocol=protocol, v6=v6, vlan=vlan, good=good))
        assert g.used(RX)[0].data[0] == (2 if good else 0)
    plain = Made(features=MRG)
    plain.put(RX, 2000)
    plain.wire.receive(packet(b"data"))
    assert plain.used(RX)[0].data[0] == 0


def test_packets_cut_short_anywhere_are_no_valid_ones() -> None:
    for v6 in (False, True):
        for protocol in (6, 17):
            whole = packet(b"some data", protocol=protocol, v6=v6)
            assert transport_valid(whole) and transport_valid(whole + b"padding")
            assert not any(transport_valid(whole[:n]) for n in range(14, len(whole)))


def test_a_udp_packet_without_a_checksum_and_a_fragment_are_not_marked() -> None:
    udp = bytearray(packet(b"data", protocol=17))
    udp[40:42] = b"\0\0"
    assert not transport_valid(bytes(udp))
    fragment = bytearray(packet(b"data"))
    fragment[20] = 0x20
    assert not transport_valid(bytes(fragment))


def test_the_driver_can_turn_the_marks_off() -> None:
    g = Made()
    assert g.command(5, 0, g.pack("Q", 0)) == 0
    g.put(RX, 2000)
    g.wire.receive(packet(b"data"))
    assert g.used(RX)[0].data[0] == 0
    assert g.command(5, 0, g.pack("Q", net.GUEST_CSUM)) == 0
    assert g.command(5, 0, g.pack("Q", 1 << 7)) == 1
    assert g.command(5, 1, g.pack("Q", 0)) == 1


def taken(g: Made, to: bytes, **more: int) -> bool:
    g.put(RX, 2000)
    before = g.net.dropped
    g.wire.receive(frame(to, **more))
    return g.net.dropped == before


MULTI, OTHER = bytes.fromhex("01005e000001"), bytes.fromhex("020000000009")


@pytest.mark.parametrize("dialect", DIALECTS, ids=NAMES)
def test_the_filter_follows_the_receive_modes(dialect: Dialect) -> None:
    g = Made(dialect)
    assert all(taken(g, to) for to in (MAC, OTHER, MULTI, b"\xff" * 6))
    assert g.command(0, 0, b"\0") == 0
    assert [taken(g, to) for to in (MAC, OTHER, MULTI, b"\xff" * 6)] == [True, False, False, True]
    assert g.command(0, 1, b"\1") == g.command(0, 2, b"\1") == 0
    assert [taken(g, to) for to in (OTHER, MULTI)] == [True, True]
    assert g.command(0, 3, b"\1") == g.command(0, 4, b"\1") == g.command(0, 5, b"\1") == 0
    assert [taken(g, to) for to in (MAC, OTHER, MULTI, b"\xff" * 6)] == [False] * 4
    assert g.command(0, 6, b"\1") == 1


@pytest.mark.parametrize("dialect", DIALECTS, ids=NAMES)
def test_addresses_that_the_driver_lists_get_through(dialect: Dialect) -> None:
    g = Made(dialect)
    g.command(0, 0, b"\0")
    assert g.command(1, 0, g.pack("I", 1) + OTHER + g.pack("I", 1) + MULTI) == 0
    assert [taken(g, to) for to in (OTHER, MULTI, PEER)] == [True, True, False]
    many = b"".join(bytes((2, 0, 0, 0, n >> 8, n & 255)) for n in range(net.TABLE + 1))
    assert g.command(1, 0, g.pack("I", net.TABLE + 1) + many + g.pack("I", 0)) == 0
    assert [taken(g, to) for to in (PEER, MULTI)] == [True, False]
    assert g.command(1, 1, OTHER) == 0
    assert bytes(g.net.state.mac) == OTHER == bytes(g.device.read_config(n, 1) for n in range(6))


@pytest.mark.parametrize("count", [1, 2, 65535, 0x2AAAAAAB, 0xFFFFFFFF])
def test_a_table_longer_than_its_command_is_refused(count: int) -> None:
    g = Made()
    assert g.command(1, 0, g.pack("I", count) + bytes(5)) == 1
    assert g.command(1, 0, g.pack("I", 0) + g.pack("I", count)) == 1
    assert g.command(1, 0, b"\0\0") == 1
    assert g.command(1, 1, b"12345") == 1
    assert not g.needs_reset


@pytest.mark.parametrize("dialect", DIALECTS, ids=NAMES)
def test_vlans_are_let_through_one_by_one(dialect: Dialect) -> None:
    g = Made(dialect)
    tagged = MAC + PEER + b"\x81\x00\x20\x05"
    g.put(RX, 2000)
    g.wire.receive(tagged.ljust(60, b"\0"))
    assert g.used(RX) == []
    assert g.command(2, 0, g.pack("H", 5)) == 0
    g.wire.receive(tagged.ljust(60, b"\0"))
    assert len(g.used(RX)) == 1
    assert g.command(2, 1, g.pack("H", 5)) == 0
    g.put(RX, 2000)
    g.wire.receive(tagged.ljust(60, b"\0"))
    g.wire.receive(tagged[:14].ljust(15, b"\0"))
    assert g.used(RX) == []
    assert [g.command(2, n, g.pack("H", value)) for n, value in ((0, 4096), (0, 0xFFFF), (2, 5))] == [1, 1, 1]


@pytest.mark.parametrize("parts", [(b"", 1), (b"\0", 1), (b"\0\0\1",), (4,)])
def test_a_command_that_no_driver_sends_stops_the_queue(parts: tuple[bytes | int, ...]) -> None:
    g = Made()
    g.put(CTRL, *parts)
    assert g.needs_reset and g.used(CTRL) == []


@pytest.mark.parametrize("number", [3, 4, 6, 255])
def test_an_unknown_command_is_refused(number: int) -> None:
    g = Made()
    assert g.command(number, 0, bytes(64)) == 1


def test_the_guest_is_asked_to_announce_itself() -> None:
    g = Made()
    g.net.announce()
    assert g.device.read_config(6, 2) == 3 and g.transport.configs == 1
    assert g.command(3, 0, b"") == 0
    assert g.device.read_config(6, 2) == 1
    assert g.command(3, 0, b"") == 1


def test_a_cable_that_is_out_carries_nothing() -> None:
    g = Made()
    g.put(RX, 2000)
    g.net.set_link(False)
    assert g.device.read_config(6, 2) == 0 and g.transport.configs == 1
    g.put(TX, g.header() + frame())
    assert g.wire.receive(frame()) and g.wire.sent == [] and g.used(RX) == [] and len(g.used(TX)) == 1
    g.start()
    assert g.device.read_config(6, 2) == 0
    g.net.set_link(True)
    assert g.device.read_config(6, 2) == 1


def test_a_reset_brings_the_address_back_and_frees_the_wire() -> None:
    g = Made()
    g.command(1, 1, OTHER)
    g.command(0, 0, b"\0")
    g.device.set_status(0)
    assert bytes(g.net.state.mac) == MAC and g.net.state.promiscuous
    pokes = g.wire.pokes
    g.device.reset()
    assert g.wire.pokes == pokes + 1
    assert g.wire.receive(frame())


def test_only_a_legacy_driver_writes_the_address() -> None:
    for dialect in DIALECTS:
        g = Made(dialect)
        g.device.write_config(0, 1, 0x02)
        assert g.net.state.mac[0] == (0x02 if dialect.legacy else MAC[0])
        g.device.write_config(6, 2, 0)
        assert g.net.state.link == 1


def test_marks_that_the_driver_turned_off_stay_off_behind_a_load() -> None:
    g = Made()
    assert g.net.state.offloads & net.GUEST_CSUM
    g.command(5, 0, g.pack("Q", 0))
    g.device.load(g.device.save())
    assert g.net.state.offloads == 0


def test_what_the_driver_set_is_saved() -> None:
    g, other = Made(), Made()
    g.command(0, 0, b"\0")
    g.command(1, 0, g.pack("I", 1) + OTHER + g.pack("I", 0))
    other.device.load(g.device.save())
    assert bytes(other.net.state.unicast) == OTHER and not other.net.state.promiscuous


def test_the_largest_packet_is_told_if_there_is_one() -> None:
    g = Made(mtu=9000)
    assert g.device.accepted(net.MTU) and g.device.read_config(10, 2) == 9000
    assert not Made().device.accepted(net.MTU)
    with pytest.raises(ValueError, match="68 to 65535"):
        Made(mtu=67)
    with pytest.raises(ValueError, match="six bytes"):
        Net(memory=Memory(), port=Cable(), mac=b"\1" * 6)


@pytest.mark.parametrize("dialect", DIALECTS, ids=NAMES)
def test_joined_segments_come_with_the_size_that_each_had(dialect: Dialect) -> None:
    g = Made(dialect)
    assert g.wire.wanted()
    first, behind = packet(bytes(1460)), b"\x5a" * 3000
    for _ in range(4):
        g.put(RX, 1600)
    assert g.wire.receive(first + behind)
    data = b"".join(u.data for u in g.used(RX))
    assert data[:10] == g.pack("BBHHHH", net.NEEDS_CSUM, net.GSO_TCP4, 54, 1460, 34, 16)
    got = data[g.net.header :]
    assert got[54:] == bytes(1460) + behind
    assert int.from_bytes(got[16:18], "big") == len(got) - 14
    assert rfc1071(got[14:34]) == 0
    pseudo = got[26:34] + struct.pack(">HH", 6, len(got) - 34)
    assert int.from_bytes(got[50:52], "big") == rfc1071(pseudo) ^ 0xFFFF


@pytest.mark.parametrize("features", [0, MRG, MRG | net.GUEST_CSUM])
def test_a_driver_that_takes_no_large_frames_gets_none(features: int) -> None:
    g = Made(features=features)
    assert not g.wire.wanted()
    for _ in range(4):
        g.put(RX, 1600)
    assert g.wire.receive(packet(bytes(1460)) + bytes(3000))
    assert g.used(RX) == [] and g.net.dropped == 1


def test_frames_go_together_a_while_behind_the_first_bell() -> None:
    clock = FakeClock()
    g = Made(clock=clock)
    for n in range(3):
        g.put(TX, g.header() + frame(bytes(5) + bytes((n,))))
        clock.advance(net.GATHER // 4)
    assert g.wire.sent == [] and g.transport.queues == []
    clock.advance(net.GATHER // 4)
    assert [one[5] for one in g.wire.sent] == [0, 1, 2] and g.transport.queues == [TX]
    g.put(TX, g.header() + frame())
    clock.advance(net.GATHER)
    assert len(g.wire.sent) == 4


def test_what_waits_to_be_sent_is_sent_behind_a_load_and_not_behind_a_reset() -> None:
    clock = FakeClock()
    g = Made(clock=clock)
    g.put(TX, g.header() + frame())
    clock.advance(net.GATHER - 1)
    saved = g.net.save()
    g.net.set_status(0)
    clock.advance(net.GATHER)
    assert g.wire.sent == []
    g.net.load(saved)
    clock.advance(1)
    assert g.wire.sent == [frame()]
