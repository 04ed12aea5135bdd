"""Virtio entropy device: fills the buffers of the guest with random bytes.

By default the bytes are a function of a seed and of how many were given out, so that a run repeats; a `source` (host
entropy through the gate, `-object rng-random`) replaces them. VIRTIO 1.2, 5.4.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from devices.device import device
from devices.state import uint
from devices.virtio.device import VirtioDevice, VirtioState
from devices.virtio.ring import Chain, RingMemory

QUEUE = 64
MOST = 1 << 16
"""Bytes for one buffer; the driver asks again."""


def seeded(seed: bytes, number: int, count: int) -> bytes:
    """`count` bytes of the block `number` of the stream that belongs to a seed (SHAKE256)."""
    return hashlib.shake_256(b"emu virtio-rng" + number.to_bytes(8, "little") + seed).digest(count)


@dataclass
class RngState(VirtioState):
    given: int = uint(64)
    """Buffers filled since power-on: a reset does not bring the same bytes again."""


@device("virtio-rng", "entropy")
class Rng(VirtioDevice):
    """`source(count)` gives at most `count` bytes; without one they come from `seed`."""

    State = RngState
    state: RngState

    number = 4

    def __init__(
        self,
        *,
        memory: RingMemory,
        bus_memory: RingMemory | None = None,
        big_endian: bool = False,
        packed: bool = False,
        seed: bytes = b"",
        source: Callable[[int], bytes] | None = None,
    ) -> None:
        self.seed = seed
        self.source = source
        super().__init__(
            memory=memory, queue_sizes=(QUEUE,), bus_memory=bus_memory, big_endian=big_endian, packed=packed
        )

    def reset(self) -> None:
        given = self.state.given
        super().reset()
        self.state.given = given

    def handle(self, index: int, chain: Chain) -> None:
        count = min(chain.room, MOST)
        if self.source is not None:
            data = self.source(count)[:count] if count else b""
        else:
            data = seeded(self.seed, self.state.given, count)
            self.state.given = self.state.given + 1 & (1 << 64) - 1
        chain.complete(chain.write(data))
