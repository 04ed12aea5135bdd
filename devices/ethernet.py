"""Ethernet frames as network cards and wires see them: Internet checksums, and TCP segments longer than the wire takes.

RFC 1071 (checksum), RFC 791, 8200 and 9293 (headers). No chip: functions that cards, virtio and `emu.net` share.
A *large* frame holds a TCP segment with more payload than one packet may carry; its lengths and checksums are filled
in by `whole` or by `segments`, never by who made it.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

HEADER = 14
SHORTEST, LONGEST = 60, 1514
"""Bytes of a frame without its check sequence."""
LARGEST = 65535 + HEADER + 4
"""A large frame: an IP packet of any length, with one tag."""
VLAN, IPV4, IPV6 = 0x8100, 0x0800, 0x86DD
TCP, UDP = 6, 17
FIN, PSH, CWR = 0x01, 0x08, 0x80


def total(data: bytes | bytearray | memoryview) -> int:
    """The ones' complement sum of big-endian 16-bit words, not yet folded; an odd end counts as if a zero followed.

    Only its value modulo 65535 and whether it is zero matter: sums of parts of even length may be added.
    """
    number = int.from_bytes(data, "big")
    if len(data) & 1:
        number <<= 8
    rest = number % 0xFFFF
    return rest or (0xFFFF if number else 0)


def checksum(value: int) -> int:
    """The checksum field for a sum of `total`s."""
    return 0xFFFF - (value % 0xFFFF or (0xFFFF if value else 0))


class Segment(NamedTuple):
    """Where the parts of a TCP frame begin."""

    ip: int
    tcp: int
    payload: int
    v6: bool


def parse(frame: bytes | bytearray) -> Segment | None:
    """The parts of an IPv4 or IPv6 frame with TCP right behind the IP header, or None if it is anything else."""
    ip = HEADER
    kind = int.from_bytes(frame[12:14], "big")
    if kind == VLAN:
        kind = int.from_bytes(frame[16:18], "big")
        ip += 4
    if len(frame) < ip + 40:
        return None
    if kind == IPV4 and frame[ip] >> 4 == 4 and frame[ip + 9] == TCP:
        tcp = ip + 4 * (frame[ip] & 15)
        if tcp < ip + 20 or frame[ip + 6] & 0x3F or frame[ip + 7]:  # a fragment has no whole segment
            return None
    elif kind == IPV6 and frame[ip] >> 4 == 6 and frame[ip + 6] == TCP:
        tcp = ip + 40
    else:
        return None
    if len(frame) < tcp + 20:
        return None
    payload = tcp + 4 * (frame[tcp + 12] >> 4)
    if payload < tcp + 20 or payload > len(frame):
        return None
    return Segment(ip, tcp, payload, kind == IPV6)


def _seal(header: bytearray, part: Segment, data: bytes | bytearray | memoryview, sum_of_data: int) -> None:
    """Fill lengths and checksums of a header whose payload is `data`."""
    ip, tcp, payload, v6 = part
    length = payload - tcp + len(data)
    if v6:
        header[ip + 4 : ip + 6] = (tcp - ip - 40 + length).to_bytes(2, "big")
        addresses = header[ip + 8 : ip + 40]
    else:
        header[ip + 2 : ip + 4] = (tcp - ip + length).to_bytes(2, "big")
        header[ip + 10 : ip + 12] = b"\0\0"
        header[ip + 10 : ip + 12] = checksum(total(header[ip:tcp])).to_bytes(2, "big")
        addresses = header[ip + 12 : ip + 20]
    header[tcp + 16 : tcp + 18] = b"\0\0"
    value = total(addresses) + TCP + length + total(header[tcp:payload]) + sum_of_data
    header[tcp + 16 : tcp + 18] = checksum(value).to_bytes(2, "big")


def whole(frame: bytes | bytearray) -> bytes | None:
    """A large frame with its lengths and checksums, still one; None if it is no TCP frame or longer than IP allows."""
    part = parse(frame)
    if part is None or len(frame) - part.ip > 65535:
        return None
    header = bytearray(frame[: part.payload])
    data = memoryview(frame)[part.payload :]
    _seal(header, part, data, total(data))
    return bytes(header) + data


def segments(frame: bytes | bytearray, mss: int) -> list[bytes]:
    """A large frame cut into packets of at most `mss` payload bytes; none if it is no TCP frame."""
    part = parse(frame)
    if part is None or mss < 1:
        return []
    ip, tcp, payload, v6 = part
    data = memoryview(frame)[payload:]
    template = bytearray(frame[:payload])
    (identity,) = struct.unpack_from(">H", template, ip + 4)
    (sequence,) = struct.unpack_from(">I", template, tcp + 4)
    flags = template[tcp + 13]
    out = []
    for number, at in enumerate(range(0, len(data) or 1, mss)):
        piece = data[at : at + mss]
        header = bytearray(template)
        if not v6:
            struct.pack_into(">H", header, ip + 4, identity + number & 0xFFFF)
        struct.pack_into(">I", header, tcp + 4, sequence + at & 0xFFFFFFFF)
        last = at + mss >= len(data)
        header[tcp + 13] = flags & ~((0 if last else FIN | PSH) | (CWR if at else 0))
        _seal(header, part, piece, total(piece))
        out.append(bytes(header) + piece)
    return out
