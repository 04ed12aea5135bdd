from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator

import pytest

from devices.block.raw import MemoryDisk
from devices.contracts import Statistics
from emu.aio import ACCESS_NS, FLUSH_NS, DiskQueue, Workers
from emu.clock import Clock
from emu.errors import DeviceError, ReplayError
from emu.inputs import Input, Inputs
from tests.emu.fake_cpu import FakeCpu

SIZE = 1 << 20


class SlowDisk:
    """A disk in memory whose every access waits until `gate` is open; notes what reached it."""

    read_only = False
    concurrent = False
    size = SIZE

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.bytes = bytearray(SIZE)
        self.calls: list[str] = []
        self.error: BaseException | None = None

    def _enter(self, what: str) -> None:
        self.gate.wait(10)
        self.calls.append(what)
        if self.error is not None:
            raise self.error

    def read(self, offset: int, length: int) -> bytes:
        self._enter(f"read {offset}")
        return bytes(self.bytes[offset : offset + length])

    def write(self, offset: int, data: bytes) -> None:
        self._enter(f"write {offset}")
        self.bytes[offset : offset + len(data)] = data

    def flush(self) -> None:
        self._enter("flush")


class FastDisk(SlowDisk):
    """The same, always quick."""

    def __init__(self) -> None:
        super().__init__()
        self.gate.set()

    def fast(self, offset: int, length: int) -> bool:
        return True


class World:
    """A clock moved by hand with a gate, workers and a queue over a disk."""

    def __init__(self, disk: SlowDisk, *, patient: bool = True, record: list[Input] | None = None) -> None:
        self.disk = disk
        self.cpu = FakeCpu()
        self.clock = Clock(self.cpu)
        self.gate = Inputs(self.clock, lambda: self.cpu.icount)
        self.workers = Workers()
        self.queue = DiskQueue(disk, name="ide0", inputs=self.gate, workers=self.workers, patient=lambda: patient)
        if record is not None:
            self.gate.replay(record)
        self.log: list[tuple[str, object, int]] = []

    def done(self, name: str) -> Callable[[object], None]:
        return lambda result: self.log.append((name, result, self.clock.now()))

    def pass_time(self, ns: int) -> None:
        """Let every timer up to `ns` from now fire at its time."""
        end = self.clock.now() + ns
        while (deadline := self.clock.next_deadline()) is not None and deadline <= end:
            self.cpu.time_offset += max(0, deadline - self.clock.now())
            self.clock.fire()
        self.cpu.time_offset += end - self.clock.now()


@pytest.fixture
def worlds() -> Iterator[list[World]]:
    made: list[World] = []
    yield made
    for world in made:
        world.disk.gate.set()
        world.workers.close()


def test_completions_come_when_the_model_says_and_hold_what_was_asked_for() -> None:
    disk = FastDisk()
    disk.bytes[512:516] = b"abcd"
    world = World(disk)
    world.queue.read(512, 4, world.done("read"))
    world.queue.write(8192, b"x" * 4000, world.done("write"))
    world.queue.read(8192, 2, world.done("again"))
    assert world.log == []
    world.pass_time(10**6)
    assert world.log == [
        ("read", b"abcd", ACCESS_NS + 2),
        ("write", None, ACCESS_NS + 2 + 2000),
        ("again", b"xx", ACCESS_NS + 2 + 2000 + 1),
    ]


@pytest.mark.parametrize("concurrent", [False, True])
def test_a_slow_host_is_waited_for_at_the_same_virtual_time(worlds: list[World], concurrent: bool) -> None:
    disk = SlowDisk()
    disk.concurrent = concurrent
    world = World(disk)
    worlds.append(world)
    world.queue.write(0, b"new!", world.done("write"))
    world.queue.read(0, 4, world.done("read"))
    world.queue.read(4096, 2, world.done("other"))
    world.queue.flush(world.done("flush"))
    threading.Timer(0.05, disk.gate.set).start()
    world.pass_time(10**6)
    assert [(name, result) for name, result, _ in world.log] == [
        ("write", None),
        ("read", b"new!"),
        ("other", b"\0\0"),
        ("flush", None),
    ]
    assert [when for _, _, when in world.log] == [
        ACCESS_NS + 2,
        ACCESS_NS + 4,
        ACCESS_NS + 5,
        FLUSH_NS + 5,
    ]
    assert disk.calls.index("write 0") < disk.calls.index("read 0")


def test_requests_of_a_disk_that_says_nothing_of_threads_reach_the_host_one_by_one(worlds: list[World]) -> None:
    disk = SlowDisk()
    world = World(disk)
    worlds.append(world)
    for at in range(0, 20 * 512, 512):
        world.queue.read(at, 512, world.done(str(at)))
    disk.gate.set()
    world.pass_time(10**6)
    assert disk.calls == [f"read {at}" for at in range(0, 20 * 512, 512)]


