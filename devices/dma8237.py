"""The two 8237A DMA controllers of a PC/AT with their page registers.

Ports 0x00..0x0F (channels 0..3, bytes), 0xC0..0xDF (channels 4..7, words; 4 is the cascade) and 0x80..0x8F (pages). A
device that wants a transfer calls `to_memory` or `from_memory`; bytes move at once, within the channel's count, and the
address wraps in its 64 KiB (128 KiB for words) as the page register does not count.

Intel 8237A data sheet (order 231466); page registers: 82371SB (PIIX3) data sheet, 2.5.1.
"""

# ruff: noqa: RUF009

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from devices import state
from devices.contracts import GuestMemory
from devices.device import Device, device

PAGE_OF = {7: 0, 3: 1, 1: 2, 2: 3, 0xF: 4, 0xB: 5, 9: 6, 0xA: 7}
"""Which channel each page register port serves."""
VERIFY, WRITE, READ = 0, 1, 2
DECREMENT = 0x20
"""Of a channel's mode: the address counts down."""


@dataclass
class Channel:
    """One DMA channel."""

    base_address: int = state.uint(16)
    base_count: int = state.uint(16)
    address: int = state.uint(16)
    count: int = state.uint(16)
    mode: int = state.uint(8)

    @property
    def direction(self) -> int:
        """VERIFY, WRITE (to memory) or READ (from memory)."""
        return self.mode >> 2 & 3


