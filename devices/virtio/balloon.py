"""Virtio memory balloon: the guest hands pages back, and the host gets them.

`set_size` (the monitor's `balloon`) asks the guest's driver to shrink the guest to so many bytes; the driver gives up
pages of its choice, and `discard` returns each to the host. With free page reporting it also names pages that it has no
use for at the moment. Statistics come when `poll` asks for them.

VIRTIO 1.2, 5.5. The configuration space is little-endian even for a big-endian legacy driver (5.5.4.0.0.1); page
numbers and statistics are not. As in Linux a queue that was not agreed on has no number: those behind it move up.
"""

# ruff: noqa: RUF009

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from devices.device import device
from devices.state import flag, octets, uint
from devices.virtio.device import ACCESS_PLATFORM, VirtioDevice, VirtioState
from devices.virtio.ring import Chain, RingMemory

QUEUES = (128, 128, 128, 128)
MUST_TELL_HOST, STATS, DEFLATE_ON_OOM, REPORTING = 1 << 0, 1 << 1, 1 << 2, 1 << 5
SHIFT = 12
PAGE = 1 << SHIFT
MOST = 1 << 20
"""Bytes of page numbers in one buffer that are looked at: 1 GiB of guest memory. Drivers send a kilobyte."""
STAT = 10
MOST_STATS = 64 * STAT
STAT_NAMES = (
    "stat-swap-in",
    "stat-swap-out",
    "stat-major-faults",
    "stat-minor-faults",
    "stat-free-memory",
    "stat-total-memory",
    "stat-available-memory",
    "stat-disk-caches",
    "stat-htlb-pgalloc",
    "stat-htlb-pgfail",
)


@dataclass
class BalloonState(VirtioState):
    wanted: int = uint(32)
    """Pages that the driver is asked to give up."""
    actual: int = uint(32)
    """Pages that the driver says it has given up."""
    stats: bytearray = octets(MOST_STATS)
    """The last statistics, as tag (2 bytes) and value (8 bytes), little-endian."""
    polled: bool = flag()
    """Statistics are wanted as soon as there is a buffer for them."""


@device("virtio-balloon", "memory balloon")
class Balloon(VirtioDevice):
    """`size` is the guest's RAM in bytes; `discard(address, length)` takes whole pages of it, with their contents."""

    State = BalloonState
    state: BalloonState

    number = 5
    layout = "II"

    def __init__(
        self,
        *,
        memory: RingMemory,
        size: int,
        discard: Callable[[int, int], None],
        bus_memory: RingMemory | None = None,
        big_endian: bool = False,
        packed: bool = False,
        deflate_on_oom: bool = False,
        reporting: bool = False,
    ) -> None:
        self.size = size
        self.discard = discard
        self.deflate_on_oom = deflate_on_oom
        self.reporting = reporting
        self._kept: Chain | None = None
        super().__init__(memory=memory, queue_sizes=QUEUES, bus_memory=bus_memory, big_endian=big_endian, packed=packed)

    # -- for people

    def set_size(self, size: int) -> None:
        """Ask the guest to make do with `size` bytes of RAM; at most all of it, and at least none."""
        self.state.wanted = (self.size - max(0, min(size, self.size))) // PAGE
        self.config_changed()

    @property
    def remaining(self) -> int:
        """Bytes of RAM that the guest has left, as its driver says."""
        return max(0, self.size - self.state.actual * PAGE)

    def poll(self) -> None:
        """Ask for new statistics; they are in `statistics` some time later."""
        self.state.polled = True
        self._ask()

    @property
    def statistics(self) -> dict[str, int]:
        """The last statistics by QEMU's names, in bytes or events."""
        pairs = struct.iter_unpack("<HQ", self.state.stats)
        return {STAT_NAMES[tag]: value for tag, value in pairs if tag < len(STAT_NAMES)}

    # -- what the driver sees

    def offered(self) -> int:
        return STATS | DEFLATE_ON_OOM * self.deflate_on_oom | REPORTING * self.reporting

    def fields(self) -> tuple[int, int]:
        return self.state.wanted, self.state.actual

    def config(self) -> bytes:
        return struct.pack("<" + self.layout, *self.fields())

    def wrote_config(self, offset: int, data: bytes) -> None:
        actual = bytearray(self.state.actual.to_bytes(4, "little"))
        for at, byte in enumerate(data, offset - 4):
            if 0 <= at < 4:
                actual[at] = byte
        self.state.actual = int.from_bytes(actual, "little")

    def reset(self) -> None:
        wanted = self.state.wanted
        super().reset()
        self.state.wanted = wanted  # what a person asked for outlives the driver

    def set_status(self, value: int, legacy: bool = False) -> None:
        before = self.running
        super().set_status(value, legacy)
        if self.running and not before:
            for queue in self.queues:  # Linux makes its first statistics available before it is ready
                self.notify(queue.index)

    def stopped(self) -> None:
        self._kept = None

    def handle(self, index: int, chain: Chain) -> None:
        roles = ["inflate", "deflate"]
        roles += ["stats"] * self.accepted(STATS) + ["report"] * self.accepted(REPORTING)
        role = roles[index] if index < len(roles) else ""
        if role == "inflate":
            self._inflate(chain)
        elif role == "report":
            self._report(chain)
        elif role == "stats":
            self._stats(chain)
            return
        chain.complete(0)

    def _inflate(self, chain: Chain) -> None:
        data = chain.read(0, min(chain.total, MOST))
        count = len(data) // 4
        numbers = sorted(set(struct.unpack(f"{self.order}{count}I", data[: 4 * count])))
        first = after = -1
        for number in numbers:
            if number != after:
                self._give(first, after)
                first = number
            after = number + 1
        self._give(first, after)

    def _give(self, first: int, after: int) -> None:
        if 0 <= first < after:
            self.discard(first << SHIFT, after - first << SHIFT)

    def _report(self, chain: Chain) -> None:
        if self.accepted(ACCESS_PLATFORM):
            return  # the bus's addresses, behind which other memory may be
        for address, length in chain.writable:
            first, after = -(-address >> SHIFT), address + length >> SHIFT
            self._give(first, after)

    def _stats(self, chain: Chain) -> None:
        """The driver's buffer with statistics; it stays here until new ones are wanted."""
        data = chain.read(0, min(chain.total, MOST_STATS))
        data = data[: len(data) // STAT * STAT]
        self.state.stats[:] = b"".join(
            struct.pack("<HQ", *pair) for pair in struct.iter_unpack(self.order + "HQ", data)
        )
        old, self._kept = self._kept, chain
        if old is not None:
            old.complete(0)
        self._ask()

    def _ask(self) -> None:
        chain = self._kept
        if chain is not None and self.state.polled:
            self._kept = None
            self.state.polled = False
            chain.complete(0)