def test_errors_of_the_host_reach_done_and_bugs_reach_the_machine(worlds: list[World]) -> None:
    for disk in (FastDisk(), SlowDisk()):
        world = World(disk)
        worlds.append(world)
        disk.gate.set()
        disk.error = OSError(errno.EIO, "broken")
        world.queue.read(0, 512, world.done("read"))
        world.queue.write(0, b"x", world.done("write"))
        world.queue.flush(world.done("flush"))
        world.pass_time(10**6)
        assert [(name, result.errno) for name, result, _ in world.log if isinstance(result, OSError)] == [
            ("read", errno.EIO),
            ("write", errno.EIO),
            ("flush", errno.EIO),
        ]
        disk.error = ZeroDivisionError("a bug")
        world.queue.read(0, 512, world.done("bug"))
        with pytest.raises(DeviceError, match="ZeroDivisionError: a bug"):
            world.pass_time(10**6)


def test_cancelled_requests_are_forgotten_but_their_writes_are_not_lost(worlds: list[World]) -> None:
    disk = SlowDisk()
    world = World(disk)
    worlds.append(world)
    world.queue.write(512, b"kept", world.done("write"))
    world.queue.read(0, 4, world.done("read"))
    world.queue.cancel()
    disk.gate.set()
    world.pass_time(10**6)
    world.queue.read(512, 4, world.done("then"))
    world.pass_time(10**6)
    assert [(name, result) for name, result, _ in world.log] == [("then", b"kept")]


