"""Virtqueues: the rings through which a driver hands buffers to a device and gets them back.

A `Queue` belongs to a `devices.virtio.device.VirtioDevice`. The device takes a `Chain` with `pop`, reads what the
driver put into it, writes what the driver left room for, and gives it back with `complete`. Rings are hostile input:
every index, length and address is checked before use, each descriptor is read from guest memory once, and what no
driver may do makes the queue stop and the device ask for a reset.

Virtual I/O Device (VIRTIO) 1.2, 2.6 (virtqueues), 2.7 (split), 2.8 (packed); legacy rings have the byte order of the
guest (2.4.3, 2.7.3).
"""

# ruff: noqa: RUF009

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from struct import Struct
from typing import Protocol

from devices.state import flag, queue, ranged, uint

MAX_SIZE = 32768
SEGMENTS = 1024
"""Buffers in one chain. Drivers keep to the size of the queue; some go up to this."""

NEXT, WRITE, INDIRECT = 1, 2, 4
NO_INTERRUPT = 1
RING_INDIRECT, RING_EVENT_IDX, RING_PACKED = 1 << 28, 1 << 29, 1 << 34
IN_ORDER = 1 << 35

U16 = {True: Struct(">H"), False: Struct("<H")}
USED = {True: Struct(">II"), False: Struct("<II")}
DESC = {True: Struct(">QIHH"), False: Struct("<QIHH")}
USED_PACKED = Struct("<IHH")
EVENT = Struct("<HH")

Segment = tuple[int, int]
"""Guest address and length in bytes."""


class RingMemory(Protocol):
    """Guest memory that also says where it is."""

    def read(self, addr: int, length: int) -> bytes:
        """`length` bytes at `addr`."""

    def write(self, addr: int, data: bytes) -> None:
        """Store `data` at `addr`."""

    def reaches(self, addr: int, length: int, write: bool) -> bool:
        """Whether all of a range can be read, or written, as memory."""


@dataclass
class QueueState:
    """What a queue is set to and where it stands. Addresses are the guest's, in bytes."""

    size: int = ranged(0, MAX_SIZE)
    ready: bool = flag()
    desc: int = uint(64)
    driver: int = uint(64)
    """Split: the available ring. Packed: the driver's event suppression."""
    device: int = uint(64)
    """Split: the used ring. Packed: the device's event suppression."""
    next: int = uint(16)
    """Split: available entries taken so far. Packed: the descriptor to look at next."""
    used: int = uint(16)
    """Split: used entries given back so far. Packed: the descriptor to be written next."""
    signalled: int = uint(16)
    """`used` when the driver was last interrupted."""
    fresh: bool = flag(True)
    """The driver was not interrupted since the queue started."""
    wrap: bool = flag(True)
    """Packed: the wrap counter that `next` has."""
    used_wrap: bool = flag(True)
    """Packed: the wrap counter that `used` has."""
    broken: bool = flag()
    inflight: list[int] = queue(MAX_SIZE, 16)
    """What the device has taken and not given back: heads of chains (packed: position of the first descriptor)."""


class Chain:
    """Buffers that belong together: `readable` ones and, behind them, `writable` ones.

    `total` and `room` are their lengths in bytes. After a reset of the device a chain is no longer `live`, and giving
    it back does nothing.
    """

    __slots__ = ("_queue", "count", "due", "head", "id", "live", "readable", "room", "total", "writable")

    def __init__(self, owner: Queue, head: int, readable: list[Segment], writable: list[Segment]) -> None:
        self._queue = owner
        self.head = head
        self.id = head
        self.count = 1
        self.due = 0
        """For the device: when it will give the chain back, in virtual ns."""
        self.live = True
        self.readable = readable
        self.writable = writable
        self.total = sum([length for _, length in readable])
        self.room = sum([length for _, length in writable])

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        """At most `length` bytes (None: all there are) of what the driver wrote, from `offset` on.

        Without a length the caller has to look at `total` first: a guest may make it larger than its memory.
        """
        left = self.total - offset if length is None else min(length, self.total - offset)
        read = self._queue.memory.read
        parts = []
        for address, size in self.readable:
            if left <= 0:
                break
            if offset >= size:
                offset -= size
                continue
            count = min(size - offset, left)
            parts.append(read(address + offset, count))
            offset = 0
            left -= count
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, data: bytes, offset: int = 0) -> int:
        """Store `data` in the writable space from `offset` on. What does not fit is lost; gives the bytes that did."""
        write = self._queue.memory.write
        done = 0
        for address, size in self.writable:
            if done == len(data):
                break
            if offset >= size:
                offset -= size
                continue
            count = min(size - offset, len(data) - done)
            write(address + offset, data if count == len(data) else data[done : done + count])
            offset = 0
            done += count
        return done

    def complete(self, written: int = 0, *, notify: bool = True) -> None:
        """Give the buffers back, of which `written` bytes were stored from the start of the writable space.

        With `notify=False` the caller gives back more and calls `Queue.notify` behind the last.
        """
        self._queue.push(self, written)
        if notify:
            self._queue.notify()


