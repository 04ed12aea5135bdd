"""Virtio block device: a disk with request queues.

    Blk(memory=dma, disk=queue, serial="EMU1")          # then to a transport

A request is a header of 16 bytes (type, priority, sector of 512 bytes), data, and one byte of status at the end of the
writable space. Requests of one queue complete in any order; a flush completes once all that completed before it is
stable. VIRTIO 1.2, 5.2.
"""

# ruff: noqa: RUF009

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from struct import Struct
from typing import Any, ClassVar

from devices.contracts import DiskQueue
from devices.device import device
from devices.lending import Lending
from devices.state import flag, queue
from devices.virtio.device import ACCESS_PLATFORM, DRIVER_OK, MAX_QUEUES, VirtioDevice, VirtioState
from devices.virtio.ring import MAX_SIZE, RING_PACKED, Chain, RingMemory

SECTOR = 512
SEG_MAX, READ_ONLY, BLOCK_SIZE, FLUSH, TOPOLOGY, CONFIG_WCE, MULTI_QUEUE, DISCARD, WRITE_ZEROES = (
    1 << bit for bit in (2, 5, 6, 9, 10, 11, 12, 13, 14)
)
IN, OUT, FLUSH_CACHE, GET_ID, DISCARD_SECTORS, ZERO_SECTORS = 0, 1, 4, 8, 11, 13
OK, IO_ERROR, UNSUPPORTED = 0, 1, 2
UNMAP = 1
ID_LENGTH = 20
LONGEST = 64 << 20
"""Bytes that one request may move; drivers stay far below."""
RANGES = 16
"""Ranges in a discard or write-zeroes request."""
RANGE_SECTORS = 1 << 22
"""Sectors in one of them."""
LENT_SIZE = 256
"""Entries in a queue that a processor may serve."""
WRITEBACK = 32
"""Where in the configuration space the write-back flag is."""

HEADER = {"<": Struct("<IIQ"), ">": Struct(">IIQ")}
RANGE = {"<": Struct("<QII"), ">": Struct(">QII")}


@dataclass
class BlkState(VirtioState):
    write_back: bool = flag(True)
    """The driver may hold writes until it flushes; else each write is stable when it completes."""
    due: list[int] = queue(MAX_QUEUES * MAX_SIZE, 62)
    """When the requests under way complete (virtual ns), in the order of the queues' `inflight`."""


