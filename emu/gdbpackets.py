"""Packets of gdb's remote serial protocol: where they begin and end, and what stands in them.

What comes is not trusted; see the gdb manual, appendix "Remote Serial Protocol", section "Overview".
"""

from __future__ import annotations

import re

PACKET = 0x4000
"""Bytes of the longest packet, escapes included."""
EFAULT, EINVAL, ENOSPC = 0x0E, 0x16, 0x1C
_NUMBER = re.compile(r"[0-9a-fA-F]{1,16}")
_DIGITS = re.compile(r"[0-9a-fA-F]*")
_ESCAPED = re.compile(rb"[#$}*]")


class Refused(Exception):
    """The reply is `E` and this number."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def number(text: str) -> int:
    """A hexadecimal number of a packet. Raises Refused."""
    if _NUMBER.fullmatch(text) is None:
        raise Refused(EINVAL)
    return int(text, 16)


def data_of(text: str) -> bytes:
    """The bytes of hexadecimal digits. Raises Refused."""
    if len(text) % 2 or _DIGITS.fullmatch(text) is None:
        raise Refused(EINVAL)
    return bytes.fromhex(text)


def escaped(data: bytes) -> bytes:
    """Binary data as it stands in a packet."""
    return _ESCAPED.sub(lambda m: b"}" + bytes((m[0][0] ^ 0x20,)), data)


def unescaped(data: bytes) -> bytes:
    """The reverse. Raises Refused for an escape that ends too early."""
    parts = data.split(b"}")
    if any(not part for part in parts[1:]):
        raise Refused(EINVAL)
    return parts[0] + b"".join(bytes((part[0] ^ 0x20,)) + part[1:] for part in parts[1:])


def framed(body: bytes) -> bytes:
    """A packet with its checksum."""
    return b"$" + body + b"#%02x" % (sum(body) & 0xFF)


class Framing:
    """Cuts what a client sends into packets, at most `PACKET` bytes each."""

    def __init__(self) -> None:
        self._body: bytearray | None = None
        self._tail = bytearray()
        self._ended = False
        self._too_long = False

    def feed(self, data: bytes) -> list[tuple[str, bytes]]:
        """Events: ("packet", body), ("bad", b""), ("long", b""), ("again", b""), ("break", b"")."""
        events: list[tuple[str, bytes]] = []
        for byte in data:
            if self._body is None:
                if byte == 0x24:
                    self._body, self._ended, self._too_long = bytearray(), False, False
                elif byte == 0x03:
                    events.append(("break", b""))
                elif byte == 0x2D:
                    events.append(("again", b""))
            elif self._ended:
                self._tail.append(byte)
                if len(self._tail) == 2:
                    events.append(self._packet())
                    self._body = None
            elif byte == 0x23:
                self._ended = True
                self._tail.clear()
            elif byte == 0x24:
                # A packet in which another begins was cut short.
                self._body.clear()
                self._too_long = False
            elif len(self._body) < PACKET:
                self._body.append(byte)
            else:
                self._too_long = True
        return events

    def _packet(self) -> tuple[str, bytes]:
        body = bytes(self._body or b"")
        if self._too_long:
            return "long", b""
        good = re.fullmatch(rb"[0-9a-fA-F]{2}", self._tail) and int(self._tail, 16) == sum(body) & 0xFF
        return ("packet", body) if good else ("bad", b"")
