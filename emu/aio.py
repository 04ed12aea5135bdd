"""Disks that do not hold the guest up: `devices.contracts.DiskQueue` over a synchronous `Disk`.

A request completes at a virtual time that a model gives when it is submitted: a fast disk that takes 20 us plus the
time of its bytes at 2 GB/s, one transfer at a time, and 60 us for a flush. Meanwhile the host does the work: at once
where that is quick (page cache, memory), else in a thread while the guest goes on. If the host has not finished by
then, the machine waits for it; so when things happen is the same in every run and needs no recording.

Only where virtual time is held to the wall (`patient` says no) and the host's own files are written, a slow host lets
the guest run on: the completion is then an arrival at the gate (`emu.inputs`), as are errors of the host.

Requests of one disk reach the host in their order where they touch the same bytes, or always if the disk says nothing
of `concurrent`. What a `Disk` may offer beyond its contract: `fast(offset, length)` (a read of these bytes will hardly
wait for the host), `slow_writes` (even small writes wait for it), `concurrent` (several threads may call it at once),
`private` (nobody else sees what is written: memory and overlays), `throttle` (how fast it may be), `on_error`
(rerror and werror), `discard(offset, length)` and `write_zeroes(offset, length, unmap)`.
"""

from __future__ import annotations

import errno
import threading
from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from devices.contracts import FLUSH, READ, WRITE, Statistics
from emu.errors import ReplayError
from emu.inputs import Inputs

if TYPE_CHECKING:
    from devices.contracts import Disk, Done

ACCESS_NS = 20_000
FLUSH_NS = 60_000
BYTES_PER_NS = 2
WORKERS = 4
SMALL = 1 << 16
"""Bytes of a write that the host's page cache takes more quickly than a thread is woken."""
ZEROES = 1 << 20
"""Bytes that are written at a time where a disk has no way of its own to store zeros."""
LATE, FAILED = b"L", b"E"


class Request:
    """One request under way."""

    __slots__ = (
        "again",
        "done",
        "due",
        "event",
        "failed",
        "finished",
        "kind",
        "late",
        "length",
        "number",
        "offset",
        "posted",
        "result",
        "since",
        "work",
        "writes",
    )

    def __init__(self, number: int, due: int, offset: int, length: int, writes: bool, done: Callable[[Any], None]):
        self.number = number
        self.due = due
        self.offset = offset
        self.length = length
        self.writes = writes
        self.done = done
        self.work: Callable[[], Any] | None = None
        self.again: Callable[[], Any] | None = None
        """What `work` was, for another try."""
        self.event: threading.Event | None = None
        self.finished = False
        self.failed = False
        """`result` is what was raised."""
        self.late = False
        self.posted = False
        self.result: Any = None
        self.kind = ""
        """As what it is counted."""
        self.since = 0

    def __lt__(self, other: Request) -> bool:
        return self.number < other.number

    def perform(self) -> None:
        """Do the host's part; what goes wrong is kept for the completion."""
        self.again = self.work
        try:
            if self.work is not None:
                self.result = self.work()
        except BaseException as error:  # a bug of a disk must reach the machine, not end a thread
            self.failed = True
            self.result = error
        self.work = None

    def conflicts(self, other: Request) -> bool:
        """Whether the order of two requests can be seen in the disk's bytes."""
        if not (self.writes or other.writes):
            return False
        return self.offset < other.offset + other.length and other.offset < self.offset + self.length