@device("virtio-blk", "virtio disk")
class Blk(Lending, VirtioDevice):
    """`logical` and `physical` are bytes of a block, `smallest` and `best` bytes of a transfer (0: not said)."""

    State: ClassVar[type[Any]] = BlkState
    number = 2
    pci_class = 0x010000
    # capacity, size_max, seg_max, geometry, blk_size, topology, writeback, num_queues, discard, write zeroes
    layout = "QIIHBBIBBHIBxHIIIIIB3x"

    def __init__(
        self,
        *,
        memory: RingMemory,
        disk: DiskQueue,
        serial: str = "",
        count: int = 1,
        size: int = 256,
        logical: int = SECTOR,
        physical: int = SECTOR,
        smallest: int = 0,
        best: int = 0,
        discard: bool = True,
        zeroes: bool = True,
        switchable: bool = True,
        cached: bool = True,
        **common: Any,
    ) -> None:
        for what, value in (("logical", logical), ("physical", physical)):
            if not SECTOR <= value <= 32768 or value & (value - 1):
                raise ValueError(f"{what} block size {value}: expected a power of two from 512 to 32768")
        if physical < logical:
            raise ValueError(f"physical block size {physical}: expected at least the logical one, {logical}")
        self.disk = disk
        self.serial = serial.encode("ascii", "replace")[:ID_LENGTH].ljust(ID_LENGTH, b"\0")
        self.logical, self.physical, self.smallest, self.best = logical, physical, smallest, best
        self.discards, self.zeroes, self.switchable, self.cached = discard, zeroes, switchable, cached
        self.seg_max = size - 2
        super().__init__(memory=memory, queue_sizes=(size,) * count, **common)

    def offered(self) -> int:
        bits = SEG_MAX | BLOCK_SIZE | TOPOLOGY | FLUSH
        if self.disk.read_only:
            return bits | READ_ONLY | (MULTI_QUEUE if len(self.queues) > 1 else 0)
        if self.switchable:
            bits |= CONFIG_WCE
        if len(self.queues) > 1:
            bits |= MULTI_QUEUE
        if self.discards:
            bits |= DISCARD
        if self.zeroes:
            bits |= WRITE_ZEROES
        return bits

    def fields(self) -> tuple[Any, ...]:
        sectors = self.disk.size // SECTOR
        heads, track = 16, 63
        cylinders = min(sectors // (heads * track), 65535)
        exponent = (self.physical // self.logical).bit_length() - 1
        granularity = max(self.physical // SECTOR, 1)
        return (
            sectors, 0, self.seg_max, cylinders, heads, track, self.logical,
            exponent, 0, self.smallest // self.logical, self.best // self.logical,
            int(self.state.write_back), len(self.queues),
            RANGE_SECTORS, RANGES, granularity,
            RANGE_SECTORS, RANGES, 1,
        )  # fmt: skip

    def wrote_config(self, offset: int, data: bytes) -> None:
        if offset == WRITEBACK and len(data) == 1 and self.accepted(CONFIG_WCE):
            self.state.write_back = bool(data[0])

    def started(self) -> None:
        if not self.accepted(CONFIG_WCE):
            # A driver that cannot switch the cache and does not know of flushes gets stable writes (5.2.5.2).
            self.state.write_back = self.cached and self.accepted(FLUSH)

    def clear(self) -> None:
        super().clear()
        self.state.write_back = self.cached

    def stopped(self) -> None:
        self.disk.cancel()

    # -- a loan to the processor: the queue, while it holds nothing out of the ordinary

    def lend(self, take_back: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
        """What the processor needs to serve reads and writes by itself, or None while that cannot be.

        `take_back()` ends the loan and gives what has become of it.
        """
        if not self._state.status & DRIVER_OK or self._state.legacy or len(self.queues) != 1:
            return None
        q, features = self.queues[0], self._state.features
        if q.chains or not q.running or q.state.size > LENT_SIZE or features & (RING_PACKED | ACCESS_PLATFORM):
            return None
        # Asked first: a look at the bell calls the local APIC home, and a run that does nothing else gets nowhere.
        lends = getattr(self.disk, "lends", None)
        if lends is not None and not lends():
            return None
        bell = getattr(self.transport, "bell", None)
        place = bell() if bell is not None else None
        lend = getattr(self.disk, "lend", None)
        loan: dict[str, Any] | None = lend(self.home) if place is not None and lend is not None else None
        if loan is None or place is None:
            return None
        self.lent(take_back)
        if not self._state.write_back:
            loan["write_from"] = loan["file_length"]
        loan["ring"] = q.loan(*place)
        return loan

    def moved(self, due: int | None) -> None:
        """The first request of the loan is due at another time now."""
        self.disk.moved(due)  # type: ignore[attr-defined]

    def returned(self, loan: dict[str, Any]) -> None:
        """See `Lending`."""
        disk: Any = self.disk
        disk.returned(loan["transfer_end"], loan["count"], loan["moved"])
        q = self.queues[0]
        q.returned(loan["ring"])
        for head, due, data, length, segments in loan["requests"]:
            chain = q.adopt(head, segments)
            chain.due = due
            done = partial(self._ended, chain) if data is None else partial(self._was_read, chain)
            disk.adopt(due, 0, length, data, done)

    def save(self) -> dict[str, object]:
        self.home()
        self.state.due = [q.chains[head].due for q in self.queues for head in q.state.inflight]
        return super().save()

    def check(self, registers: dict[str, int], state: Any) -> None:
        super().check(registers, state)
        if len(state.due) != sum(len(q.inflight) for q in state.queues):
            raise ValueError("due: expected one time for each request under way")

    def restored(self) -> None:
        self._resuming = list(self.state.due)
        super().restored()

    def resume(self, index: int, chain: Chain) -> None:
        self.handle(index, chain, self._resuming.pop(0))

    # -- requests

    def handle(self, index: int, chain: Chain, at: int | None = None) -> None:
        if chain.total < 16 or chain.room < 1:
            self.queues[index].fail(f"a request of {chain.total} bytes with room for {chain.room}")
            return
        kind, _, sector = HEADER[self.order].unpack(chain.read(0, 16))
        disk = self.disk
        if kind == IN:
            length = chain.room - 1
            if self._fits(sector, length):
                chain.due = disk.read(sector * SECTOR, length, partial(self._was_read, chain), at=at)
                return
            self._end(chain, IO_ERROR)
        elif kind == OUT:
            length = chain.total - 16
            if self._fits(sector, length) and not disk.read_only:
                done = partial(self._ended, chain) if self.state.write_back else partial(self._was_written, chain)
                chain.due = disk.write(sector * SECTOR, chain.read(16, length), done, at=at)
                return
            self._end(chain, IO_ERROR)
        elif kind == FLUSH_CACHE:
            chain.due = disk.flush(partial(self._ended, chain), at=at)
        elif kind == GET_ID:
            if chain.room - 1 < ID_LENGTH:
                self._end(chain, IO_ERROR)
            else:
                chain.write(self.serial)
                self._end(chain, OK, ID_LENGTH)
        elif (kind == DISCARD_SECTORS and self.discards) or (kind == ZERO_SECTORS and self.zeroes):
            self._zero_out(chain, kind)
        else:
            self._end(chain, UNSUPPORTED)

    def _fits(self, sector: int, length: int) -> bool:
        size = self.disk.size
        return not length % SECTOR and length <= LONGEST and sector * SECTOR <= size - length

    def _zero_out(self, chain: Chain, kind: int) -> None:
        length = chain.total - 16
        if self.disk.read_only or not length or length % 16 or length > 16 * RANGES:
            self._end(chain, IO_ERROR)
            return
        ranges = list(RANGE[self.order].iter_unpack(chain.read(16, length)))
        for sector, count, flags in ranges:
            if flags & ~(UNMAP if kind == ZERO_SECTORS else 0):
                self._end(chain, UNSUPPORTED)
                return
            if count > RANGE_SECTORS or sector + count > self.disk.size // SECTOR:
                self._end(chain, IO_ERROR)
                return
        self._next_range(chain, kind, ranges, None)

    def _next_range(
        self, chain: Chain, kind: int, ranges: Sequence[tuple[int, int, int]], error: OSError | None
    ) -> None:
        """One range after another, so that a request is under way with the disk once at most."""
        if not chain.live:
            return
        if error is not None or not ranges:
            done = self._ended if self.state.write_back or kind == DISCARD_SECTORS else self._was_written
            done(chain, error)
            return
        (sector, count, flags), rest = ranges[0], ranges[1:]
        then: Callable[[OSError | None], None] = partial(self._next_range, chain, kind, rest)
        if kind == DISCARD_SECTORS:
            chain.due = self.disk.discard(sector * SECTOR, count * SECTOR, then)
        else:
            chain.due = self.disk.write_zeroes(sector * SECTOR, count * SECTOR, bool(flags & UNMAP), then)

    def _was_read(self, chain: Chain, data: bytes | OSError) -> None:
        if not chain.live:
            return
        if isinstance(data, OSError):
            self._end(chain, IO_ERROR)
        else:
            chain.write(data)
            self._end(chain, OK, len(data))

    def _was_written(self, chain: Chain, error: OSError | None) -> None:
        """Write-through: the data follow to stable storage."""
        if error is not None:
            self._ended(chain, error)
        elif chain.live:
            chain.due = self.disk.flush(partial(self._ended, chain))

    def _ended(self, chain: Chain, error: OSError | None) -> None:
        self._end(chain, OK if error is None else IO_ERROR)

    def _end(self, chain: Chain, status: int, length: int = 0) -> None:
        """Store the status and give the request back."""
        if chain.live:
            chain.write(bytes((status,)), chain.room - 1)
            chain.complete(chain.room if length == chain.room - 1 else length or 1)
