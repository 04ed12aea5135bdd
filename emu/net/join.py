"""TCP segments of one connection that came right behind one another, joined for a card that takes large ones.

A guest spends more on a packet than on its bytes. Joined are only segments of IPv4 without options whose headers tell
the same but for order, as in the generic receive offload of operating systems. The length field of the IP header still
says how long the first one was, so that the card can tell the guest; checksums are left to the card as well.
"""

from __future__ import annotations

from collections.abc import Callable

from devices.ethernet import PSH

MOST = 60_000
"""Bytes of joined payload."""
LEAST = 512
"""Bytes of payload that a first segment has: shorter ones are no stream."""
START = b"\x08\x00\x45"
HEADERS = 54


class Joiner:
    """Frames go in by `put` and come out of `deliver` in the same order, the last ones at `flush`."""

    def __init__(self, deliver: Callable[[bytes], object]) -> None:
        self._deliver = deliver
        self._first = b""
        self._parts: list[bytes] = []
        self._size = 0
        self._following = 0
        self._total = 0
        self._push = 0

    def put(self, frame: bytes) -> None:
        """A frame with right lengths and checksums."""
        payload = len(frame) - HEADERS
        first = self._first
        if (
            payload <= 0
            or frame[12:15] != START
            or frame[23] != 6
            or frame[46] != 0x50
            or frame[47] & ~PSH != 0x10
            or (frame[20] & 0x3F or frame[21])
            or frame[16] << 8 | frame[17] != payload + 40
        ):
            self.flush()
            self._deliver(frame)
            return
        sequence = int.from_bytes(frame[38:42], "big")
        if first:
            if (
                sequence == self._following
                and payload <= self._size
                and self._total + payload <= MOST
                and first[:12] == frame[:12]
                and first[26:38] == frame[26:38]
                and first[42:46] == frame[42:46]
                and first[48:50] == frame[48:50]
            ):
                self._parts.append(frame[HEADERS:])
                self._total += payload
                self._following = sequence + payload & 0xFFFFFFFF
                self._push |= frame[47]
                if payload < self._size:
                    self.flush()
                return
            self.flush()
        if payload < LEAST:
            self._deliver(frame)
            return
        self._first, self._size, self._total, self._push = frame, payload, payload, frame[47]
        self._following = sequence + payload & 0xFFFFFFFF

    def flush(self) -> None:
        """Let go what waits for more."""
        first = self._first
        if not first:
            return
        self._first = b""
        parts, self._parts = self._parts, []
        if not parts:
            self._deliver(first)
            return
        self._deliver(b"".join((first[:47], bytes((first[47] | self._push & PSH,)), first[48:], *parts)))
