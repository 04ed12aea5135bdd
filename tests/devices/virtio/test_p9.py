"""The transport of 9P messages."""

from __future__ import annotations

import struct

import pytest

from devices.p9 import Share, text
from devices.virtio.p9 import P9
from tests.devices.virtio.guest import DIALECTS, MODERN, NAMES, Dialect, Guest, Memory


class Echo:
    """A server that answers with what it was asked, as far as it fits."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, int]] = []
        self.sessions = 0

    def answer(self, request: bytes, room: int) -> bytes:
        self.asked.append((request, room))
        return request[:room]

    def forget(self) -> None:
        self.sessions += 1


class Made(Guest):
    def __init__(self, dialect: Dialect = MODERN) -> None:
        memory = Memory()
        self.server = Echo()
        made = P9(memory=memory, server=self.server, tag=b"share", big_endian=dialect.big_endian)
        super().__init__(made, memory, dialect)


@pytest.mark.parametrize("dialect", DIALECTS, ids=NAMES)
def test_the_driver_reads_the_mount_tag(dialect: Dialect) -> None:
    g = Made(dialect)
    config = bytes(g.device.read_config(n, 1) for n in range(12))
    assert config == g.pack("H", 5) + b"share" + bytes(5)


def test_requests_and_answers_may_be_in_pieces() -> None:
    g = Made()
    g.put(0, b"\x0b\0\0\0", b"defgh", b"ij", 4, 100)
    (used,) = g.used(0)
    assert used.data == b"\x0b\0\0\0defghij"
    assert g.server.asked == [(b"\x0b\0\0\0defghij", 104)]


@pytest.mark.parametrize("parts", [(b"short", 100), (b"", 100), (b"a request", 10), (b"a request",), (50,)])
def test_a_request_that_no_driver_makes_stops_the_device(parts: tuple[bytes | int, ...]) -> None:
    g = Made()
    g.put(0, *parts)
    assert g.used(0) == [] and g.needs_reset and g.server.asked == []
    g.start()
    g.put(0, b"a request", 100)
    assert len(g.used(0)) == 1


def test_a_reset_ends_the_session() -> None:
    g = Made()
    before = g.server.sessions
    g.device.set_status(0)
    assert g.server.sessions == before + 1


@pytest.mark.parametrize("tag", [b"", b"x" * 33])
def test_a_tag_has_1_to_32_bytes(tag: bytes) -> None:
    with pytest.raises(ValueError, match="1 to 32 bytes"):
        P9(memory=Memory(), server=Echo(), tag=tag)


def test_a_directory_is_attached_through_the_ring(tmp_path: object) -> None:
    memory = Memory()
    g = Guest(P9(memory=memory, server=Share(str(tmp_path)), tag=b"t"), memory, MODERN)
    body = struct.pack("<I", 8192) + text(b"9P2000.L")
    g.put(0, struct.pack("<IBH", 7 + len(body), 100, 0xFFFF) + body, 128)
    (used,) = g.used(0)
    assert used.data == struct.pack("<IBHI", 21, 101, 0xFFFF, 8192) + text(b"9P2000.L")
