"""Frames on the C side of a wire: segments that came right behind one another become one; nothing is out of order."""

from __future__ import annotations

import random
from typing import Any

import pytest

from devices import ethernet
from tests.devices.cards import frame, tcp, valid_tcp

slirp = pytest.importorskip("emu.engine.slirp", reason="the engine is not built")

HEADERS = 54


def waiting(frames: Any) -> list[bytes]:
    out = []
    while (one := frames.take()) is not None:
        out.append(one)
    return out


def joined(frames: list[bytes]) -> list[bytes]:
    wire = slirp.Frames()
    wire.join(True)
    for one in frames:
        wire.put(one)
    return waiting(wire)


def apart(frames: list[bytes]) -> list[bytes]:
    """What the card's driver gets: large frames cut up by the length in their header."""
    out = []
    for one in frames:
        size = int.from_bytes(one[16:18], "big") - 40
        out += ethernet.segments(one, size) if len(one) > 1518 else [one]
    return out


def stream(length: int, sequence: int = 1, size: int = 1460) -> list[bytes]:
    data = bytearray(tcp(random.Random(length).randbytes(length)))
    data[38:42] = sequence.to_bytes(4, "big")
    return ethernet.segments(data, size)


def payload(frames: list[bytes]) -> bytes:
    return b"".join(one[HEADERS:] for one in frames)


def test_the_segments_of_a_stream_come_out_as_one_that_can_be_cut_up_again() -> None:
    frames = stream(20_000)
    (one,) = joined(frames)
    assert payload([one]) == payload(frames)
    pieces = apart([one])
    assert [len(piece) for piece in pieces] == [len(piece) for piece in frames]
    assert all(valid_tcp(piece) for piece in pieces)
    assert pieces[-1][47] == frames[-1][47]


def test_a_stream_longer_than_a_packet_may_be_comes_out_in_several() -> None:
    frames = stream(200_000)
    out = joined(frames)
    assert 4 <= len(out) <= 5
    assert payload(out) == payload(frames) and all(len(one) <= 65535 for one in out)


def test_a_sequence_number_that_wraps_is_no_hindrance() -> None:
    frames = stream(10_000, 0xFFFFFF00)
    assert len(joined(frames)) == 1


def test_what_differs_in_more_than_its_order_stays_apart_and_in_order() -> None:
    first, second, third = stream(4380)
    other = bytearray(second)
    other[36] ^= 1  # another port
    window = bytearray(second)
    window[48] ^= 1
    urgent = bytearray(second)
    urgent[47] |= 0x20
    for between in (bytes(other), bytes(window), bytes(urgent), frame(100), third):
        assert joined([first, between, second]) == [first, between, second]


def test_an_acknowledgement_without_data_joins_nothing_and_nothing_joins_it() -> None:
    bare = ethernet.segments(tcp(b""), 1460)[0]
    frames = [bare, stream(600)[0], bare, bare]
    assert joined(frames) == frames


def test_nothing_is_joined_unless_the_card_takes_large_frames() -> None:
    wire = slirp.Frames()
    for one in stream(5000):
        wire.put(one)
    assert len(wire) == 4 and waiting(wire) == stream(5000)


def test_frames_that_nobody_takes_are_dropped_and_the_rest_keeps_its_order() -> None:
    wire = slirp.Frames()
    made = [bytes((n >> 8, n & 255)) * 700 for n in range(2500)]
    for one in made:
        wire.put(one)
    assert waiting(wire) == made[:2048]
    wire.put(made[-1])
    assert waiting(wire) == made[-1:]


def test_taking_some_and_putting_more_keeps_the_order() -> None:
    rng = random.Random(8)
    wire, put, taken = slirp.Frames(), [], []
    for n in range(5000):
        if rng.random() < 0.55:
            put.append(n.to_bytes(4, "big") * rng.randrange(1, 400))
            wire.put(put[-1])
        elif (one := wire.take()) is not None:
            taken.append(one)
    assert taken + waiting(wire) == put


def test_random_mixtures_of_streams_keep_every_byte_of_each_in_order() -> None:
    rng = random.Random(4)
    for _ in range(200):
        streams = []
        for port in range(3):
            made = stream(rng.randrange(1, 9000), rng.getrandbits(32), rng.randrange(300, 1460))
            frames = [bytearray(one) for one in made]
            for one in frames:
                one[36] = port
            streams.append(frames)
        mixed = []
        while any(streams):
            one = rng.choice([s for s in streams if s])
            for _ in range(min(len(one), rng.randrange(1, 5))):
                mixed.append(bytes(one.pop(0)))
        out = joined(mixed)
        for port in range(3):
            assert payload([f for f in out if f[36] == port]) == payload([f for f in mixed if f[36] == port])
