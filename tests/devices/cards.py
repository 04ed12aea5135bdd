"""What tests of network cards share: memory, a slot, a wire, and frames."""

from __future__ import annotations

from collections.abc import Callable

from devices import ethernet
from devices.pci_card import EmptySlot

MAC = bytes.fromhex("525400123456")
OTHER = bytes.fromhex("52540000beef")
BROADCAST = b"\xff" * 6


class Ram:
    """One MiB at 0."""

    def __init__(self) -> None:
        self.data = bytearray(1 << 20)
        self.outside = 0

    def reaches(self, addr: int, length: int, write: bool) -> bool:
        return addr >= 0 and addr + length <= len(self.data)

    def read(self, addr: int, length: int) -> bytes:
        inside = bytes(self.data[addr : addr + length]) if addr < len(self.data) else b""
        self.outside += length - len(inside)
        return inside + b"\xff" * (length - len(inside))

    def write(self, addr: int, data: bytes) -> None:
        if addr < len(self.data):
            part = data[: len(self.data) - addr]
            self.data[addr : addr + len(part)] = part


class Cable:
    """A `NetPort` that remembers."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.large: list[tuple[bytes, int]] = []
        self.pokes = 0
        self.receive: Callable[[bytes], bool] = lambda frame: True

    def send(self, frame: bytes) -> None:
        self.sent.append(frame)

    def send_large(self, frame: bytes, mss: int) -> None:
        self.large.append((frame, mss))

    def attach(self, receive: Callable[[bytes], bool]) -> None:
        self.receive = receive

    def allow_large(self, wanted: Callable[[], bool]) -> None:
        self.wanted = wanted

    def ready(self) -> None:
        self.pokes += 1


def slot_of(ram: Ram, line: object) -> EmptySlot:
    slot = EmptySlot(ram)
    slot.line = line  # type: ignore[assignment]
    return slot


def frame(length: int = 60, to: bytes = MAC) -> bytes:
    """A frame that no protocol understands."""
    return (to + OTHER + b"\x88\xb5").ljust(length, b"\xa5")[:length]


def tcp(payload: bytes, *, flags: int = 0x18, v6: bool = False) -> bytes:
    """A TCP segment whose lengths and checksums are not filled in."""
    ip = (
        bytes.fromhex("6000000000000640") + bytes(range(32))
        if v6
        else bytes.fromhex("450000000042400040060000") + bytes((10, 0, 2, 15, 10, 0, 2, 2))
    )
    head = bytes.fromhex("1234567800000001000000025000200000000000")
    kind = b"\x86\xdd" if v6 else b"\x08\x00"
    return OTHER + MAC + kind + ip + head[:13] + bytes((flags,)) + head[14:] + payload


def valid_tcp(data: bytes) -> bool:
    """Whether lengths and checksums of a TCP frame over IPv4 are right."""
    part = ethernet.parse(data)
    if part is None:
        return False
    if part.v6:
        addresses, length = data[part.ip + 8 : part.ip + 40], int.from_bytes(data[part.ip + 4 : part.ip + 6], "big")
        if length != len(data) - part.tcp:
            return False
    else:
        addresses = data[part.ip + 12 : part.ip + 20]
        if int.from_bytes(data[part.ip + 2 : part.ip + 4], "big") != len(data) - part.ip:
            return False
        if ethernet.total(data[part.ip : part.tcp]) % 0xFFFF:
            return False
    segment = data[part.tcp :]
    return (ethernet.total(addresses) + 6 + len(segment) + ethernet.total(segment)) % 0xFFFF == 0