class Workers:
    """The threads of one machine that wait for the host's disks. They start when they are needed first."""

    def __init__(self, limit: int = WORKERS) -> None:
        self.limit = limit
        self.queues: list[DiskQueue] = []
        self.wake: Callable[[], None] = lambda: None
        """Called in a thread when a request has finished that the guest was let run on for."""
        self.late = 0
        """Requests that the machine must look after with `poll`."""
        self.finished = threading.Event()
        self._jobs: SimpleQueue[tuple[DiskQueue, Request] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._busy = 0

    @property
    def busy(self) -> bool:
        """The host has something to do for a disk."""
        return self._busy > 0

    def submit(self, queue: DiskQueue, request: Request) -> None:
        """Have a thread perform a request."""
        with self._lock:
            self._busy += 1
            if len(self._threads) < min(self.limit, self._busy):
                thread = threading.Thread(target=self._work, name=f"disk {len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()
        self._jobs.put((queue, request))

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            queue, request = job
            request.perform()
            with self._lock:
                self._busy -= 1
            queue.ended(request)
            if request.late:
                self.finished.set()
                self.wake()

    def poll(self) -> None:
        """Bring late completions to the gate."""
        self.finished.clear()
        for queue in self.queues:
            queue.poll()

    def close(self) -> None:
        """Wait until the host has done everything it was given, and end the threads."""
        for queue in self.queues:
            queue.settle()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()


class DiskQueue:
    """See `devices.contracts.DiskQueue`. `patient()`: the machine waits for the host rather than let the guest run on.

    Every method also returns the virtual time (ns) at which the request completes, and takes it as `at` for a request
    that was under way when the machine was saved.
    """

    def __init__(
        self, disk: Disk, *, name: str, inputs: Inputs, workers: Workers, patient: Callable[[], bool] = lambda: True
    ) -> None:
        self.name = name
        self._gate = inputs
        self._clock = inputs.clock
        self._workers = workers
        self._may_wait = patient
        self._know(disk)
        self._timer = inputs.clock.timer(f"disk {name}", self._due)
        self._verdict = f"disk {name} verdict"
        inputs.decision(self._verdict)
        self._arrivals = inputs.messages(f"disk {name}", self._arrived)
        self._heap: list[tuple[int, Request]] = []
        self._late: dict[int, Request] = {}
        self._stopped: list[Request] = []
        self.stop_machine: Callable[[str, bool, OSError], None] = lambda name, writes, error: None
        """Told of an error that stops the machine (`werror=stop`): disk, whether it was a write, and the error."""
        self._count = 0
        self._transfer_end = 0
        self._take_back: Callable[[], None] | None = None
        # Shared with the workers: requests of which the host has not finished.
        self._lock = threading.Lock()
        self._active: list[Request] = []
        self._held: deque[Request] = deque()
        workers.queues.append(self)

    def _know(self, disk: Disk) -> None:
        self.disk = disk
        self._concurrent: bool = getattr(disk, "concurrent", False)
        self._fast: Callable[[int, int], bool] | None = getattr(disk, "fast", None)
        self._on_error: tuple[str, str] = getattr(disk, "on_error", ("report", "report"))
        throttle = getattr(disk, "throttle", None)
        self._admit: Callable[[int, bool, int], int] | None = throttle.admit if throttle is not None else None
        found: Statistics | None = getattr(disk, "statistics", None)
        self._statistics = Statistics() if found is None else found
        self._statistics.bring_home = self.bring_home
        self._private: bool = disk.read_only or getattr(disk, "private", False)
        self._small = SMALL if self._fast is not None and not getattr(disk, "slow_writes", False) else 0

    def bring_home(self) -> None:
        """End a loan to the processor."""
        if self._take_back is not None:
            self._take_back()

    def change(self, disk: Disk) -> None:
        """Another medium: what is under way on the old one is forgotten."""
        self.bring_home()
        self.settle()
        self.cancel()
        self._know(disk)

    @property
    def size(self) -> int:
        """Capacity in bytes."""
        return self.disk.size

    @property
    def read_only(self) -> bool:
        """Writes fail."""
        return self.disk.read_only

    # -- requests

    def read(self, offset: int, length: int, done: Callable[[bytes | OSError], None], *, at: int | None = None) -> int:
        """See `devices.contracts.DiskQueue`."""
        request = self._request(length, offset, length, False, done, at)
        request.kind = READ
        disk = self.disk
        request.work = lambda: disk.read(offset, length)
        if self._fast is not None and self._free(request) and self._fast(offset, length):
            return self._at_once(request)
        return self._start(request)

    def write(self, offset: int, data: bytes, done: Done, *, at: int | None = None) -> int:
        """See `devices.contracts.DiskQueue`."""
        request = self._request(len(data), offset, len(data), True, done, at)
        request.kind = WRITE
        disk = self.disk
        request.work = lambda: disk.write(offset, data)
        if len(data) <= self._small and self._free(request):
            return self._at_once(request)
        return self._start(request)

    def flush(self, done: Done, *, at: int | None = None) -> int:
        """See `devices.contracts.DiskQueue`."""
        request = self._request(0, 0, 0, False, done, at, FLUSH_NS)
        request.kind = FLUSH
        request.work = self.disk.flush
        if self._private:
            return self._at_once(request)
        return self._start(request)

    def discard(self, offset: int, length: int, done: Done, *, at: int | None = None) -> int:
        """See `devices.contracts.DiskQueue`. Where a disk knows no discard the bytes stay."""
        request = self._request(0, offset, length, True, done, at)
        discard = getattr(self.disk, "discard", None)
        if self.disk.read_only:
            request.work = self._refuse
        elif discard is not None:
            request.work = lambda: discard(offset, length)
        return self._start(request)

    def write_zeroes(self, offset: int, length: int, unmap: bool, done: Done, *, at: int | None = None) -> int:
        """See `devices.contracts.DiskQueue`."""
        request = self._request(0, offset, length, True, done, at)
        write_zeroes = getattr(self.disk, "write_zeroes", None)
        if self.disk.read_only:
            request.work = self._refuse
        elif write_zeroes is not None:
            request.work = lambda: write_zeroes(offset, length, unmap)
        else:
            request.work = lambda: self._zero(offset, length)
        return self._start(request)

    def _refuse(self) -> None:
        raise PermissionError(errno.EROFS, "the disk is read-only")

    def _zero(self, offset: int, length: int) -> None:
        end = offset + length
        while offset < end:
            count = min(end - offset, ZEROES)
            self.disk.write(offset, bytes(count))
            offset += count

    # -- a loan to the processor

    def lends(self) -> bool:
        """Whether `lend` would give something: to be asked before anything else is looked at, as that may cost."""
        if self._gate.replaying or self._heap or self._late or self._active or self._held or self._admit is not None:
            return False
        plain = getattr(self.disk, "plain", None)
        return plain is not None and plain() is not None

    def lend(self, take_back: Callable[[], None]) -> dict[str, int] | None:
        """What a processor needs to serve, during its runs, reads and writes that do not wait for the host: a file and
        the model of times. None where that cannot be. `take_back` is called when a request of the loan is due here."""
        plain = getattr(self.disk, "plain", None)
        if plain is None or self._heap or self._late or self._active or self._held or self._admit is not None:
            return None
        found = plain()
        if found is None or self._stopped or self._gate.replaying:
            return None
        self._take_back = take_back
        self._timer.inner = True
        fd, length, write_from = found
        model = {"transfer_end": self._transfer_end, "access": ACCESS_NS, "bytes_per_ns": BYTES_PER_NS}
        return {"fd": fd, "file_length": length, "write_from": write_from, **model}

    def moved(self, due: int | None) -> None:
        """The first request of the loan is due at another time now, or there is none."""
        if due is None:
            self._timer.cancel()
        else:
            self._timer.arm(due)

    def returned(self, transfer_end: int, count: int, moved: Sequence[tuple[int, int, int]] = ()) -> None:
        """The loan is over, and has served `count` requests: of reads and of writes their number, bytes and ns."""
        for kind, (number, length, ns) in zip((READ, WRITE), moved, strict=False):
            self._statistics.done(kind, length, ns, number)
        self._take_back = None
        self._timer.inner = False
        self._timer.cancel()
        self._transfer_end = transfer_end
        self._count += count

    def adopt(self, due: int, offset: int, length: int, result: bytes | None, done: Callable[[Any], None]) -> None:
        """A request of the loan, which the host has performed."""
        request = Request(self._count, due, offset, length, result is None, done)
        request.finished, request.result = True, result
        self._plan(request)

    def cancel(self) -> None:
        """See `devices.contracts.DiskQueue`."""
        self._heap.clear()
        self._timer.cancel()
        self._workers.late -= len(self._late)
        self._late.clear()
        self._stopped.clear()

    # -- how long it takes

    def _request(
        self,
        moved: int,
        offset: int,
        length: int,
        writes: bool,
        done: Callable[[Any], None],
        at: int | None,
        access: int = ACCESS_NS,
    ) -> Request:
        since = self._clock.now()
        if at is None:
            start = max(since, self._transfer_end)
            if self._admit is not None and length:
                start = self._admit(start, writes, length)
            self._transfer_end = start + moved // BYTES_PER_NS
            at = self._transfer_end + access
        self._count += 1
        request = Request(self._count, at, offset, length, writes, done)
        request.since = since
        return request

    def _plan(self, request: Request) -> int:
        due = request.due
        heappush(self._heap, (due, request))
        if self._timer.deadline is None or due < self._timer.deadline:
            self._timer.arm(due)
        return due

    # -- the host's part

    def _at_once(self, request: Request) -> int:
        request.perform()
        request.finished = True
        return self._plan(request)

    def _start(self, request: Request) -> int:
        if request.work is None:
            request.finished = True
            return self._plan(request)
        request.event = threading.Event()
        with self._lock:
            if self._held or any(self._blocks(other, request) for other in self._active):
                self._held.append(request)
            else:
                self._active.append(request)
                self._workers.submit(self, request)
        return self._plan(request)

    def _free(self, request: Request) -> bool:
        """Whether nothing under way has to reach the host before this request."""
        if not self._active:
            return True
        with self._lock:
            return not self._held and not any(self._blocks(other, request) for other in self._active)

    def _blocks(self, first: Request, then: Request) -> bool:
        return not self._concurrent or first.conflicts(then)

    def ended(self, request: Request) -> None:
        """The host has finished a request; called in its thread."""
        with self._lock:
            self._active.remove(request)
            while self._held and not any(self._blocks(other, self._held[0]) for other in self._active):
                first = self._held.popleft()
                self._active.append(first)
                self._workers.submit(self, first)
        request.finished = True
        if request.event is not None:
            request.event.set()

    def settle(self) -> None:
        """Wait until the host has nothing left to do. Used before somebody else uses the disk."""
        while True:
            with self._lock:
                open_requests = [*self._active, *self._held]
            if not open_requests:
                return
            for request in open_requests:
                self._join(request)

    def _join(self, request: Request) -> None:
        while not request.finished and request.event is not None:
            request.event.wait(1.0)

    # -- completion

    def _due(self) -> None:
        if self._take_back is not None:
            self._take_back()
        now = self._clock.now()
        heap = self._heap
        while heap and heap[0][0] <= now:
            self._complete(heappop(heap)[1])
        if heap:
            self._timer.arm(heap[0][0])

    def _complete(self, request: Request) -> None:
        if not request.finished or request.failed or self._gate.replaying:
            verdict = self._gate.decide(self._verdict, request.number.to_bytes(8, "big"), lambda: self._judge(request))
            if verdict == LATE:
                request.late = True
                self._late[request.number] = request
                self._workers.late += 1
                return
            self._join(request)
            self._as_recorded(request, verdict)
        self._report(request)

    def _judge(self, request: Request) -> bytes:
        if not request.finished:
            if not self._private and not self._may_wait():
                return LATE
            self._join(request)
        return _failure(request)

    def _as_recorded(self, request: Request, verdict: bytes) -> None:
        """In a replay what went wrong goes wrong again, and nothing else does."""
        if not self._gate.replaying:
            return
        if verdict:
            number = int.from_bytes(verdict[1:], "big")
            request.failed, request.result = True, OSError(number, "as recorded")
        elif request.failed and isinstance(request.result, OSError):
            raise ReplayError(f"disk {self.name}: {request.result}; when it was recorded this went well")

    def _report(self, request: Request) -> None:
        result = request.result
        if request.failed:
            if not isinstance(result, OSError):
                raise result
            if request.kind:
                self._statistics.failed(request.kind)
            if self._forgiven(request, result):
                return
        elif request.kind:
            length = request.length
            self._statistics.done(request.kind, length, max(request.due, self._clock.now()) - request.since)
        request.done(result)

    def _forgiven(self, request: Request, error: OSError) -> bool:
        """Whether the guest does not hear of an error: it is ignored, or the machine stops and tries again later."""
        policy = self._on_error[request.writes]
        if policy == "ignore":
            request.done(None if request.writes or not request.length else bytes(request.length))
            return True
        if policy != "stop" and not (policy == "enospc" and error.errno == errno.ENOSPC):
            return False
        self._stopped.append(request)
        if self._gate.replaying:
            # When it was recorded somebody let the machine go on, at the same virtual time.
            self.retry()
        else:
            self.stop_machine(self.name, request.writes, error)
        return True

    def retry(self) -> None:
        """Do again what failed and stopped the machine."""
        stopped, self._stopped = self._stopped, []
        for request in stopped:
            request.work, request.finished, request.failed, request.posted = request.again, False, False, False
            request.late = False
            request.due = self._clock.now() + ACCESS_NS
            self._start(request)

    def poll(self) -> None:
        """Bring late completions to the gate."""
        for request in list(self._late.values()):
            if request.finished and not request.posted:
                request.posted = True
                self._arrivals.put(request.number.to_bytes(8, "big") + _failure(request))

    def _arrived(self, message: bytes) -> bool:
        request = self._late.pop(int.from_bytes(message[:8], "big"), None)
        if request is not None:
            self._workers.late -= 1
            self._join(request)
            self._as_recorded(request, message[8:])
            self._report(request)
        return True


def _failure(request: Request) -> bytes:
    """How an error of the host is recorded."""
    if request.failed and isinstance(request.result, OSError):
        return FAILED + (request.result.errno or errno.EIO).to_bytes(4, "big")
    return b""