@device("dma8237", "pair of 8237A DMA controllers with page registers")
class Dma8237(Device):
    """`read_low`/`write_low`, `read_high`/`write_high` and `read_page`/`write_page` are the three port ranges."""

    @dataclass
    class State:
        channels: list[Channel] = state.records(8, Channel)
        pages: list[int] = state.uints(16, 8)
        high_byte: list[int] = state.uints(2, 1)
        """The flip-flop of each controller: which byte of a 16-bit register comes next."""
        masks: list[int] = state.uints(2, 4, 0xF)
        reached: list[int] = state.uints(2, 4)
        """Channels that have reached their terminal count since status was read."""
        requests: list[int] = state.uints(2, 4)
        command: list[int] = state.uints(2, 8)

    state: State

    def __init__(self, *, memory: GuestMemory) -> None:
        super().__init__()
        self.memory = memory
        self.stored80: Callable[[int | None], None] | None = None
        """Told what port 0x80, which guests write to for its delay, holds; None when it may be something else."""

    def reset(self) -> None:
        """The reset pin."""
        self.clear()
        self._stored80(None)

    def restored(self) -> None:
        """Port 0x80 may hold something else."""
        self._stored80(None)

    def _stored80(self, value: int | None) -> None:
        if self.stored80 is not None:
            self.stored80(value)

    # For devices.

    def ready(self, channel: int) -> bool:
        """The channel is unmasked and its controller enabled."""
        which = channel >> 2
        return not self.state.masks[which] >> (channel & 3) & 1 and not self.state.command[which] & 4

    def remaining(self, channel: int) -> int:
        """Bytes up to the terminal count."""
        return (self.state.channels[channel].count + 1) << (channel >> 2)

    def to_memory(self, channel: int, data: bytes) -> int:
        """A device gives `data`. Returns the bytes taken: fewer at the terminal count, none if it is not ready."""
        if not self.ready(channel):
            return 0
        taken = min(len(data), self.remaining(channel))
        if self.state.channels[channel].direction == WRITE:
            at = 0
            for addr, length in self._spans(channel, taken):
                self.memory.write(addr, data[at : at + length])
                at += length
        self._advance(channel, taken)
        return taken

    def from_memory(self, channel: int, length: int) -> bytes:
        """A device takes up to `length` bytes: fewer at the terminal count, none if the channel is not ready."""
        if not self.ready(channel):
            return b""
        taken = min(max(length, 0), self.remaining(channel))
        if self.state.channels[channel].direction == READ:
            data = b"".join(self.memory.read(addr, length) for addr, length in self._spans(channel, taken))
        else:
            data = bytes(taken)
        self._advance(channel, taken)
        return data

    def _spans(self, channel: int, length: int) -> list[tuple[int, int]]:
        """Physical address and length of the pieces of a transfer, split where the address counter wraps."""
        c = self.state.channels[channel]
        wide = channel >> 2
        window = 0x10000 << wide
        page = self.state.pages[next(port for port, served in PAGE_OF.items() if served == channel)]
        base = (page & ~wide) << 16
        spans = []
        at = c.address << wide
        if c.mode & DECREMENT:  # each unit a piece of its own, from there downwards
            unit = 1 << wide
            return [(base + (at - n) % window, unit) for n in range(0, length, unit)]
        while length:
            piece = min(length, window - at)
            spans.append((base + at, piece))
            at = 0
            length -= piece
        return spans

    def _advance(self, channel: int, length: int) -> None:
        c = self.state.channels[channel]
        units = length >> (channel >> 2)
        c.address = (c.address + (-units if c.mode & DECREMENT else units)) & 0xFFFF
        if units > c.count:
            self.state.reached[channel >> 2] |= 1 << (channel & 3)
            if c.mode & 0x10:
                c.address, c.count = c.base_address, c.base_count
            else:
                c.count = 0xFFFF
                self.state.masks[channel >> 2] |= 1 << (channel & 3)
        else:
            c.count -= units

    # Ports.

    def read_low(self, offset: int, width: int) -> int:
        """Ports 0x00..0x0F."""
        return self._read(0, offset & 15)

    def write_low(self, offset: int, width: int, value: int) -> None:
        """Ports 0x00..0x0F."""
        self._write(0, offset & 15, value)

    def read_high(self, offset: int, width: int) -> int:
        """Ports 0xC0..0xDF."""
        return self._read(1, offset >> 1 & 15)

    def write_high(self, offset: int, width: int, value: int) -> None:
        """Ports 0xC0..0xDF."""
        self._write(1, offset >> 1 & 15, value)

    def read_page(self, offset: int, width: int) -> int:
        """Ports 0x80..0x8F; those without a channel are plain storage."""
        return self.state.pages[offset & 15]

    def write_page(self, offset: int, width: int, value: int) -> None:
        """Ports 0x80..0x8F."""
        self.state.pages[offset & 15] = value & 0xFF
        if not offset:
            self._stored80(value & 0xFF)

    def _read(self, which: int, register: int) -> int:
        s = self.state
        if register < 8:
            channel = s.channels[which * 4 + (register >> 1)]
            value = channel.count if register & 1 else channel.address
            high = s.high_byte[which]
            s.high_byte[which] ^= 1
            return value >> 8 if high else value & 0xFF
        if register == 8:
            value = s.reached[which] | s.requests[which] << 4
            s.reached[which] = 0
            return value
        if register == 15:
            return s.masks[which] | 0xF0
        return 0

    def _write(self, which: int, register: int, value: int) -> None:
        s = self.state
        if register < 8:
            channel = s.channels[which * 4 + (register >> 1)]
            high = s.high_byte[which]
            s.high_byte[which] ^= 1
            old = channel.base_count if register & 1 else channel.base_address
            new = old & 0x00FF | value << 8 if high else old & 0xFF00 | value
            if register & 1:
                channel.base_count = channel.count = new
            else:
                channel.base_address = channel.address = new
        elif register == 8:
            s.command[which] = value
        elif register in (9, 10):
            bits = s.requests if register == 9 else s.masks
            bit = 1 << (value & 3)
            bits[which] = bits[which] | bit if value & 4 else bits[which] & ~bit
        elif register == 11:
            s.channels[which * 4 + (value & 3)].mode = value
        elif register == 12:
            s.high_byte[which] = 0
        elif register == 13:
            s.command[which] = s.high_byte[which] = s.reached[which] = s.requests[which] = 0
            s.masks[which] = 0xF
        elif register == 14:
            s.masks[which] = 0
        else:
            s.masks[which] = value & 15
