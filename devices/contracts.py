"""What a device may ask of the world around it.

A device gets these through its constructor and knows nothing else: interrupt lines, virtual time, guest memory and
host halves. `emu` has the concrete classes; a test has small fakes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Line(Protocol):
    """A wire with one driver: interrupt request, reset, A20. Setting the level it already has is allowed and cheap."""

    def set(self, level: bool) -> None:
        """Drive the wire high (True) or low (False)."""


class Timer(Protocol):
    """One deadline on a clock."""

    inner: bool
    """Set while somebody else, like a processor during its run, sees to it that the deadline is met."""
    eager: bool
    """Set once for a timer that a processor which halts does not wait for: it fires at the halt."""

    @property
    def deadline(self) -> int | None:
        """The absolute virtual time in ns, or None while the timer is idle."""

    def arm(self, deadline: int) -> None:
        """Fire once at `deadline` (absolute virtual ns; the past means at once). Replaces an earlier deadline."""

    def cancel(self) -> None:
        """Go idle; allowed on an idle timer."""


class Lender(Protocol):
    """A device that lends its state to a processor, which then does its work during a run."""

    def lend(self, take_back: Callable[[], Any]) -> Any:
        """What the processor needs, or None. `take_back()` ends the loan and gives what has become of it."""

    def moved(self, deadline: int | None) -> None:
        """The borrowed timer expires at another virtual time (ns) now, or not at all."""


class Clock(Protocol):
    """Virtual time: whole nanoseconds since power-on, advanced by retired instructions."""

    def now(self) -> int:
        """The current virtual time in ns; it never goes back."""

    def timer(self, name: str, callback: Callable[[], None]) -> Timer:
        """A new idle timer. Callbacks run between instructions, ordered by deadline, then by order of creation."""


class GuestMemory(Protocol):
    """The bounded view of guest RAM through which all DMA goes."""

    def read(self, addr: int, length: int) -> bytes:
        """`length` bytes at physical `addr`; bytes outside RAM read 0xFF."""

    def write(self, addr: int, data: bytes) -> None:
        """Store `data` at physical `addr`; bytes outside RAM are dropped."""


class Disk(Protocol):
    """The host half of a disk. All methods may raise OSError, which the guest must see as a device error."""

    @property
    def size(self) -> int:
        """Capacity in bytes, a multiple of 512."""

    @property
    def read_only(self) -> bool:
        """True if `write` raises PermissionError."""

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes at `offset`, both in bytes."""

    def write(self, offset: int, data: bytes) -> None:
        """Store `data` at byte `offset`."""

    def flush(self) -> None:
        """Return once everything written is on stable storage."""


Done = Callable[["OSError | None"], None]
"""Told that a request is complete: None, or what went wrong."""


class DiskQueue(Protocol):
    """A disk whose requests complete later, in virtual time. Every call returns at once and never raises OSError.

    `done` is called once for each request, between instructions and in an order that is the same in every run. Each
    call returns the virtual time (ns) at which its request completes, unless the host is slow; a device that was saved
    with a request under way submits it again with that time as `at`.
    """

    @property
    def size(self) -> int:
        """Capacity in bytes, a multiple of 512."""

    @property
    def read_only(self) -> bool:
        """True if writes end in PermissionError."""

    def read(self, offset: int, length: int, done: Callable[[bytes | OSError], None], *, at: int | None = None) -> int:
        """Exactly `length` bytes at byte `offset`."""

    def write(self, offset: int, data: bytes, done: Done, *, at: int | None = None) -> int:
        """Store `data` at byte `offset`."""

    def flush(self, done: Done, *, at: int | None = None) -> int:
        """Complete once everything whose completion was reported before is on stable storage."""

    def discard(self, offset: int, length: int, done: Done, *, at: int | None = None) -> int:
        """The bytes are no longer needed; what they read as afterwards is not defined."""

    def write_zeroes(self, offset: int, length: int, unmap: bool, done: Done, *, at: int | None = None) -> int:
        """Store zeros; `unmap` allows the room to be given back to the host."""

    def settle(self) -> None:
        """Wait until the host has done all that was submitted: before somebody uses the disk without the queue."""

    def cancel(self) -> None:
        """Forget all requests under way: their `done` is never called. A write among them may still happen."""


class NetPort(Protocol):
    """The host half of a network card: the other end of its wire. Frames are Ethernet frames without FCS."""

    def send(self, frame: bytes) -> None:
        """Take a frame from the card. Must not block and must not raise."""

    def send_large(self, frame: bytes, mss: int) -> None:
        """Take a TCP segment with more than `mss` bytes of payload, which is cut up where the wire is.

        Its lengths and checksums are filled in there (`devices.ethernet`); what is no TCP over IP is dropped.
        """

    def attach(self, receive: Callable[[bytes], bool]) -> None:
        """Frames for the card go to `receive`, between instructions; False keeps the frame until `ready`."""

    def allow_large(self, wanted: Callable[[], bool]) -> None:
        """As long as `wanted`, TCP segments over IPv4 may come joined, longer than the wire's packets.

        The length field of the IP header of such a frame is that of the first segment; checksums are not filled in.
        """

    def ready(self) -> None:
        """The card has room again for a frame it did not take."""


class Console(Protocol):
    """The host half of a serial port or debug console."""

    def send(self, data: bytes) -> None:
        """Take bytes from the guest. Must not block and must not raise."""


READ, WRITE, FLUSH = "rd", "wr", "flush"
"""What `Statistics` counts."""


class Statistics:
    """What has been read from a disk and written to it, as `query-blockstats` says it: requests, their bytes, how long
    they took in virtual ns, and apart those that failed.

    A disk that has one (`disk.statistics`) has it filled by who does the guest's requests: its queue, and drives where
    they go to the disk themselves.
    """

    def __init__(self) -> None:
        kinds = (READ, WRITE, FLUSH)
        self.operations = dict.fromkeys(kinds, 0)
        self.nbytes = dict.fromkeys(kinds, 0)
        self.ns = dict.fromkeys(kinds, 0)
        self.failures = dict.fromkeys(kinds, 0)
        self.bring_home: Callable[[], None] = lambda: None
        """Called before somebody looks: a processor that serves the disk has counts of its own."""

    def done(self, kind: str, length: int, ns: int = 0, count: int = 1) -> None:
        """Requests that ended well."""
        self.operations[kind] += count
        self.nbytes[kind] += length
        self.ns[kind] += ns

    def failed(self, kind: str) -> None:
        """One that did not."""
        self.failures[kind] += 1

    def counts(self) -> dict[str, int]:
        """By QEMU's names."""
        self.bring_home()
        named = {}
        for kind in (READ, WRITE, FLUSH):
            named[f"{kind}_operations"] = self.operations[kind]
            named[f"{kind}_total_time_ns"] = self.ns[kind]
            named[f"failed_{kind}_operations"] = self.failures[kind]
            if kind != FLUSH:
                named[f"{kind}_bytes"] = self.nbytes[kind]
        return named


class OpenLine:
    """A line that goes nowhere."""

    def set(self, level: bool) -> None:
        """Ignore the level."""


class NullConsole:
    """A console that nobody reads."""

    def send(self, data: bytes) -> None:
        """Drop the bytes."""


class Wire:
    """A line whose far end is a method of a device."""

    def __init__(self, changed: Callable[[bool], object]) -> None:
        self._changed = changed

    def set(self, level: bool) -> None:
        """Pass the level on."""
        self._changed(level)
