"""Checksums, and TCP segments cut up or kept whole."""

from __future__ import annotations

import random

import pytest

from devices import ethernet
from tests.devices.cards import frame, tcp, valid_tcp


def plain_sum(data: bytes) -> int:
    """RFC 1071, word by word."""
    total = 0
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big")
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


@pytest.mark.parametrize("data", [b"", b"\0\0", b"\xff\xff", b"\xff\xff\xff\xff", b"\x01", b"\xff\xfe\x00\x01"])
def test_a_checksum_is_the_complement_of_the_folded_sum(data: bytes) -> None:
    assert ethernet.checksum(ethernet.total(data)) == plain_sum(data)


def test_checksums_of_random_data_are_those_of_the_rfc() -> None:
    rng = random.Random(1)
    for length in range(300):
        data = rng.randbytes(length)
        assert ethernet.checksum(ethernet.total(data)) == plain_sum(data)


@pytest.mark.parametrize("v6", [False, True])
def test_segments_carry_the_payload_in_order_with_right_checksums(v6: bool) -> None:
    payload = random.Random(2).randbytes(5000)
    pieces = ethernet.segments(tcp(payload, flags=0x99, v6=v6), 1448)
    assert [len(piece) - ethernet.parse(piece).payload for piece in pieces] == [1448, 1448, 1448, 656]
    assert all(valid_tcp(piece) for piece in pieces)
    assert b"".join(piece[ethernet.parse(piece).payload :] for piece in pieces) == payload
    tcp_at = ethernet.parse(pieces[0]).tcp
    assert [int.from_bytes(p[tcp_at + 4 : tcp_at + 8], "big") for p in pieces] == [1, 1449, 2897, 4345]
    # FIN and PSH on the last one, CWR on the first.
    assert [piece[tcp_at + 13] for piece in pieces] == [0x90, 0x10, 0x10, 0x19]


@pytest.mark.parametrize("v6", [False, True])
def test_a_large_segment_kept_whole_has_right_lengths_and_checksums(v6: bool) -> None:
    made = ethernet.whole(tcp(bytes(range(256)) * 200, v6=v6))
    assert made is not None and valid_tcp(made)


def test_what_is_no_tcp_over_ip_is_neither_cut_nor_kept() -> None:
    assert ethernet.segments(frame(1000), 100) == []
    assert ethernet.whole(frame(1000)) is None
    assert ethernet.segments(tcp(b"x"), 0) == []
    fragment = bytearray(tcp(b"x" * 100))
    fragment[20] |= 0x20
    assert ethernet.segments(fragment, 10) == []


def test_a_packet_longer_than_ip_allows_is_not_kept_whole() -> None:
    assert ethernet.whole(tcp(bytes(65536))) is None


def test_every_cut_off_frame_is_parsed_without_reading_past_its_end() -> None:
    for v6 in (False, True):
        good = tcp(b"payload", v6=v6)
        for length in range(len(good)):
            part = ethernet.parse(good[:length])
            assert part is None or part.payload <= length


def test_frames_of_random_bytes_are_parsed_or_refused() -> None:
    rng = random.Random(3)
    for _ in range(4000):
        data = bytearray(tcp(rng.randbytes(rng.randrange(80)), v6=rng.random() < 0.5))
        for _ in range(rng.randrange(4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        ethernet.segments(data, rng.randrange(1, 40))
        ethernet.whole(data)