def test_closing_waits_for_everything_that_was_submitted() -> None:
    disk = SlowDisk()
    world = World(disk)
    for at in range(0, 8192, 512):
        world.queue.write(at, bytes([at // 512 + 1]) * 512, world.done("write"))
    threading.Timer(0.02, disk.gate.set).start()
    world.workers.close()
    assert disk.bytes[:8192] == b"".join(bytes([n]) * 512 for n in range(1, 17))


def late_run(world: World, *, after: int) -> None:
    """Two reads and a write that the host finishes `after` ns of virtual time, if it is a live one."""
    world.queue.write(0, b"late", world.done("write"))
    world.queue.read(0, 4, world.done("read"))
    world.pass_time(after)
    world.disk.gate.set()
    if not world.gate.replaying:
        world.queue.settle()
        world.workers.poll()
    world.pass_time(10**6)
    world.queue.read(512, 1, world.done("next"))
    world.queue.settle()
    world.pass_time(10**6)


def test_where_time_is_held_to_the_wall_a_slow_host_lets_the_guest_run_and_replays_alike(worlds: list[World]) -> None:
    first = World(SlowDisk(), patient=False)
    worlds.append(first)
    late_run(first, after=300_000)
    assert [(name, result) for name, result, _ in first.log] == [("write", None), ("read", b"late"), ("next", b"\0")]
    assert first.log[0][2] > 300_000
    for patient in (False, True):
        again = World(SlowDisk(), patient=patient, record=first.gate.record)
        worlds.append(again)
        again.disk.gate.set()
        late_run(again, after=300_000)
        assert again.log == first.log


def test_errors_happen_again_in_a_replay_and_new_ones_end_it(worlds: list[World]) -> None:
    first = World(FastDisk())
    first.disk.error = OSError(errno.ENOSPC, "full")
    first.queue.write(0, b"x", first.done("write"))
    first.pass_time(10**6)
    again = World(FastDisk(), record=first.gate.record)
    again.queue.write(0, b"x", again.done("write"))
    again.pass_time(10**6)
    ((_, error, when),) = again.log
    assert isinstance(error, OSError) and (error.errno, when) == (errno.ENOSPC, first.log[0][2])
    again.disk.error = OSError(errno.EIO, "new")
    again.queue.read(0, 1, again.done("read"))
    with pytest.raises(ReplayError, match=r"disk ide0: .*new; when it was recorded this went well"):
        again.pass_time(10**6)


def test_zeros_and_discards_work_on_a_disk_that_has_no_way_of_its_own(worlds: list[World]) -> None:
    disk = FastDisk()
    disk.bytes[:] = b"\xff" * SIZE
    world = World(disk)
    worlds.append(world)
    world.queue.write_zeroes(512, 1024, True, world.done("zeroes"))
    world.queue.discard(4096, 512, world.done("discard"))
    world.pass_time(10**6)
    assert [(name, result) for name, result, _ in world.log] == [("zeroes", None), ("discard", None)]
    assert disk.bytes[:2048] == b"\xff" * 512 + bytes(1024) + b"\xff" * 512
    disk.read_only = True
    world.queue.discard(0, 512, world.done("discard"))
    world.queue.write_zeroes(0, 512, False, world.done("zeroes"))
    world.pass_time(10**6)
    assert all(isinstance(result, PermissionError) for _, result, _ in world.log[2:])


class FullDisk(FastDisk):
    """No room for writes until there is some."""

    on_error = ("report", "enospc")
    full = True

    def write(self, offset: int, data: bytes) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(offset, data)


def test_a_full_host_stops_the_machine_and_nothing_is_lost_when_it_goes_on() -> None:
    """S11: werror=enospc."""
    disk = FullDisk()
    world = World(disk)
    stops: list[tuple[str, bool, int | None]] = []
    world.queue.stop_machine = lambda name, writes, error: stops.append((name, writes, error.errno))
    done: list[object] = []
    world.queue.write(0, b"a" * 4096, done.append)
    world.queue.write(4096, b"b" * 4096, done.append)
    world.pass_time(10 * ACCESS_NS)
    assert done == [] and stops == [("ide0", True, errno.ENOSPC)] * 2
    world.queue.retry()
    world.pass_time(10 * ACCESS_NS)
    assert done == [] and len(stops) == 4
    disk.full = False
    world.queue.retry()
    world.pass_time(10 * ACCESS_NS)
    assert done == [None, None] and disk.bytes[:8192] == b"a" * 4096 + b"b" * 4096
    world.workers.close()


@pytest.mark.parametrize("policy,reads,writes", [("ignore", bytes(512), None), ("report", OSError, OSError)])
def test_errors_are_ignored_or_reported_as_the_drive_says(policy: str, reads: object, writes: object) -> None:
    disk = FastDisk()
    disk.error = OSError(errno.EIO, "broken")
    disk.on_error = (policy, policy)  # type: ignore[attr-defined]
    world = World(disk)
    done: list[object] = []
    world.queue.read(0, 512, done.append)
    world.queue.write(0, b"x" * 512, done.append)
    world.pass_time(10 * ACCESS_NS)
    for got, want in zip(done, (reads, writes), strict=True):
        assert isinstance(got, OSError) if want is OSError else got == want
    world.workers.close()


@pytest.mark.parametrize("patient", [True, False])
def test_a_flush_is_not_reported_before_the_host_has_done_it_even_if_the_guest_runs_on(
    worlds: list[World], patient: bool
) -> None:
    disk = SlowDisk()
    world = World(disk, patient=patient)
    worlds.append(world)
    reported: list[bool] = []
    world.queue.write(0, b"data", lambda error: None)
    world.queue.flush(lambda error: reported.append("flush" in disk.calls))
    if patient:
        threading.Timer(0.05, disk.gate.set).start()
        world.pass_time(10**6)
    else:
        world.pass_time(10**6)
        assert reported == []
        disk.gate.set()
        world.queue.settle()
        world.workers.poll()
        world.pass_time(10**6)
    assert reported == [True]
    assert disk.calls == ["write 0", "flush"]


def test_a_disk_is_lent_only_while_nothing_is_under_way_and_the_run_is_no_replay() -> None:
    class PlainDisk(FastDisk):
        def plain(self) -> tuple[int, int, int]:
            return 3, SIZE, 0

    assert not World(FastDisk()).queue.lends()
    assert not World(PlainDisk(), record=[]).queue.lends()
    world = World(PlainDisk())
    assert world.queue.lends()
    world.queue.read(0, 512, world.done("read"))
    assert not world.queue.lends() and world.queue.lend(lambda: None) is None
    world.pass_time(10**6)
    assert world.queue.lends() and world.queue.lend(lambda: None) is not None


def test_what_the_guest_asked_for_is_counted_when_it_is_done() -> None:
    disk = MemoryDisk(bytes(4096))
    disk.statistics = Statistics()
    cpu = FakeCpu()
    clock = Clock(cpu)
    queue = DiskQueue(disk, name="d", inputs=Inputs(clock, lambda: 0), workers=Workers())
    queue.read(0, 512, lambda result: None)
    queue.write(512, bytes(1024), lambda result: None)
    queue.flush(lambda result: None)
    queue.read(4096, 512, lambda result: None)
    assert not any(disk.statistics.counts().values())
    clock.skip_to(10 * FLUSH_NS)
    clock.fire()
    seen = disk.statistics.counts()
    assert (seen["rd_operations"], seen["rd_bytes"], seen["failed_rd_operations"]) == (1, 512, 1)
    assert (seen["wr_operations"], seen["wr_bytes"], seen["flush_operations"]) == (1, 1024, 1)
    assert seen["rd_total_time_ns"] > ACCESS_NS


def test_who_looks_at_the_counts_ends_a_loan_first() -> None:
    disk = MemoryDisk(bytes(4096))
    disk.statistics = Statistics()
    disk.plain = lambda: (0, 4096, 0)  # type: ignore[attr-defined]
    queue = DiskQueue(disk, name="d", inputs=Inputs(Clock(FakeCpu()), lambda: 0), workers=Workers())
    assert queue.lend(lambda: queue.returned(0, 3, [(2, 1024, 50), (1, 512, 20)])) is not None
    assert disk.statistics.counts()["rd_bytes"] == 1024 and disk.statistics.counts()["wr_operations"] == 1