class Queue:
    """One virtqueue. `broke(reason)` is told, once for each start, that the driver broke the rules."""

    def __init__(
        self, index: int, limit: int, memory: RingMemory, interrupt: Callable[[int], None], broke: Callable[[str], None]
    ) -> None:
        self.index = index
        self.limit = limit
        self.memory = memory
        self.state = QueueState(size=limit)
        self.features = 0
        self.big_endian = False
        self.chains: dict[int, Chain] = {}
        """What the device has taken and not given back, in the order in which it was taken."""
        self._interrupt = interrupt
        self._broke = broke
        self._asked = -1

    # -- life

    def reset(self) -> None:
        """Forget everything; the chains that are out are dead."""
        for chain in self.chains.values():
            chain.live = False
        self.chains.clear()
        self.state.__dict__.update(QueueState(size=self.limit).__dict__)
        self._asked = -1

    def start(self, features: int, big_endian: bool) -> None:
        """The driver is done with the setup: from now on these features count."""
        self.features = features
        self.big_endian = big_endian
        self._asked = -1

    def restored(self) -> list[Chain]:
        """Behind a load: the chains that were out, taken once more, for the device to begin their work again."""
        self.chains.clear()
        self._asked = -1
        heads, self.state.inflight = self.state.inflight, []
        chains = []
        for head in heads:
            chain = self._packed_walk(head)[0] if self.features & RING_PACKED else self._walk(head)
            if chain is None:
                break
            self._out(chain)
            chains.append(chain)
        return chains

    def fail(self, reason: str) -> None:
        """The driver broke the rules: the queue stops until the next reset."""
        if not self.state.broken:
            self.state.broken = True
            self._broke(f"queue {self.index}: {reason}")

    @property
    def running(self) -> bool:
        """The driver has set the queue up, and not broken it."""
        s = self.state
        return s.ready and not s.broken

    # -- taking

    def pop(self) -> Chain | None:
        """The next chain that the driver made available, or None."""
        s = self.state
        if not s.ready or s.broken:
            return None
        if self.features & RING_PACKED:
            return self._packed_pop()
        half = U16[self.big_endian]
        available = self._u16(s.driver + 2)
        if available is None:
            return None
        ahead = available - s.next & 0xFFFF
        if ahead == 0:
            if self.features & RING_EVENT_IDX and self._asked != s.next:
                self._asked = s.next
                self._store(s.device + 4 + 8 * s.size, half.pack(s.next))
            return None
        if ahead > s.size:
            self.fail(f"{ahead} buffers made available in a ring of {s.size}")
            return None
        head = self._u16(s.driver + 4 + 2 * (s.next % s.size))
        if head is None:
            return None
        if head >= s.size or head in self.chains:
            self.fail(f"descriptor {head} made available, which is {'in use' if head < s.size else 'none'}")
            return None
        chain = self._walk(head)
        if chain is not None:
            s.next = s.next + 1 & 0xFFFF
            self._out(chain)
        return chain

    def unpop(self, chain: Chain) -> None:
        """Put back the chain that was taken last, as if it had not been. Raises ValueError for any other."""
        s = self.state
        if not chain.live or next(reversed(self.chains), None) != chain.head:
            raise ValueError(f"queue {self.index}: only the chain taken last can be put back")
        chain.live = False
        del self.chains[chain.head]
        s.inflight.pop()
        if self.features & RING_PACKED:
            if s.next < chain.count:
                s.wrap = not s.wrap
            s.next = (s.next - chain.count) % s.size
        else:
            s.next = s.next - 1 & 0xFFFF

    def adopt(self, head: int, writable: list[Segment]) -> Chain:
        """A chain that somebody else has taken and read, while the queue was lent to him."""
        chain = Chain(self, head, [], writable)
        self._out(chain)
        return chain

    def loan(self, bell: int, vector: int) -> dict[str, int]:
        """What a processor needs to serve a split ring: where it is and how far; `bell` is a physical address."""
        s = self.state
        return {
            "bell": bell, "vector": vector, "desc": s.desc, "driver": s.driver, "device": s.device, "size": s.size,
            "event_index": int(bool(self.features & RING_EVENT_IDX)),
            "indirect": int(bool(self.features & RING_INDIRECT)),
            "next": s.next, "used": s.used, "signalled": s.signalled, "fresh": int(s.fresh),
        }  # fmt: skip

    def returned(self, loan: Mapping[str, int]) -> None:
        """Take over how far the processor has come."""
        s = self.state
        s.next, s.used, s.signalled, s.fresh = loan["next"], loan["used"], loan["signalled"], bool(loan["fresh"])

    def _out(self, chain: Chain) -> None:
        self.chains[chain.head] = chain
        self.state.inflight.append(chain.head)

    def _walk(self, head: int) -> Chain | None:
        """The chain that begins at a descriptor, every part of it checked; None if it breaks a rule."""
        s, memory = self.state, self.memory
        desc = DESC[self.big_endian]
        readable: list[Segment] = []
        writable: list[Segment] = []
        if not memory.reaches(s.desc, 16 * s.size, False):
            self.fail(f"descriptors at {s.desc:#x}, outside memory")
            return None
        table, count, at, seen = b"", s.size, head, 0
        while True:
            if table:
                address, length, flags, following = desc.unpack_from(table, 16 * at)
            else:
                address, length, flags, following = desc.unpack(memory.read(s.desc + 16 * at, 16))
            seen += 1
            if flags & INDIRECT:
                wrong = self._indirect_fault(bool(table), address, length, flags)
                if wrong:
                    self.fail(wrong)
                    return None
                table, count, at, seen = memory.read(address, length), length // 16, 0, 0
                continue
            if not self._segment(readable, writable, address, length, flags):
                return None
            if not flags & NEXT:
                return Chain(self, head, readable, writable)
            if following >= count or seen >= count:
                self.fail(f"descriptor {following} follows in a table of {count}" if following >= count else "a loop")
                return None
            at = following

    def _segment(self, readable: list[Segment], writable: list[Segment], address: int, length: int, flags: int) -> bool:
        """Add a buffer to a chain; False if it may not be there."""
        write = bool(flags & WRITE)
        if writable and not write:
            self.fail("a buffer to be read behind one to be written")
        elif len(readable) + len(writable) >= max(SEGMENTS, self.state.size):
            self.fail("a chain that is too long")
        elif length and not self.memory.reaches(address, length, write):
            self.fail(f"{length} bytes at {address:#x}, outside memory")
        else:
            (writable if write else readable).append((address, length))
            return True
        return False

    def _indirect_fault(self, nested: bool, address: int, length: int, flags: int) -> str:
        """What is wrong with an indirect descriptor, or nothing."""
        if not self.features & RING_INDIRECT:
            return "an indirect descriptor that was not agreed on"
        if nested:
            return "an indirect descriptor in an indirect table"
        if flags & NEXT:
            return "an indirect descriptor that is followed"
        if not length or length % 16 or length > 16 * max(SEGMENTS, self.state.size):
            return f"an indirect table of {length} bytes"
        if not self.memory.reaches(address, length, False):
            return f"an indirect table at {address:#x}, outside memory"
        return ""

    # -- giving back

    def push(self, chain: Chain, written: int) -> None:
        """Give a chain back without telling the driver; see `Chain.complete`."""
        if not chain.live:
            return
        chain.live = False
        del self.chains[chain.head]
        s = self.state
        if s.inflight and s.inflight[0] == chain.head:
            del s.inflight[0]
        else:
            s.inflight.remove(chain.head)
        if s.broken or not s.ready:
            return
        written = min(written, 0xFFFFFFFF)
        if self.features & RING_PACKED:
            self._packed_push(chain, written)
            return
        entry = USED[self.big_endian].pack(chain.head, written)
        if self._store(s.device + 4 + 8 * (s.used % s.size), entry):
            s.used = s.used + 1 & 0xFFFF
            self._store(s.device + 2, U16[self.big_endian].pack(s.used))

    def notify(self) -> None:
        """Interrupt the driver if it wants to hear of what was given back since the last time."""
        if self.running and self._wants_interrupt():
            self._interrupt(self.index)

    def _wants_interrupt(self) -> bool:
        s = self.state
        if self.features & RING_PACKED:
            return self._packed_wants_interrupt()
        if self.features & RING_EVENT_IDX:
            event = self._u16(s.driver + 4 + 2 * s.size)
            if event is None:
                return False
            moved = s.used - s.signalled & 0xFFFF
            wanted = s.fresh or (s.used - event - 1 & 0xFFFF) < moved
            s.signalled, s.fresh = s.used, False
            return wanted
        flags = self._u16(s.driver)
        return flags is not None and not flags & NO_INTERRUPT

    # -- memory

    def _u16(self, address: int) -> int | None:
        """Two bytes of a ring, or None where there is no memory, and then the queue is broken."""
        if not self.memory.reaches(address, 2, False):
            self.fail(f"a ring at {address:#x}, outside memory")
            return None
        value: int = U16[self.big_endian].unpack(self.memory.read(address, 2))[0]
        return value

    def _store(self, address: int, data: bytes) -> bool:
        if not self.memory.reaches(address, len(data), True):
            self.fail(f"a ring at {address:#x}, outside memory")
            return False
        self.memory.write(address, data)
        return True

    # -- packed rings (2.8)

    def _packed_pop(self) -> Chain | None:
        s = self.state
        chain, count = self._packed_walk(s.next | s.wrap << 15, fresh=True)
        if chain is None:
            return None
        s.next += count
        if s.next >= s.size:
            s.next -= s.size
            s.wrap = not s.wrap
        self._out(chain)
        return chain

    def _packed_walk(self, place: int, *, fresh: bool = False) -> tuple[Chain | None, int]:
        """The chain at a position (bit 15: its wrap counter), and how many descriptors it takes.

        `fresh`: only if the driver has made it available.
        """
        s, memory = self.state, self.memory
        at, wrap = place & 0x7FFF, bool(place >> 15)
        desc = DESC[False]
        if not memory.reaches(s.desc, 16 * s.size, True):
            self.fail(f"descriptors at {s.desc:#x}, outside memory")
            return None, 0
        readable: list[Segment] = []
        writable: list[Segment] = []
        count = 0
        while True:
            address, length, buffer, flags = desc.unpack(memory.read(s.desc + 16 * at, 16))
            if fresh and (bool(flags >> 7 & 1) != wrap or bool(flags >> 15 & 1) == wrap):
                if count:
                    self.fail("a chain of which only a part is available")
                return None, 0
            count += 1
            if flags & INDIRECT:
                wrong = self._indirect_fault(False, address, length, flags)
                if wrong or count > 1:
                    self.fail(wrong or "an indirect descriptor in a chain")
                    return None, 0
                table = memory.read(address, length)
                for n in range(length // 16):
                    address, size, _, kind = desc.unpack_from(table, 16 * n)
                    if kind & INDIRECT:
                        self.fail("an indirect descriptor in an indirect table")
                        return None, 0
                    if not self._segment(readable, writable, address, size, kind):
                        return None, 0
            elif not self._segment(readable, writable, address, length, flags):
                return None, 0
            if not flags & NEXT or flags & INDIRECT:
                break
            if count >= s.size:
                self.fail("a loop")
                return None, 0
            at += 1
            if at == s.size:
                at, wrap = 0, not wrap
        chain = Chain(self, place, readable, writable)
        chain.id, chain.count = buffer, count
        return chain, count

    def _packed_push(self, chain: Chain, written: int) -> None:
        s = self.state
        flags = (0x8080 if s.used_wrap else 0) | (WRITE if written else 0)
        self._store(s.desc + 16 * s.used + 8, USED_PACKED.pack(written, chain.id, flags))
        s.used += chain.count
        if s.used >= s.size:
            s.used -= s.size
            s.used_wrap = not s.used_wrap
            s.fresh = True

    def _packed_wants_interrupt(self) -> bool:
        s = self.state
        if not self.memory.reaches(s.driver, 4, False):
            self.fail(f"an event structure at {s.driver:#x}, outside memory")
            return False
        offset, flags = EVENT.unpack(self.memory.read(s.driver, 4))
        kind: int = flags & 3
        if kind != 2 or not self.features & RING_EVENT_IDX:
            return kind == 0
        event: int = offset & 0x7FFF
        if bool(offset >> 15) != s.used_wrap:
            event -= s.size
        moved = s.used - s.signalled & 0xFFFF
        wanted = s.fresh or (s.used - event - 1 & 0xFFFF) < moved
        s.signalled, s.fresh = s.used, False
        return wanted
